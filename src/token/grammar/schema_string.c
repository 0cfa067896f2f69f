/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings of JSON Schema. Lengths alone are a count on one loop over characters, which all strings of a grammar share.
 * A pattern is searched for in the text, as JSON Schema has it; several patterns, formats and lengths together are one
 * deterministic automaton.
 */
#include <stdlib.h>
#include "base/utf8.h"
#include "token/grammar/schema.h"

#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
#define WORD "[A-Za-z0-9]+(-[A-Za-z0-9]+)*" /* in addresses, where lengths are added often: few states */
#define HOST WORD "(\\." WORD ")*"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define HEX4 "[0-9a-fA-F]{1,4}"
#define DATE                                                                                                 \
    "[0-9]{3}[1-9]-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define URI_CHAR "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define URI_TAIL "(/" URI_CHAR "*)*(\\?(" URI_CHAR "|[/?])*)?(#(" URI_CHAR "|[/?])*)?"
#define URI "(https?|ftp)://" HOST "(:[0-9]{1,4})?" URI_TAIL "|(urn|mailto|tel|file|data):" URI_CHAR "+"
#define DURATION "P([0-9]{1,4}W|[0-9]{1,4}Y([0-9]{1,2}M([0-9]{1,2}D)?)?(T[0-9]{1,2}H([0-9]{1,2}M)?)?|[0-9]{1,2}M([0-9]{1,2}D)?|[0-9]{1,3}D|" \
    "T([0-9]{1,2}H([0-9]{1,2}M([0-9]{1,2}S)?)?|[0-9]{1,2}M([0-9]{1,2}S)?|[0-9]{1,2}S))"

/* Texts that satisfy the format; not all that do. Formats that are not listed are notes, as the standard has it. */
static const struct {
    const char *name, *regex;
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE "T" TIME},
    {"duration", DURATION},
    {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    {"email", "[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@" HOST},
    {"idn-email", "[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@" HOST},
    {"hostname", LABEL "(\\." LABEL "){0,6}"},
    {"idn-hostname", LABEL "(\\." LABEL "){0,6}"},
    {"ipv4", OCTET "(\\." OCTET "){3}"},
    {"ipv6", "(" HEX4 ":){7}" HEX4 "|(" HEX4 ":){1,6}:" HEX4 "|(" HEX4 ":){1,7}:|::" HEX4 "|::"},
    {"uri", URI},
    {"iri", URI},
    {"url", URI},
    {"uri-reference", URI "|" URI_TAIL},
    {"iri-reference", URI "|" URI_TAIL},
    {"json-pointer", "(/([^/~\\x00-\\x1F]|~[01])*)*"},
    {"regex", "[A-Za-z0-9_ -]*"},
};

const struct dfa *schema_pattern_dfa(struct schema *x, const char *pattern, const char *path)
{
    struct pattern *p;
    struct dfa *d = NULL;
    if (x->rc) return NULL;
    for (int i = 0; i < x->n_known; i++)
        if (strcmp(x->known[i].text, pattern) == 0) return x->known[i].dfa;
    int rc = pattern_parse(&x->a, str_from(pattern), PATTERN_SEARCH, &p, &d, x->e);
    if (!rc && p) rc = dfa_of_pattern(&x->a, p, &d, x->e);
    if (rc) {
        x->rc = rc;
        err_prefix(x->e, "schema at %.256s, keyword 'pattern'", path);
        return NULL;
    }
    struct known_pattern *list = arena_grow(&x->a, x->known, x->n_known, &x->cap_known, sizeof *list);
    char *text = arena_strdup(&x->a, str_from(pattern));
    if (!list || !text) return schema_no_memory(x), NULL;
    x->known = list;
    list[x->n_known++] = (struct known_pattern){text, d};
    return d;
}

static const char *regex_of_format(const json_t *format)
{
    const char *name = json_string_value(format);
    for (size_t i = 0; name && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0) return formats[i].regex;
    return NULL;
}

struct text_rules {
    int32_t min, max;
    const char *pattern, *pattern_path; /* the only condition besides lengths, if n is 1 */
    const char *format;
    int n;           /* patterns, formats and what must not match */
    bool excludes;   /* not-pattern or not-enum */
};

static struct text_rules read_rules(struct schema *x, const struct leaves *l)
{
    struct text_rules t = {.max = GRAMMAR_INF};
    for (int i = 0; i < l->n; i++) {
        const json_t *s = l->p[i].s, *v;
        int32_t min = schema_count(x, &l->p[i], "minLength", 0),
                max = schema_count(x, &l->p[i], "maxLength", GRAMMAR_INF);
        if (min > t.min) t.min = min;
        if (max < t.max) t.max = max;
        if ((v = json_object_get(s, "pattern"))) {
            if (!json_is_string(v)) schema_fail(x, ERR_FORMAT, l->p[i].path, "'pattern' is not a string");
            t.pattern = json_string_value(v);
            t.pattern_path = l->p[i].path;
            t.n++;
        }
        if (regex_of_format(json_object_get(s, "format"))) {
            t.format = regex_of_format(json_object_get(s, "format"));
            t.n++;
        }
        if (json_object_get(s, KEY_NOT_PATTERN) || json_object_get(s, KEY_NOT_ENUM)) t.excludes = true;
    }
    return t;
}

static const struct dfa *and_dfa(struct schema *x, const struct dfa *a, const struct dfa *b, const char *path)
{
    struct dfa *both = NULL;
    if (!a || !b || x->rc) return a ? a : b;
    x->rc = dfa_and(&x->a, a, b, &both, x->e);
    if (x->rc) err_prefix(x->e, "schema at %.256s", path);
    else schema_spend(x, path, (int64_t)a->n_state * b->n_state);
    return both;
}

static const struct dfa *without(struct schema *x, const struct dfa *a, const struct dfa *b, const char *path)
{
    struct dfa *no = NULL;
    if (!b || x->rc) return a;
    x->rc = dfa_not(&x->a, b, &no, x->e);
    return and_dfa(x, a, no, path);
}

static const struct dfa *whole_dfa(struct schema *x, const char *regex)
{
    struct pattern *p;
    struct dfa *d = NULL;
    if (x->rc) return NULL;
    x->rc = pattern_parse(&x->a, str_from(regex), PATTERN_WHOLE, &p, &d, x->e);
    if (!x->rc && p) x->rc = dfa_of_pattern(&x->a, p, &d, x->e);
    return x->rc ? NULL : d;
}

/* d without the strings of a list; d NULL: any text. */
static const struct dfa *without_list(struct schema *x, const struct dfa *d, const json_t *list, const char *path)
{
    struct str *text = ARENA_NEW(&x->a, struct str, json_array_size(list) + 1);
    struct dfa *out = NULL;
    int n = 0;
    size_t i;
    json_t *v;
    if (!text) return schema_no_memory(x), NULL;
    json_array_foreach (list, i, v)
        if (json_is_string(v)) text[n++] = (struct str){json_string_value(v), json_string_length(v)};
    if (!n) return d;
    if (!d) d = whole_dfa(x, "(?s).*");
    if (!x->rc && (x->rc = dfa_of_list(&x->a, text, n, &out, x->e))) err_prefix(x->e, "schema at %.256s", path);
    return without(x, d, out, path);
}

/* All conditions of l but lengths, as one automaton. */
static const struct dfa *conditions(struct schema *x, const struct leaves *l)
{
    const struct dfa *d = NULL;
    size_t k;
    json_t *v;
    for (int i = 0; i < l->n && !x->rc; i++) {
        const json_t *s = l->p[i].s;
        const char *path = l->p[i].path, *p = json_string_value(json_object_get(s, "pattern")),
                   *f = regex_of_format(json_object_get(s, "format"));
        if (p) d = and_dfa(x, d, schema_pattern_dfa(x, p, path), path);
        if (f) d = and_dfa(x, d, whole_dfa(x, f), path);
    }
    for (int i = 0; i < l->n && !x->rc; i++) {
        const json_t *s = l->p[i].s;
        const char *path = l->p[i].path;
        json_array_foreach (json_object_get(s, KEY_NOT_PATTERN), k, v) {
            if (!d) d = whole_dfa(x, "[ -~]*"); /* where dialects agree on what a pattern matches */
            d = without(x, d, schema_pattern_dfa(x, json_string_value(v), path), path);
        }
        if (!x->rc) d = without_list(x, d, json_object_get(s, KEY_NOT_ENUM), path);
    }
    return d;
}

const struct dfa *schema_string_dfa(struct schema *x, const struct leaves *l)
{
    struct text_rules t = read_rules(x, l);
    const struct dfa *d = conditions(x, l);
    struct dfa *cut = NULL;
    if (x->rc || (t.min == 0 && t.max == GRAMMAR_INF)) return d;
    if (!d && !(d = whole_dfa(x, "(?s).*"))) return NULL;
    if (t.min > t.max) return whole_dfa(x, "[^\\x00-\\x{10FFFF}]");
    x->rc = dfa_lengths(&x->a, d, t.min, t.max, &cut, x->e);
    if (x->rc) err_prefix(x->e, "schema at %.256s", l->p[0].path);
    return cut;
}

bool schema_string_fits(struct schema *x, const struct leaves *l, const json_t *v)
{
    struct text_rules t = read_rules(x, l);
    struct str s = {json_string_value(v), json_string_length(v)};
    int32_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    if (n < t.min || n > t.max) return false;
    const struct dfa *d = t.n ? conditions(x, l) : NULL;
    return !d || dfa_matches(d, s);
}

/* A counted loop over one set of characters, with quotes. The loop over all characters is shared. */
static void counted(struct schema *x, struct cset s, int32_t min, int32_t max, uint32_t from, uint32_t to)
{
    struct grammar *g = x->g;
    bool every = s.n == 1 && s.r[0].lo == 0 && s.r[0].hi == CSET_LAST;
    if (min > max) return;
    uint32_t rule = grammar_rule(g, "string"), in, out = g->rule[rule].final;
    if (g->failed) return;
    if (every && x->string_in) {
        g->rule[rule].start = x->string_in;
        g->rule[rule].final = x->string_out;
    } else {
        uint32_t loop = grammar_literal(g, g->rule[rule].start, STR("\"")), next = grammar_node(g),
                 end = grammar_node(g);
        in = g->rule[rule].start;
        grammar_edge(g, loop, next, EDGE_MORE, 0, false);
        grammar_set(g, next, loop, s, TEXT_JSON, true);
        grammar_edge(g, loop, end, EDGE_DONE, 0, false);
        grammar_eps(g, grammar_literal(g, end, STR("\"")), out);
        if (every) {
            x->string_in = in;
            x->string_out = out;
        }
    }
    g->rule[rule].min = min;
    g->rule[rule].max = max;
    grammar_eps(g, grammar_call(g, from, rule), to);
}

static const struct crange all[] = {{0, CSET_LAST}};

void schema_any_string(struct schema *x, uint32_t from, uint32_t to)
{
    counted(x, (struct cset){all, 1}, 0, GRAMMAR_INF, from, to);
}

void schema_string(struct schema *x, const struct leaves *l, uint32_t from, uint32_t to)
{
    struct text_rules t = read_rules(x, l);
    struct grammar *g = x->g;
    struct pattern *p = NULL;
    struct dfa *d = NULL;
    if (x->rc) return;
    if (t.n == 0 && !t.excludes) {
        counted(x, (struct cset){all, 1}, t.min, t.max, from, to);
        return;
    }
    uint32_t in = grammar_literal(g, from, STR("\"")), out = grammar_node(g);
    grammar_eps(g, grammar_literal(g, out, STR("\"")), to);
    if (t.n == 1 && !t.excludes) {
        int rc = t.pattern ? pattern_parse(&x->a, str_from(t.pattern), PATTERN_SEARCH, &p, &d, x->e)
                           : pattern_parse(&x->a, str_from(t.format), PATTERN_WHOLE, &p, &d, x->e);
        if (rc) {
            x->rc = rc;
            err_prefix(x->e, "schema at %.256s, keyword 'pattern'", t.pattern ? t.pattern_path : "#");
            return;
        }
        if (p && p->simple) {
            counted(x, p->of, t.min > p->min ? t.min : p->min, t.max < p->max ? t.max : p->max, from, to);
            return;
        }
        if (p && t.min == 0 && t.max == GRAMMAR_INF) {
            if (grammar_pattern(g, in, out, p, TEXT_JSON)) schema_no_memory(x);
            return;
        }
    }
    const struct dfa *all_of = schema_string_dfa(x, l);
    if (x->rc) return;
    if (!all_of)
        counted(x, (struct cset){all, 1}, t.min, t.max, from, to);
    else if (grammar_dfa(g, in, out, all_of, TEXT_JSON))
        schema_no_memory(x);
}

uint32_t schema_quoted(struct schema *x, uint32_t from, const char *text, size_t n)
{
    struct grammar *g = x->g;
    for (size_t at = 0; at < n;) {
        uint32_t cp;
        int len = utf8_decode(text + at, n - at, &cp);
        if (len <= 0) {
            schema_fail(x, ERR_FORMAT, "#", "a text of the schema is not UTF-8");
            return from;
        }
        struct crange r = {cp, cp};
        uint32_t to = grammar_node(g);
        if (cp >= ' ' && cp != '"' && cp != '\\')
            to = grammar_literal(g, from, (struct str){text + at, (size_t)len});
        else
            grammar_set(g, from, to, (struct cset){&r, 1}, TEXT_JSON, false);
        from = to;
        at += (size_t)len;
    }
    return grammar_literal(g, from, STR("\""));
}
