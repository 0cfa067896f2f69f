/* SPDX-License-Identifier: Apache-2.0 */
/* Replies and streams of http: what any thread writes, and what the library's thread takes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "serve/http/http_int.h"
#include "serve/http/json_out.h"

void http_write_fault(struct buf *out, const struct http_fault *f)
{
    buf_append_z(out, "{\"error\":{\"message\":");
    json_quote(out, str_from(f->message));
    buf_append_z(out, ",\"type\":");
    json_quote(out, str_from(f->type));
    buf_append_z(out, ",\"param\":");
    json_quote_or_null(out, f->param);
    buf_append_z(out, ",\"code\":");
    json_quote_or_null(out, f->code);
    buf_append_z(out, "}}\n");
}

void http_set_header(struct http_request *r, const char *name, const char *value)
{
    http_pair_add(&r->out_head, name, value);
}

void http_note(struct http_request *r, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&r->lock);
    if (n > 0 && (size_t)n < sizeof text) buf_append(&r->note, text, (size_t)n);
    pthread_mutex_unlock(&r->lock);
}

/* From inside: there is nobody to send it to but the function. Ends the handler's hold. */
static void finish_inside(struct http_request *r)
{
    r->done(r->done_ud, r->id, r->status, buf_str(&r->out));
    http_request_unref(r);
}

void http_reply(struct http_request *r, int status, const char *type, struct buf *body)
{
    if (body->failed) {
        int failed = body->failed;
        buf_finish(body);
        buf_init(body, HTTP_PENDING_MAX);
        http_write_fault(body, &(struct http_fault){.type = "server_error",
                                                    .message = failed == ERR_LIMIT ? "the reply is too long"
                                                                                   : "out of memory"});
        status = failed == ERR_LIMIT ? 500 : 503;
        type = HTTP_JSON;
    }
    pthread_mutex_lock(&r->lock);
    buf_finish(&r->out);
    r->out = *body;
    *body = (struct buf){0};
    r->status = status;
    r->type = type;
    r->state = HTTP_REPLIED;
    r->ended = true;
    http_resume(r);
    pthread_mutex_unlock(&r->lock);
    if (r->done) finish_inside(r);
    else http_request_unref(r);
}

void http_fail(struct http_request *r, const struct http_fault *f)
{
    struct buf b;
    buf_init(&b, HTTP_PENDING_MAX);
    (r->route && r->route->write_fault ? r->route->write_fault : http_write_fault)(&b, f);
    http_reply(r, f->status, HTTP_JSON, &b);
}

void http_stream_open(struct http_request *r, int status, const char *type)
{
    pthread_mutex_lock(&r->lock);
    r->status = status;
    r->type = type;
    r->state = HTTP_STREAMING;
    r->written_s = http_now();
    http_resume(r);
    pthread_mutex_unlock(&r->lock);
}

int http_stream_append(struct http_request *r, struct str text)
{
    int rc = 0;
    pthread_mutex_lock(&r->lock);
    size_t waits = r->out.n - r->out_at + text.n;
    if (r->gone) {
        rc = ERR_CANCELLED;
    } else if (r->cut || waits > HTTP_PENDING_MAX ||
               (waits > HTTP_PENDING_SHARE && atomic_load(&r->h->pending) > HTTP_PENDING_ALL_MAX)) {
        r->cut = true;
        rc = ERR_LIMIT;
    } else {
        if (r->out_at > HTTP_PENDING_SHARE / 2) {
            memmove(r->out.p, r->out.p + r->out_at, r->out.n - r->out_at);
            r->out.n -= r->out_at;
            r->out_at = 0;
        }
        rc = buf_append_str(&r->out, text);
        if (rc) r->cut = true;
        else atomic_fetch_add(&r->h->pending, text.n);
        r->written_s = http_now();
    }
    if (rc != ERR_CANCELLED) http_resume(r);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

void http_stream_close(struct http_request *r)
{
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    http_resume(r);
    pthread_mutex_unlock(&r->lock);
    if (r->done) finish_inside(r);
    else http_request_unref(r);
}
