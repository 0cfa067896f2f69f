/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GBNF, the notation of llama.cpp's grammars:
 *
 *   root  ::= "yes" | "no" ws item+ (", " item){0,3}   # a comment
 *   item  ::= [a-z] [^\n]* .
 *
 * A rule ends with its line, unless a bracket is open or the next line begins with '|'. Rules may stand in
 * any order and call one another, but not themselves before they read something.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/hash.h"
#include "base/utf8.h"
#include "token/grammar/text.h"

enum { NEST_MAX = 200, NAME_MAX_BYTES = 256 };

struct name {
    struct str s;
    uint32_t rule;
    bool defined;
    size_t at; /* byte of its first use */
};

struct gbnf {
    struct grammar *g;
    struct arena a;
    struct str text;
    size_t at;
    struct name *name;
    int n_name, cap_name;
    int32_t *slot; /* [mask + 1] of names, -1: free */
    uint32_t mask;
    int depth;
    struct err *e;
    int rc;
};

__attribute__((format(printf, 3, 4))) static uint32_t fail(struct gbnf *x, int code, const char *fmt, ...)
{
    char what[ERR_MSG_MAX / 2];
    int line = 1;
    va_list ap;
    if (x->rc) return 0;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < x->at && i < x->text.n; i++) line += x->text.p[i] == '\n';
    x->rc = err(x->e, code, "grammar, line %d: %s", line, what);
    return 0;
}

/* What building the automata met. */
static uint32_t fail_built(struct gbnf *x)
{
    struct err e = {0};
    grammar_check(x->g, &e);
    return fail(x, e.code, "%s", e.msg);
}

static char peek(const struct gbnf *x)
{
    return !x->rc && x->at < x->text.n ? x->text.p[x->at] : 0;
}

static bool take(struct gbnf *x, const char *z)
{
    size_t n = strlen(z);
    if (x->rc || x->text.n - x->at < n || memcmp(x->text.p + x->at, z, n) != 0) return false;
    x->at += n;
    return true;
}

/* Blanks and comments; line ends, too, where a rule goes on over them. */
static void skip(struct gbnf *x, bool lines)
{
    for (;;) {
        char c = peek(x);
        if (c == '#')
            while (x->at < x->text.n && x->text.p[x->at] != '\n') x->at++;
        else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))
            x->at++;
        else
            return;
    }
}

static struct str take_name(struct gbnf *x)
{
    size_t from = x->at;
    for (char c; (c = peek(x)) && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                   (c >= '0' && c <= '9') || c == '-' || c == '_');)
        x->at++;
    if (x->at - from > NAME_MAX_BYTES)
        fail(x, ERR_LIMIT, "the name of a rule has %zu bytes; the most is %d", x->at - from, NAME_MAX_BYTES);
    return (struct str){x->text.p + from, x->at - from};
}

static bool grow_slots(struct gbnf *x)
{
    uint32_t mask = x->mask ? x->mask * 2 + 1 : 255;
    int32_t *slot = ARENA_NEW(&x->a, int32_t, mask + 1);
    if (!slot) return false;
    memset(slot, -1, (mask + 1) * sizeof *slot);
    for (int i = 0; i < x->n_name; i++) {
        uint32_t h = (uint32_t)hash_str(x->name[i].s) & mask;
        while (slot[h] >= 0) h = (h + 1) & mask;
        slot[h] = i;
    }
    x->slot = slot;
    x->mask = mask;
    return true;
}

static struct name *find_name(struct gbnf *x, struct str s)
{
    if ((uint32_t)x->n_name * 2 >= x->mask && !grow_slots(x)) return fail(x, ERR_MEMORY, "out of memory"), NULL;
    uint32_t h = (uint32_t)hash_str(s) & x->mask;
    for (; x->slot[h] >= 0; h = (h + 1) & x->mask)
        if (str_eq(x->name[x->slot[h]].s, s)) return &x->name[x->slot[h]];
    struct name *list = arena_grow(&x->a, x->name, x->n_name, &x->cap_name, sizeof *list);
    char *z = arena_strdup(&x->a, s);
    if (!list || !z) return fail(x, ERR_MEMORY, "out of memory"), NULL;
    x->name = list;
    list[x->n_name] = (struct name){s, grammar_rule(x->g, z), false, x->at};
    if (x->g->failed) return fail_built(x), NULL;
    x->slot[h] = x->n_name;
    return &list[x->n_name++];
}

static uint32_t hex(struct gbnf *x, int n)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++, x->at++) {
        char c = peek(x);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) return fail(x, ERR_FORMAT, "expected a hexadecimal digit");
        v = v * 16 + (uint32_t)d;
    }
    if (v > CSET_LAST || (v >= 0xD800 && v <= 0xDFFF)) return fail(x, ERR_FORMAT, "not a code point");
    return v;
}

/* One code point of a literal or class, escapes undone. */
static uint32_t take_char(struct gbnf *x)
{
    uint32_t cp = 0;
    if (take(x, "\\")) {
        char c = peek(x);
        x->at++;
        switch (c) {
        case 'n': return '\n';
        case 'r': return '\r';
        case 't': return '\t';
        case 'x': return hex(x, 2);
        case 'u': return hex(x, 4);
        case 'U': return hex(x, 8);
        case '\\':
        case '"':
        case '[':
        case ']':
        case '-':
        case '/':
        case '^': return (uint32_t)c;
        default: return fail(x, ERR_FORMAT, "unknown escape");
        }
    }
    int n = x->at < x->text.n ? utf8_decode(x->text.p + x->at, x->text.n - x->at, &cp) : 0;
    if (n <= 0) return fail(x, ERR_FORMAT, "the text ends here or is not UTF-8");
    x->at += (size_t)n;
    return cp;
}

static uint32_t literal(struct gbnf *x, uint32_t from)
{
    while (!x->rc && !take(x, "\"")) {
        char c[4];
        uint32_t cp = take_char(x);
        if (x->rc) break;
        from = grammar_literal(x->g, from, (struct str){c, utf8_encode(cp, c)});
    }
    return from;
}

static uint32_t char_class(struct gbnf *x, uint32_t from)
{
    struct crange *r = NULL;
    int n = 0, cap = 0;
    bool negate = take(x, "^");
    while (!x->rc && !take(x, "]")) {
        uint32_t lo = take_char(x), hi = lo;
        if (peek(x) == '-' && x->at + 1 < x->text.n && x->text.p[x->at + 1] != ']') {
            x->at++;
            hi = take_char(x);
        }
        if (hi < lo) fail(x, ERR_FORMAT, "a range of a class is in wrong order");
        r = arena_grow(&x->a, r, n, &cap, sizeof *r);
        if (!r) return fail(x, ERR_MEMORY, "out of memory");
        r[n++] = (struct crange){lo, hi};
    }
    struct cset s = {0};
    if (x->rc) return from;
    if (cset_make(&x->a, r, n, &s) || (negate && cset_not(&x->a, s, &s))) return fail(x, ERR_MEMORY, "out of memory");
    uint32_t to = grammar_node(x->g);
    grammar_set(x->g, from, to, s, TEXT_PLAIN, false);
    return to;
}

static void alternatives(struct gbnf *x, uint32_t from, uint32_t to, bool nested);

/* One element; the node behind it, or 0 when there is none. */
static uint32_t element(struct gbnf *x, uint32_t from)
{
    if (take(x, "\"")) return literal(x, from);
    if (take(x, "[")) return char_class(x, from);
    if (take(x, ".")) {
        static const struct crange all[] = {{0, CSET_LAST}};
        uint32_t to = grammar_node(x->g);
        grammar_set(x->g, from, to, (struct cset){all, 1}, TEXT_PLAIN, false);
        return to;
    }
    if (take(x, "(")) {
        uint32_t in = grammar_node(x->g), out = grammar_node(x->g);
        if (++x->depth > NEST_MAX) return fail(x, ERR_LIMIT, "brackets are nested deeper than %d", NEST_MAX);
        grammar_eps(x->g, from, in);
        skip(x, true);
        alternatives(x, in, out, true);
        if (!take(x, ")")) fail(x, ERR_FORMAT, "expected ')'");
        x->depth--;
        return out;
    }
    if (peek(x) == '<' || peek(x) == '!')
        return fail(x, ERR_UNSUPPORTED, "tokens by name or number (<...>) are not supported");
    struct str s = take_name(x);
    if (!s.n || x->rc) return 0;
    struct name *name = find_name(x, s);
    return name ? grammar_call(x->g, from, name->rule) : 0;
}

static int take_number(struct gbnf *x)
{
    int v = -1;
    for (char c; (c = peek(x)) >= '0' && c <= '9' && v <= GRAMMAR_REPEAT_MAX; x->at++)
        v = (v < 0 ? 0 : v) * 10 + (c - '0');
    if (v > GRAMMAR_REPEAT_MAX)
        fail(x, ERR_LIMIT, "a bound of a repetition is too large; the most is %d", GRAMMAR_REPEAT_MAX);
    return v;
}

static void take_bounds(struct gbnf *x, int *min, int *max)
{
    skip(x, true);
    *max = *min = take_number(x);
    skip(x, true);
    if (take(x, ",")) {
        skip(x, true);
        *max = take_number(x);
        skip(x, true);
        if (*max < 0) *max = GRAMMAR_INF;
        if (*min < 0) *min = 0;
    }
    if (!take(x, "}") || *min < 0 || *max < *min) fail(x, ERR_FORMAT, "expected {m}, {m,} or {m,n}");
}

/* min to max copies of what stands at text position `from_at`; it is read again for each. */
static uint32_t repeat(struct gbnf *x, uint32_t from, size_t from_at, int min, int max)
{
    struct grammar *g = x->g;
    size_t after = x->at;
    uint32_t out = grammar_node(g), in = from;
    int copies = max == GRAMMAR_INF ? min + 1 : max;
    for (int i = 0; i < copies && !x->rc && !g->failed; i++) {
        uint32_t begin = grammar_node(g);
        grammar_eps(g, in, begin);
        if (i >= min) grammar_eps(g, in, out);
        x->at = from_at;
        in = grammar_node(g);
        uint32_t end = element(x, begin);
        if (end) grammar_eps(g, end, in);
        if (max == GRAMMAR_INF && i == copies - 1) grammar_eps(g, in, begin);
    }
    grammar_eps(g, in, out);
    x->at = after;
    return out;
}

static uint32_t sequence(struct gbnf *x, uint32_t from, bool nested)
{
    for (;;) {
        size_t at = x->at;
        uint32_t begin = grammar_node(x->g); /* what is read once goes here; a repetition builds its own */
        uint32_t to = element(x, begin);
        int min = 1, max = 1;
        if (!to || x->rc) return from;
        skip(x, nested);
        bool again = false;
        if (take(x, "*"))
            min = 0, max = GRAMMAR_INF, again = true;
        else if (take(x, "+"))
            max = GRAMMAR_INF, again = true;
        else if (take(x, "?"))
            min = 0, again = true;
        else if (take(x, "{"))
            take_bounds(x, &min, &max), again = true;
        if (!again) {
            grammar_eps(x->g, from, begin);
            from = to;
        } else if (!x->rc) {
            from = repeat(x, from, at, min, max);
        }
        skip(x, nested);
    }
}

/* At the beginning of a line that goes on with '|'. */
static bool goes_on(struct gbnf *x)
{
    size_t at = x->at;
    skip(x, true);
    if (peek(x) == '|') return true;
    x->at = at;
    return false;
}

static void alternatives(struct gbnf *x, uint32_t from, uint32_t to, bool nested)
{
    do {
        skip(x, true);
        grammar_eps(x->g, sequence(x, from, nested), to);
        if (x->g->failed) fail_built(x);
    } while (!x->rc && goes_on(x) && take(x, "|"));
    if (nested) skip(x, true);
}

static void rules(struct gbnf *x)
{
    for (skip(x, true); !x->rc && x->at < x->text.n; skip(x, true)) {
        struct str s = take_name(x);
        if (!s.n) {
            fail(x, ERR_FORMAT, "expected the name of a rule");
            return;
        }
        struct name *name = find_name(x, s);
        skip(x, true);
        if (!take(x, "::=")) fail(x, ERR_FORMAT, "expected '::=' behind the name of a rule");
        if (x->rc) return;
        if (name->defined) {
            fail(x, ERR_FORMAT, "this rule is defined twice");
            return;
        }
        name->defined = true;
        uint32_t rule = name->rule, from = x->g->rule[rule].start;
        skip(x, true);
        if (peek(x) == '|') fail(x, ERR_FORMAT, "expected something before '|'");
        alternatives(x, from, x->g->rule[rule].final, false);
        skip(x, false);
        char c = peek(x);
        if (!x->rc && x->at < x->text.n && c != '\n' && c != '\r') fail(x, ERR_FORMAT, "expected the end of the line");
    }
}

int grammar_compile_gbnf(struct grammar **out, struct str text, struct err *e)
{
    int rc;
    *out = NULL;
    if (text.n > GRAMMAR_TEXT_MAX)
        return err(e, ERR_LIMIT, "the grammar has %zu bytes, at most %d are taken", text.n, GRAMMAR_TEXT_MAX);
    if ((rc = grammar_create(out, e))) return rc;
    struct gbnf x = {.g = *out, .text = text, .e = e};
    arena_init(&x.a);
    rules(&x);
    struct name *root = x.rc ? NULL : find_name(&x, STR("root"));
    for (int i = 0; i < x.n_name && !x.rc; i++)
        if (!x.name[i].defined) x.rc = err(e, ERR_FORMAT, "grammar: rule '%.*s' is not defined", STR_ARG(x.name[i].s));
    uint32_t rule = root && !x.rc ? root->rule : 0;
    arena_finish(&x.a);
    if (!x.rc) return grammar_finish(out, rule, e);
    grammar_unref(*out);
    *out = NULL;
    return x.rc;
}
