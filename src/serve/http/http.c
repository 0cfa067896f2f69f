/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http over libmicrohttpd: one thread of the library reads requests and sends replies, by epoll. This is the
 * only file that sees the library.
 *
 *   take_request    called for headers, pieces of the body, its end, and again when the connection is resumed
 *   read_stream     the library wants bytes of a stream
 *   finish_request  the reply is sent, or never will be
 *
 * A connection is suspended while its request is being answered, and while its stream has nothing to send;
 * whoever writes resumes it (http_resume). `suspended` changes under the request's lock only, so that nobody
 * resumes twice. The library has three defects that are met here: it does not notice that a suspended client
 * left (http/watch.c); a reply that is queued before the body was read closes the connection, so a body is
 * read to its end if it is not too long; and all connections must be resumed before it may be stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "serve/http/http_int.h"

enum {
    STREAM_BLOCK = 4096,
    DRAIN_MAX = 1 << 20,      /* of a body that nobody wants, read so that the connection can go on */
    DROP_MAX = 64 << 20,      /* the same without an announced length */
    PEM_MAX = 1 << 20,
    SPARE_FILES = 64,         /* descriptors that are not connections */
};

void http_resume(struct http_request *r)
{
    if (!r->conn || !r->suspended) return;
    r->suspended = false;
    MHD_resume_connection(r->conn);
}

/* --- replies ----------------------------------------------------------------------------------------------- */

static ssize_t read_stream(void *cls, uint64_t pos, char *to, size_t max)
{
    struct http_request *r = cls;
    ssize_t n = 0;
    (void)pos;
    pthread_mutex_lock(&r->lock);
    size_t have = r->out.n - r->out_at;
    if (have && !r->cut) {
        n = (ssize_t)(have < max ? have : max);
        memcpy(to, r->out.p + r->out_at, (size_t)n);
        r->out_at += (size_t)n;
        r->n_out += (uint64_t)n;
        atomic_fetch_sub(&r->h->pending, (size_t)n);
        if (r->out_at == r->out.n) {
            buf_clear(&r->out);
            r->out_at = 0;
        }
    } else if (r->cut) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (r->ended) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        r->suspended = true;
        MHD_suspend_connection(r->conn);
    }
    pthread_mutex_unlock(&r->lock);
    return n;
}

static void release_stream(void *cls)
{
    http_request_unref(cls);
}

/* The origin of the page that asks, if it may. */
static const char *allowed_origin(const struct http_request *r)
{
    const struct http_options *o = &r->h->o;
    const char *origin = http_header(r, "Origin");
    for (int i = 0; origin && i < o->n_origins; i++)
        if (strcmp(o->origin[i], "*") == 0 || strcasecmp(o->origin[i], origin) == 0) return origin;
    return NULL;
}

static void add_headers(struct http_request *r, struct MHD_Response *reply)
{
    const char *origin = allowed_origin(r);
    const struct buf *b = &r->out_head;
    if (r->type) MHD_add_response_header(reply, "Content-Type", r->type);
    MHD_add_response_header(reply, "x-request-id", r->id);
    for (size_t i = 0; i < b->n;) {
        const char *name = b->p + i, *value = name + strlen(name) + 1;
        MHD_add_response_header(reply, name, value);
        i = (size_t)(value - b->p) + strlen(value) + 1;
    }
    if (origin) {
        MHD_add_response_header(reply, "Access-Control-Allow-Origin", origin);
        MHD_add_response_header(reply, "Access-Control-Expose-Headers", "*");
        MHD_add_response_header(reply, "Vary", "Origin");
    }
    if (r->state == HTTP_STREAMING) {
        MHD_add_response_header(reply, "Cache-Control", "no-cache");
        MHD_add_response_header(reply, "X-Accel-Buffering", "no");
    }
    if (atomic_load(&r->h->closing)) MHD_add_response_header(reply, "Connection", "close");
}

static enum MHD_Result send_reply(struct http_request *r, struct MHD_Connection *conn)
{
    struct MHD_Response *reply;
    enum MHD_Result ok;
    pthread_mutex_lock(&r->lock);
    if (r->state == HTTP_STREAMING) {
        http_request_ref(r);
        reply = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, r, release_stream);
        if (!reply) atomic_fetch_sub(&r->refs, 1);
    } else {
        r->n_out = r->out.n;
        reply = MHD_create_response_from_buffer(r->out.n, r->out.p ? r->out.p : r->path.p, MHD_RESPMEM_PERSISTENT);
    }
    if (reply) add_headers(r, reply);
    unsigned status = (unsigned)r->status;
    pthread_mutex_unlock(&r->lock);
    if (!reply) return MHD_NO;
    ok = MHD_queue_response(conn, status, reply);
    MHD_destroy_response(reply);
    return ok;
}

/* A fault that was found while the request came in becomes its reply, without a worker. */
static void reply_early(struct http_request *r)
{
    http_request_ref(r); /* that http_fail gives back */
    http_fail(r, &r->early);
}

/* --- requests ---------------------------------------------------------------------------------------------- */

static enum MHD_Result add_pair(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct http_request *r = cls;
    if (http_pair_add(kind == MHD_HEADER_KIND ? &r->head : &r->query, name, value))
        http_early(r, 431, "invalid_request_error", NULL, "the headers are too long");
    return MHD_YES;
}

static void name_peer(struct http_request *r, struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *sa = i ? i->client_addr : NULL;
    if (!sa) return;
    socklen_t n = sa->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6) return;
    if (getnameinfo(sa, n, r->remote, sizeof r->remote, NULL, 0, NI_NUMERICHOST)) r->remote[0] = 0;
}

/* Whether a host is this machine by an address or as localhost: no name that a foreign site could make point here. */
static bool is_fixed_name(const char *host)
{
    size_t n = strcspn(host, ":");
    return *host == '[' || (n == 9 && strncasecmp(host, "localhost", n) == 0) || strspn(host, "0123456789.") >= n;
}

/* The server's own page; on this machine without a key only under a name that is surely its own. */
static bool is_own_page(const struct http_request *r, const char *origin)
{
    const char *host = http_header(r, "Host"), *p = strstr(origin, "://");
    bool local = strncmp(r->remote, "127.", 4) == 0 || strcmp(r->remote, "::1") == 0;
    if (!host || !p || strcasecmp(p + 3, host) != 0) return false;
    return !local || is_fixed_name(host) || http_header(r, "Authorization") || http_header(r, "x-api-key");
}

/* A page of another site may ask only if --cors names it: a browser sends Origin with whatever could change
 * something. */
static void check_origin(struct http_request *r)
{
    const char *origin = http_header(r, "Origin");
    if (!origin || allowed_origin(r) || is_own_page(r, origin)) return;
    http_early(r, 403, "permission_error", "origin_not_allowed",
               "pages of '%.60s' may not use this server; 'tutti serve --cors ORIGIN' allows it", origin);
}

/* What a browser asks before it lets a page of another origin ask. */
static bool reply_preflight(struct http_request *r)
{
    const char *wants = http_header(r, "Access-Control-Request-Headers");
    if (strcmp(r->method, "OPTIONS") != 0 || !http_header(r, "Access-Control-Request-Method") ||
        !allowed_origin(r))
        return false;
    http_set_header(r, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    http_set_header(r, "Access-Control-Allow-Headers", wants ? wants : "authorization, content-type");
    http_set_header(r, "Access-Control-Max-Age", "600");
    struct buf none = {0};
    http_request_ref(r);
    http_reply(r, 204, NULL, &none);
    return true;
}

static int count_headers(const struct http_request *r, const char *want)
{
    int n = 0;
    for (size_t i = 0; i < r->head.n;) {
        const char *name = r->head.p + i, *value = name + strlen(name) + 1;
        n += strcasecmp(name, want) == 0;
        i = (size_t)(value - r->head.p) + strlen(value) + 1;
    }
    return n;
}

/* Two lengths, or a length beside chunks: what follows might be read as another request by whoever stands in
 * between. And a request of HTTP/1.1 says one host. */
static void check_framing(struct http_request *r, const char *version)
{
    const char *coding = http_header(r, "Transfer-Encoding");
    int n_length = count_headers(r, "Content-Length") + (coding != NULL), n_host = count_headers(r, "Host");
    if (n_length > 1)
        http_early(r, 400, "invalid_request_error", NULL, "the length of the body is said twice");
    else if (n_host > 1 || (n_host == 0 && strcmp(version, MHD_HTTP_VERSION_1_1) == 0))
        http_early(r, 400, "invalid_request_error", NULL, "expected one header 'Host', got %d", n_host);
    else if (coding && strcasecmp(coding, "chunked") != 0)
        http_early(r, 400, "invalid_request_error", NULL, "Transfer-Encoding: expected 'chunked', got '%.60s'", coding);
    else
        return;
    http_set_header(r, "Connection", "close");
}

static int slot_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i && i->socket_context ? (int)(intptr_t)i->socket_context - 1 : -1;
}

static struct http_request *begin_request(struct http *h, struct MHD_Connection *conn, const char *url,
                                          const char *method, const char *version)
{
    struct http_request *r = http_request_create(h, method, url);
    if (!r) return NULL;
    r->conn = conn;
    r->slot = slot_of(conn);
    name_peer(r, conn);
    MHD_get_connection_values(conn, MHD_HEADER_KIND, add_pair, r);
    MHD_get_connection_values(conn, MHD_GET_ARGUMENT_KIND, add_pair, r);
    if (!reply_preflight(r)) {
        check_framing(r, version);
        check_origin(r);
        if (!r->early.status) http_request_route(r);
    }
    http_slot_set(h, r->slot, r);
    return r;
}

/* The length that the client announced; 0 if it did not. */
static unsigned long long announced(const struct http_request *r)
{
    const char *v = http_header(r, "Content-Length");
    return v ? strtoull(v, NULL, 10) : 0;
}

static enum MHD_Result take_request(void *cls, struct MHD_Connection *conn, const char *url,
                                    const char *method, const char *version, const char *data, size_t *n_data,
                                    void **con_cls)
{
    struct http *h = cls;
    struct http_request *r = *con_cls;
    if (!r) {
        if (!(r = begin_request(h, conn, url, method, version))) return MHD_NO;
        *con_cls = r;
        size_t max = r->route && r->route->max_body ? r->route->max_body : h->o.max_body;
        unsigned long long n = announced(r);
        if (!r->early.status && n > max)
            http_early(r, 413, "invalid_request_error", "request_too_large",
                       "the body has %llu bytes; the limit is %zu", n, max);
        if (!r->early.status || (n <= DRAIN_MAX && r->early.status != 400)) return MHD_YES;
        reply_early(r);
        return send_reply(r, conn);
    }
    if (*n_data) {
        if (!r->early.status) http_body_take(r, data, *n_data);
        else r->n_dropped += *n_data;
        *n_data = 0;
        return r->n_dropped > DROP_MAX ? MHD_NO : MHD_YES;
    }
    pthread_mutex_lock(&r->lock);
    enum http_state state = r->state;
    bool cut = r->cut;
    pthread_mutex_unlock(&r->lock);
    if (state == HTTP_WORKING) return cut ? MHD_NO : MHD_YES;
    if (state == HTTP_RECEIVING) {
        http_slot_received(h, r->slot);
        http_body_done(r);
        if (!r->early.status) {
            r->begin_s = http_now();
            http_request_ref(r); /* the handler's */
            pthread_mutex_lock(&r->lock);
            r->state = HTTP_WORKING;
            r->suspended = true;
            MHD_suspend_connection(conn);
            pthread_mutex_unlock(&r->lock);
            http_work_push(r, http_run_route);
            return MHD_YES;
        }
        reply_early(r);
    }
    return send_reply(r, conn);
}

static void finish_request(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode how)
{
    struct http *h = cls;
    struct http_request *r = *con_cls;
    (void)conn;
    if (!r) return;
    *con_cls = NULL;
    if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK) http_request_lost(r);
    http_slot_set(h, r->slot, NULL);
    pthread_mutex_lock(&r->lock);
    r->conn = NULL;
    r->suspended = false;
    struct http_log l = {.id = r->id,
                         .method = r->method,
                         .path = r->path.p,
                         .remote = r->remote,
                         .status = r->status,
                         .vanished = r->gone && how != MHD_REQUEST_TERMINATED_COMPLETED_OK,
                         .seconds = http_now() - r->begin_s,
                         .bytes_in = r->n_body,
                         .bytes_out = r->n_out,
                         .extra = buf_str(&r->note)};
    if (h->o.log) h->o.log(h->o.ud, &l);
    pthread_mutex_unlock(&r->lock);
    http_request_unref(r);
}

static void notice_connection(void *cls, struct MHD_Connection *conn, void **context,
                              enum MHD_ConnectionNotificationCode what)
{
    struct http *h = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *i = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = (void *)(intptr_t)(i ? http_slot_take(h, i->connect_fd) + 1 : 0);
    } else {
        http_slot_drop(h, (int)(intptr_t)*context - 1);
        *context = NULL;
    }
}

/* --- begin and end ----------------------------------------------------------------------------------------- */

/* As many descriptors as the system allows; the number of connections that leaves. */
static int raise_files(int want)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l)) return want;
    if (l.rlim_cur < (rlim_t)want + SPARE_FILES && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max < (rlim_t)want + SPARE_FILES ? l.rlim_max : (rlim_t)want + SPARE_FILES;
        setrlimit(RLIMIT_NOFILE, &l);
    }
    if (l.rlim_cur >= (rlim_t)want + SPARE_FILES) return want;
    return l.rlim_cur > 2 * SPARE_FILES ? (int)l.rlim_cur - SPARE_FILES : SPARE_FILES;
}

static int read_pem(const char *path, char **out, struct err *e)
{
    struct buf b;
    buf_init(&b, PEM_MAX);
    int rc = buf_read_file(&b, path, e);
    if (!rc && b.n == 0) rc = err(e, ERR_FORMAT, "'%s' is empty", path);
    if (rc) {
        buf_finish(&b);
        return rc;
    }
    *out = b.p;
    return 0;
}

static void print_fault(void *cls, const char *fmt, va_list ap)
{
    (void)cls, (void)fmt, (void)ap; /* what clients do wrong is no news, and may come by the thousand */
}

static int start_daemon(struct http *h, struct err *e)
{
    struct MHD_OptionItem more[4] = {{0}};
    int n = 0;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    if (h->tls_cert) {
        if (!MHD_is_feature_supported(MHD_FEATURE_TLS))
            return err(e, ERR_UNSUPPORTED, "this libmicrohttpd was built without TLS");
        flags |= MHD_USE_TLS;
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, h->tls_cert};
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, h->tls_key};
    }
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    h->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, take_request, h, MHD_OPTION_EXTERNAL_LOGGER, print_fault, NULL,
        MHD_OPTION_LISTEN_SOCKET, h->listen_fd, MHD_OPTION_NOTIFY_COMPLETED, finish_request, h,
        MHD_OPTION_NOTIFY_CONNECTION, notice_connection, h, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)h->o.max_conns, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONN_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    if (h->daemon) return 0;
    return h->tls_cert
               ? err(e, ERR_USAGE,
                     "the HTTP server does not start: are '%s' and '%s' a PEM certificate and its key?",
                     h->o.tls_cert, h->o.tls_key)
               : err(e, ERR_INTERNAL, "the HTTP server does not start: %s", strerror(errno));
}

static int start_parts(struct http *h, struct err *e)
{
    int rc;
    h->slot = calloc((size_t)h->o.max_conns, sizeof *h->slot);
    if (!h->slot) return err(e, ERR_MEMORY, "out of memory for %d connections", h->o.max_conns);
    for (int i = 0; i < h->o.max_conns; i++)
        h->slot[i] = (struct http_slot){.fd = -1, .next_free = i + 1 < h->o.max_conns ? i + 1 : -1};
    if (h->o.tls_cert &&
        ((rc = read_pem(h->o.tls_cert, &h->tls_cert, e)) || (rc = read_pem(h->o.tls_key, &h->tls_key, e))))
        return rc;
    if ((rc = http_listen(&h->o, &h->listen_fd, &h->port, e))) return rc;
    fcntl(h->listen_fd, F_SETFL, fcntl(h->listen_fd, F_GETFL) | O_NONBLOCK);
    if ((rc = http_work_start(h, h->o.n_workers, e)) || (rc = http_watch_start(h, e))) return rc;
    return start_daemon(h, e);
}

int http_start(struct http **out, const struct http_options *o, struct err *e)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h) return err(e, ERR_MEMORY, "out of memory");
    h->o = *o;
    h->listen_fd = h->watch_fd = h->wake_fd = -1;
    if (!h->o.max_conns) h->o.max_conns = HTTP_CONNS_DEFAULT;
    h->o.max_conns = raise_files(h->o.max_conns);
    if (!h->o.n_workers) h->o.n_workers = HTTP_WORKERS_DEFAULT;
    if (!h->o.max_body) h->o.max_body = HTTP_BODY_DEFAULT;
    pthread_mutex_init(&h->slot_lock, NULL);
    pthread_mutex_init(&h->work.lock, NULL);
    pthread_cond_init(&h->work.more, NULL);
    int rc = !!h->o.tls_cert != !!h->o.tls_key ? err(e, ERR_USAGE, "TLS takes both a certificate and its key")
                                               : start_parts(h, e);
    if (rc) http_stop(h);
    else *out = h;
    return rc;
}

int http_port(const struct http *h)
{
    return h->port;
}

void http_quiesce(struct http *h)
{
    atomic_store(&h->closing, true);
    if (h->listen_fd < 0) return;
    MHD_quiesce_daemon(h->daemon);
    close(h->listen_fd);
    h->listen_fd = -1;
}

void http_stop(struct http *h)
{
    if (!h) return;
    atomic_store(&h->closing, true);
    http_work_stop(h);
    if (h->daemon) {
        http_slots_wake(h);
        MHD_stop_daemon(h->daemon); /* closes the listening socket unless it was quiesced */
        h->listen_fd = -1;
    }
    http_watch_stop(h);
    if (h->listen_fd >= 0) close(h->listen_fd);
    free(h->slot);
    free(h->tls_cert);
    free(h->tls_key);
    pthread_mutex_destroy(&h->slot_lock);
    pthread_mutex_destroy(&h->work.lock);
    pthread_cond_destroy(&h->work.more);
    free(h);
}

/* --- requests from inside ---------------------------------------------------------------------------------- */

int http_inside(struct http *h, const char *method, const char *path, uint64_t owner, struct str body,
                http_done_fn *done, void *done_ud, struct err *e)
{
    struct http_request *r = http_request_create(h, method, path);
    if (!r) return err(e, ERR_MEMORY, "out of memory");
    r->done = done;
    r->done_ud = done_ud;
    r->owner = owner;
    http_request_route(r);
    if (!r->early.status) http_body_take(r, body.p, body.n);
    if (r->early.status) {
        int rc = err(e, ERR_USAGE, "%s", r->early.message);
        http_request_unref(r);
        return rc;
    }
    r->state = HTTP_WORKING;
    http_work_push(r, http_run_route);
    return 0;
}
