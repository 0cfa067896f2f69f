/* SPDX-License-Identifier: Apache-2.0 */
/*
 * olmo2: OLMo 2 and 3: no norms before the attention and the ffn but after them, before the addition; q and k
 * normed as whole vectors before the rotation of halves. OLMo 3 adds a sliding window to three layers of
 * four; these rotate without the long context's scaling.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct hparams *h = &m->h;
    struct decoder d = {.no_input_norm = true,
                        .post_attn_norm = "post_attention_norm",
                        .post_ffn_norm = "post_ffw_norm",
                        .qk_norm = QK_NORM_WHOLE,
                        .window_period = 4,
                        .window_rope = true};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = key_window(m, &d.window, e))) return rc;
    h->rope_halves = true;
    if (d.window) {
        h->n_rope = 2;
        h->rope[1] = rope_config_default(h->rope[0].dim, h->rope[0].base);
    }
    return decoder_build(m, &d, e);
}

const struct family family_olmo2 = {.arch = "olmo2", .models = "OLMo 2, 3", .build = build};
