/* SPDX-License-Identifier: Apache-2.0 */
/* serve/library: include/tutti.h as its users call it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tutti.h"

#define TINY "tests/data/tiny.gguf"
enum { VOCAB = 512 };

static tutti_model *open_tiny(int n_sessions, int n_batch)
{
    struct tutti_model_options o;
    struct tutti_error e;
    tutti_model *m = NULL;
    tutti_model_options_default(&o);
    o.n_threads = 2;
    o.n_sessions = n_sessions;
    o.n_batch = n_batch;
    assert_int_equal(tutti_model_open(&m, TINY, &o, &e), 0);
    return m;
}

static void faults_are_named(void **state)
{
    (void)state;
    struct tutti_error e;
    tutti_model *m = NULL;
    struct tutti_model_options o;
    assert_int_equal(tutti_model_open(&m, "/nowhere/x.gguf", NULL, &e), TUTTI_ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "/nowhere/x.gguf"));
    assert_int_equal(e.code, TUTTI_ERR_NOT_FOUND);
    tutti_model_options_default(&o);
    o.size--;
    assert_int_equal(tutti_model_open(&m, TINY, &o, &e), TUTTI_ERR_USAGE);
    tutti_model_options_default(&o);
    o.kv_bits = 5;
    assert_int_equal(tutti_model_open(&m, TINY, &o, NULL), TUTTI_ERR_USAGE);
    tutti_model_options_default(&o);
    o.isa = "abacus";
    assert_int_equal(tutti_model_open(&m, TINY, &o, &e), TUTTI_ERR_USAGE);
    assert_non_null(strstr(e.message, "abacus"));
    tutti_model_options_default(&o);
    o.n_ctx = 1 << 30;
    assert_int_equal(tutti_model_open(&m, TINY, &o, &e), TUTTI_ERR_USAGE);
    assert_null(m);
    tutti_model_close(NULL);
    tutti_session_free(NULL);
    tutti_decoder_free(NULL);
}

static void collect(void *user_data, const char *text, size_t n)
{
    strncat(user_data, text, n);
}

static void text_goes_there_and_back(void **state)
{
    (void)state;
    tutti_model *m = open_tiny(1, 64);
    const char *text = "one two, three \xed\x95\x9c!";
    int32_t ids[64];
    char back[64], streamed[256] = "";
    int64_t n = tutti_tokenize(m, text, strlen(text), 0, ids, 64, NULL);
    assert_in_range(n, 1, 64);
    int32_t first[2] = {-1, -1};
    assert_int_equal(tutti_tokenize(m, text, strlen(text), 0, first, 1, NULL), n);
    assert_int_equal(first[0], ids[0]);
    assert_int_equal(first[1], -1);
    assert_int_equal(tutti_detokenize(m, ids, (size_t)n, 0, back, sizeof back, NULL), strlen(text));
    assert_memory_equal(back, text, strlen(text));
    assert_int_equal(tutti_detokenize(m, ids, (size_t)n, 0, back, 0, NULL), strlen(text));
    tutti_decoder *d;
    assert_int_equal(tutti_decoder_create(&d, m, 0, NULL), 0);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(tutti_decoder_feed(d, ids[i], collect, streamed, NULL), 0);
    assert_int_equal(tutti_decoder_finish(d, collect, streamed, NULL), 0);
    assert_string_equal(streamed, text);
    tutti_decoder_free(d);
    assert_int_equal(tutti_tokenize(m, text, 3, 64, ids, 64, NULL), TUTTI_ERR_USAGE);
    tutti_model_close(m);
}

static void chat_is_rendered(void **state)
{
    (void)state;
    tutti_model *m = open_tiny(1, 64);
    struct tutti_model_info info = {.size = sizeof info};
    struct tutti_error e;
    assert_int_equal(tutti_model_info(m, &info, &e), 0);
    assert_int_equal(info.n_vocab, VOCAB);
    assert_int_equal(info.n_layer, 2);
    assert_string_equal(info.arch, "llama");
    int32_t ids[512];
    struct tutti_message hello = {"user", "hello"}, broken = {"user", "\xff"};
    if (info.has_chat) {
        int64_t n = tutti_chat(m, &hello, 1, ids, 512, &e),
                bare = tutti_tokenize(m, "hello", 5, 0, ids, 512, &e);
        assert_true(n > bare);
        assert_int_equal(tutti_chat(m, &broken, 1, ids, 512, &e), TUTTI_ERR_FORMAT);
    }
    char *listing = calloc(1, 1 << 20);
    assert_int_equal(tutti_model_explain(m, collect, listing, &e), 0);
    assert_non_null(strstr(listing, "matmul"));
    free(listing);
    tutti_model_close(m);
}

static void same_answer_by_every_way(void **state)
{
    (void)state;
    enum { N = 40, FIRST = 7 };
    static float one[VOCAB], other[VOCAB];
    tutti_model *m = open_tiny(3, 16); /* a step is shorter than what comes to be run */
    tutti_session *a, *b, *c;
    int32_t prompt[FIRST] = {5, 17, 99, 300, 4, 4, 511}, answer[N], id;
    struct tutti_error e;
    assert_int_equal(tutti_session_create(&a, m, 0, &e), 0);
    assert_int_equal(tutti_session_feed(a, prompt, FIRST, &e), 0);
    for (int i = 0; i < N; i++) assert_int_equal(tutti_session_next(a, NULL, &answer[i], &e), 0);
    assert_int_equal(tutti_session_length(a), FIRST + N);
    assert_int_equal(tutti_session_logits(a, one, VOCAB, &e), 0);

    /* all at once, and after a rewind */
    assert_int_equal(tutti_session_create(&b, m, 64, &e), 0);
    assert_int_equal(tutti_session_feed(b, prompt, FIRST, &e), 0);
    assert_int_equal(tutti_session_feed(b, answer, N, &e), 0);
    assert_int_equal(tutti_session_logits(b, other, VOCAB, &e), 0);
    assert_memory_equal(one, other, sizeof one);
    assert_int_equal(tutti_session_rewind(b, FIRST, &e), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(tutti_session_next(b, NULL, &id, &e), 0);
        assert_int_equal(id, answer[i]);
    }

    /* in common steps with others */
    assert_int_equal(tutti_session_create(&c, m, 128, &e), 0);
    assert_int_equal(tutti_session_feed(c, prompt + 2, 5, &e), 0);
    assert_int_equal(tutti_session_rewind(b, FIRST, &e), 0);
    for (int i = 0; i < N; i++) {
        tutti_session *both[] = {c, b};
        assert_int_equal(tutti_session_next(c, NULL, &id, &e), 0);
        assert_int_equal(tutti_session_next(b, NULL, &id, &e), 0);
        assert_int_equal(id, answer[i]);
        assert_int_equal(tutti_step(both, 2, &e), 0);
    }
    assert_int_equal(tutti_session_logits(b, other, VOCAB, &e), 0);
    assert_memory_equal(one, other, sizeof one);
    assert_int_equal(tutti_step((tutti_session *[]){b, b}, 2, &e), TUTTI_ERR_USAGE);
    tutti_session_free(a);
    tutti_session_free(b);
    tutti_session_free(c);
    tutti_model_close(m);
}

static void limits_hold(void **state)
{
    (void)state;
    tutti_model *m = open_tiny(1, 8);
    tutti_session *s, *t = NULL;
    struct tutti_error e;
    struct tutti_sampling p;
    int32_t ids[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, id, bad = VOCAB;
    assert_int_equal(tutti_session_create(&s, m, 10, &e), 0);
    assert_int_equal(tutti_session_create(&t, m, 10, &e), TUTTI_ERR_LIMIT);
    assert_null(t);
    assert_int_equal(tutti_session_next(s, NULL, &id, &e), TUTTI_ERR_USAGE); /* no token yet */
    assert_int_equal(tutti_session_feed(s, &bad, 1, &e), TUTTI_ERR_USAGE);
    assert_int_equal(tutti_session_feed(s, ids, 9, &e), 0);
    assert_int_equal(tutti_session_feed(s, ids, 2, &e), TUTTI_ERR_LIMIT);
    assert_int_equal(tutti_session_length(s), 9);
    tutti_sampling_default(&p);
    p.top_p = 7;
    assert_int_equal(tutti_session_next(s, &p, &id, &e), TUTTI_ERR_USAGE);
    tutti_sampling_default(&p);
    p.seed = 4;
    assert_int_equal(tutti_session_next(s, &p, &id, &e), 0);
    assert_int_equal(tutti_session_rewind(s, 9, &e), 0);
    int32_t again;
    /* the same seed and place draw the same token */
    assert_int_equal(tutti_session_next(s, &p, &again, &e), 0);
    assert_int_equal(again, id);
    assert_int_equal(tutti_session_next(s, &p, &id, &e), TUTTI_ERR_LIMIT);
    assert_int_equal(tutti_session_rewind(s, 11, &e), TUTTI_ERR_USAGE);
    float few[3];
    assert_int_equal(tutti_session_logits(s, few, 3, &e), TUTTI_ERR_USAGE);
    tutti_session_free(s);
    assert_int_equal(tutti_session_create(&t, m, 0, &e), 0);
    tutti_session_free(t);
    tutti_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_named), cmocka_unit_test(text_goes_there_and_back),
        cmocka_unit_test(chat_is_rendered), cmocka_unit_test(same_answer_by_every_way),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
