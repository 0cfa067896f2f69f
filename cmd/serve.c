/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti serve: models behind an HTTP port. This file is the process: options, the socket that systemd may
 * hand over, and signals. The first SIGTERM or SIGINT drains, the second ends what is left, a third ends the
 * process.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "cmd.h"
#include "common.h"
#include "serve/api/server.h"
#include "serve/http/log.h"
#include "serve/ledger/gate_keys.h"
#include "serve/ledger/ledger.h"

static const struct args_doc doc = {
    "serve", "MODEL...", "answer requests over HTTP, by the APIs of OpenAI and Groq",
    "MODEL is a GGUF file or the name of a pulled model; NAME=MODEL serves it under another name. Several models share the memory. "
    "The routes are /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages, /v1/embeddings, /v1/models, /tokenize, /detokenize, /apply-template, /v1/files, /v1/batches, /health, "
    "/ready and /metrics; those under /v1 also under /openai/v1. The log is one JSON object a line on standard error.\n\n"
    "SIGTERM or Ctrl-C: no new requests are taken, those under way may end within --drain seconds; a second one ends them."};

enum { EXIT_SIGNAL = 128, LISTEN_FD_FIRST = 3, POLL_MS = 50, POLL_LOADING_MS = 2 };

struct serve {
    struct server_options o;
    struct common c;
    struct arg_strs cors;
    int drain_s, max_body_mb;
    float pace;
    bool quiet, require_key, no_keys;
    const char *ledger, *prices, *signing, *spec;
    struct signing key;
    const struct gate *gate; /* NULL: none was opened */
};

/* The first socket of sd_listen_fds(3), or -1. */
static int take_systemd_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    if (!pid || !fds || strtol(pid, NULL, 10) != (long)getpid() || strtol(fds, NULL, 10) < 1) return -1;
    fcntl(LISTEN_FD_FIRST, F_SETFD, FD_CLOEXEC);
    return LISTEN_FD_FIRST;
}

static bool is_loopback(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_UNIX) return true;
    if (sa->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >> 24 == 127;
    return sa->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}

/* Whether only this machine can reach the port. */
static bool is_private(const struct http_options *h)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr sa;
    } a;
    socklen_t n = sizeof a;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    if (h->listen_fd >= 0) return getsockname(h->listen_fd, &a.sa, &n) == 0 && is_loopback(&a.sa);
    if (getaddrinfo(h->host, NULL, &hints, &list)) return false;
    bool yes = true;
    for (const struct addrinfo *i = list; i; i = i->ai_next) yes = yes && is_loopback(i->ai_addr);
    freeaddrinfo(list);
    return yes;
}

/* Keys are asked for where others can reach the port; a ledger that exists is used in any case. */
static int open_gate(struct serve *v, struct err *e)
{
    struct path p;
    bool open = is_private(&v->o.http);
    struct gate_keys_options o = {
        .ledger = v->ledger, .prices = v->prices, .required = !v->no_keys && (!open || v->require_key)};
    bool exists = ledger_default_path(&p, NULL) == 0 && path_is_file(p.z);
    if (!o.required && !v->ledger && !v->prices && !exists) {
        if (!open)
            log_event("fault", ",\"text\":\"--no-keys on %s: whoever reaches port %d may use the models\"",
                      v->o.http.host, v->o.http.port);
        return 0;
    }
    int rc = gate_keys_open(&v->gate, &o, e);
    v->o.gate = v->gate;
    return rc;
}

/* The key that signs receipts, if there is one: it must be there if receipts were asked for. */
static int open_signing(struct serve *v, struct err *e)
{
    int rc = signing_read(&v->key, v->signing, e);
    if (rc == ERR_NOT_FOUND && !v->signing && !v->o.receipts) return 0;
    if (!rc) v->o.signing = &v->key;
    return rc;
}

/* sd_notify(3): tells systemd, if it asked. */
static void notify_systemd(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    union {
        struct sockaddr_un un;
        struct sockaddr sa;
    } a = {.un = {.sun_family = AF_UNIX}};
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof a.un.sun_path) return;
    memcpy(a.un.sun_path, path, n);
    if (*path == '@') a.un.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, &a.sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
}

/* The next signal within ms, or 0. */
static int poll_signal(const sigset_t *set, int ms)
{
    struct timespec t = {0, ms * 1000000L};
    int sig = sigtimedwait(set, NULL, &t);
    return sig > 0 ? sig : 0;
}

static void say_listening(const struct server *s)
{
    bool v6 = strchr(s->o.http.host, ':') != NULL;
    log_event("listening", ",\"url\":\"%s://%s%s%s:%d\",\"pid\":%d", s->o.http.tls_cert ? "https" : "http",
              v6 ? "[" : "", s->o.http.host, v6 ? "]" : "", http_port(s->http), (int)getpid());
}

/* Until a signal has ended it, or a model could not be loaded. Returns the exit status. */
static int run(struct server *s, const struct serve *v, const sigset_t *set)
{
    int sig;
    bool told = false;
    while (!(sig = poll_signal(set, told ? POLL_MS : POLL_LOADING_MS))) {
        if (atomic_load(&s->failed)) return common_fail(&doc, &s->load_err);
        if (told || !atomic_load(&s->loaded)) continue;
        told = true;
        log_event("ready", ",\"models\":%d", s->n_models);
        notify_systemd("READY=1");
    }
    log_event("draining", ",\"signal\":%d,\"requests\":%d,\"seconds\":%d", sig, server_busy(s), v->drain_s);
    notify_systemd("STOPPING=1");
    server_quiesce(s);
    double end = common_now() + v->drain_s;
    int second = 0;
    while (server_busy(s) && common_now() < end && !second) second = poll_signal(set, POLL_MS);
    if (server_busy(s)) log_event("cancelling", ",\"requests\":%d", server_busy(s));
    sigprocmask(SIG_UNBLOCK, set, NULL); /* one more ends the process */
    return second ? EXIT_SIGNAL + second : 0;
}

static int check(struct serve *v)
{
    struct http_options *h = &v->o.http;
    if (!!h->tls_cert != !!h->tls_key) return args_fault(&doc, "--tls-cert and --tls-key belong together");
    if (v->c.kv != 0 && v->c.kv != 8 && v->c.kv != 16) return args_fault(&doc, "--kv takes 16 or 8, got %d", v->c.kv);
    if (v->cors.n > HTTP_ORIGINS_MAX) return args_fault(&doc, "--cors was given more than %d times", HTTP_ORIGINS_MAX);
    for (int i = 0; i < v->cors.n; i++)
        h->origin[h->n_origins++] = strcmp(v->cors.p[i], "all") == 0 ? "*" : v->cors.p[i];
    h->max_body = (size_t)v->max_body_mb << 20;
    h->listen_fd = take_systemd_socket();
    v->o.engine = (struct engine_options){.chip = v->c.chip,
                                          .isa = v->c.isa,
                                          .n_threads = v->c.threads,
                                          .n_ctx = v->c.ctx,
                                          .n_batch = v->c.batch,
                                          .kv = v->c.kv == 8 ? KV8 : KV16,
                                          .experts_bytes = (size_t)v->c.experts};
    return 0;
}

/* --spec: off, lookup or draft=MODEL. */
static int read_spec(struct serve *v)
{
    static const char draft[] = "draft=";
    struct sched_options *o = &v->o.sched;
    if (strcmp(v->spec, "off") == 0) o->guess = SCHED_GUESS_OFF;
    else if (strcmp(v->spec, "lookup") == 0) o->guess = SCHED_GUESS_LOOKUP;
    else if (strncmp(v->spec, draft, sizeof draft - 1) == 0)
        o->guess = SCHED_GUESS_DRAFT, v->o.draft = v->spec + sizeof draft - 1;
    else return args_fault(&doc, "--spec %s is unknown: off, lookup or draft=MODEL", v->spec);
    return 0;
}

static struct server server; /* 64 models' worth of state: too large for a stack */

int cmd_serve(int argc, char **argv)
{
    struct serve v = {.drain_s = 30, .spec = "off", .o.http = {.host = "127.0.0.1", .port = 8080}};
    struct http_options *h = &v.o.http;
    int status;
    const struct arg table[] = {
        {"port", 'p', ARG_INT, &h->port, "N", "port to listen on (default: 8080; 0: any that is free)", 0,
         65535},
        {"host", 0, ARG_STR, &h->host, "ADDRESS", "address to listen on (default: 127.0.0.1; 0.0.0.0: all)",
         0, 0},
        {"memory", 'm', ARG_SIZE, &v.o.memory_bytes, "SIZE",
         "memory for weights, buffers of steps, keys and values of all models (default: half of what is free)",
         0, 0},
        {"max-running", 0, ARG_INT, &v.o.sched.max_running, "N",
         "answers written at the same time by one model (default: 256)", 1, PROGRAM_ROWS_MAX},
        {"max-queue", 0, ARG_INT, &v.o.sched.max_queue, "N",
         "answers of one model that may wait; more are refused by 429 (default: 1024)", 1, 1 << 20},
        {"pace", 0, ARG_FLOAT, &v.pace, "RATIO",
         "how many times as long a step may take if it carries prompts: more reads them sooner, answers pause longer (default: 2.5)",
         1.1, 100},
        {"max-conns", 0, ARG_INT, &h->max_conns, "N", "open connections (default: 4096)", 1, 1 << 20},
        {"max-body", 0, ARG_INT, &v.max_body_mb, "MB", "size of a request (default: 8)", 1, 1024},
        {"workers", 0, ARG_INT, &h->n_workers, "N", "threads that read requests (default: 4)", 1, 256},
        {"spec", 0, ARG_STR, &v.spec, "HOW",
         "guess tokens, where it pays, and check them together: off, lookup (in the text so far), draft=MODEL (a smaller one); "
         "the answers are the same (default: off)",
         0, 0},
        {"any-model", 0, ARG_FLAG, &v.o.any_model, NULL,
         "a model name that is not known means the first model", 0, 0},
        {"ledger", 0, ARG_STR, &v.ledger, "WHERE",
         "keys and the use of them: a file, or postgresql://... (default: that of tutti keys)", 0, 0},
        {"prices", 0, ARG_STR, &v.prices, "FILE", "what tokens of which model cost", 0, 0},
        {"require-key", 0, ARG_FLAG, &v.require_key, NULL,
         "every route but /health needs a key of tutti keys (default unless --host is this machine's own)", 0,
         0},
        {"no-keys", 0, ARG_FLAG, &v.no_keys, NULL, "no key is needed, whoever can reach the port", 0, 0},
        {"receipts", 0, ARG_FLAG, &v.o.receipts, NULL,
         "sign a receipt of every answer, also without \"receipt\": true", 0, 0},
        {"signing", 0, ARG_STR, &v.signing, "FILE",
         "the key that signs them (default: that of tutti keys signing)", 0, 0},
        {"files", 0, ARG_STR, &v.o.files, "FOLDER",
         "where files and batches of clients are kept (default: ~/.local/share/tutti/files)", 0, 0},
        {"tls-cert", 0, ARG_STR, &h->tls_cert, "FILE", "serve HTTPS with this certificate (PEM)", 0, 0},
        {"tls-key", 0, ARG_STR, &h->tls_key, "FILE", "and its key", 0, 0},
        {"cors", 0, ARG_STRS, &v.cors, "ORIGIN",
         "pages of this origin may use the server, or 'all'; may be repeated (default: none)", 0, 0},
        {"drain", 0, ARG_INT, &v.drain_s, "SECONDS", "time for running requests after SIGTERM (default: 30)",
         0, 86400},
        {"quiet", 'q', ARG_FLAG, &v.quiet, NULL, "log faults only", 0, 0},
        COMMON_ARGS(v.c),
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (at == argc) return args_fault(&doc, "expected a MODEL; see tutti serve --help");
    if ((status = check(&v)) || (status = read_spec(&v))) return status;
    if (v.quiet) log_quiet();
    v.o.sched.pace = (double)v.pace;
    struct err e = {0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL); /* all threads inherit it */
    signal(SIGPIPE, SIG_IGN);
    int rc = open_gate(&v, &e);
    if (!rc) rc = open_signing(&v, &e);
    for (int i = at; i < argc && !rc; i++) rc = server_add_model(&server, argv[i], &e);
    if (!rc) rc = server_start(&server, &v.o, &e);
    if (rc) {
        status = common_fail(&doc, &e);
    } else {
        say_listening(&server);
        status = run(&server, &v, &set);
    }
    server_stop(&server);
    gate_keys_close(v.gate);
    return status;
}
