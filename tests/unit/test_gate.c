/* SPDX-License-Identifier: Apache-2.0 */
/* serve/gate_keys: keys, limits, headers, durable rows, and 64 threads that finish at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "serve/ledger/gate_keys.h"
#include "serve/ledger/ledger.h"

enum { CLIENTS = 64, EACH = 5, PROMPT = 100, ANSWER = 20 };
static char dir[] = "/tmp/tutti-test-XXXXXX", db[PATH_BYTES_MAX], prices[PATH_BYTES_MAX];
static int n_db, n_request;

static void new_ledger(void)
{
    snprintf(db, sizeof db, "%s/%d.db", dir, n_db++);
}

static int64_t add_key(const char *name, const struct limit_set *set, char secret[KEY_SECRET_CHARS + 1])
{
    struct ledger *l;
    struct key k;
    struct err e = {0};
    if (ledger_open(&l, db, &e) || key_make(&k, secret, name, set, &e) || ledger_key_add(l, &k, &e))
        fail_msg("%s", e.msg);
    ledger_close(l);
    return k.id;
}

static const struct gate *open_gate(bool required)
{
    const struct gate *g;
    struct err e = {0};
    struct gate_keys_options o = {db, prices, required};
    if (gate_keys_open(&g, &o, &e)) fail_msg("%s", e.msg);
    return g;
}

static int enter(const struct gate *g, const char *key, struct gate_pass *p, struct gate_refusal *no)
{
    struct gate_request q = {
        .id = "req_x", .key = key, .remote = "127.0.0.1", .method = "POST", .path = "/v1/chat/completions"};
    memset(no, 0, sizeof *no);
    return g->enter(g->ud, &q, p, no);
}

static int admit(const struct gate *g, struct gate_pass *p, enum gate_tier tier, struct gate_refusal *no)
{
    struct gate_load l = {"small", PROMPT, 64, tier};
    return g->admit(g->ud, p, &l, no);
}

static void leave(const struct gate *g, struct gate_pass *p, const char *id, int status)
{
    struct gate_done d = {.id = id,
                          .route = "/v1/chat/completions",
                          .model = "small",
                          .status = status,
                          .n_prompt = PROMPT,
                          .n_cached = 40,
                          .n_answer = ANSWER,
                          .start_us = (int64_t)time(NULL) * 1000000};
    g->leave(g->ud, p, &d);
}

/* One whole request; the status of the refusal or 200. */
static int ask(const struct gate *g, const char *key, enum gate_tier tier, struct gate_pass *p, struct gate_refusal *no)
{
    char id[32];
    snprintf(id, sizeof id, "req_%d", n_request++);
    if (enter(g, key, p, no)) return no->status;
    int rc = admit(g, p, tier, no);
    leave(g, p, id, rc ? no->status : 200);
    return rc ? no->status : 200;
}

static const char *header(const struct gate_pass *p, const char *name)
{
    for (int i = 0; i < p->headers.n; i++)
        if (strcmp(p->headers.h[i].name, name) == 0) return p->headers.h[i].value;
    return "";
}

static int count(void *ud, const struct ledger_sum *s)
{
    struct ledger_sum *t = ud;
    t->n_requests += s->n_requests, t->n_prompt += s->n_prompt, t->n_cached += s->n_cached,
        t->n_answer += s->n_answer, t->cost_nusd += s->cost_nusd;
    return 0;
}

static struct ledger_sum total(void)
{
    struct ledger_sum t = {0};
    struct ledger *l;
    struct err e = {0};
    if (ledger_open(&l, db, &e) || ledger_sums(l, 0, 1 << 20, count, &t, &e)) fail_msg("%s", e.msg);
    ledger_close(l);
    return t;
}

static void keys_are_asked(void **state)
{
    (void)state;
    char a[KEY_SECRET_CHARS + 1], b[KEY_SECRET_CHARS + 1], bearer[64];
    struct gate_pass p;
    struct gate_refusal no;
    struct limit_set none = {0};
    struct err e = {0};
    int64_t id;
    new_ledger();
    id = add_key("a", &none, a);
    const struct gate *g = open_gate(true);
    assert_int_equal(ask(g, "", GATE_DEFAULT, &p, &no), 401);
    assert_string_equal(no.code, "invalid_api_key");
    assert_int_equal(ask(g, NULL, GATE_DEFAULT, &p, &no), 401);
    assert_int_equal(ask(g, "tk_wrong", GATE_DEFAULT, &p, &no), 401);
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 200);
    assert_int_equal(p.owner, id);
    assert_string_equal(p.name, "a");
    assert_int_equal(p.headers.n, 0);
    snprintf(bearer, sizeof bearer, "Bearer %s", a);
    assert_int_equal(ask(g, bearer, GATE_DEFAULT, &p, &no), 200);
    /* A key made while the gate is open works, a revoked one stops working. */
    id = add_key("b", &none, b);
    for (int i = 0; i < 50 && ask(g, b, GATE_DEFAULT, &p, &no) != 200; i++) usleep(100000);
    assert_int_equal(ask(g, b, GATE_DEFAULT, &p, &no), 200);
    struct ledger *l;
    assert_int_equal(ledger_open(&l, db, &e), 0);
    assert_int_equal(ledger_key_revoke(l, "b", 1, &id, &e), 0);
    ledger_close(l);
    for (int i = 0; i < 50 && ask(g, b, GATE_DEFAULT, &p, &no) == 200; i++) usleep(100000);
    assert_int_equal(ask(g, b, GATE_DEFAULT, &p, &no), 401);
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 200);
    gate_keys_close(g);
    g = open_gate(false);
    assert_int_equal(ask(g, "sk-anything", GATE_DEFAULT, &p, &no), 200);
    assert_int_equal(p.owner, 0);
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 200);
    assert_true(p.owner > 0);
    gate_keys_close(g);
}

static void limits_hold(void **state)
{
    (void)state;
    char a[KEY_SECRET_CHARS + 1], b[KEY_SECRET_CHARS + 1];
    struct gate_pass p;
    struct gate_refusal no;
    new_ledger();
    add_key("a", &(struct limit_set){.rpm = 2, .rpd = 100, .tpm = 10000}, a);
    add_key("b", &(struct limit_set){.tpm = 50}, b);
    const struct gate *g = open_gate(true);
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 200);
    assert_string_equal(header(&p, "x-ratelimit-limit-requests"), "100");
    assert_string_equal(header(&p, "x-ratelimit-remaining-requests"), "99");
    assert_non_null(strchr(header(&p, "x-ratelimit-reset-requests"), 's'));
    assert_string_equal(header(&p, "x-ratelimit-limit-tokens"), "10000");
    assert_string_equal(header(&p, "x-ratelimit-remaining-tokens"), "9900");
    assert_memory_equal(header(&p, "x-ratelimit-reset-tokens"), "600ms", 5);
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 200);
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 429);
    assert_string_equal(no.type, "requests");
    assert_string_equal(no.code, "rate_limit_exceeded");
    assert_true(no.retry_after_s > 25 && no.retry_after_s <= 30);
    assert_non_null(strstr(no.message, "limit 2, used 2"));
    assert_string_equal(header(&p, "x-ratelimit-remaining-requests"), "98");
    assert_int_equal(ask(g, a, GATE_FLEX, &p, &no), 200); /* ten times the limits */
    assert_int_equal(p.priority, -1);
    assert_int_equal(ask(g, a, GATE_BATCH, &p, &no), 200); /* limits of their own */
    assert_int_equal(ask(g, b, GATE_DEFAULT, &p, &no), 413);
    assert_string_equal(no.type, "tokens");
    gate_keys_close(g);
    assert_int_equal(total().n_requests, 4); /* what was refused is not in the ledger */
}

static void money_runs_out(void **state)
{
    (void)state;
    char a[KEY_SECRET_CHARS + 1];
    struct gate_pass p;
    struct gate_refusal no;
    int64_t cost = 60 * 20 + 40 * 10 + 20 * 50; /* nano-dollars of one request */
    new_ledger();
    add_key("a", &(struct limit_set){.spend_nusd = 3 * cost, .rpd = 100}, a);
    const struct gate *g = open_gate(true);
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 200);
    assert_int_equal(ask(g, a, GATE_BATCH, &p, &no), 200); /* at half the price */
    assert_int_equal(enter(g, a, &p, &no), 0);
    assert_int_equal(admit(g, &p, GATE_DEFAULT, &no), 0);
    leave(g, &p, "req_failed", 500); /* costs nothing */
    gate_keys_close(g);
    assert_int_equal(total().cost_nusd, cost + cost / 2);
    g = open_gate(true); /* what was spent before a restart is spent */
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 200);
    assert_string_equal(header(&p, "x-ratelimit-remaining-requests"), "96");
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 200);
    assert_int_equal(ask(g, a, GATE_DEFAULT, &p, &no), 400);
    assert_string_equal(no.code, "blocked_api_access");
    assert_int_equal(ask(g, a, GATE_BATCH, &p, &no), 400);
    gate_keys_close(g);
}

struct client {
    pthread_t thread;
    const struct gate *g;
    int i, bad;
    double worst_s;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *run_client(void *arg)
{
    struct client *c = arg;
    for (int i = 0; i < EACH; i++) {
        char id[32];
        struct gate_pass p;
        struct gate_refusal no;
        snprintf(id, sizeof id, "req_%d_%d", c->i, i);
        if (enter(c->g, "", &p, &no) || admit(c->g, &p, GATE_DEFAULT, &no)) {
            c->bad++;
            continue;
        }
        double begin = now_s();
        leave(c->g, &p, id, 200);
        if (now_s() - begin > c->worst_s) c->worst_s = now_s() - begin;
    }
    return NULL;
}

static void many_leave_at_once(void **state)
{
    (void)state;
    struct client c[CLIENTS] = {0};
    double begin = now_s(), worst = 0;
    new_ledger();
    const struct gate *g = open_gate(false);
    for (int i = 0; i < CLIENTS; i++) {
        c[i].g = g, c[i].i = i;
        assert_int_equal(pthread_create(&c[i].thread, NULL, run_client, &c[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].bad, 0);
        if (c[i].worst_s > worst) worst = c[i].worst_s;
    }
    printf("%d rows by %d threads in %.3f s, a leave took at most %.3f s\n", CLIENTS * EACH, CLIENTS,
           now_s() - begin, worst);
    struct ledger_sum t = total(); /* before the gate closes: all is on the disk */
    assert_int_equal(t.n_requests, CLIENTS * EACH);
    assert_int_equal(t.n_answer, CLIENTS * EACH * ANSWER);
    gate_keys_close(g);
}

int main(void)
{
    struct err e;
    if (!mkdtemp(dir)) return 1;
    snprintf(prices, sizeof prices, "%s/prices.ini", dir);
    FILE *f = fopen(prices, "w");
    if (!f || fputs("[small]\nprompt = 0.02\ncached = 0.01\nanswer = 0.05\nbatch = 50\n", f) < 0 || fclose(f)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys_are_asked), cmocka_unit_test(limits_hold),
                                       cmocka_unit_test(money_runs_out),
                                       cmocka_unit_test(many_leave_at_once)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    path_remove_tree(dir, &e);
    return rc;
}
