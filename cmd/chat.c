/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See chat.h. Lines come from libedit; read_char is its source of characters, so that a signal ends the wait for a key
 * without a race, and so that pasted text of several lines arrives as one message: the terminal brackets what is pasted
 * (ESC [ 200 ~ ... ESC [ 201 ~), newlines within it are shown as one sign and become newlines again when the line is
 * sent.
 */
#include "chat.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "file/cache.h"

enum {
    HISTORY_LINES = 1000,
    MESSAGE_MAX = 16 << 20,  /* bytes */
    NEWLINE_SIGN = 0x2424,   /* U+2424 stands for a newline in pasted text */
    EXIT_SIGNAL = 128,
    KEY_BYTES = 16,
};
#define NEWLINE_UTF8 "\xE2\x90\xA4"
#define PASTE_ON "\033[?2004h"
#define PASTE_OFF "\033[?2004l"

struct chat {
    struct talk *t;
    FILE *ui;           /* the terminal: standard output, or standard error if that is no terminal */
    EditLine *el;
    History *history;
    struct path history_file; /* "" = none */
    const char *prompt;
    bool pasting;
    char key[KEY_BYTES]; /* bytes that were read but not yet used */
    int n_key;
    bool interrupted;   /* the last line was given up by Ctrl-C */
    bool leave;
    struct buf line;    /* the message being read */
};

static volatile sig_atomic_t resized, continued;

static void on_terminal(int sig)
{
    int saved = errno;
    *(sig == SIGWINCH ? &resized : &continued) = 1;
    errno = saved;
}

/* --- input ------------------------------------------------------------------------------------------------ */

/* 1 when a byte was read into key, 0 at the end of input, -1 after a signal. */
static int read_byte(struct chat *c)
{
    struct pollfd p[2] = {{STDIN_FILENO, POLLIN, 0}, {answer_wake_fd(), POLLIN, 0}};
    for (;;) {
        if (resized) resized = 0, el_resize(c->el);
        if (continued) continued = 0, el_set(c->el, EL_PREP_TERM, 1), el_set(c->el, EL_REFRESH);
        int n = poll(p, 2, -1);
        if (n < 0 && errno != EINTR) return -1;
        if (n < 0) continue;
        if (p[1].revents) {
            answer_wake_drain();
            c->interrupted = true;
            return -1;
        }
        ssize_t got = read(STDIN_FILENO, &c->key[c->n_key], 1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        c->n_key += got > 0;
        return got > 0 ? 1 : 0;
    }
}

/* The bracket at the head of key: 1 whole, 0 none, -1 maybe, with more bytes. */
static int match_bracket(const struct chat *c, const char *bracket)
{
    int n = (int)strlen(bracket), m = c->n_key < n ? c->n_key : n;
    if (memcmp(c->key, bracket, (size_t)m) != 0) return 0;
    return m == n ? 1 : -1;
}

static void use_key(struct chat *c, int n)
{
    c->n_key -= n;
    memmove(c->key, c->key + n, (size_t)c->n_key);
}

/* More of an escape sequence comes at once or not at all: the key Escape stands alone. */
static bool more_waits(void)
{
    struct pollfd p = {STDIN_FILENO, POLLIN, 0};
    return poll(&p, 1, 20) > 0;
}

static int read_char(EditLine *el, wchar_t *out)
{
    static const char begin[] = "\033[200~", end[] = "\033[201~";
    struct chat *c = NULL;
    uint32_t cp = 0;
    el_get(el, EL_CLIENTDATA, &c);
    for (;;) {
        int rc = c->n_key ? 1 : read_byte(c);
        if (rc != 1) return rc;
        for (int m; (m = match_bracket(c, begin) | match_bracket(c, end)) < 0 && more_waits();)
            if ((rc = read_byte(c)) != 1) return rc;
        if (match_bracket(c, begin) == 1 || match_bracket(c, end) == 1) {
            c->pasting = match_bracket(c, begin) == 1;
            use_key(c, (int)sizeof begin - 1);
            continue;
        }
        int used;
        while ((used = utf8_decode(c->key, (size_t)c->n_key, &cp)) == 0)
            if ((rc = read_byte(c)) != 1) return rc;
        if (used < 0) cp = 0xFFFD;
        use_key(c, used < 0 ? -used : used);
        if (c->pasting && (cp == '\r' || cp == '\n')) cp = NEWLINE_SIGN;
        if (c->pasting && cp == '\t') cp = ' '; /* Tab is a key of the editor */
        if (c->pasting && cp < 0x20) continue;
        *out = (wchar_t)cp;
        return 1;
    }
}

static char *show_prompt(EditLine *el)
{
    static char text[8];
    struct chat *c = NULL;
    el_get(el, EL_CLIENTDATA, &c);
    snprintf(text, sizeof text, "%s", c->prompt);
    return text;
}

/* Appends one line without its newline; false when there is none (end of input or a signal). */
static bool read_line(struct chat *c, const char *prompt)
{
    int n = 0;
    c->prompt = prompt;
    c->interrupted = false;
    c->pasting = false;
    c->n_key = 0;
    el_set(c->el, EL_PREP_TERM, 1); /* el_gets would do it only after showing the prompt */
    const char *s = el_gets(c->el, &n);
    if (!s || n <= 0) return false;
    if (s[n - 1] == '\n') n--;
    for (const char *sign; n > 0 && (sign = memmem(s, (size_t)n, NEWLINE_UTF8, 3));
         n -= (int)(sign - s) + 3, s = sign + 3) {
        buf_append(&c->line, s, (size_t)(sign - s));
        buf_append_char(&c->line, '\n');
    }
    if (n > 0) buf_append(&c->line, s, (size_t)n);
    return true;
}

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr(" \t\n", s.p[i])) return false;
    return true;
}

/* A message: one line, or lines between """. */
static bool read_message(struct chat *c)
{
    static const char quotes[] = "\"\"\"";
    buf_clear(&c->line);
    buf_append(&c->line, "", 0);
    if (!read_line(c, ">>> ")) return false;
    if (strncmp(c->line.p, quotes, 3) == 0) {
        size_t from = 3;
        char *end;
        while (!(end = strstr(c->line.p + from, quotes))) {
            from = c->line.n;
            buf_append_char(&c->line, '\n');
            if (!read_line(c, "... ")) return false;
        }
        c->line.n = (size_t)(end - c->line.p);
        size_t skip = 3 + (c->line.p[3] == '\n' && c->line.n > 3);
        c->line.n -= skip;
        memmove(c->line.p, c->line.p + skip, c->line.n);
        if (c->line.n && c->line.p[c->line.n - 1] == '\n') c->line.n--;
        c->line.p[c->line.n] = 0;
    }
    return true;
}

static void remember(struct chat *c)
{
    HistEvent ev;
    if (is_blank(buf_str(&c->line))) return;
    history(c->history, &ev, H_ENTER, c->line.p);
    if (c->history_file.z[0]) history(c->history, &ev, H_SAVE, c->history_file.z);
}

/* --- commands --------------------------------------------------------------------------------------------- */

static void say(struct chat *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct chat *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(c->ui, fmt, ap);
    va_end(ap);
    fputc('\n', c->ui);
}

static void cmd_help_text(struct chat *c, char *arg)
{
    (void)arg;
    say(c, "  /clear             forget the conversation\n"
           "  /system [TEXT]     set the message that says how the model shall behave; - for none\n"
           "  /set [NAME VALUE]  show or change temperature, top_k, seed, max_tokens, verbose, thoughts ...\n"
           "  /info              model, context, conversation\n"
           "  /save FILE         write the conversation as JSON\n"
           "  /exit              leave; Ctrl-D, too\n"
           "  \"\"\"                begins and ends a message of several lines\n"
           "Ctrl-C stops an answer. A text that begins with / takes a space before it.");
}

static void clear(struct chat *c, char *arg)
{
    (void)arg;
    talk_clear(c->t);
    say(c, "(the conversation is forgotten)");
}

static void set_system(struct chat *c, char *arg)
{
    struct err e = {0};
    if (c->t->plain) {
        say(c, "there is no system message without a chat template");
    } else if (!*arg) {
        const char *now = talk_system(c->t);
        say(c, "%s", *now ? now : "(none)");
    } else if (talk_set_system(c->t, strcmp(arg, "-") == 0 ? "" : arg, &e)) {
        say(c, "%s", e.msg);
    }
}

static void set_parameter(struct chat *c, char *arg)
{
    struct talk *t = c->t;
    struct err e = {0};
    char *value = arg + strcspn(arg, " \t"), *end;
    if (!*arg) {
        struct buf b;
        buf_init(&b, 1 << 16);
        sampling_print(&t->sample, &b);
        buf_printf(&b, "  %-20s %d\n  %-20s %s\n  %-20s %s", "max_tokens", t->max_tokens, "verbose",
                   t->verbose ? "on" : "off", "thoughts",
                   t->show.hide    ? "hide"
                   : t->show.apart ? "show"
                                   : "as the model writes");
        say(c, "%s", b.p ? b.p : "");
        buf_finish(&b);
        return;
    }
    if (*value) *value++ = 0;
    value += strspn(value, " \t");
    if (strcmp(arg, "thoughts") == 0) {
        if (show_set(&t->show, value, &e)) say(c, "%s", e.msg);
    } else if (strcmp(arg, "verbose") == 0 && (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)) {
        t->verbose = value[1] == 'n';
    } else if (strcmp(arg, "max_tokens") == 0) {
        long v = strtol(value, &end, 10);
        if (!*value || *end || v < 0 || v > 1 << 24)
            say(c, "max_tokens takes a whole number; 0 is no limit");
        else
            t->max_tokens = (int)v;
    } else if (sampling_set(&t->sample, arg, value, &e)) {
        say(c, "%s; also max_tokens N, verbose on|off and thoughts show|hide|raw", e.msg);
    }
}

static void show_info(struct chat *c, char *arg)
{
    struct talk *t = c->t;
    const struct engine *en = t->o.engine;
    (void)arg;
    say(c,
        "  model         %.*s (%.*s)\n  file          %s\n  kernels       %s\n  context       %d of %d tokens\n  messages      %zu\n  template      %s",
        STR_ARG(en->model->h.name), STR_ARG(en->model->h.arch), t->o.path.z, en->kern->name, t->g.n_ids,
        t->g.n_ctx, json_array_size(t->messages), t->plain ? "none: plain completion" : "the model's");
}

static void save(struct chat *c, char *arg)
{
    if (!*arg) {
        say(c, "/save takes the name of a new file");
        return;
    }
    int fd = open(arg, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    json_t *all = talk_messages(c->t);
    bool bad = !f || !all || json_dumpf(all, f, JSON_INDENT(2)) || fputc('\n', f) == EOF;
    if (f && fclose(f)) bad = true;
    if (bad)
        say(c, "cannot write '%s': %s", arg, strerror(errno));
    else
        say(c, "(%zu messages in %s)", json_array_size(all), arg);
    json_decref(all);
}

static void leave(struct chat *c, char *arg)
{
    (void)arg;
    c->leave = true;
}

static const struct {
    const char *name;
    void (*run)(struct chat *c, char *arg);
} commands[] = {{"help", cmd_help_text}, {"?", cmd_help_text}, {"clear", clear}, {"system", set_system},
                {"set", set_parameter},  {"info", show_info},  {"save", save},   {"exit", leave},
                {"quit", leave},         {"bye", leave}};

static void run_command(struct chat *c)
{
    char *name = c->line.p + 1, *arg = name + strcspn(name, " \t");
    if (*arg) *arg++ = 0;
    arg += strspn(arg, " \t");
    for (size_t n = strlen(arg); n && (arg[n - 1] == ' ' || arg[n - 1] == '\t'); n--) arg[n - 1] = 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i].name) != 0) continue;
        commands[i].run(c, arg);
        return;
    }
    say(c, "there is no command '/%s'; /help lists them. A space before it sends it as text.", name);
}

/* --- the conversation ------------------------------------------------------------------------------------- */

static void answer(struct chat *c)
{
    struct talk *t = c->t;
    struct err e = {0};
    fflush(c->ui);
    atomic_store(&answer_cancel, 0);
    int rc = talk_answer(t, buf_str(&c->line), &e);
    if (show_in_line(&t->show)) putchar('\n');
    fflush(stdout);
    answer_wake_drain(); /* the Ctrl-C that stopped the answer is used up */
    if (rc == ERR_LIMIT && t->g.n_ids)
        say(c, "%s; /clear begins a new conversation", e.msg);
    else if (rc)
        say(c, "%s", e.msg);
    else if (t->g.end == GENERATE_CANCELLED && !t->show.write_errno)
        say(c, "(stopped)");
    else if (t->g.end == GENERATE_CONTEXT)
        say(c, "(the context of %d tokens is full; /clear begins a new conversation)", t->g.n_ctx);
    else if (t->g.end == GENERATE_MAX_TOKENS)
        say(c, "(%d tokens: the limit; /set max_tokens 0 removes it)", t->g.n_answer);
    if (!rc && t->verbose) talk_report(t);
    if (t->show.write_errno) c->leave = true;
}

static int open_editor(struct chat *c)
{
    HistEvent ev;
    struct path dir;
    struct stat st;
    c->el = el_init("tutti", stdin, c->ui, stderr);
    c->history = history_init();
    if (!c->el || !c->history) return args_fault(c->t->doc, "out of memory"), err_exit_status(ERR_MEMORY);
    history(c->history, &ev, H_SETSIZE, HISTORY_LINES);
    history(c->history, &ev, H_SETUNIQUE, 1);
    el_set(c->el, EL_CLIENTDATA, c);
    el_set(c->el, EL_EDITOR, "emacs");
    el_set(c->el, EL_PROMPT, show_prompt);
    el_set(c->el, EL_HIST, history, c->history);
    el_set(c->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(c->el, EL_GETCFN, read_char);
    el_source(c->el, NULL); /* the user's ~/.editrc */
    /* The history belongs to the user alone; a chat without one works, too. */
    if (cache_dir(&dir, NULL) || path_make_dirs(dir.z, NULL) ||
        path_format(&c->history_file, NULL, "%s/history", dir.z)) {
        c->history_file.z[0] = 0;
        return 0;
    }
    int fd = open(c->history_file.z, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || fchmod(fd, 0600))
        c->history_file.z[0] = 0;
    else if (st.st_size)
        history(c->history, &ev, H_LOAD, c->history_file.z);
    if (fd >= 0) close(fd);
    return 0;
}

static void catch_terminal_signals(void)
{
    struct sigaction a = {.sa_handler = on_terminal};
    sigemptyset(&a.sa_mask);
    sigaction(SIGWINCH, &a, NULL);
    sigaction(SIGCONT, &a, NULL);
}

int chat_run(struct talk *t)
{
    struct chat c = {.t = t, .ui = isatty(STDOUT_FILENO) ? stdout : stderr};
    int interrupts = 0, sig = 0;
    setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    buf_init(&c.line, MESSAGE_MAX);
    answer_signals(false);
    catch_terminal_signals();
    int status = open_editor(&c);
    if (!status) {
        say(&c, "%.*s, context of %d tokens. /help lists commands, Ctrl-D leaves." PASTE_ON,
            STR_ARG(t->o.engine->model->h.name), t->g.n_ctx);
        while (!c.leave) {
            bool got = read_message(&c);
            if ((sig = atomic_load(&answer_signal))) break;
            if (!got && !c.interrupted) break; /* Ctrl-D */
            if (!got) {
                if (++interrupts == 2) break;
                say(&c, "\n(Ctrl-C again or Ctrl-D leaves)");
                continue;
            }
            interrupts = 0;
            if (c.line.failed) {
                say(&c, "the message is longer than %d MiB", MESSAGE_MAX >> 20);
                continue;
            }
            if (is_blank(buf_str(&c.line))) continue;
            remember(&c);
            if (c.line.p[0] == '/')
                run_command(&c);
            else
                answer(&c);
            if ((sig = atomic_load(&answer_signal))) break;
        }
        fprintf(c.ui, "%s\n", PASTE_OFF);
        fflush(c.ui);
        status = sig ? EXIT_SIGNAL + sig : 0;
    }
    if (c.el) el_end(c.el);
    if (c.history) history_end(c.history);
    buf_finish(&c.line);
    return status;
}
