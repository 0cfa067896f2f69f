/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chip/cpu/hot: with any memory for experts, given or found by the engine, and any number of threads the
 * logits are those of a model that is in memory as a whole. What the machine has left is said by this test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "chip/cpu/hot.h"
#include "serve/engine/engine.h"

#define MODEL "tests/data/tiny-experts.gguf"
enum { TOKENS = 70, CTX = 128 };

static uint64_t left_bytes = UINT64_MAX;

uint64_t memory_available(void)
{
    return left_bytes;
}

struct logits {
    float *p; /* [TOKENS][n_vocab] */
    int n_vocab;
};

static void keep(void *ud, int i_out, const float *logits, int status)
{
    struct logits *l = ud;
    assert_int_equal(status, 0);
    memcpy(l->p + (size_t)i_out * (size_t)l->n_vocab, logits, (size_t)l->n_vocab * sizeof *logits);
}

/* Opens, feeds a text in steps of `chunk` twice, and compares with want; want NULL: fills it. Returns what
 * the engine did with experts. */
static struct hot_use run(const struct engine_options *opt, int chunk, struct logits *want)
{
    struct engine *en;
    struct kv_seq seq;
    struct err e = {0};
    struct hot_use use = {0};
    int32_t ids[TOKENS];
    if (engine_open(&en, MODEL, opt, &e)) fail_msg("%s", e.msg);
    struct logits got = {.n_vocab = en->model->h.n_vocab};
    size_t bytes = TOKENS * (size_t)got.n_vocab * sizeof *got.p;
    for (int i = 0; i < TOKENS; i++) ids[i] = (i * 37 + i / 5) % 300;
    for (int pass = 0; pass < 2; pass++) {
        assert_non_null(got.p = calloc(1, bytes));
        assert_int_equal(kv_seq_init(&seq, en->kv, CTX, &e), 0);
        if (engine_feed(en, &seq, ids, TOKENS, 0, chunk, true, keep, &got, &e)) fail_msg("%s", e.msg);
        kv_seq_finish(&seq);
        if (!want->p) *want = got;
        else assert_memory_equal(got.p, want->p, bytes);
        if (got.p != want->p) free(got.p);
    }
    const struct cpu *c = (const struct cpu *)en->chip;
    if (c->hot) use = hot_use(c);
    engine_close(en);
    return use;
}

static void any_memory_gives_the_same_bits(void **state)
{
    (void)state;
    struct err e = {0};
    struct logits want = {0};
    struct engine_weight w;
    struct engine_options opt = {.n_threads = 1, .n_ctx = CTX, .n_batch = 64};
    assert_int_equal(engine_weigh(MODEL, &opt, &w, &e), 0);
    uint64_t all = w.weights, experts = w.experts;
    assert_true(experts > 0 && experts < all && w.work > 0);
    assert_int_equal(run(&opt, 0, &want).n_units, 0); /* not known what is left: all in memory */
    const size_t given[] = {1, (size_t)experts / 3, (size_t)experts / 2, (size_t)experts - 1, (size_t)experts + 1};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            opt.experts_bytes = given[i], opt.n_threads = threads;
            struct hot_use use = run(&opt, i % 2 ? 1 : 0, &want);
            assert_true(use.bytes <= given[i]);
            assert_int_equal(use.n_units > 0, given[i] < experts);
            assert_true(!use.n_units || use.kept + use.read > 0);
            if (i == 0) assert_int_equal(use.n_slots + (int)use.kept, 0);
        }
    free(want.p);
}

/* Without --experts-memory: what the rest of the model leaves of the machine's memory. */
static void the_engine_finds_a_share(void **state)
{
    (void)state;
    struct err e = {0};
    struct logits want = {0};
    struct engine_weight w;
    struct engine_options opt = {.n_threads = 2, .n_ctx = CTX, .n_batch = 64};
    assert_int_equal(engine_weigh(MODEL, &opt, &w, &e), 0);
    uint64_t all = w.weights, experts = w.experts;
    run(&opt, 0, &want);
    int last = -1, shares = 0;
    left_bytes = 1;
    assert_int_equal(run(&opt, 0, &want).n_slots, 0);
    for (left_bytes = all - experts; left_bytes < 64 * all; left_bytes += experts / 2) {
        struct hot_use use = run(&opt, 0, &want);
        if (!use.n_units) break; /* all fit */
        assert_true(use.n_slots >= last && use.n_slots < use.n_units);
        shares += use.n_slots > 0;
        last = use.n_slots;
    }
    assert_true(left_bytes < 64 * all && shares > 0);
    left_bytes = UINT64_MAX;
    free(want.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_memory_gives_the_same_bits),
                                       cmocka_unit_test(the_engine_finds_a_share)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
