/* SPDX-License-Identifier: Apache-2.0 */
/* See shape.h. */
#include "plan/class/shape.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

__asm__(
    ".section .rodata\n.hidden shapes_text\n.global shapes_text\nshapes_text:\n.incbin \"data/shapes.json\"\n.byte 0\n.previous\n");
extern const char shapes_text[];

enum { SIZE_MAX_OF_A_KEY = 1 << 24, NAMES_MAX = 1024 };

/* A whole number in 1..2^24 under the first of two keys that is there. 0 if neither is and `optional`. */
static int take(double *out, const json_t *j, const char *name, const char *key, const char *other,
                bool optional, struct err *e)
{
    const json_t *v = json_object_get(j, key);
    if (!v && other) v = json_object_get(j, key = other);
    *out = 0;
    if (optional && (!v || json_is_null(v))) return 0;
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 1 || n > SIZE_MAX_OF_A_KEY)
        return err(e, ERR_FORMAT, "%s: '%s' must be a whole number in 1..%d", name, key, SIZE_MAX_OF_A_KEY);
    *out = (double)n;
    return 0;
}

static int read_config(struct shape *s, const json_t *j, struct err *e)
{
    const char *n = s->name;
    double expert_inter, shared, beside, key;
    int rc;
    if ((rc = take(&s->layers, j, n, "num_hidden_layers", NULL, false, e)) ||
        (rc = take(&s->hidden, j, n, "hidden_size", NULL, false, e)) ||
        (rc = take(&s->inter, j, n, "intermediate_size", NULL, false, e)) ||
        (rc = take(&s->heads, j, n, "num_attention_heads", NULL, false, e)) ||
        (rc = take(&s->kv_heads, j, n, "num_key_value_heads", NULL, true, e)) ||
        (rc = take(&s->head_dim, j, n, "head_dim", NULL, true, e)) ||
        (rc = take(&s->vocab, j, n, "vocab_size", NULL, false, e)) ||
        (rc = take(&s->experts, j, n, "num_local_experts",
                   json_object_get(j, "n_routed_experts") ? "n_routed_experts" : "num_experts", true, e)) ||
        (rc = take(&s->topk, j, n, "num_experts_per_tok", NULL, true, e)) ||
        (rc = take(&expert_inter, j, n, "moe_intermediate_size", NULL, true, e)) ||
        (rc = take(&shared, j, n, "n_shared_experts", NULL, true, e)) ||
        (rc = take(&beside, j, n, "shared_expert_intermediate_size", "shared_intermediate_size", true, e)) ||
        (rc = take(&s->dense_layers, j, n, "first_k_dense_replace", NULL, true, e)) ||
        (rc = take(&s->latent, j, n, "kv_lora_rank", NULL, true, e)) ||
        (rc = take(&s->rope, j, n, "qk_rope_head_dim", NULL, !s->latent, e)) ||
        (rc = take(&s->q_rank, j, n, "q_lora_rank", NULL, true, e)) ||
        (rc = take(&key, j, n, "qk_nope_head_dim", NULL, !s->latent, e)) ||
        (rc = take(&s->value_dim, j, n, "v_head_dim", NULL, !s->latent, e)))
        return rc;
    /* one cache for all heads */
    if (s->latent > 0) s->key_dim = key + s->rope, s->head_dim = s->key_dim, s->kv_heads = 1;
    if (s->kv_heads == 0) s->kv_heads = s->heads;
    if (s->head_dim == 0) s->head_dim = s->hidden / s->heads;
    if (s->dense_layers > s->layers || (s->dense_layers > 0 && s->experts == 0))
        return err(e, ERR_FORMAT, "%s: %g layers without experts, of %g", n, s->dense_layers, s->layers);
    s->dense_inter = s->inter;
    if (s->experts > 0 && expert_inter > 0) s->inter = expert_inter;
    /* Grok 2: a common one of the dense width */
    s->shared =
        shared * s->inter + beside +
        (json_is_true(json_object_get(j, "residual_moe")) ? s->dense_inter : 0);
    if (s->kv_heads > s->heads) return err(e, ERR_FORMAT, "%s: %g KV heads for %g heads", n, s->kv_heads, s->heads);
    if ((s->experts > 0) != (s->topk > 0) || s->topk > s->experts)
        return err(e, ERR_FORMAT, "%s: %g experts, of which a token takes %g", n, s->experts, s->topk);
    s->tied = json_is_true(json_object_get(j, "tie_word_embeddings"));
    return 0;
}

static int unknown(json_t *all, const char *name, struct err *e)
{
    char names[NAMES_MAX] = "";
    const char *key;
    json_t *v;
    json_object_foreach(all, key, v) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", key);
    }
    return err(e, ERR_NOT_FOUND, "no shape '%s'; known: %s; or give the path of a config.json", name, names);
}

int shape_open(struct shape *s, const char *name, struct err *e)
{
    json_error_t why;
    const char *base = strrchr(name, '/');
    *s = (struct shape){0};
    snprintf(s->name, sizeof s->name, "%s", base ? base + 1 : name);
    json_t *all = json_loads(shapes_text, JSON_REJECT_DUPLICATES, &why), *file = NULL;
    must(all);
    const json_t *j = json_object_get(all, name);
    int rc = 0;
    if (!j && (base || strstr(name, ".json"))) {
        file = json_load_file(name, JSON_REJECT_DUPLICATES, &why);
        if (!file)
            rc = why.line < 0 ? err(e, ERR_NOT_FOUND, "%s", why.text)
                              : err(e, ERR_FORMAT, "%s:%d: %s", name, why.line, why.text);
        j = file;
    } else if (!j) {
        rc = unknown(all, name, e);
    }
    if (!rc) rc = read_config(s, j, e);
    json_decref(file);
    json_decref(all);
    return rc;
}

double shape_attention_weights(const struct shape *s)
{
    if (s->latent <= 0) return s->hidden * s->head_dim * (2 * s->heads + 2 * s->kv_heads);
    double queries = s->heads * s->key_dim,
           query = s->q_rank > 0 ? s->q_rank * (s->hidden + queries) : s->hidden * queries;
    return query + s->hidden * (s->latent + s->rope) +
           s->latent * s->heads * (s->key_dim - s->rope + s->value_dim) + s->heads * s->value_dim * s->hidden;
}

double shape_expert_weights(const struct shape *s)
{
    return s->experts > 0 ? (s->layers - s->dense_layers) * s->experts * 3 * s->hidden * s->inter : 0;
}

double shape_weights(const struct shape *s)
{
    double with = s->experts > 0 ? s->layers - s->dense_layers : 0, without = s->layers - with;
    double beside = with * s->hidden * (s->experts + 3 * s->shared) + without * 3 * s->hidden * s->dense_inter;
    return s->layers * shape_attention_weights(s) + shape_expert_weights(s) + beside +
           s->vocab * s->hidden * (s->tied ? 1 : 2);
}

double shape_kv(const struct shape *s)
{
    return s->layers * (s->latent > 0 ? s->latent + s->rope : 2 * s->kv_heads * s->head_dim);
}
