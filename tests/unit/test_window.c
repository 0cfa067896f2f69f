/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chip/kv: keys and values behind the windows of layers are given back, and no bit of any logit tells; a
 * sequence that is cut keeps what it can go on from, else nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "serve/engine/generate.h"

#define MODEL "tests/data/tiny-experts.gguf" /* its first layer sees 24 positions, its second one all */
enum { TOKENS = 900, WINDOW = 24, SEEN = 40 /* logits that are compared */ };

struct rows {
    float *p;
    int n, n_vocab;
};

static void keep(void *ud, int i_out, const float *logits, int status)
{
    struct rows *r = ud;
    (void)i_out;
    assert_int_equal(status, 0);
    memcpy(r->p + (size_t)(r->n++ % SEEN) * (size_t)r->n_vocab, logits, (size_t)r->n_vocab * sizeof *logits);
}

static struct engine *open_engine(bool forgets, int threads)
{
    struct engine *en;
    struct err e = {0};
    struct engine_options o = {.n_threads = threads, .n_ctx = TOKENS + 100, .n_batch = 64};
    if (engine_open(&en, MODEL, &o, &e)) fail_msg("%s", e.msg);
    assert_non_null(en->kv->window);
    assert_int_equal(en->kv->widest, WINDOW);
    if (!forgets) assert_int_equal(kv_pool_forget(en->kv, NULL, &e), 0);
    return en;
}

/* But for the system's pages that it shares with its neighbours. */
static bool is_zero(const struct kv_pool *p, const struct kv_seq *s, int page, int layer)
{
    const char *from = (const char *)s->page[page] + kv_view_offset(p, layer, 0),
               *end = (const char *)s->page[page] + kv_view_offset(p, layer + 1, 0);
    from += -(uintptr_t)from % 4096, end -= (uintptr_t)end % 4096;
    assert_true(from < end);
    while (from < end && !*from) from++;
    return from == end;
}

/* The last SEEN rows of a text that is fed in two parts, with a cut between them that goes back a little. */
static float *last_rows(bool forgets, int threads, int chunk)
{
    struct engine *en = open_engine(forgets, threads);
    struct rows r = {.n_vocab = en->model->h.n_vocab};
    struct kv_seq s;
    struct err e = {0};
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++) ids[i] = (i * 31 + i / 9) % 300;
    assert_non_null(r.p = calloc((size_t)SEEN * (size_t)r.n_vocab, sizeof *r.p));
    assert_int_equal(kv_seq_init(&s, en->kv, TOKENS, &e), 0);
    assert_int_equal(engine_feed(en, &s, ids, 700, 0, chunk, false, NULL, NULL, &e), 0);
    assert_int_equal(s.n_forgot, forgets ? (700 - KV_FORGET_AFTER - WINDOW + 1) / ATTN_CHUNK : 0);
    for (int c = 0; c < s.n_forgot; c++) assert_true(is_zero(en->kv, &s, c, 0) && !is_zero(en->kv, &s, c, 1));
    assert_false(is_zero(en->kv, &s, s.n_forgot, 0));
    assert_int_equal(kv_seq_truncate(&s, 650), 650);
    assert_int_equal(engine_feed(en, &s, ids + 650, TOKENS - 650, 650, chunk, true, keep, &r, &e), 0);
    assert_int_equal(kv_seq_truncate(&s, 300), forgets ? 0 : 300);
    assert_int_equal(s.n_pages, forgets ? 0 : 3);
    kv_seq_finish(&s);
    assert_int_equal(en->kv->n_free, en->kv->max_pages);
    engine_close(en);
    return r.p;
}

static void bits_do_not_tell(void **state)
{
    (void)state;
    float *want = last_rows(false, 1, 64);
    for (int threads = 1; threads <= 3; threads += 2)
        for (int chunk = 1; chunk <= 64; chunk += 63) {
            float *got = last_rows(true, threads, chunk);
            assert_memory_equal(got, want, (size_t)SEEN * 384 * sizeof *got);
            free(got);
        }
    free(want);
}

/* A second prompt that parts from the first one behind what was forgotten is computed from the beginning, and
 * answered alike. */
static void an_earlier_turn_is_read_again(void **state)
{
    (void)state;
    struct err e = {0};
    int32_t ids[2][TOKENS], answer[2][8];
    for (int i = 0; i < TOKENS; i++)
        ids[0][i] = (i * 31 + i / 9) % 300, ids[1][i] = i < 400 ? ids[0][i] : (i * 7) % 300;
    for (int forgets = 0; forgets < 2; forgets++) {
        struct engine *en = open_engine(forgets, 2);
        struct text t;
        struct generate g;
        struct generate_params p = {.max_tokens = 8, .ignore_end = true};
        sampler_params_default(&p.sample);
        assert_int_equal(text_open(&t, en->file, &e), 0);
        assert_int_equal(generate_open(&g, en, &t, 0, &e), 0);
        for (int turn = 0; turn < 2; turn++) assert_int_equal(generate_run(&g, ids[turn], TOKENS, &p, &e), 0);
        assert_int_equal(g.n_cached, forgets ? 0 : 400);
        memcpy(answer[forgets], g.ids + TOKENS, sizeof answer[0]);
        generate_close(&g);
        text_close(&t);
        engine_close(en);
    }
    assert_memory_equal(answer[0], answer[1], sizeof answer[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bits_do_not_tell),
                                       cmocka_unit_test(an_earlier_turn_is_read_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
