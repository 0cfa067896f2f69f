/* SPDX-License-Identifier: Apache-2.0 */
/* See published.h. */
#include "plan/published.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan/fit.h"
#include "plan/step.h"
#include "plan/table.h"

/* "Llama-3-8B" -> "llama-3-8b", the form of shape names; up to a blank. */
static void shape_name(char *out, size_t cap, const char *model)
{
    size_t i = 0;
    for (; i + 1 < cap && model[i] && model[i] != ' '; i++) out[i] = (char)tolower((unsigned char)model[i]);
    out[i] = 0;
}

/* Seconds of a static batch: its prompts, then output - 1 steps whose context grows. */
static double batch_seconds(const struct step_setup *s, const struct shape *m, const struct published_row *r)
{
    enum { SAMPLES = 8 };
    struct step_time t = step_prefill(s, m, r->batch, r->input);
    double us = step_total(&t), decode = 0;
    for (int i = 0; i < SAMPLES; i++) {
        t = step_decode(s, m, r->batch, r->input + (i + 0.5) / SAMPLES * r->output);
        decode += step_total(&t) / SAMPLES;
    }
    return 1e-6 * (us + decode * (r->output - 1));
}

static double predict(const struct step_setup *s, const struct shape *m, const struct published_row *r)
{
    if (!strcmp(r->metric, "batch_latency")) return batch_seconds(s, m, r);
    if (!strcmp(r->metric, "output_throughput")) return r->batch * (double)r->output / batch_seconds(s, m, r);
    struct step_time t = !strcmp(r->metric, "ttft") ? step_prefill(s, m, r->batch, r->input)
                                                    : step_decode(s, m, r->batch, r->input + 0.5 * r->output);
    double us = step_total(&t);
    return !strcmp(r->metric, "ttft") ? 1e-3 * us : !strcmp(r->metric, "tpot") ? 1e-3 * us : 1e6 / us; /* ms, ms, 1/s */
}

static void fill(struct published_row *r, const struct constants *known, const double *overhead)
{
    static const char *const metrics[] = {"batch_latency", "output_throughput", "ttft", "tpot", "user_speed"};
    static const struct constants none = {0};
    struct err e = {0};
    struct gpu g;
    struct shape m;
    char name[PUBLISHED_TEXT];
    bool known_metric = false;
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) known_metric |= !strcmp(r->metric, metrics[i]);
    shape_name(name, sizeof name, r->model);
    const struct step_type *type = step_type(r->precision);
    if (!known_metric)
        snprintf(r->why, sizeof r->why, "no model of '%s'", r->metric);
    else if (r->n_chips < 1 || r->batch < 1 || r->input < 1)
        snprintf(r->why, sizeof r->why, "%s not published", r->n_chips < 1 ? "chip count" : r->batch < 1 ? "batch" : "input length");
    else if (r->output < 1 && strcmp(r->metric, "ttft"))
        snprintf(r->why, sizeof r->why, "output length not published");
    else if (gpu_find(&g, r->chip, NULL))
        snprintf(r->why, sizeof r->why, "no datasheet of a GPU of this name");
    else if (!type)
        snprintf(r->why, sizeof r->why, "precision '%s' is not modelled", r->precision);
    else if (shape_open(&m, name, &e))
        snprintf(r->why, sizeof r->why, "no shape of this model");
    if (*r->why) return;
    struct step_setup s = {.gpu = &g, .constants = known, .framework = "trtllm", .type = type, .tp = r->n_chips, .overhead = overhead};
    double need = step_weight_bytes(&s, &m) + step_token_bytes(&s, &m) * r->batch * (r->input + r->output);
    if (need > g.memory_bytes) {
        snprintf(r->why, sizeof r->why, "%.0f GB needed of %.0f GB on each chip", need / 1e9, g.memory_bytes / 1e9);
        return;
    }
    r->predicted = predict(&s, &m, r);
    s = (struct step_setup){.gpu = &g, .constants = &none, .framework = "", .type = type, .tp = r->n_chips};
    r->datasheet = predict(&s, &m, r);
}

static int whole(const char *text) /* 0 unless the cell is one whole number */
{
    char *end;
    long n = strtol(text, &end, 10);
    return end != text && !*end && n > 0 && n < INT_MAX ? (int)n : 0;
}

int published_read(const char *dir, const struct constants *known, void (*row)(void *ud, const struct published_row *r), void *ud,
                   struct err *e)
{
    enum { CHIP, CHIPS, MODEL, PRECISION, BATCH, INPUT, OUTPUT, METRIC, VALUE, UNIT, N_COLUMNS };
    static const char *const names[N_COLUMNS] = {"chip",       "n_chips", "model", "precision", "batch_or_concurrency", "input_len",
                                                 "output_len", "metric",  "value", "unit"};
    char path[PATH_MAX];
    int c[N_COLUMNS], rc, got = 0;
    struct table *t = NULL;
    if (snprintf(path, sizeof path, "%s/published.csv", dir) >= (int)sizeof path) return err(e, ERR_LIMIT, "the path of '%s' is too long", dir);
    if ((rc = table_open(&t, path, e))) return rc;
    for (int i = 0; i < N_COLUMNS && !rc; i++)
        if ((c[i] = table_column(t, names[i], e)) < 0) rc = c[i];
    while (!rc && (got = table_next(t, e)) > 0) {
        struct published_row r = {0};
        const struct {
            char *to;
            int column;
        } texts[] = {{r.chip, CHIP}, {r.model, MODEL}, {r.precision, PRECISION}, {r.metric, METRIC}, {r.unit, UNIT}, {r.batch_text, BATCH}};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) snprintf(texts[i].to, PUBLISHED_TEXT, "%s", table_cell(t, c[texts[i].column]).p);
        r.n_chips = whole(table_cell(t, c[CHIPS]).p);
        r.batch = whole(r.batch_text);
        r.input = whole(table_cell(t, c[INPUT]).p);
        r.output = whole(table_cell(t, c[OUTPUT]).p);
        if ((rc = table_number(t, c[VALUE], &r.value, e))) break;
        fill(&r, known, NULL);
        row(ud, &r);
    }
    table_close(t);
    return rc ? rc : got;
}

struct sample {
    const struct constants *known;
    const char *chip;
    struct published_row rows[PUBLISHED_FIT_MAX];
    int n;
};

static void keep(void *ud, const struct published_row *r)
{
    struct sample *s = ud;
    if (!*r->why && !strcmp(r->chip, s->chip) && s->n < PUBLISHED_FIT_MAX) s->rows[s->n++] = *r;
}

static double loss(void *ud, const double *overhead)
{
    struct sample *s = ud;
    double sum = 0;
    for (int i = 0; i < s->n; i++) {
        fill(&s->rows[i], s->known, overhead);
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
    s->known = known, s->chip = set->chip, set->op = &op_step;
    int rc = published_read(dir, known, keep, s, e);
    *n = s->n;
    if (!rc && s->n < PUBLISHED_FIT_LEAST) rc = err(e, ERR_USAGE, "%d results of '%s' to fit on; at least %d are needed", s->n, set->chip, PUBLISHED_FIT_LEAST);
    for (int i = 0; i < STEP_CONSTANTS; i++) lo[i] = op_step.constants[i].lo, hi[i] = op_step.constants[i].hi, set->value[i] = op_step.constants[i].start;
    if (!rc) fit(set->value, lo, hi, STEP_CONSTANTS, EVALS, loss, s);
    free(s);
    return rc;
}
