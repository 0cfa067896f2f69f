/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF: checking and reading bytes that are in memory already (gguf_map.c puts them there). See gguf.h for
 * the layout.
 *
 * One pass over keys and tensor descriptions with a cursor that never leaves the file, in this order: header,
 * keys, tensors, then per part the ranges and overlaps of tensor data, then the agreement of the parts.
 * Counts are compared with the bytes that are left before anything is allocated for them, so a lying file
 * costs no memory.
 */
#include "file/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "file/gguf_int.h"

enum {
    HEADER_BYTES = 24,
    KEY_MIN_BYTES = 8 + 1 + 4 + 1,        /* length, one character, type, one value byte */
    TENSOR_MIN_BYTES = 8 + 1 + 4 + 4 + 8, /* length, one character, n_dims, type, offset */
    DEFAULT_ALIGN = 32,
    MIN_ALIGN = 8, /* so that tensor data may be read as numbers */
};

/* --- cursor --- */

struct cursor {
    const uint8_t *p;
    size_t n, pos;
    struct err *e;
};

static int truncated(struct cursor *c, const char *what)
{
    return err(c->e, ERR_FORMAT,
               "%s runs past the end of the file (%zu bytes): the file is truncated or damaged", what, c->n);
}

/* Moves over n bytes and returns where they start; NULL if the file ends before. */
static const uint8_t *take(struct cursor *c, uint64_t n)
{
    if (n > c->n - c->pos) return NULL;
    const uint8_t *p = c->p + c->pos;
    c->pos += (size_t)n;
    return p;
}

static bool take_u32(struct cursor *c, uint32_t *v)
{
    const uint8_t *p = take(c, 4);
    if (p) memcpy(v, p, 4);
    return p != NULL;
}

static bool take_u64(struct cursor *c, uint64_t *v)
{
    const uint8_t *p = take(c, 8);
    if (p) memcpy(v, p, 8);
    return p != NULL;
}

static bool take_str(struct cursor *c, struct str *s)
{
    uint64_t n;
    const uint8_t *p;
    if (!take_u64(c, &n) || !(p = take(c, n))) return false;
    *s = (struct str){(const char *)p, (size_t)n};
    return true;
}

static bool name_is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f) return false;
    return s.n > 0;
}

/* --- name index --- */

static bool index_init(struct gguf_index *x, struct arena *a, size_t n)
{
    size_t cap = 4;
    while (cap < 2 * n) cap *= 2;
    x->slot = ARENA_NEW(a, uint32_t, cap);
    x->mask = cap - 1;
    return x->slot != NULL;
}

/* The slot that holds name, or the free slot where it belongs. names: address of the first name, `step` bytes
 * apart. */
static uint32_t *index_slot(const struct gguf_index *x, const void *names, size_t step, struct str name)
{
    size_t i = (size_t)hash_str(name) & x->mask;
    for (; x->slot[i]; i = (i + 1) & x->mask) {
        const struct str *s = (const void *)((const char *)names + (x->slot[i] - 1) * step);
        if (str_eq(*s, name)) break;
    }
    return &x->slot[i];
}

const struct gguf_key *gguf_find(const struct gguf *g, const char *key)
{
    uint32_t i = g->n_keys ? *index_slot(&g->key_index, g->key, sizeof *g->key, str_from(key)) : 0;
    return i ? &g->key[i - 1] : NULL;
}

const struct tensor *gguf_tensor(const struct gguf *g, const char *name)
{
    uint32_t i =
        g->n_tensors ? *index_slot(&g->tensor_index, g->tensor, sizeof *g->tensor, str_from(name)) : 0;
    return i ? &g->tensor[i - 1] : NULL;
}

/* --- header --- */

/* Names what a file that is not GGUF seems to be: a wrong download is the usual cause. */
static int not_gguf(struct cursor *c)
{
    static const struct {
        struct str magic;
        const char *what;
    } known[] = {
        {STR("version https://git-lfs"), "a Git LFS pointer: fetch the model itself"},
        {STR("PK\x03\x04"), "a zip archive (PyTorch weights, or a wheel to unpack)"},
        {STR("<!"), "an HTML page: the download went wrong"},
        {STR("<html"), "an HTML page: the download went wrong"},
        {STR("lmgg"), "a GGML file of 2023: convert it to GGUF"},
        {STR("tjgg"), "a GGJT file of 2023: convert it to GGUF"},
        {STR("FUGG"), "byte-swapped"},
    };
    struct str head = {(const char *)c->p, c->n};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_starts(head, known[i].magic))
            return err(c->e, ERR_FORMAT, "not a GGUF file; it looks like %s", known[i].what);
    if (c->n > 9 && c->p[8] == '{' && c->p[7] == 0)
        return err(c->e, ERR_FORMAT,
                   "not a GGUF file; it looks like a safetensors file: give the folder that it lies in");
    if (c->n < 4)
        return err(c->e, ERR_FORMAT, "not a GGUF file: %zu bytes long, the header alone takes %d", c->n,
                   HEADER_BYTES);
    return err(c->e, ERR_FORMAT,
               "not a GGUF file: expected the bytes 'GGUF' at the start, got %02x %02x %02x %02x", c->p[0],
               c->p[1], c->p[2], c->p[3]);
}

static int read_header(struct cursor *c, uint32_t *version, uint64_t *n_tensors, uint64_t *n_keys)
{
    if (c->n < 4 || memcmp(c->p, "GGUF", 4) != 0) return not_gguf(c);
    c->pos = 4;
    if (!take_u32(c, version)) return truncated(c, "the header");
    if ((*version & 0xffff) == 0 && *version != 0)
        return err(c->e, ERR_UNSUPPORTED,
                   "a big-endian GGUF file (version %u when swapped): convert it to little endian",
                   __builtin_bswap32(*version));
    if (*version != 2 && *version != 3)
        return err(c->e, ERR_UNSUPPORTED, "GGUF version %u: expected 2 or 3", *version);
    if (!take_u64(c, n_tensors) || !take_u64(c, n_keys)) return truncated(c, "the header");
    size_t left = c->n - c->pos;
    if (*n_keys > GGUF_MAX_KEYS)
        return err(c->e, ERR_LIMIT, "%" PRIu64 " keys: at most %d are read", *n_keys, GGUF_MAX_KEYS);
    if (*n_tensors > GGUF_MAX_TENSORS)
        return err(c->e, ERR_LIMIT, "%" PRIu64 " tensors: at most %d are read", *n_tensors, GGUF_MAX_TENSORS);
    if (*n_keys * KEY_MIN_BYTES + *n_tensors * TENSOR_MIN_BYTES > left)
        return err(c->e, ERR_FORMAT,
                   "%" PRIu64 " keys and %" PRIu64
                   " tensors cannot fit the %zu bytes after the header: truncated or damaged",
                   *n_keys, *n_tensors, left);
    return 0;
}

/* --- keys --- */

static int bad_key(struct cursor *c, struct str key, const char *what)
{
    return err(c->e, ERR_FORMAT, "key '%.*s': %s", STR_ARG(key), what);
}

static int key_truncated(struct cursor *c, struct str key)
{
    return err(c->e, ERR_FORMAT,
               "key '%.*s': its value runs past the end of the file (%zu bytes): truncated or damaged",
               STR_ARG(key), c->n);
}

static int skip_bools(struct cursor *c, struct str key, uint64_t n)
{
    const uint8_t *p = take(c, n);
    if (!p) return key_truncated(c, key);
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1) return bad_key(c, key, "a bool is neither 0 nor 1");
    return 0;
}

static int skip_strs(struct cursor *c, struct str key, uint64_t n)
{
    struct str s;
    if (n > (c->n - c->pos) / 8) return key_truncated(c, key);
    for (uint64_t i = 0; i < n; i++)
        if (!take_str(c, &s)) return key_truncated(c, key);
    return 0;
}

static int read_array(struct cursor *c, struct str key, uint32_t *elem, uint64_t *n);

static int skip_values(struct cursor *c, struct str key, uint32_t type, uint64_t n, int depth)
{
    uint64_t bytes;
    if (type == GGUF_STR) return skip_strs(c, key, n);
    if (type == GGUF_BOOL) return skip_bools(c, key, n);
    if (type == GGUF_ARRAY) {
        if (depth == GGUF_MAX_NEST)
            return err(c->e, ERR_LIMIT, "key '%.*s': arrays nested deeper than %d", STR_ARG(key),
                       GGUF_MAX_NEST);
        for (uint64_t i = 0; i < n; i++) {
            uint32_t elem;
            uint64_t n_elem;
            int rc = read_array(c, key, &elem, &n_elem);
            if (rc == 0) rc = skip_values(c, key, elem, n_elem, depth + 1);
            if (rc) return rc;
        }
        return 0;
    }
    size_t size = gguf_type_bytes(type);
    if (!size) return err(c->e, ERR_FORMAT, "key '%.*s': value type %u is unknown", STR_ARG(key), type);
    if (__builtin_mul_overflow(n, size, &bytes) || !take(c, bytes)) return key_truncated(c, key);
    return 0;
}

static int read_array(struct cursor *c, struct str key, uint32_t *elem, uint64_t *n)
{
    if (!take_u32(c, elem) || !take_u64(c, n)) return key_truncated(c, key);
    if (*elem > GGUF_F64)
        return err(c->e, ERR_FORMAT, "key '%.*s': element type %u is unknown", STR_ARG(key), *elem);
    return 0;
}

static int read_key(struct cursor *c, struct gguf_key *k, uint64_t i)
{
    uint32_t type, elem = 0;
    int rc;
    if (!take_str(c, &k->name))
        return err(c->e, ERR_FORMAT,
                   "the name of key %" PRIu64
                   " runs past the end of the file (%zu bytes): truncated or damaged",
                   i, c->n);
    if (k->name.n > GGUF_MAX_KEY_BYTES)
        return err(c->e, ERR_LIMIT, "key %" PRIu64 " has a name of %zu bytes: at most %d are read", i,
                   k->name.n, GGUF_MAX_KEY_BYTES);
    if (!name_is_plain(k->name))
        return err(c->e, ERR_FORMAT,
                   "key %" PRIu64 " has an empty name or one with control characters ('%.*s')", i,
                   STR_ARG(k->name));
    if (!take_u32(c, &type)) return key_truncated(c, k->name);
    if (type > GGUF_F64)
        return err(c->e, ERR_FORMAT, "key '%.*s': value type %u is unknown", STR_ARG(k->name), type);
    k->type = (enum gguf_type)type;
    k->n = 1;
    if (type == GGUF_ARRAY) {
        if ((rc = read_array(c, k->name, &elem, &k->n))) return rc;
        k->elem = (enum gguf_type)elem;
    }
    size_t start = c->pos;
    k->p = c->p + start;
    if ((rc = skip_values(c, k->name, type == GGUF_ARRAY ? elem : type, k->n, 1))) return rc;
    k->bytes = c->pos - start;
    return 0;
}

static int read_keys(struct gguf *g, struct cursor *c, uint64_t n)
{
    g->key = ARENA_NEW(&g->arena, struct gguf_key, (size_t)n);
    if (!g->key || !index_init(&g->key_index, &g->arena, (size_t)n))
        return err(c->e, ERR_MEMORY, "no memory for %" PRIu64 " keys", n);
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_key *k = &g->key[i];
        int rc = read_key(c, k, i);
        if (rc) return rc;
        uint32_t *slot = index_slot(&g->key_index, g->key, sizeof *g->key, k->name);
        if (*slot) return bad_key(c, k->name, "stands twice in the file");
        *slot = (uint32_t)i + 1;
        g->n_keys = (size_t)i + 1;
    }
    return 0;
}

/* --- tensors --- */

/* Types that GGUF once had, and what holds the same weights. */
static int unknown_type(struct cursor *c, const struct tensor *t, uint32_t type)
{
    static const struct {
        uint32_t id;
        const char *name, *now;
    } gone[] = {{4, "Q4_2", "Q4_0"},          {5, "Q4_3", "Q4_1"},         {31, "Q4_0_4_4", "Q4_0"},
                {32, "Q4_0_4_8", "Q4_0"},     {33, "Q4_0_8_8", "Q4_0"},    {36, "IQ4_NL_4_4", "IQ4_NL"},
                {37, "IQ4_NL_4_8", "IQ4_NL"}, {38, "IQ4_NL_8_8", "IQ4_NL"}};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (gone[i].id == type)
            return err(
                c->e, ERR_UNSUPPORTED,
                "tensor '%.*s': type %s is no longer part of GGUF: take the model as %s, or make that of its F16 file (tutti quantize)",
                STR_ARG(t->name), gone[i].name, gone[i].now);
    return err(
        c->e, ERR_UNSUPPORTED,
        "tensor '%.*s': type %u is not known to this version: take the model in another type, as Q4_K_M or Q8_0",
        STR_ARG(t->name), type);
}

static int read_shape(struct cursor *c, struct tensor *t, uint32_t type)
{
    const struct dtype_info *d = dtype_info(type);
    if (!d) return unknown_type(c, t, type);
    t->type = (enum dtype)type;
    uint64_t rows = 1, row = dtype_row_bytes(t->type, t->ne[0]), elements = t->ne[0];
    for (int i = 0; i < GGUF_MAX_DIMS; i++) {
        if (t->ne[i] == 0)
            return err(c->e, ERR_FORMAT, "tensor '%.*s': dimension %d is 0", STR_ARG(t->name), i);
        if (i > 0 && (__builtin_mul_overflow(rows, t->ne[i], &rows) ||
                      __builtin_mul_overflow(elements, t->ne[i], &elements) || elements > INT64_MAX))
            return err(c->e, ERR_FORMAT, "tensor '%.*s': the product of its dimensions overflows 63 bits",
                       STR_ARG(t->name));
    }
    if (t->ne[0] % d->block != 0)
        return err(c->e, ERR_FORMAT,
                   "tensor '%.*s': rows of %" PRIu64 " elements, but %s stores them in blocks of %u",
                   STR_ARG(t->name), t->ne[0], d->name, d->block);
    if (row == 0 || __builtin_mul_overflow(row, rows, &t->size_bytes))
        return err(c->e, ERR_FORMAT, "tensor '%.*s': its size overflows 64 bits", STR_ARG(t->name));
    return 0;
}

/* Leaves the offset in the data section in *offset; where that is, is known only after the last tensor. */
static int read_tensor(struct cursor *c, struct tensor *t, uint64_t *offset, uint64_t i)
{
    uint32_t type;
    if (!take_str(c, &t->name))
        return err(c->e, ERR_FORMAT,
                   "the name of tensor %" PRIu64
                   " runs past the end of the file (%zu bytes): truncated or damaged",
                   i, c->n);
    if (t->name.n > GGUF_MAX_NAME_BYTES)
        return err(c->e, ERR_LIMIT, "tensor %" PRIu64 " has a name of %zu bytes: at most %d are read", i,
                   t->name.n, GGUF_MAX_NAME_BYTES);
    if (!name_is_plain(t->name))
        return err(c->e, ERR_FORMAT,
                   "tensor %" PRIu64 " has an empty name or one with control characters ('%.*s')", i,
                   STR_ARG(t->name));
    bool whole = take_u32(c, &t->n_dims);
    if (whole && t->n_dims > GGUF_MAX_DIMS)
        return err(c->e, ERR_FORMAT, "tensor '%.*s': %u dimensions, at most %d are possible",
                   STR_ARG(t->name), t->n_dims, GGUF_MAX_DIMS);
    for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
        t->ne[d] = 1;
        if (whole && d < t->n_dims) whole = take_u64(c, &t->ne[d]);
    }
    if (!whole || !take_u32(c, &type) || !take_u64(c, offset))
        return err(
            c->e, ERR_FORMAT,
            "tensor '%.*s': its description runs past the end of the file (%zu bytes): truncated or damaged",
            STR_ARG(t->name), c->n);
    return read_shape(c, t, type);
}

static int by_data(const void *a, const void *b)
{
    const struct tensor *s = *(struct tensor *const *)a, *t = *(struct tensor *const *)b;
    return s->data < t->data ? -1 : s->data > t->data;
}

static int check_overlap(struct gguf *g, struct cursor *c, struct tensor *t, size_t n)
{
    struct tensor **order = ARENA_NEW(&g->arena, struct tensor *, n);
    if (!order) return err(c->e, ERR_MEMORY, "no memory to check %zu tensors", n);
    for (size_t i = 0; i < n; i++) order[i] = &t[i];
    qsort(order, n, sizeof *order, by_data);
    for (size_t i = 1; i < n; i++) {
        const struct tensor *s = order[i - 1], *u = order[i];
        if ((const uint8_t *)s->data + s->size_bytes > (const uint8_t *)u->data)
            return err(c->e, ERR_FORMAT, "tensor '%.*s' overlaps tensor '%.*s' in the file", STR_ARG(u->name),
                       STR_ARG(s->name));
    }
    return 0;
}

static int place_tensors(struct gguf *g, struct cursor *c, struct tensor *t, const uint64_t *offset, size_t n,
                         int part)
{
    struct gguf_part *f = &g->part[part];
    size_t pad = (size_t)(-(uint64_t)c->pos & (g->alignment - 1));
    f->data = f->size - c->pos < pad ? f->size : c->pos + pad;
    uint64_t room = f->size - f->data;
    for (size_t i = 0; i < n; i++) {
        if (offset[i] % g->alignment != 0)
            return err(c->e, ERR_FORMAT,
                       "tensor '%.*s': offset %" PRIu64 " is not a multiple of the alignment (%u)",
                       STR_ARG(t[i].name), offset[i], g->alignment);
        if (offset[i] > room || t[i].size_bytes > room - offset[i])
            return err(c->e, ERR_FORMAT,
                       "tensor '%.*s': %" PRIu64 " bytes at offset %" PRIu64
                       " run past the end of the data (%" PRIu64 " bytes): the file is truncated or damaged",
                       STR_ARG(t[i].name), t[i].size_bytes, offset[i], room);
        t[i].data = f->map + f->data + offset[i];
        t[i].file = part;
    }
    return check_overlap(g, c, t, n);
}

/* --- one part --- */

static int check_alignment(struct gguf *g, struct err *e)
{
    uint32_t a;
    int rc = gguf_opt_u32(g, "general.alignment", DEFAULT_ALIGN, &a, e);
    if (rc) return rc;
    if (a < MIN_ALIGN || a > GGUF_MAX_ALIGN || (a & (a - 1)))
        return err(e, ERR_FORMAT, "key 'general.alignment': %u is not a power of two from %d to %d", a,
                   MIN_ALIGN, GGUF_MAX_ALIGN);
    g->alignment = a;
    return 0;
}

static int check_own_types(const struct gguf *g, size_t n, struct err *e)
{
    uint32_t version;
    for (size_t i = 0; i < n; i++) {
        if (g->tensor[i].type != DTYPE_N4) continue;
        int rc = gguf_opt_u32(g, GGUF_KEY_N4, 0, &version, e);
        if (rc) return rc;
        if (version != GGUF_N4_VERSION)
            return err(e, ERR_UNSUPPORTED,
                       "tensor '%.*s' has type %d, which is N4 where key '" GGUF_KEY_N4
                       "' is %d; here it is %u (0: absent)",
                       STR_ARG(g->tensor[i].name), DTYPE_N4, GGUF_N4_VERSION, version);
        break;
    }
    return 0;
}

/* Reads part number `part`, whose map and size are set; leaves its keys and tensors in *g, replacing what was
 * there. */
static int read_part(struct gguf *g, int part, struct err *e)
{
    struct gguf_part *f = &g->part[part];
    struct cursor c = {.p = f->map, .n = f->size, .e = e};
    uint64_t n_tensors = 0, n_keys = 0;
    int rc;
    g->n_keys = g->n_tensors = 0;
    if ((rc = read_header(&c, &g->version, &n_tensors, &n_keys))) return rc;
    if ((rc = read_keys(g, &c, n_keys)) || (rc = check_alignment(g, e))) return rc;
    g->tensor = ARENA_NEW(&g->arena, struct tensor, (size_t)n_tensors);
    uint64_t *offset = ARENA_NEW(&g->arena, uint64_t, (size_t)n_tensors);
    if (!g->tensor || !offset) return err(e, ERR_MEMORY, "no memory for %" PRIu64 " tensors", n_tensors);
    for (uint64_t i = 0; i < n_tensors; i++)
        if ((rc = read_tensor(&c, &g->tensor[i], &offset[i], i))) return rc;
    if ((rc = check_own_types(g, (size_t)n_tensors, e))) return rc;
    if ((rc = place_tensors(g, &c, g->tensor, offset, (size_t)n_tensors, part))) return rc;
    g->n_tensors = (size_t)n_tensors;
    return 0;
}

static int index_tensors(struct gguf *g, struct err *e)
{
    if (!index_init(&g->tensor_index, &g->arena, g->n_tensors))
        return err(e, ERR_MEMORY, "no memory for tensor names");
    for (size_t i = 0; i < g->n_tensors; i++) {
        uint32_t *slot = index_slot(&g->tensor_index, g->tensor, sizeof *g->tensor, g->tensor[i].name);
        if (*slot)
            return err(e, ERR_FORMAT, "tensor '%.*s' stands twice in the file", STR_ARG(g->tensor[i].name));
        *slot = (uint32_t)i + 1;
    }
    return 0;
}

int gguf_index_all(struct gguf *g, struct err *e)
{
    if (!index_init(&g->key_index, &g->arena, g->n_keys)) return err(e, ERR_MEMORY, "no memory for key names");
    for (size_t i = 0; i < g->n_keys; i++) {
        uint32_t *slot = index_slot(&g->key_index, g->key, sizeof *g->key, g->key[i].name);
        if (*slot) return err(e, ERR_FORMAT, "key '%.*s' stands twice", STR_ARG(g->key[i].name));
        *slot = (uint32_t)i + 1;
    }
    return index_tensors(g, e);
}

/* --- split models --- */

/* What the keys of the part just read say about splitting; count = 1 if they say nothing. */
static int split_keys(const struct gguf *g, uint32_t *no, uint32_t *count, uint64_t *n_tensors, struct err *e)
{
    int rc;
    *n_tensors = g->n_tensors;
    if ((rc = gguf_opt_u32(g, "split.count", 1, count, e)) || (rc = gguf_opt_u32(g, "split.no", 0, no, e)))
        return rc;
    if (*count == 0) *count = 1;
    if (*count > GGUF_MAX_PARTS)
        return err(e, ERR_LIMIT, "key 'split.count': %u parts, at most %d are read", *count, GGUF_MAX_PARTS);
    if (*no >= *count)
        return err(e, ERR_FORMAT, "key 'split.no': part %u of %u (counted from 0)", *no, *count);
    if (*count > 1) return gguf_get_u64(g, "split.tensors.count", n_tensors, e);
    return 0;
}

/* Reads parts 1.. of a split model and joins their tensors behind those of part 0, which g holds. */
static int join_parts(struct gguf *g, uint64_t n_tensors, struct err *e)
{
    struct gguf first = *g;
    uint32_t count = (uint32_t)g->n_parts;
    struct tensor **part_tensor = ARENA_NEW(&g->arena, struct tensor *, count);
    size_t *part_n = ARENA_NEW(&g->arena, size_t, count);
    size_t total = g->n_tensors;
    if (!part_tensor || !part_n) return err(e, ERR_MEMORY, "no memory for %u parts", count);
    part_tensor[0] = g->tensor;
    part_n[0] = g->n_tensors;
    for (uint32_t i = 1; i < count; i++) {
        uint32_t no, n;
        uint64_t all;
        int rc = read_part(g, (int)i, e);
        if (!rc) rc = split_keys(g, &no, &n, &all, e);
        if (!rc && (no != i || n != count || all != n_tensors))
            rc = err(e, ERR_FORMAT,
                     "says it is part %u of %u of a model of %" PRIu64
                     " tensors; expected part %u of %u, %" PRIu64 " tensors",
                     no + 1, n, all, i + 1, count, n_tensors);
        if (rc) {
            err_prefix(e, "part %u of %u", i + 1, count);
            return rc;
        }
        part_tensor[i] = g->tensor;
        part_n[i] = g->n_tensors;
        total += g->n_tensors;
    }
    if (total != n_tensors)
        return err(e, ERR_FORMAT,
                   "key 'split.tensors.count': %" PRIu64 " tensors announced, %zu found in %u parts",
                   n_tensors, total, count);
    struct tensor *t = ARENA_NEW(&g->arena, struct tensor, total);
    if (!t) return err(e, ERR_MEMORY, "no memory for %zu tensors", total);
    for (size_t i = 0, at = 0; i < count; at += part_n[i++])
        if (part_n[i]) memcpy(t + at, part_tensor[i], part_n[i] * sizeof *t);
    g->version = first.version;
    g->alignment = first.alignment;
    g->key = first.key;
    g->n_keys = first.n_keys;
    g->key_index = first.key_index;
    g->tensor = t;
    g->n_tensors = total;
    return 0;
}

struct gguf *gguf_new(int n_parts)
{
    struct gguf *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    arena_init(&g->arena);
    g->part = ARENA_NEW(&g->arena, struct gguf_part, (size_t)n_parts);
    if (!g->part) {
        gguf_close(g);
        return NULL;
    }
    for (int i = 0; i < n_parts; i++) g->part[i].fd = -1;
    g->n_parts = n_parts;
    return g;
}

int gguf_read_first(struct gguf *g, uint32_t *no, uint32_t *count, struct err *e)
{
    int rc = read_part(g, 0, e);
    return rc ? rc : split_keys(g, no, count, &g->n_tensors_all, e);
}

int gguf_read_rest(struct gguf *g, struct err *e)
{
    int rc = g->n_parts > 1 ? join_parts(g, g->n_tensors_all, e) : 0;
    return rc ? rc : index_tensors(g, e);
}

int gguf_open_memory(struct gguf **out, const struct str *part, int n_parts, struct err *e)
{
    uint32_t no, count;
    *out = NULL;
    must(n_parts > 0 && n_parts <= GGUF_MAX_PARTS);
    struct gguf *g = gguf_new(n_parts);
    if (!g) return err(e, ERR_MEMORY, "out of memory");
    int rc = 0;
    for (int i = 0; i < n_parts; i++) {
        g->part[i].map = (const uint8_t *)part[i].p;
        g->part[i].size = part[i].n;
        if ((uintptr_t)part[i].p % MIN_ALIGN != 0)
            rc = err(e, ERR_USAGE, "GGUF bytes must be %d-byte aligned", MIN_ALIGN);
    }
    if (rc == 0) rc = gguf_read_first(g, &no, &count, e);
    if (rc == 0 && (no != 0 || count != (uint32_t)n_parts))
        rc = err(e, ERR_FORMAT, "part %u of %u of a split model: expected part 1 of %d", no + 1, count,
                 n_parts);
    if (rc == 0) rc = gguf_read_rest(g, e);
    if (rc)
        gguf_close(g);
    else
        *out = g;
    return rc;
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint32_t gguf_alignment(const struct gguf *g)
{
    return g->alignment;
}

int gguf_n_parts(const struct gguf *g)
{
    return g->n_parts;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    uint64_t n = 0;
    for (int i = 0; i < g->n_parts; i++) n += g->part[i].size;
    return n;
}

uint64_t gguf_tensor_bytes(const struct gguf *g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < g->n_tensors; i++) n += g->tensor[i].size_bytes;
    return n;
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const uint8_t *tensor_rows(const struct tensor *t, uint64_t row, uint64_t n, uint8_t *scratch)
{
    if (t->data) return (const uint8_t *)t->data + row * dtype_row_bytes(t->type, t->ne[0]);
    t->maker->rows(t->maker, t->maker_row + row, n, scratch);
    return scratch;
}

const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return i < g->n_tensors ? &g->tensor[i] : NULL;
}
