/* SPDX-License-Identifier: Apache-2.0 */
/*
 * toktool VOCAB encode [special]  < texts > ids     a text: u32 length, bytes; ids: u32 count, i32 each;
 * VOCAB may be a folder (native order) toktool VOCAB decode [special]  < ids > texts toktool VOCAB bench FILE
 * [repeats] MB/s of encoding FILE, with the cache kept and with a new one The side of Tutti in
 * tests/oracle/tokenizer.py.
 */
#include <time.h>
#include "base/path.h"
#include "folder/folder.h"
#include "serve/engine/text.h"
#include "vocab_file.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool read_exact(void *p, size_t n)
{
    size_t got = fread(p, 1, n, stdin);
    if (got != 0 && got != n) vocab_file_fail("stdin", "is cut short");
    return got == n;
}

static void check(int rc, const struct err *e)
{
    if (rc == 0) return;
    fprintf(stderr, "toktool: %s\n", e->msg);
    exit(1);
}

static void encode_all(const struct tokenizer *t, unsigned flags)
{
    struct tok_scratch *x;
    struct ids ids;
    struct err e;
    uint32_t n;
    check(tok_scratch_create(&x, t, &e), &e);
    ids_init(&ids, (size_t)1 << 30);
    while (read_exact(&n, sizeof n)) {
        char *p = malloc(n ? n : 1);
        if (!p || (n && !read_exact(p, n))) vocab_file_fail("stdin", "is cut short");
        ids_clear(&ids);
        check(tokenizer_encode(t, x, (struct str){p, n}, flags, &ids, &e), &e);
        uint32_t k = (uint32_t)ids.n;
        fwrite(&k, sizeof k, 1, stdout);
        fwrite(ids.p, sizeof *ids.p, k, stdout);
        free(p);
    }
    ids_finish(&ids);
    tok_scratch_destroy(x);
}

static void decode_all(const struct tokenizer *t, unsigned flags)
{
    uint32_t n;
    struct buf out;
    buf_init(&out, (size_t)1 << 30);
    while (read_exact(&n, sizeof n)) {
        struct detok d;
        detok_init(&d, t, flags | DETOK_SKIP_SPACE);
        buf_clear(&out);
        for (uint32_t i = 0; i < n; i++) {
            int32_t id;
            if (!read_exact(&id, sizeof id)) vocab_file_fail("stdin", "is cut short");
            detok_feed(&d, id, &out);
        }
        detok_finish(&d, &out);
        uint32_t k = (uint32_t)out.n;
        fwrite(&k, sizeof k, 1, stdout);
        fwrite(out.p, 1, k, stdout);
    }
    buf_finish(&out);
}

static void bench(const struct tokenizer *t, const char *path, int n_repeat)
{
    struct err e;
    struct buf text;
    buf_init(&text, (size_t)1 << 30);
    FILE *f = fopen(path, "rb");
    char part[65536];
    if (!f) vocab_file_fail(path, "cannot be opened");
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) buf_append(&text, part, n);
    fclose(f);
    struct ids ids;
    ids_init(&ids, (size_t)1 << 30);
    for (int keep = 0; keep < 2; keep++) {
        struct tok_scratch *x = NULL;
        double best = 1e9, sum = 0;
        for (int i = 0; i < n_repeat; i++) {
            double t0 = now_s();
            if (!keep || !x) check(tok_scratch_create(&x, t, &e), &e);
            ids_clear(&ids);
            check(tokenizer_encode(t, x, buf_str(&text), 0, &ids, &e), &e);
            if (!keep) tok_scratch_destroy(x);
            double s = now_s() - t0;
            sum += s;
            if (s < best) best = s;
        }
        if (keep) tok_scratch_destroy(x);
        printf("%s: %zu bytes, %zu ids, %.1f MB/s mean, %.1f best of %d\n", keep ? "cache kept" : "new cache",
               text.n, ids.n, (double)text.n * n_repeat / sum / 1e6, (double)text.n / best / 1e6, n_repeat);
    }
    ids_finish(&ids);
    buf_finish(&text);
}

/* The tokenizer of a folder, or of a vocabulary as vocab_file.h has it. */
static struct tokenizer *open_vocab(const char *path)
{
    struct arena a;
    struct err e;
    struct tokenizer *t;
    struct gguf *g;
    struct text text;
    struct path config;
    if (path_format(&config, NULL, "%s/config.json", path) == 0 && path_is_file(config.z)) {
        check(model_file_open(&g, path, &e), &e);
        check(text_open(&text, g, &e), &e);
        t = text.tok;
        text.tok = NULL;
        text_close(&text);
        gguf_close(g);
        return t;
    }
    arena_init(&a);
    struct vocab_spec spec = vocab_file_read(&a, path);
    check(tokenizer_create(&t, &spec, &e), &e);
    arena_finish(&a); /* the tokenizer needs nothing of the spec */
    return t;
}

int main(int argc, char **argv)
{
    if (argc < 3) vocab_file_fail("-", "usage: toktool VOCAB encode|decode|bench ...");
    double t0 = now_s();
    struct tokenizer *t = open_vocab(argv[1]);
    double load = now_s() - t0;
    bool special = argc > 3 && str_eqz(str_from(argv[3]), "special");
    if (str_eqz(str_from(argv[2]), "encode")) {
        encode_all(t, special ? TOK_PARSE_SPECIAL | TOK_ADD_SPECIAL : 0);
    } else if (str_eqz(str_from(argv[2]), "decode")) {
        decode_all(t, special ? DETOK_SPECIAL : 0);
    } else if (argc > 3) {
        printf("load %.1f ms\n", load * 1e3);
        bench(t, argv[3], argc > 4 ? atoi(argv[4]) : 20);
    }
    tokenizer_destroy(t);
    return 0;
}
