/* SPDX-License-Identifier: Apache-2.0 */
/* The GGUF writer: what it writes is read again with every key and tensor; the file appears only by a commit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/path.h"
#include "file/gguf_write.h"

static char out[] = "/tmp/tutti-gguf-write-XXXXXX";

static int make_name(void **state)
{
    (void)state;
    int fd = mkstemp(out);
    if (fd < 0) return -1;
    close(fd);
    unlink(out);
    return 0;
}

static bool part_is_there(void)
{
    char part[sizeof out + 5];
    snprintf(part, sizeof part, "%s.part", out);
    return path_is_file(part);
}

/* A copy of a model, tensor data in pieces of odd sizes. */
static void a_copy_is_equal(void **state)
{
    (void)state;
    struct gguf *a, *b;
    struct gguf_writer *w;
    struct err e;
    assert_int_equal(gguf_open(&a, "tests/data/tiny-q4_k.gguf", NULL), 0);
    assert_int_equal(gguf_write_open(&w, out, gguf_alignment(a), &e), 0);
    for (size_t i = 0; i < gguf_n_keys(a); i++) gguf_write_key(w, gguf_key_at(a, i));
    gguf_write_u32(w, "test.last", 7);
    for (size_t i = 0; i < gguf_n_tensors(a); i++) {
        const struct tensor *t = gguf_tensor_at(a, i);
        assert_int_equal(gguf_write_tensor(w, t->name, t->type, t->n_dims, t->ne, &e), 0);
    }
    for (size_t i = 0; i < gguf_n_tensors(a); i++) {
        const struct tensor *t = gguf_tensor_at(a, i);
        for (size_t at = 0, n; at < t->size_bytes; at += n) {
            n = t->size_bytes - at < 997 ? t->size_bytes - at : 997;
            assert_int_equal(gguf_write_data(w, (const char *)t->data + at, n, &e), 0);
        }
    }
    assert_false(path_is_file(out));
    assert_int_equal(gguf_write_commit(w, &e), 0);
    uint64_t bytes = gguf_write_bytes(w);
    gguf_write_close(w);
    assert_true(path_is_file(out));
    assert_false(part_is_there());
    assert_int_equal(gguf_open(&b, out, &e), 0);
    assert_int_equal(gguf_file_bytes(b), bytes);
    assert_int_equal(gguf_n_keys(b), gguf_n_keys(a) + 1);
    for (size_t i = 0; i < gguf_n_keys(a); i++) {
        const struct gguf_key *x = gguf_key_at(a, i), *y = gguf_key_at(b, i);
        assert_true(str_eq(x->name, y->name) && x->type == y->type && x->n == y->n && x->bytes == y->bytes);
        assert_memory_equal(x->p, y->p, x->bytes);
    }
    assert_int_equal(gguf_n_tensors(b), gguf_n_tensors(a));
    for (size_t i = 0; i < gguf_n_tensors(a); i++) {
        const struct tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        assert_true(str_eq(x->name, y->name) && x->type == y->type && x->size_bytes == y->size_bytes);
        assert_memory_equal(x->data, y->data, x->size_bytes);
    }
    gguf_close(a);
    gguf_close(b);
}

/* What is there stays as it was; no rest is left. */
static void without_commit_nothing_changes(void **state)
{
    (void)state;
    static const uint64_t ne[4] = {32, 3, 1, 1};
    static const char data[3 * 34 + 1];
    struct gguf_writer *w;
    struct gguf *g;
    struct err e;
    for (int how = 0; how < 3; how++) {
        assert_int_equal(gguf_write_open(&w, out, 32, &e), 0);
        assert_true(part_is_there());
        assert_int_equal(gguf_write_tensor(w, STR("a.weight"), DTYPE_Q8_0, 2, ne, &e), 0);
        if (how == 1) { /* too little */
            assert_int_equal(gguf_write_data(w, data, 3 * 34 - 1, &e), 0);
            assert_int_equal(gguf_write_commit(w, &e), ERR_INTERNAL);
        }
        if (how == 2) { /* too much; the fault stays */
            assert_int_equal(gguf_write_data(w, data, sizeof data, &e), ERR_INTERNAL);
            assert_int_equal(gguf_write_commit(w, &e), ERR_INTERNAL);
        }
        gguf_write_close(w);
        assert_false(part_is_there());
        assert_int_equal(gguf_open(&g, out, &e), 0); /* the model of the test before */
        gguf_close(g);
    }
}

static void faults(void **state)
{
    (void)state;
    static const uint64_t odd[4] = {33, 1, 1, 1}, huge[4] = {1u << 31, 1u << 31, 1u << 31, 1};
    static const uint64_t some[4] = {1 << 20, 1, 1, 1};
    struct gguf_writer *w;
    struct err e;
    assert_int_equal(gguf_write_open(&w, "/tmp/no/such/folder/x.gguf", 32, &e), ERR_IO);
    assert_non_null(strstr(e.msg, "/tmp/no/such/folder/x.gguf.part: cannot create"));
    assert_int_equal(gguf_write_open(&w, out, 32, &e), 0);
    assert_int_equal(gguf_write_tensor(w, STR("a"), DTYPE_N4, 1, odd, &e), ERR_FORMAT);
    assert_int_equal(gguf_write_tensor(w, STR("a"), DTYPE_F32, 3, huge, &e), ERR_FORMAT);
    gguf_write_close(w);
    if (access("/dev/full", W_OK)) return;
    char part[sizeof out + 5];
    snprintf(part, sizeof part, "%s.part", out);
    assert_int_equal(symlink("/dev/full", part), 0); /* a disk without room */
    assert_int_equal(gguf_write_open(&w, out, 32, &e), 0);
    assert_int_equal(gguf_write_tensor(w, STR("a"), DTYPE_F32, 1, some, &e), 0);
    assert_int_equal(gguf_write_data(w, "1234", 4, &e), ERR_IO);
    assert_non_null(strstr(e.msg, "cannot write: No space left on device"));
    assert_int_equal(gguf_write_commit(w, &e), ERR_IO);
    gguf_write_close(w);
    assert_false(part_is_there());
    unlink(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_equal),
        cmocka_unit_test(without_commit_nothing_changes),
        cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests(tests, make_name, NULL);
}
