/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class dataflow: a decoder layer is placed and routed on a grid of compute and memory units as one kernel;
 * tensors stream through it tile by tile, so reading weights, products and element-wise work of a layer
 * overlap (fused), and the slowest stage sets the rate. Between sections the grid is reconfigured:
 * model.layer. Matrices are padded to the lanes of a unit.
 */
#include "plan/class/class.h"

static const enum figure needs[] = {FIGURE_memory_size, FIGURE_memory_rate, FIGURES};

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    if (w->kind == WORK_REDUCE || w->kind == WORK_EXCHANGE) return class_message(d, w);
    double ops = work_count(w, s->precision).ops;
    if (w->kind == WORK_PRODUCT)
        ops = 2 * w->m * class_whole(w->n, class_figure(d, FIGURE_array_columns, 1, 0)) *
              class_whole(w->k, class_figure(d, FIGURE_array_rows, 1, 0));
    return class_longer(d, s, w, ops);
}

const struct class_ops class_dataflow = {.name = "dataflow", .needs = needs, .fused = true, .time = time};
