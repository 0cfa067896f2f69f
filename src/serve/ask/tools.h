/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools: the functions that a chat request offers (OpenAI's tools and tool_choice), checked; the form of an answer that
 * must call one; and the words for models whose template knows nothing of tools.
 */
#ifndef TUTTI_SERVE_ASK_TOOLS_H
#define TUTTI_SERVE_ASK_TOOLS_H

#include "serve/ask/fault.h"
#include "serve/ask/form.h"

enum { TOOLS_MAX = 1024 };

struct tools {
    const json_t *list;  /* as the template sees them, or NULL: none */
    const char *forced;  /* the function that must be called; "" any one; NULL: the model is free */
};

/* Checks both fields. tool_choice "none" leaves no tools. */
int tools_read(struct tools *t, const json_t *tools, const json_t *choice, struct fault *f);
/* The schema of an answer that calls a function, for a forced one: json_decref it. NULL: out of memory. */
json_t *tools_schema(const struct tools *t);
/*
 * For templates that do not mention tools: messages (as ask_messages made them) with the functions described
 * in the system message, calls written as text, and results as messages of the user. json_decref it; NULL:
 * out of memory.
 */
json_t *tools_in_words(const struct tools *t, const json_t *messages);

#endif
