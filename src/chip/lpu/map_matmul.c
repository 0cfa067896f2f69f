/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_matmul: quantisation of vectors, and products of quantised vectors with matrices.
 *
 * A product goes tile by tile, four tiles (or two, where a tile takes a pair of planes) side by side: the weights of a
 * slab are installed, then one pass per block makes exact int32 sums of 320 outputs, and the VXM folds them at once, in
 * the order of the contract. Passes see only their block: lanes outside the window count as zero, the weights stay.
 *
 *   tier      a step of the fold           passes of a step
 *   A8/32     32 codes                     1
 *   A8/256    256, sub-scales per 16/32    1 for each sub-block, integer multiply-add
 *   A16/256   256, 16-bit weights          4: high and low bytes of both sides
 *   A16 w8    256, scale per 32            2 for each block of 32
 *
 * Chains: ALU p holds the accumulator of plane p's tile, ALU 4 + p its integer or inner sum. A second vector that
 * belongs to the same step of the fold just goes on with the chain.
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

void lpu_map_quant(struct lpu_mapper *m, int dst, int src)
{
    const struct lpu_codes *q = &m->c->buffers[dst].codes;
    if (q->tier == ACT_A8_32)
        quant_32(m, q, m->c->buffers[src].at);
    else
        quant_256(m, q, m->c->buffers[src].at);
}

/* --- products --------------------------------------------------------------------------------------------- */

struct work { /* a tile in hand */
    const struct lpu_mat *w;
    const struct lpu_codes *q;
    const struct step_mat *step;
    int tile, plane, total; /* total: where the sum of finished segments is kept, or -1 */
};

static int tile_part(const struct work *k, int part, int slab)
{
    return k->w->at[(k->tile * k->w->parts + part) * k->w->n_slabs + slab];
}

static struct lpu_in pass(const struct work *k, int part, int high, int v, int x, int y)
{
    int p = k->plane + part;
    bool wide = k->q->act[0][1] != NULL;
    return in_pass(p, k->q->act[lpu_plane_hemisphere(p)][high][v], x, y, wide && !high);
}

/* The chain's value, or +0 at its beginning. */
static struct lpu_in chain_or_zero(int alu, bool begin)
{
    return begin ? in_imm(0) : in_chain(alu);
}

static void fold_32(struct lpu_mapper *m, const struct work *k, int v, int b, int x, bool begin)
{
    struct lpu_graph *g = m->g;
    int at = k->tile * k->w->spans + b, p = k->plane;
    lpu_group(m);
    int i = lpu_emit(g, OP_ITOF, pass(k, 0, 0, v, x, x + 32), IN0, IN0);
    int w = lpu_emit(g, OP_FMUL, in_mem(k->w->scale[at]), in_mem(k->q->d[b]), IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), chain_or_zero(p, begin)), lpu_to_chain(g, p);
    if (k->w->offset) lpu_emit(g, OP_FMA, in_mem(k->w->offset[at]), in_mem(k->q->sum[b]), in_chain(p)), lpu_to_chain(g, p);
}

static void fold_16_8(struct lpu_mapper *m, const struct work *k, int v, int b, int x, bool begin, bool end)
{
    struct lpu_graph *g = m->g;
    int p = k->plane, group = b / 8;
    lpu_group(m);
    int h = lpu_emit(g, OP_MOV, pass(k, 0, 1, v, x, x + 32), IN0, IN0);
    int i = lpu_emit(g, OP_SHLADD, N(h), pass(k, 0, 0, v, x, x + 32), IN0);
    i = lpu_emit(g, OP_ITOF, N(i), IN0, IN0);
    lpu_emit(g, OP_FMA, N(i), in_mem(k->w->scale[k->tile * k->w->spans + b]), chain_or_zero(4 + p, b % 8 == 0)), lpu_to_chain(g, 4 + p);
    if (end) lpu_emit(g, OP_FMA, in_chain(4 + p), in_mem(k->q->d[group]), chain_or_zero(p, begin)), lpu_to_chain(g, p);
}

static void fold_w16(struct lpu_mapper *m, const struct work *k, int v, int group, int x, int y, bool first, bool last, bool begin)
{
    struct lpu_graph *g = m->g;
    int p = k->plane;
    for (int high = 1; high >= 0; high--) {
        int chain = 4 + p + !high;
        lpu_group(m);
        int h = lpu_emit(g, OP_MOV, pass(k, 0, high, v, x, y), IN0, IN0);
        int i = lpu_emit(g, OP_SHLADD, N(h), pass(k, 1, high, v, x, y), IN0);
        if (first)
            lpu_to_chain(g, chain);
        else
            lpu_emit(g, OP_IADD, N(i), in_chain(chain), IN0), lpu_to_chain(g, chain);
    }
    if (!last) return;
    lpu_group(m);
    int h = lpu_emit(g, OP_ITOF, in_chain(4 + p), IN0, IN0), l = lpu_emit(g, OP_ITOF, in_chain(4 + p + 1), IN0, IN0);
    int i = lpu_emit(g, OP_FMA, N(h), in_f32(256.0f), N(l));
    int w = lpu_emit(g, OP_FMUL, in_mem(k->w->scale[k->tile * k->w->spans + group]), in_mem(k->q->d[group]), IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), chain_or_zero(p, begin)), lpu_to_chain(g, p);
}

static void fold_k256(struct lpu_mapper *m, const struct work *k, int v, int b, int x, bool first, bool last, bool begin)
{
    struct lpu_graph *g = m->g;
    int size = mat_sub_size(k->w->w->t->type), p = k->plane, group = b / 8, at = k->tile * k->w->spans + group;
    for (int h = 0; h < 32; h += size) {
        int j = (32 * b + h) / size;
        lpu_group(m);
        lpu_emit(g, OP_IMAD, pass(k, 0, 0, v, x + h, x + h + size), in_mem(k->w->sub[k->tile * k->w->subs + j]), chain_or_zero(4 + p, first && h == 0));
        lpu_to_chain(g, 4 + p);
        for (int n = h; k->w->min && n < h + size; n += k->q->sum_size) {
            lpu_emit(g, OP_IMAD, in_mem(k->w->min[k->tile * k->w->subs + j]), in_mem(k->q->sum[(32 * b + n) / k->q->sum_size]),
                     chain_or_zero(5 + p, first && n == 0));
            lpu_to_chain(g, 5 + p);
        }
    }
    if (!last) return;
    lpu_group(m);
    int i = lpu_emit(g, OP_ITOF, in_chain(4 + p), IN0, IN0);
    int w = lpu_emit(g, OP_FMUL, in_mem(k->w->scale[at]), in_mem(k->q->d[group]), IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), chain_or_zero(p, begin)), lpu_to_chain(g, p);
    if (!k->w->min) return;
    i = lpu_emit(g, OP_ITOF, in_chain(5 + p), IN0, IN0);
    w = lpu_emit(g, OP_FMUL, in_mem(k->w->offset[at]), in_mem(k->q->d[group]), IN0);
    lpu_emit(g, OP_FMA, N(i), N(w), in_chain(p)), lpu_to_chain(g, p);
}

/* A segment of 1024 has ended: tot = tot + acc, and after the last one y = tot (+ bias). */
static void end_segment(struct lpu_mapper *m, struct work *k, bool last)
{
    struct lpu_graph *g = m->g;
    int p = k->plane;
    lpu_group(m);
    int t = lpu_emit(g, OP_FADD, in_chain(p), k->total < 0 ? in_imm(0) : in_mem(k->total), IN0);
    if (!last) {
        if (k->total < 0) k->total = lpu_scratch(m, -1);
        lpu_to(g, k->total);
        return;
    }
    if (k->step->bias >= 0) lpu_emit(g, OP_FADD, N(t), in_mem(m->c->vectors[k->step->bias][k->tile]), IN0);
    lpu_to(g, m->c->buffers[k->step->dst].at[k->tile]);
}

/* Lanes x..y-1 of slab v: whole parts of the steps of the fold. */
static void fold_lanes(struct lpu_mapper *m, struct work *k, int v, int x, int y)
{
    int at = v * k->q->lanes + x, end = v * k->q->lanes + y, K = k->w->w->k; /* along k */
    bool begin = at % ARITH_SEGMENT == 0 || at % ARITH_SEGMENT < 256; /* the first step of a segment, for steps of 256 */
    bool group_end = end % 256 == 0 || end == K;
    switch (k->q->tier) {
    case ACT_A8_32: fold_32(m, k, v, at / 32, x, at % ARITH_SEGMENT == 0); break;
    case ACT_A16_W8: fold_16_8(m, k, v, at / 32, x, begin, group_end); break;
    case ACT_A8_256: fold_k256(m, k, v, at / 32, x, at % 256 == 0, group_end, begin); break;
    default: fold_w16(m, k, v, at / 256, x, y, at % 256 == 0, group_end, begin);
    }
    if (end % ARITH_SEGMENT == 0 || end == K) end_segment(m, k, end == K);
}

static void run_batch(struct lpu_mapper *m, struct work *k, int n)
{
    const struct lpu_codes *q = k->q;
    for (int v = 0; v < q->n_vec && !m->rc; v++) {
        int lanes = lanes_in(q, v);
        for (int i = 0; i < n; i++)
            for (int part = 0; part < k[i].w->parts; part++) {
                const struct lpu_mat *w = k[i].w;
                int rest = w->w->n - k[i].tile * w->out_lanes, cols = rest < w->out_lanes ? rest : w->out_lanes;
                lpu_install(m, k[i].plane + part, tile_part(&k[i], part, v), w->columns ? cols : lanes, w->columns ? FLAG_COLUMNS | FLAG_CLEAR : 0, part == 1, -1);
            }
        for (int x = 0; x < lanes;) {
            int at = v * q->lanes + x, y = q->tier == ACT_A16_256 ? x + 256 - at % 256 : x + 32;
            if (y > lanes) y = lanes;
            for (int i = 0; i < n; i++) fold_lanes(m, &k[i], v, x, y);
            x = y;
        }
    }
}

void lpu_map_matmul(struct lpu_mapper *m, const struct step *s)
{
    struct work k[LPU_PLANES];
    int n = 0;
    unsigned busy = 0;
    m->g->what = m->c->chip.program->buffers[s->mat[0].dst].name;
    for (int i = 0; i < s->n; i++) {
        const struct lpu_mat *w = &m->c->mats[s->mat[i].w];
        const struct lpu_codes *q = &m->c->buffers[s->mat[i].src].codes;
        for (int t = 0; t < w->n_tiles; t++) {
            int plane = w->tile[t].plane;
            if (n && (busy >> plane & 1 || q != k[0].q)) run_batch(m, k, n), n = 0, busy = 0;
            k[n++] = (struct work){w, q, &s->mat[i], t, plane, -1};
            busy |= 1u << plane;
        }
    }
    if (n) run_batch(m, k, n);
}
