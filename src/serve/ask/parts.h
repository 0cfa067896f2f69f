/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts: an answer's text taken apart as it comes: what the model thought, what it says, and the functions
 * that it calls.
 *
 *   text            <think> ... </think> text <tool_call> ... </tool_call> text
 *                   marks.h has the marks, calls.h what is in calls
 *   bare            {"name": ...}, [f(a=1)]: an answer that is nothing but calls, whose marks may have been
 *                   control tokens
 *   channels        <|channel|>analysis<|message|>thought<|end|><|start|>assistant<|channel|>final<|message|>text
 *                   (gpt-oss)
 *
 * Text that might be the beginning of a mark is held back. What looks like a call but names no function of
 * the request is text.
 */
#ifndef TUTTI_SERVE_ASK_PARTS_H
#define TUTTI_SERVE_ASK_PARTS_H

#include <jansson.h>
#include "base/buf.h"
#include "serve/ask/marks.h"

enum part_kind { PART_TEXT, PART_REASONING, PART_CALL };

struct part {
    enum part_kind kind;
    struct str text; /* or the arguments of a call, as JSON; valid during the call */
    struct str name; /* of the function */
};

typedef void parts_sink(void *ud, const struct part *p);

enum parts_mode { PARTS_START, PARTS_THINK, PARTS_TEXT, PARTS_CALL, PARTS_BARE, PARTS_HEAD, PARTS_BODY };

struct parts {
    const json_t *tools;       /* array of the request, borrowed; NULL: calls are not looked for */
    const struct marks *marks; /* of the model, borrowed */
    enum parts_mode mode;
    const struct marks_pair *call; /* that is open */
    bool said, thought;        /* some text or thought has left */
    bool gap;                  /* a call was made, and nothing since */
    enum part_kind body;       /* of channels: what the message is, PART_CALL with `name` */
    struct buf held, name;
};

/* thinking: the prompt ended within a thought. */
void parts_init(struct parts *p, const json_t *tools, const struct marks *marks, bool thinking, size_t max_bytes);
void parts_free(struct parts *p); /* accepts a zeroed struct */
/* ERR_MEMORY or ERR_LIMIT. */
int parts_feed(struct parts *p, struct str text, parts_sink *sink, void *ud);
int parts_finish(struct parts *p, parts_sink *sink, void *ud); /* what was held back */

#endif
