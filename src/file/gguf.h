/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF files (v2 and v3, little endian), mapped read-only: named metadata ("keys") and named tensors.
 *
 *   offset 0   "GGUF"  u32 version  u64 n_tensors  u64 n_keys
 *              n_keys times      string key, u32 type, value            string = u64 length, bytes
 *              n_tensors times   string name, u32 n_dims, u64 ne[n_dims], u32 type, u64 offset
 *              padding to general.alignment (32 if absent)
 *              tensor data; offsets count from here
 *
 * gguf_open checks everything before anyone uses it: counts, lengths, types, nesting, offsets, sizes,
 * overlaps, and that keys and names are unique. What it returns may be trusted as far as memory is concerned;
 * the meaning of a value is still the reader's to check. A model split into parts (NAME-00001-of-00003.gguf)
 * is opened by any part's path.
 *
 * Tensors of the own type N4 are read only if the file has the key tutti.n4.version = 1: another program may have given
 * the id another meaning.
 *
 * All views (struct str, data pointers) point into the mapping and live until gguf_close. Lookups are
 * thread-safe. If someone truncates a file while it is mapped, the system raises SIGBUS; files are replaced
 * by rename, never in place.
 */
#ifndef TUTTI_FILE_GGUF_H
#define TUTTI_FILE_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/dtype.h"
#include "base/err.h"
#include "base/str.h"

enum {
    GGUF_MAX_DIMS = 4,
    GGUF_MAX_KEYS = 1 << 16,
    GGUF_MAX_TENSORS = 1 << 20,
    GGUF_MAX_KEY_BYTES = 65535, /* of the format's text */
    GGUF_MAX_NAME_BYTES = 255,  /* tensor name; published files stay below 64 */
    GGUF_MAX_NEST = 4,          /* arrays within arrays */
    GGUF_MAX_ALIGN = 1 << 16,   /* bytes */
    GGUF_MAX_PARTS = 1024,
};

#define GGUF_KEY_N4 "tutti.n4.version"
enum { GGUF_N4_VERSION = 1 };

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

struct gguf_key {
    struct str name;
    enum gguf_type type;
    enum gguf_type elem; /* of an array */
    uint64_t n;          /* elements of an array, else 1 */
    const uint8_t *p;    /* value, first array element or string length; unaligned */
    size_t bytes;        /* from p to the value's end */
};

/* Makes rows that no file holds as they are (a folder of safetensors, folder/folder.h): n rows from `row` on,
 * counted over all dimensions but the first. Threads may call it at once. */
struct tensor_maker {
    void (*rows)(const struct tensor_maker *k, uint64_t row, uint64_t n, uint8_t *out);
};

struct tensor {
    struct str name;
    enum dtype type;
    uint32_t n_dims;
    uint64_t ne[GGUF_MAX_DIMS]; /* elements per dimension, ne[0] contiguous; 1 beyond n_dims */
    const void *data;           /* at least 8-byte aligned; NULL: rows are made as they are read */
    uint64_t size_bytes;
    int file; /* part it lies in, from 0 */
    const struct tensor_maker *maker; /* of a tensor without data */
    uint64_t maker_row;               /* its row that is row 0 here */
};

struct gguf;

int gguf_open(struct gguf **g, const char *path, struct err *e);
/* The same over bytes of the caller, which outlive g: all parts in order, each 8-byte aligned. */
int gguf_open_memory(struct gguf **g, const struct str *part, int n_parts, struct err *e);
void gguf_close(struct gguf *g); /* accepts NULL */

uint32_t gguf_version(const struct gguf *g); /* 0: not a GGUF file (gguf_make.h) */
uint32_t gguf_alignment(const struct gguf *g); /* bytes */
int gguf_n_parts(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); /* all parts */
uint64_t gguf_tensor_bytes(const struct gguf *g);

/* --- keys: those of the first part, in file order --- */
size_t gguf_n_keys(const struct gguf *g);
const struct gguf_key *gguf_key_at(const struct gguf *g, size_t i);
const struct gguf_key *gguf_find(const struct gguf *g, const char *key); /* NULL if absent */
const char *gguf_type_name(enum gguf_type t);                            /* "uint32" */

/* A missing key is ERR_NOT_FOUND, a wrong type or a value that does not fit ERR_FORMAT; *out is left alone
   then. Integers of any width are accepted where the value fits; f32 accepts float32 and float64, finite
   only. */
int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct err *e);
int gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out, struct err *e);
int gguf_get_i64(const struct gguf *g, const char *key, int64_t *out, struct err *e);
int gguf_get_f32(const struct gguf *g, const char *key, float *out, struct err *e);
int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct err *e);
int gguf_get_str(const struct gguf *g, const char *key, struct str *out, struct err *e);

/* The same for keys that a file may lack: *out = fallback when absent; a wrong type is still an error. */
int gguf_opt_u32(const struct gguf *g, const char *key, uint32_t fallback, uint32_t *out, struct err *e);
int gguf_opt_f32(const struct gguf *g, const char *key, float fallback, float *out, struct err *e);
int gguf_opt_bool(const struct gguf *g, const char *key, bool fallback, bool *out, struct err *e);
int gguf_opt_str(const struct gguf *g, const char *key, struct str fallback, struct str *out, struct err *e);

/* Arrays, copied into arena a: strings as views, integers from any width, reals from float32 or float64. */
int gguf_get_strs(const struct gguf *g, const char *key, struct arena *a, struct str **out, size_t *n,
                  struct err *e);
int gguf_get_i32s(const struct gguf *g, const char *key, struct arena *a, int32_t **out, size_t *n,
                  struct err *e);
int gguf_get_f32s(const struct gguf *g, const char *key, struct arena *a, float **out, size_t *n,
                  struct err *e);

/* Single values of a key of any kind, for printing. i counts array elements (0 for a plain value). */
bool gguf_value_i64(const struct gguf_key *k, uint64_t i, int64_t *out);  /* integers and bools that fit */
bool gguf_value_u64(const struct gguf_key *k, uint64_t i, uint64_t *out); /* integers and bools that fit */
bool gguf_value_f64(const struct gguf_key *k, uint64_t i, double *out);   /* float32 and float64 */
/* Next string of a string or array of strings: *pos starts at 0; false at the end or if the key holds no
 * strings. */
bool gguf_value_str(const struct gguf_key *k, size_t *pos, struct str *out);

/* --- tensors: of all parts, in file order --- */
size_t gguf_n_tensors(const struct gguf *g);
const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct tensor *gguf_tensor(const struct gguf *g, const char *name); /* NULL if absent */

/* n rows from `row` on, counted over all dimensions but the first: where they lie, or in scratch, which has
 * room for them. */
const uint8_t *tensor_rows(const struct tensor *t, uint64_t row, uint64_t n, uint8_t *scratch);

/* Gives the resident pages of one tensor, or of all data, back to the system; reading them again reads the
 * file again. */
void gguf_drop(const struct gguf *g, const struct tensor *t);
void gguf_want(const struct gguf *g, const struct tensor *t); /* it will be read soon: a hint */
void gguf_drop_all(const struct gguf *g);

#endif
