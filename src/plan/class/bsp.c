/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class bsp: bulk-synchronous tiles with an exchange: the IPU. All tiles compute, then all exchange, then all
 * synchronise; weights stay in the tiles. Cycles of the matrix vertex as its vendor's estimators state them
 * (POPLIBS, PerformanceEstimation):
 *
 *   a block of array.rows inputs x array.columns outputs: its weights load at 16 bytes a cycle; then each
 *   worker takes 4 cycles per row of activations, six workers in turn; 50 cycles of the supervisor and 31 of
 *   a worker once
 *   exchange: bytes that the busiest tile receives / exchange.rate
 *
 * A product of n outputs and k inputs is cut into P_n x P_k parts over the tiles; the partition is the best
 * one of powers of two. Inputs are broadcast, partial sums of the P_k parts exchanged and added.
 */
#include <math.h>
#include "plan/class/class.h"

enum {
    WORKERS = 6,
    CYCLES_OF_A_ROW = 4,
    SUPERVISOR = 50,
    WORKER = 31,
    LOAD_BYTES = 16,
    HALF = 2,
    SINGLE = 4,
    STEPS = 3
};

static const enum figure needs[] = {
    FIGURE_chip_clock,  FIGURE_chip_cores,  FIGURE_array_macs,    FIGURE_array_rows,    FIGURE_array_columns,
    FIGURE_memory_size, FIGURE_memory_rate, FIGURE_exchange_rate, FIGURE_exchange_sync, FIGURES};

/* Of one tile: m rows through ceil(n / columns) x ceil(k / rows) blocks. */
static double vertex_cycles(const struct device *d, double m, double n, double k)
{
    double in = class_figure(d, FIGURE_array_rows, 1, 1), out = class_figure(d, FIGURE_array_columns, 1, 1);
    double blocks = ceil(n / out) * ceil(k / in), load = in * out * HALF / LOAD_BYTES;
    return SUPERVISOR + WORKER * WORKERS + blocks * (load + WORKERS * CYCLES_OF_A_ROW * ceil(m / WORKERS));
}

/* Cycles of a product by phase: computing, exchange, synchronisation. */
static void product_cycles(const struct device *d, double m, double n, double k, double cycles[STEPS])
{
    double tiles = class_figure(d, FIGURE_chip_cores, 1, 1),
           rate = class_figure(d, FIGURE_exchange_rate, 1, 1), best = HUGE_VAL;
    for (double pk = 1; pk <= tiles && pk <= k; pk *= 2) {
        double pn = fmin(floor(tiles / pk), n), compute = vertex_cycles(d, m, ceil(n / pn), ceil(k / pk));
        double in = m * ceil(k / pk) * HALF, partial = m * ceil(n / pn) * SINGLE * (pk - 1) / pk;
        double exchange = ceil(in / rate) + ceil(partial / rate);
        if (compute + exchange >= best) continue;
        best = compute + exchange;
        cycles[0] = compute, cycles[1] = exchange,
        cycles[2] = (pk > 1 ? 2 : 1) * class_figure(d, FIGURE_exchange_sync, 1, 0);
    }
}

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    if (w->kind == WORK_REDUCE || w->kind == WORK_EXCHANGE) return class_message(d, w);
    double clock = class_figure(d, FIGURE_chip_clock, 1e6, 1), cycles[STEPS] = {0},
           tiles = class_figure(d, FIGURE_chip_cores, 1, 1);
    struct work_sum c = work_count(w, s->precision);
    struct class_time t = {.evidence = EVIDENCE_MEASURED};
    if (w->kind == WORK_PRODUCT) {
        product_cycles(d, w->m, w->n, w->k, cycles);
    } else if (w->kind == WORK_EXPERTS) { /* one expert after the other, three products each */
        double hit = fmin(w->experts / w->ep, w->m * w->topk), one[STEPS], two[STEPS],
               rows = fmax(1, w->m * w->topk / w->ep / hit);
        product_cycles(d, rows, 2 * w->n / w->tp, w->k, one);
        product_cycles(d, rows, w->k, w->n / w->tp, two);
        for (int i = 0; i < STEPS; i++) cycles[i] = hit * (one[i] + two[i]);
    } else { /* keys, values and rows lie spread over the tiles: at their SRAM's rate or their arithmetic's */
        double macs = class_figure(d, FIGURE_array_macs, 1, 1), bytes = (c.cache + c.acts) / tiles;
        cycles[0] = SUPERVISOR + fmax(c.ops / 2 / macs / tiles, bytes / (d->memory_rate / tiles / clock));
        cycles[1] = c.acts / tiles / class_figure(d, FIGURE_exchange_rate, 1, 1);
        cycles[2] = 2 * class_figure(d, FIGURE_exchange_sync, 1, 0);
    }
    t.seconds = (cycles[0] + cycles[1] + cycles[2]) / clock;
    t.bound = cycles[0] >= cycles[1] && cycles[0] >= cycles[2] ? DEVICE_COMPUTE
              : cycles[1] >= cycles[2]                         ? DEVICE_NETWORK
                                                               : DEVICE_SYNC;
    return t;
}

const struct class_ops class_bsp = {.name = "bsp", .needs = needs, .resident = true, .time = time};
