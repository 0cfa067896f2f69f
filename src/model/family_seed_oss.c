/* SPDX-License-Identifier: Apache-2.0 */
/* seed_oss: Seed-OSS: qwen2 whose norm before the ffn is named post_attention_norm. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    m->h.rope_halves = true;
    return rc ? rc : decoder_build(m, &(struct decoder){.ffn_norm = "post_attention_norm"}, e);
}

const struct family family_seed_oss = {.arch = "seed_oss", .models = "Seed-OSS", .build = build};
