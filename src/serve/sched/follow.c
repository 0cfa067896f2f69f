/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prompts that begin alike and are read at the same time: each page is read by one of them, the leader, and
 * the others, its followers, take it from the prefix cache when it is full.
 *
 *   leader     [page 0][page 1][pag...        feeds
 *   follower   [page 0]                       waits for page 1, takes over, waits for page 2
 *   follower   [page 0][pa]                   came late; what it has of page 1 goes when the leader's is full
 *
 * Who leads is found anew before every step: of all that want the same page after the same way, the one that
 * is nearest to its end. For a step the leader counts as short, as old and as urgent as any of its followers,
 * so that nobody waits longer than by reading itself. Pages have the same bits whoever reads them, so answers
 * do not change.
 */
#include <string.h>
#include "serve/sched/sched_int.h"

/* Its next page is one that it will keep, and lies wholly before the last token, which is fed for its logits. */
static bool reads_page(const struct answer *a)
{
    return a->n_kept >= 0 && (a->n_kept + 1) * ATTN_CHUNK < a->g.n_ids;
}

static bool same_page(const struct sched *s, const struct answer *a, const struct answer *b)
{
    size_t at = (size_t)a->n_kept * ATTN_CHUNK;
    return a->at == b->at && sched_salt(s, a) == sched_salt(s, b) &&
           memcmp(a->g.ids + at, b->g.ids + at, ATTN_CHUNK * sizeof *a->g.ids) == 0;
}

/* Pages that others have filled since. */
static void catch_up(struct sched *s, struct answer *a)
{
    struct generate *g = &a->g;
    if (!prefix_goes_on(s->prefix, sched_salt(s, a), a->at, g->ids + a->n_kept * ATTN_CHUNK)) return;
    int had = g->n_kv;
    kv_seq_truncate(&g->seq, a->n_kept * ATTN_CHUNK);
    g->n_kv = prefix_find(s->prefix, sched_salt(s, a), g->ids, g->n_ids - 1, &g->seq, &a->at);
    a->n_kept = g->n_kv / ATTN_CHUNK;
    if (a->again) return; /* it was counted when it read this first */
    s->count.prefix_hits += g->n_cached == 0;
    s->count.cached_tokens += (uint64_t)(g->n_kv - had);
    g->n_cached += g->n_kv - had;
}

void sched_follow(struct sched *s)
{
    for (int i = 0; i < s->n_running; i++) {
        struct answer *a = s->running[i];
        a->leader = a;
        if (s->prefix && reads_page(a) && !sched_needs_all(s, a)) catch_up(s, a);
    }
    for (int i = 0; i < s->n_running && s->prefix; i++) {
        struct answer *a = s->running[i], *best = NULL;
        if (!reads_page(a) || sched_needs_all(s, a)) continue;
        for (int k = 0; k < s->n_running; k++) {
            struct answer *b = s->running[k];
            if (reads_page(b) && (!best || b->g.n_kv > best->g.n_kv) && same_page(s, a, b)) best = b;
        }
        a->leader = best;
    }
}
