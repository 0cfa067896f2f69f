/* SPDX-License-Identifier: Apache-2.0 */
/* Reader of datasheets: see sheet.h. libinih splits lines; this file counts them, so that messages have a place. */
#include "chip/sheet.h"

#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "chip/sheet_data.h"

const char *const evidence_name[] = {"measured", "fitted", "published", "assumed", "guessed"};
enum { N_EVIDENCE = EVIDENCE_GUESSED }; /* that a sheet may state: guesses are the user's */

struct reading {
    struct sheet *s;
    struct str text;
    size_t at;
    int line;
    struct err *e;
    int rc;
};

/* fgets over the text; counts lines and refuses what libinih would cut in two. */
static char *next_line(char *out, int cap, void *ud)
{
    struct reading *r = ud;
    if (r->at == r->text.n || r->rc) return NULL;
    const char *p = r->text.p + r->at, *nl = memchr(p, '\n', r->text.n - r->at);
    size_t n = nl ? (size_t)(nl - p) + 1 : r->text.n - r->at;
    r->line++;
    if (n + 2 > (size_t)cap) {
        r->rc = err(r->e, ERR_FORMAT, "%s:%d: a line of %zu bytes; at most %d are taken", r->s->file, r->line,
                    n, cap - 2);
        return NULL;
    }
    if (memchr(p, 0, n)) {
        r->rc = err(r->e, ERR_FORMAT, "%s:%d: a NUL byte", r->s->file, r->line);
        return NULL;
    }
    memcpy(out, p, n);
    out[n] = 0;
    r->at += n;
    return out;
}

static struct str trim(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    while (end > p && (end[-1] == ' ' || end[-1] == '\t')) end--;
    return (struct str){p, (size_t)(end - p)};
}

static int read_figure(struct reading *r, int i, const char *value)
{
    const struct sheet_figure *f = &r->s->figures[i];
    struct sheet_item *it = &r->s->items[i];
    const char *bar = strchr(value, '|'), *bar2 = bar ? strchr(bar + 1, '|') : NULL, *end = value + strlen(value);
#define REFUSE(...) (r->rc = sheet_fault(r->s, i, r->e, __VA_ARGS__))
    if (it->line) return REFUSE("given twice, first in line %d", it->line);
    it->line = r->line;
    if (!bar2) return REFUSE("expected 'number unit | class | source', got '%s'", value);
    char *after;
    errno = 0;
    it->value = strtod(value, &after);
    if (after == value && f->optional && strncmp(value, "n/p", 3) == 0) it->value = NAN, after += 3;
    else if (after == value || errno || !isfinite(it->value)) return REFUSE("'%s' does not start with a number", value);
    struct str unit = trim(after, bar), class = trim(bar + 1, bar2), source = trim(bar2 + 1, end);
    if (!str_eqz(unit, f->unit)) return REFUSE("unit '%.*s', expected '%s'", STR_ARG(unit), f->unit);
    if (it->value < f->min || it->value > f->max)
        return REFUSE("%g %s is outside %g..%g", it->value, f->unit, f->min, f->max);
    if (f->whole && it->value != (double)(int64_t)it->value) return REFUSE("%g must be a whole number", it->value);
    int k = 0;
    while (k < N_EVIDENCE && !str_eqz(class, evidence_name[k])) k++;
    if (k == N_EVIDENCE) return REFUSE("evidence '%.*s'; known: measured, fitted, published, assumed", STR_ARG(class));
    if (!source.n) return REFUSE("has no source");
#undef REFUSE
    it->evidence = (enum evidence)k;
    it->source = arena_strdup(&r->s->arena, source);
    return it->source ? 0 : (r->rc = err(r->e, ERR_MEMORY, "out of memory"));
}

static int read_about(struct reading *r, const char *key, const char *value)
{
    struct sheet *s = r->s;
    if (s->n_about == SHEET_TEXTS)
        return r->rc = err(r->e, ERR_LIMIT, "%s:%d: more than %d texts", s->file, r->line, SHEET_TEXTS);
    struct sheet_text *t = &s->about[s->n_about];
    t->key = arena_strdup(&s->arena, str_from(key));
    t->text = arena_strdup(&s->arena, str_from(value));
    if (!t->key || !t->text) return r->rc = err(r->e, ERR_MEMORY, "out of memory");
    s->n_about++;
    return 0;
}

static int take(void *ud, const char *section, const char *key, const char *value)
{
    struct reading *r = ud;
    if (r->rc) return 0;
    if (strcmp(section, "about") == 0) return read_about(r, key, value) == 0;
    if (!r->s->figures) return 1;
    for (int i = 0; i < r->s->n; i++)
        if (strcmp(section, r->s->figures[i].section) == 0 && strcmp(key, r->s->figures[i].key) == 0)
            return read_figure(r, i, value) == 0;
    r->rc = err(r->e, ERR_FORMAT, "%s:%d: '%s.%s' is not a figure of this chip", r->s->file, r->line, section, key);
    return 0;
}

int sheet_read(struct sheet *s, const char *name, struct str text, const struct sheet_figure *figures, int n,
               struct err *e)
{
    *s = (struct sheet){.figures = figures, .n = n};
    arena_init(&s->arena);
    s->file = arena_strdup(&s->arena, str_from(name));
    s->items = ARENA_NEW(&s->arena, struct sheet_item, (size_t)n + 1);
    for (int i = 0; s->items && i < n; i++) s->items[i].value = NAN;
    struct reading r = {.s = s, .text = text, .e = e};
    if (!s->file || !s->items) {
        r.rc = err(e, ERR_MEMORY, "out of memory");
    } else {
        int bad = ini_parse_stream(next_line, &r, take, &r);
        if (!r.rc && bad) r.rc = err(e, ERR_FORMAT, "%s:%d: neither '[section]' nor 'figure = ...'", name, bad);
    }
    for (int i = 0; i < n && !r.rc; i++)
        if (!s->items[i].line && !figures[i].optional)
            r.rc = err(e, ERR_FORMAT, "%s: '%s.%s' is missing", name, figures[i].section, figures[i].key);
    if (r.rc) sheet_close(s);
    return r.rc;
}

int sheet_open(struct sheet *s, const char *chip, const char *path, const struct sheet_figure *figures, int n,
               struct err *e)
{
    *s = (struct sheet){0};
    if (path) {
        struct buf text;
        buf_init(&text, SHEET_BYTES_MAX);
        int rc = buf_read_file(&text, path, e);
        if (!rc) rc = sheet_read(s, path, buf_str(&text), figures, n, e);
        buf_finish(&text);
        return rc;
    }
    for (const struct sheet_data *d = sheet_data; d->chip; d++) {
        char name[64];
        if (strcmp(d->chip, chip) != 0) continue;
        snprintf(name, sizeof name, "data/chips/%s.ini", chip);
        return sheet_read(s, name, (struct str){d->text, (size_t)(d->end - d->text)}, figures, n, e);
    }
    return err(e, ERR_NOT_FOUND, "chip '%s' has no datasheet", chip);
}

void sheet_close(struct sheet *s)
{
    arena_finish(&s->arena);
    *s = (struct sheet){0};
}

int sheet_assume(struct sheet *s, const char *text, struct err *e)
{
    for (int i = 0; i < s->n; i++) {
        const struct sheet_figure *f = &s->figures[i];
        size_t a = strlen(f->section), b = strlen(f->key);
        if (strncmp(text, f->section, a) || text[a] != '.' || strncmp(text + a + 1, f->key, b) ||
            text[a + 1 + b] != '=')
            continue;
        const char *number = text + a + b + 2;
        char *end;
        double v = strtod(number, &end);
        if (end == number || *end || !(v >= f->min && v <= f->max) || (f->whole && v != (double)(int64_t)v))
            return err(e, ERR_USAGE, "'%s': expected a %snumber of %s in %g..%g", text,
                       f->whole ? "whole " : "", f->unit, f->min, f->max);
        s->items[i] = (struct sheet_item){v, EVIDENCE_GUESSED, "assumed on the command line", 0};
        return 0;
    }
    return err(e, ERR_USAGE, "'%s': no figure of this name; 'tutti chips NAME' lists them, as SECTION.KEY=VALUE", text);
}

const char *sheet_about(const struct sheet *s, const char *key)
{
    for (int i = 0; i < s->n_about; i++)
        if (strcmp(s->about[i].key, key) == 0) return s->about[i].text;
    return "";
}

int sheet_fault(const struct sheet *s, int i, struct err *e, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err(e, ERR_FORMAT, "%s:%d: %s.%s: %s", s->file, s->items[i].line, s->figures[i].section,
               s->figures[i].key, text);
}

const char *sheet_chip(int i)
{
    return sheet_data[i].chip;
}
