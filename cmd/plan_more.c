/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tutti plan computes beyond its table, if asked: pools of two kinds of chips, a cut through each layer,
 * a fleet by hour, a large cluster with failures, a training step, the timeline of a lane.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include "cmd.h"
#include "common.h"
#include "plan.h"

enum { NAME_MAX_OF_CHIP = 64 };

/* --- computing --------------------------------------------------------------------------------------------- */

static const struct device *find_chip(const struct plan *p, const char *name, size_t n)
{
    for (int i = 0; i < p->n_devices; i++) {
        const struct figures *f = &p->devices[i]->figures;
        char text[NAME_MAX_OF_CHIP];
        snprintf(text, sizeof text, "%.*s", (int)n, name);
        if (!strcmp(f->chip, text) || figures_has_name(&f->aliases, text)) return p->devices[i];
    }
    return NULL;
}

static int make_cut(struct plan *p, const char *pair, const struct search_space *space, struct err *e)
{
    struct plan_more *m = &p->more;
    size_t n = strcspn(pair, ":");
    if (!pair[n]) return err(e, ERR_USAGE, "--cut: '%s'; say for example h200:b200", pair);
    m->cut_on[0] = find_chip(p, pair, n);
    m->cut_on[1] = find_chip(p, pair + n + 1, strlen(pair + n + 1));
    if (!m->cut_on[0] || !m->cut_on[1])
        return err(e, ERR_NOT_FOUND, "--cut %s: both chips must be among those that are planned with", pair);
    m->n_cut = mix_cut(m->cut, m->cut_chips, m->cut_on[0], m->cut_on[1], space->precision[0], &p->want, &m->link, e);
    m->has_cut = m->n_cut > 0;
    return m->n_cut < 0 ? m->n_cut : 0;
}

static void keep_step(void *ud, const struct sim_step *s)
{
    struct plan_timeline *t = ud;
    if (t->n < PLAN_TIMELINE_MAX) t->step[t->n++] = *s;
}

static int make_timeline(struct plan_timeline *out, struct candidate *c, const struct want *w, struct err *e)
{
    struct sim_time t;
    struct sim_stats st;
    struct sim_sum sum;
    int lanes = c->replicas * c->replica.lanes, rc = candidate_table(&t, c, w, e);
    if (rc) return rc;
    rc = candidate_try(c, w, &t, w->traffic->rate / lanes, lanes, PLAN_TIMELINE_MAX / 10, &st, &sum, keep_step, out, e);
    sim_time_finish(&t);
    return rc;
}

static int write_timeline(const struct plan_timeline *t, const char *path, struct err *e)
{
    FILE *f = fopen(path, "wb");
    if (!f) return err(e, ERR_IO, "%s: %s", path, strerror(errno));
    fputs("{\"traceEvents\": [", f);
    for (int i = 0; i < t->n; i++) {
        const struct sim_step *s = &t->step[i];
        fprintf(
            f,
            "%s\n{\"name\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, \"dur\": %.3f, \"args\": {\"steps\": %lld, \"answers\": %d, \"prompt_tokens\": %d, \"waiting\": %d, \"pages\": %lld}}",
            i ? "," : "", s->prompt_tokens ? "prompts" : "answers", 1e-3 * (double)s->begin_ns,
            1e-3 * (double)(s->ns * s->times), (long long)s->times, s->answers, s->prompt_tokens, s->waiting,
            (long long)s->pages_used);
    }
    fputs("\n]}\n", f);
    bool bad = ferror(f);
    return fclose(f) || bad ? err(e, ERR_IO, "%s: %s", path, strerror(errno)) : 0;
}

static int make_fleet(struct plan *p, const struct plan_asked *o, struct err *e)
{
    struct plan_more *m = &p->more;
    struct candidate *c = &p->chips[0].best;
    struct fleet_grid g;
    double begin = common_now();
    int rc = fleet_grid(&g, c, &p->want, e);
    if (rc) return rc;
    if (o->day) fleet_day(m->day, &g, c, &p->want, NULL);
    m->has_day = o->day;
    if (!o->cluster) return 0;
    m->cluster_chips = o->cluster, m->cluster_share = (double)o->share, m->train_tokens = (double)o->train;
    m->trouble = fleet_trouble(c->replica.device);
    rc = fleet_cluster(&m->cluster, &g, c, &p->want, o->cluster, m->cluster_share, &m->trouble, e);
    m->has_cluster = rc == 0;
    m->cluster_s = common_now() - begin;
    if (!rc && o->train > 0)
        rc = fleet_train(&m->train, c->replica.device, &p->shape, o->cluster, m->train_tokens, 8192,
                         &m->trouble, e);
    m->has_train = !rc && o->train > 0;
    return rc;
}

int plan_more(struct plan *p, const struct plan_asked *o, const struct search_space *space, struct err *e)
{
    struct plan_more *m = &p->more;
    int rc = 0;
    m->link = (struct mix_link){50e9, 10e-6};
    if (o->link) rc = traffic_link(&m->link.rate, o->link, "--link", e);
    if (!rc && o->hop) rc = traffic_seconds(&m->link.hop, o->hop, "--link-latency", e);
    if (!rc && o->mix) rc = mix_run(&m->mix, space, &p->want, &m->link, e);
    m->has_mix = !rc && o->mix;
    if (!rc && o->cut) rc = make_cut(p, o->cut, space, e);
    if (!rc && plan_best(p)) rc = make_timeline(&m->timeline, &p->chips[0].best, &p->want, e);
    if (!rc && plan_best(p) && o->timeline) rc = write_timeline(&m->timeline, o->timeline, e);
    if (!rc && plan_best(p) && (o->day || o->cluster)) rc = make_fleet(p, o, e);
    return rc;
}

/* --- text -------------------------------------------------------------------------------------------------- */

static const char *dollars(double v, char out[32])
{
    if (isnan(v)) snprintf(out, 32, "n/p");
    else snprintf(out, 32, "$%.4g", v);
    return out;
}

static void print_mix(const struct plan *p, FILE *f)
{
    const struct plan_more *m = &p->more;
    char a[PLAN_TEXT_MAX], b[PLAN_TEXT_MAX], d[32];
    fprintf(
        f,
        "\nPrompts on one chip, answers on another; the cache goes over %.4g GB/s and %.3g us from each replica of prompts\n",
        1e-9 * m->link.rate, 1e6 * m->link.hop);
    for (int i = 0; i < m->mix.n_pairs; i++) {
        const struct mix_pair *x = &m->mix.pair[i];
        fprintf(
            f,
            "  %-10s %-14s -> %-10s %-14s %6d chips %10s/h  TTFT p99 %.3g s  TPOT p99 %.3g ms  cache %.3g MB, %.3g ms (%.3g seen), link %.0f %% used, least %s",
            x->prompt->device->figures.chip, plan_split(&x->prompt->best, a), x->answer->device->figures.chip,
            plan_split(&x->answer->best, b), x->chips, dollars(x->dollars_hour, d), x->ttft99,
            1e3 * x->tpot99, 1e-6 * x->bytes, 1e3 * x->transfer_s, 1e3 * x->delay_s, 100 * x->use,
            x->meets ? "" : "(too slow) ");
        if (isfinite(x->least_rate)) fprintf(f, "%.3g GB/s\n", 1e-9 * x->least_rate);
        else fputs("none is fast enough\n", f);
    }
    const struct search_chip *one = plan_best(p);
    const struct mix_pair *two = m->mix.n_pairs ? &m->mix.pair[0] : NULL;
    if (!two) fputs("  no two pools meet what was asked\n", f);
    else if (!one) fputs("  no single kind of chip meets what was asked\n", f);
    else if (!isnan(two->dollars_hour) && !isnan(one->best.cost.hour))
        fprintf(f, "  against %s alone at $%.4g/h: %+.0f %%%s\n", one->device->figures.chip,
                one->best.cost.hour, 100 * (two->dollars_hour / one->best.cost.hour - 1),
                two->dollars_hour < one->best.cost.hour && two->meets
                    ? "; it pays from a link of the least rate on"
                    : "; it does not pay");
}

static void print_cut(const struct plan *p, FILE *f)
{
    const struct plan_more *m = &p->more;
    const char *a = m->cut_on[0]->figures.chip, *b = m->cut_on[1]->figures.chip;
    fprintf(
        f,
        "\nAttention on %d %s, feed-forward on %d %s, two batches taking turns, link %.4g GB/s and %.3g us\n%8s %12s %12s %10s %10s %14s %14s %14s\n",
        m->cut_chips[0], a, m->cut_chips[1], b, 1e-9 * m->link.rate, 1e6 * m->link.hop, "batch",
        "attention ms", "ffn ms", "link ms", "TPOT ms", "tok/s per chip", a, b);
    for (int i = 0; i < m->n_cut; i++) {
        const struct mix_cut *c = &m->cut[i];
        fprintf(f, "%8.0f %12.3f %12.3f %10.3f %10.3f %14.4g %14.4g %14.4g\n", c->batch, 1e3 * c->attention_s,
                1e3 * c->ffn_s, 1e3 * c->link_s, 1e3 * c->tpot_s, c->chip_rate, c->alone_rate[0],
                c->alone_rate[1]);
    }
}

static void print_day(const struct plan *p, FILE *f)
{
    double all = 0;
    fprintf(
        f,
        "\nThe first plan by hour of a usual day (a quarter of the traffic at 4, all of it at 16)\n%4s %11s %9s %6s %6s %7s %9s %9s\n",
        "hour", "requests/s", "replicas", "spare", "used", "met", "kW", "$");
    for (int h = 0; h < FLEET_HOURS; h++) {
        const struct fleet_hour *o = &p->more.day[h];
        fprintf(f, "%4d %11.4g %9d %6d %4.0f %% %5.1f %% %9.4g %9.4g\n", h, o->rate, o->replicas, o->spare,
                100 * o->use, 100 * o->met, 1e-3 * o->watts, o->dollars);
        all += o->dollars;
    }
    fprintf(f, "a day: $%.0f\n", all);
}

static void print_cluster(const struct plan *p, FILE *f)
{
    const struct plan_more *m = &p->more;
    const struct fleet_cluster *c = &m->cluster;
    const struct fleet_trouble *t = &m->trouble;
    fprintf(
        f,
        "\nA day of %d %s: %d replicas at %.0f %% of what they can take in the busiest hour (replicas counted by load and slowness, each kind simulated; %.1f s)\n",
        m->cluster_chips, p->chips[0].device->figures.chip, c->replicas, 100 * m->cluster_share,
        m->cluster_s);
    fprintf(
        f,
        "  %.4g requests, %.4g tokens out; %.2f %% within the limits, %.2f %% if nothing broke and all were equal\n",
        c->offered, c->tokens, 100 * c->met, 100 * c->met_untroubled);
    fprintf(
        f,
        "  %.0f nodes of %d chips failed (%.2g per chip and hour, back after %.0f h), %.0f requests began again; %.0f replicas at least, %.1f on average\n",
        c->failures, t->node, t->failures, t->repair_h, c->broken, c->alive_least, c->alive_mean);
    fprintf(
        f,
        "  nodes differ by %.0f %%, %.1f %% of them are %.1f times slower (assumed); a replica is as slow as its slowest node\n",
        100 * t->jitter, 100 * t->slow_share, t->slow_factor);
    if (!isnan(c->watts_mean))
        fprintf(f, "  %.4g MW at the wall, %.3g J per output token\n", 1e-6 * c->watts_mean,
                c->joules / c->tokens);
    if (!m->has_train) return;
    const struct fleet_train *x = &m->train;
    fprintf(f, "\nA training step of %.4g tokens: %d copies of %d chips\n", m->train_tokens, x->copies,
            x->chips_of_copy);
    fprintf(
        f,
        "  %.3f s = compute %.3f + gradients not hidden %.3f + waiting for the slowest %.3f; all-reduce %.3f s below a switch, %.3f s across tiers\n",
        x->step_s, x->compute_s, x->exposed_s, x->straggle_s, x->tier_s[1], x->tier_s[2]);
    fprintf(
        f,
        "  a failure every %.2f h, a checkpoint every %.0f s, %.1f %% of the time lost to both; %.4g tokens/s, %.0f %% of peak\n",
        x->mtbf_h, x->checkpoint_s, 100 * x->lost, x->tokens_s, 100 * x->use);
}

static void print_timeline(const struct plan_timeline *t, FILE *f)
{
    fprintf(
        f,
        "\nTimeline of a lane, its first steps (--timeline FILE: %d of them for Perfetto; equal steps in one line)\n%12s %10s %8s %8s %14s %8s %8s\n",
        t->n, "begin, ms", "step, ms", "times", "answers", "prompt tokens", "waiting", "pages");
    for (int i = 0; i < t->n && i < PLAN_TIMELINE_SHOWN; i++) {
        const struct sim_step *s = &t->step[i];
        fprintf(f, "%12.3f %10.3f %8lld %8d %14d %8d %8lld\n", 1e-6 * (double)s->begin_ns,
                1e-6 * (double)s->ns, (long long)s->times, s->answers, s->prompt_tokens, s->waiting,
                (long long)s->pages_used);
    }
}

void plan_more_text(const struct plan *p, FILE *f)
{
    const struct plan_more *m = &p->more;
    if (m->has_mix) print_mix(p, f);
    if (m->has_cut) print_cut(p, f);
    if (m->has_day) print_day(p, f);
    if (m->has_cluster) print_cluster(p, f);
    if (m->timeline.n) print_timeline(&m->timeline, f);
}

/* --- JSON -------------------------------------------------------------------------------------------------- */

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *mix_json(const struct plan *p)
{
    json_t *all = json_array();
    for (int i = 0; i < p->more.mix.n_pairs; i++) {
        const struct mix_pair *x = &p->more.mix.pair[i];
        json_array_append_new(
            all, json_pack("{s:s, s:i, s:s, s:i, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:b}", "prompts_on",
                           x->prompt->device->figures.chip, "prompt_chips", candidate_chips(&x->prompt->best),
                           "answers_on", x->answer->device->figures.chip, "answer_chips",
                           candidate_chips(&x->answer->best), "cost_per_hour", number(x->dollars_hour),
                           "cache_bytes", x->bytes, "transfer_s", x->transfer_s, "delay_s", x->delay_s,
                           "link_use", x->use, "ttft_p99", x->ttft99, "tpot_p99", x->tpot99, "least_link",
                           number(x->least_rate), "meets", x->meets));
    }
    return all;
}

static json_t *cut_json(const struct plan *p)
{
    json_t *all = json_array();
    for (int i = 0; i < p->more.n_cut; i++) {
        const struct mix_cut *c = &p->more.cut[i];
        json_array_append_new(all, json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:[f, f]}", "batch", c->batch,
                                             "attention_s", c->attention_s, "ffn_s", c->ffn_s, "link_s",
                                             c->link_s, "tpot", c->tpot_s, "chip_tokens_per_s", c->chip_rate,
                                             "alone", c->alone_rate[0], c->alone_rate[1]));
    }
    return all;
}

static json_t *day_json(const struct plan *p)
{
    json_t *all = json_array();
    for (int h = 0; h < FLEET_HOURS; h++) {
        const struct fleet_hour *o = &p->more.day[h];
        json_array_append_new(all, json_pack("{s:i, s:f, s:i, s:i, s:f, s:f, s:o, s:o}", "hour", h,
                                             "requests_per_s", o->rate, "replicas", o->replicas, "spare",
                                             o->spare, "use", o->use, "met", o->met, "watts",
                                             number(o->watts), "cost", number(o->dollars)));
    }
    return all;
}

static json_t *timeline_json(const struct plan_timeline *t)
{
    json_t *all = json_array();
    for (int i = 0; i < t->n; i++) {
        const struct sim_step *s = &t->step[i];
        json_array_append_new(all, json_pack("{s:f, s:f, s:I, s:i, s:i, s:i, s:I}", "begin_s",
                                             1e-9 * (double)s->begin_ns, "step_s", 1e-9 * (double)s->ns,
                                             "times", (json_int_t)s->times, "answers", s->answers,
                                             "prompt_tokens", s->prompt_tokens, "waiting", s->waiting,
                                             "pages", (json_int_t)s->pages_used));
    }
    return all;
}

void plan_more_json(const struct plan *p, json_t *to)
{
    const struct plan_more *m = &p->more;
    if (m->has_mix) json_object_set_new(to, "mix", mix_json(p));
    if (m->has_cut) json_object_set_new(to, "cut", cut_json(p));
    if (m->has_day) json_object_set_new(to, "day", day_json(p));
    if (m->timeline.n) json_object_set_new(to, "timeline", timeline_json(&m->timeline));
    if (m->has_cluster)
        json_object_set_new(to, "cluster",
                            json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "chips",
                                      m->cluster_chips, "replicas", m->cluster.replicas, "requests",
                                      m->cluster.offered, "met", m->cluster.met, "met_untroubled",
                                      m->cluster.met_untroubled, "failures", m->cluster.failures,
                                      "begun_again", m->cluster.broken, "replicas_mean",
                                      m->cluster.alive_mean, "watts", number(m->cluster.watts_mean)));
    if (m->has_train)
        json_object_set_new(to, "train",
                            json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "copies", m->train.copies,
                                      "step_s", m->train.step_s, "compute_s", m->train.compute_s, "exposed_s",
                                      m->train.exposed_s, "straggle_s", m->train.straggle_s, "lost",
                                      m->train.lost, "tokens_per_s", m->train.tokens_s, "use_of_peak",
                                      m->train.use));
}
