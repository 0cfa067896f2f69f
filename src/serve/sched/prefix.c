/* SPDX-License-Identifier: Apache-2.0 */
/* Prefix cache: see prefix.h. Nodes hang in a hash table by (parent, salt, ids) and in a list by last use. */
#include "serve/sched/prefix.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct prefix_node {
    struct prefix_node *parent;     /* NULL: its page is the first one */
    struct prefix_node *next;       /* of the same bucket */
    struct prefix_node *newer, *older;
    uint64_t salt, hash;
    void *page;
    int n_children;
    int32_t ids[ATTN_CHUNK];
};

struct prefix {
    struct kv_pool *pool;
    struct prefix_node **bucket; /* [mask + 1] */
    size_t mask;
    struct prefix_node *newest, *oldest;
};

int prefix_create(struct prefix **out, struct kv_pool *pool, struct err *e)
{
    size_t n = 64;
    while (n < (size_t)pool->max_pages) n *= 2;
    struct prefix *p = calloc(1, sizeof *p);
    if (p) p->bucket = calloc(n, sizeof *p->bucket);
    if (!p || !p->bucket) {
        free(p);
        return err(e, ERR_MEMORY, "out of memory for a prefix cache of %d pages", pool->max_pages);
    }
    p->pool = pool;
    p->mask = n - 1;
    *out = p;
    return 0;
}

/* FNV-1a over words; only a place to look: ids are compared. */
static uint64_t hash_of(const struct prefix_node *parent, uint64_t salt, const int32_t *ids)
{
    uint64_t h = parent ? parent->hash : salt ^ 0xcbf29ce484222325u;
    for (int i = 0; i < ATTN_CHUNK; i++) h = (h ^ (uint32_t)ids[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static struct prefix_node *look_up(const struct prefix *p, const struct prefix_node *parent, uint64_t salt,
                                   const int32_t *ids)
{
    uint64_t h = hash_of(parent, salt, ids);
    for (struct prefix_node *n = p->bucket[h & p->mask]; n; n = n->next)
        if (n->hash == h && n->parent == parent && n->salt == salt && memcmp(n->ids, ids, sizeof n->ids) == 0) return n;
    return NULL;
}

static void unlink_use(struct prefix *p, struct prefix_node *n)
{
    *(n->newer ? &n->newer->older : &p->newest) = n->older;
    *(n->older ? &n->older->newer : &p->oldest) = n->newer;
}

static void link_newest(struct prefix *p, struct prefix_node *n)
{
    n->newer = NULL;
    n->older = p->newest;
    *(p->newest ? &p->newest->newer : &p->oldest) = n;
    p->newest = n;
}

/* From a node to its root, so that parents are always newer than their children. */
static void touch(struct prefix *p, struct prefix_node *n)
{
    for (; n; n = n->parent) {
        unlink_use(p, n);
        link_newest(p, n);
    }
}

static void forget(struct prefix *p, struct prefix_node *n)
{
    struct prefix_node **at = &p->bucket[n->hash & p->mask];
    while (*at != n) at = &(*at)->next;
    *at = n->next;
    unlink_use(p, n);
    if (n->parent) n->parent->n_children--;
    kv_page_drop(p->pool, n->page);
    free(n);
}

void prefix_destroy(struct prefix *p)
{
    if (!p) return;
    while (p->oldest) forget(p, p->oldest);
    free(p->bucket);
    free(p);
}

int prefix_find(struct prefix *p, uint64_t salt, const int32_t *ids, int n, struct kv_seq *seq, struct prefix_node **at)
{
    int have = seq->n_pages * ATTN_CHUNK;
    if (!have) *at = NULL;
    for (struct prefix_node *node; have + ATTN_CHUNK <= n && (node = look_up(p, *at, salt, ids + have));
         have += ATTN_CHUNK) {
        kv_seq_share(seq, node->page);
        *at = node;
    }
    touch(p, *at);
    return have;
}

bool prefix_goes_on(const struct prefix *p, uint64_t salt, const struct prefix_node *at, const int32_t *ids)
{
    return look_up(p, at, salt, ids) != NULL;
}

struct prefix_node *prefix_add(struct prefix *p, uint64_t salt, struct prefix_node *at, const int32_t *ids,
                               struct kv_seq *seq, int i)
{
    struct prefix_node *n = look_up(p, at, salt, ids);
    if (n) {
        if (n->page != seq->page[i]) kv_seq_swap(seq, i, n->page);
        touch(p, n);
        return n;
    }
    n = malloc(sizeof *n);
    if (!n) return NULL;
    *n = (struct prefix_node){.parent = at, .salt = salt, .hash = hash_of(at, salt, ids), .page = seq->page[i]};
    memcpy(n->ids, ids, sizeof n->ids);
    kv_page_hold(p->pool, n->page);
    n->next = p->bucket[n->hash & p->mask];
    p->bucket[n->hash & p->mask] = n;
    if (at) at->n_children++;
    link_newest(p, n);
    touch(p, at);
    return n;
}

struct prefix_node *prefix_up(struct prefix_node *at, int k)
{
    for (; at && k > 0; k--) at = at->parent;
    return at;
}

static bool is_idle(const struct prefix *p, const struct prefix_node *n)
{
    return kv_page_holders(p->pool, n->page) == 1;
}

int prefix_evict(struct prefix *p, int n)
{
    int freed = 0;
    for (struct prefix_node *node = p->oldest, *newer; node && freed < n; node = newer) {
        newer = node->newer;
        if (!is_idle(p, node) || node->n_children) continue;
        forget(p, node);
        freed++;
    }
    return freed;
}

/* A sequence holds all pages on the way to the last one it shares, so what hangs below an idle page is idle, too. */
int prefix_idle(const struct prefix *p)
{
    int n = 0;
    for (const struct prefix_node *node = p->oldest; node; node = node->newer) n += is_idle(p, node);
    return n;
}
