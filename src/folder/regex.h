/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns of published tokenizers (Oniguruma's Ruby syntax) as PCRE2 patterns of token/tokenizer/split.h.
 * \s, \d and \p{..} are spelt out, so that the installed Unicode does not matter; what could mean something
 * else there is refused by name: anchors, \w, \b, \h, backward references, classes within classes,
 * intersections, conditionals.
 */
#ifndef TUTTI_FOLDER_REGEX_H
#define TUTTI_FOLDER_REGEX_H

#include "base/buf.h"
#include "base/err.h"

enum { REGEX_BYTES_MAX = 1 << 16 };

/* Appends the pattern; two that would take quadratic time become the names of code that does the same. */
int regex_translate(struct str pattern, struct buf *out, struct err *e);
/* The same for a text that stands for itself. */
int regex_quote(struct str text, struct buf *out, struct err *e);

#endif
