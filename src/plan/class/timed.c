/* SPDX-License-Identifier: Apache-2.0 */
/* See timed.h. */
#include "plan/class/timed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "plan/class/shape_model.h"
#include "plan/class/work.h"

int timed_split(const char *text, char name[TIMED_NAME_MAX], int *chips, struct err *e)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    *chips = 1;
    if (colon) {
        char *end;
        long v = strtol(colon + 1, &end, 10);
        if (end == colon + 1 || *end || v < 1 || v > DEVICE_CHIPS_MAX)
            return err(e, ERR_USAGE, "chip '%s': expected NAME or NAME:N with N in 1..%d", text, DEVICE_CHIPS_MAX);
        *chips = (int)v;
    }
    if (n >= TIMED_NAME_MAX) return err(e, ERR_USAGE, "a chip's name of %zu bytes", n);
    memcpy(name, text, n);
    name[n] = 0;
    return 0;
}

static int open_parts(struct timed *t, const char *text, const struct model *m, int n_ctx, struct err *e)
{
    char name[TIMED_NAME_MAX];
    struct device_fit fit;
    int chips, rc;
    if ((rc = timed_split(text, name, &chips, e))) return rc;
    rc = device_open(&t->device, name, NULL, &t->fault);
    if (rc == ERR_UNSUPPORTED) return 0; /* what a time needs is not published: only bits then */
    if (rc) return err(e, rc, "%s", t->fault.msg);
    shape_from_model(&t->shape, &t->precision, m);
    t->setup.shape = &t->shape, t->setup.precision = &t->precision;
    device_split(t->device, &t->setup, chips);
    if ((rc = device_fit(t->device, &t->setup, 1, n_ctx, &fit, e))) return rc;
    return fit.fits ? 0
                    : err(e, ERR_LIMIT, "this model with a context of %d tokens on %s: %s (%s:%d)", n_ctx,
                          name, fit.why, name, fit.chips);
}

int timed_open(struct timed **out, const char *name, const struct model *m, int n_ctx, struct err *e)
{
    struct timed *t = calloc(1, sizeof *t);
    *out = NULL;
    int rc = t ? open_parts(t, name, m, n_ctx, e) : err(e, ERR_MEMORY, "out of memory");
    if (rc) timed_close(t);
    else *out = t;
    return rc;
}

void timed_close(struct timed *t)
{
    if (t) device_close(t->device);
    free(t);
}

void timed_watch(void *ud, const struct batch *b)
{
    struct timed *t = ud;
    struct device_mix mix[WORK_PARTS];
    struct device_step step;
    int n = 0, rows = 0;
    for (int i = 0; i < b->n_parts; i++) {
        const struct batch_part *p = &b->parts[i];
        rows += p->n;
        if (n < WORK_PARTS) mix[n++] = (struct device_mix){1, p->n, p->pos};
        else mix[n - 1].batch++; /* more sequences than a list has room for count as the last one */
    }
    if (t->fault.code || device_mixed(t->device, &t->setup, mix, n, fmax(1, b->n_out), &step, &t->fault)) return;
    struct timed_sum *s = rows > b->n_parts ? &t->prompt : &t->token;
    s->steps++, s->tokens += rows, s->seconds += step.seconds, s->wrong += step.error * step.seconds,
        s->floor += step.floor, s->joules += step.joules;
    for (int i = 0; i < DEVICE_PARTS; i++) s->part[i] += step.part[i];
    t->evidence = evidence_worse(t->evidence, step.evidence);
    t->joules_evidence = evidence_worse(t->joules_evidence, step.joules_evidence);
}

static void report_sum(const struct timed_sum *s, const char *title, struct buf *out)
{
    if (s->steps < 1) return;
    buf_printf(out, "%-8s %.0f tokens in %.0f steps: %.4g ms (floor %.4g ms), %.4g tokens/s, ", title,
               s->tokens, s->steps, 1e3 * s->seconds, 1e3 * s->floor, s->tokens / s->seconds);
    if (isnan(s->joules)) buf_printf(out, "J n/p;");
    else buf_printf(out, "%.4g J, %.4g J/token;", s->joules, s->joules / s->tokens);
    for (int i = 0; i < DEVICE_PARTS; i++)
        if (s->part[i] > 0.005 * s->seconds)
            buf_printf(out, " %s %.0f %%", device_part_name[i], 100 * s->part[i] / s->seconds);
    buf_append_char(out, '\n');
}

void timed_report(const struct timed *t, struct buf *out)
{
    const struct device *d = t->device;
    if (!d) {
        buf_printf(out, "chip:    time and energy n/p: %s; bits by the contract's kernels on this CPU\n", t->fault.msg);
        return;
    }
    buf_printf(
        out, "chip:    %d x %s, %s; class %s, simulated by %s; bits by the contract's kernels on this CPU\n",
        device_chips(&t->setup), d->figures.chip, d->title, d->class, d->level);
    if (t->fault.code) buf_printf(out, "time:    not counted: %s\n", t->fault.msg);
    report_sum(&t->prompt, "prompts:", out);
    report_sum(&t->token, "tokens:", out);
    buf_printf(out, "trust:   time %s, energy %s", evidence_name[t->evidence], evidence_name[t->joules_evidence]);
    double seconds = t->prompt.seconds + t->token.seconds,
           error = seconds > 0 ? (t->prompt.wrong + t->token.wrong) / seconds : d->error;
    if (isnan(error)) buf_append_z(out, "; expected error unknown\n");
    else buf_printf(out, "; expected error of a time %.0f %% (%s)\n", 100 * error, evidence_name[d->error_evidence]);
}
