/* SPDX-License-Identifier: Apache-2.0 */
/* See meter.h. */
#include "serve/ledger/meter.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RETRY_MS = 250, TICK_MS = 1000, ROWS_FIRST = 256 };

struct posted {
    meter_done_fn *done; /* NULL: told already */
    void *ud;
    int64_t at_ms;
};

/* Rows and their posters, side by side, since the ledger takes an array of rows. */
struct batch {
    struct ledger_row *row;
    struct posted *by;
    int n, cap;
};

struct meter {
    struct ledger *ledger;
    void (*tick)(void *ud, struct ledger *l);
    void *ud;
    pthread_t thread;
    struct batch writing; /* the thread's */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct batch waiting;
    int held;             /* rows in writing */
    bool stop;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool reserve(struct batch *b, int n)
{
    int cap = b->cap ? b->cap : ROWS_FIRST;
    while (cap < n) cap *= 2;
    if (cap == b->cap) return true;
    struct ledger_row *row = realloc(b->row, (size_t)cap * sizeof *row);
    if (row) b->row = row;
    struct posted *by = realloc(b->by, (size_t)cap * sizeof *by);
    if (by) b->by = by;
    if (!row || !by) return false;
    b->cap = cap;
    return true;
}

static void finish_batch(struct batch *b)
{
    free(b->row);
    free(b->by);
}

static void tell(struct batch *b, int rc, int64_t older_than_ms)
{
    for (int i = 0; i < b->n; i++) {
        meter_done_fn *done = b->by[i].done;
        if (!done || b->by[i].at_ms > older_than_ms) continue;
        b->by[i].done = NULL;
        done(b->by[i].ud, rc);
    }
}

/* All that waits moves behind what could not be written before. */
static void gather(struct meter *m)
{
    struct batch *w = &m->writing, *q = &m->waiting;
    if (w->n == 0) { /* the usual case: no copy */
        struct batch t = *w;
        *w = *q;
        *q = t;
    } else if (q->n && reserve(w, w->n + q->n)) {
        memcpy(w->row + w->n, q->row, (size_t)q->n * sizeof *q->row);
        memcpy(w->by + w->n, q->by, (size_t)q->n * sizeof *q->by);
        w->n += q->n;
        q->n = 0;
    }
    m->held = w->n;
}

static void wait_ms(struct meter *m, int64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + ms % 1000 * 1000000;
    t.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(&m->wake, &m->lock, &t);
}

/* Sleeps until there is something to do: rows, the next tick, another try, or the end. Returns whether the end came. */
static bool rest(struct meter *m, bool failing, int64_t retry_ms, int64_t tick_ms)
{
    int64_t until = failing && retry_ms < tick_ms ? retry_ms : tick_ms;
    pthread_mutex_lock(&m->lock);
    for (int64_t now = now_ms(); now < until && (failing || (!m->waiting.n && !m->stop)); now = now_ms())
        wait_ms(m, until - now);
    gather(m);
    bool stop = m->stop;
    pthread_mutex_unlock(&m->lock);
    return stop;
}

static bool all_done(struct meter *m)
{
    pthread_mutex_lock(&m->lock);
    bool done = !m->waiting.n;
    m->held = m->writing.n;
    pthread_mutex_unlock(&m->lock);
    return done && !m->writing.n;
}

static void *work(void *arg)
{
    struct meter *m = arg;
    int64_t tick_ms = now_ms() + TICK_MS, retry_ms = 0, end_ms = 0;
    bool failing = false;
    for (;;) {
        bool stop = rest(m, failing, retry_ms, tick_ms);
        if (stop && !end_ms) end_ms = now_ms() + METER_PATIENCE_S * 1000;
        if (m->writing.n) {
            struct err e = {0};
            int rc = ledger_write(m->ledger, m->writing.row, m->writing.n, &e);
            if (rc && !failing) fprintf(stderr, "tutti: %s; trying again\n", e.msg);
            failing = rc != 0;
            retry_ms = now_ms() + RETRY_MS;
            tell(&m->writing, rc, failing ? now_ms() - METER_PATIENCE_S * 1000 : INT64_MAX);
            if (!failing) m->writing.n = 0;
        }
        if (!stop && now_ms() >= tick_ms) {
            m->tick(m->ud, m->ledger);
            tick_ms = now_ms() + TICK_MS;
        }
        if (all_done(m) ? stop : stop && now_ms() >= end_ms) break;
    }
    if (m->writing.n) fprintf(stderr, "tutti: %d requests could not be written to the ledger\n", m->writing.n);
    tell(&m->writing, ERR_IO, INT64_MAX);
    return NULL;
}

int meter_start(struct meter **out, struct ledger *l, void (*tick)(void *ud, struct ledger *l), void *ud, struct err *e)
{
    struct meter *m = calloc(1, sizeof *m);
    if (!m) return err(e, ERR_MEMORY, "out of memory");
    *m = (struct meter){.ledger = l, .tick = tick, .ud = ud};
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->wake, &a);
    pthread_condattr_destroy(&a);
    int rc = reserve(&m->waiting, ROWS_FIRST) && reserve(&m->writing, ROWS_FIRST)
                 ? pthread_create(&m->thread, NULL, work, m)
                 : ENOMEM;
    if (rc) {
        finish_batch(&m->waiting);
        finish_batch(&m->writing);
        free(m);
        return err(e, ERR_INTERNAL, "cannot start the ledger's thread: %s", strerror(rc));
    }
    *out = m;
    return 0;
}

void meter_post(struct meter *m, const struct ledger_row *row, meter_done_fn *done, void *ud)
{
    pthread_mutex_lock(&m->lock);
    struct batch *q = &m->waiting;
    bool ok = q->n + m->held < METER_ROWS_MAX && reserve(q, q->n + 1);
    if (ok) {
        q->row[q->n] = *row;
        q->by[q->n++] = (struct posted){done, ud, now_ms()};
        pthread_cond_signal(&m->wake);
    }
    pthread_mutex_unlock(&m->lock);
    if (!ok) done(ud, ERR_LIMIT);
}

int meter_backlog(struct meter *m)
{
    pthread_mutex_lock(&m->lock);
    int n = m->waiting.n + m->held;
    pthread_mutex_unlock(&m->lock);
    return n;
}

void meter_stop(struct meter *m)
{
    if (!m) return;
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    finish_batch(&m->waiting);
    finish_batch(&m->writing);
    ledger_close(m->ledger);
    free(m);
}
