/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul_arm_body: the matrix product with NEON, written once and compiled three times:
 *
 *   matmul_neon.c      baseline: smull, smlal in int16, sadalp to int32
 *   matmul_dotprod.c   sdot by lane: 4 rows x 4 k per instruction
 *   matmul_i8mm.c      smmla: 2 rows x 2 tokens x 8 k per instruction (sdot for a single token)
 *
 * A packed line of 64 bytes is four vectors of 4 output rows x 4 k. For each 32-block and each quarter of the panel
 * the codes are unpacked to 8 vectors of signed bytes (their true values, no offsets), which stay in registers while
 * all tokens of the tile pass by; fold accumulators lie on the stack over a segment, totals in y. Sums are exact
 * int32; the float fold runs per lane in the written order, with vfmaq and vmulq only (vmlaq may or may not be
 * fused), so the bits are those of matmul_ref.c.
 *
 * The baseline adds products in int16 as long as they provably fit (|q| <= 127, one product per int16 and line): all
 * 8 lines for codes up to 32 in magnitude (32 * 127 * 8 = 32512), 2 lines for bytes (128 * 127 * 2 = 32512).
 *
 * W16: smlal by lane on rows de-interleaved by ld2; int16 products in int32 are exact.
 *
 * Two tokens at a time; of an odd number the last partner is computed on what stands in the tile and not stored.
 */
#include <arm_neon.h>
#include <string.h>
#include "kern/arith.h"
#include "kern/kern.h"

#define INLINE static inline __attribute__((always_inline))
enum {
    SEGMENT = ARITH_SEGMENT,
    QUADS = PANEL / 4,
    BLOCK_BYTES = 128 << 10, /* packed weights that stay in L2 while tokens pass; not measured */
};

/* --- weights: a quarter of a 32-block, 4 rows, as 8 vectors of signed codes -------------------------------- */

INLINE uint8x16_t shift8(uint8x16_t v, int left)
{
    return left == 0 ? v : vshlq_u8(v, vdupq_n_s8((int8_t)left));
}

INLINE uint8x16_t nibble(const uint8_t *lo, int j)
{
    uint8x16_t v = vld1q_u8(lo + 64 * (j & 3));
    return j < 4 ? vandq_u8(v, vdupq_n_u8(15)) : vshrq_n_u8(v, 4);
}

/* Bit j of the one-bit plane, moved to bit `at`. */
INLINE uint8x16_t bit(const uint8_t *hi, int j, int at)
{
    return vandq_u8(shift8(vld1q_u8(hi), at - j), vdupq_n_u8((uint8_t)(1 << at)));
}

/* Bits of line j in the pair plane, moved to bits at, at+1. */
INLINE uint8x16_t pair(const uint8_t *p, int j, int at)
{
    return vandq_u8(shift8(vld1q_u8(p + 64 * (j >> 2)), at - 2 * (j & 3)), vdupq_n_u8((uint8_t)(3 << at)));
}

INLINE int8x16_t less(uint8x16_t v, int offset)
{
    return vsubq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8((int8_t)offset));
}

INLINE int8x16_t line(enum dtype type, const uint8_t *lo, const uint8_t *hi, int j)
{
    switch (type) {
    case DTYPE_Q8_0: return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(lo + 64 * j), vdupq_n_u8(128)));
    case DTYPE_Q4_0:
    case DTYPE_N4: return less(nibble(lo, j), 8);
    case DTYPE_Q5_0: return less(vorrq_u8(nibble(lo, j), bit(hi, j, 4)), 16);
    case DTYPE_Q5_1:
    case DTYPE_Q5_K: return vreinterpretq_s8_u8(vorrq_u8(nibble(lo, j), bit(hi, j, 4)));
    case DTYPE_Q2_K: return vreinterpretq_s8_u8(pair(lo, j, 0));
    case DTYPE_Q2_0: return less(pair(lo, j, 0), 1);
    case DTYPE_IQ1_M: return vqtbl1q_s8(vld1q_s8(mat_iq1_book), vorrq_u8(pair(lo, j, 0), bit(hi, j, 2)));
    case DTYPE_IQ2_S: return vqtbl1q_s8(vld1q_s8(mat_iq2_book), vorrq_u8(pair(lo, j, 0), bit(hi, j, 2)));
    case DTYPE_IQ3_XXS: return vqtbl1q_s8(vld1q_s8(mat_iq3_xxs_book), nibble(lo, j));
    case DTYPE_IQ3_S: return vqtbl1q_s8(vld1q_s8(mat_iq3_s_book), nibble(lo, j));
    case DTYPE_Q3_K: return less(vorrq_u8(pair(lo, j, 0), bit(hi, j, 2)), 4);
    case DTYPE_Q6_K: return less(vorrq_u8(nibble(lo, j), pair(hi, j, 4)), 32);
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS: return vqtbl1q_s8(vld1q_s8(mat_iq4_book), nibble(lo, j));
    case DTYPE_MXFP4:
    case DTYPE_NVFP4: return vqtbl1q_s8(vld1q_s8(mat_mxfp4_book), nibble(lo, j));
    default: return vreinterpretq_s8_u8(nibble(lo, j));
    }
}

/* one: the instance for a single token */
INLINE void unpack(int8x16_t w[8], enum dtype type, const uint8_t *lo, const uint8_t *hi, int one)
{
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) w[j] = line(type, lo, hi, j);
#ifdef __ARM_FEATURE_MATMUL_INT8
#pragma GCC unroll 4
    for (int j = 0; j < 8 && !one; j += 2) { /* rows 0,1 and rows 2,3 with 8 consecutive k each */
        int32x4_t a = vreinterpretq_s32_s8(w[j]), b = vreinterpretq_s32_s8(w[j + 1]);
        w[j] = vreinterpretq_s8_s32(vzip1q_s32(a, b));
        w[j + 1] = vreinterpretq_s8_s32(vzip2q_s32(a, b));
    }
#else
    (void)one;
#endif
}

/* --- dot products of 16 n codes --------------------------------------------------------------------------- */

#ifdef __ARM_FEATURE_DOTPROD
INLINE int32x4_t dot(const int8x16_t *w, const int8_t *q, int n, int wide)
{
    int32x4_t s = vdupq_n_s32(0);
    (void)wide;
#pragma GCC unroll 2
    for (int i = 0; i < n; i++) {
        int8x16_t x = vld1q_s8(q + 16 * i);
        s = vdotq_laneq_s32(s, w[4 * i], x, 0);
        s = vdotq_laneq_s32(s, w[4 * i + 1], x, 1);
        s = vdotq_laneq_s32(s, w[4 * i + 2], x, 2);
        s = vdotq_laneq_s32(s, w[4 * i + 3], x, 3);
    }
    return s;
}
#else
INLINE int32x4_t dot(const int8x16_t *w, const int8_t *q, int n, int wide)
{
    const int step = wide ? 2 : 4 * n;
    int32x4_t s0 = vdupq_n_s32(0), s1 = s0;
#pragma GCC unroll 4
    for (int j = 0; j < 4 * n; j += step) {
        int16x8_t p0 = vdupq_n_s16(0), p1 = p0;
#pragma GCC unroll 8
        for (int i = j; i < j + step; i++) {
            int8x16_t x = vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)(q + 4 * i)));
            p0 = i == j ? vmull_s8(vget_low_s8(w[i]), vget_low_s8(x)) : vmlal_s8(p0, vget_low_s8(w[i]), vget_low_s8(x));
            p1 = i == j ? vmull_high_s8(w[i], x) : vmlal_high_s8(p1, w[i], x);
        }
        s0 = vpadalq_s16(s0, p0);
        s1 = vpadalq_s16(s1, p1);
    }
    return vpaddq_s32(s0, s1);
}
#endif

/* s[0]: the token at q, s[1]: the next one (unless `one`). */
INLINE void dots(int32x4_t s[2], const int8x16_t *w, const int8_t *q, int n, int wide, int one)
{
#ifdef __ARM_FEATURE_MATMUL_INT8
    if (!one) {
        int32x4_t a = vdupq_n_s32(0), b = a; /* rows 0,1 and rows 2,3, each by two tokens */
#pragma GCC unroll 2
        for (int i = 0; i < n; i++) {
            int64x2_t x = vreinterpretq_s64_s8(vld1q_s8(q + 16 * i)),
                      y = vreinterpretq_s64_s8(vld1q_s8(q + 64 + 16 * i));
            int8x16_t u = vreinterpretq_s8_s64(vzip1q_s64(x, y)), v = vreinterpretq_s8_s64(vzip2q_s64(x, y));
            a = vmmlaq_s32(vmmlaq_s32(a, w[4 * i], u), w[4 * i + 2], v);
            b = vmmlaq_s32(vmmlaq_s32(b, w[4 * i + 1], u), w[4 * i + 3], v);
        }
        s[0] = vuzp1q_s32(a, b);
        s[1] = vuzp2q_s32(a, b);
        return;
    }
#endif
    s[0] = dot(w, q, n, wide);
    s[1] = one ? s[0] : dot(w, q + 64, n, wide);
}

/* --- scales ----------------------------------------------------------------------------------------------- */

INLINE int32x4_t bytes4(const uint8_t *p, int is_signed)
{
    uint32_t u;
    memcpy(&u, p, 4);
    if (is_signed) return vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(u))));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(u)))));
}

INLINE float32x4_t scale4(enum dtype type, const uint8_t *d, int c)
{
    if (type == DTYPE_MXFP4) /* 2^(e-128), e >= 92 (mat_pack): exponent field e - 1 */
        return vreinterpretq_f32_s32(vshlq_n_s32(vsubq_s32(bytes4(d + 4 * c, 0), vdupq_n_s32(1)), 23));
    float32x4_t v = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(d + 8 * c)));
    return mat_unit(type) == 1.0f ? v : vmulq_n_f32(v, mat_unit(type));
}

INLINE int32x4_t sub4(enum dtype type, const uint8_t *sub, int j, int c)
{
    int32x4_t v = bytes4(sub + 16 * j + 4 * c, type == DTYPE_Q3_K || type == DTYPE_Q6_K ||
                                                   type == DTYPE_IQ4_XS || type == DTYPE_N4);
    return type == DTYPE_Q2_K ? vandq_s32(v, vdupq_n_s32(15)) : v;
}

INLINE int32x4_t min4(enum dtype type, const uint8_t *sub, const uint8_t *min, int j, int c)
{
    return type == DTYPE_Q2_K ? vshrq_n_s32(bytes4(sub + 16 * j + 4 * c, 0), 4) : bytes4(min + 16 * j + 4 * c, 0);
}

/* acc = fma(float(sum), fl(w * d), acc) */
INLINE float32x4_t fold(float32x4_t acc, int32x4_t sum, float32x4_t w, const float *d)
{
    return vfmaq_f32(acc, vcvtq_f32_s32(sum), vmulq_f32(w, vld1q_dup_f32(d)));
}

/* Ends a segment: y += acc; the first segment adds to +0. */
INLINE void close_segment(float *y, size_t stride, float32x4_t acc[QUADS][ACT_TILE], int n, int first)
{
    for (int t = 0; t < n; t++) {
        for (int c = 0; c < QUADS; c++) {
            float *out = y + (size_t)t * stride + 4 * c;
            float32x4_t tot = first ? vdupq_n_f32(0) : vld1q_f32(out);
            vst1q_f32(out, vaddq_f32(tot, acc[c][t]));
        }
    }
}

INLINE void clear(float32x4_t acc[QUADS][ACT_TILE], int n)
{
    for (int c = 0; c < QUADS; c++)
        for (int t = 0; t < n; t++) acc[c][t] = vdupq_n_f32(0);
}

/* --- 32-block types, A8/32 -------------------------------------------------------------------------------- */

INLINE void panel_block32(enum dtype type, int one, int has_m, float *y, size_t stride, const struct mat *w, int p,
                          const struct act *x, int t0, int n)
{
    const int wide = type == DTYPE_Q8_0 || type == DTYPE_IQ4_NL;
    const struct mat_layout l = mat_form_layout(type);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    int blocks = w->k / 32, groups = (blocks + 7) / 8, end = one ? 1 : (n + 1) & ~1;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        float32x4_t acc[QUADS][ACT_TILE];
        clear(acc, end);
        for (int g = g0; g < g1; g++) {
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++) {
                const int8_t *q = act_line(x, t0, b >> 1) + (b & 1) * 32;
                const float *xd = x->d + act_at(x, x->groups, t0, b), *sd = x->sd + act_at(x, x->groups, t0, b);
                for (int c = 0; c < QUADS; c++) {
                    int8x16_t v[8];
                    unpack(v, type, r.lo + 16 * c, r.hi + 16 * c, one);
                    float32x4_t d = scale4(type, r.d, c), m = has_m ? scale4(type, r.m, c) : d;
                    for (int t = 0; t < end; t += 2) {
                        int32x4_t s[2];
                        dots(s, v, q + 64 * t, 2, wide, one);
                        for (int i = 0; i < (one ? 1 : 2); i++) {
                            acc[c][t + i] = fold(acc[c][t + i], s[i], d, xd + t + i);
                            if (has_m) acc[c][t + i] = vfmaq_f32(acc[c][t + i], m, vld1q_dup_f32(sd + t + i));
                        }
                    }
                }
                r.lo += l.lo, r.hi += l.hi, r.d += l.d, r.m += l.m;
            }
        }
        close_segment(y, stride, acc, n, g0 == 0);
    }
}

/* --- NVFP4: the first half of a 32-block has one scale, the other another ----------------------------------- */

INLINE void panel_pair(int one, float *y, size_t stride, const struct mat *w, int p, const struct act *x, int t0, int n)
{
    const struct mat_layout l = mat_form_layout(DTYPE_NVFP4);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    int blocks = w->k / 32, groups = (blocks + 7) / 8, end = one ? 1 : (n + 1) & ~1;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        float32x4_t acc[QUADS][ACT_TILE];
        clear(acc, end);
        for (int g = g0; g < g1; g++) {
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++, r.lo += l.lo, r.d += 2 * l.d) {
                const int8_t *q = act_line(x, t0, b >> 1) + (b & 1) * 32;
                const float *xd = x->d + act_at(x, x->groups, t0, b);
                for (int c = 0; c < QUADS; c++) {
                    int8x16_t v[8];
                    unpack(v, DTYPE_NVFP4, r.lo + 16 * c, r.lo, one);
                    for (int h = 0; h < 2; h++) {
                        float32x4_t d = scale4(DTYPE_NVFP4, r.d + 32 * h, c);
                        for (int t = 0; t < end; t += 2) {
                            int32x4_t s[2];
                            dots(s, v + 4 * h, q + 64 * t + 16 * h, 1, 0, one);
                            for (int i = 0; i < (one ? 1 : 2); i++)
                                acc[c][t + i] = fold(acc[c][t + i], s[i], d, xd + t + i);
                        }
                    }
                }
            }
        }
        close_segment(y, stride, acc, n, g0 == 0);
    }
}

/* --- K-quants, A8/256 ------------------------------------------------------------------------------------- */

INLINE void panel_k256(enum dtype type, int one, float *y, size_t stride, const struct mat *w, int p,
                       const struct act *x, int t0, int n)
{
    const int has_min = type == DTYPE_Q2_K || type == DTYPE_Q4_K || type == DTYPE_Q5_K;
    const int wide = type == DTYPE_IQ4_XS || type == DTYPE_IQ2_S || type == DTYPE_IQ3_XXS;
    const struct mat_layout l = mat_form_layout(type);
    const int size = l.sub == 256 ? 16 : 32;
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    int blocks = w->k / 32, groups = (blocks + 7) / 8, end = one ? 1 : (n + 1) & ~1;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        float32x4_t acc[QUADS][ACT_TILE];
        clear(acc, end);
        for (int g = g0; g < g1; g++) {
            const int32_t *ns = x->ns + act_at(x, x->sums, t0, 16 * g);
            const float *xd = x->d + act_at(x, x->groups, t0, g);
            const struct mat_group r = mat_group(l, base, blocks, g);
            const int nb = type == DTYPE_N4 ? r.n : 8;
            for (int c = 0; c < QUADS; c++) {
                int32x4_t sum[ACT_TILE];
                for (int t = 0; t < end; t++) sum[t] = vdupq_n_s32(0);
                for (int b = 0; b < nb; b++) {
                    const int8_t *q = act_line(x, t0, 4 * g + (b >> 1)) + (b & 1) * 32;
                    int32x4_t s0 = sub4(type, r.sub, size == 16 ? 2 * b : b, c), s1 = s0;
                    if (size == 16) s1 = sub4(type, r.sub, 2 * b + 1, c);
                    int8x16_t v[8];
                    unpack(v, type, r.lo + b * l.lo + 16 * c, r.hi + b * l.hi + 16 * c, one);
                    for (int t = 0; t < end; t += 2) {
                        int32x4_t s[2], u[2];
                        dots(s, v, q + 64 * t, size / 16, wide, one);
                        if (size == 16) dots(u, v + 4, q + 64 * t + 16, 1, wide, one);
                        for (int i = 0; i < (one ? 1 : 2); i++) {
                            sum[t + i] = vmlaq_s32(sum[t + i], s[i], s0);
                            if (size == 16) sum[t + i] = vmlaq_s32(sum[t + i], u[i], s1);
                        }
                    }
                }
                float32x4_t d = scale4(type, r.d, c);
                for (int t = 0; t < end; t++) acc[c][t] = fold(acc[c][t], sum[t], d, xd + t);
                if (!has_min) continue;
                for (int t = 0; t < end; t++) sum[t] = vdupq_n_s32(0); /* minus J: the sums are stored negated */
                for (int j = 0; j < 256 / size; j++) {
                    int32x4_t v = min4(type, r.sub, r.min, j, c);
                    for (int t = 0; t < end; t++) {
                        const int32_t *s = ns + j * (size / 16 * x->tile) + t;
                        sum[t] = vmlaq_n_s32(sum[t], v, size == 16 ? s[0] : s[0] + s[x->tile]);
                    }
                }
                float32x4_t m = scale4(type, r.m, c);
                for (int t = 0; t < end; t++) acc[c][t] = fold(acc[c][t], sum[t], m, xd + t);
            }
        }
        close_segment(y, stride, acc, n, g0 == 0);
    }
}

/* --- W16, A16/256 ----------------------------------------------------------------------------------------- */

/* s[0], s[1] += 8 rows (w: one vector per k) times 8 codes */
INLINE void dot_words(int32x4_t s[2], const int16x8_t w[8], const int8_t *q)
{
    int16x8_t x = vld1q_s16((const int16_t *)(const void *)q);
#define STEP(k)                                                          \
    s[0] = vmlal_laneq_s16(s[0], vget_low_s16(w[k]), x, k);              \
    s[1] = vmlal_high_laneq_s16(s[1], w[k], x, k);
    STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)
#undef STEP
}

INLINE void panel_w16(float *y, size_t stride, const struct mat *w, int p, const struct act *x, int t0, int n)
{
    const struct mat_layout l = mat_form_layout(DTYPE_F16);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    ptrdiff_t high = x->qh - x->q;
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        float32x4_t acc[QUADS][ACT_TILE];
        clear(acc, n);
        for (int g = g0; g < g1; g++) {
            const struct mat_group r = mat_group(l, base, blocks, g);
            const float *xd = x->d + act_at(x, x->groups, t0, g);
            for (int h = 0; h < 2; h++) { /* 8 rows */
                int32x4_t sl[ACT_TILE][2], sh[ACT_TILE][2];
                for (int t = 0; t < n; t++) sl[t][0] = sl[t][1] = sh[t][0] = sh[t][1] = vdupq_n_s32(0);
                for (int j = 0; j < 4 * r.n; j++) { /* 8 codes = 4 lines */
                    const int8_t *q = act_line(x, t0, 8 * g + j / 4) + j % 4 * 16;
                    int16x8_t v[8];
#pragma GCC unroll 4
                    for (int i = 0; i < 4; i++) {
                        int16x8x2_t u = vld2q_s16((const int16_t *)(const void *)(r.lo + 256 * j + 64 * i + 32 * h));
                        v[2 * i] = u.val[0], v[2 * i + 1] = u.val[1];
                    }
                    for (int t = 0; t < n; t++) {
                        dot_words(sl[t], v, q + 64 * t);
                        dot_words(sh[t], v, q + high + 64 * t);
                    }
                }
                for (int t = 0; t < n; t++) {
#pragma GCC unroll 2
                    for (int i = 0; i < 2; i++) {
                        float32x4_t d = vld1q_f32((const float *)(const void *)(r.d + 32 * h + 16 * i));
                        float32x4_t s =
                            vfmaq_f32(vcvtq_f32_s32(sl[t][i]), vcvtq_f32_s32(sh[t][i]), vdupq_n_f32(256.0f));
                        acc[2 * h + i][t] = vfmaq_f32(acc[2 * h + i][t], s, vmulq_f32(d, vld1q_dup_f32(xd + t)));
                    }
                }
            }
        }
        close_segment(y, stride, acc, n, g0 == 0);
    }
}

/* --- Q8_0, A16/256 ---------------------------------------------------------------------------------------- */

INLINE void panel_q8_a16(float *y, size_t stride, const struct mat *w, int p, const struct act *x, int t0, int n)
{
    const struct mat_layout l = mat_form_layout(DTYPE_Q8_0);
    uint8_t *base = w->data + (size_t)p * w->panel_bytes;
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int g0 = 0; g0 < groups; g0 += SEGMENT / 256) {
        int g1 = g0 + SEGMENT / 256 < groups ? g0 + SEGMENT / 256 : groups;
        float32x4_t acc[QUADS][ACT_TILE];
        clear(acc, n);
        for (int g = g0; g < g1; g++) {
            float32x4_t sum[QUADS][ACT_TILE];
            clear(sum, n);
            struct mat_group r = mat_group(l, base, blocks, g);
            for (int b = 8 * g; b < 8 * g + r.n; b++, r.lo += l.lo, r.d += l.d) {
                for (int h = 0; h < 2; h++) { /* 8 rows */
                    int32x4_t s[ACT_TILE][2];
                    for (int t = 0; t < n; t++) s[t][0] = s[t][1] = vdupq_n_s32(0);
                    /* 8 codes = 2 lines; codes of four in the order of the activations: 0 2 1 3 */
                    for (int j = 0; j < 4; j++) {
                        const int8_t *q = act_line(x, t0, b) + 16 * j;
                        int16x8_t v[8];
#pragma GCC unroll 2
                        for (int i = 0; i < 2; i++) {
                            uint8x8x4_t u = vld4_u8(r.lo + 128 * j + 64 * i + 32 * h);
                            const uint8x8_t k[4] = {u.val[0], u.val[2], u.val[1], u.val[3]};
#pragma GCC unroll 4
                            for (int m = 0; m < 4; m++)
                                v[4 * i + m] = vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(k[m])), vdupq_n_s16(128));
                        }
                        for (int t = 0; t < n; t++) dot_words(s[t], v, q + 64 * t);
                    }
                    for (int t = 0; t < n; t++)
                        for (int i = 0; i < 2; i++)
                            sum[2 * h + i][t] = vfmaq_f32(sum[2 * h + i][t], vcvtq_f32_s32(s[t][i]),
                                                          scale4(DTYPE_Q8_0, r.d, 2 * h + i));
                }
            }
            for (int t = 0; t < n; t++)
                for (int i = 0; i < QUADS; i++)
                    acc[i][t] = vfmaq_f32(acc[i][t], sum[i][t],
                                          vld1q_dup_f32(x->d + act_at(x, x->groups, t0, g) + (size_t)t));
        }
        close_segment(y, stride, acc, n, g0 == 0);
    }
}

/* --- instances: type x (one token, a tile) ------------------------------------------------------------------ */

typedef void panel_fn(float *y, size_t stride, const struct mat *w, int p, const struct act *x, int t0, int n);

#define INSTANCE(name, call)                                                                              \
    static void panel_##name(float *y, size_t stride, const struct mat *w, int p, const struct act *x,    \
                             int t0, int n)                                                               \
    {                                                                                                     \
        call;                                                                                             \
    }
#define BLOCK32(type, m)                                                                    \
    INSTANCE(type##_1, panel_block32(DTYPE_##type, 1, m, y, stride, w, p, x, t0, n))        \
    INSTANCE(type##_16, panel_block32(DTYPE_##type, 0, m, y, stride, w, p, x, t0, n))
#define K256(type)                                                                 \
    INSTANCE(type##_1, panel_k256(DTYPE_##type, 1, y, stride, w, p, x, t0, n))     \
    INSTANCE(type##_16, panel_k256(DTYPE_##type, 0, y, stride, w, p, x, t0, n))

BLOCK32(Q4_0, 0)
BLOCK32(Q4_1, 1)
BLOCK32(Q5_0, 0)
BLOCK32(Q5_1, 1)
BLOCK32(Q8_0, 0)
BLOCK32(IQ4_NL, 0)
BLOCK32(MXFP4, 0)
K256(Q2_K)
K256(Q3_K)
K256(Q4_K)
K256(Q5_K)
K256(Q6_K)
K256(IQ4_XS)
K256(N4)
BLOCK32(Q2_0, 0)
K256(IQ1_M)
K256(IQ2_S)
K256(IQ3_XXS)
K256(IQ3_S)
INSTANCE(NVFP4_1, panel_pair(1, y, stride, w, p, x, t0, n))
INSTANCE(NVFP4_16, panel_pair(0, y, stride, w, p, x, t0, n))
INSTANCE(W16, panel_w16(y, stride, w, p, x, t0, n))
INSTANCE(Q8_A16, panel_q8_a16(y, stride, w, p, x, t0, n))

static panel_fn *instance(enum dtype type, enum act_tier tier, int n)
{
#define ROW(type) [DTYPE_##type] = {panel_##type##_1, panel_##type##_16}
    static panel_fn *const table[][2] = {
        ROW(Q4_0),
        ROW(Q4_1),
        ROW(Q5_0),
        ROW(Q5_1),
        ROW(Q8_0),
        ROW(IQ4_NL),
        ROW(MXFP4),
        ROW(Q2_K),
        ROW(Q3_K),
        ROW(Q4_K),
        ROW(Q5_K),
        ROW(Q6_K),
        ROW(IQ4_XS),
        ROW(N4),
        ROW(Q2_0),
        ROW(NVFP4),
        ROW(IQ1_M),
        ROW(IQ2_S),
        ROW(IQ3_XXS),
        ROW(IQ3_S),
        [DTYPE_F32] = {panel_W16, panel_W16},
        [DTYPE_F16] = {panel_W16, panel_W16},
        [DTYPE_BF16] = {panel_W16, panel_W16},
    };
    return tier == ACT_A16_W8 ? panel_Q8_A16 : table[type][n > 1];
}

matmul_fn MATMUL_NAME;
void MATMUL_NAME(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x, int t0, int n_tok)
{
    /* Panels of a block stay in the L2 cache while all tiles of tokens pass; a tile of activations stays in L1. */
    int block = (int)(BLOCK_BYTES / w->panel_bytes);
    if (block < 1) block = 1;
    for (int b = p0; b < p1; b += block) {
        int end = b + block < p1 ? b + block : p1;
        for (int t = 0; t < n_tok; t += ACT_TILE) {
            int n = n_tok - t < ACT_TILE ? n_tok - t : ACT_TILE;
            panel_fn *fn = instance(w->type, x->tier, n);
            for (int p = b; p < end; p++)
                fn(y + (size_t)(t0 + t) * stride + (size_t)p * PANEL, stride, w, p, x, t0 + t, n);
        }
    }
}
