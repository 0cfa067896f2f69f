/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows stand for a text, and means by integers: any order and any pieces give the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "base/str.h"
#include "serve/engine/pooling.h"

enum { D = 5, ROWS = 40 };

static void means_have_no_order(void **state)
{
    static const float odd[] = {0x1p-23f, 0x1.8p-22f, -0x1p-23f, 65535.99f, -1234.567f};
    float row[ROWS][D], a[D], b[D];
    struct mean m;
    struct err e = {0};
    (void)state;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < D; j++) row[i][j] = odd[(i + j) % 5] / (float)(1 + i % 7);
    assert_int_equal(mean_init(&m, D, &e), 0);
    assert_int_equal(mean_write(&m, a), ERR_RANGE); /* of nothing */
    for (int i = 0; i < ROWS; i++) mean_add(&m, row[i]);
    assert_int_equal(mean_write(&m, a), 0);
    mean_clear(&m);
    for (int i = ROWS - 1; i >= 0; i--) mean_add(&m, row[i]);
    assert_int_equal(mean_write(&m, b), 0);
    assert_memory_equal(a, b, sizeof a);
    for (int j = 0; j < D; j++) {
        int64_t sum = 0;
        for (int i = 0; i < ROWS; i++) sum += (int64_t)rint((double)row[i][j] * 0x1p22);
        float want = (float)sum / ROWS * 0x1p-22f;
        assert_memory_equal(&want, &a[j], sizeof want);
    }
    mean_finish(&m);
}

static void halves_go_to_even(void **state)
{
    static const struct {
        float x;
        int64_t code;
    } cases[] = {{0x1p-23f, 0},     {0x1.8p-22f, 2}, {-0x1p-23f, 0},
                 {-0x1.8p-22f, -2}, {0x1.4p-21f, 2}, {0x1.fffffep15f, 0x3fffffc000},
                 {-0.0f, 0}};
    struct mean m;
    struct err e = {0};
    (void)state;
    assert_int_equal(mean_init(&m, 1, &e), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mean_clear(&m);
        mean_add(&m, &cases[i].x);
        assert_true(m.sum[0] == cases[i].code);
    }
    mean_finish(&m);
}

static void ranges_are_kept(void **state)
{
    static const float bad[] = {0x1p16f, -0x1p16f, INFINITY, NAN};
    struct mean m;
    struct err e = {0};
    float out;
    (void)state;
    assert_int_equal(mean_init(&m, 1, &e), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mean_clear(&m);
        mean_add(&m, &bad[i]);
        assert_int_equal(mean_write(&m, &out), ERR_RANGE);
    }
    mean_finish(&m);
}

static void rows_of_pieces(void **state)
{
    static const struct {
        enum pooling how;
        int pos, n, first, count;
    } cases[] = {{POOLING_LAST, 0, 4, 3, 0},
                 {POOLING_LAST, 6, 4, 3, 1},
                 {POOLING_FIRST, 0, 4, 0, 1},
                 {POOLING_FIRST, 6, 4, 0, 0},
                 {POOLING_MEAN, 6, 4, 0, 4}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int n, first = pooling_rows(cases[i].how, cases[i].pos, cases[i].n, 10, &n);
        assert_int_equal(n, cases[i].count);
        if (n) assert_int_equal(first, cases[i].first);
    }
}

static void put(uint8_t *file, size_t *n, const void *p, size_t size)
{
    memcpy(file + *n, p, size);
    *n += size;
}

static void files_say_how(void **state)
{
    static const enum pooling want[] = {POOLING_LAST, POOLING_MEAN,    POOLING_FIRST,
                                        POOLING_LAST, POOLING_UNKNOWN, POOLING_UNKNOWN};
    static const char name[] = "llama.pooling_type";
    (void)state;
    for (uint32_t type = 0; type < sizeof want / sizeof *want; type++) {
        uint8_t file[128] = "GGUF";
        size_t n = 4;
        struct gguf *g;
        struct err e = {0};
        enum pooling how;
        put(file, &n, &(uint32_t){3}, 4);
        put(file, &n, (uint64_t[]){0, 1, sizeof name - 1}, 24); /* tensors, keys, length */
        put(file, &n, name, sizeof name - 1);
        put(file, &n, (uint32_t[]){4, type}, 8); /* uint32 */
        assert_int_equal(gguf_open_memory(&g, &(struct str){(char *)file, sizeof file}, 1, &e), 0);
        assert_int_equal(pooling_read(g, STR("llama"), &how, &e), 0);
        assert_int_equal(how, want[type]);
        assert_int_equal(pooling_read(g, STR("qwen3"), &how, &e), 0);
        assert_int_equal(how, POOLING_LAST);
        gguf_close(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_have_no_order), cmocka_unit_test(halves_go_to_even), cmocka_unit_test(ranges_are_kept),
        cmocka_unit_test(rows_of_pieces),      cmocka_unit_test(files_say_how),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
