/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpt-oss: 20B and 120B: experts with biases and a clamped gate, their weights a softmax over those that were
 * chosen; a sink per query head; a sliding window in layers 0, 2, 4 ...; rotation of halves by yarn whose
 * range is not rounded to whole pairs. The norm before the ffn is named post_attention_norm.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {
        .ffn_norm = "post_attention_norm", .attn_sinks = true, .gate = GATE_CLAMPED, .window_period = 2};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = key_window(m, &d.window, e)) ||
        (rc = decoder_read_experts(m, &d, e)))
        return rc;
    m->h.rope_halves = true;
    m->h.rope[0].yarn_exact = true;
    d.route.over_used = true;
    return decoder_build(m, &d, e);
}

const struct family family_gpt_oss = {.arch = "gpt-oss", .models = "gpt-oss 20B and 120B", .build = build};
