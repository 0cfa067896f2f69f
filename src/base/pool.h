/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fixed pool of workers that run one function together and meet at barriers. The caller is worker 0. Work
 * is divided by worker number (pool_share), or dealt out (pool_deal) where it must not matter who does what.
 * Waiting spins for a short while and then sleeps, so that an oversubscribed machine makes progress. As many
 * workers as processors are bound to one each. No memory is allocated after pool_create.
 */
#ifndef TUTTI_BASE_POOL_H
#define TUTTI_BASE_POOL_H

#include <stdbool.h>
#include "base/err.h"

enum { POOL_MAX = 256 }; /* workers */

struct pool;

/* n workers, the caller included; n = 0: one for each CPU this process may use (affinity and cgroup quota). */
int pool_create(struct pool **p, int n, struct err *e);
void pool_destroy(struct pool *p); /* accepts NULL */
int pool_size(const struct pool *p);

/* Runs fn(arg, worker) on every worker and returns when all are done; the caller's affinity is then as before.
 * Not reentrant; one caller at a time. */
void pool_run(struct pool *p, void (*fn)(void *arg, int worker), void *arg);

/* Inside fn: returns when every worker has arrived; memory written before is visible after. */
void pool_barrier(struct pool *p);

/* CPUs this process may use: affinity mask, quotas of its cgroup (v2) and of those above it; at least 1. */
int pool_cpus(void);

/* The part [*begin, *end) of n items that falls to a worker: contiguous, sizes differ by at most one. */
void pool_share(int n, int worker, int workers, int *begin, int *end);

/*
 * Dealing: the shares of pool_share, but a worker takes its own in pieces from the front, each half of what
 * is left, and one that has done its own takes from the ends of others', so that a worker that other programs
 * slow down holds up nobody for long. Every worker calls pool_deal for the same n >= 0 between the same two
 * barriers (or the begin and end of fn), and only once there; then pool_take until it returns false. Every
 * item is taken exactly once.
 */
struct pool_deal {
    struct pool *pool;
    int worker, n, least; /* items of a piece, unless fewer are left */
    int victim;           /* whose share pieces are taken from now */
};

struct pool_deal pool_deal(struct pool *p, int worker, int n);
/* A piece [*begin, *end) of one worker's share; false: nothing is left for this one. */
bool pool_take(struct pool_deal *d, int *begin, int *end);

/* Round to nearest, no flush to zero, no traps: set (and given back to restore) around the contract's arithmetic. */
unsigned long fpenv_set(void);
void fpenv_restore(unsigned long old);

#endif
