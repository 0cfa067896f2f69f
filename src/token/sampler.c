/* SPDX-License-Identifier: Apache-2.0 */
/* See sampler.h. */
#include "token/sampler.h"

#include <stdlib.h>
#include <string.h>
#include "kern/mathf.h"
#include "kern/num.h"
#include "kern/philox.h"

enum { PURPOSE_DRAW = 0, BUCKETS = 40 * 32 + 1 };

struct bucket {
    int n;
    uint64_t sum; /* of its weights */
};

struct sampler {
    int n;
    const struct kern *kern;
    float *z;        /* [n] logits after penalties */
    uint64_t *w;     /* [n] weights */
    int32_t *ids;    /* [n] candidates, ascending */
    int32_t *order;  /* [n] those of one bucket, a heap by (z descending, id ascending) */
    uint32_t *kept;  /* bit per id; all zero between calls */
    uint32_t *count; /* [n] occurrences in the penalty window; all zero between calls */
    struct bucket bucket[BUCKETS];
};

void sampler_params_default(struct sampler_params *p)
{
    *p = (struct sampler_params){.temperature = 0.8f,
                                 .top_k = 40,
                                 .top_p = 0.95f,
                                 .min_p = 0.05f,
                                 .repetition_penalty = 1.0f,
                                 .penalty_last = 64};
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
        (rc = check(e, "min_p", p->min_p, 0, 1)) ||
        (rc = check(e, "repetition penalty", p->repetition_penalty, 0.01f, 100)) ||
        (rc = check(e, "frequency penalty", p->frequency_penalty, -100, 100)) ||
        (rc = check(e, "presence penalty", p->presence_penalty, -100, 100)))
        return rc;
    if (p->temperature > 0 && p->temperature < 0x1p-20f)
        return err(e, ERR_USAGE, "temperature %g is too small: use 0 for greedy", (double)p->temperature);
    for (int i = 0; i < p->n_bias; i++)
        if ((rc = check(e, "logit bias", p->bias[i].bias, -SAMPLER_BIAS_MAX, SAMPLER_BIAS_MAX))) return rc;
    if (p->top_k < 0) return err(e, ERR_USAGE, "top_k is %d: must be 0 (all) or more", p->top_k);
    if (p->penalty_last < -1)
        return err(e, ERR_USAGE, "penalty window is %d: must be -1 (all) or more", p->penalty_last);
    return 0;
}

int sampler_create(struct sampler **out, int n_vocab, const struct kern *kern, struct err *e)
{
    must(n_vocab > 0 && n_vocab <= SAMPLER_VOCAB_MAX);
    size_t n = (size_t)n_vocab;
    struct sampler *s = calloc(1, sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    *s = (struct sampler){.n = n_vocab, .kern = kern};
    s->z = malloc(n * sizeof *s->z);
    s->w = malloc(n * sizeof *s->w);
    s->ids = malloc(n * sizeof *s->ids);
    s->order = malloc(n * sizeof *s->order);
    s->kept = calloc(n / 32 + 1, sizeof *s->kept);
    s->count = calloc(n, sizeof *s->count);
    if (!s->z || !s->w || !s->ids || !s->order || !s->kept || !s->count) {
        sampler_destroy(s);
        return err(e, ERR_MEMORY, "out of memory for a vocabulary of %d", n_vocab);
    }
    *out = s;
    return 0;
}

void sampler_destroy(struct sampler *s)
{
    if (!s) return;
    free(s->z), free(s->w), free(s->ids), free(s->order), free(s->kept), free(s->count);
    free(s);
}

/* Bias, then penalties; the logits themselves where there are none. */
static const float *adjust(struct sampler *s, const struct sampler_params *p, const float *logits,
                           const int32_t *context, int n)
{
    int first = p->penalty_last < 0 || p->penalty_last > n ? 0 : n - p->penalty_last;
    bool none = p->repetition_penalty == 1.0f && p->frequency_penalty == 0.0f && p->presence_penalty == 0.0f;
    if (none && p->n_bias == 0) return logits;
    memcpy(s->z, logits, (size_t)s->n * sizeof *s->z);
    for (int i = 0; i < p->n_bias; i++)
        if (p->bias[i].id >= 0 && p->bias[i].id < s->n) s->z[p->bias[i].id] = s->z[p->bias[i].id] + p->bias[i].bias;
    if (none) return s->z;
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
    return s->z;
}

/* The total order: z descending, id ascending; -0 equals +0. */
static bool before(const float *z, int32_t a, int32_t b)
{
    return z[a] > z[b] || (z[a] == z[b] && a < b);
}

static void sift_down(int32_t *h, const float *z, int i, int n)
{
    int32_t id = h[i];
    for (int c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && before(z, h[c + 1], h[c])) c++;
        if (!before(z, h[c], id)) break;
        h[i] = h[c];
    }
    h[i] = id;
}

/* Buckets in the order of weights, 32 for each power of two: what is not in the same bucket need not be compared. */
static int bucket_of(uint64_t w)
{
    return (int)(f32_bits((float)w) >> 18) - (127 << 5);
}

/* The first candidate in the total order, -1: nothing is allowed. */
static int first_of(const float *z, int n, float max, const uint32_t *allowed)
{
    int best = -1;
    if (!allowed)
        while (z[++best] != max) continue;
    for (int i = 0; allowed && i < (n + 31) / 32; i++) {
        for (uint32_t bits = allowed[i]; bits; bits &= bits - 1) {
            int id = 32 * i + __builtin_ctz(bits);
            if (id < n && (best < 0 || z[id] > z[best])) best = id;
        }
    }
    return best;
}

/* Candidates of at least this weight, in s->ids, ascending; returns how many. */
static int gather(struct sampler *s, uint64_t least, const uint32_t *allowed, uint64_t *sum)
{
    int n = 0;
    *sum = 0;
    if (!allowed) {
        for (int i = 0; i < s->n; i++) {
            bool in = s->w[i] >= least;
            s->ids[n] = i;
            n += in;
            *sum += in ? s->w[i] : 0;
        }
        return n;
    }
    for (int i = 0; i < (s->n + 31) / 32; i++) {
        for (uint32_t bits = allowed[i]; bits; bits &= bits - 1) {
            int id = 32 * i + __builtin_ctz(bits);
            if (id >= s->n || s->w[id] < least) continue;
            s->ids[n++] = id;
            *sum += s->w[id];
        }
    }
    return n;
}

/* The candidates of a bucket, as a heap by the total order. */
static int heap_bucket(struct sampler *s, const float *z, int n, int bucket)
{
    int m = 0;
    for (int i = 0; i < n; i++)
        if (bucket_of(s->w[s->ids[i]]) == bucket) s->order[m++] = s->ids[i];
    for (int i = m / 2 - 1; i >= 0; i--) sift_down(s->order, z, i, m);
    return m;
}

static int32_t pop(struct sampler *s, const float *z, int m)
{
    int32_t id = s->order[0];
    s->order[0] = s->order[m - 1];
    sift_down(s->order, z, 0, m - 1);
    return id;
}

/* Where the kept ones end: all above the bucket, and in it the ids that are marked in s->kept. */
struct cut {
    int bucket;
    uint64_t sum; /* of all kept */
    int n_marked;
};

/* Top-k, then top-p, of n candidates whose weights sum to `sum`. Only the buckets where the two limits fall
 * are put in order. */
static struct cut cut_off(struct sampler *s, const float *z, int n, uint64_t sum, int k, uint64_t tp)
{
    memset(s->bucket, 0, sizeof s->bucket);
    for (int i = 0; i < n; i++) {
        struct bucket *b = &s->bucket[bucket_of(s->w[s->ids[i]])];
        b->n++;
        b->sum += s->w[s->ids[i]];
    }
    int low = BUCKETS - 1, above = 0;
    uint64_t total = 0;
    for (; above + s->bucket[low].n < k; low--) above += s->bucket[low].n, total += s->bucket[low].sum;
    if (above + s->bucket[low].n > k)
        for (int m = heap_bucket(s, z, n, low), i = 0; i < k - above; i++, m--) total += s->w[pop(s, z, m)];
    else
        total = k == n ? sum : total + s->bucket[low].sum;
    unsigned __int128 want = (unsigned __int128)tp * total;
    struct cut c = {BUCKETS - 1, 0, 0};
    for (; c.bucket > low && ((unsigned __int128)(c.sum + s->bucket[c.bucket].sum) << 32) < want; c.bucket--)
        c.sum += s->bucket[c.bucket].sum;
    int most = c.bucket == low ? k - above : s->bucket[c.bucket].n;
    for (int m = heap_bucket(s, z, n, c.bucket); c.n_marked < most; m--) {
        int32_t id = pop(s, z, m);
        s->order[m - 1] = id; /* the marked ones gather at the end of the bucket's list */
        s->kept[id / 32] |= 1u << id % 32;
        c.sum += s->w[id];
        c.n_marked++;
        if (((unsigned __int128)c.sum << 32) >= want) break;
    }
    return c;
}

static bool is_kept(const struct sampler *s, const struct cut *c, int32_t id)
{
    int b = bucket_of(s->w[id]);
    return b > c->bucket || (b == c->bucket && (s->kept[id / 32] >> id % 32 & 1));
}

static uint64_t random_below(const struct sampler_params *p, int64_t pos, uint64_t total)
{
    uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)}, r[4];
    const uint32_t counter[4] = {(uint32_t)pos, p->choice, PURPOSE_DRAW, 0};
    philox4x32_10(counter, key, r);
    return (uint64_t)(((unsigned __int128)((uint64_t)r[1] << 32 | r[0]) * total) >> 64);
}

int sampler_draw(struct sampler *s, const struct sampler_params *p, const float *logits,
                 const int32_t *context, int n_context, int64_t pos, const uint32_t *allowed)
{
    const float *z = adjust(s, p, logits, context, n_context);
    float max;
    if (s->kern->elem->largest(&max, z, s->n)) return ERR_RANGE;
    int best = first_of(z, s->n, max, allowed), i = 0;
    if (best < 0) return ERR_USAGE;
    if (p->temperature == 0.0f) return best;
    s->kern->elem->weights(s->w, z, s->n, z[best], p->temperature);
    /* The largest weight is exp(0) * 2^40, so min-p * 2^32 of it is this; a weight of 0 is never drawn. */
    uint64_t least = (uint64_t)((double)p->min_p * 0x1p32 + 0.5) << 8, sum, run = 0;
    int n = gather(s, least ? least : 1, allowed, &sum), k = p->top_k > 0 && p->top_k < n ? p->top_k : n;
    if (k == n && p->top_p >= 1.0f) {
        for (uint64_t u = random_below(p, pos, sum); i < n && (run += s->w[s->ids[i]]) <= u;) i++;
        return i < n ? s->ids[i] : best;
    }
    struct cut c = cut_off(s, z, n, sum, k, (uint64_t)((double)p->top_p * 0x1p32 + 0.5));
    uint64_t u = random_below(p, pos, c.sum);
    for (; i < n; i++)
        if (is_kept(s, &c, s->ids[i]) && (run += s->w[s->ids[i]]) > u) break;
    int in_bucket = s->bucket[c.bucket].n;
    for (int j = in_bucket - c.n_marked; j < in_bucket; j++) s->kept[s->order[j] / 32] = 0;
    return i < n ? s->ids[i] : best; /* i < n: the sum of the kept weights exceeds u */
}

float sampler_logprob(struct sampler *s, const float *logits, int32_t id, struct sampler_logprob *top, int n)
{
    uint64_t sum = 0;
    float max;
    int held = 0;
    s->kern->elem->largest(&max, logits, s->n);
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
