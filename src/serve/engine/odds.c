/* SPDX-License-Identifier: Apache-2.0 */
/* See odds.h. */
#include "serve/engine/odds.h"

static const double PRIOR_RIGHT = 1.2, PRIOR_TRIED = 2; /* an unknown text: 0.6, as sure as two guesses make it */
static const double FADE = 0.9;                         /* of what was known, by a step with guesses */
static const double FORGET = 0.98;                      /* and by one without */

int odds_length(const struct odds *o, double worth, int max)
{
    double q = (o->right + PRIOR_RIGHT) / (o->tried + PRIOR_TRIED), p = q;
    int k = 0;
    for (; k < max && p * worth > 1; p *= q) k++;
    return k;
}

void odds_note(struct odds *o, int guessed, int right)
{
    double keep = guessed ? FADE : FORGET;
    o->right = keep * o->right + right;
    o->tried = keep * o->tried + right + (right < guessed);
}
