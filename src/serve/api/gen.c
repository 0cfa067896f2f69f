/* SPDX-License-Identifier: Apache-2.0 */
/* See api/gen.h. */
#include "serve/api/gen.h"

#include <inttypes.h>
#include <string.h>
#include "serve/http/json_out.h"

int gen_chat_prompt(struct call *c, const json_t *messages, const json_t *tools, const json_t *kwargs,
                    bool add_generation_prompt, struct ids *out, struct buf *shown, struct fault *f)
{
    json_t *own;
    struct err e = {0};
    int rc = ask_messages(messages, &own, f);
    if (rc) return rc;
    struct tools t = {.list = json_array_size(tools) ? tools : NULL};
    if (!c->m->marks.tools) {
        json_t *words = tools_in_words(&t, own);
        json_decref(own);
        if (!(own = words)) return fault_memory(f);
        tools = NULL;
    }
    struct template_input in = {.messages = own,
                                .tools = json_array_size(tools) ? tools : NULL,
                                .kwargs = kwargs,
                                .add_generation_prompt = add_generation_prompt};
    struct tok_scratch *x = model_take_scratch(c->m);
    rc = text_prompt(&c->m->text, x, &in, out, shown, &e);
    model_give_scratch(c->m, x);
    json_decref(own);
    if (!rc) return 0;
    fault_err(f, "messages", &e);
    /* What a template does not like is the conversation, whatever its fault is called. */
    return fault_set(f, e.code == ERR_MEMORY ? 503 : 400, "invalid_request_error", NULL, "messages",
                     "the model's chat template: %s", e.msg);
}

int gen_text_prompt(struct call *c, struct str text, bool add_special, bool parse_special, struct ids *out,
                    struct fault *f)
{
    struct err e = {0};
    struct tok_scratch *x = model_take_scratch(c->m);
    int rc = tokenizer_encode(c->m->text.tok, x, text,
                              (add_special ? TOK_ADD_SPECIAL : 0) | (parse_special ? TOK_PARSE_SPECIAL : 0),
                              out, &e);
    model_give_scratch(c->m, x);
    return rc ? fault_err(f, "prompt", &e) : 0;
}

int gen_ids_prompt(struct call *c, const json_t *list, const char *param, struct ids *out, struct fault *f)
{
    size_t i, n_vocab = (size_t)c->m->engine->model->h.n_vocab;
    json_t *v;
    char got[FAULT_GOT_MAX];
    json_array_foreach(list, i, v) {
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || (size_t)id >= n_vocab)
            return fault_field(f, param, "'%s': expected token ids in 0..%zu, got %s", param, n_vocab - 1,
                               fault_got(v, got));
        ids_push(out, (int32_t)id);
    }
    return out->failed ? fault_set(f, 400, "invalid_request_error", NULL, param, "'%s': too many tokens", param) : 0;
}

void gen_write_piece(struct buf *out, const struct tokenizer *t, int32_t id)
{
    json_quote(out, tokenizer_piece(t, id));
}

void gen_write_ids(struct buf *out, const int32_t *ids, size_t n)
{
    buf_append_char(out, '[');
    for (size_t i = 0; i < n; i++) buf_printf(out, i ? ",%d" : "%d", (int)ids[i]);
    buf_append_char(out, ']');
}

void gen_write_x_groq(const struct job *j, bool seed, bool usage, struct buf *out)
{
    buf_printf(out, ",\"x_groq\":{\"id\":\"%s\"", http_id(j->call->r));
    if (seed) buf_printf(out, ",\"seed\":%" PRId64, (int64_t)j->ask.sample.seed);
    if (usage) {
        buf_append_z(out, ",\"usage\":");
        job_write_usage(j, out);
        buf_append_z(out, ",\"usage_breakdown\":null");
    }
    if (seed && j->ask.debug) {
        buf_append_z(out, ",\"debug\":{\"input_token_ids\":");
        gen_write_ids(out, j->prompt[0].ids, (size_t)j->prompt[0].n_ids);
        buf_append_z(out, ",\"output_token_ids\":");
        gen_write_ids(out, j->choice[0].ids.p, j->choice[0].ids.n);
        buf_append_char(out, '}');
    }
    buf_append_char(out, '}');
}

void gen_write_stop_reason(const struct job_choice *c, struct buf *out)
{
    buf_append_z(out, ",\"stop_reason\":");
    if (c->stop_id >= 0) buf_printf(out, "%d", (int)c->stop_id);
    else if (c->stop.n) json_quote(out, buf_str(&c->stop));
    else buf_append_z(out, "null");
}

static void write_head(const struct job *j, const char *object, struct buf *out)
{
    buf_printf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", j->id, object, j->created);
    json_quote(out, str_from(j->call->m->name));
}

void gen_begin_piece(struct job *j, const char *object, const char *tier, struct buf *out)
{
    if (!j->head.n) {
        buf_append_z(&j->head, "data: ");
        write_head(j, object, &j->head);
        buf_printf(&j->head, ",\"system_fingerprint\":\"%s\"", j->call->m->fingerprint);
        if (tier) buf_printf(&j->head, ",\"service_tier\":\"%s\"", tier);
        buf_append_z(&j->head, ",\"choices\":[");
    }
    buf_append_str(out, buf_str(&j->head));
}

void gen_write_reply(const struct job *j, const char *object,
                     void (*write_choice)(const struct job *j, int i, struct buf *out), struct buf *out)
{
    write_head(j, object, out);
    buf_append_z(out, ",\"choices\":[");
    for (int i = 0; i < j->n_choices; i++) {
        if (i) buf_append_char(out, ',');
        write_choice(j, i, out);
    }
    buf_append_z(out, "],\"usage\":");
    job_write_usage(j, out);
}

void gen_end_piece(const struct job *j, struct buf *out)
{
    buf_append_z(out, j->ask.include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

void gen_end_stream(struct job *j, void (*begin_piece)(struct job *j, struct buf *out), struct buf *out)
{
    if (j->ask.include_usage) {
        begin_piece(j, out);
        buf_append_z(out, "],\"usage\":");
        job_write_usage(j, out);
        buf_append_z(out, "}\n\n");
    }
    buf_append_z(out, "data: [DONE]\n\n");
}

void gen_stream_fault(struct job *j, const struct fault *f, struct buf *out)
{
    (void)j;
    buf_append_z(out, "data: ");
    http_write_fault(out, &(struct http_fault){.type = f->type,
                                               .code = f->code,
                                               .param = f->param[0] ? f->param : NULL,
                                               .message = f->message});
    buf_append_z(out, "\ndata: [DONE]\n\n");
}
