/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vocabulary: see vocab.h. Both tables are open addressing with linear probing, at most half full, hashed
 * with a random seed. Every string, id and merge of the file is checked here, so that the encoder checks
 * nothing.
 */
#include "token/tokenizer/vocab.h"

#include <inttypes.h>
#include <math.h>
#include <sys/random.h>
#include "base/utf8.h"

enum { MERGE_BYTES_MAX = 2 * VOCAB_PIECE_BYTES_MAX };

#define SPACE_SIGN STR("\xE2\x96\x81") /* U+2581, a space inside SentencePiece pieces */

void vocab_spec_init(struct vocab_spec *spec)
{
    *spec = (struct vocab_spec){
        .bos = -1,
        .eos = -1,
        .eot = -1,
        .eom = -1,
        .unk = -1,
        .pad = -1,
        .add_bos = -1,
        .add_eos = -1,
        .add_space_prefix = -1,
        .norm = VOCAB_NORM_DEFAULT,
    };
}

/* --- hashing ----------------------------------------------------------------------------------------- */

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_pair(const struct vocab *v, uint64_t key)
{
    return fold(key ^ v->seed, UINT64_C(0x9E3779B97F4A7C15) ^ v->seed >> 7);
}

static uint64_t hash_str(const struct vocab *v, struct str s)
{
    uint64_t h = v->seed ^ s.n;
    const char *p = s.p;
    for (size_t n = s.n; n > 0;) {
        uint64_t w = 0;
        size_t k = n < 8 ? n : 8;
        memcpy(&w, p, k);
        h = fold(h ^ w, UINT64_C(0xD6E8FEB86659FD93) ^ v->seed >> 5);
        p += k;
        n -= k;
    }
    return fold(h, UINT64_C(0xA0761D6478BD642F));
}

static uint32_t table_size(size_t n) /* a power of two, at least twice n */
{
    uint32_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

/* The slot of s, or the empty one where it belongs. */
static struct vocab_slot *find_slot(const struct vocab *v, struct str s)
{
    uint64_t h = hash_str(v, s);
    uint32_t tag = (uint32_t)(h >> 32);
    for (uint32_t i = (uint32_t)h & v->slot_mask;; i = (i + 1) & v->slot_mask) {
        struct vocab_slot *t = &v->slot[i];
        if (t->id < 0 || (t->tag == tag && str_eq(vocab_piece(v, t->id), s))) return t;
    }
}

static void insert_piece(struct vocab *v, int32_t id)
{
    struct str s = vocab_piece(v, id);
    struct vocab_slot *t = find_slot(v, s);
    if (t->id >= 0) {
        v->has_twins = true; /* the same text twice: the lower id has it */
        return;
    }
    *t = (struct vocab_slot){.tag = (uint32_t)(hash_str(v, s) >> 32), .id = id};
}

static bool is_hidden(const struct vocab *v, int32_t id) /* text never becomes it by itself */
{
    return v->type[id] == TOKEN_CONTROL || v->type[id] == TOKEN_UNKNOWN || v->type[id] == TOKEN_BYTE;
}

int32_t vocab_find(const struct vocab *v, struct str s)
{
    if (s.n > v->piece_max) return -1;
    int32_t id = find_slot(v, s)->id;
    return id >= 0 && is_hidden(v, id) ? -1 : id;
}

static struct vocab_pair *find_pair(const struct vocab *v, uint64_t key)
{
    for (uint32_t i = (uint32_t)hash_pair(v, key) & v->pair_mask;; i = (i + 1) & v->pair_mask) {
        struct vocab_pair *p = &v->pair[i];
        if (p->key == key || p->key == VOCAB_NO_PAIR) return p;
    }
}

const struct vocab_pair *vocab_pair_find(const struct vocab *v, int32_t left, int32_t right)
{
    if (left < 0 || right < 0) return NULL;
    const struct vocab_pair *p = find_pair(v, (uint64_t)left << 32 | (uint32_t)right);
    return p->key == VOCAB_NO_PAIR ? NULL : p;
}

/* --- spelling of pieces ------------------------------------------------------------------------------ */

/* Byte-level BPE writes the printable bytes of Latin-1 as themselves and the other 68 as U+0100, U+0101, ...
 */
static int byte_of(uint32_t cp)
{
    bool printable = (cp >= 0x21 && cp <= 0x7E) || (cp >= 0xA1 && cp <= 0xFF && cp != 0xAD);
    if (printable) return (int)cp;
    if (cp < 0x100 || cp > 0x143) return -1;
    cp -= 0x100;
    if (cp <= 0x20) return (int)cp;                        /* 00..20 */
    if (cp <= 0x20 + 0x22) return (int)(cp - 0x21 + 0x7F); /* 7F..A0 */
    return 0xAD;
}

/* Undoes the stand-ins of s into out (room for s.n bytes). Returns the bytes, or -1: s is not written that
 * way. */
static int64_t undo_stand_ins(struct str s, char *out)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        int k = utf8_decode(s.p + i, s.n - i, &cp), b = k > 0 ? byte_of(cp) : -1;
        if (b < 0) return -1;
        out[n++] = (char)b;
        i += (size_t)k;
    }
    return n;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static int byte_named(struct str s) /* "<0x0A>" -> 10, else -1 */
{
    if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>') return -1;
    int hi = hex_digit(s.p[3]), lo = hex_digit(s.p[4]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* Copies s with every space turned into U+2581; returns the bytes (at most three times s.n). */
static size_t copy_escaped(char *out, struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == ' ') {
            memcpy(out + n, SPACE_SIGN.p, SPACE_SIGN.n);
            n += SPACE_SIGN.n;
        } else {
            out[n++] = s.p[i];
        }
    }
    return n;
}

static bool ends_in_space(struct str s)
{
    return s.n >= SPACE_SIGN.n && memcmp(s.p + s.n - SPACE_SIGN.n, SPACE_SIGN.p, SPACE_SIGN.n) == 0;
}

/* Notes after which bytes U+2581 stands in s, other than its own. */
static void note_glue(struct vocab *v, struct str s)
{
    for (size_t i = 1; i + SPACE_SIGN.n <= s.n; i++) {
        if (!ends_in_space((struct str){s.p, i}) && memcmp(s.p + i, SPACE_SIGN.p, SPACE_SIGN.n) == 0)
            v->glue[(uint8_t)s.p[i - 1]] = true;
    }
}

/* --- loading ----------------------------------------------------------------------------------------- */

static int check_spec(const struct vocab_spec *s, struct err *e)
{
    if (s->n_tokens == 0) return err(e, ERR_FORMAT, "tokenizer: the vocabulary is empty");
    if (s->n_tokens > VOCAB_TOKENS_MAX)
        return err(e, ERR_LIMIT, "tokenizer: %zu tokens; at most %zu are supported", s->n_tokens,
                   VOCAB_TOKENS_MAX);
    if (s->n_merges > VOCAB_MERGES_MAX)
        return err(e, ERR_LIMIT, "tokenizer: %zu merges; at most %zu are supported", s->n_merges,
                   VOCAB_MERGES_MAX);
    size_t total = 0;
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (s->tokens[i].n > VOCAB_PIECE_BYTES_MAX)
            return err(e, ERR_LIMIT, "tokenizer: token %zu has %zu bytes; at most %zu are supported", i,
                       s->tokens[i].n, VOCAB_PIECE_BYTES_MAX);
        total += s->tokens[i].n;
    }
    if (total > VOCAB_TEXT_BYTES_MAX)
        return err(e, ERR_LIMIT, "tokenizer: the tokens have %zu bytes together; at most %zu are supported",
                   total, VOCAB_TEXT_BYTES_MAX);
    const struct {
        const char *name;
        int32_t id;
    } special[] = {{"bos", s->bos}, {"eos", s->eos}, {"eot", s->eot},
                   {"eom", s->eom}, {"unk", s->unk}, {"pad", s->pad}};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        if (special[i].id < -1 || (special[i].id >= 0 && (size_t)special[i].id >= s->n_tokens))
            return err(e, ERR_FORMAT,
                       "tokenizer: %s token id %" PRId32 " is outside the vocabulary of %zu tokens",
                       special[i].name, special[i].id, s->n_tokens);
    }
    return 0;
}

/* Fills text, offset and type. */
static int load_pieces(struct vocab *v, const struct vocab_spec *s, struct err *e)
{
    size_t total = 1;
    for (size_t i = 0; i < s->n_tokens; i++) {
        bool spaces = s->types && s->types[i] == TOKEN_USER_DEFINED; /* may each grow to U+2581 */
        total += spaces ? 3 * s->tokens[i].n : s->tokens[i].n;
    }
    if (total > UINT32_MAX) return err(e, ERR_LIMIT, "tokenizer: the tokens have more than 4 GiB of text");
    char *text = ARENA_NEW(&v->arena, char, total);
    uint32_t *offset = ARENA_NEW(&v->arena, uint32_t, s->n_tokens + 1);
    v->type = ARENA_NEW(&v->arena, uint8_t, s->n_tokens);
    v->is_end = ARENA_NEW(&v->arena, uint8_t, s->n_tokens);
    if (!text || !offset || !v->type || !v->is_end) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    v->text = text;
    v->offset = offset;
    size_t at = 0;
    for (size_t i = 0; i < s->n_tokens; i++) {
        struct str t = s->tokens[i];
        int32_t type = s->types ? s->types[i] : TOKEN_NORMAL;
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE) type = TOKEN_UNDEFINED;
        int byte = v->kind == VOCAB_BYTES ? -1 : byte_named(t);
        if (byte >= 0 &&
            (type == TOKEN_BYTE || !s->types || (v->kind == VOCAB_CHARS && type == TOKEN_NORMAL))) {
            type = TOKEN_BYTE;
            text[at++] = (char)byte;
            v->byte_id[byte] = (int32_t)i;
        } else if (type == TOKEN_BYTE && v->kind != VOCAB_BYTES) {
            return err(e, ERR_FORMAT,
                       "tokenizer: token %zu is of type byte, but is written '%.*s', not <0x00> to <0xFF>", i,
                       STR_ARG(t));
        } else if (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN ||
                   (type == TOKEN_USER_DEFINED && v->kind == VOCAB_BYTES)) {
            if (t.n > 0) memcpy(text + at, t.p, t.n);
            at += t.n;
        } else if (type == TOKEN_USER_DEFINED && v->kind != VOCAB_BYTES) {
            at += copy_escaped(text + at, t);
        } else {
            int64_t n = v->kind == VOCAB_BYTES ? undo_stand_ins(t, text + at) : -1;
            if (v->kind == VOCAB_BYTES) type = n < 0 ? TOKEN_UNUSED : TOKEN_NORMAL; /* text cannot spell it */
            if (n < 0) {
                if (t.n > 0) memcpy(text + at, t.p, t.n);
                n = (int64_t)t.n;
            }
            at += (size_t)n;
        }
        v->type[i] = (uint8_t)type;
        offset[i + 1] = (uint32_t)at;
    }
    return 0;
}

/* Fills printed and printed_offset. */
static int load_printed(struct vocab *v, struct err *e)
{
    v->printed = v->text;
    v->printed_offset = v->offset;
    if (v->kind == VOCAB_BYTES) return 0;
    char *text = ARENA_NEW(&v->arena, char, (size_t)v->offset[v->n] + 1);
    uint32_t *offset = ARENA_NEW(&v->arena, uint32_t, (size_t)v->n + 1);
    if (!text || !offset) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    size_t at = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        struct str s = vocab_piece(v, (int32_t)i);
        bool literal = v->type[i] == TOKEN_CONTROL || v->type[i] == TOKEN_UNKNOWN || v->type[i] == TOKEN_BYTE;
        while (s.n > 0) {
            size_t n = !literal && str_starts(s, SPACE_SIGN) ? SPACE_SIGN.n : 1;
            text[at++] = n > 1 ? ' ' : s.p[0];
            s.p += n;
            s.n -= n;
        }
        offset[i + 1] = (uint32_t)at;
    }
    v->printed = text;
    v->printed_offset = offset;
    return 0;
}

/* Texts that end a turn, whatever the file says of them. */
static const char *const end_names[] = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<end_of_utterance>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "</s>",
    "[e~[",
    "<｜end▁of▁sentence｜>", /* DeepSeek; the bars are full-width */
};

static int32_t find_exact(const struct vocab *v, const struct vocab_spec *s, struct str name)
{
    int32_t id = find_slot(v, name)->id;
    return id >= 0 && str_eq(s->tokens[id], name) ? id : -1;
}

/* Marks the tokens that end a generation, and hides them from plain text unless the file calls them normal.
 */
static void mark_ends(struct vocab *v, const struct vocab_spec *s)
{
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++) {
        int32_t id = find_exact(v, s, str_from(end_names[i]));
        if (id < 0 || (s->types && v->type[id] != TOKEN_CONTROL && v->type[id] != TOKEN_USER_DEFINED))
            continue;
        v->type[id] = TOKEN_CONTROL;
        v->is_end[id] = 1;
        if (v->eot < 0 && i < 2) v->eot = id;
    }
    /* Harmony-like templates end a turn with other tokens; <|end|> then closes one message of several. */
    int32_t end = find_exact(v, s, STR("<|end|>"));
    bool harmony = find_exact(v, s, STR("<|return|>")) >= 0 && find_exact(v, s, STR("<|call|>")) >= 0;
    bool solar = find_exact(v, s, STR("<|calls|>")) >= 0 && find_exact(v, s, STR("<|flush|>")) >= 0;
    if (end >= 0 && (harmony || solar)) v->is_end[end] = 0;
    const int32_t declared[] = {v->eos, v->eot, s->eom, v->bos};
    for (size_t i = 0; i < 4; i++) {
        int32_t id = declared[i];
        if (id < 0) continue;
        if (i < 3) v->is_end[id] = 1;
        bool said = s->types && v->type[id] != TOKEN_USER_DEFINED; /* the file calls it something else */
        if (!said && v->type[id] != TOKEN_BYTE) v->type[id] = TOKEN_CONTROL;
    }
}

static int build_slots(struct vocab *v, struct err *e)
{
    uint32_t size = table_size(v->n);
    v->slot = ARENA_NEW(&v->arena, struct vocab_slot, size);
    if (!v->slot) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    v->slot_mask = size - 1;
    for (uint32_t i = 0; i < size; i++) v->slot[i].id = -1;
    bool bytes = v->kind == VOCAB_BYTES;
    for (int hidden = 0; hidden < 2; hidden++) { /* what text can become goes first and so wins */
        for (uint32_t i = 0; i < v->n; i++) {
            struct str s = vocab_piece(v, (int32_t)i);
            if (s.n == 0 || is_hidden(v, (int32_t)i) != hidden || v->type[i] == TOKEN_BYTE) continue;
            if (bytes && v->type[i] == TOKEN_UNUSED) continue;
            insert_piece(v, (int32_t)i);
            if (s.n > v->piece_max) v->piece_max = (uint32_t)s.n;
            if (!hidden && v->kind == VOCAB_PIECES) note_glue(v, s);
            if (!hidden && v->type[i] == TOKEN_UNUSED) v->has_unused = true;
        }
    }
    return 0;
}

/* Bytes and ASCII characters, looked up once. After mark_ends, which may hide some. */
static void find_single(struct vocab *v)
{
    for (int b = 0; b < 256; b++) {
        char c = (char)b;
        int32_t id = vocab_find(v, (struct str){&c, 1});
        if (v->kind == VOCAB_BYTES) v->byte_id[b] = id;
        if (b < 128) v->ascii_id[b] = id;
    }
}

/* Copies a half of a merge to out as the tables have it; returns its bytes, 0 when it cannot be a piece. */
static size_t copy_half(const struct vocab *v, struct str s, char *out)
{
    if (v->kind == VOCAB_BYTES) {
        int64_t n = undo_stand_ins(s, out);
        return n < 0 ? 0 : (size_t)n;
    }
    memcpy(out, s.p, s.n);
    return s.n;
}

/* The id of the piece s. Files list merges in the order of what they make, so the ids near the last one come
 * first. */
static int32_t find_merged(const struct vocab *v, struct str s, int32_t last)
{
    for (int32_t id = last; !v->has_twins && id >= 0 && id <= last + 1 && (uint32_t)id < v->n; id++) {
        bool in_table = v->kind != VOCAB_BYTES || v->type[id] != TOKEN_UNUSED;
        if (in_table && !is_hidden(v, id) && str_eq(vocab_piece(v, id), s)) return id;
    }
    return find_slot(v, s)->id;
}

static int load_merges(struct vocab *v, const struct vocab_spec *s, struct err *e)
{
    uint32_t size = table_size(s->n_merges);
    char *whole = ARENA_NEW(&v->arena, char, MERGE_BYTES_MAX);
    v->pair = ARENA_NEW(&v->arena, struct vocab_pair, size);
    if (!v->pair || !whole) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    v->pair_mask = size - 1;
    for (uint32_t i = 0; i < size; i++) v->pair[i].key = VOCAB_NO_PAIR;
    int32_t id = -1;
    for (size_t i = 0; i < s->n_merges; i++) {
        struct str m = s->merges[i];
        const char *gap = m.n > 1 && m.n <= MERGE_BYTES_MAX ? memchr(m.p + 1, ' ', m.n - 1) : NULL;
        if (!gap || gap == m.p + m.n - 1)
            return err(e, ERR_FORMAT, "tokenizer: merge %zu is '%.*s', not two pieces with a space between",
                       i, STR_ARG(m));
        size_t n_gap = (size_t)(gap - m.p);
        size_t n_left = copy_half(v, (struct str){m.p, n_gap}, whole);
        size_t n_right = copy_half(v, (struct str){gap + 1, m.n - n_gap - 1}, whole + n_left);
        int32_t left = n_left ? find_slot(v, (struct str){whole, n_left})->id : -1;
        int32_t right = n_right ? find_slot(v, (struct str){whole + n_left, n_right})->id : -1;
        const char *lacks = left < 0 ? "the left one" : right < 0 ? "the right one" : NULL;
        if (!lacks && (id = find_merged(v, (struct str){whole, n_left + n_right}, id)) < 0)
            lacks = "the merged one";
        if (lacks)
            return err(e, ERR_FORMAT,
                       "tokenizer: merge %zu ('%.*s') needs a piece that the vocabulary lacks: %s", i,
                       STR_ARG(m), lacks);
        if (is_hidden(v, left) || is_hidden(v, right) || is_hidden(v, id)) continue;
        struct vocab_pair *p = find_pair(v, (uint64_t)left << 32 | (uint32_t)right);
        if (p->key != VOCAB_NO_PAIR) continue; /* listed twice: the first counts */
        *p =
            (struct vocab_pair){.key = (uint64_t)left << 32 | (uint32_t)right, .rank = (uint32_t)i, .id = id};
        if (v->kind == VOCAB_CHARS && str_starts((struct str){whole + n_left, n_right}, SPACE_SIGN) &&
            !ends_in_space((struct str){whole, n_left}))
            v->glue[(uint8_t)whole[n_left - 1]] = true;
    }
    return 0;
}

/* A number that orders as the score does, highest first. */
static uint32_t rank_of(float score)
{
    uint32_t u;
    score += 0.0f; /* -0 and 0 are one score */
    memcpy(&u, &score, sizeof u);
    u = u & 0x80000000u ? ~u : u | 0x80000000u; /* ascending with the score */
    return ~u;
}

static int load_scores(struct vocab *v, const struct vocab_spec *s, struct err *e)
{
    if (!s->scores)
        return err(e, ERR_FORMAT,
                   "tokenizer: a vocabulary of model 'llama' needs scores, and there are none");
    v->rank = ARENA_NEW(&v->arena, uint32_t, v->n);
    if (!v->rank) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    for (uint32_t i = 0; i < v->n; i++) {
        if (isnan(s->scores[i]))
            return err(e, ERR_FORMAT, "tokenizer: the score of token %" PRIu32 " is not a number", i);
        v->rank[i] = rank_of(s->scores[i]);
    }
    return 0;
}

static int load_added(struct vocab *v, const struct vocab_spec *s, struct err *e)
{
    if (s->n_added == 0) return 0;
    v->added = ARENA_NEW(&v->arena, uint8_t, v->n);
    if (!v->added) return err(e, ERR_MEMORY, "tokenizer: out of memory");
    memset(v->added, 0, v->n);
    for (size_t i = 0; i < s->n_added; i++) {
        int32_t id = s->added_ids[i], flags = s->added_flags[i];
        if (id < 0 || (uint32_t)id >= v->n || flags & ~ADDED_FLAGS)
            return err(e, ERR_FORMAT,
                       "tokenizer: added token %" PRId32 " with flags %" PRId32
                       ": expected ids below %" PRIu32 ", flags from 0 to %d",
                       id, flags, v->n, ADDED_FLAGS);
        v->added[id] = (uint8_t)flags;
    }
    return 0;
}

int vocab_init(struct vocab *v, const struct vocab_spec *spec, bool merge_chars, struct err *e)
{
    int rc;
    *v = (struct vocab){.bos = spec->bos, .eos = spec->eos, .eot = spec->eot, .unk = spec->unk};
    arena_init(&v->arena);
    for (int b = 0; b < 256; b++) v->byte_id[b] = -1;
    if (str_eq(spec->model, STR("gpt2"))) {
        v->kind = merge_chars ? VOCAB_CHARS : VOCAB_BYTES;
    } else if (str_eq(spec->model, STR("gemma4"))) {
        v->kind = VOCAB_CHARS;
    } else if (str_eq(spec->model, STR("llama"))) {
        v->kind = VOCAB_PIECES;
    } else {
        return err(e, ERR_UNSUPPORTED,
                   "tokenizer: model '%.*s' is not supported (known: gpt2, llama, gemma4)",
                   STR_ARG(spec->model));
    }
    if (getrandom(&v->seed, sizeof v->seed, GRND_NONBLOCK) != (ssize_t)sizeof v->seed)
        v->seed = (uint64_t)(uintptr_t)v ^ UINT64_C(0x2545F4914F6CDD1D); /* early boot: weaker, still right */
    if ((rc = check_spec(spec, e)) != 0) goto fail;
    v->n = (uint32_t)spec->n_tokens;
    if ((rc = load_pieces(v, spec, e)) != 0) goto fail;
    if ((rc = build_slots(v, e)) != 0) goto fail;
    /* where SentencePiece puts them unless told otherwise */
    if (v->kind == VOCAB_PIECES && spec->types && v->n > 2) {
        if (v->bos < 0 && v->type[1] == TOKEN_CONTROL) v->bos = 1;
        if (v->eos < 0 && v->type[2] == TOKEN_CONTROL) v->eos = 2;
    }
    mark_ends(v, spec);
    if ((rc = load_added(v, spec, e)) != 0) goto fail;
    find_single(v);
    if ((rc = load_printed(v, e)) != 0) goto fail;
    if (v->unk < 0) {
        for (uint32_t i = 0; i < v->n && v->unk < 0; i++) {
            if (v->type[i] == TOKEN_UNKNOWN) v->unk = (int32_t)i;
        }
    }
    rc = v->kind == VOCAB_PIECES ? load_scores(v, spec, e) : load_merges(v, spec, e);
    if (rc == 0) return 0;
fail:
    vocab_finish(v);
    return rc;
}

void vocab_finish(struct vocab *v)
{
    arena_finish(&v->arena);
    *v = (struct vocab){0};
}
