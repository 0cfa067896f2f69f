/* SPDX-License-Identifier: Apache-2.0 */
/* See tools.h. */
#include "serve/ask/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"

enum { WORDS_MAX = 16 << 20, REF_MAX = 1024 };

static const json_t *function_of(const json_t *tool)
{
    const json_t *f = json_object_get(tool, "function");
    return json_is_object(f) ? f : tool;
}

static const char *name_of(const json_t *tool)
{
    return json_string_value(json_object_get(function_of(tool), "name"));
}

static int check_tool(const json_t *tool, size_t i, struct fault *f)
{
    char param[FAULT_PARAM_MAX], got[FAULT_GOT_MAX];
    const json_t *type = json_object_get(tool, "type"), *schema = json_object_get(function_of(tool), "parameters");
    snprintf(param, sizeof param, "tools[%zu]", i);
    if (!json_is_object(tool))
        return fault_field(f, param, "'%s': expected an object, got %s", param, fault_got(tool, got));
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "function") != 0))
        return fault_field(f, param, "'%s.type': expected 'function', got %s", param, fault_got(type, got));
    if (!name_of(tool) || !*name_of(tool))
        return fault_field(f, param, "'%s.function.name': expected the name of a function", param);
    if (schema && !json_is_object(schema))
        return fault_field(f, param, "'%s.function.parameters': expected a JSON Schema, got %s", param,
                           fault_got(schema, got));
    return 0;
}

int tools_read(struct tools *t, const json_t *tools, const json_t *choice, struct fault *f)
{
    size_t i;
    json_t *v;
    char got[FAULT_GOT_MAX];
    int rc = 0;
    *t = (struct tools){.list = json_array_size(tools) ? tools : NULL};
    if (json_array_size(tools) > TOOLS_MAX)
        return fault_field(f, "tools", "'tools': expected at most %d, got %zu", TOOLS_MAX,
                           json_array_size(tools));
    json_array_foreach(tools, i, v)
        if ((rc = check_tool(v, i, f))) return rc;
    if (!choice || json_is_null(choice)) return 0;
    if (json_is_string(choice)) {
        const char *s = json_string_value(choice);
        if (strcmp(s, "none") == 0) return t->list = NULL, 0;
        if (strcmp(s, "auto") == 0) return 0;
        if (strcmp(s, "required") == 0 || strcmp(s, "any") == 0) t->forced = "";
        else
            return fault_field(f, "tool_choice",
                               "'tool_choice': expected none, auto, required or a function, got \"%.40s\"",
                               s);
    } else {
        t->forced = name_of(choice);
        if (!t->forced)
            return fault_field(
                f, "tool_choice",
                "'tool_choice': expected none, auto, required or {\"type\":\"function\",\"function\":{\"name\":...}}, got %s",
                fault_got(choice, got));
    }
    if (!t->list) return fault_field(f, "tool_choice", "'tool_choice' asks for a call, but there are no 'tools'");
    if (!*t->forced) return 0;
    json_array_foreach(tools, i, v)
        if (strcmp(name_of(v), t->forced) == 0) return 0;
    return fault_field(f, "tool_choice", "'tool_choice': there is no function \"%.64s\" in 'tools'", t->forced);
}

/* --- the form of a call ----------------------------------------------------------------------------------- */

/* References of a schema that is put elsewhere: "#/a" becomes prefix + "/a". */
static void move_refs(json_t *s, const char *prefix)
{
    const char *key;
    json_t *v;
    size_t i;
    json_array_foreach(s, i, v) move_refs(v, prefix);
    json_object_foreach(s, key, v) {
        char to[REF_MAX];
        const char *ref = json_string_value(v);
        if (strcmp(key, "$ref") == 0 && ref && ref[0] == '#' && (ref[1] == '/' || !ref[1]) &&
            strlen(ref) + strlen(prefix) < sizeof to) {
            snprintf(to, sizeof to, "%s%s", prefix, ref + 1);
            json_string_set(v, to);
        } else {
            move_refs(v, prefix);
        }
    }
}

json_t *tools_schema(const struct tools *t)
{
    json_t *list = json_array(), *tool;
    size_t i;
    json_array_foreach(t->list, i, tool) {
        const json_t *schema = json_object_get(function_of(tool), "parameters");
        json_t *own = schema ? json_deep_copy(schema) : json_pack("{s:s}", "type", "object");
        char prefix[64];
        if (*t->forced && strcmp(name_of(tool), t->forced) != 0) {
            json_decref(own);
            continue;
        }
        snprintf(prefix, sizeof prefix, "#/anyOf/%zu/properties/arguments", json_array_size(list));
        move_refs(own, prefix);
        if (!json_object_get(own, "type") && json_is_object(own))
            json_object_set_new(own, "type", json_string("object"));
        json_array_append_new(list, json_pack("{s:s, s:{s:{s:s}, s:o}, s:[ss], s:b}", "type", "object",
                                              "properties", "name", "const", name_of(tool), "arguments", own,
                                              "required", "name", "arguments", "additionalProperties", 0));
    }
    return json_pack("{s:o}", "anyOf", list);
}

/* --- in words --------------------------------------------------------------------------------------------- */

static void describe(const struct tools *t, struct buf *b)
{
    size_t i;
    json_t *tool;
    buf_append_z(
        b,
        "You can call functions. To call one, answer with its name and arguments as JSON within <tool_call></tool_call>:\n"
        "<tool_call>\n{\"name\": \"function\", \"arguments\": {\"argument\": \"value\"}}\n</tool_call>\nThe functions are:");
    json_array_foreach(t->list, i, tool) {
        char *text = json_dumps(function_of(tool), JSON_COMPACT);
        buf_append_z(b, "\n");
        if (text) buf_append_z(b, text);
        else b->failed = ERR_MEMORY;
        free(text);
    }
}

static void write_calls(const json_t *calls, struct buf *b)
{
    size_t i;
    json_t *c;
    json_array_foreach(calls, i, c) {
        char *text = json_dumps(function_of(c), JSON_COMPACT);
        if (b->n) buf_append_z(b, "\n");
        buf_append_z(b, "<tool_call>\n");
        if (text) buf_append_z(b, text);
        else b->failed = ERR_MEMORY;
        buf_append_z(b, "\n</tool_call>");
        free(text);
    }
}

static json_t *in_words(const json_t *m, struct buf *b)
{
    const char *role = json_string_value(json_object_get(m, "role")),
               *content = json_string_value(json_object_get(m, "content"));
    const json_t *calls = json_object_get(m, "tool_calls");
    buf_clear(b);
    if (role && strcmp(role, "tool") == 0) {
        buf_printf(b, "<tool_response>\n%s\n</tool_response>", content ? content : "");
        return b->failed ? NULL : json_pack("{s:s, s:s%}", "role", "user", "content", b->p, b->n);
    }
    if (!json_array_size(calls)) return json_deep_copy(m);
    buf_append_z(b, content ? content : "");
    write_calls(calls, b);
    return b->failed ? NULL : json_pack("{s:s, s:s%}", "role", "assistant", "content", b->p, b->n);
}

json_t *tools_in_words(const struct tools *t, const json_t *messages)
{
    json_t *out = json_array(), *m;
    size_t i, first = 0;
    struct buf b;
    buf_init(&b, WORDS_MAX);
    const json_t *head = json_array_get(messages, 0);
    if (t->list) {
        const char *system = json_string_value(json_object_get(head, "role"));
        if (system && strcmp(system, "system") == 0) {
            const char *content = json_string_value(json_object_get(head, "content"));
            buf_printf(&b, "%s\n\n", content ? content : "");
            first = 1;
        }
        describe(t, &b);
        if (b.failed ||
            json_array_append_new(out, json_pack("{s:s, s:s%}", "role", "system", "content", b.p, b.n)))
            goto fail;
    }
    json_array_foreach(messages, i, m)
        if (i >= first && json_array_append_new(out, in_words(m, &b))) goto fail;
    buf_finish(&b);
    return out;
fail:
    buf_finish(&b);
    json_decref(out);
    return NULL;
}
