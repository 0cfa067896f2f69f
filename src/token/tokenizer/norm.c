/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unicode normalisation: see norm.h. The tables are utf8proc's, less what later versions of Unicode added:
 * PyPI's tokenizers, by which models are trained and served, has the tables of about Unicode 11 and leaves
 * later characters alone. So ids are the same as there, and do not change with the utf8proc that is
 * installed.
 */
#include "token/tokenizer/norm.h"

#include <stdlib.h>
#include <utf8proc.h>
#include "base/utf8.h"

/*
 * Characters (first, last) that tokenizers 0.23.3 neither decomposes, composes nor orders although Unicode 16
 * does, found by trying every code point: alone, decomposed, and as a mark beside another.
 */
static const uint32_t later[][2] = {
    {0x7FD, 0x7FD},     {0x897, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x105C9, 0x105C9},
    {0x105E4, 0x105E4}, {0x10781, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27},
    {0x10D69, 0x10D6D}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x11383, 0x11383}, {0x11385, 0x11385}, {0x1138E, 0x1138E},
    {0x11391, 0x11391}, {0x113C5, 0x113C5}, {0x113C7, 0x113C8}, {0x113CE, 0x113D0}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0},
    {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16121, 0x16128}, {0x1612F, 0x1612F}, {0x16D68, 0x16D6A},
    {0x16FF0, 0x16FF1}, {0x1CCD6, 0x1CCF9}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136},
    {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF}, {0x1F16C, 0x1F16C},
    {0x1FBF0, 0x1FBF9},
};

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

static bool is_later(uint32_t cp)
{
    size_t lo = 0, hi = sizeof later / sizeof *later;
    if (cp < later[0][0]) return false;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > later[mid][1])
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof later / sizeof *later && cp >= later[lo][0];
}

/* How many bytes of s may be normalised by themselves: up to a later character, or about a chunk. *as_is: it
 * is such a character. */
static size_t next_part(struct str s, bool *as_is)
{
    *as_is = false;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        if ((unsigned char)s.p[i] < 0x80) { /* an ASCII character begins anew */
            if (i >= CHUNK_BYTES) return i;
            i++;
            continue;
        }
        int k = utf8_decode(s.p + i, s.n - i, &cp);
        if (k > 0 && is_later(cp)) {
            *as_is = i == 0;
            return i ? i : (size_t)k;
        }
        i += k > 0 ? (size_t)k : 1;
    }
    return s.n;
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
        bool as_is;
        size_t n = next_part(s, &as_is);
        utf8proc_uint8_t *p = NULL;
        utf8proc_ssize_t m = as_is ? 0 : utf8proc_map((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)n, &p, opt);
        if (m < 0)
            return err(e, m == UTF8PROC_ERROR_NOMEM ? ERR_MEMORY : ERR_LIMIT,
                       "tokenizer: cannot normalise the text: %s", utf8proc_errmsg(m));
        buf_append(tmp, as_is ? (const void *)s.p : p, as_is ? n : (size_t)m);
        free(p);
        s.p += n;
        s.n -= n;
    }
    *out = buf_str(tmp);
    return tmp->failed ? err(e, tmp->failed, "tokenizer: the normalised text is too long") : 0;
}
