/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti inspect: what a model file holds and what running it takes. Works on every well-formed GGUF file, of an unknown
 * architecture, too; then the reason is said and the memory is left out. Memory is computed by the functions that
 * allocate it: nothing is loaded.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "cmd.h"
#include "common.h"
#include "file/cache.h"
#include "folder/folder.h"
#include "quote.h"

static const struct args_doc doc = {
    "inspect", "MODEL", "show metadata, tensors and types of a model, and the memory it takes",
    "Reads the file without running it. The last lines say whether this build can run the model and how much memory it takes: packed weights, "
    "buffers for a step with that many threads, and the keys and values of a context of that many tokens."};

enum {
    VALUE_SHOWN = 60,
    ITEMS_SHOWN = 6,
    NAME_SHOWN = 120,
    OUT_MAX = 1 << 30,
    CTX_COLUMN = 4096,
    DTYPES = DTYPE_ID_MAX + 1
};
static const double MIB = 1048576;

struct need {
    char why_not[ERR_MSG_MAX]; /* "" = this build can run it */
    uint64_t weights_bytes, buffers_bytes;
    uint64_t experts_bytes;    /* of the weights: can stay on disk */
    int n_expert, n_expert_used;
    uint64_t page_bytes[2];    /* of 128 tokens: KV16, KV8; 0 = impossible */
    int n_ctx_train;
};

struct totals {
    uint64_t n_weights, n_tensors[DTYPES], bytes[DTYPES];
};

/* --- what it takes ---------------------------------------------------------------------------------------- */

static void find_need(const struct gguf *g, int n_batch, int n_threads, struct need *n)
{
    struct model *m = NULL;
    struct program *p = NULL;
    struct text t = {0};
    struct err e = {0};
    *n = (struct need){0};
    int rc = model_open(&m, g, &e);
    struct program_options po = {.max_rows = n_batch, .max_out = n_batch < ENGINE_OUT ? n_batch : ENGINE_OUT};
    if (!rc) rc = program_compile(&p, m, &po, &e);
    if (!rc) rc = program_weights(p, &n->weights_bytes, &n->experts_bytes, &e);
    if (!rc) {
        n->n_ctx_train = m->h.n_ctx_train;
        n->n_expert = m->h.n_expert, n->n_expert_used = m->h.n_expert_used;
        n->buffers_bytes = chip_cpu.work_bytes(p, n_threads ? n_threads : pool_cpus());
        for (int i = 0; i < 2; i++) {
            struct kv_shape s = {i ? KV8 : KV16, m->h.n_layer, m->h.n_head_kv, m->h.head_dim, m->h.kv_extra};
            if (kv_supports(s.head_dim, s.extra)) n->page_bytes[i] = kv_page_bytes(&s);
        }
        if (!n->page_bytes[0] && !n->page_bytes[1])
            rc = err(&e, ERR_UNSUPPORTED, "a head size of %d is not supported", m->h.head_dim);
    }
    if (!rc) rc = text_open(&t, g, &e);
    if (rc) snprintf(n->why_not, sizeof n->why_not, "%s", e.msg);
    text_close(&t);
    program_close(p);
    model_close(m);
}

static uint64_t kv_bytes(const struct need *n, int kv, int ctx)
{
    return n->page_bytes[kv] * (uint64_t)((ctx + ATTN_CHUNK - 1) / ATTN_CHUNK);
}

static void add_totals(const struct gguf *g, struct totals *t)
{
    *t = (struct totals){0};
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *x = gguf_tensor_at(g, i);
        t->n_weights += x->ne[0] * x->ne[1] * x->ne[2] * x->ne[3];
        must((unsigned)x->type < DTYPES);
        t->n_tensors[x->type]++;
        t->bytes[x->type] += x->size_bytes;
    }
}

/* --- text ------------------------------------------------------------------------------------------------- */

static void print_item(struct buf *b, const struct gguf_key *k, uint64_t i, size_t *pos, size_t shown)
{
    enum gguf_type type = k->type == GGUF_ARRAY ? k->elem : k->type;
    struct str s;
    int64_t v;
    uint64_t u;
    double x;
    if (type == GGUF_STR && gguf_value_str(k, pos, &s))
        quote_append(b, s, shown);
    else if (type == GGUF_BOOL && gguf_value_i64(k, i, &v))
        buf_append_z(b, v ? "true" : "false");
    else if (gguf_value_i64(k, i, &v))
        buf_printf(b, "%" PRId64, v);
    else if (gguf_value_u64(k, i, &u))
        buf_printf(b, "%" PRIu64, u);
    else if (gguf_value_f64(k, i, &x))
        buf_printf(b, "%.9g", x);
    else
        buf_append_z(b, "?");
}

static void print_value(struct buf *b, const struct gguf_key *k, bool all)
{
    size_t pos = 0, shown = all ? SIZE_MAX : VALUE_SHOWN;
    if (k->type != GGUF_ARRAY) {
        print_item(b, k, 0, &pos, shown);
        return;
    }
    if (k->elem == GGUF_ARRAY) {
        buf_printf(b, "[%" PRIu64 " arrays]", k->n);
        return;
    }
    uint64_t n = all || k->n <= ITEMS_SHOWN ? k->n : ITEMS_SHOWN;
    buf_append_char(b, '[');
    for (uint64_t i = 0; i < n; i++) {
        if (i) buf_append_z(b, ", ");
        print_item(b, k, i, &pos, shown);
    }
    if (n < k->n)
        buf_printf(b, ", ... %" PRIu64 " in all]", k->n);
    else
        buf_append_char(b, ']');
}

static void print_keys(struct buf *b, const struct gguf *g, bool all)
{
    int width = 0;
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        size_t n = gguf_key_at(g, i)->name.n;
        if ((int)n > width && n <= VALUE_SHOWN) width = (int)n;
    }
    buf_printf(b, "\nmetadata: %zu keys\n", gguf_n_keys(g));
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *k = gguf_key_at(g, i);
        size_t from = b->n;
        buf_append_z(b, "  ");
        quote_append_bare(b, k->name, NAME_SHOWN);
        for (size_t n = b->n - from; n < (size_t)width + 2; n++) buf_append_char(b, ' ');
        buf_append_z(b, "  ");
        print_value(b, k, all);
        buf_append_char(b, '\n');
    }
}

static void print_shape(struct buf *b, const struct tensor *t)
{
    for (uint32_t d = 0; d < t->n_dims; d++) buf_printf(b, d ? " x %" PRIu64 : "%" PRIu64, t->ne[d]);
}

static void print_tensors(struct buf *b, const struct gguf *g)
{
    char size[BYTES_TEXT_MAX];
    buf_printf(b, "\ntensors: %zu (name, type, shape with the contiguous dimension first, size)\n", gguf_n_tensors(g));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        size_t from = b->n;
        buf_append_z(b, "  ");
        quote_append_bare(b, t->name, NAME_SHOWN);
        for (size_t n = b->n - from; n < 34; n++) buf_append_char(b, ' ');
        buf_printf(b, "  %-7s  ", dtype_name(t->type));
        from = b->n;
        print_shape(b, t);
        for (size_t n = b->n - from; n < 20; n++) buf_append_char(b, ' ');
        buf_printf(b, "  %s\n", bytes_text(t->size_bytes, size));
    }
}

static void print_need_row(struct buf *b, const struct need *n, int ctx)
{
    buf_printf(b, "  %10d", ctx);
    for (int kv = 0; kv < 2; kv++) {
        if (n->page_bytes[kv])
            buf_printf(b, "  %12.1f %12.1f", (double)kv_bytes(n, kv, ctx) / MIB,
                       (double)(n->weights_bytes + n->buffers_bytes + kv_bytes(n, kv, ctx)) / MIB);
        else
            buf_printf(b, "  %12s %12s", "-", "-");
    }
    buf_append_char(b, '\n');
}

/* Whether it fits what the machine has left, with a short context. */
static void print_fit(struct buf *b, const struct need *n, uint64_t free_bytes)
{
    int ctx = n->n_ctx_train < CTX_COLUMN ? n->n_ctx_train : CTX_COLUMN;
    uint64_t all = n->weights_bytes + n->buffers_bytes + kv_bytes(n, n->page_bytes[0] ? 0 : 1, ctx),
             least = all - n->experts_bytes;
    buf_printf(b, "this machine has %.1f available: %s\n", (double)free_bytes / MIB,
               all <= free_bytes          ? "it fits"
               : least < free_bytes && n->experts_bytes ? "it fits with a part of the experts on disk"
                                          : "it does not fit; take a smaller type of weights");
}

static void print_need(struct buf *b, const struct need *n, int ctx, int n_batch)
{
    if (n->why_not[0]) {
        buf_printf(b, "\nthis build cannot run it: %s\n", n->why_not);
        return;
    }
    buf_printf(
        b,
        "\nthis build can run it\nmemory in MiB: packed weights %.1f, buffers for steps of %d tokens %.1f\n",
        (double)n->weights_bytes / MIB, n_batch, (double)n->buffers_bytes / MIB);
    if (n->experts_bytes)
        buf_printf(
            b,
            "of the weights %.1f are experts, %d of %d used by a token: with --experts-memory SIZE only so many of them stay in memory\n",
            (double)n->experts_bytes / MIB, n->n_expert_used, n->n_expert);
    uint64_t free_bytes = memory_available();
    if (free_bytes != UINT64_MAX) print_fit(b, n, free_bytes);
    buf_printf(b, "  %10s  %12s %12s  %12s %12s\n", "context", "16-bit KV", "all", "8-bit KV", "all");
    if (ctx) {
        print_need_row(b, n, ctx);
        return;
    }
    if (n->n_ctx_train > CTX_COLUMN) print_need_row(b, n, CTX_COLUMN);
    print_need_row(b, n, n->n_ctx_train);
}

static void print_all(struct buf *b, const struct gguf *g, const struct path *path, const struct need *n,
                      int ctx, int n_batch, bool tensors, bool all)
{
    struct totals t;
    char size[BYTES_TEXT_MAX];
    add_totals(g, &t);
    buf_append_z(b, "file:       ");
    quote_append_bare(b, str_from(path->z), SIZE_MAX);
    if (gguf_version(g))
        buf_printf(b, "\nformat:     GGUF version %" PRIu32 ", %s", gguf_version(g),
                   bytes_text(gguf_file_bytes(g), size));
    else
        buf_printf(b, "\nformat:     safetensors (keys and names as in GGUF), %s",
                   bytes_text(gguf_file_bytes(g), size));
    if (gguf_n_parts(g) > 1) buf_printf(b, " in %d %s", gguf_n_parts(g), gguf_version(g) ? "parts" : "files");
    buf_printf(b, "\nparameters: %" PRIu64 " (%.2f %s) in %zu tensors, %s", t.n_weights,
               (double)t.n_weights / (t.n_weights < 1000000000 ? 1e6 : 1e9),
               t.n_weights < 1000000000 ? "million" : "billion", gguf_n_tensors(g),
               bytes_text(gguf_tensor_bytes(g), size));
    if (t.n_weights) buf_printf(b, ", %.2f bits each", 8.0 * (double)gguf_tensor_bytes(g) / (double)t.n_weights);
    buf_append_z(b, "\ntypes:      ");
    for (unsigned i = 0, n_shown = 0; i < DTYPES; i++)
        if (t.n_tensors[i])
            buf_printf(b, "%s%s %" PRIu64 " tensors, %s", n_shown++ ? "; " : "", dtype_name(i),
                       t.n_tensors[i], bytes_text(t.bytes[i], size));
    buf_append_char(b, '\n');
    print_keys(b, g, all);
    if (tensors) print_tensors(b, g);
    print_need(b, n, ctx, n_batch);
}

/* --- JSON ------------------------------------------------------------------------------------------------- */

/* Faults of foreign text become U+FFFD. */
static json_t *json_text(struct str s)
{
    struct buf b;
    buf_init(&b, (size_t)OUT_MAX);
    json_t *j = utf8_append_replaced(&b, s) ? NULL : json_stringn(b.p ? b.p : "", b.n);
    buf_finish(&b);
    return j;
}

/* Objects keep the file's order; a key is unique there, but may not be after faults were replaced. */
static void set_text(json_t *object, struct str name, json_t *value)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    if (!utf8_append_replaced(&b, name) && b.p && !memchr(b.p, 0, b.n))
        json_object_set_new(object, b.p, value);
    else
        json_decref(value);
    buf_finish(&b);
}

static json_t *json_item(const struct gguf_key *k, uint64_t i, size_t *pos)
{
    enum gguf_type type = k->type == GGUF_ARRAY ? k->elem : k->type;
    struct str s;
    int64_t v;
    double x;
    if (type == GGUF_STR) return gguf_value_str(k, pos, &s) ? json_text(s) : json_null();
    if (type == GGUF_BOOL) return gguf_value_i64(k, i, &v) ? json_boolean(v) : json_null();
    if (gguf_value_i64(k, i, &v)) return json_integer(v);
    if (gguf_value_f64(k, i, &x)) {
        json_t *j = json_real(x);
        return j ? j : json_null(); /* JSON has no infinity */
    }
    uint64_t u;
    return gguf_value_u64(k, i, &u) ? json_real((double)u) : json_null();
}

static json_t *json_value(const struct gguf_key *k, bool all)
{
    size_t pos = 0;
    if (k->type != GGUF_ARRAY) return json_item(k, 0, &pos);
    bool whole = k->elem != GGUF_ARRAY && (all || k->n <= ITEMS_SHOWN);
    if (!whole)
        return json_pack("{s:s, s:s, s:I}", "type", "array", "of", gguf_type_name(k->elem), "n",
                         (json_int_t)k->n);
    json_t *list = json_array();
    for (uint64_t i = 0; i < k->n; i++) json_array_append_new(list, json_item(k, i, &pos));
    return list;
}

static json_t *json_need(const struct need *n, int ctx)
{
    json_t *rows = json_array();
    int list[] = {ctx ? ctx : n->n_ctx_train, CTX_COLUMN};
    for (int i = 0; i < (ctx || n->n_ctx_train <= CTX_COLUMN ? 1 : 2); i++) {
        json_t *row = json_pack("{s:i}", "context", list[i]);
        for (int kv = 0; kv < 2; kv++)
            if (n->page_bytes[kv])
                json_object_set_new(row, kv ? "kv8_bytes" : "kv16_bytes",
                                    json_integer((json_int_t)kv_bytes(n, kv, list[i])));
        json_array_append_new(rows, row);
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "weights_bytes", (json_int_t)n->weights_bytes, "experts_bytes",
                     (json_int_t)n->experts_bytes, "buffers_bytes", (json_int_t)n->buffers_bytes, "contexts",
                     rows);
}

static json_t *json_all(const struct gguf *g, const struct path *path, const struct need *n, int ctx,
                        bool tensors, bool all)
{
    struct totals t;
    add_totals(g, &t);
    json_t *root = json_object(), *keys = json_object(), *types = json_object();
    set_text(root, STR("file"), json_text(str_from(path->z)));
    json_object_set_new(root, "format", json_string(gguf_version(g) ? "gguf" : "safetensors"));
    json_object_set_new(root, "gguf_version", json_integer(gguf_version(g)));
    json_object_set_new(root, "file_bytes", json_integer((json_int_t)gguf_file_bytes(g)));
    json_object_set_new(root, "parts", json_integer(gguf_n_parts(g)));
    json_object_set_new(root, "parameters", json_integer((json_int_t)t.n_weights));
    json_object_set_new(root, "tensor_bytes", json_integer((json_int_t)gguf_tensor_bytes(g)));
    for (unsigned i = 0; i < DTYPES; i++)
        if (t.n_tensors[i])
            json_object_set_new(types, dtype_name(i),
                                json_pack("{s:I, s:I}", "tensors", (json_int_t)t.n_tensors[i], "bytes",
                                          (json_int_t)t.bytes[i]));
    json_object_set_new(root, "types", types);
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        set_text(keys, gguf_key_at(g, i)->name, json_value(gguf_key_at(g, i), all));
    json_object_set_new(root, "metadata", keys);
    json_t *list = tensors ? json_array() : NULL;
    for (size_t i = 0; list && i < gguf_n_tensors(g); i++) {
        const struct tensor *x = gguf_tensor_at(g, i);
        json_t *shape = json_array();
        for (uint32_t d = 0; d < x->n_dims; d++) json_array_append_new(shape, json_integer((json_int_t)x->ne[d]));
        json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:I}", "name", json_text(x->name), "type",
                                              dtype_name(x->type), "shape", shape, "bytes",
                                              (json_int_t)x->size_bytes));
    }
    if (list) json_object_set_new(root, "tensors", list);
    json_object_set_new(root, "runnable", json_boolean(!n->why_not[0]));
    if (n->why_not[0])
        set_text(root, STR("reason"), json_text(str_from(n->why_not)));
    else
        json_object_set_new(root, "memory", json_need(n, ctx));
    return root;
}

/* The table of README.md: tests/e2e/inspect.sh compares the two. */
static void print_families(void)
{
    int n;
    const struct family *const *f = model_families(&n);
    printf("| architecture | models |\n| --- | --- |\n");
    for (int i = 0; i < n; i++) {
        printf("| `%s`", f[i]->arch);
        if (f[i]->arch_too) printf(", `%s`", f[i]->arch_too);
        printf(" | %s |\n", f[i]->models);
    }
}

int cmd_inspect(int argc, char **argv)
{
    bool families = false, json = false, tensors = false, all = false;
    int ctx = 0, batch = ENGINE_BATCH, threads = 0, status;
    const struct arg table[] = {
        {"tensors", 0, ARG_FLAG, &tensors, NULL, "list every tensor", 0, 0},
        {"all", 'a', ARG_FLAG, &all, NULL, "show long strings and arrays in full", 0, 0},
        {"ctx", 'c', ARG_INT, &ctx, "N", "memory for a context of N tokens (default: 4096 and the model's)",
         1, 1 << 24},
        {"batch-size", 'b', ARG_INT, &batch, "N", "buffers for steps of N tokens (default: 512)", 1,
         PROGRAM_ROWS_MAX},
        {"threads", 't', ARG_INT, &threads, "N", "buffers for N threads (default: all CPUs)", 1, POOL_MAX},
        {"families", 0, ARG_FLAG, &families, NULL,
         "print which architectures this build runs, and nothing else", 0, 0},
        {"json", 0, ARG_FLAG, &json, NULL, "print a JSON object", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (families) {
        print_families();
        return 0;
    }
    if (argc - at != 1) return args_fault(&doc, "takes one MODEL; see tutti inspect --help");
    struct path path;
    struct gguf *g = NULL;
    struct need n;
    struct err e = {0};
    int rc = model_path_resolve(argv[at], &path, &e);
    if (!rc) rc = model_file_open(&g, path.z, &e);
    if (!rc) find_need(g, batch, threads, &n);
    if (!rc && ctx && !n.why_not[0] && ctx > n.n_ctx_train)
        rc = err(&e, ERR_USAGE, "a context of %d tokens: this model takes 1..%d", ctx, n.n_ctx_train);
    if (!rc && json) {
        json_t *root = json_all(g, &path, &n, ctx, tensors, all);
        if (json_dumpf(root, stdout, JSON_INDENT(2)) || putchar('\n') == EOF) rc = err(&e, ERR_IO, "cannot write");
        json_decref(root);
    } else if (!rc) {
        struct buf b;
        buf_init(&b, (size_t)OUT_MAX);
        print_all(&b, g, &path, &n, ctx, batch, tensors, all);
        if (b.failed)
            rc = err(&e, b.failed, "the listing is too long");
        else
            fwrite(b.p, 1, b.n, stdout);
        buf_finish(&b);
    }
    gguf_close(g);
    return rc ? common_fail(&doc, &e) : 0;
}
