/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decoder: the graph of a decoder-only transformer, with everything in which the families differ as an option. Zero is
 * what the llama family does; a family file sets what its own members do otherwise.
 *
 * Per layer, x being the residual stream:
 *
 *   a = norm x; q, k, v of a; norm of q and k; rotation; attention; output; norm; x += it * residual_scale
 *   f = norm x; activation(gate f) * up f; down;                      norm; x += it * residual_scale
 *
 * Found in the file and not said here: biases; q, k, v stored as one matrix (attn_qkv), gate and up as one (ffn_up); an
 * output matrix of its own.
 */
#ifndef TUTTI_MODEL_DECODER_H
#define TUTTI_MODEL_DECODER_H

#include "model/latent.h"

enum qk_norm {
    QK_PLAIN,
    QK_NORM_HEAD,  /* each head of q and k is normed alone, one gain for all heads */
    QK_NORM_WHOLE, /* q and k are normed as they are */
};

struct decoder {
    bool no_input_norm;           /* the attention and the ffn see x itself */
    const char *post_attn_norm;   /* norm of the attention's output before it is added, or NULL */
    const char *post_ffn_norm;    /* the same for the ffn */
    enum qk_norm qk_norm;
    enum gate_kind gate;          /* activation of the ffn */
    int window;                   /* positions that a query sees; 0: all */
    int window_period;            /* n: layers n-1, 2n-1 ... see all; 0: none does */
    int warm;                     /* after so many positions scores grow with the position (node.warm); 0: never */
    bool window_rope;             /* layers with a window rotate by rope[1] */
    float attn_cap, logit_cap;    /* scores and logits s become cap * tanh(s / cap); 0: they do not */
    const char *ffn_norm;         /* name of the norm before the ffn; NULL: ffn_norm */
    bool attn_sinks;              /* attn_sinks.weight: one per query head */
    struct route route;           /* n_expert > 0: the ffn is a choice of experts */
    int n_ff_expert, n_ff_shared; /* widths of an expert and of the one that all tokens share, 0: none */
    float router_cap;             /* scores of experts become cap * tanh(s / cap); 0: they do not */
    float beside_scale;           /* a common ffn beside the experts, where the file has one: their sum times this */
    int n_dense_layers;           /* so many layers at the beginning have a common ffn */
    int no_rope_period;           /* n: layers n-1, 2n-1 ... are not rotated; 0: all are */
    struct latent latent;         /* rank > 0: latent attention */
    float embed_scale, residual_scale, logit_scale; /* factors; 0 counts as 1 */
};

/* expert_count, expert_used_count, expert_feed_forward_length (absent: the ffn's); no experts if the file has
 * no count. */
int decoder_read_experts(struct model *m, struct decoder *d, struct err *e);

/* These and what DeepSeek and its like have beside them: common ffns at the beginning, shared experts, the
 * kind of scores (absent: kind), factors of weights. */
int decoder_read_mixed(struct model *m, struct decoder *d, enum route_kind kind, struct err *e);

/* After hparams_read. Fills the graph. */
int decoder_build(struct model *m, const struct decoder *d, struct err *e);

#endif
