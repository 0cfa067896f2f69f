/* SPDX-License-Identifier: Apache-2.0 */
/* Experts in memory and on disk: see hot.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "chip/cpu/hot.h"

enum { GROUPS = 8, PASS_PANELS = 8, HALVE_AFTER = 1 << 14 /* places */ };

enum state { HAS, GETS, PASSES };

/* The matrices of one STEP_PLACE: those of expert x are weights w[i] + x, in a slot at[i] bytes from its start. */
struct place {
    int first_unit, n_expert, n;
    int w[GROUPS];
    size_t at[GROUPS], bytes;
};

struct worker {
    uint8_t *panels, *rows;
    struct err err;
};

struct hot {
    struct place *place;  /* [n_places] */
    int *place_of_step;   /* [n_steps], -1 */
    bool *expert;         /* [n_weights] */
    int n_places, now;    /* the place whose experts run */
    int n_units, n_slots;
    size_t slot_bytes;
    char *slots;
    int *slot_of;         /* [n_units], -1 */
    int *unit_of;         /* [n_slots], -1 */
    uint32_t *chosen;     /* [n_units] in so many batches */
    uint32_t *pin;        /* [n_slots] = clock: of the place that runs */
    uint32_t clock;
    uint8_t *state;       /* [most experts of a place] */
    uint64_t kept, read;
    struct worker worker[POOL_MAX];
};

/* --- planning --------------------------------------------------------------------------------------------- */

static int plan_places(struct cpu *c, struct hot *h, struct err *e)
{
    const struct program *p = c->chip.program;
    struct place *at = NULL;
    for (int i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        h->place_of_step[i] = -1;
        if (s->kind == STEP_PLACE) {
            at = &h->place[h->n_places];
            *at = (struct place){.first_unit = h->n_units, .n_expert = s->place.n_expert};
            h->place_of_step[i] = h->n_places++;
            h->n_units += s->place.n_expert;
        }
        for (int j = 0; s->kind == STEP_EXPERTS && j < s->n; j++) {
            if (!at || at->n == GROUPS || s->n_expert != at->n_expert)
                return err(e, ERR_UNSUPPORTED, "these experts cannot stay on disk");
            at->w[at->n] = s->mat[j].w, at->at[at->n++] = at->bytes;
            at->bytes += mat_bytes(&c->mats[s->mat[j].w]); /* a multiple of 64; alike for all experts of a matrix */
            memset(h->expert + s->mat[j].w, 1, (size_t)s->n_expert);
            if (at->bytes > h->slot_bytes) h->slot_bytes = at->bytes;
        }
    }
    return 0;
}

static int make_scratch(struct cpu *c, struct hot *h, struct err *e)
{
    const struct program *p = c->chip.program;
    size_t panel = 64, rows = 0;
    for (int i = 0; i < p->n_weights; i++) {
        if (!h->expert[i]) continue;
        size_t row = dtype_row_bytes(p->weights[i].t->type, (uint64_t)p->weights[i].k) * PANEL;
        if (c->mats[i].panel_bytes > panel) panel = c->mats[i].panel_bytes;
        if (!p->weights[i].t->data && row > rows) rows = row;
    }
    for (int i = 0; i < pool_size(c->pool); i++) {
        struct worker *w = &h->worker[i];
        w->panels = arena_alloc(&c->arena, panel, PASS_PANELS);
        w->rows = arena_alloc(&c->arena, rows + 1, 1);
        if (!w->panels || !w->rows) return err(e, ERR_MEMORY, "out of memory");
    }
    return 0;
}

static int make_slots(struct cpu *c, struct hot *h, size_t budget, struct err *e)
{
    h->n_slots = (int)(budget / h->slot_bytes < (size_t)h->n_units ? budget / h->slot_bytes : (size_t)h->n_units);
    h->slot_of = ARENA_NEW(&c->arena, int, (size_t)h->n_units);
    h->chosen = ARENA_NEW(&c->arena, uint32_t, (size_t)h->n_units);
    h->unit_of = ARENA_NEW(&c->arena, int, (size_t)h->n_slots + 1);
    h->pin = ARENA_NEW(&c->arena, uint32_t, (size_t)h->n_slots + 1);
    h->state = ARENA_NEW(&c->arena, uint8_t, (size_t)c->chip.program->model->h.n_expert);
    if (!h->slot_of || !h->chosen || !h->unit_of || !h->pin || !h->state) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < h->n_units; i++) h->slot_of[i] = -1;
    for (int i = 0; i < h->n_slots; i++) h->unit_of[i] = -1;
    if (!h->n_slots) return 0;
    char *map = mmap(NULL, (size_t)h->n_slots * h->slot_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return err(e, ERR_MEMORY, "out of memory: the experts take %zu MiB",
                   (size_t)h->n_slots * h->slot_bytes >> 20);
    h->slots = map;
    return 0;
}

int hot_create(struct cpu *c, size_t budget, struct err *e)
{
    const struct program *p = c->chip.program;
    size_t all = 0;
    if (!budget || !p->model->h.n_expert) return 0;
    struct hot *h = ARENA_NEW(&c->arena, struct hot, 1);
    if (h) {
        h->place = ARENA_NEW(&c->arena, struct place, (size_t)p->n_steps);
        h->place_of_step = ARENA_NEW(&c->arena, int, (size_t)p->n_steps);
        h->expert = ARENA_NEW(&c->arena, bool, (size_t)p->n_weights);
    }
    if (!h || !h->place || !h->place_of_step || !h->expert) return err(e, ERR_MEMORY, "out of memory");
    int rc = plan_places(c, h, e);
    for (int i = 0; i < h->n_places; i++) all += h->place[i].bytes * (size_t)h->place[i].n_expert;
    if (rc || all <= budget) return rc;
    if ((rc = make_slots(c, h, budget, e)) || (rc = make_scratch(c, h, e))) return rc;
    c->hot = h;
    return 0;
}

void hot_destroy(struct cpu *c)
{
    if (c->hot && c->hot->slots) munmap(c->hot->slots, (size_t)c->hot->n_slots * c->hot->slot_bytes);
}

bool hot_holds(const struct cpu *c, int weight)
{
    return c->hot && c->hot->expert[weight];
}

/* --- choosing --------------------------------------------------------------------------------------------- */

/* A slot for the unit: an empty one, or that of a unit that was chosen less and is not at work; -1: none. */
static int find_slot(const struct hot *h, int unit)
{
    int best = -1;
    uint32_t least = h->chosen[unit];
    for (int i = 0; i < h->n_slots; i++) {
        if (h->unit_of[i] < 0) return i;
        if (h->pin[i] == h->clock || h->chosen[h->unit_of[i]] >= least) continue;
        best = i, least = h->chosen[h->unit_of[i]];
    }
    return best;
}

static void take_slot(struct cpu *c, const struct place *p, int x, int slot)
{
    struct hot *h = c->hot;
    int unit = p->first_unit + x;
    if (h->unit_of[slot] >= 0) h->slot_of[h->unit_of[slot]] = -1;
    h->unit_of[slot] = unit, h->slot_of[unit] = slot, h->pin[slot] = h->clock;
    for (int i = 0; i < p->n; i++)
        c->mats[p->w[i] + x].data = (uint8_t *)h->slots + (size_t)slot * h->slot_bytes + p->at[i];
}

/* The file's pages that the place before has read, and those that the system mapped around them: a stack of
 * experts as a whole. */
static void give_back(struct cpu *c, const struct place *p)
{
    const struct program *g = c->chip.program;
    for (int i = 0; i < p->n; i++) {
        const struct weight *w = &g->weights[p->w[i]];
        struct tensor all = *w->t;
        for (int x = 1; x < p->n_expert; x++) {
            if (w[x].t->data != (const char *)all.data + all.size_bytes || w[x].t->file != all.file) {
                gguf_drop(g->model->file, &all); /* experts in tensors of their own */
                all = *w[x].t;
            } else {
                all.size_bytes += w[x].t->size_bytes;
            }
        }
        gguf_drop(g->model->file, &all);
    }
}

void hot_choose(struct cpu *c, int step)
{
    struct hot *h = c->hot;
    const struct program *g = c->chip.program;
    if (h->clock++) give_back(c, &h->place[h->now]);
    h->now = h->place_of_step[step];
    const struct place *p = &h->place[h->now];
    for (int i = 0; h->clock % HALVE_AFTER == 0 && i < h->n_units; i++) h->chosen[i] /= 2;
    for (int x = 0; x < p->n_expert; x++) {
        int unit = p->first_unit + x, slot = h->slot_of[unit];
        h->state[x] = HAS; /* or not chosen */
        if (!c->expert_n[x]) continue;
        h->chosen[unit]++;
        if (slot >= 0) h->pin[slot] = h->clock;
        slot >= 0 ? h->kept++ : h->read++;
    }
    for (int x = 0; x < p->n_expert; x++) {
        if (!c->expert_n[x] || h->slot_of[p->first_unit + x] >= 0) continue;
        int slot = find_slot(h, p->first_unit + x);
        h->state[x] = slot < 0 ? PASSES : GETS;
        if (slot >= 0) take_slot(c, p, x, slot);
        for (int i = 0; i < p->n; i++) gguf_want(g->model->file, g->weights[p->w[i] + x].t);
    }
}

/* --- multiplying ------------------------------------------------------------------------------------------ */

/* Panel p of weight w, into panel `to` of m. False, and nothing more of this batch, if the file's numbers are
 * out of range. */
static bool pack(struct cpu *c, int worker, int w, int p, struct mat *m, int to)
{
    struct worker *k = &c->hot->worker[worker];
    const struct tensor *t = c->chip.program->weights[w].t;
    int row = p * PANEL, n = c->mats[w].n - row < PANEL ? c->mats[w].n - row : PANEL;
    if (k->err.code) return false;
    const uint8_t *rows = tensor_rows(t, (uint64_t)row, (uint64_t)n, k->rows);
    if (mat_pack(m, to, rows, dtype_row_bytes(t->type, (uint64_t)m->k), &k->err))
        err_prefix(&k->err, "tensor '%.*s'", STR_ARG(t->name));
    return !k->err.code;
}

void hot_matmul(struct cpu *c, int worker, float *y, size_t stride, int w, int x, int p0, int p1,
                const struct act *a, int t0, int n)
{
    struct hot *h = c->hot;
    struct mat *m = &c->mats[w + x];
    if (h->state[x] != PASSES) {
        for (int p = p0; h->state[x] == GETS && p < p1; p++)
            if (!pack(c, worker, w + x, p, m, p)) return;
        c->kern->matmul(y, stride, m, p0, p1, a, t0, n);
        return;
    }
    for (int p = p0; p < p1; p += PASS_PANELS) {
        struct mat some = *m;
        some.data = h->worker[worker].panels;
        some.n_panels = p1 - p < PASS_PANELS ? p1 - p : PASS_PANELS;
        some.n = m->n - p * PANEL < some.n_panels * PANEL ? m->n - p * PANEL : some.n_panels * PANEL;
        for (int i = 0; i < some.n_panels; i++)
            if (!pack(c, worker, w + x, p + i, &some, i)) return;
        c->kern->matmul(y + p * PANEL, stride, &some, 0, some.n_panels, a, t0, n);
    }
}

int hot_fault(struct cpu *c, struct err *e)
{
    struct hot *h = c->hot;
    int rc = 0;
    for (int i = 0; i < pool_size(c->pool); i++) {
        if (!h->worker[i].err.code) continue;
        rc = h->worker[i].err.code;
        if (e) *e = h->worker[i].err;
        h->worker[i].err = (struct err){0};
    }
    for (int i = 0; rc && i < h->n_slots; i++) { /* whatever is in them */
        if (h->unit_of[i] >= 0) h->slot_of[h->unit_of[i]] = -1;
        h->unit_of[i] = -1;
    }
    return rc;
}

struct hot_use hot_use(const struct cpu *c)
{
    const struct hot *h = c->hot;
    return (struct hot_use){h->n_units, h->n_slots, (size_t)h->n_slots * h->slot_bytes, h->kept, h->read};
}
