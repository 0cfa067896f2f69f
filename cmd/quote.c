/* SPDX-License-Identifier: Apache-2.0 */
/* See quote.h. */
#include "quote.h"

#include "base/utf8.h"

static void append_escaped(struct buf *out, struct str s, size_t max, bool bare)
{
    size_t i = 0;
    uint32_t cp = 0;
    for (int used; i < s.n && i < max; i += (size_t)used) {
        const char *p = s.p + i;
        unsigned char c = (unsigned char)*p;
        used = utf8_decode(p, s.n - i, &cp);
        if (used <= 0) {
            used = 1;
            buf_printf(out, "\\x%02x", c);
        } else if (!bare && (c == '"' || c == '\\')) {
            buf_printf(out, "\\%c", c);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            buf_printf(out, "\\%c", "tnr"[(c == '\n') + 2 * (c == '\r')]);
        } else if (cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || cp == 0x2028 || cp == 0x2029 ||
                   (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069)) {
            buf_printf(out, "\\u%04x", (unsigned)cp); /* and what turns the direction of a line */
        } else {
            buf_append(out, p, (size_t)used);
        }
    }
    if (!bare) buf_append_char(out, '"');
    if (i < s.n) buf_append_z(out, "...");
}

void quote_append(struct buf *out, struct str s, size_t max_bytes)
{
    buf_append_char(out, '"');
    append_escaped(out, s, max_bytes, false);
}

void quote_append_bare(struct buf *out, struct str s, size_t max_bytes)
{
    append_escaped(out, s, max_bytes, true);
}
