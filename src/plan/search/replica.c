/* SPDX-License-Identifier: Apache-2.0 */
/* See replica.h. */
#include "plan/search/replica.h"

#include <math.h>

enum { LANES_MAX = 4096, TYPICAL_BATCH = 8 };

static double head_ops(const struct replica *r, double rows)
{
    return 2 * rows * r->setup.shape->hidden * r->setup.shape->vocab;
}

/* Joules of a step's work without what counts by time; 0 if the datasheet does not say enough. */
static double work_joules(const struct replica *r, const struct device_step *t, double ops_share)
{
    double j = t->joule[DEVICE_OPERATIONS] * ops_share + t->joule[DEVICE_MEMORY] + t->joule[DEVICE_WIRES];
    return r->has_joules && j > 0 ? j / r->groups : 0;
}

static double static_joules(const struct replica *r, const struct device_step *t, double seconds)
{
    return r->has_joules ? t->static_watts * seconds / r->lanes : 0;
}

static struct sim_cost dense(void *ud, double rows, double out)
{
    const struct replica *r = ud;
    struct device_step all, some;
    struct err e;
    if (device_decode(r->device, &r->setup, rows, 0, &all, &e) ||
        device_decode(r->device, &r->setup, out, 0, &some, &e))
        return (struct sim_cost){-1, 0};
    double s = all.seconds - all.part[DEVICE_ATTENTION] - all.part[DEVICE_HEAD] - all.part[DEVICE_HOST] +
               some.part[DEVICE_HEAD] + some.part[DEVICE_HOST];
    double share = 1 - fmin(1, head_ops(r, (rows - out) * r->groups) / all.ops);
    return (struct sim_cost){fmax(0, s), work_joules(r, &all, share) + static_joules(r, &all, s)};
}

static struct sim_cost decode(void *ud, double batch, double context)
{
    const struct replica *r = ud;
    struct device_step with, without;
    struct err e;
    if (device_decode(r->device, &r->setup, batch, context, &with, &e) ||
        device_decode(r->device, &r->setup, batch, 0, &without, &e))
        return (struct sim_cost){-1, 0};
    double s = with.part[DEVICE_ATTENTION];
    return (struct sim_cost){s, fmax(0, work_joules(r, &with, 1) - work_joules(r, &without, 1)) +
                                    static_joules(r, &with, s)};
}

static struct sim_cost prompt(void *ud, double tokens)
{
    const struct replica *r = ud;
    struct device_setup s = r->setup;
    struct device_step all, rows;
    struct err e;
    s.pp = 1; /* all layers, one after the other */
    if (device_prefill(r->device, &s, 1, tokens, 0, &all, &e) ||
        device_decode(r->device, &s, tokens, 0, &rows, &e))
        return (struct sim_cost){-1, 0};
    double more = fmax(0, all.ops - (rows.ops - head_ops(r, (tokens - 1) * r->groups))) / all.ops,
           t = all.part[DEVICE_ATTENTION];
    double j = r->has_joules ? all.joule[DEVICE_OPERATIONS] * fmin(1, more) / r->groups +
                                   static_joules(r, &all, t) * r->setup.pp
                             : 0;
    return (struct sim_cost){t, j};
}

struct sim_model replica_model(const struct replica *r)
{
    union {
        const struct replica *in;
        void *out;
    } ud = {.in = r};
    return (struct sim_model){ud.out, dense, decode, prompt};
}

static int one(int n)
{
    return n > 1 ? n : 1;
}

int replica_open(struct replica *r, const struct device *d, const struct device_setup *s, double in,
                 double out, struct err *e)
{
    struct device_fit fit;
    struct device_step t, prompt;
    *r = (struct replica){.device = d, .setup = *s};
    r->setup.tp = one(s->tp), r->setup.pp = one(s->pp);
    int rc = device_fit(d, s, 1, in + out, &fit, e);
    if (!rc && !fit.fits) rc = err(e, ERR_LIMIT, "%s", fit.why);
    if (!rc) rc = device_decode(d, s, TYPICAL_BATCH, in + out / 2, &t, e);
    if (!rc) rc = device_prefill(d, s, 1, in, 0, &prompt, e);
    if (rc) return rc;
    double stages = round(t.seconds / t.interval), most = figures_value(&d->figures, FIGURE_model_batch);
    r->groups = s->ep > r->setup.tp ? s->ep / r->setup.tp : 1;
    /* as many batches as the cache has room for */
    stages = fmin(fmin(stages, LANES_MAX), floor(fit.tokens / (in + out)));
    r->lanes = r->groups * (stages < 1 ? 1 : (int)stages);
    r->chips = device_chips(s);
    r->tokens = fit.tokens * r->groups / r->lanes; /* of one chip's cache: that of its group */
    r->evidence = t.evidence;
    r->error = fmax(t.error, prompt.error);
    r->note = prompt.error > t.error ? prompt.note : t.note;
    r->batch_max = most >= 1 && most < REPLICA_BATCH_MAX ? (int)most : REPLICA_BATCH_MAX;
    r->has_joules = isfinite(t.joules);
    return 0;
}

struct replica_flow replica_flow(const struct replica *r, double batch, double in, double out, double cached)
{
    union {
        const struct replica *in;
        void *out;
    } ud = {.in = r};
    double past = fmax(0, floor(cached * in) - 1), rows = in - past; /* the last token is fed for its logits */
    struct replica_flow f = {0};
    double chunk = fmin(2048, rows), base = dense(ud.out, batch, batch).s;
    f.step_s = base + decode(ud.out, batch, in + out / 2).s;
    double added = (dense(ud.out, batch + chunk, fmin(batch + 1, batch + chunk)).s - base) * rows / chunk;
    added += prompt(ud.out, in).s - (past > 0 ? prompt(ud.out, past).s : 0);
    f.prompt_s = fmax(added, 0);
    f.rate = batch / (out * f.step_s + batch * f.prompt_s);
    f.tpot_s = f.step_s + batch * f.prompt_s / out;
    f.prompt_share = f.rate * f.prompt_s;
    return f;
}
