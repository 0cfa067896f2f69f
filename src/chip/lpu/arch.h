/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arch: the LPU as its datasheet describes it, and where its units stand.
 *
 * Positions along a superlane, west to east. A pair of MEM slices shares a stream register; the outermost one also
 * serves that hemisphere's MXM planes and SXM; the VXM stands in the middle:
 *
 *   MXM SXM | MEM west 43 .. 0 | VXM | MEM east 0 .. 43 | SXM MXM
 *     0       0     ..      21    22    23     ..    44     44
 *
 * Slice numbers count from the VXM outwards; east slices follow the west ones. A stream moves one position a cycle. A
 * vector is treated as a whole: all superlanes see the same diagonal wave, so the skew is the same for producer and
 * consumer; what crosses superlanes (SXM, wide VXM operations) has it in its delay.
 */
#ifndef TUTTI_CHIP_LPU_ARCH_H
#define TUTTI_CHIP_LPU_ARCH_H

#include <stdint.h>
#include "chip/sheet.h"

enum lpu_figure {
#define FIGURE(section, key, unit, min, max, whole) LPU_##section##_##key,
#include "chip/lpu/figures.def"
    LPU_FIGURES
};

enum {
    LPU_LANES = 320,  /* lanes of the simulator's vectors; another number in the sheet is refused */
    LPU_ROWS = 8192,  /* rows that an address can name */
    LPU_SLICES = 88,
    LPU_PLANES = 4,
    LPU_ALUS = 16,
    LPU_STREAMS = 32, /* in each direction */
    LPU_LOAD = 16,    /* streams of a weight load */
    LPU_QUAD = 4,     /* streams of a 32-bit vector */
};

enum lpu_dir { LPU_EAST, LPU_WEST };

struct lpu_arch {
    struct sheet sheet;
    int slices;     /* in all */
    int half;       /* slices of a hemisphere */
    int wide;       /* outermost slices of a hemisphere that feed its planes: planes x load streams */
    int rows;       /* of a slice */
    int centre;     /* position of the VXM */
    int d[LPU_FIGURES]; /* whole figures, by enum lpu_figure */
};

extern const struct sheet_figure lpu_figures[LPU_FIGURES];

/* path NULL: data/chips/lpu.ini as built in. Refuses impossible combinations and derived figures that do not follow. */
int lpu_arch_open(struct lpu_arch *a, const char *path, struct err *e);
int lpu_arch_read(struct lpu_arch *a, const char *name, struct str text, struct err *e);
void lpu_arch_close(struct lpu_arch *a); /* accepts a zeroed struct */

static inline double lpu_value(const struct lpu_arch *a, enum lpu_figure f)
{
    return a->sheet.items[f].value;
}

static inline int lpu_hemisphere(const struct lpu_arch *a, int slice) /* 0 west, 1 east */
{
    return slice >= a->half;
}

static inline int lpu_slice_position(const struct lpu_arch *a, int slice)
{
    return slice < a->half ? a->centre - 1 - slice / 2 : a->centre + 1 + (slice - a->half) / 2;
}

/* Cycles from one vector on a link to the next, and from a SEND to the cycle in which the other chip can take it. */
int lpu_link_gap(const struct lpu_arch *a);
int lpu_link_hop(const struct lpu_arch *a);

static inline int lpu_edge_position(const struct lpu_arch *a, int hemisphere) /* of SXM and MXM */
{
    return hemisphere ? 2 * a->centre : 0;
}

#endif
