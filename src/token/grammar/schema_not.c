/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a schema fail, whether two schemas exclude one another, and which values of an enum the other keywords
 * leave. All three are one-sided: a negation implies that the schema fails, "disjoint" is said only when it is sure.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "token/grammar/schema.h"

/* --- values of enum and const ----------------------------------------------------------------------------- */

static const json_t *enum_of(const json_t *s)
{
    const json_t *v = json_object_get(s, "enum");
    return json_is_array(v) ? v : NULL;
}

bool schema_has_enum(const struct leaves *l)
{
    for (int i = 0; i < l->n; i++)
        if (enum_of(l->p[i].s) || json_object_get(l->p[i].s, "const")) return true;
    return false;
}

bool schema_same_value(const json_t *a, const json_t *b)
{
    size_t i;
    const char *key;
    json_t *v;
    if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a), y = json_number_value(b);
        return !(x < y) && !(x > y);
    }
    if (json_typeof(a) != json_typeof(b)) return false;
    if (!json_is_array(a) && !json_is_object(a)) return json_equal(a, b);
    if (json_array_size(a) != json_array_size(b) || json_object_size(a) != json_object_size(b)) return false;
    json_array_foreach (a, i, v)
        if (!schema_same_value(v, json_array_get(b, i))) return false;
    json_object_foreach ((json_t *)(uintptr_t)a, key, v) {
        const json_t *other = json_object_get(b, key);
        if (!other || !schema_same_value(v, other)) return false;
    }
    return true;
}

static bool in_list(struct schema *x, const char *path, const json_t *list, const json_t *v)
{
    size_t i;
    json_t *one;
    if (schema_spend(x, path, (int64_t)json_array_size(list))) return false;
    json_array_foreach (list, i, one)
        if (schema_same_value(one, v)) return true;
    return false;
}

static unsigned type_of_value(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL: return TYPE_NULL;
    case JSON_TRUE:
    case JSON_FALSE: return TYPE_BOOLEAN;
    case JSON_STRING: return TYPE_STRING;
    case JSON_INTEGER: return TYPE_INTEGER;
    case JSON_REAL: {
        double d = json_real_value(v);
        return fabs(d) < 1e18 && d - (double)(int64_t)d == 0 ? TYPE_INTEGER : TYPE_FRACTION;
    }
    case JSON_ARRAY: return TYPE_ARRAY;
    default: return TYPE_OBJECT;
    }
}

/* v passes every enum and const of l, its type is allowed, and so are number, length, pattern and required names.
 * in: an enum that has v. */
static bool fits(struct schema *x, const struct leaves *l, unsigned types, const json_t *v, const json_t *in)
{
    if (!(type_of_value(v) & types)) return false;
    for (int i = 0; i < l->n; i++) {
        const json_t *s = l->p[i].s, *k;
        size_t j;
        json_t *name;
        if ((k = enum_of(s)) && k != in && !in_list(x, l->p[i].path, k, v)) return false;
        if ((k = json_object_get(s, "const")) && !schema_same_value(k, v)) return false;
        if ((k = json_object_get(s, KEY_NOT_ENUM)) && in_list(x, l->p[i].path, k, v)) return false;
        if (json_is_array(v) && json_object_get(s, "contains"))
            schema_fail(x, ERR_UNSUPPORTED, l->p[i].path,
                        "keyword 'contains' is not supported beside 'enum' or 'const' with arrays");
        if (json_is_object(v)) json_array_foreach (json_object_get(s, "required"), j, name)
                if (json_is_string(name) && !json_object_get(v, json_string_value(name))) return false;
    }
    if (json_is_number(v)) return schema_number_fits(l, json_number_value(v));
    return !json_is_string(v) || schema_string_fits(x, l, v);
}

bool schema_value_fits(struct schema *x, const struct leaves *l, unsigned types, const json_t *v)
{
    return fits(x, l, types, v, NULL);
}

/* The list from which the values of l come: of the first schema that has one. *one is set for const. */
static const json_t *candidates(const struct leaves *l, const json_t **one)
{
    *one = NULL;
    for (int i = 0; i < l->n; i++) {
        const json_t *k;
        if ((*one = json_object_get(l->p[i].s, "const"))) return NULL;
        if ((k = enum_of(l->p[i].s))) return k;
    }
    return NULL;
}

static void emit_value(struct schema *x, const json_t *v, uint32_t from, uint32_t to)
{
    if (json_is_string(v)) {
        grammar_eps(x->g,
                    schema_quoted(x, grammar_literal(x->g, from, STR("\"")), json_string_value(v),
                                  json_string_length(v)),
                    to);
        return;
    }
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text) {
        schema_no_memory(x);
        return;
    }
    grammar_eps(x->g, grammar_literal(x->g, from, str_from(text)), to);
    free(text);
}

void schema_enum(struct schema *x, const struct leaves *l, unsigned types, uint32_t from, uint32_t to)
{
    const json_t *one, *list = candidates(l, &one);
    size_t i;
    json_t *v;
    if (one && schema_value_fits(x, l, types, one)) emit_value(x, one, from, to);
    json_array_foreach (list, i, v)
        if (!x->rc && fits(x, l, types, v, list)) emit_value(x, v, from, to);
}

/* --- negation --------------------------------------------------------------------------------------------- */

static bool requires(const struct leaves *l, const char *name)
{
    for (int i = 0; i < l->n; i++) {
        size_t k;
        json_t *v;
        json_array_foreach (json_object_get(l->p[i].s, "required"), k, v)
            if (json_is_string(v) && strcmp(json_string_value(v), name) == 0) return true;
    }
    return false;
}

static bool declares(const struct leaves *l, const char *name)
{
    for (int i = 0; i < l->n; i++)
        if (json_object_get(json_object_get(l->p[i].s, "properties"), name)) return true;
    return false;
}

/* The schema says nothing but types, notes apart: then what it does not allow is all that makes it fail. */
static bool only_types(const json_t *s)
{
    static const char *const notes[] = {"type", "title", "description", "default", "examples", "example", "$comment"};
    size_t known = 0;
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) known += json_object_get(s, notes[i]) != NULL;
    return json_object_get(s, "type") && known == json_object_size(s);
}

enum { NEGATE_DEPTH_MAX = 8, WORK_NEGATE = 200 };

struct negation {
    struct schema *x;
    const struct leaves *l;
    json_t *ways; /* array: each alone makes the schema fail */
    bool one;     /* the first will do */
    int depth, nest; /* parts within one another; allOf within one another */
};

static void negate(struct negation *n, const json_t *s, const char *path);

static void add_way(struct negation *n, json_t *way)
{
    if (way) json_array_append_new(n->ways, way);
}

static bool enough(const struct negation *n)
{
    return n->x->rc || (n->one && json_array_size(n->ways));
}

/* The ways in which a part of the schema fails, seen from values of l; NULL when there is none. */
static const json_t *negate_part(struct negation *n, const json_t *s, const char *path, const struct leaves *l)
{
    struct negation m = {n->x, l, json_array(), n->one, n->depth + 1, 0};
    if (m.depth < NEGATE_DEPTH_MAX) negate(&m, s, path);
    const json_t *out = NULL;
    if (json_array_size(m.ways) == 1)
        out = schema_keep(n->x, json_incref(json_array_get(m.ways, 0)));
    else if (json_array_size(m.ways))
        out = schema_keep(n->x, json_pack("{s:O}", "anyOf", m.ways));
    json_decref(m.ways);
    return out;
}

static void negate_required(struct negation *n, const json_t *s)
{
    size_t i;
    json_t *v;
    for (int pass = 0; pass < 3; pass++) /* best a name that nobody knows, last one that is required */
        json_array_foreach (json_object_get(s, "required"), i, v) {
            const char *name = json_string_value(v);
            if (!name || enough(n)) continue;
            int rank = requires(n->l, name) ? 2 : declares(n->l, name) ? 1 : 0;
            if (rank == pass && rank < 2)
                add_way(n, json_pack("{s:s, s:{s:b}}", "type", "object", "properties", name, 0));
        }
}

static void negate_properties(struct negation *n, const json_t *s, const char *path)
{
    const char *name;
    json_t *v;
    for (int pass = 0; pass < 2; pass++)
        json_object_foreach ((json_t *)(uintptr_t)json_object_get(s, "properties"), name, v) {
            struct leaves inner = {0};
            if (enough(n) || requires(n->l, name) == (pass == 1)) continue;
            for (int i = 0; i < n->l->n; i++) {
                const json_t *p = json_object_get(json_object_get(n->l->p[i].s, "properties"), name);
                if (p) schema_flatten(n->x, &inner, p, path);
            }
            const json_t *never = negate_part(n, v, path, &inner);
            if (!never) continue;
            json_t *way = json_pack("{s:s, s:[s], s:{}}", "type", "object", "required", name, "properties");
            json_object_set(json_object_get(way, "properties"), name, (json_t *)(uintptr_t)never);
            add_way(n, way);
        }
}

static void negate_bounds(struct negation *n, const json_t *s)
{
    static const struct {
        const char *key, *type, *opposite;
        int step;
    } bounds[] = {{"minLength", "string", "maxLength", -1},
                  {"maxLength", "string", "minLength", 1},
                  {"minItems", "array", "maxItems", -1},
                  {"maxItems", "array", "minItems", 1},
                  {"minimum", "number", "exclusiveMaximum", 0},
                  {"maximum", "number", "exclusiveMinimum", 0},
                  {"minProperties", "object", "maxProperties", -1},
                  {"maxProperties", "object", "minProperties", 1}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds && !enough(n); i++) {
        const json_t *v = json_object_get(s, bounds[i].key);
        if (!json_is_number(v)) continue;
        if (bounds[i].step == 0) {
            if (!json_is_true(json_object_get(s, "exclusiveMinimum")) &&
                !json_is_true(json_object_get(s, "exclusiveMaximum")))
                add_way(n, json_pack("{s:s, s:O}", "type", bounds[i].type, bounds[i].opposite, v));
        } else if (json_is_integer(v) && json_integer_value(v) + bounds[i].step >= 0) {
            add_way(n, json_pack("{s:s, s:I}", "type", bounds[i].type, bounds[i].opposite,
                                 json_integer_value(v) + bounds[i].step));
        }
    }
}

static void negate(struct negation *n, const json_t *s, const char *path)
{
    struct schema *x = n->x;
    const json_t *v;
    size_t i;
    json_t *part;
    if (enough(n) || schema_spend(x, path, WORK_NEGATE) || !(s = schema_resolve(x, s, &path))) return;
    if (json_is_boolean(s)) {
        if (json_is_false(s)) add_way(n, json_object());
        return;
    }
    struct leaves self = {0};
    leaves_add(x, &self, s, path);
    unsigned mine = schema_types_implied(x, n->l), left = mine & ~schema_types(x, &self);
    if (left || only_types(s)) add_way(n, json_pack("{s:i}", KEY_TYPES, (int)left));
    if (!enough(n)) negate_required(n, s);
    if (!enough(n) && (v = json_object_get(s, "const"))) add_way(n, json_pack("{s:[O]}", KEY_NOT_ENUM, v));
    if (!enough(n) && (v = enum_of(s))) add_way(n, json_pack("{s:O}", KEY_NOT_ENUM, v));
    if (!enough(n) && (v = json_object_get(s, "pattern")))
        add_way(n, json_pack("{s:s, s:[O]}", "type", "string", KEY_NOT_PATTERN, v));
    if (!enough(n)) negate_bounds(n, s);
    if (!enough(n)) negate_properties(n, s, path);
    if (!enough(n) && (v = json_object_get(s, "items")) && !json_is_array(v)) {
        struct leaves none = {0};
        const json_t *never = negate_part(n, v, path, &none);
        if (never) add_way(n, json_pack("{s:s, s:i, s:O}", "type", "array", "minItems", 1, "items", never));
    }
    if (!enough(n) && (v = json_object_get(s, "not"))) add_way(n, json_pack("{s:[O]}", "allOf", v));
    if (++n->nest < SCHEMA_DEPTH_MAX) json_array_foreach (json_object_get(s, "allOf"), i, part)
            if (!enough(n)) negate(n, part, path);
    n->nest--;
    for (int k = 0; k < 2 && !enough(n); k++) {
        json_t *all = json_array();
        bool sure = (v = json_object_get(s, k ? "oneOf" : "anyOf")) != NULL;
        json_array_foreach (v, i, part) {
            const json_t *never = sure ? negate_part(n, part, path, n->l) : NULL;
            sure = never && json_array_append(all, (json_t *)(uintptr_t)never) == 0;
        }
        if (sure) add_way(n, json_pack("{s:O}", "allOf", all));
        json_decref(all);
    }
}

const json_t *schema_negate(struct schema *x, const json_t *s, const char *path, const struct leaves *l, bool one)
{
    struct negation n = {.x = x, .l = l, .one = one};
    return negate_part(&n, s, path, l);
}

/* --- disjoint --------------------------------------------------------------------------------------------- */

/* What l says of property `name`: its schemas, flattened. False when l forbids it. */
static bool property_of(struct schema *x, const struct leaves *l, const char *name, struct leaves *out)
{
    for (int i = 0; i < l->n && !x->rc; i++) {
        const json_t *s = l->p[i].s, *p = json_object_get(json_object_get(s, "properties"), name);
        if (p)
            schema_flatten(x, out, p, l->p[i].path);
        else if (json_is_false(json_object_get(s, "additionalProperties")) && !json_object_get(s, "patternProperties"))
            return false;
    }
    return true;
}

static bool enums_disjoint(struct schema *x, const struct leaves *a, const struct leaves *b)
{
    const json_t *one, *list = candidates(a, &one);
    unsigned types = schema_types(x, a) & schema_types(x, b);
    size_t i;
    json_t *v;
    if (one) return !schema_value_fits(x, a, types, one) || !schema_value_fits(x, b, types, one);
    json_array_foreach (list, i, v)
        if (fits(x, a, types, v, list) && schema_value_fits(x, b, types, v)) return false;
    return list != NULL;
}

static const struct dfa *strings_of(struct schema *x, const struct leaves *l)
{
    const struct dfa *all = NULL;
    for (int i = 0; i < l->n && !x->rc; i++) {
        const char *p = json_string_value(json_object_get(l->p[i].s, "pattern"));
        const struct dfa *d = p ? schema_pattern_dfa(x, p, l->p[i].path) : NULL;
        struct dfa *both;
        if (d && all) {
            if (dfa_and(&x->a, all, d, &both, NULL)) return NULL;
            all = both;
        } else if (d) {
            all = d;
        }
    }
    return all;
}

/* Objects of both: a property that both ask for and on which they differ, or one that the other forbids. */
static bool objects_disjoint(struct schema *x, const struct leaves *a, const struct leaves *b, int depth)
{
    for (int i = 0; i < a->n; i++) {
        size_t k;
        json_t *v;
        json_array_foreach (json_object_get(a->p[i].s, "required"), k, v) {
            struct leaves pa = {0}, pb = {0};
            const char *name = json_string_value(v);
            if (!name) continue;
            if (!property_of(x, b, name, &pb)) return true;
            if (!property_of(x, a, name, &pa)) return true;
            if (pb.n == 0 || x->rc) continue;
            bool never = false;
            for (int j = 0; j < pb.n; j++) never |= json_is_false(pb.p[j].s);
            if (never) return true;
            if (requires(b, name) && schema_disjoint(x, &pa, &pb, depth + 1)) return true;
        }
    }
    return false;
}

bool schema_disjoint(struct schema *x, const struct leaves *a, const struct leaves *b, int depth)
{
    if (x->rc || depth > 4) return false;
    unsigned types = (depth ? schema_types(x, a) : schema_types_implied(x, a)) & schema_types(x, b);
    if (!types) return true;
    if (schema_has_enum(a)) return enums_disjoint(x, a, b);
    if (schema_has_enum(b)) return enums_disjoint(x, b, a);
    if (types == TYPE_OBJECT) return objects_disjoint(x, a, b, depth) || objects_disjoint(x, b, a, depth);
    if (types == TYPE_STRING) {
        const struct dfa *p = strings_of(x, a), *q = strings_of(x, b);
        struct dfa *both;
        struct arena tmp;
        if (!p || !q || schema_spend(x, b->p[0].path, (int64_t)p->n_state * q->n_state)) return false;
        arena_init(&tmp);
        bool never = dfa_and(&tmp, p, q, &both, NULL) == 0 && dfa_empty(&tmp, both);
        arena_finish(&tmp);
        return never;
    }
    if (!(types & ~(unsigned)TYPE_NUMBER)) {
        double la, ha, lb, hb;
        schema_number_bounds(a, &la, &ha);
        schema_number_bounds(b, &lb, &hb);
        return ha < lb || hb < la;
    }
    return false;
}
