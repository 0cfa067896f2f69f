/* SPDX-License-Identifier: Apache-2.0 */
/* quantile: medians and their like of plain numbers. */
#ifndef TUTTI_BASE_QUANTILE_H
#define TUTTI_BASE_QUANTILE_H

#include <stddef.h>

void quantile_sort(double *x, size_t n); /* ascending */
/* Of sorted numbers: x[n share], share 0.5 the (upper) median; the last for 1. n at least 1. */
double quantile_at(const double *x, size_t n, double share);

#endif
