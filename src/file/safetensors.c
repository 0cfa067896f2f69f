/* SPDX-License-Identifier: Apache-2.0 */
/* See safetensors.h. */
#include "file/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

enum { LENGTH_BYTES = 8 };

static const struct {
    const char *name;
    uint8_t bits;
} types[ST_TYPES] = {
#define X(name, bits) {#name, bits},
    ST_TYPE_LIST(X)
#undef X
};

const char *st_type_name(enum st_type t)
{
    return (size_t)t < ST_TYPES ? types[t].name : "?";
}

uint64_t st_type_bytes(enum st_type t)
{
    return types[t].bits / 8;
}

/* --- the header ---------------------------------------------------------------------------------------------- */

static int read_header(struct str file, json_t **root, size_t *data, struct err *e)
{
    uint64_t n;
    json_error_t je;
    if (file.n < LENGTH_BYTES + 2)
        return err(e, ERR_FORMAT,
                   "not a safetensors file: %zu bytes long, a length and an empty header alone take %d",
                   file.n, LENGTH_BYTES + 2);
    memcpy(&n, file.p, LENGTH_BYTES);
    if (str_starts(file, STR("version https://git-lfs")))
        return err(e, ERR_FORMAT, "a Git LFS pointer: fetch the model itself");
    if (n > ST_HEADER_MAX)
        return err(e, ERR_LIMIT,
                   "not a safetensors file, or damaged: a header of %" PRIu64 " bytes, at most %d are read",
                   n, ST_HEADER_MAX);
    if (n > file.n - LENGTH_BYTES)
        return err(e, ERR_FORMAT, "a header of %" PRIu64 " bytes in a file of %zu: truncated or damaged", n, file.n);
    if (n == 0 || file.p[LENGTH_BYTES] != '{')
        return err(e, ERR_FORMAT, "not a safetensors file: its header does not begin with '{'");
    *root = json_loadb(file.p + LENGTH_BYTES, (size_t)n, JSON_REJECT_DUPLICATES, &je);
    if (!*root)
        return err(e, ERR_FORMAT, "the header is no JSON object with each name once: byte %d: %s",
                   je.position, je.text);
    *data = LENGTH_BYTES + (size_t)n;
    return 0;
}

static bool read_u64(const json_t *j, uint64_t *v)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0) return false;
    *v = (uint64_t)json_integer_value(j);
    return true;
}

static int bad(const struct st_tensor *t, const char *what, struct err *e)
{
    return err(e, ERR_FORMAT, "tensor '%.*s': %s", STR_ARG(t->name), what);
}

static int read_type(struct st_tensor *t, const json_t *j, struct err *e)
{
    const char *name = json_string_value(j);
    if (!name) return bad(t, "no 'dtype'", e);
    for (int i = 0; i < ST_TYPES; i++) {
        if (strcmp(name, types[i].name) != 0) continue;
        t->type = (enum st_type)i;
        return 0;
    }
    return err(e, ERR_UNSUPPORTED, "tensor '%.*s': dtype '%.32s' is not known to this version", STR_ARG(t->name), name);
}

/* The shape, and the bytes that it takes. */
static int read_shape(struct st_tensor *t, const json_t *j, struct err *e)
{
    if (!json_is_array(j)) return bad(t, "no 'shape'", e);
    if (json_array_size(j) > ST_DIMS_MAX)
        return err(e, ERR_LIMIT, "tensor '%.*s': %zu dimensions, at most %d are read", STR_ARG(t->name),
                   json_array_size(j), ST_DIMS_MAX);
    t->n_dims = (int)json_array_size(j);
    t->bytes = st_type_bytes(t->type);
    for (int i = 0; i < t->n_dims; i++) {
        if (!read_u64(json_array_get(j, (size_t)i), &t->dim[i]))
            return bad(t, "'shape' holds something that is no count", e);
        if (__builtin_mul_overflow(t->bytes, t->dim[i], &t->bytes) || t->bytes > INT64_MAX)
            return bad(t, "the product of its dimensions overflows 63 bits", e);
    }
    return 0;
}

static int read_place(struct st_tensor *t, const json_t *j, struct str file, size_t data, struct err *e)
{
    uint64_t begin, end, room = file.n - data;
    if (json_array_size(j) != 2 || !read_u64(json_array_get(j, 0), &begin) || !read_u64(json_array_get(j, 1), &end))
        return bad(t, "'data_offsets' are not two offsets", e);
    if (begin > end || end > room)
        return err(e, ERR_FORMAT,
                   "tensor '%.*s': bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64
                   " bytes of data: truncated or damaged",
                   STR_ARG(t->name), begin, end, room);
    if (end - begin != t->bytes)
        return err(e, ERR_FORMAT, "tensor '%.*s': its shape takes %" PRIu64 " bytes, its offsets %" PRIu64,
                   STR_ARG(t->name), t->bytes, end - begin);
    t->data = (const uint8_t *)file.p + data + begin;
    return 0;
}

static int read_tensor(struct st_tensor *t, const char *name, const json_t *j, struct str file, size_t data,
                       struct arena *a, struct err *e)
{
    size_t n = strlen(name);
    int rc;
    if (n == 0 || n > ST_NAME_MAX)
        return err(e, ERR_LIMIT, "a tensor's name has %zu bytes: 1 to %d are read", n, ST_NAME_MAX);
    t->name = (struct str){arena_strdup(a, (struct str){name, n}), n};
    if (!t->name.p) return err(e, ERR_MEMORY, "out of memory");
    if (!json_is_object(j)) return bad(t, "is not described by an object", e);
    if ((rc = read_type(t, json_object_get(j, "dtype"), e)) ||
        (rc = read_shape(t, json_object_get(j, "shape"), e)))
        return rc;
    return read_place(t, json_object_get(j, "data_offsets"), file, data, e);
}

/* --- the data ------------------------------------------------------------------------------------------------ */

static int by_place(const void *a, const void *b)
{
    const struct st_tensor *s = a, *t = b;
    if (s->data != t->data) return s->data < t->data ? -1 : 1;
    return s->bytes < t->bytes ? -1 : s->bytes > t->bytes;
}

static int check_places(const struct st_tensor *t, size_t n, struct str file, size_t data, struct err *e)
{
    const uint8_t *at = (const uint8_t *)file.p + data, *end = (const uint8_t *)file.p + file.n;
    for (size_t i = 0; i < n; at = t[i].data + t[i].bytes, i++) {
        if (t[i].data < at)
            return err(e, ERR_FORMAT, "tensor '%.*s' overlaps tensor '%.*s' in the file", STR_ARG(t[i].name),
                       STR_ARG(t[i - 1].name));
        if (t[i].data > at)
            return err(e, ERR_FORMAT, "%td bytes before tensor '%.*s' belong to no tensor", t[i].data - at,
                       STR_ARG(t[i].name));
    }
    return at == end ? 0
                     : err(e, ERR_FORMAT, "%td bytes at the end belong to no tensor: the file is damaged",
                           end - at);
}

static int read_all(json_t *root, struct str file, size_t data, struct arena *a, struct st_tensor **list,
                    size_t *n, struct err *e)
{
    size_t count = json_object_size(root);
    const char *name;
    json_t *j;
    *n = 0;
    if (count > ST_TENSORS_MAX) return err(e, ERR_LIMIT, "%zu tensors: at most %d are read", count, ST_TENSORS_MAX);
    if (!(*list = ARENA_NEW(a, struct st_tensor, count + 1)))
        return err(e, ERR_MEMORY, "out of memory for %zu tensors", count);
    json_object_foreach(root, name, j)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        int rc = read_tensor(&(*list)[*n], name, j, file, data, a, e);
        if (rc) return rc;
        ++*n;
    }
    qsort(*list, *n, sizeof **list, by_place);
    return check_places(*list, *n, file, data, e);
}

int safetensors_read(struct str file, struct arena *a, struct st_tensor **list, size_t *n, size_t *data, struct err *e)
{
    json_t *root = NULL;
    int rc = read_header(file, &root, data, e);
    if (!rc) rc = read_all(root, file, *data, a, list, n, e);
    json_decref(root);
    return rc;
}
