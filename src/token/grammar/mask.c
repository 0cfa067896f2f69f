/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From heads to a bit per token.
 *
 * The vocabulary is a tree of bytes in preorder: its nodes are tried in order, a node that no head can read is skipped
 * with all that is beneath, and on the way a whole list of heads is kept for each level.
 *
 * Most of the work does not depend on what waits below a frame. So each frame keeps a mask of its own, found once, by a
 * walk with an unknown stack (STACK_BOTTOM) beneath: the tokens that stay within the frame and what it calls, and the
 * nodes of the tree at which the frame may have ended with more bytes to come. For one text the masks of its heads are
 * united, and only beneath those nodes the walk goes on with what the stack really holds. A frame whose count leaves
 * room for the longest token has the mask of a frame without bound.
 */
#include <stdlib.h>
#include "token/grammar/grammar_int.h"

struct mask {
    struct mask *next;    /* of the grammar's list */
    uint32_t owner;       /* frame */
    int n_id, n_word;     /* one of them is 0 */
    int n_escape;
    uint32_t data[];      /* ids or words, then escapes: nodes of the tree */
};

/* --- the vocabulary as a tree ----------------------------------------------------------------------------- */

struct entry {
    struct str s;
    int32_t id;
};

static int compare_entry(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    size_t n = a->s.n < b->s.n ? a->s.n : b->s.n;
    int c = memcmp(a->s.p, b->s.p, n);
    if (c) return c;
    if (a->s.n != b->s.n) return a->s.n < b->s.n ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static size_t common_bytes(struct str a, struct str b)
{
    size_t n = 0;
    while (n < a.n && n < b.n && a.p[n] == b.p[n]) n++;
    return n;
}

static int build_trie(struct grammar_vocab *v, const struct entry *entry, int n)
{
    size_t n_nodes = 1;
    for (int i = 0; i < n; i++) n_nodes += entry[i].s.n - (i ? common_bytes(entry[i - 1].s, entry[i].s) : 0);
    uint32_t *open = calloc((size_t)v->piece_max + 1, sizeof *open); /* node of each depth that is not closed */
    v->byte = ARENA_NEW(&v->arena, uint8_t, n_nodes);
    v->depth = ARENA_NEW(&v->arena, uint16_t, n_nodes);
    v->skip = ARENA_NEW(&v->arena, uint32_t, n_nodes);
    v->token = ARENA_NEW(&v->arena, int32_t, n_nodes);
    if (!open || !v->byte || !v->depth || !v->skip || !v->token) {
        free(open);
        return ERR_MEMORY;
    }
    size_t depth = 0;
    uint32_t at = 1;
    v->token[0] = -1;
    for (int i = 0; i < n; i++) {
        size_t same = i ? common_bytes(entry[i - 1].s, entry[i].s) : 0;
        for (; depth > same; depth--) v->skip[open[depth]] = at;
        for (; depth < entry[i].s.n; at++) {
            v->byte[at] = (uint8_t)entry[i].s.p[depth++];
            v->depth[at] = (uint16_t)depth;
            v->token[at] = -1;
            open[depth] = at;
        }
        int32_t *last = &v->token[open[depth]];
        while (*last >= 0) last = &v->twin[*last];
        *last = entry[i].id;
    }
    for (; depth > 0; depth--) v->skip[open[depth]] = at;
    v->skip[0] = at;
    v->n_trie = (int)at;
    free(open);
    return 0;
}

int grammar_vocab_create(struct grammar_vocab **out, const struct tokenizer *t, int n_logits, struct err *e)
{
    struct grammar_vocab *v = calloc(1, sizeof *v);
    int n = (int)tokenizer_n_tokens(t), n_entry = 0;
    if (n < n_logits) n = n_logits;
    struct entry *entry = calloc((size_t)n + 1, sizeof *entry);
    *out = NULL;
    if (!v || !entry) goto memory;
    v->n_vocab = n;
    v->n_words = (n + 31) / 32;
    v->end = ARENA_NEW(&v->arena, uint32_t, (size_t)v->n_words);
    v->piece = ARENA_NEW(&v->arena, struct str, (size_t)n);
    v->twin = ARENA_NEW(&v->arena, int32_t, (size_t)n);
    if (!v->end || !v->piece || !v->twin) goto memory;
    for (int32_t i = 0; i < n; i++) {
        enum token_type type = tokenizer_type(t, i);
        struct str s = tokenizer_piece(t, i);
        v->twin[i] = -1;
        if (tokenizer_is_end(t, i)) {
            v->end[i >> 5] |= 1u << (i & 31);
            continue;
        }
        if ((type != TOKEN_NORMAL && type != TOKEN_USER_DEFINED && type != TOKEN_BYTE) || !s.n ||
            s.n > UINT16_MAX)
            continue;
        v->piece[i] = s;
        if ((int)s.n > v->piece_max) v->piece_max = (int)s.n;
        entry[n_entry++] = (struct entry){s, i};
    }
    qsort(entry, (size_t)n_entry, sizeof *entry, compare_entry);
    if (build_trie(v, entry, n_entry)) goto memory;
    free(entry);
    *out = v;
    return 0;
memory:
    free(entry);
    grammar_vocab_destroy(v);
    return err(e, ERR_MEMORY, "out of memory for the tree of a vocabulary of %d tokens", n);
}

void grammar_vocab_destroy(struct grammar_vocab *v)
{
    if (!v) return;
    arena_finish(&v->arena);
    free(v);
}

/* --- walking it ------------------------------------------------------------------------------------------- */

struct level {
    int at, n;    /* heads of this level in walk.buf */
    int n_stacks; /* stacks that were there before this level */
};

struct walk {
    struct head *buf;
    int cap;
    struct level *level; /* [piece_max + 1] */
    uint32_t *bits;      /* [n_words] of a frame's mask in the making */
    uint32_t *escape;
    int n_escape, cap_escape;
};

int walk_create(struct walk **w, const struct grammar_vocab *v)
{
    *w = calloc(1, sizeof **w);
    if (!*w) return ERR_MEMORY;
    (*w)->cap = 2 * GRAMMAR_HEADS_MAX;
    (*w)->buf = malloc((size_t)(*w)->cap * sizeof *(*w)->buf);
    (*w)->level = calloc((size_t)v->piece_max + 2, sizeof *(*w)->level);
    (*w)->bits = calloc((size_t)v->n_words, sizeof *(*w)->bits);
    return (*w)->buf && (*w)->level && (*w)->bits ? 0 : ERR_MEMORY;
}

void walk_destroy(struct walk *w)
{
    if (!w) return;
    free(w->buf);
    free(w->level);
    free(w->bits);
    free(w->escape);
    free(w);
}

static int fail_memory(struct grammar *g)
{
    return err(&g->error, ERR_MEMORY, "out of memory");
}

static int add_escape(struct grammar *g, struct walk *w, uint32_t node)
{
    if (w->n_escape == w->cap_escape) {
        int cap = w->cap_escape ? 2 * w->cap_escape : 256;
        uint32_t *p = realloc(w->escape, (size_t)cap * sizeof *p);
        if (!p) return fail_memory(g);
        w->escape = p;
        w->cap_escape = cap;
    }
    w->escape[w->n_escape++] = node;
    return 0;
}

static bool reserve(struct walk *w, int n)
{
    if (n <= w->cap) return true;
    struct head *p = realloc(w->buf, (size_t)n * 2 * sizeof *p);
    if (!p) return false;
    w->buf = p;
    w->cap = 2 * n;
    return true;
}

/* All nodes beneath `top`, read from the heads that lie at the beginning of w->buf. */
static int walk_subtree(struct grammar *g, struct walk *w, struct stacks *s, uint32_t top, int n_heads,
                        int32_t limit, bool escapes, uint32_t *bits)
{
    const struct grammar_vocab *v = g->vocab;
    uint16_t base = v->depth[top];
    w->level[0] = (struct level){0, n_heads, s->n};
    for (uint32_t i = top + 1, end = v->skip[top]; i < end;) {
        int d = v->depth[i] - base;
        const struct level *from = &w->level[d - 1];
        struct level *to = &w->level[d];
        bool bottom = false;
        if (from->n == 1 && from->at + 2 <= w->cap) { /* one reading that stays within its frame: the usual case */
            const struct head h = w->buf[from->at];
            const uint32_t *next = g->frame[h.frame].next;
            uint32_t f = next ? next[g->class_of[v->byte[i]]] : FRAME_UNKNOWN;
            if (f == FRAME_NONE) {
                i = v->skip[i];
                continue;
            }
            if (f != FRAME_UNKNOWN && !g->frame[f].has_calls && !g->frame[f].final) {
                *to = (struct level){from->at + 1, 1, from->n_stacks};
                w->buf[from->at + 1] = (struct head){f, h.stack};
                goto reached;
            }
        }
        {
            int at = from->at + from->n;
            if (!reserve(w, at + GRAMMAR_HEADS_MAX)) return fail_memory(g);
            stacks_release(s, from->n_stacks);
            struct heads in = {.p = w->buf + from->at, .n = from->n}, out = {.p = w->buf + at};
            int rc = heads_step(g, s, &in, v->byte[i], &out);
            if (rc) return rc;
            if (!out.n || (limit < GRAMMAR_FAR && v->skip[i] == i + 1 && heads_dist(g, s, &out) > limit)) {
                i = v->skip[i];
                continue;
            }
            *to = (struct level){at, out.n, s->n};
            bottom = out.bottom;
        }
    reached:
        if (v->token[i] >= 0) {
            bool near = true;
            if (limit < GRAMMAR_FAR) {
                struct heads h = {.p = w->buf + to->at, .n = to->n};
                near = heads_dist(g, s, &h) <= limit;
            }
            for (int32_t t = v->token[i]; near && t >= 0; t = v->twin[t]) bits[t >> 5] |= 1u << (t & 31);
        }
        if (bottom && escapes && v->skip[i] > i + 1) {
            int rc = add_escape(g, w, i);
            if (rc) return rc;
        }
        i++;
    }
    stacks_release(s, w->level[0].n_stacks);
    return 0;
}

/* --- masks of frames -------------------------------------------------------------------------------------- */

void mask_drop_all(struct grammar *g)
{
    for (struct mask *m = g->mask_list, *next; m; m = next) {
        next = m->next;
        g->frame[m->owner].mask = NULL;
        free(m);
    }
    g->mask_list = NULL;
    g->mask_bytes = 0;
}

static int count_bits(const uint32_t *bits, int n)
{
    int c = 0;
    for (int i = 0; i < n; i++) c += __builtin_popcount(bits[i]);
    return c;
}

/* The mask of a frame over an unknown stack. */
static const struct mask *find_mask(struct grammar *g, struct walk *w, struct stacks *s, uint32_t frame)
{
    const struct grammar_vocab *v = g->vocab;
    if (g->frame[frame].mask) return g->frame[frame].mask;
    memset(w->bits, 0, (size_t)v->n_words * sizeof *w->bits);
    w->n_escape = 0;
    w->buf[0] = (struct head){frame, STACK_BOTTOM};
    if (walk_subtree(g, w, s, 0, 1, GRAMMAR_FAR, true, w->bits)) return NULL;
    int n = count_bits(w->bits, v->n_words), n_data = n < v->n_words ? n : v->n_words;
    size_t bytes = sizeof(struct mask) + (size_t)(n_data + w->n_escape) * sizeof(uint32_t);
    if (g->mask_bytes + bytes > GRAMMAR_MASK_BYTES_MAX) mask_drop_all(g);
    struct mask *m = malloc(bytes);
    if (!m) return fail_memory(g), NULL;
    *m = (struct mask){.next = g->mask_list, .owner = frame, .n_escape = w->n_escape};
    if (n < v->n_words) {
        for (int i = 0; i < v->n_words; i++)
            for (uint32_t b = w->bits[i]; b; b &= b - 1) m->data[m->n_id++] = (uint32_t)(i * 32 + __builtin_ctz(b));
    } else {
        m->n_word = v->n_words;
        memcpy(m->data, w->bits, (size_t)v->n_words * sizeof *m->data);
    }
    if (w->n_escape) memcpy(m->data + n_data, w->escape, (size_t)w->n_escape * sizeof *m->data);
    g->mask_list = m;
    g->mask_bytes += bytes;
    g->frame[frame].mask = m;
    return m;
}

int mask_of_heads(struct grammar *g, struct walk *w, struct stacks *s, const struct heads *h, int32_t limit,
                  uint32_t *bits)
{
    if (limit < GRAMMAR_FAR) {
        if (!reserve(w, h->n)) return fail_memory(g);
        memcpy(w->buf, h->p, (size_t)h->n * sizeof *h->p);
        return walk_subtree(g, w, s, 0, h->n, limit, false, bits);
    }
    for (int i = 0; i < h->n; i++) {
        struct head head = h->p[i];
        if (!g->frame[head.frame].has_bytes) continue;
        uint32_t f = frame_clamped(g, head.frame, g->vocab->piece_max);
        const struct mask *m = f == FRAME_UNKNOWN ? NULL : find_mask(g, w, s, f);
        if (!m) return g->error.code;
        for (int j = 0; j < m->n_id; j++) bits[m->data[j] >> 5] |= 1u << (m->data[j] & 31);
        for (int j = 0; j < m->n_word; j++) bits[j] |= m->data[j];
        if (!m->n_escape || head.stack == STACK_EMPTY) continue;
        const uint32_t *escape = m->data + m->n_id + m->n_word;
        int n_stacks = s->n;
        struct heads below = {.p = w->buf};
        int rc = heads_add(g, s, &below, s->p[head.stack].frame, s->p[head.stack].parent);
        for (int j = 0; !rc && j < m->n_escape; j++)
            rc = walk_subtree(g, w, s, escape[j], below.n, GRAMMAR_FAR, false, bits);
        stacks_release(s, n_stacks);
        if (rc) return rc;
    }
    return 0;
}
