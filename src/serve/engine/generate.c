/* SPDX-License-Identifier: Apache-2.0 */
/* See generate.h. */
#include "serve/engine/generate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PREFILL_CHUNK = 256,    /* tokens of a prompt between two looks at cancel */
    TEXT_MAX = 1 << 24,     /* bytes of one token's text with what was held back */
    TEXT_FIRST = 1 << 14,   /* taken at open, so that a usual token allocates nothing */
};

const char *const generate_end_name[] = {
    [GENERATE_GOES_ON] = "goes on",
    [GENERATE_END_TOKEN] = "end token",
    [GENERATE_STOP] = "stop string",
    [GENERATE_MAX_TOKENS] = "token limit",
    [GENERATE_CONTEXT] = "context full",
    [GENERATE_CANCELLED] = "cancelled",
    [GENERATE_FAILED] = "error",
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int open_buf(struct buf *b, struct err *e)
{
    char *p = calloc(1, TEXT_FIRST);
    if (!p) return err(e, ERR_MEMORY, "out of memory");
    *b = (struct buf){.p = p, .cap = TEXT_FIRST, .max = TEXT_MAX};
    return 0;
}

int generate_init(struct generate *g, struct engine *en, const struct text *t, int n_ctx, struct err *e)
{
    int rc;
    *g = (struct generate){.engine = en, .text = t, .n_ctx = n_ctx ? n_ctx : en->n_ctx};
    if ((rc = kv_seq_init(&g->seq, en->kv, g->n_ctx, e)) || (rc = open_buf(&g->piece, e)) ||
        (rc = open_buf(&g->show, e))) {
        generate_close(g);
        return rc;
    }
    g->ids = calloc((size_t)g->n_ctx, sizeof *g->ids);
    if (!g->ids) {
        rc = err(e, ERR_MEMORY, "out of memory for a context of %d tokens", g->n_ctx);
        generate_close(g);
        return rc;
    }
    return 0;
}

int generate_open(struct generate *g, struct engine *en, const struct text *t, int n_ctx, struct err *e)
{
    int rc = generate_init(g, en, t, n_ctx, e);
    if (rc || !(rc = sampler_create(&g->sampler, en->model->h.n_vocab, en->kern, e))) return rc;
    generate_close(g);
    return rc;
}

void generate_close(struct generate *g)
{
    kv_seq_finish(&g->seq);
    sampler_destroy(g->sampler);
    stop_finish(&g->stop);
    buf_finish(&g->piece);
    buf_finish(&g->show);
    free(g->ids);
    *g = (struct generate){0};
}

int generate_begin(struct generate *g, const int32_t *prompt, int n, const struct generate_params *p, struct err *e)
{
    int rc, same = 0, n_vocab = g->engine->model->h.n_vocab;
    g->end = GENERATE_FAILED;
    g->p = *p;
    g->n_prompt = g->n_cached = g->n_answer = 0;
    g->prompt_s = g->answer_s = 0;
    stop_finish(&g->stop);
    if ((rc = sampler_params_check(&p->sample, e)) || (rc = stop_init(&g->stop, p->stop, p->n_stop, e))) return rc;
    if (n < 1) return err(e, ERR_USAGE, "the prompt is empty");
    if (n >= g->n_ctx)
        return err(e, ERR_LIMIT,
                   "the prompt has %d tokens and the context %d: no room for an answer; shorten the prompt%s",
                   n, g->n_ctx,
                   g->n_ctx < g->engine->model->h.n_ctx_train ? " or raise the context (--ctx)" : "");
    for (int i = 0; i < n; i++)
        if (prompt[i] < 0 || prompt[i] >= n_vocab)
            return err(e, ERR_USAGE, "token %d of the prompt is %d: outside the vocabulary of %d", i,
                       (int)prompt[i], n_vocab);
    /* the last one is fed for its logits */
    while (same < n - 1 && same < g->n_kv && prompt[same] == g->ids[same]) same++;
    same = (int)kv_seq_truncate(&g->seq, same);
    memcpy(g->ids, prompt, (size_t)n * sizeof *prompt);
    g->n_prompt = g->n_ids = n;
    g->n_cached = g->n_kv = same;
    detok_init(&g->detok, g->text->tok, p->show_special ? DETOK_SPECIAL : 0);
    g->end = GENERATE_GOES_ON;
    g->begin_s = now_s();
    return 0;
}

int generate_part(struct generate *g, int max_tokens, struct batch_part *part, bool *wants_logits, struct err *e)
{
    int n = g->n_ids - g->n_kv;
    if (n > max_tokens) n = max_tokens;
    *wants_logits = g->n_kv + n == g->n_ids;
    *part = (struct batch_part){&g->seq, g->ids + g->n_kv, n, g->n_kv};
    int rc = kv_seq_reserve(&g->seq, g->n_kv + n, e);
    if (rc) g->end = GENERATE_FAILED;
    return rc;
}

/* Text that may leave goes out; a sink that refuses ends the answer. */
static void show(struct generate *g)
{
    if (g->show.n && g->p.text && g->p.text(g->p.ud, buf_str(&g->show))) g->end = GENERATE_CANCELLED;
    buf_clear(&g->show);
}

static bool is_mark(const struct generate_params *p, int32_t id)
{
    for (int i = 0; i < p->n_marks; i++)
        if (p->marks[i] == id) return !p->show_special;
    return false;
}

/* The text of a token that may leave. A hidden control token divides it: no stop string reaches across one. */
static bool take_text(struct generate *g, int32_t id)
{
    bool mark = is_mark(&g->p, id);
    buf_clear(&g->piece);
    if (tokenizer_type(g->text->tok, id) == TOKEN_CONTROL && !g->p.show_special) stop_flush(&g->stop, &g->show);
    if (mark) return buf_append_str(&g->show, tokenizer_piece(g->text->tok, id)), false;
    detok_feed(&g->detok, id, &g->piece);
    return stop_feed(&g->stop, buf_str(&g->piece), &g->show);
}

int generate_take(struct generate *g, int32_t id, struct err *e)
{
    g->n_answer++;
    if (!g->p.ignore_end && tokenizer_is_end(g->text->tok, id)) {
        g->end = GENERATE_END_TOKEN;
        return 0;
    }
    g->ids[g->n_ids++] = id;
    bool hit = take_text(g, id);
    if (g->piece.failed || g->show.failed) {
        g->end = GENERATE_FAILED;
        return err(e, g->piece.failed ? g->piece.failed : g->show.failed, "the text of one token is too long");
    }
    if (hit)
        g->end = GENERATE_STOP;
    else if (g->p.max_tokens && g->n_answer >= g->p.max_tokens)
        g->end = GENERATE_MAX_TOKENS;
    else if (g->n_ids == g->n_ctx)
        g->end = GENERATE_CONTEXT;
    return 0;
}

int generate_fed(struct generate *g, const struct batch_part *part, int status, struct err *e)
{
    double now = now_s();
    g->n_kv += part->n;
    if (g->n_answer == 0) {
        g->first_s = now;
        g->prompt_s = now - g->begin_s;
    }
    g->answer_s = now - g->first_s;
    if (!status) return 0;
    g->end = GENERATE_FAILED;
    return err(e, status, "at position %d %s: this text cannot be continued", part->pos + part->n - 1,
               err_text(status));
}

static int draw_token(struct generate *g, const float *logits, struct err *e)
{
    struct grammar_state *rule = g->p.grammar;
    int rc, id = sampler_draw(g->sampler, &g->p.sample, logits, g->ids, g->n_ids, g->n_ids,
                              rule ? grammar_state_allowed(rule) : NULL);
    if (id < 0) {
        const char *why = rule && id == ERR_USAGE ? grammar_state_error(rule)->msg : err_text(id);
        return err(e, id, "no token can be drawn at position %d: %s", g->n_ids, why);
    }
    if (rule && (rc = grammar_state_accept(rule, id, e))) return rc;
    if (g->p.drawn) g->p.drawn(g->p.ud, id);
    return generate_take(g, id, e);
}

int generate_step(struct generate *g, const struct batch_part *part, const float *logits, int status, struct err *e)
{
    int rc = generate_fed(g, part, status, e);
    if (!rc && logits) {
        rc = draw_token(g, logits, e);
        show(g);
    }
    if (rc) g->end = GENERATE_FAILED;
    if (g->end == GENERATE_GOES_ON && g->p.cancel && atomic_load(g->p.cancel)) g->end = GENERATE_CANCELLED;
    return rc;
}

void generate_release(struct generate *g)
{
    if (g->end == GENERATE_STOP) return;
    buf_clear(&g->piece);
    detok_finish(&g->detok, &g->piece);
    bool hit = stop_feed(&g->stop, buf_str(&g->piece), &g->show);
    if (!hit) stop_flush(&g->stop, &g->show);
}

void generate_finish(struct generate *g)
{
    enum generate_end end = g->end;
    generate_release(g);
    show(g);
    g->end = end;
}

/* One step: what is not yet in the cache, and behind it guesses for what follows. */
struct run {
    struct generate *g;
    struct batch_part part;       /* with the guesses */
    int32_t tokens[PREFILL_CHUNK + SPEC_MAX];
    int n_guess, n_right;
    bool over;                    /* a guess was wrong, or the answer ended: rows after that have no meaning */
    int rc;
    struct err *e;
};

static void catch_logits(void *ud, int i_out, const float *logits, int status)
{
    struct run *r = ud;
    struct generate *g = r->g;
    if (r->over) return;
    struct batch_part fed = r->part; /* the row's share of the step */
    fed.pos += i_out ? fed.n - r->n_guess - 1 + i_out : 0;
    fed.n = i_out ? 1 : fed.n - r->n_guess;
    int n = g->n_ids;
    r->rc = generate_step(g, &fed, logits, status, r->e);
    bool right = !r->rc && i_out < r->n_guess && g->end == GENERATE_GOES_ON && g->n_ids == n + 1 &&
                 g->ids[n] == r->tokens[r->part.n - r->n_guess + i_out];
    r->n_right += right;
    r->over = !right;
}

/* Guesses behind a part that ends at the last token. */
static void guess(struct run *r)
{
    struct generate *g = r->g;
    int max = g->n_ctx - g->n_ids - 1, n;
    if (g->p.max_tokens && g->p.max_tokens - g->n_answer - 1 < max) max = g->p.max_tokens - g->n_answer - 1;
    if (r->part.n + max > g->engine->program->max_rows) max = g->engine->program->max_rows - r->part.n;
    n = spec_propose(g->spec, g->ids, g->n_ids, max, &g->p.sample);
    /* no guesses, or no pages for them: a usual step */
    if (n == 0 || kv_seq_reserve(&g->seq, g->n_ids + n, NULL)) return;
    memcpy(r->tokens, r->part.tokens, (size_t)r->part.n * sizeof *r->tokens);
    memcpy(r->tokens + r->part.n, g->spec->guess, (size_t)n * sizeof *r->tokens);
    r->part.tokens = r->tokens;
    r->part.n += n;
    r->n_guess = n;
}

static int run_step(struct generate *g, int max, struct err *e)
{
    struct run r = {.g = g, .e = e};
    bool wants = false, first = g->n_answer == 0;
    int rc = generate_part(g, max, &r.part, &wants, e), out[SPEC_MAX + 1];
    double begin = now_s();
    if (rc) return rc;
    if (wants && !first && g->spec) guess(&r);
    for (int i = 0; i <= r.n_guess; i++) out[i] = r.part.n - 1 - r.n_guess + i;
    struct batch b = {.parts = &r.part, .n_parts = 1, .out = out, .n_out = wants ? r.n_guess + 1 : 0};
    rc = chip_step(g->engine->chip, &b, catch_logits, &r, e);
    if (!rc) rc = wants ? r.rc : generate_step(g, &r.part, NULL, 0, e);
    if (wants && !first && g->spec) spec_note(g->spec, r.n_guess, r.n_right, now_s() - begin);
    return rc;
}

int generate_run(struct generate *g, const int32_t *prompt, int n, const struct generate_params *p, struct err *e)
{
    int rc = generate_begin(g, prompt, n, p, e), max = g->engine->program->max_rows;
    if (max > PREFILL_CHUNK) max = PREFILL_CHUNK;
    if (g->spec) spec_begin(g->spec);
    while (!rc && g->end == GENERATE_GOES_ON) rc = run_step(g, max, e);
    if (rc) g->end = GENERATE_FAILED;
    generate_finish(g);
    return rc;
}
