/* SPDX-License-Identifier: Apache-2.0 */
/* Tensor types: see dtype.h. */
#include "base/dtype.h"

#include <stddef.h>
#include <strings.h>

static const struct dtype_info table[] = {
#define X(name, id, block, bytes, usable) [id] = {#name, id, block, bytes, usable},
    DTYPE_LIST(X)
#undef X
};

const struct dtype_info *dtype_info(uint32_t id)
{
    if (id >= sizeof table / sizeof *table || !table[id].name) return NULL;
    return &table[id];
}

const char *dtype_name(uint32_t id)
{
    const struct dtype_info *d = dtype_info(id);
    return d ? d->name : "?";
}

int dtype_from_name(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].name && strcasecmp(table[i].name, name) == 0) return (int)i;
    return -1;
}

uint64_t dtype_row_bytes(enum dtype t, uint64_t n)
{
    const struct dtype_info *d = dtype_info(t);
    uint64_t bytes;
    if (t == DTYPE_N4) { /* a group of n: scale, 5 bits per 32, n / 2 bytes of codes */
        uint64_t rest = n % N4_GROUP;
        if (rest % 32 || __builtin_mul_overflow(n / N4_GROUP, (uint64_t)N4_GROUP_BYTES, &bytes)) return 0;
        return bytes + (rest ? 2 + (5 * (rest / 32) + 7) / 8 + rest / 2 : 0);
    }
    if (!d || n % d->block != 0 || __builtin_mul_overflow(n / d->block, (uint64_t)d->bytes, &bytes)) return 0;
    return bytes;
}
