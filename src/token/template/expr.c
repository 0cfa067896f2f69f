/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions of the template language: tokens to tree. Loosest first:
 *   a if b else c | or | and | not | == != < <= > >= in, not in | + - | ~ | * / // % | ** | unary - + |
 *   primary, then any of .name [key] (args), then any of |filter, "is" test, (args)
 * A filter binds tighter than any operator, "**" groups to the left, and a sign binds tighter than "**".
 */
#include "token/template/parse_int.h"

static int parse_or(struct parse *p, struct tnode **out);
static int parse_unary(struct parse *p, bool with_filter, struct tnode **out);

static int const_node(struct parse *p, struct tval v, struct tnode **out)
{
    if (v.type == TV_MISSING) return p->c->code;
    if (!(*out = tparse_node(p, NK_CONST, p->k))) return p->c->code;
    (*out)->value = v;
    return 0;
}

static int parse_list(struct parse *p, struct tnode **out)
{
    struct kids l = {0};
    struct tnode *n = tparse_node(p, NK_LIST, p->k), *item;
    if (!n) return p->c->code;
    tparse_advance(p);
    while (!tparse_is_op(p, OP_RBRACKET)) {
        int code = l.n ? tparse_expect_op(p, OP_COMMA, "',' or ']'") : 0;
        if (code == 0 && tparse_is_op(p, OP_RBRACKET)) break;
        if (code < 0 || (code = tparse_expr(p, &item)) < 0 || (code = tparse_kids_add(p, &l, item)) < 0)
            return code;
    }
    tparse_advance(p);
    tparse_kids_set(n, &l);
    *out = n;
    return 0;
}

static int parse_dict(struct parse *p, struct tnode **out)
{
    struct kids l = {0};
    struct tnode *n = tparse_node(p, NK_DICT, p->k), *key, *value;
    if (!n) return p->c->code;
    tparse_advance(p);
    while (!tparse_is_op(p, OP_RBRACE)) {
        int code = l.n ? tparse_expect_op(p, OP_COMMA, "',' or '}'") : 0;
        if (code == 0 && tparse_is_op(p, OP_RBRACE)) break;
        if (code < 0 || (code = tparse_expr(p, &key)) < 0 ||
            (code = tparse_expect_op(p, OP_COLON, "':'")) < 0 || (code = tparse_expr(p, &value)) < 0 ||
            (code = tparse_kids_add(p, &l, key)) < 0 || (code = tparse_kids_add(p, &l, value)) < 0)
            return code;
    }
    tparse_advance(p);
    tparse_kids_set(n, &l);
    *out = n;
    return 0;
}

static int parse_primary(struct parse *p, bool with_ns, struct tnode **out);

/* One expression, or a tuple if there is a comma. */
int tparse_tuple(struct parse *p, int mode, struct tnode **out)
{
    struct kids l = {0};
    const struct tmpl_token *at = p->k;
    struct tnode *item;
    bool tuple = false;
    for (;;) {
        int code = l.n ? tparse_expect_op(p, OP_COMMA, "','") : 0;
        if (code < 0) return code;
        if (p->k->type == TT_VAR_END || p->k->type == TT_BLOCK_END || tparse_is_op(p, OP_RPAREN)) break;
        if (mode & TUPLE_TARGET)
            code = parse_primary(p, mode & TUPLE_NS, &item);
        else
            code = mode & TUPLE_NO_COND ? parse_or(p, &item) : tparse_expr(p, &item);
        if (code < 0 || (code = tparse_kids_add(p, &l, item)) < 0) return code;
        if (!tparse_is_op(p, OP_COMMA)) break;
        tuple = true;
    }
    if (!tuple && l.n) {
        *out = l.v[0];
        return 0;
    }
    if (!tuple && !(mode & TUPLE_PARENS)) return tparse_fail(p, "an expression");
    if (!(*out = tparse_node(p, NK_TUPLE, at))) return p->c->code;
    tparse_kids_set(*out, &l);
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
        if (tparse_is_name(p, "true") || tparse_is_name(p, "True")) v = tmpl_bool(true);
        if (tparse_is_name(p, "false") || tparse_is_name(p, "False")) v = tmpl_bool(false);
        if (tparse_is_name(p, "none") || tparse_is_name(p, "None")) v = tmpl_none();
        if (v.type != TV_MISSING) {
            code = const_node(p, v, out);
            tparse_advance(p);
            return code;
        }
        code = tparse_name_node(p, NK_NAME, out);
        if (code == 0 && with_ns && tparse_skip_op(p, OP_DOT)) {
            if (p->k->type != TT_NAME) return tparse_fail(p, "a name");
            (*out)->kind = NK_NSREF;
            (*out)->value = tmpl_str(p->c, p->k->s, true);
            if ((*out)->value.type == TV_MISSING) return p->c->code;
            tparse_advance(p);
        }
        return code;
    }
    if (k->type == TT_STRING) return parse_string(p, out);
    if (k->type == TT_INT || k->type == TT_FLOAT) {
        code = const_node(p, k->type == TT_INT ? tmpl_int(k->i, true) : tmpl_float(k->f, true), out);
        tparse_advance(p);
        return code;
    }
    if (tparse_is_op(p, OP_LBRACKET)) return parse_list(p, out);
    if (tparse_is_op(p, OP_LBRACE)) return parse_dict(p, out);
    if (!tparse_skip_op(p, OP_LPAREN)) return tparse_fail(p, "an expression");
    code = tparse_tuple(p, TUPLE_PARENS, out);
    return code < 0 ? code : tparse_expect_op(p, OP_RPAREN, "')'");
}

/* What stands between [ and ] or a comma: an expression, or a slice whose object is filled in later. */
static int parse_subscribed(struct parse *p, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    struct tnode *part[3] = {0};
    int code;
    if (!tparse_is_op(p, OP_COLON)) {
        if ((code = tparse_expr(p, &part[0])) < 0) return code;
        if (!tparse_is_op(p, OP_COLON)) {
            *out = part[0];
            return 0;
        }
    }
    for (int i = 1; i < 3 && tparse_skip_op(p, OP_COLON); i++) {
        if (tparse_is_op(p, OP_COLON) || tparse_is_op(p, OP_RBRACKET) || tparse_is_op(p, OP_COMMA)) continue;
        if ((code = tparse_expr(p, &part[i])) < 0) return code;
    }
    if (!(*out = tparse_node(p, NK_SLICE, at))) return p->c->code;
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
    if (tparse_skip_op(p, OP_DOT)) {
        bool name = p->k->type == TT_NAME;
        if (!name && p->k->type != TT_INT) return tparse_fail(p, "a name or a number");
        if (!(n = tparse_node(p, name ? NK_ATTR : NK_ITEM, at))) return p->c->code;
        n->a = *io;
        if (name) {
            n->value = tmpl_str(p->c, p->k->s, true);
            if (n->value.type == TV_MISSING) return p->c->code;
        } else if ((code = const_node(p, tmpl_int(p->k->i, true), &n->b)) < 0) {
            return code;
        }
        tparse_advance(p);
        *io = n;
        return 0;
    }
    tparse_advance(p);
    while (!tparse_is_op(p, OP_RBRACKET)) {
        code = l.n ? tparse_expect_op(p, OP_COMMA, "',' or ']'") : 0;
        if (code < 0 || (code = parse_subscribed(p, &item)) < 0 || (code = tparse_kids_add(p, &l, item)) < 0)
            return code;
        if (item->kind == NK_SLICE && item->a == NULL && (l.n > 1 || tparse_is_op(p, OP_COMMA)))
            return tparse_fail_at(p, at, ERR_UNSUPPORTED, "a slice in a list of subscripts is not supported");
    }
    tparse_advance(p);
    if (l.n == 1 && l.v[0]->kind == NK_SLICE && !l.v[0]->a) {
        l.v[0]->a = *io;
        *io = l.v[0];
        return 0;
    }
    if (!(n = tparse_node(p, NK_ITEM, at))) return p->c->code;
    n->a = *io;
    n->b = l.n == 1 ? l.v[0] : tparse_node(p, NK_TUPLE, at);
    if (!n->b) return p->c->code;
    if (l.n != 1) tparse_kids_set(n->b, &l);
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
    tparse_advance(p);
    while (!tparse_is_op(p, OP_RPAREN)) {
        if (comma && (code = tparse_expect_op(p, OP_COMMA, "',' or ')'")) < 0) return code;
        if (comma && tparse_is_op(p, OP_RPAREN)) break;
        comma = true;
        if (tparse_is_op(p, OP_MUL) || tparse_is_op(p, OP_POW)) {
            bool two = tparse_is_op(p, OP_POW);
            if (a->star2 || (a->star && !two))
                return tparse_fail_at(p, at, ERR_FORMAT, "wrong order of call arguments");
            tparse_advance(p);
            if ((code = tparse_expr(p, two ? &a->star2 : &a->star)) < 0) return code;
        } else if (p->k->type == TT_NAME && p->k[1].type == TT_OP && p->k[1].op == OP_ASSIGN) {
            if (a->star2) return tparse_fail_at(p, at, ERR_FORMAT, "wrong order of call arguments");
            if (kw.n == cap) {
                cap = cap ? 2 * cap : 4;
                struct str *more = TMPL_NEW(p->c, struct str, cap);
                if (!more) return p->c->code;
                if (kw.n) memcpy(more, names, kw.n * sizeof *more);
                names = more;
            }
            for (uint32_t i = 0; i < kw.n; i++) {
                if (str_eq(names[i], p->k->s))
                    return tparse_fail_at(p, p->k, ERR_FORMAT, "a keyword argument is repeated");
            }
            names[kw.n] = p->k->s;
            p->k += 2;
            if ((code = tparse_expr(p, &v)) < 0 || (code = tparse_kids_add(p, &kw, v)) < 0) return code;
        } else {
            if (a->star || a->star2 || kw.n)
                return tparse_fail_at(p, at, ERR_FORMAT, "wrong order of call arguments");
            if ((code = tparse_expr(p, &v)) < 0 || (code = tparse_kids_add(p, &pos, v)) < 0) return code;
        }
    }
    tparse_advance(p);
    *a = (struct tmpl_args){pos.v, names, kw.v, a->star, a->star2, pos.n, kw.n};
    *out = a;
    return 0;
}

static int parse_call(struct parse *p, struct tnode **io)
{
    struct tnode *n = tparse_node(p, NK_CALL, p->k);
    if (!n) return p->c->code;
    n->a = *io;
    *io = n;
    return parse_args(p, &n->args);
}

static int parse_postfix(struct parse *p, struct tnode **io)
{
    unsigned depth = 0;
    for (int code = 0;; depth++) {
        if (depth > PARSE_NEST)
            return tparse_fail_at(p, p->k, ERR_LIMIT, "a chain of subscripts is too long");
        if (tparse_is_op(p, OP_DOT) || tparse_is_op(p, OP_LBRACKET)) {
            if ((code = tparse_nest(p)) < 0) return code;
            code = parse_subscript(p, io);
            p->nest--;
        } else if (tparse_is_op(p, OP_LPAREN)) {
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
    if (p->k->type != TT_NAME) return tparse_fail(p, "a name");
    *name = p->k->s;
    tparse_advance(p);
    if (tparse_is_op(p, OP_DOT)) return tparse_fail(p, "a filter or test of one name");
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
    return tmpl_err(p->c, ERR_FORMAT, "there is no %s named '%.*s'", filter ? "filter" : "test",
                    STR_ARG(*name));
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
int tparse_filter(struct parse *p, struct tnode **io)
{
    const struct tmpl_token *at = p->k;
    struct str name;
    struct tnode *n = tparse_node(p, NK_FILTER, at);
    if (!n) return p->c->code;
    int code = parse_native_name(p, &name);
    if (code < 0) return code;
    n->a = *io;
    n->native = tmpl_filter_find(name);
    if (!n->native && (code = note_unknown(p, n, name)) < 0) return code;
    if (tparse_is_op(p, OP_LPAREN) && (code = parse_args(p, &n->args)) < 0) return code;
    *io = n;
    return 0;
}

static int parse_test(struct parse *p, struct tnode **io)
{
    const struct tmpl_token *at = p->k;
    struct str name;
    tparse_advance(p);
    bool negate = tparse_skip_name(p, "not");
    struct tnode *n = tparse_node(p, NK_TEST, at), *arg;
    if (!n) return p->c->code;
    int code = parse_native_name(p, &name);
    if (code < 0) return code;
    n->a = *io;
    n->native = tmpl_test_find(name);
    if (!n->native && (code = note_unknown(p, n, name)) < 0) return code;
    bool operand = p->k->type == TT_NAME || p->k->type == TT_STRING || p->k->type == TT_INT ||
                   p->k->type == TT_FLOAT || tparse_is_op(p, OP_LBRACKET) || tparse_is_op(p, OP_LBRACE);
    if (tparse_is_op(p, OP_LPAREN)) {
        if ((code = parse_args(p, &n->args)) < 0) return code;
    } else if (operand && !tparse_is_name(p, "else") && !tparse_is_name(p, "or") &&
               !tparse_is_name(p, "and")) {
        struct kids l = {0};
        if (tparse_is_name(p, "is"))
            return tparse_fail_at(p, p->k, ERR_FORMAT, "tests cannot be chained with 'is'");
        if ((code = parse_primary(p, false, &arg)) < 0 || (code = parse_postfix(p, &arg)) < 0 ||
            (code = tparse_kids_add(p, &l, arg)) < 0)
            return code;
        if (!(n->args = TMPL_NEW(p->c, struct tmpl_args, 1))) return p->c->code;
        n->args->pos = l.v;
        n->args->n_pos = l.n;
    }
    if (negate) {
        struct tnode *not = tparse_node(p, NK_NOT, at);
        if (!not ) return p->c->code;
        not ->a = n;
        n = not ;
    }
    *io = n;
    return 0;
}

static int parse_filters(struct parse *p, struct tnode **io)
{
    for (unsigned depth = 0;; depth++) {
        int code;
        if (depth > PARSE_NEST) return tparse_fail_at(p, p->k, ERR_LIMIT, "a chain of filters is too long");
        if (tparse_skip_op(p, OP_PIPE))
            code = tparse_filter(p, io);
        else if (tparse_is_name(p, "is"))
            code = parse_test(p, io);
        else if (tparse_is_op(p, OP_LPAREN))
            code = parse_call(p, io);
        else
            return 0;
        if (code < 0) return code;
    }
}

static int parse_unary(struct parse *p, bool with_filter, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    int code = tparse_nest(p);
    if (code < 0) return code;
    if (tparse_is_op(p, OP_SUB) || tparse_is_op(p, OP_ADD)) {
        struct tnode *n = tparse_node(p, tparse_is_op(p, OP_SUB) ? NK_NEG : NK_POS, at);
        if (!n) return p->c->code;
        tparse_advance(p);
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

static int binary(struct parse *p, enum tmpl_kind kind, enum tmpl_op op, const struct tmpl_token *at,
                  struct tnode *right, struct tnode **io)
{
    struct tnode *n = tparse_node(p, kind, at);
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
    while (code == 0 && tparse_is_op(p, OP_POW)) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        tparse_advance(p);
        if ((code = parse_unary(p, true, &right)) == 0) code = binary(p, NK_BINARY, OP_POW, at, right, out);
    }
    return code;
}

static int parse_product(struct parse *p, struct tnode **out)
{
    int code = parse_pow(p, out);
    while (code == 0 && (tparse_is_op(p, OP_MUL) || tparse_is_op(p, OP_DIV) || tparse_is_op(p, OP_FLOORDIV) ||
                         tparse_is_op(p, OP_MOD))) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        tparse_advance(p);
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
    if (code < 0 || !tparse_is_op(p, OP_TILDE)) return code;
    code = tparse_kids_add(p, &l, *out);
    while (code == 0 && tparse_skip_op(p, OP_TILDE)) {
        if ((code = parse_product(p, &item)) == 0) code = tparse_kids_add(p, &l, item);
    }
    if (code < 0) return code;
    if (!(*out = tparse_node(p, NK_CONCAT, at))) return p->c->code;
    tparse_kids_set(*out, &l);
    return 0;
}

static int parse_sum(struct parse *p, struct tnode **out)
{
    int code = parse_concat(p, out);
    while (code == 0 && (tparse_is_op(p, OP_ADD) || tparse_is_op(p, OP_SUB))) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        tparse_advance(p);
        if ((code = parse_concat(p, &right)) == 0) code = binary(p, NK_BINARY, at->op, at, right, out);
    }
    return code;
}

/* Takes a comparison operator if one stands here. */
static bool take_compare(struct parse *p, uint8_t *op)
{
    if (p->k->type == TT_OP && p->k->op >= OP_EQ && p->k->op <= OP_LE) {
        *op = p->k->op;
        tparse_advance(p);
        return true;
    }
    if (tparse_skip_name(p, "in")) {
        *op = OP_IN;
        return true;
    }
    if (tparse_is_name(p, "not") && p->k[1].type == TT_NAME && str_eqz(p->k[1].s, "in")) {
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
        struct tnode *item, *wrap = tparse_node(p, NK_BINARY, at); /* only op and b are used */
        if (!wrap) return p->c->code;
        if ((code = parse_sum(p, &item)) < 0) return code;
        wrap->op = op;
        wrap->b = item;
        code = tparse_kids_add(p, &l, wrap);
    }
    if (code < 0 || !l.n) return code;
    struct tnode *n = tparse_node(p, NK_COMPARE, at);
    if (!n) return p->c->code;
    n->a = *out;
    tparse_kids_set(n, &l);
    *out = n;
    return 0;
}

static int parse_not(struct parse *p, struct tnode **out)
{
    const struct tmpl_token *at = p->k;
    if (!tparse_skip_name(p, "not")) return parse_compare(p, out);
    int code = tparse_nest(p);
    struct tnode *n = code < 0 ? NULL : tparse_node(p, NK_NOT, at);
    if (!n) return p->c->code;
    code = parse_not(p, &n->a);
    p->nest--;
    *out = n;
    return code;
}

static int parse_and(struct parse *p, struct tnode **out)
{
    int code = parse_not(p, out);
    while (code == 0 && tparse_is_name(p, "and")) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        tparse_advance(p);
        if ((code = parse_not(p, &right)) == 0) code = binary(p, NK_AND, 0, at, right, out);
    }
    return code;
}

static int parse_or(struct parse *p, struct tnode **out)
{
    int code = parse_and(p, out);
    while (code == 0 && tparse_is_name(p, "or")) {
        const struct tmpl_token *at = p->k;
        struct tnode *right;
        tparse_advance(p);
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

int tparse_expr(struct parse *p, struct tnode **out)
{
    int code = tparse_nest(p);
    if (code < 0) return code;
    p->soft++; /* whether "if" follows is not known before the end: unknown names are judged there */
    code = parse_or(p, out);
    while (code == 0 && tparse_is_name(p, "if")) {
        struct tnode *n = tparse_node(p, NK_COND, p->k);
        if (!n) return p->c->code;
        tparse_advance(p);
        n->a = *out;
        *out = n;
        code = parse_or(p, &n->b);
        if (code == 0 && tparse_skip_name(p, "else")) code = tparse_expr(p, &n->c);
    }
    p->soft--;
    p->nest--;
    if (code < 0 || p->soft) return code;
    const struct tnode *hit = find_unknown(*out, 0);
    return hit ? fail_unknown(p, hit) : 0;
}
