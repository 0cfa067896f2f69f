/* SPDX-License-Identifier: Apache-2.0 */
/* smollm3: SmolLM3: llama whose every fourth layer does not rotate q and k. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    return rc ? rc : decoder_build(m, &(struct decoder){.no_rope_period = 4}, e);
}

const struct family family_smollm3 = {.arch = "smollm3", .models = "SmolLM3", .build = build};
