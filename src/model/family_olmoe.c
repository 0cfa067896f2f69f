/* SPDX-License-Identifier: Apache-2.0 */
/* olmoe: OLMoE: llama with rotation of halves, q and k normed as whole vectors, experts weighted by a softmax over all. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {.qk_norm = QK_NORM_WHOLE};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = decoder_read_experts(m, &d, e))) return rc;
    m->h.rope_halves = true;
    return decoder_build(m, &d, e);
}

const struct family family_olmoe = {.arch = "olmoe", .models = "OLMoE", .build = build};
