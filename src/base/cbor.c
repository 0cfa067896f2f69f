/* SPDX-License-Identifier: Apache-2.0 */
/* See cbor.h. */
#include "base/cbor.h"

#include "base/utf8.h"

enum major { UINT = 0, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5, SIMPLE = 7 };
enum { ONE_BYTE = 24, FLOAT32 = 26, HEAD_MAX = 9 };

/* --- writing ---------------------------------------------------------------------------------------------- */

static void put_head(struct buf *b, enum major major, uint64_t v)
{
    uint8_t h[HEAD_MAX];
    int n = v < 24 ? 0 : v <= UINT8_MAX ? 1 : v <= UINT16_MAX ? 2 : v <= UINT32_MAX ? 4 : 8;
    int info = n == 0 ? (int)v : n == 1 ? 24 : n == 2 ? 25 : n == 4 ? 26 : 27;
    h[0] = (uint8_t)((unsigned)major << 5 | (unsigned)info);
    for (int i = 0; i < n; i++) h[1 + i] = (uint8_t)(v >> 8 * (n - 1 - i));
    buf_append(b, h, (size_t)n + 1);
}

void cbor_put_uint(struct buf *b, uint64_t v)
{
    put_head(b, UINT, v);
}

void cbor_put_bytes(struct buf *b, const void *p, size_t n)
{
    put_head(b, BYTES, n);
    buf_append(b, p, n);
}

void cbor_put_text(struct buf *b, struct str s)
{
    put_head(b, TEXT, s.n);
    buf_append_str(b, s);
}

void cbor_put_array(struct buf *b, uint64_t n)
{
    put_head(b, ARRAY, n);
}

void cbor_put_map(struct buf *b, uint64_t n)
{
    put_head(b, MAP, n);
}

void cbor_put_f32(struct buf *b, float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    const uint8_t h[5] = {SIMPLE << 5 | FLOAT32, (uint8_t)(u >> 24), (uint8_t)(u >> 16), (uint8_t)(u >> 8), (uint8_t)u};
    buf_append(b, h, sizeof h);
}

/* --- reading ---------------------------------------------------------------------------------------------- */

void cbor_init(struct cbor *c, struct str bytes)
{
    *c = (struct cbor){.p = (const uint8_t *)bytes.p, .n = bytes.n};
}

static uint64_t fail(struct cbor *c, const char *why)
{
    if (!c->failed) c->failed = why;
    c->at = c->n;
    return 0;
}

static uint64_t read_be(struct cbor *c, int n)
{
    uint64_t v = 0;
    if (c->n - c->at < (size_t)n) return fail(c, "it ends too early");
    for (int i = 0; i < n; i++) v = v << 8 | c->p[c->at++];
    return v;
}

static uint64_t read_head(struct cbor *c, enum major major, const char *what)
{
    if (c->failed) return 0;
    if (c->at == c->n) return fail(c, "it ends too early");
    unsigned h = c->p[c->at++], info = h & 31;
    if (h >> 5 != (unsigned)major) return fail(c, what);
    if (info < ONE_BYTE) return info;
    if (info > 27) return fail(c, "a length is not definite");
    int n = 1 << (info - ONE_BYTE);
    uint64_t v = read_be(c, n), least = n == 1 ? 24 : (uint64_t)1 << 4 * n;
    return c->failed || v >= least ? v : fail(c, "a number is not in its shortest form");
}

uint64_t cbor_uint(struct cbor *c, uint64_t max)
{
    uint64_t v = read_head(c, UINT, "a whole number was expected");
    return v <= max ? v : fail(c, "a number is too large");
}

static struct str read_string(struct cbor *c, enum major major, const char *what)
{
    uint64_t n = read_head(c, major, what);
    if (n > c->n - c->at) fail(c, "a string is longer than what is left");
    if (c->failed) return (struct str){"", 0};
    struct str s = {(const char *)c->p + c->at, (size_t)n};
    c->at += s.n;
    return s;
}

struct str cbor_bytes(struct cbor *c)
{
    return read_string(c, BYTES, "bytes were expected");
}

struct str cbor_text(struct cbor *c)
{
    struct str s = read_string(c, TEXT, "a text was expected");
    if (utf8_valid(s) == s.n) return s;
    fail(c, "a text is not UTF-8");
    return (struct str){"", 0};
}

static uint64_t read_count(struct cbor *c, enum major major, const char *what, uint64_t max, uint64_t least_bytes)
{
    uint64_t n = read_head(c, major, what);
    if (n > max) return fail(c, "a list is too long");
    return n <= (c->n - c->at) / least_bytes ? n : fail(c, "a list is longer than what is left");
}

uint64_t cbor_array(struct cbor *c, uint64_t max)
{
    return read_count(c, ARRAY, "a list was expected", max, 1);
}

uint64_t cbor_map(struct cbor *c, uint64_t max)
{
    return read_count(c, MAP, "a map was expected", max, 2);
}

float cbor_f32(struct cbor *c)
{
    float v = 0;
    if (c->failed) return 0;
    if (c->at == c->n || c->p[c->at++] != (SIMPLE << 5 | FLOAT32)) {
        fail(c, "a float of 32 bits was expected");
        return 0;
    }
    uint32_t u = (uint32_t)read_be(c, 4);
    memcpy(&v, &u, sizeof v);
    return v;
}

bool cbor_next_is_bytes(const struct cbor *c)
{
    return !c->failed && c->at < c->n && c->p[c->at] >> 5 == BYTES;
}

bool cbor_end(struct cbor *c)
{
    if (!c->failed && c->at != c->n) c->failed = "something follows its end";
    return !c->failed;
}
