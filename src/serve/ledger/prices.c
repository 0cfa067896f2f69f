/* SPDX-License-Identifier: Apache-2.0 */
/* See prices.h. Not read by inih as other files are: it cuts section names at 49 bytes without a word, and it
 * does not tell of a section without values, which here means "free". */
#include "serve/ledger/prices.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "serve/ledger/keys.h"

enum { LINE_MAX_BYTES = 512 };

struct reader {
    struct prices *p;
    const char *file;
    int line;
    struct err *e;
};

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1])) s[--n] = 0;
    return s;
}

static int begin_section(struct reader *r, char *s)
{
    char *end = strchr(s, ']');
    if (!end || end[1] || end == s + 1)
        return err(r->e, ERR_FORMAT, "%s:%d: expected [model name], got '%s'", r->file, r->line, s);
    *end = 0;
    if (strlen(s + 1) >= PRICE_MODEL_MAX)
        return err(r->e, ERR_LIMIT, "%s:%d: the model name has more than %d bytes", r->file, r->line,
                   PRICE_MODEL_MAX - 1);
    if (r->p->n == PRICES_MAX)
        return err(r->e, ERR_LIMIT, "%s:%d: more than %d sections", r->file, r->line, PRICES_MAX);
    struct price *grown = realloc(r->p->price, (size_t)(r->p->n + 1) * sizeof *grown);
    if (!grown) return err(r->e, ERR_MEMORY, "out of memory");
    r->p->price = grown;
    struct price *p = &grown[r->p->n++];
    *p = (struct price){.cached = -1, .batch_percent = 100};
    snprintf(p->model, sizeof p->model, "%s", s + 1);
    return 0;
}

static int take_value(struct reader *r, char *s)
{
    char *eq = strchr(s, '=');
    struct err why = {0};
    int64_t v = 0;
    if (!eq)
        return err(r->e, ERR_FORMAT, "%s:%d: expected 'name = value' or [model name], got '%s'", r->file,
                   r->line, s);
    *eq = 0;
    const char *name = trim(s), *value = trim(eq + 1);
    if (!r->p->n)
        return err(r->e, ERR_FORMAT, "%s:%d: '%s' stands before the first [model name]", r->file, r->line,
                   name);
    struct price *p = &r->p->price[r->p->n - 1];
    int64_t *to = strcmp(name, "prompt") == 0   ? &p->prompt
                  : strcmp(name, "cached") == 0 ? &p->cached
                  : strcmp(name, "answer") == 0 ? &p->answer
                                                : NULL;
    bool batch = strcmp(name, "batch") == 0;
    if (!to && !batch)
        return err(r->e, ERR_FORMAT, "%s:%d: unknown '%s' (known: prompt, cached, answer, batch)", r->file,
                   r->line, name);
    if (money_parse(value, &v, &why)) return err(r->e, ERR_FORMAT, "%s:%d: %s: %s", r->file, r->line, name, why.msg);
    if (batch) {
        if (v % 1000000000 || v > 1000 * (int64_t)1000000000)
            return err(r->e, ERR_FORMAT, "%s:%d: batch is whole per cent up to 1000, got '%s'", r->file,
                       r->line, value);
        p->batch_percent = v / 1000000000;
        return 0;
    }
    if (v % 1000)
        return err(r->e, ERR_FORMAT, "%s:%d: %s has more than six decimals: '%s'", r->file, r->line, name,
                   value);
    *to = v / 1000; /* 1e-9 dollars per 1e6 tokens -> 1e-12 dollars per token */
    return 0;
}

int prices_parse(struct prices *p, const char *text, const char *name, struct err *e)
{
    struct reader r = {p, name, 0, e};
    int rc = 0;
    *p = (struct prices){0};
    while (*text && !rc) {
        char line[LINE_MAX_BYTES];
        size_t n = strcspn(text, "\n");
        r.line++;
        if (n >= sizeof line) {
            rc = err(e, ERR_LIMIT, "%s:%d: a line of more than %d bytes", name, r.line, LINE_MAX_BYTES - 1);
            break;
        }
        memcpy(line, text, n);
        line[n] = 0;
        line[strcspn(line, "#;")] = 0;
        char *s = trim(line);
        if (*s == '[')
            rc = begin_section(&r, s);
        else if (*s)
            rc = take_value(&r, s);
        text += n + (text[n] == '\n');
    }
    if (rc) prices_finish(p);
    return rc;
}

int prices_read(struct prices *p, const char *path, struct err *e)
{
    struct buf b;
    buf_init(&b, PRICES_FILE_MAX);
    int rc = buf_read_file(&b, path, e);
    if (rc && e) err_prefix(e, "prices");
    if (!rc) rc = prices_parse(p, b.p, path, e);
    buf_finish(&b);
    return rc;
}

void prices_finish(struct prices *p)
{
    free(p->price);
    *p = (struct prices){0};
}

int64_t prices_cost(const struct prices *p, const char *model, int64_t n_prompt, int64_t n_cached,
                    int64_t n_answer, bool batch)
{
    const struct price *x = NULL;
    for (int i = 0; i < p->n && !x; i++)
        if (fnmatch(p->price[i].model, model, 0) == 0) x = &p->price[i];
    if (!x) return 0;
    int64_t cached = x->cached < 0 ? x->prompt : x->cached;
    __int128 pico = (__int128)(n_prompt - n_cached) * x->prompt + (__int128)n_cached * cached +
                    (__int128)n_answer * x->answer;
    if (batch) pico = pico * x->batch_percent / 100;
    return (int64_t)((pico + 500) / 1000);
}
