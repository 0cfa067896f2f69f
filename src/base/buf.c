/* SPDX-License-Identifier: Apache-2.0 */
/* Growing byte buffer: see buf.h. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_finish(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = 0;
    if (b->p) b->p[0] = 0;
}

/* Makes room for n more bytes and the terminating NUL. */
static int reserve(struct buf *b, size_t n)
{
    if (b->failed) return b->failed;
    if (n > b->max || b->n > b->max - n) return b->failed = ERR_LIMIT;
    size_t need = b->n + n + 1;
    if (need <= b->cap) return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) cap += cap / 2 + 1;
    if (cap > b->max + 1) cap = b->max + 1;
    char *p = realloc(b->p, cap);
    if (!p) return b->failed = ERR_MEMORY;
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    int rc = reserve(b, n);
    if (rc) return rc;
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
    return 0;
}

int buf_append_str(struct buf *b, struct str s)
{
    return buf_append(b, s.p, s.n);
}

int buf_append_z(struct buf *b, const char *z)
{
    return buf_append(b, z, strlen(z));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, aq;
    va_start(ap, fmt);
    va_copy(aq, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int rc = n < 0 ? (b->failed = ERR_INTERNAL) : reserve(b, (size_t)n);
    if (rc == 0) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, aq);
        b->n += (size_t)n;
    }
    va_end(aq);
    return rc;
}

struct str buf_str(const struct buf *b)
{
    return (struct str){b->p ? b->p : "", b->n};
}

int buf_read(struct buf *b, FILE *f, const char *name, struct err *e)
{
    char block[16384];
    buf_append(b, "", 0);
    for (size_t n; !b->failed && (n = fread(block, 1, sizeof block, f)) > 0;) buf_append(b, block, n);
    if (b->failed == ERR_LIMIT) return err(e, ERR_LIMIT, "'%s' is too large: at most %zu bytes are read", name, b->max);
    if (b->failed) return err(e, b->failed, "out of memory for '%s'", name);
    return ferror(f) ? err(e, ERR_IO, "cannot read '%s': %s", name, strerror(errno)) : 0;
}

int buf_read_file(struct buf *b, const char *path, struct err *e)
{
    FILE *f = fopen(path, "re");
    if (!f) return err(e, ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    int rc = buf_read(b, f, path, e);
    fclose(f);
    return rc;
}
