/* SPDX-License-Identifier: Apache-2.0 */
/* Byte pair encoding of one word: see merge.h. */
#include "token/tokenizer/merge.h"

#include <stdlib.h>

enum { SHORT_WORD = 24 }; /* symbols; up to here searching beats the heap */

#define NO_RANK UINT32_MAX

struct merge_symbol {
    uint32_t at, n;     /* bytes in the word; n = 0: merged into the one before */
    int32_t id;         /* -1: the vocabulary lacks it */
    int32_t prev, next; /* -1: none */
    uint32_t rank;      /* of the pair with the next symbol; short words only */
    int32_t merged;     /* what that pair becomes */
};

struct merge_item {
    uint64_t order; /* rank << 32 | left: smallest first */
    uint32_t n;     /* bytes of both symbols when the item was made */
    int32_t id;
};

int merge_scratch_init(struct merge_scratch *m, const struct vocab *v, struct err *e)
{
    *m = (struct merge_scratch){0};
    if (v->kind == VOCAB_PIECES && v->has_unused) {
        m->left_bytes = calloc(v->n, sizeof *m->left_bytes);
        if (!m->left_bytes) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    }
    return 0;
}

void merge_scratch_finish(struct merge_scratch *m)
{
    free(m->symbol);
    free(m->heap);
    free(m->left_bytes);
    *m = (struct merge_scratch){0};
}

static void *grow(void *p, size_t *cap, size_t need, size_t size)
{
    size_t n = *cap ? *cap : 256;
    while (n < need) n += n / 2;
    void *q = realloc(p, n * size);
    if (q) *cap = n;
    return q;
}

static size_t char_bytes(const char *p)
{
    unsigned char c = (unsigned char)*p;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

/* Rank and result of joining two neighbours; NO_RANK when they form no piece. */
static uint32_t join(const struct vocab *v, struct merge_scratch *m, const char *p,
                     const struct merge_symbol *l, const struct merge_symbol *r, int32_t *id)
{
    if (v->kind != VOCAB_PIECES) {
        const struct vocab_pair *pair = vocab_pair_find(v, l->id, r->id);
        if (!pair) return NO_RANK;
        *id = pair->id;
        return pair->rank;
    }
    *id = vocab_find(v, (struct str){p + l->at, (size_t)l->n + r->n});
    if (*id < 0) return NO_RANK;
    if (m->left_bytes && v->type[*id] == TOKEN_UNUSED) m->left_bytes[*id] = l->n;
    return v->rank[*id];
}

/* Cuts the word into its first symbols; returns their number, or -1 when memory is out. */
static int64_t make_symbols(const struct vocab *v, struct merge_scratch *m, const char *p, size_t n)
{
    if (m->n_symbol_cap < n) {
        struct merge_symbol *s = grow(m->symbol, &m->n_symbol_cap, n, sizeof *s);
        if (!s) return -1;
        m->symbol = s;
    }
    struct merge_symbol *s = m->symbol;
    int32_t k = 0;
    for (size_t at = 0; at < n;) {
        size_t len = v->kind == VOCAB_BYTES ? 1 : char_bytes(p + at);
        if (v->kind == VOCAB_BYTES) {
            int32_t id = v->byte_id[(unsigned char)p[at]];
            if (id >= 0) { /* a byte that the vocabulary lacks is not there for its neighbours either */
                s[k] =
                    (struct merge_symbol){.at = (uint32_t)at, .n = 1, .id = id, .prev = k - 1, .next = k + 1};
                k++;
            }
        } else {
            int32_t id = len == 1 ? v->ascii_id[(uint8_t)p[at]] : vocab_find(v, (struct str){p + at, len});
            s[k] = (struct merge_symbol){
                .at = (uint32_t)at, .n = (uint32_t)len, .id = id, .prev = k - 1, .next = k + 1};
            k++;
        }
        at += len;
    }
    if (k > 0) s[k - 1].next = -1;
    return k;
}

static int32_t merge_short(const struct vocab *v, struct merge_scratch *m, const char *p, int32_t n)
{
    struct merge_symbol *s = m->symbol;
    for (int32_t i = 0; i + 1 < n; i++) s[i].rank = join(v, m, p, &s[i], &s[i + 1], &s[i].merged);
    while (n > 1) {
        int32_t best = 0;
        for (int32_t i = 1; i + 1 < n; i++) {
            if (s[i].rank < s[best].rank) best = i;
        }
        if (s[best].rank == NO_RANK) break;
        s[best].n += s[best + 1].n;
        s[best].id = s[best].merged;
        n--;
        memmove(&s[best + 1], &s[best + 2], (size_t)(n - best - 1) * sizeof *s);
        if (best > 0) s[best - 1].rank = join(v, m, p, &s[best - 1], &s[best], &s[best - 1].merged);
        s[best].rank = NO_RANK;
        if (best + 1 < n) s[best].rank = join(v, m, p, &s[best], &s[best + 1], &s[best].merged);
    }
    return n;
}

static void sift_down(struct merge_item *h, size_t n, size_t i)
{
    struct merge_item x = h[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && h[c + 1].order < h[c].order) c++;
        if (x.order <= h[c].order) break;
        h[i] = h[c];
    }
    h[i] = x;
}

/* Puts the pair that begins at symbol left on the heap, if it forms a piece. Room is there: see merge_long.
 */
static void push_pair(const struct vocab *v, struct merge_scratch *m, const char *p, int32_t left,
                      size_t *n_heap)
{
    const struct merge_symbol *s = m->symbol;
    if (left < 0 || s[left].next < 0) return;
    int32_t id, right = s[left].next;
    uint32_t rank = join(v, m, p, &s[left], &s[right], &id);
    if (rank == NO_RANK) return;
    struct merge_item x = {(uint64_t)rank << 32 | (uint32_t)left, s[left].n + s[right].n, id}, *h = m->heap;
    size_t i = (*n_heap)++;
    for (; i > 0 && x.order < h[(i - 1) / 2].order; i = (i - 1) / 2) h[i] = h[(i - 1) / 2];
    h[i] = x;
}

static int32_t merge_long(const struct vocab *v, struct merge_scratch *m, const char *p, int32_t n)
{
    size_t need = 3 * (size_t)n; /* n - 1 pairs at first, at most two more for each of n - 1 merges */
    if (m->n_heap_cap < need) {
        struct merge_item *h = grow(m->heap, &m->n_heap_cap, need, sizeof *h);
        if (!h) return -1;
        m->heap = h;
    }
    struct merge_symbol *s = m->symbol;
    struct merge_item *h = m->heap;
    size_t n_heap = 0;
    for (int32_t i = 0; i + 1 < n; i++) push_pair(v, m, p, i, &n_heap);
    while (n_heap > 0) {
        struct merge_item x = h[0];
        h[0] = h[--n_heap];
        if (n_heap > 0) sift_down(h, n_heap, 0);
        int32_t left = (int32_t)(uint32_t)x.order, right = s[left].next;
        /* Symbols only grow: both are still the ones of the item if they are alive and as long together. */
        if (s[left].n == 0 || right < 0 || s[left].n + s[right].n != x.n) continue;
        s[left].n = x.n;
        s[left].id = x.id;
        s[left].next = s[right].next;
        if (s[right].next >= 0) s[s[right].next].prev = left;
        s[right].n = 0;
        push_pair(v, m, p, s[left].prev, &n_heap);
        push_pair(v, m, p, left, &n_heap);
    }
    int32_t k = 0;
    for (int32_t i = 0; i < n; i++) {
        if (s[i].n > 0) s[k++] = s[i];
    }
    return k;
}

/* A character outside the vocabulary: its bytes, or the unknown token once for a run of them. */
static void push_unknown(const struct vocab *v, const char *p, size_t n, bool *in_unknown, struct ids *out)
{
    bool bytes = true;
    for (size_t i = 0; i < n; i++) bytes &= v->byte_id[(unsigned char)p[i]] >= 0;
    if (bytes) {
        for (size_t i = 0; i < n; i++) ids_push(out, v->byte_id[(unsigned char)p[i]]);
    } else if (v->kind == VOCAB_PIECES && v->unk >= 0 && !*in_unknown) {
        ids_push(out, v->unk);
    }
    *in_unknown = !bytes;
}

/* A piece that the model must not use falls apart into the two that made it. At most VOCAB_PIECE_BYTES_MAX
 * deep. */
static void push_piece(const struct vocab *v, const struct merge_scratch *m, const char *p, size_t n,
                       int32_t id, bool *in_unknown, struct ids *out)
{
    if (id < 0) {
        push_unknown(v, p, n, in_unknown, out);
        return;
    }
    *in_unknown = false;
    size_t left = m->left_bytes && v->type[id] == TOKEN_UNUSED && n > char_bytes(p) ? m->left_bytes[id] : 0;
    if (left == 0) {
        ids_push(out, id);
        return;
    }
    push_piece(v, m, p, left, vocab_find(v, (struct str){p, left}), in_unknown, out);
    push_piece(v, m, p + left, n - left, vocab_find(v, (struct str){p + left, n - left}), in_unknown, out);
}

int merge_word(const struct vocab *v, struct merge_scratch *m, const char *p, size_t n, struct ids *out,
               struct err *e)
{
    int64_t k = make_symbols(v, m, p, n);
    if (k > SHORT_WORD) {
        k = merge_long(v, m, p, (int32_t)k);
    } else if (k > 1) {
        k = merge_short(v, m, p, (int32_t)k);
    }
    if (k < 0) return err(e, ERR_MEMORY, "tokenizer: out of memory for a word of %zu bytes", n);
    bool in_unknown = false;
    for (int64_t i = 0; i < k; i++) {
        const struct merge_symbol *s = &m->symbol[i];
        if (v->kind == VOCAB_BYTES) {
            ids_push(out, s->id);
        } else {
            push_piece(v, m, p + s->at, s->n, s->id, &in_unknown, out);
        }
    }
    return out->failed ? err(e, out->failed, "tokenizer: the text has too many tokens") : 0;
}
