/* SPDX-License-Identifier: Apache-2.0 */
/* See fault.h. */
#include "serve/ask/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/utf8.h"

__attribute__((format(printf, 6, 0))) static void fill(struct fault *f, int status, const char *type,
                                                       const char *code, const char *param, const char *fmt,
                                                       va_list ap)
{
    *f = (struct fault){.status = status, .type = type, .code = code};
    snprintf(f->param, sizeof f->param, "%s", param ? param : "");
    vsnprintf(f->message, sizeof f->message, fmt, ap);
}

int fault_set(struct fault *f, int status, const char *type, const char *code, const char *param, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(f, status, type, code, param, fmt, ap);
    va_end(ap);
    return ERR_USAGE;
}

int fault_field(struct fault *f, const char *param, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(f, 400, "invalid_request_error", NULL, param, fmt, ap);
    va_end(ap);
    return ERR_USAGE;
}

int fault_memory(struct fault *f)
{
    return fault_set(f, 503, "unavailable_error", NULL, NULL, "out of memory");
}

/* What a client may do about it: change the request, come again, or nothing. */
static const char *type_of(int status)
{
    if (status == 404) return "not_found_error";
    if (status == 429) return "rate_limit_error";
    if (status < 500 || status == 501) return "invalid_request_error";
    return status == 503 ? "unavailable_error" : "server_error";
}

int fault_err(struct fault *f, const char *param, const struct err *e)
{
    if (!e->code) return 0;
    int status = err_http_status(e->code);
    if (e->code == ERR_LIMIT || e->code == ERR_UNSUPPORTED) status = 400;
    fault_set(f, status, type_of(status), e->code == ERR_BUSY ? "overloaded" : NULL, param, "%s", e->msg);
    return e->code;
}

const char *fault_got(const json_t *v, char out[FAULT_GOT_MAX])
{
    char text[FAULT_GOT_MAX - 16];
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: snprintf(out, FAULT_GOT_MAX, "an array of %zu", json_array_size(v)); break;
    case JSON_STRING:
        snprintf(text, sizeof text, "%s", json_string_value(v));
        text[utf8_valid(str_from(text))] = 0;
        snprintf(out, FAULT_GOT_MAX, "the string \"%s\"", text);
        break;
    case JSON_INTEGER: snprintf(out, FAULT_GOT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL: snprintf(out, FAULT_GOT_MAX, "%.9g", json_real_value(v)); break;
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return out;
}
