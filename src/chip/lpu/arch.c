/* SPDX-License-Identifier: Apache-2.0 */
/* See arch.h. What a sheet may not say is checked here, once, so that nothing behind it checks again. */
#include "chip/lpu/arch.h"

#include <math.h>
#include <string.h>

const struct sheet_figure lpu_figures[LPU_FIGURES] = {
#define FIGURE(section, key, unit, min, max, whole) {#section, #key, unit, min, max, whole, false},
#include "chip/lpu/figures.def"
};

static int follow(const struct lpu_arch *a, enum lpu_figure f, double want, struct err *e)
{
    double got = lpu_value(a, f);
    if (fabs(got - want) <= 0.002 * want) return 0;
    return sheet_fault(&a->sheet, f, e, "%g %s, but the other figures give %g", got, lpu_figures[f].unit, want);
}

static int check(struct lpu_arch *a, struct err *e)
{
    const struct sheet *s = &a->sheet;
    const int *d = a->d;
    int lanes = d[LPU_vector_superlanes] * d[LPU_vector_lanes_per_superlane], rc;
    if (lanes != LPU_LANES)
        return sheet_fault(s, LPU_vector_superlanes, e, "%d lanes in all; the simulator is built for %d",
                           lanes, LPU_LANES);
    if (d[LPU_mxm_rows] != lanes || d[LPU_mxm_columns] != lanes)
        return sheet_fault(s, LPU_mxm_rows, e, "an array of %d x %d does not meet %d lanes", d[LPU_mxm_rows],
                           d[LPU_mxm_columns], lanes);
    if (d[LPU_mxm_planes] != LPU_PLANES)
        return sheet_fault(s, LPU_mxm_planes, e, "%d planes; the simulator is built for %d",
                           d[LPU_mxm_planes], LPU_PLANES);
    if (d[LPU_mxm_load_streams] != LPU_LOAD)
        return sheet_fault(s, LPU_mxm_load_streams, e, "%d streams; the simulator is built for %d",
                           d[LPU_mxm_load_streams], LPU_LOAD);
    int wide = d[LPU_mxm_planes] / 2 * d[LPU_mxm_load_streams];
    if (d[LPU_mem_slices] % 2 || d[LPU_mem_slices] / 2 < wide + LPU_QUAD || (d[LPU_mem_slices] / 2 - wide) % LPU_QUAD)
        return sheet_fault(s, LPU_mem_slices, e,
                           "%d slices: each half needs %d for the planes and a multiple of %d besides",
                           d[LPU_mem_slices], wide, LPU_QUAD);
    if (d[LPU_mem_rows_per_slice] % 2) return sheet_fault(s, LPU_mem_rows_per_slice, e, "must be even: two banks");
    a->slices = d[LPU_mem_slices];
    a->half = a->slices / 2;
    a->wide = wide;
    a->rows = d[LPU_mem_rows_per_slice];
    a->centre = a->half / 2;
    double clock = lpu_value(a, LPU_chip_clock) * 1e6, macs = (double)d[LPU_mxm_planes] * lanes * lanes;
    if ((rc = follow(a, LPU_derived_int8_peak, 2 * macs * clock * 1e-12, e)) ||
        (rc = follow(a, LPU_derived_sram, (double)a->slices * a->rows * lanes / 1048576, e)) ||
        (rc = follow(a, LPU_derived_sram_bandwidth, (double)a->slices * d[LPU_mem_banks] * lanes, e)) ||
        (rc = follow(a, LPU_derived_stream_bandwidth, 2.0 * d[LPU_stream_per_direction] * lanes, e)) ||
        (rc = follow(a, LPU_derived_fetch_bandwidth, (double)d[LPU_icu_queues] * d[LPU_icu_fetch], e)))
        return rc;
    return 0;
}

/* Cycles: the next whole number. (ceil would be the mathematics library's.) */
static int round_up(double cycles)
{
    int n = (int)cycles;
    return n + (cycles > n);
}

int lpu_link_gap(const struct lpu_arch *a)
{
    return round_up(lpu_value(a, LPU_c2c_vectors) * lpu_value(a, LPU_chip_clock) * 1e6 /
                    (lpu_value(a, LPU_c2c_link_rate) * 1e9));
}

int lpu_link_hop(const struct lpu_arch *a)
{
    return round_up(lpu_value(a, LPU_c2c_hop) * lpu_value(a, LPU_chip_clock) * 1e-3);
}

static int finish(struct lpu_arch *a, int rc, struct err *e)
{
    for (int i = 0; i < LPU_FIGURES && !rc; i++) a->d[i] = lpu_figures[i].whole ? (int)a->sheet.items[i].value : 0;
    if (!rc && (rc = check(a, e))) lpu_arch_close(a);
    return rc;
}

int lpu_arch_open(struct lpu_arch *a, const char *path, struct err *e)
{
    *a = (struct lpu_arch){0};
    return finish(a, sheet_open(&a->sheet, "lpu", path, lpu_figures, LPU_FIGURES, e), e);
}

int lpu_arch_read(struct lpu_arch *a, const char *name, struct str text, struct err *e)
{
    *a = (struct lpu_arch){0};
    return finish(a, sheet_read(&a->sheet, name, text, lpu_figures, LPU_FIGURES, e), e);
}

void lpu_arch_close(struct lpu_arch *a)
{
    sheet_close(&a->sheet);
    *a = (struct lpu_arch){0};
}
