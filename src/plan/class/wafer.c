/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class wafer: a mesh of cores on a whole wafer, each with its own SRAM. Every layer has a square region of
 * the mesh for its weights and cache; a token passes from region to region, and all regions work at once on
 * different sequences.
 *
 *   product   each core multiplies its block: operations at array.macs, weights at its SRAM's rate; inputs
 *             are broadcast along one axis and sums reduced along the other: as many hops as the region is
 *             wide, and words behind one another
 *   attention keys and values lie spread over the region; queries and sums pass it once
 */
#include <math.h>
#include "plan/class/class.h"

enum { HALF = 2, SINGLE = 4 };

static const enum figure needs[] = {FIGURE_chip_clock,   FIGURE_chip_cores,    FIGURE_array_macs,
                                    FIGURE_memory_size,  FIGURE_memory_rate,   FIGURE_exchange_rate,
                                    FIGURE_exchange_hop, FIGURE_exchange_sync, FIGURES};

static double regions(const struct device_setup *s)
{
    return fmax(1, s->shape->layers / (s->pp > 1 ? s->pp : 1));
}

/* Hops there and back over a region of `side` cores, and the words of in and out that follow one another on a
 * core's link. */
static double pass_cycles(const struct device *d, double side, double in_bytes, double out_bytes)
{
    double hop = class_figure(d, FIGURE_exchange_hop, 1, 1), rate = class_figure(d, FIGURE_exchange_rate, 1, 1);
    return 2 * side * hop + (in_bytes + out_bytes) / side / rate + class_figure(d, FIGURE_exchange_sync, 1, 0);
}

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    if (w->kind == WORK_REDUCE || w->kind == WORK_EXCHANGE) return class_message(d, w);
    double clock = class_figure(d, FIGURE_chip_clock, 1e6, 1), all = class_figure(d, FIGURE_chip_cores, 1, 1);
    double share = w->part == DEVICE_HEAD ? 1 : regions(s), cores = all / share, side = sqrt(cores);
    struct work_sum c = work_count(w, s->precision);
    struct class_time t = {.evidence = EVIDENCE_MEASURED};
    double sram = clock * (c.weights + c.cache) / (d->memory_rate / share);
    double compute = c.ops / 2 / class_figure(d, FIGURE_array_macs, 1, 1) / cores, pass = 0;
    switch (w->kind) {
    case WORK_PRODUCT: pass = pass_cycles(d, side, w->m * w->k * HALF, w->m * w->n * SINGLE); break;
    case WORK_EXPERTS:
        pass = 2 * pass_cycles(d, side, w->m * w->topk * w->k * HALF, w->m * w->topk * w->k * SINGLE);
        break;
    case WORK_DECODE:
    case WORK_CONTEXT: pass = 2 * pass_cycles(d, side, c.acts / 2, c.acts / 2); break; /* scores, then sums */
    default:
        compute = c.acts / HALF / cores, pass = 2 * pass_cycles(d, side, w->m * SINGLE, w->m * SINGLE);
        break; /* two norms */
    }
    t.seconds = (fmax(compute, sram) + pass) / clock;
    t.bound = pass > fmax(compute, sram) ? DEVICE_NETWORK : compute > sram ? DEVICE_COMPUTE : DEVICE_SRAM;
    return t;
}

const struct class_ops class_wafer = {
    .name = "wafer", .needs = needs, .resident = true, .time = time, .stages = regions};
