/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul_n4_avx512: N4 with AVX-512 VNNI for a prompt (8 tokens and more; fewer go the way of the K-quants in
 * matmul_avx512.c). |code * sub| <= 120 is a byte, so weights are unpacked once to code * sub + 128, and then
 * a group of 256 is one long vpdpbusd sum with nothing done per 32.
 *
 * Loops:  up to TOKENS_MAX tokens > segments of 1024 along k > two panels: their bytes of the segment lie in
 *         L1 (32 KiB)
 *         > 8 tokens: 2 x 8 int32 sums in registers over a group, then the fold into 2 x 8 floats, which the
 *         end of the segment adds to y.
 *
 * Limit: per group, panel and token 64 vpdpbusd, 1 mul, 1 fma on the two units that multiply: 97 % of what
 * vpdpbusd alone reaches. A broadcast code serves two products, so loads are no limit (10 for 16 products).
 */
#include "kern/arith.h"
#include "kern/unpack_avx512_body.h"

enum {
    SEGMENT = ARITH_SEGMENT,
    GROUP = 256,
    GROUPS = SEGMENT / GROUP,
    T = 8,             /* tokens at a time */
    TOKENS_MAX = 512,  /* tokens that share one unpacking */
};

struct work {
    _Alignas(64) uint8_t w[GROUPS][8][2][512]; /* [group][32-block][panel] 8 lines */
    float d[GROUPS][2][PANEL];
    int32_t start[GROUPS][TOKENS_MAX]; /* -128 times the sum of a token's codes in the group */
    int n_groups, blocks[GROUPS];      /* of the segment; 32-blocks of each */
};

/* One 32-block of a panel as code * sub + 128. */
INLINE void unpack_products(uint8_t *out, const uint8_t *lo, const uint8_t *sub)
{
    const __mmask64 odd_bytes = 0xaaaaaaaaaaaaaaaa;
    __m512i s = sub16(DTYPE_N4, sub), c[8];
    s = _mm512_mask_blend_epi16(0xaaaaaaaa, s, _mm512_slli_epi32(s, 16));
    nibbles(c, lo);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        __m512i even = _mm512_and_si512(c[j], _mm512_set1_epi16(255)), odd = _mm512_srli_epi16(c[j], 8);
        even = _mm512_mullo_epi16(_mm512_sub_epi16(even, _mm512_set1_epi16(8)), s);
        odd = _mm512_mullo_epi16(_mm512_sub_epi16(odd, _mm512_set1_epi16(8)), s);
        __m512i v = _mm512_mask_blend_epi8(odd_bytes, even, _mm512_slli_epi16(odd, 8));
        _mm512_store_si512(out + 64 * j, _mm512_xor_si512(v, _mm512_set1_epi8(-128)));
    }
}

static void unpack_segment(struct work *s, const struct mat *w, const int p[2], int g0)
{
    for (int i = 0; i < 2; i++) {
        uint8_t *base = w->data + (size_t)p[i] * w->panel_bytes;
        for (int g = 0; g < s->n_groups; g++) {
            struct mat_group r = mat_group(mat_form_layout(DTYPE_N4), base, w->k / 32, g0 + g);
            for (int b = 0; b < r.n; b++) unpack_products(s->w[g][b][i], r.lo + 256 * b, r.sub + PANEL * b);
            _mm512_storeu_ps(s->d[g][i], scale16(DTYPE_N4, r.d));
        }
    }
}

static void sum_codes(struct work *s, const struct act *x, int g0, int t0, int n)
{
    for (int g = 0; g < s->n_groups; g++)
        for (int t = 0; t < n; t += ACT_TILE) {
            const int32_t *ns = x->ns + act_at(x, x->sums, t0 + t, 16 * (g0 + g));
            __m512i sum = _mm512_setzero_si512();
            for (int i = 0; i < 2 * s->blocks[g]; i++)
                sum = _mm512_add_epi32(sum, _mm512_load_si512(ns + i * ACT_TILE));
            _mm512_storeu_si512(&s->start[g][t], _mm512_slli_epi32(sum, 7));
        }
}

/* acc[token][panel] += the group's products of T tokens from t on (t0 + t of x) */
INLINE void add_group(const struct work *s, __m512 acc[T][2], const struct act *x, int t0, int t, int g0, int g)
{
    sum16 sum[T][2];
#pragma GCC unroll 8
    for (int i = 0; i < T; i++) sum[i][0] = sum[i][1] = (sum16)_mm512_set1_epi32(s->start[g][t + i]);
    for (int b = 0; b < s->blocks[g]; b++) {
        const int8_t *q = act_line(x, t0 + t, 4 * (g0 + g) + b / 2) + b % 2 * 32;
        const uint8_t *w = s->w[g][b][0];
        __asm__("" : "+r"(q)); /* or the compiler makes a pointer of each constant offset */
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            __m512i w0 = _mm512_load_si512(w + 64 * j), w1 = _mm512_load_si512(w + 512 + 64 * j);
#pragma GCC unroll 8
            for (int i = 0; i < T; i++) {
                __m512i v = _mm512_set1_epi32(*(const int32_t *)(const void *)(q + 64 * i + 4 * j));
                __asm__("" : "+v"(v)); /* one broadcast for both */
                sum[i][0] = (sum16)_mm512_dpbusd_epi32((__m512i)sum[i][0], w0, v);
                sum[i][1] = (sum16)_mm512_dpbusd_epi32((__m512i)sum[i][1], w1, v);
            }
        }
    }
    const float *xd = x->d + act_at(x, x->groups, t0 + t, g0 + g);
    __m512 d0 = _mm512_loadu_ps(s->d[g][0]), d1 = _mm512_loadu_ps(s->d[g][1]);
#pragma GCC unroll 8
    for (int i = 0; i < T; i++) {
        __m512 by = _mm512_set1_ps(xd[i]);
        acc[i][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)sum[i][0]), _mm512_mul_ps(d0, by), acc[i][0]);
        acc[i][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)sum[i][1]), _mm512_mul_ps(d1, by), acc[i][1]);
    }
}

/* y += the segment; the first adds to +0 */
static void add_segment(const struct work *s, float *y, size_t stride, const struct act *x, int t0, int n,
                        int g0, const int p[2])
{
    for (int t = 0; t < n; t += T) {
        __m512 acc[T][2];
        for (int i = 0; i < T; i++) acc[i][0] = acc[i][1] = _mm512_setzero_ps();
        for (int g = 0; g < s->n_groups; g++) add_group(s, acc, x, t0, t, g0, g);
        for (int i = 0; i < T && t + i < n; i++) {
            float *row = y + (size_t)(t0 + t + i) * stride;
            for (int k = 0; k < (p[1] == p[0] ? 1 : 2); k++) {
                float *out = row + (size_t)p[k] * PANEL;
                __m512 tot = g0 == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(out);
                _mm512_storeu_ps(out, _mm512_add_ps(tot, acc[i][k]));
            }
        }
    }
}

matmul_fn matmul_n4_avx512;
void matmul_n4_avx512(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x,
                      int t0, int n_tok)
{
    struct work s;
    int blocks = w->k / 32, groups = (blocks + 7) / 8;
    for (int t = 0; t < n_tok; t += TOKENS_MAX) {
        int n = n_tok - t < TOKENS_MAX ? n_tok - t : TOKENS_MAX;
        for (int g0 = 0; g0 < groups; g0 += GROUPS) {
            s.n_groups = groups - g0 < GROUPS ? groups - g0 : GROUPS;
            for (int g = 0; g < s.n_groups; g++) s.blocks[g] = blocks - 8 * (g0 + g) < 8 ? blocks - 8 * (g0 + g) : 8;
            sum_codes(&s, x, g0, t0 + t, n);
            for (int p = p0; p < p1; p += 2) {
                const int pair[2] = {p, p + 1 < p1 ? p + 1 : p};
                unpack_segment(&s, w, pair, g0);
                add_segment(&s, y, stride, x, t0 + t, n, g0, pair);
            }
        }
    }
}
