/* SPDX-License-Identifier: Apache-2.0 */
/* How far one model's next-token distributions are from another's, over a text. */
#ifndef TUTTI_CMD_DISTANCE_H
#define TUTTI_CMD_DISTANCE_H

#include <signal.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

struct distance {
    double kld, kld_95;   /* mean over the scored tokens, and half its 95 % interval by token */
    double ppl_of, ppl_to; /* perplexity of the two */
    int64_t n;            /* tokens scored */
};

/* Of model file `of` from model file `to`: at most n_windows windows of 512 tokens, the second half of each scored. */
int distance_measure(struct distance *d, const char *of, const char *to, struct str text, int n_windows, int n_threads,
                     const volatile sig_atomic_t *cancel, struct err *e);

#endif
