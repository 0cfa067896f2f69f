/* SPDX-License-Identifier: Apache-2.0 */
/* device: steps of models on every chip that has a datasheet: above their floors, sums that agree, memory,
 * figures that are missing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "plan/class/class.h"
#include "plan/class/pieces.h"

static struct shape shape_of(const char *name)
{
    struct shape m;
    struct err e = {0};
    assert_int_equal(shape_open(&m, name, &e), 0);
    return m;
}

static struct device *opened(const char *name, const char *const *assume)
{
    struct device *d = NULL;
    struct err e = {0};
    struct device_options o = {.assume = assume};
    if (device_open(&d, name, &o, &e)) fail_msg("%s: %s", name, e.msg);
    return d;
}

static double sum(const double *x, int n)
{
    double s = 0;
    for (int i = 0; i < n; i++) s += x[i];
    return s;
}

static void check_step(const char *chip, const struct device_step *t)
{
    bool ok = isfinite(t->seconds) && t->seconds > 0 && t->seconds >= 0.999999 * t->floor &&
              t->interval > 0 && t->interval <= 1.000001 * t->seconds &&
              fabs(sum(t->part, DEVICE_PARTS) / t->seconds - 1) < 1e-6 &&
              fabs(sum(t->resource, DEVICE_RESOURCES) / t->seconds - 1) < 1e-6 && t->use_compute < 1.000001 &&
              t->use_memory < 1.000001 &&
              (isnan(t->joules) || fabs(sum(t->joule, DEVICE_JOULES) / t->joules - 1) < 1e-6);
    if (!ok)
        fail_msg("%s: %g s, floor %g, interval %g, parts %g, resources %g, use %g %g, %g J", chip, t->seconds,
                 t->floor, t->interval, sum(t->part, DEVICE_PARTS), sum(t->resource, DEVICE_RESOURCES),
                 t->use_compute, t->use_memory, t->joules);
}

/* Every chip of the tree; those that lack a figure must name it. */
static void steps_lie_above_their_floor(void **state)
{
    static const char *const names[] = {"smollm2-135m", "llama-3.1-8b", "mixtral-8x7b"},
                             *const precisions[] = {"16-bit", "fp8", "fp4", "q4"};
    static const int chips[] = {1, 2, 8, 16, 72, 300};
    static const double batches[] = {1, 7, 256}, contexts[] = {1, 900, 100000};
    (void)state;
    for (int i = 0; sheet_chip(i); i++) {
        struct device *d;
        struct device_step t;
        struct err e = {0};
        if (device_open(&d, sheet_chip(i), NULL, &e)) {
            if (!strstr(e.msg, "--assume")) fail_msg("%s: %s", sheet_chip(i), e.msg);
            continue;
        }
        for (int j = 0; j < 3 * 4 * 6 * 3; j++) {
            struct shape m = shape_of(names[j % 3]);
            struct device_setup s = {.shape = &m, .precision = device_precision(precisions[j / 3 % 4])};
            device_split(d, &s, chips[j / 12 % 6]);
            if (j % 5 == 0 && m.experts > 0) s.ep = 8 * s.tp, s.pp = 1;
            for (int c = 0; c < 3; c++) {
                assert_int_equal(device_decode(d, &s, batches[j / 72], contexts[c], &t, &e), 0);
                check_step(sheet_chip(i), &t);
                assert_int_equal(device_prefill(d, &s, batches[j / 72], contexts[c], c == 1 ? 333 : 0, &t, &e), 0);
                check_step(sheet_chip(i), &t);
            }
        }
        device_close(d);
    }
}

static void more_work_takes_longer(void **state)
{
    struct shape m = shape_of("llama-3.1-8b");
    struct device_setup s = {.shape = &m, .precision = device_precision("16-bit")};
    struct device_step one, many, text, behind, split;
    struct err e = {0};
    struct device *d = opened("H100-SXM-80GB", NULL);
    (void)state;
    device_split(d, &s, 1);
    assert_int_equal(device_decode(d, &s, 1, 1000, &one, &e), 0);
    assert_int_equal(device_decode(d, &s, 64, 1000, &many, &e), 0);
    assert_int_equal(device_prefill(d, &s, 1, 4096, 0, &text, &e), 0);
    assert_int_equal(device_prefill(d, &s, 1, 4096, 8192, &behind, &e), 0);
    assert_true(one.floor >= 2 * (shape_weights(&m) - m.vocab * m.hidden) / d->memory_rate);
    assert_true(many.seconds > one.seconds && many.seconds < 16 * one.seconds && many.joules > one.joules &&
                many.joules < 64 * one.joules);
    assert_true(behind.seconds > text.seconds);
    assert_int_equal(one.evidence, EVIDENCE_FITTED);
    assert_true(one.resource[DEVICE_DRAM] > one.resource[DEVICE_COMPUTE] &&
                text.resource[DEVICE_COMPUTE] > text.resource[DEVICE_DRAM]);
    device_split(d, &s, 4);
    assert_int_equal(device_decode(d, &s, 1, 1000, &split, &e), 0);
    assert_true(split.part[DEVICE_REDUCE] > 0 && split.seconds < one.seconds);
    assert_int_equal(device_decode(d, &s, 0, 1000, &split, &e), ERR_USAGE);
    device_close(d);
}

static void memory_says_how_many_chips_do(void **state)
{
    struct shape m = shape_of("llama-3.3-70b");
    struct device_setup s = {.shape = &m, .precision = device_precision("fp8")};
    struct device_fit f;
    struct err e = {0};
    struct device *d = opened("h100", NULL);
    (void)state;
    device_split(d, &s, 1);
    assert_int_equal(device_fit(d, &s, 64, 8192, &f, &e), 0);
    assert_false(f.fits);
    assert_int_equal(f.chips, 4);
    assert_non_null(strstr(f.why, "4 chips do"));
    device_split(d, &s, f.chips);
    assert_int_equal(device_fit(d, &s, 64, 8192, &f, &e), 0);
    assert_true(f.fits && f.tokens >= 64 * 8192 && !*f.why);
    device_close(d);
}

/* A sheet of a chip of which little is known: the class names what it cannot do without, and takes it by --assume. */
static void missing_figures_are_named_and_assumed(void **state)
{
    static const char text[] =
        "[about]\nname = Unknown\nclass = roofline\nlevel = roofline\n[peak]\nint8 = 10 TOP/s | published | somewhere\n"
        "[memory]\nsize = 4 GB | published | somewhere\nrate = n/p GB/s | published | not stated\n";
    static const char *const rate[] = {"memory.rate=20", NULL}, *const bad[] = {"memory.rate=-1", NULL},
                             *const typo[] = {"memory.speed=1", NULL};
    char path[] = "/tmp/tutti-device-XXXXXX.ini";
    struct shape m = shape_of("qwen3-1.7b");
    struct device_setup s = {.shape = &m, .precision = device_precision("int8")};
    struct device_options o = {0};
    struct device_step t;
    struct device *d = NULL;
    struct err e = {0};
    int fd = mkstemps(path, 4);
    (void)state;
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "wb");
    assert_int_equal(fwrite(text, 1, sizeof text - 1, f), sizeof text - 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(device_open(&d, path, NULL, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "memory.rate (GB/s)"));
    assert_non_null(strstr(e.msg, "--assume memory.rate=VALUE"));
    o.assume = bad;
    assert_int_equal(device_open(&d, path, &o, &e), ERR_USAGE);
    o.assume = typo;
    assert_int_equal(device_open(&d, path, &o, &e), ERR_USAGE);
    d = opened(path, rate);
    device_split(d, &s, 1);
    assert_int_equal(device_decode(d, &s, 1, 100, &t, &e), 0);
    check_step(path, &t);
    assert_true(isnan(t.joules));
    assert_int_equal(d->figures.sheet.items[FIGURE_memory_rate].evidence, EVIDENCE_GUESSED);
    device_close(d);
    unlink(path);
    assert_int_equal(device_open(&d, "abacus", NULL, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "h100"));
}

/* What is published of the machines follows from the datasheets; a clock that contradicts a peak is refused. */
static void published_micro_figures_follow(void **state)
{
    static const char *const wrong[] = {"chip.clock=1000", NULL};
    struct device_options o = {.assume = wrong};
    struct device *d = opened("tpuv5e", NULL), *none;
    struct err e = {0};
    (void)state;
    assert_true(fabs(d->memory_bytes / d->memory_rate / 19.8e-3 - 1) < 0.02); /* all of its memory, once */
    device_close(d);
    d = opened("gc200", NULL);
    assert_true(fabs(figures_value(&d->figures, FIGURE_chip_cores) * 4 * 1e6 *
                         figures_value(&d->figures, FIGURE_chip_clock) / 7.8e12 -
                     1) < 0.01);
    assert_true(fabs(d->memory_rate / 47e12 - 1) < 0.01);
    device_close(d);
    d = opened("lpu", NULL);
    assert_true(fabs(d->flops8 / 737e12 - 1) < 0.001 && fabs(d->memory_rate / 50.7e12 - 1) < 0.001);
    assert_int_equal(d->node, 8);
    device_close(d);
    assert_int_equal(device_open(&none, "bow", &o, &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, "which is no stated peak"));
}

/* A layer of a vertex: the busiest tile of one product takes the estimator's cycles. 1472 tiles, 4096 x 4096,
 * one row: 46 x 32 parts of 90 outputs and 128 inputs: 50 + 6 x 31 + 6 x 8 blocks x (32 + 24) cycles; 64 + 88
 * of exchange; two synchronisations of 200. */
static void tiles_of_the_ipu_count_cycles(void **state)
{
    struct device *d = opened("gc200", NULL);
    struct shape m = shape_of("llama-3.1-8b");
    struct device_setup s = {.shape = &m, .precision = device_precision("16-bit"), .tp = 1, .pp = 1};
    struct work w = {.kind = WORK_PRODUCT, .times = 1, .m = 1, .n = 4096, .k = 4096};
    (void)state;
    double cycles = 1325e6 * class_seconds(d, &s, &w);
    assert_true(cycles < 50 + 6 * 31 + 6 * 8 * 56 + 64 + 88 + 400 + 1);
    assert_true(cycles > 50 + 6 * 31 + 4096.0 * 4096 / 1472 / 256 * 56);
    device_close(d);
}

/* Pieces of a step lie at or above their floors and add up to the step, but for what it adds once. */
static void pieces_add_up(void **state)
{
    static const char *const chips[] = {"h100", "tpuv6e", "gc200", "wse3", "lp30"};
    struct err e = {0};
    struct shape shape;
    (void)state;
    assert_int_equal(shape_open(&shape, "mixtral-8x7b", &e), 0);
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
        struct device *d;
        struct device_step t;
        struct piece p[PIECES_MAX];
        struct device_setup s = {.shape = &shape, .precision = device_precision("fp8"), .tp = 1, .pp = 1};
        double sum = 0;
        assert_int_equal(device_open(&d, chips[i], NULL, &e), 0);
        assert_int_equal(device_decode(d, &s, 8, 1024, &t, &e), 0);
        int n = pieces_decode(p, d, &s, 8, 1024);
        assert_in_range(n, 4, PIECES_MAX);
        for (int k = 0; k < n; k++) {
            assert_true(*p[k].what && isfinite(p[k].seconds) && p[k].seconds >= p[k].floor && p[k].times >= 1);
            sum += p[k].times * p[k].seconds;
        }
        double rest = t.seconds - t.part[DEVICE_HOST];
        assert_true(sum >= 0.99 * rest && sum <= 1.05 * rest);
        device_close(d);
    }
}

static double error_of(const char *chip, const char *shape, const char *precision, double *of_chip)
{
    struct shape m = shape_of(shape);
    struct device_step step;
    struct err e = {0};
    struct device *d = opened(chip, NULL);
    struct device_setup s = {.shape = &m, .precision = device_precision(precision)};
    device_split(d, &s, 4);
    assert_int_equal(device_decode(d, &s, 8, 2000, &step, &e), 0);
    *of_chip = d->error;
    device_close(d);
    return step.error;
}

/* H100 has measured rows of bf16 and fp8 products and of int4 experts; none of int8, of 4-bit products, of
 * latent attention. */
static void errors_widen_where_no_row_of_the_type_is(void **state)
{
    double chip, error;
    (void)state;
    for (int i = 0; i < 2; i++) {
        error = error_of("h100", "llama-3.1-8b", i ? "fp8" : "16-bit", &chip);
        assert_true(fabs(error - chip) < 1e-9);
    }
    static const char *const strange[] = {"int8", "fp4", "q4"};
    for (int i = 0; i < 3; i++) {
        error = error_of("h100", "llama-3.1-8b", strange[i], &chip);
        if (!(error > 1.3 * chip && error < hypot(chip, op_gemm.other_type) + 1e-9))
            fail_msg("%s: %g of a chip's %g", strange[i], error, chip);
        double experts = error_of("h100", "mixtral-8x7b", strange[i], &chip);
        if (!(experts > 1.1 * chip && experts < 2.5 * chip))
            fail_msg("%s: experts %g, products %g, chip %g", strange[i], experts, error, chip);
    }
    assert_true(error_of("h100", "deepseek-v3", "fp8", &chip) > 1.02 * chip);
    assert_true(error_of("b200", "llama-3.1-8b", "fp4", &chip) > 1.05 * chip);
    assert_true(isnan(error_of("lpu", "llama-3.1-8b", "int8", &chip)) && isnan(chip));
    error = error_of("wse3", "llama-3.1-8b", "int8", &chip); /* no class but gpu has constants by type */
    assert_true(fabs(error - chip) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_add_up),
        cmocka_unit_test(steps_lie_above_their_floor),
        cmocka_unit_test(more_work_takes_longer),
        cmocka_unit_test(memory_says_how_many_chips_do),
        cmocka_unit_test(published_micro_figures_follow),
        cmocka_unit_test(tiles_of_the_ipu_count_cycles),
        cmocka_unit_test(missing_figures_are_named_and_assumed),
        cmocka_unit_test(errors_widen_where_no_row_of_the_type_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
