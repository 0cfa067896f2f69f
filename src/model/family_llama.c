/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama: Llama 2 and 3.x, SmolLM2, Mistral and everything else that ships as architecture "llama" without experts. Per
 * layer: norm, q/k/v, rotation, grouped-query attention, output projection, residual; norm, SwiGLU, residual. GGUF
 * stores q and k permuted so that adjacent pairs rotate.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e), experts;
    if (!rc && key_present(m, "expert_count") && (rc = key_opt_u32(m, "expert_count", 0, 1 << 16, &experts, NULL)) == 0)
        return err(e, ERR_UNSUPPORTED, "llama with %d experts (Mixtral) is not supported", experts);
    if (rc == ERR_LIMIT) rc = 0; /* expert_count 0 */
    struct decoder d = {0};
    if (rc || (rc = key_window(m, &d.window, e))) return rc; /* Mistral 7B v0.1 */
    return decoder_build(m, &d, e);
}

const struct family family_llama = {"llama", "Llama 2 and 3, SmolLM2, Mistral", build};
