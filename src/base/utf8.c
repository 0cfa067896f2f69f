/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: see utf8.h. The ranges of second bytes are those of the Unicode Standard, table 3-7. */
#include "base/utf8.h"

int utf8_decode(const char *p, size_t n, uint32_t *cp)
{
    unsigned char c = (unsigned char)p[0], lo = 0x80, hi = 0xBF;
    unsigned len;
    uint32_t v;
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    if (c < 0xC2 || c > 0xF4) return -1;
    if (c < 0xE0) {
        len = 2;
        v = c & 0x1Fu;
    } else if (c < 0xF0) {
        len = 3;
        v = c & 0x0Fu;
        if (c == 0xE0) lo = 0xA0;
        if (c == 0xED) hi = 0x9F;
    } else {
        len = 4;
        v = c & 0x07u;
        if (c == 0xF0) lo = 0x90;
        if (c == 0xF4) hi = 0x8F;
    }
    for (unsigned i = 1; i < len; i++) {
        if (i >= n) return 0;
        unsigned char d = (unsigned char)p[i];
        if (d < lo || d > hi) return -(int)i;
        v = v << 6 | (d & 0x3Fu);
        lo = 0x80;
        hi = 0xBF;
    }
    *cp = v;
    return (int)len;
}

size_t utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

size_t utf8_valid(struct str s)
{
    size_t i = 0;
    while (i < s.n) {
        uint64_t w;
        uint32_t cp;
        if (s.n - i >= sizeof w) { /* eight ASCII bytes at a time */
            memcpy(&w, s.p + i, sizeof w);
            if (!(w & UINT64_C(0x8080808080808080))) {
                i += sizeof w;
                continue;
            }
        }
        int k = utf8_decode(s.p + i, s.n - i, &cp);
        if (k <= 0) return i;
        i += (size_t)k;
    }
    return i;
}

/* Appends the right and replaced part of s; returns the length of an unfinished tail (0 to 3). */
static size_t append_whole(struct buf *out, struct str s)
{
    while (s.n > 0) {
        uint32_t cp;
        size_t good = utf8_valid(s);
        buf_append(out, s.p, good);
        s.p += good;
        s.n -= good;
        if (s.n == 0) break;
        int k = utf8_decode(s.p, s.n, &cp);
        if (k == 0) return s.n;
        buf_append_str(out, UTF8_REPLACEMENT);
        s.p += -k;
        s.n -= (size_t)-k;
    }
    return 0;
}

int utf8_append_replaced(struct buf *out, struct str s)
{
    if (append_whole(out, s) > 0) buf_append_str(out, UTF8_REPLACEMENT);
    return out->failed;
}

int utf8_stream_feed(struct utf8_stream *u, struct str s, struct buf *out)
{
    while (u->n_tail > 0 && s.n > 0) { /* finish or refuse what waits, a byte at a time */
        uint32_t cp;
        u->tail[u->n_tail++] = s.p[0];
        int k = utf8_decode(u->tail, u->n_tail, &cp);
        if (k < 0) { /* the new byte does not belong: it stays in s */
            u->n_tail = 0;
            buf_append_str(out, UTF8_REPLACEMENT);
            break;
        }
        s.p++;
        s.n--;
        if (k > 0) {
            buf_append(out, u->tail, (size_t)k);
            u->n_tail = 0;
        }
    }
    if (s.n == 0) return out->failed;
    size_t n = append_whole(out, s);
    memcpy(u->tail, s.p + s.n - n, n);
    u->n_tail = (unsigned)n;
    return out->failed;
}

int utf8_stream_finish(struct utf8_stream *u, struct buf *out)
{
    if (u->n_tail > 0) buf_append_str(out, UTF8_REPLACEMENT);
    u->n_tail = 0;
    return out->failed;
}
