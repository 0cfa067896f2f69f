/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_moe: the expert layer on one rank: choice, permutation, the experts' products, weighted sum.
 *
 * Weights of the experts that any token chose are read once; each expert's tokens fill tiles of 64 rows at
 * least. Even choices hit experts by chance. Skewed choices ("power_law_1.2") give experts loads x drawn from
 * x^-1.2 between 1 and `spread` times the tokens; the rank that is measured is the fullest: it holds the most
 * loaded expert, and a mean sample of the others. So the more ranks share whole experts, the more of the work
 * stays with one. Kernels that do not compact move rows of foreign experts too (`foreign`).
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "plan/op/op.h"

enum {
    START,
    ROUTE,
    DRAM,
    TENSOR,
    OVERLAP,
    EXPERT,
    SPREAD,
    MOVE,
    TILE,
    SMALL_INTER,
    FOREIGN,
    GUESTS,
    PARTED,
    N_CONSTANTS
};
enum { TOKENS, HIDDEN, INTER, TOPK, EXPERTS, TP, EP, MATRICES, BYTES, MATH_BYTES, POWER };

static const struct op_constant constants[N_CONSTANTS] = {
    [START] = {"launch", "us", 1, 150, 0, 40},
    [ROUTE] = {"route", "ns per token and choice", 0, 40, 0, 2},
    [DRAM] = {"dram", "share of peak", 0.1, 1, 1, 0.7},
    [TENSOR] = {"tensor", "share of peak", 0.1, 1, 1, 0.5},
    [OVERLAP] = {"overlap", "exponent", 1, 8, 8, 2},
    [EXPERT] = {"expert", "ns per expert of the rank", 0, 1000, 0, 50},
    [SPREAD] = {"spread", "most to least loaded expert, per token", 0.01, 2, 0.8, 0.8},
    [MOVE] = {"move", "share of DRAM", 0.05, 1, 1, 0.5},
    [TILE] = {"tile", "rows", 8, 128, 8, 48},
    [SMALL_INTER] = {"narrow", "width of half speed", 0, 1000, 0, 100},
    [FOREIGN] = {"foreign", "share of foreign rows moved", 0, 1, 0, 0.3},
    [GUESTS] = {"guests", "share of rows multiplied in vain", 0, 1, 0, 0.2},
    [PARTED] = {"parted", "us if experts are split", 0, 100, 0, 5},
};

static double here(const double *s) /* experts of this rank */
{
    return fmax(1, s[EXPERTS] / s[EP]);
}

static double pairs(const double *s) /* of token and expert, of all ranks */
{
    return s[TOKENS] * s[TOPK];
}

/* What the rank has to do: rows that its experts take, in whole tiles, and experts that take any. */
struct load {
    double rows, padded, hit;
};

static void add_experts(struct load *l, double n, double each, double tile)
{
    double hit = n * fmin(1, each); /* below one row each, some have none */
    l->rows += n * each;
    l->hit += hit;
    l->padded += hit * ceil(fmax(each, 1) / tile) * tile;
}

static struct load even(const double *s, double tile)
{
    struct load l = {.rows = pairs(s) / s[EP], .hit = here(s) * (1 - pow(1 - s[TOPK] / s[EXPERTS], s[TOKENS]))};
    l.padded = l.hit * ceil(fmax(l.rows / fmax(l.hit, 1e-9), 1) / tile) * tile;
    return l;
}

/* Experts in order of their load, in groups of 1, 1, 2, 4, 8 ...: `from` have more. */
static double weight_of(const double *s, double spread, double from, double n)
{
    double most = pow(fmax(2, spread * s[TOKENS]), 1 - s[POWER]);
    return pow(1 - (1 - (from + n / 2) / s[EXPERTS]) * (1 - most), 1 / (1 - s[POWER]));
}

static struct load skewed(const double *s, double tile, double spread)
{
    struct load l = {0};
    double all = 0, left = pairs(s), sample = s[EXPERTS] > 1 ? (here(s) - 1) / (s[EXPERTS] - 1) : 0;
    for (double from = 0, n; from < s[EXPERTS]; from += n) {
        n = fmin(fmax(1, from), s[EXPERTS] - from);
        all += n * weight_of(s, spread, from, n);
    }
    for (double from = 0, n; from < s[EXPERTS]; from += n) {
        n = fmin(fmax(1, from), s[EXPERTS] - from);
        /* a token takes an expert once */
        double w = weight_of(s, spread, from, n), each = fmin(s[TOKENS], left * w / all);
        all -= n * w, left -= n * each;
        add_experts(&l, from > 0 ? n * sample : 1, each, tile);
    }
    return l;
}

static double expert_size(const double *s)
{
    return s[MATRICES] * s[HIDDEN] * s[INTER] / s[TP];
}

/* One expert at least has to be read if this rank sees a token; a skewed choice may send all to others. */
static double floor_us(const struct gpu *g, const double *s)
{
    double least = s[POWER] > 0 ? 0 : 2 * pairs(s) / s[EP] * expert_size(s) / gpu_peak(g, s[MATH_BYTES]);
    return 1e6 * fmax(least, s[EP] < 2 ? fmin(s[TOPK], here(s)) * expert_size(s) * s[BYTES] / g->memory : 0);
}

static double time_us(const struct gpu *g, const double *s, const double *c)
{
    struct load l = s[POWER] > 0 ? skewed(s, c[TILE], c[SPREAD]) : even(s, c[TILE]);
    double width = s[INTER] / s[TP], moved = l.rows + c[FOREIGN] * fmax(0, pairs(s) - l.rows);
    /* choices of other ranks by tokens that have one here */
    double guests = fmax(0, s[TOPK] * fmin(s[TOKENS], l.rows) - l.rows);
    double tensor = 1e6 * 2 * (l.padded + c[GUESTS] * guests) * expert_size(s) /
                    (gpu_peak(g, s[MATH_BYTES]) * c[TENSOR]) * (1 + c[SMALL_INTER] / width);
    double dram = 1e6 * l.hit * expert_size(s) * s[BYTES] / (g->memory * c[DRAM]);
    double move = 1e6 * moved * 2 * (4 * s[HIDDEN] + 3 * width) / (g->memory * c[MOVE]);
    double t = op_overlap(tensor, dram, c[OVERLAP]) + move + c[START] + (s[EP] > 1 ? c[PARTED] : 0) +
               1e-3 * (c[ROUTE] * pairs(s) + c[EXPERT] * here(s));
    return fmax(t, floor_us(g, s));
}

static int words(const char *const *w, double *shape)
{
    const struct op_type *t = op_type(w[0]);
    if (!t) return -1;
    shape[BYTES] = t->bytes, shape[MATH_BYTES] = t->math;
    if (sscanf(w[1], "power_law_%lf", &shape[POWER]) == 1) {
        if (!(shape[POWER] > 1 && shape[POWER] < 10)) return -1;
    } else if (strcmp(w[1], "balanced")) {
        return -1;
    }
    return shape[TP] >= 1 && shape[EP] >= 1 && shape[TOPK] <= shape[EXPERTS] ? 0 : -1;
}

static const int split[] = {TP, EP};

static const int size[] = {TOKENS, -1};

const struct op_model op_moe = {
    .split = split,
    .size = size,
    .name = "moe",
    .file = "moe.csv",
    .group = {"dtype", "distribution"},
    .shape = {"tokens", "hidden", "inter", "topk", "experts", "tp", "ep", "matrices_per_expert"},
    .constants = constants,
    .n_constants = N_CONSTANTS,
    .words = words,
    .floor_us = floor_us,
    .time_us = time_us,
    .other_type = 0.18,
};
