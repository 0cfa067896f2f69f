/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_matmul: quantisation of vectors, and products of quantised vectors with matrices.
 *
 * A piece of work is one segment of 1024 inputs of a tile of 320 outputs: segments are folded for themselves
 * and added at the end, so that they can be under way at the same time. Work in hand advances in turn, a step
 * of the fold each; a plane serves one piece of work until its slab is used up, while the next slab is loaded
 * behind it.
 *
 *   tier      a step of the fold           passes of a step
 *   A8/32     32 codes                     1
 *   A8/256    256, sub-scales per 16/32    1 for each sub-block, integer multiply-add; N4: 1 for all
 *   A16/256   256, 16-bit weights          4: high and low bytes of both sides
 *   A16 w8    256, scale per 32            2 for each block of 32
 *
 * Passes see only their lanes: those outside the window count as zero, the weights stay. A fold is a chain of
 * multiply-adds of which each waits for the one before. Where more chains than planes are at hand, the fold
 * is taken off the passes: sums go to memory on their way to the VXM, and up to CHAINS chains fold side by
 * side.
 */
#include <stdlib.h>
#include "chip/lpu/lpu.h"
#include "kern/arith.h"
#include "kern/num.h"

#define N(i) in_node(i)

/* --- quantiser -------------------------------------------------------------------------------------------- */

/* From the largest magnitude b: fl(QMAX / b) and fl(b RQ), both 0 below the contract's threshold. */
static void scales(struct lpu_mapper *m, int b, float qmax, uint32_t rq, int *id, int *d)
{
    struct lpu_graph *g = m->g;
    lpu_emit_lanes(g, OP_TRAP, N(b), IN0, 0, 0, ARITH_RANGE);
    int small = lpu_emit(g, OP_ILT, N(b), in_imm(ARITH_ZERO), IN0);
    int x = lpu_emit(g, OP_FDIV, in_f32(qmax), N(b), IN0);
    *id = lpu_emit(g, OP_SEL, in_imm(0), N(x), N(small));
    x = lpu_emit(g, OP_FMUL, N(b), in_imm(rq), IN0);
    *d = lpu_emit(g, OP_SEL, in_imm(0), N(x), N(small));
}

static void put_codes(struct lpu_mapper *m, const struct lpu_codes *q, int code, int v)
{
    struct lpu_graph *g = m->g;
    int wide = q->act[0][1] != NULL;
    lpu_emit(g, wide ? OP_SAR : OP_MOV, N(code), wide ? in_imm(8) : IN0, IN0);
    lpu_to_byte(g, q->act[0][wide][v]), lpu_to_byte(g, q->act[1][wide][v]);
    if (!wide) return;
    lpu_emit(g, OP_IAND, N(code), in_imm(255), IN0);
    lpu_to_byte(g, q->act[0][0][v]), lpu_to_byte(g, q->act[1][0][v]);
}

static int lanes_in(const struct lpu_codes *q, int v)
{
    return q->k - v * q->lanes < q->lanes ? q->k - v * q->lanes : q->lanes;
}

enum { QUANT_CODES }; /* chain */

static void quant_32(struct lpu_mapper *m, const struct lpu_codes *q, const int *src)
{
    struct lpu_graph *g = m->g;
    for (int v = 0; v < q->n_vec; v++) {
        int id, d;
        lpu_group(m);
        int b = lpu_emit(g, OP_IAND, in_mem(src[v]), in_imm(0x7fffffff), IN0);
        b = lpu_emit_lanes(g, OP_GMAX, N(b), IN0, 0, LPU_LANES, 32);
        scales(m, b, (float)ARITH_QMAX8, ARITH_RQ8, &id, &d);
        int x = lpu_emit(g, OP_FMUL, in_mem(src[v]), N(id), IN0);
        x = lpu_emit(g, OP_FTOI, N(x), IN0, IN0);
        if (q->sums) lpu_to_chain(g, QUANT_CODES);
        put_codes(m, q, x, v);
        for (int l = 0; l < lanes_in(q, v); l += 32) lpu_spread_lane(m, d, l), lpu_to(g, q->d[(v * q->lanes + l) / 32]);
        for (int l = 0; q->sums && l < lanes_in(q, v); l += 32) {
            int i = (v * q->lanes + l) / 32;
            lpu_group(m);
            int s = lpu_emit_lanes(g, OP_WSUM, in_chain(QUANT_CODES), IN0, l, l + 32, 0);
            s = lpu_emit(g, OP_ITOF, N(s), IN0, IN0);
            lpu_emit(g, OP_FMUL, N(s), in_mem(q->d[i]), IN0), lpu_to(g, q->sum[i]);
        }
    }
}

/* Lanes of vector v that belong to group i of size elements; false if none. */
static bool part_of(const struct lpu_codes *q, int v, int i, int size, int *x, int *y)
{
    int a = i * size - v * q->lanes, b = a + size, n = lanes_in(q, v);
    *x = a < 0 ? 0 : a;
    *y = b > n ? n : b;
    return *x < *y;
}

static void quant_256(struct lpu_mapper *m, const struct lpu_codes *q, const int *src)
{
    struct lpu_graph *g = m->g;
    int groups = (q->k + 255) / 256, x, y;
    bool eight = q->tier == ACT_A8_256;
    int *ids = malloc((size_t)groups * sizeof *ids);
    if (!ids) {
        if (!m->rc) m->rc = err(m->e, ERR_MEMORY, "out of memory");
        return;
    }
    for (int i = 0; i < groups; i++) {
        int b = -1, id, d;
        ids[i] = lpu_scratch(m, -1);
        lpu_group(m);
        for (int v = 0; v < q->n_vec; v++) {
            if (!part_of(q, v, i, 256, &x, &y)) continue;
            int k = lpu_emit(g, OP_IAND, in_mem(src[v]), in_imm(0x7fffffff), IN0);
            k = lpu_emit_lanes(g, OP_WMAX, N(k), IN0, x, y, 0);
            b = b < 0 ? k : lpu_emit(g, OP_IMAX, N(b), N(k), IN0);
        }
        scales(m, b, eight ? (float)ARITH_QMAX8 : (float)ARITH_QMAX16, eight ? ARITH_RQ8 : ARITH_RQ16, &id, &d);
        lpu_to(g, q->d[i]);
        lpu_emit(g, OP_MOV, N(id), IN0, IN0), lpu_to(g, ids[i]);
    }
    for (int v = 0; v < q->n_vec; v++) {
        lpu_group(m);
        int id = lpu_emit(g, OP_MOV, in_imm(0), IN0, IN0);
        for (int i = 0; i < groups; i++)
            if (part_of(q, v, i, 256, &x, &y)) id = lpu_emit_lanes(g, OP_SELW, in_mem(ids[i]), N(id), x, y, 0);
        int k = lpu_emit(g, OP_FMUL, in_mem(src[v]), N(id), IN0);
        k = lpu_emit(g, OP_FTOI, N(k), IN0, IN0);
        put_codes(m, q, k, v);
        for (int l = 0; q->sums && l < lanes_in(q, v); l += q->sum_size) {
            int s = lpu_emit_lanes(g, OP_WSUM, N(k), IN0, l, l + q->sum_size, 0);
            lpu_emit(g, OP_ISUB, in_imm(0), N(s), IN0), lpu_to(g, q->sum[(v * q->lanes + l) / q->sum_size]);
        }
    }
    free(ids);
}

void lpu_map_quant(struct lpu_mapper *m, const struct lpu_codes *q, const int *src)
{
    if (q->tier == ACT_A8_32)
        quant_32(m, q, src);
    else
        quant_256(m, q, src);
}

/* --- products --------------------------------------------------------------------------------------------- */

enum {
    CHAINS = 12,       /* chains that may be open: the other ALUs are for what passes by */
    SUMS_MAX = 1024,   /* sums of blocks that wait in memory, for each of two waves */
    NAME_D = 0, NAME_S = 4, NAME_WORK = 8, /* chains: scale and sum of a block, by segment; accumulators of work */
    SEGMENT_NAMES = 4,
};

struct work { /* a segment of a tile */
    const struct lpu_mat *w;
    const struct lpu_codes *q;
    const struct step_mat *step;
    int tile, segment, n_segments;
    int at, end;   /* along k */
    int name;      /* chains: accumulator, integer or inner sum, second such */
    int sum;       /* A8/32 with sums in memory: slot of the first block */
    int kept;      /* where its result waits for those of the other segments */
    int *left;     /* segments of the tile that are not finished */
};

struct product {
    struct lpu_mapper *m;
    struct work *k;
    int n;
    int loaded_d[SEGMENT_NAMES], loaded_s[SEGMENT_NAMES]; /* blocks that the chains hold, -1: none */
    int slot[2][2][SUMS_MAX], n_slot[2][2];               /* [wave][hemisphere] vectors for sums */
};

static int slab_of(const struct work *k)
{
    return k->at / k->q->lanes;
}

static int slab_at(const struct work *k, int part, int v)
{
    return k->w->at[(k->tile * k->w->parts + part) * k->w->n_slabs + v];
}

static int plane_of(const struct product *p, const struct work *k, int part, int v)
{
    return lpu_plane_at(&p->m->c->arch, slab_at(k, part, v));
}

static struct lpu_in pass(const struct product *p, const struct work *k, int part, int high, int x, int y)
{
    int v = slab_of(k), plane = plane_of(p, k, part, v);
    bool wide = k->q->act[0][1] != NULL;
    return in_pass(plane, k->q->act[lpu_plane_hemisphere(plane)][high][v], x, y, wide && !high);
}

/* The chain's value, or +0 at its beginning. */
static struct lpu_in chain_or_zero(int chain, bool begin)
{
    return begin ? in_imm(0) : in_chain(chain);
}

/* A vector that several pieces of work need: held by a chain from the first to the last of them. */
static struct lpu_in shared(struct product *p, int loaded[SEGMENT_NAMES], int name, const int *at, int block,
                            int segment)
{
    int i = segment % SEGMENT_NAMES;
    if (loaded[i] != block) {
        lpu_group(p->m);
        lpu_emit(p->m->g, OP_MOV, in_mem(at[block]), IN0, IN0), lpu_to_chain(p->m->g, name + i);
        loaded[i] = block;
    }
    return in_chain(name + i);
}

static void fold_32(struct product *p, const struct work *k, struct lpu_in sum, bool begin)
{
    struct lpu_graph *g = p->m->g;
    int b = k->at / 32, at = k->tile * k->w->spans + b;
    struct lpu_in d = shared(p, p->loaded_d, NAME_D, k->q->d, b, k->segment), s = IN0;
    if (k->w->offset) s = shared(p, p->loaded_s, NAME_S, k->q->sum, b, k->segment);
    lpu_group(p->m);
    int i = lpu_emit(g, OP_ITOF, sum, IN0, IN0);
    int w = lpu_emit(g, OP_FMUL, in_mem(k->w->scale[at]), d, IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), chain_or_zero(k->name, begin)), lpu_to_chain(g, k->name);
    if (k->w->offset) lpu_emit(g, OP_FMA, in_mem(k->w->offset[at]), s, in_chain(k->name)), lpu_to_chain(g, k->name);
}

static void fold_16_8(struct product *p, const struct work *k, int x, bool begin, bool end)
{
    struct lpu_graph *g = p->m->g;
    int b = k->at / 32, inner = k->name + 1;
    lpu_group(p->m);
    int h = lpu_emit(g, OP_MOV, pass(p, k, 0, 1, x, x + 32), IN0, IN0);
    int i = lpu_emit(g, OP_SHLADD, N(h), pass(p, k, 0, 0, x, x + 32), IN0);
    i = lpu_emit(g, OP_ITOF, N(i), IN0, IN0);
    lpu_emit(g, OP_FMA, N(i), in_mem(k->w->scale[k->tile * k->w->spans + b]),
             chain_or_zero(inner, b % 8 == 0)),
        lpu_to_chain(g, inner);
    if (end)
        lpu_emit(g, OP_FMA, in_chain(inner), in_mem(k->q->d[b / 8]), chain_or_zero(k->name, begin)),
            lpu_to_chain(g, k->name);
}

static void fold_w16(struct product *p, const struct work *k, int x, int y, bool first, bool last, bool begin)
{
    struct lpu_graph *g = p->m->g;
    int group = k->at / 256;
    for (int high = 1; high >= 0; high--) {
        int chain = k->name + 1 + !high;
        lpu_group(p->m);
        int h = lpu_emit(g, OP_MOV, pass(p, k, 0, high, x, y), IN0, IN0);
        int i = lpu_emit(g, OP_SHLADD, N(h), pass(p, k, 1, high, x, y), IN0);
        if (first)
            lpu_to_chain(g, chain);
        else
            lpu_emit(g, OP_IADD, N(i), in_chain(chain), IN0), lpu_to_chain(g, chain);
    }
    if (!last) return;
    lpu_group(p->m);
    int h = lpu_emit(g, OP_ITOF, in_chain(k->name + 1), IN0, IN0),
        l = lpu_emit(g, OP_ITOF, in_chain(k->name + 2), IN0, IN0);
    int i = lpu_emit(g, OP_FMA, N(h), in_f32(256.0f), N(l));
    int w = lpu_emit(g, OP_FMUL, in_mem(k->w->scale[k->tile * k->w->spans + group]), in_mem(k->q->d[group]), IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), chain_or_zero(k->name, begin)), lpu_to_chain(g, k->name);
}

/* One scale for 256 codes: part of the group's exact sum, and after the last part the fold. */
static void fold_256(struct product *p, const struct work *k, int x, int y, bool first, bool last, bool begin)
{
    struct lpu_graph *g = p->m->g;
    int group = k->at / 256;
    struct lpu_in sum = pass(p, k, 0, 0, x, y);
    lpu_group(p->m);
    if (!first) sum = in_node(lpu_emit(g, OP_IADD, sum, in_chain(k->name + 1), IN0));
    if (!last) {
        if (first) lpu_emit(g, OP_MOV, sum, IN0, IN0);
        lpu_to_chain(g, k->name + 1);
        return;
    }
    int i = lpu_emit(g, OP_ITOF, sum, IN0, IN0);
    int w = lpu_emit(g, OP_FMUL, in_mem(k->w->scale[k->tile * k->w->spans + group]), in_mem(k->q->d[group]), IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), chain_or_zero(k->name, begin)), lpu_to_chain(g, k->name);
}

static void fold_k256(struct product *p, const struct work *k, int x, bool first, bool last, bool begin)
{
    struct lpu_graph *g = p->m->g;
    int size = mat_sub_size(k->w->w->t->type), b = k->at / 32, group = b / 8,
        at = k->tile * k->w->spans + group, sums = k->name + 1, mins = k->name + 2;
    for (int h = 0; h < 32; h += size) {
        int j = (32 * b + h) / size;
        lpu_group(p->m);
        lpu_emit(g, OP_IMAD, pass(p, k, 0, 0, x + h, x + h + size),
                 in_mem(k->w->sub[k->tile * k->w->subs + j]), chain_or_zero(sums, first && h == 0));
        lpu_to_chain(g, sums);
        for (int n = h; k->w->min && n < h + size; n += k->q->sum_size) {
            lpu_emit(g, OP_IMAD, in_mem(k->w->min[k->tile * k->w->subs + j]),
                     in_mem(k->q->sum[(32 * b + n) / k->q->sum_size]), chain_or_zero(mins, first && n == 0));
            lpu_to_chain(g, mins);
        }
    }
    if (!last) return;
    lpu_group(p->m);
    int i = lpu_emit(g, OP_ITOF, in_chain(sums), IN0, IN0);
    int w = lpu_emit(g, OP_FMUL, in_mem(k->w->scale[at]), in_mem(k->q->d[group]), IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), chain_or_zero(k->name, begin)), lpu_to_chain(g, k->name);
    if (!k->w->min) return;
    i = lpu_emit(g, OP_ITOF, in_chain(mins), IN0, IN0);
    w = lpu_emit(g, OP_FMUL, in_mem(k->w->offset[at]), in_mem(k->q->d[group]), IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), in_chain(k->name)), lpu_to_chain(g, k->name);
}

/* A segment has ended. After the last one to end, y = the segments' sums in order, from +0 (+ bias). */
static void end_segment(struct product *p, struct work *k)
{
    struct lpu_mapper *m = p->m;
    struct lpu_graph *g = m->g;
    lpu_group(m);
    if (--*k->left) {
        k->kept = lpu_scratch(m, -1);
        lpu_emit(g, OP_MOV, in_chain(k->name), IN0, IN0), lpu_to(g, k->kept);
        return;
    }
    const struct work *first = k - k->segment;
    int t = -1;
    for (int i = 0; i < k->n_segments; i++)
        t = lpu_emit(g, OP_FADD, i == k->segment ? in_chain(k->name) : in_mem(first[i].kept),
                     i ? N(t) : in_imm(0), IN0);
    if (k->step->bias >= 0) lpu_emit(g, OP_FADD, N(t), in_mem(m->c->vectors[k->step->bias][k->tile]), IN0);
    lpu_to(g, m->c->buffers[k->step->dst].at[k->tile]);
}

/* Where the next step of work ends: its block or its group, but not beyond the slab. */
static int step_end(const struct work *k)
{
    bool wide = k->q->tier == ACT_A16_256 || k->w->merged;
    int end = wide ? k->at / 256 * 256 + 256 : k->at + 32, slab = (slab_of(k) + 1) * k->q->lanes;
    if (end > slab) end = slab;
    return end < k->end ? end : k->end;
}

static void advance(struct product *p, struct work *k, int slot)
{
    int end = step_end(k), x = k->at % k->q->lanes, y = x + end - k->at;
    bool first = k->at % 256 == 0, last = end % 256 == 0 || end == k->w->w->k;
    bool begin = k->at % ARITH_SEGMENT < 256; /* the first step of a segment, for steps of 256 */
    if (k->w->merged)
        fold_256(p, k, x, y, first, last, begin);
    else if (k->q->tier == ACT_A8_32)
        fold_32(p, k, slot < 0 ? pass(p, k, 0, 0, x, y) : in_mem(slot), k->at % ARITH_SEGMENT == 0);
    else if (k->q->tier == ACT_A16_W8)
        fold_16_8(p, k, x, begin, last);
    else if (k->q->tier == ACT_A8_256)
        fold_k256(p, k, x, first, last, begin);
    else
        fold_w16(p, k, x, y, first, last, begin);
    k->at = end;
    if (end == k->end) end_segment(p, k);
}

static void install(struct product *p, const struct work *k, int v)
{
    const struct lpu_mat *w = k->w;
    int rest = w->w->n - k->tile * w->out_lanes, n = rest < w->out_lanes ? rest : w->out_lanes;
    if (!w->columns) n = lanes_in(k->q, v);
    for (int part = 0; part < w->parts; part++) {
        lpu_load(p->m, plane_of(p, k, part, v), slab_at(k, part, v), n, w->columns ? FLAG_COLUMNS | FLAG_CLEAR : 0, -1);
        lpu_install(p->m, plane_of(p, k, part, v), part == 1);
    }
}

/* Folds fed by the passes: work waits while another has its plane. */
static void run_direct(struct product *p)
{
    const struct work *owner[LPU_PLANES] = {NULL}, *seen[LPU_PLANES] = {NULL};
    int slab[LPU_PLANES] = {0}, first = 0, begun = 0;
    while (first < p->n && !p->m->rc) {
        for (int i = first; i < p->n && i < first + CHAINS; i++) {
            struct work *k = &p->k[i];
            int v = slab_of(k), plane = plane_of(p, k, 0, v);
            bool begins = k->at % ARITH_SEGMENT == 0;
            if (k->at == k->end || (owner[plane] && owner[plane] != k) ||
                (begins && begun == LPU_PLANES / k->w->parts))
                continue;
            begun += begins;
            k->name = NAME_WORK + i % CHAINS * 3;
            if (seen[plane] != k || slab[plane] != v) install(p, k, v), seen[plane] = k, slab[plane] = v;
            advance(p, k, -1);
            bool done = k->at == k->end;
            begun -= done;
            owner[plane] = done || plane_of(p, k, 0, slab_of(k)) != plane ? NULL : k;
        }
        while (first < p->n && p->k[first].at == p->k[first].end) first++;
    }
}

/* Passes of blocks at..end of slab v, their sums to memory. */
static void keep_sums(struct product *p, const struct work *k, int v, const int *slot)
{
    int at = v * k->q->lanes, end = at + k->q->lanes;
    if (at < k->at) at = k->at;
    if (end > k->end) end = k->end;
    if (at >= end) return;
    install(p, k, v);
    for (int plane = plane_of(p, k, 0, v); at < end; at += 32) {
        struct lpu_in in = in_pass(plane, k->q->act[lpu_plane_hemisphere(plane)][0][v], at % k->q->lanes,
                                   at % k->q->lanes + 32, false);
        lpu_graph_group(p->m->g, GROUP_SUM, p->m->step);
        lpu_emit(p->m->g, OP_ACC, in, IN0, IN0), lpu_to(p->m->g, slot[(at - k->at) / 32]);
    }
}

static int take_slot(struct product *p, int wave, int h, int i)
{
    while (p->n_slot[wave][h] <= i) p->slot[wave][h][p->n_slot[wave][h]++] = lpu_scratch(p->m, h);
    return p->slot[wave][h][i];
}

/* Folds fed from memory. */
static void run_kept(struct product *p)
{
    int *slot = malloc(sizeof *slot * SUMS_MAX);
    if (!slot && !p->m->rc) p->m->rc = err(p->m->e, ERR_MEMORY, "out of memory");
    for (int first = 0, wave = 0; first < p->n && !p->m->rc; wave ^= 1) {
        int n = 0, blocks = 0, used[2] = {0, 0}, begin[CHAINS],
            slabs = (p->k[0].w->w->k + p->k[0].q->lanes - 1) / p->k[0].q->lanes;
        for (; n < CHAINS && first + n < p->n; n++) {
            struct work *k = &p->k[first + n];
            /* different segments, each with a scale and perhaps a sum in hand */
            int kinds = n < k->n_segments ? n + 1 : k->n_segments;
            if (blocks + (k->end - k->at) / 32 > SUMS_MAX || n + 1 + kinds * (k->w->offset ? 2 : 1) > CHAINS) break;
            k->sum = blocks;
            k->name = NAME_WORK + n * 3;
            begin[n] = k->at;
            for (int at = k->at; at < k->end; at += 32) {
                int h = lpu_plane_hemisphere(plane_of(p, k, 0, at / k->q->lanes));
                slot[blocks++] = take_slot(p, wave, h, used[h]++);
            }
        }
        for (int v = 0; v < slabs; v++)
            for (int i = 0; i < n; i++) keep_sums(p, &p->k[first + i], v, slot + p->k[first + i].sum);
        for (bool more = true; more;) {
            more = false;
            for (int i = 0; i < n; i++) {
                struct work *k = &p->k[first + i];
                if (k->at == k->end) continue;
                advance(p, k, slot[k->sum + (k->at - begin[i]) / 32]);
                more |= k->at < k->end;
            }
        }
        first += n;
    }
    free(slot);
}

static void run_product(struct product *p)
{
    for (int i = 0; i < SEGMENT_NAMES; i++) p->loaded_d[i] = p->loaded_s[i] = -1;
    if (p->k[0].q->tier == ACT_A8_32 && p->n > LPU_PLANES)
        run_kept(p);
    else
        run_direct(p);
}

void lpu_map_matmul(struct lpu_mapper *m, const struct step *s)
{
    struct product *p = calloc(1, sizeof *p);
    int n = 0, tiles = 0;
    m->g->what = m->c->chip.program->buffers[s->mat[0].dst].name;
    for (int i = 0; i < s->n; i++) {
        const struct lpu_mat *w = &m->c->mats[s->mat[i].w];
        tiles += w->n_tiles;
        n += w->n_tiles * ((w->w->k + ARITH_SEGMENT - 1) / ARITH_SEGMENT);
    }
    struct work *all = calloc((size_t)n, sizeof *all), *k = all;
    int *left = calloc((size_t)tiles, sizeof *left);
    if (!p || !all || !left) {
        if (!m->rc) m->rc = err(m->e, ERR_MEMORY, "out of memory");
        n = 0;
    }
    for (int i = 0, t = 0, at = 0; i < s->n && n; i++) {
        const struct lpu_mat *w = &m->c->mats[s->mat[i].w];
        const struct lpu_codes *q = &m->c->buffers[s->mat[i].src].codes;
        int segments = (w->w->k + ARITH_SEGMENT - 1) / ARITH_SEGMENT;
        if (at && k[at - 1].q != q) { /* other codes: the work so far goes first */
            *p = (struct product){.m = m, .k = k, .n = at};
            run_product(p);
            k += at, n -= at, at = 0;
        }
        for (int j = 0; j < w->n_tiles; j++, t++) {
            left[t] = segments;
            for (int g = 0; g < segments; g++) {
                int end = (g + 1) * ARITH_SEGMENT;
                k[at++] = (struct work){
                    w, q, &s->mat[i], j,       g, segments, g * ARITH_SEGMENT, end < w->w->k ? end : w->w->k,
                    0, 0, 0,          &left[t]};
            }
        }
    }
    if (n) {
        *p = (struct product){.m = m, .k = k, .n = n};
        run_product(p);
    }
    free(p), free(left), free(all);
}
