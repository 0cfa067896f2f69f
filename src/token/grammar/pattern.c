/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing a regular expression into an automaton. A recursive descent with one function per level
 * (alternatives, sequence, repetition, atom) that builds nodes as it reads: each returns a fragment with an
 * open end. A repetition with bounds reads its atom again for each copy, so that no tree is needed.
 *
 * ^ and $ are edges until the end; then what ^ lets pass is added to the start only, and what reaches the end
 * over $ becomes accepting (solve_anchors).
 */
#include "token/grammar/pattern.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include "base/utf8.h"

enum { EDGE_NONE = -1 };
enum anchor { ANCHOR_NONE, ANCHOR_BEGIN, ANCHOR_END };

struct fragment {
    int32_t in, out;
};

struct parser {
    struct arena *a;
    struct str text;
    size_t at;
    struct pattern *p;
    uint8_t *anchor; /* [cap_node] condition of eps[0] */
    int cap_node, cap_anchor, cap_set;
    int depth;
    bool fold, dotall;
    struct err *e;
    int rc;
};

__attribute__((format(printf, 3, 4))) static int32_t fail(struct parser *x, int code, const char *fmt, ...)
{
    char what[ERR_MSG_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (!x->rc) x->rc = err(x->e, code, "regular expression '%.*s' at byte %zu: %s", STR_ARG(x->text), x->at, what);
    return 0;
}

static int32_t fail_memory(struct parser *x)
{
    if (!x->rc) x->rc = err(x->e, ERR_MEMORY, "out of memory");
    return 0;
}

static int32_t new_node(struct parser *x)
{
    struct pattern *p = x->p;
    if (x->rc) return 0;
    if (p->n_node >= PATTERN_NODES_MAX)
        return fail(
            x, ERR_LIMIT,
            "too large: its repetitions, multiplied out, need more than %d states; use smaller bounds, or '*'",
            PATTERN_NODES_MAX);
    struct pattern_node *list = arena_grow(x->a, p->node, p->n_node, &x->cap_node, sizeof *list);
    uint8_t *anchor = arena_grow(x->a, x->anchor, p->n_node, &x->cap_anchor, 1);
    if (!list || !anchor) return fail_memory(x);
    p->node = list;
    x->anchor = anchor;
    anchor[p->n_node] = ANCHOR_NONE;
    list[p->n_node] = (struct pattern_node){-1, -1, {-1, -1}, false};
    return p->n_node++;
}

static void add_eps(struct parser *x, int32_t from, int32_t to)
{
    if (x->rc) return;
    struct pattern_node *n = &x->p->node[from];
    if (n->eps[0] < 0 && !x->anchor[from])
        n->eps[0] = to;
    else
        n->eps[1] = to;
}

static struct fragment of_nothing(struct parser *x)
{
    int32_t n = new_node(x);
    return (struct fragment){n, n};
}

static struct fragment of_anchor(struct parser *x, enum anchor kind)
{
    struct fragment f = {new_node(x), new_node(x)};
    if (x->rc) return f;
    add_eps(x, f.in, f.out);
    x->anchor[f.in] = (uint8_t)kind;
    return f;
}

static struct fragment of_set(struct parser *x, struct cset s)
{
    struct pattern *p = x->p;
    struct fragment f = {new_node(x), new_node(x)};
    int i = p->n_set - 1;
    if (x->rc) return f;
    while (i >= 0 && !(p->set[i].r == s.r && p->set[i].n == s.n) && !(s.n <= 16 && cset_eq(p->set[i], s)) &&
           p->n_set - i < 64)
        i--;
    if (i < 0 || !cset_eq(p->set[i], s)) {
        struct cset *list = arena_grow(x->a, p->set, p->n_set, &x->cap_set, sizeof *list);
        if (!list) return fail_memory(x), f;
        p->set = list;
        i = p->n_set++;
        list[i] = s;
    }
    p->node[f.in].set = i;
    p->node[f.in].to = f.out;
    return f;
}

static bool more(const struct parser *x)
{
    return !x->rc && x->at < x->text.n;
}

static char peek(const struct parser *x)
{
    return x->at < x->text.n ? x->text.p[x->at] : 0;
}

static bool take(struct parser *x, const char *z)
{
    size_t n = strlen(z);
    if (x->rc || x->text.n - x->at < n || memcmp(x->text.p + x->at, z, n) != 0) return false;
    x->at += n;
    return true;
}

static uint32_t take_code_point(struct parser *x)
{
    uint32_t cp = 0;
    int n = more(x) ? utf8_decode(x->text.p + x->at, x->text.n - x->at, &cp) : 0;
    if (n <= 0) return (uint32_t)fail(x, ERR_FORMAT, "not UTF-8");
    x->at += (size_t)n;
    return cp;
}

/* --- classes ---------------------------------------------------------------------------------------------- */

static const struct crange digits[] = {{'0', '9'}}, words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct crange blanks[] = {{'\t', '\r'}, {' ', ' '}};
/* What some dialect takes for white space: not in \S. */
static const struct crange all_blanks[] = {{'\t', '\r'},     {0x1C, ' '},      {0x85, 0x85},
                                           {0xA0, 0xA0},     {0x1680, 0x1680}, {0x180E, 0x180E},
                                           {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                           {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
/* What is no word character in any dialect: ASCII without words. */
static const struct crange no_words[] = {{0, '/'}, {':', '@'}, {'[', '^'}, {'`', '`'}, {'{', 0x7F}};
static const struct crange line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

#define SET_OF(list) ((struct cset){list, (int)(sizeof(list) / sizeof *(list))})

static struct cset negated(struct parser *x, struct cset s)
{
    struct cset out = {0};
    if (!x->rc && cset_not(x->a, s, &out)) fail_memory(x);
    return out;
}

static struct cset united(struct parser *x, struct cset a, struct cset b)
{
    struct cset out = {0};
    if (!x->rc && cset_or(x->a, a, b, &out)) fail_memory(x);
    return out;
}

static struct cset single(struct parser *x, uint32_t lo, uint32_t hi)
{
    struct crange r = {lo, hi};
    struct cset out = {0};
    if (!x->rc && cset_make(x->a, &r, 1, &out)) fail_memory(x);
    return out;
}

static struct cset category(struct parser *x, bool negate)
{
    struct cset s = {0};
    size_t from, n = 1;
    if (take(x, "{")) {
        from = x->at;
        while (more(x) && peek(x) != '}') x->at++;
        n = x->at - from;
        if (!take(x, "}")) return fail(x, ERR_FORMAT, "expected '}' after a category"), s;
    } else {
        from = x->at++;
        if (from >= x->text.n) return fail(x, ERR_FORMAT, "expected a category after \\p"), s;
    }
    int rc = cset_category(x->a, x->text.p + from, n, &s);
    if (rc == ERR_NOT_FOUND)
        return fail(x, ERR_UNSUPPORTED,
                    "this Unicode property is not known; general categories such as L, Lu, Nd are"),
               s;
    if (rc) fail_memory(x);
    return negate ? negated(x, s) : s;
}

static uint32_t hex(struct parser *x, int n_min, int n_max)
{
    uint32_t v = 0;
    int n = 0;
    for (; n < n_max && more(x); n++, x->at++) {
        char c = peek(x);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) break;
        v = v * 16 + (uint32_t)d;
    }
    if (n < n_min || v > CSET_LAST) return (uint32_t)fail(x, ERR_FORMAT, "expected a hexadecimal code point");
    return v;
}

/* Behind a backslash: a set, or one code point (then *one is true and *cp it). */
static struct cset escape(struct parser *x, bool in_class, bool *one, uint32_t *cp)
{
    static const char plain[] = "^$\\.*+?()[]{}|/-\"'#&~ `@!%,:;<=>_";
    char c = peek(x);
    *one = false;
    if (!more(x)) return fail(x, ERR_FORMAT, "a backslash at the end"), SET_OF(digits);
    if ((unsigned char)c >= 0x80) {
        *one = true;
        *cp = take_code_point(x);
        return SET_OF(digits);
    }
    x->at++;
    switch (c) {
    case 'd': return SET_OF(digits);
    case 'w': return SET_OF(words);
    case 's': return SET_OF(blanks);
    case 'S': return negated(x, SET_OF(all_blanks));
    case 'W': return SET_OF(no_words);
    case 'D': {
        struct cset n = {0};
        if (!x->rc && cset_category(x->a, "Nd", 2, &n)) fail_memory(x);
        return negated(x, n);
    }
    case 'p': return category(x, false);
    case 'P': return category(x, true);
    default: break;
    }
    *one = true;
    switch (c) {
    case 'n': *cp = '\n'; break;
    case 'r': *cp = '\r'; break;
    case 't': *cp = '\t'; break;
    case 'f': *cp = '\f'; break;
    case 'v': *cp = '\v'; break;
    case 'a': *cp = 7; break;
    case 'e': *cp = 27; break;
    case '0': *cp = 0; break;
    case 'x':
        if (!take(x, "{")) {
            *cp = hex(x, 2, 2);
            break;
        }
        *cp = hex(x, 1, 6);
        if (!take(x, "}")) fail(x, ERR_FORMAT, "expected '}'");
        break;
    case 'u':
        if (take(x, "{")) {
            *cp = hex(x, 1, 6);
            if (!take(x, "}")) fail(x, ERR_FORMAT, "expected '}'");
        } else {
            *cp = hex(x, 4, 4);
            if (*cp >= 0xD800 && *cp < 0xDC00 && take(x, "\\u")) { /* a pair of surrogates */
                uint32_t low = hex(x, 4, 4);
                if (low < 0xDC00 || low > 0xDFFF) fail(x, ERR_FORMAT, "half of a surrogate pair");
                *cp = 0x10000 + ((*cp - 0xD800) << 10) + (low - 0xDC00);
            }
        }
        break;
    case 'c':
        *cp = (uint32_t)(peek(x) & 31);
        x->at++;
        break;
    case 'b':
        if (in_class) {
            *cp = 8;
            break;
        }
        fail(x, ERR_UNSUPPORTED, "word boundaries (\\b) are not supported");
        break;
    default:
        if (c >= '1' && c <= '9')
            fail(x, ERR_UNSUPPORTED, "references to groups are not supported");
        else if (c == 'A' || c == 'Z' || c == 'z' || c == 'B' || c == 'k' || c == 'K' || c == 'G' ||
                 c == 'R' || c == 'X' || c == 'h' || c == 'H')
            fail(x, ERR_UNSUPPORTED, "this escape is not supported");
        else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || !strchr(plain, c))
            fail(x, ERR_FORMAT, "unknown escape");
        *cp = (uint32_t)c;
    }
    return SET_OF(digits);
}

/* Letters of ASCII in both cases. */
static struct cset folded(struct parser *x, struct cset s)
{
    struct crange both[52];
    int n = 0;
    if (!x->fold) return s;
    for (uint32_t c = 'a'; c <= 'z'; c++)
        if (cset_has(s, c) || cset_has(s, c - 32)) {
            both[n++] = (struct crange){c, c};
            both[n++] = (struct crange){c - 32, c - 32};
        }
    struct cset f = {0};
    if (!x->rc && cset_make(x->a, both, n, &f)) fail_memory(x);
    return united(x, s, f);
}

static bool posix_class(struct parser *x, struct cset *s)
{
    static const struct {
        const char *name;
        struct crange r[4];
        int n;
    } known[] = {{"[:alpha:]", {{'A', 'Z'}, {'a', 'z'}}, 2},
                 {"[:digit:]", {{'0', '9'}}, 1},
                 {"[:alnum:]", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, 3},
                 {"[:upper:]", {{'A', 'Z'}}, 1},
                 {"[:lower:]", {{'a', 'z'}}, 1},
                 {"[:space:]", {{'\t', '\r'}, {' ', ' '}}, 2},
                 {"[:xdigit:]", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}, 3},
                 {"[:punct:]", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}, 4}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (take(x, known[i].name)) return *s = (struct cset){known[i].r, known[i].n}, true;
    return false;
}

static struct fragment char_class(struct parser *x)
{
    bool negate = take(x, "^"), first = true;
    struct cset all = {0}, s;
    struct crange *list = NULL;
    int n = 0, cap = 0;
    for (; more(x) && (peek(x) != ']' || first); first = false) {
        bool one = true;
        uint32_t lo = 0, hi;
        if (posix_class(x, &s)) {
            all = united(x, all, s);
            continue;
        }
        if (peek(x) == ']' && first && x->text.n - x->at > 1 &&
            !memchr(x->text.p + x->at + 1, ']', x->text.n - x->at - 1))
            break; /* [] */
        if (take(x, "\\"))
            s = escape(x, true, &one, &lo);
        else
            lo = take_code_point(x);
        if (!one) {
            all = united(x, all, s);
            continue;
        }
        hi = lo;
        if (peek(x) == '-' && x->at + 1 < x->text.n && x->text.p[x->at + 1] != ']') {
            size_t before = x->at++;
            if (take(x, "\\"))
                s = escape(x, true, &one, &hi);
            else
                hi = take_code_point(x);
            if (!one) { /* [a-\d]: a, minus, digits */
                x->at = before;
                hi = lo;
                x->at++;
                all = united(x, all, single(x, '-', '-'));
            } else if (hi < lo) {
                return fail(x, ERR_FORMAT, "a range of a class is in wrong order"), of_nothing(x);
            }
        }
        if (x->rc) break;
        list = arena_grow(x->a, list, n, &cap, sizeof *list);
        if (!list) return fail_memory(x), of_nothing(x);
        list[n++] = (struct crange){lo, hi};
    }
    if (!take(x, "]")) return fail(x, ERR_FORMAT, "expected ']'"), of_nothing(x);
    if (!x->rc && cset_make(x->a, list, n, &s)) fail_memory(x);
    if (x->rc) return of_nothing(x);
    all = folded(x, united(x, all, s));
    return of_set(x, negate ? negated(x, all) : all);
}

/* --- structure -------------------------------------------------------------------------------------------- */

static struct fragment alternatives(struct parser *x);

static void skip_name(struct parser *x)
{
    while (more(x) && peek(x) != '>') x->at++;
    if (!take(x, ">")) fail(x, ERR_FORMAT, "expected '>' after the name of a group");
}

static struct fragment group(struct parser *x)
{
    bool fold = x->fold, dotall = x->dotall;
    if (++x->depth > PATTERN_NEST_MAX)
        return fail(x, ERR_LIMIT, "groups are nested deeper than %d", PATTERN_NEST_MAX), of_nothing(x);
    if (take(x, "?")) {
        if (take(x, "P<") || (peek(x) == '<' && x->at + 1 < x->text.n && x->text.p[x->at + 1] != '=' &&
                              x->text.p[x->at + 1] != '!' && take(x, "<")))
            skip_name(x);
        else if (take(x, ">"))
            ; /* atomic: the same language but for what backtracking would add */
        else if (peek(x) == '=' || peek(x) == '!' || peek(x) == '<')
            return fail(x, ERR_UNSUPPORTED,
                        "look-ahead is supported at the beginning only, look-behind is not"),
                   of_nothing(x);
        else {
            for (bool on = true; more(x) && peek(x) != ':' && peek(x) != ')'; x->at++) {
                char c = peek(x);
                if (c == '-')
                    on = false;
                else if (c == 'i')
                    x->fold = on;
                else if (c == 's')
                    x->dotall = on;
                else if (c != 'u' && c != 'U' && c != 'a')
                    return fail(x, ERR_UNSUPPORTED, "this flag or kind of group is not supported"), of_nothing(x);
            }
            if (take(x, ")")) { /* flags for what follows */
                x->depth--;
                return of_nothing(x);
            }
            if (!take(x, ":")) return fail(x, ERR_FORMAT, "expected ')'"), of_nothing(x);
        }
    }
    struct fragment f = alternatives(x);
    if (!take(x, ")")) fail(x, ERR_FORMAT, "expected ')'");
    x->fold = fold;
    x->dotall = dotall;
    x->depth--;
    return f;
}

static struct fragment atom(struct parser *x)
{
    bool one = true;
    uint32_t cp = 0;
    struct cset s = {0};
    if (take(x, "(")) return group(x);
    if (take(x, "[")) return char_class(x);
    if (take(x, "^")) return of_anchor(x, ANCHOR_BEGIN);
    if (take(x, "$")) return of_anchor(x, ANCHOR_END);
    if (take(x, ".")) {
        struct cset nothing = {0};
        return of_set(x, negated(x, x->dotall ? nothing : SET_OF(line_ends)));
    }
    if (take(x, "\\")) {
        if (take(x, "A")) return of_anchor(x, ANCHOR_BEGIN);
        if (take(x, "Z") || take(x, "z")) return of_anchor(x, ANCHOR_END);
        s = escape(x, false, &one, &cp);
    } else if (peek(x) == '*' || peek(x) == '+' || peek(x) == '?') {
        return fail(x, ERR_FORMAT, "nothing to repeat"), of_nothing(x);
    } else {
        cp = take_code_point(x);
    }
    if (one) s = single(x, cp, cp);
    return x->rc ? of_nothing(x) : of_set(x, folded(x, s));
}

static bool take_number(struct parser *x, int32_t *n)
{
    size_t from = x->at;
    int64_t v = 0;
    while (more(x) && peek(x) >= '0' && peek(x) <= '9' && v <= PATTERN_REPEAT_MAX)
        v = v * 10 + (x->text.p[x->at++] - '0');
    if (v > PATTERN_REPEAT_MAX)
        fail(x, ERR_LIMIT, "a bound of a repetition is too large; the most is %d", PATTERN_REPEAT_MAX);
    *n = (int32_t)v;
    return x->at > from;
}

/* {m}, {m,}, {m,n}, {,n}; anything else is literal text, as in every dialect. */
static bool take_bounds(struct parser *x, int32_t *min, int32_t *max)
{
    size_t from = x->at;
    if (!take(x, "{")) return false;
    bool low = take_number(x, min);
    *max = *min;
    if (take(x, ",")) {
        if (!low) *min = 0;
        if (!take_number(x, max)) *max = low ? INT32_MAX : -1;
    } else if (!low) {
        *max = -1;
    }
    if (take(x, "}") && *max != -1) {
        if (*max < *min) fail(x, ERR_FORMAT, "the bounds of a repetition are in wrong order");
        return true;
    }
    if (!x->rc) x->at = from;
    return false;
}

static struct fragment repeat(struct parser *x, size_t from, struct fragment f, int32_t min, int32_t max)
{
    size_t after = x->at;
    bool fold = x->fold, dotall = x->dotall;
    struct fragment all = of_nothing(x);
    int32_t end = new_node(x);
    int32_t copies = max == INT32_MAX ? (min ? min : 1) : max;
    if (max == 0) return all;
    for (int32_t i = 0; i < copies && !x->rc; i++) {
        if (i) { /* another copy: read the atom again */
            x->at = from;
            f = atom(x);
        }
        /* Both ends get nodes of their own, since a fragment's nodes may have no room for another edge. */
        int32_t in = new_node(x), out = new_node(x);
        if (x->rc) break;
        add_eps(x, all.out, in);
        add_eps(x, in, f.in);
        if (i >= min) add_eps(x, in, end);
        add_eps(x, f.out, out);
        if (max == INT32_MAX && i == copies - 1) { /* the last copy may come again */
            int32_t again = new_node(x);
            add_eps(x, out, again);
            add_eps(x, again, f.in);
            add_eps(x, again, end);
            x->at = after;
            x->fold = fold;
            x->dotall = dotall;
            return (struct fragment){all.in, end};
        }
        all.out = out;
    }
    add_eps(x, all.out, end);
    x->at = after;
    x->fold = fold;
    x->dotall = dotall;
    return (struct fragment){all.in, end};
}

static struct fragment sequence(struct parser *x)
{
    struct fragment all = of_nothing(x);
    while (more(x) && peek(x) != '|' && peek(x) != ')') {
        size_t from = x->at;
        int32_t min, max;
        struct fragment f = atom(x);
        size_t after = x->at;
        while (!x->rc) {
            if (take(x, "*"))
                min = 0, max = INT32_MAX;
            else if (take(x, "+"))
                min = 1, max = INT32_MAX;
            else if (take(x, "?"))
                min = 0, max = 1;
            else if (!take_bounds(x, &min, &max))
                break;
            if (x->at == after) break;
            if (peek(x) == '+' && x->rc == 0) {
                fail(x, ERR_UNSUPPORTED, "possessive repetition is not supported");
                break;
            }
            take(x, "?"); /* lazy */
            f = repeat(x, from, f, min, max);
            if (peek(x) == '*' || peek(x) == '+' || peek(x) == '?')
                fail(x, ERR_FORMAT, "a repetition of a repetition: put the first in a group");
            break;
        }
        if (x->rc) break;
        int32_t out = new_node(x);
        add_eps(x, all.out, f.in);
        add_eps(x, f.out, out);
        all.out = out;
    }
    return all;
}

static struct fragment alternatives(struct parser *x)
{
    struct fragment f = sequence(x);
    if (peek(x) != '|' || x->rc) return f;
    int32_t split = new_node(x), join = new_node(x);
    struct fragment all = {split, join};
    for (;;) {
        int32_t out = new_node(x);
        add_eps(x, split, f.in);
        add_eps(x, f.out, out);
        add_eps(x, out, join);
        if (!take(x, "|")) break;
        int32_t next = new_node(x);
        add_eps(x, split, next);
        split = next;
        f = sequence(x);
    }
    return all;
}

/* --- anchors ---------------------------------------------------------------------------------------------- */

/* Marks what can be reached from `from` without a code point; conditions in `pass` (a bit per anchor) hold. */
static void reach(struct parser *x, int32_t from, unsigned pass, bool *seen, int32_t *work)
{
    int n = 0;
    work[n++] = from;
    seen[from] = true;
    while (n) {
        int32_t at = work[--n];
        for (int k = 0; k < 2; k++) {
            int32_t to = x->p->node[at].eps[k];
            if (to < 0 || seen[to] || (k == 0 && !(pass >> x->anchor[at] & 1))) continue;
            seen[to] = true;
            work[n++] = to;
        }
    }
}

/* A node is accepting when the end can be reached from it at the end of the text, ^ not holding there. Found backwards
 * from the end over edges sorted by where they lead. */
static void find_accepting(struct parser *x, int32_t final, int32_t *work)
{
    struct pattern *p = x->p;
    int32_t *at = ARENA_NEW(x->a, int32_t, (size_t)p->n_node + 2),
            *from = ARENA_NEW(x->a, int32_t, 2 * (size_t)p->n_node + 1);
    int n = 0;
    if (!at || !from) {
        fail_memory(x);
        return;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < p->n_node; i++)
            for (int k = 0; k < 2; k++) {
                int32_t to = p->node[i].eps[k];
                if (to < 0 || (k == 0 && x->anchor[i] == ANCHOR_BEGIN)) continue;
                if (pass) from[at[to + 1]++] = i;
                else at[to + 2]++;
            }
        for (int i = 2; i < p->n_node + 2 && !pass; i++) at[i] += at[i - 1];
    }
    p->node[final].accept = true;
    work[n++] = final;
    while (n) {
        int32_t to = work[--n];
        for (int32_t i = at[to]; i < at[to + 1]; i++) {
            if (p->node[from[i]].accept) continue;
            p->node[from[i]].accept = true;
            work[n++] = from[i];
        }
    }
}

static void solve_anchors(struct parser *x, struct fragment f)
{
    struct pattern *p = x->p;
    bool *seen = ARENA_NEW(x->a, bool, (size_t)p->n_node);
    int32_t *work = ARENA_NEW(x->a, int32_t, (size_t)p->n_node);
    p->start = ARENA_NEW(x->a, int32_t, (size_t)p->n_node);
    if (!seen || !work || !p->start) {
        fail_memory(x);
        return;
    }
    reach(x, f.in, 1u << ANCHOR_NONE | 1u << ANCHOR_BEGIN | 1u << ANCHOR_END, seen, work);
    p->empty = seen[f.out];
    memset(seen, 0, (size_t)p->n_node * sizeof *seen);
    reach(x, f.in, 1u << ANCHOR_NONE | 1u << ANCHOR_BEGIN, seen, work);
    for (int i = 0; i < p->n_node; i++)
        if (seen[i] && p->node[i].set >= 0) p->start[p->n_start++] = i;
    find_accepting(x, f.out, work);
    if (x->rc) return;
    for (int i = 0; i < p->n_node; i++)
        if (x->anchor[i]) p->node[i].eps[0] = -1;
}

/* --- the whole -------------------------------------------------------------------------------------------- */

static struct fragment any_text(struct parser *x)
{
    struct cset nothing = {0};
    struct fragment f = of_set(x, negated(x, nothing));
    int32_t loop = new_node(x), out = new_node(x);
    add_eps(x, loop, f.in);
    add_eps(x, f.out, loop);
    add_eps(x, loop, out);
    return (struct fragment){loop, out};
}

static void join(struct parser *x, struct fragment *f, struct fragment g)
{
    int32_t out = new_node(x);
    add_eps(x, f->out, g.in);
    add_eps(x, g.out, out);
    f->out = out;
}

/* ^ [set] {min,max} $ and nothing else: then a length is a count and no automaton. */
static void find_simple(struct parser *x, enum pattern_mode mode)
{
    struct arena *a = x->a;
    struct pattern q = {0}, *p = x->p;
    struct parser y = {.a = a, .text = x->text, .p = &q};
    int32_t min = 1, max = 1;
    bool begin = take(&y, "^");
    if (!begin && mode == PATTERN_SEARCH) return;
    char c = peek(&y);
    if (!c || strchr("()^$|*+?{", c)) return;
    struct fragment f = atom(&y);
    if (y.rc || y.p->n_set != 1 || q.node[f.in].set < 0) return;
    if (take(&y, "*"))
        min = 0, max = INT32_MAX;
    else if (take(&y, "+"))
        max = INT32_MAX;
    else if (take(&y, "?"))
        min = 0;
    else
        take_bounds(&y, &min, &max);
    bool end = take(&y, "$");
    if ((!end && mode == PATTERN_SEARCH) || y.at != y.text.n || y.rc) return;
    p->simple = true;
    p->of = q.set[0];
    p->min = min;
    p->max = max;
}

static struct pattern *parse_one(struct arena *a, struct str text, enum pattern_mode mode, bool at_start,
                                 struct err *e, int *rc)
{
    struct parser x = {.a = a, .text = text, .p = ARENA_NEW(a, struct pattern, 1), .e = e};
    if (!x.p) {
        *rc = err(e, ERR_MEMORY, "out of memory");
        return NULL;
    }
    struct fragment f = mode == PATTERN_SEARCH && !at_start ? any_text(&x) : of_nothing(&x);
    struct fragment body = alternatives(&x);
    if (!x.rc && x.at < text.n) fail(&x, ERR_FORMAT, "')' without '('");
    join(&x, &f, body);
    if (mode == PATTERN_SEARCH) join(&x, &f, any_text(&x));
    if (!x.rc) solve_anchors(&x, f);
    if (!x.rc) find_simple(&x, at_start ? PATTERN_SEARCH : mode);
    *rc = x.rc;
    return x.p;
}

/* The look-aheads at the beginning: what each says is and-ed to the rest. Returns where the rest begins. */
static size_t look_ahead_end(struct str text, size_t from)
{
    int depth = 0;
    bool in_class = false;
    for (size_t i = from; i < text.n; i++) {
        char c = text.p[i];
        if (c == '\\')
            i++;
        else if (in_class)
            in_class = c != ']';
        else if (c == '[')
            in_class = true;
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0)
            return i + 1;
    }
    return 0;
}

int pattern_parse(struct arena *a, struct str text, enum pattern_mode mode, struct pattern **out,
                  struct dfa **dfa, struct err *e)
{
    int rc = 0;
    size_t at = text.n && text.p[0] == '^' ? 1 : 0;
    struct dfa *all = NULL;
    *out = NULL;
    *dfa = NULL;
    if (mode == PATTERN_WHOLE || at)
        while (text.n - at > 3 && text.p[at] == '(' && text.p[at + 1] == '?' &&
               (text.p[at + 2] == '=' || text.p[at + 2] == '!')) {
            size_t end = look_ahead_end(text, at);
            struct dfa *d = NULL;
            if (!end) return err(e, ERR_FORMAT, "regular expression '%.*s': expected ')'", STR_ARG(text));
            struct pattern *p = parse_one(a, (struct str){text.p + at + 3, end - at - 4}, PATTERN_SEARCH, true, e, &rc);
            if (rc || (rc = dfa_of_pattern(a, p, &d, e))) return rc;
            if (text.p[at + 2] == '!' && (rc = dfa_not(a, d, &d, e))) return rc;
            if (!all)
                all = d;
            else if ((rc = dfa_and(a, all, d, &all, e)))
                return rc;
            at = end;
        }
    if (!all) {
        *out = parse_one(a, text, mode, false, e, &rc);
        return rc;
    }
    struct dfa *d = NULL;
    struct pattern *p = parse_one(a, (struct str){text.p + at, text.n - at}, mode, true, e, &rc);
    if (rc || (rc = dfa_of_pattern(a, p, &d, e)) || (rc = dfa_and(a, all, d, dfa, e))) return rc;
    return 0;
}
