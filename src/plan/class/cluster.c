/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class cluster: many nodes of GPUs. A model lives in as few nodes as hold it, many copies side by side;
 * inside, time is that of class gpu. What the cluster adds: a network in tiers between nodes (class_message),
 * and the power of server, network and cooling that every chip has a share of.
 */
#include <math.h>
#include "plan/class/class.h"

static const enum figure needs[] = {FIGURE_chip_clock,    FIGURE_chip_sms,      FIGURE_peak_fp16,
                                    FIGURE_memory_size,   FIGURE_memory_rate,   FIGURE_l2_size,
                                    FIGURE_link_rate,     FIGURE_power_tdp,     FIGURE_net_rate,
                                    FIGURE_cluster_chips, FIGURE_cluster_power, FIGURES};

static int open(struct device *d, struct err *e)
{
    double beside = class_figure(d, FIGURE_cluster_power, 1, 0) - d->tdp;
    if (beside < 0)
        return sheet_fault(&d->figures.sheet, FIGURE_cluster_power, e,
                           "%g W for a chip with all around it, which alone takes %g W", d->tdp + beside,
                           d->tdp);
    d->tdp += beside;
    d->static_watts += beside;
    return class_gpu.open(d, e);
}

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    return class_gpu.time(d, s, w);
}

static double start(const struct device *d, double sequences, bool prompt)
{
    return class_gpu.start(d, sequences, prompt);
}

static double keeps(const struct device_setup *s)
{
    return class_gpu.keeps(s);
}

const struct class_ops class_cluster = {.name = "cluster",
                                        .needs = needs,
                                        .copies = true,
                                        .open = open,
                                        .time = time,
                                        .start = start,
                                        .keeps = keeps};
