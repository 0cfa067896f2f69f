/* SPDX-License-Identifier: Apache-2.0 */
/* See gate_keys.h. */
#include "serve/ledger/gate_keys.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "serve/ledger/keys.h"
#include "serve/ledger/ledger.h"
#include "serve/ledger/meter.h"
#include "serve/ledger/prices.h"

enum { FLEX_SCALE = 10, SHARED_EVERY = 5 /* ticks between two looks at shared sums */, DAY_S = 86400 };
enum { PRIORITY_FLEX = -1, PRIORITY_BATCH = -2 };
static const int64_t DAY_US = DAY_S * INT64_C(1000000);

struct account {
    int64_t id;
    struct limits limits;
    int64_t open_requests, open_tokens; /* admitted and not yet in the ledger's sums */
};

struct gate_keys {
    struct gate gate;
    struct prices prices;
    struct meter *meter;
    bool required, shared;
    int ticks;            /* the meter's thread only, as is version */
    int64_t version;

    pthread_mutex_t lock; /* guards keys and accounts */
    struct key_table keys;
    struct account **account; /* [n_accounts] ascending by id; never freed before the end: passes point to them */
    int n_accounts;
};

struct visit { /* a pass's data */
    struct account *account; /* NULL: no key */
    bool admitted;
    int64_t n_prompt;
    enum gate_tier tier;
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- accounts: under the lock ------------------------------------------------------------------------------- */

static struct account *find_account(const struct gate_keys *g, int64_t id)
{
    int lo = 0, hi = g->n_accounts;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (g->account[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < g->n_accounts && g->account[lo]->id == id ? g->account[lo] : NULL;
}

static int by_id(const void *a, const void *b)
{
    const struct account *x = *(struct account *const *)a, *y = *(struct account *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* An account for every key of the table; limits of those that are known may have changed. */
static int open_accounts(struct gate_keys *g, int64_t now, struct err *e)
{
    struct account **all = realloc(g->account, (size_t)(g->n_accounts + g->keys.n + 1) * sizeof *all);
    if (!all) return err(e, ERR_MEMORY, "out of memory for %d keys", g->keys.n);
    g->account = all;
    int n = g->n_accounts;
    for (int i = 0; i < g->keys.n; i++) {
        const struct key *k = &g->keys.key[i];
        struct account *a = find_account(g, k->id);
        if (a) {
            limits_change(&a->limits, &k->limits, now);
            continue;
        }
        if (!(a = calloc(1, sizeof *a))) return err(e, ERR_MEMORY, "out of memory for %d keys", g->keys.n);
        a->id = k->id;
        limits_init(&a->limits, &k->limits, now);
        all[n++] = a;
    }
    g->n_accounts = n;
    qsort(all, (size_t)n, sizeof *all, by_id);
    return 0;
}

/* --- what the ledger knows ---------------------------------------------------------------------------------- */

static int read_keys(struct gate_keys *g, struct ledger *l, struct err *e)
{
    struct key *key = NULL;
    int n = 0, rc;
    int64_t version;
    if ((rc = ledger_keys_version(l, &version, e)) || version == g->version) return rc;
    if ((rc = ledger_keys(l, &key, &n, e))) return rc;
    pthread_mutex_lock(&g->lock);
    key_table_set(&g->keys, key, n);
    rc = open_accounts(g, now_us(), e);
    pthread_mutex_unlock(&g->lock);
    if (!rc) g->version = version;
    return rc;
}

struct used {
    int64_t key, requests, tokens, nusd;
};
struct used_list {
    struct used *used;
    int n, cap;
    int64_t today;
};

static int add_sum(void *ud, const struct ledger_sum *s)
{
    struct used_list *u = ud;
    int i = u->n - 1;
    while (i >= 0 && u->used[i].key != s->key) i--;
    if (i < 0) {
        if (u->n == u->cap) {
            int cap = u->cap ? 2 * u->cap : 64;
            struct used *p = realloc(u->used, (size_t)cap * sizeof *p);
            if (!p) return ERR_MEMORY;
            u->used = p;
            u->cap = cap;
        }
        u->used[i = u->n++] = (struct used){.key = s->key};
    }
    u->used[i].nusd += s->cost_nusd;
    if (s->day != u->today) return 0;
    u->used[i].requests += s->n_requests;
    u->used[i].tokens += s->n_prompt - s->n_cached + s->n_answer;
    return 0;
}

/* This day's and month's sums, and what is under way here, are what has been used. */
static int read_sums(struct gate_keys *g, struct ledger *l, struct err *e)
{
    int64_t now = now_us();
    struct used_list u = {.today = limits_day(now)};
    int rc = ledger_sums(l, limits_month_begin_us(now) / DAY_US, u.today, add_sum, &u, e);
    pthread_mutex_lock(&g->lock);
    for (int i = 0; i < u.n && !rc; i++) {
        struct account *a = find_account(g, u.used[i].key);
        if (a)
            limits_restore(&a->limits, now, u.used[i].requests + a->open_requests,
                           u.used[i].tokens + a->open_tokens, u.used[i].nusd);
    }
    pthread_mutex_unlock(&g->lock);
    free(u.used);
    return rc;
}

static void tick(void *ud, struct ledger *l)
{
    struct gate_keys *g = ud;
    struct err e = {0};
    int rc = read_keys(g, l, &e);
    if (!rc && g->shared && ++g->ticks % SHARED_EVERY == 0) rc = read_sums(g, l, &e);
    if (rc) fprintf(stderr, "tutti: %s\n", e.msg);
}

/* --- headers and refusals ------------------------------------------------------------------------------------ */

static void add_header(struct gate_headers *h, const char *name, const char *value)
{
    must(h->n < GATE_HEADERS_MAX);
    h->h[h->n].name = name;
    snprintf(h->h[h->n].value, sizeof h->h[h->n].value, "%.31s", value);
    h->n++;
}

static void add_number(struct gate_headers *h, const char *name, int64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, v);
    add_header(h, name, text);
}

static void fill_headers(struct gate_headers *h, struct limits *l, int64_t now)
{
    struct limit_left requests, tokens;
    char duration[GO_DURATION_MAX];
    h->n = 0;
    limits_requests(l, now, &requests);
    limits_tokens(l, now, &tokens);
    if (requests.limit >= 0) {
        go_duration(requests.reset_us, duration);
        add_number(h, "x-ratelimit-limit-requests", requests.limit);
        add_number(h, "x-ratelimit-remaining-requests", requests.left);
        add_header(h, "x-ratelimit-reset-requests", duration);
    }
    if (tokens.limit >= 0) {
        go_duration(tokens.reset_us, duration);
        add_number(h, "x-ratelimit-limit-tokens", tokens.limit);
        add_number(h, "x-ratelimit-remaining-tokens", tokens.left);
        add_header(h, "x-ratelimit-reset-tokens", duration);
    }
}

static int refuse_limit(struct gate_refusal *no, const struct limit_refusal *r, const char *model)
{
    static const char *const what[] = {[LIMIT_RPM] = "requests per minute (RPM)",
                                       [LIMIT_RPD] = "requests per day (RPD)",
                                       [LIMIT_TPM] = "tokens per minute (TPM)",
                                       [LIMIT_TPD] = "tokens per day (TPD)"};
    char duration[GO_DURATION_MAX], limit[MONEY_TEXT_MAX], used[MONEY_TEXT_MAX];
    if (r->kind == LIMIT_SPEND) {
        *no = (struct gate_refusal){.status = 400,
                                    .type = "invalid_request_error",
                                    .code = "blocked_api_access",
                                    .retry_after_s = -1};
        money_print(r->limit, limit);
        money_print(r->used, used);
        snprintf(
            no->message, sizeof no->message,
            "this key's cap of $%s per month is reached ($%s used); it starts anew on the first of the month",
            limit, used);
        return ERR_LIMIT;
    }
    bool tokens = r->kind == LIMIT_TPM || r->kind == LIMIT_TPD;
    *no = (struct gate_refusal){.status = 429,
                                .type = tokens ? "tokens" : "requests",
                                .code = "rate_limit_exceeded",
                                .retry_after_s = (double)r->wait_us / 1e6};
    if (r->wait_us < 0) {
        no->status = 413;
        no->retry_after_s = -1;
        snprintf(no->message, sizeof no->message,
                 "the request is too large for model '%.64s' on %s: limit %" PRId64 ", requested %" PRId64
                 "; shorten it",
                 model, what[r->kind], r->limit, r->asked);
        return ERR_LIMIT;
    }
    go_duration(r->wait_us, duration);
    snprintf(no->message, sizeof no->message,
             "rate limit reached for model '%.64s' on %s: limit %" PRId64 ", used %" PRId64
             ", requested %" PRId64 ". Please try again in %s.",
             model, what[r->kind], r->limit, r->used, r->asked, duration);
    return ERR_LIMIT;
}

/* --- the three moments --------------------------------------------------------------------------------------- */

static int enter(void *ud, const struct gate_request *q, struct gate_pass *p, struct gate_refusal *no)
{
    struct gate_keys *g = ud;
    *p = (struct gate_pass){0};
    struct visit *v = calloc(1, sizeof *v);
    if (!v) {
        *no = (struct gate_refusal){
            .status = 503, .type = "server_error", .retry_after_s = 1, .message = "out of memory"};
        return ERR_MEMORY;
    }
    pthread_mutex_lock(&g->lock);
    const struct key *k = q->inside ? key_table_by_id(&g->keys, (int64_t)q->owner)
                                    : key_table_find(&g->keys, key_of_header(q->key));
    if (k) {
        v->account = find_account(g, k->id);
        p->owner = (uint64_t)k->id;
        snprintf(p->name, sizeof p->name, "%s", k->name);
        if (v->account) fill_headers(&p->headers, &v->account->limits, now_us());
    }
    pthread_mutex_unlock(&g->lock);
    if (!k && g->required) {
        free(v);
        *no = (struct gate_refusal){
            .status = 401, .type = "invalid_request_error", .code = "invalid_api_key", .retry_after_s = -1};
        snprintf(no->message, sizeof no->message,
                 "%s: send 'Authorization: Bearer KEY' ('tutti keys create' makes one)",
                 q->key && *q->key ? "this key is unknown or was revoked" : "this server wants a key");
        return ERR_USAGE;
    }
    p->data = v;
    return 0;
}

static int admit(void *ud, struct gate_pass *p, const struct gate_load *l, struct gate_refusal *no)
{
    struct gate_keys *g = ud;
    struct visit *v = p->data;
    struct account *a = v->account;
    struct limit_refusal r = {0};
    bool ok = true;
    v->n_prompt = l->n_prompt;
    v->tier = l->tier;
    p->priority = l->tier == GATE_FLEX ? PRIORITY_FLEX : l->tier == GATE_BATCH ? PRIORITY_BATCH : 0;
    if (a) {
        int64_t now = now_us();
        pthread_mutex_lock(&g->lock);
        if (l->tier == GATE_BATCH)
            ok = limits_solvent(&a->limits, now, &r);
        else
            ok = limits_take(&a->limits, now, l->n_prompt, l->tier == GATE_FLEX ? FLEX_SCALE : 1, &r);
        if (ok && l->tier != GATE_BATCH) a->open_requests++, a->open_tokens += l->n_prompt;
        fill_headers(&p->headers, &a->limits, now);
        pthread_mutex_unlock(&g->lock);
    }
    v->admitted = ok;
    return ok ? 0 : refuse_limit(no, &r, l->model);
}

static void wake(void *ud, int rc)
{
    (void)rc; /* the meter has said it */
    sem_post(ud);
}

static void write_row(struct gate_keys *g, const struct ledger_row *row)
{
    sem_t written;
    sem_init(&written, 0, 0);
    meter_post(g->meter, row, wake, &written);
    while (sem_wait(&written) && errno == EINTR) {}
    sem_destroy(&written);
}

static const char *finish_of(int status)
{
    return status == 499 ? "cancelled" : status >= 400 ? "error" : "done";
}

static void charge(struct gate_keys *g, struct visit *v, const struct gate_done *d, int64_t cost)
{
    struct account *a = v->account;
    if (!a) return;
    int64_t answered = d->status >= 500 ? -v->n_prompt : (int64_t)d->n_prompt - v->n_prompt - d->n_cached + d->n_answer;
    pthread_mutex_lock(&g->lock);
    limits_charge(&a->limits, now_us(), v->tier == GATE_BATCH ? 0 : answered, cost);
    pthread_mutex_unlock(&g->lock);
}

static void leave(void *ud, struct gate_pass *p, const struct gate_done *d)
{
    struct gate_keys *g = ud;
    struct visit *v = p->data;
    p->data = NULL;
    if (!v->admitted) { /* nothing ran: nothing to account for */
        free(v);
        return;
    }
    struct ledger_row row = {.key = (int64_t)p->owner,
                             .time_us = d->start_us,
                             .status = d->status,
                             .n_prompt = d->n_prompt,
                             .n_cached = d->n_cached,
                             .n_answer = d->n_answer,
                             .queue_us = (int64_t)(d->queue_s * 1e6),
                             .prompt_us = (int64_t)(d->prompt_s * 1e6),
                             .answer_us = (int64_t)(d->answer_s * 1e6)};
    snprintf(row.request, sizeof row.request, "%s", d->id);
    snprintf(row.model, sizeof row.model, "%s", d->model ? d->model : "");
    snprintf(row.endpoint, sizeof row.endpoint, "%s", d->route ? d->route : "");
    snprintf(row.finish, sizeof row.finish, "%s", finish_of(d->status));
    if (d->status < 500)
        row.cost_nusd =
            prices_cost(&g->prices, row.model, d->n_prompt, d->n_cached, d->n_answer, v->tier == GATE_BATCH);
    charge(g, v, d, row.cost_nusd);
    write_row(g, &row);
    if (v->account && v->tier != GATE_BATCH) {
        pthread_mutex_lock(&g->lock);
        v->account->open_requests--;
        v->account->open_tokens -= v->n_prompt;
        pthread_mutex_unlock(&g->lock);
    }
    free(v);
}

/* --- open and close ------------------------------------------------------------------------------------------- */

void gate_keys_close(const struct gate *gate)
{
    if (!gate) return;
    struct gate_keys *g = gate->ud;
    meter_stop(g->meter);
    prices_finish(&g->prices);
    key_table_finish(&g->keys);
    for (int i = 0; i < g->n_accounts; i++) free(g->account[i]);
    free(g->account);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

int gate_keys_open(const struct gate **out, const struct gate_keys_options *o, struct err *e)
{
    struct gate_keys *g = calloc(1, sizeof *g);
    struct ledger *l = NULL;
    if (!g) return err(e, ERR_MEMORY, "out of memory");
    *g = (struct gate_keys){.gate = {enter, admit, leave, g}, .required = o->required, .version = -1};
    pthread_mutex_init(&g->lock, NULL);
    int rc = o->prices ? prices_read(&g->prices, o->prices, e) : 0;
    if (!rc && !(rc = ledger_open(&l, o->ledger, e))) {
        g->shared = ledger_is_shared(l);
        if (!(rc = read_keys(g, l, e)) && !(rc = read_sums(g, l, e))) rc = meter_start(&g->meter, l, tick, g, e);
        if (rc) ledger_close(l);
    }
    if (rc) {
        gate_keys_close(&g->gate);
        return rc;
    }
    *out = &g->gate;
    return 0;
}
