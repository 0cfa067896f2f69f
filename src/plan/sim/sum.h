/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_sum: what a simulation says in numbers, by the definitions of doc/planner.md. TTFT counts from arrival,
 * queueing included; TPOT is (last - first) / (tokens - 1) of one request; percentiles take the nearest rank.
 * The first part of a run (the queue fills) is left out of percentiles.
 */
#ifndef TUTTI_PLAN_SIM_SUM_H
#define TUTTI_PLAN_SIM_SUM_H

#include "plan/sim/sim.h"

struct sim_limits {
    double ttft_s, tpot_s; /* 0: none */
};

struct sim_sum {
    int n;                        /* requests counted */
    double ttft50, ttft99, tpot50, tpot99, itl50, itl99, latency50, latency99; /* seconds */
    double rate, goodput;         /* requests/s that ended, and that met all limits */
    double met;                   /* share of requests that met all limits */
    double out_rate, in_rate;     /* tokens/s */
    double running, busy;         /* mean answers in a step; share of time in steps */
    double joules_per_token;      /* of steps, by output tokens */
};

enum { SIM_SUM_WARM = 10 }; /* one in so many requests, the first, is not counted */

int sim_sum(struct sim_sum *out, const struct sim_stats *st, const struct sim_served *served,
            const struct sim_request *req, int n, const struct sim_limits *limits, struct err *e);

#endif
