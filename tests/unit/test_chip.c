/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chip/: the cache of keys and values; the same bits for every instruction set, number of threads, chunk
 * size, batch and place; what a number out of range does; and what the token path takes from the system:
 * nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/arena.h"
#include "serve/engine/engine.h"
#include "token/sampler.h"

static const char *const tiny[] = {"tests/data/tiny.gguf", "tests/data/tiny-f16.gguf",
                                   "tests/data/tiny-q4_1.gguf", "tests/data/tiny-q4_k.gguf",
                                   "tests/data/tiny-experts.gguf"};
enum { N_TINY = sizeof tiny / sizeof *tiny, TOKENS = 200, IDS = 384 };

static int32_t text[TOKENS + 8];

static void make_text(void)
{
    uint32_t x = 12345;
    for (int i = 0; i < TOKENS + 8; i++) {
        x = x * 1664525 + 1013904223;
        text[i] = (int32_t)(x >> 16) % IDS;
    }
}

static struct engine *open_engine(const char *path, struct engine_options opt)
{
    struct engine *en = NULL;
    struct err e = {0};
    if (engine_open(&en, path, &opt, &e)) fail_msg("%s: %s", path, e.msg);
    return en;
}

/* --- counting ----------------------------------------------------------------------------------------------- */

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

static _Atomic int n_alloc, n_map, n_lock;

#if !defined(SANITIZED) && defined(__GLIBC__)
#define COUNTED
/* The allocator of the C library under the names that a program calls. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
    n_alloc++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    n_alloc++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    n_alloc++;
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    n_alloc++;
    return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
    n_alloc++;
    *p = __libc_memalign(align, n);
    return *p ? 0 : 12; /* ENOMEM */
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    n_map++;
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
    static int (*real)(pthread_mutex_t *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    n_lock++;
    return real(m);
}
#endif

/* --- keys and values ---------------------------------------------------------------------------------------- */

static void pages_are_taken_and_given_back(void **state)
{
    (void)state;
    struct kv_pool *p;
    struct kv_seq a, b;
    struct err e = {0};
    struct kv_shape shape = {KV16, 2, 3, 64, 0};
    /* 4 pages and one for each of 2 sequences */
    assert_int_equal(kv_pool_create(&p, &shape, 4 * ATTN_CHUNK, 2, &e), 0);
    assert_int_equal(p->max_pages, 6);
    assert_int_equal(p->page_bytes % 4096, 0);
    assert_int_equal(kv_seq_init(&a, p, 5 * ATTN_CHUNK, &e), 0);
    assert_int_equal(kv_seq_init(&b, p, 6 * ATTN_CHUNK, &e), 0);
    assert_int_equal(kv_seq_reserve(&a, 0, &e), 0);
    assert_int_equal(a.n_pages, 0);
    assert_int_equal(kv_seq_reserve(&a, 1, &e), 0);
    assert_int_equal(a.n_pages, 1);
    assert_int_equal(kv_seq_reserve(&a, ATTN_CHUNK, &e), 0);
    assert_int_equal(a.n_pages, 1);
    assert_int_equal(kv_seq_reserve(&a, ATTN_CHUNK + 1, &e), 0);
    assert_int_equal(a.n_pages, 2);
    /* longer than the sequence may be */
    assert_int_equal(kv_seq_reserve(&a, 5 * ATTN_CHUNK + 1, &e), ERR_LIMIT);
    assert_int_equal(kv_seq_reserve(&b, 5 * ATTN_CHUNK, &e), ERR_LIMIT); /* the pool has 4 left */
    assert_non_null(strstr(e.msg, "no free KV page"));
    assert_int_equal(b.n_pages, 4);
    for (int i = 0; i < 4; i++) /* no page is given twice */
        for (int j = 0; j < i + 2; j++) assert_ptr_not_equal(b.page[i], j < 2 ? a.page[j] : b.page[j - 2]);
    memset(a.page[1], 0x55, p->page_bytes);
    void *page = a.page[1];
    kv_seq_truncate(&a, ATTN_CHUNK + 1);
    assert_int_equal(a.n_pages, 2);
    kv_seq_truncate(&a, ATTN_CHUNK);
    assert_int_equal(a.n_pages, 1);
    assert_int_equal(kv_seq_reserve(&b, 5 * ATTN_CHUNK, &e), 0);
    assert_ptr_equal(b.page[4], page);
    for (size_t i = 0; i < p->page_bytes; i++)
        assert_int_equal(((char *)page)[i], 0); /* not what another sequence left */
    kv_seq_finish(&b);
    kv_seq_finish(&b);
    kv_seq_finish(&a);
    assert_int_equal(p->n_free, p->max_pages);
    kv_pool_destroy(p);
}

static void limits_of_the_cache(void **state)
{
    (void)state;
    struct kv_pool *p = NULL;
    struct kv_seq s;
    struct err e = {0};
    assert_int_equal(kv_pool_create(&p, &(struct kv_shape){KV16, 1, 1, 20, 0}, 128, 1, &e), ERR_UNSUPPORTED);
    assert_int_equal(kv_pool_create(&p, &(struct kv_shape){KV16, 1, 1, KV_D_MAX + 16, 0}, 128, 1, &e),
                     ERR_UNSUPPORTED);
    assert_int_equal(kv_pool_create(&p, &(struct kv_shape){KV16, 1, 1, 64, 0}, 0, 1, &e), ERR_LIMIT);
    assert_int_equal(kv_pool_create(&p, &(struct kv_shape){KV16, 1024, 1024, 256, 0}, INT64_MAX / 4, 1, &e),
                     ERR_LIMIT);
    assert_null(p);
    assert_int_equal(kv_pool_create(&p, &(struct kv_shape){KV8, 1, 1, 64, 0}, 128, 1, &e), 0);
    assert_int_equal(kv_seq_init(&s, p, 0, &e), ERR_LIMIT);
    assert_int_equal(kv_seq_init(&s, p, 1000000, &e), ERR_LIMIT);
    kv_seq_finish(&s);
    kv_pool_destroy(p);
    kv_pool_destroy(NULL);
}

/* --- one answer --------------------------------------------------------------------------------------------- */

struct sum {
    uint64_t hash;
    int n_vocab, bad;
    const struct kv_seq *only; /* NULL: all rows */
};

static void add(void *ud, int i, const float *logits, int status)
{
    struct sum *s = ud;
    s->bad += status != 0;
    for (int j = 0; j < s->n_vocab; j++) {
        uint32_t bits;
        memcpy(&bits, &logits[j], 4);
        s->hash = (s->hash ^ bits) * 0x100000001b3u;
    }
    (void)i;
}

static uint64_t digest(const char *path, const char *isa, int threads, int chunk, enum kv_type kv)
{
    struct engine *en = open_engine(
        path, (struct engine_options){.isa = isa, .n_threads = threads, .kv = kv, .n_ctx = TOKENS});
    struct sum s = {0xcbf29ce484222325u, en->model->h.n_vocab, 0, NULL};
    struct kv_seq seq;
    struct err e = {0};
    assert_int_equal(kv_seq_init(&seq, en->kv, TOKENS, &e), 0);
    assert_int_equal(engine_feed(en, &seq, text, TOKENS, 0, chunk, true, add, &s, &e), 0);
    assert_int_equal(s.bad, 0);
    kv_seq_finish(&seq);
    engine_close(en);
    return s.hash;
}

static void same_bits_everywhere(void **state)
{
    (void)state;
    static const int chunks[] = {1, 7, 64, 512};
    for (int m = 0; m < N_TINY; m++) {
        for (enum kv_type kv = KV16; kv <= KV8; kv++) {
            uint64_t want = digest(tiny[m], "ref", 1, 512, kv);
            for (int i = 0; i < kern_count(); i++)
                if (kern_usable(i))
                    assert_int_equal(digest(tiny[m], kern_at(i)->name, 1 + i % 3, 64, kv), want);
            for (int i = 0; i < 4; i++)
                assert_int_equal(digest(tiny[m], NULL, 1 + i % 3, chunks[i], kv), want);
            for (int t = 1; t <= 3; t++) assert_int_equal(digest(tiny[m], NULL, t, 50, kv), want);
        }
    }
}

/* The first sequence's logits with others in the same steps, which start, end and change all the time. */
static uint64_t digest_among(struct engine *en, int n_other)
{
    enum { MAX_OTHERS = 7, CHUNK = 9 };
    struct kv_seq seq[MAX_OTHERS + 1];
    int len[MAX_OTHERS + 1] = {0}, out[CHUNK];
    struct sum s = {0xcbf29ce484222325u, en->model->h.n_vocab, 0, NULL};
    struct err e = {0};
    for (int j = 0; j <= n_other; j++) assert_int_equal(kv_seq_init(&seq[j], en->kv, TOKENS, &e), 0);
    for (int at = 0; at < TOKENS; at += CHUNK) {
        struct batch_part parts[MAX_OTHERS + 1];
        int n = TOKENS - at < CHUNK ? TOKENS - at : CHUNK, rows = 0, first = n_other / 2, np = 0;
        for (int j = 0; j <= n_other; j++) { /* the sequence in question stands in the middle */
            int k = j == first ? n : 1 + (at + j) % 4;
            if (j != first && len[j] + k > 20 * (j + 1)) kv_seq_truncate(&seq[j], len[j] = (at + j) % 3);
            assert_int_equal(kv_seq_reserve(&seq[j], len[j] + k, &e), 0);
            parts[np++] = (struct batch_part){&seq[j], text + (j == first ? at : (len[j] + 31 * j) % TOKENS),
                                              k, len[j]};
            if (j == first)
                for (int i = 0; i < n; i++) out[i] = rows + i;
            rows += k;
            len[j] += k;
        }
        assert_int_equal(chip_step(en->chip,
                                   &(struct batch){.parts = parts, .n_parts = np, .out = out, .n_out = n},
                                   add, &s, &e),
                         0);
    }
    for (int j = 0; j <= n_other; j++) kv_seq_finish(&seq[j]);
    assert_int_equal(s.bad, 0);
    return s.hash;
}

static void same_bits_in_company(void **state)
{
    (void)state;
    for (int m = 0; m < N_TINY; m++) {
        struct engine *en = open_engine(
            tiny[m], (struct engine_options){.n_threads = 2, .n_ctx = 2048, .n_seqs = 8, .n_batch = 64});
        uint64_t want = digest_among(en, 0);
        assert_int_equal(digest_among(en, 1), want);
        assert_int_equal(digest_among(en, 7), want);
        engine_close(en);
    }
}

/* --- numbers out of range ----------------------------------------------------------------------------------- */

struct rows {
    int status[TOKENS];
    uint64_t hash[TOKENS];
};

static void note_rows(void *ud, int i, const float *logits, int status)
{
    struct rows *r = ud;
    struct sum s = {0, 256, 0, NULL};
    r->status[i] = status;
    if (!status) add(&s, i, logits, 0);
    r->hash[i] = s.hash;
}

/* Which of the first 64 ids leave the range on their own, when the gains of the first layer's second norm are g. */
static int bad_ids(struct engine *en, float g, bool *bad)
{
    const struct program *p = en->program;
    int n = 0;
    for (int i = 0; i < p->n_vectors; i++)
        if (str_eqz(p->vectors[i].t->name, "blk.0.ffn_norm.weight"))
            for (uint64_t j = 0; j < p->vectors[i].t->ne[0]; j++)
                memcpy((char *)(uintptr_t)(p->vectors[i].x + j), &g, sizeof g);
    for (int32_t id = 0; id < 64; id++) {
        struct kv_seq seq;
        struct err e = {0};
        struct rows r;
        assert_int_equal(kv_seq_init(&seq, en->kv, 8, &e), 0);
        assert_int_equal(engine_feed(en, &seq, &id, 1, 0, 0, false, note_rows, &r, &e), 0);
        assert_true(r.status[0] == 0 || r.status[0] == ERR_RANGE);
        n += bad[id] = r.status[0] != 0;
        kv_seq_finish(&seq);
    }
    return n;
}

static void faults_stay(void **state)
{
    (void)state;
    struct engine *en =
        open_engine(tiny[0], (struct engine_options){.n_threads = 2, .n_ctx = 512, .n_seqs = 2});
    bool bad[64];
    int n = 0;
    for (float g = 0x1p24f; g < 0x1p40f && n < 8; g *= 1.05f)
        n = bad_ids(en, g, bad); /* squares of activations reach 2^60 */
    assert_in_range(n, 8, 56);
    int32_t good_id = 0;
    while (bad[good_id]) good_id++;
    struct kv_seq seq, clean;
    struct err e = {0};
    struct rows r, want;
    int32_t ids[6] = {good_id, good_id, good_id, 0, good_id, good_id};
    assert_int_equal(kv_seq_init(&seq, en->kv, 64, &e), 0);
    assert_int_equal(kv_seq_init(&clean, en->kv, 64, &e), 0);
    assert_int_equal(engine_feed(en, &clean, ids, 3, 0, 0, true, note_rows, &want, &e), 0);
    do { /* an id that is bad at position 3 as well */
        assert_in_range(ids[3], 0, 63);
        kv_seq_truncate(&seq, 0);
        assert_int_equal(engine_feed(en, &seq, ids, 6, 0, 0, true, note_rows, &r, &e), 0);
    } while (r.status[3] == 0 && ids[3]++ < 64);
    for (int i = 0; i < 6; i++) assert_int_equal(r.status[i], i < 3 ? 0 : ERR_RANGE);
    for (int i = 0; i < 3; i++) assert_true(r.hash[i] == want.hash[i]);
    /* later steps, too */
    assert_int_equal(engine_feed(en, &seq, ids, 1, 6, 0, true, note_rows, &r, &e), ERR_RANGE);
    assert_non_null(strstr(e.msg, "position 3"));
    kv_seq_truncate(&seq, 3);
    assert_int_equal(engine_feed(en, &seq, ids, 1, 3, 0, true, note_rows, &r, &e), 0);
    assert_int_equal(engine_feed(en, &clean, ids, 1, 3, 0, true, note_rows, &want, &e), 0);
    assert_int_equal(r.status[0], want.status[0]);
    assert_true(r.hash[0] == want.hash[0]);
    kv_seq_finish(&seq);
    kv_seq_finish(&clean);
    engine_close(en);
}

static void bad_batches_are_refused(void **state)
{
    (void)state;
    struct engine *en =
        open_engine(tiny[0], (struct engine_options){.n_threads = 1, .n_ctx = 256, .n_batch = 8});
    struct kv_seq seq;
    struct err e = {0};
    struct rows r;
    int32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, wrong[2] = {1, 512};
    int out[3] = {0, 0, 1}, far = 8;
    assert_int_equal(kv_seq_init(&seq, en->kv, 256, &e), 0);
    assert_int_equal(kv_seq_reserve(&seq, 100, &e), 0);
    struct batch_part cases[] = {{&seq, ids, 9, 0},   {&seq, ids, 0, 0},   {&seq, ids, 1, -1},
                                 {&seq, ids, 8, 128}, {&seq, wrong, 2, 0}, {&seq, ids, 1, INT32_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(chip_step(en->chip,
                                   &(struct batch){.parts = &cases[i], .n_parts = 1, .out = out, .n_out = 1},
                                   note_rows, &r, &e),
                         ERR_USAGE);
    struct batch_part ok = {&seq, ids, 8, 0};
    assert_int_equal(chip_step(en->chip, &(struct batch){.parts = &ok, .n_parts = 0, .out = out, .n_out = 0},
                               note_rows, &r, &e),
                     ERR_USAGE);
    assert_int_equal(chip_step(en->chip, &(struct batch){.parts = &ok, .n_parts = 1, .out = out, .n_out = 3},
                               note_rows, &r, &e),
                     ERR_USAGE);
    assert_int_equal(chip_step(en->chip, &(struct batch){.parts = &ok, .n_parts = 1, .out = &far, .n_out = 1},
                               note_rows, &r, &e),
                     ERR_USAGE);
    assert_int_equal(chip_step(en->chip, &(struct batch){.parts = &ok, .n_parts = 1, .out = out, .n_out = 1},
                               note_rows, &r, &e),
                     0);
    kv_seq_finish(&seq);
    engine_close(en);
}

/* --- the token path ----------------------------------------------------------------------------------------- */

static float last[512];

static void keep(void *ud, int i, const float *logits, int status)
{
    memcpy(last, logits, sizeof(float) * (size_t) * (int *)ud);
    (void)i, (void)status;
}

static void token_path_takes_nothing(void **state)
{
    (void)state;
#ifndef COUNTED
    skip();
#endif
    struct engine *en =
        open_engine(tiny[0], (struct engine_options){.n_threads = 2, .n_ctx = 1024, .n_seqs = 2});
    struct kv_seq seq;
    struct err e = {0};
    struct sampler *sampler;
    struct sampler_params params;
    int32_t context[TOKENS + 600];
    int n = TOKENS, n_vocab = en->model->h.n_vocab;
    sampler_params_default(&params);
    params.repetition_penalty = 1.1f;
    memcpy(context, text, TOKENS * sizeof *text);
    assert_int_equal(sampler_create(&sampler, n_vocab, kern_select(NULL, &e), &e), 0);
    assert_int_equal(kv_seq_init(&seq, en->kv, 1000, &e), 0);
    void *probe = malloc(1); /* the counters count */
    assert_non_null(probe);
    free(probe);
    assert_true(n_alloc > 0 && n_map > 0);
    uint64_t arenas = arena_count();
    int allocs = n_alloc, maps = n_map, locks = n_lock;
    int rc = engine_feed(en, &seq, text, TOKENS, 0, 0, false, keep, &n_vocab, &e);
    for (int i = 0; i < 500 && rc == 0; i++) { /* over page borders */
        int32_t id = sampler_draw(sampler, &params, last, context, n, n, NULL);
        if (id < 0) rc = id;
        context[n] = id;
        if (rc == 0) rc = engine_feed(en, &seq, &id, 1, n++, 0, false, keep, &n_vocab, &e);
    }
    allocs = n_alloc - allocs, maps = n_map - maps, locks = n_lock - locks;
    assert_int_equal(rc, 0);
    assert_int_equal(allocs, 0);
    assert_int_equal(maps, 0);
    assert_int_equal(locks, 0);
    assert_int_equal(arena_count() - arenas, 0);
    kv_seq_finish(&seq);
    sampler_destroy(sampler);
    engine_close(en);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_taken_and_given_back),
        cmocka_unit_test(limits_of_the_cache),
        cmocka_unit_test(same_bits_everywhere),
        cmocka_unit_test(same_bits_in_company),
        cmocka_unit_test(faults_stay),
        cmocka_unit_test(bad_batches_are_refused),
        cmocka_unit_test(token_path_takes_nothing),
    };
    make_text();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
