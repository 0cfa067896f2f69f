/* SPDX-License-Identifier: Apache-2.0 */
/*
 * product: one matrix alone on a chip. The body of its program quantises a vector, the head multiplies: what
 * the schedule of a product costs can be measured, and checked against the contract, without a model around
 * it. Without weights only the time is of use.
 */
#ifndef TUTTI_CHIP_LPU_PRODUCT_H
#define TUTTI_CHIP_LPU_PRODUCT_H

#include "chip/lpu/lpu.h"

struct lpu_product {
    struct model model;
    struct program program;
    struct step steps[2];
    struct buffer buffers[3]; /* x, its codes, y */
    struct weight weight;
    struct tensor tensor;
    struct lpu *chip;
    struct lpu_batch batch;               /* rows 0: one row at a time */
    struct lpu_launch quant, multiply;    /* of a batch */
};

/* rows: the matrix [n][k] in the format of its type, or NULL. */
int lpu_product_open(struct lpu_product *p, enum dtype type, int n, int k, const void *rows, struct err *e);
void lpu_product_close(struct lpu_product *p); /* accepts a zeroed struct */
/* y[n] = the matrix times x[k], through the simulator. */
int lpu_product_run(struct lpu_product *p, const float *x, float *y, struct err *e);
/* Compiles for `rows` rows at once, then y[rows][n] = x[rows][k] times the matrix; quant and multiply have
 * the cycles. */
int lpu_product_batch(struct lpu_product *p, int rows, struct err *e);
int lpu_product_run_batch(struct lpu_product *p, const float *x, float *y, struct err *e);
/* Cycles that no schedule can do without: bytes of the tiles over the streams, and products over the array. */
double lpu_product_stream_floor(const struct lpu_product *p);
double lpu_product_matrix_floor(const struct lpu_product *p, int rows);

#endif
