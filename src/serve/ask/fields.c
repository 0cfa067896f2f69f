/* SPDX-License-Identifier: Apache-2.0 */
/* See fields.h. */
#include "serve/ask/fields.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

static int refuse(struct fault *f, const struct field *t, const json_t *v, const char *what)
{
    char got[FAULT_GOT_MAX];
    if (t->min != 0 || t->max != 0)
        return fault_field(f, t->name, "'%s': expected %s in %.10g..%.10g, got %s", t->name, what, t->min,
                           t->max, fault_got(v, got));
    return fault_field(f, t->name, "'%s': expected %s, got %s", t->name, what, fault_got(v, got));
}

static int read_number(const struct field *t, const json_t *v, void *to, struct fault *f)
{
    bool whole = t->kind != FIELD_FLOAT;
    const char *what = whole ? "a whole number" : "a number";
    if (!json_is_number(v)) return refuse(f, t, v, what);
    double x = json_number_value(v);
    bool bounded = t->min != 0 || t->max != 0;
    if ((bounded && !(x >= t->min && x <= t->max)) || (whole && x != floor(x))) return refuse(f, t, v, what);
    if (t->kind == FIELD_FLOAT) {
        *(float *)to = (float)x;
    } else if (t->kind == FIELD_I64) {
        if (json_is_real(v) && !(fabs(x) < 9e18)) return refuse(f, t, v, "a whole number of 64 bits");
        *(int64_t *)to = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)x;
    } else {
        if (!(x >= INT_MIN && x <= INT_MAX)) return refuse(f, t, v, "a whole number of 32 bits");
        *(int *)to = (int)x;
    }
    return 0;
}

static int read_field(const struct field *t, const json_t *v, void *to, struct fault *f)
{
    switch (t->kind) {
    case FIELD_BOOL:
        if (!json_is_boolean(v)) return refuse(f, t, v, "true or false");
        *(bool *)to = json_is_true(v);
        return 0;
    case FIELD_INT:
    case FIELD_I64:
    case FIELD_FLOAT: return read_number(t, v, to, f);
    case FIELD_STRING:
        if (!json_is_string(v)) return refuse(f, t, v, "a string");
        *(const char **)to = json_string_value(v);
        return 0;
    case FIELD_ARRAY:
        if (!json_is_array(v)) return refuse(f, t, v, "an array");
        *(const json_t **)to = v;
        return 0;
    case FIELD_OBJECT:
        if (!json_is_object(v)) return refuse(f, t, v, "an object");
        *(const json_t **)to = v;
        return 0;
    case FIELD_ANY: *(const json_t **)to = v; return 0;
    }
    return 0;
}

int fields_read(const struct field *table, unsigned where, const json_t *object, void *to, struct fault *f)
{
    for (const struct field *t = table; t->name; t++) {
        const json_t *v = json_object_get(object, t->name);
        if (!v || json_is_null(v) || (t->where && !(t->where & where))) continue;
        int rc = read_field(t, v, (char *)to + t->at, f);
        if (rc) return rc;
    }
    return 0;
}
