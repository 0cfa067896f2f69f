/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: one replica serving a list of requests, event by event, by the policy of Tutti's own scheduler
 * (doc/sched.md): each step carries a token of every answer being written and, in what the pace leaves of its
 * budget, pieces of prompts; keys and values lie in pages of 128 tokens; when pages run out the youngest
 * answer loses its own and computes them again later.
 *
 *   waiting --> running --> ended        each step: arrivals in, shares, pages, time, tokens
 *      ^           |
 *      `-----------'  pages ran out
 *
 * Two modes with equal results. `plain` goes token by token. Otherwise, while no prompt is under way and
 * nothing can come in, steps are equal until an answer ends, a request arrives, pages run out or the mean
 * context enters its next bucket (sim/time.h): all of them are added at once. Time is whole nanoseconds, so k
 * times one step is the sum of k steps.
 *
 * Speculation is a stated chance: each of `draft` tokens is accepted with probability `accept` until the
 * first that is not. Prefix hits are a stated share of each prompt, or come from the requests' groups.
 */
#ifndef TUTTI_PLAN_SIM_SIM_H
#define TUTTI_PLAN_SIM_SIM_H

#include <stdbool.h>
#include "plan/sim/time.h"

enum { SIM_PAGE = 128, SIM_REQUESTS_MAX = 10000000, SIM_TOKENS_MAX = 1 << 23, SIM_GAPS = 512, SIM_DRAFT_MAX = 16 };

struct sim_request {
    int64_t arrive_ns;  /* not before the request in front of it */
    int prompt, answer; /* tokens, at least 1 each */
    int group;          /* 0: none; else requests of one group begin with the same `prefix` tokens */
    int prefix;
};

struct sim_policy {
    int max_running, step_tokens;
    int64_t pages;       /* for keys and values */
    double prefix_share; /* 0..1 of every prompt is found in the cache */
    double accept;       /* 0..1 */
    double pace;         /* ratio of base/pace.h; 0: PACE_RATIO */
    int draft;           /* tokens drafted per answer and step; 0: no speculation */
    double draft_share;  /* what drafting one token takes, as a share of a step of one row */
    int users; /* closed loop: so many requests are out at any time, each followed think_ns later; 0: open loop */
    int64_t think_ns;
    uint64_t seed;
    bool plain;
};

struct sim_served { /* of one request */
    int64_t arrive_ns, first_ns, last_ns; /* instants of arrival, first and last token */
    int cached, preempted;
};

struct sim_step {
    int64_t begin_ns, ns; /* of each of `times` equal steps */
    int64_t times;
    int answers, prompt_tokens, waiting, rows;
    int64_t pages_used;
};

struct sim_stats {
    int64_t end_ns, busy_ns;                   /* the last token; time in steps */
    int64_t steps, events;                     /* events: what the simulation had to look at */
    int64_t answer_tokens, prompt_tokens, cached_tokens, preemptions, peak_pages;
    double running;                            /* mean answers in a step, by time */
    double joules;                             /* of steps */
    int64_t gaps[SIM_GAPS];                    /* inter-token gaps; class i ends at sim_gap_ns(i) */
};

/* served: [n]. each: called for every event, or NULL. ERR_LIMIT: a request can never fit, or the policy is
 * out of bounds. */
int sim_run(struct sim_stats *out, struct sim_served *served, const struct sim_time *time,
            const struct sim_policy *policy, const struct sim_request *requests, int n,
            void (*each)(void *ud, const struct sim_step *s), void *ud, struct err *e);

double sim_gap_ns(int class);

#endif
