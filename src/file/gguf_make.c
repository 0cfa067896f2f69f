/* SPDX-License-Identifier: Apache-2.0 */
/* See gguf_make.h. */
#include "file/gguf_make.h"

#include <inttypes.h>
#include <limits.h>
#include "file/gguf_int.h"

struct gguf *gguf_make_new(int max_files)
{
    struct gguf *g = gguf_new(max_files);
    if (!g) return NULL;
    g->n_parts = 0;
    g->alignment = 32;
    return g;
}

int gguf_make_file(struct gguf *g, const char *path, struct str *bytes, int *no, struct err *e)
{
    struct gguf_part *f = &g->part[g->n_parts];
    *no = g->n_parts++;
    int rc = gguf_map_file(f, path, e);
    if (rc) return rc;
    f->data = f->size;
    *bytes = (struct str){(const char *)f->map, f->size};
    return 0;
}

void gguf_make_data(struct gguf *g, int no, size_t data)
{
    must(no < g->n_parts && data <= g->part[no].size);
    g->part[no].data = data;
}

void *gguf_make_alloc(struct gguf *g, size_t n)
{
    return arena_alloc(&g->arena, n, 1);
}

struct arena *gguf_make_arena(struct gguf *g)
{
    return &g->arena;
}

/* --- keys ---------------------------------------------------------------------------------------------------- */

/* A key of `bytes` bytes of value, to be filled in; NULL when memory is out. */
static uint8_t *add_key(struct gguf *g, const char *key, enum gguf_type type, enum gguf_type elem, uint64_t n,
                        size_t bytes)
{
    struct gguf_key *k = g->n_keys < GGUF_MAX_KEYS
                             ? arena_grow(&g->arena, g->key, (int)g->n_keys, &g->cap_keys, sizeof *k)
                             : NULL;
    uint8_t *p = k ? arena_alloc(&g->arena, bytes ? bytes : 1, 1) : NULL;
    char *name = p ? arena_strdup(&g->arena, str_from(key)) : NULL;
    if (!name) {
        g->make_failed = true;
        return NULL;
    }
    g->key = k;
    k[g->n_keys++] =
        (struct gguf_key){.name = str_from(name), .type = type, .elem = elem, .n = n, .p = p, .bytes = bytes};
    return p;
}

static void add_plain(struct gguf *g, const char *key, enum gguf_type type, const void *v, size_t bytes)
{
    uint8_t *p = add_key(g, key, type, GGUF_U8, 1, bytes);
    if (p) memcpy(p, v, bytes);
}

void gguf_make_u32(struct gguf *g, const char *key, uint32_t v)
{
    add_plain(g, key, GGUF_U32, &v, sizeof v);
}

void gguf_make_f32(struct gguf *g, const char *key, float v)
{
    add_plain(g, key, GGUF_F32, &v, sizeof v);
}

void gguf_make_bool(struct gguf *g, const char *key, bool v)
{
    add_plain(g, key, GGUF_BOOL, &(uint8_t){v}, 1);
}

static uint8_t *put_str(uint8_t *p, struct str s)
{
    memcpy(p, &(uint64_t){s.n}, 8);
    if (s.n) memcpy(p + 8, s.p, s.n);
    return p + 8 + s.n;
}

void gguf_make_str(struct gguf *g, const char *key, struct str v)
{
    uint8_t *p = add_key(g, key, GGUF_STR, GGUF_U8, 1, 8 + v.n);
    if (p) put_str(p, v);
}

void gguf_make_strs(struct gguf *g, const char *key, const struct str *v, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += 8 + v[i].n;
    uint8_t *p = add_key(g, key, GGUF_ARRAY, GGUF_STR, n, bytes);
    for (size_t i = 0; p && i < n; i++) p = put_str(p, v[i]);
}

static void add_array(struct gguf *g, const char *key, enum gguf_type elem, const void *v, size_t n)
{
    uint8_t *p = add_key(g, key, GGUF_ARRAY, elem, n, n * gguf_type_bytes(elem));
    if (p && n) memcpy(p, v, n * gguf_type_bytes(elem));
}

void gguf_make_i32s(struct gguf *g, const char *key, const int32_t *v, size_t n)
{
    add_array(g, key, GGUF_I32, v, n);
}

void gguf_make_f32s(struct gguf *g, const char *key, const float *v, size_t n)
{
    add_array(g, key, GGUF_F32, v, n);
}

/* --- tensors ------------------------------------------------------------------------------------------------- */

int gguf_make_tensor(struct gguf *g, const struct tensor *given, struct err *e)
{
    if (g->n_tensors == GGUF_MAX_TENSORS) return err(e, ERR_LIMIT, "more than %d tensors", GGUF_MAX_TENSORS);
    struct tensor *t = arena_grow(&g->arena, g->tensor, (int)g->n_tensors, &g->cap_tensors, sizeof *t);
    char *name = t ? arena_strdup(&g->arena, given->name) : NULL;
    if (!name) return err(e, ERR_MEMORY, "out of memory for %zu tensors", g->n_tensors);
    g->tensor = t;
    t += g->n_tensors;
    *t = *given;
    t->name = (struct str){name, given->name.n};
    must(t->n_dims <= GGUF_MAX_DIMS && (!t->data) == (t->maker != NULL));
    for (uint32_t i = t->n_dims; i < GGUF_MAX_DIMS; i++) t->ne[i] = 1;
    t->size_bytes = dtype_row_bytes(t->type, t->ne[0]);
    for (int i = 1; i < GGUF_MAX_DIMS; i++)
        if (t->ne[i] == 0 || __builtin_mul_overflow(t->size_bytes, t->ne[i], &t->size_bytes)) t->size_bytes = 0;
    if (t->size_bytes == 0 || t->size_bytes > INT64_MAX)
        return err(e, ERR_FORMAT,
                   "tensor '%s': [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "] of %s is no possible shape", name,
                   t->ne[0], t->ne[1], t->ne[2], dtype_name(t->type));
    g->n_tensors++;
    return 0;
}

int gguf_make_done(struct gguf *g, struct err *e)
{
    if (g->make_failed) return err(e, ERR_MEMORY, "out of memory for the model's keys");
    return gguf_index_all(g, e);
}
