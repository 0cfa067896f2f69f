/* SPDX-License-Identifier: Apache-2.0 */
/* See table.h. */
#include "plan/op/table.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct table {
    gzFile file;
    char *path;
    long line;
    int n_columns;
    struct str column[TABLE_COLUMNS_MAX], cell[TABLE_COLUMNS_MAX];
    char header[TABLE_LINE_MAX], text[TABLE_LINE_MAX];
};

/* One line into buf without its end: its length; -1 at the end of the file, else an error. */
static int read_line(struct table *t, char *buf, struct err *e)
{
    int fault = 0;
    if (!gzgets(t->file, buf, TABLE_LINE_MAX)) {
        const char *why = gzerror(t->file, &fault);
        return fault == Z_OK || fault == Z_STREAM_END
                   ? -1
                   : err(e, ERR_IO, "%s:%ld: cannot be read: %s", t->path, t->line + 1, why);
    }
    t->line++;
    size_t n = strlen(buf);
    if (n + 1 == TABLE_LINE_MAX && buf[n - 1] != '\n')
        return err(e, ERR_LIMIT, "%s:%ld: a line of more than %d bytes", t->path, t->line, TABLE_LINE_MAX - 2);
    while (n && (buf[n - 1] == '\n' || buf[n - 1] == '\r')) buf[--n] = 0;
    return (int)n;
}

/* A cell in quotes may hold commas; "" in it is a quote. What stands behind the closing quote belongs to it.
 * Shortens in place. */
static size_t unquote(char *cell, char **end)
{
    char *to = cell, *p = cell + 1;
    for (; *p && !(p[0] == '"' && p[1] != '"'); p++) {
        if (*p == '"') p++;
        *to++ = *p;
    }
    if (*p == '"') p++;
    while (*p && *p != ',') *to++ = *p++;
    *end = p;
    return (size_t)(to - cell);
}

static int split(struct table *t, char *buf, struct str *cells, struct err *e)
{
    int n_cells = 0;
    for (char *p = buf, *end;; p = end + 1) {
        if (n_cells == TABLE_COLUMNS_MAX)
            return err(e, ERR_LIMIT, "%s:%ld: more than %d columns", t->path, t->line, TABLE_COLUMNS_MAX);
        size_t n = *p == '"' ? unquote(p, &end) : (size_t)((end = p + strcspn(p, ",")) - p);
        bool more = *end == ',';
        p[n] = 0;
        cells[n_cells++] = (struct str){p, n};
        if (!more) return n_cells;
    }
}

int table_open(struct table **out, const char *path, struct err *e)
{
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, which some programs write first */
    struct table *t = calloc(1, sizeof *t);
    int n = -1, rc = 0;
    if (!t || !(t->path = strdup(path))) {
        free(t);
        return err(e, ERR_MEMORY, "out of memory");
    }
    errno = 0;
    t->file = gzopen(path, "rb");
    if (!t->file)
        rc = err(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path,
                 errno ? strerror(errno) : "cannot be opened");
    else if ((n = read_line(t, t->header, e)) < -1)
        rc = n;
    else if (n <= 0)
        rc = err(e, ERR_FORMAT, "%s: no header line", path);
    else if ((t->n_columns = split(t, t->header + (strncmp(t->header, mark, 3) ? 0 : 3), t->column, e)) < 0)
        rc = t->n_columns;
    if (rc) {
        table_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

void table_close(struct table *t)
{
    if (!t) return;
    if (t->file) gzclose(t->file);
    free(t->path);
    free(t);
}

int table_column(const struct table *t, const char *name, struct err *e)
{
    for (int i = 0; i < t->n_columns; i++)
        if (!strcmp(t->column[i].p, name)) return i;
    return err(e, ERR_FORMAT, "%s: no column '%s' in its header", t->path, name);
}

int table_next(struct table *t, struct err *e)
{
    int n;
    do n = read_line(t, t->text, e);
    while (n == 0);
    if (n < 0) return n == -1 ? 0 : n;
    if ((n = split(t, t->text, t->cell, e)) < 0) return n;
    if (n != t->n_columns)
        return err(e, ERR_FORMAT, "%s:%ld: %d cells, but the header has %d columns", t->path, t->line, n,
                   t->n_columns);
    return 1;
}

int table_skip(struct table_odd *o, int rc, const struct err *e)
{
    if (rc != ERR_FORMAT) return rc;
    if (!o->n++) o->first = *e;
    return 0;
}

struct str table_cell(const struct table *t, int column)
{
    return t->cell[column];
}

int table_number(const struct table *t, int column, double *out, struct err *e)
{
    const char *s = t->cell[column].p;
    char *end;
    double v = strtod(s, &end);
    if (end == s || *end || !isfinite(v))
        return err(e, ERR_FORMAT, "%s:%ld: column '%s' is '%.40s', not a number", t->path, t->line,
                   t->column[column].p, s);
    *out = v;
    return 0;
}

long table_line(const struct table *t)
{
    return t->line;
}
