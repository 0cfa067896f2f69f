/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. Three kinds, three treatments:
 *   the world is wrong    (file, network, request)   -> a negative code and, if the caller gave one, a struct err
 *   the program is wrong                             -> must(cond), stays on in release builds
 *   memory is out         at load: ERR_MEMORY; afterwards nothing allocates
 *
 * A failure is one statement that also returns:
 *   return err(e, ERR_FORMAT, "tensor '%s': offset %" PRIu64 " is past the end of the file (%" PRIu64 ")", ...);
 * The message says what, which, where, expected, got and, where it helps, what to do. One line, no newline.
 * Whoever sees the fault writes the message; callers add context with err_prefix only if they know more.
 */
#ifndef TUTTI_BASE_ERR_H
#define TUTTI_BASE_ERR_H

#include <stddef.h>

/* name, value, text, HTTP status, exit status */
#define ERR_LIST(X)                                                                                          \
    X(ERR_USAGE, -1, "wrong usage", 400, 2)                                                                  \
    X(ERR_IO, -2, "input or output error", 500, 3)                                                           \
    X(ERR_FORMAT, -3, "malformed data", 400, 4)                                                              \
    X(ERR_UNSUPPORTED, -4, "not supported", 501, 5)                                                          \
    X(ERR_MEMORY, -5, "out of memory", 503, 6)                                                               \
    X(ERR_LIMIT, -6, "a limit is exceeded", 413, 7)                                                          \
    X(ERR_NOT_FOUND, -7, "not found", 404, 8)                                                                \
    X(ERR_RANGE, -8, "a number left the contract's range", 422, 9)                                           \
    X(ERR_NETWORK, -9, "network error", 502, 10)                                                             \
    X(ERR_MISMATCH, -10, "contents differ from what was expected", 422, 11)                                  \
    X(ERR_CANCELLED, -11, "cancelled", 499, 130)                                                             \
    X(ERR_INTERNAL, -12, "internal error", 500, 70)                                                          \
    X(ERR_BUSY, -13, "too busy", 429, 75)

enum err_code {
    ERR_NONE = 0,
#define X(name, value, text, http, exit_status) name = value,
    ERR_LIST(X)
#undef X
};

#define ERR_MSG_MAX 1024

struct err {
    int code;              /* 0 or an enum err_code */
    char msg[ERR_MSG_MAX]; /* one line, no newline */
};

/* Fills *e (if not NULL) and returns code. Control characters in the message are replaced by '?'. */
int err(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "text: " before the message of an error; returns its code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_text(int code);     /* "malformed data" */
int err_http_status(int code);      /* 400 */
int err_exit_status(int code);      /* 4 */

/* A broken invariant of our own: prints file, line and condition, and aborts. */
#define must(cond) ((cond) ? (void)0 : must_fail(__FILE__, __LINE__, #cond))
_Noreturn void must_fail(const char *file, int line, const char *cond);

#endif
