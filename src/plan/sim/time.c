/* SPDX-License-Identifier: Apache-2.0 */
/* See sim/time.h. */
#include "plan/sim/time.h"

#include <math.h>
#include <stdlib.h>

static const double NS = 1e9;
enum { EXACT = 32 }; /* points up to here are asked one by one: tiles of 16 and 32 rows show there */

/* Growing whole numbers from lo to hi, each at most `ratio` times the one before; returns how many. */
static int make_grid(double *x, double lo, double hi, double ratio)
{
    int n = 0;
    for (double v = lo; n < SIM_GRID_MAX - 1 && v < hi; v = fmax(v + 1, ceil(v * ratio))) x[n++] = v;
    x[n++] = hi;
    return n;
}

static double ratio_for(double lo, double hi, int points)
{
    return hi > lo ? fmax(1.05, pow(hi / lo, 1.0 / points)) : 2;
}

static int take(struct sim_line *l, int i, struct sim_cost c, const char *what, double x, struct err *e)
{
    if (!(c.s >= 0 && c.s < 1e6) || !(c.j >= 0 && c.j < 1e12))
        return err(e, ERR_RANGE, "the chip's model gives %g s and %g J for %s of %g", c.s, c.j, what, x);
    l->s[i] = c.s;
    l->j[i] = c.j;
    return 0;
}

/* The interval of x: index of its lower point, and how far x is in it. Beyond the ends the last interval goes on. */
static int find(const double *x, int n, double at, double *part)
{
    int lo = 0, hi = n - 1;
    if (n == 1) {
        *part = 0;
        return 0;
    }
    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;
        if (x[mid] <= at) lo = mid;
        else hi = mid;
    }
    *part = (at - x[lo]) / (x[lo + 1] - x[lo]);
    return lo;
}

static struct sim_cost value(const struct sim_line *l, double at)
{
    double part;
    int i = find(l->x, l->n, at, &part);
    if (l->n == 1) return (struct sim_cost){l->s[0], l->j[0]};
    struct sim_cost c = {l->s[i] + part * (l->s[i + 1] - l->s[i]), l->j[i] + part * (l->j[i + 1] - l->j[i])};
    if (c.s < 0) c.s = 0;
    if (c.j < 0) c.j = 0;
    return c;
}

static int fill_dense(struct sim_time *t, const struct sim_model *m, struct err *e)
{
    struct sim_line l = {0};
    int rc = 0;
    for (int r = 1; r <= t->rows_max && r <= EXACT && !rc; r++) {
        rc = take(&l, 0, m->dense(m->ud, r, 1), "a step of rows", r, e);
        t->dense_ns[r] = (int64_t)(NS * l.s[0] + 0.5);
        t->dense_j[r] = (float)l.j[0];
    }
    if (rc || t->rows_max <= EXACT) return rc;
    l.n = make_grid(l.x, EXACT, t->rows_max, ratio_for(EXACT, t->rows_max, 40));
    for (int i = 0; i < l.n && !rc; i++) rc = take(&l, i, m->dense(m->ud, l.x[i], 1), "a step of rows", l.x[i], e);
    for (int r = EXACT + 1; r <= t->rows_max && !rc; r++) {
        struct sim_cost c = value(&l, r);
        t->dense_ns[r] = (int64_t)(NS * c.s + 0.5);
        t->dense_j[r] = (float)c.j;
    }
    return rc;
}

static int fill_out(struct sim_time *t, const struct sim_model *m, struct err *e)
{
    struct sim_line l = {0};
    struct sim_cost one = m->dense(m->ud, t->rows_max, 1);
    int rc = 0;
    l.n = make_grid(l.x, 1, t->out_max, ratio_for(1, t->out_max, 24));
    for (int i = 0; i < l.n && !rc; i++) {
        struct sim_cost c = m->dense(m->ud, t->rows_max, l.x[i]);
        c.s = fmax(0, c.s - one.s), c.j = fmax(0, c.j - one.j);
        rc = take(&l, i, c, "outputs", l.x[i], e);
    }
    for (int n = 1; n <= t->out_max && !rc; n++) {
        struct sim_cost c = value(&l, n);
        t->out_ns[n] = (int64_t)(NS * c.s + 0.5);
        t->out_j[n] = (float)c.j;
    }
    return rc;
}

static int fill_attention(struct sim_time *t, const struct sim_model *m, struct err *e)
{
    int rc = 0;
    t->n_batch = make_grid(t->batch, 1, t->out_max, ratio_for(1, t->out_max, 14));
    for (int b = 0; b < t->n_batch && !rc; b++) {
        struct sim_line *l = &t->decode[b];
        l->n = make_grid(l->x, SIM_BUCKET / 2, t->context_max + SIM_BUCKET,
                         ratio_for(SIM_BUCKET / 2, t->context_max, 18));
        for (int i = 0; i < l->n && !rc; i++)
            rc = take(l, i, m->decode(m->ud, t->batch[b], l->x[i]), "attention over a context", l->x[i], e);
    }
    t->prompt.n = make_grid(t->prompt.x, SIM_BUCKET / 2, t->context_max + SIM_BUCKET,
                            ratio_for(SIM_BUCKET / 2, t->context_max, 40));
    for (int i = 0; i < t->prompt.n && !rc; i++)
        rc = take(&t->prompt, i, m->prompt(m->ud, t->prompt.x[i]), "attention over a prompt", t->prompt.x[i], e);
    return rc;
}

int sim_time_init(struct sim_time *t, const struct sim_model *m, int rows_max, int out_max, int context_max,
                  struct err *e)
{
    *t = (struct sim_time){.rows_max = rows_max, .out_max = out_max, .context_max = context_max};
    if (rows_max < 1 || rows_max > SIM_ROWS_MAX || out_max < 1 || out_max > rows_max || context_max < 1 ||
        context_max > SIM_CONTEXT_MAX)
        return err(e, ERR_LIMIT,
                   "a step of %d tokens, %d answers, %d tokens of context: limits are %d, the tokens, %d",
                   rows_max, out_max, context_max, SIM_ROWS_MAX, SIM_CONTEXT_MAX);
    t->dense_ns = calloc((size_t)rows_max + 1, sizeof *t->dense_ns);
    t->dense_j = calloc((size_t)rows_max + 1, sizeof *t->dense_j);
    t->out_ns = calloc((size_t)out_max + 1, sizeof *t->out_ns);
    t->out_j = calloc((size_t)out_max + 1, sizeof *t->out_j);
    int rc = t->dense_ns && t->dense_j && t->out_ns && t->out_j
                 ? 0
                 : err(e, ERR_MEMORY, "out of memory for a table of step times");
    if (!rc) rc = fill_dense(t, m, e);
    if (!rc) rc = fill_out(t, m, e);
    if (!rc) rc = fill_attention(t, m, e);
    if (rc) sim_time_finish(t);
    return rc;
}

void sim_time_finish(struct sim_time *t)
{
    free(t->dense_ns), free(t->dense_j), free(t->out_ns), free(t->out_j);
    t->dense_ns = t->out_ns = NULL;
    t->dense_j = t->out_j = NULL;
}

int64_t sim_time_dense(const struct sim_time *t, int rows, int out, double *joules)
{
    must(rows >= 1 && rows <= t->rows_max && out <= t->out_max);
    *joules += (double)t->dense_j[rows] + (double)t->out_j[out];
    return t->dense_ns[rows] + t->out_ns[out];
}

int64_t sim_time_decode(const struct sim_time *t, int batch, int64_t context_sum, double *joules)
{
    if (batch == 0) return 0;
    int64_t bucket = context_sum / ((int64_t)batch * SIM_BUCKET);
    double context = (double)bucket * SIM_BUCKET + SIM_BUCKET / 2, part;
    int i = find(t->batch, t->n_batch, batch, &part);
    struct sim_cost a = value(&t->decode[i], context), b = t->n_batch > 1 ? value(&t->decode[i + 1], context) : a;
    *joules += a.j + part * (b.j - a.j);
    return (int64_t)(NS * (a.s + part * (b.s - a.s)) + 0.5);
}

int64_t sim_time_piece(const struct sim_time *t, int before, int n, double *joules)
{
    struct sim_cost whole = value(&t->prompt, before + n),
                    done = before ? value(&t->prompt, before) : (struct sim_cost){0};
    if (whole.j > done.j) *joules += whole.j - done.j;
    return whole.s > done.s ? (int64_t)(NS * (whole.s - done.s) + 0.5) : 0;
}
