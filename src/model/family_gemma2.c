/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemma2: Gemma 2: gemma with norms after both halves of a layer as well, soft caps on scores and logits, and a sliding
 * window in layers 0, 2, 4 ... The 27B model divides its scores by the square root of width / heads.
 */
#include "kern/num.h"
#include "model/decoder.h"

enum { LAYERS_27B = 46 };

static int build(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    struct decoder d = {.post_attn_norm = "post_attention_norm",
                        .post_ffn_norm = "post_ffw_norm",
                        .gate = GATE_GELU,
                        .window_period = 2};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = key_window(m, &d.window, e)) ||
        (rc = key_cap(m, "attn_logit_softcapping", &d.attn_cap, e)) ||
        (rc = key_cap(m, "final_logit_softcapping", &d.logit_cap, e)))
        return rc;
    h->rope_halves = true;
    d.embed_scale = sqrt32((float)h->n_embd);
    if (h->n_layer == LAYERS_27B) h->attn_scale = 1.0f / sqrt32((float)(h->n_embd / h->n_head));
    return decoder_build(m, &d, e);
}

const struct family family_gemma2 = {.arch = "gemma2", .models = "Gemma 2", .build = build};
