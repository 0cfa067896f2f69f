/* SPDX-License-Identifier: Apache-2.0 */
/* See published.h. */
#include "plan/class/published.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan/class/device.h"
#include "plan/op/fit.h"
#include "plan/op/step.h"
#include "plan/op/table.h"

/* "Llama-3-8B" -> "llama-3-8b", the form of shape names; up to a blank. */
static void shape_name(char *out, size_t cap, const char *model)
{
    size_t i = 0;
    for (; i + 1 < cap && model[i] && model[i] != ' '; i++) out[i] = (char)tolower((unsigned char)model[i]);
    out[i] = 0;
}

/* Seconds and joules of a static batch: its prompts, then output - 1 steps whose context grows. */
struct batch_cost {
    double prefill, decode; /* seconds; decode: of one step in the middle */
    double seconds, joules;
};

static struct batch_cost cost_of(const struct device *d, const struct device_setup *s, const struct published_row *r)
{
    enum { SAMPLES = 8 };
    struct batch_cost c = {0};
    struct device_step t;
    if (device_prefill(d, s, r->batch, r->input, 0, &t, NULL)) return (struct batch_cost){NAN, NAN, NAN, NAN};
    c.prefill = c.seconds = t.seconds, c.joules = t.joules;
    for (int i = 0; i < SAMPLES; i++) {
        if (device_decode(d, s, r->batch, r->input + (i + 0.5) / SAMPLES * r->output, &t, NULL))
            return (struct batch_cost){NAN, NAN, NAN, NAN};
        c.decode += t.seconds / SAMPLES;
        c.seconds += t.seconds / SAMPLES * (r->output - 1), c.joules += t.joules / SAMPLES * (r->output - 1);
    }
    return c;
}

static double predict(const struct device *d, const struct device_setup *s, const struct published_row *r)
{
    struct batch_cost c = cost_of(d, s, r);
    if (!strcmp(r->metric, "batch_latency")) return c.seconds;
    if (!strcmp(r->metric, "output_throughput")) return r->batch * (double)r->output / c.seconds;
    if (!strcmp(r->metric, "gpu_power_avg")) return c.joules / c.seconds / r->n_chips;
    if (!strcmp(r->metric, "ttft")) return 1e3 * c.prefill;
    return !strcmp(r->metric, "tpot") ? 1e3 * c.decode : 1 / c.decode;
}

static bool known_metric(const char *metric)
{
    static const char *const metrics[] = {"batch_latency", "output_throughput", "gpu_power_avg", "ttft",
                                          "tpot",          "user_speed"};
    size_t i = 0;
    while (i < sizeof metrics / sizeof *metrics && strcmp(metric, metrics[i])) i++;
    return i < sizeof metrics / sizeof *metrics;
}

/* Chips of one name follow one another in the file: the last one's devices are kept. */
struct chips {
    char name[PUBLISHED_TEXT];
    const struct constants *known;
    struct device *fitted, *datasheet; /* NULL: cannot be opened */
    struct err e;
};

static void chips_close(struct chips *c)
{
    device_close(c->fitted), device_close(c->datasheet);
    c->fitted = c->datasheet = NULL;
}

static void chips_open(struct chips *c, const char *name)
{
    if (*c->name && !strcmp(c->name, name)) return;
    chips_close(c);
    snprintf(c->name, sizeof c->name, "%s", name);
    struct device_options opt = {.constants = c->known}, plain = {.constants = c->known, .datasheet_only = true};
    if (device_open(&c->fitted, name, &opt, &c->e) || device_open(&c->datasheet, name, &plain, &c->e)) chips_close(c);
}

static void fill(struct published_row *r, struct chips *c)
{
    struct err e = {0};
    struct shape m;
    char name[PUBLISHED_TEXT];
    shape_name(name, sizeof name, r->model);
    const struct device_precision *precision = device_precision(r->precision);
    if (!known_metric(r->metric))
        snprintf(r->why, sizeof r->why, "no model of '%s'", r->metric);
    else if (!strncmp(r->batch_text, "saturated", 9))
        snprintf(r->why, sizeof r->why, "saturated queues, no static batch: tutti plan --validate simulates them");
    else if (r->n_chips < 1 || r->batch < 1 || r->input < 1)
        snprintf(r->why, sizeof r->why, "%s not published",
                 r->n_chips < 1 ? "chip count"
                 : r->batch < 1 ? "batch"
                                : "input length");
    else if (r->output < 1 && strcmp(r->metric, "ttft") && strcmp(r->metric, "tpot") &&
             strcmp(r->metric, "user_speed")) /* of these it matters little */
        snprintf(r->why, sizeof r->why, "output length not published");
    else if (chips_open(c, r->chip), !c->fitted)
        snprintf(r->why, sizeof r->why, "%.190s",
                 c->e.code == ERR_NOT_FOUND ? "no datasheet of a chip of this name" : c->e.msg);
    else if (!precision)
        snprintf(r->why, sizeof r->why, "precision '%s' is not modelled", r->precision);
    else if (shape_open(&m, name, &e))
        snprintf(r->why, sizeof r->why, "no shape of this model");
    if (*r->why) return;
    struct device_setup s = {.shape = &m, .precision = precision};
    struct device_fit fit;
    device_split(c->fitted, &s, r->n_chips);
    if (device_fit(c->fitted, &s, r->batch, r->input + r->output, &fit, &e) || !fit.fits) {
        snprintf(r->why, sizeof r->why, "%.199s", e.code ? e.msg : fit.why);
        return;
    }
    r->predicted = predict(c->fitted, &s, r);
    if (isnan(r->predicted)) {
        snprintf(r->why, sizeof r->why, "the datasheet lacks what this takes");
        return;
    }
    r->datasheet = predict(c->datasheet, &s, r);
}

static int whole(const char *text) /* 0 unless the cell is one whole number */
{
    char *end;
    long n = strtol(text, &end, 10);
    return end != text && !*end && n > 0 && n < INT_MAX ? (int)n : 0;
}

enum { CHIP, CHIPS, MODEL, PRECISION, BATCH, INPUT, OUTPUT, METRIC, VALUE, UNIT, N_COLUMNS };

static void take_row(struct published_row *r, const struct table *t, const int *c, struct chips *chips)
{
    struct err e = {0};
    const struct {
        char *to;
        int column;
    } texts[] = {{r->chip, CHIP},     {r->model, MODEL}, {r->precision, PRECISION},
                 {r->metric, METRIC}, {r->unit, UNIT},   {r->batch_text, BATCH}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        snprintf(texts[i].to, PUBLISHED_TEXT, "%s", table_cell(t, c[texts[i].column]).p);
    r->n_chips = whole(table_cell(t, c[CHIPS]).p);
    r->batch = whole(r->batch_text);
    r->input = whole(table_cell(t, c[INPUT]).p);
    r->output = whole(table_cell(t, c[OUTPUT]).p);
    if (!table_number(t, c[VALUE], &r->value, &e) && r->value <= 0) err(&e, ERR_FORMAT, "a value of %g", r->value);
    if (e.code) snprintf(r->why, sizeof r->why, "%.199s", e.msg);
    else fill(r, chips);
}

int published_read(const char *dir, const struct constants *known,
                   void (*row)(void *ud, const struct published_row *r), void *ud, struct err *e)
{
    static const char *const names[N_COLUMNS] = {
        "chip",      "n_chips",    "model",  "precision", "batch_or_concurrency",
        "input_len", "output_len", "metric", "value",     "unit"};
    char path[PATH_MAX];
    int c[N_COLUMNS], rc, got;
    struct table *t = NULL;
    struct chips chips = {.known = known};
    if (snprintf(path, sizeof path, "%s/published.csv", dir) >= (int)sizeof path)
        return err(e, ERR_LIMIT, "the path of '%s' is too long", dir);
    if ((rc = table_open(&t, path, e))) return rc;
    for (int i = 0; i < N_COLUMNS && !rc; i++)
        if ((c[i] = table_column(t, names[i], e)) < 0) rc = c[i];
    while (!rc && (got = table_next(t, e))) {
        struct published_row r = {0};
        if (got > 0) take_row(&r, t, c, &chips);
        else if (got == ERR_FORMAT) snprintf(r.why, sizeof r.why, "%.199s", e->msg);
        else rc = got;
        if (!rc) row(ud, &r);
    }
    chips_close(&chips);
    table_close(t);
    return rc;
}

struct sample {
    struct chips chips;
    struct published_row rows[PUBLISHED_FIT_MAX];
    int n;
};

static void keep(void *ud, const struct published_row *r)
{
    struct sample *s = ud;
    if (!*r->why && strcmp(r->metric, "gpu_power_avg") && !strcmp(r->chip, s->chips.name) &&
        s->n < PUBLISHED_FIT_MAX)
        s->rows[s->n++] = *r;
}

static double loss(void *ud, const double *overhead)
{
    struct sample *s = ud;
    double sum = 0;
    s->chips.fitted->overhead = overhead;
    for (int i = 0; i < s->n; i++) {
        fill(&s->rows[i], &s->chips);
        sum += fabs(log(s->rows[i].predicted / s->rows[i].value));
    }
    return sum / s->n;
}

int published_fit(struct constants_set *set, const char *dir, const struct constants *known, int *n, struct err *e)
{
    enum { EVALS = 400 };
    double lo[STEP_CONSTANTS], hi[STEP_CONSTANTS];
    struct sample *s = calloc(1, sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    s->chips.known = known, set->op = &op_step;
    chips_open(&s->chips, set->chip);
    int rc = s->chips.fitted ? published_read(dir, known, keep, s, e) : err(e, s->chips.e.code, "%s", s->chips.e.msg);
    *n = s->n;
    if (!rc && s->n < PUBLISHED_FIT_LEAST)
        rc = err(e, ERR_USAGE, "%d results of '%s' to fit on; at least %d are needed", s->n, set->chip,
                 PUBLISHED_FIT_LEAST);
    for (int i = 0; i < STEP_CONSTANTS; i++)
        lo[i] = op_step.constants[i].lo, hi[i] = op_step.constants[i].hi,
        set->value[i] = op_step.constants[i].start;
    if (!rc) fit(set->value, lo, hi, STEP_CONSTANTS, EVALS, loss, s);
    chips_close(&s->chips);
    free(s);
    return rc;
}
