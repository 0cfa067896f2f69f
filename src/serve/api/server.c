/* SPDX-License-Identifier: Apache-2.0 */
/* See server.h. */
#include "serve/api/server.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "file/cache.h"
#include "folder/folder.h"
#include "serve/api/api.h"
#include "serve/http/log.h"

int server_add_model(struct server *s, const char *spec, struct err *e)
{
    const char *eq = strchr(spec, '='), *where = eq && access(spec, F_OK) != 0 ? eq + 1 : spec;
    if (s->n_models == SERVER_MODELS_MAX) return err(e, ERR_LIMIT, "more than %d models", SERVER_MODELS_MAX);
    struct served_model *m = &s->model[s->n_models];
    int rc = model_path_resolve(where, &m->path, e);
    if (rc) return rc;
    size_t n = where == spec ? strlen(spec) : (size_t)(eq - spec);
    const char *name = where == spec && path_is_file(spec) ? path_base(spec) : spec;
    if (name != spec) n = strlen(name);
    if (name != spec && n > 5 && strcmp(name + n - 5, ".gguf") == 0) n -= 5;
    if (n == 0 || n >= sizeof m->name)
        return err(e, ERR_USAGE, "'%s': a model's name has 1..%d bytes", spec, SERVER_NAME_MAX - 1);
    memcpy(m->name, name, n);
    m->name[n] = 0;
    for (int i = 0; i < s->n_models; i++)
        if (strcmp(s->model[i].name, m->name) == 0)
            return err(e, ERR_USAGE, "two models are named '%s': give one another name by NAME=MODEL",
                       m->name);
    m->created = time(NULL);
    metrics_init(&m->metrics);
    pthread_mutex_init(&m->lock, NULL);
    s->n_models++;
    return 0;
}

struct served_model *server_find(struct server *s, const char *name)
{
    for (int i = 0; i < s->n_models; i++)
        if (name && strcmp(s->model[i].name, name) == 0) return &s->model[i];
    if (s->n_models && (s->o.any_model || (!name && s->n_models == 1))) return &s->model[0];
    return NULL;
}

struct tok_scratch *model_take_scratch(struct served_model *m)
{
    struct tok_scratch *x = NULL;
    pthread_mutex_lock(&m->lock);
    if (m->n_scratch) x = m->scratch[--m->n_scratch];
    pthread_mutex_unlock(&m->lock);
    if (!x) tok_scratch_create(&x, m->text.tok, NULL);
    return x;
}

void model_give_scratch(struct served_model *m, struct tok_scratch *x)
{
    pthread_mutex_lock(&m->lock);
    if (x && m->n_scratch < SERVER_SCRATCH_MAX) m->scratch[m->n_scratch++] = x, x = NULL;
    pthread_mutex_unlock(&m->lock);
    tok_scratch_destroy(x);
}

int server_files(struct server *s, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&s->files_lock);
    if (!s->batches && !(rc = store_open(&s->files, s->o.files, e)))
        rc = batches_open(&s->batches, &s->files, s->http, e);
    pthread_mutex_unlock(&s->files_lock);
    return rc;
}

/* Batches of an earlier server go on, if there are any. */
static void recall_batches(struct server *s)
{
    struct path p;
    struct err e = {0};
    int rc = s->o.files ? path_format(&p, &e, "%s", s->o.files) : store_default_path(&p, &e);
    if (!rc && access(p.z, F_OK) == 0 && !(rc = server_files(s, &e))) batches_recall(s->batches);
    if (rc) log_event("fault", ",\"text\":\"no files and batches: %s\"", err_text(rc));
}

/* --- loading ----------------------------------------------------------------------------------------------- */

/* The smaller model that guesses, with its own pages. */
static int open_draft(struct server *s, struct err *e)
{
    struct engine_options o = s->o.engine;
    struct path p;
    if (!s->o.draft) return 0;
    if (s->n_models > 1) return err(e, ERR_USAGE, "--spec draft=... serves one model, not %d", s->n_models);
    o.n_seqs = SCHED_DRAFTS;
    int rc = model_path_resolve(s->o.draft, &p, e);
    if (!rc) rc = engine_open(&s->draft, p.z, &o, e);
    if (rc) return err_prefix(e, "--spec draft");
    gguf_drop_all(s->draft->file);
    s->o.sched.draft = s->draft;
    return 0;
}

/* A model whose experts may stay on disk: as much memory for them as asked, or as leaves a quarter of what is
 * left to keys and values. */
static void share_experts(struct server *s, uint64_t all, uint64_t experts, uint64_t *taken)
{
    uint64_t rest = *taken - experts, room = s->o.engine.experts_bytes;
    if (!room) room = all > rest ? (all - rest) / 4 * 3 : 0;
    if (!room || room >= experts) return;
    s->o.engine.experts_bytes = (size_t)room;
    *taken = rest + room;
}

/* What weights and the buffers of steps leave of the budget is for keys and values, the same for each model. */
static int share_memory(struct server *s, struct err *e)
{
    uint64_t taken = 0, all = s->o.memory_bytes;
    struct engine_weight w;
    if (s->draft) {
        struct path p;
        int rc = model_path_resolve(s->o.draft, &p, e);
        if (rc || (rc = engine_weigh(p.z, &s->o.engine, &w, e))) return err_prefix(e, "--spec draft");
        taken = w.weights + w.work + (uint64_t)s->draft->kv->max_pages * kv_page_bytes(&s->draft->kv->shape);
    }
    for (int i = 0; i < s->n_models; i++) {
        int rc = engine_weigh(s->model[i].path.z, &s->o.engine, &w, e);
        if (rc) return err_prefix(e, "model '%s'", s->model[i].name);
        taken += w.weights + w.work;
    }
    if (!all) {
        uint64_t free_bytes = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
        all = taken + free_bytes / 2;
    }
    if (s->n_models == 1 && w.experts && (all <= taken || s->o.engine.experts_bytes))
        share_experts(s, all, w.experts, &taken);
    if (all <= taken)
        return err(e, ERR_LIMIT, "--memory %.1f MiB: weights and the buffers of a step alone take %.1f MiB",
                   (double)all / 1048576, (double)taken / 1048576);
    s->o.engine.kv_bytes = (size_t)((all - taken) / (uint64_t)s->n_models);
    return 0;
}

static void make_fingerprint(struct served_model *m)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char h[crypto_hash_sha256_BYTES];
    char contract[65];
    crypto_hash_sha256_state st;
    const struct gguf *g = m->engine->file;
    engine_contract_id(contract);
    crypto_hash_sha256_init(&st);
    crypto_hash_sha256_update(&st, (const unsigned char *)contract, sizeof contract);
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *k = gguf_key_at(g, i);
        crypto_hash_sha256_update(&st, (const unsigned char *)k->name.p, k->name.n);
        crypto_hash_sha256_update(&st, k->p, k->bytes);
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        uint64_t size = t->size_bytes;
        crypto_hash_sha256_update(&st, (const unsigned char *)t->name.p, t->name.n);
        crypto_hash_sha256_update(&st, (const unsigned char *)&t->type, sizeof t->type);
        crypto_hash_sha256_update(&st, (const unsigned char *)&size, sizeof size);
    }
    crypto_hash_sha256_final(&st, h);
    memcpy(m->fingerprint, "fp_", 3);
    for (int i = 0; i < 10; i++) m->fingerprint[3 + i] = hex[h[i / 2] >> (i % 2 ? 0 : 4) & 15];
    m->fingerprint[13] = 0;
}

static int load_model(struct server *s, struct served_model *m, struct err *e)
{
    int rc;
    if ((rc = engine_open(&m->engine, m->path.z, &s->o.engine, e)) ||
        (rc = text_open(&m->text, m->engine->file, e)))
        return err_prefix(e, "model '%s'", m->name);
    if ((rc = forms_create(&m->forms, m->text.tok, m->engine->model->h.n_vocab, e)))
        return err_prefix(e, "model '%s'", m->name);
    marks_read(&m->marks, m->text.chat_source, m->text.tok);
    make_fingerprint(m);
    gguf_drop_all(m->engine->file); /* the vocabulary was copied */
    if ((rc = sched_start(&m->sched, m->engine, &m->text, &s->o.sched, e))) return err_prefix(e, "model '%s'", m->name);
    atomic_store(&m->ready, true);
    return 0;
}

static void *load_models(void *arg)
{
    struct server *s = arg;
    int rc = open_draft(s, &s->load_err);
    if (!rc) rc = share_memory(s, &s->load_err);
    for (int i = 0; i < s->n_models && !rc && !atomic_load(&s->draining); i++) {
        struct served_model *m = &s->model[i];
        double begin = server_now();
        if ((rc = load_model(s, m, &s->load_err))) break;
        log_event("loaded",
                  ",\"model\":\"%s\",\"seconds\":%.3f,\"context\":%d,\"fingerprint\":\"%s\",\"template\":%s",
                  m->name, server_now() - begin, m->engine->n_ctx, m->fingerprint,
                  m->text.chat ? "true" : "false");
    }
    if (!rc && !atomic_load(&s->draining)) recall_batches(s);
    if (!rc && s->o.signing && !atomic_load(&s->draining)) server_begin_roots(s);
    atomic_store(rc ? &s->failed : &s->loaded, true);
    return NULL;
}

/* --- life -------------------------------------------------------------------------------------------------- */

int server_start(struct server *s, const struct server_options *o, struct err *e)
{
    if (sodium_init() < 0) return err(e, ERR_INTERNAL, "libsodium does not start");
    s->o = *o;
    s->started = time(NULL);
    pthread_mutex_init(&s->root_lock, NULL);
    pthread_mutex_init(&s->files_lock, NULL);
    if (!s->o.gate) s->o.gate = &gate_open;
    api_fill(&s->o.http);
    s->o.http.ud = s;
    int rc = http_start(&s->http, &s->o.http, e);
    if (rc) return rc;
    if (pthread_create(&s->loader, NULL, load_models, s)) return err(e, ERR_MEMORY, "cannot start a thread");
    s->loading = true;
    return 0;
}

void server_quiesce(struct server *s)
{
    batches_stop(s->batches); /* first: what is refused from now on is asked again at the next start */
    atomic_store(&s->draining, true);
    http_quiesce(s->http);
}

int server_busy(struct server *s)
{
    return http_active(s->http);
}

void server_stop(struct server *s)
{
    atomic_store(&s->draining, true);
    if (s->loading) pthread_join(s->loader, NULL);
    s->loading = false;
    server_end_roots(s);
    for (int i = 0; i < s->n_models; i++) sched_stop(s->model[i].sched, 0);
    batches_close(s->batches);
    http_stop(s->http); /* handlers, and watches of clients that go away, call schedulers until here */
    free(s->wait);
    s->wait = NULL;
    for (int i = 0; i < s->n_models; i++) {
        struct served_model *m = &s->model[i];
        sched_destroy(m->sched);
        for (int k = 0; k < m->n_scratch; k++) tok_scratch_destroy(m->scratch[k]);
        forms_destroy(m->forms);
        text_close(&m->text);
        engine_close(m->engine);
        metrics_finish(&m->metrics);
        pthread_mutex_destroy(&m->lock);
    }
    engine_close(s->draft);
    s->n_models = 0;
}
