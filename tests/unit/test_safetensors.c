/* SPDX-License-Identifier: Apache-2.0 */
/* file/safetensors and folder/: what a shard or a folder may not say, by the message; what stands in them is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/path.h"
#include "file/safetensors.h"
#include "folder/folder.h"

enum { FILE_MAX = 1 << 20 };

/* --- shards --- */

static void shard(struct buf *b, const char *header, size_t data)
{
    uint64_t n = strlen(header);
    buf_clear(b);
    buf_append(b, &n, 8);
    buf_append_z(b, header);
    for (size_t i = 0; i < data; i++) buf_append_char(b, (char)i);
}

static int read_shard(const struct buf *b, struct st_tensor **t, size_t *n, struct arena *a, struct err *e)
{
    size_t data;
    char *copy = arena_alloc(a, b->n + 1, 1);
    memcpy(copy, b->p, b->n);
    return safetensors_read((struct str){copy, b->n}, a, t, n, &data, e);
}

static void refused(const char *header, size_t data, int code, const char *msg)
{
    struct buf b;
    struct arena a;
    struct st_tensor *t;
    struct err e = {0};
    size_t n;
    buf_init(&b, FILE_MAX);
    arena_init(&a);
    shard(&b, header, data);
    assert_int_equal(read_shard(&b, &t, &n, &a, &e), code);
    if (!strstr(e.msg, msg)) fail_msg("expected '%s' in '%s'", msg, e.msg);
    arena_finish(&a);
    buf_finish(&b);
}

#define ONE(dtype, shape, from, to) "{\"a\": {\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": [" #from ", " #to "]}}"

static void tensors_are_found(void **state)
{
    (void)state;
    struct buf b;
    struct arena a;
    struct st_tensor *t;
    struct err e = {0};
    size_t n;
    buf_init(&b, FILE_MAX);
    arena_init(&a);
    shard(
        &b,
        "{\"__metadata__\": {\"format\": \"pt\"}, \"b\": {\"dtype\": \"F32\", \"shape\": [], \"data_offsets\": [6, 10]},"
        " \"a\": {\"dtype\": \"BF16\", \"shape\": [3, 1], \"data_offsets\": [0, 6]},"
        " \"none\": {\"dtype\": \"F16\", \"shape\": [0, 7], \"data_offsets\": [10, 10]}}   ",
        10);
    assert_int_equal(read_shard(&b, &t, &n, &a, &e), 0);
    assert_int_equal(n, 3);
    assert_true(str_eqz(t[0].name, "a") && str_eqz(t[1].name, "b") && str_eqz(t[2].name, "none"));
    assert_true(t[0].type == ST_BF16 && t[0].n_dims == 2 && t[0].dim[0] == 3 && t[0].bytes == 6 && t[0].data[5] == 5);
    assert_true(t[1].n_dims == 0 && t[1].bytes == 4 && t[1].data[0] == 6 && t[2].bytes == 0);
    for (size_t cut = 0; cut < b.n; cut++) { /* every start of it is refused */
        struct buf part = b;
        part.n = cut;
        assert_true(read_shard(&part, &t, &n, &a, &e) < 0);
    }
    arena_finish(&a);
    buf_finish(&b);
}

static void shards_are_checked(void **state)
{
    (void)state;
    refused("[]", 0, ERR_FORMAT, "does not begin with '{'");
    refused("{\"a\": 1", 0, ERR_FORMAT, "no JSON object");
    refused("{\"a\": 1, \"a\": 2}", 0, ERR_FORMAT, "no JSON object with each name once");
    refused("{\"a\": 1}", 0, ERR_FORMAT, "'a': is not described by an object");
    refused("{\"\": {}}", 0, ERR_LIMIT, "name has 0 bytes");
    refused(ONE("F17", "[1]", 0, 4), 4, ERR_UNSUPPORTED, "dtype 'F17' is not known");
    refused(ONE("F32", "[1]", 0, 4), 3, ERR_FORMAT, "truncated or damaged");
    refused(ONE("F32", "[1]", 0, 4), 5, ERR_FORMAT, "1 bytes at the end belong to no tensor");
    refused(ONE("F32", "[2]", 0, 4), 4, ERR_FORMAT, "its shape takes 8 bytes, its offsets 4");
    refused(ONE("F32", "[-1]", 0, 4), 4, ERR_FORMAT, "is no count");
    refused(ONE("F32", "[1.5]", 0, 4), 4, ERR_FORMAT, "is no count");
    refused(ONE("F32", "[4294967296, 4294967296, 4]", 0, 4), 4, ERR_FORMAT, "overflows 63 bits");
    refused(ONE("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4), 4, ERR_LIMIT, "9 dimensions");
    refused(ONE("F32", "[1]", 4, 0), 4, ERR_FORMAT, "bytes 4 to 0");
    refused("{\"a\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [0]}}", 1, ERR_FORMAT, "not two offsets");
    refused(
        "{\"a\": {\"dtype\": \"U8\", \"shape\": [2], \"data_offsets\": [0, 2]}, \"b\": {\"dtype\": \"U8\", \"shape\": [2], \"data_offsets\": [1, 3]}}",
        3, ERR_FORMAT, "'b' overlaps tensor 'a'");
    refused(
        "{\"a\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [0, 1]}, \"b\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [2, 3]}}",
        3, ERR_FORMAT, "1 bytes before tensor 'b' belong to no tensor");
}

static void lengths_are_checked(void **state)
{
    (void)state;
    struct buf b;
    struct arena a;
    struct st_tensor *t;
    struct err e = {0};
    size_t n;
    const uint64_t lengths[] = {UINT64_MAX, (uint64_t)ST_HEADER_MAX + 1, 3, 0};
    const char *const want[] = {"at most 100000000 are read", "at most 100000000 are read",
                                "truncated or damaged", "does not begin"};
    buf_init(&b, FILE_MAX);
    arena_init(&a);
    for (int i = 0; i < 4; i++) {
        shard(&b, "{}", 0);
        memcpy(b.p, &lengths[i], 8);
        assert_true(read_shard(&b, &t, &n, &a, &e) < 0);
        if (!strstr(e.msg, want[i])) fail_msg("expected '%s' in '%s'", want[i], e.msg);
    }
    arena_finish(&a);
    buf_finish(&b);
}

/* --- folders --- */

#define HP "\"hidden_size\": 32, \"intermediate_size\": 32, \"num_attention_heads\": 2, \"num_hidden_layers\": 1, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5"
#define CONFIG "{\"architectures\": [\"LlamaForCausalLM\"], " HP "}"

static void put(const char *dir, const char *name, const void *p, size_t n)
{
    struct path path;
    assert_int_equal(path_format(&path, NULL, "%s/%s", dir, name), 0);
    FILE *f = fopen(path.z, "wb");
    assert_true(f && fwrite(p, 1, n, f) == n && fclose(f) == 0);
}

/* A folder of config.json, an index or NULL, and a shard "model.safetensors" of a header (or NULL) and data
 * is refused so. */
static void folder_refused(const char *config, const char *index, const char *header, size_t data, const char *msg)
{
    char dir[] = "/tmp/tutti-folder-XXXXXX";
    struct gguf *g = (void *)&g;
    struct err e = {0};
    struct buf b;
    buf_init(&b, FILE_MAX);
    assert_non_null(mkdtemp(dir));
    if (config) put(dir, "config.json", config, strlen(config));
    if (index) put(dir, "model.safetensors.index.json", index, strlen(index));
    if (header) shard(&b, header, data), put(dir, "model.safetensors", b.p, b.n);
    assert_true(model_file_open(&g, dir, &e) < 0);
    assert_null(g);
    if (!strstr(e.msg, msg)) fail_msg("expected '%s' in '%s'", msg, e.msg);
    path_remove_tree(dir, NULL);
    buf_finish(&b);
}

#define MAP(file) "{\"weight_map\": {\"a\": \"" file "\"}}"
#define EMBED "{\"model.embed_tokens.weight\": {\"dtype\": \"F16\", \"shape\": [1, 32], \"data_offsets\": [0, 64]}"

static void folders_are_checked(void **state)
{
    (void)state;
    folder_refused(NULL, NULL, NULL, 0, "there is no such file");
    folder_refused("{", NULL, NULL, 0, "config.json: line 1");
    folder_refused("[]", NULL, NULL, 0, "expected a JSON object");
    folder_refused("{}", NULL, NULL, 0, "expected \"architectures\"");
    folder_refused("{\"architectures\": [\"BertModel\"]}", NULL, NULL, 0, "'BertModel' is not read from a folder");
    folder_refused("{\"architectures\": [\"LlamaForCausalLM\"]}", NULL, NULL, 0,
                   "'num_hidden_layers|num_layers|n_layer' is missing");
    folder_refused("{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_act\": \"gelu\", " HP "}", NULL,
                   NULL, 0, "activation 'gelu'");
    folder_refused(
        "{\"architectures\": [\"LlamaForCausalLM\"], \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2}, " HP
        "}",
        NULL, NULL, 0, "rope scaling 'dynamic'");
    folder_refused("{\"architectures\": [\"Gemma2ForCausalLM\"], \"query_pre_attn_scalar\": 17, " HP "}",
                   NULL, NULL, 0, "query_pre_attn_scalar is 17");
    folder_refused(CONFIG, NULL, NULL, 0, "neither model.safetensors nor");
    folder_refused(CONFIG, MAP("../a.safetensors"), NULL, 0, "expected the name of a .safetensors file of this folder");
    folder_refused(CONFIG, MAP("/etc/passwd"), NULL, 0, "expected the name of a .safetensors file of this folder");
    folder_refused(CONFIG, MAP(".a.safetensors"), NULL, 0, "expected the name of a .safetensors file of this folder");
    folder_refused(CONFIG, MAP("pytorch_model.bin"), NULL, 0,
                   "expected the name of a .safetensors file of this folder");
    folder_refused(CONFIG, MAP("gone.safetensors"), NULL, 0, "gone.safetensors: there is no such file");
    folder_refused(CONFIG, MAP("model.safetensors"), EMBED "}", 64, "has no tensor 'a', which the index places there");
    folder_refused(CONFIG, NULL, "{}", 0, "no tensor 'model.embed_tokens.weight'");
    folder_refused(
        CONFIG, NULL,
        EMBED ", \"model.layers.0.other\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [64, 65]}}",
        65, "'model.layers.0.other' has no place in family llama");
    folder_refused(CONFIG, NULL, EMBED "}", 64, "neither tokenizer.json nor tokenizer.model is there");
    folder_refused("{\"architectures\": [\"Grok1ForCausalLM\"], \"head_dim\": 2, \"rope_type\": \"yarn\", " HP
                   "}",
                   NULL, NULL, 0, "only 'original' is read of family grok");
    folder_refused("{\"architectures\": [\"Grok1ForCausalLM\"], \"head_dim\": 2, " HP "}", NULL, NULL, 0,
                   "Grok 1 from GGUF files");
    folder_refused("{\"architectures\": [\"Grok1ForCausalLM\"], \"head_dim\": 2, \"residual_moe\": true, " HP
                   "}",
                   NULL, NULL, 0, "no file '...-TP-....safetensors' is there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_found),
        cmocka_unit_test(shards_are_checked),
        cmocka_unit_test(lengths_are_checked),
        cmocka_unit_test(folders_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
