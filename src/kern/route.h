/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route: which experts a token goes to, and with what weights (contract section 6, rule ROUTE).
 *
 *   score      softmax: z itself (the order of the probabilities is that of z); sigmoid: fl(sigmoid(z) +
 *              bias)
 *   chosen     the n_used largest scores, descending; of equal ones the lower expert first
 *   weight     softmax: p = exp(z - max z), divided by fl(sum of rne(p * 2^23)) * 2^-23 over all experts, or
 *              over the chosen; sigmoid: sigmoid(z), divided by the sum over the chosen, ascending in their
 *              order, if over_used; then times scale, if that is not 1
 *
 * Groups (n_group > 1): a group's score is the sum of its two largest scores, or the largest with
 * ROUTE_SOFTMAX; experts outside the n_group_used best groups (ties: the lower group) are not chosen.
 */
#ifndef TUTTI_KERN_ROUTE_H
#define TUTTI_KERN_ROUTE_H

#include <stdbool.h>

enum { ROUTE_EXPERTS_MAX = 1024, ROUTE_USED_MAX = 64, ROUTE_GROUPS_MAX = 64 };

enum route_kind { ROUTE_SOFTMAX, ROUTE_SIGMOID };

struct route {
    enum route_kind kind;
    int n_expert, n_used;
    bool over_used;          /* weights sum to 1 over the chosen experts */
    float scale;
    int n_group, n_group_used; /* 0: no groups; n_group divides n_expert */
};

/* z[n_expert] -> out[n_used] expert numbers as floats, then out[n_used] weights. bias[n_expert] or NULL. */
void route_choose(const struct route *r, const float *z, const float *bias, float *out);

#endif
