/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/models and /v1/models/{id}, with the fields of OpenAI, Groq and vLLM. */
#include "serve/api/api.h"
#include "serve/http/json_out.h"

static void write_model(struct buf *b, struct served_model *m)
{
    bool ready = atomic_load(&m->ready);
    buf_append_z(b, "{\"id\":");
    json_quote(b, str_from(m->name));
    buf_printf(
        b, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"tutti\",\"active\":%s,\"public_apps\":null",
        (long long)m->created, ready ? "true" : "false");
    if (ready) {
        const struct hparams *h = &m->engine->model->h;
        int n = m->engine->n_ctx;
        buf_printf(
            b,
            ",\"context_window\":%d,\"max_model_len\":%d,\"max_completion_tokens\":%d,\"meta\":{\"vocab\":%d,\"n_ctx_train\":%d,\"n_embd\":%d,\"n_layer\":%d,\"arch\":",
            n, n, n, h->n_vocab, h->n_ctx_train, h->n_embd, h->n_layer);
        json_quote(b, h->arch);
        buf_printf(b, ",\"system_fingerprint\":\"%s\"}", m->fingerprint);
    }
    buf_append_char(b, '}');
}

void api_models(struct http_request *r)
{
    struct call *c = call_of(r);
    struct buf b;
    buf_init(&b, API_REPLY_MAX);
    buf_append_z(&b, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < c->s->n_models; i++) {
        if (i) buf_append_char(&b, ',');
        write_model(&b, &c->s->model[i]);
    }
    buf_append_z(&b, "]}");
    call_json(c, 200, &b);
}

void api_model(struct http_request *r)
{
    struct call *c = call_of(r);
    struct served_model *m = server_find(c->s, http_arg(r));
    struct fault f;
    struct buf b;
    if (!m) {
        fault_set(&f, 404, "invalid_request_error", "model_not_found", "model",
                  "The model `%.100s` does not exist or you do not have access to it.", http_arg(r));
        call_fail(c, &f);
        return;
    }
    buf_init(&b, API_REPLY_MAX);
    write_model(&b, m);
    call_json(c, 200, &b);
}
