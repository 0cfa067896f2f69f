/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layers: measured pieces of a model's layer on chips of any class (tpu_v6e_layers.csv,
 * tpu_v6e_attention.csv) beside what the chip's class says. Compilers fuse neighbours under one name, so
 * projections of the feed-forward are compared in sum (gate, up and down of equal token counts); names that
 * hold parts of others are counted, not compared.
 *
 * Held out: rows whose hash (FNV-1a) of "layers", piece and tokens, or "attention", phase, lengths and batch,
 * is 0 modulo 5.
 */
#ifndef TUTTI_PLAN_CLASS_LAYERS_H
#define TUTTI_PLAN_CLASS_LAYERS_H

#include "plan/op/table.h"
#include "plan/op/validate.h"

enum layers_piece { LAYERS_FFN, LAYERS_HEAD, LAYERS_PREFILL, LAYERS_DECODE, LAYERS_PIECES };
extern const char *const layers_piece_name[];

enum { LAYERS_ROWS_MAX = 1 << 20, LAYERS_TOKENS_MAX = 1 << 16 };

struct layers_group { /* of one chip */
    long rows;                           /* compared, held out or not */
    size_t n;                            /* held out */
    double *ratio,
        *datasheet; /* [n] predicted / measured: with the fitted figures of the sheet, and without */
    size_t cap;
};

struct layers {
    char chip[FIGURES_NAME_MAX];         /* of the file; rows of others are counted as unknown */
    struct layers_group piece[LAYERS_PIECES];
    long n_fused, n_unknown;             /* not compared: parts of others; of other chips or models */
    struct table_odd odd;                /* rows passed over: no number ... */
};

/* Whichever of the files is in the folder; ERR_NOT_FOUND if none is. */
int layers_read(struct layers *l, const char *dir, const struct constants *known, struct err *e);
void layers_close(struct layers *l); /* accepts a zeroed struct */

#endif
