/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul_amx: the matrix product with AMX tiles for 8 tokens and more; fewer go to matmul_avx512.
 *
 * A tile instruction multiplies 16 tokens x up to 64 bytes (tile A, straight from struct act) by 64 bytes x
 * 16 rows (tile B: 16 lines as mat.h packs them) into 16 x 16 int32 (tile C). C goes to memory and the float
 * fold runs over it with AVX-512, the 16 rows of a panel in lanes, in the written order; the integers are
 * exact in any order.
 *
 * Loops:  up to TILES tiles of 16 tokens > PANELS panels > segments of 1024 > groups of 256 along k:
 *         the group's codes are unpacked once into B lines in L1, then used by all tiles of tokens
 *         > jobs (a tile of tokens, one or two panels, 2 to 8 blocks): issue() runs the tile instructions of
 *         the next job into one of two sets of four C tiles in memory, then fold() takes the other set.
 *
 *   tier     B lines (planes)              tile instructions per group, panel, 16 tokens
 *   A8/32    signed codes                  8, one per 32-block (K = 32: the fold wants a sum per block)
 *   A8/256   code * sub = 256 hi + lo      8 = 4 of K = 64 x planes (s8, u8); Q2_K fits one plane (u8), N4
 *                                          (s8): 4
 *   A16/256  W16 = 256 hi + lo             16 = 4 x hi hi, hi lo, lo hi, lo lo; A planes are made from the
 *                                          words of act
 *   A16_W8   signed codes                  16 = 8 blocks x planes hi (s8), lo (u8) of the activations
 *
 * Limits in cycles, for 256 x 16 rows x 16 tokens = 131,072 operations (64 cycles at the peak of 2048 a
 * cycle), by the figures of the instructions: a product 16 whatever its depth, a tile load 8, a tile store
 * 16, and two 512-bit operations a cycle for the fold. Load, product, store and fold run on different units;
 * the largest column is the limit.
 *
 *   tier                product   load   store   fold            limit   of peak   expected, with unpacking
 *   A8/32               128       96     128     8 x 24 = 192    192     33 %      20..25 %
 *     with offsets                               8 x 32 = 256    256     25 %      17..20 %
 *   A8/256, two planes  128       80     32      40 + 24..56     128     50 %      25..35 %
 *   A16/256             256       128    64      72              256     25 %      12..17 %
 *   A16_W8              256       192    256     8 x 32 = 256    256     25 %      18 %
 *
 * Not measured yet on AMX. On an AVX-512 machine without it (Zen 5, K = 2048, 256 tokens) the same code with
 * the tile instructions left out, unpacking and fold alone, takes about 290 cycles (Q4_0), 350 (Q4_1), 180
 * (Q4_K), 380 (F16: its two word planes come from L2 for every four panels), and matmul_avx512 890, 910, 890
 * and 3490. With 16 tokens, so that an unpacking serves one tile, it is 430, 510, 590, 870.
 */
#include <string.h>
#include "kern/amx_tile.h"
#include "kern/arith.h"
#include "kern/unpack_avx512_body.h"

enum {
    SEGMENT = ARITH_SEGMENT,
    GROUP = 256,
    PANELS = 4,      /* panels whose B lines lie in L1 together */
    TILES = 16,      /* tiles of 16 tokens that share one unpacking */
    MIN_TOKENS = 8,  /* fewer in a tile are cheaper with vpdpbusd */
    C = ACT_TILE * PANEL
};

matmul_fn matmul_amx, matmul_avx512;

/* All on the stack: about 120 KiB. */
struct work {
    _Alignas(64) int8_t b[PANELS][2][GROUP * PANEL]; /* B lines of the group, by plane; hi first */
    float d[PANELS][GROUP / 32][PANEL], m[PANELS][GROUP / 32][PANEL];
    int32_t min[PANELS][8][PANEL];    /* K-quants: mins of two neighbouring sub-blocks as a pair of int16 */
    int32_t sum[8][ACT_TILE];         /* and minus the sums of their codes, for one tile of tokens */
    int8_t a[2][GROUP * ACT_TILE];    /* A16: planes of one tile of tokens, hi first */
    int32_t c[2][4][C];               /* C tiles [token][row]: one set filled, one folded */
    float part[ACT_TILE][PANEL];      /* A16_W8: sum over blocks */
    float acc[TILES][PANELS][ACT_TILE][PANEL];
    const struct mat *w;
    const struct act *x;
    int p, n_panels; /* first panel, how many of PANELS */
    int t0, n_tiles; /* first token */
    int g, blocks;   /* group, its 32-blocks (8, or fewer in the last group) */
};

static const __mmask64 ODD = 0xaaaaaaaaaaaaaaaa; /* bytes 1 and 3 of a dword */

/* --- one group of a panel as B lines ---------------------------------------------------------------------- */

/* Two vectors of words as their low and their high bytes: bytes 0 and 2 of a dword from x, 1 and 3 from y. */
INLINE __m512i low_bytes(__m512i x, __m512i y)
{
    return _mm512_mask_blend_epi8(ODD, x, _mm512_slli_epi16(y, 8));
}

INLINE __m512i high_bytes(__m512i x, __m512i y)
{
    return _mm512_mask_blend_epi8(ODD, _mm512_srli_epi16(x, 8), y);
}

/* The 8 lines of block b of a group as signed codes. */
INLINE void codes(__m512i c[8], const struct mat *w, const struct mat_group *g, int b)
{
    int s = offset_log2(w->type);
    __m512i offset = s < 0 ? _mm512_setzero_si512() : _mm512_set1_epi8((char)(1 << s));
    unpack(c, w->type, g->lo + b * w->lay->lo, g->hi + b * w->lay->hi);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) c[j] = _mm512_sub_epi8(c[j], offset);
}

static void lines32(struct work *s, int i)
{
    const struct mat *w = s->w;
    const struct mat_group g = mat_group_of(s->w, s->p + i, s->g);
    for (int b = 0; b < s->blocks; b++) {
        __m512i c[8];
        codes(c, w, &g, b);
        int8_t *out = s->b[i][0] + 512 * b;
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) _mm512_store_si512(out + 64 * j, c[j]);
        _mm512_store_ps(s->d[i][b], scale16(w->type, g.d + b * w->lay->d));
        if (w->lay->m) _mm512_store_ps(s->m[i][b], scale16(w->type, g.m + b * w->lay->m));
    }
}

/* The same with the bytes of a line in the order in which the planes of A16_W8 activations have them. */
static void lines_q8_a16(struct work *s, int i)
{
    lines32(s, i);
    for (int b = 0; b < s->blocks; b++) {
        int8_t *out = s->b[i][0] + 512 * b;
        __m512i c[8];
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) c[j] = _mm512_load_si512(out + 64 * j);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            _mm512_store_si512(out + 128 * j, low_bytes(c[j], c[j + 4]));
            _mm512_store_si512(out + 128 * j + 64, high_bytes(c[j], c[j + 4]));
        }
    }
}

/* x, y: int32 that fit int16 -> one pair per lane */
INLINE __m512i pair16(__m512i x, __m512i y)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, x, _mm512_slli_epi32(y, 16));
}

static void lines256(struct work *s, int i)
{
    const struct mat *w = s->w;
    const struct mat_group g = mat_group_of(s->w, s->p + i, s->g);
    int n_sub = w->lay->sub / PANEL;
    for (int b = 0; b < s->blocks; b++) {
        __m512i c[8];
        codes(c, w, &g, b);
        int8_t *hi = s->b[i][0] + 512 * b, *lo = s->b[i][1] + 512 * b;
        for (int h = 0; h < 2; h++) {
            __m512i v = sub16(w->type, g.sub + PANEL * (n_sub == 16 ? 2 * b + h : b)), by = pair16(v, v);
#pragma GCC unroll 4
            for (int j = 4 * h; j < 4 * h + 4; j++) {
                __m512i even = _mm512_mullo_epi16(_mm512_srai_epi16(_mm512_slli_epi16(c[j], 8), 8), by);
                __m512i odd = _mm512_mullo_epi16(_mm512_srai_epi16(c[j], 8), by);
                _mm512_store_si512(hi + 64 * j, high_bytes(even, odd));
                _mm512_store_si512(lo + 64 * j, low_bytes(even, odd));
            }
        }
    }
    if (s->blocks % 2) /* the other half of the last tile: what stands there in A counts zero times */
        for (int j = 0; j < 8; j++) _mm512_store_si512(s->b[i][1] + 512 * s->blocks + 64 * j, _mm512_setzero_si512());
    _mm512_store_ps(s->d[i][0], scale16(w->type, g.d));
    if (!w->lay->m) return;
    _mm512_store_ps(s->m[i][0], scale16(w->type, g.m));
    for (int j = 0; j < n_sub; j += 2) {
        __m512i x = min16(w->type, g.sub + PANEL * j, g.min + PANEL * j);
        __m512i y = min16(w->type, g.sub + PANEL * (j + 1), g.min + PANEL * (j + 1));
        _mm512_store_si512(s->min[i][j / 2], pair16(x, y));
    }
}

/* Word lines of two blocks side by side: byte 0 and 2 of a dword from the first, 1 and 3 from the second. */
static void lines_w16(struct work *s, int i)
{
    const struct mat_group g = mat_group_of(s->w, s->p + i, s->g);
    for (int b = 0; b < s->blocks; b += 2) {
        for (int j = 0; j < 16; j++) {
            const uint8_t *line = g.lo + 1024 * b + 64 * j;
            __m512i x = _mm512_load_si512(line);
            __m512i y = b + 1 < s->blocks ? _mm512_load_si512(line + 1024) : _mm512_setzero_si512();
            _mm512_store_si512(s->b[i][0] + 512 * b + 64 * j, high_bytes(x, y));
            _mm512_store_si512(s->b[i][1] + 512 * b + 64 * j, low_bytes(x, y));
        }
    }
    _mm512_store_ps(s->d[i][0], _mm512_load_ps(g.d));
}

/* --- A planes of 16-bit activations ------------------------------------------------------------------------- */

/* As lines_w16: planes of words hold a byte each, of which two blocks make one. */
static void planes_w16(struct work *s, int tile)
{
    for (int plane = 0; plane < 2; plane++) {
        const int8_t *from = act_line(s->x, s->t0 + ACT_TILE * tile, 8 * s->g) + (plane ? 0 : s->x->qh - s->x->q);
        int8_t *to = s->a[plane];
        for (int b = 0; b < s->blocks; b += 2, from += 2048, to += 1024)
            for (int t = 0; t < ACT_TILE; t++) {
                __m512i x = _mm512_load_si512(from + 64 * t);
                __m512i y = b + 1 < s->blocks ? _mm512_load_si512(from + 1024 + 64 * t) : _mm512_setzero_si512();
                _mm512_store_si512(to + 64 * t, low_bytes(x, y));
            }
    }
}

/* Words of one block: the low or high bytes of its two halves of 16 words. 32 bytes per token and block. */
static void planes_w8(struct work *s, int tile)
{
    const int8_t *from = act_line(s->x, s->t0 + ACT_TILE * tile, 8 * s->g);
    const __mmask32 odd = 0xaaaaaaaa;
    for (int i = 0; i < s->blocks * ACT_TILE; i++) {
        __m256i x = _mm256_load_si256((const __m256i *)(const void *)(from + 64 * i));
        __m256i y = _mm256_load_si256((const __m256i *)(const void *)(from + 64 * i + 32));
        __m256i hi = _mm256_mask_blend_epi8(odd, _mm256_srli_epi16(x, 8), y);
        __m256i lo = _mm256_mask_blend_epi8(odd, x, _mm256_slli_epi16(y, 8));
        _mm256_store_si256((__m256i *)(void *)(s->a[0] + 32 * i), hi);
        _mm256_store_si256((__m256i *)(void *)(s->a[1] + 32 * i), lo);
    }
}

/* --- jobs: tile products into c, then the fold of c into acc -------------------------------------------------- */

typedef void issue_fn(struct work *s, int tile, int job, int32_t (*c)[C]);
typedef issue_fn fold_fn;

INLINE void run_jobs(struct work *s, int jobs, issue_fn *issue, fold_fn *fold)
{
    int set = 0, tile = 0, job = 0;
    issue(s, 0, 0, s->c[0]);
    while (tile < s->n_tiles) {
        int next = job + 1 < jobs ? job + 1 : 0, next_tile = next ? tile : tile + 1;
        if (next_tile < s->n_tiles) issue(s, next_tile, next, s->c[set ^ 1]);
        fold(s, tile, job, s->c[set]);
        set ^= 1, tile = next_tile, job = next;
    }
}

INLINE __m512 int_row(const int32_t *c, int t)
{
    return _mm512_cvtepi32_ps(_mm512_load_si512(c + PANEL * t));
}

/* hi * 256 + lo; what overflows in the product comes back in the sum */
INLINE __m512i join(const int32_t *hi, const int32_t *lo, int t)
{
    return _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(hi + PANEL * t), 8), _mm512_load_si512(lo + PANEL * t));
}

/* A8/32: a job is a panel and four blocks. */
INLINE int quads(const struct work *s)
{
    return (s->blocks + 3) / 4;
}

INLINE void issue32(struct work *s, int tile, int job, int32_t (*c)[C])
{
    int i = job / quads(s), b = job % quads(s) * 4, left = s->blocks - b;
    const int8_t *a = act_line(s->x, s->t0 + ACT_TILE * tile, 4 * s->g + b / 2), *l = s->b[i][0] + 512 * b;
    amx_zero(0);
    amx_load(4, a, 64);
    amx_load(6, l, 64);
    amx_dpbssd(0, 4, 6);
    if (left > 1) {
        amx_zero(1);
        amx_load(5, a + 32, 64);
        amx_load(7, l + 512, 64);
        amx_dpbssd(1, 5, 7);
    }
    if (left > 2) {
        amx_zero(2);
        amx_load(4, a + 1024, 64);
        amx_load(6, l + 1024, 64);
        amx_dpbssd(2, 4, 6);
    }
    if (left > 3) {
        amx_zero(3);
        amx_load(5, a + 1056, 64);
        amx_load(7, l + 1536, 64);
        amx_dpbssd(3, 5, 7);
    }
    amx_store(0, c[0], 64);
    if (left > 1) amx_store(1, c[1], 64);
    if (left > 2) amx_store(2, c[2], 64);
    if (left > 3) amx_store(3, c[3], 64);
}

INLINE void fold32(struct work *s, int tile, int job, int32_t (*c)[C], int has_m)
{
    int i = job / quads(s), b = job % quads(s) * 4, n = s->blocks - b < 4 ? s->blocks - b : 4;
    size_t at = act_at(s->x, s->x->groups, s->t0 + ACT_TILE * tile, 8 * s->g + b);
    const float *xd = s->x->d + at, *sd = s->x->sd + at;
    float *to = s->acc[tile][i][0];
    __m512 acc[ACT_TILE];
#pragma GCC unroll 16
    for (int t = 0; t < ACT_TILE; t++) acc[t] = _mm512_load_ps(to + PANEL * t);
    for (int q = 0; q < n; q++, xd += ACT_TILE, sd += ACT_TILE) {
        __m512 d = _mm512_load_ps(s->d[i][b + q]), m = has_m ? _mm512_load_ps(s->m[i][b + q]) : d;
#pragma GCC unroll 16
        for (int t = 0; t < ACT_TILE; t++) {
            acc[t] = _mm512_fmadd_ps(int_row(c[q], t), _mm512_mul_ps(d, _mm512_set1_ps(xd[t])), acc[t]);
            if (has_m) acc[t] = _mm512_fmadd_ps(m, _mm512_set1_ps(sd[t]), acc[t]);
        }
    }
#pragma GCC unroll 16
    for (int t = 0; t < ACT_TILE; t++) _mm512_store_ps(to + PANEL * t, acc[t]);
}

INLINE void fold32_d(struct work *s, int tile, int job, int32_t (*c)[C])
{
    fold32(s, tile, job, c, 0);
}

INLINE void fold32_dm(struct work *s, int tile, int job, int32_t (*c)[C])
{
    fold32(s, tile, job, c, 1);
}

/* A16_W8: a job is a panel and two blocks; C tiles hi, lo of the first, hi, lo of the second. */
INLINE int pairs_of(const struct work *s)
{
    return (s->blocks + 1) / 2;
}

INLINE void issue_q8_a16(struct work *s, int tile, int job, int32_t (*c)[C])
{
    int i = job / pairs_of(s), b = job % pairs_of(s) * 2;
    if (job == 0) planes_w8(s, tile);
    const int8_t *hi = s->a[0] + 512 * b, *lo = s->a[1] + 512 * b, *l = s->b[i][0] + 512 * b;
    amx_zero(0);
    amx_zero(1);
    amx_load(6, l, 64);
    amx_load(4, hi, 32);
    amx_dpbssd(0, 4, 6);
    amx_load(5, lo, 32);
    amx_dpbusd(1, 5, 6);
    if (b + 1 < s->blocks) {
        amx_zero(2);
        amx_zero(3);
        amx_load(7, l + 512, 64);
        amx_load(4, hi + 512, 32);
        amx_dpbssd(2, 4, 7);
        amx_load(5, lo + 512, 32);
        amx_dpbusd(3, 5, 7);
        amx_store(2, c[2], 64);
        amx_store(3, c[3], 64);
    }
    amx_store(0, c[0], 64);
    amx_store(1, c[1], 64);
}

INLINE void fold_q8_a16(struct work *s, int tile, int job, int32_t (*c)[C])
{
    int i = job / pairs_of(s), b = job % pairs_of(s) * 2, last = b + 2 >= s->blocks;
    const float *xd = s->x->d + act_at(s->x, s->x->groups, s->t0 + ACT_TILE * tile, s->g);
    __m512 d0 = _mm512_load_ps(s->d[i][b]), d1 = _mm512_load_ps(s->d[i][b | 1]);
    for (int t = 0; t < ACT_TILE; t++) {
        __m512 sum = b ? _mm512_load_ps(s->part[t]) : _mm512_setzero_ps();
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(join(c[0], c[1], t)), d0, sum);
        if (b + 1 < s->blocks) sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(join(c[2], c[3], t)), d1, sum);
        _mm512_store_ps(s->part[t], sum);
        if (!last) continue;
        float *to = s->acc[tile][i][t];
        _mm512_store_ps(to, _mm512_fmadd_ps(sum, _mm512_set1_ps(xd[t]), _mm512_load_ps(to)));
    }
}

/* K-quants: a job is two panels, which share A; C tiles hi, lo of the first, hi, lo of the second. */
enum planes { U8, S8, HI_LO }; /* one plane is the low one */

INLINE void issue256(struct work *s, int tile, int job, int32_t (*c)[C], enum planes planes)
{
    const int two_planes = planes == HI_LO;
    int i0 = 2 * job, i1 = i0 + 1 < s->n_panels ? i0 + 1 : i0;
    const int8_t *a = act_line(s->x, s->t0 + ACT_TILE * tile, 4 * s->g);
    amx_zero(0);
    amx_zero(2);
    if (two_planes) {
        amx_zero(1);
        amx_zero(3);
    }
    for (int k = 0; k < 512 * s->blocks; k += 1024) { /* 64 codes of 16 rows, and of 16 tokens */
        amx_load(4, a + k, 64);
        if (two_planes) {
            amx_load(5, s->b[i0][0] + k, 64);
            amx_dpbssd(0, 4, 5);
            amx_load(6, s->b[i0][1] + k, 64);
            amx_dpbsud(1, 4, 6);
            amx_load(7, s->b[i1][0] + k, 64);
            amx_dpbssd(2, 4, 7);
            amx_load(5, s->b[i1][1] + k, 64);
            amx_dpbsud(3, 4, 5);
        } else {
            amx_load(6, s->b[i0][1] + k, 64);
            amx_load(5, s->b[i1][1] + k, 64);
            if (planes == U8) {
                amx_dpbsud(0, 4, 6);
                amx_dpbsud(2, 4, 5);
            } else {
                amx_dpbssd(0, 4, 6);
                amx_dpbssd(2, 4, 5);
            }
        }
    }
    amx_store(0, c[0], 64);
    amx_store(2, c[2], 64);
    if (two_planes) {
        amx_store(1, c[1], 64);
        amx_store(3, c[3], 64);
    }
}

/* minus the sums of the codes of two neighbouring sub-blocks, as pairs of int16: [pair][token] */
INLINE void sum_pairs(struct work *s, int tile, int n_sub)
{
    const int32_t *ns = s->x->ns + act_at(s->x, s->x->sums, s->t0 + ACT_TILE * tile, 16 * s->g);
    for (int j = 0; j < n_sub / 2; j++, ns += 32 / n_sub * ACT_TILE) {
        __m512i x = _mm512_load_si512(ns), y = _mm512_load_si512(ns + ACT_TILE);
        if (n_sub == 8) {
            x = _mm512_add_epi32(x, y);
            y = _mm512_add_epi32(_mm512_load_si512(ns + 2 * ACT_TILE), _mm512_load_si512(ns + 3 * ACT_TILE));
        }
        _mm512_store_si512(s->sum[j], pair16(x, y));
    }
}

/* n_min: sub-blocks with a min, 0 if the type has none */
INLINE void fold256(struct work *s, int tile, int job, int32_t (*c)[C], int two_planes, int n_min)
{
    const float *xd = s->x->d + act_at(s->x, s->x->groups, s->t0 + ACT_TILE * tile, s->g);
    if (n_min && job == 0) sum_pairs(s, tile, n_min);
    for (int i = 2 * job; i < 2 * job + 2 && i < s->n_panels; i++, c += 2) {
        __m512 d = _mm512_load_ps(s->d[i][0]), m = n_min ? _mm512_load_ps(s->m[i][0]) : d;
        for (int t = 0; t < ACT_TILE; t++) {
            __m512 by = _mm512_set1_ps(xd[t]), acc = _mm512_load_ps(s->acc[tile][i][t]);
            __m512i v = two_planes ? join(c[0], c[1], t) : _mm512_load_si512(c[0] + PANEL * t);
            acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(v), _mm512_mul_ps(d, by), acc);
            if (n_min) {
                __m512i nj = _mm512_setzero_si512(); /* minus J */
#pragma GCC unroll 8
                for (int j = 0; j < n_min / 2; j++)
                    nj = _mm512_dpwssd_epi32(nj, _mm512_load_si512(s->min[i][j]), _mm512_set1_epi32(s->sum[j][t]));
                acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(nj), _mm512_mul_ps(m, by), acc);
            }
            _mm512_store_ps(s->acc[tile][i][t], acc);
        }
    }
}

#define K256(name, planes, n_min)                                                                        \
    INLINE void issue_##name(struct work *s, int tile, int job, int32_t (*c)[C])                             \
    {                                                                                                        \
        issue256(s, tile, job, c, planes);                                                                   \
    }                                                                                                        \
    INLINE void fold_##name(struct work *s, int tile, int job, int32_t (*c)[C])                              \
    {                                                                                                        \
        fold256(s, tile, job, c, planes == HI_LO, n_min);                                                    \
    }
K256(q2_k, U8, 16)
K256(q45_k, HI_LO, 8)
K256(no_min, HI_LO, 0)
K256(n4, S8, 0)

/* W16: a job is a panel; C tiles hi hi, hi lo, lo hi, lo lo (activation, weight). */
INLINE void issue_w16(struct work *s, int tile, int job, int32_t (*c)[C])
{
    if (job == 0) planes_w16(s, tile);
    amx_zero(0);
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
    for (int k = 0; k < 512 * s->blocks; k += 1024) {
        amx_load(4, s->a[0] + k, 64);
        amx_load(6, s->b[job][0] + k, 64);
        amx_dpbssd(0, 4, 6);
        amx_load(7, s->b[job][1] + k, 64);
        amx_dpbsud(1, 4, 7);
        amx_load(5, s->a[1] + k, 64);
        amx_dpbusd(2, 5, 6);
        amx_dpbuud(3, 5, 7);
    }
    amx_store(0, c[0], 64);
    amx_store(1, c[1], 64);
    amx_store(2, c[2], 64);
    amx_store(3, c[3], 64);
}

INLINE void fold_w16(struct work *s, int tile, int job, int32_t (*c)[C])
{
    const float *xd = s->x->d + act_at(s->x, s->x->groups, s->t0 + ACT_TILE * tile, s->g);
    __m512 d = _mm512_load_ps(s->d[job][0]);
    for (int t = 0; t < ACT_TILE; t++) {
        float *to = s->acc[tile][job][t];
        __m512 hi = _mm512_cvtepi32_ps(join(c[0], c[1], t)), lo = _mm512_cvtepi32_ps(join(c[2], c[3], t));
        __m512 sum = _mm512_fmadd_ps(hi, _mm512_set1_ps(256.0f), lo), dd = _mm512_mul_ps(d, _mm512_set1_ps(xd[t]));
        _mm512_store_ps(to, _mm512_fmadd_ps(sum, dd, _mm512_load_ps(to)));
    }
}

/* --- the product --------------------------------------------------------------------------------------------- */

/* One group of k, for the panels and tiles of s. */
static void group_products(struct work *s)
{
    const struct mat *w = s->w;
    enum act_tier tier = s->x->tier;
    for (int i = 0; i < s->n_panels; i++) {
        switch (tier) {
        case ACT_A8_32: lines32(s, i); break;
        case ACT_A8_256: lines256(s, i); break;
        case ACT_A16_W8: lines_q8_a16(s, i); break;
        default: lines_w16(s, i);
        }
    }
    int pairs = (s->n_panels + 1) / 2;
    switch (tier) {
    case ACT_A8_32:
        if (w->lay->m)
            run_jobs(s, s->n_panels * quads(s), issue32, fold32_dm);
        else
            run_jobs(s, s->n_panels * quads(s), issue32, fold32_d);
        break;
    case ACT_A8_256:
        if (w->type == DTYPE_N4)
            run_jobs(s, pairs, issue_n4, fold_n4);
        else if (!w->lay->m)
            run_jobs(s, pairs, issue_no_min, fold_no_min);
        else if (w->type == DTYPE_Q2_K)
            run_jobs(s, pairs, issue_q2_k, fold_q2_k);
        else
            run_jobs(s, pairs, issue_q45_k, fold_q45_k);
        break;
    case ACT_A16_W8: run_jobs(s, s->n_panels * pairs_of(s), issue_q8_a16, fold_q8_a16); break;
    default: run_jobs(s, s->n_panels, issue_w16, fold_w16);
    }
}

/* y += acc; the first segment adds to +0. n_tok: tokens of the tiles */
static void close_segment(struct work *s, float *y, size_t stride, int n_tok, int first)
{
    for (int t = 0; t < n_tok; t++) {
        for (int i = 0; i < s->n_panels; i++) {
            float *acc = s->acc[t / ACT_TILE][i][t % ACT_TILE],
                  *out = y + (size_t)(s->t0 + t) * stride + (s->p + i) * PANEL;
            __m512 tot = first ? _mm512_setzero_ps() : _mm512_loadu_ps(out);
            _mm512_storeu_ps(out, _mm512_add_ps(tot, _mm512_load_ps(acc)));
        }
    }
}

static void panels(struct work *s, float *y, size_t stride, int n_tok)
{
    int blocks = s->w->k / 32, groups = (blocks + 7) / 8;
    for (s->g = 0; s->g < groups; s->g++) {
        if (s->g % (SEGMENT / GROUP) == 0) memset(s->acc, 0, (size_t)s->n_tiles * sizeof *s->acc);
        s->blocks = blocks - 8 * s->g < 8 ? blocks - 8 * s->g : 8;
        group_products(s);
        if ((s->g + 1) % (SEGMENT / GROUP) == 0 || s->g + 1 == groups)
            close_segment(s, y, stride, n_tok, s->g < SEGMENT / GROUP);
    }
}

/* Tiles 0..3 are C, 4 and 5 A, 6 and 7 B; at K = 64 all have one shape. */
static void configure(enum act_tier tier)
{
    struct amx_config cfg = {.palette = 1};
    int k = tier == ACT_A8_32 || tier == ACT_A16_W8 ? 32 : 64;
    for (int t = 0; t < AMX_TILES; t++) {
        cfg.rows[t] = (uint8_t)(t < 6 ? 16 : k / 4);
        cfg.colsb[t] = (uint16_t)(t == 4 || t == 5 ? k : 64);
    }
    amx_configure(&cfg);
}

void matmul_amx(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x, int t0, int n_tok)
{
    if (w->type == DTYPE_NVFP4) { /* two scales a 32-block: half a tile deep */
        matmul_avx512(y, stride, w, p0, p1, x, t0, n_tok);
        return;
    }
    /* tokens for tiles: the first n */
    int tail = n_tok % ACT_TILE < MIN_TOKENS ? n_tok % ACT_TILE : 0, n = n_tok - tail;
    int tiles = (n + ACT_TILE - 1) / ACT_TILE, rounds = (tiles + TILES - 1) / TILES;
    if (p0 < p1 && n > 0) {
        struct work s;
        configure(x->tier);
        s.w = w, s.x = x;
        for (int at = 0, r = 0; r < rounds; r++, at += s.n_tiles) {
            s.n_tiles = (tiles - at) / (rounds - r); /* rounds of equal length */
            s.t0 = t0 + ACT_TILE * at;
            int left = n - ACT_TILE * at, n_here = left < ACT_TILE * s.n_tiles ? left : ACT_TILE * s.n_tiles;
            for (s.p = p0; s.p < p1; s.p += s.n_panels) {
                s.n_panels = p1 - s.p < PANELS ? p1 - s.p : PANELS;
                panels(&s, y, stride, n_here);
            }
        }
        amx_release();
    }
    if (tail) matmul_avx512(y, stride, w, p0, p1, x, t0 + n, tail);
}
