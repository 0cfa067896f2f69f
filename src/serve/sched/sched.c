/* SPDX-License-Identifier: Apache-2.0 */
/* See sched.h; the other files are listed in sched_int.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "serve/sched/sched_int.h"

enum { OWNERS_MAX = 4096 };

/* --- requests ---------------------------------------------------------------------------------------------- */

void sched_free_request(struct request *r)
{
    for (int i = 0; i < r->n; i++) generate_close(&r->answers[i].g);
    free(r->bias);
    free(r->vector);
    mean_finish(&r->mean);
    free(r);
}

static int check_request(const struct sched *s, const struct sched_request *q, struct err *e)
{
    int n = q->n ? q->n : 1;
    if (n < 1 || n > SCHED_CHOICES_MAX)
        return err(e, ERR_USAGE, "%d answers to one prompt: must be 1..%d", n, SCHED_CHOICES_MAX);
    if (q->n_top < -1 || q->n_top > SAMPLER_TOP_MAX)
        return err(e, ERR_USAGE, "%d top logprobs: must be 0..%d", q->n_top, SAMPLER_TOP_MAX);
    if (q->params.max_tokens < 0)
        return err(e, ERR_USAGE, "%d tokens of answer: must be 0 (until the context is full) or more",
                   q->params.max_tokens);
    if (q->embed && (n > 1 || q->mask_ops)) return err(e, ERR_USAGE, "an embedding has one result and no grammar");
    if (q->embed && s->engine->pooling == POOLING_UNKNOWN)
        return err(
            e, ERR_USAGE,
            "this model has no embeddings: its file wants a pooling other than mean, first and last token");
    return n <= s->opt.max_queue ? 0
                                 : err(e, ERR_USAGE, "%d answers to one prompt do not fit the queue of %d", n,
                                       s->opt.max_queue);
}

/* The longest that prompt and answer may become; memory for the ids is taken for that. */
static int context_for(const struct sched *s, const struct sched_request *q)
{
    int n_ctx = s->engine->n_ctx, max = q->embed ? 1 : q->params.max_tokens;
    return max && q->n_prompt < n_ctx && max < n_ctx - q->n_prompt ? q->n_prompt + max : n_ctx;
}

static int make_answer(struct sched *s, struct request *r, int i, const struct sched_request *q, struct err *e)
{
    struct answer *a = &r->answers[i];
    struct generate_params p = q->params;
    p.text = NULL;
    p.cancel = NULL;
    p.sample.bias = r->bias;
    p.sample.choice += (uint32_t)i;
    a->r = r;
    a->choice = i;
    a->submit_s = sched_now();
    int rc = generate_init(&a->g, s->engine, s->text, context_for(s, q), e);
    return rc ? rc : generate_begin(&a->g, q->prompt, q->n_prompt, &p, e);
}

static int make_request(struct sched *s, struct request **out, const struct sched_request *q, struct err *e)
{
    int n = q->n ? q->n : 1, rc = check_request(s, q, e);
    if (rc) return rc;
    struct request *r = calloc(1, sizeof *r + (size_t)n * sizeof *r->answers);
    if (!r) return err(e, ERR_MEMORY, "out of memory");
    r->n = r->n_live = n;
    r->embed = q->embed;
    r->state = q->state && !q->embed;
    r->n_top = q->embed ? -1 : q->n_top;
    r->priority = q->priority;
    r->owner_id = q->owner;
    r->mask_ops = q->mask_ops;
    r->event = q->event;
    r->ud = q->ud;
    size_t n_bias = q->params.sample.n_bias > 0 ? (size_t)q->params.sample.n_bias : 0;
    if (n_bias) r->bias = malloc(n_bias * sizeof *r->bias);
    if (r->embed) r->vector = calloc((size_t)s->engine->model->h.n_embd, sizeof *r->vector);
    if ((n_bias && !r->bias) || (r->embed && !r->vector)) rc = err(e, ERR_MEMORY, "out of memory");
    if (!rc && r->embed && s->engine->pooling == POOLING_MEAN) rc = mean_init(&r->mean, s->engine->model->h.n_embd, e);
    if (r->bias) memcpy(r->bias, q->params.sample.bias, n_bias * sizeof *r->bias);
    for (int i = 0; i < n && !rc; i++) rc = make_answer(s, r, i, q, e);
    if (rc)
        sched_free_request(r);
    else
        *out = r;
    return rc;
}

/* --- any thread -------------------------------------------------------------------------------------------- */

int sched_submit(struct sched *s, const struct sched_request *q, uint64_t *ticket, struct err *e)
{
    struct request *r = NULL;
    int rc = make_request(s, &r, q, e);
    if (rc) return rc;
    pthread_mutex_lock(&s->lock);
    if (s->stopping)
        rc = err(e, ERR_BUSY, "the server is stopping");
    else if (s->n_waiting + r->n > s->opt.max_queue)
        rc = err(e, ERR_BUSY, "the queue is full: %d answers wait, at most %d may", s->n_waiting, s->opt.max_queue);
    if (rc) {
        pthread_mutex_unlock(&s->lock);
        sched_free_request(r);
        return rc;
    }
    for (int i = 0; i < r->n && q->mask_ops; i++) r->answers[i].mask = q->mask[i];
    r->ticket = ++s->last_ticket;
    if (ticket) *ticket = r->ticket;
    r->next = s->live;
    if (s->live) s->live->prev = r;
    s->live = r;
    for (int i = 0; i < r->n; i++) {
        *s->inbox_end = &r->answers[i];
        s->inbox_end = &r->answers[i].next;
    }
    s->n_waiting += r->n;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void sched_cancel(struct sched *s, uint64_t ticket)
{
    pthread_mutex_lock(&s->lock);
    for (struct request *r = s->live; r; r = r->next)
        if (r->ticket == ticket) atomic_store(&r->cancelled, true);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void sched_stats(struct sched *s, struct sched_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->waiting = s->n_waiting;
    pthread_mutex_unlock(&s->lock);
}

/* --- the thread -------------------------------------------------------------------------------------------- */

static void count_pages(struct sched *s)
{
    const struct kv_pool *kv = s->engine->kv;
    s->count.running = s->n_running;
    s->count.pages_all = kv->max_pages;
    s->count.pages_idle = s->prefix ? prefix_idle(s->prefix) : 0;
    s->count.pages_used = kv->max_pages - kv->n_free - s->count.pages_idle;
}

void sched_end(struct sched *s, struct answer *a)
{
    struct request *r = a->r;
    struct generate *g = &a->g;
    bool waited = a->state == ANSWER_WAITS, ran = a->admit_s > 0;
    a->state = ANSWER_ENDED;
    sched_drop_guesses(s, a);
    kv_seq_truncate(&g->seq, 0);
    count_pages(s); /* whoever sees the last event finds its work gone from the figures */
    pthread_mutex_lock(&s->lock);
    s->n_waiting -= waited;
    s->stats = s->count;
    pthread_mutex_unlock(&s->lock);
    generate_release(g);
    struct sched_event ev = {.kind = SCHED_END,
                             .choice = a->choice,
                             .text = buf_str(&g->show),
                             .end = g->end,
                             .stop = g->end == GENERATE_STOP ? g->stop.met : (struct str){NULL, 0},
                             .err = g->end == GENERATE_FAILED ? &a->err : NULL,
                             .n_prompt = g->n_prompt,
                             .n_cached = g->n_cached,
                             .n_answer = g->n_answer,
                             .queue_s = (ran ? a->admit_s : sched_now()) - a->submit_s,
                             .prompt_s = g->prompt_s,
                             .answer_s = g->answer_s};
    r->event(r->ud, &ev);
    generate_close(g);
    if (a->mask) r->mask_ops->free(a->mask);
    r->owner->n_live--;
    bool last = --r->n_live == 0;
    pthread_mutex_lock(&s->lock);
    if (last) {
        *(r->prev ? &r->prev->next : &s->live) = r->next;
        if (r->next) r->next->prev = r->prev;
        pthread_cond_signal(&s->gone);
    }
    pthread_mutex_unlock(&s->lock);
    if (last) sched_free_request(r);
}

static void take_inbox(struct sched *s, struct answer *list)
{
    for (struct answer *a = list, *next; a; a = next) {
        next = a->next;
        a->order = ++s->last_order;
        if (!a->r->owner) sched_owner_join(s, a->r);
        sched_wait(s, a);
    }
}

static void drop_cancelled(struct sched *s)
{
    int n = 0;
    struct answer *ended = NULL;
    for (struct answer **p = &s->waiting; *p;) {
        struct answer *a = *p;
        if (!atomic_load(&a->r->cancelled)) {
            p = &a->next;
            continue;
        }
        *p = a->next;
        a->next = ended, ended = a;
    }
    for (int i = 0; i < s->n_running; i++) {
        struct answer *a = s->running[i];
        if (!atomic_load(&a->r->cancelled))
            s->running[n++] = a;
        else
            a->next = ended, ended = a;
    }
    s->n_running = n;
    for (struct answer *a = ended, *next; a; a = next) {
        next = a->next;
        a->g.end = GENERATE_CANCELLED;
        sched_end(s, a);
    }
}

static void *run_thread(void *arg)
{
    struct sched *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        struct answer *list = s->inbox;
        s->inbox = NULL;
        s->inbox_end = &s->inbox;
        s->stats = s->count;
        bool idle = !list && !s->waiting && !s->n_running;
        if (idle) {
            pthread_cond_wait(&s->wake, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        take_inbox(s, list);
        drop_cancelled(s);
        sched_admit(s);
        sched_step(s);
        count_pages(s);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* --- start and stop ---------------------------------------------------------------------------------------- */

static void free_all(struct sched *s)
{
    for (int i = 0; i < s->n_samplers; i++) sampler_destroy(s->sampler[i]);
    sched_close_guesses(s);
    prefix_destroy(s->prefix);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->gone);
    pthread_mutex_destroy(&s->lock);
    free(s->sampler), free(s->running), free(s->owners), free(s->parts), free(s->part_of), free(s->prompts),
        free(s->prompt_of);
    free(s->out), free(s->rows), free(s->tops), free(s->hidden), free(s->hidden_of);
    free(s);
}

static int make_parts(struct sched *s, struct err *e)
{
    size_t n = (size_t)s->opt.max_running, n_rows = (size_t)s->opt.step_tokens;
    int rc = 0, workers = s->engine->chip->n_workers ? s->engine->chip->n_workers : 1;
    s->n_owners = OWNERS_MAX;
    s->running = calloc(n, sizeof *s->running);
    s->owners = calloc(OWNERS_MAX, sizeof *s->owners);
    s->parts = calloc(n, sizeof *s->parts);
    s->part_of = calloc(n, sizeof *s->part_of);
    s->prompts = calloc(n, sizeof *s->prompts);
    s->prompt_of = calloc(n, sizeof *s->prompt_of);
    s->out = calloc(n_rows, sizeof *s->out);
    s->rows = calloc(n_rows, sizeof *s->rows);
    s->tops = calloc(n_rows * SAMPLER_TOP_MAX, sizeof *s->tops);
    s->hidden = calloc(n_rows, sizeof *s->hidden);
    s->hidden_of = calloc(n_rows, sizeof *s->hidden_of);
    s->sampler = calloc((size_t)workers, sizeof *s->sampler);
    if (!s->running || !s->owners || !s->parts || !s->part_of || !s->prompts || !s->prompt_of || !s->out ||
        !s->rows || !s->tops || !s->hidden || !s->hidden_of || !s->sampler)
        return err(e, ERR_MEMORY, "out of memory for %d sequences", s->opt.max_running);
    for (; s->n_samplers < workers && !rc; s->n_samplers += !rc)
        rc = sampler_create(&s->sampler[s->n_samplers], s->engine->model->h.n_vocab, s->engine->kern, e);
    for (size_t i = 0; i < n_rows; i++) s->rows[i].top = s->tops + i * SAMPLER_TOP_MAX;
    if (!rc) rc = sched_open_guesses(s, e);
    return !rc && s->opt.cache != SCHED_CACHE_OFF ? prefix_create(&s->prefix, s->engine->kv, e) : rc;
}

static int set_options(struct sched *s, const struct sched_options *o, struct err *e)
{
    int rows = s->engine->program->max_rows;
    if (o) s->opt = *o;
    if (!s->opt.step_tokens) s->opt.step_tokens = rows;
    if (!s->opt.max_running)
        s->opt.max_running = s->opt.step_tokens < SCHED_RUNNING ? s->opt.step_tokens : SCHED_RUNNING;
    if (!s->opt.max_queue) s->opt.max_queue = SCHED_QUEUE;
    if (s->opt.step_tokens < 1 || s->opt.step_tokens > rows)
        return err(e, ERR_USAGE, "%d tokens per step: must be 1..%d", s->opt.step_tokens, rows);
    if (s->opt.max_running < 1 || s->opt.max_running > s->opt.step_tokens)
        return err(e, ERR_USAGE, "%d sequences at once: must be 1..%d, the tokens of a step",
                   s->opt.max_running, s->opt.step_tokens);
    s->pace.ratio = s->opt.pace;
    return s->opt.max_queue > 0 ? 0 : err(e, ERR_USAGE, "a queue of %d: must be 1 or more", s->opt.max_queue);
}

int sched_start(struct sched **out, struct engine *en, const struct text *t, const struct sched_options *o,
                struct err *e)
{
    struct sched *s = calloc(1, sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, NULL);
    pthread_cond_init(&s->gone, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    s->engine = en;
    s->text = t;
    kv_pool_forget(en->kv, NULL, NULL); /* pages are shared */
    if (o->draft) kv_pool_forget(o->draft->kv, NULL, NULL);
    s->inbox_end = &s->inbox;
    int rc = set_options(s, o, e);
    if (!rc) rc = make_parts(s, e);
    if (!rc) {
        count_pages(s);
        s->stats = s->count;
        rc = pthread_create(&s->thread, NULL, run_thread, s);
        if (rc) rc = err(e, ERR_MEMORY, "cannot start the scheduler's thread: %s", strerror(rc));
    }
    if (rc)
        free_all(s);
    else
        *out = s;
    return rc;
}

void sched_stop(struct sched *s, double deadline_s)
{
    if (!s || s->quit) return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    double end = (double)until.tv_nsec * 1e-9 + (deadline_s > 0 ? deadline_s < 1e9 ? deadline_s : 1e9 : 0);
    until.tv_sec += (time_t)end;
    until.tv_nsec = (long)((end - (double)(time_t)end) * 1e9);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    while (s->live && pthread_cond_timedwait(&s->gone, &s->lock, &until) != ETIMEDOUT) continue;
    for (struct request *r = s->live; r; r = r->next) atomic_store(&r->cancelled, true);
    while (s->live) pthread_cond_wait(&s->gone, &s->lock);
    s->quit = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
}

void sched_destroy(struct sched *s)
{
    if (!s) return;
    sched_stop(s, 0);
    free_all(s);
}
