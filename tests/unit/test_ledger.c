/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve/ledger and serve/meter over SQLite in a new folder, or over the database that TUTTI_TEST_LEDGER names, which
 * must be empty (tests/e2e/ledger.sh starts a PostgreSQL for it).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "serve/ledger/ledger.h"
#include "serve/ledger/meter.h"

static const int64_t DAY = 86400 * INT64_C(1000000);
static const int64_t T0 = INT64_C(1795000000) * 1000000;
enum { THREADS = 8, ROWS = 200 };

static int64_t alice; /* id of a key that keys_are_kept leaves, revoked */
static char dir[] = "/tmp/tutti-test-XXXXXX", where[PATH_BYTES_MAX];

static struct ledger *must_open(void)
{
    struct ledger *l = NULL;
    struct err e = {0};
    if (ledger_open(&l, where, &e)) fail_msg("%s", e.msg);
    return l;
}

static struct ledger_row row_of(const char *request, int64_t key, int64_t time_us)
{
    struct ledger_row r = {.model = "m\"1",
                           .endpoint = "/v1/chat/completions",
                           .finish = "stop",
                           .key = key,
                           .time_us = time_us,
                           .status = 200,
                           .n_prompt = 100,
                           .n_cached = 40,
                           .n_answer = 7,
                           .queue_us = 1,
                           .prompt_us = 2,
                           .answer_us = 3,
                           .cost_nusd = 11};
    snprintf(r.request, sizeof r.request, "%s", request);
    return r;
}

struct total {
    int lines;
    int64_t requests, prompt, cached, answer, cost;
    struct ledger_sum last;
};

static int add(void *ud, const struct ledger_sum *s)
{
    struct total *t = ud;
    t->lines++;
    t->requests += s->n_requests, t->prompt += s->n_prompt, t->cached += s->n_cached,
        t->answer += s->n_answer, t->cost += s->cost_nusd;
    t->last = *s;
    return 0;
}

static struct total total_of(struct ledger *l, int64_t from, int64_t to)
{
    struct total t = {0};
    struct err e = {0};
    if (ledger_sums(l, from, to, add, &t, &e)) fail_msg("%s", e.msg);
    return t;
}

/* Field by field: what lies between them is nobody's. */
static void assert_same_key(const struct key *a, const struct key *b)
{
    assert_int_equal(a->id, b->id);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->hint, b->hint);
    assert_memory_equal(a->hash, b->hash, sizeof a->hash);
    assert_int_equal(a->created_us, b->created_us);
    assert_int_equal(a->revoked_us, b->revoked_us);
    assert_memory_equal(&a->limits, &b->limits, sizeof a->limits);
}

static void keys_are_kept(void **state)
{
    (void)state;
    struct ledger *l = must_open(), *other = must_open();
    struct key k, *all;
    struct err e = {0};
    char secret[KEY_SECRET_CHARS + 1];
    int n;
    int64_t v0, v1, id;
    struct limit_set set = {1, 2, 3, 4, 5};
    assert_int_equal(ledger_keys_version(l, &v0, &e), 0);
    assert_int_equal(key_make(&k, secret, "alice", &set, &e), 0);
    assert_int_equal(ledger_key_add(l, &k, &e), 0);
    assert_true(k.id > 0);
    struct key twin = k;
    assert_int_equal(ledger_key_add(other, &twin, &e), ERR_USAGE); /* the name is in use */
    assert_int_equal(ledger_keys_version(other, &v1, &e), 0);
    assert_true(v1 > v0);
    assert_int_equal(ledger_keys(other, &all, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_same_key(&all[0], &k);
    free(all);
    assert_int_equal(ledger_key_revoke(other, "bob", T0, &id, &e), ERR_NOT_FOUND);
    assert_int_equal(ledger_key_revoke(other, "alice", T0, &id, &e), 0);
    assert_int_equal(id, k.id);
    assert_int_equal(ledger_key_revoke(l, "alice", T0, &id, &e), ERR_NOT_FOUND);
    assert_int_equal(key_make(&k, secret, "alice", &set, &e), 0); /* the name is free again */
    assert_int_equal(ledger_key_add(l, &k, &e), 0);
    alice = k.id;
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, k.id);
    assert_int_equal(ledger_key_revoke(l, text, T0 + 1, &id, &e), 0);
    assert_int_equal(ledger_keys(l, &all, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_true(all[0].revoked_us == T0 && all[1].revoked_us == T0 + 1);
    free(all);
    ledger_close(l);
    ledger_close(other);
}

static void rows_count_once(void **state)
{
    (void)state;
    struct ledger *l = must_open();
    struct err e = {0};
    int64_t day = T0 / DAY;
    struct ledger_row r[3] = {row_of("req_b", 0, T0), row_of("req_a", 0, T0), row_of("req_c", alice, T0 + DAY)};
    assert_int_equal(ledger_write(l, r, 3, &e), 0);
    assert_int_equal(ledger_write(l, r, 3, &e), 0);
    r[1] = row_of("req_d", 0, T0);
    assert_int_equal(ledger_write(l, r, 2, &e), 0);
    struct total t = total_of(l, day, day + 1);
    assert_int_equal(t.lines, 2);
    assert_int_equal(t.requests, 4);
    assert_int_equal(t.prompt, 400);
    assert_int_equal(t.cached, 160);
    assert_int_equal(t.answer, 28);
    assert_int_equal(t.cost, 44);
    assert_int_equal(t.last.day, day + 1);
    assert_int_equal(t.last.key, alice);
    assert_string_equal(t.last.key_name, "alice"); /* though revoked */
    assert_string_equal(t.last.model, "m\"1");
    assert_int_equal(total_of(l, day + 1, day + 1).requests, 1);
    assert_int_equal(total_of(l, day + 2, day + 9).lines, 0);
    ledger_close(l);
}

struct poster {
    pthread_t thread;
    struct meter *m;
    int first;
    atomic_int done, bad;
};

static void count(void *ud, int rc)
{
    struct poster *p = ud;
    atomic_fetch_add(rc ? &p->bad : &p->done, 1);
}

static void *post(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < ROWS; i++) {
        char name[LEDGER_REQUEST_MAX];
        snprintf(name, sizeof name, "req_m%d", p->first + i);
        struct ledger_row r = row_of(name, i % 3, T0 + 5 * DAY);
        meter_post(p->m, &r, count, p);
    }
    return NULL;
}

static void no_tick(void *ud, struct ledger *l)
{
    (void)l;
    atomic_fetch_add((atomic_int *)ud, 1);
}

static void many_post(void **state)
{
    (void)state;
    struct poster p[THREADS] = {0};
    struct meter *m;
    struct err e = {0};
    atomic_int ticks = 0;
    assert_int_equal(meter_start(&m, must_open(), no_tick, &ticks, &e), 0);
    for (int i = 0; i < THREADS; i++) {
        p[i].m = m;
        p[i].first = i * ROWS / 2; /* each overlaps its neighbour: half of the names are known */
        assert_int_equal(pthread_create(&p[i].thread, NULL, post, &p[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(p[i].thread, NULL);
    meter_stop(m);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(atomic_load(&p[i].done), ROWS);
        assert_int_equal(atomic_load(&p[i].bad), 0);
    }
    struct ledger *l = must_open();
    assert_int_equal(total_of(l, T0 / DAY + 5, T0 / DAY + 5).requests, (THREADS + 1) * ROWS / 2);
    ledger_close(l);
}

static void faults_say_what(void **state)
{
    (void)state;
    struct ledger *l;
    struct err e = {0};
    struct path p;
    if (getenv("TUTTI_TEST_LEDGER")) {
        assert_int_equal(ledger_open(&l, "postgresql://nobody@127.0.0.1:9/none?connect_timeout=2", &e), ERR_IO);
        return;
    }
    struct stat st;
    assert_int_equal(stat(where, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(path_format(&p, &e, "%s/bad.db", dir), 0);
    FILE *f = fopen(p.z, "w");
    for (int i = 0; i < 5000; i++) fputc('x', f);
    fclose(f);
    assert_int_equal(ledger_open(&l, p.z, &e), ERR_IO);
    assert_non_null(strstr(e.msg, "bad.db"));
    assert_int_equal(path_format(&p, &e, "%s/bad.db/x/ledger.db", dir), 0);
    assert_true(ledger_open(&l, p.z, &e) < 0);
}

int main(void)
{
    const char *given = getenv("TUTTI_TEST_LEDGER");
    if (!given && !mkdtemp(dir)) return 1;
    if (given)
        snprintf(where, sizeof where, "%s", given);
    else
        snprintf(where, sizeof where, "%s/made/ledger.db", dir);
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys_are_kept), cmocka_unit_test(rows_count_once),
                                       cmocka_unit_test(many_post), cmocka_unit_test(faults_say_what)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    struct err e;
    if (!given) path_remove_tree(dir, &e);
    return rc;
}
