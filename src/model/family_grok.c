/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grok: Grok-1 and Grok-2: norms after both halves of a layer as well; experts with GELU; Grok-2 has a common
 * ffn beside the experts, and their sum is divided by sqrt 2. Factors on embedding, scores and logits; soft
 * caps on scores, on those of the experts and on logits, as the file says; absent keys are Grok-1's.
 *
 * Sources: model.py and run.py of the Grok-1 release (github.com/xai-org/grok-1); models/grok.py of SGLang,
 * by which xAI has Grok-2 run. In both the weights of the chosen experts are their softmax over all experts,
 * not made to sum to 1 (llama.cpp does make them): of Grok-1 only their proportion counts, a norm follows; of
 * Grok-2 the sum with the common ffn differs. The cap on scores of experts is Grok-2's; Grok-1's own code has
 * none. Beyond attention.temperature_length positions Grok-2's scores grow with the position.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    struct decoder d = {.post_attn_norm = "attn_output_norm",
                        .post_ffn_norm = "layer_output_norm",
                        .gate = GATE_GELU,
                        .beside_scale = 0.70710678f};
    int rc;
    if (!gguf_tensor(m->file, "blk.0.layer_output_norm.weight")) d.post_ffn_norm = "post_ffw_norm";
    if ((rc = hparams_read(m, e)) || (rc = decoder_read_experts(m, &d, e)) ||
        (rc = key_opt_f32(m, "embedding_scale", 78.383672f, &d.embed_scale, e)) ||
        (rc = key_opt_f32(m, "logit_scale", 0.57735027f, &d.logit_scale, e)) ||
        (rc = key_opt_f32(m, "attention.output_scale", 0.088388348f, &h->attn_scale, e)) ||
        (rc = key_cap(m, "attn_logit_softcapping", &d.attn_cap, e)) ||
        (rc = key_cap(m, "router_logit_softcapping", &d.router_cap, e)) ||
        (rc = key_cap(m, "final_logit_softcapping", &d.logit_cap, e)) ||
        (rc = key_opt_count(m, "attention.temperature_length", MODEL_CTX_MAX, &d.warm, e)) ||
        (rc = key_opt_f32(m, "rope.scaling.yarn_attn_factor", h->rope[0].attn, &h->rope[0].attn, e)))
        return rc;
    if (!h->n_expert) return err(e, ERR_FORMAT, "a grok model without experts");
    if (d.warm == 1) return err(e, ERR_FORMAT, "key 'grok.attention.temperature_length': 1 is not possible");
    if (!key_present(m, "attn_logit_softcapping")) d.attn_cap = 30.0f;
    if (!key_present(m, "rope.scaling.yarn_beta_fast")) h->rope[0].beta_fast = 8.0f;
    h->rope_halves = true;
    return decoder_build(m, &d, e);
}

const struct family family_grok = {.arch = "grok", .models = "Grok-1, Grok-2", .build = build};
