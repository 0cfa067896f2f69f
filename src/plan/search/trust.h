/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust: what stands against a plan: the least number of chips that its datasheet's peaks allow, and how far
 * simulated systems were from published ones.
 */
#ifndef TUTTI_PLAN_SEARCH_TRUST_H
#define TUTTI_PLAN_SEARCH_TRUST_H

#include "plan/search/candidate.h"

struct trust_least {
    double chips;     /* no plan can do with fewer */
    const char *by;   /* "operations", "memory rate", "memory" */
};

/* Operations of all requests at the peak of the precision, bytes of their caches at the memory's rate,
 * weights in the memory: weights are read for nothing, every chip is busy all the time. */
struct trust_least trust_least(const struct candidate *c, const struct want *w);

/* simulated whole systems against published ones, as `tutti plan --validate` found (data/fit/systems.csv) */
struct trust_systems {
    char chip[32];     /* as in datasheets */
    int rows;
    double median, p90, bias; /* shares */
};
bool trust_systems(struct trust_systems *out, const char *chip); /* chip NULL: all of them; false: no row */

#endif
