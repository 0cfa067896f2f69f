/* SPDX-License-Identifier: Apache-2.0 */
/* See marks.h. */
#include "serve/ask/marks.h"

enum { TAIL_TOKENS = 8, TAIL_BYTES = 256 };

const struct marks_pair marks_call[MARKS_CALLS] = {
    {STR("<tool_call>"), STR("</tool_call>"), false},     /* Hermes, Qwen, SmolLM3, GLM-4.5, Granite 4 */
    {STR("<|tool_call|>"), STR("<|/tool_call|>"), false}, /* Phi-4-mini; Granite 3, which does not close it */
    {STR("[TOOL_CALLS]"), STR(""), false},                /* Mistral */
    {STR(DEEPSEEK("tool" LOW "calls" LOW "begin")), STR(DEEPSEEK("tool" LOW "calls" LOW "end")),
     false},                                                                         /* DeepSeek */
    {STR("<|tool_calls_section_begin|>"), STR("<|tool_calls_section_end|>"), false}, /* Kimi K2 */
    {STR("<|python_tag|>"), STR(""), false},                                         /* Llama 3.1 */
    {STR("<seed:tool_call>"), STR("</seed:tool_call>"), false},                      /* Seed-OSS */
    {STR("<function_calls>"), STR("</function_calls>"), false},                      /* OLMo 3 */
    {STR("<|action_start|>"), STR("<|action_end|>"), false},                         /* InternLM 2 */
    {STR("```tool_code\n"), STR("```"), false},                                      /* Gemma */
    {STR("```tool_call\n"), STR("```"), false},
    {STR("```json\n"), STR("```"), true}, /* who was told in words (tools.h) */
};

static const struct marks_pair thoughts[MARKS_THOUGHTS] = {
    {STR("<think>"), STR("</think>"), false},
    {STR("[THINK]"), STR("[/THINK]"), false},           /* Magistral, Ministral 3 */
    {STR("<seed:think>"), STR("</seed:think>"), false}, /* Seed-OSS */
};

const struct str marks_channel[MARKS_CHANNELS] = {
    [MARK_START] = STR("<|start|>"),         [MARK_CHANNEL] = STR("<|channel|>"),
    [MARK_MESSAGE] = STR("<|message|>"),     [MARK_END] = STR("<|end|>"),
    [MARK_CALL] = STR("<|call|>"),           [MARK_RETURN] = STR("<|return|>"),
    [MARK_CONSTRAIN] = STR("<|constrain|>"),
};

/* What stands within calls. */
static const struct str within[] = {STR(DEEPSEEK("tool" LOW "call" LOW "begin")),
                                    STR(DEEPSEEK("tool" LOW "call" LOW "end")),
                                    STR(DEEPSEEK("tool" LOW "sep")),
                                    STR("[ARGS]"),
                                    STR("[CALL_ID]"),
                                    STR("<|plugin|>"),
                                    STR("<|tool_call_begin|>"),
                                    STR("<|tool_call_argument_begin|>"),
                                    STR("<|tool_call_end|>"),
                                    STR("<arg_key>"),
                                    STR("</arg_key>"),
                                    STR("<arg_value>"),
                                    STR("</arg_value>")};

static bool has(struct str text, struct str mark)
{
    return text.n && memmem(text.p, text.n, mark.p, mark.n);
}

static void add_id(struct marks *m, const struct tokenizer *t, struct str mark)
{
    int32_t id = mark.n && t ? tokenizer_find_special(t, mark) : -1;
    if (id >= 0 && tokenizer_type(t, id) == TOKEN_CONTROL && m->n_ids < MARKS_IDS_MAX) m->ids[m->n_ids++] = id;
}

void marks_read(struct marks *m, struct str template, const struct tokenizer *t)
{
    *m = (struct marks){.channels = has(template, marks_channel[MARK_CHANNEL]) &&
                                    has(template, marks_channel[MARK_MESSAGE]),
                        .tools = has(template, STR("tools"))};
    for (int i = 0; i < MARKS_THOUGHTS && !m->think && !m->channels; i++)
        if (has(template, thoughts[i].open) || has(template, thoughts[i].close)) m->think = &thoughts[i];
    for (int i = 0; i < MARKS_CHANNELS && m->channels; i++) add_id(m, t, marks_channel[i]);
    for (int i = 0; i < MARKS_CALLS; i++) add_id(m, t, marks_call[i].open), add_id(m, t, marks_call[i].close);
    for (size_t i = 0; i < sizeof within / sizeof *within; i++) add_id(m, t, within[i]);
    if (m->think) add_id(m, t, m->think->open), add_id(m, t, m->think->close);
}

bool marks_end_thinking(const struct marks *m, const struct tokenizer *t, const int32_t *ids, int n_ids)
{
    char tail[TAIL_BYTES];
    size_t n = 0;
    for (int i = n_ids > TAIL_TOKENS ? n_ids - TAIL_TOKENS : 0; i < n_ids; i++) {
        struct str s = tokenizer_piece(t, ids[i]);
        if (s.n > sizeof tail) return false;
        if (n + s.n > sizeof tail) n = 0;
        if (s.n) memcpy(tail + n, s.p, s.n);
        n += s.n;
    }
    while (n && (tail[n - 1] == '\n' || tail[n - 1] == ' ')) n--;
    return m->think && n >= m->think->open.n &&
           memcmp(tail + n - m->think->open.n, m->think->open.p, m->think->open.n) == 0;
}
