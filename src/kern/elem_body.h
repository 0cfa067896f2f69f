/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elem_body: element-wise operations and the activation quantiser, written once and compiled once per instruction set:
 *
 *   #define ELEM_TABLE elem_kern_avx2
 *   #include "kern/elem_body.h"
 *
 * The loops have no branch and no order-dependent float sum, so the compiler vectorises them and the bits stay those
 * of elem_ref.c. Rules: contract sections 3.2 (quantiser), 3.5 (norm, gates), 3.6 (rotation).
 */
#include <string.h>
#include "kern/kern.h"
#include "kern/mathf.h"
#include "kern/num.h"

static inline uint32_t max_bits(const float *x, int n)
{
    int32_t b = 0; /* magnitudes without their sign bit are ordered as signed integers, too */
    for (int i = 0; i < n; i++) {
        int32_t v = (int32_t)abs_bits(x[i]);
        b = v > b ? v : b;
    }
    return (uint32_t)b;
}

/* 3.2 for one group; returns the scale d. n <= 256; codes fit the tier. */
static inline float quant_codes(int32_t *q, const float *x, int n, uint32_t b, float qmax, uint32_t rq)
{
    if (b < ARITH_ZERO) {
        for (int i = 0; i < n; i++) q[i] = 0;
        return 0.0f;
    }
    float a = f32_from_bits(b), id = qmax / a;
    for (int i = 0; i < n; i++) q[i] = rne_small_i32(x[i] * id);
    return a * f32_from_bits(rq);
}

static int quant_a8_32(struct act *a, int tok, const float *x)
{
    uint32_t worst = 0;
    int32_t q[32];
    for (int g = 0; g < a->groups; g++) {
        uint32_t b = max_bits(x + 32 * g, 32);
        worst = b > worst ? b : worst;
        float d = quant_codes(q, x + 32 * g, 32, b < ARITH_RANGE ? b : 0, (float)ARITH_QMAX8, ARITH_RQ8);
        int8_t *out = act_line(a, tok, g / 2) + 32 * (g & 1);
        int32_t s = 0;
        for (int i = 0; i < 32; i++) s += q[i];
        for (int i = 0; i < 32; i++) out[i] = (int8_t)q[i];
        a->d[act_at(a, a->groups, tok, g)] = d;
        a->ns[act_at(a, a->sums, tok, g)] = -s;
        a->sd[act_at(a, a->groups, tok, g)] = (float)s * d;
    }
    return worst >= ARITH_RANGE ? ERR_RANGE : 0;
}

static int quant_a8_256(struct act *a, int tok, const float *x)
{
    uint32_t worst = 0;
    int32_t q[256];
    for (int g = 0; g < a->groups; g++) {
        int n = a->k - 256 * g < 256 ? a->k - 256 * g : 256; /* a multiple of 32 */
        uint32_t b = max_bits(x + 256 * g, n);
        worst = b > worst ? b : worst;
        float d = quant_codes(q, x + 256 * g, n, b < ARITH_RANGE ? b : 0, (float)ARITH_QMAX8, ARITH_RQ8);
        for (int h = 0; h < n; h += 32) {
            int8_t *out = act_line(a, tok, 4 * g + h / 64) + h % 64;
            int32_t s0 = 0, s1 = 0;
            for (int i = 0; i < 16; i++) s0 += q[h + i], s1 += q[h + 16 + i];
            for (int i = 0; i < 32; i++) out[i] = (int8_t)q[h + i];
            a->ns[act_at(a, a->sums, tok, 16 * g + h / 16)] = -s0;
            a->ns[act_at(a, a->sums, tok, 16 * g + h / 16 + 1)] = -s1;
        }
        a->d[act_at(a, a->groups, tok, g)] = d;
    }
    return worst >= ARITH_RANGE ? ERR_RANGE : 0;
}

static int quant_a16(struct act *a, int tok, const float *x)
{
    uint32_t worst = 0;
    int32_t q[256];
    for (int g = 0; g < a->groups; g++) {
        int n = a->k - 256 * g < 256 ? a->k - 256 * g : 256;
        uint32_t b = max_bits(x + 256 * g, n);
        worst = b > worst ? b : worst;
        a->d[act_at(a, a->groups, tok, g)] =
            quant_codes(q, x + 256 * g, n, b < ARITH_RANGE ? b : 0, (float)ARITH_QMAX16, ARITH_RQ16);
        for (int h = 0; h < n; h += 32) {
            int16_t lo[32], hi[32];
            int line = 8 * g + h / 32;
            if (a->tier == ACT_A16_W8) {
                int32_t s = 0;
                for (int i = 0; i < 32; i++) s += q[h + i], lo[i] = (int16_t)q[h + act_word(i)];
                a->ns[act_at(a, a->sums, tok, line)] = -s;
                memcpy(act_line(a, tok, line), lo, 64);
                continue;
            }
            for (int i = 0; i < 32; i++)
                lo[i] = (int16_t)(q[h + act_word(i)] & 255), hi[i] = (int16_t)(q[h + act_word(i)] >> 8);
            memcpy(act_line(a, tok, line), lo, 64);
            memcpy(act_line(a, tok, line) + (a->qh - a->q), hi, 64);
        }
    }
    return worst >= ARITH_RANGE ? ERR_RANGE : 0;
}

static int elem_quant(struct act *a, int tok, const float *x)
{
    return a->tier == ACT_A8_32    ? quant_a8_32(a, tok, x)
           : a->tier == ACT_A8_256 ? quant_a8_256(a, tok, x)
                                   : quant_a16(a, tok, x);
}

static int elem_norm(float *y, const float *x, const float *g, int n, float eps)
{
    uint32_t b = max_bits(x, n);
    if (b >= ARITH_RANGE) {
        memset(y, 0, (size_t)n * sizeof *y);
        return ERR_RANGE;
    }
    int e = (int)(b >> 23) - 127;
    if (e < ARITH_NORM_E_MIN) e = ARITH_NORM_E_MIN;
    float up = pow2f(ARITH_NORM_BITS - e), down = pow2f(e - ARITH_NORM_BITS);
    int64_t sum = 0; /* exact: |k| <= 2^21, n <= 2^20 */
    for (int i = 0; i < n; i++) {
        int64_t k = rne_small_i32(x[i] * up);
        sum += k * k;
    }
    float ms = (float)sum / (float)n;
    ms = ms * down;
    ms = ms * down;
    float inv = 1.0f / sqrt32(ms + eps);
    for (int i = 0; i < n; i++) y[i] = (x[i] * inv) * g[i];
    return 0;
}

static inline float gate_clamped(float g, float u)
{
    float top = ARITH_F32(CLAMP_MAX), x = g > top ? top : g, y = u > top ? top : u;
    y = y < -top ? -top : y;
    return x * sigmoid32(x * ARITH_F32(CLAMP_ALPHA)) * (y + 1.0f);
}

static void elem_gate(float *y, const float *g, const float *u, int n, enum gate_kind kind)
{
    switch (kind) {
    case GATE_SILU:
        for (int i = 0; i < n; i++) y[i] = silu32(g[i]) * u[i];
        break;
    case GATE_GELU:
        for (int i = 0; i < n; i++) y[i] = gelu_tanh32(g[i]) * u[i];
        break;
    case GATE_CLAMPED:
        for (int i = 0; i < n; i++) y[i] = gate_clamped(g[i], u[i]);
        break;
    }
}

static void elem_add(float *x, const float *y, int n)
{
    for (int i = 0; i < n; i++) x[i] = x[i] + y[i];
}

static void elem_axpy(float *x, float a, const float *y, int n)
{
    for (int i = 0; i < n; i++) x[i] = fma32(a, y[i], x[i]);
}

static void elem_scale(float *x, float s, int n)
{
    for (int i = 0; i < n; i++) x[i] = x[i] * s;
}

static void elem_cap(float *x, float cap, int n)
{
    for (int i = 0; i < n; i++) x[i] = cap * tanh32(x[i] / cap);
}

static inline void turn(float *a, float *b, float c, float s)
{
    float x0 = *a, x1 = *b;
    *a = fma32(x0, c, -(x1 * s));
    *b = fma32(x0, s, x1 * c);
}

/* A loop for each order of pairs: with a stride that is not known neither vectorises. */
static void elem_rope(float *restrict x, const float *restrict cs, int n_head, int dim, int n_rot, int halves)
{
    for (int h = 0; h < n_head; h++, x += dim) {
        if (halves)
            for (int i = 0; i < n_rot; i++) turn(x + i, x + n_rot + i, cs[i], cs[n_rot + i]);
        else
            for (int i = 0; i < n_rot; i++) turn(x + 2 * i, x + 2 * i + 1, cs[i], cs[n_rot + i]);
    }
}

#define WEIGHT_WHOLE 0x37000000u /* 2^-17 */

/* rne(p * 2^40) of 0 <= p <= 1 is m << shift: from 2^-17 up p * 2^40 is an integer, its mantissa shifted;
 * below it is small enough that adding 2^23 rounds it. In blocks and two loops, since narrow and wide
 * integers in one do not vectorise. */
static void elem_weights(uint64_t *w, const float *z, int n, float max, float temperature)
{
    enum { BLOCK = 64 };
    uint32_t m[BLOCK], shift[BLOCK];
    for (int at = 0; at < n; at += BLOCK) {
        int k = n - at < BLOCK ? n - at : BLOCK;
        for (int i = 0; i < k; i++) {
            float x = (z[at + i] - max) / temperature;
            float p = exp32(x > 0.0f ? 0.0f : x);
            uint32_t b = f32_bits(p);
            float small = b < WEIGHT_WHOLE ? p : 0.0f;
            uint32_t rounded = f32_bits(small * 0x1p40f + 0x1p23f) - 0x4b000000u,
                     mantissa = (b & 0x7fffffu) | 0x800000u;
            m[i] = b < WEIGHT_WHOLE ? rounded : mantissa;
            shift[i] = b < WEIGHT_WHOLE ? 0 : (b >> 23) - 110;
        }
        for (int i = 0; i < k; i++) w[at + i] = (uint64_t)m[i] << shift[i];
    }
}

/* By integers that are ordered as the floats are, since a maximum of floats does not vectorise. */
static int elem_largest(float *max, const float *x, int n)
{
    int32_t top = INT32_MIN, worst = 0;
    for (int i = 0; i < n; i++) {
        int32_t b = (int32_t)f32_bits(x[i]), a = b & 0x7fffffff, key = b ^ (int32_t)((uint32_t)(b >> 31) >> 1);
        top = key > top ? key : top;
        worst = a > worst ? a : worst;
    }
    *max = f32_from_bits((uint32_t)(top ^ (int32_t)((uint32_t)(top >> 31) >> 1)));
    return worst >= 0x7f800000 ? ERR_RANGE : 0;
}

extern const struct elem_kern ELEM_TABLE;
const struct elem_kern ELEM_TABLE = {elem_quant, elem_norm, elem_gate, elem_add,     elem_axpy,
                                     elem_scale, elem_cap,  elem_rope, elem_weights, elem_largest};
