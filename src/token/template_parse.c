/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens to tree: recursive descent by jinja2's grammar. Expressions, loosest first:
 *   a if b else c | or | and | not | == != < <= > >= in, not in | + - | ~ | * / // % | ** | unary - + |
 *   primary, then any of .name [key] (args), then any of |filter, "is" test, (args)
 * A filter binds tighter than any operator, "**" groups to the left, and a sign binds tighter than "**".
 *
 * What needs other templates (extends, include, import, block) is refused by name. Names become small integers, so
 * that the top level's variables are an array. Uses of caller, kwargs and varargs are noted in every macro around.
 */
#include "token/template_int.h"

enum { MACROS_MAX = TEMPLATE_NEST_MAX, PARSE_NEST = TEMPLATE_NEST_MAX };

struct parse {
    struct tmpl_run *c;
    struct template *t;
    const struct tmpl_token *k; /* current token; the last one is TT_EOF */
    unsigned nest;
    unsigned loops;             /* loops around that break and continue may leave */
    unsigned soft;              /* inside if or a conditional: an unknown filter is only refused when it runs */
    struct tmpl_params *macro[MACROS_MAX];
    unsigned n_macro;
};

struct kids { /* a growing list of nodes */
    struct tnode **v;
    uint32_t n, cap;
};

static int parse_expr(struct parse *p, struct tnode **out);
static int parse_or(struct parse *p, struct tnode **out);
static int parse_unary(struct parse *p, bool with_filter, struct tnode **out);
static int parse_body(struct parse *p, const char *const *end, struct tnode **out);

static int fail(struct parse *p, const char *what)
{
    static const char *const KIND[] = {"end of template", "text", "{{", "}}", "{%", "%}"};
    const struct tmpl_token *k = p->k;
    p->c->line = k->line;
    p->c->col = k->col;
    if (k->type <= TT_BLOCK_END) return tmpl_err(p->c, ERR_FORMAT, "%s expected, found %s", what, KIND[k->type]);
    if (k->type == TT_NAME) return tmpl_err(p->c, ERR_FORMAT, "%s expected, found '%.*s'", what, STR_ARG(k->s));
    return tmpl_err(p->c, ERR_FORMAT, "%s expected, found %s", what,
                    k->type == TT_STRING ? "a string" : k->type == TT_OP ? "another sign" : "a number");
}

static int fail_at(struct parse *p, const struct tmpl_token *k, int code, const char *what)
{
    p->c->line = k->line;
    p->c->col = k->col;
    return tmpl_err(p->c, code, "%s", what);
}

static int nest(struct parse *p)
{
    if (++p->nest <= PARSE_NEST) return 0;
    return fail_at(p, p->k, ERR_LIMIT, "expressions or blocks are nested too deeply");
}

static bool is_op(const struct parse *p, enum tmpl_op op)
{
    return p->k->type == TT_OP && p->k->op == op;
}

static bool is_name(const struct parse *p, const char *z)
{
    return p->k->type == TT_NAME && str_eqz(p->k->s, z);
}

static void advance(struct parse *p)
{
    if (p->k->type != TT_EOF) p->k++;
}

static bool skip_op(struct parse *p, enum tmpl_op op)
{
    bool yes = is_op(p, op);
    if (yes) advance(p);
    return yes;
}

static bool skip_name(struct parse *p, const char *z)
{
    bool yes = is_name(p, z);
    if (yes) advance(p);
    return yes;
}

static int expect_op(struct parse *p, enum tmpl_op op, const char *what)
{
    return skip_op(p, op) ? 0 : fail(p, what);
}

static int expect_type(struct parse *p, enum tmpl_tok type, const char *what)
{
    if (p->k->type != type) return fail(p, what);
    advance(p);
    return 0;
}

static struct tnode *node(struct parse *p, enum tmpl_kind kind, const struct tmpl_token *at)
{
    struct tnode *n = TMPL_NEW(p->c, struct tnode, 1);
    if (!n) return NULL;
    n->kind = (uint8_t)kind;
    n->line = at->line;
    n->col = at->col;
    return n;
}

static int kids_add(struct parse *p, struct kids *l, struct tnode *n)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? 2 * l->cap : 4;
        struct tnode **v = TMPL_NEW(p->c, struct tnode *, cap);
        if (!v) return p->c->code;
        if (l->n) memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = n;
    return 0;
}

static void kids_set(struct tnode *n, const struct kids *l)
{
    n->kids = l->v;
    n->n_kids = l->n;
}

int tmpl_name_id(struct tmpl_run *c, struct template *t, struct str name, uint32_t *id)
{
    for (size_t i = 0; i < t->n_names; i++) {
        if (!str_eq(t->names[i], name)) continue;
        *id = (uint32_t)i;
        return 0;
    }
    if (t->n_names == t->cap_names) {
        size_t cap = t->cap_names ? 2 * t->cap_names : 64;
        struct str *v = TMPL_NEW(c, struct str, cap);
        if (!v) return c->code;
        if (t->n_names) memcpy(v, t->names, t->n_names * sizeof *v);
        t->names = v;
        t->cap_names = cap;
    }
    *id = (uint32_t)t->n_names;
    t->names[t->n_names++] = name;
    return 0;
}

static int name_node(struct parse *p, enum tmpl_kind kind, struct tnode **out)
{
    struct tnode *n = node(p, kind, p->k);
    if (!n) return p->c->code;
    int code = tmpl_name_id(p->c, p->t, p->k->s, &n->id);
    if (code < 0) return code;
    for (unsigned i = 0; i < p->n_macro; i++) {
        p->macro[i]->uses_caller |= n->id == p->t->id_caller;
        p->macro[i]->uses_kwargs |= n->id == p->t->id_kwargs;
        p->macro[i]->uses_varargs |= n->id == p->t->id_varargs;
    }
    advance(p);
    *out = n;
    return 0;
}

static int const_node(struct parse *p, struct tval v, struct tnode **out)
{
    if (v.type == TV_MISSING) return p->c->code;
    if (!(*out = node(p, NK_CONST, p->k))) return p->c->code;
    (*out)->value = v;
    return 0;
}

/* --- expressions -------------------------------------------------------------------------------------------- */

static int parse_list(struct parse *p, struct tnode **out)
{
    struct kids l = {0};
    struct tnode *n = node(p, NK_LIST, p->k), *item;
    if (!n) return p->c->code;
    advance(p);
    while (!is_op(p, OP_RBRACKET)) {
        int code = l.n ? expect_op(p, OP_COMMA, "',' or ']'") : 0;
        if (code == 0 && is_op(p, OP_RBRACKET)) break;
        if (code < 0 || (code = parse_expr(p, &item)) < 0 || (code = kids_add(p, &l, item)) < 0) return code;
    }
    advance(p);
    kids_set(n, &l);
    *out = n;
    return 0;
}

static int parse_dict(struct parse *p, struct tnode **out)
{
    struct kids l = {0};
    struct tnode *n = node(p, NK_DICT, p->k), *key, *value;
    if (!n) return p->c->code;
    advance(p);
    while (!is_op(p, OP_RBRACE)) {
        int code = l.n ? expect_op(p, OP_COMMA, "',' or '}'") : 0;
        if (code == 0 && is_op(p, OP_RBRACE)) break;
        if (code < 0 || (code = parse_expr(p, &key)) < 0 || (code = expect_op(p, OP_COLON, "':'")) < 0 ||
            (code = parse_expr(p, &value)) < 0 || (code = kids_add(p, &l, key)) < 0 ||
            (code = kids_add(p, &l, value)) < 0)
            return code;
    }
    advance(p);
    kids_set(n, &l);
    *out = n;
    return 0;
}

enum tuple_mode {
    TUPLE_PLAIN,
    TUPLE_NO_COND = 1, /* no "a if b else c" at this level */
    TUPLE_PARENS = 2,  /* may be empty */
    TUPLE_TARGET = 4,  /* names only: an assignment */
    TUPLE_NS = 8,      /* with TUPLE_TARGET: a.b too */
};

static int parse_primary(struct parse *p, bool with_ns, struct tnode **out);

/* One expression, or a tuple if there is a comma. */
static int parse_tuple(struct parse *p, int mode, struct tnode **out)
{
    struct kids l = {0};
    const struct tmpl_token *at = p->k;
    struct tnode *item;
    bool tuple = false;
    for (;;) {
        int code = l.n ? expect_op(p, OP_COMMA, "','") : 0;
        if (code < 0) return code;
        if (p->k->type == TT_VAR_END || p->k->type == TT_BLOCK_END || is_op(p, OP_RPAREN)) break;
        if (mode & TUPLE_TARGET) code = parse_primary(p, mode & TUPLE_NS, &item);
        else code = mode & TUPLE_NO_COND ? parse_or(p, &item) : parse_expr(p, &item);
        if (code < 0 || (code = kids_add(p, &l, item)) < 0) return code;
        if (!is_op(p, OP_COMMA)) break;
        tuple = true;
    }
    if (!tuple && l.n) {
        *out = l.v[0];
        return 0;
    }
    if (!tuple && !(mode & TUPLE_PARENS)) return fail(p, "an expression");
    if (!(*out = node(p, NK_TUPLE, at))) return p->c->code;
    kids_set(*out, &l);
    return 0;
}

static int parse_string(struct parse *p, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    struct str s = at->s;
    size_t n = 0, parts = 0;
    for (const struct tmpl_token *k = at; k->type == TT_STRING; k++, parts++) n += k->s.n;
    if (parts > 1) { /* neighbours join */
        char *q = tmpl_bytes(p->c, n ? n : 1);
        if (!q) return p->c->code;
        s = (struct str){q, n};
        for (const struct tmpl_token *k = at; k->type == TT_STRING; k++) {
            memcpy(q, k->s.p, k->s.n);
            q += k->s.n;
        }
    }
    int code = const_node(p, tmpl_str(p->c, s, true), out);
    p->k += parts;
    return code;
}

static int parse_primary(struct parse *p, bool with_ns, struct tnode **out)
{
    const struct tmpl_token *k = p->k;
    int code;
    if (k->type == TT_NAME) {
        struct tval v = {.type = TV_MISSING};
        if (is_name(p, "true") || is_name(p, "True")) v = tmpl_bool(true);
        if (is_name(p, "false") || is_name(p, "False")) v = tmpl_bool(false);
        if (is_name(p, "none") || is_name(p, "None")) v = tmpl_none();
        if (v.type != TV_MISSING) {
            code = const_node(p, v, out);
            advance(p);
            return code;
        }
        code = name_node(p, NK_NAME, out);
        if (code == 0 && with_ns && skip_op(p, OP_DOT)) {
            if (p->k->type != TT_NAME) return fail(p, "a name");
            (*out)->kind = NK_NSREF;
            (*out)->value = tmpl_str(p->c, p->k->s, true);
            if ((*out)->value.type == TV_MISSING) return p->c->code;
            advance(p);
        }
        return code;
    }
    if (k->type == TT_STRING) return parse_string(p, out);
    if (k->type == TT_INT || k->type == TT_FLOAT) {
        code = const_node(p, k->type == TT_INT ? tmpl_int(k->i, true) : tmpl_float(k->f, true), out);
        advance(p);
        return code;
    }
    if (is_op(p, OP_LBRACKET)) return parse_list(p, out);
    if (is_op(p, OP_LBRACE)) return parse_dict(p, out);
    if (!skip_op(p, OP_LPAREN)) return fail(p, "an expression");
    code = parse_tuple(p, TUPLE_PARENS, out);
    return code < 0 ? code : expect_op(p, OP_RPAREN, "')'");
}

/* What stands between [ and ] or a comma: an expression, or a slice whose object is filled in later. */
static int parse_subscribed(struct parse *p, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    struct tnode *part[3] = {0};
    int code;
    if (!is_op(p, OP_COLON)) {
        if ((code = parse_expr(p, &part[0])) < 0) return code;
        if (!is_op(p, OP_COLON)) {
            *out = part[0];
            return 0;
        }
    }
    for (int i = 1; i < 3 && skip_op(p, OP_COLON); i++) {
        if (is_op(p, OP_COLON) || is_op(p, OP_RBRACKET) || is_op(p, OP_COMMA)) continue;
        if ((code = parse_expr(p, &part[i])) < 0) return code;
    }
    if (!(*out = node(p, NK_SLICE, at))) return p->c->code;
    (*out)->b = part[0];
    (*out)->c = part[1];
    (*out)->d = part[2];
    return 0;
}

static int parse_subscript(struct parse *p, struct tnode **io)
{
    const struct tmpl_token *at = p->k;
    struct tnode *n, *item;
    struct kids l = {0};
    int code;
    if (skip_op(p, OP_DOT)) {
        bool name = p->k->type == TT_NAME;
        if (!name && p->k->type != TT_INT) return fail(p, "a name or a number");
        if (!(n = node(p, name ? NK_ATTR : NK_ITEM, at))) return p->c->code;
        n->a = *io;
        if (name) {
            n->value = tmpl_str(p->c, p->k->s, true);
            if (n->value.type == TV_MISSING) return p->c->code;
        } else if ((code = const_node(p, tmpl_int(p->k->i, true), &n->b)) < 0) {
            return code;
        }
        advance(p);
        *io = n;
        return 0;
    }
    advance(p);
    while (!is_op(p, OP_RBRACKET)) {
        code = l.n ? expect_op(p, OP_COMMA, "',' or ']'") : 0;
        if (code < 0 || (code = parse_subscribed(p, &item)) < 0 || (code = kids_add(p, &l, item)) < 0) return code;
        if (item->kind == NK_SLICE && item->a == NULL && (l.n > 1 || is_op(p, OP_COMMA)))
            return fail_at(p, at, ERR_UNSUPPORTED, "a slice in a list of subscripts is not supported");
    }
    advance(p);
    if (l.n == 1 && l.v[0]->kind == NK_SLICE && !l.v[0]->a) {
        l.v[0]->a = *io;
        *io = l.v[0];
        return 0;
    }
    if (!(n = node(p, NK_ITEM, at))) return p->c->code;
    n->a = *io;
    n->b = l.n == 1 ? l.v[0] : node(p, NK_TUPLE, at);
    if (!n->b) return p->c->code;
    if (l.n != 1) kids_set(n->b, &l);
    *io = n;
    return 0;
}

static int parse_args(struct parse *p, struct tmpl_args **out)
{
    const struct tmpl_token *at = p->k;
    struct kids pos = {0}, kw = {0};
    struct tmpl_args *a = TMPL_NEW(p->c, struct tmpl_args, 1);
    struct str *names = NULL;
    uint32_t cap = 0;
    struct tnode *v;
    bool comma = false;
    int code;
    if (!a) return p->c->code;
    advance(p);
    while (!is_op(p, OP_RPAREN)) {
        if (comma && (code = expect_op(p, OP_COMMA, "',' or ')'")) < 0) return code;
        if (comma && is_op(p, OP_RPAREN)) break;
        comma = true;
        if (is_op(p, OP_MUL) || is_op(p, OP_POW)) {
            bool two = is_op(p, OP_POW);
            if (a->star2 || (a->star && !two)) return fail_at(p, at, ERR_FORMAT, "wrong order of call arguments");
            advance(p);
            if ((code = parse_expr(p, two ? &a->star2 : &a->star)) < 0) return code;
        } else if (p->k->type == TT_NAME && p->k[1].type == TT_OP && p->k[1].op == OP_ASSIGN) {
            if (a->star2) return fail_at(p, at, ERR_FORMAT, "wrong order of call arguments");
            if (kw.n == cap) {
                cap = cap ? 2 * cap : 4;
                struct str *more = TMPL_NEW(p->c, struct str, cap);
                if (!more) return p->c->code;
                if (kw.n) memcpy(more, names, kw.n * sizeof *more);
                names = more;
            }
            for (uint32_t i = 0; i < kw.n; i++) {
                if (str_eq(names[i], p->k->s)) return fail_at(p, p->k, ERR_FORMAT, "a keyword argument is repeated");
            }
            names[kw.n] = p->k->s;
            p->k += 2;
            if ((code = parse_expr(p, &v)) < 0 || (code = kids_add(p, &kw, v)) < 0) return code;
        } else {
            if (a->star || a->star2 || kw.n) return fail_at(p, at, ERR_FORMAT, "wrong order of call arguments");
            if ((code = parse_expr(p, &v)) < 0 || (code = kids_add(p, &pos, v)) < 0) return code;
        }
    }
    advance(p);
    *a = (struct tmpl_args){pos.v, names, kw.v, a->star, a->star2, pos.n, kw.n};
    *out = a;
    return 0;
}

static int parse_call(struct parse *p, struct tnode **io)
{
    struct tnode *n = node(p, NK_CALL, p->k);
    if (!n) return p->c->code;
    n->a = *io;
    *io = n;
    return parse_args(p, &n->args);
}

static int parse_postfix(struct parse *p, struct tnode **io)
{
    unsigned depth = 0;
    for (int code = 0;; depth++) {
        if (depth > PARSE_NEST) return fail_at(p, p->k, ERR_LIMIT, "a chain of subscripts is too long");
        if (is_op(p, OP_DOT) || is_op(p, OP_LBRACKET)) {
            if ((code = nest(p)) < 0) return code;
            code = parse_subscript(p, io);
            p->nest--;
        } else if (is_op(p, OP_LPAREN)) {
            code = parse_call(p, io);
        } else {
            return 0;
        }
        if (code < 0) return code;
    }
}

/* A dotted name as filters and tests have it. */
static int parse_native_name(struct parse *p, struct str *name)
{
    if (p->k->type != TT_NAME) return fail(p, "a name");
    *name = p->k->s;
    advance(p);
    if (is_op(p, OP_DOT)) return fail(p, "a filter or test of one name");
    return 0;
}

static int fail_unknown(struct parse *p, const struct tnode *n)
{
    const struct text *name = n->value.u.s;
    bool filter = n->kind == NK_FILTER;
    p->c->line = n->line;
    p->c->col = n->col;
    if (filter && tmpl_filter_refused(tmpl_view(name)))
        return tmpl_err(p->c, ERR_UNSUPPORTED, "the filter '%.*s' is not supported", STR_ARG(*name));
    return tmpl_err(p->c, ERR_FORMAT, "there is no %s named '%.*s'", filter ? "filter" : "test", STR_ARG(*name));
}

/* jinja2 lets an unknown name pass inside if, where it only fails when it runs. */
static int note_unknown(struct parse *p, struct tnode *n, struct str name)
{
    n->flag = true;
    n->value = tmpl_str(p->c, name, true);
    if (n->value.type == TV_MISSING) return p->c->code;
    bool refused = n->kind == NK_FILTER && tmpl_filter_refused(name);
    return p->soft && !refused ? 0 : fail_unknown(p, n);
}

/* name or name(args) after "|"; *io is the input, NULL in blocks */
static int parse_filter(struct parse *p, struct tnode **io)
{
    const struct tmpl_token *at = p->k;
    struct str name;
    struct tnode *n = node(p, NK_FILTER, at);
    if (!n) return p->c->code;
    int code = parse_native_name(p, &name);
    if (code < 0) return code;
    n->a = *io;
    n->native = tmpl_filter_find(name);
    if (!n->native && (code = note_unknown(p, n, name)) < 0) return code;
    if (is_op(p, OP_LPAREN) && (code = parse_args(p, &n->args)) < 0) return code;
    *io = n;
    return 0;
}

static int parse_test(struct parse *p, struct tnode **io)
{
    const struct tmpl_token *at = p->k;
    struct str name;
    advance(p);
    bool negate = skip_name(p, "not");
    struct tnode *n = node(p, NK_TEST, at), *arg;
    if (!n) return p->c->code;
    int code = parse_native_name(p, &name);
    if (code < 0) return code;
    n->a = *io;
    n->native = tmpl_test_find(name);
    if (!n->native && (code = note_unknown(p, n, name)) < 0) return code;
    bool operand = p->k->type == TT_NAME || p->k->type == TT_STRING || p->k->type == TT_INT || p->k->type == TT_FLOAT ||
                   is_op(p, OP_LBRACKET) || is_op(p, OP_LBRACE);
    if (is_op(p, OP_LPAREN)) {
        if ((code = parse_args(p, &n->args)) < 0) return code;
    } else if (operand && !is_name(p, "else") && !is_name(p, "or") && !is_name(p, "and")) {
        struct kids l = {0};
        if (is_name(p, "is")) return fail_at(p, p->k, ERR_FORMAT, "tests cannot be chained with 'is'");
        if ((code = parse_primary(p, false, &arg)) < 0 || (code = parse_postfix(p, &arg)) < 0 ||
            (code = kids_add(p, &l, arg)) < 0)
            return code;
        if (!(n->args = TMPL_NEW(p->c, struct tmpl_args, 1))) return p->c->code;
        n->args->pos = l.v;
        n->args->n_pos = l.n;
    }
    if (negate) {
        struct tnode *not = node(p, NK_NOT, at);
        if (!not) return p->c->code;
        not->a = n;
        n = not;
    }
    *io = n;
    return 0;
}

static int parse_filters(struct parse *p, struct tnode **io)
{
    for (unsigned depth = 0;; depth++) {
        int code;
        if (depth > PARSE_NEST) return fail_at(p, p->k, ERR_LIMIT, "a chain of filters is too long");
        if (skip_op(p, OP_PIPE)) code = parse_filter(p, io);
        else if (is_name(p, "is")) code = parse_test(p, io);
        else if (is_op(p, OP_LPAREN)) code = parse_call(p, io);
        else return 0;
        if (code < 0) return code;
    }
}

static int parse_unary(struct parse *p, bool with_filter, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    int code = nest(p);
    if (code < 0) return code;
    if (is_op(p, OP_SUB) || is_op(p, OP_ADD)) {
        struct tnode *n = node(p, is_op(p, OP_SUB) ? NK_NEG : NK_POS, at);
        if (!n) return p->c->code;
        advance(p);
        code = parse_unary(p, false, &n->a);
        *out = n;
    } else {
        code = parse_primary(p, false, out);
    }
    if (code == 0) code = parse_postfix(p, out);
    if (code == 0 && with_filter) code = parse_filters(p, out);
    p->nest--;
    return code;
}

static int binary(struct parse *p, enum tmpl_kind kind, enum tmpl_op op, const struct tmpl_token *at, struct tnode *right,
                  struct tnode **io)
{
    struct tnode *n = node(p, kind, at);
    if (!n) return p->c->code;
    n->op = (uint8_t)op;
    n->a = *io;
    n->b = right;
    *io = n;
    return 0;
}

static int parse_pow(struct parse *p, struct tnode **out)
{
    int code = parse_unary(p, true, out);
    while (code == 0 && is_op(p, OP_POW)) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        advance(p);
        if ((code = parse_unary(p, true, &right)) == 0) code = binary(p, NK_BINARY, OP_POW, at, right, out);
    }
    return code;
}

static int parse_product(struct parse *p, struct tnode **out)
{
    int code = parse_pow(p, out);
    while (code == 0 && (is_op(p, OP_MUL) || is_op(p, OP_DIV) || is_op(p, OP_FLOORDIV) || is_op(p, OP_MOD))) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        advance(p);
        if ((code = parse_pow(p, &right)) == 0) code = binary(p, NK_BINARY, at->op, at, right, out);
    }
    return code;
}

static int parse_concat(struct parse *p, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    struct kids l = {0};
    struct tnode *item;
    int code = parse_product(p, out);
    if (code < 0 || !is_op(p, OP_TILDE)) return code;
    code = kids_add(p, &l, *out);
    while (code == 0 && skip_op(p, OP_TILDE)) {
        if ((code = parse_product(p, &item)) == 0) code = kids_add(p, &l, item);
    }
    if (code < 0) return code;
    if (!(*out = node(p, NK_CONCAT, at))) return p->c->code;
    kids_set(*out, &l);
    return 0;
}

static int parse_sum(struct parse *p, struct tnode **out)
{
    int code = parse_concat(p, out);
    while (code == 0 && (is_op(p, OP_ADD) || is_op(p, OP_SUB))) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        advance(p);
        if ((code = parse_concat(p, &right)) == 0) code = binary(p, NK_BINARY, at->op, at, right, out);
    }
    return code;
}

/* Takes a comparison operator if one stands here. */
static bool take_compare(struct parse *p, uint8_t *op)
{
    if (p->k->type == TT_OP && p->k->op >= OP_EQ && p->k->op <= OP_LE) {
        *op = p->k->op;
        advance(p);
        return true;
    }
    if (skip_name(p, "in")) {
        *op = OP_IN;
        return true;
    }
    if (is_name(p, "not") && p->k[1].type == TT_NAME && str_eqz(p->k[1].s, "in")) {
        p->k += 2;
        *op = OP_NOTIN;
        return true;
    }
    return false;
}

static int parse_compare(struct parse *p, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    struct kids l = {0};
    uint8_t op;
    int code = parse_sum(p, out);
    while (code == 0 && take_compare(p, &op)) {
        struct tnode *item, *wrap = node(p, NK_BINARY, at); /* only op and b are used */
        if (!wrap) return p->c->code;
        if ((code = parse_sum(p, &item)) < 0) return code;
        wrap->op = op;
        wrap->b = item;
        code = kids_add(p, &l, wrap);
    }
    if (code < 0 || !l.n) return code;
    struct tnode *n = node(p, NK_COMPARE, at);
    if (!n) return p->c->code;
    n->a = *out;
    kids_set(n, &l);
    *out = n;
    return 0;
}

static int parse_not(struct parse *p, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    if (!skip_name(p, "not")) return parse_compare(p, out);
    int code = nest(p);
    struct tnode *n = code < 0 ? NULL : node(p, NK_NOT, at);
    if (!n) return p->c->code;
    code = parse_not(p, &n->a);
    p->nest--;
    *out = n;
    return code;
}

static int parse_and(struct parse *p, struct tnode **out)
{
    int code = parse_not(p, out);
    while (code == 0 && is_name(p, "and")) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        advance(p);
        if ((code = parse_not(p, &right)) == 0) code = binary(p, NK_AND, 0, at, right, out);
    }
    return code;
}

static int parse_or(struct parse *p, struct tnode **out)
{
    int code = parse_and(p, out);
    while (code == 0 && is_name(p, "or")) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        advance(p);
        if ((code = parse_and(p, &right)) == 0) code = binary(p, NK_OR, 0, at, right, out);
    }
    return code;
}

/* An unknown filter or test that would run; what stands in a conditional may not. */
static const struct tnode *find_unknown(const struct tnode *n, unsigned depth);

static const struct tnode *find_in(struct tnode *const *v, uint32_t n, unsigned depth)
{
    const struct tnode *hit = NULL;
    for (uint32_t i = 0; i < n && !hit; i++) hit = find_unknown(v[i], depth);
    return hit;
}

static const struct tnode *find_unknown(const struct tnode *n, unsigned depth)
{
    const struct tnode *hit;
    if (!n || depth > 4 * PARSE_NEST || n->kind == NK_COND) return NULL;
    if ((n->kind == NK_FILTER || n->kind == NK_TEST) && n->flag) return n;
    depth++;
    if (n->args && (hit = find_in(n->args->pos, n->args->n_pos, depth)) != NULL) return hit;
    if (n->args && (hit = find_in(n->args->kw, n->args->n_kw, depth)) != NULL) return hit;
    if ((hit = find_in(n->kids, n->n_kids, depth)) != NULL || (hit = find_unknown(n->a, depth)) != NULL ||
        (hit = find_unknown(n->b, depth)) != NULL || (hit = find_unknown(n->c, depth)) != NULL)
        return hit;
    return find_unknown(n->d, depth);
}

static int parse_expr(struct parse *p, struct tnode **out)
{
    int code = nest(p);
    if (code < 0) return code;
    p->soft++; /* whether "if" follows is not known before the end: unknown names are judged there */
    code = parse_or(p, out);
    while (code == 0 && is_name(p, "if")) {
        struct tnode *n = node(p, NK_COND, p->k);
        if (!n) return p->c->code;
        advance(p);
        n->a = *out;
        *out = n;
        code = parse_or(p, &n->b);
        if (code == 0 && skip_name(p, "else")) code = parse_expr(p, &n->c);
    }
    p->soft--;
    p->nest--;
    if (code < 0 || p->soft) return code;
    const struct tnode *hit = find_unknown(*out, 0);
    return hit ? fail_unknown(p, hit) : 0;
}

/* --- statements --------------------------------------------------------------------------------------------- */

static bool assignable(const struct tnode *n)
{
    if (n->kind == NK_NAME || n->kind == NK_NSREF) return true;
    if (n->kind != NK_TUPLE) return false;
    for (uint32_t i = 0; i < n->n_kids; i++) {
        if (!assignable(n->kids[i])) return false;
    }
    return true;
}

static int parse_target(struct parse *p, bool with_ns, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    int code = parse_tuple(p, TUPLE_TARGET | (with_ns ? TUPLE_NS : 0), out);
    if (code == 0 && !assignable(*out)) return fail_at(p, at, ERR_FORMAT, "this cannot be assigned to");
    return code;
}

/* "%}", the body, and the end tag's name, which stays current. */
static int parse_block(struct parse *p, const char *const *end, struct tnode **out)
{
    skip_op(p, OP_COLON);
    int code = expect_type(p, TT_BLOCK_END, "'%}'");
    if (code == 0) code = parse_body(p, end, out);
    return code;
}

/* The same, and the end tag's name is skipped; a macro or call block, where break may not leave outer loops. */
static int parse_closed(struct parse *p, const char *end, bool own_loops, struct tnode **out)
{
    const char *const ends[] = {end, NULL};
    unsigned loops = p->loops, soft = p->soft;
    if (own_loops) p->loops = 0;
    p->soft = 0;
    int code = parse_block(p, ends, out);
    p->loops = loops;
    p->soft = soft;
    advance(p);
    return code;
}

static int parse_set(struct parse *p, struct tnode *n)
{
    int code = parse_target(p, true, &n->a);
    if (code < 0) return code;
    n->kind = NK_SET;
    if (skip_op(p, OP_ASSIGN)) return parse_tuple(p, TUPLE_PLAIN, &n->b);
    n->kind = NK_SETBLOCK;
    while (code == 0 && skip_op(p, OP_PIPE)) code = parse_filter(p, &n->b);
    return code < 0 ? code : parse_closed(p, "endset", false, &n->c);
}

static int parse_for(struct parse *p, struct tnode *n)
{
    static const char *const ENDS[] = {"endfor", "else", NULL}, *const END_ELSE[] = {"endfor", NULL};
    const struct tmpl_token *at = p->k;
    unsigned soft = p->soft;
    int code = parse_target(p, false, &n->a);
    if (code == 0 && n->a->kind == NK_NAME && n->a->id == p->t->id_loop)
        return fail_at(p, at, ERR_FORMAT, "the target of a for cannot be named loop");
    if (code == 0 && !skip_name(p, "in")) return fail(p, "'in'");
    if (code == 0) code = parse_tuple(p, TUPLE_NO_COND, &n->b);
    if (code == 0 && skip_name(p, "if")) code = parse_expr(p, &n->c);
    if (code < 0) return code;
    n->flag = skip_name(p, "recursive");
    p->loops++;
    p->soft = 0;
    code = parse_block(p, ENDS, &n->d);
    p->loops--;
    if (code == 0 && skip_name(p, "else")) {
        struct kids l = {0};
        struct tnode *other;
        if ((code = parse_block(p, END_ELSE, &other)) == 0) code = kids_add(p, &l, other);
        kids_set(n, &l);
    }
    p->soft = soft;
    advance(p);
    return code;
}

static int parse_if(struct parse *p, struct tnode *n)
{
    static const char *const ENDS[] = {"elif", "else", "endif", NULL}, *const END[] = {"endif", NULL};
    struct kids l = {0};
    struct tnode *test, *body;
    int code;
    p->soft++;
    do {
        if ((code = parse_tuple(p, TUPLE_NO_COND, &test)) < 0 || (code = parse_block(p, ENDS, &body)) < 0 ||
            (code = kids_add(p, &l, test)) < 0 || (code = kids_add(p, &l, body)) < 0)
            return code;
    } while (skip_name(p, "elif"));
    if (skip_name(p, "else")) code = parse_block(p, END, &n->a);
    p->soft--;
    kids_set(n, &l);
    advance(p);
    return code;
}

static int parse_signature(struct parse *p, struct tmpl_params *m)
{
    struct kids names = {0}, defs = {0};
    struct tnode *n, *def;
    int code = expect_op(p, OP_LPAREN, "'('");
    while (code == 0 && !is_op(p, OP_RPAREN)) {
        def = NULL;
        if (names.n && (code = expect_op(p, OP_COMMA, "',' or ')'")) < 0) return code;
        if (p->k->type != TT_NAME) return fail(p, "a parameter's name");
        if ((code = name_node(p, NK_NAME, &n)) < 0) return code;
        if (skip_op(p, OP_ASSIGN)) code = parse_expr(p, &def);
        else if (defs.n && defs.v[defs.n - 1]) return fail(p, "a default value");
        if (code < 0 || (code = kids_add(p, &names, n)) < 0 || (code = kids_add(p, &defs, def)) < 0) return code;
    }
    if (code < 0) return code;
    advance(p);
    m->def = defs.v;
    m->n = names.n;
    if (!(m->id = TMPL_NEW(p->c, uint32_t, names.n + 1))) return p->c->code;
    for (uint32_t i = 0; i < names.n; i++) m->id[i] = names.v[i]->id;
    return 0;
}

static int parse_macro(struct parse *p, struct tnode *n, bool call)
{
    const struct tmpl_token *at = p->k;
    struct tnode *name;
    int code;
    n->kind = call ? NK_CALLBLOCK : NK_MACRO;
    if (!(n->params = TMPL_NEW(p->c, struct tmpl_params, 1))) return p->c->code;
    if (!call) {
        if (at->type != TT_NAME) return fail(p, "a macro's name");
        if ((code = name_node(p, NK_NAME, &name)) < 0) return code;
        n->id = name->id;
    }
    if (p->n_macro == MACROS_MAX) return fail_at(p, at, ERR_LIMIT, "macros are nested too deeply");
    if ((!call || is_op(p, OP_LPAREN)) && (code = parse_signature(p, n->params)) < 0) return code;
    n->params->uses_caller = n->params->uses_kwargs = n->params->uses_varargs = false;
    if (call) {
        at = p->k;
        if ((code = parse_expr(p, &n->a)) < 0) return code;
        if (n->a->kind != NK_CALL) return fail_at(p, at, ERR_FORMAT, "a call block needs a call");
    }
    p->macro[p->n_macro++] = n->params;
    code = parse_closed(p, call ? "endcall" : "endmacro", true, &n->d);
    p->n_macro--;
    return code;
}

static int parse_with(struct parse *p, struct tnode *n)
{
    struct kids l = {0};
    struct tnode *target, *value;
    int code = 0;
    while (code == 0 && p->k->type != TT_BLOCK_END) {
        if (l.n && (code = expect_op(p, OP_COMMA, "','")) < 0) return code;
        if ((code = parse_target(p, false, &target)) < 0 || (code = expect_op(p, OP_ASSIGN, "'='")) < 0 ||
            (code = parse_expr(p, &value)) < 0 || (code = kids_add(p, &l, target)) < 0)
            return code;
        code = kids_add(p, &l, value);
    }
    kids_set(n, &l);
    return code < 0 ? code : parse_closed(p, "endwith", false, &n->d);
}

static int parse_print(struct parse *p, struct tnode *n)
{
    struct kids l = {0};
    int code = 0;
    while (code == 0 && p->k->type != TT_BLOCK_END) {
        struct tnode *out = node(p, NK_OUTPUT, p->k);
        if (!out) return p->c->code;
        if (l.n && (code = expect_op(p, OP_COMMA, "','")) < 0) return code;
        if ((code = parse_expr(p, &out->a)) == 0) code = kids_add(p, &l, out);
    }
    kids_set(n, &l);
    return code;
}

static int parse_statement(struct parse *p, struct tnode **out)
{
    static const char *const REFUSED[] = {"extends", "include", "import", "from", "block", "autoescape"};
    const struct tmpl_token *at = p->k;
    struct tnode *n = *out = node(p, NK_BODY, at);
    if (!n) return p->c->code;
    p->c->line = at->line;
    p->c->col = at->col;
    if (at->type != TT_NAME) return fail(p, "a tag's name");
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        if (is_name(p, REFUSED[i]))
            return tmpl_err(p->c, ERR_UNSUPPORTED, "{%% %s %%} is not supported in a chat template", REFUSED[i]);
    }
    advance(p);
    if (str_eqz(at->s, "set")) return parse_set(p, n);
    if (str_eqz(at->s, "for")) return n->kind = NK_FOR, parse_for(p, n);
    if (str_eqz(at->s, "if")) return n->kind = NK_IF, parse_if(p, n);
    if (str_eqz(at->s, "macro")) return parse_macro(p, n, false);
    if (str_eqz(at->s, "call")) return parse_macro(p, n, true);
    if (str_eqz(at->s, "with")) return n->kind = NK_WITH, parse_with(p, n);
    if (str_eqz(at->s, "print")) return parse_print(p, n);
    if (str_eqz(at->s, "generation")) return n->kind = NK_SCOPE, parse_closed(p, "endgeneration", true, &n->d);
    if (str_eqz(at->s, "filter")) {
        n->kind = NK_FILTERBLOCK;
        int code = parse_filter(p, &n->b);
        while (code == 0 && skip_op(p, OP_PIPE)) code = parse_filter(p, &n->b);
        return code < 0 ? code : parse_closed(p, "endfilter", false, &n->c);
    }
    if (str_eqz(at->s, "break") || str_eqz(at->s, "continue")) {
        n->kind = str_eqz(at->s, "break") ? NK_BREAK : NK_CONTINUE;
        return p->loops ? 0 : tmpl_err(p->c, ERR_FORMAT, "'%.*s' stands outside of a loop", STR_ARG(at->s));
    }
    return tmpl_err(p->c, ERR_FORMAT, "the tag '%.*s' is unknown here", STR_ARG(at->s));
}

/* Statements up to one of the tags in `end` (NULL: the end of the template), which stays current. */
static int parse_body(struct parse *p, const char *const *end, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    struct kids l = {0};
    int code = nest(p);
    struct tnode *body = code < 0 ? NULL : node(p, NK_BODY, at);
    if (!body) return p->c->code;
    while (code == 0) {
        struct tnode *n = NULL;
        if (p->k->type == TT_EOF) {
            if (!end) break;
            p->c->line = at->line;
            p->c->col = at->col;
            return tmpl_err(p->c, ERR_FORMAT, "the block that starts here has no {%% %s %%}", end[end[1] ? 1 + !!end[2] : 0]);
        }
        if (p->k->type == TT_DATA) {
            if (!(n = node(p, NK_DATA, p->k))) return p->c->code;
            n->value = tmpl_str(p->c, p->k->s, true);
            if (n->value.type == TV_MISSING) return p->c->code;
            advance(p);
        } else if (p->k->type == TT_VAR_BEGIN) {
            if (!(n = node(p, NK_OUTPUT, p->k))) return p->c->code;
            advance(p);
            code = parse_tuple(p, TUPLE_PLAIN, &n->a);
            if (code == 0) code = expect_type(p, TT_VAR_END, "'}}'");
        } else if (p->k->type == TT_BLOCK_BEGIN) {
            bool done = false;
            advance(p);
            for (const char *const *z = end; z && *z && !done; z++) done = is_name(p, *z);
            if (done) break;
            code = parse_statement(p, &n);
            if (code == 0) code = expect_type(p, TT_BLOCK_END, "'%}'");
        } else {
            return fail(p, "text or a tag");
        }
        if (code == 0) code = kids_add(p, &l, n);
    }
    p->nest--;
    kids_set(body, &l);
    *out = body;
    return code;
}

int tmpl_parse(struct tmpl_run *c, struct template *t, const struct tmpl_tokens *tok)
{
    struct parse p = {.c = c, .t = t, .k = tok->v};
    int code;
    if ((code = tmpl_name_id(c, t, STR("loop"), &t->id_loop)) < 0 ||
        (code = tmpl_name_id(c, t, STR("caller"), &t->id_caller)) < 0 ||
        (code = tmpl_name_id(c, t, STR("kwargs"), &t->id_kwargs)) < 0 ||
        (code = tmpl_name_id(c, t, STR("varargs"), &t->id_varargs)) < 0)
        return code;
    return parse_body(&p, NULL, &t->root);
}
