/* SPDX-License-Identifier: Apache-2.0 */
/* See store.h. */
#include "serve/api/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "serve/http/ulid.h"

int store_default_path(struct path *p, struct err *e)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data && *data == '/') return path_format(p, e, "%s/tutti/files", data);
    if (!home || !*home)
        return err(e, ERR_USAGE, "no folder for files: neither XDG_DATA_HOME nor HOME is set; give --files");
    return path_format(p, e, "%s/.local/share/tutti/files", home);
}

int store_open(struct path *dir, const char *where, struct err *e)
{
    int rc = where ? path_format(dir, e, "%s", where) : store_default_path(dir, e);
    if (rc || (rc = path_make_dirs(dir->z, e))) return rc;
    if (chmod(dir->z, 0700) || access(dir->z, W_OK))
        return err(e, ERR_IO, "'%s' cannot be written: %s", dir->z, strerror(errno));
    return 0;
}

void store_make_id(const char *prefix, char id[STORE_ID_MAX])
{
    char ulid[ULID_CHARS + 1];
    ulid_make(ulid);
    snprintf(id, STORE_ID_MAX, "%s%s", prefix, ulid);
}

bool store_is_id(const char *prefix, const char *id)
{
    size_t n = strlen(prefix);
    if (strncmp(id, prefix, n) != 0 || strlen(id) != n + ULID_CHARS) return false;
    for (const char *p = id + n; *p; p++)
        if (!(*p >= '0' && *p <= '9') && !(*p >= 'a' && *p <= 'z')) return false;
    return true;
}

/* --- records ----------------------------------------------------------------------------------------------- */

int store_put(const struct path *dir, const char *id, const json_t *record, struct err *e)
{
    struct path part, whole;
    int rc;
    if ((rc = path_format(&part, e, "%s/%s.part", dir->z, id)) ||
        (rc = path_format(&whole, e, "%s/%s.json", dir->z, id)))
        return rc;
    if (json_dump_file(record, part.z, JSON_COMPACT) || rename(part.z, whole.z))
        return err(e, ERR_IO, "cannot write '%s': %s", whole.z, strerror(errno));
    return 0;
}

int store_get(const struct path *dir, const char *id, json_t **record, struct err *e)
{
    struct path p;
    int rc = path_format(&p, e, "%s/%s.json", dir->z, id);
    if (rc) return rc;
    *record = json_load_file(p.z, 0, NULL);
    return *record ? 0 : err(e, ERR_NOT_FOUND, "No such object: %s", id);
}

static int newer_first(const void *a, const void *b)
{
    return strcmp(b, a); /* ids sort by time */
}

int store_list(const struct path *dir, const char *prefix, char (**out)[STORE_ID_MAX], size_t *n, struct err *e)
{
    size_t cap = 0;
    char (*list)[STORE_ID_MAX] = NULL, name[STORE_ID_MAX];
    DIR *d = opendir(dir->z);
    *n = 0;
    *out = NULL;
    if (!d) return err(e, ERR_IO, "cannot read '%s': %s", dir->z, strerror(errno));
    for (struct dirent *f; (f = readdir(d)) && *n < STORE_FILES_MAX;) {
        size_t len = strlen(f->d_name);
        if (len < 5 || len - 5 >= sizeof name || strcmp(f->d_name + len - 5, ".json") != 0) continue;
        memcpy(name, f->d_name, len - 5);
        name[len - 5] = 0;
        if (!store_is_id(prefix, name)) continue;
        if (*n == cap) {
            cap = cap ? 2 * cap : 64;
            void *more = realloc(list, cap * sizeof *list);
            if (!more) {
                free(list);
                closedir(d);
                return err(e, ERR_MEMORY, "out of memory");
            }
            list = more;
        }
        memcpy(list[(*n)++], name, sizeof name);
    }
    closedir(d);
    if (*n) qsort(list, *n, sizeof *list, newer_first);
    *out = list;
    return 0;
}

/* --- files ------------------------------------------------------------------------------------------------- */

int store_begin(const struct path *dir, struct store_file *f, int *fd, struct err *e)
{
    struct path p;
    store_make_id("file-", f->id);
    f->created_at = (int64_t)time(NULL);
    int rc = path_format(&p, e, "%s/%s.data", dir->z, f->id);
    if (rc) return rc;
    *fd = open(p.z, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0) return err(e, ERR_IO, "cannot write '%s': %s", p.z, strerror(errno));
    flock(*fd, LOCK_EX); /* for store_reopen, of another server */
    return 0;
}

int store_reopen(const struct path *dir, struct store_file *f, int *fd, struct err *e)
{
    struct path p;
    int rc = store_is_id("file-", f->id) ? path_format(&p, e, "%s/%s.data", dir->z, f->id)
                                         : err(e, ERR_NOT_FOUND, "No such File object: %.60s", f->id);
    if (rc) return rc;
    *fd = open(p.z, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (*fd < 0) return err(e, ERR_IO, "cannot write '%s': %s", p.z, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return 0;
    close(*fd);
    return err(e, ERR_BUSY, "another server writes '%s'", p.z);
}

int store_write(int fd, struct str data, struct err *e)
{
    while (data.n) {
        ssize_t n = write(fd, data.p, data.n);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err(e, ERR_IO, "a file cannot be stored: %s", strerror(errno));
        data.p += n;
        data.n -= (size_t)n;
    }
    return 0;
}

void store_drop(const struct path *dir, const struct store_file *f, int fd)
{
    struct path p;
    if (fd >= 0) close(fd);
    if (path_format(&p, NULL, "%s/%s.data", dir->z, f->id) == 0) unlink(p.z);
}

int store_commit(const struct path *dir, struct store_file *f, int fd, struct err *e)
{
    struct stat st;
    int rc = fstat(fd, &st) || fsync(fd) ? err(e, ERR_IO, "a file cannot be stored: %s", strerror(errno)) : 0;
    if (!rc) {
        f->n_bytes = (int64_t)st.st_size;
        json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "id", f->id, "filename", f->name, "purpose",
                              f->purpose, "owner", (json_int_t)f->owner, "created_at",
                              (json_int_t)f->created_at, "bytes", (json_int_t)f->n_bytes);
        rc = j ? store_put(dir, f->id, j, e) : err(e, ERR_USAGE, "a file's name is not UTF-8");
        json_decref(j);
    }
    if (rc) store_drop(dir, f, fd);
    else close(fd);
    return rc;
}

int store_find(const struct path *dir, uint64_t owner, const char *id, struct store_file *f, struct err *e)
{
    json_t *j = NULL;
    const char *name, *purpose;
    json_int_t who, created, bytes;
    if (!store_is_id("file-", id) || store_get(dir, id, &j, NULL) ||
        json_unpack(j, "{s:s, s:s, s:I, s:I, s:I}", "filename", &name, "purpose", &purpose, "owner", &who,
                    "created_at", &created, "bytes", &bytes) ||
        (uint64_t)who != owner) {
        json_decref(j);
        return err(e, ERR_NOT_FOUND, "No such File object: %.60s", id);
    }
    *f = (struct store_file){.owner = owner, .created_at = created, .n_bytes = bytes};
    snprintf(f->id, sizeof f->id, "%s", id);
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->purpose, sizeof f->purpose, "%s", purpose);
    json_decref(j);
    return 0;
}

int store_remove(const struct path *dir, uint64_t owner, const char *id, struct err *e)
{
    struct store_file f;
    struct path p;
    int rc = store_find(dir, owner, id, &f, e);
    if (rc) return rc;
    if (path_format(&p, NULL, "%s/%s.json", dir->z, id) == 0) unlink(p.z);
    store_drop(dir, &f, -1);
    return 0;
}

int store_map(const struct path *dir, const struct store_file *f, struct str *data, struct err *e)
{
    struct path p;
    struct stat st;
    int rc = path_format(&p, e, "%s/%s.data", dir->z, f->id);
    *data = (struct str){"", 0};
    if (rc) return rc;
    int fd = open(p.z, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        rc = err(e, ERR_NOT_FOUND, "No such File object: %s", f->id);
    } else if (st.st_size > 0) {
        void *m = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (m == MAP_FAILED) rc = err(e, ERR_IO, "cannot read '%s': %s", p.z, strerror(errno));
        else *data = (struct str){m, (size_t)st.st_size};
    }
    if (fd >= 0) close(fd);
    return rc;
}

void store_unmap(struct str data)
{
    if (data.n) munmap((void *)(uintptr_t)data.p, data.n);
}
