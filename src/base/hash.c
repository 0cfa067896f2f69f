/* SPDX-License-Identifier: Apache-2.0 */
/* Keyed hash: see hash.h. */
#include "base/hash.h"

#include <pthread.h>
#include <sodium.h>
#include "base/err.h"

static unsigned char secret[crypto_shorthash_KEYBYTES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void draw(void)
{
    must(sodium_init() >= 0);
    randombytes_buf(secret, sizeof secret);
}

uint64_t hash_str(struct str s)
{
    uint64_t h;
    _Static_assert(sizeof h == crypto_shorthash_BYTES, "SipHash gives 8 bytes");
    pthread_once(&once, draw);
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)s.p, s.n, secret);
    return h;
}
