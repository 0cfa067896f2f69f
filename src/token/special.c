/* SPDX-License-Identifier: Apache-2.0 */
/* Special tokens in a text: see special.h. */
#include "token/special.h"

#include <inttypes.h>
#include "base/utf8.h"

static const char space_sign[] = "\xE2\x96\x81"; /* U+2581 */

/* A token that is not whole UTF-8 takes no part: it could only be found inside a character of a text. */
static bool takes_part(const struct vocab *v, uint32_t i)
{
    uint8_t t = v->type[i];
    struct str s = vocab_piece(v, (int32_t)i);
    bool special = t == TOKEN_CONTROL || t == TOKEN_UNKNOWN || t == TOKEN_USER_DEFINED;
    return special && s.n > 0 && utf8_valid(s) == s.n;
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

int special_init(struct special *s, struct vocab *v, struct err *e)
{
    *s = (struct special){.type = v->type};
    size_t total = 1;
    for (uint32_t i = 0; i < v->n; i++) {
        if (!takes_part(v, i)) continue;
        size_t n = vocab_piece(v, (int32_t)i).n;
        if (n > SPECIAL_PIECE_BYTES_MAX)
            return err(e, ERR_LIMIT,
                       "tokenizer: special token %" PRIu32 " has %zu bytes; at most %zu are supported", i, n,
                       SPECIAL_PIECE_BYTES_MAX);
        total += n;
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
        if (!takes_part(v, i)) continue;
        struct str t = vocab_piece(v, (int32_t)i);
        bool user = v->type[i] == TOKEN_USER_DEFINED, first = true;
        int32_t at = 0;
        for (size_t k = 0; k < t.n; first = false) {
            uint8_t b = (uint8_t)t.p[k];
            if (user && v->kind != VOCAB_BYTES && t.n - k >= 3 && memcmp(t.p + k, space_sign, 3) == 0) {
                b = ' '; /* a piece has U+2581 where the text has a space */
                k += 3;
            } else {
                k++;
            }
            if (first) {
                s->starts[1][b] = true;
                s->starts[0][b] |= user;
            }
            at = step(s, at, b);
        }
        if (s->node[at].id < 0) s->node[at].id = (int32_t)i; /* the same text twice: the lower id has it */
    }
    for (int32_t c = s->node[0].child; c; c = s->node[c].next) s->root[s->node[c].byte] = c;
    return 0;
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
                *m = (struct special_match){i, k - i, id};
            if (k == end) break;
            int32_t c = s->node[at].child;
            while (c && s->node[c].byte != (uint8_t)text[k]) c = s->node[c].next;
            at = c;
        }
        if (m->id >= 0) return true;
    }
    return false;
}
