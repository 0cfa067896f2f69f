/* SPDX-License-Identifier: Apache-2.0 */
/* Special tokens in a text: see special.h. */
#include "token/tokenizer/special.h"

#include <inttypes.h>
#include <utf8proc.h>
#include "base/utf8.h"

enum { SPELT_BYTES_MAX = 3 * SPECIAL_PIECE_BYTES_MAX + 3 };

static const char space_sign[] = "\xE2\x96\x81"; /* U+2581 */

/* A token that is not whole UTF-8 takes no part: it could only be found inside a character of a text. */
static bool takes_part(const struct vocab *v, uint32_t i, unsigned how)
{
    uint8_t t = v->type[i];
    struct str s = vocab_piece(v, (int32_t)i);
    bool special = t == TOKEN_CONTROL || t == TOKEN_UNKNOWN || t == TOKEN_USER_DEFINED;
    bool late = t == TOKEN_USER_DEFINED && v->added && v->added[i] & ADDED_NORMALIZED;
    return special && late == ((how & SPECIAL_LATE) != 0) && s.n > 0 && utf8_valid(s) == s.n;
}

/* The child of node at by byte b; made when absent. */
static int32_t step(struct special *s, int32_t at, uint8_t b)
{
    for (int32_t c = s->node[at].child; c; c = s->node[c].next) {
        if (s->node[c].byte == b) return c;
    }
    int32_t c = s->n_node++;
    s->node[c] = (struct special_node){.next = s->node[at].child, .id = -1, .byte = b};
    s->node[at].child = c;
    return c;
}

/* A token as the text has it: there are spaces where a piece has U+2581, or the other way round. */
static size_t spell(const struct vocab *v, uint32_t i, unsigned how, char out[static SPELT_BYTES_MAX])
{
    struct str t = vocab_piece(v, (int32_t)i);
    bool spaces = v->type[i] == TOKEN_USER_DEFINED && v->kind != VOCAB_BYTES && !(how & SPECIAL_SIGNS);
    size_t n = 0;
    if (how & SPECIAL_PREFIX) memcpy(out, space_sign, 3), n = 3;
    for (size_t k = 0; k < t.n; k++) {
        if (spaces && t.n - k >= 3 && memcmp(t.p + k, space_sign, 3) == 0) {
            out[n++] = ' ';
            k += 2;
        } else if (how & SPECIAL_SIGNS && t.p[k] == ' ') {
            memcpy(out + n, space_sign, 3);
            n += 3;
        } else {
            out[n++] = t.p[k];
        }
    }
    return n;
}

int special_init(struct special *s, struct vocab *v, unsigned how, struct err *e)
{
    char z[SPELT_BYTES_MAX];
    *s = (struct special){.type = v->type, .added = v->added};
    size_t total = 1;
    for (uint32_t i = 0; i < v->n; i++) {
        if (!takes_part(v, i, how)) continue;
        size_t n = vocab_piece(v, (int32_t)i).n;
        if (n > SPECIAL_PIECE_BYTES_MAX)
            return err(e, ERR_LIMIT,
                       "tokenizer: special token %" PRIu32 " has %zu bytes; at most %zu are supported", i, n,
                       SPECIAL_PIECE_BYTES_MAX);
        total += spell(v, i, how, z);
    }
    if (total > SPECIAL_TEXT_BYTES_MAX)
        return err(e, ERR_LIMIT,
                   "tokenizer: the special tokens have %zu bytes together; at most %zu are supported", total,
                   SPECIAL_TEXT_BYTES_MAX);
    s->node = ARENA_NEW(&v->arena, struct special_node, total);
    if (!s->node) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    s->node[0].id = -1;
    s->n_node = 1;
    for (uint32_t i = 0; i < v->n; i++) {
        if (!takes_part(v, i, how)) continue;
        size_t n = spell(v, i, how, z);
        int32_t at = 0;
        s->starts[1][(uint8_t)z[0]] = true;
        s->starts[0][(uint8_t)z[0]] |= v->type[i] == TOKEN_USER_DEFINED;
        for (size_t k = 0; k < n; k++) at = step(s, at, (uint8_t)z[k]);
        if (s->node[at].id < 0) s->node[at].id = (int32_t)i; /* the same text twice: the lower id has it */
    }
    for (int32_t c = s->node[0].child; c; c = s->node[c].next) s->root[s->node[c].byte] = c;
    return 0;
}

bool special_is_empty(const struct special *s)
{
    return s->n_node <= 1;
}

bool special_find(const struct special *s, const char *text, size_t from, size_t end, bool trusted,
                  struct special_match *m)
{
    const bool *starts = s->starts[trusted];
    for (size_t i = from; i < end; i++) {
        if (!starts[(uint8_t)text[i]]) continue;
        m->id = -1;
        int32_t at = s->root[(uint8_t)text[i]];
        for (size_t k = i + 1; at; k++) {
            int32_t id = s->node[at].id;
            if (id >= 0 && (trusted || s->type[id] == TOKEN_USER_DEFINED))
                *m = (struct special_match){i, k - i, k, id};
            if (k == end) break;
            int32_t c = s->node[at].child;
            while (c && s->node[c].byte != (uint8_t)text[k]) c = s->node[c].next;
            at = c;
        }
        if (m->id >= 0) return true;
    }
    return false;
}

/* --- what a token takes with it ------------------------------------------------------------------------------ */

/* White_Space */
static bool is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F ||
           cp == 0x3000;
}

/* How far white space reaches: backwards from `at` down to `from`, and on from `at` up to `end`. */
static size_t space_before(const char *p, size_t from, size_t at)
{
    uint32_t cp;
    while (at > from) {
        size_t i = at - 1;
        while (i > from && ((unsigned char)p[i] & 0xC0) == 0x80) i--;
        if (utf8_decode(p + i, at - i, &cp) != (int)(at - i) || !is_space(cp)) break;
        at = i;
    }
    return at;
}

static size_t space_behind(const char *p, size_t at, size_t end)
{
    uint32_t cp;
    while (at < end) {
        int k = utf8_decode(p + at, end - at, &cp);
        if (k <= 0 || !is_space(cp)) break;
        at += (size_t)k;
    }
    return at;
}

/* Part of a word: letters, marks, digits, connectors, what Unicode calls alphabetic. */
static bool is_word(const char *p, size_t n)
{
    uint32_t cp;
    if (n == 0 || utf8_decode(p, n, &cp) <= 0) return false;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default:
        return cp == 0x200C || cp == 0x200D || (cp >= 0x24B6 && cp <= 0x24E9) ||
               (cp >= 0x1F130 && cp <= 0x1F149) || (cp >= 0x1F150 && cp <= 0x1F169) ||
               (cp >= 0x1F170 && cp <= 0x1F189);
    }
}

/* Whether a character that belongs to a word ends text[..at). */
static bool word_ends(const char *p, size_t at)
{
    size_t last = at;
    while (last > 0 && ((unsigned char)p[--last] & 0xC0) == 0x80) continue;
    return is_word(p + last, at - last);
}

bool special_next(const struct special *s, struct str text, size_t plain, size_t at, size_t end, bool trusted,
                  struct special_match *m)
{
    for (; special_find(s, text.p, at, end, trusted, m); at = m->end) {
        unsigned flags = s->added ? s->added[m->id] : 0;
        size_t from = m->at, to = m->end;
        if (flags & ADDED_WORD && (word_ends(text.p, from) || is_word(text.p + to, text.n - to))) continue;
        if (flags & ADDED_LEFT) from = space_before(text.p, plain < from ? plain : from, from);
        if (flags & ADDED_RIGHT) to = space_behind(text.p, to, text.n);
        m->at = from;
        m->n = to - from;
        return true;
    }
    return false;
}
