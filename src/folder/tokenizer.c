/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer.json -> keys tokenizer.ggml.*. Read are byte-pair encodings:
 *
 *   over bytes        pre-tokenizer with ByteLevel. Becomes model gpt2; words by a family of
 *                     token/tokenizer/split.c where its patterns are the same, else by stages of its own
 *                     (pre = "tutti", keys tutti.pre.*)
 *   over characters   spaces as U+2581, unknown ones as bytes (Llama 2, Mistral, Gemma as published). Becomes
 *                     model gpt2, pre = "tutti", SPLIT_CHARS; model llama with scores where tokenizer.model
 *                     has the same pieces
 *
 * Without tokenizer.json, tokenizer.model alone and the added tokens of tokenizer_config.json are read.
 * Everything in the file either has an equal here or is refused by name. A vocabulary shorter than the
 * embedding is filled up with unused tokens "[PAD7]".
 */
#include <inttypes.h>
#include <stdlib.h>
#include "folder/int.h"
#include "folder/regex.h"
#include "folder/sentencepiece.h"
#include "token/tokenizer/split.h"
#include "token/tokenizer/uclass.h"
#include "token/tokenizer/vocab.h"

enum { PAD_BYTES = 16 }; /* of the name of an unused token */

struct reading {
    struct folder *f;
    json_t *root; /* tokenizer.json, or NULL */
    struct sentencepiece spm; /* n = 0: there is no tokenizer.model that can be read */
    struct err *e;
    size_t n;              /* tokens */
    struct str *token;     /* [n] p = NULL: none yet */
    int32_t *type;         /* [n] */
    char *pad;             /* names of unused tokens */
    struct buf stage[SPLIT_STAGES_MAX];
    int n_stage;
    unsigned flags; /* enum split_flag */
    enum vocab_norm norm;
    bool bytes;     /* ByteLevel was there */
    bool sign;      /* spaces become U+2581 */
};

static bool is(const json_t *o, const char *key, const char *text)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && strcmp(s, text) == 0;
}

static struct str text_of(const json_t *j)
{
    return (struct str){json_string_value(j), json_string_length(j)};
}

static const char *type_of(const json_t *j)
{
    const char *s = json_string_value(json_object_get(j, "type"));
    return s ? s : "?";
}

static int refuse(const struct reading *r, const char *what, const char *which)
{
    return err(r->e, ERR_UNSUPPORTED, "tokenizer.json: %s '%.64s' is not supported", what, which);
}

/* --- normalizer ---------------------------------------------------------------------------------------------- */

static const char sign_text[] = "\xE2\x96\x81"; /* U+2581 */

static int read_normalizer(struct reading *r, const json_t *j)
{
    const json_t *part;
    size_t i;
    if (!j || json_is_null(j)) return 0;
    if (is(j, "type", "Sequence")) {
        json_array_foreach(json_object_get(j, "normalizers"), i, part)
        {
            int rc = read_normalizer(r, part);
            if (rc) return rc;
        }
        return 0;
    }
    if (is(j, "type", "NFC") || is(j, "type", "NFKC")) {
        if (r->norm || r->sign) return refuse(r, "a second normalizer", type_of(j));
        r->norm = is(j, "type", "NFC") ? VOCAB_NORM_NFC : VOCAB_NORM_NFKC;
        return 0;
    }
    if (is(j, "type", "Prepend") && is(j, "prepend", sign_text)) {
        r->flags |= SPLIT_SPACE_EACH;
        return 0;
    }
    if (is(j, "type", "Replace") && is(json_object_get(j, "pattern"), "String", " ") && is(j, "content", sign_text)) {
        r->sign = true;
        r->flags |= SPLIT_SIGNS_FIRST;
        return 0;
    }
    return refuse(r, "the normalizer", type_of(j));
}

/* --- pre-tokenizer ------------------------------------------------------------------------------------------- */

static struct buf *new_stage(struct reading *r)
{
    if (r->n_stage == SPLIT_STAGES_MAX) return NULL;
    struct buf *b = &r->stage[r->n_stage++];
    buf_init(b, REGEX_BYTES_MAX);
    return b;
}

static int add_stage(struct reading *r, const char *pattern)
{
    struct buf *b = new_stage(r);
    return b ? buf_append_z(b, pattern) : refuse(r, "more splits than", "6");
}

/* Matches and what lies between them are pieces alike. */
static int read_split(struct reading *r, const json_t *j)
{
    const json_t *pattern = json_object_get(j, "pattern"), *regex = json_object_get(pattern, "Regex"),
                 *text = json_object_get(pattern, "String");
    bool removed = is(j, "behavior", "Removed") && json_is_true(json_object_get(j, "invert"));
    if (r->sign && is(pattern, "String", " ")) return 0; /* none is left */
    if (!is(j, "behavior", "Isolated") && !removed)
        return refuse(r, "a Split with the behavior",
                      json_string_value(json_object_get(j, "behavior"))
                          ? json_string_value(json_object_get(j, "behavior"))
                          : "?");
    struct buf *b = new_stage(r);
    if (!b) return refuse(r, "more splits than", "6");
    if (json_is_string(regex)) return regex_translate(text_of(regex), b, r->e);
    if (json_is_string(text)) return regex_quote(text_of(text), b, r->e);
    return refuse(r, "a Split without a", "pattern");
}

static int read_bytes(struct reading *r, const json_t *j)
{
    if (json_is_true(json_object_get(j, "add_prefix_space"))) return refuse(r, "ByteLevel with", "add_prefix_space");
    if (!json_is_false(json_object_get(j, "use_regex"))) {
        const struct split_family *f;
        int rc = split_family_find(STR("gpt-2"), &f, r->e);
        if (rc || (rc = add_stage(r, f->stage[0]))) return rc;
    }
    r->bytes = true;
    return 0;
}

static int read_metaspace(struct reading *r, const json_t *j)
{
    const json_t *scheme = json_object_get(j, "prepend_scheme");
    bool prefix = !json_is_false(json_object_get(j, "add_prefix_space"));
    if (!is(j, "replacement", sign_text)) return refuse(r, "Metaspace with another", "replacement");
    r->sign = true;
    if (!json_is_false(json_object_get(j, "split"))) r->flags |= SPLIT_AT_SPACES;
    if (scheme ? is(j, "prepend_scheme", "first") : false) r->flags |= SPLIT_SPACE_FIRST;
    if (scheme ? is(j, "prepend_scheme", "always") : prefix) r->flags |= SPLIT_SPACE_UNLESS;
    return 0;
}

/* Behind ByteLevel, which has put stand-ins for bytes, only ASCII digits are what they were:
 * "[0-9][0-9][0-9]" of Falcon. */
static bool is_of_digits(const json_t *j)
{
    const char *z = json_string_value(json_object_get(json_object_get(j, "pattern"), "Regex"));
    return is(j, "type", "Split") && z && z[strspn(z, "[0-9]{},+")] == 0;
}

static int read_pre(struct reading *r, const json_t *j)
{
    const json_t *part;
    size_t i;
    if (!j || json_is_null(j)) return 0;
    if (is(j, "type", "Sequence")) {
        json_array_foreach(json_object_get(j, "pretokenizers"), i, part)
        {
            int rc = read_pre(r, part);
            if (rc) return rc;
        }
        return 0;
    }
    if (r->bytes && !is_of_digits(j)) return refuse(r, "behind ByteLevel the pre-tokenizer", type_of(j));
    if (is(j, "type", "Split")) return read_split(r, j);
    if (is(j, "type", "ByteLevel")) return read_bytes(r, j);
    if (is(j, "type", "Metaspace")) return read_metaspace(r, j);
    if (is(j, "type", "Digits"))
        return add_stage(r, json_is_true(json_object_get(j, "individual_digits")) ? "[" UC_N "]"
                                                                                  : "[" UC_N "]+");
    if (is(j, "type", "Punctuation")) {
        if (is(j, "behavior", "Contiguous")) return add_stage(r, "[" UC_P "$+<=>^~|`]+");
        return add_stage(r, "[" UC_P "$+<=>^~|`]");
    }
    return refuse(r, "the pre-tokenizer", type_of(j));
}

/* --- vocabulary ------------------------------------------------------------------------------------------------ */

static int set_token(struct reading *r, json_int_t id, struct str s, int32_t type)
{
    if (r->token[id].p && !str_eq(r->token[id], s))
        return err(r->e, ERR_FORMAT,
                   "tokenizer.json: '%.*s' and '%.*s' have the same id %" JSON_INTEGER_FORMAT,
                   STR_ARG(r->token[id]), STR_ARG(s), id);
    r->token[id] = s;
    r->type[id] = type;
    return 0;
}

static int bad_id(const struct reading *r, struct str s)
{
    return err(r->e, ERR_FORMAT, "tokenizer.json: '%.*s': expected an id from 0 to %zu", STR_ARG(s),
               VOCAB_TOKENS_MAX - 1);
}

static bool id_ok(const json_t *j)
{
    return json_is_integer(j) && json_integer_value(j) >= 0 && (size_t)json_integer_value(j) < VOCAB_TOKENS_MAX;
}

/* At least as many tokens as the embedding has rows. */
static int count_rows(struct reading *r)
{
    const json_t *rows = folder_value(r->f, "vocab_size");
    if (!rows || json_is_null(rows)) return 0;
    if (!json_is_integer(rows) || json_integer_value(rows) < 1 ||
        json_integer_value(rows) > (json_int_t)VOCAB_TOKENS_MAX)
        return err(r->e, ERR_FORMAT, "config.json: vocab_size: expected a number from 1 to %zu",
                   (size_t)VOCAB_TOKENS_MAX);
    if ((size_t)json_integer_value(rows) > r->n) r->n = (size_t)json_integer_value(rows);
    return 0;
}

/* How many tokens there are: ids of vocabulary and added tokens, and at least as many as the embedding has rows. */
static int count_tokens(struct reading *r, json_t *vocab, const json_t *added)
{
    const char *key;
    json_t *j;
    size_t i;
    json_object_foreach(vocab, key, j)
    {
        if (!id_ok(j)) return bad_id(r, str_from(key));
        if ((size_t)json_integer_value(j) >= r->n) r->n = (size_t)json_integer_value(j) + 1;
    }
    json_array_foreach(added, i, j)
    {
        const json_t *id = json_object_get(j, "id");
        if (!id_ok(id) || !json_is_string(json_object_get(j, "content"))) return bad_id(r, STR("added_tokens"));
        if ((size_t)json_integer_value(id) >= r->n) r->n = (size_t)json_integer_value(id) + 1;
    }
    return count_rows(r);
}

static bool is_byte_name(struct str s)
{
    return s.n == 6 && memcmp(s.p, "<0x", 3) == 0 && s.p[5] == '>';
}

static int make_room(struct reading *r)
{
    r->token = calloc(r->n + 1, sizeof *r->token);
    r->type = calloc(r->n + 1, sizeof *r->type);
    r->pad = malloc(r->n * PAD_BYTES + 1);
    return r->token && r->type && r->pad ? 0 : err(r->e, ERR_MEMORY, "out of memory for %zu tokens", r->n);
}

/* Ids that nothing has. */
static void fill_gaps(struct reading *r)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->token[i].p) continue;
        char *z = r->pad + i * PAD_BYTES;
        r->token[i] = (struct str){z, (size_t)snprintf(z, PAD_BYTES, "[PAD%zu]", i)};
        r->type[i] = TOKEN_UNUSED;
    }
}

static void put_added(struct reading *r, const int32_t *ids, const int32_t *flags, size_t n)
{
    if (n == 0) return;
    gguf_make_i32s(r->f->g, VOCAB_KEY_ADDED_IDS, ids, n);
    gguf_make_i32s(r->f->g, VOCAB_KEY_ADDED_FLAGS, flags, n);
}

/* Added tokens that are not simply cut out where they stand. normalized says nothing of special ones: those
 * are recognised in the text as it was written. */
static int32_t flags_of(const json_t *j)
{
    bool late = json_is_true(json_object_get(j, "normalized")) && !json_is_true(json_object_get(j, "special"));
    return (json_is_true(json_object_get(j, "lstrip")) ? ADDED_LEFT : 0) |
           (json_is_true(json_object_get(j, "rstrip")) ? ADDED_RIGHT : 0) |
           (json_is_true(json_object_get(j, "single_word")) ? ADDED_WORD : 0) | (late ? ADDED_NORMALIZED : 0);
}

static int read_flags(struct reading *r, const json_t *added)
{
    size_t n = 0, i;
    const json_t *j;
    int32_t *ids = calloc(2 * json_array_size(added) + 1, sizeof *ids), *flags = ids + json_array_size(added);
    if (!ids) return err(r->e, ERR_MEMORY, "out of memory for added tokens");
    json_array_foreach(added, i, j)
        if (flags_of(j)) ids[n] = (int32_t)json_integer_value(json_object_get(j, "id")), flags[n++] = flags_of(j);
    put_added(r, ids, flags, n);
    free(ids);
    return 0;
}

static int fill_tokens(struct reading *r, json_t *vocab, const json_t *added, bool fallback)
{
    const char *key;
    json_t *j;
    size_t i;
    int rc = make_room(r);
    if (rc) return rc;
    json_object_foreach(vocab, key, j)
    {
        struct str s = str_from(key);
        if ((rc = set_token(r, json_integer_value(j), s,
                            fallback && is_byte_name(s) ? TOKEN_BYTE : TOKEN_NORMAL)))
            return rc;
    }
    json_array_foreach(added, i, j)
    {
        bool special = json_is_true(json_object_get(j, "special"));
        if ((rc = set_token(r, json_integer_value(json_object_get(j, "id")),
                            text_of(json_object_get(j, "content")),
                            special ? TOKEN_CONTROL : TOKEN_USER_DEFINED)))
            return rc;
    }
    fill_gaps(r);
    return read_flags(r, added);
}

/* "left right", or [left, right] in newer files. */
static int put_merges(struct reading *r, const json_t *merges)
{
    size_t n = json_array_size(merges), i;
    const json_t *j;
    struct str *list = calloc(n + 1, sizeof *list);
    struct buf joined;
    int rc = list ? 0 : err(r->e, ERR_MEMORY, "out of memory for %zu merges", n);
    buf_init(&joined, FOLDER_JSON_MAX);
    if (n > VOCAB_MERGES_MAX)
        rc = err(r->e, ERR_LIMIT, "tokenizer.json: %zu merges, at most %zu are read", n, VOCAB_MERGES_MAX);
    json_array_foreach(merges, i, j)
    {
        struct str a = text_of(json_array_get(j, 0)), b = text_of(json_array_get(j, 1));
        if (rc) break;
        if (json_is_string(j)) {
            list[i] = text_of(j);
        } else if (!a.p || !b.p || json_array_size(j) != 2 || memchr(a.p, ' ', a.n) || memchr(b.p, ' ', b.n)) {
            rc = err(r->e, ERR_FORMAT, "tokenizer.json: merge %zu is not two pieces without spaces", i);
        } else {
            list[i].n = a.n + b.n + 1;
            buf_append_str(&joined, a);
            buf_append_char(&joined, ' ');
            buf_append_str(&joined, b);
        }
    }
    if (!rc && joined.failed) rc = err(r->e, joined.failed, "tokenizer.json: out of memory for %zu merges", n);
    size_t at = 0;
    for (i = 0; i < n && !rc; i++)
        if (!list[i].p) list[i].p = joined.p + at, at += list[i].n;
    if (!rc) gguf_make_strs(r->f->g, "tokenizer.ggml.merges", list, n);
    buf_finish(&joined);
    free(list);
    return rc;
}

static int read_model(struct reading *r)
{
    const json_t *m = json_object_get(r->root, "model"), *added = json_object_get(r->root, "added_tokens");
    json_t *vocab = json_object_get(m, "vocab");
    static const char *const off[] = {"continuing_subword_prefix", "end_of_word_suffix", "dropout"};
    bool fallback = json_is_true(json_object_get(m, "byte_fallback"));
    int rc;
    if (!is(m, "type", "BPE") && !(json_is_object(vocab) && json_object_get(m, "merges")))
        return refuse(r, "the model", type_of(m));
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        const json_t *j = json_object_get(m, off[i]);
        if (j && !json_is_null(j) && !(json_is_string(j) && json_string_length(j) == 0))
            return refuse(r, "BPE with", off[i]);
    }
    if (json_is_true(json_object_get(m, "ignore_merges"))) r->flags |= SPLIT_WHOLE_WORDS;
    if (r->bytes == r->sign)
        return refuse(r, "BPE with neither ByteLevel nor spaces as U+2581, or both:",
                      type_of(json_object_get(r->root, "pre_tokenizer")));
    if (r->sign && r->n_stage) return refuse(r, "splits beside spaces as", "U+2581");
    if (r->sign) r->flags |= SPLIT_CHARS;
    return (rc = count_tokens(r, vocab, added)) ? rc : fill_tokens(r, vocab, added, fallback);
}

/* Whether tokenizer.model has the pieces of tokenizer.json, and treats a text as it does. Then its scores say
 * what the merges say. */
static bool spm_is_the_same(const struct reading *r)
{
    bool each = r->flags & SPLIT_SPACE_EACH;
    if (!r->sign || r->spm.n == 0 || r->spm.n > r->n || each != r->spm.space || r->norm ||
        (r->flags & ~(unsigned)(SPLIT_CHARS | SPLIT_SPACE_EACH | SPLIT_SIGNS_FIRST)))
        return false;
    for (size_t i = 0; i < r->spm.n; i++)
        if (!str_eq(r->spm.piece[i], r->token[i])) return false;
    return true;
}

static int put_scores(struct reading *r)
{
    struct gguf *g = r->f->g;
    float *score = calloc(r->n + 1, sizeof *score);
    if (!score) return err(r->e, ERR_MEMORY, "out of memory for %zu tokens", r->n);
    for (size_t i = 0; i < r->n; i++) {
        score[i] = i < r->spm.n ? r->spm.score[i] : -1000.0f; /* added ones never come from merges */
        if (i < r->spm.n && r->type[i] == TOKEN_NORMAL) r->type[i] = r->spm.type[i];
    }
    gguf_make_str(g, "tokenizer.ggml.model", STR("llama"));
    gguf_make_f32s(g, "tokenizer.ggml.scores", score, r->n);
    gguf_make_bool(g, "tokenizer.ggml.add_space_prefix", r->spm.space);
    free(score);
    return 0;
}

/* --- tokenizer.model ------------------------------------------------------------------------------------------- */

/* added_tokens_decoder of tokenizer_config.json: {"32000": {"content": "<|im_start|>", "special": true}, ...} */
static int set_added(struct reading *r, bool count)
{
    const char *key;
    json_t *j;
    json_object_foreach(json_object_get(r->f->tokenizer, "added_tokens_decoder"), key, j)
    {
        char *end;
        unsigned long id = strtoul(key, &end, 10);
        const json_t *text = json_object_get(j, "content");
        if (*end || end == key || id >= VOCAB_TOKENS_MAX || json_string_length(text) == 0)
            return bad_id(r, str_from(key));
        if (count && id >= r->n) r->n = id + 1;
        if (count) continue;
        r->token[id] = text_of(text);
        if (r->type[id] != TOKEN_UNKNOWN)
            r->type[id] = json_is_true(json_object_get(j, "special")) ? TOKEN_CONTROL : TOKEN_USER_DEFINED;
    }
    return 0;
}

static int read_spm(struct reading *r)
{
    int rc;
    r->n = r->spm.n;
    if ((rc = count_rows(r)) || (rc = set_added(r, true)) || (rc = make_room(r))) return rc;
    for (size_t i = 0; i < r->spm.n; i++) r->token[i] = r->spm.piece[i], r->type[i] = r->spm.type[i];
    if ((rc = set_added(r, false))) return rc;
    fill_gaps(r);
    return 0;
}

/* The file, where it is there. needed: a fault in it is one. */
static int open_spm(struct reading *r, bool needed)
{
    struct str file;
    struct err own = {0};
    int no, rc = folder_bytes(r->f, "tokenizer.model", &file, &no, &own);
    if (!rc) rc = sentencepiece_read(&r->spm, file, gguf_make_arena(r->f->g), &own);
    if (!rc) return 0;
    r->spm.n = 0;
    if (!needed) return 0;
    if (r->e) *r->e = own;
    if (rc == ERR_NOT_FOUND)
        return err(
            r->e, rc,
            "neither tokenizer.json nor tokenizer.model is there (tokenizer.tok.json of Grok 2 is another format: the tokenizer.json made of it, 'grok-2-tokenizer', goes beside it)");
    return rc;
}

/* The name of a known family with these stages, else the stages themselves. */
static void put_pre(struct reading *r)
{
    struct gguf *g = r->f->g;
    const char *stage[SPLIT_STAGES_MAX];
    struct str list[SPLIT_STAGES_MAX];
    for (int i = 0; i < r->n_stage; i++) stage[i] = r->stage[i].p, list[i] = buf_str(&r->stage[i]);
    const char *name = split_family_named(r->flags, r->norm, stage, r->n_stage);
    gguf_make_str(g, "tokenizer.ggml.model", STR("gpt2"));
    gguf_make_str(g, "tokenizer.ggml.pre", str_from(name ? name : SPLIT_OWN));
    if (name) return;
    gguf_make_strs(g, SPLIT_KEY_STAGES, list, (size_t)r->n_stage);
    gguf_make_u32(g, SPLIT_KEY_FLAGS, r->flags);
    gguf_make_u32(g, SPLIT_KEY_NORM, (uint32_t)r->norm);
}

/* --- special tokens -------------------------------------------------------------------------------------------- */

static int64_t find_token(const struct reading *r, struct str s)
{
    for (size_t i = 0; s.p && i < r->n; i++)
        if (str_eq(r->token[i], s)) return (int64_t)i;
    return -1;
}

/* A token of tokenizer_config.json, "<s>" or {"content": "<s>"}; else of config.json by id. */
static int64_t named_token(const struct reading *r, const char *name, const char *id_name, int32_t fallback)
{
    const json_t *j = json_object_get(r->f->tokenizer, name);
    if (json_is_object(j)) j = json_object_get(j, "content");
    int64_t id = find_token(r, text_of(j));
    if (id >= 0) return id;
    j = folder_value(r->f, id_name);
    if (!j) j = json_object_get(r->f->config, id_name);
    if (json_is_array(j)) j = json_array_get(j, 0);
    if (id_ok(j) && (size_t)json_integer_value(j) < r->n) return json_integer_value(j);
    return !r->root && fallback >= 0 && (size_t)fallback < r->n ? fallback : -1;
}

/* Whether the post-processor's template for one text begins (ends) with token id. */
static bool template_has(const struct reading *r, const json_t *post, bool end, int64_t id)
{
    const json_t *part;
    size_t i;
    if (is(post, "type", "Sequence")) {
        json_array_foreach(json_object_get(post, "processors"), i, part)
            if (template_has(r, part, end, id)) return true;
        return false;
    }
    const json_t *single = json_object_get(post, "single");
    size_t n = json_array_size(single);
    const json_t *special = n ? json_object_get(json_array_get(single, end ? n - 1 : 0), "SpecialToken") : NULL;
    return id >= 0 && special && find_token(r, text_of(json_object_get(special, "id"))) == id;
}

static void put_flag(struct reading *r, const char *key, const char *name, bool end, int64_t id)
{
    const json_t *said = json_object_get(r->f->tokenizer, name);
    bool v = json_is_boolean(said) ? json_is_true(said)
             : !r->root            ? !end && id >= 0
                                   : template_has(r, json_object_get(r->root, "post_processor"), end, id);
    gguf_make_bool(r->f->g, key, v);
}

static void put_specials(struct reading *r)
{
    struct gguf *g = r->f->g;
    int64_t bos = named_token(r, "bos_token", "bos_token_id", r->spm.bos),
            eos = named_token(r, "eos_token", "eos_token_id", r->spm.eos);
    int64_t unk = named_token(r, "unk_token", "unk_token_id", r->spm.unk),
            pad = named_token(r, "pad_token", "pad_token_id", r->spm.pad), more[2] = {-1, -1};
    int n_more = 0;
    const json_t *ends = json_object_get(r->f->generation, "eos_token_id"), *j;
    size_t i;
    json_array_foreach(ends, i, j) if (id_ok(j) && (size_t)json_integer_value(j) < r->n &&
                                       json_integer_value(j) != eos && n_more < 2) more[n_more++] =
        json_integer_value(j);
    if (id_ok(ends) && (size_t)json_integer_value(ends) < r->n && json_integer_value(ends) != eos)
        more[n_more++] = json_integer_value(ends);
    const struct {
        const char *key;
        int64_t id;
    } keys[] = {{"bos", bos}, {"eos", eos}, {"unknown", unk}, {"padding", pad}, {"eot", more[0]}, {"eom", more[1]}};
    for (i = 0; i < sizeof keys / sizeof *keys; i++) {
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", keys[i].key);
        if (keys[i].id >= 0) gguf_make_u32(g, key, (uint32_t)keys[i].id);
    }
    put_flag(r, "tokenizer.ggml.add_bos_token", "add_bos_token", false, bos);
    put_flag(r, "tokenizer.ggml.add_eos_token", "add_eos_token", true, eos);
}

static int read_all(struct reading *r)
{
    int rc = folder_json(r->f, "tokenizer.json", true, &r->root, r->e);
    if (!rc) rc = open_spm(r, !r->root);
    if (!rc && r->root) rc = read_normalizer(r, json_object_get(r->root, "normalizer"));
    if (!rc && r->root) rc = read_pre(r, json_object_get(r->root, "pre_tokenizer"));
    if (!rc) rc = r->root ? read_model(r) : read_spm(r);
    if (!rc && (!r->root || spm_is_the_same(r))) {
        rc = put_scores(r);
    } else if (!rc) {
        put_pre(r);
        rc = put_merges(r, json_object_get(json_object_get(r->root, "model"), "merges"));
    }
    if (rc) return rc;
    gguf_make_strs(r->f->g, "tokenizer.ggml.tokens", r->token, r->n);
    gguf_make_i32s(r->f->g, "tokenizer.ggml.token_type", r->type, r->n);
    put_specials(r);
    return 0;
}

int folder_read_tokenizer(struct folder *f, struct err *e)
{
    struct reading r = {.f = f, .e = e};
    int rc = read_all(&r);
    for (int i = 0; i < r.n_stage; i++) buf_finish(&r.stage[i]);
    json_decref(r.root);
    free(r.token);
    free(r.type);
    free(r.pad);
    return rc;
}
