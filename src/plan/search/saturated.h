/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saturated: published results of whole systems under more load than they can take (published.csv, batch "saturated"), beside what the
 * simulation of a replica says: all requests there at once, output tokens over the time until the last. No constant is fitted on
 * these rows. Also the regret of choosing a chip by prediction.
 */
#ifndef TUTTI_PLAN_SEARCH_SATURATED_H
#define TUTTI_PLAN_SEARCH_SATURATED_H

#include "plan/class/published.h"

enum { SATURATED_MAX = 1024, SATURATED_REQUESTS = 3000, SATURATED_RUNNING = 2048, SATURATED_STEP = 8192 };

struct saturated_row {
    char chip[PUBLISHED_TEXT], model[PUBLISHED_TEXT], precision[PUBLISHED_TEXT];
    int n_chips, input, output;
    double measured;           /* output tokens/s */
    double predicted;          /* software hidden behind the chip's work */
    double step;               /* with what op_step adds: software in turn with it */
    char why[200];             /* not compared: the reason; else "" */
};

struct saturated {
    struct saturated_row *rows; /* [n] */
    int n;
};

int saturated_read(struct saturated *s, const char *dir, const struct constants *known, struct err *e);
void saturated_close(struct saturated *s); /* accepts a zeroed struct */

/*
 * Of rows of one model, precision and lengths: 1 - measured(the chip whose prediction per chip is best) / measured(the best chip), the
 * mean and the worst over all such sweeps of two chips and more. Returns how many sweeps there are.
 */
int saturated_regret(const struct saturated *s, double *mean, double *worst);

#endif
