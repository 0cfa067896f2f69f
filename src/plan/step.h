/* SPDX-License-Identifier: Apache-2.0 */
/*
 * step: how long one step of a model takes on n equal GPUs, from its operators: every product, attention, expert layer and
 * all-reduce by its own formula (op.h), element-wise kernels by the bytes they move, and what the software adds (op_step).
 */
#ifndef TUTTI_PLAN_STEP_H
#define TUTTI_PLAN_STEP_H

#include "plan/constants.h"
#include "plan/gpu.h"
#include "plan/shape.h"

struct step_type { /* of numbers: words as measurements call them, and bytes of one element */
    const char *gemm, *kv, *attention, *expert;
    double weight_bytes, kv_bytes;
};
/* "16-bit" (bf16, fp16), "fp8"; NULL if unknown. */
const struct step_type *step_type(const char *precision);

struct step_setup {
    const struct gpu *gpu;
    const struct constants *constants;
    const char *framework;
    const struct step_type *type;
    int tp;                   /* GPUs that share every product */
    const double *overhead;   /* [STEP_CONSTANTS] to use, or NULL: those of `constants`, or none */
};

enum { STEP_HOST, STEP_SEQUENCE, STEP_KERNEL, STEP_SYNC, STEP_CONSTANTS }; /* of op_step */

struct step_time { /* us; of one step */
    double products, attention, experts, reduce, elements, head, host;
    double floor; /* bytes over bandwidth or operations over peak of all of it */
    const char *lacks; /* an operator without constants: times are then the datasheet's; NULL: none */
};

/* batch sequences, each with one new token after `context` tokens. */
struct step_time step_decode(const struct step_setup *s, const struct shape *m, double batch, double context);
/* batch prompts of `tokens` each, from the beginning. */
struct step_time step_prefill(const struct step_setup *s, const struct shape *m, double batch, double tokens);
double step_total(const struct step_time *t);

/* Bytes that the model's weights take on each GPU, and one token's cache. */
double step_weight_bytes(const struct step_setup *s, const struct shape *m);
double step_token_bytes(const struct step_setup *s, const struct shape *m);

#endif
