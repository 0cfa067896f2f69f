/* SPDX-License-Identifier: Apache-2.0 */
/* Paths: see path.h. */
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int path_format(struct path *p, struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(p->z, sizeof p->z, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof p->z)
        return err(e, ERR_LIMIT, "path longer than %d bytes: %.100s...", PATH_BYTES_MAX - 1, p->z);
    return 0;
}

int path_make_dirs(const char *path, struct err *e)
{
    struct path p;
    int rc = path_format(&p, e, "%s", path);
    if (rc) return rc;
    if (!*path) return err(e, ERR_USAGE, "an empty path for a folder");
    for (char *s = p.z + 1;; s++) {
        if (*s != '/' && *s) continue;
        char c = *s;
        *s = 0;
        if (mkdir(p.z, 0755) != 0 && errno != EEXIST)
            return err(e, ERR_IO, "%s: cannot create the folder: %s", p.z, strerror(errno));
        *s = c;
        if (!c) return 0;
    }
}

/* Calls visit for each entry of a folder (not for . and ..) until it returns non-zero; -1 if it cannot be
 * read. */
static int each_entry(const char *dir, int (*visit)(const char *path, void *ctx), void *ctx)
{
    DIR *d = opendir(dir);
    int rc = 0;
    if (!d) return -1;
    for (struct dirent *x; rc == 0 && (x = readdir(d));) {
        struct path sub;
        if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0) continue;
        if (path_format(&sub, NULL, "%s/%s", dir, x->d_name) == 0) rc = visit(sub.z, ctx);
    }
    closedir(d);
    return rc;
}

struct walk {
    struct err *e;
    uint64_t bytes;
    int depth;
};

static int remove_one(const char *path, void *ctx)
{
    struct walk *w = ctx;
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : err(w->e, ERR_IO, "%s: cannot examine: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        if (w->depth == PATH_DEPTH_MAX) return err(w->e, ERR_LIMIT, "%s: folders nested too deeply", path);
        w->depth++;
        int rc = each_entry(path, remove_one, w);
        w->depth--;
        if (rc > 0 || rc < -1) return rc;
        if (rmdir(path) == 0) return 0;
    } else if (unlink(path) == 0) {
        return 0;
    }
    return err(w->e, ERR_IO, "%s: cannot remove: %s", path, strerror(errno));
}

int path_remove_tree(const char *path, struct err *e)
{
    struct walk w = {.e = e};
    return remove_one(path, &w);
}

static int count_one(const char *path, void *ctx)
{
    struct walk *w = ctx;
    struct stat st;
    if (lstat(path, &st) != 0) return 0;
    if (S_ISREG(st.st_mode)) w->bytes += (uint64_t)st.st_size;
    if (S_ISDIR(st.st_mode) && w->depth < PATH_DEPTH_MAX) {
        w->depth++;
        each_entry(path, count_one, w);
        w->depth--;
    }
    return 0;
}

uint64_t path_tree_bytes(const char *path)
{
    struct walk w = {0};
    count_one(path, &w);
    return w.bytes;
}

bool path_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

const char *path_base(const char *path)
{
    const char *s = strrchr(path, '/');
    return s ? s + 1 : path;
}
