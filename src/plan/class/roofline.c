/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class roofline: nothing is public but peaks: the longer of operations at a share of the peak and bytes at a share of
 * the memory's rate, and times that software adds. The shares and times are of section [model]: fitted or assumed.
 */
#include "plan/class/class.h"

static const enum figure needs[] = {FIGURE_memory_size, FIGURE_memory_rate, FIGURES};

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    bool message = w->kind == WORK_REDUCE || w->kind == WORK_EXCHANGE;
    return message ? class_message(d, w) : class_longer(d, s, w, work_count(w, s->precision).ops);
}

const struct class_ops class_roofline = {.name = "roofline", .needs = needs, .time = time};
