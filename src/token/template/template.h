/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chat templates: an interpreter for the Jinja language as the published chat templates of language models
 * use it, with the behaviour of Python's jinja2 as Hugging Face's transformers sets it up (sandbox,
 * trim_blocks, lstrip_blocks, break and continue, generation blocks, tojson, raise_exception, strftime_now).
 *
 *   source --lex--> tokens --parse--> tree        template_compile, once per model
 *   tree + messages --eval--> text with marks     template_render, once per request
 *
 * Trust. Every byte of the result is marked: text that the template's author wrote (literals, the
 * special-token strings) is trusted, text that stems from messages, tools or keyword arguments is not, and
 * the mark follows each byte through every operation. The result comes as segments of one mark each. A
 * tokenizer that looks for special tokens inside trusted segments only, and never across a border, cannot be
 * made to see one in user text. One exception: the value of a message's "role" is trusted if it is one of a
 * closed list of words, because templates build markers around it ('<|' + role + '|>').
 *
 * A template is foreign code: steps, memory, output, nesting and ranges are limited by the constants below,
 * and it reads neither clock nor file nor environment.
 */
#ifndef TUTTI_TOKEN_TEMPLATE_TEMPLATE_H
#define TUTTI_TOKEN_TEMPLATE_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

enum {
    TEMPLATE_SOURCE_MAX = 1 << 20,   /* bytes of a template's source */
    TEMPLATE_NEST_MAX = 200,         /* brackets, operators, blocks inside each other in the source */
    TEMPLATE_DEPTH_MAX = 800,        /* tree nodes under evaluation inside each other, macros included */
    TEMPLATE_VALUE_DEPTH_MAX = 100,  /* lists and objects inside each other in a value */
    TEMPLATE_STEPS_MAX = 10000000,   /* nodes evaluated, items visited, 64-byte pieces of text copied */
    TEMPLATE_MEMORY_MAX = 256 << 20, /* bytes allocated by one rendering */
    TEMPLATE_OUTPUT_MAX = 64 << 20,  /* bytes of the result */
    TEMPLATE_RANGE_MAX = 100000,     /* items of range(), as in jinja2's sandbox */
};

struct template;

struct template_input {
    const json_t *messages; /* array of OpenAI-style messages */
    const json_t *tools;    /* array, or NULL for none */
    const json_t *kwargs;   /* object of further variables, or NULL; untrusted */
    const json_t *specials; /* object of further special-token strings (unk_token ...), or NULL; trusted */
    struct str bos_token;   /* p NULL: not defined */
    struct str eos_token;   /* p NULL: not defined */
    bool add_generation_prompt;
    int64_t now_s; /* what strftime_now shows: seconds since 1970 in the wall time to be shown */
};

struct template_segment {
    struct str text; /* part of template_output.text */
    bool trusted;    /* special tokens may be looked for in here */
};

struct template_output {
    struct str text;              /* the whole result, UTF-8, NUL-terminated */
    struct template_segment *seg; /* [n_seg], in order; neighbours differ in trust, none is empty */
    size_t n_seg;
};

/* Makes *t from the source (copied). ERR_FORMAT and ERR_UNSUPPORTED name line and column. Free with
 * template_destroy. */
int template_compile(struct template **t, struct str source, struct err *e);
void template_destroy(struct template *t); /* accepts NULL */

/*
 * Renders one conversation. Errors: ERR_USAGE with the template's own words when it calls raise_exception;
 * ERR_FORMAT when an operation does not fit its operands; ERR_LIMIT; ERR_MEMORY. *out is empty after an
 * error. A template may be rendered by several threads at once; the input must not change meanwhile.
 */
int template_render(const struct template *t, const struct template_input *in, struct template_output *out,
                    struct err *e);
void template_output_finish(struct template_output *out); /* accepts a zeroed struct */

#endif
