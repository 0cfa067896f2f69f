/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace: where the cycles of a launch go.
 *
 * Parts of steps run into each other: while one folds, the next installs its weights. So that the shares add
 * up to the whole, a group of the graph is charged with the cycles by which it ends later than all groups
 * before it: what it adds to the time at which the results so far are there.
 */
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/lpu.h"

static struct lpu_part *part_of(struct lpu_trace *t, const char *what)
{
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->part[i].what, what) == 0) return &t->part[i];
    if (t->n == LPU_PARTS) return &t->part[LPU_PARTS - 1];
    t->part[t->n] = (struct lpu_part){.what = what};
    return &t->part[t->n++];
}

int lpu_trace(struct lpu_trace *t, const struct lpu_arch *a, const struct lpu_graph *g,
              const struct lpu_schedule *s, struct err *e)
{
    int *end = calloc((size_t)g->n_groups + 1, sizeof *end), done = 0;
    *t = (struct lpu_trace){0};
    if (!end) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < s->n; i++) {
        const struct lpu_timed *k = &s->list[i];
        int last = k->cycle + k->n - 1 + lpu_delay(a, k->in.op);
        struct lpu_part *p = part_of(t, g->groups[k->group].what);
        enum lpu_unit u = lpu_op_info[k->in.op].unit;
        if (last > end[k->group]) end[k->group] = last;
        if (u >= UNIT_WIDE) p->alu += k->n;
        if (u == UNIT_PASS) p->passes += k->n;
        if (k->in.op == OP_LW) p->loads += k->n;
    }
    for (int i = 0; i < g->n_groups; i++) {
        if (end[i] <= done) continue;
        part_of(t, g->groups[i].what)->cycles += end[i] - done;
        done = end[i];
    }
    free(end);
    return 0;
}
