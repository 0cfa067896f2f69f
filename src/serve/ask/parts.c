/* SPDX-License-Identifier: Apache-2.0 */
/* See parts.h. */
#include "serve/ask/parts.h"

#include <stdlib.h>
#include <string.h>
#include "serve/ask/calls.h"
#include "serve/ask/scan.h"

enum { HEAD_MAX = 512, NAME_MAX_BYTES = 256 };

void parts_init(struct parts *p, const json_t *tools, const struct marks *marks, bool thinking, size_t max_bytes)
{
    *p = (struct parts){.tools = tools, .marks = marks, .mode = thinking && marks->think ? PARTS_THINK : PARTS_START};
    buf_init(&p->held, max_bytes);
    buf_init(&p->name, NAME_MAX_BYTES);
}

void parts_free(struct parts *p)
{
    buf_finish(&p->held);
    buf_finish(&p->name);
}

static void drop(struct parts *p, size_t n)
{
    if (!n) return;
    memmove(p->held.p, p->held.p + n, p->held.n - n);
    p->held.n -= n;
}

static size_t count_blanks(const struct parts *p)
{
    size_t n = 0;
    while (n < p->held.n && scan_is_blank(p->held.p[n])) n++;
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

/* The mark, or bytes at the end that may be its beginning, or the end: what stands before it is settled. */
static size_t settled(const struct parts *p, struct str mark)
{
    const char *at = find(p, mark);
    return at ? (size_t)(at - p->held.p) : p->held.n - begun(p, mark);
}

/* What is held, behind n bytes, begins with the mark (1), may come to (0), or does not (-1). */
static int at_mark(const struct parts *p, size_t n, struct str mark)
{
    struct str rest = {p->held.p + n, p->held.n - n};
    if (str_starts(rest, mark)) return 1;
    return rest.n < mark.n && memcmp(rest.p, mark.p, rest.n) == 0 ? 0 : -1;
}

/* Either all of s is calls, or none is made. */
static bool make_calls(const struct parts *p, struct str s, parts_sink *sink, void *ud)
{
    json_t *list = calls_read(p->tools, s), *one;
    size_t i;
    json_array_foreach(list, i, one) {
        const json_t *args = json_object_get(one, "arguments");
        char *text = json_is_string(args) ? NULL : json_dumps(args, JSON_COMPACT | JSON_ENCODE_ANY);
        struct str a = json_is_string(args) ? str_from(json_string_value(args)) : text ? str_from(text) : STR("{}");
        sink(ud, &(struct part){PART_CALL, a, str_from(json_string_value(json_object_get(one, "name")))});
        free(text);
    }
    bool made = list != NULL;
    json_decref(list);
    return made;
}

/* --- the machine: one step each; false when more text is needed ------------------------------------------- */

/* As at_mark: the head of a message in a channel. The first one has no <|start|>assistant, which ended the prompt. */
static int at_head(const struct parts *p)
{
    static const struct str heads[] = {STR("<|start|>"), STR("<|channel|>"), STR("<|message|>"), STR("to=")};
    size_t n = count_blanks(p);
    int is = -1;
    for (size_t i = 0; i < sizeof heads / sizeof *heads && is < 0; i++) is = at_mark(p, n, heads[i]);
    return is;
}

static bool start(struct parts *p)
{
    size_t n = count_blanks(p);
    int is = p->marks->channels ? at_head(p) : p->marks->think ? at_mark(p, n, p->marks->think->open) : -1;
    if (is == 0) return false;
    p->mode = is < 0 ? PARTS_TEXT : p->marks->channels ? PARTS_HEAD : PARTS_THINK;
    if (p->mode == PARTS_THINK) drop(p, n + p->marks->think->open.n);
    return true;
}

static bool think(struct parts *p, parts_sink *sink, void *ud)
{
    struct str mark = p->marks->think->close;
    if (!p->thought) drop(p, count_blanks(p));
    bool ends = find(p, mark) != NULL;
    emit(p, PART_REASONING, settled(p, mark), sink, ud);
    if (!ends) return false;
    drop(p, mark.n);
    p->mode = PARTS_TEXT;
    return true;
}

/* The answer begins with what may be calls without marks; a mark is looked for first. */
static bool is_bare(const struct parts *p)
{
    if (p->said || (p->held.p[0] != '{' && p->held.p[0] != '[')) return false;
    for (int i = 0; i < MARKS_CALLS; i++)
        if (at_mark(p, 0, marks_call[i].open) >= 0) return false;
    return true;
}

static bool text(struct parts *p, parts_sink *sink, void *ud)
{
    /* blanks before the first word, or behind a call, belong to nothing */
    if (p->gap || (!p->said && (p->thought || p->tools))) {
        drop(p, count_blanks(p));
        if (!p->held.n) return false;
        p->gap = false;
    }
    if (!p->tools) {
        emit(p, PART_TEXT, p->held.n, sink, ud);
        return false;
    }
    if (is_bare(p)) {
        p->mode = PARTS_BARE;
        return true;
    }
    size_t least = p->held.n;
    const struct marks_pair *open = NULL;
    for (int i = 0; i < MARKS_CALLS; i++) {
        size_t n = settled(p, marks_call[i].open);
        if (n >= least || (marks_call[i].first && (p->said || n))) continue;
        least = n;
        open = &marks_call[i];
    }
    emit(p, PART_TEXT, least, sink, ud);
    if (!open || at_mark(p, 0, open->open) <= 0) return false;
    p->call = open;
    p->mode = PARTS_CALL;
    return true;
}

/* The mark is still there, so that what is no call goes out as it was written. */
static bool call(struct parts *p, bool last, parts_sink *sink, void *ud)
{
    struct str open = p->call->open, close = p->call->close, body = {p->held.p + open.n, p->held.n - open.n};
    const char *end = close.n && body.n ? memmem(body.p, body.n, close.p, close.n) : NULL;
    if (!end && !last) return false;
    if (end) body.n = (size_t)(end - body.p);
    size_t n = open.n + body.n + (end ? close.n : 0);
    if (make_calls(p, body, sink, ud)) {
        drop(p, n);
        p->gap = true;
    } else {
        emit(p, PART_TEXT, n, sink, ud);
    }
    p->mode = PARTS_TEXT;
    return p->held.n > 0;
}

/* --- channels ---------------------------------------------------------------------------------------------- */

/* What a head says: its recipient, if that is a function of the request, and its channel. */
static void read_head(struct parts *p, struct str head)
{
    const char *to = head.n ? memmem(head.p, head.n, "to=", 3) : NULL;
    struct str name = {to ? to + 3 : NULL, 0}, thought = STR("<|channel|>analysis");
    if (to && (size_t)(head.p + head.n - name.p) > 10 && memcmp(name.p, "functions.", 10) == 0) name.p += 10;
    while (to && name.p + name.n < head.p + head.n && !scan_is_blank(name.p[name.n]) && name.p[name.n] != '<') name.n++;
    buf_clear(&p->name);
    buf_append_str(&p->name, name);
    p->body = head.n && memmem(head.p, head.n, thought.p, thought.n) ? PART_REASONING : PART_TEXT;
    if (name.n && p->tools && calls_find(p->tools, name) && !p->name.failed) p->body = PART_CALL;
}

static bool head(struct parts *p, parts_sink *sink, void *ud)
{
    struct str mark = marks_channel[MARK_MESSAGE];
    const char *end = memmem(p->held.p, p->held.n < HEAD_MAX ? p->held.n : HEAD_MAX, mark.p, mark.n);
    int is = at_head(p);
    if (is == 0 || (is > 0 && !end && p->held.n < HEAD_MAX)) return false;
    p->mode = PARTS_BODY;
    p->body = PART_TEXT;
    if (is < 0) return true;
    if (!end) { /* too long for a head: text, and its mark is none */
        emit(p, PART_TEXT, count_blanks(p) + 1, sink, ud);
        return true;
    }
    read_head(p, (struct str){p->held.p, (size_t)(end - p->held.p)});
    drop(p, (size_t)(end - p->held.p) + mark.n);
    return true;
}

static void end_body(struct parts *p, size_t n, parts_sink *sink, void *ud)
{
    struct str args = {p->held.p, n};
    json_t *v = p->body == PART_CALL ? json_loadb(n ? args.p : "{}", n ? n : 2, JSON_DECODE_ANY, NULL) : NULL;
    char *text = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text) {
        sink(ud, &(struct part){PART_CALL, str_from(text), buf_str(&p->name)});
        drop(p, n);
    } else {
        emit(p, p->body == PART_REASONING ? PART_REASONING : PART_TEXT, n, sink, ud);
    }
    free(text);
    json_decref(v);
}

static bool body(struct parts *p, parts_sink *sink, void *ud)
{
    static const enum marks_channel ends[] = {MARK_END, MARK_CALL, MARK_RETURN, MARK_START, MARK_CHANNEL};
    size_t least = p->held.n;
    enum marks_channel met = MARK_MESSAGE;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = settled(p, marks_channel[ends[i]]);
        if (n < least) least = n, met = ends[i];
    }
    bool over = least < p->held.n && at_mark(p, least, marks_channel[met]) > 0;
    if (over) end_body(p, least, sink, ud);
    else if (p->body != PART_CALL) emit(p, p->body, least, sink, ud);
    if (!over) return false;
    if (met != MARK_START && met != MARK_CHANNEL) drop(p, marks_channel[met].n);
    p->mode = PARTS_HEAD;
    return true;
}

/* --- all ---------------------------------------------------------------------------------------------------- */

static int run(struct parts *p, bool last, parts_sink *sink, void *ud)
{
    for (bool on = true; on && p->held.n && !p->held.failed;) {
        switch (p->mode) {
        case PARTS_START: on = start(p); break;
        case PARTS_THINK: on = think(p, sink, ud); break;
        case PARTS_TEXT: on = text(p, sink, ud); break;
        case PARTS_CALL: on = call(p, last, sink, ud); break;
        case PARTS_BARE: on = false; break;
        case PARTS_HEAD: on = head(p, sink, ud); break;
        case PARTS_BODY: on = body(p, sink, ud); break;
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
    if (p->mode == PARTS_HEAD) drop(p, p->held.n); /* of a message that did not come */
    if (p->mode == PARTS_BARE && make_calls(p, buf_str(&p->held), sink, ud)) p->held.n = 0;
    if (p->mode == PARTS_BODY) end_body(p, p->held.n, sink, ud);
    emit(p, p->mode == PARTS_THINK ? PART_REASONING : PART_TEXT, p->held.n, sink, ud);
    return p->held.failed;
}
