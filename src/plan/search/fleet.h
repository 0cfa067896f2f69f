/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet: a plan over a day, and over a cluster so large that some of it is always broken.
 *
 * Replicas are not simulated one by one but by what they have in common: a grid of lanes, each simulated
 * event by event at one load and one slowness, says which share of requests meets its limits; a day's ticks
 * count how many replicas are alive and how slow their slowest node is (drawn by Philox), and read the grid.
 * So 100,000 chips cost as much as 100.
 */
#ifndef TUTTI_PLAN_SEARCH_FLEET_H
#define TUTTI_PLAN_SEARCH_FLEET_H

#include "plan/search/candidate.h"

enum { FLEET_HOURS = 24, FLEET_LOADS = 8, FLEET_SLOWS = 3, FLEET_TICKS = 288 };

struct fleet_grid {
    double share[FLEET_LOADS], slow[FLEET_SLOWS]; /* of the lane's greatest rate; factor of times */
    /* share of requests; mean W of a chip (NAN: n/p) */
    double met[FLEET_SLOWS][FLEET_LOADS], watts[FLEET_SLOWS][FLEET_LOADS];
};

/* Simulates the grid for a candidate that was sized. */
int fleet_grid(struct fleet_grid *g, struct candidate *c, const struct want *w, struct err *e);

struct fleet_hour {
    double rate;               /* requests/s; the traffic's is that of the busiest hour */
    int replicas, spare;       /* at work; more, ready */
    double use, met;           /* of what they could take; share of requests within the limits */
    double watts, dollars;     /* at the wall; for this hour; NAN: n/p */
};

/* As many replicas as each hour needs, and spares: at least one, and one in FLEET_SPARE. shape: [24] of the
 * busiest hour's rate, NULL: a usual day, 25 % in the night. */
enum { FLEET_SPARE = 20 };
void fleet_day(struct fleet_hour out[FLEET_HOURS], const struct fleet_grid *g, const struct candidate *c,
               const struct want *w, const double *shape);

struct fleet_trouble { /* of nodes */
    double failures;     /* per chip and hour */
    double repair_h;     /* until a node is back */
    double jitter;       /* standard deviation of a node's slowness (log-normal) */
    double slow_share, slow_factor; /* so many nodes are slower by this */
    int node;            /* chips that fail together */
    double retry_s;      /* until a broken request runs elsewhere */
};
/* The datasheet's failure rate, else an assumption; the rest assumed. */
struct fleet_trouble fleet_trouble(const struct device *d);

struct fleet_cluster {
    int replicas;
    double offered;              /* requests in the day */
    double met;                  /* share of offered ones within their limits */
    double met_untroubled;       /* the same if nothing broke and all were equal */
    double failures, broken;     /* nodes that failed; requests that had to begin again */
    double alive_least, alive_mean; /* replicas */
    double joules, tokens;       /* at the wall; output */
    double watts_mean;
};

/* A day of n chips of c's replicas under the traffic's rate at the busiest hour, scaled to `share` of what
 * all of them can take. */
int fleet_cluster(struct fleet_cluster *out, const struct fleet_grid *g, const struct candidate *c,
                  const struct want *w, int chips, double share, const struct fleet_trouble *t,
                  struct err *e);

struct fleet_train { /* one step of data-parallel training, and a month of them */
    int copies, chips_of_copy;
    /* reduce: all; exposed: not hidden behind the backward pass */
    double compute_s, reduce_s, exposed_s, straggle_s, step_s;
    double tier_s[3];          /* reduce inside a node, below one switch, across tiers */
    double mtbf_h, checkpoint_s, lost; /* between failures; between checkpoints; share of time lost to both */
    double tokens_s, use;      /* goodput; of peak */
};

/* tokens: of a step, all copies. ERR_LIMIT if a copy of weights, gradients and optimizer does not fit `chips`. */
int fleet_train(struct fleet_train *out, const struct device *d, const struct shape *m, int chips,
                double tokens, double sequence, const struct fleet_trouble *t, struct err *e);

#endif
