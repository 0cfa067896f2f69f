/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: serve/ask/parts. The first byte chooses how the model thinks, the second the pieces; the rest
 * is an answer. However it is cut, the same parts come out, and an answer without tools, thoughts and
 * channels comes out as it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "serve/ask/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 1 << 20 };

static const char *const templates[] = {"", "<think>", "[THINK]", "<seed:think>", "<|channel|><|message|>"};

static void gather(void *ud, const struct part *p)
{
    struct buf *b = ud;
    if (p->kind == PART_CALL) {
        must(p->name.n);
        buf_append_z(b, "\nC ");
        buf_append_str(b, p->name);
        buf_append_z(b, " ");
        buf_append_str(b, p->text);
    }
    for (size_t i = 0; i < p->text.n && p->kind != PART_CALL; i++) { /* pieces of one kind are one */
        buf_append_char(b, p->kind == PART_TEXT ? 'T' : 'R');
        buf_append_char(b, p->text.p[i]);
    }
}

static void take_apart(const json_t *tools, const struct marks *m, bool thinking, struct str text, size_t cut,
                       struct buf *out)
{
    struct parts p;
    parts_init(&p, tools, m, thinking, TEXT_MAX);
    for (size_t at = 0; at < text.n; at += cut) {
        size_t n = text.n - at < cut ? text.n - at : cut;
        must(parts_feed(&p, (struct str){text.p + at, n}, gather, out) == 0);
    }
    must(parts_finish(&p, gather, out) == 0);
    parts_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *tools;
    struct marks m;
    struct buf whole, cut;
    if (!tools)
        tools = json_loads(
            "[{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"}}}},{\"function\":{\"name\":\"g\"}}]",
            0, NULL);
    if (size < 2) return 0;
    bool with = data[0] & 1, thinking = data[0] & 2;
    marks_read(&m, str_from(templates[(data[0] >> 2) % 5]), NULL);
    struct str text = {(const char *)data + 2, size - 2};
    buf_init(&whole, TEXT_MAX);
    buf_init(&cut, TEXT_MAX);
    take_apart(with ? tools : NULL, &m, thinking, text, text.n + 1, &whole);
    take_apart(with ? tools : NULL, &m, thinking, text, 1 + data[1] % 16, &cut);
    must(whole.n == cut.n && (whole.n == 0 || memcmp(whole.p, cut.p, whole.n) == 0));
    must(with || m.think || m.channels || whole.n == 2 * text.n);
    buf_finish(&whole);
    buf_finish(&cut);
    return 0;
}
