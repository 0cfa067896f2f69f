/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope.h: rotary position embedding by integer turns.
 *
 * An angle is an unsigned 64-bit fraction of a full turn. Pair i of a head has one step, the integer
 * nearest to 2^64 theta_i / (2 pi), and the angle at a position is position * step modulo 2^64: exact
 * range reduction at any position. The top two bits of (angle + 1/8 turn) choose the quadrant, the rest
 * is t in [-1, 1], which stands for t pi/4 and goes to the polynomials of mathf.h.
 *
 *   theta_i = base^(-2i/dim) / factor_i, then scaled as the model's metadata say (struct rope_config).
 *
 * theta_i is a real number: metadata count as the exact values of their fp32, and the steps are computed
 * in 256-bit fixed point (rope.c), so a table depends on no library and no rounding mode. It is made
 * once, at load.
 */
#ifndef TUTTI_KERN_ROPE_H
#define TUTTI_KERN_ROPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/mathf.h"

struct err;

enum { ROPE_MAX_DIM = 1024 };

enum rope_scaling {
    ROPE_PLAIN,
    ROPE_LINEAR, /* theta / factor */
    ROPE_LLAMA3, /* theta / factor for long waves, theta for short ones, a blend between */
    ROPE_YARN,   /* a blend of theta / factor and theta by the pair's index; scaled attention */
};

/* What a model file says. Zero-initialise, then set; rope_config_default gives the usual values. */
struct rope_config {
    int dim;    /* rotated dimensions of a head: even, dim/2 pairs */
    float base; /* 10000, 500000 ... */
    enum rope_scaling scaling;
    float factor;               /* > 0; LINEAR, LLAMA3, YARN */
    float orig_ctx;             /* positions the model was trained on; LLAMA3, YARN */
    float low_freq, high_freq;  /* LLAMA3: low_freq_factor, high_freq_factor */
    float beta_fast, beta_slow; /* YARN: rotations over orig_ctx where the blend begins and ends */
    float attn;                 /* factor on cos and sin; 1 if the file gives none */
    bool yarn_exact;            /* YARN: the blend's ends are not rounded to whole pairs */
    bool attn_final;            /* YARN: attn is the whole factor, not one more besides 1 + ln(factor)/10 */
    const float *freq_factors;  /* [dim/2] theta_i is divided by these; NULL: none */
};

struct rope {
    int n;                /* pairs */
    float attn;           /* multiplies cos and sin; 1 unless the model asks for more */
    const uint64_t *step; /* [n] turns * 2^64 per position */
};

static inline struct rope_config rope_config_default(int dim, float base)
{
    return (struct rope_config){.dim = dim,
                                .base = base,
                                .factor = 1,
                                .low_freq = 1,
                                .high_freq = 4,
                                .beta_fast = 32,
                                .beta_slow = 1,
                                .attn = 1};
}

/* Fills step[dim/2] (the caller's memory, kept as long as *r) and *r. ERR_FORMAT or ERR_UNSUPPORTED. */
int rope_init(struct rope *r, const struct rope_config *cfg, uint64_t *step, struct err *e);

/* cos and sin of an angle in turns * 2^64. */
static inline void rope_phase(uint64_t turns, float *c, float *s)
{
    uint64_t u = turns + ((uint64_t)1 << 61);
    uint32_t quad = (uint32_t)(u >> 62);
    /* bits 61..30 less 2^31: r >> 30 of the contract */
    int32_t r = (int32_t)((uint32_t)(u >> 30) - 0x80000000u);
    float t = (float)r * 0x1p-31f;
    uint32_t a = f32_bits(cos_turn32(t)), b = f32_bits(sin_turn32(t));
    uint32_t swap = 0u - (quad & 1u);
    uint32_t x = (a & ~swap) | (b & swap), y = (b & ~swap) | (a & swap);
    *c = f32_from_bits(x ^ ((quad + 1u) >> 1 & 1u) << 31);
    *s = f32_from_bits(y ^ (quad >> 1) << 31);
}

/* c[n], s[n] for one position, scaled by r->attn. */
void rope_angles(const struct rope *r, uint64_t pos, float *restrict c, float *restrict s);

/* What converters of published configurations compute, each rounded once: v[i] = base^(2i/dim), i < dim/2,
 * and longrope's factor on attention, sqrt(1 + ln(scale) / ln(orig)). Arguments as rope_init checks them;
 * scale and orig above 1. */
void rope_powers(float base, int dim, float *v);
float rope_long_attn(float scale, float orig);

#endif
