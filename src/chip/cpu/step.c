/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU back end: one batch through the program. All workers walk the list of steps together; a step is divided
 * among them as program.h says, and they meet after each. Nothing here allocates or locks.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "chip/cpu/hot.h"
#include "kern/contract.h"
#include "kern/mathf.h"

/* --- steps ---------------------------------------------------------------------------------------------- */

/* The vector as a whole (n_head 0), or head by head with one gain. */
static int norm_heads(const struct elem_kern *k, float *y, const float *x, const float *gain, int n,
                      int n_head, float eps)
{
    int rc = 0, width = n_head ? n / n_head : n;
    for (int at = 0; at < n; at += width) rc |= k->norm(y + at, x + at, gain, width, eps);
    return rc;
}

static void run_row_op(struct cpu *c, const struct row_op *r, int row, int worker)
{
    const struct program *p = c->chip.program;
    const struct hparams *h = &p->model->h;
    const struct elem_kern *k = c->kern->elem;
    const struct buffer *b = &p->buffers[r->dst];
    float *dst = b->kind == BUFFER_FLOAT ? cpu_row(c, worker, r->dst, row) : NULL;
    const float *src = r->src >= 0 && r->kind != ROW_SELECT ? cpu_row(c, worker, r->src, row) : NULL;
    int rc = 0;
    if (b->heads) {
        if (cpu_quant_heads(c, r, row, worker)) cpu_fault(c, row);
        return;
    }
    if (b->slots || r->kind == ROW_MIX) {
        if (cpu_slots(c, r, row, worker)) cpu_fault(c, row);
        return;
    }
    switch (r->kind) {
    case ROW_TURN: rope_angles(&c->rope[r->rope], (uint64_t)c->row_pos[row], dst, dst + b->width / 2); break;
    case ROW_EMBED: mat_row(&c->mats[r->w], c->row_token[row], dst); break;
    case ROW_SELECT: memcpy(dst, cpu_row(c, worker, r->src, c->select[row]), (size_t)b->width * sizeof *dst); break;
    case ROW_NORM: rc = norm_heads(k, dst, src, p->vectors[r->w].x, b->width, r->n_head, h->norm_eps); break;
    case ROW_QUANT: rc = k->quant(&c->codes[r->dst], row, src); break;
    case ROW_ROPE: k->rope(dst, src, r->n_head, b->width / r->n_head, h->rope[r->rope].dim / 2, h->rope_halves); break;
    case ROW_GATE: k->gate(dst, src, cpu_row(c, worker, r->src2, row), b->width, r->gate); break;
    case ROW_ADD: k->add(dst, src, b->width); break;
    case ROW_SCALE: k->scale(dst, r->scale, b->width); break;
    case ROW_CAP: k->cap(dst, r->scale, b->width); break;
    case ROW_ROUTE: route_choose(r->route, src, r->w < 0 ? NULL : p->vectors[r->w].x, dst); break;
    case ROW_DIM: k->scale(dst, sigmoid32(src[0]), b->width); break;
    case ROW_TAKE: cpu_take(c, r, row, worker); break;
    case ROW_MIX: break; /* above */
    }
    if (rc) cpu_fault(c, c->select ? c->select[row] : row);
}

/* A row's floats are in the cache of the worker that had it in the step before: another takes it over only
 * where there are many. */
enum { ROWS_DEALT = 4 }; /* for each worker */

static void rows_of(struct cpu *c, const struct step *s, int begin, int end, int worker)
{
    for (int row = begin; row < end; row++)
        for (int i = 0; i < s->n; i++) run_row_op(c, &s->row[i], row, worker);
}

static void run_rows(struct cpu *c, const struct step *s, int worker)
{
    int begin, end;
    if (c->n_rows < ROWS_DEALT * pool_size(c->pool)) {
        pool_share(c->n_rows, worker, pool_size(c->pool), &begin, &end);
        rows_of(c, s, begin, end, worker);
        return;
    }
    struct pool_deal deal = pool_deal(c->pool, worker, c->n_rows);
    while (pool_take(&deal, &begin, &end)) rows_of(c, s, begin, end, worker);
}

static void run_panels(struct cpu *c, const struct step *s, struct share share, int worker)
{
    const struct program *p = c->chip.program;
    for (int i = 0, p0, p1; i < s->n; i++) {
        const struct step_mat *m = &s->mat[i];
        const struct mat *w = &c->mats[m->w];
        if (!share_next(&share, w->n_panels, &p0, &p1)) continue;
        size_t stride = (size_t)buffer_stride(&p->buffers[m->dst]);
        float *y = cpu_row(c, worker, m->dst, 0);
        c->kern->matmul(y, stride, w, p0, p1, &c->codes[m->src], 0, c->n_rows);
        if (m->bias >= 0)
            for (int row = 0; row < c->n_rows; row++)
                c->kern->elem->add(y + (size_t)row * stride + p0 * PANEL, p->vectors[m->bias].x + p0 * PANEL,
                                   (p1 - p0) * PANEL);
    }
}

static void run_matmul(struct cpu *c, const struct step *s, int worker)
{
    int total = 0;
    for (int i = 0; i < s->n; i++) total += c->mats[s->mat[i].w].n_panels;
    for (int i = 0; c->opt.observe && i < s->n; i++)
        c->opt.observe(c->opt.observe_ud, s->mat[i].w, &c->codes[s->mat[i].src], c->n_rows, worker, pool_size(c->pool));
    struct pool_deal deal = pool_deal(c->pool, worker, total);
    for (struct share share; pool_take(&deal, &share.begin, &share.end);) run_panels(c, s, share, worker);
}

/* One worker alone waits for nobody: its own time leaves out what other programs took. */
static uint64_t now_ns(const struct cpu *c)
{
    struct timespec t;
    clock_gettime(pool_size(c->pool) == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void run_steps(void *arg, int worker)
{
    struct cpu *c = arg;
    uint64_t *ns = c->chip.step_ns;
    for (int i = c->first_step; i < c->end_step; i++) {
        const struct step *s = &c->chip.program->steps[i];
        uint64_t begin = ns && worker == 0 ? now_ns(c) : 0;
        switch (s->kind) {
        case STEP_ROWS: run_rows(c, s, worker); break;
        case STEP_MATMUL: run_matmul(c, s, worker); break;
        case STEP_STORE: cpu_store(c, s, worker); break;
        case STEP_ATTEND: cpu_attend(c, s, worker); break;
        case STEP_EXPERTS: cpu_experts(c, s, worker); break;
        case STEP_HEADS: cpu_heads(c, s, worker); break;
        case STEP_PLACE:
            if (worker == 0) cpu_place(c, s);
            break;
        }
        if (i + 1 < c->end_step || ns) pool_barrier(c->pool);
        if (ns && worker == 0) ns[i] += now_ns(c) - begin;
    }
}

/* What comes after a bad position in its sequence sees a key that was not stored: bad as well. */
static void spread_faults(struct cpu *c)
{
    for (int i = 0, row = 0; i < c->batch->n_parts; i++) {
        const struct batch_part *p = &c->batch->parts[i];
        for (int j = 0; j < p->n; j++, row++) {
            if (p->seq->fault != KV_NO_FAULT)
                cpu_fault(c, row);
            else if (atomic_load_explicit(&c->status[row], memory_order_relaxed))
                p->seq->fault = p->pos + j;
        }
    }
}

static void set_rows(struct cpu *c, int n)
{
    c->n_rows = n;
    for (int i = 0; i < c->chip.program->n_buffers; i++) act_tokens(&c->codes[i], n);
}

/* The head, up to a step, for at most max_out of the wanted rows, from the first-th on. */
static void run_head(struct cpu *c, const int *rows, int n, int first, int end_step)
{
    const struct program *p = c->chip.program;
    c->select = rows + first;
    c->first_out = c->chip.head_first = first;
    set_rows(c, n - first < p->max_out ? n - first : p->max_out);
    c->first_step = p->n_body;
    c->end_step = end_step;
    pool_run(c->pool, run_steps, c);
}

static int row_status(const struct cpu *c, int i)
{
    return atomic_load_explicit(&c->status[c->select[i]], memory_order_relaxed);
}

/* What is done with a row of logits takes longer for some rows than for others: whoever is free takes the next one. */
static void spread_rows(void *arg, int worker)
{
    struct cpu *c = arg;
    for (int i; (i = atomic_fetch_add(&c->next_row, 1)) < c->n_rows;)
        c->batch->spread(c->ud, worker, c->first_out + i, cpu_row(c, 0, c->chip.program->logits, i), row_status(c, i));
}

static int step(struct chip *chip, const struct batch *b, logits_fn *sink, void *ud, struct err *e)
{
    struct cpu *c = (struct cpu *)chip;
    const struct program *p = chip->program;
    int n = 0;
    for (int i = 0; i < b->n_parts; i++) {
        for (int j = 0; j < b->parts[i].n; j++, n++) {
            c->row_token[n] = b->parts[i].tokens[j];
            c->row_pos[n] = b->parts[i].pos + j;
            atomic_store_explicit(&c->status[n], 0, memory_order_relaxed);
        }
    }
    c->batch = b;
    c->ud = ud;
    set_rows(c, n);
    c->select = NULL;
    cpu_attend_plan(c);
    c->first_step = 0;
    c->end_step = p->n_body;
    pool_run(c->pool, run_steps, c);
    spread_faults(c);
    int rc = c->hot ? hot_fault(c, e) : 0;
    if (rc) return rc;
    for (int i = 0; i < b->n_out; i += c->n_rows) {
        run_head(c, b->out, b->n_out, i, p->n_steps);
        if (b->spread) {
            atomic_store(&c->next_row, 0);
            pool_run(c->pool, spread_rows, c);
            continue;
        }
        for (int j = 0; j < c->n_rows; j++) sink(ud, i + j, cpu_row(c, 0, p->logits, j), row_status(c, j));
    }
    int first_product = p->n_body;
    while (p->steps[first_product].kind != STEP_MATMUL) first_product++;
    for (int i = 0; i < b->n_hidden; i += c->n_rows) {
        run_head(c, b->hidden, b->n_hidden, i, first_product);
        for (int j = 0; j < c->n_rows; j++) sink(ud, b->n_out + i + j, cpu_row(c, 0, p->hidden, j), row_status(c, j));
    }
    return 0;
}

/* --- load and unload ------------------------------------------------------------------------------------ */

static void unload(struct chip *chip)
{
    struct cpu *c = (struct cpu *)chip;
    pool_destroy(c->pool);
    hot_destroy(c);
    if (c->weights) munmap(c->weights, c->weights_bytes);
    arena_finish(&c->arena);
    free(c);
}

static int make_rope(struct cpu *c, struct err *e)
{
    const struct hparams *h = &c->chip.program->model->h;
    int rc = 0;
    for (int i = 0; i < h->n_rope && !rc; i++) {
        uint64_t *step_mem = ARENA_NEW(&c->arena, uint64_t, (size_t)h->rope[i].dim);
        rc = step_mem ? rope_init(&c->rope[i], &h->rope[i], step_mem, e) : err(e, ERR_MEMORY, "out of memory");
    }
    return rc;
}

/* Slices of attention: room for 8 items per worker over the longest context, at most 32 MiB. */
static size_t parts_bytes(const struct program *p, int workers)
{
    size_t n = (size_t)8 * (size_t)workers * ATTN_ROWS * attn_part_bytes(p->model->h.head_dim) *
               (size_t)(p->model->h.n_ctx_train / ATTN_CHUNK + 2);
    return n < 32u << 20 ? n : 32u << 20;
}

/* What make_buffers takes, but for the arena's rounding. */
static uint64_t work_bytes(const struct program *p, int workers)
{
    size_t D = (size_t)p->model->h.head_dim, rows = (size_t)p->max_rows * 3 * sizeof(int32_t);
    size_t each = p->scratch_bytes + sizeof(struct attn_q) + attn_rows_scratch((int)D) +
                  ATTN_ROWS * (D + (size_t)p->model->h.kv_extra) * sizeof(float);
    size_t items = cpu_attend_items_max(p) * sizeof(struct attend_item);
    return p->block_bytes + parts_bytes(p, workers) + rows + items + (size_t)workers * each;
}

/* Everything that step needs, so that it allocates nothing. */
static int make_buffers(struct cpu *c, struct err *e)
{
    const struct program *p = c->chip.program;
    int D = p->model->h.head_dim, workers = pool_size(c->pool);
    size_t rows = (size_t)p->max_rows;
    c->parts_bytes = parts_bytes(p, workers);
    c->block = ARENA_NEW(&c->arena, char, p->block_bytes);
    c->codes = ARENA_NEW(&c->arena, struct act, (size_t)p->n_buffers);
    c->workers = ARENA_NEW(&c->arena, struct cpu_worker, (size_t)workers);
    c->row_token = ARENA_NEW(&c->arena, int32_t, rows);
    c->row_pos = ARENA_NEW(&c->arena, int32_t, rows);
    c->status = arena_alloc(&c->arena, rows, sizeof *c->status);
    c->items = ARENA_NEW(&c->arena, struct attend_item, cpu_attend_items_max(p));
    c->place = ARENA_NEW(&c->arena, int, rows * (size_t)p->model->h.n_expert_used);
    c->expert_at = ARENA_NEW(&c->arena, int, (size_t)p->model->h.n_expert);
    c->expert_n = ARENA_NEW(&c->arena, int, (size_t)p->model->h.n_expert);
    c->parts = ARENA_NEW(&c->arena, char, c->parts_bytes);
    bool ok = c->block && c->codes && c->workers && c->row_token && c->row_pos && c->status && c->items &&
              c->parts && c->place && c->expert_at && c->expert_n;
    for (int w = 0; ok && w < workers; w++) {
        struct cpu_worker *k = &c->workers[w];
        k->scratch = ARENA_NEW(&c->arena, char, p->scratch_bytes);
        k->q = ARENA_NEW(&c->arena, struct attn_q, 1);
        k->attn_scratch = ARENA_NEW(&c->arena, char, attn_rows_scratch(D));
        k->rot = ARENA_NEW(&c->arena, float, (size_t)ATTN_ROWS * (size_t)(D + p->model->h.kv_extra));
        ok = k->scratch && k->q && k->attn_scratch && k->rot;
    }
    if (!ok) return err(e, ERR_MEMORY, "out of memory for %zu MiB of buffers", p->block_bytes >> 20);
    for (int i = 0; i < p->n_buffers; i++) {
        const struct buffer *b = &p->buffers[i];
        if (b->kind == BUFFER_CODES && b->first >= 0)
            act_init(&c->codes[i], b->tier, b->width, buffer_rows(p, b), c->block + b->at);
    }
    for (int i = p->n_body; i < p->n_steps; i++)
        for (int j = 0; p->steps[i].kind == STEP_MATMUL && j < p->steps[i].n; j++)
            if (p->steps[i].mat[j].dst == p->logits) c->chip.head = &c->codes[p->steps[i].mat[j].src];
    return 0;
}

static int load(struct chip **out, const struct program *p, const struct chip_options *opt, struct err *e)
{
    struct cpu *c = calloc(1, sizeof *c);
    if (!c) return err(e, ERR_MEMORY, "out of memory");
    c->chip.ops = &chip_cpu;
    c->chip.program = p;
    c->opt = *opt;
    arena_init(&c->arena);
    struct err none = {0};
    if (!e) e = &none;
    int rc = 0;
    c->kern = contract_select(opt->isa, &c->refused, e);
    if (!c->kern || (rc = pool_create(&c->pool, opt->n_threads, e)) || (rc = make_rope(c, e)) ||
        (rc = make_buffers(c, e)) || (rc = cpu_load_weights(c, opt, e))) {
        if (!c->kern) rc = e->code;
        unload(&c->chip);
        return rc;
    }
    c->chip.n_workers = pool_size(c->pool);
    *out = &c->chip;
    return 0;
}

static void explain(const struct chip *chip, struct buf *out)
{
    const struct cpu *c = (const struct cpu *)chip;
    buf_printf(out, "chip:    cpu, %d threads, kernels %s (matmul, element-wise, attention)\n",
               pool_size(c->pool), c->kern->name);
    if (c->refused)
        buf_printf(
            out, "warning: kernels %s of this machine fail the self-test of the contract and are not used\n",
            c->refused->name);
    buf_printf(out, "memory:  weights %.1f MiB packed, buffers %.1f MiB\n",
               (double)c->weights_bytes / 1048576, (double)c->arena.held_bytes / 1048576);
    if (!c->hot) return;
    struct hot_use u = hot_use(c);
    buf_printf(out,
               "experts: room for %d of %d in %.1f MiB, the others stay on disk; so far %" PRIu64
               " chosen ones were there, %" PRIu64 " were read\n",
               u.n_slots, u.n_units, (double)u.bytes / 1048576, u.kept, u.read);
}

const struct chip_ops chip_cpu = {.name = "cpu",
                                  .summary = "this machine's processor",
                                  .work_bytes = work_bytes,
                                  .load = load,
                                  .step = step,
                                  .explain = explain,
                                  .unload = unload,
                                  .limits = cpu_limits,
                                  .read = cpu_read,
                                  .max_chips = 1};
