/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_gemm: C[m,n] = A[m,k] B[n,k]^T, B the weight.
 *
 * A library picks the best of its kernels, so the time is the least over output tiles and splits of k. One
 * kernel:
 *
 *   compute  waves of tiles over the SMs, each tile at its share of the peak, plus a start-up per wave
 *   memory   every operand once over DRAM
 *   L2       every tile reads its rows and columns from L2
 *   latency  a chain of k / 64 steps cannot be shortened by more SMs
 *
 * which overlap (op_overlap). 8-bit products include the quantisation of A, as measured sets do. Long
 * products lower the clock: `throttle`.
 *
 * Cycles of start-ups, chains and L2 are paced (gpu.h): a chip whose tensor cores do twice as much in a cycle
 * is fed twice as fast. So stated, constants of A100 and H100 can take each other's place: median errors fall
 * from 14-18 to 8-12 %.
 */
#include <math.h>
#include <stddef.h>
#include "plan/op/op.h"

enum {
    LAUNCH,
    OVERLAP,
    TILE64,
    TILE96,
    TILE128,
    TILE256,
    RAMP,
    DRAM,
    L2,
    SPLIT,
    TAIL,
    THROTTLE,
    SPLIT0,
    CHAIN,
    QUANT0,
    QUANT,
    N_CONSTANTS
};
enum { M, N, K, BYTES, MATH };

static const struct op_constant constants[N_CONSTANTS] = {
    [LAUNCH] = {"launch", "us", 1, 6, 0, 2.3},
    [OVERLAP] = {"overlap", "exponent", 1, 8, 8, 2.5},
    [TILE64] = {"tile_64x64", "share of peak", 0.2, 1, 1, 0.8},
    [TILE96] = {"tile_64x128", "share of peak", 0.2, 1, 1, 0.8},
    [TILE128] = {"tile_128x128", "share of peak", 0.2, 1, 1, 0.8},
    [TILE256] = {"tile_128x256", "share of peak", 0.2, 1, 1, 0.8},
    [RAMP] = {"wave", "paced cycles", 0, 5000, 0, 1000},
    [DRAM] = {"dram", "share of peak", 0.5, 1, 1, 0.87},
    [L2] = {"l2", "bytes/paced cycle/SM", 10, 400, 1e9, 60},
    [SPLIT] = {"split", "share of DRAM", 0, 3, 0, 0.5},
    [TAIL] = {"tail", "share of a wave", 0, 1, 1, 0.7},
    [THROTTLE] = {"throttle", "share", 0, 0.5, 0, 0.1},
    [SPLIT0] = {"split_start", "us", 0, 6, 0, 2.4},
    [CHAIN] = {"chain", "paced cycles per 64 of k", 0, 400, 0, 150},
    [QUANT0] = {"quantise_start", "us", 0, 10, 0, 2},
    [QUANT] = {"quantise", "share of DRAM", 0.2, 1, 1, 0.7},
};

static double bytes(const double *s)
{
    return s[MATH] * s[M] * s[K] + s[BYTES] * s[N] * s[K] + 2 * s[M] * s[N];
}

static double floor_us(const struct gpu *g, const double *s)
{
    return 1e6 * fmax(2 * s[M] * s[N] * s[K] / gpu_peak(g, s[MATH]), bytes(s) / g->memory);
}

/* Time of one kernel without its launch; `best`, if it cannot be less than that. */
static double kernel_us(const struct gpu *g, const double *s, const double *c, double tm, double tn,
                        double share, int splits, double best)
{
    double pace = gpu_pace(g), wait = gpu_wait(g), k = ceil(s[K] / splits / 64) * 64,
           tiles = ceil(s[M] / tm) * ceil(s[N] / tn) * splits;
    double waves = tiles / g->sms, whole = ceil(waves);
    waves = waves < 1 ? 1 : whole - (whole - waves) * (1 - c[TAIL]);
    double compute =
        1e6 * waves * (2 * tm * tn * k / (gpu_peak(g, s[MATH]) / g->sms * share) + c[RAMP] * wait / g->clock);
    double dram = 1e6 * bytes(s) / (g->memory * c[DRAM]);
    double l2 = 1e6 * tiles * (tm * s[MATH] + tn * s[BYTES]) * k / (c[L2] * g->clock * g->sms / pace);
    double chain = 1e6 * c[CHAIN] * wait * k / 64 / g->clock;
    double more = splits > 1 ? c[SPLIT0] + 1e6 * c[SPLIT] * 4 * splits * s[M] * s[N] / g->memory : 0;
    if (fmax(fmax(compute, dram), fmax(l2, chain)) + more >= best) return best;
    return more + op_overlap(op_overlap(compute, dram, c[OVERLAP]), op_overlap(l2, chain, c[OVERLAP]), c[OVERLAP]);
}

static double time_us(const struct gpu *g, const double *s, const double *c)
{
    static const struct {
        double m, n;
        int share;
    } tiles[] = {{64, 64, TILE64},    {64, 128, TILE96},   {128, 64, TILE96},
                 {128, 128, TILE128}, {128, 256, TILE256}, {256, 128, TILE256}};
    double best = HUGE_VAL;
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++)
        for (int splits = 1; splits <= 16 && (splits == 1 || s[K] / splits >= 128); splits *= 2)
            best = fmin(best, kernel_us(g, s, c, tiles[i].m, tiles[i].n, c[tiles[i].share], splits, best));
    best += c[LAUNCH];
    if (s[MATH] < 2) best += c[QUANT0] + 1e6 * 3 * s[M] * s[K] / (g->memory * c[QUANT]);
    double busy = 1e6 * 2 * s[M] * s[N] * s[K] / gpu_peak(g, s[MATH]);
    return fmax(best * (1 + c[THROTTLE] * busy / (busy + 300)), floor_us(g, s));
}

static int words(const char *const *w, double *shape)
{
    const struct op_type *t = op_type(w[0]);
    if (!t) return -1;
    shape[BYTES] = t->bytes, shape[MATH] = t->math;
    return 0;
}

static const int size[] = {M, -1};

const struct op_model op_gemm = {
    .size = size,
    .name = "gemm",
    .file = "gemm.csv",
    .group = {"dtype"},
    .shape = {"m", "n", "k"},
    .constants = constants,
    .n_constants = N_CONSTANTS,
    .words = words,
    .floor_us = floor_us,
    .time_us = time_us,
    .other_type = 0.24,
    .bar = 0.07,
    .bar_word = "bfloat16",
};
