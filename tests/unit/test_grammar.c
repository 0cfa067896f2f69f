/* SPDX-License-Identifier: Apache-2.0 */
/* Grammars of regular expressions, GBNF and choices; masks against trying every token one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/buf.h"
#include "grammar_toy.h"

enum kind { REGEX, GBNF, CHOICE };

static int compile(struct grammar **g, enum kind kind, const char *text, struct err *e)
{
    struct str part[16];
    int n = 0;
    if (kind == REGEX) return grammar_compile_regex(g, str_from(text), e);
    if (kind == GBNF) return grammar_compile_gbnf(g, str_from(text), e);
    for (const char *p = text; n < 16; p = strchr(p, '|') + 1) {
        part[n++] = (struct str){p, strcspn(p, "|")};
        if (!strchr(p, '|')) break;
    }
    return grammar_compile_choice(g, part, n, e);
}

static struct grammar *must_compile(enum kind kind, const char *text)
{
    struct grammar *g = NULL;
    struct err e = {0};
    if (compile(&g, kind, text, &e)) fail_msg("'%s': %s", text, e.msg);
    return g;
}

/* want: the texts of a list, each after its verdict: '+' fits, '~' may go on to fit, '-' does not. */
static void check(enum kind kind, const char *text, const char *const *want)
{
    struct grammar *g = must_compile(kind, text);
    for (; *want; want++) {
        int fits = **want == '+' ? 1 : **want == '~' ? 0 : -1;
        int got = grammar_match(g, str_from(*want + 1), NULL);
        if (got != fits) fail_msg("'%s' on '%s': got %d, expected %d", text, *want + 1, got, fits);
    }
    grammar_unref(g);
}

#define CHECK(kind, text, ...) check(kind, text, (const char *const[]){__VA_ARGS__, NULL})

static void test_regex(void **state)
{
    (void)state;
    CHECK(REGEX, "abc", "+abc", "~ab", "-abcd", "-b", "~");
    CHECK(REGEX, "a|bc|", "+", "+a", "~b", "+bc", "-ab");
    CHECK(REGEX, "(ab|c)*d?", "+", "+ababc", "~a", "+cd", "-dd", "-cdc");
    CHECK(REGEX, "a{2,4}", "~a", "+aa", "+aaaa", "-aaaaa");
    CHECK(REGEX, "a{2}", "~a", "+aa", "-aaa");
    CHECK(REGEX, "a{2,}b", "~aaaaaaaa", "+aaab", "-ab");
    CHECK(REGEX, "(a{1,2}b){2}", "+abaab", "-abb", "-abaaa", "~aba");
    CHECK(REGEX, "x{0}y", "+y", "-xy");
    CHECK(REGEX, "a{,3}", "+", "+aaa", "-aaaa");
    CHECK(REGEX, "a{x}", "+a{x}", "~a", "-b");
    CHECK(REGEX, "[a-c_-]+", "+a-b_", "-d");
    CHECK(REGEX, "[^a-c]", "+d", "-a", "+\xC3\xA9", "+\xF0\x9F\x98\x80", "~\xF0\x9F", "-\xED\xA0\x80");
    CHECK(REGEX, "[]a]+", "+]a", "-b");
    CHECK(REGEX, "[\\d\\-x]+", "+1-x", "-y");
    CHECK(REGEX, "\\d{4}-\\d\\d", "+2024-12", "-2024-x", "~2024-");
    CHECK(REGEX, "\\w+\\s\\S", "+ab_1 x", "-ab- x", "~ab ");
    CHECK(REGEX, ".", "+a", "-\n", "+\xE2\x82\xAC", "~\xE2\x82");
    CHECK(REGEX, "(?s).", "+\n");
    CHECK(REGEX, "(?i)abC", "+ABC", "+abc", "-abd");
    CHECK(REGEX, "a(?i:b)c", "+aBc", "-aBC");
    CHECK(REGEX, "^a$", "+a", "-b");
    CHECK(REGEX, "(^a|b)c$", "+ac", "+bc");
    CHECK(REGEX, "a^b|c", "+c", "-ab", "-a");
    CHECK(REGEX, "(?:a|b)(?<n>c)(?P<m>d)", "+acd", "+bcd");
    CHECK(REGEX, "a+?b*?", "+aab", "~", "-b");
    CHECK(REGEX, "\\x41\\x{42}\\u0043\\u{44}\\t", "+ABCD\t");
    CHECK(REGEX, "\\ud83d\\ude00", "+\xF0\x9F\x98\x80");
    CHECK(REGEX, "[\\u00e0-\\u00ff]+", "+\xC3\xA9\xC3\xA0", "-\xC3\x9F", "-a");
    CHECK(REGEX, "\\p{Lu}\\p{L}*", "+\xC3\x89t\xC3\xA9", "-\xC3\xA9", "-E1");
    CHECK(REGEX, "\\.\\*\\[\\]\\/", "+.*[]/");
    CHECK(REGEX, "(?=.*[A-Z])(?=.*\\d)[A-Za-z0-9]{4,10}", "+Ab1d", "+abcdeF1", "-ab!", "~abcdefg", "-abcdefghij1");
    CHECK(REGEX, "(?!foo)[a-z]+", "+fo", "+bar", "-foo", "-foobar", "+fob");
    CHECK(REGEX, "(?!.*--)[a-z-]{1,5}", "+a-b", "-a--b", "+-", "-a-b-cd");
    CHECK(REGEX, "((a*)*)*", "+", "+aaa", "-b");
    CHECK(REGEX, "(|a)+b", "+b", "+aab");
    CHECK(REGEX, "\xC3\xA9+", "+\xC3\xA9\xC3\xA9", "~\xC3");
}

static void check_refused(enum kind kind, const char *text, int code, const char *part)
{
    struct grammar *g = (struct grammar *)(uintptr_t)1;
    struct err e = {0};
    assert_int_equal(compile(&g, kind, text, &e), code);
    assert_null(g);
    if (!strstr(e.msg, part)) fail_msg("'%s': '%s' lacks '%s'", text, e.msg, part);
}

static void test_regex_refused(void **state)
{
    (void)state;
    check_refused(REGEX, "a(b", ERR_FORMAT, "expected ')'");
    check_refused(REGEX, "a)b", ERR_FORMAT, "')' without '('");
    check_refused(REGEX, "[a", ERR_FORMAT, "expected ']'");
    check_refused(REGEX, "[z-a]", ERR_FORMAT, "wrong order");
    check_refused(REGEX, "*a", ERR_FORMAT, "nothing to repeat");
    check_refused(REGEX, "a**", ERR_FORMAT, "repetition of a repetition");
    check_refused(REGEX, "a++", ERR_UNSUPPORTED, "possessive");
    check_refused(REGEX, "a{3,2}", ERR_FORMAT, "wrong order");
    check_refused(REGEX, "a{99999}", ERR_LIMIT, "too large");
    check_refused(REGEX, "((a{9999}){9999}){9999}", ERR_LIMIT, "too large");
    check_refused(REGEX, "(a)\\1", ERR_UNSUPPORTED, "at byte 5: references");
    check_refused(REGEX, "\\bword", ERR_UNSUPPORTED, "word boundaries");
    check_refused(REGEX, "a(?=b)", ERR_UNSUPPORTED, "look-ahead");
    check_refused(REGEX, "(?<=a)b", ERR_UNSUPPORTED, "look-behind");
    check_refused(REGEX, "\\p{Greek}", ERR_UNSUPPORTED, "property");
    check_refused(REGEX, "\\y", ERR_FORMAT, "unknown escape");
    check_refused(REGEX, "a\\", ERR_FORMAT, "at the end");
    check_refused(REGEX, "\xFF", ERR_FORMAT, "not UTF-8");
    check_refused(REGEX, "a$b", ERR_USAGE, "no text");
    check_refused(REGEX, "(?!a)a", ERR_USAGE, "no text");
    check_refused(REGEX, "[^\\x00-\\x{10FFFF}]", ERR_USAGE, "no text");
}

static void test_gbnf(void **state)
{
    (void)state;
    CHECK(GBNF, "root ::= \"yes\" | \"no\"", "+yes", "+no", "~n", "-yesno");
    CHECK(GBNF, "# comment\nroot ::= item (\", \" item){0,2} # more\nitem ::= [a-c]+ |\n  \"(\" item \")\"\n",
          "+a", "+ab, (c)", "+a, b, ((c))", "-a, b, c, d", "~(a");
    CHECK(GBNF, "root ::= a\n  | b\na ::= \"x\"\nb ::= \"y\"+", "+x", "+yyy", "-xy");
    CHECK(GBNF, "root ::= [^\\n\"]* \"\\n\"", "+ab\xC3\xA9\n", "~ab", "-a\"");
    CHECK(GBNF, "root ::= .? [\\x41-\\u0043]{2}", "+AB", "+xAB", "+\xF0\x9F\x98\x80" "CC", "-xyA");
    CHECK(GBNF, "root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9] | \"(\" expr \")\"", "+1+(2+3)",
          "~1+", "-1++", "+((1))");
    CHECK(GBNF, "root ::= \"a\" root | \"\"", "+", "+aaaa", "-b");
    CHECK(GBNF, "root ::= \"a\" root \"b\" | \"\"", "+", "+aabb", "~aab", "-aabbb");
    CHECK(GBNF, "root ::= x{2} x{1,} x?\nx ::= \"x\"", "~xx", "+xxx", "+xxxxxx");
    CHECK(GBNF, "root ::= (\"a\"\n | \"b\"\n) \"c\"", "+ac", "+bc");
    check_refused(GBNF, "root ::= root \"a\" | \"b\"", ERR_UNSUPPORTED, "rule 'root' can call itself");
    check_refused(GBNF, "root ::= a\na ::= \"\" b\nb ::= [x]? a \"y\" | \"z\"", ERR_UNSUPPORTED, "left recursion");
    check_refused(GBNF, "root ::= a", ERR_FORMAT, "rule 'a' is not defined");
    check_refused(GBNF, "a ::= \"b\"", ERR_FORMAT, "rule 'root' is not defined");
    check_refused(GBNF, "root ::= \"a", ERR_FORMAT, "line 1");
    check_refused(GBNF, "root ::= \"a\"\nroot ::= \"b\"", ERR_FORMAT, "line 2: this rule is defined twice");
    check_refused(GBNF, "root ::= (\"a\"", ERR_FORMAT, "expected ')'");
    check_refused(GBNF, "root = \"a\"", ERR_FORMAT, "expected '::='");
    check_refused(GBNF, "root ::= <think>", ERR_UNSUPPORTED, "tokens by name");
    check_refused(GBNF, "root ::= \"a\" root", ERR_USAGE, "no text satisfies");
    check_refused(GBNF, "root ::= ((\"a\"{9999}){9999}){9999}", ERR_LIMIT, "too large");
}

static void test_choice(void **state)
{
    (void)state;
    CHECK(CHOICE, "red|green|gray", "+red", "~gr", "+green", "-blue", "-redd");
    CHECK(CHOICE, "a|ab", "+a", "+ab", "-abc");
}

/* Walks at random through allowed tokens; at every step each token's bit must be what matching the text with the
 * token's bytes says, and the end tokens must be allowed exactly when the text fits. */
static void walk(struct grammar_toy *y, enum kind kind, const char *text, unsigned seed, int max_tokens)
{
    struct grammar *g = must_compile(kind, text);
    struct grammar_state *s = NULL;
    struct err e = {0};
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_int_equal(grammar_state_create(&s, g, y->vocab, max_tokens, &e), 0);
    for (int step = 0; step < 40; step++) {
        const uint32_t *bits = grammar_state_allowed(s);
        int allowed[TOY_TOKENS_MAX], n = 0;
        size_t len = b.n;
        for (int id = 0; id < y->n + 7; id++) {
            bool bit = bits[id >> 5] >> (id & 31) & 1, want;
            if (id >= y->n) {
                want = false;
            } else if (id == y->end) {
                want = grammar_match(g, buf_str(&b), NULL) == 1;
                assert_int_equal(want, grammar_state_may_end(s));
            } else {
                buf_append_str(&b, tokenizer_piece(y->tok, id));
                want = grammar_match(g, buf_str(&b), NULL) >= 0;
                b.n = len;
            }
            if (bit != want && !max_tokens)
                fail_msg("'%s' after '%.*s': token %d is %d, expected %d", text, (int)b.n, b.p, id, bit,
                         want);
            if (bit) allowed[n++] = id;
        }
        assert_true(n > 0);
        seed = seed * 1664525u + 1013904223u;
        int id = allowed[(seed >> 8) % (unsigned)n];
        if (grammar_state_accept(s, id, &e)) fail_msg("%s", e.msg);
        if (id == y->end) break;
        buf_append_str(&b, tokenizer_piece(y->tok, id));
        if (max_tokens && step + 1 == max_tokens)
            fail_msg("'%s': '%.*s' did not end within %d tokens", text, (int)b.n, b.p, max_tokens);
    }
    buf_finish(&b);
    grammar_state_destroy(s);
    grammar_unref(g);
}

static const struct {
    enum kind kind;
    const char *text;
} walked[] = {
    {REGEX, "(ab|c)*d?"},
    {REGEX, "[a-z0-9\"{}, ]{1,30}x"},
    {REGEX, "(?s).*"},
    {REGEX, "\"([^\"\\\\]|\\\\[\"nu])*\""},
    {REGEX, "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\dZ"},
    {CHOICE, "abc|ab|name value|true|null"},
    {GBNF,
     "root ::= obj\nobj ::= \"{\" (pair (\", \" pair)*)? \"}\"\npair ::= str \": \" val\nval ::= str | obj | arr | [0-9]+ | \"true\" | \"null\"\n"
     "arr ::= \"[\" (val (\", \" val)*)? \"]\"\nstr ::= \"\\\"\" [^\"]* \"\\\"\""},
    {GBNF, "root ::= \"a\" root \"b\" | \"1\""},
    {GBNF, "root ::= (a | b | c)*\na ::= \"a\" [bc]?\nb ::= \"ab\"\nc ::= a b | \"\""},
};

static void test_masks(void **state)
{
    (void)state;
    struct grammar_toy y;
    grammar_toy_open(&y);
    for (size_t i = 0; i < sizeof walked / sizeof *walked; i++)
        for (unsigned seed = 0; seed < 4; seed++) walk(&y, walked[i].kind, walked[i].text, seed, 0);
    grammar_toy_close(&y);
}

static void test_closing(void **state)
{
    (void)state;
    struct grammar_toy y;
    grammar_toy_open(&y);
    for (size_t i = 0; i < sizeof walked / sizeof *walked; i++)
        for (unsigned seed = 0; seed < 8; seed++) walk(&y, walked[i].kind, walked[i].text, seed, 39);
    grammar_toy_close(&y);
}

static void test_accept_refuses(void **state)
{
    (void)state;
    struct grammar_toy y;
    struct grammar_state *s;
    struct err e = {0};
    grammar_toy_open(&y);
    struct grammar *g = must_compile(REGEX, "ab");
    assert_int_equal(grammar_state_create(&s, g, y.vocab, 0, &e), 0);
    grammar_unref(g);
    assert_int_equal(grammar_state_accept(s, 'x', &e), ERR_USAGE);
    assert_int_equal(grammar_state_accept(s, y.end, &e), ERR_USAGE);
    assert_int_equal(grammar_state_accept(s, -1, &e), ERR_USAGE);
    assert_int_equal(grammar_state_accept(s, 1 << 20, &e), ERR_USAGE);
    grammar_state_destroy(s);
    grammar_toy_close(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex),          cmocka_unit_test(test_regex_refused),
        cmocka_unit_test(test_gbnf),           cmocka_unit_test(test_choice),
        cmocka_unit_test(test_masks),          cmocka_unit_test(test_closing),
        cmocka_unit_test(test_accept_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
