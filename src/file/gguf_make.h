/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a struct gguf of what another format says, so that the rest of the engine knows one kind of model.
 * Calls in this order:
 *
 *   gguf_make_new        for so many files at most
 *   gguf_make_file       maps one; its bytes stay where they are until gguf_close
 *   gguf_make_u32...     keys, copied
 *   gguf_make_tensor     tensors over mapped bytes, over memory of gguf_make_alloc, or with a maker
 *   gguf_make_done       names are unique; from here on it is read like any other
 *   gguf_close           also after a fault
 *
 * Where memory runs out, gguf_make_done reports it; calls in between do nothing then.
 */
#ifndef TUTTI_FILE_GGUF_MAKE_H
#define TUTTI_FILE_GGUF_MAKE_H

#include "file/gguf.h"

struct gguf *gguf_make_new(int max_files); /* NULL: out of memory */
/* *no: its number, for struct tensor. */
int gguf_make_file(struct gguf *g, const char *path, struct str *bytes, int *no, struct err *e);
/* tensor data begins at this byte of file no; else it has none */
void gguf_make_data(struct gguf *g, int no, size_t data);
void *gguf_make_alloc(struct gguf *g, size_t n);          /* zeroed, lives as long as g; NULL when memory is out */
struct arena *gguf_make_arena(struct gguf *g);

void gguf_make_u32(struct gguf *g, const char *key, uint32_t v);
void gguf_make_f32(struct gguf *g, const char *key, float v);
void gguf_make_bool(struct gguf *g, const char *key, bool v);
void gguf_make_str(struct gguf *g, const char *key, struct str v);
void gguf_make_strs(struct gguf *g, const char *key, const struct str *v, size_t n);
void gguf_make_i32s(struct gguf *g, const char *key, const int32_t *v, size_t n);
void gguf_make_f32s(struct gguf *g, const char *key, const float *v, size_t n);

/* name, type, n_dims, ne and data or maker are set; checks the shape, counts the bytes, copies the name. */
int gguf_make_tensor(struct gguf *g, const struct tensor *t, struct err *e);
int gguf_make_done(struct gguf *g, struct err *e);

#endif
