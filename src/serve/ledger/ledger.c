/* SPDX-License-Identifier: Apache-2.0 */
/* See ledger.h: the statements. */
#include "serve/ledger/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "serve/ledger/ledger_int.h"

enum { KEYS_MAX = 1000000, WRITE_MAX = 1024 /* rows of one transaction */ };
enum { KEY_COLUMNS = 11, ROW_COLUMNS = 14, SUM_COLUMNS = 9 };

enum statement { KEY_ADD, KEY_REVOKE, KEY_LIST, VERSION_GET, VERSION_STEP, ROW_ADD, SUMS };
static const char *const sql[] = {
    [KEY_ADD] = "INSERT INTO keys (name, hint, hash, created_us, revoked_us, rpm, rpd, tpm, tpd, spend_nusd) "
                "VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id",
    [KEY_REVOKE] =
        "UPDATE keys SET revoked_us = $1 WHERE revoked_us = 0 AND (name = $2 OR CAST(id AS TEXT) = $3) RETURNING id",
    [KEY_LIST] =
        "SELECT id, name, hint, hash, created_us, revoked_us, rpm, rpd, tpm, tpd, spend_nusd FROM keys ORDER BY id",
    [VERSION_GET] = "SELECT keys FROM version",
    [VERSION_STEP] = "UPDATE version SET keys = keys + 1",
    [ROW_ADD] =
        "INSERT INTO requests (request, time_us, key_id, model, endpoint, status, finish, n_prompt, n_cached, n_answer, queue_us, "
        "prompt_us, answer_us, cost_nusd) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
    [SUMS] =
        "SELECT d.day, d.key_id, COALESCE(k.name, ''), d.model, d.n_requests, d.n_prompt, d.n_cached, d.n_answer, d.cost_nusd "
        "FROM daily d LEFT JOIN keys k ON k.id = d.key_id WHERE d.day >= $1 AND d.day <= $2 ORDER BY d.day, d.key_id, d.model",
};

int ledger_default_path(struct path *p, struct err *e)
{
    const char *own = getenv("TUTTI_LEDGER"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (own && *own) return path_format(p, e, "%s", own);
    if (data && *data) return path_format(p, e, "%s/tutti/ledger.db", data);
    if (home && *home) return path_format(p, e, "%s/.local/share/tutti/ledger.db", home);
    return err(
        e, ERR_USAGE,
        "no place for the ledger: HOME, XDG_DATA_HOME and TUTTI_LEDGER are not set; say --ledger PATH");
}

int ledger_open(struct ledger **l, const char *where, struct err *e)
{
    struct path p;
    int rc = where ? path_format(&p, e, "%s", where) : ledger_default_path(&p, e);
    if (rc) return rc;
    bool shared = strncmp(p.z, "postgresql://", 13) == 0 || strncmp(p.z, "postgres://", 11) == 0;
    const struct ledger_ops *ops = shared ? &ledger_postgresql : &ledger_sqlite;
    if ((rc = ops->open(l, p.z, e))) return rc;
    (*l)->ops = ops;
    (*l)->shared = shared;
    return 0;
}

void ledger_close(struct ledger *l)
{
    if (l) l->ops->close(l);
}

bool ledger_is_shared(const struct ledger *l)
{
    return l->shared;
}

/* --- keys ------------------------------------------------------------------------------------------------- */

static int take_int(void *ud, const struct db_value *v, int n)
{
    (void)n;
    *(int64_t *)ud = v[0].i;
    return 0;
}

static int run(struct ledger *l, enum statement s, const struct db_value *in, int n_in, int64_t *out, struct err *e)
{
    static const enum db_kind one[] = {DB_INT};
    return l->ops->run(l, (int)s, sql[s], in, n_in, one, out ? 1 : 0, out ? take_int : NULL, out, e);
}

int ledger_key_add(struct ledger *l, struct key *k, struct err *e)
{
    const struct limit_set *s = &k->limits;
    const struct db_value in[] = {DB_Z(k->name),       DB_Z(k->hint), DB_B(k->hash, sizeof k->hash),
                                  DB_I(k->created_us), DB_I(s->rpm),  DB_I(s->rpd),
                                  DB_I(s->tpm),        DB_I(s->tpd),  DB_I(s->spend_nusd)};
    k->id = 0;
    int rc = run(l, KEY_ADD, in, sizeof in / sizeof *in, &k->id, e);
    if (!rc && !k->id)
        return err(e, ERR_USAGE, "a key named '%s' is in use: choose another name, or revoke it first",
                   k->name);
    return rc ? rc : run(l, VERSION_STEP, NULL, 0, NULL, e);
}

int ledger_key_revoke(struct ledger *l, const char *which, int64_t now_us, int64_t *id, struct err *e)
{
    const struct db_value in[] = {DB_I(now_us), DB_Z(which), DB_Z(which)};
    *id = 0;
    int rc = run(l, KEY_REVOKE, in, 3, id, e);
    if (!rc && !*id)
        return err(e, ERR_NOT_FOUND, "no key in use has the name or id '%s'; 'tutti keys list' shows them",
                   which);
    return rc ? rc : run(l, VERSION_STEP, NULL, 0, NULL, e);
}

struct key_list {
    struct key *key;
    int n, cap;
};

static void take_text(char *to, size_t size, struct str s)
{
    size_t n = s.n < size ? s.n : size - 1;
    if (n) memcpy(to, s.p, n);
    to[n] = 0;
}

static int take_key(void *ud, const struct db_value *v, int n)
{
    struct key_list *l = ud;
    (void)n;
    if (l->n == l->cap) {
        int cap = l->cap ? 2 * l->cap : 16;
        struct key *k = l->n < KEYS_MAX ? realloc(l->key, (size_t)cap * sizeof *k) : NULL;
        if (!k) return ERR_MEMORY;
        l->key = k;
        l->cap = cap;
    }
    struct key *k = &l->key[l->n++];
    *k = (struct key){.id = v[0].i,
                      .created_us = v[4].i,
                      .revoked_us = v[5].i,
                      .limits = {v[6].i, v[7].i, v[8].i, v[9].i, v[10].i}};
    take_text(k->name, sizeof k->name, v[1].s);
    take_text(k->hint, sizeof k->hint, v[2].s);
    if (v[3].s.n != KEY_HASH_BYTES) return ERR_FORMAT;
    memcpy(k->hash, v[3].s.p, KEY_HASH_BYTES);
    return 0;
}

int ledger_keys(struct ledger *l, struct key **out, int *n, struct err *e)
{
    static const enum db_kind kinds[KEY_COLUMNS] = {DB_INT, DB_TEXT, DB_TEXT, DB_BYTES, DB_INT, DB_INT,
                                                    DB_INT, DB_INT,  DB_INT,  DB_INT,   DB_INT};
    struct key_list list = {0};
    int rc = l->ops->run(l, KEY_LIST, sql[KEY_LIST], NULL, 0, kinds, KEY_COLUMNS, take_key, &list, e);
    if (rc == ERR_MEMORY) err(e, rc, "out of memory for the keys of the ledger (%d read)", list.n);
    if (rc == ERR_FORMAT)
        err(e, rc, "key %" PRId64 " of the ledger has a hash of another length than %d",
            list.key[list.n - 1].id, KEY_HASH_BYTES);
    if (rc) {
        free(list.key);
        return rc;
    }
    *out = list.key;
    *n = list.n;
    return 0;
}

int ledger_keys_version(struct ledger *l, int64_t *version, struct err *e)
{
    *version = 0;
    return run(l, VERSION_GET, NULL, 0, version, e);
}

/* --- requests --------------------------------------------------------------------------------------------- */

/* Two servers that update the same sums in the same order do not wait for each other in a circle. */
static int by_sum(const void *a, const void *b)
{
    const struct ledger_row *x = *(const struct ledger_row *const *)a, *y = *(const struct ledger_row *const *)b;
    int64_t dx = limits_day(x->time_us), dy = limits_day(y->time_us);
    if (dx != dy) return dx < dy ? -1 : 1;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return strcmp(x->model, y->model);
}

static int write_some(struct ledger *l, const struct ledger_row *row, int n, struct err *e)
{
    struct db_value *in = calloc((size_t)n * ROW_COLUMNS, sizeof *in);
    const struct ledger_row **order = calloc((size_t)n, sizeof *order);
    int rc = in && order ? 0 : err(e, ERR_MEMORY, "out of memory for %d rows of the ledger", n);
    for (int i = 0; i < n && !rc; i++) order[i] = &row[i];
    if (!rc) qsort(order, (size_t)n, sizeof *order, by_sum);
    for (int i = 0; i < n && !rc; i++) {
        const struct ledger_row *r = order[i];
        const struct db_value v[ROW_COLUMNS] = {
            DB_Z(r->request),  DB_I(r->time_us),   DB_I(r->key),       DB_Z(r->model),    DB_Z(r->endpoint),
            DB_I(r->status),   DB_Z(r->finish),    DB_I(r->n_prompt),  DB_I(r->n_cached), DB_I(r->n_answer),
            DB_I(r->queue_us), DB_I(r->prompt_us), DB_I(r->answer_us), DB_I(r->cost_nusd)};
        memcpy(in + (size_t)i * ROW_COLUMNS, v, sizeof v);
    }
    if (!rc) rc = l->ops->run_all(l, ROW_ADD, sql[ROW_ADD], in, ROW_COLUMNS, n, e);
    free(in);
    free(order);
    return rc;
}

int ledger_write(struct ledger *l, const struct ledger_row *row, int n, struct err *e)
{
    int rc = 0;
    for (int at = 0; at < n && !rc; at += WRITE_MAX)
        rc = write_some(l, row + at, n - at < WRITE_MAX ? n - at : WRITE_MAX, e);
    return rc;
}

struct sums {
    int (*fn)(void *ud, const struct ledger_sum *s);
    void *ud;
};

static int take_sum(void *ud, const struct db_value *v, int n)
{
    const struct sums *s = ud;
    struct ledger_sum m = {.day = v[0].i,
                           .key = v[1].i,
                           .n_requests = v[4].i,
                           .n_prompt = v[5].i,
                           .n_cached = v[6].i,
                           .n_answer = v[7].i,
                           .cost_nusd = v[8].i};
    (void)n;
    take_text(m.key_name, sizeof m.key_name, v[2].s);
    take_text(m.model, sizeof m.model, v[3].s);
    return s->fn(s->ud, &m);
}

int ledger_sums(struct ledger *l, int64_t first_day, int64_t last_day,
                int (*fn)(void *ud, const struct ledger_sum *s), void *ud, struct err *e)
{
    static const enum db_kind kinds[SUM_COLUMNS] = {DB_INT, DB_INT, DB_TEXT, DB_TEXT, DB_INT,
                                                    DB_INT, DB_INT, DB_INT,  DB_INT};
    const struct db_value in[] = {DB_I(first_day), DB_I(last_day)};
    struct sums s = {fn, ud};
    return l->ops->run(l, SUMS, sql[SUMS], in, 2, kinds, SUM_COLUMNS, take_sum, &s, e);
}
