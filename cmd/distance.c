/* SPDX-License-Identifier: Apache-2.0 */
/* See distance.h. A measuring tool, not the token path: log and exp are libm's, in double. */
#include "distance.h"

#include <math.h>
#include <stdlib.h>
#include "serve/engine/engine.h"
#include "serve/engine/text.h"

enum { WINDOW = 512, FIRST = WINDOW / 2, ROWS = WINDOW - 1 - FIRST };

struct rows {
    int n_vocab;
    const int32_t *ids; /* of the window */
    float *logp;        /* [ROWS][n_vocab] of the reference */
    double nll_of, nll_to, sum, squares;
    int64_t n;
    int bad;
};

/* log of the sum of exp */
static double log_sum(const float *z, int n)
{
    double max = -HUGE_VAL, sum = 0;
    for (int i = 0; i < n; i++) max = (double)z[i] > max ? (double)z[i] : max;
    for (int i = 0; i < n; i++) sum += exp((double)z[i] - max);
    return max + log(sum);
}

static void keep_row(void *ud, int i, const float *z, int status)
{
    struct rows *r = ud;
    if (i < FIRST || i >= FIRST + ROWS) return;
    if (status) {
        r->bad++;
        return;
    }
    double lse = log_sum(z, r->n_vocab);
    float *logp = r->logp + (size_t)(i - FIRST) * (size_t)r->n_vocab;
    for (int j = 0; j < r->n_vocab; j++) logp[j] = (float)((double)z[j] - lse);
    r->nll_to -= (double)logp[r->ids[i + 1]];
}

static void compare_row(void *ud, int i, const float *z, int status)
{
    struct rows *r = ud;
    if (i < FIRST || i >= FIRST + ROWS) return;
    if (status || r->bad) {
        r->bad++;
        return;
    }
    double lse = log_sum(z, r->n_vocab), d = 0;
    const float *logp = r->logp + (size_t)(i - FIRST) * (size_t)r->n_vocab;
    for (int j = 0; j < r->n_vocab; j++) d += exp((double)logp[j]) * ((double)logp[j] - ((double)z[j] - lse));
    r->nll_of -= (double)z[r->ids[i + 1]] - lse;
    r->sum += d, r->squares += d * d, r->n++;
}

static int run(struct rows *r, struct engine *en[2], const struct ids *ids, int windows,
               const volatile sig_atomic_t *cancel, struct err *e)
{
    struct kv_seq seq[2];
    int rc = kv_seq_init(&seq[0], en[0]->kv, WINDOW, e);
    if (rc) return rc;
    if ((rc = kv_seq_init(&seq[1], en[1]->kv, WINDOW, e))) {
        kv_seq_finish(&seq[0]);
        return rc;
    }
    for (int w = 0; w < windows && !rc; w++) {
        r->ids = ids->p + (size_t)w * WINDOW;
        for (int k = 0; k < 2 && !rc; k++) {
            kv_seq_truncate(&seq[k], 0);
            rc = engine_feed(en[k], &seq[k], r->ids, WINDOW, 0, 0, true, k ? compare_row : keep_row, r, e);
        }
        if (!rc && cancel && *cancel) rc = err(e, ERR_CANCELLED, "interrupted");
    }
    if (!rc && r->bad) rc = err(e, ERR_RANGE, "%d positions left the range of the arithmetic", r->bad);
    kv_seq_finish(&seq[0]);
    kv_seq_finish(&seq[1]);
    return rc;
}

int distance_measure(struct distance *d, const char *of, const char *to, struct str text, int n_windows, int n_threads,
                     const volatile sig_atomic_t *cancel, struct err *e)
{
    struct engine *en[2] = {NULL, NULL};
    struct engine_options eo = {.n_threads = n_threads};
    struct text t = {0};
    struct ids ids;
    struct rows r = {0};
    ids_init(&ids, TEXT_IDS_MAX);
    int rc = engine_open(&en[0], to, &eo, e);
    if (!rc) rc = engine_open(&en[1], of, &eo, e);
    if (!rc) rc = text_open(&t, en[0]->file, e);
    if (!rc) rc = tokenizer_encode(t.tok, t.scratch, text, TOK_ADD_SPECIAL, &ids, e);
    int windows = (int)(ids.n / WINDOW) < n_windows ? (int)(ids.n / WINDOW) : n_windows;
    if (!rc && windows == 0)
        rc = err(e, ERR_USAGE, "the text has %zu tokens, less than one window of %d", ids.n, WINDOW);
    if (!rc && en[0]->model->h.n_vocab != en[1]->model->h.n_vocab)
        rc = err(e, ERR_MISMATCH, "the models have different vocabularies");
    if (!rc) {
        r.n_vocab = en[0]->model->h.n_vocab;
        r.logp = calloc((size_t)ROWS * (size_t)r.n_vocab, sizeof *r.logp);
        rc = r.logp ? run(&r, en, &ids, windows, cancel, e)
                    : err(e, ERR_MEMORY, "out of memory for %d distributions", ROWS);
    }
    if (!rc) {
        double n = (double)r.n, mean = r.sum / n, var = (r.squares / n - mean * mean) * n / (n - 1);
        *d = (struct distance){mean, 1.96 * sqrt(var > 0 ? var / n : 0), exp(r.nll_of / n), exp(r.nll_to / n), r.n};
    }
    free(r.logp);
    ids_finish(&ids);
    text_close(&t);
    engine_close(en[0]);
    engine_close(en[1]);
    return rc;
}
