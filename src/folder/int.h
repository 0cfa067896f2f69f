/* SPDX-License-Identifier: Apache-2.0 */
/* What the files share: see folder.h. */
#ifndef TUTTI_FOLDER_INT_H
#define TUTTI_FOLDER_INT_H

#include <jansson.h>
#include "base/path.h"
#include "file/gguf_make.h"
#include "file/safetensors.h"

enum {
    FOLDER_SHARDS_MAX = 1024,
    FOLDER_FILES_MAX = FOLDER_SHARDS_MAX + 16,
    FOLDER_JSON_MAX = 256 << 20, /* bytes of one JSON file; large tokenizers have 35 million */
    FOLDER_LAYERS_MAX = 1024,
    FOLDER_EXPERTS_MAX = 4096,
};

/* How an architecture of published configurations is one of ours. */
struct folder_arch {
    const char *published;     /* "LlamaForCausalLM", of config.json's "architectures" */
    const char *arch;          /* general.architecture */
    const char *activation;    /* the only one that the family computes */
    const char *after_attn;    /* what post_attention_layernorm is called here; NULL: ffn_norm */
    const char *defaults;      /* JSON: what the configuration may leave out */
    bool turn_pairs;           /* q and k are published for rotation of halves and stored here for that of pairs */
    bool norm_plus_1;          /* norms multiply by 1 + w */
    bool window;               /* sliding_window counts */
    int window_period;         /* as in struct decoder */
    bool latent;               /* latent attention */
    /* Published in pieces, one per device of the publisher's: weights with this end are cut into columns,
     * others into rows. NULL: whole */
    const char *split_columns;
    /* Whether the weights of chosen experts must sum to 1 (norm_topk_prob); KEY: a key says it, and how they
     * are chosen. */
    enum { TOPK_ANY, TOPK_PLAIN, TOPK_NORMED, TOPK_KEY } topk;
};

/* Packed 4-bit weights look alike: config.json says whose they are. */
enum folder_quant { QUANT_OTHER, QUANT_GPTQ, QUANT_AWQ };

struct folder {
    struct gguf *g; /* in the making */
    const char *path;
    const struct folder_arch *arch;
    json_t *config, *text, *defaults; /* text: the part of config that describes the language model */
    json_t *generation, *tokenizer;   /* generation_config.json, tokenizer_config.json; NULL: there is none */
    enum folder_quant quant;
    bool gptq_v2;                     /* zero points are stored as they are */
    uint64_t tile_n, tile_k;          /* of FP8 scales by tile */
    struct st_tensor *t;              /* of all shards, by name; pieces of one in the order of their shards */
    bool *used;                       /* [n] */
    size_t n, cap_t;
};

extern const struct folder_arch folder_archs[];
extern const int folder_n_archs;

/* A file of the folder: its bytes, mapped. ERR_NOT_FOUND if there is none. */
int folder_bytes(struct folder *f, const char *name, struct str *bytes, int *no, struct err *e);
/* A JSON file of the folder, to be released with json_decref; optional: *out = NULL if there is none. */
int folder_json(struct folder *f, const char *name, bool optional, json_t **out, struct err *e);

/* config.json -> keys. After it, counts below are known to be in range. */
int folder_read_config(struct folder *f, struct err *e);
/* A value of the configuration by one of several names, "num_hidden_layers|n_layer"; NULL if none is there or
 * it is null. */
const json_t *folder_value(const struct folder *f, const char *names);
/* ARCH.key */
void folder_key(const struct folder *f, const char *key, char out[static 96]);

/* Shards -> f->t; then names -> tensors. */
int folder_read_shards(struct folder *f, struct err *e);
int folder_read_tensors(struct folder *f, struct err *e);

int folder_read_tokenizer(struct folder *f, struct err *e);
int folder_read_chat(struct folder *f, struct err *e);

#endif
