/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions of the template interpreter: a walk over the tree that counts its depth and its steps. Calls
 * gather their arguments in a tmpl_call; a native's table entry names its parameters, and binding puts each
 * argument in the place of its parameter as Python would.
 */
#include "token/template/template_int.h"

static int here(struct tmpl_run *c, const struct tnode *n)
{
    c->line = n->line;
    c->col = n->col;
    return tmpl_step(c, 1);
}

/* --- calls ---------------------------------------------------------------------------------------------- */

/* Position of `name` in "a,b,c", or -1; *n counts the parameters. */
static int param_index(const char *params, struct str name, unsigned *n)
{
    int hit = -1;
    *n = 0;
    for (const char *p = params; *p; ++*n) {
        size_t len = strcspn(p, ",");
        if (str_eq((struct str){p, len}, name)) hit = (int)*n;
        p += len + (p[len] == ',');
    }
    return hit;
}

static int bind_params(struct tmpl_run *c, const struct tmpl_native *f, struct tmpl_call *k)
{
    bool no_names = f->params[0] == '/';
    const char *params = f->params + no_names;
    unsigned n;
    param_index(params, STR(""), &n);
    must(n <= TMPL_PARAMS_MAX);
    memset(k->arg, 0, sizeof k->arg); /* TV_MISSING */
    if (k->n_pos > n)
        return tmpl_err(c, ERR_FORMAT, "%s takes at most %u arguments, %zu are given", f->name, n, k->n_pos);
    for (size_t i = 0; i < k->n_pos; i++) k->arg[i] = k->pos[i];
    for (size_t i = 0; i < k->n_kw; i++) {
        int at = no_names ? -1 : param_index(params, k->kw_name[i], &n);
        if (at < 0)
            return tmpl_err(c, ERR_FORMAT, "%s has no argument '%.*s'", f->name, STR_ARG(k->kw_name[i]));
        if (k->arg[at].type != TV_MISSING)
            return tmpl_err(c, ERR_FORMAT, "%s gets its argument '%.*s' twice", f->name,
                            STR_ARG(k->kw_name[i]));
        k->arg[at] = k->kw[i];
    }
    for (unsigned i = 0; i < f->n_min; i++) {
        if (k->arg[i].type == TV_MISSING)
            return tmpl_err(c, ERR_FORMAT, "%s lacks its argument %u", f->name, i + 1);
    }
    return 0;
}

int tmpl_native_call(struct tmpl_run *c, const struct tmpl_native *f, struct tmpl_call *k, struct tval *out)
{
    int code = tmpl_step(c, 1);
    if (code == 0 && f->params[0] != '*') code = bind_params(c, f, k);
    return code < 0 ? code : f->fn(c, k, out);
}

/* joiner(): nothing the first time, then the separator */
static int call_joiner(struct tmpl_run *c, struct tcycle *j, struct tval *out)
{
    *out = j->pos ? j->sep : c->empty;
    j->pos = 1;
    return 0;
}

int tmpl_call_value(struct tmpl_run *c, struct tval f, struct tmpl_call *k, struct tval *out)
{
    switch (f.type) {
    case TV_MACRO:
        return tmpl_macro_call(c, f.u.macro, k, out);
    case TV_LOOP:
        return tmpl_loop_call(c, f.u.loop, k, out);
    case TV_NATIVE:
        k->self = f.u.bound->self;
        return tmpl_native_call(c, f.u.bound->fn, k, out);
    case TV_CYCLE:
        if (!f.u.cycle->items && !k->n_pos && !k->n_kw) return call_joiner(c, f.u.cycle, out);
        return tmpl_err(c, ERR_FORMAT, "a cycler or joiner is called with arguments");
    case TV_UNDEF:
        return tmpl_undef_err(c, f);
    default:
        return tmpl_err(c, ERR_FORMAT, "a %s cannot be called", tmpl_type_name(f));
    }
}

/* Appends the items of *args. */
static int add_star(struct tmpl_run *c, struct tval v, struct tmpl_call *k)
{
    struct tval list, *pos;
    int code = tmpl_to_list(c, v, TV_LIST, &list);
    if (code < 0) return code;
    const struct tlist *l = list.u.list;
    if (!(pos = TMPL_NEW(c, struct tval, k->n_pos + l->n + 1))) return c->code;
    if (k->n_pos) memcpy(pos, k->pos, k->n_pos * sizeof *pos);
    if (l->n) memcpy(pos + k->n_pos, l->v, l->n * sizeof *pos);
    k->pos = pos;
    k->n_pos += l->n;
    return 0;
}

/* Appends the pairs of **kwargs. */
static int add_star2(struct tmpl_run *c, struct tval v, struct tmpl_call *k)
{
    if (v.type != TV_DICT)
        return tmpl_err(c, ERR_FORMAT, "'**' in a call needs a dict, not a %s", tmpl_type_name(v));
    const struct tdict *d = v.u.dict;
    struct str *name = TMPL_NEW(c, struct str, k->n_kw + d->n + 1);
    struct tval *kw = TMPL_NEW(c, struct tval, k->n_kw + d->n + 1);
    if (!name || !kw) return c->code;
    for (size_t i = 0; i < k->n_kw; i++) {
        name[i] = k->kw_name[i];
        kw[i] = k->kw[i];
    }
    for (size_t i = 0; i < d->n; i++) {
        if (d->p[i].k.type != TV_STR)
            return tmpl_err(c, ERR_FORMAT, "the keys of '**' in a call must be texts");
        struct str key = tmpl_view(d->p[i].k.u.s);
        k->kw_foreign |= !tmpl_trusted(d->p[i].k);
        for (size_t j = 0; j < k->n_kw; j++) {
            if (str_eq(name[j], key))
                return tmpl_err(c, ERR_FORMAT, "the argument '%.*s' is given twice", STR_ARG(key));
        }
        if (tmpl_step(c, k->n_kw / 4 + 1) < 0) return c->code;
        name[k->n_kw + i] = key;
        kw[k->n_kw + i] = d->p[i].v;
    }
    k->kw_name = name;
    k->kw = kw;
    k->n_kw += d->n;
    return 0;
}

int tmpl_eval_args(struct tmpl_run *c, const struct tmpl_args *a, struct tscope *sc, struct tmpl_call *k)
{
    struct tval v;
    int code;
    memset(k, 0, sizeof *k);
    if (!a) return 0;
    k->n_pos = a->n_pos;
    k->n_kw = a->n_kw;
    k->kw_name = a->kw_name;
    if (a->n_pos && !(k->pos = TMPL_NEW(c, struct tval, a->n_pos))) return c->code;
    if (a->n_kw && !(k->kw = TMPL_NEW(c, struct tval, a->n_kw))) return c->code;
    for (uint32_t i = 0; i < a->n_pos; i++) {
        if ((code = tmpl_eval(c, a->pos[i], sc, &k->pos[i])) < 0) return code;
    }
    for (uint32_t i = 0; i < a->n_kw; i++) {
        if ((code = tmpl_eval(c, a->kw[i], sc, &k->kw[i])) < 0) return code;
    }
    if (a->star && ((code = tmpl_eval(c, a->star, sc, &v)) < 0 || (code = add_star(c, v, k)) < 0))
        return code;
    if (a->star2 && ((code = tmpl_eval(c, a->star2, sc, &v)) < 0 || (code = add_star2(c, v, k)) < 0))
        return code;
    return 0;
}

static int eval_call(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    struct tmpl_call k;
    struct tval f;
    int code = tmpl_eval(c, n->a, sc, &f);
    if (code < 0 || (code = tmpl_eval_args(c, n->args, sc, &k)) < 0 || (code = here(c, n)) < 0) return code;
    return tmpl_call_value(c, f, &k, out);
}

/* Filter or test n on `in`. */
static int apply_native(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval in,
                        struct tval *out)
{
    struct tmpl_call k;
    int code = tmpl_eval_args(c, n->args, sc, &k);
    if (code < 0 || (code = here(c, n)) < 0) return code;
    if (!n->native)
        return tmpl_err(c, ERR_FORMAT, "there is no %s named '%.*s'",
                        n->kind == NK_FILTER ? "filter" : "test", STR_ARG(*n->value.u.s));
    k.self = in;
    return tmpl_native_call(c, n->native, &k, out);
}

int tmpl_eval_chain(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval in,
                    struct tval *out)
{
    int code;
    if (++c->depth > TEMPLATE_DEPTH_MAX) return tmpl_err(c, ERR_LIMIT, "the evaluation is nested too deeply");
    if (n->a && (code = tmpl_eval_chain(c, n->a, sc, in, &in)) < 0) return code;
    code = apply_native(c, n, sc, in, out);
    c->depth--;
    return code;
}

/* --- expressions ---------------------------------------------------------------------------------------- */

static int eval_sequence(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    struct tval list, v;
    int code = tmpl_list_new(c, n->kind == NK_TUPLE ? TV_TUPLE : TV_LIST, &list);
    for (uint32_t i = 0; i < n->n_kids && code == 0; i++) {
        if ((code = tmpl_eval(c, n->kids[i], sc, &v)) == 0) code = tmpl_list_add(c, list.u.list, v);
    }
    *out = list;
    return code;
}

static int eval_dict(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    struct tval dict, k, v;
    int code = tmpl_dict_new(c, &dict);
    for (uint32_t i = 0; i + 1 < n->n_kids && code == 0; i += 2) {
        if ((code = tmpl_eval(c, n->kids[i], sc, &k)) < 0 ||
            (code = tmpl_eval(c, n->kids[i + 1], sc, &v)) < 0)
            break;
        code = tmpl_dict_set(c, dict.u.dict, k, v);
    }
    *out = dict;
    return code;
}

static int compare_one(struct tmpl_run *c, enum tmpl_op op, struct tval a, struct tval b, bool *out)
{
    int code;
    switch (op) {
    case OP_EQ:
    case OP_NE:
        code = tmpl_equal(c, a, b, out);
        break;
    case OP_IN:
    case OP_NOTIN:
        code = tmpl_contains(c, b, a, out);
        break;
    default:
        return tmpl_less(c, a, b, op, out);
    }
    *out ^= op == OP_NE || op == OP_NOTIN;
    return code;
}

static int eval_compare(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    struct tval a, b;
    bool yes = true;
    int code = tmpl_eval(c, n->a, sc, &a);
    for (uint32_t i = 0; i < n->n_kids && yes && code == 0; i++) {
        if ((code = tmpl_eval(c, n->kids[i]->b, sc, &b)) < 0 || (code = here(c, n)) < 0) return code;
        code = compare_one(c, (enum tmpl_op)n->kids[i]->op, a, b, &yes);
        a = b;
    }
    *out = tmpl_bool(yes);
    return code;
}

static int eval_concat(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    struct tval all = c->empty, v;
    int code = 0;
    for (uint32_t i = 0; i < n->n_kids && code == 0; i++) {
        if ((code = tmpl_eval(c, n->kids[i], sc, &v)) < 0 || (code = tmpl_to_str(c, v, &v)) < 0) break;
        code = tmpl_text_concat(c, all.u.s, v.u.s, &all);
    }
    *out = all;
    return code;
}

static int eval_sign(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    struct tval v;
    int code = tmpl_eval(c, n->a, sc, &v);
    if (code < 0 || (code = here(c, n)) < 0) return code;
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (v.type == TV_FLOAT) {
        *out = tmpl_float(n->kind == NK_NEG ? -v.u.f : v.u.f, v.trusted);
        return 0;
    }
    if (!tmpl_is_int(v)) return tmpl_err(c, ERR_FORMAT, "a %s has no sign", tmpl_type_name(v));
    struct tval zero = tmpl_int(0, true);
    return tmpl_arith(c, n->kind == NK_NEG ? OP_SUB : OP_ADD, zero, v, out);
}

static int eval_cond(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    static const struct text HINT = {
        .p = "a conditional expression was false and has no else", .n = 50, .n_cp = 50, .trusted = true};
    struct tval v;
    bool yes;
    int code = tmpl_eval(c, n->b, sc, &v);
    if (code < 0 || (code = tmpl_truth(c, v, &yes)) < 0) return code;
    if (yes) return tmpl_eval(c, n->a, sc, out);
    if (n->c) return tmpl_eval(c, n->c, sc, out);
    *out = tmpl_undef(UNDEF_HINT, &HINT);
    return 0;
}

static int eval_slice(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    const struct tnode *part[3] = {n->b, n->c, n->d};
    struct tval a, v[3];
    int code = tmpl_eval(c, n->a, sc, &a);
    for (int i = 0; i < 3 && code == 0; i++) {
        v[i] = tmpl_none();
        if (part[i]) code = tmpl_eval(c, part[i], sc, &v[i]);
    }
    if (code < 0 || (code = here(c, n)) < 0) return code;
    return tmpl_slice(c, a, v[0], v[1], v[2], out);
}

/* Operators and accesses of one or two operands. */
static int eval_simple(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    struct tval a, b;
    bool yes;
    int code = tmpl_eval(c, n->a, sc, &a);
    if (code < 0) return code;
    switch (n->kind) {
    case NK_NOT:
        code = tmpl_truth(c, a, &yes);
        *out = tmpl_bool(!yes);
        return code;
    case NK_AND:
    case NK_OR:
        if ((code = tmpl_truth(c, a, &yes)) < 0) return code;
        if (yes == (n->kind == NK_AND)) return tmpl_eval(c, n->b, sc, out);
        *out = a;
        return 0;
    case NK_ATTR:
        if ((code = here(c, n)) < 0) return code;
        return tmpl_getattr(c, a, n->value.u.s, out);
    case NK_FILTER:
    case NK_TEST:
        return apply_native(c, n, sc, a, out);
    default:
        if ((code = tmpl_eval(c, n->b, sc, &b)) < 0 || (code = here(c, n)) < 0) return code;
        if (n->kind == NK_ITEM) return tmpl_getitem(c, a, b, out);
        return tmpl_arith(c, (enum tmpl_op)n->op, a, b, out);
    }
}

static int eval_kind(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    switch (n->kind) {
    case NK_CONST:
        *out = n->value;
        return 0;
    case NK_NAME:
        return tmpl_lookup(c, sc, n->id, out);
    case NK_LIST:
    case NK_TUPLE:
        return eval_sequence(c, n, sc, out);
    case NK_DICT:
        return eval_dict(c, n, sc, out);
    case NK_COMPARE:
        return eval_compare(c, n, sc, out);
    case NK_CONCAT:
        return eval_concat(c, n, sc, out);
    case NK_NEG:
    case NK_POS:
        return eval_sign(c, n, sc, out);
    case NK_COND:
        return eval_cond(c, n, sc, out);
    case NK_SLICE:
        return eval_slice(c, n, sc, out);
    case NK_CALL:
        return eval_call(c, n, sc, out);
    default:
        return eval_simple(c, n, sc, out);
    }
}

int tmpl_eval(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    int code = here(c, n);
    if (code < 0) return code;
    if (++c->depth > TEMPLATE_DEPTH_MAX) return tmpl_err(c, ERR_LIMIT, "the evaluation is nested too deeply");
    code = eval_kind(c, n, sc, out);
    c->depth--;
    return code;
}
