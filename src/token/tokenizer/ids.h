/* SPDX-License-Identifier: Apache-2.0 */
/* A growing list of token ids with a maximum, as struct buf is for bytes: a failure sticks and is checked
 * once. */
#ifndef TUTTI_TOKEN_TOKENIZER_IDS_H
#define TUTTI_TOKEN_TOKENIZER_IDS_H

#include <stddef.h>
#include <stdint.h>

struct ids {
    int32_t *p;
    size_t n, cap, max;
    int failed; /* 0, ERR_LIMIT or ERR_MEMORY */
};

void ids_init(struct ids *b, size_t max);
void ids_finish(struct ids *b);           /* accepts a zeroed struct */
void ids_clear(struct ids *b);            /* n = 0, failed = 0, memory kept */
int ids_reserve(struct ids *b, size_t n); /* room for n more; returns 0 or the failure */
int ids_append(struct ids *b, const int32_t *p, size_t n);

static inline void ids_push(struct ids *b, int32_t id)
{
    if (b->n == b->cap && ids_reserve(b, 1) != 0) return;
    b->p[b->n++] = id;
}

#endif
