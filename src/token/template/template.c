/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public side of the template interpreter: compiling, turning the request's JSON into values, rendering, and
 * cutting the marked result into segments. Texts of the JSON are borrowed while the rendering runs.
 */
#include "token/template/template_int.h"

#include <stdlib.h>

int template_compile(struct template **t, struct str source, struct err *e)
{
    struct tmpl_tokens tok = {0};
    *t = NULL;
    if (source.n > TEMPLATE_SOURCE_MAX)
        return err(e, ERR_LIMIT, "chat template: %zu bytes of source, at most %d are allowed", source.n,
                   TEMPLATE_SOURCE_MAX);
    struct template *new = calloc(1, sizeof *new);
    if (!new) return err(e, ERR_MEMORY, "chat template: no memory for it");
    tmpl_pool_init(&new->pool, TEMPLATE_MEMORY_MAX);
    struct tmpl_run c = {
        .pool = &new->pool, .e = e, .line = 1, .col = 1, .steps = TEMPLATE_STEPS_MAX, .t = new};
    int code = tmpl_lex(&c, source, &tok);
    if (code == 0) code = tmpl_parse(&c, new, &tok);
    if (code < 0) {
        template_destroy(new);
        return code;
    }
    *t = new;
    return 0;
}

void template_destroy(struct template *t)
{
    if (!t) return;
    tmpl_pool_finish(&t->pool);
    free(t);
}

/* --- JSON to values ------------------------------------------------------------------------------------- */

/* Words that a message's role may have and be trusted. None can be a special token by itself. */
static bool known_role(struct str s)
{
    static const char *const ROLE[] = {"system",        "user",      "assistant",      "tool",
                                       "developer",     "function",  "ipython",        "observation",
                                       "tool_response", "tool_call", "tool_result",    "model",
                                       "context",       "documents", "critic",         "human",
                                       "environment",   "root",      "latest_reminder"};
    for (size_t i = 0; i < sizeof ROLE / sizeof *ROLE; i++) {
        if (str_eqz(s, ROLE[i])) return true;
    }
    return false;
}

static int from_json(struct tmpl_run *c, const json_t *j, bool trusted, struct tval *out);

static int from_object(struct tmpl_run *c, const json_t *j, bool trusted, struct tval *out)
{
    json_t *o = (json_t *)(uintptr_t)j; /* jansson's iterators do not change it */
    struct tval k, v, dict;
    int code = tmpl_dict_new(c, &dict);
    for (void *it = json_object_iter(o); it && code == 0; it = json_object_iter_next(o, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        if ((code = tmpl_str_out(c, key, trusted, &k)) < 0 ||
            (code = from_json(c, json_object_iter_value(it), trusted, &v)) < 0)
            break;
        code = tmpl_dict_set(c, dict.u.dict, k, v);
    }
    dict.trusted = trusted;
    *out = dict;
    return code;
}

static int from_json(struct tmpl_run *c, const json_t *j, bool trusted, struct tval *out)
{
    int code = tmpl_enter(c);
    if (code < 0) return code;
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        code = from_object(c, j, trusted, out);
        break;
    case JSON_ARRAY:
        code = tmpl_list_new(c, TV_LIST, out);
        for (size_t i = 0; i < json_array_size(j) && code == 0; i++) {
            struct tval v;
            if ((code = from_json(c, json_array_get(j, i), trusted, &v)) == 0)
                code = tmpl_list_add(c, out->u.list, v);
        }
        break;
    case JSON_STRING:
        code = tmpl_str_out(c, (struct str){json_string_value(j), json_string_length(j)}, trusted, out);
        break;
    case JSON_INTEGER:
        *out = tmpl_int(json_integer_value(j), trusted);
        break;
    case JSON_REAL:
        *out = tmpl_float(json_real_value(j), trusted);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = tmpl_bool(json_typeof(j) == JSON_TRUE);
        break;
    default:
        *out = tmpl_none();
    }
    if (code == 0 && out->type != TV_STR) out->trusted = trusted;
    tmpl_leave(c);
    return code;
}

/* The messages, with roles of the closed list trusted. */
static int from_messages(struct tmpl_run *c, const json_t *j, struct tval *out)
{
    static const struct text ROLE = {.p = "role", .n = 4, .n_cp = 4, .trusted = true};
    struct tval role, key = {.type = TV_STR, .u.s = &ROLE};
    int code = from_json(c, j, false, out);
    for (size_t i = 0; code == 0 && out->type == TV_LIST && i < out->u.list->n; i++) {
        struct tval m = out->u.list->v[i];
        if (m.type != TV_DICT || (code = tmpl_dict_get(c, m.u.dict, key, &role)) <= 0) continue;
        code = 0;
        if (role.type != TV_STR || !known_role(tmpl_view(role.u.s))) continue;
        if ((code = tmpl_str_out(c, tmpl_view(role.u.s), true, &role)) == 0)
            code = tmpl_dict_set(c, m.u.dict, key, role);
    }
    return code < 0 ? code : 0;
}

/* --- variables ------------------------------------------------------------------------------------------ */

/* Binds a variable if the template uses its name. */
static void bind_root(struct tmpl_run *c, struct str name, struct tval v)
{
    for (size_t i = 0; i < c->t->n_names; i++) {
        if (str_eq(c->t->names[i], name)) c->root[i] = v;
    }
}

static bool uses(const struct tmpl_run *c, const char *name)
{
    for (size_t i = 0; i < c->t->n_names; i++) {
        if (str_eqz(c->t->names[i], name)) return true;
    }
    return false;
}

static int bind_object(struct tmpl_run *c, const json_t *j, bool trusted)
{
    struct tval all;
    if (!j) return 0;
    if (!json_is_object(j))
        return tmpl_err(c, ERR_USAGE, "the variables for the template must be a JSON object");
    int code = from_object(c, j, trusted, &all);
    for (size_t i = 0; code == 0 && i < all.u.dict->n; i++)
        bind_root(c, tmpl_view(all.u.dict->p[i].k.u.s), all.u.dict->p[i].v);
    return code;
}

static int bind_token(struct tmpl_run *c, const char *name, struct str s)
{
    struct tval v;
    if (!s.p) return 0;
    int code = tmpl_str_out(c, s, true, &v);
    if (code == 0) bind_root(c, str_from(name), v);
    return code;
}

static int bind_all(struct tmpl_run *c)
{
    const struct template_input *in = c->in;
    struct tval v = tmpl_none();
    int code;
    for (size_t i = 0; i < c->t->n_names; i++) {
        const struct tmpl_native *fn = tmpl_global_find(c->t->names[i]);
        if (!fn) continue;
        struct tbound *b = TMPL_NEW(c, struct tbound, 1);
        if (!b) return c->code;
        b->fn = fn;
        c->root[i] = (struct tval){.type = TV_NATIVE, .trusted = true, .u.bound = b};
    }
    bind_root(c, STR("documents"), v);
    if ((code = bind_token(c, "bos_token", in->bos_token)) < 0 ||
        (code = bind_token(c, "eos_token", in->eos_token)) < 0 ||
        (code = bind_object(c, in->specials, true)) < 0 || (code = bind_object(c, in->kwargs, false)) < 0)
        return code;
    if (in->tools && uses(c, "tools") && (code = from_json(c, in->tools, false, &v)) < 0) return code;
    bind_root(c, STR("tools"), v);
    bind_root(c, STR("add_generation_prompt"), tmpl_bool(in->add_generation_prompt));
    if (!in->messages) return 0;
    if ((code = from_messages(c, in->messages, &v)) == 0) bind_root(c, STR("messages"), v);
    return code;
}

/* --- result --------------------------------------------------------------------------------------------- */

static int make_segments(const struct text *t, struct template_output *out, struct err *e)
{
    size_t n = t->n ? 1 : 0, from = 0;
    for (size_t i = 1; t->mark && i < t->n; i++) n += t->mark[i] != t->mark[i - 1];
    char *p = malloc(t->n + 1);
    struct template_segment *seg = calloc(n ? n : 1, sizeof *seg);
    if (!p || !seg) {
        free(p);
        free(seg);
        return err(e, ERR_MEMORY, "chat template: no memory for %zu bytes of result", t->n);
    }
    if (t->n) memcpy(p, t->p, t->n);
    p[t->n] = 0;
    *out = (struct template_output){{p, t->n}, seg, 0};
    for (size_t i = 1; i <= t->n; i++) {
        if (i < t->n && (!t->mark || t->mark[i] == t->mark[i - 1])) continue;
        seg[out->n_seg++] = (struct template_segment){{p + from, i - from}, tmpl_text_trusted(t, from)};
        from = i;
    }
    return 0;
}

int template_render(const struct template *t, const struct template_input *in, struct template_output *out,
                    struct err *e)
{
    struct tmpl_pool pool;
    struct tmpl_build b;
    struct tval text;
    *out = (struct template_output){0};
    tmpl_pool_init(&pool, TEMPLATE_MEMORY_MAX);
    struct tmpl_run c = {
        .pool = &pool, .e = e, .line = 1, .col = 1, .steps = TEMPLATE_STEPS_MAX, .t = t, .in = in, .out = &b};
    c.root = TMPL_NEW(&c, struct tval, t->n_names + 1);
    int code = c.root ? tmpl_str_out(&c, STR(""), true, &c.empty) : c.code;
    if (code == 0) code = bind_all(&c);
    if (code == 0) code = tmpl_build_init(&b, &c);
    if (code == 0) code = tmpl_exec(&c, t->root, NULL);
    if (code >= 0) code = tmpl_build_done(&b, &text);
    if (code == 0) code = make_segments(text.u.s, out, e);
    tmpl_pool_finish(&pool);
    return code;
}

void template_output_finish(struct template_output *out)
{
    free((void *)(uintptr_t)out->text.p);
    free(out->seg);
    *out = (struct template_output){0};
}
