/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fit: constants within bounds that make a loss small: the simplex method of Nelder and Mead (Computer
 * Journal 7, 1965) with the dimension-dependent coefficients of Gao and Han (2012), over x = lo + (hi - lo) /
 * (1 + exp(-u)). No derivatives, no chance: the same input gives the same constants.
 */
#ifndef TUTTI_PLAN_OP_FIT_H
#define TUTTI_PLAN_OP_FIT_H

enum { FIT_MAX = 20 };

typedef double fit_loss(void *ud, const double *x);

/* x[n]: start, strictly between lo and hi; replaced by the best found within `evals` calls. Returns its loss. */
double fit(double *x, const double *lo, const double *hi, int n, int evals, fit_loss *loss, void *ud);

#endif
