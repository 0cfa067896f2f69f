/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern/num.h: the emulated fma against libm's (an oracle here, never a definition), integer rounding,
 * and the conversions of small formats over all their inputs.
 * TUTTI_FMA_CASES=100000000 in the environment runs that many fma cases per family.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <math.h>
#include <cmocka.h>

#include "kern/num.h"

static uint64_t rng = 0x9e3779b97f4a7c15u;

static uint32_t rand32(void)
{
    rng += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = rng;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 16);
}

static float rand_finite(void)
{
    uint32_t u;
    do u = rand32();
    while ((u & 0x7f800000u) == 0x7f800000u);
    return f32_from_bits(u);
}

/* Few significant bits, so that ties, exact results and near misses are common. */
static float rand_sparse(int emin, int emax)
{
    uint32_t r = rand32(), e = (uint32_t)(emin + (int)(r % (uint32_t)(emax - emin + 1)) + 127);
    uint32_t m = (1u << (rand32() % 23)) ^ (1u << (rand32() % 23)) ^ (rand32() & 3u);
    if (rand32() & 1) m = 0 - m;
    return f32_from_bits((rand32() & 0x80000000u) | e << 23 | (m & 0x7fffffu));
}

static void fma_same(float a, float b, float c)
{
    float want = fmaf(a, b, c), got = fma32_soft(a, b, c), own = fma32(a, b, c);
    if (f32_bits(want) != f32_bits(got) || f32_bits(want) != f32_bits(own))
        fail_msg("fma(%a, %a, %a): libm %a, emulation %a, fma32 %a", (double)a, (double)b, (double)c,
                 (double)want, (double)got, (double)own);
}

static void fma_is_correctly_rounded(void **state)
{
    (void)state;
    const char *env = getenv("TUTTI_FMA_CASES");
    long n = env ? atol(env) : 300000;
    for (long i = 0; i < n; i++) { /* any finite triple, overflow included */
        fma_same(rand_finite(), rand_finite(), rand_finite());
    }
    for (long i = 0; i < n; i++) { /* c near -a*b, half-way points, bits far below */
        float a = rand_sparse(-20, 20), b = rand_sparse(-20, 20);
        fma_same(a, b, rand_sparse(-70, 70));
        fma_same(a, b, -(a * b));
        float c = a * b;
        c = f32_from_bits(f32_bits(c) + (rand32() % 9u) - 4u);
        fma_same(a, b, c);
        fma_same(a, b, -c);
    }
    for (long i = 0; i < n; i++) { /* results in the subnormal range and around it */
        int e = -80 + (int)(rand32() % 40u);
        float a = rand_sparse(e, e),
              b = rand_sparse(-140 - e > -126 ? -140 - e : -126, -60 - e > 0 ? 0 : -60 - e);
        float c = f32_from_bits((rand32() & 0x80000000u) | (rand32() % 0x03000000u));
        fma_same(a, b, c);
        fma_same(a, b, f32_from_bits(f32_bits(c) & 0x80000007u));
        fma_same(a, b, 0.0f);
        fma_same(a, b, -0.0f);
    }
}

static void fma_keeps_zero_signs_and_infinities(void **state)
{
    (void)state;
    const float v[] = {0.0f,      -0.0f,     1.0f,       -1.0f,           INFINITY,
                       -INFINITY, 0x1p-149f, -0x1p-149f, 0x1.fffffep127f, -0x1.fffffep127f,
                       0x1p-126f, NAN};
    const size_t n = sizeof v / sizeof *v;
    for (size_t i = 0; i < n * n * n; i++) {
        float a = v[i % n], b = v[i / n % n], c = v[i / n / n];
        float want = fmaf(a, b, c), got = fma32_soft(a, b, c);
        if (isnan(want))
            assert_true(isnan(got)); /* which NaN is not said */
        else
            assert_int_equal(f32_bits(got), f32_bits(want));
    }
}

static void rne_is_rintf(void **state)
{
    (void)state;
    for (uint32_t u = 0; u <= 0x4a800000u; u += u < 0x3e800000u ? 4097 : 61) { /* to 2^22 */
        float x = f32_from_bits(u);
        assert_true(rne_small(x) == rintf(x));
        assert_true(rne_small(-x) == rintf(-x));
        assert_int_equal(rne_small_i32(x), (int32_t)rintf(x));
        assert_int_equal(rne_small_i32(-x), (int32_t)rintf(-x));
    }
    for (uint32_t u = 0; u <= 0x4b000000u; u += u < 0x3e800000u ? 4097 : 61) { /* to 2^23 */
        float x = f32_from_bits(u);
        assert_true(rne_pos(x) == rintf(x));
        assert_int_equal(rne_pos_i32(x), (int32_t)rintf(x));
    }
    const float edge[] = {0x1p22f, -0x1p22f, 0.5f, 1.5f, -0.5f, -2.5f, 4194303.5f, -4194303.5f, 4194302.5f};
    for (size_t i = 0; i < sizeof edge / sizeof *edge; i++)
        assert_int_equal(rne_small_i32(edge[i]), (int32_t)rintf(edge[i]));
    assert_int_equal(rne_pos_i32(0x1p23f), 1 << 23);
    assert_int_equal(f32_bits(rne_small(-0.25f)), 0);
}

static void pow2f_is_ldexp(void **state)
{
    (void)state;
    for (int n = -126; n <= 127; n++) assert_true(pow2f(n) == ldexpf(1.0f, n));
}

static void halves_convert(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint32_t e = h >> 10 & 31, m = h & 1023;
        float got = f32_from_f16((uint16_t)h);
        double mag = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, (int)e - 25);
        if (e == 31 && m) {
            assert_true(isnan(got));
            assert_int_equal(f16_from_f32(got) & 0x7c00, 0x7c00);
            continue;
        }
        if (e == 31) mag = HUGE_VAL;
        assert_true((double)got == (h & 0x8000 ? -mag : mag));
        assert_int_equal(f32_bits(got) >> 31, h >> 15);
        assert_int_equal(f16_from_f32(got), h);
        if (e < 30 || (e == 30 && m < 1023)) { /* just below, at, just above the middle to the next half */
            double next = (m + 1 + (e ? 1024 : 0)) * (e ? ldexp(1, (int)e - 25) : 0x1p-24);
            float mid = (float)((mag + next) / 2);
            assert_int_equal(f16_from_f32(nextafterf(mid, 0)), h & 0x7fff);
            assert_int_equal(f16_from_f32(mid), (h & 0x7fff) + (h & 1));
            assert_int_equal(f16_from_f32(nextafterf(mid, INFINITY)), (h & 0x7fff) + 1);
        }
    }
    assert_int_equal(f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(f16_from_f32(-INFINITY), 0xfc00);
}

static void brain_floats_and_scales_convert(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float x = f32_from_bf16((uint16_t)h);
        assert_int_equal(f32_bits(x), h << 16);
        if (!isnan(x))
            assert_int_equal(bf16_from_f32(x), h);
        else
            assert_int_equal(bf16_from_f32(x), h | 0x40);
    }
    assert_int_equal(bf16_from_f32(f32_from_bits(0x3f808000)), 0x3f80);
    assert_int_equal(bf16_from_f32(f32_from_bits(0x3f818000)), 0x3f82);
    assert_int_equal(bf16_from_f32(f32_from_bits(0x3f808001)), 0x3f81);
    for (int e = 0; e < 255; e++) {
        assert_true((double)f32_from_e8m0((uint8_t)e) == ldexp(1, e - 127));
        assert_true((double)f32_from_e8m0_half((uint8_t)e) == ldexp(1, e - 128));
    }
    assert_true(isnan(f32_from_e8m0(255)) && isnan(f32_from_e8m0_half(255)));
    assert_int_equal(abs_bits(-0.0f), 0);
    assert_int_equal(abs_bits(-INFINITY), 0x7f800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fma_is_correctly_rounded),
        cmocka_unit_test(fma_keeps_zero_signs_and_infinities),
        cmocka_unit_test(rne_is_rintf),
        cmocka_unit_test(pow2f_is_ldexp),
        cmocka_unit_test(halves_convert),
        cmocka_unit_test(brain_floats_and_scales_convert),
    };
    return cmocka_run_group_tests_name("num", tests, NULL, NULL);
}
