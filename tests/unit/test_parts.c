/* SPDX-License-Identifier: Apache-2.0 */
/* Answers taken apart: thoughts, text and calls, the same however the text is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include "serve/ask/parts.h"

static void gather(void *ud, const struct part *p)
{
    struct buf *b = ud;
    static char last; /* pieces of one kind are one */
    char kind = p->kind == PART_TEXT ? 'T' : p->kind == PART_REASONING ? 'R' : 'C';
    if (!b->n) last = 0;
    if (kind == 'C')
        buf_printf(b, "C<%.*s>", (int)p->name.n, p->name.p);
    else if (kind != last)
        buf_printf(b, "%c:", kind);
    last = kind;
    buf_append_str(b, p->text);
}

static void check_cut(const char *text, bool tools, bool think, bool thinking, size_t cut, const char *want)
{
    json_t *list = json_loads("[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]", 0, NULL);
    struct parts p;
    struct buf out;
    buf_init(&out, 1 << 16);
    parts_init(&p, tools ? list : NULL, think, thinking, 1 << 16);
    for (size_t at = 0, n = strlen(text); at < n; at += cut)
        assert_int_equal(parts_feed(&p, (struct str){text + at, n - at < cut ? n - at : cut}, gather, &out), 0);
    assert_int_equal(parts_finish(&p, gather, &out), 0);
    if (strcmp(out.p ? out.p : "", want) != 0) fail_msg("'%s' cut by %zu: got '%s', expected '%s'", text, cut, out.p ? out.p : "", want);
    parts_free(&p);
    buf_finish(&out);
    json_decref(list);
}

static void check(const char *text, bool tools, bool think, bool thinking, const char *want)
{
    for (size_t cut = 1; cut < 12; cut++) check_cut(text, tools, think, thinking, cut, want);
    check_cut(text, tools, think, thinking, 1000, want);
}

static void test_plain(void **state)
{
    (void)state;
    check("hello {\"name\": \"f\"} <tool_call>", false, false, false, "T:hello {\"name\": \"f\"} <tool_call>");
    check(" \n hello", false, false, false, "T: \n hello");
    check("a <tool b [TOOL c", true, false, false, "T:a <tool b [TOOL c");
    check("", true, true, false, "");
}

static void test_thoughts(void **state)
{
    (void)state;
    check("<think>\nhm\n</think>\n\nyes", false, true, false, "R:hm\nT:yes");
    check("hm</think>yes", false, true, true, "R:hmT:yes");
    check("hm, cut", false, true, true, "R:hm, cut");
    check("no <think> here", false, true, false, "T:no <think> here");
    check("<thin", false, true, false, "T:<thin");
    check("<think>a</think><tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", true, true, false, "R:aC<f>{}");
}

static void test_calls(void **state)
{
    (void)state;
    check("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, 2]}}\n</tool_call>", true, false, false, "C<f>{\"a\":[1,2]}");
    check("I ask.<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":\"{}\"}</tool_call> done", true, false, false,
          "T:I ask.C<f>{}C<g>{}T:done");
    check("[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{\"x\":1}},{\"name\":\"g\",\"arguments\":{}}]", true, false, false, "C<f>{\"x\":1}C<g>{}");
    check("{\"name\": \"f\", \"parameters\": {\"x\": 1}}", true, false, false, "C<f>{\"x\":1}");
    check(" {\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{}}", true, false, false, "C<f>{}C<g>{}");
    check("[{\"name\":\"f\",\"arguments\":{}}]", true, false, false, "C<f>{}");
    check("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{}}}", true, false, false, "C<f>{}");
}

static void test_no_calls(void **state)
{
    (void)state;
    check("{\"answer\": 1}", true, false, false, "T:{\"answer\": 1}");
    check("{\"name\": \"other\", \"arguments\": {}}", true, false, false, "T:{\"name\": \"other\", \"arguments\": {}}");
    check("<tool_call>{\"name\":\"f\" broken</tool_call>x", true, false, false, "T:<tool_call>{\"name\":\"f\" broken</tool_call>x");
    check("<tool_call>{\"name\":\"f\",\"arg", true, false, false, "T:<tool_call>{\"name\":\"f\",\"arg");
    check("[1, 2]", true, false, false, "T:[1, 2]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain), cmocka_unit_test(test_thoughts), cmocka_unit_test(test_calls), cmocka_unit_test(test_no_calls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
