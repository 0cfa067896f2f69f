/* SPDX-License-Identifier: Apache-2.0 */
/* Choice of experts: see route.h. Scalar, one version for all instruction sets: experts are few. */
#include "kern/route.h"

#include <string.h>
#include "kern/mathf.h"
#include "kern/num.h"

/* An integer that is ordered like the float; NaN has a place, too, so that a choice is always one of experts. */
static int32_t order_of(float x)
{
    int32_t u = (int32_t)f32_bits(x + 0.0f);
    return u ^ (int32_t)((uint32_t)(u >> 31) >> 1);
}

/* The n best of score[], descending, ties to the lower index; taken ones are marked. */
static void choose(const int32_t *score, int n_score, bool *taken, int *best, int n)
{
    for (int i = 0; i < n; i++) {
        int b = -1;
        for (int j = 0; j < n_score; j++)
            if (!taken[j] && (b < 0 || score[j] > score[b])) b = j;
        taken[b] = true;
        best[i] = b;
    }
}

/* The score of experts 0..n-1 of a group. */
static float group_score(const struct route *r, const float *s, int n)
{
    float a = s[0], b = 0;
    for (int i = 1; i < n; i++) {
        float low = s[i] > a ? a : s[i];
        a = s[i] > a ? s[i] : a;
        b = i == 1 || low > b ? low : b;
    }
    return r->kind == ROUTE_SOFTMAX ? a : a + b;
}

static void bar_groups(const struct route *r, const float *score, bool *taken)
{
    int32_t order[ROUTE_GROUPS_MAX];
    int best[ROUTE_GROUPS_MAX], n = r->n_expert / r->n_group;
    bool in[ROUTE_GROUPS_MAX] = {false};
    for (int g = 0; g < r->n_group; g++) order[g] = order_of(group_score(r, score + g * n, n));
    choose(order, r->n_group, in, best, r->n_group_used);
    for (int i = 0; i < r->n_expert; i++) taken[i] = !in[i / n];
}

static float softmax_sum(const float *p, int n)
{
    int64_t sum = 0; /* exact, whatever the order */
    for (int i = 0; i < n; i++) sum += rne_pos_i32(p[i] * 0x1p23f);
    return (float)sum * 0x1p-23f;
}

void route_choose(const struct route *r, const float *z, const float *bias, float *out)
{
    float p[ROUTE_EXPERTS_MAX], score[ROUTE_EXPERTS_MAX], used[ROUTE_USED_MAX], top = z[0], sum = 0;
    int32_t order[ROUTE_EXPERTS_MAX];
    int best[ROUTE_USED_MAX], n = r->n_expert;
    bool taken[ROUTE_EXPERTS_MAX] = {false};
    for (int i = 0; i < n; i++) top = z[i] > top ? z[i] : top;
    for (int i = 0; i < n; i++) {
        p[i] = r->kind == ROUTE_SIGMOID ? sigmoid32(z[i]) : exp32(z[i] - top);
        score[i] = (r->kind == ROUTE_SIGMOID ? p[i] : z[i]) + (bias ? bias[i] : 0.0f);
        order[i] = order_of(score[i]);
    }
    if (r->n_group > 1) bar_groups(r, score, taken);
    choose(order, n, taken, best, r->n_used);
    for (int i = 0; i < r->n_used; i++) used[i] = p[best[i]];
    if (r->kind == ROUTE_SOFTMAX)
        sum = r->over_used ? softmax_sum(used, r->n_used) : softmax_sum(p, n);
    else
        for (int i = 0; i < r->n_used; i++) sum = sum + used[i];
    for (int i = 0; i < r->n_used; i++) {
        float w = r->kind == ROUTE_SIGMOID && !r->over_used ? used[i] : used[i] / sum;
        out[i] = (float)best[i];
        out[r->n_used + i] = r->scale == 1.0f ? w : w * r->scale;
    }
}
