/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saturated: published results of whole systems under more load than they can take (published.csv, batch
 * "saturated"), beside what the simulation of a replica says: all requests there at once, output tokens over
 * the time until the last. No constant is fitted on these rows. Also the regret of choosing a chip by
 * prediction.
 */
#ifndef TUTTI_PLAN_SEARCH_SATURATED_H
#define TUTTI_PLAN_SEARCH_SATURATED_H

#include <stdio.h>
#include "plan/class/published.h"
#include "plan/op/figures.h"
#include "plan/op/validate.h"

enum { SATURATED_MAX = 1024, SATURATED_REQUESTS = 3000, SATURATED_RUNNING = 2048, SATURATED_STEP = 8192 };

struct saturated_row {
    char chip[PUBLISHED_TEXT], model[PUBLISHED_TEXT], precision[PUBLISHED_TEXT];
    char sheet[FIGURES_NAME_MAX]; /* the chip's datasheet: "h100" */
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
 * Of rows of one model, precision and lengths: 1 - measured(the chip whose prediction per chip is best) /
 * measured(the best chip), the mean and the worst over all such sweeps of two chips and more. Returns how
 * many sweeps there are.
 */
int saturated_regret(const struct saturated *s, double *mean, double *worst);

/* Errors of the rows of one datasheet's chip, or of all (NULL), software hidden or in turn. ERR_MEMORY. */
int saturated_errors(struct validate_errors *out, const struct saturated *s, const char *sheet, bool in_turn,
                     struct err *e);

/* A line for all rows, then one for each chip: what trust.h reads (data/fit/systems.csv). */
int saturated_write(const struct saturated *s, FILE *f, struct err *e);

#endif
