/* SPDX-License-Identifier: Apache-2.0 */
/*
 * folder: a model as it is published, read in place.
 *
 *   config.json                     hyper-parameters            -> keys ARCH.*          config.c
 *   *.safetensors [index.json]      weights by published names  -> named tensors        tensor.c, stored.c
 *   tokenizer.json, tokenizer.model vocabulary, merges          -> keys tokenizer.ggml.* tokenizer.c
 *   chat_template.jinja, tokenizer_config.json, generation_config.json                  chat.c
 *
 * What comes out is a struct gguf, as if the folder had been converted, with the same names, keys and values;
 * so families, chips and tools know one kind of model, and a folder and the GGUF file made from it give the
 * same bits. Weights are not converted on disk or in memory: rows are put in order when they are read (struct
 * tensor_maker).
 */
#ifndef TUTTI_FOLDER_FOLDER_H
#define TUTTI_FOLDER_FOLDER_H

#include "file/gguf.h"

/* A GGUF file, or a folder. */
int model_file_open(struct gguf **g, const char *path, struct err *e);

#endif
