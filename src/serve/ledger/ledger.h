/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger: the keys and every request that was answered, in a database: a file of SQLite (WAL), or PostgreSQL, which
 * several servers behind one balancer may share. One ledger is used by one thread; other processes (tutti keys, tutti
 * usage, other servers) may use the same database at any time.
 *
 *   keys      one row per key; of the secret only its hash (keys.h)
 *   requests  one row per finished request, named by its request id: writing a row twice writes it once
 *   daily     sums of requests by day, key and model, kept by a trigger in the same transaction
 *   version   a number that grows with each change of a key, so that servers see it
 *
 * ledger.c has the statements, in the SQL that both know; ledger/sqlite.c and ledger/postgresql.c run them.
 */
#ifndef TUTTI_SERVE_LEDGER_LEDGER_H
#define TUTTI_SERVE_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/path.h"
#include "serve/ledger/keys.h"

enum { LEDGER_MODEL_MAX = 200, LEDGER_ENDPOINT_MAX = 64, LEDGER_FINISH_MAX = 24, LEDGER_REQUEST_MAX = 40 };

struct ledger_row {
    char request[LEDGER_REQUEST_MAX];
    char model[LEDGER_MODEL_MAX];
    char endpoint[LEDGER_ENDPOINT_MAX];
    char finish[LEDGER_FINISH_MAX]; /* why it ended */
    int64_t key;                    /* 0: none was needed */
    int64_t time_us;                /* when it began, since 1970 */
    int64_t status;                 /* of HTTP */
    int64_t n_prompt, n_cached, n_answer; /* tokens */
    int64_t queue_us, prompt_us, answer_us;
    int64_t cost_nusd; /* nano-dollars */
};

struct ledger_sum {
    int64_t day; /* since 1970 */
    int64_t key;
    char key_name[KEY_NAME_MAX + 1]; /* "" if the key is 0 */
    char model[LEDGER_MODEL_MAX];
    int64_t n_requests, n_prompt, n_cached, n_answer, cost_nusd;
};

struct ledger;

/* A path, "postgresql://...", or NULL: ledger_default_path. Tables are made where they lack. */
int ledger_open(struct ledger **l, const char *where, struct err *e);
void ledger_close(struct ledger *l); /* accepts NULL */
bool ledger_is_shared(const struct ledger *l); /* other machines may write to it */
/* $TUTTI_LEDGER, else $XDG_DATA_HOME/tutti/ledger.db, else ~/.local/share/tutti/ledger.db. */
int ledger_default_path(struct path *p, struct err *e);

/* Fills k->id. ERR_USAGE if a key of this name is in use. */
int ledger_key_add(struct ledger *l, struct key *k, struct err *e);
/* By name or id. ERR_NOT_FOUND if no key in use has it. */
int ledger_key_revoke(struct ledger *l, const char *which, int64_t now_us, int64_t *id, struct err *e);
/* All keys, also revoked ones, by id; free(*out). */
int ledger_keys(struct ledger *l, struct key **out, int *n, struct err *e);
int ledger_keys_version(struct ledger *l, int64_t *version, struct err *e);

/* All rows in one transaction, on disk when it returns. Rows whose request is known are left out. */
int ledger_write(struct ledger *l, const struct ledger_row *row, int n, struct err *e);

/* Sums of days first..last, by day, key and model. fn not 0: stop and return it. */
int ledger_sums(struct ledger *l, int64_t first_day, int64_t last_day,
                int (*fn)(void *ud, const struct ledger_sum *s), void *ud, struct err *e);

#endif
