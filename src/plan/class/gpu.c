/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class gpu: tiled SIMT with caches and a cost for every launch: each piece of work by its own fitted formula
 * (op.h), with the constants of the chip, or of one that it is like. Element-wise kernels by the bytes they
 * move; what the software adds to a step is fitted too (op_step, below).
 */
#include <math.h>
#include <string.h>
#include "plan/class/class.h"
#include "plan/op/step.h"
#include "plan/op/validate.h"

enum { KERNELS_OF_A_LAYER = 4 }; /* two norms with the residual, rope with the cache, activation */

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

static const double *overhead(const struct device *d)
{
    static const double none[STEP_CONSTANTS];
    static const char *const no_word[1];
    if (d->overhead) return d->overhead;
    const struct constants_set *set =
        d->datasheet_only ? NULL : constants_find(d->constants, &op_step, &d->gpu, d->framework, no_word);
    return set ? set->value : none;
}

/* Median error of a formula with nothing fitted: 34 to 98 % (validate); the middle. */
static const double DATASHEET_ALONE = 0.65;

/* Weights of less than a byte (`bytes`, at shape[at]) are the formula of 8 bits with the peak of their
 * arithmetic, and the constants of another type. */
static struct class_time ask(const struct device *d, const struct op_model *op, const char *const *words,
                             double *shape, double bytes, int at, double peak, enum device_resource bound)
{
    double neutral[OP_CONSTANTS_MAX];
    struct gpu g = d->gpu;
    struct class_time t = {.bound = bound, .evidence = EVIDENCE_PUBLISHED, .note = "datasheet alone"};
    const struct constants_set *set =
        d->datasheet_only ? NULL : constants_find(d->constants, op, &d->gpu, d->framework, words);
    if (op->words(words, shape)) set = NULL;
    if (bytes > 0) shape[at] = bytes, g.flops8 = peak;
    if (!set) validate_neutral(op, neutral);
    if (set) {
        const struct op_type *type = op_type(words[0]);
        bool own = figures_has_name(&g.aliases, set->chip),
             same = constants_of_type(set, words) && !(bytes > 0 && type && type->bytes >= 1);
        t.note = same  ? own ? NULL : "constants of another chip"
                 : own ? "constants of another type"
                       : "constants of another chip and type";
        t.doubt = same ? 0 : op->other_type;
        if (!t.note) t.evidence = EVIDENCE_FITTED;
    } else {
        t.doubt = DATASHEET_ALONE;
    }
    t.seconds = 1e-6 * op->time_us(&g, shape, set ? set->value : neutral);
    return t;
}

static enum device_resource bound_of(const struct device *d, const struct device_setup *s, const struct work *w)
{
    struct work_sum c = work_count(w, s->precision);
    return c.ops / class_peak_of(d, s, w) > (c.weights + c.cache + c.acts) / d->memory_rate ? DEVICE_COMPUTE
                                                                                            : DEVICE_DRAM;
}

static struct class_time attention(const struct device *d, const struct device_setup *s, const struct work *w)
{
    bool decode = w->kind == WORK_DECODE;
    const struct op_model *op = decode ? &op_attention_decode : &op_attention_context;
    const char *words[] = {s->precision->cache, decode ? "bfloat16" : s->precision->attention};
    double shape[OP_SHAPE_MAX] = {
        w->batch, w->length + (decode ? 0 : w->past), w->heads, w->kv_heads, w->head_dim, w->window};
    struct class_time t = ask(d, op, words, shape, 0, 0, 0, bound_of(d, s, w));
    if (!decode && w->past > 0) { /* the new queries' share of a whole prompt's pairs */
        double n = w->length, all = n + w->past;
        t.seconds *= fmin(1, (n * w->past + n * (n + 1) / 2) / (all * (all + 1) / 2));
    }
    if (s->shape->latent > 0)
        t.evidence = EVIDENCE_ASSUMED, t.doubt = op->other_type,
        t.note = "latent attention, of which no row is measured, by the constants of grouped attention";
    return t;
}

static struct class_time reduce(const struct device *d, const struct work *w)
{
    const char *words[] = {"all_reduce", "custom_all_reduce", "graph"};
    double shape[OP_SHAPE_MAX] = {w->chips, w->bytes};
    struct class_time t =
        w->chips > d->node ? class_message(d, w) : ask(d, &op_collective, words, shape, 0, 0, 0, DEVICE_LINK);
    t.software = 1e-6 * overhead(d)[STEP_SYNC];
    t.seconds += t.software;
    return t;
}

static struct class_time exchange(const struct device *d, const struct work *w)
{
    const char *words[] = {"alltoall", "nccl", "nccl-tests"};
    double shape[OP_SHAPE_MAX] = {w->chips, w->bytes};
    return w->chips > d->node ? class_message(d, w) : ask(d, &op_collective, words, shape, 0, 0, 0, DEVICE_LINK);
}

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    double bytes = w->weight_bytes > 0 ? w->weight_bytes : s->precision->weight_bytes;
    if (bytes == 1 || bytes == 2) bytes = 0; /* the word says it */
    switch (w->kind) {
    case WORK_PRODUCT: {
        double shape[OP_SHAPE_MAX] = {w->m, w->n, w->k};
        return ask(d, &op_gemm, &s->precision->gemm, shape, bytes, 3, class_peak_of(d, s, w), bound_of(d, s, w));
    }
    case WORK_EXPERTS: {
        const char *words[] = {s->precision->expert, "balanced"};
        double shape[OP_SHAPE_MAX] = {w->m, w->k, w->n, w->topk, w->experts, w->tp, w->ep, 3};
        return ask(d, &op_moe, words, shape, bytes, 8, class_peak_of(d, s, w), bound_of(d, s, w));
    }
    case WORK_DECODE:
    case WORK_CONTEXT:
        return attention(d, s, w);
    case WORK_REDUCE:
        return reduce(d, w);
    case WORK_EXCHANGE:
        return exchange(d, w);
    case WORK_ROWS:
        break;
    }
    double start = 1e-6 * KERNELS_OF_A_LAYER * overhead(d)[STEP_KERNEL];
    return (struct class_time){.seconds = start + w->bytes / d->memory_rate,
                               .bound = DEVICE_DRAM,
                               .software = start,
                               .evidence = EVIDENCE_MEASURED};
}

static double start(const struct device *d, double sequences, bool prompt)
{
    const double *more = overhead(d);
    (void)prompt;
    return 1e-6 * (more[STEP_HOST] + more[STEP_SEQUENCE] * sequences);
}

static int open(struct device *d, struct err *e)
{
    return gpu_from(&d->gpu, &d->figures, e);
}

/* What serving software keeps for activations: a step of so many tokens, logits of so many sequences in
 * several copies. */
static double keeps(const struct device_setup *s)
{
    enum { ROWS = 2048, SEQUENCES = 256, LOGIT_BYTES = 10 };
    const struct shape *m = s->shape;
    int tp = s->tp > 1 ? s->tp : 1;
    return ROWS * 2 * (2 * m->hidden + 3 * (m->experts > 0 ? m->topk : 1) * m->inter / tp) +
           SEQUENCES * LOGIT_BYTES * m->vocab / tp;
}

const struct class_ops class_gpu = {
    .name = "gpu", .needs = gpu_needs, .open = open, .time = time, .start = start, .keeps = keeps};
