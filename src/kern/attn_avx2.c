/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_avx2.c: the integer sums of attention with AVX2 (attn.h).
 *
 * As attn_avx512.c, with half a line (8 lanes) at a time and vpmaddwd + vpaddd in place of vpdpwssd. vpmaddwd
 * adds two products of words; it is exact because no word of the tile's side is -32768: of 16-bit codes it
 * holds hi in -128..127 or lo in 0..255, of 8-bit codes the codes of q (-32767..32767) or P (0..32767).
 *
 * 16-bit codes: 4 instructions per 8 lanes, 2 words and row, so at most 8 products per cycle with two vector
 * multipliers, half of what fp32 FMA would do. 8-bit codes: 4 per 8 lanes, 4 bytes and row, 16 products.
 */
#include <immintrin.h>

#include "kern/attn_body.h"

#define INLINE static inline __attribute__((always_inline))

/* Not __m256i: gcc 12 copies accumulators in each step where the types differ. */
typedef int32_t sum8 __attribute__((vector_size(32)));

INLINE sum8 dot2(sum8 sum, __m256i x, __m256i y)
{
    return sum + (sum8)_mm256_madd_epi16(x, y);
}

INLINE __m256i pair(const int16_t *p)
{
    int32_t u;
    memcpy(&u, p, sizeof u);
    return _mm256_set1_epi32(u);
}

/* NR rows times NG half-groups: half-group g is at x + (g / 2) * group + (g % 2) * 16 words; see attn_body.h.
 */
INLINE void block16(int NR, int NG, const int16_t *x, size_t group, size_t line, int steps, const int16_t *a,
                    const int16_t *b, size_t row, float *out, size_t stride)
{
    sum8 hi[2][4], lo[2][4];
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) hi[r][g] = lo[r][g] = (sum8){0};
    }
    for (int s = 0; s < steps; s++) {
        __m256i k[4];
        for (int g = 0; g < NG; g++) {
            const int16_t *at = x + (size_t)(g / 2) * group + (size_t)s * line + g % 2 * 16;
            k[g] = _mm256_loadu_si256((const __m256i *)(const void *)at);
        }
        for (int r = 0; r < NR; r++) {
            __m256i ha = pair(a + (size_t)r * row + 2 * s), la = pair(b + (size_t)r * row + 2 * s);
            for (int g = 0; g < NG; g++) {
                hi[r][g] = dot2(hi[r][g], k[g], ha);
                lo[r][g] = dot2(lo[r][g], k[g], la);
            }
        }
    }
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) {
            __m256 y = _mm256_fmadd_ps(_mm256_cvtepi32_ps((__m256i)hi[r][g]), _mm256_set1_ps(256.0f),
                                       _mm256_cvtepi32_ps((__m256i)lo[r][g]));
            _mm256_storeu_ps(out + (size_t)r * stride + g * 8, y);
        }
    }
}

INLINE void block8(int NR, int NG, const int8_t *x, size_t group, size_t line, int steps, const int16_t *a,
                   size_t row, float *out, size_t stride)
{
    sum8 sum[4][4];
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) sum[r][g] = (sum8){0};
    }
    for (int s = 0; s < steps; s++) {
        __m256i even[4], odd[4];
        for (int g = 0; g < NG; g++) {
            const int8_t *at = x + (size_t)(g / 2) * group + (size_t)s * line + g % 2 * 32;
            __m256i k = _mm256_loadu_si256((const __m256i *)(const void *)at);
            even[g] = _mm256_srai_epi16(_mm256_slli_epi16(k, 8), 8);
            odd[g] = _mm256_srai_epi16(k, 8);
        }
        for (int r = 0; r < NR; r++) {
            __m256i p = pair(a + (size_t)r * row + 4 * s), o = pair(a + (size_t)r * row + 4 * s + 2);
            for (int g = 0; g < NG; g++) sum[r][g] = dot2(dot2(sum[r][g], even[g], p), odd[g], o);
        }
    }
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) {
            _mm256_storeu_ps(out + (size_t)r * stride + g * 8, _mm256_cvtepi32_ps((__m256i)sum[r][g]));
        }
    }
}

/* n rows times n_groups groups, in the blocks that fit 16 registers. */
static void product16(int n, int n_groups, const int16_t *x, size_t group, size_t line, int steps,
                      const int16_t *a, const int16_t *b, size_t row, float *out, size_t stride,
                      struct attn_ahead *ahead)
{
    if (ahead) attn_ahead_fetch(ahead, (size_t)n_groups * (size_t)steps * 64);
    int r = 0;
    for (; r + 2 <= n; r += 2, a += 2 * row, b += 2 * row, out += 2 * stride) {
        for (int g = 0; g < n_groups; g++) {
            block16(2, 2, x + (size_t)g * group, group, line, steps, a, b, row, out + g * 16, stride);
        }
    }
    if (r < n) {
        for (int g = 0; g < n_groups; g++) {
            block16(1, 2, x + (size_t)g * group, group, line, steps, a, b, row, out + g * 16, stride);
        }
    }
}

static void product8(int n, int n_groups, const int8_t *x, size_t group, size_t line, int steps,
                     const int16_t *a, size_t row, float *out, size_t stride, struct attn_ahead *ahead)
{
    if (ahead) attn_ahead_fetch(ahead, (size_t)n_groups * (size_t)steps * 64);
    for (int nr; n > 0; n -= nr, a += (size_t)nr * row, out += (size_t)nr * stride) {
        nr = n < 4 ? n : 4;
        for (int g = 0; g < n_groups; g++) {
            const int8_t *at = x + (size_t)g * group;
            switch (nr) {
            case 1:
                block8(1, 2, at, group, line, steps, a, row, out + g * 16, stride);
                break;
            case 2:
                block8(2, 2, at, group, line, steps, a, row, out + g * 16, stride);
                break;
            case 3:
                block8(3, 2, at, group, line, steps, a, row, out + g * 16, stride);
                break;
            default:
                block8(4, 2, at, group, line, steps, a, row, out + g * 16, stride);
                break;
            }
        }
    }
}

INLINE float max8(__m256 x)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

INLINE int32_t add8(__m256i x)
{
    __m128i m = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* attn_softmax of attn_body.h, W vectors in step so that the chain of exp does not wait for itself. */
#define W 2
#define EACH for (int i = 0; i < W; i++)

/* One vector of scores; masked ones become -inf. */
INLINE __m256 scores8(float *s, const float *dk, __m256 scale, __m256i at, int lo, int hi)
{
    const __m256 none = _mm256_set1_ps(f32_from_bits(ATTN_NEG_INF));
    __m256i masked = _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(lo), at),
                                     _mm256_cmpgt_epi32(at, _mm256_set1_epi32(hi)));
    __m256 x = _mm256_mul_ps(_mm256_loadu_ps(s), _mm256_mul_ps(scale, _mm256_loadu_ps(dk)));
    x = _mm256_blendv_ps(x, none, _mm256_castsi256_ps(masked));
    _mm256_storeu_ps(s, x);
    return x;
}

/* Returns the sum of rne(p * 2^23) of W * 8 keys; P goes to a, b as the products want it: two planes, or of
 * each four the order 0 2 1 3. */
INLINE __m256i weights_step(int planes, const float *s, const float *dv, float m, float t, int16_t *a,
                            int16_t *b)
{
    const __m256 vm = _mm256_set1_ps(m), vt = _mm256_set1_ps(t), lo = _mm256_set1_ps(ARITH_F32(EXP_MIN));
    const __m256 big = _mm256_set1_ps(8388608.0f), magic = _mm256_set1_ps(12582912.0f);
    const __m256i unbig = _mm256_set1_epi32(0x4b000000);
    /* of each lane's four dwords: the high bytes as words, then the low bytes; or the words 0 2 1 3 */
    const __m256i pick = _mm256_broadcastsi128_si256(
        planes ? _mm_setr_epi8(1, -1, 5, -1, 9, -1, 13, -1, 0, -1, 4, -1, 8, -1, 12, -1)
               : _mm_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
    __m256 x[W], c[W], n[W], k[W], u[W], r[W], h[W], w[W];
    __m256i l[W], p[W], sum = _mm256_setzero_si256();

    /* exp32 of mathf.h; x <= 0, so that its upper clamp is not needed */
    EACH x[i] = _mm256_sub_ps(_mm256_loadu_ps(s + i * 8), vm);
    EACH c[i] = _mm256_max_ps(x[i], lo);
    EACH n[i] = _mm256_mul_ps(c[i], _mm256_set1_ps(ARITH_F32(LOG2E)));
    EACH k[i] = _mm256_add_ps(n[i], magic);
    EACH n[i] = _mm256_sub_ps(k[i], magic);
    EACH c[i] = _mm256_fnmadd_ps(n[i], _mm256_set1_ps(ARITH_F32(LN2_HI)), c[i]);
    EACH u[i] = _mm256_mul_ps(n[i], _mm256_set1_ps(-ARITH_F32(LN2_LO)));
    EACH r[i] = _mm256_add_ps(c[i], u[i]);
    EACH h[i] = _mm256_fmadd_ps(_mm256_set1_ps(ARITH_F32(EXP_C4)), r[i], _mm256_set1_ps(ARITH_F32(EXP_C3)));
    EACH h[i] = _mm256_fmadd_ps(h[i], r[i], _mm256_set1_ps(ARITH_F32(EXP_C2)));
    EACH h[i] = _mm256_fmadd_ps(h[i], r[i], _mm256_set1_ps(ARITH_F32(EXP_C1)));
    EACH h[i] = _mm256_fmadd_ps(h[i], r[i], _mm256_set1_ps(ARITH_F32(EXP_C0)));
    EACH h[i] = _mm256_fmadd_ps(_mm256_mul_ps(r[i], r[i]), h[i], u[i]);
    EACH h[i] = _mm256_add_ps(_mm256_set1_ps(1.0f), _mm256_add_ps(c[i], h[i]));
    /* k = 1.5 * 2^23 + n, whose low nine bits are n; 0x3f800000 is 1.0; the product is exact, a normal number
     */
    EACH p[i] = _mm256_slli_epi32(_mm256_castps_si256(k[i]), 23);
    EACH p[i] = _mm256_add_epi32(p[i], _mm256_set1_epi32(0x3f800000));
    EACH h[i] = _mm256_mul_ps(h[i], _mm256_castsi256_ps(p[i]));
    EACH h[i] = _mm256_and_ps(_mm256_cmp_ps(x[i], lo, _CMP_GT_OQ), h[i]);

    EACH l[i] = _mm256_castps_si256(_mm256_fmadd_ps(h[i], big, big)); /* 2^23 h is exact, so one rounding */
    EACH sum = _mm256_add_epi32(sum, _mm256_sub_epi32(l[i], unbig));
    EACH w[i] = _mm256_mul_ps(_mm256_mul_ps(h[i], _mm256_loadu_ps(dv + i * 8)), vt);
    EACH p[i] = _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(w[i], big)), unbig);
    EACH p[i] = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(p[i], pick), 0xd8); /* quadwords 0 2 1 3 */
    EACH _mm_storeu_si128((__m128i *)(void *)(a + i * 8), _mm256_castsi256_si128(p[i]));
    if (planes) {
        EACH _mm_storeu_si128((__m128i *)(void *)(b + i * 8), _mm256_extracti128_si256(p[i], 1));
    }
    return sum;
}

/* All maxima first: the way from a row's scores to its maximum is long and would be waited for. */
INLINE unsigned weigh(int planes, const struct attn_q *q, const float *dqs, const struct kv_view *view, unsigned live,
                      const int *lo, const int *hi, float *I, int16_t *A, int16_t *B, void *parts)
{
    float m[ATTN_ROWS];
    for (int r = 0; r < q->n; r++) {
        if (!(live >> r & 1)) continue;
        __m256 scale = _mm256_set1_ps(dqs[r]), top = _mm256_set1_ps(f32_from_bits(ATTN_NEG_INF));
        __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        for (int j = 0; j < ATTN_CHUNK; j += 8) {
            top = _mm256_max_ps(top, scores8(I + r * ATTN_CHUNK + j, view->dk + j, scale, at, lo[r], hi[r]));
            at = _mm256_add_epi32(at, _mm256_set1_epi32(8));
        }
        m[r] = max8(top) + 0.0f;
        if (!attn_header(attn_part_at(parts, q->D, r), m[r])) live &= ~(1u << r);
    }
    for (int r = 0; r < q->n; r++) {
        if (!(live >> r & 1)) continue;
        struct attn_part *part = attn_part_at(parts, q->D, r);
        const float *s = I + r * ATTN_CHUNK;
        int16_t *a = A + r * ATTN_CHUNK, *b = B + r * ATTN_CHUNK;
        float v = view->pm[hi[r]], t = attn_p_scale(v);
        __m256i l = _mm256_setzero_si256();
        for (int j = 0; j < ATTN_CHUNK; j += W * 8) {
            l = _mm256_add_epi32(l, weights_step(planes, s + j, view->dv + j, m[r], t, a + j, b + j));
        }
        part->l = (float)add8(l);
        part->sv = v / 32767.0f;
    }
    return live;
}

#undef EACH
#undef W

static unsigned weights8(const struct attn_q *q, const float *dqs, const struct kv_view *view, unsigned live,
                         const int *lo, const int *hi, float *I, int16_t *A, int16_t *B, void *parts)
{
    return q->type == KV16 ? weigh(1, q, dqs, view, live, lo, hi, I, A, B, parts)
                           : weigh(0, q, dqs, view, live, lo, hi, I, A, B, parts);
}

/* Strides below 8 inside a vector: the upper one of a pair gets lower - upper. */
static void hadamard8(float *x, int D)
{
    for (int i = 0; i < D; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i), y = _mm256_permute_ps(v, 0xb1);
        v = _mm256_blend_ps(_mm256_add_ps(v, y), _mm256_sub_ps(y, v), 0xaa);
        y = _mm256_permute_ps(v, 0x4e);
        v = _mm256_blend_ps(_mm256_add_ps(v, y), _mm256_sub_ps(y, v), 0xcc);
        y = _mm256_permute2f128_ps(v, v, 0x01);
        v = _mm256_blend_ps(_mm256_add_ps(v, y), _mm256_sub_ps(y, v), 0xf0);
        _mm256_storeu_ps(x + i, v);
    }
    for (int h = 8; h < D; h *= 2) {
        for (int i = 0; i < D; i += 2 * h) {
            for (int j = i; j < i + h; j += 8) {
                __m256 a = _mm256_loadu_ps(x + j), b = _mm256_loadu_ps(x + j + h);
                _mm256_storeu_ps(x + j, _mm256_add_ps(a, b));
                _mm256_storeu_ps(x + j + h, _mm256_sub_ps(a, b));
            }
        }
    }
}

static void chunk_avx2(const struct kv_view *view, const struct attn_q *q, const int *lo, const int *hi,
                       void *parts)
{
    attn_tile(view, q, lo, hi, parts, product16, product8, weights8);
}

const struct attn_kern attn_kern_avx2 = {
    .name = "avx2",
    .store = attn_store_body,
    .quant_q = attn_quant_q_body,
    .hadamard = hadamard8,
    .chunk = chunk_avx2,
    .merge_chunk = attn_merge_chunk_body,
    .merge_super = attn_merge_super_body,
    .finish = attn_finish_body,
};
