/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_body.h: what the attn_ISA.c share, compiled into each with that file's flags: the softmax of one row
 * as the reference computes it, the merges, and the frame into which a variant puts its products.
 */
#ifndef TUTTI_KERN_ATTN_BODY_H
#define TUTTI_KERN_ATTN_BODY_H

#include <string.h>

#include "base/err.h"
#include "kern/attn.h"
#include "kern/mathf.h"
#include "kern/num.h"

#define ATTN_NEG_INF 0xff800000u
#define ATTN_BLOCK 16 /* keys of a group; the loops run over whole groups */

/* An involution between the encodings of floats and integers that are ordered like them. */
static inline int32_t attn_order(int32_t u)
{
    return u ^ (int32_t)((uint32_t)(u >> 31) >> 1);
}

/* --- quantisers ------------------------------------------------------------------------------------------
 */

/* Numerics 3.2 over one vector. False if it is out of range. */
static inline int attn_quantise(const float *x, int n, float qmax, uint32_t rq, int32_t *code, float *d)
{
    uint32_t b = 0;
    for (int i = 0; i < n; i++) {
        uint32_t u = abs_bits(x[i]);
        b = b > u ? b : u;
    }
    if (b >= ARITH_RANGE) return 0;
    if (b < ARITH_ZERO) {
        memset(code, 0, (size_t)n * sizeof *code);
        *d = 0.0f;
        return 1;
    }
    float a = f32_from_bits(b);
    float id = qmax / a;
    for (int i = 0; i < n; i++) code[i] = rne_small_i32(x[i] * id);
    *d = a * f32_from_bits(rq);
    return 1;
}

static inline void attn_put_key16(void *plane, int D, size_t slot, const int32_t *code)
{
    char *k = (char *)plane + slot / 16 * 32 * (size_t)D + slot % 16 * 4;
    for (int d = 0; d < D; d += 2, k += 64) {
        const int16_t two[2] = {(int16_t)code[d], (int16_t)code[d + 1]};
        memcpy(k, two, sizeof two);
    }
}

static inline void attn_put_key8(void *plane, int D, size_t slot, const int32_t *code)
{
    char *k = (char *)plane + slot / 16 * 16 * (size_t)D + slot % 16 * 4;
    for (int d = 0; d < D; d += 4, k += 64) {
        const int8_t four[4] = {(int8_t)code[d], (int8_t)code[d + 1], (int8_t)code[d + 2], (int8_t)code[d + 3]};
        memcpy(k, four, sizeof four);
    }
}

static inline void attn_put16(const struct kv_view *view, int D, size_t slot, const int32_t *ck,
                              const int32_t *cv)
{
    int16_t *v = (int16_t *)view->v + slot / 2 * 2 * (size_t)D + slot % 2;
    attn_put_key16(view->k, D, slot, ck);
    for (int d = 0; d < D; d++) v[d * 2] = (int16_t)cv[d];
}

static inline void attn_put8(const struct kv_view *view, int D, size_t slot, const int32_t *ck,
                             const int32_t *cv)
{
    int8_t *v = (int8_t *)view->v + slot / 4 * 4 * (size_t)D + slot % 4;
    attn_put_key8(view->k, D, slot, ck);
    for (int d = 0; d < D; d++) v[d * 4] = (int8_t)cv[d];
}

static inline int attn_store_body(const struct kv_view *view, enum kv_type type, int D, int slot,
                                  const float *k, const float *v)
{
    int32_t ck[KV_D_MAX], cv[KV_D_MAX];
    float qmax = type == KV16 ? 32767.0f : 127.0f, dk, dv;
    uint32_t rq = type == KV16 ? ARITH_RQ16 : ARITH_RQ8;
    if (!attn_quantise(k, D, qmax, rq, ck, &dk) || !attn_quantise(v, D, qmax, rq, cv, &dv)) return ERR_RANGE;
    if (type == KV16) {
        attn_put16(view, D, (size_t)slot, ck, cv);
    } else {
        attn_put8(view, D, (size_t)slot, ck, cv);
    }
    view->dk[slot] = dk;
    view->dv[slot] = dv;
    view->pm[slot] = slot == 0 || dv > view->pm[slot - 1] ? dv : view->pm[slot - 1];
    return 0;
}

/* One query: codes as the products want them (struct attn_q), *dqs = its scale times `scale`. 0 or ERR_RANGE. */
static inline int attn_put_query(const float *x, int D, enum kv_type type, float scale, float *dqs, int16_t *restrict a,
                                 int16_t *restrict b)
{
    int32_t code[KV_D_MAX];
    float dq = 0.0f;
    int fine = attn_quantise(x, D, 32767.0f, ARITH_RQ16, code, &dq);
    *dqs = dq * scale;
    if (!fine) memset(code, 0, (size_t)D * sizeof *code);
    if (type == KV16) {
        for (int d = 0; d < D; d++) a[d] = (int16_t)(code[d] >> 8);
        for (int d = 0; d < D; d++) b[d] = (int16_t)(code[d] & 255);
    } else {
        for (int d = 0; d < D; d += 4) {
            a[d] = (int16_t)code[d];
            a[d + 1] = (int16_t)code[d + 2];
            a[d + 2] = (int16_t)code[d + 1];
            a[d + 3] = (int16_t)code[d + 3];
        }
    }
    return fine && abs_bits(*dqs) < ARITH_RANGE ? 0 : ERR_RANGE;
}

static inline void attn_quant_q_body(struct attn_q *q, enum kv_type type, int D, int n,
                                     const float *const *rows, float scale)
{
    q->n = n;
    q->D = D;
    q->extra = 0;
    q->type = type;
    q->cap = 0.0f;
    q->ahead = NULL;
    for (int r = 0; r < n; r++)
        q->err[r] = attn_put_query(rows[r], D, type, scale, &q->dqs[r], q->a + r * D, q->b + r * D);
}

static inline void attn_hadamard_body(float *x, int D)
{
    for (int h = 1; h < D; h *= 2) {
        for (int i = 0; i < D; i += 2 * h) {
            for (int j = i; j < i + h; j++) {
                float a = x[j], b = x[j + h];
                x[j] = a + b;
                x[j + h] = a - b;
            }
        }
    }
}

/* --- one chunk --------------------------------------------------------------------------------------------
 */

/* The header of a part: false and ERR_RANGE if the largest score left the range. */
static inline int attn_header(struct attn_part *part, float m)
{
    memset(part, 0, sizeof *part);
    part->m = m;
    if (abs_bits(m) < ARITH_RANGE) return 1;
    part->m = 0.0f;
    part->status = ERR_RANGE;
    return 0;
}

/* 32767 / v, or 0 for a chunk of zero values. */
static inline float attn_p_scale(float v)
{
    return v > 0.0f ? 32767.0f / v : 0.0f;
}

/* Scores of one row from the sums Q*K, capped, in place: what attn_softmax then takes with scales of 1. Whole
 * groups of lo..hi only; of masked keys any value. */
static inline void attn_cap(float *I, float dqs, const float *dk, int lo, int hi, float cap, float top)
{
    for (int j = lo / ATTN_BLOCK * ATTN_BLOCK; j < (hi / ATTN_BLOCK + 1) * ATTN_BLOCK; j++) {
        float s = I[j] * (dqs * dk[j]);
        I[j] = top * tanh32(s / cap);
    }
}

/* Scores of one row from its two sums, in place: the common one in I and that of the extra dimensions in J.
 * Whole groups. */
static inline void attn_add_extra(float *restrict I, const float *restrict J, float dqs, float dqs2,
                                  const struct kv_view *view, int lo, int hi)
{
    const float *restrict dk = view->dk, *restrict dkr = view->dkr;
    for (int j = lo / ATTN_BLOCK * ATTN_BLOCK; j < (hi / ATTN_BLOCK + 1) * ATTN_BLOCK; j++)
        I[j] = fma32(J[j], dqs2 * dkr[j], I[j] * (dqs * dk[j]));
}

/* I[j], the sums Q*K as floats, in: wanted for the groups of lo..hi only, any finite value for masked keys.
 * Out: P[0..127] (0 for masked keys) and the header of the part. False if the scores left the range. */
static inline int attn_softmax(const float *I, float dqs, const struct kv_view *view, int lo, int hi,
                               int16_t *restrict P, struct attn_part *part)
{
    float s[ATTN_CHUNK];
    int j0 = lo / ATTN_BLOCK * ATTN_BLOCK, j1 = (hi / ATTN_BLOCK + 1) * ATTN_BLOCK;
    const float *restrict dk = view->dk, *restrict dv = view->dv;

    int32_t top = INT32_MIN;
    for (int j = j0; j < j1; j++) {
        float x = I[j] * (dqs * dk[j]);
        x = ((j >= lo) & (j <= hi)) ? x : f32_from_bits(ATTN_NEG_INF);
        s[j] = x;
        int32_t key = attn_order((int32_t)f32_bits(x));
        top = top > key ? top : key;
    }
    float m = f32_from_bits((uint32_t)attn_order(top)) + 0.0f; /* -0 becomes +0 */

    memset(P, 0, ATTN_CHUNK * sizeof *P);
    if (!attn_header(part, m)) return 0;

    float v = view->pm[hi], t = attn_p_scale(v);
    int32_t l = 0;
    for (int j = j0; j < j1; j++) {
        float p = exp32(s[j] - m);
        l += rne_pos_i32(p * 0x1p23f);
        float w = (p * dv[j]) * t;
        P[j] = (int16_t)rne_pos_i32(w);
    }
    part->l = (float)l;
    part->sv = v / 32767.0f;
    return 1;
}

/* The part of a row that sees nothing of this chunk, or whose query was out of range: true, with the header
 * set. */
static inline int attn_skips(const struct attn_q *q, int r, int lo, int hi, struct attn_part *part)
{
    if (hi >= lo && q->err[r] == 0) return 0;
    memset(part, 0, sizeof *part);
    part->status = hi < lo ? ATTN_EMPTY : q->err[r];
    if (hi < lo) part->m = f32_from_bits(ATTN_NEG_INF);
    return 1;
}

typedef void attn_product16(int n, int n_groups, const int16_t *x, size_t group, size_t line, int steps,
                            const int16_t *a, const int16_t *b, size_t row, float *out, size_t stride,
                            struct attn_ahead *ahead);
typedef void attn_product8(int n, int n_groups, const int8_t *x, size_t group, size_t line, int steps,
                           const int16_t *a, size_t row, float *out, size_t stride, struct attn_ahead *ahead);
typedef unsigned attn_weights(const struct attn_q *q, const float *dqs, const struct kv_view *view, unsigned live,
                              const int *lo, const int *hi, float *I, int16_t *A, int16_t *B, void *parts);

/* A chunk from the three pieces that a vector variant writes by hand:
 * product16  out[r*stride + g*16 + lane] = sum over steps, pairs and planes of line[g][step] * (a,
 * b)[r][step] for n rows and n_groups groups of 16 lanes; steps are `line` codes apart, groups `group` codes,
 * rows of a and b `row` words. Lanes are keys for Q*K, dimensions for P*V. product8   the same for 8-bit
 * codes, four per lane and step; a holds words in the order 0 2 1 3 of each four weights    attn_softmax with
 * P split or ordered like that; s may be overwritten */
static inline __attribute__((always_inline)) void
attn_tile(const struct kv_view *view, const struct attn_q *q, const int *lo, const int *hi, void *parts,
          attn_product16 *product16, attn_product8 *product8, attn_weights *weights)
{
    _Alignas(64) float I[ATTN_ROWS * ATTN_CHUNK], J[ATTN_ROWS * ATTN_CHUNK];
    _Alignas(64) int16_t A[ATTN_ROWS * ATTN_CHUNK], B[ATTN_ROWS * ATTN_CHUNK];
    int n = q->n, D = q->D, from = ATTN_CHUNK, to = -1;
    size_t d = (size_t)D, part = attn_part_bytes(D) / sizeof(float);

    unsigned live = 0; /* rows that are still to be computed */
    for (int r = 0; r < n; r++) {
        if (attn_skips(q, r, lo[r], hi[r], attn_part_at(parts, D, r))) continue;
        live |= 1u << r;
        from = lo[r] < from ? lo[r] : from;
        to = hi[r] > to ? hi[r] : to;
    }
    if (to < 0) return;

    int g0 = from / 16, n_groups = to / 16 + 1 - g0;
    if (n_groups < ATTN_CHUNK / 16) memset(I, 0, (size_t)n * ATTN_CHUNK * sizeof *I); /* weights read all */
    struct attn_ahead *ahead = q->ahead;
    if (q->type == KV16) {
        const int16_t *k = (const int16_t *)view->k + (size_t)g0 * 16 * d;
        product16(n, n_groups, k, 16 * d, 32, (D < KV16_SLICE ? D : KV16_SLICE) / 2, q->a, q->b, d,
                  I + g0 * 16, ATTN_CHUNK, ahead);
        for (int at = KV16_SLICE; at < D; at += KV16_SLICE) {
            int w = D - at < KV16_SLICE ? D - at : KV16_SLICE;
            product16(n, n_groups, k + at * 16, 16 * d, 32, w / 2, q->a + at, q->b + at, d, J + g0 * 16,
                      ATTN_CHUNK, NULL);
            for (int r = 0; r < n; r++)
                for (int j = g0 * 16; j < (g0 + n_groups) * 16; j++) I[r * ATTN_CHUNK + j] += J[r * ATTN_CHUNK + j];
        }
    } else {
        product8(n, n_groups, (const int8_t *)view->k + (size_t)g0 * 16 * d, 16 * d, 64, D / 4, q->a, d,
                 I + g0 * 16, ATTN_CHUNK, ahead);
    }

    float ones[ATTN_CHUNK];
    struct kv_view scored = *view;
    const float *dqs = q->dqs;
    if (q->extra || q->cap > 0.0f) /* scores as they are to be, with scales of 1 */
        for (int j = 0; j < ATTN_CHUNK; j++) ones[j] = 1.0f;
    if (q->extra) {
        size_t e = (size_t)q->extra;
        if (q->type == KV16)
            product16(n, n_groups, (const int16_t *)view->kr + (size_t)g0 * 16 * e, 16 * e, 32, q->extra / 2,
                      q->a2, q->b2, e, J + g0 * 16, ATTN_CHUNK, NULL);
        else
            product8(n, n_groups, (const int8_t *)view->kr + (size_t)g0 * 16 * e, 16 * e, 64, q->extra / 4,
                     q->a2, e, J + g0 * 16, ATTN_CHUNK, NULL);
        for (int r = 0; r < n; r++)
            if (live >> r & 1)
                attn_add_extra(I + r * ATTN_CHUNK, J + r * ATTN_CHUNK, dqs[r], q->dqs2[r], view, lo[r],
                               hi[r]);
        scored.dk = ones;
        dqs = ones;
    }
    if (q->cap > 0.0f) {
        for (int r = 0; r < n; r++)
            if (live >> r & 1) attn_cap(I + r * ATTN_CHUNK, dqs[r], scored.dk, lo[r], hi[r], q->cap, q->top[r]);
        scored.dk = ones;
        dqs = ones;
    }
    if (ahead) attn_ahead_fetch(ahead, 3 * ATTN_CHUNK * sizeof(float)); /* as much as the scales */
    live = weights(q, dqs, &scored, live, lo, hi, I, A, B, parts);
    int keys = n_groups * 16; /* runs of live rows go through the product together */
    for (int r = 0, run; r < n; r += run) {
        run = 1;
        if (!(live >> r & 1)) continue;
        while (r + run < n && (live >> (r + run) & 1)) run++;
        float *u = attn_part_at(parts, D, r)->u;
        size_t at = (size_t)r * ATTN_CHUNK + (size_t)g0 * 16;
        if (q->type == KV16) {
            product16(run, D / 16, (const int16_t *)view->v + (size_t)g0 * 16 * d, 32, 2 * d, keys / 2,
                      A + at, B + at, ATTN_CHUNK, u, part, ahead);
        } else {
            product8(run, D / 16, (const int8_t *)view->v + (size_t)g0 * 16 * d, 64, 4 * d, keys / 4, A + at,
                     ATTN_CHUNK, u, part, ahead);
        }
        ahead = NULL;
    }
}

static inline void attn_merge_chunk_body(struct attn_state *state, const struct attn_part *part, int D)
{
    if (part->status == ATTN_EMPTY || state->status < 0) return;
    if (part->status < 0) {
        state->status = part->status;
        return;
    }
    float n = state->m > part->m ? state->m : part->m;
    float al = exp32(state->m - n), be = exp32(part->m - n);
    float w = be * part->sv;
    state->l = fma32(state->l, al, (part->l * 0x1p-23f) * be);
    for (int i = 0; i < D; i++) state->o[i] = fma32(state->o[i], al, part->u[i] * w);
    state->m = n;
    state->status = 0;
}

static inline void attn_merge_super_body(struct attn_state *total, const struct attn_state *state, int D)
{
    if (state->status == ATTN_EMPTY || total->status < 0) return;
    if (state->status < 0) {
        total->status = state->status;
        return;
    }
    float n = total->m > state->m ? total->m : state->m;
    float al = exp32(total->m - n), be = exp32(state->m - n);
    total->l = fma32(total->l, al, state->l * be);
    for (int i = 0; i < D; i++) total->o[i] = fma32(total->o[i], al, state->o[i] * be);
    total->m = n;
    total->status = 0;
}

static inline int attn_finish_body(float *out, const struct attn_state *total, int D)
{
    if (total->status != 0) {
        memset(out, 0, (size_t)D * sizeof *out);
        return total->status < 0 ? total->status : 0;
    }
    for (int i = 0; i < D; i++) out[i] = total->o[i] / total->l;
    return 0;
}

#endif
