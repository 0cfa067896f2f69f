/* SPDX-License-Identifier: Apache-2.0 */
/* See sim/sum.h. */
#include "plan/sim/sum.h"

#include <stdlib.h>
#include "base/quantile.h"

static const double NS = 1e-9;

/* Nearest rank of sorted x. */
static double rank(const double *x, int n, int percent)
{
    return n ? x[((long)n * percent + 99) / 100 - (n > 0)] : 0;
}

static void gap_ranks(struct sim_sum *out, const struct sim_stats *st)
{
    int64_t all = 0, at = 0;
    for (int i = 0; i < SIM_GAPS; i++) all += st->gaps[i];
    for (int i = 0; i < SIM_GAPS; i++) {
        at += st->gaps[i];
        if (out->itl50 == 0 && at > 0 && 2 * at >= all) out->itl50 = NS * sim_gap_ns(i);
        if (out->itl99 == 0 && at > 0 && 100 * at >= 99 * all) out->itl99 = NS * sim_gap_ns(i);
    }
}

int sim_sum(struct sim_sum *out, const struct sim_stats *st, const struct sim_served *served,
            const struct sim_request *req, int n, const struct sim_limits *limits, struct err *e)
{
    *out = (struct sim_sum){0};
    int warm = n >= 2 * SIM_SUM_WARM ? n / SIM_SUM_WARM : 0, n_tpot = 0, met = 0;
    double *x = malloc(3 * (size_t)n * sizeof *x), *tpot = x + n, *latency = x + 2 * (size_t)n;
    if (!x) return err(e, ERR_MEMORY, "out of memory for %d results", n);
    for (int i = warm; i < n; i++) {
        const struct sim_served *v = &served[i];
        double first = NS * (double)(v->first_ns - v->arrive_ns), each = 0;
        if (req[i].answer > 1) each = tpot[n_tpot++] = NS * (double)(v->last_ns - v->first_ns) / (req[i].answer - 1);
        x[out->n] = first;
        latency[out->n++] = NS * (double)(v->last_ns - v->arrive_ns);
        met += (limits->ttft_s <= 0 || first <= limits->ttft_s) && (limits->tpot_s <= 0 || each <= limits->tpot_s);
    }
    quantile_sort(x, (size_t)out->n);
    quantile_sort(tpot, (size_t)n_tpot);
    quantile_sort(latency, (size_t)out->n);
    out->ttft50 = rank(x, out->n, 50), out->ttft99 = rank(x, out->n, 99);
    out->tpot50 = rank(tpot, n_tpot, 50), out->tpot99 = rank(tpot, n_tpot, 99);
    out->latency50 = rank(latency, out->n, 50), out->latency99 = rank(latency, out->n, 99);
    free(x);
    gap_ranks(out, st);
    double s = NS * (double)(st->end_ns - served[0].arrive_ns);
    out->met = (double)met / out->n;
    out->rate = s > 0 ? n / s : 0;
    out->goodput = out->rate * out->met;
    out->out_rate = s > 0 ? (double)st->answer_tokens / s : 0;
    out->in_rate = s > 0 ? (double)st->prompt_tokens / s : 0;
    out->running = st->running;
    out->busy = s > 0 ? NS * (double)st->busy_ns / s : 0;
    out->joules_per_token = st->answer_tokens ? st->joules / (double)st->answer_tokens : 0;
    return 0;
}
