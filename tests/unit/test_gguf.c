/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file/gguf: files are written here byte by byte, first right, then wrong in one place each, and the message
 * is compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/buf.h"
#include "file/gguf.h"

enum { FILE_MAX = 1 << 20 };

/* --- a writer of GGUF bytes --- */

static void put(struct buf *b, uint64_t v, size_t n)
{
    assert_int_equal(buf_append(b, &v, n), 0);
}

static void put_str(struct buf *b, const char *s)
{
    put(b, strlen(s), 8);
    assert_int_equal(buf_append_z(b, s), 0);
}

static void put_header(struct buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    buf_clear(b);
    put(b, 0x46554747, 4);
    put(b, version, 4);
    put(b, n_tensors, 8);
    put(b, n_keys, 8);
}

static void put_key(struct buf *b, const char *key, uint32_t type)
{
    put_str(b, key);
    put(b, type, 4);
}

static void put_u32(struct buf *b, const char *key, uint32_t v)
{
    put_key(b, key, GGUF_U32);
    put(b, v, 4);
}

static void put_array(struct buf *b, const char *key, uint32_t elem, uint64_t n)
{
    put_key(b, key, GGUF_ARRAY);
    put(b, elem, 4);
    put(b, n, 8);
}

static void put_tensor(struct buf *b, const char *name, uint32_t type, uint64_t ne0, uint64_t ne1,
                       uint64_t offset)
{
    put_str(b, name);
    put(b, 2, 4);
    put(b, ne0, 8);
    put(b, ne1, 8);
    put(b, type, 4);
    put(b, offset, 8);
}

static void pad(struct buf *b, size_t align)
{
    while (b->n % align) put(b, 0, 1);
}

static void put_data(struct buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++) put(b, i & 0xff, 1);
}

/* --- a file with one of everything --- */

static void put_all(struct buf *b)
{
    put_header(b, 3, 3, 18);
    put_key(b, "general.architecture", GGUF_STR);
    put_str(b, "llama");
    put_u32(b, "a.u32", 77);
    put_key(b, "a.u8", GGUF_U8);
    put(b, 200, 1);
    put_key(b, "a.i8", GGUF_I8);
    put(b, 0xff, 1);
    put_key(b, "a.u16", GGUF_U16);
    put(b, 65535, 2);
    put_key(b, "a.i16", GGUF_I16);
    put(b, 0x8000, 2);
    put_key(b, "a.i32", GGUF_I32);
    put(b, 0xfffffffe, 4);
    put_key(b, "a.f32", GGUF_F32);
    put(b, 0x3fc00000, 4); /* 1.5 */
    put_key(b, "a.bool", GGUF_BOOL);
    put(b, 1, 1);
    put_key(b, "a.u64", GGUF_U64);
    put(b, UINT64_MAX, 8);
    put_key(b, "a.i64", GGUF_I64);
    put(b, (uint64_t)-5, 8);
    put_key(b, "a.f64", GGUF_F64);
    put(b, 0x7ff0000000000000, 8); /* infinity */
    put_array(b, "a.strs", GGUF_STR, 3);
    put_str(b, "one");
    put_str(b, "");
    put_str(b, "three");
    put_array(b, "a.ints", GGUF_I16, 2);
    put(b, 0xffff, 2);
    put(b, 7, 2);
    put_array(b, "a.reals", GGUF_F32, 1);
    put(b, 0xc0000000, 4); /* -2 */
    put_array(b, "a.nested", GGUF_ARRAY, 2);
    put(b, GGUF_U8, 4);
    put(b, 3, 8);
    put(b, 0x030201, 3);
    put(b, GGUF_STR, 4);
    put(b, 0, 8);
    put_array(b, "a.empty", GGUF_F64, 0);
    put_u32(b, "general.alignment", 64);
    put_tensor(b, "m.weight", DTYPE_Q4_0, 64, 2, 64);
    put_tensor(b, "v", DTYPE_F32, 4, 1, 0);
    put_tensor(b, "odd", DTYPE_I8, 50, 1, 192);
    pad(b, 64);
    put_data(b, 192 + 50);
}

static struct gguf *open_all(struct buf *b)
{
    struct gguf *g;
    struct err e = {0};
    buf_init(b, FILE_MAX);
    put_all(b);
    if (gguf_open_memory(&g, &(struct str){b->p, b->n}, 1, &e) != 0) fail_msg("%s", e.msg);
    return g;
}

static void reads_every_value(void **state)
{
    (void)state;
    struct buf b;
    struct gguf *g = open_all(&b);
    struct err e = {0};
    uint32_t u = 0;
    uint64_t w = 0;
    int64_t i = 0;
    float f = 0;
    bool t = false;
    struct str s;
    assert_int_equal(gguf_n_keys(g), 18);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_alignment(g), 64);
    assert_int_equal(gguf_get_str(g, "general.architecture", &s, &e), 0);
    assert_true(str_eqz(s, "llama"));
    assert_int_equal(gguf_get_u32(g, "a.u32", &u, &e), 0);
    assert_int_equal(u, 77);
    assert_int_equal(gguf_get_u32(g, "a.u8", &u, &e), 0);
    assert_int_equal(u, 200);
    assert_int_equal(gguf_get_i64(g, "a.i8", &i, &e), 0);
    assert_int_equal(i, -1);
    assert_int_equal(gguf_get_i64(g, "a.i16", &i, &e), 0);
    assert_int_equal(i, -32768);
    assert_int_equal(gguf_get_i64(g, "a.i32", &i, &e), 0);
    assert_int_equal(i, -2);
    assert_int_equal(gguf_get_u64(g, "a.u64", &w, &e), 0);
    assert_true(w == UINT64_MAX);
    assert_int_equal(gguf_get_f32(g, "a.f32", &f, &e), 0);
    assert_true(f == 1.5f);
    assert_int_equal(gguf_get_bool(g, "a.bool", &t, &e), 0);
    assert_true(t);
    assert_int_equal(gguf_opt_u32(g, "absent", 5, &u, &e), 0);
    assert_int_equal(u, 5);
    assert_int_equal(gguf_opt_f32(g, "absent", 2.5f, &f, &e), 0);
    assert_true(f == 2.5f);
    gguf_close(g);
    buf_finish(&b);
}

static void reads_arrays(void **state)
{
    (void)state;
    struct buf b;
    struct gguf *g = open_all(&b);
    struct err e = {0};
    struct arena a;
    struct str *s;
    int32_t *v;
    float *f;
    size_t n;
    arena_init(&a);
    assert_int_equal(gguf_get_strs(g, "a.strs", &a, &s, &n, &e), 0);
    assert_int_equal(n, 3);
    assert_true(str_eqz(s[0], "one") && s[1].n == 0 && str_eqz(s[2], "three"));
    assert_int_equal(gguf_get_i32s(g, "a.ints", &a, &v, &n, &e), 0);
    assert_true(n == 2 && v[0] == -1 && v[1] == 7);
    assert_int_equal(gguf_get_f32s(g, "a.reals", &a, &f, &n, &e), 0);
    assert_true(n == 1 && f[0] == -2.0f);
    assert_int_equal(gguf_get_f32s(g, "a.empty", &a, &f, &n, &e), 0);
    assert_int_equal(n, 0);
    size_t pos = 0, count = 0;
    for (struct str x; gguf_value_str(gguf_find(g, "a.strs"), &pos, &x);) count++;
    assert_int_equal(count, 3);
    arena_finish(&a);
    gguf_close(g);
    buf_finish(&b);
}

static void getters_name_the_key(void **state)
{
    (void)state;
    struct buf b;
    struct gguf *g = open_all(&b);
    struct err e = {0};
    struct arena a;
    uint32_t u = 9;
    uint64_t w;
    int64_t i;
    float f;
    struct str *s, str;
    int32_t *v;
    size_t n;
    arena_init(&a);
    assert_int_equal(gguf_get_u32(g, "general.architecture", &u, &e), ERR_FORMAT);
    assert_string_equal(e.msg, "key 'general.architecture': expected uint32, got string");
    assert_int_equal(gguf_get_u32(g, "nothing", &u, &e), ERR_NOT_FOUND);
    assert_string_equal(e.msg, "key 'nothing' is missing");
    assert_int_equal(gguf_get_u32(g, "a.u64", &u, &e), ERR_FORMAT);
    assert_string_equal(e.msg, "key 'a.u64': expected a number up to 4294967295, got 18446744073709551615");
    assert_int_equal(gguf_get_u64(g, "a.i64", &w, &e), ERR_FORMAT);
    assert_string_equal(e.msg, "key 'a.i64': expected a number from 0, got -5");
    assert_int_equal(gguf_get_i64(g, "a.u64", &i, &e), ERR_FORMAT);
    assert_int_equal(gguf_get_f32(g, "a.f64", &f, &e), ERR_FORMAT);
    assert_string_equal(e.msg, "key 'a.f64': the number is not finite");
    assert_int_equal(gguf_get_str(g, "a.strs", &str, &e), ERR_FORMAT);
    assert_string_equal(e.msg, "key 'a.strs': expected string, got array of string");
    assert_int_equal(gguf_get_strs(g, "a.ints", &a, &s, &n, &e), ERR_FORMAT);
    assert_string_equal(e.msg, "key 'a.ints': expected array of string, got array of int16");
    assert_int_equal(gguf_get_i32s(g, "a.u32", &a, &v, &n, &e), ERR_FORMAT);
    assert_string_equal(e.msg, "key 'a.u32': expected array of int32, got uint32");
    assert_int_equal(gguf_opt_u32(g, "a.bool", 1, &u, &e), ERR_FORMAT);
    assert_int_equal(u, 9);
    arena_finish(&a);
    gguf_close(g);
    buf_finish(&b);
}

static void finds_tensors(void **state)
{
    (void)state;
    struct buf b;
    struct gguf *g = open_all(&b);
    assert_int_equal(gguf_n_tensors(g), 3);
    const struct tensor *t = gguf_tensor(g, "m.weight");
    assert_non_null(t);
    assert_int_equal(t->type, DTYPE_Q4_0);
    assert_true(t->ne[0] == 64 && t->ne[1] == 2 && t->ne[2] == 1 && t->ne[3] == 1 && t->n_dims == 2);
    assert_int_equal(t->size_bytes, 4 * 18);
    assert_int_equal(*(const uint8_t *)t->data, 64);
    assert_int_equal(*(const uint8_t *)gguf_tensor(g, "v")->data, 0);
    assert_false(dtype_info(gguf_tensor(g, "odd")->type)->usable);
    assert_null(gguf_tensor(g, "m.weigh"));
    assert_int_equal(gguf_tensor_bytes(g), 72 + 16 + 50);
    gguf_drop(g, t);
    gguf_drop_all(g);
    gguf_close(g);
    buf_finish(&b);
}

/* --- wrong files --- */

static void expect(struct buf *b, int code, const char *msg)
{
    struct gguf *g;
    struct err e = {0};
    uint64_t *copy = malloc(b->n + 8); /* exact end, so that a sanitizer sees one byte too far */
    assert_non_null(copy);
    char *p = (char *)copy;
    memcpy(p, b->p, b->n);
    copy = realloc(copy, b->n ? b->n : 1);
    assert_int_equal(gguf_open_memory(&g, &(struct str){(const char *)copy, b->n}, 1, &e), code);
    assert_null(g);
    if (!strstr(e.msg, msg)) fail_msg("expected '%s' in '%s'", msg, e.msg);
    free(copy);
}

static void header_is_checked(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, FILE_MAX);
    buf_append_z(&b, "");
    expect(&b, ERR_FORMAT, "not a GGUF file: 0 bytes long");
    buf_append_z(&b, "version https://git-lfs.github.com/spec/v1\n");
    expect(&b, ERR_FORMAT, "Git LFS pointer");
    buf_clear(&b);
    buf_append_z(&b, "some other bytes");
    expect(&b, ERR_FORMAT, "expected the bytes 'GGUF' at the start, got 73 6f 6d 65");
    put_header(&b, 0x03000000, 0, 0);
    expect(&b, ERR_UNSUPPORTED, "big-endian GGUF file (version 3 when swapped)");
    put_header(&b, 1, 0, 0);
    expect(&b, ERR_UNSUPPORTED, "GGUF version 1: expected 2 or 3");
    put_header(&b, 4, 0, 0);
    expect(&b, ERR_UNSUPPORTED, "GGUF version 4");
    put_header(&b, 3, 0, UINT64_MAX);
    expect(&b, ERR_LIMIT, "18446744073709551615 keys: at most 65536");
    put_header(&b, 3, UINT64_MAX, 0);
    expect(&b, ERR_LIMIT, "tensors: at most 1048576");
    put_header(&b, 3, 1000, 1000);
    expect(&b, ERR_FORMAT, "1000 keys and 1000 tensors cannot fit the 0 bytes");
    buf_finish(&b);
}

static void keys_are_checked(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, FILE_MAX);

    put_header(&b, 3, 0, 1);
    put(&b, UINT64_MAX, 8);
    put_data(&b, 100);
    expect(&b, ERR_FORMAT, "the name of key 0 runs past the end");
    put_header(&b, 3, 0, 1);
    put_u32(&b, "a\nb", 1);
    expect(&b, ERR_FORMAT, "control characters ('a?b')");
    put_header(&b, 3, 0, 1);
    put_u32(&b, "", 1);
    put_data(&b, 8);
    expect(&b, ERR_FORMAT, "key 0 has an empty name");
    put_header(&b, 3, 0, 2);
    put_u32(&b, "twice", 1);
    put_u32(&b, "twice", 1);
    expect(&b, ERR_FORMAT, "key 'twice': stands twice");
    put_header(&b, 3, 0, 1);
    put_key(&b, "x", 13);
    put_data(&b, 32);
    expect(&b, ERR_FORMAT, "key 'x': value type 13 is unknown");
    put_header(&b, 3, 0, 1);
    put_key(&b, "flag", GGUF_BOOL);
    put(&b, 2, 1);
    expect(&b, ERR_FORMAT, "key 'flag': a bool is neither 0 nor 1");
    put_header(&b, 3, 0, 1);
    put_key(&b, "text", GGUF_STR);
    put(&b, UINT64_MAX - 7, 8);
    expect(&b, ERR_FORMAT, "key 'text': its value runs past the end");
    put_header(&b, 3, 0, 1);
    put_array(&b, "list", GGUF_F64, UINT64_MAX / 8 + 1);
    expect(&b, ERR_FORMAT, "key 'list': its value runs past the end");
    put_header(&b, 3, 0, 1);
    put_array(&b, "list", GGUF_STR, 3);
    put_str(&b, "a");
    put_str(&b, "b");
    expect(&b, ERR_FORMAT, "key 'list': its value runs past the end");
    put_header(&b, 3, 0, 1);
    put_array(&b, "deep", GGUF_ARRAY, 1);
    for (int i = 0; i < 8; i++) {
        put(&b, GGUF_ARRAY, 4);
        put(&b, 1, 8);
    }
    expect(&b, ERR_LIMIT, "key 'deep': arrays nested deeper than 4");
    put_header(&b, 3, 0, 1);
    put_array(&b, "list", 99, 1);
    put_data(&b, 16);
    expect(&b, ERR_FORMAT, "key 'list': element type 99 is unknown");
    put_header(&b, 3, 0, 1);
    put_u32(&b, "general.alignment", 24);
    expect(&b, ERR_FORMAT, "key 'general.alignment': 24 is not a power of two");
    put_header(&b, 3, 0, 1);
    put_u32(&b, "general.alignment", 0);
    expect(&b, ERR_FORMAT, "key 'general.alignment': 0 is not a power of two");
    put_header(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GGUF_STR);
    put_str(&b, "32");
    expect(&b, ERR_FORMAT, "key 'general.alignment': expected uint32, got string");
    buf_finish(&b);
}

/* A file of one tensor with the given shape, and 256 bytes of data. */
static void put_one(struct buf *b, uint32_t type, uint64_t ne0, uint64_t ne1, uint64_t offset)
{
    put_header(b, 2, 1, 0);
    put_tensor(b, "w", type, ne0, ne1, offset);
    pad(b, 32);
    put_data(b, 256);
}

static void tensors_are_checked(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, FILE_MAX);
    struct gguf *g;
    put_one(&b, DTYPE_F32, 8, 8, 0); /* exactly fits */
    assert_int_equal(gguf_open_memory(&g, &(struct str){b.p, b.n}, 1, NULL), 0);
    gguf_close(g);
    put_one(&b, DTYPE_F32, 8, 9, 0);
    expect(&b, ERR_FORMAT, "tensor 'w': 288 bytes at offset 0 run past the end of the data (256 bytes)");
    put_one(&b, DTYPE_F32, 8, 1, 256);
    expect(&b, ERR_FORMAT, "tensor 'w': 32 bytes at offset 256 run past");
    put_one(&b, DTYPE_F32, 8, 1, UINT64_MAX - 31);
    expect(&b, ERR_FORMAT, "run past the end of the data");
    put_one(&b, DTYPE_F32, 8, 1, 8);
    expect(&b, ERR_FORMAT, "tensor 'w': offset 8 is not a multiple of the alignment (32)");
    put_one(&b, DTYPE_F32, 0, 1, 0);
    expect(&b, ERR_FORMAT, "tensor 'w': dimension 0 is 0");
    put_one(&b, DTYPE_F32, 4, 0, 0);
    expect(&b, ERR_FORMAT, "tensor 'w': dimension 1 is 0");
    put_one(&b, DTYPE_Q4_0, 33, 1, 0);
    expect(&b, ERR_FORMAT, "tensor 'w': rows of 33 elements, but Q4_0 stores them in blocks of 32");
    put_one(&b, DTYPE_F32, (uint64_t)1 << 33, (uint64_t)1 << 33, 0);
    expect(&b, ERR_FORMAT, "the product of its dimensions overflows");
    put_one(&b, DTYPE_F32, (uint64_t)1 << 62, 1, 0);
    expect(&b, ERR_FORMAT, "its size overflows");
    put_one(&b, DTYPE_F64, (uint64_t)1 << 31, (uint64_t)1 << 31, 0);
    expect(&b, ERR_FORMAT, "its size overflows");
    put_one(&b, 4, 32, 1, 0);
    expect(&b, ERR_UNSUPPORTED, "tensor 'w': type Q4_2 is no longer part of GGUF");
    put_one(&b, DTYPE_N4, 32, 1, 0); /* ours; the file does not say that it means ours */
    expect(&b, ERR_UNSUPPORTED, "tensor 'w' has type 244, which is N4 where key 'tutti.n4.version' is 1; here it is 0");
    put_one(&b, 4000000000u, 32, 1, 0);
    expect(&b, ERR_UNSUPPORTED, "tensor 'w': type 4000000000 is not known");

    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", DTYPE_F32, 16, 1, 32);
    put_tensor(&b, "b", DTYPE_F32, 16, 1, 0);
    pad(&b, 32);
    put_data(&b, 256);
    expect(&b, ERR_FORMAT, "tensor 'a' overlaps tensor 'b'");
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", DTYPE_F32, 16, 1, 0);
    put_tensor(&b, "a", DTYPE_F32, 16, 1, 64);
    pad(&b, 32);
    put_data(&b, 256);
    expect(&b, ERR_FORMAT, "tensor 'a' stands twice");
    put_header(&b, 3, 1, 0);
    put_str(&b, "five");
    put(&b, 5, 4);
    put_data(&b, 100);
    expect(&b, ERR_FORMAT, "tensor 'five': 5 dimensions, at most 4");
    put_header(&b, 3, 1, 1);
    put_u32(&b, "split.count", 2);
    put_tensor(&b, "a", DTYPE_F32, 8, 1, 0);
    pad(&b, 32);
    put_data(&b, 32);
    expect(&b, ERR_NOT_FOUND, "key 'split.tensors.count' is missing");
    buf_finish(&b);
}

/* Cutting a good file anywhere gives an error, never a crash, and one that names what is missing. */
static void every_cut_is_noticed(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, FILE_MAX);
    put_all(&b);
    size_t whole = b.n;
    for (size_t n = 0; n < whole; n++) {
        b.n = n;
        expect(&b, ERR_FORMAT, "");
    }
    buf_finish(&b);
}

/* --- files on disk --- */

static char dir[] = "/tmp/tutti-test-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const struct buf *b)
{
    FILE *f = fopen(in_dir(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->p, 1, b->n, f), b->n);
    fclose(f);
}

static void put_part(struct buf *b, uint32_t no, uint32_t count, uint32_t total, const char *tensor)
{
    put_header(b, 3, 1, no == 0 ? 4 : 3);
    put_key(b, "split.no", GGUF_U16);
    put(b, no, 2);
    put_key(b, "split.count", GGUF_U16);
    put(b, count, 2);
    put_key(b, "split.tensors.count", GGUF_I32);
    put(b, total, 4);
    if (no == 0) put_u32(b, "only.first", 1);
    put_tensor(b, tensor, DTYPE_F32, 2048, 2, 0);
    pad(b, 32);
    for (int i = 0; i < 4096; i++) put(b, no, 4);
}

static void parts_are_joined(void **state)
{
    (void)state;
    struct buf b;
    struct err e = {0};
    struct gguf *g;
    buf_init(&b, FILE_MAX);
    assert_non_null(mkdtemp(dir));
    put_part(&b, 0, 3, 3, "a");
    write_file("m-00001-of-00003.gguf", &b);
    put_part(&b, 1, 3, 3, "b");
    write_file("m-00002-of-00003.gguf", &b);
    assert_int_equal(gguf_open(&g, in_dir("m-00001-of-00003.gguf"), &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "m-00003-of-00003.gguf: cannot open: No such file"));
    put_part(&b, 2, 3, 3, "c");
    write_file("m-00003-of-00003.gguf", &b);

    static const char *const any[] = {"m-00001-of-00003.gguf", "m-00003-of-00003.gguf"};
    for (int i = 0; i < 2; i++) {
        if (gguf_open(&g, in_dir(any[i]), &e)) fail_msg("%s", e.msg);
        assert_int_equal(gguf_n_parts(g), 3);
        assert_int_equal(gguf_n_tensors(g), 3);
        assert_non_null(gguf_find(g, "only.first"));
        const struct tensor *t = gguf_tensor(g, "c");
        assert_int_equal(t->file, 2);
        for (int pass = 0; pass < 3; pass++) { /* the bytes are there again after they were dropped */
            assert_int_equal(((const uint32_t *)t->data)[4095], 2);
            if (pass == 0) gguf_drop(g, t);
            if (pass == 1) gguf_drop_all(g);
        }
        gguf_close(g);
    }

    write_file("alone.gguf", &b);
    assert_int_equal(gguf_open(&g, in_dir("alone.gguf"), &e), ERR_FORMAT);
    assert_non_null(
        strstr(e.msg, "holds part 3 of 3 of a split model: its name must end in -00003-of-00003.gguf"));
    put_part(&b, 2, 3, 4, "c");
    write_file("m-00003-of-00003.gguf", &b);
    assert_int_equal(gguf_open(&g, in_dir("m-00001-of-00003.gguf"), &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, "of a model of 4 tensors; expected part 3 of 3, 3 tensors"));
    put_part(&b, 2, 3, 3, "a");
    write_file("m-00003-of-00003.gguf", &b);
    assert_int_equal(gguf_open(&g, in_dir("m-00001-of-00003.gguf"), &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, "tensor 'a' stands twice"));
    for (int i = 1; i <= 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i);
        unlink(in_dir(name));
    }
    unlink(in_dir("alone.gguf"));
    assert_int_equal(gguf_open(&g, dir, &e), ERR_IO);
    assert_non_null(strstr(e.msg, "is a folder"));
    rmdir(dir);
    assert_int_equal(gguf_open(&g, in_dir("none.gguf"), &e), ERR_NOT_FOUND);
    buf_finish(&b);
}

static void reads_the_tiny_models(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum dtype type;
        uint64_t n_tensors;
    } model[] = {
        {"tests/data/tiny.gguf", DTYPE_Q8_0, 20},
        {"tests/data/tiny-f16.gguf", DTYPE_F16, 21},
        {"tests/data/tiny-q4_1.gguf", DTYPE_Q4_1, 27},
        {"tests/data/tiny-q4_k.gguf", DTYPE_Q4_K, 11},
    };
    for (size_t i = 0; i < sizeof model / sizeof *model; i++) {
        struct gguf *g;
        struct err e;
        struct arena a;
        struct str *s;
        uint32_t n_embd, n_vocab;
        size_t n;
        arena_init(&a);
        if (gguf_open(&g, model[i].path, &e)) fail_msg("%s", e.msg);
        assert_int_equal(gguf_n_tensors(g), model[i].n_tensors);
        assert_int_equal(gguf_get_u32(g, "llama.embedding_length", &n_embd, &e), 0);
        assert_int_equal(gguf_get_u32(g, "llama.vocab_size", &n_vocab, &e), 0);
        assert_int_equal(gguf_get_strs(g, "tokenizer.ggml.tokens", &a, &s, &n, &e), 0);
        assert_int_equal(n, n_vocab);
        const struct tensor *t = gguf_tensor(g, "token_embd.weight");
        assert_non_null(t);
        assert_int_equal(t->type, model[i].type);
        assert_true(t->ne[0] == n_embd && t->ne[1] == n_vocab);
        gguf_close(g);
        arena_finish(&a);
    }
}

static void dtype_rows(void **state)
{
    (void)state;
    assert_int_equal(dtype_row_bytes(DTYPE_Q4_K, 512), 288);
    assert_int_equal(dtype_row_bytes(DTYPE_Q4_K, 576), 0);
    assert_int_equal(dtype_row_bytes(DTYPE_F64, UINT64_MAX), 0);
    assert_int_equal(dtype_row_bytes(DTYPE_N4, 256), 135);
    assert_int_equal(dtype_row_bytes(DTYPE_N4, 576), 2 * 135 + 2 + 2 + 32); /* bits: 4.25 a weight */
    assert_int_equal(dtype_row_bytes(DTYPE_N4, 32), 2 + 1 + 16);
    assert_int_equal(dtype_row_bytes(DTYPE_N4, 257), 0);
    assert_int_equal(dtype_row_bytes(DTYPE_N4, 0), 0);
    assert_int_equal(dtype_from_name("q4_k"), DTYPE_Q4_K);
    assert_int_equal(dtype_from_name("q4"), -1);
    assert_null(dtype_info(31));
    assert_null(dtype_info(1000));
    assert_string_equal(dtype_name(39), "MXFP4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtype_rows),           cmocka_unit_test(reads_every_value),
        cmocka_unit_test(reads_arrays),         cmocka_unit_test(getters_name_the_key),
        cmocka_unit_test(finds_tensors),        cmocka_unit_test(header_is_checked),
        cmocka_unit_test(keys_are_checked),     cmocka_unit_test(tensors_are_checked),
        cmocka_unit_test(every_cut_is_noticed), cmocka_unit_test(parts_are_joined),
        cmocka_unit_test(reads_the_tiny_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
