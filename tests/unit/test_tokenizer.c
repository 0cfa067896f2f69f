/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokenizer. The expected ids of tests/cases/tokenizer come from PyPI's tokenizers and sentencepiece
 * (tests/oracle/tokenizer.py --write-cases); the rest is small vocabularies made here.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/utf8.h"
#include "token/tokenizer/special.h"
#include "token/tokenizer/split.h"
#include "token/tokenizer/tokenizer.h"
#include "vocab_file.h"

#define CASES "tests/cases/tokenizer/"

/* --- a byte-level vocabulary of one's own ------------------------------------------------------------ */

enum { TOY_MAX = 400 };

struct toy {
    struct vocab_spec spec;
    struct str token[TOY_MAX], merge[TOY_MAX];
    int32_t type[TOY_MAX];
    char byte[256][3];
    struct arena a;
};

static int32_t add_token(struct toy *y, struct str s, int32_t type)
{
    y->token[y->spec.n_tokens] = s;
    y->type[y->spec.n_tokens] = type;
    return (int32_t)y->spec.n_tokens++;
}

/* Ids 0 to 255 are the bytes. */
static void toy_init(struct toy *y, const char *pre)
{
    *y = (struct toy){0};
    vocab_spec_init(&y->spec);
    arena_init(&y->a);
    int n = 0;
    for (int b = 0; b < 256; b++) {
        bool plain = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        size_t len = utf8_encode(plain ? (uint32_t)b : 256u + (uint32_t)n++, y->byte[b]);
        add_token(y, (struct str){y->byte[b], len}, TOKEN_NORMAL);
    }
    y->spec.tokens = y->token;
    y->spec.types = y->type;
    y->spec.merges = y->merge;
    y->spec.model = STR("gpt2");
    y->spec.pre = str_from(pre);
}

/* "l r" merges; the result becomes a token. */
static int32_t add_merge(struct toy *y, const char *pair)
{
    size_t gap = strcspn(pair, " "), n = strlen(pair);
    char *whole = arena_strdup(&y->a, str_from(pair));
    memmove(whole + gap, whole + gap + 1, n - gap);
    y->merge[y->spec.n_merges++] = str_from(pair);
    return add_token(y, (struct str){whole, n - 1}, TOKEN_NORMAL);
}

static struct tokenizer *must_create(const struct vocab_spec *s)
{
    struct tokenizer *t = NULL;
    struct err e = {0};
    if (tokenizer_create(&t, s, &e) != 0) fail_msg("%s", e.msg);
    return t;
}

static void check_ids(const struct ids *got, const int32_t *want, size_t n)
{
    assert_int_equal(got->n, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(got->p[i], want[i]);
}

#define CHECK_ENCODE(t, text, flags, ...)                                                                    \
    do {                                                                                                     \
        struct ids got_;                                                                                     \
        struct err e_ = {0};                                                                                 \
        const int32_t want_[] = {__VA_ARGS__};                                                               \
        ids_init(&got_, 1000);                                                                               \
        if (tokenizer_encode(t, NULL, str_from(text), flags, &got_, &e_) != 0) fail_msg("%s", e_.msg);       \
        check_ids(&got_, want_, sizeof want_ / sizeof *want_);                                               \
        ids_finish(&got_);                                                                                   \
    } while (0)

static void decode(const struct tokenizer *t, const struct ids *ids, unsigned flags, struct buf *out)
{
    struct detok d;
    detok_init(&d, t, flags);
    for (size_t i = 0; i < ids->n; i++) {
        assert_int_equal(detok_feed(&d, ids->p[i], out), 0);
        assert_int_equal(utf8_valid(buf_str(out)), out->n); /* never half a code point */
    }
    assert_int_equal(detok_finish(&d, out), 0);
}

/* --- expected ids ------------------------------------------------------------------------------------ */

static void run_cases(const char *name, bool round_trip)
{
    struct arena a;
    char path[256], *hex = NULL, *list = NULL;
    size_t hex_cap = 0, list_cap = 0, n_case = 0;
    arena_init(&a);
    snprintf(path, sizeof path, CASES "%s.vocab", name);
    struct vocab_spec spec = vocab_file_read(&a, path);
    struct tokenizer *t = must_create(&spec);
    struct tok_scratch *x;
    struct err e;
    struct ids got;
    struct buf clean, back;
    assert_int_equal(tok_scratch_create(&x, t, &e), 0);
    ids_init(&got, 100000);
    buf_init(&clean, 100000);
    buf_init(&back, 100000);
    FILE *texts = fopen(CASES "texts.hex", "r");
    snprintf(path, sizeof path, CASES "%s.ids", name);
    FILE *ids = fopen(path, "r");
    assert_non_null(texts);
    assert_non_null(ids);
    while (getline(&hex, &hex_cap, texts) > 0) {
        assert_true(getline(&list, &list_cap, ids) > 0);
        struct str text = vocab_file_hex(&a, path, hex);
        for (int own = 0; own < 2; own++) { /* a scratch that knows the words of other texts, and a new one */
            ids_clear(&got);
            assert_int_equal(tokenizer_encode(t, own ? NULL : x, text, 0, &got, &e), 0);
            size_t n = 0;
            for (char *at = list, *end;; at = end, n++) {
                long want = strtol(at, &end, 10);
                if (end == at) break;
                if (n >= got.n || got.p[n] != want)
                    fail_msg("%s: text %zu (%s): id %zu is not %ld", name, n_case, hex, n, want);
            }
            assert_int_equal(n, got.n);
        }
        if (round_trip) {
            buf_clear(&clean);
            buf_clear(&back);
            utf8_append_replaced(&clean, text);
            decode(t, &got, DETOK_SKIP_SPACE, &back);
            assert_int_equal(back.n, clean.n);
            assert_memory_equal(back.p, clean.p, clean.n);
        }
        n_case++;
    }
    assert_true(n_case > 150);
    fclose(texts);
    fclose(ids);
    free(hex);
    free(list);
    buf_finish(&clean);
    buf_finish(&back);
    ids_finish(&got);
    tok_scratch_destroy(x);
    tokenizer_destroy(t);
    arena_finish(&a);
}

static void test_cases(void **state)
{
    (void)state;
    run_cases("smollm", true);
    run_cases("llama-bpe", true);
    run_cases("gpt-4o", true);
    run_cases("deepseek-v3", true);
    run_cases("qwen2", false); /* normalises */
    run_cases("spm-bytes", true);
    run_cases("spm-unknown", false); /* loses what it does not know */
}

/* --- special tokens ---------------------------------------------------------------------------------- */

static void test_special(void **state)
{
    (void)state;
    struct toy y;
    toy_init(&y, "gpt-2");
    int32_t bos = add_token(&y, STR("<s>"), TOKEN_CONTROL);
    int32_t end = add_token(&y, STR("<|im_end|>"), TOKEN_CONTROL);
    int32_t user = add_token(&y, STR("<t>"), TOKEN_USER_DEFINED);
    int32_t longer = add_token(&y, STR("<t><s>"), TOKEN_CONTROL);
    add_token(&y, STR("\xA9"), TOKEN_USER_DEFINED); /* half a character is never found in one */
    y.spec.bos = bos;
    y.spec.add_bos = 1;
    struct tokenizer *t = must_create(&y.spec);
    CHECK_ENCODE(t, "a<s>", 0, 'a', '<', 's', '>');
    CHECK_ENCODE(t, "a<s>", TOK_PARSE_SPECIAL, 'a', bos);
    CHECK_ENCODE(t, "a<t><s>", 0, 'a', user, '<', 's', '>');
    CHECK_ENCODE(t, "a<t><s>", TOK_PARSE_SPECIAL, 'a', longer);
    CHECK_ENCODE(t, "\xC3\xA9", 0, 0xC3, 0xA9);
    CHECK_ENCODE(t, "a", TOK_ADD_SPECIAL, bos, 'a');
    CHECK_ENCODE(t, "<s>a", TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, bos, 'a');
    CHECK_ENCODE(t, "<s><s>a", TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, bos, bos, 'a');
    CHECK_ENCODE(t, "<s>a", TOK_ADD_SPECIAL, bos, '<', 's', '>', 'a');
    assert_true(tokenizer_is_end(t, end));
    assert_false(tokenizer_is_end(t, bos));
    assert_false(tokenizer_is_end(t, -1));
    assert_false(tokenizer_is_end(t, 1 << 30));
    assert_int_equal(tokenizer_eot(t), end);
    assert_int_equal(tokenizer_find_special(t, STR("<|im_end|>")), end);
    assert_int_equal(tokenizer_find_special(t, STR("<|im_end|>x")), -1);
    assert_int_equal(tokenizer_piece(t, 1 << 30).n, 0);
    struct buf out;
    buf_init(&out, 1000);
    struct ids ids = {.p = (int32_t[]){'h', bos, 0xC3, end, 0xA9, user, -7, 'i', 0xE2, 0x82}, .n = 10};
    decode(t, &ids, 0, &out);
    assert_string_equal(out.p, "h\xC3\xA9<t>i\xEF\xBF\xBD");
    buf_clear(&out);
    decode(t, &ids, DETOK_SPECIAL, &out);
    assert_string_equal(out.p, "h<s>\xEF\xBF\xBD<|im_end|>\xEF\xBF\xBD<t>i\xEF\xBF\xBD");
    buf_finish(&out);
    tokenizer_destroy(t);
    arena_finish(&y.a);
}

/* Added tokens that take white space, that stand alone, and that come after all others. The ids are those of
 * PyPI's tokenizers 0.23.3. */
static void test_added(void **state)
{
    (void)state;
    struct toy y;
    toy_init(&y, "mpt"); /* NFC */
    int32_t left = add_token(&y, STR("<l>"), TOKEN_CONTROL), right = add_token(&y, STR("<r>"), TOKEN_CONTROL);
    int32_t word = add_token(&y, STR("ab"), TOKEN_USER_DEFINED),
            late = add_token(&y, STR("<n>r"), TOKEN_USER_DEFINED),
            blank = add_token(&y, STR("  "), TOKEN_USER_DEFINED);
    int32_t ids[] = {left, right, word, late, blank},
            flags[] = {ADDED_LEFT, ADDED_RIGHT, ADDED_WORD, ADDED_NORMALIZED, ADDED_NORMALIZED};
    y.spec.n_added = 5;
    y.spec.added_ids = ids;
    y.spec.added_flags = flags;
    struct tokenizer *t = must_create(&y.spec);
    CHECK_ENCODE(t, "a \n\xE3\x80\x80<l> a", TOK_PARSE_SPECIAL, 'a', left, ' ', 'a');
    CHECK_ENCODE(t, "a <r>\xC2\xA0\ta", TOK_PARSE_SPECIAL, 'a', ' ', right, 'a');
    CHECK_ENCODE(t, "<r> <l> <l>", TOK_PARSE_SPECIAL, right, left, left);
    CHECK_ENCODE(t, "<l> a", 0, '<', 'l', '>', ' ', 'a');
    CHECK_ENCODE(t, "ab", 0, word);
    CHECK_ENCODE(t, "ab-ab", 0, word, '-', word);
    CHECK_ENCODE(t, "abc", 0, 'a', 'b', 'c');
    CHECK_ENCODE(t, "ab\xCC\x81", 0, 'a', 'b', 0xCC, 0x81);
    CHECK_ENCODE(t, "\xC3\xA9" "ab", 0, 0xC3, 0xA9, 'a', 'b');
    CHECK_ENCODE(t, "<<n>r<r>", TOK_PARSE_SPECIAL, '<', late, right);
    CHECK_ENCODE(t, "<n<r>r", TOK_PARSE_SPECIAL, '<', 'n', right, 'r');
    CHECK_ENCODE(t, "<r>   a", TOK_PARSE_SPECIAL, right, 'a');
    tokenizer_destroy(t);
    arena_finish(&y.a);
}

/* Characters newer than the tables of PyPI's tokenizers are left as they are: U+32FF, U+1E030. */
static void test_later(void **state)
{
    (void)state;
    struct toy y;
    toy_init(&y, "gpt-2");
    y.spec.norm = VOCAB_NORM_NFKC;
    struct tokenizer *t = must_create(&y.spec);
    CHECK_ENCODE(t, "\xE3\x8B\xBF", 0, 0xE3, 0x8B, 0xBF);
    CHECK_ENCODE(t, "e\xCC\x81\xE3\x8B\xBF" "e\xCC\x81", 0, 0xC3, 0xA9, 0xE3, 0x8B, 0xBF, 0xC3, 0xA9);
    CHECK_ENCODE(t, "\xF0\x9E\x80\xB0", 0, 0xF0, 0x9E, 0x80, 0xB0);
    tokenizer_destroy(t);
    arena_finish(&y.a);
}

/* What a user writes never becomes a control token, whatever stands beside it; words still go across. */
static void test_segments(void **state)
{
    (void)state;
    struct toy y;
    toy_init(&y, "gpt-2");
    int32_t end = add_token(&y, STR("<|im_end|>"), TOKEN_CONTROL);
    int32_t ab = add_merge(&y, "a b");
    add_merge(&y, "< |");
    struct tokenizer *t = must_create(&y.spec);
    struct ids got;
    struct err e;
    ids_init(&got, 1000);

    struct tok_segment whole[] = {
        {STR("<|im_"), true}, {STR("end|>"), true}, {STR("xa"), true}, {STR("b"), false}};
    assert_int_equal(tokenizer_encode_segments(t, NULL, whole, 4, 0, &got, &e), 0);
    check_ids(&got, (int32_t[]){end, 'x', ab}, 3);

    const struct tok_segment forged[][3] = {
        {{STR("<|im_"), true}, {STR("end|>"), false}, {STR(""), true}},
        {{STR("<|im_"), false}, {STR("end|>"), true}, {STR(""), true}},
        {{STR("<|im_end|>"), false}, {STR(""), true}, {STR(""), true}},
        {{STR("<|"), true}, {STR("im_end"), false}, {STR("|>"), true}},
        {{STR("<|im_end|"), true}, {STR(""), false}, {STR(">"), false}},
    };
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        ids_clear(&got);
        assert_int_equal(tokenizer_encode_segments(t, NULL, forged[i], 3, 0, &got, &e), 0);
        for (size_t k = 0; k < got.n; k++) assert_int_not_equal(got.p[k], end);
        assert_int_equal(got.n, 9); /* "<|" and eight bytes */
    }
    /* A code point cut by a segment is two faults, not one character. */
    ids_clear(&got);
    struct tok_segment cut[] = {{STR("\xC3"), true}, {STR("\xA9"), false}};
    assert_int_equal(tokenizer_encode_segments(t, NULL, cut, 2, 0, &got, &e), 0);
    check_ids(&got, (int32_t[]){0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD}, 6);
    ids_finish(&got);
    tokenizer_destroy(t);
    arena_finish(&y.a);
}

/* Neither merges nor whole words make a control token out of text. */
static void test_no_way_to_control(void **state)
{
    (void)state;
    struct toy y;
    toy_init(&y, "llama-bpe"); /* takes whole words */
    int32_t word = add_token(&y, STR("xyz"), TOKEN_NORMAL),
            control = add_token(&y, STR("abc"), TOKEN_CONTROL);
    int32_t ab = add_merge(&y, "a b");
    y.merge[y.spec.n_merges++] = STR("ab c");
    struct tokenizer *t = must_create(&y.spec);
    CHECK_ENCODE(t, "xyz", 0, word);
    CHECK_ENCODE(t, "abc", 0, ab, 'c');
    CHECK_ENCODE(t, "abc", TOK_PARSE_SPECIAL, control);
    tokenizer_destroy(t);
    y.spec.types = NULL; /* nothing said: what is declared as bos is control, be it one letter */
    y.spec.bos = 'x';
    y.spec.n_merges = 0;
    t = must_create(&y.spec);
    CHECK_ENCODE(t, "xy", 0, 'y');
    tokenizer_destroy(t);
    arena_finish(&y.a);
}

/* --- bad vocabularies -------------------------------------------------------------------------------- */

static void check_refused(const struct vocab_spec *s, int code, const char *part)
{
    struct tokenizer *t = (struct tokenizer *)(uintptr_t)1;
    struct err e = {0};
    assert_int_equal(tokenizer_create(&t, s, &e), code);
    assert_null(t);
    if (!strstr(e.msg, part)) fail_msg("'%s' lacks '%s'", e.msg, part);
}

static void test_refused(void **state)
{
    (void)state;
    struct toy y;
    struct vocab_spec s;
    toy_init(&y, "gpt-2");
    add_merge(&y, "a b");
    s = y.spec, s.pre = STR("nobody"),
    check_refused(&s, ERR_UNSUPPORTED, "'nobody' is not known (families: default, gpt-2");
    s = y.spec, s.model = STR("bert"), check_refused(&s, ERR_UNSUPPORTED, "model 'bert'");
    s = y.spec, s.n_tokens = 0, check_refused(&s, ERR_FORMAT, "empty");
    s = y.spec, s.n_tokens = VOCAB_TOKENS_MAX + 1, check_refused(&s, ERR_LIMIT, "tokens; at most");
    s = y.spec, s.n_merges = VOCAB_MERGES_MAX + 1, check_refused(&s, ERR_LIMIT, "merges; at most");
    s = y.spec, s.bos = 257,
    check_refused(&s, ERR_FORMAT, "bos token id 257 is outside the vocabulary of 257");
    s = y.spec, s.eom = -2, check_refused(&s, ERR_FORMAT, "eom token id -2");
    s = y.spec, s.n_added = 1, s.added_ids = (int32_t[]){1}, s.added_flags = (int32_t[]){ADDED_FLAGS + 1};
    check_refused(&s, ERR_FORMAT, "added token 1 with flags 16");
    s.added_ids = (int32_t[]){257}, s.added_flags = (int32_t[]){0};
    check_refused(&s, ERR_FORMAT, "added token 257");
    s = y.spec, s.model = STR("llama"), check_refused(&s, ERR_FORMAT, "needs scores");
    static const struct {
        const char *merge, *part;
    } bad[] = {{"ab", "merge 1 is 'ab'"},  {"a ", "merge 1"},
               {" a", "merge 1"},          {"", "merge 1"},
               {"c d", "the merged one"},  {"abc d", "the left one"},
               {"a abc", "the right one"}, {"\xFF b", "the left one"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s = y.spec;
        y.merge[1] = str_from(bad[i].merge);
        s.n_merges = 2;
        check_refused(&s, ERR_FORMAT, bad[i].part);
    }
    static char big[VOCAB_PIECE_BYTES_MAX + 1];
    memset(big, 'x', sizeof big);
    add_token(&y, (struct str){big, sizeof big}, TOKEN_NORMAL);
    check_refused(&y.spec, ERR_LIMIT, "token 257 has 16385 bytes");
    y.token[257].n = SPECIAL_PIECE_BYTES_MAX + 1;
    y.type[257] = TOKEN_CONTROL;
    check_refused(&y.spec, ERR_LIMIT, "special token 257");
    float score[2] = {0, 0.0f / 0.0f};
    struct str pieces[2] = {STR("a"), STR("<0x4G>")};
    int32_t types[2] = {TOKEN_NORMAL, TOKEN_NORMAL};
    vocab_spec_init(&s);
    s.model = STR("llama"), s.tokens = pieces, s.scores = score, s.types = types, s.n_tokens = 2;
    check_refused(&s, ERR_FORMAT, "score of token 1");
    types[1] = TOKEN_BYTE;
    check_refused(&s, ERR_FORMAT, "'<0x4G>'");
    arena_finish(&y.a);
}

/* --- long words, broken text, threads ---------------------------------------------------------------- */

enum { LONG = 1 << 20 };

/* A megabyte without a place to split takes n log n steps and not n^2. */
static void test_long(void **state)
{
    (void)state;
    static const char *const pre[] = {"gpt-2",        "llama-bpe",  "tiny_aya", "superbpe",
                                      "deepseek-llm", "exaone-moe", "kimi-k2"};
    static const char fill[] = "a 1\n.A";
    struct ids got;
    struct err e = {0};
    char *p = malloc(LONG);
    ids_init(&got, LONG);
    assert_non_null(p);
    for (size_t i = 0; i < sizeof pre / sizeof *pre; i++) {
        struct toy y;
        toy_init(&y, pre[i]);
        add_merge(&y, "a a");
        add_merge(&y, "aa aa");
        int32_t a8 = add_merge(&y, "aaaa aaaa");
        struct tokenizer *t = must_create(&y.spec);
        for (size_t k = 0; fill[k]; k++) {
            memset(p, fill[k], LONG);
            p[LONG - 1] = 'x';
            ids_clear(&got);
            if (tokenizer_encode(t, NULL, (struct str){p, LONG}, 0, &got, &e) != 0)
                fail_msg("%s: %s", pre[i], e.msg);
            assert_int_equal(got.p[got.n - 1], 'x');
            /* 7 a are aaaa aa a, then x */
            assert_int_equal(got.n, fill[k] == 'a' ? (LONG - 8) / 8 + 8 - 4 : LONG);
            if (fill[k] == 'a') assert_int_equal(got.p[0], a8);
        }
        tokenizer_destroy(t);
        arena_finish(&y.a);
    }
    /* A list that is too small is an error, and keeps what it held. */
    struct toy y;
    toy_init(&y, "gpt-2");
    struct tokenizer *t = must_create(&y.spec);
    struct ids small;
    ids_init(&small, 10);
    ids_push(&small, 42);
    assert_int_equal(tokenizer_encode(t, NULL, STR("0123456789abcdef"), 0, &small, &e), ERR_LIMIT);
    assert_int_equal(small.n, 1);
    assert_int_equal(tokenizer_encode(t, NULL, STR("012"), 0, &small, &e), 0);
    check_ids(&small, (int32_t[]){42, '0', '1', '2'}, 4);
    assert_int_equal(tokenizer_encode(t, NULL, (struct str){p, TOKENIZER_TEXT_BYTES_MAX + 1}, 0, &small, &e),
                     ERR_LIMIT);
    ids_finish(&small);
    ids_finish(&got);
    tokenizer_destroy(t);
    arena_finish(&y.a);
    free(p);
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *want; /* want: as Python's decode(errors='replace') has it, R for U+FFFD */
    } cases[] = {
        {"a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"\x80", "R"},
        {"\xC0\x80", "RR"},
        {"\xC3", "R"},
        {"\xC3"
         "A",
         "RA"},
        {"\xE2\x82", "R"},
        {"\xE2\x82"
         "A",
         "RA"},
        {"\xE0\x80\x80", "RRR"},
        {"\xED\xA0\x80", "RRR"},
        {"\xF0\x9F\x98", "R"},
        {"\xF0\x9F\x98\xF0\x9F\x98\x80", "R\xF0\x9F\x98\x80"},
        {"\xF4\x90\x80\x80", "RRRR"},
        {"\xF5\x80", "RR"},
        {"\xF0\x80\x80", "RRR"},
        {"\xFF\xFE", "RR"},
        {"\xE2\xE2\x82", "RR"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf want, got;
        buf_init(&want, 100);
        for (const char *w = cases[i].want; *w; w++)
            *w == 'R' ? buf_append_str(&want, UTF8_REPLACEMENT) : buf_append_char(&want, *w);
        struct str raw = str_from(cases[i].raw);
        for (size_t step = 0; step <= raw.n; step++) { /* whole, then in parts of every size */
            struct utf8_stream u = {0};
            buf_init(&got, 100);
            if (step == 0) utf8_append_replaced(&got, raw);
            for (size_t at = 0; step > 0 && at < raw.n; at += step) {
                size_t n = raw.n - at < step ? raw.n - at : step;
                utf8_stream_feed(&u, (struct str){raw.p + at, n}, &got);
            }
            utf8_stream_finish(&u, &got);
            assert_string_equal(got.p, want.p);
            buf_finish(&got);
        }
        buf_finish(&want);
    }
}

enum { N_THREAD = 4, N_ROUND = 40 };

struct job {
    const struct tokenizer *t;
    struct str text;
    struct ids ids;
    int rc;
};

static void *encode_thread(void *arg)
{
    struct job *j = arg;
    ids_init(&j->ids, 1000000);
    for (int i = 0; i < N_ROUND && j->rc == 0; i++) {
        ids_clear(&j->ids);
        j->rc = tokenizer_encode(j->t, NULL, j->text, TOK_PARSE_SPECIAL, &j->ids, NULL);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct vocab_spec spec = vocab_file_read(&a, CASES "smollm.vocab");
    struct tokenizer *t = must_create(&spec);
    struct job job[N_THREAD] = {0};
    pthread_t th[N_THREAD];
    for (int i = 0; i < N_THREAD; i++) {
        job[i] = (struct job){
            .t = t, .text = STR("Several threads write the same text with one tokenizer, 12345 times.\n\n")};
        assert_int_equal(pthread_create(&th[i], NULL, encode_thread, &job[i]), 0);
    }
    for (int i = 0; i < N_THREAD; i++) pthread_join(th[i], NULL);
    for (int i = 0; i < N_THREAD; i++) {
        assert_int_equal(job[i].rc, 0);
        check_ids(&job[i].ids, job[0].ids.p, job[0].ids.n);
    }
    for (int i = 0; i < N_THREAD; i++) ids_finish(&job[i].ids);
    tokenizer_destroy(t);
    arena_finish(&a);
}

/* Every family compiles and splits, and loses nothing. */
static int sum_word(void *ctx, const char *p, size_t n)
{
    struct buf *b = ctx;
    assert_true(n > 0);
    return buf_append(b, p, n);
}

static void test_families(void **state)
{
    (void)state;
    static const char *const name[] = {"default",
                                       "gpt-2",
                                       "mpt",
                                       "smollm",
                                       "llama-bpe",
                                       "dbrx",
                                       "glm4",
                                       "jais-2",
                                       "qwen2",
                                       "stablelm2",
                                       "qwen35",
                                       "minicpm5",
                                       "ufakzeka",
                                       "laguna",
                                       "gpt-4o",
                                       "youtu",
                                       "granite-embed-multi-97m",
                                       "tekken",
                                       "tiny_aya",
                                       "deepseek-llm",
                                       "deepseek-coder",
                                       "deepseek-v3",
                                       "spark2_5",
                                       "falcon",
                                       "bloom",
                                       "viking",
                                       "kimi-k2",
                                       "superbpe",
                                       "bailingmoe",
                                       "seed-coder",
                                       "exaone-moe",
                                       "gemma4",
                                       "sarvam-moe",
                                       "starcoder",
                                       "command-r",
                                       "grok-2",
                                       "olmo",
                                       "llama3",
                                       "minimax-m2",
                                       ""};
    struct str text = STR("It's 1234 words, isn't it?  \t\r\n\n \xC3\x89t\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87 "
                          "x2345y 1234567 \xF0\x9F\x98\x80 ");
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        const struct split_family *f;
        struct splitter s;
        struct split_scratch x;
        struct err e = {0};
        struct buf joined;
        buf_init(&joined, 1000);
        if (split_family_find(str_from(name[i]), &f, &e) != 0 || splitter_init(&s, f, &e) != 0)
            fail_msg("%s", e.msg);
        assert_int_equal(split_scratch_init(&x, &s, &e), 0);
        for (int jit = 1; jit >= 0; jit--) { /* the interpreter must do the same */
            for (int k = 0; k < s.n_stage; k++) s.jit[k] = s.jit[k] && jit;
            buf_clear(&joined);
            assert_int_equal(split_run(&s, &x, text, sum_word, &joined, &e), 0);
            assert_int_equal(joined.n, text.n);
            assert_memory_equal(joined.p, text.p, text.n);
        }
        buf_finish(&joined);
        split_scratch_finish(&x);
        splitter_finish(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),     cmocka_unit_test(test_families),
        cmocka_unit_test(test_cases),    cmocka_unit_test(test_special),
        cmocka_unit_test(test_segments), cmocka_unit_test(test_no_way_to_control),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_long),
        cmocka_unit_test(test_threads),  cmocka_unit_test(test_added),
        cmocka_unit_test(test_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
