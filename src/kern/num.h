/* SPDX-License-Identifier: Apache-2.0 */
/*
 * num.h: the few scalar steps from which every kernel is built.
 *
 * Each function is one written sequence of IEEE-754 operations or integer operations, without a
 * branch and without libm, so that a loop over it vectorises and every compiler, optimisation level
 * and instruction set gives the same bits. Names: `f32` is the format, `bits` its encoding.
 *
 *   fma32         one rounding. A hardware instruction where the target has one; otherwise the sum is
 *                 formed in double, rounded to odd, and rounded once more to float. That is exact
 *                 because double has more than 24 + 2 bits of precision (Boldo and Melquiond,
 *                 "Emulation of FMA and correctly rounded sums", 2008), also for subnormal results.
 *   rne_*         round to the nearest integer, ties to even, by adding and taking away a constant so
 *                 large that the fraction has no room left. Only within the stated range.
 *
 * Not here: anything with a polynomial (mathf.h).
 */
#ifndef TUTTI_KERN_NUM_H
#define TUTTI_KERN_NUM_H

#include <float.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "-ffast-math and its parts change results: build without them"
#endif
#if !defined(FLT_EVAL_METHOD) || FLT_EVAL_METHOD != 0
#error "float expressions must be evaluated in float (FLT_EVAL_METHOD == 0; on i386: -msse2 -mfpmath=sse)"
#endif

static inline uint32_t f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline uint64_t f64_bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline double f64_from_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* The encoding of |x|: ordered as an integer like |x|, with infinity and NaN on top. */
static inline uint32_t abs_bits(float x)
{
    return f32_bits(x) & 0x7fffffffu;
}

/* a * b + c with one rounding. Visible on every target so that a test can compare it with the
 * instruction. */
static inline float fma32_soft(float a, float b, float c)
{
    double p = (double)a * (double)b; /* exact: 48 bits */
    double q = (double)c;
    double s = p + q;
    double z = s - p; /* two-sum: e is exactly what s lacks */
    double e = (p - (s - z)) + (q - z);
    uint64_t u = f64_bits(s);
    /* Round to odd: an inexact even s gives way to its odd neighbour on the side of e. */
    uint64_t step = 1 - ((f64_bits(e) ^ u) >> 63 << 1);
    uint64_t v = f64_bits(e) << 1;
    uint64_t inexact = (v | (0 - v)) >> 63;             /* e != 0, in integers that even SSE2 has */
    uint64_t special = ((u >> 52 & 0x7ffu) + 1u) >> 11; /* s is infinite or NaN and stays so */
    u += step & (0 - (inexact & ~u & ~special & 1));
    return (float)f64_from_bits(u);
}

static inline float fma32(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return fma32_soft(a, b, c);
#endif
}

/* IEEE square root (the Makefile's -fno-math-errno makes it one instruction). */
static inline float sqrt32(float x)
{
    return __builtin_sqrtf(x);
}

/* |x| <= 2^22 -> nearest integer, as a float (-0 and what rounds to it become +0). */
static inline float rne_small(float x)
{
    return (x + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23 */
}

/* The same as an integer, read from the mantissa of the sum. */
static inline int32_t rne_small_i32(float x)
{
    return (int32_t)(f32_bits(x + 12582912.0f) - 0x4b400000u);
}

/* 0 <= x <= 2^23 -> nearest integer. */
static inline float rne_pos(float x)
{
    return (x + 8388608.0f) - 8388608.0f; /* 2^23 */
}

static inline int32_t rne_pos_i32(float x)
{
    return (int32_t)(f32_bits(x + 8388608.0f) - 0x4b000000u);
}

/* 2^n for -126 <= n <= 127. */
static inline float pow2f(int32_t n)
{
    return f32_from_bits((uint32_t)(n + 127) << 23);
}

/* fp16 -> fp32, exact. A subnormal half is its mantissa times 2^-24, a normal float, so that the state
 * of flush-to-zero does not matter. Infinity and NaN keep their payload. */
static inline float f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t mag = h & 0x7fffu;
    uint32_t normal = (mag << 13) + (112u << 23); /* 112 = 127 - 15, the two biases */
    uint32_t special = (mag << 13) | 0x7f800000u;
    uint32_t small = f32_bits((float)(int32_t)mag * 0x1p-24f);
    uint32_t u = mag < 0x0400u ? small : mag < 0x7c00u ? normal : special;
    return f32_from_bits(sign | u);
}

/* fp32 -> fp16, nearest, ties to even; overflow gives infinity, NaN a quiet NaN. */
static inline uint16_t f16_from_f32(float x)
{
    uint32_t u = f32_bits(x), a = u & 0x7fffffffu;
    uint32_t sign = u >> 16 & 0x8000u;
    uint32_t r;
    if (a > 0x7f800000u)
        r = 0x7e00u;
    else if (a >= 0x477ff000u) /* 65520, half-way past the largest half */
        r = 0x7c00u;
    else if (a >= 0x38800000u) /* 2^-14, the smallest normal half */
        r = (a - (112u << 23) + 0x0fffu + (a >> 13 & 1u)) >> 13;
    else if (a >= 0x33000000u) { /* 2^-25, half the smallest half */
        uint32_t m = (a & 0x7fffffu) | 0x800000u;
        uint32_t sh = 126u - (a >> 23); /* 14..24: the unit becomes 2^-24 */
        uint32_t half = 1u << (sh - 1u), rest = m & ((1u << sh) - 1u);
        r = m >> sh;
        r += rest > half || (rest == half && (r & 1u));
    } else
        r = 0;
    return (uint16_t)(sign | r);
}

static inline float f32_from_bf16(uint16_t h)
{
    return f32_from_bits((uint32_t)h << 16);
}

/* fp32 -> bf16, nearest, ties to even; NaN a quiet NaN. */
static inline uint16_t bf16_from_f32(float x)
{
    uint32_t u = f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* 8-bit floats of published weights, exactly: e4m3 has no infinity and NaN at 0x7f and 0xff, e5m2 is the high
 * byte of an fp16. */
static inline float f32_from_e4m3(uint8_t b)
{
    uint32_t sign = (uint32_t)(b & 0x80) << 24, e = b >> 3 & 15, m = b & 7;
    if (e == 15 && m == 7) return f32_from_bits(sign | 0x7fc00000u);
    if (e == 0) return f32_from_bits(f32_bits((float)m * 0x1p-9f) | sign);
    return f32_from_bits(sign | (e + 120) << 23 | m << 20);
}

static inline float f32_from_e5m2(uint8_t b)
{
    return f32_from_f16((uint16_t)(b << 8));
}

/* e8m0 (the block scale of MXFP4): 2^(e-127); 255 is NaN. */
static inline float f32_from_e8m0(uint8_t e)
{
    uint32_t u = e == 0 ? 0x00400000u : (uint32_t)e << 23;
    return f32_from_bits(e == 255 ? 0x7fc00000u : u);
}

/* 2^(e-128), for codes that are stored doubled (MXFP4's halves as integers); 255 is NaN. */
static inline float f32_from_e8m0_half(uint8_t e)
{
    uint32_t u = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1u) << 23;
    return f32_from_bits(e == 255 ? 0x7fc00000u : u);
}

#endif
