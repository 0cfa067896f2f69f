/* SPDX-License-Identifier: Apache-2.0 */
/* base/pool: shares, dealing, barriers, more workers than CPUs, the floating-point environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
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

enum { DEALT = 5000, SLOW_US = 200 };

struct dealing {
    struct pool *pool;
    int n, slow;            /* a worker that sleeps over each piece, or -1 */
    int taken[DEALT];       /* plain memory: an item is one worker's */
    int of_slow;            /* what others did of its share */
};

static void deal_items(void *arg, int worker)
{
    struct dealing *d = arg;
    int begin, end, share, share_end;
    for (int k = 0; k < 3; k++) { /* one after the other, with a barrier between them */
        int n = k == 1 ? d->n / 100 : d->n; /* between many a few */
        struct pool_deal deal = pool_deal(d->pool, worker, n);
        pool_share(n, d->slow < 0 ? 0 : d->slow, pool_size(d->pool), &share, &share_end);
        if (worker == d->slow) usleep(SLOW_US);
        while (pool_take(&deal, &begin, &end)) {
            for (int i = begin; i < end; i++) d->taken[i]++;
            if (worker == d->slow) usleep(SLOW_US);
            else if (begin >= share && begin < share_end)
                __atomic_add_fetch(&d->of_slow, end - begin, __ATOMIC_RELAXED);
        }
        pool_barrier(d->pool);
    }
}

static void deals_every_item_once(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 11, WORKERS}, items[] = {0, 1, 2, 7, 24, 1000, DEALT};
    for (int i = 0; i < 5; i++) {
        struct dealing d;
        struct err e = {0};
        assert_int_equal(pool_create(&d.pool, sizes[i], &e), 0);
        for (int j = 0; j < 7; j++) {
            for (int slow = -1; slow < sizes[i]; slow += sizes[i]) {
                d.n = items[j], d.slow = slow, d.of_slow = 0;
                memset(d.taken, 0, sizeof d.taken);
                pool_run(d.pool, deal_items, &d);
                for (int k = 0; k < DEALT; k++) assert_int_equal(d.taken[k], k >= d.n ? 0 : k < d.n / 100 ? 3 : 2);
                if (slow > 0 && d.n >= 1000) assert_true(d.of_slow > 0); /* others took over from it */
            }
        }
        pool_destroy(d.pool);
    }
}

static void note_cpu(void *arg, int worker)
{
    ((int *)arg)[worker] = sched_getcpu();
}

/* As many workers as processors: each on its own, and the caller is as free afterwards as before. */
static void each_has_its_processor(void **state)
{
    (void)state;
    cpu_set_t before, after;
    struct pool *p;
    struct err e = {0};
    int cpu[POOL_MAX];
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int n = CPU_COUNT(&before);
    if (n < 2 || n > POOL_MAX) {
        print_message("skipped: %d processors\n", n);
        skip();
    }
    assert_int_equal(pool_create(&p, n, &e), 0);
    for (int k = 0; k < 3; k++) {
        pool_run(p, note_cpu, cpu);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < i; j++) assert_int_not_equal(cpu[i], cpu[j]);
    }
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    pool_destroy(p);
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
        cmocka_unit_test(each_has_its_processor),       cmocka_unit_test(deals_every_item_once),
        cmocka_unit_test(arithmetic_is_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
