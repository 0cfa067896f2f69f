/* SPDX-License-Identifier: Apache-2.0 */
/* Code points, patterns and automata over code points as parts of a grammar's rule: see grammar/text.c. */
#ifndef TUTTI_TOKEN_GRAMMAR_TEXT_H
#define TUTTI_TOKEN_GRAMMAR_TEXT_H

#include "token/grammar/grammar_int.h"
#include "token/grammar/pattern.h"

enum text_form {
    TEXT_PLAIN, /* UTF-8 */
    TEXT_JSON,  /* what stands between the quotes of a JSON string */
};

void grammar_set(struct grammar *g, uint32_t from, uint32_t to, struct cset s, enum text_form form, bool count);
/* ERR_MEMORY; a failure of the grammar is in g->failed. */
int grammar_pattern(struct grammar *g, uint32_t from, uint32_t to, const struct pattern *p, enum text_form form);
int grammar_dfa(struct grammar *g, uint32_t from, uint32_t to, const struct dfa *d, enum text_form form);

#endif
