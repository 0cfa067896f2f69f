/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prices: what tokens cost, from a file (data/prices.ini is an example): a section per model name, with * and ? as in a
 * shell; the first that fits counts. Values are dollars per million tokens, kept as pico-dollars per token, so that
 * every price is exact.
 *
 *   [smollm2*]
 *   prompt = 0.02      of the prompt, where no cache supplied them
 *   cached = 0.01      of the prompt, from the cache; default: as prompt
 *   answer = 0.05
 *   batch  = 50        per cent of the price for requests of a batch; default: 100
 */
#ifndef TUTTI_SERVE_LEDGER_PRICES_H
#define TUTTI_SERVE_LEDGER_PRICES_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

enum { PRICES_MAX = 256, PRICES_FILE_MAX = 1 << 20, PRICE_MODEL_MAX = 200 };

struct price {
    char model[PRICE_MODEL_MAX];
    int64_t prompt, cached, answer; /* pico-dollars per token; cached -1: as prompt */
    int64_t batch_percent;
};

struct prices {
    struct price *price; /* [n] in the file's order */
    int n;
};

int prices_read(struct prices *p, const char *path, struct err *e);
int prices_parse(struct prices *p, const char *text, const char *name, struct err *e); /* name: for messages */
void prices_finish(struct prices *p);                                                   /* accepts a zeroed struct */

/* Nano-dollars, rounded to the nearest; 0 if no section fits. */
int64_t prices_cost(const struct prices *p, const char *model, int64_t n_prompt, int64_t n_cached,
                    int64_t n_answer, bool batch);

#endif
