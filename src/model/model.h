/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model: named tensors -> operator graph.
 *
 * A model file names an architecture; its family (one file each, family_*.c) reads the hyper-parameters, checks the
 * shape of every tensor, and writes the graph: a list of nodes in execution order over values of one row per token.
 * Nothing here knows about batches, threads or chips. Adding a family: doc/model.md.
 */
#ifndef TUTTI_MODEL_MODEL_H
#define TUTTI_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "file/gguf.h"
#include "kern/kern.h"
#include "kern/rope.h"
#include "kern/route.h"

enum {
    MODEL_LAYERS_MAX = 1024,
    MODEL_HEADS_MAX = 1024,
    MODEL_WIDTH_MAX = 1 << 20, /* of any vector: bound of the exact norm (contract section 2) */
    MODEL_VOCAB_MAX = 1 << 20,
    MODEL_CTX_MAX = 1 << 24,
    MODEL_ROPES = 2, /* tables of rotation: some families have one more for windowed layers */
};

struct hparams {
    struct str arch, name;
    int n_vocab, n_embd, n_layer, n_head, n_head_kv, head_dim, n_ff, n_ctx_train;
    int n_expert, n_expert_used; /* 0: none */
    int kv_extra; /* dimensions of keys beyond head_dim, of latent attention (latent.h); 0: none */
    float norm_eps;
    float attn_scale; /* of scores: fl(1 / sqrt(head_dim)) or the model's */
    struct rope_config rope[MODEL_ROPES]; /* freq_factors live in the model's arena */
    int n_rope;
    int ctx_short; /* > 0: longrope: a context of more positions rotates by factors[1], else by factors[0] (model_use_context) */
    const float *factors[2];
    bool rope_halves; /* pairs (i, i + dim/2) instead of (2i, 2i + 1) */
};

/* Operators. `in` and `out` are value numbers. */
enum op {
    OP_EMBED,  /* out = row of table w for each token id */
    OP_NORM,   /* out = RMSNorm(in0) * w; n_head > 0: each head alone, w one head long */
    OP_MATMUL, /* out = w in0 (+ bias) */
    OP_ROPE,   /* out = in0 rotated by the token's position, in place */
    OP_ATTEND, /* stores keys in1 and values in2 of the layer, out = attention of queries in0; w: sinks, or NULL.
                  Latent, if in3 is there: in1 is keys and values, in2 and in3 the extra dimensions of keys and queries */
    OP_GATE,  /* out = activation(in0) * in1 */
    OP_ADD,   /* out = in0 + in1, in place of in0 */
    OP_SCALE, /* out = in0 * scale, in place */
    OP_CAP,   /* out = cap * tanh(in0 / cap), in place */
    OP_ROUTE, /* out = experts and their weights by route of the scores in0; w: bias, or NULL */
    OP_EXPERTS, /* out = in0 times the matrix of each expert of the route in1, a slot each; in0 has slots or one vector */
    OP_MIX,    /* out = sum of the slots of in0 by the weights of the route in1 */
    OP_DIM,    /* out = in0 * sigmoid(in1), in1 one number, in place */
    OP_TAKE,   /* out = of each of the n_head parts of in0 the numbers from `from` on, as many as out has */
    OP_HEADS,  /* out = of each of the n_head parts of in0 the product with its matrix of ws */
    OP_SELECT, /* keeps the rows whose logits are wanted, in place; everything after sees only those */
};
extern const char *const op_name[];

struct node {
    enum op op;
    int in[4], out;             /* values, -1 = none */
    int layer;                  /* -1 outside the layers */
    int n_head;                 /* OP_ROPE, OP_NORM, OP_TAKE, OP_HEADS */
    int from;                   /* OP_TAKE */
    bool turned;                /* OP_HEADS: the matrices are the transposed ones of ws */
    int rope;                   /* OP_ROPE: which of hparams.rope */
    enum gate_kind gate;        /* OP_GATE */
    float scale;                /* OP_SCALE */
    float cap;                  /* OP_CAP; OP_ATTEND: of scores, 0 = none */
    int window;                 /* OP_ATTEND: positions that a query sees, its own included; 0 = all */
    int warm; /* OP_ATTEND: after so many positions scores grow by log(position) / log(warm); 0 = never */
    const struct tensor *w;     /* weight matrix [out][in], table, or norm gain */
    const struct tensor *bias;  /* or NULL */
    const struct route *route;  /* OP_ROUTE, OP_EXPERTS */
    const struct tensor *const *ws, *const *biases; /* OP_EXPERTS, OP_HEADS: of each expert or head; biases or NULL */
};

struct value {
    const char *name; /* "ffn_gate" */
    int width;        /* floats per token */
    int slots;        /* > 0: so many vectors per token, one for each of its experts */
};

struct graph {
    struct node *nodes;
    struct value *values;
    int n_nodes, n_values;
    int cap_nodes, cap_values;
    int logits; /* value that holds them */
};

struct model {
    struct hparams h;
    struct graph graph;
    const struct gguf *file; /* borrowed: outlives the model */
    struct arena arena;
};

/* Reads hyper-parameters, checks tensors, builds the graph. An unknown architecture is refused by name. */
int model_open(struct model **m, const struct gguf *g, struct err *e);
void model_close(struct model *m); /* accepts NULL */
/* The context that the model is opened for. Files with factors of rotation for short and for long contexts
 * (longrope) take those of this context for all positions, so that keys and queries agree and nothing depends
 * on how tokens come; or those that the caller names. */
enum rotation { ROTATION_OF_CONTEXT, ROTATION_SHORT, ROTATION_LONG };
void model_use_context(struct model *m, int n_ctx, enum rotation r);
enum rotation model_rotation(const struct model *m); /* in use; ROTATION_OF_CONTEXT: the file has but one */

/* --- for family files --- */
struct family {
    const char *arch;                                 /* general.architecture */
    const char *models;                               /* "Llama 2 and 3, SmolLM2", for people */
    int (*build)(struct model *m, struct err *e);     /* fills h and graph; the arena is ready */
    const char *arch_too;                             /* a second name, or NULL */
};
const struct family *const *model_families(int *n); /* every src/model/family_*.c, by name */

/* Looks a tensor up by printf name and checks its shape; n1 = 0 for a vector. NULL and an error if it is absent or
 * has another shape; optional: NULL without an error if absent. */
const struct tensor *model_tensor(struct model *m, bool optional, int64_t n0, int64_t n1, struct err *e,
                                  const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Rows row0 .. row0 + n - 1 of a matrix, and such elements of a vector, as a tensor of its own. NULL: out of memory. */
const struct tensor *model_rows(struct model *m, const struct tensor *t, uint64_t row0, uint64_t n);
/* t[i] of three dimensions or two */
const struct tensor *model_layer(struct model *m, const struct tensor *t, uint64_t i);
const struct tensor *model_part(struct model *m, const struct tensor *t, uint64_t from, uint64_t n);
int graph_value(struct model *m, const char *name, int width);
struct node *graph_node(struct model *m, enum op op, int in0, int in1, int in2, int out);
/* F32, F16 or BF16 vector as floats in the model's arena. */
const float *model_floats(struct model *m, const struct tensor *t, struct err *e);

#endif
