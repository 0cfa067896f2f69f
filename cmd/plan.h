/* SPDX-License-Identifier: Apache-2.0 */
/* plan: what tutti plan found, and its forms: text, JSON, a page. */
#ifndef TUTTI_CMD_PLAN_H
#define TUTTI_CMD_PLAN_H

#include <jansson.h>
#include <stdio.h>
#include "plan/analysis.h"

enum { PLAN_CHIPS_MAX = 128 };

struct plan {
    struct shape shape;
    struct traffic traffic;
    const char *phrase;
    struct economy economy;
    struct want want;
    struct device *devices[PLAN_CHIPS_MAX];
    int n_devices;
    struct {
        char name[64], why[400];
    } refused[PLAN_CHIPS_MAX]; /* chips that cannot be timed: what is missing */
    int n_refused;
    struct search_chip chips[PLAN_CHIPS_MAX]; /* [n_devices] */
    struct analysis analysis;  /* of the best */
    struct search_chip nearest; /* where nothing meets what was asked; nearest.found */
    struct want relaxed;       /* what it does meet */
    double seconds; /* of the search */
};

static inline const struct search_chip *plan_best(const struct plan *p) /* NULL: nothing meets what was asked */
{
    return p->n_devices && p->chips[0].found ? &p->chips[0] : NULL;
}

void plan_text(const struct plan *p, FILE *f);
json_t *plan_json(const struct plan *p); /* NULL: out of memory */

enum { PLAN_TEXT_MAX = 64 };
const char *plan_split(const struct candidate *c, char out[PLAN_TEXT_MAX]); /* "12 x TP4 PP2" */

#endif
