/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements of the template interpreter, scopes, loops and macros.
 *
 * The top level's variables are an array by name id. A for body, macro, with, call, filter, set or generation
 * block has a scope of its own: "set" writes there and reading looks outwards; an if has none. A for's scope
 * is emptied before every turn. A macro sees the scope it was defined in, as it is when the macro runs.
 *
 * Two habits of jinja2 that templates may meet: the else of a for also runs if every turn ended by continue
 * or break, and "loop" in the condition of a for is the outer loop.
 */
#include "token/template/template_int.h"

struct tmacro {
    const struct tnode *node; /* NK_MACRO or NK_CALLBLOCK */
    struct tscope *up;        /* where it was defined */
    struct str name;
};

struct tloop {
    const struct tnode *node;
    struct tscope *up;      /* around the loop */
    struct tscope *test_sc; /* of the condition, or NULL */
    struct titer *it;
    struct tval source; /* what is iterated over */
    struct tval cur, prev, ahead, changed;
    bool has_ahead;
    int64_t index0, length; /* length -1: not known yet */
    unsigned depth0;
};

/* --- scopes --------------------------------------------------------------------------------------------- */

static struct tscope *scope_new(struct tmpl_run *c, struct tscope *up)
{
    struct tscope *s = TMPL_NEW(c, struct tscope, 1);
    if (s) s->up = up;
    return s;
}

int tmpl_lookup(struct tmpl_run *c, struct tscope *sc, uint32_t id, struct tval *out)
{
    for (; sc; sc = sc->up) {
        for (size_t i = 0; i < sc->n; i++) {
            if (sc->id[i] != id) continue;
            *out = sc->v[i];
            return 0;
        }
        int code = tmpl_step(c, sc->n / 8);
        if (code < 0) return code;
    }
    *out = c->root[id];
    if (out->type != TV_MISSING) return 0;
    struct text *name = TMPL_NEW(c, struct text, 1);
    if (!name) return c->code;
    *name = (struct text){.p = c->t->names[id].p, .n = c->t->names[id].n, .trusted = true};
    *out = tmpl_undef(UNDEF_NAME, name);
    return 0;
}

int tmpl_bind(struct tmpl_run *c, struct tscope *sc, uint32_t id, struct tval v)
{
    if (!sc) {
        c->root[id] = v;
        return 0;
    }
    for (size_t i = 0; i < sc->n; i++) {
        if (sc->id[i] != id) continue;
        sc->v[i] = v;
        return 0;
    }
    if (sc->n == sc->cap) {
        size_t cap = sc->cap ? 2 * sc->cap : 4;
        uint32_t *ids = TMPL_NEW(c, uint32_t, cap);
        struct tval *vs = TMPL_NEW(c, struct tval, cap);
        if (!ids || !vs) return c->code;
        for (size_t i = 0; i < sc->n; i++) {
            ids[i] = sc->id[i];
            vs[i] = sc->v[i];
        }
        sc->id = ids;
        sc->v = vs;
        sc->cap = cap;
    }
    sc->id[sc->n] = id;
    sc->v[sc->n++] = v;
    return 0;
}

/* Binds in sc, looks up namespaces from `from`. */
static int assign(struct tmpl_run *c, const struct tnode *t, struct tscope *sc, struct tval v)
{
    struct tval item, ns;
    struct titer *it;
    int code;
    if (t->kind == NK_NAME) return tmpl_bind(c, sc, t->id, v);
    if (t->kind == NK_NSREF) {
        if ((code = tmpl_lookup(c, sc, t->id, &ns)) < 0) return code;
        if (ns.type != TV_NS) return tmpl_err(c, ERR_FORMAT, "attributes can only be set on a namespace()");
        if (t->value.u.s->n && t->value.u.s->p[0] == '_')
            return tmpl_err(c, ERR_FORMAT, "a namespace takes no name that begins with '_'");
        return tmpl_dict_set(c, ns.u.dict, t->value, v);
    }
    if ((code = tmpl_iter(c, v, &it)) < 0) return code;
    for (uint32_t i = 0; i < t->n_kids; i++) {
        if ((code = tmpl_next(c, it, &item)) < 0) return code;
        if (code == 0) return tmpl_err(c, ERR_FORMAT, "%u values expected to unpack, got %u", t->n_kids, i);
        if ((code = assign(c, t->kids[i], sc, item)) < 0) return code;
    }
    if ((code = tmpl_next(c, it, &item)) < 0) return code;
    return code ? tmpl_err(c, ERR_FORMAT, "more than %u values to unpack", t->n_kids) : 0;
}

/* Runs a body with its output caught in *out. The status may be EXEC_BREAK or EXEC_CONTINUE. */
static int capture(struct tmpl_run *c, const struct tnode *body, struct tscope *sc, struct tval *out)
{
    struct tmpl_build b, *outer = c->out;
    int code = tmpl_build_init(&b, c);
    if (code < 0) return code;
    c->out = &b;
    int status = tmpl_exec(c, body, sc);
    c->out = outer;
    if (status < 0) return status;
    code = tmpl_build_done(&b, out);
    return code < 0 ? code : status;
}

/* --- loops ---------------------------------------------------------------------------------------------- */

/* The next item that passes the condition: 1, 0, negative. */
static int loop_fetch(struct tmpl_run *c, struct tloop *l, struct tval *out)
{
    const struct tnode *test = l->node->c;
    for (;;) {
        struct tval v;
        bool yes;
        int code = tmpl_next(c, l->it, out);
        if (code <= 0 || !test || !l->test_sc) return code;
        l->test_sc->n = 0;
        if ((code = assign(c, l->node->a, l->test_sc, *out)) < 0 ||
            (code = tmpl_eval(c, test, l->test_sc, &v)) < 0 || (code = tmpl_truth(c, v, &yes)) < 0)
            return code;
        if (yes) return 1;
    }
}

static int loop_peek(struct tmpl_run *c, struct tloop *l)
{
    int code = 0;
    if (!l->has_ahead && (code = loop_fetch(c, l, &l->ahead)) > 0) l->has_ahead = true;
    return code < 0 ? code : 0;
}

static int loop_next(struct tmpl_run *c, struct tloop *l)
{
    struct tval v = l->ahead;
    int code = l->has_ahead ? 1 : loop_fetch(c, l, &v);
    if (code <= 0) return code;
    l->has_ahead = false;
    l->index0++;
    l->prev = l->cur;
    l->cur = v;
    return 1;
}

int tmpl_loop_length(struct tmpl_run *c, struct tloop *l, int64_t *n)
{
    struct tval rest, v;
    int code, more = 0;
    if (l->length < 0 && !l->test_sc && tmpl_has_length(l->source)) {
        if ((code = tmpl_length(c, l->source, &l->length)) < 0) return code;
    }
    if (l->length < 0) { /* a generator: fetch the rest, then go on over that */
        if ((code = tmpl_list_new(c, TV_LIST, &rest)) < 0) return code;
        while (code == 0 && (more = loop_fetch(c, l, &v)) > 0) code = tmpl_list_add(c, rest.u.list, v);
        if (code < 0 || more < 0 || (code = tmpl_iter(c, rest, &l->it)) < 0) return c->code;
        l->test_sc = NULL;
        l->length = (int64_t)rest.u.list->n + l->index0 + 1 + l->has_ahead;
    }
    *n = l->length;
    return 0;
}

int tmpl_loop_attr(struct tmpl_run *c, struct tloop *l, struct str name, struct tval *out)
{
    static const struct text NO_PREV = {
        .p = "there is no previous item", .n = 25, .n_cp = 25, .trusted = true};
    static const struct text NO_NEXT = {.p = "there is no next item", .n = 21, .n_cp = 21, .trusted = true};
    int64_t n = 0;
    int code = 0;
    if (str_eqz(name, "index0"))
        *out = tmpl_int(l->index0, true);
    else if (str_eqz(name, "index"))
        *out = tmpl_int(l->index0 + 1, true);
    else if (str_eqz(name, "first"))
        *out = tmpl_bool(l->index0 == 0);
    else if (str_eqz(name, "depth0"))
        *out = tmpl_int(l->depth0, true);
    else if (str_eqz(name, "depth"))
        *out = tmpl_int((int64_t)l->depth0 + 1, true);
    else if (str_eqz(name, "previtem"))
        *out = l->index0 > 0 ? l->prev : tmpl_undef(UNDEF_HINT, &NO_PREV);
    else if (str_eqz(name, "last") || str_eqz(name, "nextitem")) {
        if ((code = loop_peek(c, l)) < 0) return code;
        if (str_eqz(name, "last"))
            *out = tmpl_bool(!l->has_ahead);
        else
            *out = l->has_ahead ? l->ahead : tmpl_undef(UNDEF_HINT, &NO_NEXT);
    } else if (str_eqz(name, "length") || str_eqz(name, "revindex") || str_eqz(name, "revindex0")) {
        if ((code = tmpl_loop_length(c, l, &n)) < 0) return code;
        if (str_eqz(name, "revindex")) n -= l->index0;
        if (str_eqz(name, "revindex0")) n -= l->index0 + 1;
        *out = tmpl_int(n, true);
    } else {
        return 0;
    }
    return 1;
}

bool tmpl_loop_changed(struct tmpl_run *c, struct tloop *l, struct tval now, int *code)
{
    bool same = false;
    *code = l->changed.type == TV_MISSING ? 0 : tmpl_equal(c, l->changed, now, &same);
    if (!same) l->changed = now;
    return !same;
}

int64_t tmpl_loop_index(const struct tloop *l)
{
    return l->index0;
}

static int exec_for(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval source,
                    unsigned depth0)
{
    struct tscope *body_sc = scope_new(c, sc);
    struct tloop *l = TMPL_NEW(c, struct tloop, 1);
    struct tval self = {.type = TV_LOOP, .trusted = true, .u.loop = l};
    bool none = true;
    int more = 0, code;
    if (!body_sc || !l) return c->code;
    *l = (struct tloop){.node = n, .up = sc, .source = source, .index0 = -1, .length = -1, .depth0 = depth0};
    if (n->c && !(l->test_sc = scope_new(c, sc))) return c->code;
    if ((code = tmpl_iter(c, source, &l->it)) < 0) return code;
    while ((more = loop_next(c, l)) > 0) {
        body_sc->n = 0;
        if ((code = assign(c, n->a, body_sc, l->cur)) < 0 ||
            (code = tmpl_bind(c, body_sc, c->t->id_loop, self)) < 0 ||
            (code = tmpl_exec(c, n->d, body_sc)) < 0)
            return code;
        if (code == 0) none = false;
        if (code == EXEC_BREAK) break;
    }
    if (more < 0) return more;
    if (!none || !n->n_kids) return 0;
    struct tscope *else_sc = scope_new(c, sc);
    return else_sc ? tmpl_exec(c, n->kids[0], else_sc) : c->code;
}

int tmpl_loop_call(struct tmpl_run *c, struct tloop *l, struct tmpl_call *k, struct tval *out)
{
    struct tmpl_build b, *outer = c->out;
    int code;
    if (!l->node->flag) return tmpl_err(c, ERR_FORMAT, "only a loop marked recursive can be called");
    if (k->n_pos != 1 || k->n_kw) return tmpl_err(c, ERR_FORMAT, "loop() takes one argument");
    if ((code = tmpl_build_init(&b, c)) < 0) return code;
    c->out = &b;
    code = exec_for(c, l->node, l->up, k->pos[0], l->depth0 + 1);
    c->out = outer;
    if (code < 0) return code;
    return tmpl_build_done(&b, out);
}

/* --- macros --------------------------------------------------------------------------------------------- */

struct str tmpl_macro_name(const struct tmacro *m)
{
    return m->name;
}

static int macro_value(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out)
{
    struct tmacro *m = TMPL_NEW(c, struct tmacro, 1);
    if (!m) return c->code;
    *m = (struct tmacro){n, sc, n->kind == NK_MACRO ? c->t->names[n->id] : STR("caller")};
    *out = (struct tval){.type = TV_MACRO, .trusted = true, .u.macro = m};
    return 0;
}

/* Takes the keyword argument `name` out of k's list of those not used yet. */
static bool take_kw(struct tmpl_call *k, bool *used, struct str name, struct tval *out)
{
    for (size_t i = 0; i < k->n_kw; i++) {
        if (used[i] || !str_eq(k->kw_name[i], name)) continue;
        used[i] = true;
        *out = k->kw[i];
        return true;
    }
    return false;
}

/* Parameters, their defaults, caller, kwargs and varargs into the macro's scope. */
static int bind_macro(struct tmpl_run *c, const struct tmacro *m, struct tmpl_call *k, struct tscope *sc)
{
    static const struct text NO_CALLER = {.p = "no caller is defined", .n = 20, .n_cp = 20, .trusted = true};
    static const struct text NO_PARAM = {
        .p = "a parameter was not provided", .n = 28, .n_cp = 28, .trusted = true};
    const struct tmpl_params *p = m->node->params;
    const struct template *t = c->t;
    bool *used = TMPL_NEW(c, bool, k->n_kw + 1), own_caller = false;
    struct tval v, list;
    int code = 0;
    if (!used) return c->code;
    for (uint32_t i = 0; i < p->n && code == 0; i++) {
        own_caller |= p->id[i] == t->id_caller;
        if (i < k->n_pos)
            v = k->pos[i];
        else if (!take_kw(k, used, t->names[p->id[i]], &v))
            continue;
        code = tmpl_bind(c, sc, p->id[i], v);
    }
    for (uint32_t i = 0, bound = 0; i < p->n && code == 0;
         i++) { /* defaults may use the parameters before them */
        bound = 0;
        for (size_t j = 0; j < sc->n; j++) bound |= sc->id[j] == p->id[i];
        if (bound) continue;
        v = tmpl_undef(UNDEF_HINT, &NO_PARAM);
        if (p->def[i]) code = tmpl_eval(c, p->def[i], sc, &v);
        if (code == 0) code = tmpl_bind(c, sc, p->id[i], v);
    }
    if (code == 0 && p->uses_caller && !own_caller) {
        if (!take_kw(k, used, STR("caller"), &v)) v = tmpl_undef(UNDEF_HINT, &NO_CALLER);
        code = tmpl_bind(c, sc, t->id_caller, v);
    }
    if (code == 0 && p->uses_kwargs) {
        if ((code = tmpl_dict_new(c, &list)) < 0) return code;
        for (size_t i = 0; i < k->n_kw && code == 0; i++) {
            if (used[i]) continue;
            if ((code = tmpl_str_out(c, k->kw_name[i], !k->kw_foreign, &v)) == 0)
                code = tmpl_dict_set(c, list.u.dict, v, k->kw[i]);
        }
        if (code == 0) code = tmpl_bind(c, sc, t->id_kwargs, list);
    } else {
        for (size_t i = 0; i < k->n_kw && code == 0; i++) {
            if (!used[i])
                code = tmpl_err(c, ERR_FORMAT, "the macro '%.*s' has no argument '%.*s'", STR_ARG(m->name),
                                STR_ARG(k->kw_name[i]));
        }
    }
    if (code == 0 && p->uses_varargs) {
        if ((code = tmpl_list_new(c, TV_TUPLE, &list)) < 0) return code;
        for (size_t i = p->n; i < k->n_pos && code == 0; i++) code = tmpl_list_add(c, list.u.list, k->pos[i]);
        if (code == 0) code = tmpl_bind(c, sc, t->id_varargs, list);
    } else if (code == 0 && k->n_pos > p->n) {
        code = tmpl_err(c, ERR_FORMAT, "the macro '%.*s' takes at most %u arguments", STR_ARG(m->name), p->n);
    }
    return code;
}

int tmpl_macro_call(struct tmpl_run *c, struct tmacro *m, struct tmpl_call *k, struct tval *out)
{
    struct tscope *sc = scope_new(c, m->up);
    int code = sc ? bind_macro(c, m, k, sc) : c->code;
    if (code < 0) return code;
    code = capture(c, m->node->d, sc, out);
    return code < 0 ? code : 0;
}

/* --- statements ----------------------------------------------------------------------------------------- */

static int exec_if(struct tmpl_run *c, const struct tnode *n, struct tscope *sc)
{
    for (uint32_t i = 0; i + 1 < n->n_kids; i += 2) {
        struct tval v;
        bool yes;
        int code = tmpl_eval(c, n->kids[i], sc, &v);
        if (code < 0 || (code = tmpl_truth(c, v, &yes)) < 0) return code;
        if (yes) return tmpl_exec(c, n->kids[i + 1], sc);
    }
    return n->a ? tmpl_exec(c, n->a, sc) : 0;
}

/* set and filter blocks: the body's output, filtered, goes to a variable or to the output */
static int exec_captured(struct tmpl_run *c, const struct tnode *n, struct tscope *sc)
{
    struct tscope *inner = scope_new(c, sc);
    struct tval v;
    int code = inner ? capture(c, n->c, inner, &v) : c->code;
    if (code != 0) return code; /* an error, or a jump out of a loop around: no assignment, no output */
    if (n->b && (code = tmpl_eval_chain(c, n->b, inner, v, &v)) < 0) return code;
    return n->kind == NK_SETBLOCK ? assign(c, n->a, sc, v) : tmpl_print(c->out, v);
}

static int exec_call(struct tmpl_run *c, const struct tnode *n, struct tscope *sc)
{
    struct tmpl_call k;
    struct tval f, caller;
    int code = tmpl_eval(c, n->a->a, sc, &f);
    if (code < 0 || (code = tmpl_eval_args(c, n->a->args, sc, &k)) < 0 ||
        (code = macro_value(c, n, sc, &caller)) < 0)
        return code;
    struct str *name = TMPL_NEW(c, struct str, k.n_kw + 1);
    struct tval *kw = TMPL_NEW(c, struct tval, k.n_kw + 1);
    if (!name || !kw) return c->code;
    for (size_t i = 0; i < k.n_kw; i++) {
        name[i] = k.kw_name[i];
        kw[i] = k.kw[i];
    }
    name[k.n_kw] = STR("caller");
    kw[k.n_kw++] = caller;
    k.kw_name = name;
    k.kw = kw;
    if ((code = tmpl_call_value(c, f, &k, &f)) < 0) return code;
    return tmpl_print(c->out, f);
}

static int exec_with(struct tmpl_run *c, const struct tnode *n, struct tscope *sc)
{
    struct tscope *inner = scope_new(c, sc);
    if (!inner) return c->code;
    for (uint32_t i = 0; i + 1 < n->n_kids; i += 2) {
        struct tval v;
        int code = tmpl_eval(c, n->kids[i + 1], sc, &v);
        if (code < 0 || (code = assign(c, n->kids[i], inner, v)) < 0) return code;
    }
    return tmpl_exec(c, n->d, inner);
}

static int exec_kind(struct tmpl_run *c, const struct tnode *n, struct tscope *sc)
{
    struct tscope *inner;
    struct tval v;
    int code;
    switch (n->kind) {
    case NK_DATA:
        return tmpl_build_text(c->out, n->value.u.s);
    case NK_OUTPUT:
        code = tmpl_eval(c, n->a, sc, &v);
        return code < 0 ? code : tmpl_print(c->out, v);
    case NK_BODY:
        for (uint32_t i = 0; i < n->n_kids; i++) {
            if ((code = tmpl_exec(c, n->kids[i], sc)) != 0) return code;
        }
        return 0;
    case NK_SET:
        code = tmpl_eval(c, n->b, sc, &v);
        return code < 0 ? code : assign(c, n->a, sc, v);
    case NK_SETBLOCK:
    case NK_FILTERBLOCK:
        return exec_captured(c, n, sc);
    case NK_FOR:
        code = tmpl_eval(c, n->b, sc, &v);
        return code < 0 ? code : exec_for(c, n, sc, v, 0);
    case NK_IF:
        return exec_if(c, n, sc);
    case NK_MACRO:
        code = macro_value(c, n, sc, &v);
        return code < 0 ? code : tmpl_bind(c, sc, n->id, v);
    case NK_CALLBLOCK:
        return exec_call(c, n, sc);
    case NK_WITH:
        return exec_with(c, n, sc);
    case NK_SCOPE:
        inner = scope_new(c, sc);
        return inner ? tmpl_exec(c, n->d, inner) : c->code;
    case NK_BREAK:
        return EXEC_BREAK;
    case NK_CONTINUE:
        return EXEC_CONTINUE;
    default:
        return tmpl_err(c, ERR_INTERNAL, "a node of kind %d is not a statement", n->kind);
    }
}

int tmpl_exec(struct tmpl_run *c, const struct tnode *n, struct tscope *sc)
{
    int code = tmpl_step(c, 1);
    if (code < 0) return code;
    c->line = n->line;
    c->col = n->col;
    if (++c->depth > TEMPLATE_DEPTH_MAX) return tmpl_err(c, ERR_LIMIT, "the evaluation is nested too deeply");
    code = exec_kind(c, n, sc);
    c->depth--;
    return code;
}
