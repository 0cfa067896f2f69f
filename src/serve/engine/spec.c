/* SPDX-License-Identifier: Apache-2.0 */
/* See spec.h. */
#include "serve/engine/spec.h"

#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_FIRST = 4,
    LOOKUP_LONG = 4, LOOKUP_SHORT = 2, /* tokens that must agree for a guess by lookup: tried from long to short */
    CALIBRATE = 3,                     /* steps without guesses at the start, and one in every CALIBRATE_EVERY */
    CALIBRATE_EVERY = 64,
    REST_FIRST = 16, REST_MAX = 1024,  /* steps */
};
#define FADE 0.85 /* what a guessing step before the last one counts */

static int make(struct spec **out, enum spec_kind kind, struct err *e)
{
    struct spec *s = calloc(1, sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    s->kind = kind;
    spec_begin(s);
    *out = s;
    return 0;
}

int spec_open_lookup(struct spec **s, struct err *e)
{
    return make(s, SPEC_LOOKUP, e);
}

int spec_open_draft(struct spec **out, struct engine *engine, int n_vocab, struct err *e)
{
    struct spec *s = NULL;
    int rc, own = engine->model->h.n_vocab;
    if (own != n_vocab)
        return err(e, ERR_USAGE,
                   "the draft model has %d tokens and the model %d: they must have the same vocabulary", own,
                   n_vocab);
    if ((rc = make(&s, SPEC_DRAFT, e))) return rc;
    s->engine = engine;
    s->n_ctx = engine->n_ctx;
    s->ids = calloc((size_t)s->n_ctx, sizeof *s->ids);
    if (!s->ids)
        rc = err(e, ERR_MEMORY, "out of memory");
    else if (!(rc = kv_seq_init(&s->seq, engine->kv, s->n_ctx, e)))
        rc = sampler_create(&s->sampler, n_vocab, engine->kern, e);
    if (rc) {
        spec_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void spec_close(struct spec *s)
{
    if (!s) return;
    kv_seq_finish(&s->seq);
    sampler_destroy(s->sampler);
    free(s->ids);
    free(s);
}

void spec_begin(struct spec *s)
{
    s->length = LENGTH_FIRST;
    s->rest = CALIBRATE;
    s->rest_next = REST_FIRST;
    s->plain_s = s->guess_s = s->gained = s->all_s = 0;
    s->all_tokens = 0;
    s->counts = (struct spec_counts){0};
}

int spec_look_up(const int32_t *ids, int n, int max, int32_t *guess)
{
    for (int len = LOOKUP_LONG; len >= LOOKUP_SHORT; len--) {
        const int32_t *last = ids + n - len;
        for (int i = n - len - 1; i >= 0; i--) {
            if (ids[i] != last[0] || memcmp(ids + i, last, (size_t)len * sizeof *ids)) continue;
            int found = n - (i + len) < max ? n - (i + len) : max;
            memcpy(guess, ids + i + len, (size_t)found * sizeof *ids);
            return found;
        }
    }
    return 0;
}

struct draw {
    struct spec *s;
    const struct sampler_params *p;
    int n; /* tokens before the drawn one */
    int id;
};

static void draw(void *ud, int i_out, const float *logits, int status)
{
    struct draw *d = ud;
    (void)i_out;
    d->id = status ? status : sampler_draw(d->s->sampler, d->p, logits, d->s->ids, d->n, d->n, NULL);
}

/* The draft model continues the text; what its cache holds of it is kept. Whatever goes wrong there ends the
 * guesses. */
int spec_draft(struct spec *s, const int32_t *ids, int n, int max, const struct sampler_params *p)
{
    int same = 0, made = 0;
    if (n + max > s->n_ctx) max = s->n_ctx - n;
    if (max < 1) return 0;
    while (same < s->n_kv && same < n - 1 && s->ids[same] == ids[same]) same++;
    memcpy(s->ids + same, ids + same, (size_t)(n - same) * sizeof *ids);
    s->n_kv = same;
    if (s->piece && n - same > s->piece) {
        if (engine_feed(s->engine, &s->seq, s->ids + same, s->piece, same, 0, false, NULL, NULL, NULL) == 0)
            s->n_kv += s->piece;
        return 0;
    }
    while (made < max) {
        struct draw d = {s, p, n + made, ERR_RANGE};
        if (engine_feed(s->engine, &s->seq, s->ids + s->n_kv, n + made - s->n_kv, s->n_kv, 0, false, draw, &d,
                        NULL) ||
            d.id < 0)
            break;
        s->n_kv = n + made;
        s->ids[n + made] = s->guess[made] = d.id;
        made++;
    }
    return made;
}

int spec_propose(struct spec *s, const int32_t *ids, int n, int max, const struct sampler_params *p)
{
    if (max > SPEC_MAX) max = SPEC_MAX;
    if (!s->always) {
        if (s->rest > 0) return s->rest--, 0;
        if (s->counts.steps % CALIBRATE_EVERY == CALIBRATE_EVERY - 1) return 0;
        if (max > s->length) max = s->length;
    }
    if (max < 1) return 0;
    return s->kind == SPEC_DRAFT ? spec_draft(s, ids, n, max, p) : spec_look_up(ids, n, max, s->guess);
}

void spec_note(struct spec *s, int proposed, int accepted, double seconds)
{
    struct spec_counts *c = &s->counts;
    c->steps++;
    s->all_s += seconds;
    s->all_tokens += accepted + 1;
    if (proposed == 0) {
        s->plain_s = s->plain_s > 0 ? 0.75 * s->plain_s + 0.25 * seconds : seconds;
    } else {
        c->guessing++;
        c->proposed += proposed;
        c->accepted += accepted;
        bool reads_prompt = s->kind == SPEC_DRAFT && c->guessing == 1; /* once */
        s->guess_s = FADE * s->guess_s + (reads_prompt ? s->plain_s * (accepted + 1) : seconds);
        s->gained = FADE * s->gained + accepted + 1;
        s->length = accepted == proposed ? 2 * s->length : accepted + 1 > s->length / 2 ? accepted + 1 : s->length / 2;
        if (s->length > SPEC_MAX) s->length = SPEC_MAX;
        if (s->length < 1) s->length = 1;
    }
    if (s->plain_s > 0 && s->all_s > 0) c->speedup = s->plain_s * s->all_tokens / s->all_s;
    if (proposed == 0 || s->plain_s == 0) return;
    if (s->guess_s <= s->plain_s * s->gained) {
        if (accepted == proposed) s->rest_next = REST_FIRST;
        return;
    }
    c->rests++; /* guessing was slower than not guessing */
    s->rest = s->rest_next;
    s->rest_next = s->rest_next < REST_MAX ? 2 * s->rest_next : REST_MAX;
    s->guess_s = s->gained = 0;
    s->length = LENGTH_FIRST;
}
