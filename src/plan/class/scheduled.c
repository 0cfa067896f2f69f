/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class scheduled: the LPU: all weights in SRAM, everything timed by the compiler, no caches, no launches.
 * Chips form a pipeline of layers; inside a node some share every product.
 *
 *   product   weights pass from SRAM into the arrays once per step, at the rate of the streams, while the
 *             arrays multiply rows by what was installed before: the longer of the two, in whole tiles of the
 *             array, and the way through it
 *   attention keys and values are installed like weights
 *   rows      at the rate of SRAM; what units take one after the other between products is `model.layer`
 *
 * For a loaded model the instruction-level simulator (chip/lpu) counts cycles; this is for models of which
 * only the shape is known, and for chips whose instructions are not published.
 */
#include <math.h>
#include "plan/class/class.h"

static const enum figure needs[] = {FIGURE_memory_size, FIGURE_memory_rate, FIGURES};

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    struct work_sum c = work_count(w, s->precision);
    struct class_time t = {.evidence = EVIDENCE_MEASURED};
    if (w->kind == WORK_REDUCE || w->kind == WORK_EXCHANGE) return class_message(d, w);
    if (w->kind == WORK_ROWS) {
        t.seconds = c.acts / d->memory_rate + class_figure(d, FIGURE_model_layer, 1e-6, 0);
        t.bound = DEVICE_NETWORK;
        return t;
    }
    double rows = class_figure(d, FIGURE_array_rows, 1, 0),
           columns = class_figure(d, FIGURE_array_columns, 1, 0), ops = c.ops;
    if (w->kind == WORK_PRODUCT) ops = 2 * w->m * class_whole(w->n, columns) * class_whole(w->k, rows);
    double rate = fmin(d->memory_rate, class_figure(d, FIGURE_stream_rate, 1e9, d->memory_rate)) *
                  class_figure(d, FIGURE_model_memory, 1, 1);
    double compute = ops / (class_peak_of(d, s, w) * class_figure(d, FIGURE_model_compute, 1, 1)),
           stream = (c.weights + c.cache) / rate;
    t.seconds = fmax(compute, stream) + (rows + columns) / class_figure(d, FIGURE_chip_clock, 1e6, HUGE_VAL);
    t.bound = compute > stream ? DEVICE_COMPUTE : DEVICE_SRAM;
    return t;
}

const struct class_ops class_scheduled = {.name = "scheduled", .needs = needs, .resident = true, .time = time};
