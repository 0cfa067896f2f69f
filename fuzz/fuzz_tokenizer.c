/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokenizer: a vocabulary and a text out of the input's bytes.
 *
 *   byte 0     bits 0-1 model, 2 raw spec (hostile) or byte alphabet added, 3 add_bos, 4 add_eos,
 *              5 add_space_prefix, 6 parse special, 7 types given
 *   bytes 1-3  pre-tokenizer, tokens, merges
 *   tokens     type (bits 3-6 with the alphabet: enum added_flag), length, bytes, score
 *   merges     length, bytes (or, with the alphabet, two token numbers)
 *   rest       the text; 0xFB ends a segment and flips its trust
 *
 * Checked: no fault; ids are in the vocabulary; text that is not trusted never becomes a control token; a
 * scratch that was used before gives the same ids as a new one; with all bytes in the vocabulary, decoding
 * gives the text back with its faults replaced, and every step of decoding leaves valid UTF-8.
 */
#include <stdlib.h>
#include "base/err.h"
#include "base/utf8.h"
#include "token/tokenizer/tokenizer.h"

enum { TOKENS_MAX = 256 + 256, SEGMENTS_MAX = 64 };

struct input {
    const uint8_t *p;
    size_t n;
};

static uint8_t take(struct input *in)
{
    if (in->n == 0) return 0;
    in->n--;
    return *in->p++;
}

static struct str take_str(struct input *in, size_t n)
{
    if (n > in->n) n = in->n;
    struct str s = {(const char *)in->p, n};
    in->p += n;
    in->n -= n;
    return s;
}

static const char *const pres[] = {
    "gpt-2",    "smollm",       "llama-bpe",      "qwen2",       "stablelm2", "qwen35", "gpt-4o", "tekken",
    "tiny_aya", "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon",    "bloom",  "viking", "kimi-k2",
    "superbpe", "bailingmoe",   "seed-coder",     "exaone-moe",  "gemma4",    "youtu",  "jais-2", "default",
    "laguna",   "minicpm5",     "spark2_5",       "sarvam-moe",  "mpt",       "nobody"};

/* The 256 bytes in the spelling of the model. */
static size_t add_alphabet(struct str *token, int32_t *type, char (*text)[8], bool named)
{
    uint32_t n = 0;
    for (int b = 0; b < 256; b++) {
        size_t len;
        if (named) {
            static const char hex[] = "0123456789ABCDEF";
            memcpy(text[b], (char[]){'<', '0', 'x', hex[b >> 4], hex[b & 15], '>'}, len = 6);
        } else {
            bool plain = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
            len = utf8_encode(plain ? (uint32_t)b : 256 + n++, text[b]);
        }
        token[b] = (struct str){text[b], len};
        type[b] = named ? TOKEN_BYTE : TOKEN_NORMAL;
    }
    return 256;
}

static void check_decode(const struct tokenizer *t, const struct ids *ids, struct str want, bool exact)
{
    struct buf out;
    struct detok d;
    buf_init(&out, (size_t)1 << 26);
    detok_init(&d, t, DETOK_SPECIAL | DETOK_SKIP_SPACE);
    for (size_t i = 0; i < ids->n; i++) {
        size_t n = out.n;
        detok_feed(&d, ids->p[i], &out);
        must(out.n == n || utf8_valid((struct str){out.p + n, out.n - n}) == out.n - n);
    }
    detok_finish(&d, &out);
    must(utf8_valid(buf_str(&out)) == out.n);
    if (exact) must(str_eq(buf_str(&out), want));
    buf_finish(&out);
}

static void use(const struct tokenizer *t, struct str text, bool trusted, bool exact)
{
    struct tok_segment seg[SEGMENTS_MAX];
    size_t n_seg = 0, from = 0;
    bool any_trusted = false;
    for (size_t i = 0; i <= text.n && n_seg < SEGMENTS_MAX; i++) {
        if (i < text.n && (uint8_t)text.p[i] != 0xFB && n_seg + 1 < SEGMENTS_MAX) continue;
        if (n_seg + 1 == SEGMENTS_MAX) i = text.n;
        seg[n_seg++] = (struct tok_segment){{text.p + from, i - from}, trusted};
        any_trusted |= trusted;
        trusted = !trusted;
        from = i + 1;
    }
    struct ids ids, again;
    struct tok_scratch *x;
    struct err e;
    struct buf clean;
    ids_init(&ids, (size_t)1 << 22);
    ids_init(&again, (size_t)1 << 22);
    buf_init(&clean, (size_t)1 << 24);
    if (tok_scratch_create(&x, t, &e) == 0) {
        int rc = tokenizer_encode_segments(t, x, seg, n_seg, 0, &ids, &e);
        for (size_t i = 0; i < ids.n; i++) {
            must(ids.p[i] >= 0 && (size_t)ids.p[i] < tokenizer_n_tokens(t));
            if (!any_trusted) must(tokenizer_type(t, ids.p[i]) != TOKEN_CONTROL);
        }
        must(tokenizer_encode_segments(t, x, seg, n_seg, 0, &again, &e) == rc);
        must(again.n == ids.n && (ids.n == 0 || memcmp(again.p, ids.p, ids.n * sizeof *ids.p) == 0));
        if (rc == 0) {
            for (size_t i = 0; i < n_seg; i++) utf8_append_replaced(&clean, seg[i].text);
            check_decode(t, &ids, buf_str(&clean), exact);
            ids_clear(&again);
            must(tokenizer_encode_segments(t, x, seg, n_seg, TOK_ADD_SPECIAL, &again, &e) == 0);
            must(again.n >= ids.n && again.n <= ids.n + 2);
        }
        tok_scratch_destroy(x);
    }
    buf_finish(&clean);
    ids_finish(&ids);
    ids_finish(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char alphabet[256][8];
    static struct str token[TOKENS_MAX], merge[256];
    static int32_t type[TOKENS_MAX], added_id[256], added[256];
    static float score[TOKENS_MAX];
    static char joined[256][600];
    struct input in = {data, size};
    struct vocab_spec s;
    vocab_spec_init(&s);
    uint8_t flags = take(&in), pre = take(&in), n_token = take(&in), n_merge = take(&in);
    static const char *const model[] = {"gpt2", "llama", "gpt2", "gemma4"};
    bool has_alphabet = !(flags & 4), is_spm = (flags & 3) == 1;
    s.model = str_from(model[flags & 3]);
    s.pre = str_from(pres[pre % (sizeof pres / sizeof *pres)]);
    bool chars = is_spm || (flags & 3) == 3 || str_eqz(s.pre, "gemma4") || str_eqz(s.pre, "sarvam-moe");
    if (has_alphabet) s.n_tokens = add_alphabet(token, type, alphabet, chars);
    bool plain = true; /* no token of the input disturbs the round trip */
    for (int i = 0; i < n_token; i++) {
        size_t at = s.n_tokens++;
        type[at] = (int8_t)take(&in);
        if (has_alphabet) {
            added_id[s.n_added] = (int32_t)at;
            added[s.n_added++] = type[at] >> 3 & ADDED_FLAGS;
            if (type[at] >> 3 & (ADDED_LEFT | ADDED_RIGHT)) plain = false;
            type[at] = type[at] & 7;
        }
        token[at] = take_str(&in, take(&in) & 31);
        int8_t sc = (int8_t)take(&in);
        score[at] = sc == 127 && !has_alphabet ? 0.0f / 0.0f : (float)sc;
        if (type[at] == TOKEN_UNKNOWN || type[at] == TOKEN_BYTE) plain = false;
    }
    for (int i = 0; i < n_merge; i++) {
        if (has_alphabet) { /* merges that are right more often than not */
            struct str l = token[(take(&in) * 2u) % s.n_tokens], r = token[(take(&in) * 2u + 1) % s.n_tokens];
            if (l.n + r.n + 1 > sizeof joined[i]) continue;
            memcpy(joined[i], l.p, l.n);
            joined[i][l.n] = ' ';
            memcpy(joined[i] + l.n + 1, r.p, r.n);
            merge[s.n_merges++] = (struct str){joined[i], l.n + r.n + 1};
        } else {
            merge[s.n_merges++] = take_str(&in, take(&in) & 63);
        }
    }
    if (has_alphabet && !chars) { /* what merges make must be there */
        static char whole[256][600];
        for (size_t i = 0; i < s.n_merges && s.n_tokens < TOKENS_MAX; i++) {
            const char *gap = memchr(merge[i].p + 1, ' ', merge[i].n > 0 ? merge[i].n - 1 : 0);
            if (!gap) continue;
            size_t l = (size_t)(gap - merge[i].p);
            memcpy(whole[i], merge[i].p, l);
            memcpy(whole[i] + l, gap + 1, merge[i].n - l - 1);
            token[s.n_tokens] = (struct str){whole[i], merge[i].n - 1};
            score[s.n_tokens] = 0;
            type[s.n_tokens++] = TOKEN_NORMAL;
        }
    }
    s.tokens = token;
    s.merges = merge;
    s.scores = score;
    s.added_ids = added_id;
    s.added_flags = added;
    s.types = (flags & 128) || has_alphabet ? type : NULL;
    s.bos = flags & 8 ? (int32_t)(pre & 63) : -1;
    s.eos = flags & 16 ? (int32_t)(n_token & 63) : -1;
    s.add_bos = (flags & 8) != 0;
    s.add_eos = (flags & 16) != 0;
    s.add_space_prefix = (flags & 32) != 0;
    struct tokenizer *t;
    struct err e = {0};
    int rc = tokenizer_create(&t, &s, &e);
    must((rc == 0) == (t != NULL) && (rc == 0 || e.msg[0]));
    if (rc != 0) return 0;
    bool norm = str_eqz(s.pre, "qwen2") || str_eqz(s.pre, "mpt");
    use(t, (struct str){(const char *)in.p, in.n}, (flags & 64) != 0,
        has_alphabet && plain && !chars && !norm);
    tokenizer_destroy(t);
    return 0;
}
