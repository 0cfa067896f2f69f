/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guesses for the answers of a step (spec.h): fed behind the last token, so that a step may bring an answer
 * several tokens. The sampler draws behind each guess as it would have without; the first draw that is not
 * what was guessed ends the answer's part. So guesses change when a token comes, never which.
 *
 * Only steps without prompts carry guesses, only pages that nobody else asks for hold them, and only as many
 * are made as pay (odds.h). Answers with a mask make none: what is allowed behind a guess is not known before
 * it is drawn.
 */
#include <string.h>
#include "serve/sched/sched_int.h"

enum { DRAFT_PIECE = 256 }; /* tokens of a text that the smaller model reads in one step */

int sched_open_guesses(struct sched *s, struct err *e)
{
    int rc = 0;
    if (s->opt.guess != SCHED_GUESS_DRAFT) return 0;
    for (int i = 0; i < SCHED_DRAFTS && !rc; i++) {
        rc = spec_open_draft(&s->drafts[i].spec, s->opt.draft, s->engine->model->h.n_vocab, e);
        if (!rc) s->drafts[i].spec->piece = DRAFT_PIECE;
    }
    return rc;
}

void sched_close_guesses(struct sched *s)
{
    for (int i = 0; i < SCHED_DRAFTS; i++) spec_close(s->drafts[i].spec);
}

void sched_drop_guesses(struct sched *s, const struct answer *a)
{
    for (int i = 0; i < SCHED_DRAFTS; i++)
        if (s->drafts[i].user == a) s->drafts[i].user = NULL;
}

static struct spec *draft_for(struct sched *s, const struct answer *a)
{
    int at = -1;
    for (int i = SCHED_DRAFTS - 1; i >= 0; i--)
        if (s->drafts[i].user == a || (!s->drafts[i].user && (at < 0 || s->drafts[at].user != a))) at = i;
    if (at < 0) return NULL;
    s->drafts[at].user = a;
    return s->drafts[at].spec;
}

static int guess(struct sched *s, struct answer *a, int max)
{
    struct generate *g = &a->g;
    int most = g->n_ctx - g->n_ids - 1, n = 0;
    if (g->p.max_tokens && g->p.max_tokens - g->n_answer - 1 < most) most = g->p.max_tokens - g->n_answer - 1;
    if (most > max) most = max;
    if (most > SPEC_MAX) most = SPEC_MAX;
    if (most < 1) return 0;
    if (s->opt.guess == SCHED_GUESS_LOOKUP) {
        n = spec_look_up(g->ids, g->n_ids, most, g->ids + g->n_ids);
    } else {
        struct spec *draft = draft_for(s, a);
        s->drafted = s->drafted || draft;
        if (draft) n = spec_draft(draft, g->ids, g->n_ids, most, &g->p.sample);
        if (n) memcpy(g->ids + g->n_ids, draft->guess, (size_t)n * sizeof *g->ids);
    }
    return n && kv_seq_reserve(&g->seq, g->n_ids + n, NULL) ? 0 : n;
}

void sched_guess(struct sched *s)
{
    int n = 0, room = s->opt.step_tokens;
    s->drafted = false;
    if (s->opt.guess == SCHED_GUESS_OFF) return;
    for (int i = 0; i < s->n_running; i++) {
        n += s->running[i]->n_feed > 0;
        room -= s->running[i]->n_feed;
        if (s->running[i]->n_feed > 1) return; /* a prompt */
    }
    double worth = pace_worth(&s->pace, n);
    for (int i = 0; i < s->n_running && room > 0; i++) {
        struct answer *a = s->running[i];
        if (!a->n_feed || a->g.n_answer == 0 || a->mask || a->r->embed) continue;
        int max = s->opt.guess_always ? SPEC_MAX : odds_length(&a->odds, worth, SPEC_MAX);
        a->n_guess = guess(s, a, max < room ? max : room);
        room -= a->n_guess;
    }
}

void sched_note_guesses(struct sched *s, struct answer *a, int right)
{
    odds_note(&a->odds, a->n_guess, right);
    s->count.guesses += (uint64_t)a->n_guess;
    s->count.guesses_right += (uint64_t)right;
    s->count.guessing += a->n_guess > 0;
    if (a->n_guess) kv_seq_truncate(&a->g.seq, a->g.n_kv); /* what stands behind wrong guesses */
}
