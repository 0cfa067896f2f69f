/* SPDX-License-Identifier: Apache-2.0 */
/* See folder.h. Here: the files of a folder, and which architecture it holds. */
#include "folder/folder.h"

#include <stdlib.h>
#include <sys/stat.h>
#include "folder/int.h"

#define GELU "gelu_pytorch_tanh"
#define POST "post_attention_norm"
#define HALVES .turn_pairs = true
#define GEMMA2 "{\"head_dim\": 256, \"tie_word_embeddings\": true}"
#define GEMMA3 "{\"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"head_dim\": 256, \"rms_norm_eps\": 1e-6, \"rope_theta\": 1e6," \
               " \"rope_local_base_freq\": 1e4, \"max_position_embeddings\": 131072, \"sliding_window\": 4096, \"tie_word_embeddings\": true}"

const struct folder_arch folder_archs[] = {
    {"LlamaForCausalLM", "llama", "silu", HALVES},
    {"MistralForCausalLM", "llama", "silu", HALVES, .window = true},
    {"Mistral3ForConditionalGeneration", "llama", "silu", HALVES, .window = true},
    {"MixtralForCausalLM", "llama", "silu", HALVES, .window = true},
    {"InternLM2ForCausalLM", "internlm2", "silu", HALVES},
    {"SmolLM3ForCausalLM", "smollm3", "silu", HALVES},
    {"GraniteForCausalLM", "granite", "silu", HALVES},
    {"GraniteMoeForCausalLM", "granitemoe", "silu", HALVES},
    {"GraniteMoeSharedForCausalLM", "granitemoe", "silu", HALVES},
    {"Ernie4_5ForCausalLM", "ernie4_5", "silu", .window = false},
    {"Qwen2ForCausalLM", "qwen2", "silu", .window = false},
    {"Qwen2MoeForCausalLM", "qwen2moe", "silu", .topk = TOPK_PLAIN},
    {"Qwen3ForCausalLM", "qwen3", "silu", .window = false},
    {"Qwen3MoeForCausalLM", "qwen3moe", "silu", .topk = TOPK_NORMED},
    {"Phi3ForCausalLM", "phi3", "silu", .window = true},
    {"GemmaForCausalLM", "gemma", GELU, .defaults = GEMMA2, .norm_plus_1 = true},
    {"Gemma2ForCausalLM", "gemma2", GELU, POST, .defaults = GEMMA2, .norm_plus_1 = true, .window = true,
     .window_period = 2},
    {"Gemma3ForCausalLM", "gemma3", GELU, POST, .defaults = GEMMA3, .norm_plus_1 = true, .window = true,
     .window_period = 6},
    {"Gemma3ForConditionalGeneration", "gemma3", GELU, POST, .defaults = GEMMA3, .norm_plus_1 = true,
     .window = true, .window_period = 6},
    {"Olmo2ForCausalLM", "olmo2", "silu", POST, .window = false},
    {"Olmo3ForCausalLM", "olmo2", "silu", POST, .window = true, .window_period = 4},
    {"OlmoeForCausalLM", "olmoe", "silu", .topk = TOPK_PLAIN},
    {"GptOssForCausalLM", "gpt-oss", "silu", POST, .window = true, .window_period = 2},
    {"SeedOssForCausalLM", "seed_oss", "silu", POST, .window = false},
    {"Glm4ForCausalLM", "glm4", "silu", .window = false},
    {"Glm4MoeForCausalLM", "glm4moe", "silu", POST, .topk = TOPK_KEY},
    {"DeepseekV2ForCausalLM", "deepseek2", "silu", .latent = true, .topk = TOPK_KEY},
    {"DeepseekV3ForCausalLM", "deepseek2", "silu", .latent = true, .topk = TOPK_KEY},
    {"ExaoneForCausalLM", "exaone", "silu", .window = false},
    {"Grok1ForCausalLM", "grok", "gelu", .split_columns = ".w2"},
};
const int folder_n_archs = sizeof folder_archs / sizeof *folder_archs;

/* --- files --------------------------------------------------------------------------------------------------- */

int folder_bytes(struct folder *f, const char *name, struct str *bytes, int *no, struct err *e)
{
    struct path p;
    struct stat st;
    int rc = path_format(&p, e, "%s/%s", f->path, name);
    if (rc) return rc;
    if (stat(p.z, &st) != 0) return err(e, ERR_NOT_FOUND, "%s: there is no such file", p.z);
    if (gguf_n_parts(f->g) == FOLDER_FILES_MAX) return err(e, ERR_LIMIT, "more than %d files", FOLDER_FILES_MAX);
    return gguf_make_file(f->g, p.z, bytes, no, e);
}

int folder_json(struct folder *f, const char *name, bool optional, json_t **out, struct err *e)
{
    struct str s;
    struct err none = {0};
    json_error_t je;
    int no, rc = folder_bytes(f, name, &s, &no, e ? e : &none);
    *out = NULL;
    if (rc == ERR_NOT_FOUND && optional) return 0;
    if (rc) return rc;
    if (s.n > FOLDER_JSON_MAX)
        return err(e, ERR_LIMIT, "%s: %zu bytes, at most %d are read", name, s.n, FOLDER_JSON_MAX);
    *out = json_loadb(s.p, s.n, 0, &je);
    if (!*out) return err(e, ERR_FORMAT, "%s: line %d: %s", name, je.line, je.text);
    if (json_is_object(*out)) return 0;
    json_decref(*out);
    *out = NULL;
    return err(e, ERR_FORMAT, "%s: expected a JSON object", name);
}

/* --- which architecture ---------------------------------------------------------------------------------------- */

static int unknown_arch(const char *name, struct err *e)
{
    char known[ERR_MSG_MAX / 2] = "";
    for (int i = 0; i < folder_n_archs; i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, " %s", folder_archs[i].published);
    }
    return err(
        e, ERR_UNSUPPORTED,
        "config.json: architecture '%.64s' is not read from a folder (a GGUF file of it may be: tutti inspect --families); these are:%s",
        name, known);
}

static int find_arch(struct folder *f, struct err *e)
{
    const char *name = json_string_value(json_array_get(json_object_get(f->config, "architectures"), 0));
    if (!name) return err(e, ERR_FORMAT, "config.json: expected \"architectures\": [\"...ForCausalLM\"]");
    for (int i = 0; i < folder_n_archs && !f->arch; i++)
        if (strcmp(name, folder_archs[i].published) == 0) f->arch = &folder_archs[i];
    if (!f->arch) return unknown_arch(name, e);
    f->text = json_object_get(f->config, "text_config");
    if (!json_is_object(f->text)) f->text = f->config;
    f->defaults = f->arch->defaults ? json_loads(f->arch->defaults, 0, NULL) : json_object();
    return f->defaults ? 0 : err(e, ERR_MEMORY, "out of memory");
}

static int read_all(struct folder *f, struct err *e)
{
    int rc;
    if ((rc = folder_json(f, "config.json", false, &f->config, e)) ||
        (rc = folder_json(f, "generation_config.json", true, &f->generation, e)) ||
        (rc = folder_json(f, "tokenizer_config.json", true, &f->tokenizer, e)) || (rc = find_arch(f, e)) ||
        (rc = folder_read_config(f, e)) || (rc = folder_read_shards(f, e)) ||
        (rc = folder_read_tensors(f, e)) || (rc = folder_read_tokenizer(f, e)) ||
        (rc = folder_read_chat(f, e)))
        return rc;
    return gguf_make_done(f->g, e);
}

static int folder_open(struct gguf **out, const char *path, struct err *e)
{
    struct folder f = {.path = path, .g = gguf_make_new(FOLDER_FILES_MAX)};
    *out = NULL;
    if (!f.g) return err(e, ERR_MEMORY, "%s: out of memory", path);
    int rc = read_all(&f, e);
    json_decref(f.config);
    json_decref(f.defaults);
    json_decref(f.generation);
    json_decref(f.tokenizer);
    if (!rc) {
        *out = f.g;
        return 0;
    }
    gguf_close(f.g);
    return e ? err_prefix(e, "%s", path) : rc;
}

int model_file_open(struct gguf **g, const char *path, struct err *e)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? folder_open(g, path, e) : gguf_open(g, path, e);
}
