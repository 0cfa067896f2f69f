/* SPDX-License-Identifier: Apache-2.0 */
/* See saturated.h. */
#include "plan/search/saturated.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan/op/step.h"
#include "plan/search/replica.h"
#include "plan/sim/sim.h"

struct reader {
    struct saturated *s;
    const struct constants *known;
};

/* Output tokens/s of a replica with everything in its queue. 0: *why says what is missing. */
static double simulate(const struct device *d, const struct device_setup *setup,
                       const struct saturated_row *r, struct err *why)
{
    struct replica x;
    struct sim_time t;
    struct sim_stats st;
    int rc = replica_open(&x, d, setup, r->input, r->output, why);
    if (rc) return 0;
    /* what the chip allows, else what servers take */
    int running = x.batch_max < REPLICA_BATCH_MAX ? x.batch_max : SATURATED_RUNNING;
    struct sim_model m = replica_model(&x);
    struct sim_request *q = calloc(SATURATED_REQUESTS, sizeof *q);
    struct sim_served *v = calloc(SATURATED_REQUESTS, sizeof *v);
    rc = q && v ? sim_time_init(&t, &m, SATURATED_STEP, running, r->input + r->output + 2, why)
                : err(why, ERR_MEMORY, "out of memory");
    if (!rc) {
        const struct sim_policy p = {
            .max_running = running, .step_tokens = SATURATED_STEP, .pages = (int64_t)(x.tokens / SIM_PAGE)};
        for (int i = 0; i < SATURATED_REQUESTS; i++)
            q[i] = (struct sim_request){.prompt = r->input, .answer = r->output};
        rc = sim_run(&st, v, &t, &p, q, SATURATED_REQUESTS, NULL, NULL, why);
        sim_time_finish(&t);
    }
    free(q), free(v);
    return rc ? 0 : (double)st.answer_tokens / (1e-9 * (double)st.end_ns) * x.lanes;
}

static void predict(struct saturated_row *r, const struct constants *known)
{
    static const double nothing[STEP_CONSTANTS];
    struct err e = {0};
    struct shape m;
    char name[PUBLISHED_TEXT];
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = (char)(r->model[i] >= 'A' && r->model[i] <= 'Z' ? r->model[i] + 'a' - 'A' : r->model[i]);
    const struct device_precision *p = device_precision(r->precision);
    if (!p) err(&e, ERR_UNSUPPORTED, "precision '%s' is not modelled", r->precision);
    else if (r->n_chips < 1 || r->input < 1 || r->output < 1)
        err(&e, ERR_UNSUPPORTED, "chip count or lengths not published");
    else if (shape_open(&m, name, NULL)) err(&e, ERR_UNSUPPORTED, "no shape of this model");
    for (int k = 0; k < 2 && !e.code; k++) {
        struct device *d;
        const struct device_options opt = {.constants = known, .overhead = k ? NULL : nothing};
        if (device_open(&d, r->chip, &opt, &e)) break;
        struct device_setup s = {.shape = &m, .precision = p};
        device_split(d, &s, r->n_chips);
        memcpy(r->sheet, d->figures.chip, sizeof r->sheet);
        *(k ? &r->step : &r->predicted) = simulate(d, &s, r, &e);
        device_close(d);
    }
    if (e.code) snprintf(r->why, sizeof r->why, "%.199s", e.msg);
}

static void take(void *ud, const struct published_row *p)
{
    struct reader *x = ud;
    if (strncmp(p->batch_text, "saturated", 9) || strcmp(p->metric, "output_throughput") ||
        x->s->n == SATURATED_MAX)
        return;
    struct saturated_row *r = &x->s->rows[x->s->n++];
    *r = (struct saturated_row){.n_chips = p->n_chips, .input = p->input, .output = p->output, .measured = p->value};
    memcpy(r->chip, p->chip, sizeof r->chip), memcpy(r->model, p->model, sizeof r->model),
        memcpy(r->precision, p->precision, sizeof r->precision);
    predict(r, x->known);
}

int saturated_read(struct saturated *s, const char *dir, const struct constants *known, struct err *e)
{
    struct reader x = {.s = s, .known = known};
    *s = (struct saturated){.rows = calloc(SATURATED_MAX, sizeof *s->rows)};
    if (!s->rows) return err(e, ERR_MEMORY, "out of memory for published rows");
    return published_read(dir, known, take, &x, e);
}

void saturated_close(struct saturated *s)
{
    free(s->rows);
    s->rows = NULL;
}

static bool one_sweep(const struct saturated_row *a, const struct saturated_row *b)
{
    return !strcmp(a->model, b->model) && !strcmp(a->precision, b->precision) && a->input == b->input &&
           a->output == b->output;
}

int saturated_regret(const struct saturated *s, double *mean, double *worst)
{
    int n = 0;
    *mean = *worst = 0;
    for (int i = 0; i < s->n; i++) {
        const struct saturated_row *a = &s->rows[i], *chosen = a, *best = a;
        bool first = true, more = false;
        for (int k = 0; k < s->n; k++) {
            const struct saturated_row *b = &s->rows[k];
            if (*b->why || !one_sweep(a, b)) continue;
            if (k < i) first = false;
            if (strcmp(a->chip, b->chip)) more = true;
            if (b->predicted / b->n_chips > chosen->predicted / chosen->n_chips) chosen = b;
            if (b->measured / b->n_chips > best->measured / best->n_chips) best = b;
        }
        if (*a->why || !first || !more) continue;
        double regret = 1 - (chosen->measured / chosen->n_chips) / (best->measured / best->n_chips);
        n++;
        *mean += regret;
        *worst = fmax(*worst, regret);
    }
    if (n) *mean /= n;
    return n;
}

int saturated_errors(struct validate_errors *out, const struct saturated *s, const char *sheet, bool in_turn,
                     struct err *e)
{
    double *ratio = malloc(((size_t)s->n + 1) * sizeof *ratio);
    size_t n = 0;
    if (!ratio) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < s->n; i++) {
        const struct saturated_row *r = &s->rows[i];
        if (!*r->why && (!sheet || !strcmp(sheet, r->sheet)))
            ratio[n++] = (in_turn ? r->step : r->predicted) / r->measured;
    }
    validate_sum(out, ratio, n);
    free(ratio);
    return 0;
}

static int write_line(const struct saturated *s, const char *sheet, FILE *f, struct err *e)
{
    struct validate_errors v;
    int rc = saturated_errors(&v, s, sheet, false, e);
    if (!rc) fprintf(f, "%s,%zu,%.4f,%.4f,%.4f\n", sheet ? sheet : "all", v.n, v.median, v.p90, v.bias);
    return rc;
}

int saturated_write(const struct saturated *s, FILE *f, struct err *e)
{
    fputs("chip,rows,median,p90,bias\n", f);
    int rc = write_line(s, NULL, f, e);
    for (int i = 0; i < s->n && !rc; i++) {
        bool seen = *s->rows[i].why;
        for (int k = 0; k < i && !seen; k++) seen = !*s->rows[k].why && !strcmp(s->rows[k].sheet, s->rows[i].sheet);
        if (!seen) rc = write_line(s, s->rows[i].sheet, f, e);
    }
    if (!rc && ferror(f)) rc = err(e, ERR_IO, "cannot write");
    return rc;
}
