/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's cache of pulled models.
 *
 *   CACHE/                     $TUTTI_CACHE, else $XDG_CACHE_HOME/tutti, else ~/.cache/tutti
 *     models/SLUG/             one folder per model; it appears by one rename when all in it is complete
 *       model.json             name, source, time, files with sizes and SHA-256
 *       *.gguf                 or config.json, *.safetensors, tokenizer.json ...
 *     partial/SLUG/            a pull under way or interrupted; what can be resumed stays here
 *       lock                   held (flock) by the pull that is running
 *
 * SLUG is the name with every byte outside [A-Za-z0-9._-] written as %XX, so no name can leave the folder.
 */
#ifndef TUTTI_FILE_CACHE_H
#define TUTTI_FILE_CACHE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "base/err.h"
#include "base/path.h"

enum {
    CACHE_NAME_MAX = 200, /* bytes of a model's name */
    CACHE_MODELS_MAX = 10000,
    CACHE_FILES_MAX = 1024, /* parts of one model */
    CACHE_JSON_MAX = 1 << 20,
};

struct cache_model {
    char name[CACHE_NAME_MAX + 1];
    char source[512]; /* where it came from, for people */
    char pulled[32];  /* "2026-11-21T22:10:00Z" */
    struct path dir;  /* CACHE/models/SLUG */
    struct path main; /* first GGUF file; of a model of safetensors the folder, whose first file is config.json */
    int n_files;
    uint64_t bytes; /* of all files */
};

int cache_dir(struct path *p, struct err *e);
int cache_slug(const char *name, struct path *slug, struct err *e);

/* All models, sorted by name; the caller frees *out. A damaged entry is left out. */
int cache_list(struct cache_model **out, size_t *n, struct err *e);

/* A pulled model by its name as given to pull; also without .gguf, without :quant, or by an unambiguous
 * start. */
int cache_find(const char *name, struct cache_model *m, struct err *e);
int cache_remove(const struct cache_model *m, struct err *e);
/* Removes what an interrupted pull of this name left; adds its bytes to *freed. 1 = there was some, 0 = none.
 */
int cache_remove_partial(const char *name, uint64_t *freed, struct err *e);

/* The path of a model for a command line's MODEL: an existing file, a folder with config.json, else a pulled
 * model. The error says what to try. */
int model_path_resolve(const char *name, struct path *p, struct err *e);

/* --- for pull --- */

struct cache_file {
    char name[256]; /* no slash */
    uint64_t bytes;
    char sha256[65];
};

/* CACHE/partial/SLUG, created and locked; *lock_fd is closed by cache_end. Another running pull is an error.
 */
int cache_begin(const char *name, struct path *partial, int *lock_fd, struct err *e);
/* Writes model.json into partial and moves the folder to CACHE/models/SLUG, replacing an old one. */
int cache_commit(const char *name, const char *source, const struct path *partial,
                 const struct cache_file *files, int n_files, struct err *e);
void cache_end(int lock_fd);

#endif
