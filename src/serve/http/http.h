/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: requests in, replies and streams out. What lies above (api.h) never sees the HTTP library or a
 * socket.
 *
 *   library's thread    reads a request whole, and sends what was written   http.c alone sees the library
 *   worker threads      run its route's handler                             http/work.c
 *   watcher's thread    notices clients that went away, sends heartbeats    http/watch.c
 *   any thread          replies, or appends to a stream                     http/reply.c
 *
 * A handler ends its request by http_reply, http_fail or http_stream_close, at once or later from any thread;
 * afterwards it must not touch it. Until then the request lives, even if its client is gone. A request may
 * also come from inside (http_inside, batches): its whole reply goes to a function.
 *
 * Bounds: connections, bytes of a body, of all bodies, of a stream that its client does not read, of all
 * those; seconds that a request may take to arrive. Each is a constant below or an option.
 */
#ifndef TUTTI_SERVE_HTTP_HTTP_H
#define TUTTI_SERVE_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
    HTTP_CONNS_DEFAULT = 4096,
    HTTP_WORKERS_DEFAULT = 4,
    HTTP_CONN_MEMORY = 16 << 10,     /* of the library for each connection: also the most that headers may take */
    HTTP_BODY_DEFAULT = 8 << 20,     /* bytes of a request's body */
    HTTP_BODIES_MAX = 512 << 20,     /* of all bodies together */
    HTTP_PENDING_MAX = 1 << 20,      /* written to a stream and not yet taken by its client: beyond, it is cut */
    HTTP_PENDING_SHARE = 64 << 10,   /* what each stream may have pending when all together reach ... */
    HTTP_PENDING_ALL_MAX = 128 << 20,
    HTTP_RECEIVE_S = 300,            /* for a request to arrive whole */
    HTTP_IDLE_S = 120,               /* a connection on which nothing moves */
    HTTP_HEARTBEAT_S = 15,           /* a comment on a stream that is silent */
    HTTP_ORIGINS_MAX = 32,
    HTTP_ID_CHARS = 32,
};

struct http;
struct http_request;

/* What went wrong, as a client sees it. */
struct http_fault {
    int status;
    const char *type;  /* "invalid_request_error" */
    const char *param; /* field, or NULL */
    const char *code;  /* or NULL */
    const char *message;
};

struct http_route {
    const char *method; /* "GET" also answers HEAD */
    const char *path;   /* "/v1/models/{}": {} matches one part of a path, at the end also several */
    void (*handle)(struct http_request *r);
    unsigned flags;     /* the caller's; http itself looks at HTTP_SPOOL only */
    size_t max_body;    /* 0: http_options.max_body */
    void (*write_fault)(struct buf *out, const struct http_fault *f); /* body of an error; NULL: as OpenAI writes it */
};
#define HTTP_SPOOL 0x80000000u /* the body goes to a file that is mapped */

struct http_log { /* of a request that is over */
    const char *id, *method, *path, *remote;
    int status;
    bool vanished;     /* the client did not wait for the end */
    double seconds;
    uint64_t bytes_in, bytes_out;
    struct str extra;  /* what http_note collected: ,"name":value,... */
};

struct http_options {
    const char *host;   /* "127.0.0.1" */
    int port;           /* 0: any that is free */
    int listen_fd;      /* a socket that listens already; -1: none */
    const char *tls_cert, *tls_key; /* PEM files; NULL: plain HTTP */
    const char *origin[HTTP_ORIGINS_MAX]; /* whose pages may ask (CORS); "*": all */
    int n_origins;
    int max_conns, n_workers; /* 0: defaults */
    size_t max_body;          /* 0: default */
    const char *alias;        /* a prefix that paths may carry ("/openai"), or NULL */
    const struct http_route *routes;
    int n_routes;
    bool (*before)(void *ud, struct http_request *r); /* on a worker, before the handler; false: it has replied */
    void (*log)(void *ud, const struct http_log *l);  /* any thread */
    void *ud;
};

/* Listens and answers from now on. ERR_USAGE names a port that is in use. */
int http_start(struct http **h, const struct http_options *o, struct err *e);
int http_port(const struct http *h);
int http_conns(struct http *h);    /* open connections */
int http_active(struct http *h);   /* of them, those with a request that is not over */
void http_quiesce(struct http *h); /* takes no new connections; those that are open close after their reply */
void http_stop(struct http *h);    /* every request must have ended or be about to; accepts NULL */

/* --- what was asked; valid until the request ends --- */
const char *http_id(const struct http_request *r);     /* "req_" and 26 characters */
const char *http_method(const struct http_request *r);
const char *http_path(const struct http_request *r);   /* without the alias */
bool http_aliased(const struct http_request *r);       /* the path came with the alias */
const char *http_arg(const struct http_request *r);    /* what {} stood for, "" if none */
const char *http_header(const struct http_request *r, const char *name); /* NULL: absent */
const char *http_query(const struct http_request *r, const char *name);  /* NULL: absent */
const char *http_remote(const struct http_request *r); /* address without port */
struct str http_body(const struct http_request *r);
const struct http_route *http_route(const struct http_request *r);
void *http_ud(const struct http_request *r);           /* of the options */
double http_begin_s(const struct http_request *r);     /* when it had arrived, monotonic */
bool http_is_inside(const struct http_request *r);     /* made by http_inside */
uint64_t http_owner(const struct http_request *r);     /* for whom, if from inside */
bool http_gone(struct http_request *r);                /* the client does not wait any more */

/* Something that the handler keeps with the request; freed with it. */
void http_set_data(struct http_request *r, void *data, void (*free_data)(void *data));
void *http_data(const struct http_request *r);

/* --- answers --- */
/* One more header of the reply; name is static. Before the reply begins. */
void http_set_header(struct http_request *r, const char *name, const char *value);
/* Appends ,"name":value to the request's line in the log: whole JSON values. */
void http_note(struct http_request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The whole reply; takes the buffer's memory over and leaves it empty. A buffer that failed becomes a 500 or 503. */
void http_reply(struct http_request *r, int status, const char *type, struct buf *body);
void http_fail(struct http_request *r, const struct http_fault *f);

/* A reply that is written bit by bit. After open, 0 or why nothing more is taken: ERR_CANCELLED (the client is gone),
 * ERR_LIMIT (it does not read). Close ends the request in any case. */
void http_stream_open(struct http_request *r, int status, const char *type);
int http_stream_append(struct http_request *r, struct str text);
void http_stream_close(struct http_request *r);
#define HTTP_EVENTS "text/event-stream; charset=utf-8"
#define HTTP_JSON "application/json"

/* fn(r) on a worker thread, soon. */
void http_defer(struct http_request *r, void (*fn)(struct http_request *r));
/* fn(ctx, ticket) once, from any thread, when the client goes away before the request ends; at once if it has. What ctx
 * points to outlives the server's requests. */
int http_on_gone(struct http_request *r, void (*fn)(void *ctx, uint64_t ticket), void *ctx, uint64_t ticket);

/* A request from inside, for an owner that the caller knows (http_owner); done gets its reply on some thread.
 * The strings are copied. ERR_MEMORY, or ERR_USAGE for a route that does not exist. */
typedef void http_done_fn(void *ud, const char *id, int status, struct str body);
int http_inside(struct http *h, const char *method, const char *path, uint64_t owner, struct str body,
                http_done_fn *done, void *done_ud, struct err *e);

/* "{"error": ...}" as OpenAI writes it. */
void http_write_fault(struct buf *out, const struct http_fault *f);

#endif
