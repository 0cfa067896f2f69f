/* SPDX-License-Identifier: Apache-2.0 */
/* See pace.h. */
#include "base/pace.h"

static const double WEIGHT = 0.2;    /* of a new measurement */
static const double BUSY_STEPS = 32; /* that count as recent */
static const double STRETCH = 1.05;
static const double WORTH_FIRST = 4;      /* of a guess, before one was timed */
static const double GUESS_FORGET = 0.998; /* by a step without guesses: what was dear once is tried again */

static int size_of(int n)
{
    int i = 0;
    while (n > 1 && i < PACE_SIZES - 1) n = (n + 1) / 2, i++;
    return i;
}

static void mix(double *mean, double x)
{
    *mean = *mean > 0 ? *mean + WEIGHT * (x - *mean) : x;
}

int pace_piece(struct pace *p, int n_answers, int max)
{
    if (n_answers == 0) return max;
    int i = size_of(n_answers);
    if (++p->since[i] > PACE_LOOK) return 0;
    double alone = p->alone_s[i], row = p->row_s;
    int n = PACE_PIECE_FIRST;
    if (alone == 0) {
        if (p->since[i] == 2) return 0; /* seldom so many: one look at once, after a step that may have been a slow start */
    } else if (row > 0) {
        double fit = (PACE_RATIO - 1) * alone / row * (p->stretch > 1 ? p->stretch : 1);
        n = fit > max ? max : (int)fit;
    }
    if (n < PACE_PIECE_MIN) n = PACE_PIECE_MIN;
    return n < max ? n : max;
}

double pace_worth(const struct pace *p, int n_answers)
{
    int i = size_of(n_answers);
    if (n_answers == 0 || p->alone_s[i] == 0 || p->since[i] > PACE_LOOK) return 0;
    return p->guess_s[i] > 0 ? p->alone_s[i] / n_answers / p->guess_s[i] : WORTH_FIRST;
}

void pace_note_guesses(struct pace *p, int n_answers, int n_guess, double seconds)
{
    int i = size_of(n_answers);
    double more = seconds - p->alone_s[i];
    mix(&p->guess_s[i], more > 0 ? more / n_guess : 1e-9);
}

void pace_note(struct pace *p, int n_answers, int n_prompt, double seconds)
{
    int i = size_of(n_answers);
    p->guess_s[i] *= GUESS_FORGET;
    if (n_answers) {
        p->busy += ((n_prompt > 0) - p->busy) / BUSY_STEPS;
        p->stretch = p->busy > PACE_BUSY ? p->stretch * STRETCH : p->stretch / STRETCH;
        p->stretch = p->stretch < 1 ? 1 : p->stretch > PACE_STRETCH_MAX ? PACE_STRETCH_MAX : p->stretch;
    }
    if (n_answers && !n_prompt) {
        mix(&p->alone_s[i], seconds);
        p->since[i] = 0;
    } else if (n_answers && p->alone_s[i] > 0) {
        double more = seconds - p->alone_s[i];
        mix(&p->row_s, more > 0 ? more / n_prompt : 1e-9);
    }
}
