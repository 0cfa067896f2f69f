/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF: reading values. Lengths and nesting were checked when the file was opened; here a value is converted
 * to what the caller asked for, or the message says which key holds what instead.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "file/gguf_int.h"

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [GGUF_U8] = {"uint8", 1},    [GGUF_I8] = {"int8", 1},    [GGUF_U16] = {"uint16", 2},
    [GGUF_I16] = {"int16", 2},   [GGUF_U32] = {"uint32", 4}, [GGUF_I32] = {"int32", 4},
    [GGUF_F32] = {"float32", 4}, [GGUF_BOOL] = {"bool", 1},  [GGUF_STR] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"uint64", 8}, [GGUF_I64] = {"int64", 8},
    [GGUF_F64] = {"float64", 8},
};

size_t gguf_type_bytes(uint32_t t)
{
    return t < sizeof types / sizeof *types ? types[t].bytes : 0;
}

const char *gguf_type_name(enum gguf_type t)
{
    return (size_t)t < sizeof types / sizeof *types ? types[t].name : "?";
}

size_t gguf_n_keys(const struct gguf *g)
{
    return g->n_keys;
}

const struct gguf_key *gguf_key_at(const struct gguf *g, size_t i)
{
    return i < g->n_keys ? &g->key[i] : NULL;
}

/* --- single values --- */

struct number {
    enum { SIGNED, UNSIGNED, REAL } kind;
    int64_t i;
    uint64_t u;
    double f;
};

static bool read_number(const struct gguf_key *k, uint64_t i, struct number *v)
{
    enum gguf_type t = k->type == GGUF_ARRAY ? k->elem : k->type;
    size_t size = gguf_type_bytes(t);
    if (!size || i >= k->n) return false;
    const uint8_t *p = k->p + i * size;
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } x;
    memcpy(&x, p, size);
    switch (t) {
    case GGUF_U8:
    case GGUF_BOOL:
        *v = (struct number){.kind = UNSIGNED, .u = x.u8};
        return true;
    case GGUF_U16:
        *v = (struct number){.kind = UNSIGNED, .u = x.u16};
        return true;
    case GGUF_U32:
        *v = (struct number){.kind = UNSIGNED, .u = x.u32};
        return true;
    case GGUF_U64:
        *v = (struct number){.kind = UNSIGNED, .u = x.u64};
        return true;
    case GGUF_I8:
        *v = (struct number){.kind = SIGNED, .i = x.i8};
        return true;
    case GGUF_I16:
        *v = (struct number){.kind = SIGNED, .i = x.i16};
        return true;
    case GGUF_I32:
        *v = (struct number){.kind = SIGNED, .i = x.i32};
        return true;
    case GGUF_I64:
        *v = (struct number){.kind = SIGNED, .i = x.i64};
        return true;
    case GGUF_F32:
        *v = (struct number){.kind = REAL, .f = (double)x.f32};
        return true;
    case GGUF_F64:
        *v = (struct number){.kind = REAL, .f = x.f64};
        return true;
    case GGUF_STR:
    case GGUF_ARRAY:
        break;
    }
    return false;
}

bool gguf_value_i64(const struct gguf_key *k, uint64_t i, int64_t *out)
{
    struct number v;
    if (!read_number(k, i, &v) || v.kind == REAL || (v.kind == UNSIGNED && v.u > INT64_MAX)) return false;
    *out = v.kind == SIGNED ? v.i : (int64_t)v.u;
    return true;
}

bool gguf_value_u64(const struct gguf_key *k, uint64_t i, uint64_t *out)
{
    struct number v;
    if (!read_number(k, i, &v) || v.kind == REAL || (v.kind == SIGNED && v.i < 0)) return false;
    *out = v.kind == SIGNED ? (uint64_t)v.i : v.u;
    return true;
}

bool gguf_value_f64(const struct gguf_key *k, uint64_t i, double *out)
{
    struct number v;
    if (!read_number(k, i, &v) || v.kind != REAL) return false;
    *out = v.f;
    return true;
}

bool gguf_value_str(const struct gguf_key *k, size_t *pos, struct str *out)
{
    uint64_t n;
    if ((k->type == GGUF_ARRAY ? k->elem : k->type) != GGUF_STR || *pos >= k->bytes) return false;
    memcpy(&n, k->p + *pos, 8);
    *out = (struct str){(const char *)k->p + *pos + 8, (size_t)n};
    *pos += 8 + (size_t)n;
    return true;
}

/* --- typed lookups --- */

static int want(const struct gguf *g, const char *key, const struct gguf_key **k, struct err *e)
{
    *k = gguf_find(g, key);
    return *k ? 0 : err(e, ERR_NOT_FOUND, "key '%s' is missing", key);
}

static int wrong_type(const struct gguf_key *k, const char *expected, struct err *e)
{
    if (k->type == GGUF_ARRAY)
        return err(e, ERR_FORMAT, "key '%.*s': expected %s, got array of %s", STR_ARG(k->name), expected,
                   gguf_type_name(k->elem));
    return err(e, ERR_FORMAT, "key '%.*s': expected %s, got %s", STR_ARG(k->name), expected,
               gguf_type_name(k->type));
}

static bool is_int(enum gguf_type t)
{
    return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64;
}

static bool is_real(enum gguf_type t)
{
    return t == GGUF_F32 || t == GGUF_F64;
}

int gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out, struct err *e)
{
    const struct gguf_key *k;
    int64_t i = 0;
    int rc = want(g, key, &k, e);
    if (rc) return rc;
    if (!is_int(k->type)) return wrong_type(k, "uint64", e);
    if (gguf_value_u64(k, 0, out)) return 0;
    gguf_value_i64(k, 0, &i);
    return err(e, ERR_FORMAT, "key '%s': expected a number from 0, got %" PRId64, key, i);
}

int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct err *e)
{
    const struct gguf_key *k;
    uint64_t v;
    int rc = want(g, key, &k, e);
    if (rc) return rc;
    if (!is_int(k->type)) return wrong_type(k, "uint32", e);
    if ((rc = gguf_get_u64(g, key, &v, e))) return rc;
    if (v > UINT32_MAX)
        return err(e, ERR_FORMAT, "key '%s': expected a number up to %u, got %" PRIu64, key, UINT32_MAX, v);
    *out = (uint32_t)v;
    return 0;
}

int gguf_get_i64(const struct gguf *g, const char *key, int64_t *out, struct err *e)
{
    const struct gguf_key *k;
    int rc = want(g, key, &k, e);
    if (rc) return rc;
    if (!is_int(k->type)) return wrong_type(k, "int64", e);
    if (gguf_value_i64(k, 0, out)) return 0;
    return err(e, ERR_FORMAT, "key '%s': the number does not fit 63 bits", key);
}

/* Finite, and finite as a float. */
static bool to_float(double v, float *out)
{
    if (!isfinite(v) || fabs(v) > (double)FLT_MAX) return false;
    *out = (float)v;
    return true;
}

int gguf_get_f32(const struct gguf *g, const char *key, float *out, struct err *e)
{
    const struct gguf_key *k;
    double v;
    int rc = want(g, key, &k, e);
    if (rc) return rc;
    if (!is_real(k->type)) return wrong_type(k, "float32", e);
    if (!gguf_value_f64(k, 0, &v) || !to_float(v, out))
        return err(e, ERR_FORMAT, "key '%s': the number is not finite", key);
    return 0;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct err *e)
{
    const struct gguf_key *k;
    int rc = want(g, key, &k, e);
    if (rc) return rc;
    if (k->type != GGUF_BOOL) return wrong_type(k, "bool", e);
    *out = k->p[0] != 0;
    return 0;
}

int gguf_get_str(const struct gguf *g, const char *key, struct str *out, struct err *e)
{
    const struct gguf_key *k;
    size_t pos = 0;
    int rc = want(g, key, &k, e);
    if (rc) return rc;
    if (k->type != GGUF_STR) return wrong_type(k, "string", e);
    gguf_value_str(k, &pos, out);
    return 0;
}

int gguf_opt_u32(const struct gguf *g, const char *key, uint32_t fallback, uint32_t *out, struct err *e)
{
    if (gguf_find(g, key)) return gguf_get_u32(g, key, out, e);
    *out = fallback;
    return 0;
}

int gguf_opt_f32(const struct gguf *g, const char *key, float fallback, float *out, struct err *e)
{
    if (gguf_find(g, key)) return gguf_get_f32(g, key, out, e);
    *out = fallback;
    return 0;
}

int gguf_opt_bool(const struct gguf *g, const char *key, bool fallback, bool *out, struct err *e)
{
    if (gguf_find(g, key)) return gguf_get_bool(g, key, out, e);
    *out = fallback;
    return 0;
}

int gguf_opt_str(const struct gguf *g, const char *key, struct str fallback, struct str *out, struct err *e)
{
    if (gguf_find(g, key)) return gguf_get_str(g, key, out, e);
    *out = fallback;
    return 0;
}

/* --- arrays --- */

static int want_array(const struct gguf *g, const char *key, const struct gguf_key **k,
                      bool (*ok)(enum gguf_type), const char *expected, struct err *e)
{
    int rc = want(g, key, k, e);
    if (rc) return rc;
    if ((*k)->type != GGUF_ARRAY || !ok((*k)->elem)) return wrong_type(*k, expected, e);
    return 0;
}

static bool is_str(enum gguf_type t)
{
    return t == GGUF_STR;
}

static int no_memory(const struct gguf_key *k, struct err *e)
{
    return err(e, ERR_MEMORY, "key '%.*s': no memory for %" PRIu64 " elements", STR_ARG(k->name), k->n);
}

int gguf_get_strs(const struct gguf *g, const char *key, struct arena *a, struct str **out, size_t *n,
                  struct err *e)
{
    const struct gguf_key *k;
    int rc = want_array(g, key, &k, is_str, "array of string", e);
    if (rc) return rc;
    struct str *s = ARENA_NEW(a, struct str, (size_t)k->n);
    if (!s) return no_memory(k, e);
    size_t pos = 0;
    for (size_t i = 0; i < k->n; i++) gguf_value_str(k, &pos, &s[i]);
    *out = s;
    *n = (size_t)k->n;
    return 0;
}

int gguf_get_i32s(const struct gguf *g, const char *key, struct arena *a, int32_t **out, size_t *n,
                  struct err *e)
{
    const struct gguf_key *k;
    int rc = want_array(g, key, &k, is_int, "array of int32", e);
    if (rc) return rc;
    int32_t *v = ARENA_NEW(a, int32_t, (size_t)k->n);
    if (!v) return no_memory(k, e);
    for (size_t i = 0; i < k->n; i++) {
        int64_t x;
        if (!gguf_value_i64(k, i, &x) || x < INT32_MIN || x > INT32_MAX)
            return err(e, ERR_FORMAT, "key '%s': element %zu does not fit 32 bits", key, i);
        v[i] = (int32_t)x;
    }
    *out = v;
    *n = (size_t)k->n;
    return 0;
}

int gguf_get_f32s(const struct gguf *g, const char *key, struct arena *a, float **out, size_t *n,
                  struct err *e)
{
    const struct gguf_key *k;
    int rc = want_array(g, key, &k, is_real, "array of float32", e);
    if (rc) return rc;
    float *v = ARENA_NEW(a, float, (size_t)k->n);
    if (!v) return no_memory(k, e);
    for (size_t i = 0; i < k->n; i++) {
        double x;
        if (!gguf_value_f64(k, i, &x) || !to_float(x, &v[i]))
            return err(e, ERR_FORMAT, "key '%s': element %zu is not finite", key, i);
    }
    *out = v;
    *n = (size_t)k->n;
    return 0;
}
