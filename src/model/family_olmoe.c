/* SPDX-License-Identifier: Apache-2.0 */
/* olmoe: OLMoE: llama with rotation of halves, q and k normed as whole vectors, experts weighted by a softmax
 * over all. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {.qk_norm = QK_NORM_WHOLE};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = decoder_read_experts(m, &d, e))) return rc;
    if (key_present(m, "attention.clamp_kqv"))
        return err(e, ERR_UNSUPPORTED, "OLMoE with clipped q, k and v (clamp_kqv) is not supported");
    m->h.rope_halves = true;
    return decoder_build(m, &d, e);
}

const struct family family_olmoe = {.arch = "olmoe", .models = "OLMoE", .build = build};
