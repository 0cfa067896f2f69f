/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: what is wrong with a request, in the words and numbers that its sender needs: HTTP status, type and
 * code as OpenAI names them, the field, and a message that says what was expected and what came.
 */
#ifndef TUTTI_SERVE_ASK_FAULT_H
#define TUTTI_SERVE_ASK_FAULT_H

#include <jansson.h>
#include "base/err.h"

enum { FAULT_PARAM_MAX = 96 };

struct fault {
    int status;             /* 0: none */
    const char *type, *code; /* static; code may be NULL */
    char param[FAULT_PARAM_MAX]; /* "" = none */
    char message[ERR_MSG_MAX];
};

/* All return an error code (base/err.h), so that a failure is one statement. */
int fault_set(struct fault *f, int status, const char *type, const char *code, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* 400: the field's value is not what it should be. */
int fault_field(struct fault *f, const char *param, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int fault_memory(struct fault *f); /* 503 */
/* An error from further down; code 0 leaves f alone. */
int fault_err(struct fault *f, const char *param, const struct err *e);

/* "string \"hot\"", "number 3", "an object": a JSON value in few words, for messages. */
enum { FAULT_GOT_MAX = 64 };
const char *fault_got(const json_t *v, char out[FAULT_GOT_MAX]);

#endif
