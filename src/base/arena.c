/* SPDX-License-Identifier: Apache-2.0 */
/* Arena: see arena.h. Small requests share blocks of 64 KiB; a large one has its own anonymous mapping. */
#include "base/arena.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { ALIGN = 64, BLOCK = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* whole mapping, bytes */
    size_t used; /* bytes from the start of the mapping, multiple of ALIGN */
};

static _Atomic uint64_t n_alloc;

uint64_t arena_count(void)
{
    return atomic_load(&n_alloc);
}

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_finish(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        munmap(b, b->size);
    }
    *a = (struct arena){0};
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
    size_t want;
    if (__builtin_mul_overflow(n, size, &want) || want > SIZE_MAX / 2 - 2 * BLOCK) return NULL;
    want = (want + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (want == 0) want = ALIGN;
    atomic_fetch_add(&n_alloc, 1);
    struct arena_block *b = a->head;
    if (!b || b->size - b->used < want) {
        size_t total = want + ALIGN > BLOCK ? want + ALIGN : BLOCK;
        total = (total + 4095) & ~(size_t)4095;
        b = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b == MAP_FAILED) return NULL;
        b->size = total;
        b->used = ALIGN;
        a->held_bytes += total;
        if (a->head && total > BLOCK) { /* keep the half-empty small block in front */
            b->next = a->head->next;
            a->head->next = b;
        } else {
            b->next = a->head;
            a->head = b;
        }
    }
    void *p = (char *)b + b->used;
    b->used += want;
    a->used_bytes += want;
    return p;
}

char *arena_strdup(struct arena *a, struct str s)
{
    char *p = s.n == SIZE_MAX ? NULL : arena_alloc(a, s.n + 1, 1);
    if (p && s.n) memcpy(p, s.p, s.n);
    return p;
}

void *arena_grow(struct arena *a, void *list, int n, int *cap, size_t size)
{
    if (n < *cap) return list;
    int bigger = *cap ? 2 * *cap : 64;
    void *p = arena_alloc(a, (size_t)bigger, size);
    if (!p) return NULL;
    if (n) memcpy(p, list, (size_t)n * size);
    *cap = bigger;
    return p;
}
