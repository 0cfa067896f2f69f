/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/chat/completions as OpenAI and Groq write it. A stream is: a piece with the role for each choice,
 * a piece for each text, a piece with finish_reason for each choice (the last with Groq's usage), one with
 * the usage if stream_options.include_usage asked for it, [DONE].
 */
#include "serve/api/gen.h"
#include "serve/http/json_out.h"
#include "serve/http/ulid.h"

/* {"token":...,"logprob":...,"bytes":[...] -- the caller closes it */
static void write_logprob(const struct job *j, int32_t id, float logp, struct buf *out)
{
    const struct tokenizer *t = j->call->m->text.tok;
    buf_append_z(out, "{\"token\":");
    gen_write_piece(out, t, id);
    buf_append_z(out, ",\"logprob\":");
    json_number(out, (double)logp);
    buf_append_z(out, ",\"bytes\":");
    json_bytes(out, tokenizer_piece(t, id));
}

static void write_logprobs(const struct job *j, const struct job_token *t, struct buf *out)
{
    write_logprob(j, t->id, t->logp, out);
    buf_append_z(out, ",\"top_logprobs\":[");
    for (int i = 0; i < t->n_top; i++) {
        if (i) buf_append_char(out, ',');
        write_logprob(j, t->top[i].id, t->top[i].logp, out);
        buf_append_char(out, '}');
    }
    buf_append_z(out, "]}");
}

static void note(struct job *j, int choice, const struct job_token *t)
{
    struct job_choice *c = &j->choice[choice];
    if (j->ask.n_top < 0 || !t->has_id || j->ask.stream) return;
    if (c->n_logprobs++) buf_append_char(&c->logprobs, ',');
    write_logprobs(j, t, &c->logprobs);
}

/* --- stream ------------------------------------------------------------------------------------------------ */

static void begin_piece(struct job *j, struct buf *out)
{
    gen_begin_piece(j, "chat.completion.chunk", job_tier(j), out);
}

static void open_stream(struct job *j, struct buf *out)
{
    for (int i = 0; i < j->n_choices; i++) {
        begin_piece(j, out);
        buf_printf(
            out,
            "{\"index\":%d,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]",
            i);
        if (i == 0) gen_write_x_groq(j, false, false, out);
        gen_end_piece(j, out);
    }
}

/* Where a stream's parts go. Log probabilities of the token stand with the first text that it brings. */
struct stream_sink {
    struct job *j;
    int choice;
    const struct job_token *token; /* NULL: at the end */
    struct buf *out;
    bool probs; /* still to be written */
};

static void end_delta(struct stream_sink *s)
{
    buf_append_z(s->out, "},\"logprobs\":");
    if (s->probs) {
        buf_append_z(s->out, "{\"content\":[");
        write_logprobs(s->j, s->token, s->out);
        buf_append_z(s->out, "],\"refusal\":null}");
    } else {
        buf_append_z(s->out, "null");
    }
    s->probs = false;
    buf_append_z(s->out, ",\"finish_reason\":null}]");
    gen_end_piece(s->j, s->out);
}

static void write_call(const struct part *p, struct buf *out)
{
    char id[ULID_CHARS + 1];
    ulid_make(id);
    buf_printf(out, "\"id\":\"call_%s\",\"type\":\"function\",\"function\":{\"name\":", id);
    json_quote(out, p->name);
    buf_append_z(out, ",\"arguments\":");
    json_quote(out, p->text);
    buf_append_z(out, "}");
}

static void stream_part(void *ud, const struct part *p)
{
    struct stream_sink *s = ud;
    struct gen_chat *chat = s->j->state;
    begin_piece(s->j, s->out);
    buf_printf(s->out, "{\"index\":%d,\"delta\":{", s->choice);
    if (p->kind == PART_CALL) {
        buf_printf(s->out, "\"tool_calls\":[{\"index\":%d,", chat->n_calls[s->choice]++);
        write_call(p, s->out);
        buf_append_z(s->out, "}]");
    } else {
        buf_append_z(s->out, p->kind == PART_REASONING ? "\"reasoning\":" : "\"content\":");
        json_quote(s->out, p->text);
    }
    end_delta(s);
}

static void write_token(struct job *j, int choice, const struct job_token *t, struct buf *out)
{
    struct stream_sink s = {j, choice, t, out, j->ask.n_top >= 0 && t->has_id};
    gen_chat_feed(j, choice, t->text, stream_part, &s);
    if (!s.probs) return;
    begin_piece(j, out);
    buf_printf(out, "{\"index\":%d,\"delta\":{\"content\":\"\"", choice);
    end_delta(&s);
}

/* "tool_calls" when the answer is calls. */
static const char *finish_reason(const struct job_choice *c, int n_calls)
{
    const char *why = job_finish_reason(c);
    return n_calls && strcmp(why, "stop") == 0 ? "tool_calls" : why;
}

static void end_stream(struct job *j, struct buf *out)
{
    for (int i = 0; i < j->n_choices; i++) {
        const struct job_choice *c = &j->choice[i];
        struct gen_chat *chat = j->state;
        struct stream_sink s = {.j = j, .choice = i, .out = out};
        gen_chat_finish(j, i, stream_part, &s);
        begin_piece(j, out);
        buf_printf(out, "{\"index\":%d,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"%s\"", i,
                   finish_reason(c, chat->n_calls[i]));
        gen_write_stop_reason(c, out);
        job_write_receipt(j, i, out);
        buf_append_z(out, "}]");
        if (i + 1 == j->n_choices) gen_write_x_groq(j, true, true, out);
        gen_end_piece(j, out);
    }
    gen_end_stream(j, begin_piece, out);
}

/* --- whole ------------------------------------------------------------------------------------------------- */

struct whole_sink {
    struct buf text, reasoning, calls;
    int n_calls;
};

static void gather_part(void *ud, const struct part *p)
{
    struct whole_sink *w = ud;
    if (p->kind == PART_TEXT) buf_append_str(&w->text, p->text);
    if (p->kind == PART_REASONING) buf_append_str(&w->reasoning, p->text);
    if (p->kind != PART_CALL) return;
    buf_append_z(&w->calls, w->n_calls ? ",{" : "{");
    write_call(p, &w->calls);
    w->n_calls++;
    buf_append_char(&w->calls, '}');
}

static void write_message(const struct job *j, int i, struct buf *out, int *n_calls)
{
    struct whole_sink w = {0};
    buf_init(&w.text, API_REPLY_MAX);
    buf_init(&w.reasoning, API_REPLY_MAX);
    buf_init(&w.calls, API_REPLY_MAX);
    int rc = gen_chat_whole(j, i, gather_part, &w);
    if (w.n_calls && !w.text.n) buf_append_z(out, "null");
    else json_quote(out, buf_str(&w.text));
    if (w.reasoning.n) {
        buf_append_z(out, ",\"reasoning\":");
        json_quote(out, buf_str(&w.reasoning));
    }
    if (w.n_calls) {
        buf_append_z(out, ",\"tool_calls\":[");
        buf_append_str(out, buf_str(&w.calls));
        buf_append_char(out, ']');
    }
    *n_calls = w.n_calls;
    if (rc || w.text.failed || w.reasoning.failed || w.calls.failed) out->failed = ERR_MEMORY;
    buf_finish(&w.text);
    buf_finish(&w.reasoning);
    buf_finish(&w.calls);
}

static void write_choice(const struct job *j, int i, struct buf *out)
{
    const struct job_choice *c = &j->choice[i];
    int n_calls;
    buf_printf(out, "{\"index\":%d,\"message\":{\"role\":\"assistant\",\"content\":", i);
    write_message(j, i, out, &n_calls);
    buf_append_z(out, ",\"refusal\":null},\"logprobs\":");
    if (j->ask.n_top >= 0) {
        buf_append_z(out, "{\"content\":[");
        buf_append_str(out, buf_str(&c->logprobs));
        buf_append_z(out, "],\"refusal\":null}");
        if (c->logprobs.failed) out->failed = c->logprobs.failed;
    } else {
        buf_append_z(out, "null");
    }
    buf_printf(out, ",\"finish_reason\":\"%s\"", finish_reason(c, n_calls));
    gen_write_stop_reason(c, out);
    job_write_receipt(j, i, out);
    if (j->ask.return_token_ids) {
        buf_append_z(out, ",\"token_ids\":");
        gen_write_ids(out, c->ids.p, c->ids.n);
    }
    buf_append_char(out, '}');
    if (c->text.failed) out->failed = c->text.failed;
}

static void write_whole(struct job *j, struct buf *out)
{
    gen_write_reply(j, "chat.completion", write_choice, out);
    if (j->ask.return_token_ids) {
        buf_append_z(out, ",\"prompt_token_ids\":");
        gen_write_ids(out, j->prompt[0].ids, (size_t)j->prompt[0].n_ids);
    }
    buf_printf(out, ",\"usage_breakdown\":null,\"system_fingerprint\":\"%s\",\"service_tier\":\"%s\"",
               j->call->m->fingerprint, job_tier(j));
    gen_write_x_groq(j, true, false, out);
    buf_append_char(out, '}');
}

static const struct job_api chat_api = {.id_prefix = "chatcmpl-",
                                        .open = open_stream,
                                        .token = write_token,
                                        .note = note,
                                        .end = end_stream,
                                        .whole = write_whole,
                                        .fault = gen_stream_fault,
                                        .finish = gen_chat_free};

void api_chat(struct http_request *r)
{
    gen_chat_answer(call_of(r), NULL, &chat_api);
}
