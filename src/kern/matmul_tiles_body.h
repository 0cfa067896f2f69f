/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul_tiles_body: what matmul_avx512.c and matmul_avx2_body.h share, for a file that has defined
 * TOKENS_MAX (8 or 16) and
 *
 *   panel_block32, panel_pair, panel_k256, panel_w16, panel_q8_a16   one panel times T tokens, T a constant
 *
 * An instance of each for every type and 1, 2, 4 .. TOKENS_MAX tokens (half as many where a token has two
 * sums), and the loops over panels and tiles of tokens. TWO_PANELS(T): panel_q8_a16 for two panels at once,
 * where the file has it.
 */
#include "kern/kern.h"

enum { BLOCK_BYTES = 256 << 10 /* packed weights that stay in L2 while tokens pass */ };

typedef void panel_fn(float *y, size_t stride, const struct mat *w, int p, const struct act *x, int t0, int n);

struct instances {
    panel_fn *fn[5]; /* for 1, 2, 4, 8, 16 tokens */
    int max;         /* the largest of them there is */
    panel_fn *two;   /* `max` tokens, two panels; or NULL */
};

#define INSTANCE(type, T, call)                                                                              \
    static void panel_##type##_##T(float *y, size_t stride, const struct mat *w, int p, const struct act *x, \
                                   int t0, int n)                                                            \
    {                                                                                                        \
        call;                                                                                                \
    }
#define B0(type, T) INSTANCE(type, T, panel_block32(DTYPE_##type, T, 0, y, stride, w, p, x, t0, n))
#define B1(type, T) INSTANCE(type, T, panel_block32(DTYPE_##type, T, 1, y, stride, w, p, x, t0, n))
#define PAIR(type, T) INSTANCE(type, T, panel_pair(T, y, stride, w, p, x, t0, n))
#define K256(type, T) INSTANCE(type, T, panel_k256(DTYPE_##type, T, y, stride, w, p, x, t0, n))
#define W16(type, T) INSTANCE(type, T, panel_w16(T, y, stride, w, p, x, t0, n))
#define Q8_A16(type, T) INSTANCE(type, T, panel_q8_a16(T, y, stride, w, p, x, t0, n))

#define UP_TO_4(X, type) X(type, 1) X(type, 2) X(type, 4)
#define UP_TO_8(X, type) UP_TO_4(X, type) X(type, 8)
#define UP_TO_16(X, type) UP_TO_8(X, type) X(type, 16)
#define FN_4(type) {panel_##type##_1, panel_##type##_2, panel_##type##_4}, 4
#define FN_8(type) {panel_##type##_1, panel_##type##_2, panel_##type##_4, panel_##type##_8}, 8
#define FN_16(type) {panel_##type##_1, panel_##type##_2, panel_##type##_4, panel_##type##_8, panel_##type##_16}, 16
#if TOKENS_MAX == 16
#define INSTANCES UP_TO_16
#define FN FN_16
#define INSTANCES_HALF UP_TO_8
#define FN_HALF FN_8
#else
#define INSTANCES UP_TO_8
#define FN FN_8
#define INSTANCES_HALF UP_TO_4
#define FN_HALF FN_4
#endif

#define TYPES(X)                                                                                              \
    X(B0, Q4_0) X(B0, Q5_0) X(B0, Q8_0) X(B0, IQ4_NL) X(B0, MXFP4) X(B0, Q2_0) X(B1, Q4_1) X(B1, Q5_1)        \
    X(PAIR, NVFP4) X(K256, Q2_K) X(K256, Q3_K) X(K256, Q4_K) X(K256, Q5_K) X(K256, Q6_K) X(K256, IQ4_XS)      \
    X(K256, IQ1_M) X(K256, IQ2_S) X(K256, IQ3_XXS) X(K256, IQ3_S) X(K256, N4)

TYPES(INSTANCES)
INSTANCES_HALF(W16, W16)
INSTANCES_HALF(Q8_A16, Q8_A16)

static const struct instances *instances(enum dtype type, enum act_tier tier)
{
#define ROW(form, type) [DTYPE_##type] = {FN(type), NULL},
    static const struct instances table[] = {
        TYPES(ROW)[DTYPE_F32] = {FN_HALF(W16), NULL}, [DTYPE_F16] = {FN_HALF(W16), NULL},
        [DTYPE_BF16] = {FN_HALF(W16), NULL}};
#ifdef TWO_PANELS
    static const struct instances q8_a16 = {FN_HALF(Q8_A16), TWO_PANELS};
#else
    static const struct instances q8_a16 = {FN_HALF(Q8_A16), NULL};
#endif
    return tier == ACT_A16_W8 ? &q8_a16 : &table[type];
}

/* Panels of a block stay in the L2 cache while all tiles of tokens pass; a tile of activations stays in L1. */
INLINE void matmul_tiles(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x,
                         int t0, int n_tok)
{
    const struct instances *in = instances(w->type, x->tier);
    int block = (int)(BLOCK_BYTES / w->panel_bytes);
    if (block < 1) block = 1;
    for (int b = p0; b < p1; b += block) {
        int end = b + block < p1 ? b + block : p1;
        for (int t = 0; t < n_tok;) {
            int n = n_tok - t < in->max ? n_tok - t : in->max, i = n <= 1   ? 0
                                                                   : n <= 2 ? 1
                                                                   : n <= 4 ? 2
                                                                   : n <= 8 ? 3
                                                                            : 4;
            for (int p = b; p < end; p++) {
                int two = in->two && n > in->max / 2 && p + 1 < end;
                (two ? in->two : in->fn[i])(y + (size_t)(t0 + t) * stride + (size_t)p * PANEL, stride, w, p,
                                            x, t0 + t, n);
                p += two;
            }
            t += n;
        }
    }
}
