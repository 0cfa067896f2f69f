/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: the planner's simulation of a replica. The mode that adds equal steps at once gives every request the
 * same instants as the one that goes token by token; a queue of known theory comes out; traces from
 * strangers; speed.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "plan/sim/load.h"
#include "plan/sim/sum.h"

/* A chip that nobody sells: dense 9 ms of weights or 8 us a token, 30 ns per token of context, prompts quadratic. */
static struct sim_cost dense(void *ud, double rows, double out)
{
    (void)ud;
    return (struct sim_cost){fmax(9e-3, 8e-6 * rows) + 3e-6 * out, 2 + 1e-3 * rows};
}

static struct sim_cost decode(void *ud, double batch, double context)
{
    (void)ud;
    return (struct sim_cost){2e-5 + 3e-8 * batch * context, 1e-6 * batch * context};
}

static struct sim_cost prompt(void *ud, double tokens)
{
    (void)ud;
    return (struct sim_cost){1e-10 * tokens * tokens, 1e-8 * tokens * tokens};
}

static const struct sim_model model = {NULL, dense, decode, prompt};

/* One row takes exactly a millisecond, and nothing else takes any time. */
static struct sim_cost tick(void *ud, double rows, double out)
{
    (void)ud, (void)out;
    return (struct sim_cost){1e-3 * rows, 0};
}

static struct sim_cost none(void *ud, double x, double y)
{
    (void)ud, (void)x, (void)y;
    return (struct sim_cost){0, 0};
}

static struct sim_cost none1(void *ud, double x)
{
    (void)ud, (void)x;
    return (struct sim_cost){0, 0};
}

static const struct sim_model ticks = {NULL, tick, none, none1};

static struct sim_served *serve(struct sim_stats *st, const struct sim_time *t, struct sim_policy p,
                                const struct sim_load *l, bool plain)
{
    struct err e = {0};
    struct sim_served *v = calloc((size_t)l->n, sizeof *v);
    assert_non_null(v);
    p.plain = plain;
    int rc = sim_run(st, v, t, &p, l->requests, l->n, NULL, NULL, &e);
    if (rc) print_message("%s\n", e.msg);
    assert_int_equal(rc, 0);
    return v;
}

static void same(const struct sim_time *t, struct sim_policy p, const struct sim_load *l, struct sim_stats *fast)
{
    struct sim_stats plain;
    struct sim_served *a = serve(&plain, t, p, l, true), *b = serve(fast, t, p, l, false);
    assert_memory_equal(a, b, (size_t)l->n * sizeof *a);
    assert_true(plain.end_ns == fast->end_ns && plain.steps == fast->steps && plain.busy_ns == fast->busy_ns);
    assert_true(plain.answer_tokens == fast->answer_tokens && plain.preemptions == fast->preemptions);
    assert_true(plain.peak_pages == fast->peak_pages && plain.cached_tokens == fast->cached_tokens);
    assert_memory_equal(plain.gaps, fast->gaps, sizeof plain.gaps);
    assert_true(fabs(plain.joules - fast->joules) <= 1e-9 * plain.joules);
    free(a);
    free(b);
}

static void jumps_equal_single_steps(void **state)
{
    struct sim_time t;
    int64_t preemptions = 0, cached = 0, steps = 0, events = 0;
    (void)state;
    assert_int_equal(sim_time_init(&t, &model, 2048, 256, 1 << 16, NULL), 0);
    for (int k = 0; k < 60; k++) {
        struct sim_load l;
        struct sim_stats st;
        struct sim_draw d = {.rate = k % 5 ? 3 + k % 7 : 0.3,
                             .prompt = 200 + 150 * (k % 4),
                             .answer = 60 + 80 * (k % 3),
                             .spread = k % 2 ? 0.8 : 0,
                             .arrivals = (enum sim_arrivals)(k % 3),
                             .burst = 8,
                             .seed = (uint64_t)k};
        assert_int_equal(sim_load_draw(&l, &d, 300, NULL), 0);
        int most = 0;
        for (int i = 0; i < l.n; i++) {
            if (l.requests[i].prompt + l.requests[i].answer > most) most = l.requests[i].prompt + l.requests[i].answer;
            if (k % 4 != 1) continue;
            l.requests[i].group = 1 + i % 5;
            l.requests[i].prefix = l.requests[i].prompt * 3 / 4;
        }
        struct sim_policy p = {.max_running = k % 3 ? 64 : 8,
                               .step_tokens = k % 2 ? 512 : 2048,
                               .pages = most / SIM_PAGE + 2 + (k % 6) * 12,
                               .prefix_share = k % 4 == 2 ? 0.5 : 0,
                               .draft = k % 8 == 7 ? 3 : 0,
                               .accept = 0.7,
                               .users = k % 10 == 3 ? 12 : 0,
                               .think_ns = 1000000 * (k % 20),
                               .seed = 9};
        same(&t, p, &l, &st);
        preemptions += st.preemptions, cached += st.cached_tokens, steps += st.steps, events += st.events;
        assert_true(st.peak_pages <= p.pages);
        sim_load_finish(&l);
    }
    print_message("%lld steps, %lld looked at, %lld preemptions, %lld tokens from the cache\n",
                  (long long)steps, (long long)events, (long long)preemptions, (long long)cached);
    assert_true(preemptions > 1000 && cached > 10000 && events < steps / 2);
    sim_time_finish(&t);
}

/* Poisson arrivals, one place, service of exactly 1 ms at 70 % load: waiting of M/D/1 is rho / (2 (1 - rho))
 * services. */
static void queue_of_known_theory(void **state)
{
    struct sim_time t;
    struct sim_load l;
    struct sim_stats st;
    const struct sim_draw d = {.rate = 700, .prompt = 1, .answer = 1, .seed = 5};
    (void)state;
    assert_int_equal(sim_time_init(&t, &ticks, 16, 1, 64, NULL), 0);
    assert_int_equal(sim_load_draw(&l, &d, 400000, NULL), 0);
    struct sim_served *v =
        serve(&st, &t, (struct sim_policy){.max_running = 1, .step_tokens = 16, .pages = 4}, &l, false);
    double wait = 0;
    for (int i = 0; i < l.n; i++) wait += 1e-9 * (double)(v[i].first_ns - v[i].arrive_ns) - 1e-3;
    wait /= l.n;
    print_message("mean wait %.4f ms, theory %.4f\n", 1e3 * wait, 0.7 / (2 * 0.3));
    assert_true(fabs(wait / (1e-3 * 0.7 / (2 * 0.3)) - 1) < 0.03);
    free(v);
    sim_load_finish(&l);
    sim_time_finish(&t);
}

static void instants_by_hand(void **state)
{
    struct sim_time t;
    struct sim_stats st;
    struct sim_sum sum;
    struct sim_request r[2] = {{.arrive_ns = 0, .prompt = 20, .answer = 3},
                               {.arrive_ns = 5000000, .prompt = 4, .answer = 1}};
    struct sim_load l = {r, 2};
    (void)state;
    assert_int_equal(sim_time_init(&t, &ticks, 16, 8, 64, NULL), 0);
    struct sim_served *v =
        serve(&st, &t, (struct sim_policy){.max_running = 8, .step_tokens = 16, .pages = 4}, &l, false);
    /* 16 rows of the first prompt end at 16 ms. Then both prompts have 4 tokens left; the second has waited
     * less, so the first goes first, and both fit: 24 ms. Two more tokens of the first, one row each. */
    assert_int_equal(v[0].first_ns, 24000000);
    assert_int_equal(v[1].first_ns, 24000000);
    assert_int_equal(v[1].last_ns, 24000000);
    assert_int_equal(v[0].last_ns, 26000000);
    assert_int_equal(sim_sum(&sum, &st, v, r, 2, &(struct sim_limits){.ttft_s = 0.02, .tpot_s = 0.002}, NULL), 0);
    assert_true(sum.n == 2 && fabs(sum.ttft50 - 0.019) < 1e-12 && fabs(sum.ttft99 - 0.024) < 1e-12 &&
                fabs(sum.tpot99 - 0.001) < 1e-12);
    assert_true(sum.met == 0.5);
    free(v);
    sim_time_finish(&t);
}

static void speculation_by_chance(void **state)
{
    struct sim_time t;
    struct sim_load l;
    struct sim_stats st;
    const struct sim_draw d = {.rate = 1e5, .prompt = 1, .answer = 1000, .seed = 2};
    const double accept[] = {0, 0.6, 1};
    (void)state;
    assert_int_equal(sim_time_init(&t, &ticks, 64, 8, 2048, NULL), 0);
    assert_int_equal(sim_load_draw(&l, &d, 8, NULL), 0);
    for (int k = 0; k < 3; k++) {
        double expected = accept[k] < 1 ? (1 - pow(accept[k], 5)) / (1 - accept[k]) : 5;
        struct sim_policy p = {
            .max_running = 8, .step_tokens = 64, .pages = 128, .draft = 4, .accept = accept[k], .seed = 3};
        free(serve(&st, &t, p, &l, false));
        assert_true(fabs((double)st.steps * expected / 1000 - 1) < 0.06);
    }
    sim_load_finish(&l);
    sim_time_finish(&t);
}

static void table_follows_model(void **state)
{
    struct sim_time t;
    double worst = 0, j;
    (void)state;
    assert_int_equal(sim_time_init(&t, &model, 4096, 512, 1 << 17, NULL), 0);
    for (int i = 1; i <= 4096; i += 7) {
        double s = 1e-9 * (double)sim_time_dense(&t, i, i < 512 ? i : 512, &j);
        worst = fmax(worst, fabs(s / dense(NULL, i, i < 512 ? i : 512).s - 1));
    }
    for (int b = 1; b <= 512; b = b * 3 / 2 + 1)
        for (int c = 48; c < 1 << 17; c = c * 3 / 2) {
            double s = 1e-9 * (double)sim_time_decode(
                                  &t, b, (int64_t)b * (c / SIM_BUCKET * SIM_BUCKET + SIM_BUCKET / 2), &j);
            worst = fmax(worst, fabs(s / decode(NULL, b, c / SIM_BUCKET * SIM_BUCKET + SIM_BUCKET / 2).s - 1));
        }
    print_message("tables are off by at most %.2f %%\n", 100 * worst);
    assert_true(worst < 0.02);
    sim_time_finish(&t);
}

static void refuses(void **state)
{
    struct sim_time t;
    struct sim_stats st;
    struct sim_served v[1];
    struct err e = {0};
    struct sim_request r = {.prompt = 600, .answer = 100};
    struct sim_policy p = {.max_running = 8, .step_tokens = 512, .pages = 5};
    (void)state;
    assert_int_equal(sim_time_init(&t, &model, 512, 64, 4096, NULL), 0);
    assert_int_equal(sim_run(&st, v, &t, &p, &r, 1, NULL, NULL, &e), ERR_LIMIT);
    assert_non_null(strstr(e.msg, "need 6 pages"));
    p.pages = 6;
    assert_int_equal(sim_run(&st, v, &t, &p, &r, 1, NULL, NULL, &e), 0);
    r.prompt = 5000;
    assert_int_equal(sim_run(&st, v, &t, &p, &r, 1, NULL, NULL, &e), ERR_LIMIT);
    r.prompt = 0;
    assert_int_equal(sim_run(&st, v, &t, &p, &r, 1, NULL, NULL, &e), ERR_LIMIT);
    sim_time_finish(&t);
    const struct sim_model bad = {NULL, tick, none, NULL};
    assert_int_equal(sim_time_init(&t, &bad, 0, 64, 4096, &e), ERR_LIMIT);
}

/* --- traces ------------------------------------------------------------------------------------------------ */

static char path[] = "/tmp/tutti-trace-XXXXXX";

static void put(const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void traces_from_strangers(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "no header"},
        {"arrival_s,input_tokens\n1,2\n", "output_tokens"},
        {"arrival_s,input_tokens,output_tokens\n", "no request"},
        {"arrival_s,input_tokens,output_tokens\n-1,2,3\n", "arrival is -1"},
        {"arrival_s,input_tokens,output_tokens\n1,2.5,3\n", ":2: tokens in is 2.5"},
        {"arrival_s,input_tokens,output_tokens\n1,2,0\n", "tokens out is 0"},
        {"arrival_s,input_tokens,output_tokens\n1,1e300,2\n", "tokens in"},
        {"{\"arrival_s\": 1, \"input_tokens\": 3}\n", "output_tokens"},
        {"{\"arrival_s\": 1,\n", ":1:"},
        {"{\"arrival_s\": \"1\", \"input_tokens\": 3, \"output_tokens\": 3}", "arrival is -1"},
        {"{\"arrival_s\": 1, \"input_tokens\": 3, \"output_tokens\": 3, \"prefix_tokens\": 9}\n",
         "prefix of 9"},
    };
    struct sim_load l;
    struct err e = {0};
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(bad[i].text);
        assert_true(sim_load_read(&l, path, &e) < 0);
        if (!strstr(e.msg, bad[i].why)) print_message("%s\n", e.msg);
        assert_non_null(strstr(e.msg, bad[i].why));
        assert_null(l.requests);
    }
    put("id,arrival_s,input_tokens,output_tokens,prefix_group,prefix_tokens\na,2.5,100,10,77,64\nb,1.5,200,20,,\nc,3.5,100,10,77,64\n");
    assert_int_equal(sim_load_read(&l, path, &e), 0);
    assert_int_equal(l.n, 3);
    assert_true(l.requests[0].prompt == 200 && l.requests[0].group == 0 && l.requests[0].arrive_ns == 0);
    assert_true(l.requests[1].group == 1 && l.requests[1].prefix == 64 &&
                l.requests[1].arrive_ns == 1000000000 && l.requests[2].group == 1);
    struct sim_load half;
    assert_int_equal(sim_load_share(&half, &l, 1, 2, &e), 0);
    assert_true(half.n == 1 && half.requests[0].prompt == 100);
    sim_load_finish(&half);
    sim_load_finish(&l);
    put("{\"timestamp\": 3000, \"input_length\": 7, \"output_length\": 2, \"hash_ids\": [1, 2]}\n\n{\"timestamp\": 1000, \"input_length\": 8, \"output_length\": 3}");
    assert_int_equal(sim_load_read(&l, path, &e), 0);
    assert_true(l.n == 2 && l.requests[0].prompt == 8 && l.requests[1].arrive_ns == 2000000000);
    struct sim_mean m = sim_load_mean(&l);
    assert_true(m.rate == 0.5 && m.prompt == 7.5 && m.answer == 2.5 && m.longest == 11);
    sim_load_finish(&l);
    unlink(path);
    assert_int_equal(sim_load_read(&l, path, &e), ERR_NOT_FOUND);
}

static void draws_have_their_means(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct sim_load l;
        struct sim_draw d = {.rate = 20,
                             .prompt = 500,
                             .answer = 80,
                             .spread = 0.6,
                             .arrivals = (enum sim_arrivals)k,
                             .burst = 5,
                             .seed = 11};
        assert_int_equal(sim_load_draw(&l, &d, 100000, NULL), 0);
        struct sim_mean m = sim_load_mean(&l);
        assert_true(fabs(m.rate / 20 - 1) < (d.arrivals == SIM_BURSTS ? 0.2 : 0.05) &&
                    fabs(m.prompt / 500 - 1) < 0.02 && fabs(m.answer / 80 - 1) < 0.02);
        sim_load_finish(&l);
    }
}

/* Of n servers that take turns each gets every n-th request: gaps of the same mean, a share 1/n of the variance. */
static void turns_are_even(void **state)
{
    static const double turns[] = {1, 1.5, 4, 50, 2000};
    (void)state;
    for (size_t k = 0; k < sizeof turns / sizeof *turns; k++) {
        struct sim_load l;
        struct sim_draw d = {.rate = 20, .prompt = 5, .answer = 8, .turns = turns[k], .seed = 3};
        double sum = 0, square = 0;
        assert_int_equal(sim_load_draw(&l, &d, 100000, NULL), 0);
        for (int i = 1; i < l.n; i++) {
            double gap = 20e-9 * (double)(l.requests[i].arrive_ns - l.requests[i - 1].arrive_ns);
            sum += gap, square += gap * gap;
        }
        double mean = sum / (l.n - 1), variance = square / (l.n - 1) - mean * mean;
        if (fabs(mean - 1) >= 0.02 || fabs(variance * turns[k] - 1) >= 0.05)
            print_message("turns %g: mean %g, variance %g\n", turns[k], mean, variance);
        assert_true(fabs(mean - 1) < 0.02 && fabs(variance * turns[k] - 1) < 0.05);
        sim_load_finish(&l);
    }
}

/* 10,000 requests, at most 32 answers in a step on average: at least a million generated tokens in a second
 * of this machine. */
static void a_million_tokens_in_a_second(void **state)
{
    struct sim_time t;
    struct sim_load l;
    const struct sim_draw d = {.rate = 2.2, .prompt = 1000, .answer = 500, .spread = 0.5, .seed = 1};
    const struct sim_policy p = {.max_running = 64, .step_tokens = 2048, .pages = 4096};
    (void)state;
    assert_int_equal(sim_time_init(&t, &model, 2048, 256, 1 << 16, NULL), 0);
    assert_int_equal(sim_load_draw(&l, &d, 10000, NULL), 0);
    for (int plain = 1; plain >= 0; plain--) {
        struct sim_stats st;
        struct timespec a, b;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        free(serve(&st, &t, p, &l, plain));
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        double s = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
        print_message("%s: %lld tokens of answers in %.3f s: %.1f million per second; mean batch %.1f\n",
                      plain ? "token by token" : "jumps", (long long)st.answer_tokens, s,
                      (double)st.answer_tokens / s / 1e6, st.running);
        assert_true(st.running <= 32 && st.running > 8);
        assert_true((double)st.answer_tokens / s >= 1e6 || plain);
    }
    sim_load_finish(&l);
    sim_time_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jumps_equal_single_steps), cmocka_unit_test(queue_of_known_theory),
        cmocka_unit_test(instants_by_hand),         cmocka_unit_test(speculation_by_chance),
        cmocka_unit_test(table_follows_model),      cmocka_unit_test(refuses),
        cmocka_unit_test(traces_from_strangers),    cmocka_unit_test(draws_have_their_means),
        cmocka_unit_test(turns_are_even),           cmocka_unit_test(a_million_tokens_in_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
