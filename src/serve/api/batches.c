/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/batches: batch.h by HTTP. */
#include <string.h>
#include "serve/api/list.h"
#include "serve/ask/ask.h"
#include "serve/ask/fields.h"
#include "serve/http/json_out.h"

struct batch_ask {
    const char *input, *endpoint, *window;
    const json_t *metadata;
};

#define AT(f) offsetof(struct batch_ask, f)
static const struct field table[] = {
    {"input_file_id", FIELD_STRING, AT(input), 0, 0, 0},
    {"endpoint", FIELD_STRING, AT(endpoint), 0, 0, 0},
    {"completion_window", FIELD_STRING, AT(window), 0, 0, 0},
    {"metadata", FIELD_OBJECT, AT(metadata), 0, 0, 0},
    {0}};
#undef AT

static const char *const endpoints[] = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"};

/* The record as a client sees it, without what is the server's own. Frees it. */
static void write_record(json_t *record, struct buf *out)
{
    json_object_del(record, "owner");
    json_object_del(record, "parts");
    json_value(out, record);
    json_decref(record);
}

static void reply(struct call *c, json_t *record)
{
    struct buf b;
    buf_init(&b, API_REPLY_MAX);
    write_record(record, &b);
    call_json(c, 200, &b);
}

static int check(struct batch_ask *a, struct fault *f)
{
    if (!a->input) return fault_field(f, "input_file_id", "'input_file_id' is missing: expected the id of a file");
    if (!a->window) a->window = "24h";
    if (batch_hours(a->window) < 0)
        return fault_field(f, "completion_window",
                           "'completion_window': expected hours or days from %dh to %dd, got \"%.20s\"",
                           BATCH_HOURS_MIN, BATCH_HOURS_MAX / 24, a->window);
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints && a->endpoint; i++)
        if (strcmp(a->endpoint, endpoints[i]) == 0) return 0;
    return fault_field(f, "endpoint", "'endpoint': expected %s, %s or %s, got %s%.40s", endpoints[0],
                       endpoints[1], endpoints[2], a->endpoint ? "" : "nothing",
                       a->endpoint ? a->endpoint : "");
}

void api_batch_create(struct http_request *r)
{
    struct call *c = call_of(r);
    struct batch_ask a = {0};
    struct batch_order o = {.owner = c->pass.owner};
    struct fault f;
    struct err e = {0};
    json_t *body = NULL, *record = NULL;
    int rc = atomic_load(&c->s->loaded) ? 0
                                        : fault_set(&f, 503, "unavailable_error", "model_loading", NULL,
                                                    "the models are being loaded");
    if (!rc) rc = ask_parse_object(http_body(r), &body, &f);
    if (!rc) rc = fields_read(table, 0, body, &a, &f);
    if (!rc) rc = check(&a, &f);
    if (rc) {
        json_decref(body);
        call_fail(c, &f);
        return;
    }
    o.endpoint = a.endpoint;
    o.window = a.window;
    o.metadata = a.metadata;
    rc = server_files(c->s, &e);
    if (!rc) rc = store_find(&c->s->files, o.owner, a.input, &o.input, &e);
    if (!rc) rc = batch_create(c->s->batches, &o, &record, &e);
    json_decref(body);
    if (rc) call_error(c, rc == ERR_NOT_FOUND ? "input_file_id" : NULL, &e);
    else reply(c, record);
}

void api_batch(struct http_request *r)
{
    struct call *c = call_of(r);
    struct err e = {0};
    json_t *record;
    int rc = server_files(c->s, &e);
    if (!rc) rc = batch_find(c->s->batches, c->pass.owner, http_arg(r), &record, &e);
    if (rc) call_error(c, "id", &e);
    else reply(c, record);
}

void api_batch_cancel(struct http_request *r)
{
    struct call *c = call_of(r);
    struct err e = {0};
    json_t *record;
    int rc = server_files(c->s, &e);
    if (!rc) rc = batch_cancel(c->s->batches, c->pass.owner, http_arg(r), &record, &e);
    if (rc) call_error(c, "id", &e);
    else reply(c, record);
}

enum { LIST_DEFAULT = 20, LIST_MAX = 100 };

static int write_batch(struct call *c, const char *id, struct buf *out)
{
    json_t *record;
    int rc = batch_find(c->s->batches, c->pass.owner, id, &record, NULL);
    if (rc) return rc;
    write_record(record, out);
    return 0;
}

void api_batches(struct http_request *r)
{
    call_list(call_of(r), "batch_", LIST_DEFAULT, LIST_MAX, write_batch);
}
