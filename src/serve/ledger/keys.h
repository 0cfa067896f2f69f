/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys: secrets that clients show ("Authorization: Bearer tk_..."). A secret is 32 random bytes as 43 characters of
 * base64 after "tk_"; it is printed once when it is made. What is kept is its BLAKE2b hash, and its first characters so
 * that people can tell keys apart. A plain hash is enough, since nobody can go through 2^256 secrets.
 */
#ifndef TUTTI_SERVE_LEDGER_KEYS_H
#define TUTTI_SERVE_LEDGER_KEYS_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "serve/ledger/limits.h"

enum { KEY_SECRET_CHARS = 3 + 43, KEY_HASH_BYTES = 32, KEY_HINT_CHARS = 8, KEY_NAME_MAX = 63, KEY_HEADER_MAX = 1024 };

struct key {
    int64_t id; /* from 1 */
    char name[KEY_NAME_MAX + 1];
    char hint[KEY_HINT_CHARS + 1]; /* "tk_x1y2z" */
    uint8_t hash[KEY_HASH_BYTES];
    int64_t created_us, revoked_us; /* since 1970; 0: in use */
    struct limit_set limits;
};

/* A new secret, and the key that knows it. name: printable ASCII without spaces, not a number. */
int key_make(struct key *k, char secret[KEY_SECRET_CHARS + 1], const char *name,
             const struct limit_set *limits, struct err *e);
int key_check_limits(const struct limit_set *limits, struct err *e);
void key_hash(const char *secret, uint8_t hash[KEY_HASH_BYTES]);

/* The secret in a header's value: "Bearer X" or X. NULL: there is none. */
const char *key_of_header(const char *value);

/* Keys in use, found by secret; the owner locks. */
struct key_table {
    struct key *key; /* [n] ascending by hash */
    int n;
};
/* Takes over key[n] (malloc) and drops the revoked ones. */
void key_table_set(struct key_table *t, struct key *key, int n);
void key_table_finish(struct key_table *t);
const struct key *key_table_find(const struct key_table *t, const char *secret); /* NULL: unknown */
const struct key *key_table_by_id(const struct key_table *t, int64_t id);

/* "1.25" -> nano-dollars; up to nine decimals. */
int money_parse(const char *text, int64_t *nusd, struct err *e);
enum { MONEY_TEXT_MAX = 32 };
void money_print(int64_t nusd, char out[MONEY_TEXT_MAX]); /* "1.25", "0.0000015" */

#endif
