/* SPDX-License-Identifier: Apache-2.0 */
/* See class.h: the list of classes, and what they share. */
#include "plan/class.h"

#include <math.h>
#include <string.h>

const struct class_ops *class_find(const char *name)
{
    static const struct class_ops *const all[] = {&class_gpu, &class_roofline, &class_scheduled};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i]->name, name)) return all[i];
    return NULL;
}

double class_figure(const struct device *d, enum figure i, double unit, double other)
{
    return figures_has(&d->figures, i) ? unit * figures_value(&d->figures, i) : other;
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

struct class_time class_message(const struct device *d, const struct work *w)
{
    static const struct device_precision none = {.name = ""};
    bool inside = w->chips <= d->node;
    double share = inside ? class_figure(d, FIGURE_model_link, 1, 1) : class_figure(d, FIGURE_net_share, 1, 1);
    double rate = inside ? d->link : class_figure(d, FIGURE_net_rate, 1e9, d->link);
    double hop = inside ? d->hop : class_figure(d, FIGURE_net_hop, 1e-9, d->hop);
    double steps = (w->kind == WORK_REDUCE ? 2 : 1) * ceil(log2(fmax(2, w->chips))); /* halving and doubling */
    double wire = rate > 0 ? work_count(w, &none).wire / (rate * share) : 0;
    return (struct class_time){.seconds = wire + steps * hop, .bound = DEVICE_LINK, .evidence = EVIDENCE_PUBLISHED};
}
