/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkkern: compares every kernel of every instruction set that this machine can run with the scalar reference, by
 * memcmp, over sizes, tails, alignments and extreme values, in memory between guard pages, and prints a hash over the
 * reference's outputs for each part. Every machine, compiler, optimisation level and instruction set must print the
 * hashes of tests/kern/golden.txt. (Attention has its own test of this kind, tests/unit/test_attn.c.)
 *
 *   checkkern [--isa NAME] [--kern SUBSTRING] [--seed N] [--all] [--ftz] [--golden FILE] [--bench]
 *
 *   --ftz      flush-to-zero and denormals-are-zero on: no hash may change. The hash of element-wise operations counts
 *              results below 2^-90 as zero: the gate of a large negative number times a small one, and products in
 *              the rotation of numbers near 2^-100, may be subnormal; the next quantisation makes them zero.
 *   --golden   fails if a hash is not the one in FILE
 *   --bench    times the matrix product instead (checkkern_bench.c)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#include "checkkern.h"
#include "kern/num.h"
#include "tables.h"

static long n_case, n_bad;
static const char *only_kern = "", *only_isa;
static int all;

/* --- what is checked, and its hash ------------------------------------------------------------------------ */

enum part { QUANT, MATMUL, ELEM, N_PARTS };
static struct {
    const char *name;
    uint64_t hash;
} parts[N_PARTS] = {{"quant", 0}, {"matmul", 0}, {"elem", 0}};

static void add_hash(enum part part, const void *p, size_t n) /* in the manner of FNV-1a, over words and the tail */
{
    const uint8_t *b = p;
    uint64_t h = parts[part].hash;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = 0;
        memcpy(&v, b + i, n - i < 8 ? n - i : 8);
        h = (h ^ v) * 0x100000001b3u;
        h ^= h >> 29;
    }
    parts[part].hash = h;
}

static void bad(const char *kern, const char *isa, const char *what, const char *how)
{
    if (n_bad++ < 20) printf("DIFFERENT %s %s %s: %s\n", kern, isa, what, how);
}

static void compare(const char *kern, const char *isa, const char *what, const void *want, const void *got, size_t n)
{
    char how[64];
    size_t i = 0;
    n_case++;
    if (memcmp(want, got, n) == 0) return;
    while (((const uint8_t *)want)[i] == ((const uint8_t *)got)[i]) i++;
    snprintf(how, sizeof how, "first at byte %zu of %zu", i, n);
    bad(kern, isa, what, how);
}

bool selected(const char *kern)
{
    return strstr(kern, only_kern) != NULL;
}

bool isa_selected(int i)
{
    return i > 0 && table_usable(i) && (!only_isa || strcmp(only_isa, table_at(i)->name) == 0);
}

/* --- quantiser and matrix product ------------------------------------------------------------------------- */

enum { TOK_MAX = 277 }; /* more tokens, and below more panels, than a kernel takes at a time */

struct shape {
    enum dtype type;
    enum mat_role role;
    int n, k, n_tok, extreme;
    enum fill fill;
};

static void check_product(const struct shape *s)
{
    char what[96];
    const struct kern *ref = table_at(0);
    enum act_tier tier = mat_tier(s->type, s->role);
    int k = s->k, n_tok = s->n_tok, rc[TOK_MAX];
    struct mat w;
    make_mat(&w, s->type, s->n, k, s->extreme);
    size_t bytes = act_bytes(tier, k, n_tok), stride = (size_t)w.n_panels * PANEL + 16;
    void *mem = guard_alloc(bytes, 64), *mem2 = guard_alloc(bytes, 64);
    struct act a, a2;
    act_init(&a, tier, k, n_tok, mem);
    act_init(&a2, tier, k, n_tok, mem2);
    float *x = guard_alloc((size_t)k * 4, 4);
    uint64_t at = rng_state;
    snprintf(what, sizeof what, "%s%s n=%d k=%d tok=%d %s%s", dtype_name(s->type),
             s->role == MAT_HEAD ? " head" : "", s->n, k, n_tok, fill_name[s->fill],
             s->extreme ? " extreme" : "");
    for (int t = 0; t < n_tok; t++) {
        fill_row(x, k, s->fill);
        rc[t] = ref->elem->quant(&a, t, x);
        if (s->fill != FILL_BAD && rc[t]) bad("quant", "ref", what, "unexpected range error");
    }
    add_hash(QUANT, mem, bytes);
    size_t ybytes = ((size_t)(n_tok - 1) * stride + (size_t)w.n_panels * PANEL) * sizeof(float);
    float *y = guard_alloc(ybytes, 4), *y2 = guard_alloc(ybytes, 4);
    ref->matmul(y, stride, &w, 0, w.n_panels, &a, 0, n_tok);
    add_hash(MATMUL, y, ybytes);
    for (int i = 0; i < table_count(); i++) {
        if (!isa_selected(i)) continue;
        const struct kern *v = table_at(i);
        rng_state = at;
        memset(mem2, 0xff, bytes);
        float *x2 = guard_alloc((size_t)k * 4, 4);
        for (int t = 0; t < n_tok; t++) {
            fill_row(x2, k, s->fill);
            if (v->elem->quant(&a2, t, x2) != rc[t]) bad("quant", v->name, what, "the return value");
        }
        compare("quant", v->name, what, mem, mem2, bytes);
        memset(y2, 0xff, ybytes);
        int mid = w.n_panels / 3, cut = n_tok > 16 ? 16 : n_tok; /* any split gives the same */
        v->matmul(y2, stride, &w, 0, mid, &a, 0, n_tok);
        v->matmul(y2, stride, &w, mid, w.n_panels, &a, 0, cut);
        if (cut < n_tok) v->matmul(y2, stride, &w, mid, w.n_panels, &a, cut, n_tok - cut);
        compare("matmul", v->name, what, y, y2, ybytes);
    }
    guard_release();
}

static void check_products(void)
{
    static const int toks[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33};
    for (int i = 0; i < N_TYPES; i++) {
        enum dtype type = weight_types[i];
        int step = (int)dtype_info(type)->block > 32 ? (int)dtype_info(type)->block : 32;
        int ks[] = {step, 3 * step, 576, 1024, 1056, 1536, 2304};
        for (enum mat_role role = MAT_BODY; role <= MAT_HEAD; role++) {
            if (role && mat_tier(type, role) == mat_tier(type, MAT_BODY)) continue;
            for (int j = 0; j < (int)(sizeof ks / sizeof *ks); j++) {
                if (ks[j] % step) continue;
                for (int t = 0; t < (int)(sizeof toks / sizeof *toks); t++) {
                    uint64_t r = rnd();
                    if (!all && (t + j) % 4) continue;
                    check_product(&(struct shape){type, role, 1 + (int)(r % 40), ks[j], toks[t], r >> 40 & 1,
                                                  (enum fill)(r / 64 % N_FILL)});
                }
            }
            check_product(&(struct shape){type, role, 70, 2 * step, TOK_MAX, 0, FILL_NORMAL});
            for (int f = 0; f < N_FILL; f++)
                check_product(&(struct shape){type, role, 16, 2 * step, 3, 1, (enum fill)f});
        }
    }
}

/* --- element-wise operations ------------------------------------------------------------------------------ */

enum { NORM, SILU, GELU, CLAMPED, ROPE, ADD, AXPY, SCALE, CAP, WEIGHTS, N_ELEM };
static const char *const elem_name[N_ELEM] = {"norm", "silu", "gelu",  "clamped gate", "rope",
                                              "add",  "axpy", "scale", "cap",          "weights"};

/* Sets results below 2^-90 to zero (--ftz, above). */
static void drop_tiny(float *x, int n)
{
    for (int i = 0; i < n; i++)
        if (abs_bits(x[i]) < (127u - 90u) << 23) x[i] = 0;
}

/* Runs all of them on copies of x; out[] in fresh guarded memory of size[] bytes. */
static int run_elem(const struct elem_kern *v, void *out[N_ELEM], size_t size[N_ELEM], const float *x, const float *g,
                    int n)
{
    for (int i = 0; i < N_ELEM; i++) {
        size[i] = (size_t)n * (i == WEIGHTS ? 8 : 4);
        out[i] = guard_alloc(size[i], i == WEIGHTS ? 8 : 4);
    }
    int rc = v->norm(out[NORM], x, g, n, 1e-5f);
    v->gate(out[SILU], x, g, n, GATE_SILU);
    v->gate(out[GELU], x, g, n, GATE_GELU);
    v->gate(out[CLAMPED], x, g, n, GATE_CLAMPED);
    memcpy(out[ROPE], x, (size_t)n * 4);
    v->rope(out[ROPE], g, 2, n / 2, n / 4, n & 4);
    memcpy(out[ADD], x, (size_t)n * 4);
    v->add(out[ADD], g, n);
    memcpy(out[SCALE], x, (size_t)n * 4);
    v->scale(out[SCALE], g[0], n);
    memcpy(out[AXPY], x, (size_t)n * 4);
    v->axpy(out[AXPY], g[0], g, n);
    memcpy(out[CAP], x, (size_t)n * 4);
    v->cap(out[CAP], 30.0f, n);
    v->weights(out[WEIGHTS], x, n, x[0], 0.7f);
    return rc;
}

static void check_elem(void)
{
    for (int n = 4; n < 700; n += all ? 4 : 44) {
        for (int f = 0; f < N_FILL; f++) {
            float *x = guard_alloc((size_t)n * 4, 4), *g = guard_alloc((size_t)n * 4, 4);
            void *want[N_ELEM], *got[N_ELEM];
            size_t size[N_ELEM];
            fill_row(x, n, (enum fill)f);
            fill_row(g, n, FILL_NORMAL);
            int rc = run_elem(table_at(0)->elem, want, size, x, g, n);
            /* The bits of a NaN differ between machines: of bad rows only the norm's answer counts. */
            int count = f == FILL_BAD ? SILU : N_ELEM;
            for (int i = 0; i < table_count(); i++) {
                if (!isa_selected(i)) continue;
                const char *isa = table_at(i)->name;
                if (run_elem(table_at(i)->elem, got, size, x, g, n) != rc)
                    bad("norm", isa, fill_name[f], "the return value");
                for (int o = 0; o < count; o++) compare(elem_name[o], isa, fill_name[f], want[o], got[o], size[o]);
                memcpy(got[ADD], x, (size_t)n * 4); /* in place */
                table_at(i)->elem->norm(got[ADD], got[ADD], g, n, 1e-5f);
                compare("norm in place", isa, fill_name[f], want[NORM], got[ADD], size[ADD]);
                float m[2] = {0, 0};
                bool same = table_at(0)->elem->largest(&m[0], x, n) == table_at(i)->elem->largest(&m[1], x, n);
                if (!same || memcmp(&m[0], &m[1], sizeof *m)) bad("largest", isa, fill_name[f], "the result");
            }
            for (int o = 0; o < count; o++) {
                if (o != WEIGHTS) drop_tiny(want[o], n);
                add_hash(ELEM, want[o], size[o]);
            }
            guard_release();
        }
    }
}

/* --- main ------------------------------------------------------------------------------------------------- */

static void flush_to_zero(void)
{
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040); /* FTZ, DAZ */
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | 1u << 24)); /* FZ */
#else
    fprintf(stderr, "checkkern: --ftz: not known for this machine\n");
    exit(2);
#endif
}

/* Lines "part hash"; '#' begins a comment. */
static void check_golden(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[256], name[32];
    uint64_t want;
    int found = 0;
    if (!f) {
        printf("checkkern: cannot open %s\n", path);
        n_bad++;
        return;
    }
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%31[a-z] %" SCNx64, name, &want) != 2) continue;
        for (int i = 0; i < N_PARTS; i++) {
            if (strcmp(name, parts[i].name)) continue;
            found++;
            if (want == parts[i].hash) continue;
            printf("%s: hash of %s is %016" PRIx64 ", not %016" PRIx64
                   ": put the new one there if the arithmetic or the test's data changed on purpose\n",
                   path, name, parts[i].hash, want);
            n_bad++;
        }
    }
    fclose(f);
    if (found != N_PARTS) printf("%s: %d parts, not %d\n", path, found, N_PARTS), n_bad++;
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: checkkern [--isa NAME] [--kern SUBSTRING] [--seed N] [--all] [--ftz] [--golden FILE] [--bench]\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    int do_bench = 0, ftz = 0;
    const char *golden = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--isa") && i + 1 < argc)
            only_isa = argv[++i];
        else if (!strcmp(argv[i], "--kern") && i + 1 < argc)
            only_kern = argv[++i];
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--golden") && i + 1 < argc)
            golden = argv[++i];
        else if (!strcmp(argv[i], "--bench"))
            do_bench = 1;
        else if (!strcmp(argv[i], "--all"))
            all = 1;
        else if (!strcmp(argv[i], "--ftz"))
            ftz = 1;
        else
            return usage();
    }
    rng_state = seed;
    if (do_bench) {
        bench();
        return 0;
    }
    if (ftz) flush_to_zero();
    for (int i = 0; i < N_PARTS; i++) parts[i].hash = 0xcbf29ce484222325u;
    if (selected("matmul")) check_products();
    rng_state = seed;
    if (selected("elem")) check_elem();
    printf("checkkern: seed %" PRIu64 "%s, instruction sets:", seed, ftz ? ", flush to zero" : "");
    for (int i = 0; i < table_count(); i++)
        if (i == 0 || isa_selected(i)) printf(" %s", table_at(i)->name);
    printf("\n");
    for (int i = 0; i < N_PARTS; i++) printf("%-8s %016" PRIx64 "\n", parts[i].name, parts[i].hash);
    if (golden) check_golden(golden);
    printf("checked %ld outputs, %ld differ\n", n_case, n_bad);
    return n_bad != 0;
}
