/* SPDX-License-Identifier: Apache-2.0 */
/* See form.h. */
#include "serve/ask/form.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { CHOICES_MAX = 4096 };

/* --- reading ---------------------------------------------------------------------------------------------- */

static int set_form(struct form_spec *s, enum form_kind kind, const char *param, struct fault *f)
{
    if (s->kind != FORM_ANY)
        return fault_field(f, param, "'%s': '%s' asks for a form already; one can be given", param, s->param);
    s->kind = kind;
    s->param = param;
    return 0;
}

/* A schema as an object, or as the text of one. */
static int set_schema(struct form_spec *s, const json_t *v, const char *param, struct fault *f)
{
    char got[FAULT_GOT_MAX];
    json_error_t je;
    int rc = set_form(s, FORM_JSON_SCHEMA, param, f);
    if (rc) return rc;
    if (json_is_string(v)) {
        s->own = json_loads(json_string_value(v), JSON_DECODE_ANY, &je);
        if (!s->own) return fault_field(f, param, "'%s': not JSON: line %d: %s", param, je.line, je.text);
        v = s->own;
    }
    if (!json_is_object(v) && !json_is_boolean(v))
        return fault_field(f, param, "'%s': expected a JSON Schema, got %s", param, fault_got(v, got));
    s->json = v;
    return 0;
}

static int set_text(struct form_spec *s, enum form_kind kind, const json_t *v, const char *param, struct fault *f)
{
    char got[FAULT_GOT_MAX];
    if (!json_is_string(v)) return fault_field(f, param, "'%s': expected a string, got %s", param, fault_got(v, got));
    s->text = (struct str){json_string_value(v), json_string_length(v)};
    return set_form(s, kind, param, f);
}

static int set_choice(struct form_spec *s, const json_t *v, const char *param, struct fault *f)
{
    char got[FAULT_GOT_MAX];
    size_t i;
    json_t *one;
    if (!json_is_array(v) || json_array_size(v) < 1 || json_array_size(v) > CHOICES_MAX)
        return fault_field(f, param, "'%s': expected 1 to %d strings, got %s", param, CHOICES_MAX, fault_got(v, got));
    json_array_foreach(v, i, one) if (!json_is_string(one)) return fault_field(
        f, param, "'%s[%zu]': expected a string, got %s", param, i, fault_got(one, got));
    s->json = v;
    return set_form(s, FORM_CHOICE, param, f);
}

static int read_response_format(const json_t *v, struct form_spec *s, struct fault *f)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    char got[FAULT_GOT_MAX];
    const json_t *schema;
    if (!json_is_object(v))
        return fault_field(f, "response_format", "'response_format': expected an object, got %s",
                           fault_got(v, got));
    if (!type)
        return fault_field(f, "response_format.type",
                           "'response_format.type': expected 'text', 'json_object' or 'json_schema'");
    if (strcmp(type, "text") == 0) return 0;
    if (strcmp(type, "json_object") == 0) { /* a schema beside it: an older form that clients still use */
        if ((schema = json_object_get(v, "schema"))) return set_schema(s, schema, "response_format.schema", f);
        return set_form(s, FORM_JSON_OBJECT, "response_format", f);
    }
    if (strcmp(type, "json_schema") != 0)
        return fault_field(
            f, "response_format.type",
            "'response_format.type': expected 'text', 'json_object' or 'json_schema', got '%.64s'", type);
    schema = json_object_get(json_object_get(v, "json_schema"), "schema");
    if (!schema) schema = json_object_get(v, "schema"); /* of the Responses API */
    if (!schema)
        return fault_field(f, "response_format.json_schema.schema",
                           "'response_format.json_schema.schema': expected a JSON Schema, got nothing");
    return set_schema(s, schema, "response_format.json_schema.schema", f);
}

static int read_structured(const json_t *v, struct form_spec *s, struct fault *f)
{
    const json_t *one;
    int rc = 0;
    if ((one = json_object_get(v, "json")) && !json_is_null(one)) rc = set_schema(s, one, "structured_outputs.json", f);
    if (!rc && (one = json_object_get(v, "regex")) && !json_is_null(one))
        rc = set_text(s, FORM_REGEX, one, "structured_outputs.regex", f);
    if (!rc && (one = json_object_get(v, "choice")) && !json_is_null(one))
        rc = set_choice(s, one, "structured_outputs.choice", f);
    if (!rc && (one = json_object_get(v, "grammar")) && !json_is_null(one))
        rc = set_text(s, FORM_GBNF, one, "structured_outputs.grammar", f);
    if (!rc && json_is_true(json_object_get(v, "json_object")))
        rc = set_form(s, FORM_JSON_OBJECT, "structured_outputs.json_object", f);
    return rc;
}

int form_read(const json_t *body, struct form_spec *s, struct fault *f)
{
    const json_t *v;
    int rc = 0;
    *s = (struct form_spec){0};
    if ((v = json_object_get(body, "response_format")) && !json_is_null(v)) rc = read_response_format(v, s, f);
    if (!rc && (v = json_object_get(body, "structured_outputs")) && !json_is_null(v)) rc = read_structured(v, s, f);
    if (!rc && (v = json_object_get(body, "guided_json")) && !json_is_null(v)) rc = set_schema(s, v, "guided_json", f);
    if (!rc && (v = json_object_get(body, "guided_regex")) && !json_is_null(v))
        rc = set_text(s, FORM_REGEX, v, "guided_regex", f);
    if (!rc && (v = json_object_get(body, "guided_choice")) && !json_is_null(v))
        rc = set_choice(s, v, "guided_choice", f);
    if (!rc && (v = json_object_get(body, "guided_grammar")) && !json_is_null(v))
        rc = set_text(s, FORM_GBNF, v, "guided_grammar", f);
    if (!rc && (v = json_object_get(body, "json_schema")) && !json_is_null(v)) rc = set_schema(s, v, "json_schema", f);
    if (!rc && (v = json_object_get(body, "grammar")) && !json_is_null(v) &&
        (!json_is_string(v) || json_string_length(v)))
        rc = set_text(s, FORM_GBNF, v, "grammar", f);
    if (rc) {
        json_decref(s->own);
        s->own = NULL;
    }
    return rc;
}

/* --- grammars of a model ---------------------------------------------------------------------------------- */

struct kept {
    char *key; /* kind and text */
    struct grammar *g;
    uint64_t used;
};

struct forms {
    struct grammar_vocab *vocab;
    pthread_mutex_t lock; /* of what follows */
    struct kept kept[FORMS_MAX];
    uint64_t clock;
};

int forms_create(struct forms **out, const struct tokenizer *t, int n_logits, struct err *e)
{
    struct forms *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f) return err(e, ERR_MEMORY, "out of memory");
    pthread_mutex_init(&f->lock, NULL);
    int rc = grammar_vocab_create(&f->vocab, t, n_logits, e);
    if (rc)
        forms_destroy(f);
    else
        *out = f;
    return rc;
}

void forms_destroy(struct forms *f)
{
    if (!f) return;
    for (int i = 0; i < FORMS_MAX; i++) {
        grammar_unref(f->kept[i].g);
        free(f->kept[i].key);
    }
    grammar_vocab_destroy(f->vocab);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

const char *const form_kind_name[] = {[FORM_ANY] = "",
                                      [FORM_JSON_OBJECT] = "json_object",
                                      [FORM_JSON_SCHEMA] = "json_schema",
                                      [FORM_REGEX] = "regex",
                                      [FORM_GBNF] = "gbnf",
                                      [FORM_CHOICE] = "choice"};

char *form_text(const struct form_spec *s)
{
    if (s->json) return json_dumps(s->json, JSON_COMPACT | JSON_ENCODE_ANY);
    char *z = malloc(s->text.n + 1);
    if (z && s->text.n) memcpy(z, s->text.p, s->text.n);
    if (z) z[s->text.n] = 0;
    return z;
}

static char *key_of(const struct form_spec *s)
{
    char *text = form_text(s);
    size_t n = text ? strlen(text) : 0;
    char *key = text ? malloc(n + 2) : NULL;
    if (key) {
        key[0] = (char)('0' + s->kind);
        memcpy(key + 1, text, n + 1);
    }
    free(text);
    return key;
}

static int compile(const struct form_spec *s, struct grammar **g, struct err *e)
{
    switch (s->kind) {
    case FORM_JSON_OBJECT: return grammar_compile_json_object(g, e);
    case FORM_JSON_SCHEMA: return grammar_compile_json_schema(g, s->json, e);
    case FORM_REGEX: return grammar_compile_regex(g, s->text, e);
    case FORM_GBNF: return grammar_compile_gbnf(g, s->text, e);
    default: break;
    }
    int n = (int)json_array_size(s->json);
    struct str *list = calloc((size_t)n + 1, sizeof *list);
    if (!list) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < n; i++) {
        const json_t *v = json_array_get(s->json, (size_t)i);
        list[i] = (struct str){json_string_value(v), json_string_length(v)};
    }
    int rc = grammar_compile_choice(g, list, n, e);
    free(list);
    return rc;
}

/* The grammar kept under key, with a reference, or NULL. */
static struct grammar *find_kept(struct forms *f, const char *key)
{
    struct grammar *g = NULL;
    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < FORMS_MAX && !g; i++)
        if (f->kept[i].key && strcmp(f->kept[i].key, key) == 0) {
            f->kept[i].used = ++f->clock;
            g = grammar_ref(f->kept[i].g);
        }
    pthread_mutex_unlock(&f->lock);
    return g;
}

static void keep(struct forms *f, char *key, struct grammar *g)
{
    int oldest = 0;
    pthread_mutex_lock(&f->lock);
    for (int i = 1; i < FORMS_MAX; i++)
        if (f->kept[i].used < f->kept[oldest].used) oldest = i;
    struct kept old = f->kept[oldest];
    f->kept[oldest] = (struct kept){key, grammar_ref(g), ++f->clock};
    pthread_mutex_unlock(&f->lock);
    grammar_unref(old.g);
    free(old.key);
}

int form_of_text(struct str kind, struct str text, struct grammar **g, struct err *e)
{
    struct form_spec s = {.text = text};
    for (int i = FORM_ANY + 1; i <= FORM_CHOICE; i++)
        if (str_eqz(kind, form_kind_name[i])) s.kind = (enum form_kind)i;
    if (s.kind == FORM_ANY) return err(e, ERR_UNSUPPORTED, "a form of kind '%.*s' is not known", STR_ARG(kind));
    if (s.kind == FORM_JSON_SCHEMA || s.kind == FORM_CHOICE)
        s.json = s.own = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    int rc = (s.kind == FORM_JSON_SCHEMA || s.kind == FORM_CHOICE) && !s.json
                 ? err(e, ERR_FORMAT, "the form's text is no JSON")
                 : compile(&s, g, e);
    json_decref(s.own);
    return rc;
}

int forms_find(struct forms *f, const struct form_spec *s, struct grammar **g, struct err *e)
{
    *g = NULL;
    if (s->kind == FORM_ANY) return 0;
    char *key = key_of(s);
    if (!key) return err(e, ERR_MEMORY, "out of memory");
    if ((*g = find_kept(f, key))) {
        free(key);
        return 0;
    }
    int rc = compile(s, g, e);
    if (rc)
        free(key);
    else
        keep(f, key, *g);
    return rc;
}

/* --- the scheduler's side --------------------------------------------------------------------------------- */

int forms_mask(struct forms *f, struct grammar *g, int max_tokens, void **mask, struct err *e)
{
    struct grammar_state *s;
    int rc = grammar_state_create(&s, g, f->vocab, max_tokens, e);
    *mask = s;
    return rc;
}

static const uint32_t *mask_allowed(void *mask)
{
    return grammar_state_allowed(mask);
}

static int mask_accept(void *mask, int32_t id, struct err *e)
{
    return grammar_state_accept(mask, id, e);
}

static void mask_free(void *mask)
{
    grammar_state_destroy(mask);
}

static const struct err *mask_error(void *mask)
{
    return grammar_state_error(mask);
}

const struct sched_mask_ops form_mask_ops = {mask_allowed, mask_accept, mask_free, mask_error};
