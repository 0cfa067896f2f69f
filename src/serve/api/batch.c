/* SPDX-License-Identifier: Apache-2.0 */
/* See batch.h. */
#include "serve/api/batch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "serve/http/json_out.h"

enum { REPLY_MAX = 300 << 20, SAVE_EVERY = 64 };

struct batch {
    struct batches *all;
    char id[STORE_ID_MAX];
    uint64_t owner;
    struct store_file input, output, errors;
    int out_fd, err_fd;
    pthread_t thread;
    bool used, done;     /* done: the thread may be joined */
    bool cancel;
    int in_flight, total, completed, failed;
    int64_t expires_at;
    json_t *record;
    json_t *answered;    /* of an earlier server: custom_id -> how many lines; or NULL */
};

struct batches {
    struct path dir;
    struct http *http;
    pthread_mutex_t lock; /* of all batches */
    pthread_cond_t wake;
    struct batch slot[BATCHES_MAX];
    bool stop;
};

struct line {
    struct batch *b;
    char *custom_id; /* as JSON */
};

int batch_hours(const char *w)
{
    char *end;
    errno = 0;
    long n = w && *w >= '0' && *w <= '9' ? strtol(w, &end, 10) : -1;
    if (n < 0 || errno || n > BATCH_HOURS_MAX || (strcmp(end, "h") != 0 && strcmp(end, "d") != 0)) return -1;
    if (*end == 'd') n *= 24;
    return n >= BATCH_HOURS_MIN && n <= BATCH_HOURS_MAX ? (int)n : -1;
}

/* --- the record; under the lock ---------------------------------------------------------------------------- */

static void set_status(struct batch *b, const char *status)
{
    char at[48];
    json_object_set_new(b->record, "status", json_string(status));
    snprintf(at, sizeof at, "%s_at", status);
    json_object_set_new(b->record, at, json_integer((json_int_t)time(NULL)));
}

static void save(struct batch *b)
{
    json_t *n = json_object_get(b->record, "request_counts");
    json_object_set_new(n, "total", json_integer(b->total));
    json_object_set_new(n, "completed", json_integer(b->completed));
    json_object_set_new(n, "failed", json_integer(b->failed));
    store_put(&b->all->dir, b->id, b->record, NULL); /* the next one says the same and more */
}

static void add_error(struct batch *b, const char *code, int line, const char *message)
{
    json_t *list = json_object_get(json_object_get(b->record, "errors"), "data");
    json_t *one = json_pack("{s:s, s:s, s:n, s:o}", "code", code, "message", message, "param", "line",
                            line ? json_integer(line) : json_null());
    if (!list) {
        json_object_set_new(b->record, "errors", json_pack("{s:s, s:[]}", "object", "list", "data"));
        list = json_object_get(json_object_get(b->record, "errors"), "data");
    }
    json_array_append_new(list, one);
}

/* --- lines ------------------------------------------------------------------------------------------------- */

/* Cuts the next line that is not blank off text; false at the end. *number counts all lines. */
static bool next_line(struct str *text, struct str *line, int *number)
{
    while (text->n) {
        const char *end = memchr(text->p, '\n', text->n);
        *line = (struct str){text->p, end ? (size_t)(end - text->p) : text->n};
        size_t used = line->n + (end ? 1 : 0);
        *text = (struct str){text->p + used, text->n - used};
        ++*number;
        while (line->n && strchr(" \t\r", line->p[line->n - 1])) line->n--;
        if (line->n) return true;
    }
    return false;
}

/* The parts of a line; *root is to be freed. */
static int read_line(struct str line, const char *endpoint, json_t **root, const char **custom_id,
                     json_t **body, struct err *e)
{
    json_error_t je;
    const char *method = NULL, *url = NULL;
    *custom_id = NULL;
    *body = NULL;
    if (line.n > BATCH_LINE_MAX)
        return *root = NULL,
               err(e, ERR_LIMIT, "the line has %zu bytes, the limit is %d", line.n, BATCH_LINE_MAX);
    *root = json_loadb(line.p, line.n, 0, &je);
    if (!*root) return err(e, ERR_FORMAT, "no JSON: column %d: %s", je.column, je.text);
    *custom_id = json_string_value(json_object_get(*root, "custom_id"));
    method = json_string_value(json_object_get(*root, "method"));
    url = json_string_value(json_object_get(*root, "url"));
    *body = json_object_get(*root, "body");
    if (!*custom_id) return err(e, ERR_USAGE, "'custom_id': expected a string");
    if (!method || strcmp(method, "POST") != 0) return err(e, ERR_USAGE, "'method': expected POST");
    if (!url || strcmp(url, endpoint) != 0)
        return err(e, ERR_USAGE, "'url': expected the batch's endpoint, %s", endpoint);
    if (!json_is_object(*body)) return err(e, ERR_USAGE, "'body': expected an object");
    return 0;
}

/* Counts the lines; faults go into the record. */
static bool validate(struct batch *b, struct str text, const char *endpoint)
{
    int number = 0, bad = 0, n = 0;
    struct str line;
    while (bad < 16 && next_line(&text, &line, &number)) {
        json_t *root, *body;
        const char *custom_id;
        struct err e = {0};
        int rc = ++n > BATCH_LINES_MAX
                     ? (root = NULL, err(&e, ERR_LIMIT, "more than %d lines", BATCH_LINES_MAX))
                     : read_line(line, endpoint, &root, &custom_id, &body, &e);
        json_decref(root);
        if (!rc) continue;
        bad++;
        pthread_mutex_lock(&b->all->lock);
        add_error(b, "invalid_line", number, e.msg);
        pthread_mutex_unlock(&b->all->lock);
        if (n > BATCH_LINES_MAX) break;
    }
    pthread_mutex_lock(&b->all->lock);
    if (n == 0) add_error(b, "empty_file", 0, "the input file has no lines"), bad++;
    b->total = n;
    pthread_mutex_unlock(&b->all->lock);
    return bad == 0;
}

/* The line goes to one of the files, and is counted. */
static void keep_reply(struct batch *b, const struct line *l, const char *id, int status, struct str reply)
{
    struct buf out;
    char bid[STORE_ID_MAX];
    store_make_id("batch_req_", bid);
    while (reply.n && reply.p[reply.n - 1] == '\n') reply.n--;
    buf_init(&out, REPLY_MAX);
    buf_printf(
        &out,
        "{\"id\":\"%s\",\"custom_id\":%s,\"response\":{\"status_code\":%d,\"request_id\":\"%s\",\"body\":",
        bid, l->custom_id, status, id);
    buf_append_str(&out, reply);
    buf_append_z(&out, "},\"error\":null}\n");
    bool ok = status == 200 && !out.failed && !store_write(b->out_fd, buf_str(&out), NULL);
    if (!ok && !out.failed) store_write(b->err_fd, buf_str(&out), NULL);
    if (ok) b->completed++;
    else b->failed++;
    if ((b->completed + b->failed) % SAVE_EVERY == 0) save(b);
    buf_finish(&out);
}

/* A reply arrived, on some thread. What a stopping server refuses is asked again at the next start. */
static void take_reply(void *ud, const char *id, int status, struct str reply)
{
    struct line *l = ud;
    struct batch *b = l->b;
    pthread_mutex_lock(&b->all->lock);
    if (!b->all->stop || (status != 503 && status != 429)) keep_reply(b, l, id, status, reply);
    b->in_flight--;
    pthread_cond_broadcast(&b->all->wake);
    pthread_mutex_unlock(&b->all->lock);
    free(l->custom_id);
    free(l);
}

/* Waits for room; false when the batch shall not go on. */
static bool wait_for_room(struct batch *b)
{
    struct batches *all = b->all;
    pthread_mutex_lock(&all->lock);
    while (b->in_flight >= BATCH_IN_FLIGHT && !all->stop && !b->cancel) pthread_cond_wait(&all->wake, &all->lock);
    bool go = !all->stop && !b->cancel && (int64_t)time(NULL) < b->expires_at;
    if (go) b->in_flight++;
    pthread_mutex_unlock(&all->lock);
    return go;
}

/* True: an earlier server had this line answered. */
static bool was_answered(struct batch *b, const char *custom_id)
{
    json_t *n = custom_id ? json_object_get(b->answered, custom_id) : NULL;
    if (json_integer_value(n) < 1) return false;
    json_integer_set(n, json_integer_value(n) - 1);
    return true;
}

static void send_line(struct batch *b, struct str text, const char *endpoint)
{
    json_t *root, *body;
    const char *custom_id;
    struct err e = {0};
    struct line *l = calloc(1, sizeof *l);
    char *dump = NULL;
    int rc = read_line(text, endpoint, &root, &custom_id, &body, &e);
    bool skip = !rc && was_answered(b, custom_id);
    if (!rc) json_object_del(body, "stream"); /* there is nobody to stream to */
    if (!rc && l && !skip) {
        l->b = b;
        l->custom_id = json_dumps(json_object_get(root, "custom_id"), JSON_ENCODE_ANY);
        dump = json_dumps(body, JSON_COMPACT);
    }
    json_decref(root);
    if (rc || !l || !l->custom_id || !dump) rc = ERR_MEMORY;
    else rc = http_inside(b->all->http, "POST", endpoint, b->owner, str_from(dump), take_reply, l, &e);
    free(dump);
    if (!rc) return;
    if (l) free(l->custom_id);
    free(l);
    pthread_mutex_lock(&b->all->lock);
    b->failed += !skip && !b->all->stop;
    b->in_flight--;
    pthread_mutex_unlock(&b->all->lock);
}

/* --- the thread -------------------------------------------------------------------------------------------- */

static void commit(struct batch *b, struct store_file *f, int fd, const char *field)
{
    off_t n = lseek(fd, 0, SEEK_END);
    if (n <= 0) store_drop(&b->all->dir, f, fd);
    else if (store_commit(&b->all->dir, f, fd, NULL) == 0) json_object_set_new(b->record, field, json_string(f->id));
}

/* Returns how it ended; NULL: not yet, the server is stopping. */
static const char *run_lines(struct batch *b, struct str text, const char *endpoint)
{
    struct str line;
    int number = 0;
    while (next_line(&text, &line, &number)) {
        if (!wait_for_room(b)) break;
        send_line(b, line, endpoint);
    }
    pthread_mutex_lock(&b->all->lock);
    while (b->in_flight) pthread_cond_wait(&b->all->wake, &b->all->lock);
    bool all_done = b->completed + b->failed == b->total;
    const char *end = all_done ? "completed" : b->cancel ? "cancelled" : b->all->stop ? NULL : "expired";
    if (all_done) set_status(b, "finalizing");
    pthread_mutex_unlock(&b->all->lock);
    return end;
}

static void *run_batch(void *arg)
{
    struct batch *b = arg;
    struct batches *all = b->all;
    struct str text;
    struct err e = {0};
    const char *end = "failed";
    pthread_mutex_lock(&all->lock); /* batch_create lets go of it when all is in place */
    const char *endpoint = json_string_value(json_object_get(b->record, "endpoint"));
    pthread_mutex_unlock(&all->lock);
    if (store_map(&all->dir, &b->input, &text, &e) == 0) {
        if (validate(b, text, endpoint)) {
            pthread_mutex_lock(&all->lock);
            if (!b->cancel &&
                strcmp(json_string_value(json_object_get(b->record, "status")), "in_progress") != 0)
                set_status(b, "in_progress");
            save(b);
            pthread_mutex_unlock(&all->lock);
            end = run_lines(b, text, endpoint);
        }
        store_unmap(text);
    }
    pthread_mutex_lock(&all->lock);
    if (e.code) add_error(b, "invalid_file", 0, e.msg);
    if (end) {
        commit(b, &b->output, b->out_fd, "output_file_id");
        commit(b, &b->errors, b->err_fd, "error_file_id");
        set_status(b, end);
    } else {
        close(b->out_fd);
        close(b->err_fd);
    }
    save(b);
    b->done = true;
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------------------------ */

static void finish_slot(struct batch *b)
{
    pthread_join(b->thread, NULL);
    json_decref(b->record);
    json_decref(b->answered);
    *b = (struct batch){0};
}

static void describe_outputs(struct batch *b)
{
    b->output.owner = b->errors.owner = b->owner;
    snprintf(b->output.purpose, sizeof b->output.purpose, "batch_output");
    b->errors = b->output;
    snprintf(b->output.name, sizeof b->output.name, "%s_output.jsonl", b->id);
    snprintf(b->errors.name, sizeof b->errors.name, "%s_error.jsonl", b->id);
}

static int begin_outputs(struct batch *b, struct err *e)
{
    describe_outputs(b);
    int rc = store_begin(&b->all->dir, &b->output, &b->out_fd, e);
    if (rc) return rc;
    if ((rc = store_begin(&b->all->dir, &b->errors, &b->err_fd, e))) store_drop(&b->all->dir, &b->output, b->out_fd);
    return rc;
}

static json_t *make_record(const struct batch *b, const struct batch_order *o, int64_t now)
{
    return json_pack(
        "{s:s, s:s, s:s, s:n, s:s, s:s, s:s, s:n, s:n, s:I, s:n, s:I, s:n, s:n, s:n, s:n, s:n, s:n, s:{s:i, s:i, s:i}, s:O?, s:I, s:[s, s]}",
        "id", b->id, "object", "batch", "endpoint", o->endpoint, "errors", "input_file_id", o->input.id,
        "completion_window", o->window, "status", "validating", "output_file_id", "error_file_id",
        "created_at", (json_int_t)now, "in_progress_at", "expires_at", (json_int_t)b->expires_at,
        "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at",
        "request_counts", "total", 0, "completed", 0, "failed", 0, "metadata", o->metadata, "owner",
        (json_int_t)b->owner, "parts", b->output.id, b->errors.id);
}

static int start(struct batch *b, struct err *e)
{
    if (pthread_create(&b->thread, NULL, run_batch, b)) return err(e, ERR_MEMORY, "cannot start a thread");
    save(b);
    b->used = true;
    return 0;
}

static int begin(struct batches *all, struct batch *b, const struct batch_order *o, struct err *e)
{
    int64_t now = (int64_t)time(NULL);
    *b = (struct batch){
        .all = all, .owner = o->owner, .input = o->input, .expires_at = now + 3600 * batch_hours(o->window)};
    store_make_id("batch_", b->id);
    int rc = begin_outputs(b, e);
    if (rc) return rc;
    if (!(b->record = make_record(b, o, now))) rc = err(e, ERR_MEMORY, "out of memory");
    if (!rc) rc = start(b, e);
    if (rc) {
        store_drop(&all->dir, &b->output, b->out_fd);
        store_drop(&all->dir, &b->errors, b->err_fd);
        json_decref(b->record);
    }
    return rc;
}

static struct batch *free_slot(struct batches *all)
{
    for (int i = 0; i < BATCHES_MAX; i++)
        if (all->slot[i].used && all->slot[i].done) finish_slot(&all->slot[i]);
    for (int i = 0; i < BATCHES_MAX; i++)
        if (!all->slot[i].used) return &all->slot[i];
    return NULL;
}

int batch_create(struct batches *all, const struct batch_order *o, json_t **record, struct err *e)
{
    pthread_mutex_lock(&all->lock);
    struct batch *b = free_slot(all);
    int rc = b && !all->stop
                 ? begin(all, b, o, e)
                 : err(e, ERR_BUSY, "%d batches are at work already: try again later", BATCHES_MAX);
    if (rc && b) *b = (struct batch){0};
    if (!rc) *record = json_deep_copy(b->record);
    pthread_mutex_unlock(&all->lock);
    return rc;
}

static struct batch *find_live(struct batches *all, const char *id)
{
    for (int i = 0; i < BATCHES_MAX; i++)
        if (all->slot[i].used && strcmp(all->slot[i].id, id) == 0) return &all->slot[i];
    return NULL;
}

int batch_find(struct batches *all, uint64_t owner, const char *id, json_t **record, struct err *e)
{
    *record = NULL;
    if (store_is_id("batch_", id)) {
        pthread_mutex_lock(&all->lock);
        struct batch *b = find_live(all, id);
        if (b) save(b); /* counts */
        if (b) *record = json_deep_copy(b->record);
        else store_get(&all->dir, id, record, NULL);
        pthread_mutex_unlock(&all->lock);
    }
    if (*record && (uint64_t)json_integer_value(json_object_get(*record, "owner")) == owner) return 0;
    json_decref(*record);
    *record = NULL;
    return err(e, ERR_NOT_FOUND, "No batch found with id '%.60s'.", id);
}

int batch_cancel(struct batches *all, uint64_t owner, const char *id, json_t **record, struct err *e)
{
    int rc = batch_find(all, owner, id, record, e);
    if (rc) return rc;
    json_decref(*record);
    pthread_mutex_lock(&all->lock);
    struct batch *b = find_live(all, id);
    if (b && !b->done && !b->cancel) {
        b->cancel = true;
        set_status(b, "cancelling");
        save(b);
        pthread_cond_broadcast(&all->wake);
    }
    pthread_mutex_unlock(&all->lock);
    return batch_find(all, owner, id, record, e);
}

/* --- after a restart; under the lock ---------------------------------------------------------------------------- */

/* What an earlier server wrote: its last line may be a piece, which goes. Lines are counted in answered. */
static int recall_lines(struct batch *b, struct store_file *f, int *fd, int *n, struct err *e)
{
    struct str all, text, line;
    int number = 0, rc = store_reopen(&b->all->dir, f, fd, e);
    if (!rc && (rc = store_map(&b->all->dir, f, &all, e))) close(*fd);
    if (rc) return rc;
    const char *end = all.n ? memrchr(all.p, '\n', all.n) : NULL;
    text = (struct str){all.p, end ? (size_t)(end + 1 - all.p) : 0};
    size_t whole = text.n;
    while (next_line(&text, &line, &number)) {
        json_t *root = json_loadb(line.p, line.n, JSON_ALLOW_NUL, NULL); /* answers may hold such */
        const char *custom_id = json_string_value(json_object_get(root, "custom_id"));
        if (custom_id)
            json_object_set_new(
                b->answered, custom_id,
                json_integer(json_integer_value(json_object_get(b->answered, custom_id)) + 1));
        if (custom_id) ++*n;
        json_decref(root);
    }
    store_unmap(all);
    if (ftruncate(*fd, (off_t)whole) == 0) return 0;
    close(*fd);
    return err(e, ERR_IO, "cannot write '%s': %s", f->id, strerror(errno));
}

static int recall(struct batch *b, struct err *e)
{
    const char *input = NULL, *output = NULL, *errors = NULL, *status = NULL;
    json_int_t owner = 0, expires = 0, created = 0;
    int rc = json_unpack(b->record, "{s:s, s:s, s:I, s:I, s:I, s:[s, s]}", "input_file_id", &input, "status",
                         &status, "owner", &owner, "expires_at", &expires, "created_at", &created, "parts",
                         &output, &errors);
    if (rc || !(b->answered = json_object())) return err(e, ERR_FORMAT, "its record cannot be read");
    b->owner = (uint64_t)owner;
    b->expires_at = expires;
    b->cancel = strcmp(status, "cancelling") == 0;
    describe_outputs(b);
    snprintf(b->output.id, sizeof b->output.id, "%s", output);
    snprintf(b->errors.id, sizeof b->errors.id, "%s", errors);
    b->output.created_at = b->errors.created_at = created;
    if ((rc = store_find(&b->all->dir, b->owner, input, &b->input, e)) ||
        (rc = recall_lines(b, &b->output, &b->out_fd, &b->completed, e)))
        return rc;
    if ((rc = recall_lines(b, &b->errors, &b->err_fd, &b->failed, e))) close(b->out_fd);
    return rc;
}

static void go_on(struct batch *b)
{
    struct err e = {0};
    int rc = recall(b, &e);
    if (!rc && (rc = start(b, &e))) close(b->out_fd), close(b->err_fd);
    if (!rc) return;
    if (rc != ERR_BUSY) {
        add_error(b, "server_stopped", 0, e.msg);
        set_status(b, "failed");
        store_put(&b->all->dir, b->id, b->record, NULL);
    }
    json_decref(b->record);
    json_decref(b->answered);
    *b = (struct batch){0};
}

static bool is_open(const json_t *record)
{
    static const char *const open[] = {"validating", "in_progress", "finalizing", "cancelling"};
    const char *status = json_string_value(json_object_get(record, "status"));
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (status && strcmp(status, open[i]) == 0) return true;
    return false;
}

void batches_recall(struct batches *all)
{
    char (*ids)[STORE_ID_MAX];
    size_t n;
    struct batch *b;
    pthread_mutex_lock(&all->lock);
    if (store_list(&all->dir, "batch_", &ids, &n, NULL)) n = 0, ids = NULL;
    for (size_t i = n; i-- > 0 && !all->stop && (b = free_slot(all));) { /* the oldest first */
        json_t *record;
        if (find_live(all, ids[i]) || store_get(&all->dir, ids[i], &record, NULL)) continue;
        if (!is_open(record)) {
            json_decref(record);
            continue;
        }
        *b = (struct batch){.all = all, .record = record};
        snprintf(b->id, sizeof b->id, "%s", ids[i]);
        go_on(b);
    }
    pthread_mutex_unlock(&all->lock);
    free(ids);
}

int batches_open(struct batches **out, const struct path *dir, struct http *h, struct err *e)
{
    struct batches *all = calloc(1, sizeof *all);
    if (!all) return err(e, ERR_MEMORY, "out of memory");
    all->dir = *dir;
    all->http = h;
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->wake, NULL);
    *out = all;
    return 0;
}

void batches_stop(struct batches *all)
{
    if (!all) return;
    pthread_mutex_lock(&all->lock);
    all->stop = true;
    pthread_cond_broadcast(&all->wake);
    pthread_mutex_unlock(&all->lock);
}

void batches_close(struct batches *all)
{
    if (!all) return;
    batches_stop(all);
    for (int i = 0; i < BATCHES_MAX; i++)
        if (all->slot[i].used) finish_slot(&all->slot[i]);
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->wake);
    free(all);
}
