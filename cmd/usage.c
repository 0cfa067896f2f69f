/* SPDX-License-Identifier: Apache-2.0 */
/* tutti usage: what was used, from the ledger: requests, tokens and cost by key, model and day. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cmd.h"
#include "common.h"
#include "serve/ledger/ledger.h"

enum { BY_DAY = 1, BY_KEY = 2, BY_MODEL = 4, DAY_S = 86400, LINES_MAX = 10000000, DATE_MAX = 32 };

struct report {
    int by;
    struct ledger_sum *line; /* [n] */
    int n, cap;
    struct err *e;
};

static const struct args_doc doc = {
    "usage", "", "report requests, tokens and cost from the ledger",
    "Days are those of UTC. Cost is in dollars by the prices that the server had when it answered. Cached tokens are a part of the prompt's."};

/* Sums come by day, key and model; what the report does not tell apart is added up. */
static int add(void *ud, const struct ledger_sum *s)
{
    struct report *r = ud;
    struct ledger_sum x = *s;
    if (!(r->by & BY_DAY)) x.day = 0;
    if (!(r->by & BY_KEY)) x.key = 0, x.key_name[0] = 0;
    if (!(r->by & BY_MODEL)) x.model[0] = 0;
    for (int i = r->n - 1; i >= 0; i--) {
        struct ledger_sum *y = &r->line[i];
        if (y->day != x.day && (r->by & BY_DAY)) break; /* days ascend */
        if (y->key != x.key || strcmp(y->model, x.model) != 0) continue;
        y->n_requests += x.n_requests, y->n_prompt += x.n_prompt, y->n_cached += x.n_cached,
            y->n_answer += x.n_answer, y->cost_nusd += x.cost_nusd;
        return 0;
    }
    if (r->n == r->cap) {
        int cap = r->cap ? 2 * r->cap : 64;
        struct ledger_sum *l = cap <= LINES_MAX ? realloc(r->line, (size_t)cap * sizeof *l) : NULL;
        if (!l) return err(r->e, ERR_MEMORY, "out of memory for a report of %d lines", r->n);
        r->line = l;
        r->cap = cap;
    }
    r->line[r->n++] = x;
    return 0;
}

static void date_of(int64_t day, char out[DATE_MAX])
{
    time_t s = (time_t)day * DAY_S;
    struct tm t;
    gmtime_r(&s, &t);
    if (!strftime(out, DATE_MAX, "%Y-%m-%d", &t)) *out = 0;
}

static void print_table(const struct report *r)
{
    if (r->by & BY_DAY) printf("%-11s", "DAY");
    if (r->by & BY_KEY) printf("%-25s", "KEY");
    if (r->by & BY_MODEL) printf("%-33s", "MODEL");
    printf("%10s %12s %12s %12s %14s\n", "REQUESTS", "PROMPT", "CACHED", "ANSWER", "USD");
    for (int i = 0; i < r->n; i++) {
        const struct ledger_sum *s = &r->line[i];
        char date[DATE_MAX], usd[MONEY_TEXT_MAX];
        date_of(s->day, date);
        money_print(s->cost_nusd, usd);
        if (r->by & BY_DAY) printf("%-11s", date);
        if (r->by & BY_KEY) printf("%-24s ", s->key ? s->key_name : "-");
        if (r->by & BY_MODEL) printf("%-32s ", s->model);
        printf("%10" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64 " %14s\n", s->n_requests, s->n_prompt,
               s->n_cached, s->n_answer, usd);
    }
    if (!r->n) fprintf(stderr, "nothing was used in this time\n");
}

/* A field of CSV; quoted, since a model's name may hold a comma. */
static void print_field(const char *z)
{
    putchar('"');
    for (; *z; z++) {
        if (*z == '"') putchar('"');
        putchar(*z);
    }
    printf("\",");
}

static void print_csv(const struct report *r)
{
    printf("%s%s%srequests,prompt_tokens,cached_tokens,answer_tokens,usd\n", r->by & BY_DAY ? "day," : "",
           r->by & BY_KEY ? "key_id,key," : "", r->by & BY_MODEL ? "model," : "");
    for (int i = 0; i < r->n; i++) {
        const struct ledger_sum *s = &r->line[i];
        char date[DATE_MAX], usd[MONEY_TEXT_MAX];
        date_of(s->day, date);
        money_print(s->cost_nusd, usd);
        if (r->by & BY_DAY) printf("%s,", date);
        if (r->by & BY_KEY) printf("%" PRId64 ",", s->key), print_field(s->key_name);
        if (r->by & BY_MODEL) print_field(s->model);
        printf("%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%s\n", s->n_requests, s->n_prompt,
               s->n_cached, s->n_answer, usd);
    }
}

static void print_json(const struct report *r)
{
    json_t *all = json_array();
    for (int i = 0; i < r->n; i++) {
        const struct ledger_sum *s = &r->line[i];
        char date[DATE_MAX], usd[MONEY_TEXT_MAX];
        date_of(s->day, date);
        money_print(s->cost_nusd, usd);
        json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:s}", "requests", (json_int_t)s->n_requests,
                              "prompt_tokens", (json_int_t)s->n_prompt, "cached_tokens",
                              (json_int_t)s->n_cached, "answer_tokens", (json_int_t)s->n_answer, "usd", usd);
        if (r->by & BY_MODEL) json_object_set_new(o, "model", json_string(s->model));
        if (r->by & BY_KEY)
            json_object_set_new(o, "key_id", json_integer(s->key)),
                json_object_set_new(o, "key", json_string(s->key_name));
        if (r->by & BY_DAY) json_object_set_new(o, "day", json_string(date));
        json_array_append_new(all, o);
    }
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

static bool parse_by(const char *text, int *by)
{
    *by = 0;
    for (const char *p = text; *p; p += strcspn(p, ","), p += *p == ',') {
        size_t n = strcspn(p, ",");
        int one = n == 3 && strncmp(p, "day", 3) == 0     ? BY_DAY
                  : n == 3 && strncmp(p, "key", 3) == 0   ? BY_KEY
                  : n == 5 && strncmp(p, "model", 5) == 0 ? BY_MODEL
                                                          : 0;
        if (!one) return false;
        *by |= one;
    }
    return *by != 0;
}

int cmd_usage(int argc, char **argv)
{
    const char *ledger = NULL, *by = "key,model,day";
    int days = 31, status;
    bool json = false, csv = false;
    const struct arg table[] = {
        {"by", 0, ARG_STR, &by, "LIST",
         "what a line tells apart: key, model, day, with commas (default: all three)", 0, 0},
        {"days", 0, ARG_INT, &days, "N", "the last N days, today included (default: 31)", 1, 100000},
        {"ledger", 0, ARG_STR, &ledger, "PATH",
         "the ledger, or postgresql://... (default: $TUTTI_LEDGER, else ~/.local/share/tutti/ledger.db)", 0,
         0},
        {"json", 0, ARG_FLAG, &json, NULL, "print a JSON array", 0, 0},
        {"csv", 0, ARG_FLAG, &csv, NULL, "print comma-separated values", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    struct err e = {0};
    struct report r = {.e = &e};
    struct ledger *l;
    if (at < 0) return status;
    if (at != argc) return args_fault(&doc, "takes no words; see tutti usage --help");
    if (!parse_by(by, &r.by))
        return args_fault(&doc, "--by takes key, model and day with commas between, got '%s'", by);
    int rc = ledger_open(&l, ledger, &e);
    if (rc) return common_fail(&doc, &e);
    int64_t today = (int64_t)time(NULL) / DAY_S;
    rc = ledger_sums(l, today - days + 1, today, add, &r, &e);
    ledger_close(l);
    if (rc)
        status = common_fail(&doc, &e);
    else if (json)
        print_json(&r);
    else if (csv)
        print_csv(&r);
    else
        print_table(&r);
    free(r.line);
    return status;
}
