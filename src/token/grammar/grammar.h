/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grammar: which tokens may come next, so that an answer has the form that was asked for.
 *
 *   JSON Schema ─┐
 *   regex        ├─► struct grammar ──────────┐
 *   GBNF, choice ┘   (shared by requests)     ├─► struct grammar_state ──► a bit per token id
 *   tokenizer ──────► struct grammar_vocab ───┘   (one answer)
 *
 * Every form becomes the same thing: rules whose bodies are automata over bytes and which may call one
 * another. A token is allowed when its bytes can be read and the text can still be ended; the end tokens are
 * allowed exactly when the text may end. doc/grammar.md says which keywords and which syntax are known; what
 * is not known is an error.
 *
 * Threads: compile and create states anywhere. A grammar learns while it is used (automaton states, masks),
 * so the other calls for all states of one grammar belong to one thread at a time. A vocabulary is read-only.
 */
#ifndef TUTTI_TOKEN_GRAMMAR_GRAMMAR_H
#define TUTTI_TOKEN_GRAMMAR_GRAMMAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"
#include "token/tokenizer/tokenizer.h"

enum {
    GRAMMAR_TEXT_MAX = 1 << 20,   /* bytes of a pattern, a grammar or all choices */
    GRAMMAR_NODES_MAX = 1 << 20,  /* nodes of the automata of all rules */
    GRAMMAR_RULES_MAX = 1 << 16,
    GRAMMAR_FRAMES_MAX = 1 << 18, /* automaton states that use has found */
    GRAMMAR_HEADS_MAX = 1 << 10,  /* readings of one text at once (an ambiguous grammar) */
    GRAMMAR_DEPTH_MAX = 1 << 9,   /* calls that wait for one another: nesting of the text */
    GRAMMAR_STACK_MAX = 1 << 20,  /* different call stacks of one answer */
    GRAMMAR_REPEAT_MAX = 1 << 14, /* a bound of a repetition in a regex or GBNF */
    GRAMMAR_MASK_BYTES_MAX = 64 << 20, /* masks that a grammar keeps */
};

struct grammar;
struct grammar_vocab;
struct grammar_state;

/* Each returns a grammar with one reference. ERR_FORMAT: not of that syntax; ERR_UNSUPPORTED: names the place and what
 * is not known; ERR_USAGE: nothing satisfies it; ERR_LIMIT: too large. */
int grammar_compile_json_schema(struct grammar **g, const json_t *schema, struct err *e);
int grammar_compile_json_object(struct grammar **g, struct err *e); /* any JSON object */
int grammar_compile_regex(struct grammar **g, struct str pattern, struct err *e); /* matches the whole text */
int grammar_compile_gbnf(struct grammar **g, struct str text, struct err *e);     /* rule "root" */
int grammar_compile_choice(struct grammar **g, const struct str *choice, int n, struct err *e);
struct grammar *grammar_ref(struct grammar *g); /* any thread */
void grammar_unref(struct grammar *g);          /* accepts NULL; any thread */

/* The pieces of a tokenizer as a tree of bytes; control and unused tokens are no part of any text. n_logits:
 * rows of the model's output, which may be more than the tokenizer has; masks cover both. */
int grammar_vocab_create(struct grammar_vocab **v, const struct tokenizer *t, int n_logits, struct err *e);
void grammar_vocab_destroy(struct grammar_vocab *v); /* accepts NULL */

/*
 * One answer from its first token on. The state keeps a reference to the grammar, and the vocabulary must outlive it; a
 * grammar works with one vocabulary in its life. max_tokens > 0: when so many tokens are nearly used up, only such are
 * allowed as bring the text nearer to its end, so that it is whole when the limit is met, if that is possible at all.
 */
int grammar_state_create(struct grammar_state **s, struct grammar *g, const struct grammar_vocab *v,
                         int max_tokens, struct err *e);
void grammar_state_destroy(struct grammar_state *s); /* accepts NULL */
/* A bit per id, valid until the next call. No bit is set when a limit was met: grammar_state_error says which. */
const uint32_t *grammar_state_allowed(struct grammar_state *s);
/* ERR_USAGE for a token that is not allowed. After an end token nothing may follow. */
int grammar_state_accept(struct grammar_state *s, int32_t id, struct err *e);
bool grammar_state_may_end(const struct grammar_state *s); /* after the first call of one of the two above */
const struct err *grammar_state_error(const struct grammar_state *s);

/* Without tokens: 1 the whole text fits, 0 it could go on to fit, -1 it cannot; a negative enum err_code below -1 is
 * never returned for faults of the text, only e->code says that a limit was met. */
int grammar_match(struct grammar *g, struct str text, struct err *e);

#endif
