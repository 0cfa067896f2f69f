/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Schema to a grammar: lists of schemas, references, alternatives; see grammar/schema.h.
 *
 * The text is always a value that satisfies the schema, but not every such value can be made: properties come in the
 * order of the schema, and where the schema leaves types open the keywords that are there choose one (doc/grammar.md).
 */
#include "token/grammar/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORK_FLATTEN = 50, WORK_ID = 10 }; /* what a schema that is looked at takes, in comparisons */

int schema_fail(struct schema *x, int code, const char *path, const char *fmt, ...)
{
    char what[ERR_MSG_MAX / 2];
    va_list ap;
    if (x->rc) return x->rc;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return x->rc = err(x->e, code, "schema at %.256s: %s", path, what);
}

int schema_no_memory(struct schema *x)
{
    return x->rc ? x->rc : (x->rc = err(x->e, ERR_MEMORY, "out of memory"));
}

int schema_spend(struct schema *x, const char *path, int64_t n)
{
    x->work += n;
    if (x->work > SCHEMA_WORK_MAX || x->a.held_bytes > SCHEMA_MEMORY_MAX)
        schema_fail(
            x, ERR_LIMIT, path,
            "too much to compare: alternatives, references or long lists multiply; use fewer of them");
    return x->rc;
}

const char *schema_path(struct schema *x, const char *base, const char *fmt, ...)
{
    char part[SCHEMA_PATH_MAX], all[SCHEMA_PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(part, sizeof part, fmt, ap);
    va_end(ap);
    if (strlen(base) + strlen(part) >= sizeof all) return base; /* deep inside: the path ends above */
    snprintf(all, sizeof all, "%.255s%.255s", base, part);
    const char *p = arena_strdup(&x->a, str_from(all));
    return p ? p : base;
}

void leaves_add(struct schema *x, struct leaves *l, const json_t *s, const char *path)
{
    for (int i = 0; i < l->n; i++)
        if (l->p[i].s == s) return;
    if (l->n == SCHEMA_LEAVES_MAX) {
        schema_fail(x, ERR_LIMIT, path, "more than %d schemas hold of one value", SCHEMA_LEAVES_MAX);
        return;
    }
    struct leaf *p = arena_grow(&x->a, l->p, l->n, &l->cap, sizeof *p);
    if (!p) {
        schema_no_memory(x);
        return;
    }
    l->p = p;
    p[l->n++] = (struct leaf){s, path};
}

const json_t *schema_keep(struct schema *x, json_t *s)
{
    size_t i;
    json_t *known;
    json_array_foreach (x->made, i, known)
        if (json_equal(known, s)) {
            json_decref(s);
            return known;
        }
    if (!s || json_array_append_new(x->made, s)) return schema_no_memory(x), NULL;
    return s;
}

/* --- references ------------------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One part of a JSON pointer, %XX and ~0 ~1 undone. */
static bool pointer_part(const char **at, char *out, size_t max)
{
    size_t n = 0;
    const char *p = *at;
    for (; *p && *p != '/'; p++) {
        char c = *p;
        if (c == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
            c = (char)(hex_value(p[1]) * 16 + hex_value(p[2]));
            p += 2;
        }
        if (c == '~' && (p[1] == '0' || p[1] == '1')) c = *++p == '0' ? '~' : '/';
        if (n + 1 >= max) return false;
        out[n++] = c;
    }
    out[n] = 0;
    *at = p;
    return true;
}

static const json_t *follow_pointer(const json_t *at, const char *p)
{
    char part[SCHEMA_PATH_MAX];
    while (at && *p == '/') {
        p++;
        if (!pointer_part(&p, part, sizeof part)) return NULL;
        if (json_is_array(at)) {
            char *end;
            unsigned long i = strtoul(part, &end, 10);
            at = *part && !*end ? json_array_get(at, i) : NULL;
        } else {
            at = json_object_get(at, part);
        }
    }
    return *p ? NULL : at;
}

static bool same_id(const json_t *id, const char *want, size_t n)
{
    const char *s = json_string_value(id);
    if (!s) return false;
    size_t len = strlen(s);
    if (len && s[len - 1] == '#') len--;
    if (n <= len && memcmp(s + len - n, want, n) == 0 && (n == len || s[len - n - 1] == '/')) return true;
    return false;
}

/* The schema that calls itself `name`, by $id, id or $anchor, anywhere in the document. */
static const json_t *find_id(struct schema *x, const json_t *at, const char *name, size_t n, bool anchor, int depth)
{
    const char *key;
    json_t *v;
    size_t i;
    const json_t *found = NULL;
    if (depth > SCHEMA_DEPTH_MAX || schema_spend(x, "#", WORK_ID)) return NULL;
    if (json_is_array(at)) {
        json_array_foreach (at, i, v)
            if ((found = find_id(x, v, name, n, anchor, depth + 1))) return found;
        return NULL;
    }
    if (!json_is_object(at)) return NULL;
    if (anchor) {
        const char *s = json_string_value(json_object_get(at, "$anchor")),
                   *id = json_string_value(json_object_get(at, "$id"));
        if (!id) id = json_string_value(json_object_get(at, "id"));
        if ((s && strlen(s) == n && memcmp(s, name, n) == 0) ||
            (id && id[0] == '#' && strlen(id) == n + 1 && memcmp(id + 1, name, n) == 0))
            return at;
    } else if (same_id(json_object_get(at, "$id"), name, n) || same_id(json_object_get(at, "id"), name, n)) {
        return at;
    }
    void *iter = json_object_iter((json_t *)(uintptr_t)at);
    for (; iter; iter = json_object_iter_next((json_t *)(uintptr_t)at, iter)) {
        key = json_object_iter_key(iter);
        if (strcmp(key, "enum") == 0 || strcmp(key, "const") == 0 || strcmp(key, "default") == 0) continue;
        if ((found = find_id(x, json_object_iter_value(iter), name, n, anchor, depth + 1))) return found;
    }
    return NULL;
}

static const json_t *find_ref(struct schema *x, const char *ref)
{
    const char *hash = strchr(ref, '#');
    size_t n = hash ? (size_t)(hash - ref) : strlen(ref);
    const json_t *base = x->root;
    if (n) {
        while (n > 2 && memcmp(ref, "./", 2) == 0) ref += 2, n -= 2;
        base = find_id(x, x->root, ref, n, false, 0);
    }
    if (!base || !hash || !hash[1]) return base;
    return hash[1] == '/' ? follow_pointer(base, hash + 1) : find_id(x, base, hash + 1, strlen(hash + 1), true, 0);
}

const json_t *schema_resolve(struct schema *x, const json_t *s, const char **path)
{
    for (int i = 0; i < SCHEMA_DEPTH_MAX; i++) {
        const json_t *ref = json_object_get(s, "$ref");
        if (!json_is_string(ref)) return s;
        if (schema_spend(x, *path, (int64_t)json_string_length(ref))) return NULL;
        if (!(s = find_ref(x, json_string_value(ref)))) {
            schema_fail(
                x, ERR_UNSUPPORTED, *path,
                "$ref '%.200s' leads to nothing in this schema; references to other documents are not followed",
                json_string_value(ref));
            return NULL;
        }
        *path = schema_path(x, "", "%.250s", json_string_value(ref));
    }
    schema_fail(x, ERR_FORMAT, *path, "$ref refers to itself");
    return NULL;
}

/* --- keywords --------------------------------------------------------------------------------------------- */

/* Standard keywords that constrain and that are not known here. Others are notes, or somebody's own. */
static const char *const unsupported[] = {
    "unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef", "extends", "disallow",
    "divisibleBy"};

static void check_keywords(struct schema *x, const json_t *s, const char *path)
{
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (json_object_get(s, unsupported[i]))
            schema_fail(x, ERR_UNSUPPORTED, path, "keyword '%s' is not supported", unsupported[i]);
}

static void flatten(struct schema *x, struct leaves *out, const json_t *s, const char *path, int depth)
{
    size_t i;
    json_t *v;
    if (schema_spend(x, path, WORK_FLATTEN + out->n)) return;
    if (depth > SCHEMA_DEPTH_MAX) {
        schema_fail(x, ERR_LIMIT, path, "allOf and $ref are nested deeper than %d", SCHEMA_DEPTH_MAX);
        return;
    }
    if (!json_is_object(s) && !json_is_boolean(s)) {
        schema_fail(x, ERR_FORMAT, path, "a schema is an object, true or false");
        return;
    }
    for (int k = 0; k < out->n; k++)
        if (out->p[k].s == s) return; /* a circle of allOf adds nothing */
    leaves_add(x, out, s, path);
    if (!json_is_object(s)) return;
    check_keywords(x, s, path);
    if (json_is_string(json_object_get(s, "$ref"))) {
        const char *to = path;
        const json_t *target = schema_resolve(x, s, &to);
        if (target) flatten(x, out, target, to, depth + 1);
    }
    json_t *all = json_object_get(s, "allOf");
    if (all && !json_is_array(all)) schema_fail(x, ERR_FORMAT, path, "'allOf' is not an array");
    json_array_foreach (all, i, v) flatten(x, out, v, schema_path(x, path, "/allOf/%zu", i), depth + 1);
}

void schema_flatten(struct schema *x, struct leaves *out, const json_t *s, const char *path)
{
    flatten(x, out, s, path, 0);
}

static unsigned type_of_name(const char *name)
{
    static const struct {
        const char *name;
        unsigned type;
    } known[] = {{"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"string", TYPE_STRING}, {"integer", TYPE_INTEGER},
                 {"number", TYPE_NUMBER}, {"array", TYPE_ARRAY},     {"object", TYPE_OBJECT}, {"any", TYPE_ALL}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0) return known[i].type;
    return 0;
}

static unsigned leaf_types(struct schema *x, const struct leaf *l)
{
    size_t i;
    json_t *v, *type = json_object_get(l->s, "type");
    unsigned t = 0;
    if (json_is_false(l->s)) return 0;
    if ((v = json_object_get(l->s, KEY_TYPES))) return (unsigned)json_integer_value(v);
    if (!type) return TYPE_ALL;
    if (json_is_string(type)) {
        t = type_of_name(json_string_value(type));
        if (!t) schema_fail(x, ERR_FORMAT, l->path, "type '%.64s' is not known", json_string_value(type));
    }
    json_array_foreach (type, i, v) {
        unsigned one = json_is_string(v) ? type_of_name(json_string_value(v)) : 0;
        if (!one) schema_fail(x, ERR_FORMAT, l->path, "'type' names no known type");
        t |= one;
    }
    if (!json_is_string(type) && !json_is_array(type))
        schema_fail(x, ERR_FORMAT, l->path, "'type' is neither a name nor a list of names");
    if (json_is_true(json_object_get(l->s, "nullable"))) t |= TYPE_NULL;
    return t;
}

unsigned schema_types(struct schema *x, const struct leaves *l)
{
    unsigned t = TYPE_ALL;
    for (int i = 0; i < l->n; i++) t &= leaf_types(x, &l->p[i]);
    return t;
}

unsigned schema_types_implied(struct schema *x, const struct leaves *l)
{
    static const struct {
        unsigned type;
        const char *key[9];
    } implied[] = {
        {TYPE_OBJECT,
         {"properties", "required", "additionalProperties", "patternProperties", "minProperties",
          "maxProperties", "propertyNames", "dependencies", "dependentRequired"}},
        {TYPE_ARRAY,
         {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "additionalItems", "contains"}},
        {TYPE_STRING, {"pattern", "minLength", "maxLength", "format"}},
        {TYPE_NUMBER, {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}},
    };
    unsigned t = schema_types(x, l), by_keys = 0;
    if (t != TYPE_ALL) return t;
    for (int i = 0; i < l->n; i++)
        for (size_t k = 0; k < sizeof implied / sizeof *implied; k++)
            for (int j = 0; j < 9 && implied[k].key[j]; j++)
                if (json_object_get(l->p[i].s, implied[k].key[j])) by_keys |= implied[k].type;
    return by_keys ? by_keys : t;
}

int32_t schema_count(struct schema *x, const struct leaf *l, const char *key, int32_t none)
{
    const json_t *v = json_object_get(l->s, key);
    if (!v) return none;
    double d = json_number_value(v);
    if (!json_is_number(v) || d < 0 || d > 1e15 || d != (double)(int64_t)d)
        return schema_fail(x, ERR_FORMAT, l->path, "'%s' is not a count", key), none;
    return d >= GRAMMAR_INF ? GRAMMAR_INF : (int32_t)d;
}

/* --- alternatives ----------------------------------------------------------------------------------------- */

/* A schema with alternatives, of which one has to be chosen: anyOf, oneOf; if, dependencies and not become anyOf. */
struct choice {
    const json_t *list; /* array of schemas */
    const char *path;
    bool one;
};

struct choices {
    struct choice p[SCHEMA_DEPTH_MAX];
    int n;
};

static void add_choice(struct schema *x, struct choices *c, const json_t *list, const char *path, bool one)
{
    if (!json_is_array(list) || json_array_size(list) == 0) {
        schema_fail(x, ERR_FORMAT, path, "expected a list of schemas");
        return;
    }
    if (c->n == SCHEMA_DEPTH_MAX) {
        schema_fail(x, ERR_LIMIT, path, "more than %d times alternatives hold of one value", SCHEMA_DEPTH_MAX);
        return;
    }
    c->p[c->n++] = (struct choice){list, path, one};
}

static void add_not(struct schema *x, struct choices *c, const struct leaves *l, const json_t *s, const char *path)
{
    const json_t *n = schema_negate(x, s, path, l, false);
    if (x->rc) return;
    if (!n) {
        schema_fail(x, ERR_UNSUPPORTED, path, "keyword 'not' is not supported for this schema");
        return;
    }
    add_choice(x, c, schema_keep(x, json_pack("[O]", n)), path, false);
}

static void add_if(struct schema *x, struct choices *c, const struct leaves *l, const struct leaf *at)
{
    const json_t *s = json_object_get(at->s, "if"), *yes = json_object_get(at->s, "then"),
                 *no = json_object_get(at->s, "else");
    const char *path = schema_path(x, at->path, "/if");
    if (!yes && !no) return;
    const json_t *never = schema_negate(x, s, path, l, false);
    if (x->rc) return;
    json_t *list = json_array();
    json_array_append_new(list, yes ? json_pack("{s:[OO]}", "allOf", s, yes) : json_pack("{s:[O]}", "allOf", s));
    if (never)
        json_array_append_new(list, no ? json_pack("{s:[OO]}", "allOf", never, no)
                                       : json_pack("{s:[O]}", "allOf", never));
    add_choice(x, c, schema_keep(x, list), path, false);
}

static void add_dependencies(struct schema *x, struct choices *c, const struct leaf *at, const char *key)
{
    json_t *all = json_object_get(at->s, key), *need;
    const char *name;
    json_object_foreach (all, name, need) {
        json_t *without = json_pack("{s:{s:b}}", "properties", name, 0);
        json_t *with = json_is_array(need) ? json_pack("{s:[s], s:O}", "dummy", name, "required", need)
                                           : json_pack("{s:[O]}", "allOf", need);
        if (json_is_object(with)) json_object_del(with, "dummy");
        add_choice(x, c, schema_keep(x, json_pack("[oo]", without, with)),
                   schema_path(x, at->path, "/%s/%.100s", key, name), false);
    }
}

static void find_choices(struct schema *x, const struct leaves *l, int from, struct choices *c)
{
    for (int i = from; i < l->n && !x->rc; i++) {
        const json_t *s = l->p[i].s, *v;
        if ((v = json_object_get(s, "anyOf"))) add_choice(x, c, v, schema_path(x, l->p[i].path, "/anyOf"), false);
        if ((v = json_object_get(s, "oneOf"))) add_choice(x, c, v, schema_path(x, l->p[i].path, "/oneOf"), true);
        if (json_object_get(s, "if")) add_if(x, c, l, &l->p[i]);
        if ((v = json_object_get(s, "not"))) add_not(x, c, l, v, schema_path(x, l->p[i].path, "/not"));
        add_dependencies(x, c, &l->p[i], "dependencies");
        add_dependencies(x, c, &l->p[i], "dependentRequired");
        add_dependencies(x, c, &l->p[i], "dependentSchemas");
    }
}

static void emit(struct schema *x, const struct leaves *l, uint32_t from, uint32_t to);

struct expansion {
    uint32_t from, to;
    int n; /* alternatives so far */
};

static struct leaves copy_leaves(struct schema *x, const struct leaves *l)
{
    struct leaves c = {ARENA_NEW(&x->a, struct leaf, (size_t)l->n + 8), l->n, l->n + 8};
    if (!c.p) {
        schema_no_memory(x);
        return (struct leaves){0};
    }
    if (l->n) memcpy(c.p, l->p, (size_t)l->n * sizeof *c.p);
    return c;
}

/* Of oneOf, alternative i holds and the others do not: nothing to do for those that exclude i, else something is added
 * that makes them fail. */
static void exclude_others(struct schema *x, const struct choice *c, size_t i, struct leaves *l)
{
    size_t j;
    json_t *v;
    json_array_foreach (c->list, j, v) {
        struct leaves other = {0};
        if (j == i || x->rc) continue;
        const char *path = schema_path(x, c->path, "/%zu", j);
        schema_flatten(x, &other, v, path);
        if (x->rc || schema_disjoint(x, l, &other, 0)) continue;
        const json_t *never = schema_negate(x, v, path, l, true);
        if (!never) {
            schema_fail(
                x, ERR_UNSUPPORTED, c->path,
                "alternatives %zu and %zu of 'oneOf' may hold together, and what tells them apart is not supported",
                i, j);
            return;
        }
        schema_flatten(x, l, never, path);
    }
}

static void expand(struct schema *x, struct expansion *n, const struct leaves *l, const struct choices *c)
{
    size_t i;
    json_t *v;
    if (x->rc) return;
    if (++x->depth > 2 * SCHEMA_DEPTH_MAX) schema_fail(x, ERR_LIMIT, l->p[0].path, "alternatives are nested too deep");
    if (c->n == 0) {
        if (++n->n > SCHEMA_ALTERNATIVES_MAX)
            schema_fail(x, ERR_LIMIT, l->p[0].path, "more than %d alternatives, multiplied out",
                        SCHEMA_ALTERNATIVES_MAX);
        emit(x, l, n->from, n->to);
        x->depth--;
        return;
    }
    struct choices *rest = ARENA_NEW(&x->a, struct choices, 1);
    if (!rest) {
        schema_no_memory(x);
        return;
    }
    const struct choice *first = &c->p[c->n - 1];
    json_array_foreach (first->list, i, v) {
        struct leaves more = copy_leaves(x, l);
        if (x->rc) return;
        *rest = *c;
        rest->n--;
        schema_flatten(x, &more, v, schema_path(x, first->path, "/%zu", i));
        if (!x->rc && first->one && schema_types(x, &more)) exclude_others(x, first, i, &more);
        if (x->rc) return;
        if (!schema_types(x, &more)) continue; /* nothing is both */
        find_choices(x, &more, l->n, rest);
        expand(x, n, &more, rest);
    }
    x->depth--;
}

/* --- rules ------------------------------------------------------------------------------------------------ */

/* A value that satisfies all of l, alternatives apart. */
static void emit(struct schema *x, const struct leaves *l, uint32_t from, uint32_t to)
{
    struct grammar *g = x->g;
    unsigned types = schema_types_implied(x, l);
    if (x->rc) return;
    if (schema_has_enum(l)) {
        schema_enum(x, l, schema_types(x, l), from, to);
        return;
    }
    if (types == TYPE_ALL) {
        bool bare = true;
        for (int i = 0; i < l->n; i++) bare &= !json_object_get(l->p[i].s, KEY_NOT_ENUM);
        if (bare) {
            grammar_eps(g, grammar_call(g, from, schema_value(x)), to);
            return;
        }
    }
    if (schema_value_fits(x, l, types, json_null())) grammar_eps(g, grammar_literal(g, from, STR("null")), to);
    if (schema_value_fits(x, l, types, json_true())) grammar_eps(g, grammar_literal(g, from, STR("true")), to);
    if (schema_value_fits(x, l, types, json_false())) grammar_eps(g, grammar_literal(g, from, STR("false")), to);
    if (types & TYPE_STRING) schema_string(x, l, from, to);
    if (types & TYPE_NUMBER) schema_number(x, l, types, from, to);
    if (types & TYPE_ARRAY) schema_array(x, l, from, to);
    if (types & TYPE_OBJECT) schema_object(x, l, from, to);
}

static uint32_t hash_leaves(const struct leaves *l)
{
    uint64_t h = 0;
    for (int i = 0; i < l->n; i++) h = (h ^ (uintptr_t)l->p[i].s ^ h >> 31) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32);
}

static bool same_leaves(const struct leaves *a, const struct leaves *b)
{
    bool same = a->n == b->n;
    for (int i = 0; same && i < a->n; i++) same = a->p[i].s == b->p[i].s;
    return same;
}

static bool grow_slots(struct schema *x)
{
    uint32_t mask = x->mask ? x->mask * 2 + 1 : 255;
    int32_t *slot = ARENA_NEW(&x->a, int32_t, mask + 1);
    if (!slot) return false;
    memset(slot, -1, (mask + 1) * sizeof *slot);
    for (int i = 0; i < x->n_rule; i++) {
        uint32_t h = hash_leaves(&x->rule[i].list) & mask;
        while (slot[h] >= 0) h = (h + 1) & mask;
        slot[h] = i;
    }
    x->slot = slot;
    x->mask = mask;
    return true;
}

uint32_t schema_rule(struct schema *x, const struct leaves *l)
{
    struct leaves keep = {0};
    if (x->rc) return 0;
    for (int i = 0; i < l->n; i++) { /* a bare reference is its target: two of them share a rule */
        const char *path = l->p[i].path;
        const json_t *s = l->p[i].s;
        if (json_object_size(s) == 1 && json_object_get(s, "$ref") && !(s = schema_resolve(x, s, &path))) return 0;
        leaves_add(x, &keep, s, path);
    }
    if (x->rc) return 0;
    if ((uint32_t)x->n_rule * 2 >= x->mask && !grow_slots(x)) return schema_no_memory(x), 0;
    uint32_t h = hash_leaves(&keep) & x->mask;
    for (; x->slot[h] >= 0; h = (h + 1) & x->mask)
        if (same_leaves(&x->rule[x->slot[h]].list, &keep)) return x->rule[x->slot[h]].rule;
    struct pending *list = arena_grow(&x->a, x->rule, x->n_rule, &x->cap_rule, sizeof *list);
    if (!list) return schema_no_memory(x), 0;
    x->rule = list;
    list[x->n_rule] = (struct pending){keep, grammar_rule(x->g, keep.n ? keep.p[0].path : "#")};
    x->slot[h] = x->n_rule;
    return list[x->n_rule++].rule;
}

static void make_rule(struct schema *x, struct pending p)
{
    struct leaves l = {0};
    struct choices *c = ARENA_NEW(&x->a, struct choices, 1);
    struct expansion n = {x->g->rule[p.rule].start, x->g->rule[p.rule].final, 0};
    if (!c) {
        schema_no_memory(x);
        return;
    }
    for (int i = 0; i < p.list.n; i++) schema_flatten(x, &l, p.list.p[i].s, p.list.p[i].path);
    x->depth = 0;
    find_choices(x, &l, 0, c);
    expand(x, &n, &l, c);
}

/* --- what every JSON text has ----------------------------------------------------------------------------- */

enum { WS_BLANKS_MAX = 24 }; /* behind a line end */

uint32_t schema_ws(struct schema *x, uint32_t from)
{
    struct grammar *g = x->g;
    if (!x->ws) { /* nothing, one blank, or a line end with bounded indentation */
        x->ws = grammar_rule(g, "white space");
        uint32_t start = g->rule[x->ws].start, final = g->rule[x->ws].final, at = grammar_literal(g, start, STR("\n"));
        grammar_eps(g, start, final);
        grammar_eps(g, grammar_literal(g, start, STR(" ")), final);
        for (int i = 0;; i++) {
            grammar_eps(g, at, final);
            if (i == WS_BLANKS_MAX) break;
            at = grammar_literal(g, at, STR(" "));
        }
    }
    return grammar_call(g, from, x->ws);
}

uint32_t schema_value(struct schema *x)
{
    static const char *const type[] = {"null", "boolean", "string", "number", "array", "object"};
    if (x->value) return x->value;
    x->value = grammar_rule(x->g, "value");
    for (int i = 0; i < 6; i++) {
        struct leaves l = {0};
        leaves_add(x, &l, schema_keep(x, json_pack("{s:s}", "type", type[i])), "#");
        if (!x->rc)
            grammar_eps(x->g, grammar_call(x->g, x->g->rule[x->value].start, schema_rule(x, &l)),
                        x->g->rule[x->value].final);
    }
    return x->value;
}

static int compile(struct grammar **out, const json_t *root, struct err *e)
{
    int rc;
    *out = NULL;
    if ((rc = grammar_create(out, e))) return rc;
    struct schema x = {.g = *out, .root = root, .made = json_array(), .e = e};
    struct leaves l = {0};
    arena_init(&x.a);
    if (!x.made) schema_no_memory(&x);
    leaves_add(&x, &l, root, "#");
    uint32_t rule = schema_rule(&x, &l);
    while (!x.rc && x.n_done < x.n_rule && !x.g->failed) make_rule(&x, x.rule[x.n_done++]);
    json_decref(x.made);
    arena_finish(&x.a);
    if (!x.rc) {
        rc = grammar_finish(out, rule, e);
        if (rc == ERR_USAGE) return err(e, ERR_USAGE, "no value that can be made satisfies the schema");
        return rc;
    }
    grammar_unref(*out);
    *out = NULL;
    return x.rc;
}

int grammar_compile_json_schema(struct grammar **g, const json_t *schema, struct err *e)
{
    *g = NULL;
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return err(e, ERR_FORMAT, "a JSON Schema is an object, true or false");
    return compile(g, schema, e);
}

int grammar_compile_json_object(struct grammar **g, struct err *e)
{
    json_t *s = json_pack("{s:s}", "type", "object");
    if (!s) return *g = NULL, err(e, ERR_MEMORY, "out of memory");
    int rc = compile(g, s, e);
    json_decref(s);
    return rc;
}
