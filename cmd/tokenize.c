/* SPDX-License-Identifier: Apache-2.0 */
/* tutti tokenize: text to token ids and back, with nothing loaded but the model file's vocabulary. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd.h"
#include "common.h"
#include "file/cache.h"
#include "folder/folder.h"
#include "quote.h"

static const struct args_doc doc = {
    "tokenize", "MODEL [TEXT | - | IDS...]", "show the token ids and pieces of a text, or turn ids into text",
    "Prints one token a line: its id, then its piece in quotes. TEXT is one or more words; without any, or with '-', standard input is read. "
    "With --decode the words are ids and their text is printed; control tokens only with --special."};

enum { OUT_FLUSH = 1 << 20, OUT_MAX = 1 << 28, PIECE_SHOWN = 1 << 20 };

static void flush_if(struct buf *out, size_t least)
{
    if (out->n < least) return;
    fwrite(out->p, 1, out->n, stdout);
    buf_clear(out);
}

/* A piece in JSON: a string, or an array of bytes if it is not whole UTF-8. */
static void append_json_piece(struct buf *out, struct str s)
{
    if (utf8_valid(s) == s.n) {
        quote_append(out, s, SIZE_MAX);
        return;
    }
    buf_append_char(out, '[');
    for (size_t i = 0; i < s.n; i++) buf_printf(out, "%s%u", i ? ", " : "", (unsigned char)s.p[i]);
    buf_append_char(out, ']');
}

static void print_tokens(const struct text *t, const struct ids *ids, bool json, bool only_ids)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    if (json) buf_append_z(&out, only_ids ? "[" : "{\"tokens\": [");
    for (size_t i = 0; i < ids->n; i++) {
        struct str piece = tokenizer_piece(t->tok, ids->p[i]);
        if (json) buf_append_z(&out, i == 0 ? (only_ids ? "" : "\n  ") : only_ids ? ", " : ",\n  ");
        if (only_ids) {
            buf_printf(&out, json ? "%d" : "%d\n", (int)ids->p[i]);
        } else if (json) {
            buf_printf(&out, "{\"id\": %d, \"piece\": ", (int)ids->p[i]);
            append_json_piece(&out, piece);
            buf_append_char(&out, '}');
        } else {
            buf_printf(&out, "%7d  ", (int)ids->p[i]);
            quote_append(&out, piece, PIECE_SHOWN);
            buf_append_char(&out, '\n');
        }
        flush_if(&out, OUT_FLUSH);
    }
    if (json) buf_printf(&out, only_ids ? "]\n" : "\n], \"n\": %zu}\n", ids->n);
    flush_if(&out, 0);
    buf_finish(&out);
}

/* Ids in any of the ways people write lists: 1 2 3, 1,2,3, [1, 2, 3]. */
static int read_list(const char *s, size_t n_vocab, struct ids *ids, struct err *e)
{
    char *end;
    for (s += strspn(s, " \t\r\n,[]"); *s; s = end + strspn(end, " \t\r\n,[]")) {
        errno = 0;
        long v = strtol(s, &end, 10);
        if (end == s || (*end && !strchr(" \t\r\n,[]", *end))) return err(e, ERR_USAGE, "'%.20s' is no token id", s);
        if (errno || v < 0 || (size_t)v >= n_vocab)
            return err(e, ERR_USAGE, "token %ld is outside the vocabulary of %zu", v, n_vocab);
        ids_push(ids, (int32_t)v);
    }
    return ids->failed ? err(e, ids->failed, "more than %d ids", TEXT_IDS_MAX) : 0;
}

static int print_text(const struct text *t, const struct ids *ids, bool special, bool json, struct err *e)
{
    struct detok d;
    struct buf out;
    buf_init(&out, (size_t)COMMON_FILE_MAX);
    detok_init(&d, t->tok, (special ? DETOK_SPECIAL : 0) | DETOK_SKIP_SPACE);
    for (size_t i = 0; i < ids->n; i++) detok_feed(&d, ids->p[i], &out);
    detok_finish(&d, &out);
    int rc = out.failed ? err(e, out.failed, "the text is too long") : 0;
    if (!rc && json) {
        struct buf q;
        buf_init(&q, OUT_MAX);
        quote_append(&q, buf_str(&out), SIZE_MAX);
        rc = q.failed ? err(e, q.failed, "the text is too long") : 0;
        if (!rc) printf("{\"text\": %s}\n", q.p);
        buf_finish(&q);
    } else if (!rc) {
        fwrite(out.p ? out.p : "", 1, out.n, stdout);
        if (isatty(STDOUT_FILENO)) putchar('\n');
    }
    buf_finish(&out);
    return rc;
}

/* Words with a space between, or a file, or standard input. */
static int read_text(const char *file, int argc, char **argv, char **text, size_t *n, struct err *e)
{
    struct buf b;
    bool input = file || argc == 0 || (argc == 1 && strcmp(argv[0], "-") == 0);
    if (input) return common_read_file(file ? file : "-", text, n, e);
    buf_init(&b, (size_t)COMMON_FILE_MAX);
    for (int i = 0; i < argc; i++) {
        if (i) buf_append_char(&b, ' ');
        buf_append_z(&b, argv[i]);
    }
    if (b.failed) return buf_finish(&b), err(e, ERR_MEMORY, "out of memory");
    *text = b.p;
    *n = b.n;
    return 0;
}

int cmd_tokenize(int argc, char **argv)
{
    const char *file = NULL;
    bool json = false, only_ids = false, special = false, bare = false, decode = false;
    int status;
    const struct arg table[] = {
        {"file", 'f', ARG_STR, &file, "FILE", "read the text, or the ids, from FILE", 0, 0},
        {"ids", 0, ARG_FLAG, &only_ids, NULL, "only the ids, one a line", 0, 0},
        {"json", 0, ARG_FLAG, &json, NULL, "print JSON; a piece that is no whole UTF-8 is an array of bytes",
         0, 0},
        {"special", 0, ARG_FLAG, &special, NULL,
         "control tokens in the text count as such; with --decode they are printed", 0, 0},
        {"bare", 0, ARG_FLAG, &bare, NULL,
         "do not add the tokens that the model wants at the beginning and end", 0, 0},
        {"decode", 'd', ARG_FLAG, &decode, NULL, "turn ids into text", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (at == argc) return args_fault(&doc, "expected a MODEL; see tutti tokenize --help");
    if (file && argc - at > 1) return args_fault(&doc, "give the text as words or by --file, not both");
    struct path path;
    struct gguf *g = NULL;
    struct text t = {0};
    struct ids ids;
    struct err e = {0};
    char *text = NULL;
    size_t n = 0;
    ids_init(&ids, TEXT_IDS_MAX);
    int rc = model_path_resolve(argv[at], &path, &e);
    if (!rc) rc = model_file_open(&g, path.z, &e);
    if (!rc) rc = text_open(&t, g, &e);
    if (!rc) rc = read_text(file, argc - at - 1, argv + at + 1, &text, &n, &e);
    if (!rc && decode) {
        rc = read_list(text, tokenizer_n_tokens(t.tok), &ids, &e);
        if (!rc) rc = print_text(&t, &ids, special, json, &e);
    } else if (!rc) {
        rc = tokenizer_encode(t.tok, t.scratch, (struct str){text, n},
                              (bare ? 0 : TOK_ADD_SPECIAL) | (special ? TOK_PARSE_SPECIAL : 0), &ids, &e);
        if (!rc) print_tokens(&t, &ids, json, only_ids);
    }
    if (!rc && (fflush(stdout) || ferror(stdout)) && errno != EPIPE)
        rc = err(&e, ERR_IO, "cannot write: %s", strerror(errno));
    free(text);
    ids_finish(&ids);
    text_close(&t);
    gguf_close(g);
    return rc ? common_fail(&doc, &e) : 0;
}
