/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading on the CPU: every matrix is packed once (kern/mat.h) by all workers, panel by panel, and the file's pages
 * are given back as soon as a tensor is packed, so that memory holds the weights once. All other memory of the token
 * path is taken here, too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "chip/cpu/hot.h"
#include "kern/encode.h"

enum { HUGE = 2 << 20 };

struct packing {
    struct cpu *c;
    struct mat *m;
    const struct tensor *t;
    size_t row_bytes;
    uint8_t *rows; /* of each worker: a panel's rows, where the file does not hold them as they are */
    size_t rows_bytes;
    bool turned;   /* the rows are those of `floats` */
    float *floats; /* the transposed matrix of a weight, and room to make it */
    size_t floats_bytes;
    struct err err[POOL_MAX]; /* first error of each worker */
};

static void pack_share(void *arg, int worker)
{
    struct packing *k = arg;
    int begin, end;
    pool_share(k->m->n_panels, worker, pool_size(k->c->pool), &begin, &end);
    for (int p = begin; p < end; p++) {
        int row = p * PANEL, n = k->m->n - row < PANEL ? k->m->n - row : PANEL;
        const uint8_t *rows = k->turned ? (const uint8_t *)(k->floats + (size_t)row * (size_t)k->m->k)
                                        : tensor_rows(k->t, (uint64_t)row, (uint64_t)n, k->rows + (size_t)worker * k->rows_bytes);
        if (mat_pack(k->m, p, rows, k->row_bytes, &k->err[worker])) return;
    }
}

/* Room for the widest panel of a made tensor; none if all are in the file. */
static int make_room(struct packing *k, const struct program *p, int n_workers, struct err *e)
{
    for (int i = 0; i < p->n_weights; i++) {
        size_t need = (size_t)dtype_row_bytes(p->weights[i].t->type, p->weights[i].t->ne[0]) * PANEL;
        if (!p->weights[i].t->data && need > k->rows_bytes) k->rows_bytes = (need + 63) / 64 * 64;
    }
    k->rows = k->rows_bytes ? aligned_alloc(64, k->rows_bytes * (size_t)n_workers) : NULL;
    return k->rows || !k->rows_bytes ? 0 : err(e, ERR_MEMORY, "out of memory");
}

/* The matrix of w->t, decoded exactly and transposed, as the rows to pack. By one thread: these matrices are small. */
static int turn(struct packing *k, const struct weight *w, struct err *e)
{
    const struct tensor *t = w->t;
    struct mat panel;
    int n = w->k, len = w->n; /* rows and their length in the file */
    size_t floats = (size_t)n * (size_t)len, row_bytes = dtype_row_bytes(t->type, (uint64_t)len);
    int rc = mat_init(&panel, t->type, PANEL, len, e);
    if (rc) return rc;
    size_t packed = (mat_bytes(&panel) + 63) & ~(size_t)63, need = packed + ((floats + PANEL * (size_t)len) * sizeof(float) + 63) / 64 * 64;
    if (need > k->floats_bytes) {
        free(k->floats);
        k->floats = aligned_alloc(64, need);
        k->floats_bytes = k->floats ? need : 0;
        if (!k->floats) return err(e, ERR_MEMORY, "out of memory");
    }
    float *out = k->floats, *x = out + floats;
    void *room = (char *)k->floats + need - packed;
    for (int r = 0; r < n && !rc; r += PANEL) {
        int m = n - r < PANEL ? n - r : PANEL;
        rc = encode_decode_rows(t->type, x, tensor_rows(t, (uint64_t)r, (uint64_t)m, k->rows), row_bytes, m, (uint64_t)len, room, e);
        for (int i = 0; i < m && !rc; i++)
            for (int j = 0; j < len; j++) out[(size_t)j * (size_t)n + (size_t)(r + i)] = x[(size_t)i * (size_t)len + (size_t)j];
    }
    return rc;
}

static int pack_all(struct cpu *c, struct packing *k, const struct chip_options *opt, struct err *e)
{
    const struct program *p = c->chip.program;
    size_t at = 0;
    for (int i = 0; i < p->n_weights; i++) {
        k->m = &c->mats[i];
        const struct weight *w = &p->weights[i];
        if (hot_holds(c, i)) continue;
        int rc = w->turned ? turn(k, w, e) : 0;
        if (rc) return e ? err_prefix(e, "tensor '%.*s'", STR_ARG(w->t->name)) : rc;
        k->t = w->t, k->turned = w->turned;
        k->row_bytes = dtype_row_bytes(weight_type(w), (uint64_t)w->k);
        k->m->data = (uint8_t *)c->weights + at;
        at += mat_bytes(k->m);
        pool_run(c->pool, pack_share, k);
        for (int j = 0; j < pool_size(c->pool); j++) {
            if (!k->err[j].code) continue;
            if (e) *e = k->err[j];
            return e ? err_prefix(e, "tensor '%.*s'", STR_ARG(w->t->name)) : k->err[j].code;
        }
        gguf_drop(p->model->file, w->t);
        if (opt->progress) opt->progress(opt->progress_ud, at, c->weights_bytes);
    }
    return 0;
}

int cpu_load_weights(struct cpu *c, const struct chip_options *opt, struct err *e)
{
    const struct program *p = c->chip.program;
    size_t total = 0;
    c->mats = ARENA_NEW(&c->arena, struct mat, (size_t)p->n_weights);
    if (!c->mats) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < p->n_weights; i++) {
        const struct weight *w = &p->weights[i];
        int rc = mat_init(&c->mats[i], weight_type(w), w->n, w->k, e);
        if (rc) return rc;
    }
    int rc = hot_create(c, opt->experts_bytes, e);
    if (rc) return rc;
    for (int i = 0; i < p->n_weights; i++)
        if (!hot_holds(c, i)) total += mat_bytes(&c->mats[i]); /* a multiple of 64 */
    char *map = mmap(NULL, total + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return err(e, ERR_MEMORY, "out of memory: the weights take %zu MiB", total >> 20);
    size_t lead = (size_t)(-(uintptr_t)map & (HUGE - 1)); /* start on a huge page: fewer TLB misses, fewer page tables */
    if (lead) munmap(map, lead);
    c->weights = map + lead;
    c->weights_bytes = total;
    munmap(c->weights + ((total + 4095) & ~(size_t)4095), HUGE - lead - ((total + 4095) & ~(size_t)4095) + total);
    madvise(c->weights, total, MADV_HUGEPAGE);
    struct packing *k = calloc(1, sizeof *k);
    if (!k) return err(e, ERR_MEMORY, "out of memory");
    k->c = c;
    rc = make_room(k, p, pool_size(c->pool), e);
    if (!rc) rc = pack_all(c, k, opt, e);
    free(k->rows);
    free(k->floats);
    free(k);
    gguf_drop_all(p->model->file);
    return rc;
}
