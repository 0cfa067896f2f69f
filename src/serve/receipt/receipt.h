/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receipt: what anybody needs to compute an answer again and see that it is the same, signed by who gave it.
 *
 *   spec     contract id, root of the model, prompt (its token ids, or a salted hash of them), how tokens
 *            were drawn, bias, stop rules, grammar: all that decides the answer, by value
 *   body     spec, token ids of the answer, why it ended, chain head, checkpoints, and for people time,
 *            request, model
 *   receipt  ["tutti receipt 1", body, public key, signature of body, salt]
 *
 *   h[0] = SHA-256("tutti chain 1", spec)        h[t] = SHA-256(h[t-1], token t as 4 bytes, state t)
 *   state t = BLAKE2b-256 of the quantised vector from which token t's logits were computed (codes, then
 *             scales), so that it fixes all logits; little-endian
 *
 * The head is h[n]; checkpoints are the first 8 bytes of h after every 16 tokens, so that the first fault can
 * be found. All of it is CBOR in deterministic form (base/cbor.h). The salt stands outside of what is signed:
 * who wants to pass a receipt on without letting others guess at its prompt leaves the salt out.
 */
#ifndef TUTTI_SERVE_RECEIPT_RECEIPT_H
#define TUTTI_SERVE_RECEIPT_RECEIPT_H

#include <sodium/crypto_hash_sha256.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "serve/engine/generate.h"
#include "serve/receipt/signing.h"
#include "token/stop.h"

enum {
    RECEIPT_HASH = 32,
    RECEIPT_SALT = 16,
    RECEIPT_EVERY = 16,          /* tokens between checkpoints */
    RECEIPT_MARK = 8,            /* bytes of a checkpoint */
    RECEIPT_IDS_MAX = 1 << 24,
    RECEIPT_BIAS_MAX = 1 << 20,
    RECEIPT_GRAMMAR_MAX = 1 << 20, /* bytes */
    RECEIPT_STOP_IDS_MAX = 1 << 10,
    RECEIPT_TEXT_MAX = 256,        /* bytes of request and model */
    RECEIPT_BYTES_MAX = 1 << 28,
};

/* Strings and lists are views of whoever filled the struct. */
struct receipt_spec {
    uint8_t contract[RECEIPT_HASH], root[RECEIPT_HASH];
    const int32_t *prompt;            /* [n_prompt]; NULL: private */
    uint8_t prompt_hash[RECEIPT_HASH]; /* of a private prompt */
    int n_prompt;
    int kv_bits;                      /* of a key or value in the cache: 16 or 8 */
    struct sampler_params sample;     /* its bias ascending by id */
    const struct str *stop;           /* [n_stop] */
    int n_stop;
    int max_tokens;                   /* 0: no limit but the context's */
    bool ignore_end, show_special;
    struct str grammar_kind, grammar; /* form_kind_name and form_text; empty: none */
    int grammar_tokens;               /* within which the grammar ends its text if it can */
    int min_tokens;                   /* before which neither an end token nor one of stop_ids ends the answer */
    const int32_t *allowed,
        *stop_ids; /* [n_allowed], [n_stop_ids], ascending: tokens that may be drawn (none: all), that end it */
    int n_allowed, n_stop_ids;
    /* which factors of rotation were used, of a model that has several (model_use_context) */
    enum rotation rotation;
};

struct receipt {
    struct receipt_spec spec;
    const int32_t *answer; /* [n_answer], the end token, too */
    int n_answer;
    enum generate_end end;
    uint8_t head[RECEIPT_HASH];
    const uint8_t *marks;  /* [n_answer / RECEIPT_EVERY][RECEIPT_MARK] */
    int64_t time_s;        /* since 1970 */
    struct str request, model;
    uint8_t public[SIGNING_PUBLIC_BYTES], signature[SIGNATURE_BYTES];
    bool has_salt;
    uint8_t salt[RECEIPT_SALT];
    struct str spec_bytes, body_bytes; /* as they were read */
};

/* SHA-256("tutti prompt 1", salt, ids). */
void receipt_prompt_hash(const uint8_t salt[RECEIPT_SALT], const int32_t *ids, int n, uint8_t out[RECEIPT_HASH]);
void receipt_put_spec(const struct receipt_spec *s, struct buf *out);
enum { RECEIPT_ROOT_AT = 39 }; /* where the root's bytes stand in an encoded spec */

/* --- the chain, while the answer is made --- */
struct receipt_chain {
    uint8_t h[RECEIPT_HASH];
    int n;
    struct buf marks; /* a zeroed struct is valid for receipt_chain_finish */
};
void receipt_chain_begin(struct receipt_chain *c, struct str spec_bytes);
void receipt_chain_add(struct receipt_chain *c, int32_t id, const uint8_t state[RECEIPT_HASH]);
void receipt_chain_finish(struct receipt_chain *c);

/* --- whole receipts --- */
/* Writes r (spec_bytes given; spec is not looked at) signed by s; salt if has_salt. */
int receipt_write(const struct receipt *r, const struct signing *s, struct buf *out, struct err *e);
/* Reads and checks form and ranges, not the signature. Views point into bytes, lists into the arena. */
int receipt_read(struct receipt *r, struct str bytes, struct arena *a, struct err *e);
/* The same from what people have: the bytes, base64 text, or JSON of a reply that holds "receipt" (the one of choice
 * number `choice`, counted from 0). */
int receipt_read_any(struct receipt *r, struct str file, int choice, struct arena *a, struct err *e);
/* token id, the n-th of the answer (from 1), is a stop id that ends it */
bool receipt_stops(const struct receipt_spec *s, int32_t id, int n);
bool receipt_is_signed(const struct receipt *r); /* by the key that it names */

/* As it travels in JSON: base64. */
int receipt_to_text(struct str bytes, struct buf *out);

#endif
