/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated LPU as a chip: load compiles and fills its memory; a step runs its tokens one after the other, each as a
 * launch of the body and, if its logits are wanted, of the head. See lpu.h and doc/lpu.md.
 */
#include "chip/lpu/lpu.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- launches --------------------------------------------------------------------------------------------- */

static void launch_finish(struct lpu_launch *l)
{
    lpu_graph_finish(&l->graph);
    lpu_code_finish(&l->code);
    l->ready = false;
}

/* chunks 0: the head. */
static int compile(struct lpu *c, struct lpu_launch *l, int chunks, struct err *e)
{
    struct lpu_schedule s = {0};
    int rc = chunks ? lpu_map_body(c, &l->graph, chunks, e) : lpu_map_head(c, &l->graph, e);
    if (!rc) rc = lpu_schedule(&s, &c->arch, &l->graph, e);
    if (!rc) rc = lpu_trace(&l->trace, &c->arch, &l->graph, &s, e);
    if (!rc) rc = lpu_queues(&l->code, &c->arch, &s, e);
    lpu_schedule_finish(&s);
    if (!rc) {
        struct lpu_params p = c->params; /* any token and slot will do; these show more than zeros would */
        p.token = c->chip.program->model->h.n_vocab - 1;
        p.slot = 37;
        p.pages = NULL;
        lpu_code_patch(&l->code, &c->arch, &p);
        rc = lpu_verify(&c->arch, &l->graph, &l->code, &p, e);
    }
    if (rc)
        launch_finish(l);
    else
        l->ready = true;
    return rc;
}

int lpu_run(struct lpu *c, struct lpu_launch *l, bool *trapped, struct err *e)
{
    int cycles, rc;
    lpu_code_patch(&l->code, &c->arch, &c->params);
    if ((rc = lpu_sim_run(c->sim, &l->code, &cycles, trapped, e))) return rc;
    if (cycles != l->code.cycles) return err(e, ERR_INTERNAL, "the compiler announced %d cycles, the chip took %d", l->code.cycles, cycles);
    return 0;
}

/* --- a token ---------------------------------------------------------------------------------------------- */

static int read_logits(struct lpu *c, struct err *e)
{
    const struct lpu_buffer *b = &c->buffers[c->chip.program->logits];
    uint32_t v[LPU_LANES];
    int n = c->chip.program->model->h.n_vocab;
    for (int i = 0; i < b->n_vec; i++) {
        if (lpu_sim_get(c->sim, b->at[i], v)) return err(e, ERR_INTERNAL, "logits %d were never written", i * b->lanes);
        int m = n - i * b->lanes < b->lanes ? n - i * b->lanes : b->lanes;
        memcpy(c->logits + i * b->lanes, v, (size_t)m * sizeof *v);
    }
    return 0;
}

/* Runs one token at its position; *bad: a number left the range. */
static int run_token(struct lpu *c, const struct batch_part *p, int i, bool want, bool *bad, struct err *e)
{
    int pos = p->pos + i, chunks = pos / ATTN_CHUNK + 1, rc;
    const struct kv_pool *pool = p->seq->pool;
    if (chunks > c->max_chunks) return err(e, ERR_LIMIT, "position %d: the chip's memory holds %d tokens of context", pos, c->max_chunks * ATTN_CHUNK);
    for (int j = 0; j < chunks; j++) {
        ptrdiff_t page = ((const char *)p->seq->page[j] - pool->base) / (ptrdiff_t)pool->page_bytes;
        if (page >= c->kv_pages) return err(e, ERR_LIMIT, "sequences need more than the %d pages of keys and values that the chip holds", c->kv_pages);
        c->pages[j] = (int32_t)page;
    }
    struct lpu_launch *l = &c->body[chunks];
    if (!l->ready && (rc = compile(c, l, chunks, e))) return rc;
    c->params.token = p->tokens[i];
    c->params.slot = pos % ATTN_CHUNK;
    lpu_map_turn(c, pos);
    bool head_bad = false;
    if ((rc = lpu_run(c, l, bad, e))) return rc;
    if (want && ((rc = lpu_run(c, &c->head, &head_bad, e)) || (rc = read_logits(c, e)))) return rc;
    *bad |= head_bad;
    c->tokens++;
    return 0;
}

static int step(struct chip *chip, const struct batch *b, logits_fn *sink, void *ud, struct err *e)
{
    struct lpu *c = (struct lpu *)chip;
    int row = 0, out = 0;
    if (b->n_hidden) return err(e, ERR_UNSUPPORTED, "the simulated LPU hands out logits only, no hidden states");
    for (int i = 0; i < b->n_parts; i++) {
        const struct batch_part *p = &b->parts[i];
        for (int j = 0; j < p->n; j++, row++) {
            bool want = out < b->n_out && b->out[out] == row, bad = p->seq->fault != KV_NO_FAULT;
            int bits = p->seq->pool->shape.type == KV8 ? 8 : 16;
            if (bits != c->kv_bits) return err(e, ERR_INTERNAL, "a cache of %d bits on a chip compiled for %d", bits, c->kv_bits);
            if (!bad) {
                int rc = run_token(c, p, j, want, &bad, e);
                if (rc) return rc;
                if (bad) p->seq->fault = p->pos + j;
            }
            if (want) sink(ud, out++, c->logits, bad ? ERR_RANGE : 0);
        }
    }
    return 0;
}

/* --- load and unload -------------------------------------------------------------------------------------- */

static void unload(struct chip *chip)
{
    struct lpu *c = (struct lpu *)chip;
    for (int i = 0; c->body && i <= c->max_chunks; i++) launch_finish(&c->body[i]);
    launch_finish(&c->head);
    lpu_sim_destroy(c->sim);
    lpu_arch_close(&c->arch);
    arena_finish(&c->arena);
    free(c);
}

static int make_host(struct lpu *c, struct err *e)
{
    const struct hparams *h = &c->chip.program->model->h;
    uint64_t *steps = ARENA_NEW(&c->arena, uint64_t, (size_t)h->rope[0].dim);
    c->rope = ARENA_NEW(&c->arena, struct rope, 1);
    c->logits = ARENA_NEW(&c->arena, float, (size_t)h->n_vocab);
    if (!steps || !c->rope || !c->logits) return err(e, ERR_MEMORY, "out of memory");
    return rope_init(c->rope, &h->rope[0], steps, e);
}

static int make_launches(struct lpu *c, struct err *e)
{
    static const struct lpu_mat none = {.out_lanes = 1};
    const struct lpu_mat *t = c->table < 0 ? &none : &c->mats[c->table];
    int train = (c->chip.program->model->h.n_ctx_train + ATTN_CHUNK - 1) / ATTN_CHUNK;
    c->max_chunks = c->kv_pages < train ? c->kv_pages : train;
    c->body = ARENA_NEW(&c->arena, struct lpu_launch, (size_t)c->max_chunks + 1);
    c->pages = ARENA_NEW(&c->arena, int32_t, (size_t)c->max_chunks + 1);
    if (!c->body || !c->pages) return err(e, ERR_MEMORY, "out of memory");
    c->params = (struct lpu_params){.tile_columns = t->out_lanes,
                                    .pages = c->pages,
                                    .tile_plane = c->tile_plane,
                                    .tile_row = {c->tile_row[0], c->tile_row[1]},
                                    .slab_rows = (t->out_lanes + LPU_LOAD - 1) / LPU_LOAD,
                                    .scale_step = t->spans * (t->offset ? 2 : 1) + t->subs * (t->min ? 2 : 1)};
    int rc = compile(c, &c->body[1], 1, e);
    return rc ? rc : compile(c, &c->head, 0, e);
}

/* What the mapping does not know yet is refused by name. */
static int check_supported(const struct program *p, struct err *e)
{
    const char *what = p->model->h.n_rope != 1 ? "two rotations" : NULL;
    for (int i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        if (s->kind != STEP_ROWS && s->kind != STEP_MATMUL && s->kind != STEP_STORE && s->kind != STEP_ATTEND) what = "experts";
        if (s->kind == STEP_ATTEND && (s->attn.window || s->attn.cap > 0 || s->attn.sinks >= 0)) what = "windows, caps or sinks of attention";
        for (int j = 0; s->kind == STEP_ROWS && j < s->n; j++) {
            const struct row_op *r = &s->row[j];
            if (r->kind == ROW_NORM && r->n_head) what = "norms of single heads";
            bool known = r->kind == ROW_TURN || r->kind == ROW_EMBED || r->kind == ROW_SELECT || r->kind == ROW_NORM || r->kind == ROW_QUANT ||
                         r->kind == ROW_ROPE || r->kind == ROW_GATE || r->kind == ROW_ADD || r->kind == ROW_SCALE;
            if (!known) what = row_op_name[r->kind];
            if (r->kind == ROW_GATE && r->gate != GATE_SILU) what = "gates other than SiLU";
        }
    }
    for (int i = 0; i < p->n_weights; i++)
        if (p->weights[i].t->type == DTYPE_NVFP4) what = "weights of type NVFP4";
    return what ? err(e, ERR_UNSUPPORTED, "the simulated LPU does not know %s, which this model has", what) : 0;
}

static int load(struct chip **out, const struct program *p, const struct chip_options *opt, struct err *e)
{
    struct lpu *c = calloc(1, sizeof *c);
    if (!c) return err(e, ERR_MEMORY, "out of memory");
    c->chip.ops = &chip_lpu;
    c->chip.program = p;
    c->kv_bits = opt->kv == KV8 ? 8 : 16;
    arena_init(&c->arena);
    int rc;
    if ((rc = check_supported(p, e)) || (rc = lpu_arch_open(&c->arch, NULL, e)) || (rc = lpu_sim_create(&c->sim, &c->arch, e)) || (rc = make_host(c, e)) ||
        (rc = lpu_place_all(c, opt, e))) {
        unload(&c->chip);
        return rc;
    }
    lpu_map_tables(c);
    if ((rc = make_launches(c, e))) {
        unload(&c->chip);
        return rc;
    }
    *out = &c->chip;
    return 0;
}

static void explain(const struct chip *chip, struct buf *out)
{
    lpu_report((const struct lpu *)chip, out);
}

/* Beside its own memory, which is as large as the chip's. */
static uint64_t work_bytes(const struct program *p, int n_threads)
{
    (void)n_threads;
    return (uint64_t)LPU_SLICES * LPU_ROWS * LPU_LANES + (uint64_t)p->model->h.n_vocab * sizeof(float);
}

const struct chip_ops chip_lpu = {.name = "lpu",
                                  .summary = "Groq TSP v1, simulated to the instruction",
                                  .work_bytes = work_bytes,
                                  .load = load,
                                  .step = step,
                                  .explain = explain,
                                  .unload = unload};
