/* SPDX-License-Identifier: Apache-2.0 */
/*
 * economy: what an hour of chips costs, rented or bought, with power and a place to stand. Assumptions come
 * from a dated file (data/economy.ini, or the user's), chip prices from it or from the chip's datasheet. A
 * price that nobody published is NAN and prints as n/p.
 */
#ifndef TUTTI_PLAN_SEARCH_ECONOMY_H
#define TUTTI_PLAN_SEARCH_ECONOMY_H

#include "plan/class/device.h"

enum economy_item {
    ECONOMY_PRICE,
    ECONOMY_PUE,
    ECONOMY_HOST,
    ECONOMY_HOSTING,
    ECONOMY_LIFE,
    ECONOMY_SERVER,
    ECONOMY_SPARE,
    ECONOMY_ITEMS
};
#define ECONOMY_MONTH_H 730.5 /* hours of a month */
enum economy_pay { ECONOMY_CHEAPER, ECONOMY_RENT, ECONOMY_BUY };

struct economy {
    struct sheet sheet;
    double value[ECONOMY_ITEMS]; /* in the file's units */
    char date[32];
};

struct economy_cost { /* USD per hour; NAN: n/p */
    double capital, power, hosting, rent; /* bought: the first three; rented: rent alone */
    double hour;                          /* of the way that was chosen */
    enum economy_pay pay;                 /* RENT or BUY */
    double invest;                        /* USD, bought */
    double watts_limit, watts_mean;       /* at the wall */
    double watts_chips, watts_hosts;      /* of the mean; the rest is cooling and losses */
    enum evidence evidence;               /* the worst of what `hour` is made of */
};

struct economy_price {
    double value;          /* USD/h or USD of one chip; NAN: n/p */
    enum evidence evidence;
    const char *source;    /* "" where there is none */
};

int economy_open(struct economy *m, const char *path, struct err *e); /* path NULL: the file of the tree */
void economy_close(struct economy *m);                                /* accepts a zeroed struct */

/* n chips that take `watts` each on average (NAN: n/p, then their limit). */
struct economy_cost economy_of(const struct economy *m, const struct device *d, double n, double watts,
                               enum economy_pay pay);
const struct sheet_figure *economy_about(enum economy_item i);
/* the file's, else the datasheet's */
struct economy_price economy_chip(const struct economy *m, const struct device *d, bool rent);
double economy_wall_limit(const struct economy *m, const struct device *d);      /* W of one chip at the wall; NAN */

#endif
