/* SPDX-License-Identifier: Apache-2.0 */
/* See stored.h. */
#include "folder/stored.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

enum { MX_BLOCK = 32, MX_CODE_BYTES = 16 };

/* --- finding ------------------------------------------------------------------------------------------------- */

static int by_name(const void *key, const void *t)
{
    const struct str a = *(const struct str *)key, b = ((const struct st_tensor *)t)->name;
    int d = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return d ? d : a.n < b.n ? -1 : a.n > b.n;
}

const struct st_tensor *folder_tensor(struct folder *f, const char *fmt, ...)
{
    char z[ST_NAME_MAX + 1];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(z, sizeof z, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof z) return NULL;
    const struct str name = {z, (size_t)n};
    const struct st_tensor *t = f->n ? bsearch(&name, f->t, f->n, sizeof *f->t, by_name) : NULL;
    if (t) f->used[t - f->t] = true;
    return t;
}

int stored_float_type(enum st_type t)
{
    return t == ST_F32 ? DTYPE_F32 : t == ST_F16 ? DTYPE_F16 : t == ST_BF16 ? DTYPE_BF16 : -1;
}

static int wrong_shape(const struct st_tensor *t, const char *expected, struct err *e)
{
    return err(e, ERR_FORMAT, "tensor '%.*s': expected %s, got %d dimensions of %s", STR_ARG(t->name), expected, t->n_dims, st_type_name(t->type));
}

/* Copies of one matrix, each `bytes` further on. */
static int make_list(struct folder *f, const struct stored *first, uint64_t count, uint64_t code_bytes, uint64_t scale_bytes, struct stored **list, struct err *e)
{
    if (count < 1 || count > FOLDER_EXPERTS_MAX) return err(e, ERR_LIMIT, "a stack of %" PRIu64 " matrices: 1 to %d are read", count, FOLDER_EXPERTS_MAX);
    struct stored *s = gguf_make_alloc(f->g, (size_t)count * sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++) {
        s[i] = *first;
        s[i].codes += i * code_bytes;
        if (s[i].scales) s[i].scales += i * scale_bytes;
    }
    *list = s;
    return 0;
}

static bool shape_is_sane(const struct st_tensor *t)
{
    for (int i = 0; i < t->n_dims; i++)
        if (t->dim[i] == 0) return false;
    return true;
}

static int find_plain(struct folder *f, const struct st_tensor *t, bool turned, struct stored **list, uint64_t *count, struct err *e)
{
    int type = stored_float_type(t->type);
    if (type < 0 || t->n_dims < 2 || t->n_dims > 3 || !shape_is_sane(t)) return wrong_shape(t, "a matrix or a stack of matrices of F32, F16 or BF16", e);
    const uint64_t *d = t->dim + t->n_dims - 2, element = st_type_bytes(t->type);
    struct stored s = {.kind = turned ? STORED_TURNED : STORED_PLAIN, .type = (enum dtype)type, .n = d[turned], .k = d[!turned], .file = t->file, .codes = t->data,
                       .stride = d[1] * element};
    *count = t->n_dims == 3 ? t->dim[0] : 1;
    return make_list(f, &s, *count, d[0] * d[1] * element, 0, list, e);
}

/* [experts][n][k / 32][16] codes, [experts][n][k / 32] scales */
static int find_mxfp4(struct folder *f, const struct st_tensor *t, const struct st_tensor *scales, struct stored **list, uint64_t *count, struct err *e)
{
    if (t->type != ST_U8 || t->n_dims != 4 || t->dim[3] != MX_CODE_BYTES || !shape_is_sane(t)) return wrong_shape(t, "U8 blocks [experts][rows][columns / 32][16]", e);
    if (scales->type != ST_U8 || scales->n_dims != 3 || memcmp(scales->dim, t->dim, 3 * sizeof *t->dim) != 0)
        return wrong_shape(scales, "U8 scales [experts][rows][columns / 32], as many as there are blocks", e);
    uint64_t blocks = t->dim[1] * t->dim[2];
    struct stored s = {.kind = STORED_MXFP4, .type = DTYPE_MXFP4, .n = t->dim[1], .k = t->dim[2] * MX_BLOCK, .file = t->file, .codes = t->data, .scales = scales->data};
    *count = t->dim[0];
    return make_list(f, &s, *count, blocks * MX_CODE_BYTES, blocks, list, e);
}

int stored_find(struct folder *f, const char *base, struct stored **list, uint64_t *count, struct err *e)
{
    const struct st_tensor *t, *u;
    *list = NULL;
    *count = 0;
    if ((t = folder_tensor(f, "%s.weight", base))) return find_plain(f, t, false, list, count, e);
    if ((t = folder_tensor(f, "%s_blocks", base)) && (u = folder_tensor(f, "%s_scales", base))) return find_mxfp4(f, t, u, list, count, e);
    if ((t = folder_tensor(f, "%s", base))) return find_plain(f, t, true, list, count, e); /* experts of gpt-oss in BF16 */
    return 0;
}

/* --- rows ---------------------------------------------------------------------------------------------------- */

static void row_turned(const struct stored *s, uint64_t row, uint8_t *out)
{
    size_t element = (size_t)dtype_row_bytes(s->type, 1);
    const uint8_t *from = s->codes + row * element;
    for (uint64_t i = 0; i < s->k; i++) memcpy(out + i * element, from + i * s->stride, element);
}

/* Here codes 2i and 2i + 1 share a byte, in GGUF's block codes i and i + 16 do, behind the scale. */
static void row_mxfp4(const struct stored *s, uint64_t row, uint8_t *out)
{
    uint64_t blocks = s->k / MX_BLOCK;
    const uint8_t *codes = s->codes + row * blocks * MX_CODE_BYTES, *scales = s->scales + row * blocks;
    for (uint64_t b = 0; b < blocks; b++, codes += MX_CODE_BYTES) {
        *out++ = scales[b];
        for (int i = 0; i < MX_CODE_BYTES; i++) {
            int lo = codes[i / 2] >> 4 * (i % 2) & 15, hi = codes[8 + i / 2] >> 4 * (i % 2) & 15;
            *out++ = (uint8_t)(lo | hi << 4);
        }
    }
}

void stored_row(const struct stored *s, uint64_t row, uint8_t *out)
{
    size_t bytes = (size_t)dtype_row_bytes(s->type, s->k);
    switch (s->kind) {
    case STORED_PLAIN: memcpy(out, s->codes + row * bytes, bytes); return;
    case STORED_TURNED: row_turned(s, row, out); return;
    case STORED_MXFP4: row_mxfp4(s, row, out); return;
    }
}
