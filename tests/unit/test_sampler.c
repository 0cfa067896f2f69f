/* SPDX-License-Identifier: Apache-2.0 */
/* token/sampler: the draw equals a plain reading of its rules (sort everything, add everything up); masks, ties, bias,
 * penalties, numbers out of range; log probabilities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kern/philox.h"
#include "token/sampler.h"

enum { N_MAX = 3000, ROUNDS = 4000, CONTEXT = 20 };

static uint64_t state = 88172645463325252u;
static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static double unit(void)
{
    return (double)(rnd() >> 11) * 0x1p-53;
}

static float z[N_MAX];
static uint64_t w[N_MAX];

static int by_order(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    if (z[x] != z[y]) return z[x] > z[y] ? -1 : 1;
    return (x > y) - (x < y);
}

static void apply_penalties(const struct sampler_params *p, const int32_t *context, int n_context)
{
    int last = p->penalty_last < 0 || p->penalty_last > n_context ? n_context : p->penalty_last;
    for (int i = n_context - last; i < n_context; i++) {
        int count = 0;
        bool seen = false;
        for (int j = n_context - last; j < n_context; j++) {
            count += context[j] == context[i];
            seen |= j < i && context[j] == context[i];
        }
        if (seen) continue;
        float *x = &z[context[i]];
        *x = *x > 0 ? *x / p->repetition_penalty : *x * p->repetition_penalty;
        *x = *x - (float)count * p->frequency_penalty;
        *x = *x - p->presence_penalty;
    }
}

static int draw_plainly(const struct kern *k, const struct sampler_params *p, const float *logits, int n,
                        const int32_t *context, int64_t pos, const uint32_t *allowed)
{
    static int ids[N_MAX];
    int m = 0, kept = 0;
    memcpy(z, logits, (size_t)n * sizeof *z);
    for (int i = 0; i < p->n_bias; i++) z[p->bias[i].id] += p->bias[i].bias;
    apply_penalties(p, context, CONTEXT);
    for (int i = 0; i < n; i++)
        if (!allowed || (allowed[i / 32] >> i % 32 & 1)) ids[m++] = i;
    if (m == 0) return ERR_USAGE;
    qsort(ids, (size_t)m, sizeof *ids, by_order);
    if (p->temperature == 0) return ids[0];
    k->elem->weights(w, z, n, z[ids[0]], p->temperature);
    if (p->top_k > 0 && p->top_k < m) m = p->top_k;
    unsigned __int128 least = (unsigned __int128)(uint64_t)((double)p->min_p * 0x1p32 + 0.5) << 40, sum = 0, prefix = 0;
    while (kept < m && w[ids[kept]] > 0 && ((unsigned __int128)w[ids[kept]] << 32) >= least) sum += w[ids[kept++]];
    uint64_t top_p = (uint64_t)((double)p->top_p * 0x1p32 + 0.5);
    for (m = kept, kept = 0; kept < m;) {
        prefix += w[ids[kept++]];
        if (prefix << 32 >= top_p * sum) break;
    }
    uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)}, r[4];
    philox4x32_10((uint32_t[4]){(uint32_t)pos, p->choice, 0, 0}, key, r);
    uint64_t u = (uint64_t)(((unsigned __int128)((uint64_t)r[1] << 32 | r[0]) * (uint64_t)prefix) >> 64), run = 0;
    for (int i = 0; i < n; i++) {
        bool in = false;
        for (int j = 0; j < kept; j++) in |= ids[j] == i;
        if (in && (run += w[i]) > u) return i;
    }
    return -100;
}

static void draws_are_those_of_the_rules(void **unused)
{
    (void)unused;
    const struct kern *k = kern_select(NULL, NULL);
    static float logits[N_MAX];
    static uint32_t mask[N_MAX / 32 + 1];
    for (int round = 0; round < ROUNDS; round++) {
        int n = 1 + (int)(rnd() % (round % 10 ? 60 : N_MAX));
        struct sampler *s = NULL;
        assert_int_equal(sampler_create(&s, n, k, NULL), 0);
        double spread = rnd() % 5 ? 30 * unit() : 0;
        bool coarse = rnd() % 2; /* ties */
        for (int i = 0; i < n; i++) {
            logits[i] = (float)((unit() - 0.5) * spread);
            if (coarse) logits[i] = (float)(int)(2 * logits[i]) / 2;
            if (coarse && rnd() % 2) logits[i] = -logits[i]; /* -0, too */
        }
        for (int i = 0; i <= n / 32; i++) mask[i] = rnd() % 3 ? (uint32_t)rnd() : 0;
        mask[n / 32] &= (1u << n % 32) - 1;
        int32_t context[CONTEXT];
        for (int i = 0; i < CONTEXT; i++) context[i] = (int32_t)(rnd() % (uint64_t)n);
        struct sampler_params p;
        sampler_params_default(&p);
        p.temperature = rnd() % 8 ? (float)(0.1 + 3 * unit()) : 0;
        p.top_k = rnd() % 2 ? (int)(rnd() % (uint64_t)n) : 0;
        p.top_p = rnd() % 3 ? (float)unit() : (float)(rnd() % 2);
        p.min_p = rnd() % 2 ? 0 : (float)(unit() * 0.3);
        if (rnd() % 3 == 0)
            p.repetition_penalty = 1.3f, p.frequency_penalty = 0.2f, p.presence_penalty = -0.5f,
            p.penalty_last = (int)(rnd() % 30) - 1;
        p.seed = rnd();
        p.choice = (uint32_t)(rnd() % 3);
        struct sampler_bias bias[2] = {{(int32_t)(rnd() % (uint64_t)n), 4}, {0, -100}};
        if (rnd() % 3 == 0) p.bias = bias, p.n_bias = bias[0].id ? 2 : 1;
        const uint32_t *allowed = rnd() % 2 ? mask : NULL;
        int want = draw_plainly(k, &p, logits, n, context, round, allowed);
        assert_int_equal(sampler_draw(s, &p, logits, context, CONTEXT, round, allowed), want);
        /* leaves nothing behind */
        assert_int_equal(sampler_draw(s, &p, logits, context, CONTEXT, round, allowed), want);
        logits[rnd() % (uint64_t)n] = rnd() % 2 ? INFINITY : NAN;
        assert_int_equal(sampler_draw(s, &p, logits, context, CONTEXT, round, allowed), ERR_RANGE);
        sampler_destroy(s);
    }
}

static void log_probabilities(void **unused)
{
    (void)unused;
    enum { N = 1000, TOP = 7 };
    static float logits[N];
    struct sampler *s = NULL;
    struct sampler_logprob top[TOP];
    assert_int_equal(sampler_create(&s, N, kern_select(NULL, NULL), NULL), 0);
    for (int round = 0; round < 50; round++) {
        double sum = 0;
        for (int i = 0; i < N; i++) logits[i] = (float)(int)(40 * unit() - 30) / 2;
        for (int i = 0; i < N; i++) sum += exp((double)logits[i]);
        int id = (int)(rnd() % N);
        assert_true(fabs((double)sampler_logprob(s, logits, id, top, TOP) - ((double)logits[id] - log(sum))) < 1e-5);
        for (int j = 0; j < TOP; j++) {
            assert_true(fabs((double)top[j].logp - ((double)logits[top[j].id] - log(sum))) < 1e-5);
            int before = 0;
            for (int i = 0; i < N; i++)
                before += logits[i] > logits[top[j].id] || (logits[i] == logits[top[j].id] && i < top[j].id);
            assert_int_equal(before, j);
        }
    }
    sampler_destroy(s);
}

static void bad_parameters(void **unused)
{
    (void)unused;
    struct sampler_params p;
    struct err e = {0};
    struct sampler_bias bias = {3, NAN};
    sampler_params_default(&p);
    assert_int_equal(sampler_params_check(&p, &e), 0);
    p.bias = &bias;
    p.n_bias = 1;
    assert_int_equal(sampler_params_check(&p, &e), ERR_USAGE);
    bias.bias = 1e9f;
    assert_int_equal(sampler_params_check(&p, &e), ERR_USAGE);
    bias.bias = -100;
    assert_int_equal(sampler_params_check(&p, &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_those_of_the_rules),
        cmocka_unit_test(log_probabilities),
        cmocka_unit_test(bad_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
