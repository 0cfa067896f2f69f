/* SPDX-License-Identifier: Apache-2.0 */
/* See regex.h. */
#include "folder/regex.h"

#include "token/tokenizer/uclass.h"

struct walk {
    struct str in;
    size_t at;
    struct buf *out;
    struct err *e;
};

static const struct {
    const char *name, *inside;
} classes[] = {
    {"L", UC_L},   {"Lu", UC_LU}, {"Lt", UC_LT}, {"Ll", UC_LL}, {"Lm", UC_LM},   {"Lo", UC_LO},
    {"M", UC_M},   {"N", UC_N},   {"Nd", UC_ND}, {"P", UC_P},   {"S", UC_S},     {"Han", UC_HAN},
};

static int refuse(const struct walk *w, const char *what)
{
    return err(w->e, ERR_UNSUPPORTED, "tokenizer.json: %s at byte %zu of the pattern '%.*s' is not supported",
               what, w->at, STR_ARG(w->in));
}

static bool next_is(const struct walk *w, const char *z)
{
    return str_starts((struct str){w->in.p + w->at, w->in.n - w->at}, str_from(z));
}

/* \p{L}, \P{L}, \p{^L}: w->at stands on the p. */
static int property(struct walk *w, const char **inside, bool *negated)
{
    const char *from = w->in.p + w->at + 2, *end = memchr(w->in.p + w->at, '}', w->in.n - w->at);
    *negated = w->in.p[w->at] == 'P';
    if (w->in.n - w->at < 4 || from[-1] != '{' || !end) return refuse(w, "a property without braces");
    if (*from == '^') *negated = !*negated, from++;
    struct str name = {from, (size_t)(end - from)};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (!str_eqz(name, classes[i].name)) continue;
        *inside = classes[i].inside;
        w->at = (size_t)(end - w->in.p) + 1;
        return 0;
    }
    return refuse(w, "this property");
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* \x41, \x{4E00}, \u4E00: w->at stands on the letter. */
static int code_point(struct walk *w)
{
    bool braces = w->in.p[w->at] == 'x' && w->at + 1 < w->in.n && w->in.p[w->at + 1] == '{';
    size_t i = w->at + 1 + braces, max = braces ? 6 : w->in.p[w->at] == 'u' ? 4 : 2, n = 0;
    unsigned v = 0;
    for (; i < w->in.n && n < max && hex(w->in.p[i]) >= 0; i++, n++) v = v * 16 + (unsigned)hex(w->in.p[i]);
    if (n == 0 || (!braces && n != max) || (braces && (i == w->in.n || w->in.p[i] != '}')))
        return refuse(w, "a code point that is not hexadecimal");
    if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) return refuse(w, "a code point outside Unicode");
    w->at = i + braces;
    buf_printf(w->out, "\\x{%X}", v);
    return 0;
}

/* Behind a backslash. in_class: only what stands for characters to be listed. *many: it was a class, not one
 * character. */
static int escape(struct walk *w, bool in_class, bool *many)
{
    const char *inside = NULL;
    bool negated = false;
    int rc;
    *many = false;
    if (w->at == w->in.n) return refuse(w, "a backslash at the end");
    char c = w->in.p[w->at];
    switch (c) {
    case 'r':
    case 'n':
    case 't':
    case 'f':
        w->at++;
        buf_printf(w->out, "\\%c", c);
        return 0;
    case 'x':
    case 'u': return code_point(w);
    case 's':
    case 'S':
    case 'd':
    case 'D':
        inside = c == 's' || c == 'S' ? UC_SPACE : UC_ND;
        negated = c == 'S' || c == 'D';
        w->at++;
        break;
    case 'p':
    case 'P':
        if ((rc = property(w, &inside, &negated))) return rc;
        break;
    default:
        if ((unsigned char)c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
            (c >= 'A' && c <= 'Z') || c < 0x20)
            return refuse(w, "this escape");
        w->at++;
        buf_printf(w->out, "\\%c", c);
        return 0;
    }
    *many = true;
    if (in_class && negated) return refuse(w, "a negated class inside another");
    if (in_class) return buf_append_z(w->out, inside);
    buf_printf(w->out, "[%s%s]", negated ? "^" : "", inside);
    return 0;
}

static int bracket(struct walk *w) /* w->at stands behind the [ */
{
    bool many = true; /* a hyphen here stands for itself */
    buf_append_char(w->out, '[');
    if (next_is(w, "^")) w->at++, buf_append_char(w->out, '^');
    for (size_t first = w->at; w->at < w->in.n;) {
        char c = w->in.p[w->at];
        int rc;
        if (c == ']' && w->at == first) return refuse(w, "an empty class");
        if (c == '[') return refuse(w, "a class inside another");
        if (c == '&' && next_is(w, "&&")) return refuse(w, "an intersection of classes");
        w->at++;
        if (c == ']') {
            buf_append_char(w->out, ']');
            return 0;
        }
        if (c == '\\') {
            if ((rc = escape(w, true, &many))) return rc;
            continue;
        }
        if (c == '-' && (many || next_is(w, "]") || next_is(w, "\\p") || next_is(w, "\\s") || next_is(w, "\\d"))) {
            buf_append_z(w->out, "\\-");
            continue;
        }
        buf_append_char(w->out, c);
        many = false;
    }
    return refuse(w, "a class without its end");
}

static int group(struct walk *w) /* w->at stands behind the ( */
{
    static const char *const known[] = {"?:", "?i:", "?=", "?!", "?<=", "?<!", "?>"};
    if (!next_is(w, "?")) {
        buf_append_z(w->out, "(?:"); /* nothing is captured */
        return 0;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!next_is(w, known[i])) continue;
        buf_printf(w->out, "(%s", known[i]);
        w->at += strlen(known[i]);
        return 0;
    }
    return refuse(w, "this kind of group");
}

static int repeat(struct walk *w) /* w->at stands behind the { */
{
    size_t i = w->at, digits = 0;
    for (; i < w->in.n && w->in.p[i] >= '0' && w->in.p[i] <= '9'; i++) digits++;
    bool ok = digits > 0 && digits <= 4;
    if (ok && i < w->in.n && w->in.p[i] == ',') {
        digits = 0;
        for (i++; i < w->in.n && w->in.p[i] >= '0' && w->in.p[i] <= '9'; i++) digits++;
        ok = digits <= 4;
    }
    if (!ok || i == w->in.n || w->in.p[i] != '}') return refuse(w, "a brace that is no count");
    buf_append_char(w->out, '{');
    buf_append(w->out, w->in.p + w->at, i + 1 - w->at);
    w->at = i + 1;
    return 0;
}

static int translate(struct walk *w)
{
    int rc = 0;
    bool many;
    while (w->at < w->in.n && !rc) {
        char c = w->in.p[w->at++];
        switch (c) {
        case '\\': rc = escape(w, false, &many); break;
        case '[': rc = bracket(w); break;
        case '(': rc = group(w); break;
        case '{': rc = repeat(w); break;
        case '.': buf_append_z(w->out, "[^\\n]"); break;
        case '^':
        case '$': w->at--; return refuse(w, "an anchor");
        case 0: return refuse(w, "a NUL");
        default: buf_append_char(w->out, c);
        }
    }
    return rc;
}

int regex_translate(struct str pattern, struct buf *out, struct err *e)
{
    static const struct {
        const char *pattern, *code;
    } known[] = {{"\\s+$", "@trailing-space"}, {"(?=(\\d{3})+(?!\\d))", "@digits-right"}};
    struct walk w = {.in = pattern, .out = out, .e = e};
    int rc = 0;
    size_t i = 0;
    while (i < sizeof known / sizeof *known && !str_eqz(pattern, known[i].pattern)) i++;
    if (pattern.n == 0) return refuse(&w, "nothing");
    if (i < sizeof known / sizeof *known)
        buf_append_z(out, known[i].code);
    else
        rc = translate(&w);
    return rc ? rc
           : out->failed
               ? err(e, out->failed, "tokenizer.json: the pattern '%.*s' is too long", STR_ARG(pattern))
               : 0;
}

int regex_quote(struct str text, struct buf *out, struct err *e)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = c >= 0x80 || c == ' ' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z');
        if (c < 0x20)
            buf_printf(out, "\\x{%X}", c);
        else
            buf_printf(out, plain ? "%c" : "\\%c", c);
    }
    if (text.n == 0) return err(e, ERR_UNSUPPORTED, "tokenizer.json: a split at nothing");
    return out->failed ? err(e, out->failed, "tokenizer.json: a split text is too long") : 0;
}
