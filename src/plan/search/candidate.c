/* SPDX-License-Identifier: Apache-2.0 */
/* See candidate.h. */
#include "plan/search/candidate.h"

#include <math.h>
#include <stdlib.h>
#include "base/pace.h"

enum {
    TRY_LEAST = 300,
    TRY_MOST = 30000,
    TRY_LONG = 40,
    TRY_TOKENS = 20000000,
    FINAL_FACTOR = 3,
    BISECTIONS = 6,
    MORE_REPLICAS = 12,
    OUT_MAX = 512,
    SHORT_CUT = 1
};
static const double HEADROOM = 0.85; /* of steady flow, what arrivals at random leave */

int candidate_chips(const struct candidate *c)
{
    return c->replicas * c->replica.chips;
}

/* --- by formula -------------------------------------------------------------------------------------------- */

/*
 * Requests per second at which a share `late` of prompts waits longer than limit_s leaves after the prompt's
 * own time: the tail of an M/D/1 queue, rho exp(-2 (1 - rho) wait / service), where arrivals are random; n
 * servers that take turns at `all` requests per second get them n times as evenly. While answers are being
 * written, prompts get what pace.h leaves them of each step.
 */
static double queue_rate(double prompt_s, double limit_s, double late, double all)
{
    double service = prompt_s * PACE_RATIO / (PACE_RATIO - 1), wait = fmax(0, limit_s - service), lo = 0, hi = 1;
    if (limit_s <= 0 || service <= 0) return HUGE_VAL;
    for (int i = 0; i < 40; i++) {
        double rho = (lo + hi) / 2;
        if (rho * exp(-2 * (1 - rho) * wait / service * fmax(1, all * service / rho)) <= late) lo = rho;
        else hi = rho;
    }
    return lo / service;
}

static bool flow_meets(const struct want *w, const struct replica_flow *f)
{
    return (w->limits.tpot_s <= 0 || f->tpot_s <= w->limits.tpot_s) &&
           (w->limits.ttft_s <= 0 || f->prompt_s + f->step_s <= w->limits.ttft_s);
}

int candidate_screen(struct candidate *c, const struct want *w, const struct device *d,
                     const struct device_setup *s, struct err *e)
{
    const struct traffic *t = w->traffic;
    *c = (struct candidate){.error = NAN};
    int rc = replica_open(&c->replica, d, s, t->prompt, t->answer, e);
    if (rc) return rc;
    struct replica *r = &c->replica;
    c->evidence = r->evidence, c->error = r->error;
    double room = r->tokens / (t->prompt + t->answer / 2), most = fmin(fmin(room, r->batch_max), OUT_MAX), last = 0;
    c->policy = (struct sim_policy){.max_running = 1,
                                    .step_tokens = CANDIDATE_STEP_TOKENS,
                                    .pages = (int64_t)(r->tokens / SIM_PAGE),
                                    .prefix_share = t->cached,
                                    .draft = w->draft,
                                    .accept = w->accept,
                                    .draft_share = w->draft_share,
                                    .seed = w->seed};
    for (double b = 1; b <= most && c->n_points < CANDIDATE_POINTS; b = fmax(b + 1, floor(b * 1.35))) {
        struct replica_flow f = replica_flow(r, b, t->prompt, t->answer, t->cached);
        double free_rate = f.rate, queue = queue_rate(f.prompt_s, w->limits.ttft_s, 1 - w->attain, t->rate);
        struct candidate_point *p = &c->point[c->n_points++];
        *p = (struct candidate_point){b, 1 / f.tpot_s, f.rate * t->answer * r->lanes / r->chips,
                                      f.prompt_s + f.step_s, flow_meets(w, &f)};
        if (b <= 1) c->fastest_tpot = f.step_s, c->fastest_ttft = f.prompt_s;
        if (p->meets) c->policy.max_running = (int)b;
        f.rate = fmin(f.rate, queue);
        if (p->meets && f.rate > c->flow.rate) c->flow = f, c->flow_batch = b;
        if (!p->meets && free_rate < last) break; /* slower for all, and no more of it */
        last = free_rate;
    }
    /* No limit on speed: as many as fit. Else somewhat more than steady flow, since not all places are always taken. */
    int widest = (int)fmin(fmin(r->batch_max, OUT_MAX), CANDIDATE_STEP_TOKENS / (1 + w->draft));
    if (w->limits.tpot_s <= 0) c->policy.max_running = widest;
    else c->policy.max_running = (int)fmin(widest, ceil(1.25 * c->policy.max_running));
    if (c->policy.max_running < 1) c->policy.max_running = 1;
    double best = c->flow.rate;
    for (int i = 0; i < c->n_points && w->draft; i++)
        best = fmax(best, c->point[i].chip_rate * r->chips / r->lanes / t->answer); /* drafts may mend it */
    c->guess = best > 0 ? ceil(t->rate / (HEADROOM * best * r->lanes)) : (double)INFINITY;
    return best > 0;
}

/* --- by simulation ----------------------------------------------------------------------------------------- */

int candidate_table(struct sim_time *t, const struct candidate *c, const struct want *w, struct err *e)
{
    struct sim_model m = replica_model(&c->replica);
    int longest = traffic_longest(w->traffic), room = (int)fmin(1e9, c->replica.tokens) - SIM_PAGE * 2;
    int context = longest < room || room < 1 ? longest : room;
    return sim_time_init(t, &m, c->policy.step_tokens, c->policy.max_running, context + w->draft + 1, e);
}

/* What was drawn longer than anything this lane can hold is cut. */
static void cut(struct sim_load *l, int most)
{
    for (int i = 0; i < l->n; i++) {
        struct sim_request *r = &l->requests[i];
        if (r->prompt + r->answer <= most) continue;
        if (r->answer > most / 2) r->answer = most / 2;
        r->prompt = most - r->answer;
        if (r->prefix > r->prompt) r->prefix = r->prompt;
    }
}

int candidate_try(struct candidate *c, const struct want *w, const struct sim_time *t, double rate,
                  double lanes, int n, struct sim_stats *st, struct sim_sum *sum,
                  void (*each)(void *ud, const struct sim_step *s), void *ud, struct err *e)
{
    struct sim_load l;
    /* fewer, if they are very long */
    double most = fmax(TRY_LONG, TRY_TOKENS / (w->traffic->answer + w->traffic->prompt / 16));
    int rc = traffic_requests(w->traffic, rate, lanes, w->seed, n > most ? (int)most : n, &l, e);
    if (rc) return rc;
    struct sim_served *v = calloc((size_t)l.n, sizeof *v);
    if (!v) rc = err(e, ERR_MEMORY, "out of memory for %d requests", l.n);
    int64_t hold = c->policy.pages * SIM_PAGE - w->draft - 1;
    cut(&l, hold < t->context_max ? (int)hold : t->context_max);
    if (!rc) rc = sim_run(st, v, t, &c->policy, l.requests, l.n, each, ud, e);
    if (!rc) rc = sim_sum(sum, st, v, l.requests, l.n, &w->limits, e);
    free(v);
    sim_load_finish(&l);
    return rc;
}

int candidate_requests(const struct candidate *c, const struct want *w, double lane_rate)
{
    double one = (w->limits.ttft_s > 0 ? w->limits.ttft_s : c->fastest_ttft) +
                 w->traffic->answer * fmax(c->fastest_tpot, fmin(w->limits.tpot_s, 4 * c->fastest_tpot));
    double n = 12 * one * lane_rate;
    return n < TRY_LEAST ? TRY_LEAST : n > TRY_MOST ? TRY_MOST : (int)n;
}

bool candidate_keeps_up(const struct candidate *c, const struct want *w, const struct sim_stats *st,
                        const struct sim_sum *sum)
{
    enum { PROMPTS = 5 };
    /* Of the time that was simulated. A run of candidate_requests() is 12 limits long: more is asked of those
     * only that TRY_MOST cuts short. */
    double share = w->limits.ttft_s > 0 ? 0.1 : 0.03;
    return sum->ttft99 <= PROMPTS * (c->fastest_ttft + c->fastest_tpot) + share * 1e-9 * (double)st->end_ns;
}

/* Does it work with so many lanes? 1, 0 or an error. */
static int works(struct candidate *c, const struct want *w, const struct sim_time *t, double lanes,
                 int factor, struct err *e)
{
    double rate = w->traffic->rate / lanes;
    int rc = candidate_try(c, w, t, rate, lanes, factor * candidate_requests(c, w, rate), &c->stats, &c->sum,
                           NULL, NULL, e);
    return rc ? rc : c->sum.met >= w->attain && candidate_keeps_up(c, w, &c->stats, &c->sum);
}

/* Between `few` lanes that do not work and `many` that do. */
static int bisect(struct candidate *c, const struct want *w, const struct sim_time *t, double few,
                  double *many, struct err *e)
{
    for (int i = 0; i < BISECTIONS && *many - few > 0.02 * few; i++) {
        double mid = sqrt(few * *many);
        int ok = works(c, w, t, mid, SHORT_CUT, e);
        if (ok < 0) return ok;
        if (ok) *many = mid;
        else few = mid;
    }
    return 0;
}

static int find_lanes(struct candidate *c, const struct want *w, const struct sim_time *t, double *lanes, struct err *e)
{
    double least = w->traffic->rate / fmax(1e-9, 1.3 * c->flow.rate), few = 0, many = fmax(least * 1.4, 1e-3);
    /* a formula sees no way: one request per second and lane to begin with */
    if (c->flow.rate <= 0) many = w->traffic->rate;
    int ok = 0, i = 0;
    for (; i < 10; i++, few = many, many *= 1.6) {
        if ((ok = works(c, w, t, many, SHORT_CUT, e)) != 0) break;
        if (c->sum.busy < 0.02) break; /* hardly any company, and yet too slow */
    }
    if (ok <= 0) return ok;
    for (; few == 0 && i < 30; i++) { /* the formula was too careful */
        if ((ok = works(c, w, t, many / 1.6, SHORT_CUT, e)) < 0) return ok;
        if (ok) many /= 1.6;
        else few = many / 1.6;
    }
    *lanes = many;
    int rc = few > 0 ? bisect(c, w, t, few, lanes, e) : 0;
    return rc ? rc : 1;
}

void candidate_cost(struct candidate *c, const struct want *w, const struct economy *m)
{
    const struct replica *r = &c->replica;
    struct device_step t;
    double busy = c->sum.busy, s = 1e-9 * (double)c->stats.end_ns, watts = NAN;
    if (r->has_joules && s > 0 && device_decode(r->device, &r->setup, 1, 1, &t, NULL) == 0)
        c->energy_evidence = t.joules_evidence,
        watts = (c->stats.joules / s * r->lanes + t.static_watts * (1 - busy)) / r->chips;
    c->chip_watts = fmin(watts, r->device->tdp);
    if (isnan(watts)) c->chip_watts = NAN;
    c->cost = economy_of(m, r->device, candidate_chips(c), c->chip_watts, w->pay);
    double tokens = w->traffic->rate * w->traffic->answer;
    c->dollars_per_token = c->cost.hour / 3600 / tokens;
    c->joules_per_token = isnan(watts) ? watts : c->cost.watts_mean / tokens;
}

int candidate_size(struct candidate *c, const struct want *w, struct err *e)
{
    struct sim_time t;
    double lanes = 0;
    int rc = candidate_table(&t, c, w, e);
    if (rc) return rc;
    int found = find_lanes(c, w, &t, &lanes, e);
    if (found > 0) {
        double most = w->chips_max ? w->chips_max : SEARCH_CHIPS_MAX,
               replicas = fmax(1, ceil(lanes / c->replica.lanes));
        c->lane_rate = w->traffic->rate / lanes;
        c->chips_needed = replicas * c->replica.chips;
        for (int i = 0; i < MORE_REPLICAS && !c->meets && replicas * c->replica.chips <= most; i++) {
            c->replicas = (int)replicas;
            int ok = works(c, w, &t, replicas * c->replica.lanes, FINAL_FACTOR, e);
            if (ok < 0) found = ok;
            if (ok < 0) break;
            c->meets = ok;
            if (!ok) replicas = ceil(fmax(replicas + 1, replicas * 1.03));
        }
    }
    if (c->meets) candidate_cost(c, w, w->economy);
    if (w->watts > 0 && !(c->cost.watts_limit <= w->watts)) c->meets = false; /* n/p does not meet it */
    if (w->dollars > 0 && !(c->cost.hour * ECONOMY_MONTH_H <= w->dollars)) c->meets = false;
    sim_time_finish(&t);
    return found < 0 ? found : 0;
}
