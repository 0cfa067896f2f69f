/* SPDX-License-Identifier: Apache-2.0 */
/* See importance.h. */
#include "serve/engine/importance.h"

#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/pool.h"
#include "kern/act.h"
#include "serve/engine/engine.h"
#include "serve/engine/text.h"

enum { WINDOW = 512 };

struct column_sums {
    struct str tensor; /* in the arena */
    int k;
    double *sum;       /* [k] squares, then in mean their means */
    float *mean;
    int64_t n_rows;
};

struct importance {
    struct arena arena;
    struct column_sums *of; /* [n] by weight of the program */
    int n;
};

static void watch(void *ud, int weight, const struct act *x, int n_rows, int worker, int n_workers)
{
    struct importance *im = ud;
    if (!im->of) return; /* not ready: while the engine opens */
    struct column_sums *s = &im->of[weight];
    int begin, end, span = x->tier == ACT_A8_32 ? 32 : 256;
    pool_share(s->k, worker, n_workers, &begin, &end);
    for (int t = 0; t < n_rows; t++)
        for (int i = begin; i < end; i++) {
            double v = (double)act_code(x, t, i) * (double)x->d[act_at(x, x->groups, t, i / span)];
            s->sum[i] += v * v;
        }
    if (worker == 0) s->n_rows += n_rows;
}

static int make_sums(struct importance *im, const struct program *p, struct err *e)
{
    struct column_sums *of = ARENA_NEW(&im->arena, struct column_sums, (size_t)p->n_weights);
    for (int i = 0; of && i < p->n_weights; i++) {
        struct str name = p->weights[i].t->name;
        char *copy = arena_strdup(&im->arena, name);
        of[i].tensor = (struct str){copy, name.n};
        of[i].k = p->weights[i].k;
        of[i].sum = ARENA_NEW(&im->arena, double, (size_t)of[i].k);
        of[i].mean = ARENA_NEW(&im->arena, float, (size_t)of[i].k);
        if (!copy || !of[i].sum || !of[i].mean) of = NULL;
    }
    if (!of) return err(e, ERR_MEMORY, "out of memory for sums over columns");
    im->of = of;
    im->n = p->n_weights;
    return 0;
}

static void ignore(void *ud, int i, const float *logits, int status)
{
    (void)ud, (void)i, (void)logits, (void)status;
}

static int run(struct engine *en, const struct ids *ids, const struct importance_options *opt, struct err *e)
{
    struct kv_seq seq;
    int n = (int)ids->n, rc = kv_seq_init(&seq, en->kv, WINDOW, e);
    if (rc) return rc;
    if (opt->n_tokens && opt->n_tokens < n) n = opt->n_tokens;
    for (int at = 0; at < n && !rc; at += WINDOW) {
        kv_seq_truncate(&seq, 0);
        int m = n - at < WINDOW ? n - at : WINDOW;
        rc = engine_feed(en, &seq, ids->p + at, m, 0, 0, true, ignore, NULL, e);
        if (!rc && opt->cancel && *opt->cancel) rc = err(e, ERR_CANCELLED, "interrupted; nothing was written");
        if (opt->progress) opt->progress(opt->progress_ud, at + m, n);
    }
    kv_seq_finish(&seq);
    return rc;
}

int importance_gather(struct importance **out, const char *path, struct str text,
                      const struct importance_options *opt, struct err *e)
{
    struct importance *im = calloc(1, sizeof *im);
    struct engine *en = NULL;
    struct text t = {0};
    struct ids ids;
    if (!im) return err(e, ERR_MEMORY, "out of memory");
    arena_init(&im->arena);
    ids_init(&ids, TEXT_IDS_MAX);
    struct engine_options eo = {.n_threads = opt->n_threads, .n_ctx = 0, .observe = watch, .observe_ud = im};
    int rc = engine_open(&en, path, &eo, e);
    if (!rc) rc = make_sums(im, en->program, e);
    if (!rc) rc = text_open(&t, en->file, e);
    if (!rc) rc = tokenizer_encode(t.tok, t.scratch, text, TOK_ADD_SPECIAL, &ids, e);
    if (!rc && ids.n == 0) rc = err(e, ERR_USAGE, "the text for the importance of columns is empty");
    if (!rc) rc = run(en, &ids, opt, e);
    for (int i = 0; i < im->n && !rc; i++)
        for (int k = 0; k < im->of[i].k; k++)
            im->of[i].mean[k] = (float)(im->of[i].sum[k] / (double)(im->of[i].n_rows ? im->of[i].n_rows : 1));
    ids_finish(&ids);
    text_close(&t);
    engine_close(en);
    if (rc) {
        importance_free(im);
        return rc;
    }
    *out = im;
    return 0;
}

void importance_free(struct importance *im)
{
    if (!im) return;
    arena_finish(&im->arena);
    free(im);
}

const float *importance_of(const struct importance *im, struct str tensor, uint64_t n)
{
    for (int i = 0; i < im->n; i++)
        if (str_eq(im->of[i].tensor, tensor) && (uint64_t)im->of[i].k == n && im->of[i].n_rows) return im->of[i].mean;
    return NULL;
}
