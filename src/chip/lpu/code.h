/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code: the filled queues of one launch, and what changes in them from step to step.
 *
 *   schedule (sched.c)   graph -> instructions with their cycle
 *   queues   (queue.c)   -> words of each queue, with nop and repeat
 *   patch    (queue.c)   rows and lanes that follow from token, position and pages, before cycle 0
 *   verify   (verify.c)  re-checks words against the graph without trusting schedule or queues
 *   run      (sim.c)     executes the words
 */
#ifndef TUTTI_CHIP_LPU_CODE_H
#define TUTTI_CHIP_LPU_CODE_H

#include "chip/lpu/graph.h"

struct lpu_timed { /* an instruction with its dispatch cycle */
    int32_t cycle;
    uint16_t queue, n; /* n: issues, one a cycle */
    int32_t group;
    struct lpu_instr in;
    uint8_t patch, lane; /* lane: slice of 16 (PATCH_SLOT, PATCH_TOKEN_CODES) */
    int32_t patch_arg;
};

struct lpu_schedule {
    struct lpu_timed *list;
    int n, cap;
    int cycles; /* all results are out: last dispatch plus delay */
};

struct lpu_fix {
    int word;
    uint8_t kind, slice; /* slice of the queue */
    int32_t arg;
    struct lpu_instr as; /* before the patch */
};

struct lpu_code {
    struct lpu_instr *words;
    int first[LPU_QUEUES + 1]; /* words of queue q: first[q] .. first[q + 1] - 1 */
    struct lpu_fix *fixes;
    int n_fixes;
    int cycles;  /* as announced */
    int n_instr; /* issues, nop not counted */
};

/* What a step is about. */
struct lpu_params {
    int token, tile_columns; /* the token's tile is token / tile_columns */
    int slot;                /* position in the last chunk */
    const int32_t *pages;    /* page of each chunk; NULL: page = chunk */
    /* of the embedding table: where token rows lie */
    const int *tile_plane, *tile_row[2]; /* [tile] plane, and first row of slab 0 of each byte plane */
    int slab_rows;           /* rows from one slab to the next */
    int scale_step;          /* rows of scales per tile */
    const int *arrive;       /* [n_arrive] first cycle in which each vector of the chip before can be taken */
    int n_arrive;
    const int *sent;         /* [n_sent] cycle by which each vector for the next chip must be on the link */
    int n_sent;
};

int lpu_schedule(struct lpu_schedule *s, const struct lpu_arch *a, const struct lpu_graph *g, struct err *e);
void lpu_schedule_finish(struct lpu_schedule *s);
int lpu_queues(struct lpu_code *c, const struct lpu_arch *a, struct lpu_schedule *s, struct err *e); /* sorts s */
void lpu_code_finish(struct lpu_code *c);
void lpu_code_patch(struct lpu_code *c, const struct lpu_arch *a, const struct lpu_params *p);

#endif
