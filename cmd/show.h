/* SPDX-License-Identifier: Apache-2.0 */
/*
 * show: an answer as a user reads it. A model that thinks aloud, writes in channels (gpt-oss) or calls
 * functions has its answer taken apart (serve/ask/parts.h):
 *
 *   thought   dim on a terminal; else between (thinking) and (end of thinking) on standard error, so that
 *             standard output is the answer alone; --thoughts hide leaves it out
 *   text      standard output
 *   call      a line of JSON: {"name": "f", "arguments": {...}}; of the functions of --tools
 *
 * --thoughts raw, and models that do none of this: the text goes out as the model writes it.
 */
#ifndef TUTTI_CMD_SHOW_H
#define TUTTI_CMD_SHOW_H

#include <stdio.h>
#include "args.h"
#include "serve/ask/parts.h"
#include "serve/ask/tools.h"
#include "serve/engine/text.h"

enum { SHOW_TEXT_MAX = 64 << 20 }; /* bytes of one answer */

struct show {
    const char *how, *tools_file, *kwargs_text; /* as given, or NULL */
    json_t *tools_json;           /* what the file held */
    json_t *kwargs;               /* further variables of the template, or NULL */
    struct tools tools;           /* list NULL: none */
    struct marks marks;
    bool apart, hide;             /* answers are taken apart; thoughts are left out */
    struct parts parts;           /* of the answer under way */
    struct buf text;              /* of the answer, without thoughts and calls */
    json_t *calls;                /* of the answer, as messages have them */
    FILE *aside;                  /* where thoughts go */
    bool dim, thinking;           /* by the terminal's attribute; within a thought */
    char last, last_aside;        /* characters that went to standard output and to standard error */
    int write_errno;              /* why standard output no longer takes text, or 0 */
};

/* clang-format off */
#define SHOW_ARGS(s)                                                                                         \
    {"thoughts", 0, ARG_STR, &(s).how, "HOW", "what the model thinks before it answers: show (default: dim; standard error where standard output is no terminal), hide, or raw (all as it is written, marks and calls too)", 0, 0}, \
    {"tools", 0, ARG_STR, &(s).tools_file, "FILE", "functions that the model may call, a JSON array as in the server's 'tools'; calls appear as lines of JSON", 0, 0}, \
    {"template-kwargs", 0, ARG_STR, &(s).kwargs_text, "JSON", "further variables of the chat template, as '{\"enable_thinking\": false}'", 0, 0}
/* clang-format on */

/* template: its source, or nothing. ERR_USAGE, ERR_FORMAT. */
int show_open(struct show *s, struct str template, const struct text *t, struct err *e);
void show_close(struct show *s); /* accepts a zeroed struct */

/* --thoughts, or /set thoughts of a chat. */
int show_set(struct show *s, const char *how, struct err *e);

/* An answer to the prompt begins; of a given form it begins with that form. Then pieces as they come, and the end. */
void show_begin(struct show *s, const struct text *t, const int32_t *ids, int n_ids, bool form);
/* Not 0: standard output takes no more (write_errno). */
int show_piece(struct show *s, struct str piece);
int show_end(struct show *s);
/* Standard output stands within a line. */
bool show_in_line(const struct show *s);

#endif
