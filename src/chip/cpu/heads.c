/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products head by head on the CPU: part i of every row's vector times matrix i. The codes of a part are rows
 * of their own, those of all tokens together and from a whole tile on, so that a matrix meets all its rows in
 * one product; the results lie side by side in the row of the token.
 */
#include <string.h>
#include "chip/cpu/cpu.h"

void cpu_take(struct cpu *c, const struct row_op *r, int row, int worker)
{
    const struct buffer *b = c->chip.program->buffers;
    int n = b[r->dst].width / r->n_head, step = b[r->src].width / r->n_head;
    float *y = cpu_row(c, worker, r->dst, row);
    const float *x = cpu_row(c, worker, r->src, row) + r->from;
    for (int h = 0; h < r->n_head; h++) memcpy(y + h * n, x + h * step, (size_t)n * sizeof *y);
}

int cpu_quant_heads(struct cpu *c, const struct row_op *r, int row, int worker)
{
    const struct buffer *b = &c->chip.program->buffers[r->dst];
    const float *x = cpu_row(c, worker, r->src, row);
    int rows = buffer_head_rows(c->chip.program), rc = 0;
    for (int h = 0; h < b->heads; h++) rc |= c->kern->elem->quant(&c->codes[r->dst], h * rows + row, x + h * b->width);
    return rc;
}

/* Panels [begin, end) of all heads of a matrix in a row. */
static void panels_of_heads(struct cpu *c, const struct step_mat *m, int begin, int end, int worker)
{
    const struct program *p = c->chip.program;
    const struct mat *mats = &c->mats[m->w];
    int panels = mats->n_panels, rows = buffer_head_rows(p);
    size_t stride = (size_t)buffer_stride(&p->buffers[m->dst]);
    for (int h = begin / panels; h * panels < end; h++) {
        int p0 = begin > h * panels ? begin - h * panels : 0, p1 = end < (h + 1) * panels ? end - h * panels : panels;
        struct act x = act_from(&c->codes[m->src], h * rows);
        c->kern->matmul(cpu_row(c, worker, m->dst, 0) + h * mats->n, stride, &mats[h], p0, p1, &x, 0, c->n_rows);
    }
}

void cpu_heads(struct cpu *c, const struct step *s, int worker)
{
    int total = 0;
    for (int i = 0; i < s->n; i++) total += s->n_expert * c->mats[s->mat[i].w].n_panels;
    struct pool_deal deal = pool_deal(c->pool, worker, total);
    for (struct share share; pool_take(&deal, &share.begin, &share.end);)
        for (int i = 0, begin, end; i < s->n; i++)
            if (share_next(&share, s->n_expert * c->mats[s->mat[i].w].n_panels, &begin, &end))
                panels_of_heads(c, &s->mat[i], begin, end, worker);
}
