/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: re-checks a compiled program without trusting the passes.
 *
 *   here       numbers are in range; every buffer is large enough for the rows it holds, is written before it
 *              is read, holds the kind and width that its reader expects, and keeps its bytes until its last
 *              reader: no step writes a byte of another buffer that is still to be read
 *   trace.c    the steps, in order, are the model's graph
 *
 * A failure is a defect of the compiler, not of the model. After it a chip may run the program without
 * further checks.
 */
#include "kern/act.h"
#include "program/program.h"

struct check {
    const struct program *p;
    bool *written;
    int step;
    struct err *e;
    int rc;
};

static int fail(struct check *c, const char *what, int buffer)
{
    if (!c->rc)
        c->rc = err(c->e, ERR_INTERNAL, "program step %d: %s (buffer %d '%s')", c->step, what, buffer,
                    buffer >= 0 && buffer < c->p->n_buffers ? c->p->buffers[buffer].name : "?");
    return c->rc;
}

/* --- numbers in range --------------------------------------------------------------------------------------- */

static bool below(int i, int n)
{
    return i >= 0 && i < n;
}

/* Buffers of the block hold a row per token, or per selected row; local ones a single row. */
static void check_buffer(struct check *c, int i)
{
    const struct program *p = c->p;
    const struct buffer *b = &p->buffers[i];
    if (b->width < 1 || b->width > MODEL_WIDTH_MAX || b->at % 64) fail(c, "width or place of a buffer", i);
    if (b->kind != BUFFER_FLOAT &&
        (b->kind != BUFFER_CODES || b->local || !below((int)b->tier, ACT_TIERS) || b->width % 32))
        fail(c, "kind of a buffer", i);
    if (b->heads < 0 || b->heads > MODEL_HEADS_MAX ||
        (b->heads && (b->kind != BUFFER_CODES || b->head || b->slots)))
        fail(c, "heads of a buffer", i);
    if (b->slots < 0 || b->slots > ROUTE_USED_MAX ||
        (b->slots && (b->local || b->head || b->n_expert != p->model->h.n_expert)))
        fail(c, "slots of a buffer", i);
    if (c->rc) return;
    int rows = buffer_rows(p, b);
    size_t room = b->local ? p->scratch_bytes : p->block_bytes;
    size_t need = b->kind == BUFFER_CODES ? act_bytes(b->tier, b->width, rows)
                                          : (size_t)rows * (size_t)buffer_stride(b) * sizeof(float);
    if (b->bytes < need) fail(c, "a buffer is too small for its rows", i);
    if (b->at > room || b->bytes > room - b->at) fail(c, "a buffer lies outside the block", i);
    if (b->first > b->last || b->last >= p->n_steps) fail(c, "lifetime of a buffer", i);
}

static void check_row_op(struct check *c, const struct row_op *r)
{
    const struct program *p = c->p;
    bool two = r->kind == ROW_GATE || r->kind == ROW_MIX,
         none = r->kind == ROW_TURN || r->kind == ROW_EMBED || r->kind == ROW_SCALE || r->kind == ROW_CAP;
    if (!below((int)r->kind, ROW_LAST + 1)) fail(c, "unknown row operation", r->dst);
    if (!below(r->dst, p->n_buffers) || none != (r->src < 0) || two != (r->src2 >= 0))
        fail(c, "operands of a row operation", r->dst);
    if (!none && !below(r->src, p->n_buffers)) fail(c, "no such buffer", r->src);
    if (two && !below(r->src2, p->n_buffers)) fail(c, "no such buffer", r->src2);
    if (r->kind == ROW_GATE && !below((int)r->gate, GATE_CLAMPED + 1)) fail(c, "unknown activation", r->dst);
    if (r->kind == ROW_ROUTE && (!r->route || (r->w != -1 && !below(r->w, p->n_vectors)))) fail(c, "no route", r->dst);
    if (r->kind == ROW_EMBED && !below(r->w, p->n_weights)) fail(c, "no such weight", r->dst);
    if (r->kind == ROW_NORM && !below(r->w, p->n_vectors)) fail(c, "no such vector", r->dst);
    if ((r->kind == ROW_TURN || r->kind == ROW_ROPE) && !below(r->rope, p->model->h.n_rope))
        fail(c, "no such rotation", r->dst);
    if ((r->kind == ROW_ROPE || r->kind == ROW_NORM || r->kind == ROW_TAKE) && !below(r->n_head, MODEL_HEADS_MAX + 1))
        fail(c, "wrong number of heads", r->dst);
}

static void check_numbers(struct check *c, const struct step *s)
{
    const struct program *p = c->p;
    int n = p->n_buffers;
    switch (s->kind) {
    case STEP_ROWS:
        if (s->n < 1 || s->n > PROGRAM_ROW_OPS) fail(c, "number of row operations", -1);
        for (int i = 0; i < s->n && !c->rc; i++) check_row_op(c, &s->row[i]);
        return;
    case STEP_PLACE:
        if (!below(s->place.route, n)) fail(c, "no such buffer", s->place.route);
        return;
    case STEP_MATMUL:
    case STEP_EXPERTS:
    case STEP_HEADS:
        if (s->n < 1 || s->n > PROGRAM_MATS) fail(c, "number of matrices", -1);
        for (int i = 0; i < s->n && !c->rc; i++) {
            const struct step_mat *m = &s->mat[i];
            if (!below(m->src, n) || !below(m->dst, n)) fail(c, "no such buffer", m->dst);
            if (!below(m->w, p->n_weights)) fail(c, "no such weight", m->dst);
            if (m->bias != -1 && !below(m->bias, p->n_vectors)) fail(c, "no such vector", m->dst);
            int want = s->kind == STEP_EXPERTS ? p->model->h.n_expert : s->kind == STEP_HEADS ? p->model->h.n_head : 0;
            if (s->n_expert != want || (s->kind != STEP_MATMUL && want < 1))
                fail(c, "number of experts or heads", m->dst);
            if (s->n_expert && (s->n_expert > p->n_weights - m->w ||
                                (m->bias != -1 && s->n_expert > p->n_vectors - m->bias)))
                fail(c, "no such expert", m->dst);
        }
        return;
    case STEP_STORE:
        if (!below(s->attn.k, n) || !below(s->attn.v, n)) fail(c, "no such buffer", s->attn.k);
        if (!below(s->layer, p->model->h.n_layer)) fail(c, "no such layer", s->attn.k);
        return;
    case STEP_ATTEND:
        if ((s->attn.q_extra >= 0) != (p->model->h.kv_extra > 0) ||
            (s->attn.q_extra != -1 && !below(s->attn.q_extra, n)))
            fail(c, "no such buffer", s->attn.q_extra);
        if (!below(s->attn.q, n) || !below(s->attn.out, n)) fail(c, "no such buffer", s->attn.q);
        if (s->attn.window < 0 || s->attn.warm < 0 || s->attn.warm == 1 ||
            (s->attn.sinks != -1 && !below(s->attn.sinks, p->n_vectors)))
            fail(c, "options of attention", s->attn.q);
        if (!below(s->layer, p->model->h.n_layer)) fail(c, "no such layer", s->attn.q);
        return;
    }
    fail(c, "unknown kind of step", -1);
}

/* --- lifetimes ---------------------------------------------------------------------------------------------- */

static bool overlap(const struct buffer *a, const struct buffer *b)
{
    return a->local == b->local && a->at < b->at + b->bytes && b->at < a->at + a->bytes;
}

/* After the numbers were checked. The head may run several times per batch, so what it reads of the body must last. */
static void use(void *ud, int i, bool write)
{
    struct check *c = ud;
    const struct program *p = c->p;
    const struct buffer *b = &p->buffers[i];
    if (!write && !c->written[i]) fail(c, "read before it is written", i);
    if (b->first < 0 || c->step < b->first || c->step > b->last) fail(c, "used outside its lifetime", i);
    if (b->local && p->steps[c->step].kind != STEP_ROWS) fail(c, "a worker's row used by all", i);
    if (b->head && c->step < p->n_body) fail(c, "a buffer of the head used in the body", i);
    if (!b->head && !b->local && c->step >= p->n_body && (write || b->last < p->n_steps - 1))
        fail(c, "a buffer of the body does not last", i);
    if (!write) return;
    c->written[i] = true;
    for (int j = 0; j < p->n_buffers; j++) {
        const struct buffer *o = &p->buffers[j];
        if (j == i || o->first < 0 || !overlap(o, b) ||
            (b->local && (o->first > c->step || o->last < c->step)))
            continue;
        if (c->written[j] && o->last >= c->step) fail(c, "overwrites a living buffer", i);
        if (o->last < c->step) c->written[j] = false;
    }
}

/* --- kinds and widths --------------------------------------------------------------------------------------- */

static int width(const struct check *c, int buffer)
{
    return c->p->buffers[buffer].width;
}

static void expect(struct check *c, int buffer, enum buffer_kind kind, int want)
{
    if (c->p->buffers[buffer].kind != kind) fail(c, "wrong kind of buffer", buffer);
    if (width(c, buffer) != want) fail(c, "wrong width", buffer);
}

/* Which buffers of a row operation have slots: all of the gate's, both or the codes of the quantiser's, the
 * mix's source. */
static void check_slots(struct check *c, const struct row_op *r)
{
    const struct buffer *b = c->p->buffers;
    int dst = b[r->dst].slots, src = r->src < 0 ? 0 : b[r->src].slots, src2 = r->src2 < 0 ? 0 : b[r->src2].slots;
    bool fine = r->kind == ROW_GATE    ? dst == src && dst == src2
                : r->kind == ROW_QUANT ? src == 0 || src == dst
                : r->kind == ROW_MIX   ? dst == 0 && src > 0 && src2 == 0
                                       : dst == 0 && src == 0 && src2 == 0;
    if (!fine) fail(c, "slots of a row operation", r->dst);
}

static void check_row_widths(struct check *c, const struct row_op *r)
{
    const struct hparams *h = &c->p->model->h;
    int w = width(c, r->dst);
    check_slots(c, r);
    if (r->kind == ROW_ROUTE) {
        expect(c, r->src, BUFFER_FLOAT, r->route->n_expert);
        expect(c, r->dst, BUFFER_FLOAT, 2 * r->route->n_used);
        if (r->w >= 0 && c->p->vectors[r->w].t->ne[0] != (uint64_t)r->route->n_expert)
            fail(c, "width differs from the bias", r->dst);
        return;
    }
    if (r->kind == ROW_TAKE) {
        int from = width(c, r->src), n = r->n_head;
        expect(c, r->src, BUFFER_FLOAT, from), expect(c, r->dst, BUFFER_FLOAT, w);
        if (n < 1 || from % n || w % n || r->from < 0 || r->from > from / n - w / n)
            fail(c, "wrong part of a vector", r->dst);
        return;
    }
    if (r->kind == ROW_QUANT && c->p->buffers[r->dst].heads) {
        expect(c, r->dst, BUFFER_CODES, w), expect(c, r->src, BUFFER_FLOAT, w * c->p->buffers[r->dst].heads);
        return;
    }
    expect(c, r->dst, r->kind == ROW_QUANT ? BUFFER_CODES : BUFFER_FLOAT, w);
    if (r->src >= 0)
        expect(c, r->src, BUFFER_FLOAT,
               r->kind == ROW_ROPE  ? h->rope[r->rope].dim
               : r->kind == ROW_DIM ? 1
                                    : w);
    if (r->src2 >= 0) expect(c, r->src2, BUFFER_FLOAT, r->kind == ROW_MIX ? 2 * c->p->buffers[r->src].slots : w);
    if (r->kind == ROW_TURN && w != h->rope[r->rope].dim) fail(c, "wrong width", r->dst);
    if (r->kind == ROW_ROPE && (r->n_head < 1 || w % r->n_head || w / r->n_head < h->rope[r->rope].dim))
        fail(c, "wrong number of heads", r->dst);
    if (r->kind == ROW_EMBED && w != c->p->weights[r->w].k) fail(c, "width differs from the table", r->dst);
    if (r->kind == ROW_NORM && (uint64_t)w != c->p->vectors[r->w].t->ne[0] * (uint64_t)(r->n_head ? r->n_head : 1))
        fail(c, "width differs from the gain", r->dst);
}

/* Experts are of one shape and type; a product has the slots of its codes. */
static void check_experts(struct check *c, const struct step *s, const struct step_mat *m)
{
    const struct program *p = c->p;
    const struct weight *w = &p->weights[m->w];
    bool heads = s->kind == STEP_HEADS;
    if (p->buffers[m->src].heads != (heads ? s->n_expert : 0)) fail(c, "heads of a product", m->src);
    if (heads && (m->bias >= 0 || w->n % PANEL))
        fail(c, "bias or width of heads", m->dst); /* products write whole panels */
    if (p->buffers[m->src].slots != p->buffers[m->dst].slots ||
        (s->kind == STEP_EXPERTS) != (p->buffers[m->dst].slots > 0))
        fail(c, "slots of a product", m->dst);
    for (int i = 1; i < s->n_expert; i++) {
        if (w[i].n != w->n || w[i].k != w->k || w[i].t->type != w->t->type || w[i].turned != w->turned ||
            w[i].role != w->role)
            fail(c, "experts differ", m->dst);
        if (m->bias >= 0 && p->vectors[m->bias + i].t->ne[0] != (uint64_t)w->n)
            fail(c, "width differs from the bias", m->dst);
    }
}

static void check_widths(struct check *c, const struct step *s)
{
    const struct program *p = c->p;
    const struct hparams *h = &p->model->h;
    int n_q = h->n_head * h->head_dim, n_kv = h->n_head_kv * h->head_dim;
    if (s->kind == STEP_ROWS) {
        for (int i = 0; i < s->n; i++) check_row_widths(c, &s->row[i]);
    } else if (s->kind == STEP_PLACE) {
        expect(c, s->place.route, BUFFER_FLOAT, 2 * s->place.n_used);
        if (p->buffers[s->place.route].slots) fail(c, "slots of a route", s->place.route);
    } else if (s->kind == STEP_MATMUL || s->kind == STEP_EXPERTS || s->kind == STEP_HEADS) {
        for (int i = 0; i < s->n; i++) {
            const struct step_mat *m = &s->mat[i];
            const struct weight *w = &p->weights[m->w];
            expect(c, m->src, BUFFER_CODES, w->k);
            expect(c, m->dst, BUFFER_FLOAT, s->kind == STEP_HEADS ? w->n * s->n_expert : w->n);
            if (p->buffers[m->src].tier != mat_tier(weight_type(w), w->role))
                fail(c, "not quantised for this weight type", m->src);
            if (m->bias >= 0 && p->vectors[m->bias].t->ne[0] != (uint64_t)w->n)
                fail(c, "width differs from the bias", m->dst);
            check_experts(c, s, m);
        }
    } else if (s->kind == STEP_STORE) {
        expect(c, s->attn.k, BUFFER_FLOAT, n_kv);
        expect(c, s->attn.v, BUFFER_FLOAT, h->kv_extra ? h->kv_extra : n_kv);
    } else {
        expect(c, s->attn.q, BUFFER_FLOAT, n_q);
        expect(c, s->attn.out, BUFFER_FLOAT, n_q);
        if (s->attn.q_extra >= 0) expect(c, s->attn.q_extra, BUFFER_FLOAT, h->n_head * h->kv_extra);
        if (s->attn.sinks >= 0 && p->vectors[s->attn.sinks].t->ne[0] != (uint64_t)h->n_head)
            fail(c, "number of sinks", s->attn.q);
    }
}

int program_verify(const struct program *p, struct err *e)
{
    struct arena a;
    arena_init(&a);
    struct check c = {.p = p, .e = e, .written = ARENA_NEW(&a, bool, (size_t)p->n_buffers)};
    if (!c.written) return err(e, ERR_MEMORY, "out of memory");
    if (p->n_body < 1 || p->n_body >= p->n_steps || p->max_out < 1 || p->max_out > p->max_rows)
        fail(&c, "no head", -1);
    for (int i = 0; i < p->model->h.n_rope; i++)
        if (!below(p->turn[i], p->n_buffers)) fail(&c, "no rotation", p->turn[i]);
    if (!below(p->hidden, p->n_buffers) || !p->buffers[p->hidden].head || p->buffers[p->hidden].local)
        fail(&c, "no hidden row", p->hidden);
    if (!below(p->logits, p->n_buffers) || p->buffers[p->logits].local)
        fail(&c, "no logits", p->logits);
    for (int i = 0; i < p->n_buffers && !c.rc; i++)
        if (p->buffers[i].first >= 0) check_buffer(&c, i);
    for (c.step = 0; c.step < p->n_steps && !c.rc; c.step++) {
        check_numbers(&c, &p->steps[c.step]);
        if (!c.rc) step_uses(p, &p->steps[c.step], use, &c);
        if (!c.rc) check_widths(&c, &p->steps[c.step]);
    }
    if (!c.rc && (!c.written[p->logits] || !p->buffers[p->logits].head))
        fail(&c, "logits are never written", p->logits);
    if (!c.rc) expect(&c, p->logits, BUFFER_FLOAT, p->model->h.n_vocab);
    arena_finish(&a);
    return c.rc ? c.rc : program_trace(p, e);
}
