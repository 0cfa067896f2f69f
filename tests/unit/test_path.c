/* SPDX-License-Identifier: Apache-2.0 */
/* base/path, base/progress, file/digest: folders are made and removed, links are not followed, known values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/path.h"
#include "base/progress.h"
#include "file/digest.h"

static void write_bytes(const char *path, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++) fputc('x', f);
    fclose(f);
}

static void trees_come_and_go(void **state)
{
    (void)state;
    char dir[] = "/tmp/tutti-test-XXXXXX";
    struct path deep, link, keep;
    struct err e;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(path_format(&deep, &e, "%s/a/b/c", dir), 0);
    assert_int_equal(path_make_dirs(deep.z, &e), 0);
    assert_int_equal(path_make_dirs(deep.z, &e), 0); /* again */
    assert_int_equal(path_format(&keep, &e, "%s/keep", dir), 0);
    write_bytes(keep.z, 5);
    assert_int_equal(path_format(&deep, &e, "%s/a/b/c/file", dir), 0);
    write_bytes(deep.z, 7);
    assert_int_equal(path_format(&link, &e, "%s/a/link", dir), 0);
    assert_int_equal(symlink(dir, link.z), 0); /* a circle */
    assert_int_equal(path_tree_bytes(dir), 12);
    assert_true(path_is_file(deep.z));
    assert_false(path_is_file(dir));
    assert_int_equal(path_format(&deep, &e, "%s/keep/x", dir), 0);
    assert_int_equal(path_make_dirs(deep.z, &e), ERR_IO);
    assert_non_null(strstr(e.msg, "cannot create the folder"));
    assert_int_equal(path_format(&deep, &e, "%s/a", dir), 0);
    assert_int_equal(path_remove_tree(deep.z, &e), 0);
    assert_true(path_is_file(keep.z));                 /* the link was removed, not what it led to */
    assert_int_equal(path_remove_tree(deep.z, &e), 0); /* a missing one is no error */
    assert_int_equal(path_remove_tree(dir, &e), 0);
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_equal(path_make_dirs("", &e), ERR_USAGE);
}

static void long_paths_are_refused(void **state)
{
    (void)state;
    struct path p;
    struct err e;
    assert_int_equal(path_format(&p, &e, "%0*d", PATH_BYTES_MAX, 1), ERR_LIMIT);
    assert_int_equal(path_format(&p, &e, "%0*d", PATH_BYTES_MAX - 1, 1), 0);
    assert_string_equal(path_base("a/b/c.gguf"), "c.gguf");
    assert_string_equal(path_base("c.gguf"), "c.gguf");
}

static void bytes_have_three_digits(void **state)
{
    (void)state;
    char out[BYTES_TEXT_MAX];
    assert_string_equal(bytes_text(0, out), "0 B");
    assert_string_equal(bytes_text(999, out), "999 B");
    assert_string_equal(bytes_text(1000, out), "1.0 kB");
    assert_string_equal(bytes_text(99900, out), "99.9 kB");
    assert_string_equal(bytes_text(99960, out), "100 kB");
    assert_string_equal(bytes_text(999999, out), "1.0 MB");
    assert_string_equal(bytes_text(98362432, out), "98.4 MB");
    assert_string_equal(bytes_text(UINT64_MAX, out), "18.4 EB");
}

static void digest_of_known_text(void **state)
{
    (void)state;
    struct digest d;
    digest_init(&d);
    digest_update(&d, "a", 1);
    digest_update(&d, "bc", 2);
    struct digest_hex h = digest_final(&d); /* FIPS 180-4's example */
    assert_string_equal(h.z, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(digest_is_hex(h.z));
    assert_false(digest_is_hex("ba78"));
    assert_false(digest_is_hex("g000000000000000000000000000000000000000000000000000000000000000"));
    struct err e;
    assert_int_equal(digest_file("/nonexistent", &h, &e), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_come_and_go),
        cmocka_unit_test(long_paths_are_refused),
        cmocka_unit_test(bytes_have_three_digits),
        cmocka_unit_test(digest_of_known_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
