/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: sets of nodes of one rule, found when use first meets them (subset construction). Only nodes that matter are
 * kept in a set: those with edges by a byte or a call, and the final one. Nodes from which the rule cannot end are left
 * out, so what a frame allows can always be finished.
 */
#include <stdlib.h>
#include "token/grammar/grammar_int.h"

static int fail(struct grammar *g, int code, const char *what, int max)
{
    if (!g->error.code) {
        if (code == ERR_MEMORY)
            err(&g->error, code, "out of memory");
        else
            err(&g->error, code, "the grammar is too complex for this text: more than %d %s", max, what);
    }
    return code;
}

static bool grow_heap(void **list, int n, int more, int *cap, size_t size)
{
    if (n + more <= *cap) return true;
    int bigger = *cap ? 2 * *cap : 1024;
    while (bigger < n + more) bigger *= 2;
    void *p = realloc(*list, (size_t)bigger * size);
    if (!p) return false;
    *list = p;
    *cap = bigger;
    return true;
}

static uint32_t hash_frame(const uint32_t *node, int n, int32_t min, int32_t max, bool final)
{
    uint64_t h = (uint64_t)(uint32_t)min << 32 | (uint32_t)max;
    h = (h ^ final) * 0x9E3779B97F4A7C15u;
    for (int i = 0; i < n; i++) h = (h ^ node[i] ^ h >> 29) * 0xBF58476D1CE4E5B9u;
    return (uint32_t)(h >> 32);
}

static void rehash(struct grammar *g)
{
    uint32_t mask = g->frame_hash_mask * 2 + 1, *bigger = ARENA_NEW(&g->arena, uint32_t, mask + 1);
    if (!bigger) return; /* longer chains */
    for (uint32_t i = FRAME_FIRST; i < (uint32_t)g->n_frame; i++) {
        struct frame *f = &g->frame[i];
        uint32_t h = hash_frame(g->set_pool + f->nodes, (int)f->n_nodes, f->min, f->max, f->final) & mask;
        f->hash_next = bigger[h];
        bigger[h] = i;
    }
    g->frame_hash = bigger;
    g->frame_hash_mask = mask;
}

static int compare_node(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The frame of a set of nodes that is closed already; FRAME_NONE when it cannot end, FRAME_UNKNOWN on a failure. */
static uint32_t intern(struct grammar *g, uint32_t rule, uint32_t *node, int n, int32_t min, int32_t max,
                       bool final, int32_t dist)
{
    if (n == 0 && !final) return FRAME_NONE;
    if (dist >= GRAMMAR_FAR) return FRAME_NONE;
    if (n > 1) qsort(node, (size_t)n, sizeof *node, compare_node);
    uint32_t h = hash_frame(node, n, min, max, final);
    for (uint32_t i = g->frame_hash[h & g->frame_hash_mask]; i; i = g->frame[i].hash_next) {
        const struct frame *f = &g->frame[i];
        if (f->n_nodes == (uint32_t)n && f->min == min && f->max == max && f->final == final &&
            (n == 0 || memcmp(g->set_pool + f->nodes, node, (size_t)n * sizeof *node) == 0))
            return i;
    }
    if (g->n_frame < FRAME_FIRST) g->n_frame = FRAME_FIRST;
    if (g->n_frame >= GRAMMAR_FRAMES_MAX)
        return fail(g, ERR_LIMIT, "automaton states", GRAMMAR_FRAMES_MAX), FRAME_UNKNOWN;
    if (!grow_heap((void **)&g->frame, g->n_frame, 1, &g->cap_frame, sizeof *g->frame) ||
        !grow_heap((void **)&g->set_pool, g->n_pool, n, &g->cap_pool, sizeof *g->set_pool))
        return fail(g, ERR_MEMORY, NULL, 0), FRAME_UNKNOWN;
    uint32_t id = (uint32_t)g->n_frame++;
    struct frame *f = &g->frame[id];
    *f = (struct frame){.nodes = (uint32_t)g->n_pool,
                        .n_nodes = (uint32_t)n,
                        .min = min,
                        .max = max,
                        .final = final,
                        .dist = dist,
                        .rule = rule};
    if (n) memcpy(g->set_pool + g->n_pool, node, (size_t)n * sizeof *node);
    g->n_pool += n;
    for (int i = 0; i < n; i++)
        for (uint32_t k = g->node[node[i]]; k; k = g->edge[k].next) {
            if (g->edge[k].kind == EDGE_BYTE) f->has_bytes = true;
            if (g->edge[k].kind == EDGE_CALL) f->has_calls = true;
        }
    f->hash_next = g->frame_hash[h & g->frame_hash_mask];
    g->frame_hash[h & g->frame_hash_mask] = id;
    if ((uint32_t)g->n_frame > g->frame_hash_mask) rehash(g);
    return id;
}

/* Closes the n nodes in g->work over edges that need no byte and interns the result. Nodes come out of a list that
 * grows at its end; what matters is moved to its front. */
static uint32_t close_frame(struct grammar *g, uint32_t rule, int n, int32_t min, int32_t max)
{
    int n_keep = 0;
    bool final = false;
    int64_t dist = GRAMMAR_FAR;
    for (int i = 0; i < n; i++) {
        uint32_t at = g->work[i];
        bool keep = false;
        if (at == g->rule[rule].final) final = true;
        if (g->node_dist[at] < dist) dist = g->node_dist[at];
        for (uint32_t k = g->node[at]; k; k = g->edge[k].next) {
            const struct edge *d = &g->edge[k];
            if (d->kind == EDGE_BYTE || d->kind == EDGE_CALL) keep = true;
            if (d->kind == EDGE_BYTE || d->kind == EDGE_CALL || (d->kind == EDGE_MORE && !max) ||
                (d->kind == EDGE_DONE && min))
                continue;
            if (g->mark[d->to] == g->stamp || g->node_dist[d->to] >= GRAMMAR_FAR) continue;
            g->mark[d->to] = g->stamp;
            g->work[n++] = d->to;
        }
        if (keep) g->work[n_keep++] = at;
    }
    if (min) dist += (int64_t)min * grammar_round_dist(g, &g->rule[rule]);
    return intern(g, rule, g->work, n_keep, min, max, final, dist >= GRAMMAR_FAR ? GRAMMAR_FAR : (int32_t)dist);
}

static void begin_closure(struct grammar *g)
{
    if (++g->stamp == 0) {
        memset(g->mark, 0, (size_t)g->n_node * sizeof *g->mark);
        g->stamp = 1;
    }
}

static int add_node(struct grammar *g, uint32_t node, int n)
{
    if (g->mark[node] == g->stamp || g->node_dist[node] >= GRAMMAR_FAR) return n;
    g->mark[node] = g->stamp;
    g->work[n] = node;
    return n + 1;
}

uint32_t frame_start(struct grammar *g, uint32_t rule)
{
    struct rule *r = &g->rule[rule];
    if (!r->frame) {
        begin_closure(g);
        int n = add_node(g, r->start, 0);
        r->frame = close_frame(g, rule, n, r->min, r->max);
    }
    return r->frame;
}

static int32_t count_down(int32_t n)
{
    return n == GRAMMAR_INF || n == 0 ? n : n - 1;
}

uint32_t frame_next(struct grammar *g, uint32_t id, uint8_t byte)
{
    struct frame *f = &g->frame[id];
    unsigned c = g->class_of[byte];
    if (!f->has_bytes) return FRAME_NONE;
    if (!f->next && !(f->next = ARENA_NEW(&g->arena, uint32_t, (size_t)g->n_class)))
        return fail(g, ERR_MEMORY, NULL, 0), FRAME_UNKNOWN;
    if (f->next[c]) return f->next[c];
    uint8_t b = g->class_byte[c];
    bool count = false;
    int n = 0;
    begin_closure(g);
    for (uint32_t i = 0; i < f->n_nodes; i++)
        for (uint32_t k = g->node[g->set_pool[f->nodes + i]]; k; k = g->edge[k].next) {
            const struct edge *d = &g->edge[k];
            if (d->kind != EDGE_BYTE || !(g->set[d->arg].w[b >> 6] >> (b & 63) & 1)) continue;
            count |= d->count;
            n = add_node(g, d->to, n);
        }
    uint32_t to = FRAME_NONE;
    if (n) to = close_frame(g, f->rule, n, count ? count_down(f->min) : f->min, count ? count_down(f->max) : f->max);
    g->frame[id].next[c] = to;
    return to;
}

/* Calls of a frame, one for each rule called; where several edges call the same rule, what follows is their union. */
int frame_expand(struct grammar *g, uint32_t id)
{
    struct frame *f = &g->frame[id];
    if (f->expanded || !f->has_calls) return 0;
    uint32_t n_calls = 0;
    for (uint32_t i = 0; i < f->n_nodes; i++)
        for (uint32_t k = g->node[g->set_pool[f->nodes + i]]; k; k = g->edge[k].next)
            n_calls += g->edge[k].kind == EDGE_CALL;
    struct frame_call *call = ARENA_NEW(&g->arena, struct frame_call, n_calls);
    uint32_t *rule = ARENA_NEW(&g->arena, uint32_t, n_calls), n = 0;
    if (!call || !rule) return fail(g, ERR_MEMORY, NULL, 0);
    for (uint32_t i = 0; i < f->n_nodes; i++)
        for (uint32_t k = g->node[g->set_pool[f->nodes + i]]; k; k = g->edge[k].next) {
            uint32_t r = g->edge[k].arg, at = 0;
            if (g->edge[k].kind != EDGE_CALL) continue;
            while (at < n && rule[at] != r) at++;
            if (at == n) rule[n++] = r;
        }
    uint32_t n_used = 0;
    for (uint32_t j = 0; j < n; j++) {
        bool count = false;
        int m = 0;
        uint32_t start = frame_start(g, rule[j]); /* may move g->frame */
        if (start == FRAME_UNKNOWN) return g->error.code;
        if (start == FRAME_NONE) continue;
        f = &g->frame[id];
        begin_closure(g);
        for (uint32_t i = 0; i < f->n_nodes; i++)
            for (uint32_t k = g->node[g->set_pool[f->nodes + i]]; k; k = g->edge[k].next) {
                const struct edge *d = &g->edge[k];
                if (d->kind != EDGE_CALL || d->arg != rule[j]) continue;
                count |= d->count;
                m = add_node(g, d->to, m);
            }
        uint32_t after = close_frame(g, f->rule, m, count ? count_down(f->min) : f->min,
                                     count ? count_down(f->max) : f->max);
        if (after == FRAME_UNKNOWN) return g->error.code;
        if (after == FRAME_NONE) continue;
        bool last = g->frame[after].final && !g->frame[after].n_nodes;
        call[n_used++] = (struct frame_call){start, last ? 0 : after};
    }
    f = &g->frame[id];
    f->call = call;
    f->n_call = n_used;
    f->expanded = true;
    return 0;
}

uint32_t frame_clamped(struct grammar *g, uint32_t id, int32_t far)
{
    const struct frame *f = &g->frame[id];
    int32_t min = f->min > far ? far : f->min, max = f->max > far ? GRAMMAR_INF : f->max;
    if (min == f->min && max == f->max) return id;
    memcpy(g->work, g->set_pool + f->nodes, f->n_nodes * sizeof *g->work);
    int64_t dist = f->dist - (int64_t)(f->min - min) * grammar_round_dist(g, &g->rule[f->rule]);
    return intern(g, f->rule, g->work, (int)f->n_nodes, min, max, f->final, (int32_t)dist);
}
