/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokenizer: see tokenizer.h. This file joins the segments of a text, cuts out special tokens, and turns each
 * word into ids through a cache. The cache is what makes it fast: words repeat, so nearly all of a text is
 * one look at one line of 64 bytes per word. It holds words of up to 32 bytes and 7 tokens, two to a set.
 */
#include "token/tokenizer/tokenizer.h"

#include <stdlib.h>
#include "token/tokenizer/merge.h"
#include "token/tokenizer/norm.h"
#include "token/tokenizer/special.h"
#include "token/tokenizer/split.h"

enum {
    WORD_BYTES_MAX = 32,
    WORD_IDS_MAX = 7,
    WORD_CACHE = 1 << 14,      /* words: 1 MiB */
    TEXT_PAD = WORD_BYTES_MAX, /* zero bytes behind a text, so that a word may be read in whole chunks */
};

struct tokenizer {
    struct vocab v;
    struct split_family own; /* of a file with stages of its own */
    struct special special, late; /* late: looked for in normalised text, after the others */
    struct splitter splitter;
    enum vocab_norm norm;
    bool add_bos, add_eos, add_space;
    bool signs_first; /* spaces become U+2581 before the late tokens are looked for */
};

struct word {
    uint8_t n, n_ids; /* n = 0: empty */
    int32_t id[WORD_IDS_MAX];
    uint64_t key[WORD_BYTES_MAX / 8];
};

_Static_assert(sizeof(struct word) == 64, "a cached word is one cache line");

struct range {
    size_t from, end;
    bool trusted;
};

struct tok_scratch {
    const struct tokenizer *t;
    struct word *word; /* [WORD_CACHE] */
    struct split_scratch split;
    struct merge_scratch merge;
    struct buf text;     /* all segments, faults replaced */
    struct buf normal;   /* a stretch of text, normalised */
    struct buf changed;  /* one with U+2581 for spaces */
    struct range *range; /* of text, by trust */
    size_t n_range, n_range_cap;
};

/* --- lifetime ---------------------------------------------------------------------------------------- */

int tokenizer_create(struct tokenizer **out, const struct vocab_spec *spec, struct err *e)
{
    static const struct split_family pieces = {.name = "SentencePiece", .flags = SPLIT_CHARS};
    const struct split_family *family = &pieces;
    int rc;
    *out = NULL;
    bool is_gemma4 = str_eq(spec->model, STR("gemma4"));
    struct str pre = is_gemma4 ? spec->model : spec->pre;
    bool is_own = str_eq(spec->model, STR("gpt2")) && str_eqz(pre, SPLIT_OWN);
    if (!is_own && (is_gemma4 || str_eq(spec->model, STR("gpt2"))) && (rc = split_family_find(pre, &family, e)) != 0)
        return rc;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    if (is_own) family = &t->own;
    if ((rc = vocab_init(&t->v, spec, (is_own ? spec->split_flags : family->flags) & SPLIT_CHARS, e)) != 0) goto fail;
    if (is_own && (rc = split_family_own(&t->own, spec, &t->v.arena, e)) != 0) goto fail;
    if ((rc = special_init(&t->special, &t->v, 0, e)) != 0) goto fail;
    if ((rc = splitter_init(&t->splitter, family, e)) != 0) goto fail;
    t->norm = spec->norm == VOCAB_NORM_DEFAULT ? family->norm : spec->norm;
    bool is_spm = t->v.kind == VOCAB_PIECES;
    t->add_bos =
        (spec->add_bos < 0 ? is_spm || (family->flags & SPLIT_ADD_BOS) : spec->add_bos) && t->v.bos >= 0;
    t->add_eos = spec->add_eos > 0 && t->v.eos >= 0;
    t->add_space = is_spm ? spec->add_space_prefix != 0
                          : t->v.kind == VOCAB_CHARS &&
                                family->flags & (SPLIT_SPACE_EACH | SPLIT_SPACE_FIRST | SPLIT_SPACE_UNLESS);
    bool prefix = t->add_space && !(family->flags & (SPLIT_SPACE_FIRST | SPLIT_SPACE_UNLESS));
    t->signs_first = prefix || family->flags & SPLIT_SIGNS_FIRST;
    unsigned how = SPECIAL_LATE | (t->signs_first ? SPECIAL_SIGNS : 0) | (prefix ? SPECIAL_PREFIX : 0);
    if ((rc = special_init(&t->late, &t->v, how, e)) != 0) goto fail;
    *out = t;
    return 0;
fail:
    tokenizer_destroy(t);
    return rc;
}

void tokenizer_destroy(struct tokenizer *t)
{
    if (!t) return;
    splitter_finish(&t->splitter);
    vocab_finish(&t->v);
    free(t);
}

int tok_scratch_create(struct tok_scratch **out, const struct tokenizer *t, struct err *e)
{
    *out = NULL;
    struct tok_scratch *x = calloc(1, sizeof *x);
    if (!x) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    x->t = t;
    x->word = calloc(WORD_CACHE, sizeof *x->word);
    buf_init(&x->text, 3 * TOKENIZER_TEXT_BYTES_MAX + TEXT_PAD); /* a replaced byte takes three */
    buf_init(&x->normal, 12 * TOKENIZER_TEXT_BYTES_MAX + TEXT_PAD);
    buf_init(&x->changed, 12 * TOKENIZER_TEXT_BYTES_MAX + TEXT_PAD);
    int rc = x->word ? split_scratch_init(&x->split, &t->splitter, e)
                     : err(e, ERR_MEMORY, "tokenizer: out of memory");
    if (rc == 0) rc = merge_scratch_init(&x->merge, &t->v, e);
    if (rc != 0) {
        tok_scratch_destroy(x);
        return rc;
    }
    *out = x;
    return 0;
}

void tok_scratch_destroy(struct tok_scratch *x)
{
    if (!x) return;
    split_scratch_finish(&x->split);
    merge_scratch_finish(&x->merge);
    buf_finish(&x->text);
    buf_finish(&x->normal);
    buf_finish(&x->changed);
    free(x->range);
    free(x->word);
    free(x);
}

/* --- words ------------------------------------------------------------------------------------------- */

struct encoding {
    const struct tokenizer *t;
    struct tok_scratch *x;
    struct ids *out;
    struct err *e;
    size_t n_start; /* ids before the stretch of plain text in work */
    bool at_start;  /* that stretch begins the text */
};

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* The word as whole chunks, zeros behind; TEXT_PAD bytes may be read behind it. Returns its hash. */
static uint64_t load_key(const char *p, size_t n, uint64_t key[4])
{
    memcpy(key, p, WORD_BYTES_MAX);
    if (n <= 8) {
        key[0] &= ~UINT64_C(0) >> (64 - 8 * n);
        key[1] = key[2] = key[3] = 0;
        return fold(key[0] ^ UINT64_C(0x9E3779B97F4A7C15), UINT64_C(0xD6E8FEB86659FD93));
    }
    for (size_t i = 1; i < 4; i++) {
        size_t k = n > 8 * i ? n - 8 * i : 0;
        key[i] &= k >= 8 ? ~UINT64_C(0) : k ? ~UINT64_C(0) >> (64 - 8 * k) : 0;
    }
    return fold(key[0] ^ UINT64_C(0x9E3779B97F4A7C15), key[1] ^ UINT64_C(0xD6E8FEB86659FD93)) ^
           fold(key[2] ^ UINT64_C(0xA0761D6478BD642F), key[3] ^ UINT64_C(0xE7037ED1A0B428DB));
}

/* A word outside the cache: as one piece, or merged. */
static int encode_new(const struct encoding *c, const char *p, size_t n)
{
    const struct tokenizer *t = c->t;
    bool whole =
        (t->splitter.family->flags & SPLIT_WHOLE_WORDS) || (t->splitter.family->flags & SPLIT_LINES && p[0] == '\n');
    int32_t id = whole ? vocab_find(&t->v, (struct str){p, n}) : -1;
    if (id >= 0 && t->v.added && t->v.added[id] & ADDED_WORD) id = -1; /* it was looked for, and did not stand alone */
    if (id < 0) return merge_word(&t->v, &c->x->merge, p, n, c->out, c->e);
    ids_push(c->out, id);
    return 0;
}

/* Unknown characters in a row are one unknown token, also where a word ends between them. */
static void join_unknown(const struct encoding *c, size_t n_before)
{
    struct ids *o = c->out;
    int32_t unk = c->t->v.unk;
    if (n_before > c->n_start && o->n > n_before && o->p[n_before] == unk && o->p[n_before - 1] == unk) {
        o->n--;
        memmove(o->p + n_before, o->p + n_before + 1, (o->n - n_before) * sizeof *o->p);
    }
}

static int encode_word(void *ctx, const char *p, size_t n)
{
    const struct encoding *c = ctx;
    struct ids *o = c->out;
    size_t n_before = o->n;
    if (n > WORD_BYTES_MAX) {
        int rc = encode_new(c, p, n);
        if (c->t->v.kind == VOCAB_PIECES) join_unknown(c, n_before);
        return rc;
    }
    uint64_t key[4], h = load_key(p, n, key);
    struct word *w = &c->x->word[h & (WORD_CACHE - 1)];
    for (int way = 0;; way++) {
        struct word *u = &c->x->word[(h & (WORD_CACHE - 1)) ^ (uint64_t)way];
        if (u->n == n && memcmp(u->key, key, sizeof key) == 0) {
            w = u;
            break;
        }
        if (way == 1) { /* the older of the two makes room */
            int rc = encode_new(c, p, n);
            if (rc != 0) return rc;
            if (o->n - n_before <= WORD_IDS_MAX) {
                *u = *w;
                w->n = (uint8_t)n;
                w->n_ids = (uint8_t)(o->n - n_before);
                if (w->n_ids) memcpy(w->id, o->p + n_before, w->n_ids * sizeof *w->id);
                memcpy(w->key, key, sizeof key);
            }
            if (c->t->v.kind == VOCAB_PIECES) join_unknown(c, n_before);
            return 0;
        }
    }
    if (o->cap - o->n >= WORD_IDS_MAX) {
        memcpy(o->p + o->n, w->id, sizeof w->id);
        o->n += w->n_ids;
    } else if (ids_append(o, w->id, w->n_ids) != 0) {
        return err(c->e, o->failed, "tokenizer: the text has too many tokens");
    }
    if (c->t->v.kind == VOCAB_PIECES) join_unknown(c, n_before);
    return 0;
}

/* --- text -------------------------------------------------------------------------------------------- */

static const char space_sign[] = "\xE2\x96\x81"; /* U+2581 */

static bool is_sign(struct str s, size_t at)
{
    return s.n - at >= 3 && memcmp(s.p + at, space_sign, 3) == 0;
}

/* SentencePiece has no word pattern. Its merges cannot reach over the start of a run of U+2581 when no piece
 * does, and then what lies between is a word. */
static int encode_chars(struct encoding *c, struct str s)
{
    const struct vocab *v = &c->t->v;
    unsigned flags = c->t->splitter.family->flags;
    size_t from = 0;
    for (size_t i = 1; i <= s.n; i++) {
        bool cut = i == s.n;
        if (!cut && s.p[i] == space_sign[0] && !v->glue[(uint8_t)s.p[i - 1]])
            cut = is_sign(s, i) && !(i - from >= 3 && is_sign(s, i - 3));
        if (!cut && flags & SPLIT_AT_SPACES) cut = is_sign(s, i);
        if (!cut && flags & SPLIT_LINES) cut = (s.p[i] == '\n') != (s.p[i - 1] == '\n');
        if (!cut) continue;
        int rc = encode_word(c, s.p + from, i - from);
        if (rc != 0) return rc;
        from = i;
    }
    return 0;
}

/* Pads what is in b and returns it; a failure is left for the caller to see. */
static struct str padded(struct buf *b)
{
    static const char zero[TEXT_PAD];
    size_t n = b->n;
    buf_append(b, zero, sizeof zero);
    return (struct str){b->p, n};
}

/* Whether the space that this tokenizer adds is due before this stretch of text. */
static bool wants_space(const struct encoding *c, struct str s)
{
    unsigned flags = c->t->splitter.family->flags;
    bool has = s.p[0] == ' ' || is_sign(s, 0);
    if (flags & SPLIT_SPACE_FIRST && c->at_start && !has) return true;
    if (flags & SPLIT_SPACE_UNLESS && !has) return true;
    return !(flags & (SPLIT_SPACE_FIRST | SPLIT_SPACE_UNLESS));
}

/* s with U+2581 for spaces, and one more in front if prefix; padded, in x->changed. */
static int put_signs(struct encoding *c, struct str s, bool prefix, struct str *out)
{
    struct buf *b = &c->x->changed;
    buf_clear(b);
    if (prefix) buf_append(b, space_sign, 3);
    for (size_t i = 0; i < s.n;) {
        const char *space = memchr(s.p + i, ' ', s.n - i);
        size_t end = space ? (size_t)(space - s.p) : s.n;
        buf_append(b, s.p + i, end - i);
        if (space) buf_append(b, space_sign, 3);
        i = end + (space != NULL);
    }
    *out = padded(b);
    return b->failed ? err(c->e, b->failed, "tokenizer: out of memory for a text of %zu bytes", s.n) : 0;
}

/* Nothing where a token begins in the white space that the one before it took. */
static struct str between(struct str s, size_t from, size_t end)
{
    return (struct str){s.p + from, end > from ? end - from : 0};
}

/* Text without any token to be cut out, padded. */
static int encode_bare(struct encoding *c, struct str s)
{
    const struct tokenizer *t = c->t;
    if (s.n == 0) return 0;
    if (t->v.kind == VOCAB_BYTES) return split_run(&t->splitter, &c->x->split, s, encode_word, c, c->e);
    int rc = t->signs_first ? 0 : put_signs(c, s, t->add_space && wants_space(c, s), &s);
    return rc ? rc : encode_chars(c, s);
}

/* Normalised text, padded, with the tokens that are looked for in it. */
static int encode_normal(struct encoding *c, struct str s)
{
    const struct tokenizer *t = c->t;
    size_t plain = 0;
    struct special_match m;
    int rc = t->signs_first ? put_signs(c, s, t->add_space, &s) : 0;
    for (size_t at = 0;
         !rc && !special_is_empty(&t->late) && special_next(&t->late, s, plain, at, s.n, false, &m);
         at = m.end) {
        if ((rc = encode_bare(c, between(s, plain, m.at))) != 0) return rc;
        ids_push(c->out, m.id);
        c->n_start = c->out->n;
        plain = m.at + m.n;
        c->at_start = false;
    }
    return rc ? rc : encode_bare(c, (struct str){s.p + plain, s.n - plain});
}

/* Text without special tokens, padded. It stands at the start or behind a special token: both call for the
 * space. */
static int encode_plain(struct encoding *c, struct str s)
{
    const struct tokenizer *t = c->t;
    struct buf *b = &c->x->normal;
    struct str normal;
    if (s.n == 0) return 0;
    c->n_start = c->out->n;
    int rc = norm_apply(t->norm, s, TOKENIZER_MARKS_MAX, b, &normal, c->e);
    if (rc != 0) return rc;
    if (normal.p != s.p) normal = padded(b);
    if (b->failed) return err(c->e, b->failed, "tokenizer: the normalised text is too long");
    return encode_normal(c, normal);
}

static int add_range(struct tok_scratch *x, size_t from, size_t end, bool trusted)
{
    if (from == end) return 0;
    if (x->n_range > 0 && x->range[x->n_range - 1].trusted == trusted) {
        x->range[x->n_range - 1].end = end;
        return 0;
    }
    if (x->n_range == x->n_range_cap) {
        size_t cap = x->n_range_cap ? 2 * x->n_range_cap : 16;
        struct range *r = realloc(x->range, cap * sizeof *r);
        if (!r) return ERR_MEMORY;
        x->range = r;
        x->n_range_cap = cap;
    }
    x->range[x->n_range++] = (struct range){from, end, trusted};
    return 0;
}

/* Joins the segments in x->text and x->range. */
static int join_segments(struct tok_scratch *x, const struct tok_segment *seg, size_t n_seg, struct err *e)
{
    size_t total = 0;
    for (size_t i = 0; i < n_seg; i++) {
        if (seg[i].text.n > TOKENIZER_TEXT_BYTES_MAX - total)
            return err(e, ERR_LIMIT, "tokenizer: the text has more than %zu bytes", TOKENIZER_TEXT_BYTES_MAX);
        total += seg[i].text.n;
    }
    buf_clear(&x->text);
    x->n_range = 0;
    for (size_t i = 0; i < n_seg; i++) {
        size_t from = x->text.n;
        int rc = seg[i].text.n > 0 ? utf8_append_replaced(&x->text, seg[i].text) : 0;
        if (rc == 0) rc = add_range(x, from, x->text.n, seg[i].trusted);
        if (rc != 0) return err(e, rc, "tokenizer: out of memory for a text of %zu bytes", total);
    }
    return 0;
}

static int encode_joined(struct encoding *c, unsigned flags)
{
    const struct tokenizer *t = c->t;
    struct tok_scratch *x = c->x;
    struct str text = padded(&x->text);
    if (x->text.failed)
        return err(c->e, x->text.failed, "tokenizer: out of memory for a text of %zu bytes", text.n);
    bool bos = (flags & TOK_ADD_SPECIAL) && t->add_bos;
    c->at_start = true;
    if (bos) ids_push(c->out, t->v.bos);
    size_t plain = 0; /* where the text without special tokens begins */
    int rc;
    for (size_t i = 0; i < x->n_range; i++) {
        struct special_match m;
        size_t at = x->range[i].from;
        while (special_next(&t->special, text, plain, at, x->range[i].end, x->range[i].trusted, &m)) {
            if ((rc = encode_plain(c, between(text, plain, m.at))) != 0) return rc;
            if (!(bos && m.at == 0 && m.id == t->v.bos)) ids_push(c->out, m.id);
            plain = m.at + m.n;
            at = m.end;
            c->at_start = false;
        }
    }
    if ((rc = encode_plain(c, (struct str){text.p + plain, text.n - plain})) != 0) return rc;
    if ((flags & TOK_ADD_SPECIAL) && t->add_eos) ids_push(c->out, t->v.eos);
    return c->out->failed ? err(c->e, c->out->failed, "tokenizer: the text has too many tokens") : 0;
}

int tokenizer_encode_segments(const struct tokenizer *t, struct tok_scratch *x, const struct tok_segment *seg,
                              size_t n_seg, unsigned flags, struct ids *out, struct err *e)
{
    struct tok_scratch *own = NULL;
    int rc;
    if (out->failed) return err(e, out->failed, "tokenizer: the list of ids has failed before");
    if (!x) {
        if ((rc = tok_scratch_create(&own, t, e)) != 0) return rc;
        x = own;
    }
    must(x->t == t);
    size_t n_before = out->n;
    struct encoding c = {.t = t, .x = x, .out = out, .e = e};
    rc = join_segments(x, seg, n_seg, e);
    if (rc == 0) rc = encode_joined(&c, flags);
    if (rc != 0) {
        out->n = n_before;
        out->failed = 0;
    }
    tok_scratch_destroy(own);
    return rc;
}

int tokenizer_encode(const struct tokenizer *t, struct tok_scratch *x, struct str text, unsigned flags,
                     struct ids *out, struct err *e)
{
    struct tok_segment seg = {text, (flags & TOK_PARSE_SPECIAL) != 0};
    return tokenizer_encode_segments(t, x, &seg, 1, flags, out, e);
}

/* --- facts ------------------------------------------------------------------------------------------- */

static bool is_token(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->v.n;
}

struct str tokenizer_piece(const struct tokenizer *t, int32_t id)
{
    return is_token(t, id) ? vocab_printed(&t->v, id) : STR("");
}

size_t tokenizer_n_tokens(const struct tokenizer *t)
{
    return t->v.n;
}

enum token_type tokenizer_type(const struct tokenizer *t, int32_t id)
{
    return is_token(t, id) ? (enum token_type)t->v.type[id] : TOKEN_UNDEFINED;
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t id)
{
    return is_token(t, id) && t->v.is_end[id];
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->v.bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->v.eos;
}

int32_t tokenizer_eot(const struct tokenizer *t)
{
    return t->v.eot;
}

bool tokenizer_adds_bos(const struct tokenizer *t)
{
    return t->add_bos;
}

bool tokenizer_adds_eos(const struct tokenizer *t)
{
    return t->add_eos;
}

bool tokenizer_adds_space(const struct tokenizer *t)
{
    return t->add_space;
}

int32_t tokenizer_find_special(const struct tokenizer *t, struct str text)
{
    struct special_match m;
    bool found =
        text.n > 0 && special_find(&t->special, text.p, 0, text.n, true, &m) && m.at == 0 && m.n == text.n;
    return found ? m.id : -1;
}
