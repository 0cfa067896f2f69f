/* SPDX-License-Identifier: Apache-2.0 */
/* base/: errors, buffers, arenas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

static void err_is_one_clean_line(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(err(&e, ERR_FORMAT, "tensor '%s'", "a\nb\x1b[0m"), ERR_FORMAT);
    assert_string_equal(e.msg, "tensor 'a?b?[0m'");
    assert_int_equal(err_prefix(&e, "file %s", "x"), ERR_FORMAT);
    assert_string_equal(e.msg, "file x: tensor 'a?b?[0m'");
    assert_int_equal(err(NULL, ERR_IO, "nobody listens"), ERR_IO);
    assert_int_equal(err_http_status(ERR_NOT_FOUND), 404);
    assert_string_equal(err_text(0), "no error");
}

static void buf_keeps_its_limit(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_append_z(&b, "hello"), 0);
    assert_int_equal(buf_printf(&b, "%d", 12345), 0);
    assert_string_equal(b.p, "hello12345");
    assert_int_equal(buf_append_char(&b, 'x'), ERR_LIMIT);
    assert_int_equal(buf_append_z(&b, ""), ERR_LIMIT); /* sticky */
    assert_int_equal(b.n, 10);
    buf_clear(&b);
    assert_int_equal(buf_append_char(&b, 'x'), 0);
    buf_finish(&b);
}

static void buf_reads_files(void **state)
{
    (void)state;
    struct buf b;
    struct err e = {0};
    buf_init(&b, 100000);
    assert_int_equal(buf_read_file(&b, "/dev/zero", &e), ERR_LIMIT); /* and comes back */
    assert_non_null(strstr(e.msg, "'/dev/zero' is too large: at most 100000 bytes"));
    buf_clear(&b);
    assert_int_equal(buf_read_file(&b, "/dev/null", &e), 0);
    assert_int_equal(b.n, 0);
    assert_string_equal(b.p, "");
    assert_int_equal(buf_read_file(&b, "/dev", &e), ERR_IO);
    assert_non_null(strstr(e.msg, "cannot read '/dev': Is a directory"));
    assert_int_equal(buf_read_file(&b, "/dev/none", &e), ERR_IO);
    assert_non_null(strstr(e.msg, "cannot open '/dev/none': No such file"));
    buf_finish(&b);
}

static void arena_is_zeroed_and_aligned(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    uint64_t before = arena_count();
    for (size_t i = 1; i < 3000; i += 37) {
        unsigned char *p = arena_alloc(&a, i, i % 97 + 1);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t k = 0; k < i * (i % 97 + 1); k++) assert_int_equal(p[k], 0);
        memset(p, 0xff, i * (i % 97 + 1));
    }
    assert_null(arena_alloc(&a, SIZE_MAX / 2, 3));
    assert_true(arena_count() > before);
    assert_string_equal(arena_strdup(&a, STR("abc")), "abc");
    arena_finish(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_is_one_clean_line),
        cmocka_unit_test(buf_keeps_its_limit), cmocka_unit_test(buf_reads_files),
        cmocka_unit_test(arena_is_zeroed_and_aligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
