/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays of JSON Schema: items that have a schema by their place, then items that share one. How many of the
 * latter come is a count of their rule, so that "at most 1000" is as small as "any number".
 *
 * contains counts: a node for each number of items written and of those that match, up to the numbers that
 * matter.
 */
#include "token/grammar/schema.h"

enum { PLACES_MAX = 1024, DIFFER_MAX = 64, CONTAINS_NODES_MAX = 4096 };

/* The list by place: prefixItems, or items of drafts before 2020. */
static const json_t *places(const json_t *s)
{
    const json_t *p = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");
    return json_is_array(p) ? p : json_is_array(items) ? items : NULL;
}

/* What holds of the item at `place`. */
static struct leaves item_leaves(struct schema *x, const struct leaves *l, size_t place)
{
    struct leaves out = {0};
    for (int i = 0; i < l->n; i++) {
        const json_t *s = l->p[i].s, *by_place = places(s), *rest = json_object_get(s, "items");
        const char *path = l->p[i].path;
        if (json_is_array(rest)) rest = json_object_get(s, "additionalItems");
        if (place < json_array_size(by_place))
            leaves_add(x, &out, json_array_get(by_place, place), schema_path(x, path, "/items/%zu", place));
        else if (rest)
            leaves_add(x, &out, rest, schema_path(x, path, "/items"));
    }
    return out;
}

/* Rounds of items: the first without a comma if `first`. A rule whose counted edges are the calls of the item. */
static uint32_t rounds(struct schema *x, uint32_t item, int32_t min, int32_t max, bool first)
{
    struct grammar *g = x->g;
    uint32_t rule = grammar_rule(g, "items");
    if (g->failed) return 0;
    uint32_t start = g->rule[rule].start, final = g->rule[rule].final, again = grammar_node(g), more = grammar_node(g);
    g->rule[rule].min = min;
    g->rule[rule].max = max;
    g->rule[rule].item = item;
    grammar_edge(g, start, final, EDGE_DONE, 0, false);
    grammar_edge(g, again, final, EDGE_DONE, 0, false);
    grammar_edge(g, again, more, EDGE_MORE, 0, false);
    uint32_t call = schema_ws(x, grammar_literal(g, more, STR(",")));
    grammar_edge(g, call, again, EDGE_CALL, item, true);
    if (first) {
        uint32_t one = grammar_node(g);
        grammar_edge(g, start, one, EDGE_MORE, 0, false);
        grammar_edge(g, one, again, EDGE_CALL, item, true);
    } else {
        grammar_edge(g, start, more, EDGE_MORE, 0, false);
    }
    return rule;
}

/* Items with a place each, none behind them, and no value that two of the places share: they differ already. */
static bool places_differ(struct schema *x, const struct leaves *l, size_t n_place, int32_t max)
{
    struct leaves rest = item_leaves(x, l, n_place);
    bool ends = (int64_t)n_place >= max;
    for (int i = 0; i < rest.n; i++) ends = ends || json_is_false(rest.p[i].s);
    if (n_place > DIFFER_MAX || !ends) return false;
    struct leaves *place = ARENA_NEW(&x->a, struct leaves, n_place + 1);
    if (!place) return schema_no_memory(x), false;
    for (size_t i = 0; i < n_place; i++) {
        struct leaves item = item_leaves(x, l, i);
        for (int k = 0; k < item.n; k++) schema_flatten(x, &place[i], item.p[k].s, item.p[k].path);
        for (size_t k = 0; k < i; k++)
            if (x->rc || !schema_disjoint(x, &place[k], &place[i], 0)) return false;
    }
    return true;
}

/* --- contains ------------------------------------------------------------------------------------------------ */

struct contained {
    struct leaf leaf;
    int32_t min, max; /* of items that match */
};

/* False: nothing is said that matters. */
static bool read_contains(struct schema *x, const struct leaves *l, struct contained *c)
{
    bool found = false;
    for (int i = 0; i < l->n; i++) {
        const json_t *s = json_object_get(l->p[i].s, "contains");
        int32_t min = schema_count(x, &l->p[i], "minContains", 1),
                max = schema_count(x, &l->p[i], "maxContains", GRAMMAR_INF);
        if (!s || (min == 0 && max == GRAMMAR_INF)) continue;
        if (found) schema_fail(x, ERR_UNSUPPORTED, l->p[i].path, "keyword 'contains' is supported once of an array");
        *c = (struct contained){{s, schema_path(x, l->p[i].path, "/contains")}, min, max};
        found = true;
    }
    return found;
}

/* The items at `place` that fit s, too. */
static uint32_t item_and(struct schema *x, const struct leaves *l, size_t place, const json_t *s, const char *path)
{
    struct leaves item = item_leaves(x, l, place);
    leaves_add(x, &item, s, path);
    return schema_rule(x, &item);
}

static void containing(struct schema *x, const struct leaves *l, const struct contained *c, size_t n_place,
                       int32_t min, int32_t max, uint32_t from, uint32_t to)
{
    struct grammar *g = x->g;
    bool bounded = c->max != GRAMMAR_INF;
    /* at `last` items it goes round */
    int64_t last = n_place > (size_t)min ? (int64_t)n_place : min, most = bounded ? c->max : c->min;
    if (last < 1) last = 1;
    if (max != GRAMMAR_INF) last = max;
    if (bounded && most > last && max != GRAMMAR_INF) most = last;
    if (last >= CONTAINS_NODES_MAX || most >= CONTAINS_NODES_MAX || (last + 1) * (most + 1) > CONTAINS_NODES_MAX) {
        schema_fail(x, ERR_LIMIT, c->leaf.path, "more than %d counts of items and of those that match",
                    CONTAINS_NODES_MAX);
        return;
    }
    int w = (int)most + 1;
    uint32_t *node = ARENA_NEW(&x->a, uint32_t, (size_t)(last + 1) * (size_t)w);
    const json_t *other = schema_keep(x, bounded ? json_pack("{s:O}", "not", c->leaf.s) : json_object());
    if (!node || !other) {
        schema_no_memory(x);
        return;
    }
    for (int64_t i = 0; i < (last + 1) * w; i++) node[i] = i ? grammar_node(g) : from;
    for (int i = 0; i <= last && !x->rc; i++) {
        if (i == last && max != GRAMMAR_INF) break;
        size_t place = (size_t)i < n_place ? (size_t)i : n_place;
        uint32_t match = item_and(x, l, place, c->leaf.s, c->leaf.path),
                 rest = item_and(x, l, place, other, c->leaf.path);
        uint32_t *next = node + (i < last ? i + 1 : i) * w;
        for (int k = 0; k < w && !x->rc; k++) {
            uint32_t at = node[i * w + k];
            if (i) at = schema_ws(x, grammar_literal(g, at, STR(",")));
            grammar_eps(g, grammar_call(g, at, rest), next[k]);
            if (k + 1 < w) grammar_eps(g, grammar_call(g, at, match), next[k + 1]);
        }
    }
    for (int i = min > 1 ? min : 1; i <= last; i++)
        for (int k = c->min; k < w; k++) grammar_eps(g, node[i * w + k], to);
}

void schema_array(struct schema *x, const struct leaves *l, uint32_t from, uint32_t to)
{
    struct grammar *g = x->g;
    size_t n_place = 0;
    int32_t min = 0, max = GRAMMAR_INF;
    const char *unique = NULL;
    for (int i = 0; i < l->n; i++) {
        const json_t *s = l->p[i].s;
        int32_t lo = schema_count(x, &l->p[i], "minItems", 0), hi = schema_count(x, &l->p[i], "maxItems", GRAMMAR_INF);
        if (lo > min) min = lo;
        if (hi < max) max = hi;
        if (json_array_size(places(s)) > n_place) n_place = json_array_size(places(s));
        if (json_is_true(json_object_get(s, "uniqueItems"))) unique = l->p[i].path;
        json_t *not_enum = json_object_get(s, KEY_NOT_ENUM), *v;
        size_t k;
        json_array_foreach(not_enum, k, v) if (json_is_array(v))
            schema_fail(x, ERR_UNSUPPORTED, l->p[i].path, "arrays that are left out are not supported");
    }
    if (n_place > PLACES_MAX)
        schema_fail(x, ERR_LIMIT, l->p[0].path, "more than %d items with a schema of their own", PLACES_MAX);
    if (x->rc || min > max) return;
    uint32_t at = schema_ws(x, grammar_literal(g, from, STR("["))), end = grammar_node(g);
    grammar_eps(g, grammar_literal(g, schema_ws(x, end), STR("]")), to);
    struct contained c = {0};
    bool counts = read_contains(x, l, &c);
    if (min == 0 && !(counts && c.min > 0)) grammar_eps(g, grammar_literal(g, at, STR("]")), to);
    if (max == 0 || x->rc) return;
    if (counts) {
        uint32_t first = grammar_node(g);
        if (unique && max > 1)
            schema_fail(x, ERR_UNSUPPORTED, unique,
                        "keyword 'uniqueItems' is not supported beside 'contains'");
        grammar_eps(g, at, first);
        containing(x, l, &c, n_place, min, max, first, end);
        return;
    }
    if (unique && max > 1 && !(n_place && places_differ(x, l, n_place, max))) {
        struct leaves item = item_leaves(x, l, 0);
        uint32_t first = grammar_node(g), done = grammar_node(g);
        if (n_place || !item.n || !schema_unique(x, &item, min > 1 ? min : 1, max, first, done)) {
            schema_fail(
                x, ERR_UNSUPPORTED, unique,
                "keyword 'uniqueItems' is supported for items of a short list of values: enum, const, boolean, null, or integers between "
                "bounds; give the items one of these, or the array maxItems 1");
            return;
        }
        grammar_eps(g, at, first);
        grammar_eps(g, done, end);
        return;
    }
    for (size_t i = 0; i < n_place && (int32_t)i < max; i++) {
        struct leaves item = item_leaves(x, l, i);
        uint32_t rule = item.n ? schema_rule(x, &item) : schema_value(x);
        if (i) {
            if ((int32_t)i >= min) grammar_eps(g, at, end);
            at = schema_ws(x, grammar_literal(g, at, STR(",")));
        }
        at = grammar_call(g, at, rule);
    }
    if ((int64_t)n_place >= max) {
        if (min <= max) grammar_eps(g, at, end);
        return;
    }
    struct leaves item = item_leaves(x, l, n_place);
    uint32_t rule = item.n ? schema_rule(x, &item) : schema_value(x);
    int32_t n = (int32_t)n_place, rest_min = min > n ? min - n : 0, rest_max = max == GRAMMAR_INF ? max : max - n;
    if (n == 0 && rest_min == 0) rest_min = 1; /* the empty array is another alternative */
    uint32_t list = rounds(x, rule, rest_min, rest_max, n == 0);
    if (!x->rc) grammar_eps(g, grammar_call(g, at, list), end);
}
