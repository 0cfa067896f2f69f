/* SPDX-License-Identifier: Apache-2.0 */
/* See engine.h. */
#include "serve/engine/engine.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/pool.h"
#include "folder/folder.h"
#include "kern/contract.h"
#include "kern/num.h"

/* What lies behind the windows of layers is forgotten. */
static int forget(struct engine *en, struct err *e)
{
    const struct program *p = en->program;
    int *window = calloc((size_t)en->kv->shape.n_layer + 1, sizeof *window);
    if (!window) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].kind == STEP_ATTEND) window[p->steps[i].layer] = p->steps[i].attn.window;
    int rc = kv_pool_forget(en->kv, window, e);
    free(window);
    return rc;
}

static int open_pages(struct engine *en, const struct kv_shape *shape, const struct engine_options *opt, struct err *e)
{
    if (!opt->kv_bytes) {
        int own = kv_pool_create(&en->kv, shape, en->n_ctx, opt->n_seqs ? opt->n_seqs : 1, e);
        return own ? own : forget(en, e);
    }
    size_t page = kv_page_bytes(shape), pages = opt->kv_bytes / page;
    int64_t room = (int64_t)(pages < INT32_MAX / ATTN_CHUNK ? pages : INT32_MAX / ATTN_CHUNK) * ATTN_CHUNK;
    if (room < (opt->n_ctx ? opt->n_ctx : 1))
        return err(
            e, ERR_LIMIT,
            "%zu MiB of memory for keys and values hold %" PRId64
            " tokens of this model, but the context is to have %d: give more memory or a smaller context",
            opt->kv_bytes >> 20, room, en->n_ctx);
    if (en->n_ctx > room) en->n_ctx = (int)room;
    int rc = kv_pool_create(&en->kv, shape, room, 0, e);
    if (!rc) en->kv->keep = true;
    return rc;
}

static int compile(struct engine *en, const struct engine_options *opt, struct err *e)
{
    struct program_options po = {.max_rows = opt->n_batch ? opt->n_batch : ENGINE_BATCH,
                                 .max_out = opt->n_out ? opt->n_out : ENGINE_OUT};
    if (po.max_out > po.max_rows) po.max_out = po.max_rows;
    return program_compile(&en->program, en->model, &po, e);
}

static uint64_t work_bytes(const struct engine *en, const struct engine_options *opt)
{
    return chip_cpu.work_bytes(en->program, opt->n_threads ? opt->n_threads : pool_cpus());
}

/* Memory for experts: as asked, or where all weights do not fit what the machine has left, what the rest
 * leaves of that. */
static int share_experts(const struct engine *en, const struct engine_options *opt, size_t *bytes, struct err *e)
{
    uint64_t all, experts, free_bytes = memory_available();
    *bytes = opt->experts_bytes;
    int rc = program_weights(en->program, &all, &experts, e);
    if (rc || *bytes || !experts || free_bytes == UINT64_MAX) return rc;
    int64_t tokens = en->n_ctx < ENGINE_LIKELY ? en->n_ctx : ENGINE_LIKELY;
    uint64_t cache = opt->kv_bytes ? opt->kv_bytes : (uint64_t)(tokens / ATTN_CHUNK + 1) * en->kv->page_bytes;
    uint64_t rest = all - experts + work_bytes(en, opt) + cache;
    uint64_t room = free_bytes / 10 * 9;
    if (rest + experts > room) *bytes = room > rest ? (size_t)(room - rest) : 1;
    return 0;
}

static int open_parts(struct engine *en, const char *path, const struct engine_options *opt, struct err *e)
{
    int rc;
    en->kern = kern_select(opt->isa, e);
    if (!en->kern) return e ? e->code : ERR_USAGE;
    if ((rc = model_file_open(&en->file, path, e)) || (rc = model_open(&en->model, en->file, e))) return rc;
    const struct hparams *h = &en->model->h;
    en->n_ctx = opt->n_ctx ? opt->n_ctx : h->n_ctx_train;
    if (en->n_ctx < 1 || en->n_ctx > h->n_ctx_train)
        return err(e, ERR_USAGE, "a context of %d tokens: this model takes 1..%d", en->n_ctx, h->n_ctx_train);
    model_use_context(en->model, en->n_ctx, opt->rotation);
    en->unit = calloc((size_t)h->n_embd, sizeof *en->unit);
    if (!en->unit) return err(e, ERR_MEMORY, "out of memory");
    if ((rc = pooling_read(en->file, h->arch, &en->pooling, e))) return rc;
    for (int i = 0; i < h->n_embd; i++) en->unit[i] = 1.0f / sqrt32((float)h->n_embd);
    if ((rc = compile(en, opt, e))) return rc;
    struct kv_shape shape = {opt->kv, h->n_layer, h->n_head_kv, h->head_dim, h->kv_extra};
    if ((rc = open_pages(en, &shape, opt, e))) return rc;
    size_t experts;
    if ((rc = share_experts(en, opt, &experts, e))) return rc;
    struct chip_options co = {.experts_bytes = experts,
                              .n_threads = opt->n_threads,
                              .isa = opt->isa,
                              .kv = opt->kv,
                              .progress = opt->progress,
                              .progress_ud = opt->progress_ud,
                              .observe = opt->observe,
                              .observe_ud = opt->observe_ud};
    return chip_load(&en->chip, opt->chip, en->program, &co, e);
}

int engine_open(struct engine **out, const char *path, const struct engine_options *opt, struct err *e)
{
    struct engine *en = calloc(1, sizeof *en);
    if (!en) return err(e, ERR_MEMORY, "out of memory");
    int rc = open_parts(en, path, opt, e);
    if (rc) {
        engine_close(en);
        return rc;
    }
    *out = en;
    return 0;
}

int engine_weigh(const char *path, const struct engine_options *opt, struct engine_weight *w, struct err *e)
{
    struct engine en = {0};
    *w = (struct engine_weight){0};
    int rc = model_file_open(&en.file, path, e);
    if (!rc) rc = model_open(&en.model, en.file, e);
    if (!rc) rc = compile(&en, opt, e);
    if (!rc) rc = program_weights(en.program, &w->weights, &w->experts, e);
    if (!rc) w->work = work_bytes(&en, opt);
    program_close(en.program);
    model_close(en.model);
    gguf_close(en.file);
    return rc;
}

void engine_close(struct engine *en)
{
    if (!en) return;
    chip_unload(en->chip);
    kv_pool_destroy(en->kv);
    program_close(en->program);
    model_close(en->model);
    gguf_close(en->file);
    free(en->unit);
    free(en);
}

struct feed_sink {
    logits_fn *sink;
    void *ud;
    int base;
};

static void forward(void *ud, int i, const float *logits, int status)
{
    struct feed_sink *f = ud;
    f->sink(f->ud, f->base + i, logits, status);
}

int engine_feed(struct engine *en, struct kv_seq *seq, const int32_t *tokens, int n, int pos, int chunk, bool all,
                logits_fn *sink, void *ud, struct err *e)
{
    int out[PROGRAM_ROWS_MAX], max = en->program->max_rows;
    if (chunk < 1 || chunk > max) chunk = max;
    int rc = kv_seq_reserve(seq, (int64_t)pos + n, e);
    for (int i = 0; i < n && rc == 0; i += chunk) {
        int m = n - i < chunk ? n - i : chunk;
        struct batch_part part = {seq, tokens + i, m, pos + i};
        struct batch b = {.parts = &part, .n_parts = 1, .out = out};
        struct feed_sink f = {sink, ud, all ? i : 0};
        if (all)
            for (; b.n_out < m; b.n_out++) out[b.n_out] = b.n_out;
        else if (sink && i + m == n)
            out[b.n_out++] = m - 1;
        rc = chip_step(en->chip, &b, forward, &f, e);
    }
    return rc;
}

int engine_unit(const struct engine *en, const float *row, float *out)
{
    return en->kern->elem->norm(out, row, en->unit, en->model->h.n_embd, 0.0f);
}

struct embed {
    struct engine *en;
    struct mean mean;
    float *out;
    int rc;
};

static void take_hidden(void *ud, int i, const float *row, int status)
{
    struct embed *m = ud;
    (void)i;
    if (status) m->rc = status;
    else if (m->mean.sum) mean_add(&m->mean, row);
    else m->rc = engine_unit(m->en, row, m->out);
}

static int feed_embed(struct embed *m, struct kv_seq *seq, const int32_t *tokens, int n, struct err *e)
{
    int max = m->en->program->max_rows, hidden[PROGRAM_ROWS_MAX], rc = kv_seq_reserve(seq, n, e);
    for (int at = 0; at < n && !rc; at += max) {
        struct batch_part part = {seq, tokens + at, n - at < max ? n - at : max, at};
        struct batch b = {.parts = &part, .n_parts = 1, .hidden = hidden};
        int first = pooling_rows(m->en->pooling, at, part.n, n, &b.n_hidden);
        for (int i = 0; i < b.n_hidden; i++) hidden[i] = first + i;
        rc = chip_step(m->en->chip, &b, take_hidden, m, e);
    }
    return rc;
}

int engine_embed(struct engine *en, struct kv_seq *seq, const int32_t *tokens, int n, float *out, struct err *e)
{
    struct embed m = {.en = en, .out = out};
    if (n < 1) return err(e, ERR_USAGE, "an empty text has no embedding");
    int rc = en->pooling == POOLING_MEAN ? mean_init(&m.mean, en->model->h.n_embd, e) : 0;
    if (!rc) rc = feed_embed(&m, seq, tokens, n, e);
    if (!rc && !m.rc && m.mean.sum && !(m.rc = mean_write(&m.mean, out))) m.rc = engine_unit(en, out, out);
    mean_finish(&m.mean);
    return !rc && m.rc ? err(e, m.rc, "the embedding: %s", err_text(m.rc)) : rc;
}

static void add_state(void *ud, const void *p, size_t n)
{
    crypto_generichash_update(ud, p, n);
}

int engine_state(const struct engine *en, int i_out, uint8_t state[ENGINE_STATE_BYTES])
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, ENGINE_STATE_BYTES);
    if (!chip_state(en->chip, i_out, add_state, &h)) return ERR_UNSUPPORTED;
    crypto_generichash_final(&h, state, ENGINE_STATE_BYTES);
    return 0;
}

void engine_contract_id(char out[65])
{
    unsigned char h[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(h, (const unsigned char *)contract_text, strlen(contract_text));
    sodium_bin2hex(out, 65, h, sizeof h);
}
