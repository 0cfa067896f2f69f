/* SPDX-License-Identifier: Apache-2.0 */
/* See quantize.h. */
#include "model/quantize.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/pool.h"
#include "file/gguf_write.h"
#include "kern/encode.h"
#include "kern/mat.h"

enum { PIECE_BYTES = 8 << 20, QUANTIZATION_VERSION = 2 };

struct worker {
    float *x, *y;      /* [PANEL][widest row] the source's floats; what the new bytes decode to */
    uint8_t *packed;   /* a panel, to decode by */
    uint8_t *rows;     /* [PANEL] of a tensor whose rows are made as they are read */
    double error, size;
    struct err err;
};

struct job {
    const struct gguf *in;
    const struct quantize_options *opt;
    struct pool *pool;
    struct gguf_writer *out;
    struct worker *workers;
    uint8_t *piece;

    /* the tensor in work */
    const struct tensor *t;
    enum dtype to;
    const float *weight; /* importance, or NULL */
    uint64_t n, row, rows, from_bytes, to_bytes; /* row length; first row and rows of the piece; bytes of a row */
};

/* --- which type ------------------------------------------------------------------------------------------------ */

static bool is_float(enum dtype t)
{
    return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16;
}

static bool is_head(const struct gguf *in, const struct tensor *t)
{
    return str_eqz(t->name, gguf_tensor(in, "output.weight") ? "output.weight" : "token_embd.weight");
}

/* Matrices, but for a router: it is small, and one wrong choice of experts costs more than it saves. */
static bool is_matrix(const struct tensor *t)
{
    static const char end[] = ".weight", router[] = "ffn_gate_inp.weight";
    size_t n = sizeof end - 1, r = sizeof router - 1;
    if (t->n_dims < 2 || t->ne[1] < 2 || t->name.n < n || memcmp(t->name.p + t->name.n - n, end, n)) return false;
    return t->name.n < r || memcmp(t->name.p + t->name.n - r, router, r);
}

/* Where errors cost most, a third of the layers and both ends, as the files called "M" of llama.cpp have it. */
static bool takes_more(const struct gguf *in, const struct tensor *t)
{
    char name[GGUF_MAX_NAME_BYTES + 1];
    unsigned layer, n = 0;
    int at = 0;
    snprintf(name, sizeof name, "%.*s", STR_ARG(t->name));
    if (sscanf(name, "blk.%u.%n", &layer, &at) != 1 || !at) return false;
    if (strcmp(name + at, "attn_v.weight") != 0 && strncmp(name + at, "ffn_down", 8) != 0) return false;
    for (bool more = true; more; n += more) {
        char next[GGUF_MAX_NAME_BYTES + 1];
        snprintf(next, sizeof next, "blk.%u.attn_norm.weight", n);
        more = gguf_tensor(in, next) != NULL;
    }
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

/* What stands in for a type of 256 elements where rows are no multiple of them. */
static enum dtype shorter(enum dtype t)
{
    return t == DTYPE_Q4_K ? DTYPE_Q5_0 : t == DTYPE_Q5_K ? DTYPE_Q5_1 : DTYPE_Q8_0;
}

static int target(const struct gguf *in, const struct tensor *t, const struct quantize_options *opt,
                  enum dtype *to, struct err *e)
{
    enum dtype want = is_head(in, t) ? opt->head : opt->mix && takes_more(in, t) ? DTYPE_Q6_K : opt->type;
    if (dtype_info(want)->block == 256 && t->ne[0] % 256) want = shorter(want);
    *to = t->type;
    if (!is_matrix(t) || t->type == want || t->ne[0] % dtype_info(want)->block ||
        dtype_row_bytes(want, t->ne[0]) == 0)
        return 0;
    if (!is_float(t->type) && !mat_layout(t->type)) return 0;
    if (!is_float(t->type) && !opt->requantize)
        return err(
            e, ERR_USAGE,
            "tensor '%.*s' is %s already: what it lost does not come back; start from F16, BF16 or F32, or say --allow-requantize",
            STR_ARG(t->name), dtype_name(t->type));
    *to = want;
    return 0;
}

/* --- a piece of a tensor ---------------------------------------------------------------------------------------- */

static void encode_share(void *arg, int worker)
{
    struct job *j = arg;
    struct worker *w = &j->workers[worker];
    int begin, end, panels = (int)((j->rows + PANEL - 1) / PANEL);
    pool_share(panels, worker, pool_size(j->pool), &begin, &end);
    for (uint64_t r = (uint64_t)begin * PANEL; r < (uint64_t)end * PANEL && r < j->rows; r += PANEL) {
        int n = j->rows - r < PANEL ? (int)(j->rows - r) : PANEL;
        const uint8_t *from = tensor_rows(j->t, j->row + r, (uint64_t)n, w->rows);
        uint8_t *to = j->piece + r * j->to_bytes;
        if (encode_decode_rows(j->t->type, w->x, from, j->from_bytes, n, j->n, w->packed, &w->err)) return;
        for (int i = 0; i < n; i++)
            if (encode_row(j->to, to + (size_t)i * j->to_bytes, w->x + (size_t)i * j->n, j->weight,
                           (int64_t)j->n, &w->err))
                return;
        if (!j->opt->measure) continue;
        if (encode_decode_rows(j->to, w->y, to, j->to_bytes, n, j->n, w->packed, &w->err)) return;
        for (size_t i = 0; i < (size_t)n * j->n; i++) {
            double d = (double)w->x[i] - (double)w->y[i];
            w->error += d * d;
            w->size += (double)w->x[i] * (double)w->x[i];
        }
    }
}

static int cancelled(const struct quantize_options *opt, struct err *e)
{
    return opt->cancel && *opt->cancel ? err(e, ERR_CANCELLED, "interrupted; nothing was written") : 0;
}

static int convert(struct job *j, struct quantize_tensor *q, uint64_t done, uint64_t all, struct err *e)
{
    const struct tensor *t = j->t;
    const struct quantize_options *opt = j->opt;
    uint64_t rows = t->ne[1] * t->ne[2] * t->ne[3];
    j->n = t->ne[0];
    j->to = q->to;
    j->from_bytes = dtype_row_bytes(t->type, j->n);
    j->to_bytes = dtype_row_bytes(j->to, j->n);
    j->weight = opt->importance ? opt->importance(opt->importance_ud, t->name, j->n) : NULL;
    for (int i = 0; i < pool_size(j->pool); i++) j->workers[i].error = j->workers[i].size = 0;
    uint64_t step = PIECE_BYTES / j->to_bytes / PANEL * PANEL;
    if (step == 0) step = PANEL;
    for (j->row = 0; j->row < rows; j->row += j->rows) {
        j->rows = rows - j->row < step ? rows - j->row : step;
        pool_run(j->pool, encode_share, j);
        for (int i = 0; i < pool_size(j->pool); i++) {
            if (!j->workers[i].err.code) continue;
            if (e) *e = j->workers[i].err;
            return e ? err_prefix(e, "tensor '%.*s'", STR_ARG(t->name)) : j->workers[i].err.code;
        }
        int rc = gguf_write_data(j->out, j->piece, (size_t)(j->rows * j->to_bytes), e);
        if (rc || (rc = cancelled(opt, e))) return rc;
        if (opt->progress) opt->progress(opt->progress_ud, done + (j->row + j->rows) * j->from_bytes, all);
    }
    for (int i = 0; i < pool_size(j->pool); i++) q->error += j->workers[i].error, q->size += j->workers[i].size;
    return 0;
}

/* --- the file --------------------------------------------------------------------------------------------------- */

/* Of GGML's list of "mostly" types; -1: it has none. */
static int file_type(enum dtype t, bool mix)
{
    switch (t) {
    case DTYPE_Q4_K: return mix ? 15 : 14; /* "medium", "small" */
    case DTYPE_Q5_K: return mix ? 17 : 16;
    case DTYPE_F32: return 0;
    case DTYPE_F16: return 1;
    case DTYPE_Q4_0: return 2;
    case DTYPE_Q4_1: return 3;
    case DTYPE_Q8_0: return 7;
    case DTYPE_Q5_0: return 8;
    case DTYPE_Q5_1: return 9;
    case DTYPE_Q6_K: return 18;
    case DTYPE_IQ4_NL: return 25;
    case DTYPE_BF16: return 32;
    default: return -1;
    }
}

static void write_keys(struct gguf_writer *out, const struct gguf *in, enum dtype type, bool mix, bool n4)
{
    for (size_t i = 0; i < gguf_n_keys(in); i++) {
        const struct gguf_key *k = gguf_key_at(in, i);
        if (str_starts(k->name, STR("split.")) || str_eqz(k->name, GGUF_KEY_N4) ||
            str_eqz(k->name, "general.file_type") || str_eqz(k->name, "general.quantization_version"))
            continue;
        gguf_write_key(out, k);
    }
    if (file_type(type, mix) >= 0) gguf_write_u32(out, "general.file_type", (uint32_t)file_type(type, mix));
    gguf_write_u32(out, "general.quantization_version", QUANTIZATION_VERSION);
    if (n4) gguf_write_u32(out, GGUF_KEY_N4, GGUF_N4_VERSION);
}

static int make_workers(struct job *j, const struct quantize_tensor *list, struct err *e)
{
    size_t widest = 0, packed = 0, made = 0, piece = PIECE_BYTES;
    for (size_t i = 0; i < gguf_n_tensors(j->in); i++) {
        const struct tensor *t = gguf_tensor_at(j->in, i);
        if (list[i].to == t->type) continue;
        enum dtype both[2] = {t->type, list[i].to};
        for (int k = 0; k < 2; k++) {
            struct mat m;
            int rc = mat_init(&m, both[k], PANEL, (int64_t)t->ne[0], e);
            if (rc) return err_prefix(e, "tensor '%.*s'", STR_ARG(t->name));
            if (mat_bytes(&m) > packed) packed = mat_bytes(&m);
        }
        if (t->ne[0] > widest) widest = (size_t)t->ne[0];
        if (!t->data && dtype_row_bytes(t->type, t->ne[0]) > made) made = (size_t)dtype_row_bytes(t->type, t->ne[0]);
        if (dtype_row_bytes(list[i].to, t->ne[0]) * PANEL > piece)
            piece = (size_t)dtype_row_bytes(list[i].to, t->ne[0]) * PANEL;
    }
    j->workers = calloc((size_t)pool_size(j->pool), sizeof *j->workers);
    j->piece = malloc(piece);
    bool ok = j->workers && j->piece;
    for (int i = 0; ok && i < pool_size(j->pool); i++) {
        struct worker *w = &j->workers[i];
        w->x = malloc(widest * PANEL * sizeof *w->x + 64);
        w->y = malloc(widest * PANEL * sizeof *w->y + 64);
        w->packed = aligned_alloc(64, packed + 64);
        w->rows = malloc(made * PANEL + 64);
        ok = w->x && w->y && w->packed && w->rows;
    }
    return ok ? 0 : err(e, ERR_MEMORY, "out of memory for rows of %zu weights", widest);
}

/* The same type: row by row where rows are made. */
static int copy(struct job *j, struct err *e)
{
    const struct tensor *t = j->t;
    uint64_t row = dtype_row_bytes(t->type, t->ne[0]), rows = t->size_bytes / row;
    if (t->data) return gguf_write_data(j->out, t->data, (size_t)t->size_bytes, e);
    uint8_t *one = malloc((size_t)row);
    int rc = one ? 0 : err(e, ERR_MEMORY, "out of memory");
    for (uint64_t i = 0; i < rows && !rc; i++) rc = gguf_write_data(j->out, tensor_rows(t, i, 1, one), (size_t)row, e);
    free(one);
    return rc;
}

static int write_tensors(struct job *j, struct quantize_tensor *list, struct err *e)
{
    uint64_t done = 0, all = gguf_tensor_bytes(j->in);
    for (size_t i = 0; i < gguf_n_tensors(j->in); i++) {
        const struct tensor *t = gguf_tensor_at(j->in, i);
        j->t = t;
        int rc = list[i].to == t->type ? copy(j, e) : convert(j, &list[i], done, all, e);
        if (rc || (rc = cancelled(j->opt, e))) return rc;
        done += t->size_bytes;
        gguf_drop(j->in, t);
        if (j->opt->progress) j->opt->progress(j->opt->progress_ud, done, all);
    }
    return 0;
}

static int plan(struct job *j, struct quantize_tensor *list, struct err *e)
{
    bool n4 = false;
    for (size_t i = 0; i < gguf_n_tensors(j->in); i++) {
        const struct tensor *t = gguf_tensor_at(j->in, i);
        struct quantize_tensor *q = &list[i];
        *q = (struct quantize_tensor){.name = t->name, .from = t->type, .n = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]};
        int rc = target(j->in, t, j->opt, &q->to, e);
        if (!rc) rc = gguf_write_tensor(j->out, t->name, q->to, t->n_dims ? t->n_dims : 1, t->ne, e);
        if (rc) return rc;
        q->bytes = dtype_row_bytes(q->to, t->ne[0]) * t->ne[1] * t->ne[2] * t->ne[3];
        n4 |= q->to == DTYPE_N4;
    }
    write_keys(j->out, j->in, j->opt->type, j->opt->mix, n4);
    return 0;
}

int quantize_file(const struct gguf *in, const char *path, const struct quantize_options *opt,
                  struct quantize_tensor *list, struct err *e)
{
    struct job j = {.in = in, .opt = opt};
    struct quantize_tensor *own = NULL;
    must(encode_supports(opt->type) && encode_supports(opt->head));
    if (!list && !(list = own = calloc(gguf_n_tensors(in) + 1, sizeof *own)))
        return err(e, ERR_MEMORY, "out of memory");
    int rc = gguf_write_open(&j.out, path, gguf_alignment(in), e);
    if (!rc) rc = pool_create(&j.pool, opt->n_threads, e);
    if (!rc) rc = plan(&j, list, e);
    if (!rc) rc = make_workers(&j, list, e);
    if (!rc) rc = write_tensors(&j, list, e);
    if (!rc) rc = gguf_write_commit(j.out, e);
    for (int i = 0; j.workers && i < pool_size(j.pool); i++) {
        free(j.workers[i].x);
        free(j.workers[i].y);
        free(j.workers[i].packed);
        free(j.workers[i].rows);
    }
    free(j.workers);
    free(j.piece);
    free(own);
    pool_destroy(j.pool);
    gguf_write_close(j.out);
    return rc;
}
