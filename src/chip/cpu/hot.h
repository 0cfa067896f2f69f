/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hot: experts that are used much are kept in memory, the others stay in the mapped file.
 *
 * A *unit* is one expert of one layer: its gate, up and down matrix. Memory is cut into slots of one unit. When a batch
 * has chosen the experts of a layer (STEP_PLACE), a chosen unit either has a slot, or gets one, or passes:
 *
 *   has       as if it had been packed at load
 *   gets      workers pack the panels that they take into the slot, then multiply
 *   passes    workers pack the panels that they take into a scratch, a few at a time, and multiply
 *
 * A packed panel is the same bytes wherever it lies, and every panel is one worker's, so the bits are those of a
 * model that is in memory as a whole, whatever the budget. Which units have slots: those chosen in most batches, counts
 * halved from time to time; a unit takes the slot of one that was chosen less. File pages are given back after use.
 */
#ifndef TUTTI_CHIP_CPU_HOT_H
#define TUTTI_CHIP_CPU_HOT_H

#include "chip/cpu/cpu.h"

/* Plans c->hot if the experts take more than budget bytes; else, and for budget 0, c->hot stays NULL. After
 * mat_init of c->mats. */
int hot_create(struct cpu *c, size_t budget, struct err *e);
void hot_destroy(struct cpu *c);
bool hot_holds(const struct cpu *c, int weight); /* a weight that is not packed at load */

/* One worker, after the places of a STEP_PLACE are known. */
void hot_choose(struct cpu *c, int step);
/* y = panels p0 .. p1 - 1 of expert x of the weights from w on, for n tokens from t0 on, as kern->matmul. */
void hot_matmul(struct cpu *c, int worker, float *y, size_t stride, int w, int x, int p0, int p1,
                const struct act *a, int t0, int n);
/* After a batch: what a worker could not pack. */
int hot_fault(struct cpu *c, struct err *e);

struct hot_use {
    int n_units, n_slots;
    size_t bytes;         /* of all slots */
    uint64_t kept, read;  /* chosen units that had a slot, and that were read */
};
struct hot_use hot_use(const struct cpu *c);

#endif
