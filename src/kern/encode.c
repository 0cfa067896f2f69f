/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding weights: see encode.h. Block formats as in mat.c; those of 256 elements in encode_k.c. */
#include "kern/encode.h"

#include <inttypes.h>
#include <string.h>
#include "kern/encode_int.h"
#include "kern/mat.h"

enum {
    BLOCKS = 8,      /* of an N4 group */
    N4_TRIALS = 12,  /* group scales of N4 */
    N4_ROUNDS = 3,   /* refinements of the best */
    SUB_MAX = 15,
    BOOK_TRIALS = 24, /* first scales of an IQ4_NL block, of both signs: ... */
    BOOK_FIRST = 80,  /* ... so many steps to the largest element, and more */
};

bool encode_supports(enum dtype type)
{
    switch (type) {
    case DTYPE_F32:
    case DTYPE_F16:
    case DTYPE_BF16:
    case DTYPE_Q4_0:
    case DTYPE_Q4_1:
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_Q8_0:
    case DTYPE_IQ4_NL:
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
    case DTYPE_Q6_K:
    case DTYPE_N4: return true;
    default: return false;
    }
}

/* --- one block ------------------------------------------------------------------------------------------------ */

/* Codes -2^(bits-1) .. 2^(bits-1) - 1 with one scale: Q4_0, Q5_0. */
static void encode_symmetric(uint8_t *out, const float *x, const float *w, int bits)
{
    float hi = (float)((1 << (bits - 1)) - 1), lo = -hi - 1, e_plus, e_minus, c[B];
    float plus = best_scale(x, w, 1, lo, hi, &e_plus), minus = best_scale(x, w, -1, lo, hi, &e_minus);
    uint16_t d = f16_from_f32(e_minus < e_plus ? minus : plus);
    float s = f32_from_f16(d);
    uint8_t q[B];
    codes_of(c, x, s != 0 ? 1.0f / s : 0.0f, lo, hi);
    for (int i = 0; i < B; i++) q[i] = (uint8_t)(c[i] - lo);
    put16(out, d);
    if (bits == 5) put_fifth_bits(out + 2, q);
    put_nibbles(out + (bits == 5 ? 6 : 2), q);
}

/* Codes 0 .. 2^bits - 1 with a scale and an offset: Q4_1, Q5_1. */
static void encode_affine(uint8_t *out, const float *x, const float *w, int bits)
{
    float top = (float)((1 << bits) - 1), lo = x[0], hi = x[0], best = -1, c[B];
    uint16_t best_d = 0, best_m = 0;
    for (int i = 1; i < B; i++) lo = x[i] < lo ? x[i] : lo, hi = x[i] > hi ? x[i] : hi;
    for (int t = 0; t < TRIALS; t++) {
        float shrink = 0.012f * (float)t * (hi - lo), d = (hi - lo - 2 * shrink) / top, m = lo + shrink;
        for (int round = 0; round < 3; round++) {
            uint16_t d16 = f16_from_f32(d), m16 = f16_from_f32(m);
            float ds = f32_from_f16(d16), ms = f32_from_f16(m16), v[B], y[B];
            for (int i = 0; i < B; i++) y[i] = x[i] - ms;
            codes_of(c, y, ds != 0 ? 1.0f / ds : 0.0f, 0, top);
            for (int i = 0; i < B; i++) {
                float r = y[i] - ds * c[i];
                v[i] = w[i] * (r * r);
            }
            float e = sum32(v);
            if (best < 0 || e < best) best = e, best_d = d16, best_m = m16;
            float a[5][B]; /* normal equations of x = d c + m */
            for (int i = 0; i < B; i++) {
                a[0][i] = w[i], a[1][i] = w[i] * c[i], a[2][i] = w[i] * (c[i] * c[i]);
                a[3][i] = w[i] * x[i], a[4][i] = w[i] * (c[i] * x[i]);
            }
            float s0 = sum32(a[0]), s1 = sum32(a[1]), s2 = sum32(a[2]), t0 = sum32(a[3]), t1 = sum32(a[4]);
            float det = s0 * s2 - s1 * s1;
            if (!(det > 0)) break;
            d = (s0 * t1 - s1 * t0) / det;
            m = (s2 * t0 - s1 * t1) / det;
        }
    }
    float ds = f32_from_f16(best_d), y[B];
    uint8_t q[B];
    for (int i = 0; i < B; i++) y[i] = x[i] - f32_from_f16(best_m);
    codes_of(c, y, ds != 0 ? 1.0f / ds : 0.0f, 0, top);
    for (int i = 0; i < B; i++) q[i] = (uint8_t)c[i];
    put16(out, best_d);
    put16(out + 2, best_m);
    if (bits == 5) put_fifth_bits(out + 4, q);
    put_nibbles(out + (bits == 5 ? 8 : 4), q);
}

/* The nearest of the 16 uneven values of IQ4_NL to each element times inv: their numbers q, and the values. */
static void book_codes(uint8_t q[B], float c[B], const float *x, float inv)
{
    for (int i = 0; i < B; i++) {
        float t = x[i] * inv;
        int n = 0;
        for (int k = 0; k < 15; k++) n += t > 0.5f * (float)(mat_iq4_book[k] + mat_iq4_book[k + 1]);
        q[i] = (uint8_t)n;
        c[i] = (float)mat_iq4_book[n];
    }
}

/* Values of a book with one scale: IQ4_NL. */
static void encode_book(uint8_t *out, const float *x, const float *w)
{
    float wide = 0, best = -1, c[B], v[B];
    uint16_t best_d = 0;
    uint8_t q[B];
    for (int i = 0; i < B; i++) wide = f32_from_bits(abs_bits(x[i])) > wide ? f32_from_bits(abs_bits(x[i])) : wide;
    for (int t = 0; t < BOOK_TRIALS && wide > 0; t++) {
        /* both signs: the book is not the same on both sides */
        float s = wide / (float)(t % 2 ? -BOOK_FIRST - 3 * t : BOOK_FIRST + 3 * t);
        for (int round = 0; round < 2; round++) {
            uint16_t d = f16_from_f32(s);
            float ds = f32_from_f16(d);
            if (!(f32_from_bits(abs_bits(ds)) > 0)) break;
            book_codes(q, c, x, 1.0f / ds);
            for (int i = 0; i < B; i++) {
                float r = x[i] - ds * c[i];
                v[i] = w[i] * (r * r);
            }
            float e = sum32(v);
            if (best < 0 || e < best) best = e, best_d = d;
            s = least_squares(x, w, c);
        }
    }
    float ds = f32_from_f16(best_d);
    book_codes(q, c, x, best_d ? 1.0f / ds : 0.0f);
    put16(out, best_d);
    put_nibbles(out + 2, q);
}

/* Q8_0: 127 steps to the largest element; a search gains nothing at this width. */
static void encode_q8(uint8_t *out, const float *x)
{
    float a = 0, c[B];
    for (int i = 0; i < B; i++) a = f32_from_bits(abs_bits(x[i])) > a ? f32_from_bits(abs_bits(x[i])) : a;
    uint16_t d = f16_from_f32(a / 127.0f);
    float s = f32_from_f16(d);
    codes_of(c, x, s != 0 ? 1.0f / s : 0.0f, -127, 127);
    put16(out, d);
    for (int i = 0; i < B; i++) out[2 + i] = (uint8_t)(int8_t)c[i];
}

/* --- N4 ------------------------------------------------------------------------------------------------------- */

struct n4_group {
    const float *x, *w;
    int blocks;
    float scale[BLOCKS][2]; /* best real scale of each sign */
    int sub[BLOCKS];        /* of the last n4_fit */
};

/* For group scale d the best sub-scale of every block, among those next to its real scales; the error. */
static float n4_fit(struct n4_group *g, float d)
{
    float total = 0;
    for (int b = 0; b < g->blocks; b++) {
        const float *x = g->x + B * b, *w = g->w + B * b;
        float best = -1;
        for (int k = 0; k < 2; k++) {
            int sign = k ? -1 : 1;
            float r = g->scale[b][k] * (float)sign / d;
            int near = r < SUB_MAX ? (int)r : SUB_MAX;
            for (int m = near - (near > 1); m <= near + 1; m++) {
                int sub = m < 1 ? 1 : m > SUB_MAX ? SUB_MAX : m;
                float e = error_of(x, w, (float)(sign * sub) * d, -8, 7);
                if (best < 0 || e < best) best = e, g->sub[b] = sign * sub;
            }
        }
        total = total + best;
    }
    return total;
}

/* The group scale that fits the codes of the last n4_fit (made with d) best. */
static float n4_least_squares(const struct n4_group *g, float d)
{
    float num = 0, den = 0;
    for (int b = 0; b < g->blocks; b++) {
        const float *x = g->x + B * b, *w = g->w + B * b;
        float sub = (float)g->sub[b], c[B], p[B], q[B];
        codes_of(c, x, 1.0f / (sub * d), -8, 7);
        for (int i = 0; i < B; i++) {
            float v = sub * c[i], wv = w[i] * v;
            p[i] = wv * x[i];
            q[i] = wv * v;
        }
        num = num + sum32(p);
        den = den + sum32(q);
    }
    return den > 0 ? num / den : d;
}

static void encode_n4(uint8_t *out, const float *x, const float *w, int n)
{
    struct n4_group g = {.x = x, .w = w, .blocks = n / B};
    float widest = 0, e[2], best = -1;
    uint16_t best_d = 0;
    for (int b = 0; b < g.blocks; b++) {
        for (int k = 0; k < 2; k++) g.scale[b][k] = best_scale(x + B * b, w + B * b, k ? -1 : 1, -8, 7, &e[k]);
        float s = e[1] < e[0] ? -g.scale[b][1] : g.scale[b][0];
        widest = s > widest ? s : widest;
    }
    for (int t = 0; t < N4_TRIALS; t++) { /* the widest block at sub-scale 15.5 down to 10 */
        uint16_t h = f16_from_f32(widest / (15.5f - 0.5f * (float)t));
        float d = f32_from_f16(h), total = d > 0 ? n4_fit(&g, d) : -1;
        if (d > 0 && (best < 0 || total < best)) best = total, best_d = h;
    }
    for (int round = 0; round < N4_ROUNDS && best_d; round++) {
        n4_fit(&g, f32_from_f16(best_d));
        uint16_t h = f16_from_f32(n4_least_squares(&g, f32_from_f16(best_d)));
        float d = f32_from_f16(h), total = d > 0 ? n4_fit(&g, d) : -1;
        if (!(d > 0 && total < best)) break;
        best = total, best_d = h;
    }
    float d = f32_from_f16(best_d);
    uint8_t *sub = out + 2, *q = sub + (5 * g.blocks + 7) / 8;
    put16(out, best_d);
    memset(sub, 0, (size_t)(q - sub));
    for (int b = 0; b < g.blocks; b++) g.sub[b] = 1;
    if (d > 0) n4_fit(&g, d);
    for (int b = 0; b < g.blocks; b++) {
        float c[B], s = (float)g.sub[b] * d;
        uint8_t code[B];
        codes_of(c, x + B * b, s != 0 ? 1.0f / s : 0.0f, -8, 7);
        for (int i = 0; i < B; i++) code[i] = (uint8_t)(c[i] + 8.0f);
        put_nibbles(q + B / 2 * b, code);
        int v = g.sub[b] < 0 ? 16 - g.sub[b] : g.sub[b];
        for (int i = 0; i < 5; i++) sub[(5 * b + i) / 8] |= (uint8_t)((v >> i & 1) << (5 * b + i) % 8);
    }
}

/* --- rows ----------------------------------------------------------------------------------------------------- */

void encode_load_floats(enum dtype type, float *x, const uint8_t *row, int64_t n)
{
    if (type == DTYPE_F32) {
        memcpy(x, row, (size_t)n * 4);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, row + 2 * i, 2);
        x[i] = type == DTYPE_F16 ? f32_from_f16(h) : f32_from_bf16(h);
    }
}

/* Largest magnitude that every code of the type can stand for: fp16 scales end at 65504. */
static float largest(enum dtype type)
{
    switch (type) {
    case DTYPE_F32:
    case DTYPE_BF16: return 0x1p127f;
    case DTYPE_F16:
    case DTYPE_Q4_1:
    case DTYPE_Q5_1: return 65504.0f;
    default: return 65504.0f * 4;
    }
}

static void encode_floats(enum dtype type, uint8_t *out, const float *x, int64_t n)
{
    if (type == DTYPE_F32) {
        memcpy(out, x, (size_t)n * 4);
        return;
    }
    for (int64_t i = 0; i < n; i++) put16(out + 2 * i, type == DTYPE_F16 ? f16_from_f32(x[i]) : bf16_from_f32(x[i]));
}

/* What the error of each of n elements counts: its column's importance, and more for larger elements. */
static void weigh(float *w, const float *x, const float *weight, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++) sum = sum + x[i] * x[i];
    float mean = sum / (float)n;
    for (int i = 0; i < n; i++) w[i] = (weight ? weight[i] : 1.0f) * sqrt32(mean + x[i] * x[i]);
}

int encode_row(enum dtype type, uint8_t *out, const float *x, const float *weight, int64_t n, struct err *e)
{
    must(encode_supports(type) && n % dtype_info(type)->block == 0);
    for (int64_t i = 0; i < n; i++)
        if (abs_bits(x[i]) > f32_bits(largest(type)))
            return err(e, ERR_RANGE, "element %" PRId64 " is NaN, infinite or too large for %s", i, dtype_name(type));
    if (dtype_info(type)->block == 1) {
        encode_floats(type, out, x, n);
        return 0;
    }
    int step = type == DTYPE_N4 || dtype_info(type)->block == N4_GROUP ? N4_GROUP : B;
    for (int64_t i = 0; i < n; i += step) {
        int m = n - i < step ? (int)(n - i) : step;
        float w[N4_GROUP];
        weigh(w, x + i, weight ? weight + i : NULL, m);
        switch (type) {
        case DTYPE_Q4_0: encode_symmetric(out, x + i, w, 4); break;
        case DTYPE_Q5_0: encode_symmetric(out, x + i, w, 5); break;
        case DTYPE_Q4_1: encode_affine(out, x + i, w, 4); break;
        case DTYPE_Q5_1: encode_affine(out, x + i, w, 5); break;
        case DTYPE_Q8_0: encode_q8(out, x + i); break;
        case DTYPE_IQ4_NL: encode_book(out, x + i, w); break;
        case DTYPE_Q4_K:
        case DTYPE_Q5_K: encode_k_affine(out, x + i, w, type == DTYPE_Q4_K ? 4 : 5); break;
        case DTYPE_Q6_K: encode_k_symmetric(out, x + i, w); break;
        default: encode_n4(out, x + i, w, m);
        }
        out += type == DTYPE_N4 ? N4_GROUP_BYTES : (int)dtype_info(type)->bytes;
    }
    return 0;
}

int encode_decode_rows(enum dtype type, float *x, const uint8_t *rows, uint64_t row_bytes, int n,
                       uint64_t len, void *packed, struct err *e)
{
    if (type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16) {
        for (int i = 0; i < n; i++)
            encode_load_floats(type, x + (size_t)i * len, rows + (size_t)i * row_bytes, (int64_t)len);
        return 0;
    }
    struct mat m;
    int rc = mat_init(&m, type, n, (int64_t)len, e);
    m.data = packed;
    if (!rc) rc = mat_pack(&m, 0, rows, (size_t)row_bytes, e);
    for (int i = 0; i < n && !rc; i++) mat_row(&m, i, x + (size_t)i * len);
    return rc;
}
