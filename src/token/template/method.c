/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods of Python's str, list, tuple and dict and of jinja2's loop and cycler, as far as a sandboxed
 * template can use them. What would change an object (append, update, pop ...) is there but may not be
 * touched, as in jinja2's immutable sandbox.
 */
#include "token/template/template_int.h"

#define METHOD(name) static int name(struct tmpl_run *c, struct tmpl_call *k, struct tval *out)

/* A text argument; MISSING and, if none_ok, None give NULL. */
static int text_arg(struct tmpl_run *c, struct tval v, bool none_ok, const struct text **out)
{
    *out = NULL;
    if (v.type == TV_MISSING || (none_ok && v.type == TV_NONE)) return 0;
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (v.type != TV_STR) return tmpl_err(c, ERR_FORMAT, "a text is needed, not a %s", tmpl_type_name(v));
    *out = v.u.s;
    return 0;
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

/* --- str: case and stripping ---------------------------------------------------------------------------- */

static int change_case(struct tmpl_run *c, struct tmpl_call *k, enum tmpl_case how, struct tval *out)
{
    int code = tmpl_text_case(c, k->self.u.s, how, out);
    out->markup = k->self.markup;
    return code;
}

METHOD(str_upper)
{
    return change_case(c, k, CASE_UPPER, out);
}

METHOD(str_lower)
{
    return change_case(c, k, CASE_LOWER, out);
}

METHOD(str_title)
{
    return change_case(c, k, CASE_TITLE, out);
}

METHOD(str_capitalize)
{
    return change_case(c, k, CASE_CAPITAL, out);
}

METHOD(str_swapcase)
{
    return change_case(c, k, CASE_SWAP, out);
}

static int strip(struct tmpl_run *c, struct tmpl_call *k, int sides, struct tval *out)
{
    const struct text *chars;
    int code = text_arg(c, k->arg[0], true, &chars);
    if (code == 0) code = tmpl_text_strip(c, k->self.u.s, chars, sides, out);
    out->markup = k->self.markup;
    return code;
}

METHOD(str_strip)
{
    return strip(c, k, STRIP_LEFT | STRIP_RIGHT, out);
}

METHOD(str_lstrip)
{
    return strip(c, k, STRIP_LEFT, out);
}

METHOD(str_rstrip)
{
    return strip(c, k, STRIP_RIGHT, out);
}

static int remove_affix(struct tmpl_run *c, struct tmpl_call *k, bool prefix, struct tval *out)
{
    const struct text *a, *t = k->self.u.s;
    int code = text_arg(c, k->arg[0], false, &a);
    *out = k->self;
    if (code < 0 || !a->n || a->n > t->n) return code;
    if (memcmp(prefix ? t->p : t->p + t->n - a->n, a->p, a->n) != 0) return 0;
    code = tmpl_text_part(c, t, prefix ? a->n : 0, t->n - a->n, out);
    out->markup = k->self.markup;
    return code;
}

METHOD(str_removeprefix)
{
    return remove_affix(c, k, true, out);
}

METHOD(str_removesuffix)
{
    return remove_affix(c, k, false, out);
}

static int justify(struct tmpl_run *c, struct tmpl_call *k, int where, struct tval *out)
{
    const struct text *fill, *t = k->self.u.s;
    struct tmpl_build b;
    int64_t width;
    uint32_t cp = ' ';
    int code;
    if ((code = int_arg(c, k->arg[0], 0, &width)) < 0 || (code = text_arg(c, k->arg[1], false, &fill)) < 0)
        return code;
    if (fill && fill->n_cp != 1) return tmpl_err(c, ERR_FORMAT, "the fill must be one character");
    if (fill) tmpl_utf8_next(fill->p, fill->n, &cp);
    *out = k->self;
    if (width <= (int64_t)t->n_cp) return 0;
    size_t gap = (size_t)width - t->n_cp, left = where < 0   ? 0
                                                 : where > 0 ? gap
                                                             : gap / 2 + (gap & (size_t)width & 1);
    bool trusted = fill ? tmpl_text_trusted(fill, 0) : tmpl_text_trusted(t, 0);
    if ((code = tmpl_build_init(&b, c)) < 0 || (code = tmpl_build_fill(&b, cp, left, trusted)) < 0 ||
        (code = tmpl_build_text(&b, t)) < 0 || (code = tmpl_build_fill(&b, cp, gap - left, trusted)) < 0)
        return code;
    code = tmpl_build_done(&b, out);
    out->markup = k->self.markup;
    return code;
}

METHOD(str_ljust)
{
    return justify(c, k, -1, out);
}

METHOD(str_rjust)
{
    return justify(c, k, 1, out);
}

METHOD(str_center)
{
    return justify(c, k, 0, out);
}

METHOD(str_zfill)
{
    const struct text *t = k->self.u.s;
    struct tmpl_build b;
    int64_t width;
    int code = int_arg(c, k->arg[0], 0, &width);
    *out = k->self;
    if (code < 0 || width <= (int64_t)t->n_cp) return code;
    size_t sign = t->n && (t->p[0] == '-' || t->p[0] == '+');
    if ((code = tmpl_build_init(&b, c)) < 0 || (code = tmpl_build_part(&b, t, 0, sign)) < 0 ||
        (code = tmpl_build_fill(&b, '0', (size_t)width - t->n_cp, tmpl_text_trusted(t, 0))) < 0 ||
        (code = tmpl_build_part(&b, t, sign, t->n - sign)) < 0)
        return code;
    return tmpl_build_done(&b, out);
}

/* --- str: searching ------------------------------------------------------------------------------------- */

/* The part of the text that start and end choose, as bytes [*lo, *hi); false if start is past the end. */
static int window(struct tmpl_run *c, const struct text *t, struct tval start, struct tval end, size_t *lo,
                  size_t *hi)
{
    int64_t n = (int64_t)t->n_cp, a, b;
    int code;
    if (start.type == TV_NONE) start.type = TV_MISSING;
    if (end.type == TV_NONE) end.type = TV_MISSING;
    if ((code = int_arg(c, start, 0, &a)) < 0 || (code = int_arg(c, end, n, &b)) < 0) return code;
    if (a < 0) a = a < -n ? 0 : a + n;
    if (b < 0) b = b < -n ? 0 : b + n;
    if (b > n) b = n;
    *lo = tmpl_text_offset(t, (size_t)a);
    *hi = tmpl_text_offset(t, (size_t)b);
    if (a > n) *lo = t->n + 1; /* nothing is found there, not even the empty text */
    return tmpl_step(c, t->n == t->n_cp ? 0 : t->n / 16);
}

static bool has_affix(const struct text *t, size_t lo, size_t hi, const struct text *a, bool prefix)
{
    if (lo > hi || a->n > hi - lo) return false;
    return a->n == 0 || memcmp(t->p + (prefix ? lo : hi - a->n), a->p, a->n) == 0;
}

static int affix(struct tmpl_run *c, struct tmpl_call *k, bool prefix, struct tval *out)
{
    const struct text *a;
    size_t lo, hi;
    bool yes = false;
    int code = window(c, k->self.u.s, k->arg[1], k->arg[2], &lo, &hi);
    if (code == 0 && k->arg[0].type == TV_TUPLE) {
        const struct tlist *l = k->arg[0].u.list;
        for (size_t i = 0; i < l->n && !yes && code == 0; i++) {
            if ((code = text_arg(c, l->v[i], false, &a)) == 0)
                yes = has_affix(k->self.u.s, lo, hi, a, prefix);
            if (code == 0) code = tmpl_step(c, 1);
        }
    } else if (code == 0 && (code = text_arg(c, k->arg[0], false, &a)) == 0) {
        yes = has_affix(k->self.u.s, lo, hi, a, prefix);
    }
    *out = tmpl_bool(yes);
    return code;
}

METHOD(str_startswith)
{
    return affix(c, k, true, out);
}

METHOD(str_endswith)
{
    return affix(c, k, false, out);
}

/* Last occurrence of the needle in [lo, hi). */
static bool find_last(struct tmpl_run *c, const struct text *t, size_t lo, size_t hi,
                      const struct text *needle, size_t *at)
{
    if (lo > hi || needle->n > hi - lo) return false;
    for (size_t i = hi - needle->n;; i--) {
        if (!needle->n || memcmp(t->p + i, needle->p, needle->n) == 0) {
            *at = i;
            return true;
        }
        if (i == lo || tmpl_step(c, needle->n / 64 + (i % 64 == 0)) < 0) return false;
    }
}

static int search(struct tmpl_run *c, struct tmpl_call *k, bool last, bool must_find, struct tval *out)
{
    const struct text *needle, *t = k->self.u.s;
    size_t lo, hi, at;
    int code;
    if ((code = text_arg(c, k->arg[0], false, &needle)) < 0 ||
        (code = window(c, t, k->arg[1], k->arg[2], &lo, &hi)) < 0)
        return code;
    bool hit = lo <= hi && (last ? find_last(c, t, lo, hi, needle, &at)
                                 : tmpl_text_find(c, (struct str){t->p, hi}, tmpl_view(needle), lo, &at));
    if (c->code < 0) return c->code;
    if (!hit && must_find) return tmpl_err(c, ERR_FORMAT, "the text is not found");
    *out = tmpl_int(hit ? (int64_t)tmpl_utf8_count(t->p, at) : -1, true);
    return 0;
}

METHOD(str_find)
{
    return search(c, k, false, false, out);
}

METHOD(str_rfind)
{
    return search(c, k, true, false, out);
}

METHOD(str_index)
{
    return search(c, k, false, true, out);
}

METHOD(str_rindex)
{
    return search(c, k, true, true, out);
}

METHOD(str_count)
{
    const struct text *needle, *t = k->self.u.s;
    size_t lo, hi, at;
    int64_t n = 0;
    int code;
    if ((code = text_arg(c, k->arg[0], false, &needle)) < 0 ||
        (code = window(c, t, k->arg[1], k->arg[2], &lo, &hi)) < 0)
        return code;
    if (!needle->n) {
        n = lo <= hi ? (int64_t)tmpl_utf8_count(t->p + lo, hi - lo) + 1 : 0;
    } else {
        for (; lo <= hi && tmpl_text_find(c, (struct str){t->p, hi}, tmpl_view(needle), lo, &at);
             lo = at + needle->n)
            n++;
    }
    *out = tmpl_int(n, true);
    return c->code;
}

METHOD(str_replace)
{
    const struct text *from, *to;
    struct tval t = k->self, a = k->arg[0], b = k->arg[1];
    int64_t limit;
    int code;
    if ((code = text_arg(c, a, false, &from)) < 0 || (code = text_arg(c, b, false, &to)) < 0 ||
        (code = int_arg(c, k->arg[2], -1, &limit)) < 0)
        return code;
    if (t.markup && !a.markup && (code = tmpl_text_escape(c, from, &a)) < 0) return code;
    if (t.markup && !b.markup && (code = tmpl_text_escape(c, to, &b)) < 0) return code;
    code = tmpl_text_replace(c, t.u.s, a.u.s, b.u.s, limit, out);
    out->markup = t.markup;
    return code;
}

/* --- str: splitting and joining ------------------------------------------------------------------------- */

static int add_part(struct tmpl_run *c, const struct tmpl_call *k, size_t lo, size_t hi, struct tlist *l)
{
    struct tval v;
    int code = tmpl_step(c, 1);
    if (code < 0 || (code = tmpl_text_part(c, k->self.u.s, lo, hi - lo, &v)) < 0) return code;
    v.markup = k->self.markup;
    return tmpl_list_add(c, l, v);
}

static bool space_at(const struct text *t, size_t at, size_t *len)
{
    uint32_t cp;
    *len = tmpl_utf8_next(t->p + at, t->n - at, &cp);
    return tmpl_cp_space(cp);
}

/* Start of the code point that ends at byte `at` > 0. */
static size_t before(const struct text *t, size_t at)
{
    for (at--; at > 0 && ((unsigned char)t->p[at] & 0xC0) == 0x80; at--) continue;
    return at;
}

/* At runs of whitespace, from the left; at most `limit` cuts unless it is negative. */
static int split_space(struct tmpl_run *c, const struct tmpl_call *k, int64_t limit, struct tlist *l)
{
    const struct text *t = k->self.u.s;
    size_t at = 0, len, from;
    for (int code = 0;; limit -= limit > 0) {
        while (at < t->n && space_at(t, at, &len)) at += len;
        if (at == t->n) return tmpl_step(c, t->n / 16);
        from = at;
        if (limit == 0) return add_part(c, k, from, t->n, l);
        while (at < t->n && !space_at(t, at, &len)) at += len;
        if ((code = add_part(c, k, from, at, l)) < 0) return code;
    }
}

/* The same from the right; the parts come last first. */
static int rsplit_space(struct tmpl_run *c, const struct tmpl_call *k, int64_t limit, struct tlist *l)
{
    const struct text *t = k->self.u.s;
    size_t at = t->n, len, to;
    for (int code = 0;; limit -= limit > 0) {
        while (at > 0 && space_at(t, before(t, at), &len)) at = before(t, at);
        if (at == 0) return tmpl_step(c, t->n / 16);
        to = at;
        if (limit == 0) return add_part(c, k, 0, to, l);
        while (at > 0 && !space_at(t, before(t, at), &len)) at = before(t, at);
        if ((code = add_part(c, k, at, to, l)) < 0) return code;
    }
}

static int split(struct tmpl_run *c, struct tmpl_call *k, bool right, struct tval *out)
{
    const struct text *sep, *t = k->self.u.s;
    int64_t limit;
    size_t at = 0, end = t->n, hit;
    int code;
    if ((code = text_arg(c, k->arg[0], true, &sep)) < 0 || (code = int_arg(c, k->arg[1], -1, &limit)) < 0 ||
        (code = tmpl_list_new(c, TV_LIST, out)) < 0)
        return code;
    if (sep && !sep->n) return tmpl_err(c, ERR_FORMAT, "the separator is empty");
    struct tlist *l = out->u.list;
    if (!sep) {
        code = right ? rsplit_space(c, k, limit, l) : split_space(c, k, limit, l);
    } else if (!right) {
        for (; code == 0 && limit != 0 && tmpl_text_find(c, tmpl_view(t), tmpl_view(sep), at, &hit);
             limit -= limit > 0) {
            code = add_part(c, k, at, hit, l);
            at = hit + sep->n;
        }
        if (code == 0) code = add_part(c, k, at, t->n, l);
    } else {
        for (; code == 0 && limit != 0 && find_last(c, t, 0, end, sep, &hit); limit -= limit > 0) {
            code = add_part(c, k, hit + sep->n, end, l);
            end = hit;
        }
        if (code == 0) code = add_part(c, k, 0, end, l);
    }
    for (size_t i = 0; right && i < l->n / 2; i++) {
        struct tval v = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = v;
    }
    return c->code < 0 ? c->code : code;
}

METHOD(str_split)
{
    return split(c, k, false, out);
}

METHOD(str_rsplit)
{
    return split(c, k, true, out);
}

METHOD(str_splitlines)
{
    const struct text *t = k->self.u.s;
    bool keep = false;
    int code = tmpl_list_new(c, TV_LIST, out);
    if (code == 0 && k->arg[0].type != TV_MISSING) code = tmpl_truth(c, k->arg[0], &keep);
    for (size_t at = 0; at < t->n && code == 0;) {
        size_t next, end = tmpl_text_line(tmpl_view(t), at, &next);
        code = add_part(c, k, at, keep ? next : end, out->u.list);
        at = next;
    }
    return code;
}

static int partition(struct tmpl_run *c, struct tmpl_call *k, bool right, struct tval *out)
{
    const struct text *sep, *t = k->self.u.s;
    size_t at = right ? 0 : t->n, end = at;
    int code = text_arg(c, k->arg[0], false, &sep);
    if (code < 0 || (code = tmpl_list_new(c, TV_TUPLE, out)) < 0) return code;
    if (!sep->n) return tmpl_err(c, ERR_FORMAT, "the separator is empty");
    if (right ? find_last(c, t, 0, t->n, sep, &at) : tmpl_text_find(c, tmpl_view(t), tmpl_view(sep), 0, &at))
        end = at + sep->n;
    if ((code = add_part(c, k, 0, at, out->u.list)) < 0 || (code = add_part(c, k, at, end, out->u.list)) < 0)
        return code;
    return add_part(c, k, end, t->n, out->u.list);
}

METHOD(str_partition)
{
    return partition(c, k, false, out);
}

METHOD(str_rpartition)
{
    return partition(c, k, true, out);
}

METHOD(str_join)
{
    struct tmpl_build b;
    struct titer *it;
    struct tval v;
    bool first = true;
    int code = tmpl_iter(c, k->arg[0], &it), more = 0;
    if (code < 0 || (code = tmpl_build_init(&b, c)) < 0) return code;
    while (code == 0 && (more = tmpl_next(c, it, &v)) > 0) {
        if (v.type != TV_STR)
            return tmpl_err(c, ERR_FORMAT, "join() needs texts, not a %s", tmpl_type_name(v));
        if (k->self.markup && !v.markup && (code = tmpl_text_escape(c, v.u.s, &v)) < 0) return code;
        if (!first) code = tmpl_build_text(&b, k->self.u.s);
        if (code == 0) code = tmpl_build_text(&b, v.u.s);
        first = false;
    }
    if (code < 0 || more < 0) return c->code;
    code = tmpl_build_done(&b, out);
    out->markup = k->self.markup;
    return code;
}

METHOD(str_format)
{
    if (k->self.markup)
        return tmpl_err(c, ERR_UNSUPPORTED, "format() of a text marked safe is not supported");
    return tmpl_format_braces(c, k->self.u.s, k, out);
}

/* --- str: questions ------------------------------------------------------------------------------------- */

static bool ascii(uint32_t cp)
{
    return cp < 0x80;
}

static int all_of(struct tmpl_run *c, struct tmpl_call *k, bool (*is)(uint32_t), bool if_empty,
                  struct tval *out)
{
    const struct text *t = k->self.u.s;
    bool yes = t->n || if_empty;
    for (size_t at = 0; at < t->n && yes;) {
        uint32_t cp;
        at += tmpl_utf8_next(t->p + at, t->n - at, &cp);
        yes = is(cp);
    }
    *out = tmpl_bool(yes);
    return tmpl_step(c, t->n / 16);
}

METHOD(str_isalpha)
{
    return all_of(c, k, tmpl_cp_alpha, false, out);
}

METHOD(str_isdigit)
{
    return all_of(c, k, tmpl_cp_digit, false, out);
}

METHOD(str_isdecimal)
{
    return all_of(c, k, tmpl_cp_decimal, false, out);
}

METHOD(str_isnumeric)
{
    return all_of(c, k, tmpl_cp_numeric, false, out);
}

METHOD(str_isalnum)
{
    return all_of(c, k, tmpl_cp_alnum, false, out);
}

METHOD(str_isspace)
{
    return all_of(c, k, tmpl_cp_space, false, out);
}

METHOD(str_isascii)
{
    return all_of(c, k, ascii, true, out);
}

METHOD(str_isprintable)
{
    const struct text *t = k->self.u.s;
    bool yes = true;
    for (size_t at = 0; at < t->n && yes;) {
        uint32_t cp;
        at += tmpl_utf8_next(t->p + at, t->n - at, &cp);
        yes = tmpl_cp_printable(cp);
    }
    *out = tmpl_bool(yes);
    return tmpl_step(c, t->n / 16);
}

static int via_test(struct tmpl_run *c, struct tmpl_call *k, const char *test, struct tval *out)
{
    return tmpl_native_call(c, tmpl_test_find(str_from(test)), k, out);
}

METHOD(str_isupper)
{
    return via_test(c, k, "upper", out);
}

METHOD(str_islower)
{
    return via_test(c, k, "lower", out);
}

/* --- containers ----------------------------------------------------------------------------------------- */

METHOD(list_index)
{
    const struct tlist *l = k->self.u.list;
    int64_t n = (int64_t)l->n, lo, hi;
    int code;
    if ((code = int_arg(c, k->arg[1], 0, &lo)) < 0 || (code = int_arg(c, k->arg[2], n, &hi)) < 0) return code;
    if (lo < 0) lo = lo < -n ? 0 : lo + n;
    if (hi < 0) hi = hi < -n ? 0 : hi + n;
    for (int64_t i = lo; i < n && i < hi; i++) {
        bool same;
        if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_equal(c, l->v[i], k->arg[0], &same)) < 0)
            return code;
        if (!same) continue;
        *out = tmpl_int(i, true);
        return 0;
    }
    return tmpl_err(c, ERR_FORMAT, "the value is not in the list");
}

METHOD(list_count)
{
    const struct tlist *l = k->self.u.list;
    int64_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        bool same;
        int code;
        if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_equal(c, l->v[i], k->arg[0], &same)) < 0)
            return code;
        n += same;
    }
    *out = tmpl_int(n, true);
    return 0;
}

METHOD(get_copy)
{
    (void)c;
    *out = k->self; /* nothing can change it, so it is its own copy */
    return 0;
}

METHOD(dict_get)
{
    int code = tmpl_dict_get(c, k->self.u.dict, k->arg[0], out);
    if (code == 0) *out = k->arg[1].type == TV_MISSING ? tmpl_none() : k->arg[1];
    return code < 0 ? code : 0;
}

static int view(struct tmpl_call *k, enum tmpl_view kind, struct tval *out)
{
    *out = k->self;
    out->type = TV_VIEW;
    out->kind = (uint8_t)kind;
    return 0;
}

METHOD(dict_keys)
{
    (void)c;
    return view(k, VIEW_KEYS, out);
}

METHOD(dict_values)
{
    (void)c;
    return view(k, VIEW_VALUES, out);
}

METHOD(dict_items)
{
    (void)c;
    return view(k, VIEW_ITEMS, out);
}

METHOD(float_is_integer)
{
    double f = k->self.u.f;
    (void)c;
    *out = tmpl_bool(f >= -9.2e18 && f <= 9.2e18 ? (double)(int64_t)f == f : f - f == 0);
    return 0;
}

METHOD(loop_cycle)
{
    if (!k->n_pos || k->n_kw) return tmpl_err(c, ERR_FORMAT, "loop.cycle() needs items");
    int64_t i = tmpl_loop_index(k->self.u.loop);
    *out = k->pos[(uint64_t)(i < 0 ? 0 : i) % k->n_pos];
    return 0;
}

METHOD(loop_changed)
{
    struct tval list;
    int code = tmpl_list_new(c, TV_TUPLE, &list);
    for (size_t i = 0; i < k->n_pos && code == 0; i++) code = tmpl_list_add(c, list.u.list, k->pos[i]);
    if (code < 0) return code;
    *out = tmpl_bool(tmpl_loop_changed(c, k->self.u.loop, list, &code));
    return code;
}

METHOD(cycler_next)
{
    struct tcycle *j = k->self.u.cycle;
    (void)c;
    *out = j->items->v[j->pos];
    j->pos = (j->pos + 1) % j->items->n;
    return 0;
}

METHOD(cycler_reset)
{
    (void)c;
    k->self.u.cycle->pos = 0;
    *out = tmpl_none();
    return 0;
}

/* --- tables --------------------------------------------------------------------------------------------- */

static const struct tmpl_native STR_METHODS[] = {
    {"upper", "", 0, str_upper},
    {"lower", "", 0, str_lower},
    {"title", "", 0, str_title},
    {"casefold", "", 0, str_lower},
    {"capitalize", "", 0, str_capitalize},
    {"swapcase", "", 0, str_swapcase},
    {"strip", "/chars", 0, str_strip},
    {"lstrip", "/chars", 0, str_lstrip},
    {"rstrip", "/chars", 0, str_rstrip},
    {"removeprefix", "/prefix", 1, str_removeprefix},
    {"removesuffix", "/suffix", 1, str_removesuffix},
    {"ljust", "/width,fill", 1, str_ljust},
    {"rjust", "/width,fill", 1, str_rjust},
    {"center", "/width,fill", 1, str_center},
    {"zfill", "/width", 1, str_zfill},
    {"startswith", "/prefix,start,end", 1, str_startswith},
    {"endswith", "/suffix,start,end", 1, str_endswith},
    {"find", "/sub,start,end", 1, str_find},
    {"rfind", "/sub,start,end", 1, str_rfind},
    {"index", "/sub,start,end", 1, str_index},
    {"rindex", "/sub,start,end", 1, str_rindex},
    {"count", "/sub,start,end", 1, str_count},
    {"replace", "/old,new,count", 2, str_replace},
    {"split", "sep,maxsplit", 0, str_split},
    {"rsplit", "sep,maxsplit", 0, str_rsplit},
    {"splitlines", "keepends", 0, str_splitlines},
    {"partition", "/sep", 1, str_partition},
    {"rpartition", "/sep", 1, str_rpartition},
    {"join", "/iterable", 1, str_join},
    {"format", "*", 0, str_format},
    {"isalpha", "", 0, str_isalpha},
    {"isdigit", "", 0, str_isdigit},
    {"isdecimal", "", 0, str_isdecimal},
    {"isnumeric", "", 0, str_isnumeric},
    {"isalnum", "", 0, str_isalnum},
    {"isspace", "", 0, str_isspace},
    {"isascii", "", 0, str_isascii},
    {"isprintable", "", 0, str_isprintable},
    {"isupper", "", 0, str_isupper},
    {"islower", "", 0, str_islower},
};
static const struct tmpl_native LIST_METHODS[] = {
    {"index", "/value,start,stop", 1, list_index},
    {"count", "/value", 1, list_count},
    {"copy", "", 0, get_copy},
};
static const struct tmpl_native DICT_METHODS[] = {
    {"get", "/key,default", 1, dict_get}, {"keys", "", 0, dict_keys}, {"values", "", 0, dict_values},
    {"items", "", 0, dict_items},         {"copy", "", 0, get_copy},
};
static const struct tmpl_native FLOAT_METHODS[] = {{"is_integer", "", 0, float_is_integer}};
static const struct tmpl_native LOOP_METHODS[] = {{"cycle", "*", 0, loop_cycle},
                                                  {"changed", "*", 0, loop_changed}};
static const struct tmpl_native CYCLE_METHODS[] = {{"next", "", 0, cycler_next},
                                                   {"reset", "", 0, cycler_reset}};

static const char *const LIST_UNSAFE[] = {"append", "clear",   "extend", "insert", "pop",
                                          "remove", "reverse", "sort",   NULL};
static const char *const DICT_UNSAFE[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};

#define FIND(table, name) tmpl_table_find(table, sizeof table / sizeof *table, name)

const struct tmpl_native *tmpl_method_find(struct tval self, struct str name, bool *unsafe)
{
    const char *const *z = self.type == TV_LIST ? LIST_UNSAFE : self.type == TV_DICT ? DICT_UNSAFE : NULL;
    *unsafe = false;
    for (; z && *z; z++) *unsafe |= str_eqz(name, *z);
    switch (self.type) {
    case TV_STR:
        return FIND(STR_METHODS, name);
    case TV_LIST:
        return FIND(LIST_METHODS, name);
    case TV_TUPLE:
        return str_eqz(name, "copy") ? NULL : FIND(LIST_METHODS, name);
    case TV_RANGE:
        return NULL;
    case TV_DICT:
        return FIND(DICT_METHODS, name);
    case TV_FLOAT:
        return FIND(FLOAT_METHODS, name);
    case TV_LOOP:
        return FIND(LOOP_METHODS, name);
    case TV_CYCLE:
        return self.u.cycle->items ? FIND(CYCLE_METHODS, name) : NULL;
    default:
        return NULL;
    }
}
#undef FIND
