/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/responses: OpenAI's Responses API without a memory: nothing is stored, and a request brings its
 * whole conversation in `input`. It is translated into one of chat/completions and read as such. The answer
 * is a list of items: reasoning, message, function_call. A stream tells how each item begins, grows and ends,
 * then the whole response.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "serve/api/gen.h"
#include "serve/http/json_out.h"
#include "serve/http/ulid.h"

/* --- the request ------------------------------------------------------------------------------------------ */

/* Parts of a content as chat/completions names them. */
static json_t *content_of(const json_t *content)
{
    json_t *out, *part;
    size_t i;
    if (!json_is_array(content)) return json_incref((json_t *)(uintptr_t)content);
    out = json_array();
    json_array_foreach(content, i, part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        bool text = type && (strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0);
        if (text)
            json_array_append_new(
                out, json_pack("{s:s, s:O?}", "type", "text", "text", json_object_get(part, "text")));
        else json_array_append(out, part);
    }
    return out;
}

static int add_item(json_t *list, const json_t *item, size_t i, struct fault *f)
{
    char param[FAULT_PARAM_MAX];
    const char *type = json_string_value(json_object_get(item, "type"));
    const json_t *role = json_object_get(item, "role"), *content = json_object_get(item, "content");
    snprintf(param, sizeof param, "input[%zu]", i);
    if ((!type || strcmp(type, "message") == 0) && json_is_string(role) && content) {
        json_array_append_new(list, json_pack("{s:O, s:o}", "role", role, "content", content_of(content)));
    } else if (type && strcmp(type, "function_call") == 0) {
        json_array_append_new(list,
                              json_pack("{s:s, s:n, s:[{s:O?, s:s, s:{s:O?, s:O?}}]}", "role", "assistant",
                                        "content", "tool_calls", "id", json_object_get(item, "call_id"),
                                        "type", "function", "function", "name", json_object_get(item, "name"),
                                        "arguments", json_object_get(item, "arguments")));
    } else if (type && strcmp(type, "function_call_output") == 0) {
        json_t *output = content_of(json_object_get(item, "output"));
        json_array_append_new(list, json_pack("{s:s, s:O?, s:o}", "role", "tool", "tool_call_id",
                                              json_object_get(item, "call_id"), "content",
                                              output ? output : json_string("")));
    } else if (!type || strcmp(type, "reasoning") != 0) {
        return fault_field(
            f, param, "'%s': expected a message, function_call or function_call_output, got type '%.40s'",
            param, type ? type : "nothing");
    }
    return 0;
}

static json_t *tools_of(const json_t *tools)
{
    json_t *out = json_array(), *t;
    size_t i;
    json_array_foreach(tools, i, t) json_array_append_new(
        out, json_pack("{s:O?, s:{s:O?, s:O*, s:O*}}", "type", json_object_get(t, "type"), "function", "name",
                       json_object_get(t, "name"), "description", json_object_get(t, "description"),
                       "parameters", json_object_get(t, "parameters")));
    return out;
}

static int translate(const json_t *in, json_t **out, struct fault *f)
{
    static const char *const same[] = {"model", "temperature", "top_p",        "stream",
                                       "seed",  "top_k",       "service_tier", "receipt"};
    const json_t *input = json_object_get(in, "input"), *v;
    json_t *list = json_array(), *body = json_object(), *item;
    size_t i;
    int rc = list && body ? 0 : fault_memory(f);
    if (!rc && !json_is_string(input) && !json_is_array(input))
        rc = fault_field(f, "input", "'input' is missing: expected a string or an array of items");
    if ((v = json_object_get(in, "previous_response_id")) && !json_is_null(v) && !rc)
        rc = fault_field(f, "previous_response_id",
                         "'previous_response_id': nothing is stored here; send the conversation in 'input'");
    if (json_is_string(json_object_get(in, "instructions")))
        json_array_append_new(
            list, json_pack("{s:s, s:O}", "role", "system", "content", json_object_get(in, "instructions")));
    if (json_is_string(input)) json_array_append_new(list, json_pack("{s:s, s:O}", "role", "user", "content", input));
    json_array_foreach(input, i, item)
        if (!rc) rc = add_item(list, item, i, f);
    for (size_t k = 0; k < sizeof same / sizeof *same; k++)
        if ((v = json_object_get(in, same[k])) && !json_is_null(v))
            json_object_set(body, same[k], (json_t *)(uintptr_t)v);
    if ((v = json_object_get(in, "max_output_tokens")) && !json_is_null(v))
        json_object_set(body, "max_tokens", (json_t *)(uintptr_t)v);
    if ((v = json_object_get(json_object_get(in, "text"), "format")) && !json_is_null(v))
        json_object_set(body, "response_format", (json_t *)(uintptr_t)v);
    if (json_array_size(v = json_object_get(in, "tools"))) json_object_set_new(body, "tools", tools_of(v));
    if ((v = json_object_get(in, "tool_choice")) && !json_is_null(v))
        json_object_set(body, "tool_choice", (json_t *)(uintptr_t)v);
    json_object_set(body, "messages", list);
    json_decref(list);
    *out = rc ? NULL : body;
    if (rc) json_decref(body);
    return rc;
}

/* --- the answer ------------------------------------------------------------------------------------------- */

/* The items of an answer, as they come. */
struct items {
    struct job *j;
    struct buf *out;   /* the stream, or NULL */
    struct buf done;   /* items that ended, with commas */
    struct buf text;   /* of the item under way */
    int n, open;       /* open: its kind, or -1 */
    int sequence;      /* of the stream's events */
    char id[ULID_CHARS + 1];
};

static void begin_event(struct items *s, const char *name)
{
    buf_printf(s->out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%d", name, name, s->sequence++);
}

static void end_event(struct items *s)
{
    buf_append_z(s->out, "}\n\n");
}

static void write_item(const struct items *s, bool whole, struct buf *out)
{
    buf_printf(out, "{\"id\":\"%s_%s\",\"type\":\"%s\",\"status\":\"%s\"",
               s->open == PART_TEXT ? "msg" : "rs", s->id, s->open == PART_TEXT ? "message" : "reasoning",
               whole ? "completed" : "in_progress");
    if (s->open == PART_TEXT) buf_append_z(out, ",\"role\":\"assistant\",\"content\":[");
    else buf_append_z(out, ",\"summary\":[],\"content\":[");
    if (whole) {
        buf_printf(out, "{\"type\":\"%s\",\"text\":", s->open == PART_TEXT ? "output_text" : "reasoning_text");
        json_quote(out, buf_str(&s->text));
        buf_append_z(out, s->open == PART_TEXT ? ",\"annotations\":[],\"logprobs\":[]}" : "}");
    }
    buf_append_z(out, "]}");
}

static void place(const struct items *s)
{
    buf_printf(s->out, ",\"item_id\":\"%s_%s\",\"output_index\":%d,\"content_index\":0",
               s->open == PART_TEXT ? "msg" : "rs", s->id, s->n);
}

static void open_item(struct items *s, enum part_kind kind)
{
    s->open = (int)kind;
    ulid_make(s->id);
    buf_clear(&s->text);
    if (!s->out) return;
    begin_event(s, "response.output_item.added");
    buf_printf(s->out, ",\"output_index\":%d,\"item\":", s->n);
    write_item(s, false, s->out);
    end_event(s);
    begin_event(s, "response.content_part.added");
    place(s);
    buf_printf(s->out, ",\"part\":{\"type\":\"%s\",\"text\":\"\"%s}",
               kind == PART_TEXT ? "output_text" : "reasoning_text",
               kind == PART_TEXT ? ",\"annotations\":[],\"logprobs\":[]" : "");
    end_event(s);
}

static void close_item(struct items *s)
{
    if (s->open < 0) return;
    if (s->out) {
        begin_event(s, s->open == PART_TEXT ? "response.output_text.done" : "response.reasoning_text.done");
        place(s);
        buf_append_z(s->out, ",\"text\":");
        json_quote(s->out, buf_str(&s->text));
        buf_append_z(s->out, s->open == PART_TEXT ? ",\"logprobs\":[]" : "");
        end_event(s);
        begin_event(s, "response.content_part.done");
        place(s);
        buf_printf(s->out, ",\"part\":{\"type\":\"%s\",\"text\":",
                   s->open == PART_TEXT ? "output_text" : "reasoning_text");
        json_quote(s->out, buf_str(&s->text));
        buf_append_z(s->out, s->open == PART_TEXT ? ",\"annotations\":[],\"logprobs\":[]}" : "}");
        end_event(s);
        begin_event(s, "response.output_item.done");
        buf_printf(s->out, ",\"output_index\":%d,\"item\":", s->n);
        write_item(s, true, s->out);
        end_event(s);
    }
    if (s->n++) buf_append_char(&s->done, ',');
    write_item(s, true, &s->done);
    s->open = -1;
}

static void write_call(const char *id, const struct part *p, bool whole, struct buf *out)
{
    buf_printf(
        out,
        "{\"id\":\"fc_%s\",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":\"call_%s\",\"name\":",
        id, whole ? "completed" : "in_progress", id);
    json_quote(out, p->name);
    buf_append_z(out, ",\"arguments\":");
    json_quote(out, whole ? p->text : STR(""));
    buf_append_char(out, '}');
}

static void add_call(struct items *s, const struct part *p)
{
    ulid_make(s->id);
    if (s->out) {
        begin_event(s, "response.output_item.added");
        buf_printf(s->out, ",\"output_index\":%d,\"item\":", s->n);
        write_call(s->id, p, false, s->out);
        end_event(s);
        for (int done = 0; done < 2; done++) {
            begin_event(s, done ? "response.function_call_arguments.done" : "response.function_call_arguments.delta");
            buf_printf(s->out, ",\"item_id\":\"fc_%s\",\"output_index\":%d,\"%s\":", s->id, s->n,
                       done ? "arguments" : "delta");
            json_quote(s->out, p->text);
            if (done) {
                buf_append_z(s->out, ",\"name\":");
                json_quote(s->out, p->name);
            }
            end_event(s);
        }
        begin_event(s, "response.output_item.done");
        buf_printf(s->out, ",\"output_index\":%d,\"item\":", s->n);
        write_call(s->id, p, true, s->out);
        end_event(s);
    }
    if (s->n++) buf_append_char(&s->done, ',');
    write_call(s->id, p, true, &s->done);
}

static void take_part(void *ud, const struct part *p)
{
    struct items *s = ud;
    if (p->kind == PART_CALL || s->open != (int)p->kind) close_item(s);
    if (p->kind == PART_CALL) {
        add_call(s, p);
        return;
    }
    if (s->open < 0) open_item(s, p->kind);
    buf_append_str(&s->text, p->text);
    if (!s->out) return;
    begin_event(s, p->kind == PART_TEXT ? "response.output_text.delta" : "response.reasoning_text.delta");
    place(s);
    buf_append_z(s->out, ",\"delta\":");
    json_quote(s->out, p->text);
    buf_append_z(s->out, p->kind == PART_TEXT ? ",\"logprobs\":[]" : "");
    end_event(s);
}

/* status NULL: as the answer ended. */
static void write_response(const struct items *s, const char *status, struct buf *out)
{
    const struct job *j = s->j;
    bool cut = !status && strcmp(job_finish_reason(&j->choice[0]), "length") == 0;
    buf_printf(
        out, "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%" PRId64 ",\"status\":\"%s\",\"model\":",
        j->id, j->created,
        status ? status
        : cut  ? "incomplete"
               : "completed");
    json_quote(out, str_from(j->call->m->name));
    buf_append_z(out, ",\"output\":[");
    buf_append_str(out, buf_str(&s->done));
    if (s->done.failed) out->failed = s->done.failed;
    buf_printf(
        out,
        "],\"error\":null,\"incomplete_details\":%s,\"instructions\":null,\"metadata\":{},\"parallel_tool_calls\":true,\"store\":false,\"tool_choice\":\"auto\",\"tools\":[],"
        "\"service_tier\":\"%s\",\"temperature\":%.9g,\"top_p\":%.9g",
        cut ? "{\"reason\":\"max_output_tokens\"}" : "null", job_tier(j), (double)j->ask.sample.temperature,
        (double)j->ask.sample.top_p);
    if (!status) job_write_receipt(j, 0, out);
    if (!status)
        buf_printf(
            out,
            ",\"usage\":{\"input_tokens\":%d,\"input_tokens_details\":{\"cached_tokens\":%d},\"output_tokens\":%d,\"output_tokens_details\":{\"reasoning_tokens\":0},"
            "\"total_tokens\":%d}",
            j->n_prompt, j->n_cached, j->n_answer, j->n_prompt + j->n_answer);
    buf_append_char(out, '}');
}

static struct items *items_of(struct job *j, struct buf *out)
{
    struct items *s = j->choice[0].state;
    s->out = out;
    return s;
}

static void open_stream(struct job *j, struct buf *out)
{
    struct items *s = items_of(j, out);
    static const char *const name[2] = {"response.created", "response.in_progress"};
    for (int i = 0; i < 2; i++) {
        begin_event(s, name[i]);
        buf_append_z(out, ",\"response\":");
        write_response(s, "in_progress", out);
        end_event(s);
    }
}

static void write_token(struct job *j, int choice, const struct job_token *t, struct buf *out)
{
    gen_chat_feed(j, choice, t->text, take_part, items_of(j, out));
}

static void end_stream(struct job *j, struct buf *out)
{
    struct items *s = items_of(j, out);
    gen_chat_finish(j, 0, take_part, s);
    close_item(s);
    begin_event(s, strcmp(job_finish_reason(&j->choice[0]), "length") == 0 ? "response.incomplete"
                                                                           : "response.completed");
    buf_append_z(out, ",\"response\":");
    write_response(s, NULL, out);
    end_event(s);
}

static void write_fault(struct job *j, const struct fault *f, struct buf *out)
{
    struct items *s = items_of(j, out);
    begin_event(s, "error");
    buf_append_z(out, ",\"code\":null,\"param\":null,\"message\":");
    json_quote(out, str_from(f->message));
    end_event(s);
}

static void write_whole(struct job *j, struct buf *out)
{
    struct items *s = items_of(j, NULL);
    if (gen_chat_whole(j, 0, take_part, s)) out->failed = ERR_MEMORY;
    close_item(s);
    write_response(s, NULL, out);
}

static int begin(struct job *j)
{
    struct items *s = j->choice[0].state = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    *s = (struct items){.j = j, .open = -1};
    buf_init(&s->done, API_REPLY_MAX);
    buf_init(&s->text, API_REPLY_MAX);
    return 0;
}

static void finish(struct job *j)
{
    struct items *s = j->choice ? j->choice[0].state : NULL;
    if (s) {
        buf_finish(&s->done);
        buf_finish(&s->text);
    }
    free(s);
    gen_chat_free(j);
}

static const struct job_api responses_api = {.id_prefix = "resp_",
                                             .open = open_stream,
                                             .token = write_token,
                                             .end = end_stream,
                                             .whole = write_whole,
                                             .fault = write_fault,
                                             .begin = begin,
                                             .finish = finish};

void api_responses(struct http_request *r)
{
    gen_chat_answer(call_of(r), translate, &responses_api);
}
