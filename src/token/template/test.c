/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of the template language: what may stand after "is". Names, aliases and answers are jinja2's. */
#include "token/template/template_int.h"

#define TEST(name) static int name(struct tmpl_run *c, struct tmpl_call *k, struct tval *out)

static int answer(struct tval *out, bool yes)
{
    *out = tmpl_bool(yes);
    return 0;
}

TEST(is_defined)
{
    (void)c;
    return answer(out, k->self.type != TV_UNDEF);
}

TEST(is_undefined)
{
    (void)c;
    return answer(out, k->self.type == TV_UNDEF);
}

TEST(is_none)
{
    (void)c;
    return answer(out, k->self.type == TV_NONE);
}

TEST(is_boolean)
{
    (void)c;
    return answer(out, k->self.type == TV_BOOL);
}

TEST(is_true)
{
    (void)c;
    return answer(out, k->self.type == TV_BOOL && k->self.u.b);
}

TEST(is_false)
{
    (void)c;
    return answer(out, k->self.type == TV_BOOL && !k->self.u.b);
}

TEST(is_integer)
{
    (void)c;
    return answer(out, k->self.type == TV_INT);
}

TEST(is_float)
{
    (void)c;
    return answer(out, k->self.type == TV_FLOAT);
}

TEST(is_number)
{
    (void)c;
    return answer(out, tmpl_is_num(k->self));
}

TEST(is_string)
{
    (void)c;
    return answer(out, k->self.type == TV_STR);
}

TEST(is_mapping)
{
    (void)c;
    return answer(out, k->self.type == TV_DICT);
}

TEST(is_sequence)
{
    enum tmpl_type t = (enum tmpl_type)k->self.type;
    (void)c;
    return answer(out, t == TV_STR || t == TV_LIST || t == TV_TUPLE || t == TV_DICT || t == TV_RANGE ||
                           t == TV_UNDEF);
}

TEST(is_iterable)
{
    (void)c;
    return answer(out, tmpl_iterable(k->self) || k->self.type == TV_LOOP);
}

TEST(is_callable)
{
    enum tmpl_type t = (enum tmpl_type)k->self.type;
    (void)c;
    return answer(out, t == TV_MACRO || t == TV_NATIVE || t == TV_LOOP || t == TV_UNDEF ||
                           (t == TV_CYCLE && !k->self.u.cycle->items));
}

TEST(is_escaped)
{
    (void)c;
    return answer(out, k->self.type == TV_STR && k->self.markup);
}

static int divisible(struct tmpl_run *c, struct tval v, struct tval by, int64_t want, struct tval *out)
{
    struct tval r;
    bool same;
    int code = tmpl_arith(c, OP_MOD, v, by, &r);
    if (code < 0 || (code = tmpl_equal(c, r, tmpl_int(want, true), &same)) < 0) return code;
    return answer(out, same);
}

TEST(is_odd)
{
    return divisible(c, k->self, tmpl_int(2, true), 1, out);
}

TEST(is_even)
{
    return divisible(c, k->self, tmpl_int(2, true), 0, out);
}

TEST(is_divisibleby)
{
    return divisible(c, k->self, k->arg[0], 0, out);
}

/* One letter case throughout, and at least one cased letter. */
static int one_case(struct tmpl_run *c, struct tval v, enum tmpl_case how, struct tval *out)
{
    struct tval s, t;
    bool cased = false;
    int code = tmpl_to_str(c, v, &s);
    if (code < 0 || (code = tmpl_text_case(c, s.u.s, how, &t)) < 0) return code;
    for (size_t i = 0; i < s.u.s->n && !cased;) {
        uint32_t cp;
        i += tmpl_utf8_next(s.u.s->p + i, s.u.s->n - i, &cp);
        cased = tmpl_cp_cased(cp);
    }
    return answer(out, cased && str_eq(tmpl_view(s.u.s), tmpl_view(t.u.s)));
}

TEST(is_lower)
{
    return one_case(c, k->self, CASE_LOWER, out);
}

TEST(is_upper)
{
    return one_case(c, k->self, CASE_UPPER, out);
}

TEST(is_sameas)
{
    struct tval a = k->self, b = k->arg[0];
    bool same = a.type == b.type;
    if (same && (a.type == TV_BOOL || a.type == TV_INT || a.type == TV_FLOAT))
        return tmpl_equal(c, a, b, &same), answer(out, same);
    if (same && a.type != TV_NONE) same = a.u.list == b.u.list;
    return answer(out, same);
}

TEST(is_in)
{
    bool yes;
    int code = tmpl_contains(c, k->arg[0], k->self, &yes);
    return code < 0 ? code : answer(out, yes);
}

TEST(is_eq)
{
    bool yes;
    int code = tmpl_equal(c, k->self, k->arg[0], &yes);
    return code < 0 ? code : answer(out, yes);
}

TEST(is_ne)
{
    bool yes;
    int code = tmpl_equal(c, k->self, k->arg[0], &yes);
    return code < 0 ? code : answer(out, !yes);
}

static int ordered(struct tmpl_run *c, struct tmpl_call *k, enum tmpl_op op, struct tval *out)
{
    bool yes;
    int code = tmpl_less(c, k->self, k->arg[0], op, &yes);
    return code < 0 ? code : answer(out, yes);
}

TEST(is_lt)
{
    return ordered(c, k, OP_LT, out);
}

TEST(is_le)
{
    return ordered(c, k, OP_LE, out);
}

TEST(is_gt)
{
    return ordered(c, k, OP_GT, out);
}

TEST(is_ge)
{
    return ordered(c, k, OP_GE, out);
}

TEST(is_filter)
{
    (void)c;
    return answer(out, k->self.type == TV_STR && tmpl_filter_find(tmpl_view(k->self.u.s)));
}

TEST(is_test)
{
    (void)c;
    return answer(out, k->self.type == TV_STR && tmpl_test_find(tmpl_view(k->self.u.s)));
}

static const struct tmpl_native TESTS[] = {
    {"defined", "", 0, is_defined},     {"undefined", "", 0, is_undefined},
    {"none", "", 0, is_none},           {"boolean", "", 0, is_boolean},
    {"true", "", 0, is_true},           {"false", "", 0, is_false},
    {"integer", "", 0, is_integer},     {"float", "", 0, is_float},
    {"number", "", 0, is_number},       {"string", "", 0, is_string},
    {"mapping", "", 0, is_mapping},     {"sequence", "", 0, is_sequence},
    {"iterable", "", 0, is_iterable},   {"callable", "", 0, is_callable},
    {"escaped", "", 0, is_escaped},     {"odd", "", 0, is_odd},
    {"even", "", 0, is_even},           {"divisibleby", "num", 1, is_divisibleby},
    {"lower", "", 0, is_lower},         {"upper", "", 0, is_upper},
    {"sameas", "other", 1, is_sameas},  {"in", "seq", 1, is_in},
    {"==", "other", 1, is_eq},          {"eq", "other", 1, is_eq},
    {"equalto", "other", 1, is_eq},     {"!=", "other", 1, is_ne},
    {"ne", "other", 1, is_ne},          {"<", "other", 1, is_lt},
    {"lt", "other", 1, is_lt},          {"lessthan", "other", 1, is_lt},
    {"<=", "other", 1, is_le},          {"le", "other", 1, is_le},
    {">", "other", 1, is_gt},           {"gt", "other", 1, is_gt},
    {"greaterthan", "other", 1, is_gt}, {">=", "other", 1, is_ge},
    {"ge", "other", 1, is_ge},          {"filter", "", 0, is_filter},
    {"test", "", 0, is_test},
};

const struct tmpl_native *tmpl_table_find(const struct tmpl_native *t, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eqz(name, t[i].name)) return &t[i];
    }
    return NULL;
}

const struct tmpl_native *tmpl_test_find(struct str name)
{
    return tmpl_table_find(TESTS, sizeof TESTS / sizeof *TESTS, name);
}
