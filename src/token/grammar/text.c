/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code points as bytes: edges for a set of code points in UTF-8, plain or within a JSON string, where quotes,
 * backslashes and control characters are written as escapes; and automata over code points as parts of a rule.
 */
#include "base/utf8.h"
#include "token/grammar/grammar_int.h"
#include "token/grammar/text.h"

/* Behind the first byte of a code point the rest is often "any continuation": one chain for all of them. */
struct lift {
    struct grammar *g;
    uint32_t from, to;
    uint32_t rest[4]; /* node from which k continuation bytes lead to `to`; 0: not made */
    bool count;
};

static uint32_t continuation(struct lift *x, int k)
{
    if (k == 0) return x->to;
    if (!x->rest[k]) {
        uint32_t next = continuation(x, k - 1);
        x->rest[k] = grammar_node(x->g);
        grammar_range(x->g, x->rest[k], next, 0x80, 0xBF, k == 1 && x->count);
    }
    return x->rest[k];
}

/* Sequences of n bytes, byte by byte between lo and hi, which share their length. Splits where the rest of the bytes
 * is not the whole range (Thompson's construction for UTF-8). */
static void lift_bytes(struct lift *x, uint32_t from, const uint8_t *lo, const uint8_t *hi, int n)
{
    static const uint8_t least[3] = {0x80, 0x80, 0x80}, most[3] = {0xBF, 0xBF, 0xBF};
    struct grammar *g = x->g;
    if (n == 1) {
        grammar_range(g, from, x->to, lo[0], hi[0], x->count);
        return;
    }
    bool low = memcmp(lo + 1, least, (size_t)n - 1) == 0, high = memcmp(hi + 1, most, (size_t)n - 1) == 0;
    if (lo[0] == hi[0]) {
        uint32_t next = low && high ? continuation(x, n - 1) : grammar_node(g);
        grammar_range(g, from, next, lo[0], lo[0], false);
        if (!(low && high)) lift_bytes(x, next, lo + 1, hi + 1, n - 1);
        return;
    }
    uint8_t first = lo[0], last = hi[0];
    if (!low) {
        uint32_t next = grammar_node(g);
        grammar_range(g, from, next, lo[0], lo[0], false);
        lift_bytes(x, next, lo + 1, most, n - 1);
        first++;
    }
    if (!high) {
        uint32_t next = grammar_node(g);
        grammar_range(g, from, next, hi[0], hi[0], false);
        lift_bytes(x, next, least, hi + 1, n - 1);
        last--;
    }
    if (first <= last) grammar_range(g, from, continuation(x, n - 1), first, last, false);
}

static void lift_range(struct lift *x, uint32_t lo, uint32_t hi)
{
    /* surrogates are no text */
    static const uint32_t last_of_length[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF, CSET_LAST};
    for (int i = 0; i < 6 && lo <= hi; i++) {
        uint32_t end = hi < last_of_length[i] ? hi : last_of_length[i];
        if (lo > last_of_length[i]) continue;
        if (i != 3) {
            char a[4], b[4];
            int n = (int)utf8_encode(lo, a);
            utf8_encode(end, b);
            lift_bytes(x, x->from, (const uint8_t *)a, (const uint8_t *)b, n);
        }
        lo = end + 1;
    }
}

static void hex_digit(struct grammar *g, uint32_t from, uint32_t to, int lo, int hi, bool count)
{
    if (lo <= 9) grammar_range(g, from, to, (uint8_t)('0' + lo), (uint8_t)('0' + (hi < 9 ? hi : 9)), count);
    if (hi < 10) return;
    int a = lo > 10 ? lo : 10;
    grammar_range(g, from, to, (uint8_t)('a' + a - 10), (uint8_t)('a' + hi - 10), count);
    grammar_range(g, from, to, (uint8_t)('A' + a - 10), (uint8_t)('A' + hi - 10), count);
}

/* \u and four digits for every code point; a pair for those beyond 16 bits, and no half of one. */
static void lift_all_hex(struct grammar *g, uint32_t backslash, uint32_t to, bool count)
{
    uint32_t u = grammar_literal(g, backslash, STR("u")), h1 = grammar_node(g), h2 = grammar_node(g),
             h3 = grammar_node(g);
    hex_digit(g, u, h1, 0, 12, false);
    hex_digit(g, u, h1, 14, 15, false);
    hex_digit(g, h1, h2, 0, 15, false);
    hex_digit(g, h2, h3, 0, 15, false);
    hex_digit(g, h3, to, 0, 15, count);
    uint32_t d = grammar_node(g), high = grammar_node(g), low = grammar_node(g), x = grammar_node(g);
    hex_digit(g, u, d, 13, 13, false);
    hex_digit(g, d, h2, 0, 7, false); /* D000 to D7FF */
    hex_digit(g, d, high, 8, 11, false);
    hex_digit(g, high, low, 0, 15, false);
    hex_digit(g, low, x, 0, 15, false);
    x = grammar_literal(g, x, STR("\\u"));
    uint32_t dd = grammar_node(g), l = grammar_node(g);
    hex_digit(g, x, dd, 13, 13, false);
    hex_digit(g, dd, l, 12, 15, false);
    hex_digit(g, l, h3, 0, 15, false); /* the last digit as before */
}

static void lift_json(struct lift *x, struct cset s)
{
    static const struct {
        char cp, letter;
    } letters[] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                   {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}, {'/', '/'}};
    struct grammar *g = x->g;
    uint32_t backslash = grammar_node(g), hex0 = 0;
    bool all = s.n == 1 && s.r[0].lo == 0 && s.r[0].hi == CSET_LAST, any = false;
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (cset_has(s, (uint32_t)letters[i].cp) && (all || letters[i].cp != '/')) {
            grammar_range(g, backslash, x->to, (uint8_t)letters[i].letter, (uint8_t)letters[i].letter, x->count);
            any = true;
        }
    if (all) lift_all_hex(g, backslash, x->to, x->count);
    for (int c = 0; c < 0x20 && !all; c++) {
        if (!cset_has(s, (uint32_t)c) || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t') continue;
        if (!hex0) hex0 = grammar_literal(g, backslash, STR("u00"));
        uint32_t next = grammar_node(g);
        hex_digit(g, hex0, next, c >> 4, c >> 4, false);
        hex_digit(g, next, x->to, c & 15, c & 15, x->count);
        any = true;
    }
    if (any) grammar_range(g, x->from, backslash, '\\', '\\', false);
}

void grammar_set(struct grammar *g, uint32_t from, uint32_t to, struct cset s, enum text_form form, bool count)
{
    struct lift x = {g, from, to, {0}, count};
    static const struct crange plain[] = {{' ', '!'}, {'#', '['}, {']', CSET_LAST}};
    for (int i = 0; i < s.n; i++) {
        if (form == TEXT_PLAIN) {
            lift_range(&x, s.r[i].lo, s.r[i].hi);
            continue;
        }
        for (int k = 0; k < 3; k++) {
            uint32_t lo = s.r[i].lo > plain[k].lo ? s.r[i].lo : plain[k].lo,
                     hi = s.r[i].hi < plain[k].hi ? s.r[i].hi : plain[k].hi;
            if (lo <= hi) lift_range(&x, lo, hi);
        }
    }
    if (form == TEXT_JSON) lift_json(&x, s);
}

int grammar_pattern(struct grammar *g, uint32_t from, uint32_t to, const struct pattern *p, enum text_form form)
{
    struct arena a;
    arena_init(&a);
    uint32_t *name = ARENA_NEW(&a, uint32_t, (size_t)p->n_node + 1);
    for (int i = 0; name && i < p->n_node; i++) name[i] = grammar_node(g);
    for (int i = 0; name && i < p->n_node && !g->failed; i++) {
        const struct pattern_node *n = &p->node[i];
        if (n->set >= 0) grammar_set(g, name[i], name[n->to], p->set[n->set], form, false);
        for (int k = 0; k < 2; k++)
            if (n->eps[k] >= 0) grammar_eps(g, name[i], name[n->eps[k]]);
        if (n->accept) grammar_eps(g, name[i], to);
    }
    for (int i = 0; name && i < p->n_start; i++) grammar_eps(g, from, name[p->start[i]]);
    if (p->empty) grammar_eps(g, from, to);
    arena_finish(&a);
    return name ? 0 : ERR_MEMORY;
}

int grammar_dfa(struct grammar *g, uint32_t from, uint32_t to, const struct dfa *d, enum text_form form)
{
    struct arena a;
    int m = d->n_interval;
    arena_init(&a);
    uint32_t *name = ARENA_NEW(&a, uint32_t, (size_t)d->n_state + 1);
    struct crange *r = ARENA_NEW(&a, struct crange, (size_t)m + 1);
    bool *done = ARENA_NEW(&a, bool, (size_t)m + 1);
    bool ok = name && r && done;
    for (int i = 0; ok && i < d->n_state; i++) name[i] = grammar_node(g);
    for (int i = 0; ok && i < d->n_state && !g->failed; i++) {
        memset(done, 0, (size_t)m);
        for (int k = 0; k < m; k++) {
            int n = 0;
            int32_t target = d->next[i * m + k];
            if (target < 0 || done[k]) continue;
            for (int j = k; j < m; j++) {
                if (d->next[i * m + j] != target) continue;
                done[j] = true;
                r[n++] = (struct crange){d->from[j], j + 1 < m ? d->from[j + 1] - 1 : CSET_LAST};
            }
            struct cset s;
            if (cset_make(&a, r, n, &s)) {
                ok = false;
                break;
            }
            grammar_set(g, name[i], name[target], s, form, false);
        }
        if (d->accept[i]) grammar_eps(g, name[i], to);
    }
    if (ok) grammar_eps(g, from, name[0]);
    arena_finish(&a);
    return ok ? 0 : ERR_MEMORY;
}
