/* SPDX-License-Identifier: Apache-2.0 */
/* See signing.h. */
#include "serve/receipt/signing.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "serve/ledger/ledger.h"

#define HEAD "tutti-signing-ed25519 "
enum { HEAD_CHARS = sizeof HEAD - 1, SEED_BYTES = 32, LINE_CHARS = HEAD_CHARS + 2 * SEED_BYTES + 1 };

int signing_default_path(struct path *p, struct err *e)
{
    const char *own = getenv("TUTTI_SIGNING"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (own && *own) return path_format(p, e, "%s", own);
    if (data && *data) return path_format(p, e, "%s/tutti/signing.key", data);
    if (home && *home) return path_format(p, e, "%s/.local/share/tutti/signing.key", home);
    return err(e, ERR_USAGE, "no place for the signing key: HOME, XDG_DATA_HOME and TUTTI_SIGNING are not set");
}

static int choose(const char *path, struct path *p, struct err *e)
{
    int rc = path ? path_format(p, e, "%s", path) : signing_default_path(p, e);
    return rc ? rc : sodium_init() < 0 ? err(e, ERR_INTERNAL, "the source of random numbers is not ready") : 0;
}

int signing_read(struct signing *s, const char *path, struct err *e)
{
    struct path p;
    char line[LINE_CHARS + 1] = "";
    uint8_t seed[SEED_BYTES];
    struct stat st;
    size_t n = 0;
    int rc = choose(path, &p, e);
    if (rc) return rc;
    int fd = open(p.z, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                   "signing key %s: %s; 'tutti keys signing' makes one", p.z, strerror(errno));
    if (fstat(fd, &st) == 0 && st.st_mode & 077) {
        close(fd);
        return err(
            e, ERR_USAGE,
            "signing key %s: others may read it (mode %03o); make a new one, or chmod 600 if nobody did", p.z,
            (unsigned)st.st_mode & 0777);
    }
    ssize_t got = read(fd, line, sizeof line);
    close(fd);
    bool ok = got == LINE_CHARS && memcmp(line, HEAD, HEAD_CHARS) == 0 && line[LINE_CHARS - 1] == '\n' &&
              !sodium_hex2bin(seed, sizeof seed, line + HEAD_CHARS, 2 * SEED_BYTES, NULL, &n, NULL) && n == SEED_BYTES;
    if (ok) crypto_sign_seed_keypair(s->public, s->secret, seed);
    sodium_memzero(line, sizeof line);
    sodium_memzero(seed, sizeof seed);
    return ok ? 0
              : err(e, ERR_FORMAT, "signing key %s: expected one line '" HEAD "' and %d hexadecimal digits",
                    p.z, 2 * SEED_BYTES);
}

int signing_make(struct signing *s, const char *path, struct err *e)
{
    struct path p, dir;
    uint8_t seed[SEED_BYTES];
    char hex[2 * SEED_BYTES + 1], line[LINE_CHARS + 1];
    int rc = choose(path, &p, e);
    if (rc || (rc = path_format(&dir, e, "%s", p.z))) return rc;
    char *slash = strrchr(dir.z, '/');
    if (slash && slash != dir.z) {
        *slash = 0;
        if ((rc = path_make_dirs(dir.z, e))) return rc;
    }
    int fd = open(p.z, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err(e, errno == EEXIST ? ERR_USAGE : ERR_IO, "signing key %s: cannot make it: %s", p.z,
                   strerror(errno));
    randombytes_buf(seed, sizeof seed);
    crypto_sign_seed_keypair(s->public, s->secret, seed);
    sodium_bin2hex(hex, sizeof hex, seed, sizeof seed);
    snprintf(line, sizeof line, HEAD "%s\n", hex);
    bool ok = write(fd, line, LINE_CHARS) == LINE_CHARS && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(hex, sizeof hex);
    sodium_memzero(line, sizeof line);
    if (ok) return 0;
    rc = err(e, ERR_IO, "signing key %s: cannot write it: %s", p.z, strerror(errno));
    unlink(p.z);
    return rc;
}

void signing_sign(const struct signing *s, struct str message, uint8_t signature[SIGNATURE_BYTES])
{
    crypto_sign_detached(signature, NULL, (const unsigned char *)message.p, message.n, s->secret);
}

bool signing_check(const uint8_t public[SIGNING_PUBLIC_BYTES], struct str message,
                   const uint8_t signature[SIGNATURE_BYTES])
{
    return crypto_sign_verify_detached(signature, (const unsigned char *)message.p, message.n, public) == 0;
}

void signing_hex(const uint8_t public[SIGNING_PUBLIC_BYTES], char hex[SIGNING_HEX + 1])
{
    sodium_bin2hex(hex, SIGNING_HEX + 1, public, SIGNING_PUBLIC_BYTES);
}

int signing_parse(const char *text, uint8_t public[SIGNING_PUBLIC_BYTES], struct err *e)
{
    char line[SIGNING_HEX + 2] = "";
    size_t n = 0;
    if (strlen(text) != SIGNING_HEX || strspn(text, "0123456789abcdefABCDEF") != SIGNING_HEX) {
        FILE *f = fopen(text, "re");
        if (!f)
            return err(e, ERR_USAGE, "'%s' is neither a public key of %d hexadecimal digits nor a file: %s",
                       text, SIGNING_HEX, strerror(errno));
        size_t got = fread(line, 1, sizeof line - 1, f);
        fclose(f);
        line[got] = 0;
        line[strcspn(line, " \r\n")] = 0;
    } else {
        memcpy(line, text, SIGNING_HEX + 1);
    }
    if (strlen(line) != SIGNING_HEX ||
        sodium_hex2bin(public, SIGNING_PUBLIC_BYTES, line, SIGNING_HEX, NULL, &n, NULL) ||
        n != SIGNING_PUBLIC_BYTES)
        return err(e, ERR_FORMAT, "%s: expected a public key of %d hexadecimal digits", text, SIGNING_HEX);
    return 0;
}
