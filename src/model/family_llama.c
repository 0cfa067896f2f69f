/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The llama family: Llama 2 and 3.x, SmolLM2, Mistral and everything else that ships as architecture "llama" without
 * experts. Per layer: norm, q/k/v, rotation, grouped-query attention, output projection, residual; norm, SwiGLU,
 * residual. Biases where the file has them; tied embeddings if output.weight is absent. GGUF stores q and k permuted
 * so that adjacent pairs rotate.
 */
#include <stdio.h>
#include "kern/num.h"
#include "model/model.h"

static int key_u32(struct model *m, const char *key, int max, int *out, struct err *e)
{
    char name[128];
    uint32_t v;
    snprintf(name, sizeof name, "llama.%s", key);
    int rc = gguf_get_u32(m->file, name, &v, e);
    if (rc) return rc;
    if (v < 1 || v > (uint32_t)max) return err(e, ERR_LIMIT, "key '%s': %u is outside 1..%d", name, v, max);
    *out = (int)v;
    return 0;
}

static int opt_u32(struct model *m, const char *key, int fallback, int max, int *out, struct err *e)
{
    char name[128];
    snprintf(name, sizeof name, "llama.%s", key);
    if (!gguf_find(m->file, name)) {
        *out = fallback;
        return 0;
    }
    return key_u32(m, key, max, out, e);
}

/* Values that rope_init checks are not checked here. */
static int read_rope(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    const struct gguf *g = m->file;
    struct rope_config c = rope_config_default(0, 0);
    struct str type;
    int rc;
    if ((rc = opt_u32(m, "rope.dimension_count", h->head_dim, h->head_dim, &c.dim, e)) ||
        (rc = gguf_opt_f32(g, "llama.rope.freq_base", 10000.0f, &c.base, e)) ||
        (rc = gguf_opt_str(g, "llama.rope.scaling.type", STR("none"), &type, e)) ||
        (rc = gguf_opt_f32(g, "llama.rope.scaling.factor", 1.0f, &c.factor, e)))
        return rc;
    if (!gguf_find(g, "llama.rope.scaling.factor") && gguf_find(g, "llama.rope.scale_linear")) { /* the old name */
        if ((rc = gguf_get_f32(g, "llama.rope.scale_linear", &c.factor, e))) return rc;
        type = STR("linear");
    }
    if (str_eqz(type, "none"))
        c.scaling = ROPE_PLAIN, c.factor = 1.0f;
    else if (str_eqz(type, "linear"))
        c.scaling = ROPE_LINEAR;
    else if (str_eqz(type, "yarn"))
        c.scaling = ROPE_YARN;
    else
        return err(e, ERR_UNSUPPORTED, "key 'llama.rope.scaling.type': '%.*s' is not supported (none, linear, yarn are)", STR_ARG(type));
    if (c.scaling == ROPE_YARN) {
        uint32_t orig;
        if ((rc = gguf_opt_u32(g, "llama.rope.scaling.original_context_length", (uint32_t)h->n_ctx_train, &orig, e)) ||
            (rc = gguf_opt_f32(g, "llama.rope.scaling.attn_factor", 1.0f, &c.attn, e)) ||
            (rc = gguf_opt_f32(g, "llama.rope.scaling.yarn_beta_fast", 32.0f, &c.beta_fast, e)) ||
            (rc = gguf_opt_f32(g, "llama.rope.scaling.yarn_beta_slow", 1.0f, &c.beta_slow, e)))
            return rc;
        c.orig_ctx = (float)orig;
    }
    const struct tensor *f = gguf_tensor(g, "rope_freqs.weight"); /* Llama 3 */
    if (f) {
        if (f->ne[0] != (uint64_t)c.dim / 2 || f->n_dims != 1)
            return err(e, ERR_FORMAT, "tensor 'rope_freqs.weight': expected %d elements, got %llu", c.dim / 2, (unsigned long long)f->ne[0]);
        c.freq_factors = model_floats(m, f, e);
        if (!c.freq_factors) return ERR_FORMAT;
    }
    h->rope = c;
    return 0;
}

static int read_hparams(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    const struct gguf *g = m->file;
    uint32_t experts, dim;
    int rc;
    if ((rc = gguf_opt_u32(g, "llama.expert_count", 0, &experts, e))) return rc;
    if (experts) return err(e, ERR_UNSUPPORTED, "llama with %u experts (Mixtral) is not supported", experts);
    if ((rc = key_u32(m, "block_count", MODEL_LAYERS_MAX, &h->n_layer, e)) ||
        (rc = key_u32(m, "context_length", MODEL_CTX_MAX, &h->n_ctx_train, e)) ||
        (rc = key_u32(m, "embedding_length", MODEL_WIDTH_MAX, &h->n_embd, e)) ||
        (rc = key_u32(m, "feed_forward_length", MODEL_WIDTH_MAX, &h->n_ff, e)) ||
        (rc = key_u32(m, "attention.head_count", MODEL_HEADS_MAX, &h->n_head, e)) ||
        (rc = opt_u32(m, "attention.head_count_kv", h->n_head, h->n_head, &h->n_head_kv, e)) ||
        (rc = gguf_get_f32(g, "llama.attention.layer_norm_rms_epsilon", &h->norm_eps, e)))
        return rc;
    if (h->n_head % h->n_head_kv)
        return err(e, ERR_FORMAT, "%d heads cannot share %d kv heads evenly", h->n_head, h->n_head_kv);
    if (!(h->norm_eps >= 0x1p-60f && h->norm_eps < 1.0f))
        return err(e, ERR_FORMAT, "layer_norm_rms_epsilon %g is outside [2^-60, 1)", (double)h->norm_eps);
    if ((rc = opt_u32(m, "attention.key_length", h->n_embd / h->n_head, 512, &h->head_dim, e))) return rc;
    if (!gguf_find(g, "llama.attention.key_length") && h->n_embd % h->n_head)
        return err(e, ERR_FORMAT, "embedding length %d is not a multiple of %d heads", h->n_embd, h->n_head);
    if ((rc = gguf_opt_u32(g, "llama.attention.value_length", (uint32_t)h->head_dim, &dim, e))) return rc;
    if (dim != (uint32_t)h->head_dim) return err(e, ERR_UNSUPPORTED, "value length %u differs from key length %d", dim, h->head_dim);
    if (h->head_dim % 16) return err(e, ERR_UNSUPPORTED, "head size %d is not a multiple of 16", h->head_dim);
    const struct tensor *embd = gguf_tensor(g, "token_embd.weight");
    if (!embd) return err(e, ERR_FORMAT, "tensor 'token_embd.weight' is missing");
    if (embd->ne[1] < 1 || embd->ne[1] > MODEL_VOCAB_MAX)
        return err(e, ERR_LIMIT, "vocabulary of %llu tokens is outside 1..%d", (unsigned long long)embd->ne[1], MODEL_VOCAB_MAX);
    h->n_vocab = (int)embd->ne[1];
    h->attn_scale = 1.0f / sqrt32((float)h->head_dim);
    return read_rope(m, e);
}

struct builder {
    struct model *m;
    struct err *e;
    int layer, rc;
};

static const struct tensor *get(struct builder *b, bool optional, int64_t n0, int64_t n1, const char *what)
{
    if (b->rc) return NULL;
    if (b->e) b->e->code = 0;
    struct err none = {0}, *e = b->e ? b->e : &none;
    const struct tensor *t = b->layer < 0 ? model_tensor(b->m, optional, n0, n1, e, "%s", what)
                                          : model_tensor(b->m, optional, n0, n1, e, "blk.%d.%s", b->layer, what);
    if (!t && (!optional || e->code)) b->rc = ERR_FORMAT;
    return t;
}

static int add(struct builder *b, enum op op, int in0, int in1, int in2, int out, const struct tensor *w)
{
    if (b->rc) return -1;
    struct node *n = out < 0 ? NULL : graph_node(b->m, op, in0, in1, in2, out);
    if (!n) {
        b->rc = err(b->e, ERR_MEMORY, "out of memory");
        return -1;
    }
    n->w = w;
    n->layer = b->layer;
    return out;
}

static int norm(struct builder *b, int x, const char *weight)
{
    const struct tensor *w = get(b, false, b->m->h.n_embd, 0, weight);
    return add(b, OP_NORM, x, -1, -1, graph_value(b->m, "norm", b->m->h.n_embd), w);
}

/* y = W x + bias; name.weight and, if the file has it, name.bias */
static int linear(struct builder *b, int x, const char *name, const char *out_name, int n_out)
{
    char file[64];
    int n_in = b->m->graph.values[x < 0 ? 0 : x].width;
    snprintf(file, sizeof file, "%s.weight", name);
    const struct tensor *w = get(b, false, n_in, n_out, file);
    snprintf(file, sizeof file, "%s.bias", name);
    const struct tensor *bias = get(b, true, n_out, 0, file);
    int y = add(b, OP_MATMUL, x, -1, -1, graph_value(b->m, out_name, n_out), w);
    if (!b->rc) b->m->graph.nodes[b->m->graph.n_nodes - 1].bias = bias;
    return y;
}

static void rope(struct builder *b, int x, int n_head)
{
    add(b, OP_ROPE, x, -1, -1, x, NULL);
    if (!b->rc) b->m->graph.nodes[b->m->graph.n_nodes - 1].n_head = n_head;
}

static int build(struct model *m, struct err *e)
{
    int rc = read_hparams(m, e);
    if (rc) return rc;
    const struct hparams *h = &m->h;
    struct builder b = {.m = m, .e = e, .layer = -1};
    int n_q = h->n_head * h->head_dim, n_kv = h->n_head_kv * h->head_dim;
    const struct tensor *embd = get(&b, false, h->n_embd, h->n_vocab, "token_embd.weight");
    int x = add(&b, OP_EMBED, -1, -1, -1, graph_value(m, "x", h->n_embd), embd);
    for (b.layer = 0; b.layer < h->n_layer && !b.rc; b.layer++) {
        int a = norm(&b, x, "attn_norm.weight");
        int q = linear(&b, a, "attn_q", "q", n_q);
        int k = linear(&b, a, "attn_k", "k", n_kv);
        int v = linear(&b, a, "attn_v", "v", n_kv);
        rope(&b, q, h->n_head);
        rope(&b, k, h->n_head_kv);
        int o = add(&b, OP_ATTEND, q, k, v, graph_value(m, "attn", n_q), NULL);
        add(&b, OP_ADD, x, linear(&b, o, "attn_output", "attn_out", h->n_embd), -1, x, NULL);
        int f = norm(&b, x, "ffn_norm.weight");
        int gate = linear(&b, f, "ffn_gate", "gate", h->n_ff);
        int up = linear(&b, f, "ffn_up", "up", h->n_ff);
        int s = add(&b, OP_GATE, gate, up, -1, graph_value(m, "ffn", h->n_ff), NULL);
        add(&b, OP_ADD, x, linear(&b, s, "ffn_down", "ffn_out", h->n_embd), -1, x, NULL);
    }
    b.layer = -1;
    add(&b, OP_SELECT, x, -1, -1, x, NULL);
    int y = norm(&b, x, "output_norm.weight");
    const struct tensor *out = get(&b, true, h->n_embd, h->n_vocab, "output.weight");
    m->graph.logits = add(&b, OP_MATMUL, y, -1, -1, graph_value(m, "logits", h->n_vocab), out ? out : embd);
    return b.rc;
}

const struct family family_llama = {"llama", build};
