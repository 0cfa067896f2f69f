/* SPDX-License-Identifier: Apache-2.0 */
/* See ask.h. */
#include "serve/ask/ask.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "serve/ask/fields.h"

#define TEMPERATURE_MIN 1e-5f /* below, the likeliest token is meant: some clients write 0 as 1e-8 */

#define AT(f) offsetof(struct ask, f)
static const struct field table[] = {
    {"model", FIELD_STRING, AT(model), 0, 0, 0},
    {"messages", FIELD_ARRAY, AT(messages), 0, 0, ASK_CHAT},
    {"prompt", FIELD_ANY, AT(prompt), 0, 0, ASK_COMPLETION},
    {"stream", FIELD_BOOL, AT(stream), 0, 0, 0},
    {"stream_options", FIELD_OBJECT, AT(stream_options), 0, 0, 0},
    {"n", FIELD_INT, AT(n), 1, ASK_CHOICES_MAX, 0},
    {"best_of", FIELD_INT, AT(best_of), 1, ASK_CHOICES_MAX, ASK_COMPLETION},
    {"max_tokens", FIELD_INT, AT(max_tokens), 0, 1 << 24, 0},
    {"max_completion_tokens", FIELD_INT, AT(max_completion_tokens), 0, 1 << 24, ASK_CHAT},
    {"min_tokens", FIELD_INT, AT(min_tokens), 0, 1 << 24, 0},
    {"temperature", FIELD_FLOAT, AT(sample.temperature), 0, 100, 0},
    {"top_p", FIELD_FLOAT, AT(sample.top_p), 0, 1, 0},
    {"top_k", FIELD_INT, AT(sample.top_k), -1, 1 << 20, 0},
    {"min_p", FIELD_FLOAT, AT(sample.min_p), 0, 1, 0},
    {"repetition_penalty", FIELD_FLOAT, AT(sample.repetition_penalty), 0.01, 100, 0},
    {"frequency_penalty", FIELD_FLOAT, AT(sample.frequency_penalty), -2, 2, 0},
    {"presence_penalty", FIELD_FLOAT, AT(sample.presence_penalty), -2, 2, 0},
    {"seed", FIELD_I64, AT(seed), 0, 0, 0},
    {"seed", FIELD_ANY, AT(seed_any), 0, 0, 0},
    {"stop", FIELD_ANY, AT(stop_any), 0, 0, 0},
    {"stop_token_ids", FIELD_ARRAY, AT(stop_ids_any), 0, 0, 0},
    {"include_stop_str_in_output", FIELD_BOOL, AT(include_stop), 0, 0, 0},
    {"ignore_eos", FIELD_BOOL, AT(ignore_eos), 0, 0, 0},
    {"skip_special_tokens", FIELD_BOOL, AT(skip_special), 0, 0, 0},
    {"return_token_ids", FIELD_BOOL, AT(return_token_ids), 0, 0, 0},
    {"allowed_token_ids", FIELD_ARRAY, AT(allowed_ids), 0, 0, 0},
    {"logit_bias", FIELD_OBJECT, AT(bias_any), 0, 0, 0},
    {"logprobs", FIELD_ANY, AT(logprobs_any), 0, 0, 0},
    {"top_logprobs", FIELD_INT, AT(top_logprobs), 0, ASK_TOP_MAX, ASK_CHAT},
    {"echo", FIELD_BOOL, AT(echo), 0, 0, ASK_COMPLETION},
    {"suffix", FIELD_STRING, AT(suffix), 0, 0, ASK_COMPLETION},
    {"priority", FIELD_INT, AT(priority), -1000, 1000, 0},
    {"service_tier", FIELD_STRING, AT(service_tier), 0, 0, 0},
    {"receipt", FIELD_ANY, AT(receipt_any), 0, 0, 0},
    {"debug", FIELD_BOOL, AT(debug), 0, 0, 0},
    {"tools", FIELD_ARRAY, AT(tools), 0, 0, ASK_CHAT},
    {"tool_choice", FIELD_ANY, AT(tool_choice), 0, 0, ASK_CHAT},
    {"response_format", FIELD_OBJECT, AT(response_format), 0, 0, 0},
    {"structured_outputs", FIELD_OBJECT, AT(structured), 0, 0, 0},
    {"chat_template", FIELD_STRING, AT(chat_template), 0, 0, ASK_CHAT},
    {"chat_template_kwargs", FIELD_OBJECT, AT(template_kwargs), 0, 0, ASK_CHAT},
    {"add_generation_prompt", FIELD_BOOL, AT(add_generation_prompt), 0, 0, ASK_CHAT},
    {"continue_final_message", FIELD_BOOL, AT(continue_final), 0, 0, ASK_CHAT},
    {0}};
#undef AT

int ask_parse_object(struct str text, json_t **out, struct fault *f)
{
    json_error_t je;
    char got[FAULT_GOT_MAX];
    *out = json_loadb(text.p ? text.p : "", text.n, JSON_DECODE_ANY, &je);
    if (!*out) {
        if (json_error_code(&je) == json_error_out_of_memory)
            return fault_set(f, 503, "unavailable_error", NULL, NULL,
                             "out of memory for the body of %zu bytes", text.n);
        return fault_field(f, NULL, "the body is not valid JSON: line %d, column %d: %s", je.line, je.column, je.text);
    }
    if (json_is_object(*out)) return 0;
    fault_field(f, NULL, "the body: expected a JSON object, got %s", fault_got(*out, got));
    json_decref(*out);
    *out = NULL;
    return ERR_USAGE;
}

static int read_stop(struct ask *a, struct fault *f)
{
    const json_t *v = a->stop_any;
    char got[FAULT_GOT_MAX];
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (!v) return 0;
    if (n > STOP_STRINGS_MAX)
        return fault_field(f, "stop", "'stop': expected at most %d strings, got %zu", STOP_STRINGS_MAX, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_string(s))
            return fault_field(f, "stop", "'stop': expected a string or an array of strings, got %s",
                               fault_got(s, got));
        size_t len = json_string_length(s);
        if (len == 0 || len > STOP_BYTES_MAX)
            return fault_field(f, "stop", "'stop': expected strings of 1..%d bytes, got one of %zu",
                               STOP_BYTES_MAX, len);
        a->stop[a->n_stop++] = (struct str){json_string_value(s), len};
    }
    return 0;
}

static int read_receipt(struct ask *a, struct fault *f)
{
    const json_t *v = a->receipt_any;
    const char *z = json_string_value(v);
    char got[FAULT_GOT_MAX];
    if (z && strcmp(z, "private") == 0) a->receipt = ASK_RECEIPT_PRIVATE;
    else if (json_is_true(v)) a->receipt = ASK_RECEIPT_OPEN;
    else if (v && !json_is_false(v))
        return fault_field(f, "receipt", "'receipt': expected true, false or \"private\", got %s",
                           fault_got(v, got));
    return 0;
}

static int read_stop_ids(struct ask *a, struct fault *f)
{
    size_t n = json_array_size(a->stop_ids_any);
    char got[FAULT_GOT_MAX];
    if (n > ASK_STOP_IDS_MAX)
        return fault_field(f, "stop_token_ids", "'stop_token_ids': expected at most %d, got %zu",
                           ASK_STOP_IDS_MAX, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(a->stop_ids_any, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= SAMPLER_VOCAB_MAX)
            return fault_field(f, "stop_token_ids", "'stop_token_ids': expected token ids, got %s", fault_got(v, got));
        a->stop_ids[a->n_stop_ids++] = (int32_t)json_integer_value(v);
    }
    return 0;
}

/* A bias of 0 says nothing, so its key may be anything. */
static int read_bias(struct ask *a, struct fault *f)
{
    size_t n = json_object_size(a->bias_any);
    const char *key;
    json_t *v;
    char got[FAULT_GOT_MAX], *end;
    if (n == 0) return 0;
    if (n > ASK_BIAS_MAX)
        return fault_field(f, "logit_bias", "'logit_bias': expected at most %d entries, got %zu",
                           ASK_BIAS_MAX, n);
    if (!(a->bias = calloc(n, sizeof *a->bias))) return fault_memory(f);
    a->sample.bias = a->bias;
    json_object_foreach((json_t *)(uintptr_t)a->bias_any, key, v) {
        double x = json_number_value(v);
        if (!json_is_number(v) || !(x >= -100 && x <= 100))
            return fault_field(f, "logit_bias",
                               "'logit_bias': token \"%.20s\": expected a number in -100..100, got %s", key,
                               fault_got(v, got));
        errno = 0;
        long id = strtol(key, &end, 10);
        if (x == 0) continue;
        if (end == key || *end || errno || id < 0 || id >= SAMPLER_VOCAB_MAX ||
            !isdigit((unsigned char)*key) || (*key == '0' && id))
            return fault_field(f, "logit_bias", "'logit_bias': expected token ids as keys, got \"%.20s\"", key);
        a->bias[a->sample.n_bias++] = (struct sampler_bias){(int32_t)id, (float)x};
    }
    return 0;
}

/* chat: logprobs is a flag, top_logprobs the number; completions: logprobs is the number. */
static int read_logprobs(struct ask *a, enum ask_api api, struct fault *f)
{
    const json_t *v = a->logprobs_any;
    char got[FAULT_GOT_MAX];
    a->n_top = -1;
    if (api == ASK_CHAT) {
        if (v && !json_is_boolean(v))
            return fault_field(f, "logprobs", "'logprobs': expected true or false, got %s",
                               fault_got(v, got));
        if (json_is_true(v)) a->n_top = a->top_logprobs > 0 ? a->top_logprobs : 0;
        if (!json_is_true(v) && a->top_logprobs > 0)
            return fault_field(f, "top_logprobs", "'top_logprobs' is %d, but 'logprobs' is not true", a->top_logprobs);
        return 0;
    }
    if (!v || json_is_false(v)) return 0;
    if (json_is_true(v)) return a->n_top = 0, 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > ASK_TOP_MAX)
        return fault_field(f, "logprobs", "'logprobs': expected a whole number in 0..%d, got %s", ASK_TOP_MAX,
                           fault_got(v, got));
    a->n_top = (int)json_integer_value(v);
    return 0;
}

static int read_tier(struct ask *a, struct fault *f)
{
    static const struct {
        const char *name;
        enum gate_tier tier;
    } tiers[] = {{"auto", GATE_DEFAULT},  {"default", GATE_DEFAULT},      {"on_demand", GATE_DEFAULT},
                 {"flex", GATE_FLEX},     {"performance", GATE_DEFAULT},  {"priority", GATE_DEFAULT},
                 {"scale", GATE_DEFAULT}, {"standard_only", GATE_DEFAULT}};
    if (!a->service_tier) return 0;
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++) {
        if (strcmp(a->service_tier, tiers[i].name) != 0) continue;
        a->tier = tiers[i].tier;
        return 0;
    }
    return fault_field(
        f, "service_tier",
        "'service_tier': expected auto, default, on_demand, flex, performance or priority, got \"%.40s\"",
        a->service_tier);
}

static int check(struct ask *a, enum ask_api api, struct fault *f)
{
    struct err e = {0};
    int rc;
    if (api == ASK_CHAT && !a->messages)
        return fault_field(f, "messages", "'messages' is missing: expected an array of messages");
    if (api == ASK_COMPLETION && !a->prompt)
        return fault_field(f, "prompt",
                           "'prompt' is missing: expected a string, token ids, or an array of them");
    if (a->suffix && *a->suffix) return fault_field(f, "suffix", "'suffix' is not supported");
    if (a->chat_template)
        return fault_field(
            f, "chat_template",
            "'chat_template': the server uses the model's own; a template of the request is not supported");
    if (a->continue_final) return fault_field(f, "continue_final_message", "'continue_final_message' is not supported");
    if (a->best_of > a->n)
        return fault_field(f, "best_of", "'best_of': %d is more than 'n' (%d), which is not supported",
                           a->best_of, a->n);
    if (a->echo && a->n_top >= 0) return fault_field(f, "echo", "'echo' together with 'logprobs' is not supported");
    const json_t *usage = json_object_get(a->stream_options, "include_usage");
    if (usage && !json_is_null(usage) && !json_is_boolean(usage))
        return fault_field(f, "stream_options.include_usage",
                           "'stream_options.include_usage': expected true or false");
    a->include_usage = json_is_true(usage);
    if (a->max_completion_tokens >= 0) a->max_tokens = a->max_completion_tokens;
    if (a->min_tokens && a->max_tokens >= 0 && a->min_tokens > a->max_tokens)
        return fault_field(f, "min_tokens", "'min_tokens': %d is more than 'max_tokens' (%d)", a->min_tokens,
                           a->max_tokens);
    if (a->sample.temperature < TEMPERATURE_MIN) a->sample.temperature = 0;
    if (a->sample.top_k < 0) a->sample.top_k = 0;
    a->seed_given = a->seed_any != NULL;
    a->sample.seed = (uint64_t)a->seed;
    if ((rc = sampler_params_check(&a->sample, &e))) return fault_err(f, NULL, &e);
    return 0;
}

int ask_take(struct ask *a, json_t *body, enum ask_api api, struct fault *f)
{
    *a = (struct ask){.body = body,
                      .n = 1,
                      .max_tokens = -1,
                      .max_completion_tokens = -1,
                      .top_logprobs = -1,
                      .skip_special = true,
                      .add_generation_prompt = true};
    sampler_params_default(&a->sample);
    /* OpenAI's defaults: nothing is cut off */
    a->sample.temperature = a->sample.top_p = 1;
    a->sample.top_k = 0;
    a->sample.min_p = 0;
    a->sample.penalty_last = -1;
    int rc = body ? 0 : fault_memory(f);
    if (!rc) rc = fields_read(table, api, a->body, a, f);
    if (!rc) rc = read_logprobs(a, api, f);
    if (!rc) rc = check(a, api, f);
    if (!rc) rc = read_stop(a, f);
    if (!rc) rc = read_stop_ids(a, f);
    if (!rc) rc = read_bias(a, f);
    if (!rc) rc = read_tier(a, f);
    if (!rc) rc = read_receipt(a, f);
    if (rc) ask_finish(a);
    return rc;
}

int ask_read(struct ask *a, struct str text, enum ask_api api, struct fault *f)
{
    json_t *body;
    *a = (struct ask){0};
    int rc = ask_parse_object(text, &body, f);
    return rc ? rc : ask_take(a, body, api, f);
}

void ask_finish(struct ask *a)
{
    json_decref(a->body);
    free(a->bias);
    *a = (struct ask){0};
}
