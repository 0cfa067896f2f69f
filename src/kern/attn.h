/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn.h: integer attention over pages of 128 positions (NC1, numerics 3.8 and 3.9).
 *
 * Q, K, P and V are integers with one fp32 scale per vector, so the sums of Q*K, of P*V and of the
 * softmax denominator are exact and free of order. Floats meet only element by element and in merges
 * of written order: chunks of 128 absolute positions ascending inside super-chunks of 2048, then the
 * super-chunks ascending. A chunk never sees another one, so any number of workers may compute chunks
 * ahead of the merge and decode gives the bits of prefill.
 *
 * A page is one chunk of one (layer, kv head). Codes lie as the dot instructions want them: a group of
 * 16 keys (K) or 16 dimensions (V) times 4 bytes of reduction is one 64-byte line.
 *
 *        KV16  k  [128/16 groups][D/2][16 keys][2 d]  int16      v  [128/2 pairs][D][2 keys]  int16
 *        KV8   k  [128/16 groups][D/4][16 keys][4 d]  int8       v  [128/4 quads][D][4 keys]  int8
 *
 * KV16: one line = one operand of vpdpwssd or two of vpmaddwd; vld2q splits it for NEON's smlal; an AMX
 * kernel splits it into byte planes once per chunk. KV8: one line = one operand of vpdpbusd, a row of an
 * AMX B tile, four of NEON's sdot; words for vpdpwssd come from it by two shifts.
 *
 * 16-bit codes times 16-bit codes exceed int32, so the side of the query (q, or P) is split into
 * hi = v >> 8 and lo = v & 255. HI = sum code*hi and LO = sum code*lo are exact, and
 * fma(float(HI), 256, float(LO)) stands for the sum. Q*K of more than KV16_SLICE dimensions is the float sum
 * of slices of so many, ascending.
 *
 * Latent attention (DeepSeek): keys have `extra` dimensions beyond those of the values, with a scale of their
 * own, in a second plane of the page: kr, dkr. The score is fma(float(sum of the extra), fl(dqs2 * dkr),
 * fl(sum * fl(dqs * dk))).
 */
#ifndef TUTTI_KERN_ATTN_H
#define TUTTI_KERN_ATTN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kern/arith.h"

#define ATTN_CHUNK ARITH_ATTN_CHUNK  /* positions of a chunk and of a page */
#define ATTN_SUPER ARITH_ATTN_SUPER /* positions of a super-chunk */
#define ATTN_ROWS 16    /* query rows of a tile, at most */
#define ATTN_D_STEP 16  /* head sizes are multiples of this */
#define KV16_SLICE ARITH_KV16_SLICE /* 32767 * 255 * 256 < 2^31 */
#define KV_D_MAX 512    /* 32767 * 127 * 512 < 2^31 */
#define KV_EXTRA_MAX 128

enum kv_type { KV16, KV8 };

/* One page: where its parts lie. dk, dv: scales of the 128 keys and values; pm[j]: the maximum of dv[0..j].
 */
struct kv_view {
    void *k, *v;
    float *dk, *dv, *pm;
    void *kr;   /* the extra dimensions of the keys, and their scales; NULL: none */
    float *dkr;
};

/* What will be read after the keys and values at hand. A kernel takes as many bytes as it computes on and
 * prefetches them, so that memory is read at a constant distance ahead, over the borders of pages and tiles.
 */
struct attn_ahead {
    const char *p;                       /* of this span, what is still to be taken */
    size_t bytes;
    bool (*more)(struct attn_ahead *a);  /* sets the next span; false if there is none */
};

/* The next address; what of `bytes` lies in later spans is prefetched at once. NULL if nothing is left. */
const char *attn_ahead_take(struct attn_ahead *a, size_t bytes);
/* Prefetches them at once. */
void attn_ahead_fetch(struct attn_ahead *a, size_t bytes);

/* Whether a cache can hold heads of size D, and so many dimensions of keys beyond. All functions below require it. */
int kv_supports(int D, int extra);

/* Bytes of a page's keys, and of its values. */
#define ATTN_CODE_BYTES(type, D) ((size_t)ATTN_CHUNK * (size_t)(D) * ((type) == KV16 ? 2 : 1))

/* Bytes of a page, a multiple of 64; kv_view_init needs base aligned to 64. */
size_t kv_view_bytes(enum kv_type type, int D, int extra);
void kv_view_init(struct kv_view *view, void *base, enum kv_type type, int D, int extra);

/* Prefetches the lines to which `store` writes. */
void attn_slot_fetch(const struct kv_view *view, enum kv_type type, int D, int slot);

/* A tile of query rows of one kv head: any mix of its query heads and of tokens of one session.
 * KV16: a = hi plane, b = lo plane, row r at r*D. KV8: a = codes, of each four the order 0 2 1 3. */
struct attn_q {
    int n, D, extra;
    enum kv_type type;
    float dqs[ATTN_ROWS];   /* scale of the row times the score scale */
    int32_t err[ATTN_ROWS]; /* 0 or ERR_RANGE */
    float cap;              /* > 0: scores s become top * tanh(s / cap). quant_q sets 0 */
    float top[ATTN_ROWS];   /* of the row, with cap: see attn_set_cap */
    struct attn_ahead *ahead; /* or NULL, as quant_q sets it */
    _Alignas(64) int16_t a[ATTN_ROWS * KV_D_MAX];
    _Alignas(64) int16_t b[ATTN_ROWS * KV_D_MAX];
    float dqs2[ATTN_ROWS];  /* the same of the extra dimensions */
    _Alignas(64) int16_t a2[ATTN_ROWS * KV_EXTRA_MAX];
    _Alignas(64) int16_t b2[ATTN_ROWS * KV_EXTRA_MAX];
};

enum { ATTN_EMPTY = 1 }; /* status of a part or state without a visible key */

/* What one row got from one chunk. Rows of a tile follow one another, attn_part_bytes(D) apart. */
struct attn_part {
    float m;        /* largest score */
    float l;        /* sum of rne(p * 2^23) */
    float sv;       /* scale of u */
    int32_t status; /* 0, ATTN_EMPTY (u is not written) or ERR_RANGE */
    int32_t pad[12];
    float u[]; /* [D] sum of P*V */
};

/* A row's merge of chunks (within a super-chunk) or of super-chunks (the total). */
struct attn_state {
    float m, l;
    int32_t status; /* 0, ATTN_EMPTY or ERR_RANGE (sticky) */
    int32_t pad[13];
    float o[]; /* [D] */
};

static inline size_t attn_part_bytes(int D)
{
    return sizeof(struct attn_part) + (size_t)D * sizeof(float);
}

static inline struct attn_part *attn_part_at(void *parts, int D, int r)
{
    return (struct attn_part *)(void *)((char *)parts + (size_t)r * attn_part_bytes(D));
}

static inline struct attn_state *attn_state_at(void *states, int D, int r)
{
    return (struct attn_state *)(void *)((char *)states + (size_t)r * attn_part_bytes(D));
}

/* The operations, one table per instruction set. All give the same bits. */
struct attn_kern {
    const char *name;
    /* Quantises k[D] (after RoPE) and v[D] into slot = position % 128, in ascending order of positions from
     * the page's first one. 0, or ERR_RANGE (a magnitude of 2^60 or more, infinity, NaN) with nothing
     * written. */
    int (*store)(const struct kv_view *view, enum kv_type type, int D, int slot, const float *k,
                 const float *v);
    /* Fills a tile: rows[r] -> D floats, after RoPE; n = 1..ATTN_ROWS; scale = 1/sqrt(D) or the model's.
     * extra becomes 0. */
    void (*quant_q)(struct attn_q *q, enum kv_type type, int D, int n, const float *const *rows, float scale);
    /* Walsh-Hadamard transform in place, unnormalised (x twice over is D*x); D a power of two, at least 16.
     * To rotate a cache, apply it to q and k after RoPE and put 1/D into the score scale. */
    void (*hadamard)(float *x, int D);
    /* One chunk for all rows of q: row r sees the keys lo[r]..hi[r] of the page (none if hi < lo). Page
     * memory of other keys may hold any codes. parts: q->n parts, aligned to 64. */
    void (*chunk)(const struct kv_view *view, const struct attn_q *q, const int *lo, const int *hi,
                  void *parts);
    /* Chunks ascending, each super-chunk from a state set by attn_state_init. */
    void (*merge_chunk)(struct attn_state *state, const struct attn_part *part, int D);
    /* Super-chunks ascending. */
    void (*merge_super)(struct attn_state *total, const struct attn_state *state, int D);
    /* out[D]. 0 or ERR_RANGE; out is zero then, and where no key was visible. */
    int (*finish)(float *out, const struct attn_state *total, int D);
};

extern const struct attn_kern attn_kern_ref;
extern const struct attn_kern attn_kern_avx2;
extern const struct attn_kern attn_kern_avx512; /* with VNNI */
extern const struct attn_kern attn_kern_neon;

/* The extra dimensions, whatever the instruction set: of a key, before `store`; of the queries, after `quant_q`. */
int attn_store_extra(const struct kv_view *view, enum kv_type type, int extra, int slot, const float *k);
void attn_quant_extra(struct attn_q *q, int extra, const float *const *rows, float scale);

/* By what scores of a query at position pos grow: fl(log(pos) / log(warm)) after position warm >= 2, else 1. */
float attn_heat(int warm, int64_t pos);

/* After quant_q and attn_quant_extra: row r's scores become fl(top * tanh(fl(s / cap))), top = fl(cap *
 * heat[r]), or cap if heat is NULL. cap 0: heat goes into the scale of the row. */
void attn_set_cap(struct attn_q *q, float cap, const float *heat);

void attn_state_init(struct attn_state *state, int D);

/* One more score that has no value: it only takes weight from the others. After the last merge_super, before finish. */
void attn_sink(struct attn_state *total, float sink, int D);

/* A whole tile over all its chunks. Row r sees the absolute positions first[r]..last[r] (none if last <
 * first); sink[r]: its attn_sink, or sink = NULL; pages[c - page0] + offset is the page of chunk c. out[r] ->
 * D floats; status[r]: 0 or ERR_RANGE. scratch: attn_rows_scratch(D) bytes, aligned to 64. */
size_t attn_rows_scratch(int D);
void attn_rows(const struct attn_kern *kern, const struct attn_q *q, void *const *pages, int64_t page0,
               size_t offset, const int64_t *first, const int64_t *last, const float *sink, float *const *out,
               int32_t *status, void *scratch);

#endif
