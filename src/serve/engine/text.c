/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. */
#include "serve/engine/text.h"

#include <stdlib.h>
#include <time.h>
#include "token/tokenizer/split.h"

struct id_key {
    const char *key;
    int32_t *to;
};

static int read_ids(const struct gguf *g, struct vocab_spec *s, struct err *e)
{
    const struct id_key keys[] = {
        {"tokenizer.ggml.bos_token_id", &s->bos},         {"tokenizer.ggml.eos_token_id", &s->eos},
        {"tokenizer.ggml.eot_token_id", &s->eot},         {"tokenizer.ggml.eom_token_id", &s->eom},
        {"tokenizer.ggml.unknown_token_id", &s->unk},     {"tokenizer.ggml.padding_token_id", &s->pad},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        uint32_t v;
        if (!gguf_find(g, keys[i].key)) continue;
        int rc = gguf_get_u32(g, keys[i].key, &v, e);
        if (rc) return rc;
        if (v == UINT32_MAX) continue; /* some files say "none" so */
        if (v >= s->n_tokens)
            return err(e, ERR_FORMAT, "key '%s': token %u is outside the vocabulary of %zu", keys[i].key, v,
                       s->n_tokens);
        *keys[i].to = (int32_t)v;
    }
    return 0;
}

static int read_flag(const struct gguf *g, const char *key, int *to, struct err *e)
{
    bool v;
    if (!gguf_find(g, key)) return 0;
    int rc = gguf_get_bool(g, key, &v, e);
    if (rc == 0) *to = v;
    return rc;
}

/* The stages of a pre-tokenizer that is no family. */
static int read_own(const struct gguf *g, struct arena *a, struct vocab_spec *s, struct err *e)
{
    struct str *stages;
    uint32_t flags, norm;
    int rc;
    if ((rc = gguf_get_strs(g, SPLIT_KEY_STAGES, a, &stages, &s->n_stages, e)) ||
        (rc = gguf_opt_u32(g, SPLIT_KEY_FLAGS, 0, &flags, e)) ||
        (rc = gguf_opt_u32(g, SPLIT_KEY_NORM, VOCAB_NORM_NONE, &norm, e)))
        return rc;
    if (norm > VOCAB_NORM_NFKC) return err(e, ERR_UNSUPPORTED, "key '" SPLIT_KEY_NORM "': %u is not known", norm);
    s->stages = stages;
    s->split_flags = flags;
    s->norm = (enum vocab_norm)norm;
    return 0;
}

/* spec borrows from g and from the arena. */
static int read_spec(const struct gguf *g, struct arena *a, struct vocab_spec *s, struct err *e)
{
    struct str *tokens, *merges;
    float *scores;
    int32_t *types;
    size_t n;
    int rc;
    vocab_spec_init(s);
    if ((rc = gguf_get_str(g, "tokenizer.ggml.model", &s->model, e)) ||
        (rc = gguf_opt_str(g, "tokenizer.ggml.pre", (struct str){"", 0}, &s->pre, e)) ||
        (rc = gguf_get_strs(g, "tokenizer.ggml.tokens", a, &tokens, &s->n_tokens, e)))
        return rc;
    s->tokens = tokens;
    if (gguf_find(g, "tokenizer.ggml.scores")) {
        if ((rc = gguf_get_f32s(g, "tokenizer.ggml.scores", a, &scores, &n, e))) return rc;
        if (n != s->n_tokens)
            return err(e, ERR_FORMAT, "key 'tokenizer.ggml.scores': expected %zu elements, got %zu",
                       s->n_tokens, n);
        s->scores = scores;
    }
    if (gguf_find(g, "tokenizer.ggml.token_type")) {
        if ((rc = gguf_get_i32s(g, "tokenizer.ggml.token_type", a, &types, &n, e))) return rc;
        if (n != s->n_tokens)
            return err(e, ERR_FORMAT, "key 'tokenizer.ggml.token_type': expected %zu elements, got %zu",
                       s->n_tokens, n);
        s->types = types;
    }
    if (gguf_find(g, "tokenizer.ggml.merges")) {
        if ((rc = gguf_get_strs(g, "tokenizer.ggml.merges", a, &merges, &s->n_merges, e))) return rc;
        s->merges = merges;
    }
    if (gguf_find(g, VOCAB_KEY_ADDED_IDS)) {
        int32_t *ids, *flags;
        if ((rc = gguf_get_i32s(g, VOCAB_KEY_ADDED_IDS, a, &ids, &s->n_added, e)) ||
            (rc = gguf_get_i32s(g, VOCAB_KEY_ADDED_FLAGS, a, &flags, &n, e)))
            return rc;
        if (n != s->n_added)
            return err(e, ERR_FORMAT, "key '" VOCAB_KEY_ADDED_FLAGS "': expected %zu elements, got %zu",
                       s->n_added, n);
        s->added_ids = ids, s->added_flags = flags;
    }
    if ((rc = read_ids(g, s, e)) || (rc = read_flag(g, "tokenizer.ggml.add_bos_token", &s->add_bos, e)) ||
        (rc = read_flag(g, "tokenizer.ggml.add_eos_token", &s->add_eos, e)) ||
        (rc = read_flag(g, "tokenizer.ggml.add_space_prefix", &s->add_space_prefix, e)))
        return rc;
    return str_eqz(s->pre, SPLIT_OWN) ? read_own(g, a, s, e) : 0;
}

int text_open(struct text *t, const struct gguf *g, struct err *e)
{
    struct vocab_spec spec;
    struct arena a;
    *t = (struct text){0};
    arena_init(&a);
    int rc = read_spec(g, &a, &spec, e);
    if (!rc) rc = tokenizer_create(&t->tok, &spec, e);
    arena_finish(&a);
    if (!rc) rc = tok_scratch_create(&t->scratch, t->tok, e);
    if (!rc) rc = gguf_opt_str(g, "tokenizer.chat_template", (struct str){NULL, 0}, &t->chat_source, e);
    if (!rc && t->chat_source.p && template_compile(&t->chat, t->chat_source, &t->chat_err))
        err_prefix(&t->chat_err, "key 'tokenizer.chat_template'");
    if (rc) {
        text_close(t);
        return rc;
    }
    if (tokenizer_bos(t->tok) >= 0) t->bos = tokenizer_piece(t->tok, tokenizer_bos(t->tok));
    if (tokenizer_eos(t->tok) >= 0) t->eos = tokenizer_piece(t->tok, tokenizer_eos(t->tok));
    return 0;
}

void text_close(struct text *t)
{
    template_destroy(t->chat);
    tok_scratch_destroy(t->scratch);
    tokenizer_destroy(t->tok);
    *t = (struct text){0};
}

int text_prompt(const struct text *t, struct tok_scratch *x, const struct template_input *given,
                struct ids *out, struct buf *shown, struct err *e)
{
    if (!t->chat && t->chat_err.code) {
        if (e) *e = t->chat_err;
        return t->chat_err.code;
    }
    if (!t->chat) return err(e, ERR_UNSUPPORTED, "the model file has no chat template");
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    struct template_input in = *given;
    in.bos_token = t->bos;
    in.eos_token = t->eos;
    in.now_s = (int64_t)now + local.tm_gmtoff;
    struct template_output o = {0};
    int rc = template_render(t->chat, &in, &o, e);
    struct tok_segment *seg = rc ? NULL : calloc(o.n_seg ? o.n_seg : 1, sizeof *seg);
    if (!rc && !seg) rc = err(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; !rc && i < o.n_seg; i++) seg[i] = (struct tok_segment){o.seg[i].text, o.seg[i].trusted};
    if (!rc && shown && buf_append_str(shown, o.text)) rc = err(e, shown->failed, "the prompt is too long");
    /* The template writes the special tokens itself. */
    if (!rc && out) rc = tokenizer_encode_segments(t->tok, x, seg, o.n_seg, 0, out, e);
    free(seg);
    template_output_finish(&o);
    return rc;
}

int text_chat(struct text *t, const json_t *messages, const json_t *tools, bool add_generation_prompt,
              struct ids *out, struct err *e)
{
    struct template_input in = {.messages = messages, .tools = tools, .add_generation_prompt = add_generation_prompt};
    return text_prompt(t, t->scratch, &in, out, NULL, e);
}
