/* SPDX-License-Identifier: Apache-2.0 */
/* planner: phrases of traffic, money by hand, replicas against their device, a search with its refusals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "plan/search/analysis.h"
#include "plan/search/fleet.h"
#include "plan/search/mix.h"
#include "plan/search/saturated.h"
#include "plan/search/trust.h"

static void near(double a, double b, double share)
{
    if (!(fabs(a - b) <= share * fabs(b))) print_message("%g, expected %g\n", a, b);
    assert_true(fabs(a - b) <= share * fabs(b));
}

static void phrases(void **state)
{
    static const char *const bad[][2] = {
        {"", "not understood"},
        {"500 users", "how many tokens come in"},
        {"500 users, 8k in", "go out"},
        {"500 users, 8k in, 5 out", "how fast"},
        {"8k in, 5 out", "how much"},
        {"-5 users, 30 tok/s, 8k in, 5 out", "'-5 users'"},
        {"5 users, 5 users", "a second time"},
        {"5 users, 3 req/s, 30 tok/s, 8k in, 5 out", "not both"},
        {"5 penguins", "'5 penguins' is not understood"},
        {"50% users", "not understood"},
        {"1e9 users", "not understood"},
        {"0 users", "expected 1.."},
        {"120% cached", "is 1.2; expected 0..1"},
        {"5 users,, 8k in", "not understood"},
        {"/nowhere/trace.csv", "no file"},
        {"5 users 20 tok/s 500 in 200 out", "with commas between them"},
    };
    struct traffic t;
    struct err e = {0};
    (void)state;
    assert_int_equal(traffic_open(&t, "500 users, 30 tok/s each, 8k in, 500 out", &e), 0);
    near(t.rate, 30, 1e-12);
    assert_true(t.prompt == 8192 && t.answer == 500 && t.speed == 30);
    assert_int_equal(
        traffic_open(
            &t,
            " 2k  Users , 20 TOK/S per user,1.5k tokens in,128 output tokens, think 10s , bursts x4, 50% Spread",
            &e),
        0);
    near(t.rate, 2000 / (128 / 20.0 + 10), 1e-12);
    assert_true(t.users == 2000 && t.prompt == 1536 && t.burst == 4 && t.spread == 0.5);
    assert_int_equal(traffic_open(&t, "600 req/min, 40% cached, 100 in, 10 out, even", &e), 0);
    assert_true(t.rate == 10 && t.even && fabs(t.cached - 0.4) < 1e-12);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(traffic_open(&t, bad[i][0], &e) < 0);
        if (!strstr(e.msg, bad[i][1])) print_message("%s\n", e.msg);
        assert_non_null(strstr(e.msg, bad[i][1]));
    }
    double v;
    assert_true(traffic_seconds(&v, "33 ms", "x", &e) == 0 && fabs(v - 0.033) < 1e-12);
    assert_true(traffic_watts(&v, "1MW", "x", &e) == 0 && v == 1e6);
    assert_true(traffic_dollars(&v, "$250k", "x", &e) == 0 && v == 250000);
    assert_int_equal(traffic_seconds(&v, "2", "--ttft", &e), ERR_USAGE);
    assert_int_equal(traffic_watts(&v, "-1W", "--power", &e), ERR_USAGE);
}

/* The published day of 226.75 nodes of 8 chips at 2 dollars an hour: 87,072 dollars, 0.518 per million of 168
 * G tokens. */
static void money_by_hand(void **state)
{
    struct economy m;
    struct device d = {.buy = 30000, .rent = 2, .tdp = 700};
    struct err e = {0};
    (void)state;
    assert_int_equal(economy_open(&m, NULL, &e), 0);
    struct economy_cost c = economy_of(&m, &d, 226.75 * 8, 500, ECONOMY_RENT);
    near(24 * c.hour, 87072, 1e-12);
    near(1e6 * 24 * c.hour / 168e9, 0.518, 1e-3);
    m.value[ECONOMY_PRICE] = 0.1, m.value[ECONOMY_PUE] = 1.25, m.value[ECONOMY_HOST] = 0.5,
    m.value[ECONOMY_HOSTING] = 100, m.value[ECONOMY_LIFE] = 4;
    m.value[ECONOMY_SERVER] = 0.5, m.value[ECONOMY_SPARE] = 0;
    c = economy_of(&m, &d, 10, 400, ECONOMY_BUY);
    near(c.invest, 10 * 30000 * 1.5, 1e-12);
    near(c.capital, 450000 / (4 * 8766.0), 1e-12);
    near(c.watts_mean, 10 * (400 + 350) * 1.25, 1e-12);
    near(c.power, 9.375 * 0.1, 1e-12);
    near(c.hosting, 10 * 1.05 * 100 * 12 / 8766, 1e-12);
    near(c.hour, c.capital + c.power + c.hosting, 1e-12);
    d.buy = d.rent = NAN;
    assert_true(isnan(economy_of(&m, &d, 10, 400, ECONOMY_CHEAPER).hour));
    economy_close(&m);
    assert_int_equal(economy_open(&m, "/nowhere/prices.ini", &e), ERR_IO);
}

/* What --validate --write writes is what plans read: one line for all, one for each chip, rows that are not
 * compared left out. */
static void errors_of_systems(void **state)
{
    struct saturated_row rows[] = {{.sheet = "h100", .measured = 100, .predicted = 90},
                                   {.sheet = "b200", .measured = 100, .predicted = 130},
                                   {.sheet = "h100", .measured = 100, .predicted = 80},
                                   {.sheet = "tpuv4", .measured = 1, .why = "unknown"}};
    struct saturated s = {rows, 4};
    struct err e = {0};
    char *text = NULL;
    size_t n;
    (void)state;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_int_equal(saturated_write(&s, f, &e), 0);
    fclose(f);
    assert_string_equal(
        text,
        "chip,rows,median,p90,bias\nall,3,0.2000,0.3000,0.0000\nh100,2,0.2000,0.2000,-0.1500\nb200,1,0.3000,0.3000,0.3000\n");
    free(text);
}

static void open_h100(struct device **d)
{
    struct err e = {0};
    int rc = device_open(d, "h100", NULL, &e);
    if (rc) print_message("%s\n", e.msg);
    assert_int_equal(rc, 0);
}

/* Tables say what the device says: a step of answers, and a prompt in one piece. */
static void replicas_follow_their_device(void **state)
{
    struct device *d;
    struct shape m;
    struct err e = {0};
    struct replica r;
    struct sim_time t;
    (void)state;
    open_h100(&d);
    assert_int_equal(shape_open(&m, "llama-3.1-8b", &e), 0);
    for (int pp = 1; pp <= 2; pp++) {
        struct device_setup s = {.shape = &m, .precision = device_precision("16-bit"), .tp = 2, .pp = pp, .ep = 1};
        assert_int_equal(replica_open(&r, d, &s, 4096, 500, &e), 0);
        assert_true(r.lanes == pp && r.chips == 2 * pp && r.tokens > 1e5);
        struct sim_model sm = replica_model(&r);
        assert_int_equal(sim_time_init(&t, &sm, 2048, 128, 8192, &e), 0);
        static const int batch[] = {1, 7, 32, 100};
        for (size_t i = 0; i < sizeof batch / sizeof *batch; i++) {
            struct device_step x;
            double j = 0;
            int b = batch[i], c = 60 * SIM_BUCKET + SIM_BUCKET / 2;
            assert_int_equal(device_decode(d, &s, b, c, &x, &e), 0);
            near(1e-9 * (double)(sim_time_decode(&t, b, (int64_t)b * c, &j) + sim_time_dense(&t, b, b, &j)),
                 x.seconds, 0.02);
            /* a lane has its share of the static power; a step alone, all of it until the next can begin */
            if (pp == 1) near(j, x.joules, 0.1);
        }
        struct device_step x;
        double j = 0;
        s.pp = 1;
        assert_int_equal(device_prefill(d, &s, 1, 2048, 0, &x, &e), 0);
        near(1e-9 * (double)(sim_time_piece(&t, 0, 2048, &j) + sim_time_dense(&t, 2048, 1, &j)), x.seconds, 0.02);
        sim_time_finish(&t);
    }
    device_close(d);
}

static void a_search_and_its_refusals(void **state)
{
    struct device *d[2];
    struct shape m;
    struct traffic t;
    struct economy money;
    struct err e = {0};
    struct search_chip found[2], again[2], nearest;
    (void)state;
    open_h100(&d[0]);
    assert_int_equal(device_open(&d[1], "rtx4090", NULL, &e), 0);
    assert_int_equal(shape_open(&m, "llama-3.1-8b", &e), 0);
    assert_int_equal(traffic_open(&t, "20 req/s, 1k in, 200 out, 30% spread", &e), 0);
    assert_int_equal(economy_open(&money, NULL, &e), 0);
    struct want w = {.shape = &m,
                     .traffic = &t,
                     .limits = {1, 0.03},
                     .attain = 0.99,
                     .economy = &money,
                     .seed = 1},
                relaxed;
    struct search_space space = {
        .devices = d, .n_devices = 2, .precision = {device_precision("16-bit")}, .n_precisions = 1};
    assert_int_equal(search_run(found, &space, &w, &e), 0);
    assert_true(found[0].found && found[0].best.meets && found[0].best.sum.met >= 0.99 &&
                found[0].best.sum.ttft99 <= 1 && found[0].best.replicas >= 1);
    const struct candidate *c = &found[0].best;
    assert_true(c->sum.tpot50 >= c->fastest_tpot * 0.98 && c->lane_rate * c->replicas * c->replica.lanes >= 20 * 0.95);
    assert_int_equal(search_run(again, &space, &w, &e), 0);
    assert_true(again[0].best.replicas == c->replicas && again[0].best.stats.end_ns == c->stats.end_ns);

    struct analysis a;
    assert_int_equal(analysis_make(&a, found, 2, &w, &e), 0);
    assert_true(a.n_load == LOAD_POINTS && a.knee >= 4 && a.load[LOAD_POINTS - 1].sum.met < 0.9 && a.n_bars >= 5);
    near(a.weight_bytes, 2 * shape_weights(&m), 1e-9);

    w.limits.tpot_s = 0.0005; /* faster than memory is */
    assert_int_equal(search_run(found, &space, &w, &e), 0);
    assert_true(!found[0].found && found[0].close && strstr(found[0].why, "too slow"));
    assert_int_equal(analysis_nearest(&nearest, &relaxed, found, 2, &w, &e), 1);
    assert_true(nearest.best.meets && relaxed.limits.tpot_s > 0.0005 && relaxed.limits.ttft_s >= 1);

    w.limits.tpot_s = 0.03;
    w.watts = 5;
    assert_int_equal(search_run(found, &space, &w, &e), 0);
    assert_true(!found[0].found && strstr(found[0].why, "W at the wall"));
    economy_close(&money);
    device_close(d[0]);
    device_close(d[1]);
}

/* A limit that is long beside a request: what is served must follow what arrives, or the run was only too
 * short to show it. */
static void growing_queues_do_not_work(void **state)
{
    struct device *d;
    struct shape m;
    struct traffic t;
    struct economy money;
    struct err e = {0};
    struct search_chip found;
    struct analysis a;
    (void)state;
    open_h100(&d);
    assert_int_equal(shape_open(&m, "qwen3-1.7b", &e), 0);
    assert_int_equal(traffic_open(&t, "1 users, 4 tok/s each, 96 in, 100 out", &e), 0);
    assert_int_equal(economy_open(&money, NULL, &e), 0);
    struct want w = {.shape = &m, .traffic = &t, .limits = {5, 0.25}, .attain = 0.99, .economy = &money, .seed = 1};
    struct search_space space = {
        .devices = &d, .n_devices = 1, .precision = {device_precision("16-bit")}, .n_precisions = 1};
    assert_int_equal(search_run(&found, &space, &w, &e), 0);
    assert_true(found.found);
    assert_int_equal(analysis_make(&a, &found, 1, &w, &e), 0);
    assert_true(a.knee >= 4 && a.knee < LOAD_POINTS - 2);
    const struct load_point *knee = &a.load[a.knee];
    if (!(knee->sum.goodput >= 0.88 * knee->rate))
        print_message("%g of %g requests/s\n", knee->sum.goodput, knee->rate);
    assert_true(knee->sum.goodput >= 0.88 * knee->rate && a.load[LOAD_POINTS - 1].sum.met < 0.5);
    economy_close(&money);
    device_close(d);
}

/* Chips of all kinds for a load of long prompts: no fewer than their peaks allow, not absurdly more, and
 * hardly more than needed. */
static void capacities_are_plausible(void **state)
{
    static const char *const names[] = {"h100", "h800", "a100", "tpuv4", "b200", "rtxpro6000", "rngd", "sn40l"};
    enum { N = sizeof names / sizeof *names };
    struct device *d[N];
    struct search_chip found[N];
    struct shape m;
    struct traffic t;
    struct economy money;
    struct err e = {0};
    (void)state;
    for (int i = 0; i < N; i++) assert_int_equal(device_open(&d[i], names[i], NULL, &e), 0);
    assert_int_equal(shape_open(&m, "llama-3.3-70b", &e), 0);
    assert_int_equal(traffic_open(&t, "500 users, 30 tok/s each, 8k in, 500 out", &e), 0);
    assert_int_equal(economy_open(&money, NULL, &e), 0);
    struct want w = {.shape = &m, .traffic = &t, .limits = {2, 1 / 30.0}, .attain = 0.99, .economy = &money, .seed = 1};
    struct search_space space = {.devices = d,
                                 .n_devices = N,
                                 .precision = {device_precision("fp8"), device_precision("16-bit")},
                                 .n_precisions = 2};
    assert_int_equal(search_run(found, &space, &w, &e), 0);
    for (int i = 0; i < N; i++) {
        struct candidate *c = &found[i].best;
        assert_true(found[i].found);
        struct trust_least least = trust_least(c, &w);
        double many = candidate_chips(c) / least.chips;
        if (!(many > 1.5 && many < 25))
            print_message("%s: %d chips, at least %g\n", found[i].device->figures.chip, candidate_chips(c),
                          least.chips);
        assert_true(many > 1.5 && many < 25);
        double could = c->lane_rate * c->replicas * c->replica.lanes; /* what these replicas just bear */
        assert_true(could >= 0.95 * t.rate && could < t.rate * (1.15 + 1.0 / c->replicas));
    }
    struct traffic twice = t;
    twice.rate *= 2;
    w.traffic = &twice;
    struct search_chip again[N];
    assert_int_equal(search_run(again, &space, &w, &e), 0);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            if (found[i].device == again[k].device)
                near(candidate_chips(&again[k].best), 2.0 * candidate_chips(&found[i].best), 0.15);
    economy_close(&money);
    for (int i = 0; i < N; i++) device_close(d[i]);
}

/* Operations of the prompt by hand: 2 x 70.6 G weights x 8,192 tokens, and causal attention. */
static void least_chips_by_hand(void **state)
{
    struct device *d;
    struct shape m;
    struct traffic t;
    struct candidate c = {0};
    struct err e = {0};
    (void)state;
    open_h100(&d);
    assert_int_equal(shape_open(&m, "llama-3.3-70b", &e), 0);
    assert_int_equal(traffic_open(&t, "30 req/s, 8k in, 1 out", &e), 0);
    struct want w = {.shape = &m, .traffic = &t};
    struct device_setup s = {.shape = &m, .precision = device_precision("fp8"), .tp = 4, .pp = 2, .ep = 1};
    assert_int_equal(replica_open(&c.replica, d, &s, 8192, 1, &e), 0);
    double ops = 2 * (shape_weights(&m) - 2.0 * m.vocab * m.hidden) * 8192 +
                 4.0 * m.layers * m.heads * m.head_dim * 8192 * 8192 / 2;
    near(trust_least(&c, &w).chips, 30 * ops / d->flops8, 0.02);
    device_close(d);
    struct trust_systems all, one;
    assert_true(trust_systems(&all, NULL) && trust_systems(&one, "h100") && one.rows > 0 &&
                one.rows < all.rows && !trust_systems(&one, "zen5"));
}

/* A plan for an 8B model on H100, and what stands on it. */
struct base {
    struct device *d;
    struct shape m;
    struct traffic t;
    struct economy money;
    struct want w;
    struct search_chip chip;
    struct search_space space;
};

static void open_base(struct base *b)
{
    struct err e = {0};
    open_h100(&b->d);
    assert_int_equal(shape_open(&b->m, "llama-3.1-8b", &e), 0);
    assert_int_equal(traffic_open(&b->t, "60 req/s, 2k in, 200 out", &e), 0);
    assert_int_equal(economy_open(&b->money, NULL, &e), 0);
    b->w = (struct want){.shape = &b->m,
                         .traffic = &b->t,
                         .limits = {1, 0.03},
                         .attain = 0.99,
                         .economy = &b->money,
                         .seed = 1};
    b->space = (struct search_space){
        .devices = &b->d, .n_devices = 1, .precision = {device_precision("16-bit")}, .n_precisions = 1};
    assert_int_equal(search_run(&b->chip, &b->space, &b->w, &e), 0);
    assert_true(b->chip.found);
}

static void close_base(struct base *b)
{
    economy_close(&b->money);
    device_close(b->d);
}

/* Cache bytes by hand: 2 x 32 layers x 8 heads x 128 x 2 bytes x 2,048 tokens; the slower the link, the
 * later; least_rate is the border. */
static void two_pools(void **state)
{
    struct base b;
    struct mix m, slow;
    struct err e = {0};
    (void)state;
    open_base(&b);
    assert_int_equal(mix_run(&m, &b.space, &b.w, &(struct mix_link){50e9, 1e-5}, &e), 0);
    assert_int_equal(m.n_pairs, 1);
    const struct mix_pair *p = &m.pair[0];
    near(p->bytes, 2.0 * 32 * 8 * 128 * 2 * 2048, 1e-12);
    near(p->transfer_s, p->bytes / 50e9 + 1e-5, 1e-12);
    assert_true(p->meets && p->delay_s <= p->transfer_s && p->ttft99 <= 1 && p->tpot99 <= 0.03 && p->least_rate < 50e9);
    assert_int_equal(mix_run(&slow, &b.space, &b.w, &(struct mix_link){0.99 * p->least_rate, 1e-5}, &e), 0);
    assert_false(slow.pair[0].meets);
    mix_close(&slow);
    assert_int_equal(mix_run(&slow, &b.space, &b.w, &(struct mix_link){1.01 * p->least_rate, 1e-5}, &e), 0);
    assert_true(slow.pair[0].meets);
    mix_close(&slow);
    mix_close(&m);
    struct mix_cut cut[MIX_CUTS];
    int chips[2], n = mix_cut(cut, chips, b.d, b.d, device_precision("16-bit"), &b.w,
                              &(struct mix_link){50e9, 1e-5}, &e);
    assert_true(n > 4 && chips[0] >= 1 && chips[1] >= 1);
    for (int i = 0; i < n; i++) {
        struct device_setup s = {.shape = &b.m, .precision = device_precision("16-bit"), .tp = 1, .pp = 1, .ep = 1};
        struct device_step t;
        near(cut[i].link_s, 2 * 32 * (1e-5 + cut[i].batch * 4096 * 2 / 50e9), 1e-12);
        /* Both parts together are about the whole, where each is on one chip. */
        assert_int_equal(device_decode(b.d, &s, cut[i].batch, 2148, &t, &e), 0);
        if (chips[0] == 1 && chips[1] == 1) near(cut[i].attention_s + cut[i].ffn_s, t.seconds, 0.35);
    }
    close_base(&b);
}

static void days_and_clusters(void **state)
{
    struct base b;
    struct fleet_grid g;
    struct fleet_hour day[FLEET_HOURS];
    struct fleet_cluster c, calm;
    struct err e = {0};
    double shape[FLEET_HOURS];
    (void)state;
    open_base(&b);
    assert_int_equal(fleet_grid(&g, &b.chip.best, &b.w, &e), 0);
    assert_true(g.met[0][0] > 0.98 && g.met[0][FLEET_LOADS - 1] < 0.9 && g.met[2][4] <= g.met[0][4]);
    for (int h = 0; h < FLEET_HOURS; h++) shape[h] = h < 12 ? 0.3 : 1;
    fleet_day(day, &g, &b.chip.best, &b.w, shape);
    assert_true(day[0].replicas < day[20].replicas && day[20].rate == 60 && day[0].use <= 1 &&
                day[20].spare >= 1 && day[0].watts < day[20].watts);
    struct fleet_trouble t = fleet_trouble(b.d), none = t;
    none.failures = none.jitter = none.slow_share = 0;
    assert_int_equal(fleet_cluster(&calm, &g, &b.chip.best, &b.w, 20000, 0.8, &none, &e), 0);
    assert_true(calm.failures == 0 && calm.broken == 0 && calm.alive_least == calm.replicas &&
                fabs(calm.met - calm.met_untroubled) < 1e-9);
    assert_int_equal(fleet_cluster(&c, &g, &b.chip.best, &b.w, 20000, 0.8, &t, &e), 0);
    assert_true(c.met < calm.met && c.alive_least < c.replicas);
    near(c.failures, 20000 * t.failures * 24, 0.8);
    near(c.tokens, c.offered * 200, 1e-12);
    assert_int_equal(fleet_cluster(&c, &g, &b.chip.best, &b.w, 0, 0.8, &t, &e), ERR_LIMIT);

    struct fleet_train few, many;
    assert_int_equal(fleet_train(&few, b.d, &b.m, 64, 1e6, 8192, &t, &e), 0);
    assert_int_equal(fleet_train(&many, b.d, &b.m, 65536, 1024e6, 8192, &t, &e), 0);
    near(many.compute_s, few.compute_s, 0.01); /* the same work for each */
    assert_true(many.straggle_s > few.straggle_s && many.lost > few.lost && many.tier_s[2] > 0 &&
                few.tier_s[2] >= 0 && many.use < few.use && few.use > 0.1 && few.use < 1);
    near(many.mtbf_h, 1 / (65536 * t.failures), 1e-9);
    assert_int_equal(fleet_train(&few, b.d, &b.m, 1, 1e6, 8192, &t, &e), ERR_LIMIT);
    close_base(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(phrases),
                                       cmocka_unit_test(money_by_hand),
                                       cmocka_unit_test(errors_of_systems),
                                       cmocka_unit_test(replicas_follow_their_device),
                                       cmocka_unit_test(a_search_and_its_refusals),
                                       cmocka_unit_test(growing_queues_do_not_work),
                                       cmocka_unit_test(two_pools),
                                       cmocka_unit_test(capacities_are_plausible),
                                       cmocka_unit_test(least_chips_by_hand),
                                       cmocka_unit_test(days_and_clusters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
