/* SPDX-License-Identifier: Apache-2.0 */
/* See witness.h. */
#include "serve/receipt/witness.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/utf8.h"
#include "serve/engine/engine.h"

enum { TOKENS_FIRST = 64 };

void witness_spec(struct receipt_spec *s, const struct engine *en)
{
    char id[2 * RECEIPT_HASH + 1];
    *s = (struct receipt_spec){.kv_bits = en->kv->shape.type == KV8 ? 8 : 16, .rotation = model_rotation(en->model)};
    engine_contract_id(id);
    sodium_hex2bin(s->contract, RECEIPT_HASH, id, 2 * RECEIPT_HASH, NULL, NULL, NULL);
}

static int by_id(const void *a, const void *b)
{
    const struct sampler_bias *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_value(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* In order, each once, as receipts have them. NULL: out of memory. */
static int32_t *make_set(const int32_t *ids, int *n)
{
    int32_t *set = malloc(((size_t)*n + 1) * sizeof *set);
    int m = 0;
    if (!set) return NULL;
    if (*n) memcpy(set, ids, (size_t)*n * sizeof *set);
    qsort(set, (size_t)*n, sizeof *set, by_value);
    for (int i = 0; i < *n; i++)
        if (!m || set[i] != set[m - 1]) set[m++] = set[i];
    *n = m;
    return set;
}

int witness_begin(struct witness *w, const struct receipt_spec *given, bool private, struct err *e)
{
    struct receipt_spec spec = *given;
    *w = (struct witness){.private = private};
    buf_init(&w->spec, RECEIPT_BYTES_MAX);
    if (private) {
        randombytes_buf(w->salt, sizeof w->salt);
        receipt_prompt_hash(w->salt, spec.prompt, spec.n_prompt, spec.prompt_hash);
        spec.prompt = NULL;
    }
    struct sampler_bias *bias = calloc((size_t)spec.sample.n_bias + 1, sizeof *bias);
    int32_t *allowed = make_set(spec.allowed, &spec.n_allowed), *stop_ids = make_set(spec.stop_ids, &spec.n_stop_ids);
    if (!bias || !allowed || !stop_ids) {
        free(bias), free(allowed), free(stop_ids);
        return err(e, ERR_MEMORY, "out of memory");
    }
    if (spec.sample.n_bias) memcpy(bias, spec.sample.bias, (size_t)spec.sample.n_bias * sizeof *bias);
    qsort(bias, (size_t)spec.sample.n_bias, sizeof *bias, by_id);
    spec.sample.bias = bias;
    spec.allowed = allowed;
    spec.stop_ids = stop_ids;
    receipt_put_spec(&spec, &w->spec);
    free(bias), free(allowed), free(stop_ids);
    return w->spec.failed ? err(e, w->spec.failed, "the request is too large for a receipt: %s",
                                err_text(w->spec.failed))
                          : 0;
}

void witness_token(struct witness *w, int32_t id, const uint8_t state[RECEIPT_HASH])
{
    if (w->failed) return;
    if (w->n == w->cap) {
        int cap = w->cap ? 2 * w->cap : TOKENS_FIRST;
        int32_t *ids = cap <= RECEIPT_IDS_MAX ? realloc(w->ids, (size_t)cap * sizeof *ids) : NULL;
        if (ids) w->ids = ids;
        void *states = ids ? realloc(w->states, (size_t)cap * sizeof *w->states) : NULL;
        if (!states) {
            w->failed = cap <= RECEIPT_IDS_MAX ? ERR_MEMORY : ERR_LIMIT;
            return;
        }
        w->states = states;
        w->cap = cap;
    }
    w->ids[w->n] = id;
    memcpy(w->states[w->n++], state, RECEIPT_HASH);
}

static struct str cut(struct str s)
{
    if (s.n > RECEIPT_TEXT_MAX) s.n = RECEIPT_TEXT_MAX;
    s.n = utf8_valid(s);
    return s;
}

int witness_write(struct witness *w, const struct witness_end *end, const struct signing *s, struct buf *out,
                  struct err *e)
{
    struct receipt_chain chain;
    if (w->failed) return err(e, w->failed, "the receipt is lost: %s", err_text(w->failed));
    memcpy(w->spec.p + RECEIPT_ROOT_AT, end->root, RECEIPT_HASH);
    receipt_chain_begin(&chain, buf_str(&w->spec));
    for (int i = 0; i < w->n; i++) receipt_chain_add(&chain, w->ids[i], w->states[i]);
    struct receipt r = {.spec_bytes = buf_str(&w->spec),
                        .answer = w->ids,
                        .n_answer = w->n,
                        .end = end->end,
                        .marks = (const uint8_t *)chain.marks.p,
                        .time_s = (int64_t)time(NULL),
                        .request = cut(end->request),
                        .model = cut(end->model),
                        .has_salt = w->private};
    memcpy(r.head, chain.h, sizeof r.head);
    memcpy(r.salt, w->salt, sizeof r.salt);
    int rc = chain.marks.failed
                 ? err(e, chain.marks.failed, "the receipt is lost: %s", err_text(chain.marks.failed))
                 : receipt_write(&r, s, out, e);
    receipt_chain_finish(&chain);
    return rc;
}

void witness_finish(struct witness *w)
{
    buf_finish(&w->spec);
    free(w->ids);
    free(w->states);
    *w = (struct witness){0};
}
