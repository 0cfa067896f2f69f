/* SPDX-License-Identifier: Apache-2.0 */
/* See log.h. */
#include "serve/http/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "serve/http/json_out.h"

static atomic_bool quiet;

void log_quiet(void)
{
    atomic_store(&quiet, true);
}

static void begin(struct buf *b, const char *event)
{
    struct timespec t;
    struct tm utc;
    buf_init(b, LOG_LINE_MAX);
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &utc);
    buf_printf(b, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ\",\"event\":\"%s\"", utc.tm_year + 1900,
               utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, t.tv_nsec / 1000000, event);
}

static void end(struct buf *b)
{
    buf_append_z(b, "}\n");
    if (!b->failed && write(STDERR_FILENO, b->p, b->n) < 0) b->failed = 1; /* there is no other place to say so */
    buf_finish(b);
}

void log_event(const char *event, const char *fmt, ...)
{
    struct buf b;
    char more[4096] = "";
    va_list ap;
    if (atomic_load(&quiet) && strcmp(event, "fault") != 0) return;
    va_start(ap, fmt);
    int n = vsnprintf(more, sizeof more, fmt, ap);
    va_end(ap);
    begin(&b, event);
    if (n > 0 && (size_t)n < sizeof more) buf_append_z(&b, more);
    end(&b);
}

void log_request(const struct http_log *l)
{
    struct buf b;
    if (atomic_load(&quiet)) return;
    begin(&b, "request");
    buf_printf(&b, ",\"id\":\"%s\",\"remote\":\"%s\",\"method\":", l->id, l->remote);
    json_quote(&b, str_from(l->method));
    buf_append_z(&b, ",\"path\":");
    json_quote(&b, str_from(l->path));
    buf_printf(&b, ",\"status\":%d,\"seconds\":%.6f,\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64 "%s",
               l->vanished ? 499 : l->status, l->seconds, l->bytes_in, l->bytes_out,
               l->vanished ? ",\"vanished\":true" : "");
    buf_append_str(&b, l->extra);
    end(&b);
}
