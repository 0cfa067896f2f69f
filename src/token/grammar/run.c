/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a grammar over bytes: heads and their stacks, and the state of one answer.
 *
 * A stack is a number: its top frame and the number of the rest, the same pair always the same number, so
 * equal readings are found by comparing two numbers. Stacks are made in order and forgotten in reverse
 * (stacks_release): a walk through the vocabulary leaves none behind.
 */
#include <stdlib.h>
#include "token/grammar/grammar_int.h"

enum { HASH_FIRST = 1 << 8 };

int stacks_init(struct stacks *s)
{
    *s = (struct stacks){.n = STACK_FIRST, .cap = HASH_FIRST, .hash_mask = HASH_FIRST - 1};
    s->p = calloc((size_t)s->cap, sizeof *s->p);
    s->hash = calloc(HASH_FIRST, sizeof *s->hash);
    if (s->p && s->hash) return 0;
    stacks_finish(s);
    return ERR_MEMORY;
}

void stacks_finish(struct stacks *s)
{
    free(s->p);
    free(s->hash);
    *s = (struct stacks){0};
}

static uint32_t hash_pair(uint32_t frame, uint32_t parent)
{
    return (uint32_t)((((uint64_t)frame << 32 | parent) * 0x9E3779B97F4A7C15u) >> 32);
}

void stacks_release(struct stacks *s, int n)
{
    while (s->n > n) {
        struct stack *t = &s->p[--s->n];
        s->hash[hash_pair(t->frame, t->parent) & s->hash_mask] = t->hash_next;
    }
}

static bool grow_stacks(struct stacks *s)
{
    struct stack *p = realloc(s->p, (size_t)s->cap * 2 * sizeof *p);
    uint32_t *hash = calloc((size_t)s->cap * 2, sizeof *hash);
    if (p) s->p = p;
    if (!p || !hash) {
        free(hash);
        return false;
    }
    s->cap *= 2;
    s->hash_mask = (uint32_t)s->cap - 1;
    for (int i = STACK_FIRST; i < s->n; i++) { /* in order, so that release finds each at the front */
        uint32_t h = hash_pair(s->p[i].frame, s->p[i].parent) & s->hash_mask;
        s->p[i].hash_next = hash[h];
        hash[h] = (uint32_t)i;
    }
    free(s->hash);
    s->hash = hash;
    return true;
}

/* The stack of a frame on another; STACK_EMPTY on a failure. */
static uint32_t push(struct grammar *g, struct stacks *s, uint32_t frame, uint32_t parent)
{
    uint32_t h = hash_pair(frame, parent);
    for (uint32_t i = s->hash[h & s->hash_mask]; i; i = s->p[i].hash_next)
        if (s->p[i].frame == frame && s->p[i].parent == parent) return i;
    int32_t depth = parent >= STACK_FIRST ? s->p[parent].depth + 1 : 1;
    int64_t dist = (parent >= STACK_FIRST ? s->p[parent].dist : 0) + (int64_t)g->frame[frame].dist;
    if (depth > GRAMMAR_DEPTH_MAX)
        return err(&g->error, ERR_LIMIT,
                   "the text is nested too deep: more than %d rules of the grammar are open in one another; bound the nesting in the grammar",
                   GRAMMAR_DEPTH_MAX),
               STACK_EMPTY;
    if (s->n >= GRAMMAR_STACK_MAX)
        return err(&g->error, ERR_LIMIT,
                   "the text has more than %d different nestings; bound its length in the grammar",
                   GRAMMAR_STACK_MAX),
               STACK_EMPTY;
    if (s->n == s->cap && !grow_stacks(s)) return err(&g->error, ERR_MEMORY, "out of memory"), STACK_EMPTY;
    s->p[s->n] = (struct stack){frame, parent, s->hash[h & s->hash_mask], depth,
                                dist >= GRAMMAR_FAR ? GRAMMAR_FAR : (int32_t)dist};
    s->hash[h & s->hash_mask] = (uint32_t)s->n;
    return (uint32_t)s->n++;
}

static int append(struct grammar *g, struct heads *out, uint32_t frame, uint32_t stack)
{
    for (int i = 0; i < out->n; i++)
        if (out->p[i].frame == frame && out->p[i].stack == stack) return 0;
    if (out->n == GRAMMAR_HEADS_MAX)
        return err(
            &g->error, ERR_LIMIT,
            "the grammar is too ambiguous: the text so far can be read in more than %d ways; let alternatives differ in what they begin with",
            GRAMMAR_HEADS_MAX);
    out->p[out->n++] = (struct head){frame, stack};
    return 0;
}

int heads_add(struct grammar *g, struct stacks *s, struct heads *out, uint32_t frame, uint32_t stack)
{
    int rc, at = out->n;
    if ((rc = append(g, out, frame, stack))) return rc;
    for (; at < out->n; at++) {
        struct head h = out->p[at];
        const struct frame *f = &g->frame[h.frame];
        if (f->has_calls && !f->expanded) {
            if ((rc = frame_expand(g, h.frame))) return rc;
            f = &g->frame[h.frame];
        }
        for (uint32_t i = 0; i < f->n_call; i++) {
            uint32_t on = h.stack;
            if (f->call[i].after && !(on = push(g, s, f->call[i].after, h.stack))) return g->error.code;
            if ((rc = append(g, out, f->call[i].start, on))) return rc;
        }
        if (!f->final) continue;
        if (h.stack == STACK_EMPTY)
            out->end = true;
        else if (h.stack == STACK_BOTTOM)
            out->bottom = true;
        else if ((rc = append(g, out, s->p[h.stack].frame, s->p[h.stack].parent)))
            return rc;
    }
    return 0;
}

int heads_step(struct grammar *g, struct stacks *s, const struct heads *in, uint8_t byte, struct heads *out)
{
    out->n = 0;
    out->end = out->bottom = false;
    for (int i = 0; i < in->n; i++) {
        uint32_t f = frame_next(g, in->p[i].frame, byte);
        if (f == FRAME_UNKNOWN) return g->error.code;
        if (f == FRAME_NONE) continue;
        int rc = heads_add(g, s, out, f, in->p[i].stack);
        if (rc) return rc;
    }
    return 0;
}

int32_t heads_dist(const struct grammar *g, const struct stacks *s, const struct heads *h)
{
    int64_t best = h->end ? 0 : GRAMMAR_FAR;
    for (int i = 0; i < h->n; i++) {
        int64_t d = (int64_t)g->frame[h->p[i].frame].dist +
                    (h->p[i].stack >= STACK_FIRST ? s->p[h->p[i].stack].dist : 0);
        if (d < best) best = d;
    }
    return (int32_t)best;
}

/* --- the state of one answer ------------------------------------------------------------------------------ */

/* When the text has to be closed: a byte takes one token at most, if the vocabulary has all bytes; some more
 * for choices that turn out to be longer. */
enum { CLOSE_SLACK = 16 };

static bool is_short(int left, int32_t dist)
{
    return left >= 0 && left <= dist + CLOSE_SLACK;
}

struct grammar_state {
    struct grammar *g;
    const struct grammar_vocab *v;
    struct stacks stacks;
    struct walk *walk;
    struct heads now, next; /* two buffers of GRAMMAR_HEADS_MAX */
    int left;               /* tokens until max_tokens; -1: no limit */
    bool begun, ended, closing;
    bool fresh;             /* bits belong to now */
    uint32_t *bits;         /* [n_words] */
    struct err error;
};

int grammar_state_create(struct grammar_state **out, struct grammar *g, const struct grammar_vocab *v,
                         int max_tokens, struct err *e)
{
    struct grammar_state *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    s->g = grammar_ref(g);
    s->v = v;
    s->left = max_tokens > 0 ? max_tokens : -1;
    s->now.p = calloc(GRAMMAR_HEADS_MAX, sizeof *s->now.p);
    s->next.p = calloc(GRAMMAR_HEADS_MAX, sizeof *s->next.p);
    s->bits = calloc((size_t)v->n_words, sizeof *s->bits);
    if (stacks_init(&s->stacks) || walk_create(&s->walk, v) || !s->now.p || !s->next.p || !s->bits) {
        grammar_state_destroy(s);
        return err(e, ERR_MEMORY, "out of memory");
    }
    *out = s;
    return 0;
}

static int begin_heads(struct grammar *g, struct stacks *s, struct heads *h)
{
    g->error.code = 0;
    uint32_t start = frame_start(g, g->root);
    if (start == FRAME_NONE) return err(&g->error, ERR_USAGE, "no text satisfies the grammar");
    return start == FRAME_UNKNOWN ? g->error.code : heads_add(g, s, h, start, STACK_EMPTY);
}

/* The first use, on the thread that all states of the grammar belong to. */
static int begin(struct grammar_state *s)
{
    if (s->begun) return s->error.code;
    s->begun = true;
    if (!s->g->vocab) s->g->vocab = s->v;
    must(s->g->vocab == s->v); /* masks of a grammar are those of one vocabulary */
    if (begin_heads(s->g, &s->stacks, &s->now)) s->error = s->g->error;
    return s->error.code;
}

void grammar_state_destroy(struct grammar_state *s)
{
    if (!s) return;
    stacks_finish(&s->stacks);
    walk_destroy(s->walk);
    free(s->now.p);
    free(s->next.p);
    free(s->bits);
    grammar_unref(s->g);
    free(s);
}

bool grammar_state_may_end(const struct grammar_state *s)
{
    return s->ended || s->now.end;
}

const struct err *grammar_state_error(const struct grammar_state *s)
{
    return &s->error;
}

static bool any_bit(const uint32_t *bits, int n)
{
    for (int i = 0; i < n; i++)
        if (bits[i]) return true;
    return false;
}

/* Which tokens the heads allow, the end tokens apart. */
static int fill_bits(struct grammar_state *s)
{
    int32_t dist = heads_dist(s->g, &s->stacks, &s->now), limit = GRAMMAR_FAR;
    int n_stacks = s->stacks.n;
    if (is_short(s->left, dist)) s->closing = true;
    if (s->closing) limit = dist - 1;
    for (;;) {
        memset(s->bits, 0, (size_t)s->v->n_words * sizeof *s->bits);
        s->g->error.code = 0;
        int rc = mask_of_heads(s->g, s->walk, &s->stacks, &s->now, limit, s->bits);
        stacks_release(&s->stacks, n_stacks);
        if (rc) return rc;
        if (limit == GRAMMAR_FAR || s->now.end || any_bit(s->bits, s->v->n_words)) return 0;
        limit = GRAMMAR_FAR; /* no token of this vocabulary gets nearer */
    }
}

const uint32_t *grammar_state_allowed(struct grammar_state *s)
{
    if (begin(s)) return s->bits;
    bool closing = s->closing || s->left >= 0; /* the mask may change with the tokens that are left */
    if (s->fresh && !closing) return s->bits;
    if (s->fresh && closing && !s->closing) {
        int32_t dist = heads_dist(s->g, &s->stacks, &s->now);
        if (!is_short(s->left, dist)) return s->bits;
    }
    s->fresh = true;
    if (s->ended) {
        memcpy(s->bits, s->v->end, (size_t)s->v->n_words * sizeof *s->bits);
        return s->bits;
    }
    if (fill_bits(s)) {
        s->error = s->g->error;
        memset(s->bits, 0, (size_t)s->v->n_words * sizeof *s->bits);
        return s->bits;
    }
    if (s->now.end) {
        if (s->closing) memset(s->bits, 0, (size_t)s->v->n_words * sizeof *s->bits);
        for (int i = 0; i < s->v->n_words; i++) s->bits[i] |= s->v->end[i];
    }
    return s->bits;
}

int grammar_state_accept(struct grammar_state *s, int32_t id, struct err *e)
{
    if (id < 0 || id >= s->v->n_vocab)
        return err(e, ERR_USAGE, "token %d: outside the vocabulary of %d", (int)id, s->v->n_vocab);
    if (begin(s)) return err(e, s->error.code, "%s", s->error.msg);
    if (s->ended) return err(e, ERR_USAGE, "token %d after the end of the text", (int)id);
    if (s->left > 0) s->left--;
    if (s->v->end[id >> 5] >> (id & 31) & 1 && s->now.end) {
        s->ended = true;
        s->fresh = false;
        return 0;
    }
    struct str piece = s->v->piece[id];
    if (!piece.p) return err(e, ERR_USAGE, "token %d is no text: the grammar does not allow it", (int)id);
    struct heads from = s->now;
    bool same = s->fresh;
    s->g->error.code = 0;
    for (size_t i = 0; i < piece.n; i++) {
        struct heads to = s->next;
        int rc = heads_step(s->g, &s->stacks, &s->now, (uint8_t)piece.p[i], &to);
        if (rc) return err(e, rc, "%s", s->g->error.msg);
        if (!to.n)
            return err(e, ERR_USAGE, "token %d ('%.*s') is not what the grammar allows", (int)id,
                       STR_ARG(piece));
        if (i == 0) { /* keep what the mask belongs to, as long as nothing else needs its buffer */
            same = same && to.n == from.n && to.end == from.end &&
                   memcmp(to.p, from.p, (size_t)to.n * sizeof *to.p) == 0;
        } else {
            same = same && to.n == s->now.n && to.end == s->now.end &&
                   memcmp(to.p, s->now.p, (size_t)to.n * sizeof *to.p) == 0;
        }
        s->next = s->now;
        s->now = to;
    }
    s->fresh = same;
    return 0;
}

int grammar_match(struct grammar *g, struct str text, struct err *e)
{
    struct stacks stacks;
    struct heads a = {.p = calloc(GRAMMAR_HEADS_MAX, sizeof *a.p)}, b = {.p = calloc(GRAMMAR_HEADS_MAX, sizeof *b.p)};
    int rc = stacks_init(&stacks) || !a.p || !b.p ? err(e, ERR_MEMORY, "out of memory") : 0;
    if (!rc) {
        rc = begin_heads(g, &stacks, &a);
        for (size_t i = 0; !rc && i < text.n && a.n; i++) {
            rc = heads_step(g, &stacks, &a, (uint8_t)text.p[i], &b);
            struct heads t = a;
            a = b;
            b = t;
        }
        if (rc) err(e, rc, "%s", g->error.msg);
    }
    int fits = rc || (!a.n && !a.end) ? -1 : a.end;
    free(a.p);
    free(b.p);
    stacks_finish(&stacks);
    return fits;
}
