/* SPDX-License-Identifier: Apache-2.0 */
/*
 * traffic: what is asked of a system, as people say it, or as a trace says it (sim/load.h):
 *
 *   "500 users, 30 tok/s each, 8k in, 500 out"       "12 req/s, 2k in, 300 out, 50% spread, bursts x5, 40% cached"
 *
 * Clauses, between commas, in any order; each is a number with words around it. k is 1,024 of tokens and 1,000 of other
 * things. Users with a speed ask for users x speed tokens in a second in all: as many requests as make that, Poisson.
 */
#ifndef TUTTI_PLAN_SIM_TRAFFIC_H
#define TUTTI_PLAN_SIM_TRAFFIC_H

#include "plan/sim/load.h"

struct traffic {
    double users, speed;     /* 0: not said; tokens/s of each user */
    double rate;             /* requests/s; said, or of users and speed, or the trace's */
    double prompt, answer;   /* tokens, mean */
    double spread, burst;    /* as sim_draw; 0: none */
    bool even;
    double think_s;          /* between a user's answer and the next question */
    double cached;           /* share of prompts that the cache has */
    struct sim_load trace;   /* n 0: none */
};

enum { TRAFFIC_TEXT_MAX = 4096 };

/* A phrase, or the path of a trace where such a file exists. Errors name the clause and what is understood. */
int traffic_open(struct traffic *t, const char *text, struct err *e);
int traffic_read(struct traffic *t, const char *phrase, struct err *e); /* a phrase only */
void traffic_close(struct traffic *t);                                  /* accepts a zeroed struct */

/* Requests for one of `turns` equal servers that take turns, of which each gets `rate` per second; n: how
 * many to draw at most. */
int traffic_requests(const struct traffic *t, double rate, double turns, uint64_t seed, int n,
                     struct sim_load *out, struct err *e);
int traffic_longest(const struct traffic *t); /* tokens of one request, in and out, that a server has to hold */

/* "2s", "33 ms" in seconds; "1MW", "5 W" in watts; "250k", "$2M" in dollars. ERR_USAGE names `what`. */
int traffic_seconds(double *out, const char *text, const char *what, struct err *e);
int traffic_watts(double *out, const char *text, const char *what, struct err *e);
int traffic_link(double *out, const char *text, const char *what, struct err *e); /* "50GB/s", "400Gb/s" in bytes/s */
int traffic_dollars(double *out, const char *text, const char *what, struct err *e);

#endif
