/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti plan: which chips, how many, shared how, serve some traffic of a model within limits of latency,
 * power and money. What cannot be known is refused by name; what is impossible is said, with the nearest
 * plan.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd.h"
#include "common.h"
#include "plan.h"
#include "plan/class/shape_model.h"
#include "plan/op/step.h"
#include "plan/search/saturated.h"

struct options {
    const char *shape, *traffic, *ttft, *tpot, *chips, *power, *budget, *price, *precision, *pay, *html;
    struct arg_strs assume;
    float attain, accept, draft_share;
    int draft, chips_max;
    uint64_t seed;
    const char *data, *write;
    bool json, quiet, in_turn;
    struct plan_asked more;
};

static int read_limits(struct plan *p, const struct options *o, struct err *e)
{
    struct want *w = &p->want;
    int rc = 0;
    if (o->ttft) rc = traffic_seconds(&w->limits.ttft_s, o->ttft, "--ttft", e);
    if (!rc && o->tpot) rc = traffic_seconds(&w->limits.tpot_s, o->tpot, "--tpot", e);
    if (!rc && o->power) rc = traffic_watts(&w->watts, o->power, "--power", e);
    if (!rc && o->budget) rc = traffic_dollars(&w->dollars, o->budget, "--budget", e);
    if (!rc && !o->tpot && p->traffic.speed > 0) w->limits.tpot_s = 1 / p->traffic.speed;
    if (!rc && o->pay && strcmp(o->pay, "rent") && strcmp(o->pay, "buy"))
        rc = err(e, ERR_USAGE, "--pay: '%s'; rent or buy", o->pay);
    w->pay = !o->pay ? ECONOMY_CHEAPER : !strcmp(o->pay, "rent") ? ECONOMY_RENT : ECONOMY_BUY;
    w->attain = 0.01 * (double)o->attain;
    w->draft = o->draft, w->accept = (double)o->accept, w->draft_share = (double)o->draft_share;
    w->chips_max = o->chips_max, w->seed = o->seed;
    return rc;
}

/* Chips that lack a figure are listed with what is missing; a name that nobody knows is an error. */
static int open_chip(struct plan *p, const char *name, const struct device_options *opt, bool named, struct err *e)
{
    struct err why = {0};
    if (p->n_devices == PLAN_CHIPS_MAX || p->n_refused == PLAN_CHIPS_MAX)
        return err(e, ERR_LIMIT, "more than %d chips", PLAN_CHIPS_MAX);
    for (int i = 0; i < p->n_devices; i++)
        if (!strcmp(p->devices[i]->figures.chip, name)) return 0; /* named twice */
    int rc = device_open(&p->devices[p->n_devices], name, opt, &why);
    if (!rc) p->n_devices++;
    if (!rc) return 0;
    if (rc != ERR_UNSUPPORTED && (named || rc == ERR_MEMORY)) return err(e, rc, "%s", why.msg);
    snprintf(p->refused[p->n_refused].name, sizeof p->refused->name, "%.63s", name);
    snprintf(p->refused[p->n_refused++].why, sizeof p->refused->why, "%.399s", why.msg);
    return 0;
}

static int open_chips(struct plan *p, const struct options *o, struct err *e)
{
    const char *assume[ARG_LIST_MAX + 1] = {0};
    /* servers of today prepare a step while the chip is busy with the one before */
    static const double hidden[STEP_CONSTANTS];
    struct device_options opt = {.assume = assume, .overhead = o->in_turn ? NULL : hidden};
    char name[128];
    int rc = 0;
    for (int i = 0; i < o->assume.n; i++) assume[i] = o->assume.p[i];
    if (!o->chips)
        for (int i = 0; sheet_chip(i) && !rc; i++) rc = open_chip(p, sheet_chip(i), &opt, false, e);
    for (const char *s = o->chips; s && *s && !rc;) {
        size_t n = strcspn(s, ",");
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), s);
        if (n) rc = open_chip(p, name, &opt, true, e);
        s += n + (s[n] == ',');
    }
    if (!rc && !p->n_devices && p->n_refused) rc = err(e, ERR_UNSUPPORTED, "%s", p->refused[0].why);
    if (!rc && !p->n_devices) rc = err(e, ERR_USAGE, "--chips names no chip");
    return rc;
}

/* Those asked for; or what the model file holds. */
static int read_precisions(struct search_space *space, const char *list, const struct plan *p, struct err *e)
{
    if (!list && p->own.name) {
        space->precision[space->n_precisions++] = &p->own;
        return 0;
    }
    if (!list) list = "fp8,16-bit";
    char name[32];
    for (const char *s = list; *s;) {
        size_t n = strcspn(s, ",");
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), s);
        const struct device_precision *d = device_precision(name);
        if (!d) return err(e, ERR_USAGE, "--precision: '%s' is unknown; known: 16-bit, fp8, int8, fp4, q4", name);
        if (space->n_precisions == SEARCH_PRECISIONS_MAX)
            return err(e, ERR_USAGE, "--precision: more than %d", SEARCH_PRECISIONS_MAX);
        space->precision[space->n_precisions++] = d;
        s += n + (s[n] == ',');
    }
    return space->n_precisions ? 0 : err(e, ERR_USAGE, "--precision names none");
}

/* One line on a terminal; nothing elsewhere. */
static void show_progress(void *ud, int done, int all)
{
    enum { CELLS = 24 };
    const struct plan *p = ud;
    char bar[CELLS + 1];
    for (int i = 0; i < CELLS; i++) bar[i] = i < done * CELLS / all ? '=' : i == done * CELLS / all ? '>' : ' ';
    bar[CELLS] = 0;
    fprintf(stderr, "\rsearch  [%s] %d of %d  %-12.12s", bar, done, all,
            done < all ? p->devices[done]->figures.chip : "");
    if (done == all) fputs("\r\033[K", stderr);
}

static int search(struct plan *p, const struct options *o, struct err *e)
{
    struct search_space space = {.devices = p->devices, .n_devices = p->n_devices, .ud = p};
    int rc = read_precisions(&space, o->precision, p, e);
    if (rc) return rc;
    double begin = common_now();
    if (!o->quiet && isatty(STDERR_FILENO)) space.progress = show_progress;
    rc = search_run(p->chips, &space, &p->want, e);
    if (!rc && plan_best(p)) rc = analysis_make(&p->analysis, p->chips, p->n_devices, &p->want, e);
    if (!rc) rc = plan_more(p, &o->more, &space, e);
    if (!rc && !plan_best(p) &&
        analysis_nearest(&p->nearest, &p->relaxed, p->chips, p->n_devices, &p->want, e) < 0)
        rc = e->code;
    p->seconds = common_now() - begin;
    return rc;
}

static void close_plan(struct plan *p)
{
    mix_close(&p->more.mix);
    for (int i = 0; i < p->n_devices; i++) device_close(p->devices[i]);
    economy_close(&p->economy);
    traffic_close(&p->traffic);
    free(p);
}

static int make_plan(struct plan *p, const char *model, const struct options *o, struct err *e)
{
    p->phrase = o->traffic;
    p->want = (struct want){.shape = &p->shape, .traffic = &p->traffic, .economy = &p->economy};
    int rc = model ? shape_of_model(&p->shape, &p->own, model, e) : shape_open(&p->shape, o->shape, e);
    if (!rc) rc = traffic_open(&p->traffic, o->traffic, e);
    if (!rc) rc = read_limits(p, o, e);
    if (!rc) rc = economy_open(&p->economy, o->price, e);
    if (!rc) rc = open_chips(p, o, e);
    return rc ? rc : search(p, o, e);
}

/* Whole systems under more load than they take: what was published, and what the simulation says. */
static void print_rows(const struct saturated *s)
{
    for (int i = 0; i < s->n; i++) {
        const struct saturated_row *r = &s->rows[i];
        printf("%-18s x%-4d %-16s %-7s %6d in %5d out  %9.0f tokens/s ", r->chip, r->n_chips, r->model,
               r->precision, r->input, r->output, r->measured);
        if (*r->why) printf("not compared: %s\n", r->why);
        else
            printf("simulated %9.0f (%+5.1f %%), software in turn %9.0f (%+5.1f %%)\n", r->predicted,
                   100 * (r->predicted / r->measured - 1), r->step, 100 * (r->step / r->measured - 1));
    }
}

static json_t *row_json(const struct saturated_row *r)
{
    json_t *j = json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:f}", "chip", r->chip, "chips", r->n_chips,
                          "model", r->model, "precision", r->precision, "tokens_in", r->input, "tokens_out",
                          r->output, "published_tokens_per_s", r->measured);
    if (!j) return NULL;
    if (*r->why) json_object_set_new(j, "not_compared", json_string(r->why));
    else
        json_object_set_new(j, "simulated", json_real(r->predicted)),
            json_object_set_new(j, "software_in_turn", json_real(r->step));
    return j;
}

static json_t *errors_json(const struct validate_errors *v)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "rows", (json_int_t)v->n, "median", v->median, "mape",
                     v->mean, "p90", v->p90, "bias", v->bias);
}

static int report_systems(const struct saturated *s, bool json, struct err *e)
{
    struct validate_errors hidden, turn;
    double mean, worst;
    int sweeps = saturated_regret(s, &mean, &worst), rc = saturated_errors(&hidden, s, NULL, false, e);
    if (!rc) rc = saturated_errors(&turn, s, NULL, true, e);
    if (rc) return rc;
    if (json) {
        json_t *rows = json_array();
        for (int i = 0; i < s->n; i++) json_array_append_new(rows, row_json(&s->rows[i]));
        json_t *j = json_pack("{s:o, s:o, s:o, s:{s:i, s:f, s:f}}", "rows", rows, "errors",
                              errors_json(&hidden), "errors_with_software_in_turn", errors_json(&turn),
                              "regret", "choices", sweeps, "mean", mean, "worst", worst);
        rc = j && json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0
                 ? 0
                 : err(e, ERR_IO, "cannot write to standard output: %s", strerror(errno));
        putchar('\n');
        json_decref(j);
        return rc;
    }
    print_rows(s);
    printf(
        "%zu rows: median error %.1f %%, mean %.1f %%, p90 %.1f %%, bias %+.1f %%; with software in turn median %.1f %%\n",
        hidden.n, 100 * hidden.median, 100 * hidden.mean, 100 * hidden.p90, 100 * hidden.bias,
        100 * turn.median);
    if (sweeps)
        printf("%d choices of a chip by tokens/s per chip: regret %.1f %% on average, %.1f %% at worst\n",
               sweeps, 100 * mean, 100 * worst);
    return 0;
}

static int write_systems(const struct saturated *s, const char *path, struct err *e)
{
    FILE *f = fopen(path, "wb");
    int rc = f ? saturated_write(s, f, e) : err(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (f && fclose(f) && !rc) rc = err(e, ERR_IO, "%s: %s", path, strerror(errno));
    return rc;
}

static int validate(const struct args_doc *doc, const struct options *o)
{
    struct constants known;
    struct saturated s = {0};
    struct err e = {0};
    int rc = constants_open(&known, NULL, &e);
    if (rc) return common_fail(doc, &e);
    rc = saturated_read(&s, o->data, &known, &e);
    if (!rc) rc = report_systems(&s, o->json, &e);
    if (!rc && o->write) rc = write_systems(&s, o->write, &e);
    saturated_close(&s);
    constants_close(&known);
    return rc ? common_fail(doc, &e) : 0;
}

static int print_json(const struct plan *p, struct err *e)
{
    json_t *j = plan_json(p);
    int rc = j && json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0
                 ? 0
                 : err(e, ERR_IO, "cannot write to standard output: %s", strerror(errno));
    putchar('\n');
    json_decref(j);
    return rc;
}

int cmd_plan(int argc, char **argv)
{
    static const struct args_doc doc = {
        "plan", "[MODEL]", "which chips, how many, at what latency, energy and cost, for some traffic",
        "Give a model file, or --shape with a known name or a config.json. Traffic is a phrase, like \"500 users, 30 tok/s each, 8k in, 500 out\" or \"12 req/s, 2k in, 300 "
        "out, 50% spread, bursts x5, 40% cached\", or a trace: comma-separated or JSON lines with arrival_s, input_tokens, output_tokens. Every setup of every chip "
        "is screened, the best of each chip are simulated request by request. Figures that nobody published print as n/p; a chip that lacks "
        "what its time needs is refused by name, --assume KEY=VALUE fills it. Exit status 7: nothing meets what was asked; the nearest plan is printed."};
    struct options o = {.attain = 99, .seed = 1, .accept = 0.7f, .more.share = 0.9f};
    int status;
    const struct arg table[] = {
        {"shape", 's', ARG_STR, &o.shape, "NAME", "a model's shape: a known name, or a config.json", 0, 0},
        {"traffic", 'T', ARG_STR, &o.traffic, "TEXT", "what is asked: a phrase, or a trace", 0, 0},
        {"ttft", 0, ARG_STR, &o.ttft, "TIME", "longest time to the first token, as 2s", 0, 0},
        {"tpot", 0, ARG_STR, &o.tpot, "TIME",
         "longest time per further token, as 33ms (default: of the users' speed)", 0, 0},
        {"attain", 0, ARG_FLOAT, &o.attain, "PERCENT", "of requests that must meet them (default: 99)", 1,
         100},
        {"chips", 'c', ARG_STR, &o.chips, "A,B", "these chips only: names, aliases, or paths of datasheets",
         0, 0},
        {"precision", 'p', ARG_STR, &o.precision, "A,B",
         "of numbers: 16-bit, fp8, int8, fp4, q4 (default: those of the model file; of a shape fp8,16-bit)",
         0, 0},
        {"power", 0, ARG_STR, &o.power, "WATTS", "limit at the wall, as 1MW", 0, 0},
        {"budget", 0, ARG_STR, &o.budget, "USD", "limit of cost per month, as 250k", 0, 0},
        {"pay", 0, ARG_STR, &o.pay, "HOW", "rent or buy (default: what is cheaper)", 0, 0},
        {"price", 0, ARG_STR, &o.price, "FILE",
         "prices and assumptions (default: data/economy.ini of the program)", 0, 0},
        {"assume", 0, ARG_STRS, &o.assume, "KEY=VALUE",
         "a figure of the chips' datasheets, as memory.rate=1200, or of one of them, as x220:memory.rate=40; guessed",
         0, 0},
        {"draft", 0, ARG_INT, &o.draft, "N", "speculation: tokens drafted per answer and step", 0,
         SIM_DRAFT_MAX},
        {"accept", 0, ARG_FLOAT, &o.accept, "SHARE", "chance that a drafted token is accepted (default: 0.7)",
         0, 1},
        {"draft-cost", 0, ARG_FLOAT, &o.draft_share, "SHARE",
         "of a step, what drafting a token takes (default: 0)", 0, 1},
        {"max-chips", 0, ARG_INT, &o.chips_max, "N", "at most so many chips", 1, SEARCH_CHIPS_MAX},
        {"mix", 0, ARG_FLAG, &o.more.mix, NULL,
         "also prompts on one chip and answers on another: the best pairs", 0, 0},
        {"cut", 0, ARG_STR, &o.more.cut, "A:B", "also attention on chip A and feed-forward on chip B", 0, 0},
        {"link", 0, ARG_STR, &o.more.link, "RATE", "between the two, of each replica (default: 50GB/s)", 0,
         0},
        {"link-latency", 0, ARG_STR, &o.more.hop, "TIME", "of it (default: 10us)", 0, 0},
        {"day", 0, ARG_FLAG, &o.more.day, NULL,
         "also the fleet by hour of a usual day, whose busiest hour is the traffic", 0, 0},
        {"cluster", 0, ARG_INT, &o.more.cluster, "CHIPS",
         "also a day of so many chips of the first plan, with failures and stragglers", 1, 10000000},
        {"cluster-load", 0, ARG_FLOAT, &o.more.share, "SHARE",
         "of what they can take at the busiest hour (default: 0.9)", 0.01, 1.5},
        {"train", 0, ARG_FLOAT, &o.more.train, "TOKENS",
         "with --cluster: also a data-parallel training step of so many tokens", 1, 1e12},
        {"timeline", 0, ARG_STR, &o.more.timeline, "FILE",
         "also write the steps of a lane of the first plan as a Chrome trace", 0, 0},
        {"in-turn", 0, ARG_FLAG, &o.in_turn, NULL,
         "software of GPUs in turn with the chip, as fitted on servers of 2024; default: hidden behind its work",
         0, 0},
        {"validate", 0, ARG_STR, &o.data, "DIR",
         "instead: compare simulated systems with DIR/published.csv, the saturated rows", 0, 0},
        {"write", 0, ARG_STR, &o.write, "FILE",
         "with --validate: also write the errors by chip that plans state", 0, 0},
        {"seed", 0, ARG_U64, &o.seed, "N", "of arrivals and lengths (default: 1)", 0, 0},
        {"json", 0, ARG_FLAG, &o.json, NULL, "print a JSON object", 0, 0},
        {"html", 0, ARG_STR, &o.html, "FILE", "also write a page with charts", 0, 0},
        {"quiet", 'q', ARG_FLAG, &o.quiet, NULL, "no progress bar", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (o.data) return validate(&doc, &o);
    if (o.write) return args_fault(&doc, "--write goes with --validate");
    if (argc - at > 1 || (argc - at == 1) == (o.shape != NULL))
        return args_fault(&doc, "give a model, or a shape by --shape");
    if (!o.traffic)
        return args_fault(&doc,
                          "give the traffic by --traffic, as \"500 users, 30 tok/s each, 8k in, 500 out\"");
    struct err e = {0};
    struct plan *p = calloc(1, sizeof *p);
    int rc = p ? make_plan(p, o.shape ? NULL : argv[at], &o, &e) : err(&e, ERR_MEMORY, "out of memory");
    if (!rc && o.html) rc = plan_html(p, o.html, &e);
    if (!rc && o.json) rc = print_json(p, &e);
    else if (!rc) plan_text(p, stdout);
    bool found = p && plan_best(p);
    if (p) close_plan(p);
    if (rc) return common_fail(&doc, &e);
    return found ? 0 : err_exit_status(ERR_LIMIT);
}
