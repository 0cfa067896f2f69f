/* SPDX-License-Identifier: Apache-2.0 */
/* See npy.h. Format: numpy.lib.format, "Format Specification". */
#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_MAX = 4096 };

/* {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), } */
static int parse_header(struct npy *a, const char *h, struct err *e)
{
    const char *shape = strstr(h, "'shape': (");
    if (!strstr(h, "'descr': '<f4'") || !strstr(h, "'fortran_order': False") || !shape)
        return err(e, ERR_FORMAT, "expected a float32 array in C order, got %.100s", h);
    int64_t rows = 1, last = 0;
    char *end;
    for (const char *p = shape + 10; *p && *p != ')'; p = end + strspn(end, ", ")) {
        errno = 0;
        long long v = strtoll(p, &end, 10);
        if (end == p || errno || v < 1 || v > INT64_MAX / 8) return err(e, ERR_FORMAT, "bad shape in %.100s", h);
        if (last && __builtin_mul_overflow(rows, last, &rows)) return err(e, ERR_FORMAT, "shape is too large");
        last = v;
    }
    if (!last) return err(e, ERR_FORMAT, "the array has no axes");
    a->n_rows = rows;
    a->n_cols = last;
    return 0;
}

int npy_open(struct npy *a, const char *path, struct err *e)
{
    *a = (struct npy){0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int rc = err(e, ERR_IO, "cannot open '%s': %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return rc;
    }
    size_t n = (size_t)st.st_size;
    const unsigned char *p = n >= 16 ? mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (p == MAP_FAILED) return err(e, ERR_FORMAT, "'%s' is not a .npy file", path);
    a->map = (void *)(uintptr_t)p;
    a->map_bytes = n;
    char text[HEADER_MAX + 1];
    size_t at = p[6] == 1 ? 10 : 12, len = p[8] | (size_t)p[9] << 8;
    if (p[6] != 1) len |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    int rc = 0;
    if (memcmp(p, "\x93NUMPY", 6) != 0 || p[6] < 1 || p[6] > 3 || len > HEADER_MAX || at + len > n || (at + len) % 4) {
        rc = err(e, ERR_FORMAT, "not a .npy file");
    } else {
        memcpy(text, p + at, len);
        text[len] = 0;
        rc = parse_header(a, text, e);
    }
    size_t want;
    if (!rc && (__builtin_mul_overflow((size_t)a->n_rows, (size_t)a->n_cols * 4, &want) || n - at - len != want))
        rc = err(e, ERR_FORMAT, "the shape asks for other bytes than the %zu that follow", n - at - len);
    if (rc) {
        npy_close(a);
        return e ? err_prefix(e, "%s", path) : rc;
    }
    a->data = (const float *)(const void *)(p + at + len);
    return 0;
}

void npy_close(struct npy *a)
{
    if (a->map) munmap(a->map, a->map_bytes);
    *a = (struct npy){0};
}

int npy_write_header(FILE *f, int64_t n_rows, int64_t n_cols)
{
    char h[128];
    int n = snprintf(h, sizeof h,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRId64 ", %" PRId64 "), }",
                     n_rows, n_cols);
    int len = (10 + n + 1 + 63) / 64 * 64 - 10;
    unsigned char pre[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(len & 255), (unsigned char)(len >> 8)};
    fwrite(pre, 1, sizeof pre, f);
    fprintf(f, "%-*s\n", len - 1, h);
    return ferror(f) ? -1 : 0;
}
