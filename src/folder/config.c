/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json -> the keys that a GGUF file of the model has. Most are copies under another name (`plain`);
 * rotation and window have rules. What the family's code does not compute is refused, not ignored. A value
 * that is null counts as absent.
 */
#include <inttypes.h>
#include <math.h>
#include "kern/num.h"
#include "kern/rope.h"
#include "folder/int.h"

enum { KIND_U32, KIND_F32 };

static const struct {
    const char *key, *names;
    int kind;
    bool needed;
} plain[] = {
    {"block_count", "num_hidden_layers|num_layers|n_layer", KIND_U32, true},
    {"context_length", "max_position_embeddings", KIND_U32, true},
    {"embedding_length", "hidden_size", KIND_U32, true},
    {"feed_forward_length", "intermediate_size", KIND_U32, true},
    {"attention.head_count", "num_attention_heads", KIND_U32, true},
    {"attention.head_count_kv", "num_key_value_heads", KIND_U32, false},
    {"attention.q_lora_rank", "q_lora_rank", KIND_U32, false},
    {"attention.kv_lora_rank", "kv_lora_rank", KIND_U32, false},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps|layer_norm_epsilon", KIND_F32, true},
    {"attention.clamp_kqv", "clip_qkv", KIND_F32, false},
    {"expert_count", "num_local_experts|num_experts|n_routed_experts", KIND_U32, false},
    {"expert_used_count", "num_experts_per_tok|experts_per_token", KIND_U32, false},
    {"expert_feed_forward_length", "moe_intermediate_size", KIND_U32, false},
    {"expert_shared_feed_forward_length", "shared_expert_intermediate_size|shared_intermediate_size", KIND_U32, false},
    {"expert_shared_count", "n_shared_experts", KIND_U32, false},
    {"leading_dense_block_count", "first_k_dense_replace", KIND_U32, false},
    {"expert_weights_scale", "routed_scaling_factor", KIND_F32, false},
    {"attn_logit_softcapping", "attn_logit_softcapping", KIND_F32, false},
    {"final_logit_softcapping", "final_logit_softcapping", KIND_F32, false},
    {"router_logit_softcapping", "router_logit_softcapping", KIND_F32, false},
    {"embedding_scale", "embedding_multiplier|embedding_multiplier_scale", KIND_F32, false},
    {"residual_scale", "residual_multiplier", KIND_F32, false},
    {"attention.scale", "attention_multiplier", KIND_F32, false},
    {"attention.output_scale", "attn_output_multiplier", KIND_F32, false},
    {"attention.temperature_length", "attn_temperature_len", KIND_U32, false},
    {"logit_scale", "logits_scaling|output_multiplier_scale", KIND_F32, false},
};

/* --- values -------------------------------------------------------------------------------------------------- */

/* The value in an object by one of several names; NULL if it is absent or null. */
static const json_t *member(const json_t *o, const char *names)
{
    for (const char *at = names; *at;) {
        size_t n = strcspn(at, "|");
        const json_t *j = json_object_getn(o, at, n);
        if (j && !json_is_null(j)) return j;
        at += n + (at[n] == '|');
    }
    return NULL;
}

const json_t *folder_value(const struct folder *f, const char *names)
{
    const json_t *j = member(f->text, names);
    return j ? j : member(f->defaults, names);
}

void folder_key(const struct folder *f, const char *key, char out[static 96])
{
    snprintf(out, 96, "%s.%s", f->arch->arch, key);
}

static int not_a(const char *names, const char *what, struct err *e)
{
    return err(e, ERR_FORMAT, "config.json: '%s': expected %s", names, what);
}

static int to_u32(const json_t *j, const char *names, uint32_t *v, struct err *e)
{
    double x = json_number_value(j);
    if (!json_is_number(j) || !(x >= 0 && x <= (double)UINT32_MAX) || x != floor(x)) return not_a(names, "a count", e);
    *v = (uint32_t)x;
    return 0;
}

static int to_f32(const json_t *j, const char *names, float *v, struct err *e)
{
    double x = json_number_value(j);
    if (!json_is_number(j) || !(fabs(x) < 0x1p60)) return not_a(names, "a number", e);
    *v = (float)x;
    return 0;
}

static int value_u32(const struct folder *f, const char *names, uint32_t fallback, uint32_t *v, struct err *e)
{
    const json_t *j = folder_value(f, names);
    *v = fallback;
    return j ? to_u32(j, names, v, e) : 0;
}

static int value_f32(const struct folder *f, const char *names, float fallback, float *v, struct err *e)
{
    const json_t *j = folder_value(f, names);
    *v = fallback;
    return j ? to_f32(j, names, v, e) : 0;
}

static void put_u32(const struct folder *f, const char *key, uint32_t v)
{
    char name[96];
    folder_key(f, key, name);
    gguf_make_u32(f->g, name, v);
}

static void put_f32(const struct folder *f, const char *key, float v)
{
    char name[96];
    folder_key(f, key, name);
    gguf_make_f32(f->g, name, v);
}

static void put_bool(const struct folder *f, const char *key, bool v)
{
    char name[96];
    folder_key(f, key, name);
    gguf_make_bool(f->g, name, v);
}

static void put_str(const struct folder *f, const char *key, const char *v)
{
    char name[96];
    folder_key(f, key, name);
    gguf_make_str(f->g, name, str_from(v));
}

static int put_plain(struct folder *f, struct err *e)
{
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        const json_t *j = folder_value(f, plain[i].names);
        uint32_t u = 0;
        float x = 0;
        if (!j && plain[i].needed) return err(e, ERR_FORMAT, "config.json: '%s' is missing", plain[i].names);
        if (!j) continue;
        int rc = plain[i].kind == KIND_U32 ? to_u32(j, plain[i].names, &u, e) : to_f32(j, plain[i].names, &x, e);
        if (rc) return rc;
        if (plain[i].kind == KIND_U32)
            put_u32(f, plain[i].key, u);
        else
            put_f32(f, plain[i].key, x);
    }
    return 0;
}

static bool is(const json_t *j, const char *text)
{
    return j && json_is_string(j) && strcmp(json_string_value(j), text) == 0;
}

/* Sizes of heads. Latent attention: what the heads would be without it. */
static int put_heads(struct folder *f, struct err *e)
{
    uint32_t dim, nope, rope, v;
    int rc;
    if (!f->arch->latent) {
        if (!folder_value(f, "head_dim")) return 0;
        if ((rc = value_u32(f, "head_dim", 0, &dim, e))) return rc;
        put_u32(f, "attention.key_length", dim);
        put_u32(f, "attention.value_length", dim);
        return 0;
    }
    if ((rc = value_u32(f, "qk_nope_head_dim", 0, &nope, e)) ||
        (rc = value_u32(f, "qk_rope_head_dim", 0, &rope, e)) || (rc = value_u32(f, "v_head_dim", 0, &v, e)))
        return rc;
    if (!nope || !rope || !v || nope > UINT16_MAX || rope > UINT16_MAX)
        return not_a("qk_nope_head_dim, qk_rope_head_dim, v_head_dim", "sizes of heads", e);
    put_u32(f, "attention.key_length", nope + rope);
    put_u32(f, "attention.value_length", v);
    return 0;
}

/* Grok 2: scores are divided by the root of the head's size unless it is said; frequencies are the "original"
 * ones, although their scaling is described. */
static int put_grok(struct folder *f, struct err *e)
{
    const json_t *type = folder_value(f, "rope_type"), *common = folder_value(f, "residual_moe");
    uint32_t dim;
    int rc;
    if (strcmp(f->arch->arch, "grok") != 0) return 0;
    if (type && !is(type, "original"))
        return err(e, ERR_UNSUPPORTED,
                   "config.json: 'rope_type' is '%.32s'; only 'original' is read of family grok",
                   json_is_string(type) ? json_string_value(type) : "?");
    if (!json_is_true(common))
        return err(
            e, ERR_UNSUPPORTED,
            "config.json: 'residual_moe' is not true: Grok 2 is read from folders, Grok 1 from GGUF files");
    if ((rc = value_u32(f, "head_dim", 0, &dim, e))) return rc;
    if (!dim || dim > UINT16_MAX) return not_a("head_dim", "the size of a head", e);
    if (!folder_value(f, "attn_output_multiplier"))
        put_f32(f, "attention.output_scale", (float)(1.0 / sqrt((double)dim)));
    return 0;
}

/* How experts are chosen: by softmax, alone or among the best groups; or by sigmoid and a bias, among the
 * groups whose two best are. */
static int put_choice(struct folder *f, struct err *e)
{
    const json_t *method = folder_value(f, "topk_method"), *score = folder_value(f, "scoring_func"),
                 *norm = folder_value(f, "norm_topk_prob");
    uint32_t groups, used;
    int rc;
    if (f->arch->topk != TOPK_KEY) return 0;
    bool sigmoid = is(score, "sigmoid") || (!score && (!method || is(method, "noaux_tc"))),
         greedy = is(method, "greedy");
    if ((score && !sigmoid && !is(score, "softmax")) ||
        (method && !(sigmoid ? is(method, "noaux_tc") : greedy || is(method, "group_limited_greedy"))))
        return err(
            e, ERR_UNSUPPORTED,
            "config.json: experts chosen by scoring_func '%.32s' and topk_method '%.32s': sigmoid with noaux_tc, softmax with greedy or group_limited_greedy are read",
            score && json_is_string(score) ? json_string_value(score) : "?",
            method && json_is_string(method) ? json_string_value(method) : "?");
    if ((rc = value_u32(f, "n_group", 0, &groups, e)) || (rc = value_u32(f, "topk_group", 0, &used, e))) return rc;
    put_u32(f, "expert_gating_func", sigmoid ? 2 : 1);
    put_bool(f, "expert_weights_norm", json_is_true(norm));
    if (groups > 1 && !greedy) {
        put_u32(f, "expert_group_count", groups);
        put_u32(f, "expert_group_used_count", used);
    }
    return 0;
}

/* --- rotation ------------------------------------------------------------------------------------------------ */

struct rotation {
    const json_t *scaling; /* rope_scaling, or rope_parameters of newer configurations; NULL: none */
    float base;
    uint32_t dim, context, original;
};

static int put_tensor_f32(struct folder *f, const char *name, const float *v, uint64_t n, struct err *e)
{
    float *copy = gguf_make_alloc(f->g, n * sizeof *copy);
    if (!copy) return err(e, ERR_MEMORY, "out of memory");
    memcpy(copy, v, n * sizeof *copy);
    struct tensor t = {.name = str_from(name), .type = DTYPE_F32, .n_dims = 1, .ne = {n}, .data = copy};
    return gguf_make_tensor(f->g, &t, e);
}

/* Llama 3: factors by which each pair's frequency is divided, in the arithmetic of the usual converter. */
static int put_llama3(struct folder *f, const struct rotation *r, float factor, struct err *e)
{
    float low = 0, high = 0, v[ROPE_MAX_DIM / 2];
    const json_t *jl = member(r->scaling, "low_freq_factor"), *jh = member(r->scaling, "high_freq_factor");
    int rc;
    if ((rc = to_f32(jl, "low_freq_factor", &low, e)) || (rc = to_f32(jh, "high_freq_factor", &high, e))) return rc;
    if (!(factor >= 1 && low > 0 && high > low && r->original > 0))
        return not_a("rope_scaling", "factors with 1 <= factor and 0 < low < high", e);
    rope_powers(r->base, (int)r->dim, v);
    for (uint32_t i = 0; i < r->dim / 2; i++) {
        float freq = 1.0f / v[i], wave = 6.283185307179586f / freq, orig = (float)r->original;
        float smooth = (orig / wave - low) / (high - low);
        v[i] = wave < orig / high ? 1.0f : wave > orig / low ? factor : 1.0f / ((1.0f - smooth) / factor + smooth);
    }
    return put_tensor_f32(f, "rope_freqs.weight", v, r->dim / 2, e);
}

/* Phi: two tables of factors, and a factor on attention by how much longer the context has become. */
static int put_longrope(struct folder *f, const struct rotation *r, struct err *e)
{
    static const char *const names[2][2] = {{"long_factor", "rope_factors_long.weight"},
                                            {"short_factor", "rope_factors_short.weight"}};
    for (int k = 0; k < 2; k++) {
        const json_t *list = member(r->scaling, names[k][0]);
        float v[ROPE_MAX_DIM / 2];
        if (json_array_size(list) != r->dim / 2)
            return err(e, ERR_FORMAT, "config.json: '%s': expected %u factors, got %zu", names[k][0],
                       r->dim / 2, json_array_size(list));
        for (uint32_t i = 0; i < r->dim / 2; i++) {
            int rc = to_f32(json_array_get(list, i), names[k][0], &v[i], e);
            if (rc) return rc;
        }
        int rc = put_tensor_f32(f, names[k][1], v, r->dim / 2, e);
        if (rc) return rc;
    }
    float scale = (float)r->context / (float)r->original,
          attn = scale > 1 && r->original > 1 ? rope_long_attn(scale, (float)r->original) : 1.0f;
    const json_t *given = member(r->scaling, "attention_factor");
    int rc = given ? to_f32(given, "attention_factor", &attn, e) : 0;
    put_u32(f, "rope.scaling.original_context_length", r->original);
    put_f32(f, "rope.scaling.attn_factor", attn);
    return rc;
}

static int put_yarn(struct folder *f, const struct rotation *r, float factor, struct err *e)
{
    static const char *const betas[2][2] = {{"beta_fast", "rope.scaling.yarn_beta_fast"},
                                            {"beta_slow", "rope.scaling.yarn_beta_slow"}};
    const json_t *given = member(r->scaling, "attention_factor");
    bool exact = json_is_false(json_object_get(r->scaling, "truncate"));
    float v = 0;
    int rc;
    const json_t *all = member(r->scaling, "mscale_all_dim"), *mscale = member(r->scaling, "mscale");
    if ((all || mscale) && !(f->arch->latent && all && mscale && json_number_value(all) == json_number_value(mscale)))
        return err(
            e, ERR_UNSUPPORTED,
            "config.json: yarn with 'mscale' is read of latent attention only, and equal to 'mscale_all_dim'");
    if (all && (rc = to_f32(all, "mscale_all_dim", &v, e))) return rc;
    /* yarn's mscale is 1 + 0.1 x this x ln(factor) */
    if (all) put_f32(f, "rope.scaling.yarn_log_multiplier", (float)(0.1 * json_number_value(all)));
    if (exact != (strcmp(f->arch->arch, "gpt-oss") == 0))
        return err(e, ERR_UNSUPPORTED,
                   "config.json: yarn with this 'truncate' is not what family %s computes", f->arch->arch);
    if (given) { /* the whole factor; the key has what it is more than 1 + ln(factor) / 10 */
        if ((rc = to_f32(given, "attention_factor", &v, e))) return rc;
        if (fabs((double)v - (1.0 + 0.1 * log((double)factor))) > 1e-5)
            return err(e, ERR_UNSUPPORTED,
                       "config.json: yarn with an 'attention_factor' of its own is not read from a folder");
    }
    for (int k = 0; k < 2; k++) {
        const json_t *j = member(r->scaling, betas[k][0]);
        if (j && (rc = to_f32(j, betas[k][0], &v, e))) return rc;
        if (j) put_f32(f, betas[k][1], v);
    }
    put_str(f, "rope.scaling.type", "yarn");
    put_f32(f, "rope.scaling.factor", factor);
    put_u32(f, "rope.scaling.original_context_length", r->original);
    return 0;
}

static int put_scaling(struct folder *f, const struct rotation *r, struct err *e)
{
    const json_t *type = member(r->scaling, "rope_type|type"), *j = member(r->scaling, "factor");
    float factor = 1;
    int rc = j ? to_f32(j, "factor", &factor, e) : 0;
    if (rc || !type || is(type, "default")) return rc;
    if (is(type, "llama3")) return put_llama3(f, r, factor, e);
    if (is(type, "longrope") || is(type, "su")) return put_longrope(f, r, e);
    if (is(type, "yarn")) return put_yarn(f, r, factor, e);
    if (!is(type, "linear"))
        return err(
            e, ERR_UNSUPPORTED,
            "config.json: rope scaling '%.32s' is not supported (default, linear, yarn, llama3, longrope are)",
            json_is_string(type) ? json_string_value(type) : "?");
    put_str(f, "rope.scaling.type", "linear");
    put_f32(f, "rope.scaling.factor", factor);
    return 0;
}

static int put_rotation(struct folder *f, struct err *e)
{
    struct rotation r = {.scaling = folder_value(f, "rope_parameters|rope_scaling")};
    uint32_t heads, width, dim;
    float part, local = 0;
    int rc;
    if ((rc = value_u32(f, "num_attention_heads", 1, &heads, e)) ||
        (rc = value_u32(f, "hidden_size", 0, &width, e)))
        return rc;
    if (heads == 0) return not_a("num_attention_heads", "at least 1", e);
    if ((rc = value_u32(f, f->arch->latent ? "qk_rope_head_dim" : "head_dim", width / heads, &dim, e)) ||
        (rc = value_f32(f, "rope_theta", 10000.0f, &r.base, e)) ||
        (rc = value_u32(f, "max_position_embeddings", 0, &r.context, e)))
        return rc;
    /* Newer configurations: one object of parameters, or one for each kind of layer. */
    const json_t *windowed = member(r.scaling, "sliding_attention");
    if (member(r.scaling, "full_attention")) r.scaling = member(r.scaling, "full_attention");
    const json_t *theta = member(r.scaling, "rope_theta"),
                 *local_theta =
                     windowed ? member(windowed, "rope_theta") : folder_value(f, "rope_local_base_freq");
    if (theta && (rc = to_f32(theta, "rope_theta", &r.base, e))) return rc;
    const json_t *given = member(r.scaling, "partial_rotary_factor");
    if (!given) given = folder_value(f, "partial_rotary_factor");
    part = 1.0f;
    if (given && (rc = to_f32(given, "partial_rotary_factor", &part, e))) return rc;
    if (!(part > 0 && part <= 1)) return not_a("partial_rotary_factor", "a number above 0, at most 1", e);
    r.dim = (uint32_t)((double)dim * (given ? json_number_value(given) : 1.0));
    if (r.dim < 2 || r.dim > ROPE_MAX_DIM || r.dim % 2 || r.dim > dim)
        return err(e, ERR_FORMAT,
                   "config.json: %u of %u dimensions of a head rotate: expected an even number from 2 to %d",
                   r.dim, dim, ROPE_MAX_DIM);
    if (!(r.base >= 1.0f && r.base < 0x1p40f)) return not_a("rope_theta", "a number from 1 to 2^40", e);
    const json_t *orig = member(r.scaling, "original_max_position_embeddings");
    if (!orig) orig = folder_value(f, "original_max_position_embeddings");
    r.original = r.context;
    if (orig && (rc = to_u32(orig, "original_max_position_embeddings", &r.original, e))) return rc;
    put_u32(f, "rope.dimension_count", r.dim);
    put_f32(f, "rope.freq_base", r.base);
    if (local_theta) {
        if ((rc = to_f32(local_theta, "rope_local_base_freq", &local, e))) return rc;
        put_f32(f, "rope.freq_base_swa", local);
    }
    return r.scaling ? put_scaling(f, &r, e) : 0;
}

/* --- window, and what must be as the family has it ----------------------------------------------------------------- */

/* The list of kinds of layers, where there is one, must be the family's. */
static int check_layer_types(const struct folder *f, uint32_t window, struct err *e)
{
    const json_t *list = folder_value(f, "layer_types"), *j;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)list, i, j)
    {
        int period = f->arch->window_period;
        bool windowed = window && (!period || (i + 1) % (size_t)period);
        if (!is(j, windowed ? "sliding_attention" : "full_attention"))
            return err(e, ERR_UNSUPPORTED,
                       "config.json: layer %zu is of type '%.32s', but family %s has %s there", i,
                       json_is_string(j) ? json_string_value(j) : "?", f->arch->arch,
                       windowed ? "a sliding window" : "full attention");
    }
    return 0;
}

static int put_window(struct folder *f, struct err *e)
{
    uint32_t window, pattern, period = (uint32_t)f->arch->window_period;
    const json_t *use = folder_value(f, "use_sliding_window");
    int rc = value_u32(f, "sliding_window", 0, &window, e);
    if (rc) return rc;
    if (json_is_false(use)) window = 0;
    if (window && !f->arch->window) {
        if (json_is_true(use))
            return err(e, ERR_UNSUPPORTED, "config.json: a sliding window is not what family %s computes",
                       f->arch->arch);
        window = 0; /* left over: nothing uses it */
    }
    if (window) put_u32(f, "attention.sliding_window", window);
    if ((rc = value_u32(f, "sliding_window_pattern|_sliding_window_pattern", period, &pattern, e))) return rc;
    if (window && pattern != period)
        return err(e, ERR_UNSUPPORTED, "config.json: a sliding window pattern of %u, but family %s has %u",
                   pattern, f->arch->arch, period);
    return check_layer_types(f, window, e);
}

static int refuse_others(const struct folder *f, struct err *e)
{
    static const struct {
        const char *names;
        double fine; /* the value that changes nothing */
    } fixed[] = {{"decoder_sparse_step", 1},   {"pretraining_tp", 1}, {"no_rope_layer_interval", 4},
                 {"moe_layer_start_index", 0}, {"moe_layer_freq", 1}, {"sliding_window_size", -1},
                 {"global_attn_every_n", 1}};
    const json_t *act = folder_value(f, "hidden_act|hidden_activation|activation_function"),
                 *topk = folder_value(f, "norm_topk_prob");
    if (folder_value(f, "hidden_activation"))
        act = folder_value(f, "hidden_activation"); /* Gemma: it overrules hidden_act */
    else if (strncmp(f->arch->arch, "gemma", 5) == 0) act = NULL;
    if (act && !is(act, f->arch->activation) && !(is(act, "swish") && strcmp(f->arch->activation, "silu") == 0))
        return err(e, ERR_UNSUPPORTED, "config.json: activation '%.32s', but family %s has %s",
                   json_is_string(act) ? json_string_value(act) : "?", f->arch->arch, f->arch->activation);
    if (topk && f->arch->topk && f->arch->topk != TOPK_KEY && json_is_true(topk) != (f->arch->topk == TOPK_NORMED))
        return err(e, ERR_UNSUPPORTED,
                   "config.json: norm_topk_prob is %s, which is not what family %s computes",
                   json_is_true(topk) ? "true" : "false", f->arch->arch);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        const json_t *j = folder_value(f, fixed[i].names);
        if (j && json_is_number(j) && json_number_value(j) != fixed[i].fine)
            return err(e, ERR_UNSUPPORTED, "config.json: '%s' is %g; only %g is supported", fixed[i].names,
                       json_number_value(j), fixed[i].fine);
    }
    if (json_array_size(folder_value(f, "mlp_only_layers")))
        return err(e, ERR_UNSUPPORTED, "config.json: 'mlp_only_layers' is not supported");
    return 0;
}

/* Gemma: scores are divided by the square root of this; the family knows the two rules that were published. */
static int check_attention_scalar(const struct folder *f, struct err *e)
{
    uint32_t scalar, heads, width, dim, layers;
    int rc;
    if (!folder_value(f, "query_pre_attn_scalar")) return 0;
    if ((rc = value_u32(f, "query_pre_attn_scalar", 0, &scalar, e)) ||
        (rc = value_u32(f, "num_attention_heads", 1, &heads, e)) ||
        (rc = value_u32(f, "hidden_size", 0, &width, e)) || (rc = value_u32(f, "head_dim", 0, &dim, e)) ||
        (rc = value_u32(f, "num_hidden_layers", 0, &layers, e)))
        return rc;
    if (heads == 0) return not_a("num_attention_heads", "at least 1", e);
    bool big = layers == (strcmp(f->arch->arch, "gemma2") == 0 ? 46 : 62); /* the 27B models */
    uint32_t expected = big ? width / heads : dim;
    return scalar == expected ? 0
                              : err(e, ERR_UNSUPPORTED,
                                    "config.json: query_pre_attn_scalar is %u; family %s computes with %u",
                                    scalar, f->arch->arch, expected);
}

/* --- published quantisation -------------------------------------------------------------------------------------- */

static int four_bits(const json_t *q, const char *method, struct err *e)
{
    const json_t *bits = member(q, "bits|w_bit");
    if (json_integer_value(bits) == 4) return 0;
    return err(e, ERR_UNSUPPORTED, "config.json: %s of %" JSON_INTEGER_FORMAT " bits; 4 are read", method,
               json_integer_value(bits));
}

/* The tensors say most of it themselves; here is what they do not say, and what is not read. */
static int read_quantization(struct folder *f, struct err *e)
{
    static const char *const known[] = {"fp8", "fbgemm_fp8", "mxfp4", "modelopt"};
    const json_t *q = json_object_get(f->config, "quantization_config"), *method = member(q, "quant_method"),
                 *tile = member(q, "weight_block_size");
    if (!q || json_is_null(q))
        q = json_object_get(f->text, "quantization_config"), method = member(q, "quant_method"),
        tile = member(q, "weight_block_size");
    f->tile_n = f->tile_k = 128;
    if (tile) {
        f->tile_n = (uint64_t)json_integer_value(json_array_get(tile, 0)),
        f->tile_k = (uint64_t)json_integer_value(json_array_get(tile, 1));
        if (f->tile_n < 1 || f->tile_k < 1 || f->tile_n > 1 << 20 || f->tile_k > 1 << 20)
            return not_a("weight_block_size", "two counts", e);
    }
    if (!method) return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is(method, known[i])) return 0;
    if (is(method, "gptq")) {
        f->quant = QUANT_GPTQ;
        f->gptq_v2 = is(member(q, "checkpoint_format"), "gptq_v2");
        return four_bits(q, "GPTQ", e);
    }
    if (is(method, "awq")) {
        f->quant = QUANT_AWQ;
        if (member(q, "version") && !is(member(q, "version"), "gemm") && !is(member(q, "version"), "GEMM"))
            return err(e, ERR_UNSUPPORTED, "config.json: AWQ of another version than gemm");
        return four_bits(q, "AWQ", e);
    }
    if (is(method, "compressed-tensors") &&
        (is(member(q, "format"), "float-quantized") || is(member(q, "format"), "nvfp4-pack-quantized")))
        return 0;
    return err(
        e, ERR_UNSUPPORTED,
        "config.json: weights quantised by '%.32s' (format '%.32s') are not read; fp8, gptq, awq, mxfp4 and nvfp4 are",
        json_is_string(method) ? json_string_value(method) : "?",
        json_is_string(member(q, "format")) ? json_string_value(member(q, "format")) : "");
}

int folder_read_config(struct folder *f, struct err *e)
{
    const char *name = f->path, *slash;
    size_t n = strlen(name);
    while (n > 1 && name[n - 1] == '/') n--;
    slash = memrchr(name, '/', n);
    if (slash && slash + 1 < name + n) n -= (size_t)(slash + 1 - name), name = slash + 1;
    gguf_make_str(f->g, "general.architecture", str_from(f->arch->arch));
    gguf_make_str(f->g, "general.name", (struct str){name, n});
    int rc;
    if ((rc = put_plain(f, e)) || (rc = put_heads(f, e)) || (rc = put_choice(f, e)) ||
        (rc = put_grok(f, e)) || (rc = put_window(f, e)) || (rc = refuse_others(f, e)) ||
        (rc = check_attention_scalar(f, e)) || (rc = read_quantization(f, e)))
        return rc;
    return put_rotation(f, e);
}
