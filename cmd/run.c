/* SPDX-License-Identifier: Apache-2.0 */
/* tutti run: one answer to a prompt, or a chat (chat.c) when there is no prompt and a terminal to type at. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "answer.h"
#include "chat.h"
#include "cmd.h"

static const struct args_doc doc = {
    "run", "MODEL [PROMPT | -]...", "answer a prompt, or chat with a model",
    "MODEL is a GGUF file or the name of a pulled model. The answer appears on standard output as it is made. PROMPT is one or more words; '-' stands "
    "for standard input, of which one newline at the end is dropped. Without a PROMPT a terminal gets a chat, and piped text is the prompt.\n\n"
    "With the same model, prompt, seed and options the answer is the same on every machine."};

enum { EXIT_SIGNAL = 128 };

/* The prompt of the command line: words with a space between, standard input on lines of its own. */
static int join_prompt(int argc, char **argv, struct buf *out, struct err *e)
{
    bool after_input = false, input = false;
    for (int i = 0; i < argc; i++) {
        char *text = NULL;
        size_t n = 0;
        bool is_input = strcmp(argv[i], "-") == 0;
        if (is_input && input) return err(e, ERR_USAGE, "'-' was given twice: standard input can be read once");
        if (is_input) {
            int rc = common_read_file("-", &text, &n, e);
            if (rc) return rc;
            input = true;
            if (n && text[n - 1] == '\n') n--;
        }
        if (i) buf_append_z(out, is_input || after_input ? "\n\n" : " ");
        if (is_input)
            buf_append(out, text, n);
        else
            buf_append_z(out, argv[i]);
        free(text);
        after_input = is_input;
    }
    return out->failed ? err(e, out->failed, "the prompt is too long") : 0;
}

/* Everything for a receipt is looked for before the model works. */
struct notary {
    const char *file;
    struct signing key;
    uint8_t root[ROOT_BYTES];
    struct witness witness;
};

static int open_notary(struct notary *n, struct talk *t, struct err *e)
{
    int rc = n->file ? signing_read(&n->key, NULL, e) : 0;
    if (n->file && !rc) rc = common_root(&t->o, n->root, e);
    if (n->file) t->witness = &n->witness;
    return rc;
}

static int write_receipt(struct notary *n, const struct talk *t, struct err *e)
{
    struct buf b;
    struct witness_end end = {t->g.end, n->root, STR(""), str_from(path_base(t->o.path.z))};
    buf_init(&b, RECEIPT_BYTES_MAX);
    int rc = witness_write(&n->witness, &end, &n->key, &b, e);
    FILE *f = rc ? NULL : fopen(n->file, "wbe");
    bool ok = f && fwrite(b.p, 1, b.n, f) == b.n;
    if (f) ok = fclose(f) == 0 && ok;
    if (!rc && !ok) rc = err(e, ERR_IO, "cannot write %s: %s", n->file, strerror(errno));
    buf_finish(&b);
    return rc;
}

static int answer_once(struct talk *t, struct str prompt, struct notary *n)
{
    struct err e = {0};
    answer_signals(true);
    int rc = talk_answer(t, prompt, &e), sig = atomic_load(&answer_signal);
    int *write_errno = &t->show.write_errno;
    bool newline = show_in_line(&t->show) && !*write_errno;
    if (newline && t->g.end != GENERATE_CANCELLED && (putchar('\n') == EOF || fflush(stdout))) *write_errno = errno;
    if (rc) return common_fail(&doc, &e);
    if (t->verbose) talk_report(t);
    else common_print_simulated(stderr, t->o.engine->chip);
    if (n->file && write_receipt(n, t, &e)) return common_fail(&doc, &e);
    if (*write_errno == EPIPE) return EXIT_SIGNAL + SIGPIPE; /* the reader has seen enough */
    if (*write_errno)
        return args_fault(&doc, "cannot write the answer: %s", strerror(*write_errno)),
               err_exit_status(ERR_IO);
    if (t->g.end == GENERATE_CANCELLED) return EXIT_SIGNAL + (sig ? sig : SIGINT);
    if (t->g.end == GENERATE_CONTEXT)
        fprintf(stderr, "tutti run: the context of %d tokens is full: the answer ends here\n", t->g.n_ctx);
    return 0;
}

int cmd_run(int argc, char **argv)
{
    struct common c = {0};
    struct sampling s;
    struct talk t = {.doc = &doc};
    struct notary notary = {0};
    const char *system = NULL;
    bool raw = false;
    int status;
    sampling_init(&s);
    const struct arg table[] = {
        {"system", 0, ARG_STR, &system, "TEXT",
         "message that opens the conversation (default: " TALK_SYSTEM "); '': none", 0, 0},
        {"raw", 0, ARG_FLAG, &raw, NULL, "continue the prompt as it stands, without the chat template", 0, 0},
        SAMPLING_ARGS(s),
        FORM_ARGS(t.form),
        SHOW_ARGS(t.show),
        {"special", 0, ARG_FLAG, &t.show_special, NULL, "show control tokens in the answer", 0, 0},
        {"ignore-end", 0, ARG_FLAG, &t.ignore_end, NULL, "go on after the model ended its answer", 0, 0},
        {"receipt", 0, ARG_STR, &notary.file, "FILE",
         "write a signed receipt of the answer, for 'tutti verify' ('tutti keys signing' makes the key)", 0,
         0},
        SPEC_ARG(t),
        {"verbose", 'v', ARG_FLAG, &t.verbose, NULL, "tokens/s, seed, kernels and memory on standard error",
         0, 0},
        COMMON_ARGS(c),
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (at == argc) return args_fault(&doc, "expected a MODEL; see tutti run --help");
    if (raw && (t.show.tools_file || t.show.kwargs_text))
        return args_fault(&doc,
                          "--tools and --template-kwargs need the chat template, which --raw leaves out");
    if (raw && system) return args_fault(&doc, "--system needs the chat template, which --raw leaves out");
    bool piped = at + 1 == argc && !isatty(STDIN_FILENO), chat = at + 1 == argc && !piped;
    if (chat && notary.file) return args_fault(&doc, "--receipt is of one answer: give a PROMPT");
    if (notary.file && t.show.kwargs_text)
        return args_fault(
            &doc,
            "--receipt has no place for --template-kwargs: 'tutti verify' could not write the same prompt");
    if (notary.file && form_given(&t.form))
        return args_fault(
            &doc, "--receipt of an answer with a form (--json-schema, --regex, --grammar) is not supported");
    struct err e = {0};
    struct buf prompt;
    char dash[] = "-", *only[] = {dash};
    buf_init(&prompt, COMMON_FILE_MAX);
    int rc = piped ? join_prompt(1, only, &prompt, &e) : join_prompt(argc - at - 1, argv + at + 1, &prompt, &e);
    if (!rc && !chat && prompt.n == 0) rc = err(&e, ERR_USAGE, "the prompt is empty");
    if (rc) {
        buf_finish(&prompt);
        return common_fail(&doc, &e);
    }
    t.max_tokens = s.max_tokens;
    t.n_stop = s.stop.n;
    for (int i = 0; i < s.stop.n; i++) t.stop[i] = str_from(s.stop.p[i]);
    if (!(status = common_open(&doc, &t.o, argv[at], &c, 1, 1))) {
        t.plain = raw || !t.o.text.chat;
        if (!raw && t.plain)
            fprintf(stderr, "tutti run: %s: plain completion\n",
                    t.o.text.chat_err.code ? t.o.text.chat_err.msg : "the model has no chat template");
        if ((rc = sampling_resolve(&s, t.o.engine->file, &t.sample, &e)) || (rc = talk_open(&t, &c, &e)) ||
            (rc = form_open(&t.form, &t.o.text, t.o.engine->model->h.n_vocab, &e)) ||
            (system && (rc = talk_set_system(&t, system, &e))) || (rc = open_notary(&notary, &t, &e)))
            status = common_fail(&doc, &e);
        else
            status = chat ? chat_run(&t) : answer_once(&t, buf_str(&prompt), &notary);
    }
    talk_close(&t);
    witness_finish(&notary.witness);
    buf_finish(&prompt);
    return status;
}
