/* SPDX-License-Identifier: Apache-2.0 */
/* Answers taken apart: thoughts, text and calls, the same however the text is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
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

#define TOOLS "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}}}}}," \
              "{\"name\":\"g\"},{\"type\":\"function\",\"function\":{\"name\":\"ns.h\"}}]"
enum { BYTES_MAX = 1 << 16 };

/* Fed in pieces of `cut` bytes, the first of `first`. */
static void check_cut(const char *text, bool tools, const struct marks *marks, bool thinking, size_t first,
                      size_t cut, const char *want)
{
    json_t *list = json_loads(TOOLS, 0, NULL);
    struct parts p;
    struct buf out;
    assert_non_null(list);
    buf_init(&out, BYTES_MAX);
    parts_init(&p, tools ? list : NULL, marks, thinking, BYTES_MAX);
    for (size_t at = 0, n = strlen(text), take = first; at < n; at += take, take = cut) {
        if (take > n - at) take = n - at;
        char *piece = malloc(take); /* exact size: a sanitizer sees one byte too far */
        assert_non_null(piece);
        memcpy(piece, text + at, take);
        assert_int_equal(parts_feed(&p, (struct str){piece, take}, gather, &out), 0);
        free(piece);
    }
    assert_int_equal(parts_finish(&p, gather, &out), 0);
    if (strcmp(out.p ? out.p : "", want) != 0)
        fail_msg("'%s' cut at %zu by %zu: got '%s', expected '%s'", text, first, cut, out.p ? out.p : "",
                 want);
    parts_free(&p);
    buf_finish(&out);
    json_decref(list);
}

static void check_all_cuts(const char *text, bool tools, const struct marks *m, bool thinking, const char *want)
{
    size_t n = strlen(text);
    for (size_t cut = 1; cut < 12; cut++) check_cut(text, tools, m, thinking, cut, cut, want);
    for (size_t at = 1; at <= n + 1; at++) check_cut(text, tools, m, thinking, at, n + 1, want);
}

static void check_marks(const char *template, const char *text, const char *want)
{
    struct marks m;
    marks_read(&m, str_from(template), NULL);
    check_all_cuts(text, true, &m, false, want);
}

static void check(const char *text, bool tools, bool think, bool thinking, const char *want)
{
    struct marks m;
    marks_read(&m, think ? STR("...<think>...") : STR("..."), NULL);
    check_all_cuts(text, tools, &m, thinking, want);
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
    check("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, 2]}}\n</tool_call>", true, false, false,
          "C<f>{\"a\":[1,2]}");
    check(
        "I ask.<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":\"{}\"}</tool_call> done",
        true, false, false, "T:I ask.C<f>{}C<g>{}T:done");
    check("[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{\"x\":1}},{\"name\":\"g\",\"arguments\":{}}]", true,
          false, false, "C<f>{\"x\":1}C<g>{}");
    check("{\"name\": \"f\", \"parameters\": {\"x\": 1}}", true, false, false, "C<f>{\"x\":1}");
    check(" {\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{}}", true, false, false,
          "C<f>{}C<g>{}");
    check("[{\"name\":\"f\",\"arguments\":{}}]", true, false, false, "C<f>{}");
    check("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{}}}", true, false, false, "C<f>{}");
}

static void test_no_calls(void **state)
{
    (void)state;
    check("{\"answer\": 1}", true, false, false, "T:{\"answer\": 1}");
    check("{\"name\": \"other\", \"arguments\": {}}", true, false, false, "T:{\"name\": \"other\", \"arguments\": {}}");
    check("<tool_call>{\"name\":\"f\" broken</tool_call>x", true, false, false,
          "T:<tool_call>{\"name\":\"f\" broken</tool_call>x");
    check("<tool_call>{\"name\":\"f\",\"arg", true, false, false, "T:<tool_call>{\"name\":\"f\",\"arg");
    check("[1, 2]", true, false, false, "T:[1, 2]");
}

/* As the published templates write an assistant's turn. */
static void test_families(void **state)
{
    (void)state;
    const char *none = "{{ messages }}";
    /* DeepSeek V3 and R1, then V3.1 */
    check_marks(
        none,
        "Wait.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": \"x\"}\n```<｜tool▁call▁end｜>\n"
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "T:Wait.C<f>{\"a\":\"x\"}C<g>{}");
    check_marks(
        none,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": \"</x>\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "C<f>{\"a\":\"</x>\"}C<g>{}");
    check_marks(
        "<think></think>",
        "<think>\nI must\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "R:I must\nC<f>{}");
    /* GLM-4.5: what the schema calls a string stays one */
    check_marks(
        "<think>",
        "\n<think></think>\n<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>12</arg_value>\n<arg_key>n</arg_key>\n<arg_value>12</arg_value>\n</tool_call>",
        "C<f>{\"a\":\"12\",\"n\":12}");
    check_marks(none, "<tool_call>g\n</tool_call>", "C<g>{}");
    check_marks(
        none,
        "<tool_call>g\n<arg_key>list</arg_key><arg_value>[1, {\"b\": null}]</arg_value><arg_key>s</arg_key><arg_value>two words</arg_value></tool_call>",
        "C<g>{\"list\":[1,{\"b\":null}],\"s\":\"two words\"}");
    /* Qwen3-Coder, Seed-OSS */
    check_marks(
        none,
        "<tool_call>\n<function=f>\n<parameter=a>\nline 1\nline 2\n</parameter>\n<parameter=n>\n3\n</parameter>\n</function>\n</tool_call>",
        "C<f>{\"a\":\"line 1\\nline 2\",\"n\":3}");
    check_marks(
        "<seed:think>",
        "<seed:think>hm</seed:think><seed:tool_call>\n<function=f>\n<parameter=a>x</parameter>\n</function>\n</seed:tool_call>",
        "R:hmC<f>{\"a\":\"x\"}");
    /* Granite 3, Phi-4-mini, Granite 4 */
    check_marks(
        none,
        "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
        "C<f>{\"n\":1}C<g>{}");
    check_marks(
        none,
        "<|tool_call|>[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"n\": 1}}}]<|/tool_call|>",
        "C<f>{\"n\":1}");
    check_marks(none, "<tool_call>[{\"name\": \"f\", \"arguments\": {}}]", "C<f>{}");
    /* Mistral: up to version 7, from 11 on, with ids, with thoughts */
    check_marks(none, "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}, \"id\": \"a1b2c3d4e\"}]", "C<f>{}");
    check_marks(none, "I call.[TOOL_CALLS]f[ARGS]{\"n\": 1}[TOOL_CALLS]ns.h[ARGS]{}",
                "T:I call.C<f>{\"n\":1}C<ns.h>{}");
    check_marks(none, "[TOOL_CALLS]f[CALL_ID]a1b2c3d4e[ARGS]{\"n\": 1}", "C<f>{\"n\":1}");
    check_marks(none, "[TOOL_CALLS]f{\"n\": 1}", "C<f>{\"n\":1}");
    check_marks("[THINK]", "[THINK]so[/THINK]yes", "R:soT:yes");
    check_marks("[THINK]", "[THIN]", "T:[THIN]");
    /* Llama 3.1, 3.2; Gemma; OLMo 3; InternLM 2; Kimi K2 */
    check_marks(none, "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"n\": 1}}", "C<f>{\"n\":1}");
    check_marks(none, "[f(a='it\\'s', n=-1.5e3), g(), ns.h(x=[True, None, {'k': (1, 2)}])]",
                "C<f>{\"a\":\"it's\",\"n\":-1500.0}C<g>{}C<ns.h>{\"x\":[true,null,{\"k\":[1,2]}]}");
    check_marks(none, "```tool_code\nf(\"by place\", 7)\n```", "C<f>{\"a\":\"by place\",\"n\":7}");
    check_marks(none, "Here:\n```tool_code\ng()\n```\nThat was it.", "T:Here:\nC<g>{}T:That was it.");
    check_marks(none, "```json\n{\"name\": \"f\", \"parameters\": {}}\n```", "C<f>{}");
    check_marks(none, "<function_calls>f(a=\"\"\"q\"\"\", n=1)\ng()</function_calls>",
                "C<f>{\"a\":\"q\",\"n\":1}C<g>{}");
    check_marks(none,
                "<|action_start|><|plugin|>\n{\"name\": \"f\", \"parameters\": {\"n\": 2}}<|action_end|>\n",
                "C<f>{\"n\":2}");
    check_marks(
        none,
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"n\": 1}<|tool_call_end|><|tool_calls_section_end|>",
        "C<f>{\"n\":1}");
}

#define HARMONY "<|start|><|channel|><|message|>"

static void test_channels(void **state)
{
    (void)state;
    check_marks(
        HARMONY,
        "<|channel|>analysis<|message|>Let me see.<|end|><|start|>assistant<|channel|>final<|message|>Four.<|return|>",
        "R:Let me see.T:Four.");
    check_marks(
        HARMONY,
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"n\": 1}<|call|>",
        "R:hmC<f>{\"n\":1}");
    check_marks(HARMONY, "<|channel|>commentary to=functions.ns.h<|message|>{}", "C<ns.h>{}");
    check_marks(HARMONY, " to=functions.f<|channel|>commentary json<|message|>{\"n\": 1}<|call|>", "C<f>{\"n\":1}");
    check_marks(
        HARMONY,
        "<|channel|>commentary<|message|>First I look.<|end|><|start|>assistant<|channel|>commentary to=functions.g<|message|><|call|>",
        "T:First I look.C<g>{}");
    check_marks(HARMONY, "<|channel|>final<|message|>cut in the mid", "T:cut in the mid");
    check_marks(HARMONY, "<|channel|>analysis<|message|>cut", "R:cut");
    check_marks(HARMONY, "<|channel|>anal", "");
    /* what is not as it should be is text */
    check_marks(HARMONY, "plain <|text", "T:plain <|text");
    check_marks(HARMONY, "{\"name\": \"f\", \"arguments\": {}}", "C<f>{}");
    check_marks(HARMONY, "<|channel|>commentary to=functions.other<|message|>{\"n\": 1}<|call|>", "T:{\"n\": 1}");
    check_marks(HARMONY, "<|channel|>commentary to=functions.f<|message|>{\"n\": <|call|>more", "T:{\"n\": more");
    check_marks(HARMONY, "<|channel|>final<|message|>a<|end|>b<|end|>c <|me", "T:abc <|me");
    check_marks(HARMONY, "<|channel|>final<|message|>a <|en b <|", "T:a <|en b <|");
}

static void test_hostile(void **state)
{
    (void)state;
    check_marks("", "<tool_call><tool_call></tool_call></tool_call>",
                "T:<tool_call><tool_call></tool_call></tool_call>");
    check_marks("", "<tool_call>f<arg_key>a</arg_key></tool_call>", "T:<tool_call>f<arg_key>a</arg_key></tool_call>");
    check_marks("", "<tool_call>f\n<arg_key>a</arg_key><arg_value>1</tool_call>",
                "T:<tool_call>f\n<arg_key>a</arg_key><arg_value>1</tool_call>");
    check_marks("", "<tool_call><function=f><parameter=a>1</function></tool_call>",
                "T:<tool_call><function=f><parameter=a>1</function></tool_call>");
    check_marks("", "<tool_call><function=zz></function></tool_call>",
                "T:<tool_call><function=zz></function></tool_call>");
    check_marks("", "<｜tool▁calls▁begin｜>f<｜tool▁calls▁end｜>", "C<f>{}");
    check_marks("", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{",
                "T:<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{");
    check_marks("", "[f(a=1]", "T:[f(a=1]");
    check_marks("", "[f(a=1), other()]", "T:[f(a=1), other()]");
    check_marks("", "[f(a='\\ud800')]", "T:[f(a='\\ud800')]");
    check_marks("", "[f(a=1)] and more", "T:[f(a=1)] and more");
    check_marks("", "[TOOL_CALLS]f[CALL_ID]x", "T:[TOOL_CALLS]f[CALL_ID]x");
    check_marks("", "```json\n[1, 2]\n```\n", "T:```json\n[1, 2]\n```\n");
    check_marks("", "``` a ```tool", "T:``` a ```tool");
    /* a head that never ends */
    struct buf far;
    buf_init(&far, BYTES_MAX);
    buf_append_z(&far, "T:<|channel|>");
    for (int i = 0; i < 600; i++) buf_append_char(&far, 'x');
    buf_append_z(&far, "<|message|>y");
    check_marks(HARMONY, far.p + 2, far.p);
    buf_finish(&far);
    struct buf deep;
    buf_init(&deep, BYTES_MAX);
    buf_append_z(&deep, "[f(a=");
    for (int i = 0; i < 5000; i++) buf_append_char(&deep, '[');
    char *want = malloc(deep.n + 3);
    assert_non_null(want);
    memcpy(want, "T:", 2);
    memcpy(want + 2, deep.p, deep.n + 1);
    struct marks m;
    marks_read(&m, STR(""), NULL);
    check_cut(deep.p, true, &m, false, 1000, 1000, want);
    free(want);
    buf_finish(&deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain),    cmocka_unit_test(test_thoughts),
                                       cmocka_unit_test(test_calls),    cmocka_unit_test(test_no_calls),
                                       cmocka_unit_test(test_families), cmocka_unit_test(test_channels),
                                       cmocka_unit_test(test_hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
