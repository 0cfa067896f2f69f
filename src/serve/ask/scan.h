/* SPDX-License-Identifier: Apache-2.0 */
/* scan: readers of the texts of calls. Each moves *s behind what it has read. */
#ifndef TUTTI_SERVE_ASK_SCAN_H
#define TUTTI_SERVE_ASK_SCAN_H

#include "base/str.h"

static inline void scan_skip(struct str *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

static inline bool scan_is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void scan_blanks(struct str *s)
{
    while (s->n && scan_is_blank(*s->p)) scan_skip(s, 1);
}

/* A character of the name of a function. */
static inline bool scan_is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static inline struct str scan_name(struct str *s)
{
    struct str name = {s->p, 0};
    while (name.n < s->n && scan_is_name(s->p[name.n])) name.n++;
    scan_skip(s, name.n);
    return name;
}

#endif
