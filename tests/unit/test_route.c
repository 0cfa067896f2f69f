/* SPDX-License-Identifier: Apache-2.0 */
/* kern/route: the choice of experts: order, ties, groups, sums, and a choice even where scores are not numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include "kern/route.h"

static void expect(const struct route *r, const float *z, const float *bias, const int *want)
{
    float out[2 * ROUTE_USED_MAX];
    route_choose(r, z, bias, out);
    for (int i = 0; i < r->n_used; i++) assert_int_equal((int)out[i], want[i]);
}

static void the_largest_are_chosen_ties_to_the_lower(void **state)
{
    (void)state;
    const float z[8] = {1, 3, -2, 3, 0.5f, 3, -0.0f, 0.0f};
    struct route r = {ROUTE_SOFTMAX, 8, 4, true, 1, 0, 0};
    expect(&r, z, NULL, (int[]){1, 3, 5, 0});
    r.n_used = 8;
    expect(&r, z, NULL, (int[]){1, 3, 5, 0, 4, 6, 7, 2}); /* -0 and +0 are equal */
    const float bias[8] = {0, 0, 9, 0, 0, 0.25f, 0, 0};
    r.kind = ROUTE_SIGMOID, r.n_used = 3;
    expect(&r, z, bias, (int[]){2, 5, 1});
}

static void weights_sum_to_one_or_scale(void **state)
{
    (void)state;
    float z[32], out[2 * ROUTE_USED_MAX];
    for (int i = 0; i < 32; i++) z[i] = sinf((float)(i * i)) * 4;
    for (int kind = ROUTE_SOFTMAX; kind <= ROUTE_SIGMOID; kind++) {
        struct route r = {(enum route_kind)kind, 32, 6, true, 2.5f, 0, 0};
        route_choose(&r, z, NULL, out);
        double sum = 0, all = 0;
        for (int i = 0; i < 6; i++) sum += (double)out[6 + i];
        assert_true(fabs(sum - 2.5) < 1e-5);
        r.over_used = false, r.scale = 1;
        route_choose(&r, z, NULL, out);
        for (int i = 0; i < 32; i++) all += exp((double)z[i]);
        for (int i = 0; i < 6; i++) {
            double x = (double)z[(int)out[i]], want = kind == ROUTE_SOFTMAX ? exp(x) / all : 1 / (1 + exp(-x));
            assert_true(fabs((double)out[6 + i] - want) < 1e-5 * want);
        }
    }
}

static void only_the_best_groups_count(void **state)
{
    (void)state;
    /*                   group 0   1         2         3: largest 9 7 8 6; two largest 9 13 8 12 */
    const float z[8] = {9, 0, 7, 6, 8, 0, 6, 6};
    struct route r = {ROUTE_SOFTMAX, 8, 3, false, 1, 4, 2};
    expect(&r, z, NULL, (int[]){0, 4, 1}); /* groups 0 and 2 */
    r.kind = ROUTE_SIGMOID;
    const float bias[8] = {9, 0, 7, 6, 8, 0, 6, 6}, same[8] = {0};
    expect(&r, same, bias, (int[]){2, 3, 6}); /* groups 1 and 3; 6 before 7 */
}

static void a_choice_is_always_of_experts(void **state)
{
    (void)state;
    float z[8] = {NAN, -INFINITY, NAN, INFINITY, 0, 1e38f, -1e38f, NAN}, out[16];
    for (int kind = ROUTE_SOFTMAX; kind <= ROUTE_SIGMOID; kind++)
        for (int group = 0; group <= 4; group += 2) {
            struct route r = {(enum route_kind)kind, 8, 4, true, 1, group, group ? group : 0};
            bool seen[8] = {false};
            route_choose(&r, z, NULL, out);
            for (int i = 0; i < 4; i++) {
                assert_true(out[i] >= 0 && out[i] < 8 && !seen[(int)out[i]]);
                seen[(int)out[i]] = true;
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_are_chosen_ties_to_the_lower), cmocka_unit_test(weights_sum_to_one_or_scale),
        cmocka_unit_test(only_the_best_groups_count), cmocka_unit_test(a_choice_is_always_of_experts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
