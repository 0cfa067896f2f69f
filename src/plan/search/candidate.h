/* SPDX-License-Identifier: Apache-2.0 */
/*
 * candidate: one way to serve some traffic: a chip, a precision, how chips share the model, batch limits.
 * First screened by a formula (steady flow), then sized by simulation: the fewest replicas with which the
 * wanted share of requests meets all limits.
 */
#ifndef TUTTI_PLAN_SEARCH_CANDIDATE_H
#define TUTTI_PLAN_SEARCH_CANDIDATE_H

#include "plan/search/economy.h"
#include "plan/search/replica.h"
#include "plan/sim/sum.h"
#include "plan/sim/traffic.h"

struct want { /* what is asked */
    const struct shape *shape;
    const struct traffic *traffic;
    struct sim_limits limits;
    double attain;            /* share of requests that must meet all limits */
    const struct economy *economy;
    enum economy_pay pay;
    double watts, dollars;    /* limits at the wall, and per month; 0: none */
    int chips_max;            /* 0: SEARCH_CHIPS_MAX */
    int draft;                /* speculation as in sim_policy */
    double accept, draft_share;
    uint64_t seed;
};
enum { SEARCH_CHIPS_MAX = 1000000, CANDIDATE_POINTS = 24, CANDIDATE_STEP_TOKENS = 2048 };

struct candidate_point { /* of steady flow, by batch */
    double batch, user_rate, chip_rate; /* tokens/s of one user; of one chip */
    double ttft_s;                      /* of a prompt alone beside such a batch */
    bool meets;
};

struct candidate {
    struct replica replica;
    struct sim_policy policy;    /* of a lane */
    struct candidate_point point[CANDIDATE_POINTS];
    int n_points;
    struct replica_flow flow;    /* at the best batch that meets the limits */
    double flow_batch;
    double fastest_tpot, fastest_ttft; /* seconds, of one request alone */
    double guess;                /* replicas, by flow */

    /* by simulation */
    bool meets;
    int replicas;
    double chips_needed;         /* 0: no number of chips would do */
    double lane_rate;            /* requests/s at which a lane just meets the limits */
    struct sim_stats stats;      /* of one lane, at the share of `replicas` */
    struct sim_sum sum;
    double chip_watts;           /* mean; NAN: n/p */
    struct economy_cost cost;    /* of all of it */
    double dollars_per_token;    /* all charged to output tokens */
    double joules_per_token;     /* at the wall, by output tokens; NAN */
    double error;                /* expected of times, as a share; NAN: unknown */
    enum evidence evidence, energy_evidence;
};

/* Flow at growing batches. 1: some batch meets the limits; 0: none does; below 0: an error (it does not fit). */
int candidate_screen(struct candidate *c, const struct want *w, const struct device *d,
                     const struct device_setup *s, struct err *e);
/* Fewest replicas; then everything that follows from them. c->meets says whether it can be done at all. */
int candidate_size(struct candidate *c, const struct want *w, struct err *e);
/* A simulation of one lane of `lanes` that take turns, of which each gets `rate` requests/s; each as in
 * sim_run, or NULL. */
int candidate_try(struct candidate *c, const struct want *w, const struct sim_time *t, double rate,
                  double lanes, int n, struct sim_stats *st, struct sim_sum *sum,
                  void (*each)(void *ud, const struct sim_step *s), void *ud, struct err *e);
/* Requests of a run that is long beside the time that one of them takes, and beside what it may wait. */
int candidate_requests(const struct candidate *c, const struct want *w, double lane_rate);
/* A queue that grows all the time is none that works, even where a run ends before anybody waited too long. */
bool candidate_keeps_up(const struct candidate *c, const struct want *w, const struct sim_stats *st,
                        const struct sim_sum *sum);
int candidate_table(struct sim_time *t, const struct candidate *c, const struct want *w, struct err *e);
/* Cost, energy and what follows from c->replicas. */
void candidate_cost(struct candidate *c, const struct want *w, const struct economy *m);
int candidate_chips(const struct candidate *c); /* of all replicas */

#endif
