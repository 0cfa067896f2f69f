/* SPDX-License-Identifier: Apache-2.0 */
/* See common.h. */
#include "common.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "file/cache.h"

double common_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void common_print_simulated(FILE *f, const struct chip *c)
{
    struct chip_counters n;
    if (!chip_counters(c, &n) || !n.tokens) return;
    fprintf(f,
            "chip:    would have taken %.1f us and %.2f mJ a token, one after the other: %" PRId64
            " tokens, %" PRId64 " cycles, %.1f %% of unit-cycles idle\n",
            1e6 * n.chip_seconds / (double)n.tokens, 1e3 * n.joules / (double)n.tokens, n.tokens, n.cycles,
            100 * n.idle);
    fprintf(
        f,
        "         simulated by one core in %.2f s: %.0f cycles/s, %.2f tokens/s; in %.2f s of its own time: %.0f cycles/s, %.2f tokens/s\n",
        n.seconds, (double)n.cycles / n.seconds, (double)n.tokens / n.seconds, n.core_seconds,
        (double)n.cycles / n.core_seconds, (double)n.tokens / n.core_seconds);
}

void common_print_simulated_json(FILE *f, const struct chip *c)
{
    struct chip_counters n;
    if (!chip_counters(c, &n) || !n.tokens) return;
    fprintf(
        f,
        ", \"simulated\": {\"tokens\": %" PRId64 ", \"cycles\": %" PRId64
        ", \"idle\": %.4f, \"chip_seconds\": %.9f, \"joules\": %.9f, \"seconds\": %.3f, \"cycles_per_s\": %.0f, \"tokens_per_s\": %.3f, \"core_seconds\": %.3f}",
        n.tokens, n.cycles, n.idle, n.chip_seconds, n.joules, n.seconds, (double)n.cycles / n.seconds,
        (double)n.tokens / n.seconds, n.core_seconds);
}

int common_fail(const struct args_doc *doc, const struct err *e)
{
    fprintf(stderr, "tutti %s: %s\n", doc->name, e->msg);
    return err_exit_status(e->code);
}

/* A bar only for loads that take a while. */
struct load_bar {
    struct progress p;
    const char *name;
    double begin;
    bool shown;
};

static void show_load(void *ud, size_t done, size_t total)
{
    struct load_bar *b = ud;
    if (!b->shown && (common_now() - b->begin < 1.0 || !isatty(2))) return;
    if (!b->shown) progress_begin(&b->p, b->name, 0, total, false);
    b->shown = true;
    progress_update(&b->p, done);
    if (done == total) progress_end(&b->p, true);
}

bool common_is_timed(const char *chip)
{
    return chip && !chip_named(chip);
}

static int open_timed(struct opened *o, const char *chip, struct err *e)
{
    int rc = timed_open(&o->timed, chip, o->engine->model, o->engine->n_ctx, e);
    if (!rc) chip_watch(o->engine->chip, timed_watch, o->timed);
    return rc;
}

int common_open(const struct args_doc *doc, struct opened *o, const char *model, const struct common *c,
                int n_seqs, int min_batch)
{
    struct err e = {0};
    double begin = common_now();
    struct load_bar bar = {.name = "loading", .begin = begin};
    *o = (struct opened){0};
    if (c->kv != 0 && c->kv != 8 && c->kv != 16) return args_fault(doc, "--kv takes 16 or 8, got %d", c->kv);
    struct engine_options opt = {.chip = common_is_timed(c->chip) ? NULL : c->chip,
                                 .isa = c->isa,
                                 .n_threads = c->threads,
                                 .n_ctx = c->ctx,
                                 .n_seqs = n_seqs,
                                 .n_batch = c->batch ? c->batch : ENGINE_BATCH,
                                 .kv = c->kv == 8 ? KV8 : KV16,
                                 .rotation = (enum rotation)c->rotation,
                                 .experts_bytes = (size_t)c->experts,
                                 .progress = show_load,
                                 .progress_ud = &bar};
    if (opt.n_batch < min_batch) opt.n_batch = min_batch;
    int rc;
    if ((rc = model_path_resolve(model, &o->path, &e)) ||
        (rc = engine_open(&o->engine, o->path.z, &opt, &e)) ||
        (rc = text_open(&o->text, o->engine->file, &e)) ||
        (common_is_timed(c->chip) && (rc = open_timed(o, c->chip, &e)))) {
        common_close(o);
        return common_fail(doc, &e);
    }
    gguf_drop_all(o->engine->file); /* the vocabulary was copied */
    o->load_s = common_now() - begin;
    return 0;
}

int common_root(const struct opened *o, uint8_t root[ROOT_BYTES], struct err *e)
{
    if (root_recall(o->engine->file, o->path.z, root)) return 0;
    int rc = root_compute(o->engine->file, root, NULL, e);
    if (!rc) root_keep(o->engine->file, o->path.z, root);
    return rc;
}

void common_close(struct opened *o)
{
    text_close(&o->text);
    engine_close(o->engine);
    timed_close(o->timed);
    *o = (struct opened){0};
}

int common_read_file(const char *path, char **out, size_t *n, struct err *e)
{
    struct buf b;
    buf_init(&b, COMMON_FILE_MAX);
    int rc = strcmp(path, "-") == 0 ? buf_read(&b, stdin, "standard input", e) : buf_read_file(&b, path, e);
    if (rc) {
        buf_finish(&b);
        return rc;
    }
    *out = b.p;
    *n = b.n;
    return 0;
}
