/* SPDX-License-Identifier: Apache-2.0 */
/* See economy.h. */
#include "plan/search/economy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

__asm__(
    ".section .rodata\n.hidden economy_text\n.global economy_text\neconomy_text:\n.incbin \"data/economy.ini\"\n.byte 0\n.previous\n");
extern const char economy_text[];

enum { CHIPS_MAX = 256, FIGURES_MAX = ECONOMY_ITEMS + 2 * CHIPS_MAX };
static const double HOURS_OF_YEAR = 8766, MONTHS_OF_YEAR = 12;

static const struct sheet_figure items[ECONOMY_ITEMS] = {
    [ECONOMY_PRICE] = {"power", "price", "USD/kWh", 0, 10, false, false},
    [ECONOMY_PUE] = {"power", "pue", "ratio", 1, 5, false, false},
    [ECONOMY_HOST] = {"power", "host", "ratio", 0, 10, false, false},
    [ECONOMY_HOSTING] = {"hosting", "rate", "USD/kW/month", 0, 1e5, false, false},
    [ECONOMY_LIFE] = {"capital", "life", "year", 0.1, 100, false, false},
    [ECONOMY_SERVER] = {"capital", "server", "ratio", 0, 100, false, false},
    [ECONOMY_SPARE] = {"fleet", "spare", "ratio", 0, 10, false, false},
};

/* The fixed items, then rent and buy of every chip that has a sheet. */
static const struct sheet_figure *figures(int *n)
{
    static struct sheet_figure all[FIGURES_MAX];
    static int count;
    for (int i = 0; count == 0 && i < ECONOMY_ITEMS; i++) all[i] = items[i];
    for (int i = 0; count == 0 && sheet_chip(i) && i < CHIPS_MAX; i++) {
        all[ECONOMY_ITEMS + 2 * i] = (struct sheet_figure){"rent", sheet_chip(i), "USD/h", 0, 1e6, false, true};
        all[ECONOMY_ITEMS + 2 * i + 1] = (struct sheet_figure){"buy", sheet_chip(i), "USD", 0, 1e9, false, true};
    }
    if (count == 0)
        for (count = ECONOMY_ITEMS; count < FIGURES_MAX && all[count].key; count++) continue;
    *n = count;
    return all;
}

const struct sheet_figure *economy_about(enum economy_item i)
{
    return &items[i];
}

int economy_open(struct economy *m, const char *path, struct err *e)
{
    int n, rc;
    const struct sheet_figure *f = figures(&n);
    *m = (struct economy){.value = {0}};
    rc = path ? sheet_open(&m->sheet, NULL, path, f, n, e)
              : sheet_read(&m->sheet, "economy.ini", str_from(economy_text), f, n, e);
    if (rc) return rc;
    for (int i = 0; i < ECONOMY_ITEMS; i++) m->value[i] = m->sheet.items[i].value;
    snprintf(m->date, sizeof m->date, "%s", sheet_about(&m->sheet, "date"));
    return 0;
}

void economy_close(struct economy *m)
{
    sheet_close(&m->sheet);
}

struct economy_price economy_chip(const struct economy *m, const struct device *d, bool rent)
{
    const struct sheet_item none = {.evidence = EVIDENCE_ASSUMED, .source = ""};
    const struct sheet_item *own =
        d->figures.sheet.items ? &d->figures.sheet.items[rent ? FIGURE_price_rent : FIGURE_price_buy] : &none;
    struct economy_price out = {rent ? d->rent : d->buy, own->evidence, own->source};
    for (int i = 0; sheet_chip(i) && ECONOMY_ITEMS + 2 * i + 1 < m->sheet.n; i++) {
        if (strcmp(sheet_chip(i), d->figures.chip)) continue;
        const struct sheet_item *of_file = &m->sheet.items[ECONOMY_ITEMS + 2 * i + !rent];
        if (!isnan(of_file->value)) out = (struct economy_price){of_file->value, of_file->evidence, of_file->source};
    }
    if (isnan(out.value) || !out.source) out.source = "";
    return out;
}

double economy_wall_limit(const struct economy *m, const struct device *d)
{
    return d->tdp * (1 + m->value[ECONOMY_HOST]) * m->value[ECONOMY_PUE];
}

struct economy_cost economy_of(const struct economy *m, const struct device *d, double n, double watts,
                               enum economy_pay pay)
{
    const double *v = m->value;
    struct economy_price buy = economy_chip(m, d, false), rent = economy_chip(m, d, true);
    struct economy_cost c = {.pay = ECONOMY_BUY, .evidence = buy.evidence};
    double all = n * (1 + v[ECONOMY_SPARE]), mean = isnan(watts) ? d->tdp : watts;
    c.watts_limit = all * economy_wall_limit(m, d);
    c.watts_chips = all * mean, c.watts_hosts = all * d->tdp * v[ECONOMY_HOST];
    c.watts_mean = (c.watts_chips + c.watts_hosts) * v[ECONOMY_PUE];
    c.invest = all * buy.value * (1 + v[ECONOMY_SERVER]);
    c.capital = c.invest / (v[ECONOMY_LIFE] * HOURS_OF_YEAR);
    c.power = 1e-3 * c.watts_mean * v[ECONOMY_PRICE];
    c.hosting = 1e-3 * c.watts_limit / v[ECONOMY_PUE] * v[ECONOMY_HOSTING] * MONTHS_OF_YEAR / HOURS_OF_YEAR;
    c.rent = n * rent.value;
    double bought = c.capital + c.power + c.hosting;
    if (pay == ECONOMY_RENT || (pay == ECONOMY_CHEAPER && (isnan(bought) || c.rent < bought))) c.pay = ECONOMY_RENT;
    c.hour = c.pay == ECONOMY_RENT ? c.rent : bought;
    for (int i = 0; i < ECONOMY_ITEMS; i++) c.evidence = evidence_worse(c.evidence, m->sheet.items[i].evidence);
    if (c.pay == ECONOMY_RENT) c.evidence = rent.evidence;
    return c;
}
