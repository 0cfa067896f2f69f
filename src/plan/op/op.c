/* SPDX-License-Identifier: Apache-2.0 */
/* See op.h. */
#include "plan/op/op.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

const struct op_model *const op_all[] = {
    &op_gemm, &op_attention_context, &op_attention_decode, &op_moe, &op_collective, &op_step, NULL};

double op_overlap(double a, double b, double p)
{
    double big = a > b ? a : b, small = a > b ? b : a;
    return small <= 0 ? big : big * pow(1 + pow(small / big, p), 1 / p);
}

const struct op_type *op_type(const char *name)
{
    static const struct op_type types[] = {
        {"bfloat16", 2, 2, {0}},
        {"float16", 2, 2, {"bfloat16"}},
        {"fp16", 2, 2, {"bfloat16"}},
        {"fp8", 1, 1, {"bfloat16"}},
        {"int8", 1, 1, {"fp8", "bfloat16"}},
        {"fp8_block", 1, 1, {"fp8", "bfloat16"}},
        {"fp8_static", 1, 1, {"fp8", "bfloat16"}},
        {"sq", 1, 1, {"fp8", "bfloat16"}},
        {"nvfp4", 0.5625, 0.5, {"fp8", "bfloat16"}},
        {"int8_wo", 1, 2, {"bfloat16"}},
        {"int4_wo", 0.53, 2, {"w4a16_mxfp4", "bfloat16"}},
        {"w4a16_mxfp4", 0.53, 2, {"int4_wo", "bfloat16"}},
        {"w4afp8", 0.53, 1, {"fp8"}},
        {"w4a8_mxfp4_mxfp8", 0.53, 1, {"fp8"}},
    };
    const struct op_type *best = NULL;
    for (size_t i = 0; i < sizeof types / sizeof *types;
         i++) { /* "fp8_block_v2" is an fp8_block: the longest name that it begins with */
        size_t n = strlen(types[i].name);
        if (!strncmp(types[i].name, name, n) && (!name[n] || name[n] == '_') &&
            (!best || n > strlen(best->name)))
            best = &types[i];
    }
    return best;
}
