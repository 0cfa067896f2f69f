/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace: how many tokens of prompts a step may carry beside the answers that are being written. A step with prompts takes
 * longer, and everybody whose answer is being written waits for it. So a piece is as long as makes the step at most
 * PACE_RATIO times as long as one without prompts, by what steps took so far:
 *
 *   alone[n]   seconds of a step of n answers and no prompt, per power of two of n, a running mean
 *   row        seconds that a token of a prompt adds, a running mean
 *
 * When nearly all steps carry prompts, a step with prompts is what everybody is used to, and small pieces would only leave
 * few answers to share the next steps. So while more than PACE_BUSY of the recent steps carried prompts, pieces stretch, a
 * little each step, and shrink again afterwards.
 *
 * Guesses (odds.h) are timed here, too: guess[n], seconds that a guessed token adds to a step of n answers.
 *
 * When all steps carry prompts, one in PACE_LOOK goes without, to keep alone[n] fresh. Time decides only how texts are
 * cut, which the arithmetic does not see: answers are the same.
 */
#ifndef TUTTI_BASE_PACE_H
#define TUTTI_BASE_PACE_H

enum { PACE_SIZES = 16, PACE_LOOK = 128, PACE_PIECE_MIN = 16, PACE_PIECE_FIRST = 64 };
#define PACE_RATIO 2.5
#define PACE_BUSY 0.75
#define PACE_STRETCH_MAX 16
#define PACE_AGE_TOKENS 500 /* among prompts: a second of waiting counts as so many tokens done */

struct pace {
    double alone_s[PACE_SIZES]; /* 0: unknown */
    double row_s;
    double guess_s[PACE_SIZES]; /* 0: unknown */
    int since[PACE_SIZES];      /* steps since alone_s was measured */
    double busy;                /* share of recent steps that carried prompts */
    double stretch;             /* of pieces; 0 counts as 1 */
};

/* Tokens of prompts for a step with n_answers tokens of answers; at most max. */
int pace_piece(struct pace *p, int n_answers, int max);
/* What a right guess saves in a step of n answers and no prompt, in guesses that could be made in its time; 0: not known yet, or
 * it is time for a step without. */
double pace_worth(const struct pace *p, int n_answers);
/* What a step took: one with n_prompt tokens of prompts, and one with guesses. */
void pace_note(struct pace *p, int n_answers, int n_prompt, double seconds);
void pace_note_guesses(struct pace *p, int n_answers, int n_guess, double seconds);

#endif
