/* SPDX-License-Identifier: Apache-2.0 */
/* The graph of a decoder-only transformer: see decoder.h. */
#include "model/decoder.h"

static float factor(float scale)
{
    return scale == 0.0f ? 1.0f : scale;
}

/* What is added to x: normed and scaled if the family does that. */
static void add_to(struct builder *b, const struct decoder *d, int x, int y, const char *post_norm)
{
    if (post_norm) y = build_norm(b, y, post_norm, 0);
    build_scale(b, y, factor(d->residual_scale));
    build_add(b, x, y);
}

/* One of q, k, v: a matrix of its own, or rows of attn_qkv from row0 on. */
static int projection(struct builder *b, int a, const char *own, const char *name, int row0, int n)
{
    const struct hparams *h = &b->m->h;
    if (!build_present(b, "attn_qkv.weight")) return build_linear(b, a, own, name, n);
    return build_linear_rows(b, a, "attn_qkv", name, row0, n, (h->n_head + 2 * h->n_head_kv) * h->head_dim);
}

static void attention(struct builder *b, const struct decoder *d, int x)
{
    const struct hparams *h = &b->m->h;
    int n_q = h->n_head * h->head_dim, n_kv = h->n_head_kv * h->head_dim;
    bool by_head = d->qk_norm == QK_NORM_HEAD;
    int a = d->no_input_norm ? x : build_norm(b, x, "attn_norm", 0);
    int q = projection(b, a, "attn_q", "q", 0, n_q);
    int k = projection(b, a, "attn_k", "k", n_q, n_kv);
    int v = projection(b, a, "attn_v", "v", n_q + n_kv, n_kv);
    if (d->qk_norm) {
        q = build_norm(b, q, "attn_q_norm", by_head ? h->n_head : 0);
        k = build_norm(b, k, "attn_k_norm", by_head ? h->n_head_kv : 0);
    }
    bool windowed = d->window && (!d->window_period || (b->layer + 1) % d->window_period);
    int rope = windowed && d->window_rope;
    if (!d->no_rope_period || (b->layer + 1) % d->no_rope_period) {
        build_rope(b, q, h->n_head, rope);
        build_rope(b, k, h->n_head_kv, rope);
    }
    int o = build_value(b, "attn", n_q);
    struct node *n = build_node(b, OP_ATTEND, q, k, v, o);
    if (n) n->window = windowed ? d->window : 0, n->cap = d->attn_cap;
    add_to(b, d, x, build_linear(b, o, "attn_output", "attn_out", h->n_embd), d->post_attn_norm);
}

static void ffn(struct builder *b, const struct decoder *d, int x)
{
    const struct hparams *h = &b->m->h;
    bool one = !build_present(b, "ffn_gate.weight"); /* ffn_up holds both, the gate first */
    int f = d->no_input_norm ? x : build_norm(b, x, "ffn_norm", 0), s = build_value(b, "ffn", h->n_ff);
    int gate = one ? build_linear_rows(b, f, "ffn_up", "gate", 0, h->n_ff, 2 * h->n_ff)
                   : build_linear(b, f, "ffn_gate", "gate", h->n_ff);
    int up = one ? build_linear_rows(b, f, "ffn_up", "up", h->n_ff, h->n_ff, 2 * h->n_ff)
                 : build_linear(b, f, "ffn_up", "up", h->n_ff);
    struct node *n = build_node(b, OP_GATE, gate, up, -1, s);
    if (n) n->gate = d->gate;
    add_to(b, d, x, build_linear(b, s, "ffn_down", "ffn_out", h->n_embd), d->post_ffn_norm);
}

int decoder_build(struct model *m, const struct decoder *d, struct err *e)
{
    const struct hparams *h = &m->h;
    struct builder b = {.m = m, .e = e, .layer = -1};
    const struct tensor *embd = build_tensor(&b, false, h->n_embd, h->n_vocab, "token_embd.weight");
    int x = build_value(&b, "x", h->n_embd);
    struct node *n = build_node(&b, OP_EMBED, -1, -1, -1, x);
    if (n) n->w = embd;
    build_scale(&b, x, factor(d->embed_scale));
    for (b.layer = 0; b.layer < h->n_layer && !b.rc; b.layer++) {
        attention(&b, d, x);
        ffn(&b, d, x);
    }
    b.layer = -1;
    build_node(&b, OP_SELECT, x, -1, -1, x);
    int y = build_norm(&b, x, "output_norm", 0);
    const struct tensor *out = build_tensor(&b, true, h->n_embd, h->n_vocab, "output.weight");
    m->graph.logits = build_value(&b, "logits", h->n_vocab);
    if ((n = build_node(&b, OP_MATMUL, y, -1, -1, m->graph.logits))) n->w = out ? out : embd;
    build_scale(&b, m->graph.logits, factor(d->logit_scale));
    if (d->logit_cap > 0 && (n = build_node(&b, OP_CAP, m->graph.logits, -1, -1, m->graph.logits))) n->cap = d->logit_cap;
    return b.rc;
}
