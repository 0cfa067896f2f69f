/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Downloads: see download.h. struct job is one file over all its attempts, struct answer one HTTP answer.
 * libcurl calls on_header for every header line (also of redirects) and on_body for the bytes of the last
 * answer; the first body byte decides whether to append, to start anew or to give up.
 */
#include "file/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include "base/path.h"
#include "base/progress.h"

enum {
    CONNECT_S = 20,
    VALIDATOR_MAX = 512,
    STATE_MAX_BYTES = 64 << 10,
};

struct answer {
    long status;
    char etag[VALIDATOR_MAX];
    bool has_range, has_length;
    uint64_t from, total; /* of Content-Range */
    uint64_t length;      /* Content-Length */
    bool body_seen;
};

struct job {
    struct download *d;
    struct err *e;
    struct path part, state;
    int fd;
    struct digest digest; /* of the first `have` bytes */
    uint64_t have;        /* bytes in the .part file */
    uint64_t have_first;  /* of them there before this run */
    char etag[VALIDATOR_MAX];
    struct answer answer;
    struct progress progress;
    bool progress_on;
    bool resumed; /* some bytes come from another answer than the rest */
    int rc;       /* an error of our own inside a callback; the message is in e */
    char reason[CURL_ERROR_SIZE];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
}

static bool cancelled(const volatile sig_atomic_t *flag)
{
    return flag && *flag;
}

/* --- headers --- */

/* If line is "name: value", the value without surrounding blanks. */
static bool header_is(struct str line, const char *name, struct str *value)
{
    size_t n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp(line.p, name, n) != 0) return false;
    struct str v = {line.p + n + 1, line.n - n - 1};
    while (v.n && (*v.p == ' ' || *v.p == '\t')) v.p++, v.n--;
    while (v.n && (unsigned char)v.p[v.n - 1] <= ' ') v.n--;
    *value = v;
    return true;
}

static bool parse_u64(const char *p, const char *end, uint64_t *out)
{
    uint64_t v = 0;
    if (p == end) return false;
    for (; p < end; p++)
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return false;
    *out = v;
    return true;
}

/* "bytes 100-199/1000" */
static bool parse_range(struct str v, uint64_t *from, uint64_t *total)
{
    uint64_t to;
    const char *p = v.p, *end = v.p + v.n;
    if (!str_starts(v, STR("bytes "))) return false;
    p += 6;
    const char *dash = memchr(p, '-', (size_t)(end - p)), *slash = memchr(p, '/', (size_t)(end - p));
    return dash && slash && dash < slash && parse_u64(p, dash, from) && parse_u64(dash + 1, slash, &to) &&
           parse_u64(slash + 1, end, total) && *from <= to && to < *total;
}

static void read_header(struct answer *a, struct str line)
{
    struct str v;
    if (str_starts(line, STR("HTTP/"))) {
        const char *sp = memchr(line.p, ' ', line.n);
        *a = (struct answer){0};
        for (int i = 1; sp && sp + i < line.p + line.n && i <= 3 && sp[i] >= '0' && sp[i] <= '9'; i++)
            a->status = 10 * a->status + (sp[i] - '0');
    } else if (header_is(line, "ETag", &v)) {
        if (v.n < sizeof a->etag && v.n > 2 && v.p[0] == '"') { /* a weak one cannot vouch for ranges */
            memcpy(a->etag, v.p, v.n);
            a->etag[v.n] = 0;
        }
    } else if (header_is(line, "Content-Length", &v)) {
        a->has_length = parse_u64(v.p, v.p + v.n, &a->length);
    } else if (header_is(line, "Content-Range", &v)) {
        a->has_range = parse_range(v, &a->from, &a->total);
        if (str_starts(v, STR("bytes */"))) parse_u64(v.p + 8, v.p + v.n, &a->total); /* of an answer 416 */
    }
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
    struct job *j = ctx;
    read_header(&j->answer, (struct str){p, size * n});
    return size * n;
}

/* --- the .part file and its state --- */

static int save_state(struct job *j)
{
    json_t *root = json_pack("{s:s, s:s}", "url", j->d->url, "etag", j->etag);
    if (!root) return 0; /* a URL that is no UTF-8: such a download merely cannot be resumed */
    int rc = json_dump_file(root, j->state.z, JSON_COMPACT) == 0
                 ? 0
                 : err(j->e, ERR_IO, "%s: cannot write: %s", j->state.z, strerror(errno));
    json_decref(root);
    return rc;
}

/* Whether the state file speaks of this URL; takes the validator from it. */
static bool load_state(struct job *j)
{
    struct stat st;
    if (stat(j->state.z, &st) != 0 || st.st_size > STATE_MAX_BYTES) return false;
    json_t *root = json_load_file(j->state.z, 0, NULL);
    const char *url = json_string_value(json_object_get(root, "url"));
    const char *etag = json_string_value(json_object_get(root, "etag"));
    bool ok = url && etag && strcmp(url, j->d->url) == 0 && strlen(etag) < sizeof j->etag;
    if (ok) snprintf(j->etag, sizeof j->etag, "%s", etag);
    json_decref(root);
    return ok && (*j->etag || j->d->sha256);
}

static int start_anew(struct job *j)
{
    j->have = j->have_first = 0;
    j->etag[0] = 0;
    j->resumed = false;
    digest_init(&j->digest);
    if (ftruncate(j->fd, 0) != 0)
        return err(j->e, ERR_IO, "%s: cannot empty: %s", j->part.z, strerror(errno));
    return 0;
}

static int open_part(struct job *j)
{
    struct stat st;
    int rc = path_format(&j->part, j->e, "%s.part", j->d->path);
    if (!rc) rc = path_format(&j->state, j->e, "%s.part.json", j->d->path);
    if (rc) return rc;
    j->fd = open(j->part.z, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (j->fd < 0) return err(j->e, ERR_IO, "%s: cannot create: %s", j->part.z, strerror(errno));
    if (fstat(j->fd, &st) != 0)
        return err(j->e, ERR_IO, "%s: cannot examine: %s", j->part.z, strerror(errno));
    if (st.st_size == 0 || !load_state(j)) return start_anew(j);
    digest_init(&j->digest);
    j->have = j->have_first = (uint64_t)st.st_size;
    j->resumed = true;
    return digest_add_file(&j->digest, j->fd, j->have, j->e);
}

static int remove_part(struct job *j)
{
    unlink(j->part.z);
    unlink(j->state.z);
    return 0;
}

static int check_space(struct job *j, uint64_t more)
{
    struct statvfs v;
    char need[BYTES_TEXT_MAX], room[BYTES_TEXT_MAX];
    if (fstatvfs(j->fd, &v) != 0) return 0;
    uint64_t avail = (uint64_t)v.f_bavail * v.f_frsize;
    if (more <= avail) return 0;
    return err(j->e, ERR_IO, "%s: the disk has %s left and %s more are needed", j->part.z,
               bytes_text(avail, room), bytes_text(more, need));
}

/* --- body --- */

static int begin_body(struct job *j)
{
    struct answer *a = &j->answer;
    int rc = 0;
    a->body_seen = true;
    if (a->status == 206 && (!a->has_range || a->from != j->have))
        return err(j->e, ERR_NETWORK, "%s: asked for bytes from %" PRIu64 ", the server sent others",
                   j->d->url, j->have);
    /* range ignored, or another version */
    if (a->status == 200 && j->have > 0 && (rc = start_anew(j))) return rc;
    uint64_t total = a->status == 206 ? a->total : a->has_length ? a->length : 0;
    if (total > DOWNLOAD_MAX_BYTES)
        return err(j->e, ERR_LIMIT, "%s: %" PRIu64 " bytes, at most %" PRIu64 " are taken", j->d->url, total,
                   DOWNLOAD_MAX_BYTES);
    if (total && j->d->bytes && total != j->d->bytes)
        return err(j->e, ERR_MISMATCH, "%s: %" PRIu64 " bytes long, expected %" PRIu64, j->d->url, total,
                   j->d->bytes);
    if (total && (rc = check_space(j, total - j->have))) return rc;
    memcpy(j->etag, a->etag, sizeof j->etag);
    if ((rc = save_state(j))) return rc;
    if (!j->progress_on || j->progress.total != total)
        progress_begin(&j->progress, j->d->label, j->have, total, j->d->quiet);
    j->progress_on = true;
    return 0;
}

static int write_all(struct job *j, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = pwrite(j->fd, p, n, (off_t)j->have);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0 && errno == ENOSPC)
            return err(j->e, ERR_IO,
                       "%s: the disk is full; make room and run the same command again: it resumes",
                       j->part.z);
        if (w < 0) return err(j->e, ERR_IO, "%s: cannot write: %s", j->part.z, strerror(errno));
        digest_update(&j->digest, p, (size_t)w);
        j->have += (uint64_t)w;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct job *j = ctx;
    n *= size;
    /* an error page: the status is the message */
    if (j->answer.status != 200 && j->answer.status != 206) return n;
    if (!j->answer.body_seen) j->rc = begin_body(j);
    uint64_t most = j->d->bytes ? j->d->bytes : DOWNLOAD_MAX_BYTES;
    if (j->rc == 0 && (j->have > most || n > most - j->have))
        j->rc = err(j->e, ERR_LIMIT, "%s: more than %" PRIu64 " bytes arrive", j->d->url, most);
    if (j->rc == 0) j->rc = write_all(j, p, n);
    if (j->rc == 0) progress_update(&j->progress, j->have);
    return j->rc == 0 ? n : 0;
}

/* --- one attempt --- */

enum verdict { DONE, RETRY, FAIL };

/* Ends a transfer that was cancelled or has been silent for too long; libcurl calls it about once a second.
 */
struct watch {
    const volatile sig_atomic_t *cancel;
    unsigned stall_s;
    bool stalled;
    curl_off_t seen; /* bytes */
    time_t t_seen_s; /* when that changed */
};

static time_t clock_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static struct watch watch_start(const volatile sig_atomic_t *cancel, unsigned stall_s)
{
    return (struct watch){
        .cancel = cancel, .stall_s = stall_s ? stall_s : DOWNLOAD_STALL_S, .t_seen_s = clock_s()};
}

static int on_progress(void *ctx, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total,
                       curl_off_t ul_now)
{
    struct watch *w = ctx;
    time_t t = clock_s();
    (void)dl_total, (void)ul_total, (void)ul_now;
    if (dl_now != w->seen) {
        w->seen = dl_now;
        w->t_seen_s = t;
    }
    w->stalled = t - w->t_seen_s > (time_t)w->stall_s;
    return cancelled(w->cancel) || w->stalled;
}

static void set_common(CURL *c, const char *url, const char *bearer, struct watch *w)
{
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "tutti/" TUTTI_VERSION);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR,
                     strncasecmp(url, "https:", 6) == 0 ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)DOWNLOAD_MAX_REDIRECTS);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, w);
    if (bearer && *bearer) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, bearer);
    }
}

/* What a status other than 200 and 206 means for whoever asked. */
static enum verdict judge_status(long status, const char *url, struct err *e)
{
    const char *hint = "";
    int code = ERR_NETWORK;
    if (status == 401 || status == 403) hint = "; a gated model needs a token in HF_TOKEN";
    if (status == 404 || status == 410) code = ERR_NOT_FOUND, hint = ": there is no such file";
    if (status == 0) hint = " (no HTTP answer)";
    err(e, code, "%s: the server answered %ld%s", url, status, hint);
    return status == 408 || status == 429 || status >= 500 ? RETRY : FAIL;
}

/* What a failure of libcurl means. */
static enum verdict judge_curl(CURLcode c, const char *url, const char *reason, const struct watch *w,
                               struct err *e)
{
    if (w->stalled) {
        err(e, ERR_NETWORK, "%s: not a byte came for %u seconds", url, w->stall_s);
        return RETRY;
    }
    err(e, ERR_NETWORK, "%s: %s", url, *reason ? reason : curl_easy_strerror(c));
    switch (c) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return RETRY;
    case CURLE_TOO_MANY_REDIRECTS:
        err(e, ERR_NETWORK, "%s: more than %d redirects", url, DOWNLOAD_MAX_REDIRECTS);
        return FAIL;
    default:
        return FAIL;
    }
}

static enum verdict attempt(struct job *j)
{
    struct curl_slist *extra = NULL;
    char range[32], if_range[VALIDATOR_MAX + 16];
    CURL *c = curl_easy_init();
    enum verdict v = FAIL;
    if (!c) {
        j->rc = err(j->e, ERR_MEMORY, "out of memory for a connection");
        return FAIL;
    }
    j->answer = (struct answer){0};
    j->rc = 0;
    j->reason[0] = 0;
    struct watch w = watch_start(j->d->cancel, j->d->stall_s);
    set_common(c, j->d->url, j->d->bearer, &w);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, j->reason);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, j);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, j);
    if (j->have > 0) {
        snprintf(range, sizeof range, "%" PRIu64 "-", j->have);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
        if (*j->etag) {
            snprintf(if_range, sizeof if_range, "If-Range: %s", j->etag);
            extra = curl_slist_append(NULL, if_range);
            curl_easy_setopt(c, CURLOPT_HTTPHEADER, extra);
        }
    }
    CURLcode code = curl_easy_perform(c);
    long status = j->answer.status;
    if (j->rc != 0) {
        v = FAIL;
    } else if (cancelled(j->d->cancel)) {
        char have[BYTES_TEXT_MAX];
        j->rc = err(j->e, ERR_CANCELLED, "%s: interrupted after %s; the same command goes on from there",
                    j->d->url, bytes_text(j->have, have));
    } else if (code != CURLE_OK) {
        v = judge_curl(code, j->d->url, j->reason, &w, j->e);
    } else if (status == 416 && j->have > 0 && j->answer.total == j->have) {
        v = DONE; /* all bytes were there already */
    } else if (status == 416 && j->have > 0) {
        v = start_anew(j) == 0 ? RETRY : FAIL;
        err(j->e, ERR_NETWORK, "%s: the server's file is shorter than what was downloaded of it", j->d->url);
    } else if (status != 200 && status != 206) {
        v = judge_status(status, j->d->url, j->e);
    } else {
        if (!j->answer.body_seen) j->rc = begin_body(j); /* an empty file */
        v = j->rc == 0 ? DONE : FAIL;
    }
    curl_slist_free_all(extra);
    curl_easy_cleanup(c);
    return v;
}

/* --- all attempts --- */

/* Sleeps before another try, the longer the more tries there were; a signal ends it. */
static void pause_before(int tries, unsigned first_ms, const volatile sig_atomic_t *cancel)
{
    enum { SLICE_MS = 50 };
    uint64_t ms = (uint64_t)(first_ms ? first_ms : DOWNLOAD_PAUSE_MS) << (tries - 1);
    int64_t left = ms < DOWNLOAD_PAUSE_MAX_MS ? (int64_t)ms : DOWNLOAD_PAUSE_MAX_MS;
    for (; left > 0 && !cancelled(cancel); left -= SLICE_MS)
        nanosleep(&(struct timespec){.tv_nsec = (left < SLICE_MS ? left : SLICE_MS) * 1000000L}, NULL);
}

static int fetch(struct job *j)
{
    int tries = 0;
    for (;;) {
        uint64_t before = j->have;
        enum verdict v = attempt(j);
        if (v == DONE) return 0;
        if (v == FAIL) return j->rc ? j->rc : j->e->code;
        tries = j->have > before ? 1 : tries + 1;
        if (tries >= DOWNLOAD_TRIES) {
            return err_prefix(j->e, "gave up after %d tries", tries);
        }
        if (j->have) j->resumed = true;
        pause_before(tries, j->d->pause_ms, j->d->cancel);
        if (cancelled(j->d->cancel)) return err(j->e, ERR_CANCELLED, "%s: interrupted", j->d->url);
    }
}

static int finish(struct job *j)
{
    struct download *d = j->d;
    if (d->bytes && j->have != d->bytes) {
        remove_part(j);
        return err(j->e, ERR_MISMATCH, "%s: %" PRIu64 " bytes long, expected %" PRIu64, d->url, j->have,
                   d->bytes);
    }
    d->got_bytes = j->have;
    d->got_sha256 = digest_final(&j->digest);
    if (d->sha256 && !digest_eq(d->sha256, d->got_sha256.z)) {
        remove_part(j);
        return err(j->e, ERR_MISMATCH, "%s: its SHA-256 is %s, expected %s; the download was removed", d->url,
                   d->got_sha256.z, d->sha256);
    }
    if (fsync(j->fd) != 0) return err(j->e, ERR_IO, "%s: cannot write: %s", j->part.z, strerror(errno));
    if (rename(j->part.z, d->path) != 0)
        return err(j->e, ERR_IO, "%s: cannot rename to %s: %s", j->part.z, d->path, strerror(errno));
    unlink(j->state.z);
    return 0;
}

int download_file(struct download *d, struct err *e)
{
    struct err own = {0};
    struct job *j = calloc(1, sizeof *j);
    if (!j) return err(e, ERR_MEMORY, "out of memory");
    pthread_once(&once, init_curl);
    *j = (struct job){.d = d, .e = e ? e : &own, .fd = -1};
    int rc = open_part(j);
    if (!rc) rc = fetch(j);
    if (j->progress_on) progress_end(&j->progress, rc == 0);
    bool again = j->resumed;
    if (!rc) rc = finish(j);
    if (rc == ERR_MISMATCH && again && !cancelled(d->cancel)) { /* pieces of two versions: once more, whole */
        close(j->fd);
        j->progress_on = false;
        rc = open_part(j);
        if (!rc) rc = fetch(j);
        if (j->progress_on) progress_end(&j->progress, rc == 0);
        if (!rc) rc = finish(j);
    }
    if (j->fd >= 0) close(j->fd);
    free(j);
    return rc;
}

/* --- small answers --- */

static size_t on_text(char *p, size_t size, size_t n, void *ctx)
{
    return buf_append(ctx, p, size * n) == 0 ? size * n : 0;
}

int download_text(const char *url, const char *bearer, unsigned stall_s, const volatile sig_atomic_t *cancel,
                  struct buf *out, struct err *e)
{
    pthread_once(&once, init_curl);
    for (int tries = 1;; tries++) {
        char reason[CURL_ERROR_SIZE] = "";
        long status = 0;
        CURL *c = curl_easy_init();
        if (!c) return err(e, ERR_MEMORY, "out of memory for a connection");
        buf_clear(out);
        struct watch w = watch_start(cancel, stall_s);
        set_common(c, url, bearer, &w);
        curl_easy_setopt(c, CURLOPT_ERRORBUFFER, reason);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_text);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
        CURLcode code = curl_easy_perform(c);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_cleanup(c);
        if (cancelled(cancel)) return err(e, ERR_CANCELLED, "%s: interrupted", url);
        if (out->failed) return err(e, out->failed, "%s: the answer is longer than %zu bytes", url, out->max);
        if (code == CURLE_OK && status == 200) return 0;
        struct err own = {0};
        enum verdict v =
            code != CURLE_OK ? judge_curl(code, url, reason, &w, &own) : judge_status(status, url, &own);
        if (v != RETRY || tries == DOWNLOAD_TRIES) return err(e, own.code, "%s", own.msg);
        pause_before(tries, 0, cancel);
    }
}

int download_escape(struct buf *out, const char *text)
{
    for (const char *s = text; *s; s++) {
        bool plain = (*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') ||
                     strchr("-._~/", *s);
        int rc = plain ? buf_append_char(out, *s) : buf_printf(out, "%%%02X", (unsigned char)*s);
        if (rc) return rc;
    }
    return 0;
}
