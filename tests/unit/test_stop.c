/* SPDX-License-Identifier: Apache-2.0 */
/* token/stop: the end of the text does not depend on how it is cut, and nothing of a stop string leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/utf8.h"
#include "token/stop.h"

enum { OUT_MAX = 1 << 16, STRINGS = 4 };

static void init(struct stop *s, const char *const *z)
{
    struct str list[STRINGS];
    struct err e = {0};
    int n = 0;
    for (; n < STRINGS && z[n]; n++) list[n] = str_from(z[n]);
    assert_int_equal(stop_init(s, list, n, &e), 0);
}

/* Feeds text in parts of `part` bytes and compares with what must have left, held bytes included at the end. */
static void check(const char *const *z, const char *text, size_t part, const char *want, bool want_hit)
{
    struct stop s;
    struct buf out;
    bool hit = false;
    init(&s, z);
    buf_init(&out, OUT_MAX);
    for (size_t at = 0, n = strlen(text); at < n; at += part) {
        hit = stop_feed(&s, (struct str){text + at, n - at < part ? n - at : part}, &out);
        assert_int_equal(hit, s.hit);
    }
    stop_flush(&s, &out);
    buf_append_char(&out, 0);
    assert_string_equal(out.p, want);
    assert_int_equal(hit, want_hit);
    buf_finish(&out);
    stop_finish(&s);
}

static void known_texts(void **state)
{
    (void)state;
    static const struct {
        const char *stops[STRINGS];
        const char *text, *want;
        bool hit;
    } cases[] = {
        {{NULL}, "plain text", "plain text", false},
        {{"x"}, "plain text", "plain te", true},
        {{"END"}, "to the END of it", "to the ", true},
        {{"END"}, "the EN", "the EN", false},             /* a part that stays a part */
        {{"aab"}, "aaab", "a", true},                     /* falls back inside the string */
        {{"abab"}, "abaabab", "aba", true},
        {{"bcd", "c"}, "abcd", "ab", true},               /* complete first wins */
        {{"abcd", "cd"}, "xabcd", "x", true},             /* same end: the longest */
        {{"\n\n", "User:"}, "a\nUser: b", "a\n", true},
        {{"\xC3\xA9"}, "caf\xC3\xA8 caf\xC3\xA9!", "caf\xC3\xA8 caf", true},
        {{"\xEC\xA4\x91"}, "\xED\x95\x9C\xEC\xA4\x91", "\xED\x95\x9C", true},
        {{"a", "a"}, "bab", "b", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t part = 1; part <= 16; part++)
            check(cases[i].stops, cases[i].text, part, cases[i].want, cases[i].hit);
}

static void holds_back_only_what_it_must(void **state)
{
    (void)state;
    const char *const z[STRINGS] = {"STOP", "\n##"};
    struct stop s;
    struct buf out;
    init(&s, z);
    buf_init(&out, OUT_MAX);
    assert_false(stop_feed(&s, STR("one ST"), &out));
    assert_string_equal(out.p, "one ");
    assert_false(stop_feed(&s, STR("AR"), &out));
    assert_string_equal(out.p, "one STAR");
    assert_false(stop_feed(&s, STR("\n#"), &out));
    assert_string_equal(out.p, "one STAR");
    assert_true(stop_feed(&s, STR("#x"), &out));
    assert_string_equal(out.p, "one STAR");
    assert_true(stop_feed(&s, STR("more"), &out)); /* the text has ended */
    assert_string_equal(out.p, "one STAR");
    stop_flush(&s, &out);
    assert_string_equal(out.p, "one STAR");
    assert_false(stop_feed(&s, STR("again"), &out)); /* flush begins a new text */
    buf_finish(&out);
    stop_finish(&s);
}

/* The definition, over the whole text at once. */
static size_t end_by_definition(const char *const *z, const char *text, bool *hit)
{
    size_t n = strlen(text);
    *hit = true;
    for (size_t end = 1; end <= n; end++) {
        size_t longest = 0;
        for (int i = 0; i < STRINGS && z[i]; i++) {
            size_t k = strlen(z[i]);
            if (k <= end && k > longest && memcmp(text + end - k, z[i], k) == 0) longest = k;
        }
        if (longest) return end - longest;
    }
    *hit = false;
    return n;
}

static void random_texts_match_the_definition(void **state)
{
    (void)state;
    uint32_t r = 1;
    for (int round = 0; round < 20000; round++) {
        char text[64], stops[STRINGS][8], want[64];
        const char *z[STRINGS] = {NULL};
        int n = 1 + (int)(round % (STRINGS - 1));
        size_t len;
        for (int i = 0; i < n; i++) {
            for (len = 0; len < 1 + (r >> 8) % 6; len++) stops[i][len] = "ab"[(r = r * 1664525 + 1013904223) >> 31];
            stops[i][len] = 0;
            z[i] = stops[i];
        }
        for (len = 0; len < 40; len++) text[len] = "aab"[((r = r * 1664525 + 1013904223) >> 16) % 3];
        text[len] = 0;
        bool hit;
        size_t end = end_by_definition(z, text, &hit);
        memcpy(want, text, end);
        want[end] = 0;
        check(z, text, 1 + (r >> 5) % 9, want, hit);
    }
}

static void whole_code_points_leave(void **state)
{
    (void)state;
    const char *const z[STRINGS] = {"\xED\x95\x9C\xEA\xB5\xAD", "\xF0\x9F\x98\x80!"};
    const char *parts[] = {"\xED\x95\x9C", "\xED\x95\x9C", "\xEA\xB5\xAC", "\xF0\x9F\x98\x80", "?", "\xF0\x9F\x98\x80"};
    struct stop s;
    struct buf out;
    init(&s, z);
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        assert_false(stop_feed(&s, str_from(parts[i]), &out));
        assert_int_equal(utf8_valid(buf_str(&out)), out.n);
    }
    assert_int_equal(s.n_held, 4);
    buf_finish(&out);
    stop_finish(&s);
}

static void bad_strings_are_refused(void **state)
{
    (void)state;
    static char big[STOP_BYTES_MAX + 1];
    memset(big, 'a', sizeof big);
    const struct str bad[] = {{"", 0}, {"\xFF", 1}, {"\xC3", 1}, {big, sizeof big}};
    struct stop s;
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(stop_init(&s, &bad[i], 1, &e), ERR_USAGE);
        stop_finish(&s);
    }
    struct str many[STOP_STRINGS_MAX + 1];
    for (int i = 0; i <= STOP_STRINGS_MAX; i++) many[i] = STR("x");
    assert_int_equal(stop_init(&s, many, STOP_STRINGS_MAX + 1, &e), ERR_USAGE);
    assert_int_equal(stop_init(&s, many, STOP_STRINGS_MAX, &e), 0);
    stop_finish(&s);
    struct str longest = {big, STOP_BYTES_MAX};
    assert_int_equal(stop_init(&s, &longest, 1, &e), 0);
    stop_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts),
        cmocka_unit_test(holds_back_only_what_it_must),
        cmocka_unit_test(random_texts_match_the_definition),
        cmocka_unit_test(whole_code_points_leave),
        cmocka_unit_test(bad_strings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
