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
                    const int16_t *b, size_t row, float *out, size_t stride)
{
    sum16 hi[4][4], lo[4][4];
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) hi[r][g] = lo[r][g] = (sum16){0};
    }
    for (int s = 0; s < steps; s++) {
        __m512i k[4];
        for (int g = 0; g < NG; g++) k[g] = _mm512_loadu_si512(x + (size_t)g * group + (size_t)s * line);
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
                   size_t row, float *out, size_t stride)
{
    sum16 sum[8][4];
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++) sum[r][g] = (sum16){0};
    }
    for (int s = 0; s < steps; s++) {
        __m512i even[4], odd[4];
        for (int g = 0; g < NG; g++) {
            __m512i k = _mm512_loadu_si512(x + (size_t)g * group + (size_t)s * line);
            even[g] = _mm512_srai_epi16(_mm512_slli_epi16(k, 8), 8);
            odd[g] = _mm512_srai_epi16(k, 8);
        }
        for (int r = 0; r < NR; r++) {
            __m512i p = pair(a + (size_t)r * row + 4 * s), o = pair(a + (size_t)r * row + 4 * s + 2);
            for (int g = 0; g < NG; g++) sum[r][g] = dot2(sum[r][g], even[g], p);
            for (int g = 0; g < NG; g++) sum[r][g] = dot2(sum[r][g], odd[g], o);
        }
    }
    for (int r = 0; r < NR; r++) {
        for (int g = 0; g < NG; g++)
            _mm512_storeu_ps(out + (size_t)r * stride + g * 16, _mm512_cvtepi32_ps((__m512i)sum[r][g]));
    }
}

/* n rows times n_groups groups, in blocks of the best shape for n. One instance per number of rows. */
#define ROWS16(NR, NG)                                                                                       \
    static void rows16_##NR(int n_groups, const int16_t *x, size_t group, size_t line, int steps,            \
                            const int16_t *a, const int16_t *b, size_t row, float *out, size_t stride)       \
    {                                                                                                        \
        int g = 0;                                                                                           \
        for (; g + NG <= n_groups; g += NG) {                                                                \
            block16(NR, NG, x + (size_t)g * group, group, line, steps, a, b, row, out + g * 16, stride);     \
        }                                                                                                    \
        for (; g < n_groups; g++) {                                                                          \
            block16(NR, 1, x + (size_t)g * group, group, line, steps, a, b, row, out + g * 16, stride);      \
        }                                                                                                    \
    }
#define ROWS8(NR, NG)                                                                                        \
    static void rows8_##NR(int n_groups, const int8_t *x, size_t group, size_t line, int steps,              \
                           const int16_t *a, size_t row, float *out, size_t stride)                          \
    {                                                                                                        \
        int g = 0;                                                                                           \
        for (; g + NG <= n_groups; g += NG) {                                                                \
            block8(NR, NG, x + (size_t)g * group, group, line, steps, a, row, out + g * 16, stride);         \
        }                                                                                                    \
        for (; g < n_groups; g++) {                                                                          \
            block8(NR, 1, x + (size_t)g * group, group, line, steps, a, row, out + g * 16, stride);          \
        }                                                                                                    \
    }
ROWS16(1, 4)
ROWS16(2, 4)
ROWS16(3, 2)
ROWS16(4, 2)
ROWS8(1, 4)
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
                      const int16_t *a, const int16_t *b, size_t row, float *out, size_t stride)
{
    static void (*const rows[5])(int, const int16_t *, size_t, size_t, int, const int16_t *, const int16_t *,
                                 size_t, float *, size_t) = {NULL, rows16_1, rows16_2, rows16_3, rows16_4};
    for (int nr; n > 0; n -= nr, a += (size_t)nr * row, b += (size_t)nr * row, out += (size_t)nr * stride) {
        nr = n > 6 || n == 4 ? 4 : n > 4 ? 3 : n; /* 5 = 3+2, 6 = 3+3 */
        rows[nr](n_groups, x, group, line, steps, a, b, row, out, stride);
    }
}

static void product8(int n, int n_groups, const int8_t *x, size_t group, size_t line, int steps,
                     const int16_t *a, size_t row, float *out, size_t stride)
{
    static void (*const rows[9])(int, const int8_t *, size_t, size_t, int, const int16_t *, size_t, float *,
                                 size_t) = {NULL,    rows8_1, rows8_2, rows8_3, rows8_4,
                                            rows8_5, rows8_6, rows8_7, rows8_8};
    for (int nr; n > 0; n -= nr, a += (size_t)nr * row, out += (size_t)nr * stride) {
        nr = n <= 8 ? n : n < 16 ? (n + 1) / 2 : 8;
        rows[nr](n_groups, x, group, line, steps, a, row, out, stride);
    }
}

/* exp32 of mathf.h in 16 lanes. */
INLINE __m512 exp16(__m512 x)
{
    const __m512 lo = _mm512_set1_ps(ARITH_F32(EXP_MIN)), magic = _mm512_set1_ps(12582912.0f);
    __m512 c = _mm512_min_ps(_mm512_max_ps(x, lo), _mm512_set1_ps(ARITH_F32(EXP_MAX)));
    __m512 s = _mm512_mul_ps(c, _mm512_set1_ps(ARITH_F32(LOG2E)));
    __m512 n = _mm512_sub_ps(_mm512_add_ps(s, magic), magic);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(ARITH_F32(LN2_HI)), c);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(ARITH_F32(LN2_LO)), r);
    __m512 h = _mm512_fmadd_ps(_mm512_set1_ps(ARITH_F32(EXP_C4)), r, _mm512_set1_ps(ARITH_F32(EXP_C3)));
    h = _mm512_fmadd_ps(h, r, _mm512_set1_ps(ARITH_F32(EXP_C2)));
    h = _mm512_fmadd_ps(h, r, _mm512_set1_ps(ARITH_F32(EXP_C1)));
    h = _mm512_fmadd_ps(h, r, _mm512_set1_ps(ARITH_F32(EXP_C0)));
    h = _mm512_fmadd_ps(h, r, _mm512_set1_ps(1.0f));
    h = _mm512_fmadd_ps(h, r, _mm512_set1_ps(1.0f));
    h = _mm512_scalef_ps(h, n); /* exact: the result is normal */
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, lo, _CMP_GT_OQ), h);
}

/* attn_softmax of attn_body.h in 16 lanes; s holds the sums Q*K and is overwritten by scores. P goes to a, b
 * as the products want it: two planes, or of each four the order 0 2 1 3. */
INLINE int softmax16(int planes, float *s, float dqs, const struct kv_view *view, int lo, int hi, int16_t *a,
                     int16_t *b, struct attn_part *part)
{
    const __m512 scale = _mm512_set1_ps(dqs), magic = _mm512_set1_ps(8388608.0f);
    const __m512i unmagic = _mm512_set1_epi32(0x4b000000);
    int j0 = lo / 16 * 16, j1 = (hi / 16 + 1) * 16;
    __m512 top = _mm512_set1_ps(f32_from_bits(ATTN_NEG_INF));
    for (int j = j0; j < j1; j += 16) {
        unsigned seen = lo > j ? 0xffffu << (lo - j) : 0xffffu;
        seen &= hi < j + 15 ? 0xffffu >> (j + 15 - hi) : 0xffffu;
        __m512 x = _mm512_mul_ps(_mm512_loadu_ps(s + j), _mm512_mul_ps(scale, _mm512_loadu_ps(view->dk + j)));
        x = _mm512_mask_mov_ps(_mm512_set1_ps(f32_from_bits(ATTN_NEG_INF)), (__mmask16)seen, x);
        _mm512_storeu_ps(s + j, x);
        top = _mm512_max_ps(top, x);
    }
    float m = _mm512_reduce_max_ps(top) + 0.0f;

    memset(part, 0, sizeof *part);
    memset(a, 0, ATTN_CHUNK * sizeof *a);
    if (planes) memset(b, 0, ATTN_CHUNK * sizeof *b);
    if (abs_bits(m) >= ATTN_RANGE_BITS) {
        part->status = ERR_RANGE;
        return 0;
    }

    /* of each lane's four dwords: the high bytes as words, then the low bytes; or the words 0 2 1 3 */
    const __m512i pick =
        planes
            ? _mm512_broadcast_i32x4(_mm_setr_epi8(1, -1, 5, -1, 9, -1, 13, -1, 0, -1, 4, -1, 8, -1, 12, -1))
            : _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m512i gather = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    float v = view->pm[hi];
    const __m512 vm = _mm512_set1_ps(m), vt = _mm512_set1_ps(v > 0.0f ? 32767.0f / v : 0.0f);
    __m512i sum = _mm512_setzero_si512();
    for (int j = j0; j < j1; j += 16) {
        __m512 p = exp16(_mm512_sub_ps(_mm512_loadu_ps(s + j), vm));
        __m512i l =
            _mm512_castps_si512(_mm512_fmadd_ps(p, magic, magic)); /* 2^23 p is exact, so one rounding */
        sum = _mm512_add_epi32(sum, _mm512_sub_epi32(l, unmagic));
        __m512 w = _mm512_mul_ps(_mm512_mul_ps(p, _mm512_loadu_ps(view->dv + j)), vt);
        w = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(p, _mm512_setzero_ps(), _CMP_GT_OQ), w);
        __m512i P = _mm512_sub_epi32(_mm512_castps_si512(_mm512_add_ps(w, magic)), unmagic);
        P = _mm512_permutexvar_epi64(gather, _mm512_shuffle_epi8(P, pick));
        _mm256_storeu_si256((__m256i *)(void *)(a + j), _mm512_castsi512_si256(P));
        if (planes) _mm256_storeu_si256((__m256i *)(void *)(b + j), _mm512_extracti64x4_epi64(P, 1));
    }
    part->m = m;
    part->l = (float)_mm512_reduce_add_epi32(sum);
    part->sv = v / 32767.0f;
    return 1;
}

static int weights16(int planes, float *s, float dqs, const struct kv_view *view, int lo, int hi, int16_t *a,
                     int16_t *b, struct attn_part *part)
{
    return planes ? softmax16(1, s, dqs, view, lo, hi, a, b, part)
                  : softmax16(0, s, dqs, view, lo, hi, a, b, part);
}

static void chunk_avx512(const struct kv_view *view, const struct attn_q *q, const int *lo, const int *hi,
                         void *parts)
{
    attn_tile(view, q, lo, hi, parts, product16, product8, weights16);
}

const struct attn_kern attn_kern_avx512 = {
    .name = "avx512",
    .chunk = chunk_avx512,
    .merge_chunk = attn_merge_chunk_body,
    .merge_super = attn_merge_super_body,
    .finish = attn_finish_body,
};
