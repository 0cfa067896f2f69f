/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8. A fault is treated as Python's bytes.decode('utf-8', errors='replace') does, which is Unicode's own
 * advice: every maximal part that could have begun a code point, and every byte that could not, becomes one
 * U+FFFD. Overlong forms, surrogates and anything above U+10FFFF are faults.
 */
#ifndef TUTTI_BASE_UTF8_H
#define TUTTI_BASE_UTF8_H

#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"

#define UTF8_REPLACEMENT STR("\xEF\xBF\xBD") /* U+FFFD */

/* Reads one code point of p[0..n), n > 0. Returns the bytes it takes (1 to 4); 0 when the bytes end inside a
 * code point that is right so far; -k when the first k bytes are one fault. *cp is set only for a positive
 * result. */
int utf8_decode(const char *p, size_t n, uint32_t *cp);

/* Writes cp (not a surrogate, at most 0x10FFFF) and returns its length. */
size_t utf8_encode(uint32_t cp, char out[4]);

/* Bytes before the first fault or unfinished code point; s.n when all of s is right. */
size_t utf8_valid(struct str s);

/* Appends s with its faults replaced; the result is valid UTF-8. Returns 0 or the buffer's failure. */
int utf8_append_replaced(struct buf *out, struct str s);

/* The same for bytes that come in parts: whole code points go out, an unfinished one waits in tail. */
struct utf8_stream {
    char tail[4];
    unsigned n_tail;
};

int utf8_stream_feed(struct utf8_stream *u, struct str s, struct buf *out);
/* an unfinished code point becomes one U+FFFD */
int utf8_stream_finish(struct utf8_stream *u, struct buf *out);

#endif
