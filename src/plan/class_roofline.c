/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class roofline: nothing is public but peaks: the longer of operations at a share of the peak and bytes at a share of
 * the memory's rate, and times that software adds. The shares and times are of section [model]: fitted or assumed.
 */
#include <math.h>
#include "plan/class.h"

static const enum figure needs[] = {FIGURE_memory_size, FIGURE_memory_rate, FIGURES};

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    struct work_sum c = work_count(w, s->precision);
    struct class_time t = {.evidence = EVIDENCE_PUBLISHED};
    if (w->kind == WORK_REDUCE || w->kind == WORK_EXCHANGE) return class_message(d, w);
    enum figure share = w->kind == WORK_CONTEXT ? FIGURE_model_context : FIGURE_model_compute;
    double compute = c.ops / (class_peak_of(d, s, w) * class_figure(d, share, 1, class_figure(d, FIGURE_model_compute, 1, 1)));
    double rate = d->memory_rate * class_figure(d, c.cache > 0 ? FIGURE_model_cache : FIGURE_model_memory, 1, class_figure(d, FIGURE_model_memory, 1, 1));
    double memory = (c.weights + c.cache) / rate;
    t.software = w->kind == WORK_ROWS ? class_figure(d, FIGURE_model_layer, 1e-6, 0) : 0;
    t.seconds = fmax(compute, memory) + t.software;
    t.bound = compute > memory ? DEVICE_COMPUTE : DEVICE_DRAM;
    return t;
}

static double start(const struct device *d, const struct device_setup *s, double sequences)
{
    (void)s;
    return class_figure(d, FIGURE_model_step, 1e-6, 0) + sequences * class_figure(d, FIGURE_model_sequence, 1e-6, 0);
}

const struct class_ops class_roofline = {.name = "roofline", .needs = needs, .time = time, .start = start};
