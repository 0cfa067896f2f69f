/* SPDX-License-Identifier: Apache-2.0 */
/* See receipt.h. */
#include "serve/receipt/receipt.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "base/cbor.h"

#define MAGIC STR("tutti receipt 1")
enum { MARKS_MAX = RECEIPT_IDS_MAX / RECEIPT_EVERY * RECEIPT_MARK };

/* Keys of the maps, ascending as the form demands. SPEC_RULES (least tokens, allowed ids, stop ids) is there
 * only if one of them is, SPEC_ROTATION only for models that have a choice. */
enum spec_field {
    SPEC_CONTRACT = 1,
    SPEC_ROOT,
    SPEC_PROMPT,
    SPEC_N_PROMPT,
    SPEC_KV_BITS,
    SPEC_SAMPLE,
    SPEC_BIAS,
    SPEC_STOP,
    SPEC_MAX_TOKENS,
    SPEC_FLAGS,
    SPEC_GRAMMAR,
    SPEC_FIELDS = SPEC_GRAMMAR,
    SPEC_RULES,
    SPEC_ROTATION
};
enum body_field {
    BODY_SPEC = 1,
    BODY_ANSWER,
    BODY_END,
    BODY_HEAD,
    BODY_MARKS,
    BODY_TIME,
    BODY_REQUEST,
    BODY_MODEL,
    BODY_FIELDS = BODY_MODEL
};
enum { FLAG_IGNORE_END = 1, FLAG_SHOW_SPECIAL = 2, FLAGS_ALL = 3 };
enum { SAMPLE_FIELDS = 10, PARTS = 5 };

static void put_le32(uint8_t out[4], uint32_t v)
{
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(v >> 8 * i);
}

/* --- prompt and chain ----------------------------------------------------------------------------------------- */

void receipt_prompt_hash(const uint8_t salt[RECEIPT_SALT], const int32_t *ids, int n, uint8_t out[RECEIPT_HASH])
{
    static const unsigned char domain[] = "tutti prompt 1";
    crypto_hash_sha256_state s;
    crypto_hash_sha256_init(&s);
    crypto_hash_sha256_update(&s, domain, sizeof domain - 1);
    crypto_hash_sha256_update(&s, salt, RECEIPT_SALT);
    for (int i = 0; i < n; i++) {
        uint8_t le[4];
        put_le32(le, (uint32_t)ids[i]);
        crypto_hash_sha256_update(&s, le, sizeof le);
    }
    crypto_hash_sha256_final(&s, out);
}

void receipt_chain_begin(struct receipt_chain *c, struct str spec_bytes)
{
    static const unsigned char domain[] = "tutti chain 1";
    crypto_hash_sha256_state s;
    c->n = 0;
    buf_init(&c->marks, MARKS_MAX);
    crypto_hash_sha256_init(&s);
    crypto_hash_sha256_update(&s, domain, sizeof domain - 1);
    crypto_hash_sha256_update(&s, (const unsigned char *)spec_bytes.p, spec_bytes.n);
    crypto_hash_sha256_final(&s, c->h);
}

void receipt_chain_add(struct receipt_chain *c, int32_t id, const uint8_t state[RECEIPT_HASH])
{
    uint8_t m[RECEIPT_HASH + 4 + RECEIPT_HASH];
    memcpy(m, c->h, RECEIPT_HASH);
    put_le32(m + RECEIPT_HASH, (uint32_t)id);
    memcpy(m + RECEIPT_HASH + 4, state, RECEIPT_HASH);
    crypto_hash_sha256(c->h, m, sizeof m);
    if (++c->n % RECEIPT_EVERY == 0) buf_append(&c->marks, c->h, RECEIPT_MARK);
}

void receipt_chain_finish(struct receipt_chain *c)
{
    buf_finish(&c->marks);
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static void put_ids(struct buf *b, const int32_t *ids, int n)
{
    cbor_put_array(b, (uint64_t)n);
    for (int i = 0; i < n; i++) cbor_put_uint(b, (uint32_t)ids[i]);
}

static void put_sample(struct buf *b, const struct sampler_params *p)
{
    cbor_put_array(b, SAMPLE_FIELDS);
    cbor_put_f32(b, p->temperature);
    cbor_put_uint(b, (uint32_t)p->top_k);
    cbor_put_f32(b, p->top_p);
    cbor_put_f32(b, p->min_p);
    cbor_put_f32(b, p->repetition_penalty);
    cbor_put_f32(b, p->frequency_penalty);
    cbor_put_f32(b, p->presence_penalty);
    cbor_put_uint(b, (uint32_t)(p->penalty_last + 1)); /* 0: all */
    cbor_put_uint(b, p->seed);
    cbor_put_uint(b, p->choice);
}

static bool has_rules(const struct receipt_spec *s)
{
    return s->min_tokens || s->n_allowed || s->n_stop_ids;
}

void receipt_put_spec(const struct receipt_spec *s, struct buf *b)
{
    cbor_put_map(b, SPEC_FIELDS + has_rules(s) + (s->rotation != ROTATION_OF_CONTEXT));
    cbor_put_uint(b, SPEC_CONTRACT), cbor_put_bytes(b, s->contract, RECEIPT_HASH);
    cbor_put_uint(b, SPEC_ROOT), cbor_put_bytes(b, s->root, RECEIPT_HASH);
    must(b->failed || b->n == RECEIPT_ROOT_AT + RECEIPT_HASH);
    cbor_put_uint(b, SPEC_PROMPT);
    if (s->prompt)
        put_ids(b, s->prompt, s->n_prompt);
    else
        cbor_put_bytes(b, s->prompt_hash, RECEIPT_HASH);
    cbor_put_uint(b, SPEC_N_PROMPT), cbor_put_uint(b, (uint64_t)s->n_prompt);
    cbor_put_uint(b, SPEC_KV_BITS), cbor_put_uint(b, (uint64_t)s->kv_bits);
    cbor_put_uint(b, SPEC_SAMPLE), put_sample(b, &s->sample);
    cbor_put_uint(b, SPEC_BIAS), cbor_put_map(b, (uint64_t)s->sample.n_bias);
    for (int i = 0; i < s->sample.n_bias; i++)
        cbor_put_uint(b, (uint32_t)s->sample.bias[i].id), cbor_put_f32(b, s->sample.bias[i].bias);
    cbor_put_uint(b, SPEC_STOP), cbor_put_array(b, (uint64_t)s->n_stop);
    for (int i = 0; i < s->n_stop; i++) cbor_put_text(b, s->stop[i]);
    cbor_put_uint(b, SPEC_MAX_TOKENS), cbor_put_uint(b, (uint64_t)s->max_tokens);
    cbor_put_uint(b, SPEC_FLAGS),
        cbor_put_uint(b, (s->ignore_end ? FLAG_IGNORE_END : 0u) | (s->show_special ? FLAG_SHOW_SPECIAL : 0u));
    cbor_put_uint(b, SPEC_GRAMMAR), cbor_put_array(b, 3), cbor_put_text(b, s->grammar_kind),
        cbor_put_text(b, s->grammar);
    cbor_put_uint(b, (uint64_t)s->grammar_tokens);
    if (has_rules(s)) {
        cbor_put_uint(b, SPEC_RULES), cbor_put_array(b, 3), cbor_put_uint(b, (uint64_t)s->min_tokens);
        put_ids(b, s->allowed, s->n_allowed);
        put_ids(b, s->stop_ids, s->n_stop_ids);
    }
    if (s->rotation) cbor_put_uint(b, SPEC_ROTATION), cbor_put_uint(b, s->rotation);
}

static void put_body(const struct receipt *r, struct buf *b)
{
    cbor_put_map(b, BODY_FIELDS);
    cbor_put_uint(b, BODY_SPEC), cbor_put_bytes(b, r->spec_bytes.p, r->spec_bytes.n);
    cbor_put_uint(b, BODY_ANSWER), put_ids(b, r->answer, r->n_answer);
    cbor_put_uint(b, BODY_END), cbor_put_uint(b, (uint64_t)r->end);
    cbor_put_uint(b, BODY_HEAD), cbor_put_bytes(b, r->head, RECEIPT_HASH);
    cbor_put_uint(b, BODY_MARKS), cbor_put_bytes(b, r->marks, (size_t)(r->n_answer / RECEIPT_EVERY) * RECEIPT_MARK);
    cbor_put_uint(b, BODY_TIME), cbor_put_uint(b, (uint64_t)r->time_s);
    cbor_put_uint(b, BODY_REQUEST), cbor_put_text(b, r->request);
    cbor_put_uint(b, BODY_MODEL), cbor_put_text(b, r->model);
}

/* What is signed names what it is, so that no signature of anything else can be taken for it. */
static int signed_message(struct str body, struct buf *out)
{
    buf_init(out, RECEIPT_BYTES_MAX);
    buf_append_str(out, MAGIC);
    buf_append_str(out, body);
    return out->failed;
}

int receipt_write(const struct receipt *r, const struct signing *s, struct buf *out, struct err *e)
{
    struct buf body, message;
    uint8_t signature[SIGNATURE_BYTES];
    buf_init(&body, RECEIPT_BYTES_MAX);
    put_body(r, &body);
    int rc = body.failed ? body.failed : signed_message(buf_str(&body), &message);
    if (!body.failed) {
        if (!rc) {
            signing_sign(s, buf_str(&message), signature);
            cbor_put_array(out, PARTS);
            cbor_put_text(out, MAGIC);
            cbor_put_bytes(out, body.p, body.n);
            cbor_put_bytes(out, s->public, sizeof s->public);
            cbor_put_bytes(out, signature, sizeof signature);
            cbor_put_bytes(out, r->salt, r->has_salt ? RECEIPT_SALT : 0);
            rc = out->failed;
        }
        buf_finish(&message);
    }
    buf_finish(&body);
    return rc ? err(e, rc, "the receipt cannot be written: %s", err_text(rc)) : 0;
}

int receipt_to_text(struct str bytes, struct buf *out)
{
    size_t n = sodium_base64_encoded_len(bytes.n, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(n);
    if (!text) return ERR_MEMORY;
    sodium_bin2base64(text, n, (const unsigned char *)bytes.p, bytes.n, sodium_base64_VARIANT_ORIGINAL);
    int rc = buf_append_z(out, text);
    free(text);
    return rc;
}

/* --- reading -------------------------------------------------------------------------------------------------- */

struct reader {
    struct cbor c;
    struct arena *arena;
    bool no_memory;
};

static void set_fault(struct cbor *c, const char *why)
{
    if (!c->failed) c->failed = why;
}

static void expect_field(struct reader *r, uint64_t field)
{
    if (cbor_uint(&r->c, UINT64_MAX) != field) set_fault(&r->c, "a field is missing or out of order");
}

static void read_hash(struct reader *r, uint8_t *out, size_t n)
{
    struct str s = cbor_bytes(&r->c);
    if (!r->c.failed && s.n != n) set_fault(&r->c, "a hash, key or signature has a wrong length");
    if (!r->c.failed && n) memcpy(out, s.p, n);
}

static void *take_memory(struct reader *r, size_t n, size_t size)
{
    void *p = r->c.failed ? NULL : arena_alloc(r->arena, n ? n : 1, size);
    if (!p && !r->c.failed) r->no_memory = true, set_fault(&r->c, "it does not fit the memory");
    return p;
}

static const int32_t *read_ids(struct reader *r, int max, int *n)
{
    *n = (int)cbor_array(&r->c, (uint64_t)max);
    int32_t *ids = take_memory(r, (size_t)*n, sizeof *ids);
    for (int i = 0; i < *n && !r->c.failed; i++) ids[i] = (int32_t)cbor_uint(&r->c, INT32_MAX);
    return ids;
}

static void read_sample(struct reader *r, struct sampler_params *p)
{
    if (cbor_array(&r->c, SAMPLE_FIELDS) != SAMPLE_FIELDS)
        set_fault(&r->c, "the sampling has a wrong number of values");
    p->temperature = cbor_f32(&r->c);
    p->top_k = (int)cbor_uint(&r->c, INT32_MAX);
    p->top_p = cbor_f32(&r->c);
    p->min_p = cbor_f32(&r->c);
    p->repetition_penalty = cbor_f32(&r->c);
    p->frequency_penalty = cbor_f32(&r->c);
    p->presence_penalty = cbor_f32(&r->c);
    p->penalty_last = (int)cbor_uint(&r->c, INT32_MAX) - 1;
    p->seed = cbor_uint(&r->c, UINT64_MAX);
    p->choice = (uint32_t)cbor_uint(&r->c, UINT32_MAX);
}

static void read_bias(struct reader *r, struct sampler_params *s)
{
    s->n_bias = (int)cbor_map(&r->c, RECEIPT_BIAS_MAX);
    struct sampler_bias *b = take_memory(r, (size_t)s->n_bias, sizeof *b);
    for (int i = 0; i < s->n_bias && !r->c.failed; i++) {
        b[i].id = (int32_t)cbor_uint(&r->c, INT32_MAX);
        b[i].bias = cbor_f32(&r->c);
        if (i && b[i].id <= b[i - 1].id) set_fault(&r->c, "the bias is not in order");
    }
    s->bias = b;
}

static void read_stop(struct reader *r, struct receipt_spec *s)
{
    s->n_stop = (int)cbor_array(&r->c, STOP_STRINGS_MAX);
    struct str *list = take_memory(r, (size_t)s->n_stop, sizeof *list);
    for (int i = 0; i < s->n_stop && !r->c.failed; i++) list[i] = cbor_text(&r->c);
    s->stop = list;
}

static const int32_t *read_set(struct reader *r, int max, int *n)
{
    const int32_t *ids = read_ids(r, max, n);
    for (int i = 1; i < *n && !r->c.failed; i++)
        if (ids[i] <= ids[i - 1]) set_fault(&r->c, "a set of tokens is not in order");
    return ids;
}

static void read_rules(struct reader *r, struct receipt_spec *s)
{
    if (cbor_array(&r->c, 3) != 3) set_fault(&r->c, "the rules have a wrong number of values");
    s->min_tokens = (int)cbor_uint(&r->c, INT32_MAX);
    s->allowed = read_set(r, SAMPLER_VOCAB_MAX, &s->n_allowed);
    s->stop_ids = read_set(r, RECEIPT_STOP_IDS_MAX, &s->n_stop_ids);
    if (!has_rules(s)) set_fault(&r->c, "the rules are empty");
}

/* The n fields that need not be there. */
static void read_choices(struct reader *r, struct receipt_spec *s, uint64_t n)
{
    uint64_t last = SPEC_GRAMMAR;
    for (; n && !r->c.failed; n--) {
        uint64_t field = cbor_uint(&r->c, UINT64_MAX);
        if (field == SPEC_RULES && last < field) {
            read_rules(r, s);
        } else if (field == SPEC_ROTATION && last < field) {
            s->rotation = (enum rotation)cbor_uint(&r->c, ROTATION_LONG);
            if (!s->rotation) set_fault(&r->c, "the rotation says nothing");
        } else {
            set_fault(&r->c, "a field is missing or out of order");
        }
        last = field;
    }
}

static void read_spec(struct reader *r, struct receipt_spec *s)
{
    int n = -1;
    uint64_t fields = cbor_map(&r->c, SPEC_ROTATION);
    if (fields < SPEC_FIELDS) set_fault(&r->c, "the specification has a wrong number of fields");
    expect_field(r, SPEC_CONTRACT), read_hash(r, s->contract, RECEIPT_HASH);
    expect_field(r, SPEC_ROOT), read_hash(r, s->root, RECEIPT_HASH);
    expect_field(r, SPEC_PROMPT);
    if (cbor_next_is_bytes(&r->c))
        read_hash(r, s->prompt_hash, RECEIPT_HASH);
    else
        s->prompt = read_ids(r, RECEIPT_IDS_MAX, &n);
    expect_field(r, SPEC_N_PROMPT), s->n_prompt = (int)cbor_uint(&r->c, RECEIPT_IDS_MAX);
    if (n >= 0 && n != s->n_prompt) set_fault(&r->c, "the prompt has another length than is said");
    expect_field(r, SPEC_KV_BITS), s->kv_bits = (int)cbor_uint(&r->c, 16);
    expect_field(r, SPEC_SAMPLE), read_sample(r, &s->sample);
    expect_field(r, SPEC_BIAS), read_bias(r, &s->sample);
    expect_field(r, SPEC_STOP), read_stop(r, s);
    expect_field(r, SPEC_MAX_TOKENS), s->max_tokens = (int)cbor_uint(&r->c, INT32_MAX);
    expect_field(r, SPEC_FLAGS);
    uint64_t flags = cbor_uint(&r->c, FLAGS_ALL);
    s->ignore_end = flags & FLAG_IGNORE_END, s->show_special = flags & FLAG_SHOW_SPECIAL;
    expect_field(r, SPEC_GRAMMAR);
    if (cbor_array(&r->c, 3) != 3) set_fault(&r->c, "the grammar has a wrong number of values");
    s->grammar_kind = cbor_text(&r->c);
    s->grammar = cbor_text(&r->c);
    s->grammar_tokens = (int)cbor_uint(&r->c, INT32_MAX);
    if (s->grammar.n > RECEIPT_GRAMMAR_MAX) set_fault(&r->c, "the grammar is too long");
    read_choices(r, s, fields - SPEC_FIELDS);
    cbor_end(&r->c);
}

static void read_body(struct reader *r, struct receipt *x)
{
    if (cbor_map(&r->c, BODY_FIELDS) != BODY_FIELDS) set_fault(&r->c, "it has a wrong number of fields");
    expect_field(r, BODY_SPEC), x->spec_bytes = cbor_bytes(&r->c);
    expect_field(r, BODY_ANSWER), x->answer = read_ids(r, RECEIPT_IDS_MAX, &x->n_answer);
    expect_field(r, BODY_END), x->end = (enum generate_end)cbor_uint(&r->c, GENERATE_FAILED);
    expect_field(r, BODY_HEAD), read_hash(r, x->head, RECEIPT_HASH);
    expect_field(r, BODY_MARKS);
    struct str marks = cbor_bytes(&r->c);
    if (!r->c.failed && marks.n != (size_t)(x->n_answer / RECEIPT_EVERY) * RECEIPT_MARK)
        set_fault(&r->c, "it has a wrong number of checkpoints");
    x->marks = (const uint8_t *)marks.p;
    expect_field(r, BODY_TIME), x->time_s = (int64_t)cbor_uint(&r->c, INT64_MAX);
    expect_field(r, BODY_REQUEST), x->request = cbor_text(&r->c);
    expect_field(r, BODY_MODEL), x->model = cbor_text(&r->c);
    if (x->request.n > RECEIPT_TEXT_MAX || x->model.n > RECEIPT_TEXT_MAX)
        set_fault(&r->c, "the name of request or model is too long");
    cbor_end(&r->c);
}

int receipt_read(struct receipt *x, struct str bytes, struct arena *a, struct err *e)
{
    struct reader r = {.arena = a};
    *x = (struct receipt){0};
    if (bytes.n > RECEIPT_BYTES_MAX)
        return err(e, ERR_LIMIT, "the receipt has %zu bytes: at most %d are read", bytes.n,
                   RECEIPT_BYTES_MAX);
    cbor_init(&r.c, bytes);
    bool ours = cbor_array(&r.c, PARTS) == PARTS;
    if (!ours || !str_eq(cbor_text(&r.c), MAGIC)) return err(e, ERR_FORMAT, "this is no receipt of version 1");
    x->body_bytes = cbor_bytes(&r.c);
    read_hash(&r, x->public, sizeof x->public);
    read_hash(&r, x->signature, sizeof x->signature);
    struct str salt = cbor_bytes(&r.c);
    if (salt.n && salt.n != RECEIPT_SALT) set_fault(&r.c, "the salt has a wrong length");
    if (cbor_end(&r.c)) {
        x->has_salt = salt.n != 0;
        if (x->has_salt) memcpy(x->salt, salt.p, RECEIPT_SALT);
        cbor_init(&r.c, x->body_bytes);
        read_body(&r, x);
    }
    if (!r.c.failed) {
        cbor_init(&r.c, x->spec_bytes);
        read_spec(&r, &x->spec);
    }
    if (r.no_memory) return err(e, ERR_MEMORY, "out of memory for a receipt of %zu bytes", bytes.n);
    return r.c.failed ? err(e, ERR_FORMAT, "the receipt is malformed: %s", r.c.failed) : 0;
}

bool receipt_stops(const struct receipt_spec *s, int32_t id, int n)
{
    for (int i = 0; i < s->n_stop_ids && n > s->min_tokens; i++)
        if (s->stop_ids[i] == id) return true;
    return false;
}

bool receipt_is_signed(const struct receipt *r)
{
    struct buf message;
    bool ok = !signed_message(r->body_bytes, &message) && signing_check(r->public, buf_str(&message), r->signature);
    buf_finish(&message);
    return ok;
}

/* --- what people have ------------------------------------------------------------------------------------------ */

static int read_text(struct receipt *r, const char *text, size_t n, struct arena *a, struct err *e)
{
    uint8_t *bytes = ARENA_NEW(a, uint8_t, n + 1);
    size_t got = 0;
    if (!bytes) return err(e, ERR_MEMORY, "out of memory");
    if (sodium_base642bin(bytes, n + 1, text, n, " \r\n\t", &got, NULL, sodium_base64_VARIANT_ORIGINAL))
        return err(e, ERR_FORMAT, "the receipt is not whole base64");
    return receipt_read(r, (struct str){(const char *)bytes, got}, a, e);
}

/* "receipt" at the top, or in a choice. */
static const char *find_receipt(const json_t *reply, int choice)
{
    const json_t *one = json_array_get(json_object_get(reply, "choices"), (size_t)choice);
    const char *z = json_string_value(json_object_get(one, "receipt"));
    if (!z && choice == 0) z = json_string_value(json_object_get(reply, "receipt"));
    return z;
}

int receipt_read_any(struct receipt *r, struct str file, int choice, struct arena *a, struct err *e)
{
    size_t skip = 0;
    while (skip < file.n && strchr(" \r\n\t", file.p[skip]) && file.p[skip]) skip++;
    if (skip == file.n) return err(e, ERR_FORMAT, "the receipt is empty");
    if ((uint8_t)file.p[0] == (4 << 5 | PARTS)) return receipt_read(r, file, a, e);
    if (file.p[skip] != '{') return read_text(r, file.p, file.n, a, e);
    json_error_t why;
    json_t *reply = json_loadb(file.p, file.n, JSON_ALLOW_NUL, &why);
    if (!reply) return err(e, ERR_FORMAT, "the reply is no JSON: line %d: %s", why.line, why.text);
    const char *z = find_receipt(reply, choice);
    int rc = z ? read_text(r, z, strlen(z), a, e)
               : err(e, ERR_NOT_FOUND,
                     "the reply has no receipt for choice %d; ask for one by \"receipt\": true", choice);
    json_decref(reply);
    return rc;
}
