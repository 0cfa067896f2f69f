/* SPDX-License-Identifier: Apache-2.0 */
/* See analysis.h. */
#include "plan/search/analysis.h"

#include <math.h>
#include <stdlib.h>
#include "plan/class/work.h"

enum { LOAD_REQUESTS = 1500 }; /* at least, of a point of the load curve */

static int make_load(struct analysis *a, struct candidate *c, const struct want *w, struct err *e)
{
    static const double share[LOAD_POINTS] = {0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.35, 1.6};
    struct sim_time t;
    int lanes = c->replicas * c->replica.lanes, rc = candidate_table(&t, c, w, e);
    if (rc) return rc;
    a->knee = -1;
    for (int i = 0; i < LOAD_POINTS && !rc; i++) {
        struct load_point *p = &a->load[a->n_load];
        struct sim_stats st;
        p->rate = share[i] * fmax(c->lane_rate * lanes, w->traffic->rate);
        int requests = candidate_requests(c, w, p->rate / lanes);
        if (requests < LOAD_REQUESTS) requests = LOAD_REQUESTS;
        rc = candidate_try(c, w, &t, p->rate / lanes, lanes, requests, &st, &p->sum, NULL, NULL, e);
        p->sum.goodput = p->sum.met * fmin(p->rate, p->sum.rate * lanes);
        if (!rc && p->sum.met >= w->attain && candidate_keeps_up(c, w, &st, &p->sum)) a->knee = a->n_load;
        a->n_load++;
    }
    sim_time_finish(&t);
    return rc;
}

static void make_capacity(struct analysis *a, const struct candidate *c, const struct want *w)
{
    const struct replica *r = &c->replica;
    struct device_setup whole = {.shape = w->shape, .precision = r->setup.precision, .tp = 1, .pp = 1};
    a->weight_bytes = work_weight_bytes(&whole);
    a->token_bytes = work_token_bytes(&whole);
    for (int i = 0; i < CAPACITY_ROWS; i++) {
        struct capacity_row *row = &a->capacity[i];
        struct device_fit f;
        struct device_setup s = r->setup;
        row->context = 4096 * exp2(i);
        row->users = floor(r->tokens * r->lanes / row->context);
        row->chips = device_fit(r->device, &s, 1, row->context, &f, NULL) ? 0 : f.chips;
    }
}

static int make_steps(struct analysis *a, const struct candidate *c, const struct want *w, struct err *e)
{
    const struct replica *r = &c->replica;
    a->batch = fmax(1, round(c->stats.running));
    a->context = w->traffic->prompt + w->traffic->answer / 2;
    int rc = device_decode(r->device, &r->setup, a->batch, a->context, &a->decode, e);
    return rc ? rc : device_prefill(r->device, &r->setup, 1, w->traffic->prompt, 0, &a->prefill, e);
}

/* --- what each assumption moves ---------------------------------------------------------------------------- */

struct moved { /* one assumption at one value */
    struct economy economy;
    double chip_price, time, use; /* factors of the best chip's price and of times; mean load of the asked one */
};

/* Of chips[0] then, and the chip that is then the cheapest. */
static double cost_when(const struct moved *m, const struct search_chip *chips, int n, const struct want *w,
                        const char **cheapest)
{
    double of_best = NAN, least = HUGE_VAL;
    *cheapest = "n/p";
    for (int i = 0; i < n && chips[i].found; i++) {
        const struct candidate *c = &chips[i].best;
        struct device d = *c->replica.device;
        if (i == 0) d.buy *= m->chip_price, d.rent *= m->chip_price;
        double of =
            economy_of(&m->economy, &d, candidate_chips(c) * (i == 0 ? m->time : 1), c->chip_watts, w->pay)
                .hour;
        if (i == 0) of_best = of;
        if (of < least) least = of, *cheapest = chips[i].device->figures.chip;
    }
    return 1e6 * of_best / 3600 / (w->traffic->rate * w->traffic->answer * m->use);
}

static void add_bar(struct analysis *a, struct bar b)
{
    if (isnan(b.cost_low) || isnan(b.cost_high) || fabs(b.cost_high - b.cost_low) <= 0 || a->n_bars == BARS_MAX) return;
    int i = a->n_bars++;
    for (; i > 0 && fabs(a->bars[i - 1].cost_high - a->bars[i - 1].cost_low) < fabs(b.cost_high - b.cost_low);
         i--)
        a->bars[i] = a->bars[i - 1];
    a->bars[i] = b;
}

static void make_bars(struct analysis *a, const struct search_chip *chips, int n, const struct want *w)
{
    static const struct {
        const char *name;
        double low, high;
    } range[ECONOMY_ITEMS] = {{"power price", 0.06, 0.20}, {"PUE", 1.1, 1.5}, {"server power", 0.4, 1.1},
                              {"hosting", 100, 200},       {"life", 3, 6},    {"server price", 0.2, 0.6},
                              {"spares", 0.02, 0.1}};
    const struct moved now = {*w->economy, 1, 1, 1};
    for (int i = 0; i < ECONOMY_ITEMS; i++) {
        struct bar b = {range[i].name,
                        economy_about((enum economy_item)i)->unit,
                        range[i].low,
                        range[i].high,
                        w->economy->value[i],
                        0,
                        0,
                        NULL,
                        NULL};
        struct moved low = now, high = now;
        low.economy.value[i] = b.low, high.economy.value[i] = b.high;
        b.cost_low = cost_when(&low, chips, n, w, &b.chip_low);
        b.cost_high = cost_when(&high, chips, n, w, &b.chip_high);
        add_bar(a, b);
    }
    double error = isnan(chips[0].best.error) ? 0.25 : chips[0].best.error;
    struct bar factors[] = {{.name = "chip price", .low = 0.7, .high = 1.3},
                            {.name = "step time", .low = 1 - error, .high = 1 + error},
                            {.name = "mean load", .low = 0.3, .high = 1}};
    for (int i = 0; i < 3; i++) {
        struct bar b = factors[i];
        struct moved low = now, high = now;
        *(i == 0 ? &low.chip_price : i == 1 ? &low.time : &low.use) = b.low;
        *(i == 0 ? &high.chip_price : i == 1 ? &high.time : &high.use) = b.high;
        b.now = 1, b.unit = "of now";
        b.cost_low = cost_when(&low, chips, n, w, &b.chip_low);
        b.cost_high = cost_when(&high, chips, n, w, &b.chip_high);
        add_bar(a, b);
    }
}

enum again { CACHED, ACCEPTED, AGAIN };

/* The first chips sized anew with one of their assumptions at x. */
static int cost_again(double *cost, const char **cheapest, const struct search_chip *chips, int n,
                      const struct want *w, enum again what, double x, struct err *e)
{
    struct traffic t = *w->traffic;
    struct want moved = *w;
    double least = HUGE_VAL;
    int rc = 0;
    moved.traffic = &t;
    *(what == CACHED ? &t.cached : &moved.accept) = x;
    *cost = NAN, *cheapest = "n/p";
    for (int i = 0; i < n && i < BARS_CHIPS && chips[i].found && !rc; i++) {
        struct candidate c = chips[i].best;
        *(what == CACHED ? &c.policy.prefix_share : &c.policy.accept) = x;
        c.meets = false;
        rc = candidate_size(&c, &moved, e);
        double of = isfinite(chips[0].best.cost.hour) ? 1e6 * c.dollars_per_token : candidate_chips(&c);
        if (rc || !c.meets) continue;
        if (i == 0) *cost = of;
        if (of < least) least = of, *cheapest = chips[i].device->figures.chip;
    }
    return rc;
}

/* Assumptions of the traffic, for which plans are simulated anew. */
static int make_bars_again(struct analysis *a, const struct search_chip *chips, int n, const struct want *w,
                           struct err *e)
{
    static const double CACHED_MORE = 0.3, ACCEPTED_MORE = 0.2;
    const struct bar all[AGAIN] = {{.name = "prefix hits",
                                    .now = w->traffic->cached,
                                    .low = fmax(0, w->traffic->cached - CACHED_MORE),
                                    .high = fmin(0.95, w->traffic->cached + CACHED_MORE)},
                                   {.name = "acceptance",
                                    .now = w->accept,
                                    .low = fmax(0, w->accept - ACCEPTED_MORE),
                                    .high = fmin(1, w->accept + ACCEPTED_MORE)}};
    int rc = 0;
    for (int i = 0; i < AGAIN && !rc; i++) {
        struct bar b = all[i];
        if (i == ACCEPTED && !w->draft) continue;
        b.unit = i == CACHED ? "of prompts" : "of drafted";
        rc = cost_again(&b.cost_low, &b.chip_low, chips, n, w, (enum again)i, b.low, e);
        if (!rc) rc = cost_again(&b.cost_high, &b.chip_high, chips, n, w, (enum again)i, b.high, e);
        if (!rc) add_bar(a, b);
    }
    return rc;
}

int analysis_make(struct analysis *a, struct search_chip *chips, int n, const struct want *w, struct err *e)
{
    *a = (struct analysis){.knee = -1};
    struct candidate *c = &chips[0].best;
    make_capacity(a, c, w);
    bool priced = isfinite(c->cost.hour);
    a->bars_of = priced ? "USD per million output tokens" : "chips";
    a->bars_now = priced ? 1e6 * c->dollars_per_token : candidate_chips(c);
    make_bars(a, chips, n, w);
    int rc = make_bars_again(a, chips, n, w, e);
    if (!rc) rc = make_steps(a, c, w, e);
    return rc ? rc : make_load(a, c, w, e);
}

/* --- the nearest plan -------------------------------------------------------------------------------------- */

int analysis_nearest(struct search_chip *nearest, struct want *relaxed, const struct search_chip *chips,
                     int n, const struct want *w, struct err *e)
{
    enum { CHIPS_COUNTED = 1000000000 };
    static const double more[] = {1.1, 1.25, 1.5, 2, 3, 5, 10, 30};
    for (int i = 0; i < n; i++) {
        if (!chips[i].close) continue;
        *nearest = chips[i];
        for (size_t k = 0; k < sizeof more / sizeof *more; k++) {
            struct candidate *c = &nearest->best;
            *relaxed = *w;
            relaxed->watts = relaxed->dollars = 0;
            relaxed->chips_max = CHIPS_COUNTED;
            if (w->limits.tpot_s > 0) relaxed->limits.tpot_s = fmax(w->limits.tpot_s, more[k] * c->fastest_tpot);
            if (w->limits.ttft_s > 0)
                relaxed->limits.ttft_s =
                    fmax(w->limits.ttft_s, more[k] * (c->fastest_ttft + c->fastest_tpot));
            struct device_setup s = c->replica.setup;
            int rc = candidate_screen(c, relaxed, nearest->device, &s, e);
            if (rc >= 0) rc = candidate_size(c, relaxed, e);
            if (rc < 0) return rc;
            if (c->meets) return nearest->found = true;
        }
    }
    return 0;
}
