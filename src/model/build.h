/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build: what the family files share to read a model file's keys and to write its graph.
 *
 * Keys are named without their prefix: "block_count" is ARCH.block_count of the file's own architecture. A builder
 * remembers the first error; after it every call does nothing, so that a family checks once, at the end.
 */
#ifndef TUTTI_MODEL_BUILD_H
#define TUTTI_MODEL_BUILD_H

#include "model/model.h"

/* Integers are 1..max; an absent optional key gives the fallback. */
int key_u32(struct model *m, const char *key, int max, int *out, struct err *e);
int key_opt_u32(struct model *m, const char *key, int fallback, int max, int *out, struct err *e);
int key_opt_count(struct model *m, const char *key, int max, int *out, struct err *e); /* 0..max; absent: 0 */
int key_opt_f32(struct model *m, const char *key, float fallback, float *out, struct err *e);
int key_opt_bool(struct model *m, const char *key, bool fallback, bool *out, struct err *e);
bool key_present(struct model *m, const char *key);

/* attention.sliding_window: positions that a query sees, its own included; 0: all. */
int key_window(struct model *m, int *out, struct err *e);
/* A soft cap: 0 if absent or 0, else at least 2^-20. */
int key_cap(struct model *m, const char *key, float *out, struct err *e);

/* The keys that all families have, and the rotation of rope[0]. */
int hparams_read(struct model *m, struct err *e);

/* The same for latent attention (latent.h): heads are of the latent's rank, one for keys and values. */
struct latent {
    int q_rank;         /* queries come from a vector of this size; 0: from x */
    int rank;           /* of keys and values; 0: the attention is not latent */
    int nope, v;        /* of a plain head: dimensions that do not rotate, and of its values */
};
int hparams_read_latent(struct model *m, struct latent *l, struct err *e);

struct builder {
    struct model *m;
    struct err *e;
    int layer; /* -1 outside the layers: tensor names have no "blk.N." */
    int rc;
};

/* A tensor by name ("attn_q.weight") and shape; n1 = 0 for a vector. */
const struct tensor *build_tensor(struct builder *b, bool optional, int64_t n0, int64_t n1, const char *what);
bool build_present(struct builder *b, const char *what);
int build_value(struct builder *b, const char *name, int width);
/* Adds a node and returns it for its options, NULL after an error. */
struct node *build_node(struct builder *b, enum op op, int in0, int in1, int in2, int out);

/* out = RMSNorm(x) * NAME.weight; n_head > 0: of each head alone, one gain for all. */
int build_norm(struct builder *b, int x, const char *name, int n_head);
/* out = NAME.weight x + NAME.bias, or times NAME.scale, where the file has them. */
int build_linear(struct builder *b, int x, const char *name, const char *out_name, int n_out);
/* The same with n_out rows from row0 on of a matrix of n_all rows: several matrices stored as one. */
int build_linear_rows(struct builder *b, int x, const char *name, const char *out_name, int row0, int n_out, int n_all);
/* The matrices of all experts: NAME_exps.weight [k][n][experts] and, where the file has it, NAME_exps.bias;
 * or, of older files, NAME.0.weight, NAME.1.weight ... x has one vector per token or slots already; the
 * result has slots. */
int build_experts(struct builder *b, int x, int route, const struct route *r, const char *name,
                  const char *out_name, int n_out);
/* Of each of n_head parts of x the n numbers from `from` on. */
int build_take(struct builder *b, int x, int n_head, int from, int n, const char *out_name);
/* Each head's part of x times the head's own matrix: NAME [k][n_out][heads]. */
int build_heads(struct builder *b, int x, const char *name, const char *out_name, int n_out);
/* The same with rows of one matrix [k][heads * per_head]: n rows from `from` on of each head; turned: their
 * transposed. */
struct head_rows {
    int k, per_head, from, n;
};
int build_heads_rows(struct builder *b, int x, const char *name, const char *out_name,
                     const struct head_rows *r, bool turned);
void build_rope(struct builder *b, int x, int n_head, int rope);
void build_add(struct builder *b, int x, int y); /* x += y */
void build_scale(struct builder *b, int x, float scale); /* x *= scale; nothing if scale is 1 */

#endif
