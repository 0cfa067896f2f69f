/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemma3: the text half of Gemma 3: gemma2 without soft caps, with norms of the heads of q and k. Five layers
 * of six have a sliding window and rotate by a base of their own, without the long context's scaling. The 27B
 * model divides its scores by the square root of width / heads.
 */
#include "kern/num.h"
#include "model/decoder.h"

enum { LAYERS_27B = 62 };

static int build(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    struct decoder d = {.post_attn_norm = "post_attention_norm",
                        .post_ffn_norm = "post_ffw_norm",
                        .qk_norm = QK_NORM_HEAD,
                        .gate = GATE_GELU,
                        .window_period = 6,
                        .window_rope = true};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = key_window(m, &d.window, e)) ||
        (rc = key_cap(m, "attn_logit_softcapping", &d.attn_cap, e)) ||
        (rc = key_cap(m, "final_logit_softcapping", &d.logit_cap, e)))
        return rc;
    h->rope_halves = true;
    h->n_rope = 2;
    h->rope[1] = rope_config_default(h->rope[0].dim, 0);
    if ((rc = key_opt_f32(m, "rope.freq_base_swa", 10000.0f, &h->rope[1].base, e))) return rc;
    d.embed_scale = sqrt32((float)h->n_embd);
    if (h->n_layer == LAYERS_27B) h->attn_scale = 1.0f / sqrt32((float)(h->n_embd / h->n_head));
    return decoder_build(m, &d, e);
}

const struct family family_gemma3 = {.arch = "gemma3", .models = "Gemma 3 (text)", .build = build};
