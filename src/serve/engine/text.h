/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text: what a model file says about text: its tokenizer and its chat template, ready to use.
 */
#ifndef TUTTI_SERVE_ENGINE_TEXT_H
#define TUTTI_SERVE_ENGINE_TEXT_H

#include <jansson.h>
#include "file/gguf.h"
#include "token/template/template.h"
#include "token/tokenizer/tokenizer.h"

struct text {
    struct tokenizer *tok;
    struct tok_scratch *scratch;
    struct template *chat; /* NULL: the file has none, or one that cannot be compiled */
    struct err chat_err;   /* why it cannot, or code 0 */
    struct str chat_source; /* its text, in the file's memory; n 0: none */
    struct str bos, eos;   /* as the chat template sees them; p NULL: none */
};

/* Reads tokenizer.ggml.* and tokenizer.chat_template. A template that cannot be compiled is an error only
 * when it is used. */
int text_open(struct text *t, const struct gguf *g, struct err *e);
void text_close(struct text *t); /* accepts a zeroed struct */

enum { TEXT_IDS_MAX = 1 << 24 };

/* A conversation (array of {role, content}) as the template renders it, in ids. What users wrote never becomes a
 * control token. tools: array or NULL. */
int text_chat(struct text *t, const json_t *messages, const json_t *tools, bool add_generation_prompt, struct ids *out,
              struct err *e);

/*
 * The same with all that a template takes. The strings of in are those of the model (bos_token, eos_token,
 * now_s are filled in here). shown, if not NULL, gets the text of the prompt; out, if not NULL, its ids. x: a
 * scratch of the tokenizer, so that several threads may share a struct text.
 */
int text_prompt(const struct text *t, struct tok_scratch *x, const struct template_input *in, struct ids *out,
                struct buf *shown, struct err *e);

#endif
