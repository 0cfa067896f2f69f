/* SPDX-License-Identifier: Apache-2.0 */
/*
 * granite: Granite 3.x: llama with four factors of the file: on the embedding, on what each half of a layer
 * adds, on the attention's scores (instead of 1 / sqrt(head size)), and one by which logits are divided. With
 * experts (granitemoe) the ffn is a choice of them, their weights a softmax over the chosen, and a shared one
 * where the file has it.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {0};
    float logit_scale;
    int rc = hparams_read(m, e);
    if (rc || (rc = key_opt_f32(m, "embedding_scale", 1.0f, &d.embed_scale, e)) ||
        (rc = key_opt_f32(m, "residual_scale", 1.0f, &d.residual_scale, e)) ||
        (rc = key_opt_f32(m, "attention.scale", m->h.attn_scale, &m->h.attn_scale, e)) ||
        (rc = key_opt_f32(m, "logit_scale", 1.0f, &logit_scale, e)))
        return rc;
    if (!(logit_scale >= 0x1p-20f && logit_scale <= 0x1p20f))
        return err(e, ERR_FORMAT, "key 'logit_scale': %g is outside [2^-20, 2^20]", (double)logit_scale);
    d.logit_scale = 1.0f / logit_scale;
    if ((rc = decoder_read_experts(m, &d, e)) ||
        (rc = key_opt_count(m, "expert_shared_feed_forward_length", MODEL_WIDTH_MAX, &d.n_ff_shared, e)))
        return rc;
    d.route.over_used = true;
    return decoder_build(m, &d, e);
}

const struct family family_granite = {.arch = "granite",
                                      .arch_too = "granitemoe",
                                      .models = "Granite 3.x, dense and with experts",
                                      .build = build};
