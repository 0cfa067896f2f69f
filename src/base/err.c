/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message is shown on terminals and in logs: bytes that could steer either are made harmless. */
static void clean(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
}

int err(struct err *e, int code, const char *fmt, ...)
{
    if (!e) return code;
    va_list ap;
    va_start(ap, fmt);
    e->code = code;
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    clean(e->msg);
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e) return ERR_INTERNAL;
    char old[ERR_MSG_MAX];
    memcpy(old, e->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof e->msg) n = (int)sizeof e->msg - 1;
    for (const char *p = ": "; *p && n < ERR_MSG_MAX - 1; p++) e->msg[n++] = *p;
    for (const char *p = old; *p && n < ERR_MSG_MAX - 1; p++) e->msg[n++] = *p;
    e->msg[n] = 0;
    clean(e->msg);
    return e->code;
}

struct row {
    int code, http, exit_status;
    const char *text;
};

static const struct row rows[] = {
#define X(name, value, text, http, exit_status) {name, http, exit_status, text},
    ERR_LIST(X)
#undef X
};

static const struct row *find(int code)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code) return &rows[i];
    return NULL;
}

const char *err_text(int code)
{
    const struct row *r = find(code);
    return r ? r->text : code == 0 ? "no error" : "unknown error";
}

int err_http_status(int code)
{
    const struct row *r = find(code);
    return r ? r->http : code == 0 ? 200 : 500;
}

int err_exit_status(int code)
{
    const struct row *r = find(code);
    return r ? r->exit_status : code == 0 ? 0 : 1;
}

_Noreturn void must_fail(const char *file, int line, const char *cond)
{
    fprintf(stderr, "tutti: internal error at %s:%d: %s\n", file, line, cond);
    abort();
}
