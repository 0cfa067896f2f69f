/* SPDX-License-Identifier: Apache-2.0 */
/* See measured.h. */
#include "plan/op/measured.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void measured_init(struct measured *m)
{
    *m = (struct measured){0};
    arena_init(&m->arena);
}

void measured_close(struct measured *m)
{
    for (int i = 0; i < m->n; i++) free(m->groups[i]->rows);
    arena_finish(&m->arena);
    *m = (struct measured){0};
}

static bool same(const struct measured_group *g, const struct op_model *op, const char *chip,
                 const char *framework, const char *const *words)
{
    bool all = g->op == op && !strcmp(g->chip, chip) && !strcmp(g->framework, framework);
    for (int i = 0; all && i < OP_GROUP_MAX && op->group[i]; i++) all = !strcmp(g->words[i], words[i]);
    return all;
}

static int find_group(struct measured *m, struct measured_group **out, const struct op_model *op,
                      const char *chip, const char *framework, const char *const *words, struct err *e)
{
    for (int i = m->n; i-- > 0;) /* files are sorted: usually the last */
        if (same(m->groups[i], op, chip, framework, words)) {
            *out = m->groups[i];
            return 0;
        }
    if (m->n == MEASURED_GROUPS_MAX)
        return err(e, ERR_LIMIT, "more than %d groups of measurements", MEASURED_GROUPS_MAX);
    struct measured_group **all = arena_grow(&m->arena, m->groups, m->n, &m->cap, sizeof *all);
    struct measured_group *g = ARENA_NEW(&m->arena, struct measured_group, 1);
    if (!all || !g) return err(e, ERR_MEMORY, "out of memory");
    m->groups = all;
    g->op = op;
    g->chip = arena_strdup(&m->arena, str_from(chip));
    g->framework = arena_strdup(&m->arena, str_from(framework));
    bool ok = g->chip && g->framework;
    for (int i = 0; ok && i < OP_GROUP_MAX && op->group[i]; i++)
        ok = (g->words[i] = arena_strdup(&m->arena, str_from(words[i]))) != NULL;
    if (!ok) return err(e, ERR_MEMORY, "out of memory");
    *out = m->groups[m->n++] = g;
    return 0;
}

static int add_row(struct measured_group *g, const struct measured_row *r, struct err *e)
{
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 256;
        struct measured_row *rows = realloc(g->rows, cap * sizeof *rows);
        if (!rows) return err(e, ERR_MEMORY, "out of memory for %zu measurements", cap);
        g->rows = rows;
        g->cap = cap;
    }
    g->rows[g->n++] = *r;
    g->n_held += r->held;
    return 0;
}

uint64_t measured_hash(uint64_t h, struct str s)
{
    for (size_t i = 0; i <= s.n; i++) h = (h ^ (i < s.n ? (unsigned char)s.p[i] : ',')) * 0x100000001b3u;
    return h;
}

struct columns {
    int chip, framework, us, shape[OP_SHAPE_MAX], word[OP_GROUP_MAX];
};

static int find_columns(struct columns *c, const struct table *t, const struct op_model *op, struct err *e)
{
    const char *const *names[] = {op->shape, op->group};
    int *to[] = {c->shape, c->word}, max[] = {OP_SHAPE_MAX, OP_GROUP_MAX};
    if ((c->chip = table_column(t, "gpu", e)) < 0) return c->chip;
    if ((c->framework = table_column(t, "framework", e)) < 0) return c->framework;
    if ((c->us = table_column(t, "latency_us", e)) < 0) return c->us;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < max[k] && names[k][i]; i++)
            if ((to[k][i] = table_column(t, names[k][i], e)) < 0) return to[k][i];
    return 0;
}

static int take_row(struct measured *m, const struct table *t, const struct op_model *op,
                    const struct columns *c, struct err *e)
{
    struct measured_row r = {0};
    struct measured_group *g = NULL;
    const char *words[OP_GROUP_MAX] = {0};
    uint64_t h = measured_hash(0xcbf29ce484222325u, str_from(op->name));
    int rc = table_number(t, c->us, &r.us, e), n = 0;
    for (int i = 0; i < OP_GROUP_MAX && op->group[i]; i++) {
        words[i] = table_cell(t, c->word[i]).p;
        h = measured_hash(h, table_cell(t, c->word[i]));
    }
    for (; !rc && n < OP_SHAPE_MAX && op->shape[n]; n++) {
        rc = table_number(t, c->shape[n], &r.shape[n], e);
        h = measured_hash(h, table_cell(t, c->shape[n]));
        bool none = !strcmp(op->shape[n], "window_tokens") || !strcmp(op->shape[n], "message_bytes");
        if (!rc && !(r.shape[n] >= (none ? 0 : 1) && r.shape[n] <= MEASURED_SIZE_MAX))
            rc = err(e, ERR_FORMAT, "%s, line %ld: '%s' is %g", op->file, table_line(t), op->shape[n], r.shape[n]);
    }
    if (!rc && r.us <= 0)
        rc = err(e, ERR_FORMAT, "%s, line %ld: latency_us is %g, not above 0", op->file, table_line(t), r.us);
    if (rc) return rc;
    if (m->n_rows++ == MEASURED_ROWS_MAX) return err(e, ERR_LIMIT, "more than %d measurements", MEASURED_ROWS_MAX);
    if (op->words(words, r.shape)) {
        m->n_unknown++;
        return 0;
    }
    r.held = h % 5 == 0;
    rc = find_group(m, &g, op, table_cell(t, c->chip).p, table_cell(t, c->framework).p, words, e);
    return rc ? rc : add_row(g, &r, e);
}

int measured_read(struct measured *m, const char *dir, const struct op_model *op, struct err *e)
{
    char path[PATH_MAX];
    struct table *t = NULL;
    struct columns c;
    int rc = ERR_NOT_FOUND, got = 0;
    for (int gz = 0; gz < 2 && rc == ERR_NOT_FOUND; gz++) {
        if (snprintf(path, sizeof path, "%s/%s%s", dir, op->file, gz ? ".gz" : "") >= (int)sizeof path)
            return err(e, ERR_LIMIT, "the path of '%s' is too long", dir);
        rc = table_open(&t, path, e);
    }
    if (rc) return rc;
    rc = find_columns(&c, t, op, e);
    while (!rc && (got = table_next(t, e)) &&
           !(rc = table_skip(&m->odd, got < 0 ? got : take_row(m, t, op, &c, e), e))) {
    }
    table_close(t);
    return rc;
}
