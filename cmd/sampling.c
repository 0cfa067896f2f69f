/* SPDX-License-Identifier: Apache-2.0 */
/* See sampling.h. */
#include "sampling.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { INT_ABSENT = INT_MIN };

enum field_kind { FIELD_FLOAT, FIELD_INT, FIELD_SEED };

static const struct field {
    const char *name, *key; /* key of the model file, or NULL */
    enum field_kind kind;
    size_t at;
} fields[] = {
#define AT(f) offsetof(struct sampler_params, f)
    {"temperature", "general.sampling.temp", FIELD_FLOAT, AT(temperature)},
    {"top_k", "general.sampling.top_k", FIELD_INT, AT(top_k)},
    {"top_p", "general.sampling.top_p", FIELD_FLOAT, AT(top_p)},
    {"min_p", "general.sampling.min_p", FIELD_FLOAT, AT(min_p)},
    {"repetition_penalty", "general.sampling.penalty_repeat", FIELD_FLOAT, AT(repetition_penalty)},
    {"frequency_penalty", NULL, FIELD_FLOAT, AT(frequency_penalty)},
    {"presence_penalty", NULL, FIELD_FLOAT, AT(presence_penalty)},
    {"penalty_last", "general.sampling.penalty_last_n", FIELD_INT, AT(penalty_last)},
    {"seed", NULL, FIELD_SEED, AT(seed)},
#undef AT
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static void *at(struct sampler_params *p, const struct field *f)
{
    return (char *)p + f->at;
}

static const void *at_const(const struct sampler_params *p, const struct field *f)
{
    return (const char *)p + f->at;
}

void sampling_init(struct sampling *s)
{
    uint32_t seed;
    *s = (struct sampling){0};
    for (int i = 0; i < N_FIELDS; i++) {
        if (fields[i].kind == FIELD_FLOAT) *(float *)at(&s->given, &fields[i]) = NAN;
        if (fields[i].kind == FIELD_INT) *(int *)at(&s->given, &fields[i]) = INT_ABSENT;
    }
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = (uint32_t)time(NULL) * 2654435761u ^ (uint32_t)getpid();
    s->given.seed = seed;
}

/* A value of the file that makes no sense is an error that names its key. */
static int read_key(const struct gguf *g, const struct field *f, struct sampler_params *p, struct err *e)
{
    int64_t v;
    int rc;
    if (!f->key || !gguf_find(g, f->key)) return 0;
    struct sampler_params t = *p;
    if (f->kind == FIELD_FLOAT) {
        if ((rc = gguf_get_f32(g, f->key, at(&t, f), e))) return rc;
    } else {
        if ((rc = gguf_get_i64(g, f->key, &v, e))) return rc;
        *(int *)at(&t, f) = v < INT_MIN + 1 || v > INT_MAX ? INT_MIN + 1 : (int)v;
    }
    if (sampler_params_check(&t, e)) return err_prefix(e, "key '%s'", f->key);
    *p = t;
    return 0;
}

static uint64_t n_weights(const struct gguf *g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        n += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; /* the reader checked that sizes do not overflow */
    }
    return n;
}

int sampling_resolve(const struct sampling *s, const struct gguf *file, struct sampler_params *p, struct err *e)
{
    int rc = 0;
    sampler_params_default(p);
    if (file && n_weights(file) < SAMPLING_SMALL) p->temperature = 0;
    for (int i = 0; i < N_FIELDS && !rc; i++) {
        const struct field *f = &fields[i];
        const void *given = at_const(&s->given, f);
        if (f->kind == FIELD_SEED)
            p->seed = s->given.seed;
        else if (f->kind == FIELD_FLOAT && !isnan(*(const float *)given))
            *(float *)at(p, f) = *(const float *)given;
        else if (f->kind == FIELD_INT && *(const int *)given != INT_ABSENT)
            *(int *)at(p, f) = *(const int *)given;
        else if (file)
            rc = read_key(file, f, p, e);
    }
    if (s->greedy) p->temperature = 0;
    return rc ? rc : sampler_params_check(p, e);
}

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !(*a == '-' && *b == '_')) return false;
    return !*a && !*b;
}

int sampling_set(struct sampler_params *p, const char *name, const char *value, struct err *e)
{
    struct sampler_params t = *p;
    const struct field *f = NULL;
    char *end, names[256] = "";
    for (int i = 0; i < N_FIELDS; i++) {
        if (same_name(name, fields[i].name)) f = &fields[i];
        strncat(names, i ? ", " : "", sizeof names - strlen(names) - 1);
        strncat(names, fields[i].name, sizeof names - strlen(names) - 1);
    }
    if (!f) return err(e, ERR_USAGE, "'%s' is no parameter; there are %s", name, names);
    errno = 0;
    if (f->kind == FIELD_FLOAT) {
        *(float *)at(&t, f) = strtof(value, &end);
    } else if (f->kind == FIELD_SEED) {
        t.seed = strtoull(value, &end, 0);
        if (*value == '-') end = NULL;
    } else {
        long v = strtol(value, &end, 10);
        if (v < INT_MIN + 1 || v > INT_MAX) errno = ERANGE;
        *(int *)at(&t, f) = (int)v;
    }
    if (!*value || !end || *end || errno == ERANGE)
        return err(e, ERR_USAGE, "%s takes a number, got '%s'", f->name, value);
    int rc = sampler_params_check(&t, e);
    if (!rc) *p = t;
    return rc;
}

void sampling_print(const struct sampler_params *p, struct buf *out)
{
    for (int i = 0; i < N_FIELDS; i++) {
        const void *v = at_const(p, &fields[i]);
        if (fields[i].kind == FIELD_FLOAT) buf_printf(out, "  %-20s %g\n", fields[i].name, (double)*(const float *)v);
        if (fields[i].kind == FIELD_INT) buf_printf(out, "  %-20s %d\n", fields[i].name, *(const int *)v);
        if (fields[i].kind == FIELD_SEED) buf_printf(out, "  %-20s %" PRIu64 "\n", fields[i].name, p->seed);
    }
}
