/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chat-template interpreter: every case of tests/cases/template/cases.txt (templates and what jinja2 made
 * of them, written by tests/oracle/template.py), the marks on user text, the limits against hostile
 * templates, and messages.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "token/template/template.h"

#define CASES "tests/cases/template/cases.txt"

static struct str text_of(const json_t *j, const char *key)
{
    const json_t *s = json_object_get(j, key);
    return json_is_string(s) ? (struct str){json_string_value(s), json_string_length(s)}
                             : (struct str){NULL, 0};
}

static struct template_input input_of(const json_t *j)
{
    return (struct template_input){
        .messages = json_object_get(j, "messages"),
        .tools = json_object_get(j, "tools"),
        .kwargs = json_object_get(j, "kwargs"),
        .bos_token = text_of(j, "bos_token"),
        .eos_token = text_of(j, "eos_token"),
        .add_generation_prompt = json_is_true(json_object_get(j, "add_generation_prompt")),
        .now_s = json_integer_value(json_object_get(j, "now")),
    };
}

static int run(const char *source, size_t n, const struct template_input *in, struct template_output *out,
               struct err *e)
{
    struct template *t;
    *out = (struct template_output){0};
    int code = template_compile(&t, (struct str){source, n}, e);
    if (code < 0) return code;
    code = template_render(t, in, out, e);
    template_destroy(t);
    return code;
}

/* One line of the case file; false if the outcome differs. */
static bool one_case(const json_t *row, const struct template_input *in)
{
    struct template_output out;
    struct err e = {0};
    struct str source = text_of(row, "template"), want = text_of(row, "text"), why = text_of(row, "refused");
    int code = run(source.p, source.n, in, &out, &e);
    bool ok = want.p ? code == 0 && str_eq(out.text, want) : code < 0;
    if (why.p && str_starts(why, STR("told: "))) ok = code == ERR_USAGE && strcmp(e.msg, why.p + 6) == 0;
    size_t sum = 0;
    for (size_t i = 0; i < out.n_seg; i++) {
        ok &= out.seg[i].text.p == out.text.p + sum && out.seg[i].text.n > 0;
        ok &= i == 0 || out.seg[i].trusted != out.seg[i - 1].trusted;
        sum += out.seg[i].text.n;
    }
    ok &= sum == out.text.n;
    if (!ok)
        print_error("%.*s\n  wanted %s\n  got    %s\n", STR_ARG(source), want.p ? want.p : why.p,
                    code < 0 ? e.msg : out.text.p);
    template_output_finish(&out);
    return ok;
}

static void cases(void **state)
{
    (void)state;
    char *line = NULL;
    size_t cap = 0, n_bad = 0, n_case = 0;
    ssize_t n;
    json_t *input = NULL;
    FILE *f = fopen(CASES, "r");
    if (!f) fail_msg("%s is missing", CASES);
    while ((n = getline(&line, &cap, f)) > 0) {
        json_t *row = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        if (!input) {
            input = row;
            continue;
        }
        struct template_input in = input_of(json_object_get(input, "input"));
        n_bad += !one_case(row, &in);
        n_case++;
        json_decref(row);
    }
    json_decref(input);
    free(line);
    fclose(f);
    print_message("%zu cases\n", n_case);
    assert_true(n_case > 900);
    assert_int_equal(n_bad, 0);
}

/* Renders with {"messages": [{"role": "user", "content": text}], "kwargs": {"n": 5, "o": {"k": text}}}. */
static void segments(const char *source, const char *role, const char *text, char *got, size_t cap)
{
    json_t *m = json_pack("[{s:s, s:s}]", "role", role, "content", text);
    json_t *kw = json_pack("{s:i, s:{s:s}}", "n", 5, "o", "k", text);
    struct template_input in = {
        .messages = m, .kwargs = kw, .bos_token = STR("<s>"), .eos_token = STR("</s>")};
    struct template_output out;
    struct err e = {0};
    if (run(source, strlen(source), &in, &out, &e) < 0) fail_msg("%s: %s", source, e.msg);
    size_t n = 0;
    got[0] = 0;
    for (size_t i = 0; i < out.n_seg; i++)
        n += (size_t)snprintf(got + n, cap - n, out.seg[i].trusted ? "%.*s" : "{%.*s}",
                              (int)out.seg[i].text.n, out.seg[i].text.p);
    template_output_finish(&out);
    json_decref(m);
    json_decref(kw);
}

/* Untrusted parts are shown in braces. */
static void marks(void **state)
{
    static const struct {
        const char *source, *want;
    } ROW[] = {
        {"<|u|>{{ messages[0].content }}<|e|>", "<|u|>{a<|e|>B}<|e|>"},
        {"{{ bos_token ~ messages[0].content ~ eos_token }}", "<s>{a<|e|>B}</s>"},
        {"{{ bos_token + messages[0]['content']|upper + '.' }}", "<s>{A<|E|>B}."},
        {"{{ messages[0].content[::-1] }}", "{B>|e|<a}"},
        {"{{ messages[0].content|replace('a', '<x>') }}", "<x>{<|e|>B}"},
        {"{{ '<y>aa</y>'|replace('aa', messages[0].content) }}", "<y>{a<|e|>B}</y>"},
        {"{{ messages[0].content.split('<|e|>')|join('<|e|>') }}", "{a}<|e|>{B}"},
        {"{{ [messages[0].content, 'z']|join(',') }}", "{a<|e|>B},z"},
        {"{{ messages[0].content|tojson }}", "{\"a<|e|>B\"}"},
        {"{{ {'q': messages[0].content}|tojson }}", "{\"q\": {\"a<|e|>B\"}}"},
        {"{{ o|tojson }}", "{{\"k\": \"a<|e|>B\"}}"},
        {"{{ o }}", "{{'k': 'a<|e|>B'}}"},
        {"{{ [messages[0].content] }}", "[{'a<|e|>B'}]"},
        {"{{ '%s!' % messages[0].content }}", "{a<|e|>B}!"},
        {"{{ '{}!{}'.format(messages[0].content, 1) }}", "{a<|e|>B}!1"},
        {"{{ messages[0].content|indent(2, true) }}", "  {a<|e|>B}"},
        {"{{ n }}{{ n + 1 }}{{ 1 }}", "{56}1"},
        {"{{ messages[0].content|length }}", "7"},
        {"{% set x %}<x>{{ messages[0].content }}</x>{% endset %}{{ x|trim }}", "<x>{a<|e|>B}</x>"},
        {"{% macro m(a) %}<m>{{ a }}{% endmacro %}{{ m(messages[0].content)|lower }}", "<m>{a<|e|>b}"},
        {"{% for c in messages[0].content %}{{ c }}-{% endfor %}", "{a}-{<}-{|}-{e}-{|}-{>}-{B}-"},
        {"{{ messages[0].content * 2 }}", "{a<|e|>Ba<|e|>B}"},
        {"{{ messages[0].content|escape }}", "{a&lt;|e|&gt;B}"},
        {"{% for k, v in o.items() %}{{ k }}={{ v }}{% endfor %}", "{k}={a<|e|>B}"},
        {"{% for k, v in o|dictsort %}{{ k }}={{ v }}{% endfor %}", "{k}={a<|e|>B}"},
        {"{{ {'user': '<|user|>', 'x': 1}[messages[0].role] }}", "<|user|>"},
        {"{{ messages[0].content|default('x')|string|trim|title }}", "{A<|e|>b}"},
        {"{{ messages[0].content is string }}{{ messages[0].content == 'a' }}", "TrueFalse"},
        {"{{ messages[0].content.center(10, '_') }}", "_{a<|e|>B}__"},
        {"{{ messages[0].content|truncate(4, true, '..', 0) }}", "{a<}.."},
        {"{% for k in dict(x=1, **o) %}{{ k }}{% endfor %}", "{xk}"},
        {"{% macro m() %}{{ kwargs }}{% endmacro %}{{ m(**o) }}", "{{'k'}: {'a<|e|>B'}}"},
        {"{{ namespace(**o) }}", "<Namespace {{'k'}: {'a<|e|>B'}}>"},
        {"{{ messages }}", "{[{'role': }'user'{, 'content': 'a<|e|>B'}]}"},
    };
    char got[512];
    (void)state;
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        segments(ROW[i].source, "user", "a<|e|>B", got, sizeof got);
        if (strcmp(got, ROW[i].want) != 0) print_error("%s\n", ROW[i].source);
        assert_string_equal(got, ROW[i].want);
    }
    segments("<|{{ messages[0].role }}|>", "assistant", "", got, sizeof got);
    assert_string_equal(got, "<|assistant|>");
    segments("<|{{ messages[0].role }}|>", "im_end", "", got, sizeof got);
    assert_string_equal(got, "<|{im_end}|>");
}

/* Hostile templates end in an error and in little time. */
static void limits(void **state)
{
    static const struct {
        const char *source;
        int code;
    } ROW[] = {
        {"{{ 'a' * 1000000000 }}", ERR_LIMIT},
        {"{{ 'a' * 9223372036854775807 }}", ERR_LIMIT},
        {"{{ [0] * 1000000000 }}", ERR_LIMIT},
        {"{{ '%1000000000d' % 1 }}", ERR_LIMIT},
        {"{{ '%.1000000000f' % 1 }}", ERR_LIMIT},
        {"{{ '{:>1000000000}'.format(1) }}", ERR_LIMIT},
        {"{{ 'x'|center(1000000000) }}", ERR_LIMIT},
        {"{{ 'x'.ljust(9223372036854775807) }}", ERR_LIMIT},
        {"{{ 'a\\nb'|indent(1000000000) }}", ERR_LIMIT},
        {"{{ [1]|batch(1000000000, 0)|list }}", ERR_LIMIT},
        {"{{ [1]|slice(1000000000)|list }}", ERR_LIMIT},
        {"{{ [1]|tojson(indent=1000000000) }}", ERR_LIMIT},
        {"{{ range(1000000000) }}", ERR_LIMIT},
        {"{{ 2 ** 64 }}", ERR_LIMIT},
        {"{{ 10 ** 9223372036854775807 }}", ERR_LIMIT},
        {"{{ 9223372036854775807 + 1 }}", ERR_LIMIT},
        {"{{ (-9223372036854775807 - 1) // -1 }}", ERR_LIMIT},
        {"{{ 99999999999999999999 }}", ERR_LIMIT},
        {"{{ 1e400|int }}", ERR_FORMAT},
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", ERR_LIMIT},
        {"{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
         ERR_LIMIT},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ERR_LIMIT},
        {"{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
         ERR_LIMIT},
        {"{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s|replace('', ns.s) %}{% "
         "endfor %}",
         ERR_LIMIT},
        {"{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l "
         "}}",
         ERR_LIMIT},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ "
         "ns.l }}",
         ERR_LIMIT},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ "
         "ns.l == [ns.l[0], ns.l[1]] }}",
         0},
        {"{% set ns = namespace(l=(1,)) %}{% for i in range(60) %}{% set ns.l = (ns.l, ns.l) %}{% endfor "
         "%}{{ {ns.l: 1} }}",
         ERR_LIMIT},
        {"{% set ns = namespace(g=[1]) %}{% for i in range(9999) %}{% set ns.g = ns.g|map('string') %}{% "
         "endfor %}{{ ns.g|list }}",
         ERR_LIMIT},
        {"{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ "
         "ns.l|length }}",
         0},
        {"{% set ns = namespace(s='') %}{% for i in range(99999) %}{% set ns.s = ns.s ~ 'abc' %}{% endfor "
         "%}{{ ns.s|length }}",
         0},
        {"{% set ns = namespace(x=0) %}{% set ns.x = ns %}{{ ns }}", ERR_LIMIT},
        {"{% for i in [[]] recursive %}{{ loop([i]) }}{% endfor %}", ERR_LIMIT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        struct template_input in = {0};
        struct template_output out;
        struct err e = {0};
        struct timespec a, b;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        int code = run(ROW[i].source, strlen(ROW[i].source), &in, &out, &e);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        double s = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
        if (code != ROW[i].code || s > 5) print_error("%s: %.3f s, %s\n", ROW[i].source, s, e.msg);
        assert_int_equal(code, ROW[i].code);
        assert_true(s < 5); /* far below a second on an idle machine; sanitizers are slower */
        template_output_finish(&out);
    }
}

static void deep_source(void **state)
{
    static const char *const UNIT[] = {"(",
                                       "[",
                                       "{1:",
                                       "-",
                                       "not ",
                                       "a if b else ",
                                       "{{",
                                       "a.b(",
                                       "a|f(",
                                       "{% if a %}",
                                       "{% for a in b %}",
                                       "a[",
                                       "a ~ ",
                                       "a + ",
                                       "a.b",
                                       "|upper",
                                       "'a' ",
                                       "{% macro m() %}",
                                       "a and ",
                                       "a**"};
    (void)state;
    for (size_t i = 0; i < sizeof UNIT / sizeof *UNIT; i++) {
        size_t n = 20000, len = strlen(UNIT[i]);
        char *z = malloc(n * len + 16), *p = z + 4;
        memcpy(z, UNIT[i][0] == '{' && UNIT[i][1] == '%' ? "    " : "{{ 1", 4);
        for (size_t k = 0; k < n; k++, p += len) memcpy(p, UNIT[i], len);
        memcpy(p, " }}", 3);
        struct template_input in = {0};
        struct template_output out;
        struct err e = {0};
        int code = run(z, (size_t)(p + 3 - z), &in, &out, &e); /* an error or not, but no crash */
        if (code == 0) template_output_finish(&out);
        free(z);
    }
}

static void deep_json(void **state)
{
    struct template_input in = {0};
    struct template_output out;
    struct err e = {0};
    char z[2 * 1500 + 1];
    (void)state;
    memset(z, '[', 1500);
    memset(z + 1500, ']', 1500);
    json_t *j = json_loadb(z, 3000, 0, NULL);
    assert_non_null(j);
    in.messages = j;
    assert_int_equal(run("{{ messages }}", 14, &in, &out, &e), ERR_LIMIT);
    json_decref(j);
}

static void messages(void **state)
{
    static const struct {
        const char *source;
        int code;
        const char *part;
    } ROW[] = {
        {"ab\n  {% foo %}", ERR_FORMAT, "line 2 column 6"},
        {"{{ 'x' }}\n{{ a b }}", ERR_FORMAT, "line 2 column 6"},
        {"a\n{% include 'x' %}", ERR_UNSUPPORTED, "{% include %}"},
        {"{% if x %}", ERR_FORMAT, "{% endif %}"},
        {"\n\n{{ x.y }}", ERR_FORMAT, "line 3 column 5: 'x' is undefined"},
        {"{{ raise_exception('roles must alternate') }}", ERR_USAGE, "roles must alternate"},
        {"\xff", ERR_FORMAT, "not UTF-8"},
        {"{{ 'a'|nope }}", ERR_FORMAT, "no filter named 'nope'"},
        {"{{ '\\ud800' }}", ERR_FORMAT, "not a Unicode character"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        struct template_input in = {0};
        struct template_output out;
        struct err e = {0};
        assert_int_equal(run(ROW[i].source, strlen(ROW[i].source), &in, &out, &e), ROW[i].code);
        if (!strstr(e.msg, ROW[i].part)) print_error("%s: %s\n", ROW[i].source, e.msg);
        assert_non_null(strstr(e.msg, ROW[i].part));
    }
    struct template *t;
    assert_int_equal(template_compile(&t, (struct str){NULL, 0}, NULL), 0);
    template_destroy(t);
    template_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases),       cmocka_unit_test(marks),     cmocka_unit_test(limits),
        cmocka_unit_test(deep_source), cmocka_unit_test(deep_json), cmocka_unit_test(messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
