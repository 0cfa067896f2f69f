/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api: the routes of the server. A request becomes a call: its key is checked before the handler runs
 * (before), and what it used is reported before its reply leaves (call_reply, call_stream_end). Another API
 * is one more file NAME.c beside it and its rows in the table of api.c; what generates text goes through
 * job.h.
 */
#ifndef TUTTI_SERVE_API_API_H
#define TUTTI_SERVE_API_API_H

#include "serve/api/server.h"
#include "serve/ask/fault.h"

enum { API_REPLY_MAX = 256 << 20 };

enum api_flags {
    API_PUBLIC = 1,   /* no key, also off loopback */
    API_RAW_BODY = 2, /* not for a JSON object */
};

struct call {
    struct http_request *r;
    struct server *s;
    struct served_model *m;  /* NULL: none yet */
    struct gate_pass pass;
    bool entered, left;
    void *state;             /* the job */
    struct gate_done done;   /* what call_reply reports; status is filled in there */
};

struct call *call_of(struct http_request *r);

/* Ends the call; the request must not be touched afterwards. */
void call_reply(struct call *c, int status, const char *type, struct buf *body);
void call_json(struct call *c, int status, struct buf *body);
void call_fail(struct call *c, const struct fault *f);
void call_error(struct call *c, const char *param, const struct err *e); /* an error from further down */
/* The same for a stream: reports, then writes the last text and closes. */
void call_stream_end(struct call *c, struct str last);

/* Finds the model that the client named (NULL: not named) and makes sure that it answers: c->m, or a fault. */
int call_model(struct call *c, const char *name, struct fault *f);
/* Asks the gate, with tokens known. */
int call_admit(struct call *c, int n_prompt, int max_answer, enum gate_tier tier, struct fault *f);

void api_fill(struct http_options *o); /* routes and hooks */

double server_now(void); /* monotonic seconds */

/* handlers */
void api_chat(struct http_request *r);
void api_completions(struct http_request *r);
void api_responses(struct http_request *r);
void api_messages(struct http_request *r);
void api_count_tokens(struct http_request *r);
void messages_write_fault(struct buf *out, const struct http_fault *f); /* errors of both, as Anthropic writes them */
void api_models(struct http_request *r);
void api_model(struct http_request *r);
void api_tokenize(struct http_request *r);
void api_detokenize(struct http_request *r);
void api_apply_template(struct http_request *r);
void api_embeddings(struct http_request *r);
void api_file_create(struct http_request *r);
void api_files(struct http_request *r);
void api_file(struct http_request *r);
void api_file_content(struct http_request *r);
void api_file_delete(struct http_request *r);
void api_batch_create(struct http_request *r);
void api_batches(struct http_request *r);
void api_batch(struct http_request *r);
void api_batch_cancel(struct http_request *r);
void api_health(struct http_request *r);
void api_ready(struct http_request *r);
void api_metrics(struct http_request *r);
void api_version(struct http_request *r);
void api_receipt_key(struct http_request *r);
void api_page(struct http_request *r);
void api_page_css(struct http_request *r);
void api_page_js(struct http_request *r);

#endif
