/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec: speculation that cannot change the answer. A step of several tokens costs little more than a step of
 * one while reading the weights is the limit; so likely next tokens are guessed and fed together with the
 * last one. The model's own sampler then draws at each position as it would without guesses (same logits to
 * the bit, same key of the draw), and as long as what it draws is what was guessed, the next row's logits are
 * valid, too. Text and tokens are therefore equal with speculation on or off at any temperature; only time
 * differs.
 *
 *   lookup   guesses what followed the last tokens when they stood in the text before: quotations, code that
 *            is edited
 *   draft    a smaller model of the same vocabulary draws with the same parameters and key
 *
 *     spec_begin                        a new answer
 *     spec_propose -> tokens            before each step; none: a usual step
 *     spec_note                         after it: what was taken, and how long it took
 *
 * It watches whether that pays: the time per token of guessing steps against that of a step without guesses.
 * While it does not, it rests, longer each time. The length of guesses follows how many were right.
 */
#ifndef TUTTI_SERVE_ENGINE_SPEC_H
#define TUTTI_SERVE_ENGINE_SPEC_H

#include "serve/engine/engine.h"
#include "token/sampler.h"

enum { SPEC_MAX = 15 }; /* guesses of a step */

enum spec_kind { SPEC_LOOKUP, SPEC_DRAFT };

struct spec_counts {
    int proposed, accepted; /* guesses */
    int steps, guessing;    /* steps in all, and those with guesses */
    int rests;              /* times it was found not to pay */
    double speedup;         /* tokens per second against steps of one token of the same answer; 0: none was timed */
};

struct spec {
    enum spec_kind kind;
    bool always;            /* never rests, full length: tests */
    int32_t guess[SPEC_MAX];
    int length;             /* guesses asked for */
    int rest, rest_next;    /* steps to go without guesses, and how many the next time */
    double plain_s;         /* seconds of a step of one token, smoothed; 0: not known yet */
    double guess_s, gained; /* of the last guessing steps, fading: seconds, tokens */
    double all_s;           /* of all steps */
    int all_tokens;
    struct spec_counts counts;
    /* SPEC_DRAFT */
    struct engine *engine;
    struct kv_seq seq;
    struct sampler *sampler;
    int32_t *ids;           /* [n_ctx] what the cache holds, n_kv of them, and the guesses */
    int n_ctx, n_kv;
    int piece;              /* tokens that spec_draft reads at most, making no guesses before it has read all; 0: any */
};

int spec_open_lookup(struct spec **s, struct err *e);
/* engine: of the smaller model, borrowed; n_vocab: of the model that answers, which must be the same. */
int spec_open_draft(struct spec **s, struct engine *engine, int n_vocab, struct err *e);
void spec_close(struct spec *s); /* accepts NULL */

/* The guesses alone, at most max (SPEC_MAX), for whoever decides by other rules than spec_propose whether
 * they pay: what followed the latest earlier place of the last of ids[n], into guess; and what the smaller
 * model draws, into s->guess. */
int spec_look_up(const int32_t *ids, int n, int max, int32_t *guess);
int spec_draft(struct spec *s, const int32_t *ids, int n, int max, const struct sampler_params *p);

void spec_begin(struct spec *s);
/* Guesses for what follows ids[n], into s->guess; at most max. Returns how many; a draft model that fails
 * guesses nothing. */
int spec_propose(struct spec *s, const int32_t *ids, int n, int max, const struct sampler_params *p);
/* The step after spec_propose: `proposed` guesses were fed, of which `accepted` were right; seconds of
 * guessing and step. */
void spec_note(struct spec *s, int proposed, int accepted, double seconds);

#endif
