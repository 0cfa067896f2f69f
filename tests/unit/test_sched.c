/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve/sched, serve/prefix, serve/pace: every answer is the one that the same request gives alone, whatever shares its
 * steps, its pages and the cache; preemption loses nothing; cancelled work stops; queue, owners, priorities, counters.
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
#include "serve/pace.h"
#include "serve/prefix.h"
#include "serve/sched.h"

#define MODEL "tests/data/tiny.gguf"
enum { CTX = 512, VOCAB = 500, N_REQ = 24, CHOICES = 3, TEXT_MAX = 1 << 20, PAGE = 128 };

/* --- what a request should give ------------------------------------------------------------------------------ */

struct outcome {
    int32_t ids[CTX];
    int n_ids;
    struct buf text;
    enum generate_end end;
    int n_ends, n_prompt, n_cached, n_answer;
    float logp[CTX];
};

struct asked {
    int32_t prompt[CTX];
    struct sched_request q;
    struct str stop;
    struct outcome want[CHOICES], got[CHOICES];
    uint64_t ticket;
    int cancel_at; /* tokens of choice 0; 0: never */
    struct sched *s;
};

static uint32_t seed = 1;
static int below(int n)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((uint64_t)(seed >> 8) * (uint64_t)n >> 24);
}

struct fixture {
    struct engine *en; /* of the expected answers */
    struct text text;
    struct generate g;
    struct asked *a;   /* [N_REQ] */
};

static struct engine *open_engine(struct engine_options opt)
{
    struct engine *en = NULL;
    struct err e = {0};
    if (engine_open(&en, MODEL, &opt, &e)) fail_msg("%s", e.msg);
    return en;
}

static int add_text(void *ud, struct str s)
{
    buf_append_str(ud, s);
    return 0;
}

static void clear(struct outcome *o)
{
    buf_finish(&o->text);
    *o = (struct outcome){0};
    buf_init(&o->text, TEXT_MAX);
    buf_append(&o->text, "", 0);
}

static void answer_alone(struct fixture *f, struct asked *a, int choice)
{
    struct outcome *o = &a->want[choice];
    struct generate_params p = a->q.params;
    struct err e = {0};
    clear(o);
    p.text = add_text;
    p.ud = &o->text;
    p.sample.choice = (uint32_t)choice;
    assert_int_equal(generate_run(&f->g, a->prompt, a->q.n_prompt, &p, &e), 0);
    o->n_ids = f->g.n_ids - a->q.n_prompt;
    memcpy(o->ids, f->g.ids + a->q.n_prompt, (size_t)o->n_ids * sizeof *o->ids);
    o->end = f->g.end;
    o->n_answer = f->g.n_answer;
}

/* Prompts of all lengths; a third begins as another one does. */
static void make_request(struct fixture *f, int i)
{
    static const char *const stops[] = {"a", "the", "e"};
    struct asked *a = &f->a[i];
    int n = below(4) ? 1 + below(150) : 1 + below(400), same = i && below(3) == 0 ? below(n) : 0;
    for (int j = 0; j < n; j++) a->prompt[j] = j < same ? f->a[i - 1].prompt[j] : below(VOCAB);
    struct sampler_params sp;
    sampler_params_default(&sp);
    sp.temperature = below(2) ? 0 : 0.8f;
    if (below(2)) sp.top_k = 0, sp.top_p = 1, sp.min_p = 0;
    if (below(4) == 0) sp.repetition_penalty = 1.2f, sp.presence_penalty = 0.5f, sp.penalty_last = -1;
    sp.seed = (uint64_t)below(1 << 20);
    a->q = (struct sched_request){.prompt = a->prompt, .n_prompt = n, .n = 1 + (below(3) == 0) * below(CHOICES), .n_top = below(3) - 1,
                                  .owner = (uint64_t)below(3), .priority = below(5) == 0};
    a->q.params = (struct generate_params){.sample = sp, .max_tokens = 1 + below(60), .ignore_end = below(2), .show_special = true};
    if (below(5) == 0) a->q.params.max_tokens = 0;
    if (below(3) == 0) {
        a->stop = str_from(stops[below(3)]);
        a->q.params.stop = &a->stop;
        a->q.params.n_stop = 1;
    }
    for (int c = 0; c < a->q.n; c++) answer_alone(f, a, c);
}

static int open_all(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e = {0};
    assert_non_null(f);
    f->a = calloc(N_REQ, sizeof *f->a);
    f->en = open_engine((struct engine_options){.n_threads = 1, .n_ctx = CTX, .n_batch = 64});
    if (!f->a || text_open(&f->text, f->en->file, &e) || generate_open(&f->g, f->en, &f->text, 0, &e)) fail_msg("%s", e.msg);
    for (int i = 0; i < N_REQ; i++) make_request(f, i);
    *state = f;
    return 0;
}

static int close_all(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < N_REQ; i++)
        for (int c = 0; c < CHOICES; c++) buf_finish(&f->a[i].want[c].text), buf_finish(&f->a[i].got[c].text);
    generate_close(&f->g);
    text_close(&f->text);
    engine_close(f->en);
    free(f->a);
    free(f);
    return 0;
}

/* --- events -------------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static int n_ended, n_tokens;

static void on_event(void *ud, const struct sched_event *ev)
{
    struct asked *a = ud;
    struct outcome *o = &a->got[ev->choice];
    pthread_mutex_lock(&lock);
    buf_append_str(&o->text, ev->text);
    if (ev->kind == SCHED_TOKEN) {
        n_tokens++;
        if (o->n_ids < CTX) o->ids[o->n_ids] = ev->id, o->logp[o->n_ids] = ev->logp;
        o->n_ids++;
        for (int i = 0; i < ev->n_top; i++)
            if ((i == 0 && ev->top[0].logp < ev->logp) || (i && ev->top[i].logp > ev->top[i - 1].logp)) o->n_ends = 100;
        if (a->cancel_at && o->n_ids == a->cancel_at) sched_cancel(a->s, a->ticket);
    } else {
        o->end = ev->end;
        o->n_ends++;
        o->n_prompt = ev->n_prompt, o->n_cached = ev->n_cached, o->n_answer = ev->n_answer;
        n_ended++;
        pthread_cond_signal(&ended);
    }
    pthread_mutex_unlock(&lock);
}

static int submit(struct sched *s, struct asked *a, struct err *e)
{
    for (int c = 0; c < CHOICES; c++) clear(&a->got[c]);
    a->s = s;
    a->q.event = on_event;
    a->q.ud = a;
    pthread_mutex_lock(&lock); /* the ticket is there before the first event */
    int rc = sched_submit(s, &a->q, &a->ticket, e);
    pthread_mutex_unlock(&lock);
    return rc;
}

static void wait_ends(int n)
{
    pthread_mutex_lock(&lock);
    while (n_ended < n) pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
}

/* Cancelled ones gave a beginning of what they would have given. */
static void check(const struct asked *a, int c)
{
    const struct outcome *w = &a->want[c], *o = &a->got[c];
    bool cut = o->end == GENERATE_CANCELLED;
    assert_int_equal(o->n_ends, 1);
    assert_int_equal(o->n_answer, o->n_ids);
    assert_int_equal(o->n_prompt, a->q.n_prompt);
    assert_true(!cut || a->cancel_at);
    if (!cut) assert_int_equal(o->end, w->end);
    if (!cut) assert_int_equal(o->n_answer, w->n_answer);
    if (!cut) assert_string_equal(o->text.p, w->text.p);
    assert_true(o->n_ids <= w->n_ids + 1); /* the end token is none of generate's ids */
    assert_memory_equal(o->ids, w->ids, (size_t)(o->n_ids < w->n_ids ? o->n_ids : w->n_ids) * sizeof *w->ids);
    if (a->cancel_at && c == 0) assert_true(o->n_ids <= a->cancel_at);
}

struct setting {
    struct engine_options en;
    struct sched_options opt;
    bool cancels;
    int rounds;
};

static struct sched_stats run_all(struct fixture *f, const struct setting *t)
{
    struct sched *s = NULL;
    struct err e = {0};
    struct engine *en = open_engine(t->en);
    struct sched_stats st = {0};
    if (sched_start(&s, en, &f->text, &t->opt, &e)) fail_msg("%s", e.msg);
    for (int round = 0; round < (t->rounds ? t->rounds : 1); round++) {
        int want = n_ended;
        for (int i = 0; i < N_REQ; i++) {
            struct asked *a = &f->a[(i * 7 + round) % N_REQ];
            a->cancel_at = t->cancels && i % 3 == 0 ? 1 + below(5) : 0;
            if (submit(s, a, &e)) fail_msg("%s", e.msg);
            want += a->q.n;
            if (below(4) == 0) usleep(2000); /* they come while others run */
        }
        wait_ends(want);
        for (int i = 0; i < N_REQ; i++)
            for (int c = 0; c < f->a[i].q.n; c++) check(&f->a[i], c);
    }
    sched_stats(s, &st);
    sched_stop(s, 1);
    assert_int_equal(en->kv->n_free, en->kv->max_pages); /* nothing is held */
    engine_close(en);
    return st;
}

static void answers_are_those_given_alone(void **state)
{
    struct fixture *f = *state;
    size_t page = kv_page_bytes(&f->en->kv->shape);
    struct engine_options wide = {.n_threads = 2, .n_ctx = CTX, .kv_bytes = 200 * page, .n_batch = 64};
    struct engine_options one = wide, tight = wide;
    one.n_threads = 1, one.n_batch = 16, one.n_out = 3;
    tight.kv_bytes = 6 * page; /* 768 positions: one context and a half */
    struct setting settings[] = {
        {.en = wide, .rounds = 2},
        {.en = one, .opt = {.cache = SCHED_CACHE_OFF}},
        {.en = wide, .opt = {.max_running = 3, .cache = SCHED_CACHE_OWNER}, .rounds = 2},
        {.en = tight, .rounds = 2},
        {.en = tight, .opt = {.cache = SCHED_CACHE_OFF}},
        {.en = wide, .cancels = true},
        {.en = tight, .cancels = true},
    };
    uint64_t preempted = 0, cached = 0;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        struct sched_stats st = run_all(f, &settings[i]);
        preempted += st.preemptions;
        if (settings[i].opt.cache != SCHED_CACHE_OFF) cached += st.cached_tokens;
        assert_int_equal(st.running, 0);
        assert_int_equal(st.waiting, 0);
        assert_true(st.pages_used == 0 && st.pages_idle <= st.pages_all);
        assert_true(st.prefix_hits <= st.prefix_queries);
    }
    assert_true(preempted > 0);
    assert_true(cached > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_given_alone),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
