/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemma: the first Gemma: llama with GELU, the embedding times sqrt(width), rotation of halves. The published norms
 * multiply by 1 + w; GGUF files hold that sum.
 */
#include "kern/num.h"
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    m->h.rope_halves = true;
    return rc ? rc
              : decoder_build(
                    m, &(struct decoder){.gate = GATE_GELU, .embed_scale = sqrt32((float)m->h.n_embd)}, e);
}

const struct family family_gemma = {.arch = "gemma", .models = "Gemma 1", .build = build};
