/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qwen2moe: Qwen 1.5 and 2 with experts: qwen2 whose ffn is a choice of experts, weighted by a softmax over
 * all of them, and one expert that all tokens share, times the sigmoid of a gate.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {0};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = decoder_read_experts(m, &d, e)) ||
        (rc = key_u32(m, "expert_shared_feed_forward_length", MODEL_WIDTH_MAX, &d.n_ff_shared, e)))
        return rc;
    m->h.rope_halves = true;
    return decoder_build(m, &d, e);
}

const struct family family_qwen2moe = {.arch = "qwen2moe", .models = "Qwen 1.5 and 2 with experts", .build = build};
