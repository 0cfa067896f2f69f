/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mathf.h: the elementary functions of NC1, one written sequence of fp32 operations each.
 *
 * Polynomials are evaluated by Horner's rule with fma, highest power first; the coefficients are bit
 * patterns in arith.def. Every function is free of branches (both sides of a select are computed), so
 * that a loop over it vectorises. No intermediate result is subnormal for the arguments that matter,
 * so flush-to-zero changes nothing. NaN has no meaning here: it is caught before or after as an error
 * of the request (the functions return something, and do nothing undefined).
 *
 * Errors over all inputs: doc/elementary.md. Derivation: tools/poly. Exhaustive test: tests/kern/mathf_all.c.
 */
#ifndef TUTTI_KERN_MATHF_H
#define TUTTI_KERN_MATHF_H

#include "kern/arith.h"

/* x > 88 counts as 88, x <= -87 gives +0; exp(+-0) = 1; non-decreasing. */
static inline float exp32(float x)
{
    float lo = ARITH_F32(EXP_MIN), hi = ARITH_F32(EXP_MAX);
    float c = x < lo ? lo : x;
    c = c > hi ? hi : c;
    float s = c * ARITH_F32(LOG2E);
    float n = rne_small(s);
    float a = fma32(n, -ARITH_F32(LN2_HI), c); /* exact */
    float b = n * -ARITH_F32(LN2_LO);
    float r = a + b;
    float h = fma32(ARITH_F32(EXP_C4), r, ARITH_F32(EXP_C3));
    h = fma32(h, r, ARITH_F32(EXP_C2));
    h = fma32(h, r, ARITH_F32(EXP_C1));
    h = fma32(h, r, ARITH_F32(EXP_C0));
    h = fma32(r * r, h, b);
    h = 1.0f + (a + h); /* this order keeps exp monotone: 1 + r (1 + r ...) does not */
    h = h * pow2f(rne_small_i32(s)); /* exact: -126 <= n <= 127 and the product is normal */
    return x > lo ? h : 0.0f;
}

/* Natural logarithm of a normal x > 0; log(1) = +0. Other arguments are the caller's error. */
static inline float log32(float x)
{
    /* x = 2^e m with m in [sqrt(1/2), sqrt(2)): move the range so that its lower end is a power of 2. */
    uint32_t u = f32_bits(x) - ARITH_SQRT_HALF;
    float e = (float)((int32_t)u >> 23);
    float f = f32_from_bits((u & 0x007fffffu) + ARITH_SQRT_HALF) - 1.0f;
    float h = fma32(ARITH_F32(LOG_C7), f, ARITH_F32(LOG_C6));
    h = fma32(h, f, ARITH_F32(LOG_C5));
    h = fma32(h, f, ARITH_F32(LOG_C4));
    h = fma32(h, f, ARITH_F32(LOG_C3));
    h = fma32(h, f, ARITH_F32(LOG_C2));
    h = fma32(h, f, ARITH_F32(LOG_C1));
    h = fma32(h, f, ARITH_F32(LOG_C0));
    h = fma32(h, f, -0.5f);
    float p = fma32(h, f * f, f);
    p = fma32(e, ARITH_F32(LN2_LO), p);
    return fma32(e, ARITH_F32(LN2_HI), p);
}

/* Odd: the sign of x is put back onto tanh(|x|). */
static inline float tanh32(float x)
{
    float a = f32_from_bits(abs_bits(x));
    float s = a * a;
    float h = fma32(ARITH_F32(TANH_C4), s, ARITH_F32(TANH_C3));
    h = fma32(h, s, ARITH_F32(TANH_C2));
    h = fma32(h, s, ARITH_F32(TANH_C1));
    h = fma32(h, s, ARITH_F32(TANH_C0));
    h = fma32(h * s, a, a);
    float g = 1.0f - 2.0f / (exp32(a + a) + 1.0f);
    float y = a < ARITH_F32(TANH_SPLIT) ? h : g;
    y = a < ARITH_F32(TANH_MAX) ? y : 1.0f;
    return f32_from_bits(f32_bits(y) | (f32_bits(x) & 0x80000000u));
}

/* Odd, as tanh32. */
static inline float erf32(float x)
{
    float a = f32_from_bits(abs_bits(x));
    float s = a * a;
    float h = fma32(ARITH_F32(ERF_C6), s, ARITH_F32(ERF_C5));
    h = fma32(h, s, ARITH_F32(ERF_C4));
    h = fma32(h, s, ARITH_F32(ERF_C3));
    h = fma32(h, s, ARITH_F32(ERF_C2));
    h = fma32(h, s, ARITH_F32(ERF_C1));
    h = fma32(h, s, ARITH_F32(ERF_C0));
    h = fma32(h, a, a);
    float g = fma32(ARITH_F32(ERFC_C6), a, ARITH_F32(ERFC_C5));
    g = fma32(g, a, ARITH_F32(ERFC_C4));
    g = fma32(g, a, ARITH_F32(ERFC_C3));
    g = fma32(g, a, ARITH_F32(ERFC_C2));
    g = fma32(g, a, ARITH_F32(ERFC_C1));
    g = fma32(g, a, ARITH_F32(ERFC_C0));
    g = 1.0f - exp32(g);
    float y = a < ARITH_F32(ERF_SPLIT) ? h : g;
    y = a < ARITH_F32(ERF_MAX) ? y : 1.0f;
    return f32_from_bits(f32_bits(y) | (f32_bits(x) & 0x80000000u));
}

/* sin and cos of t pi/4 for |t| <= 1. */
static inline float sin_turn32(float t)
{
    float s = t * t;
    float h = fma32(ARITH_F32(SIN_C3), s, ARITH_F32(SIN_C2));
    h = fma32(h, s, ARITH_F32(SIN_C1));
    h = fma32(h, s, ARITH_F32(SIN_C0));
    return h * t;
}

static inline float cos_turn32(float t)
{
    float s = t * t;
    float h = fma32(ARITH_F32(COS_C3), s, ARITH_F32(COS_C2));
    h = fma32(h, s, ARITH_F32(COS_C1));
    h = fma32(h, s, ARITH_F32(COS_C0));
    return fma32(h, s, 1.0f);
}

/* 1 / (1 + exp(-x)); below -87 the value at -87, which is still a normal number. */
static inline float sigmoid32(float x)
{
    float m = -x, top = ARITH_F32(SIGMOID_MAX);
    m = m > top ? top : m;
    return 1.0f / (1.0f + exp32(m));
}

static inline float silu32(float x)
{
    return x / (1.0f + exp32(-x));
}

/* The tanh form of GELU. */
static inline float gelu_tanh32(float x)
{
    float u = x * x;
    float v = fma32(u * x, ARITH_F32(GELU_A), x);
    return 0.5f * x * (1.0f + tanh32(v * ARITH_F32(GELU_B)));
}

/* The erf form of GELU. */
static inline float gelu_erf32(float x)
{
    return 0.5f * x * (1.0f + erf32(x * ARITH_F32(SQRT_HALF)));
}

#endif
