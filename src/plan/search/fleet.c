/* SPDX-License-Identifier: Apache-2.0 */
/* See fleet.h. */
#include "plan/search/fleet.h"

#include <math.h>
#include <stdlib.h>
#include "kern/philox.h"
#include "plan/class/class.h"

static const double DAY_S = 86400, HOUR_S = 3600;
static const double FULL = 0.95; /* of a lane's greatest rate, which was found at random arrivals */
enum { GRID_REQUESTS = 1200 };

/* --- the grid ---------------------------------------------------------------------------------------------- */

static void slow_down(struct sim_time *t, double factor)
{
    for (int i = 0; i <= t->rows_max; i++) t->dense_ns[i] = (int64_t)((double)t->dense_ns[i] * factor);
    for (int i = 0; i <= t->out_max; i++) t->out_ns[i] = (int64_t)((double)t->out_ns[i] * factor);
    for (int i = 0; i < t->prompt.n; i++) t->prompt.s[i] *= factor;
    for (int b = 0; b < t->n_batch; b++)
        for (int i = 0; i < t->decode[b].n; i++) t->decode[b].s[i] *= factor;
}

static double chip_watts(const struct candidate *c, const struct sim_stats *st, const struct sim_sum *sum)
{
    const struct replica *r = &c->replica;
    struct device_step t;
    double s = 1e-9 * (double)st->end_ns;
    if (!r->has_joules || s <= 0 || device_decode(r->device, &r->setup, 1, 1, &t, NULL)) return NAN;
    return fmin(r->device->tdp, (st->joules / s * r->lanes + t.static_watts * (1 - sum->busy)) / r->chips);
}

int fleet_grid(struct fleet_grid *g, struct candidate *c, const struct want *w, struct err *e)
{
    static const double share[FLEET_LOADS] = {0.05, 0.3, 0.6, 0.8, 0.95, 1.05, 1.2, 1.5},
                        slow[FLEET_SLOWS] = {1, 1.15, 1.4};
    int rc = 0;
    for (int k = 0; k < FLEET_SLOWS && !rc; k++) {
        struct sim_time t;
        g->slow[k] = slow[k];
        if ((rc = candidate_table(&t, c, w, e))) return rc;
        slow_down(&t, slow[k]);
        for (int i = 0; i < FLEET_LOADS && !rc; i++) {
            struct sim_stats st;
            struct sim_sum sum;
            g->share[i] = share[i];
            rc = candidate_try(c, w, &t, share[i] * c->lane_rate, c->replicas * c->replica.lanes,
                               GRID_REQUESTS, &st, &sum, NULL, NULL, e);
            if (rc) break;
            g->met[k][i] = sum.met;
            g->watts[k][i] = chip_watts(c, &st, &sum);
        }
        sim_time_finish(&t);
    }
    return rc;
}

static int interval(const double *x, int n, double at, double *part)
{
    int i = 0;
    while (i < n - 2 && x[i + 1] <= at) i++;
    *part = fmin(1, fmax(0, (at - x[i]) / (x[i + 1] - x[i])));
    return i;
}

static double read_grid(const struct fleet_grid *g, const double v[FLEET_SLOWS][FLEET_LOADS], double share, double slow)
{
    double p, q;
    int i = interval(g->share, FLEET_LOADS, share, &p), k = interval(g->slow, FLEET_SLOWS, slow, &q);
    double a = v[k][i] + p * (v[k][i + 1] - v[k][i]), b = v[k + 1][i] + p * (v[k + 1][i + 1] - v[k + 1][i]);
    return a + q * (b - a);
}

/* --- by hour ----------------------------------------------------------------------------------------------- */

/* A usual day: quarter load at 4 in the morning, all of it at 16. */
static double usual(double hour)
{
    return 0.625 + 0.375 * cos(2 * acos(-1) * (hour - 16) / 24);
}

void fleet_day(struct fleet_hour out[FLEET_HOURS], const struct fleet_grid *g, const struct candidate *c,
               const struct want *w, const double *shape)
{
    double lane = c->lane_rate * c->replica.lanes;
    int most = 0;
    for (int h = 0; h < FLEET_HOURS; h++) {
        struct fleet_hour *o = &out[h];
        o->rate = w->traffic->rate * (shape ? shape[h] : usual(h));
        o->replicas = (int)fmax(1, ceil(o->rate / (FULL * lane)));
        o->spare = (o->replicas + FLEET_SPARE - 1) / FLEET_SPARE;
        o->use = o->rate / (o->replicas * lane);
        o->met = read_grid(g, g->met, o->use, 1);
        if (o->replicas + o->spare > most) most = o->replicas + o->spare;
    }
    struct economy_cost all = economy_of(w->economy, c->replica.device, (double)most * c->replica.chips, NAN, w->pay);
    for (int h = 0; h < FLEET_HOURS; h++) {
        struct fleet_hour *o = &out[h];
        int on = (o->replicas + o->spare) * c->replica.chips;
        double watts = read_grid(g, g->watts, o->use * o->replicas / (o->replicas + o->spare), 1);
        struct economy_cost m = economy_of(w->economy, c->replica.device, on, watts, w->pay);
        o->watts = m.watts_mean;
        /* What is bought costs all day; power and rent only what is on. */
        o->dollars = all.pay == ECONOMY_RENT ? m.rent : all.capital + all.hosting + m.power;
    }
}

/* --- a large cluster --------------------------------------------------------------------------------------- */

static double uniform(uint64_t seed, uint32_t a, uint32_t b, int word)
{
    const uint32_t at[4] = {a, b, 0xf1ee, 0}, key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    philox4x32_10(at, key, out);
    return (out[word] + 0.5) / 4294967296.0;
}

static double normal(uint64_t seed, uint32_t a, uint32_t b)
{
    return sqrt(-2 * log(uniform(seed, a, b, 0))) * cos(2 * acos(-1) * uniform(seed, a, b, 1));
}

struct fleet_trouble fleet_trouble(const struct device *d)
{
    struct fleet_trouble t = {.failures = class_figure(d, FIGURE_cluster_failure, 1, 2e-5),
                              .repair_h = 8,
                              .jitter = 0.02,
                              .slow_share = 0.005,
                              .slow_factor = 1.3,
                              .retry_s = 5};
    t.node = d->node < 8 ? d->node : 8;
    return t;
}

/* The slowness of every replica: that of the slowest of its nodes. */
static double slowness(const struct fleet_trouble *t, uint64_t seed, int replica, int nodes)
{
    double worst = 1;
    for (int k = 0; k < nodes; k++) {
        double s = exp(t->jitter * normal(seed, (uint32_t)replica, (uint32_t)k));
        if (uniform(seed, (uint32_t)replica, (uint32_t)k, 2) < t->slow_share) s *= t->slow_factor;
        worst = fmax(worst, s);
    }
    return worst;
}

static int poisson(double mean, uint64_t seed, uint32_t at)
{
    if (mean > 50) return (int)fmax(0, lround(mean + sqrt(mean) * normal(seed, at, 7)));
    double p = exp(-mean), sum = p, u = uniform(seed, at, 8, 0);
    int n = 0;
    while (u > sum && n < 1000) p *= mean / ++n, sum += p;
    return n;
}

int fleet_cluster(struct fleet_cluster *out, const struct fleet_grid *g, const struct candidate *c,
                  const struct want *w, int chips, double share, const struct fleet_trouble *t, struct err *e)
{
    int n = chips / c->replica.chips, nodes = (c->replica.chips + t->node - 1) / t->node;
    *out = (struct fleet_cluster){.replicas = n, .alive_least = n};
    if (n < 1) return err(e, ERR_LIMIT, "%d chips hold no replica of %d", chips, c->replica.chips);
    double *slow = malloc((size_t)n * sizeof *slow), *back = calloc((size_t)n, sizeof *back);
    int rc = slow && back ? 0 : err(e, ERR_MEMORY, "out of memory for %d replicas", n);
    for (int i = 0; i < n && !rc; i++) slow[i] = slowness(t, w->seed, i, nodes);
    double tick = DAY_S / FLEET_TICKS, lane = c->lane_rate * c->replica.lanes,
           running = c->stats.running * c->replica.lanes, watts = 0;
    for (int k = 0; k < FLEET_TICKS && !rc; k++) {
        double now = k * tick, rate = share * n * lane * usual(now / HOUR_S), met = 0, power = 0;
        int dead = 0, failed = poisson(chips * t->failures * tick / HOUR_S, w->seed ^ 0xdead, (uint32_t)k);
        for (int i = 0; i < failed; i++) {
            int at = (int)(uniform(w->seed ^ 0xfa11, (uint32_t)k, (uint32_t)i, 0) * n);
            if (back[at] <= now) out->broken += running * fmin(1, usual(now / HOUR_S) * share);
            back[at] = now + t->repair_h * HOUR_S;
        }
        out->failures += failed;
        for (int i = 0; i < n; i++) dead += back[i] > now;
        double use = rate / (lane * fmax(1, n - dead));
        for (int i = 0; i < n; i++) {
            if (back[i] > now) continue;
            met += read_grid(g, g->met, use, slow[i]);
            power += read_grid(g, g->watts, use, slow[i]);
        }
        int alive = n - dead;
        out->alive_mean += (double)alive / FLEET_TICKS;
        out->alive_least = fmin(out->alive_least, alive);
        out->offered += rate * tick;
        out->met += alive ? rate * tick * met / alive : 0;
        out->met_untroubled += rate * tick * read_grid(g, g->met, rate / (lane * n), 1);
        struct economy_cost m = economy_of(w->economy, c->replica.device, chips, power / n, w->pay);
        watts += m.watts_mean / (1 + w->economy->value[ECONOMY_SPARE]) / FLEET_TICKS;
    }
    out->met = fmax(0, out->met - out->broken) / out->offered; /* one that begins again is late */
    out->met_untroubled /= out->offered;
    out->tokens = out->offered * w->traffic->answer;
    out->watts_mean = watts;
    out->joules = watts * DAY_S;
    free(slow), free(back);
    return rc;
}

/* --- training ---------------------------------------------------------------------------------------------- */

int fleet_train(struct fleet_train *out, const struct device *d, const struct shape *m, int chips,
                double tokens, double sequence, const struct fleet_trouble *t, struct err *e)
{
    enum { STATE_BYTES = 16 };               /* per weight: weight, gradient, two moments and a master copy */
    static const double STORE_RATE = 2e9;    /* bytes/s of each node to where checkpoints lie */
    static const double RESTART_S = 180; /* assumed, as the rate above: detect, replace the node, load */
    static const double WRITERS = 256;   /* nodes that write at once */
    double weights = shape_weights(m), room = 0.8 * d->memory_bytes;
    int tp = d->node < 8 ? d->node : 8, pp = 1;
    *out = (struct fleet_train){0};
    while (weights * STATE_BYTES / (tp * pp) > room && pp < m->layers) pp *= 2;
    struct device_setup s = {.shape = m, .precision = device_precision("16-bit"), .tp = tp, .pp = pp, .ep = 1};
    out->chips_of_copy = tp * pp;
    out->copies = chips / out->chips_of_copy;
    if (out->copies < 1 || weights * STATE_BYTES / (tp * pp) > room)
        return err(e, ERR_LIMIT, "%d chips hold no copy of %.3g GB of weights, gradients and optimizer",
                   chips, 1e-9 * weights * STATE_BYTES);
    struct device_step f;
    double per_copy = tokens / out->copies, prompts = fmax(1, per_copy / sequence);
    int rc = device_prefill(d, &s, prompts, fmin(sequence, per_copy), 0, &f, e);
    if (rc) return rc;
    out->compute_s = 3 * f.seconds; /* backward takes twice as much as forward */
    /* All-reduce of gradients among the chips that hold the same part: ring below a switch, then across tiers. */
    double bytes = 2 * weights / (tp * pp),
           net = class_figure(d, FIGURE_net_rate, 1e9, d->link) * class_figure(d, FIGURE_net_share, 1, 1);
    double hop = class_figure(d, FIGURE_net_hop, 1e-9, 5e-6),
           tier = fmax(1, floor(class_figure(d, FIGURE_net_tier, 1, 512) / out->chips_of_copy));
    double low = fmin(out->copies, tier), high = ceil(out->copies / low);
    out->tier_s[0] = f.part[DEVICE_REDUCE];
    out->tier_s[1] = 2 * (low - 1) / low * bytes / net + 2 * log2(fmax(1, low)) * hop;
    out->tier_s[2] = 2 * (high - 1) / high * bytes / low / net + 2 * log2(fmax(1, high)) * 3 * hop;
    out->reduce_s = out->tier_s[1] + out->tier_s[2];
    /* hidden behind the backward pass but for the first layer's */
    out->exposed_s = fmax(out->reduce_s - 2.0 / 3 * out->compute_s, out->reduce_s / m->layers);
    /* All wait for the slowest: the expected maximum of n log-normal times; nodes that are known to be slow
     * are taken out. */
    double nodes = (double)out->copies * out->chips_of_copy / t->node;
    out->straggle_s = out->compute_s * (exp(t->jitter * sqrt(2 * log(fmax(2, nodes)))) - 1);
    out->step_s = out->compute_s + out->exposed_s + out->straggle_s;
    out->mtbf_h = 1 / (t->failures * out->copies * out->chips_of_copy);
    double save = weights * STATE_BYTES / fmin(nodes, WRITERS) / STORE_RATE; /* copies are alike: each writes a part */
    out->checkpoint_s = sqrt(2 * save * out->mtbf_h * HOUR_S); /* Young's interval */
    out->lost = fmin(1, save / out->checkpoint_s + (out->checkpoint_s / 2 + RESTART_S) / (out->mtbf_h * HOUR_S));
    out->tokens_s = tokens / out->step_s * (1 - out->lost);
    out->use = 3 * f.ops / out->step_s * (1 - out->lost) / (out->chips_of_copy * d->flops16);
    return 0;
}
