/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkkern: compares every kernel of every instruction set that this machine can run with the scalar reference, by
 * memcmp, over sizes, tails, alignments and extreme values, and prints one hash over the reference's outputs. Every
 * machine must print the same hash.
 *
 *   checkkern [--isa NAME] [--seed N] [--kern SUBSTRING] [--bench] [--all]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "kern/kern.h"
#include "kern/num.h"

static uint64_t rng_state;
static long n_case, n_bad;
static uint64_t hash = 0xcbf29ce484222325u;
static const char *only_kern = "", *only_isa;
static int all;

static uint64_t rnd(void) /* splitmix64 */
{
    uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static float uniform(void)
{
    return (float)(int32_t)(rnd() >> 32) * 0x1p-31f;
}

static void add_hash(const void *p, size_t n) /* FNV-1a over 8-byte words and the tail */
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = 0;
        memcpy(&v, b + i, n - i < 8 ? n - i : 8);
        hash = (hash ^ v) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
}

static void *alloc64(size_t n)
{
    n = (n + 127) & ~(size_t)63;
    void *p = aligned_alloc(64, n);
    if (!p) abort();
    return memset(p, 0, n);
}

static float *floats(int n)
{
    return alloc64((size_t)n * sizeof(float));
}

static void compare(const char *kern, const char *isa, const char *what, const void *want, const void *got, size_t n)
{
    n_case++;
    if (memcmp(want, got, n) == 0) return;
    size_t i = 0;
    while (((const uint8_t *)want)[i] == ((const uint8_t *)got)[i]) i++;
    if (n_bad++ < 20) printf("DIFFERENT %s %s %s: first at byte %zu of %zu\n", kern, isa, what, i, n);
}

enum fill { FILL_NORMAL, FILL_OUTLIER, FILL_EXTREME, FILL_TINY, FILL_ZERO, FILL_MIXED, FILL_BAD, N_FILL };
static const char *fill_name[] = {"normal", "outlier", "extreme", "tiny", "zero", "mixed", "bad"};

static void fill_row(float *x, int n, enum fill f)
{
    static const uint32_t bad[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x5d800000, 0x7f7fffff};
    for (int i = 0; i < n; i++) {
        float u = uniform();
        switch (f) {
        case FILL_NORMAL: x[i] = u + uniform() + uniform(); break;
        case FILL_OUTLIER: x[i] = rnd() % 97 ? u : 300 * u; break;
        case FILL_EXTREME: x[i] = rnd() & 1 ? 0x1.8p59f : -0x1.8p59f; break;
        case FILL_TINY: x[i] = u * 0x1p-58f; break;
        case FILL_ZERO: x[i] = rnd() & 1 ? 0.0f : -0.0f; break;
        case FILL_BAD: x[i] = rnd() % 41 ? u : f32_from_bits(bad[rnd() % 6]); break;
        default: x[i] = u * pow2f((int)(rnd() % 100) - 50);
        }
    }
}

/* A row of blocks in the file's format: random codes, scales of every sensible size; extreme: bytes 00, ff and 80. */
static void fill_weights(uint8_t *p, enum dtype type, int64_t k, int extreme)
{
    const struct dtype_info *info = dtype_info(type);
    if (type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16) {
        for (int64_t i = 0; i < k; i++) {
            float x = extreme ? (rnd() & 1 ? 1.0f : -1.0f) : uniform() * (rnd() % 61 ? 0.1f : 3.0f);
            uint16_t h = type == DTYPE_F16 ? f16_from_f32(x) : bf16_from_f32(x);
            if (type == DTYPE_F32)
                memcpy(p + 4 * i, &x, 4);
            else
                memcpy(p + 2 * i, &h, 2);
        }
        return;
    }
    for (int64_t b = 0; b < k / info->block; b++, p += info->bytes) {
        uint8_t byte = rnd() & 1 ? 0x00 : rnd() & 1 ? 0xff : 0x80;
        for (uint32_t i = 0; i < info->bytes; i++) p[i] = extreme ? byte : (uint8_t)rnd();
        uint16_t d = f16_from_f32(uniform() * (rnd() % 13 ? 0.02f : 2.0f)), m = f16_from_f32(uniform() * 0.1f);
        size_t at = type == DTYPE_Q6_K ? 208 : type == DTYPE_Q3_K ? 108 : type == DTYPE_Q2_K ? 80 : 0;
        if (type == DTYPE_MXFP4) {
            p[0] = (uint8_t)(95 + rnd() % 60);
            continue;
        }
        memcpy(p + at, &d, 2);
        if (type == DTYPE_Q4_1 || type == DTYPE_Q5_1 || type == DTYPE_Q4_K || type == DTYPE_Q5_K) memcpy(p + 2, &m, 2);
        if (type == DTYPE_Q2_K) memcpy(p + 82, &m, 2);
    }
}

static void make_mat(struct mat *m, enum dtype type, int n, int k, int extreme)
{
    struct err e;
    if (mat_init(m, type, n, k, &e)) printf("%s\n", e.msg), exit(1);
    size_t row = dtype_row_bytes(type, (uint64_t)k);
    uint8_t *rows = alloc64(row * PANEL);
    m->data = alloc64(mat_bytes(m));
    for (int p = 0; p < m->n_panels; p++) {
        for (int r = 0; r < PANEL; r++) fill_weights(rows + row * (size_t)r, type, k, extreme);
        if (mat_pack(m, p, rows, row, &e)) printf("%s\n", e.msg), exit(1);
    }
    free(rows);
}

static const enum dtype types[] = {DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1, DTYPE_Q8_0, DTYPE_IQ4_NL,
                                   DTYPE_MXFP4, DTYPE_Q2_K, DTYPE_Q3_K, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K,
                                   DTYPE_IQ4_XS, DTYPE_F32, DTYPE_F16, DTYPE_BF16};
enum { N_TYPES = sizeof types / sizeof *types };

static bool selected(const char *kern)
{
    return strstr(kern, only_kern) != NULL;
}

static bool isa_selected(int i)
{
    return i > 0 && kern_usable(i) && (!only_isa || strcmp(only_isa, kern_at(i)->name) == 0);
}

/* Quantiser of the type's tier, then the product, for one shape and fill. */
static void check_product(enum dtype type, enum mat_role role, int n, int k, int n_tok, enum fill f, int extreme)
{
    char what[96];
    const struct kern *ref = kern_at(0);
    enum act_tier tier = mat_tier(type, role);
    struct mat w;
    make_mat(&w, type, n, k, extreme);
    size_t bytes = act_bytes(tier, k, n_tok), stride = (size_t)w.n_panels * PANEL + 16;
    void *mem = alloc64(bytes), *mem2 = alloc64(bytes);
    struct act a, a2;
    act_init(&a, tier, k, n_tok, mem);
    act_init(&a2, tier, k, n_tok, mem2);
    float *x = floats(k + 1);
    int *rc = alloc64((size_t)n_tok * sizeof *rc);
    uint64_t at = rng_state;
    for (int t = 0; t < n_tok; t++) {
        fill_row(x, k, f);
        rc[t] = ref->elem->quant(&a, t, x);
        if (f != FILL_BAD && rc[t]) printf("DIFFERENT quant: unexpected range error\n"), n_bad++;
    }
    add_hash(mem, bytes);
    snprintf(what, sizeof what, "%s n=%d k=%d tok=%d %s%s", dtype_name(type), n, k, n_tok, fill_name[f],
             extreme ? " extreme" : "");
    size_t ybytes = (size_t)n_tok * stride * sizeof(float);
    float *y = alloc64(ybytes), *y2 = alloc64(ybytes);
    memset(y, 0xa5, ybytes);
    ref->matmul(y, stride, &w, 0, w.n_panels, &a, 0, n_tok);
    add_hash(y, ybytes);
    for (int i = 0; i < kern_count(); i++) {
        if (!isa_selected(i)) continue;
        const struct kern *v = kern_at(i);
        rng_state = at;
        for (int t = 0; t < n_tok; t++) {
            fill_row(x + 1, k, f); /* misaligned on purpose */
            if (v->elem->quant(&a2, t, x + 1) != rc[t]) printf("DIFFERENT quant %s: return\n", v->name), n_bad++;
        }
        compare("quant", v->name, what, mem, mem2, bytes);
        memset(y2, 0xa5, ybytes);
        int mid = w.n_panels / 3, cut = n_tok > 16 ? 16 : n_tok; /* any split gives the same */
        v->matmul(y2, stride, &w, 0, mid, &a, 0, n_tok);
        v->matmul(y2, stride, &w, mid, w.n_panels, &a, 0, cut);
        if (cut < n_tok) v->matmul(y2, stride, &w, mid, w.n_panels, &a, cut, n_tok - cut);
        compare("matmul", v->name, what, y, y2, ybytes);
    }
    free(y), free(y2), free(x), free(rc), free(mem), free(mem2), free(w.data);
}

static void check_products(void)
{
    static const int toks[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33};
    for (int i = 0; i < N_TYPES; i++) {
        int step = (int)dtype_info(types[i])->block == 256 ? 256 : 32;
        int ks[] = {step, 3 * step, 576, 1024, 1056, 1536, 2304};
        for (int j = 0; j < (int)(sizeof ks / sizeof *ks); j++) {
            if (ks[j] % step) continue;
            for (int t = 0; t < (int)(sizeof toks / sizeof *toks); t++) {
                uint64_t r = rnd();
                if (!all && (t + j) % 4) continue;
                check_product(types[i], MAT_BODY, 1 + (int)(r % 40), ks[j], toks[t], (enum fill)(r / 64 % N_FILL), r >> 40 & 1);
                if (mat_tier(types[i], MAT_HEAD) != mat_tier(types[i], MAT_BODY))
                    check_product(types[i], MAT_HEAD, 1 + (int)(r % 40), ks[j], toks[t], (enum fill)(r / 64 % N_FILL), r >> 41 & 1);
            }
        }
        for (int f = 0; f < N_FILL; f++) check_product(types[i], MAT_BODY, 16, 2 * step, 3, (enum fill)f, 1);
    }
}

static void check_elem(void)
{
    const struct elem_kern *ref = kern_at(0)->elem;
    for (int n = 4; n < 700; n += all ? 4 : 44) {
        for (int f = 0; f < N_FILL; f++) {
            float *x = floats(n + 1), *g = floats(n), *want = floats(6 * n), *got = floats(6 * n);
            fill_row(x + 1, n, (enum fill)f);
            fill_row(g, n, FILL_NORMAL);
            for (int i = 0; i < kern_count(); i++) {
                if (i && !isa_selected(i)) continue;
                const struct elem_kern *v = kern_at(i)->elem;
                float *y = i ? got : want, *silu = y + n, *rope = y + 2 * n, *sum = y + 3 * n;
                uint64_t *w = (uint64_t *)(void *)(y + 4 * n);
                int rc = v->norm(y, x + 1, g, n, 1e-5f);
                if (rc != ref->norm(got, x + 1, g, n, 1e-5f)) printf("DIFFERENT norm: return\n"), n_bad++;
                v->norm(y, x + 1, g, n, 1e-5f);
                v->silu_mul(silu, x + 1, g, n);
                memcpy(rope, x + 1, (size_t)n * 4);
                v->rope(rope, g, 2, n / 2, n / 4, n & 4);
                memcpy(sum, x + 1, (size_t)n * 4);
                v->add(sum, g, n);
                v->weights(w, x + 1, n, x[1], 0.7f);
                if (f == FILL_BAD) memset(silu, 0, (size_t)n * 20); /* NaN bits differ between machines: only norm's error counts */
                if (i == 0)
                    add_hash(want, (size_t)n * 24);
                else
                    compare("elem", kern_at(i)->name, fill_name[f], want, got, (size_t)n * 24);
            }
            free(x), free(g), free(want), free(got);
        }
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void bench_one(enum dtype type, enum mat_role role, int v, int n_tok)
{
    struct mat w;
    struct act a;
    int k = 1536, n = 4096;
    make_mat(&w, type, n, k, 0);
    void *mem = alloc64(act_bytes(mat_tier(type, role), k, n_tok));
    act_init(&a, mat_tier(type, role), k, n_tok, mem);
    float *x = floats(k), *y = floats(n_tok * n);
    for (int t = 0; t < n_tok; t++) fill_row(x, k, FILL_NORMAL), kern_at(v)->elem->quant(&a, t, x);
    double best = 1e9;
    for (int r = 0; r < 7; r++) {
        double t0 = now();
        kern_at(v)->matmul(y, (size_t)n, &w, 0, w.n_panels, &a, 0, n_tok);
        double dt = now() - t0;
        best = dt < best ? dt : best;
    }
    printf("%-8s %-8s %6d %5dx%-6d %10.2f %10.3f%s\n", dtype_name(type), kern_at(v)->name, n_tok, n, k,
           (double)mat_bytes(&w) / best * 1e-9, 2.0 * n * k * n_tok / best * 1e-12,
           role == MAT_HEAD ? "  (head)" : "");
    free(w.data), free(mem), free(x), free(y);
}

static void bench(void)
{
    static const int toks[] = {1, 2, 8, 32, 128};
    printf("%-8s %-8s %6s %12s %10s %10s\n", "type", "isa", "tokens", "n x k", "GB/s", "TOPS");
    for (int i = 0; i < N_TYPES; i++)
        for (int v = 0; v < kern_count(); v++)
            for (int t = 0; selected(dtype_name(types[i])) && isa_selected(v) && t < 5; t++) {
                bench_one(types[i], MAT_BODY, v, toks[t]);
                if (mat_tier(types[i], MAT_HEAD) != mat_tier(types[i], MAT_BODY)) bench_one(types[i], MAT_HEAD, v, toks[t]);
            }
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    int do_bench = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--isa") && i + 1 < argc) only_isa = argv[++i];
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc) seed = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--kern") && i + 1 < argc) only_kern = argv[++i];
        else if (!strcmp(argv[i], "--bench")) do_bench = 1;
        else if (!strcmp(argv[i], "--all")) all = 1;
        else {
            fprintf(stderr, "usage: checkkern [--isa NAME] [--seed N] [--kern SUBSTRING] [--bench] [--all]\n");
            return 2;
        }
    }
    rng_state = seed;
    if (do_bench) {
        bench();
        return 0;
    }
    if (selected("matmul")) check_products();
    if (selected("elem")) check_elem();
    printf("checkkern: seed %" PRIu64 ", instruction sets:", seed);
    for (int i = 0; i < kern_count(); i++)
        if (kern_usable(i)) printf(" %s", kern_at(i)->name);
    printf("\nchecked %ld outputs, %ld differ, hash %016" PRIx64 "\n", n_case, n_bad, hash);
    return n_bad != 0;
}
