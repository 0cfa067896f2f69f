/* SPDX-License-Identifier: Apache-2.0 */
/* internlm2: InternLM 2, 2.5 and 3: llama under another name. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    return rc ? rc : decoder_build(m, &(struct decoder){0}, e);
}

const struct family family_internlm2 = {.arch = "internlm2", .models = "InternLM 2, 2.5, 3", .build = build};
