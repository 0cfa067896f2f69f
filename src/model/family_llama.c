/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama: Llama 2 and 3.x, SmolLM2, Mistral, Mixtral and everything else that ships as architecture "llama".
 * Per layer: norm, q/k/v, rotation, grouped-query attention, output projection, residual; norm, SwiGLU (or
 * experts, their weights a softmax over those that were chosen), residual. GGUF stores q and k permuted so
 * that adjacent pairs rotate.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {0};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = key_window(m, &d.window, e)) /* Mistral 7B v0.1 */ ||
        (rc = decoder_read_experts(m, &d, e)))
        return rc;
    d.route.over_used = true;
    return decoder_build(m, &d, e);
}

const struct family family_llama = {
    .arch = "llama", .models = "Llama 2 and 3, SmolLM2, Mistral, Mixtral", .build = build};
