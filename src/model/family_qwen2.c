/* SPDX-License-Identifier: Apache-2.0 */
/* qwen2: Qwen 1.5, 2 and 2.5: llama with biases on q, k and v, and rotation of halves. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    m->h.rope_halves = true;
    return rc ? rc : decoder_build(m, &(struct decoder){0}, e);
}

const struct family family_qwen2 = {.arch = "qwen2", .models = "Qwen 1.5, 2, 2.5", .build = build};
