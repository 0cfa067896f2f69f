/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn.c: what attention needs of which one version serves every instruction set: the layout of a page,
 * the quantisers of its two sides, the walk over chunks. See attn.h.
 */
#include "kern/attn.h"

#include <string.h>

#include "base/err.h"
#include "kern/num.h"

#define RANGE_BITS 0x5d800000u /* 2^60 */
#define ZERO_BITS 0x21800000u  /* 2^-60 */
#define RQ8 0x3c010204u        /* fl(1/127) */
#define RQ16 0x38000100u       /* fl(1/32767) */

int kv_supports(enum kv_type type, int D)
{
    int max = type == KV16 ? KV16_D_MAX : KV8_D_MAX;
    return (type == KV16 || type == KV8) && D >= ATTN_D_STEP && D <= max && D % ATTN_D_STEP == 0;
}

static size_t code_bytes(enum kv_type type, int D)
{
    return (size_t)ATTN_CHUNK * (size_t)D * (type == KV16 ? 2 : 1);
}

size_t kv_view_bytes(enum kv_type type, int D)
{
    return 2 * code_bytes(type, D) + 3 * ATTN_CHUNK * sizeof(float);
}

void kv_view_init(struct kv_view *view, void *base, enum kv_type type, int D)
{
    char *p = base;
    size_t n = code_bytes(type, D);
    view->k = p;
    view->v = p + n;
    view->dk = (float *)(void *)(p + 2 * n);
    view->dv = view->dk + ATTN_CHUNK;
    view->pm = view->dv + ATTN_CHUNK;
    view->next = NULL;
}

/* Numerics 3.2 over one vector. False if it is out of range. */
static int quantise(const float *x, int n, float qmax, uint32_t rq, int32_t *code, float *d)
{
    uint32_t b = 0;
    for (int i = 0; i < n; i++) {
        uint32_t u = abs_bits(x[i]);
        b = b > u ? b : u;
    }
    if (b >= RANGE_BITS) return 0;
    if (b < ZERO_BITS) {
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

static void put16(const struct kv_view *view, int D, size_t slot, const int32_t *ck, const int32_t *cv)
{
    int16_t *k = (int16_t *)view->k + slot / 16 * 16 * (size_t)D + slot % 16 * 2;
    int16_t *v = (int16_t *)view->v + slot / 2 * 2 * (size_t)D + slot % 2;
    for (int d = 0; d < D; d += 2) {
        k[d * 16] = (int16_t)ck[d];
        k[d * 16 + 1] = (int16_t)ck[d + 1];
    }
    for (int d = 0; d < D; d++) v[d * 2] = (int16_t)cv[d];
}

static void put8(const struct kv_view *view, int D, size_t slot, const int32_t *ck, const int32_t *cv)
{
    int8_t *k = (int8_t *)view->k + slot / 16 * 16 * (size_t)D + slot % 16 * 4;
    int8_t *v = (int8_t *)view->v + slot / 4 * 4 * (size_t)D + slot % 4;
    for (int d = 0; d < D; d += 4) {
        for (int i = 0; i < 4; i++) k[d * 16 + i] = (int8_t)ck[d + i];
    }
    for (int d = 0; d < D; d++) v[d * 4] = (int8_t)cv[d];
}

int attn_store(const struct kv_view *view, enum kv_type type, int D, int slot, const float *k, const float *v)
{
    int32_t ck[KV8_D_MAX], cv[KV8_D_MAX];
    float qmax = type == KV16 ? 32767.0f : 127.0f, dk, dv;
    uint32_t rq = type == KV16 ? RQ16 : RQ8;
    if (!quantise(k, D, qmax, rq, ck, &dk) || !quantise(v, D, qmax, rq, cv, &dv)) return ERR_RANGE;
    (type == KV16 ? put16 : put8)(view, D, (size_t)slot, ck, cv);
    view->dk[slot] = dk;
    view->dv[slot] = dv;
    view->pm[slot] = slot == 0 || dv > view->pm[slot - 1] ? dv : view->pm[slot - 1];
    return 0;
}

void hadamard_f32(float *x, int D)
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

void attn_quant_q(struct attn_q *q, enum kv_type type, int D, int n, const float *const *rows, float scale)
{
    int32_t code[KV8_D_MAX];
    q->n = n;
    q->D = D;
    q->type = type;
    for (int r = 0; r < n; r++) {
        float dq = 0.0f;
        int fine = quantise(rows[r], D, 32767.0f, RQ16, code, &dq);
        q->dqs[r] = dq * scale;
        q->err[r] = fine && abs_bits(q->dqs[r]) < RANGE_BITS ? 0 : ERR_RANGE;
        if (!fine) memset(code, 0, (size_t)D * sizeof *code);
        int16_t *a = q->a + r * D, *b = q->b + r * D;
        if (type == KV16) {
            for (int d = 0; d < D; d++) {
                a[d] = (int16_t)(code[d] >> 8);
                b[d] = (int16_t)(code[d] & 255);
            }
        } else {
            for (int d = 0; d < D; d += 4) {
                a[d] = (int16_t)code[d];
                a[d + 1] = (int16_t)code[d + 2];
                a[d + 2] = (int16_t)code[d + 1];
                a[d + 3] = (int16_t)code[d + 3];
            }
        }
    }
}

void attn_state_init(struct attn_state *state, int D)
{
    memset(state, 0, attn_part_bytes(D));
    state->m = f32_from_bits(0xff800000u); /* -inf */
    state->status = ATTN_EMPTY;
}

size_t attn_rows_scratch(int D)
{
    return 3 * ATTN_ROWS * attn_part_bytes(D);
}

void attn_rows(const struct attn_kern *kern, const struct attn_q *q, void *const *pages, int64_t page0,
               size_t offset, const int64_t *first, const int64_t *last, float *const *out, int32_t *status,
               void *scratch)
{
    int n = q->n, D = q->D, lo[ATTN_ROWS], hi[ATTN_ROWS];
    void *parts = scratch, *states = (char *)parts + ATTN_ROWS * attn_part_bytes(D),
         *totals = (char *)states + ATTN_ROWS * attn_part_bytes(D);
    int64_t from = INT64_MAX, to = -1;
    for (int r = 0; r < n; r++) {
        attn_state_init(attn_state_at(totals, D, r), D);
        if (last[r] < first[r]) continue;
        from = first[r] < from ? first[r] : from;
        to = last[r] > to ? last[r] : to;
    }
    for (int64_t p = to < 0 ? 0 : from / ATTN_CHUNK * ATTN_CHUNK, begin = p; p <= to; p += ATTN_CHUNK) {
        struct kv_view view;
        kv_view_init(&view, (char *)pages[p / ATTN_CHUNK - page0] + offset, q->type, D);
        if (p + ATTN_CHUNK <= to) view.next = (char *)pages[p / ATTN_CHUNK + 1 - page0] + offset;
        for (int r = 0; r < n; r++) {
            int64_t a = first[r] - p, b = last[r] - p;
            lo[r] = a < 0 ? 0 : a > ATTN_CHUNK ? ATTN_CHUNK : (int)a;
            hi[r] = b < 0 ? -1 : b >= ATTN_CHUNK ? ATTN_CHUNK - 1 : (int)b;
        }
        kern->chunk(&view, q, lo, hi, parts);
        int opens = p == begin || p % ATTN_SUPER == 0;
        int closes = p + ATTN_CHUNK > to || (p + ATTN_CHUNK) % ATTN_SUPER == 0;
        for (int r = 0; r < n; r++) {
            struct attn_state *state = attn_state_at(states, D, r);
            if (opens) attn_state_init(state, D);
            kern->merge_chunk(state, attn_part_at(parts, D, r), D);
            if (closes) kern->merge_super(attn_state_at(totals, D, r), state, D);
        }
    }
    for (int r = 0; r < n; r++) status[r] = kern->finish(out[r], attn_state_at(totals, D, r), D);
}
