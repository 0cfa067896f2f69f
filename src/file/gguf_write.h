/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a GGUF file (version 3, little endian; layout in gguf.h). Calls in this order:
 *
 *   gguf_write_open      PATH.part is created; an older one is overwritten
 *   gguf_write_key...    keys, then
 *   gguf_write_tensor    names, types and shapes, in the order in which their data will come
 *   gguf_write_data      the bytes of all tensors one after the other, in pieces of any size; padding is added here
 *   gguf_write_commit    everything must be there; it reaches the disk and takes its name by one rename
 *   gguf_write_close     frees; without a commit before, PATH.part goes and PATH is as it was
 *
 * The first fault (disk full, too much data) is kept: later calls do nothing and the commit reports it.
 */
#ifndef TUTTI_FILE_GGUF_WRITE_H
#define TUTTI_FILE_GGUF_WRITE_H

#include "file/gguf.h"

struct gguf_writer;

int gguf_write_open(struct gguf_writer **w, const char *path, uint32_t alignment, struct err *e);
void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_write_key(struct gguf_writer *w, const struct gguf_key *k); /* a copy of another file's */
int gguf_write_tensor(struct gguf_writer *w, struct str name, enum dtype type, uint32_t n_dims,
                      const uint64_t ne[GGUF_MAX_DIMS], struct err *e);
int gguf_write_data(struct gguf_writer *w, const void *p, size_t n, struct err *e);
int gguf_write_commit(struct gguf_writer *w, struct err *e);
void gguf_write_close(struct gguf_writer *w); /* accepts NULL */

uint64_t gguf_write_bytes(const struct gguf_writer *w); /* written so far */

#endif
