/* SPDX-License-Identifier: Apache-2.0 */
/* See class.h: the list of classes, and what they share. */
#include "plan/class/class.h"

#include <math.h>
#include <string.h>

const struct class_ops *class_find(const char *name)
{
    static const struct class_ops *const all[] = {&class_gpu,     &class_array,    &class_bsp,
                                                  &class_wafer,   &class_dataflow, &class_scheduled,
                                                  &class_cluster, &class_roofline};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i]->name, name)) return all[i];
    return NULL;
}

double class_figure(const struct device *d, enum figure i, double unit, double other)
{
    bool fitted = d->figures.sheet.items[i].evidence == EVIDENCE_FITTED;
    return figures_has(&d->figures, i) && !(fitted && d->datasheet_only) ? unit * figures_value(&d->figures, i) : other;
}

double class_peak(const struct device *d, int bits)
{
    if (bits <= 4 && d->flops4 > 0) return d->flops4;
    if (bits <= 8 && d->flops8 > 0) return d->flops8;
    return d->flops16 > 0 ? d->flops16 : d->flops8;
}

double class_peak_of(const struct device *d, const struct device_setup *s, const struct work *w)
{
    bool attention = w->kind == WORK_DECODE || w->kind == WORK_CONTEXT;
    return class_peak(d, attention ? (int)(8 * s->precision->cache_bytes) : s->precision->bits);
}

double class_seconds(const struct device *d, const struct device_setup *s, const struct work *w)
{
    struct work_sum c = work_count(w, s->precision);
    double floor = fmax(c.ops > 0 ? c.ops / class_peak_of(d, s, w) : 0, (c.weights + c.cache) / d->memory_rate);
    return fmax(floor, d->ops->time(d, s, w).seconds);
}

double class_whole(double n, double unit)
{
    return unit > 0 ? ceil(n / unit) * unit : n;
}

double class_start(const struct device *d, double sequences, bool prompt)
{
    return class_figure(d, FIGURE_model_step, 1e-6, 0) + sequences * class_figure(d, FIGURE_model_sequence, 1e-6, 0) +
           (prompt ? class_figure(d, FIGURE_model_prompt, 1e-6, 0) : 0);
}

struct class_time class_longer(const struct device *d, const struct device_setup *s, const struct work *w, double ops)
{
    struct work_sum c = work_count(w, s->precision);
    struct class_time t = {.evidence = EVIDENCE_MEASURED};
    double share = class_figure(d, FIGURE_model_compute, 1, 1), rate = class_figure(d, FIGURE_model_memory, 1, 1);
    if (w->kind == WORK_CONTEXT) share = class_figure(d, FIGURE_model_context, 1, share);
    if (w->kind == WORK_DECODE) rate = class_figure(d, FIGURE_model_cache, 1, rate);
    if (w->kind == WORK_ROWS) t.software = class_figure(d, FIGURE_model_layer, 1e-6, 0);
    if (w->kind == WORK_DECODE) t.software = w->batch * class_figure(d, FIGURE_model_attend, 1e-6, 0);
    if (w->kind == WORK_DECODE || w->kind == WORK_CONTEXT) t.software += class_figure(d, FIGURE_model_call, 1e-6, 0);
    t.compute = ops > 0 ? ops / (class_peak_of(d, s, w) * share) : 0;
    t.memory = (c.weights + c.cache) / (d->memory_rate * rate);
    t.seconds = fmax(t.compute, t.memory) + t.software;
    t.bound = t.compute > t.memory ? DEVICE_COMPUTE : d->ops->resident ? DEVICE_SRAM : DEVICE_DRAM;
    return t;
}

struct class_time class_message(const struct device *d, const struct work *w)
{
    static const struct device_precision none = {.name = ""};
    bool inside = w->chips <= d->node;
    double share = inside ? class_figure(d, FIGURE_model_link, 1, 1) : class_figure(d, FIGURE_net_share, 1, 1);
    double rate = inside ? d->link : class_figure(d, FIGURE_net_rate, 1e9, d->link);
    double hop = inside ? d->hop : class_figure(d, FIGURE_net_hop, 1e-9, d->hop);
    /* up, over and down the tiers of switches */
    if (w->chips > class_figure(d, FIGURE_net_tier, 1, HUGE_VAL)) hop *= 3;
    double steps = (w->kind == WORK_REDUCE ? 2 : 1) * ceil(log2(fmax(2, w->chips))); /* halving and doubling */
    double wire = rate > 0 ? work_count(w, &none).wire / (rate * share) : 0;
    return (struct class_time){.seconds = wire + steps * hop, .bound = DEVICE_LINK, .evidence = EVIDENCE_MEASURED};
}
