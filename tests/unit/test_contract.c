/* SPDX-License-Identifier: Apache-2.0 */
/* The contract: every set of kernels reproduces it, and doc/arithmetic.md speaks of the contract that is built. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kern/contract.h"
#include "serve/engine/engine.h"

static void every_set_reproduces_the_contract(void **state)
{
    (void)state;
    for (int i = 0; i < kern_count(); i++) {
        struct err e = {0};
        if (!kern_usable(i)) {
            printf("skipped: this machine cannot run '%s'\n", kern_at(i)->name);
            continue;
        }
        if (contract_check(kern_at(i), &e)) fail_msg("%s", e.msg);
    }
}

/* A kernel that is off by one bit in one element. */
static void wrong_add(float *x, const float *y, int n)
{
    kern_at(0)->elem->add(x, y, n);
    uint32_t u;
    memcpy(&u, &x[n - 1], sizeof u);
    u ^= 1;
    memcpy(&x[n - 1], &u, sizeof u);
}

static void one_wrong_bit_is_refused(void **state)
{
    (void)state;
    struct elem_kern elem = *kern_at(0)->elem;
    struct kern k = *kern_at(0);
    struct err e = {0};
    k.elem = &elem;
    assert_int_equal(contract_check(&k, &e), 0);
    elem.add = wrong_add;
    assert_int_equal(contract_check(&k, &e), ERR_MISMATCH);
}

static void page_names_the_id(void **state)
{
    (void)state;
    char id[65];
    engine_contract_id(id);
    FILE *f = fopen("doc/arithmetic.md", "rb");
    if (!f) fail_msg("doc/arithmetic.md is missing (run the test in the source folder)");
    static char page[1 << 17];
    size_t n = fread(page, 1, sizeof page - 1, f);
    page[n] = 0;
    fclose(f);
    if (!strstr(page, id))
        fail_msg("doc/arithmetic.md does not name the contract id %s: arith.def changed, so update the page",
                 id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_reproduces_the_contract),
        cmocka_unit_test(one_wrong_bit_is_refused),
        cmocka_unit_test(page_names_the_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
