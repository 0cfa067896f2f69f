/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP downloads (libcurl) that can be cut at any point and go on later.
 *
 *   PATH.part        bytes so far; hashed while they are written
 *   PATH.part.json   url and validator (ETag) of those bytes
 *   PATH             appears by rename when length and SHA-256 are right
 *
 * A retry or a later run asks for the rest with Range and If-Range; a server that ignores the range or has
 * another version sends everything, and the file starts anew. Connections that stall, drop or answer 408, 429
 * or 5xx are tried again with growing pauses; progress resets the count. Redirects: at most 8, never from
 * https to http.
 */
#ifndef TUTTI_FILE_DOWNLOAD_H
#define TUTTI_FILE_DOWNLOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "file/digest.h"

#define DOWNLOAD_MAX_BYTES (UINT64_C(1) << 42) /* 4 TiB */
enum {
    DOWNLOAD_STALL_S = 30, /* default: no byte for so long = stalled */
    DOWNLOAD_TRIES = 6,    /* in a row without progress */
    DOWNLOAD_PAUSE_MS = 250,
    DOWNLOAD_PAUSE_MAX_MS = 8000,
    DOWNLOAD_MAX_REDIRECTS = 8,
    DOWNLOAD_TEXT_MAX = 32 << 20, /* bytes of an API answer */
};

struct download {
    const char *url;
    const char *path;   /* where the file shall be */
    const char *sha256; /* expected, or NULL */
    uint64_t bytes;     /* expected, or 0 */
    const char *label;  /* for the progress line */
    const char *bearer; /* token for the first host only, or NULL */
    unsigned stall_s;   /* 0 = DOWNLOAD_STALL_S */
    unsigned pause_ms;  /* before the second try, then doubling; 0 = DOWNLOAD_PAUSE_MS */
    bool quiet;
    const volatile sig_atomic_t *cancel; /* non-zero: stop and leave the .part file; or NULL */

    uint64_t got_bytes;           /* result: size of the file */
    struct digest_hex got_sha256; /* result */
};

int download_file(struct download *d, struct err *e);

/* Appends the body of a small answer to out, whose maximum is the limit. */
int download_text(const char *url, const char *bearer, unsigned stall_s, const volatile sig_atomic_t *cancel,
                  struct buf *out, struct err *e);

/* Percent-encodes what may not stand in a URL's path; slashes stay. */
int download_escape(struct buf *out, const char *text);

#endif
