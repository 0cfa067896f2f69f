/* SPDX-License-Identifier: Apache-2.0 */
/* See quantile.h. */
#include "base/quantile.h"

#include <stdlib.h>

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void quantile_sort(double *x, size_t n)
{
    qsort(x, n, sizeof *x, order);
}

double quantile_at(const double *x, size_t n, double share)
{
    size_t i = (size_t)((double)n * share);
    return x[i < n ? i : n - 1];
}
