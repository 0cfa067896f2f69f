/* SPDX-License-Identifier: Apache-2.0 */
/*
 * constants: fitted constants of the operators' formulas, by chip, framework, operator and words. A JSON
 * file; the one of the tree (data/fit/gpu.json) is part of the program:
 *
 *   [{"op": "gemm", "chip": "H100-SXM-80GB", "framework": "vllm", "words": ["bfloat16"], "rows": 28593,
 *     "constants": {"launch": 2.24, ...}}, ...]
 */
#ifndef TUTTI_PLAN_OP_CONSTANTS_H
#define TUTTI_PLAN_OP_CONSTANTS_H

#include <jansson.h>
#include <stdbool.h>
#include "base/err.h"
#include "plan/op/op.h"

enum { CONSTANTS_SETS_MAX = 4096 };

struct constants_set {
    const struct op_model *op;
    const char *chip, *framework, *words[OP_GROUP_MAX]; /* NULL after the last word; borrowed from the file's text */
    double value[OP_CONSTANTS_MAX];
};

struct constants {
    struct constants_set *sets; /* [n] */
    int n;
    json_t *text;
};

/* path NULL: the file of the tree. Errors name set and key: unknown operator or constant, a value outside its bounds, a
 * missing constant. */
int constants_open(struct constants *c, const char *path, struct err *e);
void constants_close(struct constants *c); /* accepts a zeroed struct */

/*
 * The best set for a chip: its own; else that of the chips it is like, nearest first; framework and words
 * must fit, and where no set has the framework, any of the same operator and words; then a type that is near
 * (op.h); last, where the words are no types (launches, distributions), any. NULL: nothing fits.
 */
const struct constants_set *constants_find(const struct constants *c, const struct op_model *op, const struct gpu *g,
                                           const char *framework, const char *const *words);

/* The same as if no set had just these words: what a type would get that was never measured. */
const struct constants_set *constants_find_other(const struct constants *c, const struct op_model *op,
                                                 const struct gpu *g, const char *framework,
                                                 const char *const *words);

/* Was the set fitted on these words, of whatever chip? And on this very chip? */
bool constants_of_type(const struct constants_set *s, const char *const *words);
bool constants_of(const struct constants_set *s, const struct gpu *g, const char *const *words);

/* A set as the file has it; a new reference, NULL when memory is out. rows: how many measurements it was fitted on. */
json_t *constants_json(const struct constants_set *s, long rows);

#endif
