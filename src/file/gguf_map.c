/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF: paths and mappings. Finds the parts of a split model by their names, maps them read-only, has gguf.c
 * read them, and gives resident pages back once the weights were repacked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "file/gguf_int.h"

int gguf_map_file(struct gguf_part *f, const char *path, struct err *e)
{
    struct stat st;
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        return err(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(f->fd, &st) != 0) return err(e, ERR_IO, "%s: cannot examine: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return err(e, ERR_IO, "%s: is a folder, not a file", path);
    if (!S_ISREG(st.st_mode)) return err(e, ERR_IO, "%s: is not a regular file", path);
    if (st.st_size == 0) return err(e, ERR_FORMAT, "%s: not a model file: 0 bytes long", path);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, f->fd, 0);
    if (p == MAP_FAILED) return err(e, ERR_IO, "%s: cannot map: %s", path, strerror(errno));
    f->map = p;
    f->size = (size_t)st.st_size;
    return 0;
}

/* --- names of split models --- */

struct split_name {
    size_t stem;        /* bytes of the path before -00002-of-00003.gguf */
    unsigned no, count; /* 2, 3; both 1 for other names */
};

static struct split_name parse_name(const char *path)
{
    enum { TAIL = sizeof "-00001-of-00003.gguf" - 1 };
    const struct split_name whole = {.no = 1, .count = 1};
    size_t n = strlen(path);
    if (n < TAIL) return whole;
    const char *t = path + n - TAIL;
    for (int i = 1; i <= 5; i++)
        if (t[i] < '0' || t[i] > '9' || t[i + 9] < '0' || t[i + 9] > '9') return whole;
    if (t[0] != '-' || memcmp(t + 6, "-of-", 4) != 0 || strcmp(t + 15, ".gguf") != 0) return whole;
    struct split_name s = {.stem = n - TAIL};
    s.no = (unsigned)strtoul(t + 1, NULL, 10);
    s.count = (unsigned)strtoul(t + 10, NULL, 10);
    return s.no >= 1 && s.no <= s.count && s.count <= GGUF_MAX_PARTS ? s : whole;
}

/* The path of part no (from 1), in the arena. */
static char *part_path(struct gguf *g, const char *path, struct split_name s, unsigned no)
{
    size_t cap = strlen(path) + 1;
    char *p = arena_alloc(&g->arena, cap, 1);
    if (p && s.count == 1) memcpy(p, path, cap);
    if (p && s.count > 1) snprintf(p, cap, "%.*s-%05u-of-%05u.gguf", (int)s.stem, path, no, s.count);
    return p;
}

/* --- opening --- */

static int open_parts(struct gguf *g, const char *path, struct split_name s, struct err *e)
{
    uint32_t no, count;
    int rc;
    const char *first = part_path(g, path, s, 1);
    if (!first) return err(e, ERR_MEMORY, "%s: out of memory", path);
    if ((rc = gguf_map_file(&g->part[0], first, e))) return rc;
    if ((rc = gguf_read_first(g, &no, &count, e))) {
        err_prefix(e, "%s", first);
        return rc;
    }
    if (count == 1 && s.no > 1)
        return err(e, ERR_FORMAT, "%s: holds no 'split.count' key: it is not part of a split model", first);
    if (count == 1) g->n_parts = 1; /* a whole model that merely has such a name */
    if (count > 1 && (count != s.count || no != 0))
        return err(e, ERR_FORMAT,
                   "%s: holds part %u of %u of a split model: its name must end in -%05u-of-%05u.gguf, "
                   "next to the other parts",
                   first, no + 1, count, no + 1, count);
    for (uint32_t i = 1; i < count; i++) {
        const char *p = part_path(g, path, s, i + 1);
        if (!p) return err(e, ERR_MEMORY, "%s: out of memory", path);
        if ((rc = gguf_map_file(&g->part[i], p, e))) return rc;
    }
    if ((rc = gguf_read_rest(g, e))) err_prefix(e, "%s", path);
    return rc;
}

int gguf_open(struct gguf **out, const char *path, struct err *e)
{
    struct split_name s = parse_name(path);
    struct gguf *g = gguf_new((int)s.count);
    *out = NULL;
    if (!g) return err(e, ERR_MEMORY, "%s: out of memory", path);
    int rc = open_parts(g, path, s, e);
    if (rc)
        gguf_close(g);
    else
        *out = g;
    return rc;
}

void gguf_close(struct gguf *g)
{
    if (!g) return;
    for (int i = 0; g->part && i < g->n_parts; i++) {
        struct gguf_part *f = &g->part[i];
        if (f->fd < 0) continue;
        if (f->map) munmap((void *)(uintptr_t)f->map, f->size);
        close(f->fd);
    }
    arena_finish(&g->arena);
    free(g);
}

/* --- giving memory back --- */

void gguf_drop(const struct gguf *g, const struct tensor *t)
{
    if (!t->data || g->part[t->file].fd < 0) return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)t->data + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)t->data + t->size_bytes) & ~(page - 1);
    if (from < to) madvise((void *)from, to - from, MADV_DONTNEED);
}

void gguf_want(const struct gguf *g, const struct tensor *t)
{
    if (!t->data || g->part[t->file].fd < 0) return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)t->data & ~(page - 1);
    madvise((void *)from, (uintptr_t)t->data + t->size_bytes - from, MADV_WILLNEED);
}

/* Mapping the file anew over itself also frees the page tables, which MADV_DONTNEED keeps. */
void gguf_drop_all(const struct gguf *g)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < g->n_parts; i++) {
        const struct gguf_part *f = &g->part[i];
        size_t from = (f->data + page - 1) & ~(page - 1);
        if (f->fd < 0 || from >= f->size) continue;
        void *at = (void *)(uintptr_t)(f->map + from);
        if (mmap(at, f->size - from, PROT_READ, MAP_PRIVATE | MAP_FIXED, f->fd, (off_t)from) != at)
            madvise(at, f->size - from, MADV_DONTNEED);
    }
}
