/* SPDX-License-Identifier: Apache-2.0 */
/* base/pool: shares, barriers, more workers than CPUs, the floating-point environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include "base/pool.h"

static void shares_cover_everything_once(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 9; workers++) {
        for (int n = 0; n < 40; n++) {
            int at = 0, least = n, most = 0;
            for (int w = 0; w < workers; w++) {
                int begin, end;
                pool_share(n, w, workers, &begin, &end);
                assert_int_equal(begin, at);
                assert_true(end >= begin);
                if (end - begin < least) least = end - begin;
                if (end - begin > most) most = end - begin;
                at = end;
            }
            assert_int_equal(at, n);
            assert_true(most - least <= 1);
        }
    }
}

static void wrong_sizes_are_refused(void **state)
{
    (void)state;
    struct pool *p = NULL;
    struct err e = {0};
    assert_int_equal(pool_create(&p, -1, &e), ERR_USAGE);
    assert_int_equal(pool_create(&p, POOL_MAX + 1, &e), ERR_USAGE);
    assert_null(p);
    pool_destroy(NULL);
    assert_in_range(pool_cpus(), 1, POOL_MAX);
    assert_int_equal(pool_create(&p, 0, &e), 0);
    assert_int_equal(pool_size(p), pool_cpus());
    pool_destroy(p);
}

enum { WORKERS = 24, ROUNDS = 40 };

struct ring {
    struct pool *pool;
    int n;
    int cell[WORKERS]; /* plain memory: the barrier alone orders its writes and reads */
    int bad;
};

/* In each round a worker writes its cell, and after the barrier checks everyone's. */
static void go_round(void *arg, int worker)
{
    struct ring *r = arg;
    int bad = 0;
    for (int i = 0; i < ROUNDS; i++) {
        r->cell[worker] = i * WORKERS + worker;
        pool_barrier(r->pool);
        for (int w = 0; w < r->n; w++) bad += r->cell[w] != i * WORKERS + w;
        pool_barrier(r->pool);
    }
    if (bad) __atomic_add_fetch(&r->bad, bad, __ATOMIC_RELAXED);
}

static void barriers_order_memory(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, WORKERS}; /* more than this machine's CPUs, most likely */
    for (int i = 0; i < 4; i++) {
        struct ring r = {.n = sizes[i]};
        struct err e = {0};
        assert_int_equal(pool_create(&r.pool, sizes[i], &e), 0);
        for (int k = 0; k < 5; k++) pool_run(r.pool, go_round, &r);
        pool_destroy(r.pool);
        assert_int_equal(r.bad, 0);
    }
}

struct count {
    int calls[3];
};

static void count_call(void *arg, int worker)
{
    ((struct count *)arg)->calls[worker]++;
}

static void runs_again_after_sleep(void **state)
{
    (void)state;
    struct pool *p;
    struct err e = {0};
    struct count c = {{0}};
    assert_int_equal(pool_create(&p, 3, &e), 0);
    for (int i = 1; i <= 200; i++) {
        if (i % 40 == 0) usleep(2000); /* workers went to sleep meanwhile */
        pool_run(p, count_call, &c);
        for (int w = 0; w < 3; w++) assert_int_equal(c.calls[w], i); /* pool_run returns when all are done */
    }
    pool_destroy(p);
    for (int i = 0; i < 20; i++) { /* a pool that never ran ends, too */
        assert_int_equal(pool_create(&p, 3, &e), 0);
        pool_destroy(p);
    }
}

static volatile float tiny = 0x1p-149f, third = 1.0f / 3;

struct env {
    float half[2], sum[2];
};

static void note_env(void *arg, int worker)
{
    struct env *v = arg;
    v->half[worker] = tiny * 2;    /* 0 with flush-to-zero or denormals-are-zero */
    v->sum[worker] = third + 1e8f; /* another value when rounding upwards */
}

/* Another library set flush-to-zero in the caller's thread: the contract's arithmetic is not touched by it. */
static void arithmetic_is_fixed(void **state)
{
    (void)state;
    struct pool *p;
    struct err e = {0};
    struct env v;
    assert_int_equal(pool_create(&p, 2, &e), 0);
#if defined(__x86_64__)
    unsigned old = __builtin_ia32_stmxcsr(), hostile = old | 0x8040 | 0x4000; /* FTZ, DAZ, upwards */
    __builtin_ia32_ldmxcsr(hostile);
#endif
    pool_run(p, note_env, &v);
#if defined(__x86_64__)
    unsigned after = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(old);
    assert_int_equal(after & 0xffc0, hostile & 0xffc0); /* given back as it was */
#endif
    for (int w = 0; w < 2; w++) {
        assert_true(v.half[w] == 0x1p-148f);
        assert_true(v.sum[w] == 1e8f);
    }
    pool_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_cover_everything_once), cmocka_unit_test(wrong_sizes_are_refused),
        cmocka_unit_test(barriers_order_memory),        cmocka_unit_test(runs_again_after_sleep),
        cmocka_unit_test(arithmetic_is_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
