/* SPDX-License-Identifier: Apache-2.0 */
/* See pieces.h. */
#include "plan/class/pieces.h"

#include <math.h>
#include <stdio.h>
#include "plan/class/class.h"

static void describe(char *out, size_t cap, const struct work *w)
{
    switch (w->kind) {
    case WORK_PRODUCT: snprintf(out, cap, "product %.0f x %.0f x %.0f", w->m, w->n, w->k); break;
    case WORK_EXPERTS:
        snprintf(out, cap, "%.0f of %.0f experts %.0f x %.0f", w->topk, w->experts, w->k, w->n / w->tp);
        break;
    case WORK_DECODE:
        snprintf(out, cap, "attention %.0f x %.0f heads, %.0f back", w->batch, w->heads, w->length);
        break;
    case WORK_CONTEXT: snprintf(out, cap, "attention of prompts %.0f x %.0f", w->batch, w->length); break;
    case WORK_ROWS: snprintf(out, cap, "element-wise, %.0f rows", w->m); break;
    case WORK_REDUCE: snprintf(out, cap, "all-reduce over %.0f chips", w->chips); break;
    case WORK_EXCHANGE: snprintf(out, cap, "all-to-all over %.0f chips", w->chips); break;
    }
}

int pieces_decode(struct piece out[PIECES_MAX], const struct device *d, const struct device_setup *s,
                  double batch, double context)
{
    struct work_list l;
    work_step(&l, s, &(struct device_mix){batch, 1, context}, 1, batch);
    int n = l.n < PIECES_MAX ? l.n : PIECES_MAX;
    for (int i = 0; i < n; i++) {
        const struct work *w = &l.w[i];
        struct work_sum c = work_count(w, s->precision);
        struct class_time t = d->ops->time(d, s, w);
        struct piece *p = &out[i];
        *p = (struct piece){.part = w->part,
                            .bound = t.software > t.seconds / 2 ? DEVICE_SOFTWARE : t.bound,
                            .times = w->times,
                            .ops = c.ops,
                            .bytes = c.weights + c.cache + c.wire};
        p->floor = fmax(c.ops > 0 ? c.ops / class_peak_of(d, s, w) : 0, (c.weights + c.cache) / d->memory_rate);
        p->seconds = fmax(t.seconds, p->floor);
        describe(p->what, sizeof p->what, w);
    }
    return n;
}
