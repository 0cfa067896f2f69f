/* SPDX-License-Identifier: Apache-2.0 */
/* Routes for those who run the server: health, readiness, metrics, version. */
#include <inttypes.h>
#include "serve/api/api.h"
#include "serve/http/json_out.h"

/* The process lives and its models are loaded: 200; still loading: 503. */
void api_health(struct http_request *r)
{
    struct call *c = call_of(r);
    struct fault f;
    struct buf b;
    if (!atomic_load(&c->s->loaded)) {
        fault_set(&f, 503, "unavailable_error", "model_loading", NULL, "models are being loaded");
        call_fail(c, &f);
        return;
    }
    buf_init(&b, API_REPLY_MAX);
    buf_append_z(&b, "{\"status\":\"ok\"}");
    call_json(c, 200, &b);
}

/* New requests are welcome: loaded and not draining. */
void api_ready(struct http_request *r)
{
    struct call *c = call_of(r);
    struct fault f;
    if (atomic_load(&c->s->draining)) {
        fault_set(&f, 503, "unavailable_error", "shutting_down", NULL, "the server is shutting down");
        call_fail(c, &f);
        return;
    }
    api_health(r);
}

void api_version(struct http_request *r)
{
    struct buf b;
    char id[65];
    engine_contract_id(id);
    buf_init(&b, API_REPLY_MAX);
    buf_printf(&b, "{\"version\":\"" TUTTI_VERSION "\",\"contract\":\"%s\"}", id);
    call_json(call_of(r), 200, &b);
}

static void write_server(struct buf *b, struct server *s)
{
    buf_printf(
        b,
        "# HELP tutti_info Version of the server\n# TYPE tutti_info gauge\ntutti_info{version=\"" TUTTI_VERSION
        "\"} 1\n");
    buf_printf(
        b,
        "# HELP process_start_time_seconds When the server started, since 1970\n# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %lld\n",
        (long long)s->started);
    buf_printf(
        b,
        "# HELP tutti_connections Open connections\n# TYPE tutti_connections gauge\ntutti_connections %d\n",
        http_conns(s->http));
    buf_append_z(b, "# HELP tutti_replies_total Replies by class of status\n# TYPE tutti_replies_total counter\n");
    for (int i = 2; i < 6; i++)
        buf_printf(b, "tutti_replies_total{class=\"%dxx\"} %" PRIu64 "\n", i,
                   (uint64_t)atomic_load(&s->replies[i]));
}

void api_metrics(struct http_request *r)
{
    struct call *c = call_of(r);
    struct server *s = c->s;
    struct metrics_model list[SERVER_MODELS_MAX];
    struct buf b;
    buf_init(&b, API_REPLY_MAX);
    for (int i = 0; i < s->n_models; i++) {
        struct served_model *m = &s->model[i];
        bool ready = atomic_load(&m->ready);
        list[i] = (struct metrics_model){.name = m->name, .m = &m->metrics, .page_tokens = ATTN_CHUNK, .ready = ready};
        if (ready) sched_stats(m->sched, &list[i].stats);
    }
    write_server(&b, s);
    metrics_write(&b, list, s->n_models);
    call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}
