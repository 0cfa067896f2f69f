/* SPDX-License-Identifier: Apache-2.0 */
/* See keys.h. */
#include "serve/ledger/keys.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const int64_t NANO = 1000000000;
enum { SECRET_BYTES = 32, MONEY_DECIMALS = 9, MONEY_DIGITS_MAX = 9 };

void key_hash(const char *secret, uint8_t hash[KEY_HASH_BYTES])
{
    static const unsigned char domain[] = "tutti key 1";
    crypto_generichash(hash, KEY_HASH_BYTES, (const unsigned char *)secret, strlen(secret), domain, sizeof domain - 1);
}

int key_check_limits(const struct limit_set *s, struct err *e)
{
    const struct {
        const char *name;
        int64_t value, max;
    } all[] = {{"requests per minute", s->rpm, LIMIT_MINUTE_MAX},
               {"tokens per minute", s->tpm, LIMIT_MINUTE_MAX},
               {"requests per day", s->rpd, LIMIT_MAX},
               {"tokens per day", s->tpd, LIMIT_MAX}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].value < 0 || all[i].value > all[i].max)
            return err(e, ERR_USAGE, "%" PRId64 " %s: must be 0 (no limit) to %" PRId64, all[i].value,
                       all[i].name, all[i].max);
    return s->spend_nusd < 0 ? err(e, ERR_USAGE, "the spend cap is negative") : 0;
}

static int check_name(const char *name, struct err *e)
{
    size_t n = strlen(name);
    if (n < 1 || n > KEY_NAME_MAX)
        return err(e, ERR_USAGE, "the name of a key has %zu characters: must be 1 to %d", n, KEY_NAME_MAX);
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] > '~')
            return err(e, ERR_USAGE, "the name of a key has a space or a character outside ASCII");
    if (strspn(name, "0123456789") == n)
        return err(e, ERR_USAGE, "'%s' is a number, which would be taken for a key's id: choose a name",
                   name);
    return 0;
}

int key_make(struct key *k, char secret[KEY_SECRET_CHARS + 1], const char *name,
             const struct limit_set *limits, struct err *e)
{
    unsigned char r[SECRET_BYTES];
    struct timespec t;
    int rc = check_name(name, e);
    if (rc || (rc = key_check_limits(limits, e))) return rc;
    if (sodium_init() < 0) return err(e, ERR_INTERNAL, "the source of random numbers is not ready");
    randombytes_buf(r, sizeof r);
    memcpy(secret, "tk_", 3);
    sodium_bin2base64(secret + 3, KEY_SECRET_CHARS + 1 - 3, r, sizeof r, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(r, sizeof r);
    clock_gettime(CLOCK_REALTIME, &t);
    *k = (struct key){.limits = *limits, .created_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000};
    snprintf(k->name, sizeof k->name, "%s", name);
    snprintf(k->hint, sizeof k->hint, "%.*s", KEY_HINT_CHARS, secret);
    key_hash(secret, k->hash);
    return 0;
}

const char *key_of_header(const char *value)
{
    if (!value) return NULL;
    if (strncasecmp(value, "Bearer ", 7) == 0) value += 7;
    while (*value == ' ') value++;
    return *value && strlen(value) <= KEY_HEADER_MAX ? value : NULL;
}

/* --- the table -------------------------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b)
{
    return memcmp(((const struct key *)a)->hash, ((const struct key *)b)->hash, KEY_HASH_BYTES);
}

void key_table_set(struct key_table *t, struct key *key, int n)
{
    free(t->key);
    *t = (struct key_table){.key = key};
    for (int i = 0; i < n; i++)
        if (!key[i].revoked_us) key[t->n++] = key[i];
    if (t->n) qsort(key, (size_t)t->n, sizeof *key, by_hash);
}

void key_table_finish(struct key_table *t)
{
    free(t->key);
    *t = (struct key_table){0};
}

/* How long the search takes depends on hashes of unknown secrets only, which tell nothing about a secret. */
const struct key *key_table_find(const struct key_table *t, const char *secret)
{
    struct key probe;
    if (!secret || !t->n) return NULL;
    key_hash(secret, probe.hash);
    return bsearch(&probe, t->key, (size_t)t->n, sizeof *t->key, by_hash);
}

const struct key *key_table_by_id(const struct key_table *t, int64_t id)
{
    for (int i = 0; i < t->n; i++)
        if (t->key[i].id == id) return &t->key[i];
    return NULL;
}

/* --- money ------------------------------------------------------------------------------------------------ */

int money_parse(const char *text, int64_t *nusd, struct err *e)
{
    const char *digits = "0123456789", *dot = strchr(text, '.');
    size_t n = strlen(text), whole = dot ? (size_t)(dot - text) : n, part = dot ? n - whole - 1 : 0;
    if (whole + part == 0 || whole > MONEY_DIGITS_MAX || part > MONEY_DECIMALS ||
        strspn(text, digits) != whole || (dot && strspn(dot + 1, digits) != part))
        return err(e, ERR_USAGE,
                   "'%s' is no amount in dollars: expected digits with at most %d decimals, such as 12.50",
                   text, MONEY_DECIMALS);
    int64_t v = 0;
    for (size_t i = 0; i < whole; i++) v = 10 * v + (text[i] - '0');
    for (size_t i = 0; i < MONEY_DECIMALS; i++) v = 10 * v + (i < part ? dot[1 + i] - '0' : 0);
    *nusd = v;
    return 0;
}

void money_print(int64_t nusd, char out[MONEY_TEXT_MAX])
{
    uint64_t v = nusd < 0 ? 0 - (uint64_t)nusd : (uint64_t)nusd;
    int n = snprintf(out, MONEY_TEXT_MAX, "%s%" PRIu64 ".%09" PRIu64, nusd < 0 ? "-" : "", v / (uint64_t)NANO,
                     v % (uint64_t)NANO);
    while (n > 3 && out[n - 1] == '0' && out[n - 3] != '.') out[--n] = 0; /* two decimals stay */
}
