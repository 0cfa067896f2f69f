/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cost: what a step needs at least, for rooflines: bytes that come from memory (packed weights, keys and
 * values; vectors stay in caches) and operations on the unit that multiplies bytes, a multiplication and an
 * addition being two. A word takes the place of two bytes, so W16 in two planes counts four times, attention
 * with a 16-bit cache as well.
 */
#include "kern/attn.h"
#include "program/program.h"

/* Multiplications of bytes that stand for one product of a weight and an activation. */
static int planes(enum act_tier tier)
{
    return tier == ACT_A16_256 ? 4 : tier == ACT_A16_W8 ? 2 : 1;
}

static size_t packed_bytes(const struct weight *w)
{
    struct mat m;
    return mat_init(&m, weight_type(w), w->n, w->k, NULL) ? 0 : mat_bytes(&m); /* lower.c has seen it */
}

static struct step_cost matmul_cost(const struct program *p, const struct step *s, int rows)
{
    struct step_cost c = {0, 0};
    for (int i = 0; i < s->n; i++) {
        const struct weight *w = &p->weights[s->mat[i].w];
        c.bytes += (double)packed_bytes(w);
        c.ops += 2.0 * planes(mat_tier(weight_type(w), w->role)) * w->n * w->k * rows;
    }
    return c;
}

/* At least: the matrices of as many experts as one row has; with more rows of as many as there may be. */
static struct step_cost experts_cost(const struct program *p, const struct step *s, int rows)
{
    struct step_cost one = matmul_cost(p, s, 1);
    int pairs = rows * p->buffers[s->mat[0].dst].slots, read = pairs < s->n_expert ? pairs : s->n_expert;
    return (struct step_cost){one.bytes * read, one.ops * pairs};
}

struct step_cost step_cost(const struct program *p, const struct step *s, int rows, const struct kv_cost *kv)
{
    const struct hparams *h = &p->model->h;
    double position = (double)kv_view_bytes(kv->type, h->head_dim, h->kv_extra) / ATTN_CHUNK * h->n_head_kv; /* bytes */
    switch (s->kind) {
    case STEP_MATMUL: return matmul_cost(p, s, rows);
    case STEP_EXPERTS: return experts_cost(p, s, rows);
    case STEP_HEADS: {
        struct step_cost one = matmul_cost(p, s, rows);
        return (struct step_cost){one.bytes * s->n_expert, one.ops * s->n_expert};
    }
    case STEP_STORE: return (struct step_cost){position * rows, 0};
    case STEP_ATTEND: /* scores and sums of values */
        return (struct step_cost){position * kv->positions, 2.0 * (kv->type == KV16 ? 4 : 2) * h->n_head *
                                                                (2 * h->head_dim + h->kv_extra) * kv->pairs};
    default: return (struct step_cost){0, 0};
    }
}

int program_weights(const struct program *p, uint64_t *all, uint64_t *experts, struct err *e)
{
    *all = *experts = 0;
    for (int i = 0; i < p->n_weights; i++) {
        const struct weight *w = &p->weights[i];
        struct mat m;
        if (mat_init(&m, weight_type(w), w->n, w->k, e)) return err_prefix(e, "tensor '%.*s'", STR_ARG(w->t->name));
        *all += mat_bytes(&m);
    }
    for (int i = 0; i < p->n_steps; i++)
        for (int j = 0; p->steps[i].kind == STEP_EXPERTS && j < p->steps[i].n; j++)
            *experts += (uint64_t)packed_bytes(&p->weights[p->steps[i].mat[j].w]) * (uint64_t)p->steps[i].n_expert;
    return 0;
}
