/* SPDX-License-Identifier: Apache-2.0 */
/* print: a program as text, one line per step, then the buffers. See program.h. */
#include "program/program.h"

const char *const row_op_name[] = {"turn", "embed", "select", "norm",  "quant", "rope", "gate",
                                   "add",  "scale", "cap",    "route", "mix",   "dim",  "take"};
static const char *const tier_name[] = {"A8/32", "A8/256", "A16/256", "A16/256"};

static void print_buffer(const struct program *p, struct buf *out, int i)
{
    const struct buffer *b = &p->buffers[i];
    buf_printf(out, b->kind == BUFFER_CODES ? "%%%d:%s(%s)" : "%%%d:%s", i, b->name, tier_name[b->tier]);
}

static void print_row_op(const struct program *p, struct buf *out, const struct row_op *r)
{
    static const char *const gate[] = {" silu", " gelu", " clamped"};
    buf_printf(out, "%s ", row_op_name[r->kind]);
    print_buffer(p, out, r->dst);
    if (r->src >= 0) buf_append_z(out, " <- "), print_buffer(p, out, r->src);
    if (r->src2 >= 0) buf_append_z(out, ", "), print_buffer(p, out, r->src2);
    if (r->kind == ROW_GATE) buf_append_z(out, gate[r->gate]);
    if (r->kind == ROW_SCALE || r->kind == ROW_CAP) buf_printf(out, " by %.9g", (double)r->scale);
    if (r->kind == ROW_NORM && r->n_head) buf_printf(out, " in %d heads", r->n_head);
    if (r->kind == ROW_EMBED) buf_printf(out, " [%.*s]", STR_ARG(p->weights[r->w].t->name));
}

static void print_step(const struct program *p, struct buf *out, int i)
{
    static const char *const kind[] = {"rows", "matmul", "store", "attend", "place", "experts", "heads"};
    const struct step *s = &p->steps[i];
    buf_printf(out, "%5d  %-5s %-7s ", i, i < p->n_body ? "body" : "head", kind[s->kind]);
    if (s->kind == STEP_ROWS) {
        for (int j = 0; j < s->n; j++) {
            if (j) buf_append_z(out, "; ");
            print_row_op(p, out, &s->row[j]);
        }
    } else if (s->kind == STEP_PLACE) {
        buf_printf(out, "%d of %d experts <- ", s->place.n_used, s->place.n_expert);
        print_buffer(p, out, s->place.route);
    } else if (s->kind == STEP_MATMUL || s->n_expert) {
        if (s->n_expert) buf_printf(out, "each of %d: ", s->n_expert);
        for (int j = 0; j < s->n; j++) {
            const struct step_mat *m = &s->mat[j];
            const struct weight *w = &p->weights[m->w];
            if (j) buf_append_z(out, "; ");
            print_buffer(p, out, m->dst);
            buf_append_z(out, " <- ");
            print_buffer(p, out, m->src);
            buf_printf(out, " x %.*s %s[%d][%d]%s", STR_ARG(w->t->name), dtype_name(weight_type(w)), w->n,
                       w->k, m->bias >= 0 ? " + bias" : "");
        }
    } else if (s->kind == STEP_STORE) {
        buf_printf(out, "layer %d <- ", s->layer);
        print_buffer(p, out, s->attn.k), buf_append_z(out, ", "), print_buffer(p, out, s->attn.v);
    } else {
        print_buffer(p, out, s->attn.out), buf_append_z(out, " <- "), print_buffer(p, out, s->attn.q);
        buf_printf(out, ", layer %d", s->layer);
        if (s->attn.window) buf_printf(out, ", window %d", s->attn.window);
        if (s->attn.warm) buf_printf(out, ", warmer after %d", s->attn.warm);
        if (s->attn.cap > 0) buf_printf(out, ", cap %g", (double)s->attn.cap);
        if (s->attn.sinks >= 0) buf_append_z(out, ", sinks");
    }
    buf_append_char(out, '\n');
}

void program_print(const struct program *p, struct buf *out)
{
    const struct hparams *h = &p->model->h;
    buf_printf(
        out, "program: %d steps (%d body, %d head), %d matrices, up to %d tokens a step, %d rows of logits\n",
        p->n_steps, p->n_body, p->n_steps - p->n_body, p->n_weights, p->max_rows, p->max_out);
    buf_printf(out, "model:   %.*s, %d layers, width %d, %d heads of %d (%d kv), ffn %d, vocabulary %d\n\n",
               STR_ARG(h->arch), h->n_layer, h->n_embd, h->n_head, h->head_dim, h->n_head_kv, h->n_ff,
               h->n_vocab);
    for (int i = 0; i < p->n_steps; i++) print_step(p, out, i);
    buf_printf(out, "\nbuffers: %.2f MiB shared, %.2f MiB per worker\n", (double)p->block_bytes / 1048576,
               (double)p->scratch_bytes / 1048576);
    for (int i = 0; i < p->n_buffers; i++) {
        const struct buffer *b = &p->buffers[i];
        if (b->first < 0 || b->local) continue;
        buf_printf(out, "%5d  %-10s %-7s width %-6d steps %4d..%-4d  at %10zu  bytes %10zu\n", i, b->name,
                   b->kind == BUFFER_CODES ? tier_name[b->tier] : "float", b->width, b->first, b->last, b->at,
                   b->bytes);
    }
}
