/* SPDX-License-Identifier: Apache-2.0 */
/* See json_out.h. */
#include "serve/http/json_out.h"

#include <math.h>
#include "base/utf8.h"

static const char *short_escape(unsigned char c)
{
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: return NULL;
    }
}

void json_escape(struct buf *out, struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        uint32_t cp;
        int used = c < 0x80 ? 1 : utf8_decode(s.p + i, s.n - i, &cp);
        if (used > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += (size_t)used;
            continue;
        }
        buf_append(out, s.p + from, i - from);
        const char *z = short_escape(c);
        if (z) buf_append_z(out, z);
        else if (c < 0x20) buf_printf(out, "\\u%04x", c);
        else buf_append_str(out, UTF8_REPLACEMENT);
        i += used > 0 ? (size_t)used : used < 0 ? (size_t)-used : s.n - i;
        from = i;
    }
    buf_append(out, s.p + from, s.n - from);
}

void json_quote(struct buf *out, struct str s)
{
    buf_append_char(out, '"');
    json_escape(out, s);
    buf_append_char(out, '"');
}

void json_quote_or_null(struct buf *out, const char *z)
{
    if (z) json_quote(out, str_from(z));
    else buf_append_z(out, "null");
}

void json_number(struct buf *out, double x)
{
    if (isfinite(x)) buf_printf(out, "%.9g", x);
    else buf_append_z(out, "null");
}

void json_bytes(struct buf *out, struct str s)
{
    buf_append_char(out, '[');
    for (size_t i = 0; i < s.n; i++) buf_printf(out, i ? ",%u" : "%u", (unsigned char)s.p[i]);
    buf_append_char(out, ']');
}

static int append_dump(const char *p, size_t n, void *ud)
{
    return buf_append(ud, p, n);
}

void json_value(struct buf *out, const json_t *v)
{
    if (!v || json_dump_callback(v, append_dump, out, JSON_COMPACT | JSON_ENCODE_ANY)) {
        if (!v) buf_append_z(out, "null");
        else if (!out->failed) out->failed = ERR_MEMORY;
    }
}
