/* SPDX-License-Identifier: Apache-2.0 */
/* See ulid.h. */
#include "serve/http/ulid.h"

#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { RANDOM_BYTES = 10 };

void ulid_make(char out[ULID_CHARS + 1])
{
    static const char digit[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* without i, l, o, u */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t last;
    static unsigned char tail[RANDOM_BYTES];
    struct timespec t;
    unsigned char r[RANDOM_BYTES];
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    pthread_mutex_lock(&lock);
    if (ms > last) {
        last = ms;
        randombytes_buf(tail, sizeof tail);
        tail[0] &= 0x7f; /* room to count */
    } else {
        uint64_t step = 1 + (uint64_t)randombytes_random();
        ms = last;
        for (int i = RANDOM_BYTES - 1; i >= 0; i--, step >>= 8) tail[i] = (unsigned char)(step += tail[i]);
    }
    memcpy(r, tail, sizeof r);
    pthread_mutex_unlock(&lock);
    for (int i = 9; i >= 0; i--, ms >>= 5) out[i] = digit[ms & 31];
    for (int i = 0; i < 16; i++) {
        int bit = 5 * i, at = bit / 8;
        unsigned two = (unsigned)r[at] << 8 | (at + 1 < RANDOM_BYTES ? r[at + 1] : 0);
        out[10 + i] = digit[two >> (11 - bit % 8) & 31];
    }
    out[ULID_CHARS] = 0;
}
