/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iq: blocks of the smallest GGUF types as digits, signs and scales (packed further by mat.c).
 *
 * A weight of the IQ types is d * (sub-scale) * (value of a code book's digit), with a sign or, of IQ1, a
 * shift of an eighth. In whole numbers: sub = 2 s + 1 for the stored s; code = an index of mat_iq1_book,
 * mat_iq2_book, mat_iq3_*_book; what is left is the factor mat_unit.
 *
 *   type     bits  block of 256                                                            codes of
 *   IQ1_S    1.56  d, 32 low bytes, 8 words: 4 x 3 high bits, 3 bits of s, shift           8 weights, 11 bits
 *   IQ1_M    1.75  32 low bytes, 16 bytes: 2 x (3 high bits, shift), 4 words: s, d's bits  8 weights, 11 bits
 *   IQ2_XXS  2.06  d, per 32: 4 bytes, then 4 x 7 bits of signs and s                      8 weights, 8 bits
 *   IQ2_XS   2.31  d, 32 words of 9 bits and 7 of signs, 8 bytes of two s                  8 weights, 9 bits
 *   IQ2_S    2.56  d, 32 low bytes, 32 of signs, 8 of high bits, 8 of two s                8 weights, 10 bits
 *   IQ3_XXS  3.06  d, 64 bytes, per 32: 4 x 7 bits of signs and s                          4 weights, 8 bits
 *   IQ3_S    3.44  d, 64 low bytes, 8 of high bits, 32 of signs, 4 of two s                4 weights, 9 bits
 *   TQ1_0    1.69  48 bytes of 5 base-3 digits, 4 of 4, d                                  -
 *   TQ2_0    2.06  64 bytes of 4 pairs, d                                                  -
 *   Q1_0     1.13  128 weights: d, 16 bytes of bits                                        -
 *   Q2_0     2.25  64 weights: d, 16 bytes of pairs                                        -
 *
 * Source: the format as PyPI's gguf (gguf.quants) reads it; Q1_0 and Q2_0 as ggml's headers describe them.
 */
#ifndef TUTTI_KERN_IQ_H
#define TUTTI_KERN_IQ_H

#include <stdint.h>
#include "base/dtype.h"

struct iq_group {
    uint8_t code[256]; /* index of the book: digit, above it the sign or the shift's sign */
    uint8_t sub[16];   /* of 16 codes, of IQ3 of 32 */
    uint16_t d;        /* fp16 */
};

void iq_decode(enum dtype type, const uint8_t *block, struct iq_group *g);

/* TQ1_0, TQ2_0, Q1_0, Q2_0: codes 0..3 for -1..2 of a block; returns the scale (fp16). */
uint16_t iq_ternary(enum dtype type, const uint8_t *block, uint8_t *code);

#endif
