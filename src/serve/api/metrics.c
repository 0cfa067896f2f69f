/* SPDX-License-Identifier: Apache-2.0 */
/* See metrics.h. */
#include "serve/api/metrics.h"

#include <inttypes.h>
#include <string.h>
#include "serve/http/json_out.h"

/* seconds; the last bucket of the format is +Inf */
static const double bounds[METRIC_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                              0.5,   1,      2.5,   5,    10,    30,   60,  300};

struct series {
    const char *name, *alias, *help; /* alias NULL: none */
};

static const struct series times[METRIC_N_TIMES] = {
    [METRIC_TTFT] = {"tutti_time_to_first_token_seconds", "vllm:time_to_first_token_seconds",
                     "From a request's arrival to its first token"},
    [METRIC_ITL] = {"tutti_inter_token_latency_seconds", "vllm:inter_token_latency_seconds",
                    "Between two tokens of an answer"},
    [METRIC_QUEUE] = {"tutti_queue_seconds", "vllm:request_queue_time_seconds",
                      "Waiting before the first step"},
    [METRIC_PREFILL] = {"tutti_prefill_seconds", "vllm:request_prefill_time_seconds",
                        "From the first step to the first token"},
    [METRIC_DECODE] = {"tutti_decode_seconds", "vllm:request_decode_time_seconds",
                       "From the first token to the last one"},
    [METRIC_INFERENCE] = {"tutti_inference_seconds", "vllm:request_inference_time_seconds",
                          "From the first step to the last token"},
    [METRIC_PER_TOKEN] = {"tutti_time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds",
                          "Mean time between the tokens of one answer"},
    [METRIC_E2E] = {"tutti_request_seconds", "vllm:e2e_request_latency_seconds",
                    "From a request's arrival to the end of its answer"},
};

static const struct series counts[METRIC_N_COUNTS] = {
    [METRIC_PROMPT] = {"tutti_prompt_tokens_total", "vllm:prompt_tokens_total", "Tokens of prompts"},
    [METRIC_CACHED] = {"tutti_cached_tokens_total", "vllm:prompt_tokens_cached_total",
                       "Tokens of prompts that the prefix cache supplied"},
    [METRIC_ANSWER] = {"tutti_answer_tokens_total", "vllm:generation_tokens_total", "Tokens of answers"},
};

static const char *const end_names[METRIC_N_ENDS] = {"stop", "length", "abort", "error"};

void metrics_init(struct metrics *m)
{
    *m = (struct metrics){0};
    pthread_mutex_init(&m->lock, NULL);
}

void metrics_finish(struct metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

void metrics_time(struct metrics *m, enum metric_time what, double s)
{
    int i = 0;
    while (i < METRIC_BUCKETS && s > bounds[i]) i++;
    pthread_mutex_lock(&m->lock);
    m->time[what].count[i]++;
    m->time[what].sum += s;
    pthread_mutex_unlock(&m->lock);
}

void metrics_count(struct metrics *m, enum metric_count what, uint64_t n)
{
    pthread_mutex_lock(&m->lock);
    m->count[what] += n;
    pthread_mutex_unlock(&m->lock);
}

void metrics_end(struct metrics *m, enum metric_end how)
{
    pthread_mutex_lock(&m->lock);
    m->end[how]++;
    pthread_mutex_unlock(&m->lock);
}

static void head(struct buf *out, const char *name, const char *help, const char *type)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* name{model_name="x"  -- and more labels may follow before the brace is closed */
static void label(struct buf *out, const char *name, const char *suffix, const char *model)
{
    buf_printf(out, "%s%s{model_name=", name, suffix);
    json_quote(out, str_from(model)); /* escapes what the format escapes */
}

/* count[n_bounds + 1], the last above all bounds. */
static void write_histogram(struct buf *out, const char *name, const char *model, const double *bound,
                            int n_bounds, const uint64_t *count, double total)
{
    uint64_t sum = 0;
    for (int i = 0; i <= n_bounds; i++) {
        sum += count[i];
        label(out, name, "_bucket", model);
        if (i < n_bounds) buf_printf(out, ",le=\"%g\"} %" PRIu64 "\n", bound[i], sum);
        else buf_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n", sum);
    }
    label(out, name, "_sum", model);
    buf_printf(out, "} %.15g\n", total);
    label(out, name, "_count", model);
    buf_printf(out, "} %" PRIu64 "\n", sum);
}

static void write_times(struct buf *out, const char *name, const char *help, enum metric_time what,
                        const struct metrics_model *model, int n)
{
    head(out, name, help, "histogram");
    for (int k = 0; k < n; k++)
        write_histogram(out, name, model[k].name, bounds, METRIC_BUCKETS, model[k].m->time[what].count,
                        model[k].m->time[what].sum);
}

/* vLLM's name has "total" in it, though it is a histogram. */
static void write_steps(struct buf *out, const struct metrics_model *model, int n)
{
    static const char *const names[] = {"tutti_step_tokens", "vllm:iteration_tokens_total"};
    double bound[SCHED_STEP_BUCKETS];
    for (int i = 0; i < SCHED_STEP_BUCKETS; i++) bound[i] = sched_step_bound(i);
    for (int i = 0; i < 2; i++) {
        head(out, names[i], "Tokens that a step carried, of prompts and of answers", "histogram");
        for (int k = 0; k < n; k++)
            write_histogram(out, names[i], model[k].name, bound, SCHED_STEP_BUCKETS,
                            model[k].stats.steps_by_tokens, (double)model[k].stats.step_tokens);
    }
}

static void write_counts(struct buf *out, const char *name, const char *help, enum metric_count what,
                         const struct metrics_model *model, int n)
{
    head(out, name, help, "counter");
    for (int k = 0; k < n; k++) {
        label(out, name, "", model[k].name);
        buf_printf(out, "} %" PRIu64 "\n", model[k].m->count[what]);
    }
}

static void write_ends(struct buf *out, const char *name, const struct metrics_model *model, int n)
{
    head(out, name, "Answers that ended, by reason", "counter");
    for (int k = 0; k < n; k++)
        for (int i = 0; i < METRIC_N_ENDS; i++) {
            label(out, name, "", model[k].name);
            buf_printf(out, ",finished_reason=\"%s\"} %" PRIu64 "\n", end_names[i], model[k].m->end[i]);
        }
}

/* Numbers of the scheduler. */
enum gauge {
    G_RUNNING,
    G_WAITING,
    G_KV,
    G_PAGES,
    G_PAGES_USED,
    G_PAGES_IDLE,
    G_PAGE_TOKENS,
    G_STEPS,
    G_PREEMPTIONS,
    G_QUERIES,
    G_HITS,
    G_GUESSING,
    G_GUESSES,
    G_GUESSES_RIGHT,
    G_READY,
    N_GAUGES
};
static const struct {
    struct series s;
    const char *type;
} gauges[N_GAUGES] = {
    [G_RUNNING] = {{"tutti_requests_running", "vllm:num_requests_running", "Answers being written"}, "gauge"},
    [G_WAITING] = {{"tutti_requests_waiting", "vllm:num_requests_waiting",
                    "Answers that wait for their first step"},
                   "gauge"},
    [G_KV] = {{"tutti_kv_usage_ratio", "vllm:kv_cache_usage_perc",
               "Share of the pages of keys and values in use, 0 to 1"},
              "gauge"},
    [G_PAGES] = {{"tutti_kv_pages", NULL, "Pages of keys and values"}, "gauge"},
    [G_PAGES_USED] = {{"tutti_kv_pages_used", NULL, "Pages that answers hold"}, "gauge"},
    [G_PAGES_IDLE] = {{"tutti_kv_pages_idle", NULL, "Pages kept for later prompts with the same beginning"},
                      "gauge"},
    [G_PAGE_TOKENS] = {{"tutti_kv_page_tokens", NULL, "Positions of a page"}, "gauge"},
    [G_STEPS] = {{"tutti_steps_total", NULL, "Steps of the scheduler"}, "counter"},
    [G_PREEMPTIONS] = {{"tutti_preemptions_total", "vllm:num_preemptions_total",
                        "Answers that gave their pages back for a while"},
                       "counter"},
    [G_QUERIES] = {{"tutti_prefix_queries_total", NULL, "Prompts looked up in the prefix cache"}, "counter"},
    [G_HITS] = {{"tutti_prefix_hits_total", NULL, "Prompts of which it had a beginning"}, "counter"},
    [G_GUESSING] = {{"tutti_guessing_total", "vllm:spec_decode_num_drafts_total",
                     "Times that the next tokens of an answer were guessed"},
                    "counter"},
    [G_GUESSES] = {{"tutti_guesses_total", "vllm:spec_decode_num_draft_tokens_total",
                    "Tokens that were guessed"},
                   "counter"},
    [G_GUESSES_RIGHT] = {{"tutti_guesses_right_total", "vllm:spec_decode_num_accepted_tokens_total",
                          "Guesses that were right, each a token without a step of its own"},
                         "counter"},
    [G_READY] = {{"tutti_model_ready", NULL, "1 when the model answers"}, "gauge"},
};

static double gauge_of(const struct metrics_model *m, enum gauge g)
{
    const struct sched_stats *s = &m->stats;
    switch (g) {
    case G_RUNNING: return s->running;
    case G_WAITING: return s->waiting;
    case G_KV: return s->pages_all ? (double)s->pages_used / s->pages_all : 0;
    case G_PAGES: return s->pages_all;
    case G_PAGES_USED: return s->pages_used;
    case G_PAGES_IDLE: return s->pages_idle;
    case G_PAGE_TOKENS: return m->page_tokens;
    case G_STEPS: return (double)s->steps;
    case G_PREEMPTIONS: return (double)s->preemptions;
    case G_QUERIES: return (double)s->prefix_queries;
    case G_HITS: return (double)s->prefix_hits;
    case G_GUESSING: return (double)s->guessing;
    case G_GUESSES: return (double)s->guesses;
    case G_GUESSES_RIGHT: return (double)s->guesses_right;
    case G_READY: return m->ready;
    case N_GAUGES: break;
    }
    return 0;
}

static void write_gauge(struct buf *out, const char *name, enum gauge g, const struct metrics_model *model, int n)
{
    head(out, name, gauges[g].s.help, gauges[g].type);
    for (int k = 0; k < n; k++) {
        label(out, name, "", model[k].name);
        buf_printf(out, "} %.15g\n", gauge_of(&model[k], g));
    }
}

/* vLLM counts tokens where it speaks of queries and hits. */
static void write_prefix_alias(struct buf *out, const struct metrics_model *model, int n)
{
    static const char *const names[] = {"vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"};
    for (int i = 0; i < 2; i++) {
        head(out, names[i],
             i ? "Tokens that the prefix cache supplied" : "Tokens looked up in the prefix cache", "counter");
        for (int k = 0; k < n; k++) {
            label(out, names[i], "", model[k].name);
            buf_printf(out, "} %" PRIu64 "\n", i ? model[k].stats.cached_tokens : model[k].stats.prompt_tokens);
        }
    }
}

/* What vLLM says once of its cache: a series whose labels are the figures. */
static void write_cache_info(struct buf *out, const struct metrics_model *model, int n)
{
    const char *name = "vllm:cache_config_info";
    head(out, name, "Positions of a page, pages of keys and values", "gauge");
    for (int k = 0; k < n; k++) {
        label(out, name, "", model[k].name);
        buf_printf(out, ",block_size=\"%d\",num_gpu_blocks=\"%d\",enable_prefix_caching=\"True\"} 1\n",
                   model[k].page_tokens, model[k].stats.pages_all);
    }
}

void metrics_write(struct buf *out, const struct metrics_model *model, int n)
{
    for (int k = 0; k < n; k++) pthread_mutex_lock(&model[k].m->lock);
    for (int i = 0; i < N_GAUGES; i++) {
        write_gauge(out, gauges[i].s.name, (enum gauge)i, model, n);
        if (gauges[i].s.alias) write_gauge(out, gauges[i].s.alias, (enum gauge)i, model, n);
    }
    write_prefix_alias(out, model, n);
    write_cache_info(out, model, n);
    for (int i = 0; i < METRIC_N_COUNTS; i++) {
        write_counts(out, counts[i].name, counts[i].help, (enum metric_count)i, model, n);
        write_counts(out, counts[i].alias, counts[i].help, (enum metric_count)i, model, n);
    }
    write_ends(out, "tutti_answers_total", model, n);
    write_ends(out, "vllm:request_success_total", model, n);
    for (int i = 0; i < METRIC_N_TIMES; i++) {
        write_times(out, times[i].name, times[i].help, (enum metric_time)i, model, n);
        write_times(out, times[i].alias, times[i].help, (enum metric_time)i, model, n);
    }
    write_steps(out, model, n);
    for (int k = 0; k < n; k++) pthread_mutex_unlock(&model[k].m->lock);
}
