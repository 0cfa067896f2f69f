/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repositories of the Hugging Face kind: which files make a model (GGUF, else a folder of safetensors), which
 * GGUF files a repository has, which of them a wish like "Q4_K_M" means, and where to fetch them. The base
 * address comes from TUTTI_HUB, the token of gated models from HF_TOKEN.
 */
#ifndef TUTTI_FILE_HUB_H
#define TUTTI_FILE_HUB_H

#include <signal.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"

enum { HUB_FILES_MAX = 20000, HUB_PARTS_MAX = 1024 };

#define HUB_SAFETENSORS "safetensors" /* the quant of a folder */

struct hub_file {
    const char *path; /* inside the repository */
    const char *url;
    const char *sha256; /* or NULL if the answer has none */
    uint64_t bytes;     /* or 0 */
};

struct hub_choice {
    const char *quant; /* "Q4_K_M", or the file's name when it names no type */
    struct hub_file *file;
    int n_files; /* parts in order; config.json first of a folder */
};

const char *hub_base(void);
const char *hub_token(void); /* NULL if none */

/* Chooses from a repository's listing (JSON, as GET {base}/api/models/{repo}/tree/main?recursive=true
   answers). quant:
   "" = the usual order of preference, a type ("Q8_0"), or a path ending in .gguf. All results live in the
   arena. */
int hub_choose(struct str json, const char *base, const char *repo, const char *quant, struct arena *a,
               struct hub_choice *out, struct err *e);

/* Fetches the listing and chooses. */
int hub_find(const char *repo, const char *quant, unsigned stall_s, const volatile sig_atomic_t *cancel,
             struct arena *a, struct hub_choice *out, struct err *e);

#endif
