/* SPDX-License-Identifier: Apache-2.0 */
/* The form that an answer must have, as options of the command line say it: --json-schema, --regex, --grammar. */
#ifndef TUTTI_CMD_FORM_H
#define TUTTI_CMD_FORM_H

#include "args.h"
#include "serve/engine/text.h"
#include "token/grammar/grammar.h"

struct form {
    const char *json_schema, *regex, *grammar; /* at most one is given */
    struct grammar *g;                         /* NULL: any form */
    struct grammar_vocab *vocab;
};

/* clang-format off */
#define FORM_ARGS(f)                                                                                         \
    {"json-schema", 0, ARG_STR, &(f).json_schema, "FILE", "the answer is JSON that satisfies the JSON Schema in FILE", 0, 0}, \
    {"regex", 0, ARG_STR, &(f).regex, "EXPR", "the whole answer matches the regular expression EXPR", 0, 0}, \
    {"grammar", 0, ARG_STR, &(f).grammar, "FILE", "the answer has the form of rule 'root' of the GBNF grammar in FILE", 0, 0}
/* clang-format on */

static inline bool form_given(const struct form *f)
{
    return f->json_schema || f->regex || f->grammar;
}

/* n_logits: rows of the model's output. ERR_USAGE when several forms are given. */
int form_open(struct form *f, const struct text *t, int n_logits, struct err *e);
void form_close(struct form *f); /* accepts a zeroed struct */
/* The state of one answer of at most `room` tokens, and of max_tokens if that is not 0; NULL for any form. */
int form_begin(const struct form *f, int room, int max_tokens, struct grammar_state **s, struct err *e);

#endif
