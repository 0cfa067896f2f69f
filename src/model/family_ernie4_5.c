/* SPDX-License-Identifier: Apache-2.0 */
/* ernie4_5: ERNIE 4.5, dense: llama, pairs rotating, biases where the file has them. */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    return rc ? rc : decoder_build(m, &(struct decoder){0}, e);
}

const struct family family_ernie4_5 = {.arch = "ernie4_5", .models = "ERNIE 4.5 (dense)", .build = build};
