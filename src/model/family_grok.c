/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grok: Grok-1 and Grok-2: norms after both halves of a layer as well; experts with GELU, weighted by a softmax over all of
 * them; Grok-2 has a common ffn beside the experts, and their sum is divided by sqrt 2. Factors on embedding, scores and
 * logits; soft caps on scores, on those of the experts and on logits, as the file says; absent keys are Grok-1's.
 *
 * Weights of the chosen experts are not made to sum to 1, as in the published code. Beyond attention.temperature_length
 * positions Grok-2 scales its scores by the position, which is not implemented: the context ends there.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    struct decoder d = {.post_attn_norm = "attn_output_norm", .post_ffn_norm = "layer_output_norm", .gate = GATE_GELU, .beside_scale = 0.70710678f};
    int rc, length;
    if (!gguf_tensor(m->file, "blk.0.layer_output_norm.weight")) d.post_ffn_norm = "post_ffw_norm";
    if ((rc = hparams_read(m, e)) || (rc = decoder_read_experts(m, &d, e)) ||
        (rc = key_opt_f32(m, "embedding_scale", 78.383672f, &d.embed_scale, e)) ||
        (rc = key_opt_f32(m, "logit_scale", 0.57735027f, &d.logit_scale, e)) ||
        (rc = key_opt_f32(m, "attention.output_scale", 0.088388348f, &h->attn_scale, e)) ||
        (rc = key_cap(m, "attn_logit_softcapping", &d.attn_cap, e)) || (rc = key_cap(m, "router_logit_softcapping", &d.router_cap, e)) ||
        (rc = key_cap(m, "final_logit_softcapping", &d.logit_cap, e)) ||
        (rc = key_opt_count(m, "attention.temperature_length", MODEL_CTX_MAX, &length, e)) ||
        (rc = key_opt_f32(m, "rope.scaling.yarn_attn_factor", h->rope[0].attn, &h->rope[0].attn, e)))
        return rc;
    if (!h->n_expert) return err(e, ERR_FORMAT, "a grok model without experts");
    if (!key_present(m, "attn_logit_softcapping")) d.attn_cap = 30.0f;
    if (!key_present(m, "rope.scaling.yarn_beta_fast")) h->rope[0].beta_fast = 8.0f;
    if (length && length < h->n_ctx_train) h->n_ctx_train = length;
    h->rope_halves = true;
    return decoder_build(m, &d, e);
}

const struct family family_grok = {.arch = "grok", .models = "Grok-1, Grok-2", .build = build};
