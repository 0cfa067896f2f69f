/* SPDX-License-Identifier: Apache-2.0 */
/* See validate.h. */
#include "plan/op/validate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/quantile.h"
#include "plan/op/fit.h"

void validate_sum(struct validate_errors *out, double *ratio, size_t n)
{
    *out = (struct validate_errors){.n = n, .below_floor = HUGE_VAL};
    for (size_t i = 0; i < n; i++) {
        out->bias += (ratio[i] - 1) / (double)n;
        ratio[i] = fabs(ratio[i] - 1);
        out->mean += ratio[i] / (double)n;
    }
    if (!n) return;
    quantile_sort(ratio, n);
    out->median = quantile_at(ratio, n, 0.5);
    out->p90 = quantile_at(ratio, n, 0.9);
}

int validate_group(struct validate_errors *out, const struct measured_group *m, const struct gpu *g,
                   const double *c, int rows, struct err *e)
{
    double *ratio = malloc((m->n + 1) * sizeof *ratio), least = HUGE_VAL;
    size_t n = 0;
    if (!ratio) return err(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < m->n; i++) {
        const struct measured_row *r = &m->rows[i];
        if ((!r->held && !(rows & VALIDATE_ALL)) ||
            ((rows & VALIDATE_COUNTED) && m->op->counts && !m->op->counts(r->shape)))
            continue;
        double floor = m->op->floor_us(g, r->shape);
        ratio[n++] = m->op->time_us(g, r->shape, c) / r->us;
        if (floor > 0) least = fmin(least, r->us / floor);
    }
    validate_sum(out, ratio, n);
    out->below_floor = least;
    free(ratio);
    return 0;
}

void validate_neutral(const struct op_model *op, double *c)
{
    for (int i = 0; i < op->n_constants; i++) c[i] = op->constants[i].neutral;
}

struct sample {
    const struct measured_group *m;
    const struct gpu *g;
    const struct measured_row **rows;
    size_t n;
};

static double loss(void *ud, const double *c)
{
    const struct sample *s = ud;
    const struct op_model *op = s->m->op;
    double sum = 0, weights = 0, prior = 0;
    for (size_t i = 0; i < s->n; i++) {
        double weight = op->counts && op->counts(s->rows[i]->shape) ? VALIDATE_WEIGHT : 1;
        sum += weight * fmin(0.5, fabs(log(op->time_us(s->g, s->rows[i]->shape, c) / s->rows[i]->us)));
        weights += weight;
    }
    for (int i = 0; i < op->n_constants; i++) { /* what the rows do not tell stays where it began */
        const struct op_constant *k = &op->constants[i];
        double off = (c[i] - k->start) / (k->hi - k->lo);
        prior += VALIDATE_PRIOR * off * off / op->n_constants;
    }
    return sum / weights + prior;
}

int validate_fit(double *c, const struct measured_group *m, const struct gpu *g, struct err *e)
{
    double lo[OP_CONSTANTS_MAX], hi[OP_CONSTANTS_MAX];
    size_t free_rows = m->n - m->n_held,
           taken = free_rows < VALIDATE_FIT_ROWS ? free_rows : VALIDATE_FIT_ROWS, seen = 0;
    if (free_rows < VALIDATE_FIT_LEAST)
        return err(e, ERR_USAGE, "%zu rows to fit on; at least %d are needed", free_rows, VALIDATE_FIT_LEAST);
    struct sample s = {.m = m, .g = g, .rows = malloc(taken * sizeof *s.rows)};
    if (!s.rows) return err(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < m->n; i++) /* evenly through the file, which is sorted by shape */
        if (!m->rows[i].held && ++seen * taken / free_rows > s.n) s.rows[s.n++] = &m->rows[i];
    for (int i = 0; i < m->op->n_constants; i++) {
        const struct op_constant *k = &m->op->constants[i];
        lo[i] = k->lo, hi[i] = k->hi, c[i] = k->start;
    }
    for (int again = 0; again < 2; again++) { /* a second simplex around the first one's end */
        for (int i = 0; i < m->op->n_constants; i++)
            c[i] = fmin(fmax(c[i], lo[i] + 1e-4 * (hi[i] - lo[i])), hi[i] - 1e-4 * (hi[i] - lo[i]));
        fit(c, lo, hi, m->op->n_constants, VALIDATE_FIT_EVALS / 2, loss, &s);
    }
    free(s.rows);
    return 0;
}

/* --- cross-validation ------------------------------------------------------------------------------------------------ */

const char *const validate_hold_name[VALIDATE_HOLDS] = {"whole shapes", "largest sizes"};

static double size_of(const struct op_model *op, const double *shape)
{
    double size = 1;
    for (const int *i = op->size; *i >= 0; i++) size *= shape[*i];
    return size;
}

static uint64_t hash_of(const struct op_model *op, const double *shape)
{
    uint64_t h = MEASURED_HASH_BEGIN;
    for (int i = 0; i < OP_SHAPE_MAX && op->shape[i]; i++) {
        char text[32];
        bool sizes = false;
        for (const int *k = op->size; *k >= 0; k++) sizes |= *k == i;
        snprintf(text, sizeof text, "%.15g", shape[i]);
        if (!sizes) h = measured_hash(h, str_from(text));
    }
    return h ^ h >> 32;
}

static int hold_out(struct measured_group *m, enum validate_hold hold, struct err *e)
{
    double *sizes = malloc((m->n + 1) * sizeof *sizes), large = HUGE_VAL;
    if (!sizes) return err(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < m->n; i++) sizes[i] = size_of(m->op, m->rows[i].shape);
    quantile_sort(sizes, m->n);
    if (m->n) large = quantile_at(sizes, m->n, 0.8);
    free(sizes);
    m->n_held = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct measured_row *r = &m->rows[i];
        r->held = hold == VALIDATE_SHAPES ? hash_of(m->op, r->shape) % 5 == 0 : size_of(m->op, r->shape) > large;
        m->n_held += r->held;
    }
    return 0;
}

int validate_cross(struct validate_errors *out, struct measured_group *m, const struct gpu *g,
                   enum validate_hold hold, struct err *e)
{
    double c[OP_CONSTANTS_MAX];
    size_t n_held = m->n_held;
    bool *held = malloc(m->n + 1);
    *out = (struct validate_errors){.n = 0};
    if (!held) return err(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < m->n; i++) held[i] = m->rows[i].held;
    int rc = hold_out(m, hold, e);
    if (!rc && m->n_held && m->n - m->n_held >= VALIDATE_FIT_LEAST) {
        rc = validate_fit(c, m, g, e);
        if (!rc) rc = validate_group(out, m, g, c, VALIDATE_HELD, e);
    }
    for (size_t i = 0; i < m->n; i++) m->rows[i].held = held[i];
    m->n_held = n_held;
    free(held);
    return rc;
}
