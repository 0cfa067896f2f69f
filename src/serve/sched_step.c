/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of all that run. Every answer that is being written feeds its last token. Prompts share what pace.h leaves of the
 * step: the highest priority first, then the one with the least to do, where waiting counts as work done, so that short
 * questions are not behind long texts and long texts do not wait for ever. The workers draw the tokens, each row by whoever
 * is free (the bits of a draw depend on seed and position only); then this thread turns them into text and events.
 */
#include "serve/sched_int.h"

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

static double patience(const struct answer *a, double now)
{
    return left(a) - PACE_AGE_TOKENS * (now - a->submit_s);
}

/* The next prompt to get a piece: one that has none yet. */
static struct answer *next_prompt(const struct sched *s, double now)
{
    struct answer *best = NULL;
    for (int i = 0; i < s->n_running; i++) {
        struct answer *a = s->running[i];
        if (a->n_feed || left(a) < 2) continue;
        if (!best || a->r->priority > best->r->priority ||
            (a->r->priority == best->r->priority && patience(a, now) < patience(best, now)))
            best = a;
    }
    return best;
}

static void share_step(struct sched *s)
{
    int n = 0;
    double now = sched_now();
    for (int i = 0; i < s->n_running; i++) {
        s->running[i]->n_feed = left(s->running[i]) == 1;
        n += s->running[i]->n_feed;
    }
    int room = pace_piece(&s->pace, n, s->opt.step_tokens - n);
    for (struct answer *a; room > 0 && (a = next_prompt(s, now)); room -= a->n_feed) a->n_feed = left(a) < room ? left(a) : room;
}

/* --- the batch --------------------------------------------------------------------------------------------- */

static void draw(void *ud, int worker, int i_out, const float *logits, int status)
{
    struct sched *s = ud;
    struct answer *a = s->out_of[i_out];
    const struct generate *g = &a->g;
    a->drawn = status ? status : sampler_draw(s->sampler[worker], &g->p.sample, logits, g->ids, g->n_ids, g->n_ids, a->allowed);
    if (a->drawn >= 0 && a->r->state && engine_state(s->engine, i_out, a->drawn_from)) a->drawn = ERR_UNSUPPORTED;
    if (a->drawn >= 0 && a->r->n_top >= 0) a->logp = sampler_logprob(s->sampler[worker], logits, a->drawn, a->top, a->r->n_top);
}

static void take_vector(void *ud, int i_out, const float *row, int status)
{
    struct sched *s = ud;
    struct answer *a = s->hidden_of[i_out - s->batch.n_out];
    a->drawn = status;
    if (!status) a->drawn = engine_unit(s->engine, row, a->r->vector);
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
        a->part = (struct batch_part){&g->seq, g->ids + g->n_kv, a->n_feed, g->n_kv};
        a->wants = g->n_kv + a->n_feed == g->n_ids;
        s->part_of[b->n_parts] = a;
        s->parts[b->n_parts++] = a->part;
        row += a->n_feed;
        if (!a->wants) continue;
        if (a->r->embed) {
            s->hidden_of[b->n_hidden] = a;
            s->hidden[b->n_hidden++] = row - 1;
            continue;
        }
        a->allowed = a->mask ? a->r->mask_ops->allowed(a->mask) : NULL;
        s->out_of[b->n_out] = a;
        s->out[b->n_out++] = row - 1;
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

static void give_vector(struct sched *s, struct answer *a)
{
    struct sched_event ev = {.kind = SCHED_VECTOR, .choice = a->choice, .vector = a->r->vector, .n_vector = s->engine->model->h.n_embd};
    a->g.end = GENERATE_MAX_TOKENS;
    a->r->event(a->r->ud, &ev);
}

static void take_token(struct sched *s, struct answer *a)
{
    struct generate *g = &a->g;
    int32_t id = a->drawn;
    if (a->mask && a->r->mask_ops->accept(a->mask, id, &a->err)) {
        g->end = GENERATE_FAILED;
        return;
    }
    if (generate_take(g, id, &a->err)) return;
    s->count.answer_tokens++;
    struct sched_event ev = {
        .kind = SCHED_TOKEN, .choice = a->choice, .id = id, .text = buf_str(&g->show), .logp = a->logp, .state = a->r->state ? a->drawn_from : NULL,
        .top = a->top, .n_top = a->r->n_top > 0 ? a->r->n_top : 0};
    a->r->event(a->r->ud, &ev);
    buf_clear(&g->show);
}

static void after_part(struct sched *s, struct answer *a)
{
    int status = a->g.seq.fault != KV_NO_FAULT ? ERR_RANGE : 0;
    a->r->owner->tokens += (uint64_t)a->n_feed;
    if (generate_fed(&a->g, &a->part, status, &a->err)) return;
    keep_pages(s, a);
    if (!a->wants) return;
    if (a->drawn < 0) {
        err(&a->err, a->drawn, "no token can be drawn at position %d: %s", a->g.n_ids, err_text(a->drawn));
        a->g.end = GENERATE_FAILED;
    } else if (a->r->embed) {
        give_vector(s, a);
    } else {
        take_token(s, a);
    }
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

void sched_step(struct sched *s)
{
    struct batch *b = &s->batch;
    struct err e = {0};
    share_step(s);
    sched_reserve(s);
    make_batch(s);
    if (b->n_parts == 0) return;
    double begin = sched_now();
    int rc = chip_step(s->engine->chip, b, take_vector, s, &e), n_rows = 0, n_answers = 0;
    for (int i = 0; i < b->n_parts; i++) {
        n_rows += s->parts[i].n;
        n_answers += s->parts[i].n == 1;
    }
    pace_note(&s->pace, n_answers, n_rows - n_answers, sched_now() - begin);
    s->count.steps++;
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
