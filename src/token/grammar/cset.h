/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of code points: ranges in order, apart by at least one code point. In an arena, never changed once made. */
#ifndef TUTTI_TOKEN_GRAMMAR_CSET_H
#define TUTTI_TOKEN_GRAMMAR_CSET_H

#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"

enum { CSET_LAST = 0x10FFFF }; /* surrogates are members like others; no text holds them */

struct crange {
    uint32_t lo, hi;
};

struct cset {
    const struct crange *r;
    int n;
};

/* Ranges in any order; *out is sorted and joined. ERR_MEMORY. */
int cset_make(struct arena *a, const struct crange *r, int n, struct cset *out);
int cset_not(struct arena *a, struct cset s, struct cset *out);
int cset_or(struct arena *a, struct cset x, struct cset y, struct cset *out);
int cset_and(struct arena *a, struct cset x, struct cset y, struct cset *out);
bool cset_has(struct cset s, uint32_t cp);
bool cset_eq(struct cset x, struct cset y);

/* The code points of a general category by its short name: "L", "Lu", "Nd", "Z" ...; ERR_NOT_FOUND. */
int cset_category(struct arena *a, const char *name, size_t n, struct cset *out);

#endif
