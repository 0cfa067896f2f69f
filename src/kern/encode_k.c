/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding 256 elements with scales of scales: see encode.h.
 *
 *   Q4_K, Q5_K   8 blocks of 32: x = d sub q - dmin min; sub and min of 6 bits, q of 4 or 5
 *   Q6_K         16 blocks of 16: x = d sub q; sub of 8 bits with sign, q from -32 to 31
 *
 * Each block is fitted by itself first. Then, for trial values of d (and dmin), every block takes the best of
 * the whole numbers around its own scale, and d (and dmin) become those that fit the codes best, by least
 * squares, until that gains nothing.
 */
#include "kern/encode.h"
#include "kern/encode_int.h"

enum {
    SUPER = 256,
    K_BLOCKS = 8,
    K_MAX = 63,      /* of sub and min */
    K_TRIALS = 3,    /* first values of d */
    K_ROUNDS = 4,    /* refinements of each */
    K_STEPS = 4,     /* first scales of a block that leave codes unused */
    Q6_BLOCKS = 16,
    Q6_SIZE = 16,
    Q6_MAX = 127,
};

/* --- Q4_K, Q5_K -------------------------------------------------------------------------------------------------- */

struct affine {
    const float *x, *w;
    float top;                                   /* largest code */
    float s[K_BLOCKS], m[K_BLOCKS];              /* of each block by itself */
    uint8_t sub[K_BLOCKS], min[K_BLOCKS];        /* of the last affine_fit */
};

static void affine_codes(float c[B], float y[B], const float *x, float s, float m, float top)
{
    for (int i = 0; i < B; i++) y[i] = x[i] + m;
    codes_of(c, y, s > 0 ? 1.0f / s : 0.0f, 0, top);
}

static float affine_error(const float *x, const float *w, float s, float m, float top)
{
    float c[B], y[B], v[B];
    affine_codes(c, y, x, s, m, top);
    for (int i = 0; i < B; i++) {
        float r = y[i] - s * c[i];
        v[i] = w[i] * (r * r);
    }
    return sum32(v);
}

/* The scale and offset that fit codes c best, the offset not below 0; false if nothing does. */
static bool affine_least_squares(const float *x, const float *w, const float c[B], float *s, float *m)
{
    float a[5][B]; /* normal equations of x = s c - m */
    for (int i = 0; i < B; i++) {
        a[0][i] = w[i], a[1][i] = w[i] * c[i], a[2][i] = w[i] * (c[i] * c[i]);
        a[3][i] = w[i] * x[i], a[4][i] = w[i] * (c[i] * x[i]);
    }
    float s0 = sum32(a[0]), s1 = sum32(a[1]), s2 = sum32(a[2]), t0 = sum32(a[3]), t1 = sum32(a[4]),
          det = s0 * s2 - s1 * s1;
    if (!(s2 > 0)) return false;
    *m = det > 0 ? (s1 * t1 - s2 * t0) / det : 0;
    *s = *m > 0 ? (s0 * t1 - s1 * t0) / det : t1 / s2;
    if (!(*m > 0)) *m = 0;
    return *s > 0;
}

static void affine_block(const float *x, const float *w, float top, float *best_s, float *best_m)
{
    float lo = 0, hi = x[0], best = -1, c[B], y[B];
    for (int i = 0; i < B; i++) lo = x[i] < lo ? x[i] : lo, hi = x[i] > hi ? x[i] : hi;
    *best_s = 0, *best_m = -lo;
    for (int t = -K_STEPS; t < TRIALS && hi - lo > 0x1p-100f;
         t++) { /* t < 0: larger steps, as a grid of half as many values needs */
        float shrink = t < 0 ? 0 : 0.014f * (float)(t - 1) * (hi - lo),
              s = (hi - lo - 2 * shrink) / (t < 0 ? top + 0.5f * (float)t : top), m = -lo - shrink;
        if (lo == 0 || m < 0) m = 0;
        for (int round = 0; round < 3; round++) {
            float e = affine_error(x, w, s, m, top);
            if (best < 0 || e < best) best = e, *best_s = s, *best_m = m;
            affine_codes(c, y, x, s, m, top);
            if (!affine_least_squares(x, w, c, &s, &m)) break;
        }
    }
}

static int near_of(float v, int max)
{
    return v >= (float)max ? max : v > 0 ? (int)(v + 0.5f) : 0;
}

/* Best whole scale and offset of every block; the error of all. */
static float affine_fit(struct affine *a, float d, float dmin)
{
    float total = 0;
    for (int b = 0; b < K_BLOCKS; b++) {
        int s0 = near_of(d > 0 ? a->s[b] / d : 0, K_MAX), m0 = near_of(dmin > 0 ? a->m[b] / dmin : 0, K_MAX);
        float best = -1;
        for (int s = s0 > 0 ? s0 - 1 : 0; s <= s0 + 1 && s <= K_MAX; s++) {
            for (int m = m0 > 0 ? m0 - 1 : 0; m <= m0 + 1 && m <= K_MAX; m++) {
                float e = affine_error(a->x + B * b, a->w + B * b, d * (float)s, dmin * (float)m, a->top);
                if (best < 0 || e < best) best = e, a->sub[b] = (uint8_t)s, a->min[b] = (uint8_t)m;
            }
        }
        total = total + best;
    }
    return total;
}

/* d and dmin that fit the codes of the last affine_fit best. */
static void affine_refine(const struct affine *a, float *d, float *dmin)
{
    float aa = 0, ab = 0, bb = 0, ax = 0, bx = 0; /* x = d (sub c) - dmin (min) */
    for (int b = 0; b < K_BLOCKS; b++) {
        const float *x = a->x + B * b, *w = a->w + B * b;
        float sub = (float)a->sub[b], min = (float)a->min[b], c[B], y[B], p[4][B];
        affine_codes(c, y, x, *d * sub, *dmin * min, a->top);
        for (int i = 0; i < B; i++) {
            float v = sub * c[i];
            p[0][i] = w[i] * (v * v), p[1][i] = w[i] * v, p[2][i] = w[i] * (v * x[i]), p[3][i] = w[i] * x[i];
            y[i] = w[i];
        }
        aa = aa + sum32(p[0]);
        ab = ab + min * sum32(p[1]);
        bb = bb + min * min * sum32(y);
        ax = ax + sum32(p[2]);
        bx = bx + min * sum32(p[3]);
    }
    float det = aa * bb - ab * ab;
    float new_d = det > 0  ? (bb * ax - ab * bx) / det
                  : aa > 0 ? ax / aa
                           : 0,
          new_min = det > 0 ? (ab * ax - aa * bx) / det : 0;
    if (new_d > 0 && new_min >= 0) *d = new_d, *dmin = new_min;
}

static void pack_affine(uint8_t *out, const struct affine *a, uint16_t d, uint16_t dmin, int bits)
{
    uint8_t *scale = out + 4, *high = out + 16, *low = bits == 5 ? out + 48 : out + 16;
    put16(out, d);
    put16(out + 2, dmin);
    for (int j = 0; j < 4; j++) {
        scale[j] = (uint8_t)(a->sub[j] | a->sub[j + 4] >> 4 << 6);
        scale[j + 4] = (uint8_t)(a->min[j] | a->min[j + 4] >> 4 << 6);
        scale[j + 8] = (uint8_t)((a->sub[j + 4] & 15) | (a->min[j + 4] & 15) << 4);
    }
    memset(high, 0, (size_t)(low - high) + SUPER / 2);
    for (int b = 0; b < K_BLOCKS; b++) {
        float c[B], y[B];
        affine_codes(c, y, a->x + B * b, f32_from_f16(d) * (float)a->sub[b],
                     f32_from_f16(dmin) * (float)a->min[b], a->top);
        for (int i = 0; i < B; i++) {
            int q = (int)c[i];
            low[B * (b / 2) + i] |= (uint8_t)((q & 15) << 4 * (b % 2));
            if (bits == 5) high[i] |= (uint8_t)((q >> 4) << b);
        }
    }
}

void encode_k_affine(uint8_t *out, const float *x, const float *w, int bits)
{
    struct affine a = {.x = x, .w = w, .top = (float)((1 << bits) - 1)};
    float s = 0, m = 0, best = -1;
    uint16_t best_d = 0, best_min = 0;
    for (int b = 0; b < K_BLOCKS; b++) {
        affine_block(x + B * b, w + B * b, a.top, &a.s[b], &a.m[b]);
        s = a.s[b] > s ? a.s[b] : s;
        m = a.m[b] > m ? a.m[b] : m;
    }
    for (int t = 0; t < K_TRIALS; t++) {
        float d = s / ((float)K_MAX + 0.4f - 2 * (float)t), dmin = m / (float)K_MAX;
        for (int round = 0; round < K_ROUNDS; round++) {
            uint16_t d16 = f16_from_f32(d), m16 = f16_from_f32(dmin);
            d = f32_from_f16(d16), dmin = f32_from_f16(m16);
            float e = affine_fit(&a, d, dmin);
            if (best >= 0 && e >= best && round) break;
            if (best < 0 || e < best) best = e, best_d = d16, best_min = m16;
            affine_refine(&a, &d, &dmin);
        }
    }
    affine_fit(&a, f32_from_f16(best_d), f32_from_f16(best_min));
    pack_affine(out, &a, best_d, best_min, bits);
}

/* --- Q6_K -------------------------------------------------------------------------------------------------------- */

struct symmetric {
    float x[Q6_BLOCKS][B], w[Q6_BLOCKS][B]; /* filled up with zeros */
    float s[Q6_BLOCKS];                     /* of each block by itself */
    int sub[Q6_BLOCKS];                     /* of the last symmetric_fit */
};

static float symmetric_fit(struct symmetric *a, float d)
{
    float total = 0;
    for (int b = 0; b < Q6_BLOCKS; b++) {
        float r = d != 0 ? a->s[b] / d : 0, best = -1;
        int near = r < 0 ? -near_of(-r, Q6_MAX) : near_of(r, Q6_MAX);
        for (int s = near - 1; s <= near + 1; s++) {
            if (s < -Q6_MAX || s > Q6_MAX) continue;
            float e = error_of(a->x[b], a->w[b], d * (float)s, -32, 31);
            if (best < 0 || e < best) best = e, a->sub[b] = s;
        }
        total = total + best;
    }
    return total;
}

static float symmetric_refine(const struct symmetric *a, float d)
{
    float num = 0, den = 0;
    for (int b = 0; b < Q6_BLOCKS; b++) {
        float s = d * (float)a->sub[b], c[B], p[B], q[B];
        if (s == 0) continue;
        codes_of(c, a->x[b], 1.0f / s, -32, 31);
        for (int i = 0; i < B; i++) {
            float v = (float)a->sub[b] * c[i], wv = a->w[b][i] * v;
            p[i] = wv * a->x[b][i];
            q[i] = wv * v;
        }
        num = num + sum32(p);
        den = den + sum32(q);
    }
    return den > 0 ? num / den : d;
}

static void pack_symmetric(uint8_t *out, const struct symmetric *a, uint16_t d)
{
    uint8_t *low = out, *high = out + 128, *scale = out + 192;
    memset(out, 0, 192);
    for (int b = 0; b < Q6_BLOCKS; b++) {
        float s = f32_from_f16(d) * (float)a->sub[b], c[B];
        codes_of(c, a->x[b], s != 0 ? 1.0f / s : 0.0f, -32, 31);
        scale[b] = (uint8_t)(int8_t)a->sub[b];
        for (int i = 0; i < Q6_SIZE; i++) {
            int q = (int)c[i] + 32, at = Q6_SIZE * b + i, half = at / 128, quarter = at % 128 / 32, l = at % 32;
            low[64 * half + 32 * (quarter % 2) + l] |= (uint8_t)((q & 15) << 4 * (quarter / 2));
            high[32 * half + l] |= (uint8_t)((q >> 4) << 2 * quarter);
        }
    }
    put16(out + 208, d);
}

void encode_k_symmetric(uint8_t *out, const float *x, const float *w)
{
    struct symmetric a = {.s = {0}};
    float widest = 0, best = -1;
    uint16_t best_d = 0;
    for (int b = 0; b < Q6_BLOCKS; b++) {
        float e[2], s[2];
        memcpy(a.x[b], x + Q6_SIZE * b, Q6_SIZE * sizeof *x);
        memcpy(a.w[b], w + Q6_SIZE * b, Q6_SIZE * sizeof *w);
        for (int k = 0; k < 2; k++) s[k] = best_scale(a.x[b], a.w[b], k ? -1 : 1, -32, 31, &e[k]);
        a.s[b] = e[1] < e[0] ? s[1] : s[0];
        float wide = a.s[b] < 0 ? -a.s[b] : a.s[b];
        widest = wide > widest ? wide : widest;
    }
    for (int t = 0; t < K_TRIALS; t++) {
        float d = widest / ((float)Q6_MAX + 0.4f - 4 * (float)t);
        for (int round = 0; round < K_ROUNDS; round++) {
            uint16_t h = f16_from_f32(d);
            d = f32_from_f16(h);
            float e = symmetric_fit(&a, d);
            if (best >= 0 && e >= best && round) break;
            if (best < 0 || e < best) best = e, best_d = h;
            d = symmetric_refine(&a, d);
        }
    }
    symmetric_fit(&a, f32_from_f16(best_d));
    pack_symmetric(out, &a, best_d);
}
