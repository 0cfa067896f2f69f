/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays of float32 in NumPy's .npy format (version 1 to 3, little endian, C order), as far as ppl needs it: reference
 * distributions that any numerical tool can make, and back. Files are foreign: the header is checked.
 */
#ifndef TUTTI_CMD_NPY_H
#define TUTTI_CMD_NPY_H

#include <stdint.h>
#include <stdio.h>
#include "base/err.h"

struct npy {
    void *map;
    size_t map_bytes;
    const float *data; /* [n_rows][n_cols] */
    int64_t n_rows, n_cols; /* all axes but the last, together; the last axis */
};

int npy_open(struct npy *a, const char *path, struct err *e);
void npy_close(struct npy *a); /* accepts a zeroed struct */

/* Writes the header of a float32 array [n_rows][n_cols]; the rows follow as raw floats. */
int npy_write_header(FILE *f, int64_t n_rows, int64_t n_cols);

#endif
