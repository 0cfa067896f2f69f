/* SPDX-License-Identifier: Apache-2.0 */
/* What encode.c and encode_k.c share: fitting a scale to 32 elements. Floats in a written order; a shorter
 * block is filled with elements of value and weight 0. */
#ifndef TUTTI_KERN_ENCODE_INT_H
#define TUTTI_KERN_ENCODE_INT_H

#include <string.h>
#include "kern/num.h"

enum {
    B = 32,      /* elements of a block */
    TRIALS = 10, /* first scales of a block, from no clipping to a third clipped off (Q6_K: to a twentieth) */
};

/* Q4_K (bits = 4) and Q5_K (5); Q6_K. x[256], w[256]: what the error of each element counts. */
void encode_k_affine(uint8_t *out, const float *x, const float *w, int bits);
void encode_k_symmetric(uint8_t *out, const float *x, const float *w);

/* The sum of 32 numbers, halves onto halves: one order, and vectors for the compiler. */
static inline float sum32(float v[B])
{
    for (int h = B / 2; h >= 1; h /= 2)
        for (int i = 0; i < h; i++) v[i] = v[i] + v[i + h];
    return v[0];
}

static inline void codes_of(float c[B], const float *x, float inv, float lo, float hi)
{
    for (int i = 0; i < B; i++) {
        float t = x[i] * inv;
        t = t < lo ? lo : t;
        t = t > hi ? hi : t;
        c[i] = rne_small(t);
    }
}

/* sum of w (x - s c)^2 with the best codes for s */
static inline float error_of(const float *x, const float *w, float s, float lo, float hi)
{
    float c[B], v[B];
    codes_of(c, x, s != 0 ? 1.0f / s : 0.0f, lo, hi);
    for (int i = 0; i < B; i++) {
        float d = x[i] - s * c[i];
        v[i] = w[i] * (d * d);
    }
    return sum32(v);
}

/* The scale that fits codes c best; 0 if they are all zero (or weigh nothing). */
static inline float least_squares(const float *x, const float *w, const float c[B])
{
    float a[B], b[B];
    for (int i = 0; i < B; i++) {
        float wc = w[i] * c[i];
        a[i] = wc * x[i];
        b[i] = wc * c[i];
    }
    float num = sum32(a), den = sum32(b);
    return den > 0 ? num / den : 0.0f;
}

/* The best scale of one sign for codes lo..hi, its error in *err; 0 for a block of zeros. */
static inline float best_scale(const float *x, const float *w, float sign, float lo, float hi, float *err)
{
    float below = 0, above = 0, best = 0, c[B];
    for (int i = 0; i < B; i++) {
        float v = x[i] * sign;
        below = -v > below ? -v : below;
        above = v > above ? v : above;
    }
    float wide = below / -lo > above / hi ? below / -lo : above / hi;
    *err = error_of(x, w, 0, lo, hi);
    if (wide < 0x1p-100f) return 0;
    float first = hi > 16 ? 1.03f : 1.02f, step = hi > 16 ? 0.008f : 0.04f; /* with many codes little is cut off */
    for (int t = 0; t < TRIALS; t++) {
        float s = sign * (wide * (first - step * (float)t));
        for (int round = 0; round < 2; round++) {
            float e = error_of(x, w, s, lo, hi);
            if (e < *err) *err = e, best = s;
            codes_of(c, x, 1.0f / s, lo, hi);
            s = least_squares(x, w, c);
            if (!(s * sign > wide * 0.25f)) break;
        }
        if (s * sign > wide * 0.25f) {
            float e = error_of(x, w, s, lo, hi);
            if (e < *err) *err = e, best = s;
        }
    }
    return best;
}

static inline void put16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, 2);
}

static inline void put_nibbles(uint8_t *out, const uint8_t q[B])
{
    for (int i = 0; i < B / 2; i++) out[i] = (uint8_t)((q[i] & 15) | (q[i + B / 2] & 15) << 4);
}

static inline void put_fifth_bits(uint8_t *out, const uint8_t q[B])
{
    uint32_t bits = 0;
    for (int i = 0; i < B; i++) bits |= (uint32_t)(q[i] >> 4 & 1) << i;
    memcpy(out, &bits, 4);
}

#endif
