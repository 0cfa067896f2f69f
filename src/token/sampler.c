/* SPDX-License-Identifier: Apache-2.0 */
/* See sampler.h. */
#include "token/sampler.h"

#include <stdlib.h>
#include <string.h>
#include "kern/mathf.h"
#include "kern/num.h"
#include "kern/philox.h"

enum { PURPOSE_DRAW = 0 };

struct sampler {
    int n;
    const struct kern *kern;
    float *z;        /* [n] logits after penalties */
    uint64_t *w;     /* [n] weights */
    int32_t *heap;   /* [n] candidate ids, a heap by (z descending, id ascending) */
    uint32_t *kept;  /* bit per id */
    uint32_t *count; /* [n] occurrences in the penalty window; all zero between calls */
};

void sampler_params_default(struct sampler_params *p)
{
    *p = (struct sampler_params){
        .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repetition_penalty = 1.0f, .penalty_last = 64};
}

static int check(struct err *e, const char *name, float v, float lo, float hi)
{
    if (v >= lo && v <= hi) return 0; /* false for NaN, too */
    return err(e, ERR_USAGE, "%s is %g: must be %g..%g", name, (double)v, (double)lo, (double)hi);
}

int sampler_params_check(const struct sampler_params *p, struct err *e)
{
    int rc;
    if ((rc = check(e, "temperature", p->temperature, 0, 100)) || (rc = check(e, "top_p", p->top_p, 0, 1)) ||
        (rc = check(e, "min_p", p->min_p, 0, 1)) || (rc = check(e, "repetition penalty", p->repetition_penalty, 0.01f, 100)) ||
        (rc = check(e, "frequency penalty", p->frequency_penalty, -100, 100)) ||
        (rc = check(e, "presence penalty", p->presence_penalty, -100, 100)))
        return rc;
    if (p->temperature > 0 && p->temperature < 0x1p-20f) return err(e, ERR_USAGE, "temperature %g is too small: use 0 for greedy", (double)p->temperature);
    for (int i = 0; i < p->n_bias; i++)
        if ((rc = check(e, "logit bias", p->bias[i].bias, -SAMPLER_BIAS_MAX, SAMPLER_BIAS_MAX))) return rc;
    if (p->top_k < 0) return err(e, ERR_USAGE, "top_k is %d: must be 0 (all) or more", p->top_k);
    if (p->penalty_last < -1) return err(e, ERR_USAGE, "penalty window is %d: must be -1 (all) or more", p->penalty_last);
    return 0;
}

int sampler_create(struct sampler **out, int n_vocab, const struct kern *kern, struct err *e)
{
    must(n_vocab > 0 && n_vocab <= SAMPLER_VOCAB_MAX);
    size_t n = (size_t)n_vocab;
    struct sampler *s = calloc(1, sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    *s = (struct sampler){n_vocab, kern, malloc(n * sizeof *s->z), malloc(n * sizeof *s->w), malloc(n * sizeof *s->heap),
                          calloc(n / 32 + 1, sizeof *s->kept), calloc(n, sizeof *s->count)};
    if (!s->z || !s->w || !s->heap || !s->kept || !s->count) {
        sampler_destroy(s);
        return err(e, ERR_MEMORY, "out of memory for a vocabulary of %d", n_vocab);
    }
    *out = s;
    return 0;
}

void sampler_destroy(struct sampler *s)
{
    if (!s) return;
    free(s->z), free(s->w), free(s->heap), free(s->kept), free(s->count);
    free(s);
}

static void penalise(struct sampler *s, const struct sampler_params *p, const int32_t *context, int n)
{
    int first = p->penalty_last < 0 || p->penalty_last > n ? 0 : n - p->penalty_last;
    bool none = p->repetition_penalty == 1.0f && p->frequency_penalty == 0.0f && p->presence_penalty == 0.0f;
    if (none) return;
    for (int i = first; i < n; i++)
        if (context[i] >= 0 && context[i] < s->n) s->count[context[i]]++;
    for (int i = first; i < n; i++) {
        int32_t id = context[i];
        if (id < 0 || id >= s->n || s->count[id] == 0) continue;
        float z = s->z[id];
        z = z > 0 ? z / p->repetition_penalty : z * p->repetition_penalty;
        z = z - (float)s->count[id] * p->frequency_penalty;
        s->z[id] = z - p->presence_penalty;
        s->count[id] = 0;
    }
}

/* The total order: z descending, id ascending; -0 equals +0. */
static bool before(const struct sampler *s, int32_t a, int32_t b)
{
    return s->z[a] > s->z[b] || (s->z[a] == s->z[b] && a < b);
}

static void sift_down(struct sampler *s, int i, int n)
{
    int32_t *h = s->heap, id = h[i];
    for (int c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && before(s, h[c + 1], h[c])) c++;
        if (!before(s, h[c], id)) break;
        h[i] = h[c];
    }
    h[i] = id;
}

static bool is_allowed(const uint32_t *allowed, int i)
{
    return !allowed || (allowed[i / 32] >> i % 32 & 1);
}

static void keep(struct sampler *s, int id)
{
    s->kept[id / 32] |= 1u << id % 32;
}

/* The filters; returns the sum of the kept weights. n candidates are in heap, unordered. */
static uint64_t filter(struct sampler *s, const struct sampler_params *p, int n)
{
    uint64_t mp = (uint64_t)((double)p->min_p * 0x1p32 + 0.5), tp = (uint64_t)((double)p->top_p * 0x1p32 + 0.5);
    uint64_t max = (uint64_t)1 << 40, sum = 0; /* the largest weight is that of max z: exp(0) = 1 */
    memset(s->kept, 0, ((size_t)s->n / 32 + 1) * sizeof *s->kept);
    bool by_order = (p->top_k > 0 && p->top_k < n) || p->top_p < 1.0f;
    if (!by_order) {
        for (int i = 0; i < n; i++) {
            int32_t id = s->heap[i];
            if (((unsigned __int128)s->w[id] << 32) < (unsigned __int128)mp * max) continue;
            keep(s, id);
            sum += s->w[id];
        }
        return sum;
    }
    int k = p->top_k > 0 && p->top_k < n ? p->top_k : n, left = n, kept = 0;
    for (int i = n / 2 - 1; i >= 0; i--) sift_down(s, i, n);
    /* Taken from the heap in order, the ids gather at its end: heap[n-1] is the first. */
    for (; kept < k && left > 0; kept++) {
        int32_t id = s->heap[0];
        if (kept && ((unsigned __int128)s->w[id] << 32) < (unsigned __int128)mp * max) break; /* weights only fall */
        if (kept && s->w[id] == 0) break;
        s->heap[0] = s->heap[--left];
        s->heap[left] = id;
        sift_down(s, 0, left);
        sum += s->w[id];
    }
    uint64_t prefix = 0;
    for (int i = 0; i < kept; i++) {
        int32_t id = s->heap[n - 1 - i];
        keep(s, id);
        prefix += s->w[id];
        if (((unsigned __int128)prefix << 32) >= (unsigned __int128)tp * sum) break;
    }
    return prefix;
}

int sampler_draw(struct sampler *s, const struct sampler_params *p, const float *logits, const int32_t *context, int n_context,
                 int64_t pos, const uint32_t *allowed)
{
    int best = -1, n = 0;
    memcpy(s->z, logits, (size_t)s->n * sizeof *s->z);
    for (int i = 0; i < p->n_bias; i++)
        if (p->bias[i].id >= 0 && p->bias[i].id < s->n) s->z[p->bias[i].id] = s->z[p->bias[i].id] + p->bias[i].bias;
    penalise(s, p, context, n_context);
    for (int i = 0; i < s->n; i++) {
        if (abs_bits(s->z[i]) >= 0x7f800000u) return ERR_RANGE;
        if (!is_allowed(allowed, i)) continue;
        s->heap[n++] = i;
        if (best < 0 || s->z[i] > s->z[best]) best = i;
    }
    if (best < 0) return ERR_USAGE;
    if (p->temperature == 0.0f) return best;
    s->kern->elem->weights(s->w, s->z, s->n, s->z[best], p->temperature);
    uint64_t total = filter(s, p, n);
    uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)}, r[4];
    const uint32_t counter[4] = {(uint32_t)pos, p->choice, PURPOSE_DRAW, 0};
    philox4x32_10(counter, key, r);
    uint64_t u = (uint64_t)(((unsigned __int128)((uint64_t)r[1] << 32 | r[0]) * total) >> 64), sum = 0;
    for (int i = 0; i < s->n / 32 + 1; i++) {
        for (uint32_t bits = s->kept[i]; bits; bits &= bits - 1) {
            int id = 32 * i + __builtin_ctz(bits);
            sum += s->w[id];
            if (sum > u) return id;
        }
    }
    return best; /* not reached: the sum of the kept weights exceeds u */
}

float sampler_logprob(struct sampler *s, const float *logits, int32_t id, struct sampler_logprob *top, int n)
{
    uint64_t sum = 0;
    float max = logits[0];
    int held = 0;
    for (int i = 1; i < s->n; i++) max = logits[i] > max ? logits[i] : max;
    s->kern->elem->weights(s->w, logits, s->n, max, 1.0f);
    for (int i = 0; i < s->n; i++) sum += s->w[i]; /* 2^40 to 2^60 */
    float norm = log32((float)sum * 0x1p-40f);
    for (int i = 0; i < s->n && n > 0; i++) {
        if (held == n && logits[i] <= top[n - 1].logp) continue;
        int at = held < n ? held++ : n - 1;
        for (; at > 0 && top[at - 1].logp < logits[i]; at--) top[at] = top[at - 1];
        top[at] = (struct sampler_logprob){i, logits[i]};
    }
    for (int i = 0; i < held; i++) top[i].logp = (top[i].logp - max) - norm;
    return (logits[id] - max) - norm;
}
