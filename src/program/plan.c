/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: gives every shared buffer an offset in one block, so that buffers whose lifetimes overlap never overlap in
 * memory. First fit, in order of first use: at each buffer the lowest gap among those alive at the same time. Local
 * buffers get offsets in a worker's scratch.
 */
#include "kern/act.h"
#include "program/program.h"

static size_t bytes_of(const struct program *p, const struct buffer *b)
{
    int rows = buffer_rows(p, b);
    size_t n = b->kind == BUFFER_CODES ? act_bytes(b->tier, b->width, rows)
                                       : (size_t)rows * (size_t)buffer_stride(b) * sizeof(float);
    return (n + 4095) & ~(size_t)4095; /* own pages: workers on other cores do not share lines */
}

static bool alive_together(const struct buffer *a, const struct buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

int program_plan(struct program *p, struct err *e)
{
    size_t top = 0, scratch = 0;
    for (int i = 0; i < p->n_buffers; i++) {
        struct buffer *b = &p->buffers[i];
        if (b->first < 0) continue;
        for (int r = 0; r < MODEL_ROPES; r++)
            if (i == p->turn[r]) b->last = p->n_body - 1;
        b->bytes = bytes_of(p, b);
        if (b->local) {
            b->at = scratch;
            scratch += b->bytes;
            continue;
        }
        /* The body's buffers stay as they are while the head runs several times. */
        if (!b->head && b->last >= p->n_body) b->last = p->n_steps - 1;
        size_t at = 0;
        for (bool moved = true; moved;) { /* the lowest place that clears everyone placed so far */
            moved = false;
            for (int j = 0; j < i; j++) {
                const struct buffer *o = &p->buffers[j];
                if (o->first < 0 || o->local || !alive_together(o, b)) continue;
                if (at < o->at + o->bytes && o->at < at + b->bytes) at = o->at + o->bytes, moved = true;
            }
        }
        b->at = at;
        if (at + b->bytes > top) top = at + b->bytes;
    }
    p->block_bytes = top;
    p->scratch_bytes = scratch;
    (void)e;
    return 0;
}
