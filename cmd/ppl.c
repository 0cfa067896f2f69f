/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti ppl: perplexity over windows of a text, and the distance of the next-token distributions from a reference.
 *
 * Windows do not overlap; the tokens of the second half are scored (those before are context), as other engines'
 * perplexity tools do: window w, positions n/2 .. n-2 predict the tokens n/2+1 .. n-1. This is a measuring tool, not
 * the token path: log and exp are libm's, in double.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd.h"
#include "common.h"
#include "npy.h"

struct score {
    int n_vocab, window, n_scored;  /* scored positions of a window */
    const int32_t *ids;             /* of the window */
    int64_t row, n_rows;            /* scored so far, in all */
    const struct npy *ref;          /* reference log-probabilities, or NULL */
    FILE *save;
    double *nll, *kld;              /* [n_rows] */
    double *logp;                   /* [n_vocab] */
    int64_t same_top;
    int bad;
};

static void score_row(void *ud, int i, const float *z, int status)
{
    struct score *s = ud;
    if (i < s->window / 2 || i > s->window - 2) return;
    int64_t row = s->row++;
    if (status) s->bad++;
    double max = -HUGE_VAL, sum = 0;
    int top = 0, ref_top = 0;
    for (int j = 0; j < s->n_vocab; j++)
        if ((double)z[j] > max) max = (double)z[j], top = j;
    for (int j = 0; j < s->n_vocab; j++) sum += exp((double)z[j] - max);
    double lse = max + log(sum);
    for (int j = 0; j < s->n_vocab; j++) s->logp[j] = (double)z[j] - lse;
    s->nll[row] = -s->logp[s->ids[i + 1]];
    if (s->save)
        for (int j = 0; j < s->n_vocab; j++) {
            float f = (float)s->logp[j];
            fwrite(&f, sizeof f, 1, s->save);
        }
    if (!s->ref) return;
    const float *r = s->ref->data + row * s->n_vocab;
    double d = 0;
    for (int j = 0; j < s->n_vocab; j++) {
        if (r[j] > r[ref_top]) ref_top = j;
        d += exp((double)r[j]) * ((double)r[j] - s->logp[j]);
    }
    s->kld[row] = d;
    s->same_top += top == ref_top;
}

/* mean, and the half width of its 95 % interval by token */
static double mean95(const double *x, int64_t n, double *half)
{
    double m = 0, v = 0;
    for (int64_t i = 0; i < n; i++) m += x[i];
    m /= (double)n;
    for (int64_t i = 0; i < n; i++) v += (x[i] - m) * (x[i] - m);
    *half = n > 1 ? 1.96 * sqrt(v / (double)(n - 1) / (double)n) : 0;
    return m;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int run(struct opened *o, struct score *s, const struct ids *ids, int windows, const char *name, struct err *e)
{
    struct kv_seq seq;
    int rc = kv_seq_init(&seq, o->engine->kv, s->window, e);
    if (rc) return rc;
    double begin = common_now();
    bool tty = isatty(2);
    for (int w = 0; w < windows && !rc; w++) {
        kv_seq_truncate(&seq, 0);
        s->ids = ids->p + (size_t)w * (size_t)s->window;
        rc = engine_feed(o->engine, &seq, s->ids, s->window, 0, 0, true, score_row, s, e);
        double half, m = mean95(s->nll, s->row, &half), t = common_now() - begin;
        if (tty)
            fprintf(stderr, "\r%s: window %d of %d, perplexity %.4f, %.0f s left ", name, w + 1, windows,
                    exp(m), t / (w + 1) * (windows - w - 1));
    }
    if (tty) fprintf(stderr, "\n");
    kv_seq_finish(&seq);
    return rc;
}

static void report(const struct score *s, int windows, bool json)
{
    double half, nll = mean95(s->nll, s->row, &half), p = exp(nll), kh = 0,
                 kl = s->ref ? mean95(s->kld, s->row, &kh) : 0;
    double med = 0, p99 = 0, max = 0;
    if (s->ref) {
        qsort(s->kld, (size_t)s->row, sizeof *s->kld, by_value);
        med = s->kld[s->row / 2], p99 = s->kld[s->row * 99 / 100], max = s->kld[s->row - 1];
    }
    if (json) {
        printf(
            "{\"perplexity\": %.6f, \"perplexity_95\": %.6f, \"nll\": %.8f, \"windows\": %d, \"window\": %d, \"scored\": %" PRId64,
            p, p * half, nll, windows, s->window, s->row);
        if (s->ref)
            printf(
                ", \"kld\": %.9g, \"kld_95\": %.3g, \"kld_median\": %.6g, \"kld_p99\": %.6g, \"kld_max\": %.6g, \"same_top\": %.6f",
                kl, kh, med, p99, max, (double)s->same_top / (double)s->row);
        printf("}\n");
        return;
    }
    printf("perplexity %.4f +- %.4f  (%d windows of %d, %" PRId64 " tokens scored)\n", p, p * half, windows,
           s->window, s->row);
    if (s->ref)
        printf("kld        %.6g +- %.2g  median %.4g  p99 %.4g  max %.4g  same top %.2f %%\n", kl, kh, med, p99, max,
               100.0 * (double)s->same_top / (double)s->row);
}

int cmd_ppl(int argc, char **argv)
{
    static const struct args_doc doc = {
        "ppl", "MODEL FILE", "perplexity over a text, and distance from a reference distribution",
        "Cuts the text into windows that do not overlap and scores the second half of each. A reference is a float32 .npy array of log-probabilities, "
        "one row of the vocabulary per scored position, as --save writes it."};
    struct common c = {0};
    const char *kld = NULL, *save = NULL, *per_token = NULL;
    int window = 512, max_windows = 0, status;
    bool json = false;
    const struct arg table[] = {
        {"window", 'w', ARG_INT, &window, "N", "tokens per window (default 512)", 4, 1 << 20},
        {"windows", 'n', ARG_INT, &max_windows, "N", "only the first N windows", 1, 1 << 24},
        {"kld", 0, ARG_STR, &kld, "FILE", "compare with reference log-probabilities (.npy)", 0, 0},
        {"save", 0, ARG_STR, &save, "FILE",
         "write the log-probabilities of the scored positions (.npy, large)", 0, 0},
        {"per-token", 0, ARG_STR, &per_token, "FILE",
         "write one line per scored position: nll, and kld if compared", 0, 0},
        {"json", 0, ARG_FLAG, &json, NULL, "print a JSON object", 0, 0},
        COMMON_ARGS(c),
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at != 2) return args_fault(&doc, "takes MODEL and FILE; see tutti ppl --help");
    struct opened o;
    struct err e = {0};
    struct ids ids;
    struct npy ref = {0};
    char *buf = NULL;
    size_t n_buf = 0;
    FILE *lines = NULL;
    ids_init(&ids, TEXT_IDS_MAX);
    if (!c.ctx) c.ctx = window;
    if ((status = common_open(&doc, &o, argv[at], &c, 1, 1))) return status;
    struct score s = {.n_vocab = o.engine->model->h.n_vocab, .window = window, .n_scored = window - 1 - window / 2};
    int rc = common_read_file(argv[at + 1], &buf, &n_buf, &e);
    if (!rc) rc = tokenizer_encode(o.text.tok, o.text.scratch, (struct str){buf, n_buf}, TOK_ADD_SPECIAL, &ids, &e);
    int windows = (int)(ids.n / (size_t)window);
    if (max_windows && windows > max_windows) windows = max_windows;
    if (!rc && windows == 0)
        rc = err(&e, ERR_USAGE, "the text has %zu tokens, less than one window of %d", ids.n, window);
    s.n_rows = (int64_t)windows * s.n_scored;
    if (!rc && kld) rc = npy_open(&ref, kld, &e);
    if (!rc && kld && (ref.n_cols != s.n_vocab || ref.n_rows < s.n_rows))
        rc =
            err(&e, ERR_MISMATCH, "%s: expected at least %" PRId64 " rows of %d, got %" PRId64 " of %" PRId64,
                kld, s.n_rows, s.n_vocab, ref.n_rows, ref.n_cols);
    if (!rc && kld && ref.n_rows % s.n_scored)
        rc = err(&e, ERR_MISMATCH,
                 "%s: %" PRId64
                 " rows are no whole windows of %d tokens, %d rows each: give the --window it was made with",
                 kld, ref.n_rows, window, s.n_scored);
    if (kld) s.ref = &ref;
    if (!rc && save && (!(s.save = fopen(save, "wb")) || npy_write_header(s.save, s.n_rows, s.n_vocab)))
        rc = err(&e, ERR_IO, "cannot write '%s'", save);
    if (!rc && per_token && !(lines = fopen(per_token, "w"))) rc = err(&e, ERR_IO, "cannot write '%s'", per_token);
    if (!rc) {
        s.nll = calloc((size_t)s.n_rows, sizeof *s.nll);
        s.kld = calloc((size_t)s.n_rows, sizeof *s.kld);
        s.logp = calloc((size_t)s.n_vocab, sizeof *s.logp);
        if (!s.nll || !s.kld || !s.logp) rc = err(&e, ERR_MEMORY, "out of memory");
    }
    if (!rc) rc = run(&o, &s, &ids, windows, argv[at + 1], &e);
    if (!rc && s.bad) rc = err(&e, ERR_RANGE, "%d positions left the range of the arithmetic", s.bad);
    for (int64_t i = 0; !rc && lines && i < s.row; i++)
        fprintf(lines, kld ? "%.9g %.9g\n" : "%.9g\n", s.nll[i], s.kld[i]);
    if (lines && fclose(lines) && !rc) rc = err(&e, ERR_IO, "cannot write '%s': the disk may be full", per_token);
    if (s.save && (ferror(s.save) | fclose(s.save)) && !rc)
        rc = err(&e, ERR_IO, "cannot write '%s': the disk may be full", save);
    if (rc)
        status = common_fail(&doc, &e);
    else
        report(&s, windows, json);
    free(s.nll), free(s.kld), free(s.logp), free(buf);
    npy_close(&ref);
    ids_finish(&ids);
    common_close(&o);
    return status;
}
