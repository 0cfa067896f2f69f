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

/* Panels [p0, p1) of head h. */
static void panels_of_head(struct cpu *c, const struct step_mat *m, int h, int p0, int p1, int worker)
{
    const struct program *p = c->chip.program;
    const struct mat *mat = &c->mats[m->w + h];
    struct act x = act_from(&c->codes[m->src], h * buffer_head_rows(p));
    c->kern->matmul(cpu_row(c, worker, m->dst, 0) + h * mat->n, (size_t)buffer_stride(&p->buffers[m->dst]), mat, p0, p1,
                    &x, 0, c->n_rows);
}

/* Dealt by panels of all heads, one after the other. */
void cpu_heads(struct cpu *c, const struct step *s, int worker)
{
    int total = 0;
    for (int i = 0; i < s->n; i++) total += s->n_expert * c->mats[s->mat[i].w].n_panels;
    struct pool_deal deal = pool_deal(c->pool, worker, total);
    for (struct share share; pool_take(&deal, &share.begin, &share.end);)
        for (int i = 0; i < s->n; i++)
            for (int h = 0, p0, p1; h < s->n_expert; h++)
                if (share_next(&share, c->mats[s->mat[i].w].n_panels, &p0, &p1))
                    panels_of_head(c, &s->mat[i], h, p0, p1, worker);
}
