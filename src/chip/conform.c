/* SPDX-License-Identifier: Apache-2.0 */
/* See conform.h. Models are GGUF files in memory: everything from the file's reader to the chip is the way a
 * user's model goes. */
#include "chip/conform.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "file/gguf.h"
#include "kern/contract.h"

enum {
    LAYERS = 2,
    HIDDEN = 256,
    HEADS = 4,
    KV_HEADS = 2,
    INTER = 512,
    VOCAB = 96,
    CONTEXT = 256,
    ALIGN = 32,
    FILE_MAX = 64 << 20
};
enum { RANK = 64, NOPE = 32, ROPE = 32, LATENT_V = 32 }; /* of latent attention */
enum { STRING = 8, U32 = 4, FLOAT32 = 6 }; /* GGUF's types of values */
enum { OTHERS_MAX = 3, OTHER_STEP = 3 };

/* --- a model ------------------------------------------------------------------------------------------------------ */

struct maker {
    struct buf head, data;
    uint64_t n_tensors;
};

static void put(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) buf_append_char(b, (char)(v >> 8 * i));
}

static void put_string(struct buf *b, const char *z)
{
    put(b, strlen(z), 8);
    buf_append_z(b, z);
}

static void key_u32(struct buf *b, const char *name, uint32_t type, uint32_t v)
{
    put_string(b, name);
    put(b, type, 4);
    put(b, v, 4);
}

static void tensor(struct maker *m, uint64_t *rng, const char *name, enum dtype type, uint64_t n, uint64_t rows)
{
    uint8_t row[INTER * sizeof(float)];
    put_string(&m->head, name);
    put(&m->head, rows ? 2 : 1, 4);
    put(&m->head, n, 8);
    if (rows) put(&m->head, rows, 8);
    put(&m->head, type, 4);
    put(&m->head, m->data.n, 8);
    must(dtype_row_bytes(type, n) <= sizeof row);
    for (uint64_t i = 0; i < (rows ? rows : 1); i++) {
        if (rows) contract_row(rng, type, row, (int)n);
        for (uint64_t j = 0; !rows && j < n; j++) memcpy(row + 4 * j, &(float){0.75f + 0.5f * (float)(j % 7) / 7}, 4);
        buf_append(&m->data, row, dtype_row_bytes(type, n));
    }
    while (m->data.n % ALIGN && !m->data.failed) buf_append_char(&m->data, 0);
    m->n_tensors++;
}

struct layer_tensor {
    const char *name;
    int n, rows; /* rows 0: a vector */
};

static void make_tensors(struct maker *m, enum dtype type, bool latent)
{
    static const struct layer_tensor plain[] = {{"attn_norm", HIDDEN, 0},         {"attn_q", HIDDEN, HIDDEN},
                 {"attn_k", HIDDEN, HIDDEN / HEADS * KV_HEADS}, {"attn_v", HIDDEN, HIDDEN / HEADS * KV_HEADS},
                 {"attn_output", HIDDEN, HIDDEN},  {"ffn_norm", HIDDEN, 0},
                 {"ffn_gate", HIDDEN, INTER},      {"ffn_up", HIDDEN, INTER},
                 {"ffn_down", INTER, HIDDEN}};
    static const struct layer_tensor deep[] = {{"attn_norm", HIDDEN, 0},
                                               {"attn_q", HIDDEN, HEADS * (NOPE + ROPE)},
                                               {"attn_kv_a_mqa", HIDDEN, RANK + ROPE},
                                               {"attn_kv_a_norm", RANK, 0},
                                               {"attn_kv_b", RANK, HEADS * (NOPE + LATENT_V)},
                                               {"attn_output", HEADS * LATENT_V, HIDDEN},
                                               {"ffn_norm", HIDDEN, 0},
                                               {"ffn_gate", HIDDEN, INTER},
                                               {"ffn_up", HIDDEN, INTER},
                                               {"ffn_down", INTER, HIDDEN}};
    const struct layer_tensor *layer = latent ? deep : plain;
    size_t n = latent ? sizeof deep / sizeof *deep : sizeof plain / sizeof *plain;
    uint64_t rng = 1000 + type;
    char name[64];
    tensor(m, &rng, "token_embd.weight", type, HIDDEN, VOCAB);
    for (int i = 0; i < LAYERS; i++)
        for (size_t j = 0; j < n; j++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", i, layer[j].name);
            tensor(m, &rng, name, layer[j].rows ? type : DTYPE_F32, (uint64_t)layer[j].n, (uint64_t)layer[j].rows);
        }
    tensor(m, &rng, "output_norm.weight", DTYPE_F32, HIDDEN, 0);
}

/* The file in out, whose bytes the model borrows. */
static int make_file(struct buf *out, enum dtype type, bool latent, struct err *e)
{
    static const struct {
        const char *name;
        uint32_t v;
    } keys[] = {{"block_count", LAYERS},
                {"context_length", CONTEXT},
                {"embedding_length", HIDDEN},
                {"feed_forward_length", INTER},
                {"attention.head_count", HEADS},
                {"attention.head_count_kv", KV_HEADS},
                {"attention.kv_lora_rank", RANK},
                {"attention.key_length", NOPE + ROPE},
                {"attention.value_length", LATENT_V},
                {"rope.dimension_count", ROPE}};
    enum { N_KEYS = sizeof keys / sizeof *keys, N_PLAIN = 6 };
    const char *arch = latent ? "deepseek2" : "llama";
    int n_keys = latent ? N_KEYS : N_PLAIN;
    char name[64];
    struct maker m = {.n_tensors = 0};
    float eps = 1e-5f;
    uint32_t bits;
    memcpy(&bits, &eps, sizeof bits);
    buf_init(&m.head, FILE_MAX), buf_init(&m.data, FILE_MAX), buf_init(out, FILE_MAX);
    make_tensors(&m, type, latent);
    buf_append_z(out, "GGUF");
    put(out, 3, 4), put(out, m.n_tensors, 8), put(out, (uint64_t)n_keys + 3, 8);
    put_string(out, "general.architecture"), put(out, STRING, 4), put_string(out, arch);
    for (int i = 0; i < n_keys; i++) {
        snprintf(name, sizeof name, "%s.%s", arch, keys[i].name);
        key_u32(out, name, U32, keys[i].v);
    }
    snprintf(name, sizeof name, "%s.attention.layer_norm_rms_epsilon", arch);
    key_u32(out, name, FLOAT32, bits);
    key_u32(out, "tutti.n4.version", U32, 1);
    buf_append(out, m.head.p, m.head.n);
    while (out->n % ALIGN && !out->failed) buf_append_char(out, 0);
    buf_append(out, m.data.p, m.data.n);
    int rc = m.head.failed ? m.head.failed : m.data.failed ? m.data.failed : out->failed;
    buf_finish(&m.head), buf_finish(&m.data);
    return rc ? err(e, rc, "no memory for a test model") : 0;
}

/* --- running it --------------------------------------------------------------------------------------------------- */

struct logits {
    float z[CONFORM_TOKENS][VOCAB];
    int status[CONFORM_TOKENS];
    int at;
};

static void keep(void *ud, int i_out, const float *z, int status)
{
    struct logits *l = ud;
    l->status[l->at + i_out] = status;
    for (int j = 0; j < VOCAB && !status; j++) l->z[l->at + i_out][j] = z[j] + 0.0f; /* -0 counts as +0 */
}

static int32_t token(int i)
{
    return (int32_t)((uint32_t)i * 2654435761u >> 20) % VOCAB;
}

struct other { /* a sequence in the same steps, whose logits nobody wants */
    struct kv_seq seq;
    int pos;
};

static int step(struct chip *chip, struct kv_seq *seq, struct other *others, int n_others, int at, int n,
                struct logits *out, struct err *e)
{
    int32_t ids[CONFORM_TOKENS], other_ids[OTHERS_MAX][OTHER_STEP];
    int rows[CONFORM_TOKENS], rc = kv_seq_reserve(seq, at + n, e);
    struct batch_part parts[1 + OTHERS_MAX] = {{seq, ids, n, at}};
    struct batch b = {.parts = parts, .n_parts = 1, .out = rows, .n_out = n};
    for (int i = 0; i < n; i++) ids[i] = token(at + i), rows[i] = i;
    for (int j = 0; j < n_others && !rc; j++) {
        struct other *o = &others[j];
        if (o->pos + OTHER_STEP > CONFORM_TOKENS) kv_seq_truncate(&o->seq, o->pos = 0);
        int k = 1 + j % OTHER_STEP;
        for (int i = 0; i < k; i++) other_ids[j][i] = token(7 * j + 3 + o->pos + i);
        rc = kv_seq_reserve(&o->seq, o->pos + k, e);
        parts[b.n_parts++] = (struct batch_part){&o->seq, other_ids[j], k, o->pos};
        o->pos += k;
    }
    out->at = at;
    return rc ? rc : chip_step(chip, &b, keep, out, e);
}

static int run(struct chip *chip, struct kv_pool *pool, int chunk, int n_others, struct logits *out, struct err *e)
{
    struct kv_seq seq = {0};
    struct other others[OTHERS_MAX] = {{.pos = 0}};
    int rc = kv_seq_init(&seq, pool, CONFORM_TOKENS, e);
    for (int j = 0; j < n_others && !rc; j++) rc = kv_seq_init(&others[j].seq, pool, CONFORM_TOKENS, e);
    for (int at = 0; at < CONFORM_TOKENS && !rc; at += chunk)
        rc = step(chip, &seq, others, n_others, at, CONFORM_TOKENS - at < chunk ? CONFORM_TOKENS - at : chunk, out, e);
    for (int j = 0; j < n_others; j++) kv_seq_finish(&others[j].seq);
    kv_seq_finish(&seq);
    return rc;
}

/* False: *text says where. */
static bool equal(const struct logits *got, const struct logits *want, char *text, size_t cap)
{
    for (int i = 0; i < CONFORM_TOKENS; i++) {
        if (got->status[i] != want->status[i]) {
            snprintf(text, cap, "position %d: status %d, the contract has %d", i, got->status[i], want->status[i]);
            return false;
        }
        for (int j = 0; j < VOCAB && !want->status[i]; j++) {
            uint32_t a, b;
            memcpy(&a, &got->z[i][j], 4), memcpy(&b, &want->z[i][j], 4);
            if (a == b) continue;
            snprintf(text, cap,
                     "position %d, logit %d: %08" PRIx32 " (%.9g), the contract has %08" PRIx32 " (%.9g)", i,
                     j, a, (double)got->z[i][j], b, (double)want->z[i][j]);
            return false;
        }
    }
    return true;
}

struct bench { /* of one model and width of the cache */
    struct buf file;
    struct gguf *gguf;
    struct model *model;
    struct program *program;
    struct kv_pool *pool;
    struct logits *want, *got;
};

static void bench_close(struct bench *b)
{
    kv_pool_destroy(b->pool);
    program_close(b->program);
    model_close(b->model);
    gguf_close(b->gguf);
    buf_finish(&b->file);
    free(b->want), free(b->got);
}

static int bench_open(struct bench *b, enum dtype type, bool latent, enum kv_type kv, struct err *e)
{
    struct program_options po = {.max_rows = CONFORM_TOKENS + OTHERS_MAX * OTHER_STEP, .max_out = 64};
    struct chip_options reference = {.n_threads = 1, .isa = "ref", .kv = kv};
    struct chip *chip = NULL;
    int rc;
    b->want = calloc(1, sizeof *b->want), b->got = calloc(1, sizeof *b->got);
    if (!b->want || !b->got) return err(e, ERR_MEMORY, "out of memory");
    if ((rc = make_file(&b->file, type, latent, e))) return rc;
    struct str part = buf_str(&b->file);
    if ((rc = gguf_open_memory(&b->gguf, &part, 1, e)) || (rc = model_open(&b->model, b->gguf, e)) ||
        (rc = program_compile(&b->program, b->model, &po, e)))
        return rc;
    const struct hparams *h = &b->model->h;
    struct kv_shape shape = {kv, h->n_layer, h->n_head_kv, h->head_dim, h->kv_extra};
    if ((rc = kv_pool_create(&b->pool, &shape, (1 + OTHERS_MAX) * CONTEXT, 1 + OTHERS_MAX, e)) ||
        (rc = chip_load(&chip, "cpu", b->program, &reference, e)))
        return rc;
    rc = run(chip, b->pool, CONFORM_TOKENS, 0, b->want, e);
    chip_unload(chip);
    for (int i = 0; i < CONFORM_TOKENS && !rc; i++)
        if (b->want->status[i])
            rc = err(e, ERR_INTERNAL, "test model of %s: position %d leaves the contract's range",
                     dtype_name(type), i);
    return rc;
}

static void tell(struct conform *c, const struct conform_vector *v, enum conform_end end, const char *text)
{
    c->vectors++;
    c->equal += end == CONFORM_EQUAL;
    c->unsupported += end == CONFORM_UNSUPPORTED;
    if (c->told) c->told(c->ud, v, end, text);
}

static int run_vectors(struct conform *c, struct bench *b, struct conform_vector v, enum kv_type kv, struct err *e)
{
    static const int ways[][2] = {{1, 0}, {7, 2}, {64, OTHERS_MAX}, {CONFORM_TOKENS, 0}}; /* chunk, others */
    struct chip_options opt = {.n_threads = c->n_threads, .isa = c->isa, .kv = kv};
    struct chip *chip = NULL;
    char text[256] = "";
    int rc = c->ops ? c->ops->load(&chip, b->program, &opt, e) : chip_load(&chip, c->chip, b->program, &opt, e);
    if (rc == ERR_UNSUPPORTED || rc == ERR_LIMIT) {
        tell(c, &v, CONFORM_UNSUPPORTED, e ? e->msg : "");
        return 0;
    }
    for (size_t i = 0; i < sizeof ways / sizeof *ways && !rc; i++) {
        v.chunk = ways[i][0], v.others = ways[i][1];
        if ((rc = run(chip, b->pool, v.chunk, v.others, b->got, e))) break;
        bool same = equal(b->got, b->want, text, sizeof text);
        tell(c, &v, same ? CONFORM_EQUAL : CONFORM_DIFFERS, same ? "" : text);
    }
    chip_unload(chip);
    return rc;
}

/* A model with 16-bit and with 8-bit keys and values. */
static int run_model(struct conform *c, enum dtype type, bool latent, struct err *e)
{
    int rc = 0;
    for (int bits = 16; bits >= 8 && !rc; bits -= 8) {
        struct bench b = {.want = NULL};
        enum kv_type kv = bits == 16 ? KV16 : KV8;
        rc = bench_open(&b, type, latent, kv, e);
        if (!rc)
            rc = run_vectors(
                c, &b,
                (struct conform_vector){.type = latent ? CONFORM_LATENT : dtype_name(type), .kv_bits = bits},
                kv, e);
        bench_close(&b);
    }
    return rc;
}

/* Whether models of this weight type are to be run. */
static bool wanted(const struct conform *c, uint32_t type)
{
    const struct dtype_info *info = dtype_info(type);
    return info && info->usable && (!c->type || !strcmp(c->type, info->name));
}

int conform_run(struct conform *c, struct err *e)
{
    bool latent = !c->type || !strcmp(c->type, CONFORM_LATENT);
    int rc = 0;
    c->vectors = c->equal = c->unsupported = c->done = 0, c->models = latent;
    for (uint32_t type = 0; type <= DTYPE_N4; type++) c->models += wanted(c, type);
    for (uint32_t type = 0; type <= DTYPE_N4 && !rc; type++) {
        if (!wanted(c, type)) continue;
        rc = run_model(c, (enum dtype)type, false, e);
        c->done++;
    }
    if (!rc && latent) rc = run_model(c, DTYPE_F16, true, e), c->done++;
    return rc ? rc : c->models ? 0 : err(e, ERR_USAGE, "weight type '%s' is unknown, or none to compute with", c->type);
}
