/* SPDX-License-Identifier: Apache-2.0 */
/* See root.h. */
#include "file/root.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "file/cache.h"
#include "file/gguf_int.h"

enum { READ_BYTES = 1 << 22 /* hashed between two looks at stop */ };

typedef crypto_hash_sha256_state sha;

/* --- the root ----------------------------------------------------------------------------------------------- */

static void add_bytes(sha *s, const void *p, size_t n)
{
    crypto_hash_sha256_update(s, p, n);
}

static void add_number(sha *s, uint64_t v)
{
    uint8_t le[8];
    for (int i = 0; i < 8; i++) le[i] = (uint8_t)(v >> 8 * i);
    add_bytes(s, le, sizeof le);
}

static void add_str(sha *s, struct str t)
{
    add_number(s, t.n);
    add_bytes(s, t.p, t.n);
}

static int hash_data(const struct tensor *t, uint8_t out[ROOT_BYTES], const atomic_int *stop, struct err *e)
{
    sha s;
    uint64_t row = dtype_row_bytes(t->type, t->ne[0]), rows = t->size_bytes / row,
             step = READ_BYTES / row ? READ_BYTES / row : 1;
    uint8_t *made = t->data ? NULL : malloc((size_t)(row * step));
    if (!t->data && !made) return err(e, ERR_MEMORY, "out of memory");
    crypto_hash_sha256_init(&s);
    int rc = 0;
    for (uint64_t at = 0; at < rows && !rc; at += step) {
        uint64_t n = rows - at < step ? rows - at : step;
        if (stop && atomic_load(stop)) rc = err(e, ERR_CANCELLED, "stopped");
        else add_bytes(&s, tensor_rows(t, at, n, made), (size_t)(n * row));
    }
    crypto_hash_sha256_final(&s, out);
    free(made);
    return rc;
}

static int add_tensor(sha *root, const struct gguf *g, const struct tensor *t, const atomic_int *stop, struct err *e)
{
    uint8_t h[ROOT_BYTES];
    sha s;
    int rc = hash_data(t, h, stop, e);
    if (rc) return rc;
    gguf_drop(g, t);
    crypto_hash_sha256_init(&s);
    add_str(&s, STR("tensor"));
    add_str(&s, t->name);
    add_number(&s, (uint64_t)t->type);
    for (int i = 0; i < GGUF_MAX_DIMS; i++) add_number(&s, t->ne[i]);
    add_bytes(&s, h, sizeof h);
    crypto_hash_sha256_final(&s, h);
    add_bytes(root, h, sizeof h);
    return 0;
}

static void add_key(sha *root, const struct gguf_key *k)
{
    uint8_t h[ROOT_BYTES];
    sha s;
    crypto_hash_sha256_init(&s);
    add_str(&s, STR("key"));
    add_str(&s, k->name);
    add_number(&s, (uint64_t)k->type);
    add_number(&s, (uint64_t)k->elem);
    add_number(&s, k->n);
    add_str(&s, (struct str){(const char *)k->p, k->bytes});
    crypto_hash_sha256_final(&s, h);
    add_bytes(root, h, sizeof h);
}

static bool decides(const struct gguf_key *k)
{
    if (str_starts(k->name, STR("general."))) return str_eqz(k->name, "general.architecture");
    return !str_starts(k->name, STR("split."));
}

static int compare(struct str a, struct str b)
{
    int d = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return d ? d : a.n < b.n ? -1 : a.n > b.n;
}

static int by_tensor(const void *a, const void *b)
{
    return compare((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

static int by_key(const void *a, const void *b)
{
    return compare((*(const struct gguf_key *const *)a)->name, (*(const struct gguf_key *const *)b)->name);
}

int root_compute(const struct gguf *g, uint8_t root[ROOT_BYTES], const atomic_int *stop, struct err *e)
{
    size_t n_tensors = gguf_n_tensors(g), n_keys = 0;
    const struct tensor **tensor = calloc(n_tensors + 1, sizeof *tensor);
    const struct gguf_key **key = calloc(gguf_n_keys(g) + 1, sizeof *key);
    int rc = tensor && key ? 0 : err(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < n_tensors && !rc; i++) tensor[i] = gguf_tensor_at(g, i);
    for (size_t i = 0; i < gguf_n_keys(g) && !rc; i++)
        if (decides(gguf_key_at(g, i))) key[n_keys++] = gguf_key_at(g, i);
    if (!rc) {
        sha s;
        qsort(tensor, n_tensors, sizeof *tensor, by_tensor);
        qsort(key, n_keys, sizeof *key, by_key);
        crypto_hash_sha256_init(&s);
        add_str(&s, STR("tutti model 1"));
        add_number(&s, n_tensors);
        add_number(&s, n_keys);
        for (size_t i = 0; i < n_tensors && !rc; i++) rc = add_tensor(&s, g, tensor[i], stop, e);
        for (size_t i = 0; i < n_keys && !rc; i++) add_key(&s, key[i]);
        crypto_hash_sha256_final(&s, root);
    }
    free(tensor);
    free(key);
    return rc;
}

/* --- kept roots ----------------------------------------------------------------------------------------------- */

/* CACHE/roots/HASH, where HASH is over the path and what the system says of each part. */
static bool place(const struct gguf *g, const char *path, struct path *dir, struct path *file)
{
    char *full = realpath(path, NULL);
    char hex[2 * ROOT_BYTES + 1];
    uint8_t h[ROOT_BYTES];
    struct stat st;
    sha s;
    crypto_hash_sha256_init(&s);
    add_str(&s, str_from(full ? full : path));
    free(full);
    for (int i = 0; i < g->n_parts; i++) {
        if (g->part[i].fd < 0 || fstat(g->part[i].fd, &st)) return false;
        add_number(&s, (uint64_t)st.st_size);
        add_number(&s, (uint64_t)st.st_mtim.tv_sec);
        add_number(&s, (uint64_t)st.st_mtim.tv_nsec);
        add_number(&s, (uint64_t)st.st_dev);
        add_number(&s, (uint64_t)st.st_ino);
    }
    crypto_hash_sha256_final(&s, h);
    sodium_bin2hex(hex, sizeof hex, h, sizeof h);
    struct path cache;
    return !cache_dir(&cache, NULL) && !path_format(dir, NULL, "%s/roots", cache.z) &&
           !path_format(file, NULL, "%s/%s", dir->z, hex);
}

bool root_recall(const struct gguf *g, const char *path, uint8_t root[ROOT_BYTES])
{
    struct path dir, file;
    uint8_t kept[ROOT_BYTES + 1];
    if (!place(g, path, &dir, &file)) return false;
    int fd = open(file.z, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, kept, sizeof kept);
    close(fd);
    if (n != ROOT_BYTES) return false;
    memcpy(root, kept, ROOT_BYTES);
    return true;
}

void root_keep(const struct gguf *g, const char *path, const uint8_t root[ROOT_BYTES])
{
    struct path dir, file, part;
    if (!place(g, path, &dir, &file) || path_make_dirs(dir.z, NULL) ||
        path_format(&part, NULL, "%s.%d", file.z, (int)getpid()))
        return;
    int fd = open(part.z, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return;
    bool ok = write(fd, root, ROOT_BYTES) == ROOT_BYTES;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(part.z, file.z)) unlink(part.z);
}
