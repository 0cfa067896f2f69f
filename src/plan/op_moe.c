/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_moe: the expert layer on one rank: choice, permutation, the experts' products, weighted sum.
 *
 * Weights of the experts that any token chose are read once; each expert's tokens fill tiles of 64 rows at least. How
 * many experts are hit follows from even chances; a skewed distribution hits fewer, and the fullest expert holds up the
 * rest (`skew`).
 */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "plan/op.h"

enum { START, ROUTE, DRAM, TENSOR, OVERLAP, EXPERT, SKEW, MOVE, TILE, SMALL_INTER, N_CONSTANTS };
enum { TOKENS, HIDDEN, INTER, TOPK, EXPERTS, TP, EP, MATRICES, BYTES, MATH_BYTES, SKEWED };

static const struct op_constant constants[N_CONSTANTS] = {
    [START] = {"launch", "us", 1, 150, 0, 40},
    [ROUTE] = {"route", "ns per token and choice", 0, 40, 0, 2},
    [DRAM] = {"dram", "share of peak", 0.1, 1, 1, 0.7},
    [TENSOR] = {"tensor", "share of peak", 0.1, 1, 1, 0.5},
    [OVERLAP] = {"overlap", "exponent", 1, 8, 8, 2},
    [EXPERT] = {"expert", "ns per expert of the rank", 0, 1000, 0, 50},
    [SKEW] = {"skew", "more time per choice, skewed", 0, 2, 0, 0.2},
    [MOVE] = {"move", "share of DRAM", 0.05, 1, 1, 0.5},
    [TILE] = {"tile", "rows", 8, 128, 8, 48},
    [SMALL_INTER] = {"narrow", "width of half speed", 0, 1000, 0, 100},
};

static double here(const double *s) /* experts of this rank */
{
    return fmax(1, s[EXPERTS] / s[EP]);
}

static double rows(const double *s) /* (token, expert) pairs of this rank */
{
    return s[TOKENS] * s[TOPK] / s[EP];
}

static double hit(const double *s) /* experts of this rank that have a token, even chances */
{
    return here(s) * (1 - pow(1 - s[TOPK] / s[EXPERTS], s[TOKENS]));
}

static double expert_size(const double *s)
{
    return s[MATRICES] * s[HIDDEN] * s[INTER] / s[TP];
}

static double peak(const struct gpu *g, const double *s)
{
    return s[MATH_BYTES] < 2 && g->flops8 > 0 ? g->flops8 : g->flops16;
}

/* One expert at least has to be read if this rank sees a token; a skewed choice may send all to others. */
static double floor_us(const struct gpu *g, const double *s)
{
    double least = s[SKEWED] ? 0 : 2 * rows(s) * expert_size(s) / peak(g, s);
    return 1e6 * fmax(least, s[EP] < 2 ? fmin(s[TOPK], here(s)) * expert_size(s) * s[BYTES] / g->memory : 0);
}

static double time_us(const struct gpu *g, const double *s, const double *c)
{
    double experts = hit(s), per = rows(s) / fmax(experts, 1e-9);
    double padded = experts * ceil(fmax(per, 1) / c[TILE]) * c[TILE], width = s[INTER] / s[TP];
    double tensor = 1e6 * 2 * padded * expert_size(s) / (peak(g, s) * c[TENSOR]) * (1 + c[SMALL_INTER] / width);
    double dram = 1e6 * experts * expert_size(s) * s[BYTES] / (g->memory * c[DRAM]);
    double move = 1e6 * rows(s) * 2 * (4 * s[HIDDEN] + 3 * width) / (g->memory * c[MOVE]);
    double t = op_overlap(tensor, dram, c[OVERLAP]) * (s[SKEWED] ? 1 + c[SKEW] : 1) + move;
    t += c[START] + 1e-3 * (c[ROUTE] * s[TOKENS] * s[TOPK] + c[EXPERT] * here(s));
    return fmax(t, floor_us(g, s));
}

static int words(const char *const *w, double *shape)
{
    shape[BYTES] = op_type_bytes(w[0]);
    shape[MATH_BYTES] = !strncmp(w[0], "fp8", 3) ? 1 : 2;
    shape[SKEWED] = !!strcmp(w[1], "balanced");
    return shape[BYTES] > 0 && shape[TP] >= 1 && shape[EP] >= 1 && shape[TOPK] <= shape[EXPERTS] ? 0 : -1;
}

static const int split[] = {TP, EP};

const struct op_model op_moe = {
    .split = split,
    .name = "moe",
    .file = "moe.csv",
    .group = {"dtype", "distribution"},
    .shape = {"tokens", "hidden", "inter", "topk", "experts", "tp", "ep", "matrices_per_expert"},
    .constants = constants,
    .n_constants = N_CONSTANTS,
    .words = words,
    .floor_us = floor_us,
    .time_us = time_us,
};
