/* SPDX-License-Identifier: Apache-2.0 */
/* See lanes.h. */
#include "chip/lpu/lanes.h"

#include <string.h>
#include "kern/num.h"

#define F(x) f32_from_bits(x)
#define U(x) f32_bits(x)

/* Nearest, ties to even: a double has room for any fp32 below 2^31 beside the constant. */
static inline uint32_t round_i32(float x)
{
    return (uint32_t)(f64_bits((double)x + 0x1.8p52));
}

static inline uint32_t square_part(uint32_t a, uint32_t shift)
{
    int64_t k = (int32_t)a;
    uint64_t s = (uint64_t)(k * k) >> (shift & 63);
    return (uint32_t)s & (shift >= 28 ? 0x7fffu : 0x3fffu);
}

/* fp32 patterns to integers of the same order, and back. */
static inline int32_t ordered(uint32_t u)
{
    return (int32_t)(u ^ (uint32_t)((int32_t)u >> 31) >> 1);
}

static void fill(uint32_t *r, int x, int y, uint32_t v)
{
    for (int l = x; l < y; l++) r[l] = v;
}

static void wide(const struct lpu_instr *in, uint32_t *r, const uint32_t *a)
{
    int x = in->x < LPU_LANES ? in->x : LPU_LANES, y = in->y < LPU_LANES ? in->y : LPU_LANES;
    int step = in->op == OP_GMAX || in->op == OP_GSUM ? (int)(in->imm < LPU_LANES ? in->imm : LPU_LANES) : LPU_LANES;
    if (step < 1) step = 1;
    memset(r, 0, LPU_LANES * sizeof *r);
    for (int g = x; g < y; g += step) {
        int end = g + step < y ? g + step : y;
        uint32_t v = in->op == OP_WFMAX ? (uint32_t)INT32_MIN : 0;
        for (int l = g; l < end; l++) {
            if (in->op == OP_GSUM || in->op == OP_WSUM)
                v += a[l];
            else if (in->op == OP_WFMAX)
                v = ordered(a[l]) > (int32_t)v ? (uint32_t)ordered(a[l]) : v;
            else
                v = a[l] > v ? a[l] : v;
        }
        if (in->op == OP_WFMAX) v = (uint32_t)ordered(v);
        if (in->op == OP_GMAX || in->op == OP_GSUM)
            fill(r, g, end, v);
        else
            fill(r, 0, LPU_LANES, v);
    }
}

bool lpu_lanes(const struct lpu_instr *in, uint32_t *restrict r, const uint32_t *a, const uint32_t *b,
               const uint32_t *c)
{
    static const uint32_t zero[LPU_LANES];
    const uint32_t imm = in->imm;
    if (!a) a = zero;
    if (!b) b = zero;
    if (!c) c = zero;
    switch ((enum lpu_op)in->op) {
#define LPU_LANE(name, mnemonic, delay, operands, expression, evidence, what)                                            \
    case OP_##name: {                                                                                                  \
        const uint32_t *pa = a, *pb = b, *pc = c;                                                                      \
        for (int l = 0; l < LPU_LANES; l++) {                                                                          \
            uint32_t a = pa[l], b = pb[l], c = pc[l];                                                                  \
            (void)a, (void)b, (void)c;                                                                                 \
            r[l] = (expression);                                                                                       \
        }                                                                                                              \
        return false;                                                                                                  \
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* the expressions of ops.def speak of one lane's a, b and c */
#include "chip/lpu/ops.def"
#pragma GCC diagnostic pop
    case OP_SELW:
        for (int l = 0; l < LPU_LANES; l++) r[l] = l >= in->x && l < in->y ? a[l] : b[l];
        return false;
    case OP_TRAP: {
        bool hit = false;
        for (int l = 0; l < LPU_LANES; l++) hit |= a[l] >= imm;
        memcpy(r, a, LPU_LANES * sizeof *r);
        return hit;
    }
    default: wide(in, r, a); return false;
    }
}

/* Four rows at a time, so that a vector of sums is read and written once for four products. */
#define PASS(name, act_t, weight_t)                                                                                     \
    static void name(int32_t *restrict sum, const uint8_t *act, int x, int y, const uint8_t (*w)[LPU_LANES])           \
    {                                                                                                                  \
        int k = x;                                                                                                     \
        for (; k + 4 <= y; k += 4) {                                                                                   \
            int32_t a0 = (act_t)act[k], a1 = (act_t)act[k + 1], a2 = (act_t)act[k + 2], a3 = (act_t)act[k + 3];        \
            for (int l = 0; l < LPU_LANES; l++)                                                                        \
                sum[l] += a0 * (weight_t)w[k][l] + a1 * (weight_t)w[k + 1][l] + a2 * (weight_t)w[k + 2][l] +          \
                          a3 * (weight_t)w[k + 3][l];                                                                  \
        }                                                                                                              \
        for (; k < y; k++)                                                                                             \
            for (int l = 0; l < LPU_LANES; l++) sum[l] += (act_t)act[k] * (weight_t)w[k][l];                           \
    }
PASS(pass_ss, int8_t, int8_t)
PASS(pass_su, int8_t, uint8_t)
PASS(pass_us, uint8_t, int8_t)
PASS(pass_uu, uint8_t, uint8_t)

void lpu_pass(int32_t sum[LPU_LANES], const uint8_t act[LPU_LANES], int x, int y, bool act_unsigned,
              const uint8_t weight[LPU_LANES][LPU_LANES], bool weight_unsigned)
{
    memset(sum, 0, LPU_LANES * sizeof *sum);
    if (y > LPU_LANES) y = LPU_LANES;
    if (act_unsigned)
        weight_unsigned ? pass_uu(sum, act, x, y, weight) : pass_us(sum, act, x, y, weight);
    else
        weight_unsigned ? pass_su(sum, act, x, y, weight) : pass_ss(sum, act, x, y, weight);
}
