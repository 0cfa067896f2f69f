/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mat: a weight matrix in the packed layout that every instruction set reads.
 *
 * A matrix of n outputs and reduction length k is cut into panels of 16 output rows. Along k a panel is a
 * list of 32-blocks. The codes of a 32-block are *lines* of 64 bytes: 16 rows in lanes, 4 consecutive k in
 * the 4 bytes of a lane, so a 32-block of bytes is 8 lines (line j: k = 4j .. 4j+3). One line is one zmm
 * register, one row of an AMX B tile, and four NEON vectors for a dot product by lane. Narrow codes are
 * stored as bit planes of such lines:
 *
 *   nibbles    4 lines; low half of line j = line j, high half = line j+4                       256 bytes
 *   two bits   2 lines; bits 2i, 2i+1 of line t = line 4t+i                                     128 bytes
 *   one bit    1 line;  bit j = line j                                                           64 bytes
 *   bytes      8 lines                                                                          512 bytes
 *   words      16 lines of 16 rows x 2 k of int16 (W16), of each four k first 0 2, then 1 3    1024 bytes
 *
 * Along k a panel is a list of chunks of 512 codes, so that a product reads its memory from end to end. A
 * chunk holds, one after the other: lo plane, hi plane (both per 32-block), integer sub-scales and mins (per
 * 256), scales d and offsets m (per span: 16 or 32, or 256 for K-quants, N4 and W16), each of these with the
 * 16 rows side by side. Whole chunks are multiples of 64 bytes; the last one has only the blocks, groups and
 * spans there are, and is padded. Rows past n and codes past k are zero (numerics: codes 0 change no integer
 * sum). Rows of K-quants are whole groups of 256.
 *
 * Packing is lossless except for W16 (F32, F16, BF16 become int16 codes per (row, 256), contract
 * section 4.3). Types whose values are those of another one's packed form share it (mat_form): the kernels
 * know forms only.
 */
#ifndef TUTTI_KERN_MAT_H
#define TUTTI_KERN_MAT_H

#include <stddef.h>
#include <stdint.h>
#include "base/dtype.h"
#include "base/err.h"

enum {
    PANEL = 16,      /* rows of a panel */
    MAT_CHUNK = 512, /* codes of a row whose regions stand together */
};
#define MAT_DIM_MAX (1 << 24) /* n and k */

/* How a vector must be quantised for a matrix. The tier of each weight type and role is a constant of the contract
 * (arith.def; measured in doc/arithmetic.md). */
enum act_tier {
    ACT_A8_32,   /* int8 codes, a scale per 32: 32-block weight types */
    ACT_A8_256,  /* int8 codes, a scale per 256: K-quants, IQ4_XS, N4 */
    ACT_A16_256, /* int16 codes, a scale per 256, as two planes: F32, F16, BF16 (as W16) */
    ACT_A16_W8,  /* the same codes in one piece, for 8-bit weights: Q8_0 as output head */
    ACT_TIERS
};
enum mat_role { MAT_BODY, MAT_HEAD };
enum act_tier mat_tier(enum dtype type, enum mat_role role); /* of a type that mat_layout knows */

/* Bytes of each region of a chunk; see the drawing above. */
struct mat_layout {
    uint16_t lo, hi;   /* per 32-block */
    uint16_t sub, min; /* per 256 */
    uint16_t d, m;     /* per span */
    uint16_t span;     /* codes that share one float scale: 16, 32 or 256 */
};

/*
 * The forms: type, lo, hi, sub, min, d, m, span. Q2_K keeps scale | min << 4 in sub. NVFP4 has two scales a 32-block,
 * one for the first 16 codes of each row, one for the others.
 */
#define MAT_FORMS(L)                       \
    L(Q4_0, 256, 0, 0, 0, 32, 0, 32)       \
    L(Q4_1, 256, 0, 0, 0, 32, 32, 32)      \
    L(Q5_0, 256, 64, 0, 0, 32, 0, 32)      \
    L(Q5_1, 256, 64, 0, 0, 32, 32, 32)     \
    L(Q8_0, 512, 0, 0, 0, 32, 0, 32)       \
    L(IQ4_NL, 256, 0, 0, 0, 32, 0, 32)     \
    L(MXFP4, 256, 0, 0, 0, 16, 0, 32)      \
    L(Q2_0, 128, 0, 0, 0, 32, 0, 32)       \
    L(NVFP4, 256, 0, 0, 0, 32, 0, 16)      \
    L(Q2_K, 128, 0, 256, 0, 32, 32, 256)   \
    L(Q3_K, 128, 64, 256, 0, 32, 0, 256)   \
    L(Q4_K, 256, 0, 128, 128, 32, 32, 256) \
    L(Q5_K, 256, 64, 128, 128, 32, 32, 256) \
    L(Q6_K, 256, 128, 256, 0, 32, 0, 256)  \
    L(IQ1_M, 128, 64, 256, 0, 32, 0, 256)  \
    L(IQ2_S, 128, 64, 256, 0, 32, 0, 256)  \
    L(IQ3_XXS, 256, 0, 128, 0, 32, 0, 256) \
    L(IQ3_S, 256, 0, 128, 0, 32, 0, 256)   \
    L(IQ4_XS, 256, 0, 128, 0, 32, 0, 256)  \
    L(N4, 256, 0, 128, 0, 32, 0, 256)      \
    L(F32, 1024, 0, 0, 0, 64, 0, 256)      \
    L(F16, 1024, 0, 0, 0, 64, 0, 256)      \
    L(BF16, 1024, 0, 0, 0, 64, 0, 256)

/* The form that a type is packed as; most types have their own. */
static inline enum dtype mat_form(enum dtype type)
{
    switch (type) {
    case DTYPE_IQ1_S: return DTYPE_IQ1_M;
    case DTYPE_IQ2_XXS:
    case DTYPE_IQ2_XS: return DTYPE_IQ2_S;
    case DTYPE_TQ1_0:
    case DTYPE_TQ2_0:
    case DTYPE_Q1_0: return DTYPE_Q2_0;
    default: return type;
    }
}

/* The layout of a form, for kernels: of a constant type its fields are constants. */
static inline __attribute__((always_inline)) struct mat_layout mat_form_layout(enum dtype form)
{
    switch (form) {
#define L(t, lo_, hi_, sub_, min_, d_, m_, span_) \
    case DTYPE_##t: return (struct mat_layout){lo_, hi_, sub_, min_, d_, m_, span_};
        MAT_FORMS(L)
#undef L
    default: return (struct mat_layout){0};
    }
}

/* What a form's fp16 scales are multiplied by: its codes are whole numbers, those of the file multiples of this. */
static inline __attribute__((always_inline)) float mat_unit(enum dtype form)
{
    return form == DTYPE_IQ1_M || form == DTYPE_IQ2_S ? 0.125f : form == DTYPE_IQ3_XXS ? 0.25f : 1.0f;
}

struct mat {
    const struct mat_layout *lay;
    uint8_t *data;      /* [n_panels][panel_bytes], 64-byte aligned */
    size_t panel_bytes;
    enum dtype type;    /* the form */
    enum dtype from;    /* the type of the file */
    int n, k;           /* outputs, reduction length (a multiple of 32) */
    int n_panels;
};

/* A 256-group of a panel: its blocks, and the regions' bytes of its first one. Regions that a form lacks are
 * anywhere. */
struct mat_group {
    uint8_t *lo, *hi, *sub, *min, *d, *m;
    int n; /* 32-blocks: 8, or fewer at the end of a row */
};

static inline __attribute__((always_inline)) struct mat_group mat_group(struct mat_layout l, uint8_t *panel,
                                                                        int blocks, int g)
{
    const int chunk_bytes = 16 * (l.lo + l.hi) + 2 * (l.sub + l.min) + MAT_CHUNK / l.span * (l.d + l.m), odd = g & 1;
    int left = blocks - 16 * (g / 2), n = left < 16 ? left : 16, groups = (n + 7) / 8,
        spans = l.span == 256 ? groups : n * 32 / l.span;
    struct mat_group r = {.lo = panel + (size_t)(g / 2) * (size_t)chunk_bytes, .n = n - 8 * odd < 8 ? n - 8 * odd : 8};
    r.hi = r.lo + n * l.lo;
    r.sub = r.hi + n * l.hi;
    r.min = r.sub + groups * l.sub;
    r.d = r.min + groups * l.min;
    r.m = r.d + spans * l.d + odd * (256 / l.span) * l.m;
    r.lo += odd * 8 * l.lo, r.hi += odd * 8 * l.hi, r.sub += odd * l.sub, r.min += odd * l.min,
        r.d += odd * (256 / l.span) * l.d;
    return r;
}

/* The same of any matrix's panel p. */
static inline struct mat_group mat_group_of(const struct mat *m, int p, int g)
{
    return mat_group(*m->lay, m->data + (size_t)p * m->panel_bytes, m->k / 32, g);
}

/* NULL if the type cannot be a weight matrix. */
const struct mat_layout *mat_layout(enum dtype type);

/* Sizes *m for an [n][k] matrix; data stays NULL. Errors: type, k not a multiple of the block (or of 32), size. */
int mat_init(struct mat *m, enum dtype type, int64_t n, int64_t k, struct err *e);
size_t mat_bytes(const struct mat *m);

/*
 * Packs panel p from its rows in the file's format: rows -> the first row of the panel, row_bytes apart.
 * m->data must be set. Rejects scales that are NaN, infinite or outside the contract's range (ERR_FORMAT; the
 * message names the row).
 */
int mat_pack(struct mat *m, int p, const uint8_t *rows, size_t row_bytes, struct err *e);

/* Codes of one 32-block of a panel, unpacked: out[k][row] without offset (the true signed code). Any type. */
void mat_codes(const struct mat *m, int p, int block, int16_t out[32][PANEL]);

/* Float scale d and offset (or min scale) m of span s, fp32: [row]. */
void mat_scales(const struct mat *m, int p, int s, float d[PANEL], float min[PANEL]);

/* Integer sub-scale (and min) of sub-block j (of 16 or 32 codes) in 256-group g: [row]. Types without: 1 and 0. */
int mat_sub_size(enum dtype type); /* 16, 32, or 0 without sub-scales */
void mat_subs(const struct mat *m, int p, int g, int j, int32_t sub[PANEL], int32_t min[PANEL]);

/* Row r as fp32, by the embedding rule of the contract (section 3.5); out[k]. */
void mat_row(const struct mat *m, int r, float *out);

extern const int8_t mat_iq4_book[16];   /* IQ4_NL, IQ4_XS */
extern const int8_t mat_mxfp4_book[16]; /* e2m1 times 2 */
/* Three bits: digit of the code book, sign or shift above it. Values times mat_unit. */
extern const int8_t mat_iq1_book[16], mat_iq2_book[16];
/* Four bits: digit and sign. */
extern const int8_t mat_iq3_xxs_book[16], mat_iq3_s_book[16];

#endif
