/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Template source to tokens, by the rules of jinja2's lexer with trim_blocks and lstrip_blocks on:
 *
 *   text  {{ -      variable: whitespace before is cut with "-" only
 *   text  {% -      block, comment, raw: "-" cuts all whitespace before, "+" none, otherwise blanks back to
 *                   the line's start
 *   - }}  text      "-" cuts all whitespace after
 *   - %}  text      likewise; "+" nothing; otherwise one newline after a block, a comment or endraw (not
 *                   after raw)
 *
 * Line ends become "\n" first and one at the end of the source is dropped. "}}" and "%}" end a tag only
 * outside brackets. A sign right after "{{" belongs to the tag: "{{-1}}" prints 1.
 */
#include "token/template/template_int.h"

#include <errno.h>
#include <stdlib.h>

enum { BRACKETS_MAX = TEMPLATE_NEST_MAX };

struct lex {
    struct tmpl_run *c;
    struct tmpl_tokens *out;
    const char *s;
    size_t n, pos;
    size_t seen; /* bytes already counted in line and line_start */
    uint32_t line;
    size_t line_start;
    bool line_starting;      /* what was just read ended in a newline */
    char want[BRACKETS_MAX]; /* closing brackets expected */
    size_t n_want;
};

static const struct {
    char s[3];
    uint8_t op;
} OPS[] = {
    /* two characters first */
    {"//", OP_FLOORDIV}, {"**", OP_POW},   {"==", OP_EQ},      {"!=", OP_NE},      {">=", OP_GE},
    {"<=", OP_LE},       {"+", OP_ADD},    {"-", OP_SUB},      {"/", OP_DIV},      {"*", OP_MUL},
    {"%", OP_MOD},       {"~", OP_TILDE},  {"[", OP_LBRACKET}, {"]", OP_RBRACKET}, {"(", OP_LPAREN},
    {")", OP_RPAREN},    {"{", OP_LBRACE}, {"}", OP_RBRACE},   {">", OP_GT},       {"<", OP_LT},
    {"=", OP_ASSIGN},    {".", OP_DOT},    {":", OP_COLON},    {"|", OP_PIPE},     {",", OP_COMMA},
    {";", OP_SEMICOLON},
};

/* Sets the run's line and column to those of byte `at`, which never moves back. */
static void locate(struct lex *l, size_t at)
{
    for (; l->seen < at; l->seen++) {
        if (l->s[l->seen] == '\n') {
            l->line++;
            l->line_start = l->seen + 1;
        }
    }
    l->c->line = l->line;
    l->c->col = (uint32_t)(at - l->line_start + 1);
}

static int add(struct lex *l, size_t at, struct tmpl_token t)
{
    struct tmpl_tokens *o = l->out;
    if (o->n == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 256;
        struct tmpl_token *v = TMPL_NEW(l->c, struct tmpl_token, cap);
        if (!v) return l->c->code;
        if (o->n) memcpy(v, o->v, o->n * sizeof *v);
        o->v = v;
        o->cap = cap;
    }
    locate(l, at);
    t.line = l->c->line;
    t.col = l->c->col;
    o->v[o->n++] = t;
    return 0;
}

static bool looking(const struct lex *l, size_t at, const char *z)
{
    size_t n = strlen(z);
    return at <= l->n && l->n - at >= n && memcmp(l->s + at, z, n) == 0;
}

static size_t skip_space(const struct lex *l, size_t at)
{
    while (at < l->n) {
        uint32_t cp;
        size_t k = tmpl_utf8_next(l->s + at, l->n - at, &cp);
        if (!tmpl_cp_space(cp)) break;
        at += k;
    }
    return at;
}

/* Start of the whitespace that ends at `to`, not before `from`. */
static size_t back_space(const struct lex *l, size_t from, size_t to)
{
    while (to > from) {
        size_t k = to - 1;
        uint32_t cp;
        while (k > from && ((unsigned char)l->s[k] & 0xC0) == 0x80) k--;
        tmpl_utf8_next(l->s + k, to - k, &cp);
        if (!tmpl_cp_space(cp)) break;
        to = k;
    }
    return to;
}

/* Text [from, to) before a tag with the given sign; lstrip says that blanks before the tag go. */
static int add_data(struct lex *l, size_t from, size_t to, char sign, bool lstrip)
{
    if (sign == '-') {
        to = back_space(l, from, to);
    } else if (sign != '+' && lstrip) {
        size_t nl = to;
        while (nl > from && l->s[nl - 1] != '\n') nl--;
        if ((nl > from || l->line_starting) && back_space(l, nl, to) == nl) to = nl;
    }
    if (to == from) return 0;
    return add(l, from, (struct tmpl_token){.type = TT_DATA, .s = {l->s + from, to - from}});
}

/* If a tag of `close` ("%}", "#}", "}}") ends at `at`, returns the position after it and what it trims, else
 * 0. */
static size_t tag_end(const struct lex *l, size_t at, const char *close, bool plus, bool trim)
{
    if (at < l->n && l->s[at] == '-' && looking(l, at + 1, close)) return skip_space(l, at + 3);
    if (plus && at < l->n && l->s[at] == '+' && looking(l, at + 1, close)) return at + 3;
    if (!looking(l, at, close)) return 0;
    at += 2;
    return trim && at < l->n && l->s[at] == '\n' ? at + 1 : at;
}

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

static bool name_byte(char ch, bool first)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_' || (unsigned char)ch >= 0x80 ||
           (!first && is_digit(ch));
}

static int digit_of(char ch)
{
    if (is_digit(ch)) return ch - '0';
    if (ch >= 'a' && ch <= 'f') return ch - 'a' + 10;
    if (ch >= 'A' && ch <= 'F') return ch - 'A' + 10;
    return 99;
}

/* Length of (\d+_)*\d+ at `at`. */
static size_t digits(const struct lex *l, size_t at)
{
    size_t p = at;
    while (p < l->n && (is_digit(l->s[p]) || (l->s[p] == '_' && p > at && is_digit(l->s[p - 1]) &&
                                              p + 1 < l->n && is_digit(l->s[p + 1]))))
        p++;
    return p - at;
}

static size_t exponent(const struct lex *l, size_t at)
{
    size_t p = at;
    if (p >= l->n || (l->s[p] != 'e' && l->s[p] != 'E')) return 0;
    p++;
    if (p < l->n && (l->s[p] == '+' || l->s[p] == '-')) p++;
    size_t k = digits(l, p);
    return k ? p + k - at : 0;
}

static int lex_number(struct lex *l)
{
    size_t at = l->pos, n = digits(l, at), frac = 0, ex;
    bool after_dot = at > 0 && l->s[at - 1] == '.';
    if (!after_dot) {
        if (at + n < l->n && l->s[at + n] == '.' && (frac = digits(l, at + n + 1)) != 0) frac++;
        ex = exponent(l, at + n + frac);
        if (frac || ex) {
            char z[512];
            size_t k = 0;
            n += frac + ex;
            for (size_t i = at; i < at + n; i++) {
                if (l->s[i] == '_') continue;
                if (k + 1 == sizeof z)
                    return tmpl_err(l->c, ERR_LIMIT, "a number of %zu characters is too long", n);
                z[k++] = l->s[i];
            }
            l->pos += n;
            return add(l, at, (struct tmpl_token){.type = TT_FLOAT, .f = (z[k] = 0, strtod(z, NULL))});
        }
    }
    int base = 10;
    size_t p = at;
    if (l->s[at] == '0') {
        char x = at + 1 < l->n ? (char)(l->s[at + 1] | 0x20) : 0;
        base = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 10;
        if (base != 10) {
            p = at + 2;
            if (p < l->n && l->s[p] == '_') p++;
            if (p >= l->n || digit_of(l->s[p]) >= base) base = 10, p = at;
        }
    }
    int64_t v = 0;
    bool zero = base == 10 && l->s[at] == '0'; /* only more zeros may follow */
    for (; p < l->n; p++) {
        if (l->s[p] == '_' && p + 1 < l->n && digit_of(l->s[p + 1]) < (zero ? 1 : base)) continue;
        int d = digit_of(l->s[p]);
        if (d >= (zero ? 1 : base)) break;
        if (__builtin_mul_overflow(v, (int64_t)base, &v) || __builtin_add_overflow(v, (int64_t)d, &v))
            return tmpl_err(l->c, ERR_LIMIT, "the number does not fit into 64 bits");
    }
    l->pos = p;
    return add(l, at, (struct tmpl_token){.type = TT_INT, .i = v});
}

/* One escape sequence at s[i] == '\\'; writes to p, returns bytes read, or 0 with the run's error set. */
static size_t unescape(struct lex *l, const char *s, size_t n, char *p, size_t *wrote)
{
    static const char SIMPLE[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    *wrote = 0;
    if (s[1] == '\n') return 2;
    for (size_t k = 0; SIMPLE[k]; k += 2) {
        if (SIMPLE[k] != s[1]) continue;
        p[(*wrote)++] = SIMPLE[k + 1];
        return 2;
    }
    if (s[1] >= '0' && s[1] <= '7') {
        size_t k = 1;
        uint32_t v = 0;
        for (; k < n && k < 4 && s[k] >= '0' && s[k] <= '7'; k++) v = v * 8 + (uint32_t)(s[k] - '0');
        *wrote = tmpl_utf8_put(v, p);
        return k;
    }
    size_t want = s[1] == 'x' ? 2 : s[1] == 'u' ? 4 : s[1] == 'U' ? 8 : 0;
    if (want) {
        uint32_t v = 0;
        for (size_t k = 2; k < 2 + want; k++) {
            if (k >= n || digit_of(s[k]) > 15) {
                tmpl_err(l->c, ERR_FORMAT, "the escape \\%c in a string needs %zu hexadecimal digits", s[1],
                         want);
                return 0;
            }
            v = v * 16 + (uint32_t)digit_of(s[k]);
        }
        if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) {
            tmpl_err(l->c, ERR_FORMAT, "the escape \\%c in a string is not a Unicode character", s[1]);
            return 0;
        }
        *wrote = tmpl_utf8_put(v, p);
        return 2 + want;
    }
    if (s[1] == 'N') {
        tmpl_err(l->c, ERR_UNSUPPORTED, "the escape \\N in a string is not supported; use \\u");
        return 0;
    }
    p[(*wrote)++] = '\\';
    /* Python writes such a character as an escape first and then reads "\\" */
    if ((unsigned char)s[1] >= 0x80) {
        uint32_t cp;
        size_t k = tmpl_utf8_next(s + 1, n - 1, &cp);
        *wrote += (size_t)snprintf(p + 1, 12, cp < 0x100 ? "x%02x" : cp < 0x10000 ? "u%04x" : "U%08x", cp);
        return 1 + k;
    }
    p[(*wrote)++] = s[1];
    return 2;
}

static int lex_string(struct lex *l)
{
    size_t at = l->pos, end = at + 1;
    char q = l->s[at];
    while (end < l->n && l->s[end] != q) end += l->s[end] == '\\' ? 2 : 1;
    if (end >= l->n) return tmpl_err(l->c, ERR_FORMAT, "a string that starts here has no end");
    size_t n = end - at - 1, k = 0;
    char *p = tmpl_bytes(l->c, 4 * n + 16); /* an escape of 3 bytes may become 11 */
    if (!p) return l->c->code;
    for (size_t i = at + 1; i < end;) {
        if (l->s[i] != '\\') {
            p[k++] = l->s[i++];
            continue;
        }
        size_t wrote, used = unescape(l, l->s + i, end - i, p + k, &wrote);
        if (!used) return l->c->code;
        i += used;
        k += wrote;
    }
    l->pos = end + 1;
    return add(l, at, (struct tmpl_token){.type = TT_STRING, .s = {p, k}});
}

static int lex_op(struct lex *l)
{
    size_t at = l->pos;
    for (size_t i = 0; i < sizeof OPS / sizeof *OPS; i++) {
        if (!looking(l, at, OPS[i].s)) continue;
        char ch = OPS[i].s[0];
        if (ch == '(' || ch == '[' || ch == '{') {
            if (l->n_want == BRACKETS_MAX)
                return tmpl_err(l->c, ERR_LIMIT, "more than %d brackets inside each other", BRACKETS_MAX);
            l->want[l->n_want++] = ch == '(' ? ')' : ch == '[' ? ']' : '}';
        } else if (ch == ')' || ch == ']' || ch == '}') {
            if (!l->n_want) return tmpl_err(l->c, ERR_FORMAT, "unexpected '%c'", ch);
            if (l->want[--l->n_want] != ch)
                return tmpl_err(l->c, ERR_FORMAT, "unexpected '%c', expected '%c'", ch, l->want[l->n_want]);
        }
        l->pos += strlen(OPS[i].s);
        return add(l, at, (struct tmpl_token){.type = TT_OP, .op = OPS[i].op});
    }
    if ((unsigned char)l->s[at] < 0x20 || (unsigned char)l->s[at] > 0x7e)
        return tmpl_err(l->c, ERR_FORMAT, "unexpected byte 0x%02x", (unsigned char)l->s[at]);
    return tmpl_err(l->c, ERR_FORMAT, "unexpected character '%c'", l->s[at]);
}

/* Inside {{ }} or {% %} up to the end of the tag. */
static int lex_tag(struct lex *l, bool variable)
{
    int code;
    l->n_want = 0;
    for (;;) {
        size_t at = l->pos;
        locate(l, at);
        if (l->n_want == 0) {
            size_t end = tag_end(l, at, variable ? "}}" : "%}", !variable, !variable);
            if (end) {
                if ((code = add(l, at, (struct tmpl_token){.type = variable ? TT_VAR_END : TT_BLOCK_END})) <
                    0)
                    return code;
                l->pos = end;
                l->line_starting = l->s[end - 1] == '\n';
                return 0;
            }
        }
        if (at >= l->n) return 0; /* the parser says what is missing */
        size_t next = skip_space(l, at);
        if (next != at) {
            l->pos = next;
            continue;
        }
        char ch = l->s[at];
        if (is_digit(ch))
            code = lex_number(l);
        else if (ch == '\'' || ch == '"')
            code = lex_string(l);
        else if (name_byte(ch, true)) {
            size_t end = at;
            while (end < l->n && name_byte(l->s[end], false)) end++;
            l->pos = end;
            code = add(l, at, (struct tmpl_token){.type = TT_NAME, .s = {l->s + at, end - at}});
        } else
            code = lex_op(l);
        if (code < 0) return code;
    }
}

/* Position after "{% [-+] raw %}" at `at`, or 0. */
static size_t raw_begin(const struct lex *l, size_t at)
{
    at += 2;
    if (at < l->n && (l->s[at] == '-' || l->s[at] == '+')) at++;
    at = skip_space(l, at);
    if (!looking(l, at, "raw")) return 0;
    at = skip_space(l, at + 3);
    return tag_end(l, at, "%}", false, false);
}

static int lex_raw(struct lex *l)
{
    size_t from = l->pos;
    for (size_t at = from; at + 1 < l->n; at++) {
        if (!looking(l, at, "{%")) continue;
        char sign = at + 2 < l->n ? l->s[at + 2] : 0;
        if (sign != '-' && sign != '+') sign = 0;
        size_t p = skip_space(l, at + 2 + (sign != 0));
        if (!looking(l, p, "endraw")) continue;
        size_t end = tag_end(l, skip_space(l, p + 6), "%}", true, true);
        if (!end) continue;
        int code = add_data(l, from, at, sign, true);
        l->pos = end;
        l->line_starting = l->s[end - 1] == '\n';
        return code;
    }
    return tmpl_err(l->c, ERR_FORMAT, "a raw block has no {%% endraw %%}");
}

static int lex_comment(struct lex *l)
{
    for (size_t at = l->pos; at + 1 < l->n; at++) {
        size_t end = tag_end(l, at, "#}", true, true);
        if (!end) continue;
        l->pos = end;
        l->line_starting = l->s[end - 1] == '\n';
        return 0;
    }
    return tmpl_err(l->c, ERR_FORMAT, "a comment has no end");
}

/* Copies the source with "\n" line ends and without the last one; checks that it is UTF-8. */
static int normalise(struct lex *l, struct str s)
{
    char *p = tmpl_bytes(l->c, s.n + 1);
    size_t k = 0;
    if (!p) return l->c->code;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t m = tmpl_utf8_next(s.p + i, s.n - i, &cp);
        if (cp == 0xFFFD && !(m == 3 && memcmp(s.p + i, "\xEF\xBF\xBD", 3) == 0))
            return tmpl_err(l->c, ERR_FORMAT, "byte %zu of the template is not UTF-8", i);
        if (s.p[i] == '\r') {
            p[k++] = '\n';
            i += i + 1 < s.n && s.p[i + 1] == '\n' ? 2 : 1;
            continue;
        }
        memcpy(p + k, s.p + i, m);
        k += m;
        i += m;
    }
    if (k && p[k - 1] == '\n') k--;
    l->s = p;
    l->n = k;
    return 0;
}

int tmpl_lex(struct tmpl_run *c, struct str source, struct tmpl_tokens *out)
{
    struct lex l = {.c = c, .out = out, .line = 1, .line_starting = true};
    int code = normalise(&l, source);
    while (code == 0 && l.pos < l.n) {
        size_t from = l.pos, at = from, raw = 0;
        while (at + 1 < l.n &&
               !(l.s[at] == '{' && (l.s[at + 1] == '{' || l.s[at + 1] == '%' || l.s[at + 1] == '#')))
            at++;
        if (at + 1 >= l.n) {
            l.pos = l.n;
            code = add(&l, from, (struct tmpl_token){.type = TT_DATA, .s = {l.s + from, l.n - from}});
            break;
        }
        char kind = l.s[at + 1], sign = at + 2 < l.n ? l.s[at + 2] : 0;
        if (sign != '-' && sign != '+') sign = 0;
        if ((code = add_data(&l, from, at, sign, kind != '{')) < 0) break;
        locate(&l, at);
        l.pos = at + 2 + (sign != 0);
        if (kind == '%' && (raw = raw_begin(&l, at)) != 0) {
            l.pos = raw;
            l.line_starting = l.s[raw - 1] == '\n';
            code = lex_raw(&l);
        } else if (kind == '#') {
            code = lex_comment(&l);
        } else {
            code = add(&l, at, (struct tmpl_token){.type = kind == '{' ? TT_VAR_BEGIN : TT_BLOCK_BEGIN});
            if (code == 0) code = lex_tag(&l, kind == '{');
        }
    }
    if (code < 0) return code;
    return add(&l, l.n, (struct tmpl_token){.type = TT_EOF});
}
