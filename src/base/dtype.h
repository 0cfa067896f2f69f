/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensor types, numbered as GGML and GGUF number them. A tensor's row is a whole number of blocks: `block`
 * elements stored in `bytes` bytes. Types that the engine cannot compute with are listed all the same, so
 * that `inspect` can name and size them; ids that are missing here were withdrawn from the format or belong
 * to forks. N4 is our own (doc/arithmetic.md 3), with an id far above GGML's; a file that uses it says so in a key
 * (file/gguf.h). Its rows are groups of 256, the last of which may be shorter, and no whole number of equal blocks.
 *
 * Source: the enum of ggml as of 2026-08 (ids 4, 5, 31-33, 36-38 are withdrawn).
 */
#ifndef TUTTI_BASE_DTYPE_H
#define TUTTI_BASE_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

/* name, id, elements per block, bytes per block, usable as a weight matrix */
#define DTYPE_LIST(X)                                                                                        \
    X(F32, 0, 1, 4, true)                                                                                    \
    X(F16, 1, 1, 2, true)                                                                                    \
    X(Q4_0, 2, 32, 18, true)                                                                                 \
    X(Q4_1, 3, 32, 20, true)                                                                                 \
    X(Q5_0, 6, 32, 22, true)                                                                                 \
    X(Q5_1, 7, 32, 24, true)                                                                                 \
    X(Q8_0, 8, 32, 34, true)                                                                                 \
    X(Q8_1, 9, 32, 36, false)                                                                                \
    X(Q2_K, 10, 256, 84, true)                                                                               \
    X(Q3_K, 11, 256, 110, true)                                                                              \
    X(Q4_K, 12, 256, 144, true)                                                                              \
    X(Q5_K, 13, 256, 176, true)                                                                              \
    X(Q6_K, 14, 256, 210, true)                                                                              \
    X(Q8_K, 15, 256, 292, false)                                                                             \
    X(IQ2_XXS, 16, 256, 66, true)                                                                            \
    X(IQ2_XS, 17, 256, 74, true)                                                                             \
    X(IQ3_XXS, 18, 256, 98, true)                                                                            \
    X(IQ1_S, 19, 256, 50, true)                                                                              \
    X(IQ4_NL, 20, 32, 18, true)                                                                              \
    X(IQ3_S, 21, 256, 110, true)                                                                             \
    X(IQ2_S, 22, 256, 82, true)                                                                              \
    X(IQ4_XS, 23, 256, 136, true)                                                                            \
    X(I8, 24, 1, 1, false)                                                                                   \
    X(I16, 25, 1, 2, false)                                                                                  \
    X(I32, 26, 1, 4, false)                                                                                  \
    X(I64, 27, 1, 8, false)                                                                                  \
    X(F64, 28, 1, 8, false)                                                                                  \
    X(IQ1_M, 29, 256, 56, true)                                                                              \
    X(BF16, 30, 1, 2, true)                                                                                  \
    X(TQ1_0, 34, 256, 54, true)                                                                              \
    X(TQ2_0, 35, 256, 66, true)                                                                              \
    X(MXFP4, 39, 32, 17, true)                                                                               \
    X(NVFP4, 40, 64, 36, true)                                                                               \
    X(Q1_0, 41, 128, 18, true)                                                                               \
    X(Q2_0, 42, 64, 18, true)                                                                                \
    X(N4, 244, 32, 0, true)

enum dtype {
#define X(name, id, block, bytes, usable) DTYPE_##name = id,
    DTYPE_LIST(X)
#undef X
};

struct dtype_info {
    const char *name; /* "Q4_K" */
    uint32_t id;
    uint32_t block; /* elements per block */
    uint32_t bytes; /* bytes per block; 0: see dtype_row_bytes */
    bool usable;    /* the engine computes with it */
};

const struct dtype_info *dtype_info(uint32_t id); /* NULL for an id that is not listed */
const char *dtype_name(uint32_t id);              /* "?" for an id that is not listed */
int dtype_from_name(const char *name);            /* the id, or -1; case is ignored */

enum { N4_GROUP = 256, N4_GROUP_BYTES = 135, DTYPE_ID_MAX = 255 };

/* Bytes of a row of n elements; 0 when n is 0, not a whole number of blocks, or too large. */
uint64_t dtype_row_bytes(enum dtype t, uint64_t n);

#endif
