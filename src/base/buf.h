/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a maximum, given at init with a named constant of the user. Going past it sets `failed`
 * (ERR_LIMIT) and so does running out of memory (ERR_MEMORY); later appends do nothing, so a caller may check once
 * at the end. A zeroed struct is valid for buf_finish.
 */
#ifndef TUTTI_BASE_BUF_H
#define TUTTI_BASE_BUF_H

#include <stddef.h>
#include <stdio.h>
#include "base/err.h"
#include "base/str.h"

struct buf {
    char *p;     /* bytes; NUL-terminated after any append (the NUL is not counted) */
    size_t n;    /* bytes used */
    size_t cap;  /* bytes allocated */
    size_t max;  /* bytes allowed */
    int failed;  /* 0, ERR_LIMIT or ERR_MEMORY */
};

void buf_init(struct buf *b, size_t max);
void buf_finish(struct buf *b);
void buf_clear(struct buf *b); /* n = 0, failed = 0, memory kept */
int buf_append(struct buf *b, const void *p, size_t n);
int buf_append_str(struct buf *b, struct str s);
int buf_append_z(struct buf *b, const char *z);
int buf_append_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends all of a file, or of a stream that messages call `name`; one that has no end stops at the maximum. */
int buf_read_file(struct buf *b, const char *path, struct err *e);
int buf_read(struct buf *b, FILE *f, const char *name, struct err *e);
struct str buf_str(const struct buf *b); /* view of the contents, valid until the next append */

#endif
