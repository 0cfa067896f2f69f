/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask: the body of a request for an answer (chat/completions, completions; other APIs translate into it),
 * read and checked as far as that needs no model. Fields of OpenAI, Groq, vLLM and llama.cpp that mean the
 * same; what it does not know it ignores. Strings and arrays are borrowed from the body.
 */
#ifndef TUTTI_SERVE_ASK_ASK_H
#define TUTTI_SERVE_ASK_ASK_H

#include <stdbool.h>
#include "base/str.h"
#include "serve/ask/fault.h"
#include "serve/ledger/gate.h"
#include "token/sampler.h"
#include "token/stop.h"

enum {
    ASK_CHOICES_MAX = 128,   /* n */
    ASK_PROMPTS_MAX = 128,   /* of one completions request */
    ASK_TOP_MAX = 20,        /* top_logprobs */
    ASK_BIAS_MAX = 4096,     /* entries of logit_bias */
    ASK_STOP_IDS_MAX = 64,
    ASK_MESSAGES_MAX = 16384,
};

enum ask_receipt { ASK_RECEIPT_NONE, ASK_RECEIPT_OPEN, ASK_RECEIPT_PRIVATE };
enum ask_api { ASK_CHAT = 1, ASK_COMPLETION = 2 };

struct ask {
    json_t *body;            /* owned */
    const char *model;       /* NULL: not given */
    bool stream, include_usage;
    int n, max_tokens;       /* max_tokens -1: not given */
    int max_completion_tokens; /* -1: not given; wins over max_tokens */
    int n_top;               /* -1: no logprobs */
    struct sampler_params sample;
    int64_t seed;
    bool seed_given;
    struct str stop[STOP_STRINGS_MAX];
    int n_stop;
    int32_t stop_ids[ASK_STOP_IDS_MAX];
    int n_stop_ids;
    struct sampler_bias *bias; /* what sample.bias points to, owned */
    int min_tokens, priority;
    bool ignore_eos, include_stop, skip_special, return_token_ids, echo, add_generation_prompt, debug;
    const char *service_tier; /* NULL: not given */
    enum ask_receipt receipt;
    const json_t *receipt_any;
    enum gate_tier tier;
    const json_t *messages, *prompt, *tools, *tool_choice, *response_format, *structured, *template_kwargs,
        *allowed_ids;

    /* as they stand in the body; what they mean is above */
    const json_t *stop_any, *stop_ids_any, *bias_any, *stream_options, *logprobs_any, *seed_any;
    int top_logprobs, best_of;
    bool has_logprobs, continue_final;
    const char *suffix, *chat_template;
};

/* body is taken over (NULL: out of memory). After a fault a holds nothing. */
int ask_take(struct ask *a, json_t *body, enum ask_api api, struct fault *f);
int ask_read(struct ask *a, struct str text, enum ask_api api, struct fault *f); /* the same from the body's text */
void ask_finish(struct ask *a); /* accepts a zeroed struct */

/* A whole JSON object from a body; json_decref it. */
int ask_parse_object(struct str text, json_t **out, struct fault *f);

/*
 * Messages as chat templates expect them: the text parts of a content joined by newlines, developer as
 * system, arguments of tool calls as objects. *out: json_decref it.
 */
int ask_messages(const json_t *messages, json_t **out, struct fault *f);

#endif
