/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_neon.c: the integer sums of attention with plain NEON, any aarch64 (attn.h).
 *
 * vld2q and vld4q take a line apart into one vector per word or byte of a lane (a key for Q*K, a dimension
 * for P*V), then smlal by an element of the tile's side adds four exact products per instruction: 2 effective
 * ones for 16-bit codes (two planes), 4 for 8-bit codes.
 */
#include <arm_neon.h>

#include "kern/attn_body.h"

#define INLINE static inline __attribute__((always_inline))

/* product16 of attn_body.h for NR rows and half a group (8 lanes). */
INLINE void block16(int NR, const int16_t *x, size_t line, int steps, const int16_t *a, const int16_t *b,
                    size_t row, float *out, size_t stride)
{
    int32x4_t hi[4][2], lo[4][2];
    for (int r = 0; r < NR; r++) {
        for (int h = 0; h < 2; h++) hi[r][h] = lo[r][h] = vdupq_n_s32(0);
    }
    for (int s = 0; s < steps; s++) {
        int16x8x2_t k = vld2q_s16(x + (size_t)s * line);
        for (int r = 0; r < NR; r++) {
            const int16_t *ar = a + (size_t)r * row + 2 * s, *br = b + (size_t)r * row + 2 * s;
            for (int i = 0; i < 2; i++) {
                hi[r][0] = vmlal_n_s16(hi[r][0], vget_low_s16(k.val[i]), ar[i]);
                hi[r][1] = vmlal_n_s16(hi[r][1], vget_high_s16(k.val[i]), ar[i]);
                lo[r][0] = vmlal_n_s16(lo[r][0], vget_low_s16(k.val[i]), br[i]);
                lo[r][1] = vmlal_n_s16(lo[r][1], vget_high_s16(k.val[i]), br[i]);
            }
        }
    }
    for (int r = 0; r < NR; r++) {
        for (int h = 0; h < 2; h++) {
            float32x4_t y = vfmaq_f32(vcvtq_f32_s32(lo[r][h]), vcvtq_f32_s32(hi[r][h]), vdupq_n_f32(256.0f));
            vst1q_f32(out + (size_t)r * stride + h * 4, y);
        }
    }
}

/* product8 of attn_body.h for NR rows and a group. */
INLINE void block8(int NR, const int8_t *x, size_t line, int steps, const int16_t *a, size_t row, float *out,
                   size_t stride)
{
    int32x4_t sum[4][4];
    for (int r = 0; r < NR; r++) {
        for (int h = 0; h < 4; h++) sum[r][h] = vdupq_n_s32(0);
    }
    for (int s = 0; s < steps; s++) {
        int8x16x4_t k = vld4q_s8(x + (size_t)s * line);
        for (int i = 0; i < 4; i++) {
            int16x8_t k0 = vmovl_s8(vget_low_s8(k.val[i])), k1 = vmovl_s8(vget_high_s8(k.val[i]));
            int at = 4 * s + (i == 1 ? 2 : i == 2 ? 1 : i); /* a has the order 0 2 1 3 */
            for (int r = 0; r < NR; r++) {
                int16_t y = a[(size_t)r * row + (size_t)at];
                sum[r][0] = vmlal_n_s16(sum[r][0], vget_low_s16(k0), y);
                sum[r][1] = vmlal_n_s16(sum[r][1], vget_high_s16(k0), y);
                sum[r][2] = vmlal_n_s16(sum[r][2], vget_low_s16(k1), y);
                sum[r][3] = vmlal_n_s16(sum[r][3], vget_high_s16(k1), y);
            }
        }
    }
    for (int r = 0; r < NR; r++) {
        for (int h = 0; h < 4; h++) vst1q_f32(out + (size_t)r * stride + h * 4, vcvtq_f32_s32(sum[r][h]));
    }
}

static void product16(int n, int n_groups, const int16_t *x, size_t group, size_t line, int steps,
                      const int16_t *a, const int16_t *b, size_t row, float *out, size_t stride,
                      struct attn_ahead *ahead)
{
    if (ahead) attn_ahead_fetch(ahead, (size_t)n_groups * (size_t)steps * 64);
    int r = 0;
    for (; r + 4 <= n; r += 4, a += 4 * row, b += 4 * row, out += 4 * stride) {
        for (int g = 0; g < 2 * n_groups; g++) {
            block16(4, x + (size_t)(g / 2) * group + g % 2 * 16, line, steps, a, b, row, out + g * 8, stride);
        }
    }
    for (; r < n; r++, a += row, b += row, out += stride) {
        for (int g = 0; g < 2 * n_groups; g++) {
            block16(1, x + (size_t)(g / 2) * group + g % 2 * 16, line, steps, a, b, row, out + g * 8, stride);
        }
    }
}

static void product8(int n, int n_groups, const int8_t *x, size_t group, size_t line, int steps,
                     const int16_t *a, size_t row, float *out, size_t stride, struct attn_ahead *ahead)
{
    if (ahead) attn_ahead_fetch(ahead, (size_t)n_groups * (size_t)steps * 64);
    int r = 0;
    for (; r + 4 <= n; r += 4, a += 4 * row, out += 4 * stride) {
        for (int g = 0; g < n_groups; g++) {
            block8(4, x + (size_t)g * group, line, steps, a, row, out + g * 16, stride);
        }
    }
    for (; r < n; r++, a += row, out += stride) {
        for (int g = 0; g < n_groups; g++) {
            block8(1, x + (size_t)g * group, line, steps, a, row, out + g * 16, stride);
        }
    }
}

/* exp32 of mathf.h in 4 lanes. */
INLINE float32x4_t exp4(float32x4_t x)
{
    const float32x4_t lo = vdupq_n_f32(ARITH_F32(EXP_MIN)), magic = vdupq_n_f32(12582912.0f);
    float32x4_t c = vminq_f32(vmaxq_f32(x, lo), vdupq_n_f32(ARITH_F32(EXP_MAX)));
    float32x4_t t = vaddq_f32(vmulq_f32(c, vdupq_n_f32(ARITH_F32(LOG2E))), magic), n = vsubq_f32(t, magic);
    float32x4_t a = vfmsq_f32(c, n, vdupq_n_f32(ARITH_F32(LN2_HI)));
    float32x4_t b = vmulq_f32(n, vdupq_n_f32(-ARITH_F32(LN2_LO))), r = vaddq_f32(a, b);
    float32x4_t h = vfmaq_f32(vdupq_n_f32(ARITH_F32(EXP_C3)), vdupq_n_f32(ARITH_F32(EXP_C4)), r);
    h = vfmaq_f32(vdupq_n_f32(ARITH_F32(EXP_C2)), h, r);
    h = vfmaq_f32(vdupq_n_f32(ARITH_F32(EXP_C1)), h, r);
    h = vfmaq_f32(vdupq_n_f32(ARITH_F32(EXP_C0)), h, r);
    h = vfmaq_f32(b, vmulq_f32(r, r), h);
    h = vaddq_f32(vdupq_n_f32(1.0f), vaddq_f32(a, h));
    /* t = 1.5 * 2^23 + n, whose low nine bits are n; 0x3f800000 is 1.0 */
    int32x4_t p = vaddq_s32(vshlq_n_s32(vreinterpretq_s32_f32(t), 23), vdupq_n_s32(0x3f800000));
    h = vmulq_f32(h, vreinterpretq_f32_s32(p)); /* exact: the result is normal */
    return vreinterpretq_f32_u32(vandq_u32(vcgtq_f32(x, lo), vreinterpretq_u32_f32(h)));
}

/* attn_softmax of attn_body.h in 4 lanes, P as the products want it. */
INLINE int softmax4(int planes, float *s, float dqs, const struct kv_view *view, int lo, int hi, int16_t *a,
                    int16_t *b, struct attn_part *part)
{
    static const int32_t first[4] = {0, 1, 2, 3};
    const float32x4_t none = vdupq_n_f32(f32_from_bits(ATTN_NEG_INF)), magic = vdupq_n_f32(8388608.0f);
    const int32x4_t lane = vld1q_s32(first), unmagic = vdupq_n_s32(0x4b000000);
    int j0 = lo / 16 * 16, j1 = (hi / 16 + 1) * 16;
    float32x4_t top = none;
    for (int j = j0; j < j1; j += 4) {
        int32x4_t at = vaddq_s32(lane, vdupq_n_s32(j));
        uint32x4_t seen = vandq_u32(vcgeq_s32(at, vdupq_n_s32(lo)), vcleq_s32(at, vdupq_n_s32(hi)));
        float32x4_t x = vmulq_f32(vld1q_f32(s + j), vmulq_f32(vdupq_n_f32(dqs), vld1q_f32(view->dk + j)));
        x = vbslq_f32(seen, x, none);
        vst1q_f32(s + j, x);
        top = vmaxq_f32(top, x);
    }
    float m = vmaxvq_f32(top) + 0.0f;

    memset(a, 0, ATTN_CHUNK * sizeof *a);
    if (planes) memset(b, 0, ATTN_CHUNK * sizeof *b);
    if (!attn_header(part, m)) return 0;

    float v = view->pm[hi];
    const float32x4_t vm = vdupq_n_f32(m), vt = vdupq_n_f32(attn_p_scale(v));
    int32x4_t sum = vdupq_n_s32(0);
    for (int j = j0; j < j1; j += 4) {
        float32x4_t p = exp4(vsubq_f32(vld1q_f32(s + j), vm));
        /* 2^23 p is exact, so one rounding */
        int32x4_t l = vreinterpretq_s32_f32(vfmaq_f32(magic, p, magic));
        sum = vaddq_s32(sum, vsubq_s32(l, unmagic));
        float32x4_t w = vmulq_f32(vmulq_f32(p, vld1q_f32(view->dv + j)), vt);
        int16x4_t P = vmovn_s32(vsubq_s32(vreinterpretq_s32_f32(vaddq_f32(w, magic)), unmagic));
        if (planes) {
            vst1_s16(a + j, vshr_n_s16(P, 8));
            vst1_s16(b + j, vand_s16(P, vdup_n_s16(255)));
        } else {
            vst1_s16(a + j, P);
            int16_t swap = a[j + 1];
            a[j + 1] = a[j + 2];
            a[j + 2] = swap;
        }
    }
    part->l = (float)vaddvq_s32(sum);
    part->sv = v / 32767.0f;
    return 1;
}

static unsigned weights4(const struct attn_q *q, const float *dqs, const struct kv_view *view, unsigned live,
                         const int *lo, const int *hi, float *I, int16_t *A, int16_t *B, void *parts)
{
    for (int r = 0; r < q->n; r++) {
        if (!(live >> r & 1)) continue;
        float *s = I + r * ATTN_CHUNK;
        int16_t *a = A + r * ATTN_CHUNK, *b = B + r * ATTN_CHUNK;
        struct attn_part *part = attn_part_at(parts, q->D, r);
        int fine = q->type == KV16 ? softmax4(1, s, dqs[r], view, lo[r], hi[r], a, b, part)
                                   : softmax4(0, s, dqs[r], view, lo[r], hi[r], a, b, part);
        if (!fine) live &= ~(1u << r);
    }
    return live;
}

static void chunk_neon(const struct kv_view *view, const struct attn_q *q, const int *lo, const int *hi,
                       void *parts)
{
    attn_tile(view, q, lo, hi, parts, product16, product8, weights4);
}

const struct attn_kern attn_kern_neon = {
    .name = "neon",
    .store = attn_store_body,
    .quant_q = attn_quant_q_body,
    .hadamard = attn_hadamard_body,
    .chunk = chunk_neon,
    .merge_chunk = attn_merge_chunk_body,
    .merge_super = attn_merge_super_body,
    .finish = attn_finish_body,
};
