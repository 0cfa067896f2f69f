/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul_avx512: the matrix product with AVX-512 VNNI.
 *
 * A zmm holds 16 output rows in lanes; vpdpbusd takes 4 k of unsigned weight codes from a packed line and 4
 * signed activation codes broadcast from memory. Signed weights are stored or unpacked with an offset (code +
 * 2^s); the accumulator starts at -2^s * sum(q), so the sum is the exact one. The float fold then runs per
 * lane in the written order, so no lane ever adds to another and the bits are those of matmul_ref.c.
 *
 * Up to T tokens share one unpacking of the weights: T accumulators of the fold live in registers over a
 * segment, the totals in y. T is a compile-time constant of each instance, chosen at run time by the number
 * of tokens left; rows past the last token of a tile are computed on whatever stands there (zero codes or old
 * ones) and not stored.
 *
 * Limits, per 32-block of 16 rows and token: 8 vpdpbusd + mul + fma (+ fma with offsets) = 10 or 11
 * operations on the two units that multiply (Zen 5 converts on two others), for 1024 integer operations: 80
 * or 73 % of what vpdpbusd alone reaches; and 10 or 11 loads of which two go at a time, so that 70 % is what
 * is reached (doc/kern.md). At few tokens the stream of packed bytes is the limit.
 */
#include "kern/ahead.h"
#include "kern/arith.h"
#include "kern/unpack_avx512_body.h"

enum {
    SEGMENT = ARITH_SEGMENT,
    N4_TOKENS = 8,           /* from here on N4 has a kernel of its own */
};

/* Keeps the compiler from knowing where p comes from: gcc 12 would make an induction variable of each p + constant in
 * an unrolled loop, over a hundred, and spill them all; that took a third of the speed. */
#define HIDE(p) __asm__("" : "+r"(p))

INLINE __m512i bcast32(const void *p)
{
    return _mm512_set1_epi32(*(const int32_t *)p);
}

/* sum over lines [j0, j1) of code * q, for the 32 codes at q, starting from acc */
INLINE __m512i dot(__m512i acc, const __m512i w[8], const int8_t *q, int j0, int j1)
{
#pragma GCC unroll 8
    for (int j = j0; j < j1; j++) acc = _mm512_dpbusd_epi32(acc, w[j], bcast32(q + 4 * j));
    return acc;
}

/* All eight lines, in two chains: with one, what waits for the last sum fills the scheduler, and the next
 * tokens do not fit beside it. */
INLINE __m512i dot8(__m512i acc, const __m512i w[8], const int8_t *q)
{
    return _mm512_add_epi32(dot(acc, w, q, 0, 4), dot(_mm512_setzero_si512(), w, q, 4, 8));
}

INLINE __m512i start(enum dtype type, int32_t neg_sum)
{
    int s = offset_log2(type);
    return s < 0 ? _mm512_setzero_si512() : _mm512_slli_epi32(_mm512_set1_epi32(neg_sum), (unsigned)s);
}

/* Ends a segment: y += acc, acc = 0; the first segment adds to +0. */
INLINE void close_segment(float *y, size_t stride, __m512 *acc, int n, int first)
{
#pragma GCC unroll 16
    for (int t = 0; t < ACT_TILE; t++) {
        if (t >= n) break;
        float *out = y + (size_t)t * stride;
        __m512 tot = first ? _mm512_setzero_ps() : _mm512_loadu_ps(out);
        _mm512_storeu_ps(out, _mm512_add_ps(tot, acc[t]));
    }
}

/* --- 32-block types, A8/32 ------------------------------------------------------------------------------ */

INLINE void panel_block32(enum dtype type, int T, int has_m, float *y, size_t stride, const struct mat *w, int p,
                          const struct act *codes, int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    const int8_t *q = act_line(x, t0, 0);
    const float *xd = x->d + act_at(x, x->groups, t0, 0), *sd = x->sd + act_at(x, x->groups, t0, 0);
    const int32_t *ns = x->ns + act_at(x, x->sums, t0, 0);
    const struct mat_layout l = mat_form_layout(type);
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m512 acc[ACT_TILE];
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
        for (int g = g0; g < g1; g++) {
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++) {
                __m512i c[8];
                unpack(c, type, r.lo, r.hi);
                ahead(type, base, b);
                __m512 d = scale16(type, r.d), m = has_m ? scale16(type, r.m) : d;
                const int8_t *qb = q + (b >> 1) * (x->tile * 64) + (b & 1) * 32;
                const int32_t *nb = ns + b * x->tile;
                const float *xb = xd + b * x->tile, *sb = sd + b * x->tile;
                HIDE(qb);
                HIDE(nb);
                HIDE(xb);
                HIDE(sb);
#pragma GCC unroll 16
                for (int t = 0; t < T; t++) {
                    __m512i s = dot8(start(type, nb[t]), c, qb + 64 * t);
                    __m512 dd = _mm512_mul_ps(d, _mm512_set1_ps(xb[t]));
                    acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), dd, acc[t]);
                    if (has_m) acc[t] = _mm512_fmadd_ps(m, _mm512_set1_ps(sb[t]), acc[t]);
                }
                r.lo += l.lo, r.hi += l.hi, r.d += l.d, r.m += l.m;
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- NVFP4: the first half of a 32-block has one scale, the other another ----------------------------------- */

INLINE void panel_pair(int T, float *y, size_t stride, const struct mat *w, int p, const struct act *codes,
                       int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    const struct mat_layout l = mat_form_layout(DTYPE_NVFP4);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    const __m512i offset = _mm512_set1_epi8(16);
    const __m512i offsets[8] = {offset, offset, offset, offset, offset, offset, offset, offset};
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m512 acc[ACT_TILE];
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
        for (int g = g0; g < g1; g++) {
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++, r.lo += l.lo, r.d += 2 * l.d) {
                __m512i c[8];
                unpack(c, DTYPE_NVFP4, r.lo, r.lo);
                ahead(DTYPE_NVFP4, base, b);
                const int8_t *qb = act_line(x, t0, b >> 1) + (b & 1) * 32;
                HIDE(qb);
                for (int h = 0; h < 2; h++) {
                    __m512 d = scale16(DTYPE_NVFP4, r.d + 32 * h);
#pragma GCC unroll 16
                    for (int t = 0; t < T; t++) {
                        __m512i zero = _mm512_setzero_si512(), s = dot(zero, c + 4 * h, qb + 64 * t + 16 * h, 0, 4);
                        /* there is no sum of 16 codes */
                        s = _mm512_sub_epi32(s, dot(zero, offsets, qb + 64 * t + 16 * h, 0, 4));
                        __m512 dd = _mm512_mul_ps(d, _mm512_set1_ps(x->d[act_at(x, x->groups, t0, b) + (size_t)t]));
                        acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), dd, acc[t]);
                    }
                }
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- Q8_0, A16/256 -------------------------------------------------------------------------------------- */

/* A line becomes words (k 0 2 of each four by a mask, 1 3 by a shift) for vpdpwssd. Of many tokens P = 2 panels
 * share a broadcast: with one, loads are the limit, 16 and more for 17 operations of the two units that multiply. */
INLINE void panels_q8_a16(int T, int P, float *y, size_t stride, const struct mat *w, int p,
                          const struct act *codes, int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    const struct mat_layout l = mat_form_layout(DTYPE_Q8_0);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    const int32_t *ns = x->ns + act_at(x, x->sums, t0, 0);
    const __m512i mask = _mm512_set1_epi16(255);
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m512 acc[2][ACT_TILE];
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) acc[0][t] = acc[1][t] = _mm512_setzero_ps();
        for (int g = g0; g < g1; g++) {
            __m512 sum[2][ACT_TILE];
#pragma GCC unroll 16
            for (int t = 0; t < T; t++) sum[0][t] = sum[1][t] = _mm512_setzero_ps();
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++, r.lo += l.lo, r.d += l.d) {
                const int8_t *qb = act_line(x, t0, b);
                const int32_t *nb = ns + b * x->tile;
                HIDE(qb);
                HIDE(nb);
#pragma GCC unroll 2
                for (int i = 0; i < P; i++) ahead(DTYPE_Q8_0, base + (size_t)(P - 1 + i) * w->panel_bytes, b);
                sum16 s[2][ACT_TILE];
#pragma GCC unroll 16
                for (int t = 0; t < T; t++) s[0][t] = s[1][t] = (sum16)_mm512_slli_epi32(_mm512_set1_epi32(nb[t]), 7);
                for (int j = 0; j < 8; j++) {
                    __m512i even[2], odd[2];
#pragma GCC unroll 2
                    for (int i = 0; i < P; i++) {
                        __m512i c = _mm512_load_si512(r.lo + (size_t)i * w->panel_bytes + 64 * j);
                        even[i] = _mm512_and_si512(c, mask), odd[i] = _mm512_srli_epi16(c, 8);
                    }
#pragma GCC unroll 16
                    for (int t = 0; t < T; t++) {
                        __m512i q0 = bcast32(qb + 64 * t + 8 * j), q1 = bcast32(qb + 64 * t + 8 * j + 4);
                        if (P > 1) __asm__("" : "+v"(q0), "+v"(q1)); /* one broadcast for both */
#pragma GCC unroll 2
                        for (int i = 0; i < P; i++) {
                            s[i][t] = (sum16)_mm512_dpwssd_epi32((__m512i)s[i][t], even[i], q0);
                            s[i][t] = (sum16)_mm512_dpwssd_epi32((__m512i)s[i][t], odd[i], q1);
                        }
                    }
                }
#pragma GCC unroll 2
                for (int i = 0; i < P; i++) {
                    __m512 d = scale16(DTYPE_Q8_0, r.d + (size_t)i * w->panel_bytes);
#pragma GCC unroll 16
                    for (int t = 0; t < T; t++)
                        sum[i][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)s[i][t]), d, sum[i][t]);
                }
            }
            const float *xd = x->d + act_at(x, x->groups, t0, g);
#pragma GCC unroll 2
            for (int i = 0; i < P; i++)
#pragma GCC unroll 16
                for (int t = 0; t < T; t++) acc[i][t] = _mm512_fmadd_ps(sum[i][t], _mm512_set1_ps(xd[t]), acc[i][t]);
        }
#pragma GCC unroll 2
        for (int i = 0; i < P; i++) close_segment(y + i * PANEL, stride, acc[i], T < n ? T : n, g0 == 0);
    }
}

INLINE void panel_q8_a16(int T, float *y, size_t stride, const struct mat *w, int p, const struct act *x, int t0, int n)
{
    panels_q8_a16(T, 1, y, stride, w, p, x, t0, n);
}

static void two_panels_q8_a16_8(float *y, size_t stride, const struct mat *w, int p, const struct act *x, int t0, int n)
{
    panels_q8_a16(8, 2, y, stride, w, p, x, t0, n);
}

/* Rows past the last token hold anything, so their sums may wrap. */
INLINE int32_t sum2(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* The mins of two sub-blocks as words of a lane, and the negated sums of all tokens' codes likewise (at most
 * 32 * 127). */
INLINE void min_pairs(__m512i mins[8], int32_t pairs[8][ACT_TILE], enum dtype type, int size,
                      const uint8_t *sub, const uint8_t *min, const int32_t *ns, int tile)
{
#pragma GCC unroll 8
    for (int j = 0; j < 128 / size; j++) {
        __m512i even = min16(type, sub + 32 * j, min + 32 * j), odd = min16(type, sub + 32 * j + 16, min + 32 * j + 16);
        mins[j] = _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
        const int32_t *s = ns + 2 * j * (size / 16) * tile;
        __m512i a = _mm512_loadu_si512(s), b = _mm512_loadu_si512(s + tile);
        if (size == 32) {
            a = _mm512_add_epi32(a, b);
            b = _mm512_add_epi32(_mm512_loadu_si512(s + 2 * tile), _mm512_loadu_si512(s + 3 * tile));
        }
        _mm512_storeu_si512(pairs[j], _mm512_mask_mov_epi16(_mm512_slli_epi32(b, 16), 0x55555555, a));
    }
}

/* --- K-quants and N4, A8/256 ---------------------------------------------------------------------------- */

INLINE void panel_k256(enum dtype type, int T, float *y, size_t stride, const struct mat *w, int p,
                       const struct act *codes, int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    const int has_min = type == DTYPE_Q2_K || type == DTYPE_Q4_K || type == DTYPE_Q5_K;
    const struct mat_layout l = mat_form_layout(type);
    const int size = l.sub == 256 ? 16 : 32;
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m512 acc[ACT_TILE];
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
        for (int g = g0; g < g1; g++) {
            __m512i isum[ACT_TILE];
            const int32_t *ns = x->ns + act_at(x, x->sums, t0, 16 * g);
#pragma GCC unroll 16
            for (int t = 0; t < T; t++) isum[t] = _mm512_setzero_si512();
            struct mat_group r = mat_group(l, base, blocks, g);
            const int blocks_here = type == DTYPE_N4 ? r.n : 8;
            for (int b = 0; b < blocks_here; b++) {
                __m512i c[8];
                unpack(c, type, r.lo + b * l.lo, r.hi + b * l.hi);
                ahead(type, base, 8 * g + b);
                const int8_t *qb = act_line(x, t0, 4 * g + (b >> 1)) + (b & 1) * 32;
                const int32_t *bs = ns + 2 * b * x->tile;
                HIDE(qb);
                HIDE(bs);
                __m512i s0 = sub16(type, r.sub + 16 * (size == 16 ? 2 * b : b));
                __m512i s1 = size == 16 ? sub16(type, r.sub + 16 * (2 * b + 1)) : s0;
#pragma GCC unroll 16
                for (int t = 0; t < T; t++) {
                    int32_t n0 = bs[t], n1 = bs[x->tile + t];
                    if (size == 16) {
                        __m512i a0 = dot(start(type, n0), c, qb + 64 * t, 0, 4);
                        __m512i a1 = dot(start(type, n1), c, qb + 64 * t, 4, 8);
                        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(a0, s0));
                        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(a1, s1));
                    } else {
                        __m512i a = dot8(start(type, sum2(n0, n1)), c, qb + 64 * t);
                        isum[t] = _mm512_add_epi32(isum[t], _mm512_mullo_epi32(a, s0));
                    }
                }
            }
            __m512 d = scale16(type, r.d), m = has_min ? scale16(type, r.m) : d;
            __m512i mins[8];
            int32_t pairs[8][ACT_TILE];
            if (has_min) min_pairs(mins, pairs, type, size, r.sub, r.min, ns, x->tile);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                __m512 xd = _mm512_set1_ps(x->d[act_at(x, x->groups, t0, g) + (size_t)t]);
                acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[t]), _mm512_mul_ps(d, xd), acc[t]);
                if (has_min) {
                    __m512i nj = _mm512_setzero_si512(); /* minus J: the sums are stored negated */
#pragma GCC unroll 8
                    for (int j = 0; j < 128 / size; j++)
                        nj = _mm512_dpwssd_epi32(nj, mins[j], _mm512_set1_epi32(pairs[j][t]));
                    acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(nj), _mm512_mul_ps(m, xd), acc[t]);
                }
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- W16, A16/256 --------------------------------------------------------------------------------------- */

INLINE void panel_w16(int T, float *y, size_t stride, const struct mat *w, int p, const struct act *codes,
                      int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    const struct mat_layout l = mat_form_layout(DTYPE_F16);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    ptrdiff_t high = x->qh - x->q;
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m512 acc[ACT_TILE];
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
        for (int g = g0; g < g1; g++) {
            __m512i sh[ACT_TILE], sl[ACT_TILE];
#pragma GCC unroll 16
            for (int t = 0; t < T; t++) sh[t] = sl[t] = _mm512_setzero_si512();
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++, r.lo += l.lo) {
                const int8_t *qb = act_line(x, t0, b);
                HIDE(qb);
                ahead(DTYPE_F16, base, b);
                for (int j = 0; j < 16; j++) {
                    __m512i c = _mm512_load_si512(r.lo + 64 * j);
#pragma GCC unroll 16
                    for (int t = 0; t < T; t++) {
                        sl[t] = _mm512_dpwssd_epi32(sl[t], c, bcast32(qb + 64 * t + 4 * j));
                        sh[t] = _mm512_dpwssd_epi32(sh[t], c, bcast32(qb + high + 64 * t + 4 * j));
                    }
                }
            }
            __m512 d = _mm512_load_ps((const float *)(const void *)r.d);
#pragma GCC unroll 16
            for (int t = 0; t < T; t++) {
                __m512 dd = _mm512_mul_ps(d, _mm512_set1_ps(x->d[act_at(x, x->groups, t0, g) + (size_t)t]));
                __m512 s = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sh[t]), _mm512_set1_ps(256.0f),
                                           _mm512_cvtepi32_ps(sl[t]));
                acc[t] = _mm512_fmadd_ps(s, dd, acc[t]);
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- all types and tokens: fold accumulators, 8 lines of codes and temporaries share 32 registers ---------------- */

#define TOKENS_MAX 16
#define TWO_PANELS two_panels_q8_a16_8
#include "kern/matmul_tiles_body.h"

matmul_fn matmul_avx512, matmul_n4_avx512;
void matmul_avx512(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x, int t0, int n_tok)
{
    if (w->type == DTYPE_N4 && n_tok >= N4_TOKENS)
        matmul_n4_avx512(y, stride, w, p0, p1, x, t0, n_tok);
    else
        matmul_tiles(y, stride, w, p0, p1, x, t0, n_tok);
}
