/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace: how many tokens of prompts a step may carry beside the answers that are being written, and whose. A
 * step with prompts takes longer, and everybody whose answer is being written waits for it. By what steps
 * took so far:
 *
 *   alone[n]   seconds of a step of n answers and no prompt, per power of two of n, a running mean
 *   row        seconds that a token of a prompt adds, a running mean
 *   usual      how many times alone[n] a step took of late
 *
 * A piece makes the step at most PACE_RATIO times as long as one without prompts. When more prompts come than
 * such pieces can carry, they wait longer and longer, and few answers share the steps; so a piece is at least
 * what reads all prompts that are there in PACE_STEPS steps, as long as the step is at most PACE_RATIO times
 * as long as is usual by then. As the sum of what waits changes slowly, so do the steps: under a steady load
 * they are about equal.
 *
 * Half of a piece goes to the shortest prompts, so that short questions are not behind long texts; the other
 * half goes to the oldest, so that no long text waits for ever.
 *
 * Guesses (odds.h) are timed here, too: guess[n], seconds that a guessed token adds to a step of n answers.
 *
 * A server may be told another ratio: long prompts are read sooner with a larger one, and answers pause for
 * longer. tutti plan says where that saves chips.
 *
 * When all steps carry prompts, one in PACE_LOOK goes without, to keep alone[n] fresh. Time decides only how
 * texts are cut, which the arithmetic does not see: answers are the same.
 */
#ifndef TUTTI_BASE_PACE_H
#define TUTTI_BASE_PACE_H

#include <stdint.h>

enum { PACE_SIZES = 16, PACE_LOOK = 128, PACE_PIECE_MIN = 16, PACE_PIECE_FIRST = 64, PACE_STEPS = 40 };
#define PACE_RATIO 2.5

struct pace {
    double alone_s[PACE_SIZES]; /* 0: unknown */
    double row_s;
    double guess_s[PACE_SIZES]; /* 0: unknown */
    int since[PACE_SIZES];      /* steps since alone_s was measured */
    double usual;               /* 0 counts as 1 */
    double ratio;               /* 0: PACE_RATIO */
};

/* A prompt, or what is left of it. */
struct pace_prompt {
    int left, priority; /* tokens; the higher goes first */
    double since;       /* when it came, in any unit */
    int take;           /* what it gets of a piece */
};

/* Tokens of prompts for a step with n_answers tokens of answers while n_left tokens of prompts are to be
 * read; at most max. */
int pace_piece(struct pace *p, int n_answers, int64_t n_left, int max);
/* Divides a piece among prompts. */
void pace_share(struct pace_prompt *prompt, int n, int piece);
/* What a right guess saves in a step of n answers and no prompt, in guesses that could be made in its time;
 * 0: not known yet, or it is time for a step without. */
double pace_worth(const struct pace *p, int n_answers);
/* What a step took: one with n_prompt tokens of prompts, and one with guesses. */
void pace_note(struct pace *p, int n_answers, int n_prompt, double seconds);
void pace_note_guesses(struct pace *p, int n_answers, int n_guess, double seconds);

#endif
