/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_time: how long a step of one replica takes, quick to ask: tables that are filled once from a chip's
 * model.
 *
 * A step feeds `rows` tokens, of which `out` give logits. Its time is a sum:
 *
 *   dense(rows, 1)                  all that weights do to tokens              one entry per number of rows
 *   + dense(R, out) - dense(R, 1)   head, and what counts by sequence          one entry per number of outputs
 *   + decode(batch, context)        attention of answers being written         grid, straight lines between
 *   + prompt(n + k) - prompt(n)     attention of a piece of k tokens after n   grid, the same
 *
 * Time is whole nanoseconds. The context of answers counts by its mean, in buckets of SIM_BUCKET tokens at
 * their middle: within a bucket steps are equal, which is what lets a simulation add many at once and get the
 * same instants as one by one (sim.h). Energy goes the same way, in joules.
 */
#ifndef TUTTI_PLAN_SIM_TIME_H
#define TUTTI_PLAN_SIM_TIME_H

#include <stdint.h>
#include "base/err.h"

enum { SIM_BUCKET = 32, SIM_ROWS_MAX = 1 << 15, SIM_CONTEXT_MAX = 1 << 24, SIM_GRID_MAX = 64 };

struct sim_cost {
    double s, j; /* seconds, joules; not below 0 */
};

/* What a replica (all chips that hold one copy of the model) takes. Each function may be NULL-free only as a set. */
struct sim_model {
    void *ud;
    struct sim_cost (*dense)(void *ud, double rows, double out);
    /* attention alone; context: before the new token */
    struct sim_cost (*decode)(void *ud, double batch, double context);
    struct sim_cost (*prompt)(void *ud, double tokens); /* attention alone of one prompt from its beginning */
};

struct sim_line { /* a function of one variable at growing points */
    int n;
    double x[SIM_GRID_MAX], s[SIM_GRID_MAX], j[SIM_GRID_MAX];
};

struct sim_time {
    int rows_max, out_max, context_max;
    int64_t *dense_ns, *out_ns; /* [rows_max + 1], [out_max + 1] */
    float *dense_j, *out_j;
    struct sim_line prompt;
    int n_batch;
    double batch[SIM_GRID_MAX];
    struct sim_line decode[SIM_GRID_MAX]; /* per batch */
};

/* Fills the tables for at most rows_max tokens in a step, out_max answers and context_max tokens of one text.
 * ERR_LIMIT, ERR_MEMORY; ERR_RANGE if the model gives what is no time. */
int sim_time_init(struct sim_time *t, const struct sim_model *m, int rows_max, int out_max, int context_max,
                  struct err *e);
void sim_time_finish(struct sim_time *t); /* accepts a zeroed struct */

/* A step's parts. rows at most rows_max, out at most out_max. The sum of context counts tokens before the new ones. */
int64_t sim_time_dense(const struct sim_time *t, int rows, int out, double *joules);
int64_t sim_time_decode(const struct sim_time *t, int batch, int64_t context_sum, double *joules);
int64_t sim_time_piece(const struct sim_time *t, int before, int n, double *joules);

#endif
