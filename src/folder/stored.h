/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored: one matrix as a shard holds it, and how a row of it becomes a row of one of the engine's types.
 */
#ifndef TUTTI_FOLDER_STORED_H
#define TUTTI_FOLDER_STORED_H

#include "folder/int.h"

enum stored_kind {
    STORED_PLAIN,  /* rows of F32, F16 or BF16, as they are */
    STORED_TURNED, /* the same, published [columns][rows] */
    STORED_MXFP4,  /* 32 codes in 16 bytes and a byte of scale: GGUF's blocks with the codes in another order */
};

struct stored {
    enum stored_kind kind;
    enum dtype type; /* of the rows that come out */
    uint64_t n, k;   /* rows, columns */
    int file;        /* shard of the codes */
    const uint8_t *codes, *scales;
    uint64_t stride; /* STORED_TURNED: bytes from one column to the next */
};

/* Row `row` in s->type. */
void stored_row(const struct stored *s, uint64_t row, uint8_t *out);

/*
 * The matrix whose tensors are named BASE.weight, BASE_blocks and BASE_scales ..., with `more` for matrices that are published as
 * a stack [more][n][k] (0: not a stack): *list gets max(more, 1) matrices. *list = NULL if there is no such tensor.
 */
int stored_find(struct folder *f, const char *base, struct stored **list, uint64_t *count, struct err *e);

/* A tensor of the shards by name, marked as used; NULL if there is none. */
const struct st_tensor *folder_tensor(struct folder *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* F32, F16 or BF16 as a type of the engine; -1: another. */
int stored_float_type(enum st_type t);

#endif
