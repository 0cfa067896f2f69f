/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu: the figures of a tiled SIMT chip with caches that its time model needs; read from its datasheet (data/chips).
 */
#ifndef TUTTI_PLAN_OP_GPU_H
#define TUTTI_PLAN_OP_GPU_H

#include "plan/op/figures.h"

struct gpu {
    char chip[FIGURES_NAME_MAX]; /* "h100": its datasheet */
    struct figures_names aliases, like;
    double clock;              /* Hz, at which the peaks are stated */
    double sms;                /* streaming multiprocessors */
    double flops16;            /* dense 16-bit floating point operations/s */
    double flops8;             /* dense 8-bit; 0: the chip has none */
    double memory;             /* bytes/s */
    double memory_bytes, l2_bytes;
    double flops4;             /* dense 4-bit; 0: the chip has none */
    double exps;               /* exponentials/s; 0: not stated */
    double link;               /* bytes/s to the other chips of its node, each direction */
    double tdp;                /* W */
};

/* Dense peak of operands of so many bytes; where the chip has no such arithmetic, of the next wider. */
double gpu_peak(const struct gpu *g, double bytes);

/* Cycles in which an SM does what H100's does in one (4,096 16-bit operations): 2 on A100, 1/2 on B200. What
 * feeds tensor cores grows with them from one generation to the next: constants that are stated in such
 * cycles can be carried over. */
double gpu_pace(const struct gpu *g);

/* The same for cycles that something waits for: at most A100's, since latencies do not grow where a chip has
 * small tensor cores. */
double gpu_wait(const struct gpu *g);

extern const enum figure gpu_needs[]; /* ends with FIGURES */
/* The figures, which are all published or assumed; checks the stated peak against SMs and clock. */
int gpu_from(struct gpu *g, const struct figures *f, struct err *e);
/* The GPU of this name or alias; ERR_NOT_FOUND. */
int gpu_find(struct gpu *g, const char *name, struct err *e);

#endif
