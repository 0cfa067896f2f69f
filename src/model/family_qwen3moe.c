/* SPDX-License-Identifier: Apache-2.0 */
/* qwen3moe: Qwen 3 with experts: qwen3 whose ffn is a choice of experts; their weights sum to 1. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {.qk_norm = QK_NORM_HEAD};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = decoder_read_experts(m, &d, e))) return rc;
    m->h.rope_halves = true;
    d.route.over_used = true;
    return decoder_build(m, &d, e);
}

const struct family family_qwen3moe = {.arch = "qwen3moe", .models = "Qwen 3 with experts", .build = build};
