/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shape: a model without weights, as its config.json states it: enough to count bytes, operations and times.
 * Known names come with the program (data/shapes.json, in the same form).
 */
#ifndef TUTTI_PLAN_CLASS_SHAPE_H
#define TUTTI_PLAN_CLASS_SHAPE_H

#include <stdbool.h>
#include "base/err.h"

struct shape {
    char name[64];
    double layers, hidden, inter, heads, kv_heads, head_dim, vocab;
    double experts, topk; /* 0: dense */
    double dense_layers, dense_inter; /* of a model with experts: the first layers have none, and this inner width */
    double shared;        /* inner width of what all tokens take beside the experts */
    /* latent attention: what a token leaves in the cache, and what of it turns with the place; 0: none */
    double latent, rope;
    double q_rank, key_dim, value_dim; /* of it: rank of queries (0: whole), sizes of a head's key and value */
    bool tied;            /* the output head is the embedding */
};

/* A known name, or the path of a config.json. Errors name the key, what was expected and what was found. */
int shape_open(struct shape *s, const char *name, struct err *e);

double shape_attention_weights(const struct shape *s); /* elements, of one layer */
double shape_expert_weights(const struct shape *s);    /* of all experts of all layers */
double shape_weights(const struct shape *s);       /* of the whole model; a tied head once */
double shape_kv(const struct shape *s);            /* elements that one token adds to the cache */

#endif
