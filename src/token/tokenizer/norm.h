/* SPDX-License-Identifier: Apache-2.0 */
/* Unicode normalisation, for the tokenizers that declare one. */
#ifndef TUTTI_TOKEN_TOKENIZER_NORM_H
#define TUTTI_TOKEN_TOKENIZER_NORM_H

#include "base/buf.h"
#include "base/err.h"
#include "token/tokenizer/vocab.h"

/* Normalises s, valid UTF-8. *out is s itself when nothing changes, else a view of tmp. A run of more than
 * marks_max combining marks is ERR_LIMIT, because ordering them takes time that grows with its square. */
int norm_apply(enum vocab_norm norm, struct str s, size_t marks_max, struct buf *tmp, struct str *out,
               struct err *e);

#endif
