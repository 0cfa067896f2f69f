/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See search.h. Setups of a chip with memory: powers of two share products, up to a node; stages where that
 * is not enough, and once more as many; experts over more chips than share products. Chips that hold weights
 * in SRAM: as many as hold model and cache, and some more.
 */
#include "plan/search/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan/class/class.h"

enum { SETUPS_MAX = 256, SHARE_MAX = 64, STAGES_MAX = 64 };
/* answers that are so much faster than asked can pause for so many times a step */
static const double SLACK = 1.3, EAGER = 8;

struct setups {
    struct device_setup s[SETUPS_MAX];
    int n;
};

static void add(struct setups *all, struct device_setup s)
{
    for (int i = 0; i < all->n; i++)
        if (!memcmp(&all->s[i], &s, sizeof s)) return;
    if (all->n < SETUPS_MAX) all->s[all->n++] = s;
}

static bool fits(const struct device *d, const struct device_setup *s, double tokens)
{
    struct device_fit f;
    return device_fit(d, s, 1, tokens, &f, NULL) == 0 && f.fits;
}

static void list_resident(struct setups *all, const struct device *d, struct device_setup s, double tokens)
{
    static const double more[] = {1, 1.05, 1.15, 1.3, 1.5, 2, 3, 4};
    struct device_fit f;
    if (device_fit(d, &s, 1, tokens, &f, NULL) || !f.chips) return;
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        struct device_setup at = s;
        device_split(d, &at, (int)ceil(f.chips * more[i]));
        add(all, at);
    }
}

static void list_shared(struct setups *all, const struct device *d, struct device_setup s, double tokens)
{
    int most = d->node < SHARE_MAX ? d->node : SHARE_MAX;
    for (int tp = 1; tp <= most && tp <= s.shape->heads; tp *= 2) {
        s.tp = tp, s.ep = 1;
        int pp = 1;
        for (; pp <= STAGES_MAX && pp <= s.shape->layers; pp *= 2) {
            s.pp = pp;
            if (!fits(d, &s, tokens)) continue;
            add(all, s);
            if (tp * pp * 2 > 2 * most) break;
            s.pp = 2 * pp;
            if (s.pp <= s.shape->layers) add(all, s);
            break;
        }
        s.pp = 1;
        for (s.ep = 2 * tp; s.shape->experts > 0 && s.ep <= s.shape->experts && s.ep <= SHARE_MAX; s.ep *= 2)
            if (fits(d, &s, tokens)) add(all, s);
    }
}

/* The smallest system that holds a request, for a chip of which none was listed. */
static void tell_why(struct search_chip *c, const struct want *w, const struct search_space *space)
{
    struct device_setup s = {.shape = w->shape, .precision = space->precision[0]};
    struct device_fit f;
    struct err e = {0};
    device_split(c->device, &s, 1);
    if (device_fit(c->device, &s, 1, w->traffic->prompt + w->traffic->answer, &f, &e))
        snprintf(c->why, sizeof c->why, "%.*s", SEARCH_WHY_MAX - 1, e.msg);
    else snprintf(c->why, sizeof c->why, "%s", f.why);
}

/* Fewer is better: the place in which candidates of one chip stand. */
static double rank(const struct candidate *c)
{
    return isfinite(c->guess) ? c->guess * c->replica.chips : 1e12 * (1 + c->fastest_tpot);
}

static void keep(struct candidate *best, int most, int *n, const struct candidate *c)
{
    if (*n == most && rank(&best[most - 1]) <= rank(c)) return;
    int i = *n < most ? (*n)++ : most - 1;
    for (; i > 0 && rank(&best[i - 1]) > rank(c); i--) best[i] = best[i - 1];
    best[i] = *c;
}

/* How many times what was asked it takes: the greatest of power, cost, chips and a request's times alone over
 * their limits. */
static double miss(const struct candidate *c, const struct want *w)
{
    double m = 0, unknown = 1e6;
    if (w->limits.tpot_s > 0) m = fmax(m, c->fastest_tpot / w->limits.tpot_s);
    if (w->limits.ttft_s > 0) m = fmax(m, (c->fastest_ttft + c->fastest_tpot) / w->limits.ttft_s);
    if (w->chips_max && c->chips_needed > 0) m = fmax(m, c->chips_needed / w->chips_max);
    struct economy_cost one =
        economy_of(w->economy, c->replica.device, c->replica.chips, c->replica.device->tdp, w->pay);
    const struct economy_cost *cost = c->replicas ? &c->cost : &one;
    if (w->watts > 0) m = fmax(m, isnan(cost->watts_limit) ? unknown : cost->watts_limit / w->watts);
    if (w->dollars > 0) m = fmax(m, isnan(cost->hour) ? unknown : cost->hour * ECONOMY_MONTH_H / w->dollars);
    return m;
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    double x = a->cost.hour, y = b->cost.hour;
    if (isnan(x) != isnan(y)) return isnan(y);
    if (!isnan(x) && fabs(x - y) > 1e-9) return x < y;
    if (candidate_chips(a) != candidate_chips(b)) return candidate_chips(a) < candidate_chips(b);
    return a->sum.tpot99 < b->sum.tpot99;
}

static void say_miss(struct search_chip *c, const struct want *w)
{
    const struct candidate *b = &c->best;
    double unit = w->watts < 1e3 ? 1 : 1e3;
    if (b->replicas && ((w->watts > 0 && isnan(b->cost.watts_limit)) || (w->dollars > 0 && isnan(b->cost.hour))))
        snprintf(c->why, sizeof c->why,
                 "%s is not published, so that the limit cannot be checked; give it by --assume %s=VALUE",
                 w->watts > 0 && isnan(b->cost.watts_limit) ? "its power" : "its price",
                 w->watts > 0 && isnan(b->cost.watts_limit) ? "power.tdp" : "price.rent");
    else if (b->replicas && w->watts > 0 && b->cost.watts_limit > w->watts)
        snprintf(c->why, sizeof c->why, "needs %.4g %s at the wall, %.4g are allowed",
                 b->cost.watts_limit / unit, unit > 1 ? "kW" : "W", w->watts / unit);
    else if (b->replicas && w->dollars > 0 && b->cost.hour * ECONOMY_MONTH_H > w->dollars)
        snprintf(c->why, sizeof c->why, "costs $%.0f a month, %.0f are allowed",
                 b->cost.hour * ECONOMY_MONTH_H, w->dollars);
    else if (b->chips_needed > 0)
        snprintf(c->why, sizeof c->why, "needs about %.3g chips, %d are the most", b->chips_needed,
                 w->chips_max ? w->chips_max : SEARCH_CHIPS_MAX);
    else if (miss(b, w) <= 1)
        snprintf(
            c->why, sizeof c->why,
            "a request alone is within the limits (%.3g s, then %.3g ms), but %.3g %% of them are not however few share a replica",
            b->fastest_ttft + b->fastest_tpot, 1e3 * b->fastest_tpot, 100 * w->attain);
    else
        snprintf(
            c->why, sizeof c->why,
            "too slow: one request alone takes %.3g s to its first token and %.3g ms for each further one",
            b->fastest_ttft + b->fastest_tpot, 1e3 * b->fastest_tpot);
}

/* Larger pieces of prompts, where answers have time to spare. */
static int try_eager(struct search_chip *c, const struct want *w, struct err *e)
{
    if (!c->found || w->limits.ttft_s <= 0 ||
        (w->limits.tpot_s > 0 && c->best.sum.tpot99 * SLACK > w->limits.tpot_s))
        return 0;
    struct candidate x = c->best;
    x.policy.pace = EAGER;
    x.meets = false;
    int rc = candidate_size(&x, w, e);
    c->simulated++;
    if (x.meets && candidate_chips(&x) < candidate_chips(&c->best)) c->best = x;
    return rc;
}

static int search_one(struct search_chip *c, const struct search_space *space, const struct want *w, struct err *e)
{
    /* Small caches of resident chips make requests wait for a place, which the formula does not see: more are
     * simulated. */
    int most = c->device->ops->resident ? SEARCH_PER_RESIDENT : SEARCH_PER_CHIP;
    struct candidate best[SEARCH_PER_RESIDENT] = {{.replicas = 0}}, *one = malloc(sizeof *one);
    double tokens = w->traffic->prompt + w->traffic->answer, nearest = HUGE_VAL;
    int n = 0, rc = one ? 0 : err(e, ERR_MEMORY, "out of memory");
    for (int p = 0; p < space->n_precisions && !rc; p++) {
        struct device_setup s = {.shape = w->shape, .precision = space->precision[p]};
        struct setups all = {.n = 0};
        if (c->device->ops->resident) list_resident(&all, c->device, s, tokens);
        else list_shared(&all, c->device, s, tokens);
        for (int i = 0; i < all.n; i++) {
            int ok = candidate_screen(one, w, c->device, &all.s[i], NULL);
            c->screened++;
            if (ok >= 0) keep(best, most, &n, one);
        }
    }
    free(one);
    if (!rc && n == 0) tell_why(c, w, space);
    for (int i = 0; i < n && !rc; i++) {
        if (isfinite(best[i].guess)) rc = candidate_size(&best[i], w, e);
        c->simulated++;
        if (best[i].meets && (!c->found || better(&best[i], &c->best))) c->best = best[i], c->found = true;
        if (c->found || best[i].meets || miss(&best[i], w) >= nearest) continue;
        c->miss = nearest = miss(&best[i], w);
        c->best = best[i];
        c->close = true;
    }
    if (!rc) rc = try_eager(c, w, e);
    if (c->found) c->close = false;
    if (c->close) say_miss(c, w);
    return rc;
}

static int order(const void *a, const void *b)
{
    const struct search_chip *x = a, *y = b;
    if (x->found != y->found) return x->found ? -1 : 1;
    if (x->found) return better(&x->best, &y->best) ? -1 : better(&y->best, &x->best);
    if (x->close != y->close) return x->close ? -1 : 1;
    if (x->close && x->miss < y->miss) return -1;
    if (x->close && x->miss > y->miss) return 1;
    return strcmp(x->device->figures.chip, y->device->figures.chip);
}

int search_run(struct search_chip *chips, const struct search_space *space, const struct want *w, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < space->n_devices && !rc; i++) {
        chips[i] = (struct search_chip){.device = space->devices[i]};
        if (space->progress) space->progress(space->ud, i, space->n_devices);
        rc = search_one(&chips[i], space, w, e);
        if (rc) err_prefix(e, "%s", chips[i].device->figures.chip);
    }
    if (space->progress) space->progress(space->ud, space->n_devices, space->n_devices);
    if (!rc) qsort(chips, (size_t)space->n_devices, sizeof *chips, order);
    return rc;
}
