/* SPDX-License-Identifier: Apache-2.0 */
/* See parts.h. */
#include "serve/ask/parts.h"

#include <stdlib.h>
#include <string.h>

#define THINK STR("<think>")
#define THINK_END STR("</think>")
#define CALL STR("<tool_call>")
#define CALL_END STR("</tool_call>")
#define CALLS STR("[TOOL_CALLS]")

void parts_init(struct parts *p, const json_t *tools, bool think, bool thinking, size_t max_bytes)
{
    *p = (struct parts){.tools = tools, .think = think, .mode = thinking ? PARTS_THINK : PARTS_START};
    buf_init(&p->held, max_bytes);
}

void parts_free(struct parts *p)
{
    buf_finish(&p->held);
}

static void drop(struct parts *p, size_t n)
{
    if (!n) return;
    memmove(p->held.p, p->held.p + n, p->held.n - n);
    p->held.n -= n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t count_blanks(const struct parts *p)
{
    size_t n = 0;
    while (n < p->held.n && is_blank(p->held.p[n])) n++;
    return n;
}

static void emit(struct parts *p, enum part_kind kind, size_t n, parts_sink *sink, void *ud)
{
    if (n) sink(ud, &(struct part){kind, {p->held.p, n}, {NULL, 0}});
    if (n && kind == PART_TEXT) p->said = true;
    if (n && kind == PART_REASONING) p->thought = true;
    drop(p, n);
}

static const char *find(const struct parts *p, struct str mark)
{
    return p->held.n ? memmem(p->held.p, p->held.n, mark.p, mark.n) : NULL;
}

/* Bytes at the end of what is held that may be the beginning of the mark. */
static size_t begun(const struct parts *p, struct str mark)
{
    size_t n = p->held.n < mark.n - 1 ? p->held.n : mark.n - 1;
    while (n && memcmp(p->held.p + p->held.n - n, mark.p, n) != 0) n--;
    return n;
}

/* --- calls ------------------------------------------------------------------------------------------------ */

static bool is_tool(const struct parts *p, const char *name)
{
    size_t i;
    json_t *t;
    json_array_foreach(p->tools, i, t) {
        const char *s = json_string_value(json_object_get(json_object_get(t, "function"), "name"));
        if (!s) s = json_string_value(json_object_get(t, "name"));
        if (s && strcmp(s, name) == 0) return true;
    }
    return false;
}

/* One call as models write it; false when it is none. With a NULL sink it is only looked at. */
static bool one_call(const struct parts *p, const json_t *v, parts_sink *sink, void *ud)
{
    const json_t *inner = json_object_get(v, "function"), *args;
    if (json_is_object(inner)) v = inner;
    const char *name = json_string_value(json_object_get(v, "name"));
    if (!name && json_is_string(inner)) name = json_string_value(inner);
    if (!name || !is_tool(p, name)) return false;
    if (!(args = json_object_get(v, "arguments"))) args = json_object_get(v, "parameters");
    if (!sink) return true;
    char *text = json_is_string(args) ? NULL : args ? json_dumps(args, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    struct str s = json_is_string(args) ? str_from(json_string_value(args)) : text ? str_from(text) : STR("{}");
    sink(ud, &(struct part){PART_CALL, s, str_from(name)});
    free(text);
    return true;
}

static bool some_calls(const struct parts *p, const json_t *v, parts_sink *sink, void *ud)
{
    size_t i;
    json_t *one;
    if (!json_is_array(v)) return one_call(p, v, sink, ud);
    json_array_foreach(v, i, one)
        if (!one_call(p, one, sink, ud)) return false;
    return json_array_size(v) > 0;
}

/* Values one after the other, with commas, semicolons or nothing between them. Either all are calls, or none is made. */
static bool all_calls(const struct parts *p, struct str s, parts_sink *sink, void *ud)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t at = 0;
        do {
            json_error_t je;
            json_t *v = json_loadb(s.p + at, s.n - at, JSON_DISABLE_EOF_CHECK, &je);
            bool ok = v && some_calls(p, v, pass ? sink : NULL, ud);
            json_decref(v);
            if (!ok) return false;
            at += (size_t)je.position;
            while (at < s.n && (is_blank(s.p[at]) || s.p[at] == ';' || s.p[at] == ',')) at++;
        } while (at < s.n);
    }
    return true;
}

/* --- the machine: one step each; false when more text is needed ------------------------------------------- */

static bool start(struct parts *p)
{
    size_t n = count_blanks(p);
    struct str rest = {p->held.p + n, p->held.n - n};
    if (p->think && rest.n < THINK.n && memcmp(rest.p, THINK.p, rest.n) == 0) return false;
    p->mode = PARTS_TEXT;
    if (!p->think || !str_starts(rest, THINK)) return true;
    drop(p, n + THINK.n);
    p->mode = PARTS_THINK;
    return true;
}

static bool think(struct parts *p, parts_sink *sink, void *ud)
{
    const char *end = find(p, THINK_END);
    if (!p->thought) drop(p, count_blanks(p));
    end = find(p, THINK_END);
    if (!end) {
        emit(p, PART_REASONING, p->held.n - begun(p, THINK_END), sink, ud);
        return false;
    }
    emit(p, PART_REASONING, (size_t)(end - p->held.p), sink, ud);
    drop(p, THINK_END.n);
    p->mode = PARTS_TEXT;
    return true;
}

static bool text(struct parts *p, parts_sink *sink, void *ud)
{
    if (p->gap || (!p->said && (p->thought || p->tools))) { /* blanks before the first word, or behind a call, belong to nothing */
        drop(p, count_blanks(p));
        if (!p->held.n) return false;
        p->gap = false;
    }
    if (!p->tools) {
        emit(p, PART_TEXT, p->held.n, sink, ud);
        return false;
    }
    const char *call = find(p, CALL), *calls = find(p, CALLS);
    if (!p->said && p->held.p[0] == '{') {
        p->mode = PARTS_JSON;
        return true;
    }
    if (!p->said && p->held.p[0] == '[' && !calls && begun(p, CALLS) < p->held.n) {
        p->mode = PARTS_JSON;
        return true;
    }
    const char *first = call && (!calls || call < calls) ? call : calls;
    if (first) {
        emit(p, PART_TEXT, (size_t)(first - p->held.p), sink, ud);
        p->marked = first == call;
        p->mode = PARTS_CALL;
        return true;
    }
    size_t a = begun(p, CALL), b = begun(p, CALLS);
    emit(p, PART_TEXT, p->held.n - (a > b ? a : b), sink, ud);
    return false;
}

/* The mark is still there, so that what is no call goes out as it was written. */
static bool call(struct parts *p, bool last, parts_sink *sink, void *ud)
{
    struct str open = p->marked ? CALL : CALLS;
    const char *end = p->marked ? find(p, CALL_END) : NULL;
    if (!end && !last) return false;
    size_t n = end ? (size_t)(end - p->held.p) : p->held.n;
    bool made = all_calls(p, (struct str){p->held.p + open.n, n - open.n}, sink, ud);
    if (end) n += CALL_END.n;
    if (!made) {
        emit(p, PART_TEXT, n, sink, ud);
    } else {
        drop(p, n);
        p->gap = true;
    }
    p->mode = PARTS_TEXT;
    return p->held.n > 0;
}

static int run(struct parts *p, bool last, parts_sink *sink, void *ud)
{
    for (bool on = true; on && p->held.n && !p->held.failed;) {
        switch (p->mode) {
        case PARTS_START: on = start(p); break;
        case PARTS_THINK: on = think(p, sink, ud); break;
        case PARTS_TEXT: on = text(p, sink, ud); break;
        case PARTS_CALL: on = call(p, last, sink, ud); break;
        case PARTS_JSON: on = false; break;
        }
    }
    return p->held.failed;
}

int parts_feed(struct parts *p, struct str s, parts_sink *sink, void *ud)
{
    buf_append_str(&p->held, s);
    return run(p, false, sink, ud);
}

int parts_finish(struct parts *p, parts_sink *sink, void *ud)
{
    run(p, true, sink, ud);
    if (p->gap) drop(p, count_blanks(p));
    if (p->mode == PARTS_JSON && all_calls(p, buf_str(&p->held), sink, ud)) p->held.n = 0;
    emit(p, p->mode == PARTS_THINK ? PART_REASONING : PART_TEXT, p->held.n, sink, ud);
    return p->held.failed;
}
