/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahead: prefetching of packed weights (mat.h) for products of few tokens, which go at the speed of memory.
 * While a block is computed, its share of a panel's bytes is asked for AHEAD bytes further on, past the
 * borders of chunks and panels; behind a matrix stands the next product's, most often.
 */
#ifndef TUTTI_KERN_AHEAD_H
#define TUTTI_KERN_AHEAD_H

#include "kern/mat.h"

enum { AHEAD = 16384 }; /* bytes: 12 to 24 KiB measured best */

/* Bytes of a 32-block in all regions; of the last one a part may be counted that is not there. */
static inline __attribute__((always_inline)) int ahead_block_bytes(enum dtype form)
{
    const struct mat_layout l = mat_form_layout(form);
    return l.lo + l.hi + (l.sub + l.min) / 8 + (l.d + l.m) * 32 / l.span;
}

static inline __attribute__((always_inline)) void ahead(enum dtype form, const uint8_t *panel, int block)
{
    const uint8_t *p = panel + AHEAD + block * ahead_block_bytes(form);
#pragma GCC unroll 20
    for (int i = 0; i < ahead_block_bytes(form); i += 64) __builtin_prefetch(p + i);
}

#endif
