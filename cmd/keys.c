/* SPDX-License-Identifier: Apache-2.0 */
/* tutti keys: makes, lists and revokes the keys of `tutti serve`. A server sees a change within two seconds. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cmd.h"
#include "common.h"
#include "serve/ledger/ledger.h"
#include "serve/receipt/signing.h"

struct options {
    const char *ledger, *name, *spend, *signing;
    uint64_t rpm, rpd, tpm, tpd;
    bool json;
};

static const struct args_doc doc = {
    "keys", "create | list | revoke KEY | signing",
    "make, list and revoke the keys of a server; the key that signs receipts",
    "create prints a new secret, once: the ledger keeps only its hash. revoke takes the name or the id of a key. Limits count per key; "
    "those by day and month start anew at midnight UTC. The ledger is a file of SQLite, or postgresql://... for servers that share one.\n\n"
    "signing prints the public half of the key with which this server signs receipts, for 'tutti verify --key'; it makes the key if there is none."};

static int create(struct ledger *l, const struct options *o, struct err *e)
{
    struct limit_set s = {(int64_t)o->rpm, (int64_t)o->rpd, (int64_t)o->tpm, (int64_t)o->tpd, 0};
    char secret[KEY_SECRET_CHARS + 1], name[KEY_NAME_MAX + 1];
    struct key k;
    int rc = o->spend ? money_parse(o->spend, &s.spend_nusd, e) : 0;
    snprintf(name, sizeof name, "key-%" PRId64, (int64_t)time(NULL));
    if (rc || (rc = key_make(&k, secret, o->name ? o->name : name, &s, e)) || (rc = ledger_key_add(l, &k, e)))
        return rc;
    if (o->json) {
        json_t *j = json_pack("{s:I, s:s, s:s}", "id", (json_int_t)k.id, "name", k.name, "key", secret);
        json_dumpf(j, stdout, 0);
        putchar('\n');
        json_decref(j);
    } else {
        printf("%s\n", secret);
        fprintf(stderr, "key %" PRId64 " '%s'; this is the only time that it is shown\n", k.id, k.name);
    }
    return 0;
}

static void print_limit(const char *name, int64_t v)
{
    if (v) printf(" %s=%" PRId64, name, v);
}

static void print_time(int64_t us, char out[32])
{
    time_t s = (time_t)(us / 1000000);
    struct tm t;
    gmtime_r(&s, &t);
    if (!us || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &t)) snprintf(out, 32, "-");
}

static void print_key(const struct key *k)
{
    char created[32], revoked[32], spend[MONEY_TEXT_MAX];
    print_time(k->created_us, created);
    print_time(k->revoked_us, revoked);
    printf("%-4" PRId64 " %-24s %s... %s %-20s", k->id, k->name, k->hint, created, revoked);
    print_limit("rpm", k->limits.rpm);
    print_limit("rpd", k->limits.rpd);
    print_limit("tpm", k->limits.tpm);
    print_limit("tpd", k->limits.tpd);
    money_print(k->limits.spend_nusd, spend);
    if (k->limits.spend_nusd) printf(" spend=$%s/month", spend);
    putchar('\n');
}

static json_t *json_of(const struct key *k)
{
    char created[32], revoked[32], spend[MONEY_TEXT_MAX];
    print_time(k->created_us, created);
    print_time(k->revoked_us, revoked);
    money_print(k->limits.spend_nusd, spend);
    return json_pack("{s:I, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:s}", "id", (json_int_t)k->id, "name",
                     k->name, "hint", k->hint, "created", created, "revoked",
                     k->revoked_us ? json_string(revoked) : json_null(), "rpm", (json_int_t)k->limits.rpm,
                     "rpd", (json_int_t)k->limits.rpd, "tpm", (json_int_t)k->limits.tpm, "tpd",
                     (json_int_t)k->limits.tpd, "spend_usd_per_month", spend);
}

static int list(struct ledger *l, const struct options *o, struct err *e)
{
    struct key *key = NULL;
    int n = 0, rc = ledger_keys(l, &key, &n, e);
    if (rc) return rc;
    if (o->json) {
        json_t *all = json_array();
        for (int i = 0; i < n; i++) json_array_append_new(all, json_of(&key[i]));
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
    } else {
        if (n) printf("%-4s %-24s %-11s %-20s %-20s %s\n", "ID", "NAME", "KEY", "CREATED", "REVOKED", "LIMITS");
        for (int i = 0; i < n; i++) print_key(&key[i]);
        if (!n) fprintf(stderr, "no keys yet; 'tutti keys create' makes one\n");
    }
    free(key);
    return 0;
}

static int revoke(struct ledger *l, const char *which, struct err *e)
{
    int64_t id;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int rc = ledger_key_revoke(l, which, (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000, &id, e);
    if (!rc) printf("key %" PRId64 " is revoked\n", id);
    return rc;
}

static int show_signing(const struct options *o, struct err *e)
{
    struct signing s;
    char hex[SIGNING_HEX + 1];
    int rc = signing_read(&s, o->signing, e);
    if (rc == ERR_NOT_FOUND && !(rc = signing_make(&s, o->signing, e))) fprintf(stderr, "a new key was made\n");
    if (rc) return rc;
    signing_hex(s.public, hex);
    printf("%s\n", hex);
    return 0;
}

int cmd_keys(int argc, char **argv)
{
    struct options o = {0};
    int status;
    const struct arg table[] = {
        {"name", 0, ARG_STR, &o.name, "NAME", "create: a name that says whose key it is", 0, 0},
        {"rpm", 0, ARG_U64, &o.rpm, "N", "create: requests per minute (default: no limit)", 0, 0},
        {"rpd", 0, ARG_U64, &o.rpd, "N", "create: requests per day", 0, 0},
        {"tpm", 0, ARG_U64, &o.tpm, "N", "create: tokens per minute", 0, 0},
        {"tpd", 0, ARG_U64, &o.tpd, "N", "create: tokens per day", 0, 0},
        {"spend", 0, ARG_STR, &o.spend, "USD", "create: dollars per month, by the server's price file", 0, 0},
        {"ledger", 0, ARG_STR, &o.ledger, "PATH",
         "the ledger, or postgresql://... (default: $TUTTI_LEDGER, else ~/.local/share/tutti/ledger.db)", 0,
         0},
        {"signing", 0, ARG_STR, &o.signing, "FILE",
         "signing: the key's file (default: $TUTTI_SIGNING, else ~/.local/share/tutti/signing.key)", 0, 0},
        {"json", 0, ARG_FLAG, &o.json, NULL, "create, list: print JSON", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    int n = argc - at;
    const char *verb = n ? argv[at] : "";
    bool one = strcmp(verb, "revoke") == 0, signing = strcmp(verb, "signing") == 0;
    if (strcmp(verb, "create") != 0 && strcmp(verb, "list") != 0 && !one && !signing)
        return args_fault(&doc, "expected create, list, revoke or signing, got '%s'; see tutti keys --help", verb);
    if (n != 1 + one)
        return args_fault(&doc, one ? "revoke takes one KEY, a name or an id" : "%s takes no further words",
                          verb);
    struct ledger *l;
    struct err e = {0};
    if (signing) return show_signing(&o, &e) ? common_fail(&doc, &e) : 0;
    int rc = ledger_open(&l, o.ledger, &e);
    if (rc) return common_fail(&doc, &e);
    rc = *verb == 'c' ? create(l, &o, &e) : *verb == 'l' ? list(l, &o, &e) : revoke(l, argv[at + 1], &e);
    ledger_close(l);
    return rc ? common_fail(&doc, &e) : 0;
}
