/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul_avx2_body: the matrix product in ymm registers with AVX2, FMA and F16C, written once and compiled twice:
 *
 *   matmul_avx2.c      vpmaddubsw, vpmaddwd
 *   matmul_avxvnni.c   vpdpbusd, vpdpwssd (processors with AVX-VNNI and no AVX-512); all codes unsigned with an offset,
 *                      sums in int32, sub-scales by vpmulld
 *
 * AVX2: a packed line is taken as two halves of 8 output rows; a ymm holds 8 rows x 4 k. vpmaddubsw multiplies unsigned
 * codes by signed activations and adds neighbours in int16, where it would saturate; so each type adds no more lines
 * in int16 than provably fit (|q| <= 127, two products per int16 and line):
 *
 *   codes        lines     largest sum
 *   0..15        8         15 * 127 * 2 * 8 = 30480
 *   0..31        4         31 * 127 * 2 * 4 = 31496
 *   0..63        2         63 * 127 * 2 * 2 = 32004
 *   -128..127    1         128 * 127 * 2    = 32512, as |code| * (q with the sign of code)
 *
 * vpmaddwd then widens to int32 and multiplies by the integer sub-scale (or 1) in the same step. Codes stored or
 * unpacked with an offset 2^s start from -2^s * sum(q). Sums of offsets and mins over a 256-group are dot products of
 * pairs, too: (sub_j, sub_j+1) . (sum q_j, sum q_j+1). All of it is exact, so the bits are those of matmul_ref.c as
 * long as the float fold runs per lane in the written order, which it does: no lane ever adds to another.
 *
 * Up to T tokens share one unpacking of the weights; the fold's accumulators live on the stack over a segment, the
 * totals in y. Rows past the last token of a tile are computed on whatever stands there and not stored.
 *
 * Limits, per 32-block of 16 rows and token: 38 vector operations with nibbles, 70 with signed bytes (AVX-512: 11).
 */
#include <immintrin.h>
#include "kern/ahead.h"
#include "kern/arith.h"
#include "kern/kern.h"

#define INLINE static inline __attribute__((always_inline))
enum {
    SEGMENT = ARITH_SEGMENT,
    HALF = PANEL / 2,
    T_MAX = 8,
};

INLINE __m256i load256(const void *p)
{
    return _mm256_load_si256(p);
}

INLINE __m256i loadu256(const void *p)
{
    return _mm256_loadu_si256(p);
}

INLINE __m256i bcast32(const void *p)
{
    return _mm256_set1_epi32(*(const int32_t *)p);
}

/*
 * The same value, hidden from the optimiser. On addresses: one base register with constant offsets instead of a
 * spilled pointer per token and line. On sums: the additions stay where they are written; gcc otherwise regroups
 * integer sums so that all their terms are alive at once, and spills those.
 */
INLINE const void *opaque(const void *p)
{
    __asm__ volatile("" : "+r"(p)); /* volatile: or two equal ones become one */
    return p;
}

INLINE __m256i fixed(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* Few tokens: the stream of weights is the limit. */
INLINE void prefetch(int T, enum dtype type, const uint8_t *panel, int block)
{
    if (T <= 4) ahead(type, panel, block);
}

/* --- weights: one line of a 32-block, 8 rows x 4 k -------------------------------------------------------- */

/* AVX2: lines whose products fit one int16 sum; 1 means signed codes (see the table above). */
INLINE int lines_int16(enum dtype type)
{
    switch (type) {
    case DTYPE_Q8_0:
    case DTYPE_NVFP4:
    case DTYPE_IQ2_S:
    case DTYPE_IQ3_XXS:
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS: return 1;
    case DTYPE_Q6_K: return 2;
    case DTYPE_Q2_0:
    case DTYPE_Q4_0:
    case DTYPE_Q4_1:
    case DTYPE_Q4_K:
    case DTYPE_N4: return 8;
    default: return 4;
    }
}

/* log2 of the offset that line() adds to the codes of a type, or -1 */
INLINE int offset_log2(enum dtype type)
{
    switch (type) {
    case DTYPE_Q2_0: return 0;
    case DTYPE_Q4_0:
    case DTYPE_N4: return 3;
    case DTYPE_Q5_0:
    case DTYPE_IQ1_M:
    case DTYPE_IQ3_S:
    case DTYPE_MXFP4: return 4;
    case DTYPE_Q6_K: return 5;
    case DTYPE_Q3_K: return 2;
#ifdef __AVXVNNI__
    case DTYPE_Q8_0:
    case DTYPE_NVFP4:
    case DTYPE_IQ2_S:
    case DTYPE_IQ3_XXS:
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS: return 7;
#endif
    default: return -1;
    }
}

INLINE __m256i shift(__m256i v, int left) /* in 16-bit units; the caller masks */
{
    return left >= 0 ? _mm256_slli_epi16(v, left) : _mm256_srli_epi16(v, -left);
}

INLINE __m256i nibble(const uint8_t *lo, int j)
{
    return _mm256_and_si256(shift(load256(lo + 64 * (j & 3)), j < 4 ? 0 : -4), _mm256_set1_epi8(15));
}

/* Bit j of the one-bit plane, moved to bit `at`. */
INLINE __m256i bit(const uint8_t *hi, int j, int at)
{
    return _mm256_and_si256(shift(load256(hi), at - j), _mm256_set1_epi8((char)(1 << at)));
}

/* Bits of line j in the pair plane, moved to bits at, at+1. */
INLINE __m256i pair(const uint8_t *p, int j, int at)
{
    return _mm256_and_si256(shift(load256(p + 64 * (j >> 2)), at - 2 * (j & 3)), _mm256_set1_epi8((char)(3 << at)));
}

INLINE __m256i look_up(const int8_t book[16], __m256i at)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)book)), at);
}

/* 8-bit codes are signed for AVX2, code + 128 for AVX-VNNI; Q8_0 is stored unsigned, the code book signed. */
INLINE __m256i flip(__m256i v)
{
    return _mm256_xor_si256(v, _mm256_set1_epi8(-128));
}
#ifdef __AVXVNNI__
#define signed_codes(v) (v)
#define unsigned_codes(v) flip(v)
#else
#define signed_codes(v) flip(v)
#define unsigned_codes(v) (v)
#endif

/* lo and hi point at the planes of a 32-block, 32 bytes further for rows 8..15. */
INLINE __m256i line(enum dtype type, const uint8_t *lo, const uint8_t *hi, int j)
{
    switch (type) {
    case DTYPE_Q8_0: return signed_codes(load256(lo + 64 * j));
    case DTYPE_Q2_0:
    case DTYPE_Q2_K: return pair(lo, j, 0);
    case DTYPE_IQ1_M:
        return _mm256_add_epi8(look_up(mat_iq1_book, _mm256_or_si256(pair(lo, j, 0), bit(hi, j, 2))),
                               _mm256_set1_epi8(16));
    case DTYPE_IQ2_S: return unsigned_codes(look_up(mat_iq2_book, _mm256_or_si256(pair(lo, j, 0), bit(hi, j, 2))));
    case DTYPE_IQ3_XXS: return unsigned_codes(look_up(mat_iq3_xxs_book, nibble(lo, j)));
    case DTYPE_IQ3_S: return _mm256_add_epi8(look_up(mat_iq3_s_book, nibble(lo, j)), _mm256_set1_epi8(16));
    case DTYPE_NVFP4: return unsigned_codes(look_up(mat_mxfp4_book, nibble(lo, j)));
    case DTYPE_Q3_K: return _mm256_or_si256(pair(lo, j, 0), bit(hi, j, 2));
    case DTYPE_Q6_K: return _mm256_or_si256(nibble(lo, j), pair(hi, j, 4));
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_Q5_K: return _mm256_or_si256(nibble(lo, j), bit(hi, j, 4));
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS: return unsigned_codes(look_up(mat_iq4_book, nibble(lo, j)));
    case DTYPE_MXFP4: return _mm256_add_epi8(look_up(mat_mxfp4_book, nibble(lo, j)), _mm256_set1_epi8(16));
    default: return nibble(lo, j);
    }
}

/* s[t] += scale * sum over lines [j0, j1) of code * q[t]; scale: two equal int16 per row; fresh: s starts at 0 and
 * scale is 1. */
INLINE void add_lines(__m256i s[T_MAX], int T, enum dtype type, const uint8_t *lo, const uint8_t *hi, const int8_t *q,
                      int j0, int j1, __m256i scale, int fresh)
{
#ifdef __AVXVNNI__
    __m256i d[T_MAX];
    if (T > 1) q = opaque(q);
#pragma GCC unroll 8
    for (int j = j0; j < j1; j++) {
        __m256i w = line(type, lo, hi, j);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
            d[t] = _mm256_dpbusd_avx_epi32(j == j0 ? _mm256_setzero_si256() : d[t], w, bcast32(q + 64 * t + 4 * j));
    }
    scale = _mm256_srai_epi32(scale, 16);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) s[t] = fresh ? d[t] : _mm256_add_epi32(s[t], _mm256_mullo_epi32(d[t], scale));
#else
    const int fit = lines_int16(type), step = fit < j1 - j0 ? fit : j1 - j0;
    if (T > 1) q = opaque(q);
#pragma GCC unroll 8
    for (int j = j0; j < j1; j += step) {
        __m256i s16[T_MAX];
#pragma GCC unroll 8
        for (int i = j; i < j + step; i++) {
            __m256i w = line(type, lo, hi, i), a = fit == 1 ? _mm256_abs_epi8(w) : w;
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                __m256i x = bcast32(q + 64 * t + 4 * i);
                __m256i v = _mm256_maddubs_epi16(a, fit == 1 ? _mm256_sign_epi8(x, w) : x);
                s16[t] = i == j ? v : fixed(_mm256_add_epi16(s16[t], v));
            }
        }
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) {
            __m256i v = _mm256_madd_epi16(s16[t], scale);
            s[t] = fresh && j == j0 ? v : fixed(_mm256_add_epi32(s[t], v));
        }
    }
#endif
}

/* acc += the products of 2 words per lane */
INLINE __m256i add_words(__m256i acc, __m256i w, __m256i x)
{
#ifdef __AVXVNNI__
    return _mm256_dpwssd_avx_epi32(acc, w, x);
#else
    return fixed(_mm256_add_epi32(acc, _mm256_madd_epi16(w, x)));
#endif
}

/* --- scales ----------------------------------------------------------------------------------------------- */

INLINE __m256 scale8(enum dtype type, const uint8_t *d, int h)
{
    if (type == DTYPE_MXFP4) /* 2^(e-128), e >= 92 (mat_pack): exponent field e - 1 */
        return _mm256_castsi256_ps(_mm256_slli_epi32(
            _mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(d + HALF * h))),
                             _mm256_set1_epi32(1)), 23));
    __m256 v = _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(const void *)(d + 2 * HALF * h)));
    return mat_unit(type) == 1.0f ? v : _mm256_mul_ps(v, _mm256_set1_ps(mat_unit(type)));
}

/* Two rows of sub-scale bytes (s and s_next, 8 rows each) -> int16 (s, s_next) per row. */
INLINE __m256i sub_pairs(__m128i s, __m128i s_next)
{
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(s, s_next));
}

INLINE __m128i sub8(enum dtype type, const uint8_t *sub, int j, int h)
{
    __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)(sub + 16 * j + HALF * h));
    return type == DTYPE_Q2_K ? _mm_and_si128(v, _mm_set1_epi8(15)) : v;
}

INLINE __m128i min8(enum dtype type, const uint8_t *sub, const uint8_t *min, int j, int h)
{
    if (type != DTYPE_Q2_K) return _mm_loadl_epi64((const __m128i *)(const void *)(min + 16 * j + HALF * h));
    __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)(sub + 16 * j + HALF * h));
    return _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15));
}

/* Ends a segment: y += acc; the first segment adds to +0. */
INLINE void close_segment(float *y, size_t stride, __m256 acc[2][T_MAX], int n, int first)
{
    for (int t = 0; t < n; t++) {
        for (int h = 0; h < 2; h++) {
            float *out = y + (size_t)t * stride + HALF * h;
            __m256 tot = first ? _mm256_setzero_ps() : _mm256_loadu_ps(out);
            _mm256_storeu_ps(out, _mm256_add_ps(tot, acc[h][t]));
        }
    }
}

/* --- 32-block types, A8/32 -------------------------------------------------------------------------------- */

INLINE void panel_block32(enum dtype type, int T, int has_m, float *y, size_t stride, const struct mat *w, int p,
                          const struct act *codes, int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    const int8_t *q = act_line(x, t0, 0);
    const float *xd = x->d + act_at(x, x->groups, t0, 0), *sd = x->sd + act_at(x, x->groups, t0, 0);
    const int32_t *ns = x->ns + act_at(x, x->sums, t0, 0);
    const struct mat_layout l = mat_form_layout(type);
    const int off = offset_log2(type);
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m256 acc[2][T_MAX];
        for (int t = 0; t < T; t++) acc[0][t] = acc[1][t] = _mm256_setzero_ps();
        for (int g = g0; g < g1; g++) {
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++) {
                const int8_t *qb = q + (b >> 1) * (x->tile * 64) + (b & 1) * 32;
                prefetch(T, type, base, b);
                const float *xdb = opaque(xd + b * x->tile), *sdb = opaque(sd + b * x->tile);
                const int32_t *nsb = opaque(ns + b * x->tile);
#pragma GCC unroll 1
                for (int h = 0; h < 2; h++) {
                    __m256i s[T_MAX];
                    add_lines(s, T, type, r.lo + 32 * h, r.hi + 32 * h, qb, 0, 8, _mm256_set1_epi16(1), 1);
                    __m256 d = scale8(type, r.d, h), m = has_m ? scale8(type, r.m, h) : d;
#pragma GCC unroll 8
                    for (int t = 0; t < T; t++) {
                        __m256 dd = _mm256_mul_ps(d, _mm256_broadcast_ss(xdb + t));
                        if (off >= 0) s[t] = _mm256_add_epi32(s[t], _mm256_slli_epi32(bcast32(nsb + t), off));
                        acc[h][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[t]), dd, acc[h][t]);
                        if (has_m) acc[h][t] = _mm256_fmadd_ps(m, _mm256_broadcast_ss(sdb + t), acc[h][t]);
                    }
                }
                r.lo += l.lo, r.hi += l.hi, r.d += l.d, r.m += l.m;
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- NVFP4: the first half of a 32-block has one scale, the other another ----------------------------------- */

/* 8 rows times 16 codes, the lines from j0 on, of T tokens. */
INLINE void add_half(__m256 acc[T_MAX], int T, const uint8_t *lo, const uint8_t *wd, int h, int j0,
                     const int8_t *qb, const float *xd)
{
    __m256i s[T_MAX];
    add_lines(s, T, DTYPE_NVFP4, lo + 32 * h, lo, qb, j0, j0 + 4, _mm256_set1_epi16(1), 1);
    __m256 d = scale8(DTYPE_NVFP4, wd, h);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
#ifdef __AVXVNNI__ /* there is no sum of 16 codes */
        __m256i o = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (int j = j0; j < j0 + 4; j++)
            o = _mm256_dpbusd_avx_epi32(o, _mm256_set1_epi8(-128), bcast32(qb + 64 * t + 4 * j));
        s[t] = _mm256_sub_epi32(s[t], o);
#endif
        acc[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[t]), _mm256_mul_ps(d, _mm256_broadcast_ss(xd + t)), acc[t]);
    }
}

INLINE void panel_pair(int T, float *y, size_t stride, const struct mat *w, int p, const struct act *codes,
                       int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    const struct mat_layout l = mat_form_layout(DTYPE_NVFP4);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m256 acc[2][T_MAX];
        for (int t = 0; t < T; t++) acc[0][t] = acc[1][t] = _mm256_setzero_ps();
        for (int g = g0; g < g1; g++) {
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++, r.lo += l.lo, r.d += 2 * l.d) {
                const int8_t *qb = act_line(x, t0, b >> 1) + (b & 1) * 32;
                const float *xd = opaque(x->d + act_at(x, x->groups, t0, b));
                prefetch(T, DTYPE_NVFP4, base, b);
#pragma GCC unroll 1
                for (int h = 0; h < 2; h++) {
                    add_half(acc[h], T, r.lo, r.d, h, 0, qb, xd);
                    add_half(acc[h], T, r.lo, r.d + 32, h, 4, qb, xd);
                }
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- K-quants, A8/256 ------------------------------------------------------------------------------------- */

/* Minus the sums of q over sub-blocks 2i and 2i+1 of a group with n_sub of them, as a pair of int16, for 8 tokens. */
INLINE void sum_pairs(int32_t out[8][T_MAX], const int32_t *ns, int tile, int size, int n_sub)
{
    for (int i = 0; 2 * i < n_sub; i++) {
        const int32_t *s = ns + i * (tile * 2) * (size / 16);
        __m256i a = loadu256(s), b = loadu256(s + tile);
        if (size == 32) {
            a = _mm256_add_epi32(a, b);
            b = _mm256_setzero_si256();
            if (2 * i + 1 < n_sub) b = _mm256_add_epi32(loadu256(s + 2 * tile), loadu256(s + 3 * tile));
        }
        _mm256_storeu_si256((__m256i *)(void *)out[i], _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa));
    }
}

INLINE void panel_k256(enum dtype type, int T, float *y, size_t stride, const struct mat *w, int p,
                       const struct act *codes, int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    const int has_min = type == DTYPE_Q2_K || type == DTYPE_Q4_K || type == DTYPE_Q5_K, off = offset_log2(type);
    const struct mat_layout form = mat_form_layout(type);
    const int size = form.sub == 256 ? 16 : 32;
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m256 acc[2][T_MAX];
        for (int t = 0; t < T; t++) acc[0][t] = acc[1][t] = _mm256_setzero_ps();
        for (int g = g0; g < g1; g++) {
            const float *xd = x->d + act_at(x, x->groups, t0, g);
            const struct mat_group r = mat_group(form, base, blocks, g);
            const int nb = type == DTYPE_N4 ? r.n : 8, n_sub = 32 / size * nb;
            int32_t nsp[8][T_MAX];
            if (has_min || off >= 0) sum_pairs(nsp, x->ns + act_at(x, x->sums, t0, 16 * g), x->tile, size, n_sub);
            for (int h = 0; h < 2; h++) {
                __m256i s[T_MAX], c[T_MAX]; /* I; minus J, or minus the sum of sub * q */
#pragma GCC unroll 8
                for (int t = 0; t < T; t++) c[t] = _mm256_setzero_si256();
                for (int i = 0; (has_min || off >= 0) && 2 * i < n_sub; i++) {
                    __m256i v = has_min
                                    ? sub_pairs(min8(type, r.sub, r.min, 2 * i, h),
                                                min8(type, r.sub, r.min, 2 * i + 1, h))
                                    : sub_pairs(sub8(type, r.sub, 2 * i, h), sub8(type, r.sub, 2 * i + 1, h));
#pragma GCC unroll 8
                    for (int t = 0; t < T; t++)
                        c[t] = _mm256_add_epi32(c[t], _mm256_madd_epi16(v, bcast32(&nsp[i][t])));
                }
#pragma GCC unroll 8
                for (int t = 0; t < T; t++) s[t] = off < 0 ? _mm256_setzero_si256() : _mm256_slli_epi32(c[t], off);
                for (int b = 0; b < nb; b++) {
                    if (h == 0) prefetch(T, type, base, 8 * g + b);
                    const uint8_t *l = r.lo + b * form.lo + 32 * h, *u = r.hi + b * form.hi + 32 * h;
                    const int8_t *qb = act_line(x, t0, 4 * g + (b >> 1)) + (b & 1) * 32;
                    __m128i s0 = sub8(type, r.sub, size == 16 ? 2 * b : b, h);
                    if (size == 16) {
                        __m128i s1 = sub8(type, r.sub, 2 * b + 1, h);
                        add_lines(s, T, type, l, u, qb, 0, 4, sub_pairs(s0, s0), 0);
                        add_lines(s, T, type, l, u, qb, 4, 8, sub_pairs(s1, s1), 0);
                    } else {
                        add_lines(s, T, type, l, u, qb, 0, 8, sub_pairs(s0, s0), 0);
                    }
                }
                __m256 d = scale8(type, r.d, h), m = has_min ? scale8(type, r.m, h) : d;
#pragma GCC unroll 8
                for (int t = 0; t < T; t++) {
                    __m256 dx = _mm256_broadcast_ss(xd + t);
                    acc[h][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[t]), _mm256_mul_ps(d, dx), acc[h][t]);
                    if (has_min)
                        acc[h][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(c[t]), _mm256_mul_ps(m, dx), acc[h][t]);
                }
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- W16, A16/256 ----------------------------------------------------------------------------------------- */

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
        __m256 acc[2][T_MAX];
        for (int t = 0; t < T; t++) acc[0][t] = acc[1][t] = _mm256_setzero_ps();
        for (int g = g0; g < g1; g++) {
            const struct mat_group r = mat_group(l, base, blocks, g);
            const float *xd = x->d + act_at(x, x->groups, t0, g);
            for (int h = 0; h < 2; h++) {
                __m256i sh[T_MAX], sl[T_MAX];
#pragma GCC unroll 8
                for (int t = 0; t < T; t++) sh[t] = sl[t] = _mm256_setzero_si256();
                for (int b = 0; b < r.n; b++) {
                    const int8_t *qb = opaque(act_line(x, t0, 8 * g + b));
                    if (h == 0) prefetch(T, DTYPE_F16, base, 8 * g + b);
                    for (int j = 0; j < 16; j++) {
                        __m256i c = load256(r.lo + 1024 * b + 64 * j + 32 * h);
#pragma GCC unroll 8
                        for (int t = 0; t < T; t++) {
                            const int8_t *v = qb + 64 * t + 4 * j;
                            sl[t] = add_words(sl[t], c, bcast32(v));
                            sh[t] = add_words(sh[t], c, bcast32(v + high));
                        }
                    }
                }
                __m256 d = _mm256_load_ps((const float *)(const void *)(r.d + 32 * h));
#pragma GCC unroll 8
                for (int t = 0; t < T; t++) {
                    __m256 dd = _mm256_mul_ps(d, _mm256_broadcast_ss(xd + t));
                    __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sh[t]), _mm256_set1_ps(256.0f),
                                               _mm256_cvtepi32_ps(sl[t]));
                    acc[h][t] = _mm256_fmadd_ps(v, dd, acc[h][t]);
                }
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- Q8_0, A16/256: a line becomes words (k 0 2 of each four by a mask, 1 3 by a shift) for vpmaddwd -------- */

INLINE void panel_q8_a16(int T, float *y, size_t stride, const struct mat *w, int p, const struct act *codes,
                         int t0, int n)
{
    const struct act fixed = act_for(codes, T), *x = &fixed;
    const struct mat_layout l = mat_form_layout(DTYPE_Q8_0);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    const __m256i mask = _mm256_set1_epi16(255);
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        __m256 acc[2][T_MAX];
        for (int t = 0; t < T; t++) acc[0][t] = acc[1][t] = _mm256_setzero_ps();
        for (int g = g0; g < g1; g++) {
            const struct mat_group r = mat_group(l, base, blocks, g);
            const float *xd = x->d + act_at(x, x->groups, t0, g);
            for (int h = 0; h < 2; h++) {
                __m256 sum[T_MAX];
#pragma GCC unroll 8
                for (int t = 0; t < T; t++) sum[t] = _mm256_setzero_ps();
                for (int b = 0; b < r.n; b++) {
                    const int8_t *qb = opaque(act_line(x, t0, 8 * g + b));
                    if (h == 0) prefetch(T, DTYPE_Q8_0, base, 8 * g + b);
                    const int32_t *ns = x->ns + act_at(x, x->sums, t0, 8 * g + b);
                    __m256i s[T_MAX];
#pragma GCC unroll 8
                    for (int t = 0; t < T; t++) s[t] = _mm256_slli_epi32(bcast32(ns + t), 7);
                    for (int j = 0; j < 8; j++) {
                        __m256i c = load256(r.lo + 512 * b + 64 * j + 32 * h);
                        __m256i even = _mm256_and_si256(c, mask), odd = _mm256_srli_epi16(c, 8);
#pragma GCC unroll 8
                        for (int t = 0; t < T; t++) {
                            const int8_t *v = qb + 64 * t + 8 * j;
                            s[t] = add_words(s[t], even, bcast32(v));
                            s[t] = add_words(s[t], odd, bcast32(v + 4));
                        }
                    }
                    __m256 d = scale8(DTYPE_Q8_0, r.d + 32 * b, h);
#pragma GCC unroll 8
                    for (int t = 0; t < T; t++) sum[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[t]), d, sum[t]);
                }
#pragma GCC unroll 8
                for (int t = 0; t < T; t++) acc[h][t] = _mm256_fmadd_ps(sum[t], _mm256_broadcast_ss(xd + t), acc[h][t]);
            }
        }
        close_segment(y, stride, acc, T < n ? T : n, g0 == 0);
    }
}

/* --- all types and tokens: int16 sums, a line and temporaries share 16 registers ---------------------------------- */

#define TOKENS_MAX 8
#include "kern/matmul_tiles_body.h"

matmul_fn MATMUL_NAME;
void MATMUL_NAME(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x, int t0, int n_tok)
{
    matmul_tiles(y, stride, w, p0, p1, x, t0, n_tok);
}
