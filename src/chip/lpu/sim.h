/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: one chip. Its queues are filled before cycle 0; from then on there are only cycles. Every number that
 * comes out was read from a simulated slice, went over streams, through instructions, and into a slice.
 *
 * Time advances from issue to issue: queues wait in a wheel of cycles, idle units cost nothing. A value on a
 * stream carries the cycle at which it passes the VXM, so that a reader anywhere asks for the one that must
 * be there. What the hardware would do without notice stops the run, with cycle, unit and instruction: an
 * operand that is not there, two values on one stream, two accesses of one bank, a row that was never
 * written, sums that nobody made.
 *
 * Simplified: a value keeps its stream through the whole hemisphere, so a second one on the same stream and
 * diagonal is a clash even where the first was used up; superlanes are not skewed (arch.h); text is not
 * fetched from memory.
 */
#ifndef TUTTI_CHIP_LPU_SIM_H
#define TUTTI_CHIP_LPU_SIM_H

#include "chip/lpu/code.h"

struct lpu_sim;

struct lpu_counters {
    int64_t cycles;             /* of all runs */
    int64_t issues[LPU_OPS];
    int64_t busy[LPU_QUEUES];   /* cycles in which a queue issued */
    int64_t macs;               /* products of passes, lanes outside the window not counted */
    int64_t hops;               /* vectors times positions */
};

enum { LPU_MAPS = 12 };

struct lpu_link { /* from one chip to the next: what a launch sent */
    int n, cap, taken;
    int64_t *cycle;               /* [n] in which each vector can be taken, in time common to all chips */
    uint8_t (*vector)[LPU_LANES];
};
void lpu_link_finish(struct lpu_link *l);

/* chip: its number, for messages */
int lpu_sim_create(struct lpu_sim **s, const struct lpu_arch *a, int chip, struct err *e);
void lpu_sim_destroy(struct lpu_sim *s); /* accepts NULL */

/* What the host does before cycle 0 and after the last: rows of memory by location. */
uint8_t *lpu_sim_row(struct lpu_sim *s, int loc); /* [LPU_LANES]; counts as written */
const uint8_t *lpu_sim_peek(const struct lpu_sim *s, int loc); /* NULL: never written */
void lpu_sim_put(struct lpu_sim *s, int loc, const uint32_t v[LPU_LANES]); /* a 32-bit vector: four slices */
int lpu_sim_get(const struct lpu_sim *s, int loc, uint32_t v[LPU_LANES]);  /* ERR_INTERNAL: never written */
void lpu_sim_map(struct lpu_sim *s, int map, const uint16_t from[LPU_LANES]);

/* The links of the next runs, NULL: none; start: cycle 0 of the chip in common time. */
void lpu_sim_links(struct lpu_sim *s, struct lpu_link *in, struct lpu_link *out, int64_t start);

/* Runs filled queues to their end. *trapped: a range check hit. ERR_INTERNAL: the program of the chip is wrong. */
int lpu_sim_run(struct lpu_sim *s, const struct lpu_code *c, int *cycles, bool *trapped, struct err *e);
const struct lpu_counters *lpu_sim_counters(const struct lpu_sim *s);
/* compute, memory, streams, instructions, links */
double lpu_sim_energy_pj(const struct lpu_arch *a, const struct lpu_counters *n, double part[5]);

#endif
