/* SPDX-License-Identifier: Apache-2.0 */
/* The parser's state and what its two files share: template/parse.c (statements) and template/expr.c
 * (expressions). */
#ifndef TUTTI_TOKEN_TEMPLATE_PARSE_INT_H
#define TUTTI_TOKEN_TEMPLATE_PARSE_INT_H

#include "token/template/template_int.h"

enum { MACROS_MAX = TEMPLATE_NEST_MAX, PARSE_NEST = TEMPLATE_NEST_MAX };

struct parse {
    struct tmpl_run *c;
    struct template *t;
    const struct tmpl_token *k; /* current token; the last one is TT_EOF */
    unsigned nest;
    unsigned loops; /* loops around that break and continue may leave */
    unsigned soft;  /* inside if or a conditional: an unknown filter is only refused when it runs */
    struct tmpl_params *macro[MACROS_MAX];
    unsigned n_macro;
};

struct kids { /* a growing list of nodes */
    struct tnode **v;
    uint32_t n, cap;
};

enum tuple_mode {
    TUPLE_PLAIN,
    TUPLE_NO_COND = 1, /* no "a if b else c" at this level */
    TUPLE_PARENS = 2,  /* may be empty */
    TUPLE_TARGET = 4,  /* names only: an assignment */
    TUPLE_NS = 8,      /* with TUPLE_TARGET: a.b too */
};

/* "what expected, found ..." at the current token */
int tparse_fail(struct parse *p, const char *what);
int tparse_fail_at(struct parse *p, const struct tmpl_token *k, int code, const char *what);
int tparse_nest(struct parse *p); /* one level deeper; the caller takes p->nest back */
bool tparse_is_op(const struct parse *p, enum tmpl_op op);
bool tparse_is_name(const struct parse *p, const char *z);
void tparse_advance(struct parse *p);
bool tparse_skip_op(struct parse *p, enum tmpl_op op);
bool tparse_skip_name(struct parse *p, const char *z);
int tparse_expect_op(struct parse *p, enum tmpl_op op, const char *what);
struct tnode *tparse_node(struct parse *p, enum tmpl_kind kind, const struct tmpl_token *at);
int tparse_kids_add(struct parse *p, struct kids *l, struct tnode *n);
void tparse_kids_set(struct tnode *n, const struct kids *l);
int tparse_name_node(struct parse *p, enum tmpl_kind kind, struct tnode **out);

int tparse_expr(struct parse *p, struct tnode **out);
/* one expression, or a tuple if there is a comma */
int tparse_tuple(struct parse *p, int mode, struct tnode **out);
/* name or name(args) after "|"; *io is the input, NULL in blocks */
int tparse_filter(struct parse *p, struct tnode **io);

#endif
