/* SPDX-License-Identifier: Apache-2.0 */
/* See limits.h. */
#include "serve/ledger/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const int64_t SECOND = 1000000, MINUTE = 60 * SECOND, DAY = 1440 * MINUTE; /* microseconds */

/* --- calendar --------------------------------------------------------------------------------------------- */

int64_t limits_day(int64_t us)
{
    return us / DAY;
}

int64_t limits_month(int64_t us)
{
    time_t s = (time_t)(us / SECOND);
    struct tm t;
    gmtime_r(&s, &t);
    return ((int64_t)t.tm_year + 1900) * 12 + t.tm_mon;
}

int64_t limits_month_begin_us(int64_t us)
{
    time_t s = (time_t)(us / SECOND);
    struct tm t;
    gmtime_r(&s, &t);
    return (limits_day(us) - (t.tm_mday - 1)) * DAY;
}

static int64_t next_month_us(int64_t us)
{
    int64_t later = limits_month_begin_us(us) + 32 * DAY; /* some day of the next month */
    return limits_month_begin_us(later);
}

static void turn_page(struct limits *l, int64_t now_us)
{
    int64_t day = limits_day(now_us);
    if (day == l->day) return;
    l->day = day;
    l->day_requests = l->day_tokens = 0;
    int64_t month = limits_month(now_us);
    if (month != l->month) l->month_nusd = 0;
    l->month = month;
}

/* --- buckets: level counts units * MINUTE ------------------------------------------------------------------- */

static void refill(struct limit_bucket *b, int64_t per_minute, int64_t now_us)
{
    int64_t full = per_minute * MINUTE, dt = now_us - b->at_us;
    if (dt < 0) dt = 0; /* the clock was set back */
    __int128 level = b->level + (__int128)per_minute * dt;
    b->level = level > full ? full : (int64_t)level;
    b->at_us = now_us;
}

static int64_t wait_us(const struct limit_bucket *b, int64_t per_minute, int64_t units)
{
    int64_t lack = units * MINUTE - b->level;
    return lack <= 0 ? 0 : (lack + per_minute - 1) / per_minute;
}

static int64_t used_of(const struct limit_bucket *b, int64_t per_minute)
{
    int64_t left = b->level >= 0 ? b->level / MINUTE : -((-b->level + MINUTE - 1) / MINUTE);
    return per_minute - left;
}

/* --- a key's limits ----------------------------------------------------------------------------------------- */

void limits_init(struct limits *l, const struct limit_set *set, int64_t now_us)
{
    *l = (struct limits){.set = *set, .day = limits_day(now_us), .month = limits_month(now_us)};
    l->rpm = (struct limit_bucket){set->rpm * MINUTE, now_us};
    l->tpm = (struct limit_bucket){set->tpm * MINUTE, now_us};
}

void limits_change(struct limits *l, const struct limit_set *set, int64_t now_us)
{
    if (memcmp(&l->set, set, sizeof *set) == 0) return;
    if (l->set.rpm) refill(&l->rpm, l->set.rpm, now_us);
    if (l->set.tpm) refill(&l->tpm, l->set.tpm, now_us);
    l->rpm = (struct limit_bucket){l->rpm.level + (set->rpm - l->set.rpm) * MINUTE, now_us};
    l->tpm = (struct limit_bucket){l->tpm.level + (set->tpm - l->set.tpm) * MINUTE, now_us};
    l->set = *set;
}

void limits_restore(struct limits *l, int64_t now_us, int64_t requests, int64_t tokens, int64_t nusd)
{
    turn_page(l, now_us);
    l->day_requests = requests;
    l->day_tokens = tokens;
    l->month_nusd = nusd;
}

static bool refuse(struct limit_refusal *r, enum limit_kind kind, int64_t limit, int64_t used, int64_t asked,
                   int64_t wait)
{
    *r = (struct limit_refusal){kind, limit, used, asked, asked > limit ? -1 : wait};
    return false;
}

bool limits_solvent(struct limits *l, int64_t now_us, struct limit_refusal *r)
{
    int64_t cap = l->set.spend_nusd;
    turn_page(l, now_us);
    if (cap && l->month_nusd >= cap)
        return refuse(r, LIMIT_SPEND, cap, l->month_nusd, 0, next_month_us(now_us) - now_us);
    *r = (struct limit_refusal){0};
    return true;
}

bool limits_take(struct limits *l, int64_t now_us, int64_t n_prompt, int scale, struct limit_refusal *r)
{
    const struct limit_set *s = &l->set;
    int64_t midnight = (limits_day(now_us) + 1) * DAY - now_us, extra = scale - 1;
    if (!limits_solvent(l, now_us, r)) return false;
    if (s->rpm) refill(&l->rpm, s->rpm, now_us);
    if (s->tpm) refill(&l->tpm, s->tpm, now_us);
    /* A larger tier may overdraw a bucket by the limits that it has on top. */
    struct limit_bucket rpm = {l->rpm.level + extra * s->rpm * MINUTE, now_us},
                        tpm = {l->tpm.level + extra * s->tpm * MINUTE, now_us};
    if (s->rpd && l->day_requests + 1 > s->rpd * scale)
        return refuse(r, LIMIT_RPD, s->rpd * scale, l->day_requests, 1, midnight);
    if (s->tpd && l->day_tokens + n_prompt > s->tpd * scale)
        return refuse(r, LIMIT_TPD, s->tpd * scale, l->day_tokens, n_prompt, midnight);
    if (s->rpm && rpm.level < MINUTE)
        return refuse(r, LIMIT_RPM, s->rpm * scale, used_of(&rpm, s->rpm * scale), 1,
                      wait_us(&rpm, s->rpm, 1));
    if (s->tpm && tpm.level < n_prompt * MINUTE)
        return refuse(r, LIMIT_TPM, s->tpm * scale, used_of(&tpm, s->tpm * scale), n_prompt,
                      wait_us(&tpm, s->tpm, n_prompt));
    if (s->rpm) l->rpm.level -= MINUTE;
    if (s->tpm) l->tpm.level -= n_prompt * MINUTE;
    l->day_requests++;
    l->day_tokens += n_prompt;
    return true;
}

void limits_charge(struct limits *l, int64_t now_us, int64_t tokens, int64_t nusd)
{
    turn_page(l, now_us);
    if (l->set.tpm) {
        refill(&l->tpm, l->set.tpm, now_us);
        int64_t full = l->set.tpm * MINUTE, level = l->tpm.level - tokens * MINUTE;
        l->tpm.level = level > full ? full : level;
    }
    l->day_tokens += tokens;
    if (l->day_tokens < 0) l->day_tokens = 0; /* a refund after midnight */
    l->month_nusd += nusd;
}

/* --- what is left ------------------------------------------------------------------------------------------- */

static void left_in_bucket(struct limit_bucket *b, int64_t per_minute, int64_t now_us, struct limit_left *out)
{
    refill(b, per_minute, now_us);
    *out = (struct limit_left){per_minute, b->level < 0 ? 0 : b->level / MINUTE, wait_us(b, per_minute, per_minute)};
}

static void left_today(int64_t limit, int64_t used, int64_t now_us, struct limit_left *out)
{
    *out = (struct limit_left){limit, used < limit ? limit - used : 0,
                               used ? (limits_day(now_us) + 1) * DAY - now_us : 0};
}

void limits_requests(struct limits *l, int64_t now_us, struct limit_left *out)
{
    turn_page(l, now_us);
    *out = (struct limit_left){-1, -1, -1};
    if (l->set.rpd)
        left_today(l->set.rpd, l->day_requests, now_us, out);
    else if (l->set.rpm)
        left_in_bucket(&l->rpm, l->set.rpm, now_us, out);
}

void limits_tokens(struct limits *l, int64_t now_us, struct limit_left *out)
{
    turn_page(l, now_us);
    *out = (struct limit_left){-1, -1, -1};
    if (l->set.tpm)
        left_in_bucket(&l->tpm, l->set.tpm, now_us, out);
    else if (l->set.tpd)
        left_today(l->set.tpd, l->day_tokens, now_us, out);
}

/* --- Go's durations ----------------------------------------------------------------------------------------- */

static void drop_zeros(char *z)
{
    size_t n = strlen(z);
    while (n && z[n - 1] == '0') n--;
    if (n && z[n - 1] == '.') n--;
    z[n] = 0;
}

void go_duration(int64_t us, char out[GO_DURATION_MAX])
{
    char number[24];
    if (us < 0) us = 0;
    if (us == 0) {
        snprintf(out, GO_DURATION_MAX, "0s");
    } else if (us < 1000) {
        snprintf(out, GO_DURATION_MAX, "%" PRId64 "us", us); /* Go's micro sign is not ASCII; it reads "us", too */
    } else if (us < SECOND) {
        snprintf(number, sizeof number, "%" PRId64 ".%03" PRId64, us / 1000, us % 1000);
        drop_zeros(number);
        snprintf(out, GO_DURATION_MAX, "%sms", number);
    } else {
        snprintf(number, sizeof number, "%" PRId64 ".%06" PRId64, us / SECOND % 60, us % SECOND);
        drop_zeros(number);
        int64_t m = us / MINUTE;
        if (m >= 60)
            snprintf(out, GO_DURATION_MAX, "%" PRId64 "h%" PRId64 "m%ss", m / 60, m % 60, number);
        else if (m)
            snprintf(out, GO_DURATION_MAX, "%" PRId64 "m%ss", m, number);
        else
            snprintf(out, GO_DURATION_MAX, "%ss", number);
    }
}
