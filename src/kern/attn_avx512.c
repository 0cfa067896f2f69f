/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_avx512.c: the integer sums of attention with AVX-512 VNNI (attn.h).
 *
 * Both products have one shape: lines of 64 bytes (16 lanes x 4 bytes of reduction) against dwords of the
 * tile's side, broadcast from memory. Lanes are keys for Q*K and dimensions for P*V.
 *
 *   16-bit codes  a dword is a pair of words of one plane: two vpdpwssd (hi and lo) per line and row
 *   8-bit codes   a line is split once into words, bytes 0 and 2 of each lane, then 1 and 3: two vpdpwssd
 *                 into one sum per line and row. vpdpbusd on byte planes would need as many instructions,
 *                 two sums per row, and a correction by the sum of the codes.
 *
 * A block is NR rows times NG groups of lanes in NR*NG*planes <= 16 registers: enough to hide the four cycles
 * of vpdpwssd at two per cycle, few enough that nothing is spilled; each broadcast serves NG of them.
 */
#include <immintrin.h>

#include "kern/attn_body.h"

#define INLINE static inline __attribute__((always_inline))

/* Sums are kept in this type, not in __m512i (eight 64-bit integers): gcc 12 copies every accumulator to
 * another register and back in each step where the types differ, which costs a quarter of the speed. */
typedef int32_t sum16 __attribute__((vector_size(64)));

/* sum + the two products of words in each dword */
INLINE sum16 dot2(sum16 sum, __m512i x, __m512i y)
{
    return (sum16)_mm512_dpwssd_epi32((__m512i)sum, x, y);
}

INLINE __m512i pair(const int16_t *p)
{
    int32_t u;
    memcpy(&u, p, sizeof u);
    return _mm512_set1_epi32(u);
}

/* product16 of attn_body.h for a block. */
INLINE void block16(int NR, int NG, const int16_t *x, size_t group, size_t line, int steps, const int16_t *a,
                    const int16_t *b, size_t row, float *out, size_t stride, const char *ahead)
{
    /* the prefetch has no branch: without `ahead` it names a line that is there */
    size_t hop = ahead ? 64 : 0;
    if (!ahead) ahead = (const char *)x;
    sum16 hi[4][8], lo[4][8];
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) hi[r][g] = lo[r][g] = (sum16){0};
    }
    for (int s = 0; s < steps; s++) {
        __m512i k[8];
        for (int g = 0; g < NG; g++) {
            const int16_t *at = x + (size_t)g * group + (size_t)s * line;
            k[g] = _mm512_loadu_si512(at);
            _mm_prefetch(ahead + ((size_t)s * (size_t)NG + (size_t)g) * hop, _MM_HINT_T0);
        }
        for (int r = 0; r < NR; r++) {
            __m512i ha = pair(a + (size_t)r * row + 2 * s), la = pair(b + (size_t)r * row + 2 * s);
            for (int g = 0; g < NG; g++) {
                hi[r][g] = dot2(hi[r][g], k[g], ha);
                lo[r][g] = dot2(lo[r][g], k[g], la);
            }
        }
    }
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) {
            __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)hi[r][g]), _mm512_set1_ps(256.0f),
                                       _mm512_cvtepi32_ps((__m512i)lo[r][g]));
            _mm512_storeu_ps(out + (size_t)r * stride + g * 16, y);
        }
    }
}

/* product8 of attn_body.h for a block. */
INLINE void block8(int NR, int NG, const int8_t *x, size_t group, size_t line, int steps, const int16_t *a,
                   size_t row, float *out, size_t stride, const char *ahead)
{
    /* the prefetch has no branch: without `ahead` it names a line that is there */
    size_t hop = ahead ? 64 : 0;
    if (!ahead) ahead = (const char *)x;
    sum16 sum[8][8], sum2[8][8];
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) sum[r][g] = sum2[r][g] = (sum16){0};
    }
    for (int s = 0; s < steps; s++) {
        __m512i even[8], odd[8];
        for (int g = 0; g < NG; g++) {
            const int8_t *at = x + (size_t)g * group + (size_t)s * line;
            __m512i k = _mm512_loadu_si512(at);
            _mm_prefetch(ahead + ((size_t)s * (size_t)NG + (size_t)g) * hop, _MM_HINT_T0);
            even[g] = _mm512_srai_epi16(_mm512_slli_epi16(k, 8), 8);
            odd[g] = _mm512_srai_epi16(k, 8);
        }
        for (int r = 0; r < NR; r++) {
            __m512i p = pair(a + (size_t)r * row + 4 * s), o = pair(a + (size_t)r * row + 4 * s + 2);
            for (int g = 0; g < NG; g++) sum[r][g] = dot2(sum[r][g], even[g], p);
            for (int g = 0; g < NG; g++) {
                if (NR * NG <= 8) {
                    sum2[r][g] = dot2(sum2[r][g], odd[g], o); /* few sums: twice as many hide the latency */
                } else {
                    sum[r][g] = dot2(sum[r][g], odd[g], o);
                }
            }
        }
    }
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) {
            _mm512_storeu_ps(out + (size_t)r * stride + g * 16,
                             _mm512_cvtepi32_ps((__m512i)(sum[r][g] + sum2[r][g])));
        }
    }
}

/* What is to be prefetched while `n` lines are computed on. */
INLINE const char *lines(struct attn_ahead *ahead, int n)
{
    return ahead ? attn_ahead_take(ahead, (size_t)n * 64) : NULL;
}

/* n_groups groups in blocks of NG or, at the end, fewer, for NR rows. */
INLINE void rows16(int NR, int NG, int n_groups, const int16_t *x, size_t group, size_t line, int steps,
                   const int16_t *a, const int16_t *b, size_t row, float *out, size_t stride,
                   struct attn_ahead *ahead)
{
    int g = 0;
#define BLOCKS(N)                                                                                                   \
    for (; N <= NG && g + N <= n_groups; g += N)                                                                    \
    block16(NR, N, x + (size_t)g * group, group, line, steps, a, b, row, out + g * 16, stride, lines(ahead, N * steps))
    BLOCKS(8);
    BLOCKS(4);
    BLOCKS(2);
    BLOCKS(1);
#undef BLOCKS
}

INLINE void rows8(int NR, int NG, int n_groups, const int8_t *x, size_t group, size_t line, int steps, const int16_t *a,
                  size_t row, float *out, size_t stride, struct attn_ahead *ahead)
{
    int g = 0;
#define BLOCKS(N)                                                                                                   \
    for (; N <= NG && g + N <= n_groups; g += N)                                                                    \
    block8(NR, N, x + (size_t)g * group, group, line, steps, a, row, out + g * 16, stride, lines(ahead, N * steps))
    BLOCKS(8);
    BLOCKS(4);
    BLOCKS(2);
    BLOCKS(1);
#undef BLOCKS
}

/* One instance per number of rows. */
typedef void rows16_fn(int n_groups, const int16_t *x, size_t group, size_t line, int steps, const int16_t *a,
                       const int16_t *b, size_t row, float *out, size_t stride, struct attn_ahead *ahead);
typedef void rows8_fn(int n_groups, const int8_t *x, size_t group, size_t line, int steps, const int16_t *a,
                      size_t row, float *out, size_t stride, struct attn_ahead *ahead);
#define ROWS16(NR, NG)                                                                                              \
    static void rows16_##NR(int n_groups, const int16_t *x, size_t group, size_t line, int steps, const int16_t *a, \
                            const int16_t *b, size_t row, float *out, size_t stride, struct attn_ahead *ahead)      \
    {                                                                                                               \
        rows16(NR, NG, n_groups, x, group, line, steps, a, b, row, out, stride, ahead);                             \
    }
#define ROWS8(NR, NG)                                                                                             \
    static void rows8_##NR(int n_groups, const int8_t *x, size_t group, size_t line, int steps, const int16_t *a, \
                           size_t row, float *out, size_t stride, struct attn_ahead *ahead)                       \
    {                                                                                                             \
        rows8(NR, NG, n_groups, x, group, line, steps, a, row, out, stride, ahead);                               \
    }
ROWS16(1, 8)
ROWS16(2, 4)
ROWS16(3, 2)
ROWS16(4, 2)
ROWS8(1, 8)
ROWS8(2, 4)
ROWS8(3, 4)
ROWS8(4, 4)
ROWS8(5, 2)
ROWS8(6, 2)
ROWS8(7, 2)
ROWS8(8, 2)
#undef ROWS16
#undef ROWS8

static void product16(int n, int n_groups, const int16_t *x, size_t group, size_t line, int steps,
                      const int16_t *a, const int16_t *b, size_t row, float *out, size_t stride,
                      struct attn_ahead *ahead)
{
    static rows16_fn *const rows[5] = {NULL, rows16_1, rows16_2, rows16_3, rows16_4};
    for (int nr; n > 0; n -= nr, a += (size_t)nr * row, b += (size_t)nr * row, out += (size_t)nr * stride) {
        nr = n > 6 || n == 4 ? 4 : n > 4 ? 3 : n; /* 5 = 3+2, 6 = 3+3 */
        rows[nr](n_groups, x, group, line, steps, a, b, row, out, stride, ahead);
        ahead = NULL;
    }
}

static void product8(int n, int n_groups, const int8_t *x, size_t group, size_t line, int steps,
                     const int16_t *a, size_t row, float *out, size_t stride, struct attn_ahead *ahead)
{
    static rows8_fn *const rows[9] = {NULL, rows8_1, rows8_2, rows8_3, rows8_4, rows8_5, rows8_6, rows8_7, rows8_8};
    for (int nr; n > 0; n -= nr, a += (size_t)nr * row, out += (size_t)nr * stride) {
        nr = n <= 8 ? n : n < 16 ? (n + 1) / 2 : 8;
        rows[nr](n_groups, x, group, line, steps, a, row, out, stride, ahead);
        ahead = NULL;
    }
}

/* attn_softmax of attn_body.h, 64 keys in step: with fewer, the chain of exp leaves the multipliers half
 * idle. The masked multiplication also keeps sums that were not computed out of the arithmetic. */
#define EACH for (int i = 0; i < 4; i++)

INLINE __m512 scores64(float *s, const float *dk, float dqs, uint64_t seen)
{
    const __m512 none = _mm512_set1_ps(f32_from_bits(ATTN_NEG_INF)), scale = _mm512_set1_ps(dqs);
    __m512 x[4];
    EACH x[i] = _mm512_mul_ps(scale, _mm512_loadu_ps(dk + i * 16));
    EACH x[i] = _mm512_mask_mul_ps(none, (__mmask16)(seen >> (i * 16)), _mm512_loadu_ps(s + i * 16), x[i]);
    EACH _mm512_storeu_ps(s + i * 16, x[i]);
    return _mm512_max_ps(_mm512_max_ps(x[0], x[1]), _mm512_max_ps(x[2], x[3]));
}

/* Returns the sum of rne(p * 2^23); P goes to a, b as the products want it. */
INLINE __m512i weights64(int planes, const float *s, const float *dv, float m, float t, int16_t *a,
                         int16_t *b)
{
    const __m512 vm = _mm512_set1_ps(m), vt = _mm512_set1_ps(t), lo = _mm512_set1_ps(ARITH_F32(EXP_MIN));
    const __m512 big = _mm512_set1_ps(8388608.0f), magic = _mm512_set1_ps(12582912.0f);
    const __m512i unbig = _mm512_set1_epi32(0x4b000000);
    /* of each lane's four dwords: the high bytes as words, then the low bytes; or the words 0 2 1 3 */
    const __m512i pick = _mm512_broadcast_i32x4(
        planes ? _mm_setr_epi8(1, -1, 5, -1, 9, -1, 13, -1, 0, -1, 4, -1, 8, -1, 12, -1)
               : _mm_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m512i gather = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    __m512 x[4], c[4], n[4], u[4], r[4], h[4], w[4];
    __m512i l[4], p[4];

    /* exp32 of mathf.h; x <= 0, so that its upper clamp is not needed */
    EACH x[i] = _mm512_sub_ps(_mm512_loadu_ps(s + i * 16), vm);
    EACH c[i] = _mm512_max_ps(x[i], lo);
    EACH n[i] = _mm512_mul_ps(c[i], _mm512_set1_ps(ARITH_F32(LOG2E)));
    EACH n[i] = _mm512_add_ps(n[i], magic);
    EACH n[i] = _mm512_sub_ps(n[i], magic);
    EACH c[i] = _mm512_fnmadd_ps(n[i], _mm512_set1_ps(ARITH_F32(LN2_HI)), c[i]);
    EACH u[i] = _mm512_mul_ps(n[i], _mm512_set1_ps(-ARITH_F32(LN2_LO)));
    EACH r[i] = _mm512_add_ps(c[i], u[i]);
    EACH h[i] = _mm512_fmadd_ps(_mm512_set1_ps(ARITH_F32(EXP_C4)), r[i], _mm512_set1_ps(ARITH_F32(EXP_C3)));
    EACH h[i] = _mm512_fmadd_ps(h[i], r[i], _mm512_set1_ps(ARITH_F32(EXP_C2)));
    EACH h[i] = _mm512_fmadd_ps(h[i], r[i], _mm512_set1_ps(ARITH_F32(EXP_C1)));
    EACH h[i] = _mm512_fmadd_ps(h[i], r[i], _mm512_set1_ps(ARITH_F32(EXP_C0)));
    EACH r[i] = _mm512_mul_ps(r[i], r[i]);
    EACH h[i] = _mm512_fmadd_ps(r[i], h[i], u[i]);
    EACH h[i] = _mm512_add_ps(c[i], h[i]);
    EACH h[i] = _mm512_add_ps(_mm512_set1_ps(1.0f), h[i]);
    /* exact: normal */
    EACH h[i] = _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x[i], lo, _CMP_GT_OQ), h[i], n[i]);

    EACH l[i] = _mm512_castps_si512(_mm512_fmadd_ps(h[i], big, big)); /* 2^23 h is exact, so one rounding */
    EACH l[i] = _mm512_sub_epi32(l[i], unbig);
    EACH w[i] = _mm512_mul_ps(h[i], _mm512_loadu_ps(dv + i * 16));
    EACH w[i] = _mm512_mul_ps(w[i], vt);
    EACH p[i] = _mm512_castps_si512(_mm512_add_ps(w[i], big));
    EACH p[i] = _mm512_sub_epi32(p[i], unbig);
    EACH p[i] = _mm512_permutexvar_epi64(gather, _mm512_shuffle_epi8(p[i], pick));
    EACH _mm256_storeu_si256((__m256i *)(void *)(a + i * 16), _mm512_castsi512_si256(p[i]));
    if (planes) {
        EACH _mm256_storeu_si256((__m256i *)(void *)(b + i * 16), _mm512_extracti64x4_epi64(p[i], 1));
    }
    return _mm512_add_epi32(_mm512_add_epi32(l[0], l[1]), _mm512_add_epi32(l[2], l[3]));
}

#undef EACH

/* The bits first..last of the 64 keys from `base` on. */
static uint64_t seen_bits(int base, int first, int last)
{
    first = first > base ? first - base : 0;
    last -= base;
    if (first > 63 || last < 0) return 0;
    return ~0ull << first & ~0ull >> (last < 63 ? 63 - last : 0);
}

/* The halves of a chunk that rows of the tile see: all others, and the weights of their keys, are not read. */
static void halves(const struct attn_q *q, unsigned live, const int *lo, const int *hi, int *begin, int *end)
{
    *begin = ATTN_CHUNK, *end = 0;
    for (int r = 0; r < q->n; r++) {
        if (!(live >> r & 1)) continue;
        if (*begin > lo[r] / 64 * 64) *begin = lo[r] / 64 * 64;
        if (*end < hi[r] / 64 * 64 + 64) *end = hi[r] / 64 * 64 + 64;
    }
}

/* All maxima first: the way from a row's scores to its maximum is long and would be waited for. */
INLINE unsigned weigh(int planes, const struct attn_q *q, const float *dqs, const struct kv_view *view, unsigned live,
                      const int *lo, const int *hi, float *I, int16_t *A, int16_t *B, void *parts)
{
    float m[ATTN_ROWS];
    int begin, end;
    halves(q, live, lo, hi, &begin, &end);
    for (int r = 0; r < q->n; r++) {
        if (!(live >> r & 1)) continue;
        float *s = I + r * ATTN_CHUNK;
        __m512 top = scores64(s + begin, view->dk + begin, dqs[r], seen_bits(begin, lo[r], hi[r]));
        if (end - begin > 64)
            top = _mm512_max_ps(top, scores64(s + 64, view->dk + 64, dqs[r], seen_bits(64, lo[r], hi[r])));
        m[r] = _mm512_reduce_max_ps(top) + 0.0f;
        if (!attn_header(attn_part_at(parts, q->D, r), m[r])) live &= ~(1u << r);
    }
    for (int r = 0; r < q->n; r++) {
        if (!(live >> r & 1)) continue;
        struct attn_part *part = attn_part_at(parts, q->D, r);
        const float *s = I + r * ATTN_CHUNK;
        int16_t *a = A + r * ATTN_CHUNK, *b = B + r * ATTN_CHUNK;
        float v = view->pm[hi[r]], t = attn_p_scale(v);
        __m512i l = weights64(planes, s + begin, view->dv + begin, m[r], t, a + begin, b + begin);
        if (end - begin > 64)
            l = _mm512_add_epi32(l, weights64(planes, s + 64, view->dv + 64, m[r], t, a + 64, b + 64));
        part->l = (float)_mm512_reduce_add_epi32(l);
        part->sv = v / 32767.0f;
    }
    return live;
}

static unsigned weights16(const struct attn_q *q, const float *dqs, const struct kv_view *view, unsigned live,
                          const int *lo, const int *hi, float *I, int16_t *A, int16_t *B, void *parts)
{
    return q->type == KV16 ? weigh(1, q, dqs, view, live, lo, hi, I, A, B, parts)
                           : weigh(0, q, dqs, view, live, lo, hi, I, A, B, parts);
}

/* Strides below 16 inside a vector: the upper one of a pair gets lower - upper. */
static void hadamard16(float *x, int D)
{
    for (int i = 0; i < D; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i), y = _mm512_permute_ps(v, 0xb1);
        v = _mm512_mask_sub_ps(_mm512_add_ps(v, y), 0xaaaa, y, v);
        y = _mm512_permute_ps(v, 0x4e);
        v = _mm512_mask_sub_ps(_mm512_add_ps(v, y), 0xcccc, y, v);
        y = _mm512_shuffle_f32x4(v, v, 0xb1);
        v = _mm512_mask_sub_ps(_mm512_add_ps(v, y), 0xf0f0, y, v);
        y = _mm512_shuffle_f32x4(v, v, 0x4e);
        v = _mm512_mask_sub_ps(_mm512_add_ps(v, y), 0xff00, y, v);
        _mm512_storeu_ps(x + i, v);
    }
    for (int h = 16; h < D; h *= 2) {
        for (int i = 0; i < D; i += 2 * h) {
            for (int j = i; j < i + h; j += 16) {
                __m512 a = _mm512_loadu_ps(x + j), b = _mm512_loadu_ps(x + j + h);
                _mm512_storeu_ps(x + j, _mm512_add_ps(a, b));
                _mm512_storeu_ps(x + j + h, _mm512_sub_ps(a, b));
            }
        }
    }
}

static void chunk_avx512(const struct kv_view *view, const struct attn_q *q, const int *lo, const int *hi,
                         void *parts)
{
    attn_tile(view, q, lo, hi, parts, product16, product8, weights16);
}

const struct attn_kern attn_kern_avx512 = {
    .name = "avx512",
    .store = attn_store_body,
    .quant_q = attn_quant_q_body,
    .hadamard = hadamard16,
    .chunk = chunk_avx512,
    .merge_chunk = attn_merge_chunk_body,
    .merge_super = attn_merge_super_body,
    .finish = attn_finish_body,
};
