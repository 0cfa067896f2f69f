/* SPDX-License-Identifier: Apache-2.0 */
/* mask: which tokens an answer may draw beside what its form says: a list of allowed tokens, a least length. */
#ifndef TUTTI_SERVE_ASK_MASK_H
#define TUTTI_SERVE_ASK_MASK_H

#include "serve/sched/sched.h"
#include "token/tokenizer/tokenizer.h"

struct mask_spec {
    const int32_t *only;        /* [n_only] allowed tokens; n_only 0: all */
    int n_only, min_tokens;
    const struct tokenizer *tokenizer;
    int n_vocab;
};

/* Puts a mask around *mask (of ops, or NULL), which it owns from now on; on a fault *mask stays as it was. */
int mask_wrap(void **mask, const struct sched_mask_ops *ops, const struct mask_spec *s, struct err *e);
extern const struct sched_mask_ops mask_ops;

#endif
