/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root of a model: one SHA-256 over all that decides its answers, whatever file or files it lies in.
 *
 *   tensor  SHA-256("tensor", name, type, dimensions, SHA-256(data))      for each, ascending by name
 *   key     SHA-256("key", name, type, element type, count, value bytes)  for each, ascending by name; of the keys
 *           general.* only general.architecture, since names, licences and alignment decide nothing
 *   root    SHA-256("tutti model 1", counts, all of those)
 *
 * Keys hold hyper-parameters, vocabulary and chat template; the tables of the rotary embedding follow from them and the
 * contract. Numbers are little-endian, lengths stand before strings.
 *
 * Reading all of a model takes seconds, so roots are kept in CACHE/roots under the file's path; one counts while size,
 * time of change, device and inode of every part are the same.
 */
#ifndef TUTTI_FILE_ROOT_H
#define TUTTI_FILE_ROOT_H

#include <stdatomic.h>
#include <stdint.h>
#include "base/err.h"
#include "file/gguf.h"

enum { ROOT_BYTES = 32 };

/* Computes it. *stop (may be NULL) is looked at between tensors: ERR_CANCELLED. */
int root_compute(const struct gguf *g, uint8_t root[ROOT_BYTES], const atomic_int *stop, struct err *e);

/* The kept one of the model that was opened by this path: true if there is one that still holds. */
bool root_recall(const struct gguf *g, const char *path, uint8_t root[ROOT_BYTES]);
/* Keeps it; a fault only means that it will be computed again. */
void root_keep(const struct gguf *g, const char *path, const uint8_t root[ROOT_BYTES]);

#endif
