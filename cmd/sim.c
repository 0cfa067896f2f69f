/* SPDX-License-Identifier: Apache-2.0 */
/* tutti sim: what a token of a model takes on a chip: time, energy, money, memory, and how far to believe it. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "common.h"
#include "file/cache.h"
#include "plan/class/device.h"
#include "plan/class/pieces.h"
#include "plan/class/shape_model.h"
#include "plan/class/timed.h"

static const struct args_doc doc = {
    "sim", "MODEL | --shape NAME", "time, energy and memory of a token on any chip",
    "What one step of a model takes on a chip, or on N of them (--chip NAME:N): MODEL is a GGUF file or a pulled name; --shape takes a known name "
    "(llama-3.1-8b ...) or the path of a config.json. Every figure carries its class of evidence: measured, fitted, published (datasheets), assumed "
    "or guessed. What is not published is n/p; --assume SECTION.KEY=VALUE fills it ('tutti chips NAME' lists a chip's figures). A model that does not "
    "fit is refused with the number of chips that hold it; with --chip all every chip is asked, and takes that number."};

struct asked {
    const char *chip, *precision, *framework;
    struct arg_strs shapes, assume;
    const char *assumed[ARG_LIST_MAX + 1];
    int context, batch, tp, pp, ep;
    bool json, markdown, steps;
};

struct answer {
    struct device *d;
    struct device_setup s;
    struct device_precision precision;
    struct shape shape;
    struct device_fit fit;
    struct device_step step, prefill;
    double flights;  /* steps under way at once: stages that are busy */
    double tokens_s; /* of all sequences */
    double joules;   /* per token; NAN n/p */
    double dollars;  /* per million tokens; NAN n/p */
};

static void derive(struct answer *a, const struct asked *q)
{
    double held = floor(a->fit.tokens / ((double)q->batch * (q->context + 1)));
    a->flights = fmax(1, fmin(a->step.seconds / a->step.interval, held));
    a->tokens_s = a->s.dp * a->flights * q->batch / a->step.seconds;
    double work = a->step.joules - a->step.joule[DEVICE_STATIC];
    a->step.joule[DEVICE_STATIC] = a->step.static_watts * a->step.seconds / a->flights;
    a->step.joules = a->step.joule[DEVICE_STATIC] + work;
    a->joules = a->step.joules / q->batch;
    a->dollars = a->s.dp * device_chips(&a->s) * a->d->rent / 3600 / a->tokens_s * 1e6;
}

/* n 0: as many chips as it takes. */
static int compute(struct answer *a, const struct asked *q, int n, struct err *e)
{
    int rc;
    a->s.shape = &a->shape, a->s.precision = &a->precision;
    device_split(a->d, &a->s, n ? n : 1);
    if (q->tp) a->s.tp = q->tp, a->s.pp = (n ? n : 1) / q->tp;
    if (q->pp) a->s.pp = q->pp;
    if (q->ep) a->s.ep = q->ep, a->s.pp = 1;
    if (q->tp || q->pp || q->ep) a->s.dp = 1;
    if ((rc = device_fit(a->d, &a->s, q->batch, q->context + 1, &a->fit, e))) return rc;
    if (!a->fit.fits && !n && a->fit.chips) {
        device_split(a->d, &a->s, a->fit.chips);
        if ((rc = device_fit(a->d, &a->s, q->batch, q->context + 1, &a->fit, e))) return rc;
    }
    if (!a->fit.fits) return err(e, ERR_LIMIT, "%s on %s: %s", a->shape.name, a->d->figures.chip, a->fit.why);
    if ((rc = device_decode(a->d, &a->s, q->batch, q->context, &a->step, e)) ||
        (rc = device_prefill(a->d, &a->s, 1, q->context, 0, &a->prefill, e)))
        return rc;
    derive(a, q);
    return 0;
}

/* --- output ---------------------------------------------------------------------------------------------------------- */

static void number(char out[32], double v)
{
    if (isnan(v)) snprintf(out, 32, "n/p");
    else snprintf(out, 32, "%.3g", v);
}

static const char *si_seconds(double s, char out[32])
{
    if (s < 1e-3) snprintf(out, 32, "%.3g us", 1e6 * s);
    else if (s < 1) snprintf(out, 32, "%.3g ms", 1e3 * s);
    else snprintf(out, 32, "%.3g s", s);
    return out;
}

static void print_parts(const char *title, const double *x, const char *const *name, int n, double all)
{
    const char *between = "";
    printf("%-18s ", title);
    for (int i = 0; i < n; i++)
        if (x[i] > 0.0005 * all) printf("%s%s %.1f %%", between, name[i], 100 * x[i] / all), between = ", ";
    putchar('\n');
}

static void print_price(const struct answer *a)
{
    if (isnan(a->dollars)) printf("%-18s n/p: price.rent is not known (--assume price.rent=USD)\n", "$/Mtoken");
    else
        printf("%-18s %.3g  (%s: %g USD/h each, all of it charged to output)\n", "$/Mtoken", a->dollars,
               evidence_name[a->d->figures.sheet.items[FIGURE_price_rent].evidence], a->d->rent);
}

static void print_text(const struct answer *a, const struct asked *q)
{
    char t[32], u[512];
    const struct device_step *s = &a->step;
    printf("%s in %s on %d x %s (%s)\n", a->shape.name, a->precision.name, a->s.dp * device_chips(&a->s),
           a->d->figures.chip, a->d->title);
    printf("class %s, simulated by %s; tp %d, pp %d, ep %d, copies %d; batch %d, context %d\n", a->d->class,
           a->d->level, a->s.tp, a->s.pp, a->s.ep, a->s.dp, q->batch, q->context);
    if (isnan(a->d->error)) snprintf(u, sizeof u, "unknown: %s", a->d->error_source);
    else if (s->error > 1.01 * a->d->error)
        snprintf(u, sizeof u, "%.0f %% (the chip's %.0f %%, %s: %s; wider, since some of it has %s)",
                 100 * s->error, 100 * a->d->error, evidence_name[a->d->error_evidence], a->d->error_source,
                 s->note ? s->note : "no measured constants");
    else
        snprintf(u, sizeof u, "%.0f %% (%s: %s)", 100 * a->d->error, evidence_name[a->d->error_evidence],
                 a->d->error_source);
    printf("%-18s %s  (%s; floor %.3g ms; expected error %s)\n", "time per token", si_seconds(s->seconds, t),
           evidence_name[s->evidence], 1e3 * s->floor, u);
    if (s->note && s->joules >= 0) printf("%-18s %s\n", "", s->note);
    print_parts("  of it", s->part, device_part_name, DEVICE_PARTS, s->seconds);
    print_parts("  waiting for", s->resource, device_resource_name, DEVICE_RESOURCES, s->seconds);
    printf("%-18s %.4g\n", "tokens/s/user", 1 / s->seconds);
    printf("%-18s %.4g", "tokens/s", a->tokens_s);
    if (a->flights > 1) printf("  (%.4g steps under way in the pipeline)", a->flights);
    printf("\n%-18s %s for %d tokens\n", "prefill", si_seconds(a->prefill.seconds, t), q->context);
    if (isnan(a->joules)) printf("%-18s n/p: %s\n", "J/token", s->note ? s->note : "");
    else {
        printf("%-18s %.4g  (%s; chips only; batch %d, %.4g steps under way)\n", "J/token", a->joules,
               evidence_name[s->joules_evidence], q->batch, a->flights);
        print_parts("  of it", s->joule, device_joules_name, DEVICE_JOULES, s->joules);
    }
    print_price(a);
    printf("%-18s compute %.1f %%, memory %.1f %%\n", "utilisation",
           100 * s->use_compute * a->flights * s->interval / s->seconds,
           100 * s->use_memory * a->flights * s->interval / s->seconds);
    printf(
        "%-18s fits: %.4g GB of weights and %.4g GB of cache on each chip of %.4g GB; room for %.6g tokens of cache\n",
        "memory", 1e-9 * a->fit.weight_bytes, 1e-9 * a->fit.token_bytes * q->batch * (q->context + 1),
        1e-9 * a->fit.usable_bytes, a->fit.tokens);
}

/* Where a token's time goes, piece by piece: of one chip, of all layers. */
static void print_steps(const struct answer *a, const struct asked *q)
{
    struct piece p[PIECES_MAX];
    char one[32], all[32], low[32];
    double sum = 0;
    int n = pieces_decode(p, a->d, &a->s, q->batch, q->context);
    for (int i = 0; i < n; i++) sum += p[i].times * p[i].seconds;
    printf("\n%-36s %-10s %6s %10s %10s %6s %10s %9s %9s  waits for\n", "step, of one chip", "part", "times",
           "one", "all", "%", "floor", "MFLOP", "MB");
    for (int i = 0; i < n; i++)
        printf("%-36s %-10s %6.0f %10s %10s %6.1f %10s %9.4g %9.4g  %s\n", p[i].what,
               device_part_name[p[i].part], p[i].times, si_seconds(p[i].seconds, one),
               si_seconds(p[i].times * p[i].seconds, all), 100 * p[i].times * p[i].seconds / sum,
               si_seconds(p[i].floor, low), 1e-6 * p[i].ops, 1e-6 * p[i].bytes,
               device_resource_name[p[i].bound]);
    if (!strcmp(a->d->class, "dataflow"))
        puts(
            "(a layer is one pipeline: memory and arithmetic of its pieces overlap, so the token takes less than their sum)");
}

static json_t *parts_json(const double *x, const char *const *name, int n)
{
    json_t *j = json_object();
    for (int i = 0; i < n; i++) json_object_set_new(j, name[i], isnan(x[i]) ? json_null() : json_real(x[i]));
    return j;
}

static json_t *maybe(double v)
{
    return isnan(v) ? json_null() : json_real(v);
}

static json_t *answer_json(const struct answer *a, const struct asked *q)
{
    const struct device_step *s = &a->step;
    json_t *j =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "model", a->shape.name,
                  "precision", a->precision.name, "chip", a->d->figures.chip, "name", a->d->title, "class",
                  a->d->class, "level", a->d->level, "chips", device_chips(&a->s), "tp", a->s.tp, "pp",
                  a->s.pp, "ep", a->s.ep, "copies", a->s.dp, "batch", q->batch, "context", q->context);
    json_t *more = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:s, s:s}", "seconds", s->seconds, "interval",
        s->interval, "steps_under_way", a->flights, "floor", s->floor, "tokens_per_s_user", 1 / s->seconds,
        "tokens_per_s", a->tokens_s, "prefill_seconds", a->prefill.seconds, "joules_per_token",
        maybe(a->joules), "usd_per_million_tokens", maybe(a->dollars), "expected_error", maybe(s->error),
        "evidence", evidence_name[s->evidence], "joules_evidence", evidence_name[s->joules_evidence]);
    json_t *memory =
        json_pack("{s:f, s:f, s:f, s:f}", "weight_bytes", a->fit.weight_bytes, "token_bytes",
                  a->fit.token_bytes, "usable_bytes", a->fit.usable_bytes, "cache_tokens", a->fit.tokens);
    if (!j || !more || !memory) return NULL;
    json_object_update_new(j, more);
    json_object_set_new(j, "memory", memory);
    json_object_set_new(j, "parts", parts_json(s->part, device_part_name, DEVICE_PARTS));
    json_object_set_new(j, "resources", parts_json(s->resource, device_resource_name, DEVICE_RESOURCES));
    json_object_set_new(j, "joules", parts_json(s->joule, device_joules_name, DEVICE_JOULES));
    json_object_set_new(j, "use_compute", json_real(s->use_compute));
    json_object_set_new(j, "use_memory", json_real(s->use_memory));
    if (s->note) json_object_set_new(j, "note", json_string(s->note));
    return j;
}

static void print_row(const struct answer *a, const struct asked *q)
{
    char joules[32], dollars[32], error[32], time[32];
    number(joules, a->joules);
    number(dollars, a->dollars);
    number(error, round(100 * a->step.error));
    si_seconds(a->step.seconds, time);
    if (q->markdown)
        printf("| %s | %d | %d x %d | %s | %.4g | %.4g | %s | %s | %s | %s | %s |\n", a->d->figures.chip,
               device_chips(&a->s), a->s.tp, a->s.pp, time, 1 / a->step.seconds, a->tokens_s, joules, dollars,
               evidence_name[a->step.evidence], error, a->d->level);
    else
        printf("%-12s %7d %4d x %-4d %-9s %10.4g %10.4g %9s %9s %-9s %7s %s\n", a->d->figures.chip,
               device_chips(&a->s), a->s.tp, a->s.pp, time, 1 / a->step.seconds, a->tokens_s, joules, dollars,
               evidence_name[a->step.evidence], error, a->d->level);
}

static void print_refused(const struct asked *q, const char *chip, const struct err *e)
{
    if (q->markdown) printf("| %s | | | %s | | | | | | | |\n", chip, e->msg);
    else printf("%-12s %s\n", chip, e->msg);
}

/* --- the question ---------------------------------------------------------------------------------------------------- */

/* The simulated LPU counts instructions for a model that it can hold: beside the figures of the class, its own. */
static json_t *instructions_json(const struct chip_cost *c)
{
    json_t *busy = json_object(), *joule = json_object();
    for (int i = 0; i < c->n_busy; i++) json_object_set_new(busy, c->busy[i].what, json_real(c->busy[i].value));
    for (int i = 0; i < c->n_joule; i++) json_object_set_new(joule, c->joule[i].what, json_real(c->joule[i].value));
    return json_pack("{s:i, s:i, s:i, s:I, s:f, s:f, s:o, s:o}", "chips", c->chips, "batch", 1,
                     "context_up_to", c->context, "cycles", (json_int_t)c->cycles, "seconds", c->seconds,
                     "tokens_per_s_user", 1 / c->seconds, "busy", busy, "joules", joule);
}

static void print_instructions(const char *model, const struct asked *q, json_t *out)
{
    struct engine *en = NULL;
    struct path path;
    struct chip_cost cost;
    struct err e = {0};
    struct buf b;
    buf_init(&b, 1 << 16);
    int rc = model_path_resolve(model, &path, &e);
    if (!rc) rc = engine_open(&en, path.z, &(struct engine_options){.chip = q->chip, .n_ctx = 1, .n_batch = 1}, &e);
    if (!rc) rc = chip_cost(en->chip, q->context, &cost, &e);
    if (!rc) chip_explain(en->chip, &b);
    if (out)
        json_object_set_new(json_array_get(out, 0), "instructions",
                            rc ? json_pack("{s:s}", "refused", e.msg) : instructions_json(&cost));
    else printf("\nby the instruction-level simulator:\n%s\n", rc ? e.msg : b.p ? b.p : "");
    engine_close(en);
    buf_finish(&b);
}

static int open_chip(struct answer *a, const struct asked *q, const char *name, struct err *e)
{
    struct device_options o = {.assume = q->assumed, .framework = q->framework};
    return device_open(&a->d, name, &o, e);
}

static int one(const struct asked *q, struct answer *a, json_t *out, struct err *e)
{
    char name[TIMED_NAME_MAX];
    int n, rc;
    if ((rc = timed_split(q->chip, name, &n, e)) || (rc = open_chip(a, q, name, e)) ||
        (rc = compute(a, q, n, e)))
        return rc;
    if (out) json_array_append_new(out, answer_json(a, q));
    else print_text(a, q);
    if (q->steps && !out) print_steps(a, q);
    return 0;
}

static void head(const struct asked *q, const struct answer *a)
{
    if (q->markdown)
        printf(
            "\n### %s, %s, batch %d, context %d\n\n| chip | chips | tp x pp | time per token | tokens/s/user | tokens/s | J/token | $/Mtoken | evidence | error, %% | "
            "level |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
            a->shape.name, a->precision.name, q->batch, q->context);
    else
        printf("%s in %s, batch %d, context %d\n%-12s %7s %11s %-9s %10s %10s %9s %9s %-9s %7s level\n",
               a->shape.name, a->precision.name, q->batch, q->context, "chip", "chips", "tp x pp",
               "per token", "tok/s/user", "tok/s", "J/token", "$/Mtok", "evidence", "error %");
}

static int every(const struct asked *q, struct answer *a, json_t *out, struct err *e)
{
    if (!out) head(q, a);
    for (int i = 0; sheet_chip(i); i++) {
        struct err fault = {0};
        int rc = open_chip(a, q, sheet_chip(i), &fault);
        if (!rc) rc = compute(a, q, 0, &fault);
        if (rc == ERR_MEMORY) return err(e, rc, "%s", fault.msg);
        if (out)
            json_array_append_new(out, rc ? json_pack("{s:s, s:s, s:s}", "model", a->shape.name, "chip",
                                                      sheet_chip(i), "refused", fault.msg)
                                          : answer_json(a, q));
        else if (rc) print_refused(q, sheet_chip(i), &fault);
        else print_row(a, q);
        device_close(a->d);
        a->d = NULL;
    }
    return 0;
}

static int answer(const struct asked *q, const char *shape, const char *model, json_t *out, struct err *e)
{
    struct answer *a = calloc(1, sizeof *a);
    int rc = a ? 0 : err(e, ERR_MEMORY, "out of memory");
    if (!rc && model) {
        rc = shape_of_model(&a->shape, &a->precision, model, e);
    } else if (!rc) {
        rc = shape_open(&a->shape, shape, e);
        const struct device_precision *p = device_precision(q->precision);
        if (!rc && !p)
            rc = err(e, ERR_USAGE, "--precision '%s' is unknown; known: 16-bit, fp8, int8, fp4, q4",
                     q->precision);
        if (!rc) a->precision = *p;
    }
    if (!rc) rc = strcmp(q->chip, "all") ? one(q, a, out, e) : every(q, a, out, e);
    if (!rc && model && chip_named(q->chip) == &chip_lpu) print_instructions(model, q, out);
    if (a) device_close(a->d);
    free(a);
    return rc;
}

int cmd_sim(int argc, char **argv)
{
    struct asked q = {.precision = "16-bit", .context = 1024, .batch = 1};
    struct err e = {0};
    int status, rc = 0;
    const struct arg table[] = {
        {"shape", 0, ARG_STRS, &q.shapes, "NAME",
         "known shape, or path of a config.json, instead of a MODEL; may be given several times", 0, 0},
        {"chip", 0, ARG_STR, &q.chip, "NAME[:N]",
         "chip or path of a datasheet, and how many share the model; 'all': every chip, as many as it takes",
         0, 0},
        {"context", 'c', ARG_INT, &q.context, "N", "tokens in the cache of each sequence (default: 1024)", 1,
         1 << 24},
        {"batch", 'b', ARG_INT, &q.batch, "N", "sequences in a step (default: 1)", 1, 1 << 20},
        {"precision", 0, ARG_STR, &q.precision, "TYPE",
         "with --shape: 16-bit, fp8, int8, fp4, q4 (default: 16-bit)", 0, 0},
        {"assume", 0, ARG_STRS, &q.assume, "KEY=VALUE",
         "a figure of the datasheet, as memory.rate=1200, or of one chip, as x220:memory.rate=40; evidence: guessed",
         0, 0},
        {"tp", 0, ARG_INT, &q.tp, "N", "chips that share every product (default: as the class does)", 1,
         1 << 16},
        {"pp", 0, ARG_INT, &q.pp, "N", "stages of layers", 1, 1 << 16},
        {"ep", 0, ARG_INT, &q.ep, "N", "chips that share the experts", 1, 1 << 16},
        {"framework", 0, ARG_STR, &q.framework, "NAME",
         "whose fitted constants: trtllm, vllm, sglang (default: trtllm)", 0, 0},
        {"steps", 0, ARG_FLAG, &q.steps, NULL,
         "with one chip: also the time of every kind of step of the program, and what it waits for", 0, 0},
        {"markdown", 0, ARG_FLAG, &q.markdown, NULL, "with --chip all: a table for a document", 0, 0},
        {"json", 0, ARG_FLAG, &q.json, NULL, "print JSON", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    bool model = argc - at == 1;
    if (argc - at > 1 || model == (q.shapes.n > 0))
        return args_fault(&doc, "give one MODEL or --shape NAME; see tutti sim --help");
    if (!q.chip) return args_fault(&doc, "give the chip by --chip NAME[:N], or --chip all; 'tutti chips' lists them");
    for (int i = 0; i < q.assume.n; i++) q.assumed[i] = q.assume.p[i];
    json_t *out = q.json ? json_array() : NULL;
    if (q.json && !out) rc = err(&e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < (model ? 1 : q.shapes.n) && !rc; i++)
        rc = answer(&q, model ? NULL : q.shapes.p[i], model ? argv[at] : NULL, out, &e);
    if (!rc && out) {
        json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
    }
    json_decref(out);
    return rc ? common_fail(&doc, &e) : 0;
}
