/* SPDX-License-Identifier: Apache-2.0 */
/* See gguf_write.h. */
#include "file/gguf_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/path.h"

enum { HEADER_MAX = 1 << 30, VERSION = 3 };

struct gguf_writer {
    struct path path, part;
    int fd;
    uint32_t alignment;
    uint64_t n_keys, n_tensors;
    struct buf keys, tensors; /* their text in the file */
    uint64_t *ends;           /* [n_tensors] where the data of each ends, without padding */
    size_t cap_ends;
    uint64_t data_bytes;      /* announced, with padding */
    uint64_t at;              /* data written, with padding */
    uint64_t next;            /* tensor whose data comes */
    uint64_t written;         /* to the file */
    bool begun, done;
    struct err fault;
};

static void put(struct buf *b, uint64_t v, size_t n)
{
    uint8_t p[8];
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(v >> (8 * i));
    buf_append(b, p, n);
}

static void put_str(struct buf *b, struct str s)
{
    put(b, s.n, 8);
    buf_append_str(b, s);
}

int gguf_write_open(struct gguf_writer **out, const char *path, uint32_t alignment, struct err *e)
{
    struct gguf_writer *w = calloc(1, sizeof *w);
    if (!w) return err(e, ERR_MEMORY, "out of memory");
    must(alignment >= 8 && !(alignment & (alignment - 1)));
    w->fd = -1;
    w->alignment = alignment;
    buf_init(&w->keys, HEADER_MAX);
    buf_init(&w->tensors, HEADER_MAX);
    int rc = path_format(&w->path, e, "%s", path);
    if (!rc) rc = path_format(&w->part, e, "%s.part", path);
    if (!rc) {
        w->fd = open(w->part.z, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (w->fd < 0) rc = err(e, ERR_IO, "%s: cannot create: %s", w->part.z, strerror(errno));
    }
    if (rc) {
        gguf_write_close(w);
        return rc;
    }
    *out = w;
    return 0;
}

void gguf_write_close(struct gguf_writer *w)
{
    if (!w) return;
    if (w->fd >= 0) {
        close(w->fd);
        if (!w->done) unlink(w->part.z);
    }
    buf_finish(&w->keys);
    buf_finish(&w->tensors);
    free(w->ends);
    free(w);
}

void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t value)
{
    put_str(&w->keys, str_from(key));
    put(&w->keys, GGUF_U32, 4);
    put(&w->keys, value, 4);
    w->n_keys++;
}

void gguf_write_key(struct gguf_writer *w, const struct gguf_key *k)
{
    put_str(&w->keys, k->name);
    put(&w->keys, k->type, 4);
    if (k->type == GGUF_ARRAY) {
        put(&w->keys, k->elem, 4);
        put(&w->keys, k->n, 8);
    }
    buf_append(&w->keys, k->p, k->bytes);
    w->n_keys++;
}

int gguf_write_tensor(struct gguf_writer *w, struct str name, enum dtype type, uint32_t n_dims,
                      const uint64_t ne[GGUF_MAX_DIMS], struct err *e)
{
    uint64_t bytes = dtype_row_bytes(type, ne[0]), end;
    must(!w->begun && n_dims >= 1 && n_dims <= GGUF_MAX_DIMS);
    bool fits = bytes != 0;
    for (uint32_t d = 1; d < n_dims; d++) fits = fits && !__builtin_mul_overflow(bytes, ne[d], &bytes);
    if (!fits || __builtin_add_overflow(w->data_bytes, bytes, &end) || end > INT64_MAX)
        return err(e, ERR_FORMAT, "tensor '%.*s': rows of %" PRIu64 " elements cannot be %s", STR_ARG(name),
                   ne[0], dtype_name(type));
    if (w->n_tensors == w->cap_ends) {
        size_t cap = w->cap_ends ? 2 * w->cap_ends : 256;
        uint64_t *more = realloc(w->ends, cap * sizeof *more);
        if (!more) return err(e, ERR_MEMORY, "out of memory for %zu tensors", cap);
        w->ends = more, w->cap_ends = cap;
    }
    put_str(&w->tensors, name);
    put(&w->tensors, n_dims, 4);
    for (uint32_t d = 0; d < n_dims; d++) put(&w->tensors, ne[d], 8);
    put(&w->tensors, type, 4);
    put(&w->tensors, w->data_bytes, 8);
    w->ends[w->n_tensors++] = end;
    w->data_bytes = (end + w->alignment - 1) & ~(uint64_t)(w->alignment - 1);
    return 0;
}

static void write_all(struct gguf_writer *w, const void *p, size_t n)
{
    const char *at = p;
    while (n && !w->fault.code) {
        ssize_t k = write(w->fd, at, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) {
            err(&w->fault, ERR_IO, "%s: cannot write: %s", w->part.z, strerror(errno));
            return;
        }
        at += k, n -= (size_t)k, w->written += (uint64_t)k;
    }
}

static void write_zeros(struct gguf_writer *w, uint64_t n)
{
    static const char zero[4096];
    for (; n && !w->fault.code; n -= n < sizeof zero ? n : sizeof zero)
        write_all(w, zero, n < sizeof zero ? (size_t)n : sizeof zero);
}

/* Everything before the data. */
static void begin(struct gguf_writer *w)
{
    struct buf head;
    buf_init(&head, 64);
    buf_append_z(&head, "GGUF");
    put(&head, VERSION, 4);
    put(&head, w->n_tensors, 8);
    put(&head, w->n_keys, 8);
    int failed = head.failed ? head.failed : w->keys.failed ? w->keys.failed : w->tensors.failed;
    if (failed) err(&w->fault, failed, "%s: the keys and tensors take too much memory", w->path.z);
    w->begun = true;
    write_all(w, head.p, head.n);
    write_all(w, w->keys.p, w->keys.n);
    write_all(w, w->tensors.p, w->tensors.n);
    write_zeros(w, -(uint64_t)(head.n + w->keys.n + w->tensors.n) & (w->alignment - 1));
    buf_finish(&head);
}

int gguf_write_data(struct gguf_writer *w, const void *p, size_t n, struct err *e)
{
    if (!w->begun) begin(w);
    const char *at = p;
    while (n && !w->fault.code) {
        if (w->next == w->n_tensors) {
            err(&w->fault, ERR_INTERNAL, "%s: more data than tensors", w->path.z);
            break;
        }
        uint64_t room = w->ends[w->next] - w->at;
        size_t k = n < room ? n : (size_t)room;
        write_all(w, at, k);
        at += k, n -= k, w->at += k;
        if (w->at < w->ends[w->next]) continue;
        uint64_t pad = -w->at & (w->alignment - 1);
        write_zeros(w, pad);
        w->at += pad, w->next++;
    }
    if (w->fault.code && e) *e = w->fault;
    return w->fault.code;
}

int gguf_write_commit(struct gguf_writer *w, struct err *e)
{
    if (!w->begun) begin(w);
    if (!w->fault.code && w->next != w->n_tensors)
        err(&w->fault, ERR_INTERNAL, "%s: data of %" PRIu64 " of %" PRIu64 " tensors", w->path.z, w->next,
            w->n_tensors);
    if (!w->fault.code && fsync(w->fd)) err(&w->fault, ERR_IO, "%s: cannot write: %s", w->part.z, strerror(errno));
    if (!w->fault.code && rename(w->part.z, w->path.z))
        err(&w->fault, ERR_IO, "%s: cannot rename to %s: %s", w->part.z, w->path.z, strerror(errno));
    w->done = !w->fault.code;
    if (w->fault.code && e) *e = w->fault;
    return w->fault.code;
}

uint64_t gguf_write_bytes(const struct gguf_writer *w)
{
    return w->written;
}
