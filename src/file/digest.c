/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256: see digest.h; libsodium computes it. */
#include "file/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 16 };

void digest_init(struct digest *d)
{
    crypto_hash_sha256_init(&d->state);
}

void digest_update(struct digest *d, const void *p, size_t n)
{
    crypto_hash_sha256_update(&d->state, p, n);
}

struct digest_hex digest_final(struct digest *d)
{
    static const char digit[] = "0123456789abcdef";
    unsigned char sum[crypto_hash_sha256_BYTES];
    struct digest_hex hex;
    crypto_hash_sha256_final(&d->state, sum);
    for (size_t i = 0; i < sizeof sum; i++) {
        hex.z[2 * i] = digit[sum[i] >> 4];
        hex.z[2 * i + 1] = digit[sum[i] & 15];
    }
    hex.z[DIGEST_HEX_BYTES] = 0;
    return hex;
}

int digest_add_file(struct digest *d, int fd, uint64_t n, struct err *e)
{
    char chunk[CHUNK_BYTES];
    for (uint64_t at = 0; at < n;) {
        size_t want = n - at < sizeof chunk ? (size_t)(n - at) : sizeof chunk;
        ssize_t got = pread(fd, chunk, want, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err(e, ERR_IO, "cannot read: %s", strerror(errno));
        if (got == 0) return err(e, ERR_IO, "the file shrank while it was read");
        digest_update(d, chunk, (size_t)got);
        at += (uint64_t)got;
    }
    return 0;
}

int digest_file(const char *path, struct digest_hex *out, struct err *e)
{
    struct digest d;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err(e, ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    digest_init(&d);
    int rc = fstat(fd, &st) == 0 ? digest_add_file(&d, fd, (uint64_t)st.st_size, e)
                                 : err(e, ERR_IO, "cannot examine: %s", strerror(errno));
    close(fd);
    if (rc) err_prefix(e, "%s", path);
    *out = digest_final(&d);
    return rc;
}

bool digest_is_hex(const char *z)
{
    return strlen(z) == DIGEST_HEX_BYTES && strspn(z, "0123456789abcdefABCDEF") == DIGEST_HEX_BYTES;
}

bool digest_eq(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}
