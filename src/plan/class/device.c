/* SPDX-License-Identifier: Apache-2.0 */
/* See device.h: what all classes share: opening, floors, pipelines of stages, energy, memory. */
#include "plan/class/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan/class/class.h"

const char *const device_part_name[] = {"products", "attention", "experts", "elements", "reduce", "head", "host"};
const char *const device_resource_name[] = {"compute", "sram", "dram", "network", "link", "sync", "software"};
const char *const device_joules_name[] = {"static", "operations", "memory", "wires"};

const struct device_precision *device_precision(const char *name)
{
    static const struct device_precision all[] = {
        {"16-bit", 2, 2, 2, 2, 16, "bfloat16", "bfloat16", "bfloat16", "bfloat16"},
        {"fp8", 1, 1, 1, 2, 8, "fp8", "fp8", "fp8", "fp8"},
        {"int8", 1, 1, 1, 1, 8, "int8", "fp8", "fp8", "int8"},
        {"fp4", 0.5625, 1, 0.5625, 2, 4, "fp8", "fp8", "fp8", "fp8"},
        {"q4", 0.5625, 2, 2, 2, 16, "bfloat16", "bfloat16", "bfloat16", "int4_wo"},
    };
    static const char *const others[][2] = {{"bf16", "16-bit"}, {"fp16", "16-bit"}, {"nvfp4", "fp4"}, {"int4", "q4"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(others[i][0], name)) name = others[i][1];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name)) return &all[i];
    return NULL;
}

/* --- open ------------------------------------------------------------------------------------------------------------ */

static int check_needs(const struct device *d, struct err *e)
{
    char text[ERR_MSG_MAX / 2] = "", fill[ERR_MSG_MAX / 4] = "";
    for (const enum figure *i = d->ops->needs; *i != FIGURES; i++) {
        if (figures_has(&d->figures, *i)) continue;
        const struct sheet_figure *f = figures_about(*i);
        size_t n = strlen(text), m = strlen(fill);
        const char *of = d->figures.sheet.items[*i].source; /* what is known of it */
        snprintf(text + n, sizeof text - n, "%s%s.%s (%s)%s%s", n ? ", " : "", f->section, f->key, f->unit,
                 of ? ", " : "", of ? of : "");
        snprintf(fill + m, sizeof fill - m, " --assume %s.%s=VALUE", f->section, f->key);
    }
    return *text ? err(e, ERR_UNSUPPORTED, "%s: not published: %s; give it by%s", d->figures.chip, text, fill) : 0;
}

static void take_figures(struct device *d)
{
    d->memory_bytes = class_figure(d, FIGURE_memory_size, 1e9, NAN);
    d->memory_rate = class_figure(d, FIGURE_memory_rate, 1e9, NAN);
    d->flops16 = class_figure(d, FIGURE_peak_fp16, 1e12, 0);
    d->flops8 = class_figure(d, FIGURE_peak_fp8, 1e12, 0);
    d->flops8 = fmax(d->flops8, class_figure(d, FIGURE_peak_int8, 1e12, 0));
    d->flops4 = class_figure(d, FIGURE_peak_fp4, 1e12, 0);
    d->link = class_figure(d, FIGURE_link_rate, 1e9, 0);
    d->hop = class_figure(d, FIGURE_link_hop, 1e-9, 0);
    d->node = (int)class_figure(d, FIGURE_link_node, 1, 1);
    d->tdp = class_figure(d, FIGURE_power_tdp, 1, NAN);
    d->static_watts = class_figure(d, FIGURE_power_static, 1, NAN);
    d->buy = class_figure(d, FIGURE_price_buy, 1, NAN);
    d->rent = class_figure(d, FIGURE_price_rent, 1, NAN);
    d->error = class_figure(d, FIGURE_model_error, 0.01, NAN);
    d->error_evidence = d->figures.sheet.items[FIGURE_model_error].evidence;
    d->error_source = isnan(d->error) ? "no comparable result is published, and none is assumed"
                                      : d->figures.sheet.items[FIGURE_model_error].source;
}

/* Where arrays, or cores, and a clock are stated, a stated peak must follow from them. */
static int check_peak(const struct device *d, struct err *e)
{
    double arrays = class_figure(d, FIGURE_array_count, 1, 0) * class_figure(d, FIGURE_array_rows, 1, 0) *
                    class_figure(d, FIGURE_array_columns, 1, 0);
    double cores = class_figure(d, FIGURE_chip_cores, 1, 0) * class_figure(d, FIGURE_array_macs, 1, 0);
    double peak = 2 * fmax(arrays, cores) * class_figure(d, FIGURE_chip_clock, 1e6, 0);
    if (peak <= 0 || fabs(d->flops16 / peak - 1) < 0.03 || fabs(d->flops8 / peak - 1) < 0.03) return 0;
    return sheet_fault(&d->figures.sheet, FIGURE_chip_clock, e,
                       "arrays or cores give %.4g TFLOP/s at this clock, which is no stated peak",
                       1e-12 * peak);
}

/* Of GPUs every operator has fitted constants, whose evidence each step tells: only guesses count here. */
static enum evidence evidence_of(const struct device *d)
{
    static const enum figure made_of[] = {
        FIGURE_chip_clock,   FIGURE_chip_cores,    FIGURE_array_rows,    FIGURE_array_columns,
        FIGURE_array_macs,   FIGURE_peak_fp16,     FIGURE_peak_fp8,      FIGURE_peak_int8,
        FIGURE_memory_rate,  FIGURE_stream_rate,   FIGURE_exchange_rate, FIGURE_exchange_sync,
        FIGURE_exchange_hop, FIGURE_model_compute, FIGURE_model_memory,  FIGURE_model_context,
        FIGURE_model_cache,  FIGURE_model_layer,   FIGURE_model_attend};
    enum evidence worst = EVIDENCE_MEASURED;
    for (size_t i = 0; i < sizeof made_of / sizeof *made_of; i++)
        if (figures_has(&d->figures, made_of[i]))
            worst = evidence_worse(worst, d->figures.sheet.items[made_of[i]].evidence);
    return d->gpu.sms > 0 && worst != EVIDENCE_GUESSED ? EVIDENCE_MEASURED : worst;
}

static int open_class(struct device *d, const struct device_options *o, struct err *e)
{
    const struct sheet *sheet = &d->figures.sheet;
    int rc = 0;
    d->title = sheet_about(sheet, "name");
    d->class = sheet_about(sheet, "class");
    d->level = sheet_about(sheet, "level");
    d->ops = class_find(d->class);
    if (!d->ops) return err(e, ERR_UNSUPPORTED, "%s: class '%s' of chips is not known", sheet->file, d->class);
    d->framework = o->framework ? o->framework : "trtllm";
    d->overhead = o->overhead;
    d->datasheet_only = o->datasheet_only;
    d->constants = o->constants;
    if (!d->constants && (rc = constants_open(&d->own, NULL, e))) return rc;
    if (!d->constants) d->constants = &d->own;
    take_figures(d);
    if ((rc = check_needs(d, e))) return rc;
    if (class_peak(d, 16) <= 0)
        return err(e, ERR_UNSUPPORTED, "%s: not published: a peak; give it by --assume peak.fp16=VALUE",
                   d->figures.chip);
    if ((rc = check_peak(d, e))) return rc;
    if (d->ops->open && (rc = d->ops->open(d, e))) return rc;
    d->evidence = evidence_of(d);
    return 0;
}

int device_open(struct device **out, const char *name, const struct device_options *opt, struct err *e)
{
    static const struct device_options none;
    struct device *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return err(e, ERR_MEMORY, "out of memory");
    if (!opt) opt = &none;
    int rc = figures_open(&d->figures, name, opt->assume, e);
    if (!rc) rc = open_class(d, opt, e);
    if (rc) device_close(d);
    else *out = d;
    return rc;
}

void device_close(struct device *d)
{
    if (!d) return;
    constants_close(&d->own);
    figures_close(&d->figures);
    free(d);
}

/* --- chips that share a model ---------------------------------------------------------------------------------------- */

static int at_least_1(int n)
{
    return n > 1 ? n : 1;
}

static int group(const struct device_setup *s) /* chips of a stage */
{
    return at_least_1(s->ep) > at_least_1(s->tp) ? s->ep : at_least_1(s->tp);
}

int device_chips(const struct device_setup *s)
{
    return group(s) * at_least_1(s->pp);
}

/* Parts of the model that are at work at once on different sequences: stages of chips, and of layers side by
 * side on one. */
static double stages(const struct device *d, const struct device_setup *s)
{
    return at_least_1(s->pp) * (d->ops->stages ? d->ops->stages(s) : 1);
}

static double start_of(const struct device *d, double sequences, bool prompt)
{
    return (d->ops->start ? d->ops->start : class_start)(d, sequences, prompt);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static const double WEIGHTS_AT_MOST = 0.7; /* of the memory of a copy's nodes: the rest is for caches */

/* Chips with memory share every product inside a node. Chips that hold weights in SRAM form a pipeline; as
 * many of a node share a product as make one token fastest. */
void device_split(const struct device *d, struct device_setup *s, int n)
{
    double best = HUGE_VAL;
    struct device_setup try = *s;
    n = at_least_1(n);
    s->ep = 1, s->dp = 1, s->tp = least(n, d->node), s->pp = (n + s->tp - 1) / s->tp;
    if (d->ops->copies) {
        double nodes =
            ceil(work_weight_bytes(&(struct device_setup){.shape = s->shape, .precision = s->precision}) /
                 (WEIGHTS_AT_MOST * d->node * d->memory_bytes));
        s->dp = at_least_1((int)(s->pp / nodes));
        s->pp = least(s->pp, (int)nodes);
    }
    if (!d->ops->resident) return;
    try.ep = 1;
    for (try.tp = 1; try.tp <= least(n, d->node); try.tp *= 2) {
        struct device_step t;
        try.pp = n / try.tp;
        if (n % try.tp || try.tp > s->shape->heads || device_decode(d, &try, 1, 1024, &t, NULL) ||
            t.seconds >= best)
            continue;
        best = t.seconds;
        s->tp = try.tp, s->pp = try.pp;
    }
}

/* --- a step ---------------------------------------------------------------------------------------------------------- */

struct totals {
    struct work_sum sum;
    double peak_seconds, memory_seconds; /* of the floor */
    double wrong;                        /* seconds x expected error */
};

/* Where a layer is one pipeline, all of its work waits for what takes longest in sum. */
static enum device_resource fused_by(const struct device *d, const struct device_setup *s, const struct work_list *l)
{
    double compute = 0, memory = 0;
    for (int i = 0; i < l->n; i++) {
        struct class_time t = d->ops->time(d, s, &l->w[i]);
        compute += l->w[i].times * t.compute, memory += l->w[i].times * t.memory;
    }
    return compute > memory ? DEVICE_COMPUTE : DEVICE_DRAM;
}

/* Adds a list's times and counts. */
static void add_list(const struct device *d, const struct device_setup *s, const struct work_list *l,
                     struct device_step *out, struct totals *all)
{
    enum device_resource fused = d->ops->fused ? fused_by(d, s, l) : DEVICE_COMPUTE;
    for (int i = 0; i < l->n; i++) {
        const struct work *w = &l->w[i];
        struct work_sum c = work_count(w, s->precision);
        struct class_time t = d->ops->time(d, s, w);
        double times = w->times, floor = 0;
        if (c.ops > 0) floor = c.ops / class_peak_of(d, s, w);
        if (d->ops->fused && (t.compute > 0 || t.memory > 0)) {
            t.bound = fused;
            t.seconds = t.software + (fused == DEVICE_COMPUTE ? t.compute : t.memory);
        }
        all->peak_seconds += times * floor;
        all->memory_seconds += times * (c.weights + c.cache) / d->memory_rate;
        all->sum.ops += times * c.ops, all->sum.weights += times * c.weights, all->sum.cache += times * c.cache;
        all->sum.acts += times * c.acts, all->sum.wire += times * c.wire;
        out->part[w->part] += times * t.seconds;
        out->resource[DEVICE_SOFTWARE] += times * t.software;
        out->resource[t.bound] += times * (t.seconds - t.software);
        out->seconds += times * t.seconds;
        all->wrong += times * t.seconds * hypot(d->error, t.doubt);
        out->evidence = evidence_worse(out->evidence, t.evidence);
        if (t.note) out->note = t.note;
    }
}

static void add_time(struct device_step *out, enum device_part part, enum device_resource resource, double seconds)
{
    out->part[part] += seconds;
    out->resource[resource] += seconds;
    out->seconds += seconds;
}

static void count_joules(const struct device *d, const struct device_setup *s, const struct totals *all,
                         struct device_step *out)
{
    bool dram = figures_has(&d->figures, FIGURE_energy_dram);
    enum figure op = s->precision->bits > 8 || d->flops8 <= 0 ? FIGURE_energy_op16 : FIGURE_energy_op8;
    enum figure memory = dram ? FIGURE_energy_dram : FIGURE_energy_sram;
    const enum figure asks[] = {op, memory, FIGURE_power_static, FIGURE_energy_link};
    int chips = device_chips(s), n = chips > 1 ? 4 : 3;
    double many = group(s);
    out->joules_evidence = out->evidence;
    for (int i = 0; i < n; i++)
        out->joules_evidence = evidence_worse(out->joules_evidence, d->figures.sheet.items[asks[i]].evidence);
    out->static_watts = chips * d->static_watts;
    out->joule[DEVICE_STATIC] = out->static_watts * out->interval;
    out->joule[DEVICE_OPERATIONS] = many * all->sum.ops * class_figure(d, op, 1e-12, NAN);
    out->joule[DEVICE_MEMORY] = many * 8 * (all->sum.weights + all->sum.cache + (dram ? all->sum.acts : 0)) *
                                class_figure(d, memory, 1e-12, NAN);
    out->joule[DEVICE_WIRES] = n < 4 ? 0 : many * 8 * all->sum.wire * class_figure(d, FIGURE_energy_link, 1e-12, NAN);
    for (int i = 0; i < DEVICE_JOULES; i++) out->joules += out->joule[i];
    double most = chips * d->tdp * out->interval;
    if (out->joules > most) { /* the chips would slow down; their limit is what they take */
        for (int i = 0; i < DEVICE_JOULES; i++) out->joule[i] *= most / out->joules;
        out->joules = most;
    }
    for (int i = 0; i < n && isnan(out->joules); i++)
        if (!figures_has(&d->figures, asks[i]))
            out->note = "energy n/p: the datasheet lacks a figure of [energy] or power.static";
}

/* parallel: chips' stages that are at work on this step at once. */
static void finish(const struct device *d, const struct device_setup *s, struct totals *all, int parallel,
                   struct device_step *out)
{
    double floor = fmax(all->peak_seconds, all->memory_seconds), pp = at_least_1(s->pp);
    out->interval = fmax(out->interval, floor / pp);
    out->floor = floor /= parallel;
    if (out->seconds < floor)
        add_time(out, DEVICE_PRODUCTS, all->peak_seconds > all->memory_seconds ? DEVICE_COMPUTE : DEVICE_DRAM,
                 floor - out->seconds);
    out->ops = group(s) * all->sum.ops;
    out->bytes = group(s) * (all->sum.weights + all->sum.cache);
    out->use_compute = all->peak_seconds / pp / out->interval;
    out->use_memory = all->memory_seconds / pp / out->interval;
    count_joules(d, s, all, out);
}

/* Activations from one stage to the next. */
static double pass_on(const struct device *d, const struct device_setup *s, double rows)
{
    double bytes = rows * s->shape->hidden * s->precision->act_bytes;
    return d->hop + (d->link > 0 ? bytes / d->link / at_least_1(s->tp) : 0);
}

/* How much longer the slowest of pp stages takes than the mean, where stages are whole layers. */
static double uneven(const struct device *d, const struct device_setup *s)
{
    double layers = s->shape->layers, pp = at_least_1(s->pp);
    return d->ops->resident || pp > layers ? 1 : ceil(layers / pp) * pp / layers;
}

static int check_setup(const struct device_setup *s, const struct device_mix *mix, int n, struct err *e)
{
    if (n < 1 || n > WORK_PARTS) return err(e, ERR_USAGE, "a step of %d parts: 1..%d are taken", n, WORK_PARTS);
    for (int i = 0; i < n; i++)
        if (!(mix[i].batch > 0 && mix[i].tokens > 0 && mix[i].past >= 0))
            return err(e, ERR_USAGE, "a step of %g sequences with %g new tokens behind %g", mix[i].batch,
                       mix[i].tokens, mix[i].past);
    if (s->ep > 1 && s->ep % at_least_1(s->tp))
        return err(e, ERR_USAGE, "%d chips share experts: no multiple of the %d that share products", s->ep,
                   s->tp);
    return 0;
}

/* Stages of a pipeline work on one chunk of prompts after the other; one token of each sequence is one chunk. */
int device_mixed(const struct device *d, const struct device_setup *s, const struct device_mix *mix, int n,
                 double out_rows, struct device_step *out, struct err *e)
{
    enum { CHUNK = 512 };
    struct work_list l;
    struct totals all = {.peak_seconds = 0};
    int pp = at_least_1(s->pp), rc = check_setup(s, mix, n, e);
    *out = (struct device_step){.evidence = d->evidence};
    if (rc) return rc;
    work_step(&l, s, mix, n, out_rows);
    bool prompt = l.rows > l.sequences;
    double start = start_of(d, l.sequences, prompt), many = stages(d, s),
           chunks = prompt && many > 1 ? ceil(l.rows / CHUNK) : 1;
    double busy = ((chunks - 1) * uneven(d, s) + many) / (chunks * many);
    add_list(d, s, &l, out, &all);
    out->error = out->seconds > 0 ? all.wrong / out->seconds : d->error;
    out->interval = out->seconds / many * uneven(d, s) + (d->ops->resident ? 0 : start);
    for (int i = 0; i < DEVICE_PARTS; i++) out->part[i] *= busy;
    for (int i = 0; i < DEVICE_RESOURCES; i++) out->resource[i] *= busy;
    out->seconds *= busy;
    add_time(out, DEVICE_HOST, DEVICE_SOFTWARE, start);
    add_time(out, DEVICE_REDUCE, DEVICE_LINK, (pp - 1) * pass_on(d, s, fmin(CHUNK, l.rows)));
    finish(d, s, &all, prompt ? pp : 1, out);
    return 0;
}

int device_decode(const struct device *d, const struct device_setup *s, double batch, double context,
                  struct device_step *out, struct err *e)
{
    return device_mixed(d, s, &(struct device_mix){batch, 1, context}, 1, batch, out, e);
}

int device_prefill(const struct device *d, const struct device_setup *s, double batch, double tokens,
                   double past, struct device_step *out, struct err *e)
{
    return device_mixed(d, s, &(struct device_mix){batch, tokens, past}, 1, batch, out, e);
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

static void count_memory(const struct device *d, const struct device_setup *s, double batch, double context,
                         struct device_fit *f)
{
    f->weight_bytes = work_weight_bytes(s);
    f->token_bytes = work_token_bytes(s);
    f->usable_bytes = d->memory_bytes * (1 - class_figure(d, FIGURE_model_reserve, 1, 0)) -
                      class_figure(d, FIGURE_model_runtime, 1e9, 0) - (d->ops->keeps ? d->ops->keeps(s) : 0);
    f->tokens = fmax(0, floor((f->usable_bytes - f->weight_bytes) / f->token_bytes));
    f->fits = f->usable_bytes >= f->weight_bytes && f->tokens >= batch * context;
}

static bool fits_on(const struct device *d, const struct device_setup *s, int n, double batch, double context)
{
    struct device_setup other = *s;
    struct device_fit f;
    device_split(d, &other, n);
    count_memory(d, &other, batch, context, &f);
    return f.fits;
}

int device_fit(const struct device *d, const struct device_setup *s, double batch, double context,
               struct device_fit *f, struct err *e)
{
    *f = (struct device_fit){.fits = false};
    if (isnan(d->memory_bytes))
        return err(e, ERR_UNSUPPORTED, "%s: not published: memory.size; give it by --assume memory.size=GB",
                   d->figures.chip);
    count_memory(d, s, batch, context, f);
    int few = 0, many = 1, node = 1;
    while (many < DEVICE_CHIPS_MAX && !fits_on(d, s, many, batch, context)) few = many, many *= 2;
    while (2 * node <= d->node && 2 * node <= many / 4) node *= 2;
    /* a few powers of two, then whole groups */
    for (few /= node; many > d->node || d->ops->resident ? many - few * node > node : false;) {
        int mid = few + (many / node - few) / 2;
        if (fits_on(d, s, mid * node, batch, context)) many = mid * node;
        else few = mid;
    }
    f->chips = fits_on(d, s, many, batch, context) ? many : 0;
    if (f->fits) return 0;
    int n = snprintf(
        f->why, sizeof f->why,
        "does not fit: %.3g GB of weights and %.3g GB of cache on each of %d chips with room for %.3g GB; ",
        1e-9 * f->weight_bytes, 1e-9 * f->token_bytes * batch * context, device_chips(s),
        1e-9 * fmax(0, f->usable_bytes));
    if (f->chips) snprintf(f->why + n, sizeof f->why - (size_t)n, "%d chips do", f->chips);
    else snprintf(f->why + n, sizeof f->why - (size_t)n, "%d do not either", DEVICE_CHIPS_MAX);
    return 0;
}
