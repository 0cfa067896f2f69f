/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of the chat-template interpreter. The input is a template, or a template, a NUL byte and the
 * messages as JSON; without its own messages a template meets a fixed conversation with tools. Beside crashes
 * it looks for a broken promise: the segments must add up to the text, and a private-use character that only
 * the messages contain must never be trusted.
 */
#include <stdlib.h>
#include "token/template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char FIXED[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be \xEE\x80\x80 "
    "brief.\"},{\"role\":\"user\",\"content\":"
    "[{\"type\":\"text\",\"text\":\"Hi <|x|> "
    "\xEE\x80\x80\"}]},{\"role\":\"assistant\",\"content\":\"<think>\\nhm\xEE\x80\x80\\n</think>yes\","
    "\"tool_calls\":[{\"id\":\"a1\",\"type\":\"function\",\"function\":{\"name\":\"f\xEE\x80\x80\","
    "\"arguments\":{\"x\":1,\"y\":[2.5,null]}}}]},"
    "{\"role\":\"tool\",\"tool_call_id\":\"a1\",\"content\":\"21 "
    "\xEE\x80\x80\"}],\"tools\":[{\"type\":\"function\",\"function\":"
    "{\"name\":\"f\xEE\x80\x80\",\"parameters\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":"
    "\"integer\"}},\"required\":[\"x\"]}}}],"
    "\"kwargs\":{\"enable_thinking\":true,\"n\":42,\"f\":2.5,\"s\":\"Hello "
    "World\",\"nothing\":null,\"yes\":true,"
    "\"d\":{\"a\":1,\"\xEE\x80\x80\":{\"q\xEE\x80\x80\":1},\"b\":\"two\",\"c\":[3]},\"e\":{\"items\":5,"
    "\"keys\":\"k\"},\"l\":[10,20,30,40,50],"
    "\"uni\":\"n\xC3\xA9\xEE\x80\x80x\","
    "\"users\":[{\"name\":\"Bob\",\"age\":30,\"admin\":false,\"tags\":[\"x\",\"y\"]},{\"name\":\"alice\","
    "\"age\":25,"
    "\"admin\":true,\"tags\":[]}]}}";

static void check(const struct template_output *out, struct str source)
{
    size_t n = 0;
    bool in_source = memmem(source.p, source.n, "\xEE\x80\x80", 3) || memmem(source.p, source.n, "\\", 1);
    for (size_t i = 0; i < out->n_seg; i++) {
        struct str s = out->seg[i].text;
        must(s.p == out->text.p + n && s.n > 0);
        must(i == 0 || out->seg[i].trusted != out->seg[i - 1].trusted);
        must(in_source || !out->seg[i].trusted || !memmem(s.p, s.n, "\xEE\x80\x80", 3));
        n += s.n;
    }
    must(n == out->text.n && out->text.p[n] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *fixed;
    if (!fixed) fixed = json_loads(FIXED, 0, NULL);
    must(fixed != NULL);
    const uint8_t *cut = size ? memchr(data, 0, size) : NULL;
    struct str source = {(const char *)data, cut ? (size_t)(cut - data) : size};
    struct template_input in = {
        .messages = json_object_get(fixed, "messages"),
        .tools = json_object_get(fixed, "tools"),
        .kwargs = json_object_get(fixed, "kwargs"),
        .bos_token = STR("<s>"),
        .eos_token = STR("</s>"),
        .add_generation_prompt = true,
        .now_s = 1767323045,
    };
    struct template *t;
    struct template_output out;
    struct err e = {0};
    json_t *own = NULL;
    if (template_compile(&t, source, &e) < 0) return 0;
    if (cut && (own = json_loadb((const char *)cut + 1, size - source.n - 1, JSON_ALLOW_NUL | JSON_DECODE_ANY,
                                 NULL)))
        in.messages = own;
    if (template_render(t, &in, &out, &e) == 0) {
        if (!own) check(&out, source);
        template_output_finish(&out);
    }
    template_destroy(t);
    json_decref(own);
    return 0;
}
