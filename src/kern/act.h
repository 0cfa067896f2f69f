/* SPDX-License-Identifier: Apache-2.0 */
/*
 * act: activation vectors, quantised once per (token, group) (contract section 3.2), in the layout that every
 * matrix kernel reads.
 *
 * Tokens come in tiles of 16. Per 64 bytes of codes along k the 16 tokens of a tile lie one after the other,
 * so that a kernel reaches all of them from one address with constant offsets, and an AMX A tile is 16 rows
 * of 64 bytes:
 *
 *   A8   q  [tile][k/64][16 token][64]         int8
 *   A16  q  [tile][k/32][16 token][32]         int16 low byte planes  (x & 255), 0..255
 *        qh [tile][k/32][16 token][32]         int16 high byte planes (x >> 8), -128..127
 *   A16 for 8-bit weights: q holds the codes in one piece, no qh
 *        Words of four k lie in the order 0 2 1 3, so that the bytes of a weight line become words by a mask
 *        and a shift.
 *   d    [tile][k/A][16]                       float, scale of a group; A = 32 or 256
 *   ns   [tile][k/S][16]                       int32, minus the sum of S codes; S = 32 (A8/32, A16 for 8
 *                                              bits) or 16 (A8/256)
 *   sd   [tile][k/32][16]                      float, fl(float(sum) * d), A8/32 only
 *
 * k is a multiple of 32; what lies past it in a line of 64 is never read.
 *
 * A step of one token has tiles of 1 in the same memory: at 16 its lines and scales, each on a line of the
 * cache of its own, would take as much of L1 as the weights that pass.
 */
#ifndef TUTTI_KERN_ACT_H
#define TUTTI_KERN_ACT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "kern/mat.h"

enum { ACT_TILE = 16 }; /* tokens of a tile, and of act.tile unless that is 1 */

struct act {
    enum act_tier tier;
    int tile;    /* ACT_TILE, or 1: then no product may take two tokens */
    int k;       /* reduction length */
    int k64;     /* lines of 64 code bytes per token: ceil(k / 64) for A8, k / 32 for A16 */
    int groups;  /* scales per token */
    int sums;    /* sums per token */
    int8_t *q;   /* A8 codes, or A16 low planes (as int16) */
    int8_t *qh;  /* A16 high planes (as int16); NULL for A8 */
    float *d;
    int32_t *ns;
    float *sd;
};

/* Bytes for n_tok tokens of length k. */
size_t act_bytes(enum act_tier tier, int k, int n_tok);
/* Lays *a out in act_bytes() bytes of 64-byte aligned memory. */
void act_init(struct act *a, enum act_tier tier, int k, int n_tok, void *mem);

/* Index into d, ns, sd of what a token has per_tok of. */
static inline size_t act_at(const struct act *a, int per_tok, int tok, int i)
{
    if (a->tile == 1) return (size_t)tok * (size_t)per_tok + (size_t)i;
    return (size_t)(tok / ACT_TILE * per_tok + i) * ACT_TILE + (size_t)(tok % ACT_TILE);
}

/* From here on the codes hold at most n_tok tokens, or one for each product: n_tok = 1. What they held is lost. */
static inline void act_tokens(struct act *a, int n_tok)
{
    a->tile = n_tok == 1 ? 1 : ACT_TILE;
}

/* For a kernel of T tokens, a constant: the same, with a constant tile where T > 1. */
static inline struct act act_for(const struct act *a, int T)
{
    struct act b = *a;
    if (T > 1) b.tile = ACT_TILE;
    return b;
}

/* The codes from a token on that begins a tile, as an act of their own. */
static inline struct act act_from(const struct act *a, int tok)
{
    struct act b = *a;
    size_t first = (size_t)tok;
    b.q += first * (size_t)a->k64 * 64;
    if (b.qh) b.qh += first * (size_t)a->k64 * 64;
    b.d += first * (size_t)a->groups;
    b.ns += first * (size_t)a->sums;
    if (b.sd) b.sd += first * (size_t)a->groups;
    return b;
}

/* The codes of one token to another place. */
void act_copy(struct act *a, int to, int from);

static inline int8_t *act_line(const struct act *a, int tok, int line)
{
    return a->q + act_at(a, a->k64, tok, line) * 64;
}

/* Which of 32 codes stands at word i of an A16 line: of each four 0 2 1 3. */
static inline int act_word(int i)
{
    return (i & ~3) | (i & 1) << 1 | (i >> 1 & 1);
}

/* Code of element i of a token's vector; for kernels too slow. */
static inline int act_code(const struct act *a, int tok, int i)
{
    if (a->tier == ACT_A8_32 || a->tier == ACT_A8_256) return act_line(a, tok, i / 64)[i % 64];
    const int8_t *lo = act_line(a, tok, i / 32) + 2 * act_word(i % 32); /* act_word is its own inverse */
    int16_t v, high = 0;
    memcpy(&v, lo, 2);
    if (a->qh) memcpy(&high, lo + (a->qh - a->q), 2);
    return high * 256 + v;
}

/* The vector of one token as it stands for itself, whatever the layout: all codes in order (int8, or int16
 * little-endian), then all scales (float, little-endian), handed over in pieces. */
void act_row(const struct act *a, int tok, void (*put)(void *ud, const void *p, size_t n), void *ud);

#endif
