/* SPDX-License-Identifier: Apache-2.0 */
/* What the APIs that generate share in how they write: stream pieces, log probabilities, ends. */
#ifndef TUTTI_SERVE_API_GEN_H
#define TUTTI_SERVE_API_GEN_H

#include "serve/api/job.h"
#include "serve/ask/parts.h"
#include "serve/ask/tools.h"

/* Prompt ids of a chat through the model's template. kwargs, tools: or NULL. */
int gen_chat_prompt(struct call *c, const json_t *messages, const json_t *tools, const json_t *kwargs,
                    bool add_generation_prompt, struct ids *out, struct buf *shown, struct fault *f);
int gen_text_prompt(struct call *c, struct str text, bool add_special, bool parse_special, struct ids *out,
                    struct fault *f);
/* An array of token ids; param names it in faults. */
int gen_ids_prompt(struct call *c, const json_t *list, const char *param, struct ids *out, struct fault *f);

/* A request for a chat, read: what was asked, the functions it offers (borrowed from ask), the prompt's ids. */
struct gen_ask {
    struct ask ask;
    struct tools tools;
    struct ids ids;
};
/* Another API's body as chat/completions has it: json_decref *out. */
typedef int gen_translate(const json_t *in, json_t **out, struct fault *f);
/* Reads the body, by way of `translate` if not NULL; finds the model and makes the prompt. After a fault g
 * holds nothing. */
int gen_ask_read(struct call *c, gen_translate *translate, struct gen_ask *g, struct fault *f);
void gen_ask_finish(struct gen_ask *g);
/* A whole route: reads, makes the job, and starts it. */
void gen_chat_answer(struct call *c, gen_translate *translate, const struct job_api *api);

/*
 * What chat answers have in common, whatever the API: tools and thoughts. It is the job's state from gen_chat_answer
 * on, gen_chat_free is the API's finish. A stream feeds each piece; a whole answer is taken apart at its end.
 */
struct gen_chat {
    struct tools tools;
    bool thinking;          /* the prompt ended within a thought */
    struct parts *parts;    /* [n_choices], of a stream */
    int *n_calls;           /* [n_choices] so far */
};
void gen_chat_free(struct job *j);
void gen_chat_feed(struct job *j, int choice, struct str text, parts_sink *sink, void *ud);
void gen_chat_finish(struct job *j, int choice, parts_sink *sink, void *ud);      /* of a stream */
int gen_chat_whole(const struct job *j, int choice, parts_sink *sink, void *ud);  /* of a whole answer */

/* A token's piece as a JSON string; bytes that are no UTF-8 become U+FFFD. */
void gen_write_piece(struct buf *out, const struct tokenizer *t, int32_t id);
/* ids as a JSON array. */
void gen_write_ids(struct buf *out, const int32_t *ids, size_t n);

/* ,"x_groq":{"id":...} with seed and usage at the end of a stream (last), or for a whole reply. */
void gen_write_x_groq(const struct job *j, bool seed, bool usage, struct buf *out);
/* ,"stop_reason":... of a choice, as vLLM has it: the stop string, the token id, or null. */
void gen_write_stop_reason(const struct job_choice *c, struct buf *out);
/* The beginning of a piece of OpenAI's streams, until its choices; tier NULL: without one. */
void gen_begin_piece(struct job *j, const char *object, const char *tier, struct buf *out);
/* A whole reply of theirs until its usage; the caller goes on and closes it. */
void gen_write_reply(const struct job *j, const char *object,
                     void (*write_choice)(const struct job *j, int i, struct buf *out), struct buf *out);
/* The end of a piece, behind its choices. */
void gen_end_piece(const struct job *j, struct buf *out);
/* The end of such a stream: a piece without choices that has the usage, if it was asked for, and [DONE]. */
void gen_end_stream(struct job *j, void (*begin_piece)(struct job *j, struct buf *out), struct buf *out);
/* data: {"error":...} and [DONE]. */
void gen_stream_fault(struct job *j, const struct fault *f, struct buf *out);

#endif
