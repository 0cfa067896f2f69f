/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_cli: the template interpreter behind lines of JSON, for tests/oracle/template.py. Each line of
 * standard input is {"template": "...", "input": {"messages", "tools", "kwargs", "specials", "bos_token",
 * "eos_token", "add_generation_prompt", "now"}}; each answer is {"text": ..., "segments": [[text, trusted],
 * ...]} or
 * {"error": code, "message": ...}.
 */
#include <stdio.h>
#include <stdlib.h>
#include "token/template/template.h"

static struct str text_of(const json_t *j, const char *key)
{
    const json_t *s = json_object_get(j, key);
    return json_is_string(s) ? (struct str){json_string_value(s), json_string_length(s)}
                             : (struct str){NULL, 0};
}

static json_t *not_null(json_t *j)
{
    return json_is_null(j) ? NULL : j;
}

static json_t *answer(const json_t *line)
{
    const json_t *i = json_object_get(line, "input");
    struct err e = {0};
    struct template *t;
    struct template_output out = {0};
    struct template_input in = {
        .messages = not_null(json_object_get(i, "messages")),
        .tools = not_null(json_object_get(i, "tools")),
        .kwargs = not_null(json_object_get(i, "kwargs")),
        .specials = not_null(json_object_get(i, "specials")),
        .bos_token = text_of(i, "bos_token"),
        .eos_token = text_of(i, "eos_token"),
        .add_generation_prompt = json_is_true(json_object_get(i, "add_generation_prompt")),
        .now_s = json_integer_value(json_object_get(i, "now")),
    };
    int code = template_compile(&t, text_of(line, "template"), &e);
    if (code == 0) code = template_render(t, &in, &out, &e);
    template_destroy(t);
    if (code < 0) return json_pack("{s:i, s:s}", "error", code, "message", e.msg);
    json_t *seg = json_array();
    for (size_t k = 0; k < out.n_seg; k++)
        json_array_append_new(
            seg, json_pack("[s%, b]", out.seg[k].text.p, out.seg[k].text.n, (int)out.seg[k].trusted));
    json_t *r = json_pack("{s:s%, s:o}", "text", out.text.p, out.text.n, "segments", seg);
    template_output_finish(&out);
    return r;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_error_t je;
        json_t *j = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &je);
        json_t *r = j ? answer(j) : json_pack("{s:i, s:s}", "error", 1, "message", je.text);
        if (r) json_dumpf(r, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(r);
        json_decref(j);
    }
    free(line);
    return 0;
}
