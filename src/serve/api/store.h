/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: files that clients gave or that batches wrote, and records (batches), in one folder:
 *
 *   FILE-ID.data   contents
 *   FILE-ID.json   what is known of it; it appears by a rename when the contents are whole
 *   RECORD-ID.json
 *
 * Nothing is kept in memory, so several threads, and servers one after another, see the same. Every file has an owner;
 * to others it does not exist. Ids are made here, and checked before they become part of a path.
 */
#ifndef TUTTI_SERVE_API_STORE_H
#define TUTTI_SERVE_API_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/path.h"
#include "base/str.h"

enum { STORE_ID_MAX = 40, STORE_NAME_MAX = 256, STORE_PURPOSE_MAX = 32, STORE_FILES_MAX = 100000 };

struct store_file {
    char id[STORE_ID_MAX];
    char name[STORE_NAME_MAX];
    char purpose[STORE_PURPOSE_MAX];
    uint64_t owner;
    int64_t created_at, n_bytes;
};

/* Makes the folder, for its owner alone. */
int store_open(struct path *dir, const char *where, struct err *e);
int store_default_path(struct path *p, struct err *e); /* $XDG_DATA_HOME/tutti/files, else ~/.local/share/tutti/files */

void store_make_id(const char *prefix, char id[STORE_ID_MAX]); /* "file-" and 26 characters */
bool store_is_id(const char *prefix, const char *id);

/* A new file: *fd is open for writing. Then commit, which closes it and fills n_bytes, or drop. */
int store_begin(const struct path *dir, struct store_file *f, int *fd, struct err *e);
/* The same file again, by f->id, after its server ended without either. ERR_BUSY: another server has it. */
int store_reopen(const struct path *dir, struct store_file *f, int *fd, struct err *e);
int store_commit(const struct path *dir, struct store_file *f, int fd, struct err *e);
void store_drop(const struct path *dir, const struct store_file *f, int fd);
int store_write(int fd, struct str data, struct err *e);

/* ERR_NOT_FOUND also for a file of somebody else. */
int store_find(const struct path *dir, uint64_t owner, const char *id, struct store_file *f, struct err *e);
int store_remove(const struct path *dir, uint64_t owner, const char *id, struct err *e);
/* The contents, mapped; store_unmap them. */
int store_map(const struct path *dir, const struct store_file *f, struct str *data, struct err *e);
void store_unmap(struct str data);

/* Ids of all that begin with prefix, latest first; free(*out). */
int store_list(const struct path *dir, const char *prefix, char (**out)[STORE_ID_MAX], size_t *n, struct err *e);

int store_put(const struct path *dir, const char *id, const json_t *record, struct err *e);
int store_get(const struct path *dir, const char *id, json_t **record, struct err *e);

#endif
