/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of streams and files, as 64 lower-case hexadecimal digits. */
#ifndef TUTTI_FILE_DIGEST_H
#define TUTTI_FILE_DIGEST_H

#include <sodium/crypto_hash_sha256.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum { DIGEST_HEX_BYTES = 64 };

struct digest {
    crypto_hash_sha256_state state;
};

struct digest_hex {
    char z[DIGEST_HEX_BYTES + 1];
};

void digest_init(struct digest *d);
void digest_update(struct digest *d, const void *p, size_t n);
struct digest_hex digest_final(struct digest *d);

/* Adds the first n bytes of an open file (from its start, leaving the file position alone). */
int digest_add_file(struct digest *d, int fd, uint64_t n, struct err *e);
int digest_file(const char *path, struct digest_hex *out, struct err *e);

bool digest_is_hex(const char *z);            /* 64 hexadecimal digits of either case */
bool digest_eq(const char *a, const char *b); /* case ignored */

#endif
