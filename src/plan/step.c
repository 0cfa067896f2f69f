/* SPDX-License-Identifier: Apache-2.0 */
/* See step.h. */
#include "plan/step.h"

#include <math.h>
#include <string.h>
#include "plan/validate.h"

enum { KERNELS_OF_A_LAYER = 4 }; /* two norms with the residual, rope with the cache, activation */

const struct step_type *step_type(const char *precision)
{
    static const struct step_type half = {"bfloat16", "bfloat16", "bfloat16", "bfloat16", 2, 2}, byte = {"fp8", "fp8", "bfloat16", "fp8", 1, 1};
    if (!strcmp(precision, "16-bit") || !strcmp(precision, "bf16") || !strcmp(precision, "fp16")) return &half;
    return !strcmp(precision, "fp8") ? &byte : NULL;
}

static double ask(const struct step_setup *s, struct step_time *t, const struct op_model *op, const char *const *words, double *shape)
{
    double neutral[OP_CONSTANTS_MAX];
    const struct constants_set *set = constants_find(s->constants, op, s->gpu, s->framework, words);
    if (op->words(words, shape)) set = NULL;
    if (!set) {
        t->lacks = op->name;
        validate_neutral(op, neutral);
    }
    t->floor += op->floor_us(s->gpu, shape);
    return op->time_us(s->gpu, shape, set ? set->value : neutral);
}

static int no_words(const char *const *w, double *shape)
{
    (void)w, (void)shape;
    return 0;
}

static double nothing(const struct gpu *g, const double *shape)
{
    (void)g, (void)shape;
    return 0;
}

static double no_time(const struct gpu *g, const double *shape, const double *c)
{
    (void)g, (void)shape, (void)c;
    return 0;
}

static const struct op_constant overheads[STEP_CONSTANTS] = {
    [STEP_HOST] = {"host", "us per step", 0, 3000, 0, 500},
    [STEP_SEQUENCE] = {"sequence", "us per sequence and step", 0, 300, 0, 40},
    [STEP_KERNEL] = {"kernel", "us per element-wise kernel", 0, 15, 0, 3},
    [STEP_SYNC] = {"sync", "us per all-reduce", 0, 40, 0, 5},
};

const struct op_model op_step = {
    .name = "step",
    .constants = overheads,
    .n_constants = STEP_CONSTANTS,
    .words = no_words,
    .floor_us = nothing,
    .time_us = no_time,
};

static const double *overhead(const struct step_setup *s)
{
    static const double none[STEP_CONSTANTS];
    static const char *const no_word[1];
    if (s->overhead) return s->overhead;
    const struct constants_set *set = constants_find(s->constants, &op_step, s->gpu, s->framework, no_word);
    return set ? set->value : none;
}

static double product(const struct step_setup *s, struct step_time *t, double m, double n, double k)
{
    const char *words[] = {s->type->gemm};
    double shape[OP_SHAPE_MAX] = {m, ceil(n), ceil(k)};
    return ask(s, t, &op_gemm, words, shape);
}

static double all_reduce(const struct step_setup *s, struct step_time *t, double elements)
{
    const char *words[] = {"all_reduce", "custom_all_reduce", "graph"};
    double shape[OP_SHAPE_MAX] = {s->tp, 2 * elements};
    return ask(s, t, &op_collective, words, shape);
}

/* One layer's work on `rows` tokens, but for attention; and the head for `out` rows. */
static void dense_parts(const struct step_setup *s, struct step_time *t, const struct shape *m, double rows, double out)
{
    double tp = s->tp, q = m->heads * m->head_dim / tp, kv = fmax(m->kv_heads / tp, 1) * m->head_dim;
    double wide = m->experts > 0 ? m->topk * m->inter / tp : m->inter / tp;
    double floor = t->floor;
    const double *more = overhead(s);
    t->floor = 0;
    t->products = product(s, t, rows, q + 2 * kv, m->hidden) + product(s, t, rows, m->hidden, q);
    if (m->experts > 0) {
        const char *words[] = {s->type->expert, "balanced"};
        double shape[OP_SHAPE_MAX] = {rows, m->hidden, m->inter, m->topk, m->experts, tp, 1, 3};
        t->products += product(s, t, rows, m->experts, m->hidden);
        t->experts = ask(s, t, &op_moe, words, shape);
    } else {
        t->products += product(s, t, rows, 2 * wide, m->hidden) + product(s, t, rows, m->hidden, wide);
    }
    t->reduce = s->tp > 1 ? 2 * (all_reduce(s, t, rows * m->hidden) + more[STEP_SYNC]) : 0;
    double bytes = 2 * rows * (8 * m->hidden + 2 * (q + 2 * kv) + 3 * wide);
    t->elements = KERNELS_OF_A_LAYER * more[STEP_KERNEL] + 1e6 * bytes / s->gpu->memory;
    t->products *= m->layers, t->experts *= m->layers, t->reduce *= m->layers, t->elements *= m->layers;
    t->floor = floor + t->floor * m->layers;
    t->head = product(s, t, out, m->vocab / tp, m->hidden);
    t->host = more[STEP_HOST] + more[STEP_SEQUENCE] * out;
}

static double attention(const struct step_setup *s, struct step_time *t, const struct op_model *op, const struct shape *m, double batch,
                        double length)
{
    const char *words[] = {s->type->kv, op == &op_attention_decode ? "bfloat16" : s->type->attention};
    double shape[OP_SHAPE_MAX] = {batch, length, fmax(1, m->heads / s->tp), fmax(1, m->kv_heads / s->tp), m->head_dim, 0};
    double floor = t->floor, us = ask(s, t, op, words, shape);
    t->floor = floor + (t->floor - floor) * m->layers;
    return us * m->layers;
}

struct step_time step_decode(const struct step_setup *s, const struct shape *m, double batch, double context)
{
    struct step_time t = {0};
    t.attention = attention(s, &t, &op_attention_decode, m, batch, context + 1);
    dense_parts(s, &t, m, batch, batch);
    return t;
}

struct step_time step_prefill(const struct step_setup *s, const struct shape *m, double batch, double tokens)
{
    struct step_time t = {0};
    t.attention = attention(s, &t, &op_attention_context, m, batch, tokens);
    dense_parts(s, &t, m, batch * tokens, batch);
    return t;
}

double step_total(const struct step_time *t)
{
    return t->products + t->attention + t->experts + t->reduce + t->elements + t->head + t->host;
}

double step_weight_bytes(const struct step_setup *s, const struct shape *m)
{
    return (s->type->weight_bytes * m->layers * shape_layer_weights(m) + 2 * m->vocab * m->hidden * (m->tied ? 1 : 2)) / s->tp;
}

double step_token_bytes(const struct step_setup *s, const struct shape *m)
{
    return s->type->kv_bytes * shape_kv(m) / fmin(s->tp, m->kv_heads);
}
