/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a grammar, and what is computed once when it is whole: classes of bytes that no edge tells apart, the least
 * bytes from each node to the end of its rule, and the refusal of rules that call themselves before reading anything.
 */
#include <stdlib.h>
#include "token/grammar/grammar_int.h"

int grammar_create(struct grammar **g, struct err *e)
{
    *g = calloc(1, sizeof **g);
    if (!*g) return err(e, ERR_MEMORY, "out of memory");
    atomic_init(&(*g)->refs, 1);
    arena_init(&(*g)->arena);
    grammar_node(*g); /* node 0 and edge 0 are nobody's */
    (*g)->n_edge = 1;
    (*g)->edge = arena_grow(&(*g)->arena, NULL, 0, &(*g)->cap_edge, sizeof *(*g)->edge);
    grammar_rule(*g, NULL);
    if ((*g)->edge && !(*g)->failed) return 0;
    grammar_unref(*g);
    *g = NULL;
    return err(e, ERR_MEMORY, "out of memory");
}

struct grammar *grammar_ref(struct grammar *g)
{
    atomic_fetch_add(&g->refs, 1);
    return g;
}

void grammar_unref(struct grammar *g)
{
    if (!g || atomic_fetch_sub(&g->refs, 1) != 1) return;
    mask_drop_all(g);
    arena_finish(&g->arena);
    free(g->frame);
    free(g->set_pool);
    free(g);
}

static bool grow(struct grammar *g, void **list, int n, int *cap, size_t size, int max)
{
    if (g->failed) return false;
    if (n >= max) {
        g->failed = ERR_LIMIT;
        return false;
    }
    void *p = arena_grow(&g->arena, *list, n, cap, size);
    if (!p) {
        g->failed = ERR_MEMORY;
        return false;
    }
    *list = p;
    return true;
}

#define GROW(g, list, n, cap, max) grow((g), (void **)&(g)->list, (g)->n, &(g)->cap, sizeof *(g)->list, (max))

uint32_t grammar_node(struct grammar *g)
{
    return GROW(g, node, n_node, cap_node, GRAMMAR_NODES_MAX) ? (uint32_t)g->n_node++ : 0;
}

uint32_t grammar_rule(struct grammar *g, const char *name)
{
    if (!GROW(g, rule, n_rule, cap_rule, GRAMMAR_RULES_MAX)) return 0;
    struct rule *r = &g->rule[g->n_rule];
    *r = (struct rule){.start = grammar_node(g), .final = grammar_node(g), .min = 0, .max = GRAMMAR_INF};
    if (name) r->name = arena_strdup(&g->arena, str_from(name));
    return (uint32_t)g->n_rule++;
}

void grammar_edge(struct grammar *g, uint32_t from, uint32_t to, enum edge_kind kind, uint32_t arg, bool count)
{
    if (!GROW(g, edge, n_edge, cap_edge, GRAMMAR_NODES_MAX * 4)) return;
    g->edge[g->n_edge] = (struct edge){to, g->node[from], arg, (uint8_t)kind, count};
    g->node[from] = (uint32_t)g->n_edge++;
}

void grammar_eps(struct grammar *g, uint32_t from, uint32_t to)
{
    grammar_edge(g, from, to, EDGE_EPS, 0, false);
}

static uint32_t find_set(struct grammar *g, const struct byte_set *s)
{
    for (int i = g->n_set - 1; i >= 0 && i >= g->n_set - 512; i--)
        if (memcmp(&g->set[i], s, sizeof *s) == 0) return (uint32_t)i;
    if (!GROW(g, set, n_set, cap_set, GRAMMAR_NODES_MAX)) return 0;
    g->set[g->n_set] = *s;
    return (uint32_t)g->n_set++;
}

void grammar_range(struct grammar *g, uint32_t from, uint32_t to, uint8_t lo, uint8_t hi, bool count)
{
    struct byte_set s = {{0}};
    for (unsigned b = lo; b <= hi; b++) s.w[b >> 6] |= (uint64_t)1 << (b & 63);
    grammar_edge(g, from, to, EDGE_BYTE, find_set(g, &s), count);
}

uint32_t grammar_literal(struct grammar *g, uint32_t from, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint32_t to = grammar_node(g);
        grammar_range(g, from, to, (uint8_t)s.p[i], (uint8_t)s.p[i], false);
        from = to;
    }
    return from;
}

uint32_t grammar_call(struct grammar *g, uint32_t from, uint32_t rule)
{
    uint32_t to = grammar_node(g);
    grammar_edge(g, from, to, EDGE_CALL, rule, false);
    return to;
}

int grammar_check(const struct grammar *g, struct err *e)
{
    if (!g->failed) return 0;
    if (g->failed == ERR_LIMIT)
        return err(
            e, ERR_LIMIT,
            "the grammar is too large: multiplied out it needs more than %d automaton nodes or %d rules; use smaller bounds or fewer alternatives",
            GRAMMAR_NODES_MAX, GRAMMAR_RULES_MAX);
    return err(e, g->failed, "out of memory");
}

/* --- once it is whole ------------------------------------------------------------------------------------- */

/* Bytes that are in the same sets get the same class: the partition is refined by one set after the other. */
static void find_classes(struct grammar *g)
{
    g->n_class = 1;
    for (int i = 0; i < g->n_set; i++) {
        int16_t in[256], n = (int16_t)g->n_class;
        bool out[256] = {false};
        for (int c = 0; c < 256; c++) in[c] = -1;
        for (int b = 0; b < 256; b++)
            if (!(g->set[i].w[b >> 6] >> (b & 63) & 1)) out[g->class_of[b]] = true;
        for (int b = 0; b < 256; b++) {
            int c = g->class_of[b];
            if (!(g->set[i].w[b >> 6] >> (b & 63) & 1) || !out[c]) continue;
            if (in[c] < 0) in[c] = n++;
            g->class_of[b] = (uint8_t)in[c];
        }
        g->n_class = n;
    }
    for (int b = 255; b >= 0; b--) g->class_byte[g->class_of[b]] = (uint8_t)b;
}

static int32_t add_dist(int32_t a, int32_t b)
{
    return a >= GRAMMAR_FAR || b >= GRAMMAR_FAR || a + b >= GRAMMAR_FAR ? GRAMMAR_FAR : a + b;
}

/* Least bytes of one counted round: an item and the comma before it, or one byte. */
int32_t grammar_round_dist(const struct grammar *g, const struct rule *r)
{
    return r->item ? add_dist(1, grammar_rule_dist(g, r->item)) : 1;
}

int32_t grammar_rule_dist(const struct grammar *g, uint32_t rule)
{
    const struct rule *r = &g->rule[rule];
    if (!r->min) return g->node_dist[r->start];
    int64_t rounds = (int64_t)r->min * grammar_round_dist(g, r);
    return add_dist(g->node_dist[r->start], rounds >= GRAMMAR_FAR ? GRAMMAR_FAR : (int32_t)rounds);
}

/*
 * Shortest ways to the end of each rule, for all rules at once: nodes are settled in the order of their
 * distance (Knuth 1977, "A generalization of Dijkstra's algorithm"). A call costs what its rule costs, so it
 * is looked at again when the rule's start is settled.
 */
struct settling {
    struct grammar *g;
    uint32_t *into, *into_at;   /* edges by the node they lead to: into[into_at[n] .. into_at[n + 1]) */
    uint32_t *from;             /* [n_edge] node of each edge */
    uint32_t *calls, *calls_at; /* call edges by rule */
    uint32_t *rule_next, *rule_of; /* rules by start node; 0 ends */
    uint32_t *item_next, *item_of; /* counted rules by the rule of their items */
    bool *done;                 /* [n_node] */
    uint32_t *heap;             /* [cap] nodes; one may be in it several times, the settled ones are skipped */
    int32_t *heap_dist;
    int n_heap, cap_heap, cap_dist;
};

static bool heap_push(struct settling *x, uint32_t node, int32_t dist, struct arena *a)
{
    x->heap = arena_grow(a, x->heap, x->n_heap, &x->cap_heap, sizeof *x->heap);
    x->heap_dist = arena_grow(a, x->heap_dist, x->n_heap, &x->cap_dist, sizeof *x->heap_dist);
    if (!x->heap || !x->heap_dist) return false;
    int i = x->n_heap++;
    for (; i > 0 && x->heap_dist[(i - 1) / 2] > dist; i = (i - 1) / 2) {
        x->heap[i] = x->heap[(i - 1) / 2];
        x->heap_dist[i] = x->heap_dist[(i - 1) / 2];
    }
    x->heap[i] = node;
    x->heap_dist[i] = dist;
    return true;
}

static uint32_t heap_pop(struct settling *x)
{
    uint32_t top = x->heap[0], node = x->heap[--x->n_heap];
    int32_t dist = x->heap_dist[x->n_heap];
    int i = 0;
    for (int k; (k = 2 * i + 1) < x->n_heap; i = k) {
        if (k + 1 < x->n_heap && x->heap_dist[k + 1] < x->heap_dist[k]) k++;
        if (x->heap_dist[k] >= dist) break;
        x->heap[i] = x->heap[k];
        x->heap_dist[i] = x->heap_dist[k];
    }
    x->heap[i] = node;
    x->heap_dist[i] = dist;
    return top;
}

/* An edge whose end is settled. */
static bool relax(struct settling *x, uint32_t k, struct arena *a)
{
    struct grammar *g = x->g;
    const struct edge *d = &g->edge[k];
    int32_t cost = d->kind == EDGE_BYTE ? 1 : 0;
    if (d->kind == EDGE_CALL) {
        const struct rule *r = &g->rule[d->arg];
        if (!x->done[r->start] || (r->min && r->item && !x->done[g->rule[r->item].start])) return true;
        cost = grammar_rule_dist(g, d->arg);
    }
    cost = add_dist(cost, g->node_dist[d->to]);
    if (cost >= g->node_dist[x->from[k]]) return true;
    g->node_dist[x->from[k]] = cost;
    return heap_push(x, x->from[k], cost, a);
}

static bool relax_calls(struct settling *x, uint32_t rule, struct arena *a)
{
    bool ok = true;
    for (uint32_t i = x->calls_at[rule]; ok && i < x->calls_at[rule + 1]; i++)
        if (x->done[x->g->edge[x->calls[i]].to]) ok = relax(x, x->calls[i], a);
    return ok;
}

/* Numbers of edges sorted by key (below n_keys): counted, then placed. */
static bool sort_edges(const struct grammar *g, struct arena *a, bool by_rule, int n_keys, uint32_t **list,
                       uint32_t **at)
{
    *list = ARENA_NEW(a, uint32_t, (size_t)g->n_edge);
    *at = ARENA_NEW(a, uint32_t, (size_t)n_keys + 2);
    if (!*list || !*at) return false;
    for (int pass = 0; pass < 2; pass++) {
        for (int k = 1; k < g->n_edge; k++) {
            if (by_rule && g->edge[k].kind != EDGE_CALL) continue;
            uint32_t key = by_rule ? g->edge[k].arg : g->edge[k].to;
            if (pass) (*list)[(*at)[key + 1]++] = (uint32_t)k;
            else (*at)[key + 2]++;
        }
        for (int i = 2; i < n_keys + 2 && !pass; i++) (*at)[i] += (*at)[i - 1];
    }
    return true;
}

static int find_distances(struct grammar *g, struct err *e)
{
    struct arena a;
    arena_init(&a);
    struct settling x = {.g = g,
                         .from = ARENA_NEW(&a, uint32_t, (size_t)g->n_edge),
                         .done = ARENA_NEW(&a, bool, (size_t)g->n_node),
                         .rule_next = ARENA_NEW(&a, uint32_t, (size_t)g->n_rule),
                         .rule_of = ARENA_NEW(&a, uint32_t, (size_t)g->n_node),
                         .item_next = ARENA_NEW(&a, uint32_t, (size_t)g->n_rule),
                         .item_of = ARENA_NEW(&a, uint32_t, (size_t)g->n_rule)};
    bool ok = x.from && x.done && x.rule_next && x.rule_of && x.item_next && x.item_of &&
              sort_edges(g, &a, false, g->n_node, &x.into, &x.into_at) &&
              sort_edges(g, &a, true, g->n_rule, &x.calls, &x.calls_at);
    for (int i = 0; ok && i < g->n_node; i++) {
        g->node_dist[i] = GRAMMAR_FAR;
        for (uint32_t k = g->node[i]; k; k = g->edge[k].next) x.from[k] = (uint32_t)i;
    }
    for (int r = 1; ok && r < g->n_rule; r++) {
        struct rule *rule = &g->rule[r];
        x.rule_next[r] = x.rule_of[rule->start];
        x.rule_of[rule->start] = (uint32_t)r;
        if (rule->item) {
            x.item_next[r] = x.item_of[rule->item];
            x.item_of[rule->item] = (uint32_t)r;
        }
        g->node_dist[rule->final] = 0;
        ok = heap_push(&x, rule->final, 0, &a);
    }
    while (ok && x.n_heap) {
        uint32_t n = heap_pop(&x);
        if (x.done[n]) continue;
        x.done[n] = true;
        for (uint32_t i = x.into_at[n]; ok && i < x.into_at[n + 1]; i++) ok = relax(&x, x.into[i], &a);
        for (uint32_t r = x.rule_of[n]; ok && r; r = x.rule_next[r]) {
            ok = relax_calls(&x, r, &a);
            for (uint32_t c = x.item_of[r]; ok && c; c = x.item_next[c]) ok = relax_calls(&x, c, &a);
        }
    }
    arena_finish(&a);
    return ok ? 0 : err(e, ERR_MEMORY, "out of memory");
}

/* A rule that can be called again by itself with no byte read in between would push for ever. Depth first over
 * (rule -> rules it may call at its start); nullable callees let the search go on behind them. */
struct recursion {
    struct grammar *g;
    uint8_t *state;   /* [n_rule] 0 new, 1 on the way, 2 done */
    uint32_t *seen;   /* [n_node] stamp */
    uint32_t stamp;
};

static bool rule_empty(const struct grammar *g, uint32_t r)
{
    return grammar_rule_dist(g, r) == 0;
}

/* The rules that rule r may call before it has read a byte, collected in list. */
static int first_calls(struct recursion *x, uint32_t r, uint32_t *list)
{
    struct grammar *g = x->g;
    int n = 0, n_work = 0;
    uint32_t stamp = ++x->stamp;
    g->work[n_work++] = g->rule[r].start;
    x->seen[g->rule[r].start] = stamp;
    while (n_work) {
        uint32_t at = g->work[--n_work];
        for (uint32_t k = g->node[at]; k; k = g->edge[k].next) {
            const struct edge *d = &g->edge[k];
            if (d->kind == EDGE_BYTE) continue;
            if (d->kind == EDGE_CALL) {
                list[n++] = d->arg;
                if (!rule_empty(g, d->arg)) continue;
            }
            if (x->seen[d->to] == stamp) continue;
            x->seen[d->to] = stamp;
            g->work[n_work++] = d->to;
        }
    }
    return n;
}

static int find_left_recursion(struct grammar *g, struct err *e)
{
    struct arena a;
    arena_init(&a);
    struct recursion x = {g, ARENA_NEW(&a, uint8_t, (size_t)g->n_rule + 1),
                          ARENA_NEW(&a, uint32_t, (size_t)g->n_node), 0};
    uint32_t *list = ARENA_NEW(&a, uint32_t, (size_t)g->n_edge + 1);
    struct level {
        uint32_t rule, at, n, *call;
    } *way = ARENA_NEW(&a, struct level, (size_t)g->n_rule + 1);
    int rc = x.state && x.seen && list && way ? 0 : err(e, ERR_MEMORY, "out of memory");
    for (int r = 1; !rc && r < g->n_rule; r++) {
        int depth = 0;
        uint32_t enter = (uint32_t)r;
        if (x.state[r]) continue;
        for (;;) {
            if (enter != UINT32_MAX) {
                int n = first_calls(&x, enter, list);
                struct level *l = &way[depth++];
                *l = (struct level){enter, 0, (uint32_t)n, ARENA_NEW(&a, uint32_t, (size_t)n)};
                if (!l->call) {
                    rc = err(e, ERR_MEMORY, "out of memory");
                    break;
                }
                if (n) memcpy(l->call, list, (size_t)n * sizeof *list);
                x.state[enter] = 1;
                enter = UINT32_MAX;
            }
            struct level *l = &way[depth - 1];
            if (l->at == l->n) {
                x.state[l->rule] = 2;
                if (--depth == 0) break;
                continue;
            }
            uint32_t c = l->call[l->at++];
            if (x.state[c] == 1) {
                const char *name = g->rule[c].name;
                rc = err(
                    e, ERR_UNSUPPORTED,
                    "rule '%s' can call itself before anything is read (left recursion): write it as a repetition",
                    name ? name : "?");
                break;
            }
            if (!x.state[c]) enter = c;
        }
    }
    arena_finish(&a);
    return rc;
}

static int finish(struct grammar *g, uint32_t root, struct err *e)
{
    int rc = grammar_check(g, e);
    if (rc) return rc;
    g->root = root;
    g->node_dist = ARENA_NEW(&g->arena, int32_t, (size_t)g->n_node);
    g->mark = ARENA_NEW(&g->arena, uint32_t, (size_t)g->n_node);
    g->work = ARENA_NEW(&g->arena, uint32_t, (size_t)g->n_node);
    g->frame_hash_mask = (1u << 12) - 1;
    g->frame_hash = ARENA_NEW(&g->arena, uint32_t, g->frame_hash_mask + 1);
    if (!g->node_dist || !g->mark || !g->work || !g->frame_hash) return err(e, ERR_MEMORY, "out of memory");
    find_classes(g);
    if ((rc = find_distances(g, e))) return rc;
    if (grammar_rule_dist(g, root) >= GRAMMAR_FAR) return err(e, ERR_USAGE, "no text satisfies the grammar");
    return find_left_recursion(g, e);
}

int grammar_finish(struct grammar **g, uint32_t root, struct err *e)
{
    int rc = finish(*g, root, e);
    if (rc) {
        grammar_unref(*g);
        *g = NULL;
    }
    return rc;
}
