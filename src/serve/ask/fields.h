/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields: a JSON object into a C struct, by a table. A field that is absent or null leaves its place alone,
 * an unknown one is ignored; a wrong type or a number out of range is a fault that names field, expectation
 * and what came.
 */
#ifndef TUTTI_SERVE_ASK_FIELDS_H
#define TUTTI_SERVE_ASK_FIELDS_H

#include <stddef.h>
#include "serve/ask/fault.h"

enum field_kind {
    FIELD_BOOL,   /* bool */
    FIELD_INT,    /* int */
    FIELD_I64,    /* int64_t, any */
    FIELD_FLOAT,  /* float */
    FIELD_STRING, /* const char *, borrowed from the object */
    FIELD_ARRAY,  /* const json_t *, borrowed */
    FIELD_OBJECT, /* const json_t *, borrowed */
    FIELD_ANY,    /* const json_t *, borrowed */
};

struct field {
    const char *name; /* NULL ends the table */
    enum field_kind kind;
    size_t at;        /* offsetof */
    double min, max;  /* of numbers; both 0: any */
    unsigned where;   /* a bit for each API that knows the field; 0: all */
};

/* where: the bit of the API that asks. */
int fields_read(const struct field *table, unsigned where, const json_t *object, void *to, struct fault *f);

#endif
