/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: computes a receipt's answer again, as one prefill of prompt and answer, and finds the first token
 * that is not what the model draws. Whoever made the receipt decoded token by token, perhaps among other
 * requests, on another machine: the arithmetic makes both the same.
 */
#ifndef TUTTI_SERVE_RECEIPT_VERIFY_H
#define TUTTI_SERVE_RECEIPT_VERIFY_H

#include "serve/engine/engine.h"
#include "serve/engine/text.h"
#include "serve/receipt/receipt.h"
#include "serve/sched/sched.h"

enum verify_what {
    VERIFY_OK,
    VERIFY_TOKEN, /* token `at` (from 0) is `said` in the receipt, and the model draws `drawn` */
    VERIFY_STATE, /* the tokens are right, but what they were drawn from differs within tokens at..last */
    VERIFY_END,   /* the tokens are right, but the answer ended for another reason: text says which */
};

struct verify_result {
    enum verify_what what;
    int at, last;
    int32_t said, drawn;
    char text[160];
};

/*
 * r was read, and prompt [r->spec.n_prompt] belongs to it; the engine is the model's, with the receipt's
 * kv_bits and room for prompt and answer. mask: of what the receipt says about tokens that may be drawn, or
 * ops NULL. An error means that nothing can be said.
 */
int verify_run(struct engine *en, const struct text *t, const struct receipt *r, const int32_t *prompt,
               const struct sched_mask_ops *ops, void *mask, struct verify_result *out, struct err *e);

#endif
