/* SPDX-License-Identifier: Apache-2.0 */
/*
 * published: published results of whole models (published.csv) beside predictions: one static batch whose size, lengths
 * and chip count are stated. Rows that state less cannot be compared, and are listed with the reason.
 */
#ifndef TUTTI_PLAN_CLASS_PUBLISHED_H
#define TUTTI_PLAN_CLASS_PUBLISHED_H

#include "plan/op/constants.h"

enum { PUBLISHED_TEXT = 96 };

struct published_row {
    char chip[PUBLISHED_TEXT], model[PUBLISHED_TEXT], precision[PUBLISHED_TEXT], metric[PUBLISHED_TEXT],
        unit[PUBLISHED_TEXT];
    char batch_text[PUBLISHED_TEXT];
    int n_chips, batch, input, output; /* 0: not stated */
    double value;
    double predicted;      /* by the datasheet and fitted constants */
    double datasheet;      /* by the datasheet alone; NAN: it lacks what this takes */
    char why[200];         /* not compared: the reason; else "" */
};

/* Calls row() for every row of DIR/published.csv, predicted where it can be. ERR_NOT_FOUND if there is no such file. */
int published_read(const char *dir, const struct constants *known,
                   void (*row)(void *ud, const struct published_row *r), void *ud, struct err *e);

/*
 * Fits what a step adds (op_step) on the comparable rows of one chip; set->chip and framework are the
 * caller's. *n: rows. ERR_USAGE if there are fewer than PUBLISHED_FIT_LEAST.
 */
enum { PUBLISHED_FIT_LEAST = 6, PUBLISHED_FIT_MAX = 256 };
int published_fit(struct constants_set *set, const char *dir, const struct constants *known, int *n, struct err *e);

#endif
