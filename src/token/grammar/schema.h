/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of JSON Schema to grammar.
 *
 * What a value has to satisfy is a list of schemas that all hold ("leaves"): allOf and $ref only make the
 * list longer. A rule of the grammar is made for each list that occurs, found again by the schemas'
 * addresses, so recursion in the schema is recursion of rules. Schemas with alternatives (anyOf, oneOf, if,
 * dependencies, not) multiply out: a rule is the union of all lists that choose one alternative each.
 *
 *   grammar/schema.c          lists, references, alternatives, the rule of a list
 *   grammar/schema_not.c      what makes a schema fail; whether two exclude one another; enum values
 *   grammar/schema_number.c   ranges and multiples as automata over digits
 *   grammar/schema_string.c   lengths, patterns, formats
 *   grammar/schema_object.c   properties in their order
 *   grammar/schema_array.c    items
 *   grammar/schema_unique.c   items that differ
 */
#ifndef TUTTI_TOKEN_GRAMMAR_SCHEMA_H
#define TUTTI_TOKEN_GRAMMAR_SCHEMA_H

#include "base/buf.h"
#include "token/grammar/text.h"

enum {
    SCHEMA_LEAVES_MAX = 512,       /* schemas that hold of one value */
    SCHEMA_ALTERNATIVES_MAX = 512, /* of one value, multiplied out */
    SCHEMA_DEPTH_MAX = 64,         /* allOf and $ref within one another */
    SCHEMA_PATH_MAX = 512,
    SCHEMA_WORK_MAX = 1 << 27,     /* comparisons, a second or two: few words can ask for very many */
    SCHEMA_MEMORY_MAX = 1 << 30,   /* bytes while it compiles, most of them automata of patterns */
};

enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_STRING = 4,
    TYPE_INTEGER = 8,   /* numbers without a fraction */
    TYPE_FRACTION = 16, /* other numbers */
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127,
    TYPE_NUMBER = TYPE_INTEGER | TYPE_FRACTION,
};

/* Keywords that no user writes: what a negation needs. */
#define KEY_NOT_ENUM "\x01not-enum"
#define KEY_NOT_PATTERN "\x01not-pattern"
#define KEY_TYPES "\x01types" /* bits of TYPE_ */

struct leaf {
    const json_t *s;  /* true, false or an object */
    const char *path; /* where it stands: "#/properties/name" */
};

struct leaves {
    struct leaf *p;
    int n, cap;
};

struct pending {
    struct leaves list;
    uint32_t rule;
};

struct known_pattern {
    const char *text;
    const struct dfa *dfa;
};

struct schema {
    struct grammar *g;
    struct arena a;
    const json_t *root;
    struct pending *rule; /* [n_rule] lists that have a rule; from n_done on their bodies are still to be made */
    int n_rule, n_done, cap_rule;
    int32_t *slot; /* [mask + 1] of rules */
    uint32_t mask;
    json_t *made;  /* array of schemas that were made here */
    uint32_t ws, value, object, number, integer; /* rules; 0: not made yet */
    uint32_t string_in, string_out; /* nodes of the loop over any characters */
    int depth;
    int64_t work;  /* spent */
    struct known_pattern *known; /* [n_known] patterns that were met */
    int n_known, cap_known;
    struct err *e;
    int rc;
};

/* Sets x->rc unless it is set; returns it. */
int schema_fail(struct schema *x, int code, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int schema_no_memory(struct schema *x);
/* n more comparisons: a failure beyond SCHEMA_WORK_MAX, and where memory has gone beyond its own bound;
 * returns x->rc. */
int schema_spend(struct schema *x, const char *path, int64_t n);
const char *schema_path(struct schema *x, const char *base, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void leaves_add(struct schema *x, struct leaves *l, const json_t *s, const char *path);
const json_t *schema_keep(struct schema *x, json_t *s); /* takes s over; an equal one that was made before comes back */
uint32_t schema_rule(struct schema *x, const struct leaves *l); /* the rule of values that satisfy all of l */
uint32_t schema_value(struct schema *x);                       /* any JSON value */
uint32_t schema_ws(struct schema *x, uint32_t from);           /* white space as the policy has it; the node behind */
/* follows $ref; NULL on a failure */
const json_t *schema_resolve(struct schema *x, const json_t *s, const char **path);
/* Direct keywords and those of allOf and $ref; alternatives are left out. */
void schema_flatten(struct schema *x, struct leaves *out, const json_t *s, const char *path);

unsigned schema_types(struct schema *x, const struct leaves *l);         /* as the schemas say */
/* if none says: by the keywords that are there */
unsigned schema_types_implied(struct schema *x, const struct leaves *l);

/* grammar/schema_not.c */
/* A schema that implies that s fails, as seen from values of l; NULL: none was found. one: a single way will do. */
const json_t *schema_negate(struct schema *x, const json_t *s, const char *path, const struct leaves *l, bool one);
bool schema_disjoint(struct schema *x, const struct leaves *a, const struct leaves *b, int depth);
bool schema_same_value(const json_t *a, const json_t *b); /* as JSON Schema has it: 1 and 1.0 are one number */
/* The bounds that l says, whether themselves in or not; infinite if none. */
void schema_number_bounds(const struct leaves *l, double *lo, double *hi);
/* Whole numbers that fit l are multiples of this one. */
double schema_number_step(const struct leaves *l);
/* v passes enum, const and what the keywords of its type say, as far as one value shows it. */
bool schema_value_fits(struct schema *x, const struct leaves *l, unsigned types, const json_t *v);
bool schema_has_enum(const struct leaves *l);
/* Alternatives from..to for the values of enum and const that the other keywords do not exclude. */
void schema_enum(struct schema *x, const struct leaves *l, unsigned types, uint32_t from, uint32_t to);
bool schema_number_fits(const struct leaves *l, double v);
bool schema_string_fits(struct schema *x, const struct leaves *l, const json_t *v);

/* One alternative each, from..to, for values of that type. */
void schema_number(struct schema *x, const struct leaves *l, unsigned types, uint32_t from, uint32_t to);
void schema_string(struct schema *x, const struct leaves *l, uint32_t from, uint32_t to);
void schema_object(struct schema *x, const struct leaves *l, uint32_t from, uint32_t to);
void schema_array(struct schema *x, const struct leaves *l, uint32_t from, uint32_t to);
/* From `from` to `to`: min to max items, separated, that differ; false: the values of an item are no short
 * list. min > 0. */
bool schema_unique(struct schema *x, const struct leaves *item, int32_t min, int32_t max, uint32_t from, uint32_t to);
/* Automaton of a pattern as it is searched for; NULL on a failure. */
const struct dfa *schema_pattern_dfa(struct schema *x, const char *pattern, const char *path);
/* All texts that the string keywords of l allow; NULL: all texts, or a failure. */
const struct dfa *schema_string_dfa(struct schema *x, const struct leaves *l);
/* A loop over any characters, with quotes, from..to. */
void schema_any_string(struct schema *x, uint32_t from, uint32_t to);
/* The quoted text, then '"'. */
uint32_t schema_quoted(struct schema *x, uint32_t from, const char *text, size_t n);

/* A count such as maxItems: absent gives `none`; anything else than a number of 0 or more is an error. */
int32_t schema_count(struct schema *x, const struct leaf *l, const char *key, int32_t none);

#endif
