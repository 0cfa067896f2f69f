/* SPDX-License-Identifier: Apache-2.0 */
/*
 * library: include/tutti.h on top of the engine. What the header promises of threads, ownership and errors is
 * kept here: arguments are checked, results are copied, no state outlives its handle.
 *
 * A session is the list of its tokens, the cache of the first n_run of them, and the logits after token n_run
 * - 1 if `fresh`. tutti_session_next only appends; `catch_up` runs what was appended, of one session or of
 * many in common steps.
 */
#include "tutti.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "serve/engine/engine.h"
#include "serve/engine/text.h"
#include "token/sampler.h"

#define SAME(code) _Static_assert((int)TUTTI_##code == (int)code, "the public codes are those of base/err.h")
SAME(ERR_USAGE);
SAME(ERR_IO);
SAME(ERR_FORMAT);
SAME(ERR_UNSUPPORTED);
SAME(ERR_MEMORY);
SAME(ERR_LIMIT);
SAME(ERR_NOT_FOUND);
SAME(ERR_RANGE);
SAME(ERR_INTERNAL);
#undef SAME
_Static_assert(sizeof(struct tutti_error) == sizeof(struct err), "tutti_error is struct err");

enum { EXPLAIN_MAX = 256 << 20, DECODE_MAX = 1 << 30, SESSIONS_MAX = 1 << 16 };

struct tutti_model {
    struct engine *engine;
    struct text text;
    struct sampler *sampler;
    int n_vocab, n_sessions, max_sessions;
    /* the step in flight */
    struct batch_part *parts;
    int *out;               /* [max_rows] */
    tutti_session **row_of; /* [max_rows] whose logits the i-th wanted row is */
};

struct tutti_session {
    tutti_model *model;
    struct kv_seq kv;
    int32_t *tokens; /* [cap] */
    int64_t n, n_run, cap;
    float *logits; /* [n_vocab] after token n_run - 1 */
    bool fresh;    /* logits are valid */
    int status;    /* of the run in flight: 0 or ERR_RANGE */
};

struct tutti_decoder {
    struct detok detok;
    struct buf buf;
};

/* A struct err to work with, whether or not the caller gave one. */
static struct err *clear(struct tutti_error *error, struct err *own)
{
    struct err *e = error ? (struct err *)(void *)error : own;
    e->code = 0;
    e->msg[0] = 0;
    return e;
}

const char *tutti_version(void)
{
    return TUTTI_VERSION;
}

/* --- model ------------------------------------------------------------------------------------------------- */

void tutti_model_options_default(struct tutti_model_options *o)
{
    *o = (struct tutti_model_options){
        .size = sizeof *o, .n_sessions = 1, .n_batch = ENGINE_BATCH, .kv_bits = 16};
}

static int open_model(tutti_model *m, const char *path, const struct tutti_model_options *o, struct err *e)
{
    int rc;
    struct engine_options opt = {.chip = o->chip,
                                 .isa = o->isa,
                                 .n_threads = o->n_threads,
                                 .n_ctx = o->n_ctx,
                                 .n_seqs = o->n_sessions,
                                 .n_batch = o->n_batch,
                                 .n_out = o->n_sessions < ENGINE_OUT ? o->n_sessions : ENGINE_OUT,
                                 .kv = o->kv_bits == 8 ? KV8 : KV16,
                                 .progress = o->progress,
                                 .progress_ud = o->user_data};
    if ((rc = engine_open(&m->engine, path, &opt, e)) || (rc = text_open(&m->text, m->engine->file, e)))
        return rc;
    gguf_drop_all(m->engine->file); /* the vocabulary was copied */
    m->n_vocab = m->engine->model->h.n_vocab;
    m->max_sessions = o->n_sessions;
    size_t rows = (size_t)m->engine->program->max_rows;
    m->parts = calloc(rows, sizeof *m->parts);
    m->out = calloc(rows, sizeof *m->out);
    m->row_of = calloc(rows, sizeof *m->row_of);
    if (!m->parts || !m->out || !m->row_of) return err(e, ERR_MEMORY, "out of memory");
    const struct kern *k = kern_select(o->isa, e);
    return k ? sampler_create(&m->sampler, m->n_vocab, k, e) : ERR_USAGE;
}

int tutti_model_open(tutti_model **out, const char *path, const struct tutti_model_options *options,
                     struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    struct tutti_model_options o;
    tutti_model_options_default(&o);
    if (options && options->size != sizeof o)
        return err(e, ERR_USAGE, "model options: size is %u, expected %zu", options->size, sizeof o);
    if (options) o = *options;
    if (!out || !path) return err(e, ERR_USAGE, "tutti_model_open: model or path is NULL");
    if (o.kv_bits != 8 && o.kv_bits != 16)
        return err(e, ERR_USAGE, "model options: kv_bits is %d, expected 8 or 16", o.kv_bits);
    if (o.n_sessions < 1 || o.n_sessions > SESSIONS_MAX)
        return err(e, ERR_USAGE, "model options: n_sessions is %d, expected 1..%d", o.n_sessions,
                   SESSIONS_MAX);
    tutti_model *m = calloc(1, sizeof *m);
    if (!m) return err(e, ERR_MEMORY, "out of memory");
    int rc = open_model(m, path, &o, e);
    if (rc) {
        tutti_model_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

void tutti_model_close(tutti_model *m)
{
    if (!m) return;
    sampler_destroy(m->sampler);
    text_close(&m->text);
    engine_close(m->engine);
    free(m->parts);
    free(m->out);
    free(m->row_of);
    free(m);
}

static void copy_str(char *to, size_t cap, struct str s)
{
    size_t n = s.n < cap - 1 ? s.n : cap - 1;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80) n--; /* no half character */
    if (n) memcpy(to, s.p, n);
    to[n] = 0;
}

int tutti_model_info(const tutti_model *m, struct tutti_model_info *info, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    const struct hparams *h = &m->engine->model->h;
    if (info->size != sizeof *info)
        return err(e, ERR_USAGE, "model info: size is %u, expected %zu", info->size, sizeof *info);
    *info = (struct tutti_model_info){.size = sizeof *info,
                                      .n_vocab = h->n_vocab,
                                      .n_ctx = m->engine->n_ctx,
                                      .n_ctx_train = h->n_ctx_train,
                                      .n_layer = h->n_layer,
                                      .n_embd = h->n_embd,
                                      .n_head = h->n_head,
                                      .n_head_kv = h->n_head_kv,
                                      .bos = tokenizer_bos(m->text.tok),
                                      .eos = tokenizer_eos(m->text.tok),
                                      .has_chat = m->text.chat != NULL};
    copy_str(info->arch, sizeof info->arch, h->arch);
    copy_str(info->name, sizeof info->name, h->name);
    return 0;
}

int tutti_model_explain(const tutti_model *m, tutti_write_fn *write, void *ud, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    struct buf b;
    buf_init(&b, EXPLAIN_MAX);
    program_print(m->engine->program, &b);
    buf_append_char(&b, '\n');
    chip_explain(m->engine->chip, &b);
    int rc = b.failed ? err(e, b.failed, "the listing is too long") : 0;
    if (!rc) write(ud, b.p, b.n);
    buf_finish(&b);
    return rc;
}

/* --- text -------------------------------------------------------------------------------------------------- */

/* Copies ids out and frees them; returns their count. */
static int64_t give_ids(struct ids *ids, int rc, int32_t *to, size_t cap)
{
    int64_t n = rc ? rc : (int64_t)ids->n;
    size_t give = ids->n < cap ? ids->n : cap;
    if (!rc && give) memcpy(to, ids->p, give * sizeof *to);
    ids_finish(ids);
    return n;
}

int64_t tutti_tokenize(const tutti_model *m, const char *text, size_t n, uint32_t flags, int32_t *to,
                       size_t cap, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    struct ids ids;
    if (flags & ~(uint32_t)(TUTTI_ADD_SPECIAL | TUTTI_PARSE_SPECIAL))
        return err(e, ERR_USAGE, "tutti_tokenize: flags 0x%x are unknown", flags);
    ids_init(&ids, TEXT_IDS_MAX);
    unsigned f = (flags & TUTTI_ADD_SPECIAL ? TOK_ADD_SPECIAL : 0) |
                 (flags & TUTTI_PARSE_SPECIAL ? TOK_PARSE_SPECIAL : 0);
    int rc = tokenizer_encode(m->text.tok, NULL, (struct str){text, n}, f, &ids, e);
    return give_ids(&ids, rc, to, cap);
}

int64_t tutti_detokenize(const tutti_model *m, const int32_t *ids, size_t n, uint32_t flags, char *text,
                         size_t cap, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    struct detok d;
    struct buf b;
    if (flags & ~(uint32_t)TUTTI_SHOW_SPECIAL)
        return err(e, ERR_USAGE, "tutti_detokenize: flags 0x%x are unknown", flags);
    buf_init(&b, DECODE_MAX);
    detok_init(&d, m->text.tok, (flags ? DETOK_SPECIAL : 0) | DETOK_SKIP_SPACE);
    for (size_t i = 0; i < n; i++) detok_feed(&d, ids[i], &b);
    detok_finish(&d, &b);
    int64_t rc = b.failed
                     ? err(e, b.failed, "the text of %zu tokens exceeds %d bytes or memory", n, DECODE_MAX)
                     : (int64_t)b.n;
    size_t give = b.n < cap ? b.n : cap;
    if (rc > 0 && give) memcpy(text, b.p, give);
    buf_finish(&b);
    return rc;
}

int64_t tutti_chat(tutti_model *m, const struct tutti_message *messages, size_t n, int32_t *to, size_t cap,
                   struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    struct ids ids;
    int rc = 0;
    json_t *list = json_array();
    for (size_t i = 0; i < n && !rc; i++) {
        json_t *o = json_object();
        /* _new takes over the value even if it fails; a NULL value (broken UTF-8, no memory) makes it fail */
        if (json_object_set_new(o, "role", json_string(messages[i].role)) ||
            json_object_set_new(o, "content", json_string(messages[i].content)) || json_array_append(list, o))
            rc = err(e, ERR_FORMAT, "message %zu: role or content is not UTF-8", i);
        json_decref(o);
    }
    ids_init(&ids, TEXT_IDS_MAX);
    if (!rc) rc = text_chat(&m->text, list, NULL, true, &ids, e);
    json_decref(list);
    return give_ids(&ids, rc, to, cap);
}

int tutti_token_is_end(const tutti_model *m, int32_t id)
{
    return id >= 0 && id < m->n_vocab && tokenizer_is_end(m->text.tok, id);
}

int tutti_decoder_create(tutti_decoder **out, const tutti_model *m, uint32_t flags, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    if (flags & ~(uint32_t)TUTTI_SHOW_SPECIAL)
        return err(e, ERR_USAGE, "tutti_decoder_create: flags 0x%x are unknown", flags);
    tutti_decoder *d = calloc(1, sizeof *d);
    if (!d) return err(e, ERR_MEMORY, "out of memory");
    buf_init(&d->buf, DECODE_MAX);
    detok_init(&d->detok, m->text.tok, flags ? DETOK_SPECIAL : 0);
    *out = d;
    return 0;
}

static int write_decoded(tutti_decoder *d, tutti_write_fn *write, void *ud, struct err *e)
{
    int rc = d->buf.failed ? err(e, d->buf.failed, "out of memory for the text of a token") : 0;
    if (!rc && d->buf.n) write(ud, d->buf.p, d->buf.n);
    buf_clear(&d->buf);
    return rc;
}

int tutti_decoder_feed(tutti_decoder *d, int32_t id, tutti_write_fn *write, void *ud,
                       struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    detok_feed(&d->detok, id, &d->buf);
    return write_decoded(d, write, ud, e);
}

int tutti_decoder_finish(tutti_decoder *d, tutti_write_fn *write, void *ud, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    detok_finish(&d->detok, &d->buf);
    detok_init(&d->detok, d->detok.t, d->detok.flags);
    return write_decoded(d, write, ud, e);
}

void tutti_decoder_free(tutti_decoder *d)
{
    if (!d) return;
    buf_finish(&d->buf);
    free(d);
}

/* --- session ----------------------------------------------------------------------------------------------- */

int tutti_session_create(tutti_session **out, tutti_model *m, int32_t n_ctx, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    int64_t cap = n_ctx ? n_ctx : m->engine->n_ctx;
    if (cap < 1 || cap > m->engine->n_ctx)
        return err(e, ERR_USAGE, "a session of %d tokens: this model was opened for 1..%d", n_ctx,
                   m->engine->n_ctx);
    if (m->n_sessions == m->max_sessions)
        return err(e, ERR_LIMIT, "the model was opened for %d sessions (n_sessions)", m->max_sessions);
    tutti_session *s = calloc(1, sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    m->n_sessions++;
    s->model = m;
    s->cap = cap;
    s->tokens = calloc((size_t)cap, sizeof *s->tokens);
    s->logits = calloc((size_t)m->n_vocab, sizeof *s->logits);
    int rc = s->tokens && s->logits ? kv_seq_init(&s->kv, m->engine->kv, cap, e)
                                    : err(e, ERR_MEMORY, "out of memory");
    if (rc) {
        tutti_session_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void tutti_session_free(tutti_session *s)
{
    if (!s) return;
    kv_seq_finish(&s->kv);
    s->model->n_sessions--;
    free(s->tokens);
    free(s->logits);
    free(s);
}

static void keep_logits(void *ud, int i, const float *logits, int status)
{
    tutti_model *m = ud;
    tutti_session *s = m->row_of[i];
    s->status = status;
    if (!status) memcpy(s->logits, logits, (size_t)m->n_vocab * sizeof *logits);
}

/* One step with as much of the sessions' work as fits. On an error nothing of it counts as run. */
static int run_step(tutti_model *m, tutti_session *const *list, size_t n, struct err *e)
{
    struct batch b = {.parts = m->parts, .out = m->out};
    int rows = 0, max = m->engine->program->max_rows, rc = 0;
    size_t end = 0;
    for (; end < n && rows < max && !rc; end++) {
        tutti_session *s = list[end];
        int64_t todo = s->n - s->n_run;
        int take = todo < max - rows ? (int)todo : max - rows;
        if (!take || (rc = kv_seq_reserve(&s->kv, s->n_run + take, e))) continue;
        m->parts[b.n_parts++] = (struct batch_part){&s->kv, s->tokens + s->n_run, take, (int)s->n_run};
        rows += take;
        s->fresh = false;
        if (take < todo) continue;
        m->row_of[b.n_out] = s;
        m->out[b.n_out++] = rows - 1;
    }
    if (!rc) rc = chip_step(m->engine->chip, &b, keep_logits, m, e);
    for (int i = 0; i < b.n_out && !rc; i++)
        if (m->row_of[i]->status)
            rc = err(e, ERR_RANGE, "a number left the range of the arithmetic within %" PRId64 " tokens",
                     m->row_of[i]->n);
    for (int i = 0; i < b.n_out && !rc; i++) m->row_of[i]->fresh = true;
    for (size_t i = 0, part = 0; i < end && !rc; i++)
        if ((int)part < b.n_parts && m->parts[part].seq == &list[i]->kv) list[i]->n_run += m->parts[part++].n;
    return rc;
}

/* Runs what the sessions have not run yet. */
static int catch_up(tutti_model *m, tutti_session *const *list, size_t n, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i]->n_run == list[i]->n && !list[i]->fresh && list[i]->n)
            list[i]->n_run--; /* after a rewind: the last one again */
    for (size_t i = 0; i < n && !rc;) {
        if (list[i]->n_run == list[i]->n)
            i++;
        else
            rc = run_step(m, list + i, n - i, e);
    }
    return rc;
}

static void rewind_to(tutti_session *s, int64_t n)
{
    s->n = n;
    if (s->n_run > n) {
        s->n_run = n;
        s->fresh = false;
    }
    s->n_run = kv_seq_truncate(&s->kv, s->n_run);
}

int tutti_session_feed(tutti_session *s, const int32_t *ids, size_t n, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    int64_t before = s->n;
    if (n > (uint64_t)(s->cap - s->n))
        return err(e, ERR_LIMIT, "%zu tokens after %" PRId64 " do not fit the session of %" PRId64, n, s->n,
                   s->cap);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= s->model->n_vocab)
            return err(e, ERR_USAGE, "token id %d is outside the vocabulary of %d", ids[i],
                       s->model->n_vocab);
    if (n) memcpy(s->tokens + s->n, ids, n * sizeof *ids);
    s->n += (int64_t)n;
    int rc = catch_up(s->model, (tutti_session *const[]){s}, 1, e);
    if (rc) rewind_to(s, before);
    return rc;
}

void tutti_sampling_default(struct tutti_sampling *o)
{
    struct sampler_params p;
    sampler_params_default(&p);
    *o = (struct tutti_sampling){
        sizeof *o,           p.temperature,      p.top_k,        p.top_p, p.min_p, p.repetition_penalty,
        p.frequency_penalty, p.presence_penalty, p.penalty_last, p.seed};
}

static int run_to_logits(tutti_session *s, struct err *e)
{
    if (s->n == 0) return err(e, ERR_USAGE, "the session holds no token yet");
    return s->fresh && s->n_run == s->n ? 0 : catch_up(s->model, (tutti_session *const[]){s}, 1, e);
}

int tutti_session_next(tutti_session *s, const struct tutti_sampling *o, int32_t *id,
                       struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    struct sampler_params p;
    sampler_params_default(&p);
    p.temperature = 0;
    if (o) {
        if (o->size != sizeof *o)
            return err(e, ERR_USAGE, "sampling: size is %u, expected %zu", o->size, sizeof *o);
        p = (struct sampler_params){.temperature = o->temperature,
                                    .top_k = o->top_k,
                                    .top_p = o->top_p,
                                    .min_p = o->min_p,
                                    .repetition_penalty = o->repetition_penalty,
                                    .frequency_penalty = o->frequency_penalty,
                                    .presence_penalty = o->presence_penalty,
                                    .penalty_last = o->penalty_last,
                                    .seed = o->seed};
    }
    int rc = sampler_params_check(&p, e);
    if (!rc && s->n == s->cap) rc = err(e, ERR_LIMIT, "the session is full (%" PRId64 " tokens)", s->cap);
    if (!rc) rc = run_to_logits(s, e);
    if (rc) return rc;
    int drawn = sampler_draw(s->model->sampler, &p, s->logits, s->tokens, (int)s->n, s->n, NULL);
    if (drawn < 0) return err(e, drawn, "no token can be drawn after %" PRId64 " tokens", s->n);
    s->tokens[s->n++] = *id = drawn;
    return 0;
}

int tutti_session_logits(tutti_session *s, float *logits, size_t cap, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    if (cap < (size_t)s->model->n_vocab)
        return err(e, ERR_USAGE, "room for %zu logits; there are %d", cap, s->model->n_vocab);
    int rc = run_to_logits(s, e);
    if (!rc) memcpy(logits, s->logits, (size_t)s->model->n_vocab * sizeof *logits);
    return rc;
}

int64_t tutti_session_length(const tutti_session *s)
{
    return s->n;
}

int tutti_session_rewind(tutti_session *s, int64_t n, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    if (n < 0 || n > s->n) return err(e, ERR_USAGE, "cannot keep %" PRId64 " of %" PRId64 " tokens", n, s->n);
    rewind_to(s, n);
    return 0;
}

int tutti_step(tutti_session *const *list, size_t n, struct tutti_error *error)
{
    struct err own, *e = clear(error, &own);
    for (size_t i = 0; i < n; i++) {
        if (list[i]->model != list[0]->model)
            return err(e, ERR_USAGE, "session %zu is of another model than the first", i);
        for (size_t j = 0; j < i; j++)
            if (list[i] == list[j]) return err(e, ERR_USAGE, "sessions %zu and %zu are the same", j, i);
    }
    return n ? catch_up(list[0]->model, list, n, e) : 0;
}
