/* SPDX-License-Identifier: Apache-2.0 */
/* Weights as types of files: what a group of N4 means, read by hand; that an encoded row decodes close to
 * what it was, in every type and for every length of the last group; faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kern/encode.h"
#include "kern/mat.h"
#include "kern/num.h"

enum { K_MAX = 1536 };

static void decode(enum dtype type, const uint8_t *row, float *x, int k)
{
    struct mat m;
    if (dtype_info(type)->block == 1) {
        encode_load_floats(type, x, row, k);
        return;
    }
    assert_int_equal(mat_init(&m, type, 1, k, NULL), 0);
    m.data = aligned_alloc(64, mat_bytes(&m));
    memset(m.data, 0xff, mat_bytes(&m));
    assert_int_equal(mat_pack(&m, 0, row, 0, NULL), 0);
    mat_row(&m, 0, x);
    free(m.data);
}

static void a_group_by_hand(void **state)
{
    (void)state;
    /* a row of 288: one full group and one of a single block */
    uint8_t row[135 + 2 + 1 + 16] = {0};
    float x[288];
    uint16_t d = f16_from_f32(0.5f);
    memcpy(row, &d, 2);
    row[2] = 0xe3;           /* sub 0: +3; low bits of sub 1: 111.. */
    row[3] = 31 >> 3;            /* sub 1: -15 */
    memset(row + 7, 0x88, 128);  /* codes 0 */
    row[7] = 0x0f;               /* code 0: 7, code 16: -8 */
    row[7 + 16] = 0xf1;          /* codes of block 1: 0 is -7, 16 is 7 */
    d = f16_from_f32(-2.0f);
    memcpy(row + 135, &d, 2);
    row[137] = 1;                /* sub +1 */
    memset(row + 138, 0x88, 16);
    row[138 + 15] = 0x98;        /* code 31: 1 */
    decode(DTYPE_N4, row, x, 288);
    for (int i = 0; i < 288; i++) {
        float want = i == 0     ? 7 * 3 * 0.5f
                     : i == 16  ? -8 * 3 * 0.5f
                     : i == 32  ? -7 * -15 * 0.5f
                     : i == 48  ? 7 * -15 * 0.5f
                     : i == 287 ? -2.0f
                                : 0;
        if (x[i] < want || x[i] > want) fail_msg("element %d is %g, not %g", i, (double)x[i], (double)want);
    }
}

static float draw(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*s >> 32) * 0x1p-31f;
}

/* Relative error in percent of rows of sums of four numbers in (-1, 1), which are nearly normal. */
static double error_of(enum dtype type, int k, const float *weight, float scale)
{
    static float x[K_MAX], y[K_MAX];
    uint8_t row[K_MAX * 4 + 1];
    double e = 0, n = 0;
    uint64_t s = 7;
    for (int r = 0; r < 8; r++) {
        for (int i = 0; i < k; i++) x[i] = scale * (draw(&s) + draw(&s) + draw(&s) + draw(&s));
        uint64_t bytes = dtype_row_bytes(type, (uint64_t)k);
        row[bytes] = 0xa5;
        assert_int_equal(encode_row(type, row, x, weight, k, NULL), 0);
        assert_int_equal(row[bytes], 0xa5);
        decode(type, row, y, k);
        for (int i = 0; i < k; i++) {
            double w = weight ? (double)weight[i] : 1, d = (double)x[i] - (double)y[i];
            e += w * d * d, n += w * (double)x[i] * (double)x[i];
        }
    }
    return 1e4 * e / n; /* (percent of the root)^2 */
}

static void rows_come_back(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        double percent;
    } want[] = {{DTYPE_N4, 8.6},   {DTYPE_Q4_0, 8.8}, {DTYPE_Q4_1, 7.8}, {DTYPE_Q5_0, 4.4}, {DTYPE_Q5_1, 3.9},
                {DTYPE_Q4_K, 7.0}, {DTYPE_Q5_K, 3.5}, {DTYPE_Q6_K, 1.8}, {DTYPE_IQ4_NL, 8.0},
                {DTYPE_Q8_0, 0.6}, {DTYPE_F16, 0.03}, {DTYPE_BF16, 0.2}, {DTYPE_F32, 1e-9}};
    for (size_t t = 0; t < sizeof want / sizeof *want; t++) {
        for (int k = 32; k <= K_MAX; k += k < 576 ? 32 : 480) {
            if ((uint32_t)k % dtype_info(want[t].type)->block) continue;
            for (int i = -3; i <= 3; i += 3) {
                double e = error_of(want[t].type, k, NULL, i < 0 ? 0x1p-10f : i ? 0x1p8f : 1);
                if (e > want[t].percent * want[t].percent * (k < 256 ? 1.3 : 1))
                    fail_msg("%s, rows of %d: %g %%, expected at most %g", dtype_name(want[t].type), k,
                             sqrt32((float)e) > 0 ? (double)sqrt32((float)e) : 0, want[t].percent);
            }
        }
    }
}

/* Weights that lie on a grid of 16 values, as of a file with 4 bits: a type with more codes finds it. */
static void grids_are_found(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_Q4_K, DTYPE_Q5_K};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        static float x[512], y[512];
        uint8_t row[1024];
        double e = 0, n = 0;
        uint64_t s = 5;
        for (int i = 0; i < 512; i++) {
            float step = 1.0f + 0.05f * (float)(i / 32 % 3);
            /* both ends are there */
            x[i] = i % 32 < 2 ? (i % 32 ? 7.5f : -7.5f) : (float)(int)(8.0f + 8.0f * draw(&s)) - 7.5f;
            x[i] = x[i] * step;
        }
        assert_int_equal(encode_row(types[t], row, x, NULL, 512, NULL), 0);
        decode(types[t], row, y, 512);
        for (int i = 0; i < 512; i++)
            e += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]),
                n += (double)x[i] * (double)x[i];
        if (e > 1e-4 * n)
            fail_msg("%s: %g %% error on a grid, expected at most 1", dtype_name(types[t]),
                     100 * (double)sqrt32((float)(e / n)));
    }
}

static void importance_moves_the_error(void **state)
{
    (void)state;
    static float w[K_MAX];
    for (int i = 0; i < 576; i++) w[i] = i % 8 ? 0.05f : 20.0f;
    for (int t = 0; t < 2; t++) {
        enum dtype type = t ? DTYPE_Q4_0 : DTYPE_N4;
        static float x[576], y[576];
        uint8_t row[576];
        double with = 0, without = 0;
        uint64_t s = 3;
        for (int i = 0; i < 576; i++) x[i] = draw(&s);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(encode_row(type, row, x, k ? w : NULL, 576, NULL), 0);
            decode(type, row, y, 576);
            for (int i = 0; i < 576; i++)
                *(k ? &with : &without) +=
                    (double)w[i] * ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        }
        if (with > 0.8 * without)
            fail_msg("%s: weighted error %g with importance, %g without", dtype_name(type), with, without);
    }
}

/* Foreign decoders read what the search gives as it is: nothing is NaN, zeros stay zeros. */
static void extremes(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_N4,   DTYPE_Q4_0, DTYPE_Q4_1,   DTYPE_Q5_0,
                                       DTYPE_Q5_1, DTYPE_Q8_0, DTYPE_IQ4_NL, DTYPE_Q4_K,
                                       DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_F16};
    static float x[512], y[512], none[512];
    uint8_t row[1024];
    struct err e;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        memset(x, 0, sizeof x);
        for (int i = 64; i < 96; i++) x[i] = 0x1p-140f; /* subnormal */
        x[100] = 60000, x[101] = -60000;
        assert_int_equal(encode_row(types[t], row, x, NULL, 512, NULL), 0);
        decode(types[t], row, y, 512);
        for (int i = 0; i < 512; i++)
            if (!(y[i] >= -70000 && y[i] <= 70000) || (i < 32 && (y[i] < 0 || y[i] > 0)))
                fail_msg("%s: element %d of extremes is %g", dtype_name(types[t]), i, (double)y[i]);
        assert_int_equal(encode_row(types[t], row, x, none, 512, NULL), 0); /* nothing counts */
        decode(types[t], row, y, 512);
        x[3] = f32_from_bits(0x7fc00000);
        assert_int_equal(encode_row(types[t], row, x, NULL, 512, &e), ERR_RANGE);
        assert_non_null(strstr(e.msg, "element 3 is NaN"));
        x[3] = -1e30f;
        assert_int_equal(encode_row(types[t], row, x, NULL, 512, NULL), ERR_RANGE);
    }
    assert_false(encode_supports(DTYPE_Q3_K));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_by_hand), cmocka_unit_test(rows_come_back),
        cmocka_unit_test(grids_are_found), cmocka_unit_test(importance_moves_the_error),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
