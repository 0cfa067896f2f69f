/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uniqueItems. That all items of an array differ cannot be said by rules that know nothing of what was
 * written, unless the values that an item may have are a short list. Then it is said by nodes that know which
 * values were used:
 *
 *   any order      a node for each set of values that were written, if there are few such sets:
 *                  {} -a-> {a} -b-> {a,b}      of 10 values 1,024 sets, of 40 values with maxItems 2 only 821
 *                  {} -b-> {b} -a-> {a,b}
 *   their order    else each value comes at most once and in the order of the list: a node for each place of
 *                  the list and number of values written
 */
#include <math.h>
#include <string.h>
#include "token/grammar/schema.h"

enum {
    VALUES_MAX = 512,
    TRIES_MAX = 8 * VALUES_MAX,
    SETS_MAX = 1024,
    SET_VALUES_MAX = 63,
    STEPS_MAX = 20000,
    UNION_DEPTH_MAX = 4
};

/* --- the values ---------------------------------------------------------------------------------------------- */

struct values {
    json_t *list;
    int tries; /* values and alternatives looked at: a short list may be long to find */
};

/* False when there are too many. */
static bool add_value(struct values *x, const json_t *v)
{
    size_t i;
    json_t *known;
    if (++x->tries > TRIES_MAX) return false;
    json_array_foreach (x->list, i, known)
        if (schema_same_value(known, v)) return true;
    return json_array_size(x->list) < VALUES_MAX && json_array_append(x->list, (json_t *)(uintptr_t)v) == 0;
}

static bool add_new(struct values *x, json_t *v)
{
    bool ok = v && add_value(x, v);
    json_decref(v);
    return ok;
}

/* Whole numbers between two bounds. */
static bool add_integers(const struct leaves *l, struct values *out)
{
    double lo, hi, step = schema_number_step(l);
    schema_number_bounds(l, &lo, &hi);
    if (!(fabs(lo) < 1e15 && fabs(hi) < 1e15)) return false;
    for (double v = ceil(lo / step) * step; v <= hi; v += step) {
        if (++out->tries > TRIES_MAX) return false;
        if (schema_number_fits(l, v) && !add_new(out, json_integer((json_int_t)v))) return false;
    }
    return true;
}

/* null, false, true, and whole numbers between two bounds. */
static bool add_of_types(struct schema *x, const struct leaves *l, struct values *out)
{
    unsigned types = schema_types_implied(x, l);
    if (types & (TYPE_STRING | TYPE_FRACTION | TYPE_ARRAY | TYPE_OBJECT)) return false;
    if (types & TYPE_NULL && !add_new(out, json_null())) return false;
    if (types & TYPE_BOOLEAN && (!add_new(out, json_false()) || !add_new(out, json_true()))) return false;
    return !(types & TYPE_INTEGER) || add_integers(l, out);
}

static bool add_values(struct schema *x, const struct leaves *l, struct values *out, int depth);

/* anyOf and oneOf: the values of all alternatives. *found: there are some. */
static bool add_alternatives(struct schema *x, const struct leaves *l, struct values *out, int depth, bool *found)
{
    for (int i = 0; i < l->n; i++) {
        const json_t *s = l->p[i].s, *any = json_object_get(s, "anyOf");
        size_t k;
        json_t *one;
        if (!any) any = json_object_get(s, "oneOf");
        if (!json_is_array(any) || depth == UNION_DEPTH_MAX) continue;
        *found = true;
        json_array_foreach (any, k, one) {
            struct leaves more = {0};
            if (++out->tries > TRIES_MAX) return false;
            for (int j = 0; j < l->n; j++)
                if (j != i) leaves_add(x, &more, l->p[j].s, l->p[j].path);
            schema_flatten(x, &more, one, l->p[i].path);
            if (x->rc || !add_values(x, &more, out, depth + 1)) return false;
        }
        return true;
    }
    return true;
}

/* All values of l, and perhaps some that other keywords exclude; false if they are no short list. */
static bool add_values(struct schema *x, const struct leaves *l, struct values *out, int depth)
{
    size_t k;
    json_t *v;
    bool found = false;
    for (int i = 0; i < l->n; i++) {
        const json_t *all = json_object_get(l->p[i].s, "enum"), *one = json_object_get(l->p[i].s, "const");
        if (one) return add_value(out, one);
        if (!json_is_array(all)) continue;
        json_array_foreach (all, k, v)
            if (!add_value(out, v)) return false;
        return true;
    }
    bool ok = add_alternatives(x, l, out, depth, &found);
    return found ? ok : add_of_types(x, l, out);
}

/* --- the rules ----------------------------------------------------------------------------------------------- */

/* Sets of at most k_max of n values, or SETS_MAX + 1. */
static int count_sets(int n, int k_max)
{
    int64_t all = 1, level = 1;
    for (int k = 1; k <= k_max && all <= SETS_MAX; k++) {
        level = level * (n - k + 1) / k;
        all += level;
    }
    return all > SETS_MAX ? SETS_MAX + 1 : (int)all;
}

struct sets { /* of the same size, by size of their bits */
    uint64_t set[SETS_MAX];
    uint32_t node[SETS_MAX];
    int n;
};

static void next_sets(struct grammar *g, int n_values, int k, struct sets *out)
{
    out->n = 0;
    for (uint64_t s = (UINT64_C(1) << k) - 1;
         s < UINT64_C(1) << n_values;) { /* the next larger number of k bits (HAKMEM 175) */
        out->set[out->n] = s;
        out->node[out->n++] = grammar_node(g);
        uint64_t low = s & -s, up = s + low;
        s = up | ((s ^ up) >> 2) / low;
    }
}

static uint32_t node_of(const struct sets *s, uint64_t set)
{
    int lo = 0, hi = s->n - 1;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (s->set[mid] < set) lo = mid + 1;
        else hi = mid;
    }
    return s->node[lo];
}

static void any_order(struct schema *x, const uint32_t *rule, int n, int min, int k_max, uint32_t from, uint32_t to)
{
    struct grammar *g = x->g;
    struct sets *now = ARENA_NEW(&x->a, struct sets, 1), *next = ARENA_NEW(&x->a, struct sets, 1);
    if (!now || !next) {
        schema_no_memory(x);
        return;
    }
    now->n = 1;
    now->node[0] = from;
    for (int k = 0;; k++) {
        for (int i = 0; i < now->n && k >= min; i++) grammar_eps(g, now->node[i], to);
        if (k == k_max || g->failed) return;
        next_sets(g, n, k + 1, next);
        for (int i = 0; i < now->n; i++) {
            uint32_t at = k ? schema_ws(x, grammar_literal(g, now->node[i], STR(","))) : from;
            for (int v = 0; v < n; v++)
                if (!(now->set[i] >> v & 1))
                    grammar_eps(g, grammar_call(g, at, rule[v]),
                                node_of(next, now->set[i] | UINT64_C(1) << v));
        }
        struct sets *t = now;
        now = next;
        next = t;
    }
}

static void their_order(struct schema *x, const uint32_t *rule, int n, int min, int k_max, uint32_t from, uint32_t to)
{
    struct grammar *g = x->g;
    /* node[k]: k values were written, all from before place i */
    uint32_t *node = ARENA_NEW(&x->a, uint32_t, (size_t)k_max + 1);
    if (!node) {
        schema_no_memory(x);
        return;
    }
    node[0] = from;
    for (int k = 1; k <= k_max; k++) node[k] = grammar_node(g);
    for (int i = 0; i < n; i++)
        for (int k = k_max - 1; k >= 0; k--) {
            uint32_t in = k ? schema_ws(x, grammar_literal(g, node[k], STR(","))) : node[0], next = grammar_node(g);
            grammar_eps(g, grammar_call(g, in, rule[i]), next);
            grammar_eps(g, node[k + 1], next);
            node[k + 1] = next;
        }
    for (int k = min; k <= k_max; k++) grammar_eps(g, node[k], to);
}

/* The rule of one value: what holds of an item, and that it is v. */
static uint32_t value_rule(struct schema *x, const struct leaves *item, const json_t *v)
{
    struct leaves one = {0};
    for (int i = 0; i < item->n; i++) leaves_add(x, &one, item->p[i].s, item->p[i].path);
    leaves_add(x, &one, schema_keep(x, json_pack("{s:O}", "const", v)), item->p[0].path);
    return schema_rule(x, &one);
}

static uint32_t *value_rules(struct schema *x, const struct leaves *item, const json_t *list)
{
    size_t i;
    json_t *v;
    uint32_t *rule = ARENA_NEW(&x->a, uint32_t, json_array_size(list) + 1);
    if (!rule) return schema_no_memory(x), NULL;
    json_array_foreach (list, i, v)
        if (!x->rc) rule[i] = value_rule(x, item, v);
    return x->rc ? NULL : rule;
}

bool schema_unique(struct schema *x, const struct leaves *item, int32_t min, int32_t max, uint32_t from, uint32_t to)
{
    struct leaves flat = {0};
    struct values all = {.list = json_array()};
    for (int i = 0; i < item->n; i++) schema_flatten(x, &flat, item->p[i].s, item->p[i].path);
    bool short_list = all.list && !x->rc && add_values(x, &flat, &all, 0);
    int n = (int)json_array_size(all.list), k_max = max < n ? max : n;
    short_list = short_list && (int64_t)n * (k_max + 1) <= STEPS_MAX;
    const uint32_t *rule = short_list ? value_rules(x, &flat, all.list) : NULL;
    json_decref(all.list);
    if (!rule) return short_list; /* or a failure */
    if (n <= SET_VALUES_MAX && count_sets(n, k_max) <= SETS_MAX) any_order(x, rule, n, min, k_max, from, to);
    else their_order(x, rule, n, min, k_max, from, to);
    return true;
}
