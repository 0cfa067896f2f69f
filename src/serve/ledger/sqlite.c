/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger in a file of SQLite. Write-ahead log with synchronous=FULL: a commit is on the disk when it returns, also
 * if the power goes; readers never wait for the writer. Other processes take turns for up to BUSY_MS. The file is
 * readable by its owner only.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "serve/ledger/ledger_int.h"

enum { BUSY_MS = 10000 };

#define INT "INTEGER"
#define BYTES "BLOB"
static const char tables[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864; BEGIN IMMEDIATE; "
    "CREATE TABLE IF NOT EXISTS keys (id INTEGER PRIMARY KEY AUTOINCREMENT, " LEDGER_TABLE_KEYS ") STRICT; "
    "CREATE UNIQUE INDEX IF NOT EXISTS keys_name ON keys (name) WHERE revoked_us = 0; "
    "CREATE TABLE IF NOT EXISTS requests (" LEDGER_TABLE_REQUESTS ") STRICT, WITHOUT ROWID; "
    "CREATE TABLE IF NOT EXISTS daily (" LEDGER_TABLE_DAILY ") STRICT, WITHOUT ROWID; "
    "CREATE TABLE IF NOT EXISTS version (" LEDGER_TABLE_VERSION ") STRICT; "
    "INSERT INTO version VALUES (1, 0) ON CONFLICT DO NOTHING; "
    "CREATE TRIGGER IF NOT EXISTS requests_roll AFTER INSERT ON requests BEGIN " LEDGER_ROLL " END; COMMIT;";
#undef INT
#undef BYTES

struct sqlite {
    struct ledger ledger;
    sqlite3 *db;
    sqlite3_stmt *stmt[DB_STATEMENTS_MAX];
    char *path;
};

static int fail(const struct sqlite *s, const char *what, struct err *e)
{
    int code = sqlite3_errcode(s->db);
    const char *hint = code == SQLITE_BUSY ? " (another process keeps it locked)"
                       : code == SQLITE_NOTADB || code == SQLITE_CORRUPT
                           ? " (the file is damaged or no ledger: move it away)"
                       : code == SQLITE_CANTOPEN ? " (may this user write there?)"
                                                 : "";
    return err(e, code == SQLITE_NOMEM ? ERR_MEMORY : ERR_IO, "ledger %s: cannot %s: %s%s", s->path, what,
               s->db ? sqlite3_errmsg(s->db) : "out of memory", hint);
}

static void close_db(struct ledger *l)
{
    struct sqlite *s = (struct sqlite *)l;
    for (int i = 0; i < DB_STATEMENTS_MAX; i++) sqlite3_finalize(s->stmt[i]);
    sqlite3_close(s->db);
    free(s->path);
    free(s);
}

/* The folder and an empty file of mode 0600: SQLite gives its log the same mode. */
static int make_file(const char *path, struct err *e)
{
    struct path dir;
    int rc = path_format(&dir, e, "%s", path);
    char *slash = rc ? NULL : strrchr(dir.z, '/');
    if (rc) return rc;
    if (slash && slash != dir.z) {
        *slash = 0;
        if ((rc = path_make_dirs(dir.z, e))) return rc;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd); /* a failure is told by SQLite */
    return 0;
}

static int open_db(struct ledger **l, const char *where, struct err *e)
{
    struct sqlite *s = calloc(1, sizeof *s);
    int rc = 0;
    if (!s || !(s->path = strdup(where))) {
        free(s);
        return err(e, ERR_MEMORY, "out of memory");
    }
    if (!(rc = make_file(where, e))) {
        bool ok =
            sqlite3_open_v2(where, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                            NULL) == SQLITE_OK &&
            sqlite3_busy_timeout(s->db, BUSY_MS) == SQLITE_OK &&
            sqlite3_exec(s->db, tables, NULL, NULL, NULL) == SQLITE_OK;
        if (!ok) rc = fail(s, "open it", e);
    }
    if (rc) {
        close_db(&s->ledger);
        return rc;
    }
    *l = &s->ledger;
    return 0;
}

static int prepare(struct sqlite *s, int id, const char *text, struct err *e)
{
    must(id >= 0 && id < DB_STATEMENTS_MAX);
    if (s->stmt[id]) return 0;
    return sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[id], NULL) == SQLITE_OK
               ? 0
               : fail(s, "prepare a statement", e);
}

static int bind(struct sqlite *s, sqlite3_stmt *q, const struct db_value *in, int n, struct err *e)
{
    for (int i = 0; i < n; i++) {
        int rc = in[i].kind == DB_INT    ? sqlite3_bind_int64(q, i + 1, in[i].i)
                 : in[i].kind == DB_TEXT ? sqlite3_bind_text(q, i + 1, in[i].s.p, (int)in[i].s.n, SQLITE_STATIC)
                                         : sqlite3_bind_blob(q, i + 1, in[i].s.p, (int)in[i].s.n, SQLITE_STATIC);
        if (rc != SQLITE_OK) return fail(s, "bind a value", e);
    }
    return 0;
}

static void read_row(sqlite3_stmt *q, const enum db_kind *out, int n, struct db_value *v)
{
    for (int i = 0; i < n; i++) {
        v[i] = (struct db_value){.kind = out[i]};
        if (out[i] == DB_INT) {
            v[i].i = sqlite3_column_int64(q, i);
        } else {
            v[i].s.p = out[i] == DB_TEXT ? (const char *)sqlite3_column_text(q, i) : sqlite3_column_blob(q, i);
            v[i].s.n = (size_t)sqlite3_column_bytes(q, i);
        }
    }
}

static int run(struct ledger *l, int id, const char *sql, const struct db_value *in, int n_in,
               const enum db_kind *out, int n_out, db_row_fn *fn, void *ud, struct err *e)
{
    struct sqlite *s = (struct sqlite *)l;
    struct db_value v[DB_COLUMNS_MAX];
    int step, rc = prepare(s, id, sql, e);
    if (rc || (rc = bind(s, s->stmt[id], in, n_in, e))) return rc;
    while ((step = sqlite3_step(s->stmt[id])) == SQLITE_ROW && !rc) {
        if (!fn) continue;
        read_row(s->stmt[id], out, n_out, v);
        rc = fn(ud, v, n_out);
    }
    if (!rc && step != SQLITE_DONE) rc = fail(s, "run a statement", e);
    sqlite3_reset(s->stmt[id]);
    return rc;
}

static int run_all(struct ledger *l, int id, const char *sql, const struct db_value *in, int n_in, int n, struct err *e)
{
    struct sqlite *s = (struct sqlite *)l;
    int rc = prepare(s, id, sql, e);
    if (!rc && sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) rc = fail(s, "begin to write", e);
    if (rc) return rc;
    for (int i = 0; i < n && !rc; i++) {
        if ((rc = bind(s, s->stmt[id], in + (size_t)i * (size_t)n_in, n_in, e))) break;
        if (sqlite3_step(s->stmt[id]) != SQLITE_DONE) rc = fail(s, "write", e);
        sqlite3_reset(s->stmt[id]);
    }
    if (!rc && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) rc = fail(s, "commit", e);
    if (rc) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

const struct ledger_ops ledger_sqlite = {open_db, close_db, run, run_all};
