/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness: sees one answer being drawn and writes its receipt at the end. It keeps 32 bytes per token, so that the
 * model's root, which enters the chain first, may still be on its way when the answer begins.
 */
#ifndef TUTTI_SERVE_RECEIPT_WITNESS_H
#define TUTTI_SERVE_RECEIPT_WITNESS_H

#include "serve/receipt/receipt.h"

struct witness {
    struct buf spec;        /* encoded; the root's place is filled in at the end */
    int32_t *ids;           /* [n] */
    uint8_t (*states)[RECEIPT_HASH]; /* [n] */
    int n, cap;
    int failed;             /* 0 or an error code, told by witness_write */
    bool private;
    uint8_t salt[RECEIPT_SALT];
};

/* spec with its prompt, its lists in any order; everything is copied. private: the receipt will hold the
 * prompt's salted hash. */
int witness_begin(struct witness *w, const struct receipt_spec *spec, bool private, struct err *e);
void witness_token(struct witness *w, int32_t id, const uint8_t state[RECEIPT_HASH]);
struct witness_end {
    enum generate_end end;
    const uint8_t *root;       /* [RECEIPT_HASH] */
    struct str request, model; /* for people; longer ones are cut */
};
/* The receipt's bytes. */
int witness_write(struct witness *w, const struct witness_end *end, const struct signing *s, struct buf *out,
                  struct err *e);
void witness_finish(struct witness *w); /* accepts a zeroed struct */

/* What this build and this engine put into every spec: contract, kv_bits and rotation; the rest is zero. */
struct engine;
void witness_spec(struct receipt_spec *s, const struct engine *en);

#endif
