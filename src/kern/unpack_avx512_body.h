/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack_avx512_body.h: packed weights (mat.h) into zmm registers, for matmul_avx512.c and matmul_amx.c: the
 * codes of a 32-block as 8 lines of unsigned bytes (code + 2^offset_log2, 16 rows x 4 k), scales and
 * sub-scales with the 16 rows in lanes. With a constant type every function folds to its few instructions.
 */
#include <immintrin.h>
#include "kern/kern.h"

#define INLINE static inline __attribute__((always_inline))

/* Sums are kept in this type, not in __m512i (eight 64-bit integers): where the types differ gcc 12 copies
 * accumulators. */
typedef int32_t sum16 __attribute__((vector_size(64)));

INLINE void nibbles(__m512i w[8], const uint8_t *lo)
{
    const __m512i mask = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m512i v = _mm512_load_si512(lo + 64 * j);
        w[j] = _mm512_and_si512(v, mask);
        w[j + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
    }
}

/* Adds bit plane v, moved so that its bit j lands on bit `at` of line j. */
INLINE void add_bits(__m512i w[8], const uint8_t *hi, int at)
{
    __m512i v = _mm512_load_si512(hi), mask = _mm512_set1_epi8((char)(1 << at));
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        __m512i s = j <= at ? _mm512_slli_epi16(v, (unsigned)(at - j)) : _mm512_srli_epi16(v, (unsigned)(j - at));
        w[j] = _mm512_or_si512(w[j], _mm512_and_si512(s, mask));
    }
}

/* Pair plane: bits 2i, 2i+1 of line t belong to line 4t + i; they land on bits at, at+1. */
INLINE __m512i pair_line(__m512i v, int i, int at)
{
    __m512i s = 2 * i <= at ? _mm512_slli_epi16(v, (unsigned)(at - 2 * i))
                            : _mm512_srli_epi16(v, (unsigned)(2 * i - at));
    return _mm512_and_si512(s, _mm512_set1_epi8((char)(3 << at)));
}

INLINE void pairs(__m512i w[8], const uint8_t *p, int at, int fresh)
{
#pragma GCC unroll 2
    for (int t = 0; t < 2; t++) {
        __m512i v = _mm512_load_si512(p + 64 * t);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m512i s = pair_line(v, i, at);
            w[4 * t + i] = fresh ? s : _mm512_or_si512(w[4 * t + i], s);
        }
    }
}

/* Codes as their values, with the offset of the type. */
INLINE void look_up(__m512i w[8], const int8_t book[16], int offset)
{
    __m512i table = _mm512_broadcast_i32x4(
        _mm_add_epi8(_mm_loadu_si128((const __m128i *)(const void *)book), _mm_set1_epi8((char)offset)));
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) w[j] = _mm512_shuffle_epi8(table, w[j]);
}

/* log2 of the offset that unpack() adds to the codes of a type, or -1 */
INLINE int offset_log2(enum dtype type)
{
    switch (type) {
    case DTYPE_Q2_0: return 0;
    case DTYPE_Q4_0:
    case DTYPE_N4: return 3;
    case DTYPE_Q5_0:
    case DTYPE_MXFP4:
    case DTYPE_NVFP4:
    case DTYPE_IQ1_M:
    case DTYPE_IQ3_S: return 4;
    case DTYPE_Q8_0:
    case DTYPE_IQ2_S:
    case DTYPE_IQ3_XXS:
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS: return 7;
    case DTYPE_Q6_K: return 5;
    case DTYPE_Q3_K: return 2;
    default: return -1;
    }
}

INLINE const int8_t *nibble_book(enum dtype type)
{
    return type == DTYPE_IQ3_XXS ? mat_iq3_xxs_book : type == DTYPE_IQ3_S ? mat_iq3_s_book
           : type == DTYPE_MXFP4 || type == DTYPE_NVFP4 ? mat_mxfp4_book : mat_iq4_book;
}

INLINE void unpack(__m512i w[8], enum dtype type, const uint8_t *lo, const uint8_t *hi)
{
    switch (type) {
    case DTYPE_Q8_0:
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) w[j] = _mm512_load_si512(lo + 64 * j);
        break;
    case DTYPE_Q2_0:
    case DTYPE_Q2_K: pairs(w, lo, 0, 1); break;
    case DTYPE_IQ1_M:
    case DTYPE_IQ2_S:
        pairs(w, lo, 0, 1);
        add_bits(w, hi, 2);
        look_up(w, type == DTYPE_IQ1_M ? mat_iq1_book : mat_iq2_book, 1 << offset_log2(type));
        break;
    case DTYPE_Q3_K:
        pairs(w, lo, 0, 1);
        add_bits(w, hi, 2);
        break;
    case DTYPE_Q6_K:
        nibbles(w, lo);
        pairs(w, hi, 4, 0);
        break;
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_Q5_K:
        nibbles(w, lo);
        add_bits(w, hi, 4);
        break;
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS:
    case DTYPE_IQ3_XXS:
    case DTYPE_IQ3_S:
    case DTYPE_MXFP4:
    case DTYPE_NVFP4:
        nibbles(w, lo);
        look_up(w, nibble_book(type), 1 << offset_log2(type));
        break;
    default: nibbles(w, lo);
    }
}

INLINE __m512 scale16(enum dtype type, const uint8_t *d)
{
    if (type == DTYPE_MXFP4) /* 2^(e-128), e >= 92 (mat_pack): exponent field e - 1 */
        return _mm512_castsi512_ps(_mm512_slli_epi32(
            _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)d)),
                             _mm512_set1_epi32(1)),
            23));
    __m512 v = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)d));
    return mat_unit(type) == 1.0f ? v : _mm512_mul_ps(v, _mm512_set1_ps(mat_unit(type)));
}

INLINE __m512i sub16(enum dtype type, const uint8_t *s)
{
    __m128i v = _mm_load_si128((const __m128i *)(const void *)s);
    if (type == DTYPE_Q2_K) return _mm512_cvtepu8_epi32(_mm_and_si128(v, _mm_set1_epi8(15)));
    if (type == DTYPE_Q4_K || type == DTYPE_Q5_K) return _mm512_cvtepu8_epi32(v);
    return _mm512_cvtepi8_epi32(v);
}

INLINE __m512i min16(enum dtype type, const uint8_t *sub, const uint8_t *min)
{
    if (type == DTYPE_Q2_K) {
        __m128i v = _mm_load_si128((const __m128i *)(const void *)sub);
        return _mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15)));
    }
    return _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(const void *)min));
}
