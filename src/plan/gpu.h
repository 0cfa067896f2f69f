/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu: the figures of a tiled SIMT chip with caches that its time model needs; read from its datasheet (data/chips).
 */
#ifndef TUTTI_PLAN_GPU_H
#define TUTTI_PLAN_GPU_H

#include <stdbool.h>
#include "chip/sheet.h"

enum { GPU_NAME_MAX = 64, GPU_NAMES_MAX = 8 };

struct gpu_names {
    char name[GPU_NAMES_MAX][GPU_NAME_MAX];
    int n;
};

struct gpu {
    char chip[GPU_NAME_MAX];    /* "h100": its datasheet */
    struct gpu_names aliases;   /* "H100-SXM-80GB", ...: what measurements call it */
    struct gpu_names like;      /* aliases of chips that lend their fitted constants, nearest first */
    double clock;              /* Hz, at which the peaks are stated */
    double sms;                /* streaming multiprocessors */
    double flops16;            /* dense 16-bit floating point operations/s */
    double flops8;             /* dense 8-bit; 0: the chip has none */
    double memory;             /* bytes/s */
    double memory_bytes, l2_bytes;
    double link;               /* bytes/s to the other chips of its node, each direction */
    double tdp;                /* W */
};

/* The whole datasheet of a GPU; path NULL: the one of the tree. */
int gpu_sheet(struct sheet *s, const char *chip, const char *path, struct err *e);
/* Figures of a chip's sheet; checks the stated peak against SMs and clock. */
int gpu_open(struct gpu *g, const char *chip, struct err *e);
/* The chip whose sheet has this alias (or name); ERR_NOT_FOUND. */
int gpu_find(struct gpu *g, const char *alias, struct err *e);
bool gpu_has_name(const struct gpu_names *names, const char *name);

#endif
