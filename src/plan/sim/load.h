/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_load: the requests that a simulation serves: drawn (Philox, so that a seed names them for ever) or read
 * from a file.
 *
 * A trace is comma-separated with a header, plain or gzip, or has one JSON object per line. Columns or keys:
 *
 *   arrival_s, or timestamp in milliseconds       when it came
 *   input_tokens (input_length, ContextTokens)    its prompt
 *   output_tokens (output_length, GeneratedTokens)   its answer
 *   prefix_group, prefix_tokens                   may be absent: requests of a group begin alike
 *
 * Others are passed over. Requests may be in any order.
 */
#ifndef TUTTI_PLAN_SIM_LOAD_H
#define TUTTI_PLAN_SIM_LOAD_H

#include "plan/sim/sim.h"

enum sim_arrivals { SIM_POISSON, SIM_EVEN, SIM_BURSTS };

struct sim_draw {
    double rate;                   /* requests/s, mean */
    double prompt, answer;         /* tokens, mean */
    double spread;                 /* standard deviation / mean of both (log-normal); 0: all alike */
    enum sim_arrivals arrivals;
    double burst;                  /* SIM_BURSTS: a tenth of the time has `burst` times the rate of the rest */
    /* replicas that take turns: this one gets each turns-th request of all; up to 1: all of them */
    double turns;
    uint64_t seed;
};

struct sim_load {
    struct sim_request *requests; /* [n], by arrival */
    int n;
};

int sim_load_draw(struct sim_load *l, const struct sim_draw *d, int n, struct err *e);
int sim_load_read(struct sim_load *l, const char *path, struct err *e);
void sim_load_finish(struct sim_load *l); /* accepts a zeroed struct */

/* Every n-th request from `first` on: what one of n replicas gets that take turns. */
int sim_load_share(struct sim_load *out, const struct sim_load *all, int first, int n, struct err *e);

struct sim_mean { /* of a load */
    double rate, prompt, answer; /* requests/s; tokens */
    int longest;                 /* tokens in and out */
};
struct sim_mean sim_load_mean(const struct sim_load *l);

#endif
