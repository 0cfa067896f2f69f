/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of all that run. Every answer that is being written feeds its last token. Prompts share what
 * pace.h leaves of the step. The workers draw the tokens, each row by whoever is free (the bits of a draw
 * depend on seed and position only); then this thread turns them into text and events.
 */
#include "serve/sched/sched_int.h"

#include <stdlib.h>
#include <time.h>

double sched_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int left(const struct answer *a)
{
    return a->g.n_ids - a->g.n_kv;
}

/* A leader's turn comes with that of its followers. */
static void hurry(struct pace_prompt *p, const struct answer *follower)
{
    if (left(follower) < p->left) p->left = left(follower);
    if (follower->r->priority > p->priority) p->priority = follower->r->priority;
    if (follower->submit_s < p->since) p->since = follower->submit_s;
}

static void share_step(struct sched *s)
{
    int n = 0, n_prompts = 0;
    int64_t n_left = 0;
    sched_follow(s);
    for (int i = 0; i < s->n_running; i++) {
        struct answer *a = s->running[i];
        a->n_guess = 0;
        a->n_feed = left(a) == 1;
        n += a->n_feed;
        if (a->n_feed || a->leader != a) continue;
        a->place = n_prompts;
        s->prompt_of[n_prompts] = a;
        s->prompts[n_prompts++] =
            (struct pace_prompt){.left = left(a), .priority = a->r->priority, .since = a->submit_s};
        n_left += left(a);
    }
    for (int i = 0; i < s->n_running; i++) {
        const struct answer *a = s->running[i];
        if (a->leader != a) hurry(&s->prompts[a->leader->place], a);
    }
    pace_share(s->prompts, n_prompts, pace_piece(&s->pace, n, n_left, s->opt.step_tokens - n));
    for (int i = 0; i < n_prompts; i++) s->prompt_of[i]->n_feed = s->prompts[i].take;
}

/* --- the batch --------------------------------------------------------------------------------------------- */

static void draw(void *ud, int worker, int i_out, const float *logits, int status)
{
    struct sched *s = ud;
    struct row *w = &s->rows[i_out];
    const struct answer *a = w->a;
    const struct generate *g = &a->g;
    int n = g->n_ids + w->i; /* guesses stand behind the answer's tokens */
    w->id = status ? status : sampler_draw(s->sampler[worker], &g->p.sample, logits, g->ids, n, n, a->allowed);
    if (w->id >= 0 && a->r->state && engine_state(s->engine, i_out, w->state)) w->id = ERR_UNSUPPORTED;
    if (w->id >= 0 && a->r->n_top >= 0)
        w->logp = sampler_logprob(s->sampler[worker], logits, w->id, w->top, a->r->n_top);
}

static void take_vector(void *ud, int i_out, const float *row, int status)
{
    struct sched *s = ud;
    struct answer *a = s->hidden_of[i_out - s->batch.n_out];
    if (status) a->embedded = status;
    else if (a->r->mean.sum) mean_add(&a->r->mean, row);
    else a->embedded = engine_unit(s->engine, row, a->r->vector);
}

/* The part's rows that its vector is made of; the first of the part is `row` of the batch. */
static void want_hidden(struct sched *s, struct answer *a, int row)
{
    int n, first = row + pooling_rows(s->engine->pooling, a->part.pos, a->part.n, a->g.n_ids, &n);
    for (int i = 0; i < n; i++) {
        s->hidden_of[s->batch.n_hidden] = a;
        s->hidden[s->batch.n_hidden++] = first + i;
    }
}

static void make_batch(struct sched *s)
{
    struct batch *b = &s->batch;
    int row = 0;
    *b = (struct batch){.parts = s->parts, .out = s->out, .hidden = s->hidden, .spread = draw};
    for (int i = 0; i < s->n_running; i++) {
        struct answer *a = s->running[i];
        if (!a->n_feed) continue;
        struct generate *g = &a->g;
        a->part = (struct batch_part){&g->seq, g->ids + g->n_kv, a->n_feed + a->n_guess, g->n_kv};
        a->wants = g->n_kv + a->n_feed == g->n_ids;
        s->part_of[b->n_parts] = a;
        s->parts[b->n_parts++] = a->part;
        row += a->part.n;
        if (a->r->embed) want_hidden(s, a, row - a->part.n);
        if (!a->wants || a->r->embed) continue;
        a->allowed = a->mask ? a->r->mask_ops->allowed(a->mask) : NULL;
        a->row = s->rows + b->n_out;
        for (int k = 0; k <= a->n_guess; k++) {
            s->rows[b->n_out].a = a;
            s->rows[b->n_out].i = k;
            s->out[b->n_out++] = row - 1 - a->n_guess + k;
        }
    }
}

/* --- what came of it --------------------------------------------------------------------------------------- */

/* Pages that became full go to the prefix cache. */
static void keep_pages(struct sched *s, struct answer *a)
{
    while (s->prefix && a->n_kept >= 0 && a->g.n_kv >= (a->n_kept + 1) * ATTN_CHUNK) {
        a->at = prefix_add(s->prefix, sched_salt(s, a), a->at, a->g.ids + a->n_kept * ATTN_CHUNK, &a->g.seq, a->n_kept);
        a->n_kept = a->at ? a->n_kept + 1 : -1;
    }
}

static void take_token(struct sched *s, struct answer *a, const struct row *w)
{
    struct generate *g = &a->g;
    if (w->id < 0) {
        const struct err *why = a->mask && a->r->mask_ops->error ? a->r->mask_ops->error(a->mask) : NULL;
        if (why && why->code)
            err(&a->err, why->code, "no token can follow %d tokens of the answer: %s", g->n_answer, why->msg);
        else
            err(&a->err, w->id, "no token can be drawn at position %d: %s", g->n_ids,
                w->id == ERR_USAGE ? "none is allowed" : err_text(w->id));
        g->end = GENERATE_FAILED;
        return;
    }
    if (a->mask && a->r->mask_ops->accept(a->mask, w->id, &a->err)) {
        g->end = GENERATE_FAILED;
        return;
    }
    if (generate_take(g, w->id, &a->err)) return;
    s->count.answer_tokens++;
    struct sched_event ev = {.kind = SCHED_TOKEN,
                             .choice = a->choice,
                             .id = w->id,
                             .text = buf_str(&g->show),
                             .logp = w->logp,
                             .state = a->r->state ? w->state : NULL,
                             .top = w->top,
                             .n_top = a->r->n_top > 0 ? a->r->n_top : 0};
    a->r->event(a->r->ud, &ev);
    buf_clear(&g->show);
}

static void give_vector(struct sched *s, struct answer *a)
{
    struct sched_event ev = {.kind = SCHED_VECTOR,
                             .choice = a->choice,
                             .vector = a->r->vector,
                             .n_vector = s->engine->model->h.n_embd};
    if (!a->embedded && a->r->mean.sum && !(a->embedded = mean_write(&a->r->mean, a->r->vector)))
        a->embedded = engine_unit(s->engine, a->r->vector, a->r->vector);
    a->g.end = a->embedded ? GENERATE_FAILED : GENERATE_MAX_TOKENS;
    if (a->embedded) err(&a->err, a->embedded, "the text has no embedding: %s", err_text(a->embedded));
    else a->r->event(a->r->ud, &ev);
}

/* What was fed is counted, then the token drawn behind it is taken; if it is the one that was guessed, the
 * same for what was drawn behind that. */
static void after_part(struct sched *s, struct answer *a)
{
    struct generate *g = &a->g;
    struct batch_part fed = a->part;
    int right = 0;
    fed.n -= a->n_guess;
    for (;;) {
        int status = g->seq.fault < fed.pos + fed.n ? ERR_RANGE : 0;
        a->r->owner->tokens += (uint64_t)fed.n;
        if (generate_fed(g, &fed, status, &a->err) || !a->wants || a->r->embed) break;
        int32_t guessed = right < a->n_guess ? g->ids[g->n_ids] : -1; /* taking a token overwrites it */
        take_token(s, a, &a->row[right]);
        if (g->end != GENERATE_GOES_ON || a->row[right].id != guessed || atomic_load(&a->r->cancelled)) break;
        right++;
        fed = (struct batch_part){&g->seq, NULL, 1, g->n_kv};
    }
    sched_note_guesses(s, a, right);
    if (g->end != GENERATE_FAILED) keep_pages(s, a);
    if (a->wants && a->r->embed && g->end == GENERATE_GOES_ON) give_vector(s, a);
}

static void drop_ended(struct sched *s)
{
    int n = 0, was = s->n_running;
    struct answer *ended = NULL;
    for (int i = 0; i < was; i++) {
        struct answer *a = s->running[i];
        if (a->g.end == GENERATE_GOES_ON)
            s->running[n++] = a;
        else
            a->next = ended, ended = a;
    }
    s->n_running = n;
    for (struct answer *a = ended, *next; a; a = next) {
        next = a->next;
        sched_end(s, a);
    }
}

int sched_step_bound(int bucket)
{
    return bucket ? 4 << bucket : 1;
}

static void count_step(struct sched_stats *c, int n_tokens)
{
    int i = 0;
    while (i < SCHED_STEP_BUCKETS && n_tokens > sched_step_bound(i)) i++;
    c->steps++;
    c->step_tokens += (uint64_t)n_tokens;
    c->steps_by_tokens[i]++;
}

void sched_step(struct sched *s)
{
    struct batch *b = &s->batch;
    struct err e = {0};
    double begin = sched_now();
    share_step(s);
    sched_reserve(s);
    sched_guess(s);
    make_batch(s);
    if (b->n_parts == 0) return;
    int rc = chip_step(s->engine->chip, b, take_vector, s, &e), n_prompt = 0, n_guess = 0, n_answers = 0;
    for (int i = 0; i < b->n_parts; i++) {
        const struct answer *a = s->part_of[i];
        n_guess += a->n_guess;
        if (a->n_feed == 1) n_answers++;
        else n_prompt += a->n_feed;
    }
    if (n_guess) pace_note_guesses(&s->pace, n_answers, n_guess, sched_now() - begin);
    else if (!s->drafted) pace_note(&s->pace, n_answers, n_prompt, sched_now() - begin);
    count_step(&s->count, n_answers + n_prompt + n_guess);
    for (int i = 0; i < b->n_parts; i++) {
        struct answer *a = s->part_of[i];
        if (!rc) {
            after_part(s, a);
            continue;
        }
        a->err = e;
        a->g.end = GENERATE_FAILED;
    }
    drop_ended(s);
}
