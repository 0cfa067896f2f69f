/* SPDX-License-Identifier: Apache-2.0 */
/* See op.h. */
#include "plan/op.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

const struct op_model *const op_all[] = {&op_gemm, &op_attention_context, &op_attention_decode, &op_moe, &op_collective, &op_step, NULL};

double op_overlap(double a, double b, double p)
{
    double big = a > b ? a : b, small = a > b ? b : a;
    return small <= 0 ? big : big * pow(1 + pow(small / big, p), 1 / p);
}

double op_type_bytes(const char *name)
{
    static const struct {
        const char *name;
        double bytes;
    } types[] = {{"bfloat16", 2},  {"float16", 2}, {"fp16", 2},       {"int8", 1},          {"fp8", 1},
                 {"fp8_block", 1}, {"nvfp4", 0.5625}, {"int4_wo", 0.53}, {"w4a16_mxfp4", 0.53}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, name)) return types[i].bytes;
    return 0;
}
