/* SPDX-License-Identifier: Apache-2.0 */
/* See sim/prefix.h. */
#include "plan/sim/prefix.h"

#include <stdlib.h>

int sim_prefix_init(struct sim_prefix *p, int n, struct err *e)
{
    *p = (struct sim_prefix){.n = n, .oldest = -1, .newest = -1};
    p->groups = calloc((size_t)n + 1, sizeof *p->groups);
    return p->groups ? 0 : err(e, ERR_MEMORY, "out of memory for %d groups of requests", n);
}

void sim_prefix_finish(struct sim_prefix *p)
{
    free(p->groups);
    p->groups = NULL;
}

static void take_out(struct sim_prefix *p, struct sim_group *g)
{
    if (g->older >= 0) p->groups[g->older].newer = g->newer;
    else p->oldest = g->newer;
    if (g->newer >= 0) p->groups[g->newer].older = g->older;
    else p->newest = g->older;
    p->idle -= g->pages;
}

int64_t sim_prefix_use(struct sim_prefix *p, int group)
{
    struct sim_group *g = &p->groups[group];
    if (g->pages == 0) return 0;
    if (g->users++ == 0) take_out(p, g);
    return g->pages;
}

void sim_prefix_leave(struct sim_prefix *p, int group)
{
    struct sim_group *g = &p->groups[group];
    must(g->users > 0);
    if (--g->users) return;
    g->older = p->newest;
    g->newer = -1;
    if (p->newest >= 0) p->groups[p->newest].newer = group;
    else p->oldest = group;
    p->newest = group;
    p->idle += g->pages;
}

int sim_prefix_keep(struct sim_prefix *p, int group, int64_t pages)
{
    struct sim_group *g = &p->groups[group];
    if (g->pages) return 0;
    g->pages = pages;
    g->users = 1;
    return 1;
}

int64_t sim_prefix_evict(struct sim_prefix *p)
{
    if (p->oldest < 0) return 0;
    struct sim_group *g = &p->groups[p->oldest];
    int64_t pages = g->pages;
    take_out(p, g);
    g->pages = 0;
    return pages;
}
