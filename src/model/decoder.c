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
    if (d->latent.rank) {
        add_to(b, d, x,
               build_linear(b, latent_attention(b, &d->latent, a), "attn_output", "attn_out", h->n_embd),
               d->post_attn_norm);
        return;
    }
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
    if (n) n->window = windowed ? d->window : 0, n->cap = d->attn_cap, n->warm = d->warm;
    if (n && d->attn_sinks) n->w = build_tensor(b, false, h->n_head, 0, "attn_sinks.weight");
    add_to(b, d, x, build_linear(b, o, "attn_output", "attn_out", h->n_embd), d->post_attn_norm);
}

/* The sum of the chosen experts' outputs. */
static int experts(struct builder *b, const struct decoder *d, int f)
{
    const struct hparams *h = &b->m->h;
    const struct route *r = &d->route;
    int z = build_linear(b, f, "ffn_gate_inp", "router", r->n_expert);
    int route = build_value(b, "route", 2 * r->n_used), s = build_value(b, "ffn", d->n_ff_expert),
        y = build_value(b, "ffn_out", h->n_embd);
    struct node *n = d->router_cap > 0 ? build_node(b, OP_CAP, z, -1, -1, z) : NULL;
    if (n) n->cap = d->router_cap;
    n = build_node(b, OP_ROUTE, z, -1, -1, route);
    if (n) n->route = r, n->w = build_tensor(b, true, r->n_expert, 0, "exp_probs_b.bias");
    int gate = build_experts(b, f, route, r, "ffn_gate", "gate", d->n_ff_expert);
    int up = build_experts(b, f, route, r, "ffn_up", "up", d->n_ff_expert);
    if ((n = build_node(b, OP_GATE, gate, up, -1, s))) n->gate = d->gate, b->m->graph.values[s].slots = r->n_used;
    build_node(b, OP_MIX, build_experts(b, s, route, r, "ffn_down", "down", h->n_embd), route, -1, y);
    return y;
}

/* The expert that all tokens share; where the file has a gate for it, times the sigmoid of that. */
static int shared_expert(struct builder *b, const struct decoder *d, int f)
{
    int gate = build_linear(b, f, "ffn_gate_shexp", "gate", d->n_ff_shared),
        up = build_linear(b, f, "ffn_up_shexp", "up", d->n_ff_shared);
    int s = build_value(b, "ffn", d->n_ff_shared);
    struct node *n = build_node(b, OP_GATE, gate, up, -1, s);
    if (n) n->gate = d->gate;
    int y = build_linear(b, s, "ffn_down_shexp", "shared", b->m->h.n_embd);
    if (build_present(b, "ffn_gate_inp_shexp.weight"))
        build_node(b, OP_DIM, y, build_linear(b, f, "ffn_gate_inp_shexp", "shared_gate", 1), -1, y);
    return y;
}

/* The ffn of all tokens: activation(gate f) * up f, down. */
static int dense(struct builder *b, const struct decoder *d, int f)
{
    const struct hparams *h = &b->m->h;
    bool one = !build_present(b, "ffn_gate.weight"); /* ffn_up holds both, the gate first */
    int s = build_value(b, "ffn", h->n_ff);
    int gate = one ? build_linear_rows(b, f, "ffn_up", "gate", 0, h->n_ff, 2 * h->n_ff)
                   : build_linear(b, f, "ffn_gate", "gate", h->n_ff);
    int up = one ? build_linear_rows(b, f, "ffn_up", "up", h->n_ff, h->n_ff, 2 * h->n_ff)
                 : build_linear(b, f, "ffn_up", "up", h->n_ff);
    struct node *n = build_node(b, OP_GATE, gate, up, -1, s);
    if (n) n->gate = d->gate;
    return build_linear(b, s, "ffn_down", "ffn_out", h->n_embd);
}

static void ffn_experts(struct builder *b, const struct decoder *d, int x)
{
    int f = d->no_input_norm ? x : build_norm(b, x, d->ffn_norm ? d->ffn_norm : "ffn_norm", 0), y = experts(b, d, f);
    if (d->n_ff_shared) build_add(b, y, shared_expert(b, d, f));
    if (d->beside_scale > 0 && build_present(b, "ffn_up.weight")) {
        build_add(b, y, dense(b, d, f));
        build_scale(b, y, d->beside_scale);
    }
    add_to(b, d, x, y, d->post_ffn_norm);
}

static void ffn(struct builder *b, const struct decoder *d, int x)
{
    int f = d->no_input_norm ? x : build_norm(b, x, d->ffn_norm ? d->ffn_norm : "ffn_norm", 0);
    add_to(b, d, x, dense(b, d, f), d->post_ffn_norm);
}

int decoder_read_experts(struct model *m, struct decoder *d, struct err *e)
{
    struct hparams *h = &m->h;
    int rc, groups, groups_used;
    if (!key_present(m, "expert_count")) return 0;
    if ((rc = key_opt_count(m, "expert_count", ROUTE_EXPERTS_MAX, &h->n_expert, e)) || !h->n_expert) return rc;
    if ((rc = key_u32(m, "expert_used_count", h->n_expert < ROUTE_USED_MAX ? h->n_expert : ROUTE_USED_MAX,
                      &h->n_expert_used, e)) ||
        (rc = key_opt_u32(m, "expert_feed_forward_length", h->n_ff, MODEL_WIDTH_MAX, &d->n_ff_expert, e)) ||
        (rc = key_opt_count(m, "expert_group_count", ROUTE_GROUPS_MAX, &groups, e)) ||
        (rc = key_opt_count(m, "expert_group_used_count", ROUTE_GROUPS_MAX, &groups_used, e)))
        return rc;
    if (groups > 1 && (h->n_expert % groups || groups_used < 1 || groups_used > groups ||
                       h->n_expert / groups * groups_used < h->n_expert_used))
        return err(e, ERR_FORMAT, "%d of %d groups of experts do not hold %d of %d experts", groups_used,
                   groups, h->n_expert_used, h->n_expert);
    d->route = (struct route){.n_expert = h->n_expert,
                              .n_used = h->n_expert_used,
                              .scale = 1.0f,
                              .n_group = groups,
                              .n_group_used = groups_used};
    return 0;
}

int decoder_read_mixed(struct model *m, struct decoder *d, enum route_kind kind, struct err *e)
{
    enum { GATING_SOFTMAX = 1, GATING_SIGMOID = 2 };
    int shared, gating, rc;
    if ((rc = decoder_read_experts(m, d, e)) || !m->h.n_expert) return rc;
    if ((rc = key_opt_count(m, "leading_dense_block_count", MODEL_LAYERS_MAX, &d->n_dense_layers, e)) ||
        (rc = key_opt_count(m, "expert_shared_count", 64, &shared, e)) ||
        (rc = key_opt_count(m, "expert_gating_func", GATING_SIGMOID, &gating, e)) ||
        (rc = key_opt_bool(m, "expert_weights_norm", false, &d->route.over_used, e)) ||
        (rc = key_opt_f32(m, "expert_weights_scale", 1.0f, &d->route.scale, e)))
        return rc;
    if (shared && d->n_ff_expert > MODEL_WIDTH_MAX / shared)
        return err(e, ERR_LIMIT, "%d shared experts of width %d", shared, d->n_ff_expert);
    d->n_ff_shared = shared * d->n_ff_expert;
    d->route.kind = gating == GATING_SIGMOID ? ROUTE_SIGMOID : gating == GATING_SOFTMAX ? ROUTE_SOFTMAX : kind;
    return 0;
}

/* The graph points to the options of its routes: they live as long as the model. */
int decoder_build(struct model *m, const struct decoder *options, struct err *e)
{
    struct decoder *d = ARENA_NEW(&m->arena, struct decoder, 1);
    if (!d) return err(e, ERR_MEMORY, "out of memory");
    *d = *options;
    const struct hparams *h = &m->h;
    struct builder b = {.m = m, .e = e, .layer = -1};
    const struct tensor *embd = build_tensor(&b, false, h->n_embd, h->n_vocab, "token_embd.weight");
    int x = build_value(&b, "x", h->n_embd);
    struct node *n = build_node(&b, OP_EMBED, -1, -1, -1, x);
    if (n) n->w = embd;
    build_scale(&b, x, factor(d->embed_scale));
    for (b.layer = 0; b.layer < h->n_layer && !b.rc; b.layer++) {
        attention(&b, d, x);
        if (d->route.n_expert && b.layer >= d->n_dense_layers)
            ffn_experts(&b, d, x);
        else
            ffn(&b, d, x);
    }
    b.layer = -1;
    build_node(&b, OP_SELECT, x, -1, -1, x);
    int y = build_norm(&b, x, "output_norm", 0);
    const struct tensor *out = build_tensor(&b, true, h->n_embd, h->n_vocab, "output.weight");
    m->graph.logits = build_value(&b, "logits", h->n_vocab);
    if ((n = build_node(&b, OP_MATMUL, y, -1, -1, m->graph.logits))) n->w = out ? out : embd;
    build_scale(&b, m->graph.logits, factor(d->logit_scale));
    if (d->logit_cap > 0 && (n = build_node(&b, OP_CAP, m->graph.logits, -1, -1, m->graph.logits)))
        n->cap = d->logit_cap;
    return b.rc;
}
