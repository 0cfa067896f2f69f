/* SPDX-License-Identifier: Apache-2.0 */
/* List of token ids: see ids.h. */
#include "token/tokenizer/ids.h"

#include <stdlib.h>
#include <string.h>
#include "base/err.h"

void ids_init(struct ids *b, size_t max)
{
    *b = (struct ids){.max = max < SIZE_MAX / sizeof *b->p ? max : SIZE_MAX / sizeof *b->p};
}

void ids_finish(struct ids *b)
{
    free(b->p);
    *b = (struct ids){0};
}

void ids_clear(struct ids *b)
{
    b->n = 0;
    b->failed = 0;
}

int ids_reserve(struct ids *b, size_t n)
{
    if (b->failed) return b->failed;
    if (b->cap - b->n >= n) return 0;
    if (n > b->max - b->n) return b->failed = ERR_LIMIT;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < b->n + n) cap += cap / 2;
    if (cap > b->max) cap = b->max;
    int32_t *p = realloc(b->p, cap * sizeof *p);
    if (!p) return b->failed = ERR_MEMORY;
    b->p = p;
    b->cap = cap;
    return 0;
}

int ids_append(struct ids *b, const int32_t *p, size_t n)
{
    if (ids_reserve(b, n) != 0) return b->failed;
    if (n > 0) memcpy(b->p + b->n, p, n * sizeof *p);
    b->n += n;
    return 0;
}
