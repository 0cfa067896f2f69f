/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_attend: keys and values into the cache, and attention over it (kern/attn_body.h is the text; names as
 * there).
 *
 * A key is one vector: the kv heads of a slab side by side in the lanes. Installed as columns, 128 keys of a
 * chunk give 128 scores in the lanes for one pass of a query, moved to the lanes of its kv head. Softmax then
 * works along lanes. A value is one vector, too, installed as a row: the pass of 128 probabilities gives the
 * output of the head in its kv head's lanes. 16-bit codes are a signed high and an unsigned low byte plane,
 * each in a plane of the MXM.
 *
 * Chunks and super-chunks merge as the contract says. The first merge of each level, into an empty state, is
 * an addition of +0: what fma(0, 0, x) does.
 */
#include <stdlib.h>
#include "chip/lpu/lpu.h"
#include "kern/arith.h"
#include "kern/num.h"

#define N(i) in_node(i)

enum { NEG_INF = (int)0xff800000u };

struct head { /* locations of one query head */
    int act[2];           /* codes of the query, low and high plane, at the lanes of its kv head */
    int dqs;
    int s, m, l, p[2];    /* of a chunk */
    int cm, cl, co;       /* state of the super-chunk */
    int tm, tl, to;       /* total */
};

struct attend {
    struct lpu_mapper *m;
    const struct lpu_kv *kv;
    int D, slab, first, n;        /* query heads first .. first + n - 1 */
    int group;                    /* query heads of a kv head */
    struct head *head;
    int *t, *sv;                  /* [kv heads of the slab] */
    int chunk;
    bool last;
    int window;                   /* positions that a token sees, its own among them; 0: all */
};

static bool rotated(const struct lpu *c, int D)
{
    return c->kv_bits == 8 && (D & (D - 1)) == 0;
}

/* Walsh-Hadamard transform: stage by stage, x sign + x of the lane at distance 1, 2, 4 ... */
static int hadamard(struct lpu_mapper *m, int src, int D)
{
    int h = lpu_hemisphere(&m->c->arch, lpu_loc_slice(src));
    for (int i = 0; 1 << i < D; i++) {
        int other = lpu_scratch(m, h), dst = lpu_scratch(m, h);
        lpu_sxm(m, OP_PERM, src, other, LPU_MAP_XOR + i, false, PATCH_NONE);
        lpu_group(m);
        lpu_emit(m->g, OP_FMA, in_mem(src), in_mem(m->c->sign[i]), in_mem(other)), lpu_to(m->g, dst);
        src = dst;
    }
    return src;
}

/* Codes and scale of each head in the lanes of a vector: nodes of the group in hand. */
static int quantise(struct lpu_mapper *m, int src, int D, float qmax, uint32_t rq, int *d)
{
    struct lpu_graph *g = m->g;
    int b = lpu_emit(g, OP_IAND, in_mem(src), in_imm(0x7fffffff), IN0);
    b = lpu_emit_lanes(g, OP_GMAX, N(b), IN0, 0, LPU_LANES / D * D, (uint32_t)D);
    lpu_emit_lanes(g, OP_TRAP, N(b), IN0, 0, 0, ARITH_RANGE);
    int small = lpu_emit(g, OP_ILT, N(b), in_imm(ARITH_ZERO), IN0);
    int id = lpu_emit(g, OP_FDIV, in_f32(qmax), N(b), IN0);
    id = lpu_emit(g, OP_SEL, in_imm(0), N(id), N(small));
    *d = lpu_emit(g, OP_FMUL, N(b), in_imm(rq), IN0);
    *d = lpu_emit(g, OP_SEL, in_imm(0), N(*d), N(small));
    int x = lpu_emit(g, OP_FMUL, in_mem(src), N(id), IN0);
    return lpu_emit(g, OP_FTOI, N(x), IN0, IN0);
}

static int page_patch(const struct lpu_mapper *m, int chunk, int step)
{
    (void)m;
    return chunk * 65536 + step;
}

static void scatter(struct lpu_mapper *m, int loc, int chunk)
{
    struct lpu *c = m->c;
    lpu_to_byte(m->g, loc + chunk * c->kv_rows);
    lpu_last(m->g)->dst_patch = PATCH_SLOT;
    lpu_last(m->g)->dst_patch_arg = page_patch(m, chunk, c->kv_rows);
}

static struct lpu_in page_mem(const struct lpu_mapper *m, int loc, int chunk)
{
    struct lpu_in in = in_mem(loc + chunk * m->c->kv_scale_step);
    in.arg.patch = PATCH_PAGE;
    in.arg.patch_arg = page_patch(m, chunk, m->c->kv_scale_step);
    return in;
}

/* --- store ------------------------------------------------------------------------------------------------ */

static void store_one(struct lpu_mapper *m, const struct lpu_kv *kv, int src, int array, const int *scale, int heads)
{
    struct lpu *c = m->c;
    struct lpu_graph *g = m->g;
    int D = c->chip.program->model->h.head_dim, chunk = m->chunks - 1, d;
    bool wide = c->kv_bits == 16;
    if (array == 0 && rotated(c, D)) src = hadamard(m, src, D);
    lpu_group(m);
    int x = quantise(m, src, D, wide ? (float)ARITH_QMAX16 : (float)ARITH_QMAX8, wide ? ARITH_RQ16 : ARITH_RQ8, &d);
    lpu_emit(g, wide ? OP_SAR : OP_MOV, N(x), wide ? in_imm(8) : IN0, IN0), scatter(m, kv->row[array], chunk);
    if (wide) lpu_emit(g, OP_IAND, N(x), in_imm(255), IN0), scatter(m, kv->row[array + 1], chunk);
    for (int j = 0; j < heads; j++) {
        int one = lpu_spread_lane(m, d, j * D);
        lpu_emit_lanes(g, OP_SELW, N(one), page_mem(m, scale[j], chunk), 0, 1, 0);
        lpu_to(g, scale[j] + chunk * c->kv_scale_step);
        lpu_last(g)->patch = PATCH_SLOT_LANES;
        lpu_last(g)->dst_patch = PATCH_PAGE;
        lpu_last(g)->dst_patch_arg = page_patch(m, chunk, c->kv_scale_step);
    }
}

static int heads_of(const struct lpu *c, int slab)
{
    int rest = c->chip.program->model->h.n_head_kv - slab * c->kv_heads;
    return rest < c->kv_heads ? rest : c->kv_heads;
}

void lpu_map_store(struct lpu_mapper *m, const struct step *s)
{
    struct lpu *c = m->c;
    m->g->what = "store";
    for (int i = 0; i < c->n_kv && !m->rc; i++) {
        const struct lpu_kv *kv = &c->kv[s->layer * c->n_kv + i];
        store_one(m, kv, c->buffers[s->attn.k].at[i], 0, kv->dk, heads_of(c, i));
        store_one(m, kv, c->buffers[s->attn.v].at[i], 2, kv->dv, heads_of(c, i));
    }
}

/* --- attend ----------------------------------------------------------------------------------------------- */

static int key_side(const struct attend *a)
{
    return lpu_plane_hemisphere(a->kv->plane[0]);
}

static int value_side(const struct attend *a)
{
    return lpu_plane_hemisphere(a->kv->plane[2]);
}

static int kv_lane(const struct attend *a, int i) /* of query head first + i */
{
    return i / a->group * a->D;
}

/* Codes of the slab's queries, each moved to the lanes of its kv head. */
static void queries(struct attend *a, const struct step *s)
{
    struct lpu_mapper *m = a->m;
    struct lpu *c = m->c;
    struct lpu_graph *g = m->g;
    const struct lpu_buffer *q = &c->buffers[s->attn.q];
    int per = q->lanes / a->D, h = key_side(a), d;
    float scale = c->chip.program->model->h.attn_scale;
    if (rotated(c, a->D)) scale = scale * (1.0f / (float)a->D);
    for (int v = a->first / per; v <= (a->first + a->n - 1) / per && !m->rc; v++) {
        int all[2] = {lpu_scratch(m, h), lpu_scratch(m, h)}, src = q->at[v];
        if (rotated(c, a->D)) src = hadamard(m, src, a->D);
        lpu_group(m);
        int x = quantise(m, src, a->D, (float)ARITH_QMAX16, ARITH_RQ16, &d);
        lpu_emit(g, OP_SAR, N(x), in_imm(8), IN0), lpu_to_byte(g, all[1]);
        lpu_emit(g, OP_IAND, N(x), in_imm(255), IN0), lpu_to_byte(g, all[0]);
        int y = lpu_emit(g, OP_FMUL, N(d), in_f32(scale), IN0);
        int top = lpu_emit(g, OP_IAND, N(y), in_imm(0x7fffffff), IN0);
        lpu_emit_lanes(g, OP_TRAP, N(top), IN0, 0, 0, ARITH_RANGE);
        for (int i = 0; i < a->n; i++) {
            struct head *k = &a->head[i];
            if ((a->first + i) / per != v) continue;
            int lane = (a->first + i) % per * a->D;
            k->dqs = lpu_scratch(m, -1);
            lpu_spread_lane(m, y, lane), lpu_to(g, k->dqs);
        }
        for (int i = 0; i < a->n; i++) {
            struct head *k = &a->head[i];
            if ((a->first + i) / per != v) continue;
            int lane = (a->first + i) % per * a->D;
            for (int p = 0; p < 2; p++) {
                k->act[p] = lpu_scratch(m, h);
                lpu_sxm(m, OP_ROT, all[p], k->act[p], (lane - kv_lane(a, i) + LPU_LANES) % LPU_LANES, true, PATCH_NONE);
            }
        }
    }
}

/* 16-bit by 16-bit codes as four passes, or 16 by 8 as two: the exact sum as a float, by the contract's split. */
static int product(struct attend *a, int array, const int act[2], int x, int y)
{
    struct lpu_graph *g = a->m->g;
    const int *plane = a->kv->plane + array;
    int sum[2];
    if (a->m->c->kv_bits == 8) {
        int h = lpu_emit(g, OP_MOV, in_pass(plane[0], act[1], x, y, false), IN0, IN0);
        h = lpu_emit(g, OP_SHLADD, N(h), in_pass(plane[0], act[0], x, y, true), IN0);
        return lpu_emit(g, OP_ITOF, N(h), IN0, IN0);
    }
    for (int p = 1; p >= 0; p--) {
        int h = lpu_emit(g, OP_MOV, in_pass(plane[0], act[p], x, y, p == 0), IN0, IN0);
        h = lpu_emit(g, OP_SHLADD, N(h), in_pass(plane[1], act[p], x, y, p == 0), IN0);
        sum[p] = lpu_emit(g, OP_ITOF, N(h), IN0, IN0);
    }
    return lpu_emit(g, OP_FMA, N(sum[1]), in_f32(256.0f), N(sum[0]));
}

static void visible(struct attend *a)
{
    if (a->last) lpu_last(a->m->g)->patch = PATCH_LAST_LANE;
}

/* For some token of the last chunk, the first key that it sees lies `keys` or more behind the beginning of
 * the chunk in hand. */
static bool first_behind(const struct attend *a, int keys)
{
    return a->window && a->m->chunks * ATTN_CHUNK - a->window >= a->chunk * ATTN_CHUNK + keys;
}

static void patch_window(struct attend *a, enum lpu_patch patch)
{
    lpu_last(a->m->g)->patch = (uint8_t)patch;
    lpu_last(a->m->g)->patch_arg = (a->m->chunks - 1 - a->chunk) * ATTN_CHUNK - a->window;
}

static void in_window(struct attend *a)
{
    visible(a);
    if (first_behind(a, 1)) patch_window(a, a->last ? PATCH_WINDOW : PATCH_FIRST_LANE);
}

/* The first chunk may have slid out of the window altogether: then it is left whole, and what comes of it is
 * replaced by what an empty state holds, so that the next merge is the first. */
static int if_any(struct attend *a, int node, uint32_t empty)
{
    if (!first_behind(a, ATTN_CHUNK)) return node;
    node = lpu_emit_lanes(a->m->g, OP_SELW, N(node), in_imm(empty), 0, LPU_LANES, 0);
    patch_window(a, PATCH_ANY_KEY);
    return node;
}

/* 32767 / v and v / 32767, v the largest scale of the visible values. */
static void value_scales(struct attend *a, int j)
{
    struct lpu_graph *g = a->m->g;
    lpu_group(a->m);
    int v = lpu_emit_lanes(g, OP_SELW, page_mem(a->m, a->kv->dv[j], a->chunk), in_imm(0), 0, ATTN_CHUNK, 0);
    visible(a);
    v = lpu_emit_lanes(g, OP_WMAX, N(v), IN0, 0, ATTN_CHUNK, 0);
    int some = lpu_emit(g, OP_FGT, N(v), in_imm(0), IN0);
    int t = lpu_emit(g, OP_FDIV, in_f32((float)ARITH_QMAX16), N(v), IN0);
    lpu_emit(g, OP_SEL, N(t), in_imm(0), N(some)), lpu_to(g, a->t[j]);
    lpu_emit(g, OP_FDIV, N(v), in_f32((float)ARITH_QMAX16), IN0), lpu_to(g, a->sv[j]);
}

static void scores(struct attend *a, int i)
{
    struct lpu_graph *g = a->m->g;
    struct head *h = &a->head[i];
    int x0 = kv_lane(a, i);
    lpu_group(a->m);
    int w = lpu_emit(g, OP_FMUL, in_mem(h->dqs), page_mem(a->m, a->kv->dk[i / a->group], a->chunk), IN0);
    int x = product(a, 0, h->act, x0, x0 + a->D);
    x = lpu_emit(g, OP_FMUL, N(x), N(w), IN0);
    x = lpu_emit_lanes(g, OP_SELW, N(x), in_imm((uint32_t)NEG_INF), 0, ATTN_CHUNK, 0);
    in_window(a);
    lpu_to(g, h->s);
    x = lpu_emit_lanes(g, OP_WFMAX, N(x), IN0, 0, ATTN_CHUNK, 0);
    x = lpu_emit(g, OP_FADD, N(x), in_imm(0), IN0), lpu_to(g, h->m);
    x = lpu_emit(g, OP_IAND, N(x), in_imm(0x7fffffff), IN0);
    x = if_any(a, x, 0);
    lpu_emit_lanes(g, OP_TRAP, N(x), IN0, 0, 0, ARITH_RANGE);
}

static void softmax(struct attend *a, int i)
{
    struct lpu_graph *g = a->m->g;
    struct head *h = &a->head[i];
    int j = i / a->group;
    lpu_group(a->m);
    int p = lpu_emit(g, OP_FSUB, in_mem(h->s), in_mem(h->m), IN0);
    p = lpu_exp(a->m, N(p));
    int l = lpu_emit(g, OP_FMUL, N(p), in_f32(0x1p23f), IN0);
    l = lpu_emit(g, OP_FTOI, N(l), IN0, IN0);
    l = lpu_emit_lanes(g, OP_WSUM, N(l), IN0, 0, ATTN_CHUNK, 0);
    l = lpu_emit(g, OP_ITOF, N(l), IN0, IN0);
    lpu_emit(g, OP_FMUL, N(l), in_f32(0x1p-23f), IN0), lpu_to(g, h->l);
    int w = lpu_emit(g, OP_FMUL, N(p), page_mem(a->m, a->kv->dv[j], a->chunk), IN0);
    w = lpu_emit(g, OP_FMUL, N(w), in_mem(a->t[j]), IN0);
    w = lpu_emit(g, OP_FTOI, N(w), IN0, IN0);
    lpu_emit(g, OP_SAR, N(w), in_imm(8), IN0), lpu_to_byte(g, h->p[1]);
    lpu_emit(g, OP_IAND, N(w), in_imm(255), IN0), lpu_to_byte(g, h->p[0]);
}

/* al = exp(old - n), be = exp(new - n), n the larger: to memory. */
static void weights(struct attend *a, int old, int new, int n, int al, int be)
{
    struct lpu_graph *g = a->m->g;
    lpu_group(a->m);
    int o = lpu_emit(g, OP_MOV, in_mem(old), IN0, IN0), p = lpu_emit(g, OP_MOV, in_mem(new), IN0, IN0);
    int top = lpu_emit(g, OP_FMAX, N(o), N(p), IN0);
    int x = lpu_emit(g, OP_FSUB, N(o), N(top), IN0), y = lpu_emit(g, OP_FSUB, N(p), N(top), IN0);
    lpu_emit(g, OP_MOV, N(top), IN0, IN0), lpu_to(g, n);
    lpu_emit(g, OP_MOV, N(x), IN0, IN0), lpu_to(g, al);
    lpu_emit(g, OP_MOV, N(y), IN0, IN0), lpu_to(g, be);
    for (int i = 0; i < 2; i++) { /* one after the other: an exponential takes most of the ALUs' latches */
        lpu_group(a->m);
        x = lpu_emit(g, OP_MOV, in_mem(i ? be : al), IN0, IN0);
        lpu_exp(a->m, N(x)), lpu_to(g, i ? be : al);
    }
}

static void copy(struct attend *a, int dst, int src)
{
    lpu_group(a->m);
    lpu_emit(a->m->g, OP_MOV, in_mem(src), IN0, IN0), lpu_to(a->m->g, dst);
}

static void copy_if_any(struct attend *a, int dst, int src, uint32_t empty)
{
    lpu_group(a->m);
    if_any(a, lpu_emit(a->m->g, OP_MOV, in_mem(src), IN0, IN0), empty), lpu_to(a->m->g, dst);
}

static void merge_chunk(struct attend *a, int i, bool first)
{
    struct lpu_graph *g = a->m->g;
    struct head *h = &a->head[i];
    int j = i / a->group, sv = a->sv[j], al = 0, be = 0, n = 0;
    if (!first) {
        al = lpu_scratch(a->m, -1), be = lpu_scratch(a->m, -1), n = lpu_scratch(a->m, -1);
        weights(a, h->cm, h->m, n, al, be);
    }
    lpu_group(a->m);
    int u = product(a, 2, h->p, 0, ATTN_CHUNK);
    if (first) {
        u = lpu_emit(g, OP_FMUL, N(u), in_mem(sv), IN0);
        if_any(a, lpu_emit(g, OP_FADD, N(u), in_imm(0), IN0), 0), lpu_to(g, h->co);
        copy_if_any(a, h->cl, h->l, 0);
        copy_if_any(a, h->cm, h->m, (uint32_t)NEG_INF);
        return;
    }
    int w = lpu_emit(g, OP_FMUL, in_mem(be), in_mem(sv), IN0);
    u = lpu_emit(g, OP_FMUL, N(u), N(w), IN0);
    lpu_emit(g, OP_FMA, in_mem(h->co), in_mem(al), N(u)), lpu_to(g, h->co);
    lpu_group(a->m);
    w = lpu_emit(g, OP_FMUL, in_mem(h->l), in_mem(be), IN0);
    lpu_emit(g, OP_FMA, in_mem(h->cl), in_mem(al), N(w)), lpu_to(g, h->cl);
    copy(a, h->cm, n);
}

static void merge_super(struct attend *a, int i, bool first)
{
    struct lpu_graph *g = a->m->g;
    struct head *h = &a->head[i];
    if (first) {
        lpu_group(a->m);
        lpu_emit(g, OP_FADD, in_mem(h->co), in_imm(0), IN0), lpu_to(g, h->to);
        copy(a, h->tl, h->cl);
        copy(a, h->tm, h->cm);
        return;
    }
    int al = lpu_scratch(a->m, -1), be = lpu_scratch(a->m, -1), n = lpu_scratch(a->m, -1);
    weights(a, h->tm, h->cm, n, al, be);
    lpu_group(a->m);
    int w = lpu_emit(g, OP_FMUL, in_mem(h->co), in_mem(be), IN0);
    lpu_emit(g, OP_FMA, in_mem(h->to), in_mem(al), N(w)), lpu_to(g, h->to);
    lpu_group(a->m);
    w = lpu_emit(g, OP_FMUL, in_mem(h->cl), in_mem(be), IN0);
    lpu_emit(g, OP_FMA, in_mem(h->tl), in_mem(al), N(w)), lpu_to(g, h->tl);
    copy(a, h->tm, n);
}

static void one_chunk(struct attend *a, bool super_first, bool super_end, bool total_first)
{
    struct lpu_mapper *m = a->m;
    struct lpu *c = m->c;
    bool wide = c->kv_bits == 16;
    int heads = heads_of(c, a->slab), at = a->chunk * c->kv_rows, patch = page_patch(m, a->chunk, c->kv_rows);
    for (int i = 0; i < 4; i += wide ? 1 : 2) {
        lpu_load(m, a->kv->plane[i], a->kv->row[i] + at, ATTN_CHUNK, i < 2 ? FLAG_COLUMNS | FLAG_CLEAR : 0, patch);
        lpu_install(m, a->kv->plane[i], wide && i % 2 == 1);
    }
    m->g->what = "scores";
    for (int j = 0; j < heads; j++) value_scales(a, j);
    for (int i = 0; i < a->n; i++) scores(a, i);
    m->g->what = "softmax";
    for (int i = 0; i < a->n; i++) softmax(a, i);
    m->g->what = "values";
    for (int i = 0; i < a->n; i++) merge_chunk(a, i, super_first);
    for (int i = 0; i < a->n && super_end; i++) merge_super(a, i, total_first);
}

static void take_rows(struct attend *a)
{
    struct lpu_mapper *m = a->m;
    for (int i = 0; i < a->n; i++) {
        struct head *h = &a->head[i];
        int *list[] = {&h->s, &h->m, &h->l, &h->cm, &h->cl, &h->co, &h->tm, &h->tl, &h->to};
        for (size_t j = 0; j < sizeof list / sizeof *list; j++) *list[j] = lpu_scratch(m, -1);
        for (int p = 0; p < 2; p++) h->p[p] = lpu_scratch(m, value_side(a));
    }
    for (int j = 0; j < heads_of(m->c, a->slab); j++) a->t[j] = lpu_scratch(m, -1), a->sv[j] = lpu_scratch(m, -1);
}

/* out = o / l, moved from the lanes of the kv head to those of the query head. */
static void finish(struct attend *a, int i, int *moved)
{
    struct lpu_mapper *m = a->m;
    const struct lpu_buffer *out = &m->c->buffers[m->c->chip.program->steps[m->step].attn.out];
    int per = out->lanes / a->D, lane = (a->first + i) % per * a->D, q = lpu_scratch(m, 0);
    *moved = lpu_scratch(m, 0);
    lpu_group(m);
    lpu_emit(m->g, OP_FDIV, in_mem(a->head[i].to), in_mem(a->head[i].tl), IN0), lpu_to(m->g, q);
    lpu_sxm(m, OP_ROT, q, *moved, (kv_lane(a, i) - lane + LPU_LANES) % LPU_LANES, false, PATCH_NONE);
}

static void attend_slab(struct lpu_mapper *m, const struct step *s, struct attend *a, int *moved)
{
    take_rows(a);
    if (m->rc) return;
    m->g->what = "queries";
    queries(a, s);
    int per = ATTN_SUPER / ATTN_CHUNK, back = a->window ? (m->chunks - 1) * ATTN_CHUNK + 1 - a->window : 0,
        first = back > 0 ? back / ATTN_CHUNK : 0;
    for (int ch = first; ch < m->chunks && !m->rc; ch++) {
        a->chunk = ch;
        a->last = ch == m->chunks - 1;
        one_chunk(a, ch == first || ch % per == 0, a->last || (ch + 1) % per == 0, ch / per == first / per);
    }
    m->g->what = "heads";
    for (int i = 0; i < a->n && !m->rc; i++) finish(a, i, &moved[a->first + i]);
}

void lpu_map_attend(struct lpu_mapper *m, const struct step *s)
{
    struct lpu *c = m->c;
    const struct hparams *h = &c->chip.program->model->h;
    const struct lpu_buffer *out = &c->buffers[s->attn.out];
    int group = h->n_head / h->n_head_kv, per = out->lanes / h->head_dim;
    int *moved = malloc((size_t)h->n_head * sizeof *moved), *t = malloc((size_t)c->kv_heads * 2 * sizeof *t);
    struct head *head = calloc((size_t)(c->kv_heads * group), sizeof *head);
    if ((!moved || !t || !head) && !m->rc) m->rc = err(m->e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < c->n_kv && !m->rc; i++) {
        struct attend a = {.m = m,
                           .kv = &c->kv[s->layer * c->n_kv + i],
                           .D = h->head_dim,
                           .slab = i,
                           .group = group,
                           .head = head,
                           .t = t,
                           .sv = t + c->kv_heads,
                           .window = s->attn.window};
        a.first = i * c->kv_heads * group;
        a.n = heads_of(c, i) * group;
        attend_slab(m, s, &a, moved);
    }
    for (int v = 0; v < out->n_vec && !m->rc; v++) {
        lpu_group(m);
        int x = lpu_emit(m->g, OP_MOV, in_imm(0), IN0, IN0);
        for (int i = v * per; i < (v + 1) * per && i < h->n_head; i++)
            x = lpu_emit_lanes(m->g, OP_SELW, in_mem(moved[i]), N(x), i % per * h->head_dim,
                               (i % per + 1) * h->head_dim, 0);
        lpu_to(m->g, out->at[v]);
    }
    free(moved), free(t), free(head);
}
