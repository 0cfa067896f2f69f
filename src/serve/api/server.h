/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server: several models in one memory budget behind one HTTP port, from start to drain.
 *
 *   server_start   listens at once; /health says 503 until all models are loaded, by a thread of their own
 *   server_quiesce takes no new requests; those under way go on (server_busy)
 *   server_stop    ends those that are left
 *
 * A model that is ready stays until server_stop, so requests borrow it without counting.
 */
#ifndef TUTTI_SERVE_API_SERVER_H
#define TUTTI_SERVE_API_SERVER_H

#include <stdatomic.h>
#include <time.h>
#include "base/path.h"
#include "file/root.h"
#include "serve/api/batch.h"
#include "serve/api/metrics.h"
#include "serve/ask/form.h"
#include "serve/ask/marks.h"
#include "serve/http/http.h"
#include "serve/ledger/gate.h"
#include "serve/receipt/signing.h"
#include "serve/sched/sched.h"

enum { SERVER_MODELS_MAX = 64, SERVER_NAME_MAX = 200, SERVER_SCRATCH_MAX = 64, SERVER_FINGERPRINT = 14 };

struct server_options {
    struct http_options http; /* routes, hooks and user data are filled in by the server */
    struct engine_options engine; /* for every model; kv_bytes is filled in */
    struct sched_options sched;
    /* weights, buffers, keys and values of all models; 0: half of what the machine has free */
    uint64_t memory_bytes;
    bool any_model;           /* an unknown model name means the first one */
    const struct gate *gate;
    const struct signing *signing; /* of receipts; NULL: none are given */
    bool receipts;            /* also for who does not ask */
    /* model file that guesses for the one that is served (sched.guess); its memory is part of the
     * budget */
    const char *draft;
    const char *files;        /* folder of files and batches; NULL: the default one */
};

struct served_model {
    char name[SERVER_NAME_MAX];
    struct path path;
    struct engine *engine;
    struct text text;
    struct sched *sched;
    struct forms *forms;      /* grammars that requests asked for */
    struct metrics metrics;
    struct marks marks;       /* of thoughts and calls */
    time_t created;
    char fingerprint[SERVER_FINGERPRINT]; /* "fp_" and 10 digits: contract and file; equal ones give equal answers */
    atomic_bool ready, has_root;
    uint8_t root[ROOT_BYTES]; /* once has_root is set */
    pthread_mutex_t lock;     /* of what follows */
    struct tok_scratch *scratch[SERVER_SCRATCH_MAX];
    int n_scratch;
};

struct root_wait {
    struct http_request *r;
    void (*fn)(struct http_request *r);
};

struct server {
    struct server_options o;
    struct http *http;
    pthread_mutex_t files_lock; /* of what follows */
    struct path files;        /* folder of files and batches, once batches are open */
    struct batches *batches;  /* NULL until they are needed */
    struct served_model model[SERVER_MODELS_MAX];
    int n_models;
    struct engine *draft;     /* of o.draft */
    time_t started;
    atomic_bool loaded, failed, draining; /* failed: a model cannot be loaded, load_err says why */
    atomic_uint_least64_t replies[6]; /* by status / 100 */
    pthread_t loader;
    bool loading;             /* the loader must be joined */
    struct err load_err;

    pthread_t rooter;         /* server_root.c */
    bool rooting;
    atomic_int root_stop;
    pthread_mutex_t root_lock; /* of what follows */
    bool roots_done;
    struct root_wait *wait;   /* [n_waits] */
    int n_waits, cap_waits;
};

/* spec: MODEL or NAME=MODEL, where MODEL is a path or the name of a pulled model. */
int server_add_model(struct server *s, const char *spec, struct err *e);
int server_start(struct server *s, const struct server_options *o, struct err *e);
void server_quiesce(struct server *s);
int server_busy(struct server *s); /* requests whose reply is not sent */
void server_stop(struct server *s);

/* By the name a client gave (NULL: none). NULL if there is no such model. */
struct served_model *server_find(struct server *s, const char *name);

/* Looks for the roots of all models, once they are loaded; ends the search. */
void server_begin_roots(struct server *s);
void server_end_roots(struct server *s);
/* True: the model's root is not known yet, and fn(r) will be called when it is, or when it will never be. */
bool server_wait_root(struct server *s, const struct served_model *m, struct http_request *r,
                      void (*fn)(struct http_request *r));

/* Opens the store of files and batches when it is first needed. */
int server_files(struct server *s, struct err *e);

/* A tokenizer's scratch for one thread, kept between requests. NULL is a valid scratch. */
struct tok_scratch *model_take_scratch(struct served_model *m);
void model_give_scratch(struct served_model *m, struct tok_scratch *x);

#endif
