/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of pulled models: see cache.h. */
#include "file/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- where things are --- */

int cache_dir(struct path *p, struct err *e)
{
    const char *own = getenv("TUTTI_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own) return path_format(p, e, "%s", own);
    if (xdg && *xdg == '/') return path_format(p, e, "%s/tutti", xdg);
    if (home && *home) return path_format(p, e, "%s/.cache/tutti", home);
    return err(e, ERR_USAGE, "no cache folder: neither TUTTI_CACHE nor XDG_CACHE_HOME nor HOME is set");
}

static bool plain_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

int cache_slug(const char *name, struct path *slug, struct err *e)
{
    size_t n = strlen(name), at = 0;
    if (n == 0 || n > CACHE_NAME_MAX)
        return err(e, ERR_USAGE, "a model's name has 1 to %d bytes, got %zu", CACHE_NAME_MAX, n);
    for (size_t i = 0; i < n; i++) { /* at most 3 bytes each: fits */
        bool plain = plain_char(name[i]) && !(i == 0 && name[i] == '.');
        at += (size_t)snprintf(slug->z + at, sizeof slug->z - at, plain ? "%c" : "%%%02X",
                               (unsigned char)name[i]);
    }
    return 0;
}

/* CACHE/kind/SLUG */
static int slug_path(const char *kind, const char *name, struct path *out, struct err *e)
{
    struct path dir, slug;
    int rc = cache_dir(&dir, e);
    if (!rc) rc = cache_slug(name, &slug, e);
    return rc ? rc : path_format(out, e, "%s/%s/%s", dir.z, kind, slug.z);
}

/* --- reading --- */

static bool copy_text(char *out, size_t cap, const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    if (!s || strlen(s) >= cap) return false;
    memcpy(out, s, strlen(s) + 1);
    return true;
}

static bool read_files(const json_t *root, struct cache_model *m)
{
    const json_t *files = json_object_get(root, "files");
    size_t n = json_array_size(files);
    if (n == 0 || n > CACHE_FILES_MAX) return false;
    m->n_files = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *f = json_array_get(files, i);
        const char *name = json_string_value(json_object_get(f, "file"));
        json_int_t bytes = json_integer_value(json_object_get(f, "bytes"));
        struct path p;
        struct stat st;
        if (!name || !*name || *name == '.' || strchr(name, '/') || bytes <= 0) return false;
        if (path_format(&p, NULL, "%s/%s", m->dir.z, name) != 0) return false;
        if (stat(p.z, &st) != 0 || st.st_size != (off_t)bytes) return false;
        if (i == 0) m->main = strcmp(name, "config.json") == 0 ? m->dir : p;
        m->bytes += (uint64_t)bytes;
    }
    return true;
}

/* Reads one entry; false if anything about it is not as pull leaves it. */
static bool read_model(const char *dir, struct cache_model *m)
{
    struct path p;
    *m = (struct cache_model){0};
    if (path_format(&m->dir, NULL, "%s", dir) != 0 || path_format(&p, NULL, "%s/model.json", dir) != 0)
        return false;
    struct stat st;
    if (stat(p.z, &st) != 0 || st.st_size > CACHE_JSON_MAX) return false;
    json_t *root = json_load_file(p.z, JSON_REJECT_DUPLICATES, NULL);
    bool ok = root && copy_text(m->name, sizeof m->name, root, "name") &&
              copy_text(m->source, sizeof m->source, root, "source") &&
              copy_text(m->pulled, sizeof m->pulled, root, "pulled") && read_files(root, m);
    json_decref(root);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    const struct cache_model *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int cache_list(struct cache_model **out, size_t *n, struct err *e)
{
    struct path dir, models, p;
    int rc = cache_dir(&dir, e);
    *out = NULL;
    *n = 0;
    if (!rc) rc = path_format(&models, e, "%s/models", dir.z);
    if (rc) return rc;
    DIR *d = opendir(models.z);
    if (!d) return errno == ENOENT ? 0 : err(e, ERR_IO, "%s: cannot read: %s", models.z, strerror(errno));
    size_t cap = 0;
    for (struct dirent *x; (x = readdir(d)) && *n < CACHE_MODELS_MAX;) {
        if (x->d_name[0] == '.' || path_format(&p, NULL, "%s/%s", models.z, x->d_name) != 0) continue;
        if (*n == cap) {
            cap = cap ? 2 * cap : 8;
            struct cache_model *more = realloc(*out, cap * sizeof *more);
            if (!more) {
                rc = err(e, ERR_MEMORY, "no memory for a list of %zu models", cap);
                break;
            }
            *out = more;
        }
        if (read_model(p.z, &(*out)[*n])) ++*n;
    }
    closedir(d);
    if (*n) qsort(*out, *n, sizeof **out, by_name);
    return rc;
}

/* --- looking up --- */

/* How well a wanted name fits a pulled one: 4 the same, 3 but for .gguf, 2 but for :quant, 1 its start, 0
 * not. */
static int fit(const char *want, const char *name)
{
    size_t n = strlen(want), len = strlen(name);
    if (strcasecmp(want, name) == 0) return 4;
    if (n > 5 && strcasecmp(want + n - 5, ".gguf") == 0) n -= 5;
    if (len > 5 && strcasecmp(name + len - 5, ".gguf") == 0) len -= 5;
    if (n == len && strncasecmp(want, name, n) == 0) return 3;
    if (n == 0 || n > len || strncasecmp(want, name, n) != 0) return 0;
    return name[n] == ':' ? 2 : 1;
}

static int not_found(const char *name, const struct cache_model *all, size_t n, struct err *e)
{
    char known[400] = "";
    for (size_t i = 0, at = 0; i < n && i < 5 && at < sizeof known - CACHE_NAME_MAX; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%.180s",
                               i ? ", " : "; pulled are: ", all[i].name);
    if (strchr(name, '/') && strlen(name) > 5 && strcasecmp(name + strlen(name) - 5, ".gguf") == 0 &&
        !strstr(name, "://"))
        return err(e, ERR_NOT_FOUND, "%s: no such file, and no pulled model has this name%s", name, known);
    return err(e, ERR_NOT_FOUND,
               "model '%s': no such file, and no pulled model has this name%s; try: tutti pull %s", name,
               known, name);
}

int cache_find(const char *name, struct cache_model *m, struct err *e)
{
    struct cache_model *all;
    size_t n, n_best = 0;
    int best = 0, rc = cache_list(&all, &n, e);
    const struct cache_model *found = NULL, *other = NULL;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        int f = fit(name, all[i].name);
        if (f == 0 || f < best) continue;
        n_best = f > best ? 1 : n_best + 1;
        other = found;
        best = f;
        found = &all[i];
    }
    if (rc == 0 && !found) rc = not_found(name, all, n, e);
    if (rc == 0 && n_best > 1)
        rc = err(e, ERR_USAGE,
                 "model '%s': %zu pulled models fit, '%s' and '%s' among them; say more of the name", name,
                 n_best, other->name, found->name);
    if (rc == 0) *m = *found;
    free(all);
    return rc;
}

int cache_remove(const struct cache_model *m, struct err *e)
{
    return path_remove_tree(m->dir.z, e);
}

int cache_remove_partial(const char *name, uint64_t *freed, struct err *e)
{
    struct path partial;
    struct stat st;
    int lock, rc = slug_path("partial", name, &partial, e);
    if (rc) return rc;
    if (stat(partial.z, &st) != 0) return 0;
    if ((rc = cache_begin(name, &partial, &lock, e))) return rc; /* not beneath a pull that is running */
    *freed += path_tree_bytes(partial.z);
    rc = path_remove_tree(partial.z, e);
    cache_end(lock);
    return rc ? rc : 1;
}

/* A folder of safetensors (folder/folder.h). */
static bool holds_config(const char *dir)
{
    struct path p;
    return path_format(&p, NULL, "%s/config.json", dir) == 0 && path_is_file(p.z);
}

int model_path_resolve(const char *name, struct path *p, struct err *e)
{
    struct stat st;
    if (stat(name, &st) == 0 && (!S_ISDIR(st.st_mode) || holds_config(name))) return path_format(p, e, "%s", name);
    struct cache_model *m = malloc(sizeof *m);
    if (!m) return err(e, ERR_MEMORY, "out of memory");
    int rc = cache_find(name, m, e);
    if (rc == 0) *p = m->main;
    free(m);
    if (rc && stat(name, &st) == 0)
        err(e, rc,
            "%s: a folder without config.json: expected a GGUF file, a folder of safetensors, or the name of a pulled model",
            name);
    return rc;
}

/* --- for pull --- */

int cache_begin(const char *name, struct path *partial, int *lock_fd, struct err *e)
{
    struct path lock;
    int rc = slug_path("partial", name, partial, e);
    *lock_fd = -1;
    if (!rc) rc = path_make_dirs(partial->z, e);
    if (!rc) rc = path_format(&lock, e, "%s/lock", partial->z);
    if (rc) return rc;
    *lock_fd = open(lock.z, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*lock_fd < 0) return err(e, ERR_IO, "%s: cannot create: %s", lock.z, strerror(errno));
    if (flock(*lock_fd, LOCK_EX | LOCK_NB) == 0) return 0;
    cache_end(*lock_fd);
    *lock_fd = -1;
    return err(e, ERR_USAGE, "another pull of '%s' is running", name);
}

void cache_end(int lock_fd)
{
    if (lock_fd >= 0) close(lock_fd);
}

static int write_json(const struct path *partial, json_t *root, struct err *e)
{
    struct path p;
    int rc = path_format(&p, e, "%s/model.json", partial->z);
    if (rc) return rc;
    FILE *f = fopen(p.z, "we");
    if (!f) return err(e, ERR_IO, "%s: cannot create: %s", p.z, strerror(errno));
    bool ok = json_dumpf(root, f, JSON_INDENT(2)) == 0 && fputc('\n', f) != EOF && fflush(f) == 0 &&
              fsync(fileno(f)) == 0;
    int saved = errno;
    if (fclose(f) != 0) ok = false;
    return ok ? 0 : err(e, ERR_IO, "%s: cannot write: %s", p.z, strerror(saved));
}

static json_t *describe(const char *name, const char *source, const struct cache_file *files, int n_files)
{
    char pulled[32];
    struct tm tm;
    time_t t = time(NULL);
    gmtime_r(&t, &tm);
    strftime(pulled, sizeof pulled, "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_t *list = json_array();
    for (int i = 0; i < n_files; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "file", files[i].name, "bytes",
                                              (json_int_t)files[i].bytes, "sha256", files[i].sha256));
    return json_pack("{s:s, s:s, s:s, s:o}", "name", name, "source", source, "pulled", pulled, "files", list);
}

int cache_commit(const char *name, const char *source, const struct path *partial,
                 const struct cache_file *files, int n_files, struct err *e)
{
    struct path to, dir, lock, old;
    json_t *root = describe(name, source, files, n_files);
    int rc = root ? write_json(partial, root, e) : err(e, ERR_MEMORY, "out of memory for model.json");
    json_decref(root);
    if (!rc) rc = slug_path("models", name, &to, e);
    if (!rc) rc = cache_dir(&dir, e);
    if (!rc) rc = path_format(&lock, e, "%s/lock", partial->z);
    if (!rc) rc = path_format(&old, e, "%s/models", dir.z);
    if (!rc) rc = path_make_dirs(old.z, e);
    if (!rc) rc = path_format(&old, e, "%s/.old-%ld", partial->z, (long)getpid());
    if (rc) return rc;
    unlink(lock.z);
    if (rename(to.z, old.z) != 0 && errno != ENOENT) /* an older pull of the same name */
        return err(e, ERR_IO, "%s: cannot move the older model away: %s", to.z, strerror(errno));
    if (rename(partial->z, to.z) != 0)
        return err(e, ERR_IO, "%s: cannot move to %s: %s", partial->z, to.z, strerror(errno));
    if (path_format(&old, NULL, "%s/.old-%ld", to.z, (long)getpid()) == 0) path_remove_tree(old.z, NULL);
    return 0;
}
