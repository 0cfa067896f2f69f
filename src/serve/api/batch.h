/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch: many requests in a file, answered when there is room. A batch has a thread that reads its lines and
 * sends them as requests from inside (http_inside), a few at a time, on the account of its owner and with the
 * lowest priority; what comes back goes to the end of its output file, or of its error file. The record of a
 * batch is in the store and says all that a client sees.
 *
 *   validating -> in_progress -> finalizing -> completed     also: failed, expired, cancelling -> cancelled
 *
 * A batch outlives its server. One that is found unfinished at the next start goes on: lines that have their
 * answer in one of its two files are not asked again. Keys are not stored; the requests say for which owner
 * they are (http_owner).
 */
#ifndef TUTTI_SERVE_API_BATCH_H
#define TUTTI_SERVE_API_BATCH_H

#include "serve/api/store.h"
#include "serve/http/http.h"

enum {
    BATCH_LINES_MAX = 50000,
    BATCH_LINE_MAX = 8 << 20,    /* bytes */
    BATCH_IN_FLIGHT = 16,        /* lines of a batch */
    BATCHES_MAX = 64,            /* at work */
    BATCH_FILE_MAX = 100 << 20,  /* bytes of the input */
    BATCH_HOURS_MIN = 24, BATCH_HOURS_MAX = 7 * 24,
};

struct batches;

int batches_open(struct batches **b, const struct path *dir, struct http *h, struct err *e);
/* Batches of an earlier server go on: once, when the models are ready. */
void batches_recall(struct batches *b);
/* Sends no more lines; a batch that has some left goes on at the next start. Accepts NULL. */
void batches_stop(struct batches *b);
/* Waits until all have ended. Before http_stop. Accepts NULL. */
void batches_close(struct batches *b);

struct batch_order {
    uint64_t owner;
    const char *endpoint, *window;
    const json_t *metadata;    /* or NULL */
    struct store_file input;
};
/* Begins; *record is the new batch, json_decref it. ERR_BUSY if too many are at work. */
int batch_create(struct batches *b, const struct batch_order *o, json_t **record, struct err *e);
int batch_find(struct batches *b, uint64_t owner, const char *id, json_t **record, struct err *e);
int batch_cancel(struct batches *b, uint64_t owner, const char *id, json_t **record, struct err *e);

/* "24h", "7d": hours, or -1. */
int batch_hours(const char *window);

#endif
