/* SPDX-License-Identifier: Apache-2.0 */
/* See show.h. */
#include "show.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/utf8.h"
#include "common.h"

#define DIM "\033[2m"
#define DIM_END "\033[22m"

/* --- opening ---------------------------------------------------------------------------------------------- */

int show_set(struct show *s, const char *how, struct err *e)
{
    bool raw = strcmp(how, "raw") == 0, hide = strcmp(how, "hide") == 0;
    if (!raw && !hide && strcmp(how, "show") != 0)
        return err(e, ERR_USAGE, "thoughts '%s' is unknown: show, hide or raw", how);
    s->hide = hide;
    s->apart = !raw && (s->marks.think || s->marks.channels || s->tools.list);
    return 0;
}

static int read_kwargs(struct show *s, struct err *e)
{
    json_error_t je;
    if (!s->kwargs_text) return 0;
    s->kwargs = json_loads(s->kwargs_text, JSON_REJECT_DUPLICATES, &je);
    if (!json_is_object(s->kwargs))
        return err(e, ERR_USAGE,
                   "--template-kwargs: expected a JSON object, as {\"enable_thinking\": false}%s%s",
                   s->kwargs ? "" : ": ", s->kwargs ? "" : je.text);
    return 0;
}

/* An array of functions, or an object that has one as "tools", like a request. */
static int read_tools(struct show *s, struct err *e)
{
    char *text = NULL;
    size_t n = 0;
    json_error_t je;
    struct fault f = {0};
    if (!s->tools_file) return 0;
    int rc = common_read_file(s->tools_file, &text, &n, e);
    if (rc) return rc;
    s->tools_json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);
    free(text);
    if (!s->tools_json) return err(e, ERR_FORMAT, "%s, line %d: %s", s->tools_file, je.line, je.text);
    const json_t *list = json_is_object(s->tools_json) ? json_object_get(s->tools_json, "tools") : s->tools_json;
    if (!json_array_size(list)) return err(e, ERR_FORMAT, "%s: expected an array of functions", s->tools_file);
    return tools_read(&s->tools, list, NULL, &f) ? err(e, ERR_FORMAT, "%s: %s", s->tools_file, f.message) : 0;
}

int show_open(struct show *s, struct str template, const struct text *t, struct err *e)
{
    int rc;
    buf_init(&s->text, SHOW_TEXT_MAX);
    marks_read(&s->marks, template, t->tok);
    if ((rc = read_tools(s, e)) || (rc = read_kwargs(s, e)) ||
        (rc = show_set(s, s->how ? s->how : "show", e)))
        return rc;
    const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
    s->aside = isatty(STDOUT_FILENO) ? stdout : stderr;
    s->dim = s->aside == stdout && !(plain && *plain) && !(term && strcmp(term, "dumb") == 0);
    return 0;
}

void show_close(struct show *s)
{
    parts_free(&s->parts);
    buf_finish(&s->text);
    json_decref(s->calls);
    json_decref(s->kwargs);
    json_decref(s->tools_json);
}

/* --- output ----------------------------------------------------------------------------------------------- */

/* A model's text must not steer the terminal: control characters but tab and newline become U+FFFD. */
static void write_terminal(FILE *to, struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool c1 = c == 0xC2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xA0;
        if (!c1 && (c >= 0x20 || c == '\n' || c == '\t') && c != 0x7F) continue;
        fwrite(s.p + from, 1, i - from, to);
        fwrite(UTF8_REPLACEMENT.p, 1, UTF8_REPLACEMENT.n, to);
        i += c1;
        from = i + 1;
    }
    fwrite(s.p + from, 1, s.n - from, to);
}

static char *last_of(struct show *s, const FILE *to)
{
    return to == stdout ? &s->last : &s->last_aside;
}

static void put(struct show *s, FILE *to, struct str text)
{
    if (!text.n) return;
    if (isatty(fileno(to)))
        write_terminal(to, text);
    else
        fwrite(text.p, 1, text.n, to);
    *last_of(s, to) = text.p[text.n - 1];
}

static int flush(struct show *s)
{
    errno = 0;
    if ((fflush(stdout) || ferror(stdout)) && !s->write_errno) s->write_errno = errno ? errno : EIO;
    return s->write_errno;
}

static void begin_thought(struct show *s)
{
    if (*last_of(s, s->aside) != '\n') fputc('\n', s->aside);
    fputs(s->dim ? DIM : "(thinking)\n", s->aside);
    s->thinking = true;
    *last_of(s, s->aside) = '\n';
}

static void end_thought(struct show *s)
{
    if (!s->thinking) return;
    if (*last_of(s, s->aside) != '\n') fputc('\n', s->aside);
    fputs(s->dim ? DIM_END "\n" : s->aside == stdout ? "(end of thinking)\n\n" : "(end of thinking)\n", s->aside);
    s->thinking = false;
    *last_of(s, s->aside) = '\n';
}

/* One line of JSON, and a call of the message. */
static void put_call(struct show *s, const struct part *p)
{
    json_t *args = json_loadb(p->text.p, p->text.n, JSON_DECODE_ANY, NULL);
    if (!args) args = json_stringn(p->text.p, p->text.n);
    json_t *call = json_pack("{s:s%, s:O}", "name", p->name.p, p->name.n, "arguments", args);
    char *line = call ? json_dumps(call, 0) : NULL;
    if (show_in_line(s)) put(s, stdout, STR("\n"));
    if (line) put(s, stdout, str_from(line));
    put(s, stdout, STR("\n"));
    if (!s->calls) s->calls = json_array();
    json_array_append_new(s->calls, json_pack("{s:s, s:O}", "type", "function", "function", call));
    free(line);
    json_decref(call);
    json_decref(args);
}

static void take_part(void *ud, const struct part *p)
{
    struct show *s = ud;
    if (p->kind == PART_REASONING) {
        if (s->hide) return;
        if (!s->thinking) begin_thought(s);
        put(s, s->aside, p->text);
        return;
    }
    end_thought(s);
    if (p->kind == PART_CALL) {
        put_call(s, p);
        return;
    }
    buf_append_str(&s->text, p->text);
    put(s, stdout, p->text);
}

/* --- an answer -------------------------------------------------------------------------------------------- */

void show_begin(struct show *s, const struct text *t, const int32_t *ids, int n_ids, bool form)
{
    bool thinking = s->apart && !form && marks_end_thinking(&s->marks, t->tok, ids, n_ids);
    parts_free(&s->parts);
    parts_init(&s->parts, s->tools.list, &s->marks, thinking, SHOW_TEXT_MAX);
    buf_clear(&s->text);
    json_decref(s->calls);
    s->calls = NULL;
    s->thinking = false;
    s->last = s->last_aside = '\n';
    s->write_errno = 0;
}

int show_piece(struct show *s, struct str piece)
{
    if (s->apart) {
        if (parts_feed(&s->parts, piece, take_part, s)) return s->write_errno = ENOMEM;
    } else {
        buf_append_str(&s->text, piece);
        put(s, stdout, piece);
    }
    return flush(s);
}

int show_end(struct show *s)
{
    if (s->apart && !s->write_errno) parts_finish(&s->parts, take_part, s);
    end_thought(s);
    return flush(s);
}

bool show_in_line(const struct show *s)
{
    return s->last != '\n';
}
