/* SPDX-License-Identifier: Apache-2.0 */
/* See verify.h. */
#include "serve/receipt/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct engine *engine;
    const struct receipt *r;
    const struct sched_mask_ops *ops;
    void *mask;
    struct generate g;          /* its ids: prompt and answer as the receipt has them */
    struct sampler *sampler;
    struct receipt_chain chain;
    int n;                      /* tokens looked at */
    int first;                  /* of the answer, whose logits are row 0 of the batch in flight */
    struct verify_result *out;
    struct err *e;
    int rc;
};

static void differ(struct run *v, enum verify_what what, int at, int last)
{
    v->out->what = what;
    v->out->at = at;
    v->out->last = last;
}

static void check_end(struct run *v)
{
    enum generate_end said = v->r->end, found = v->g.end;
    bool open = said == GENERATE_CANCELLED || said == GENERATE_CONTEXT; /* who answered knows */
    if (said == found || (open && found == GENERATE_GOES_ON)) return;
    differ(v, VERIFY_END, v->n - 1, v->n - 1);
    snprintf(v->out->text, sizeof v->out->text, "the receipt says '%s', the tokens say '%s'",
             generate_end_name[said], generate_end_name[found]);
}

/* The chain is compared wherever the receipt tells it. */
static void check_chain(struct run *v)
{
    const struct receipt *r = v->r;
    int n = v->n, from = n % RECEIPT_EVERY ? n - n % RECEIPT_EVERY : n - RECEIPT_EVERY;
    bool mark = n % RECEIPT_EVERY == 0, end = n == r->n_answer;
    bool same = (!mark || memcmp(v->chain.h, r->marks + (size_t)(n / RECEIPT_EVERY - 1) * RECEIPT_MARK,
                                 RECEIPT_MARK) == 0) &&
                (!end || memcmp(v->chain.h, r->head, RECEIPT_HASH) == 0);
    if (!same)
        differ(v, VERIFY_STATE, from, n - 1);
    else if (end)
        check_end(v);
}

static int check_token(struct run *v, int i_out, const float *logits)
{
    const struct generate *g = &v->g;
    uint8_t state[ENGINE_STATE_BYTES];
    int at = v->n, pos = v->r->spec.n_prompt + at;
    const uint32_t *allowed = v->ops ? v->ops->allowed(v->mask) : NULL;
    int32_t said = v->r->answer[at],
            id = sampler_draw(v->sampler, &v->r->spec.sample, logits, g->ids, pos, pos, allowed);
    if (id != said) {
        differ(v, VERIFY_TOKEN, at, at);
        v->out->said = said;
        v->out->drawn = id; /* negative: nothing could be drawn */
        return 0;
    }
    int rc = engine_state(v->engine, i_out, state);
    if (rc)
        return err(v->e, rc,
                   "this chip does not tell from what its logits were computed: choose another by --chip");
    receipt_chain_add(&v->chain, id, state);
    if (v->ops && (rc = v->ops->accept(v->mask, id, v->e))) return rc;
    v->n++;
    if (g->end != GENERATE_GOES_ON) {
        differ(v, VERIFY_END, at, at);
        snprintf(v->out->text, sizeof v->out->text, "the answer goes on after its end ('%s')",
                 generate_end_name[g->end]);
        return 0;
    }
    if ((rc = generate_take(&v->g, id, v->e))) return rc;
    if (receipt_stops(&v->r->spec, id, v->n)) v->g.end = GENERATE_STOP;
    buf_clear(&v->g.show);
    check_chain(v);
    return 0;
}

static void take_logits(void *ud, int i_out, const float *logits, int status)
{
    struct run *v = ud;
    if (v->rc || v->out->what != VERIFY_OK) return;
    if (status)
        v->rc = err(v->e, status, "at position %d %s", v->r->spec.n_prompt + v->n - 1, err_text(status));
    else
        v->rc = check_token(v, i_out, logits);
}

/* All but the last token of the answer is fed; the logits from the prompt's last token on are wanted. */
static int feed(struct run *v, const int32_t *ids)
{
    int n_prompt = v->r->spec.n_prompt, n = n_prompt + v->r->n_answer - 1, max = v->engine->program->max_rows;
    int out[PROGRAM_ROWS_MAX];
    for (int at = 0; at < n && v->out->what == VERIFY_OK; at += max) {
        int m = n - at < max ? n - at : max;
        struct batch_part part = {&v->g.seq, ids + at, m, at};
        struct batch b = {.parts = &part, .n_parts = 1, .out = out};
        for (int i = 0; i < m; i++)
            if (at + i >= n_prompt - 1) out[b.n_out++] = i;
        int rc = kv_seq_reserve(&v->g.seq, at + m, v->e);
        if (!rc) rc = chip_step(v->engine->chip, &b, take_logits, v, v->e);
        if (rc || (rc = v->rc)) return rc;
    }
    return 0;
}

static int check_ranges(const struct run *v, const int32_t *prompt)
{
    const struct receipt *r = v->r;
    int n_vocab = v->engine->model->h.n_vocab;
    if (r->spec.n_prompt < 1) return err(v->e, ERR_FORMAT, "the receipt has no prompt");
    if (r->spec.rotation && r->spec.rotation != model_rotation(v->engine->model))
        return err(
            v->e, ERR_USAGE,
            "the answer was given with the model's factors of rotation for %s contexts: open it with these",
            r->spec.rotation == ROTATION_LONG ? "long" : "short");
    if (r->spec.n_prompt + r->n_answer > v->engine->n_ctx)
        return err(v->e, ERR_LIMIT, "prompt and answer have %d tokens, the context %d",
                   r->spec.n_prompt + r->n_answer, v->engine->n_ctx);
    for (int i = 0; i < r->spec.n_prompt + r->n_answer; i++) {
        int32_t id = i < r->spec.n_prompt ? prompt[i] : r->answer[i - r->spec.n_prompt];
        if (id < 0 || id >= n_vocab)
            return err(v->e, ERR_FORMAT, "token %d of the receipt is %d: outside the vocabulary of %d", i,
                       (int)id, n_vocab);
    }
    return 0;
}

static int run(struct run *v, const struct text *t, const int32_t *prompt)
{
    const struct receipt_spec *s = &v->r->spec;
    struct generate_params p = {.sample = s->sample,
                                .stop = s->stop,
                                .n_stop = s->n_stop,
                                .max_tokens = s->max_tokens,
                                .ignore_end = s->ignore_end,
                                .show_special = s->show_special};
    int rc = check_ranges(v, prompt), n = s->n_prompt + v->r->n_answer;
    if (rc || (rc = generate_init(&v->g, v->engine, t, 0, v->e)) ||
        (rc = generate_begin(&v->g, prompt, s->n_prompt, &p, v->e)) ||
        (rc = sampler_create(&v->sampler, v->engine->model->h.n_vocab, v->engine->kern, v->e)))
        return rc;
    int32_t *ids = calloc((size_t)n, sizeof *ids);
    if (!ids) return err(v->e, ERR_MEMORY, "out of memory for %d tokens", n);
    memcpy(ids, prompt, (size_t)s->n_prompt * sizeof *ids);
    if (v->r->n_answer) memcpy(ids + s->n_prompt, v->r->answer, (size_t)v->r->n_answer * sizeof *ids);
    receipt_chain_begin(&v->chain, v->r->spec_bytes);
    if (v->r->n_answer)
        rc = feed(v, ids);
    else
        check_chain(v);
    free(ids);
    return rc;
}

int verify_run(struct engine *en, const struct text *t, const struct receipt *r, const int32_t *prompt,
               const struct sched_mask_ops *ops, void *mask, struct verify_result *out, struct err *e)
{
    struct run v = {.engine = en, .r = r, .ops = ops, .mask = mask, .out = out, .e = e};
    *out = (struct verify_result){0};
    int rc = run(&v, t, prompt);
    generate_close(&v.g);
    sampler_destroy(v.sampler);
    receipt_chain_finish(&v.chain);
    return rc;
}
