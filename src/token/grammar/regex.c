/* SPDX-License-Identifier: Apache-2.0 */
/* Grammars of one regular expression, or of a list of texts. */
#include "token/grammar/text.h"

enum { CHOICES_MAX = 1 << 16 };

static int compile_regex(struct grammar *g, struct str pattern, uint32_t root, struct arena *a, struct err *e)
{
    struct pattern *p;
    struct dfa *d;
    int rc = pattern_parse(a, pattern, PATTERN_WHOLE, &p, &d, e);
    if (rc) return rc;
    uint32_t from = g->rule[root].start, to = g->rule[root].final;
    rc = d ? grammar_dfa(g, from, to, d, TEXT_PLAIN) : grammar_pattern(g, from, to, p, TEXT_PLAIN);
    return rc ? err(e, rc, "out of memory") : 0;
}

int grammar_compile_regex(struct grammar **out, struct str pattern, struct err *e)
{
    struct arena a;
    int rc;
    *out = NULL;
    if (pattern.n > GRAMMAR_TEXT_MAX)
        return err(e, ERR_LIMIT, "the regular expression has %zu bytes, at most %d are taken", pattern.n,
                   GRAMMAR_TEXT_MAX);
    if ((rc = grammar_create(out, e))) return rc;
    arena_init(&a);
    uint32_t root = grammar_rule(*out, "regex");
    rc = compile_regex(*out, pattern, root, &a, e);
    arena_finish(&a);
    if (!rc) return grammar_finish(out, root, e);
    grammar_unref(*out);
    *out = NULL;
    return rc;
}

int grammar_compile_choice(struct grammar **out, const struct str *choice, int n, struct err *e)
{
    size_t bytes = 0;
    int rc;
    *out = NULL;
    if (n < 1 || n > CHOICES_MAX) return err(e, ERR_USAGE, "%d choices: expected 1 to %d", n, CHOICES_MAX);
    for (int i = 0; i < n; i++) bytes += choice[i].n;
    if (bytes > GRAMMAR_TEXT_MAX)
        return err(e, ERR_LIMIT, "the choices have %zu bytes, at most %d are taken", bytes, GRAMMAR_TEXT_MAX);
    if ((rc = grammar_create(out, e))) return rc;
    uint32_t root = grammar_rule(*out, "choice");
    for (int i = 0; i < n; i++)
        grammar_eps(*out, grammar_literal(*out, (*out)->rule[root].start, choice[i]),
                    (*out)->rule[root].final);
    return grammar_finish(out, root, e);
}
