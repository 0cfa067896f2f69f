/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: what /metrics shows, in Prometheus' text format. Counts and histograms of one model; gauges are
 * read from its scheduler when asked. Every series has a name of ours and, where vLLM has the same, its name
 * as well, so that dashboards and routers (Gateway API Inference Extension, llm-d) that know vLLM know this
 * server.
 */
#ifndef TUTTI_SERVE_API_METRICS_H
#define TUTTI_SERVE_API_METRICS_H

#include <pthread.h>
#include <stdint.h>
#include "base/buf.h"
#include "serve/sched/sched.h"

enum { METRIC_BUCKETS = 16 };

struct histogram {
    uint64_t count[METRIC_BUCKETS + 1]; /* the last: above all bounds */
    double sum;
};

enum metric_time {
    METRIC_TTFT,
    METRIC_ITL,
    METRIC_QUEUE,
    METRIC_PREFILL,
    METRIC_DECODE,
    METRIC_INFERENCE,
    METRIC_PER_TOKEN,
    METRIC_E2E,
    METRIC_N_TIMES
};
enum metric_count { METRIC_PROMPT, METRIC_CACHED, METRIC_ANSWER, METRIC_N_COUNTS };
enum metric_end { METRIC_STOP, METRIC_LENGTH, METRIC_ABORT, METRIC_ERROR, METRIC_N_ENDS };

struct metrics {
    pthread_mutex_t lock;
    struct histogram time[METRIC_N_TIMES];
    uint64_t count[METRIC_N_COUNTS], end[METRIC_N_ENDS];
};

void metrics_init(struct metrics *m);
void metrics_finish(struct metrics *m);
void metrics_time(struct metrics *m, enum metric_time what, double seconds);
void metrics_count(struct metrics *m, enum metric_count what, uint64_t n);
void metrics_end(struct metrics *m, enum metric_end how);

struct metrics_model { /* what one model contributes */
    const char *name;
    struct metrics *m;
    struct sched_stats stats;
    int page_tokens, ready;
};

/* The models' part of /metrics. */
void metrics_write(struct buf *out, const struct metrics_model *model, int n);

#endif
