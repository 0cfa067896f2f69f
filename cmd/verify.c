/* SPDX-License-Identifier: Apache-2.0 */
/* tutti verify: a receipt's answer, computed again. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cmd.h"
#include "common.h"
#include "serve/ask/form.h"
#include "serve/ask/mask.h"
#include "serve/receipt/verify.h"
#include "serve/receipt/witness.h"

static const struct args_doc doc = {
    "verify", "RECEIPT MODEL", "compute the answer of a receipt again and compare",
    "RECEIPT is a file with a receipt, or a reply of the server in JSON that holds one. Prompt and answer run through MODEL as one prefill; every token "
    "that the receipt names must be the one that is drawn, from the same state, to the bit. It says 'verified', or names the first token that differs.\n\n"
    "A receipt holds the ids of its prompt, or their salted hash; for that, --prompt gives the prompt: text, a JSON array of ids, or the JSON of a chat "
    "request. Without --key it is not known who signed."};

struct options {
    struct common c;
    const char *prompt, *key;
    int choice;
    bool json;
};

struct job {
    struct receipt r;
    struct opened o;
    struct ids prompt;
    struct arena arena;
    char *file;
    struct forms *forms; /* of the receipt's grammar */
    const struct sched_mask_ops *mask_ops;
    void *mask;
    double seconds;
    struct verify_result result;
};

static int check_signer(const struct receipt *r, const struct options *o, struct err *e)
{
    uint8_t public[SIGNING_PUBLIC_BYTES];
    char signer[SIGNING_HEX + 1];
    signing_hex(r->public, signer);
    if (!receipt_is_signed(r))
        return err(e, ERR_MISMATCH, "the signature is wrong: the receipt was changed after it was signed");
    int rc = o->key ? signing_parse(o->key, public, e) : 0;
    if (!rc && o->key && memcmp(public, r->public, sizeof public) != 0)
        return err(e, ERR_MISMATCH, "the receipt was signed by another key: %s", signer);
    return rc;
}

static int check_contract(const struct receipt *r, struct err *e)
{
    char ours[2 * RECEIPT_HASH + 1], theirs[2 * RECEIPT_HASH + 1];
    engine_contract_id(ours);
    for (int i = 0; i < RECEIPT_HASH; i++) snprintf(theirs + 2 * i, 3, "%02x", r->spec.contract[i]);
    if (strcmp(ours, theirs) == 0) return 0;
    return err(
        e, ERR_MISMATCH,
        "the receipt is under contract %s, this build computes %s: verify it with a build of that contract",
        theirs, ours);
}

static int check_model(struct job *j, struct err *e)
{
    uint8_t root[ROOT_BYTES];
    int rc = common_root(&j->o, root, e);
    if (!rc && memcmp(root, j->r.spec.root, sizeof root) != 0)
        rc = err(e, ERR_MISMATCH, "%s is not the model of the receipt ('%.*s'): their roots differ",
                 j->o.path.z, STR_ARG(j->r.model));
    return rc;
}

/* --- the prompt ------------------------------------------------------------------------------------------- */

static int take_ids(const json_t *list, struct ids *out, struct err *e)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id > INT32_MAX)
            return err(e, ERR_FORMAT, "the prompt's JSON array holds something that is no token id");
        ids_push(out, (int32_t)id);
    }
    return out->failed ? err(e, out->failed, "the prompt is too long") : 0;
}

/* Ids, a chat request, a completion request, or text. */
static int read_prompt(struct text *t, const char *file, struct ids *out, struct err *e)
{
    char *p = NULL;
    size_t n = 0;
    int rc = common_read_file(file, &p, &n, e);
    if (rc) return rc;
    json_t *j = json_loadb(p, n, 0, NULL);
    struct str text = {p, n};
    const json_t *messages = json_object_get(j, "messages"), *prompt = json_object_get(j, "prompt");
    if (json_is_string(prompt)) text = (struct str){json_string_value(prompt), json_string_length(prompt)};
    if (json_is_array(j) || json_is_array(prompt))
        rc = take_ids(json_is_array(j) ? j : prompt, out, e);
    else if (messages)
        rc = text_chat(t, messages, json_object_get(j, "tools"), true, out, e);
    else
        rc = tokenizer_encode(t->tok, t->scratch, text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, out, e);
    json_decref(j);
    free(p);
    return rc;
}

static int get_prompt(struct job *j, const char *file, struct err *e)
{
    const struct receipt_spec *s = &j->r.spec;
    uint8_t hash[RECEIPT_HASH];
    if (!file && s->prompt) {
        ids_append(&j->prompt, s->prompt, (size_t)s->n_prompt);
        return j->prompt.failed ? err(e, j->prompt.failed, "the prompt is too long") : 0;
    }
    if (!file)
        return err(e, ERR_USAGE,
                   "the receipt holds only a hash of its prompt: give the prompt by --prompt FILE");
    if (!s->prompt && !j->r.has_salt)
        return err(e, ERR_USAGE, "the receipt came without its salt, so its prompt cannot be compared");
    int rc = read_prompt(&j->o.text, file, &j->prompt, e);
    if (rc) return rc;
    bool same = j->prompt.n == (size_t)s->n_prompt;
    if (same && s->prompt) {
        same = memcmp(j->prompt.p, s->prompt, j->prompt.n * sizeof *s->prompt) == 0;
    } else if (same) {
        receipt_prompt_hash(j->r.salt, j->prompt.p, s->n_prompt, hash);
        same = memcmp(hash, s->prompt_hash, sizeof hash) == 0;
    }
    return same ? 0
                : err(e, ERR_MISMATCH,
                      "%s is not the prompt of the receipt (%zu tokens, the receipt's has %d)", file,
                      j->prompt.n, s->n_prompt);
}

/* --- what came of it -------------------------------------------------------------------------------------- */

static void piece_of(const struct job *j, int32_t id, struct buf *out)
{
    struct detok d;
    buf_clear(out);
    if (id < 0) {
        buf_append_z(out, "nothing");
        return;
    }
    detok_init(&d, j->o.text.tok, DETOK_SPECIAL);
    buf_printf(out, "%d ", (int)id);
    json_t *text = NULL;
    struct buf piece;
    buf_init(&piece, 1 << 16);
    detok_feed(&d, id, &piece);
    detok_finish(&d, &piece);
    text = json_stringn(piece.p ? piece.p : "", piece.n);
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    buf_append_z(out, quoted ? quoted : "?");
    free(quoted);
    json_decref(text);
    buf_finish(&piece);
}

static void describe(const struct job *j, struct buf *out)
{
    const struct verify_result *v = &j->result;
    struct buf said, drawn;
    buf_init(&said, 1 << 16);
    buf_init(&drawn, 1 << 16);
    switch (v->what) {
    case VERIFY_OK:
        buf_printf(out, "verified: %d tokens of answer after %d of prompt", j->r.n_answer,
                   j->r.spec.n_prompt);
        break;
    case VERIFY_TOKEN:
        piece_of(j, v->said, &said);
        piece_of(j, v->drawn, &drawn);
        buf_printf(out, "NOT verified: token %d of %d differs: the receipt has %s, the model draws %s",
                   v->at + 1, j->r.n_answer, said.p, drawn.p);
        break;
    case VERIFY_STATE:
        buf_printf(
            out,
            "NOT verified: the tokens are right, but not what they were drawn from: first within tokens %d to %d of %d",
            v->at + 1, v->last + 1, j->r.n_answer);
        break;
    case VERIFY_END: buf_printf(out, "NOT verified: the end at token %d: %s", v->at + 1, v->text); break;
    }
    buf_finish(&said);
    buf_finish(&drawn);
}

static void print_result(const struct job *j, const struct options *o)
{
    static const char *const what[] = {"verified", "token", "state", "end"};
    struct buf text;
    char signer[SIGNING_HEX + 1];
    bool ok = j->result.what == VERIFY_OK;
    buf_init(&text, 1 << 18);
    describe(j, &text);
    signing_hex(j->r.public, signer);
    if (o->json) {
        json_t *r = json_pack("{s:b, s:s, s:s, s:s, s:b, s:i, s:i, s:f, s:s}", "verified", ok, "result",
                              what[j->result.what], "text", text.p, "signer", signer, "signer_checked",
                              o->key != NULL, "prompt_tokens", j->r.spec.n_prompt, "answer_tokens",
                              j->r.n_answer, "seconds", j->seconds, "isa", j->o.engine->kern->name);
        if (!ok) json_object_set_new(r, "token", json_integer(j->result.at));
        json_dumpf(r, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(r);
    } else {
        printf("%s\n", text.p);
        if (ok)
            printf("%s, seed %" PRIu64 ", kernels %s, %.3f s\n",
                   j->r.spec.sample.temperature > 0 ? "drawn" : "greedy", j->r.spec.sample.seed,
                   j->o.engine->kern->name, j->seconds);
        printf(o->key ? "signed by the given key\n" : "signed by %s; the signer is unchecked (--key PUB)\n", signer);
    }
    buf_finish(&text);
}

/* What the request said about the form of its answer, and around it which tokens it allowed. */
static int make_mask(struct job *j, struct err *e)
{
    const struct receipt_spec *r = &j->r.spec;
    struct mask_spec s = {.only = r->allowed,
                          .n_only = r->n_allowed,
                          .min_tokens = r->min_tokens,
                          .tokenizer = j->o.text.tok,
                          .n_vocab = j->o.engine->model->h.n_vocab};
    struct grammar *g = NULL;
    int rc = 0;
    if (r->grammar_kind.n) {
        if ((rc = form_of_text(r->grammar_kind, r->grammar, &g, e))) return rc;
        if (!(rc = forms_create(&j->forms, j->o.text.tok, s.n_vocab, e)))
            rc = forms_mask(j->forms, g, r->grammar_tokens, &j->mask, e);
        grammar_unref(g);
        if (!rc) j->mask_ops = &form_mask_ops;
    }
    if (rc || (!s.n_only && !s.min_tokens)) return rc;
    if (!(rc = mask_wrap(&j->mask, j->mask_ops, &s, e))) j->mask_ops = &mask_ops;
    return rc;
}

static int verify(struct job *j, const struct options *o, struct err *e)
{
    int rc;
    if ((rc = check_model(j, e)) || (rc = get_prompt(j, o->prompt, e))) return rc;
    if ((rc = make_mask(j, e))) return rc;
    double begin = common_now();
    rc = verify_run(j->o.engine, &j->o.text, &j->r, j->prompt.p, j->mask_ops, j->mask, &j->result, e);
    j->seconds = common_now() - begin;
    return rc;
}

/* Room for prompt and answer; the file's own context is the most. */
static int needed_context(const struct receipt *r)
{
    int64_t n = (int64_t)r->spec.n_prompt + r->n_answer + 1;
    return n < 1 << 24 ? (int)n : 1 << 24;
}

int cmd_verify(int argc, char **argv)
{
    struct options o = {0};
    struct job j = {0};
    struct err e = {0};
    int status;
    size_t n = 0;
    const struct arg table[] = {{"prompt", 0, ARG_STR, &o.prompt, "FILE",
                                 "the prompt: text, a JSON array of ids, or the JSON of a request", 0, 0},
                                {"key", 0, ARG_STR, &o.key, "PUB",
                                 "the signer's public key: 64 hexadecimal digits, or a file with them", 0, 0},
                                {"choice", 0, ARG_INT, &o.choice, "N",
                                 "of a reply with several choices: the receipt of this one, from 0", 0,
                                 1 << 20},
                                {"json", 0, ARG_FLAG, &o.json, NULL, "print a JSON object", 0, 0},
                                COMMON_ARGS(o.c),
                                {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at != 2) return args_fault(&doc, "takes a RECEIPT and a MODEL; see tutti verify --help");
    arena_init(&j.arena);
    ids_init(&j.prompt, TEXT_IDS_MAX);
    int rc = common_read_file(argv[at], &j.file, &n, &e);
    if (!rc && (rc = receipt_read_any(&j.r, (struct str){j.file, n}, o.choice, &j.arena, &e)))
        err_prefix(&e, "%s", argv[at]);
    if (!rc && !(rc = check_signer(&j.r, &o, &e))) rc = check_contract(&j.r, &e);
    if (rc) {
        status = common_fail(&doc, &e);
    } else {
        o.c.kv = j.r.spec.kv_bits;
        o.c.rotation = (int)j.r.spec.rotation;
        if (!o.c.ctx) o.c.ctx = needed_context(&j.r);
        if (!(status = common_open(&doc, &j.o, argv[at + 1], &o.c, 1, 1))) {
            rc = verify(&j, &o, &e);
            if (!rc) print_result(&j, &o);
            status = rc ? common_fail(&doc, &e) : err_exit_status(j.result.what == VERIFY_OK ? 0 : ERR_MISMATCH);
        }
    }
    if (j.mask) j.mask_ops->free(j.mask);
    forms_destroy(j.forms);
    common_close(&j.o);
    ids_finish(&j.prompt);
    arena_finish(&j.arena);
    free(j.file);
    return status;
}
