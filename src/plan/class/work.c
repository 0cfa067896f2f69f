/* SPDX-License-Identifier: Apache-2.0 */
/* See work.h. Counts are of one chip of a group of tp that share every product. */
#include "plan/class/work.h"

#include <math.h>

static double of(int n)
{
    return n > 1 ? n : 1;
}

static struct work *add(struct work_list *l, enum work_kind kind, enum device_part part, double times)
{
    must(l->n < WORK_MAX);
    struct work *w = &l->w[l->n++];
    *w = (struct work){.kind = kind, .part = part, .times = times};
    return w;
}

static void product(struct work_list *l, enum device_part part, double times, double m, double n, double k)
{
    struct work *w = add(l, WORK_PRODUCT, part, times);
    w->m = m, w->n = ceil(n), w->k = ceil(k);
}

static void message(struct work_list *l, enum work_kind kind, double times, double bytes, double chips)
{
    struct work *w = add(l, kind, DEVICE_REDUCE, times);
    w->bytes = bytes, w->chips = chips;
}

static void experts(struct work_list *l, const struct device_setup *s, double rows)
{
    const struct shape *m = s->shape;
    double tp = of(s->tp), ep = of(s->ep);
    double layers = m->layers - m->dense_layers;
    struct work *w = add(l, WORK_EXPERTS, DEVICE_EXPERTS, layers);
    w->m = ep > 1 ? rows * fmax(1, ep / tp) : rows;
    w->n = m->inter, w->k = m->hidden, w->topk = m->topk, w->experts = m->experts;
    w->tp = ep > 1 ? 1 : tp, w->ep = ep;
    if (ep > 1) message(l, WORK_EXCHANGE, 2 * layers, rows / tp * m->topk * m->hidden * s->precision->act_bytes, ep);
}

static void ffn(struct work_list *l, double layers, double rows, double hidden, double wide)
{
    if (layers <= 0 || wide <= 0) return;
    product(l, DEVICE_PRODUCTS, layers, rows, 2 * wide, hidden);
    product(l, DEVICE_PRODUCTS, layers, rows, hidden, wide);
}

/* Queries and the one vector of keys and values of all heads go through narrow matrices; each head has its
 * own part of the wide ones. */
static void latent_products(struct work_list *l, const struct shape *m, double rows, double tp)
{
    double queries = m->heads * m->key_dim / tp;
    product(l, DEVICE_PRODUCTS, m->layers, rows, m->latent + m->rope + (m->q_rank > 0 ? m->q_rank : queries),
            m->hidden);
    if (m->q_rank > 0) product(l, DEVICE_PRODUCTS, m->layers, rows, queries, m->q_rank);
    product(l, DEVICE_PRODUCTS, m->layers, rows, m->heads * (m->key_dim - m->rope + m->value_dim) / tp, m->latent);
    product(l, DEVICE_PRODUCTS, m->layers, rows, m->hidden, m->heads * m->value_dim / tp);
}

/* One layer's work on `rows` tokens, but for attention; and the head for `out` rows. */
static void dense_parts(struct work_list *l, const struct device_setup *s, double rows, double out)
{
    const struct shape *m = s->shape;
    double tp = of(s->tp), q = m->heads * m->head_dim / tp,
           kv = m->latent > 0 ? (m->latent + m->rope) / 2 : fmax(m->kv_heads / tp, 1) * m->head_dim;
    double with = m->experts > 0 ? m->layers - m->dense_layers : 0,
           wide = (m->experts > 0 ? m->topk * m->inter + m->shared : m->dense_inter) / tp;
    if (m->latent > 0) latent_products(l, m, rows, tp);
    else {
        product(l, DEVICE_PRODUCTS, m->layers, rows, q + 2 * kv, m->hidden);
        product(l, DEVICE_PRODUCTS, m->layers, rows, m->hidden, q);
    }
    if (with > 0) {
        product(l, DEVICE_PRODUCTS, with, rows, m->experts, m->hidden);
        experts(l, s, rows);
        ffn(l, with, rows, m->hidden, m->shared / tp);
    }
    ffn(l, m->layers - with, rows, m->hidden, m->dense_inter / tp);
    if (tp > 1)
        message(l, WORK_REDUCE, m->layers + (with > 0 && s->ep > 1 ? m->layers - with : m->layers),
                2 * rows * m->hidden, tp);
    struct work *w = add(l, WORK_ROWS, DEVICE_ELEMENTS, m->layers);
    w->m = rows, w->bytes = 2 * rows * (8 * m->hidden + 2 * (q + 2 * kv) + 3 * wide);
    product(l, DEVICE_HEAD, 1, out, m->vocab / tp, m->hidden);
}

static void attention(struct work_list *l, const struct device_setup *s, const struct device_mix *x)
{
    const struct shape *m = s->shape;
    struct work *w = add(l, x->tokens > 1 ? WORK_CONTEXT : WORK_DECODE, DEVICE_ATTENTION, m->layers);
    w->batch = x->batch, w->length = x->tokens > 1 ? x->tokens : x->past + 1, w->past = x->tokens > 1 ? x->past : 0;
    w->heads = fmax(1, m->heads / of(s->tp)), w->kv_heads = fmax(1, m->kv_heads / of(s->tp)), w->head_dim = m->head_dim;
    if (m->latent <= 0) return;
    /* A prompt: keys and values of every head are made, and are of different sizes. A token: heads look at
     * the latent vectors themselves, of which keys take all and values all but what turns. */
    w->head_dim = x->tokens > 1 ? (m->key_dim + m->value_dim) / 2 : m->latent + m->rope / 2;
    w->kv_heads = x->tokens > 1 ? w->heads : (m->latent + m->rope) / (2 * w->head_dim);
}

void work_step(struct work_list *l, const struct device_setup *s, const struct device_mix *mix, int n, double out)
{
    l->n = 0;
    l->sequences = l->rows = 0;
    for (int i = 0; i < n; i++) {
        attention(l, s, &mix[i]);
        l->sequences += mix[i].batch, l->rows += mix[i].batch * mix[i].tokens;
    }
    dense_parts(l, s, l->rows, out);
}

static double seen(const struct work *w, double n)
{
    return w->window > 0 ? fmin(n, w->window) : n;
}

/* Pairs of a query and a key that it sees, of one head and sequence. */
static double pairs(const struct work *w)
{
    if (w->kind == WORK_DECODE) return seen(w, w->length);
    double n = w->length;
    if (w->window > 0 && w->past + n > w->window) return n * seen(w, w->past + n / 2);
    return n * w->past + n * (n + 1) / 2;
}

struct work_sum work_count(const struct work *w, const struct device_precision *p)
{
    struct work_sum c = {0};
    double weight = w->weight_bytes > 0 ? w->weight_bytes : p->weight_bytes;
    switch (w->kind) {
    case WORK_PRODUCT:
        c.ops = 2 * w->m * w->n * w->k;
        c.weights = weight * w->n * w->k;
        c.acts = p->act_bytes * w->m * w->k + 2 * w->m * w->n;
        break;
    case WORK_EXPERTS: {
        double size = 3 * w->k * w->n / w->tp, here = fmax(1, w->experts / w->ep), rows = w->m * w->topk / w->ep;
        c.ops = 2 * rows * size;
        c.weights = weight * size * here * (1 - pow(1 - w->topk / w->experts, w->m));
        c.acts = rows * (p->act_bytes * w->k + 2 * w->k);
        break;
    }
    case WORK_DECODE:
    case WORK_CONTEXT: {
        double queries = w->kind == WORK_DECODE ? 1 : w->length, keys = w->kind == WORK_DECODE ? w->length : w->past;
        c.ops = 4 * w->batch * w->heads * w->head_dim * pairs(w);
        c.cache = 2 * w->batch * w->kv_heads * w->head_dim * seen(w, keys) * p->cache_bytes;
        c.acts = w->batch * queries * w->head_dim * 2 * (2 * w->heads + 2 * w->kv_heads);
        break;
    }
    case WORK_ROWS:
        c.acts = w->bytes;
        break;
    case WORK_REDUCE:
        c.wire = 2 * (w->chips - 1) / w->chips * w->bytes;
        break;
    case WORK_EXCHANGE:
        c.wire = (w->chips - 1) / w->chips * w->bytes;
        break;
    }
    return c;
}

double work_weight_bytes(const struct device_setup *s)
{
    const struct shape *m = s->shape;
    double tp = of(s->tp), ends = m->vocab * m->hidden * (m->tied ? 1 : 2), expert = shape_expert_weights(m),
           beside = shape_weights(m) - ends - expert;
    double share = beside / tp + expert / (s->ep > 1 ? s->ep : tp);
    return (s->precision->weight_bytes * share + s->precision->end_bytes * ends / tp) / of(s->pp);
}

double work_token_bytes(const struct device_setup *s)
{
    return s->precision->cache_bytes * shape_kv(s->shape) / fmin(of(s->tp), s->shape->kv_heads) / of(s->pp);
}
