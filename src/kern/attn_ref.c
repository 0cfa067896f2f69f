/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_ref.c: attention in scalar C, the definition of its bits (attn.h; numerics 3.8, 3.9).
 * Visible keys only, one at a time.
 */
#include "kern/attn_body.h"

/* Key j of a plane of D dimensions times codes a, b of a query. */
static float dot16(const void *plane, int D, const int16_t *a, const int16_t *b, int j)
{
    const int16_t *k = (const int16_t *)plane + j / 16 * 16 * D + j % 16 * 2;
    float sum = 0;
    for (int at = 0; at < D; at += KV16_SLICE) {
        int32_t hi = 0, lo = 0;
        for (int d = at; d < D && d < at + KV16_SLICE; d += 2) {
            hi += k[d * 16] * a[d] + k[d * 16 + 1] * a[d + 1];
            lo += k[d * 16] * b[d] + k[d * 16 + 1] * b[d + 1];
        }
        float slice = fma32((float)hi, 256.0f, (float)lo);
        sum = at ? sum + slice : slice;
    }
    return sum;
}

static float dot8(const void *plane, int D, const int16_t *a, int j)
{
    const int8_t *k = (const int8_t *)plane + j / 16 * 16 * D + j % 16 * 4;
    int32_t sum = 0;
    for (int d = 0; d < D; d += 4) {
        sum += k[d * 16] * a[d] + k[d * 16 + 1] * a[d + 2]; /* a holds dimensions 0 2 1 3 */
        sum += k[d * 16 + 2] * a[d + 1] + k[d * 16 + 3] * a[d + 3];
    }
    return (float)sum;
}

static float sum16(const struct kv_view *view, const int16_t *P, int D, int i, int lo, int hi)
{
    int32_t sum_hi = 0, sum_lo = 0;
    for (int j = lo; j <= hi; j++) {
        int32_t v = ((const int16_t *)view->v)[j / 2 * 2 * D + i * 2 + j % 2];
        sum_hi += v * (P[j] >> 8);
        sum_lo += v * (P[j] & 255);
    }
    return fma32((float)sum_hi, 256.0f, (float)sum_lo);
}

static float sum8(const struct kv_view *view, const int16_t *P, int D, int i, int lo, int hi)
{
    int32_t sum = 0;
    for (int j = lo; j <= hi; j++) sum += ((const int8_t *)view->v)[j / 4 * 4 * D + i * 4 + j % 4] * P[j];
    return (float)sum;
}

static void chunk_ref(const struct kv_view *view, const struct attn_q *q, const int *lo, const int *hi,
                      void *parts)
{
    float I[ATTN_CHUNK], J[ATTN_CHUNK], ones[ATTN_CHUNK];
    int16_t P[ATTN_CHUNK];
    int D = q->D;
    for (int j = 0; j < ATTN_CHUNK; j++) ones[j] = 1.0f;
    for (int r = 0; r < q->n; r++) {
        struct attn_part *part = attn_part_at(parts, D, r);
        if (attn_skips(q, r, lo[r], hi[r], part)) continue;
        memset(I, 0, sizeof I);
        for (int j = lo[r]; j <= hi[r]; j++)
            I[j] = q->type == KV16 ? dot16(view->k, D, q->a + r * D, q->b + r * D, j)
                                   : dot8(view->k, D, q->a + r * D, j);
        struct kv_view scored = *view;
        float dqs = q->dqs[r];
        if (q->extra) {
            int e = q->extra;
            const int16_t *a = q->a2 + r * e, *b = q->b2 + r * e;
            memset(J, 0, sizeof J);
            for (int j = lo[r]; j <= hi[r]; j++)
                J[j] = q->type == KV16 ? dot16(view->kr, e, a, b, j) : dot8(view->kr, e, a, j);
            attn_add_extra(I, J, dqs, q->dqs2[r], view, lo[r], hi[r]);
            scored.dk = ones;
            dqs = 1.0f;
        }
        if (q->cap > 0.0f) {
            attn_cap(I, dqs, scored.dk, lo[r], hi[r], q->cap, q->top[r]);
            scored.dk = ones;
            dqs = 1.0f;
        }
        if (!attn_softmax(I, dqs, &scored, lo[r], hi[r], P, part)) continue;
        for (int i = 0; i < D; i++) {
            part->u[i] =
                q->type == KV16 ? sum16(view, P, D, i, lo[r], hi[r]) : sum8(view, P, D, i, lo[r], hi[r]);
        }
    }
}

const struct attn_kern attn_kern_ref = {
    .name = "ref",
    .store = attn_store_body,
    .quant_q = attn_quant_q_body,
    .hadamard = attn_hadamard_body,
    .chunk = chunk_ref,
    .merge_chunk = attn_merge_chunk_body,
    .merge_super = attn_merge_super_body,
    .finish = attn_finish_body,
};
