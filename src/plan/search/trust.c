/* SPDX-License-Identifier: Apache-2.0 */
/* See trust.h. */
#include "plan/search/trust.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include "plan/class/class.h"

/* chip,rows,median,p90,bias: written by `tutti plan --validate DIR --write FILE`. */
__asm__(
    ".section .rodata\n.hidden systems_text\n.global systems_text\nsystems_text:\n.incbin \"data/fit/systems.csv\"\n.byte 0\n.previous\n");
extern const char systems_text[];

struct trust_least trust_least(const struct candidate *c, const struct want *w)
{
    const struct replica *r = &c->replica;
    const struct device *d = r->device;
    const struct traffic *t = w->traffic;
    const struct device_precision *p = r->setup.precision;
    struct device_setup whole = {.shape = w->shape, .precision = p, .tp = 1, .pp = 1};
    struct trust_least least = {1, "memory"};
    struct device_step prompt, token;
    double past = floor(t->cached * t->prompt), context = t->prompt + t->answer / 2;
    double memory = d->memory_bytes > 0 ? work_weight_bytes(&whole) / d->memory_bytes : 0;
    if (memory > least.chips) least.chips = memory;
    if (device_prefill(d, &r->setup, 1, fmax(1, t->prompt - past), past, &prompt, NULL) ||
        device_decode(d, &r->setup, 1, context, &token, NULL))
        return least;
    double ops = (prompt.ops + t->answer * token.ops) / r->groups,
           bytes = work_token_bytes(&whole) * context * t->answer;
    double by_ops = t->rate * ops / class_peak(d, p->bits), by_bytes = t->rate * bytes / d->memory_rate;
    if (by_ops > least.chips) least = (struct trust_least){by_ops, "operations"};
    if (by_bytes > least.chips) least = (struct trust_least){by_bytes, "memory rate"};
    return least;
}

bool trust_systems(struct trust_systems *out, const char *chip)
{
    for (const char *line = strchr(systems_text, '\n'); line; line = strchr(line + 1, '\n')) {
        *out = (struct trust_systems){.rows = 0};
        if (sscanf(line + 1, "%31[^,\n],%d,%lf,%lf,%lf", out->chip, &out->rows, &out->median, &out->p90,
                   &out->bias) == 5 &&
            !strcmp(out->chip, chip ? chip : "all"))
            return true;
    }
    return false;
}
