/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern/attn: the reference against a plain softmax in double (is it accurate?), the invariances that the
 * contract promises (tiles, half-filled pages, stale memory, windows), and every variant against the
 * reference, byte by byte.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "kern/attn.h"

#define D_MAX KV_D_MAX
#define N_VARIANTS 4
#define GOLDEN 0x0700ac921822fbddu

/* --- tools ---------------------------------------------------------------------------------------------- */

static uint64_t seed = 1;

static uint64_t random_u64(void) /* splitmix64 */
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int random_to(int n) /* 0..n-1 */
{
    return (int)(random_u64() >> 33) % n;
}

static float random_normal(void) /* nearly: a sum of 12 uniforms, exact in any order of evaluation */
{
    int64_t s = 0;
    for (int i = 0; i < 12; i++) s += (int64_t)(random_u64() >> 44);
    return (float)((double)(s - 6 * (1 << 20)) / (1 << 20));
}

static void *alloc64(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, (n + 63) / 64 * 64);
    return p;
}

static uint64_t hash = 0xcbf29ce484222325u;

static void hash_bytes(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const unsigned char *)p)[i]) * 0x100000001b3u;
}

/* The variants this machine can run, the reference first. */
static int variants(const struct attn_kern **list)
{
    int n = 0;
    list[n++] = &attn_kern_ref;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) list[n++] = &attn_kern_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        list[n++] = &attn_kern_avx512;
#elif defined(__aarch64__)
    list[n++] = &attn_kern_neon;
#endif
    return n;
}

/* A cache of n positions in pages, and the floats that went in. */
struct cache {
    enum kv_type type;
    int D, n, n_pages;
    void **pages;
    float *k, *v;
};

static void cache_init(struct cache *c, enum kv_type type, int D, int n_max)
{
    assert_true(kv_supports(D, 0));
    *c = (struct cache){.type = type, .D = D, .n_pages = (n_max + ATTN_CHUNK - 1) / ATTN_CHUNK};
    c->pages = calloc((size_t)c->n_pages, sizeof *c->pages);
    for (int i = 0; i < c->n_pages; i++) {
        c->pages[i] = alloc64(kv_view_bytes(type, D, 0));
        /* stale codes of an earlier owner, and scales that are as wrong as finite numbers can be */
        uint64_t *u = c->pages[i];
        for (size_t w = 0; w < 2 * (size_t)ATTN_CHUNK * (size_t)D / 8; w++) u[w] = random_u64();
        struct kv_view view;
        kv_view_init(&view, c->pages[i], type, D, 0);
        for (int j = 0; j < ATTN_CHUNK; j++) view.dk[j] = view.dv[j] = view.pm[j] = 3e38f;
    }
    c->k = calloc((size_t)n_max * (size_t)D, sizeof(float));
    c->v = calloc((size_t)n_max * (size_t)D, sizeof(float));
}

static void cache_finish(struct cache *c)
{
    for (int i = 0; i < c->n_pages; i++) free(c->pages[i]);
    free(c->pages);
    free(c->k);
    free(c->v);
}

static int cache_append(struct cache *c, const float *k, const float *v)
{
    struct kv_view view;
    kv_view_init(&view, c->pages[c->n / ATTN_CHUNK], c->type, c->D, 0);
    memcpy(c->k + (size_t)c->n * (size_t)c->D, k, (size_t)c->D * sizeof(float));
    memcpy(c->v + (size_t)c->n * (size_t)c->D, v, (size_t)c->D * sizeof(float));
    return attn_kern_ref.store(&view, c->type, c->D, c->n++ % ATTN_CHUNK, k, v);
}

static void cache_fill(struct cache *c, int n)
{
    float k[D_MAX], v[D_MAX];
    while (c->n < n) {
        float loud = c->n % 11 == 3 ? 5.0f : 1.0f;
        for (int d = 0; d < c->D; d++) {
            /* one channel with an offset, as real keys have */
            k[d] = random_normal() + (d == 5 ? 4.0f : 0.0f);
            v[d] = random_normal() * loud;
        }
        assert_int_equal(cache_append(c, k, v), 0);
    }
}

/* cap 0 and sink NULL: plain attention */
static void attend_with(const struct attn_kern *kern, const struct cache *c, int n, const float *const *rows,
                        float scale, const int64_t *first, const int64_t *last, float cap, const float *sink,
                        float *const *out, int32_t *status)
{
    struct attn_q *q = alloc64(sizeof *q);
    void *scratch = alloc64(attn_rows_scratch(c->D));
    kern->quant_q(q, c->type, c->D, n, rows, scale);
    attn_set_cap(q, cap, NULL);
    attn_rows(kern, q, c->pages, 0, 0, first, last, sink, out, status, scratch);
    free(scratch);
    free(q);
}

static void attend(const struct attn_kern *kern, const struct cache *c, int n, const float *const *rows,
                   float scale, const int64_t *first, const int64_t *last, float *const *out, int32_t *status)
{
    attend_with(kern, c, n, rows, scale, first, last, 0, NULL, out, status);
}

/* --- accuracy ------------------------------------------------------------------------------------------- */

static double oracle_error(const struct cache *c, const float *q, float scale, int first, int last, double cap,
                           const float *sink, const float *got)
{
    double *s = calloc((size_t)(last + 1), sizeof *s), top = -(double)INFINITY, sum = 0, num = 0, den = 0;
    for (int j = first; j <= last; j++) {
        for (int d = 0; d < c->D; d++) s[j] += (double)q[d] * (double)c->k[j * c->D + d];
        s[j] *= (double)scale;
        if (cap > 0) s[j] = cap * tanh(s[j] / cap);
        top = s[j] > top ? s[j] : top;
    }
    for (int j = first; j <= last; j++) sum += s[j] = exp(s[j] - top);
    if (sink) sum += exp((double)*sink - top);
    for (int d = 0; d < c->D; d++) {
        double o = 0;
        for (int j = first; j <= last; j++) o += s[j] / sum * (double)c->v[j * c->D + d];
        num += (o - (double)got[d]) * (o - (double)got[d]);
        den += o * o;
    }
    free(s);
    return sqrt(num / den);
}

static void close_to_softmax_in_double(void **state)
{
    (void)state;
    static const int sizes[] = {32, 64, 80, 128, 256};
    for (int type = KV16; type <= KV8; type++) {
        double worst = 0;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int D = sizes[i], n = 2048 + 300;
            struct cache c;
            cache_init(&c, (enum kv_type)type, D, n);
            cache_fill(&c, n);
            float q[3][D_MAX], o[3][D_MAX], scale = (float)(1 / sqrt((double)D));
            for (int d = 0; d < D; d++) {
                for (int r = 0; r < 3; r++) q[r][d] = random_normal() * (r == 2 ? 4.0f : 1.0f);
            }
            const float *rows[3] = {q[0], q[1], q[2]};
            float *out[3] = {o[0], o[1], o[2]};
            int64_t first[3] = {0, 1000, 0}, last[3] = {n - 1, 2200, 77};
            int32_t status[3];
            attend(&attn_kern_ref, &c, 3, rows, scale, first, last, out, status);
            for (int r = 0; r < 3; r++) {
                assert_int_equal(status[r], 0);
                double e = oracle_error(&c, q[r], scale, (int)first[r], (int)last[r], 0, NULL, o[r]);
                worst = e > worst ? e : worst;
            }
            cache_finish(&c);
        }
        printf("   %s: largest relative error of an output vector %.2e\n", type == KV16 ? "KV16" : "KV8",
               worst);
        assert_true(worst < (type == KV16 ? 1e-3 : 5e-2));
    }
}

static void caps_and_sinks_in_double(void **state)
{
    (void)state;
    enum { D = 64, N = 2048 + 150 };
    static const float caps[3] = {0, 1.25f, 50}, sink[3] = {-1, 2.5f, 9};
    for (int type = KV16; type <= KV8; type++) {
        struct cache c;
        cache_init(&c, (enum kv_type)type, D, N);
        cache_fill(&c, N);
        float q[3][D], o[3][D];
        for (int d = 0; d < D; d++)
            for (int r = 0; r < 3; r++) q[r][d] = random_normal();
        const float *rows[3] = {q[0], q[1], q[2]};
        float *out[3] = {o[0], o[1], o[2]};
        int64_t first[3] = {0, N - 1000, 0}, last[3] = {N - 1, N - 1, 77};
        int32_t status[3];
        for (int i = 0; i < 6; i++) {
            const float *s = i / 3 ? sink : NULL;
            attend_with(&attn_kern_ref, &c, 3, rows, 0.125f, first, last, caps[i % 3], s, out, status);
            for (int r = 0; r < 3; r++) {
                double e = oracle_error(&c, q[r], 0.125f, (int)first[r], (int)last[r], (double)caps[i % 3],
                                        s ? &s[r] : NULL, o[r]);
                assert_int_equal(status[r], 0);
                assert_true(e < (type == KV16 ? 1e-3 : 5e-2));
            }
        }
        cache_finish(&c);
    }
}

static void one_key_returns_its_value(void **state)
{
    (void)state;
    struct cache c;
    cache_init(&c, KV16, 64, ATTN_CHUNK);
    float x[64], out[64], *o = out;
    for (int d = 0; d < 64; d++) x[d] = (float)(d - 32);
    assert_int_equal(cache_append(&c, x, x), 0);
    const float *row = x;
    int64_t first = 0, last = 0;
    int32_t status = -1;
    attend(&attn_kern_ref, &c, 1, &row, 0.125f, &first, &last, &o, &status);
    assert_int_equal(status, 0);
    for (int d = 0; d < 64; d++) assert_true(fabsf(out[d] - x[d]) < 32.0f / 32767.0f);
    last = -1; /* nothing visible: zero, no error */
    attend(&attn_kern_ref, &c, 1, &row, 0.125f, &first, &last, &o, &status);
    assert_int_equal(status, 0);
    for (int d = 0; d < 64; d++) assert_true(out[d] == 0.0f);
    cache_finish(&c);
}

/* --- the page ------------------------------------------------------------------------------------------- */

static void page_keeps_prefix_maximum(void **state)
{
    (void)state;
    struct cache c;
    cache_init(&c, KV8, 32, 2 * ATTN_CHUNK);
    cache_fill(&c, 2 * ATTN_CHUNK);
    for (int page = 0; page < 2; page++) {
        struct kv_view view;
        kv_view_init(&view, c.pages[page], KV8, 32, 0);
        float top = 0;
        for (int j = 0; j < ATTN_CHUNK; j++) {
            top = view.dv[j] > top ? view.dv[j] : top;
            assert_true(view.pm[j] == top);
        }
    }
    cache_finish(&c);
}

static void store_refuses_what_is_out_of_range(void **state)
{
    (void)state;
    static const float bad[] = {0x1p60f, -0x1p61f, INFINITY, -INFINITY, NAN};
    struct cache c;
    cache_init(&c, KV16, 32, ATTN_CHUNK);
    struct kv_view view;
    kv_view_init(&view, c.pages[0], KV16, 32, 0);
    size_t n = kv_view_bytes(KV16, 32, 0);
    void *before = alloc64(n);
    memcpy(before, c.pages[0], n);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        float x[32] = {0}, y[32] = {0};
        x[17] = bad[i];
        assert_int_equal(attn_kern_ref.store(&view, KV16, 32, 9, x, y), ERR_RANGE);
        assert_int_equal(attn_kern_ref.store(&view, KV16, 32, 9, y, x), ERR_RANGE);
    }
    assert_memory_equal(before, c.pages[0], n);
    free(before);
    cache_finish(&c);
    assert_false(kv_supports(528, 0));
    assert_false(kv_supports(64, 24));
    assert_false(kv_supports(64, KV_EXTRA_MAX + 16));
    assert_false(kv_supports(72, 0));
    assert_false(kv_supports(0, 0));
    assert_true(kv_supports(512, 0));
}

static void hadamard_is_its_own_inverse_times_D(void **state)
{
    (void)state;
    float x[64], y[64];
    for (int i = 0; i < 64; i++) y[i] = x[i] = (float)(random_to(2001) - 1000);
    attn_kern_ref.hadamard(y, 64);
    attn_kern_ref.hadamard(y, 64);
    for (int i = 0; i < 64; i++) assert_true(y[i] == 64 * x[i]); /* small integers: exact */
}

/* --- invariances ---------------------------------------------------------------------------------------- */

/* Decoding token by token while the cache grows = one prefill tile afterwards, whatever lies in later slots.
 */
static void decode_equals_prefill(void **state)
{
    (void)state;
    enum { N = 2 * ATTN_CHUNK + 40, D = 64, WINDOW = 150 };
    static float q[N][D], one[N][D], many[N][D];
    for (int type = KV16; type <= KV8; type++) {
        for (int window = 0; window < 2; window++) {
            struct cache c;
            int64_t first[N], last[N];
            int32_t status[N];
            cache_init(&c, (enum kv_type)type, D, N);
            for (int t = 0; t < N; t++) {
                cache_fill(&c, t + 1);
                for (int d = 0; d < D; d++) q[t][d] = random_normal();
                first[t] = window && t >= WINDOW ? t - WINDOW + 1 : 0;
                last[t] = t;
                const float *row = q[t];
                float *out = one[t];
                attend(&attn_kern_ref, &c, 1, &row, 0.125f, &first[t], &last[t], &out, &status[t]);
                assert_int_equal(status[t], 0);
            }
            for (int t = 0, n; t < N; t += n) {
                const float *rows[ATTN_ROWS];
                float *out[ATTN_ROWS];
                n = 1 + random_to(ATTN_ROWS);
                n = n < N - t ? n : N - t;
                for (int r = 0; r < n; r++) {
                    rows[r] = q[t + r];
                    out[r] = many[t + r];
                }
                attend(&attn_kern_ref, &c, n, rows, 0.125f, first + t, last + t, out, status + t);
            }
            assert_memory_equal(one, many, sizeof one);
            cache_finish(&c);
        }
    }
}

static void bad_row_leaves_the_others_alone(void **state)
{
    (void)state;
    enum { D = 32 };
    struct cache c;
    cache_init(&c, KV16, D, 200);
    cache_fill(&c, 200);
    float q[3][D], o[3][D], alone[D], *out[3] = {o[0], o[1], o[2]}, *single = alone;
    for (int d = 0; d < D; d++) {
        q[0][d] = q[2][d] = random_normal();
        q[1][d] = 0x1p59f; /* fine as a query, too loud as a score */
    }
    q[2][3] = NAN;
    const float *rows[3] = {q[0], q[1], q[2]};
    int64_t first[3] = {0, 0, 0}, last[3] = {199, 199, 199};
    int32_t status[3];
    attend(&attn_kern_ref, &c, 3, rows, 1.0f, first, last, out, status);
    assert_int_equal(status[0], 0);
    assert_int_equal(status[1], ERR_RANGE);
    assert_int_equal(status[2], ERR_RANGE);
    for (int d = 0; d < D; d++) assert_true(o[1][d] == 0 && o[2][d] == 0);
    attend(&attn_kern_ref, &c, 1, rows, 1.0f, first, last, &single, status);
    assert_memory_equal(alone, o[0], sizeof alone);
    cache_finish(&c);
}

/* --- variants ------------------------------------------------------------------------------------------- */

/* What goes into a page and a tile: plain numbers, extreme codes, extreme exponents, zeros. */
static float sample(int fill)
{
    int e = fill == 3 ? random_to(100) - 60 : 0; /* not inside the call below: arguments have no order */
    switch (fill) {
    case 1:
        return random_u64() & 1 ? 1.0f : -1.0f; /* every code +-QMAX */
    case 2:
        return 1.0f; /* sums as large as they can be */
    case 3:
        return ldexpf(random_normal(), e);
    case 4:
        return random_to(4) ? 0.0f : random_normal();
    default:
        return random_normal();
    }
}

static void compare(enum kv_type type, int D, int n, int fill, float cap, const struct attn_kern **list, int n_list)
{
    struct cache c;
    struct attn_q *q = alloc64(sizeof *q);
    float k[D_MAX], v[D_MAX], x[ATTN_ROWS][D_MAX];
    const float *rows[ATTN_ROWS];
    int lo[ATTN_ROWS], hi[ATTN_ROWS];
    size_t bytes = ATTN_ROWS * attn_part_bytes(D);
    void *part[2] = {alloc64(bytes), alloc64(bytes)};
    int filled = 1 + random_to(ATTN_CHUNK);

    cache_init(&c, type, D, ATTN_CHUNK);
    for (int j = 0; j < filled; j++) {
        int silent = fill == 4 && j % 3 == 0;
        for (int d = 0; d < D; d++) {
            k[d] = sample(fill);
            v[d] = silent ? 0.0f : sample(fill);
        }
        assert_int_equal(cache_append(&c, k, v), 0);
    }
    for (int r = 0; r < n; r++) {
        int kind = random_to(8);
        for (int d = 0; d < D; d++) x[r][d] = sample(fill);
        rows[r] = x[r];
        lo[r] = kind == 0 ? random_to(filled) : 0;
        hi[r] = kind == 1 ? -1 : lo[r] + random_to(filled - lo[r]);
        if (kind >= 5) hi[r] = filled - 1;
    }
    if (fill == 3 && n > 2) x[2][0] = INFINITY;
    attn_kern_ref.quant_q(q, type, D, n, rows, 0.125f);
    attn_set_cap(q, cap, NULL);

    struct kv_view view;
    kv_view_init(&view, c.pages[0], type, D, 0);
    for (int i = 0; i < n_list; i++) {
        void *p = part[i > 0];
        memset(p, 0xa5, bytes);
        list[i]->chunk(&view, q, lo, hi, p);
        if (i == 0) {
            hash_bytes(p, (size_t)n * attn_part_bytes(D));
        } else if (memcmp(part[0], p, bytes) != 0) {
            size_t w = 0;
            while (((uint32_t *)part[0])[w] == ((uint32_t *)p)[w]) w++;
            printf("   row %zu, word %zu of the part: %08x, ref %08x\n", w * 4 / attn_part_bytes(D),
                   w % (attn_part_bytes(D) / 4), ((uint32_t *)p)[w], ((uint32_t *)part[0])[w]);
            fail_msg("%s differs from ref: type %d, D %d, rows %d, fill %d, %d keys", list[i]->name, type, D,
                     n, fill, filled);
        }
    }
    /* merges: the tile's parts as consecutive chunks of one row, super-chunks of three */
    void *state[2] = {alloc64(attn_part_bytes(D)), alloc64(attn_part_bytes(D))};
    void *total[2] = {alloc64(attn_part_bytes(D)), alloc64(attn_part_bytes(D))};
    float out[2][D_MAX] = {{0}, {0}};
    for (int i = 0; i < n_list; i++) {
        struct attn_state *s = state[i > 0], *t = total[i > 0];
        attn_state_init(t, D);
        attn_state_init(s, D);
        for (int r = 0; r < n; r++) {
            struct attn_part *p = attn_part_at(part[0], D, r);
            if (p->status < 0) continue;
            list[i]->merge_chunk(s, p, D);
            if (r % 3 < 2 && r < n - 1) continue;
            list[i]->merge_super(t, s, D);
            attn_state_init(s, D);
        }
        assert_int_equal(list[i]->finish(out[i > 0], t, D), 0);
        if (i == 0) {
            hash_bytes(out[0], (size_t)D * sizeof(float));
        } else {
            assert_memory_equal(total[0], total[1], attn_part_bytes(D));
            assert_memory_equal(out[0], out[1], sizeof out[0]);
        }
    }
    for (int i = 0; i < 2; i++) {
        free(part[i]);
        free(state[i]);
        free(total[i]);
    }
    free(q);
    cache_finish(&c);
}

static void variants_give_the_bits_of_the_reference(void **state)
{
    (void)state;
    static const int sizes[] = {16, 32, 64, 80, 96, 112, 128, 256, 512};
    const struct attn_kern *list[N_VARIANTS];
    int n_list = variants(list);
    seed = 12345;
    hash = 0xcbf29ce484222325u;
    for (int type = KV16; type <= KV8; type++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            if (type == KV16 && sizes[i] > KV16_SLICE) continue; /* below */
            for (int n = 1; n <= ATTN_ROWS; n++) {
                for (int fill = 0; fill < 5; fill++)
                    compare((enum kv_type)type, sizes[i], n, fill, 0, list, n_list);
                compare((enum kv_type)type, sizes[i], n, n % 5, 1.5f, list, n_list);
            }
        }
    }
    printf("   variants:");
    for (int i = 0; i < n_list; i++) printf(" %s", list[i]->name);
    printf("; hash %016llx\n", (unsigned long long)hash);
    uint64_t plain = hash;
    for (int n = 1; n <= ATTN_ROWS; n += 5)
        for (int D = 272; D <= 512; D += 240) compare(KV16, D, n, n % 5, n == 6 ? 1.5f : 0, list, n_list);
    assert_int_equal(plain, GOLDEN); /* the same on every machine; a change is a change of the contract */
}

/* Pages, tiles and rotated vectors, whole. */
static void variants_quantise_alike(void **state)
{
    (void)state;
    static const int sizes[] = {16, 32, 48, 64, 80, 128, 256, 512};
    static float x[ATTN_ROWS][D_MAX], y[2][D_MAX];
    const struct attn_kern *list[N_VARIANTS];
    const float *rows[ATTN_ROWS];
    int n_list = variants(list);
    struct attn_q *q[2] = {alloc64(sizeof **q), alloc64(sizeof **q)};
    for (int r = 0; r < ATTN_ROWS; r++) rows[r] = x[r];
    for (int type = KV16; type <= KV8; type++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int D = sizes[i];
            if (!kv_supports(D, 0)) continue;
            for (int fill = 0; fill < 5; fill++) {
                size_t bytes = kv_view_bytes((enum kv_type)type, D, 0);
                void *page[2] = {alloc64(bytes), alloc64(bytes)};
                for (int r = 0; r < ATTN_ROWS; r++) {
                    for (int d = 0; d < D; d++) x[r][d] = sample(fill) * (fill == 4 ? 0x1p-59f : 1.0f);
                }
                if (fill == 3) x[5][D - 1] = NAN;
                if (fill == 3) x[7][0] = -0x1p60f;
                for (int v = 0; v < n_list; v++) {
                    struct kv_view view;
                    kv_view_init(&view, page[v > 0], (enum kv_type)type, D, 0);
                    memset(page[v > 0], 0x5a, bytes);
                    for (int slot = 0; slot < 40; slot++) {
                        int rc = list[v]->store(&view, (enum kv_type)type, D, slot, rows[slot % 16],
                                                rows[slot % 13]);
                        int bad = fill == 3 &&
                                  (slot % 16 == 5 || slot % 16 == 7 || slot % 13 == 5 || slot % 13 == 7);
                        assert_int_equal(rc, bad ? ERR_RANGE : 0);
                        if (bad) view.pm[slot] = 0.0f;
                    }
                    assert_true(v == 0 || memcmp(page[0], page[1], bytes) == 0);
                    memset(q[v > 0], 0x5a, sizeof **q);
                    list[v]->quant_q(q[v > 0], (enum kv_type)type, D, 1 + fill * 3, rows, 0.125f);
                    assert_true(v == 0 || memcmp(q[0], q[1], sizeof **q) == 0);
                    if ((D & (D - 1)) != 0 || fill == 3) continue;
                    memcpy(y[v > 0], x[fill], sizeof *y);
                    list[v]->hadamard(y[v > 0], D);
                    assert_true(v == 0 || memcmp(y[0], y[1], sizeof *y) == 0);
                }
                free(page[0]);
                free(page[1]);
            }
        }
    }
    free(q[0]);
    free(q[1]);
}

/* Latent attention: values are the keys without their extra dimensions. */
static void latent_in_double_and_alike(void **state)
{
    (void)state;
    enum { KEYS = 290, ROWS = 5 };
    static const int sizes[][2] = {{32, 16}, {64, 32}, {272, 16}, {512, 64}};
    static float k[KEYS][D_MAX + KV_EXTRA_MAX], x[ROWS][D_MAX + KV_EXTRA_MAX], got[N_VARIANTS][ROWS][D_MAX];
    const struct attn_kern *list[N_VARIANTS];
    int n_list = variants(list);
    struct attn_q *q = alloc64(sizeof *q);
    for (int i = 0; i < 8; i++) {
        int D = sizes[i / 2][0], E = sizes[i / 2][1];
        enum kv_type type = i % 2 ? KV8 : KV16;
        void *pages[3], *scratch = alloc64(attn_rows_scratch(D));
        int64_t first[ROWS] = {0}, last[ROWS];
        const float *rows[ROWS], *extra[ROWS];
        float scale = 1.0f / sqrtf((float)(D + E));
        int32_t status[ROWS];
        for (int p = 0; p < 3; p++)
            memset(pages[p] = alloc64(kv_view_bytes(type, D, E)), 0x5a, kv_view_bytes(type, D, E));
        for (int j = 0; j < KEYS; j++) {
            struct kv_view view;
            for (int d = 0; d < D + E; d++) k[j][d] = random_normal();
            kv_view_init(&view, pages[j / ATTN_CHUNK], type, D, E);
            assert_int_equal(attn_store_extra(&view, type, E, j % ATTN_CHUNK, k[j] + D), 0);
            assert_int_equal(list[j % n_list]->store(&view, type, D, j % ATTN_CHUNK, k[j], k[j]), 0);
        }
        for (int r = 0; r < ROWS; r++) {
            for (int d = 0; d < D + E; d++) x[r][d] = random_normal();
            rows[r] = x[r], extra[r] = x[r] + D, last[r] = KEYS - 1 - 31 * r;
        }
        first[3] = 77;
        for (int v = 0; v < n_list; v++) {
            float *out[ROWS];
            for (int r = 0; r < ROWS; r++) out[r] = got[v][r];
            list[v]->quant_q(q, type, D, ROWS, rows, scale);
            attn_quant_extra(q, E, extra, scale);
            if (i == 2) attn_set_cap(q, 2.0f, NULL);
            attn_rows(list[v], q, pages, 0, 0, first, last, NULL, out, status, scratch);
            for (int r = 0; r < ROWS; r++) {
                assert_int_equal(status[r], 0);
                assert_memory_equal(got[v][r], got[0][r], (size_t)D * sizeof(float));
            }
        }
        for (int r = 0; r < ROWS; r++) {
            static double want[D_MAX];
            double sum = 0, error = 0, size = 0;
            memset(want, 0, sizeof want);
            for (int64_t j = first[r]; j <= last[r]; j++) {
                double s = 0;
                for (int d = 0; d < D + E; d++) s += (double)x[r][d] * (double)k[j][d];
                s *= (double)scale;
                if (i == 2) s = 2 * tanh(s / 2);
                sum += exp(s);
                for (int d = 0; d < D; d++) want[d] += exp(s) * (double)k[j][d];
            }
            for (int d = 0; d < D; d++) {
                double e = (double)got[0][r][d] - want[d] / sum;
                error += e * e, size += want[d] / sum * want[d] / sum;
            }
            assert_true(sqrt(error / size) < (type == KV16 ? 4e-4 : 4e-2));
        }
        for (int p = 0; p < 3; p++) free(pages[p]);
        free(scratch);
    }
    free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_to_softmax_in_double),
        cmocka_unit_test(caps_and_sinks_in_double),
        cmocka_unit_test(one_key_returns_its_value),
        cmocka_unit_test(page_keeps_prefix_maximum),
        cmocka_unit_test(store_refuses_what_is_out_of_range),
        cmocka_unit_test(hadamard_is_its_own_inverse_times_D),
        cmocka_unit_test(decode_equals_prefill),
        cmocka_unit_test(bad_row_leaves_the_others_alone),
        cmocka_unit_test(variants_quantise_alike),
        cmocka_unit_test(latent_in_double_and_alike),
        cmocka_unit_test(variants_give_the_bits_of_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
