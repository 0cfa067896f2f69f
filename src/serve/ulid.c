/* SPDX-License-Identifier: Apache-2.0 */
/* See ulid.h. */
#include "serve/ulid.h"

#include <sodium.h>
#include <stdint.h>
#include <time.h>

enum { RANDOM_BYTES = 10 };

void ulid_make(char out[ULID_CHARS + 1])
{
    static const char digit[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* without i, l, o, u */
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    unsigned char r[RANDOM_BYTES];
    randombytes_buf(r, sizeof r);
    for (int i = 9; i >= 0; i--, ms >>= 5) out[i] = digit[ms & 31];
    for (int i = 0; i < 16; i++) {
        int bit = 5 * i, at = bit / 8;
        unsigned two = (unsigned)r[at] << 8 | (at + 1 < RANDOM_BYTES ? r[at + 1] : 0);
        out[10 + i] = digit[two >> (11 - bit % 8) & 31];
    }
    out[ULID_CHARS] = 0;
}
