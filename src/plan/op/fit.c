/* SPDX-License-Identifier: Apache-2.0 */
/* See fit.h. */
#include "plan/op/fit.h"

#include <math.h>
#include <string.h>
#include "base/err.h"

struct simplex {
    int n;
    double u[FIT_MAX + 1][FIT_MAX], f[FIT_MAX + 1]; /* corners, best first */
    const double *lo, *hi;
    fit_loss *loss;
    void *ud;
    int evals;
};

static void bounded(const struct simplex *s, const double *u, double *x)
{
    for (int i = 0; i < s->n; i++) x[i] = s->lo[i] + (s->hi[i] - s->lo[i]) / (1 + exp(-u[i]));
}

static double at(struct simplex *s, const double *u)
{
    double x[FIT_MAX];
    bounded(s, u, x);
    double f = s->loss(s->ud, x);
    s->evals--;
    return isfinite(f) ? f : HUGE_VAL;
}

static void put(struct simplex *s, int from, const double *u, double f) /* into the order, in place of corner `from` */
{
    int i = from;
    for (; i > 0 && s->f[i - 1] > f; i--) {
        s->f[i] = s->f[i - 1];
        memcpy(s->u[i], s->u[i - 1], sizeof s->u[i]);
    }
    s->f[i] = f;
    memmove(s->u[i], u, (size_t)s->n * sizeof *u);
}

static void towards(const struct simplex *s, const double *centre, double by, double *out)
{
    for (int i = 0; i < s->n; i++) out[i] = centre[i] + by * (s->u[s->n][i] - centre[i]);
}

static void shrink(struct simplex *s, double by)
{
    for (int c = 1; c <= s->n; c++) {
        double u[FIT_MAX];
        for (int i = 0; i < s->n; i++) u[i] = s->u[0][i] + by * (s->u[c][i] - s->u[0][i]);
        put(s, c, u, at(s, u));
    }
}

double fit(double *x, const double *lo, const double *hi, int n, int evals, fit_loss *loss, void *ud)
{
    struct simplex s = {.n = n, .lo = lo, .hi = hi, .loss = loss, .ud = ud, .evals = evals};
    double start[FIT_MAX], u[FIT_MAX], v[FIT_MAX], centre[FIT_MAX];
    const double expand = 1 + 2.0 / n, contract = 0.75 - 0.5 / n, reduce = 1 - 1.0 / n;
    must(n >= 2 && n <= FIT_MAX);
    for (int i = 0; i < n; i++) {
        double part = (x[i] - lo[i]) / (hi[i] - lo[i]);
        must(part > 0 && part < 1);
        start[i] = log(part / (1 - part));
    }
    put(&s, 0, start, at(&s, start));
    for (int c = 1; c <= n; c++) {
        memcpy(u, start, sizeof u);
        u[c - 1] += 0.5;
        put(&s, c, u, at(&s, u));
    }
    while (s.evals > 0 && s.f[n] - s.f[0] > 1e-9) {
        for (int i = 0; i < n; i++) {
            centre[i] = 0;
            for (int c = 0; c < n; c++) centre[i] += s.u[c][i] / n;
        }
        towards(&s, centre, -1, u);
        double f = at(&s, u), g;
        if (f < s.f[0]) {
            towards(&s, centre, -expand, v);
            g = at(&s, v);
            if (g < f) put(&s, n, v, g);
            else put(&s, n, u, f);
        } else if (f < s.f[n - 1]) {
            put(&s, n, u, f);
        } else {
            double best = f < s.f[n] ? f : s.f[n];
            towards(&s, centre, f < s.f[n] ? -contract : contract, v);
            g = at(&s, v);
            if (g < best) put(&s, n, v, g);
            else shrink(&s, reduce);
        }
    }
    bounded(&s, s.u[0], x);
    return s.f[0];
}
