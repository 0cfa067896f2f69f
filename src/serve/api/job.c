/* SPDX-License-Identifier: Apache-2.0 */
/* See job.h. */
#include "serve/api/job.h"

#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "serve/http/json_out.h"
#include "serve/http/ulid.h"

enum {
    SEED_BITS = 53,        /* of a drawn seed: every JSON reader keeps it */
    BATCH_PRIORITY = 10000, /* below that of everybody who waits */
};

static void destroy(struct job *j)
{
    if (j->api->finish) j->api->finish(j);
    for (int i = 0; i < j->n_choices && j->choice; i++) {
        struct job_choice *c = &j->choice[i];
        buf_finish(&c->text);
        buf_finish(&c->logprobs);
        buf_finish(&c->logprobs2);
        buf_finish(&c->logprobs3);
        buf_finish(&c->logprobs4);
        buf_finish(&c->stop);
        ids_finish(&c->ids);
        if (c->witness) witness_finish(c->witness);
        free(c->witness);
    }
    for (int i = 0; i < j->n_prompts && j->prompt; i++) free(j->prompt[i].ids);
    for (int i = 0; i < j->n_choices && j->mask; i++)
        if (j->mask[i]) j->mask_ops->free(j->mask[i]);
    free(j->mask);
    free(j->form_text);
    free(j->allowed);
    free(j->choice);
    free(j->prompt);
    buf_finish(&j->head);
    buf_finish(&j->out);
    ask_finish(&j->ask);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

struct job *job_create(struct call *c, const struct job_api *api, struct ask *ask, int n_prompts)
{
    struct job *j = calloc(1, sizeof *j);
    struct fault f;
    if (!j) {
        ask_finish(ask);
        fault_memory(&f);
        call_fail(c, &f);
        return NULL;
    }
    *j = (struct job){.call = c,
                      .api = api,
                      .ask = *ask,
                      .n_prompts = n_prompts,
                      .n_choices = n_prompts * ask->n,
                      .created = (int64_t)time(NULL)};
    *ask = (struct ask){0};
    pthread_mutex_init(&j->lock, NULL);
    snprintf(j->id, sizeof j->id, "%s", api->id_prefix);
    ulid_make(j->id + strlen(j->id));
    if (!j->ask.seed_given) randombytes_buf(&j->ask.sample.seed, sizeof j->ask.sample.seed);
    if (!j->ask.seed_given) j->ask.sample.seed >>= 64 - SEED_BITS;
    j->max_tokens = j->ask.max_tokens < 0 ? 0 : j->ask.max_tokens;
    buf_init(&j->head, API_REPLY_MAX);
    buf_init(&j->out, API_REPLY_MAX);
    j->prompt = calloc((size_t)j->n_prompts, sizeof *j->prompt);
    j->choice = calloc((size_t)j->n_choices, sizeof *j->choice);
    if (!j->prompt || !j->choice) {
        fault_memory(&f);
        job_fail(j, &f);
        return NULL;
    }
    for (int i = 0; i < j->n_choices; i++) {
        struct job_choice *k = &j->choice[i];
        k->stop_id = -1;
        buf_init(&k->text, API_REPLY_MAX);
        buf_init(&k->stop, STOP_BYTES_MAX);
        ids_init(&k->ids, MODEL_CTX_MAX);
        buf_init(&k->logprobs, API_REPLY_MAX);
        buf_init(&k->logprobs2, API_REPLY_MAX);
        buf_init(&k->logprobs3, API_REPLY_MAX);
        buf_init(&k->logprobs4, API_REPLY_MAX);
    }
    if (api->begin && api->begin(j)) {
        fault_memory(&f);
        job_fail(j, &f);
        return NULL;
    }
    return j;
}

void job_add_prompt(struct job *j, int i, struct ids *ids)
{
    j->prompt[i] = (struct job_prompt){.job = j, .ids = ids->p, .n_ids = (int)ids->n, .first = i * j->ask.n};
    *ids = (struct ids){0};
}

void job_fail(struct job *j, const struct fault *f)
{
    struct call *c = j->call;
    struct fault copy = *f;
    destroy(j);
    call_fail(c, &copy);
}

/* --- the end ----------------------------------------------------------------------------------------------- */

const char *job_finish_reason(const struct job_choice *c)
{
    if (c->stop_id >= 0) return "stop"; /* whatever came after it */
    switch (c->end) {
    case GENERATE_END_TOKEN:
    case GENERATE_STOP: return "stop";
    case GENERATE_MAX_TOKENS:
    case GENERATE_CONTEXT: return "length";
    default: return "error";
    }
}

const char *job_tier(const struct job *j)
{
    if (j->ask.tier == GATE_FLEX) return "flex";
    return http_aliased(j->call->r) ? "on_demand" : "default";
}

void job_write_usage(const struct job *j, struct buf *out)
{
    buf_printf(
        out,
        "{\"queue_time\":%.9f,\"prompt_tokens\":%d,\"prompt_time\":%.9f,\"completion_tokens\":%d,\"completion_time\":%.9f,\"total_tokens\":%d,\"total_time\":%.9f,"
        "\"prompt_tokens_details\":{\"cached_tokens\":%d,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,"
        "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}",
        j->queue_s, j->n_prompt, j->prompt_s, j->n_answer, j->answer_s, j->n_prompt + j->n_answer,
        j->prompt_s + j->answer_s, j->n_cached);
}

static void sum_up(struct job *j)
{
    struct metrics *m = &j->call->m->metrics;
    struct gate_done *d = &j->call->done;
    double now = server_now();
    j->n_prompt = j->n_cached = j->n_answer = 0;
    for (int i = 0; i < j->n_prompts; i++) {
        j->n_prompt += j->prompt[i].n_ids;
        j->n_cached += j->prompt[i].n_cached;
    }
    for (int i = 0; i < j->n_choices; i++) {
        const char *why = job_finish_reason(&j->choice[i]);
        j->n_answer += j->choice[i].n_answer;
        metrics_end(m, strcmp(why, "stop") == 0 ? METRIC_STOP : strcmp(why, "length") == 0 ? METRIC_LENGTH
                       : j->choice[i].end == GENERATE_CANCELLED                            ? METRIC_ABORT
                                                                                           : METRIC_ERROR);
    }
    metrics_count(m, METRIC_PROMPT, (uint64_t)j->n_prompt);
    metrics_count(m, METRIC_CACHED, (uint64_t)j->n_cached);
    metrics_count(m, METRIC_ANSWER, (uint64_t)j->n_answer);
    metrics_time(m, METRIC_E2E, now - http_begin_s(j->call->r));
    metrics_time(m, METRIC_QUEUE, j->queue_s);
    metrics_time(m, METRIC_PREFILL, j->prompt_s);
    metrics_time(m, METRIC_DECODE, j->answer_s);
    metrics_time(m, METRIC_INFERENCE, j->prompt_s + j->answer_s);
    if (j->n_answer > j->n_choices)
        metrics_time(m, METRIC_PER_TOKEN, j->answer_s / ((double)j->n_answer / j->n_choices - 1));
    d->n_prompt = j->n_prompt;
    d->n_cached = j->n_cached;
    d->n_answer = j->n_answer;
    d->queue_s = j->queue_s;
    d->prompt_s = j->prompt_s;
    d->answer_s = j->answer_s;
    http_note(
        j->call->r,
        ",\"prompt_tokens\":%d,\"cached_tokens\":%d,\"answer_tokens\":%d,\"queue_s\":%.6f,\"prompt_s\":%.6f,\"answer_s\":%.6f,\"finish\":\"%s\"",
        j->n_prompt, j->n_cached, j->n_answer, j->queue_s, j->prompt_s, j->answer_s,
        job_finish_reason(&j->choice[0]));
}

/* On a worker, when every choice has ended. */
static void finish_job(struct http_request *r)
{
    struct job *j = call_of(r)->state;
    struct call *c = j->call;
    struct fault f = {0};
    struct buf b;
    if (job_waits_for_root(j, finish_job)) return;
    buf_init(&b, API_REPLY_MAX);
    sum_up(j);
    if (j->err.code) {
        fault_err(&f, NULL, &j->err);
        if (j->err_status) f.status = j->err_status;
        if (j->too_long) f.code = "context_length_exceeded";
        if (f.status == 429 || f.status == 503) http_set_header(r, "Retry-After", "1");
    }
    if (j->ask.stream && j->opened) {
        if (f.status) j->api->fault(j, &f, &b);
        else j->api->end(j, &b);
        destroy(j);
        call_stream_end(c, buf_str(&b));
        buf_finish(&b);
    } else if (f.status) {
        buf_finish(&b);
        destroy(j);
        call_fail(c, &f);
    } else {
        j->api->whole(j, &b);
        destroy(j);
        call_json(c, 200, &b);
    }
}

/* --- events ------------------------------------------------------------------------------------------------ */

static void cancel_all(struct job *j)
{
    j->cancelled = true;
    for (int i = 0; i < j->n_prompts; i++)
        if (j->prompt[i].ticket) sched_cancel(j->call->m->sched, j->prompt[i].ticket);
}

/* What was written for the stream goes to it; a client that does not read ends the job. */
static void push_out(struct job *j)
{
    if (!j->opened || !j->out.n) return;
    int rc = http_stream_append(j->call->r, buf_str(&j->out));
    buf_clear(&j->out);
    if (rc && rc != ERR_CANCELLED && !j->cancelled) {
        http_note(j->call->r, ",\"cut\":\"the client reads too slowly\"");
        cancel_all(j);
    }
}

static bool is_stop_id(const struct ask *a, int32_t id)
{
    for (int i = 0; i < a->n_stop_ids; i++)
        if (a->stop_ids[i] == id) return true;
    return false;
}

static size_t count_chars(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += (s.p[i] & 0xC0) != 0x80;
    return n;
}

static void take_text(struct job *j, int i, const struct job_token *t)
{
    struct job_choice *c = &j->choice[i];
    if (t->has_id) ids_push(&c->ids, t->id);
    if (j->api->note) j->api->note(j, i, t);
    if (j->ask.stream) j->api->token(j, i, t, &j->out);
    buf_append_str(&c->text, t->text);
    c->n_chars += count_chars(t->text);
}

static void take_token(struct job *j, struct job_choice *c, int i, const struct sched_event *ev)
{
    double now = server_now();
    struct metrics *m = &j->call->m->metrics;
    struct job_token t = {
        .text = ev->text, .has_id = true, .id = ev->id, .logp = ev->logp, .top = ev->top, .n_top = ev->n_top};
    if (c->last_s > 0) metrics_time(m, METRIC_ITL, now - c->last_s);
    else metrics_time(m, METRIC_TTFT, now - http_begin_s(j->call->r));
    c->last_s = now;
    c->n_answer++;
    if (c->witness) witness_token(c->witness, ev->id, ev->state);
    if (is_stop_id(&j->ask, ev->id) && c->n_answer > j->ask.min_tokens) {
        c->stop_id = ev->id;
        t.text = (struct str){NULL, 0};
    }
    take_text(j, i, &t);
    /* The scheduler does not know these tokens; it is told to stop when every choice has met one. */
    bool all = c->stop_id >= 0;
    for (int k = 0; k < j->n_choices && all; k++) all = j->choice[k].ended || j->choice[k].stop_id >= 0;
    if (all && !j->cancelled) cancel_all(j);
}

static void take_end(struct job *j, struct job_choice *c, int i, const struct sched_event *ev)
{
    struct job_prompt *p = &j->prompt[i / j->ask.n];
    if (c->stop_id < 0) {
        if (ev->end == GENERATE_STOP && ev->stop.p) buf_append_str(&c->stop, ev->stop);
        struct job_token t = {.text = ev->end == GENERATE_STOP && j->ask.include_stop ? buf_str(&c->stop) : ev->text};
        if (t.text.n) take_text(j, i, &t);
        c->n_answer = ev->n_answer;
    }
    c->end = ev->end;
    c->ended = true;
    if (ev->choice == 0) p->n_cached = ev->n_cached; /* the others find what the first one left */
    if (ev->queue_s > j->queue_s) j->queue_s = ev->queue_s;
    if (ev->prompt_s > j->prompt_s) j->prompt_s = ev->prompt_s;
    if (ev->answer_s > j->answer_s) j->answer_s = ev->answer_s;
    if (ev->end == GENERATE_FAILED && ev->err && !j->err.code) j->err = *ev->err;
    if (ev->end == GENERATE_CANCELLED && c->stop_id < 0 && !j->err.code) {
        err(&j->err, ERR_CANCELLED, http_gone(j->call->r) ? "the client went away" : "the server is shutting down");
        if (!http_gone(j->call->r)) j->err_status = 503;
    }
}

/* On the scheduler's thread. */
static void take_event(void *ud, const struct sched_event *ev)
{
    struct job_prompt *p = ud;
    struct job *j = p->job;
    int i = p->first + ev->choice;
    struct job_choice *c = &j->choice[i];
    pthread_mutex_lock(&j->lock);
    if (ev->kind == SCHED_TOKEN && c->stop_id < 0) take_token(j, c, i, ev);
    if (ev->kind == SCHED_END) take_end(j, c, i, ev);
    push_out(j);
    bool last = ev->kind == SCHED_END && --j->left == 0;
    struct http_request *r = j->call->r;
    pthread_mutex_unlock(&j->lock);
    if (last) http_defer(r, finish_job);
}

/* --- the beginning ----------------------------------------------------------------------------------------- */

static void cancel_ticket(void *ctx, uint64_t ticket)
{
    sched_cancel(ctx, ticket);
}

static int submit(struct job *j, struct job_prompt *p, struct err *e)
{
    struct call *c = j->call;
    struct sched_request q = {.prompt = p->ids,
                              .n_prompt = p->n_ids,
                              .n = j->ask.n,
                              .n_top = j->ask.n_top,
                              .state = j->ask.receipt != ASK_RECEIPT_NONE,
                              .priority = j->ask.priority + c->pass.priority -
                                          (http_is_inside(c->r) ? BATCH_PRIORITY : 0),
                              .owner = c->pass.owner,
                              .mask_ops = j->mask_ops,
                              .mask = j->mask ? j->mask + p->first : NULL,
                              .event = take_event,
                              .ud = p};
    q.params = (struct generate_params){.sample = j->ask.sample,
                                        .stop = j->ask.stop,
                                        .n_stop = j->ask.n_stop,
                                        .max_tokens = j->max_tokens,
                                        .ignore_end = j->ask.ignore_eos,
                                        .show_special = !j->ask.skip_special};
    if (j->marks) q.params.marks = j->marks->ids, q.params.n_marks = j->marks->n_ids;
    uint64_t ticket;
    int rc = sched_submit(c->m->sched, &q, &ticket, e);
    if (rc) return rc;
    if (j->mask) memset(j->mask + p->first, 0, (size_t)j->ask.n * sizeof *j->mask); /* taken over */
    pthread_mutex_lock(&j->lock);
    p->ticket = ticket;
    bool late = j->cancelled; /* events came before the ticket */
    pthread_mutex_unlock(&j->lock);
    if (late) sched_cancel(c->m->sched, ticket);
    return 0;
}

/* What api->open wrote goes out, and from now on all that follows. */
static void open_stream(struct job *j)
{
    http_stream_open(j->call->r, 200, HTTP_EVENTS);
    j->opened = true;
    push_out(j);
}

/* max_tokens 0: an answer of nothing, which needs no scheduler. */
static void answer_nothing(struct job *j)
{
    for (int i = 0; i < j->n_choices; i++) j->choice[i].end = GENERATE_MAX_TOKENS, j->choice[i].ended = true;
    if (j->ask.stream) {
        j->api->open(j, &j->out);
        open_stream(j);
    }
    http_defer(j->call->r, finish_job);
}

void job_start(struct job *j)
{
    struct call *c = j->call;
    struct http_request *r = c->r;
    struct sched *sched = c->m->sched;
    struct fault f = {0};
    int n = 0, submitted = 0;
    c->state = j;
    if ((!j->mask && job_read_form(j, &f)) || job_wrap_masks(j, &f)) {
        job_fail(j, &f);
        return;
    }
    for (int i = 0; i < j->n_prompts; i++) n += j->prompt[i].n_ids;
    int64_t most = (int64_t)j->max_tokens * j->n_choices;
    if (call_admit(c, n, most < INT_MAX ? (int)most : INT_MAX, j->ask.tier, &f)) {
        job_fail(j, &f);
        return;
    }
    if (j->ask.tier == GATE_FLEX) {
        struct sched_stats st;
        sched_stats(sched, &st);
        if (st.waiting > 0 &&
            fault_set(&f, 498, "capacity_exceeded", "capacity_exceeded", "service_tier",
                      "flex tier: %d requests wait already; try again later or use 'on_demand'",
                      st.waiting)) {
            job_fail(j, &f);
            return;
        }
    }
    if (job_call_witnesses(j, &f)) {
        job_fail(j, &f);
        return;
    }
    if (j->ask.max_tokens == 0) {
        answer_nothing(j);
        return;
    }
    /* From the first submit on the job belongs to the scheduler's thread, too; one more than its choices
     * keeps it here. */
    int n_prompts = j->n_prompts, per = j->ask.n;
    j->left = j->n_choices + 1;
    struct err e = {0};
    if (j->ask.stream) j->api->open(j, &j->out); /* before any token is written behind it */
    for (; submitted < n_prompts; submitted++)
        if (submit(j, &j->prompt[submitted], &e)) break;
    pthread_mutex_lock(&j->lock);
    if (submitted < n_prompts) {
        j->left -= (n_prompts - submitted) * per;
        j->err = e;
        j->too_long = e.code == ERR_LIMIT;
        cancel_all(j);
    } else if (j->ask.stream) {
        open_stream(j);
    }
    for (int i = 0; i < submitted; i++) http_on_gone(r, cancel_ticket, sched, j->prompt[i].ticket);
    bool last = --j->left == 0;
    pthread_mutex_unlock(&j->lock);
    if (last) http_defer(r, finish_job);
}
