/* SPDX-License-Identifier: Apache-2.0 */
/* KV pages: see kv.h. */
#include "chip/kv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

size_t kv_page_bytes(const struct kv_shape *s)
{
    size_t n = (size_t)s->n_layer * (size_t)s->n_head_kv * kv_view_bytes(s->type, s->head_dim, s->extra);
    return (n + 4095) & ~(size_t)4095;
}

int kv_pool_create(struct kv_pool **out, const struct kv_shape *shape, int64_t n_tokens, int n_seqs, struct err *e)
{
    if (!kv_supports(shape->head_dim, shape->extra))
        return err(e, ERR_UNSUPPORTED, "a KV cache for heads of %d is not supported", shape->head_dim);
    size_t page = kv_page_bytes(shape), total = 0;
    int64_t pages = (n_tokens + ATTN_CHUNK - 1) / ATTN_CHUNK + n_seqs;
    if (n_tokens < 1 || pages > INT32_MAX || __builtin_mul_overflow(page, (size_t)pages, &total))
        return err(e, ERR_LIMIT, "a KV cache of %" PRId64 " tokens is too large", n_tokens);
    struct kv_pool *p = calloc(1, sizeof *p);
    int32_t *list = p ? malloc((size_t)pages * sizeof *list) : NULL;
    uint32_t *holders = list ? calloc((size_t)pages, sizeof *holders) : NULL;
    void *base = holders ? mmap(NULL, total, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                         : MAP_FAILED;
    if (base == MAP_FAILED) {
        free(holders);
        free(list);
        free(p);
        return err(e, ERR_MEMORY,
                   "out of memory: a KV cache of %" PRId64
                   " tokens takes %zu MiB; use a smaller context (--ctx)",
                   n_tokens, total >> 20);
    }
    madvise(base, total, MADV_HUGEPAGE); /* fewer faults and TLB misses; a hint */
    *p = (struct kv_pool){.shape = *shape,
                          .view_bytes = kv_view_bytes(shape->type, shape->head_dim, shape->extra),
                          .page_bytes = page,
                          .base = base,
                          .max_pages = (int)pages,
                          .free = list,
                          .n_free = (int)pages,
                          .holders = holders};
    for (int i = 0; i < p->max_pages; i++) p->free[i] = p->max_pages - 1 - i;
    *out = p;
    return 0;
}

void kv_pool_destroy(struct kv_pool *p)
{
    if (!p) return;
    munmap(p->base, (size_t)p->max_pages * p->page_bytes);
    free(p->free);
    free(p->holders);
    free(p->window);
    free(p);
}

static size_t index_of(const struct kv_pool *p, const void *page)
{
    return (size_t)((const char *)page - p->base) / p->page_bytes;
}

void kv_page_hold(struct kv_pool *p, void *page)
{
    p->holders[index_of(p, page)]++;
}

void kv_page_drop(struct kv_pool *p, void *page)
{
    size_t i = index_of(p, page);
    must(p->holders[i] > 0);
    if (--p->holders[i]) return;
    if (!p->keep) madvise(page, p->page_bytes, MADV_DONTNEED); /* the memory goes back; the next user finds zeros */
    p->free[p->n_free++] = (int32_t)i;
}

uint32_t kv_page_holders(const struct kv_pool *p, const void *page)
{
    return p->holders[index_of(p, page)];
}

int kv_seq_init(struct kv_seq *s, struct kv_pool *pool, int64_t cap_tokens, struct err *e)
{
    int64_t cap = (cap_tokens + ATTN_CHUNK - 1) / ATTN_CHUNK;
    *s = (struct kv_seq){0};
    if (cap_tokens < 1 || cap > pool->max_pages)
        return err(e, ERR_LIMIT, "a sequence of %" PRId64 " tokens does not fit the KV cache (%d)",
                   cap_tokens, pool->max_pages * ATTN_CHUNK);
    s->page = calloc((size_t)cap, sizeof *s->page);
    if (!s->page) return err(e, ERR_MEMORY, "out of memory");
    s->pool = pool;
    s->cap = (int)cap;
    s->fault = KV_NO_FAULT;
    return 0;
}

void kv_seq_finish(struct kv_seq *s)
{
    if (s->pool) kv_seq_truncate(s, 0);
    free(s->page);
    *s = (struct kv_seq){0};
}

int kv_seq_reserve(struct kv_seq *s, int64_t n, struct err *e)
{
    struct kv_pool *p = s->pool;
    int64_t want = (n + ATTN_CHUNK - 1) / ATTN_CHUNK;
    if (want > s->cap)
        return err(e, ERR_LIMIT, "%" PRId64 " tokens do not fit the context of %" PRId64, n,
                   (int64_t)s->cap * ATTN_CHUNK);
    while (s->n_pages < want) {
        if (p->n_free == 0) return err(e, ERR_LIMIT, "no free KV page: all %d are in use", p->max_pages);
        int32_t i = p->free[--p->n_free];
        p->holders[i] = 1;
        s->page[s->n_pages++] = p->base + (size_t)i * p->page_bytes;
    }
    return 0;
}

int64_t kv_seq_truncate(struct kv_seq *s, int64_t n)
{
    if (s->n_forgot && n - s->pool->widest + 1 < (int64_t)s->n_forgot * ATTN_CHUNK) n = s->n_forgot = 0;
    int64_t keep = (n + ATTN_CHUNK - 1) / ATTN_CHUNK;
    if (n <= s->fault) s->fault = KV_NO_FAULT;
    while (s->n_pages > keep) kv_page_drop(s->pool, s->page[--s->n_pages]);
    return n;
}

int kv_pool_forget(struct kv_pool *p, const int *window, struct err *e)
{
    free(p->window);
    p->window = NULL;
    p->widest = 0;
    for (int i = 0; window && i < p->shape.n_layer; i++)
        if (window[i] > p->widest) p->widest = window[i];
    if (!p->widest) return 0;
    p->window = malloc((size_t)p->shape.n_layer * sizeof *p->window);
    if (!p->window) return err(e, ERR_MEMORY, "out of memory");
    memcpy(p->window, window, (size_t)p->shape.n_layer * sizeof *p->window);
    return 0;
}

/* Whole pages of the system within layers [first, end) of a page go back. */
static void drop_layers(const struct kv_pool *p, char *page, int first, int end)
{
    uintptr_t from = ((uintptr_t)page + kv_view_offset(p, first, 0) + 4095) & ~(uintptr_t)4095;
    uintptr_t to = ((uintptr_t)page + kv_view_offset(p, end, 0)) & ~(uintptr_t)4095;
    if (from < to) madvise((void *)from, to - from, MADV_DONTNEED);
}

void kv_seq_forget(struct kv_seq *s, int64_t n)
{
    struct kv_pool *p = s->pool;
    if (!p->window) return;
    int64_t gone = (n - KV_FORGET_AFTER - p->widest + 1) / ATTN_CHUNK;
    for (; s->n_forgot < gone; s->n_forgot++)
        for (int i = 0, end; i < p->shape.n_layer; i = end) {
            for (end = i + 1; end < p->shape.n_layer && !p->window[end] == !p->window[i];) end++;
            if (p->window[i] && kv_page_holders(p, s->page[s->n_forgot]) == 1)
                drop_layers(p, s->page[s->n_forgot], i, end);
        }
}

void kv_seq_share(struct kv_seq *s, void *page)
{
    must(s->n_pages < s->cap);
    kv_page_hold(s->pool, page);
    s->page[s->n_pages++] = page;
}

void kv_seq_swap(struct kv_seq *s, int i, void *page)
{
    kv_page_hold(s->pool, page);
    kv_page_drop(s->pool, s->page[i]);
    s->page[i] = page;
}

int kv_seq_fork(struct kv_seq *s, const struct kv_seq *from, int64_t n, struct err *e)
{
    int full = (int)(n / ATTN_CHUNK);
    must(s->n_pages == 0 && !from->n_forgot && n <= (int64_t)from->n_pages * ATTN_CHUNK && n <= from->fault);
    for (int i = 0; i < full; i++) kv_seq_share(s, from->page[i]);
    int rc = kv_seq_reserve(s, n, e);
    if (rc)
        kv_seq_truncate(s, 0);
    else if (s->n_pages > full)
        memcpy(s->page[full], from->page[full], s->pool->page_bytes);
    return rc;
}
