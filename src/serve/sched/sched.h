/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched: one model's engine shared by many requests. One thread owns the engine, the pages and every sequence; each of
 * its steps carries a token of every answer that is being written and, in what is left of the step's token budget,
 * pieces of waiting prompts. Other threads submit and cancel; what happens comes back as events, called on the
 * scheduler's thread: an event handler copies and returns, it never waits (it may call sched_cancel and sched_submit).
 *
 * Because the arithmetic gives the same bits however a text is cut and whoever shares a step, an answer depends on
 * prompt, parameters and seed only. doc/sched.md has the whole story.
 */
#ifndef TUTTI_SERVE_SCHED_SCHED_H
#define TUTTI_SERVE_SCHED_SCHED_H

#include <stdbool.h>
#include <stdint.h>
#include "serve/engine/engine.h"
#include "serve/engine/generate.h"
#include "serve/engine/text.h"

struct sched;

enum sched_cache { SCHED_CACHE_ALL, SCHED_CACHE_OWNER, SCHED_CACHE_OFF };

enum sched_guess { SCHED_GUESS_OFF, SCHED_GUESS_LOOKUP, SCHED_GUESS_DRAFT };

struct sched_options {
    int max_running;        /* sequences in a step; 0: SCHED_RUNNING, or the most that fit a step */
    int max_queue;          /* answers that may wait; beyond: ERR_BUSY; 0: SCHED_QUEUE */
    int step_tokens;        /* budget of a step; 0: the engine's batch */
    double pace;            /* how many times as long a step with prompts may take; 0: PACE_RATIO */
    enum sched_cache cache; /* prompts' pages are shared by all, by requests of one owner, or not kept */
    enum sched_guess guess; /* steps of several tokens where guesses can be made and pay; answers are the same */
    /* SCHED_GUESS_DRAFT: of the smaller model, with room for SCHED_DRAFTS contexts; the scheduler's
     * alone */
    struct engine *draft;
    bool guess_always;      /* also where it does not pay: tests */
};
enum {
    SCHED_RUNNING = 256,
    SCHED_QUEUE = 1024,
    SCHED_CHOICES_MAX = 128,
    SCHED_DRAFTS = 4 /* answers that a smaller model guesses for at a time */
};

enum sched_event_kind { SCHED_TOKEN, SCHED_VECTOR, SCHED_END };

struct sched_event {
    enum sched_event_kind kind;
    int choice;                      /* index within the request, 0 .. n - 1 */
    /* SCHED_TOKEN: one token was drawn, the end token, too. text may be empty while a code point or a stop
     * string is incomplete */
    int32_t id;
    struct str text;                 /* whole code points, valid during the call */
    float logp;                      /* of id; valid if asked */
    const uint8_t *state;            /* [ENGINE_STATE_BYTES] what it was drawn from, if asked */
    const struct sampler_logprob *top; /* [n_top] most likely first; n_top 0 if not asked */
    int n_top;
    /* SCHED_VECTOR: of a request with embed */
    const float *vector;             /* [n_vector], unit length, valid during the call */
    int n_vector;
    /* SCHED_END: text holds what was held back; nothing follows for this choice */
    enum generate_end end;
    struct str stop;                 /* the stop string that was met, p NULL if none */
    const struct err *err;           /* GENERATE_FAILED: why */
    int n_prompt, n_cached, n_answer;
    double queue_s, prompt_s, answer_s; /* waiting, prompt until first token, first until last token */
};

/* A grammar that rules which tokens may come next; owned by the request, used on the scheduler's thread only. */
struct sched_mask_ops {
    /* a bit per id, valid until the next call with this mask; NULL: all are allowed */
    const uint32_t *(*allowed)(void *mask);
    int (*accept)(void *mask, int32_t id, struct err *e); /* the token that was drawn, the end token, too */
    void (*free)(void *mask);
    /* Why nothing is allowed, code 0 if it does not know; or NULL */
    const struct err *(*error)(void *mask);
};

struct sched_request {
    const int32_t *prompt;           /* [n_prompt], copied */
    int n_prompt;
    int n;                           /* answers to this prompt, each its own choice number; 0: 1 */
    /* stop strings and sample.bias are copied; text, ud, cancel are not used: see event */
    struct generate_params params;
    bool embed;                      /* no answer: the vector of the prompt (engine.pooling) */
    bool state;                      /* events of tokens carry their state, for receipts */
    int n_top;                       /* -1: no logprobs; else log p of the token and of the n_top most likely */
    int priority;                    /* higher first; 0 usual */
    uint64_t owner; /* key id: requests of one owner share its turn (and its cache: SCHED_CACHE_OWNER) */
    const struct sched_mask_ops *mask_ops; /* NULL: no grammar */
    void **mask;                     /* [n], taken over if submit succeeds */
    void (*event)(void *ud, const struct sched_event *ev);
    void *ud;
};

/* Steps are counted by the tokens that they carry: up to 1, 8, 16, 32 ... 16384, and more. */
enum { SCHED_STEP_BUCKETS = 13 };
int sched_step_bound(int bucket);

struct sched_stats {
    int running, waiting;
    int pages_used, pages_idle, pages_all; /* idle: kept for later requests only */
    uint64_t steps, preemptions;
    uint64_t step_tokens, steps_by_tokens[SCHED_STEP_BUCKETS + 1]; /* tokens of all steps; steps of each bucket */
    uint64_t prompt_tokens, cached_tokens; /* of prompts: all, and those that were not computed */
    uint64_t answer_tokens;
    /* times that an answer's next tokens were guessed; tokens that were, and right */
    uint64_t guessing, guesses, guesses_right;
    uint64_t prefix_queries, prefix_hits;  /* prompts looked up, and found at least in part */
};

/* The engine and the text are borrowed until sched_destroy; the engine is the scheduler's alone until sched_stop. */
int sched_start(struct sched **s, struct engine *en, const struct text *t, const struct sched_options *o,
                struct err *e);
/* ERR_BUSY when the queue is full; ERR_LIMIT, ERR_USAGE for what generate_begin refuses. *ticket names the request to
 * sched_cancel. After success every choice gets exactly one SCHED_END. Any thread. */
int sched_submit(struct sched *s, const struct sched_request *r, uint64_t *ticket, struct err *e);
/* The work of this request stops within one step; its choices end as GENERATE_CANCELLED. Unknown tickets are
 * ignored. Any thread. */
void sched_cancel(struct sched *s, uint64_t ticket);
void sched_stats(struct sched *s, struct sched_stats *out); /* any thread */
/* Takes nothing new, waits until all is answered or deadline_s passed (then cancels), and stops the thread.
 * Others may still call: sched_submit says ERR_BUSY, sched_cancel finds nothing. One thread; accepts NULL. */
void sched_stop(struct sched *s, double deadline_s);
void sched_destroy(struct sched *s); /* stops what runs; after all calls; accepts NULL */

#endif
