/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of JSON Schema: properties in the order in which the schema declares them, optional ones may be
 * left out, then names that are not declared, if the schema says that there may be such.
 *
 *   bare[i][c]    before property i, c properties are written (counted only as far as a bound needs it)
 *   comma[i][c]   the same with a comma behind them
 *
 *   comma[i] --"name": value--> bare[i + 1]   comma[i] --(optional)--> comma[i + 1]   bare[i] --,--> comma[i]
 *
 * Names that are not declared come when additionalProperties or a pattern gives them a schema, or nothing at
 * all is declared. A schema that declares properties and is silent about others gets none: that is valid, and
 * small models end.
 */
#include "token/grammar/schema.h"

enum { PROPERTIES_MAX = 4096, LEVELS_MAX = 256, CELLS_MAX = 1 << 16, PATTERNS_MAX = 5 };

struct property {
    const char *name;
    bool required;
    uint32_t rule;
};

struct object {
    struct schema *x;
    const struct leaves *l;
    struct property *p;
    int n, cap;
    const struct str *declared; /* [n_declared] all names that some schema declares, also such as may not be */
    int n_declared;
    int32_t min, max;
    bool open;            /* some schema speaks of names that are not declared, or none declares any */
    struct leaves names;  /* propertyNames */
    /* patternProperties: schema `of` of leaf `leaf` */
    struct name_pattern {
        const struct dfa *dfa;
        const json_t *of;
        int leaf;
    } pattern[PATTERNS_MAX];
    int n_pattern;
};

static void add_property(struct object *o, const char *name, bool required)
{
    for (int i = 0; i < o->n; i++)
        if (strcmp(o->p[i].name, name) == 0) {
            o->p[i].required |= required;
            return;
        }
    if (o->n == PROPERTIES_MAX) {
        schema_fail(o->x, ERR_LIMIT, o->l->p[0].path, "more than %d properties", PROPERTIES_MAX);
        return;
    }
    struct property *p = arena_grow(&o->x->a, o->p, o->n, &o->cap, sizeof *p);
    if (!p) {
        schema_no_memory(o->x);
        return;
    }
    o->p = p;
    p[o->n++] = (struct property){name, required, 0};
}

static void read_leaf(struct object *o, int at)
{
    struct schema *x = o->x;
    const struct leaf *l = &o->l->p[at];
    json_t *props = json_object_get(l->s, "properties"), *required = json_object_get(l->s, "required"), *v;
    const char *name;
    size_t i;
    if (props && !json_is_object(props)) schema_fail(x, ERR_FORMAT, l->path, "'properties' is not an object");
    if (required && !json_is_array(required) && !json_is_boolean(required))
        schema_fail(x, ERR_FORMAT, l->path, "'required' is not a list of names");
    json_object_foreach (props, name, v) add_property(o, name, false);
    json_array_foreach (required, i, v)
        if (!json_is_string(v)) schema_fail(x, ERR_FORMAT, l->path, "'required' is not a list of names");
    json_object_foreach (json_object_get(l->s, "patternProperties"), name, v) {
        if (o->n_pattern == PATTERNS_MAX) {
            schema_fail(x, ERR_UNSUPPORTED, l->path, "more than %d patterns in 'patternProperties'", PATTERNS_MAX);
            return;
        }
        o->pattern[o->n_pattern++] = (struct name_pattern){schema_pattern_dfa(x, name, l->path), v, at};
    }
    int32_t min = schema_count(x, l, "minProperties", 0), max = schema_count(x, l, "maxProperties", GRAMMAR_INF);
    if (min > o->min) o->min = min;
    if (max < o->max) o->max = max;
    json_t *more = json_object_get(l->s, "additionalProperties");
    if (more && !json_is_false(more)) o->open = true;
    if ((v = json_object_get(l->s, "propertyNames")))
        schema_flatten(x, &o->names, v, schema_path(x, l->path, "/propertyNames"));
    json_array_foreach (json_object_get(l->s, KEY_NOT_ENUM), i, v)
        if (json_is_object(v)) schema_fail(x, ERR_UNSUPPORTED, l->path, "objects that are left out are not supported");
}

/* The schemas of a property that matches the patterns in `match` (a bit each); false when one forbids it. */
static bool property_leaves(struct object *o, const char *name, unsigned match, struct leaves *out)
{
    struct schema *x = o->x;
    for (int i = 0; i < o->l->n; i++) {
        const struct leaf *l = &o->l->p[i];
        const json_t *own = name ? json_object_get(json_object_get(l->s, "properties"), name) : NULL,
                     *more = json_object_get(l->s, "additionalProperties");
        bool known = own != NULL;
        if (own) leaves_add(x, out, own, schema_path(x, l->path, "/properties/%.200s", name));
        for (int k = 0; k < o->n_pattern; k++)
            if (o->pattern[k].leaf == i && match >> k & 1) {
                leaves_add(x, out, o->pattern[k].of, schema_path(x, l->path, "/patternProperties"));
                known = true;
            }
        if (!known && more) leaves_add(x, out, more, schema_path(x, l->path, "/additionalProperties"));
    }
    for (int i = 0; i < out->n; i++)
        if (json_is_false(out->p[i].s)) return false;
    return true;
}

static bool name_fits(struct object *o, const char *name)
{
    if (!o->names.n) return true;
    json_t *v = json_string(name);
    bool fits = v && schema_value_fits(o->x, &o->names, schema_types(o->x, &o->names), v);
    json_decref(v);
    return fits;
}

static uint32_t rule_of(struct schema *x, const struct leaves *l)
{
    return l->n ? schema_rule(x, l) : schema_value(x);
}

/* Keeps what may be there; a required name that may not is left in with rule 0. */
static void resolve_properties(struct object *o)
{
    int n = 0;
    struct str *all = ARENA_NEW(&o->x->a, struct str, (size_t)o->n + 1);
    if (!all) {
        schema_no_memory(o->x);
        return;
    }
    for (int i = 0; i < o->n; i++) all[i] = str_from(o->p[i].name);
    o->declared = all;
    o->n_declared = o->n;
    for (int i = 0; i < o->n && !o->x->rc; i++) {
        struct leaves l = {0};
        unsigned match = 0;
        for (int k = 0; k < o->n_pattern; k++)
            if (o->pattern[k].dfa && dfa_matches(o->pattern[k].dfa, str_from(o->p[i].name))) match |= 1u << k;
        bool may = property_leaves(o, o->p[i].name, match, &l) && name_fits(o, o->p[i].name);
        if (!may && !o->p[i].required) continue;
        o->p[i].rule = may ? rule_of(o->x, &l) : 0;
        o->p[n++] = o->p[i];
    }
    o->n = n;
}

/* ": value" behind a name, to `to`. */
static void name_value(struct object *o, uint32_t from, uint32_t rule, uint32_t to)
{
    struct grammar *g = o->x->g;
    grammar_eps(g, grammar_call(g, schema_ws(o->x, grammar_literal(g, from, STR(":"))), rule), to);
}

static const struct dfa *both(struct object *o, const struct dfa *a, const struct dfa *b, bool negate)
{
    struct schema *x = o->x;
    struct dfa *c = NULL, *out = NULL;
    if (x->rc || !b) return a;
    if (negate) {
        if ((x->rc = dfa_not(&x->a, b, &c, x->e))) return NULL;
        b = c;
    }
    if (!a) return b;
    x->rc = dfa_and(&x->a, a, b, &out, x->e);
    return out;
}

/* Names that are not declared and match exactly the patterns in `match`, with their values, from..to. */
static void other_names(struct object *o, unsigned match, const struct dfa *declared, const struct dfa *plain,
                        uint32_t from, uint32_t to)
{
    struct schema *x = o->x;
    struct leaves l = {0};
    const struct dfa *d = o->names.n ? schema_string_dfa(x, &o->names) : NULL;
    if (x->rc || !property_leaves(o, NULL, match, &l)) return;
    for (int k = 0; k < o->n_pattern; k++) d = both(o, d, o->pattern[k].dfa, !(match >> k & 1));
    d = both(o, d, declared, true);
    if (o->n_pattern) d = both(o, d, plain, false); /* where dialects agree on what a pattern matches */
    if (x->rc || (d && dfa_empty(&x->a, d))) return;
    struct grammar *g = x->g;
    uint32_t out = grammar_node(g);
    if (!d) {
        schema_any_string(x, from, out);
    } else {
        uint32_t end = grammar_node(g);
        if (grammar_dfa(g, grammar_literal(g, from, STR("\"")), end, d, TEXT_JSON)) schema_no_memory(x);
        grammar_eps(g, grammar_literal(g, end, STR("\"")), out);
    }
    name_value(o, out, rule_of(x, &l), to);
}

/* All names that are not declared, from..to. False when there are none. */
static bool others(struct object *o, uint32_t from, uint32_t to)
{
    struct schema *x = o->x;
    struct dfa *declared = NULL, *plain = NULL;
    struct pattern *p;
    if (!o->n_pattern && !o->open) return false;
    if (o->n_declared && (x->rc = dfa_of_list(&x->a, o->declared, o->n_declared, &declared, x->e))) return false;
    if (!x->rc && o->n_pattern && !(x->rc = pattern_parse(&x->a, STR("[ -~]*"), PATTERN_WHOLE, &p, &plain, x->e)))
        x->rc = dfa_of_pattern(&x->a, p, &plain, x->e);
    for (unsigned match = o->open ? 0 : 1; match < 1u << o->n_pattern && !x->rc; match++)
        other_names(o, match, declared, plain, from, to);
    return true;
}

/* propertyNames that lists the names: they are declared then, and no others. */
static void declare_listed_names(struct object *o)
{
    for (int i = 0; i < o->names.n; i++) {
        size_t k;
        json_t *v, *list = json_object_get(o->names.p[i].s, "enum");
        if (!json_is_array(list)) continue;
        json_array_foreach (list, k, v)
            if (json_is_string(v)) add_property(o, json_string_value(v), false);
        o->open = false;
        o->n_pattern = 0;
        return;
    }
}

static void emit(struct object *o, uint32_t from, uint32_t to)
{
    struct schema *x = o->x;
    struct grammar *g = x->g;
    int n_required = 0, cap = 1;
    for (int i = 0; i < o->n; i++) n_required += o->p[i].required;
    if (o->max < n_required || o->min > o->max) return;
    if (o->max == 0) {
        grammar_eps(g, grammar_literal(g, from, STR("{}")), to);
        return;
    }
    bool bounded = o->max < GRAMMAR_INF && (o->max < o->n || o->open || o->n_pattern);
    if (bounded)
        cap = o->max;
    else if (o->min > n_required)
        cap = o->min;
    if (cap < 1) cap = 1;
    if (cap > LEVELS_MAX || (int64_t)(o->n + 1) * (cap + 1) > CELLS_MAX) {
        schema_fail(x, ERR_LIMIT, o->l->p[0].path,
                    "too many properties have to be counted for minProperties or maxProperties");
        return;
    }
    if (o->min > o->n && (o->min > o->n + 1 || !(o->open || o->n_pattern))) {
        if (o->open || o->n_pattern)
            schema_fail(x, ERR_UNSUPPORTED, o->l->p[0].path,
                        "'minProperties' asks for more names than are declared");
        return;
    }
    uint32_t *bare = ARENA_NEW(&x->a, uint32_t, (size_t)cap + 1), *comma = ARENA_NEW(&x->a, uint32_t, (size_t)cap + 1);
    uint32_t *next = ARENA_NEW(&x->a, uint32_t, (size_t)cap + 1),
             *pairs = ARENA_NEW(&x->a, uint32_t, (size_t)cap + 2), end = grammar_node(g);
    if (!bare || !comma || !next || !pairs) {
        schema_no_memory(x);
        return;
    }
    comma[0] = schema_ws(x, grammar_literal(g, from, STR("{")));
    grammar_eps(g, grammar_literal(g, schema_ws(x, end), STR("}")), to);
    if (n_required == 0 && o->min == 0) grammar_eps(g, grammar_literal(g, comma[0], STR("}")), to);
    for (int c = 1; c <= cap; c++) bare[c] = grammar_node(g), comma[c] = grammar_node(g);
    int need = n_required;
    for (int i = 0; i <= o->n && !x->rc; i++) {
        bool last = i == o->n;
        for (int c = 1; c <= cap; c++) { /* an end or a comma behind c properties */
            if (need == 0 && c >= o->min) grammar_eps(g, bare[c], end);
            if (!(bounded && c == cap)) grammar_eps(g, schema_ws(x, grammar_literal(g, bare[c], STR(","))), comma[c]);
        }
        if (last) break;
        for (int c = 1; c <= cap; c++) next[c] = grammar_node(g);
        for (int c = 1; c <= cap;
             c++) { /* "name": value makes c properties of c - 1; of c, too, where more do not count */
            pairs[c] = grammar_node(g);
            uint32_t key =
                schema_quoted(x, grammar_literal(g, pairs[c], STR("\"")), o->p[i].name, strlen(o->p[i].name));
            if (o->p[i].rule) name_value(o, key, o->p[i].rule, next[c]);
        }
        for (int c = 0; c <= cap; c++) {
            if (c < cap || !bounded) grammar_eps(g, comma[c], pairs[c < cap ? c + 1 : cap]);
            if (o->p[i].required) {
                comma[c] = grammar_node(g);
            } else {
                uint32_t skip = grammar_node(g);
                grammar_eps(g, comma[c], skip);
                comma[c] = skip;
            }
        }
        for (int c = 1; c <= cap; c++) bare[c] = next[c];
        need -= o->p[i].required;
    }
    uint32_t other = grammar_node(g), known = grammar_node(g);
    if (x->rc || !others(o, other, known)) return;
    /* One sub-automaton would forget c; a level needs its own, but most objects have one. */
    for (int c = 0; c <= cap && !x->rc; c++) {
        if ((bounded && c == cap) || c + 1 < o->min) continue;
        uint32_t in = grammar_node(g);
        grammar_eps(g, comma[c], in);
        if (cap == 1) {
            grammar_eps(g, in, other);
            grammar_eps(g, known, bare[1]);
        } else {
            others(o, in, bare[c < cap ? c + 1 : cap]);
        }
    }
}

void schema_object(struct schema *x, const struct leaves *l, uint32_t from, uint32_t to)
{
    struct object *o = ARENA_NEW(&x->a, struct object, 1);
    if (!o) {
        schema_no_memory(x);
        return;
    }
    *o = (struct object){.x = x, .l = l, .max = GRAMMAR_INF};
    leaves_add(x, &o->names, schema_keep(x, json_pack("{s:s}", "type", "string")), l->p[0].path);
    for (int i = 0; i < l->n; i++) read_leaf(o, i);
    for (int i = 0; i < l->n; i++) {
        size_t k;
        json_t *v;
        json_array_foreach (json_object_get(l->p[i].s, "required"), k, v) add_property(o, json_string_value(v), true);
    }
    if (x->rc) return;
    if (o->names.n == 1)
        o->names.n = 0;
    else
        declare_listed_names(o);
    if (!o->n && !o->n_pattern) {
        bool closed = false;
        for (int i = 0; i < l->n; i++) closed |= json_is_false(json_object_get(l->p[i].s, "additionalProperties"));
        o->open |= !closed;
    }
    resolve_properties(o);
    if (!x->rc) emit(o, from, to);
}
