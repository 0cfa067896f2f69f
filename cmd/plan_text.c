/* SPDX-License-Identifier: Apache-2.0 */
/* tutti plan as text for a terminal. */
#include <math.h>
#include <string.h>
#include "plan.h"
#include "serve/engine/engine.h"

enum { TEXT_MAX = 32 };

/* A number with `digits` digits, or n/p. */
static const char *number(double v, int digits, char out[TEXT_MAX])
{
    if (isnan(v)) snprintf(out, TEXT_MAX, "n/p");
    else if (v >= 1e5) snprintf(out, TEXT_MAX, "%.0f", v);
    else snprintf(out, TEXT_MAX, "%.*g", digits, v);
    return out;
}

static void print_asked(const struct plan *p, FILE *f)
{
    const struct want *w = &p->want;
    const struct traffic *t = &p->traffic;
    fprintf(f, "%s, %s\n", p->shape.name, p->phrase);
    fprintf(f, "%.4g requests/s (open loop%s), %.0f tokens in, %.0f out: %.0f tokens/s out", t->rate,
            t->trace.n     ? ", trace"
            : t->even      ? ", even"
            : t->burst > 0 ? ", bursts"
                           : ", Poisson",
            t->prompt, t->answer, t->rate * t->answer);
    if (t->cached > 0) fprintf(f, "; %.0f %% of prompts cached", 100 * t->cached);
    if (w->draft) fprintf(f, "; %d tokens drafted, each accepted with %.0f %%", w->draft, 100 * w->accept);
    fprintf(f, "\nat least %.4g %% of requests with", 100 * w->attain);
    if (w->limits.ttft_s > 0) fprintf(f, " TTFT <= %.4g s", w->limits.ttft_s);
    if (w->limits.tpot_s > 0) fprintf(f, " TPOT <= %.4g ms", 1e3 * w->limits.tpot_s);
    if (w->limits.ttft_s <= 0 && w->limits.tpot_s <= 0) fputs(" no limit of time", f);
    if (w->watts > 0) fprintf(f, ", %.4g kW at the wall", 1e-3 * w->watts);
    if (w->dollars > 0) fprintf(f, ", $%.0f a month", w->dollars);
    fputs("\n\n", f);
}

/* What to buy, in a sentence. */
void plan_answer_text(const struct plan *p, FILE *f)
{
    const struct search_chip *s = plan_best(p);
    char split[PLAN_TEXT_MAX], a[TEXT_MAX], b[TEXT_MAX];
    if (!s) return;
    const struct candidate *c = &s->best;
    fprintf(f, "Answer: %d %s (%s, %s)", candidate_chips(c), s->device->figures.chip, plan_split(c, split),
            c->replica.setup.precision->name);
    if (isnan(c->cost.hour)) fputs(", price not published", f);
    else
        fprintf(f, ", $%.0f a month, $%s per million tokens out", c->cost.hour * ECONOMY_MONTH_H,
                number(1e6 * c->dollars_per_token, 3, a));
    double watts = c->cost.watts_limit;
    if (!isnan(watts))
        fprintf(f, ", %s %s at the wall at most", number(watts < 1e3 ? watts : 1e-3 * watts, 4, b),
                watts < 1e3 ? "W" : "kW");
    if (isnan(c->error)) fputs("; error of its times unknown.\n", f);
    else
        fprintf(f, "; times are off by about %.0f %% (%s), and chips and cost with them.\n", 100 * c->error,
                evidence_name[s->device->error_evidence]);
}

static void print_legend(FILE *f)
{
    fputs(
        "shared: replicas x chips that share products (TP), stages (PP), experts (EP). TTFT: first token - arrival, queueing included. TPOT: (last - first) / (tokens - 1) of a request.\n"
        "$: all cost, charged to output tokens; prices are assumed. J/tok: at the wall. times: evidence of step times, and their expected error. n/p: not published.\n",
        f);
}

const char *plan_split(const struct candidate *c, char out[PLAN_TEXT_MAX])
{
    const struct device_setup *s = &c->replica.setup;
    int n = snprintf(out, PLAN_TEXT_MAX, "%d x", c->replicas);
    if (s->ep > s->tp) n += snprintf(out + n, PLAN_TEXT_MAX - (size_t)n, " EP%d", s->ep);
    n += snprintf(out + n, PLAN_TEXT_MAX - (size_t)n, " TP%d", s->tp);
    if (s->pp > 1) n += snprintf(out + n, PLAN_TEXT_MAX - (size_t)n, " PP%d", s->pp);
    if (c->policy.pace > 0) snprintf(out + n, PLAN_TEXT_MAX - (size_t)n, " pace %.2g", c->policy.pace);
    return out;
}

static void print_row(const struct plan *p, int rank, const struct search_chip *s, FILE *f)
{
    char a[TEXT_MAX], b[TEXT_MAX], d[TEXT_MAX], g[TEXT_MAX], split[PLAN_TEXT_MAX], error[TEXT_MAX] = "n/p";
    const struct candidate *c = &s->best;
    double tokens = p->traffic.rate * p->traffic.answer;
    int n = candidate_chips(c);
    if (!isnan(c->error)) snprintf(error, sizeof error, "%.0f", 100 * c->error);
    fprintf(f,
            "%2d  %-11s %6d  %-16s %-6s %7.0f %7.1f  %6.3g %6.3g  %6.3g %6.3g  %8s %8s %7s %7s  %-9s %4s\n",
            rank, s->device->figures.chip, n, plan_split(c, split), c->replica.setup.precision->name,
            tokens / n, 1 / c->sum.tpot50, c->sum.ttft50, c->sum.ttft99, 1e3 * c->sum.tpot50,
            1e3 * c->sum.tpot99, number(c->cost.hour, 4, a), number(1e6 * c->dollars_per_token, 3, b),
            number(c->joules_per_token, 3, d), number(1e-3 * c->cost.watts_limit, 3, g),
            evidence_name[c->evidence], error);
}

static void print_table(const struct plan *p, FILE *f)
{
    fprintf(f, "%2s  %-11s %6s  %-16s %-6s %7s %7s  %6s %6s  %6s %6s  %8s %8s %7s %7s  %-9s %4s\n", "",
            "chip", "chips", "shared", "type", "tok/s", "tok/s", "TTFT s", "", "TPOT", "ms", "$/h", "$/Mtok",
            "J/tok", "kW", "times", "+-%");
    fprintf(f, "%2s  %-11s %6s  %-16s %-6s %7s %7s  %6s %6s  %6s %6s  %8s %8s %7s %7s\n", "", "", "", "", "",
            "/chip", "/user", "p50", "p99", "p50", "p99", "", "out", "wall", "limit");
    int rank = 0;
    for (int i = 0; i < p->n_devices; i++)
        if (p->chips[i].found) print_row(p, ++rank, &p->chips[i], f);
    if (!rank) fputs("    none\n", f);
    for (int i = 0; i < p->n_devices; i++) {
        const struct search_chip *s = &p->chips[i];
        if (!s->found) fprintf(f, " -  %-11s %s\n", s->device->figures.chip, s->why);
    }
    for (int i = 0; i < p->n_refused; i++) fprintf(f, " -  %-11s %s\n", p->refused[i].name, p->refused[i].why);
}

static void print_step(const char *name, const struct device_step *t, FILE *f)
{
    fprintf(f, "%-8s %9.3f ms (floor %.3f):", name, 1e3 * t->seconds, 1e3 * t->floor);
    for (int i = 0; i < DEVICE_PARTS; i++)
        if (t->part[i] > 0) fprintf(f, " %s %.0f %%", device_part_name[i], 100 * t->part[i] / t->seconds);
    fputs("; waits for", f);
    for (int i = 0; i < DEVICE_RESOURCES; i++)
        if (t->resource[i] > 0.005 * t->seconds)
            fprintf(f, " %s %.0f %%", device_resource_name[i], 100 * t->resource[i] / t->seconds);
    if (t->note) fprintf(f, " (%s)", t->note);
    fputc('\n', f);
}

static void print_load(const struct plan *p, FILE *f)
{
    const struct analysis *a = &p->analysis;
    fprintf(
        f,
        "\nLoad of the first plan (requests/s of all its replicas; limits are met up to the knee)\n%10s %9s %9s %9s %9s %9s %7s\n",
        "offered/s", "goodput/s", "TTFT p50", "p99 s", "TPOT p50", "p99 ms", "met");
    for (int i = 0; i < a->n_load; i++) {
        const struct load_point *l = &a->load[i];
        fprintf(f, "%10.4g %9.4g %9.3g %9.3g %9.3g %9.3g %5.1f %%%s\n", l->rate, l->sum.goodput,
                l->sum.ttft50, l->sum.ttft99, 1e3 * l->sum.tpot50, 1e3 * l->sum.tpot99, 100 * l->sum.met,
                i == a->knee ? "  <- knee" : "");
    }
}

static void print_cost(const struct plan *p, FILE *f)
{
    const struct candidate *c = &plan_best(p)->best;
    const struct analysis *a = &p->analysis;
    const struct economy_cost *m = &c->cost;
    char x[6][TEXT_MAX];
    fprintf(
        f,
        "\nCost per hour as of %s: %s. Bought: capital $%s (invest $%s), power $%s, hosting $%s; rented: $%s. Mean %s W per chip, %s kW at the wall\n",
        p->economy.date, m->pay == ECONOMY_RENT ? "rented" : "bought", number(m->capital, 4, x[0]),
        number(m->invest, 4, x[1]), number(m->power, 4, x[2]), number(m->hosting, 4, x[3]),
        number(m->rent, 4, x[4]), number(c->chip_watts, 3, x[5]),
        isnan(m->watts_mean) ? "n/p" : number(1e-3 * m->watts_mean, 3, x[0]));
    if (c->replica.has_joules && m->watts_mean > 0) {
        const struct device_step *t = &a->decode;
        fprintf(
            f,
            "Energy at the wall: chips %.0f %%, servers %.0f %%, cooling and losses %.0f %%; of the chips' in a decode step:",
            100 * m->watts_chips / m->watts_mean, 100 * m->watts_hosts / m->watts_mean,
            100 * (1 - (m->watts_chips + m->watts_hosts) / m->watts_mean));
        for (int i = 0; i < DEVICE_JOULES; i++)
            if (t->joule[i] > 0) fprintf(f, " %s %.0f %%", device_joules_name[i], 100 * t->joule[i] / t->joules);
        fputc('\n', f);
    }
    if (a->n_bars)
        fprintf(f, "What moves it: %s of this plan, now %.4g, and the cheapest chip then\n", a->bars_of,
                a->bars_now);
    for (int i = 0; i < a->n_bars; i++) {
        const struct bar *b = &a->bars[i];
        fprintf(f, "  %-13s %6.3g .. %-6.3g %-13s %7.4g .. %-7.4g %s .. %s\n", b->name, b->low, b->high,
                b->unit, b->cost_low, b->cost_high, b->chip_low, b->chip_high);
    }
}

static void print_capacity(const struct plan *p, FILE *f)
{
    const struct analysis *a = &p->analysis;
    fprintf(
        f,
        "\nCapacity: %.4g GB of weights, %.4g kB of cache per token. Context: users per replica (fewest chips that hold one)\n ",
        1e-9 * a->weight_bytes, 1e-3 * a->token_bytes);
    for (int i = 0; i < CAPACITY_ROWS; i++)
        fprintf(f, " %.0fk: %.0f (%d)", a->capacity[i].context / 1024, a->capacity[i].users,
                a->capacity[i].chips);
    fputc('\n', f);
}

static void print_pareto(const struct plan *p, FILE *f)
{
    fputs("\nSpeed of a user against output of a chip (tokens/s, steady flow, * meets the limits)\n", f);
    for (int i = 0; i < p->n_devices; i++) {
        const struct candidate *c = &p->chips[i].best;
        if (!p->chips[i].found) continue;
        fprintf(f, "  %-11s", p->chips[i].device->figures.chip);
        for (int k = 0; k < c->n_points; k += c->n_points > 8 ? c->n_points / 8 : 1)
            fprintf(f, " %.3g/%.3g%s", c->point[k].user_rate, c->point[k].chip_rate, c->point[k].meets ? "*" : "");
        fputc('\n', f);
    }
}

/* Where the money of each chip comes from. */
static void print_prices(const struct plan *p, FILE *f)
{
    for (int i = 0; i < p->n_devices; i++) {
        const struct candidate *c = &p->chips[i].best;
        if (!p->chips[i].found || isnan(c->cost.hour)) continue;
        bool rent = c->cost.pay == ECONOMY_RENT;
        struct economy_price price = economy_chip(&p->economy, p->chips[i].device, rent);
        fprintf(f, "  %-11s %s at $%.6g%s (%s: %s)%s\n", p->chips[i].device->figures.chip,
                rent ? "rented" : "bought", price.value, rent ? "/h" : "", evidence_name[price.evidence],
                *price.source ? price.source : "no source",
                rent ? "" : "; power, hosting, server and life: assumed");
    }
}

static void print_trust(const struct plan *p, FILE *f)
{
    fputs(
        "\nHow far to trust it\n"
        "least: chips with which operations at peak, caches at the memory's rate, or weights in memory would just do; no plan has fewer. systems: published ones, and the median error of simulating them\n",
        f);
    fprintf(f, "  %-11s %-10s %-9s %5s %-9s %-9s %-9s  %6s %-12s %6s  %-10s %s\n", "chip", "class", "times",
            "+-%", "which is", "energy", "money", "least", "by", "plan", "systems", "level; notes");
    for (int i = 0; i < p->n_devices; i++) {
        const struct device *d = p->chips[i].device;
        const struct candidate *c = &p->chips[i].best;
        if (!p->chips[i].found) continue;
        struct trust_systems s;
        struct trust_least least = trust_least(c, &p->want);
        char error[TEXT_MAX], few[TEXT_MAX], times[TEXT_MAX], of[TEXT_MAX] = "-";
        snprintf(times, sizeof times, "x%.3g", candidate_chips(c) / least.chips);
        if (trust_systems(&s, d->figures.chip)) snprintf(of, sizeof of, "%d: %.0f %%", s.rows, 100 * s.median);
        fprintf(f, "  %-11s %-10s %-9s %5s %-9s %-9s %-9s  %6s %-12s %6s  %-10s %s; +-%%: %s%s%s\n",
                d->figures.chip, d->class, evidence_name[c->evidence], number(100 * c->error, 2, error),
                isnan(c->error) ? "no row" : evidence_name[d->error_evidence],
                c->replica.has_joules ? evidence_name[c->energy_evidence] : "n/p",
                isnan(c->cost.hour) ? "n/p" : evidence_name[c->cost.evidence], number(least.chips, 3, few),
                least.by, times, of, *d->level ? d->level : "not stated", d->error_source,
                c->replica.note ? "; " : "", c->replica.note ? c->replica.note : "");
        if (c->error > 1.01 * d->error)
            fprintf(
                f,
                "  %-11s +-%% is the chip's %.0f %%, wider by what constants of another type, or none, are off (tutti validate --transfer)\n",
                "", 100 * d->error);
    }
    print_prices(p, f);
    struct trust_systems all;
    char id[65];
    engine_contract_id(id);
    if (trust_systems(&all, NULL))
        fprintf(
            f,
            "  Whole systems, simulated against %d published ones (tutti plan --validate): median error %.0f %%, p90 %.0f %%, bias %+.0f %%.\n",
            all.rows, 100 * all.median, 100 * all.p90, 100 * all.bias);
    fprintf(
        f,
        "  Requests go to replicas in turn; batching and cache are by Tutti's own policy; other servers batch otherwise. Prices and economy: assumed, as of %s.\n",
        p->economy.date);
    fprintf(
        f,
        "  Tokens are the same on every chip by contract %.12s (tutti run --chip, tutti conform). Search and simulation: %.1f s.\n",
        id, p->seconds);
}

void plan_nearest_text(const struct plan *p, FILE *f)
{
    const struct search_chip *s = &p->nearest;
    char split[PLAN_TEXT_MAX];
    fputs("\nNothing meets what was asked. ", f);
    if (!s->found) {
        fputs("No chip comes near: see the reasons above.\n", f);
        return;
    }
    const struct candidate *c = &s->best;
    fprintf(f, "The nearest plan: %d %s (%s, %s) with", candidate_chips(c), s->device->figures.chip,
            plan_split(c, split), c->replica.setup.precision->name);
    if (p->relaxed.limits.ttft_s > 0) fprintf(f, " TTFT <= %.3g s", p->relaxed.limits.ttft_s);
    if (p->relaxed.limits.tpot_s > 0) fprintf(f, " TPOT <= %.3g ms", 1e3 * p->relaxed.limits.tpot_s);
    fprintf(f, ": %.3g kW at the wall", 1e-3 * c->cost.watts_limit);
    if (!isnan(c->cost.hour)) fprintf(f, ", $%.0f a month", c->cost.hour * ECONOMY_MONTH_H);
    fputs(".\n", f);
    double most = p->want.watts > 0 ? floor(p->want.watts / (c->cost.watts_limit / c->replicas)) : HUGE_VAL;
    if (p->want.dollars > 0 && !isnan(c->cost.hour))
        most = fmin(most, floor(p->want.dollars / (c->cost.hour * ECONOMY_MONTH_H / c->replicas)));
    int chips = p->want.chips_max ? p->want.chips_max : SEARCH_CHIPS_MAX;
    most = fmin(most, chips / c->replica.chips);
    if (most < c->replicas)
        fprintf(
            f,
            "Within the limits of power, cost and chips: %.0f of %d replicas, %.3g of %.3g requests/s, %.0f tokens/s.\n",
            most, c->replicas, fmin(1, most / c->replicas) * p->traffic.rate, p->traffic.rate,
            most / c->replicas * p->traffic.rate * p->traffic.answer);
}

void plan_text(const struct plan *p, FILE *f)
{
    print_asked(p, f);
    plan_answer_text(p, f);
    fputc('\n', f);
    print_table(p, f);
    print_legend(f);
    if (!plan_best(p)) {
        plan_nearest_text(p, f);
        plan_more_text(p, f);
        return;
    }
    print_load(p, f);
    print_cost(p, f);
    print_capacity(p, f);
    fputs("\nTime of a step of the first plan\n", f);
    print_step("decode", &p->analysis.decode, f);
    print_step("prompt", &p->analysis.prefill, f);
    print_pareto(p, f);
    plan_more_text(p, f);
    print_trust(p, f);
}
