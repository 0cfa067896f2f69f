/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_collective: all_reduce, all_gather, reduce_scatter and alltoall among the GPUs of one node.
 *
 *   time = start + step (n - 1) + wire / share(n) x (1 + half / bytes)
 *
 * wire: the bytes that each GPU must send, over its link. Small messages reach the half of the rate at `half`
 * bytes. Short all-reduces of the serving frameworks go in one shot: every GPU reads what the others have, at
 * a start of its own.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "plan/op/op.h"

enum { START, STEP, SHARE, SHARE_LOG, HALF, ONE_START, ONE_STEP, ONE_SHARE, N_CONSTANTS };
enum { GPUS, BYTES, KIND, CUSTOM };
enum { ALL_REDUCE, OTHER };

static const struct op_constant constants[N_CONSTANTS] = {
    [START] = {"start", "us", 1, 40, 0, 8},
    [STEP] = {"step", "us", 0, 10, 0, 1},
    [SHARE] = {"link", "share of peak at 2", 0.2, 1.2, 1, 0.7},
    [SHARE_LOG] = {"link_slope", "share per doubling", -0.2, 0.4, 0, 0.05},
    [HALF] = {"half", "MB", 0, 20, 0, 1},
    [ONE_START] = {"one_shot_start", "us", 0.5, 20, 0, 3},
    [ONE_STEP] = {"one_shot_step", "us", 0, 5, 0, 0.3},
    [ONE_SHARE] = {"one_shot_link", "share of peak", 0.1, 1.2, 1, 0.6},
};

static double wire_us(const struct gpu *g, const double *s)
{
    double n = s[GPUS];
    return n < 2 ? 0 : 1e6 * (s[KIND] == ALL_REDUCE ? 2 : 1) * (n - 1) / n * s[BYTES] / g->link;
}

/* A switch that adds up on the way halves what each GPU sends in an all-reduce. */
static double floor_us(const struct gpu *g, const double *s)
{
    return wire_us(g, s) / (s[KIND] == ALL_REDUCE ? 2 : 1);
}

static double time_us(const struct gpu *g, const double *s, const double *c)
{
    double n = s[GPUS], share = fmax(0.05, c[SHARE] + c[SHARE_LOG] * log2(n / 2));
    double t = c[START] + c[STEP] * (n - 1) + wire_us(g, s) / share * (1 + 1e6 * c[HALF] / (s[BYTES] + 1e6 * c[HALF]));
    if (s[CUSTOM] && s[KIND] == ALL_REDUCE)
        t = fmin(t, c[ONE_START] + c[ONE_STEP] * (n - 1) + 1e6 * (n - 1) * s[BYTES] / (g->link * c[ONE_SHARE]));
    return fmax(t, floor_us(g, s));
}

static int words(const char *const *w, double *shape)
{
    static const char *const others[] = {"all_gather", "reduce_scatter", "alltoall"};
    shape[KIND] = OTHER;
    shape[CUSTOM] = !strcmp(w[1], "custom_all_reduce");
    if (!strcmp(w[0], "all_reduce")) {
        shape[KIND] = ALL_REDUCE;
        return 0;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(w[0], others[i])) return 0;
    return -1;
}

static int counts(const double *s)
{
    return s[KIND] == ALL_REDUCE && s[BYTES] >= 16e6;
}

static const int size[] = {BYTES, -1};

const struct op_model op_collective = {
    .size = size,
    .name = "collective",
    .file = "collectives.csv",
    .group = {"op", "implementation", "launch"},
    .shape = {"n_gpus", "message_bytes"},
    .constants = constants,
    .n_constants = N_CONSTANTS,
    .words = words,
    .floor_us = floor_us,
    .time_us = time_us,
    .other_type = 0.22,
    .counts = counts,
    .bar = 0.10,
};
