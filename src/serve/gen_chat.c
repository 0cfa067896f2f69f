/* SPDX-License-Identifier: Apache-2.0 */
/* Tools and thoughts of chat answers: see api_gen.h. */
#include <stdlib.h>
#include <string.h>
#include "serve/api_gen.h"

enum { TAIL_TOKENS = 8, TAIL_BYTES = 256 };

/* The prompt ends with an open thought: "<think>", and blanks behind it. */
static bool ends_thinking(const struct job *j)
{
    const struct job_prompt *p = &j->prompt[0];
    char tail[TAIL_BYTES];
    size_t n = 0;
    for (int i = p->n_ids > TAIL_TOKENS ? p->n_ids - TAIL_TOKENS : 0; i < p->n_ids; i++) {
        struct str s = tokenizer_piece(j->call->m->text.tok, p->ids[i]);
        if (s.n > sizeof tail) return false;
        if (n + s.n > sizeof tail) n = 0;
        if (s.n) memcpy(tail + n, s.p, s.n);
        n += s.n;
    }
    while (n && (tail[n - 1] == '\n' || tail[n - 1] == ' ')) n--;
    return n >= 7 && memcmp(tail + n - 7, "<think>", 7) == 0;
}

/* A call that must be made is a form: {"name": ..., "arguments": ...}. */
static int force_call(struct job *j, const struct tools *t, struct fault *f)
{
    json_t *schema = tools_schema(t);
    struct form_spec s = {.kind = FORM_JSON_SCHEMA, .json = schema, .param = "tools"};
    int rc = schema ? job_set_form(j, &s, f) : fault_set(f, 503, "unavailable_error", NULL, NULL, "out of memory");
    json_decref(schema);
    return rc;
}

void gen_chat_start(struct job *j, const struct tools *t)
{
    struct gen_chat *c = calloc(1, sizeof *c);
    struct fault f;
    bool ok = c && (c->n_calls = calloc((size_t)j->n_choices, sizeof *c->n_calls)) && (c->parts = calloc((size_t)j->n_choices, sizeof *c->parts));
    j->state = c;
    if (!ok) {
        fault_set(&f, 503, "unavailable_error", NULL, NULL, "out of memory");
        job_fail(j, &f);
        return;
    }
    c->tools = *t;
    c->thinking = j->call->m->thinks && ends_thinking(j);
    for (int i = 0; i < j->n_choices; i++) parts_init(&c->parts[i], t->list, j->call->m->thinks, c->thinking, API_REPLY_MAX);
    if (t->forced && force_call(j, t, &f)) {
        job_fail(j, &f);
        return;
    }
    job_start(j);
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
    parts_init(&p, c->tools.list, j->call->m->thinks, c->thinking, API_REPLY_MAX);
    int rc = parts_feed(&p, buf_str(&j->choice[choice].text), sink, ud);
    if (!rc) rc = parts_finish(&p, sink, ud);
    parts_free(&p);
    return rc ? rc : j->choice[choice].text.failed;
}
