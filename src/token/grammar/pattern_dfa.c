/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deterministic automata over code points: made where languages are intersected, complemented or cut to lengths. Every
 * operation ends with `trim`, which drops states that no accepted text passes, so that a state always has a way to the
 * end. Sizes are bounded by DFA_CELLS_MAX.
 */
#include <stdlib.h>
#include "base/utf8.h"
#include "token/grammar/pattern.h"

static int too_large(struct err *e)
{
    return err(
        e, ERR_LIMIT,
        "a combination of patterns and lengths needs an automaton of more than %d entries; use simpler patterns or smaller lengths",
        DFA_CELLS_MAX);
}

static int no_memory(struct err *e)
{
    return err(e, ERR_MEMORY, "out of memory");
}

static struct dfa *new_dfa(struct arena *a, int n_state, int n_interval, const uint32_t *from, struct err *e, int *rc)
{
    struct dfa *d = ARENA_NEW(a, struct dfa, 1);
    if ((int64_t)n_state * n_interval > DFA_CELLS_MAX) {
        *rc = too_large(e);
        return NULL;
    }
    size_t cells = (size_t)n_state * (size_t)n_interval;
    if (d)
        *d = (struct dfa){n_state, n_interval, from, ARENA_NEW(a, int32_t, cells),
                          ARENA_NEW(a, bool, (size_t)n_state)};
    if (d && d->next && d->accept) return d;
    *rc = no_memory(e);
    return NULL;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int unique(uint32_t *list, int n)
{
    int k = 0;
    qsort(list, (size_t)n, sizeof *list, compare_u32);
    for (int i = 0; i < n; i++)
        if (!k || list[i] != list[k - 1]) list[k++] = list[i];
    return k;
}

/* States from which an accepting one can be reached, found backwards over transitions sorted by where they lead. */
static int find_live(struct arena *a, const struct dfa *d, bool *live, int32_t *work)
{
    int n = d->n_state, m = d->n_interval, n_work = 0;
    int32_t *at = ARENA_NEW(a, int32_t, (size_t)n + 2), *from = ARENA_NEW(a, int32_t, (size_t)n * (size_t)m);
    if (!at || !from) return ERR_MEMORY;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n * m; i++) {
            if (d->next[i] < 0) continue;
            if (pass) from[at[d->next[i] + 1]++] = i / m;
            else at[d->next[i] + 2]++;
        }
        for (int i = 2; i < n + 2 && !pass; i++) at[i] += at[i - 1];
    }
    for (int i = 0; i < n; i++)
        if ((live[i] = d->accept[i])) work[n_work++] = i;
    while (n_work) {
        int32_t to = work[--n_work];
        for (int32_t i = at[to]; i < at[to + 1]; i++) {
            if (live[from[i]]) continue;
            live[from[i]] = true;
            work[n_work++] = from[i];
        }
    }
    return 0;
}

/* The same automaton without states that are not on a way from the start to an accepting one. The start stays. */
static int trim(struct arena *a, const struct dfa *d, struct dfa **out, struct err *e)
{
    int n = d->n_state, m = d->n_interval, rc = 0, n_work = 0, n_keep = 0;
    bool *live = ARENA_NEW(a, bool, (size_t)n), *seen = ARENA_NEW(a, bool, (size_t)n);
    int32_t *work = ARENA_NEW(a, int32_t, (size_t)n), *name = ARENA_NEW(a, int32_t, (size_t)n);
    if (!live || !seen || !work || !name) return no_memory(e);
    if (find_live(a, d, live, work)) return no_memory(e);
    work[n_work++] = 0;
    seen[0] = true;
    for (int i = 0; i < n_work; i++) { /* work keeps the order in which they are met */
        name[work[i]] = n_keep++;
        for (int k = 0; k < m; k++) {
            int32_t to = d->next[work[i] * m + k];
            if (to < 0 || !live[to] || seen[to]) continue;
            seen[to] = true;
            work[n_work++] = to;
        }
    }
    struct dfa *t = new_dfa(a, n_keep, m, d->from, e, &rc);
    if (rc) return rc;
    for (int i = 0; i < n_keep; i++) {
        t->accept[i] = d->accept[work[i]];
        for (int k = 0; k < m; k++) {
            int32_t to = d->next[work[i] * m + k];
            t->next[i * m + k] = to >= 0 && live[to] ? name[to] : -1;
        }
    }
    *out = t;
    return 0;
}

/* --- from a pattern --------------------------------------------------------------------------------------- */

enum { SLOTS_FIRST = 256 };

struct subset {
    int at, n; /* in pool */
    uint32_t hash;
    int32_t next; /* in the same slot */
};

struct making {
    struct arena *a;
    const struct pattern *p;
    int32_t *pool;
    struct subset *sub;
    int n_pool, cap_pool, n_sub, cap_sub;
    int32_t *slot; /* [n_slot] the last subset of each, counted from 1; 0: none */
    int n_slot;
    bool *seen;
    int32_t *work;
};

/* Twice as many slots, when there are as many subsets. */
static bool grow_slots(struct making *x)
{
    int n = x->n_slot ? 2 * x->n_slot : SLOTS_FIRST;
    int32_t *slot = ARENA_NEW(x->a, int32_t, (size_t)n);
    if (!slot) return false;
    for (int32_t i = 0; i < x->n_sub; i++) {
        int32_t *at = &slot[x->sub[i].hash & (uint32_t)(n - 1)];
        x->sub[i].next = *at;
        *at = i + 1;
    }
    x->slot = slot;
    x->n_slot = n;
    return true;
}

/* The state of the closed, ordered nodes work[0..n): -1 when there are none. */
static int32_t find_state(struct making *x, int n)
{
    uint32_t h = 2166136261u;
    if (!n) return -1;
    for (int i = 0; i < n; i++) h = (h ^ (uint32_t)x->work[i]) * 16777619u;
    h ^= h >> 15;
    if (x->n_sub == x->n_slot && !grow_slots(x)) return -2;
    for (int32_t i = x->slot[h & (uint32_t)(x->n_slot - 1)]; i; i = x->sub[i - 1].next)
        if (x->sub[i - 1].hash == h && x->sub[i - 1].n == n &&
            memcmp(x->pool + x->sub[i - 1].at, x->work, (size_t)n * sizeof *x->work) == 0)
            return i - 1;
    x->sub = arena_grow(x->a, x->sub, x->n_sub, &x->cap_sub, sizeof *x->sub);
    if (!x->sub) return -2;
    int32_t *slot = &x->slot[h & (uint32_t)(x->n_slot - 1)];
    x->sub[x->n_sub] = (struct subset){x->n_pool, n, h, *slot};
    for (int i = 0; i < n; i++) {
        x->pool = arena_grow(x->a, x->pool, x->n_pool, &x->cap_pool, sizeof *x->pool);
        if (!x->pool) return -2;
        x->pool[x->n_pool++] = x->work[i];
    }
    *slot = ++x->n_sub;
    return x->n_sub - 1;
}

static int compare_i32(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* Closes work[0..n) over edges without a code point; nodes without any edge stay if they accept. */
static int32_t close_state(struct making *x, int n)
{
    const struct pattern *p = x->p;
    int keep = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2; k++) {
            int32_t to = p->node[x->work[i]].eps[k];
            if (to < 0 || x->seen[to]) continue;
            x->seen[to] = true;
            x->work[n++] = to;
        }
    for (int i = 0; i < n; i++) x->seen[x->work[i]] = false;
    for (int i = 0; i < n; i++)
        if (p->node[x->work[i]].set >= 0 || p->node[x->work[i]].accept) x->work[keep++] = x->work[i];
    qsort(x->work, (size_t)keep, sizeof *x->work, compare_i32);
    return find_state(x, keep);
}

int dfa_of_pattern(struct arena *a, const struct pattern *p, struct dfa **out, struct err *e)
{
    int rc = 0, n_cut = 1, cap = 2;
    for (int i = 0; i < p->n_set; i++) cap += 2 * p->set[i].n;
    uint32_t *cut = ARENA_NEW(a, uint32_t, (size_t)cap);
    struct making *x = ARENA_NEW(a, struct making, 1);
    if (!cut || !x) return no_memory(e);
    for (int i = 0; i < p->n_set; i++)
        for (int k = 0; k < p->set[i].n; k++) {
            cut[n_cut++] = p->set[i].r[k].lo;
            if (p->set[i].r[k].hi < CSET_LAST) cut[n_cut++] = p->set[i].r[k].hi + 1;
        }
    int m = unique(cut, n_cut);
    bool *in = ARENA_NEW(a, bool, (size_t)p->n_set * (size_t)m + 1); /* set contains interval */
    *x = (struct making){.a = a,
                         .p = p,
                         .seen = ARENA_NEW(a, bool, (size_t)p->n_node),
                         .work = ARENA_NEW(a, int32_t, (size_t)p->n_node + 1)};
    if (!in || !x->seen || !x->work) return no_memory(e);
    for (int i = 0; i < p->n_set; i++)
        for (int k = 0; k < m; k++) in[i * m + k] = cset_has(p->set[i], cut[k]);
    /* The start is a state of its own: what ^ lets pass belongs to it alone, and whether the empty text matches. */
    int32_t *next = NULL;
    int cap_next = 0, n_next = 0;
    for (int state = -1; state < x->n_sub; state++) {
        if ((int64_t)(x->n_sub + 1) * m > DFA_CELLS_MAX) return too_large(e);
        for (int k = 0; k < m; k++) {
            const int32_t *node = state < 0 ? p->start : x->pool + x->sub[state].at;
            int n_node = state < 0 ? p->n_start : x->sub[state].n, n = 0;
            for (int i = 0; i < n_node; i++) {
                const struct pattern_node *q = &p->node[node[i]];
                if (q->set < 0 || !in[q->set * m + k] || x->seen[q->to]) continue;
                x->seen[q->to] = true;
                x->work[n++] = q->to;
            }
            int32_t to = close_state(x, n);
            next = to == -2 ? NULL : arena_grow(a, next, n_next, &cap_next, sizeof *next);
            if (!next) return no_memory(e);
            next[n_next++] = to < 0 ? -1 : to + 1;
        }
    }
    struct dfa *d = new_dfa(a, x->n_sub + 1, m, cut, e, &rc);
    if (rc) return rc;
    memcpy(d->next, next, (size_t)n_next * sizeof *next);
    d->accept[0] = p->empty;
    for (int i = 0; i < x->n_sub; i++)
        for (int k = 0; k < x->sub[i].n; k++) d->accept[i + 1] |= p->node[x->pool[x->sub[i].at + k]].accept;
    return trim(a, d, out, e);
}

/* --- operations ------------------------------------------------------------------------------------------- */

int dfa_not(struct arena *a, const struct dfa *d, struct dfa **out, struct err *e)
{
    int rc = 0, m = d->n_interval, sink = d->n_state;
    struct dfa *t = new_dfa(a, d->n_state + 1, m, d->from, e, &rc);
    if (rc) return rc;
    for (int i = 0; i <= sink; i++) {
        t->accept[i] = i == sink || !d->accept[i];
        for (int k = 0; k < m; k++)
            t->next[i * m + k] = i == sink || d->next[i * m + k] < 0 ? sink : d->next[i * m + k];
    }
    return trim(a, t, out, e);
}

int dfa_and(struct arena *a, const struct dfa *x, const struct dfa *y, struct dfa **out, struct err *e)
{
    int rc = 0, m = 0, cap_pair = 0, n_pair = 0, cap_next = 0, n_next = 0;
    uint32_t *cut = ARENA_NEW(a, uint32_t, (size_t)x->n_interval + (size_t)y->n_interval);
    int64_t cells = (int64_t)x->n_state * y->n_state;
    if (cells > DFA_CELLS_MAX) return too_large(e);
    int32_t *name = ARENA_NEW(a, int32_t, (size_t)cells), *next = NULL, *pair = NULL;
    if (!cut || !name) return no_memory(e);
    memcpy(cut, x->from, (size_t)x->n_interval * sizeof *cut);
    memcpy(cut + x->n_interval, y->from, (size_t)y->n_interval * sizeof *cut);
    m = unique(cut, x->n_interval + y->n_interval);
    int *ix = ARENA_NEW(a, int, (size_t)m), *iy = ARENA_NEW(a, int, (size_t)m);
    if (!ix || !iy || !(pair = arena_grow(a, NULL, 0, &cap_pair, sizeof *pair))) return no_memory(e);
    for (int k = 0; k < m; k++) {
        ix[k] = k ? ix[k - 1] : 0;
        iy[k] = k ? iy[k - 1] : 0;
        while (ix[k] + 1 < x->n_interval && x->from[ix[k] + 1] <= cut[k]) ix[k]++;
        while (iy[k] + 1 < y->n_interval && y->from[iy[k] + 1] <= cut[k]) iy[k]++;
    }
    pair[n_pair++] = 0;
    name[0] = 1;
    for (int i = 0; i < n_pair; i++) {
        int px = pair[i] / y->n_state, py = pair[i] % y->n_state;
        if ((int64_t)n_pair * m > DFA_CELLS_MAX) return too_large(e);
        for (int k = 0; k < m; k++) {
            int32_t tx = x->next[px * x->n_interval + ix[k]], ty = y->next[py * y->n_interval + iy[k]], to = -1;
            if (tx >= 0 && ty >= 0) {
                int32_t key = tx * y->n_state + ty;
                if (!name[key]) {
                    pair = arena_grow(a, pair, n_pair, &cap_pair, sizeof *pair);
                    if (!pair) return no_memory(e);
                    pair[n_pair++] = key;
                    name[key] = n_pair;
                }
                to = name[key] - 1;
            }
            next = arena_grow(a, next, n_next, &cap_next, sizeof *next);
            if (!next) return no_memory(e);
            next[n_next++] = to;
        }
    }
    struct dfa *t = new_dfa(a, n_pair, m, cut, e, &rc);
    if (rc) return rc;
    memcpy(t->next, next, (size_t)n_next * sizeof *next);
    for (int i = 0; i < n_pair; i++) t->accept[i] = x->accept[pair[i] / y->n_state] && y->accept[pair[i] % y->n_state];
    return trim(a, t, out, e);
}

int dfa_lengths(struct arena *a, const struct dfa *d, int32_t min, int32_t max, struct dfa **out, struct err *e)
{
    /* A chain of lengths as an automaton of its own, then the product. */
    int rc = 0, n = max == INT32_MAX ? min + 1 : max + 1;
    uint32_t *from = ARENA_NEW(a, uint32_t, 1);
    if (n > DFA_CELLS_MAX / 2) return too_large(e);
    struct dfa *t = from ? new_dfa(a, n, 1, from, e, &rc) : NULL;
    if (!t) return rc ? rc : no_memory(e);
    for (int i = 0; i < n; i++) {
        t->accept[i] = i >= min;
        t->next[i] = i + 1 < n ? i + 1 : max == INT32_MAX ? i : -1;
    }
    return dfa_and(a, d, t, out, e);
}

int dfa_of_list(struct arena *a, const struct str *list, int n, struct dfa **out, struct err *e)
{
    /* A tree of code points; the intervals are the code points that occur, and what lies between. */
    int rc = 0, n_cut = 1, cap_cut = 0, n_state = 1;
    uint32_t *cut = arena_grow(a, NULL, 0, &cap_cut, sizeof *cut), cp;
    if (!cut) return no_memory(e);
    for (int i = 0; i < n; i++)
        for (size_t at = 0; at < list[i].n; n_state++) {
            int len = utf8_decode(list[i].p + at, list[i].n - at, &cp);
            if (len <= 0) return err(e, ERR_FORMAT, "text %d of a list is not UTF-8", i);
            at += (size_t)len;
            for (uint32_t c = cp; c <= cp + 1 && c <= CSET_LAST; c++) {
                cut = arena_grow(a, cut, n_cut, &cap_cut, sizeof *cut);
                if (!cut) return no_memory(e);
                cut[n_cut++] = c;
            }
        }
    int m = unique(cut, n_cut), used = 1;
    struct dfa *d = new_dfa(a, n_state, m, cut, e, &rc);
    if (rc) return rc;
    memset(d->next, -1, (size_t)n_state * (size_t)m * sizeof *d->next);
    for (int i = 0; i < n; i++) {
        int at_state = 0;
        for (size_t at = 0; at < list[i].n;) {
            at += (size_t)utf8_decode(list[i].p + at, list[i].n - at, &cp);
            const uint32_t *p = bsearch(&cp, cut, (size_t)m, sizeof *cut, compare_u32);
            int32_t *to = &d->next[at_state * m + (int)(p - cut)];
            if (*to < 0) *to = used++;
            at_state = *to;
        }
        d->accept[at_state] = true;
    }
    d->n_state = used;
    *out = d;
    return 0;
}

bool dfa_empty(struct arena *a, const struct dfa *d)
{
    struct dfa *t;
    if (trim(a, d, &t, NULL)) return true;
    for (int i = 0; i < t->n_state; i++)
        if (t->accept[i]) return false;
    return true;
}

bool dfa_matches(const struct dfa *d, struct str text)
{
    int state = 0;
    uint32_t cp;
    for (size_t at = 0; at < text.n;) {
        int n = utf8_decode(text.p + at, text.n - at, &cp), k = 0;
        if (n <= 0) return false;
        at += (size_t)n;
        while (k + 1 < d->n_interval && d->from[k + 1] <= cp) k++;
        state = d->next[state * d->n_interval + k];
        if (state < 0) return false;
    }
    return d->accept[state];
}
