/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phi3: Phi-3, 3.5 and 4, also the mini ones: q, k, v in one matrix, gate and up in one; rotation of halves,
 * of a part of the head in Phi-4-mini; long contexts by a table of frequency factors (longrope). The
 * published tables are two, for texts up to the original context and beyond; here the context in use decides,
 * once (model_use_context), since keys that were rotated by one table mean nothing to queries rotated by the
 * other. Phi-3-mini-4k has a sliding window in all layers.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    struct decoder d = {0};
    int rc;
    if ((rc = hparams_read(m, e)) || (rc = key_window(m, &d.window, e))) return rc;
    m->h.rope_halves = true;
    return decoder_build(m, &d, e);
}

const struct family family_phi3 = {.arch = "phi3", .models = "Phi-3, 3.5, 4 and their minis", .build = build};
