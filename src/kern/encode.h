/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode: rows of floats as weight types of files, the other direction of mat_pack. Not on the token path.
 * The same bytes on every machine: floats in a written order, no libm.
 *
 * The scale of a block is searched, not taken from its largest element: trial scales of both signs, each
 * followed by the least-squares scale of the codes it gave; the one with the smallest sum of weight *
 * sqrt(mean x^2 + x^2) * (x - decoded)^2 stays: the root was better than plain squares on a real model
 * (doc/arithmetic.md 8).
 */
#ifndef TUTTI_KERN_ENCODE_H
#define TUTTI_KERN_ENCODE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/dtype.h"
#include "base/err.h"

/* F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, Q4_K, Q5_K, Q6_K, N4 */
bool encode_supports(enum dtype type);

/*
 * x[n] as dtype_row_bytes(type, n) bytes; n a whole number of blocks. weight[n]: how much the error of each column
 * counts, 0 and up, or NULL for all the same. ERR_RANGE: an element is NaN, infinite or too large for the type.
 */
int encode_row(enum dtype type, uint8_t *out, const float *x, const float *weight, int64_t n, struct err *e);

/* A row of the three float types as floats. */
/* n rows (at most PANEL) of any usable type as floats, exactly. packed: room for a panel of the type, of rows
 * of that length, aligned to 64; not used for floats. */
int encode_decode_rows(enum dtype type, float *x, const uint8_t *rows, uint64_t row_bytes, int n,
                       uint64_t len, void *packed, struct err *e);
void encode_load_floats(enum dtype type, float *x, const uint8_t *row, int64_t n);

#endif
