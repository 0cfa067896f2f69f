/* SPDX-License-Identifier: Apache-2.0 */
/* Latent attention: see latent.h. */
#include "model/latent.h"

static int queries(struct builder *b, const struct latent *l, int a)
{
    const struct hparams *h = &b->m->h;
    int n = h->n_head * (l->nope + h->kv_extra);
    if (!l->q_rank) return build_linear(b, a, "attn_q", "q", n);
    int low = build_linear(b, a, "attn_q_a", "q_low", l->q_rank);
    return build_linear(b, build_norm(b, low, "attn_q_a_norm", 0), "attn_q_b", "q", n);
}

int latent_attention(struct builder *b, const struct latent *l, int a)
{
    const struct hparams *h = &b->m->h;
    int rope = h->kv_extra, n_kv = l->rank + rope, q = queries(b, l, a);
    int q_nope = build_take(b, q, h->n_head, 0, l->nope, "q_nope"),
        q_rope = build_take(b, q, h->n_head, l->nope, rope, "q_rope");
    int c = build_norm(b, build_linear_rows(b, a, "attn_kv_a_mqa", "kv", 0, l->rank, n_kv), "attn_kv_a_norm", 0);
    int r = build_linear_rows(b, a, "attn_kv_a_mqa", "k_rope", l->rank, rope, n_kv);
    build_rope(b, q_rope, h->n_head, 0);
    build_rope(b, r, 1, 0);
    bool split = build_present(b, "attn_k_b.weight");
    struct head_rows k = {l->rank, l->nope + l->v, 0, l->nope}, v = {l->rank, l->nope + l->v, l->nope, l->v};
    int q_low = split ? build_heads(b, q_nope, "attn_k_b.weight", "q_latent", l->rank)
                      : build_heads_rows(b, q_nope, "attn_kv_b.weight", "q_latent", &k, true);
    int o = build_value(b, "attn", h->n_head * l->rank);
    struct node *n = build_node(b, OP_ATTEND, q_low, c, r, o);
    if (n) n->in[3] = q_rope;
    return split ? build_heads(b, o, "attn_v_b.weight", "attn_v", l->v)
                 : build_heads_rows(b, o, "attn_kv_b.weight", "attn_v", &v, false);
}
