/* SPDX-License-Identifier: Apache-2.0 */
/* See api.h. */
#include "serve/api/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "serve/http/log.h"

static const struct http_route routes[] = {
    {"POST", "/v1/chat/completions", api_chat, 0, 0, NULL},
    {"POST", "/v1/completions", api_completions, 0, 0, NULL},
    {"POST", "/v1/responses", api_responses, 0, 0, NULL},
    {"POST", "/v1/messages", api_messages, 0, 0, messages_write_fault},
    {"POST", "/v1/messages/count_tokens", api_count_tokens, 0, 0, messages_write_fault},
    {"POST", "/v1/embeddings", api_embeddings, 0, 0, NULL},
    {"GET", "/v1/models", api_models, 0, 0, NULL},
    {"GET", "/v1/models/{}", api_model, 0, 0, NULL},
    {"POST", "/v1/files", api_file_create, HTTP_SPOOL, BATCH_FILE_MAX + (1 << 20), NULL},
    {"GET", "/v1/files", api_files, 0, 0, NULL},
    {"GET", "/v1/files/{}/content", api_file_content, 0, 0, NULL},
    {"GET", "/v1/files/{}", api_file, 0, 0, NULL},
    {"DELETE", "/v1/files/{}", api_file_delete, 0, 0, NULL},
    {"POST", "/v1/batches", api_batch_create, 0, 0, NULL},
    {"GET", "/v1/batches", api_batches, 0, 0, NULL},
    {"POST", "/v1/batches/{}/cancel", api_batch_cancel, 0, 0, NULL},
    {"GET", "/v1/batches/{}", api_batch, 0, 0, NULL},
    {"POST", "/tokenize", api_tokenize, 0, 0, NULL},
    {"POST", "/detokenize", api_detokenize, 0, 0, NULL},
    {"POST", "/apply-template", api_apply_template, 0, 0, NULL},
    {"GET", "/", api_page, API_PUBLIC, 0, NULL},
    {"GET", "/page.css", api_page_css, API_PUBLIC, 0, NULL},
    {"GET", "/page.js", api_page_js, API_PUBLIC, 0, NULL},
    {"GET", "/receipt-key", api_receipt_key, API_PUBLIC, 0, NULL},
    {"GET", "/health", api_health, API_PUBLIC, 0, NULL},
    {"GET", "/v1/health", api_health, API_PUBLIC, 0, NULL},
    {"GET", "/ready", api_ready, API_PUBLIC, 0, NULL},
    {"GET", "/metrics", api_metrics, 0, 0, NULL},
    {"GET", "/version", api_version, 0, 0, NULL},
};

double server_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct call *call_of(struct http_request *r)
{
    return http_data(r);
}

/* --- before ------------------------------------------------------------------------------------------------ */

static const char *key_of(const struct http_request *r)
{
    static const char bearer[] = "Bearer ";
    const char *a = http_header(r, "Authorization"), *x = http_header(r, "x-api-key");
    if (a && strncmp(a, bearer, sizeof bearer - 1) == 0) return a + sizeof bearer - 1;
    return x ? x : "";
}

static void add_gate_headers(struct call *c)
{
    const struct gate_headers *h = &c->pass.headers;
    for (int i = 0; i < h->n; i++) http_set_header(c->r, h->h[i].name, h->h[i].value);
}

static int refuse(struct call *c, const struct gate_refusal *no, struct fault *f)
{
    char text[32];
    if (no->retry_after_s >= 0) {
        snprintf(text, sizeof text, "%.0f", ceil(no->retry_after_s));
        http_set_header(c->r, "Retry-After", text);
    }
    return fault_set(f, no->status, no->type, no->code, NULL, "%s", no->message);
}

static bool before(void *ud, struct http_request *r)
{
    struct server *s = ud;
    struct call *c = calloc(1, sizeof *c);
    if (!c) {
        http_fail(r, &(struct http_fault){.status = 503, .type = "unavailable_error", .message = "out of memory"});
        return false;
    }
    *c = (struct call){.r = r, .s = s, .done = {.id = http_id(r), .route = http_route(r)->path, .start_us = wall_us()}};
    http_set_data(r, c, free);
    if (http_route(r)->flags & API_PUBLIC) return true;
    struct gate_request q = {.id = http_id(r),
                             .key = key_of(r),
                             .inside = http_is_inside(r),
                             .owner = http_owner(r),
                             .remote = http_remote(r),
                             .method = http_method(r),
                             .path = http_path(r)};
    struct gate_refusal no = {.status = 401, .type = "authentication_error", .retry_after_s = -1};
    struct fault f;
    if (s->o.gate->enter(s->o.gate->ud, &q, &c->pass, &no)) {
        refuse(c, &no, &f);
        call_fail(c, &f);
        return false;
    }
    c->entered = true;
    if (c->pass.name[0]) http_note(r, ",\"key\":\"%s\"", c->pass.name);
    return true;
}

int call_model(struct call *c, const char *name, struct fault *f)
{
    struct served_model *m = server_find(c->s, name);
    if (!m && !name) return fault_field(f, "model", "'model' is missing: you must provide a model parameter");
    if (!m)
        return fault_set(f, 404, "invalid_request_error", "model_not_found", "model",
                         "The model `%.100s` does not exist or you do not have access to it.", name);
    if (atomic_load(&c->s->draining)) {
        http_set_header(c->r, "Retry-After", "1");
        return fault_set(f, 503, "unavailable_error", "shutting_down", NULL, "the server is shutting down");
    }
    if (!atomic_load(&m->ready)) {
        http_set_header(c->r, "Retry-After", "1");
        return fault_set(f, 503, "unavailable_error", "model_loading", NULL, "the model '%s' is being loaded", m->name);
    }
    c->m = m;
    c->done.model = m->name;
    http_note(c->r, ",\"model\":\"%s\"", m->name);
    return 0;
}

int call_admit(struct call *c, int n_prompt, int max_answer, enum gate_tier tier, struct fault *f)
{
    if (http_is_inside(c->r)) tier = GATE_BATCH;
    struct gate_load l = {.model = c->m->name, .n_prompt = n_prompt, .max_answer = max_answer, .tier = tier};
    struct gate_refusal no = {.status = 429, .type = "rate_limit_error", .retry_after_s = -1};
    c->done.tier = tier;
    if (!c->entered || !c->s->o.gate->admit(c->s->o.gate->ud, &c->pass, &l, &no)) return 0;
    return refuse(c, &no, f);
}

/* --- after ------------------------------------------------------------------------------------------------- */

/* Reports what was used: before the client sees the end of its answer. */
static void leave(struct call *c, int status)
{
    atomic_fetch_add(&c->s->replies[status >= 100 && status < 600 ? status / 100 : 0], 1);
    if (!c->entered || c->left) return;
    c->left = true;
    c->done.status = status;
    c->s->o.gate->leave(c->s->o.gate->ud, &c->pass, &c->done);
}

void call_reply(struct call *c, int status, const char *type, struct buf *body)
{
    leave(c, http_gone(c->r) ? 499 : status);
    add_gate_headers(c);
    http_reply(c->r, status, type, body);
}

void call_json(struct call *c, int status, struct buf *body)
{
    buf_append_char(body, '\n');
    call_reply(c, status, HTTP_JSON, body);
}

void call_fail(struct call *c, const struct fault *f)
{
    leave(c, f->status);
    add_gate_headers(c);
    http_fail(c->r, &(struct http_fault){.status = f->status,
                                         .type = f->type,
                                         .code = f->code,
                                         .param = f->param[0] ? f->param : NULL,
                                         .message = f->message});
}

void call_error(struct call *c, const char *param, const struct err *e)
{
    struct fault f;
    fault_err(&f, param, e);
    if (f.status == 429 || f.status == 503) http_set_header(c->r, "Retry-After", "1");
    call_fail(c, &f);
}

void call_stream_end(struct call *c, struct str last)
{
    leave(c, http_gone(c->r) ? 499 : 200);
    http_stream_append(c->r, last);
    http_stream_close(c->r);
}

static void log_call(void *ud, const struct http_log *l)
{
    (void)ud;
    log_request(l);
}

void api_fill(struct http_options *o)
{
    o->routes = routes;
    o->n_routes = sizeof routes / sizeof *routes;
    o->before = before;
    o->log = log_call;
    o->alias = "/openai";
}
