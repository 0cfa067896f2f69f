/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glm4moe: GLM-4.5, 4.6 and 4.7 with experts, GLM-4.5-Air: biases on q, k, v; their heads normed where the
 * file has the gains; halves rotate in a part of each head; the first layers have a common ffn, the others
 * experts chosen by sigmoid and a bias, and a shared one. Layers that predict further tokens (nextn) are left
 * out.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {.ffn_norm = "post_attention_norm"};
    int nextn, rc;
    if ((rc = hparams_read(m, e)) || (rc = decoder_read_mixed(m, &d, ROUTE_SIGMOID, e)) ||
        (rc = key_opt_count(m, "nextn_predict_layers", m->h.n_layer - 1, &nextn, e)))
        return rc;
    m->h.n_layer -= nextn;
    m->h.rope_halves = true;
    if (gguf_tensor(m->file, "blk.0.attn_q_norm.weight")) d.qk_norm = QK_NORM_HEAD;
    return decoder_build(m, &d, e);
}

const struct family family_glm4moe = {
    .arch = "glm4moe", .models = "GLM-4.5 to 4.7 with experts, GLM-4.5-Air", .build = build};
