/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class array: matrix arrays fed by DMA: TPUs and NPUs. No caches: a compiler moves weights from DRAM into
 * SRAM while the arrays work on what came before, so a product takes the longer of both, and the first tile's
 * way besides.
 *
 * Weight-stationary: an array of rows x columns takes `rows` cycles to load the next weights, hidden behind
 * at least as many rows of activations; fewer rows leave it waiting. Matrices are padded to whole arrays.
 */
#include <math.h>
#include "plan/class/class.h"

static const enum figure needs[] = {FIGURE_memory_size, FIGURE_memory_rate, FIGURES};

static struct class_time time(const struct device *d, const struct device_setup *s, const struct work *w)
{
    if (w->kind == WORK_REDUCE || w->kind == WORK_EXCHANGE) return class_message(d, w);
    double rows = class_figure(d, FIGURE_array_rows, 1, 0), columns = class_figure(d, FIGURE_array_columns, 1, 0);
    double ops = work_count(w, s->precision).ops;
    if (w->kind == WORK_PRODUCT) ops = 2 * fmax(w->m, rows) * class_whole(w->n, columns) * class_whole(w->k, rows);
    /* whole arrays on the diagonal */
    if (w->kind == WORK_CONTEXT) ops += 4 * w->batch * w->heads * w->head_dim * w->length * rows;
    struct class_time t = class_longer(d, s, w, ops);
    double tile = rows * columns * class_figure(d, FIGURE_array_count, 1, 1) * s->precision->weight_bytes;
    if (w->kind == WORK_PRODUCT) t.seconds += tile / d->memory_rate;
    return t;
}

const struct class_ops class_array = {.name = "array", .needs = needs, .time = time};
