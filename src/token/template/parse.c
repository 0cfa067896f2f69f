/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements of the template language, and the parser's helpers: recursive descent by jinja2's grammar over
 * the tokens. What needs other templates (extends, include, import, block) is refused by name. Names become
 * small integers, so that the top level's variables are an array. Uses of caller, kwargs and varargs are
 * noted in every macro around.
 */
#include "token/template/parse_int.h"

static int parse_body(struct parse *p, const char *const *end, struct tnode **out);

/* --- helpers -------------------------------------------------------------------------------------------- */

int tparse_fail(struct parse *p, const char *what)
{
    static const char *const KIND[] = {"end of template", "text", "{{", "}}", "{%", "%}"};
    const struct tmpl_token *k = p->k;
    p->c->line = k->line;
    p->c->col = k->col;
    if (k->type <= TT_BLOCK_END)
        return tmpl_err(p->c, ERR_FORMAT, "%s expected, found %s", what, KIND[k->type]);
    if (k->type == TT_NAME)
        return tmpl_err(p->c, ERR_FORMAT, "%s expected, found '%.*s'", what, STR_ARG(k->s));
    return tmpl_err(p->c, ERR_FORMAT, "%s expected, found %s", what,
                    k->type == TT_STRING ? "a string"
                    : k->type == TT_OP   ? "another sign"
                                         : "a number");
}

int tparse_fail_at(struct parse *p, const struct tmpl_token *k, int code, const char *what)
{
    p->c->line = k->line;
    p->c->col = k->col;
    return tmpl_err(p->c, code, "%s", what);
}

int tparse_nest(struct parse *p)
{
    if (++p->nest <= PARSE_NEST) return 0;
    return tparse_fail_at(p, p->k, ERR_LIMIT, "expressions or blocks are nested too deeply");
}

bool tparse_is_op(const struct parse *p, enum tmpl_op op)
{
    return p->k->type == TT_OP && p->k->op == op;
}

bool tparse_is_name(const struct parse *p, const char *z)
{
    return p->k->type == TT_NAME && str_eqz(p->k->s, z);
}

void tparse_advance(struct parse *p)
{
    if (p->k->type != TT_EOF) p->k++;
}

bool tparse_skip_op(struct parse *p, enum tmpl_op op)
{
    bool yes = tparse_is_op(p, op);
    if (yes) tparse_advance(p);
    return yes;
}

bool tparse_skip_name(struct parse *p, const char *z)
{
    bool yes = tparse_is_name(p, z);
    if (yes) tparse_advance(p);
    return yes;
}

int tparse_expect_op(struct parse *p, enum tmpl_op op, const char *what)
{
    return tparse_skip_op(p, op) ? 0 : tparse_fail(p, what);
}

static int expect_type(struct parse *p, enum tmpl_tok type, const char *what)
{
    if (p->k->type != type) return tparse_fail(p, what);
    tparse_advance(p);
    return 0;
}

struct tnode *tparse_node(struct parse *p, enum tmpl_kind kind, const struct tmpl_token *at)
{
    struct tnode *n = TMPL_NEW(p->c, struct tnode, 1);
    if (!n) return NULL;
    n->kind = (uint8_t)kind;
    n->line = at->line;
    n->col = at->col;
    return n;
}

int tparse_kids_add(struct parse *p, struct kids *l, struct tnode *n)
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

void tparse_kids_set(struct tnode *n, const struct kids *l)
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

int tparse_name_node(struct parse *p, enum tmpl_kind kind, struct tnode **out)
{
    struct tnode *n = tparse_node(p, kind, p->k);
    if (!n) return p->c->code;
    int code = tmpl_name_id(p->c, p->t, p->k->s, &n->id);
    if (code < 0) return code;
    for (unsigned i = 0; i < p->n_macro; i++) {
        p->macro[i]->uses_caller |= n->id == p->t->id_caller;
        p->macro[i]->uses_kwargs |= n->id == p->t->id_kwargs;
        p->macro[i]->uses_varargs |= n->id == p->t->id_varargs;
    }
    tparse_advance(p);
    *out = n;
    return 0;
}

/* --- statements ----------------------------------------------------------------------------------------- */

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
    int code = tparse_tuple(p, TUPLE_TARGET | (with_ns ? TUPLE_NS : 0), out);
    if (code == 0 && !assignable(*out))
        return tparse_fail_at(p, at, ERR_FORMAT, "this cannot be assigned to");
    return code;
}

/* "%}", the body, and the end tag's name, which stays current. */
static int parse_block(struct parse *p, const char *const *end, struct tnode **out)
{
    tparse_skip_op(p, OP_COLON);
    int code = expect_type(p, TT_BLOCK_END, "'%}'");
    if (code == 0) code = parse_body(p, end, out);
    return code;
}

/* The same, and the end tag's name is skipped; a macro or call block, where break may not leave outer loops.
 */
static int parse_closed(struct parse *p, const char *end, bool own_loops, struct tnode **out)
{
    const char *const ends[] = {end, NULL};
    unsigned loops = p->loops, soft = p->soft;
    if (own_loops) p->loops = 0;
    p->soft = 0;
    int code = parse_block(p, ends, out);
    p->loops = loops;
    p->soft = soft;
    tparse_advance(p);
    return code;
}

static int parse_set(struct parse *p, struct tnode *n)
{
    int code = parse_target(p, true, &n->a);
    if (code < 0) return code;
    n->kind = NK_SET;
    if (tparse_skip_op(p, OP_ASSIGN)) return tparse_tuple(p, TUPLE_PLAIN, &n->b);
    n->kind = NK_SETBLOCK;
    while (code == 0 && tparse_skip_op(p, OP_PIPE)) code = tparse_filter(p, &n->b);
    return code < 0 ? code : parse_closed(p, "endset", false, &n->c);
}

static int parse_for(struct parse *p, struct tnode *n)
{
    static const char *const ENDS[] = {"endfor", "else", NULL}, *const END_ELSE[] = {"endfor", NULL};
    const struct tmpl_token *at = p->k;
    unsigned soft = p->soft;
    int code = parse_target(p, false, &n->a);
    if (code == 0 && n->a->kind == NK_NAME && n->a->id == p->t->id_loop)
        return tparse_fail_at(p, at, ERR_FORMAT, "the target of a for cannot be named loop");
    if (code == 0 && !tparse_skip_name(p, "in")) return tparse_fail(p, "'in'");
    if (code == 0) code = tparse_tuple(p, TUPLE_NO_COND, &n->b);
    if (code == 0 && tparse_skip_name(p, "if")) code = tparse_expr(p, &n->c);
    if (code < 0) return code;
    n->flag = tparse_skip_name(p, "recursive");
    p->loops++;
    p->soft = 0;
    code = parse_block(p, ENDS, &n->d);
    p->loops--;
    if (code == 0 && tparse_skip_name(p, "else")) {
        struct kids l = {0};
        struct tnode *other;
        if ((code = parse_block(p, END_ELSE, &other)) == 0) code = tparse_kids_add(p, &l, other);
        tparse_kids_set(n, &l);
    }
    p->soft = soft;
    tparse_advance(p);
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
        if ((code = tparse_tuple(p, TUPLE_NO_COND, &test)) < 0 || (code = parse_block(p, ENDS, &body)) < 0 ||
            (code = tparse_kids_add(p, &l, test)) < 0 || (code = tparse_kids_add(p, &l, body)) < 0)
            return code;
    } while (tparse_skip_name(p, "elif"));
    if (tparse_skip_name(p, "else")) code = parse_block(p, END, &n->a);
    p->soft--;
    tparse_kids_set(n, &l);
    tparse_advance(p);
    return code;
}

static int parse_signature(struct parse *p, struct tmpl_params *m)
{
    struct kids names = {0}, defs = {0};
    struct tnode *n, *def;
    int code = tparse_expect_op(p, OP_LPAREN, "'('");
    while (code == 0 && !tparse_is_op(p, OP_RPAREN)) {
        def = NULL;
        if (names.n && (code = tparse_expect_op(p, OP_COMMA, "',' or ')'")) < 0) return code;
        if (p->k->type != TT_NAME) return tparse_fail(p, "a parameter's name");
        if ((code = tparse_name_node(p, NK_NAME, &n)) < 0) return code;
        if (tparse_skip_op(p, OP_ASSIGN))
            code = tparse_expr(p, &def);
        else if (defs.n && defs.v[defs.n - 1])
            return tparse_fail(p, "a default value");
        if (code < 0 || (code = tparse_kids_add(p, &names, n)) < 0 ||
            (code = tparse_kids_add(p, &defs, def)) < 0)
            return code;
    }
    if (code < 0) return code;
    tparse_advance(p);
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
        if (at->type != TT_NAME) return tparse_fail(p, "a macro's name");
        if ((code = tparse_name_node(p, NK_NAME, &name)) < 0) return code;
        n->id = name->id;
    }
    if (p->n_macro == MACROS_MAX) return tparse_fail_at(p, at, ERR_LIMIT, "macros are nested too deeply");
    if ((!call || tparse_is_op(p, OP_LPAREN)) && (code = parse_signature(p, n->params)) < 0) return code;
    n->params->uses_caller = n->params->uses_kwargs = n->params->uses_varargs = false;
    if (call) {
        at = p->k;
        if ((code = tparse_expr(p, &n->a)) < 0) return code;
        if (n->a->kind != NK_CALL) return tparse_fail_at(p, at, ERR_FORMAT, "a call block needs a call");
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
        if (l.n && (code = tparse_expect_op(p, OP_COMMA, "','")) < 0) return code;
        if ((code = parse_target(p, false, &target)) < 0 ||
            (code = tparse_expect_op(p, OP_ASSIGN, "'='")) < 0 || (code = tparse_expr(p, &value)) < 0 ||
            (code = tparse_kids_add(p, &l, target)) < 0)
            return code;
        code = tparse_kids_add(p, &l, value);
    }
    tparse_kids_set(n, &l);
    return code < 0 ? code : parse_closed(p, "endwith", false, &n->d);
}

static int parse_print(struct parse *p, struct tnode *n)
{
    struct kids l = {0};
    int code = 0;
    while (code == 0 && p->k->type != TT_BLOCK_END) {
        struct tnode *out = tparse_node(p, NK_OUTPUT, p->k);
        if (!out) return p->c->code;
        if (l.n && (code = tparse_expect_op(p, OP_COMMA, "','")) < 0) return code;
        if ((code = tparse_expr(p, &out->a)) == 0) code = tparse_kids_add(p, &l, out);
    }
    tparse_kids_set(n, &l);
    return code;
}

static int parse_statement(struct parse *p, struct tnode **out)
{
    static const char *const REFUSED[] = {"extends", "include", "import", "from", "block", "autoescape"};
    const struct tmpl_token *at = p->k;
    struct tnode *n = *out = tparse_node(p, NK_BODY, at);
    if (!n) return p->c->code;
    p->c->line = at->line;
    p->c->col = at->col;
    if (at->type != TT_NAME) return tparse_fail(p, "a tag's name");
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        if (tparse_is_name(p, REFUSED[i]))
            return tmpl_err(p->c, ERR_UNSUPPORTED, "{%% %s %%} is not supported in a chat template",
                            REFUSED[i]);
    }
    tparse_advance(p);
    if (str_eqz(at->s, "set")) return parse_set(p, n);
    if (str_eqz(at->s, "for")) return n->kind = NK_FOR, parse_for(p, n);
    if (str_eqz(at->s, "if")) return n->kind = NK_IF, parse_if(p, n);
    if (str_eqz(at->s, "macro")) return parse_macro(p, n, false);
    if (str_eqz(at->s, "call")) return parse_macro(p, n, true);
    if (str_eqz(at->s, "with")) return n->kind = NK_WITH, parse_with(p, n);
    if (str_eqz(at->s, "print")) return parse_print(p, n);
    if (str_eqz(at->s, "generation"))
        return n->kind = NK_SCOPE, parse_closed(p, "endgeneration", true, &n->d);
    if (str_eqz(at->s, "filter")) {
        n->kind = NK_FILTERBLOCK;
        int code = tparse_filter(p, &n->b);
        while (code == 0 && tparse_skip_op(p, OP_PIPE)) code = tparse_filter(p, &n->b);
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
    int code = tparse_nest(p);
    struct tnode *body = code < 0 ? NULL : tparse_node(p, NK_BODY, at);
    if (!body) return p->c->code;
    while (code == 0) {
        struct tnode *n = NULL;
        if (p->k->type == TT_EOF) {
            if (!end) break;
            p->c->line = at->line;
            p->c->col = at->col;
            return tmpl_err(p->c, ERR_FORMAT, "the block that starts here has no {%% %s %%}",
                            end[end[1] ? 1 + !!end[2] : 0]);
        }
        if (p->k->type == TT_DATA) {
            if (!(n = tparse_node(p, NK_DATA, p->k))) return p->c->code;
            n->value = tmpl_str(p->c, p->k->s, true);
            if (n->value.type == TV_MISSING) return p->c->code;
            tparse_advance(p);
        } else if (p->k->type == TT_VAR_BEGIN) {
            if (!(n = tparse_node(p, NK_OUTPUT, p->k))) return p->c->code;
            tparse_advance(p);
            code = tparse_tuple(p, TUPLE_PLAIN, &n->a);
            if (code == 0) code = expect_type(p, TT_VAR_END, "'}}'");
        } else if (p->k->type == TT_BLOCK_BEGIN) {
            bool done = false;
            tparse_advance(p);
            for (const char *const *z = end; z && *z && !done; z++) done = tparse_is_name(p, *z);
            if (done) break;
            code = parse_statement(p, &n);
            if (code == 0) code = expect_type(p, TT_BLOCK_END, "'%}'");
        } else {
            return tparse_fail(p, "text or a tag");
        }
        if (code == 0) code = tparse_kids_add(p, &l, n);
    }
    p->nest--;
    tparse_kids_set(body, &l);
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
