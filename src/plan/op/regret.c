/* SPDX-License-Identifier: Apache-2.0 */
/* See regret.h. */
#include "plan/op/regret.h"

#include <stdlib.h>
#include <string.h>
#include "base/quantile.h"

struct item {
    double key[OP_SHAPE_MAX]; /* the problem: the shape without the choice, and the product of the choice */
    double us, predicted;
};

static int order(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    for (int i = 0; i < OP_SHAPE_MAX; i++)
        if (x->key[i] < y->key[i] || x->key[i] > y->key[i]) return x->key[i] < y->key[i] ? -1 : 1;
    return 0;
}

/* One sweep of n; returns its regret, counts pairs. */
static double sweep(const struct item *x, size_t n, double *agree, double *pairs)
{
    size_t chosen = 0, best = 0;
    for (size_t i = 0; i < n; i++) {
        if (x[i].predicted < x[chosen].predicted) chosen = i;
        if (x[i].us < x[best].us) best = i;
        for (size_t j = 0; j < i; j++) {
            double way = (x[i].us - x[j].us) * (x[i].predicted - x[j].predicted);
            *agree += (way > 0) - (way < 0);
            ++*pairs;
        }
    }
    return 1 - x[best].us / x[chosen].us;
}

int regret_group(struct regret *out, const struct measured_group *m, const struct gpu *g, const double *c,
                 struct err *e)
{
    double agree = 0, pairs = 0;
    *out = (struct regret){.sweeps = 0};
    if (!m->op->split || !m->n) return 0;
    struct item *x = malloc(m->n * sizeof *x);
    double *each = malloc(m->n * sizeof *each);
    if (!x || !each) {
        free(x), free(each);
        return err(e, ERR_MEMORY, "out of memory");
    }
    int a = m->op->split[0], b = m->op->split[1];
    for (size_t i = 0; i < m->n; i++) {
        memcpy(x[i].key, m->rows[i].shape, sizeof x[i].key);
        x[i].key[a] *= x[i].key[b], x[i].key[b] = 0;
        x[i].us = m->rows[i].us;
        x[i].predicted = m->op->time_us(g, m->rows[i].shape, c);
    }
    qsort(x, m->n, sizeof *x, order);
    for (size_t i = 0, end; i < m->n; i = end) {
        for (end = i + 1; end < m->n && order(&x[i], &x[end]) == 0; end++) {}
        if (end - i > 1) out->mean += each[out->sweeps++] = sweep(x + i, end - i, &agree, &pairs);
    }
    if (out->sweeps) {
        out->mean /= (double)out->sweeps;
        quantile_sort(each, out->sweeps);
        out->p90 = quantile_at(each, out->sweeps, 0.9);
        out->tau = agree / pairs;
    }
    free(x), free(each);
    return 0;
}
