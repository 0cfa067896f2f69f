/* SPDX-License-Identifier: Apache-2.0 */
/* Packed weight matrices: see mat.h. Block formats: the GGML block structures, as GGUF files hold them. */
#include "kern/mat.h"

#include <inttypes.h>
#include <string.h>
#include "kern/arith.h"
#include "kern/iq.h"

const int8_t mat_iq4_book[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t mat_mxfp4_book[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

const int8_t mat_iq1_book[16] = {-7, 1, 9, 0, -9, -1, 7, 0};
const int8_t mat_iq2_book[16] = {8, 25, 43, 0, -8, -25, -43, 0};
const int8_t mat_iq3_xxs_book[16] = {4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62};
const int8_t mat_iq3_s_book[16] = {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15};

static const struct mat_layout *layout_of(enum dtype type)
{
#define L(t, lo_, hi_, sub_, min_, d_, m_, span_)                                     \
    case DTYPE_##t: {                                                                 \
        static const struct mat_layout l = {lo_, hi_, sub_, min_, d_, m_, span_};     \
        return &l;                                                                    \
    }
    switch (mat_form(type)) {
        MAT_FORMS(L)
    default: return NULL;
    }
#undef L
}

static bool is_w16(enum dtype type)
{
    return type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16;
}

const struct mat_layout *mat_layout(enum dtype type)
{
    return layout_of(type);
}

enum act_tier mat_tier(enum dtype type, enum mat_role role)
{
#define ARITH_TIER(t, r, a)                                                                                  \
    if (type == DTYPE_##t && role == MAT_##r) return ACT_##a;
#include "kern/arith.def"
    must(role == MAT_HEAD);
    return mat_tier(type, MAT_BODY);
}

int mat_init(struct mat *m, enum dtype type, int64_t n, int64_t k, struct err *e)
{
    const struct mat_layout *l = layout_of(type);
    const struct dtype_info *info = dtype_info(type);
    if (!l)
        return err(e, ERR_UNSUPPORTED,
                   "weight type %s is not supported; take the model in Q4_K_M, IQ4_XS or Q8_0",
                   dtype_name(type));
    if (n < 1 || k < 1 || n > MAT_DIM_MAX || k > MAT_DIM_MAX)
        return err(e, ERR_LIMIT, "matrix of %" PRId64 " x %" PRId64 ": each side must be 1..%d", n, k, MAT_DIM_MAX);
    int64_t step = info->block > 32 ? info->block : 32;
    if (k % step)
        return err(e, ERR_UNSUPPORTED, "%s matrix with rows of %" PRId64 ": the length must be a multiple of %" PRId64,
                   info->name, k, step);
    *m = (struct mat){.lay = l,
                      .type = mat_form(type),
                      .from = type,
                      .n = (int)n,
                      .k = (int)k,
                      .n_panels = (int)((n + PANEL - 1) / PANEL)};
    uint64_t blocks = (uint64_t)k / 32, groups = (blocks + 7) / 8,
             spans = l->span == 256 ? groups : (uint64_t)k / l->span;
    uint64_t bytes = blocks * (l->lo + l->hi) + groups * (l->sub + l->min) + spans * (l->d + l->m);
    if (bytes > INT32_MAX) return err(e, ERR_LIMIT, "a panel of %" PRIu64 " bytes is too large", bytes);
    m->panel_bytes = (bytes + 63) & ~(uint64_t)63;
    return 0;
}

size_t mat_bytes(const struct mat *m)
{
    return (size_t)m->n_panels * m->panel_bytes;
}

/* --- writing lines ----------------------------------------------------------------------------------- */

/* nibble plane of a 32-block: q16[i] = code(i) | code(i + 16) << 4 */
static void put_nibbles(uint8_t *lo, int row, const uint8_t q16[16])
{
    for (int j = 0; j < 4; j++) memcpy(lo + 64 * j + 4 * row, q16 + 4 * j, 4);
}

static void put_bytes(uint8_t *lo, int row, const uint8_t q[32])
{
    for (int j = 0; j < 8; j++) memcpy(lo + 64 * j + 4 * row, q + 4 * j, 4);
}

/* one-bit plane: bit i of qh belongs to code i */
static void put_bits(uint8_t *hi, int row, uint32_t qh)
{
    uint8_t b[4] = {0};
    for (int i = 0; i < 32; i++) b[i & 3] |= (uint8_t)((qh >> i & 1) << (i >> 2));
    memcpy(hi + 4 * row, b, 4);
}

/* two-bit plane: q[i] in 0..3 */
static void put_pairs(uint8_t *p, int row, const uint8_t q[32])
{
    for (int t = 0; t < 2; t++) {
        const uint8_t *s = q + 16 * t;
        for (int b = 0; b < 4; b++)
            p[64 * t + 4 * row + b] =
                (uint8_t)(s[b] | s[4 + b] << 2 | s[8 + b] << 4 | s[12 + b] << 6);
    }
}

static uint16_t get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

static void put16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, 2);
}

static int check_f16(uint16_t h, int row, int span, struct err *e)
{
    if ((h & 0x7c00) == 0x7c00)
        return err(e, ERR_FORMAT, "row %d, block %d: the scale is NaN or infinite", row, span);
    return 0;
}

/* The 6-bit scales and mins of Q4_K and Q5_K: 12 bytes -> 8 scales, 8 mins. */
static void unpack_k4(const uint8_t s[12], uint8_t sub[8], uint8_t min[8])
{
    for (int j = 0; j < 4; j++) {
        sub[j] = s[j] & 63;
        min[j] = s[j + 4] & 63;
        sub[j + 4] = (uint8_t)((s[j + 8] & 15) | s[j] >> 6 << 4);
        min[j + 4] = (uint8_t)(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
    }
}

struct place { /* where the parts of one 32-block or 256-group of one row go */
    uint8_t *lo, *hi, *sub, *min, *d, *m;
    int row, span; /* span: for messages */
    struct err *e;
};

static int pack_block32(enum dtype type, const struct place *o, const uint8_t *b)
{
    int row = o->row, rc;
    if (type == DTYPE_MXFP4) {
        if (b[0] == 255 || (int)b[0] - 128 > 40)
            return err(o->e, ERR_FORMAT, "row %d, block %d: MXFP4 scale %d is outside the supported range",
                       row, o->span, b[0]);
        if ((int)b[0] - 128 < ARITH_MXFP4_MIN) { /* too small for the contract: a zero block */
            static const uint8_t zero[16];
            o->d[row] = 128;
            put_nibbles(o->lo, row, zero);
            return 0;
        }
        o->d[row] = b[0];
        put_nibbles(o->lo, row, b + 1);
        return 0;
    }
    if ((rc = check_f16(get16(b), row, o->span, o->e))) return rc;
    put16(o->d + 2 * row, get16(b));
    b += 2;
    if (type == DTYPE_Q4_1 || type == DTYPE_Q5_1) {
        if ((rc = check_f16(get16(b), row, o->span, o->e))) return rc;
        put16(o->m + 2 * row, get16(b));
        b += 2;
    }
    if (type == DTYPE_Q5_0 || type == DTYPE_Q5_1) {
        uint32_t qh;
        memcpy(&qh, b, 4);
        put_bits(o->hi, row, qh);
        b += 4;
    }
    if (type == DTYPE_Q8_0) {
        uint8_t q[32];
        for (int i = 0; i < 32; i++) q[i] = b[i] ^ 0x80; /* stored as code + 128, what unsigned x signed units want */
        put_bytes(o->lo, row, q);
    } else {
        put_nibbles(o->lo, row, b);
    }
    return 0;
}

/* A 256-group as 256 codes (low and high part) in element order, then lines. */
static int pack_group256(enum dtype type, const struct place *o, const uint8_t *b)
{
    uint8_t lo[256], hi[256] = {0};
    uint16_t d = 0, dmin = 0;
    int row = o->row, rc, lo_bits = 4, hi_bits = 0;
    switch (type) {
    case DTYPE_Q2_K: /* scales[16], qs[64], d, dmin */
        for (int j = 0; j < 16; j++) o->sub[16 * j + row] = b[j];
        for (int i = 0; i < 256; i++) lo[i] = b[16 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3;
        d = get16(b + 80), dmin = get16(b + 82), lo_bits = 2;
        break;
    case DTYPE_Q3_K: { /* hmask[32], qs[64], scales[12], d */
        const uint8_t *s = b + 96;
        for (int j = 0; j < 16; j++) {
            int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4, high = s[8 + j % 4] >> (2 * (j / 4)) & 3;
            o->sub[16 * j + row] = (uint8_t)((low | high << 4) - 32);
        }
        for (int i = 0; i < 256; i++) {
            lo[i] = b[32 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3;
            hi[i] = b[i % 32] >> (i / 32) & 1;
        }
        d = get16(b + 108), lo_bits = 2, hi_bits = 1;
        break;
    }
    case DTYPE_Q4_K:   /* d, dmin, scales[12], qs[128] */
    case DTYPE_Q5_K: { /* d, dmin, scales[12], qh[32], qs[128] */
        uint8_t sub[8], min[8];
        d = get16(b), dmin = get16(b + 2);
        unpack_k4(b + 4, sub, min);
        for (int j = 0; j < 8; j++) o->sub[16 * j + row] = sub[j], o->min[16 * j + row] = min[j];
        const uint8_t *qh = b + 16, *qs = type == DTYPE_Q5_K ? b + 48 : b + 16;
        for (int i = 0; i < 256; i++) {
            lo[i] = qs[32 * (i / 64) + i % 32] >> (i / 32 % 2 * 4) & 15;
            if (type == DTYPE_Q5_K) hi[i] = qh[i % 32] >> (i / 32) & 1;
        }
        hi_bits = type == DTYPE_Q5_K;
        break;
    }
    case DTYPE_Q6_K: /* ql[128], qh[64], scales[16], d */
        for (int i = 0; i < 256; i++) {
            int h = i / 128, r = i % 128, l = r % 32;
            lo[i] = b[64 * h + l + (r / 32 % 2) * 32] >> (r / 64 * 4) & 15;
            hi[i] = b[128 + 32 * h + l] >> (2 * (r / 32)) & 3;
        }
        for (int j = 0; j < 16; j++) o->sub[16 * j + row] = b[192 + j];
        d = get16(b + 208), hi_bits = 2;
        break;
    default: { /* IQ4_XS: d, scales_h, scales_l[4], qs[128] */
        d = get16(b);
        uint16_t sh = get16(b + 2);
        for (int j = 0; j < 8; j++) {
            int low = b[4 + j / 2] >> (j % 2 * 4) & 15, high = sh >> (2 * j) & 3;
            o->sub[16 * j + row] = (uint8_t)((low | high << 4) - 32);
        }
        for (int i = 0; i < 256; i++) lo[i] = b[8 + 16 * (i / 32) + i % 16] >> (i / 16 % 2 * 4) & 15;
    }
    }
    if ((rc = check_f16(d, row, o->span, o->e)) || (rc = check_f16(dmin, row, o->span, o->e))) return rc;
    put16(o->d + 2 * row, d);
    if (o->m) put16(o->m + 2 * row, dmin);
    for (int s = 0; s < 8; s++) {
        const uint8_t *l = lo + 32 * s, *h = hi + 32 * s;
        if (lo_bits == 4) {
            uint8_t q[16];
            for (int i = 0; i < 16; i++) q[i] = (uint8_t)(l[i] | l[i + 16] << 4);
            put_nibbles(o->lo + 256 * s, row, q);
        } else {
            put_pairs(o->lo + 128 * s, row, l);
        }
        if (hi_bits == 2) put_pairs(o->hi + 128 * s, row, h);
        if (hi_bits == 1) {
            uint32_t qh = 0;
            for (int i = 0; i < 32; i++) qh |= (uint32_t)h[i] << i;
            put_bits(o->hi + 64 * s, row, qh);
        }
    }
    return 0;
}

/* N4: a group of n codes (<= 256): d, a sub-scale of 5 bits per 32 (magnitude, sign above), nibbles as in Q4_0. */
static int pack_n4(const struct place *o, const uint8_t *b, int n)
{
    int rc = check_f16(get16(b), o->row, o->span, o->e), blocks = n / 32;
    if (rc) return rc;
    const uint8_t *sub = b + 2, *q = sub + (5 * blocks + 7) / 8;
    put16(o->d + 2 * o->row, get16(b));
    for (int j = 0; j < 8; j++) {
        int v = 0;
        for (int i = 0; i < 5 && j < blocks; i++) v |= (sub[(5 * j + i) / 8] >> (5 * j + i) % 8 & 1) << i;
        o->sub[16 * j + o->row] = (uint8_t)(v & 16 ? -(v & 15) : v);
        if (j < blocks) put_nibbles(o->lo + 256 * j, o->row, q + 16 * j);
    }
    return 0;
}

/* A block of one of the IQ1 to IQ3 types. */
static int pack_iq(enum dtype type, const struct place *o, const uint8_t *b)
{
    struct iq_group g;
    iq_decode(type, b, &g);
    int rc = check_f16(g.d, o->row, o->span, o->e), n_sub = layout_of(type)->sub / PANEL;
    put16(o->d + 2 * o->row, g.d);
    for (int j = 0; j < n_sub; j++) o->sub[PANEL * j + o->row] = g.sub[j];
    for (int s = 0; s < 8; s++) {
        const uint8_t *c = g.code + 32 * s;
        uint8_t q[32];
        if (mat_form(type) == DTYPE_IQ3_XXS || type == DTYPE_IQ3_S) {
            for (int i = 0; i < 16; i++) q[i] = (uint8_t)(c[i] | c[i + 16] << 4);
            put_nibbles(o->lo + 256 * s, o->row, q);
            continue;
        }
        uint32_t high = 0;
        for (int i = 0; i < 32; i++) q[i] = c[i] & 3, high |= (uint32_t)(c[i] >> 2) << i;
        put_pairs(o->lo + 128 * s, o->row, q);
        put_bits(o->hi + 64 * s, o->row, high);
    }
    return rc;
}

/* A block of n weights of two bits or fewer (Q1_0, Q2_0, TQ1_0, TQ2_0): one scale, which each 32 get. */
static int pack_ternary(enum dtype type, const struct place *o, const uint8_t *b, int n)
{
    uint8_t code[256];
    uint16_t d = iq_ternary(type, b, code);
    int rc = check_f16(d, o->row, o->span, o->e);
    for (int s = 0; s < n / 32; s++) {
        put16(o->d + 32 * s + 2 * o->row, d);
        put_pairs(o->lo + 128 * s, o->row, code + 32 * s);
    }
    return rc;
}

/* NVFP4: 64 weights, four scales (e4m3 without a sign; 127 is zero), then per 16 weights 8 bytes of codes as
 * in Q4_0. */
static int pack_nvfp4(const struct place *o, const uint8_t *b)
{
    for (int i = 0; i < 4; i++) {
        int exp = b[i] >> 3 & 15, man = b[i] & 7;
        float d = exp ? (float)(8 + man) * pow2f(exp - 10) : (float)man * 0x1p-9f;
        if (b[i] == 127) d = 0.0f;
        put16(o->d + 32 * i + 2 * o->row, f16_from_f32(0.5f * d)); /* exact: 4 bits, from 2^-10 to 240 */
    }
    for (int s = 0; s < 2; s++) {
        const uint8_t *q = b + 4 + 16 * s;
        uint8_t out[16];
        for (int i = 0; i < 16; i++) /* code i with code i + 16 */
            out[i] = (uint8_t)(i < 8 ? (q[i] & 15) | (q[8 + i] & 15) << 4 : q[i - 8] >> 4 | q[i] >> 4 << 4);
        put_nibbles(o->lo + 256 * s, o->row, out);
    }
    return 0;
}

/* W16: n codes (<= 256) of one row as fp32 -> int16 codes and one fp32 scale. */
static int pack_w16(const struct place *o, const float *x, int n)
{
    uint32_t b = 0;
    for (int i = 0; i < n; i++) b = abs_bits(x[i]) > b ? abs_bits(x[i]) : b;
    if (b >= 0x7f800000) return err(o->e, ERR_FORMAT, "row %d, group %d: a weight is NaN or infinite", o->row, o->span);
    float a = f32_from_bits(b);
    if (a > ARITH_F32(SCALE_MAX))
        return err(o->e, ERR_FORMAT, "row %d, group %d: a weight is larger than 2^40", o->row, o->span);
    if (a < ARITH_F32(W16_FLOOR)) a = ARITH_F32(W16_FLOOR);
    float id = (float)ARITH_QMAX16 / a, d = a * ARITH_F32(RQ16);
    memcpy(o->d + 4 * o->row, &d, 4);
    for (int i = 0; i < n; i++) {
        int16_t c = (int16_t)rne_small_i32(x[i] * id);
        memcpy(o->lo + 1024 * (i / 32) + 64 * (i % 32 / 4 * 2 + (i & 1)) + 4 * o->row + (i & 2), &c, 2);
    }
    return 0;
}

static void load_f32(enum dtype type, const uint8_t *src, float *x, int n)
{
    if (type == DTYPE_F32) {
        memcpy(x, src, (size_t)n * 4);
        return;
    }
    for (int i = 0; i < n; i++) {
        uint16_t h = get16(src + 2 * i);
        x[i] = type == DTYPE_F16 ? f32_from_f16(h) : f32_from_bf16(h);
    }
}

/* How many weights one call of a packing function takes: the span, or the file's block where that is larger. */
static int step_of(const struct mat *m)
{
    int block = (int)dtype_info(m->from)->block;
    return block > m->lay->span ? block : m->lay->span;
}

static int pack_step(const struct mat *m, const struct place *o, const uint8_t *b, int n)
{
    const struct dtype_info *info = dtype_info(m->from);
    switch (m->type) {
    case DTYPE_N4: return pack_n4(o, b, n);
    case DTYPE_F32:
    case DTYPE_F16:
    case DTYPE_BF16: {
        float x[256];
        load_f32(m->type, b, x, n);
        return pack_w16(o, x, n);
    }
    case DTYPE_NVFP4: return pack_nvfp4(o, b);
    case DTYPE_Q2_0: return pack_ternary(m->from, o, b, (int)info->block);
    case DTYPE_IQ1_M:
    case DTYPE_IQ2_S:
    case DTYPE_IQ3_XXS:
    case DTYPE_IQ3_S: return pack_iq(m->from, o, b);
    default: return m->lay->span == 32 ? pack_block32(m->type, o, b) : pack_group256(m->type, o, b);
    }
}

int mat_pack(struct mat *m, int p, const uint8_t *rows, size_t row_bytes, struct err *e)
{
    const struct mat_layout *l = m->lay;
    int n_rows = m->n - p * PANEL < PANEL ? m->n - p * PANEL : PANEL, blocks = m->k / 32, step = step_of(m);
    size_t step_bytes = m->type == DTYPE_N4
                            ? N4_GROUP_BYTES
                            : (size_t)step / dtype_info(m->from)->block * dtype_info(m->from)->bytes;
    if (n_rows < PANEL) {
        memset(m->data + (size_t)p * m->panel_bytes, 0, m->panel_bytes);
        for (int g = 0; 8 * g < blocks; g++) {
            struct mat_group r = mat_group_of(m, p, g);
            if (m->type == DTYPE_Q8_0) memset(r.lo, 0x80, (size_t)r.n * l->lo); /* code 0 */
            if (m->type == DTYPE_MXFP4) memset(r.d, 128, (size_t)r.n * l->d);   /* scale 1 */
        }
    }
    for (int r = 0; r < n_rows; r++) {
        const uint8_t *src = rows + (size_t)r * row_bytes;
        struct place o = {.row = r, .e = e};
        for (int k = 0; k < m->k; k += step, src += step_bytes) {
            struct mat_group t = mat_group_of(m, p, k / 256);
            int b = k % 256 / 32, s = k % 256 / l->span;
            o.span = k / step;
            o.lo = t.lo + b * l->lo;
            o.hi = t.hi + b * l->hi;
            o.sub = t.sub;
            o.min = t.min;
            o.d = t.d + s * l->d;
            o.m = l->m ? t.m + s * l->m : NULL;
            int rc = pack_step(m, &o, src, m->k - k < step ? m->k - k : step);
            if (rc) return e ? err_prefix(e, "panel %d", p) : rc;
        }
    }
    return 0;
}

/* --- reading back ------------------------------------------------------------------------------------ */

/* The signed code at byte `at` of line j of a 32-block whose planes start at lo and hi. */
static inline int code_at(enum dtype type, const uint8_t *lo, const uint8_t *hi, int j, int at)
{
#define NIB (lo[64 * (j & 3) + at] >> ((j >> 2) * 4) & 15)
#define LO2 (lo[64 * (j >> 2) + at] >> (2 * (j & 3)) & 3)
#define HI1 (hi[at] >> j & 1)
#define HI2 (hi[64 * (j >> 2) + at] >> (2 * (j & 3)) & 3)
    switch (type) {
    case DTYPE_Q4_0:
    case DTYPE_N4: return NIB - 8;
    case DTYPE_Q4_1:
    case DTYPE_Q4_K: return NIB;
    case DTYPE_Q5_0: return (NIB | HI1 << 4) - 16;
    case DTYPE_Q5_1:
    case DTYPE_Q5_K: return NIB | HI1 << 4;
    case DTYPE_Q6_K: return (NIB | HI2 << 4) - 32;
    case DTYPE_Q8_0: return lo[64 * j + at] - 128;
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS: return mat_iq4_book[NIB];
    case DTYPE_MXFP4:
    case DTYPE_NVFP4: return mat_mxfp4_book[NIB];
    case DTYPE_IQ3_XXS: return mat_iq3_xxs_book[NIB];
    case DTYPE_IQ3_S: return mat_iq3_s_book[NIB];
    case DTYPE_IQ2_S: return mat_iq2_book[LO2 | HI1 << 2];
    case DTYPE_IQ1_M: return mat_iq1_book[LO2 | HI1 << 2];
    case DTYPE_Q2_0: return (LO2) - 1;
    case DTYPE_Q2_K: return LO2;
    case DTYPE_Q3_K: return (LO2 | HI1 << 2) - 4;
    default: { /* W16: at % 4 = k within the four of line j, at / 4 = row */
        int16_t v;
        memcpy(&v, lo + 64 * (2 * j + (at & 1)) + (at & ~3) + (at & 2), 2);
        return v;
    }
    }
#undef NIB
#undef LO2
#undef HI1
#undef HI2
}

void mat_codes(const struct mat *m, int p, int block, int16_t out[32][PANEL])
{
    struct mat_group g = mat_group_of(m, p, block / 8);
    const uint8_t *lo = g.lo + block % 8 * m->lay->lo, *hi = g.hi + block % 8 * m->lay->hi;
    for (int j = 0; j < 8; j++)
        for (int r = 0; r < PANEL; r++)
            for (int b = 0; b < 4; b++) out[4 * j + b][r] = (int16_t)code_at(m->type, lo, hi, j, 4 * r + b);
}

void mat_scales(const struct mat *m, int p, int s, float d[PANEL], float min[PANEL])
{
    int per = 256 / m->lay->span;
    struct mat_group g = mat_group_of(m, p, s / per);
    const uint8_t *pd = g.d + s % per * m->lay->d, *pm = g.m + s % per * m->lay->m;
    for (int r = 0; r < PANEL; r++) {
        min[r] = m->lay->m ? f32_from_f16(get16(pm + 2 * r)) : 0;
        if (is_w16(m->type))
            memcpy(&d[r], pd + 4 * r, 4);
        else
            d[r] = m->type == DTYPE_MXFP4 ? f32_from_e8m0_half(pd[r])
                                          : f32_from_f16(get16(pd + 2 * r)) * mat_unit(m->type);
    }
}

int mat_sub_size(enum dtype type)
{
    const struct mat_layout *l = layout_of(type);
    return !l || !l->sub ? 0 : l->sub == 256 ? 16 : 32;
}

void mat_subs(const struct mat *m, int p, int g, int j, int32_t sub[PANEL], int32_t min[PANEL])
{
    struct mat_group at = mat_group_of(m, p, g);
    const uint8_t *s = at.sub + 16 * j, *n = at.min + 16 * j;
    for (int r = 0; r < PANEL; r++) {
        sub[r] = 1, min[r] = 0;
        if (m->type == DTYPE_Q2_K)
            sub[r] = s[r] & 15, min[r] = s[r] >> 4;
        else if (m->lay->min)
            sub[r] = s[r], min[r] = n[r];
        else if (m->lay->sub)
            sub[r] = (int8_t)s[r];
    }
}

void mat_row(const struct mat *m, int r, float *out)
{
    const struct mat_layout *l = m->lay;
    int p = r / PANEL, lane = r % PANEL, size = mat_sub_size(m->type);
    struct mat_group g = {0};
    float d[PANEL], mn[PANEL];
    int32_t sub[PANEL], min[PANEL];
    for (int k = 0; k < m->k; k++) {
        int b = k % 256 / 32, i = k % 32;
        if (k % 256 == 0) g = mat_group_of(m, p, k / 256);
        if (k % l->span == 0) mat_scales(m, p, k / l->span, d, mn);
        int c = code_at(m->type, g.lo + b * l->lo, g.hi + b * l->hi, i / 4, 4 * lane + i % 4);
        if (size) {
            if (k % size == 0) mat_subs(m, p, k / 256, k % 256 / size, sub, min);
            c *= sub[lane];
        }
        float off = !l->m ? 0.0f : size ? -((float)min[lane] * mn[lane]) : mn[lane];
        out[k] = l->m ? fma32((float)c, d[lane], off) : (float)c * d[lane];
    }
}
