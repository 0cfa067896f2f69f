/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern/mathf.h: the constants that are roundings of real numbers, points that must be exact, symmetry.
 * Errors over ranges and the golden hashes are the business of tests/kern/mathf_all.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "kern/mathf.h"

static void constants_are_correctly_rounded(void **state)
{
    (void)state;
    assert_true(ARITH_F32(LOG2E) == (float)M_LOG2E);
    assert_true(ARITH_F32(LN2_HI) == (float)M_LN2);
    assert_true(ARITH_F32(LN2_LO) == (float)(M_LN2 - (double)ARITH_F32(LN2_HI)));
    assert_true(ARITH_F32(EXP_MAX) == 88.0f && ARITH_F32(EXP_MIN) == -87.0f);
    assert_true(ARITH_F32(TANH_SPLIT) == 0.625f && ARITH_F32(TANH_MAX) == 9.02f);
    assert_true(ARITH_F32(ERF_SPLIT) == 1.0f && ARITH_F32(ERF_MAX) == 3.93f);
    assert_true(ARITH_F32(SIGMOID_MAX) == 87.0f);
    assert_true(ARITH_F32(GELU_A) == 0.044715f);
    assert_true(ARITH_F32(GELU_B) == (float)sqrt(M_2_PI));
    assert_true(ARITH_F32(SQRT_HALF) == (float)M_SQRT1_2);
}

static void exp_stays_in_its_bounds(void **state)
{
    (void)state;
    const float inf = (float)INFINITY;
    assert_int_equal(f32_bits(exp32(0.0f)), 0x3f800000);
    assert_int_equal(f32_bits(exp32(-0.0f)), 0x3f800000);
    assert_int_equal(f32_bits(exp32(-87.0f)), 0);
    assert_int_equal(f32_bits(exp32(-inf)), 0);
    assert_int_equal(f32_bits(exp32(-0x1.fffffep127f)), 0);
    assert_true(exp32(nextafterf(-87.0f, 0.0f)) >= 0x1p-126f);
    assert_int_equal(f32_bits(exp32(inf)), f32_bits(exp32(88.0f)));
    assert_true(exp32(88.0f) < inf);
    assert_true(exp32(-0x1p-149f) <= 1.0f && exp32(-0x1p-25f) <= 1.0f && exp32(-0x1p-24f) <= 1.0f);
}

static void odd_functions_are_odd(void **state)
{
    (void)state;
    for (uint32_t u = 0; u < 0x7f800000u; u += 65537) {
        float x = f32_from_bits(u);
        assert_int_equal(f32_bits(tanh32(-x)), f32_bits(tanh32(x)) ^ 0x80000000u);
        assert_int_equal(f32_bits(erf32(-x)), f32_bits(erf32(x)) ^ 0x80000000u);
    }
    for (float t = 0; t <= 1.0f; t += 0x1p-12f) {
        assert_int_equal(f32_bits(sin_turn32(-t)), f32_bits(sin_turn32(t)) ^ 0x80000000u);
        assert_int_equal(f32_bits(cos_turn32(-t)), f32_bits(cos_turn32(t)));
    }
}

static void gates_end_well(void **state)
{
    (void)state;
    const float inf = (float)INFINITY;
    assert_int_equal(f32_bits(log32(1.0f)), 0);
    assert_true(sigmoid32(0.0f) == 0.5f && sigmoid32(inf) == 1.0f);
    assert_true(sigmoid32(-inf) == sigmoid32(-87.0f) && sigmoid32(-inf) >= 0x1p-126f);
    assert_true(silu32(100.0f) == 100.0f && silu32(0.0f) == 0.0f);
    assert_true(fabsf(silu32(-200.0f)) < 1e-30f);
    assert_true(gelu_tanh32(20.0f) == 20.0f && gelu_tanh32(-20.0f) == 0.0f);
    assert_true(gelu_erf32(20.0f) == 20.0f && gelu_erf32(-20.0f) == 0.0f);
    assert_true(gelu_tanh32(1e30f) == 1e30f && gelu_tanh32(-1e30f) == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_are_correctly_rounded),
        cmocka_unit_test(exp_stays_in_its_bounds),
        cmocka_unit_test(odd_functions_are_odd),
        cmocka_unit_test(gates_end_well),
    };
    return cmocka_run_group_tests_name("mathf", tests, NULL, NULL);
}
