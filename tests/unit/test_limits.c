/* SPDX-License-Identifier: Apache-2.0 */
/* serve/limits, serve/keys, serve/prices, serve/ulid: pure functions over a clock of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "serve/http/ulid.h"
#include "serve/ledger/keys.h"
#include "serve/ledger/limits.h"
#include "serve/ledger/prices.h"

static const int64_t S = 1000000, DAY = 86400 * INT64_C(1000000);
static const int64_t T0 = INT64_C(1795000000) * 1000000; /* 2026-11-18 10:26:40 UTC */

static void durations_are_gos(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {{0, "0s"},           {-5, "0s"},          {12, "12us"},          {577500, "577.5ms"},
                 {1000, "1ms"},       {7660000, "7.66s"},  {179560000, "2m59.56s"}, {60000000, "1m0s"},
                 {3600000000, "1h0m0s"}, {86399999999, "23h59m59.999999s"}, {999999, "999.999ms"}, {1000000, "1s"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[GO_DURATION_MAX];
        go_duration(cases[i].us, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void calendar(void **state)
{
    (void)state;
    assert_int_equal(limits_day(T0), 20775);
    assert_int_equal(limits_month(T0), 2026 * 12 + 10);
    assert_int_equal(limits_month_begin_us(T0) / DAY, 20758); /* 2026-11-01 */
}

static void requests_per_minute(void **state)
{
    (void)state;
    struct limits l;
    struct limit_refusal r;
    struct limit_left left;
    limits_init(&l, &(struct limit_set){.rpm = 3}, T0);
    for (int i = 0; i < 3; i++) assert_true(limits_take(&l, T0, 10, 1, &r));
    assert_false(limits_take(&l, T0, 10, 1, &r));
    assert_int_equal(r.kind, LIMIT_RPM);
    assert_int_equal(r.limit, 3);
    assert_int_equal(r.used, 3);
    assert_int_equal(r.wait_us, 20 * S);
    limits_requests(&l, T0, &left);
    assert_int_equal(left.limit, 3);
    assert_int_equal(left.left, 0);
    assert_int_equal(left.reset_us, 60 * S);
    assert_false(limits_take(&l, T0 + 20 * S - 1, 10, 1, &r));
    assert_int_equal(r.wait_us, 1);
    assert_true(limits_take(&l, T0 + 20 * S, 10, 1, &r)); /* exactly when it said */
    assert_true(limits_take(&l, T0 + 20 * S, 10, 10, &r)); /* ten times the limit: may overdraw */
    assert_false(limits_take(&l, T0 + 21 * S, 10, 1, &r));
    limits_requests(&l, T0 + DAY, &left);
    assert_int_equal(left.left, 3); /* never more than full */
}

static void tokens_per_minute(void **state)
{
    (void)state;
    struct limits l;
    struct limit_refusal r;
    struct limit_left left;
    limits_init(&l, &(struct limit_set){.tpm = 6000}, T0);
    assert_true(limits_take(&l, T0, 1000, 1, &r));
    limits_charge(&l, T0, 7000, 0); /* the answer owes 2000 */
    limits_tokens(&l, T0, &left);
    assert_int_equal(left.left, 0);
    assert_int_equal(left.reset_us, 80 * S);
    assert_false(limits_take(&l, T0, 100, 1, &r));
    assert_int_equal(r.kind, LIMIT_TPM);
    assert_int_equal(r.used, 8000);
    assert_int_equal(r.wait_us, 21 * S);
    assert_true(limits_take(&l, T0 + 21 * S, 100, 1, &r));
    assert_false(limits_take(&l, T0 + 90 * S, 6001, 1, &r));
    assert_int_equal(r.wait_us, -1); /* more than the limit: never */
    limits_charge(&l, T0 + 200 * S, -5000, 0); /* a refund does not overfill */
    limits_tokens(&l, T0 + 200 * S, &left);
    assert_int_equal(left.left, 6000);
}

static void days_and_months(void **state)
{
    (void)state;
    struct limits l;
    struct limit_refusal r;
    struct limit_left left;
    int64_t midnight = (T0 / DAY + 1) * DAY;
    limits_init(&l, &(struct limit_set){.rpd = 2, .tpd = 500, .spend_nusd = 1000}, T0);
    assert_true(limits_take(&l, T0, 100, 1, &r));
    assert_true(limits_take(&l, T0, 100, 1, &r));
    assert_false(limits_take(&l, T0, 100, 1, &r));
    assert_int_equal(r.kind, LIMIT_RPD);
    assert_int_equal(r.wait_us, midnight - T0);
    limits_requests(&l, T0, &left);
    assert_int_equal(left.limit, 2);
    assert_int_equal(left.left, 0);
    assert_int_equal(left.reset_us, midnight - T0);
    assert_true(limits_take(&l, midnight, 450, 1, &r));
    assert_false(limits_take(&l, midnight, 51, 1, &r));
    assert_int_equal(r.kind, LIMIT_TPD);
    limits_charge(&l, midnight, 0, 1000);
    assert_false(limits_take(&l, midnight + DAY, 1, 1, &r));
    assert_int_equal(r.kind, LIMIT_SPEND);
    assert_true(limits_take(&l, midnight + 20 * DAY, 1, 1, &r)); /* December */
    limits_restore(&l, T0, 1, 400, 999);
    assert_true(limits_take(&l, T0, 100, 1, &r));
    limits_change(&l, &(struct limit_set){.rpd = 3}, T0);
    assert_true(limits_take(&l, T0, 9999, 1, &r));
    assert_false(limits_take(&l, T0, 1, 1, &r));
}

static void no_drift(void **state)
{
    (void)state;
    struct limits l;
    struct limit_refusal r;
    int64_t now = T0;
    int taken = 0;
    limits_init(&l, &(struct limit_set){.rpm = 7}, T0);
    for (; now < T0 + 3600 * S; now += 997) taken += limits_take(&l, now, 0, 1, &r);
    assert_in_range(taken, 7 + 7 * 60 - 1, 7 + 7 * 60); /* a bucket and an hour of refill */
}

static void secrets(void **state)
{
    (void)state;
    struct key a, b;
    char sa[KEY_SECRET_CHARS + 1], sb[KEY_SECRET_CHARS + 1];
    struct limit_set none = {0};
    struct err e;
    assert_int_equal(key_make(&a, sa, "alice", &none, &e), 0);
    assert_int_equal(key_make(&b, sb, "bob", &none, &e), 0);
    assert_int_equal(strlen(sa), KEY_SECRET_CHARS);
    assert_string_not_equal(sa, sb);
    assert_memory_equal(a.hint, sa, KEY_HINT_CHARS);
    assert_null(strstr((const char *)a.hash, sa));
    assert_int_equal(key_make(&a, sb, "12", &none, &e), ERR_USAGE);
    assert_int_equal(key_make(&a, sb, "a b", &none, &e), ERR_USAGE);
    assert_int_equal(key_make(&a, sb, "x", &(struct limit_set){.rpm = LIMIT_MINUTE_MAX + 1}, &e), ERR_USAGE);
    assert_int_equal(key_make(&a, sa, "alice", &none, &e), 0);
    assert_int_equal(key_make(&b, sb, "bob", &none, &e), 0);
    struct key_table t = {0};
    struct key *all = calloc(3, sizeof *all);
    all[0] = a, all[1] = b, all[2] = b;
    all[2].revoked_us = 1;
    all[2].hash[0] ^= 1;
    key_table_set(&t, all, 3);
    assert_int_equal(t.n, 2);
    assert_string_equal(key_table_find(&t, sa)->name, "alice");
    assert_string_equal(key_table_find(&t, sb)->name, "bob");
    sb[20] ^= 1;
    assert_null(key_table_find(&t, sb));
    assert_null(key_table_find(&t, ""));
    key_table_finish(&t);
    assert_null(key_table_find(&t, sa));
    assert_string_equal(key_of_header("Bearer x"), "x");
    assert_string_equal(key_of_header("bearer  x"), "x");
    assert_string_equal(key_of_header("tk_1"), "tk_1");
    assert_null(key_of_header("Bearer "));
    assert_null(key_of_header(NULL));
}

static void money(void **state)
{
    (void)state;
    int64_t v;
    struct err e;
    char out[MONEY_TEXT_MAX];
    static const struct {
        const char *in;
        int64_t nusd;
        const char *out;
    } good[] = {{"1", 1000000000, "1.00"}, {"12.50", 12500000000, "12.50"},
                {".5", 500000000, "0.50"}, {"0.000000001", 1, "0.000000001"},
                {"0", 0, "0.00"},          {"7.", 7000000000, "7.00"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(money_parse(good[i].in, &v, &e), 0);
        assert_int_equal(v, good[i].nusd);
        money_print(v, out);
        assert_string_equal(out, good[i].out);
    }
    money_print(-1500000000, out);
    assert_string_equal(out, "-1.50");
    static const char *const bad[] = {"", ".", "-1", "1e3", "$1", "1.0000000001", "12345678901", "1.2.3", " 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(money_parse(bad[i], &v, &e), ERR_USAGE);
}

static void price_files(void **state)
{
    (void)state;
    struct prices p;
    struct err e;
    static const char text[] =
        "# x\n[small*]\nprompt = 0.02\ncached=0.01 ; y\n answer = 0.05\nbatch = 50\n\n[*]\r\nprompt = 1\r\nanswer = 2.000001";
    assert_int_equal(prices_parse(&p, text, "t", &e), 0);
    assert_int_equal(p.n, 2);
    assert_int_equal(prices_cost(&p, "small-1", 1000, 400, 100, false), 600 * 20 + 400 * 10 + 100 * 50);
    assert_int_equal(prices_cost(&p, "small-1", 1000, 400, 100, true), (600 * 20 + 400 * 10 + 100 * 50) / 2);
    /* cached as prompt; 2000.001 rounded */
    assert_int_equal(prices_cost(&p, "big", 10, 10, 1, false), 10 * 1000 + 2000);
    prices_finish(&p);
    assert_int_equal(prices_cost(&p, "big", 10, 0, 1, false), 0);
    assert_int_equal(prices_read(&p, "data/prices.ini", &e), 0);
    assert_true(prices_cost(&p, "smollm2-135m", 1000000, 0, 0, false) == 20000000);
    prices_finish(&p);
    static const char *const bad[] = {"prompt = 1",
                                      "[a\n",
                                      "[]\n",
                                      "[a]\nprompt\n",
                                      "[a]\nprice = 1\n",
                                      "[a]\nprompt = -1\n",
                                      "[a]\nprompt = 0.0000001\n",
                                      "[a]\nbatch = 0.5\n",
                                      "[a]b\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(prices_parse(&p, bad[i], "t", &e), ERR_FORMAT);
        assert_memory_equal(e.msg, "t:", 2);
        assert_null(p.price);
    }
}

static void ulids_sort_by_time(void **state)
{
    (void)state;
    char a[ULID_CHARS + 1], b[ULID_CHARS + 1];
    ulid_make(a);
    ulid_make(b);
    assert_int_equal(strlen(a), ULID_CHARS);
    assert_int_equal(strspn(a, "0123456789abcdefghjkmnpqrstvwxyz"), ULID_CHARS);
    assert_true(strncmp(a, b, 10) <= 0);
    assert_string_not_equal(a + 10, b + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_gos), cmocka_unit_test(calendar),   cmocka_unit_test(requests_per_minute),
        cmocka_unit_test(tokens_per_minute), cmocka_unit_test(days_and_months), cmocka_unit_test(no_drift),
        cmocka_unit_test(secrets),           cmocka_unit_test(money),      cmocka_unit_test(price_files),
        cmocka_unit_test(ulids_sort_by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
