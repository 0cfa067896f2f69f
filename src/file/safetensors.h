/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Safetensors: one file (a shard) of named tensors.
 *
 *   offset 0   u64 n, little endian
 *   offset 8   n bytes of JSON, spaces at the end allowed:
 *              {"NAME": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}, ...,
 *               "__metadata__": {"key": "text", ...}}
 *   offset 8+n data; offsets count from here; the tensors fill it without gap and overlap
 *
 * safetensors_read checks all of it: what it returns lies inside the file and has as many bytes as its shape says.
 * Data may be unaligned. Source: the format's published description and the rules of its official reader.
 */
#ifndef TUTTI_FILE_SAFETENSORS_H
#define TUTTI_FILE_SAFETENSORS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum {
    ST_HEADER_MAX = 100 * 1000 * 1000, /* bytes of JSON, as the official reader has it */
    ST_TENSORS_MAX = 1 << 18,
    ST_DIMS_MAX = 8,
    ST_NAME_MAX = 1024, /* bytes */
};

/* name in the file, bits of an element */
#define ST_TYPE_LIST(X)                                                                                                \
    X(BOOL, 8) X(U8, 8) X(I8, 8) X(F8_E4M3, 8) X(F8_E5M2, 8) X(F8_E8M0, 8) X(I16, 16) X(U16, 16) X(F16, 16)            \
    X(BF16, 16) X(I32, 32) X(U32, 32) X(F32, 32) X(F64, 64) X(I64, 64) X(U64, 64)

enum st_type {
#define X(name, bits) ST_##name,
    ST_TYPE_LIST(X)
#undef X
    ST_TYPES
};

struct st_tensor {
    struct str name;
    enum st_type type;
    int n_dims;
    uint64_t dim[ST_DIMS_MAX]; /* as the file has them: the last one is contiguous */
    const uint8_t *data;
    uint64_t bytes;
    int file; /* set by the caller: which shard */
};

const char *st_type_name(enum st_type t);
uint64_t st_type_bytes(enum st_type t);

/* The tensors of a file, in the order of their data, in the arena; *data: where data begins. */
int safetensors_read(struct str file, struct arena *a, struct st_tensor **list, size_t *n, size_t *data, struct err *e);

#endif
