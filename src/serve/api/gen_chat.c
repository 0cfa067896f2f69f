/* SPDX-License-Identifier: Apache-2.0 */
/* Chats, whatever their API: how they are read and started, tools and thoughts. See api/gen.h. */
#include <stdlib.h>
#include "serve/api/gen.h"

/* A call that must be made is a form: {"name": ..., "arguments": ...}. */
static int force_call(struct job *j, const struct tools *t, struct fault *f)
{
    json_t *schema = tools_schema(t);
    struct form_spec s = {.kind = FORM_JSON_SCHEMA, .json = schema, .param = "tools"};
    int rc = schema ? job_set_form(j, &s, f) : fault_memory(f);
    json_decref(schema);
    return rc;
}

int gen_ask_read(struct call *c, gen_translate *translate, struct gen_ask *g, struct fault *f)
{
    json_t *body, *in;
    *g = (struct gen_ask){0};
    ids_init(&g->ids, TEXT_IDS_MAX);
    int rc = ask_parse_object(http_body(c->r), &body, f);
    if (!rc && translate) {
        in = body;
        rc = translate(in, &body, f);
        json_decref(in);
    }
    if (!rc) rc = ask_take(&g->ask, body, ASK_CHAT, f);
    if (!rc) rc = call_model(c, g->ask.model, f);
    if (!rc) rc = tools_read(&g->tools, g->ask.tools, g->ask.tool_choice, f);
    if (!rc)
        rc = gen_chat_prompt(c, g->ask.messages, g->tools.list, g->ask.template_kwargs,
                             g->ask.add_generation_prompt, &g->ids, NULL, f);
    if (rc) gen_ask_finish(g);
    return rc;
}

void gen_ask_finish(struct gen_ask *g)
{
    ask_finish(&g->ask);
    ids_finish(&g->ids);
}

static int start(struct job *j, const struct tools *t, struct fault *f)
{
    struct gen_chat *c = calloc(1, sizeof *c);
    j->state = c;
    if (!c || !(c->n_calls = calloc((size_t)j->n_choices, sizeof *c->n_calls)) ||
        !(c->parts = calloc((size_t)j->n_choices, sizeof *c->parts)))
        return fault_memory(f);
    c->tools = *t;
    j->marks = &j->call->m->marks;
    int rc = t->forced ? force_call(j, t, f) : job_read_form(j, f);
    c->thinking =
        !j->mask && marks_end_thinking(j->marks, j->call->m->text.tok, j->prompt[0].ids,
                                       j->prompt[0].n_ids); /* an answer of a given form begins with it */
    for (int i = 0; i < j->n_choices; i++) parts_init(&c->parts[i], t->list, j->marks, c->thinking, API_REPLY_MAX);
    return rc;
}

void gen_chat_answer(struct call *c, gen_translate *translate, const struct job_api *api)
{
    struct gen_ask g;
    struct fault f;
    if (gen_ask_read(c, translate, &g, &f)) {
        call_fail(c, &f);
        return;
    }
    struct job *j = job_create(c, api, &g.ask, 1);
    if (!j) {
        ids_finish(&g.ids);
        return;
    }
    job_add_prompt(j, 0, &g.ids);
    if (start(j, &g.tools, &f)) job_fail(j, &f);
    else job_start(j);
}

void gen_chat_free(struct job *j)
{
    struct gen_chat *c = j->state;
    if (!c) return;
    for (int i = 0; i < j->n_choices && c->parts; i++) parts_free(&c->parts[i]);
    free(c->parts);
    free(c->n_calls);
    free(c);
    j->state = NULL;
}

void gen_chat_feed(struct job *j, int choice, struct str text, parts_sink *sink, void *ud)
{
    struct gen_chat *c = j->state;
    if (text.n && parts_feed(&c->parts[choice], text, sink, ud)) j->out.failed = ERR_MEMORY;
}

void gen_chat_finish(struct job *j, int choice, parts_sink *sink, void *ud)
{
    struct gen_chat *c = j->state;
    parts_finish(&c->parts[choice], sink, ud);
}

int gen_chat_whole(const struct job *j, int choice, parts_sink *sink, void *ud)
{
    const struct gen_chat *c = j->state;
    struct parts p;
    parts_init(&p, c->tools.list, j->marks, c->thinking, API_REPLY_MAX);
    int rc = parts_feed(&p, buf_str(&j->choice[choice].text), sink, ud);
    if (!rc) rc = parts_finish(&p, sink, ud);
    parts_free(&p);
    return rc ? rc : j->choice[choice].text.failed;
}
