/* SPDX-License-Identifier: Apache-2.0 */
/*
 * analysis: what a buyer asks of a plan once it stands: where more load breaks it, how many users fit, where
 * time, energy and money go, and which assumption would change the answer.
 */
#ifndef TUTTI_PLAN_SEARCH_ANALYSIS_H
#define TUTTI_PLAN_SEARCH_ANALYSIS_H

#include "plan/search/search.h"

enum { LOAD_POINTS = 12, CAPACITY_ROWS = 9, BARS_MAX = ECONOMY_ITEMS + 6, BARS_CHIPS = 3 };

struct load_point { /* all replicas together */
    double rate;        /* requests/s offered */
    struct sim_sum sum; /* of one lane; goodput in it is of all */
};

struct capacity_row {
    double context;      /* tokens of each user */
    double users;        /* that one replica holds at once */
    int chips;           /* fewest that hold one such user; 0: none */
};

struct bar { /* of the tornado: the best plan when one assumption moves */
    const char *name, *unit;
    double low, high, now;        /* values of the assumption */
    double cost_low, cost_high;   /* bars_of then */
    const char *chip_low,
        *chip_high; /* which chip is then the cheapest; where plans are simulated anew, of the first BARS_CHIPS */
};

struct analysis {
    struct load_point load[LOAD_POINTS];
    int n_load, knee;                 /* knee: last point that meets the limits; -1: none */
    struct capacity_row capacity[CAPACITY_ROWS];
    double weight_bytes, token_bytes; /* of the whole model; of one token's cache */
    struct device_step decode, prefill;
    double batch, context;            /* at which `decode` is */
    struct bar bars[BARS_MAX];        /* widest first */
    int n_bars;
    double bars_now;
    const char *bars_of;              /* "USD per million output tokens", or "chips" where a price is not published */
};

/* Of the best plan, chips[0]; prices of the others decide what is cheapest. */
int analysis_make(struct analysis *a, struct search_chip *chips, int n, const struct want *w, struct err *e);

/* The nearest possible plan where none meets what is asked: *relaxed has the limits that it does meet. 1:
 * found; 0: none. */
int analysis_nearest(struct search_chip *nearest, struct want *relaxed, const struct search_chip *chips,
                     int n, const struct want *w, struct err *e);

#endif
