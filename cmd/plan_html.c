/* SPDX-License-Identifier: Apache-2.0 */
/* tutti plan as one page: tables and charts, nothing loaded from anywhere, no script. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/path.h"
#include "plan.h"
#include "svg.h"

enum { PAGE_MAX = 1 << 24, CURVES_MAX = 8, CELL_MAX = 64 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    "<title>tutti plan</title><style>\n"
    ":root{color-scheme:light dark;--ink:#1c1f23;--dim:#68707a;--line:#dfe3e8;--back:#fff;--mark:#c22}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--dim:#9aa3ad;--line:#33383e;--back:#16181b;--mark:#f66}}\n"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:1360px;margin:2em auto;padding:0 1em}\n"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}p.d,td.d{color:var(--dim)}\n"
    ".w{overflow-x:auto}table{display:block;overflow-x:auto;border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.25em .6em;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\n"
    "th:first-child,td:first-child,td.l,th.l,td.x{text-align:left}td.x{white-space:normal}tr.b{font-weight:600}\n"
    ".c{display:flex;flex-wrap:wrap;gap:1em}svg{width:100%;max-width:720px;flex:1 1 480px;font:14px system-ui,sans-serif}svg text{fill:var(--ink)}svg .t{font-weight:600}\n"
    ".g{stroke:var(--line)}.l{fill:none!important;stroke-width:1.8}.d{stroke-dasharray:5 4}.m{stroke:var(--mark);stroke-dasharray:3 3}\n"
    ".c0{fill:#3572b0;stroke:#3572b0}.c1{fill:#d9822b;stroke:#d9822b}.c2{fill:#3a9461;stroke:#3a9461}.c3{fill:#b8443f;stroke:#b8443f}\n"
    ".c4{fill:#7d5ba6;stroke:#7d5ba6}.c5{fill:#8a6a4f;stroke:#8a6a4f}.c6{fill:#c75f9b;stroke:#c75f9b}.c7{fill:#5b8a91;stroke:#5b8a91}rect{stroke:none!important}\n"
    "pre{overflow-x:auto;font:13px/1.4 ui-monospace,monospace;border:1px solid var(--line);padding:.8em}pre.one{white-space:pre-wrap;font:inherit;font-weight:600}\n"
    "</style></head><body><main>\n";

static void cell(struct buf *o, double v, int digits)
{
    if (!isfinite(v)) buf_append_z(o, "<td class=d>n/p");
    else if (v >= 1e4) buf_printf(o, "<td>%.0f", v);
    else buf_printf(o, "<td>%.*g", digits, v);
}

static void cell_text(struct buf *o, const char *text, const char *class)
{
    buf_printf(o, "<td class=%s>", class);
    svg_text(o, text);
}

/* What the terminal says, as it stands there. */
static void put_text(struct buf *o, const char *title, const struct plan *p,
                     void (*print)(const struct plan *p, FILE *f))
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (!f) return;
    print(p, f);
    if (fclose(f) == 0 && n > 1) {
        buf_printf(o, "<h2>%s</h2><pre tabindex=0%s>", title, strchr(text, '\n') == text + n - 1 ? " class=one" : "");
        svg_text(o, text);
        buf_append_z(o, "</pre>\n");
    }
    free(text);
}

static void put_asked(struct buf *o, const struct plan *p)
{
    const struct traffic *t = &p->traffic;
    buf_append_z(o, "<h1>Plan for ");
    svg_text(o, p->shape.name);
    buf_append_z(o, "</h1><p>");
    svg_text(o, p->phrase);
    buf_printf(
        o,
        "<br>%.4g requests/s (open loop), %.0f tokens in, %.0f out: %.0f tokens/s out. At least %.4g %% of requests with",
        t->rate, t->prompt, t->answer, t->rate * t->answer, 100 * p->want.attain);
    if (p->want.limits.ttft_s > 0) buf_printf(o, " TTFT &le; %.4g s", p->want.limits.ttft_s);
    if (p->want.limits.tpot_s > 0) buf_printf(o, " TPOT &le; %.4g ms", 1e3 * p->want.limits.tpot_s);
    buf_append_z(
        o,
        "</p><p class=d>TTFT: first token - arrival, queueing included. TPOT: (last - first) / (tokens - 1) of a request. $ per million output tokens carry all "
        "cost. J per token at the wall. n/p: not published.</p>\n");
}

static void put_table(struct buf *o, const struct plan *p)
{
    int found = 0;
    buf_append_z(
        o,
        "<h2>Plans</h2><div class=w><table><tr><th>chip<th>chips<th class=l>shared<th class=l>type<th>tok/s/chip<th>tok/s/user<th>TTFT p50, s<th>p99<th>TPOT p50, ms<th>p99"
        "<th>$/h<th>$/Mtok<th>J/tok<th>kW<th class=l>times<th>&plusmn;%</tr>\n");
    for (int i = 0; i < p->n_devices; i++) {
        const struct search_chip *s = &p->chips[i];
        const struct candidate *c = &s->best;
        char split[PLAN_TEXT_MAX];
        if (!s->found) continue;
        found++;
        buf_append_z(o, i ? "<tr>" : "<tr class=b>");
        cell_text(o, s->device->figures.chip, "l");
        buf_printf(o, "<td>%d", candidate_chips(c));
        cell_text(o, plan_split(c, split), "l");
        cell_text(o, c->replica.setup.precision->name, "l");
        cell(o, p->traffic.rate * p->traffic.answer / candidate_chips(c), 4);
        cell(o, 1 / c->sum.tpot50, 4), cell(o, c->sum.ttft50, 3), cell(o, c->sum.ttft99, 3),
            cell(o, 1e3 * c->sum.tpot50, 3), cell(o, 1e3 * c->sum.tpot99, 3);
        cell(o, c->cost.hour, 4), cell(o, 1e6 * c->dollars_per_token, 3), cell(o, c->joules_per_token, 3),
            cell(o, 1e-3 * c->cost.watts_limit, 3);
        cell_text(o, evidence_name[c->evidence], "l");
        cell(o, 100 * c->error, 2);
        buf_append_z(o, "</tr>\n");
    }
    buf_append_z(o, "</table></div>\n");
    if (found == p->n_devices && !p->n_refused) return;
    buf_append_z(o, "<h2>Not possible</h2><table>");
    for (int i = 0; i < p->n_devices; i++) {
        if (p->chips[i].found) continue;
        buf_append_z(o, "<tr>");
        cell_text(o, p->chips[i].device->figures.chip, "l");
        cell_text(o, p->chips[i].why, "x");
    }
    for (int i = 0; i < p->n_refused; i++) {
        buf_append_z(o, "<tr>");
        cell_text(o, p->refused[i].name, "l");
        cell_text(o, p->refused[i].why, "x");
    }
    buf_append_z(o, "</table>\n");
}

static void put_pareto(struct buf *o, const struct plan *p)
{
    double x[CURVES_MAX][CANDIDATE_POINTS], y[CURVES_MAX][CANDIDATE_POINTS];
    struct svg_curve c[CURVES_MAX];
    int n = 0;
    for (int i = 0; i < p->n_devices && n < CURVES_MAX; i++) {
        const struct candidate *b = &p->chips[i].best;
        if (!p->chips[i].found) continue;
        for (int k = 0; k < b->n_points; k++) x[n][k] = b->point[k].user_rate, y[n][k] = b->point[k].chip_rate;
        c[n] = (struct svg_curve){p->chips[i].device->figures.chip, x[n], y[n], b->n_points, false};
        n++;
    }
    const struct svg_axes a = {.title = "Speed of a user against output of a chip",
                               .x = "tokens/s of a user",
                               .y = "output tokens/s of a chip",
                               .log_x = true,
                               .log_y = true,
                               .mark_x = p->want.limits.tpot_s > 0 ? 1 / p->want.limits.tpot_s : 0,
                               .mark_text = "slowest allowed"};
    svg_curves(o, &a, c, n);
}

static void put_load(struct buf *o, const struct plan *p)
{
    const struct analysis *a = &p->analysis;
    double x[LOAD_POINTS], y[5][LOAD_POINTS];
    for (int i = 0; i < a->n_load; i++) {
        const struct sim_sum *s = &a->load[i].sum;
        x[i] = a->load[i].rate;
        y[0][i] = s->ttft50, y[1][i] = s->ttft99, y[2][i] = 1e3 * s->tpot50, y[3][i] = 1e3 * s->tpot99,
        y[4][i] = s->goodput;
    }
    double knee = a->knee >= 0 ? a->load[a->knee].rate : 0;
    struct svg_curve ttft[] = {{"p50", x, y[0], a->n_load, false}, {"p99", x, y[1], a->n_load, true}};
    struct svg_curve tpot[] = {{"p50", x, y[2], a->n_load, false}, {"p99", x, y[3], a->n_load, true}};
    struct svg_curve good[] = {{"goodput", x, y[4], a->n_load, false}, {"offered", x, x, a->n_load, true}};
    struct svg_axes axes = {.title = "Time to the first token",
                            .x = "requests/s offered",
                            .y = "seconds",
                            .log_y = true,
                            .limit_y = p->want.limits.ttft_s,
                            .mark_x = knee,
                            .mark_text = "knee"};
    svg_curves(o, &axes, ttft, 2);
    axes.title = "Time per output token", axes.y = "milliseconds", axes.log_y = false,
    axes.limit_y = 1e3 * p->want.limits.tpot_s;
    svg_curves(o, &axes, tpot, 2);
    axes.title = "Goodput", axes.y = "requests/s that meet all limits", axes.limit_y = 0;
    svg_curves(o, &axes, good, 2);
}

static void put_costs(struct buf *o, const struct plan *p)
{
    static const char *const parts[] = {"capital", "power", "hosting", "rent"};
    struct svg_bar b[PLAN_CHIPS_MAX];
    char text[PLAN_CHIPS_MAX][CELL_MAX];
    int n = 0;
    double per = 1e6 / 3600 / (p->traffic.rate * p->traffic.answer);
    for (int i = 0; i < p->n_devices && n < 12; i++) {
        const struct candidate *c = &p->chips[i].best;
        const struct economy_cost *m = &c->cost;
        if (!p->chips[i].found || isnan(m->hour)) continue;
        snprintf(text[n], CELL_MAX, "$%.3g", per * m->hour);
        b[n] = (struct svg_bar){.name = p->chips[i].device->figures.chip, .text = text[n]};
        if (m->pay == ECONOMY_RENT) b[n].part[3] = per * m->rent;
        else b[n].part[0] = per * m->capital, b[n].part[1] = per * m->power, b[n].part[2] = per * m->hosting;
        n++;
    }
    if (n) svg_bars(o, "Cost of a million output tokens", "USD", b, n, parts, 4, 0);
}

static void put_bars(struct buf *o, const struct plan *p)
{
    const struct analysis *a = &p->analysis;
    struct svg_bar b[BARS_MAX];
    char text[BARS_MAX][CELL_MAX * 2];
    const char *best = p->chips[0].device->figures.chip;
    for (int i = 0; i < a->n_bars; i++) {
        const struct bar *t = &a->bars[i];
        bool other = strcmp(t->chip_low, best) || strcmp(t->chip_high, best);
        snprintf(text[i], sizeof text[i], "%.3g .. %.3g%s%s", t->low, t->high, other ? ": then " : "",
                 other ? strcmp(t->chip_low, best) ? t->chip_low : t->chip_high : "");
        b[i] = (struct svg_bar){.name = t->name,
                                .from = fmin(t->cost_low, t->cost_high),
                                .part = {fabs(t->cost_high - t->cost_low)},
                                .text = text[i]};
    }
    if (a->n_bars) svg_bars(o, "What moves the answer", a->bars_of, b, a->n_bars, NULL, 0, a->bars_now);
}

static void put_times(struct buf *o, const struct plan *p)
{
    const struct analysis *a = &p->analysis;
    struct svg_bar b[2] = {{.name = "decode step"}, {.name = "prompt"}},
                   j[2] = {{.name = "decode step"}, {.name = "prompt"}};
    char text[2][CELL_MAX];
    const struct device_step *t[2] = {&a->decode, &a->prefill};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < DEVICE_PARTS; k++) b[i].part[k] = 100 * t[i]->part[k] / t[i]->seconds;
        snprintf(text[i], sizeof text[i], "%.3g ms", 1e3 * t[i]->seconds);
        b[i].text = text[i];
    }
    svg_bars(o, "Where the time of a step goes", "per cent", b, 2, device_part_name, DEVICE_PARTS, 0);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < DEVICE_JOULES; k++) j[i].part[k] = 100 * t[i]->joule[k] / t[i]->joules;
        snprintf(text[i], sizeof text[i], "%.3g J", t[i]->joules);
        j[i].text = text[i];
    }
    if (isfinite(t[0]->joules) && isfinite(t[1]->joules))
        svg_bars(o, "Where the energy of a step goes", "per cent", j, 2, device_joules_name, DEVICE_JOULES,
                 0);
}

static void put_capacity(struct buf *o, const struct plan *p)
{
    const struct analysis *a = &p->analysis;
    buf_printf(
        o, "<h2>Capacity</h2><p>%.4g GB of weights, %.4g kB of cache per token.</p><table><tr><th>context",
        1e-9 * a->weight_bytes, 1e-3 * a->token_bytes);
    for (int i = 0; i < CAPACITY_ROWS; i++) buf_printf(o, "<th>%.0fk", a->capacity[i].context / 1024);
    buf_append_z(o, "<tr><td>users of a replica");
    for (int i = 0; i < CAPACITY_ROWS; i++) buf_printf(o, "<td>%.0f", a->capacity[i].users);
    buf_append_z(o, "<tr><td>fewest chips for one");
    for (int i = 0; i < CAPACITY_ROWS; i++) buf_printf(o, "<td>%d", a->capacity[i].chips);
    buf_append_z(o, "</table>\n");
}

static void put_money(struct buf *o, const struct economy *m, const struct candidate *c)
{
    struct economy_price price = economy_chip(m, c->replica.device, c->cost.pay == ECONOMY_RENT);
    cell_text(o, isnan(c->cost.hour) ? "n/p" : evidence_name[c->cost.evidence], "x");
    if (isnan(c->cost.hour)) return;
    buf_printf(o, ": %s, chip ", c->cost.pay == ECONOMY_RENT ? "rented" : "bought");
    svg_text(o, evidence_name[price.evidence]);
    if (*price.source) buf_append_z(o, ", "), svg_text(o, price.source);
}

static void put_trust(struct buf *o, const struct plan *p)
{
    buf_append_z(
        o,
        "<h2>How far to trust it</h2><div class=w><table><tr><th>chip<th class=l>class and level<th class=l>times<th>expected error<th class=l>energy<th class=l>money<th>fewest chips by peaks<th>planned, times that<th class=l>published systems</tr>\n");
    for (int i = 0; i < p->n_devices; i++) {
        const struct device *d = p->chips[i].device;
        const struct candidate *c = &p->chips[i].best;
        if (!p->chips[i].found) continue;
        buf_append_z(o, "<tr>");
        cell_text(o, d->figures.chip, "l");
        cell_text(o, d->class, "x");
        buf_append_z(o, ", ");
        svg_text(o, d->level);
        buf_append_z(o, "; error: ");
        svg_text(o, d->error_source);
        cell_text(o, evidence_name[c->evidence], "l");
        if (c->replica.note) buf_append_z(o, ": "), svg_text(o, c->replica.note);
        cell(o, 100 * c->error, 2);
        if (!isnan(c->error)) buf_printf(o, " %% (%s)", evidence_name[d->error_evidence]);
        if (c->error > 1.01 * d->error)
            buf_printf(o, ", the chip's %.0f %%, wider by constants of another type", 100 * d->error);
        cell_text(o, c->replica.has_joules ? evidence_name[c->energy_evidence] : "n/p", "l");
        put_money(o, &p->economy, c);
        struct trust_systems s;
        struct trust_least least = trust_least(c, &p->want);
        cell(o, least.chips, 3);
        buf_printf(o, " (%s)", least.by);
        cell(o, candidate_chips(c) / least.chips, 3);
        if (trust_systems(&s, d->figures.chip))
            buf_printf(o, "<td class=l>%d: median error %.0f %%", s.rows, 100 * s.median);
        else cell_text(o, "none", "l");
    }
    struct trust_systems all = {.rows = 0};
    trust_systems(&all, NULL);
    buf_printf(
        o,
        "</table></div><p class=d>Whole systems, simulated against %d published ones: median error %.0f %%, p90 %.0f %%, bias %+.0f %%. Prices and assumptions (assumed) as of %s. "
        "Requests go to replicas in turn; batching and cache are by Tutti's own policy.</p>\n",
        all.rows, 100 * all.median, 100 * all.p90, 100 * all.bias, p->economy.date);
}

int plan_html(const struct plan *p, const char *path, struct err *e)
{
    struct buf o;
    buf_init(&o, PAGE_MAX);
    buf_append_z(&o, head);
    put_asked(&o, p);
    put_text(&o, "The answer", p, plan_answer_text);
    put_table(&o, p);
    if (plan_best(p)) {
        buf_append_z(&o, "<h2>Load and speed</h2><div class=c>");
        put_load(&o, p), put_pareto(&o, p);
        buf_append_z(&o, "</div><h2>Cost and time</h2><div class=c>");
        put_costs(&o, p), put_bars(&o, p), put_times(&o, p);
        buf_append_z(&o, "</div>");
        put_capacity(&o, p);
    } else {
        put_text(&o, "The nearest plan", p, plan_nearest_text);
    }
    put_text(&o, "Pools, days, clusters, timeline", p, plan_more_text);
    if (plan_best(p)) put_trust(&o, p);
    buf_append_z(&o, "</main></body></html>\n");
    FILE *f = o.failed ? NULL : fopen(path, "wb");
    int rc = 0;
    if (o.failed) rc = err(e, o.failed, "the page is too large");
    else if (!f || fwrite(o.p, 1, o.n, f) != o.n) rc = err(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (f && fclose(f) && !rc) rc = err(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (f && rc && path_is_file(path)) remove(path); /* half a page is none */
    buf_finish(&o);
    return rc;
}
