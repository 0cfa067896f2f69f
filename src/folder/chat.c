/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chat template, and how the publisher wants the model sampled. A template is chat_template.jinja, else
 * chat_template of tokenizer_config.json (a string, or a list of named ones: "default"), else of
 * chat_template.json.
 */
#include "folder/int.h"

static const json_t *default_template(const json_t *j)
{
    const json_t *one;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)j, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && strcmp(name, "default") == 0) return json_object_get(one, "template");
    }
    return j;
}

static bool put_template(struct folder *f, const json_t *root)
{
    const json_t *t = default_template(json_object_get(root, "chat_template"));
    if (json_is_string(t))
        gguf_make_str(f->g, "tokenizer.chat_template",
                      (struct str){json_string_value(t), json_string_length(t)});
    return json_is_string(t);
}

static int read_template(struct folder *f, struct err *e)
{
    struct str s;
    struct err none;
    json_t *root = NULL;
    int no, rc = folder_bytes(f, "chat_template.jinja", &s, &no, e ? e : &none);
    if (!rc) gguf_make_str(f->g, "tokenizer.chat_template", s);
    if (rc != ERR_NOT_FOUND) return rc;
    if (put_template(f, f->tokenizer)) return 0;
    rc = folder_json(f, "chat_template.json", true, &root, e);
    if (!rc) put_template(f, root);
    json_decref(root);
    return rc;
}

static void put_sampling(struct folder *f)
{
    static const struct {
        const char *name, *key;
    } reals[] = {{"temperature", "general.sampling.temp"},
                 {"top_p", "general.sampling.top_p"},
                 {"min_p", "general.sampling.min_p"}};
    if (!json_is_true(json_object_get(f->generation, "do_sample"))) return; /* what else stands there is left over */
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        const json_t *j = json_object_get(f->generation, reals[i].name);
        if (json_is_number(j)) gguf_make_f32(f->g, reals[i].key, (float)json_number_value(j));
    }
    const json_t *k = json_object_get(f->generation, "top_k");
    if (json_is_integer(k) && json_integer_value(k) >= 0 && json_integer_value(k) <= INT32_MAX)
        gguf_make_u32(f->g, "general.sampling.top_k", (uint32_t)json_integer_value(k));
}

int folder_read_chat(struct folder *f, struct err *e)
{
    put_sampling(f);
    return read_template(f, e);
}
