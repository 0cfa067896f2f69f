/* SPDX-License-Identifier: Apache-2.0 */
/* serve/spec: with guesses or without, at any temperature and with any end, the answer is the same; guesses are found,
 * taken, and given up where they do not pay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "serve/engine/generate.h"

#define MODEL "tests/data/tiny.gguf"
#define OTHER "tests/data/tiny-q4_1.gguf"
enum { TEXT_MAX = 1 << 20, PROMPT = 150, CTX = 400 };

struct fixture {
    struct engine *en[2][2]; /* [KV16, KV8][answers, drafts] */
    struct engine *other;
    struct text text;
    int32_t prompt[PROMPT];
};

static int open_all(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e = {0};
    int rc = 0;
    assert_non_null(f);
    for (int i = 0; i < 4 && !rc; i++) {
        struct engine_options opt = {
            .n_threads = 2, .n_ctx = CTX, .n_seqs = 2, .n_batch = 64, .kv = i / 2 ? KV8 : KV16};
        rc = engine_open(&f->en[i / 2][i % 2], MODEL, &opt, &e);
    }
    struct engine_options opt = {.n_threads = 1, .n_ctx = CTX};
    if (rc || engine_open(&f->other, OTHER, &opt, &e) || text_open(&f->text, f->en[0][0]->file, &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < PROMPT; i++) f->prompt[i] = 3 + i % 25 + i / 70; /* repeats itself, almost */
    *state = f;
    return 0;
}

static int close_all(void **state)
{
    struct fixture *f = *state;
    text_close(&f->text);
    for (int i = 0; i < 4; i++) engine_close(f->en[i / 2][i % 2]);
    engine_close(f->other);
    free(f);
    return 0;
}

struct answer {
    int32_t ids[CTX];
    int n_ids, n_answer;
    enum generate_end end;
    struct buf text;
    struct spec_counts counts;
};

static int take(void *ud, struct str s)
{
    buf_append_str(ud, s);
    return 0;
}

static void answer(struct fixture *f, struct engine *en, struct spec *spec, const struct generate_params *p,
                   struct answer *a)
{
    struct generate g;
    struct err e = {0};
    struct generate_params q = *p;
    *a = (struct answer){0};
    buf_init(&a->text, TEXT_MAX);
    buf_append(&a->text, "", 0);
    q.text = take, q.ud = &a->text;
    if (generate_open(&g, en, &f->text, 0, &e)) fail_msg("%s", e.msg);
    g.spec = spec;
    if (generate_run(&g, f->prompt, PROMPT, &q, &e)) fail_msg("%s", e.msg);
    memcpy(a->ids, g.ids, (size_t)g.n_ids * sizeof *g.ids);
    a->n_ids = g.n_ids, a->n_answer = g.n_answer, a->end = g.end;
    if (spec) a->counts = spec->counts;
    generate_close(&g);
}

static void assert_same(const struct answer *a, const struct answer *b)
{
    assert_int_equal(a->end, b->end);
    assert_int_equal(a->n_ids, b->n_ids);
    assert_int_equal(a->n_answer, b->n_answer);
    assert_memory_equal(a->ids, b->ids, (size_t)a->n_ids * sizeof *a->ids);
    assert_int_equal(a->text.n, b->text.n);
    assert_memory_equal(a->text.p, b->text.p, a->text.n);
}

static void guesses_change_nothing(void **state)
{
    struct fixture *f = *state;
    static const float temperature[] = {0, 0.3f, 0.8f, 2};
    struct err e = {0};
    int right[3] = {0}, proposed[3] = {0};
    for (int i = 0; i < 16; i++) {
        struct engine **en = f->en[i & 1];
        struct generate_params p = {
            .ignore_end = i % 3 > 0, .show_special = true, .max_tokens = i % 5 == 4 ? 0 : 40 + i};
        sampler_params_default(&p.sample);
        p.sample.temperature = temperature[i / 4];
        p.sample.seed = (uint64_t)i;
        if (i % 4 == 2) p.sample.repetition_penalty = 1.3f, p.sample.presence_penalty = 0.5f;
        struct answer want, got;
        answer(f, en[0], NULL, &p, &want);
        for (int kind = 0; kind < 3; kind++) {
            struct spec *s = NULL;
            int n_vocab = en[0]->model->h.n_vocab;
            if (kind == 0 ? spec_open_lookup(&s, &e)
                          : spec_open_draft(&s, kind == 1 ? en[1] : f->other, n_vocab, &e))
                fail_msg("%s", e.msg);
            s->always = i % 2 == 0;
            answer(f, en[0], s, &p, &got);
            assert_same(&want, &got);
            proposed[kind] += got.counts.proposed, right[kind] += got.counts.accepted;
            buf_finish(&got.text);
            spec_close(s);
        }
        buf_finish(&want.text);
    }
    for (int kind = 0; kind < 3; kind++) assert_true(proposed[kind] > 0);
    assert_true(right[0] > 0);
    assert_true(right[1] * 10 > proposed[1] * 9); /* the same model guesses itself: it draws by the same key */
}

/* A stop string may be completed by any guess of a step; nothing of what follows may appear. */
static void stop_strings_hold(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct generate_params p = {.ignore_end = true, .show_special = true, .max_tokens = 60};
    struct answer all, want, got;
    int tried = 0;
    sampler_params_default(&p.sample);
    p.sample.temperature = 0.5f;
    answer(f, f->en[0][0], NULL, &p, &all);
    for (size_t at = 5; at + 3 < all.text.n && tried < 6; at++) {
        struct str stop = {all.text.p + at, 3};
        struct spec *s = NULL;
        bool ascii = true;
        for (size_t i = 0; i < stop.n; i++) ascii = ascii && stop.p[i] > ' ' && stop.p[i] < 127;
        if (!ascii) continue;
        tried++;
        p.stop = &stop, p.n_stop = 1;
        answer(f, f->en[0][0], NULL, &p, &want);
        assert_int_equal(spec_open_draft(&s, f->en[0][1], f->en[0][0]->model->h.n_vocab, &e), 0);
        s->always = true;
        answer(f, f->en[0][0], s, &p, &got);
        assert_same(&want, &got);
        assert_int_equal(got.end, GENERATE_STOP);
        spec_close(s);
        buf_finish(&want.text), buf_finish(&got.text);
    }
    assert_true(tried > 0);
    buf_finish(&all.text);
}

static void rests_where_it_does_not_pay(void **state)
{
    (void)state;
    struct spec *s = NULL;
    struct err e = {0};
    struct sampler_params p;
    int32_t ids[64];
    int guessed = 0;
    sampler_params_default(&p);
    for (int i = 0; i < 64; i++) ids[i] = i % 8;
    assert_int_equal(spec_open_lookup(&s, &e), 0);
    for (int i = 0; i < 1000; i++) { /* never right, and a guessing step takes twice as long */
        int n = spec_propose(s, ids, 64, 10, &p);
        guessed += n > 0;
        spec_note(s, n, 0, n ? 2e-3 : 1e-3);
    }
    assert_in_range(guessed, 1, 10);
    assert_true(s->counts.rests > 0 && s->counts.speedup < 1);
    spec_begin(s);
    guessed = 0;
    for (int i = 0; i < 1000; i++) { /* always right */
        int n = spec_propose(s, ids, 64, 10, &p);
        for (int j = 0; j < n; j++) assert_int_equal(s->guess[j], (64 + j) % 8);
        guessed += n > 0;
        spec_note(s, n, n, n ? 2e-3 : 1e-3);
    }
    assert_in_range(guessed, 950, 1000);
    assert_true(s->counts.rests == 0 && s->counts.speedup > 3);
    spec_close(s);
}

static void another_vocabulary_is_refused(void **state)
{
    struct fixture *f = *state;
    struct spec *s = NULL;
    struct err e = {0};
    assert_int_equal(spec_open_draft(&s, f->en[0][1], 7, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "7"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_change_nothing),
        cmocka_unit_test(stop_strings_hold),
        cmocka_unit_test(rests_where_it_does_not_pay),
        cmocka_unit_test(another_vocabulary_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
