/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve/witness and serve/verify: receipts of answers that were drawn together by one instruction set are
 * verified, one prefill each, by the others; a signer who lies about a token, the seed, the prompt, a rule,
 * one bit of what tokens were drawn from, the end or the model is found out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "file/root.h"
#include "serve/receipt/verify.h"
#include "serve/receipt/witness.h"

enum { N = 12, CTX = 512, VOCAB = 384, PROMPT_MAX = 200, ANSWER = 50, LIES = 10 };
static char dir[] = "/tmp/tutti-test-XXXXXX";
static struct signing key;

struct answered {
    int32_t prompt[PROMPT_MAX];
    struct sched_request q;
    struct sampler_bias bias[2];
    struct str stop;
    struct witness w;
    enum generate_end end;
    pthread_mutex_t *lock;
    pthread_cond_t *gone;
    int *left;
    struct buf receipt;
};

static struct engine *open_engine(const char *path, const char *isa, enum kv_type kv)
{
    struct engine *en = NULL;
    struct err e = {0};
    struct engine_options o = {.n_ctx = CTX, .n_seqs = N, .isa = isa, .kv = kv, .n_threads = 1};
    if (engine_open(&en, path, &o, &e)) fail_msg("%s", e.msg);
    return en;
}

static void event(void *ud, const struct sched_event *ev)
{
    struct answered *a = ud;
    if (ev->kind == SCHED_TOKEN) witness_token(&a->w, ev->id, ev->state);
    if (ev->kind != SCHED_END) return;
    a->end = ev->end;
    pthread_mutex_lock(a->lock);
    --*a->left;
    pthread_cond_signal(a->gone);
    pthread_mutex_unlock(a->lock);
}

static void make_request(struct answered *a, int i)
{
    uint32_t x = 12345u + 777u * (uint32_t)i;
    int n = 1 + i * 37 % PROMPT_MAX;
    for (int j = 0; j < n; j++) a->prompt[j] = (int32_t)((x = x * 1664525u + 1013904223u) >> 8) % VOCAB;
    a->q = (struct sched_request){
        .prompt = a->prompt, .n_prompt = n, .state = true, .n_top = -1, .event = event, .ud = a};
    struct sampler_params *sp = &a->q.params.sample;
    sampler_params_default(sp);
    sp->temperature = i % 3 == 0 ? 0.0f : 1.0f;
    sp->seed = (uint64_t)i;
    if (i % 4 == 1) sp->repetition_penalty = 1.3f, sp->penalty_last = 20;
    if (i % 5 == 2) {
        a->bias[0] = (struct sampler_bias){40, 3.0f}, a->bias[1] = (struct sampler_bias){7, -5.0f};
        sp->bias = a->bias, sp->n_bias = 2;
    }
    a->stop = STR("e");
    if (i % 6 == 3) a->q.params.stop = &a->stop, a->q.params.n_stop = 1;
    a->q.params.max_tokens = i % 7 == 4 ? 1 : ANSWER;
    a->q.params.ignore_end = i % 2;
}

static void write_receipt(struct answered *a, const uint8_t root[ROOT_BYTES])
{
    struct err e = {0};
    struct witness_end end = {a->end, root, STR("req_1"), STR("tiny")};
    buf_init(&a->receipt, RECEIPT_BYTES_MAX);
    if (witness_write(&a->w, &end, &key, &a->receipt, &e)) fail_msg("%s", e.msg);
}

static void answer_all(struct answered *a, const char *path, const char *isa, enum kv_type kv)
{
    struct engine *en = open_engine(path, isa, kv);
    struct text t;
    struct sched *s;
    struct err e = {0};
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t gone = PTHREAD_COND_INITIALIZER;
    int left = N;
    uint8_t root[ROOT_BYTES];
    assert_int_equal(text_open(&t, en->file, &e), 0);
    assert_int_equal(root_compute(en->file, root, NULL, &e), 0);
    if (sched_start(&s, en, &t, &(struct sched_options){.max_running = 9}, &e)) fail_msg("%s", e.msg);
    for (int i = 0; i < N; i++) {
        struct receipt_spec spec;
        make_request(&a[i], i);
        a[i].lock = &lock, a[i].gone = &gone, a[i].left = &left;
        witness_spec(&spec, en);
        const struct generate_params *p = &a[i].q.params;
        spec.prompt = a[i].prompt, spec.n_prompt = a[i].q.n_prompt, spec.sample = p->sample;
        spec.stop = p->stop, spec.n_stop = p->n_stop, spec.max_tokens = p->max_tokens, spec.ignore_end = p->ignore_end;
        if (witness_begin(&a[i].w, &spec, i % 3 == 1, &e)) fail_msg("%s", e.msg);
        if (sched_submit(s, &a[i].q, NULL, &e)) fail_msg("%s", e.msg);
    }
    pthread_mutex_lock(&lock);
    while (left) pthread_cond_wait(&gone, &lock);
    pthread_mutex_unlock(&lock);
    sched_stop(s, 1);
    sched_destroy(s);
    for (int i = 0; i < N; i++) write_receipt(&a[i], root);
    text_close(&t);
    engine_close(en);
}

static void check(struct engine *en, const struct text *t, struct str bytes, const int32_t *prompt,
                  struct verify_result *v)
{
    struct receipt r;
    struct arena arena;
    struct err e = {0};
    arena_init(&arena);
    if (receipt_read(&r, bytes, &arena, &e)) fail_msg("%s", e.msg);
    assert_true(receipt_is_signed(&r));
    if (verify_run(en, t, &r, r.spec.prompt ? r.spec.prompt : prompt, NULL, NULL, v, &e)) fail_msg("%s", e.msg);
    arena_finish(&arena);
}

static void verify_all(const struct answered *a, const char *path, const char *isa, enum kv_type kv)
{
    struct engine *en = open_engine(path, isa, kv);
    struct text t;
    struct err e = {0};
    int n = 0;
    assert_int_equal(text_open(&t, en->file, &e), 0);
    for (int i = 0; i < N; i++) {
        struct verify_result v;
        check(en, &t, buf_str(&a[i].receipt), a[i].prompt, &v);
        if (v.what != VERIFY_OK)
            fail_msg("%s on %s: receipt %d: result %d at token %d: %s", path, isa, i, (int)v.what, v.at,
                     v.text);
        n += a[i].w.n;
    }
    assert_true(n > 300);
    text_close(&t);
    engine_close(en);
}

static void finish_all(struct answered *a)
{
    for (int i = 0; i < N; i++) {
        buf_finish(&a[i].receipt);
        witness_finish(&a[i].w);
    }
    free(a);
}

static void honest_ones_pass(void **state)
{
    (void)state;
    static const char *const models[] = {"tests/data/tiny.gguf", "tests/data/tiny-f16.gguf",
                                         "tests/data/tiny-q4_1.gguf", "tests/data/tiny-q4_k.gguf"};
    for (int m = 0; m < 4; m++) {
        enum kv_type kv = m % 2 ? KV8 : KV16;
        struct answered *a = calloc(N, sizeof *a);
        answer_all(a, models[m], NULL, kv);
        for (int i = 0; i < kern_count(); i++)
            if (kern_usable(i)) verify_all(a, models[m], kern_at(i)->name, kv);
        finish_all(a);
    }
}

/* A lie, signed like the truth. The token at which it must be found, and how. */
struct lie {
    const char *name;
    enum verify_what what;
    int at;
};
static const struct lie lies[LIES] = {
    {"a token", VERIFY_TOKEN, 20},          {"the last token", VERIFY_TOKEN, ANSWER - 1},
    {"the seed", VERIFY_TOKEN, -1},         {"the temperature", VERIFY_STATE, 0},
    {"a bit of a state", VERIFY_STATE, 32}, {"a prompt token", VERIFY_TOKEN, -1},
    {"an end", VERIFY_END, ANSWER - 1},     {"a token less", VERIFY_END, ANSWER - 2},
    {"a stop string", VERIFY_END, -1},      {"a stop token", VERIFY_END, 30},
};

static void tell(struct answered *a, int lie, struct receipt_spec *spec)
{
    static struct str stop = {"a", 1};
    if (lie == 0) a->w.ids[20] = (a->w.ids[20] + 1) % VOCAB;
    if (lie == 1) a->w.ids[ANSWER - 1] = (a->w.ids[ANSWER - 1] + 1) % VOCAB;
    if (lie == 2) spec->sample.seed ^= 1;
    if (lie == 4) a->w.states[40][3] ^= 16;
    if (lie == 5) a->prompt[0] = (a->prompt[0] + 1) % VOCAB;
    if (lie == 6) a->end = GENERATE_END_TOKEN;
    if (lie == 7) a->w.n--;
    if (lie == 8) spec->stop = &stop, spec->n_stop = 1;
    /* the 30th token, allowed to end it */
    if (lie == 9) spec->min_tokens = 29, spec->stop_ids = a->w.ids + 29, spec->n_stop_ids = 1;
}

/* The receipt of what a says now, under spec. */
static void sign_again(struct answered *a, const struct receipt_spec *spec, const uint8_t root[ROOT_BYTES])
{
    struct witness old = a->w;
    struct err e = {0};
    if (witness_begin(&a->w, spec, false, &e)) fail_msg("%s", e.msg);
    for (int i = 0; i < old.n; i++) witness_token(&a->w, old.ids[i], old.states[i]);
    witness_finish(&old);
    buf_finish(&a->receipt);
    write_receipt(a, root);
}

/* One bit of a value that changes no token here: the chain of the true value under the spec of the other. */
static void graft(struct answered *a, struct receipt_spec *spec, const uint8_t root[ROOT_BYTES])
{
    struct buf truth = a->receipt;
    struct receipt honest, forged;
    struct arena arena;
    struct err e = {0};
    arena_init(&arena);
    a->receipt = (struct buf){0};
    spec->sample.temperature = 0x1.000002p0f;
    sign_again(a, spec, root);
    assert_int_equal(receipt_read(&honest, buf_str(&truth), &arena, &e), 0);
    assert_int_equal(receipt_read(&forged, buf_str(&a->receipt), &arena, &e), 0);
    memcpy(forged.head, honest.head, sizeof forged.head);
    forged.marks = honest.marks;
    struct buf b;
    buf_init(&b, RECEIPT_BYTES_MAX);
    assert_int_equal(receipt_write(&forged, &key, &b, &e), 0);
    buf_finish(&truth);
    buf_finish(&a->receipt);
    a->receipt = b;
    arena_finish(&arena);
}

static void liars_are_found(void **state)
{
    (void)state;
    struct engine *en = open_engine("tests/data/tiny.gguf", NULL, KV16);
    struct text t;
    struct err e = {0};
    uint8_t root[ROOT_BYTES];
    struct answered *all = calloc(N, sizeof *all);
    answer_all(all, "tests/data/tiny.gguf", NULL, KV16);
    const struct answered *truth = &all[5]; /* drawn at temperature 1, the end ignored, no other rules */
    assert_int_equal(truth->w.n, ANSWER);
    assert_int_equal(text_open(&t, en->file, &e), 0);
    assert_int_equal(root_compute(en->file, root, NULL, &e), 0);
    for (int i = -1; i < LIES; i++) { /* -1: the truth */
        struct answered *a = calloc(1, sizeof *a);
        struct receipt_spec spec;
        struct verify_result v;
        memcpy(a->prompt, truth->prompt, sizeof a->prompt);
        a->end = truth->end;
        for (int j = 0; j < ANSWER; j++) witness_token(&a->w, truth->w.ids[j], truth->w.states[j]);
        witness_spec(&spec, en);
        spec.prompt = a->prompt, spec.n_prompt = truth->q.n_prompt, spec.sample = truth->q.params.sample,
        spec.max_tokens = ANSWER, spec.ignore_end = true;
        tell(a, i, &spec);
        sign_again(a, &spec, root);
        if (i == 3) graft(a, &spec, root);
        check(en, &t, buf_str(&a->receipt), NULL, &v);
        enum verify_what want = i < 0 ? VERIFY_OK : lies[i].what;
        if (v.what != want || (i >= 0 && lies[i].at >= 0 && v.at != lies[i].at))
            fail_msg("%s: result %d at token %d ('%s'), expected %d", i < 0 ? "the truth" : lies[i].name,
                     (int)v.what, v.at, v.text, (int)want);
        buf_finish(&a->receipt);
        witness_finish(&a->w);
        free(a);
    }
    finish_all(all);
    text_close(&t);
    engine_close(en);
}

int main(void)
{
    struct err e;
    struct path p;
    if (!mkdtemp(dir) || path_format(&p, &e, "%s/signing.key", dir) || signing_make(&key, p.z, &e)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(honest_ones_pass), cmocka_unit_test(liars_are_found)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    path_remove_tree(dir, &e);
    return rc;
}
