/* SPDX-License-Identifier: Apache-2.0 */
/* The server's log: one JSON object a line on standard error, each line by one write. Keys and texts of users
 * never appear. */
#ifndef TUTTI_SERVE_HTTP_LOG_H
#define TUTTI_SERVE_HTTP_LOG_H

#include "serve/http/http.h"

enum { LOG_LINE_MAX = 16 << 10 };

/* {"time":...,"event":"loaded"...}: fmt gives further members, each with a comma before: ,"model":"x" */
void log_event(const char *event, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_request(const struct http_log *l);
/* Nothing but faults from now on. */
void log_quiet(void);

#endif
