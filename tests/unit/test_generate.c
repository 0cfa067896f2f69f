/* SPDX-License-Identifier: Apache-2.0 */
/* serve/generate: an answer does not depend on what was cached or how the prompt was cut; every reason to end; no
 * allocation per token. */
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
enum { TEXT_MAX = 1 << 20, PROMPT = 300, CTX = 600 };

/* Allocations of the whole process, where the C library lets us count them. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS 1
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
static _Atomic long n_allocs;
void *malloc(size_t n)
{
    n_allocs++;
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    n_allocs++;
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    n_allocs++;
    return __libc_realloc(p, n);
}
#else
#define COUNTS 0
static long n_allocs;
#endif

struct fixture {
    struct engine *en;
    struct text text;
    struct generate g;
    int32_t prompt[PROMPT];
};

static int open_all(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e = {0};
    struct engine_options opt = {.n_threads = 2, .n_ctx = CTX, .n_seqs = 2, .n_batch = 64};
    assert_non_null(f);
    if (engine_open(&f->en, MODEL, &opt, &e) || text_open(&f->text, f->en->file, &e) ||
        generate_open(&f->g, f->en, &f->text, 0, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return -1;
    }
    for (int i = 0; i < PROMPT; i++) f->prompt[i] = (i * 37 + i / 7) % 500;
    *state = f;
    return 0;
}

static int close_all(void **state)
{
    struct fixture *f = *state;
    generate_close(&f->g);
    text_close(&f->text);
    engine_close(f->en);
    free(f);
    return 0;
}

struct sink {
    struct buf text;
    int calls, refuse_at;
    long allocs_first, allocs_last;
};

static int take(void *ud, struct str s)
{
    struct sink *k = ud;
    assert_true(s.n > 0);
    if (k->calls == 0) k->allocs_first = n_allocs;
    k->allocs_last = n_allocs;
    buf_append_str(&k->text, s);
    return ++k->calls == k->refuse_at;
}

static struct generate_params params(struct sink *k, int max_tokens)
{
    struct generate_params p = {
        .max_tokens = max_tokens, .ignore_end = true, .show_special = true, .text = take, .ud = k};
    *k = (struct sink){0};
    buf_init(&k->text, TEXT_MAX);
    buf_append(&k->text, "", 0);
    sampler_params_default(&p.sample);
    p.sample.temperature = 1;
    p.sample.seed = 11;
    return p;
}

/* A generator of its own: nothing is cached. */
static void fresh(struct fixture *f, const int32_t *prompt, int n, int max_tokens, struct sink *k, int32_t *ids)
{
    struct generate g;
    struct err e = {0};
    struct generate_params p = params(k, max_tokens);
    assert_int_equal(generate_open(&g, f->en, &f->text, 0, &e), 0);
    assert_int_equal(generate_run(&g, prompt, n, &p, &e), 0);
    assert_int_equal(g.n_cached, 0);
    memcpy(ids, g.ids, (size_t)g.n_ids * sizeof *ids);
    generate_close(&g);
}

static void cached_prefix_changes_nothing(void **state)
{
    struct fixture *f = *state;
    static const int shared[] = {0, 1, 60, 127, 128, 129, 250, PROMPT - 1, PROMPT};
    int32_t want_ids[CTX], other[PROMPT];
    struct sink want, k;
    struct err e = {0};
    fresh(f, f->prompt, PROMPT, 20, &want, want_ids);
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        /* The cache holds another prompt and its answer; shared[i] tokens are the same. */
        for (int j = 0; j < PROMPT; j++) other[j] = j < shared[i] ? f->prompt[j] : (f->prompt[j] + 1) % 500;
        struct generate_params p = params(&k, 7);
        assert_int_equal(generate_run(&f->g, other, PROMPT, &p, &e), 0);
        buf_finish(&k.text);
        p = params(&k, 20);
        assert_int_equal(generate_run(&f->g, f->prompt, PROMPT, &p, &e), 0);
        assert_int_equal(f->g.n_cached, shared[i] < PROMPT ? shared[i] : PROMPT - 1);
        assert_int_equal(f->g.end, GENERATE_MAX_TOKENS);
        assert_int_equal(f->g.n_ids, PROMPT + 20);
        assert_memory_equal(f->g.ids, want_ids, (PROMPT + 20) * sizeof *want_ids);
        assert_string_equal(k.text.p, want.text.p);
        buf_finish(&k.text);
    }
    buf_finish(&want.text);
}

/* The next turn of a conversation feeds only what is new, and gives what a fresh run gives. */
static void a_turn_reuses_the_answer(void **state)
{
    struct fixture *f = *state;
    int32_t next[CTX], ids[CTX];
    struct sink k, want;
    struct err e = {0};
    struct generate_params p = params(&k, 30);
    assert_int_equal(generate_run(&f->g, f->prompt, 100, &p, &e), 0);
    buf_finish(&k.text);
    memcpy(next, f->g.ids, 130 * sizeof *next);
    for (int i = 130; i < 150; i++) next[i] = i;
    fresh(f, next, 150, 25, &want, ids);
    p = params(&k, 25);
    assert_int_equal(generate_run(&f->g, next, 150, &p, &e), 0);
    assert_int_equal(f->g.n_cached, 129); /* the last token of an answer was never fed */
    assert_memory_equal(f->g.ids, ids, 175 * sizeof *ids);
    assert_string_equal(k.text.p, want.text.p);
    buf_finish(&k.text);
    buf_finish(&want.text);
}

static void every_end(void **state)
{
    struct fixture *f = *state;
    struct sink k;
    struct err e = {0};
    struct generate_params p = params(&k, 40);
    assert_int_equal(generate_run(&f->g, f->prompt, 50, &p, &e), 0);
    assert_int_equal(f->g.end, GENERATE_MAX_TOKENS);
    assert_int_equal(f->g.n_answer, 40);
    assert_true(k.text.n > 8);

    /* A stop string from the middle of that text: the text ends before its first place. */
    char stop_text[4], want[TEXT_MAX / 1024];
    snprintf(want, sizeof want, "%s", k.text.p);
    memcpy(stop_text, k.text.p + utf8_valid((struct str){k.text.p, 5}), 3);
    size_t n = utf8_valid((struct str){stop_text, 3});
    stop_text[n] = 0;
    struct str stop = {stop_text, n};
    buf_finish(&k.text);
    p = params(&k, 40);
    p.stop = &stop;
    p.n_stop = 1;
    assert_true(n > 0);
    assert_int_equal(generate_run(&f->g, f->prompt, 50, &p, &e), 0);
    assert_int_equal(f->g.end, GENERATE_STOP);
    *strstr(want, stop_text) = 0;
    assert_string_equal(k.text.p, want);
    buf_finish(&k.text);

    p = params(&k, 0);
    assert_int_equal(generate_run(&f->g, f->prompt, PROMPT, &p, &e), 0);
    assert_int_equal(f->g.end, GENERATE_CONTEXT);
    assert_int_equal(f->g.n_ids, CTX);
    buf_finish(&k.text);

    p = params(&k, 0);
    k.refuse_at = 3;
    assert_int_equal(generate_run(&f->g, f->prompt, 50, &p, &e), 0);
    assert_int_equal(f->g.end, GENERATE_CANCELLED);
    buf_finish(&k.text);

    /* Cancelled before the first token of a long prompt: between two pieces of it. */
    atomic_int cancel = 1;
    p = params(&k, 0);
    p.cancel = &cancel;
    f->prompt[0] ^= 1; /* nothing cached */
    assert_int_equal(generate_run(&f->g, f->prompt, PROMPT, &p, &e), 0);
    f->prompt[0] ^= 1;
    assert_int_equal(f->g.end, GENERATE_CANCELLED);
    assert_int_equal(f->g.n_answer, 0);
    assert_true(f->g.n_kv < PROMPT);
    assert_int_equal(k.calls, 0);
    buf_finish(&k.text);
}

static void faults_are_refused_and_harm_nothing(void **state)
{
    struct fixture *f = *state;
    struct sink k;
    struct err e = {0};
    int32_t bad[3] = {1, 512, 2}, big[CTX] = {0};
    struct generate_params p = params(&k, 5);
    assert_int_equal(generate_run(&f->g, big, CTX, &p, &e), ERR_LIMIT);
    assert_non_null(strstr(e.msg, "600 tokens and the context 600"));
    assert_int_equal(f->g.end, GENERATE_FAILED);
    assert_int_equal(generate_run(&f->g, bad, 3, &p, &e), ERR_USAGE);
    assert_int_equal(generate_run(&f->g, bad, 0, &p, &e), ERR_USAGE);
    p.sample.top_p = 2;
    assert_int_equal(generate_run(&f->g, bad, 1, &p, &e), ERR_USAGE);
    assert_int_equal(k.calls, 0);
    p.sample.top_p = 1;
    assert_int_equal(generate_run(&f->g, f->prompt, 20, &p, &e), 0);
    assert_int_equal(f->g.n_answer, 5);
    buf_finish(&k.text);
}

static void nothing_is_allocated_per_token(void **state)
{
    struct fixture *f = *state;
    struct sink k;
    struct err e = {0};
    if (!COUNTS) {
        print_message("[ *skipped* ] allocations are counted with glibc and without sanitizers only\n");
        return;
    }
    struct generate_params p = params(&k, 0);
    free(k.text.p);
    k.text = (struct buf){.p = malloc(TEXT_MAX + 1), .cap = TEXT_MAX + 1, .max = TEXT_MAX};
    assert_int_equal(generate_run(&f->g, f->prompt, PROMPT, &p, &e), 0);
    assert_true(k.calls > 100);
    assert_int_equal(k.allocs_last - k.allocs_first, 0);
    long before = n_allocs;
    void *volatile block = malloc(16); /* the counter works */
    free(block);
    assert_true(n_allocs > before);
    buf_finish(&k.text);
}

/* A control token is hidden unless it is a mark; either way no stop string reaches across it, and none is
 * found in it. */
static void marks_are_shown(void **state)
{
    struct fixture *f = *state;
    const struct tokenizer *t = f->text.tok;
    int32_t control = -1, letter = -1;
    for (int32_t i = 0; i < (int32_t)tokenizer_n_tokens(t); i++) {
        if (tokenizer_type(t, i) == TOKEN_CONTROL && tokenizer_piece(t, i).n > 1 && !tokenizer_is_end(t, i))
            control = i;
        if (str_eqz(tokenizer_piece(t, i), "a")) letter = i;
    }
    assert_true(control >= 0 && letter >= 0);
    struct str mark = tokenizer_piece(t, control), stop[] = {STR("aa"), {mark.p, 1}};
    for (int shown = 0; shown < 2; shown++) {
        struct err e = {0};
        struct generate_params p = {.stop = stop, .n_stop = 2, .ignore_end = true, .marks = &control, .n_marks = shown};
        char want[64];
        sampler_params_default(&p.sample);
        assert_int_equal(generate_begin(&f->g, f->prompt, 2, &p, &e), 0);
        const int32_t ids[] = {letter, control, letter};
        for (int i = 0; i < 3; i++) assert_int_equal(generate_take(&f->g, ids[i], &e), 0);
        assert_int_equal(f->g.end, GENERATE_GOES_ON);
        generate_release(&f->g);
        snprintf(want, sizeof want, "a%.*sa", shown ? (int)mark.n : 0, mark.p);
        assert_string_equal(f->g.show.p, want);
        buf_clear(&f->g.show);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cached_prefix_changes_nothing),
        cmocka_unit_test(a_turn_reuses_the_answer),
        cmocka_unit_test(every_end),
        cmocka_unit_test(marks_are_shown),
        cmocka_unit_test(faults_are_refused_and_harm_nothing),
        cmocka_unit_test(nothing_is_allocated_per_token),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
