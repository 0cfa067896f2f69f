/* SPDX-License-Identifier: Apache-2.0 */
/* Traces from strangers; sim/load.h says what they look like. Names of groups become numbers in order of appearance. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "plan/op/table.h"
#include "plan/sim/load.h"

enum {
    FIELD_AT,
    FIELD_IN,
    FIELD_OUT,
    FIELD_GROUP,
    FIELD_PREFIX,
    N_FIELDS,
    SPELLINGS = 4,
    LINE_BYTES = 4096,
    LINE_MAX_BYTES = 1 << 20
};
static const double SECONDS_MAX = 1e9;

static const struct {
    const char *name;
    double scale;
} spelling[N_FIELDS][SPELLINGS] = {
    [FIELD_AT] = {{"arrival_s", 1}, {"timestamp", 1e-3}},
    [FIELD_IN] = {{"input_tokens", 1}, {"input_length", 1}, {"ContextTokens", 1}},
    [FIELD_OUT] = {{"output_tokens", 1}, {"output_length", 1}, {"GeneratedTokens", 1}},
    [FIELD_GROUP] = {{"prefix_group", 1}},
    [FIELD_PREFIX] = {{"prefix_tokens", 1}},
};

struct group {
    double id;
    int number; /* 0: the place is free */
};

struct reader {
    struct sim_load *l;
    int cap;
    struct group *groups; /* [cap_groups] open addressing */
    int n_groups, cap_groups;
    const char *path;
    struct err *e;
};

static size_t place_of(const struct group *g, int cap, double id)
{
    size_t i = hash_str((struct str){(const char *)&id, sizeof id}) % (size_t)cap;
    while (g[i].number && memcmp(&g[i].id, &id, sizeof id)) i = (i + 1) % (size_t)cap;
    return i;
}

static int grow_groups(struct reader *r)
{
    int cap = r->cap_groups ? 2 * r->cap_groups : 256;
    struct group *g = calloc((size_t)cap, sizeof *g);
    if (!g) return err(r->e, ERR_MEMORY, "out of memory for %d groups", cap);
    for (int i = 0; i < r->cap_groups; i++)
        if (r->groups[i].number) g[place_of(g, cap, r->groups[i].id)] = r->groups[i];
    free(r->groups);
    r->groups = g;
    r->cap_groups = cap;
    return 0;
}

static int group_number(struct reader *r, double id, int *number)
{
    if (2 * r->n_groups >= r->cap_groups && grow_groups(r)) return ERR_MEMORY;
    struct group *g = &r->groups[place_of(r->groups, r->cap_groups, id)];
    if (!g->number) *g = (struct group){id, ++r->n_groups};
    *number = g->number;
    return 0;
}

static int add(struct reader *r, const double v[N_FIELDS], long line)
{
    static const char *const what[N_FIELDS] = {"arrival", "tokens in", "tokens out", "prefix group", "prefix tokens"};
    static const double most[N_FIELDS] = {SECONDS_MAX, SIM_TOKENS_MAX / 4.0, SIM_TOKENS_MAX / 4.0, 9e15,
                                          SIM_TOKENS_MAX / 4.0};
    for (int f = 0; f < N_FIELDS; f++) {
        double least = f == FIELD_IN || f == FIELD_OUT;
        if (!(v[f] >= least && v[f] <= most[f]) || (f > FIELD_AT && v[f] != floor(v[f])))
            return err(r->e, ERR_FORMAT, "%s:%ld: %s is %g; expected %s in %g..%g", r->path, line, what[f],
                       v[f], f > FIELD_AT ? "a whole number" : "seconds", least, most[f]);
    }
    if (v[FIELD_PREFIX] > v[FIELD_IN])
        return err(r->e, ERR_FORMAT, "%s:%ld: a prefix of %g tokens in a prompt of %g", r->path, line,
                   v[FIELD_PREFIX], v[FIELD_IN]);
    if (r->l->n == SIM_REQUESTS_MAX)
        return err(r->e, ERR_LIMIT, "%s:%ld: more than %d requests", r->path, line, SIM_REQUESTS_MAX);
    if (r->l->n == r->cap) {
        int cap = r->cap ? 2 * r->cap : 1024;
        struct sim_request *q = realloc(r->l->requests, (size_t)cap * sizeof *q);
        if (!q) return err(r->e, ERR_MEMORY, "%s: out of memory for %d requests", r->path, cap);
        r->l->requests = q;
        r->cap = cap;
    }
    struct sim_request q = {
        .arrive_ns = (int64_t)(v[FIELD_AT] * 1e9), .prompt = (int)v[FIELD_IN], .answer = (int)v[FIELD_OUT]};
    if (v[FIELD_PREFIX] > 0) {
        q.prefix = (int)v[FIELD_PREFIX];
        if (group_number(r, v[FIELD_GROUP], &q.group)) return ERR_MEMORY;
    }
    r->l->requests[r->l->n++] = q;
    return 0;
}

static int absent(struct reader *r, int f, long line)
{
    return err(r->e, ERR_FORMAT,
               "%s:%ld: no '%s'%s%s%s; a trace needs arrival_s, input_tokens and output_tokens", r->path,
               line, spelling[f][0].name, spelling[f][1].name ? " (or '" : "",
               spelling[f][1].name ? spelling[f][1].name : "", spelling[f][1].name ? "')" : "");
}

static int read_table(struct reader *r)
{
    struct table *t = NULL;
    int column[N_FIELDS], more = 0, rc = table_open(&t, r->path, r->e);
    double scale[N_FIELDS] = {0};
    for (int f = 0; f < N_FIELDS && !rc; f++) {
        column[f] = -1;
        for (int k = 0; k < SPELLINGS && spelling[f][k].name && column[f] < 0; k++) {
            column[f] = table_column(t, spelling[f][k].name, NULL);
            scale[f] = spelling[f][k].scale;
        }
        if (column[f] < 0 && f <= FIELD_OUT) rc = absent(r, f, 1);
    }
    while (!rc && (more = table_next(t, r->e)) > 0) {
        double v[N_FIELDS] = {0};
        for (int f = 0; f < N_FIELDS && !rc; f++) {
            if (column[f] < 0 || (f >= FIELD_GROUP && table_cell(t, column[f]).n == 0)) continue;
            rc = table_number(t, column[f], &v[f], r->e);
            v[f] *= scale[f];
        }
        if (!rc) rc = add(r, v, table_line(t));
    }
    table_close(t);
    return rc ? rc : more;
}

static int read_object(struct reader *r, const char *text, size_t n, long line)
{
    json_error_t why;
    double v[N_FIELDS] = {0};
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    int rc = json_is_object(j)
                 ? 0
                 : err(r->e, ERR_FORMAT, "%s:%ld: %s", r->path, line, j ? "not a JSON object" : why.text);
    for (int f = 0; f < N_FIELDS && !rc; f++) {
        const json_t *x = NULL;
        for (int k = 0; k < SPELLINGS && spelling[f][k].name && !x; k++) {
            x = json_object_get(j, spelling[f][k].name);
            if (x) v[f] = json_is_number(x) ? json_number_value(x) * spelling[f][k].scale : -1; /* refused by add() */
        }
        if (!x && f <= FIELD_OUT) rc = absent(r, f, line);
    }
    json_decref(j);
    return rc ? rc : add(r, v, line);
}

/* A whole line into *text [*cap], which grows; 1, 0 at the end of the file, or an error. */
static int next_line(struct reader *r, FILE *f, char **text, size_t *cap, long line)
{
    size_t n = 0;
    for (;;) {
        if (n + 1 >= *cap) {
            size_t more = *cap ? 2 * *cap : LINE_BYTES;
            char *p = more <= LINE_MAX_BYTES ? realloc(*text, more) : NULL;
            if (more > LINE_MAX_BYTES)
                return err(r->e, ERR_LIMIT, "%s:%ld: longer than %d bytes", r->path, line, LINE_MAX_BYTES);
            if (!p) return err(r->e, ERR_MEMORY, "out of memory");
            *text = p, *cap = more;
        }
        if (!fgets(*text + n, (int)(*cap - n), f))
            return ferror(f) ? err(r->e, ERR_IO, "%s: %s", r->path, strerror(errno)) : n > 0;
        n += strlen(*text + n);
        if (n > 0 && (*text)[n - 1] == '\n') return 1;
        if (n + 1 < *cap) return 1; /* the last line, or a line with a zero byte, which no reader takes */
    }
}

static int read_lines(struct reader *r, FILE *f)
{
    char *text = NULL;
    size_t cap = 0;
    int rc = 1;
    for (long line = 1; rc > 0 && (rc = next_line(r, f, &text, &cap, line)) > 0; line++)
        if (text[strspn(text, " \t\r\n")] && (rc = read_object(r, text, strlen(text), line)) == 0) rc = 1;
    free(text);
    return rc;
}

static int by_arrival(const void *a, const void *b)
{
    const struct sim_request *x = a, *y = b;
    if (x->arrive_ns != y->arrive_ns) return x->arrive_ns < y->arrive_ns ? -1 : 1;
    if (x->prompt != y->prompt) return x->prompt < y->prompt ? -1 : 1;
    return (x->answer > y->answer) - (x->answer < y->answer);
}

int sim_load_read(struct sim_load *l, const char *path, struct err *e)
{
    struct reader r = {.l = l, .path = path, .e = e};
    *l = (struct sim_load){0};
    FILE *f = fopen(path, "rb");
    if (!f) return err(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path, strerror(errno));
    int first = getc(f);
    ungetc(first, f);
    int rc = first == '{' ? read_lines(&r, f) : read_table(&r);
    fclose(f);
    free(r.groups);
    if (!rc && l->n == 0) rc = err(e, ERR_FORMAT, "%s: no request", path);
    if (rc) {
        sim_load_finish(l);
        return rc;
    }
    qsort(l->requests, (size_t)l->n, sizeof *l->requests, by_arrival);
    int64_t start = l->requests[0].arrive_ns;
    for (int i = 0; i < l->n; i++) l->requests[i].arrive_ns -= start;
    return 0;
}
