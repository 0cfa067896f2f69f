/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti digest: one SHA-256 over the bits of all logits of all positions of a text. Two machines, instruction sets,
 * thread counts, chunkings or batches that print the same line computed the same bits.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "common.h"

enum { OTHERS_MAX = 255, OTHER_CHUNK = 5 };

struct digest {
    crypto_hash_sha256_state sha;
    int n_vocab, bad;
};

static void add_logits(void *ud, int i, const float *logits, int status)
{
    struct digest *d = ud;
    float z[1024];
    if (status) d->bad++;
    for (int at = 0; at < d->n_vocab; at += 1024) {
        int n = d->n_vocab - at < 1024 ? d->n_vocab - at : 1024;
        for (int j = 0; j < n; j++) z[j] = logits[at + j] + 0.0f; /* -0 counts as +0 */
        crypto_hash_sha256_update(&d->sha, (const unsigned char *)z, (unsigned long long)n * sizeof *z);
    }
    (void)i;
}

/* Sequence j of the others reads the same ids from another place, in steps of another length, over and over. */
struct other {
    struct kv_seq seq;
    int pos, len, first;
};

static int run(struct engine *en, const struct ids *ids, int n, int chunk, int n_other, struct digest *d, struct err *e)
{
    struct kv_seq seq = {0};
    struct other *others = calloc((size_t)n_other + 1, sizeof *others);
    struct batch_part *parts = calloc((size_t)n_other + 1, sizeof *parts);
    int *out = calloc((size_t)chunk, sizeof *out),
        rc = others && parts && out ? 0 : err(e, ERR_MEMORY, "out of memory");
    if (!rc) rc = kv_seq_init(&seq, en->kv, n, e);
    for (int j = 0; j < n_other && !rc; j++) {
        others[j].len = 1 + (n - 1) * (j + 1) / (n_other + 1);
        others[j].first = (n - others[j].len) * (j % 3) / 2;
        rc = kv_seq_init(&others[j].seq, en->kv, others[j].len, e);
    }
    for (int at = 0; at < n && !rc; at += chunk) {
        int m = n - at < chunk ? n - at : chunk, np = 0;
        struct batch b = {.parts = parts, .out = out, .n_out = m};
        if ((rc = kv_seq_reserve(&seq, at + m, e))) break;
        for (int i = 0; i < m; i++) out[i] = i;
        parts[np++] = (struct batch_part){&seq, ids->p + at, m, at};
        for (int j = 0; j < n_other && !rc; j++) {
            struct other *o = &others[j];
            if (o->pos == o->len) kv_seq_truncate(&o->seq, o->pos = 0);
            int k = 1 + j % OTHER_CHUNK;
            if (k > o->len - o->pos) k = o->len - o->pos;
            rc = kv_seq_reserve(&o->seq, o->pos + k, e);
            parts[np++] = (struct batch_part){&o->seq, ids->p + o->first + o->pos, k, o->pos};
            o->pos += k;
        }
        b.n_parts = np;
        if (!rc) rc = chip_step(en->chip, &b, add_logits, d, e);
    }
    for (int j = 0; others && j < n_other; j++) kv_seq_finish(&others[j].seq);
    kv_seq_finish(&seq);
    free(others), free(parts), free(out);
    return rc;
}

int cmd_digest(int argc, char **argv)
{
    static const struct args_doc doc = {
        "digest", "MODEL", "print one hash over the bits of all logits of a text",
        "Runs the text through the model and prints the SHA-256 of the logits of every position. The line is the same for every instruction set, "
        "number of threads, chunk size and batch; if it is not, that is a defect."};
    struct common c = {0};
    const char *file = NULL, *text = NULL;
    int chunk = 0, batch = 1, tokens = 0, status;
    bool json = false, verbose = false;
    const struct arg table[] = {
        {"prompt-file", 'f', ARG_STR, &file, "FILE", "text to run ('-': standard input)", 0, 0},
        {"prompt", 'p', ARG_STR, &text, "TEXT", "text to run", 0, 0},
        {"tokens", 'n', ARG_INT, &tokens, "N", "only the first N tokens", 1, 1 << 24},
        {"chunk", 0, ARG_INT, &chunk, "N", "tokens of the text per step (default: 512)", 1, 2048},
        {"batch", 0, ARG_INT, &batch, "N",
         "run N-1 other sequences in the same steps; only the text's logits count", 1, OTHERS_MAX + 1},
        {"verbose", 'v', ARG_FLAG, &verbose, NULL,
         "of a simulated chip: its cycles, how fast they were simulated, idle units, on standard error", 0,
         0},
        {"json", 0, ARG_FLAG, &json, NULL, "print a JSON object", 0, 0},
        COMMON_ARGS(c),
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at != 1) return args_fault(&doc, "takes one MODEL; see tutti digest --help");
    if (!file == !text) return args_fault(&doc, "give the text by --prompt-file FILE or --prompt TEXT");
    if (!chunk) chunk = ENGINE_BATCH;
    struct opened o;
    struct err e = {0};
    struct ids ids;
    char *buf = NULL;
    size_t n_buf = 0;
    ids_init(&ids, TEXT_IDS_MAX);
    if ((status = common_open(&doc, &o, argv[at], &c, batch * 2, chunk + (batch - 1) * OTHER_CHUNK))) return status;
    struct digest d = {.n_vocab = o.engine->model->h.n_vocab};
    crypto_hash_sha256_init(&d.sha);
    int rc = file ? common_read_file(file, &buf, &n_buf, &e) : 0;
    struct str s = file ? (struct str){buf, n_buf} : str_from(text);
    if (!rc) rc = tokenizer_encode(o.text.tok, o.text.scratch, s, TOK_ADD_SPECIAL, &ids, &e);
    int n = tokens && (size_t)tokens < ids.n ? tokens : (int)ids.n;
    if (!rc && n == 0) rc = err(&e, ERR_USAGE, "the text has no tokens");
    if (!rc && (int64_t)n * batch > (int64_t)o.engine->kv->max_pages * ATTN_CHUNK && n > o.engine->n_ctx)
        rc = err(&e, ERR_LIMIT, "%d tokens do not fit the context of %d; take the first ones with --tokens N",
                 n, o.engine->n_ctx);
    double begin = common_now();
    if (!rc) rc = run(o.engine, &ids, n, chunk, batch - 1, &d, &e);
    if (!rc && d.bad) rc = err(&e, ERR_RANGE, "%d of %d positions left the range of the arithmetic", d.bad, n);
    if (rc) {
        status = common_fail(&doc, &e);
    } else {
        unsigned char h[crypto_hash_sha256_BYTES];
        char hex[2 * sizeof h + 1];
        crypto_hash_sha256_final(&d.sha, h);
        sodium_bin2hex(hex, sizeof hex, h, sizeof h);
        if (json)
            printf("{\"sha256\": \"%s\", \"tokens\": %d, \"n_vocab\": %d, \"seconds\": %.3f", hex, n,
                   d.n_vocab, common_now() - begin);
        else
            printf("%s  %d tokens\n", hex, n);
        if (json) common_print_simulated_json(stdout, o.engine->chip), puts("}");
        if (verbose) common_print_simulated(stderr, o.engine->chip);
    }
    free(buf);
    ids_finish(&ids);
    common_close(&o);
    return status;
}
