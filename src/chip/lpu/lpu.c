/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated LPU as a chip: load compiles and fills its memory; a step runs its tokens one after the
 * other, each as a launch of the body and, if its logits are wanted, of the head. Several chips stand in a
 * line; the body of each begins when what the one before sends is there in time. See lpu.h and doc/lpu.md.
 */
#include "chip/lpu/lpu.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- launches --------------------------------------------------------------------------------------------- */

void lpu_launch_finish(struct lpu_launch *l)
{
    lpu_graph_finish(&l->graph);
    lpu_code_finish(&l->code);
    free(l->sent), free(l->arrive);
    *l = (struct lpu_launch){0};
}

/* Cycles of an instruction of the links in the order of the graph. */
static int list_cycles(const struct lpu_schedule *s, enum lpu_op op, int **list, int *n, struct err *e)
{
    *n = 0;
    for (int i = 0; i < s->n; i++) *n += s->list[i].in.op == op;
    *list = malloc(sizeof **list * (size_t)(*n + 1));
    if (!*list) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0, at = 0; i < s->n; i++)
        if (s->list[i].in.op == op) (*list)[at++] = s->list[i].cycle;
    return 0;
}

/* When the launch begins in common time, so that each vector of the chip before is there when it is received. */
static int meet(struct lpu *c, struct lpu_launch *l, int chunks, const struct lpu_schedule *s, struct err *e)
{
    int rc = list_cycles(s, OP_SEND, &l->sent, &l->n_sent, e);
    if (!rc) rc = list_cycles(s, OP_RECEIVE, &l->arrive, &l->n_arrive, e);
    if (rc || !c->before || !chunks) return rc;
    const struct lpu_launch *b = &c->before->body[chunks];
    int64_t hop = lpu_link_hop(&c->arch);
    if (b->n_sent != l->n_arrive)
        return err(e, ERR_INTERNAL, "chip %d sends %d vectors, chip %d receives %d", c->index - 1, b->n_sent,
                   c->index, l->n_arrive);
    l->start = b->start;
    for (int i = 0; i < l->n_arrive; i++)
        if (b->start + b->sent[i] + hop - l->arrive[i] > l->start)
            l->start = b->start + b->sent[i] + hop - l->arrive[i];
    for (int i = 0; i < l->n_arrive; i++) l->arrive[i] = (int)(b->start + b->sent[i] + hop - l->start);
    return 0;
}

int lpu_compile(struct lpu *c, struct lpu_launch *l, int chunks, struct err *e)
{
    struct lpu_schedule s = {0};
    int rc = lpu_schedule(&s, &c->arch, &l->graph, e);
    if (!rc) rc = meet(c, l, chunks, &s, e);
    if (!rc) rc = lpu_trace(&l->trace, &c->arch, &l->graph, &s, e);
    if (!rc) rc = lpu_queues(&l->code, &c->arch, &s, e);
    lpu_schedule_finish(&s);
    if (!rc) {
        struct lpu_params p = lpu_params_of(c, l); /* any token and slot will do; these show more than zeros would */
        p.token = c->chip.program->model->h.n_vocab - 1;
        p.slot = 37;
        p.pages = NULL;
        lpu_code_patch(&l->code, &c->arch, &p);
        rc = lpu_verify(&c->arch, &l->graph, &l->code, &p, e);
        if (rc && e) err_prefix(e, "chip %d", c->index);
    }
    if (rc)
        lpu_launch_finish(l);
    else
        l->ready = true;
    return rc;
}

/* chunks 0: the head. */
static int compile(struct lpu *c, struct lpu_launch *l, int chunks, struct err *e)
{
    int rc = chunks ? lpu_map_body(c, &l->graph, chunks, e) : lpu_map_head(c, &l->graph, e);
    if (rc) lpu_launch_finish(l);
    return rc ? rc : lpu_compile(c, l, chunks, e);
}

int lpu_ready(struct lpu *c, int chunks, struct err *e)
{
    int rc = 0;
    for (; c && !rc; c = c->next)
        if (!c->body[chunks].ready) rc = compile(c, &c->body[chunks], chunks, e);
    return rc;
}

int lpu_run(struct lpu *c, struct lpu_launch *l, bool *trapped, struct err *e)
{
    int cycles, rc;
    lpu_code_patch(&l->code, &c->arch, &c->params);
    lpu_sim_links(c->sim, c->before ? &c->before->link : NULL, c->next ? &c->link : NULL, l->start);
    if ((rc = lpu_sim_run(c->sim, &l->code, &cycles, trapped, e))) return rc;
    if (cycles != l->code.cycles)
        return err(e, ERR_INTERNAL, "the compiler announced %d cycles, the chip took %d", l->code.cycles,
                   cycles);
    return 0;
}

/* --- a token ---------------------------------------------------------------------------------------------- */

static int read_logits(const struct lpu *c, float *logits, struct err *e)
{
    const struct lpu_buffer *b = &c->buffers[c->chip.program->logits];
    uint32_t v[LPU_LANES];
    int n = c->chip.program->model->h.n_vocab;
    for (int i = 0; i < b->n_vec; i++) {
        if (lpu_sim_get(c->sim, b->at[i], v)) return err(e, ERR_INTERNAL, "logits %d were never written", i * b->lanes);
        int m = n - i * b->lanes < b->lanes ? n - i * b->lanes : b->lanes;
        memcpy(logits + i * b->lanes, v, (size_t)m * sizeof *v);
    }
    return 0;
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs one token at its position; *bad: a number left the range. */
static int run_token(struct lpu *c, const struct batch_part *p, int i, bool want, bool *bad, struct err *e)
{
    int pos = p->pos + i, chunks = pos / ATTN_CHUNK + 1, rc;
    const struct kv_pool *pool = p->seq->pool;
    if (chunks > c->max_chunks)
        return err(e, ERR_LIMIT, "position %d: the chip's memory holds %d tokens of context", pos,
                   c->max_chunks * ATTN_CHUNK);
    for (int j = 0; j < chunks; j++) {
        ptrdiff_t page = ((const char *)p->seq->page[j] - pool->base) / (ptrdiff_t)pool->page_bytes;
        if (page >= c->kv_pages)
            return err(e, ERR_LIMIT,
                       "sequences need more than the %d pages of keys and values that the chip holds",
                       c->kv_pages);
        c->pages[j] = (int32_t)page;
    }
    if ((rc = lpu_ready(c, chunks, e))) return rc;
    double begin = now(CLOCK_MONOTONIC), begin_core = now(CLOCK_THREAD_CPUTIME_ID);
    for (struct lpu *k = c; k; k = k->next) {
        struct lpu_launch *l = &k->body[chunks];
        k->params.token = p->tokens[i];
        k->params.slot = pos % ATTN_CHUNK;
        k->params.pages = c->pages;
        lpu_map_turn(k, pos);
        bool one_bad = false, head_bad = false;
        if ((rc = lpu_run(k, l, &one_bad, e))) return rc;
        if (!k->next && want &&
            ((rc = lpu_run(k, &k->head, &head_bad, e)) || (rc = read_logits(k, c->logits, e))))
            return rc;
        *bad |= one_bad | head_bad;
        if (!k->next) c->line_cycles += l->start + l->code.cycles + (want ? k->head.code.cycles : 0);
    }
    c->tokens++;
    c->seconds += now(CLOCK_MONOTONIC) - begin;
    c->core_seconds += now(CLOCK_THREAD_CPUTIME_ID) - begin_core;
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
            if (bits != c->kv_bits)
                return err(e, ERR_INTERNAL, "a cache of %d bits on a chip compiled for %d", bits, c->kv_bits);
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
    for (struct lpu *c = (struct lpu *)chip, *next; c; c = next) {
        next = c->next;
        for (int i = 0; c->body && i <= c->max_chunks; i++) lpu_launch_finish(&c->body[i]);
        lpu_launch_finish(&c->head);
        lpu_link_finish(&c->link);
        lpu_sim_destroy(c->sim);
        lpu_arch_close(&c->arch);
        arena_finish(&c->arena);
        free(c);
    }
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

/* pages: how many of keys and values fit on every chip of the line. */
static int make_launches(struct lpu *c, int pages, struct err *e)
{
    static const struct lpu_mat none = {.out_lanes = 1};
    const struct lpu_mat *t = c->table >= 0 && c->mats[c->table].own ? &c->mats[c->table] : &none;
    int train = (c->chip.program->model->h.n_ctx_train + ATTN_CHUNK - 1) / ATTN_CHUNK;
    c->kv_pages = pages;
    c->max_chunks = pages < train ? pages : train;
    c->body = ARENA_NEW(&c->arena, struct lpu_launch, (size_t)c->max_chunks + 1);
    c->pages = ARENA_NEW(&c->arena, int32_t, (size_t)c->max_chunks + 1);
    if (!c->body || !c->pages) return err(e, ERR_MEMORY, "out of memory");
    c->params = (struct lpu_params){.tile_columns = t->out_lanes,
                                    .pages = c->pages,
                                    .tile_plane = c->tile_plane,
                                    .tile_row = {c->tile_row[0], c->tile_row[1]},
                                    .slab_rows = (t->out_lanes + LPU_LOAD - 1) / LPU_LOAD,
                                    .scale_step = t->spans * (t->offset ? 2 : 1) + t->subs * (t->min ? 2 : 1)};
    c->shown = 1;
    int rc = compile(c, &c->body[1], 1, e);
    return rc || c->next ? rc : compile(c, &c->head, 0, e);
}

/* What the mapping does not know yet is refused by name. */
static int check_supported(const struct program *p, struct err *e)
{
    const char *what = p->model->h.n_rope != 1 ? "two rotations" : NULL;
    for (int i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        if (s->kind != STEP_ROWS && s->kind != STEP_MATMUL && s->kind != STEP_STORE && s->kind != STEP_ATTEND)
            what = s->kind == STEP_HEADS ? "latent attention" : "experts";
        if (s->kind == STEP_ATTEND && (s->attn.warm || s->attn.cap > 0 || s->attn.sinks >= 0))
            what = "caps, growing scores or sinks of attention";
        for (int j = 0; s->kind == STEP_ROWS && j < s->n; j++) {
            const struct row_op *r = &s->row[j];
            bool known = r->kind == ROW_TURN || r->kind == ROW_EMBED || r->kind == ROW_SELECT ||
                         r->kind == ROW_NORM || r->kind == ROW_QUANT || r->kind == ROW_ROPE ||
                         r->kind == ROW_GATE || r->kind == ROW_ADD || r->kind == ROW_SCALE;
            if (!known) what = row_op_name[r->kind];
            if (r->kind == ROW_GATE && r->gate != GATE_SILU) what = "gates other than SiLU";
        }
    }
    for (int i = 0; i < p->n_weights; i++)
        if (p->weights[i].t->type == DTYPE_NVFP4) what = "weights of type NVFP4";
    return what ? err(e, ERR_UNSUPPORTED, "the simulated LPU does not know %s, which this model has", what) : 0;
}

static int load_one(struct lpu *c, const struct chip_options *opt, struct err *e)
{
    int rc;
    if ((rc = lpu_arch_open(&c->arch, NULL, e)) || (rc = lpu_sim_create(&c->sim, &c->arch, c->index, e)) ||
        (rc = make_host(c, e)) || (rc = lpu_place_all(c, e)) || (rc = lpu_place_weights(c, opt, e)))
        return c->n_chips > 1 && e ? err_prefix(e, "chip %d of %d", c->index, c->n_chips) : rc;
    lpu_map_tables(c);
    return 0;
}

/* The fewest chips, from n on, that hold weights, scales and 128 tokens of context; 0: however it is cut, it
 * does not fit. */
static int chips_that_hold(const struct program *p, const struct lpu *like, int n)
{
    int cut[LPU_CHIPS_MAX + 1];
    for (; n <= LPU_CHIPS_MAX && !lpu_partition(p, n, cut, NULL); n++) {
        int rc = 0;
        for (int i = 0; i < n && !rc; i++) {
            struct lpu c = {.chip = {.ops = &chip_lpu, .program = p},
                            .arch = like->arch,
                            .kv_bits = like->kv_bits,
                            .first = cut[i],
                            .end = cut[i + 1],
                            .n_chips = n};
            struct lpu last = {.index = n};
            c.next = i + 1 < n ? &last : NULL;
            arena_init(&c.arena);
            rc = lpu_place_all(&c, NULL);
            arena_finish(&c.arena);
        }
        if (!rc) return n;
    }
    return 0;
}

static int too_large(const struct program *p, const struct lpu *like, struct err *e)
{
    int n = chips_that_hold(p, like, like->n_chips + 1);
    struct err why = *e;
    if (n) return err(e, ERR_LIMIT, "%s; %d chips hold this model (--chip lpu:%d)", why.msg, n, n);
    return err(e, ERR_LIMIT, "%s; nor do the chips that it can be cut over", why.msg);
}

static int load(struct chip **out, const struct program *p, const struct chip_options *opt, struct err *e)
{
    int n = opt->n_chips ? opt->n_chips : 1, cut[LPU_CHIPS_MAX + 1], rc = check_supported(p, e), pages = INT_MAX;
    struct lpu *first = NULL, *last = NULL;
    if (!rc) rc = lpu_partition(p, n, cut, e);
    for (int i = 0; i < n && !rc; i++) {
        struct lpu *c = calloc(1, sizeof *c);
        if (!c) {
            rc = err(e, ERR_MEMORY, "out of memory");
            break;
        }
        *(first ? &last->next : &first) = c;
        c->before = last;
        last = c;
        c->chip.ops = &chip_lpu;
        c->chip.program = p;
        c->kv_bits = opt->kv == KV8 ? 8 : 16;
        c->index = i;
        c->n_chips = n;
        c->first = cut[i];
        c->end = cut[i + 1];
        arena_init(&c->arena);
    }
    for (struct lpu *c = first; c && !rc; c = c->next)
        if (!(rc = load_one(c, opt, e)) && c->kv_pages < pages) pages = c->kv_pages;
    if (rc == ERR_LIMIT && first && e) rc = too_large(p, first, e);
    for (struct lpu *c = first; c && !rc; c = c->next) rc = make_launches(c, pages, e);
    if (rc && first)
        unload(&first->chip);
    else if (!rc)
        *out = &first->chip;
    return rc;
}

static void explain(const struct chip *chip, struct buf *out)
{
    lpu_report((const struct lpu *)chip, out);
}

static void counters(const struct chip *chip, struct chip_counters *n)
{
    const struct lpu *c = (const struct lpu *)chip;
    double busy = 0, part[5];
    *n = (struct chip_counters){.tokens = c->tokens, .seconds = c->seconds, .core_seconds = c->core_seconds};
    n->chip_seconds = (double)c->line_cycles / (lpu_value(&c->arch, LPU_chip_clock) * 1e6);
    n->joules = lpu_value(&c->arch, LPU_energy_leakage) * n->chip_seconds * c->n_chips;
    for (; c; c = c->next) {
        const struct lpu_counters *k = lpu_sim_counters(c->sim);
        n->cycles += k->cycles;
        n->joules += 1e-12 * lpu_sim_energy_pj(&c->arch, k, part);
        for (int q = 0; q < LPU_QUEUES; q++) busy += (double)k->busy[q];
    }
    n->idle = n->cycles ? 1 - busy / ((double)n->cycles * LPU_QUEUES) : 1;
}

static int cost(struct chip *chip, int context, struct chip_cost *out, struct err *e)
{
    struct lpu *c = (struct lpu *)chip;
    int chunks = context / ATTN_CHUNK + 1;
    if (chunks > c->max_chunks)
        return err(e, ERR_LIMIT, "a token behind %d others: the chip's memory holds %d tokens of context",
                   context, c->max_chunks * ATTN_CHUNK);
    int rc = lpu_ready(c, chunks, e);
    if (rc) return rc;
    c->shown = chunks;
    lpu_cost(c, out);
    return 0;
}

static int timeline(const struct chip *chip, struct buf *out, struct err *e)
{
    return lpu_timeline((const struct lpu *)chip, out, e);
}

static int listing(const struct chip *chip, const char *pass, struct buf *out, struct err *e)
{
    return lpu_print_pass((const struct lpu *)chip, pass, out, e);
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
                                  .max_chips = LPU_CHIPS_MAX,
                                  .timeline = timeline,
                                  .listing = listing,
                                  .counters = counters,
                                  .cost = cost,
                                  .unload = unload};
