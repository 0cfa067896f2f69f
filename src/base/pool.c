/* SPDX-License-Identifier: Apache-2.0 */
/* Worker pool: see pool.h. */
#include "base/pool.h"

#include "base/cgroup.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * A waiter polls, about 50 us, which covers what is between two steps; then it polls and offers its processor to others, a
 * millisecond or two; then it sleeps. Where workers are not bound, the partner may wait for the very processor that
 * polls, and then hardly any polling comes before the offers.
 */
enum { SPIN = 2000, SPIN_UNBOUND = 100, YIELDS = 2000 };

/* Workers whose shares one helps with: with many, each look is a line of another one's cache. */
enum { DEAL_NEIGHBOURS = 8, DEAL_PIECES = 32 };

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
    int cpu;                            /* that it is bound to, if they all are */
    unsigned deals;                     /* so far; alike for all workers but where one has not come to the next */
    _Alignas(64) _Atomic uint64_t left; /* of its share in the deal of this parity: see deal_word */
};

struct pool {
    int n;
    int spin;
    bool bound;                             /* each worker to its cpu */
    struct worker workers[POOL_MAX];
    void (*fn)(void *arg, int worker);
    void *arg;
    _Alignas(64) _Atomic uint32_t run;      /* counts pool_run calls; workers wait for it to change */
    _Atomic uint32_t run_sleepers;
    _Atomic int stop;
    _Alignas(64) _Atomic uint32_t arrived;  /* workers at the current barrier */
    _Alignas(64) _Atomic uint32_t round;    /* counts barriers; waiters wait for it to change */
    _Atomic uint32_t round_sleepers;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits until *word differs from old. */
static void wait_change(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers, int spins)
{
    for (int i = 0; i < spins + YIELDS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old) return;
        if (i < spins)
            pause_cpu();
        else
            sched_yield();
    }
    atomic_fetch_add(sleepers, 1);
    while (atomic_load(word) == old) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(sleepers, 1);
}

static void change(_Atomic uint32_t *word, _Atomic uint32_t *sleepers)
{
    atomic_fetch_add(word, 1);
    if (atomic_load(sleepers)) syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void pool_barrier(struct pool *p)
{
    if (p->n == 1) return;
    uint32_t round = atomic_load_explicit(&p->round, memory_order_relaxed);
    if (atomic_fetch_add(&p->arrived, 1) + 1 == (uint32_t)p->n) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        change(&p->round, &p->round_sleepers);
    } else {
        wait_change(&p->round, round, &p->round_sleepers, p->spin);
    }
}

/* False where that is not allowed: it stays as free as it was. */
static bool bind_to(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return !sched_setaffinity(0, sizeof one, &one);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    uint32_t seen = 0;
    fpenv_set();
    if (p->bound) bind_to(w->cpu);
    for (;;) {
        wait_change(&p->run, seen, &p->run_sleepers, p->spin);
        seen++;
        if (atomic_load(&p->stop)) return NULL;
        p->fn(p->arg, w->index);
        pool_barrier(p);
    }
}

void pool_run(struct pool *p, void (*fn)(void *, int), void *arg)
{
    unsigned long old = fpenv_set();
    cpu_set_t was;
    bool bound = p->bound && !sched_getaffinity(0, sizeof was, &was) && bind_to(p->workers[0].cpu);
    p->fn = fn;
    p->arg = arg;
    if (p->n > 1) change(&p->run, &p->run_sleepers);
    fn(arg, 0);
    pool_barrier(p);
    if (bound) sched_setaffinity(0, sizeof was, &was);
    fpenv_restore(old);
}

/* Where the workers are as many as the processors this process may use, each has its own. Without that the
 * scheduler may put two of them on one, for a busy moment or for good, and every step waits for both. */
static bool choose_cpus(struct pool *p)
{
    cpu_set_t all;
    if (p->n == 1 || sched_getaffinity(0, sizeof all, &all) || CPU_COUNT(&all) != p->n) return false;
    for (int cpu = 0, i = 0; i < p->n; cpu++)
        if (CPU_ISSET(cpu, &all)) p->workers[i++].cpu = cpu;
    return true;
}

int pool_create(struct pool **out, int n, struct err *e)
{
    if (n == 0) n = pool_cpus();
    if (n < 1 || n > POOL_MAX) return err(e, ERR_USAGE, "%d threads: must be 1..%d", n, POOL_MAX);
    struct pool *p = aligned_alloc(64, (sizeof *p + 63) & ~(size_t)63);
    if (!p) return err(e, ERR_MEMORY, "out of memory for %d threads", n);
    memset(p, 0, sizeof *p);
    sigset_t all, old; /* signals belong to the caller's threads, but for faults of the thread itself */
    sigfillset(&all);
    static const int own[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = 0;
    p->n = n;
    p->bound = choose_cpus(p);
    p->spin = p->bound ? SPIN : SPIN_UNBOUND;
    for (int i = 1; i < n && rc == 0; i++) {
        p->workers[i].pool = p, p->workers[i].index = i;
        rc = pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]);
        if (rc) {
            err(e, ERR_MEMORY, "cannot start thread %d of %d: %s", i + 1, n, strerror(rc));
            p->n = i; /* those that run */
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        pool_destroy(p);
        return ERR_MEMORY;
    }
    *out = p;
    return 0;
}

void pool_destroy(struct pool *p)
{
    if (!p) return;
    atomic_store(&p->stop, 1);
    change(&p->run, &p->run_sleepers);
    for (int i = 1; i < p->n; i++) pthread_join(p->workers[i].thread, NULL);
    free(p);
}

int pool_size(const struct pool *p)
{
    return p->n;
}

/* n, or fewer if the quota of this group is smaller. */
static int within_quota(const struct cgroup *g, int n)
{
    long quota, period;
    FILE *f = cgroup_file(g, "cpu.max");
    if (!f) return n;
    if (fscanf(f, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0 && (quota - 1) / period + 1 < n)
        n = (int)((quota - 1) / period + 1);
    fclose(f);
    return n;
}

int pool_cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    struct cgroup g;
    cgroup_own(&g);
    do n = within_quota(&g, n);
    while (cgroup_up(&g));
    return n < 1 ? 1 : n > POOL_MAX ? POOL_MAX : n;
}

void pool_share(int n, int worker, int workers, int *begin, int *end)
{
    int base = n / workers, extra = n % workers;
    *begin = worker * base + (worker < extra ? worker : extra);
    *end = *begin + base + (worker < extra);
}

/* What is left of a share: parity of the deal, begin, end. Between two deals lies a barrier, so whoever looks
 * at a word in deal number i sees one of this deal or, if its owner has not come yet, of the one before. */
static uint64_t deal_word(unsigned deal, int begin, int end)
{
    return (uint64_t)(deal & 1) << 62 | (uint64_t)begin << 31 | (uint64_t)end;
}

struct pool_deal pool_deal(struct pool *p, int worker, int n)
{
    _Atomic uint64_t *left = &p->workers[worker].left;
    uint64_t old = atomic_load_explicit(left, memory_order_relaxed);
    unsigned deal = ++p->workers[worker].deals;
    int begin, end;
    pool_share(n, worker, p->n, &begin, &end);
    if (old >> 62 != (deal & 1)) /* if it fails, another one has come before and taken a piece */
        atomic_compare_exchange_strong_explicit(left, &old, deal_word(deal, begin, end), memory_order_relaxed,
                                                memory_order_relaxed);
    return (struct pool_deal){
        .pool = p, .worker = worker, .n = n, .least = n / (DEAL_PIECES * p->n) + 1, .victim = worker};
}

static bool take_from(const struct pool_deal *d, int victim, int *begin, int *end)
{
    struct pool *p = d->pool;
    _Atomic uint64_t *left = &p->workers[victim].left;
    unsigned deal = p->workers[d->worker].deals;
    uint64_t old = atomic_load_explicit(left, memory_order_relaxed), new;
    do {
        if (old >> 62 == (deal & 1)) {
            *begin = (int)(old >> 31 & INT_MAX);
            *end = (int)(old & INT_MAX);
        } else {
            pool_share(d->n, victim, p->n, begin, end);
        }
        int n = *end - *begin, piece = p->n == 1 || n < d->least ? n : n > 2 * d->least ? (n + 1) / 2 : d->least;
        if (n == 0) return false;
        if (victim == d->worker) {
            new = deal_word(deal, *begin + piece, *end);
            *end = *begin + piece;
        } else {
            new = deal_word(deal, *begin, *end - piece);
            *begin = *end - piece;
        }
    } while (!atomic_compare_exchange_weak_explicit(left, &old, new, memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool pool_take(struct pool_deal *d, int *begin, int *end)
{
    int workers = d->pool->n;
    for (;;) {
        if (take_from(d, d->victim, begin, end)) return true;
        int next = (d->victim + 1) % workers, looked = (next - d->worker + workers) % workers;
        if (looked == 0 || looked > DEAL_NEIGHBOURS) return false;
        d->victim = next;
    }
}

#if defined(__x86_64__)
unsigned long fpenv_set(void)
{
    unsigned old = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1f80); /* all exceptions masked, round to nearest, FTZ and DAZ off */
    return old;
}

void fpenv_restore(unsigned long old)
{
    __builtin_ia32_ldmxcsr((unsigned)old);
}
#elif defined(__aarch64__)
unsigned long fpenv_set(void)
{
    unsigned long old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(0UL));
    return old;
}

void fpenv_restore(unsigned long old)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
}
#else
unsigned long fpenv_set(void)
{
    return 0;
}

void fpenv_restore(unsigned long old)
{
    (void)old;
}
#endif
