/* SPDX-License-Identifier: Apache-2.0 */
/* See traffic.h. */
#include "plan/sim/traffic.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/str.h"

enum { CLAUSE_MAX = 96, DIGITS_MAX = 32 };

/* A clause without its number: "tok/s each", "bursts x"; and its number with k, m and % worked in. */
struct clause {
    char words[CLAUSE_MAX];
    double number, thousand; /* thousand: times that k stood behind the number */
    bool percent;
};

/* Decimal digits with one point; no sign, no exponent, whatever the locale. Returns how many bytes, 0: no number. */
static size_t take_number(const char *p, double *out)
{
    double v = 0, unit = 0;
    size_t i = 0, digits = 0;
    for (; i < DIGITS_MAX && (isdigit((unsigned char)p[i]) || (p[i] == '.' && unit == 0)); i++) {
        if (p[i] == '.') {
            unit = 1;
            continue;
        }
        digits++;
        if (unit > 0) v += (p[i] - '0') * (unit /= 10);
        else v = 10 * v + (p[i] - '0');
    }
    *out = v;
    return digits ? i : 0;
}

static void add_word(char *out, size_t cap, const char *p, size_t n)
{
    size_t at = strlen(out);
    snprintf(out + at, cap - at, "%s%.*s", at ? " " : "", (int)n, p);
}

/* Words in lower case, one blank between them; 0, or -1: more than one number or too long. */
static int split(struct clause *c, const char *text, size_t n)
{
    char low[CLAUSE_MAX];
    bool found = false;
    if (n >= sizeof low) return -1;
    for (size_t i = 0; i < n; i++) low[i] = (char)tolower((unsigned char)text[i]);
    low[n] = 0;
    *c = (struct clause){.number = -1};
    for (const char *p = low; *p;) {
        size_t k;
        double v;
        if (isspace((unsigned char)*p)) {
            p++;
        } else if ((k = take_number(p, &v)) || (*p == 'x' && (k = take_number(p + 1, &v)) && k++)) {
            if (found) return -1;
            found = true;
            if (*p == 'x') add_word(c->words, sizeof c->words, "x", 1);
            c->number = v;
            p += k;
            for (; *p == 'k' && !isalpha((unsigned char)p[1]); p++) c->thousand++;
            if (*p == '%') c->percent = true, p++;
        } else {
            for (k = 0; p[k] && !isspace((unsigned char)p[k]) && !isdigit((unsigned char)p[k]); k++) continue;
            add_word(c->words, sizeof c->words, p, k);
            p += k;
        }
    }
    return 0;
}

enum what { USERS, SPEED, PER_SECOND, PER_MINUTE, PER_HOUR, IN, OUT, SPREAD, BURST, EVEN, THINK, CACHED, N_WHAT };

static const struct {
    const char *words;
    enum what what;
} known[] = {
    {"users", USERS},
    {"user", USERS},
    {"concurrent users", USERS},
    {"streams", USERS},
    {"tok/s each", SPEED},
    {"tok/s", SPEED},
    {"tok/s per user", SPEED},
    {"tok/s/user", SPEED},
    {"tokens/s each", SPEED},
    {"tokens/s per user", SPEED},
    {"tokens/s", SPEED},
    {"tokens per second each", SPEED},
    {"tokens/s/user", SPEED},
    {"req/s", PER_SECOND},
    {"requests/s", PER_SECOND},
    {"requests per second", PER_SECOND},
    {"qps", PER_SECOND},
    {"rps", PER_SECOND},
    {"req/min", PER_MINUTE},
    {"requests/min", PER_MINUTE},
    {"requests per minute", PER_MINUTE},
    {"req/h", PER_HOUR},
    {"requests/h", PER_HOUR},
    {"requests per hour", PER_HOUR},
    {"in", IN},
    {"input", IN},
    {"tokens in", IN},
    {"input tokens", IN},
    {"context", IN},
    {"prompt", IN},
    {"out", OUT},
    {"output", OUT},
    {"tokens out", OUT},
    {"output tokens", OUT},
    {"answer", OUT},
    {"spread", SPREAD},
    {"bursts x", BURST},
    {"x bursts", BURST},
    {"burst x", BURST},
    {"bursts", BURST},
    {"even", EVEN},
    {"think s", THINK},
    {"s think", THINK},
    {"s thinking", THINK},
    {"cached", CACHED},
    {"prefix", CACHED},
    {"prefix hits", CACHED},
};

static const char understood[] =
    "'500 users', '30 tok/s each', '12 req/s', '8k in', '500 out', '50% spread', 'bursts x5', 'even', 'think 10s', '40% cached'";

/* Bounds, and of what `percent` may be said. */
static const struct {
    double lo, hi;
    bool percent, tokens;
} bounds[N_WHAT] = {
    [USERS] = {1, 1e9, false, false},
    [SPEED] = {0.01, 1e6, false, false},
    [PER_SECOND] = {1e-6, 1e8, false, false},
    [PER_MINUTE] = {1e-5, 1e9, false, false},
    [PER_HOUR] = {1e-4, 1e10, false, false},
    [IN] = {1, SIM_TOKENS_MAX / 8.0, false, true},
    [OUT] = {1, SIM_TOKENS_MAX / 8.0, false, true},
    [SPREAD] = {0, 10, true, false},
    [BURST] = {1, 1000, false, false},
    [EVEN] = {-1, -1, false, false},
    [THINK] = {0, 1e6, false, false},
    [CACHED] = {0, 1, true, false},
};

static int take_clause(struct traffic *t, struct str text, unsigned *seen, struct err *e)
{
    struct clause c;
    int what = -1;
    if (split(&c, text.p, text.n) == 0)
        for (size_t i = 0; i < sizeof known / sizeof *known && what < 0; i++)
            if (!strcmp(known[i].words, c.words)) what = (int)known[i].what;
    if (what < 0 || (c.number < 0) != (what == EVEN) || (c.percent && !bounds[what].percent))
        return err(e, ERR_USAGE,
                   "traffic: '%.*s' is not understood; clauses, with commas between them, are like %s",
                   STR_ARG(text), understood);
    double v = c.number * pow(bounds[what].tokens ? 1024 : 1000, c.thousand) / (c.percent ? 100 : 1);
    if (!(v >= bounds[what].lo && v <= bounds[what].hi))
        return err(e, ERR_USAGE, "traffic: '%.*s' is %g; expected %g..%g", STR_ARG(text), v, bounds[what].lo,
                   bounds[what].hi);
    unsigned bit = 1u << (what >= PER_SECOND && what <= PER_HOUR ? PER_SECOND : what);
    if (*seen & bit) return err(e, ERR_USAGE, "traffic: '%.*s' says a second time what was said before", STR_ARG(text));
    *seen |= bit;
    double *const to[N_WHAT] = {
        [USERS] = &t->users,   [SPEED] = &t->speed,   [PER_SECOND] = &t->rate, [PER_MINUTE] = &t->rate,
        [PER_HOUR] = &t->rate, [IN] = &t->prompt,     [OUT] = &t->answer,      [SPREAD] = &t->spread,
        [BURST] = &t->burst,   [THINK] = &t->think_s, [CACHED] = &t->cached};
    if (what == EVEN) t->even = true;
    else *to[what] = what == PER_MINUTE ? v / 60 : what == PER_HOUR ? v / 3600 : v;
    return 0;
}

static int complete(struct traffic *t, struct err *e)
{
    if (t->prompt == 0 || t->answer == 0)
        return err(e, ERR_USAGE, "traffic: how many tokens %s? Say for example '%s'",
                   t->prompt == 0 ? "come in" : "go out", t->prompt == 0 ? "8k in" : "500 out");
    if (t->rate > 0 && t->users > 0) return err(e, ERR_USAGE, "traffic: give users or requests per second, not both");
    if (t->rate == 0 && t->users == 0)
        return err(e, ERR_USAGE,
                   "traffic: how much? Say for example '500 users, 30 tok/s each' or '12 req/s'");
    if (t->users > 0 && t->speed == 0)
        return err(e, ERR_USAGE,
                   "traffic: how fast does each of %g users read? Say for example '30 tok/s each'", t->users);
    if (t->users > 0) t->rate = t->users / (t->answer / t->speed + t->think_s);
    return 0;
}

int traffic_read(struct traffic *t, const char *phrase, struct err *e)
{
    unsigned seen = 0;
    int rc = 0;
    *t = (struct traffic){0};
    if (strlen(phrase) > TRAFFIC_TEXT_MAX)
        return err(e, ERR_LIMIT, "traffic: a phrase of %zu bytes; the limit is %d", strlen(phrase),
                   TRAFFIC_TEXT_MAX);
    for (const char *p = phrase;;) {
        size_t n = strcspn(p, ",");
        if (p[strspn(p, " \t")] != ',' || n == 0) rc = take_clause(t, (struct str){p, n}, &seen, e);
        if (rc) return rc;
        if (!p[n]) return complete(t, e);
        p += n + 1;
    }
}

static int take_trace(struct traffic *t, const char *path, struct err *e)
{
    *t = (struct traffic){0};
    int rc = sim_load_read(&t->trace, path, e);
    if (rc) return rc;
    struct sim_mean m = sim_load_mean(&t->trace);
    t->rate = m.rate, t->prompt = m.prompt, t->answer = m.answer;
    if (m.rate > 0) return 0;
    traffic_close(t);
    return err(e, ERR_FORMAT, "%s: all requests come at once; a trace needs time between the first and the last", path);
}

int traffic_open(struct traffic *t, const char *text, struct err *e)
{
    struct stat st;
    if (stat(text, &st) == 0 && S_ISREG(st.st_mode)) return take_trace(t, text, e);
    /* "5 users 20 tok/s" lacks its commas */
    bool phrase = strchr(text, ',') || (*text >= '0' && *text <= '9' && strchr(text, ' '));
    if (!phrase && (strchr(text, '/') || strstr(text, ".csv") || strstr(text, ".json")))
        return err(e, ERR_NOT_FOUND, "traffic: no file '%s'", text);
    return traffic_read(t, text, e);
}

void traffic_close(struct traffic *t)
{
    sim_load_finish(&t->trace);
}

int traffic_requests(const struct traffic *t, double rate, double turns, uint64_t seed, int n,
                     struct sim_load *out, struct err *e)
{
    double of = t->rate / rate; /* of a trace: as many servers as make that rate */
    if (t->trace.n) return sim_load_share(out, &t->trace, 0, of < 1 ? 1 : of > t->trace.n ? t->trace.n : (int)of, e);
    struct sim_draw d = {.rate = rate,
                         .turns = turns,
                         .prompt = t->prompt,
                         .answer = t->answer,
                         .spread = t->spread,
                         .burst = t->burst,
                         .seed = seed};
    d.arrivals = t->even ? SIM_EVEN : t->burst > 0 ? SIM_BURSTS : SIM_POISSON;
    return sim_load_draw(out, &d, n, e);
}

int traffic_longest(const struct traffic *t)
{
    if (t->trace.n) return sim_load_mean(&t->trace).longest;
    /* of a log-normal the rest is rare; sim_run says if it came */
    double most = (t->prompt + t->answer) * (1 + 4 * t->spread);
    return most > SIM_TOKENS_MAX / 4.0 ? SIM_TOKENS_MAX / 4 : (int)ceil(most);
}

/* --- single quantities ------------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    double factor;
};

static int quantity(double *out, const char *text, const char *what, const struct unit *units,
                    const char *example, struct err *e)
{
    double v;
    text += strspn(text, " $");
    size_t n = take_number(text, &v);
    const char *rest = text + n + strspn(text + n, " ");
    for (const struct unit *u = units; n && u->name; u++) {
        if (strcmp(u->name, rest)) continue;
        *out = v * u->factor;
        if (*out > 0 && *out < 1e15) return 0;
    }
    return err(e, ERR_USAGE, "%s: '%s' is not understood; say for example %s", what, text, example);
}

int traffic_seconds(double *out, const char *text, const char *what, struct err *e)
{
    static const struct unit units[] = {{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"min", 60}, {"h", 3600}, {NULL, 0}};
    return quantity(out, text, what, units, "2s or 33ms", e);
}

int traffic_watts(double *out, const char *text, const char *what, struct err *e)
{
    static const struct unit units[] = {{"W", 1}, {"kW", 1e3}, {"MW", 1e6}, {"GW", 1e9}, {NULL, 0}};
    return quantity(out, text, what, units, "5W, 40kW or 1MW", e);
}

int traffic_link(double *out, const char *text, const char *what, struct err *e)
{
    static const struct unit units[] = {{"GB/s", 1e9},     {"MB/s", 1e6},      {"TB/s", 1e12},
                                        {"Gb/s", 1e9 / 8}, {"Tb/s", 1e12 / 8}, {NULL, 0}};
    return quantity(out, text, what, units, "50GB/s or 400Gb/s", e);
}

int traffic_dollars(double *out, const char *text, const char *what, struct err *e)
{
    static const struct unit units[] = {{"", 1},    {"k", 1e3},     {"M", 1e6},     {"B", 1e9},
                                        {"USD", 1}, {"k USD", 1e3}, {"M USD", 1e6}, {NULL, 0}};
    return quantity(out, text, what, units, "250k or 2M", e);
}
