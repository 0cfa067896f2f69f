/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored: one matrix as a shard holds it, and how a row of it becomes a row of one of the engine's types
 * (doc/arithmetic.md 3). Where the type can hold the published values exactly it does; else they become F32,
 * rounded once.
 */
#ifndef TUTTI_FOLDER_STORED_H
#define TUTTI_FOLDER_STORED_H

#include "folder/int.h"

enum stored_kind {
    STORED_PLAIN,  /* rows of F32, F16 or BF16, as they are */
    STORED_TURNED, /* the same, published [columns][rows] */
    STORED_MXFP4,  /* 32 codes in 16 bytes and a byte of scale: GGUF's blocks with the codes in another order */
    STORED_E4M3,   /* bytes times a scale: of the matrix, of a row, or of a tile. F32 */
    STORED_E5M2,
    STORED_NVFP4,  /* 16 codes of 4 bits, an e4m3 scale, and one scale of the matrix. F32 */
    STORED_GPTQ,   /* 8 codes of 4 bits along the columns in a word, [columns / 8][rows] */
    STORED_AWQ,    /* 8 codes along the rows in a word, [columns][rows / 8] */
    STORED_ROWS,   /* pieces one above the other */
    STORED_COLUMNS, /* pieces side by side */
};

struct stored {
    enum stored_kind kind;
    enum dtype type; /* of the rows that come out */
    uint64_t n, k;   /* rows, columns */
    int file;        /* shard of the codes */
    const uint8_t *codes, *scales;
    uint64_t stride; /* STORED_TURNED: bytes from one column to the next */
    enum st_type scale_type;
    uint64_t tile_n, tile_k; /* a scale is for so many rows and columns; GPTQ, AWQ: tile_k columns are a group */
    uint64_t scale_stride;   /* scales from one row of them to the next; 0: all rows share one */
    float factor;            /* of the matrix */
    bool divide;             /* by factor, not times */
    const uint8_t *zeros;    /* GPTQ, AWQ: [groups][rows / 8] words of 8 zero points */
    int zero_add;            /* what the stored zero point lacks: 1 in GPTQ's first format */
    const uint8_t *group;    /* GPTQ: group of each column (int32), where they are not in order; or NULL */
    const struct stored *pieces; /* [n_pieces] STORED_ROWS, STORED_COLUMNS: of one shape */
    uint64_t n_pieces;
};

/* A packed 4-bit matrix whose zero points are all 8 is Q4_0; Q5_0 holds the same numbers, beside others of
 * its stack. */
bool stored_widen(struct stored *s);

/* Row `row` in s->type. */
void stored_row(const struct stored *s, uint64_t row, uint8_t *out);

/*
 * The matrix whose tensors are named BASE.weight, BASE_blocks and BASE_scales ..., with `more` for matrices
 * that are published as a stack [more][n][k] (0: not a stack): *list gets max(more, 1) matrices. *list = NULL
 * if there is no such tensor.
 */
int stored_find(struct folder *f, const char *base, struct stored **list, uint64_t *count, struct err *e);

/* A tensor of the shards by name (of pieces the first), marked as used; NULL if there is none. */
const struct st_tensor *folder_tensor(struct folder *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* F32, F16 or BF16 as a type of the engine; -1: another. */
int stored_float_type(enum st_type t);

#endif
