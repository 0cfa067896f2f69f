/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: a comma-separated file with one header line, plain or gzip, read line by line. A cell ends at a
 * comma, or stands in double quotes and may hold commas. What some programs add is passed over: a byte order
 * mark, CR before LF, empty lines.
 */
#ifndef TUTTI_PLAN_OP_TABLE_H
#define TUTTI_PLAN_OP_TABLE_H

#include <stdbool.h>
#include "base/err.h"
#include "base/str.h"

enum { TABLE_COLUMNS_MAX = 64, TABLE_LINE_MAX = 8192 };

struct table;

/* Opens and reads the header. ERR_NOT_FOUND if there is no such file. */
int table_open(struct table **t, const char *path, struct err *e);
void table_close(struct table *t); /* accepts NULL */

/* Index of a column; ERR_FORMAT names file and column if it is missing. */
int table_column(const struct table *t, const char *name, struct err *e);

/* 1: a row was read; 0: the end; below 0: an error with file:line. ERR_FORMAT: not as many cells as the
 * header has; the next call goes on. */
int table_next(struct table *t, struct err *e);
struct str table_cell(const struct table *t, int column); /* of the current row, valid until the next */
/* The cell as a finite number; ERR_FORMAT with file:line, column and what was found. */
int table_number(const struct table *t, int column, double *out, struct err *e);
long table_line(const struct table *t);

/* Rows that cannot be used, for who would rather go on: how many, and what is wrong with the first. */
struct table_odd {
    long n;
    struct err first;
};
/* ERR_FORMAT is counted, and 0 returned; other codes are returned as they are. */
int table_skip(struct table_odd *o, int rc, const struct err *e);

#endif
