/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts: an answer's text taken apart as it comes: what the model thought (<think> ... </think>), what it says, and the
 * functions that it calls.
 *
 * Models write calls in few ways, and all are known at once, since the marks are rare elsewhere:
 *   <tool_call> {"name": ..., "arguments": {...}} </tool_call>      Hermes, Qwen, SmolLM3
 *   [TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...]           Mistral
 *   {"name": ..., "parameters": {...}} ; {...}                      Llama 3; and whoever's marks are control tokens,
 *                                                                   which do not show: the answer begins with JSON
 * Text that might be the beginning of a mark is held back. What looks like a call but names no function of the request is
 * text.
 */
#ifndef TUTTI_SERVE_ASK_PARTS_H
#define TUTTI_SERVE_ASK_PARTS_H

#include <jansson.h>
#include "base/buf.h"

enum part_kind { PART_TEXT, PART_REASONING, PART_CALL };

struct part {
    enum part_kind kind;
    struct str text; /* or the arguments of a call, as JSON; valid during the call */
    struct str name; /* of the function */
};

typedef void parts_sink(void *ud, const struct part *p);

enum parts_mode { PARTS_START, PARTS_THINK, PARTS_TEXT, PARTS_CALL, PARTS_JSON };

struct parts {
    const json_t *tools; /* array of the request, borrowed; NULL: calls are not looked for */
    bool think;          /* thoughts are looked for */
    enum parts_mode mode;
    bool said, thought;  /* some text or thought has left */
    bool gap;            /* a call was made, and nothing since */
    bool marked;         /* the call began with a mark that has an end */
    struct buf held;
};

/* thinking: the prompt ended within a thought. */
void parts_init(struct parts *p, const json_t *tools, bool think, bool thinking, size_t max_bytes);
void parts_free(struct parts *p); /* accepts a zeroed struct */
/* ERR_MEMORY or ERR_LIMIT. */
int parts_feed(struct parts *p, struct str text, parts_sink *sink, void *ud);
int parts_finish(struct parts *p, parts_sink *sink, void *ud); /* what was held back */

#endif
