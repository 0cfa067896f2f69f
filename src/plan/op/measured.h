/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measured: files of measured operators, by group: one chip, framework, operator and type.
 *
 * One row in five is held out: those whose hash of operator, words of the group and shape is 0 modulo 5
 * (FNV-1a over the cells as they stand in the file). Constants are fitted on the others and errors told of
 * these.
 */
#ifndef TUTTI_PLAN_OP_MEASURED_H
#define TUTTI_PLAN_OP_MEASURED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "plan/op/op.h"
#include "plan/op/table.h"

enum {
    MEASURED_ROWS_MAX = 20000000,
    MEASURED_GROUPS_MAX = 4096,
    MEASURED_SIZE_MAX = 2000000000
}; /* of a number in a shape */

struct measured_row {
    double shape[OP_SHAPE_MAX];
    double us;
    bool held;
};

struct measured_group {
    const struct op_model *op;
    const char *chip, *framework, *words[OP_GROUP_MAX]; /* NULL after the last word */
    struct measured_row *rows;
    size_t n, cap, n_held;
};

struct measured {
    struct measured_group **groups; /* [n], in the order of their first rows */
    int n, cap;
    long n_rows, n_unknown;         /* read; of a kind that no model knows, and passed over */
    struct table_odd odd;           /* rows passed over: no number, not above 0 ... */
    struct arena arena;
};

void measured_init(struct measured *m);
void measured_close(struct measured *m); /* accepts a zeroed struct */

/* Adds the rows of DIR/op.file or DIR/op.file.gz. ERR_NOT_FOUND if neither is there, ERR_FORMAT if its header
 * lacks a column. */
int measured_read(struct measured *m, const char *dir, const struct op_model *op, struct err *e);

/* FNV-1a over the bytes of a cell and a comma behind it. */
#define MEASURED_HASH_BEGIN UINT64_C(0xcbf29ce484222325)
uint64_t measured_hash(uint64_t h, struct str cell);

#endif
