/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits: where the time of a test of `tutti bench` went, beside what the machine could do at best: per kind
 * of step its time, bytes, operations, and the share of the limit that was reached (a roofline).
 */
#ifndef TUTTI_CMD_LIMITS_H
#define TUTTI_CMD_LIMITS_H

#include <jansson.h>
#include "serve/engine/engine.h"

enum { LIMITS_LINES_MAX = 64 };

/* Steps that do the same in every layer. */
struct limits_line {
    char name[96];
    int times;           /* steps, over the whole test */
    double s;            /* seconds they took */
    struct step_cost cost;
};

struct limits {
    struct engine *en;
    struct chip_limits chip;
    size_t weights;      /* bytes that a token reads */
    double read_bytes, read_s; /* by limits_probe */
    int probes;
    uint64_t *ns;        /* [n_steps] for chip_time_steps */
    int *line_of;        /* [n_steps] */
    struct limits_line line[LIMITS_LINES_MAX];
    int n;
};

/* Groups the steps of the engine's program and measures the machine. */
int limits_open(struct limits *l, struct engine *en, struct err *e);
void limits_close(struct limits *l); /* accepts a zeroed struct */

void limits_begin(struct limits *l); /* times and costs start from nothing, clocks run */
/* A step of the chip will run or has run: n_seqs sequences of n tokens each from position pos on, n_out rows
 * of logits. */
void limits_count(struct limits *l, int n_seqs, int n, int pos, int n_out);
/* Before each step of one token: now and then all workers only read. What other machines leave of the
 * memory's speed changes by the second, so this, not the best, is what the steps are measured by. Returns the
 * seconds that it took. */
double limits_probe(struct limits *l);
void limits_end(struct limits *l);   /* clocks stop; the lines are ready */

double limits_read(const struct limits *l); /* bytes/s, between the steps if that was probed */

/* The least time that a line, or all lines, can take; *reads: reading is the bound, not multiplying. */
double limits_bound(const struct limits *l, const struct limits_line *line, bool *reads);
void limits_print(const struct limits *l, const char *test);
json_t *limits_json(const struct limits *l, const char *test); /* NULL: out of memory */
/* A roofline chart by gnuplot. */
int limits_plot(const struct limits *l, const char *test, const char *path, struct err *e);

#endif
