/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients expect them. A request is
 * translated into one of chat/completions and read as such; the answer goes out as blocks: thinking, text,
 * tool_use. A stream is message_start, for each block content_block_start, content_block_delta ...,
 * content_block_stop, then message_delta and message_stop.
 */
#include <stdlib.h>
#include <string.h>
#include "serve/api/gen.h"
#include "serve/http/json_out.h"
#include "serve/http/ulid.h"

/* --- the request ------------------------------------------------------------------------------------------ */

/* The texts of a content (a string, or blocks with text), joined. */
static json_t *text_of(const json_t *content)
{
    struct buf b;
    size_t i;
    json_t *block;
    if (json_is_string(content)) return json_incref((json_t *)(uintptr_t)content);
    buf_init(&b, API_REPLY_MAX);
    json_array_foreach(content, i, block) {
        const json_t *t = json_object_get(block, "text");
        if (b.n && json_is_string(t)) buf_append_char(&b, '\n');
        if (json_is_string(t)) buf_append(&b, json_string_value(t), json_string_length(t));
    }
    json_t *s = b.failed ? NULL : json_stringn(b.p ? b.p : "", b.n);
    buf_finish(&b);
    return s;
}

/* One message becomes one or more: results of tools are messages of their own. */
static int add_message(json_t *out, const json_t *m, size_t i, struct fault *f)
{
    char param[FAULT_PARAM_MAX];
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *content = json_object_get(m, "content");
    json_t *block, *calls = json_array(), *plain = json_array();
    size_t k;
    int rc = 0;
    snprintf(param, sizeof param, "messages[%zu]", i);
    if (!role || (!json_is_string(content) && !json_is_array(content)))
        rc = fault_field(f, param, "'%s': expected role and content", param);
    if (json_is_array(content)) json_array_foreach(content, k, block) {
            const char *type = json_string_value(json_object_get(block, "type"));
            if (rc) break;
            if (type && strcmp(type, "text") == 0) {
                json_array_append(plain, block);
            } else if (type && strcmp(type, "tool_use") == 0) {
                char *args = json_dumps(json_object_get(block, "input"), JSON_COMPACT | JSON_ENCODE_ANY);
                json_array_append_new(calls, json_pack("{s:O?, s:s, s:{s:O?, s:s}}", "id",
                                                       json_object_get(block, "id"), "type", "function",
                                                       "function", "name", json_object_get(block, "name"),
                                                       "arguments", args ? args : "{}"));
                free(args);
            } else if (type && strcmp(type, "tool_result") == 0) {
                json_t *text = text_of(json_object_get(block, "content"));
                json_array_append_new(out, json_pack("{s:s, s:O?, s:o}", "role", "tool", "tool_call_id",
                                                     json_object_get(block, "tool_use_id"), "content",
                                                     text ? text : json_string("")));
            } else if (!type || (strcmp(type, "thinking") != 0 && strcmp(type, "redacted_thinking") != 0)) {
                rc = fault_field(
                    f, param,
                    "'%s.content[%zu].type': '%.40s' is not supported; text, tool_use and tool_result are",
                    param, k, type ? type : "nothing");
            }
        }
    if (!rc && (json_is_string(content) || json_array_size(plain) || json_array_size(calls))) {
        json_t *text = text_of(json_is_string(content) ? content : plain),
               *msg = json_pack("{s:s, s:o}", "role", role, "content", text ? text : json_string(""));
        if (json_array_size(calls)) json_object_set(msg, "tool_calls", calls);
        json_array_append_new(out, msg);
    }
    json_decref(calls);
    json_decref(plain);
    return rc;
}

static json_t *tools_of(const json_t *tools)
{
    json_t *out = json_array(), *t;
    size_t i;
    json_array_foreach(tools, i, t) json_array_append_new(
        out, json_pack("{s:s, s:{s:O?, s:O*, s:O*}}", "type", "function", "function", "name",
                       json_object_get(t, "name"), "description", json_object_get(t, "description"),
                       "parameters", json_object_get(t, "input_schema")));
    return out;
}

static json_t *choice_of(const json_t *choice)
{
    const char *type = json_string_value(json_object_get(choice, "type"));
    if (!type) return NULL;
    if (strcmp(type, "tool") == 0)
        return json_pack("{s:s, s:{s:O?}}", "type", "function", "function", "name",
                         json_object_get(choice, "name"));
    return json_string(strcmp(type, "any") == 0 ? "required" : type);
}

/* The body as chat/completions has it. */
static int translate(const json_t *in, json_t **out, struct fault *f)
{
    static const char *const same[] = {"model", "max_tokens", "temperature", "top_p", "top_k", "stream", "receipt"};
    const json_t *messages = json_object_get(in, "messages"), *system = json_object_get(in, "system"), *v;
    json_t *list = json_array(), *body = json_object(), *m;
    size_t i;
    int rc = list && body ? 0 : fault_memory(f);
    if (!rc && !json_is_array(messages))
        rc = fault_field(f, "messages", "'messages' is missing: expected an array of messages");
    if (!rc && system && !json_is_null(system))
        json_array_append_new(list, json_pack("{s:s, s:o}", "role", "system", "content", text_of(system)));
    json_array_foreach(messages, i, m)
        if (!rc) rc = add_message(list, m, i, f);
    for (size_t k = 0; k < sizeof same / sizeof *same; k++)
        if ((v = json_object_get(in, same[k]))) json_object_set(body, same[k], (json_t *)(uintptr_t)v);
    if ((v = json_object_get(in, "stop_sequences"))) json_object_set(body, "stop", (json_t *)(uintptr_t)v);
    if ((v = json_object_get(in, "tools"))) json_object_set_new(body, "tools", tools_of(v));
    if ((v = json_object_get(in, "tool_choice"))) json_object_set_new(body, "tool_choice", choice_of(v));
    json_object_set(body, "messages", list);
    json_decref(list);
    *out = rc ? NULL : body;
    if (rc) json_decref(body);
    return rc;
}

/* --- the answer ------------------------------------------------------------------------------------------- */

static void write_head(const struct job *j, struct buf *out)
{
    buf_printf(out, "\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", j->id);
    json_quote(out, str_from(j->call->m->name));
}

static const char *stop_reason(const struct job *j, int n_calls)
{
    const struct job_choice *c = &j->choice[0];
    const char *why = job_finish_reason(c);
    if (strcmp(why, "length") == 0) return "max_tokens";
    return n_calls ? "tool_use" : c->stop.n ? "stop_sequence" : "end_turn";
}

static void write_stop(const struct job *j, int n_calls, struct buf *out)
{
    buf_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", stop_reason(j, n_calls));
    if (j->choice[0].stop.n) json_quote(out, buf_str(&j->choice[0].stop));
    else buf_append_z(out, "null");
}

static void write_usage(const struct job *j, struct buf *out)
{
    buf_printf(
        out,
        "{\"input_tokens\":%d,\"cache_read_input_tokens\":%d,\"cache_creation_input_tokens\":0,\"output_tokens\":%d}",
        j->n_prompt - j->n_cached, j->n_cached, j->n_answer);
}

static void write_tool_use(const struct part *p, bool with_input, struct buf *out)
{
    char id[ULID_CHARS + 1];
    ulid_make(id);
    buf_printf(out, "{\"type\":\"tool_use\",\"id\":\"toolu_%s\",\"name\":", id);
    json_quote(out, p->name);
    buf_append_z(out, ",\"input\":");
    if (with_input) buf_append_str(out, p->text);
    else buf_append_z(out, "{}");
    buf_append_char(out, '}');
}

static const char *const block_type[] = {[PART_TEXT] = "text", [PART_REASONING] = "thinking"};

/* A block that grows: of the stream, or of the whole answer. */
struct blocks {
    struct job *j;
    struct buf *out;
    int n, n_calls, open; /* open: kind of the block under way, -1: none */
};

static void event(struct buf *out, const char *name)
{
    buf_printf(out, "event: %s\ndata: {\"type\":\"%s\"", name, name);
}

static void close_block(struct blocks *b)
{
    if (b->open >= 0) {
        event(b->out, "content_block_stop");
        buf_printf(b->out, ",\"index\":%d}\n\n", b->n++);
    }
    b->open = -1;
}

static void stream_part(void *ud, const struct part *p)
{
    struct blocks *b = ud;
    if (p->kind == PART_CALL || b->open != (int)p->kind) {
        close_block(b);
        event(b->out, "content_block_start");
        buf_printf(b->out, ",\"index\":%d,\"content_block\":", b->n);
        if (p->kind == PART_CALL) write_tool_use(p, false, b->out);
        else
            buf_printf(b->out, "{\"type\":\"%s\",\"%s\":\"\"%s}", block_type[p->kind], block_type[p->kind],
                       p->kind == PART_REASONING ? ",\"signature\":\"\"" : "");
        buf_append_z(b->out, "}\n\n");
        b->open = (int)p->kind;
    }
    event(b->out, "content_block_delta");
    buf_printf(b->out, ",\"index\":%d,\"delta\":{\"type\":\"%s\",\"%s\":", b->n,
               p->kind == PART_CALL ? "input_json_delta" : p->kind == PART_REASONING ? "thinking_delta" : "text_delta",
               p->kind == PART_CALL ? "partial_json" : block_type[p->kind]);
    json_quote(b->out, p->text);
    buf_append_z(b->out, "}}\n\n");
    if (p->kind != PART_CALL) return;
    b->n_calls++;
    close_block(b);
}

static void open_stream(struct job *j, struct buf *out)
{
    event(out, "message_start");
    buf_append_z(out, ",\"message\":{");
    write_head(j, out);
    buf_printf(
        out,
        ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":%d,\"output_tokens\":0}}}\n\n",
        j->prompt[0].n_ids);
}

static struct blocks *blocks_of(struct job *j, struct buf *out)
{
    struct blocks *b = j->choice[0].state;
    b->out = out;
    return b;
}

static void write_token(struct job *j, int choice, const struct job_token *t, struct buf *out)
{
    gen_chat_feed(j, choice, t->text, stream_part, blocks_of(j, out));
}

static void end_stream(struct job *j, struct buf *out)
{
    struct blocks *b = blocks_of(j, out);
    gen_chat_finish(j, 0, stream_part, b);
    close_block(b);
    event(out, "message_delta");
    buf_append_z(out, ",\"delta\":{");
    write_stop(j, b->n_calls, out);
    buf_append_z(out, "},\"usage\":");
    write_usage(j, out);
    job_write_receipt(j, 0, out);
    buf_append_z(out, "}\n\n");
    event(out, "message_stop");
    buf_append_z(out, "}\n\n");
}

static const char *fault_type(int status)
{
    static const struct {
        int status;
        const char *type;
    } types[] = {{401, "authentication_error"}, {402, "billing_error"},     {403, "permission_error"},
                 {404, "not_found_error"},      {413, "request_too_large"}, {429, "rate_limit_error"},
                 {498, "overloaded_error"},     {503, "overloaded_error"},  {504, "timeout_error"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].status == status) return types[i].type;
    return status < 500 ? "invalid_request_error" : "api_error";
}

static void write_error(struct buf *out, int status, const char *message)
{
    buf_printf(out, "\"error\":{\"type\":\"%s\",\"message\":", fault_type(status));
    json_quote(out, str_from(message));
    buf_append_char(out, '}');
}

void messages_write_fault(struct buf *out, const struct http_fault *f)
{
    buf_append_z(out, "{\"type\":\"error\",");
    write_error(out, f->status, f->message);
    buf_append_z(out, "}\n");
}

static void write_fault(struct job *j, const struct fault *f, struct buf *out)
{
    (void)j;
    event(out, "error");
    buf_append_char(out, ',');
    write_error(out, f->status, f->message);
    buf_append_z(out, "}\n\n");
}

static void whole_part(void *ud, const struct part *p)
{
    struct blocks *b = ud;
    if (p->kind != PART_CALL && b->open == (int)p->kind) { /* goes on: without its closing quote and brace */
        b->out->n -= 2;
        struct buf more;
        buf_init(&more, API_REPLY_MAX);
        json_quote(&more, p->text);
        if (more.n > 1) buf_append(b->out, more.p + 1, more.n - 1);
        buf_finish(&more);
        buf_append_char(b->out, '}');
        return;
    }
    if (b->n++) buf_append_char(b->out, ',');
    b->open = p->kind == PART_CALL ? -1 : (int)p->kind;
    if (p->kind == PART_CALL) {
        b->n_calls++;
        write_tool_use(p, true, b->out);
        return;
    }
    buf_printf(b->out, "{\"type\":\"%s\",%s\"%s\":", block_type[p->kind],
               p->kind == PART_REASONING ? "\"signature\":\"\"," : "", block_type[p->kind]);
    json_quote(b->out, p->text);
    buf_append_char(b->out, '}');
}

static void write_whole(struct job *j, struct buf *out)
{
    struct blocks b = {.j = j, .out = out, .open = -1};
    buf_append_char(out, '{');
    write_head(j, out);
    buf_append_z(out, ",\"content\":[");
    if (gen_chat_whole(j, 0, whole_part, &b)) out->failed = ERR_MEMORY;
    buf_append_z(out, "],");
    write_stop(j, b.n_calls, out);
    buf_append_z(out, ",\"usage\":");
    write_usage(j, out);
    job_write_receipt(j, 0, out);
    buf_append_char(out, '}');
}

static int begin(struct job *j)
{
    struct blocks *b = j->choice[0].state = calloc(1, sizeof *b);
    if (b) *b = (struct blocks){.j = j, .open = -1};
    return b ? 0 : ERR_MEMORY;
}

static void finish(struct job *j)
{
    if (j->choice) free(j->choice[0].state);
    gen_chat_free(j);
}

static const struct job_api messages_api = {.id_prefix = "msg_",
                                            .open = open_stream,
                                            .token = write_token,
                                            .end = end_stream,
                                            .whole = write_whole,
                                            .fault = write_fault,
                                            .begin = begin,
                                            .finish = finish};

/* --- routes ----------------------------------------------------------------------------------------------- */

void api_messages(struct http_request *r)
{
    gen_chat_answer(call_of(r), translate, &messages_api);
}

void api_count_tokens(struct http_request *r)
{
    struct call *c = call_of(r);
    struct gen_ask g;
    struct fault f;
    struct buf b;
    if (gen_ask_read(c, translate, &g, &f)) {
        call_fail(c, &f);
        return;
    }
    buf_init(&b, API_REPLY_MAX);
    buf_printf(&b, "{\"input_tokens\":%zu}", g.ids.n);
    gen_ask_finish(&g);
    call_json(c, 200, &b);
}
