/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls written as in Python: a name and arguments by keyword, or by position in the order of the function's schema.
 * Values are literals: strings, numbers, True, False, None (and JSON's words), lists, tuples, dicts.
 */
#include <stdint.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/utf8.h"
#include "serve/ask/calls.h"
#include "serve/ask/scan.h"

enum { TEXT_MAX = 1 << 24, NUMBER_MAX = 64 };

static json_t *take_literal(struct str *s, int depth);

/* The character c, behind blanks. */
static bool take(struct str *s, char c)
{
    scan_blanks(s);
    if (!s->n || *s->p != c) return false;
    scan_skip(s, 1);
    return true;
}

static bool take_hex(struct str *s, int digits, struct buf *out)
{
    uint32_t c = 0;
    char utf8[4];
    if (s->n < (size_t)digits) return false;
    for (int i = 0; i < digits; i++) {
        char d = s->p[i];
        int v = d >= '0' && d <= '9'   ? d - '0'
                : d >= 'a' && d <= 'f' ? d - 'a' + 10
                : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                       : -1;
        if (v < 0) return false;
        c = c << 4 | (uint32_t)v;
    }
    scan_skip(s, (size_t)digits);
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return false;
    return buf_append(out, utf8, utf8_encode(c, utf8)) == 0;
}

static bool take_escape(struct str *s, struct buf *out)
{
    static const char from[] = "nrtbfav0\\'\"\n", to[] = "\n\r\t\b\f\a\v\0\\'\"";
    if (!s->n) return false;
    char c = *s->p;
    scan_skip(s, 1);
    if (c == 'x' || c == 'u' || c == 'U') return take_hex(s, c == 'x' ? 2 : c == 'u' ? 4 : 8, out);
    const char *at = c ? strchr(from, c) : NULL;
    /* as Python leaves what it does not know */
    if (!at) return buf_append_char(out, '\\') == 0 && buf_append_char(out, c) == 0;
    if (c == '\n') return true;
    return buf_append_char(out, to[at - from]) == 0;
}

static json_t *take_string(struct str *s)
{
    char quote = *s->p;
    struct buf b;
    bool ok = true;
    bool three = s->n >= 3 && s->p[1] == quote && s->p[2] == quote;
    size_t n = three ? 3 : 1;
    json_t *v = NULL;
    buf_init(&b, TEXT_MAX);
    for (scan_skip(s, n); ok && s->n; ) {
        if (*s->p == quote && (!three || (s->n >= 3 && s->p[1] == quote && s->p[2] == quote))) {
            scan_skip(s, n);
            v = json_stringn(b.p ? b.p : "", b.n);
            break;
        }
        char c = *s->p;
        scan_skip(s, 1);
        ok = c == '\\' ? take_escape(s, &b) : buf_append_char(&b, c) == 0;
    }
    buf_finish(&b);
    return v;
}

/* As JSON has numbers; no sign '+', no '_'. */
static json_t *take_number(struct str *s)
{
    size_t n = 0;
    while (n < s->n && n < NUMBER_MAX && strchr("+-.0123456789eE", s->p[n]) && s->p[n]) n++;
    json_t *v = json_loadb(s->p, n, JSON_DECODE_ANY, NULL);
    if (v) scan_skip(s, n);
    return v;
}

static json_t *take_word(struct str *s)
{
    struct str w = scan_name(s);
    if (str_eqz(w, "True") || str_eqz(w, "true")) return json_true();
    if (str_eqz(w, "False") || str_eqz(w, "false")) return json_false();
    return str_eqz(w, "None") || str_eqz(w, "null") ? json_null() : NULL;
}

/* Behind the opening bracket. */
static json_t *take_list(struct str *s, char close, int depth)
{
    json_t *list = json_array();
    while (list && !take(s, close)) {
        json_t *v = take_literal(s, depth + 1);
        bool ok = v && json_array_append_new(list, v) == 0;
        scan_blanks(s);
        if (ok && (take(s, ',') || (s->n && *s->p == close))) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static json_t *take_dict(struct str *s, int depth)
{
    json_t *dict = json_object();
    while (dict && !take(s, '}')) {
        scan_blanks(s);
        json_t *key = s->n && (*s->p == '"' || *s->p == '\'') ? take_string(s) : NULL;
        json_t *v = key && take(s, ':') ? take_literal(s, depth + 1) : NULL;
        bool ok = v && json_object_setn_new(dict, json_string_value(key), json_string_length(key), v) == 0;
        json_decref(key);
        scan_blanks(s);
        if (ok && (take(s, ',') || (s->n && *s->p == '}'))) continue;
        json_decref(dict);
        dict = NULL;
    }
    return dict;
}

static json_t *take_literal(struct str *s, int depth)
{
    scan_blanks(s);
    if (!s->n || depth > CALLS_DEPTH_MAX) return NULL;
    if (*s->p == '"' || *s->p == '\'') return take_string(s);
    if (take(s, '[')) return take_list(s, ']', depth);
    if (take(s, '(')) return take_list(s, ')', depth);
    if (take(s, '{')) return take_dict(s, depth);
    return *s->p == '-' || *s->p == '.' || (*s->p >= '0' && *s->p <= '9') ? take_number(s) : take_word(s);
}

/* The name of the i-th parameter, or nothing. */
static struct str parameter(const json_t *schema, size_t i)
{
    json_t *all = json_object_get(schema, "properties");
    void *it = json_object_iter(all);
    while (it && i--) it = json_object_iter_next(all, it);
    return it ? (struct str){json_object_iter_key(it), json_object_iter_key_len(it)} : (struct str){NULL, 0};
}

/* key=value, or a value by position. */
static bool take_argument(const json_t *schema, struct str *s, size_t i, json_t *args)
{
    scan_blanks(s);
    struct str rest = *s, key = scan_name(&rest);
    if (key.n && take(&rest, '=')) *s = rest;
    else key = parameter(schema, i);
    json_t *v = key.p ? take_literal(s, 0) : NULL;
    return v && json_object_setn_new(args, key.p, key.n, v) == 0;
}

json_t *calls_read_python(const json_t *tools, struct str *s)
{
    scan_blanks(s);
    struct str name = scan_name(s);
    const json_t *schema = calls_find(tools, name);
    json_t *args = schema && take(s, '(') ? json_object() : NULL;
    for (size_t i = 0; args && !take(s, ')'); i++) {
        bool ok = take_argument(schema, s, i, args);
        scan_blanks(s);
        if (ok && (take(s, ',') || (s->n && *s->p == ')'))) continue;
        json_decref(args);
        args = NULL;
    }
    return args ? json_pack("{s:s%, s:o}", "name", name.p, name.n, "arguments", args) : NULL;
}
