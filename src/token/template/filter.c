/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of the template language: what may stand after "|". Parameters and results are jinja2's, except
 * that tojson is json.dumps as transformers puts it in. Left out, and refused by name: random and pprint (not
 * repeatable or not portable) and the HTML helpers urlize, xmlattr and wordwrap.
 */
#include "token/template/template_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FILTER(name) static int name(struct tmpl_run *c, struct tmpl_call *k, struct tval *out)

static const struct tval MISSING = {.type = TV_MISSING};

static bool given(struct tval v)
{
    return v.type != TV_MISSING && v.type != TV_NONE;
}

static int int_arg(struct tmpl_run *c, struct tval v, int64_t def, int64_t *out)
{
    *out = def;
    if (v.type == TV_MISSING) return 0;
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (!tmpl_is_int(v)) return tmpl_err(c, ERR_FORMAT, "an int is needed, not a %s", tmpl_type_name(v));
    *out = tmpl_as_int(v);
    return 0;
}

static int bool_arg(struct tmpl_run *c, struct tval v, bool *out)
{
    *out = false;
    return v.type == TV_MISSING ? 0 : tmpl_truth(c, v, out);
}

/* A method of str on str(self); the filter's parameters are bound and are those of the method. */
static int as_method(struct tmpl_run *c, struct tmpl_call *k, const char *method, struct tval *out)
{
    bool unsafe;
    int code = tmpl_to_str(c, k->self, &k->self);
    return code < 0 ? code : tmpl_method_find(k->self, str_from(method), &unsafe)->fn(c, k, out);
}

/* --- text ----------------------------------------------------------------------------------------------- */

FILTER(f_upper)
{
    return as_method(c, k, "upper", out);
}

FILTER(f_lower)
{
    return as_method(c, k, "lower", out);
}

FILTER(f_capitalize)
{
    return as_method(c, k, "capitalize", out);
}

FILTER(f_trim)
{
    return as_method(c, k, "strip", out);
}

FILTER(f_title)
{
    int code = tmpl_to_str(c, k->self, &k->self);
    return code < 0 ? code : tmpl_text_case(c, k->self.u.s, CASE_TITLE_FILTER, out);
}

FILTER(f_center)
{
    if (k->arg[0].type == TV_MISSING) k->arg[0] = tmpl_int(80, true);
    return as_method(c, k, "center", out);
}

FILTER(f_string)
{
    return tmpl_to_str(c, k->self, out);
}

FILTER(f_safe)
{
    int code = tmpl_to_str(c, k->self, out);
    out->markup = true;
    return code;
}

FILTER(f_escape)
{
    int code = tmpl_to_str(c, k->self, out);
    return code < 0 || out->markup ? code : tmpl_text_escape(c, out->u.s, out);
}

FILTER(f_forceescape)
{
    int code = tmpl_to_str(c, k->self, out);
    return code < 0 ? code : tmpl_text_escape(c, out->u.s, out);
}

FILTER(f_replace)
{
    struct tval s, from, to;
    int64_t limit;
    int code;
    if (k->arg[2].type == TV_NONE) k->arg[2] = MISSING;
    if ((code = tmpl_to_str(c, k->self, &s)) < 0 || (code = tmpl_to_str(c, k->arg[0], &from)) < 0 ||
        (code = tmpl_to_str(c, k->arg[1], &to)) < 0 || (code = int_arg(c, k->arg[2], -1, &limit)) < 0)
        return code;
    return tmpl_text_replace(c, s.u.s, from.u.s, to.u.s, limit, out);
}

FILTER(f_indent)
{
    struct tmpl_build b;
    struct tval pad = k->arg[0];
    bool first, blank, line1 = true;
    int64_t width;
    int code;
    if (k->self.type == TV_UNDEF) return tmpl_undef_err(c, k->self);
    if (k->self.type != TV_STR)
        return tmpl_err(c, ERR_FORMAT, "indent needs a text, not a %s", tmpl_type_name(k->self));
    if ((code = bool_arg(c, k->arg[1], &first)) < 0 || (code = bool_arg(c, k->arg[2], &blank)) < 0)
        return code;
    if (pad.type != TV_STR) {
        if ((code = int_arg(c, pad, 4, &width)) < 0 || (code = tmpl_build_init(&b, c)) < 0 ||
            (code = tmpl_build_fill(&b, ' ', width > 0 ? (size_t)width : 0, true)) < 0 ||
            (code = tmpl_build_done(&b, &pad)) < 0)
            return code;
    } else if (k->self.markup && !pad.markup && (code = tmpl_text_escape(c, pad.u.s, &pad)) < 0) {
        return code;
    }
    const struct text *t = k->self.u.s;
    if ((code = tmpl_build_init(&b, c)) < 0) return code;
    for (size_t at = 0, next = 0; code == 0 && (line1 || next < t->n || at < next); line1 = false) {
        size_t end = tmpl_text_line(tmpl_view(t), at, &next);
        /* the filter adds a line break at the end, so a text that ends in one keeps it */
        bool broke = next > end;
        if (line1 ? first : blank || end > at) code = tmpl_build_text(&b, pad.u.s);
        if (code == 0) code = tmpl_build_part(&b, t, at, end - at);
        if (code < 0 || !broke) break;
        code = tmpl_build_z(&b, "\n", tmpl_text_trusted(t, end));
        at = next;
        if (code == 0) code = tmpl_step(c, 1);
        if (next == t->n) { /* one more, empty line */
            if (code == 0 && blank) code = tmpl_build_text(&b, pad.u.s);
            break;
        }
    }
    if (code < 0 || (code = tmpl_build_done(&b, out)) < 0) return code;
    out->markup = k->self.markup;
    return 0;
}

FILTER(f_truncate)
{
    static const struct text DOTS = {.p = "...", .n = 3, .n_cp = 3, .trusted = true};
    struct tval end = k->arg[2], head;
    int64_t length, leeway, n, limit;
    bool kill;
    int code;
    if (end.type == TV_MISSING) end = (struct tval){.type = TV_STR, .u.s = &DOTS};
    if (end.type != TV_STR) return tmpl_err(c, ERR_FORMAT, "truncate needs a text as its end");
    if (k->arg[3].type == TV_NONE) k->arg[3] = MISSING;
    if ((code = int_arg(c, k->arg[0], 255, &length)) < 0 || (code = bool_arg(c, k->arg[1], &kill)) < 0 ||
        (code = int_arg(c, k->arg[3], 5, &leeway)) < 0)
        return code;
    if (length < (int64_t)end.u.s->n_cp || leeway < 0)
        return tmpl_err(c, ERR_FORMAT, "truncate to less than its end mark");
    if ((code = tmpl_length(c, k->self, &n)) < 0) return code;
    *out = k->self;
    if (__builtin_add_overflow(length, leeway, &limit) || n <= limit) return 0;
    if (k->self.type != TV_STR)
        return tmpl_err(c, ERR_FORMAT, "truncate needs a text, not a %s", tmpl_type_name(k->self));
    const struct text *t = k->self.u.s;
    size_t cut = tmpl_text_offset(t, (size_t)(length - (int64_t)end.u.s->n_cp));
    if (!kill) {
        for (size_t i = cut; i > 0; i--) {
            if (t->p[i - 1] != ' ') continue;
            cut = i - 1;
            break;
        }
    }
    if ((code = tmpl_text_part(c, t, 0, cut, &head)) < 0) return code;
    return tmpl_text_concat(c, head.u.s, end.u.s, out);
}

FILTER(f_wordcount)
{
    struct tval s;
    int64_t n = 0;
    bool inside = false;
    int code = tmpl_to_str(c, k->self, &s);
    for (size_t at = 0; code == 0 && at < s.u.s->n;) {
        uint32_t cp;
        at += tmpl_utf8_next(s.u.s->p + at, s.u.s->n - at, &cp);
        bool now = cp == '_' || tmpl_cp_alnum(cp);
        n += now && !inside;
        inside = now;
    }
    *out = tmpl_int(n, true);
    return code;
}

FILTER(f_striptags)
{
    struct tmpl_build b;
    struct tval s;
    bool gap = false, any = false;
    int code = tmpl_to_str(c, k->self, &s);
    if (code < 0 || (code = tmpl_build_init(&b, c)) < 0) return code;
    const struct text *t = s.u.s;
    for (size_t at = 0; at < t->n && code == 0;) {
        uint32_t cp;
        size_t n = tmpl_utf8_next(t->p + at, t->n - at, &cp), end;
        bool comment = t->n - at >= 4 && memcmp(t->p + at, "<!--", 4) == 0;
        if (cp == '<' && tmpl_text_find(c, tmpl_view(t), comment ? STR("-->") : STR(">"), at, &end)) {
            at = end + (comment ? 3 : 1);
            continue;
        }
        if (tmpl_cp_space(cp)) {
            gap = true;
        } else {
            if (gap && any) code = tmpl_build_cp(&b, ' ', true);
            if (code == 0) code = tmpl_build_part(&b, t, at, n);
            gap = false;
            any = true;
        }
        at += n;
    }
    if (code < 0 || c->code < 0) return c->code;
    return tmpl_build_done(&b, out);
}

static int put_quoted(struct tmpl_build *b, const struct text *t, bool query)
{
    int code = tmpl_step(b->c, t->n / 8);
    for (size_t i = 0; i < t->n && code == 0; i++) {
        unsigned char ch = (unsigned char)t->p[i];
        char z[4] = {(char)ch, 0, 0, 0};
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
                     (ch && ch < 0x80 && strchr("_.-~", ch)) || (ch == '/' && !query);
        if (query && ch == ' ')
            z[0] = '+';
        else if (!plain)
            snprintf(z, sizeof z, "%%%02X", ch);
        code = tmpl_build_z(b, z, tmpl_text_trusted(t, i));
    }
    return code;
}

static int quoted_value(struct tmpl_run *c, struct tmpl_build *b, struct tval v)
{
    struct tval s;
    int code = tmpl_to_str(c, v, &s);
    return code < 0 ? code : put_quoted(b, s.u.s, true);
}

FILTER(f_urlencode)
{
    struct tmpl_build b;
    struct tval s = k->self, pair;
    struct titer *it;
    bool first = true;
    int code = tmpl_build_init(&b, c), more = 0;
    if (code < 0) return code;
    if (s.type == TV_STR || !tmpl_iterable(s)) {
        if ((code = tmpl_to_str(c, s, &s)) < 0 || (code = put_quoted(&b, s.u.s, false)) < 0) return code;
        return tmpl_build_done(&b, out);
    }
    if (s.type == TV_DICT) {
        s.type = TV_VIEW;
        s.kind = VIEW_ITEMS;
    }
    if ((code = tmpl_iter(c, s, &it)) < 0) return code;
    while (code == 0 && (more = tmpl_next(c, it, &pair)) > 0) {
        if ((code = tmpl_to_list(c, pair, TV_LIST, &pair)) < 0) return code;
        if (pair.u.list->n != 2) return tmpl_err(c, ERR_FORMAT, "urlencode needs pairs");
        if (!first) code = tmpl_build_z(&b, "&", true);
        first = false;
        if (code == 0) code = quoted_value(c, &b, pair.u.list->v[0]);
        if (code == 0) code = tmpl_build_z(&b, "=", true);
        if (code == 0) code = quoted_value(c, &b, pair.u.list->v[1]);
    }
    if (code < 0 || more < 0) return c->code;
    return tmpl_build_done(&b, out);
}

FILTER(f_format)
{
    struct tval args;
    int code = tmpl_to_str(c, k->self, &k->self);
    if (code < 0) return code;
    if (k->n_pos && k->n_kw)
        return tmpl_err(c, ERR_FORMAT, "format takes positional or keyword arguments, not both");
    code = k->n_kw ? tmpl_dict_new(c, &args) : tmpl_list_new(c, TV_TUPLE, &args);
    for (size_t i = 0; i < k->n_pos && code == 0; i++) code = tmpl_list_add(c, args.u.list, k->pos[i]);
    for (size_t i = 0; i < k->n_kw && code == 0; i++) {
        struct tval key;
        if ((code = tmpl_str_out(c, k->kw_name[i], !k->kw_foreign, &key)) == 0)
            code = tmpl_dict_set(c, args.u.dict, key, k->kw[i]);
    }
    return code < 0 ? code : tmpl_format_percent(c, k->self.u.s, args, k->self.markup, out);
}

/* indent of tojson as a text: None, a number of blanks, or a text */
static int json_indent(struct tmpl_run *c, struct tval v, const struct text **out)
{
    struct tmpl_build b;
    struct tval pad;
    int64_t n;
    int code;
    *out = NULL;
    if (!given(v)) return 0;
    if (v.type == TV_STR) {
        *out = v.u.s;
        return 0;
    }
    if ((code = int_arg(c, v, 0, &n)) < 0 || (code = tmpl_build_init(&b, c)) < 0 ||
        (code = tmpl_build_fill(&b, ' ', n > 0 ? (size_t)n : 0, true)) < 0 ||
        (code = tmpl_build_done(&b, &pad)) < 0)
        return code;
    *out = pad.u.s;
    return 0;
}

FILTER(f_tojson) /* ensure_ascii, indent, separators, sort_keys */
{
    struct tmpl_json o = {0};
    struct tmpl_build b;
    struct tval sep;
    int code;
    if ((code = bool_arg(c, k->arg[0], &o.ascii)) < 0 || (code = json_indent(c, k->arg[1], &o.indent)) < 0 ||
        (code = bool_arg(c, k->arg[3], &o.sort)) < 0)
        return code;
    if (given(k->arg[2])) {
        if ((code = tmpl_to_list(c, k->arg[2], TV_LIST, &sep)) < 0) return code;
        const struct tlist *l = sep.u.list;
        if (l->n != 2 || l->v[0].type != TV_STR || l->v[1].type != TV_STR)
            return tmpl_err(c, ERR_FORMAT, "the separators of tojson are two texts");
        o.sep_item = l->v[0].u.s;
        o.sep_key = l->v[1].u.s;
    }
    if (k->self.type == TV_UNDEF) return tmpl_undef_err(c, k->self);
    if ((code = tmpl_build_init(&b, c)) < 0 || (code = tmpl_json(&b, k->self, &o, 0)) < 0) return code;
    return tmpl_build_done(&b, out);
}

/* --- numbers -------------------------------------------------------------------------------------------- */

FILTER(f_abs)
{
    struct tval v = k->self, zero = tmpl_int(0, true);
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (v.type == TV_FLOAT) {
        *out = tmpl_float(fabs(v.u.f), v.trusted);
        return 0;
    }
    if (!tmpl_is_int(v)) return tmpl_err(c, ERR_FORMAT, "abs needs a number, not a %s", tmpl_type_name(v));
    return tmpl_arith(c, tmpl_as_int(v) < 0 ? OP_SUB : OP_ADD, zero, v, out);
}

/* 0 done, 1 no number: the default is taken, negative */
static int int_of_float(struct tmpl_run *c, double f, bool trusted, struct tval *out)
{
    if (isnan(f) || isinf(f)) return 1;
    if (!(f > -0x1p63 && f < 0x1p63)) return tmpl_err(c, ERR_LIMIT, "an integer does not fit into 64 bits");
    *out = tmpl_int((int64_t)f, trusted);
    return 0;
}

FILTER(f_int)
{
    struct tval v = k->self, def = k->arg[0].type == TV_MISSING ? tmpl_int(0, true) : k->arg[0];
    int64_t base, i;
    double f;
    int code = int_arg(c, k->arg[1], 10, &base);
    if (code < 0) return code;
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (base != 0 && (base < 2 || base > 36)) base = v.type == TV_STR ? -1 : 10;
    code = 1;
    if (v.type == TV_STR) {
        if (base >= 0 && (code = tmpl_parse_int(tmpl_view(v.u.s), (int)base, &i)) == 0)
            *out = tmpl_int(i, tmpl_trusted(v));
        else if (code == ERR_LIMIT)
            return tmpl_err(c, ERR_LIMIT, "an integer does not fit into 64 bits");
        else if (tmpl_parse_float(tmpl_view(v.u.s), &f) == 0)
            code = int_of_float(c, f, tmpl_trusted(v), out);
        else
            code = 1;
    } else if (tmpl_is_int(v)) {
        *out = tmpl_int(tmpl_as_int(v), v.trusted);
        code = 0;
    } else if (v.type == TV_FLOAT) {
        if (isinf(v.u.f)) return tmpl_err(c, ERR_FORMAT, "infinity is not an integer");
        code = int_of_float(c, v.u.f, v.trusted, out);
    }
    if (code == 1) *out = def;
    return code < 0 ? code : 0;
}

FILTER(f_float)
{
    struct tval v = k->self;
    double f;
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (tmpl_is_num(v))
        *out = tmpl_float(tmpl_as_float(v), v.trusted);
    else if (v.type == TV_STR && tmpl_parse_float(tmpl_view(v.u.s), &f) == 0)
        *out = tmpl_float(f, tmpl_trusted(v));
    else
        *out = k->arg[0].type == TV_MISSING ? tmpl_float(0, true) : k->arg[0];
    return 0;
}

/* Python's round of an int to tens, hundreds ... : half to even */
static int round_int(struct tmpl_run *c, int64_t v, int64_t precision, int64_t *out)
{
    *out = v;
    if (precision >= 0) return 0;
    if (precision < -18) {
        *out = 0;
        return 0;
    }
    int64_t unit = 1;
    for (int64_t i = precision; i < 0; i++) unit *= 10;
    int64_t q = v / unit, r = v % unit, twice = r < 0 ? -r : r;
    bool up = twice > unit / 2 || (twice == unit / 2 && q % 2 != 0);
    if (up) q += v < 0 ? -1 : 1;
    if (__builtin_mul_overflow(q, unit, out))
        return tmpl_err(c, ERR_LIMIT, "an integer does not fit into 64 bits");
    return 0;
}

static double round_float(double f, int64_t precision)
{
    char z[400 + 320];
    if (!isfinite(f) || precision > 323) return f;
    if (precision >= 0) {
        snprintf(z, sizeof z, "%.*f", (int)precision, f); /* exact decimal, half to even */
        return strtod(z, NULL);
    }
    if (precision < -308) return copysign(0.0, f);
    double unit = pow(10, (double)-precision), q = f / unit, r = nearbyint(q);
    return r * unit;
}

FILTER(f_round)
{
    struct tval v = k->self;
    int64_t precision;
    int code = int_arg(c, k->arg[0], 0, &precision);
    if (code < 0) return code;
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (!tmpl_is_num(v)) return tmpl_err(c, ERR_FORMAT, "round needs a number, not a %s", tmpl_type_name(v));
    struct str how = k->arg[1].type == TV_STR ? tmpl_view(k->arg[1].u.s) : STR("common");
    if (str_eqz(how, "common")) {
        if (v.type == TV_FLOAT) {
            *out = tmpl_float(round_float(v.u.f, precision), v.trusted);
            return 0;
        }
        *out = tmpl_int(0, v.trusted);
        return round_int(c, tmpl_as_int(v), precision, &out->u.i);
    }
    if (!str_eqz(how, "ceil") && !str_eqz(how, "floor"))
        return tmpl_err(c, ERR_FORMAT, "round knows common, ceil and floor");
    if (precision > 300 || precision < -300)
        return tmpl_err(c, ERR_LIMIT, "the precision of round is too large");
    double unit = pow(10, (double)precision), x = tmpl_as_float(v) * unit;
    if (!isfinite(x)) return tmpl_err(c, ERR_FORMAT, "the number is too large to be rounded");
    *out = tmpl_float((str_eqz(how, "ceil") ? ceil(x) : floor(x)) / unit, v.trusted);
    if (out->u.f == 0) out->u.f = 0; /* Python goes through an integer, which has no negative zero */
    return 0;
}

FILTER(f_filesizeformat)
{
    static const char *const UNIT[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
    struct tval v = k->self;
    bool binary;
    double f;
    char z[480];
    int code = bool_arg(c, k->arg[0], &binary);
    if (code < 0) return code;
    if (v.type == TV_STR && tmpl_parse_float(tmpl_view(v.u.s), &f) == 0) v = tmpl_float(f, tmpl_trusted(v));
    if (!tmpl_is_num(v)) return tmpl_err(c, ERR_FORMAT, "filesizeformat needs a number");
    f = tmpl_as_float(v);
    double base = binary ? 1024 : 1000, unit = base;
    if (!isfinite(f)) return tmpl_err(c, ERR_FORMAT, "filesizeformat needs a finite number");
    if (f == 1)
        snprintf(z, sizeof z, "1 Byte");
    else if (f < base)
        snprintf(z, sizeof z, "%.0f Bytes", trunc(f));
    else {
        int i = 0;
        for (unit = base * base; i < 7 && f >= unit; i++) unit *= base;
        snprintf(z, sizeof z, "%.1f %s%sB", base * f / unit, binary && i == 0 ? "K" : UNIT[i],
                 binary ? "i" : "");
    }
    struct tmpl_build b;
    if ((code = tmpl_build_init(&b, c)) < 0 || (code = tmpl_build_z(&b, z, v.trusted)) < 0) return code;
    return tmpl_build_done(&b, out);
}

/* --- anything ------------------------------------------------------------------------------------------- */

FILTER(f_default)
{
    bool by_truth, yes = true;
    int code = bool_arg(c, k->arg[1], &by_truth);
    if (code == 0 && by_truth) code = tmpl_truth(c, k->self, &yes);
    *out = k->self;
    if (k->self.type == TV_UNDEF || !yes) *out = k->arg[0].type == TV_MISSING ? c->empty : k->arg[0];
    return code;
}

FILTER(f_attr)
{
    struct tval name;
    if (k->arg[0].type != TV_STR) return tmpl_err(c, ERR_FORMAT, "attr needs a text");
    name = k->arg[0];
    if (k->self.type == TV_DICT) { /* attributes only, no items */
        bool unsafe;
        if (!tmpl_method_find(k->self, tmpl_view(name.u.s), &unsafe) && !unsafe) {
            *out = tmpl_undef(UNDEF_ATTR, name.u.s);
            return 0;
        }
    }
    return tmpl_getattr(c, k->self, name.u.s, out);
}

FILTER(f_length)
{
    int64_t n;
    int code = tmpl_length(c, k->self, &n);
    *out = tmpl_int(n, true);
    return code;
}

FILTER(f_list)
{
    return tmpl_to_list(c, k->self, TV_LIST, out);
}

FILTER(f_items)
{
    *out = k->self;
    if (k->self.type == TV_UNDEF) return 0;
    if (k->self.type != TV_DICT)
        return tmpl_err(c, ERR_FORMAT, "items needs a dict, not a %s", tmpl_type_name(k->self));
    struct titer *it = TMPL_NEW(c, struct titer, 1);
    if (!it) return c->code;
    it->kind = IT_DICT;
    it->src = k->self;
    it->view = VIEW_ITEMS;
    *out = tmpl_lazy(it);
    return 0;
}

FILTER(f_first)
{
    static const struct text HINT = {
        .p = "the sequence has no first item", .n = 30, .n_cp = 30, .trusted = true};
    struct titer *it;
    int code = tmpl_iter(c, k->self, &it);
    if (code < 0 || (code = tmpl_next(c, it, out)) < 0) return code;
    if (code == 0) *out = tmpl_undef(UNDEF_HINT, &HINT);
    return 0;
}

static int reversed(struct tmpl_run *c, struct tval v, struct titer **it)
{
    if (v.type != TV_LIST && v.type != TV_TUPLE && v.type != TV_DICT && v.type != TV_VIEW &&
        v.type != TV_RANGE && v.type != TV_UNDEF)
        return tmpl_err(c, ERR_FORMAT, "a %s cannot be walked from its end", tmpl_type_name(v));
    int code = tmpl_iter(c, v, it);
    if (code == 0) (*it)->kind = IT_REVERSED;
    return code;
}

FILTER(f_last)
{
    static const struct text HINT = {
        .p = "the sequence has no last item", .n = 29, .n_cp = 29, .trusted = true};
    struct titer *it;
    int code;
    if (k->self.type == TV_STR) {
        if (k->self.u.s->n) return tmpl_getitem(c, k->self, tmpl_int(-1, true), out);
        code = 0;
    } else if ((code = reversed(c, k->self, &it)) < 0 || (code = tmpl_next(c, it, out)) < 0) {
        return code;
    }
    if (code == 0) *out = tmpl_undef(UNDEF_HINT, &HINT);
    return 0;
}

FILTER(f_reverse)
{
    struct titer *it;
    struct tval list;
    int code;
    if (k->self.type == TV_STR)
        return tmpl_slice(c, k->self, tmpl_none(), tmpl_none(), tmpl_int(-1, true), out);
    if (k->self.type == TV_ITER) {
        if ((code = tmpl_to_list(c, k->self, TV_LIST, &list)) < 0) return code;
        return tmpl_slice(c, list, tmpl_none(), tmpl_none(), tmpl_int(-1, true), out);
    }
    code = reversed(c, k->self, &it);
    if (code == 0) *out = tmpl_lazy(it);
    return code;
}

FILTER(f_join)
{
    struct tmpl_build b;
    struct tval sep = c->empty, v;
    struct titer *it;
    bool first = true;
    int code, more = 0;
    if (k->arg[0].type != TV_MISSING && (code = tmpl_to_str(c, k->arg[0], &sep)) < 0) return code;
    if ((code = tmpl_iter(c, k->self, &it)) < 0 || (code = tmpl_build_init(&b, c)) < 0) return code;
    while (code == 0 && (more = tmpl_next(c, it, &v)) > 0) {
        if ((code = tmpl_attr_path(c, v, k->arg[1], MISSING, &v)) < 0) return code;
        if (!first) code = tmpl_build_text(&b, sep.u.s);
        if (code == 0) code = tmpl_print(&b, v);
        first = false;
    }
    if (code < 0 || more < 0) return c->code;
    return tmpl_build_done(&b, out);
}

/* Values of a list and, beside them, the keys they are ordered by. */
static int sort_keys(struct tmpl_run *c, const struct tlist *l, struct tval attr, bool sensitive,
                     struct tval **key)
{
    int code = 0;
    if (!(*key = TMPL_NEW(c, struct tval, l->n + 1))) return c->code;
    for (size_t i = 0; i < l->n && code == 0; i++)
        code = tmpl_path_key(c, l->v[i], attr, sensitive, &(*key)[i]);
    return code;
}

/* "a,b": the key is the list of both */
static int multi_keys(struct tmpl_run *c, const struct tlist *l, const struct text *attr, bool sensitive,
                      struct tval **key)
{
    size_t from = 0;
    int code = 0;
    if (!(*key = TMPL_NEW(c, struct tval, l->n + 1))) return c->code;
    for (size_t i = 0; i < l->n && code == 0; i++) code = tmpl_list_new(c, TV_LIST, &(*key)[i]);
    while (code == 0 && from <= attr->n) {
        const char *comma = attr->n > from ? memchr(attr->p + from, ',', attr->n - from) : NULL;
        size_t to = comma ? (size_t)(comma - attr->p) : attr->n;
        struct tval path, one;
        if ((code = tmpl_text_part(c, attr, from, to - from, &path)) < 0) return code;
        for (size_t i = 0; i < l->n && code == 0; i++) {
            if ((code = tmpl_path_key(c, l->v[i], path, sensitive, &one)) == 0)
                code = tmpl_list_add(c, (*key)[i].u.list, one);
        }
        from = to + 1;
    }
    return code;
}

FILTER(f_sort) /* reverse, case_sensitive, attribute */
{
    struct tval *key, attr = k->arg[2];
    bool reverse, sensitive;
    int code;
    if ((code = bool_arg(c, k->arg[0], &reverse)) < 0 || (code = bool_arg(c, k->arg[1], &sensitive)) < 0 ||
        (code = tmpl_to_list(c, k->self, TV_LIST, out)) < 0)
        return code;
    const struct tlist *l = out->u.list;
    if (attr.type == TV_STR && attr.u.s->n && memchr(attr.u.s->p, ',', attr.u.s->n))
        code = multi_keys(c, l, attr.u.s, sensitive, &key);
    else
        code = sort_keys(c, l, attr, sensitive, &key);
    for (size_t i = 0; i < l->n && code == 0; i++) { /* as lists: what is equal need not have an order */
        struct tval one = key[i];
        if ((code = tmpl_list_new(c, TV_LIST, &key[i])) == 0) code = tmpl_list_add(c, key[i].u.list, one);
    }
    return code < 0 ? code : tmpl_sort(c, l->v, key, l->n, reverse);
}

FILTER(f_dictsort) /* case_sensitive, by, reverse */
{
    struct tval *key, view = k->self;
    bool reverse, sensitive;
    int code;
    if (view.type == TV_UNDEF) return tmpl_undef_err(c, view);
    if (view.type != TV_DICT)
        return tmpl_err(c, ERR_FORMAT, "dictsort needs a dict, not a %s", tmpl_type_name(view));
    struct str by = k->arg[1].type == TV_STR ? tmpl_view(k->arg[1].u.s) : STR("key");
    if (!str_eqz(by, "key") && !str_eqz(by, "value"))
        return tmpl_err(c, ERR_FORMAT, "dictsort sorts by key or value");
    view.type = TV_VIEW;
    view.kind = VIEW_ITEMS;
    if ((code = bool_arg(c, k->arg[0], &sensitive)) < 0 || (code = bool_arg(c, k->arg[2], &reverse)) < 0 ||
        (code = tmpl_to_list(c, view, TV_LIST, out)) < 0 ||
        (code = sort_keys(c, out->u.list, tmpl_int(str_eqz(by, "value"), true), sensitive, &key)) < 0)
        return code;
    return tmpl_sort(c, out->u.list->v, key, out->u.list->n, reverse);
}

static int extreme(struct tmpl_run *c, struct tmpl_call *k, enum tmpl_op op, struct tval *out)
{
    static const struct text HINT = {.p = "the sequence was empty", .n = 22, .n_cp = 22, .trusted = true};
    struct titer *it;
    struct tval v, key, best = MISSING;
    bool sensitive, better;
    int code, more = 0;
    if ((code = bool_arg(c, k->arg[0], &sensitive)) < 0 || (code = tmpl_iter(c, k->self, &it)) < 0)
        return code;
    *out = tmpl_undef(UNDEF_HINT, &HINT);
    while ((more = tmpl_next(c, it, &v)) > 0) {
        if ((code = tmpl_path_key(c, v, k->arg[1], sensitive, &key)) < 0) return code;
        better = best.type == TV_MISSING;
        if (!better && (code = tmpl_less(c, key, best, op, &better)) < 0) return code;
        if (!better) continue;
        best = key;
        *out = v;
    }
    return more;
}

FILTER(f_min)
{
    return extreme(c, k, OP_LT, out);
}

FILTER(f_max)
{
    return extreme(c, k, OP_GT, out);
}

FILTER(f_sum) /* attribute, start */
{
    struct titer *it;
    struct tval v, sum = k->arg[1].type == TV_MISSING ? tmpl_int(0, true) : k->arg[1];
    int code = tmpl_iter(c, k->self, &it), more = 0;
    if (code < 0) return code;
    if (sum.type == TV_STR) return tmpl_err(c, ERR_FORMAT, "sum does not add texts");
    while ((more = tmpl_next(c, it, &v)) > 0) {
        if ((code = tmpl_attr_path(c, v, k->arg[0], MISSING, &v)) < 0 ||
            (code = tmpl_arith(c, OP_ADD, sum, v, &sum)) < 0)
            return code;
    }
    *out = sum;
    return more;
}

static int lazy(struct tmpl_run *c, struct tmpl_call *k, enum titer_kind kind, struct tval *out)
{
    struct titer *it = TMPL_NEW(c, struct titer, 1);
    if (!it) return c->code;
    it->kind = kind;
    it->src = k->self;
    it->attr = it->fill = MISSING;
    it->call = (struct tmpl_call){
        .pos = k->pos, .n_pos = k->n_pos, .kw_name = k->kw_name, .kw = k->kw, .n_kw = k->n_kw};
    *out = tmpl_lazy(it);
    return 0;
}

static void drop_pos(struct titer *it, size_t n)
{
    it->call.pos += n;
    it->call.n_pos -= n;
}

FILTER(f_map)
{
    int code = lazy(c, k, IT_MAP, out);
    if (code < 0) return code;
    struct titer *it = out->u.iter;
    if (k->n_pos == 0) {
        it->kind = IT_MAP_ATTR;
        for (size_t i = 0; i < k->n_kw; i++) {
            if (str_eqz(k->kw_name[i], "attribute"))
                it->attr = k->kw[i];
            else if (str_eqz(k->kw_name[i], "default"))
                it->fill = k->kw[i];
            else
                return tmpl_err(c, ERR_FORMAT, "map has no argument '%.*s'", STR_ARG(k->kw_name[i]));
        }
        return it->attr.type == TV_MISSING ? tmpl_err(c, ERR_FORMAT, "map needs a filter or an attribute")
                                           : 0;
    }
    if (k->pos[0].type != TV_STR) return tmpl_err(c, ERR_FORMAT, "map needs a filter's name");
    if (!(it->native = tmpl_filter_find(tmpl_view(k->pos[0].u.s))))
        return tmpl_err(c, ERR_FORMAT, "there is no filter named '%.*s'", STR_ARG(*k->pos[0].u.s));
    drop_pos(it, 1);
    return 0;
}

static int select_any(struct tmpl_run *c, struct tmpl_call *k, bool by_attr, bool negate, struct tval *out)
{
    int code = lazy(c, k, IT_SELECT, out);
    if (code < 0) return code;
    struct titer *it = out->u.iter;
    it->by_attr = by_attr;
    it->negate = negate;
    if (by_attr) {
        if (!k->n_pos) return tmpl_err(c, ERR_FORMAT, "an attribute's name is needed");
        it->attr = k->pos[0];
        drop_pos(it, 1);
    }
    if (!it->call.n_pos) return 0;
    const struct tval *test = it->call.pos;
    if (test->type != TV_STR || !(it->native = tmpl_test_find(tmpl_view(test->u.s))))
        return tmpl_err(c, ERR_FORMAT, "there is no test of that name");
    drop_pos(it, 1);
    return 0;
}

FILTER(f_select)
{
    return select_any(c, k, false, false, out);
}

FILTER(f_reject)
{
    return select_any(c, k, false, true, out);
}

FILTER(f_selectattr)
{
    return select_any(c, k, true, false, out);
}

FILTER(f_rejectattr)
{
    return select_any(c, k, true, true, out);
}

FILTER(f_unique) /* case_sensitive, attribute */
{
    struct tval seen;
    bool sensitive;
    int code;
    if ((code = bool_arg(c, k->arg[0], &sensitive)) < 0 || (code = lazy(c, k, IT_UNIQUE, out)) < 0 ||
        (code = tmpl_dict_new(c, &seen)) < 0)
        return code;
    out->u.iter->case_sensitive = sensitive;
    out->u.iter->attr = k->arg[1];
    out->u.iter->seen = seen.u.dict;
    return 0;
}

FILTER(f_batch)
{
    int64_t n;
    int code = int_arg(c, k->arg[0], 1, &n);
    if (code < 0 || (code = lazy(c, k, IT_BATCH, out)) < 0) return code;
    out->u.iter->size = n;
    out->u.iter->fill = k->arg[1];
    return 0;
}

FILTER(f_slice)
{
    int64_t n;
    int code = int_arg(c, k->arg[0], 1, &n);
    if (code == 0 && n == 0) return tmpl_err(c, ERR_FORMAT, "division by zero");
    if (code < 0 || (code = lazy(c, k, IT_SLICE, out)) < 0) return code;
    out->u.iter->size = n;
    out->u.iter->fill = k->arg[1];
    return 0;
}

FILTER(f_groupby) /* attribute, default, case_sensitive */
{
    struct tval list, *key, group = MISSING, pair, shown;
    bool sensitive, same;
    int code;
    if ((code = bool_arg(c, k->arg[2], &sensitive)) < 0 ||
        (code = tmpl_to_list(c, k->self, TV_LIST, &list)) < 0 || (code = tmpl_list_new(c, TV_LIST, out)) < 0)
        return code;
    const struct tlist *l = list.u.list;
    if (!(key = TMPL_NEW(c, struct tval, l->n + 1))) return c->code;
    for (size_t i = 0; i < l->n; i++) {
        if ((code = tmpl_attr_path(c, l->v[i], k->arg[0], k->arg[1], &key[i])) < 0) return code;
        if (!sensitive && key[i].type == TV_STR &&
            (code = tmpl_text_case(c, key[i].u.s, CASE_LOWER, &key[i])) < 0)
            return code;
    }
    if ((code = tmpl_sort(c, l->v, key, l->n, false)) < 0) return code;
    for (size_t i = 0; i < l->n; i++) {
        same = false;
        if (i && (code = tmpl_equal(c, key[i - 1], key[i], &same)) < 0) return code;
        if (!same) {
            if ((code = tmpl_attr_path(c, l->v[i], k->arg[0], k->arg[1], &shown)) < 0 ||
                (code = tmpl_list_new(c, TV_LIST, &group)) < 0 ||
                (code = tmpl_list_new(c, TV_TUPLE, &pair)) < 0 ||
                (code = tmpl_list_add(c, pair.u.list, shown)) < 0 ||
                (code = tmpl_list_add(c, pair.u.list, group)) < 0 ||
                (code = tmpl_list_add(c, out->u.list, pair)) < 0)
                return code;
        }
        if ((code = tmpl_list_add(c, group.u.list, l->v[i])) < 0) return code;
    }
    return 0;
}

static const struct tmpl_native FILTERS[] = {
    {"abs", "", 0, f_abs},
    {"attr", "name", 1, f_attr},
    {"batch", "linecount,fill_with", 1, f_batch},
    {"capitalize", "", 0, f_capitalize},
    {"center", "width", 0, f_center},
    {"count", "", 0, f_length},
    {"d", "default_value,boolean", 0, f_default},
    {"default", "default_value,boolean", 0, f_default},
    {"dictsort", "case_sensitive,by,reverse", 0, f_dictsort},
    {"e", "", 0, f_escape},
    {"escape", "", 0, f_escape},
    {"filesizeformat", "binary", 0, f_filesizeformat},
    {"first", "", 0, f_first},
    {"float", "default", 0, f_float},
    {"forceescape", "", 0, f_forceescape},
    {"format", "*", 0, f_format},
    {"groupby", "attribute,default,case_sensitive", 1, f_groupby},
    {"indent", "width,first,blank", 0, f_indent},
    {"int", "default,base", 0, f_int},
    {"items", "", 0, f_items},
    {"join", "d,attribute", 0, f_join},
    {"last", "", 0, f_last},
    {"length", "", 0, f_length},
    {"list", "", 0, f_list},
    {"lower", "", 0, f_lower},
    {"map", "*", 0, f_map},
    {"max", "case_sensitive,attribute", 0, f_max},
    {"min", "case_sensitive,attribute", 0, f_min},
    {"reject", "*", 0, f_reject},
    {"rejectattr", "*", 0, f_rejectattr},
    {"replace", "old,new,count", 2, f_replace},
    {"reverse", "", 0, f_reverse},
    {"round", "precision,method", 0, f_round},
    {"safe", "", 0, f_safe},
    {"select", "*", 0, f_select},
    {"selectattr", "*", 0, f_selectattr},
    {"slice", "slices,fill_with", 1, f_slice},
    {"sort", "reverse,case_sensitive,attribute", 0, f_sort},
    {"string", "", 0, f_string},
    {"striptags", "", 0, f_striptags},
    {"sum", "attribute,start", 0, f_sum},
    {"title", "", 0, f_title},
    {"tojson", "ensure_ascii,indent,separators,sort_keys", 0, f_tojson},
    {"trim", "chars", 0, f_trim},
    {"truncate", "length,killwords,end,leeway", 0, f_truncate},
    {"unique", "case_sensitive,attribute", 0, f_unique},
    {"upper", "", 0, f_upper},
    {"urlencode", "", 0, f_urlencode},
    {"wordcount", "", 0, f_wordcount},
};

const struct tmpl_native *tmpl_filter_find(struct str name)
{
    return tmpl_table_find(FILTERS, sizeof FILTERS / sizeof *FILTERS, name);
}

bool tmpl_filter_refused(struct str name)
{
    static const char *const LEFT_OUT[] = {"pprint", "random", "urlize", "wordwrap", "xmlattr"};
    for (size_t i = 0; i < sizeof LEFT_OUT / sizeof *LEFT_OUT; i++) {
        if (str_eqz(name, LEFT_OUT[i])) return true;
    }
    return false;
}
