/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: file/safetensors. What the reader accepts lies inside the file, fills it, and can be read to
 * the last byte. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "file/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct st_tensor *t;
    struct err e = {0};
    size_t n, from;
    char *copy = malloc(size ? size : 1); /* exact size: a sanitizer sees one byte too far */
    must(copy);
    if (size) memcpy(copy, data, size);
    arena_init(&a);
    int rc = safetensors_read((struct str){copy, size}, &a, &t, &n, &from, &e);
    must(rc ? e.code == rc && strlen(e.msg) > 0 && !strchr(e.msg, '\n') : from <= size);
    uint64_t all = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        uint64_t bytes = st_type_bytes(t[i].type);
        for (int d = 0; d < t[i].n_dims; d++) bytes *= t[i].dim[d];
        must(bytes == t[i].bytes && t[i].name.n && (const char *)t[i].data >= copy + from &&
             (const char *)t[i].data + bytes <= copy + size);
        if (bytes) sink += (uint64_t)t[i].data[0] + t[i].data[bytes - 1];
        all += bytes;
    }
    must(rc || all == size - from);
    arena_finish(&a);
    free(copy);
    return 0;
}
