/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timed: the clock of a chip that this program does not have. The CPU executes every step, with the
 * contract's kernels, so the bits are those of every chip; how long the steps would have taken on the chip,
 * and with what energy, is counted from its datasheet for exactly the batches that were executed
 * (chip_watch).
 */
#ifndef TUTTI_PLAN_CLASS_TIMED_H
#define TUTTI_PLAN_CLASS_TIMED_H

#include "base/buf.h"
#include "chip/chip.h"
#include "plan/class/device.h"

struct timed {
    struct device *device; /* NULL: the datasheet lacks what a time needs (fault) */
    struct shape shape;
    struct device_precision precision;
    struct device_setup setup;
    struct timed_sum { /* of steps with prompts, and of steps with one token of each sequence */
        double steps, tokens, seconds, wrong, floor, joules, part[DEVICE_PARTS];
    } prompt, token;
    enum evidence evidence, joules_evidence;
    struct err fault; /* why there is no time, or none of the steps from one on */
};

/* name: "h100", "h100:8", an alias, the path of a datasheet. Refuses what does not fit, with the number of
 * chips that do. */
int timed_open(struct timed **t, const char *name, const struct model *m, int n_ctx, struct err *e);
void timed_close(struct timed *t); /* accepts NULL */
void timed_watch(void *t, const struct batch *b);
void timed_report(const struct timed *t, struct buf *out);

/* "h100:8" -> the name and 8; without a number 1. */
enum { TIMED_NAME_MAX = 256 };
int timed_split(const char *text, char name[TIMED_NAME_MAX], int *chips, struct err *e);

#endif
