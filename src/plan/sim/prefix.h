/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_prefix: beginnings that requests share, in a simulation: per group how many pages are in the cache, who
 * uses them, and which unused ones go first (the longest unused). A stand-in for the tree of
 * src/serve/sched/prefix.h where texts are known by their group only.
 */
#ifndef TUTTI_PLAN_SIM_PREFIX_H
#define TUTTI_PLAN_SIM_PREFIX_H

#include <stdint.h>
#include "base/err.h"

struct sim_group {
    int64_t pages; /* in the cache */
    int users;     /* running requests that have them */
    int older, newer; /* list of the unused; -1: none */
};

struct sim_prefix {
    struct sim_group *groups; /* [n] */
    int n, oldest, newest;
    int64_t idle; /* pages that nobody uses */
};

int sim_prefix_init(struct sim_prefix *p, int n, struct err *e);
void sim_prefix_finish(struct sim_prefix *p);
int64_t sim_prefix_use(struct sim_prefix *p, int group);            /* pages that are there; 0: no use was noted */
void sim_prefix_leave(struct sim_prefix *p, int group);             /* after a use, or after keep */
/* A request that runs has computed `pages` of its group: 1 if they are the cache's now (and in use), 0 if it
 * has them. */
int sim_prefix_keep(struct sim_prefix *p, int group, int64_t pages);
int64_t sim_prefix_evict(struct sim_prefix *p); /* pages of the longest unused group; 0: none is unused */

#endif
