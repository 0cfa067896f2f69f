/* SPDX-License-Identifier: Apache-2.0 */
/* See stop.h. */
#include "token/stop.h"

#include <stdlib.h>
#include "base/utf8.h"

struct stop_string {
    char *p;
    uint16_t *border; /* [n]: length of the longest proper border of p[0..i] */
    size_t n, matched; /* bytes of p that end the text so far */
};
_Static_assert(STOP_BYTES_MAX <= UINT16_MAX, "border holds lengths");

static int add_string(struct stop *s, struct str text, struct err *e)
{
    if (text.n == 0) return err(e, ERR_USAGE, "a stop string is empty");
    if (text.n > STOP_BYTES_MAX)
        return err(e, ERR_USAGE, "a stop string has %zu bytes: at most %d", text.n, STOP_BYTES_MAX);
    if (utf8_valid(text) != text.n) return err(e, ERR_USAGE, "stop string '%.*s' is not UTF-8", STR_ARG(text));
    struct stop_string *t = &s->list[s->n++];
    t->p = malloc(text.n);
    t->border = calloc(text.n, sizeof *t->border);
    if (!t->p || !t->border) return err(e, ERR_MEMORY, "out of memory");
    memcpy(t->p, text.p, text.n);
    t->n = text.n;
    for (size_t i = 1, k = 0; i < t->n; i++) {
        while (k && t->p[i] != t->p[k]) k = t->border[k - 1];
        if (t->p[i] == t->p[k]) k++;
        t->border[i] = (uint16_t)k;
    }
    return 0;
}

int stop_init(struct stop *s, const struct str *list, int n, struct err *e)
{
    size_t longest = 1;
    int rc = 0;
    *s = (struct stop){0};
    if (n > STOP_STRINGS_MAX) return err(e, ERR_USAGE, "%d stop strings: at most %d", n, STOP_STRINGS_MAX);
    s->list = calloc((size_t)n + 1, sizeof *s->list);
    if (!s->list) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < n && !rc; i++) {
        rc = add_string(s, list[i], e);
        if (list[i].n > longest) longest = list[i].n;
    }
    if (!rc && !(s->held = malloc(longest))) rc = err(e, ERR_MEMORY, "out of memory");
    if (rc) stop_finish(s);
    return rc;
}

void stop_finish(struct stop *s)
{
    for (int i = 0; i < s->n; i++) {
        free(s->list[i].p);
        free(s->list[i].border);
    }
    free(s->list);
    free(s->held);
    *s = (struct stop){0};
}

void stop_reset(struct stop *s)
{
    for (int i = 0; i < s->n; i++) s->list[i].matched = 0;
    s->n_held = 0;
    s->hit = false;
    s->met = (struct str){NULL, 0};
}

/* The longest stop string that ends with byte c; n 0: none. */
static struct str step_all(struct stop *s, char c)
{
    struct str found = {NULL, 0};
    for (int i = 0; i < s->n; i++) {
        struct stop_string *t = &s->list[i];
        size_t k = t->matched;
        while (k && t->p[k] != c) k = t->border[k - 1];
        if (t->p[k] == c) k++;
        if (k == t->n && k > found.n) found = (struct str){t->p, t->n};
        t->matched = k == t->n ? 0 : k; /* after a full match the text has ended */
    }
    return found;
}

bool stop_feed(struct stop *s, struct str text, struct buf *out)
{
    if (s->hit) return true;
    buf_append(out, s->held, s->n_held);
    for (size_t i = 0; i < text.n; i++) {
        buf_append_char(out, text.p[i]);
        struct str found = step_all(s, text.p[i]);
        if (!found.n) continue;
        if (!out->failed) out->p[out->n -= found.n] = 0;
        s->met = found;
        s->n_held = 0;
        return s->hit = true;
    }
    s->n_held = 0;
    for (int i = 0; i < s->n; i++)
        if (s->list[i].matched > s->n_held) s->n_held = s->list[i].matched;
    if (out->failed || s->n_held == 0) return false;
    out->n -= s->n_held;
    memcpy(s->held, out->p + out->n, s->n_held);
    out->p[out->n] = 0;
    return false;
}

void stop_flush(struct stop *s, struct buf *out)
{
    if (!s->hit) buf_append(out, s->held, s->n_held);
    stop_reset(s);
}
