/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn.c: what attention needs of which one version serves every instruction set: the layout of a page and
 * the walk over chunks. See attn.h.
 */
#include "kern/attn.h"

#include <string.h>

#include <stdbool.h>
#include "kern/attn_body.h"

int kv_supports(int D, int extra)
{
    return D >= ATTN_D_STEP && D <= KV_D_MAX && D % ATTN_D_STEP == 0 && extra >= 0 && extra <= KV_EXTRA_MAX &&
           extra % ATTN_D_STEP == 0;
}

size_t kv_view_bytes(enum kv_type type, int D, int extra)
{
    return 2 * ATTN_CODE_BYTES(type, D) + ATTN_CODE_BYTES(type, extra) + (extra ? 4 : 3) * ATTN_CHUNK * sizeof(float);
}

void kv_view_init(struct kv_view *view, void *base, enum kv_type type, int D, int extra)
{
    char *p = base;
    size_t n = ATTN_CODE_BYTES(type, D);
    view->k = p;
    view->v = p + n;
    view->dk = (float *)(void *)(p + 2 * n);
    view->dv = view->dk + ATTN_CHUNK;
    view->pm = view->dv + ATTN_CHUNK;
    view->dkr = extra ? view->pm + ATTN_CHUNK : NULL;
    view->kr = extra ? view->dkr + ATTN_CHUNK : NULL;
}

void attn_ahead_fetch(struct attn_ahead *a, size_t bytes)
{
    while (bytes > 0 && (a->bytes > 0 || a->more(a))) {
        size_t n = bytes < a->bytes ? bytes : a->bytes;
        for (size_t i = 0; i < n; i += 64) __builtin_prefetch(a->p + i);
        a->p += n;
        a->bytes -= n;
        bytes -= n;
    }
}

const char *attn_ahead_take(struct attn_ahead *a, size_t bytes)
{
    if (a->bytes == 0 && !a->more(a)) return NULL;
    const char *p = a->p;
    size_t n = bytes < a->bytes ? bytes : a->bytes;
    a->p += n;
    a->bytes -= n;
    attn_ahead_fetch(a, bytes - n);
    return p;
}

void attn_slot_fetch(const struct kv_view *view, enum kv_type type, int D, int slot)
{
    size_t bytes = ATTN_CODE_BYTES(type, D) / ATTN_CHUNK, at = (size_t)slot; /* of a vector */
    size_t run = type == KV16 ? 2 : 4;                                      /* positions whose values share a line */
    for (size_t i = 0; i < bytes / 4; i++) __builtin_prefetch((char *)view->k + at / 16 * 16 * bytes + 64 * i, 1);
    for (size_t i = 0; i < run * bytes; i += 64) __builtin_prefetch((char *)view->v + at / run * run * bytes + i, 1);
    __builtin_prefetch(view->dk + slot, 1);
    __builtin_prefetch(view->dv + slot, 1);
    __builtin_prefetch(view->pm + slot, 1);
}

int attn_store_extra(const struct kv_view *view, enum kv_type type, int extra, int slot, const float *k)
{
    int32_t code[KV_EXTRA_MAX];
    bool wide = type == KV16;
    if (!attn_quantise(k, extra, wide ? 32767.0f : 127.0f, wide ? ARITH_RQ16 : ARITH_RQ8, code,
                       &view->dkr[slot]))
        return ERR_RANGE;
    if (wide)
        attn_put_key16(view->kr, extra, (size_t)slot, code);
    else
        attn_put_key8(view->kr, extra, (size_t)slot, code);
    return 0;
}

void attn_quant_extra(struct attn_q *q, int extra, const float *const *rows, float scale)
{
    q->extra = extra;
    for (int r = 0; r < q->n; r++) {
        int rc = attn_put_query(rows[r], extra, q->type, scale, &q->dqs2[r], q->a2 + r * extra, q->b2 + r * extra);
        if (rc) q->err[r] = rc;
    }
}

float attn_heat(int warm, int64_t pos)
{
    return pos > warm ? log32((float)pos) / log32((float)warm) : 1.0f;
}

void attn_set_cap(struct attn_q *q, float cap, const float *heat)
{
    q->cap = cap;
    for (int r = 0; r < q->n; r++) {
        float h = heat ? heat[r] : 1.0f;
        q->top[r] = cap * h;
        if (cap > 0.0f || h == 1.0f) continue;
        q->dqs[r] = q->dqs[r] * h;
        if (q->extra) q->dqs2[r] = q->dqs2[r] * h;
    }
}

void attn_state_init(struct attn_state *state, int D)
{
    memset(state, 0, attn_part_bytes(D));
    state->m = f32_from_bits(0xff800000u); /* -inf */
    state->status = ATTN_EMPTY;
}

/* As if merge_super met a state of maximum `sink`, sum 1 and no values. */
void attn_sink(struct attn_state *total, float sink, int D)
{
    if (total->status != 0) return;
    float n = total->m > sink ? total->m : sink;
    float al = exp32(total->m - n), be = exp32(sink - n);
    total->l = fma32(total->l, al, be);
    for (int i = 0; i < D; i++) total->o[i] = total->o[i] * al;
    total->m = n;
}

size_t attn_rows_scratch(int D)
{
    return 3 * ATTN_ROWS * attn_part_bytes(D);
}

void attn_rows(const struct attn_kern *kern, const struct attn_q *q, void *const *pages, int64_t page0,
               size_t offset, const int64_t *first, const int64_t *last, const float *sink, float *const *out,
               int32_t *status, void *scratch)
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
        kv_view_init(&view, (char *)pages[p / ATTN_CHUNK - page0] + offset, q->type, D, q->extra);
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
    for (int r = 0; r < n; r++) {
        if (sink) attn_sink(attn_state_at(totals, D, r), sink[r], D);
        status[r] = kern->finish(out[r], attn_state_at(totals, D, r), D);
    }
}
