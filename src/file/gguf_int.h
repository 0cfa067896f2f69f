/* SPDX-License-Identifier: Apache-2.0 */
/* What gguf.c (opening, checking) and gguf_key.c (reading values) share. */
#ifndef TUTTI_FILE_GGUF_INT_H
#define TUTTI_FILE_GGUF_INT_H

#include "file/gguf.h"

struct gguf_part {
    int fd;             /* -1 for memory of the caller */
    const uint8_t *map;
    size_t size;        /* bytes */
    size_t data;        /* where tensor data starts, bytes from the start of the file */
};

/* Open addressing, linear probing; slot = index + 1, 0 = free. */
struct gguf_index {
    uint32_t *slot;
    size_t mask;
};

struct gguf {
    struct arena arena;
    struct gguf_part *part;
    int n_parts;
    uint32_t version, alignment;
    struct gguf_key *key;
    struct tensor *tensor;
    size_t n_keys, n_tensors;
    struct gguf_index key_index, tensor_index;
};

/* Bytes of one value; 0 for strings, arrays and unknown types. */
size_t gguf_type_bytes(uint32_t t);

#endif
