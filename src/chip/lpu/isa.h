/* SPDX-License-Identifier: Apache-2.0 */
/*
 * isa: instructions and the queues they stand in. An instruction is 16 bytes, so that a fetch of 640 bytes
 * brings 40. The published lists name the instructions; formats are ours.
 *
 * Queues, in order: a read and a write queue for each MEM slice (one ICU queue that issues both in a cycle,
 * if the banks differ), one for each VXM ALU, three for each MXM plane (weights, passes, sums), and one SXM
 * and one C2C queue for each hemisphere. A queue is a list of words; nop n waits, repeat n issues the word
 * before n more times.
 *
 * Operands a, b, c: 0..63 a stream (32 and up: westward) or the first of four, 64..79 what an ALU produced
 * last, 128 the immediate, 255 none. Streams at the VXM: eastward ones come from the west and go to the east.
 */
#ifndef TUTTI_CHIP_LPU_ISA_H
#define TUTTI_CHIP_LPU_ISA_H

#include <stdbool.h>
#include "base/buf.h"
#include "chip/lpu/arch.h"

enum lpu_op {
#define LPU_OP(name, mnemonic, unit, delay, fields, evidence, what) OP_##name,
#define LPU_LANE(name, mnemonic, delay, operands, expression, evidence, what) OP_##name,
#include "chip/lpu/ops.def"
    LPU_OPS
};

enum lpu_unit {
    UNIT_ICU,
    UNIT_MEM,
    UNIT_MEMW,
    UNIT_LOAD,
    UNIT_PASS,
    UNIT_OUT,
    UNIT_SXM,
    UNIT_C2C,
    UNIT_WIDE,
    UNIT_SELECT,
    UNIT_CHECK,
    UNIT_LANE
};

struct lpu_op_info {
    const char *mnemonic, *fields, *evidence, *what;
    enum lpu_unit unit;
    int delay;    /* enum lpu_figure, or -1 */
    int operands; /* of VXM operations */
};
extern const struct lpu_op_info lpu_op_info[LPU_OPS];

enum { OUT_BOTH = 64, /* out: the stream of this number, and the one of the same number in the other direction */
       ARG_ALU = 64, ARG_IMM = 128, ARG_NONE = 255 };
enum { /* flags */
    FLAG_BYTE = 1,      /* VXM: operand i is one stream: FLAG_BYTE << i; SXM: one stream instead of four */
    FLAG_SIGNED = 8,    /* VXM: operand i is a signed byte: FLAG_SIGNED << i */
    FLAG_OUT_BYTE = 64, /* VXM: the low byte goes out on one stream */
    FLAG_COLUMNS = 1,   /* LW: vectors are columns of the array */
    FLAG_CLEAR = 2,     /* LW: the buffer becomes zero first */
    FLAG_UNSIGNED = 1,  /* IW, ABC */
};

struct lpu_instr { /* 16 bytes */
    uint8_t op, out, a, b, c, flag;
    uint16_t row; /* row, lane, map or first index */
    uint16_t x, y; /* lanes x..y-1; NOP, REPEAT: count x; LW: vectors in x */
    uint32_t imm;
};

enum {
    QUEUE_READ = 0,
    QUEUE_WRITE = QUEUE_READ + LPU_SLICES,
    QUEUE_ALU = QUEUE_WRITE + LPU_SLICES,
    QUEUE_LOAD = QUEUE_ALU + LPU_ALUS,
    QUEUE_PASS = QUEUE_LOAD + LPU_PLANES,
    QUEUE_OUT = QUEUE_PASS + LPU_PLANES,
    QUEUE_SXM = QUEUE_OUT + LPU_PLANES,
    QUEUE_C2C = QUEUE_SXM + 2,
    LPU_QUEUES = QUEUE_C2C + 2,
};

void lpu_queue_name(int queue, char out[24]);
void lpu_instr_print(const struct lpu_instr *in, struct buf *out);
/* Which instructions a queue takes. */
bool lpu_queue_takes(int queue, enum lpu_op op);

static inline int lpu_delay(const struct lpu_arch *a, enum lpu_op op)
{
    return a->d[lpu_op_info[op].delay];
}

static inline int lpu_plane_hemisphere(int plane)
{
    return plane >= LPU_PLANES / 2;
}

#endif
