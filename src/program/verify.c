/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: re-checks a compiled program without trusting the passes: every buffer is written before it is read, holds
 * the kind and width that its reader expects, and keeps its bytes until its last reader: no step writes a byte of
 * another buffer that is still to be read. A failure is a defect of the compiler, not of the model.
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

static bool overlap(const struct buffer *a, const struct buffer *b)
{
    return a->local == b->local && a->at < b->at + b->bytes && b->at < a->at + a->bytes;
}

static void use(void *ud, int i, bool write)
{
    struct check *c = ud;
    if (i < 0 || i >= c->p->n_buffers) {
        fail(c, "no such buffer", i);
        return;
    }
    const struct buffer *b = &c->p->buffers[i];
    if (!write && !c->written[i]) fail(c, "read before it is written", i);
    if (c->step < b->first || c->step > b->last) fail(c, "used outside its lifetime", i);
    if (b->at + b->bytes > (b->local ? c->p->scratch_bytes : c->p->block_bytes)) fail(c, "outside the block", i);
    if (!write) return;
    c->written[i] = true;
    for (int j = 0; j < c->p->n_buffers; j++) {
        const struct buffer *o = &c->p->buffers[j];
        if (j == i || o->first < 0 || !overlap(o, b) || (b->local && (o->first > c->step || o->last < c->step))) continue;
        if (o->local || o->last >= c->step) {
            if (c->written[j] && o->last >= c->step) fail(c, "overwrites a living buffer", i);
        }
        if (o->last < c->step) c->written[j] = false;
    }
}

static int width(const struct check *c, int buffer)
{
    return c->p->buffers[buffer].width;
}

static void check_step(struct check *c, const struct step *s)
{
    const struct program *p = c->p;
    const struct hparams *h = &p->model->h;
    if (s->kind == STEP_MATMUL) {
        for (int i = 0; i < s->n; i++) {
            const struct step_mat *m = &s->mat[i];
            const struct weight *w = &p->weights[m->w];
            if (width(c, m->src) != w->k || width(c, m->dst) != w->n) fail(c, "width differs from the matrix", m->src);
            if (p->buffers[m->src].kind != BUFFER_CODES || p->buffers[m->src].tier != mat_tier(w->t->type, w->role))
                fail(c, "not quantised for this weight type", m->src);
        }
    } else if (s->kind == STEP_STORE) {
        if (width(c, s->attn.k) != h->n_head_kv * h->head_dim || width(c, s->attn.v) != width(c, s->attn.k))
            fail(c, "keys or values have another width", s->attn.k);
    } else if (s->kind == STEP_ATTEND) {
        if (width(c, s->attn.q) != h->n_head * h->head_dim || width(c, s->attn.out) != width(c, s->attn.q))
            fail(c, "queries have another width", s->attn.q);
    } else {
        for (int i = 0; i < s->n; i++) {
            const struct row_op *r = &s->row[i];
            if (r->kind == ROW_ROPE ? width(c, r->dst) != r->n_head * h->head_dim
                                    : r->src >= 0 && width(c, r->src) != width(c, r->dst))
                fail(c, "row operation on another width", r->dst);
            if ((r->kind == ROW_QUANT) != (p->buffers[r->dst].kind == BUFFER_CODES)) fail(c, "wrong kind of buffer", r->dst);
        }
    }
}

int program_verify(const struct program *p, struct err *e)
{
    struct arena a;
    arena_init(&a);
    struct check c = {.p = p, .e = e, .written = ARENA_NEW(&a, bool, (size_t)p->n_buffers)};
    if (!c.written) return err(e, ERR_MEMORY, "out of memory");
    if (p->n_body < 1 || p->n_body >= p->n_steps) fail(&c, "no head", -1);
    for (c.step = 0; c.step < p->n_steps && !c.rc; c.step++) {
        step_uses(p, &p->steps[c.step], use, &c);
        if (!c.rc) check_step(&c, &p->steps[c.step]);
    }
    if (!c.rc && !c.written[p->logits]) fail(&c, "logits are never written", p->logits);
    arena_finish(&a);
    return c.rc;
}
