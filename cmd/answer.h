/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `tutti run` and its chat share: one conversation with one model, answers that appear on standard output as they
 * are made, and signals. Ctrl-C (SIGINT) stops an answer; SIGTERM and SIGHUP end the program in an orderly way.
 */
#ifndef TUTTI_CMD_ANSWER_H
#define TUTTI_CMD_ANSWER_H

#include "common.h"
#include "form.h"
#include "sampling.h"
#include "show.h"
#include "serve/engine/generate.h"
#include "serve/receipt/witness.h"

struct talk {
    const struct args_doc *doc;
    struct opened o;
    struct generate g;
    struct sampler_params sample;
    struct str stop[ARG_LIST_MAX];
    int n_stop, max_tokens;
    struct form form; /* that answers must have */
    bool plain;       /* completion without a chat template */
    bool show_special, ignore_end;
    bool verbose;
    const char *speculate; /* --spec as given, or NULL */
    struct opened draft;   /* model of --spec draft=MODEL */
    json_t *messages; /* [{role, content}], from the user's first */
    json_t *system;   /* message, or NULL */
    bool own_system;  /* the user set or removed it */
    struct show show; /* of answers; holds the last one */
    struct witness *witness; /* of the next answer, or NULL */
};

/* Ready for text after common_open filled t->o. */
#define SPEC_ARG(t)                                                                                          \
    {"spec", 0, ARG_STR, &(t).speculate, "HOW", "guess tokens ahead: lookup (in the text so far), draft=MODEL (a smaller one), off (default); the answer is the same", 0, 0}
int talk_open(struct talk *t, const struct common *c, struct err *e);
void talk_close(struct talk *t); /* accepts a zeroed struct */

/*
 * The system message opens the conversation. Until one is set it is TALK_SYSTEM, unless the template refuses it; "" is
 * none, which leaves it to the template.
 */
#define TALK_SYSTEM "You are a helpful assistant."
int talk_set_system(struct talk *t, const char *text, struct err *e);
const char *talk_system(const struct talk *t); /* "" = none */
/* The conversation as one array, the system message first: json_decref it. NULL: out of memory. */
json_t *talk_messages(const struct talk *t);
/* Drops all messages; the system message stays. */
void talk_clear(struct talk *t);

/*
 * Answers text: through the chat template as the next message of the conversation, or as a plain completion. After an
 * error the conversation is as it was before. t->g.end says why the answer ended.
 */
int talk_answer(struct talk *t, struct str text, struct err *e);
void talk_report(const struct talk *t); /* what -v shows, on standard error */

/* --- signals --- */
extern atomic_int answer_cancel;  /* an answer under way shall stop */
extern atomic_int answer_signal;  /* SIGTERM or SIGHUP that arrived, or 0 */
/* Installs the handlers. once: a second SIGINT ends the program at once. */
void answer_signals(bool once);
int answer_wake_fd(void);     /* readable after a signal, until answer_wake_drain */
void answer_wake_drain(void);

#endif
