/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job: a request for an answer on its way through the scheduler, whatever API it came by.
 *
 *   handler (worker)      job_create, prompts as ids (job_add_prompt), job_start
 *   scheduler's thread    events: each choice gathers its text, a stream also writes it (api->token)
 *   worker                when all choices have ended: usage is reported, then api->whole or api->end writes the rest
 *
 * A request may have several prompts (completions), each with n choices; choice number = prompt * n + i. If the client
 * goes away, or reads its stream too slowly, the scheduler is told to stop within one step.
 */
#ifndef TUTTI_SERVE_API_JOB_H
#define TUTTI_SERVE_API_JOB_H

#include "serve/api/api.h"
#include "serve/ask/ask.h"
#include "serve/receipt/witness.h"
#include "token/tokenizer/ids.h"

struct job;

struct job_token { /* one event; text may be empty */
    struct str text;
    bool has_id;      /* false: text that was held back, at the end */
    int32_t id;
    float logp;
    const struct sampler_logprob *top;
    int n_top;
};

struct job_choice {
    struct buf text;      /* of the whole answer */
    struct ids ids;       /* all tokens, the end token, too */
    struct buf logprobs;  /* for the API: what it wrote for each token */
    struct buf logprobs2, logprobs3, logprobs4; /* completions writes four lists */
    size_t n_chars;       /* code points of text so far */
    int n_logprobs;
    int n_answer;
    enum generate_end end;
    struct buf stop;      /* the stop string that was met */
    int32_t stop_id;      /* the token of stop_token_ids that was met, or -1 */
    bool ended;
    double last_s;        /* when its last token came */
    struct witness *witness; /* of its receipt, or NULL */
    void *state;          /* the API's own */
};

struct job_prompt {
    struct job *job;
    int32_t *ids;
    int n_ids, first;     /* its first choice */
    uint64_t ticket;
    int n_cached;
};

/* All write into out; token, open and end are called for streams only. None may wait. */
struct job_api {
    const char *id_prefix;        /* "chatcmpl-" */
    void (*open)(struct job *j, struct buf *out);
    void (*token)(struct job *j, int choice, const struct job_token *t, struct buf *out);
    void (*note)(struct job *j, int choice, const struct job_token *t); /* in every mode, before token; or NULL */
    void (*end)(struct job *j, struct buf *out);
    void (*whole)(struct job *j, struct buf *out);
    void (*fault)(struct job *j, const struct fault *f, struct buf *out); /* a stream that fails */
    int (*begin)(struct job *j);   /* makes choice states; not 0: out of memory; or NULL */
    void (*finish)(struct job *j); /* frees them, also after begin failed; or NULL */
};

struct job {
    struct call *call;
    const struct job_api *api;
    struct ask ask;
    char id[64];
    int64_t created;              /* seconds since 1970 */
    struct job_prompt *prompt;    /* [n_prompts] */
    struct job_choice *choice;    /* [n_choices] */
    int n_prompts, n_choices;
    int max_tokens;               /* of each choice; 0: until the context is full */
    const char *form_kind;        /* of the answers' form, for receipts: form_kind_name, or NULL */
    char *form_text;              /* schema, expression ... as it was said */
    const struct sched_mask_ops *mask_ops; /* of every choice, with mask[n_choices], or NULL; taken over by job_start */
    void **mask;
    int32_t *allowed;             /* [n_allowed] allowed_token_ids */
    int n_allowed;
    const struct marks *marks;    /* control tokens that the texts of the answers show, borrowed; NULL: none */
    struct buf head;              /* for the API: what every piece of a stream begins with */
    void *state;                  /* the API's own */

    /* the sum over prompts and choices, once all have ended */
    int n_prompt, n_cached, n_answer;
    double queue_s, prompt_s, answer_s;

    pthread_mutex_t lock;         /* of what follows, and of the choices while they run */
    int left;                     /* choices that have not ended */
    bool opened;                  /* the stream */
    bool cancelled;
    struct buf out;               /* written for the stream */
    struct err err;               /* why a choice failed; code 0: none did */
    int err_status;               /* of HTTP, if err is not of the scheduler */
    bool too_long;                /* err is that prompt and answer do not fit the context */
};

/* ask is taken over. NULL: out of memory, and a fault was sent. */
struct job *job_create(struct call *c, const struct job_api *api, struct ask *ask, int n_prompts);
/* The i-th prompt's ids, taken over from ids. */
void job_add_prompt(struct job *j, int i, struct ids *ids);
/* The form of the answers, after all prompts were added: as s says, or as the body asks for. job_start reads
 * the body unless a form was set before. */
struct form_spec;
int job_set_form(struct job *j, const struct form_spec *s, struct fault *f);
int job_read_form(struct job *j, struct fault *f);
int job_room(const struct job *j, int i); /* tokens that choice i may have at most */
/* Puts what the body says of single tokens around that; part of job_start. */
int job_wrap_masks(struct job *j, struct fault *f);
/* Admission, then off it goes. The call ends in any case, now or later; j is gone for the caller. */
void job_start(struct job *j);
/* If a receipt is asked for: a witness for each choice. */
int job_call_witnesses(struct job *j, struct fault *f);
/* True: fn(r) will be called when the model's root is known. */
bool job_waits_for_root(struct job *j, void (*fn)(struct http_request *r));
/* ,"receipt":"..." of a choice that has ended; nothing if none was asked for. */
void job_write_receipt(const struct job *j, int i, struct buf *out);
/* Ends the call with a fault instead of job_start. */
void job_fail(struct job *j, const struct fault *f);

/* Why a choice ended, as OpenAI names it: "stop", "length", "error". */
const char *job_finish_reason(const struct job_choice *c);
/* {"queue_time":...,"prompt_tokens":...,...} */
void job_write_usage(const struct job *j, struct buf *out);
/* "default" or "on_demand", as the client's side calls it, or the tier it asked for. */
const char *job_tier(const struct job *j);

#endif
