/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the template interpreter share. Who does what:
 *   template.c         public functions, JSON to values, segments
 *   template/lex.c     source to tokens          template/parse.c, _expr.c   tokens to tree
 *   template/eval.c    expressions               template/exec.c    statements, scopes, macros, loops
 *   template/text.c    marked strings, Unicode   template/value.c   memory, lists, dicts, truth, order
 *   template/iter.c    lazy iterators            template/print.c   str, repr, JSON, numbers
 *   template/format.c  "%" and str.format
 *   template/filter.c, _test.c, _method.c, _global.c                 the built-ins
 *
 * Everything lives in a pool that is freed at once: the tree in the template's, values in the rendering's.
 * Functions return 0 or a negative error code; the first failure writes the message (tmpl_err) and everyone
 * passes it up.
 */
#ifndef TUTTI_TOKEN_TEMPLATE_TEMPLATE_INT_H
#define TUTTI_TOKEN_TEMPLATE_TEMPLATE_INT_H

#include <time.h>
#include "token/template/template.h"

/* --- memory --------------------------------------------------------------------------------------------- */

struct tmpl_block;
struct tmpl_pool {
    struct tmpl_block *head; /* newest first */
    char *at, *end;          /* free part of the newest small block */
    size_t held, max;        /* bytes taken from the system, and the most allowed */
};

void tmpl_pool_init(struct tmpl_pool *p, size_t max);
void tmpl_pool_finish(struct tmpl_pool *p);

/* --- values --------------------------------------------------------------------------------------------- */

enum tmpl_type {
    TV_MISSING, /* no value: an argument not given, a name not bound */
    TV_UNDEF,   /* jinja2's Undefined; kind: enum tmpl_undef, u.s what is said about it (may be NULL) */
    TV_NONE,
    TV_BOOL,
    TV_INT,
    TV_FLOAT,
    TV_STR,
    TV_LIST,
    TV_TUPLE,
    TV_DICT,
    TV_RANGE,
    TV_VIEW, /* dict.keys(), .values(), .items(): kind is the enum tmpl_view */
    TV_ITER, /* a generator: each item comes once */
    TV_NS,   /* namespace() */
    TV_LOOP,
    TV_MACRO,
    TV_NATIVE, /* a built-in function, or a method bound to its object */
    TV_CYCLE,  /* joiner() and cycler() */
};

enum tmpl_view { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };
enum tmpl_undef { UNDEF_NAME, UNDEF_ATTR, UNDEF_HINT, UNDEF_UNSAFE };

struct text;
struct tval {
    uint8_t type; /* enum tmpl_type */
    uint8_t kind; /* see the type */
    bool trusted; /* numbers, None, and the punctuation of containers; strings carry their own marks */
    bool markup;  /* strings: jinja2's Markup */
    union {
        bool b;
        int64_t i;
        double f;
        const struct text *s;
        struct tlist *list;
        struct tdict *dict; /* TV_DICT, TV_VIEW, TV_NS */
        struct trange *range;
        struct titer *iter;
        struct tloop *loop;
        struct tmacro *macro;
        struct tbound *bound;
        struct tcycle *cycle;
    } u;
};

/*
 * A string: n bytes of UTF-8. Without mark all bytes are trusted or not as `trusted` says, otherwise mark[i]
 * says it for byte i. A string made by concatenation ends in a store with room, so that the next one may grow
 * in place.
 */
struct text_store {
    char *p;
    uint8_t *mark; /* NULL while all bytes are alike */
    size_t used, cap;
};
struct text {
    const char *p;
    const uint8_t *mark;
    size_t n;                 /* bytes */
    size_t n_cp;              /* code points */
    struct text_store *store; /* or NULL */
    bool trusted;
};

struct tlist_store {
    struct tval *v;
    size_t used, cap;
};
struct tlist { /* list or tuple; v[0..n) lies in the store */
    struct tval *v;
    size_t n;
    struct tlist_store *store;
};

struct tpair {
    struct tval k, v;
};
struct tdict { /* in order of insertion */
    struct tpair *p;
    size_t n, cap;
    uint32_t *slot; /* [n_slot] index + 1 by hash, or NULL while small */
    size_t n_slot;  /* power of two */
};

struct trange {
    int64_t start, step, n;
    int64_t stop; /* as written, for repr */
};

/* Item i < n; computed without a sign so that a product that only overflows in between does no harm. */
static inline int64_t tmpl_range_at(const struct trange *r, int64_t i)
{
    return (int64_t)((uint64_t)r->start + (uint64_t)i * (uint64_t)r->step);
}

struct tbound { /* a native with its object */
    const struct tmpl_native *fn;
    struct tval self; /* TV_MISSING for a global function */
};

struct tcycle {
    struct tlist *items; /* NULL for a joiner */
    struct tval sep;     /* joiner */
    size_t pos;
};

/* --- tokens and tree ------------------------------------------------------------------------------------ */

enum tmpl_tok {
    TT_EOF,
    TT_DATA,
    TT_VAR_BEGIN,
    TT_VAR_END,
    TT_BLOCK_BEGIN,
    TT_BLOCK_END,
    TT_NAME,
    TT_STRING,
    TT_INT,
    TT_FLOAT,
    TT_OP,
};

enum tmpl_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_TILDE,
    OP_LBRACKET,
    OP_RBRACKET,
    OP_LPAREN,
    OP_RPAREN,
    OP_LBRACE,
    OP_RBRACE,
    OP_EQ,
    OP_NE,
    OP_GT,
    OP_GE,
    OP_LT,
    OP_LE,
    OP_ASSIGN,
    OP_DOT,
    OP_COLON,
    OP_PIPE,
    OP_COMMA,
    OP_SEMICOLON,
    OP_IN,
    OP_NOTIN, /* comparisons made by the parser */
};

struct tmpl_token {
    uint8_t type; /* enum tmpl_tok */
    uint8_t op;   /* TT_OP */
    uint32_t line, col;
    struct str s; /* data, name; a string's decoded bytes */
    int64_t i;
    double f;
};

enum tmpl_kind {
    /* expressions */
    NK_CONST,   /* value */
    NK_NAME,    /* id */
    NK_LIST,    /* kids */
    NK_TUPLE,   /* kids */
    NK_DICT,    /* kids: key, value, key, value ... */
    NK_BINARY,  /* op a b */
    NK_NEG,     /* a */
    NK_POS,     /* a */
    NK_NOT,     /* a */
    NK_AND,     /* a b */
    NK_OR,      /* a b */
    NK_COND,    /* a if b else c (c may be NULL) */
    NK_COMPARE, /* a, kids; each kid's op */
    NK_CONCAT,  /* kids */
    NK_ATTR,    /* a . value */
    NK_ITEM,    /* a [ b ] */
    NK_SLICE,   /* a [ b : c : d ] */
    NK_CALL,    /* a ( args ) */
    NK_FILTER,  /* a | native ( args ); a NULL: the captured text of a block */
    NK_TEST,    /* a is native ( args ) */
    NK_NSREF,   /* target: id . value */
    /* statements */
    NK_DATA,        /* value */
    NK_OUTPUT,      /* a */
    NK_BODY,        /* kids */
    NK_SET,         /* target a = b */
    NK_SETBLOCK,    /* target a, filter chain b (or NULL), body c */
    NK_FOR,         /* target a in b if c; body d; kids[0] the else body; flag: recursive */
    NK_IF,          /* kids: test, body, test, body ...; a: the else body */
    NK_MACRO,       /* id, params, body d */
    NK_CALLBLOCK,   /* call a, params, body d */
    NK_FILTERBLOCK, /* filter chain b, body c */
    NK_WITH,        /* kids: target, value ...; body d */
    NK_SCOPE,       /* body d (generation blocks) */
    NK_BREAK,
    NK_CONTINUE,
};

struct tmpl_args {
    struct tnode **pos;
    struct str *kw_name;
    struct tnode **kw;
    struct tnode *star, *star2; /* *list and **dict, or NULL */
    uint32_t n_pos, n_kw;
};

struct tmpl_params { /* of a macro or call block */
    uint32_t *id;
    struct tnode **def; /* NULL where there is no default */
    uint32_t n;
    bool uses_caller, uses_kwargs, uses_varargs;
};

struct tnode {
    uint8_t kind; /* enum tmpl_kind */
    uint8_t op;   /* enum tmpl_op */
    bool flag;    /* NK_FOR: recursive; NK_TEST, NK_FILTER: the name is unknown, refused when it runs */
    uint32_t line, col;
    uint32_t id; /* name */
    uint32_t n_kids;
    struct tnode **kids;
    struct tnode *a, *b, *c, *d;
    struct tval value;
    const struct tmpl_native *native;
    struct tmpl_args *args;
    struct tmpl_params *params;
};

struct template
{
    struct tmpl_pool pool;
    struct tnode *root;
    struct str *names; /* [n_names] every name the source uses; a node's id is the index */
    size_t n_names, cap_names;
    uint32_t id_loop, id_caller, id_kwargs, id_varargs;
};

/* --- a rendering ---------------------------------------------------------------------------------------- */

struct tmpl_build { /* text under construction */
    struct tmpl_run *c;
    struct text_store *st;
    bool trusted; /* of the bytes so far, while st->mark is NULL */
    size_t n_cp;
};

struct tscope {
    struct tscope *up;
    uint32_t *id;
    struct tval *v;
    size_t n, cap;
};

struct tmpl_run {
    struct tmpl_pool *pool;
    struct err *e;
    int code;             /* first failure */
    uint32_t line, col;   /* of the node at work */
    uint64_t steps;       /* left */
    unsigned depth;       /* tree nodes under evaluation */
    unsigned value_depth; /* containers being walked */
    const struct template *t;
    const struct template_input *in;
    struct tval *root;      /* [t->n_names] variables of the top level; TV_MISSING where unbound */
    struct tmpl_build *out; /* where output goes now */
    struct tval empty;      /* "" */
};

/* Arguments of a call, before and after binding to parameters. */
struct tmpl_call {
    struct tval self; /* the filtered or tested value, or the object of a method */
    struct tval *pos; /* [n_pos] */
    size_t n_pos;
    struct str *kw_name; /* [n_kw] */
    struct tval *kw;
    size_t n_kw;
    bool kw_foreign;    /* some names come from untrusted text, by **dict */
    struct tval arg[8]; /* by parameter, TV_MISSING where not given; not for natives with params "*" */
};

enum { TMPL_PARAMS_MAX = 8 };

struct tmpl_native {
    const char *name;
    const char *params; /* "width,first,blank"; "/a,b" not by name; "*" takes anything */
    unsigned n_min;     /* parameters that must be given */
    int (*fn)(struct tmpl_run *c, struct tmpl_call *k, struct tval *out);
};

/* --- errors, budget, memory (template/value.c) ---------------------------------------------------------- */

int tmpl_err(struct tmpl_run *c, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int tmpl_step(struct tmpl_run *c, size_t n); /* spends n steps */
int tmpl_enter(struct tmpl_run *c);          /* one container deeper */
static inline void tmpl_leave(struct tmpl_run *c)
{
    c->value_depth--;
}
void *tmpl_bytes(struct tmpl_run *c, size_t n);              /* not cleared; NULL after tmpl_err */
void *tmpl_alloc(struct tmpl_run *c, size_t n, size_t size); /* cleared */
#define TMPL_NEW(c, type, n) ((type *)tmpl_alloc((c), (n), sizeof(type)))

/* --- text (template/text.c) ----------------------------------------------------------------------------- */

/* borrows the bytes; MISSING if memory is out */
struct tval tmpl_str(struct tmpl_run *c, struct str s, bool trusted);
int tmpl_str_out(struct tmpl_run *c, struct str s, bool trusted, struct tval *out);
int tmpl_build_init(struct tmpl_build *b, struct tmpl_run *c);
int tmpl_build_bytes(struct tmpl_build *b, const char *p, const uint8_t *mark, bool trusted, size_t n);
int tmpl_build_text(struct tmpl_build *b, const struct text *t);
int tmpl_build_part(struct tmpl_build *b, const struct text *t, size_t at, size_t n); /* bytes [at, at+n) */
int tmpl_build_str(struct tmpl_build *b, struct str s, bool trusted);
int tmpl_build_z(struct tmpl_build *b, const char *z, bool trusted);
int tmpl_build_cp(struct tmpl_build *b, uint32_t cp, bool trusted);
int tmpl_build_fill(struct tmpl_build *b, uint32_t cp, size_t n, bool trusted); /* n times cp */
int tmpl_build_done(struct tmpl_build *b, struct tval *out);
/* shares bytes */
int tmpl_text_part(struct tmpl_run *c, const struct text *t, size_t at, size_t n, struct tval *out);
int tmpl_text_concat(struct tmpl_run *c, const struct text *a, const struct text *b, struct tval *out);
bool tmpl_text_trusted(const struct text *t, size_t at); /* of byte at; of an empty string: its flag */
static inline struct str tmpl_view(const struct text *t)
{
    return (struct str){t->p, t->n};
}
size_t tmpl_utf8_next(const char *p, size_t n, uint32_t *cp); /* bytes used (at least 1), n > 0 */
size_t tmpl_utf8_put(uint32_t cp, char *p);
size_t tmpl_utf8_count(const char *p, size_t n);
size_t tmpl_text_offset(const struct text *t, size_t i_cp); /* byte offset of code point i_cp */
bool tmpl_cp_space(uint32_t cp);
bool tmpl_cp_printable(uint32_t cp);
bool tmpl_cp_cased(uint32_t cp);
bool tmpl_cp_alpha(uint32_t cp);
bool tmpl_cp_decimal(uint32_t cp);
bool tmpl_cp_digit(uint32_t cp);
bool tmpl_cp_numeric(uint32_t cp);
bool tmpl_cp_alnum(uint32_t cp);
enum tmpl_case { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITAL, CASE_SWAP, CASE_TITLE_FILTER };
int tmpl_text_case(struct tmpl_run *c, const struct text *t, enum tmpl_case how, struct tval *out);
enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
int tmpl_text_strip(struct tmpl_run *c, const struct text *t, const struct text *chars, int sides,
                    struct tval *out);
int tmpl_text_replace(struct tmpl_run *c, const struct text *t, const struct text *from,
                      const struct text *to, int64_t limit, struct tval *out);
bool tmpl_text_find(struct tmpl_run *c, struct str hay, struct str needle, size_t from, size_t *at);
/* end of the line at `at`; next: after its break */
size_t tmpl_text_line(struct str s, size_t at, size_t *next);
int tmpl_text_escape(struct tmpl_run *c, const struct text *t, struct tval *out); /* HTML, gives markup */

/* --- values (template/value.c) -------------------------------------------------------------------------- */

struct tval tmpl_none(void);
struct tval tmpl_bool(bool b);
struct tval tmpl_int(int64_t i, bool trusted);
struct tval tmpl_float(double f, bool trusted);
struct tval tmpl_undef(enum tmpl_undef kind, const struct text *what);
int tmpl_undef_err(struct tmpl_run *c, struct tval v);
const char *tmpl_type_name(struct tval v);
bool tmpl_trusted(struct tval v); /* of what str() adds around the parts */
static inline bool tmpl_is_num(struct tval v)
{
    return v.type == TV_BOOL || v.type == TV_INT || v.type == TV_FLOAT;
}
static inline bool tmpl_is_int(struct tval v)
{
    return v.type == TV_BOOL || v.type == TV_INT;
}
static inline int64_t tmpl_as_int(struct tval v)
{
    return v.type == TV_BOOL ? v.u.b : v.u.i;
}
double tmpl_as_float(struct tval v);

int tmpl_list_new(struct tmpl_run *c, enum tmpl_type type, struct tval *out);
int tmpl_list_add(struct tmpl_run *c, struct tlist *l, struct tval v); /* only while nobody else holds it */
int tmpl_list_concat(struct tmpl_run *c, struct tval a, struct tval b, struct tval *out);
int tmpl_dict_new(struct tmpl_run *c, struct tval *out);
int tmpl_dict_set(struct tmpl_run *c, struct tdict *d, struct tval k, struct tval v);
/* 1 found, 0, error */
int tmpl_dict_get(struct tmpl_run *c, const struct tdict *d, struct tval k, struct tval *out);
int tmpl_dict_getz(struct tmpl_run *c, const struct tdict *d, struct str k, struct tval *out);
bool tmpl_hashable(struct tval v);

int tmpl_truth(struct tmpl_run *c, struct tval v, bool *out);
int tmpl_equal(struct tmpl_run *c, struct tval a, struct tval b, bool *out);
/* OP_LT GT LE GE */
int tmpl_less(struct tmpl_run *c, struct tval a, struct tval b, enum tmpl_op op, bool *out);
int tmpl_contains(struct tmpl_run *c, struct tval seq, struct tval v, bool *out);
int tmpl_length(struct tmpl_run *c, struct tval v, int64_t *n); /* error where Python's len() has one */
bool tmpl_has_length(struct tval v);
int tmpl_arith(struct tmpl_run *c, enum tmpl_op op, struct tval a, struct tval b, struct tval *out);

/* a.name and a[key] as jinja2's sandbox does it: undefined rather than an error. */
int tmpl_getattr(struct tmpl_run *c, struct tval a, const struct text *name, struct tval *out);
int tmpl_getitem(struct tmpl_run *c, struct tval a, struct tval key, struct tval *out);
int tmpl_slice(struct tmpl_run *c, struct tval a, struct tval lo, struct tval hi, struct tval step,
               struct tval *out);

/* Stable sort of n values by n keys; less by Python's "<". */
int tmpl_sort(struct tmpl_run *c, struct tval *v, struct tval *key, size_t n, bool reverse);

/* --- iterators (template/iter.c) ------------------------------------------------------------------------ */

enum titer_kind {
    IT_LIST,
    IT_TEXT,
    IT_RANGE,
    IT_DICT,
    IT_REVERSED, /* over a value */
    IT_MAP,
    IT_MAP_ATTR,
    IT_SELECT,
    IT_UNIQUE,
    IT_BATCH,
    IT_SLICE, /* over another iterator */
};
struct titer {
    enum titer_kind kind;
    struct tval src; /* value iterated over */
    /* the lazy kinds: over src, from the first item on; NULL before, and if src is false */
    struct titer *inner;
    bool begun;
    int64_t i;                        /* items given; texts: byte offset */
    bool negate;                      /* IT_SELECT: reject */
    bool by_attr;                     /* IT_SELECT: attr first */
    bool case_sensitive;              /* IT_UNIQUE */
    uint8_t view;                     /* IT_DICT: enum tmpl_view */
    const struct tmpl_native *native; /* filter of IT_MAP, test of IT_SELECT or NULL for truth */
    struct tmpl_call call;            /* its further arguments */
    struct tval attr;                 /* path, or MISSING */
    struct tval fill;   /* default of IT_MAP_ATTR, fill of IT_BATCH and IT_SLICE; MISSING if none */
    int64_t size;       /* IT_BATCH, IT_SLICE */
    struct tdict *seen; /* IT_UNIQUE */
};
int tmpl_iter(struct tmpl_run *c, struct tval v, struct titer **it);   /* error if v cannot be iterated */
int tmpl_next(struct tmpl_run *c, struct titer *it, struct tval *out); /* 1, 0 at the end, negative */
bool tmpl_iterable(struct tval v);
/* always a new one */
int tmpl_to_list(struct tmpl_run *c, struct tval v, enum tmpl_type type, struct tval *out);
struct tval tmpl_lazy(struct titer *it);
/* Follows "a.b.0"; missing steps become def unless def is MISSING. */
int tmpl_attr_path(struct tmpl_run *c, struct tval v, struct tval path, struct tval def, struct tval *out);

/* --- printing (template/print.c, template/format.c) ----------------------------------------------------- */

int tmpl_print(struct tmpl_build *b, struct tval v); /* str() */
int tmpl_repr(struct tmpl_build *b, struct tval v);
/* str() as a value, strings as they are */
int tmpl_to_str(struct tmpl_run *c, struct tval v, struct tval *out);
struct tmpl_json {
    const struct text *indent;             /* NULL: one line */
    const struct text *sep_item, *sep_key; /* NULL: Python's default */
    bool ascii, sort;
};
int tmpl_json(struct tmpl_build *b, struct tval v, const struct tmpl_json *o, unsigned level);
size_t tmpl_float_repr(double f, char *p); /* at most 32 bytes */
int tmpl_format_percent(struct tmpl_run *c, const struct text *fmt, struct tval args, bool markup,
                        struct tval *out);
int tmpl_format_braces(struct tmpl_run *c, const struct text *fmt, struct tmpl_call *k, struct tval *out);
int tmpl_parse_int(struct str s, int base, int64_t *out); /* 0, ERR_FORMAT (not a number), ERR_LIMIT */
int tmpl_parse_float(struct str s, double *out);          /* 0 or ERR_FORMAT */

/* --- calls (template/eval.c, template/exec.c) ----------------------------------------------------------- */

int tmpl_native_call(struct tmpl_run *c, const struct tmpl_native *f, struct tmpl_call *k, struct tval *out);
int tmpl_call_value(struct tmpl_run *c, struct tval f, struct tmpl_call *k, struct tval *out);
int tmpl_macro_call(struct tmpl_run *c, struct tmacro *m, struct tmpl_call *k, struct tval *out);
int tmpl_loop_attr(struct tmpl_run *c, struct tloop *l, struct str name, struct tval *out); /* 1 found */
int tmpl_loop_call(struct tmpl_run *c, struct tloop *l, struct tmpl_call *k, struct tval *out);
int tmpl_loop_length(struct tmpl_run *c, struct tloop *l, int64_t *n);
bool tmpl_loop_changed(struct tmpl_run *c, struct tloop *l, struct tval now, int *code);
int64_t tmpl_loop_index(const struct tloop *l);
struct str tmpl_macro_name(const struct tmacro *m);
int tmpl_eval(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval *out);
int tmpl_eval_args(struct tmpl_run *c, const struct tmpl_args *a, struct tscope *sc, struct tmpl_call *k);
/* Applies a chain of filters whose innermost input is `in`. */
int tmpl_eval_chain(struct tmpl_run *c, const struct tnode *n, struct tscope *sc, struct tval in,
                    struct tval *out);
int tmpl_lookup(struct tmpl_run *c, struct tscope *sc, uint32_t id, struct tval *out);
int tmpl_bind(struct tmpl_run *c, struct tscope *sc, uint32_t id, struct tval v); /* sc NULL: top level */
enum { EXEC_BREAK = 1, EXEC_CONTINUE = 2 };
int tmpl_exec(struct tmpl_run *c, const struct tnode *n, struct tscope *sc); /* 0, EXEC_*, negative */

/* --- tables --------------------------------------------------------------------------------------------- */

const struct tmpl_native *tmpl_filter_find(struct str name);
const struct tmpl_native *tmpl_test_find(struct str name);
const struct tmpl_native *tmpl_global_find(struct str name);
const struct tmpl_native *tmpl_method_find(struct tval self, struct str name, bool *unsafe);
const struct tmpl_native *tmpl_table_find(const struct tmpl_native *t, size_t n, struct str name);
bool tmpl_filter_refused(struct str name); /* a jinja2 filter that is left out on purpose */
int tmpl_path_key(struct tmpl_run *c, struct tval item, struct tval attr, bool case_sensitive,
                  struct tval *out);

/* --- compile -------------------------------------------------------------------------------------------- */

struct tmpl_tokens {
    struct tmpl_token *v;
    size_t n, cap;
};
int tmpl_lex(struct tmpl_run *c, struct str source, struct tmpl_tokens *out);
int tmpl_parse(struct tmpl_run *c, struct template *t, const struct tmpl_tokens *tok);
int tmpl_name_id(struct tmpl_run *c, struct template *t, struct str name, uint32_t *id);

#endif
