/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Insides of http, shared by its files. Locks, in the order in which they may be held: http.slot_lock, then
 * http_request.lock, then those of http_work. None is held while a function from above is called.
 */
#ifndef TUTTI_SERVE_HTTP_HTTP_INT_H
#define TUTTI_SERVE_HTTP_HTTP_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include "serve/http/http.h"

/* A connection. The watcher knows it by number and generation, so that an event of a socket that was closed meanwhile
 * meets nobody. */
struct http_slot {
    int fd;
    uint32_t generation;
    bool used;
    bool half;                    /* the client has closed its side */
    double receive_s;             /* since when a request arrives; 0: none does */
    struct http_request *current; /* holds a reference */
    int next_free;
};

struct http_work {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct http_request *first, *last;
    pthread_t *thread;
    int n_threads;
    bool stop;
};

struct http {
    struct http_options o;
    void *daemon;                 /* struct MHD_Daemon */
    int listen_fd, port;
    char *tls_cert, *tls_key;     /* contents */

    pthread_mutex_t slot_lock;
    struct http_slot *slot;       /* [o.max_conns] */
    int first_free, n_used, n_conns, n_active;
    int watch_fd, wake_fd;        /* epoll; eventfd that ends the watcher */
    pthread_t watcher;
    bool watching;

    struct http_work work;
    atomic_bool closing;          /* replies close their connection */
    atomic_size_t bodies, pending; /* bytes */
};

enum http_state { HTTP_RECEIVING, HTTP_WORKING, HTTP_REPLIED, HTTP_STREAMING };

struct http_watch {
    void (*fn)(void *ctx, uint64_t ticket);
    void *ctx;
    uint64_t ticket;
};

struct http_request {
    struct http *h;
    const struct http_route *route;
    atomic_int refs;              /* the library's, the handler's, the slot's */
    char id[HTTP_ID_CHARS];
    char method[16], remote[48];
    struct buf path, arg_text;
    bool aliased;
    const char *arg;              /* arg_text, or "" */
    struct buf head, query;       /* name NUL value NUL ... */
    struct buf body;
    int spool_fd;                 /* or -1 */
    void *map;                    /* of the spooled body */
    size_t n_body, n_dropped;     /* bytes that came; and those that came after a fault */
    double begin_s;
    void *data;
    void (*free_data)(void *data);
    struct http_fault early;      /* status 0: none; found before the body had come */
    char early_text[160];

    pthread_mutex_t lock;         /* of all that follows */
    enum http_state state;
    void *conn;                   /* struct MHD_Connection; NULL: over, or from inside */
    int slot;                     /* -1: from inside */
    bool suspended, gone, ended, cut;
    struct http_watch *watch;     /* [n_watch] */
    int n_watch;
    int status;
    const char *type;
    struct buf out;               /* the whole reply, or what is pending of a stream */
    size_t out_at;                /* of out, already sent */
    uint64_t n_out;               /* bytes sent */
    double written_s;             /* when something was last appended */
    struct buf out_head;          /* name NUL value NUL ... */
    struct buf note;
    http_done_fn *done;           /* from inside */
    void *done_ud;
    uint64_t owner;

    void (*work)(struct http_request *r);
    struct http_request *next;    /* in http_work */
};

double http_now(void); /* monotonic seconds */

/* http/request.c */
struct http_request *http_request_create(struct http *h, const char *method, const char *url);
void http_request_ref(struct http_request *r);
void http_request_unref(struct http_request *r);
void http_request_lost(struct http_request *r); /* the client went away */
/* Finds the route; fills r->route and r->arg, or r->early. */
void http_request_route(struct http_request *r);
int http_pair_add(struct buf *b, const char *name, const char *value);
const char *http_pair_find(const struct buf *b, const char *name, bool fold_case);
/* Takes a piece of the body, or notes in r->early why not. */
void http_body_take(struct http_request *r, const char *p, size_t n);
void http_body_done(struct http_request *r);
void http_early(struct http_request *r, int status, const char *type, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* http/work.c */
int http_work_start(struct http *h, int n_threads, struct err *e);
void http_work_push(struct http_request *r, void (*fn)(struct http_request *r));
void http_work_stop(struct http *h); /* after what is queued */
void http_run_route(struct http_request *r);

/* http/watch.c */
int http_watch_start(struct http *h, struct err *e);
void http_watch_stop(struct http *h);
int http_slot_take(struct http *h, int fd); /* its number, or -1 */
void http_slot_drop(struct http *h, int slot);
void http_slot_set(struct http *h, int slot, struct http_request *r); /* NULL: none */
void http_slot_received(struct http *h, int slot);
void http_slots_wake(struct http *h); /* resumes every connection that waits */

/* http/listen.c */
int http_listen(const struct http_options *o, int *fd, int *port, struct err *e);

/* http.c */
void http_resume(struct http_request *r); /* under r->lock: the library looks at r again */

#endif
