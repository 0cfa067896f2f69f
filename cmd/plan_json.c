/* SPDX-License-Identifier: Apache-2.0 */
/* tutti plan as JSON. What is not published is null. Seconds, watts, dollars, tokens; shares are 0..1. */
#include <math.h>
#include "base/pace.h"
#include "plan.h"

/* null where there is no number. */
static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static void put(json_t *j, const char *key, double v)
{
    json_object_set_new(j, key, number(v));
}

static json_t *sum_json(const struct sim_sum *s)
{
    json_t *j = json_object();
    put(j, "ttft_p50", s->ttft50), put(j, "ttft_p99", s->ttft99), put(j, "tpot_p50", s->tpot50),
        put(j, "tpot_p99", s->tpot99);
    put(j, "itl_p50", s->itl50), put(j, "itl_p99", s->itl99), put(j, "latency_p50", s->latency50),
        put(j, "latency_p99", s->latency99);
    put(j, "met", s->met), put(j, "batch_mean", s->running), put(j, "busy", s->busy);
    return j;
}

static json_t *price_json(const struct economy_price *v)
{
    return isnan(v->value) ? json_null()
                           : json_pack("{s:f, s:s, s:s}", "value", v->value, "evidence",
                                       evidence_name[v->evidence], "source", v->source);
}

static json_t *cost_json(const struct candidate *c, const struct economy *all)
{
    const struct economy_cost *m = &c->cost;
    json_t *j = json_object();
    json_object_set_new(j, "pay", json_string(m->pay == ECONOMY_RENT ? "rent" : "buy"));
    put(j, "per_hour", m->hour), put(j, "capital_per_hour", m->capital), put(j, "power_per_hour", m->power),
        put(j, "hosting_per_hour", m->hosting);
    put(j, "rent_per_hour", m->rent), put(j, "invest", m->invest),
        put(j, "per_million_output_tokens", 1e6 * c->dollars_per_token);
    put(j, "watts_limit", m->watts_limit), put(j, "watts_mean", m->watts_mean),
        put(j, "watts_chips", m->watts_chips), put(j, "watts_hosts", m->watts_hosts),
        put(j, "joules_per_output_token", c->joules_per_token);
    put(j, "chip_watts_mean", c->chip_watts);
    struct economy_price rent = economy_chip(all, c->replica.device, true),
                         buy = economy_chip(all, c->replica.device, false);
    json_object_set_new(j, "evidence", isnan(m->hour) ? json_null() : json_string(evidence_name[m->evidence]));
    json_object_set_new(j, "rent_of_a_chip", price_json(&rent));
    json_object_set_new(j, "price_of_a_chip", price_json(&buy));
    return j;
}

static json_t *setup_json(const struct candidate *c)
{
    const struct device_setup *s = &c->replica.setup;
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:i, s:i, s:I, s:f}", "replicas", c->replicas,
                     "chips_of_a_replica", c->replica.chips, "tp", s->tp, "pp", s->pp, "ep",
                     s->ep > s->tp ? s->ep : 1, "lanes", c->replica.lanes, "precision", s->precision->name,
                     "max_running", c->policy.max_running, "step_tokens", c->policy.step_tokens,
                     "pages_of_a_lane", (json_int_t)c->policy.pages, "pace",
                     c->policy.pace > 0 ? c->policy.pace : PACE_RATIO);
}

static json_t *points_json(const struct candidate *c)
{
    json_t *all = json_array();
    for (int i = 0; i < c->n_points; i++) {
        const struct candidate_point *p = &c->point[i];
        json_array_append_new(all,
                              json_pack("{s:f, s:f, s:f, s:b}", "batch", p->batch, "user_tokens_per_s",
                                        p->user_rate, "chip_tokens_per_s", p->chip_rate, "meets", p->meets));
    }
    return all;
}

static json_t *systems_json(const char *chip)
{
    struct trust_systems t, *s = &t;
    if (!trust_systems(s, chip)) return json_null();
    return json_pack("{s:i, s:f, s:f, s:f}", "rows", s->rows, "median_error", s->median, "p90_error", s->p90,
                     "bias", s->bias);
}

static json_t *chip_json(const struct plan *p, const struct search_chip *s)
{
    const struct candidate *c = &s->best;
    const struct device *d = s->device;
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:b, s:i, s:i}", "chip", d->figures.chip, "name", d->title,
                          "class", d->class, "level", d->level, "meets", s->found, "setups_screened",
                          s->screened, "simulated", s->simulated);
    if (!s->found) {
        json_object_set_new(j, "why", json_string(s->why));
        return j;
    }
    int n = candidate_chips(c);
    json_object_set_new(j, "chips", json_integer(n));
    json_object_set_new(j, "setup", setup_json(c));
    put(j, "output_tokens_per_s_per_chip", p->traffic.rate * p->traffic.answer / n);
    put(j, "max_requests_per_s", c->lane_rate * c->replicas * c->replica.lanes);
    json_object_set_new(j, "served", sum_json(&c->sum));
    json_object_set_new(j, "cost", cost_json(c, &p->economy));
    json_object_set_new(j, "evidence", json_string(evidence_name[c->evidence]));
    put(j, "expected_error", c->error);
    put(j, "expected_error_of_chip", d->error);
    json_object_set_new(j, "expected_error_evidence",
                        isnan(d->error) ? json_null() : json_string(evidence_name[d->error_evidence]));
    json_object_set_new(j, "expected_error_source", json_string(d->error_source));
    json_object_set_new(j, "energy_evidence",
                        c->replica.has_joules ? json_string(evidence_name[c->energy_evidence]) : json_null());
    struct trust_least least = trust_least(c, &p->want);
    put(j, "least_chips", least.chips);
    json_object_set_new(j, "least_chips_by", json_string(least.by));
    json_object_set_new(j, "systems", systems_json(d->figures.chip));
    if (c->replica.note) json_object_set_new(j, "note", json_string(c->replica.note));
    json_object_set_new(j, "pareto", points_json(c));
    return j;
}

static json_t *step_json(const struct device_step *t)
{
    json_t *j = json_object(), *part = json_object(), *resource = json_object(), *joules = json_object();
    for (int i = 0; i < DEVICE_PARTS; i++) put(part, device_part_name[i], t->part[i]);
    for (int i = 0; i < DEVICE_RESOURCES; i++) put(resource, device_resource_name[i], t->resource[i]);
    for (int i = 0; i < DEVICE_JOULES; i++) put(joules, device_joules_name[i], t->joule[i]);
    put(j, "seconds", t->seconds), put(j, "floor", t->floor), put(j, "use_of_compute", t->use_compute),
        put(j, "use_of_memory", t->use_memory);
    json_object_set_new(j, "parts", part);
    json_object_set_new(j, "waits_for", resource);
    json_object_set_new(j, "joules", joules);
    return j;
}

static json_t *analysis_json(const struct analysis *a)
{
    json_t *j = json_object(), *load = json_array(), *room = json_array(), *bars = json_array();
    for (int i = 0; i < a->n_load; i++) {
        json_t *l = sum_json(&a->load[i].sum);
        put(l, "requests_per_s", a->load[i].rate), put(l, "goodput", a->load[i].sum.goodput);
        json_array_append_new(load, l);
    }
    for (int i = 0; i < CAPACITY_ROWS; i++)
        json_array_append_new(room, json_pack("{s:f, s:f, s:i}", "context", a->capacity[i].context,
                                              "users_of_a_replica", a->capacity[i].users, "fewest_chips",
                                              a->capacity[i].chips));
    for (int i = 0; i < a->n_bars; i++) {
        const struct bar *b = &a->bars[i];
        json_array_append_new(bars,
                              json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:s, s:s}", "assumption",
                                        b->name, "unit", b->unit, "now", b->now, "low", b->low, "high",
                                        b->high, "at_low", b->cost_low, "at_high", b->cost_high,
                                        "cheapest_at_low", b->chip_low, "cheapest_at_high", b->chip_high));
    }
    json_object_set_new(j, "load", load);
    json_object_set_new(j, "knee", a->knee >= 0 ? number(a->load[a->knee].rate) : json_null());
    json_object_set_new(j, "capacity", room);
    put(j, "weight_bytes", a->weight_bytes), put(j, "cache_bytes_per_token", a->token_bytes);
    json_object_set_new(j, "decode_step", step_json(&a->decode));
    json_object_set_new(j, "prompt", step_json(&a->prefill));
    json_object_set_new(j, "sensitivity_of", json_string(a->bars_of));
    put(j, "sensitivity_now", a->bars_now);
    json_object_set_new(j, "sensitivity", bars);
    return j;
}

static json_t *asked_json(const struct plan *p)
{
    const struct traffic *t = &p->traffic;
    json_t *j =
        json_pack("{s:s, s:s, s:f, s:f, s:f, s:s}", "model", p->shape.name, "traffic", p->phrase,
                  "requests_per_s", t->rate, "tokens_in", t->prompt, "tokens_out", t->answer, "loop", "open");
    put(j, "ttft_limit", p->want.limits.ttft_s > 0 ? p->want.limits.ttft_s : (double)NAN);
    put(j, "tpot_limit", p->want.limits.tpot_s > 0 ? p->want.limits.tpot_s : (double)NAN);
    put(j, "attain", p->want.attain);
    return j;
}

json_t *plan_json(const struct plan *p)
{
    json_t *j = json_object(), *chips = json_array();
    if (!j || !chips) return NULL;
    json_object_set_new(j, "asked", asked_json(p));
    json_object_set_new(j, "prices_of", json_string(p->economy.date));
    for (int i = 0; i < p->n_devices; i++) json_array_append_new(chips, chip_json(p, &p->chips[i]));
    for (int i = 0; i < p->n_refused; i++)
        json_array_append_new(chips, json_pack("{s:s, s:b, s:s}", "chip", p->refused[i].name, "meets", 0,
                                               "why", p->refused[i].why));
    json_object_set_new(j, "chips", chips);
    if (plan_best(p)) json_object_set_new(j, "best", analysis_json(&p->analysis));
    if (p->nearest.found) {
        json_t *near = chip_json(p, &p->nearest);
        put(near, "ttft_limit", p->relaxed.limits.ttft_s), put(near, "tpot_limit", p->relaxed.limits.tpot_s);
        json_object_set_new(j, "nearest", near);
    }
    json_object_set_new(j, "systems", systems_json(NULL));
    put(j, "seconds", p->seconds);
    plan_more_json(p, j);
    return j;
}
