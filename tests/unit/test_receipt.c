/* SPDX-License-Identifier: Apache-2.0 */
/* base/cbor, serve/receipt, serve/signing, file/root: what is written is read, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cbor.h"
#include "file/root.h"
#include "serve/receipt/receipt.h"

static char dir[] = "/tmp/tutti-test-XXXXXX";

static void check_bytes(const struct buf *b, const char *hex)
{
    char got[64];
    assert_int_equal(b->failed, 0);
    sodium_bin2hex(got, sizeof got, (const unsigned char *)b->p, b->n);
    assert_string_equal(got, hex);
}

/* Known encodings of RFC 8949, appendix A. */
static void cbor_known(void **state)
{
    (void)state;
    static const struct {
        uint64_t v;
        const char *hex;
    } ints[] = {{0, "00"},
                {10, "0a"},
                {23, "17"},
                {24, "1818"},
                {100, "1864"},
                {1000, "1903e8"},
                {1000000, "1a000f4240"},
                {1000000000000, "1b000000e8d4a51000"},
                {UINT64_MAX, "1bffffffffffffffff"}};
    struct buf b;
    struct cbor c;
    buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        buf_clear(&b);
        cbor_put_uint(&b, ints[i].v);
        check_bytes(&b, ints[i].hex);
        cbor_init(&c, buf_str(&b));
        assert_true(cbor_uint(&c, UINT64_MAX) == ints[i].v);
        assert_true(cbor_end(&c));
    }
    buf_clear(&b);
    cbor_put_f32(&b, 100000.0f);
    check_bytes(&b, "fa47c35000");
    buf_clear(&b);
    cbor_put_array(&b, 2), cbor_put_text(&b, STR("IETF")), cbor_put_bytes(&b, "\1\2", 2);
    check_bytes(&b, "826449455446420102");
    buf_finish(&b);
}

static void cbor_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {{"", 0},
               {"\x18", 1},
               {"\x18\x17", 2},
               {"\x19\x00\xff", 3},
               {"\x1a\x00\x00\xff\xff", 5},
               {"\x1f", 1},
               {"\x20", 1},
               {"\x00\x00", 2},
               {"\x1b\x00\x00\x00\x00\xff\xff\xff\xff", 9}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cbor c;
        cbor_init(&c, (struct str){bad[i].bytes, bad[i].n});
        cbor_uint(&c, UINT64_MAX);
        assert_false(cbor_end(&c));
        assert_non_null(c.failed);
    }
    struct cbor c;
    cbor_init(&c, STR("\x9a\xff\xff\xff\xff\x00")); /* a list that cannot fit */
    assert_int_equal(cbor_array(&c, UINT64_MAX), 0);
    assert_non_null(c.failed);
    cbor_init(&c, STR("\x5b\xff\xff\xff\xff\xff\xff\xff\xff"));
    assert_int_equal(cbor_bytes(&c).n, 0);
    assert_non_null(c.failed);
    cbor_init(&c, STR("\x61\xff"));
    cbor_text(&c);
    assert_non_null(c.failed);
}

/* --- receipts --- */

static const int32_t prompt[] = {1, 500, 70000, 0},
                     answer[] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 2};
static const struct sampler_bias bias[] = {{3, -100.0f}, {9, 0.5f}};
static struct str stop[2];
static const int32_t allowed[] = {0, 5, 49151}, stop_ids[] = {2, 7};

static void make_spec(struct receipt_spec *s)
{
    stop[0] = STR("\n\n"), stop[1] = STR("\xc3\xa9nd");
    *s = (struct receipt_spec){.contract = {1},
                               .root = {2},
                               .prompt = prompt,
                               .n_prompt = 4,
                               .kv_bits = 16,
                               .stop = stop,
                               .n_stop = 2,
                               .max_tokens = 77,
                               .ignore_end = true,
                               .grammar_kind = STR("regex"),
                               .grammar = STR("[a-z]+")};
    sampler_params_default(&s->sample);
    s->sample.seed = 0xfedcba9876543210u;
    s->sample.penalty_last = -1;
    s->sample.choice = 3;
    s->sample.bias = bias, s->sample.n_bias = 2;
}

static void make_rules(struct receipt_spec *s)
{
    s->min_tokens = 4;
    s->allowed = allowed, s->n_allowed = 3;
    s->stop_ids = stop_ids, s->n_stop_ids = 2;
}

static void make_receipt(struct receipt_spec *spec, const struct signing *key, struct buf *out)
{
    struct buf sb;
    struct receipt_chain chain;
    struct err e = {0};
    uint8_t st[RECEIPT_HASH] = {0};
    buf_init(&sb, 1 << 20);
    receipt_put_spec(spec, &sb);
    assert_int_equal(sb.failed, 0);
    receipt_chain_begin(&chain, buf_str(&sb));
    for (int i = 0; i < 17; i++) {
        st[0] = (uint8_t)i;
        receipt_chain_add(&chain, answer[i], st);
    }
    struct receipt r = {.spec_bytes = buf_str(&sb),
                        .answer = answer,
                        .n_answer = 17,
                        .end = GENERATE_END_TOKEN,
                        .marks = (uint8_t *)chain.marks.p,
                        .time_s = 1795000000,
                        .request = STR("req_1"),
                        .model = STR("m"),
                        .has_salt = !spec->prompt,
                        .salt = {9}};
    assert_int_equal(chain.marks.n, RECEIPT_MARK);
    memcpy(r.head, chain.h, sizeof r.head);
    assert_int_equal(receipt_write(&r, key, out, &e), 0);
    receipt_chain_finish(&chain);
    buf_finish(&sb);
}

static void new_key(struct signing *key)
{
    struct err e = {0};
    struct path p;
    static int n;
    assert_int_equal(path_format(&p, &e, "%s/k%d/signing.key", dir, n++), 0);
    if (signing_make(key, p.z, &e)) fail_msg("%s", e.msg);
}

static void receipts_travel(void **state)
{
    (void)state;
    struct signing key;
    struct receipt_spec spec;
    struct receipt r;
    struct buf b, text;
    struct arena a;
    struct err e = {0};
    new_key(&key);
    make_spec(&spec);
    buf_init(&b, RECEIPT_BYTES_MAX);
    buf_init(&text, RECEIPT_BYTES_MAX);
    arena_init(&a);
    make_receipt(&spec, &key, &b);
    if (receipt_read_any(&r, buf_str(&b), 0, &a, &e)) fail_msg("%s", e.msg);
    assert_true(receipt_is_signed(&r));
    assert_memory_equal(r.public, key.public, sizeof key.public);
    assert_memory_equal(r.spec.contract, spec.contract, RECEIPT_HASH);
    assert_int_equal(r.spec.n_prompt, 4);
    assert_memory_equal(r.spec.prompt, prompt, sizeof prompt);
    assert_memory_equal(r.answer, answer, sizeof answer);
    assert_true(r.spec.sample.seed == spec.sample.seed && r.spec.sample.temperature == spec.sample.temperature);
    assert_int_equal(r.spec.sample.penalty_last, -1);
    assert_int_equal(r.spec.sample.choice, 3);
    assert_int_equal(r.spec.sample.bias[1].id, 9);
    assert_true(str_eq(r.spec.stop[1], stop[1]));
    assert_true(str_eqz(r.spec.grammar, "[a-z]+"));
    assert_int_equal(r.spec.max_tokens, 77);
    assert_true(r.spec.ignore_end);
    assert_int_equal(r.end, GENERATE_END_TOKEN);
    assert_false(r.has_salt);
    /* as base64, and in a reply */
    assert_int_equal(receipt_to_text(buf_str(&b), &text), 0);
    if (receipt_read_any(&r, buf_str(&text), 0, &a, &e)) fail_msg("%s", e.msg);
    assert_true(receipt_is_signed(&r));
    char *reply = malloc(text.n + 100);
    snprintf(reply, text.n + 100, " {\"choices\": [{}, {\"receipt\": \"%s\"}]}", text.p);
    assert_int_equal(receipt_read_any(&r, str_from(reply), 1, &a, &e), 0);
    assert_int_equal(receipt_read_any(&r, str_from(reply), 0, &a, &e), ERR_NOT_FOUND);
    free(reply);
    /* a private prompt */
    spec.prompt = NULL;
    uint8_t salt[RECEIPT_SALT] = {9};
    receipt_prompt_hash(salt, prompt, 4, spec.prompt_hash);
    buf_clear(&b);
    make_receipt(&spec, &key, &b);
    assert_int_equal(receipt_read(&r, buf_str(&b), &a, &e), 0);
    assert_null(r.spec.prompt);
    assert_true(r.has_salt && r.salt[0] == 9);
    assert_memory_equal(r.spec.prompt_hash, spec.prompt_hash, RECEIPT_HASH);
    /* rules about single tokens */
    assert_int_equal(r.spec.min_tokens + r.spec.n_allowed + r.spec.n_stop_ids, 0);
    make_rules(&spec);
    buf_clear(&b);
    make_receipt(&spec, &key, &b);
    assert_int_equal(receipt_read(&r, buf_str(&b), &a, &e), 0);
    assert_int_equal(r.spec.min_tokens, 4);
    assert_int_equal(r.spec.n_allowed, 3);
    assert_memory_equal(r.spec.allowed, allowed, sizeof allowed);
    assert_int_equal(r.spec.n_stop_ids, 2);
    assert_int_equal(r.spec.rotation, ROTATION_OF_CONTEXT);
    for (int rules = 1; rules >= 0; rules--) {
        struct receipt_spec far = spec;
        struct receipt back;
        struct buf bytes;
        if (!rules) far.min_tokens = far.n_allowed = far.n_stop_ids = 0;
        far.rotation = ROTATION_LONG;
        buf_init(&bytes, RECEIPT_BYTES_MAX);
        make_receipt(&far, &key, &bytes);
        assert_int_equal(receipt_read(&back, buf_str(&bytes), &a, &e), 0);
        assert_int_equal(back.spec.rotation, ROTATION_LONG);
        assert_int_equal(back.spec.min_tokens, far.min_tokens);
        buf_finish(&bytes);
    }
    assert_true(receipt_stops(&r.spec, 7, 5) && !receipt_stops(&r.spec, 7, 4) && !receipt_stops(&r.spec, 8, 5));
    spec.stop_ids = (int32_t[]){7, 2};
    buf_clear(&b);
    make_receipt(&spec, &key, &b);
    assert_int_equal(receipt_read(&r, buf_str(&b), &a, &e), ERR_FORMAT); /* one content, one encoding */
    buf_finish(&b);
    buf_finish(&text);
    arena_finish(&a);
}

/* Whatever bit of a receipt is turned, it is malformed or its signature is wrong; the salt alone is not signed. */
static void no_bit_may_turn(void **state)
{
    (void)state;
    struct signing key;
    struct receipt_spec spec;
    struct buf b;
    new_key(&key);
    make_spec(&spec);
    make_rules(&spec);
    buf_init(&b, RECEIPT_BYTES_MAX);
    make_receipt(&spec, &key, &b);
    int malformed = 0, unsigned_ = 0;
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        struct arena a;
        struct receipt r;
        struct err e = {0};
        arena_init(&a);
        b.p[bit / 8] ^= (char)(1 << bit % 8);
        if (receipt_read(&r, buf_str(&b), &a, &e))
            malformed++;
        else if (!receipt_is_signed(&r))
            unsigned_++;
        else
            fail_msg("bit %zu of byte %zu may turn", bit % 8, bit / 8);
        b.p[bit / 8] ^= (char)(1 << bit % 8);
        arena_finish(&a);
    }
    assert_true(malformed > 100 && unsigned_ > 1000);
    for (size_t n = 0; n < b.n; n++) { /* nor may it be cut */
        struct arena a;
        struct receipt r;
        arena_init(&a);
        assert_int_equal(receipt_read(&r, (struct str){b.p, n}, &a, NULL), ERR_FORMAT);
        arena_finish(&a);
    }
    buf_finish(&b);
}

static void keys_stay_secret(void **state)
{
    (void)state;
    struct signing a, b;
    struct err e = {0};
    struct path p;
    struct stat st;
    char hex[SIGNING_HEX + 1];
    uint8_t public[SIGNING_PUBLIC_BYTES];
    assert_int_equal(path_format(&p, &e, "%s/s/t/signing.key", dir), 0);
    assert_int_equal(signing_read(&a, p.z, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "tutti keys signing"));
    assert_int_equal(signing_make(&a, p.z, &e), 0);
    assert_int_equal(signing_make(&b, p.z, &e), ERR_USAGE);
    assert_int_equal(stat(p.z, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(signing_read(&b, p.z, &e), 0);
    assert_memory_equal(&a, &b, sizeof a);
    signing_hex(a.public, hex);
    assert_int_equal(signing_parse(hex, public, &e), 0);
    assert_memory_equal(public, a.public, sizeof public);
    assert_int_equal(signing_parse("abc", public, &e), ERR_USAGE);
    assert_int_equal(chmod(p.z, 0644), 0);
    assert_int_equal(signing_read(&b, p.z, &e), ERR_USAGE);
    assert_int_equal(chmod(p.z, 0600), 0);
    assert_int_equal(truncate(p.z, 40), 0);
    assert_int_equal(signing_read(&b, p.z, &e), ERR_FORMAT);
}

/* --- the root of a model --- */

static void copy_file(const char *from, const char *to, long flip)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    long at = 0;
    for (int c; (c = fgetc(in)) != EOF; at++) fputc(at == flip ? c ^ 1 : c, out);
    fclose(in);
    fclose(out);
}

static void root_of(const char *path, uint8_t root[ROOT_BYTES])
{
    struct gguf *g;
    struct err e = {0};
    if (gguf_open(&g, path, &e) || root_compute(g, root, NULL, &e)) fail_msg("%s", e.msg);
    gguf_close(g);
}

static void roots(void **state)
{
    (void)state;
    uint8_t a[ROOT_BYTES], b[ROOT_BYTES], c[ROOT_BYTES];
    struct path p;
    struct err e = {0};
    struct gguf *g;
    struct stat st;
    setenv("TUTTI_CACHE", dir, 1);
    assert_int_equal(path_format(&p, &e, "%s/m.gguf", dir), 0);
    assert_int_equal(stat("tests/data/tiny.gguf", &st), 0);
    root_of("tests/data/tiny.gguf", a);
    copy_file("tests/data/tiny.gguf", p.z, -1);
    root_of(p.z, b);
    assert_memory_equal(a, b, ROOT_BYTES);
    assert_int_equal(gguf_open(&g, p.z, &e), 0);
    assert_false(root_recall(g, p.z, c));
    root_keep(g, p.z, b);
    assert_true(root_recall(g, p.z, c));
    assert_memory_equal(b, c, ROOT_BYTES);
    gguf_close(g);
    unlink(p.z);
    copy_file("tests/data/tiny.gguf", p.z, (long)st.st_size - 5); /* one bit of a weight */
    assert_int_equal(gguf_open(&g, p.z, &e), 0);
    assert_false(root_recall(g, p.z, c));
    gguf_close(g);
    root_of(p.z, c);
    assert_memory_not_equal(a, c, ROOT_BYTES);
    root_of("tests/data/tiny-f16.gguf", c);
    assert_memory_not_equal(a, c, ROOT_BYTES);
}

int main(void)
{
    struct err e;
    if (!mkdtemp(dir)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(cbor_known),       cmocka_unit_test(cbor_refuses),
                                       cmocka_unit_test(receipts_travel),  cmocka_unit_test(no_bit_may_turn),
                                       cmocka_unit_test(keys_stay_secret), cmocka_unit_test(roots)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    path_remove_tree(dir, &e);
    return rc;
}
