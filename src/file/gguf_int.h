/* SPDX-License-Identifier: Apache-2.0 */
/* What gguf.c (checking), gguf_map.c (opening) and gguf_key.c (reading values) share. */
#ifndef TUTTI_FILE_GGUF_INT_H
#define TUTTI_FILE_GGUF_INT_H

#include "file/gguf.h"

struct gguf_part {
    int fd; /* -1 for memory of the caller */
    const uint8_t *map;
    size_t size; /* bytes */
    size_t data; /* where tensor data starts, bytes from the start of the file */
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
    uint64_t n_tensors_all; /* announced by part 0 for all parts */
    struct gguf_index key_index, tensor_index;
    int cap_keys, cap_tensors; /* for gguf_make.c */
    bool make_failed;          /* memory ran out there */
};

/* Bytes of one value; 0 for strings, arrays and unknown types. */
size_t gguf_type_bytes(uint32_t t);

struct gguf *gguf_new(int n_parts); /* parts neither open nor mapped; NULL when memory is out */

/* Reads part 0 and says which part of how many it is (0 of 1 for a whole model). */
int gguf_read_first(struct gguf *g, uint32_t *no, uint32_t *count, struct err *e);
/* Reads the other parts, all mapped by now, and makes the index of tensor names. */
int gguf_read_rest(struct gguf *g, struct err *e);

/* Both name indices over keys and tensors that are in place; a name that stands twice is refused. */
int gguf_index_all(struct gguf *g, struct err *e);

/* Maps a regular file of at least one byte. */
int gguf_map_file(struct gguf_part *f, const char *path, struct err *e);

#endif
