/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate: from a prompt's ids to an answer's text, for one sequence. A state machine, so that one loop can drive one
 * sequence (generate_run) and a server many in the same steps:
 *
 *   generate_begin    keeps the part of the cache that the new prompt shares with what the sequence holds
 *   and until g->end is set
 *     generate_part   what to feed next: a piece of the prompt, or the last token
 *     (chip_step)     the caller runs it, alone or with others
 *     generate_step   counts, or samples, detokenises, looks for a stop
 *   generate_finish   hands out text that was held back
 *
 * A server draws for many sequences at once, so for it generate_step comes in two halves: generate_fed counts what was
 * fed, and generate_take takes the token that was drawn; text that may leave is in g->show then.
 *
 * Because the arithmetic gives the same bits however a text is cut, an answer depends on the prompt, the parameters and
 * the seed only: not on what was cached, on the size of the pieces, or on who shares the steps.
 * After generate_open nothing is allocated per token.
 */
#ifndef TUTTI_SERVE_ENGINE_GENERATE_H
#define TUTTI_SERVE_ENGINE_GENERATE_H

#include <stdatomic.h>
#include "serve/engine/engine.h"
#include "serve/engine/spec.h"
#include "serve/engine/text.h"
#include "token/grammar/grammar.h"
#include "token/sampler.h"
#include "token/stop.h"

enum generate_end {
    GENERATE_GOES_ON,
    GENERATE_END_TOKEN,  /* the model ended its answer */
    GENERATE_STOP,       /* a stop string */
    GENERATE_MAX_TOKENS, /* params.max_tokens */
    GENERATE_CONTEXT,    /* the context is full */
    GENERATE_CANCELLED,  /* by *params.cancel, or the sink refused the text */
    GENERATE_FAILED,     /* an error; generate_begin or generate_step returned it */
};
extern const char *const generate_end_name[];

struct generate_params {
    struct sampler_params sample;
    const struct str *stop; /* [n_stop], copied */
    int n_stop;
    int max_tokens;         /* of the answer; 0: until the context is full */
    bool ignore_end;        /* go on after the end token */
    bool show_special;      /* control tokens appear in the text */
    /* [n_marks] control tokens that appear in it nonetheless; no stop string is looked for in them */
    const int32_t *marks;
    int n_marks;
    const atomic_int *cancel; /* looked at between steps, or NULL */
    /* New text of the answer, whole code points; never called with nothing. Not 0: end the answer. */
    int (*text)(void *ud, struct str text);
    /* each token, while the chip holds row 0 of its logits (generate_step only), or NULL */
    void (*drawn)(void *ud, int32_t id);
    void *ud;
    /* of generate_step and generate_run: rules the tokens, fresh for this answer; or NULL */
    struct grammar_state *grammar;
};

struct generate {
    struct engine *engine;   /* borrowed */
    const struct text *text; /* borrowed */
    struct kv_seq seq;
    struct sampler *sampler; /* NULL after generate_init */
    int32_t *ids;            /* [n_ctx] prompt, then answer */
    int n_ids, n_kv;         /* n_kv of them are in the cache */
    int n_ctx;
    struct generate_params p;
    struct detok detok;
    struct stop stop;
    struct buf piece, show;
    enum generate_end end;
    struct spec *spec;       /* guesses for generate_run, borrowed; NULL: none */

    /* counts and times of the current answer */
    int n_prompt, n_cached, n_answer; /* tokens; n_cached of the prompt were in the cache */
    double prompt_s, answer_s;        /* seconds up to the first token, and from it to the last one */
    double begin_s, first_s;          /* when, by the monotonic clock */
};

/* n_ctx: tokens of prompt and answer together; 0: the engine's. */
int generate_open(struct generate *g, struct engine *en, const struct text *t, int n_ctx, struct err *e);
/* The same without a sampler: tokens come by generate_take. */
int generate_init(struct generate *g, struct engine *en, const struct text *t, int n_ctx, struct err *e);
void generate_close(struct generate *g); /* accepts a zeroed struct */

/* ERR_LIMIT if the prompt leaves no room for an answer, ERR_USAGE for bad parameters. */
int generate_begin(struct generate *g, const int32_t *prompt, int n, const struct generate_params *p, struct err *e);
/* The next at most max_tokens tokens; pages for them are reserved. *wants_logits: this part needs its last
 * row's logits. */
int generate_part(struct generate *g, int max_tokens, struct batch_part *part, bool *wants_logits, struct err *e);
/* After the step that ran the part; logits of its last row if they were wanted, else NULL. status as in logits_fn. */
int generate_step(struct generate *g, const struct batch_part *part, const float *logits, int status, struct err *e);
void generate_finish(struct generate *g);

/* The halves of generate_step, and of generate_finish: text that may leave is put into g->show, which the
 * caller empties. */
int generate_fed(struct generate *g, const struct batch_part *part, int status, struct err *e);
int generate_take(struct generate *g, int32_t id, struct err *e);
void generate_release(struct generate *g);

/* Begin to finish; with g->spec in steps of several tokens where guesses can be made (serve/engine/spec.h).
 * The reason of the end is g->end; an error is returned for GENERATE_FAILED only. */
int generate_run(struct generate *g, const int32_t *prompt, int n, const struct generate_params *p, struct err *e);

#endif
