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
#include <math.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/pace.h"
#include "serve/engine/odds.h"
#include "serve/sched/prefix.h"
#include "serve/sched/sched.h"

#define MODEL "tests/data/tiny.gguf"
enum { CTX = 512, VOCAB = 500, N_REQ = 20, CHOICES = 3, TEXT_MAX = 1 << 20, PAGE = 128 };

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
    a->q = (struct sched_request){.prompt = a->prompt,
                                  .n_prompt = n,
                                  .n = 1 + (below(3) == 0) * below(CHOICES),
                                  .n_top = below(3) - 1,
                                  .owner = (uint64_t)below(3),
                                  .priority = below(5) == 0};
    a->q.params = (struct generate_params){
        .sample = sp, .max_tokens = 1 + below(60), .ignore_end = below(2), .show_special = true};
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
    if (!f->a || text_open(&f->text, f->en->file, &e) || generate_open(&f->g, f->en, &f->text, 0, &e))
        fail_msg("%s", e.msg);
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
static atomic_int hold; /* tokens wait while this is set, at most HOLD_MS: the scheduler stands still */
enum { HOLD_MS = 1000 };

static void on_event(void *ud, const struct sched_event *ev)
{
    struct asked *a = ud;
    struct outcome *o = &a->got[ev->choice];
    for (int ms = 0; ev->kind == SCHED_TOKEN && atomic_load(&hold) && ms < HOLD_MS; ms++) usleep(1000);
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
    const char *draft; /* model that guesses */
};

static struct sched_stats run_all(struct fixture *f, const struct setting *t)
{
    struct sched *s = NULL;
    struct err e = {0};
    struct engine *en = open_engine(t->en);
    struct sched_stats st = {0};
    struct sched_options opt = t->opt;
    struct engine_options small = {.n_threads = 1, .n_ctx = CTX, .n_batch = 64, .n_seqs = SCHED_DRAFTS};
    if (t->draft && engine_open(&opt.draft, t->draft, &small, &e)) fail_msg("%s", e.msg);
    if (sched_start(&s, en, &f->text, &opt, &e)) fail_msg("%s", e.msg);
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
    sched_destroy(s);
    assert_int_equal(en->kv->n_free, en->kv->max_pages); /* nothing is held */
    engine_close(opt.draft);
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
        {.en = wide},
        {.en = one, .opt = {.cache = SCHED_CACHE_OFF}},
        {.en = wide, .opt = {.max_running = 3, .cache = SCHED_CACHE_OWNER}},
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

/* Guesses of every kind, made in all company: the answers are the same, and some guesses are right. */
static void guesses_change_no_answer(void **state)
{
    struct fixture *f = *state;
    size_t page = kv_page_bytes(&f->en->kv->shape);
    struct engine_options wide = {.n_threads = 2, .n_ctx = CTX, .kv_bytes = 200 * page, .n_batch = 64},
                          one = wide, tight;
    struct sched_options lookup = {.guess = SCHED_GUESS_LOOKUP, .guess_always = true},
                         draft = {.guess = SCHED_GUESS_DRAFT, .guess_always = true};
    one.n_threads = 1;
    tight = one;
    tight.kv_bytes = 6 * page;
    tight.n_out = 3;
    struct setting settings[] = {
        {.en = wide, .opt = lookup},
        {.en = one, .opt = draft, .draft = MODEL}, /* which guesses itself: it draws by the same key */
        {.en = tight, .opt = draft, .draft = MODEL, .cancels = true},
        {.en = tight, .opt = lookup, .rounds = 2},
        {.en = one, .opt = draft, .draft = "tests/data/tiny-q4_1.gguf"},
        {.en = wide, .opt = {.guess = SCHED_GUESS_LOOKUP}}, /* where it pays */
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        struct sched_stats st = run_all(f, &settings[i]);
        if (!settings[i].opt.guess_always) continue;
        assert_true(st.guessing > 0 && st.guesses >= st.guessing && st.guesses_right <= st.guesses);
        assert_true(st.guesses_right > 0);
        if (i == 1) assert_true(st.guesses_right * 10 > st.guesses * 8);
    }
}

/* --- single requests ----------------------------------------------------------------------------------------- */

static struct sched *start(struct fixture *f, struct engine **en, struct sched_options opt, int pages)
{
    struct sched *s = NULL;
    struct err e = {0};
    size_t page = kv_page_bytes(&f->en->kv->shape);
    *en = open_engine((struct engine_options){
        .n_threads = 2, .n_ctx = CTX, .kv_bytes = (size_t)pages * page, .n_batch = 64});
    if (sched_start(&s, *en, &f->text, &opt, &e)) fail_msg("%s", e.msg);
    return s;
}

static void simple(struct asked *a, int n, int max_tokens)
{
    a->cancel_at = 0;
    a->q = (struct sched_request){.prompt = a->prompt, .n_prompt = n, .n = 1, .n_top = -1};
    sampler_params_default(&a->q.params.sample);
    a->q.params.max_tokens = max_tokens;
    a->q.params.ignore_end = true;
}

static void faults_are_refused(void **state)
{
    struct fixture *f = *state;
    struct engine *en;
    struct sched *s = start(f, &en, (struct sched_options){.max_queue = 4}, 20);
    struct asked *a = calloc(1, sizeof *a);
    struct err e = {0};
    struct sampler_bias bias = {1, 1e30f};
    simple(a, 0, 4);
    assert_int_equal(submit(s, a, &e), ERR_USAGE);
    simple(a, CTX, 4);
    assert_int_equal(submit(s, a, &e), ERR_LIMIT);
    assert_non_null(strstr(e.msg, "512 tokens and the context 512"));
    simple(a, 5, 4);
    a->prompt[3] = 512;
    assert_int_equal(submit(s, a, &e), ERR_USAGE);
    a->prompt[3] = 0;
    a->q.n = SCHED_CHOICES_MAX + 1;
    assert_int_equal(submit(s, a, &e), ERR_USAGE);
    a->q.n = 5;
    assert_int_equal(submit(s, a, &e), ERR_USAGE); /* never fits this queue */
    a->q.n = 1;
    a->q.n_top = SAMPLER_TOP_MAX + 1;
    assert_int_equal(submit(s, a, &e), ERR_USAGE);
    a->q.n_top = -1;
    a->q.params.sample.bias = &bias;
    a->q.params.sample.n_bias = 1;
    assert_int_equal(submit(s, a, &e), ERR_USAGE);
    a->q.params.sample.n_bias = 0;
    a->q.params.max_tokens = -1;
    assert_int_equal(submit(s, a, &e), ERR_USAGE);
    sched_cancel(s, 77); /* nobody's */
    sched_stop(s, 0);
    simple(a, 5, 4); /* a server's handlers may still call */
    assert_int_equal(submit(s, a, &e), ERR_BUSY);
    assert_non_null(strstr(e.msg, "stopping"));
    sched_cancel(s, 1);
    sched_destroy(s);
    assert_int_equal(sched_start(&s, en, &f->text, &(struct sched_options){.max_running = 65}, &e), ERR_USAGE);
    engine_close(en);
    for (int c = 0; c < CHOICES; c++) buf_finish(&a->got[c].text);
    free(a);
}

/* A full queue refuses; what is cancelled makes room; stopping cancels what is left and refuses all. */
static void the_queue_is_bounded(void **state)
{
    enum { N = 8 };
    struct fixture *f = *state;
    struct engine *en;
    struct sched *s = start(f, &en, (struct sched_options){.max_running = 1, .max_queue = 3}, 20);
    struct asked *a = calloc(N, sizeof *a);
    struct err e = {0};
    struct sched_stats st;
    int before = n_ended, rc = 0, taken = 0;
    atomic_store(&hold, 1);
    for (; taken < N && !rc; taken += !rc) {
        simple(&a[taken], 40, 400);
        rc = submit(s, &a[taken], &e);
    }
    assert_int_equal(rc, ERR_BUSY);
    assert_non_null(strstr(e.msg, "at most 3"));
    assert_true(taken == 3 || taken == 4); /* one may run already */
    for (int i = 0; i < taken; i++) sched_cancel(s, a[i].ticket);
    atomic_store(&hold, 0);
    wait_ends(before + taken);
    for (int i = 0; i < taken; i++) assert_int_equal(a[i].got[0].end, GENERATE_CANCELLED);
    sched_stats(s, &st);
    assert_int_equal(st.waiting, 0);
    before = n_ended;
    atomic_store(&hold, 1);
    for (int i = 0; i < 3; i++) {
        simple(&a[i], 40, 400);
        assert_int_equal(submit(s, &a[i], &e), 0);
    }
    sched_stop(s, 0.001);
    sched_destroy(s);
    atomic_store(&hold, 0);
    assert_int_equal(n_ended, before + 3);
    for (int i = 0; i < 3; i++) assert_true(a[i].got[0].n_ends == 1 && a[i].got[0].end == GENERATE_CANCELLED);
    engine_close(en);
    for (int i = 0; i < N; i++)
        for (int c = 0; c < CHOICES; c++) buf_finish(&a[i].got[c].text);
    free(a);
}

/* One step after it was cancelled a request has no more tokens, long prompt or not. */
static void cancelled_work_stops(void **state)
{
    struct fixture *f = *state;
    struct engine *en;
    struct sched *s = start(f, &en, (struct sched_options){0}, 20);
    struct asked *a = calloc(1, sizeof *a);
    struct err e = {0};
    struct sched_stats st;
    int before = n_ended;
    simple(a, 100, 0);
    a->cancel_at = 7;
    assert_int_equal(submit(s, a, &e), 0);
    wait_ends(before + 1);
    assert_int_equal(a->got[0].n_ids, 7);
    sched_stats(s, &st);
    assert_int_equal(st.running, 0);
    assert_int_equal(st.pages_used, 0);
    sched_stop(s, 0);
    sched_destroy(s);
    engine_close(en);
    for (int c = 0; c < CHOICES; c++) buf_finish(&a->got[c].text);
    free(a);
}

/* Order of the first tokens, with one place to run. */
static int first_n, first_order[16];
static struct asked *first_of;

static void note_first(void *ud, const struct sched_event *ev)
{
    struct asked *a = ud;
    if (ev->kind == SCHED_TOKEN && a->got[0].n_ids++ == 0) first_order[first_n++] = (int)(a - first_of);
    if (ev->kind != SCHED_END) return;
    pthread_mutex_lock(&lock);
    n_ended++;
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
}

static void turns_are_fair(void **state)
{
    enum { N = 9 };
    static const int owner[N] = {1, 1, 1, 1, 1, 2, 2, 3, 1}, priority[N] = {0, 0, 0, 0, 0, 0, 0, 0, 5};
    /* The urgent ones; then owner 1 has had 350 tokens, so all of the others come before its next. */
    static const int want[N] = {0, 8, 5, 7, 6, 1, 2, 3, 4};
    struct fixture *f = *state;
    struct engine *en;
    struct sched *s = start(f, &en, (struct sched_options){.max_running = 1, .cache = SCHED_CACHE_OFF}, 20);
    struct asked *a = calloc(N, sizeof *a);
    struct err e = {0};
    int before = n_ended;
    first_n = 0;
    first_of = a;
    for (int i = 0; i < N; i++) {
        simple(&a[i], 20, i ? 10 : 300);
        a[i].q.owner = (uint64_t)owner[i];
        a[i].q.priority = priority[i] ? priority[i] : i == 0 ? 5 : 0; /* the first is not to be put off */
        a[i].q.event = note_first;
        a[i].q.ud = &a[i];
        assert_int_equal(sched_submit(s, &a[i].q, NULL, &e), 0);
    }
    wait_ends(before + N);
    assert_int_equal(first_n, N);
    for (int i = 0; i < N; i++) assert_int_equal(first_order[i], want[i]);
    sched_stop(s, 1);
    sched_destroy(s);
    engine_close(en);
    free(a);
}

/* --- embeddings, grammars, bias ------------------------------------------------------------------------------- */

struct taken {
    float x[1024];
    int n, ends;
};

static void on_vector(void *ud, const struct sched_event *ev)
{
    struct taken *v = ud;
    pthread_mutex_lock(&lock);
    if (ev->kind == SCHED_VECTOR) {
        v->n = ev->n_vector;
        memcpy(v->x, ev->vector, (size_t)ev->n_vector * sizeof *v->x);
    } else if (ev->kind == SCHED_END) {
        v->ends = ev->end == GENERATE_MAX_TOKENS && ev->n_answer == 0 ? v->ends + 1 : 100;
        n_ended++;
        pthread_cond_signal(&ended);
    }
    pthread_mutex_unlock(&lock);
}

static void check_embeddings(struct fixture *f, enum pooling how, struct sched_options opt)
{
    enum { N = 12 };
    struct engine *en;
    struct sched *s = start(f, &en, opt, 40);
    struct asked *a = calloc(N, sizeof *a);
    struct taken *v = calloc(2 * N, sizeof *v);
    struct err e = {0};
    int before = n_ended, D = f->en->model->h.n_embd;
    en->pooling = f->en->pooling = how;
    for (int i = 0; i < N; i++) {
        simple(&a[i], 1 + i * 37, 0);
        for (int j = 0; j < a[i].q.n_prompt; j++)
            a[i].prompt[j] = i % 2 && j < 260 ? j % VOCAB : below(VOCAB); /* some begin alike */
        a[i].q.embed = true;
        a[i].q.event = on_vector;
        a[i].q.ud = &v[i];
        assert_int_equal(sched_submit(s, &a[i].q, NULL, &e), 0);
    }
    simple(&f->a[0], 50, 20); /* an answer among them */
    assert_int_equal(submit(s, &f->a[0], &e), 0);
    wait_ends(before + N + 1);
    for (int i = 0; i < N; i++) {
        struct kv_seq seq;
        double sum = 0;
        assert_int_equal(kv_seq_init(&seq, f->en->kv, CTX, &e), 0);
        kv_seq_truncate(&f->g.seq, 0), f->g.n_kv = 0; /* its pages are wanted */
        assert_int_equal(engine_embed(f->en, &seq, a[i].prompt, a[i].q.n_prompt, v[N + i].x, &e), 0);
        kv_seq_finish(&seq);
        assert_int_equal(v[i].n, D);
        assert_int_equal(v[i].ends, 1);
        assert_memory_equal(v[i].x, v[N + i].x, (size_t)D * sizeof(float));
        for (int j = 0; j < D; j++) sum += (double)v[i].x[j] * (double)v[i].x[j];
        assert_true(sum > 1 - 1e-5 && sum < 1 + 1e-5);
    }
    assert_true(memcmp(v[0].x, v[1].x, (size_t)D * sizeof(float)) != 0);
    sched_stop(s, 1);
    sched_destroy(s);
    f->en->pooling = POOLING_LAST;
    engine_close(en);
    free(v);
    free(a);
}

static void embeddings_are_those_alone(void **state)
{
    for (enum pooling how = POOLING_LAST; how <= POOLING_FIRST; how++) {
        check_embeddings(*state, how, (struct sched_options){0});
        check_embeddings(*state, how, (struct sched_options){.step_tokens = 33, .max_running = 12});
    }
}

/* A mean of rows that another way hands out: the hidden rows of one step, in double precision. */
static void means_are_of_all_rows(void **state)
{
    enum { N = 21 };
    struct fixture *f = *state;
    struct err e = {0};
    struct taken v[N + 1] = {{.n = 0}};
    double norm = 0, mean[1024] = {0};
    int32_t ids[N];
    int D = f->en->model->h.n_embd;
    for (int i = 0; i < N; i++) ids[i] = below(VOCAB);
    for (int i = 0; i <= N; i++) { /* of each beginning its last row, then the mean */
        struct kv_seq seq;
        assert_int_equal(kv_seq_init(&seq, f->en->kv, CTX, &e), 0);
        f->en->pooling = i < N ? POOLING_LAST : POOLING_MEAN;
        assert_int_equal(engine_embed(f->en, &seq, ids, i < N ? i + 1 : N, v[i].x, &e), 0);
        kv_seq_finish(&seq);
    }
    f->en->pooling = POOLING_LAST;
    /* Rows after the final norm have different lengths, so unit rows only tell the direction roughly. */
    for (int j = 0; j < D; j++) {
        for (int i = 0; i < N; i++) mean[j] += (double)v[i].x[j];
        norm += mean[j] * mean[j];
    }
    double dot = 0;
    for (int j = 0; j < D; j++) dot += mean[j] / sqrt(norm) * (double)v[N].x[j];
    assert_true(dot > 0.99);
}

/* A grammar of even ids only; it fails at its tenth token. */
struct even {
    uint32_t bits[VOCAB / 16];
    int n, freed;
};

static const uint32_t *even_allowed(void *mask)
{
    struct even *m = mask;
    memset(m->bits, 0x55, sizeof m->bits);
    return m->bits;
}

static int even_accept(void *mask, int32_t id, struct err *e)
{
    struct even *m = mask;
    if (id % 2) return err(e, ERR_INTERNAL, "an odd token");
    return ++m->n == 10 ? err(e, ERR_FORMAT, "ten are enough") : 0;
}

static void even_free(void *mask)
{
    ((struct even *)mask)->freed++;
}

static void masks_and_bias_rule(void **state)
{
    static const struct sched_mask_ops ops = {even_allowed, even_accept, even_free, NULL};
    struct fixture *f = *state;
    struct engine *en;
    struct sched *s = start(f, &en, (struct sched_options){0}, 20);
    struct asked *a = calloc(2, sizeof *a);
    struct even m[2] = {0};
    struct err e = {0};
    void *masks[2] = {&m[0], &m[1]};
    int before = n_ended;
    simple(&a[0], 30, 100);
    a[0].q.n = 2;
    a[0].q.mask_ops = &ops;
    a[0].q.mask = masks;
    assert_int_equal(submit(s, &a[0], &e), 0);
    simple(&a[1], 30, 20);
    struct sampler_bias bias = {77, 900};
    a[1].q.params.sample.bias = &bias;
    a[1].q.params.sample.n_bias = 1;
    assert_int_equal(submit(s, &a[1], &e), 0);
    bias.bias = 0; /* it was copied */
    wait_ends(before + 3);
    for (int c = 0; c < 2; c++) {
        assert_int_equal(a[0].got[c].end, GENERATE_FAILED);
        assert_int_equal(a[0].got[c].n_ids, 9);
        for (int i = 0; i < 9; i++) assert_int_equal(a[0].got[c].ids[i] % 2, 0);
        assert_int_equal(m[c].freed, 1);
    }
    for (int i = 0; i < 20; i++) assert_int_equal(a[1].got[0].ids[i], 77);
    sched_stop(s, 1);
    sched_destroy(s);
    engine_close(en);
    for (int c = 0; c < CHOICES; c++) buf_finish(&a[0].got[c].text), buf_finish(&a[1].got[c].text);
    free(a);
}

/* Prompts of one beginning that come together: each page of it is read once, the others take it over, answers
 * are the same. */
static void one_reads_for_all(void **state)
{
    struct fixture *f = *state;
    enum { N = 8, SAME = 3 * PAGE };
    struct asked *a = calloc(N, sizeof *a);
    struct engine *en;
    struct err e = {0};
    struct sched_stats st;
    int want = n_ended + N, uncached = 0;
    assert_non_null(a);
    struct sched *s = start(f, &en, (struct sched_options){0}, 40);
    for (int i = 0; i < N; i++) {
        simple(&a[i], SAME + 20 + i, 20);
        for (int j = 0; j < a[i].q.n_prompt; j++) a[i].prompt[j] = j < SAME ? j % VOCAB : (j * (i + 3)) % VOCAB;
        answer_alone(f, &a[i], 0);
    }
    for (int i = 0; i < N; i++) assert_int_equal(submit(s, &a[i], &e), 0);
    wait_ends(want);
    for (int i = 0; i < N; i++) {
        check(&a[i], 0);
        assert_true(a[i].got[0].n_cached == SAME || a[i].got[0].n_cached == 0);
        uncached += a[i].got[0].n_cached == 0;
        for (int c = 0; c < CHOICES; c++) buf_finish(&a[i].got[c].text);
        buf_finish(&a[i].want[0].text);
    }
    sched_stats(s, &st);
    assert_int_equal(uncached, 1);
    assert_int_equal(st.cached_tokens, (N - 1) * SAME);
    assert_int_equal(st.prefix_hits, N - 1);
    sched_stop(s, 1);
    sched_destroy(s);
    engine_close(en);
    free(a);
}

/* --- parts --------------------------------------------------------------------------------------------------- */

static void prefixes_are_found_and_forgotten(void **state)
{
    struct fixture *f = *state;
    struct kv_pool *pool;
    struct prefix *p;
    struct err e = {0};
    struct kv_seq a, b;
    struct prefix_node *at = NULL, *at_b;
    int32_t ids[4 * PAGE];
    assert_int_equal(kv_pool_create(&pool, &f->en->kv->shape, 10 * PAGE, 0, &e), 0);
    assert_int_equal(prefix_create(&p, pool, &e), 0);
    assert_int_equal(kv_seq_init(&a, pool, 4 * PAGE, &e), 0);
    assert_int_equal(kv_seq_init(&b, pool, 4 * PAGE, &e), 0);
    for (int i = 0; i < 4 * PAGE; i++) ids[i] = i;
    assert_int_equal(prefix_find(p, 0, ids, 4 * PAGE, &a, &at), 0);
    assert_int_equal(kv_seq_reserve(&a, 3 * PAGE, &e), 0);
    for (int i = 0; i < 3; i++) assert_non_null(at = prefix_add(p, 0, at, ids + i * PAGE, &a, i));
    assert_int_equal(prefix_idle(p), 0);
    assert_int_equal(prefix_evict(p, 10), 0); /* all are in use */

    /* A second one finds what is the same, page by page; another salt and another token find nothing. */
    assert_int_equal(prefix_find(p, 0, ids, 3 * PAGE - 1, &b, &at_b), 2 * PAGE);
    assert_ptr_equal(b.page[1], a.page[1]);
    assert_ptr_equal(at_b, prefix_up(at, 1));
    kv_seq_truncate(&b, 0);
    assert_int_equal(prefix_find(p, 1, ids, 3 * PAGE, &b, &at_b), 0);
    ids[PAGE + 5]++;
    assert_int_equal(prefix_find(p, 0, ids, 3 * PAGE, &b, &at_b), PAGE);
    ids[PAGE + 5]--;

    /* The same page computed twice: one of the two is given up. */
    assert_int_equal(kv_seq_reserve(&b, 2 * PAGE, &e), 0);
    assert_int_equal(pool->n_free, 6);
    assert_ptr_equal(prefix_add(p, 0, at_b, ids + PAGE, &b, 1), prefix_up(at, 1));
    assert_ptr_equal(b.page[1], a.page[1]);
    assert_int_equal(pool->n_free, 7);

    /* Leaves go first, and only what nobody uses. */
    kv_seq_truncate(&a, 0);
    assert_int_equal(prefix_idle(p), 1);
    assert_int_equal(prefix_evict(p, 10), 1);
    kv_seq_truncate(&b, 0);
    assert_int_equal(prefix_idle(p), 2);
    assert_int_equal(prefix_evict(p, 1), 1);
    assert_int_equal(prefix_find(p, 0, ids, 4 * PAGE, &a, &at), PAGE);
    kv_seq_finish(&a);
    kv_seq_finish(&b);
    prefix_destroy(p);
    assert_int_equal(pool->n_free, 10);
    kv_pool_destroy(pool);
}

static void forks_share_and_copy(void **state)
{
    struct fixture *f = *state;
    struct kv_pool *pool;
    struct err e = {0};
    struct kv_seq a, b;
    assert_int_equal(kv_pool_create(&pool, &f->en->kv->shape, 3 * PAGE, 0, &e), 0);
    assert_int_equal(kv_seq_init(&a, pool, 3 * PAGE, &e), 0);
    assert_int_equal(kv_seq_init(&b, pool, 3 * PAGE, &e), 0);
    assert_int_equal(kv_seq_reserve(&a, PAGE + 7, &e), 0);
    memset(a.page[1], 0x5a, pool->page_bytes);
    assert_int_equal(kv_seq_fork(&b, &a, PAGE + 5, &e), 0);
    assert_ptr_equal(b.page[0], a.page[0]);
    assert_ptr_not_equal(b.page[1], a.page[1]);
    assert_memory_equal(b.page[1], a.page[1], pool->page_bytes);
    assert_int_equal(kv_page_holders(pool, a.page[0]), 2);
    kv_seq_truncate(&b, 0);
    assert_int_equal(kv_page_holders(pool, a.page[0]), 1);
    assert_int_equal(kv_seq_reserve(&a, 3 * PAGE, &e), 0);
    assert_int_equal(kv_seq_fork(&b, &a, 2 * PAGE + 1, &e), ERR_LIMIT); /* no page to copy to */
    assert_int_equal(b.n_pages, 0);
    assert_int_equal(kv_seq_fork(&b, &a, 2 * PAGE, &e), 0); /* none needed */
    kv_seq_finish(&a);
    assert_int_equal(pool->n_free, 1);
    kv_seq_finish(&b);
    assert_int_equal(pool->n_free, 3);
    kv_pool_destroy(pool);
}

/* A machine that takes 10 ms + 1 ms per answer and 0.5 ms per token of a prompt. */
static double step_s(int n_answers, int n_prompt)
{
    return 0.01 + n_answers * 0.001 + n_prompt * 0.0005;
}

/* A long prompt now and then: no step takes more than 2.5 times as long as usual. */
static void pieces_keep_the_pace(void **state)
{
    (void)state;
    struct pace p = {0};
    int carried = 0, steps = 0;
    assert_int_equal(pace_piece(&p, 0, 8000, 500), 500); /* nobody waits */
    for (int i = 0; i < 1000; i++) {
        bool prompt = i % 100 < 40;
        int n = pace_piece(&p, 32, 5000, 480);
        pace_note(&p, 32, prompt ? n : 0, step_s(32, prompt ? n : 0));
        if (i < 100 || !prompt) continue;
        assert_true(step_s(32, n) < 2.6 * step_s(32, 0));
        carried += n;
        steps++;
    }
    assert_true(carried > steps * 115); /* 126 fit */
    assert_int_equal(pace_piece(&p, 32, 5000, 5), 5);
    for (int i = 0; i < 3; i++) pace_piece(&p, 1, 5000, 480);
    assert_true(pace_piece(&p, 1, 5000, 480) >= PACE_PIECE_MIN);
}

/* More prompts than such pieces can carry: steps become longer for all, little by little, and stay about
 * equal; a few go without, to measure. */
static void pieces_grow_with_what_waits(void **state)
{
    (void)state;
    struct pace p = {0};
    int without = 0, n = 0, most = 0, least = 480;
    for (int i = 0; i < 1000; i++) {
        double usual = p.usual > 1 ? p.usual : 1;
        n = pace_piece(&p, 32, 12000 + i % 50 * 100, 480);
        if (i > 100) assert_true(step_s(32, n) < 2.6 * usual * step_s(32, 0));
        pace_note(&p, 32, n, step_s(32, n));
        without += n == 0;
        if (i < 200 || n == 0) continue;
        most = n > most ? n : most;
        least = n < least ? n : least;
    }
    assert_true(least >= 295 && most <= 430); /* a fortieth of what waits */
    assert_true(without >= 5 && without < 20);
    for (int i = 0; i < 200; i++) pace_note(&p, 32, 0, step_s(32, 0));
    assert_true(pace_piece(&p, 32, 100000, 480) < 180);
}

static void pieces_are_shared(void **state)
{
    (void)state;
    struct pace_prompt a[] = {{2000, 0, 1, 9}, {50, 0, 3, 0}, {1000, 0, 2, 0}, {30, 0, 4, 0}},
                       b[] = {{500, 0, 1, 0}, {500, 1, 2, 0}}, c[] = {{10, 0, 1, 0}, {20, 0, 2, 0}};
    pace_share(a, 4, 200); /* half of it for the shortest, half for the oldest */
    assert_true(a[3].take == 30 && a[1].take == 50 && a[2].take == 20 && a[0].take == 100);
    pace_share(b, 2, 200);
    assert_true(b[0].take == 0 && b[1].take == 200); /* the higher priority before all */
    pace_share(c, 2, 200);
    assert_true(c[0].take == 10 && c[1].take == 20);
}

/* Of that machine a guess takes 1 ms: worth it for one answer, hardly for many, never when guesses are wrong. */
static void guesses_pay_or_are_not_made(void **state)
{
    (void)state;
    static const struct {
        int n_answers, right_of_10;
        double least, most; /* guesses of an answer and step */
    } cases[] = {{1, 9, 8, 15}, {1, 5, 2, 4},   {1, 0, 0, 1},    {16, 9, 2, 6},
                 {16, 5, 0, 1}, {200, 9, 0, 1}, {200, 3, 0, 0.1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct pace p = {0};
        struct odds o = {0};
        double sum = 0;
        int n = cases[c].n_answers;
        uint32_t dice = 1;
        assert_true(pace_worth(&p, n) == 0); /* a step without guesses comes first */
        for (int i = 0; i < 1000; i++) {
            int k = odds_length(&o, pace_worth(&p, n), 15), right = 0;
            for (; right < k; right++)
                if ((int)((dice = dice * 1664525u + 1013904223u) >> 16) % 10 >= cases[c].right_of_10) break;
            pace_piece(&p, n, 0, 0);
            if (k) pace_note_guesses(&p, n, k * n, step_s(n, 0) + 0.001 * k * n);
            else pace_note(&p, n, 0, step_s(n, 0));
            odds_note(&o, k, right);
            if (i >= 500) sum += k / 500.0;
        }
        if (sum < cases[c].least || sum > cases[c].most)
            fail_msg("%d answers, %d of 10 right: %.2f guesses", n, cases[c].right_of_10, sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_given_alone),
        cmocka_unit_test(guesses_change_no_answer), /* others change requests */
        cmocka_unit_test(faults_are_refused),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(cancelled_work_stops),
        cmocka_unit_test(turns_are_fair),
        cmocka_unit_test(embeddings_are_those_alone),
        cmocka_unit_test(means_are_of_all_rows),
        cmocka_unit_test(one_reads_for_all),
        cmocka_unit_test(masks_and_bias_rule),
        cmocka_unit_test(prefixes_are_found_and_forgotten),
        cmocka_unit_test(forks_share_and_copy),
        cmocka_unit_test(pieces_keep_the_pace),
        cmocka_unit_test(pieces_grow_with_what_waits),
        cmocka_unit_test(pieces_are_shared),
        cmocka_unit_test(guesses_pay_or_are_not_made),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
