/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of bounded length, and the few operations on folders that the cache of models needs.
 */
#ifndef TUTTI_BASE_PATH_H
#define TUTTI_BASE_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

enum { PATH_BYTES_MAX = 4096, PATH_DEPTH_MAX = 16 };

struct path {
    char z[PATH_BYTES_MAX];
};

/* Formats into p; ERR_LIMIT when the result is too long. */
int path_format(struct path *p, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

int path_make_dirs(const char *path, struct err *e); /* like mkdir -p, mode 0755 */
/* like rm -r; a missing path is no error; links are not followed */
int path_remove_tree(const char *path, struct err *e);
uint64_t path_tree_bytes(const char *path); /* sizes of all regular files beneath; 0 if missing */
bool path_is_file(const char *path);
const char *path_base(const char *path); /* what follows the last slash */

#endif
