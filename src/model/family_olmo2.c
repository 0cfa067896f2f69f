/* SPDX-License-Identifier: Apache-2.0 */
/*
 * olmo2: OLMo 2: no norms before the attention and the ffn but after them, before the addition; q and k normed as whole
 * vectors before the rotation of halves.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    static const struct decoder d = {.no_input_norm = true,
                                     .post_attn_norm = "post_attention_norm",
                                     .post_ffn_norm = "post_ffw_norm",
                                     .qk_norm = QK_NORM_WHOLE};
    int rc = hparams_read(m, e);
    m->h.rope_halves = true;
    if (!rc && key_present(m, "attention.sliding_window"))
        return err(e, ERR_UNSUPPORTED, "OLMo 3 (olmo2 with sliding windows) is not supported");
    return rc ? rc : decoder_build(m, &d, e);
}

const struct family family_olmo2 = {"olmo2", "OLMo 2", build};
