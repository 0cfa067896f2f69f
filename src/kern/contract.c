/* SPDX-License-Identifier: Apache-2.0 */
/* See contract.h. */
#include "kern/contract.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "kern/attn.h"
#include "kern/rope.h"

const char contract_text[] = "NC1\n"
#define ARITH_CONST(name, bits, what) "CONST " #name " " #bits "\n"
#define ARITH_INT(name, value, what) "INT " #name " " #value "\n"
#define ARITH_TIER(type, role, tier) "TIER " #type " " #role " " #tier "\n"
#define ARITH_RULE(name, version, what) "RULE " #name " " #version "\n"
#include "kern/arith.def"
    ;

/* contract_selftest of the reference. A contract with other bits has another value: take it from the test's message. */
#define GOLDEN UINT64_C(0xc2aef3b9d7974427)

enum {
    K = 512,
    N = 32,
    TOKENS = 3,
    MAT_TOKENS = 19,
    D = 32,
    EXTRA = 16,
    KEYS = 40,
    MAT_BYTES = 64 * 1024,
    ACT_BYTES = 72 * 1024,
    PAGE_BYTES = 32 * 1024
};

struct state {
    uint64_t rng, hash;
    _Alignas(64) uint8_t rows[PANEL][K * 4];
    _Alignas(64) uint8_t mat[MAT_BYTES];
    _Alignas(64) uint8_t act[ACT_BYTES];
    _Alignas(64) char page[PAGE_BYTES];
    _Alignas(64) char parts[3 * ATTN_ROWS * (sizeof(struct attn_part) + D * sizeof(float))];
    struct attn_q q;
    float x[K], y[MAT_TOKENS][N]; /* a full tile of tokens, for kernels that want one, and a rest */
    uint64_t w[K];
};

static uint32_t draw_from(uint64_t *rng)
{
    *rng = *rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*rng >> 32);
}

static uint32_t draw(struct state *s)
{
    return draw_from(&s->rng);
}

static void fill(struct state *s, float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = (float)(int32_t)draw(s) * pow2f((int)(draw(s) % 6) - 31);
}

static void add(struct state *s, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) s->hash = (s->hash ^ b[i]) * 0x100000001b3u;
}

/* Where a block has its fp16 scale; of IQ1_M the upper four bits. */
static size_t scale_at(enum dtype type)
{
    switch (type) {
    case DTYPE_Q6_K: return 208;
    case DTYPE_Q3_K: return 108;
    case DTYPE_Q2_K: return 80;
    case DTYPE_TQ2_0: return 64;
    case DTYPE_IQ1_M: return 54;
    case DTYPE_TQ1_0: return 52;
    default: return 0;
    }
}

void contract_row(uint64_t *rng, enum dtype type, uint8_t *row, int n)
{
    const struct dtype_info *info = dtype_info(type);
    if (info->block == 1) { /* floats of modest size in every format: the exponent's top bits fixed */
        for (int i = 0; i < n; i++) {
            float v = (float)(int32_t)draw_from(rng) * 0x1p-33f;
            uint16_t h = type == DTYPE_F16 ? f16_from_f32(v) : (uint16_t)(f32_bits(v) >> 16);
            memcpy(row + (type == DTYPE_F32 ? 4 : 2) * i, type == DTYPE_F32 ? (void *)&v : (void *)&h,
                   type == DTYPE_F32 ? 4 : 2);
        }
        return;
    }
    for (uint64_t i = 0, bytes = dtype_row_bytes(type, (uint64_t)n); type == DTYPE_N4 && i < bytes; i++)
        row[i] = (uint8_t)draw_from(rng);
    for (int g = 0; type == DTYPE_N4 && g < n; g += N4_GROUP) {
        uint8_t *high = &row[g / N4_GROUP * N4_GROUP_BYTES + 1];
        *high = (uint8_t)(0x20 | (*high & 0x83));
    }
    for (uint32_t b = 0; type != DTYPE_N4 && b < (uint32_t)n / info->block; b++) {
        uint8_t *o = row + b * info->bytes;
        for (uint32_t i = 0; i < info->bytes; i++) o[i] = (uint8_t)draw_from(rng);
        if (type == DTYPE_NVFP4) continue; /* every byte is a scale */
        if (type == DTYPE_MXFP4) {
            o[0] = (uint8_t)(120 + o[0] % 8);
            continue;
        }
        size_t at = scale_at(type);
        o[at + 1] = (uint8_t)(0x20 | (o[at + 1] & 0x83)); /* fp16 scale of about 2^-7 */
        if (type == DTYPE_IQ1_S || type == DTYPE_IQ1_M || type == DTYPE_IQ4_XS) continue;
        if (info->bytes % 4 == 0 && at + 3 < info->bytes) o[at + 3] = (uint8_t)(0x20 | (o[at + 3] & 0x83));
    }
}

static void test_matmul(struct state *s, const struct kern *k, enum dtype type, enum mat_role role)
{
    struct mat m;
    struct act a;
    const int k_len = type == DTYPE_N4 ? K - 96 : K; /* a last group of five blocks */
    must(mat_init(&m, type, N, k_len, NULL) == 0 && mat_bytes(&m) <= sizeof s->mat);
    must(act_bytes(mat_tier(type, role), k_len, MAT_TOKENS) <= sizeof s->act);
    m.data = s->mat;
    for (int p = 0; p < m.n_panels; p++) {
        for (int r = 0; r < PANEL; r++) contract_row(&s->rng, type, s->rows[r], type == DTYPE_N4 ? k_len : K);
        must(mat_pack(&m, p, s->rows[0], sizeof s->rows[0], NULL) == 0);
    }
    act_init(&a, mat_tier(type, role), k_len, MAT_TOKENS, s->act);
    for (int t = 0; t < MAT_TOKENS; t++) {
        fill(s, s->x, K);
        must(k->elem->quant(&a, t, s->x) == 0);
    }
    k->matmul(&s->y[0][0], N, &m, 0, m.n_panels, &a, 0, MAT_TOKENS);
    add(s, s->y, sizeof s->y);
}

static void test_elem(struct state *s, const struct kern *k)
{
    float g[K], cs[K];
    fill(s, s->x, K), fill(s, g, K), fill(s, cs, K);
    float z[K];
    k->elem->weights(s->w, s->x, K, s->x[0], 0.7f), add(s, s->w, sizeof s->w);
    for (int i = GATE_SILU; i <= GATE_CLAMPED; i++)
        k->elem->gate(z, s->x, g, K, (enum gate_kind)i), add(s, z, sizeof z);
    k->elem->cap(z, 3.0f, K), add(s, z, sizeof z);
    k->elem->axpy(z, s->x[2], g, K), add(s, z, sizeof z);
    k->elem->add(z, g, K), add(s, z, sizeof z);
    k->elem->norm(z, s->x, g, K, 1e-5f), add(s, z, sizeof z);
    k->elem->scale(z, s->x[1], K), add(s, z, sizeof z);
    k->elem->rope(z, cs, 8, K / 8, K / 16, 0), add(s, z, sizeof z);
    k->elem->rope(z, cs, 8, K / 8, K / 16, 1), add(s, z, sizeof z);
    uint64_t step[D / 2];
    struct rope r;
    struct rope_config cfg = rope_config_default(D, 10000.0f);
    must(rope_init(&r, &cfg, step, NULL) == 0);
    rope_angles(&r, 123456, z, z + D / 2), add(s, z, D * sizeof *z);
}

static void test_attn(struct state *s, const struct attn_kern *k, enum kv_type type)
{
    struct kv_view view;
    const float *rows[TOKENS];
    float *out[TOKENS], store[TOKENS][D];
    int64_t first[TOKENS] = {0}, last[TOKENS];
    int32_t status[TOKENS];
    void *pages[1] = {s->page};
    must(kv_view_bytes(type, D, 0) <= sizeof s->page && attn_rows_scratch(D) <= sizeof s->parts);
    kv_view_init(&view, s->page, type, D, 0);
    for (int i = 0; i < KEYS; i++) {
        fill(s, s->x, 2 * D);
        k->hadamard(s->x, D);
        must(k->store(&view, type, D, i, s->x, s->x + D) == 0);
    }
    fill(s, s->x, TOKENS * D);
    for (int t = 0; t < TOKENS; t++) rows[t] = s->x + t * D, out[t] = store[t], last[t] = KEYS - 1 - 9 * t;
    k->quant_q(&s->q, type, D, TOKENS, rows, 0.01f);
    attn_rows(k, &s->q, pages, 0, 0, first, last, NULL, out, status, s->parts);
    add(s, store, sizeof store), add(s, status, sizeof status);
    static const float sink[TOKENS] = {0.5f, -2.0f, 3.0f};
    float heat[TOKENS];
    for (int t = 0; t < TOKENS; t++) first[t] = last[t] - 17, heat[t] = attn_heat(30, last[t]);
    attn_set_cap(&s->q, 1.5f, heat); /* with a window, a cap and sinks */
    attn_rows(k, &s->q, pages, 0, 0, first, last, sink, out, status, s->parts);
    add(s, store, sizeof store);
}

/* Latent attention: keys and queries with dimensions of their own, values are keys. */
static void test_latent(struct state *s, const struct attn_kern *k, enum kv_type type)
{
    struct kv_view view;
    const float *rows[TOKENS], *extra[TOKENS];
    float *out[TOKENS], store[TOKENS][D];
    int64_t first[TOKENS] = {0}, last[TOKENS];
    int32_t status[TOKENS];
    void *pages[1] = {s->page};
    must(kv_view_bytes(type, D, EXTRA) <= sizeof s->page);
    kv_view_init(&view, s->page, type, D, EXTRA);
    for (int i = 0; i < KEYS; i++) {
        fill(s, s->x, D + EXTRA);
        must(attn_store_extra(&view, type, EXTRA, i, s->x + D) == 0 && k->store(&view, type, D, i, s->x, s->x) == 0);
    }
    fill(s, s->x, TOKENS * (D + EXTRA));
    for (int t = 0; t < TOKENS; t++)
        rows[t] = s->x + t * D, extra[t] = s->x + TOKENS * D + t * EXTRA, out[t] = store[t],
        last[t] = KEYS - 1 - 9 * t;
    k->quant_q(&s->q, type, D, TOKENS, rows, 0.01f);
    attn_quant_extra(&s->q, EXTRA, extra, 0.01f);
    attn_rows(k, &s->q, pages, 0, 0, first, last, NULL, out, status, s->parts);
    add(s, store, sizeof store), add(s, status, sizeof status);
}

uint64_t contract_selftest(const struct kern *k)
{
    static const enum dtype types[] = {DTYPE_Q4_0,   DTYPE_Q4_1,  DTYPE_Q5_0,    DTYPE_Q5_1,  DTYPE_Q8_0,
                                       DTYPE_IQ4_NL, DTYPE_MXFP4, DTYPE_Q2_K,    DTYPE_Q3_K,  DTYPE_Q4_K,
                                       DTYPE_Q5_K,   DTYPE_Q6_K,  DTYPE_IQ4_XS,  DTYPE_N4,    DTYPE_F32,
                                       DTYPE_F16,    DTYPE_BF16,  DTYPE_Q1_0,    DTYPE_Q2_0,  DTYPE_TQ1_0,
                                       DTYPE_TQ2_0,  DTYPE_NVFP4, DTYPE_IQ1_S,   DTYPE_IQ1_M, DTYPE_IQ2_XXS,
                                       DTYPE_IQ2_XS, DTYPE_IQ2_S, DTYPE_IQ3_XXS, DTYPE_IQ3_S};
    struct state *s = &(struct state){.rng = 1, .hash = 0xcbf29ce484222325u};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) test_matmul(s, k, types[i], MAT_BODY);
    test_matmul(s, k, DTYPE_Q8_0, MAT_HEAD);
    test_elem(s, k);
    test_attn(s, k->attn, KV16);
    test_attn(s, k->attn, KV8);
    test_latent(s, k->attn, KV16);
    test_latent(s, k->attn, KV8);
    return s->hash;
}

int contract_check(const struct kern *k, struct err *e)
{
    uint64_t h = contract_selftest(k);
    if (h == GOLDEN) return 0;
    return err(e, ERR_MISMATCH,
               "self-test: kernels '%s' give %016" PRIx64 ", the contract is %016" PRIx64
               "; use another set (--isa) and report this",
               k->name, h, GOLDEN);
}

const struct kern *contract_select(const char *isa, const struct kern **refused, struct err *e)
{
    const char *env = getenv("TUTTI_ISA");
    *refused = NULL;
    if (isa || (env && *env)) {
        const struct kern *k = kern_select(isa, e);
        return k && contract_check(k, e) == 0 ? k : NULL;
    }
    for (int i = kern_count() - 1; i >= 0; i--) {
        if (!kern_usable(i)) continue;
        if (contract_check(kern_at(i), e) == 0) return kern_at(i);
        if (!*refused) *refused = kern_at(i);
    }
    return NULL;
}
