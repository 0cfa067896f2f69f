/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and nodes for family files: see build.h. */
#include "model/build.h"

#include <stdio.h>
#include "kern/attn.h"
#include "kern/num.h"

/* --- keys --------------------------------------------------------------------------------------------------- */

struct key_name {
    char z[160];
};

static struct key_name name_of(const struct model *m, const char *key)
{
    struct key_name n;
    snprintf(n.z, sizeof n.z, "%.*s.%s", STR_ARG(m->h.arch), key);
    return n;
}

int key_u32(struct model *m, const char *key, int max, int *out, struct err *e)
{
    struct key_name name = name_of(m, key);
    uint32_t v;
    int rc = gguf_get_u32(m->file, name.z, &v, e);
    if (rc) return rc;
    if (v < 1 || v > (uint32_t)max) return err(e, ERR_LIMIT, "key '%s': %u is outside 1..%d", name.z, v, max);
    *out = (int)v;
    return 0;
}

int key_opt_u32(struct model *m, const char *key, int fallback, int max, int *out, struct err *e)
{
    *out = fallback;
    return key_present(m, key) ? key_u32(m, key, max, out, e) : 0;
}

int key_opt_f32(struct model *m, const char *key, float fallback, float *out, struct err *e)
{
    struct key_name name = name_of(m, key);
    int rc = gguf_opt_f32(m->file, name.z, fallback, out, e);
    if (!rc && abs_bits(*out) >= ARITH_RANGE)
        rc = err(e, ERR_FORMAT, "key '%s': NaN, infinite or at least 2^60", name.z);
    return rc;
}

int key_opt_bool(struct model *m, const char *key, bool fallback, bool *out, struct err *e)
{
    return gguf_opt_bool(m->file, name_of(m, key).z, fallback, out, e);
}

int key_opt_count(struct model *m, const char *key, int max, int *out, struct err *e)
{
    struct key_name name = name_of(m, key);
    uint32_t v;
    int rc = gguf_opt_u32(m->file, name.z, 0, &v, e);
    if (rc) return rc;
    if (v > (uint32_t)max) return err(e, ERR_LIMIT, "key '%s': %u is outside 0..%d", name.z, v, max);
    *out = (int)v;
    return 0;
}

int key_window(struct model *m, int *out, struct err *e)
{
    return key_opt_count(m, "attention.sliding_window", MODEL_CTX_MAX, out, e);
}

int key_cap(struct model *m, const char *key, float *out, struct err *e)
{
    int rc = key_opt_f32(m, key, 0.0f, out, e);
    if (!rc && *out != 0.0f && !(*out >= 0x1p-20f && *out <= 0x1p40f))
        rc = err(e, ERR_FORMAT, "key '%s': %g is outside [2^-20, 2^40]", name_of(m, key).z, (double)*out);
    return rc;
}

bool key_present(struct model *m, const char *key)
{
    return gguf_find(m->file, name_of(m, key).z) != NULL;
}

/* --- hyper-parameters --------------------------------------------------------------------------------------- */

static int read_yarn(struct model *m, struct rope_config *c, struct err *e)
{
    int orig, rc;
    if ((rc = key_opt_u32(m, "rope.scaling.original_context_length", m->h.n_ctx_train, MODEL_CTX_MAX, &orig, e)) ||
        (rc = key_opt_f32(m, "rope.scaling.attn_factor", 1.0f, &c->attn, e)) ||
        (rc = key_opt_f32(m, "rope.scaling.yarn_beta_fast", 32.0f, &c->beta_fast, e)) ||
        (rc = key_opt_f32(m, "rope.scaling.yarn_beta_slow", 1.0f, &c->beta_slow, e)))
        return rc;
    c->orig_ctx = (float)orig;
    return 0;
}

static int read_factors(struct model *m, const char *name, int dim, const float **out, struct err *e)
{
    const struct tensor *f = gguf_tensor(m->file, name);
    if (!f) return 0;
    if (f->ne[0] != (uint64_t)dim / 2 || f->n_dims != 1)
        return err(e, ERR_FORMAT, "tensor '%s': expected %d elements, got %llu", name, dim / 2,
                   (unsigned long long)f->ne[0]);
    *out = model_floats(m, f, e);
    return *out ? 0 : ERR_FORMAT;
}

/* Long and short factors (Phi): those of the file's context now, of the one in use by model_use_context. */
static int read_longrope(struct model *m, struct rope_config *c, struct err *e)
{
    int orig, rc;
    if (!gguf_tensor(m->file, "rope_factors_long.weight") &&
        !gguf_tensor(m->file, "rope_factors_short.weight"))
        return 0;
    if ((rc = key_opt_u32(m, "rope.scaling.original_context_length", m->h.n_ctx_train, MODEL_CTX_MAX, &orig, e)) ||
        (rc = key_opt_f32(m, "rope.scaling.attn_factor", 1.0f, &c->attn, e)))
        return rc;
    if ((rc = read_factors(m, "rope_factors_short.weight", c->dim, &m->h.factors[0], e)) ||
        (rc = read_factors(m, "rope_factors_long.weight", c->dim, &m->h.factors[1], e)))
        return rc;
    m->h.ctx_short = orig;
    model_use_context(m, m->h.n_ctx_train, ROTATION_OF_CONTEXT);
    return 0;
}

/* Values that rope_init checks are not checked here. */
static int read_rope(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    struct rope_config *c = &h->rope[0];
    struct str type;
    int rc;
    *c = rope_config_default(0, 0);
    h->n_rope = 1;
    if ((rc = key_opt_u32(m, "rope.dimension_count", h->head_dim, h->kv_extra ? h->kv_extra : h->head_dim,
                          &c->dim, e)) ||
        (rc = key_opt_f32(m, "rope.freq_base", 10000.0f, &c->base, e)) ||
        (rc = gguf_opt_str(m->file, name_of(m, "rope.scaling.type").z, STR("none"), &type, e)) ||
        (rc = key_opt_f32(m, "rope.scaling.factor", 1.0f, &c->factor, e)))
        return rc;
    if (!key_present(m, "rope.scaling.factor") && key_present(m, "rope.scale_linear")) { /* the old name */
        if ((rc = key_opt_f32(m, "rope.scale_linear", 1.0f, &c->factor, e))) return rc;
        type = STR("linear");
    }
    if (str_eqz(type, "none") || str_eqz(type, "longrope"))
        c->scaling = ROPE_PLAIN, c->factor = 1.0f;
    else if (str_eqz(type, "linear"))
        c->scaling = ROPE_LINEAR;
    else if (str_eqz(type, "yarn"))
        c->scaling = ROPE_YARN;
    else
        return err(e, ERR_UNSUPPORTED, "key '%s': '%.*s' is not supported (none, linear, yarn, longrope are)",
                   name_of(m, "rope.scaling.type").z, STR_ARG(type));
    if (c->scaling == ROPE_YARN && (rc = read_yarn(m, c, e))) return rc;
    if ((rc = read_factors(m, "rope_freqs.weight", c->dim, &c->freq_factors, e))) return rc; /* Llama 3 */
    return read_longrope(m, c, e);
}

static int read_heads(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    int rc, v_dim;
    if ((rc = key_opt_u32(m, "attention.head_count_kv", h->n_head, h->n_head, &h->n_head_kv, e)) ||
        (rc = key_opt_u32(m, "attention.key_length", h->n_embd / h->n_head, 512, &h->head_dim, e)))
        return rc;
    if (h->n_head % h->n_head_kv)
        return err(e, ERR_FORMAT, "%d heads cannot share %d kv heads evenly", h->n_head, h->n_head_kv);
    if (!key_present(m, "attention.key_length") && h->n_embd % h->n_head)
        return err(e, ERR_FORMAT, "embedding length %d is not a multiple of %d heads", h->n_embd, h->n_head);
    if ((rc = key_opt_u32(m, "attention.value_length", h->head_dim, MODEL_WIDTH_MAX, &v_dim, e))) return rc;
    if (v_dim != h->head_dim)
        return err(e, ERR_UNSUPPORTED, "value length %d differs from key length %d", v_dim, h->head_dim);
    if (h->head_dim % 16) return err(e, ERR_UNSUPPORTED, "head size %d is not a multiple of 16", h->head_dim);
    h->attn_scale = 1.0f / sqrt32((float)h->head_dim);
    return 0;
}

static int read_sizes(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    int rc;
    if ((rc = key_u32(m, "block_count", MODEL_LAYERS_MAX, &h->n_layer, e)) ||
        (rc = key_u32(m, "context_length", MODEL_CTX_MAX, &h->n_ctx_train, e)) ||
        (rc = key_u32(m, "embedding_length", MODEL_WIDTH_MAX, &h->n_embd, e)) ||
        (rc = key_u32(m, "feed_forward_length", MODEL_WIDTH_MAX, &h->n_ff, e)) ||
        (rc = key_u32(m, "attention.head_count", MODEL_HEADS_MAX, &h->n_head, e)) ||
        (rc = gguf_get_f32(m->file, name_of(m, "attention.layer_norm_rms_epsilon").z, &h->norm_eps, e)))
        return rc;
    if (!(h->norm_eps >= 0x1p-60f && h->norm_eps < 1.0f))
        return err(e, ERR_FORMAT, "layer_norm_rms_epsilon %g is outside [2^-60, 1)", (double)h->norm_eps);
    const struct tensor *embd = gguf_tensor(m->file, "token_embd.weight");
    if (!embd) return err(e, ERR_FORMAT, "tensor 'token_embd.weight' is missing");
    if (embd->ne[1] < 1 || embd->ne[1] > MODEL_VOCAB_MAX)
        return err(e, ERR_LIMIT, "vocabulary of %llu tokens is outside 1..%d",
                   (unsigned long long)embd->ne[1], MODEL_VOCAB_MAX);
    h->n_vocab = (int)embd->ne[1];
    return 0;
}

int hparams_read(struct model *m, struct err *e)
{
    bool causal;
    int rc;
    if ((rc = read_sizes(m, e)) || (rc = read_heads(m, e)) ||
        (rc = key_opt_bool(m, "attention.causal", true, &causal, e)))
        return rc;
    if (!causal)
        return err(e, ERR_UNSUPPORTED, "key '%s' is false: attention to both sides is not supported",
                   name_of(m, "attention.causal").z);
    return read_rope(m, e);
}

int hparams_read_latent(struct model *m, struct latent *l, struct err *e)
{
    struct hparams *h = &m->h;
    bool split = key_present(
        m, "attention.key_length_mla"); /* else the files before 2025-04: sizes of the plain heads */
    int k, rc;
    if ((rc = read_sizes(m, e)) ||
        (rc = key_opt_count(m, "attention.q_lora_rank", MODEL_WIDTH_MAX, &l->q_rank, e)) ||
        (rc = key_u32(m, "attention.kv_lora_rank", MODEL_WIDTH_MAX, &l->rank, e)) ||
        (rc = key_u32(m, split ? "attention.key_length_mla" : "attention.key_length",
                      MODEL_WIDTH_MAX / h->n_head, &k, e)) ||
        (rc = key_u32(m, split ? "attention.value_length_mla" : "attention.value_length",
                      MODEL_WIDTH_MAX / h->n_head, &l->v, e)) ||
        (rc = key_u32(m, "rope.dimension_count", k, &h->kv_extra, e)))
        return rc;
    l->nope = k - h->kv_extra;
    if (l->nope < 32 || l->nope % 32 || l->v % 16)
        return err(
            e, ERR_UNSUPPORTED,
            "latent attention with heads of %d + %d and values of %d: expected multiples of 32, 16 and 16",
            l->nope, h->kv_extra, l->v);
    if (!kv_supports(l->rank, h->kv_extra) || l->rank % 32 || (int64_t)l->rank * h->n_head > MODEL_WIDTH_MAX)
        return err(e, ERR_UNSUPPORTED,
                   "latent attention of rank %d with %d rotated dimensions is not supported", l->rank,
                   h->kv_extra);
    h->head_dim = l->rank, h->n_head_kv = 1;
    h->attn_scale = 1.0f / sqrt32((float)k);
    return read_rope(m, e);
}

/* --- tensors and nodes -------------------------------------------------------------------------------------- */

static struct key_name tensor_name(const struct builder *b, const char *what)
{
    struct key_name n;
    if (b->layer < 0)
        snprintf(n.z, sizeof n.z, "%s", what);
    else
        snprintf(n.z, sizeof n.z, "blk.%d.%s", b->layer, what);
    return n;
}

const struct tensor *build_tensor(struct builder *b, bool optional, int64_t n0, int64_t n1, const char *what)
{
    if (b->rc) return NULL;
    if (b->e) b->e->code = 0;
    struct err none = {0}, *e = b->e ? b->e : &none;
    const struct tensor *t = model_tensor(b->m, optional, n0, n1, e, "%s", tensor_name(b, what).z);
    if (!t && (!optional || e->code)) b->rc = ERR_FORMAT;
    return t;
}

bool build_present(struct builder *b, const char *what)
{
    return gguf_tensor(b->m->file, tensor_name(b, what).z) != NULL;
}

int build_value(struct builder *b, const char *name, int width)
{
    int v = b->rc ? -1 : graph_value(b->m, name, width);
    if (v < 0 && !b->rc) b->rc = err(b->e, ERR_MEMORY, "out of memory");
    return v;
}

struct node *build_node(struct builder *b, enum op op, int in0, int in1, int in2, int out)
{
    if (b->rc) return NULL;
    struct node *n = graph_node(b->m, op, in0, in1, in2, out);
    if (!n)
        b->rc = err(b->e, ERR_MEMORY, "out of memory");
    else
        n->layer = b->layer;
    return n;
}

static int width_of(const struct builder *b, int x)
{
    return b->rc ? 1 : b->m->graph.values[x].width;
}

int build_norm(struct builder *b, int x, const char *name, int n_head)
{
    char file[64];
    int n = width_of(b, x);
    snprintf(file, sizeof file, "%s.weight", name);
    const struct tensor *w = build_tensor(b, false, n_head ? n / n_head : n, 0, file);
    int y = build_value(b, "norm", n);
    struct node *node = build_node(b, OP_NORM, x, -1, -1, y);
    if (node) node->w = w, node->n_head = n_head;
    return y;
}

/* One factor of a whole matrix, which NVFP4 files have. */
static void own_scale(struct builder *b, int y, const char *name, const struct tensor *bias)
{
    char file[64];
    snprintf(file, sizeof file, "%s.scale", name);
    const struct tensor *t = build_tensor(b, true, 1, 0, file);
    const float *scale = t && !b->rc ? model_floats(b->m, t, b->e) : NULL;
    if (!t || b->rc) return;
    if (!scale) {
        b->rc = ERR_FORMAT;
        return;
    }
    if (bias)
        b->rc = err(b->e, ERR_UNSUPPORTED, "tensor '%s': a matrix with a scale and a bias",
                    tensor_name(b, file).z);
    build_scale(b, y, *scale);
}

int build_linear_rows(struct builder *b, int x, const char *name, const char *out_name, int row0, int n_out, int n_all)
{
    char file[64];
    snprintf(file, sizeof file, "%s.weight", name);
    const struct tensor *w = build_tensor(b, false, width_of(b, x), n_all, file);
    snprintf(file, sizeof file, "%s.bias", name);
    const struct tensor *bias = build_tensor(b, true, n_all, 0, file);
    if (!b->rc && n_out < n_all) {
        w = model_rows(b->m, w, (uint64_t)row0, (uint64_t)n_out);
        if (bias) bias = model_part(b->m, bias, (uint64_t)row0, (uint64_t)n_out);
        if (!w || (!bias && build_present(b, file))) b->rc = err(b->e, ERR_MEMORY, "out of memory");
    }
    int y = build_value(b, out_name, n_out);
    struct node *node = build_node(b, OP_MATMUL, x, -1, -1, y);
    if (node) node->w = w, node->bias = bias;
    own_scale(b, y, name, bias);
    return y;
}

int build_linear(struct builder *b, int x, const char *name, const char *out_name, int n_out)
{
    return build_linear_rows(b, x, name, out_name, 0, n_out, n_out);
}

/* A tensor of dims elements, whose last dimension counts experts. */
static const struct tensor *expert_stack(struct builder *b, bool optional, const char *what, int n_dims,
                                         const int64_t *dims)
{
    if (b->rc) return NULL;
    struct key_name name = tensor_name(b, what);
    const struct tensor *t = gguf_tensor(b->m->file, name.z);
    if (!t && !optional) b->rc = err(b->e, ERR_FORMAT, "tensor '%s' is missing", name.z);
    if (!t) return NULL;
    bool fits = (int)t->n_dims == n_dims;
    for (int i = 0; fits && i < n_dims; i++) fits = t->ne[i] == (uint64_t)dims[i];
    if (fits) return t;
    b->rc = err(
        b->e, ERR_FORMAT,
        "tensor '%s': expected %d dimensions, the first %lld, the last %lld (experts); got %u, %llu, %llu",
        name.z, n_dims, (long long)dims[0], (long long)dims[n_dims - 1], t->n_dims,
        (unsigned long long)t->ne[0], (unsigned long long)t->ne[t->n_dims - 1]);
    return NULL;
}

/* The layers of a stack, or NULL if there is none. */
static const struct tensor *const *expert_list(struct builder *b, const struct tensor *stack, int n)
{
    const struct tensor **list = stack && !b->rc ? ARENA_NEW(&b->m->arena, const struct tensor *, (size_t)n) : NULL;
    for (int i = 0; i < n && list; i++)
        if (!(list[i] = model_layer(b->m, stack, (uint64_t)i))) list = NULL;
    if (stack && !list && !b->rc) b->rc = err(b->e, ERR_MEMORY, "out of memory");
    return list;
}

/* One tensor per expert, as files before 2024-04 have them. */
static const struct tensor *const *single_experts(struct builder *b, const char *name, int64_t k, int64_t n_out, int n)
{
    const struct tensor **list = b->rc ? NULL : ARENA_NEW(&b->m->arena, const struct tensor *, (size_t)n);
    for (int i = 0; i < n && list; i++) {
        char what[64];
        snprintf(what, sizeof what, "%s.%d.weight", name, i);
        list[i] = build_tensor(b, false, k, n_out, what);
        if (list[i] && list[i]->type != list[0]->type)
            b->rc = err(b->e, ERR_UNSUPPORTED, "tensor '%s': the experts of a layer are of different types",
                        tensor_name(b, what).z);
    }
    if (!list && !b->rc) b->rc = err(b->e, ERR_MEMORY, "out of memory");
    return list;
}

int build_experts(struct builder *b, int x, int route, const struct route *r, const char *name,
                  const char *out_name, int n_out)
{
    char file[64];
    int64_t k = width_of(b, x), dims[] = {k, n_out, r->n_expert}, bias_dims[] = {n_out, r->n_expert};
    snprintf(file, sizeof file, "%s.0.weight", name);
    bool single = build_present(b, file);
    snprintf(file, sizeof file, "%s_exps.weight", name);
    const struct tensor *const *ws = single ? single_experts(b, name, k, n_out, r->n_expert)
                                            : expert_list(b, expert_stack(b, false, file, 3, dims), r->n_expert);
    snprintf(file, sizeof file, "%s_exps.scale", name);
    if (!b->rc && build_present(b, file))
        b->rc = err(b->e, ERR_UNSUPPORTED, "tensor '%s': experts with a scale of their own",
                    tensor_name(b, file).z);
    snprintf(file, sizeof file, "%s_exps.bias", name);
    const struct tensor *const *biases = expert_list(b, expert_stack(b, true, file, 2, bias_dims), r->n_expert);
    int y = build_value(b, out_name, n_out);
    struct node *n = build_node(b, OP_EXPERTS, x, route, -1, y);
    if (!n) return y;
    n->ws = ws, n->biases = biases, n->route = r;
    b->m->graph.values[y].slots = r->n_used;
    return y;
}

int build_take(struct builder *b, int x, int n_head, int from, int n, const char *out_name)
{
    int y = build_value(b, out_name, n_head * n);
    struct node *node = build_node(b, OP_TAKE, x, -1, -1, y);
    if (node) node->n_head = n_head, node->from = from;
    return y;
}

/* One matrix for each head. */
static int heads_node(struct builder *b, int x, const struct tensor *const *ws, bool turned, int n_out,
                      const char *out_name)
{
    int n_head = b->m->h.n_head, y = build_value(b, out_name, n_head * n_out);
    struct node *n = build_node(b, OP_HEADS, x, -1, -1, y);
    if (n) n->n_head = n_head, n->ws = ws, n->turned = turned;
    return y;
}

int build_heads(struct builder *b, int x, const char *name, const char *out_name, int n_out)
{
    int64_t n_head = b->m->h.n_head, dims[] = {width_of(b, x) / n_head, n_out, n_head};
    return heads_node(b, x, expert_list(b, expert_stack(b, false, name, 3, dims), (int)n_head), false, n_out, out_name);
}

int build_heads_rows(struct builder *b, int x, const char *name, const char *out_name,
                     const struct head_rows *r, bool turned)
{
    int n_head = b->m->h.n_head;
    const struct tensor *t = build_tensor(b, false, r->k, (int64_t)n_head * r->per_head, name);
    const struct tensor **list = b->rc ? NULL : ARENA_NEW(&b->m->arena, const struct tensor *, (size_t)n_head);
    for (int i = 0; i < n_head && list; i++)
        if (!(list[i] = model_rows(b->m, t, (uint64_t)i * (uint64_t)r->per_head + (uint64_t)r->from,
                                   (uint64_t)r->n)))
            list = NULL;
    if (!list && !b->rc) b->rc = err(b->e, ERR_MEMORY, "out of memory");
    return heads_node(b, x, list, turned, turned ? r->k : r->n, out_name);
}

void build_rope(struct builder *b, int x, int n_head, int rope)
{
    struct node *n = build_node(b, OP_ROPE, x, -1, -1, x);
    if (n) n->n_head = n_head, n->rope = rope;
}

void build_add(struct builder *b, int x, int y)
{
    build_node(b, OP_ADD, x, y, -1, x);
}

void build_scale(struct builder *b, int x, float scale)
{
    if (scale == 1.0f) return;
    struct node *n = build_node(b, OP_SCALE, x, -1, -1, x);
    if (n) n->scale = scale;
}
