/* SPDX-License-Identifier: Apache-2.0 */
/* See pace.h. */
#include "base/pace.h"

#include <stdbool.h>
#include <stddef.h>

static const double WEIGHT = 0.2;    /* of a new measurement */
static const double USUAL_STEPS = 64; /* that say what is usual */
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

int pace_piece(struct pace *p, int n_answers, int64_t n_left, int max)
{
    if (n_answers == 0) return max;
    int i = size_of(n_answers);
    if (++p->since[i] > PACE_LOOK) return 0;
    double alone = p->alone_s[i], row = p->row_s;
    int n = PACE_PIECE_FIRST;
    if (alone == 0) {
        /* seldom so many: one look at once, after a step that may have been a slow start */
        if (p->since[i] == 2) return 0;
    } else if (row > 0) {
        double usual = p->usual > 1 ? p->usual : 1, ratio = p->ratio > 0 ? p->ratio : PACE_RATIO;
        double least = (ratio - 1) * alone / row, most = (ratio * usual - 1) * alone / row;
        double fit = (double)n_left / PACE_STEPS;
        fit = fit < least ? least : fit > most ? most : fit;
        n = fit > max ? max : (int)fit;
    }
    if (n < PACE_PIECE_MIN) n = PACE_PIECE_MIN;
    return n < max ? n : max;
}

static bool goes_first(const struct pace_prompt *a, const struct pace_prompt *b, bool by_age)
{
    if (a->priority != b->priority) return a->priority > b->priority;
    return by_age ? a->since < b->since : a->left < b->left;
}

/* Returns what is left of the piece. */
static int hand_out(struct pace_prompt *prompt, int n, int piece, bool by_age)
{
    while (piece > 0) {
        struct pace_prompt *best = NULL;
        for (struct pace_prompt *a = prompt; a < prompt + n; a++)
            if (a->take < a->left && (!best || goes_first(a, best, by_age))) best = a;
        if (!best) break;
        int more = best->left - best->take < piece ? best->left - best->take : piece;
        best->take += more;
        piece -= more;
    }
    return piece;
}

void pace_share(struct pace_prompt *prompt, int n, int piece)
{
    for (int i = 0; i < n; i++) prompt[i].take = 0;
    int rest = hand_out(prompt, n, piece / 2, false);
    hand_out(prompt, n, piece - piece / 2 + rest, true);
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
    if (n_answers && p->alone_s[i] > 0) {
        double usual = p->usual > 1 ? p->usual : 1;
        p->usual = usual + (seconds / p->alone_s[i] - usual) / USUAL_STEPS;
    }
    if (n_answers && !n_prompt) {
        mix(&p->alone_s[i], seconds);
        p->since[i] = 0;
    } else if (n_answers && p->alone_s[i] > 0) {
        double more = seconds - p->alone_s[i];
        mix(&p->row_s, more > 0 ? more / n_prompt : 1e-9);
    }
}
