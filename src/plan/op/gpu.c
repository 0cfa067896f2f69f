/* SPDX-License-Identifier: Apache-2.0 */
/* See gpu.h. */
#include "plan/op/gpu.h"

#include <math.h>
#include <string.h>

const enum figure gpu_needs[] = {FIGURE_chip_clock,  FIGURE_chip_sms,    FIGURE_peak_fp16,
                                 FIGURE_memory_size, FIGURE_memory_rate, FIGURE_l2_size,
                                 FIGURE_link_rate,   FIGURE_power_tdp,   FIGURES};

/* Multiply-adds of one SM in a cycle are a power of two: SMs, clock and peak agree only then. */
static int check(const struct figures *f, struct err *e)
{
    double per = 1e12 * figures_value(f, FIGURE_peak_fp16) /
                 (2e6 * figures_value(f, FIGURE_chip_sms) * figures_value(f, FIGURE_chip_clock));
    if (fabs(per / exp2(round(log2(per))) - 1) <= 0.05) return 0;
    return sheet_fault(
        &f->sheet, FIGURE_peak_fp16, e,
        "%.1f multiply-adds per SM and cycle: not a power of two; SMs, clock and peak do not agree", per);
}

double gpu_peak(const struct gpu *g, double bytes)
{
    if (bytes < 1 && g->flops4 > 0) return g->flops4;
    return bytes < 2 && g->flops8 > 0 ? g->flops8 : g->flops16;
}

double gpu_pace(const struct gpu *g)
{
    enum { H100_OPS = 4096 };
    return H100_OPS * g->sms * g->clock / g->flops16;
}

double gpu_wait(const struct gpu *g)
{
    const double A100_PACE = 2;
    return fmin(gpu_pace(g), A100_PACE);
}

int gpu_from(struct gpu *g, const struct figures *f, struct err *e)
{
#define V(name) figures_value(f, FIGURE_##name)
    *g = (struct gpu){
        .clock = 1e6 * V(chip_clock),
        .sms = V(chip_sms),
        .flops16 = 1e12 * V(peak_fp16),
        .memory = 1e9 * V(memory_rate),
        .memory_bytes = 1e9 * V(memory_size),
        .l2_bytes = 1e6 * V(l2_size),
        .link = 1e9 * V(link_rate),
        .tdp = V(power_tdp),
        .flops8 = figures_has(f, FIGURE_peak_fp8) ? 1e12 * V(peak_fp8) : 0,
        .exps = figures_has(f, FIGURE_chip_exp) ? 1e6 * V(chip_clock) * V(chip_sms) * V(chip_exp) : 0,
        .flops4 = figures_has(f, FIGURE_peak_fp4) ? 1e12 * V(peak_fp4) : 0};
#undef V
    memcpy(g->chip, f->chip, sizeof g->chip);
    g->aliases = f->aliases;
    g->like = f->like;
    return check(f, e);
}

int gpu_find(struct gpu *g, const char *name, struct err *e)
{
    struct figures f;
    int rc = figures_open(&f, name, NULL, e);
    if (rc) return rc;
    rc = strcmp(sheet_about(&f.sheet, "class"), "gpu") ? err(e, ERR_NOT_FOUND, "'%s' is no GPU", name)
                                                       : gpu_from(g, &f, e);
    figures_close(&f);
    return rc;
}
