/* SPDX-License-Identifier: Apache-2.0 */
/* See stored.h. */
#include "folder/stored.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include "kern/num.h"

enum { MX_BLOCK = 32, MX_CODE_BYTES = 16, NV_BLOCK = 16, PACK = 8, Q_BLOCK = 32, Q4_MIDDLE = 8, Q5_MIDDLE = 16 };

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
    while (t && t > f->t && str_eq(t[-1].name, t->name)) t--;
    if (t) f->used[t - f->t] = true;
    return t;
}

int stored_float_type(enum st_type t)
{
    return t == ST_F32 ? DTYPE_F32 : t == ST_F16 ? DTYPE_F16 : t == ST_BF16 ? DTYPE_BF16 : -1;
}

static int wrong_shape(const struct st_tensor *t, const char *expected, struct err *e)
{
    return err(e, ERR_FORMAT, "tensor '%.*s': expected %s, got %d dimensions of %s", STR_ARG(t->name),
               expected, t->n_dims, st_type_name(t->type));
}

/* Copies of one matrix, each `bytes` further on. */
static int make_list(struct folder *f, const struct stored *first, uint64_t count, uint64_t code_bytes,
                     uint64_t scale_bytes, struct stored **list, struct err *e)
{
    if (count < 1 || count > FOLDER_EXPERTS_MAX)
        return err(e, ERR_LIMIT, "a stack of %" PRIu64 " matrices: 1 to %d are read", count,
                   FOLDER_EXPERTS_MAX);
    struct stored *s = gguf_make_alloc(f->g, (size_t)count * sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++) {
        s[i] = *first;
        if (s[i].codes) s[i].codes += i * code_bytes;
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

static int find_plain(struct folder *f, const struct st_tensor *t, bool turned, struct stored **list,
                      uint64_t *count, struct err *e)
{
    int type = stored_float_type(t->type);
    if (type < 0 || t->n_dims < 2 || t->n_dims > 3 || !shape_is_sane(t))
        return wrong_shape(t, "a matrix or a stack of matrices of F32, F16 or BF16", e);
    const uint64_t *d = t->dim + t->n_dims - 2, element = st_type_bytes(t->type);
    struct stored s = {.kind = turned ? STORED_TURNED : STORED_PLAIN,
                       .type = (enum dtype)type,
                       .n = d[turned],
                       .k = d[!turned],
                       .file = t->file,
                       .codes = t->data,
                       .stride = d[1] * element};
    *count = t->n_dims == 3 ? t->dim[0] : 1;
    return make_list(f, &s, *count, d[0] * d[1] * element, 0, list, e);
}

/* The pieces of a matrix that lies in several shards: t and those behind it. */
static int find_pieces(struct folder *f, const char *base, const struct st_tensor *t, uint64_t n,
                       struct stored **list, uint64_t *count, struct err *e)
{
    const char *end = f->arch->split_columns;
    size_t length = strlen(base), tail = strlen(end);
    bool columns = length >= tail && strcmp(base + length - tail, end) == 0;
    struct stored *pieces = gguf_make_alloc(f->g, (size_t)n * sizeof *pieces), *one;
    if (!pieces) return err(e, ERR_MEMORY, "out of memory");
    for (uint64_t i = 0; i < n; i++) {
        int rc = find_plain(f, &t[i], false, &one, count, e);
        if (rc) return rc;
        if (t[i].n_dims != 2) return wrong_shape(&t[i], "a matrix", e);
        pieces[i] = *one;
        if (pieces[i].type != pieces[0].type || pieces[i].n != pieces[0].n || pieces[i].k != pieces[0].k)
            return err(e, ERR_FORMAT, "tensor '%.*s': its pieces in several shards differ in type or shape",
                       STR_ARG(t->name));
        f->used[&t[i] - f->t] = true;
    }
    struct stored s = {.kind = columns ? STORED_COLUMNS : STORED_ROWS,
                       .type = pieces[0].type,
                       .n = pieces[0].n * (columns ? 1 : n),
                       .k = pieces[0].k * (columns ? n : 1),
                       .file = t->file,
                       .pieces = pieces,
                       .n_pieces = n};
    *count = 1;
    return make_list(f, &s, 1, 0, 0, list, e);
}

/* [experts][n][k / 32][16] codes, [experts][n][k / 32] scales */
static int find_mxfp4(struct folder *f, const struct st_tensor *t, const struct st_tensor *scales,
                      struct stored **list, uint64_t *count, struct err *e)
{
    if (t->type != ST_U8 || t->n_dims != 4 || t->dim[3] != MX_CODE_BYTES || !shape_is_sane(t))
        return wrong_shape(t, "U8 blocks [experts][rows][columns / 32][16]", e);
    if (scales->type != ST_U8 || scales->n_dims != 3 || memcmp(scales->dim, t->dim, 3 * sizeof *t->dim) != 0)
        return wrong_shape(scales, "U8 scales [experts][rows][columns / 32], as many as there are blocks", e);
    uint64_t blocks = t->dim[1] * t->dim[2];
    struct stored s = {.kind = STORED_MXFP4,
                       .type = DTYPE_MXFP4,
                       .n = t->dim[1],
                       .k = t->dim[2] * MX_BLOCK,
                       .file = t->file,
                       .codes = t->data,
                       .scales = scales->data};
    *count = t->dim[0];
    return make_list(f, &s, *count, blocks * MX_CODE_BYTES, blocks, list, e);
}

static bool is_fp8(enum st_type t)
{
    return t == ST_F8_E4M3 || t == ST_F8_E5M2;
}

static float load_float(enum st_type type, const uint8_t *p)
{
    float x;
    uint16_t h;
    switch (type) {
    case ST_F32: memcpy(&x, p, sizeof x); return x;
    case ST_F16: memcpy(&h, p, sizeof h); return f32_from_f16(h);
    case ST_BF16: memcpy(&h, p, sizeof h); return f32_from_bf16(h);
    case ST_F8_E4M3: return f32_from_e4m3(*p);
    default: return 0;
    }
}

static uint64_t elements(const struct st_tensor *t)
{
    return t->bytes / st_type_bytes(t->type);
}

/* Scales of an FP8 matrix: one, one per row, or one per tile of 128 x 128. */
static int find_fp8(struct folder *f, const char *base, const struct st_tensor *t, struct stored **list,
                    uint64_t *count, struct err *e)
{
    const struct st_tensor *u = folder_tensor(f, "%s.weight_scale_inv", base);
    if (!u) u = folder_tensor(f, "%s.weight_scale", base);
    if (t->n_dims != 2 || !shape_is_sane(t)) return wrong_shape(t, "a matrix", e);
    if (!u)
        return err(e, ERR_FORMAT,
                   "tensor '%.*s': 8-bit floats without '%s.weight_scale' or '.weight_scale_inv'",
                   STR_ARG(t->name), base);
    struct stored s = {.kind = t->type == ST_F8_E4M3 ? STORED_E4M3 : STORED_E5M2,
                       .type = DTYPE_F32,
                       .n = t->dim[0],
                       .k = t->dim[1],
                       .file = t->file,
                       .codes = t->data,
                       .scales = u->data,
                       .scale_type = u->type,
                       .tile_n = t->dim[0],
                       .tile_k = t->dim[1],
                       .factor = 1};
    uint64_t n = elements(u);
    bool rows = u->n_dims && u->dim[0] == s.n, tiles = u->n_dims == 2 &&
                                                       u->dim[0] == (s.n + f->tile_n - 1) / f->tile_n &&
                                                       u->dim[1] == (s.k + f->tile_k - 1) / f->tile_k;
    if (stored_float_type(u->type) < 0) return wrong_shape(u, "scales of F32, F16 or BF16", e);
    if (tiles)
        s.tile_n = f->tile_n, s.tile_k = f->tile_k, s.scale_stride = u->dim[1];
    else if (rows && n == s.n)
        s.tile_n = 1, s.scale_stride = 1;
    else if (n != 1)
        return err(e, ERR_FORMAT,
                   "tensor '%.*s': %" PRIu64 " scales; expected one, %" PRIu64 " (rows), or tiles of %" PRIu64
                   " x %" PRIu64,
                   STR_ARG(u->name), n, s.n, f->tile_n, f->tile_k);
    *count = 1;
    return make_list(f, &s, 1, 0, 0, list, e);
}

/* [n][k / 2] codes, [n][k / 16] scales, a scale of the matrix that multiplies (weight_scale_2) or divides
 * (weight_global_scale). */
static int find_nvfp4(struct folder *f, const char *base, const struct st_tensor *t, struct stored **list,
                      uint64_t *count, struct err *e)
{
    const struct st_tensor *u = folder_tensor(f, "%s.weight_scale", base),
                           *times = folder_tensor(f, "%s.weight_scale_2", base);
    const struct st_tensor *by = times ? NULL : folder_tensor(f, "%s.weight_global_scale", base),
                           *all = times ? times : by;
    if (t->type != ST_U8 || t->n_dims != 2 || !shape_is_sane(t) || t->dim[1] % (NV_BLOCK / 2))
        return wrong_shape(t, "U8 codes [rows][columns / 2]", e);
    if (!u || u->type != ST_F8_E4M3 || u->n_dims != 2 || u->dim[0] != t->dim[0] ||
        u->dim[1] != t->dim[1] / (NV_BLOCK / 2))
        return err(e, ERR_FORMAT, "tensor '%.*s': expected '%s.weight_scale', F8_E4M3 [rows][columns / 16]",
                   STR_ARG(t->name), base);
    if (!all || elements(all) != 1 || stored_float_type(all->type) < 0)
        return err(e, ERR_FORMAT,
                   "tensor '%.*s': expected one number '%s.weight_scale_2' or '.weight_global_scale'",
                   STR_ARG(t->name), base);
    struct stored s = {.kind = STORED_NVFP4,
                       .type = DTYPE_F32,
                       .n = t->dim[0],
                       .k = 2 * t->dim[1],
                       .file = t->file,
                       .codes = t->data,
                       .scales = u->data,
                       .scale_type = u->type,
                       .scale_stride = u->dim[1],
                       .tile_n = 1,
                       .tile_k = NV_BLOCK,
                       .factor = load_float(all->type, all->data),
                       .divide = by != NULL};
    *count = 1;
    return make_list(f, &s, 1, 0, 0, list, e);
}

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Where column c of 8 lies in a word: AWQ packs 0 2 4 6 1 3 5 7. */
static int awq_place(uint64_t c)
{
    return (int)(c % 8 / 2 + c % 2 * 4);
}

static int zero_of(const struct stored *s, uint64_t group, uint64_t row)
{
    int place = s->kind == STORED_AWQ ? awq_place(row) : (int)(row % PACK);
    return (int)(load_u32(s->zeros + (group * (s->n / PACK) + row / PACK) * 4) >> 4 * place & 15) + s->zero_add;
}

/* All zero points 8: Q4_0. A stored 15 of GPTQ's first format is 0 to some programs and 16 to others. */
static int look_at_zeros(struct stored *s, uint64_t groups, const struct st_tensor *zeros, struct err *e)
{
    s->type = DTYPE_Q4_0;
    for (uint64_t g = 0; g < groups; g++)
        for (uint64_t i = 0; i < s->n; i++) {
            int z = zero_of(s, g, i);
            if (z != Q4_MIDDLE) s->type = DTYPE_Q5_0;
            if (z > 15)
                return err(
                    e, ERR_UNSUPPORTED,
                    "tensor '%.*s': a stored zero point of 15, which is 0 to some programs and 16 to others",
                    STR_ARG(zeros->name));
        }
    return 0;
}

/* Whether columns are in the order of their groups; the groups must exist. */
static int look_at_order(struct stored *s, uint64_t groups, const struct st_tensor *order, struct err *e)
{
    for (uint64_t k = 0; k < s->k; k++) {
        uint32_t g = load_u32(order->data + 4 * k);
        if (g >= groups)
            return err(e, ERR_FORMAT, "tensor '%.*s': column %" PRIu64 " is of group %u of %" PRIu64,
                       STR_ARG(order->name), k, g, groups);
        if (g != k / s->tile_k) s->group = order->data;
    }
    return 0;
}

static int find_packed(struct folder *f, const char *base, const struct st_tensor *t, struct stored **list,
                       uint64_t *count, struct err *e)
{
    const struct st_tensor *scales = folder_tensor(f, "%s.scales", base),
                           *zeros = folder_tensor(f, "%s.qzeros", base),
                           *order = folder_tensor(f, "%s.g_idx", base);
    bool awq = f->quant == QUANT_AWQ;
    int rc = 0;
    if (f->quant != QUANT_GPTQ && !awq)
        return err(e, ERR_UNSUPPORTED,
                   "tensor '%.*s': packed weights, but config.json has no quantization_config of gptq or awq",
                   STR_ARG(t->name));
    if (t->type != ST_I32 || t->n_dims != 2 || !shape_is_sane(t) || t->dim[0] > UINT32_MAX ||
        t->dim[1] > UINT32_MAX)
        return wrong_shape(t, "I32 words of 8 codes", e);
    struct stored s = {.kind = awq ? STORED_AWQ : STORED_GPTQ,
                       .n = t->dim[1] * (awq ? PACK : 1),
                       .k = t->dim[0] * (awq ? 1 : PACK),
                       .file = t->file,
                       .codes = t->data,
                       .zero_add = !awq && !f->gptq_v2};
    uint64_t groups = scales && scales->n_dims == 2 ? scales->dim[0] : 0;
    if (!groups || scales->dim[1] != s.n || stored_float_type(scales->type) < 0 || s.k % groups)
        return err(e, ERR_FORMAT, "tensor '%.*s': expected '%s.scales', floats [groups][%" PRIu64 "]",
                   STR_ARG(t->name), base, s.n);
    if (!zeros || zeros->type != ST_I32 || zeros->n_dims != 2 || zeros->dim[0] != groups || s.n % PACK ||
        zeros->dim[1] != s.n / PACK)
        return err(e, ERR_FORMAT, "tensor '%.*s': expected '%s.qzeros', I32 [%" PRIu64 "][%" PRIu64 "]",
                   STR_ARG(t->name), base, groups, s.n / PACK);
    if (order && (order->type != ST_I32 || order->n_dims != 1 || order->dim[0] != s.k))
        return wrong_shape(order, "I32, one group per column", e);
    s.scales = scales->data, s.scale_type = scales->type, s.zeros = zeros->data, s.tile_k = s.k / groups;
    if ((rc = look_at_zeros(&s, groups, zeros, e)) || (order && (rc = look_at_order(&s, groups, order, e)))) return rc;
    if (s.scale_type != ST_F16 || s.group || s.tile_k % Q_BLOCK) s.type = DTYPE_F32;
    *count = 1;
    return make_list(f, &s, 1, 0, 0, list, e);
}

bool stored_widen(struct stored *s)
{
    if (s->type != DTYPE_Q4_0 || (s->kind != STORED_GPTQ && s->kind != STORED_AWQ)) return false;
    s->type = DTYPE_Q5_0;
    return true;
}

int stored_find(struct folder *f, const char *base, struct stored **list, uint64_t *count, struct err *e)
{
    const struct st_tensor *t, *u;
    *list = NULL;
    *count = 0;
    if ((t = folder_tensor(f, "%s.weight", base))) {
        if (is_fp8(t->type)) return find_fp8(f, base, t, list, count, e);
        if (t->type == ST_U8) return find_nvfp4(f, base, t, list, count, e);
        uint64_t pieces = 1;
        while (t + pieces < f->t + f->n && str_eq(t[pieces].name, t->name)) pieces++;
        return pieces > 1 ? find_pieces(f, base, t, pieces, list, count, e) : find_plain(f, t, false, list, count, e);
    }
    if ((t = folder_tensor(f, "%s.weight_packed", base))) return find_nvfp4(f, base, t, list, count, e);
    if ((t = folder_tensor(f, "%s.qweight", base))) return find_packed(f, base, t, list, count, e);
    if ((t = folder_tensor(f, "%s_blocks", base)) && (u = folder_tensor(f, "%s_scales", base)))
        return find_mxfp4(f, t, u, list, count, e);
    /* experts of gpt-oss in BF16 */
    if ((t = folder_tensor(f, "%s", base))) return find_plain(f, t, true, list, count, e);
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

static void put_f32(uint8_t *out, float x)
{
    memcpy(out, &x, sizeof x);
}

static void row_fp8(const struct stored *s, uint64_t row, uint8_t *out)
{
    const uint8_t *codes = s->codes + row * s->k,
                  *scales = s->scales + row / s->tile_n * s->scale_stride * st_type_bytes(s->scale_type);
    for (uint64_t k = 0; k < s->k; k += s->tile_k, scales += st_type_bytes(s->scale_type)) {
        float scale = load_float(s->scale_type, scales);
        for (uint64_t i = k; i < s->k && i < k + s->tile_k; i++)
            put_f32(out + 4 * i, (s->kind == STORED_E4M3 ? f32_from_e4m3(codes[i]) : f32_from_e5m2(codes[i])) * scale);
    }
}

static void row_nvfp4(const struct stored *s, uint64_t row, uint8_t *out)
{
    static const float value[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6};
    const uint8_t *codes = s->codes + row * (s->k / 2), *scales = s->scales + row * s->scale_stride;
    for (uint64_t i = 0; i < s->k; i++) {
        float x = value[codes[i / 2] >> 4 * (i % 2) & 15] * f32_from_e4m3(scales[i / NV_BLOCK]); /* exact */
        put_f32(out + 4 * i, s->divide ? x / s->factor : x * s->factor);
    }
}

/* The code of a packed matrix less its zero point: -15 .. 15. */
static int packed_code(const struct stored *s, uint64_t row, uint64_t k, uint64_t group)
{
    uint32_t word = s->kind == STORED_AWQ ? load_u32(s->codes + (k * (s->n / PACK) + row / PACK) * 4)
                                          : load_u32(s->codes + (k / PACK * s->n + row) * 4);
    int place = s->kind == STORED_AWQ ? awq_place(row) : (int)(k % PACK);
    return (int)(word >> 4 * place & 15) - zero_of(s, group, row);
}

/* Q4_0: fp16 scale, 16 bytes of code + 8. Q5_0: the scale, 32 fifth bits, 16 bytes of the rest of code + 16. */
static void row_packed(const struct stored *s, uint64_t row, uint8_t *out)
{
    uint64_t scale_bytes = st_type_bytes(s->scale_type);
    if (s->type == DTYPE_F32) {
        for (uint64_t k = 0; k < s->k; k++) {
            uint64_t g = s->group ? load_u32(s->group + 4 * k) : k / s->tile_k;
            put_f32(out + 4 * k, (float)packed_code(s, row, k, g) *
                                     load_float(s->scale_type, s->scales + (g * s->n + row) * scale_bytes));
        }
        return;
    }
    for (uint64_t k = 0; k < s->k; k += Q_BLOCK) {
        uint64_t g = k / s->tile_k;
        uint32_t high = 0;
        int middle = s->type == DTYPE_Q4_0 ? Q4_MIDDLE : Q5_MIDDLE;
        memcpy(out, s->scales + (g * s->n + row) * scale_bytes, 2);
        uint8_t *low = out + (s->type == DTYPE_Q4_0 ? 2 : 6);
        for (uint64_t i = 0; i < Q_BLOCK / 2; i++) {
            int a = packed_code(s, row, k + i, g) + middle, b = packed_code(s, row, k + i + Q_BLOCK / 2, g) + middle;
            low[i] = (uint8_t)((a & 15) | (b & 15) << 4);
            high |= (uint32_t)(a >> 4 & 1) << i | (uint32_t)(b >> 4 & 1) << (i + Q_BLOCK / 2);
        }
        if (s->type == DTYPE_Q5_0) memcpy(out + 2, &high, 4);
        out = low + Q_BLOCK / 2;
    }
}

static void row_of_pieces(const struct stored *s, uint64_t row, uint8_t *out)
{
    if (s->kind == STORED_ROWS) {
        stored_row(&s->pieces[row / s->pieces[0].n], row % s->pieces[0].n, out);
        return;
    }
    size_t bytes = (size_t)dtype_row_bytes(s->type, s->pieces[0].k);
    for (uint64_t i = 0; i < s->n_pieces; i++) stored_row(&s->pieces[i], row, out + i * bytes);
}

void stored_row(const struct stored *s, uint64_t row, uint8_t *out)
{
    size_t bytes = (size_t)dtype_row_bytes(s->type, s->k);
    switch (s->kind) {
    case STORED_PLAIN: memcpy(out, s->codes + row * bytes, bytes); return;
    case STORED_TURNED: row_turned(s, row, out); return;
    case STORED_MXFP4: row_mxfp4(s, row, out); return;
    case STORED_E4M3:
    case STORED_E5M2: row_fp8(s, row, out); return;
    case STORED_NVFP4: row_nvfp4(s, row, out); return;
    case STORED_GPTQ:
    case STORED_AWQ: row_packed(s, row, out); return;
    case STORED_ROWS:
    case STORED_COLUMNS: row_of_pieces(s, row, out); return;
    }
}
