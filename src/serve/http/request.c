/* SPDX-License-Identifier: Apache-2.0 */
/* A request of http while it comes in: its route, its headers, its body; and its end. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "serve/http/http_int.h"
#include "serve/http/ulid.h"

enum { HEAD_MAX = 64 << 10, PATH_MAX_BYTES = 4096, NOTE_MAX = 16 << 10, STREAM_SLACK = 64 << 10, WATCHES_MAX = 4096 };

double http_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A proxy may ask for "http://host/path". */
static const char *path_of(const char *url)
{
    const char *host = strncasecmp(url, "http://", 7) == 0    ? url + 7
                       : strncasecmp(url, "https://", 8) == 0 ? url + 8
                                                              : NULL;
    if (!host) return url;
    return host[strcspn(host, "/")] ? host + strcspn(host, "/") : "/";
}

struct http_request *http_request_create(struct http *h, const char *method, const char *url)
{
    struct http_request *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->h = h;
    r->refs = 1;
    r->slot = r->spool_fd = -1;
    r->arg = "";
    pthread_mutex_init(&r->lock, NULL);
    buf_init(&r->path, PATH_MAX_BYTES);
    buf_init(&r->arg_text, PATH_MAX_BYTES);
    buf_init(&r->head, HEAD_MAX);
    buf_init(&r->query, HEAD_MAX);
    buf_init(&r->out, (size_t)HTTP_PENDING_MAX + STREAM_SLACK);
    buf_init(&r->out_head, HEAD_MAX);
    buf_init(&r->note, NOTE_MAX);
    memcpy(r->id, "req_", 5);
    ulid_make(r->id + 4);
    snprintf(r->method, sizeof r->method, "%s", method);
    const char *alias = h->o.alias;
    url = path_of(url);
    size_t n = alias ? strlen(alias) : 0;
    if (n && strncmp(url, alias, n) == 0 && url[n] == '/') r->aliased = true, url += n;
    if (buf_append_z(&r->path, url))
        http_early(r, 414, "invalid_request_error", NULL, "the path is longer than %d bytes", PATH_MAX_BYTES);
    if (!r->path.p && !buf_append_z(&r->path, "/")) r->arg = "";
    if (!r->path.p) return http_request_unref(r), NULL;
    r->begin_s = http_now();
    return r;
}

void http_request_ref(struct http_request *r)
{
    atomic_fetch_add(&r->refs, 1);
}

void http_request_unref(struct http_request *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1) return;
    if (r->free_data) r->free_data(r->data);
    atomic_fetch_sub(&r->h->bodies, r->body.n);
    atomic_fetch_sub(&r->h->pending, r->state == HTTP_STREAMING ? r->out.n - r->out_at : 0);
    if (r->map) munmap(r->map, r->n_body);
    if (r->spool_fd >= 0) close(r->spool_fd);
    buf_finish(&r->path);
    buf_finish(&r->arg_text);
    buf_finish(&r->head);
    buf_finish(&r->query);
    buf_finish(&r->body);
    buf_finish(&r->out);
    buf_finish(&r->out_head);
    buf_finish(&r->note);
    free(r->watch);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void http_early(struct http_request *r, int status, const char *type, const char *code, const char *fmt, ...)
{
    va_list ap;
    if (r->early.status) return;
    va_start(ap, fmt);
    vsnprintf(r->early_text, sizeof r->early_text, fmt, ap);
    va_end(ap);
    r->early = (struct http_fault){.status = status, .type = type, .code = code, .message = r->early_text};
}

/* --- names and values ------------------------------------------------------------------------------------- */

int http_pair_add(struct buf *b, const char *name, const char *value)
{
    buf_append(b, name, strlen(name) + 1);
    return buf_append(b, value ? value : "", strlen(value ? value : "") + 1);
}

const char *http_pair_find(const struct buf *b, const char *name, bool fold_case)
{
    for (size_t i = 0; i < b->n;) {
        const char *key = b->p + i, *value = key + strlen(key) + 1;
        if (fold_case ? strcasecmp(key, name) == 0 : strcmp(key, name) == 0) return value;
        i = (size_t)(value - b->p) + strlen(value) + 1;
    }
    return NULL;
}

/* --- routes ------------------------------------------------------------------------------------------------ */

/* Whether path fits the pattern; *arg: where {} begins, and *arg_n its length. */
static bool path_fits(const char *pattern, const char *path, size_t *arg, size_t *arg_n)
{
    const char *hole = strstr(pattern, "{}");
    *arg = *arg_n = 0;
    if (!hole) return strcmp(pattern, path) == 0;
    size_t head = (size_t)(hole - pattern), tail = strlen(hole + 2), n = strlen(path);
    if (n <= head + tail || strncmp(pattern, path, head) != 0 || strcmp(path + n - tail, hole + 2) != 0) return false;
    if (tail && memchr(path + head, '/', n - tail - head)) return false;
    *arg = head;
    *arg_n = n - tail - head;
    return true;
}

void http_request_route(struct http_request *r)
{
    const struct http_options *o = &r->h->o;
    char allow[64] = "";
    size_t arg, n;
    const char *method = strcmp(r->method, "HEAD") == 0 ? "GET" : r->method;
    for (int i = 0; i < o->n_routes; i++) {
        const struct http_route *t = &o->routes[i];
        if (!path_fits(t->path, r->path.p, &arg, &n)) continue;
        if (strcmp(t->method, method) == 0) {
            r->route = t;
            if (n && buf_append(&r->arg_text, r->path.p + arg, n) == 0) r->arg = r->arg_text.p;
            return;
        }
        if (strlen(allow) + strlen(t->method) + 3 < sizeof allow) {
            if (*allow) strncat(allow, ", ", 3);
            strncat(allow, t->method, sizeof allow - strlen(allow) - 1);
        }
    }
    if (*allow) {
        http_pair_add(&r->out_head, "Allow", allow);
        http_early(r, 405, "invalid_request_error", "method_not_allowed",
                   "%s is not allowed here; allowed: %s", r->method, allow);
    } else {
        http_early(r, 404, "invalid_request_error", "unknown_url", "Unknown request URL: %s %.80s", r->method,
                   r->path.p);
    }
}

/* --- body -------------------------------------------------------------------------------------------------- */

static size_t body_max(const struct http_request *r)
{
    return r->route && r->route->max_body ? r->route->max_body : r->h->o.max_body;
}

static int open_spool(struct http_request *r)
{
    const char *dir = getenv("TMPDIR");
    r->spool_fd = open(dir && *dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return r->spool_fd < 0 ? -1 : 0;
}

static void spool(struct http_request *r, const char *p, size_t n)
{
    if (r->spool_fd < 0 && open_spool(r)) {
        http_early(r, 500, "server_error", NULL, "no temporary file for the body: %s", strerror(errno));
        return;
    }
    for (size_t i = 0; i < n;) {
        ssize_t got = write(r->spool_fd, p + i, n - i);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            http_early(r, 507, "server_error", NULL, "the body cannot be stored: %s", strerror(errno));
            return;
        }
        i += (size_t)got;
    }
    r->n_body += n;
}

void http_body_take(struct http_request *r, const char *p, size_t n)
{
    size_t max = body_max(r), have = r->n_body;
    if (r->early.status) return;
    if (n > max || have > max - n) {
        http_early(r, 413, "invalid_request_error", "request_too_large",
                   "the body is larger than the limit of %zu bytes", max);
        return;
    }
    if (r->route->flags & HTTP_SPOOL) {
        spool(r, p, n);
        return;
    }
    if (atomic_fetch_add(&r->h->bodies, n) + n > HTTP_BODIES_MAX) {
        atomic_fetch_sub(&r->h->bodies, n);
        http_early(r, 503, "server_error", "overloaded",
                   "the bodies of all requests take %d MiB: try again later", HTTP_BODIES_MAX >> 20);
        return;
    }
    r->body.max = max;
    if (buf_append(&r->body, p, n)) {
        atomic_fetch_sub(&r->h->bodies, n);
        http_early(r, 503, "server_error", "overloaded", "out of memory for the body");
        return;
    }
    r->n_body += n;
}

void http_body_done(struct http_request *r)
{
    if (r->spool_fd < 0 || r->n_body == 0) return;
    void *p = mmap(NULL, r->n_body, PROT_READ, MAP_PRIVATE, r->spool_fd, 0);
    if (p == MAP_FAILED) {
        http_early(r, 503, "server_error", NULL, "the body cannot be mapped: %s", strerror(errno));
        return;
    }
    r->map = p;
}

struct str http_body(const struct http_request *r)
{
    return r->map ? (struct str){r->map, r->n_body} : buf_str(&r->body);
}

/* --- the client goes away ---------------------------------------------------------------------------------- */

void http_request_lost(struct http_request *r)
{
    pthread_mutex_lock(&r->lock);
    struct http_watch *w = r->watch;
    int n = r->gone ? 0 : r->n_watch;
    r->gone = true;
    if (n) r->watch = NULL, r->n_watch = 0;
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < n; i++) w[i].fn(w[i].ctx, w[i].ticket);
    if (n) free(w);
}

int http_on_gone(struct http_request *r, void (*fn)(void *ctx, uint64_t ticket), void *ctx, uint64_t ticket)
{
    int rc = 0;
    pthread_mutex_lock(&r->lock);
    bool gone = r->gone;
    if (!gone) {
        struct http_watch *w =
            r->n_watch < WATCHES_MAX ? realloc(r->watch, (size_t)(r->n_watch + 1) * sizeof *w) : NULL;
        if (w) {
            w[r->n_watch++] = (struct http_watch){fn, ctx, ticket};
            r->watch = w;
        } else {
            rc = ERR_MEMORY;
        }
    }
    pthread_mutex_unlock(&r->lock);
    if (gone) fn(ctx, ticket);
    return rc;
}

bool http_gone(struct http_request *r)
{
    pthread_mutex_lock(&r->lock);
    bool gone = r->gone;
    pthread_mutex_unlock(&r->lock);
    return gone;
}

/* --- what was asked ---------------------------------------------------------------------------------------- */

const char *http_id(const struct http_request *r) { return r->id; }
const char *http_method(const struct http_request *r) { return r->method; }
const char *http_path(const struct http_request *r) { return r->path.p; }
bool http_aliased(const struct http_request *r) { return r->aliased; }
const char *http_arg(const struct http_request *r) { return r->arg; }
const char *http_remote(const struct http_request *r) { return r->remote; }
const struct http_route *http_route(const struct http_request *r) { return r->route; }
void *http_ud(const struct http_request *r) { return r->h->o.ud; }
double http_begin_s(const struct http_request *r) { return r->begin_s; }
uint64_t http_owner(const struct http_request *r) { return r->owner; }
bool http_is_inside(const struct http_request *r) { return r->done != NULL; }
void *http_data(const struct http_request *r) { return r->data; }

const char *http_header(const struct http_request *r, const char *name)
{
    return http_pair_find(&r->head, name, true);
}

const char *http_query(const struct http_request *r, const char *name)
{
    return http_pair_find(&r->query, name, false);
}

void http_set_data(struct http_request *r, void *data, void (*free_data)(void *data))
{
    r->data = data;
    r->free_data = free_data;
}
