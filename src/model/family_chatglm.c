/* SPDX-License-Identifier: Apache-2.0 */
/* chatglm: ChatGLM 3, GLM-4-9B of 2024: llama's order, biases on q, k, v, pairs rotating in half of each head. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    return rc ? rc : decoder_build(m, &(struct decoder){0}, e);
}

const struct family family_chatglm = {.arch = "chatglm", .models = "ChatGLM 3, GLM-4-9B (2024)", .build = build};
