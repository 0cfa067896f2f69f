/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arena: memory of one lifetime (model, program, session), freed at once. Passing an arena as a parameter says
 * "the result lives there". Allocations are zeroed and 64-byte aligned. arena_count() counts every allocation of
 * every arena in the process, so that a test can show that the token path makes none.
 */
#ifndef TUTTI_BASE_ARENA_H
#define TUTTI_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

struct arena_block;
struct arena {
    struct arena_block *head; /* newest first */
    size_t used_bytes;        /* given to callers */
    size_t held_bytes;        /* taken from the system */
};

void arena_init(struct arena *a);
void arena_finish(struct arena *a); /* accepts a zeroed struct */

/* n * size bytes, zeroed, aligned to 64; NULL when memory is out or n * size overflows. */
void *arena_alloc(struct arena *a, size_t n, size_t size);
char *arena_strdup(struct arena *a, struct str s); /* terminated copy; NULL when memory is out */
/* Room for one more element in a list of n in the arena: the list, or a copy of twice the capacity (64 at first), *cap
 * then says which. NULL when memory is out. The old copy stays until the arena ends. */
void *arena_grow(struct arena *a, void *list, int n, int *cap, size_t size);
uint64_t arena_count(void);

#define ARENA_NEW(a, type, n) ((type *)arena_alloc((a), (n), sizeof(type)))

#endif
