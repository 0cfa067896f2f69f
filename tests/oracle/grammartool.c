/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The side of Tutti in tests/oracle/grammar.py, and the measure of what masks cost.
 *
 *   grammartool GGUF walk SEED WALKS MAX_TOKENS   < names of schema files
 *       a JSON line for each: {"file", "error"} or {"file", "compile_ms", "outputs": [{"text", "ended",
 *       "tokens"}]}. A walk takes random allowed tokens, such with a quote, comma or bracket more often.
 *   grammartool GGUF replay   < lines "schema file, tab, text file"
 *       follows the texts, token by token as the tokenizer writes them, and prints the times of masks: cold,
 *       the grammar being new, then warm, after the same text was followed once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "serve/engine/text.h"
#include "token/grammar/grammar.h"

enum { LINE_MAX_BYTES = 4096, TIMES_MAX = 1 << 22 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static void fail(const char *what, const struct err *e)
{
    fprintf(stderr, "grammartool: %s%s%s\n", what, e ? ": " : "", e ? e->msg : "");
    exit(1);
}

static uint64_t seed;

static uint32_t draw(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

/* A random allowed token; of some tries the first that has something structural in it. */
static int32_t pick(const struct text *t, const uint32_t *bits, int n_words)
{
    int32_t last = -1, tries = draw(3) ? 1 : 12;
    for (int i = 0; i < tries; i++) {
        int at = (int)draw((uint32_t)n_words), k = 0;
        while (k < n_words && !bits[(at + k) % n_words]) k++;
        if (k == n_words) return -1;
        int w = (at + k) % n_words, bit = (int)draw(32);
        while (!(bits[w] >> (bit & 31) & 1)) bit++;
        last = w * 32 + (bit & 31);
        struct str s = tokenizer_piece(t->tok, last);
        if (tokenizer_is_end(t->tok, last) || (s.n && memchr("\",:{}[]", s.p[s.n - 1], 7))) break;
    }
    return last;
}

static json_t *walk(const struct text *t, const struct grammar_vocab *v, struct grammar *g, int max_tokens)
{
    struct grammar_state *s;
    struct err e = {0};
    struct buf out;
    bool ended = false;
    int n = 0, n_words = ((int)tokenizer_n_tokens(t->tok) + 31) / 32;
    buf_init(&out, 1 << 24);
    if (grammar_state_create(&s, g, v, max_tokens, &e)) fail("state", &e);
    while (n < 4 * max_tokens && !ended) {
        int32_t id = pick(t, grammar_state_allowed(s), n_words);
        if (id < 0) {
            buf_printf(&out, " -- no token is allowed: %s", grammar_state_error(s)->msg);
            break;
        }
        if (grammar_state_accept(s, id, &e)) fail("accept", &e);
        n++;
        ended = tokenizer_is_end(t->tok, id);
        if (!ended) buf_append_str(&out, tokenizer_piece(t->tok, id));
    }
    grammar_state_destroy(s);
    json_t *j = json_pack("{s:s%, s:b, s:i}", "text", out.p ? out.p : "", out.n, "ended", ended, "tokens", n);
    if (!j) j = json_pack("{s:s, s:b, s:i}", "text", "(not UTF-8)", "ended", 0, "tokens", n);
    buf_finish(&out);
    return j;
}

static char *read_line(char *line)
{
    if (!fgets(line, LINE_MAX_BYTES, stdin)) return NULL;
    line[strcspn(line, "\r\n")] = 0;
    return line;
}

static int compile_file(const char *name, struct grammar **g, struct err *e)
{
    json_error_t je;
    json_t *schema = json_load_file(name, JSON_DECODE_ANY, &je);
    if (!schema) return err(e, ERR_FORMAT, "%s: %s", name, je.text);
    int rc = grammar_compile_json_schema(g, schema, e);
    json_decref(schema);
    return rc;
}

static void walk_all(const struct text *t, const struct grammar_vocab *v, int walks, int max_tokens)
{
    char line[LINE_MAX_BYTES];
    while (read_line(line)) {
        struct grammar *g = NULL;
        struct err e = {0};
        double from = now_us();
        json_t *j = json_pack("{s:s}", "file", line);
        if (compile_file(line, &g, &e)) {
            json_object_set_new(j, "error", json_string(e.msg));
        } else {
            json_object_set_new(j, "compile_ms", json_real((now_us() - from) / 1e3));
            json_t *outputs = json_array();
            for (int i = 0; i < walks; i++) json_array_append_new(outputs, walk(t, v, g, max_tokens));
            json_object_set_new(j, "outputs", outputs);
        }
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(j);
        grammar_unref(g);
    }
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_times(const char *name, double *us, int n)
{
    double sum = 0;
    if (!n) return;
    qsort(us, (size_t)n, sizeof *us, compare_double);
    for (int i = 0; i < n; i++) sum += us[i];
    printf("%s: %d masks, mean %.1f, median %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, most %.1f us\n", name, n,
           sum / n, us[n / 2], us[(int)(n * 0.9)], us[(int)(n * 0.99)], us[(int)(n * 0.999)], us[n - 1]);
}

/* Mask and step of every token of ids, times into us. */
static int replay(const struct grammar_vocab *v, struct grammar *g, const struct ids *ids, double *us)
{
    struct grammar_state *s;
    struct err e = {0};
    int n = 0;
    if (grammar_state_create(&s, g, v, 0, &e)) fail("state", &e);
    for (size_t i = 0; i < ids->n; i++) {
        double from = now_us();
        const uint32_t *bits = grammar_state_allowed(s);
        bool may = bits[ids->p[i] >> 5] >> (ids->p[i] & 31) & 1;
        if (may && grammar_state_accept(s, ids->p[i], &e)) fail("accept", &e);
        us[n++] = now_us() - from;
        if (!may) break;
    }
    grammar_state_destroy(s);
    return n;
}

static void replay_all(struct text *t, const struct grammar_vocab *v)
{
    char line[LINE_MAX_BYTES];
    double *cold = calloc(TIMES_MAX, sizeof *cold), *warm = calloc(TIMES_MAX, sizeof *warm);
    int n_cold = 0, n_warm = 0, n_refused = 0;
    struct ids ids;
    ids_init(&ids, 1 << 20);
    if (!cold || !warm) fail("out of memory", NULL);
    while (read_line(line)) {
        char *tab = strchr(line, '\t');
        struct grammar *g = NULL;
        struct err e = {0};
        if (!tab) fail("a line without a tab", NULL);
        *tab++ = 0;
        FILE *f = fopen(tab, "rb");
        if (!f) fail(tab, NULL);
        struct buf b;
        char piece[4096];
        buf_init(&b, 1 << 24);
        for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;) buf_append(&b, piece, n);
        fclose(f);
        ids_clear(&ids);
        if (tokenizer_encode(t->tok, t->scratch, buf_str(&b), 0, &ids, &e)) fail("encode", &e);
        buf_finish(&b);
        if (compile_file(line, &g, &e)) fail(line, &e);
        if (n_cold + (int)ids.n > TIMES_MAX) break;
        int n = replay(v, g, &ids, cold + n_cold);
        n_refused += n < (int)ids.n;
        n_cold += n;
        n_warm += replay(v, g, &ids, warm + n_warm);
        grammar_unref(g);
    }
    if (n_refused) printf("%d texts were left at a token that the grammar does not allow\n", n_refused);
    print_times("cold", cold, n_cold);
    print_times("warm", warm, n_warm);
    ids_finish(&ids);
    free(cold);
    free(warm);
}

int main(int argc, char **argv)
{
    struct gguf *file;
    struct text t = {0};
    struct grammar_vocab *v;
    struct err e = {0};
    if (argc < 3) fail("usage: grammartool GGUF walk SEED WALKS MAX_TOKENS | GGUF replay", NULL);
    if (gguf_open(&file, argv[1], &e) || text_open(&t, file, &e) || grammar_vocab_create(&v, t.tok, 0, &e))
        fail(argv[1], &e);
    if (argc == 6 && strcmp(argv[2], "walk") == 0) {
        seed = strtoull(argv[3], NULL, 10);
        walk_all(&t, v, (int)strtol(argv[4], NULL, 10), (int)strtol(argv[5], NULL, 10));
    } else if (strcmp(argv[2], "replay") == 0) {
        replay_all(&t, v);
    } else {
        fail("unknown mode", NULL);
    }
    grammar_vocab_destroy(v);
    text_close(&t);
    gguf_close(file);
    return 0;
}
