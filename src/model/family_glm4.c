/* SPDX-License-Identifier: Apache-2.0 */
/* glm4: GLM-4-0414 (9B, 32B): norms before and after both halves of a layer; pairs rotate, in a part of each head. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    static const struct decoder d = {.post_attn_norm = "post_attention_norm", .post_ffn_norm = "post_ffw_norm"};
    int rc = hparams_read(m, e);
    return rc ? rc : decoder_build(m, &d, e);
}

const struct family family_glm4 = {.arch = "glm4", .models = "GLM-4-0414", .build = build};
