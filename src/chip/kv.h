/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv: the key/value cache in pages of 128 absolute positions.
 *
 * A page holds all layers and kv heads of its 128 positions: [layer][kv head] views (kern/attn.h). A pool
 * reserves address space for a fixed number of pages; memory is touched, and so taken from the system, only
 * when a page is first written, and given back when it is freed. A sequence is a list of pages. Not
 * thread-safe: one thread owns a pool and its sequences.
 *
 * Pages are counted: sequences with the same beginning share the pages that are full, and whoever else keeps
 * a page (a prefix cache) holds it. A page with more than one holder is full, and so nobody writes to it.
 *
 * Layers that see only a window (kv_pool_forget) need no memory for what lies behind it: kv_seq_forget gives
 * that part of a page back. Such a sequence cannot be cut within what was given back; kv_seq_truncate says
 * what it kept. Pages that others may come to share stay whole: whoever shares pages forgets nothing.
 */
#ifndef TUTTI_CHIP_KV_H
#define TUTTI_CHIP_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "kern/attn.h"

struct kv_shape {
    enum kv_type type;
    int n_layer, n_head_kv, head_dim;
    int extra; /* dimensions of keys beyond head_dim: latent attention (kern/attn.h); 0: none */
};

struct kv_pool {
    struct kv_shape shape;
    size_t view_bytes, page_bytes;
    char *base;        /* [max_pages][page_bytes] */
    int max_pages;
    int32_t *free;     /* stack of free pages */
    int n_free;
    uint32_t *holders; /* [max_pages] 0: free */
    bool keep;         /* memory of free pages stays taken, for the next user: set by the owner of the budget */
    int *window;       /* [n_layer] positions that a layer sees, 0: all; NULL: nothing is forgotten */
    int widest;        /* of the windows */
};

struct kv_seq {
    struct kv_pool *pool;
    void **page;       /* [cap] page addresses; page[c] holds positions 128 c .. 128 c + 127 */
    int n_pages, cap;
    int n_forgot;      /* the first pages, whose layers with windows have no memory */
    /* first position that left the range of the arithmetic: nothing after it has a result; KV_NO_FAULT */
    int64_t fault;
};
#define KV_NO_FAULT INT64_MAX

/* Room for n_tokens positions, plus one page for each of n_seqs sequences. */
int kv_pool_create(struct kv_pool **p, const struct kv_shape *shape, int64_t n_tokens, int n_seqs, struct err *e);
void kv_pool_destroy(struct kv_pool *p); /* accepts NULL; after its sequences */
size_t kv_page_bytes(const struct kv_shape *shape);

/* cap_tokens: the longest the sequence may become. */
int kv_seq_init(struct kv_seq *s, struct kv_pool *pool, int64_t cap_tokens, struct err *e);
void kv_seq_finish(struct kv_seq *s); /* accepts a zeroed struct */

/* Makes sure that positions below n have pages: takes them from the pool. ERR_LIMIT if there are none left. */
int kv_seq_reserve(struct kv_seq *s, int64_t n, struct err *e);
/* Drops positions >= n: frees the pages that hold only such. Returns n, or 0 with nothing kept if positions
 * before n that the next one would see are forgotten; never for the last KV_FORGET_AFTER positions. */
enum { KV_FORGET_AFTER = ATTN_CHUNK };
int64_t kv_seq_truncate(struct kv_seq *s, int64_t n);

/* window[n_layer], copied; NULL: forget nothing from now on. */
int kv_pool_forget(struct kv_pool *p, const int *window, struct err *e);
/* After a step that ended before position n. */
void kv_seq_forget(struct kv_seq *s, int64_t n);

/* Another holder of a page, and one less: the last one frees it. */
void kv_page_hold(struct kv_pool *p, void *page);
void kv_page_drop(struct kv_pool *p, void *page);
uint32_t kv_page_holders(const struct kv_pool *p, const void *page);

/* Appends a full page of another holder; the sequence has whole pages only. */
void kv_seq_share(struct kv_seq *s, void *page);
/* Page i becomes another one with the same contents. */
void kv_seq_swap(struct kv_seq *s, int i, void *page);
/* An empty sequence gets the first n positions of another one: its full pages are shared, the rest is copied.
 * ERR_LIMIT, and s is empty, if there is no page to copy to. */
int kv_seq_fork(struct kv_seq *s, const struct kv_seq *from, int64_t n, struct err *e);

static inline size_t kv_view_offset(const struct kv_pool *p, int layer, int head)
{
    return (size_t)(layer * p->shape.n_head_kv + head) * p->view_bytes;
}

#endif
