/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regret: what one loses by choosing as the model says. A sweep: measurements of one problem on equally many
 * chips that differ in how the chips share it (op.split: tensor or expert parallel). The choice is the way
 * that the model predicts to be fastest; its regret is 1 - (least measured time) / (measured time of the
 * choice). Kendall's tau compares the two orders.
 */
#ifndef TUTTI_PLAN_OP_REGRET_H
#define TUTTI_PLAN_OP_REGRET_H

#include "plan/op/measured.h"

struct regret {
    size_t sweeps;
    double mean, p90, tau; /* tau: (concordant - discordant pairs) / pairs, of all sweeps together */
};

/* sweeps 0: the operator has no choice, or no sweep was measured. ERR_MEMORY. */
int regret_group(struct regret *out, const struct measured_group *m, const struct gpu *g, const double *c,
                 struct err *e);

#endif
