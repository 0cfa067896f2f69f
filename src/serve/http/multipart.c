/* SPDX-License-Identifier: Apache-2.0 */
/* See multipart.h. */
#include "serve/http/multipart.h"

#include <stdbool.h>
#include <stdio.h>
#include <strings.h>

/* The value of a parameter, key=value or key="value", in a header; p NULL: there is none. */
static struct str find_param(struct str header, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i + n + 1 < header.n; i++) {
        bool begins = i == 0 || header.p[i - 1] == ';' || header.p[i - 1] == ' ' || header.p[i - 1] == '\t';
        if (!begins || strncasecmp(header.p + i, key, n) != 0 || header.p[i + n] != '=') continue;
        struct str v = {header.p + i + n + 1, header.n - i - n - 1};
        bool quoted = v.n && *v.p == '"';
        if (quoted) v.p++, v.n--;
        size_t end = 0;
        while (end < v.n && (quoted ? v.p[end] != '"' : v.p[end] != ';' && v.p[end] != ' ')) end++;
        return (struct str){v.p, end};
    }
    return (struct str){NULL, 0};
}

int multipart_begin(struct multipart *m, const char *content_type, struct str body, struct err *e)
{
    static const char kind[] = "multipart/form-data";
    *m = (struct multipart){.rest = body};
    if (!content_type || strncasecmp(content_type, kind, sizeof kind - 1) != 0)
        return err(e, ERR_FORMAT, "expected a body of %s, got %.60s", kind, content_type ? content_type : "none");
    struct str b = find_param(str_from(content_type), "boundary");
    if (!b.p || b.n < 1 || b.n > MULTIPART_BOUNDARY_MAX)
        return err(e, ERR_FORMAT, "%s: expected a boundary of 1..%d bytes, got %zu", kind,
                   MULTIPART_BOUNDARY_MAX, b.n);
    m->n_boundary = (size_t)snprintf(m->boundary, sizeof m->boundary, "\r\n--%.*s", (int)b.n, b.p);
    /* the first boundary may stand at the very beginning, without its line break */
    if (!str_starts(body, (struct str){m->boundary + 2, m->n_boundary - 2})) {
        const char *at = memmem(body.p, body.n, m->boundary, m->n_boundary);
        if (!at) return err(e, ERR_FORMAT, "%s: the boundary is not in the body", kind);
        m->rest = (struct str){at + 2, body.n - (size_t)(at - body.p) - 2};
    }
    m->rest.p += m->n_boundary - 2;
    m->rest.n -= m->n_boundary - 2;
    return 0;
}

/* Headers of a part: only Content-Disposition is of use. */
static void read_headers(struct str head, struct multipart_part *part)
{
    static const char want[] = "Content-Disposition:";
    while (head.n) {
        const char *end = memmem(head.p, head.n, "\r\n", 2);
        struct str line = {head.p, end ? (size_t)(end - head.p) : head.n};
        if (line.n >= sizeof want - 1 && strncasecmp(line.p, want, sizeof want - 1) == 0) {
            part->name = find_param(line, "name");
            part->filename = find_param(line, "filename");
        }
        size_t used = line.n + (end ? 2 : 0);
        head = (struct str){head.p + used, head.n - used};
    }
}

int multipart_next(struct multipart *m, struct multipart_part *part, struct err *e)
{
    struct str r = m->rest;
    *part = (struct multipart_part){0};
    if (str_starts(r, STR("--"))) return 0;
    if (!str_starts(r, STR("\r\n")))
        return err(e, ERR_FORMAT, "multipart/form-data: expected a line break after the boundary of part %d",
                   m->n_parts);
    if (++m->n_parts > MULTIPART_PARTS_MAX)
        return err(e, ERR_LIMIT, "multipart/form-data: more than %d parts", MULTIPART_PARTS_MAX);
    const char *blank = memmem(r.p, r.n, "\r\n\r\n", 4);
    if (!blank) return err(e, ERR_FORMAT, "multipart/form-data: part %d has no end of its headers", m->n_parts);
    if (blank > r.p) read_headers((struct str){r.p + 2, (size_t)(blank - r.p) - 2}, part);
    struct str data = {blank + 4, r.n - (size_t)(blank - r.p) - 4};
    const char *end = memmem(data.p, data.n, m->boundary, m->n_boundary);
    if (!end) return err(e, ERR_FORMAT, "multipart/form-data: part %d is cut off", m->n_parts);
    part->data = (struct str){data.p, (size_t)(end - data.p)};
    m->rest = (struct str){end + m->n_boundary, data.n - (size_t)(end - data.p) - m->n_boundary};
    return 1;
}
