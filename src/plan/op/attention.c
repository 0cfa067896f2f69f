/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_attention: one new token per sequence over its cache (decode), and whole causal prompts (context).
 *
 * Decode reads every key and value once: DRAM, at a share that small heads and windows lower; a few work items cannot
 * draw the full bandwidth. Tensor cores pad the group of query heads that share a KV head to 16; groups beyond 32 leave
 * the fast kernels of some libraries (`wide`). A context is compute: visible pairs in tiles of 128 x 128, at a share of
 * the peak that depends on the head size.
 */
#include <math.h>
#include <stddef.h>
#include "plan/op/op.h"

enum { BATCH, LENGTH, HEADS, KV_HEADS, HEAD_DIM, WINDOW, KV_BYTES, Q_BYTES };

static double visible(const double *s)
{
    return s[WINDOW] > 0 ? fmin(s[LENGTH], s[WINDOW]) : s[LENGTH];
}

static int words(const char *const *w, double *shape)
{
    const struct op_type *kv = op_type(w[0]), *q = op_type(w[1]);
    if (!kv || !q || shape[KV_HEADS] <= 0) return -1;
    shape[KV_BYTES] = kv->bytes, shape[Q_BYTES] = q->bytes;
    return 0;
}

/* --- decode ---------------------------------------------------------------------------------------------------------- */
enum { START, DRAM, OVERLAP, UNIT, HEAD, LOG, TENSOR, SM_RATE, SINGLE, SMALL, LARGE, WINDOWED, WIDE, TAIL, N_DECODE };

static const struct op_constant decode_constants[N_DECODE] = {
    [START] = {"launch", "us", 1, 20, 0, 7},
    [DRAM] = {"dram", "share of peak", 0.4, 1, 1, 0.87},
    [OVERLAP] = {"overlap", "exponent", 1, 8, 8, 2.5},
    [UNIT] = {"unit", "cycles per KV head", 0, 8000, 0, 3000},
    [HEAD] = {"head", "cycles per head", 0, 2000, 0, 100},
    [LOG] = {"combine", "us per doubling", 0, 1.5, 0, 0.15},
    [TENSOR] = {"tensor", "share of peak", 0.02, 1, 1, 0.25},
    [SM_RATE] = {"sm_rate", "bytes/paced cycle/SM", 5, 120, 1e9, 30},
    [SINGLE] = {"single", "share at 1 head per KV head", 0.3, 1, 1, 0.8},
    [SMALL] = {"small", "share at head size 64", 0.3, 1, 1, 0.9},
    [LARGE] = {"large", "share at head size 192 and more", 0.3, 1, 1, 0.9},
    [WINDOWED] = {"window", "share with a window", 0.2, 1, 1, 0.8},
    [WIDE] = {"wide", "share beyond 32 heads per KV head", 0.02, 1, 1, 0.5},
    [TAIL] = {"tail", "share of an idle SM that is lost", 0, 1, 0, 0.2},
};

static double decode_bytes(const double *s)
{
    return 2 * s[BATCH] * s[KV_HEADS] * s[HEAD_DIM] * visible(s) * s[KV_BYTES];
}

static double decode_flops(const double *s, double heads)
{
    return 4 * s[BATCH] * heads * s[HEAD_DIM] * visible(s);
}

static double decode_floor(const struct gpu *g, const double *s)
{
    return 1e6 * fmax(decode_bytes(s) / g->memory, decode_flops(s, s[HEADS]) / fmax(g->flops16, g->flops8));
}

static double decode_time(const struct gpu *g, const double *s, const double *c)
{
    double group = s[HEADS] / s[KV_HEADS], share = c[DRAM];
    if (group < 2) share *= c[SINGLE];
    if (s[HEAD_DIM] <= 64) share *= c[SMALL];
    if (s[HEAD_DIM] >= 192) share *= c[LARGE];
    if (s[WINDOW] > 0) share *= c[WINDOWED];
    double units = s[BATCH] * s[KV_HEADS] / g->sms;
    if (units > 1) share *= 1 - c[TAIL] * (1 - units / ceil(units));
    double items = fmin(s[BATCH] * s[KV_HEADS] * ceil(visible(s) / 128), g->sms);
    double dram =
        op_overlap(1e6 * decode_bytes(s) / (g->memory * share),
                   1e6 * decode_bytes(s) * gpu_wait(g) / (items * c[SM_RATE] * g->clock), c[OVERLAP]);
    double padded = s[KV_HEADS] * ceil(group / 16) * 16;
    double tensor = 1e6 * decode_flops(s, padded) / (g->flops16 * c[TENSOR]) / (group > 32 ? c[WIDE] : 1);
    double cycles = (c[UNIT] * s[KV_HEADS] + c[HEAD] * s[HEADS]) * s[BATCH] / g->sms;
    double t = c[START] + op_overlap(dram, tensor, c[OVERLAP]) + 1e6 * cycles / g->clock +
               c[LOG] * log2(1 + visible(s));
    return fmax(t, decode_floor(g, s));
}

static int large_cache(const double *s)
{
    return decode_bytes(s) > 50e6;
}

static const int size[] = {BATCH, LENGTH, -1};

const struct op_model op_attention_decode = {
    .size = size,
    .name = "attention_decode",
    .file = "attention_decode.csv",
    .group = {"kv_dtype", "attn_dtype"},
    .shape = {"batch", "kv_tokens", "q_heads", "kv_heads", "head_dim", "window_tokens"},
    .constants = decode_constants,
    .n_constants = N_DECODE,
    .words = words,
    .floor_us = decode_floor,
    .time_us = decode_time,
    .other_type = 0.25,
    .counts = large_cache,
    .bar = 0.14,
};

/* --- context --------------------------------------------------------------------------------------------------------- */
enum {
    C_START,
    C_SHARE,
    C_SMALL,
    C_LARGE,
    C_EDGE,
    C_BLOCK,
    C_DRAM,
    C_OVERLAP,
    C_WINDOW,
    C_TOKEN,
    C_CHAIN,
    C_EXP,
    N_CONTEXT
};

static const struct op_constant context_constants[N_CONTEXT] = {
    [C_START] = {"launch", "us", 1, 40, 0, 9},
    [C_SHARE] = {"tensor", "share of peak", 0.1, 1, 1, 0.6},
    [C_SMALL] = {"small", "share at head size 64", 0.3, 1, 1, 0.7},
    [C_LARGE] = {"large", "share at head size 192 and more", 0.2, 1, 1, 0.9},
    [C_EDGE] = {"diagonal", "share of a tile", 0, 2, 0.5, 0.7},
    [C_BLOCK] = {"block", "cycles per 128 queries", 0, 20000, 0, 2000},
    [C_DRAM] = {"dram", "share of peak", 0.2, 1, 1, 0.7},
    [C_OVERLAP] = {"overlap", "exponent", 1, 8, 8, 2},
    [C_WINDOW] = {"window", "share with a window", 0.2, 1, 1, 0.8},
    [C_TOKEN] = {"cache_write", "share of DRAM", 0.02, 1, 1, 0.5},
    [C_CHAIN] = {"chain", "paced cycles per 128 keys", 0, 4000, 0, 600},
    [C_EXP] = {"exponentials", "share of peak", 0.2, 2, 1, 0.8},
};

/* Pairs of query and key of one head: causal, at most `window` back; `edge` tiles of 128 more for each row of tiles. */
static double pairs(const double *s, double edge)
{
    double n = s[LENGTH], w = visible(s), all = w * (w + 1) / 2 + (n - w) * w;
    return all + edge * 128 * ceil(n / 128) * 128 * (n >= 128 ? 1 : n / 128);
}

static double context_bytes(const double *s) /* q and o once, k and v once */
{
    return s[BATCH] * s[LENGTH] * s[HEAD_DIM] * (2 * s[HEADS] * s[Q_BYTES] + 2 * s[KV_HEADS] * s[KV_BYTES]);
}

static double context_peak(const struct gpu *g, const double *s)
{
    return s[Q_BYTES] < 2 && g->flops8 > 0 ? g->flops8 : g->flops16;
}

static double context_floor(const struct gpu *g, const double *s)
{
    return 1e6 * fmax(4 * s[BATCH] * s[HEADS] * s[HEAD_DIM] * pairs(s, 0) / context_peak(g, s),
                      context_bytes(s) / g->memory);
}

static double context_time(const struct gpu *g, const double *s, const double *c)
{
    double share = c[C_SHARE];
    if (s[HEAD_DIM] <= 64) share *= c[C_SMALL];
    if (s[HEAD_DIM] >= 192) share *= c[C_LARGE];
    if (s[WINDOW] > 0 && s[WINDOW] < s[LENGTH]) share *= c[C_WINDOW];
    double blocks = s[BATCH] * s[HEADS] * ceil(s[LENGTH] / 128), waves = fmax(1, blocks / g->sms);
    double all = s[BATCH] * s[HEADS] * pairs(s, c[C_EDGE]), flops = 4 * s[HEAD_DIM] * all;
    double busy = fmin(1, blocks / g->sms); /* share of the SMs with work */
    double exps = g->exps > 0 ? 1e6 * all / (g->exps * c[C_EXP] * busy) : 0;
    double tensor = op_overlap(1e6 * flops / (context_peak(g, s) * share * busy), exps, c[C_OVERLAP]) +
                    1e6 * c[C_BLOCK] * waves / g->clock;
    double dram = 1e6 * context_bytes(s) / (g->memory * c[C_DRAM]);
    double write = 1e6 * 2 * s[BATCH] * s[LENGTH] * s[HEAD_DIM] * s[KV_HEADS] * s[KV_BYTES] / (g->memory * c[C_TOKEN]);
    double chain = 1e6 * c[C_CHAIN] * gpu_wait(g) * ceil(visible(s) / 128) / g->clock;
    return fmax(c[C_START] + write + op_overlap(op_overlap(tensor, dram, c[C_OVERLAP]), chain, c[C_OVERLAP]),
                context_floor(g, s));
}

const struct op_model op_attention_context = {
    .size = size,
    .name = "attention_context",
    .file = "attention_context.csv",
    .group = {"kv_dtype", "attn_dtype"},
    .shape = {"batch", "seq_tokens", "q_heads", "kv_heads", "head_dim", "window_tokens"},
    .constants = context_constants,
    .n_constants = N_CONTEXT,
    .words = words,
    .floor_us = context_floor,
    .time_us = context_time,
    .other_type = 0.60,
};
