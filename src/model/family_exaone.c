/* SPDX-License-Identifier: Apache-2.0 */
/* exaone: EXAONE 3.0 and 3.5: llama with rotation of halves. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    m->h.rope_halves = true;
    return rc ? rc : decoder_build(m, &(struct decoder){0}, e);
}

const struct family family_exaone = {.arch = "exaone", .models = "EXAONE 3.0, 3.5", .build = build};
