/* SPDX-License-Identifier: Apache-2.0 */
/* qwen3: Qwen 3, dense: each head of q and k is normed before the rotation; no biases. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    m->h.rope_halves = true;
    return rc ? rc : decoder_build(m, &(struct decoder){.qk_norm = QK_NORM_HEAD}, e);
}

const struct family family_qwen3 = {.arch = "qwen3", .models = "Qwen 3 (dense)", .build = build};
