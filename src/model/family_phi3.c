/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phi3: Phi-3, 3.5 and 4, also the mini ones: q, k, v in one matrix, gate and up in one; rotation of halves, of a part
 * of the head in Phi-4-mini; long contexts by a table of frequency factors (longrope). The published tables are two,
 * for texts up to the original context and beyond; here the file's context length decides, once, since keys that were
 * rotated by one table mean nothing to queries rotated by the other.
 */
#include "model/decoder.h"

static int build(struct model *m, struct err *e)
{
    int rc = hparams_read(m, e);
    m->h.rope_halves = true;
    return rc ? rc : decoder_build(m, &(struct decoder){0}, e);
}

const struct family family_phi3 = {"phi3", "Phi-3, 3.5, 4 and their minis", build};
