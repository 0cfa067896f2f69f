/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Experts on the CPU. After the routes of all rows are known, worker 0 gives every (row, expert) pair a
 * place: the pairs of an expert stand together, in order of rows, from a whole tile of tokens on. Vectors are
 * quantised to their places, so that an expert's matrix meets all its tokens in one product; only matrices of
 * experts that were chosen are read. A product of one vector does not depend on its neighbours, so neither do
 * the bits.
 */
#include <string.h>
#include "chip/cpu/hot.h"

void cpu_place(struct cpu *c, const struct step *s)
{
    int n_used = s->place.n_used, n = c->n_rows * n_used, at = 0;
    memset(c->expert_n, 0, (size_t)s->place.n_expert * sizeof *c->expert_n);
    for (int i = 0; i < n; i++) c->expert_n[(int)cpu_row(c, 0, s->place.route, i / n_used)[i % n_used]]++;
    for (int x = 0; x < s->place.n_expert; x++) {
        c->expert_at[x] = at;
        at += (c->expert_n[x] + ACT_TILE - 1) / ACT_TILE * ACT_TILE;
        c->expert_n[x] = 0;
    }
    for (int i = 0; i < n; i++) {
        int x = (int)cpu_row(c, 0, s->place.route, i / n_used)[i % n_used];
        c->place[i] = c->expert_at[x] + c->expert_n[x]++;
    }
    if (c->hot) hot_choose(c, (int)(s - c->chip.program->steps));
}

/* Panels [p0, p1) of expert x. */
static void panels_of_expert(struct cpu *c, const struct step_mat *m, int x, int p0, int p1, int worker)
{
    const struct program *p = c->chip.program;
    size_t stride = (size_t)buffer_stride(&p->buffers[m->dst]);
    int n = c->expert_n[x], t0 = c->expert_at[x];
    float *y = cpu_row(c, worker, m->dst, 0);
    if (c->hot)
        hot_matmul(c, worker, y, stride, m->w, x, p0, p1, &c->codes[m->src], t0, n);
    else
        c->kern->matmul(y, stride, &c->mats[m->w + x], p0, p1, &c->codes[m->src], t0, n);
    if (m->bias < 0) return;
    const float *bias = p->vectors[m->bias + x].x + p0 * PANEL;
    for (int t = t0; t < t0 + n; t++) c->kern->elem->add(y + (size_t)t * stride + p0 * PANEL, bias, (p1 - p0) * PANEL);
}

/* Dealt by panels of the chosen experts, one after the other, whatever the number of their tokens. */
void cpu_experts(struct cpu *c, const struct step *s, int worker)
{
    int chosen = 0, total = 0;
    for (int x = 0; x < s->n_expert; x++) chosen += c->expert_n[x] > 0;
    for (int i = 0; i < s->n; i++) total += chosen * c->mats[s->mat[i].w].n_panels;
    struct pool_deal deal = pool_deal(c->pool, worker, total);
    for (struct share share; pool_take(&deal, &share.begin, &share.end);)
        for (int i = 0; i < s->n; i++)
            for (int x = 0, p0, p1; x < s->n_expert; x++)
                if (c->expert_n[x] && share_next(&share, c->mats[s->mat[i].w].n_panels, &p0, &p1))
                    panels_of_expert(c, &s->mat[i], x, p0, p1, worker);
}

static int quantise(struct cpu *c, const struct row_op *r, int row, int worker)
{
    const struct buffer *from = &c->chip.program->buffers[r->src], *to = &c->chip.program->buffers[r->dst];
    const int *place = c->place + row * to->slots;
    int rc = 0;
    for (int j = 0; j < to->slots; j++) {
        if (j > 0 && !from->slots) /* the same vector to each of its experts */
            act_copy(&c->codes[r->dst], place[j], place[0]);
        else
            rc |= c->kern->elem->quant(&c->codes[r->dst], place[j],
                                       cpu_row(c, worker, r->src, from->slots ? place[j] : row));
    }
    return rc;
}

/* dst = sum of the experts' outputs times the weights of the route, in its order. */
static void mix(struct cpu *c, const struct row_op *r, int row, int worker)
{
    const struct buffer *from = &c->chip.program->buffers[r->src];
    const float *weight = cpu_row(c, worker, r->src2, row) + from->slots;
    float *y = cpu_row(c, worker, r->dst, row);
    memset(y, 0, (size_t)from->width * sizeof *y);
    for (int j = 0; j < from->slots; j++)
        c->kern->elem->axpy(y, weight[j], cpu_row(c, worker, r->src, c->place[row * from->slots + j]), from->width);
}

int cpu_slots(struct cpu *c, const struct row_op *r, int row, int worker)
{
    const struct buffer *b = &c->chip.program->buffers[r->dst];
    switch (r->kind) {
    case ROW_QUANT: return quantise(c, r, row, worker);
    case ROW_MIX: mix(c, r, row, worker); return 0;
    default: /* ROW_GATE */
        for (int j = 0; j < b->slots; j++) {
            int at = c->place[row * b->slots + j];
            c->kern->elem->gate(cpu_row(c, worker, r->dst, at), cpu_row(c, worker, r->src, at),
                                cpu_row(c, worker, r->src2, at), b->width, r->gate);
        }
        return 0;
    }
}
