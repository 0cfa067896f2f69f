/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pooling: the row of hidden state that stands for a text: its last, its first, or the mean of all, as the
 * model's file says by ARCH.pooling_type (doc/arithmetic.md 7). Means are sums of integers, so that neither
 * order nor pieces can be seen.
 */
#ifndef TUTTI_SERVE_ENGINE_POOLING_H
#define TUTTI_SERVE_ENGINE_POOLING_H

#include <stdbool.h>
#include "file/gguf.h"

enum pooling { POOLING_LAST, POOLING_MEAN, POOLING_FIRST, POOLING_UNKNOWN };

/* Of a file; POOLING_UNKNOWN: a type that is not supported, for whoever asks for an embedding. */
int pooling_read(const struct gguf *g, struct str arch, enum pooling *out, struct err *e);

/* Which of the n rows at position pos of a text of n_text tokens have a part in it: *n_rows of them from the
 * one returned. */
int pooling_rows(enum pooling how, int pos, int n, int n_text, int *n_rows);

/* A mean on its way. */
struct mean {
    int64_t *sum; /* [n_embd] of rne(x * 2^22) */
    int n_embd, n_rows;
    bool out_of_range;
};
int mean_init(struct mean *m, int n_embd, struct err *e);
void mean_clear(struct mean *m);                 /* begins again */
void mean_add(struct mean *m, const float *row);
int mean_write(const struct mean *m, float *out); /* [n_embd]; 0 or ERR_RANGE */
void mean_finish(struct mean *m);                /* accepts a zeroed struct */

#endif
