/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU back end, shared by its files: load.c (weights, memory), step.c (the token path), attend.c (attention),
 * experts.c and hot.c (experts, in memory and on disk), heads.c (matrices of single heads), limits.c (probes). */
#ifndef TUTTI_CHIP_CPU_CPU_H
#define TUTTI_CHIP_CPU_CPU_H

#include <stdatomic.h>
#include "base/pool.h"
#include "chip/chip.h"
#include "kern/attn.h"
#include "kern/kern.h"
#include "kern/rope.h"

/* One work item of attention: a tile of query rows of one kv head of one batch part. */
struct attend_item {
    int part;         /* batch part */
    int row;          /* row of the part's first token in the batch */
    int tok, n_tok;   /* tokens of the part */
    int head_kv;
    int head, n_head; /* query heads; n_tok * n_head <= ATTN_ROWS */
};

struct cpu_worker {
    char *scratch;      /* local buffers of the program */
    struct attn_q *q;
    void *attn_scratch; /* attn_rows_scratch() */
    float *rot;         /* [ATTN_ROWS][head_dim + kv_extra] rotated vectors */
};

struct cpu {
    struct chip chip;
    struct pool *pool;
    const struct kern *kern;
    const struct kern *refused; /* a better set that failed the self-test, or NULL */
    struct chip_options opt;
    struct mat *mats;   /* [program->n_weights] */
    char *weights;      /* mapping that holds the packed weights */
    size_t weights_bytes;
    size_t read_at;     /* where cpu_read goes on */
    struct hot *hot;    /* experts that may be on disk (hot.h), or NULL: all are in memory */
    char *block;        /* the program's shared buffers */
    struct act *codes;  /* [n_buffers], valid for BUFFER_CODES */
    struct cpu_worker *workers;
    struct rope rope[MODEL_ROPES];
    struct arena arena;

    /* the batch in flight */
    const struct batch *batch;
    int n_rows;                   /* of the section that runs: tokens, or selected rows in the head */
    int first_step, end_step;
    const int *select;            /* head pass: rows of the body */
    int first_out;                /* its first row's place in batch->out */
    void *ud;                     /* of batch->spread */
    _Atomic int next_row;         /* next row to be taken by a worker */
    int32_t *row_token, *row_pos; /* [max_rows] */
    int *place;                   /* [max_rows * n_expert_used] rows of buffers with slots: of (row, slot) */
    int *expert_at, *expert_n;    /* [n_expert] first row and number of rows of each expert */
    _Atomic int32_t *status;      /* [max_rows] 0 or ERR_RANGE */
    struct attend_item *items;    /* attention of this batch, the same for all layers */
    int n_items;
    int slice;                    /* chunks per slice when few items are spread over chunks; 0 = whole items */
    int n_slices;
    char *parts;                  /* [n_items][n_slices * slice chunks][ATTN_ROWS] partial results of the slices */
    size_t parts_bytes;
};

int cpu_load_weights(struct cpu *c, const struct chip_options *opt, struct err *e);

int cpu_limits(struct chip *chip, size_t bytes, struct chip_limits *out, struct err *e);
size_t cpu_read(struct chip *chip, size_t bytes);

void cpu_attend_plan(struct cpu *c);
size_t cpu_attend_items_max(const struct program *p);
void cpu_attend(struct cpu *c, const struct step *s, int worker);
void cpu_store(struct cpu *c, const struct step *s, int worker);

void cpu_heads(struct cpu *c, const struct step *s, int worker);
/* Part by part of a vector. */
int cpu_quant_heads(struct cpu *c, const struct row_op *r, int row, int worker);
void cpu_take(struct cpu *c, const struct row_op *r, int row, int worker);

void cpu_place(struct cpu *c, const struct step *s); /* one worker */
void cpu_experts(struct cpu *c, const struct step *s, int worker);
/* A row operation on buffers with slots. */
int cpu_slots(struct cpu *c, const struct row_op *r, int row, int worker);

/* A part of the panels of several matrices in a row: a worker's at loading, a piece that it took (pool_deal)
 * in a step. */
struct share {
    int begin, end; /* of what is left */
};

static inline struct share share_of(int n_panels, int worker, int workers)
{
    struct share s;
    pool_share(n_panels, worker, workers, &s.begin, &s.end);
    return s;
}

/* The panels [*p0, *p1) of the next matrix, of n; false if there are none. */
static inline bool share_next(struct share *s, int n, int *p0, int *p1)
{
    *p0 = s->begin > 0 ? s->begin : 0;
    *p1 = s->end < n ? s->end : n;
    s->begin -= n;
    s->end -= n;
    return *p0 < *p1;
}

static inline float *cpu_row(const struct cpu *c, int worker, int buffer, int row)
{
    const struct buffer *b = &c->chip.program->buffers[buffer];
    if (b->local) return (float *)(void *)(c->workers[worker].scratch + b->at);
    return (float *)(void *)(c->block + b->at) + (size_t)row * (size_t)buffer_stride(b);
}

static inline void cpu_fault(struct cpu *c, int row)
{
    atomic_store_explicit(&c->status[row], ERR_RANGE, memory_order_relaxed);
}

#endif
