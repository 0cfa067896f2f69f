/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program: operator graph -> static list of steps, compiled once per model.
 *
 *   lower    one step per node, quantisation made explicit      (lower.c)
 *   fuse     neighbours that work row by row become one step;
 *            products of one vector become one step             (fuse.c)
 *   plan     lifetimes of buffers -> offsets in one block       (plan.c)
 *   verify   re-checks the result without trusting the above    (verify.c, trace.c)
 *   print    what `tutti explain` shows                         (print.c)
 *   cost     bytes and operations of a step, for rooflines      (cost.c)
 *
 * A step is one of seven kinds, by how it is divided among workers:
 *
 *   ROWS     by token rows: a short list of row operations, applied to one row after the other
 *   MATMUL   by panels of 16 outputs: one quantised vector times up to MATS matrices
 *   STORE    by (sequence, kv head, page): keys and values into the cache, in order of positions
 *   ATTEND   by (sequence, kv head, tile of query rows)
 *   PLACE    not divided: after the routes of all rows, where each row stands among those of its experts
 *   EXPERTS  by panels of the experts that were chosen
 *   HEADS    by panels of all heads: each head's part of a vector times its own matrix
 *
 * At run time a step is sized only by the number of rows (tokens) in the batch, up to max_rows, and by positions. The
 * body runs once per batch; the head (from n_body on) runs for up to max_out rows whose logits are wanted.
 */
#ifndef TUTTI_PROGRAM_PROGRAM_H
#define TUTTI_PROGRAM_PROGRAM_H

#include <stdio.h>
#include "base/buf.h"
#include "kern/attn.h"
#include "kern/act.h"
#include "kern/mat.h"
#include "model/model.h"

enum { PROGRAM_MATS = 4, PROGRAM_ROW_OPS = 12 };

enum step_kind { STEP_ROWS, STEP_MATMUL, STEP_STORE, STEP_ATTEND, STEP_PLACE, STEP_EXPERTS, STEP_HEADS };

enum row_op_kind {
    ROW_TURN,   /* dst = cos, sin of the token's position */
    ROW_EMBED,  /* dst = row of table w for the token id */
    ROW_SELECT, /* dst = row of src that was selected */
    ROW_NORM,   /* dst = RMSNorm(src) * gain */
    ROW_QUANT,  /* dst (codes) = src (floats) */
    ROW_ROPE,   /* dst rotated in place by src = ROW_TURN's output */
    ROW_GATE,   /* dst = activation(src) * src2 */
    ROW_ADD,    /* dst += src */
    ROW_SCALE,  /* dst *= scale */
    ROW_CAP,    /* dst = cap * tanh(dst / cap) */
    ROW_ROUTE,  /* dst = experts and weights by the scores src; w: bias, a vector, or -1 */
    ROW_MIX,    /* dst = sum of the slots of src by the weights of the route src2 */
    ROW_DIM,    /* dst *= sigmoid(src[0]) */
    ROW_TAKE,   /* dst = of each of n_head parts of src the numbers from `from` on */
    ROW_LAST = ROW_TAKE
};
extern const char *const row_op_name[];

struct row_op {
    enum row_op_kind kind;
    int dst, src, src2; /* buffers, -1 = none */
    int w;              /* weight (ROW_EMBED) or vector (ROW_NORM), -1 = none */
    int n_head;         /* ROW_ROPE, ROW_TAKE, ROW_NORM (0: the whole vector) */
    int from;           /* ROW_TAKE */
    int rope;           /* ROW_TURN, ROW_ROPE: which of the model's rotations */
    float scale;        /* ROW_SCALE: the factor; ROW_CAP: the cap */
    enum gate_kind gate; /* ROW_GATE */
    const struct route *route; /* ROW_ROUTE */
};

struct step_mat {
    int w;    /* weight */
    int bias; /* vector or -1 */
    int src;  /* buffer of codes */
    int dst;  /* buffer of floats */
};

struct step {
    enum step_kind kind;
    int layer; /* -1 outside the layers */
    int n;     /* row operations or matrices in use */
    int n_expert; /* EXPERTS, HEADS: mat[i].w and bias are those of expert or head 0; the others follow */
    union {
        struct row_op row[PROGRAM_ROW_OPS];
        struct step_mat mat[PROGRAM_MATS];
        struct {
            /* buffers; STORE uses k and v, ATTEND q and out; of latent attention v is the keys' extra part */
            int q, k, v, out;
            int q_extra;      /* ATTEND: that of the queries, -1 = none */
            int window;       /* ATTEND: as the node says */
            int warm;
            float cap;
            int sinks;        /* vector, -1 = none */
        } attn;
        struct {
            int route; /* buffer */
            int n_expert, n_used;
        } place;
    };
};

enum buffer_kind { BUFFER_FLOAT, BUFFER_CODES };

struct buffer {
    const char *name;
    enum buffer_kind kind;
    enum act_tier tier; /* of codes */
    int width;          /* floats or codes per row */
    int slots, n_expert; /* slots > 0: a row for each of the slots of a token, as PLACE says */
    int heads;          /* > 0: codes of so many parts of a vector: part i of row r is row i * buffer_head_rows + r */
    bool head;          /* rows are selected rows: max_out instead of max_rows */
    bool local;         /* lives inside one ROWS step: one row per worker */
    int first, last;    /* steps that use it */
    size_t bytes, at;   /* size and offset; local buffers: of one row in the worker's scratch */
};

struct weight { /* a matrix that the chip packs at load */
    const struct tensor *t;
    int n, k;
    bool turned; /* its matrix is the transposed one of t, as W16 */
    enum mat_role role;
};

struct vector { /* a norm gain or a bias */
    const struct tensor *t;
    const float *x; /* [t->ne[0]], padded to whole panels */
};

struct program {
    const struct model *model; /* borrowed */
    int max_rows, max_out;
    struct step *steps;
    int n_steps, n_body;
    struct buffer *buffers;
    int n_buffers;
    struct weight *weights;
    int n_weights;
    struct vector *vectors;
    int n_vectors;
    int turn[MODEL_ROPES], logits; /* buffers; -1 = none */
    int hidden;            /* buffer of the final norm's output; complete before the head's first MATMUL */
    size_t block_bytes;    /* all shared buffers */
    size_t scratch_bytes;  /* local buffers, per worker */
    struct arena arena;
    int cap_steps, cap_buffers, cap_weights, cap_vectors;
};

struct program_options {
    int max_rows; /* tokens per batch step, 1..PROGRAM_ROWS_MAX */
    int max_out;  /* rows of logits per head pass */
};
enum { PROGRAM_ROWS_MAX = 4096 };

int program_compile(struct program **p, const struct model *m, const struct program_options *opt, struct err *e);
void program_close(struct program *p); /* accepts NULL */
void program_print(const struct program *p, struct buf *out);

/* passes, in order */
int program_lower(struct program *p, struct err *e);
int program_fuse(struct program *p, struct err *e);
int program_plan(struct program *p, struct err *e);
int program_verify(const struct program *p, struct err *e);
int program_trace(const struct program *p, struct err *e); /* part of verify */

/* What a step cannot do with less of (cost.c). */
struct step_cost {
    double bytes, ops;
};
struct kv_cost {
    enum kv_type type;
    double positions; /* of all sequences of the batch: keys and values that are read */
    double pairs;     /* of a token and a position that it sees */
};
struct step_cost step_cost(const struct program *p, const struct step *s, int rows, const struct kv_cost *kv);

/* Bytes of the packed weights, and of those that belong to experts (*experts). */
int program_weights(const struct program *p, uint64_t *all, uint64_t *experts, struct err *e);

/* Calls fn(ud, buffer, is_write) for every buffer that a step touches. */
void step_uses(const struct program *p, const struct step *s, void (*fn)(void *ud, int buffer, bool write), void *ud);

static inline enum dtype weight_type(const struct weight *w)
{
    return w->turned ? DTYPE_F32 : w->t->type;
}

/* Rows of one head's part: whole tiles. */
static inline int buffer_head_rows(const struct program *p)
{
    return (p->max_rows + ACT_TILE - 1) / ACT_TILE * ACT_TILE;
}

/* Rows in memory. With slots: those of an expert start at a whole tile. */
static inline int buffer_rows(const struct program *p, const struct buffer *b)
{
    int rows = b->local ? 1 : b->head ? p->max_out : p->max_rows, all = rows * b->slots;
    if (b->heads) return b->heads * buffer_head_rows(p);
    if (!b->slots) return rows;
    return all + (ACT_TILE - 1) * (b->n_expert < all ? b->n_expert : all);
}

static inline int buffer_stride(const struct buffer *b) /* floats per row: whole panels */
{
    return (b->width + PANEL - 1) / PANEL * PANEL;
}

#endif
