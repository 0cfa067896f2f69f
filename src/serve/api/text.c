/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /tokenize, /detokenize and /apply-template, which need no step of the model. Each knows the fields of
 * llama-server (content, with_pieces, add_special) and of vLLM (prompt or messages, add_special_tokens,
 * return_token_strs), and answers in both ways.
 */
#include "serve/api/gen.h"
#include "serve/ask/fields.h"
#include "serve/http/json_out.h"

struct text_ask {
    const char *model;
    const json_t *content, *prompt, *messages, *tools, *kwargs, *tokens;
    bool add_special, add_special_tokens, parse_special, with_pieces, token_strs, add_generation_prompt;
};

#define AT(f) offsetof(struct text_ask, f)
static const struct field table[] = {
    {"model", FIELD_STRING, AT(model), 0, 0, 0},
    {"content", FIELD_ANY, AT(content), 0, 0, 0},
    {"prompt", FIELD_ANY, AT(prompt), 0, 0, 0},
    {"messages", FIELD_ARRAY, AT(messages), 0, 0, 0},
    {"tools", FIELD_ARRAY, AT(tools), 0, 0, 0},
    {"chat_template_kwargs", FIELD_OBJECT, AT(kwargs), 0, 0, 0},
    {"tokens", FIELD_ARRAY, AT(tokens), 0, 0, 0},
    {"add_special", FIELD_BOOL, AT(add_special), 0, 0, 0},
    {"add_special_tokens", FIELD_BOOL, AT(add_special_tokens), 0, 0, 0},
    {"parse_special", FIELD_BOOL, AT(parse_special), 0, 0, 0},
    {"with_pieces", FIELD_BOOL, AT(with_pieces), 0, 0, 0},
    {"return_token_strs", FIELD_BOOL, AT(token_strs), 0, 0, 0},
    {"add_generation_prompt", FIELD_BOOL, AT(add_generation_prompt), 0, 0, 0},
    {0}};
#undef AT

/* Reads the body and finds the model; *body is to be freed. */
static int begin(struct call *c, struct text_ask *a, json_t **body, struct fault *f)
{
    *a = (struct text_ask){.add_special_tokens = true, .parse_special = true, .add_generation_prompt = true};
    int rc = ask_parse_object(http_body(c->r), body, f);
    if (!rc) rc = fields_read(table, 0, *body, a, f);
    return rc ? rc : call_model(c, a->model, f);
}

static int make_ids(struct call *c, const struct text_ask *a, struct ids *ids, struct fault *f)
{
    const json_t *v = a->content ? a->content : a->prompt;
    char got[FAULT_GOT_MAX];
    if (a->messages)
        return gen_chat_prompt(c, a->messages, a->tools, a->kwargs, a->add_generation_prompt, ids, NULL, f);
    if (!v) return fault_field(f, "content", "'content' (or 'prompt', or 'messages') is missing");
    if (!json_is_string(v))
        return fault_field(f, a->content ? "content" : "prompt", "'%s': expected a string, got %s",
                           a->content ? "content" : "prompt", fault_got(v, got));
    return gen_text_prompt(c, (struct str){json_string_value(v), json_string_length(v)},
                           a->content ? a->add_special : a->add_special_tokens, a->parse_special, ids, f);
}

static void write_pieces(struct buf *b, const struct tokenizer *t, const struct ids *ids)
{
    for (size_t i = 0; i < ids->n; i++) {
        struct str piece = tokenizer_piece(t, ids->p[i]);
        buf_printf(b, "%s{\"id\":%d,\"piece\":", i ? "," : "", (int)ids->p[i]);
        if (utf8_valid(piece) == piece.n) json_quote(b, piece);
        else json_bytes(b, piece);
        buf_append_char(b, '}');
    }
}

void api_tokenize(struct http_request *r)
{
    struct call *c = call_of(r);
    struct text_ask a;
    struct fault f;
    struct ids ids;
    struct buf b;
    json_t *body = NULL;
    ids_init(&ids, TEXT_IDS_MAX);
    buf_init(&b, API_REPLY_MAX);
    int rc = begin(c, &a, &body, &f);
    if (!rc) rc = make_ids(c, &a, &ids, &f);
    if (!rc) {
        const struct tokenizer *t = c->m->text.tok;
        buf_printf(&b, "{\"count\":%zu,\"max_model_len\":%d,\"tokens\":", ids.n, c->m->engine->n_ctx);
        if (a.with_pieces) {
            buf_append_char(&b, '[');
            write_pieces(&b, t, &ids);
            buf_append_char(&b, ']');
        } else {
            gen_write_ids(&b, ids.p, ids.n);
        }
        if (a.token_strs) {
            buf_append_z(&b, ",\"token_strs\":[");
            for (size_t i = 0; i < ids.n; i++) {
                if (i) buf_append_char(&b, ',');
                gen_write_piece(&b, t, ids.p[i]);
            }
            buf_append_char(&b, ']');
        }
        buf_append_char(&b, '}');
    }
    ids_finish(&ids);
    json_decref(body);
    if (rc) call_fail(c, &f);
    else call_json(c, 200, &b);
}

void api_detokenize(struct http_request *r)
{
    struct call *c = call_of(r);
    struct text_ask a;
    struct fault f;
    struct ids ids;
    struct buf b, text;
    json_t *body = NULL;
    ids_init(&ids, TEXT_IDS_MAX);
    buf_init(&b, API_REPLY_MAX);
    buf_init(&text, API_REPLY_MAX);
    int rc = begin(c, &a, &body, &f);
    if (!rc && !a.tokens) rc = fault_field(&f, "tokens", "'tokens' is missing: expected an array of token ids");
    if (!rc) rc = gen_ids_prompt(c, a.tokens, "tokens", &ids, &f);
    if (!rc) {
        struct detok d;
        detok_init(&d, c->m->text.tok, DETOK_SPECIAL | DETOK_SKIP_SPACE);
        for (size_t i = 0; i < ids.n; i++) detok_feed(&d, ids.p[i], &text);
        detok_finish(&d, &text);
        buf_append_z(&b, "{\"content\":");
        json_quote(&b, buf_str(&text));
        buf_append_z(&b, ",\"prompt\":");
        json_quote(&b, buf_str(&text));
        buf_append_char(&b, '}');
        if (text.failed) b.failed = text.failed;
    }
    ids_finish(&ids);
    buf_finish(&text);
    json_decref(body);
    if (rc) call_fail(c, &f);
    else call_json(c, 200, &b);
}

void api_apply_template(struct http_request *r)
{
    struct call *c = call_of(r);
    struct text_ask a;
    struct fault f;
    struct buf b, text;
    json_t *body = NULL;
    buf_init(&b, API_REPLY_MAX);
    buf_init(&text, API_REPLY_MAX);
    int rc = begin(c, &a, &body, &f);
    if (!rc && !a.messages) rc = fault_field(&f, "messages", "'messages' is missing: expected an array of messages");
    if (!rc) rc = gen_chat_prompt(c, a.messages, a.tools, a.kwargs, a.add_generation_prompt, NULL, &text, &f);
    if (!rc) {
        buf_append_z(&b, "{\"prompt\":");
        json_quote(&b, buf_str(&text));
        buf_append_char(&b, '}');
    }
    buf_finish(&text);
    json_decref(body);
    if (rc) call_fail(c, &f);
    else call_json(c, 200, &b);
}
