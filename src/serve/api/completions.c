/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/completions: a text goes on. The prompt is a string, token ids, or an array of either; each prompt
 * has n choices. The prompt is trusted: control tokens in it count as such, as in the other servers.
 */
#include <string.h>
#include "serve/api/gen.h"
#include "serve/http/json_out.h"

enum { MAX_TOKENS_DEFAULT = 16 };

/* The four lists of the old log probabilities grow side by side; one token's part of each. */
static void write_logprobs(const struct job *j, const struct job_token *t, size_t offset, struct buf *tokens,
                           struct buf *probs, struct buf *tops, struct buf *offsets)
{
    const struct tokenizer *tok = j->call->m->text.tok;
    gen_write_piece(tokens, tok, t->id);
    json_number(probs, (double)t->logp);
    buf_printf(offsets, "%zu", offset);
    buf_append_char(tops, '{');
    for (int i = 0; i < t->n_top; i++) {
        if (i) buf_append_char(tops, ',');
        gen_write_piece(tops, tok, t->top[i].id);
        buf_append_char(tops, ':');
        json_number(tops, (double)t->top[i].logp);
    }
    buf_append_char(tops, '}');
}

static void note(struct job *j, int choice, const struct job_token *t)
{
    struct job_choice *c = &j->choice[choice];
    if (j->ask.n_top < 0 || !t->has_id || j->ask.stream) return;
    if (c->n_logprobs++) {
        buf_append_char(&c->logprobs, ',');
        buf_append_char(&c->logprobs2, ',');
        buf_append_char(&c->logprobs3, ',');
        buf_append_char(&c->logprobs4, ',');
    }
    write_logprobs(j, t, c->n_chars, &c->logprobs, &c->logprobs2, &c->logprobs3, &c->logprobs4);
}

static void write_lists(struct buf *out, const struct buf *tokens, const struct buf *probs,
                        const struct buf *tops, const struct buf *offsets)
{
    buf_append_z(out, "{\"tokens\":[");
    buf_append_str(out, buf_str(tokens));
    buf_append_z(out, "],\"token_logprobs\":[");
    buf_append_str(out, buf_str(probs));
    buf_append_z(out, "],\"top_logprobs\":[");
    buf_append_str(out, buf_str(tops));
    buf_append_z(out, "],\"text_offset\":[");
    buf_append_str(out, buf_str(offsets));
    buf_append_z(out, "]}");
    if (tokens->failed || probs->failed || tops->failed || offsets->failed) out->failed = ERR_LIMIT;
}

/* The prompt as text, for echo. */
static void write_echo(const struct job *j, int choice, struct buf *text)
{
    const struct job_prompt *p = &j->prompt[choice / j->ask.n];
    struct detok d;
    if (!j->ask.echo) return;
    detok_init(&d, j->call->m->text.tok, DETOK_SKIP_SPACE);
    for (int i = 0; i < p->n_ids; i++) detok_feed(&d, p->ids[i], text);
    detok_finish(&d, text);
}

static void begin_piece(struct job *j, struct buf *out)
{
    gen_begin_piece(j, "text_completion", NULL, out);
}

static void open_stream(struct job *j, struct buf *out)
{
    struct buf text;
    for (int i = 0; i < j->n_choices && j->ask.echo; i++) {
        buf_init(&text, API_REPLY_MAX);
        write_echo(j, i, &text);
        begin_piece(j, out);
        buf_printf(out, "{\"index\":%d,\"text\":", i);
        json_quote(out, buf_str(&text));
        buf_append_z(out, ",\"logprobs\":null,\"finish_reason\":null}]");
        gen_end_piece(j, out);
        buf_finish(&text);
    }
}

static void write_token(struct job *j, int choice, const struct job_token *t, struct buf *out)
{
    bool probs = j->ask.n_top >= 0 && t->has_id;
    if (!t->text.n && !probs) return;
    begin_piece(j, out);
    buf_printf(out, "{\"index\":%d,\"text\":", choice);
    json_quote(out, t->text);
    buf_append_z(out, ",\"logprobs\":");
    if (probs) {
        struct buf b[4];
        for (int i = 0; i < 4; i++) buf_init(&b[i], API_REPLY_MAX);
        write_logprobs(j, t, j->choice[choice].n_chars, &b[0], &b[1], &b[2], &b[3]);
        write_lists(out, &b[0], &b[1], &b[2], &b[3]);
        for (int i = 0; i < 4; i++) buf_finish(&b[i]);
    } else {
        buf_append_z(out, "null");
    }
    buf_append_z(out, ",\"finish_reason\":null}]");
    gen_end_piece(j, out);
}

static void end_stream(struct job *j, struct buf *out)
{
    for (int i = 0; i < j->n_choices; i++) {
        begin_piece(j, out);
        buf_printf(out, "{\"index\":%d,\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"%s\"", i,
                   job_finish_reason(&j->choice[i]));
        gen_write_stop_reason(&j->choice[i], out);
        job_write_receipt(j, i, out);
        buf_append_z(out, "}]");
        if (i + 1 == j->n_choices) gen_write_x_groq(j, true, true, out);
        gen_end_piece(j, out);
    }
    gen_end_stream(j, begin_piece, out);
}

static void write_choice(const struct job *j, int i, struct buf *out)
{
    const struct job_choice *c = &j->choice[i];
    struct buf text;
    buf_init(&text, API_REPLY_MAX);
    write_echo(j, i, &text);
    buf_append_str(&text, buf_str(&c->text));
    buf_printf(out, "{\"index\":%d,\"text\":", i);
    json_quote(out, buf_str(&text));
    if (text.failed || c->text.failed) out->failed = ERR_LIMIT;
    buf_finish(&text);
    buf_append_z(out, ",\"logprobs\":");
    if (j->ask.n_top >= 0) write_lists(out, &c->logprobs, &c->logprobs2, &c->logprobs3, &c->logprobs4);
    else buf_append_z(out, "null");
    buf_printf(out, ",\"finish_reason\":\"%s\"", job_finish_reason(c));
    gen_write_stop_reason(c, out);
    job_write_receipt(j, i, out);
    if (j->ask.return_token_ids) {
        const struct job_prompt *p = &j->prompt[i / j->ask.n];
        buf_append_z(out, ",\"token_ids\":");
        gen_write_ids(out, c->ids.p, c->ids.n);
        buf_append_z(out, ",\"prompt_token_ids\":");
        gen_write_ids(out, p->ids, (size_t)p->n_ids);
    }
    buf_append_char(out, '}');
}

static void write_whole(struct job *j, struct buf *out)
{
    gen_write_reply(j, "text_completion", write_choice, out);
    buf_printf(out, ",\"system_fingerprint\":\"%s\"", j->call->m->fingerprint);
    gen_write_x_groq(j, true, false, out);
    buf_append_char(out, '}');
}

static const struct job_api completion_api = {.id_prefix = "cmpl-",
                                              .open = open_stream,
                                              .token = write_token,
                                              .note = note,
                                              .end = end_stream,
                                              .whole = write_whole,
                                              .fault = gen_stream_fault};

/* --- prompts ----------------------------------------------------------------------------------------------- */

/* How many prompts: an array of numbers is one. */
static int count_prompts(const json_t *p, struct fault *f)
{
    size_t n = json_array_size(p);
    if (!json_is_array(p) || json_is_integer(json_array_get(p, 0))) return 1;
    if (n >= 1 && n <= ASK_PROMPTS_MAX) return (int)n;
    return fault_field(f, "prompt", "'prompt': expected 1..%d prompts, got %zu", ASK_PROMPTS_MAX, n);
}

static int read_prompt(struct call *c, const json_t *p, struct ids *out, struct fault *f)
{
    char got[FAULT_GOT_MAX];
    if (json_is_string(p))
        return gen_text_prompt(c, (struct str){json_string_value(p), json_string_length(p)}, true, true, out,
                               f);
    if (json_is_array(p)) return gen_ids_prompt(c, p, "prompt", out, f);
    return fault_field(f, "prompt", "'prompt': expected a string or an array of token ids, got %s", fault_got(p, got));
}

void api_completions(struct http_request *r)
{
    struct call *c = call_of(r);
    struct ask a;
    struct fault f;
    if (ask_read(&a, http_body(r), ASK_COMPLETION, &f)) {
        call_fail(c, &f);
        return;
    }
    int n = count_prompts(a.prompt, &f), rc = n < 0 ? n : call_model(c, a.model, &f);
    if (!rc && n * a.n > ASK_CHOICES_MAX)
        rc = fault_field(&f, "n", "'n': %d prompts of %d choices are more than %d", n, a.n, ASK_CHOICES_MAX);
    if (rc) {
        ask_finish(&a);
        call_fail(c, &f);
        return;
    }
    if (a.max_tokens < 0) a.max_tokens = MAX_TOKENS_DEFAULT;
    const json_t *prompt = a.prompt;
    bool single = !json_is_array(prompt) || json_is_integer(json_array_get(prompt, 0));
    struct job *j = job_create(c, &completion_api, &a, n);
    if (!j) return;
    for (int i = 0; i < n; i++) {
        struct ids ids;
        ids_init(&ids, TEXT_IDS_MAX);
        if (read_prompt(c, single ? prompt : json_array_get(prompt, (size_t)i), &ids, &f)) {
            ids_finish(&ids);
            job_fail(j, &f);
            return;
        }
        job_add_prompt(j, i, &ids);
    }
    job_start(j);
}
