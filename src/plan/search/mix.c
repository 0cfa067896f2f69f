/* SPDX-License-Identifier: Apache-2.0 */
/* See mix.h. */
#include "plan/search/mix.h"

#include <math.h>
#include <stdlib.h>
#include "plan/class/work.h"

static const double FULL = 0.8;       /* of a link, beyond which transfers queue */
static const double ENTRY_SHARE = 0.25; /* of the TTFT limit: what a request may wait for its place among the answers */

/* --- two pools --------------------------------------------------------------------------------------------- */

/* The same requests with one token of answer, or with all of the prompt in the cache. */
static int traffic_of_pool(struct traffic *out, const struct traffic *t, bool prompts, struct err *e)
{
    *out = *t;
    if (prompts) out->answer = 1;
    else out->cached = 1;
    if (!t->trace.n) return 0;
    int rc = sim_load_share(&out->trace, &t->trace, 0, 1, e);
    for (int i = 0; !rc && i < out->trace.n; i++) {
        struct sim_request *r = &out->trace.requests[i];
        if (prompts) r->answer = 1;
        else r->group = r->prefix = 0;
    }
    return rc;
}

static int search_pool(struct search_chip *chips, const struct search_space *space, const struct want *w,
                       bool prompts, struct err *e)
{
    struct traffic t;
    struct want pool = *w;
    int rc = traffic_of_pool(&t, w->traffic, prompts, e);
    pool.traffic = &t;
    pool.watts = pool.dollars = 0;
    if (prompts) pool.limits.tpot_s = 0;
    else pool.limits.ttft_s *= ENTRY_SHARE;
    if (!rc) rc = search_run(chips, space, &pool, e);
    if (t.trace.requests != w->traffic->trace.requests) sim_load_finish(&t.trace);
    for (int i = 0; i < space->n_devices && !rc; i++) chips[i].best.policy.seed = w->seed;
    return rc;
}

static struct mix_pair make_pair(const struct search_chip *a, const struct search_chip *b,
                                 const struct want *w, const struct mix_link *link)
{
    const struct candidate *x = &a->best, *y = &b->best;
    const struct traffic *t = w->traffic;
    struct device_setup whole = {.shape = w->shape, .precision = x->replica.setup.precision, .tp = 1, .pp = 1};
    struct mix_pair p = {.prompt = a,
                         .answer = b,
                         .dollars_hour = x->cost.hour + y->cost.hour,
                         .chips = candidate_chips(x) + candidate_chips(y),
                         .watts_limit = x->cost.watts_limit + y->cost.watts_limit,
                         .ttft99 = x->sum.ttft99};
    double tokens = fmax(1, t->answer - 1), each = t->rate / x->replicas, layers = w->shape->layers;
    p.bytes = work_token_bytes(&whole) * t->prompt;
    p.transfer_s = link->hop + p.bytes / link->rate;
    p.delay_s = link->hop + fmax(p.bytes / link->rate - x->fastest_ttft, p.bytes / link->rate / layers);
    p.use = each * p.bytes / link->rate;
    p.tpot99 = y->sum.tpot99 + (p.delay_s + y->sum.ttft50) / tokens;
    /* The slowest link: full at FULL, or its delay takes all that the limit leaves. */
    double spare = w->limits.tpot_s > 0
                       ? (w->limits.tpot_s - y->sum.tpot99) * tokens - y->sum.ttft50 - link->hop
                       : HUGE_VAL;
    p.least_rate = each * p.bytes / FULL;
    if (spare <= 0) p.least_rate = HUGE_VAL;
    else p.least_rate = fmax(p.least_rate, fmax(p.bytes / layers / spare, p.bytes / (x->fastest_ttft + spare)));
    p.meets = link->rate >= p.least_rate;
    return p;
}

static bool better(const struct mix_pair *a, const struct mix_pair *b)
{
    if (a->meets != b->meets) return a->meets;
    if (isnan(a->dollars_hour) != isnan(b->dollars_hour)) return isnan(b->dollars_hour);
    if (isnan(a->dollars_hour)) return a->chips < b->chips;
    return a->dollars_hour < b->dollars_hour;
}

static void keep(struct mix *m, const struct mix_pair *p)
{
    int i = m->n_pairs;
    if (i == MIX_PAIRS && !better(p, &m->pair[i - 1])) return;
    if (i == MIX_PAIRS) i--;
    else m->n_pairs++;
    for (; i > 0 && better(p, &m->pair[i - 1]); i--) m->pair[i] = m->pair[i - 1];
    m->pair[i] = *p;
}

int mix_run(struct mix *m, const struct search_space *space, const struct want *w,
            const struct mix_link *link, struct err *e)
{
    *m = (struct mix){.n = space->n_devices};
    m->prompt = calloc((size_t)m->n, sizeof *m->prompt);
    m->answer = calloc((size_t)m->n, sizeof *m->answer);
    int rc = m->prompt && m->answer ? 0 : err(e, ERR_MEMORY, "out of memory for two pools");
    if (!rc) rc = search_pool(m->prompt, space, w, true, e);
    if (!rc) rc = search_pool(m->answer, space, w, false, e);
    for (int i = 0; i < m->n && !rc; i++)
        for (int k = 0; k < m->n; k++) {
            if (!m->prompt[i].found || !m->answer[k].found) continue;
            struct mix_pair p = make_pair(&m->prompt[i], &m->answer[k], w, link);
            keep(m, &p);
        }
    return rc;
}

void mix_close(struct mix *m)
{
    free(m->prompt);
    free(m->answer);
    m->prompt = m->answer = NULL;
}

/* --- through each layer ------------------------------------------------------------------------------------ */

enum { NO_FFN = 1 }; /* an inner width that is next to nothing */

/* Chips of d that hold `tokens` of cache beside the weights of a shape; how they share it goes to s. 0: too many. */
static int least_chips(const struct device *d, struct device_setup *s, double batch, double tokens)
{
    struct device_fit f;
    device_split(d, s, 1);
    if (device_fit(d, s, batch, tokens, &f, NULL) || !f.chips) return 0;
    device_split(d, s, f.chips);
    return device_chips(s);
}

static double alone(const struct device *d, const struct device_precision *p, const struct want *w,
                    double batch, double context)
{
    struct device_setup s = {.shape = w->shape, .precision = p};
    struct device_step t;
    int n = least_chips(d, &s, batch, context);
    return n && device_decode(d, &s, batch, context, &t, NULL) == 0 ? batch / t.interval / n : 0;
}

int mix_cut(struct mix_cut out[MIX_CUTS], int chips[2], const struct device *a, const struct device *b,
            const struct device_precision *p, const struct want *w, const struct mix_link *link,
            struct err *e)
{
    struct shape attention = *w->shape, ffn = *w->shape;
    double context = w->traffic->prompt + w->traffic->answer / 2, most = exp2(MIX_CUTS - 1);
    attention.inter = attention.dense_inter = NO_FFN,
    attention.experts = attention.topk = attention.dense_layers = attention.shared = 0;
    ffn.heads = ffn.kv_heads = 1, ffn.head_dim = 1, ffn.latent = 0;
    struct device_setup sa = {.shape = &attention, .precision = p}, sb = {.shape = &ffn, .precision = p};
    chips[0] = least_chips(a, &sa, 2 * most / 4, context); /* two batches of a quarter of the largest */
    chips[1] = least_chips(b, &sb, 1, 1);
    if (!chips[0] || !chips[1])
        return err(e, ERR_LIMIT, "attention on %s and feed-forward on %s: no number of chips holds its part",
                   a->figures.chip, b->figures.chip);
    int n = 0;
    for (double batch = 1; n < MIX_CUTS && batch <= most / 4; batch *= 2, n++) {
        struct device_step t, u;
        int rc = device_decode(a, &sa, batch, context, &t, e);
        if (!rc) rc = device_decode(b, &sb, batch, 0, &u, e);
        if (rc) return rc;
        struct mix_cut *c = &out[n];
        double bytes = batch * w->shape->hidden * p->act_bytes;
        *c = (struct mix_cut){.batch = batch,
                              .attention_s = t.seconds,
                              .ffn_s = u.seconds - u.part[DEVICE_ATTENTION] - u.part[DEVICE_HEAD]};
        c->link_s = 2 * w->shape->layers * (link->hop + bytes / link->rate);
        /* until the same batch is at the same place */
        double turn = fmax(2 * fmax(c->attention_s, c->ffn_s), c->attention_s + c->ffn_s + c->link_s);
        c->tpot_s = turn;
        c->chip_rate = 2 * batch / turn / (chips[0] + chips[1]);
        c->alone_rate[0] = alone(a, p, w, batch, context);
        c->alone_rate[1] = alone(b, p, w, batch, context);
    }
    return n;
}
