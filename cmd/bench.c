/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti bench: tokens per second, in the terms people know from llama-bench: pp N = a prompt of N tokens, tg N = N
 * tokens one after the other, at depth D = after D tokens of context; -s S = S sequences together in each step.
 * Token ids are pseudo-random; no sampling. Medians of -r runs, one warm-up before each row.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/pool.h"
#include "cmd.h"
#include "common.h"
#include "limits.h"

enum { REPS_MAX = 1000 };

struct row {
    int n_prompt, n_gen, n_depth, n_seqs, threads;
    double ns[REPS_MAX];
    int reps;
};

static void ignore(void *ud, int i, const float *logits, int status)
{
    (void)i, (void)logits;
    *(int *)ud |= status;
}

struct bench {
    struct engine *en;
    struct kv_seq *seqs;
    struct batch_part *parts;
    int32_t *ids; /* [longest] */
    int *out;
    int bad;
    struct limits *limits; /* or NULL */
    double probed_s;       /* that limits_probe took */
};

/* Every sequence goes from pos to pos + n: a prompt in steps of the batch size, or one token a step. */
static int advance(struct bench *b, int n_seqs, int pos, int n, bool one_by_one, struct err *e)
{
    int rc = 0, room = b->en->program->max_rows / n_seqs, step = one_by_one ? 1 : room;
    for (int at = pos; at < pos + n && !rc; at += step) {
        int m = pos + n - at < step ? pos + n - at : step;
        for (int i = 0; i < n_seqs && !rc; i++) {
            rc = kv_seq_reserve(&b->seqs[i], at + m, e);
            b->parts[i] = (struct batch_part){&b->seqs[i], b->ids + at, m, at};
            b->out[i] = (i + 1) * m - 1;
        }
        bool last = one_by_one || at + m == pos + n;
        struct batch batch = {.parts = b->parts, .n_parts = n_seqs, .out = b->out, .n_out = last ? n_seqs : 0};
        if (b->limits && one_by_one) b->probed_s += limits_probe(b->limits);
        if (b->limits) limits_count(b->limits, n_seqs, m, at, batch.n_out);
        if (!rc) rc = chip_step(b->en->chip, &batch, ignore, &b->bad, e);
    }
    return rc;
}

/* The fastest repetition shows where the time goes: others were disturbed. */
static void keep_fastest(struct limits *best, struct limits *now, const struct row *r, int i)
{
    limits_end(now);
    for (int j = 0; j < i; j++)
        if (r->ns[j] <= r->ns[i]) return;
    *best = *now;
}

static int measure(struct bench *b, struct row *r, struct limits *limits, struct err *e)
{
    int rc = 0;
    bool gen = r->n_gen > 0;
    for (int i = -1; i < r->reps && !rc; i++) {
        for (int s = 0; s < r->n_seqs; s++) kv_seq_truncate(&b->seqs[s], 0);
        if (r->n_depth) rc = advance(b, r->n_seqs, 0, r->n_depth, false, e);
        int n = gen ? r->n_gen : r->n_prompt;
        if (i < 0 && gen && n > 16) n = 16; /* warm-up */
        struct limits counted = limits ? *limits : (struct limits){0};
        if (limits && i >= 0) limits_begin(&counted), b->limits = &counted;
        b->probed_s = 0;
        double t = common_now();
        if (!rc) rc = advance(b, r->n_seqs, r->n_depth, n, gen, e);
        if (i >= 0) r->ns[i] = 1e9 * (common_now() - t - b->probed_s);
        if (b->limits && i >= 0) keep_fastest(limits, &counted, r, i), b->limits = NULL;
    }
    if (!rc && b->bad) rc = err(e, ERR_RANGE, "a number left the range of the arithmetic");
    return rc;
}

static double tokens(const struct row *r)
{
    return (double)(r->n_gen ? r->n_gen : r->n_prompt) * r->n_seqs;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ts(const struct row *r)
{
    double s[REPS_MAX];
    memcpy(s, r->ns, (size_t)r->reps * sizeof *s);
    qsort(s, (size_t)r->reps, sizeof *s, by_value);
    double m = r->reps % 2 ? s[r->reps / 2] : (s[r->reps / 2 - 1] + s[r->reps / 2]) / 2;
    return tokens(r) / m * 1e9;
}

static void mean_std(const struct row *r, bool ts, double *mean, double *std)
{
    double m = 0, v = 0;
    for (int i = 0; i < r->reps; i++) m += ts ? tokens(r) / r->ns[i] * 1e9 : r->ns[i];
    m /= r->reps;
    for (int i = 0; i < r->reps; i++) {
        double x = (ts ? tokens(r) / r->ns[i] * 1e9 : r->ns[i]) - m;
        v += x * x;
    }
    *mean = m;
    *std = r->reps > 1 ? sqrt(v / (r->reps - 1)) : 0;
}

enum format { TABLE, JSON, CSV };

struct print {
    enum format format;
    bool limits;
    const char *plot; /* file or NULL */
    bool first;
};

static void test_name(const struct row *r, char *out, size_t n)
{
    char depth[32] = "", seqs[32] = "";
    if (r->n_depth) snprintf(depth, sizeof depth, " @ d%d", r->n_depth);
    if (r->n_seqs > 1) snprintf(seqs, sizeof seqs, " x %d", r->n_seqs);
    snprintf(out, n, "%s%d%s%s", r->n_gen ? "tg" : "pp", r->n_gen ? r->n_gen : r->n_prompt, seqs, depth);
}

static void print_row(const struct opened *o, const struct row *r, const struct limits *limits, enum format f,
                      bool first)
{
    const struct hparams *h = &o->engine->model->h;
    double ns, ns_std, ts, ts_std;
    char test[96];
    test_name(r, test, sizeof test);
    mean_std(r, false, &ns, &ns_std);
    mean_std(r, true, &ts, &ts_std);
    uint64_t bytes = gguf_tensor_bytes(o->engine->file), params = 0;
    for (size_t i = 0; i < gguf_n_tensors(o->engine->file); i++) {
        const struct tensor *t = gguf_tensor_at(o->engine->file, i);
        params += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    }
    const char *kv = o->engine->kv->shape.type == KV8 ? "int8" : "int16";
    if (f == TABLE) {
        if (first)
            printf(
                "| %-24s | %10s | %7s | %5s | %22s | %10s | %19s |\n| %.24s | %.9s: | %.6s: | %.5s | %.21s: | %.9s: | %.18s: |\n",
                "model", "size", "threads", "kv", "test", "t/s median", "t/s mean +- std",
                "------------------------", "------------------------", "------------------------",
                "------------------------", "------------------------", "------------------------",
                "------------------------");
        printf("| %-24.*s | %6.1f MiB | %7d | %5s | %22s | %10.2f | %10.2f +- %5.2f |\n",
               (int)(h->name.n < 24 ? h->name.n : 24), h->name.p, (double)bytes / 1048576, r->threads, kv,
               test, median_ts(r), ts, ts_std);
    } else if (f == CSV) {
        if (first)
            printf(
                "model_filename,model_size,model_n_params,n_batch,n_threads,type_k,type_v,n_prompt,n_gen,n_depth,n_seqs,avg_ns,stddev_ns,avg_ts,stddev_ts,median_ts\n");
        printf("\"%s\",%" PRIu64 ",%" PRIu64 ",%d,%d,%s,%s,%d,%d,%d,%d,%.0f,%.0f,%.4f,%.4f,%.4f\n", o->path.z,
               bytes, params, o->engine->program->max_rows, r->threads, kv, kv, r->n_prompt, r->n_gen,
               r->n_depth, r->n_seqs, ns, ns_std, ts, ts_std, median_ts(r));
    } else {
        json_t *sns = json_array(), *sts = json_array();
        for (int i = 0; i < r->reps; i++) {
            json_array_append_new(sns, json_integer((json_int_t)r->ns[i]));
            json_array_append_new(sts, json_real(tokens(r) / r->ns[i] * 1e9));
        }
        json_t *j = json_pack(
            "{s:s, s:s%, s:I, s:I, s:i, s:i, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:f, s:f, s:f, s:o, s:o}",
            "model_filename", o->path.z, "model_type", h->name.p ? h->name.p : "", h->name.n, "model_size",
            (json_int_t)bytes, "model_n_params", (json_int_t)params, "n_batch", o->engine->program->max_rows,
            "n_threads", r->threads, "type_k", kv, "type_v", kv, "n_prompt", r->n_prompt, "n_gen", r->n_gen,
            "n_depth", r->n_depth, "n_seqs", r->n_seqs, "avg_ns", (json_int_t)ns, "stddev_ns",
            (json_int_t)ns_std, "avg_ts", ts, "stddev_ts", ts_std, "median_ts", median_ts(r), "samples_ns",
            sns, "samples_ts", sts);
        if (limits && j) json_object_set_new(j, "limits", limits_json(limits, test));
        printf("%s", first ? "[\n" : ",\n");
        if (j) json_dumpf(j, stdout, JSON_INDENT(2));
        json_decref(j);
    }
    if (limits && f == TABLE) limits_print(limits, test);
    fflush(stdout);
}

static int run_rows(const struct args_doc *doc, const char *model, struct common c, int threads,
                    const struct row *rows, int n_rows, int reps, struct print *out)
{
    struct opened o;
    struct err e = {0};
    int longest = 1, seqs = 1, rc = 0, status;
    for (int i = 0; i < n_rows; i++) {
        int n = rows[i].n_depth + rows[i].n_prompt + rows[i].n_gen;
        longest = n > longest ? n : longest;
        seqs = rows[i].n_seqs > seqs ? rows[i].n_seqs : seqs;
    }
    c.threads = threads;
    int pages = (longest + ATTN_CHUNK - 1) / ATTN_CHUNK;
    if ((status = common_open(doc, &o, model, &c, pages * seqs, seqs))) return status;
    struct bench b = {.en = o.engine};
    b.seqs = calloc((size_t)seqs, sizeof *b.seqs);
    b.parts = calloc((size_t)seqs, sizeof *b.parts);
    b.out = calloc((size_t)seqs, sizeof *b.out);
    b.ids = calloc((size_t)longest, sizeof *b.ids);
    if (!b.seqs || !b.parts || !b.out || !b.ids) rc = err(&e, ERR_MEMORY, "out of memory");
    if (!rc && longest > o.engine->n_ctx)
        rc = err(&e, ERR_LIMIT, "%d tokens (depth and test) do not fit the context of %d", longest, o.engine->n_ctx);
    uint32_t x = 1;
    for (int i = 0; i < longest && !rc; i++)
        b.ids[i] = (int32_t)((x = x * 1664525u + 1013904223u) >> 8) % o.engine->model->h.n_vocab;
    for (int i = 0; i < seqs && !rc; i++) rc = kv_seq_init(&b.seqs[i], o.engine->kv, longest, &e);
    struct row *r = rc ? NULL : malloc(sizeof *r);
    struct limits limits = {0}, *l = out->limits ? &limits : NULL;
    if (l && r) rc = limits_open(l, o.engine, &e);
    for (int i = 0; i < n_rows && !rc && r; i++) {
        char test[96];
        *r = rows[i];
        r->reps = reps;
        r->threads = threads ? threads : pool_cpus();
        test_name(r, test, sizeof test);
        rc = measure(&b, r, l, &e);
        if (!rc) print_row(&o, r, l, out->format, out->first || (l && out->format == TABLE)), out->first = false;
        if (!rc && l && out->plot) rc = limits_plot(l, test, out->plot, &e);
    }
    limits_close(&limits);
    if (rc) status = common_fail(doc, &e);
    for (int i = 0; b.seqs && i < seqs; i++) kv_seq_finish(&b.seqs[i]);
    free(r), free(b.seqs), free(b.parts), free(b.out), free(b.ids);
    common_close(&o);
    return status;
}

int cmd_bench(int argc, char **argv)
{
    static const struct args_doc doc = {
        "bench", "MODEL", "measure prompt and generation speed",
        "Prints a row per test: pp N (a prompt of N tokens) and tg N (N tokens one after the other), each at every depth, thread count and "
        "number of sequences given. Lists are separated by commas. --limits adds a table per row: for each kind of step its "
        "time, the bytes and operations it cannot do without, and the share of the machine's limit (reading memory or "
        "multiplying bytes, both measured at the start) that it reached in the fastest repetition."};
    struct common c = {0};
    struct arg_ints p = {{512}, 1}, g = {{128}, 1}, d = {{0}, 1}, t = {{0}, 1}, s = {{1}, 1};
    int reps = 5, status;
    bool json = false, csv = false;
    struct print out = {.first = true};
    const struct arg table[] = {
        {"n-prompt", 'p', ARG_INTS, &p, "LIST", "prompt lengths (default 512; 0 = none)", 0, 1 << 20},
        {"n-gen", 'n', ARG_INTS, &g, "LIST", "tokens to generate (default 128; 0 = none)", 0, 1 << 20},
        {"n-depth", 'd', ARG_INTS, &d, "LIST", "tokens of context before the test (default 0)", 0, 1 << 20},
        {"threads", 't', ARG_INTS, &t, "LIST", "worker threads (default 0: all CPUs)", 0, POOL_ARG_MAX},
        {"n-seqs", 's', ARG_INTS, &s, "LIST", "sequences together in each step (default 1)", 1, 1024},
        {"repetitions", 'r', ARG_INT, &reps, "N", "runs per row (default 5)", 1, REPS_MAX},
        {"json", 0, ARG_FLAG, &json, NULL, "print JSON with llama-bench's field names", 0, 0},
        {"csv", 0, ARG_FLAG, &csv, NULL, "print CSV", 0, 0},
        {"limits", 0, ARG_FLAG, &out.limits, NULL,
         "measure what the machine can do, and print per step what share of it is reached", 0, 0},
        {"plot", 0, ARG_STR, &out.plot, "FILE.svg", "with --limits: a chart of the last row, by gnuplot", 0,
         0},
        {"batch-size", 'b', ARG_INT, &c.batch, "N", "tokens per step (default 512)", 1, PROGRAM_ROWS_MAX},
        {"isa", 0, ARG_STR, &c.isa, "NAME", "instruction set (default: the best)", 0, 0},
        {"chip", 0, ARG_STR, &c.chip, "NAME", "what executes the program (default: cpu)", 0, 0},
        {"kv", 0, ARG_INT, &c.kv, "BITS", "bits of a key or value in the cache: 16 or 8 (default: 16)", 8,
         16},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at != 1) return args_fault(&doc, "takes one MODEL; see tutti bench --help");
    if (out.plot && !out.limits) return args_fault(&doc, "--plot draws what --limits measures: give both");
    struct row *rows = calloc((size_t)(p.n + g.n) * (size_t)d.n * (size_t)s.n, sizeof *rows);
    if (!rows) return args_fault(&doc, "out of memory");
    int n = 0;
    for (int i = 0; i < d.n; i++) {
        for (int j = 0; j < s.n; j++) {
            for (int k = 0; k < p.n; k++)
                if (p.p[k]) rows[n++] = (struct row){.n_prompt = p.p[k], .n_depth = d.p[i], .n_seqs = s.p[j]};
            for (int k = 0; k < g.n; k++)
                if (g.p[k]) rows[n++] = (struct row){.n_gen = g.p[k], .n_depth = d.p[i], .n_seqs = s.p[j]};
        }
    }
    out.format = json ? JSON : csv ? CSV : TABLE;
    for (int i = 0; i < t.n && !status; i++) status = run_rows(&doc, argv[at], c, t.p[i], rows, n, reps, &out);
    if (json && !out.first) printf("\n]\n");
    free(rows);
    return status;
}
