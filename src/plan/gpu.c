/* SPDX-License-Identifier: Apache-2.0 */
/* See gpu.h. */
#include "plan/gpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CLOCK, SMS, FP16, FP8, SIZE, RATE, L2, LINK, TDP, N_FIGURES };

static const struct sheet_figure figures[N_FIGURES] = {
    [CLOCK] = {"chip", "clock", "MHz", 100, 1e4, false},       [SMS] = {"chip", "sms", "count", 1, 1e4, true},
    [FP16] = {"peak", "fp16", "TFLOP/s", 0.1, 1e5, false},     [FP8] = {"peak", "fp8", "TFLOP/s", 0, 1e5, false},
    [SIZE] = {"memory", "size", "GB", 0.1, 1e5, false},        [RATE] = {"memory", "rate", "GB/s", 1, 1e6, false},
    [L2] = {"l2", "size", "MB", 0.1, 1e5, false},              [LINK] = {"link", "rate", "GB/s", 0, 1e5, false},
    [TDP] = {"power", "tdp", "W", 1, 1e5, false},
};

static void take_names(struct gpu_names *out, const char *list)
{
    for (const char *p = list + strspn(list, ", "); *p && out->n < GPU_NAMES_MAX; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ",");
        snprintf(out->name[out->n++], GPU_NAME_MAX, "%.*s", (int)n, p);
        p += n;
    }
}

bool gpu_has_name(const struct gpu_names *names, const char *name)
{
    for (int i = 0; i < names->n; i++)
        if (!strcmp(names->name[i], name)) return true;
    return false;
}

/* Multiply-adds of one SM in a cycle are a power of two: SMs, clock and peak agree only then. */
static int check(const struct sheet *s, struct err *e)
{
    const struct sheet_item *v = s->items;
    double per = 1e12 * v[FP16].value / (2e6 * v[SMS].value * v[CLOCK].value);
    if (fabs(per / exp2(round(log2(per))) - 1) <= 0.05) return 0;
    return sheet_fault(s, FP16, e, "%.1f multiply-adds per SM and cycle: not a power of two; SMs, clock and peak do not agree", per);
}

int gpu_sheet(struct sheet *s, const char *chip, const char *path, struct err *e)
{
    int rc = sheet_open(s, chip, path, figures, N_FIGURES, e);
    if (!rc && (rc = check(s, e))) sheet_close(s);
    return rc;
}

int gpu_open(struct gpu *g, const char *chip, struct err *e)
{
    struct sheet s;
    int rc = gpu_sheet(&s, chip, NULL, e);
    if (rc) return rc;
    const struct sheet_item *v = s.items;
    *g = (struct gpu){.clock = 1e6 * v[CLOCK].value, .sms = v[SMS].value, .flops16 = 1e12 * v[FP16].value, .flops8 = 1e12 * v[FP8].value,
                      .memory = 1e9 * v[RATE].value, .memory_bytes = 1e9 * v[SIZE].value, .l2_bytes = 1e6 * v[L2].value,
                      .link = 1e9 * v[LINK].value, .tdp = v[TDP].value};
    snprintf(g->chip, sizeof g->chip, "%s", chip);
    take_names(&g->aliases, sheet_about(&s, "aliases"));
    take_names(&g->like, sheet_about(&s, "like"));
    sheet_close(&s);
    return 0;
}

int gpu_find(struct gpu *g, const char *alias, struct err *e)
{
    for (int i = 0; sheet_chip(i); i++)
        if (gpu_open(g, sheet_chip(i), NULL) == 0 && (!strcmp(g->chip, alias) || gpu_has_name(&g->aliases, alias))) return 0;
    return err(e, ERR_NOT_FOUND, "no GPU is called '%s'", alias);
}
