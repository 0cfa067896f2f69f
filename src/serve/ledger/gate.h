/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate: who may ask, how much, and what was used. The API calls it at three points of every request that is not public:
 *
 *   enter   the key, before the body is looked at          refused: 401, 403, 429 (requests)
 *   admit   model and prompt tokens are known              refused: 429 (tokens), 498, 400 (spend cap)
 *   leave   the answer is known and not yet sent           exactly once for every enter that succeeded
 *
 * leave returns when what it was told cannot be lost any more: only then does the client see the end of its answer. All
 * three run on the server's worker threads, several at once, and may wait for a disk; none runs on a scheduler's
 * thread. gate_open is the gate of a server without keys: everybody is owner 0.
 */
#ifndef TUTTI_SERVE_LEDGER_GATE_H
#define TUTTI_SERVE_LEDGER_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum { GATE_HEADERS_MAX = 8, GATE_NAME_MAX = 64 };

struct gate_headers { /* go into the reply, whatever its status */
    int n;
    struct gate_header {
        const char *name; /* static: "x-ratelimit-limit-tokens" */
        char value[32];
    } h[GATE_HEADERS_MAX];
};

enum gate_tier { GATE_DEFAULT, GATE_FLEX, GATE_BATCH };

struct gate_request {
    const char *id;     /* "req_..." */
    const char *key;    /* of Authorization: Bearer or x-api-key; "" if there is none */
    bool inside;        /* the server itself asks, for an owner whose key it has seen (gate_pass.owner); key is "" */
    uint64_t owner;
    const char *remote; /* address of the peer, without port */
    const char *method, *path;
};

struct gate_pass {
    uint64_t owner;             /* whose turn and whose cached prefixes; 0: nobody in particular */
    int priority;               /* of struct sched_request */
    char name[GATE_NAME_MAX];   /* of the key, for logs; never the key itself */
    struct gate_headers headers;
    void *data;                 /* the gate's own; freed by leave */
};

struct gate_load {
    const char *model;
    int n_prompt, max_answer;   /* tokens; max_answer over all choices, 0 if unlimited */
    enum gate_tier tier;
};

struct gate_done {
    const char *id, *route, *model; /* model NULL: none was reached */
    int status;                     /* HTTP; 499: the client vanished */
    enum gate_tier tier;
    int n_prompt, n_cached, n_answer;
    double queue_s, prompt_s, answer_s;
    int64_t start_us;               /* since 1970 */
};

struct gate_refusal {
    int status;
    const char *type, *code; /* of the error object; code may be NULL */
    double retry_after_s;    /* negative: no such header */
    char message[256];
};

struct gate {
    /* 0, or an error code after *no was filled */
    int (*enter)(void *ud, const struct gate_request *q, struct gate_pass *p, struct gate_refusal *no);
    int (*admit)(void *ud, struct gate_pass *p, const struct gate_load *l, struct gate_refusal *no);
    void (*leave)(void *ud, struct gate_pass *p, const struct gate_done *d);
    void *ud;
};

extern const struct gate gate_open;

#endif
