/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Python's operators do with the values of the template interpreter: truth, equality, order, "in",
 * arithmetic, attributes, subscripts and slices. Integers are 64 bits wide and an overflow is an error.
 * Access to what is not there gives jinja2's undefined value; access to anything of an undefined value is an
 * error.
 */
#include "token/template/template_int.h"

#include <math.h>

static int unsupported(struct tmpl_run *c, const char *what, struct tval a, struct tval b)
{
    if (a.type == TV_UNDEF) return tmpl_undef_err(c, a);
    if (b.type == TV_UNDEF) return tmpl_undef_err(c, b);
    return tmpl_err(c, ERR_FORMAT, "%s does not work between %s and %s", what, tmpl_type_name(a),
                    tmpl_type_name(b));
}

int tmpl_truth(struct tmpl_run *c, struct tval v, bool *out)
{
    int64_t n = 1;
    int code = 0;
    switch (v.type) {
    case TV_NONE:
    case TV_UNDEF:
        n = 0;
        break;
    case TV_BOOL:
        n = v.u.b;
        break;
    case TV_INT:
        n = v.u.i != 0;
        break;
    case TV_FLOAT:
        n = v.u.f != 0;
        break;
    case TV_STR:
        n = v.u.s->n != 0;
        break;
    default:
        if (tmpl_has_length(v)) code = tmpl_length(c, v, &n);
    }
    *out = n != 0;
    return code;
}

bool tmpl_has_length(struct tval v)
{
    return v.type == TV_STR || v.type == TV_LIST || v.type == TV_TUPLE || v.type == TV_DICT ||
           v.type == TV_RANGE || v.type == TV_VIEW || v.type == TV_UNDEF || v.type == TV_LOOP;
}

int tmpl_length(struct tmpl_run *c, struct tval v, int64_t *n)
{
    switch (v.type) {
    case TV_STR:
        *n = (int64_t)v.u.s->n_cp;
        return 0;
    case TV_LIST:
    case TV_TUPLE:
        *n = (int64_t)v.u.list->n;
        return 0;
    case TV_DICT:
    case TV_VIEW:
        *n = (int64_t)v.u.dict->n;
        return 0;
    case TV_RANGE:
        *n = v.u.range->n;
        return 0;
    case TV_UNDEF:
        *n = 0;
        return 0;
    case TV_LOOP:
        return tmpl_loop_length(c, v.u.loop, n);
    default:
        return tmpl_err(c, ERR_FORMAT, "a %s has no length", tmpl_type_name(v));
    }
}

/* -1, 0, 1; 2 if one is not a number */
static int compare_numbers(struct tval a, struct tval b)
{
    if (tmpl_is_int(a) && tmpl_is_int(b)) {
        int64_t x = tmpl_as_int(a), y = tmpl_as_int(b);
        return (x > y) - (x < y);
    }
    if (a.type == TV_FLOAT && b.type == TV_FLOAT) {
        if (isnan(a.u.f) || isnan(b.u.f)) return 2;
        return (a.u.f > b.u.f) - (a.u.f < b.u.f);
    }
    if (a.type == TV_FLOAT) {
        int r = compare_numbers(b, a);
        return r == 2 ? 2 : -r;
    }
    int64_t x = tmpl_as_int(a);
    double y = b.u.f;
    if (isnan(y)) return 2;
    if (y >= 0x1p63) return -1;
    if (y < -0x1p63) return 1;
    int64_t t = (int64_t)y;
    if (x != t) return x > t ? 1 : -1;
    double frac = y - (double)t;
    return (frac < 0) - (frac > 0);
}

static int equal_dicts(struct tmpl_run *c, const struct tdict *a, const struct tdict *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++) {
        struct tval v;
        int code = tmpl_dict_get(c, b, a->p[i].k, &v);
        if (code < 0) return code;
        *out = code > 0;
        if (*out && (code = tmpl_equal(c, a->p[i].v, v, out)) < 0) return code;
    }
    return 0;
}

int tmpl_equal(struct tmpl_run *c, struct tval a, struct tval b, bool *out)
{
    int code = 0;
    if (tmpl_is_num(a) && tmpl_is_num(b)) {
        *out = compare_numbers(a, b) == 0;
        return 0;
    }
    *out = a.type == b.type && a.type > TV_STR && a.u.list == b.u.list && a.kind == b.kind; /* one object */
    if (*out || a.type != b.type) return 0;
    switch (a.type) {
    case TV_UNDEF:
    case TV_NONE:
        *out = true;
        return 0;
    case TV_STR:
        *out = str_eq(tmpl_view(a.u.s), tmpl_view(b.u.s));
        return *out ? tmpl_step(c, a.u.s->n / 64) : 0;
    case TV_RANGE:
        *out = a.u.range->n == b.u.range->n &&
               (!a.u.range->n || (a.u.range->start == b.u.range->start &&
                                  (a.u.range->n == 1 || a.u.range->step == b.u.range->step)));
        return 0;
    case TV_LIST:
    case TV_TUPLE:
        *out = a.u.list->n == b.u.list->n;
        if (!*out) return 0;
        if ((code = tmpl_enter(c)) < 0) return code;
        for (size_t i = 0; i < a.u.list->n && *out && code == 0; i++) {
            if ((code = tmpl_step(c, 1)) == 0) code = tmpl_equal(c, a.u.list->v[i], b.u.list->v[i], out);
        }
        tmpl_leave(c);
        return code;
    case TV_DICT:
        if ((code = tmpl_enter(c)) < 0) return code;
        code = equal_dicts(c, a.u.dict, b.u.dict, out);
        tmpl_leave(c);
        return code;
    default:
        return 0;
    }
}

static bool order_holds(int cmp, enum tmpl_op op)
{
    if (cmp == 2) return false;
    switch (op) {
    case OP_LT:
        return cmp < 0;
    case OP_LE:
        return cmp <= 0;
    case OP_GT:
        return cmp > 0;
    default:
        return cmp >= 0;
    }
}

int tmpl_less(struct tmpl_run *c, struct tval a, struct tval b, enum tmpl_op op, bool *out)
{
    if (tmpl_is_num(a) && tmpl_is_num(b)) {
        *out = order_holds(compare_numbers(a, b), op);
        return 0;
    }
    if (a.type == TV_STR && b.type == TV_STR) { /* the order of UTF-8 bytes is that of code points */
        size_t n = a.u.s->n < b.u.s->n ? a.u.s->n : b.u.s->n;
        int r = n ? memcmp(a.u.s->p, b.u.s->p, n) : 0;
        if (r == 0) r = (a.u.s->n > b.u.s->n) - (a.u.s->n < b.u.s->n);
        *out = order_holds((r > 0) - (r < 0), op);
        return tmpl_step(c, n / 64);
    }
    if (a.type == b.type && (a.type == TV_LIST || a.type == TV_TUPLE)) {
        const struct tlist *x = a.u.list, *y = b.u.list;
        int code = tmpl_enter(c);
        if (code < 0) return code;
        bool same = true;
        size_t i = 0;
        while (i < x->n && i < y->n && code == 0) {
            if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_equal(c, x->v[i], y->v[i], &same)) < 0 || !same)
                break;
            i++;
        }
        if (code == 0 && !same)
            code = tmpl_less(c, x->v[i], y->v[i], op, out);
        else
            *out = order_holds((x->n > y->n) - (x->n < y->n), op);
        tmpl_leave(c);
        return code;
    }
    return unsupported(c, "an order comparison", a, b);
}

int tmpl_contains(struct tmpl_run *c, struct tval seq, struct tval v, bool *out)
{
    struct titer *it;
    struct tval item;
    int code;
    *out = false;
    if (seq.type == TV_STR) {
        size_t at;
        if (v.type != TV_STR) return unsupported(c, "'in'", v, seq);
        *out = tmpl_text_find(c, tmpl_view(seq.u.s), tmpl_view(v.u.s), 0, &at);
        return c->code;
    }
    if (seq.type == TV_DICT || (seq.type == TV_VIEW && seq.kind == VIEW_KEYS)) {
        code = tmpl_dict_get(c, seq.u.dict, v, &item);
        *out = code > 0;
        return code < 0 ? code : 0;
    }
    if (!tmpl_iterable(seq)) return unsupported(c, "'in'", v, seq);
    if ((code = tmpl_iter(c, seq, &it)) < 0) return code;
    while (!*out && (code = tmpl_next(c, it, &item)) > 0) {
        if ((code = tmpl_equal(c, item, v, out)) < 0) return code;
    }
    return code < 0 ? code : 0;
}

/* --- arithmetic ----------------------------------------------------------------------------------------- */

static int overflow(struct tmpl_run *c)
{
    return tmpl_err(c, ERR_LIMIT, "an integer does not fit into 64 bits");
}

static int repeat(struct tmpl_run *c, struct tval v, int64_t n, struct tval *out)
{
    int code;
    if (n < 0) n = 0;
    if (v.type == TV_STR) {
        struct tmpl_build b;
        if (v.u.s->n && n > TEMPLATE_OUTPUT_MAX / (int64_t)v.u.s->n)
            return tmpl_err(c, ERR_LIMIT, "a text grows past %d bytes", TEMPLATE_OUTPUT_MAX);
        if ((code = tmpl_build_init(&b, c)) < 0) return code;
        for (int64_t i = 0; i < n && v.u.s->n; i++) {
            if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_build_text(&b, v.u.s)) < 0) return code;
        }
        code = tmpl_build_done(&b, out);
        out->markup = v.markup;
        return code;
    }
    if ((code = tmpl_list_new(c, v.type, out)) < 0) return code;
    out->trusted = v.trusted;
    for (int64_t i = 0; i < n && v.u.list->n; i++) {
        for (size_t j = 0; j < v.u.list->n; j++) {
            if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_list_add(c, out->u.list, v.u.list->v[j])) < 0)
                return code;
        }
    }
    return 0;
}

static int power(struct tmpl_run *c, struct tval a, struct tval b, struct tval *out)
{
    bool trusted = a.trusted && b.trusted;
    if (tmpl_is_int(a) && tmpl_is_int(b) && tmpl_as_int(b) >= 0) {
        int64_t base = tmpl_as_int(a), n = tmpl_as_int(b), r = 1;
        if (base == 0 || base == 1 || base == -1) { /* any exponent */
            *out = tmpl_int(n == 0 ? 1 : base == -1 && n % 2 == 0 ? 1 : base, trusted);
            return 0;
        }
        for (; n > 0; n--) { /* at most 63 rounds before the overflow */
            if (__builtin_mul_overflow(r, base, &r)) return overflow(c);
        }
        *out = tmpl_int(r, trusted);
        return 0;
    }
    double x = tmpl_as_float(a), y = tmpl_as_float(b);
    if (x == 0 && y < 0) return tmpl_err(c, ERR_FORMAT, "0 cannot be raised to a negative power");
    if (x < 0 && isfinite(y) && y != floor(y))
        return tmpl_err(c, ERR_UNSUPPORTED, "the power is a complex number");
    double r = pow(x, y);
    if (isinf(r) && isfinite(x) && isfinite(y)) return tmpl_err(c, ERR_FORMAT, "the power is too large");
    *out = tmpl_float(r, trusted);
    return 0;
}

static int arith_int(struct tmpl_run *c, enum tmpl_op op, int64_t a, int64_t b, struct tval *out)
{
    int64_t r = 0;
    bool over = false;
    switch (op) {
    case OP_ADD:
        over = __builtin_add_overflow(a, b, &r);
        break;
    case OP_SUB:
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case OP_MUL:
        over = __builtin_mul_overflow(a, b, &r);
        break;
    default:
        if (b == 0) return tmpl_err(c, ERR_FORMAT, "division by zero");
        if (b == -1) {
            over = op == OP_FLOORDIV && __builtin_sub_overflow((int64_t)0, a, &r);
        } else if (op == OP_FLOORDIV) {
            r = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
        } else {
            r = a % b;
            if (r != 0 && (r < 0) != (b < 0)) r += b;
        }
    }
    if (over) return overflow(c);
    out->u.i = r;
    return 0;
}

static int arith_float(struct tmpl_run *c, enum tmpl_op op, double a, double b, double *out)
{
    switch (op) {
    case OP_ADD:
        *out = a + b;
        return 0;
    case OP_SUB:
        *out = a - b;
        return 0;
    case OP_MUL:
        *out = a * b;
        return 0;
    default:
        break;
    }
    if (b == 0) return tmpl_err(c, ERR_FORMAT, "division by zero");
    if (op == OP_DIV) {
        *out = a / b;
        return 0;
    }
    double mod = fmod(a, b), div = (a - mod) / b;
    if (mod != 0 && (mod < 0) != (b < 0)) {
        mod += b;
        div -= 1;
    } else if (mod == 0) {
        mod = copysign(0.0, b);
    }
    double down = floor(div);
    if (div - down > 0.5) down += 1;
    if (div == 0) down = copysign(0.0, a / b);
    *out = op == OP_MOD ? mod : down;
    return 0;
}

static int add_text(struct tmpl_run *c, struct tval a, struct tval b, struct tval *out)
{
    bool markup = a.markup || b.markup;
    int code;
    if (markup && !a.markup && (code = tmpl_text_escape(c, a.u.s, &a)) < 0) return code;
    if (markup && !b.markup && (code = tmpl_text_escape(c, b.u.s, &b)) < 0) return code;
    code = tmpl_text_concat(c, a.u.s, b.u.s, out);
    out->markup = markup;
    return code;
}

int tmpl_arith(struct tmpl_run *c, enum tmpl_op op, struct tval a, struct tval b, struct tval *out)
{
    static const char *const SIGN[] = {"'+'", "'-'", "'*'", "'/'", "'//'", "'%'", "'**'"};
    bool a_seq = a.type == TV_STR || a.type == TV_LIST || a.type == TV_TUPLE;
    bool b_seq = b.type == TV_STR || b.type == TV_LIST || b.type == TV_TUPLE;
    if (tmpl_is_num(a) && tmpl_is_num(b)) {
        bool ints = tmpl_is_int(a) && tmpl_is_int(b);
        if (op == OP_POW) return power(c, a, b, out);
        if (ints && op != OP_DIV) {
            *out = tmpl_int(0, a.trusted && b.trusted);
            return arith_int(c, op, tmpl_as_int(a), tmpl_as_int(b), out);
        }
        *out = tmpl_float(0, a.trusted && b.trusted);
        return arith_float(c, op, tmpl_as_float(a), tmpl_as_float(b), &out->u.f);
    }
    if (op == OP_ADD && a.type == TV_STR && b.type == TV_STR) return add_text(c, a, b, out);
    if (op == OP_ADD && a_seq && a.type == b.type) return tmpl_list_concat(c, a, b, out);
    if (op == OP_MUL && a_seq && tmpl_is_int(b)) return repeat(c, a, tmpl_as_int(b), out);
    if (op == OP_MUL && b_seq && tmpl_is_int(a)) return repeat(c, b, tmpl_as_int(a), out);
    if (op == OP_MOD && a.type == TV_STR)
        return tmpl_format_percent(c, a.u.s, b, a.markup, out);
    return unsupported(c, SIGN[op], a, b);
}

/* --- attributes and items ------------------------------------------------------------------------------- */

/* An attribute proper, as Python's getattr finds it: 1 found, 0, negative. */
static int own_attr(struct tmpl_run *c, struct tval a, const struct text *name, struct tval *out)
{
    bool unsafe = false;
    if (a.type == TV_NS) return tmpl_dict_getz(c, a.u.dict, tmpl_view(name), out);
    if (a.type == TV_LOOP) {
        int code = tmpl_loop_attr(c, a.u.loop, tmpl_view(name), out);
        if (code) return code;
    }
    if (a.type == TV_CYCLE && a.u.cycle->items && str_eqz(tmpl_view(name), "current")) {
        *out = a.u.cycle->items->v[a.u.cycle->pos];
        return 1;
    }
    if (a.type == TV_MACRO && str_eqz(tmpl_view(name), "name")) {
        int code = tmpl_str_out(c, tmpl_macro_name(a.u.macro), true, out);
        return code < 0 ? code : 1;
    }
    const struct tmpl_native *fn = tmpl_method_find(a, tmpl_view(name), &unsafe);
    if (unsafe || str_starts(tmpl_view(name), STR("__"))) {
        *out = tmpl_undef(UNDEF_UNSAFE, name);
        return 1;
    }
    if (!fn) return 0;
    struct tbound *bound = TMPL_NEW(c, struct tbound, 1);
    if (!bound) return c->code;
    *bound = (struct tbound){fn, a};
    *out = (struct tval){.type = TV_NATIVE, .trusted = true, .u.bound = bound};
    return 1;
}

int tmpl_getattr(struct tmpl_run *c, struct tval a, const struct text *name, struct tval *out)
{
    if (a.type == TV_UNDEF) return tmpl_undef_err(c, a);
    int code = own_attr(c, a, name, out);
    if (code == 0 && a.type == TV_DICT) {
        code = tmpl_dict_get(c, a.u.dict, (struct tval){.type = TV_STR, .u.s = name}, out);
    }
    if (code == 0) *out = tmpl_undef(UNDEF_ATTR, name);
    return code < 0 ? code : 0;
}

/* Index i of n items, counted from the end if negative; false if it is outside. */
static bool in_range(int64_t *i, size_t n)
{
    if (*i < 0) *i += (int64_t)n;
    return *i >= 0 && *i < (int64_t)n;
}

/* Item of a sequence or dict: 1 found, 0, negative. */
static int own_item(struct tmpl_run *c, struct tval a, struct tval key, struct tval *out)
{
    int64_t i = tmpl_is_int(key) ? tmpl_as_int(key) : 0;
    int code;
    if (a.type == TV_DICT) return tmpl_hashable(key) ? tmpl_dict_get(c, a.u.dict, key, out) : 0;
    if (!tmpl_is_int(key)) return 0;
    switch (a.type) {
    case TV_LIST:
    case TV_TUPLE:
        if (!in_range(&i, a.u.list->n)) return 0;
        *out = a.u.list->v[i];
        return 1;
    case TV_RANGE:
        if (!in_range(&i, (size_t)a.u.range->n)) return 0;
        *out = tmpl_int(tmpl_range_at(a.u.range, i), a.trusted);
        return 1;
    case TV_STR: {
        if (!in_range(&i, a.u.s->n_cp)) return 0;
        size_t at = tmpl_text_offset(a.u.s, (size_t)i);
        uint32_t cp;
        if ((code = tmpl_step(c, a.u.s->n == a.u.s->n_cp ? 0 : at / 16)) < 0) return code;
        code = tmpl_text_part(c, a.u.s, at, tmpl_utf8_next(a.u.s->p + at, a.u.s->n - at, &cp), out);
        out->markup = a.markup;
        return code < 0 ? code : 1;
    }
    default:
        return 0;
    }
}

int tmpl_getitem(struct tmpl_run *c, struct tval a, struct tval key, struct tval *out)
{
    struct tval name = key;
    if (a.type == TV_UNDEF) return tmpl_undef_err(c, a);
    int code = own_item(c, a, key, out);
    if (code == 0 && key.type == TV_STR) code = own_attr(c, a, key.u.s, out);
    if (code == 0) {
        if (key.type != TV_STR && (code = tmpl_to_str(c, key, &name)) < 0) return code;
        *out = tmpl_undef(UNDEF_ATTR, name.u.s);
    }
    return code < 0 ? code : 0;
}

/* One bound of a slice; given is false for None. */
static int bound_of(struct tmpl_run *c, struct tval v, int64_t *i, bool *given)
{
    *given = v.type != TV_MISSING && v.type != TV_NONE;
    if (!*given) return 0;
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (!tmpl_is_int(v))
        return tmpl_err(c, ERR_FORMAT, "a slice's bound is a %s, not an int", tmpl_type_name(v));
    *i = tmpl_as_int(v);
    return 0;
}

static int64_t clamp(int64_t i, int64_t n, int64_t lo, int64_t hi)
{
    if (i < 0) i = i < -n ? -1 : i + n;
    return i < lo ? lo : i > hi ? hi : i;
}

static int slice_text(struct tmpl_run *c, const struct text *t, int64_t start, int64_t step, int64_t count,
                      struct tval *out)
{
    struct tmpl_build b;
    uint32_t *at;
    int code;
    if (step == 1) {
        size_t lo = tmpl_text_offset(t, (size_t)start), hi = tmpl_text_offset(t, (size_t)(start + count));
        if ((code = tmpl_step(c, t->n == t->n_cp ? 0 : hi / 16)) < 0) return code;
        return tmpl_text_part(c, t, lo, hi - lo, out);
    }
    if ((code = tmpl_step(c, t->n / 4)) < 0 || (code = tmpl_build_init(&b, c)) < 0) return code;
    if (!(at = TMPL_NEW(c, uint32_t, t->n_cp + 1))) return c->code;
    for (size_t i = 0, o = 0; o < t->n && i < t->n_cp; i++) {
        uint32_t cp;
        at[i] = (uint32_t)o; /* texts are shorter than 2^32 */
        o += tmpl_utf8_next(t->p + o, t->n - o, &cp);
        at[i + 1] = (uint32_t)o;
    }
    for (int64_t k = 0, i = start; k < count && code == 0; k++, i += step)
        code = tmpl_build_part(&b, t, at[i], at[i + 1] - at[i]);
    return code < 0 ? code : tmpl_build_done(&b, out);
}

int tmpl_slice(struct tmpl_run *c, struct tval a, struct tval lo, struct tval hi, struct tval by,
               struct tval *out)
{
    int64_t start = 0, stop = 0, step = 1, n = 0, count = 0;
    bool has_start, has_stop, has_step;
    int code;
    if (a.type == TV_UNDEF) return tmpl_undef_err(c, a);
    if (a.type != TV_STR && a.type != TV_LIST && a.type != TV_TUPLE && a.type != TV_RANGE)
        return tmpl_err(c, ERR_FORMAT, "a %s cannot be sliced", tmpl_type_name(a));
    if ((code = bound_of(c, lo, &start, &has_start)) < 0 || (code = bound_of(c, hi, &stop, &has_stop)) < 0 ||
        (code = bound_of(c, by, &step, &has_step)) < 0 || (code = tmpl_length(c, a, &n)) < 0)
        return code;
    if (step == 0) return tmpl_err(c, ERR_FORMAT, "a slice's step is zero");
    if (step > 0) {
        start = has_start ? clamp(start, n, 0, n) : 0;
        stop = has_stop ? clamp(stop, n, 0, n) : n;
        if (stop > start) count = (stop - start - 1) / step + 1;
    } else {
        if (step == INT64_MIN) step++; /* any step this large means one item */
        start = has_start ? clamp(start, n, -1, n - 1) : n - 1;
        stop = has_stop ? clamp(stop, n, -1, n - 1) : -1;
        if (stop < start) count = (start - stop - 1) / -step + 1;
    }
    if (count < 2) step = 1;
    if (a.type == TV_STR) {
        code = slice_text(c, a.u.s, count ? start : 0, step, count, out);
        out->markup = a.markup;
        return code;
    }
    if (a.type == TV_RANGE) {
        struct trange *r = TMPL_NEW(c, struct trange, 1);
        if (!r) return c->code;
        *r = (struct trange){count ? tmpl_range_at(a.u.range, start) : 0, 0, count, 0};
        if (__builtin_mul_overflow(step, a.u.range->step, &r->step)) return overflow(c);
        r->stop = tmpl_range_at(r, count);
        *out = a;
        out->u.range = r;
        return 0;
    }
    if ((code = tmpl_list_new(c, a.type, out)) < 0) return code;
    out->trusted = a.trusted;
    for (int64_t k = 0, i = start; k < count; k++, i += step) {
        if ((code = tmpl_list_add(c, out->u.list, a.u.list->v[i])) < 0) return code;
    }
    return tmpl_step(c, (size_t)count / 8);
}
