/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op: how long one operator takes on a GPU: a formula with a few constants for each kind, and a floor that no
 * time may lie below: bytes over bandwidth, operations over peak.
 *
 * Constants are stated in cycles, in bytes per cycle or as shares of a peak, never as times of a shape, so
 * that those fitted on one chip can be carried to another. The same table of a kind says what its shapes are
 * called in a file of measurements (reference: the columns of the public sets, doc/plan.md).
 */
#ifndef TUTTI_PLAN_OP_OP_H
#define TUTTI_PLAN_OP_OP_H

#include "plan/op/gpu.h"

enum { OP_CONSTANTS_MAX = 20, OP_SHAPE_MAX = 12, OP_GROUP_MAX = 4 };

struct op_constant {
    const char *name, *unit;
    double lo, hi;    /* bounds of a fit */
    double neutral;   /* without calibration: what the datasheet alone implies */
    double start;     /* of a fit */
};

struct op_model {
    const char *name, *file;               /* "gemm", "gemm.csv" (.gz); file NULL: not measured alone */
    /* columns that choose a set of constants besides chip and framework; NULL ends */
    const char *group[OP_GROUP_MAX];
    const char *shape[OP_SHAPE_MAX];       /* columns of numbers; NULL ends */
    const struct op_constant *constants;
    int n_constants;
    /* Facts that are words in the file (a type, a kind) become numbers behind the columns of the shape: words[] are the
     * cells of `group`. Returns 0, or -1: not an operator that this model knows. */
    int (*words)(const char *const *words, double *shape);
    double (*floor_us)(const struct gpu *g, const double *shape);
    double (*time_us)(const struct gpu *g, const double *shape, const double *c); /* at least the floor */
    /* A row that counts for the operator's bar (planning reference), or NULL: all do. */
    int (*counts)(const double *shape);
    /* two columns of the shape by which a deployment shares the work, at equal product (regret.h); or
     * NULL */
    const int *split;
    /* columns of the shape that a deployment moves from step to step; -1 ends: the others make the
     * model's shape */
    const int *size;
    double bar;           /* median absolute error to reach; 0: none is set */
    /* median error by constants of another type: the middle of what validate --transfer finds on the
     * same chip */
    double other_type;
    const char *bar_word; /* the bar is for groups of this first word; NULL: all */
};

/* What a step adds to its operators: no file of measurements, fitted on results of whole models (op/step.h). */
extern const struct op_model op_step;
extern const struct op_model op_gemm, op_attention_decode, op_attention_context, op_moe, op_collective;
extern const struct op_model *const op_all[]; /* NULL ends */

/* (a^p + b^p)^(1/p): overlap of two things that take a and b: p 1 none, p large complete. */
double op_overlap(double a, double b, double p);

struct op_type { /* of numbers, as files of measurements call it */
    const char *name;
    double bytes;     /* of one element, scales included */
    /* bytes of the operands that are multiplied: 2, 1, 0.5; a chip without such arithmetic takes the
     * next wider */
    double math;
    const char *like[2]; /* types whose constants it takes where none were fitted for it, nearest first; NULL: none */
};
const struct op_type *op_type(const char *name); /* "bfloat16", "fp8" ...; NULL: unknown */

#endif
