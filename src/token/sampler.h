/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sampler: logits -> token, by integers (contract section 3.12).
 *
 *   z       logits plus bias, then after penalties; an excluded token has no part in anything
 *   T = 0   the first in the order (z descending, id ascending)
 *   w[i]    = rne(exp((z[i] - max z) / T) * 2^40), an integer, so prefix sums have no order
 *   keep    top-k, then min-p, then top-p, in that order
 *   draw    u = (R * W) >> 64, W = sum of kept w, R = 64 bits of Philox4x32-10; kept ids ascending, the first whose
 *           running sum exceeds u
 *
 * R is keyed by (seed; position of the token, choice, purpose), never by how many tokens were drawn before, so the
 * same request and seed give the same text wherever and however it runs. Penalties come first: repetition, then
 * frequency and presence, each over the last tokens of the context.
 */
#ifndef TUTTI_TOKEN_SAMPLER_H
#define TUTTI_TOKEN_SAMPLER_H

#include <stdint.h>
#include "base/err.h"
#include "kern/kern.h"

struct sampler_bias {
    int32_t id;
    float bias; /* added to the logit, before penalties */
};

struct sampler_params {
    float temperature;        /* 0: greedy */
    int top_k;                /* 0: all */
    float top_p;              /* 1: all */
    float min_p;              /* 0: all */
    float repetition_penalty; /* 1: none */
    float frequency_penalty;  /* 0: none */
    float presence_penalty;   /* 0: none */
    int penalty_last;         /* tokens that count for penalties; -1: all */
    uint64_t seed;
    uint32_t choice;          /* index of the answer within its request */
    const struct sampler_bias *bias; /* [n_bias], ids different */
    int n_bias;
};

enum { SAMPLER_VOCAB_MAX = 1 << 20, SAMPLER_TOP_MAX = 128 /* logprobs per token */ };
#define SAMPLER_BIAS_MAX 1000.0f /* magnitude */

void sampler_params_default(struct sampler_params *p); /* 0.8, top-k 40, top-p 0.95, min-p 0.05, no penalties, seed 0 */
/* Ranges of every field; the message names field, value and range. Bias for an id outside the vocabulary has
 * no effect. */
int sampler_params_check(const struct sampler_params *p, struct err *e);

struct sampler; /* work memory for one vocabulary; one thread at a time */
int sampler_create(struct sampler **s, int n_vocab, const struct kern *kern, struct err *e);
void sampler_destroy(struct sampler *s); /* accepts NULL */

/*
 * Draws the token for position pos. context: the tokens before it, for penalties. allowed: a bit per id, or NULL for
 * all (a grammar's mask). Returns the id, or ERR_RANGE (a logit is not finite) or ERR_USAGE (nothing is allowed).
 */
int sampler_draw(struct sampler *s, const struct sampler_params *p, const float *logits,
                 const int32_t *context, int n_context, int64_t pos, const uint32_t *allowed);

struct sampler_logprob {
    int32_t id;
    float logp;
};

/* What the model itself said: ln p over all tokens, without bias, penalties or temperature. Of token id, and of the n
 * most likely ones in the order (z descending, id ascending). Logits are finite. */
float sampler_logprob(struct sampler *s, const float *logits, int32_t id, struct sampler_logprob *top, int n);

#endif
