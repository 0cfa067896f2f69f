/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's inside, shared by its files:
 *
 *   sched.c         what other threads call: submit, cancel, stop; requests and their memory; the thread's
 *                   loop
 *   sched/queue.c   who may run: priorities, owners' turns, pages, and who must go when pages run out
 *   sched/step.c    one step: who feeds how much, the batch, drawing, events
 *   sched/follow.c  prompts that begin alike: one reads, the others follow
 *   sched/guess.c   guesses of what comes next
 *
 * A request is n sequences (struct answer). An answer waits, runs, perhaps waits again because its pages were
 * taken, and ends. `lock` guards what its comment names; all else belongs to the thread.
 */
#ifndef TUTTI_SERVE_SCHED_SCHED_INT_H
#define TUTTI_SERVE_SCHED_SCHED_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/pace.h"
#include "serve/engine/odds.h"
#include "serve/sched/prefix.h"
#include "serve/sched/sched.h"

struct request;

/* Who asked. Its turn comes when it had the fewest tokens of those that wait. */
struct owner {
    uint64_t id;
    uint64_t tokens; /* computed for it while it had requests here */
    int n_live;      /* answers; 0: the place is free */
};

enum answer_state { ANSWER_WAITS, ANSWER_RUNS, ANSWER_ENDED };

struct answer {
    struct request *r;
    int choice;
    enum answer_state state;
    struct generate g;
    void *mask;
    uint64_t order;       /* of submission: the smaller, the older */
    struct answer *next;  /* in the inbox or the waiting list */
    struct prefix_node *at; /* its last page in the prefix cache */
    int n_kept;           /* pages that are in the prefix cache; -1: none can follow */
    bool again;           /* it lost its pages before */
    double submit_s, admit_s; /* admit_s 0: never ran */
    struct err err;       /* why it failed */

    /* the step in flight */
    struct answer *leader; /* who reads its next page; itself, if it follows nobody */
    int place;            /* of a prompt in `prompts` */
    int n_feed;           /* tokens */
    int n_guess;          /* and guesses behind them, which stand behind g.ids */
    bool wants;           /* its last row's logits and those of its guesses, or its vector */
    struct batch_part part;
    const uint32_t *allowed;
    struct row *row;      /* [1 + n_guess] */
    struct odds odds;     /* of its guesses */
    int embedded;         /* 0, or why there is no vector */
};

/* A row of logits that a step wants. */
struct row {
    struct answer *a;
    int i;                /* behind the i-th guess; 0: behind what the answer has */
    int id;               /* that was drawn, or an error code */
    float logp;
    uint8_t state[ENGINE_STATE_BYTES];
    struct sampler_logprob *top; /* [SAMPLER_TOP_MAX] */
};

struct request {
    struct request *next, *prev; /* all that live; lock */
    uint64_t ticket;
    atomic_bool cancelled;
    int n, n_live;
    bool embed, state;
    int n_top, priority;
    uint64_t owner_id;
    struct owner *owner;         /* of the thread, from when it sees the request */
    const struct sched_mask_ops *mask_ops;
    void (*event)(void *ud, const struct sched_event *ev);
    void *ud;
    struct sampler_bias *bias;
    float *vector;               /* [n_embd] of embed */
    struct mean mean;            /* its sums, if that is how the engine pools */
    struct answer answers[];     /* [n] */
};

struct sched {
    struct engine *engine;
    const struct text *text;
    struct sched_options opt; /* no zeros */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;      /* of the thread: something came */
    pthread_cond_t gone;      /* of sched_stop: a request ended */
    struct answer *inbox, **inbox_end; /* lock; submitted, not yet seen by the thread */
    struct request *live;     /* lock */
    uint64_t last_ticket;     /* lock */
    int n_waiting;            /* lock; in the inbox or the waiting list */
    bool stopping, quit;      /* lock */
    struct sched_stats stats; /* lock */

    struct answer *waiting;   /* any order */
    struct answer **running;  /* [max_running] by rank: higher priority first, then older first */
    int n_running;
    struct owner *owners;     /* [n_owners]; more than these share the last place */
    int n_owners;
    uint64_t last_order;
    struct prefix *prefix;    /* NULL: off */
    struct sampler **sampler; /* [n_samplers] one per worker */
    int n_samplers;
    struct pace pace;
    struct sched_stats count; /* the thread's own, copied to stats */

    struct batch batch;       /* of the step in flight */
    struct batch_part *parts; /* [max_running] */
    struct answer **part_of;  /* [max_running] whose part it is */
    struct pace_prompt *prompts; /* [max_running] and whose they are */
    struct answer **prompt_of;
    int *out;                 /* [step_tokens] rows of a batch */
    struct row *rows;         /* [step_tokens] what each of them is for */
    struct sampler_logprob *tops; /* [step_tokens][SAMPLER_TOP_MAX] */
    int *hidden;              /* [step_tokens] rows of a batch, and whose they are */
    struct answer **hidden_of;
    struct {
        struct spec *spec;
        const struct answer *user; /* NULL: none */
    } drafts[SCHED_DRAFTS];
    bool drafted;             /* in this step: its time tells nothing if no guess came of it */
};

static inline uint64_t sched_salt(const struct sched *s, const struct answer *a)
{
    return s->opt.cache == SCHED_CACHE_OWNER ? a->r->owner_id : 0;
}

/* It wants rows that the cache does not hold. */
static inline bool sched_needs_all(const struct sched *s, const struct answer *a)
{
    return a->r->embed && s->engine->pooling != POOLING_LAST;
}

double sched_now(void);

/* Moves what may run from the waiting list to `running`. */
void sched_admit(struct sched *s);
/* Pages for what each running answer is to feed; the youngest lose theirs where there are too few. */
void sched_reserve(struct sched *s);
void sched_wait(struct sched *s, struct answer *a);  /* into the waiting list */
void sched_owner_join(struct sched *s, struct request *r);

void sched_step(struct sched *s);

/* Sets the leader of all that run, after they took over what is there. */
void sched_follow(struct sched *s);

int sched_open_guesses(struct sched *s, struct err *e);
void sched_close_guesses(struct sched *s);
/* Sets n_guess of the answers of a step that carries no prompt, after their pages were reserved. */
void sched_guess(struct sched *s);
void sched_note_guesses(struct sched *s, struct answer *a, int right); /* after its part */
void sched_drop_guesses(struct sched *s, const struct answer *a);      /* it runs no more */

/* Its last event; frees what it holds, and the request with its last answer. Not in a list afterwards. */
void sched_end(struct sched *s, struct answer *a);
void sched_free_request(struct request *r);

#endif
