/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a chat, from what clients send to what chat templates read: see ask_messages in ask.h. */
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "serve/ask/ask.h"

enum { TEXT_MAX = 64 << 20 };

/* An array of parts as one string. */
static int join_parts(const json_t *parts, size_t i_msg, json_t **out, struct fault *f)
{
    struct buf b;
    char param[FAULT_PARAM_MAX], got[FAULT_GOT_MAX];
    int rc = 0;
    buf_init(&b, TEXT_MAX);
    for (size_t i = 0; i < json_array_size(parts) && !rc; i++) {
        const json_t *p = json_array_get(parts, i), *text = json_object_get(p, "text");
        const char *type = json_string_value(json_object_get(p, "type"));
        snprintf(param, sizeof param, "messages[%zu].content[%zu]", i_msg, i);
        if (json_is_string(p)) text = p, type = "text";
        if (!type && text) type = "text";
        if (!type)
            rc = fault_field(f, param, "'%s': expected an object with 'type', got %s", param, fault_got(p, got));
        else if (strcmp(type, "text") != 0 && strcmp(type, "input_text") != 0 &&
                 strcmp(type, "output_text") != 0 && strcmp(type, "refusal") != 0)
            rc = fault_field(f, param,
                             "'%s': parts of type \"%.40s\" are not supported; this server takes text", param,
                             type);
        else if (!json_is_string(text) && strcmp(type, "refusal") != 0)
            rc = fault_field(f, param, "'%s.text': expected a string", param);
        if (rc || !text) continue;
        if (b.n) buf_append_char(&b, '\n');
        buf_append(&b, json_string_value(text), json_string_length(text));
    }
    if (!rc && b.failed) rc = fault_memory(f);
    if (!rc && !(*out = json_stringn(b.p ? b.p : "", b.n))) rc = fault_memory(f);
    buf_finish(&b);
    return rc;
}

/* Clients send arguments as a string of JSON; templates print them as a value. What does not parse stays a string. */
static int open_arguments(json_t *msg, size_t i_msg, struct fault *f)
{
    json_t *calls = json_object_get(msg, "tool_calls"), *copy, *call;
    size_t i;
    char param[FAULT_PARAM_MAX], got[FAULT_GOT_MAX];
    if (!calls || json_is_null(calls)) return 0;
    snprintf(param, sizeof param, "messages[%zu].tool_calls", i_msg);
    if (!json_is_array(calls))
        return fault_field(f, param, "'%s': expected an array, got %s", param, fault_got(calls, got));
    if (!(copy = json_deep_copy(calls))) return fault_memory(f);
    json_object_set_new(msg, "tool_calls", copy);
    json_array_foreach(copy, i, call) {
        json_t *fn = json_object_get(call, "function"), *args = json_object_get(fn, "arguments"), *value;
        if (!json_is_object(fn)) return fault_field(f, param, "'%s[%zu].function': expected an object", param, i);
        if (json_is_string(args) && (value = json_loadb(json_string_value(args), json_string_length(args), 0, NULL)))
            json_object_set_new(fn, "arguments", value);
    }
    return 0;
}

static int read_message(const json_t *in, size_t i, json_t *out, struct fault *f)
{
    char param[FAULT_PARAM_MAX], got[FAULT_GOT_MAX];
    const json_t *role = json_object_get(in, "role"), *content = json_object_get(in, "content");
    json_t *text = NULL, *msg;
    snprintf(param, sizeof param, "messages[%zu]", i);
    if (!json_is_object(in))
        return fault_field(f, param, "'%s': expected an object, got %s", param, fault_got(in, got));
    if (!json_is_string(role))
        return fault_field(f, param, "'%s.role': expected a string, got %s", param,
                           role ? fault_got(role, got) : "nothing");
    if (content && !json_is_string(content) && !json_is_array(content) && !json_is_null(content))
        return fault_field(f, param, "'%s.content': expected a string or an array of parts, got %s", param,
                           fault_got(content, got));
    if (!(msg = json_copy((json_t *)(uintptr_t)in)) || json_array_append_new(out, msg)) return fault_memory(f);
    if (strcmp(json_string_value(role), "developer") == 0) json_object_set_new(msg, "role", json_string("system"));
    if (strcmp(json_string_value(role), "function") == 0) json_object_set_new(msg, "role", json_string("tool"));
    if (json_is_array(content)) {
        int rc = join_parts(content, i, &text, f);
        if (rc) return rc;
        json_object_set_new(msg, "content", text);
    } else if (!content || json_is_null(content)) {
        const json_t *calls = json_object_get(in, "tool_calls");
        if (!json_array_size(calls) && strcmp(json_string_value(role), "assistant") != 0)
            return fault_field(f, param, "'%s.content' is missing", param);
        json_object_set_new(msg, "content", json_string(""));
    }
    return open_arguments(msg, i, f);
}

int ask_messages(const json_t *messages, json_t **out, struct fault *f)
{
    size_t n = json_array_size(messages);
    int rc = 0;
    *out = NULL;
    if (n == 0) return fault_field(f, "messages", "'messages' is empty: expected at least one message");
    if (n > ASK_MESSAGES_MAX)
        return fault_field(f, "messages", "'messages': expected at most %d, got %zu", ASK_MESSAGES_MAX, n);
    json_t *list = json_array();
    if (!list) return fault_memory(f);
    for (size_t i = 0; i < n && !rc; i++) rc = read_message(json_array_get(messages, i), i, list, f);
    if (rc) json_decref(list);
    else *out = list;
    return rc;
}
