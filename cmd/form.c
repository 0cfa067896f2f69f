/* SPDX-License-Identifier: Apache-2.0 */
/* See form.h. */
#include "form.h"

#include <stdlib.h>
#include "common.h"

static int compile_schema(struct grammar **g, struct str text, const char *path, struct err *e)
{
    json_error_t je;
    json_t *schema = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &je);
    if (!schema) return err(e, ERR_FORMAT, "%s, line %d: %s", path, je.line, je.text);
    int rc = grammar_compile_json_schema(g, schema, e);
    json_decref(schema);
    return rc;
}

int form_open(struct form *f, const struct text *t, int n_logits, struct err *e)
{
    char *text = NULL;
    size_t n = 0;
    int rc, given = !!f->json_schema + !!f->regex + !!f->grammar;
    if (!form_given(f)) return 0;
    if (given > 1) return err(e, ERR_USAGE, "of --json-schema, --regex and --grammar one can be given");
    const char *path = f->json_schema ? f->json_schema : f->grammar;
    if (path && (rc = common_read_file(path, &text, &n, e))) return rc;
    struct str s = {text, n};
    if (f->json_schema)
        rc = compile_schema(&f->g, s, path, e);
    else
        rc = f->grammar ? grammar_compile_gbnf(&f->g, s, e) : grammar_compile_regex(&f->g, str_from(f->regex), e);
    free(text);
    return rc ? rc : grammar_vocab_create(&f->vocab, t->tok, n_logits, e);
}

void form_close(struct form *f)
{
    grammar_unref(f->g);
    grammar_vocab_destroy(f->vocab);
    f->g = NULL;
    f->vocab = NULL;
}

int form_begin(const struct form *f, int room, int max_tokens, struct grammar_state **s, struct err *e)
{
    *s = NULL;
    if (!f->g) return 0;
    return grammar_state_create(s, f->g, f->vocab, max_tokens && max_tokens < room ? max_tokens : room, e);
}
