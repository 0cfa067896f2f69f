/* SPDX-License-Identifier: Apache-2.0 */
/*
 * validate: predictions against measurements. Errors of a group are told of its held-out rows, twice: with
 * the constants that the datasheet alone implies, and with fitted ones (of this chip, or carried over from
 * another).
 */
#ifndef TUTTI_PLAN_OP_VALIDATE_H
#define TUTTI_PLAN_OP_VALIDATE_H

#include "plan/op/constants.h"
#include "plan/op/measured.h"

struct validate_errors { /* of |prediction / measured - 1| over rows */
    size_t n;
    double median, mean, p90, bias; /* mean is the MAPE; bias is the mean of prediction / measured - 1 */
    double below_floor;             /* least measured / floor: below 1 the measurement, or the floor, is wrong */
};

/* c: the formula's constants. rows: those held out, or all, where the constants were fitted on none of them;
 * and of these all, or only those of the operator's bar. ERR_MEMORY. */
enum validate_rows { VALIDATE_HELD = 0, VALIDATE_ALL = 1, VALIDATE_COUNTED = 2 };
int validate_group(struct validate_errors *out, const struct measured_group *m, const struct gpu *g,
                   const double *c, int rows, struct err *e);

/* Of predicted / measured; ratio[n] is used up. */
void validate_sum(struct validate_errors *out, double *ratio, size_t n);

/* The operator's constants as the datasheet implies them. */
void validate_neutral(const struct op_model *op, double *c);

enum { VALIDATE_FIT_ROWS = 800, VALIDATE_FIT_EVALS = 1600, VALIDATE_FIT_LEAST = 40, VALIDATE_WEIGHT = 3 };
static const double VALIDATE_PRIOR = 0.02;

/* Fits c[] on at most VALIDATE_FIT_ROWS rows that are not held out: the mean of |log(prediction / measured)|,
 * cut at 0.5; rows of the operator's bar count VALIDATE_WEIGHT times. A constant away from its start costs a
 * little (VALIDATE_PRIOR of its range squared): one that these rows do not tell stays there, and does no harm
 * on shapes of others. ERR_USAGE if there are fewer than VALIDATE_FIT_LEAST. */
int validate_fit(double *c, const struct measured_group *m, const struct gpu *g, struct err *e);

/*
 * Cross-validation: other rows are held out and the rest is fitted anew, to show what the constants say of
 * models they never saw. SHAPES: one in five of the shapes without their sizes (all rows of a matrix, of a
 * set of heads, of a set of experts), by hash; LARGE: the fifth with the largest sizes, so that the fit
 * extrapolates. Errors of the rows held out; out->n 0: too few rows to fit, or to test. The group is as
 * before.
 */
enum validate_hold { VALIDATE_SHAPES, VALIDATE_LARGE, VALIDATE_HOLDS };
extern const char *const validate_hold_name[VALIDATE_HOLDS];
int validate_cross(struct validate_errors *out, struct measured_group *m, const struct gpu *g,
                   enum validate_hold hold, struct err *e);

#endif
