/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/embeddings: a vector of unit length for each input, by the pooling that doc/arithmetic.md writes
 * down. The inputs of one request go to the scheduler a few at a time, so that a long list does not fill its
 * queue.
 */
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "serve/api/gen.h"
#include "serve/ask/fields.h"
#include "serve/http/json_out.h"

enum { INPUTS_MAX = 2048, IN_FLIGHT = 16 };

struct embed_input {
    struct embed *embed;
    struct ids ids;
    float *vector; /* [n_embd] */
    uint64_t ticket;
};

struct embed {
    struct call *call;
    json_t *body;
    const char *model, *format;
    const json_t *input;
    int dimensions;
    bool base64;
    struct embed_input *in; /* [n] */
    int n, n_embd;

    pthread_mutex_t lock;   /* of what follows */
    int next, left;         /* input to submit next; those not ended, and one for the handler */
    struct err err;
    double queue_s, prompt_s;
    int n_cached;
};

#define AT(f) offsetof(struct embed, f)
static const struct field table[] = {
    {"model", FIELD_STRING, AT(model), 0, 0, 0},
    {"input", FIELD_ANY, AT(input), 0, 0, 0},
    {"encoding_format", FIELD_STRING, AT(format), 0, 0, 0},
    {"dimensions", FIELD_INT, AT(dimensions), 1, 1 << 20, 0},
    {0}};
#undef AT

static void destroy(struct embed *b)
{
    for (int i = 0; i < b->n && b->in; i++) {
        ids_finish(&b->in[i].ids);
        free(b->in[i].vector);
    }
    free(b->in);
    json_decref(b->body);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static void fail(struct embed *b, const struct fault *f)
{
    struct call *c = b->call;
    destroy(b);
    call_fail(c, f);
}

static void write_vector(const struct embed *b, const float *v, struct buf *out)
{
    size_t bytes = (size_t)b->n_embd * sizeof *v;
    if (b->base64) {
        size_t n = sodium_base64_encoded_len(bytes, sodium_base64_VARIANT_ORIGINAL);
        char *text = malloc(n);
        if (!text) {
            out->failed = ERR_MEMORY;
            return;
        }
        /* floats as in memory: little endian */
        sodium_bin2base64(text, n, (const unsigned char *)v, bytes, sodium_base64_VARIANT_ORIGINAL);
        json_quote(out, str_from(text));
        free(text);
        return;
    }
    buf_append_char(out, '[');
    for (int i = 0; i < b->n_embd; i++) {
        if (i) buf_append_char(out, ',');
        json_number(out, (double)v[i]);
    }
    buf_append_char(out, ']');
}

/* On a worker, when all inputs have ended. */
static void finish_embed(struct http_request *r)
{
    struct call *c = call_of(r);
    struct embed *b = c->state;
    struct buf out;
    int n = 0;
    if (b->err.code) {
        struct err e = b->err;
        destroy(b);
        call_error(c, "input", &e);
        return;
    }
    buf_init(&out, API_REPLY_MAX);
    buf_append_z(&out, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < b->n; i++) {
        n += (int)b->in[i].ids.n;
        buf_printf(&out, "%s{\"object\":\"embedding\",\"index\":%d,\"embedding\":", i ? "," : "", i);
        write_vector(b, b->in[i].vector, &out);
        buf_append_char(&out, '}');
    }
    buf_append_z(&out, "],\"model\":");
    json_quote(&out, str_from(c->m->name));
    buf_printf(&out, ",\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d}}", n, n);
    c->done.n_prompt = n;
    c->done.n_cached = b->n_cached;
    c->done.queue_s = b->queue_s;
    c->done.prompt_s = b->prompt_s;
    metrics_count(&c->m->metrics, METRIC_PROMPT, (uint64_t)n);
    metrics_count(&c->m->metrics, METRIC_CACHED, (uint64_t)b->n_cached);
    http_note(r, ",\"prompt_tokens\":%d,\"inputs\":%d", n, b->n);
    destroy(b);
    call_json(c, 200, &out);
}

static void cancel_ticket(void *ctx, uint64_t ticket)
{
    sched_cancel(ctx, ticket);
}

static void take_event(void *ud, const struct sched_event *ev);

/* Sends the next input on its way; with none left, nothing. Any thread, without the lock. */
static void submit_next(struct embed *b)
{
    struct call *c = b->call;
    struct err e = {0};
    pthread_mutex_lock(&b->lock);
    struct embed_input *in = b->next < b->n && !b->err.code ? &b->in[b->next++] : NULL;
    pthread_mutex_unlock(&b->lock);
    if (!in) return;
    struct sched_request q = {.prompt = in->ids.p,
                              .n_prompt = (int)in->ids.n,
                              .embed = true,
                              .n_top = -1,
                              .priority = c->pass.priority,
                              .owner = c->pass.owner,
                              .event = take_event,
                              .ud = in};
    sampler_params_default(&q.params.sample);
    uint64_t ticket;
    if (sched_submit(c->m->sched, &q, &ticket, &e) == 0) {
        http_on_gone(c->r, cancel_ticket, c->m->sched, ticket);
        return;
    }
    pthread_mutex_lock(&b->lock);
    if (!b->err.code) b->err = e;
    b->left--; /* of this one; those never sent go in settle */
    pthread_mutex_unlock(&b->lock);
}

/* One input, or the handler, is done. After a fault the inputs that were not sent count as ended. */
static void settle(struct embed *b)
{
    struct http_request *r = b->call->r;
    pthread_mutex_lock(&b->lock);
    b->left--;
    if (b->err.code) {
        b->left -= b->n - b->next;
        b->next = b->n;
    }
    bool last = b->left == 0;
    pthread_mutex_unlock(&b->lock);
    if (last) http_defer(r, finish_embed);
}

static void take_event(void *ud, const struct sched_event *ev)
{
    struct embed_input *in = ud;
    struct embed *b = in->embed;
    if (ev->kind == SCHED_VECTOR && ev->n_vector == b->n_embd)
        memcpy(in->vector, ev->vector, (size_t)b->n_embd * sizeof *in->vector);
    if (ev->kind != SCHED_END) return;
    pthread_mutex_lock(&b->lock);
    b->n_cached += ev->n_cached;
    b->prompt_s += ev->prompt_s;
    if (ev->queue_s > b->queue_s) b->queue_s = ev->queue_s;
    if (ev->end == GENERATE_FAILED && ev->err && !b->err.code) b->err = *ev->err;
    if (ev->end == GENERATE_CANCELLED && !b->err.code) err(&b->err, ERR_CANCELLED, "the request was cancelled");
    pthread_mutex_unlock(&b->lock);
    submit_next(b);
    settle(b);
}

static int read_input(struct embed *b, const json_t *v, struct ids *ids, struct fault *f)
{
    char got[FAULT_GOT_MAX];
    int n_ctx = b->call->m->engine->n_ctx, rc;
    ids_init(ids, TEXT_IDS_MAX);
    if (json_is_string(v))
        rc = gen_text_prompt(b->call, (struct str){json_string_value(v), json_string_length(v)}, true, false,
                             ids, f);
    else if (json_is_array(v)) rc = gen_ids_prompt(b->call, v, "input", ids, f);
    else
        return fault_field(f, "input", "'input': expected a string or an array of token ids, got %s",
                           fault_got(v, got));
    if (rc) return rc;
    if (ids->n == 0) return fault_field(f, "input", "'input': a text is empty");
    if (ids->n >= (size_t)n_ctx) {
        fault_field(f, "input", "'input': a text has %zu tokens; the context has %d", ids->n, n_ctx);
        f->code = "context_length_exceeded";
        return ERR_LIMIT;
    }
    return 0;
}

static int prepare(struct embed *b, struct fault *f)
{
    struct call *c = b->call;
    const json_t *v = b->input;
    int64_t n_ids = 0;
    if (!v) return fault_field(f, "input", "'input' is missing: expected a string, token ids, or an array of them");
    if (b->format && strcmp(b->format, "float") != 0 && strcmp(b->format, "base64") != 0)
        return fault_field(f, "encoding_format", "'encoding_format': expected float or base64, got \"%.40s\"",
                           b->format);
    b->base64 = b->format && *b->format == 'b';
    b->n_embd = c->m->engine->model->h.n_embd;
    if (b->dimensions && b->dimensions != b->n_embd)
        return fault_field(f, "dimensions", "'dimensions': this model's vectors have %d, got %d", b->n_embd,
                           b->dimensions);
    bool single = !json_is_array(v) || json_is_integer(json_array_get(v, 0));
    size_t n = single ? 1 : json_array_size(v);
    if (n < 1 || n > INPUTS_MAX)
        return fault_field(f, "input", "'input': expected 1..%d texts, got %zu", INPUTS_MAX, n);
    if (!(b->in = calloc(n, sizeof *b->in))) return fault_memory(f);
    b->n = (int)n;
    for (int i = 0; i < b->n; i++) {
        struct embed_input *in = &b->in[i];
        in->embed = b;
        int rc = read_input(b, single ? v : json_array_get(v, (size_t)i), &in->ids, f);
        if (rc) return rc;
        n_ids += (int64_t)in->ids.n;
        if (!(in->vector = calloc((size_t)b->n_embd, sizeof *in->vector))) return fault_memory(f);
    }
    return call_admit(c, n_ids < INT_MAX ? (int)n_ids : INT_MAX, 0, GATE_DEFAULT, f);
}

void api_embeddings(struct http_request *r)
{
    struct call *c = call_of(r);
    struct fault f;
    struct embed *b = calloc(1, sizeof *b);
    if (!b) {
        fault_memory(&f);
        call_fail(c, &f);
        return;
    }
    b->call = c;
    c->state = b;
    pthread_mutex_init(&b->lock, NULL);
    int rc = ask_parse_object(http_body(r), &b->body, &f);
    if (!rc) rc = fields_read(table, 0, b->body, b, &f);
    if (!rc) rc = call_model(c, b->model, &f);
    if (!rc) rc = prepare(b, &f);
    if (rc) {
        fail(b, &f);
        return;
    }
    b->left = b->n + 1;
    for (int i = 0, n = b->n < IN_FLIGHT ? b->n : IN_FLIGHT; i < n; i++) submit_next(b);
    settle(b);
}
