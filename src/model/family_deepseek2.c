/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deepseek2: DeepSeek V2, V2-Lite, V2.5, V3, R1 and what is built like them: latent attention; experts from
 * the layer leading_dense_block_count on, with shared ones; V3 chooses by sigmoid and a bias, among the best
 * groups. Long contexts by yarn: the rotation keeps its length, and the scores take the square of mscale = 1
 * + log_multiplier * ln(factor). Layers that predict further tokens (nextn) are left out.
 */
#include "kern/mathf.h"
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    struct rope_config *r = &h->rope[0];
    struct decoder d = {0};
    float log_multiplier;
    int nextn, rc;
    if ((rc = hparams_read_latent(m, &d.latent, e)) || (rc = decoder_read_mixed(m, &d, ROUTE_SOFTMAX, e)) ||
        (rc = key_opt_count(m, "nextn_predict_layers", h->n_layer - 1, &nextn, e)) ||
        (rc = key_opt_f32(m, "rope.scaling.yarn_log_multiplier", 0.0f, &log_multiplier, e)))
        return rc;
    h->n_layer -= nextn;
    if (r->scaling == ROPE_YARN && log_multiplier != 0.0f && r->factor > 1.0f) {
        float mscale = fma32(log_multiplier, log32(r->factor), 1.0f);
        r->attn_final = true;
        h->attn_scale = mscale * mscale * h->attn_scale;
    }
    if (key_present(m, "attention.temperature_scale"))
        return err(e, ERR_UNSUPPORTED,
                   "scores whose scale depends on the position (attention.temperature_scale)");
    return decoder_build(m, &d, e);
}

const struct family family_deepseek2 = {
    .arch = "deepseek2", .models = "DeepSeek V2, V2-Lite, V2.5, V3, R1", .build = build};
