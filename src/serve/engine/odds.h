/* SPDX-License-Identifier: Apache-2.0 */
/*
 * odds: how many tokens to guess for one of several answers that share a step (spec.h has the guesses
 * themselves). A guess costs a row of the step, whoever waits for it; a right one saves its answer's share of
 * a later step. With q, the share of right guesses of late, the k-th guess of a step is right with q^k; it is
 * worth making while
 *
 *   q^k * worth > 1          worth: an answer's share of a step, in rows of guesses (pace_worth)
 *
 * In a large batch a share of a step is hardly more than a row, so nobody guesses. q forgets: without new
 * guesses it comes back to what is believed of an unknown text, and is tried again.
 */
#ifndef TUTTI_SERVE_ENGINE_ODDS_H
#define TUTTI_SERVE_ENGINE_ODDS_H

struct odds {
    double right, tried; /* fading counts; zeroed at the beginning */
};

/* At most max. */
int odds_length(const struct odds *o, double worth, int max);
/* After each step: what was guessed (perhaps nothing), and how many of these were right before the first wrong one. */
void odds_note(struct odds *o, int guessed, int right);

#endif
