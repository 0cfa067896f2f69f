/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map: the steps of a program as unit operations, one file for each kind: row operations here, matrices in
 * map_matmul.c, attention in map_attend.c. The operations are those of doc/arithmetic.md one by one, so the
 * bits are the contract's; what the VXM computes is written as the contract's text writes it
 * (kern/elem_body.h, kern/mathf.h).
 */
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/lpu.h"
#include "kern/arith.h"
#include "kern/num.h"

/* --- tools ------------------------------------------------------------------------------------------------ */

void lpu_group(struct lpu_mapper *m)
{
    lpu_graph_group(m->g, GROUP_VXM, m->step);
}

static int out_of_rows(struct lpu_mapper *m)
{
    if (!m->rc) m->rc = err(m->e, ERR_LIMIT, "buffers do not fit the work slices of one chip");
    return 0;
}

int lpu_scratch(struct lpu_mapper *m, int hemisphere)
{
    int loc = lpu_take_vector(m->c, hemisphere);
    if (loc < 0) return out_of_rows(m);
    if (m->n_scratch == m->cap_scratch) {
        int cap = m->cap_scratch ? 2 * m->cap_scratch : 64;
        int *p = realloc(m->scratch, (size_t)cap * sizeof *p);
        if (!p) {
            lpu_give_vector(m->c, loc);
            if (!m->rc) m->rc = err(m->e, ERR_MEMORY, "out of memory");
            return 0;
        }
        m->scratch = p;
        m->cap_scratch = cap;
    }
    return m->scratch[m->n_scratch++] = loc;
}

void lpu_sxm(struct lpu_mapper *m, enum lpu_op op, int src, int dst, int lane, bool byte, enum lpu_patch lane_patch)
{
    struct lpu_node n = {.op = (uint8_t)op,
                         .alu = ARG_NONE,
                         .row = (uint16_t)lane,
                         .n_dst = 1,
                         .dst = {dst},
                         .dst_byte = byte,
                         .patch = (uint8_t)lane_patch};
    n.arg[0] = (struct lpu_arg){.kind = SRC_MEM, .v = src, .byte = byte};
    lpu_graph_group(m->g, GROUP_SXM, m->step);
    lpu_graph_node(m->g, &n);
}

void lpu_load(struct lpu_mapper *m, int plane, int loc, int n, int flag, int patch_arg)
{
    struct lpu_node k = {.op = OP_LW, .alu = (uint8_t)plane, .x = (uint16_t)n, .flag = (uint8_t)flag};
    k.arg[0] = (struct lpu_arg){
        .kind = SRC_MEM, .v = loc, .patch = patch_arg >= 0 ? PATCH_PAGE : PATCH_NONE, .patch_arg = patch_arg};
    lpu_graph_group(m->g, GROUP_INSTALL, m->step);
    lpu_graph_node(m->g, &k);
}

void lpu_install(struct lpu_mapper *m, int plane, bool is_unsigned)
{
    struct lpu_node n = {.op = OP_IW, .alu = (uint8_t)plane, .pass_flag = is_unsigned ? FLAG_UNSIGNED : 0};
    lpu_graph_group(m->g, GROUP_INSTALL, m->step);
    lpu_graph_node(m->g, &n);
}

#define N(i) in_node(i)
#define K(name) in_imm(ARITH_##name)

int lpu_spread_lane(struct lpu_mapper *m, int node, int lane)
{
    return lpu_emit_lanes(m->g, OP_WMAX, N(node), IN0, lane, lane + 1, 0);
}

/* What is needed late waits in memory, where it blocks no ALU: many exponentials are under way at once. */
int lpu_exp(struct lpu_mapper *m, struct lpu_in x)
{
    struct lpu_graph *g = m->g;
    float ln2hi = -ARITH_F32(LN2_HI), ln2lo = -ARITH_F32(LN2_LO);
    int *keep = m->exp[m->n_exp++ % LPU_EXPS];
    if (m->n_exp <= LPU_EXPS)
        for (int i = 0; i < LPU_EXP_ROWS; i++) keep[i] = lpu_scratch(m, -1);
    int c = lpu_emit(g, OP_FMAX, x, K(EXP_MIN), IN0);
    c = lpu_emit(g, OP_FMIN, N(c), K(EXP_MAX), IN0);
    int s = lpu_emit(g, OP_FMUL, N(c), K(LOG2E), IN0);
    int i = lpu_emit(g, OP_FTOI, N(s), IN0, IN0);
    int n = lpu_emit(g, OP_ITOF, N(i), IN0, IN0);
    int some = lpu_emit(g, OP_FGT, N(c), K(EXP_MIN), IN0); /* x > lo, else the result is 0: by the power of two */
    int p = lpu_emit(g, OP_IADD, N(i), in_imm(127), IN0);
    p = lpu_emit(g, OP_SHL, N(p), in_imm(23), IN0);
    lpu_emit(g, OP_IAND, N(p), N(some), IN0), lpu_to(g, keep[0]);
    int a = lpu_emit(g, OP_FMA, N(n), in_f32(ln2hi), N(c));
    lpu_to(g, keep[1]);
    int b = lpu_emit(g, OP_FMUL, N(n), in_f32(ln2lo), IN0);
    lpu_to(g, keep[2]);
    int r = lpu_emit(g, OP_FADD, N(a), N(b), IN0);
    lpu_to(g, keep[3]);
    lpu_emit(g, OP_FMUL, N(r), N(r), IN0), lpu_to(g, keep[4]);
    lpu_group(m);
    int h = lpu_emit(g, OP_FMA, in_mem(keep[3]), K(EXP_C4), K(EXP_C3));
    h = lpu_emit(g, OP_FMA, N(h), in_mem(keep[3]), K(EXP_C2));
    h = lpu_emit(g, OP_FMA, N(h), in_mem(keep[3]), K(EXP_C1));
    h = lpu_emit(g, OP_FMA, N(h), in_mem(keep[3]), K(EXP_C0));
    h = lpu_emit(g, OP_FMA, in_mem(keep[4]), N(h), in_mem(keep[2]));
    h = lpu_emit(g, OP_FADD, in_mem(keep[1]), N(h), IN0);
    h = lpu_emit(g, OP_FADD, N(h), in_f32(1.0f), IN0);
    return lpu_emit(g, OP_FMUL, N(h), in_mem(keep[0]), IN0);
}

/* --- row operations --------------------------------------------------------------------------------------- */

static const struct lpu_buffer *buffer(const struct lpu_mapper *m, int b)
{
    return &m->c->buffers[b];
}

enum { NORM_UP, NORM_DOWN, NORM_INV, NORM_PART, }; /* chains; three parts */

/* An operation over lanes: of the whole vector, or of each head. */
static int across(struct lpu_mapper *m, enum lpu_op whole, enum lpu_op of_group, struct lpu_in x, int group)
{
    if (!group) return lpu_emit_lanes(m->g, whole, x, IN0, 0, LPU_LANES, 0);
    return lpu_emit_lanes(m->g, of_group, x, IN0, 0, LPU_LANES / group * group, (uint32_t)group);
}

/* The norm of nv vectors together, n numbers; or of each head of `group` lanes in one vector. */
static void norm(struct lpu_mapper *m, const int *x, const int *gain, const int *y, int nv, int n, int group)
{
    struct lpu_graph *g = m->g;
    int top = 0, k;
    lpu_group(m);
    for (int v = 0; v < nv; v++) {
        k = lpu_emit(g, OP_IAND, in_mem(x[v]), in_imm(0x7fffffff), IN0);
        top = v ? lpu_emit(g, OP_IMAX, N(top), N(k), IN0) : k;
    }
    top = across(m, OP_WMAX, OP_GMAX, N(top), group);
    k = lpu_emit(g, OP_SHR, N(top), in_imm(23), IN0); /* biased exponent, not below that of 2^NORM_E_MIN */
    k = lpu_emit(g, OP_IMAX, N(k), in_imm(127 + ARITH_NORM_E_MIN), IN0);
    int e = lpu_emit(g, OP_ISUB, in_imm(2 * 127 + ARITH_NORM_BITS), N(k), IN0);
    lpu_emit(g, OP_SHL, N(e), in_imm(23), IN0), lpu_to_chain(g, NORM_UP);
    e = lpu_emit(g, OP_ISUB, N(k), in_imm(ARITH_NORM_BITS), IN0);
    lpu_emit(g, OP_SHL, N(e), in_imm(23), IN0), lpu_to_chain(g, NORM_DOWN);
    lpu_emit_lanes(g, OP_TRAP, N(top), IN0, 0, 0, ARITH_RANGE);
    for (int v = 0; v < nv; v++) { /* 43-bit squares in three parts, so that 32-bit sums are exact */
        lpu_group(m);
        k = lpu_emit(g, OP_FMUL, in_mem(x[v]), in_chain(NORM_UP), IN0);
        k = lpu_emit(g, OP_FTOI, N(k), IN0, IN0);
        for (int i = 0; i < 3; i++) {
            int s = lpu_emit(g, OP_SQPART, N(k), in_imm((uint32_t)(14 * i)), IN0);
            if (v) lpu_emit(g, OP_IADD, N(s), in_chain(NORM_PART + i), IN0);
            lpu_to_chain(g, NORM_PART + i);
        }
    }
    lpu_group(m);
    int sum[3];
    for (int i = 0; i < 3; i++) sum[i] = across(m, OP_WSUM, OP_GSUM, in_chain(NORM_PART + i), group);
    k = lpu_emit(g, OP_I3TOF, N(sum[0]), N(sum[1]), N(sum[2]));
    k = lpu_emit(g, OP_FDIV, N(k), in_f32((float)n), IN0);
    k = lpu_emit(g, OP_FMUL, N(k), in_chain(NORM_DOWN), IN0);
    k = lpu_emit(g, OP_FMUL, N(k), in_chain(NORM_DOWN), IN0);
    k = lpu_emit(g, OP_FADD, N(k), in_f32(m->c->chip.program->model->h.norm_eps), IN0);
    k = lpu_emit(g, OP_FSQRT, N(k), IN0, IN0);
    lpu_emit(g, OP_FDIV, in_f32(1.0f), N(k), IN0), lpu_to_chain(g, NORM_INV);
    for (int v = 0; v < nv; v++) {
        lpu_group(m);
        k = lpu_emit(g, OP_FMUL, in_mem(x[v]), in_chain(NORM_INV), IN0);
        lpu_emit(g, OP_FMUL, N(k), in_mem(gain[v]), IN0), lpu_to(g, y[v]);
    }
}

static void map_norm(struct lpu_mapper *m, const struct row_op *r)
{
    const struct lpu_buffer *x = buffer(m, r->src), *y = buffer(m, r->dst);
    const int *gain = m->c->vectors[r->w];
    int n = m->c->chip.program->buffers[r->src].width, head = r->n_head ? n / r->n_head : 0;
    if (!head) {
        norm(m, x->at, gain, y->at, x->n_vec, n, 0);
    } else if (x->lanes % head) {
        m->rc = err(m->e, ERR_UNSUPPORTED, "norms of heads of %d in vectors of %d lanes", head, x->lanes);
    } else {
        for (int v = 0; v < x->n_vec; v++) norm(m, &x->at[v], &gain[v], &y->at[v], 1, head, head);
    }
}

/* y = x0 c - x1 s, x0 s + x1 c: both members of a pair as fma(x0, P, x1 * R), with (P, R) = (c, -s) and (s, c). */
static void map_rope(struct lpu_mapper *m, const struct row_op *r)
{
    const struct lpu_buffer *x = buffer(m, r->dst);
    int *even = m->rc ? NULL : malloc((size_t)x->n_vec * 2 * sizeof *even);
    if (!even) {
        if (!m->rc) m->rc = err(m->e, ERR_MEMORY, "out of memory");
        return;
    }
    for (int v = 0; v < x->n_vec; v++) {
        int h = lpu_hemisphere(&m->c->arch, lpu_loc_slice(x->at[v]));
        even[2 * v] = lpu_scratch(m, h), even[2 * v + 1] = lpu_scratch(m, h);
        if (m->rc) break;
        lpu_sxm(m, OP_PERM, x->at[v], even[2 * v], LPU_MAP_FIRST, false, PATCH_NONE);
        lpu_sxm(m, OP_PERM, x->at[v], even[2 * v + 1], LPU_MAP_SECOND, false, PATCH_NONE);
    }
    for (int v = 0; v < x->n_vec && !m->rc; v++) {
        lpu_group(m);
        int k = lpu_emit(m->g, OP_FMUL, in_mem(even[2 * v + 1]), in_mem(m->c->turn_sin), IN0);
        lpu_emit(m->g, OP_FMA, in_mem(even[2 * v]), in_mem(m->c->turn_cos), N(k)), lpu_to(m->g, x->at[v]);
    }
    free(even);
}

static void map_gate(struct lpu_mapper *m, const struct row_op *r)
{
    struct lpu_graph *g = m->g;
    for (int v = 0; v < buffer(m, r->dst)->n_vec; v++) {
        lpu_group(m);
        int k = lpu_emit(g, OP_ISUB, in_mem(buffer(m, r->src)->at[v]), in_imm(0x80000000), IN0); /* -x */
        k = lpu_exp(m, N(k));
        k = lpu_emit(g, OP_FADD, N(k), in_f32(1.0f), IN0);
        k = lpu_emit(g, OP_FDIV, in_mem(buffer(m, r->src)->at[v]), N(k), IN0);
        lpu_emit(g, OP_FMUL, N(k), in_mem(buffer(m, r->src2)->at[v]), IN0), lpu_to(g, buffer(m, r->dst)->at[v]);
    }
}

static void map_add(struct lpu_mapper *m, const struct row_op *r)
{
    for (int v = 0; v < buffer(m, r->dst)->n_vec; v++) {
        int x = buffer(m, r->dst)->at[v];
        lpu_group(m);
        lpu_emit(m->g, OP_FADD, in_mem(x), in_mem(buffer(m, r->src)->at[v]), IN0), lpu_to(m->g, x);
    }
}

static void map_scale(struct lpu_mapper *m, const struct row_op *r)
{
    for (int v = 0; v < buffer(m, r->dst)->n_vec; v++) {
        int x = buffer(m, r->dst)->at[v];
        lpu_group(m);
        lpu_emit(m->g, OP_FMUL, in_mem(x), in_f32(r->scale), IN0), lpu_to(m->g, x);
    }
}

static void map_select(struct lpu_mapper *m, const struct row_op *r)
{
    for (int v = 0; v < buffer(m, r->dst)->n_vec; v++) {
        lpu_group(m);
        lpu_emit(m->g, OP_MOV, in_mem(buffer(m, r->src)->at[v]), IN0, IN0), lpu_to(m->g, buffer(m, r->dst)->at[v]);
    }
}

/* One number for each block of lanes, from the token's lane of the table's vectors at[0..]: dst = it in all
 * its lanes. */
static int spread(struct lpu_mapper *m, const int *at, int size, int slab, int lanes, int k)
{
    int n = (k - slab * lanes < lanes ? k - slab * lanes : lanes), first = slab * lanes / size,
        last = (slab * lanes + n - 1) / size;
    int h = lpu_hemisphere(&m->c->arch, lpu_loc_slice(at[0])), dst = lpu_scratch(m, -1);
    int *one = malloc((size_t)(last - first + 1) * sizeof *one);
    if (!one) {
        if (!m->rc) m->rc = err(m->e, ERR_MEMORY, "out of memory");
        return dst;
    }
    for (int b = first; b <= last; b++) {
        one[b - first] = lpu_scratch(m, h);
        lpu_sxm(m, OP_DIST, at[b], one[b - first], 0, false, PATCH_TOKEN_LANE);
        if (!m->g->failed) m->g->nodes[m->g->n_nodes - 1].arg[0].patch = PATCH_TOKEN_SCALE;
    }
    lpu_group(m);
    int v = lpu_emit(m->g, OP_MOV, in_imm(0), IN0, IN0);
    for (int b = first; b <= last; b++) {
        int x = b * size - slab * lanes, y = x + size < n ? x + size : n;
        v = lpu_emit_lanes(m->g, OP_SELW, in_mem(one[b - first]), N(v), x < 0 ? 0 : x, y, 0);
    }
    lpu_to(m->g, dst);
    free(one);
    return dst;
}

static struct lpu_in token_codes(int loc, bool is_signed, int part, int slab)
{
    struct lpu_in in = in_byte(loc, is_signed);
    in.arg.patch = PATCH_TOKEN_CODES;
    in.arg.patch_arg = part * TOKEN_PART + slab;
    return in;
}

/* A row of the table: float(code) w, with offsets fma(code, w, m), of K-quants fma(sub code, w, -fl(min wmin)). */
static void map_embed(struct lpu_mapper *m, const struct row_op *r)
{
    struct lpu_graph *g = m->g;
    const struct lpu_mat *t = &m->c->mats[r->w];
    const struct lpu_buffer *y = buffer(m, r->dst);
    int span = mat_layout(t->w->t->type)->span, size = mat_sub_size(t->w->t->type), code[2];
    for (int v = 0; v < y->n_vec; v++) {
        for (int p = 0; p < t->parts; p++) { /* before all else, while nothing else reads the wide slices */
            code[p] = lpu_scratch(m, -1);
            lpu_group(m);
            lpu_emit(g, OP_MOV, token_codes(t->at[p * t->n_slabs + v], p == 0, p, v), IN0, IN0), lpu_to(g, code[p]);
        }
        int w = spread(m, t->scale, span, v, t->in_lanes, t->w->k),
            off = t->offset ? spread(m, t->offset, span, v, t->in_lanes, t->w->k) : 0;
        int sub = t->sub ? spread(m, t->sub, size, v, t->in_lanes, t->w->k) : 0,
            min = t->min ? spread(m, t->min, size, v, t->in_lanes, t->w->k) : 0;
        if (m->rc) return;
        lpu_group(m);
        int k = lpu_emit(g, OP_MOV, in_mem(code[0]), IN0, IN0), o = 0;
        if (t->parts == 2) k = lpu_emit(g, OP_SHLADD, N(k), in_mem(code[1]), IN0);
        if (t->sub) k = lpu_emit(g, OP_IMAD, N(k), in_mem(sub), in_imm(0));
        k = lpu_emit(g, OP_ITOF, N(k), IN0, IN0);
        if (t->offset) {
            o = lpu_emit(g, OP_MOV, in_mem(off), IN0, IN0);
            if (t->min) {
                o = lpu_emit(g, OP_ITOF, in_mem(min), IN0, IN0);
                o = lpu_emit(g, OP_FMUL, N(o), in_mem(off), IN0);
                o = lpu_emit(g, OP_ISUB, N(o), in_imm(0x80000000), IN0);
            }
            lpu_emit(g, OP_FMA, N(k), in_mem(w), N(o));
        } else {
            lpu_emit(g, OP_FMUL, N(k), in_mem(w), IN0);
        }
        lpu_to(g, y->at[v]);
    }
}

static void map_rows(struct lpu_mapper *m, const struct step *s)
{
    for (int i = 0; i < s->n && !m->rc; i++) {
        const struct row_op *r = &s->row[i];
        m->g->what = row_op_name[r->kind];
        switch (r->kind) {
        case ROW_TURN: break; /* the host writes the token's rotation */
        case ROW_EMBED: map_embed(m, r); break;
        case ROW_SELECT: map_select(m, r); break;
        case ROW_NORM: map_norm(m, r); break;
        case ROW_QUANT: lpu_map_quant(m, &buffer(m, r->dst)->codes, buffer(m, r->src)->at); break;
        case ROW_ROPE: map_rope(m, r); break;
        case ROW_GATE: map_gate(m, r); break;
        case ROW_ADD: map_add(m, r); break;
        case ROW_SCALE: map_scale(m, r); break;
        default: must(0); /* check_supported (lpu.c) */
        }
    }
}

/* --- launches --------------------------------------------------------------------------------------------- */

static int map_section(struct lpu *c, struct lpu_graph *g, int first, int end, int chunks, struct err *e)
{
    struct lpu_mapper m = {.c = c, .g = g, .chunks = chunks, .e = e};
    for (m.step = first; m.step < end && !m.rc; m.step++) {
        const struct step *s = &c->chip.program->steps[m.step];
        switch (s->kind) {
        case STEP_ROWS: map_rows(&m, s); break;
        case STEP_MATMUL: lpu_map_matmul(&m, s); break;
        case STEP_STORE: lpu_map_store(&m, s); break;
        case STEP_ATTEND: lpu_map_attend(&m, s); break;
        default: must(0); /* check_supported (lpu.c) */
        }
        while (m.n_scratch) lpu_give_vector(c, m.scratch[--m.n_scratch]);
        m.n_exp = 0;
    }
    free(m.scratch);
    return !m.rc && g->failed ? err(e, ERR_MEMORY, "out of memory") : m.rc;
}

/* What goes from chip to chip at a cut, in the same order on both sides. */
static void map_transfer(struct lpu *c, struct lpu_graph *g, enum lpu_group_kind kind, int cut)
{
    const struct program *p = c->chip.program;
    g->what = kind == GROUP_SEND ? "send" : "receive";
    for (int b = 0; b < p->n_buffers; b++) {
        if (!lpu_crosses(p, b, cut)) continue;
        must(p->buffers[b].kind == BUFFER_FLOAT);
        for (int v = 0; v < c->buffers[b].n_vec; v++) {
            struct lpu_node n = {.op = kind == GROUP_SEND ? OP_SEND : OP_RECEIVE, .alu = ARG_NONE};
            if (kind == GROUP_SEND)
                n.arg[0] = (struct lpu_arg){.kind = SRC_MEM, .v = c->buffers[b].at[v]};
            else
                n.n_dst = 1, n.dst[0] = c->buffers[b].at[v];
            lpu_graph_group(g, kind, kind == GROUP_SEND ? cut - 1 : cut);
            lpu_graph_node(g, &n);
        }
    }
}

int lpu_map_body(struct lpu *c, struct lpu_graph *g, int chunks, struct err *e)
{
    if (c->first) map_transfer(c, g, GROUP_RECEIVE, c->first);
    int rc = map_section(c, g, c->first, c->end, chunks, e);
    if (!rc && c->next) map_transfer(c, g, GROUP_SEND, c->end);
    return rc;
}

int lpu_map_head(struct lpu *c, struct lpu_graph *g, struct err *e)
{
    return map_section(c, g, c->chip.program->n_body, c->chip.program->n_steps, 0, e);
}

void lpu_map_tables(struct lpu *c)
{
    const struct hparams *h = &c->chip.program->model->h;
    int D = h->head_dim, n = h->rope[0].dim / 2;
    uint16_t even[LPU_LANES], odd[LPU_LANES];
    for (int l = 0; l < LPU_LANES; l++) {
        int i = l % D, head = l - i, pair = h->rope_halves ? i % n : i / 2;
        bool turned = i < 2 * n && head + D <= LPU_LANES;
        even[l] = (uint16_t)(!turned ? l : head + (h->rope_halves ? pair : 2 * pair));
        odd[l] = (uint16_t)(!turned ? l : head + (h->rope_halves ? pair + n : 2 * pair + 1));
    }
    lpu_sim_map(c->sim, LPU_MAP_FIRST, even);
    lpu_sim_map(c->sim, LPU_MAP_SECOND, odd);
    for (int i = 0; c->kv_bits == 8 && (D & (D - 1)) == 0 && 1 << i < D; i++) {
        uint16_t from[LPU_LANES];
        uint32_t sign[LPU_LANES];
        for (int l = 0; l < LPU_LANES; l++) {
            from[l] = (uint16_t)((l ^ 1 << i) < LPU_LANES ? l ^ 1 << i : l);
            sign[l] = f32_bits(l >> i & 1 ? -1.0f : 1.0f);
        }
        lpu_sim_map(c->sim, LPU_MAP_XOR + i, from);
        lpu_sim_put(c->sim, c->sign[i], sign);
    }
}

/* The rotation of a position as two vectors: see map_rope. Lanes that do not turn keep x: fma(x, 1, x * 0). */
void lpu_map_turn(struct lpu *c, int pos)
{
    const struct hparams *h = &c->chip.program->model->h;
    int D = h->head_dim, n = h->rope[0].dim / 2;
    float co[ROPE_MAX_DIM], si[ROPE_MAX_DIM];
    uint32_t p[LPU_LANES], r[LPU_LANES];
    rope_angles(c->rope, (uint64_t)pos, co, si);
    for (int l = 0; l < LPU_LANES; l++) {
        int i = l % D, pair = h->rope_halves ? i % n : i / 2;
        bool turned = i < 2 * n, first = h->rope_halves ? i < n : i % 2 == 0;
        p[l] = f32_bits(!turned ? 1.0f : first ? co[pair] : si[pair]);
        r[l] = f32_bits(!turned ? 0.0f : first ? -si[pair] : co[pair]);
    }
    lpu_sim_put(c->sim, c->turn_cos, p);
    lpu_sim_put(c->sim, c->turn_sin, r);
}
