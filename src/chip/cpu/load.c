/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading on the CPU: every matrix is packed once (kern/mat.h) by all workers, panel by panel, and the file's pages
 * are given back as soon as a tensor is packed, so that memory holds the weights once. Matrices lie in the order in
 * which steps read them, and the worker that will multiply by a panel packs it: the first to touch memory decides
 * which node of a NUMA machine it is on. All other memory of the token path is taken here, too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "chip/cpu/hot.h"
#include "kern/encode.h"

enum { HUGE = 2 << 20 };

/* A matrix of those that are packed together. One that is packed elsewhere (not todo) still has its part of
 * the shares. */
struct packed {
    struct mat *m;
    const struct weight *w;
    bool todo;
};

struct packing {
    struct cpu *c;
    struct packed part[PROGRAM_MATS]; /* the matrices of a step, or one of its own */
    int n, n_panels;                  /* in part; panels of all */
    size_t at;                        /* bytes given out */
    uint8_t *rows; /* of each worker: a panel's rows, where the file does not hold them as they are */
    size_t rows_bytes;
    float *floats; /* the transposed matrix of a weight, and room to make it */
    size_t floats_bytes;
    struct err err[POOL_MAX]; /* first error of each worker */
};

static int pack_panel(const struct packing *k, const struct packed *part, int p, int worker, struct err *e)
{
    const struct weight *w = part->w;
    int row = p * PANEL, n = w->n - row < PANEL ? w->n - row : PANEL;
    const uint8_t *rows =
        w->turned ? (const uint8_t *)(k->floats + (size_t)row * (size_t)w->k)
                  : tensor_rows(w->t, (uint64_t)row, (uint64_t)n, k->rows + (size_t)worker * k->rows_bytes);
    int rc = mat_pack(part->m, p, rows, dtype_row_bytes(weight_type(w), (uint64_t)w->k), e);
    return rc ? err_prefix(e, "tensor '%.*s'", STR_ARG(w->t->name)) : 0;
}

static void pack_share(void *arg, int worker)
{
    struct packing *k = arg;
    struct share s = share_of(k->n_panels, worker, pool_size(k->c->pool));
    for (int i = 0, p0, p1; i < k->n; i++) {
        if (!share_next(&s, k->part[i].m->n_panels, &p0, &p1) || !k->part[i].todo) continue;
        for (int p = p0; p < p1; p++)
            if (pack_panel(k, &k->part[i], p, worker, &k->err[worker])) return;
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
    size_t packed = (mat_bytes(&panel) + 63) & ~(size_t)63,
           need = packed + ((floats + PANEL * (size_t)len) * sizeof(float) + 63) / 64 * 64;
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
        rc = encode_decode_rows(t->type, x, tensor_rows(t, (uint64_t)r, (uint64_t)m, k->rows), row_bytes, m,
                                (uint64_t)len, room, e);
        for (int i = 0; i < m && !rc; i++)
            for (int j = 0; j < len; j++)
                out[(size_t)j * (size_t)n + (size_t)(r + i)] = x[(size_t)i * (size_t)len + (size_t)j];
    }
    return rc;
}

static void add(struct packing *k, int weight)
{
    struct mat *m = &k->c->mats[weight];
    const struct weight *w = &k->c->chip.program->weights[weight];
    k->part[k->n++] = (struct packed){.m = m, .w = w, .todo = !m->data && !hot_holds(k->c, weight)};
    k->n_panels += m->n_panels;
}

/* Packs what was added. */
static int pack(struct packing *k, const struct chip_options *opt, struct err *e)
{
    struct cpu *c = k->c;
    int n = k->n, todo = 0;
    for (int i = 0; i < n; i++) {
        if (!k->part[i].todo) continue;
        k->part[i].m->data = (uint8_t *)c->weights + k->at;
        k->at += mat_bytes(k->part[i].m);
        todo++;
    }
    if (todo) pool_run(c->pool, pack_share, k);
    for (int j = 0; todo && j < pool_size(c->pool); j++) {
        if (!k->err[j].code) continue;
        *e = k->err[j];
        return e->code;
    }
    for (int i = 0; i < n; i++)
        if (k->part[i].todo) gguf_drop(c->chip.program->model->file, k->part[i].w->t);
    if (todo && opt->progress) opt->progress(opt->progress_ud, k->at, c->weights_bytes);
    k->n = k->n_panels = 0;
    return 0;
}

/* Step by step, the head before the body: it is the largest, and the file's pages of what is packed last come on top of
 * all. Then what no product of whole rows reads: experts, matrices of heads (some turned), an embedding. */
static int pack_all(struct packing *k, const struct chip_options *opt, struct err *e)
{
    const struct program *p = k->c->chip.program;
    int rc = 0;
    for (int i = 0; i < p->n_steps && !rc; i++) {
        const struct step *s = &p->steps[(p->n_body + i) % p->n_steps];
        if (s->kind != STEP_MATMUL) continue;
        for (int j = 0; j < s->n; j++) add(k, s->mat[j].w);
        rc = pack(k, opt, e);
    }
    for (int i = 0; i < p->n_weights && !rc; i++) {
        const struct weight *w = &p->weights[i];
        if (k->c->mats[i].data || hot_holds(k->c, i)) continue;
        if (w->turned && (rc = turn(k, w, e))) return err_prefix(e, "tensor '%.*s'", STR_ARG(w->t->name));
        add(k, i);
        rc = pack(k, opt, e);
    }
    return rc;
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
    /* start on a huge page: fewer TLB misses, fewer page tables */
    size_t lead = (size_t)(-(uintptr_t)map & (HUGE - 1));
    if (lead) munmap(map, lead);
    c->weights = map + lead;
    c->weights_bytes = total;
    munmap(c->weights + ((total + 4095) & ~(size_t)4095), HUGE - lead - ((total + 4095) & ~(size_t)4095) + total);
    madvise(c->weights, total, MADV_HUGEPAGE);
    struct packing *k = calloc(1, sizeof *k);
    if (!k) return err(e, ERR_MEMORY, "out of memory");
    k->c = c;
    rc = make_room(k, p, pool_size(c->pool), e);
    if (!rc) rc = pack_all(k, opt, e);
    free(k->rows);
    free(k->floats);
    free(k);
    gguf_drop_all(p->model->file);
    return rc;
}
