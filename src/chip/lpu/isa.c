/* SPDX-License-Identifier: Apache-2.0 */
/* See isa.h: everything here is generated from ops.def. */
#include "chip/lpu/isa.h"

#include <stdio.h>
#include <string.h>

#define LPU_delay_none (-1)
const struct lpu_op_info lpu_op_info[LPU_OPS] = {
#define LPU_OP(name, mnemonic, unit, delay, fields, evidence, what) [OP_##name] = {mnemonic, fields, evidence, what, UNIT_##unit, LPU_delay_##delay, 0},
#define LPU_LANE(name, mnemonic, delay, operands, expression, evidence, what)                                           \
    [OP_##name] = {mnemonic, (operands) == 1 ? "oai" : (operands) == 2 ? "oabi" : "oabci", evidence, what, UNIT_LANE, LPU_delay_##delay, operands},
#include "chip/lpu/ops.def"
};
_Static_assert(sizeof(struct lpu_instr) == 16, "an instruction is 16 bytes");

void lpu_queue_name(int q, char out[24])
{
    if (q < QUEUE_WRITE)
        snprintf(out, 24, "mem%d.read", q - QUEUE_READ);
    else if (q < QUEUE_ALU)
        snprintf(out, 24, "mem%d.write", q - QUEUE_WRITE);
    else if (q < QUEUE_LOAD)
        snprintf(out, 24, "vxm.alu%d", q - QUEUE_ALU);
    else if (q < QUEUE_PASS)
        snprintf(out, 24, "mxm%d.weights", q - QUEUE_LOAD);
    else if (q < QUEUE_OUT)
        snprintf(out, 24, "mxm%d.pass", q - QUEUE_PASS);
    else if (q < QUEUE_SXM)
        snprintf(out, 24, "mxm%d.sums", q - QUEUE_OUT);
    else if (q < QUEUE_C2C)
        snprintf(out, 24, "sxm.%s", q == QUEUE_SXM ? "west" : "east");
    else
        snprintf(out, 24, "c2c.%s", q == QUEUE_C2C ? "west" : "east");
}

bool lpu_queue_takes(int q, enum lpu_op op)
{
    if (op >= LPU_OPS) return false;
    switch (lpu_op_info[op].unit) {
    case UNIT_ICU: return true;
    case UNIT_MEM: return q < QUEUE_WRITE;
    case UNIT_MEMW: return q >= QUEUE_WRITE && q < QUEUE_ALU;
    case UNIT_LOAD: return q >= QUEUE_LOAD && q < QUEUE_PASS;
    case UNIT_PASS: return q >= QUEUE_PASS && q < QUEUE_OUT;
    case UNIT_OUT: return q >= QUEUE_OUT && q < QUEUE_SXM;
    case UNIT_SXM: return q >= QUEUE_SXM && q < QUEUE_C2C;
    case UNIT_C2C: return q >= QUEUE_C2C && q < LPU_QUEUES;
    default: return q >= QUEUE_ALU && q < QUEUE_LOAD;
    }
}

static void print_stream(struct buf *out, int s)
{
    buf_printf(out, " %c%d", s < LPU_STREAMS ? 'e' : 'w', s % LPU_STREAMS);
}

static void print_arg(struct buf *out, int arg, uint32_t imm)
{
    if (arg == ARG_NONE)
        buf_append_z(out, " -");
    else if (arg == ARG_IMM)
        buf_printf(out, " #%08x", imm);
    else if (arg >= ARG_ALU)
        buf_printf(out, " alu%d", arg - ARG_ALU);
    else
        print_stream(out, arg);
}

void lpu_instr_print(const struct lpu_instr *in, struct buf *out)
{
    if (in->op >= LPU_OPS) {
        buf_printf(out, "?%d", in->op);
        return;
    }
    const struct lpu_op_info *info = &lpu_op_info[in->op];
    buf_append_z(out, info->mnemonic);
    for (const char *f = info->fields; *f; f++) {
        switch (*f) {
        case 'o':
            if (in->out != ARG_NONE)
                print_stream(out, in->out % OUT_BOTH),
                    buf_append_z(out, in->out >= OUT_BOTH ? " both <-" : " <-");
            break;
        case 'a': print_arg(out, in->a, in->imm); break;
        case 'b': print_arg(out, in->b, in->imm); break;
        case 'c': print_arg(out, in->c, in->imm); break;
        case 'i':
            if (info->unit == UNIT_WIDE || info->unit == UNIT_CHECK) buf_printf(out, " %u", in->imm);
            break;
        case 'r': buf_printf(out, " [%d]", in->row); break;
        case 'n': buf_printf(out, " %d", in->x); break;
        case 'w': buf_printf(out, " lanes %d..%d", in->x, in->y); break;
        default:
            if (in->flag) buf_printf(out, " flags %x", in->flag);
        }
    }
}
