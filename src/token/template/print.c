/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values as text, in the spelling of Python: str(), repr(), json.dumps(), the shortest decimal of a double,
 * and the readings of int() and float(). Bytes of a string keep their marks, also inside quotes; what is
 * added around them (quotes, commas, brackets, digits) is trusted only if the container or number came from
 * the template itself.
 */
#include "token/template/template_int.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- numbers -------------------------------------------------------------------------------------------- */

enum { FLOAT_REPR_MAX = 32 }; /* as template_int.h promises */

size_t tmpl_float_repr(double f, char *p)
{
    char digits[40];
    if (isnan(f)) return (size_t)snprintf(p, FLOAT_REPR_MAX, "nan");
    if (isinf(f)) return (size_t)snprintf(p, FLOAT_REPR_MAX, f < 0 ? "-inf" : "inf");
    int prec = 1;
    do { /* the fewest digits that read back as the same double */
        snprintf(digits, sizeof digits, "%.*e", prec - 1, f);
    } while (strtod(digits, NULL) != f && ++prec <= 17);
    char *e = strchr(digits, 'e');
    int exp = (int)strtol(e + 1, NULL, 10);
    if (exp >= -4 && exp < 16) {
        int after = prec - 1 - exp; /* digits after the point */
        return (size_t)snprintf(p, FLOAT_REPR_MAX, "%.*f", after > 0 ? after : 1, f);
    }
    *e = 0;
    return (size_t)snprintf(p, FLOAT_REPR_MAX, "%se%c%02d", digits, exp < 0 ? '-' : '+', abs(exp));
}

static bool space_at(struct str s, size_t at, size_t *len)
{
    uint32_t cp;
    *len = tmpl_utf8_next(s.p + at, s.n - at, &cp);
    return tmpl_cp_space(cp);
}

static struct str trim(struct str s)
{
    size_t k;
    while (s.n && space_at(s, 0, &k)) {
        s.p += k;
        s.n -= k;
    }
    for (;;) {
        size_t at = s.n;
        while (at > 0 && ((unsigned char)s.p[at - 1] & 0xC0) == 0x80) at--;
        if (at == 0 || !space_at(s, at - 1, &k) || at - 1 + k != s.n) return s;
        s.n = at - 1;
    }
}

static int digit_of(char ch)
{
    if (ch >= '0' && ch <= '9') return ch - '0';
    if (ch >= 'a' && ch <= 'z') return ch - 'a' + 10;
    if (ch >= 'A' && ch <= 'Z') return ch - 'A' + 10;
    return 99;
}

int tmpl_parse_int(struct str s, int base, int64_t *out)
{
    s = trim(s);
    size_t i = 0;
    int64_t v = 0;
    bool minus = s.n && s.p[0] == '-', digit = false;
    if (s.n && (s.p[0] == '-' || s.p[0] == '+')) i++;
    if (i + 1 < s.n && s.p[i] == '0') {
        char x = (char)(s.p[i + 1] | 0x20);
        int prefix = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 0;
        if (prefix && (base == prefix || base == 0)) {
            base = prefix;
            i += 2;
            if (i < s.n && s.p[i] == '_') i++;
        }
    }
    if (base == 0) base = 10;
    for (; i < s.n; i++) {
        if (s.p[i] == '_' && digit && i + 1 < s.n) {
            digit = false;
            continue;
        }
        int d = digit_of(s.p[i]);
        if (d >= base) return ERR_FORMAT;
        digit = true;
        if (__builtin_mul_overflow(v, (int64_t)base, &v) || __builtin_sub_overflow(v, (int64_t)d, &v))
            return ERR_LIMIT;
    }
    if (!digit) return ERR_FORMAT;
    if (!minus && v == INT64_MIN) return ERR_LIMIT;
    *out = minus ? v : -v; /* gathered as a negative number */
    return 0;
}

int tmpl_parse_float(struct str s, double *out)
{
    char z[512];
    size_t k = 0, i = 0;
    s = trim(s);
    bool sign = s.n && (s.p[0] == '-' || s.p[0] == '+');
    static const char *const WORD[] = {"inf", "infinity", "nan"};
    for (int w = 0; w < 3; w++) {
        size_t n = strlen(WORD[w]);
        if (s.n - sign != n) continue;
        bool same = true;
        for (size_t j = 0; j < n; j++) same &= (s.p[sign + j] | 0x20) == WORD[w][j];
        if (!same) continue;
        *out = w == 2 ? (double)NAN : (double)INFINITY;
        if (s.p[0] == '-') *out = -*out;
        return 0;
    }
    for (i = sign; i < s.n; i++) {
        char ch = s.p[i], last = i > sign ? s.p[i - 1] : 0;
        bool digit = ch >= '0' && ch <= '9';
        bool ok = digit || ch == '.' || ch == 'e' || ch == 'E' ||
                  ((ch == '+' || ch == '-') && (last | 0x20) == 'e');
        if (ch == '_')
            ok = last >= '0' && last <= '9' && i + 1 < s.n && s.p[i + 1] >= '0' && s.p[i + 1] <= '9';
        if (!ok || k + 3 > sizeof z) return ERR_FORMAT;
        if (ch == '_') continue;
        z[1 + k++] = ch;
    }
    if (k == 0) return ERR_FORMAT;
    z[0] = s.p[0] == '-' ? '-' : '+';
    z[1 + k] = 0;
    char *end;
    *out = strtod(z, &end);
    return *end ? ERR_FORMAT : 0;
}

static int put_number(struct tmpl_build *b, struct tval v)
{
    char z[400]; /* "%.1f" of a double below 1e16 is short, but the compiler cannot know */
    if (v.type == TV_BOOL) return tmpl_build_z(b, v.u.b ? "True" : "False", v.trusted);
    if (v.type == TV_FLOAT)
        tmpl_float_repr(v.u.f, z);
    else
        snprintf(z, sizeof z, "%" PRId64, v.u.i);
    return tmpl_build_z(b, z, v.trusted);
}

/* --- str and repr --------------------------------------------------------------------------------------- */

static int repr_char(struct tmpl_build *b, const struct text *t, size_t at, size_t n, uint32_t cp, char quote)
{
    char z[16];
    bool trusted = tmpl_text_trusted(t, at);
    if (cp == (uint32_t)quote || cp == '\\')
        snprintf(z, sizeof z, "\\%c", (char)cp);
    else if (cp == '\n')
        snprintf(z, sizeof z, "%s", "\\n");
    else if (cp == '\r')
        snprintf(z, sizeof z, "%s", "\\r");
    else if (cp == '\t')
        snprintf(z, sizeof z, "%s", "\\t");
    else if (tmpl_cp_printable(cp))
        return tmpl_build_part(b, t, at, n);
    else
        snprintf(z, sizeof z, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
    return tmpl_build_z(b, z, trusted);
}

static int repr_text(struct tmpl_build *b, const struct text *t, bool markup)
{
    bool single = t->n && memchr(t->p, '\'', t->n) && !memchr(t->p, '"', t->n),
         trusted = tmpl_text_trusted(t, 0);
    char quote = single ? '"' : '\'', q[2] = {quote, 0};
    int code = tmpl_step(b->c, t->n / 16);
    if (code == 0 && markup) code = tmpl_build_z(b, "Markup(", true);
    if (code == 0) code = tmpl_build_z(b, q, trusted);
    for (size_t at = 0; at < t->n && code == 0;) {
        uint32_t cp;
        size_t n = tmpl_utf8_next(t->p + at, t->n - at, &cp);
        code = repr_char(b, t, at, n, cp, quote);
        at += n;
    }
    if (code == 0) code = tmpl_build_z(b, q, trusted);
    if (code == 0 && markup) code = tmpl_build_z(b, ")", true);
    return code;
}

static int repr_list(struct tmpl_build *b, struct tval v)
{
    const struct tlist *l = v.u.list;
    bool tuple = v.type == TV_TUPLE;
    int code = tmpl_enter(b->c);
    if (code == 0) code = tmpl_build_z(b, tuple ? "(" : "[", v.trusted);
    for (size_t i = 0; i < l->n && code == 0; i++) {
        if (i) code = tmpl_build_z(b, ", ", v.trusted);
        if (code == 0 && (code = tmpl_step(b->c, 1)) == 0) code = tmpl_repr(b, l->v[i]);
    }
    if (code == 0 && tuple && l->n == 1) code = tmpl_build_z(b, ",", v.trusted);
    if (code == 0) code = tmpl_build_z(b, tuple ? ")" : "]", v.trusted);
    tmpl_leave(b->c);
    return code;
}

static int repr_pair(struct tmpl_build *b, const struct tpair *p, const char *sep, bool trusted)
{
    int code = tmpl_repr(b, p->k);
    if (code == 0) code = tmpl_build_z(b, sep, trusted);
    return code < 0 ? code : tmpl_repr(b, p->v);
}

static int repr_dict(struct tmpl_build *b, struct tval v)
{
    static const char *const OPEN[] = {"dict_keys([", "dict_values([", "dict_items(["};
    const struct tdict *d = v.u.dict;
    bool view = v.type == TV_VIEW, ns = v.type == TV_NS;
    int code = tmpl_enter(b->c);
    if (code == 0) code = tmpl_build_z(b, view ? OPEN[v.kind] : ns ? "<Namespace {" : "{", v.trusted);
    for (size_t i = 0; i < d->n && code == 0; i++) {
        if ((code = tmpl_step(b->c, 1)) < 0) break;
        if (i) code = tmpl_build_z(b, ", ", v.trusted);
        if (code < 0) break;
        if (!view) {
            code = repr_pair(b, &d->p[i], ": ", v.trusted);
        } else if (v.kind != VIEW_ITEMS) {
            code = tmpl_repr(b, v.kind == VIEW_KEYS ? d->p[i].k : d->p[i].v);
        } else {
            if ((code = tmpl_build_z(b, "(", v.trusted)) < 0 ||
                (code = repr_pair(b, &d->p[i], ", ", v.trusted)) < 0)
                break;
            code = tmpl_build_z(b, ")", v.trusted);
        }
    }
    if (code == 0) code = tmpl_build_z(b, view ? "])" : ns ? "}>" : "}", v.trusted);
    tmpl_leave(b->c);
    return code;
}

int tmpl_repr(struct tmpl_build *b, struct tval v)
{
    char z[128];
    switch (v.type) {
    case TV_UNDEF:
        return tmpl_build_z(b, "Undefined", true);
    case TV_NONE:
        return tmpl_build_z(b, "None", v.trusted);
    case TV_BOOL:
    case TV_INT:
    case TV_FLOAT:
        return put_number(b, v);
    case TV_STR:
        return repr_text(b, v.u.s, v.markup);
    case TV_LIST:
    case TV_TUPLE:
        return repr_list(b, v);
    case TV_DICT:
    case TV_VIEW:
    case TV_NS:
        return repr_dict(b, v);
    case TV_RANGE: {
        const struct trange *r = v.u.range;
        if (r->step == 1)
            snprintf(z, sizeof z, "range(%" PRId64 ", %" PRId64 ")", r->start, r->stop);
        else
            snprintf(z, sizeof z, "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")", r->start, r->stop, r->step);
        return tmpl_build_z(b, z, v.trusted);
    }
    case TV_MACRO: {
        int code = tmpl_build_z(b, "<Macro '", true);
        if (code == 0) code = tmpl_build_str(b, tmpl_macro_name(v.u.macro), true);
        return code < 0 ? code : tmpl_build_z(b, "'>", true);
    }
    default: /* Python shows an address here */
        snprintf(z, sizeof z, "<%s>", tmpl_type_name(v));
        return tmpl_build_z(b, z, true);
    }
}

int tmpl_print(struct tmpl_build *b, struct tval v)
{
    if (v.type == TV_STR) return tmpl_build_text(b, v.u.s);
    return v.type == TV_UNDEF ? 0 : tmpl_repr(b, v);
}

int tmpl_to_str(struct tmpl_run *c, struct tval v, struct tval *out)
{
    struct tmpl_build b;
    if (v.type == TV_STR) {
        *out = v;
        return 0;
    }
    int code = tmpl_build_init(&b, c);
    if (code == 0) code = tmpl_print(&b, v);
    return code < 0 ? code : tmpl_build_done(&b, out);
}

/* --- JSON ----------------------------------------------------------------------------------------------- */

static int json_text(struct tmpl_build *b, const struct text *t, bool ascii)
{
    bool trusted = tmpl_text_trusted(t, 0);
    size_t from = 0;
    int code = tmpl_build_z(b, "\"", trusted);
    for (size_t at = 0; at < t->n && code == 0;) {
        char z[16];
        uint32_t cp;
        size_t n = tmpl_utf8_next(t->p + at, t->n - at, &cp);
        if (cp == '"' || cp == '\\')
            snprintf(z, sizeof z, "\\%c", (char)cp);
        else if (cp == '\n')
            snprintf(z, sizeof z, "%s", "\\n");
        else if (cp == '\r')
            snprintf(z, sizeof z, "%s", "\\r");
        else if (cp == '\t')
            snprintf(z, sizeof z, "%s", "\\t");
        else if (cp == '\b')
            snprintf(z, sizeof z, "%s", "\\b");
        else if (cp == '\f')
            snprintf(z, sizeof z, "%s", "\\f");
        else if (cp < 0x20 || (ascii && cp >= 0x7F && cp < 0x10000))
            snprintf(z, sizeof z, "\\u%04x", cp);
        else if (ascii && cp >= 0x10000)
            snprintf(z, sizeof z, "\\u%04x\\u%04x", 0xD7C0 + (cp >> 10), 0xDC00 + (cp & 0x3FF));
        else {
            at += n;
            continue;
        }
        if ((code = tmpl_build_part(b, t, from, at - from)) == 0)
            code = tmpl_build_z(b, z, tmpl_text_trusted(t, at));
        at += n;
        from = at;
    }
    if (code == 0) code = tmpl_build_part(b, t, from, t->n - from);
    return code < 0 ? code : tmpl_build_z(b, "\"", trusted);
}

static int json_number(struct tmpl_build *b, struct tval v)
{
    if (v.type == TV_BOOL) return tmpl_build_z(b, v.u.b ? "true" : "false", v.trusted);
    if (v.type == TV_FLOAT && isnan(v.u.f)) return tmpl_build_z(b, "NaN", v.trusted);
    if (v.type == TV_FLOAT && isinf(v.u.f))
        return tmpl_build_z(b, v.u.f < 0 ? "-Infinity" : "Infinity", v.trusted);
    return put_number(b, v);
}

/* Line break and indentation where there is an indent. */
static int json_break(struct tmpl_build *b, const struct tmpl_json *o, unsigned level, bool trusted)
{
    if (!o->indent) return 0;
    int code = tmpl_build_z(b, "\n", trusted);
    for (unsigned i = 0; i < level && code == 0; i++)
        code = tmpl_build_bytes(b, o->indent->p, NULL, trusted, o->indent->n);
    return code;
}

static int json_comma(struct tmpl_build *b, const struct tmpl_json *o, bool trusted)
{
    if (o->sep_item) return tmpl_build_text(b, o->sep_item);
    return tmpl_build_z(b, o->indent ? "," : ", ", trusted);
}

static int json_key(struct tmpl_build *b, struct tval k, const struct tmpl_json *o, bool trusted)
{
    int code;
    if (k.type == TV_STR) {
        code = json_text(b, k.u.s, o->ascii);
    } else if (tmpl_is_num(k) || k.type == TV_NONE) {
        if ((code = tmpl_build_z(b, "\"", k.trusted)) < 0 || (code = tmpl_json(b, k, o, 0)) < 0) return code;
        code = tmpl_build_z(b, "\"", k.trusted);
    } else {
        return tmpl_err(b->c, ERR_FORMAT, "a %s cannot be a key in JSON", tmpl_type_name(k));
    }
    if (code < 0) return code;
    return o->sep_key ? tmpl_build_text(b, o->sep_key) : tmpl_build_z(b, ": ", trusted);
}

static int json_dict(struct tmpl_build *b, struct tval v, const struct tmpl_json *o, unsigned level)
{
    struct tdict d = *v.u.dict;
    int code = 0;
    if (o->sort && d.n) {
        struct tval *pair = TMPL_NEW(b->c, struct tval, d.n), *key = TMPL_NEW(b->c, struct tval, d.n);
        struct tpair *p = TMPL_NEW(b->c, struct tpair, d.n);
        if (!pair || !key || !p) return b->c->code;
        for (size_t i = 0; i < d.n; i++) {
            pair[i] = tmpl_int((int64_t)i, true);
            key[i] = d.p[i].k;
        }
        if ((code = tmpl_sort(b->c, pair, key, d.n, false)) < 0) return code;
        for (size_t i = 0; i < d.n; i++) p[i] = d.p[pair[i].u.i];
        d.p = p;
    }
    code = tmpl_build_z(b, "{", v.trusted);
    for (size_t i = 0; i < d.n && code == 0; i++) {
        if ((code = tmpl_step(b->c, 1)) < 0 || (i && (code = json_comma(b, o, v.trusted)) < 0) ||
            (code = json_break(b, o, level + 1, v.trusted)) < 0 ||
            (code = json_key(b, d.p[i].k, o, v.trusted)) < 0)
            return code;
        code = tmpl_json(b, d.p[i].v, o, level + 1);
    }
    if (code == 0 && d.n) code = json_break(b, o, level, v.trusted);
    return code < 0 ? code : tmpl_build_z(b, "}", v.trusted);
}

static int json_list(struct tmpl_build *b, struct tval v, const struct tmpl_json *o, unsigned level)
{
    const struct tlist *l = v.u.list;
    int code = tmpl_build_z(b, "[", v.trusted);
    for (size_t i = 0; i < l->n && code == 0; i++) {
        if ((code = tmpl_step(b->c, 1)) < 0 || (i && (code = json_comma(b, o, v.trusted)) < 0) ||
            (code = json_break(b, o, level + 1, v.trusted)) < 0)
            return code;
        code = tmpl_json(b, l->v[i], o, level + 1);
    }
    if (code == 0 && l->n) code = json_break(b, o, level, v.trusted);
    return code < 0 ? code : tmpl_build_z(b, "]", v.trusted);
}

int tmpl_json(struct tmpl_build *b, struct tval v, const struct tmpl_json *o, unsigned level)
{
    int code;
    switch (v.type) {
    case TV_NONE:
        return tmpl_build_z(b, "null", v.trusted);
    case TV_BOOL:
    case TV_INT:
    case TV_FLOAT:
        return json_number(b, v);
    case TV_STR:
        return json_text(b, v.u.s, o->ascii);
    case TV_LIST:
    case TV_TUPLE:
    case TV_DICT:
        if ((code = tmpl_enter(b->c)) < 0) return code;
        code = v.type == TV_DICT ? json_dict(b, v, o, level) : json_list(b, v, o, level);
        tmpl_leave(b->c);
        return code;
    default:
        return tmpl_err(b->c, ERR_FORMAT, "a value of type %s cannot be written as JSON", tmpl_type_name(v));
    }
}
