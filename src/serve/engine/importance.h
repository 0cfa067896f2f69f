/* SPDX-License-Identifier: Apache-2.0 */
/*
 * importance: how much each column of each matrix matters to a model, as the mean square of what meets it
 * over a text. An error in a column counts by that much (kern/encode.h). The same numbers with any number of
 * threads: a worker sums its columns over all rows in order.
 */
#ifndef TUTTI_SERVE_ENGINE_IMPORTANCE_H
#define TUTTI_SERVE_ENGINE_IMPORTANCE_H

#include <signal.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

struct importance;

struct importance_options {
    int n_threads;                                /* 0: all CPUs */
    int n_tokens;                                 /* at most, of the text; 0: all */
    const volatile sig_atomic_t *cancel;          /* or NULL */
    void (*progress)(void *ud, int done, int all); /* tokens; or NULL */
    void *progress_ud;
};

/* Runs the model in file `path` over the text in windows of 512 tokens. */
int importance_gather(struct importance **im, const char *path, struct str text,
                      const struct importance_options *opt, struct err *e);
void importance_free(struct importance *im); /* accepts NULL */

/* [n] of the tensor's columns, or NULL if no product uses it or n is another number. */
const float *importance_of(const struct importance *im, struct str tensor, uint64_t n);

#endif
