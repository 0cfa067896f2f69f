/* SPDX-License-Identifier: Apache-2.0 */
/* Unicode normalisation: see norm.h. The tables are utf8proc's. */
#include "token/norm.h"

#include <stdlib.h>
#include <utf8proc.h>
#include "base/utf8.h"

enum { CHUNK_BYTES = 1 << 20 }; /* at most this much at a time, cut where no character can reach across */

/* Nothing below U+0300 changes under NFC, nothing below U+00A0 under NFKC. */
static bool is_plain(struct str s, uint32_t limit)
{
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        if ((unsigned char)s.p[i] < 0x80) {
            i++;
            continue;
        }
        int k = utf8_decode(s.p + i, s.n - i, &cp);
        if (k <= 0 || cp >= limit) return false;
        i += (size_t)k;
    }
    return true;
}

static int check_marks(struct str s, size_t marks_max, struct err *e)
{
    size_t run = 0;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        int k = utf8_decode(s.p + i, s.n - i, &cp);
        i += k > 0 ? (size_t)k : 1;
        run = k > 0 && cp >= 0x300 && utf8proc_get_property((utf8proc_int32_t)cp)->combining_class ? run + 1
                                                                                                   : 0;
        if (run > marks_max)
            return err(e, ERR_LIMIT,
                       "tokenizer: the text puts more than %zu combining marks on one character", marks_max);
    }
    return 0;
}

int norm_apply(enum vocab_norm norm, struct str s, size_t marks_max, struct buf *tmp, struct str *out,
               struct err *e)
{
    *out = s;
    if (norm == VOCAB_NORM_NONE || is_plain(s, norm == VOCAB_NORM_NFC ? 0x300 : 0xA0)) return 0;
    int rc = check_marks(s, marks_max, e);
    if (rc != 0) return rc;
    utf8proc_option_t opt =
        UTF8PROC_STABLE | UTF8PROC_COMPOSE | (norm == VOCAB_NORM_NFKC ? UTF8PROC_COMPAT : 0);
    buf_clear(tmp);
    while (s.n > 0) {
        size_t n = s.n;
        if (n > CHUNK_BYTES) { /* an ASCII character begins anew: cut before one */
            n = CHUNK_BYTES;
            while (n < s.n && (unsigned char)s.p[n] >= 0x80) n++;
        }
        utf8proc_uint8_t *p = NULL;
        utf8proc_ssize_t m = utf8proc_map((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)n, &p, opt);
        if (m < 0)
            return err(e, m == UTF8PROC_ERROR_NOMEM ? ERR_MEMORY : ERR_LIMIT,
                       "tokenizer: cannot normalise the text: %s", utf8proc_errmsg(m));
        buf_append(tmp, p, (size_t)m);
        free(p);
        s.p += n;
        s.n -= n;
    }
    *out = buf_str(tmp);
    return tmp->failed ? err(e, tmp->failed, "tokenizer: the normalised text is too long") : 0;
}
