/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits: what one key may use, and what of it is left. Pure arithmetic over a clock that the caller gives; the owner
 * locks.
 *
 *   per minute  requests and tokens: buckets that refill evenly, so that a full minute's worth may come at once
 *   per day     requests and tokens: counted from midnight UTC, so that a restart and several servers agree (the
 *               ledger has the sums)
 *   spend       nano-dollars per calendar month UTC, likewise
 *
 * Tokens are those of the prompt that no cache supplied, and those of the answer. A request is admitted by its prompt;
 * its answer is charged when it ends and may push a bucket below zero, which later requests wait out.
 */
#ifndef TUTTI_SERVE_LEDGER_LIMITS_H
#define TUTTI_SERVE_LEDGER_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct limit_set { /* 0: no limit */
    int64_t rpm, rpd, tpm, tpd;
    int64_t spend_nusd; /* nano-dollars per month */
};

#define LIMIT_MINUTE_MAX ((int64_t)1000000000) /* of a limit per minute */
#define LIMIT_MAX ((int64_t)1 << 50)           /* of the others */

struct limit_bucket {
    int64_t level; /* units times a minute's microseconds: whole numbers, no drift */
    int64_t at_us; /* when level was right */
};

struct limits {
    struct limit_set set;
    struct limit_bucket rpm, tpm;
    int64_t day, month;      /* of the counts below: days since 1970; months since year 0 */
    int64_t day_requests, day_tokens, month_nusd;
};

enum limit_kind { LIMIT_NONE, LIMIT_RPM, LIMIT_RPD, LIMIT_TPM, LIMIT_TPD, LIMIT_SPEND };

struct limit_refusal {
    enum limit_kind kind;
    int64_t limit, used, asked; /* in requests, tokens or nano-dollars */
    int64_t wait_us;            /* until it would pass; -1: it never will (asked > limit) */
};

void limits_init(struct limits *l, const struct limit_set *set, int64_t now_us);
/* Other limits for a key in use: what was used stays used. */
void limits_change(struct limits *l, const struct limit_set *set, int64_t now_us);
/* The sums of the ledger for this day and month, from which further counting starts. */
void limits_restore(struct limits *l, int64_t now_us, int64_t requests, int64_t tokens, int64_t nusd);

/* Takes one request and its prompt tokens, or takes nothing and says why. scale multiplies the limits (flex tier). */
bool limits_take(struct limits *l, int64_t now_us, int64_t n_prompt, int scale, struct limit_refusal *r);
bool limits_solvent(struct limits *l, int64_t now_us, struct limit_refusal *r); /* money is left; takes nothing */
/* When the request ended: its answer tokens, less the prompt tokens that the cache supplied, and its price. */
void limits_charge(struct limits *l, int64_t now_us, int64_t tokens, int64_t nusd);

/* For headers: what a limit leaves and microseconds until all of it is there again. -1: no limit. */
struct limit_left {
    int64_t limit, left, reset_us;
};
void limits_requests(struct limits *l, int64_t now_us, struct limit_left *out); /* per day, else per minute */
void limits_tokens(struct limits *l, int64_t now_us, struct limit_left *out);   /* per minute, else per day */

int64_t limits_day(int64_t us);
int64_t limits_month(int64_t us);
int64_t limits_month_begin_us(int64_t us);

/* Microseconds as Go prints a duration: "7.66s", "2m59.56s", "577.5ms". */
enum { GO_DURATION_MAX = 48 };
void go_duration(int64_t us, char out[GO_DURATION_MAX]);

#endif
