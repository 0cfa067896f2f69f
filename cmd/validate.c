/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti validate: the planner's time models against measurements: errors of every operator, chip and framework on rows
 * that no fit has seen, with the datasheet alone and with fitted constants side by side.
 */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/quantile.h"
#include "cmd.h"
#include "common.h"
#include "plan/class/layers.h"
#include "plan/class/published.h"
#include "plan/op/regret.h"
#include "plan/op/validate.h"

enum { PUBLISHED_MAX = 4096 };
enum { GPUS, OTHERS, KINDS };

struct job {
    struct measured m;
    struct constants known;
    json_t *out;        /* [rows of the report] */
    json_t *fitted;     /* [sets], with --fit */
    json_t *chips;      /* object: chips without datasheet -> rows */
    json_t *published;  /* [results of whole models] */
    json_t *left_out;   /* object: why a published result is not compared -> rows */
    json_t *unread;     /* [why a file cannot be used] */
    double ape[KINDS][PUBLISHED_MAX]; /* of published results: on GPUs, on others */
    int n_ape[KINDS];
    struct layers layers;
    bool json, transfer, cross;
    int n_files;        /* that were read */
    const char *op, *chip, *fit, *step_chip;
};

/* A file that cannot be used (no such column, broken gzip) is named in the end; the others are read. Absent
 * ones are none. */
static int judge_file(struct job *j, int rc, const struct err *e)
{
    if (rc == ERR_FORMAT || rc == ERR_IO || rc == ERR_LIMIT) json_array_append_new(j->unread, json_string(e->msg));
    else if (rc && rc != ERR_NOT_FOUND) return rc;
    j->n_files += !rc;
    return 0;
}

static int read_operators(struct job *j, const char *dir, struct err *e)
{
    int rc = 0;
    measured_init(&j->m);
    for (int i = 0; op_all[i] && !rc; i++)
        if (op_all[i]->file && !(j->op && strcmp(j->op, op_all[i]->name)))
            rc = judge_file(j, measured_read(&j->m, dir, op_all[i], e), e);
    return rc;
}

static int check_files(struct job *j, const char *dir, struct err *e)
{
    if (j->n_files) return 0;
    if (json_array_size(j->unread)) return err(e, ERR_FORMAT, "%s", json_string_value(json_array_get(j->unread, 0)));
    if (!j->op)
        return err(
            e, ERR_NOT_FOUND,
            "%s holds none of the files of measurements (gemm.csv, attention_decode.csv, ..., plain or .gz)",
            dir);
    return err(e, ERR_NOT_FOUND, "%s holds no measurements of operator '%s'", dir, j->op);
}

static json_t *errors_json(const struct validate_errors *v)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "rows", (json_int_t)v->n, "median", v->median, "mape",
                     v->mean, "p90", v->p90, "bias", v->bias);
}

/* Errors by the constants of `set`, which is another chip's or another type's (`key` in JSON). */
static int report_borrowed(struct job *j, const struct measured_group *m, const struct gpu *g,
                           const struct constants_set *set, const char *key, json_t *row, struct err *e)
{
    char of[64] = "", name[32];
    struct validate_errors v;
    int rc = set ? validate_group(&v, m, g, set->value, VALIDATE_HELD, e) : 0;
    if (rc || !set) return rc;
    for (int i = 0; i < OP_GROUP_MAX && set->words[i]; i++) {
        size_t n = strlen(of);
        snprintf(of + n, sizeof of - n, "%s%s", i ? " " : "", set->words[i]);
    }
    snprintf(name, sizeof name, "%s_of", key);
    json_object_set_new(row, key, errors_json(&v));
    json_object_set_new(
        row, name, json_pack("{s:s, s:s, s:s}", "chip", set->chip, "framework", set->framework, "words", of));
    if (!j->json)
        printf("%-18s constants of %s (%s, %s): median %.1f, mean %.1f, p90 %.1f, bias %+.1f\n", "",
               set->chip, set->framework, of, 100 * v.median, 100 * v.mean, 100 * v.p90, 100 * v.bias);
    return 0;
}

/* Constants of another chip and of another type (transfer), and what choices by these or by its own would
 * cost (regret). */
static int report_transfer(struct job *j, const struct measured_group *m, const struct gpu *g,
                           const struct constants_set *own, json_t *row, struct err *e)
{
    struct gpu like = *g;
    struct regret r;
    like.aliases.n = 0;
    const struct constants_set *sets[] = {own, constants_find(&j->known, m->op, &like, m->framework, m->words)};
    static const char *const name[] = {"regret", "transfer_regret"};
    int rc = 0;
    for (int i = 0; i < 2 && !rc; i++) {
        if (!sets[i] || (rc = regret_group(&r, m, g, sets[i]->value, e)) || !r.sweeps) continue;
        json_object_set_new(row, name[i],
                            json_pack("{s:I, s:f, s:f, s:f}", "sweeps", (json_int_t)r.sweeps, "mean", r.mean,
                                      "p90", r.p90, "tau", r.tau));
        if (!j->json)
            printf(
                "%-18s choice of tp x ep by constants of %s: %zu sweeps, mean regret %.1f %%, p90 %.1f %%, Kendall tau %.2f\n",
                "", sets[i]->chip, r.sweeps, 100 * r.mean, 100 * r.p90, r.tau);
    }
    if (!rc) rc = report_borrowed(j, m, g, sets[1], "transfer", row, e);
    return rc ? rc
              : report_borrowed(j, m, g, constants_find_other(&j->known, m->op, g, m->framework, m->words),
                                "other_type", row, e);
}

static void print_group(const struct measured_group *m, const struct validate_errors *plain,
                        const struct validate_errors *fitted, const char *from, double counted, bool bar)
{
    char name[64] = "";
    for (int i = 0; i < OP_GROUP_MAX && m->words[i]; i++) {
        size_t n = strlen(name);
        snprintf(name + n, sizeof name - n, "%s%s", i ? " " : "", m->words[i]);
    }
    printf("%-18s %-16s %-8s %-30s %7zu %6zu | %6.1f %6.1f %6.1f %+6.1f |", m->op->name, m->chip,
           m->framework, name, m->n, plain->n, 100 * plain->median, 100 * plain->mean, 100 * plain->p90,
           100 * plain->bias);
    if (fitted)
        printf(" %6.1f %6.1f %6.1f %+6.1f %-14s", 100 * fitted->median, 100 * fitted->mean, 100 * fitted->p90,
               100 * fitted->bias, from);
    else printf(" %s", "no constants fit");
    if (bar) printf(" %5.1f of %.0f %s", 100 * counted, 100 * m->op->bar, counted <= m->op->bar ? "met" : "MISSED");
    putchar('\n');
    fflush(stdout);
}

/* Errors where whole shapes, or the largest sizes, are left out of a fit of their own. */
static int report_cross(struct job *j, struct measured_group *m, const struct gpu *g, json_t *row, struct err *e)
{
    for (int hold = 0; j->cross && hold < VALIDATE_HOLDS; hold++) {
        struct validate_errors v;
        int rc = validate_cross(&v, m, g, (enum validate_hold)hold, e);
        if (rc) return rc;
        if (!v.n) continue;
        json_object_set_new(row, hold == VALIDATE_SHAPES ? "shapes_left_out" : "largest_left_out", errors_json(&v));
        if (!j->json)
            printf("%-18s fitted without %s: median %.1f, mean %.1f, p90 %.1f, bias %+.1f on %zu of them\n",
                   "", validate_hold_name[hold], 100 * v.median, 100 * v.mean, 100 * v.p90, 100 * v.bias,
                   v.n);
        fflush(stdout);
    }
    return 0;
}

static int report_group(struct job *j, struct measured_group *m, const struct gpu *g, struct err *e)
{
    double c[OP_CONSTANTS_MAX];
    struct validate_errors plain, fitted = {0}, part = {0};
    struct constants_set own = {.op = m->op, .chip = m->chip, .framework = m->framework};
    const struct constants_set *set = constants_find(&j->known, m->op, g, m->framework, m->words);
    memcpy(own.words, m->words, sizeof own.words);
    if (j->fit && m->n - m->n_held >= VALIDATE_FIT_LEAST) {
        int rc = validate_fit(own.value, m, g, e);
        if (rc) return rc;
        set = &own;
        json_array_append_new(j->fitted, constants_json(&own, (long)(m->n - m->n_held)));
    }
    /* by the fit: those not held out */
    bool seen = set && constants_of(set, g, m->words) && !strcmp(set->framework, m->framework);
    int rows = seen ? VALIDATE_HELD : VALIDATE_ALL;
    const char *from = seen ? "own" : set ? set->chip : NULL;
    validate_neutral(m->op, c);
    int rc = validate_group(&plain, m, g, c, rows, e);
    if (!rc && set) rc = validate_group(&fitted, m, g, set->value, rows, e);
    if (!rc && set) rc = validate_group(&part, m, g, set->value, rows | VALIDATE_COUNTED, e);
    if (rc) return rc;
    json_t *words = json_array();
    for (int i = 0; i < OP_GROUP_MAX && m->words[i]; i++) json_array_append_new(words, json_string(m->words[i]));
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:o, s:I, s:o}", "op", m->op->name, "chip", m->chip, "framework",
                  m->framework, "words", words, "rows", (json_int_t)m->n, "datasheet", errors_json(&plain));
    if (!row) return err(e, ERR_MEMORY, "out of memory");
    if (isfinite(plain.below_floor)) json_object_set_new(row, "measured_over_floor_min", json_real(plain.below_floor));
    if (set) {
        json_object_set_new(row, "constants_of",
                            json_pack("{s:s, s:s}", "chip", set->chip, "framework", set->framework));
        json_object_set_new(row, "fitted", errors_json(&fitted));
    }
    if (set && m->op->bar > 0 && part.n && !(m->op->bar_word && strcmp(m->op->bar_word, m->words[0]))) {
        json_object_set_new(row, "bar",
                            json_pack("{s:f, s:I, s:f}", "median", m->op->bar, "rows", (json_int_t)part.n,
                                      "reached", part.median));
    }
    json_array_append_new(j->out, row);
    if (!j->json) print_group(m, &plain, set ? &fitted : NULL, from, part.median, json_object_get(row, "bar") != NULL);
    if ((rc = report_cross(j, m, g, row, e))) return rc;
    return j->transfer ? report_transfer(j, m, g, set, row, e) : 0;
}

static int report(struct job *j, struct err *e)
{
    int rc = 0;
    if (!j->json)
        printf(
            "%-18s %-16s %-8s %-30s %7s %6s | %27s | %27s\n%89s | %6s %6s %6s %6s | %6s %6s %6s %6s %-14s bar (median)\n",
            "operator", "chip", "from", "type", "rows", "tested", "datasheet alone, error %",
            "fitted constants, error %", "", "median", "mean", "p90", "bias", "median", "mean", "p90", "bias",
            "constants of");
    for (int i = 0; i < j->m.n && !rc; i++) {
        struct measured_group *m = j->m.groups[i];
        struct gpu g;
        if (j->chip && strcmp(j->chip, m->chip)) continue;
        if (gpu_find(&g, m->chip, NULL) == 0) {
            rc = report_group(j, m, &g, e);
        } else {
            json_int_t n = json_integer_value(json_object_get(j->chips, m->chip));
            json_object_set_new(j->chips, m->chip, json_integer(n + (json_int_t)m->n));
        }
    }
    return rc;
}

static void show_published(void *ud, const struct published_row *r)
{
    struct job *j = ud;
    struct gpu g;
    if (j->chip && strcmp(j->chip, r->chip)) return;
    if (*r->why && j->chip && !j->json)
        printf("%-16s %-18s %-18s %10.4g %-9s not comparable: %s\n", r->chip, r->model, r->metric, r->value,
               r->unit, r->why);
    if (*r->why) {
        json_int_t n = json_integer_value(json_object_get(j->left_out, r->why));
        json_object_set_new(j->left_out, r->why, json_integer(n + 1));
        return;
    }
    double error = r->predicted / r->value - 1;
    int kind = gpu_find(&g, r->chip, NULL) ? OTHERS : GPUS;
    if (j->n_ape[kind] < PUBLISHED_MAX) j->ape[kind][j->n_ape[kind]++] = fabs(error);
    json_array_append_new(
        j->published, json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:i, s:s, s:s, s:f, s:f, s:o}", "chip",
                                r->chip, "n_chips", r->n_chips, "model", r->model, "precision", r->precision,
                                "batch", r->batch, "input", r->input, "output", r->output, "metric",
                                r->metric, "unit", r->unit, "published", r->value, "predicted", r->predicted,
                                "datasheet", isnan(r->datasheet) ? json_null() : json_real(r->datasheet)));
    if (j->json) return;
    printf(
        "%-16s x%-4d %-16s %-7s batch %-4d %5d in %5d out  %-18s %10.4g %-9s predicted %10.4g (%+5.1f %%), datasheet alone ",
        r->chip, r->n_chips, r->model, r->precision, r->batch, r->input, r->output, r->metric, r->value,
        r->unit, r->predicted, 100 * error);
    if (isnan(r->datasheet)) puts("n/p");
    else printf("%10.4g (%+.0f %%)\n", r->datasheet, 100 * (r->datasheet / r->value - 1));
}

/* What steps add is fitted last, with the constants that are known by then. */
static int fit_published(struct job *j, const char *dir, struct err *e)
{
    struct constants_set set = {.chip = j->step_chip, .framework = "trtllm"};
    int n = 0, rc = published_fit(&set, dir, &j->known, &n, e);
    if (!rc) json_array_append_new(j->fitted, constants_json(&set, n));
    return rc;
}

static void print_kinds(struct job *j)
{
    static const char *const name[] = {"GPUs", "other chips"};
    static const double bar[] = {0.15, 0.25};
    for (int k = 0; k < KINDS; k++) {
        size_t n = (size_t)j->n_ape[k];
        if (!n) continue;
        quantile_sort(j->ape[k], n);
        double median = quantile_at(j->ape[k], n, 0.5);
        printf("%s: %zu results compared, median error %.1f %% of %.0f: %s\n", name[k], n, 100 * median,
               100 * bar[k], median <= bar[k] ? "met" : "MISSED");
    }
}

/* Pieces of layers on chips that are no GPUs. */
static int report_layers(struct job *j, const char *dir, struct err *e)
{
    int rc = layers_read(&j->layers, dir, &j->known, e);
    if (rc) return judge_file(j, rc, e);
    j->n_files++;
    const struct layers *l = &j->layers;
    for (int i = 0; i < LAYERS_PIECES; i++) {
        const struct layers_group *g = &l->piece[i];
        struct validate_errors plain, fitted;
        if (!g->n || (j->chip && strcmp(j->chip, l->chip))) continue;
        validate_sum(&plain, g->datasheet, g->n);
        validate_sum(&fitted, g->ratio, g->n);
        json_t *row =
            json_pack("{s:s, s:s, s:I, s:o, s:o}", "op", layers_piece_name[i], "chip", l->chip, "rows",
                      (json_int_t)g->rows, "datasheet", errors_json(&plain), "fitted", errors_json(&fitted));
        json_array_append_new(j->out, row);
        if (!j->json)
            printf(
                "%-18s %-16s %-8s %-30s %7ld %6zu | %6.1f %6.1f %6.1f %+6.1f | %6.1f %6.1f %6.1f %+6.1f %-14s\n",
                "layer", l->chip, "", layers_piece_name[i], g->rows, g->n, 100 * plain.median,
                100 * plain.mean, 100 * plain.p90, 100 * plain.bias, 100 * fitted.median, 100 * fitted.mean,
                100 * fitted.p90, 100 * fitted.bias, "own");
    }
    if (!j->json && (l->n_fused || l->n_unknown))
        printf("%-18s %ld rows not compared: names that hold parts of others; %ld of other chips or models\n",
               "layer", l->n_fused, l->n_unknown);
    return 0;
}

static int report_published(struct job *j, const char *dir, struct err *e)
{
    const char *why;
    json_t *n;
    if (!j->json) printf("\nWhole models, one static batch\n");
    int rc = published_read(dir, &j->known, show_published, j, e);
    if (rc) return judge_file(j, rc, e);
    j->n_files++;
    if (!j->json) {
        print_kinds(j);
        json_object_foreach(j->left_out, why, n)
            printf("%lld not compared: %s\n", (long long)json_integer_value(n), why);
    }
    return 0;
}

static void print_odd(const struct table_odd *o)
{
    if (o->n) printf("%ld rows passed over; the first: %s\n", o->n, o->first.msg);
}

static int print_end(struct job *j, struct err *e)
{
    const char *chip;
    json_t *n;
    size_t i;
    if (j->fit && json_dump_file(j->fitted, j->fit, JSON_INDENT(1) | JSON_REAL_PRECISION(4)))
        return err(e, ERR_IO, "cannot write '%s': %s", j->fit, strerror(errno));
    if (j->json) {
        json_t *all = json_pack(
            "{s:O, s:O, s:O, s:O, s:O, s:I, s:I, s:I}", "groups", j->out, "published", j->published,
            "published_not_compared", j->left_out, "chips_without_datasheet", j->chips, "files_not_read",
            j->unread, "rows", (json_int_t)j->m.n_rows, "rows_of_unknown_operators",
            (json_int_t)j->m.n_unknown, "rows_passed_over", (json_int_t)(j->m.odd.n + j->layers.odd.n));
        if (!all || json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)))
            return err(e, ERR_IO, "cannot write to standard output: %s", strerror(errno));
        putchar('\n');
        json_decref(all);
        return 0;
    }
    printf("\n%ld rows read; %ld of operators or types that no model knows", j->m.n_rows, j->m.n_unknown);
    json_object_foreach(j->chips, chip, n)
        printf("; %lld of '%s', a chip without datasheet", (long long)json_integer_value(n), chip);
    putchar('\n');
    print_odd(&j->m.odd), print_odd(&j->layers.odd);
    json_array_foreach(j->unread, i, n) printf("not read: %s\n", json_string_value(n));
    printf(
        "Errors are |predicted / measured - 1| over rows that the constants were not fitted on: held-out ones (one in five, by hash), or all where the constants are\n"
        "another chip's. No prediction lies below bytes over "
        "bandwidth or operations over peak.\n");
    return 0;
}

int cmd_validate(int argc, char **argv)
{
    static const struct args_doc doc = {
        "validate", "--data DIR", "compare the planner's time models with measurements",
        "Reads files of measured operators (gemm.csv, attention_context.csv, attention_decode.csv, moe.csv, collectives.csv, plain or .gz; "
        "whichever are there) and prints the error of every group on rows that no fit has seen: with the datasheet alone, and with fitted "
        "constants. Chips without datasheet are counted and passed over."};
    static struct job j;
    const char *dir = NULL, *constants = NULL;
    int status;
    const struct arg table[] = {
        {"data", 'd', ARG_STR, &dir, "DIR", "folder of measurements", 0, 0},
        {"op", 0, ARG_STR, &j.op, "NAME",
         "this operator only: gemm, attention_context, attention_decode, moe, collective", 0, 0},
        {"chip", 0, ARG_STR, &j.chip, "NAME", "rows of this chip only, as the files call it", 0, 0},
        {"constants", 0, ARG_STR, &constants, "FILE",
         "fitted constants to use (default: those of the program)", 0, 0},
        {"fit", 0, ARG_STR, &j.fit, "FILE",
         "fit on the rows that are not held out, and write the constants to FILE", 0, 0},
        {"fit-step", 0, ARG_STR, &j.step_chip, "CHIP",
         "with --fit: fit what a step adds to its operators on this chip's published results", 0, 0},
        {"transfer", 0, ARG_FLAG, &j.transfer, NULL,
         "also with the constants of another chip, of another type, and the regret of choices", 0, 0},
        {"cross", 0, ARG_FLAG, &j.cross, NULL,
         "also fit anew without whole shapes, and without the largest sizes, and test on these (minutes)", 0,
         0},
        {"json", 0, ARG_FLAG, &j.json, NULL, "print a JSON object", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc != at || !dir) return args_fault(&doc, "give the folder of measurements by --data DIR");
    struct err e = {0};
    j.out = json_array(), j.fitted = json_array(), j.chips = json_object(), j.published = json_array(),
    j.left_out = json_object(), j.unread = json_array();
    int rc = j.out && j.fitted && j.chips && j.published && j.left_out && j.unread
                 ? constants_open(&j.known, constants, &e)
                 : err(&e, ERR_MEMORY, "out of memory");
    if (!rc) rc = read_operators(&j, dir, &e);
    if (!rc) rc = report(&j, &e);
    if (!rc && j.fit && j.step_chip) rc = fit_published(&j, dir, &e);
    if (!rc && !j.op) rc = report_layers(&j, dir, &e);
    if (!rc && !j.op) rc = report_published(&j, dir, &e);
    if (!rc) rc = check_files(&j, dir, &e);
    if (!rc) rc = print_end(&j, &e);
    measured_close(&j.m);
    layers_close(&j.layers);
    constants_close(&j.known);
    json_decref(j.out), json_decref(j.fitted), json_decref(j.chips), json_decref(j.published),
        json_decref(j.left_out), json_decref(j.unread);
    return rc ? common_fail(&doc, &e) : 0;
}
