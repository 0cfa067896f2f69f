/* SPDX-License-Identifier: Apache-2.0 */
/*
 * form: the form that an answer must have, as requests say it.
 *
 *   response_format {type: json_object | json_schema | text}     OpenAI, Groq
 *   structured_outputs {json | json_object | regex | choice | grammar}, guided_*     vLLM, now and before
 *   json_schema, grammar     llama.cpp
 *
 * Each model keeps the grammars of the last requests (struct forms), so that who asks for the same form again
 * finds masks that are made already. Grammars are used on the scheduler's thread of the model only; here they
 * are found and counted.
 */
#ifndef TUTTI_SERVE_ASK_FORM_H
#define TUTTI_SERVE_ASK_FORM_H

#include "serve/ask/fault.h"
#include "serve/sched/sched.h"
#include "token/grammar/grammar.h"

enum { FORMS_MAX = 64 }; /* grammars that a model keeps */

enum form_kind { FORM_ANY, FORM_JSON_OBJECT, FORM_JSON_SCHEMA, FORM_REGEX, FORM_GBNF, FORM_CHOICE };

struct form_spec {
    enum form_kind kind;
    const json_t *json; /* schema or list of choices, borrowed */
    struct str text;    /* expression or grammar, borrowed */
    const char *param;  /* the field that asks for it */
    json_t *own;        /* parsed from a string; json_decref */
};

extern const char *const form_kind_name[]; /* "json_schema", as receipts name them */
/* Schema, choices, expression or grammar as text, for receipts; free it. NULL: out of memory. */
char *form_text(const struct form_spec *s);
/* The other way round: the grammar of a kind and a text. */
int form_of_text(struct str kind, struct str text, struct grammar **g, struct err *e);

/* What the body of a request asks for. A fault names the field. json_decref s->own afterwards. */
int form_read(const json_t *body, struct form_spec *s, struct fault *f);

struct forms;
int forms_create(struct forms **f, const struct tokenizer *t, int n_logits, struct err *e);
void forms_destroy(struct forms *f); /* accepts NULL */
/* The grammar of s, with a reference; NULL for FORM_ANY. Any thread. */
int forms_find(struct forms *f, const struct form_spec *s, struct grammar **g, struct err *e);
/* For sched_request.mask: rules one answer of at most max_tokens tokens (0: no limit). */
int forms_mask(struct forms *f, struct grammar *g, int max_tokens, void **mask, struct err *e);
extern const struct sched_mask_ops form_mask_ops;

#endif
