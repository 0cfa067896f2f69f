/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention on the CPU: which worker computes which tile of queries over which keys.
 *
 * An item is one kv head of one batch part and up to 16 query rows: tokens times the query heads that share
 * the kv head. With enough items a worker's share is every n-th one, of which it runs all chunks (prefill,
 * many sequences). With few items, as in decode at depth, every item is also cut into slices of chunks: first
 * all slices, each leaving its chunks' partial results, then, after a meeting, the merges in the written
 * order. Chunks are independent until the merge (contract section 3.9), so both ways give the same bits.
 */
#include <string.h>
#include "chip/cpu/cpu.h"

static int group_of(const struct hparams *h)
{
    return h->n_head / h->n_head_kv;
}

/* tokens and query heads of a tile */
static void tile_of(const struct hparams *h, int *n_tok, int *n_head)
{
    int g = group_of(h);
    *n_head = g < ATTN_ROWS ? g : ATTN_ROWS;
    *n_tok = ATTN_ROWS / *n_head;
}

size_t cpu_attend_items_max(const struct program *p)
{
    const struct hparams *h = &p->model->h;
    int n_tok, n_head;
    tile_of(h, &n_tok, &n_head);
    /* one-token parts */
    return (size_t)p->max_rows * (size_t)h->n_head_kv * (size_t)((group_of(h) + n_head - 1) / n_head);
}

static int chunks_of(const struct cpu *c, const struct attend_item *it)
{
    return (c->batch->parts[it->part].pos + it->tok + it->n_tok - 1) / ATTN_CHUNK + 1;
}

static size_t row_bytes(const struct cpu *c)
{
    return attn_part_bytes(c->chip.program->model->h.head_dim);
}

void cpu_attend_plan(struct cpu *c)
{
    const struct batch *b = c->batch;
    const struct hparams *h = &c->chip.program->model->h;
    int n_tok, n_head, row = 0, deepest = 0, workers = pool_size(c->pool);
    tile_of(h, &n_tok, &n_head);
    c->n_items = 0;
    for (int i = 0; i < b->n_parts; i++) {
        for (int kv = 0; kv < h->n_head_kv; kv++) {
            for (int t = 0; t < b->parts[i].n; t += n_tok) {
                for (int hd = 0; hd < group_of(h); hd += n_head) {
                    struct attend_item *it = &c->items[c->n_items++];
                    *it = (struct attend_item){
                        .part = i, .row = row, .tok = t, .head_kv = kv, .head = kv * group_of(h) + hd};
                    it->n_tok = b->parts[i].n - t < n_tok ? b->parts[i].n - t : n_tok;
                    it->n_head = group_of(h) - hd < n_head ? group_of(h) - hd : n_head;
                    int n = chunks_of(c, it);
                    deepest = n > deepest ? n : deepest;
                }
            }
        }
        row += b->parts[i].n;
    }
    c->slice = 0;
    if (workers == 1 || c->n_items >= 8 * workers || deepest < 2) return;
    size_t per_chunk = (size_t)c->n_items * ATTN_ROWS * row_bytes(c);
    if (per_chunk * (size_t)deepest > c->parts_bytes) return; /* no room: whole items */
    c->slice = deepest * c->n_items / (8 * workers) + 1;
    c->n_slices = (deepest + c->slice - 1) / c->slice;
}

/* --- units of work: whole items, or slices of them --------------------------------------------------------- */

struct unit {
    const struct attend_item *it;
    int item, begin, end; /* chunks */
};

static int n_units(const struct cpu *c)
{
    return c->slice ? c->n_items * c->n_slices : c->n_items;
}

/* The first position that a query at `pos` sees. */
static int first_seen(const struct step *s, int pos)
{
    return s->attn.window && pos >= s->attn.window ? pos - s->attn.window + 1 : 0;
}

static struct unit unit_at(const struct cpu *c, const struct step *s, int i)
{
    struct unit u = {.item = c->slice ? i / c->n_slices : i};
    u.it = &c->items[u.item];
    u.end = chunks_of(c, u.it);
    if (!c->slice) {
        u.begin = first_seen(s, c->batch->parts[u.it->part].pos + u.it->tok) / ATTN_CHUNK;
        return u;
    }
    u.begin = i % c->n_slices * c->slice;
    if (u.end > u.begin + c->slice) u.end = u.begin + c->slice;
    return u;
}

/* A page of a part's sequence, the keys and values of one kv head. */
static void view_at(const struct cpu *c, const struct step *s, int part, int head_kv, int page, struct kv_view *view)
{
    const struct kv_seq *seq = c->batch->parts[part].seq;
    const struct kv_shape *shape = &seq->pool->shape;
    kv_view_init(view, (char *)seq->page[page] + kv_view_offset(seq->pool, s->layer, head_kv), shape->type,
                 shape->head_dim, shape->extra);
}

/* --- prefetching what a worker will read ---------------------------------------------------------------- */

enum { LEAD = 20 << 10 }; /* bytes ahead: 16 to 24 KiB measured best; a page and this much fit the L1 cache */

struct walk {
    struct attn_ahead ahead; /* first: what the kernel sees */
    const struct cpu *c;
    const struct step *s;
    struct unit unit;
    int next, chunk, piece;  /* next unit; chunk of this one; of a page that is not full: keys, values, scales */
};

/* A part of several tiles finds its pages in the cache after the first one, and computes longer than it reads. */
static bool streams(const struct cpu *c, const struct attend_item *it)
{
    return c->batch->parts[it->part].n == it->n_tok;
}

static bool walk_on(struct attn_ahead *ahead)
{
    struct walk *w = (struct walk *)ahead;
    for (; w->chunk >= w->unit.end; w->chunk = w->unit.begin) {
        if (w->next >= n_units(w->c)) return false;
        w->unit = unit_at(w->c, w->s, w->next);
        if (!streams(w->c, w->unit.it)) w->unit.end = w->unit.begin;
        w->next += pool_size(w->c->pool);
    }
    const struct batch_part *part = &w->c->batch->parts[w->unit.it->part];
    const struct kv_shape *shape = &part->seq->pool->shape;
    int keys = part->pos + part->n - w->chunk * ATTN_CHUNK;
    struct kv_view view;
    view_at(w->c, w->s, w->unit.it->part, w->unit.it->head_kv, w->chunk, &view);
    ahead->p = view.k;
    ahead->bytes = part->seq->pool->view_bytes;
    if (keys < ATTN_CHUNK) { /* what of it has been written */
        size_t used = ATTN_CODE_BYTES(shape->type, shape->head_dim) / ATTN_CHUNK * (size_t)((keys + 15) & ~15);
        ahead->p = w->piece == 0 ? view.k : w->piece == 1 ? view.v : (const char *)view.dk;
        ahead->bytes = w->piece == 2 ? 3 * ATTN_CHUNK * sizeof(float) : used;
        w->piece = (w->piece + 1) % 3;
    }
    w->chunk += w->piece == 0;
    return true;
}

/* --- one item ------------------------------------------------------------------------------------------- */

static int item_rows(const struct cpu *c, const struct step *s, const struct attend_item *it, const float **rows)
{
    const struct hparams *h = &c->chip.program->model->h;
    int n = 0;
    for (int t = 0; t < it->n_tok; t++)
        for (int j = 0; j < it->n_head; j++)
            rows[n++] = cpu_row(c, 0, s->attn.q, it->row + it->tok + t) + (it->head + j) * h->head_dim;
    return n;
}

/* An 8-bit cache is rotated (contract section 3.8): a Walsh-Hadamard transform of q and k after RoPE spreads outliers
 * over the head; the score scale takes the factor 1/D. Head sizes that are no power of two are left as they are. */
static bool rotated(enum kv_type type, int D)
{
    return type == KV8 && (D & (D - 1)) == 0;
}

/* The dimensions of the queries beyond the values', of latent attention. */
static void load_extra(struct cpu *c, const struct step *s, const struct attend_item *it,
                       struct cpu_worker *w, int n, enum kv_type type)
{
    const struct hparams *h = &c->chip.program->model->h;
    const float *rows[ATTN_ROWS];
    int E = h->kv_extra;
    for (int r = 0; r < n; r++)
        rows[r] = cpu_row(c, 0, s->attn.q_extra, it->row + it->tok + r / it->n_head) +
                  (it->head + r % it->n_head) * E;
    float scale = h->attn_scale;
    if (rotated(type, E)) {
        for (int r = 0; r < n; r++) {
            rows[r] = memcpy(w->rot + r * E, rows[r], (size_t)E * sizeof(float));
            c->kern->attn->hadamard(w->rot + r * E, E);
        }
        scale = scale * (1.0f / (float)E);
    }
    attn_quant_extra(w->q, E, rows, scale);
}

static int load_queries(struct cpu *c, const struct step *s, const struct attend_item *it,
                        struct attn_ahead *ahead, struct cpu_worker *w)
{
    const struct hparams *h = &c->chip.program->model->h;
    const float *rows[ATTN_ROWS];
    int n = item_rows(c, s, it, rows), D = h->head_dim;
    enum kv_type type = c->batch->parts[it->part].seq->pool->shape.type;
    float scale = h->attn_scale;
    if (rotated(type, D)) {
        for (int r = 0; r < n; r++) {
            rows[r] = memcpy(w->rot + r * D, rows[r], (size_t)D * sizeof(float));
            c->kern->attn->hadamard(w->rot + r * D, D);
        }
        scale = scale * (1.0f / (float)D); /* exact: D is a power of two */
    }
    c->kern->attn->quant_q(w->q, type, D, n, rows, scale);
    if (s->attn.q_extra >= 0) load_extra(c, s, it, w, n, type);
    float heat[ATTN_ROWS];
    for (int r = 0; s->attn.warm && r < n; r++)
        heat[r] = attn_heat(s->attn.warm, c->batch->parts[it->part].pos + it->tok + r / it->n_head);
    attn_set_cap(w->q, s->attn.cap, s->attn.warm ? heat : NULL);
    w->q->ahead = streams(c, it) ? ahead : NULL;
    return n;
}

/* The sinks of the program, by query head, or NULL. */
static const float *sinks_of(const struct cpu *c, const struct step *s)
{
    return s->attn.sinks < 0 ? NULL : c->chip.program->vectors[s->attn.sinks].x;
}

static void out_row(struct cpu *c, const struct step *s, const struct attend_item *it, int r, float **out,
                    int *batch_row)
{
    *batch_row = it->row + it->tok + r / it->n_head;
    *out = cpu_row(c, 0, s->attn.out, *batch_row) + (it->head + r % it->n_head) * c->chip.program->model->h.head_dim;
}

static void whole_item(struct cpu *c, const struct step *s, const struct attend_item *it,
                       struct attn_ahead *ahead, struct cpu_worker *w)
{
    const struct batch_part *part = &c->batch->parts[it->part];
    struct kv_pool *pool = part->seq->pool;
    int64_t first[ATTN_ROWS], last[ATTN_ROWS];
    const float *sinks = sinks_of(c, s);
    float *out[ATTN_ROWS], sink[ATTN_ROWS];
    int32_t status[ATTN_ROWS];
    int n = load_queries(c, s, it, ahead, w), row[ATTN_ROWS];
    for (int r = 0; r < n; r++) {
        last[r] = part->pos + it->tok + r / it->n_head;
        first[r] = first_seen(s, (int)last[r]);
        sink[r] = sinks ? sinks[it->head + r % it->n_head] : 0.0f;
        out_row(c, s, it, r, &out[r], &row[r]);
    }
    attn_rows(c->kern->attn, w->q, part->seq->page, 0, kv_view_offset(pool, s->layer, it->head_kv), first, last,
              sinks ? sink : NULL, out, status, w->attn_scratch);
    for (int r = 0; r < n; r++)
        if (status[r]) cpu_fault(c, row[r]);
}

static void *parts_at(const struct cpu *c, int item, int chunk)
{
    return c->parts + ((size_t)item * (size_t)(c->n_slices * c->slice) + (size_t)chunk) * ATTN_ROWS * row_bytes(c);
}

static void slice_of_item(struct cpu *c, const struct step *s, const struct unit *u, struct attn_ahead *ahead,
                          struct cpu_worker *w)
{
    const struct attend_item *it = u->it;
    const struct batch_part *part = &c->batch->parts[it->part];
    int lo[ATTN_ROWS], hi[ATTN_ROWS];
    if (u->begin >= u->end) return;
    int n = load_queries(c, s, it, ahead, w);
    for (int ch = u->begin; ch < u->end; ch++) {
        struct kv_view view;
        view_at(c, s, it->part, it->head_kv, ch, &view);
        for (int r = 0; r < n; r++) {
            int pos = part->pos + it->tok + r / it->n_head, last = pos - ch * ATTN_CHUNK,
                first = first_seen(s, pos) - ch * ATTN_CHUNK;
            lo[r] = first < 0 ? 0 : first < ATTN_CHUNK ? first : ATTN_CHUNK;
            hi[r] = last < 0 ? -1 : last < ATTN_CHUNK ? last : ATTN_CHUNK - 1;
        }
        c->kern->attn->chunk(&view, w->q, lo, hi, parts_at(c, u->item, ch));
    }
}

static void merge_row(struct cpu *c, const struct step *s, int item, int r, struct cpu_worker *w)
{
    const struct attend_item *it = &c->items[item];
    int D = c->chip.program->model->h.head_dim, end = chunks_of(c, it), row;
    struct attn_state *state = attn_state_at(w->attn_scratch, D, 0), *total = attn_state_at(w->attn_scratch, D, 1);
    float *out;
    attn_state_init(total, D);
    for (int ch = 0; ch < end; ch++) {
        if (ch * ATTN_CHUNK % ATTN_SUPER == 0) attn_state_init(state, D);
        c->kern->attn->merge_chunk(state, attn_part_at(parts_at(c, item, ch), D, r), D);
        if (ch + 1 == end || (ch + 1) * ATTN_CHUNK % ATTN_SUPER == 0) c->kern->attn->merge_super(total, state, D);
    }
    out_row(c, s, it, r, &out, &row);
    if (sinks_of(c, s)) attn_sink(total, sinks_of(c, s)[it->head + r % it->n_head], D);
    if (c->kern->attn->finish(out, total, D)) cpu_fault(c, row);
}

void cpu_attend(struct cpu *c, const struct step *s, int worker)
{
    struct cpu_worker *w = &c->workers[worker];
    int workers = pool_size(c->pool), begin, end, share, share_end;
    struct walk walk;
    struct pool_deal deal = pool_deal(c->pool, worker, n_units(c));
    for (int next = -1; pool_take(&deal, &begin, &end);) {
        pool_share(n_units(c), deal.victim, workers, &share, &share_end);
        int i = (begin - share) * workers + deal.victim;
        if (i != next) {
            walk = (struct walk){.ahead.more = walk_on, .c = c, .s = s, .next = i};
            attn_ahead_fetch(&walk.ahead, LEAD);
        }
        for (; begin < end; begin++, i += workers) {
            struct unit u = unit_at(c, s, i);
            if (c->slice)
                slice_of_item(c, s, &u, &walk.ahead, w);
            else
                whole_item(c, s, u.it, &walk.ahead, w);
        }
        next = i;
    }
    if (!c->slice) return;
    pool_barrier(c->pool);
    int k = 0;
    for (int i = 0; i < c->n_items; i++)
        for (int r = 0; r < c->items[i].n_tok * c->items[i].n_head; r++)
            if (k++ % workers == worker) merge_row(c, s, i, r, w);
}

/* --- storing --------------------------------------------------------------------------------------------- */

/* A unit: the tokens of a part that fall into one page, of one kv head; in a page positions ascend (prefix
 * maxima, attn.h). */
struct slots {
    int part, row;   /* row of the part's first token in the batch */
    int head, t0, t1;
};

static int pages_of(const struct batch_part *p)
{
    return (p->pos + p->n - 1) / ATTN_CHUNK - p->pos / ATTN_CHUNK + 1;
}

/* Where unit i lies; *first is the number of the part's first unit, and both go on from the last call. */
static void slots_at(const struct cpu *c, struct slots *u, int *first, int i)
{
    const struct batch_part *parts = c->batch->parts;
    int n_head_kv = c->chip.program->model->h.n_head_kv;
    if (i < *first) u->part = u->row = *first = 0;
    for (int n; i - *first >= (n = pages_of(&parts[u->part]) * n_head_kv); *first += n) u->row += parts[u->part++].n;
    const struct batch_part *p = &parts[u->part];
    int pages = pages_of(p), page = (i - *first) % pages + p->pos / ATTN_CHUNK;
    u->head = (i - *first) / pages;
    u->t0 = page * ATTN_CHUNK > p->pos ? page * ATTN_CHUNK - p->pos : 0;
    u->t1 = (page + 1) * ATTN_CHUNK - p->pos < p->n ? (page + 1) * ATTN_CHUNK - p->pos : p->n;
}

/* Asks for the lines to which a unit will write first. */
static void fetch_slots(const struct cpu *c, const struct step *s, const struct slots *u)
{
    const struct batch_part *p = &c->batch->parts[u->part];
    struct kv_view view;
    view_at(c, s, u->part, u->head, (p->pos + u->t0) / ATTN_CHUNK, &view);
    attn_slot_fetch(&view, p->seq->pool->shape.type, p->seq->pool->shape.head_dim, (p->pos + u->t0) % ATTN_CHUNK);
}

/* A key as the cache wants it: itself, or a rotated copy. */
static const float *spun(struct cpu *c, enum kv_type type, const float *k, int D, int worker)
{
    float *rot = c->workers[worker].rot;
    if (!rotated(type, D)) return k;
    memcpy(rot, k, (size_t)D * sizeof *k);
    c->kern->attn->hadamard(rot, D);
    return rot;
}

static void store_slots(struct cpu *c, const struct step *s, const struct slots *u, int worker)
{
    const struct hparams *h = &c->chip.program->model->h;
    const struct batch_part *p = &c->batch->parts[u->part];
    enum kv_type type = p->seq->pool->shape.type;
    int D = h->head_dim, E = h->kv_extra;
    struct kv_view view;
    view_at(c, s, u->part, u->head, (p->pos + u->t0) / ATTN_CHUNK, &view);
    for (int t = u->t0; t < u->t1; t++) {
        int slot = (p->pos + t) % ATTN_CHUNK;
        const float *k = cpu_row(c, 0, s->attn.k, u->row + t) + u->head * D,
                    *v = cpu_row(c, 0, s->attn.v, u->row + t) + u->head * D;
        if (E) { /* latent: one vector is key and value, the other the key's extra part */
            if (attn_store_extra(&view, type, E, slot, spun(c, type, v, E, worker))) cpu_fault(c, u->row + t);
            v = k;
        }
        k = spun(c, type, k, D, worker);
        if (c->kern->attn->store(&view, type, D, slot, k, v)) cpu_fault(c, u->row + t);
    }
}

/* Keys and values of all rows into the cache. */
void cpu_store(struct cpu *c, const struct step *s, int worker)
{
    const struct batch *b = c->batch;
    struct slots now = {0}, next = {0};
    int n = 0, first = 0, begin, end;
    for (int i = 0; i < b->n_parts; i++) n += pages_of(&b->parts[i]) * c->chip.program->model->h.n_head_kv;
    struct pool_deal deal = pool_deal(c->pool, worker, n);
    while (pool_take(&deal, &begin, &end)) {
        slots_at(c, &next, &first, begin);
        for (int i = begin; i < end; i++) {
            now = next;
            if (i + 1 < end) {
                slots_at(c, &next, &first, i + 1);
                fetch_slots(c, s, &next);
            }
            store_slots(c, s, &now, worker);
        }
    }
}
