/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shards -> tensors under the names of GGUF.
 *
 * The names are looked up the other way round: for each layer and each row of `parts`, what the shards would
 * call it. What is there becomes a tensor; whether it is needed and has the right shape is the family's
 * business. A weight that found no place is an error, since a model without it would be another model.
 *
 * Vectors become F32 at once. Matrices stay in the shards; where rows have to be picked, put in another
 * order, stacked or unpacked, a maker does it when they are read (struct made):
 *
 *   turn_pairs   rotation of halves to rotation of pairs: row 2i + j of a head is its published row i + j *
 *                dim / 2
 *   rows         first + step * i: gate and up in one matrix (step 2), or one above the other
 *   groups       InternLM 2: q, k, v of each kv head lie together
 *   stacks       one published matrix per expert, or one for all
 *   pieces       Grok 2: each expert in one piece per device (stored.h)
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "kern/encode.h"
#include "folder/stored.h"

/* --- shards -------------------------------------------------------------------------------------------------- */

static int compare(struct str a, struct str b)
{
    int d = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return d ? d : a.n < b.n ? -1 : a.n > b.n;
}

static int by_name(const void *a, const void *b)
{
    const struct st_tensor *x = a, *y = b;
    int d = compare(x->name, y->name);
    return d ? d : (x->file > y->file) - (x->file < y->file);
}

/* A plain name of a file in the folder itself. */
static bool shard_name_ok(const char *s)
{
    static const char end[] = ".safetensors";
    size_t n = strlen(s);
    if (n <= sizeof end - 1 || n > 255 || s[0] == '.' || strcmp(s + n - (sizeof end - 1), end) != 0) return false;
    for (; *s; s++)
        if (*s == '/' || *s == '\\' || (unsigned char)*s < 0x20) return false;
    return true;
}

static int add_shard(struct folder *f, const char *name, struct err *e)
{
    struct st_tensor *list, *all;
    struct str file;
    size_t n, data;
    int no, rc = folder_bytes(f, name, &file, &no, e);
    if (!rc && (rc = safetensors_read(file, gguf_make_arena(f->g), &list, &n, &data, e)) && e)
        err_prefix(e, "%s", name);
    if (rc) return rc;
    gguf_make_data(f->g, no, data);
    if (n > ST_TENSORS_MAX - f->n) return err(e, ERR_LIMIT, "more than %d tensors", ST_TENSORS_MAX);
    if (f->n + n >= f->cap_t) { /* old lists stay until the end: twice as many each time */
        size_t cap = 2 * (f->n + n) + 1;
        if (!(all = gguf_make_alloc(f->g, cap * sizeof *all)))
            return err(e, ERR_MEMORY, "out of memory for %zu tensors", f->n + n);
        if (f->n) memcpy(all, f->t, f->n * sizeof *all);
        f->t = all;
        f->cap_t = cap;
    }
    for (size_t i = 0; i < n; i++) f->t[f->n + i] = list[i], f->t[f->n + i].file = no;
    f->n += n;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files that the index names, each once. */
static int add_shards(struct folder *f, json_t *map, struct err *e)
{
    const char *tensor, *list[FOLDER_SHARDS_MAX];
    json_t *file;
    int n = 0, rc = 0;
    json_object_foreach(map, tensor, file)
    {
        const char *name = json_string_value(file);
        if (!name || !shard_name_ok(name))
            return err(
                e, ERR_FORMAT,
                "model.safetensors.index.json: tensor '%.128s' lies in '%.128s': expected the name of a .safetensors file of this folder",
                tensor, name ? name : "?");
        if (n && (strcmp(name, list[n - 1]) == 0 || bsearch(&name, list, (size_t)n, sizeof *list, by_text))) continue;
        if (n == FOLDER_SHARDS_MAX)
            return err(e, ERR_LIMIT, "model.safetensors.index.json: more than %d files", FOLDER_SHARDS_MAX);
        list[n++] = name;
        qsort(list, (size_t)n, sizeof *list, by_text);
    }
    if (n == 0) return err(e, ERR_FORMAT, "model.safetensors.index.json: 'weight_map' is missing or empty");
    for (int i = 0; i < n && !rc; i++) rc = add_shard(f, list[i], e);
    return rc;
}

/* "...-TP-000.safetensors" or "...-TP-common.safetensors" */
static bool is_piece(const char *name)
{
    const char *at = strstr(name, "-TP-");
    return at && shard_name_ok(name);
}

/* Pieces come without an index: all files of the folder that are such, by name, which is the order of the devices. */
static int add_pieces(struct folder *f, struct err *e)
{
    char *list[FOLDER_SHARDS_MAX];
    int n = 0, rc = 0;
    DIR *d = opendir(f->path);
    if (!d) return err(e, ERR_IO, "cannot list the folder: %s", strerror(errno));
    for (const struct dirent *entry; !rc && (entry = readdir(d));) {
        if (!is_piece(entry->d_name)) continue;
        if (n == FOLDER_SHARDS_MAX)
            rc = err(e, ERR_LIMIT, "more than %d files '...-TP-....safetensors'", FOLDER_SHARDS_MAX);
        else if (!(list[n] = strdup(entry->d_name))) rc = err(e, ERR_MEMORY, "out of memory");
        else n++;
    }
    closedir(d);
    if (!rc && !n)
        rc = err(
            e, ERR_NOT_FOUND,
            "no file '...-TP-....safetensors' is there (family %s is published so), nor model.safetensors or its index",
            f->arch->arch);
    if (n) qsort(list, (size_t)n, sizeof *list, by_text);
    for (int i = 0; i < n && !rc; i++) rc = add_shard(f, list[i], e);
    for (int i = 0; i < n; i++) free(list[i]);
    return rc;
}

static int check_map(struct folder *f, json_t *map, struct err *e)
{
    const char *tensor;
    json_t *file;
    json_object_foreach(map, tensor, file) if (!folder_tensor(f, "%s", tensor)) return err(
        e, ERR_FORMAT, "%s: has no tensor '%.128s', which the index places there", json_string_value(file),
        tensor);
    memset(f->used, 0, f->n);
    return 0;
}

static int sort_tensors(struct folder *f, struct err *e)
{
    qsort(f->t, f->n, sizeof *f->t, by_name);
    for (size_t i = 1; i < f->n; i++)
        if (str_eq(f->t[i].name, f->t[i - 1].name) &&
            (!f->arch->split_columns || f->t[i].file == f->t[i - 1].file))
            return err(e, ERR_FORMAT, "tensor '%.*s' stands in two shards", STR_ARG(f->t[i].name));
    f->used = gguf_make_alloc(f->g, f->n + 1);
    return f->used ? 0 : err(e, ERR_MEMORY, "out of memory");
}

int folder_read_shards(struct folder *f, struct err *e)
{
    json_t *index, *map = NULL;
    int rc = folder_json(f, "model.safetensors.index.json", true, &index, e);
    if (rc) return rc;
    if (index) map = json_object_get(index, "weight_map");
    rc = index ? add_shards(f, map, e) : add_shard(f, "model.safetensors", e);
    if (rc == ERR_NOT_FOUND && !index && f->arch->split_columns)
        rc = add_pieces(f, e);
    else if (rc == ERR_NOT_FOUND && !index && e)
        err(e, rc,
            "neither model.safetensors nor model.safetensors.index.json is there: weights in other formats (.bin, .pth) are not read");
    if (!rc && !(rc = sort_tensors(f, e)) && map) rc = check_map(f, map, e);
    json_decref(index);
    return rc;
}

/* --- tensors ------------------------------------------------------------------------------------------------- */

/* Which published rows are the rows of a tensor. */
struct rows {
    uint64_t n;         /* how many; 0: all */
    uint64_t first, step;
    uint64_t head;      /* > 0: heads of so many rows, turned from halves to pairs */
    uint64_t per, jump; /* per > 0: groups of so many rows, jump apart */
};

struct made {
    struct tensor_maker maker;
    const struct stored *const *list; /* matrices, one above the other */
    struct rows rows;                 /* of each */
    size_t bytes;                     /* of a row */
};

static uint64_t published_row(const struct rows *r, uint64_t i)
{
    if (r->head) {
        uint64_t in = i % r->head;
        i = i - in + in / 2 + in % 2 * (r->head / 2);
    }
    if (r->per) i = i / r->per * r->jump + i % r->per;
    return r->first + r->step * i;
}

static void make_rows(const struct tensor_maker *maker, uint64_t row, uint64_t n, uint8_t *out)
{
    const struct made *m = (const struct made *)(const void *)maker;
    for (uint64_t i = row; i < row + n; i++, out += m->bytes)
        stored_row(m->list[i / m->rows.n], published_row(&m->rows, i % m->rows.n), out);
}

/* The last published row must be there. Picked rows are never more than there are. */
static bool rows_fit(const struct rows *r, const struct stored *s)
{
    uint64_t last = s->n;
    if (r->n == 0 || r->n > s->n || (r->head && (r->head % 2 || r->n % r->head)) || (r->per && r->n % r->per))
        return false;
    return published_row(&(struct rows){.first = r->first, .step = r->step, .per = r->per, .jump = r->jump},
                         r->n - 1) < last;
}

/* Matrices of one shape and type as one tensor; stack: with a dimension that counts them. */
static int put_matrices(struct folder *f, const char *name, const struct stored *const *list, uint64_t count,
                        bool stack, struct rows r, struct err *e)
{
    const struct stored *s = list[0];
    if (!r.n) r.n = s->n;
    if (!r.step) r.step = 1;
    if (!rows_fit(&r, s))
        return err(e, ERR_FORMAT,
                   "tensor '%s': its %" PRIu64 " published rows do not hold the %" PRIu64 " that are due",
                   name, s->n, r.n);
    for (uint64_t i = 1; i < count; i++)
        if (list[i]->type != s->type || list[i]->n != s->n || list[i]->k != s->k)
            return err(e, ERR_UNSUPPORTED, "tensor '%s': its experts differ in type or shape", name);
    struct tensor t = {.name = str_from(name),
                       .type = s->type,
                       .n_dims = stack ? 3 : 2,
                       .ne = {s->k, r.n, stack ? count : 1},
                       .file = s->file};
    if (count == 1 && s->kind == STORED_PLAIN && r.step == 1 && !r.head && !r.per && (uintptr_t)s->codes % 8 == 0) {
        uint64_t at = r.first * dtype_row_bytes(s->type, s->k);
        if (at % 8 == 0) t.data = s->codes + at;
    }
    if (!t.data) {
        struct made *m = gguf_make_alloc(f->g, sizeof *m);
        if (!m) return err(e, ERR_MEMORY, "out of memory");
        *m = (struct made){
            .maker = {make_rows}, .list = list, .rows = r, .bytes = (size_t)dtype_row_bytes(s->type, s->k)};
        t.maker = &m->maker;
    }
    return gguf_make_tensor(f->g, &t, e);
}

/* A list of pointers to n matrices that lie one after the other. */
static const struct stored **pointers(struct folder *f, const struct stored *s, uint64_t n)
{
    const struct stored **list = gguf_make_alloc(f->g, (size_t)n * sizeof *list);
    for (uint64_t i = 0; list && i < n; i++) list[i] = &s[i];
    return list;
}

/* Vectors (and stacks of them: a bias of each expert) as F32. */
static int put_vectors(struct folder *f, const char *name, const struct st_tensor *t, struct rows r,
                       bool plus_1, struct err *e)
{
    int type = stored_float_type(t->type);
    uint64_t n = t->n_dims ? t->dim[t->n_dims - 1] : 0, count = t->n_dims == 2 ? t->dim[0] : 1;
    if (type < 0 || t->n_dims < 1 || t->n_dims > 2 || n == 0 || count == 0)
        return err(e, ERR_FORMAT,
                   "tensor '%.*s': expected a vector of F32, F16 or BF16, got %d dimensions of %s",
                   STR_ARG(t->name), t->n_dims, st_type_name(t->type));
    if (!r.n) r.n = n;
    if (!r.step) r.step = 1;
    if (!rows_fit(&r, &(struct stored){.n = n}))
        return err(e, ERR_FORMAT,
                   "tensor '%s': its %" PRIu64 " published elements do not hold the %" PRIu64 " that are due",
                   name, n, r.n);
    float *x = gguf_make_alloc(f->g, (size_t)(count * r.n) * sizeof *x);
    if (!x) return err(e, ERR_MEMORY, "out of memory");
    size_t element = (size_t)st_type_bytes(t->type);
    for (uint64_t i = 0; i < count * r.n; i++) {
        encode_load_floats((enum dtype)type, &x[i], t->data + (i / r.n * n + published_row(&r, i % r.n)) * element, 1);
        if (plus_1) x[i] += 1.0f;
    }
    struct tensor out = {.name = str_from(name),
                         .type = DTYPE_F32,
                         .n_dims = (uint32_t)t->n_dims,
                         .ne = {r.n, count},
                         .data = x,
                         .file = t->file};
    return gguf_make_tensor(f->g, &out, e);
}

/* --- names --------------------------------------------------------------------------------------------------- */

enum part_kind {
    PART_MATRIX,
    PART_Q, /* heads may have to be turned */
    PART_K,
    PART_NORM,
    PART_VECTOR,
    PART_BIAS, /* a vector that is a bias of its own */
    PART_EXPERTS, /* published one by one ("%d") or as a stack */
    PART_FIRST,   /* upper half of the rows of a matrix or of each of a stack */
    PART_SECOND,  /* lower half */
    PART_EVEN,    /* every other row, from 0 */
    PART_ODD,
    PART_GROUP_Q, /* InternLM 2 */
    PART_GROUP_K,
    PART_GROUP_V,
    PART_AFTER_ATTN, /* a norm whose name depends on the architecture */
};

static const struct part {
    const char *name, *published;
    enum part_kind kind;
} parts[] = {
    {"attn_norm", "input_layernorm", PART_NORM},
    {"attn_norm", "attention_norm", PART_NORM},
    {"attn_norm", "ln_1", PART_NORM},
    {"attn_norm", "pre_attn_norm", PART_NORM},
    {"attn_output_norm", "post_attn_norm", PART_NORM},
    {"attn_q", "self_attn.q_proj", PART_Q},
    {"attn_k", "self_attn.k_proj", PART_K},
    {"attn_v", "self_attn.v_proj", PART_MATRIX},
    {"attn_output", "self_attn.o_proj", PART_MATRIX},
    {"attn_q", "attn.attention.q_proj", PART_Q},
    {"attn_k", "attn.attention.k_proj", PART_K},
    {"attn_v", "attn.attention.v_proj", PART_MATRIX},
    {"attn_output", "attn.attention.out_proj", PART_MATRIX},
    {"attn_qkv", "self_attn.qkv_proj", PART_MATRIX},
    {"attn_q", "attention.wqkv", PART_GROUP_Q},
    {"attn_k", "attention.wqkv", PART_GROUP_K},
    {"attn_v", "attention.wqkv", PART_GROUP_V},
    {"attn_output", "attention.wo", PART_MATRIX},
    {"attn_q_a", "self_attn.q_a_proj", PART_MATRIX},
    {"attn_q_a_norm", "self_attn.q_a_layernorm", PART_NORM},
    {"attn_q_b", "self_attn.q_b_proj", PART_MATRIX},
    {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa", PART_MATRIX},
    {"attn_kv_a_norm", "self_attn.kv_a_layernorm", PART_NORM},
    {"attn_kv_b", "self_attn.kv_b_proj", PART_MATRIX},
    {"attn_q_norm", "self_attn.q_norm", PART_NORM},
    {"attn_k_norm", "self_attn.k_norm", PART_NORM},
    {"attn_sinks", "self_attn.sinks", PART_VECTOR},
    {"post_attention_norm", "post_self_attn_layernorm", PART_NORM},
    {NULL, "post_attention_layernorm", PART_AFTER_ATTN},
    {"ffn_norm", "pre_feedforward_layernorm", PART_NORM},
    {"ffn_norm", "ln_2", PART_NORM},
    {"ffn_norm", "pre_moe_norm", PART_NORM},
    {"ffn_norm", "ffn_norm", PART_NORM},
    {"post_ffw_norm", "post_feedforward_layernorm", PART_NORM},
    {"post_ffw_norm", "post_mlp_layernorm", PART_NORM},
    {"post_ffw_norm", "post_moe_norm", PART_NORM},
    {"ffn_gate", "mlp.gate_proj", PART_MATRIX},
    {"ffn_up", "mlp.up_proj", PART_MATRIX},
    {"ffn_down", "mlp.down_proj", PART_MATRIX},
    {"ffn_up", "mlp.gate_up_proj", PART_MATRIX},
    {"ffn_gate", "feed_forward.w1", PART_MATRIX},
    {"ffn_up", "feed_forward.w3", PART_MATRIX},
    {"ffn_down", "feed_forward.w2", PART_MATRIX},
    {"ffn_gate", "mlp.c_fc_0", PART_MATRIX},
    {"ffn_up", "mlp.c_fc_1", PART_MATRIX},
    {"ffn_down", "mlp.c_proj", PART_MATRIX},
    {"ffn_gate_inp", "mlp.gate", PART_MATRIX},
    {"ffn_gate_inp", "mlp.router", PART_MATRIX},
    {"ffn_gate_inp", "block_sparse_moe.gate", PART_MATRIX},
    {"ffn_gate_inp", "block_sparse_moe.router.layer", PART_MATRIX},
    {"exp_probs_b", "mlp.gate.e_score_correction_bias", PART_BIAS},
    {"ffn_gate_exps", "mlp.experts.%d.gate_proj", PART_EXPERTS},
    {"ffn_up_exps", "mlp.experts.%d.up_proj", PART_EXPERTS},
    {"ffn_down_exps", "mlp.experts.%d.down_proj", PART_EXPERTS},
    {"ffn_gate_exps", "block_sparse_moe.experts.%d.w1", PART_EXPERTS},
    {"ffn_up_exps", "block_sparse_moe.experts.%d.w3", PART_EXPERTS},
    {"ffn_down_exps", "block_sparse_moe.experts.%d.w2", PART_EXPERTS},
    {"ffn_gate_exps", "block_sparse_moe.input_linear", PART_FIRST},
    {"ffn_up_exps", "block_sparse_moe.input_linear", PART_SECOND},
    {"ffn_down_exps", "block_sparse_moe.output_linear", PART_EXPERTS},
    {"ffn_gate_exps", "mlp.experts.gate_up_proj", PART_EVEN},
    {"ffn_up_exps", "mlp.experts.gate_up_proj", PART_ODD},
    {"ffn_down_exps", "mlp.experts.down_proj", PART_EXPERTS},
    {"ffn_gate_shexp", "mlp.shared_expert.gate_proj", PART_MATRIX},
    {"ffn_up_shexp", "mlp.shared_expert.up_proj", PART_MATRIX},
    {"ffn_down_shexp", "mlp.shared_expert.down_proj", PART_MATRIX},
    {"ffn_gate_shexp", "mlp.shared_experts.gate_proj", PART_MATRIX},
    {"ffn_up_shexp", "mlp.shared_experts.up_proj", PART_MATRIX},
    {"ffn_down_shexp", "mlp.shared_experts.down_proj", PART_MATRIX},
    {"ffn_gate_shexp", "shared_mlp.input_linear", PART_FIRST},
    {"ffn_up_shexp", "shared_mlp.input_linear", PART_SECOND},
    {"ffn_down_shexp", "shared_mlp.output_linear", PART_MATRIX},
    {"ffn_gate_inp_shexp", "mlp.shared_expert_gate", PART_MATRIX},
};

/* Before "layers.N." and its like. */
static const char *const roots[] = {"model.", "language_model.model.", "model.language_model.", "transformer."};

struct heads {
    uint64_t q, kv, dim;
};

/* Rows of a part, of a published matrix (or vector) of n rows. */
static struct rows part_rows(const struct folder *f, enum part_kind kind, const struct heads *h, uint64_t n)
{
    uint64_t turn = f->arch->turn_pairs ? h->dim : 0, per = h->kv ? h->q / h->kv * h->dim : 0, jump = per + 2 * h->dim;
    switch (kind) {
    case PART_Q:
    case PART_K: return (struct rows){.head = turn};
    case PART_FIRST: return (struct rows){.n = n / 2};
    case PART_SECOND: return (struct rows){.n = n / 2, .first = n / 2};
    case PART_EVEN: return (struct rows){.n = n / 2, .step = 2};
    case PART_ODD: return (struct rows){.n = n / 2, .step = 2, .first = 1};
    case PART_GROUP_Q: return (struct rows){.n = h->q * h->dim, .head = turn, .per = per, .jump = jump};
    case PART_GROUP_K:
        return (struct rows){.n = h->kv * h->dim, .head = turn, .per = h->dim, .jump = jump, .first = per};
    case PART_GROUP_V: return (struct rows){.n = h->kv * h->dim, .per = h->dim, .jump = jump, .first = per + h->dim};
    default: return (struct rows){0};
    }
}

/* One expert after the other. */
static int put_experts(struct folder *f, const char *name, const char *before, const char *after, struct err *e)
{
    struct stored **list = gguf_make_alloc(f->g, FOLDER_EXPERTS_MAX * sizeof *list);
    uint64_t n = 0, count;
    bool wide = false;
    if (!list) return err(e, ERR_MEMORY, "out of memory");
    for (; n < FOLDER_EXPERTS_MAX; n++) {
        struct path base; /* merely a text of bounded length */
        struct stored *s = NULL;
        int rc = path_format(&base, e, "%s%" PRIu64 "%s", before, n, after);
        if (!rc) rc = stored_find(f, base.z, &s, &count, e);
        if (rc) return rc;
        if (!s) break;
        wide |= s->type == DTYPE_Q5_0;
        list[n] = s;
    }
    for (uint64_t i = 0; i < n && wide; i++) stored_widen(list[i]); /* a stack has one type */
    return n ? put_matrices(f, name, (const struct stored *const *)list, n, true, (struct rows){0}, e) : 0;
}

static int put_linear(struct folder *f, const char *prefix, const struct part *p, const char *base,
                      const struct heads *h, struct err *e)
{
    char name[64];
    struct stored *s;
    const struct st_tensor *bias;
    uint64_t count;
    int rc = stored_find(f, base, &s, &count, e);
    if (rc) return rc;
    snprintf(name, sizeof name, "%s%s.weight", prefix, p->name);
    if (s) {
        bool stack = strstr(p->name, "_exps") != NULL;
        const struct stored **list = pointers(f, s, count);
        if (!list) return err(e, ERR_MEMORY, "out of memory");
        if (count > 1 && !stack)
            return err(e, ERR_FORMAT, "tensor '%s.weight': expected a matrix, got a stack of %" PRIu64, base,
                       count);
        if ((rc = put_matrices(f, name, list, count, stack, part_rows(f, p->kind, h, s->n), e))) return rc;
    }
    if (!(bias = folder_tensor(f, "%s.bias", base)) && !(bias = folder_tensor(f, "%s_bias", base))) return 0;
    snprintf(name, sizeof name, "%s%s.bias", prefix, p->name);
    return put_vectors(f, name, bias,
                       part_rows(f, p->kind, h, bias->n_dims ? bias->dim[bias->n_dims - 1] : 0), false, e);
}

static int put_norm(struct folder *f, const char *prefix, const char *own, const char *base, struct err *e)
{
    char name[64];
    const struct st_tensor *t = folder_tensor(f, "%s.weight", base);
    snprintf(name, sizeof name, "%s%s.weight", prefix, own);
    return t ? put_vectors(f, name, t, (struct rows){0}, f->arch->norm_plus_1, e) : 0;
}

/* root: "model.layers.3."; prefix: "blk.3." */
static int put_part(struct folder *f, const char *root, const char *prefix, const struct part *p,
                    const struct heads *h, struct err *e)
{
    char base[ST_NAME_MAX], name[64];
    const char *mark = strstr(p->published, "%d");
    const struct st_tensor *t;
    if (mark) {
        snprintf(base, sizeof base, "%s%.*s", root, (int)(mark - p->published), p->published);
        snprintf(name, sizeof name, "%s%s.weight", prefix, p->name);
        return put_experts(f, name, base, mark + 2, e);
    }
    snprintf(base, sizeof base, "%s%s", root, p->published);
    switch (p->kind) {
    case PART_NORM: return put_norm(f, prefix, p->name, base, e);
    case PART_AFTER_ATTN: return put_norm(f, prefix, f->arch->after_attn ? f->arch->after_attn : "ffn_norm", base, e);
    case PART_VECTOR:
    case PART_BIAS:
        snprintf(name, sizeof name, "%s%s.%s", prefix, p->name, p->kind == PART_BIAS ? "bias" : "weight");
        return (t = folder_tensor(f, "%s", base)) ? put_vectors(f, name, t, (struct rows){0}, false, e) : 0;
    default: return put_linear(f, prefix, p, base, h, e);
    }
}

static int put_layers(struct folder *f, const char *root, const struct heads *h, int n_layer, struct err *e)
{
    const char *layers = strcmp(root, "transformer.") == 0 ? "h" : "layers";
    for (int l = 0; l < n_layer; l++) {
        char from[64], to[32];
        snprintf(from, sizeof from, "%s%s.%d.", root, layers, l);
        snprintf(to, sizeof to, "blk.%d.", l);
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            int rc = put_part(f, from, to, &parts[i], h, e);
            if (rc) return rc;
        }
    }
    return 0;
}

static int put_ends(struct folder *f, const char *root, struct err *e)
{
    static const struct part ends[] = {
        {"token_embd", "embed_tokens", PART_MATRIX}, {"token_embd", "tok_embeddings", PART_MATRIX},
        {"token_embd", "wte", PART_MATRIX},          {"output_norm", "norm", PART_NORM},
        {"output_norm", "ln_f", PART_NORM},
    };
    static const struct part head = {"output", NULL, PART_MATRIX};
    static const struct heads none = {0};
    static const char *const heads[] = {"lm_head", "language_model.lm_head", "model.lm_head", "output"};
    int rc;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if ((rc = put_part(f, root, "", &ends[i], &none, e))) return rc;
    const json_t *tied = folder_value(f, "tie_word_embeddings");
    if (!tied) tied = json_object_get(f->config, "tie_word_embeddings");
    bool found = !json_is_false(tied);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        found = found || folder_tensor(f, "%s.weight", heads[i]) || folder_tensor(f, "%s.qweight", heads[i]);
        if (json_is_true(tied))
            folder_tensor(f, "%s.weight", heads[i]); /* a copy of the embedding */
        else if ((rc = put_linear(f, "", &head, heads[i], &none, e)))
            return rc;
    }
    return found
               ? 0
               : err(e, ERR_FORMAT,
                     "config.json says that the head is a tensor of its own (tie_word_embeddings false), but there is no 'lm_head.weight'");
}

/* --- what is left ---------------------------------------------------------------------------------------------- */

/* Not part of the language model, or computed anew. */
static bool may_be_left(struct str name)
{
    static const char *const begins[] = {
        "vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.",
        "visual.",       "model.visual."};
    static const char *const ends[] = {".rotary_emb.inv_freq", ".input_scale", ".input_global_scale",
                                       ".k_scale", ".v_scale"}; /* scales: of activations, which are
                                                                 * quantised by the contract */
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (str_starts(name, str_from(begins[i]))) return true;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]);
        if (name.n >= n && memcmp(name.p + name.n - n, ends[i], n) == 0) return true;
    }
    return false;
}

/* A layer behind the last one, which predicts further tokens. */
static bool is_nextn(const struct folder *f, struct str name, const char *root, int n_layer)
{
    char begin[64];
    const json_t *n = folder_value(f, "num_nextn_predict_layers");
    for (int i = 0; n && i < json_integer_value(n) && i < FOLDER_LAYERS_MAX; i++) {
        snprintf(begin, sizeof begin, "%slayers.%d.", root, n_layer + i);
        if (str_starts(name, str_from(begin))) return true;
    }
    return false;
}

static int check_left(const struct folder *f, const char *root, int n_layer, struct err *e)
{
    for (size_t i = 0; i < f->n; i++)
        if (!f->used[i] && !may_be_left(f->t[i].name) && !is_nextn(f, f->t[i].name, root, n_layer))
            return err(e, ERR_UNSUPPORTED,
                       "tensor '%.*s' has no place in family %s: a model without it would be another one",
                       STR_ARG(f->t[i].name), f->arch->arch);
    return 0;
}

static uint64_t count_of(const struct folder *f, const char *names, uint64_t fallback)
{
    const json_t *j = folder_value(f, names);
    return j ? (uint64_t)json_number_value(j) : fallback; /* read_config found it to be a count */
}

int folder_read_tensors(struct folder *f, struct err *e)
{
    uint64_t n_layer = count_of(f, "num_hidden_layers|num_layers|n_layer", 0);
    struct heads h = {.q = count_of(f, "num_attention_heads", 1)};
    h.kv = count_of(f, "num_key_value_heads", h.q);
    h.dim = count_of(f, "head_dim", h.q ? count_of(f, "hidden_size", 0) / h.q : 0);
    const char *root = NULL;
    int rc;
    if (n_layer > FOLDER_LAYERS_MAX || !h.q || !h.kv || h.q > UINT16_MAX || h.dim > UINT16_MAX || h.q % h.kv)
        return err(e, ERR_LIMIT,
                   "config.json: %" PRIu64 " layers, %" PRIu64 " heads of %" PRIu64 ", %" PRIu64 " kv heads",
                   n_layer, h.q, h.dim, h.kv);
    for (size_t i = 0; i < sizeof roots / sizeof *roots && !root; i++)
        if (folder_tensor(f, "%sembed_tokens.weight", roots[i]) ||
            folder_tensor(f, "%stok_embeddings.weight", roots[i]) ||
            folder_tensor(f, "%swte.weight", roots[i]))
            root = roots[i];
    if (!root) return err(e, ERR_FORMAT, "no tensor 'model.embed_tokens.weight', nor one of its other names");
    if ((rc = put_ends(f, root, e)) || (rc = put_layers(f, root, &h, (int)n_layer, e))) return rc;
    return check_left(f, root, (int)n_layer, e);
}
