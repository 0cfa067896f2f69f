/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search: which of many chips, shared how, serve some traffic within limits, and which of them for the least money. All
 * setups of every chip are screened by a formula; the best of each chip are sized by simulation (candidate.h).
 */
#ifndef TUTTI_PLAN_SEARCH_SEARCH_H
#define TUTTI_PLAN_SEARCH_SEARCH_H

#include "plan/search/candidate.h"

enum { SEARCH_PRECISIONS_MAX = 5, SEARCH_PER_CHIP = 4, SEARCH_PER_RESIDENT = 12, SEARCH_WHY_MAX = 320 };

struct search_space {
    struct device *const *devices; /* [n_devices] */
    int n_devices;
    const struct device_precision *precision[SEARCH_PRECISIONS_MAX];
    int n_precisions;
    void (*progress)(void *ud, int done, int all); /* or NULL */
    void *ud;
};

struct search_chip { /* of each device: its best, or why it has none */
    const struct device *device;
    struct candidate best;
    bool found;              /* best is a plan that meets everything */
    bool close;              /* best is the nearest one: it fits, and misses a limit */
    double miss;             /* close: how many times what was asked it takes */
    char why[SEARCH_WHY_MAX];
    int screened, simulated;
};

/* chips: [n_devices], sorted: plans by cost (n/p last, by limit of power), then the others. ERR_MEMORY. */
int search_run(struct search_chip *chips, const struct search_space *space, const struct want *w, struct err *e);

#endif
