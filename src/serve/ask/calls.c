/* SPDX-License-Identifier: Apache-2.0 */
/* See calls.h. A reader of one notation moves *s behind what it has read, and returns NULL if that was no call. */
#include "serve/ask/calls.h"

#include "serve/ask/marks.h"
#include "serve/ask/scan.h"

static struct str trim(struct str s)
{
    scan_blanks(&s);
    while (s.n && scan_is_blank(s.p[s.n - 1])) s.n--;
    return s;
}

static bool take(struct str *s, struct str mark)
{
    if (!str_starts(*s, mark)) return false;
    scan_skip(s, mark.n);
    return true;
}

/* Up to the mark, which is skipped; false: it does not come. */
static bool take_until(struct str *s, struct str mark, struct str *out)
{
    const char *end = s->n ? memmem(s->p, s->n, mark.p, mark.n) : NULL;
    if (!end) return false;
    *out = (struct str){s->p, (size_t)(end - s->p)};
    scan_skip(s, out->n + mark.n);
    return true;
}

const json_t *calls_find(const json_t *tools, struct str name)
{
    size_t i;
    json_t *t;
    json_array_foreach(tools, i, t) {
        const json_t *f = json_object_get(t, "function");
        if (!json_is_object(f)) f = t;
        const json_t *parameters = json_object_get(f, "parameters");
        if (name.p && str_eqz(name, json_string_value(json_object_get(f, "name")))) return parameters ? parameters : f;
    }
    return NULL;
}

static json_t *make(const json_t *tools, struct str name, json_t *arguments)
{
    if (arguments && calls_find(tools, name))
        return json_pack("{s:s%, s:o}", "name", name.p, name.n, "arguments", arguments);
    json_decref(arguments);
    return NULL;
}

/* --- JSON -------------------------------------------------------------------------------------------------- */

static json_t *take_value(struct str *s)
{
    json_error_t je;
    scan_blanks(s);
    json_t *v = s->n ? json_loadb(s->p, s->n, JSON_DISABLE_EOF_CHECK, &je) : NULL;
    if (v) scan_skip(s, (size_t)je.position);
    return v;
}

static json_t *of_object(const json_t *tools, const json_t *v)
{
    json_t *inner = json_object_get(v, "function"), *args;
    if (json_is_object(inner)) v = inner;
    json_t *name = json_object_get(v, "name");
    if (!name) name = inner;
    if (!json_is_string(name)) return NULL;
    if (!(args = json_object_get(v, "arguments"))) args = json_object_get(v, "parameters");
    return make(tools, (struct str){json_string_value(name), json_string_length(name)},
                args ? json_incref(args) : json_object());
}

static bool add(json_t *out, json_t *call)
{
    return call && json_array_append_new(out, call) == 0;
}

static bool take_json(const json_t *tools, struct str *s, json_t *out)
{
    json_t *v = take_value(s), *one;
    size_t i;
    bool ok = v && (!json_is_array(v) || json_array_size(v));
    if (ok && !json_is_array(v)) ok = add(out, of_object(tools, v));
    json_array_foreach(v, i, one)
        if (ok) ok = add(out, of_object(tools, one));
    json_decref(v);
    return ok;
}

/* --- tags --------------------------------------------------------------------------------------------------- */

static bool is_string(const json_t *schema, struct str key)
{
    const json_t *p = json_object_getn(json_object_get(schema, "properties"), key.p, key.n);
    const char *type = json_string_value(json_object_get(p, "type"));
    return type && strcmp(type, "string") == 0;
}

static bool set_bare(json_t *args, const json_t *schema, struct str key, struct str text)
{
    json_t *v = is_string(schema, key) ? NULL : json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);
    if (!v) v = json_stringn(text.p, text.n);
    return v && json_object_setn_new(args, key.p, key.n, v) == 0;
}

/* <arg_key>a</arg_key> <arg_value>1</arg_value> ..., behind the name. */
static json_t *take_arg_keys(const json_t *schema, struct str *s)
{
    json_t *args = json_object();
    for (bool ok = true; ok;) {
        struct str rest = *s, key, value;
        scan_blanks(&rest);
        if (!take(&rest, STR("<arg_key>"))) return args;
        ok = take_until(&rest, STR("</arg_key>"), &key);
        scan_blanks(&rest);
        ok = ok && take(&rest, STR("<arg_value>")) && take_until(&rest, STR("</arg_value>"), &value) &&
             set_bare(args, schema, trim(key), value);
        *s = rest;
    }
    json_decref(args);
    return NULL;
}

/* One line end after the opening and one before the closing tag belong to the notation. */
static struct str trim_line_ends(struct str s)
{
    if (s.n && *s.p == '\n') scan_skip(&s, 1);
    if (s.n && s.p[s.n - 1] == '\n') s.n--;
    return s;
}

/* f> <parameter=a> 1 </parameter> </function> */
static json_t *take_tagged(const json_t *tools, struct str *s)
{
    struct str name, key, value;
    if (!take_until(s, STR(">"), &name)) return NULL;
    const json_t *schema = calls_find(tools, name);
    json_t *args = schema ? json_object() : NULL;
    for (scan_blanks(s); args && take(s, STR("<parameter=")); scan_blanks(s)) {
        if (take_until(s, STR(">"), &key) && take_until(s, STR("</parameter>"), &value) &&
            set_bare(args, schema, key, trim_line_ends(value)))
            continue;
        json_decref(args);
        args = NULL;
    }
    if (args && take(s, STR("</function>"))) return make(tools, name, args);
    json_decref(args);
    return NULL;
}

/* function<sep>f ```json {...} ```<end>, or f<sep>{...}<end> */
static json_t *take_deepseek(const json_t *tools, struct str *s)
{
    struct str name;
    bool fenced;
    if (!take_until(s, STR(DEEPSEEK("tool" LOW "sep")), &name)) return NULL;
    name = trim(name);
    struct str rest = *s;
    scan_blanks(&rest);
    if (!rest.n || *rest.p != '{') {
        name = scan_name(&rest);
        scan_blanks(&rest);
    }
    fenced = take(&rest, STR("```json"));
    json_t *args = take_value(&rest);
    scan_blanks(&rest);
    if (fenced) take(&rest, STR("```"));
    scan_blanks(&rest);
    take(&rest, STR(DEEPSEEK("tool" LOW "call" LOW "end")));
    *s = rest;
    return make(tools, name, args);
}

/* functions.f:0<|tool_call_argument_begin|>{...}<|tool_call_end|> */
static json_t *take_kimi(const json_t *tools, struct str *s)
{
    struct str id;
    if (!take_until(s, STR("<|tool_call_argument_begin|>"), &id)) return NULL;
    id = trim(id);
    take(&id, STR("functions."));
    struct str name = scan_name(&id);
    json_t *args = take_value(s);
    scan_blanks(s);
    take(s, STR("<|tool_call_end|>"));
    return make(tools, name, args);
}

/* f, and behind it what says which notation it is. */
static json_t *take_named(const json_t *tools, struct str *s)
{
    struct str whole = *s, name = scan_name(s), id;
    scan_blanks(s);
    if (s->n && *s->p == '(') {
        *s = whole;
        return calls_read_python(tools, s);
    }
    const json_t *schema = calls_find(tools, name);
    if (!schema) return NULL;
    if (!s->n || str_starts(*s, STR("<arg_key>"))) return make(tools, name, take_arg_keys(schema, s));
    if (take(s, STR("[CALL_ID]"))) {
        if (!take_until(s, STR("[ARGS]"), &id)) return NULL;
    } else {
        take(s, STR("[ARGS]"));
    }
    return make(tools, name, take_value(s));
}

/* [f(a=1), g()] behind the bracket */
static bool take_python_list(const json_t *tools, struct str *s, json_t *out)
{
    for (;;) {
        scan_blanks(s);
        if (!add(out, calls_read_python(tools, s))) return false;
        scan_blanks(s);
        if (take(s, STR("]"))) return true;
        if (!take(s, STR(","))) return false;
    }
}

static bool take_one(const json_t *tools, struct str *s, json_t *out)
{
    struct str list = *s;
    if (take(s, STR("<function="))) return add(out, take_tagged(tools, s));
    if (take(s, STR(DEEPSEEK("tool" LOW "call" LOW "begin")))) return add(out, take_deepseek(tools, s));
    if (take(s, STR("<|tool_call_begin|>"))) return add(out, take_kimi(tools, s));
    if (take(&list, STR("["))) {
        scan_blanks(&list);
        if (list.n && scan_is_name(*list.p)) {
            *s = list;
            return take_python_list(tools, s, out);
        }
    }
    return *s->p == '{' || *s->p == '[' ? take_json(tools, s, out) : add(out, take_named(tools, s));
}

/* What may stand before and between calls. */
static void skip_between(struct str *s)
{
    size_t n;
    do {
        n = s->n;
        scan_blanks(s);
        if (!take(s, STR(";")) && !take(s, STR(",")) && !take(s, STR("[TOOL_CALLS]")) &&
            !take(s, STR("<|tool_call|>")))
            take(s, STR("<|plugin|>"));
    } while (s->n < n);
}

json_t *calls_read(const json_t *tools, struct str text)
{
    json_t *out = json_array();
    bool ok = out != NULL;
    skip_between(&text);
    while (ok && text.n) {
        ok = take_one(tools, &text, out);
        skip_between(&text);
    }
    if (ok && json_array_size(out)) return out;
    json_decref(out);
    return NULL;
}
