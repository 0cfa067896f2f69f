/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may run. Of those that wait the next one is of the highest priority, then of the owner who got the
 * fewest tokens, then the oldest. It starts when its prompt's pages are to be had: free ones and those that
 * only the cache holds, less what the running prompts will still take. When a running answer finds no page,
 * the lowest in rank loses all of its pages and waits again; what it has written stays, and its keys are
 * computed again later, with the same bits. The highest in rank never loses its pages and every answer fits
 * alone, so all come to their end.
 */
#include <stdlib.h>
#include <string.h>
#include "serve/sched/sched_int.h"

static int pages_for(int n_tokens)
{
    return (n_tokens + ATTN_CHUNK - 1) / ATTN_CHUNK;
}

/* --- owners ------------------------------------------------------------------------------------------------ */

/* One that comes anew counts from the least of those that are here: time away earns no right. */
void sched_owner_join(struct sched *s, struct request *r)
{
    struct owner *at = NULL, *unused = NULL;
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < s->n_owners; i++) {
        struct owner *o = &s->owners[i];
        if (o->n_live && o->id == r->owner_id) at = o;
        if (o->n_live && o->tokens < least) least = o->tokens;
        if (!o->n_live) unused = o;
    }
    if (!at && !unused) at = &s->owners[s->n_owners - 1];
    if (!at) {
        at = unused;
        *at = (struct owner){.id = r->owner_id, .tokens = least == UINT64_MAX ? 0 : least};
    }
    at->n_live += r->n;
    r->owner = at;
}

/* --- waiting ----------------------------------------------------------------------------------------------- */

void sched_wait(struct sched *s, struct answer *a)
{
    a->state = ANSWER_WAITS;
    a->next = s->waiting;
    s->waiting = a;
}

static bool goes_first(const struct answer *a, const struct answer *b)
{
    if (a->r->priority != b->r->priority) return a->r->priority > b->r->priority;
    if (a->r->owner->tokens != b->r->owner->tokens) return a->r->owner->tokens < b->r->owner->tokens;
    return a->order < b->order;
}

/* An answer to the same prompt whose keys are there; *busy: one that is on the way to them. */
static struct answer *sibling(const struct answer *a, bool *busy)
{
    for (int i = 0; i < a->r->n; i++) {
        struct answer *b = &a->r->answers[i];
        if (b == a || b->state != ANSWER_RUNS) continue;
        if (b->g.n_kv >= b->g.n_prompt) return b;
        *busy = true;
    }
    return NULL;
}

static struct answer **next_waiting(struct sched *s)
{
    struct answer **best = NULL;
    for (struct answer **p = &s->waiting; *p; p = &(*p)->next) {
        bool busy = false;
        if (best && !goes_first(*p, *best)) continue;
        if (!sibling(*p, &busy) && busy) continue;
        best = p;
    }
    return best;
}

/* --- pages ------------------------------------------------------------------------------------------------- */

/* Takes over what the cache, or an answer to the same prompt, has of its tokens. */
static void take_over(struct sched *s, struct answer *a)
{
    struct generate *g = &a->g;
    bool busy = false;
    const struct answer *b = sibling(a, &busy);
    mean_clear(&a->r->mean);
    a->at = NULL;
    a->n_kept = s->prefix ? 0 : -1;
    g->n_kv = 0;
    int most = (b ? g->n_prompt : g->n_ids) - 1; /* the last token is fed for its logits */
    if (b && g->n_ids == g->n_prompt && kv_seq_fork(&g->seq, &b->g.seq, most, NULL) == 0) {
        g->n_kv = most;
        if (b->n_kept >= most / ATTN_CHUNK) {
            a->n_kept = most / ATTN_CHUNK;
            a->at = prefix_up(b->at, b->n_kept - a->n_kept);
        } else {
            a->n_kept = -1;
        }
    } else if (s->prefix && !sched_needs_all(s, a)) {
        g->n_kv = prefix_find(s->prefix, sched_salt(s, a), g->ids, g->n_ids - 1, &g->seq, &a->at);
        a->n_kept = g->n_kv / ATTN_CHUNK;
    }
}

static void give_up_pages(struct answer *a)
{
    kv_seq_truncate(&a->g.seq, 0);
    a->g.n_kv = 0;
    a->at = NULL;
}

static int pages_idle(const struct sched *s)
{
    return s->prefix ? prefix_idle(s->prefix) : 0;
}

/* Room for what it has to feed, beside what the running ones have to, and some to grow. */
static bool has_room(const struct sched *s, const struct answer *a)
{
    int need = pages_for(a->g.n_ids + 1) - a->g.seq.n_pages + s->n_running / 4;
    for (int i = 0; i < s->n_running; i++) {
        const struct generate *g = &s->running[i]->g;
        int more = pages_for(g->n_ids + 1) - g->seq.n_pages;
        if (more > 0) need += more;
    }
    return need <= s->engine->kv->n_free || need <= s->engine->kv->n_free + pages_idle(s);
}

static bool ranks_before(const struct answer *a, const struct answer *b)
{
    return a->r->priority != b->r->priority ? a->r->priority > b->r->priority : a->order < b->order;
}

static void run(struct sched *s, struct answer *a)
{
    int i = s->n_running++;
    for (; i > 0 && ranks_before(a, s->running[i - 1]); i--) s->running[i] = s->running[i - 1];
    s->running[i] = a;
    a->state = ANSWER_RUNS;
    a->n_feed = 0;
    if (a->admit_s > 0) return; /* again */
    a->admit_s = sched_now();
    a->g.begin_s = a->admit_s;
    a->g.n_cached = a->g.n_kv;
    s->count.prefix_queries++;
    s->count.prefix_hits += a->g.n_kv > 0;
    s->count.prompt_tokens += (uint64_t)a->g.n_prompt;
    s->count.cached_tokens += (uint64_t)a->g.n_kv;
}

static void preempt_last(struct sched *s)
{
    struct answer *a = s->running[--s->n_running];
    sched_drop_guesses(s, a);
    give_up_pages(a);
    a->again = true;
    sched_wait(s, a);
    s->count.preemptions++;
    pthread_mutex_lock(&s->lock);
    s->n_waiting++;
    pthread_mutex_unlock(&s->lock);
}

void sched_admit(struct sched *s)
{
    struct answer **p;
    while (s->waiting && (p = next_waiting(s))) {
        struct answer *a = *p, *last = s->n_running ? s->running[s->n_running - 1] : NULL;
        bool above = last && a->r->priority > last->r->priority;
        if (s->n_running == s->opt.max_running && !above) return;
        *p = a->next;
        if (s->n_running == s->opt.max_running) preempt_last(s);
        take_over(s, a);
        while (s->n_running && !has_room(s, a) && a->r->priority > s->running[s->n_running - 1]->r->priority)
            preempt_last(s);
        if (s->n_running && !has_room(s, a)) {
            give_up_pages(a);
            sched_wait(s, a);
            return;
        }
        run(s, a);
        pthread_mutex_lock(&s->lock);
        s->n_waiting--;
        pthread_mutex_unlock(&s->lock);
    }
}

void sched_reserve(struct sched *s)
{
    for (int i = 0; i < s->n_running; i++) {
        struct answer *a = s->running[i];
        while (a->n_feed && kv_seq_reserve(&a->g.seq, a->g.n_kv + a->n_feed, NULL)) {
            int lack = pages_for(a->g.n_kv + a->n_feed) - a->g.seq.n_pages;
            if (s->prefix && prefix_evict(s->prefix, lack)) continue;
            must(s->n_running > 1); /* alone it fits: sched_submit saw to that */
            preempt_last(s);
            if (i == s->n_running) return; /* it was the last itself */
        }
    }
}
