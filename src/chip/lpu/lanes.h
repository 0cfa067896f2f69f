/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes: what one instruction does to vectors of 320 lanes, generated from ops.def. No time here, and no chip: sim.c
 * says when, from where and where to.
 */
#ifndef TUTTI_CHIP_LPU_LANES_H
#define TUTTI_CHIP_LPU_LANES_H

#include "chip/lpu/isa.h"

/* A VXM operation: r[320] from a, b, c (each [320], NULL if not used). Returns true if TRAP found something. */
bool lpu_lanes(const struct lpu_instr *in, uint32_t *restrict r, const uint32_t *a, const uint32_t *b,
               const uint32_t *c);

/* One pass: sum[l] = sum over k in x..y-1 of act[k] * weight[k][l]; exact int32. */
void lpu_pass(int32_t sum[LPU_LANES], const uint8_t act[LPU_LANES], int x, int y, bool act_unsigned,
              const uint8_t weight[LPU_LANES][LPU_LANES], bool weight_unsigned);

#endif
