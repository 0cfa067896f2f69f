/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conform: does a back end obey the numerics contract? Small models, one for each weight type and one with
 * latent attention, made here, run on it in many ways (chunks, company in the batch, width of the cache), and
 * every bit of every logit is compared with the scalar reference on the CPU.
 */
#ifndef TUTTI_CHIP_CONFORM_H
#define TUTTI_CHIP_CONFORM_H

#include "chip/chip.h"

#define CONFORM_LATENT "F16 latent" /* latent attention, as DeepSeek has it */

struct conform_vector { /* one way of running one model */
    const char *type; /* of the weights */
    int kv_bits, chunk, others;
};

enum conform_end { CONFORM_EQUAL, CONFORM_DIFFERS, CONFORM_UNSUPPORTED };

struct conform {
    const char *chip, *isa; /* under test; as chip_load takes them */
    const struct chip_ops *ops; /* under test instead of `chip`: a back end that is not in the list yet; or NULL */
    const char *type;       /* this weight type only, or NULL */
    int n_threads;
    /* Called after each vector. text: the first difference, or why the back end refuses; else "". */
    void (*told)(void *ud, const struct conform_vector *v, enum conform_end end, const char *text);
    void *ud;
    int vectors, equal, unsupported; /* counted by conform_run */
    int models, done;                /* of the run: how many models, and how many of them are done, for a bar */
};

enum { CONFORM_TOKENS = 140 }; /* of the text: two pages of the cache */

/* 0 also where vectors differ: see the counts. ERR_USAGE: no such type or chip. */
int conform_run(struct conform *c, struct err *e);

#endif
