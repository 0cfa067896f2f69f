/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a database does for the ledger: run one statement, or one statement over many rows as a transaction.
 * Statements are ledger.c's, in SQL that SQLite and PostgreSQL both know; parameters are $1, $2, ... in the
 * order in which they first appear, results are whole numbers, texts or bytes.
 */
#ifndef TUTTI_SERVE_LEDGER_LEDGER_INT_H
#define TUTTI_SERVE_LEDGER_LEDGER_INT_H

#include "base/str.h"
#include "serve/ledger/ledger.h"

enum db_kind { DB_INT, DB_TEXT, DB_BYTES };
struct db_value {
    enum db_kind kind;
    int64_t i;
    struct str s; /* of results: valid during the call */
};
enum { DB_PARAMS_MAX = 16, DB_COLUMNS_MAX = 16, DB_STATEMENTS_MAX = 16 };

#define DB_I(x) ((struct db_value){.kind = DB_INT, .i = (x)})
#define DB_Z(z) ((struct db_value){.kind = DB_TEXT, .s = str_from(z)})
#define DB_B(p_, n_) ((struct db_value){.kind = DB_BYTES, .s = {(const char *)(p_), (n_)}})


typedef int db_row_fn(void *ud, const struct db_value *v, int n); /* not 0: stop and return it */

struct ledger_ops {
    int (*open)(struct ledger **l, const char *where, struct err *e); /* tables made */
    void (*close)(struct ledger *l);
    /* Statement number `id` with text `sql`; kinds of the n_out result columns; fn NULL: no results wanted. */
    int (*run)(struct ledger *l, int id, const char *sql, const struct db_value *in, int n_in,
               const enum db_kind *out, int n_out, db_row_fn *fn, void *ud, struct err *e);
    /* The same statement for each of n rows of n_in parameters; all or none, on disk on return. */
    int (*run_all)(struct ledger *l, int id, const char *sql, const struct db_value *in, int n_in, int n,
                   struct err *e);
};

struct ledger {
    const struct ledger_ops *ops;
    bool shared;
};

extern const struct ledger_ops ledger_sqlite, ledger_postgresql;

/* Columns of the tables, the same in both: INT and BYTES are macros of the includer's dialect. */
#define LEDGER_TABLE_KEYS                                                                                    \
    "name TEXT NOT NULL, hint TEXT NOT NULL, hash " BYTES " NOT NULL UNIQUE, created_us " INT " NOT NULL, revoked_us " INT " NOT NULL, " \
    "rpm " INT " NOT NULL, rpd " INT " NOT NULL, tpm " INT " NOT NULL, tpd " INT " NOT NULL, spend_nusd " INT " NOT NULL"
#define LEDGER_TABLE_REQUESTS                                                                                \
    "request TEXT NOT NULL PRIMARY KEY, time_us " INT " NOT NULL, key_id " INT " NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL, " \
    "status " INT " NOT NULL, finish TEXT NOT NULL, n_prompt " INT " NOT NULL, n_cached " INT " NOT NULL, n_answer " INT " NOT NULL, " \
    "queue_us " INT " NOT NULL, prompt_us " INT " NOT NULL, answer_us " INT " NOT NULL, cost_nusd " INT " NOT NULL"
#define LEDGER_TABLE_DAILY                                                                                   \
    "day " INT " NOT NULL, key_id " INT " NOT NULL, model TEXT NOT NULL, n_requests " INT " NOT NULL, n_prompt " INT " NOT NULL, " \
    "n_cached " INT " NOT NULL, n_answer " INT " NOT NULL, cost_nusd " INT " NOT NULL, PRIMARY KEY (day, key_id, model)"
#define LEDGER_TABLE_VERSION "one " INT " NOT NULL PRIMARY KEY CHECK (one = 1), keys " INT " NOT NULL"
/* What the trigger does with each new row of requests. */
#define LEDGER_ROLL                                                                                          \
    "INSERT INTO daily VALUES (NEW.time_us / 86400000000, NEW.key_id, NEW.model, 1, NEW.n_prompt, NEW.n_cached, NEW.n_answer, NEW.cost_nusd) " \
    "ON CONFLICT (day, key_id, model) DO UPDATE SET n_requests = daily.n_requests + 1, n_prompt = daily.n_prompt + excluded.n_prompt, " \
    "n_cached = daily.n_cached + excluded.n_cached, n_answer = daily.n_answer + excluded.n_answer, cost_nusd = daily.cost_nusd + excluded.cost_nusd;"

#endif
