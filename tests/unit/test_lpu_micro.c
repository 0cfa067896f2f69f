/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The published micro-figures of the LPU, as its simulation has them: programs written for one unit each,
 * scheduled, verified and run. Prints the table of doc/lpu.md; fails where a figure leaves what was published
 * by more than the table says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/lpu.h"

enum { ROWS = 256, VECTORS = 320 };
static struct lpu_arch arch;

static int open_arch(void **state)
{
    (void)state;
    return lpu_arch_open(&arch, NULL, NULL);
}

static int close_arch(void **state)
{
    (void)state;
    lpu_arch_close(&arch);
    return 0;
}

static void row(const char *what, double published, double model, const char *unit, double most)
{
    double off = 100 * (model / published - 1);
    printf("| %-44s | %10.4g %-7s | %10.4g | %+5.1f %% |\n", what, published, unit, model, off);
    assert_true(fabs(off) <= most);
}

static int wide(int plane) /* first slice of a plane */
{
    return lpu_plane_hemisphere(plane) * arch.half + arch.half - arch.wide + plane % 2 * LPU_LOAD;
}

/* Four tiles, then ROWS passes over each; their sums to memory. */
static void build(struct lpu_graph *g, int rows)
{
    for (int p = 0; p < LPU_PLANES; p++) {
        struct lpu_node n = {.op = OP_LW, .alu = (uint8_t)p, .x = VECTORS};
        n.arg[0] = (struct lpu_arg){.kind = SRC_MEM, .v = lpu_loc(wide(p), 0)};
        lpu_graph_group(g, GROUP_INSTALL, 0);
        lpu_graph_node(g, &n);
        n = (struct lpu_node){.op = OP_IW, .alu = (uint8_t)p};
        lpu_graph_group(g, GROUP_INSTALL, 0);
        lpu_graph_node(g, &n);
    }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < LPU_PLANES; p++) {
            int h = lpu_plane_hemisphere(p);
            lpu_graph_group(g, GROUP_SUM, 0);
            lpu_emit(g, OP_ACC,
                     in_pass(p, lpu_loc(h * arch.half + 2 * LPU_QUAD + p % 2, r), 0, VECTORS, false), IN0,
                     IN0);
            lpu_to(g, lpu_loc(h * arch.half + p % 2 * LPU_QUAD, arch.rows / 2 * (r % 2) + r));
        }
}

static void compile(struct lpu_graph *g, struct lpu_schedule *s, struct lpu_code *c)
{
    struct err e = {0};
    struct lpu_params p = {.tile_columns = 1};
    g->what = "micro";
    if (lpu_schedule(s, &arch, g, &e) || lpu_queues(c, &arch, s, &e) || lpu_verify(&arch, g, c, &p, &e))
        fail_msg("%s", e.msg);
}

static void install(void **state)
{
    (void)state;
    struct lpu_graph g = {0};
    struct lpu_schedule s;
    struct lpu_code c;
    int first = 1 << 30, loads[2] = {1 << 30, 0}, ready = 0;
    build(&g, 0);
    compile(&g, &s, &c);
    for (int i = 0; i < s.n; i++) {
        const struct lpu_timed *k = &s.list[i];
        if (k->in.op == OP_READ && k->cycle < first) first = k->cycle;
        if (k->in.op == OP_LW && k->cycle < loads[0]) loads[0] = k->cycle;
        if (k->in.op == OP_LW && k->cycle + k->n > loads[1]) loads[1] = k->cycle + k->n;
        if (k->in.op == OP_IW && k->cycle + lpu_delay(&arch, OP_IW) > ready) ready = k->cycle + lpu_delay(&arch, OP_IW);
    }
    printf("| four planes' weights, SRAM to array: below      | %10d cycle   | %10d |         |\n", 40, ready - first);
    assert_true(ready - first < 40);
    row("bytes on streams in a cycle, installing", 20480,
        (double)LPU_PLANES * VECTORS * LPU_LANES / (loads[1] - loads[0]), "B/cycle", 0.1);
    lpu_graph_finish(&g), lpu_schedule_finish(&s), lpu_code_finish(&c);
}

static void matrix_peak(void **state)
{
    (void)state;
    struct lpu_graph g = {0};
    struct lpu_schedule s;
    struct lpu_code c;
    struct lpu_sim *sim;
    struct err e = {0};
    int cycles, first = 1 << 30, last = 0;
    bool trapped;
    build(&g, ROWS);
    compile(&g, &s, &c);
    for (int i = 0; i < s.n; i++) {
        if (s.list[i].in.op != OP_ABC) continue;
        if (s.list[i].cycle < first) first = s.list[i].cycle;
        if (s.list[i].cycle > last) last = s.list[i].cycle;
    }
    assert_int_equal(lpu_sim_create(&sim, &arch, 0, &e), 0);
    for (int p = 0; p < LPU_PLANES; p++)
        for (int v = 0; v < VECTORS; v++)
            memset(lpu_sim_row(sim, lpu_loc(wide(p) + v % LPU_LOAD, v / LPU_LOAD)), v % 7 - 3, LPU_LANES);
    for (int r = 0; r < ROWS; r++)
        for (int p = 0; p < LPU_PLANES; p++)
            memset(lpu_sim_row(sim, lpu_loc(lpu_plane_hemisphere(p) * arch.half + 2 * LPU_QUAD + p % 2, r)),
                   r % 5 + p, LPU_LANES);
    if (lpu_sim_run(sim, &c, &cycles, &trapped, &e)) fail_msg("%s", e.msg);
    assert_int_equal(cycles, c.cycles);
    int sum = 0;
    for (int v = 0; v < VECTORS; v++) sum += v % 7 - 3;
    for (int r = 0; r < ROWS; r++) {
        uint32_t got[LPU_LANES];
        assert_int_equal(lpu_sim_get(sim, lpu_loc(arch.half, arch.rows / 2 * (r % 2) + r), got), 0); /* plane 2 */
        assert_int_equal((int32_t)got[r], sum * (r % 5 + 2));
    }
    const struct lpu_counters *n = lpu_sim_counters(sim);
    assert_int_equal(n->issues[OP_ABC], ROWS * LPU_PLANES);
    double rate = (double)n->macs / (last - first + 1);
    row("int8 products in a cycle, 256 rows on a tile", 409600, rate, "", 3);
    row("int8 peak at 900 MHz", 737, 2 * rate * lpu_value(&arch, LPU_chip_clock) * 1e-6, "TOPS", 3);
    lpu_sim_destroy(sim);
    lpu_graph_finish(&g), lpu_schedule_finish(&s), lpu_code_finish(&c);
}

static void sheet(void **state)
{
    (void)state;
    double us = 3.0 * lpu_link_hop(&arch) / lpu_value(&arch, LPU_chip_clock);
    row("all-reduce of 8 chips: three hops", 2.1, us, "us", 5);
    row("link, one vector after the other", 12.5,
        LPU_LANES * lpu_value(&arch, LPU_chip_clock) * 1e-3 / lpu_link_gap(&arch), "GB/s", 5);
    row("SRAM, a read and a write of each slice", 56320, 2.0 * arch.slices * LPU_LANES, "B/cycle", 0.1);
    row("SRAM in all", 220, (double)arch.slices * arch.rows * LPU_LANES / 1048576, "MiB", 0.1);
    row("chip-wide barrier (taken over)", 35, arch.d[LPU_icu_barrier], "cycle", 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(install), cmocka_unit_test(matrix_peak),
                                       cmocka_unit_test(sheet)};
    return cmocka_run_group_tests_name("lpu_micro", tests, open_arch, close_arch);
}
