/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How tokens are drawn, as users say it: options of the command line, and NAME VALUE in a chat. What is not given comes
 * from the model file (keys general.sampling.*), else from sampler_params_default; only the temperature of a model with
 * fewer than SAMPLING_SMALL weights is 0 then, since such a model seldom has a good second choice (asked for the
 * capital of France, a 135M model names it greedily; at 0.8, 5 of 8 seeds mention it).
 */
#ifndef TUTTI_CMD_SAMPLING_H
#define TUTTI_CMD_SAMPLING_H

#include "args.h"
#include "base/buf.h"
#include "file/gguf.h"
#include "token/sampler.h"

#define SAMPLING_SMALL 1000000000u

struct sampling {
    struct sampler_params given; /* fields hold values that mean "not given" (sampling_init) */
    bool greedy;
    struct arg_strs stop;
    int max_tokens; /* 0: until the context is full */
};

/* clang-format off */
#define SAMPLING_ARGS(s)                                                                                     \
    {"max-tokens", 'n', ARG_INT, &(s).max_tokens, "N", "end the answer after N tokens (default: when the context is full)", 1, 1 << 24}, \
    {"temperature", 0, ARG_FLOAT, &(s).given.temperature, "X", "0 takes the likeliest token, more is more varied (default: 0.8; a model under a billion weights: 0)", 0, 100}, \
    {"greedy", 0, ARG_FLAG, &(s).greedy, NULL, "the same as --temperature 0", 0, 0},                         \
    {"seed", 0, ARG_U64, &(s).given.seed, "N", "the same seed draws the same answer (default: a random one; -v shows it)", 0, 0}, \
    {"top-k", 0, ARG_INT, &(s).given.top_k, "N", "draw among the N likeliest tokens; 0: all (default: 40)", 0, 1 << 20}, \
    {"top-p", 0, ARG_FLOAT, &(s).given.top_p, "X", "draw among the likeliest that have X of the probability; 1: all (default: 0.95)", 0, 1}, \
    {"min-p", 0, ARG_FLOAT, &(s).given.min_p, "X", "drop tokens X times less likely than the likeliest; 0: none (default: 0.05)", 0, 1}, \
    {"repetition-penalty", 0, ARG_FLOAT, &(s).given.repetition_penalty, "X", "divide logits of tokens seen before; 1: off (default)", 0.01, 100}, \
    {"frequency-penalty", 0, ARG_FLOAT, &(s).given.frequency_penalty, "X", "subtract X for each time a token was seen (default: 0)", -100, 100}, \
    {"presence-penalty", 0, ARG_FLOAT, &(s).given.presence_penalty, "X", "subtract X from tokens seen before (default: 0)", -100, 100}, \
    {"penalty-last", 0, ARG_INT, &(s).given.penalty_last, "N", "penalties look at the last N tokens; -1: all (default: 64)", -1, 1 << 24}, \
    {"stop", 0, ARG_STRS, &(s).stop, "TEXT", "end the answer before TEXT; may be repeated", 0, 0}
/* clang-format on */

/* Before args_parse: nothing is given; the seed is a random one of 32 bits. */
void sampling_init(struct sampling *s);
/* After it: given values over those of the file (may be NULL) over the defaults, checked. */
int sampling_resolve(const struct sampling *s, const struct gguf *file, struct sampler_params *p, struct err *e);

/* Sets one parameter by its name ("top_k" or "top-k"); *p is unchanged after an error, which lists the names. */
int sampling_set(struct sampler_params *p, const char *name, const char *value, struct err *e);
void sampling_print(const struct sampler_params *p, struct buf *out); /* a line for each */

#endif
