/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Python's two ways to format text for the template interpreter: "%-5s|%03d" % values, and
 * "{:>5}".format(values).
 *
 *   percent   % [(key)] [-+ 0#] [width or *] [.precision or *] s r d i u x X o c e E f F g G %
 *   braces    { [field] [!r or !s] [: [[fill]align][sign][#][0][width][, or _][.precision][type] ] }
 *   field     number or name, then .name and [key]; empty fields count by themselves
 *
 * Both end in a body (digits or text) that is padded to a width in code points. Widths and precisions have a
 * limit.
 */
#include "token/template/template_int.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { WIDTH_MAX = 100000, PRECISION_MAX = 100 };

struct spec {
    char align; /* '<' '>' '^' '=' */
    uint32_t fill;
    char sign; /* '+', ' ' or 0 */
    bool alt;
    int64_t width, precision; /* precision -1: not given */
    char group;               /* ',' or '_' between thousands, or 0 */
    char type;
};

static int pad(struct tmpl_build *b, const struct spec *s, const char *prefix, size_t body_cp, bool trusted,
               size_t *after)
{
    size_t n = strlen(prefix) + body_cp, gap = (size_t)s->width > n ? (size_t)s->width - n : 0, before = 0;
    if (s->align == '>' || s->align == '=') before = gap;
    if (s->align == '^') before = gap / 2;
    *after = gap - before;
    int code = s->align == '=' ? tmpl_build_z(b, prefix, trusted) : 0;
    if (code == 0) code = tmpl_build_fill(b, s->fill, before, trusted);
    if (code == 0 && s->align != '=') code = tmpl_build_z(b, prefix, trusted);
    return code;
}

static int put_body(struct tmpl_build *b, const struct spec *s, const char *prefix, const char *body,
                    bool trusted)
{
    size_t after;
    int code = pad(b, s, prefix, strlen(body), trusted, &after);
    if (code == 0) code = tmpl_build_z(b, body, trusted);
    return code < 0 ? code : tmpl_build_fill(b, s->fill, after, trusted);
}

static int put_text(struct tmpl_build *b, const struct spec *s, const struct text *t)
{
    size_t n_cp = t->n_cp, after;
    if (s->precision >= 0 && (uint64_t)s->precision < n_cp) n_cp = (size_t)s->precision;
    int code = pad(b, s, "", n_cp, tmpl_text_trusted(t, 0), &after);
    if (code == 0) code = tmpl_build_part(b, t, 0, tmpl_text_offset(t, n_cp));
    return code < 0 ? code : tmpl_build_fill(b, s->fill, after, tmpl_text_trusted(t, 0));
}

static void append(char *z, size_t cap, const char *tail)
{
    size_t n = strlen(z);
    snprintf(z + n, cap - n, "%s", tail);
}

/* Puts the separator between groups of three of the digits before the point. */
static void group_digits(char *z, size_t cap, char sep)
{
    size_t digits = strspn(z, "0123456789"), commas = digits ? (digits - 1) / 3 : 0, n = strlen(z);
    if (n + commas + 1 > cap) return;
    memmove(z + digits + commas, z + digits, n - digits + 1);
    for (size_t from = digits, to = digits + commas, k = 0; from > 0;) {
        z[--to] = z[--from];
        if (++k % 3 == 0 && from > 0) z[--to] = sep;
    }
}

static void sign_prefix(char *prefix, bool minus, char sign)
{
    size_t n = 0;
    if (minus || sign) prefix[n++] = minus ? '-' : sign;
    prefix[n] = 0;
}

static int put_int(struct tmpl_build *b, const struct spec *s, int64_t v, bool trusted)
{
    char prefix[8], z[256], *p = z + 160;
    int base = s->type == 'x' || s->type == 'X' ? 16 : s->type == 'o' ? 8 : s->type == 'b' ? 2 : 10;
    uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
    *p = 0;
    do {
        *--p = (s->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % (unsigned)base];
        u /= (unsigned)base;
    } while (u);
    while (s->precision >= 0 && z + 160 - p < s->precision) *--p = '0'; /* at most PRECISION_MAX */
    if (s->group) group_digits(p, (size_t)(z + sizeof z - p), s->group);
    sign_prefix(prefix, v < 0, s->sign);
    if (s->alt && base != 10) {
        size_t n = strlen(prefix);
        prefix[n] = '0';
        prefix[n + 1] = s->type;
        prefix[n + 2] = 0;
    }
    return put_body(b, s, prefix, p, trusted);
}

static int put_float(struct tmpl_build *b, const struct spec *s, double f, bool trusted)
{
    char prefix[8], z[1024];
    int prec = s->precision < 0 ? 6 : (int)s->precision;
    double a = fabs(f);
    char type = s->type;
    if (type == '%') {
        a *= 100;
        type = 'f';
    }
    if (type == 'F') type = 'f';
    if (type == 0 && s->precision < 0) {
        tmpl_float_repr(a, z);
    } else if (type == 0 || type == 'g' || type == 'G') {
        if (prec == 0) prec = 1;
        snprintf(z, sizeof z, s->alt ? "%#.*g" : type == 'G' ? "%.*G" : "%.*g", prec, a);
        if (type == 0 && !strpbrk(z, ".enia")) append(z, sizeof z, ".0");
    } else if (type == 'f') {
        snprintf(z, sizeof z, "%.*f", prec, a);
    } else {
        snprintf(z, sizeof z, type == 'E' ? "%.*E" : "%.*e", prec, a);
    }
    if (s->group) group_digits(z, sizeof z, s->group);
    if (s->type == '%') append(z, sizeof z, "%");
    sign_prefix(prefix, signbit(f) && !isnan(f), s->sign);
    return put_body(b, s, prefix, z, trusted);
}

/* --- percent -------------------------------------------------------------------------------------------- */

struct percent {
    struct tmpl_run *c;
    const struct text *fmt;
    size_t at;
    struct tval args; /* a tuple is taken apart, anything else is one value */
    size_t used;
    bool by_key;
};

static int next_arg(struct percent *p, struct tval *out)
{
    if (p->args.type == TV_TUPLE) {
        if (p->used < p->args.u.list->n) {
            *out = p->args.u.list->v[p->used++];
            return 0;
        }
    } else if (p->used == 0) {
        p->used = 1;
        *out = p->args;
        return 0;
    }
    return tmpl_err(p->c, ERR_FORMAT, "the format has more places than there are values");
}

static char peek(const struct percent *p)
{
    return p->at < p->fmt->n ? p->fmt->p[p->at] : 0;
}

/* Digits or "*"; -1 if there is neither. */
static int number(struct percent *p, int64_t max, int64_t *out)
{
    struct tval v;
    int code;
    *out = -1;
    if (peek(p) == '*') {
        p->at++;
        if ((code = next_arg(p, &v)) < 0) return code;
        if (!tmpl_is_int(v)) return tmpl_err(p->c, ERR_FORMAT, "'*' in a format needs an int");
        *out = tmpl_as_int(v);
    }
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
        if (*out < 0) *out = 0;
        *out = *out * 10 + (peek(p) - '0');
        if (*out > max) break;
    }
    if (*out > max || *out < -max)
        return tmpl_err(p->c, ERR_LIMIT, "a width or precision in a format is too large");
    return 0;
}

static int take_key(struct percent *p, struct tval *v)
{
    size_t from = ++p->at, depth = 1;
    struct tval key;
    while (p->at < p->fmt->n) {
        depth += peek(p) == '(';
        depth -= peek(p) == ')';
        if (!depth) break;
        p->at++;
    }
    if (!peek(p)) return tmpl_err(p->c, ERR_FORMAT, "a key in a format has no end");
    if (p->args.type != TV_DICT) return tmpl_err(p->c, ERR_FORMAT, "a format with keys needs a dict");
    int code = tmpl_text_part(p->c, p->fmt, from, p->at++ - from, &key);
    if (code < 0 || (code = tmpl_dict_get(p->c, p->args.u.dict, key, v)) < 0) return code;
    if (code == 0)
        return tmpl_err(p->c, ERR_FORMAT, "the format's key '%.*s' is not there", STR_ARG(*key.u.s));
    p->by_key = true;
    return 0;
}

static int percent_value(struct percent *p, struct tmpl_build *b, struct spec *s, struct tval v, bool zero)
{
    struct tmpl_build rb;
    int code;
    if (s->type == 's' || s->type == 'r' || s->type == 'c') {
        if (s->type == 'c' && tmpl_is_int(v)) {
            int64_t cp = tmpl_as_int(v);
            if (cp < 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
                return tmpl_err(p->c, ERR_FORMAT, "%%c does not fit the number");
            if ((code = tmpl_build_init(&rb, p->c)) < 0 ||
                (code = tmpl_build_cp(&rb, (uint32_t)cp, v.trusted)) < 0 ||
                (code = tmpl_build_done(&rb, &v)) < 0)
                return code;
        } else if (s->type == 'c' && (v.type != TV_STR || v.u.s->n_cp != 1)) {
            return tmpl_err(p->c, ERR_FORMAT, "%%c needs an int or one character");
        }
        if (s->type == 'r') {
            if ((code = tmpl_build_init(&rb, p->c)) < 0 || (code = tmpl_repr(&rb, v)) < 0 ||
                (code = tmpl_build_done(&rb, &v)) < 0)
                return code;
        } else if ((code = tmpl_to_str(p->c, v, &v)) < 0) {
            return code;
        }
        return put_text(b, s, v.u.s);
    }
    if (v.type == TV_UNDEF) return tmpl_undef_err(p->c, v);
    if (!tmpl_is_num(v))
        return tmpl_err(p->c, ERR_FORMAT, "%%%c needs a number, not a %s", s->type, tmpl_type_name(v));
    if (zero && s->align == '>') {
        s->align = '=';
        s->fill = '0';
    }
    if (strchr("eEfFgG", s->type)) return put_float(b, s, tmpl_as_float(v), v.trusted);
    if (v.type == TV_FLOAT) {
        if (strchr("xXo", s->type)) return tmpl_err(p->c, ERR_FORMAT, "%%%c needs an int", s->type);
        if (!(v.u.f > -9.2e18 && v.u.f < 9.2e18))
            return tmpl_err(p->c, ERR_LIMIT, "a number does not fit into 64 bits");
        return put_int(b, s, (int64_t)v.u.f, v.trusted);
    }
    return put_int(b, s, tmpl_as_int(v), v.trusted);
}

static int percent_one(struct percent *p, struct tmpl_build *b)
{
    struct spec s = {.align = '>', .fill = ' ', .precision = -1};
    struct tval v = {.type = TV_MISSING};
    bool zero = false;
    int code = 0;
    if (peek(p) == '(' && (code = take_key(p, &v)) < 0) return code;
    for (;; p->at++) {
        char ch = peek(p);
        if (ch == '-')
            s.align = '<';
        else if (ch == '+')
            s.sign = '+';
        else if (ch == ' ')
            s.sign = s.sign ? s.sign : ' ';
        else if (ch == '0')
            zero = true;
        else if (ch == '#')
            s.alt = true;
        else
            break;
    }
    if ((code = number(p, WIDTH_MAX, &s.width)) < 0) return code;
    if (s.width < -1) {
        s.align = '<';
        s.width = -s.width;
    }
    if (s.width < 0) s.width = 0;
    if (peek(p) == '.') {
        p->at++;
        if ((code = number(p, WIDTH_MAX, &s.precision)) < 0) return code;
        if (s.precision < 0) s.precision = 0;
    }
    while (peek(p) == 'h' || peek(p) == 'l' || peek(p) == 'L') p->at++;
    s.type = peek(p);
    if (!s.type || !strchr("srcdiuxXoeEfFgG%", s.type))
        return tmpl_err(p->c, ERR_FORMAT, "the format has an unknown or unfinished conversion");
    p->at++;
    if (s.type == '%') return tmpl_build_part(b, p->fmt, p->at - 1, 1);
    if (s.precision > PRECISION_MAX && s.type != 's' && s.type != 'r')
        return tmpl_err(p->c, ERR_LIMIT, "a precision in a format is too large");
    if (v.type == TV_MISSING && (code = next_arg(p, &v)) < 0) return code;
    return percent_value(p, b, &s, v, zero);
}

int tmpl_format_percent(struct tmpl_run *c, const struct text *fmt, struct tval args, bool markup,
                        struct tval *out)
{
    struct percent p = {.c = c, .fmt = fmt, .args = args};
    struct tmpl_build b;
    int code = tmpl_build_init(&b, c);
    if (markup) return tmpl_err(c, ERR_UNSUPPORTED, "'%%' on a text marked safe is not supported");
    while (code == 0 && p.at < fmt->n) {
        const char *hit = memchr(fmt->p + p.at, '%', fmt->n - p.at);
        size_t n = (hit ? (size_t)(hit - fmt->p) : fmt->n) - p.at;
        if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_build_part(&b, fmt, p.at, n)) < 0) return code;
        p.at += n;
        if (!hit) break;
        p.at++;
        code = percent_one(&p, &b);
    }
    if (code < 0) return code;
    bool mapping = args.type == TV_DICT || args.type == TV_LIST || args.type == TV_RANGE ||
                   args.type == TV_UNDEF || p.by_key;
    if (!mapping && p.used < (args.type == TV_TUPLE ? args.u.list->n : 1))
        return tmpl_err(c, ERR_FORMAT, "the format has fewer places than there are values");
    return tmpl_build_done(&b, out);
}

/* --- braces --------------------------------------------------------------------------------------------- */

static int parse_spec(struct tmpl_run *c, struct str t, bool number_default, struct spec *s)
{
    size_t at = 0, n;
    uint32_t cp;
    bool aligned = false;
    *s = (struct spec){.align = number_default ? '>' : '<', .fill = ' ', .precision = -1};
    if (t.n) {
        n = tmpl_utf8_next(t.p, t.n, &cp);
        if (n < t.n && strchr("<>^=", t.p[n])) {
            s->fill = cp;
            s->align = t.p[n];
            at = n + 1;
            aligned = true;
        } else if (strchr("<>^=", t.p[0]) && t.p[0]) {
            s->align = t.p[0];
            at = 1;
            aligned = true;
        }
    }
    if (at < t.n && (t.p[at] == '+' || t.p[at] == '-' || t.p[at] == ' ')) {
        s->sign = t.p[at] == '-' ? 0 : t.p[at];
        at++;
    }
    if (at < t.n && t.p[at] == '#') s->alt = true, at++;
    if (at < t.n && t.p[at] == '0') {
        at++;
        if (!aligned && number_default) {
            s->align = '=';
            s->fill = '0';
        } else if (!aligned) {
            s->fill = '0';
        }
    }
    for (; at < t.n && t.p[at] >= '0' && t.p[at] <= '9' && s->width <= WIDTH_MAX; at++)
        s->width = s->width * 10 + (t.p[at] - '0');
    if (at < t.n && (t.p[at] == ',' || t.p[at] == '_')) s->group = t.p[at++];
    if (at < t.n && t.p[at] == '.') {
        at++;
        if (at >= t.n || t.p[at] < '0' || t.p[at] > '9')
            return tmpl_err(c, ERR_FORMAT, "a format spec lacks its precision");
        s->precision = 0;
        for (; at < t.n && t.p[at] >= '0' && t.p[at] <= '9' && s->precision <= WIDTH_MAX; at++)
            s->precision = s->precision * 10 + (t.p[at] - '0');
    }
    if (s->width > WIDTH_MAX || s->precision > WIDTH_MAX || (number_default && s->precision > PRECISION_MAX))
        return tmpl_err(c, ERR_LIMIT, "a width or precision in a format is too large");
    if (at < t.n) s->type = t.p[at++];
    return at == t.n ? 0 : tmpl_err(c, ERR_FORMAT, "the format spec '%.*s' is not valid", STR_ARG(t));
}

static int put_field(struct tmpl_run *c, struct tmpl_build *b, struct tval v, struct str spec)
{
    struct spec s;
    if (!spec.n) return tmpl_print(b, v);
    if (v.type != TV_STR && !tmpl_is_num(v))
        return tmpl_err(c, ERR_FORMAT, "a %s takes no format spec", tmpl_type_name(v));
    int code = parse_spec(c, spec, v.type != TV_STR, &s);
    if (code < 0) return code;
    if (v.type == TV_STR) {
        if ((s.type && s.type != 's') || s.align == '=' || s.sign || s.group || s.alt)
            return tmpl_err(c, ERR_FORMAT, "the format spec '%.*s' does not fit a text", STR_ARG(spec));
        return put_text(b, &s, v.u.s);
    }
    if (v.type == TV_FLOAT || (s.type && strchr("eEfFgG%", s.type))) {
        if (s.type && !strchr("eEfFgG%n", s.type))
            return tmpl_err(c, ERR_FORMAT, "the format spec '%.*s' does not fit a float", STR_ARG(spec));
        return put_float(b, &s, tmpl_as_float(v), v.trusted);
    }
    if ((s.type && !strchr("dbxXon", s.type)) || s.precision >= 0)
        return tmpl_err(c, ERR_FORMAT, "the format spec '%.*s' does not fit an int", STR_ARG(spec));
    return put_int(b, &s, tmpl_as_int(v), v.trusted);
}

static int first_value(struct tmpl_run *c, struct tmpl_call *k, struct str name, int64_t *automatic,
                       struct tval *out)
{
    int64_t i = 0;
    bool digits = true;
    for (size_t j = 0; j < name.n; j++) digits &= name.p[j] >= '0' && name.p[j] <= '9';
    if (!name.n) {
        if (*automatic < 0) return tmpl_err(c, ERR_FORMAT, "a format mixes numbered and empty fields");
        i = (*automatic)++;
    } else if (digits) {
        if (*automatic > 0) return tmpl_err(c, ERR_FORMAT, "a format mixes numbered and empty fields");
        *automatic = -1;
        if (tmpl_parse_int(name, 10, &i) < 0) i = INT64_MAX;
    } else {
        for (size_t j = 0; j < k->n_kw; j++) {
            if (!str_eq(k->kw_name[j], name)) continue;
            *out = k->kw[j];
            return 0;
        }
        return tmpl_err(c, ERR_FORMAT, "the format's field '%.*s' is not given", STR_ARG(name));
    }
    if ((uint64_t)i >= k->n_pos)
        return tmpl_err(c, ERR_FORMAT, "the format has more fields than there are values");
    *out = k->pos[i];
    return 0;
}

/* Value of "name.attr[key]...". */
static int field_value(struct tmpl_run *c, struct tmpl_call *k, struct str f, int64_t *automatic,
                       struct tval *out)
{
    size_t at = 0;
    while (at < f.n && f.p[at] != '.' && f.p[at] != '[') at++;
    int code = first_value(c, k, (struct str){f.p, at}, automatic, out);
    while (code == 0 && at < f.n) {
        bool attr = f.p[at++] == '.';
        size_t from = at;
        int64_t i;
        struct tval key;
        while (at < f.n && (attr ? f.p[at] != '.' && f.p[at] != '[' : f.p[at] != ']')) at++;
        struct str name = {f.p + from, at - from};
        if (!attr && at++ >= f.n) return tmpl_err(c, ERR_FORMAT, "a '[' in a format has no end");
        if (!attr && tmpl_parse_int(name, 10, &i) == 0)
            key = tmpl_int(i, true);
        else if ((code = tmpl_str_out(c, name, true, &key)) < 0)
            return code;
        code = attr ? tmpl_getattr(c, *out, key.u.s, out) : tmpl_getitem(c, *out, key, out);
        if (at < f.n && f.p[at] != '.' && f.p[at] != '[')
            return tmpl_err(c, ERR_FORMAT, "a format's field is malformed");
    }
    return code;
}

static int brace_field(struct tmpl_run *c, struct tmpl_call *k, struct tmpl_build *b, struct str f,
                       int64_t *automatic)
{
    size_t at = 0;
    char conversion = 0;
    struct str spec = {0}, name;
    struct tmpl_build rb;
    struct tval v;
    while (at < f.n && f.p[at] != '!' && f.p[at] != ':') at++;
    name = (struct str){f.p, at};
    if (at < f.n && f.p[at] == '!') {
        conversion = at + 1 < f.n ? f.p[at + 1] : 0;
        if (conversion != 'r' && conversion != 's')
            return tmpl_err(c, ERR_FORMAT, "a conversion in a format is not !r or !s");
        at += 2;
        if (at < f.n && f.p[at] != ':')
            return tmpl_err(c, ERR_FORMAT, "a ':' is missing after a conversion in a format");
    }
    if (at < f.n) spec = (struct str){f.p + at + 1, f.n - at - 1};
    if (spec.n && (memchr(spec.p, '{', spec.n) || memchr(spec.p, '}', spec.n)))
        return tmpl_err(c, ERR_UNSUPPORTED, "fields inside a format spec are not supported");
    int code = field_value(c, k, name, automatic, &v);
    if (code == 0 && conversion == 's') code = tmpl_to_str(c, v, &v);
    if (code == 0 && conversion == 'r') {
        if ((code = tmpl_build_init(&rb, c)) < 0 || (code = tmpl_repr(&rb, v)) < 0) return code;
        code = tmpl_build_done(&rb, &v);
    }
    return code < 0 ? code : put_field(c, b, v, spec);
}

int tmpl_format_braces(struct tmpl_run *c, const struct text *fmt, struct tmpl_call *k, struct tval *out)
{
    struct tmpl_build b;
    int64_t automatic = 0; /* next empty field's number; -1 once a numbered one was seen */
    int code = tmpl_build_init(&b, c);
    for (size_t at = 0; at < fmt->n && code == 0;) {
        size_t from = at;
        while (at < fmt->n && fmt->p[at] != '{' && fmt->p[at] != '}') at++;
        if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_build_part(&b, fmt, from, at - from)) < 0)
            return code;
        if (at == fmt->n) break;
        if (at + 1 < fmt->n && fmt->p[at + 1] == fmt->p[at]) { /* doubled: itself */
            code = tmpl_build_part(&b, fmt, at, 1);
            at += 2;
            continue;
        }
        if (fmt->p[at] == '}') return tmpl_err(c, ERR_FORMAT, "a '}' in a format stands alone");
        size_t depth = 1, open = ++at;
        for (; at < fmt->n && depth; at++) depth += (size_t)(fmt->p[at] == '{') - (size_t)(fmt->p[at] == '}');
        if (depth) return tmpl_err(c, ERR_FORMAT, "a '{' in a format has no end");
        code = brace_field(c, k, &b, (struct str){fmt->p + open, at - 1 - open}, &automatic);
    }
    return code < 0 ? code : tmpl_build_done(&b, out);
}
