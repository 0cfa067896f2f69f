/* SPDX-License-Identifier: Apache-2.0 */
/* queue: a schedule becomes the words of 144 queues and more (isa.h), and the words that a step changes. */
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/code.h"
#include "kern/attn.h"

enum { NOP_MAX = 65535 };

static int order(const void *pa, const void *pb)
{
    const struct lpu_timed *a = pa, *b = pb;
    if (a->queue != b->queue) return a->queue < b->queue ? -1 : 1;
    return (a->cycle > b->cycle) - (a->cycle < b->cycle);
}

/* Words of one queue from its sorted instructions; counts only if c has no words yet. */
static void fill(struct lpu_code *c, const struct lpu_timed *k, int n, int *n_words, int *n_fixes)
{
    int now = 0;
    for (int i = 0; i < n; i++, k++) {
        must(k->cycle >= now); /* the scheduler never books a queue twice */
        while (now < k->cycle) {
            int wait = k->cycle - now < NOP_MAX ? k->cycle - now : NOP_MAX;
            if (c->words) c->words[*n_words] = (struct lpu_instr){.op = OP_NOP, .x = (uint16_t)wait};
            ++*n_words;
            now += wait;
        }
        if (k->patch) {
            if (c->fixes) c->fixes[*n_fixes] = (struct lpu_fix){*n_words, k->patch, k->lane, k->patch_arg, k->in};
            ++*n_fixes;
        }
        if (c->words) c->words[*n_words] = k->in;
        ++*n_words;
        if (k->n > 1) {
            if (c->words) c->words[*n_words] = (struct lpu_instr){.op = OP_REPEAT, .x = (uint16_t)(k->n - 1)};
            ++*n_words;
        }
        now += k->n;
    }
}

int lpu_queues(struct lpu_code *c, const struct lpu_arch *a, struct lpu_schedule *s, struct err *e)
{
    (void)a;
    *c = (struct lpu_code){.cycles = s->cycles};
    if (s->n) qsort(s->list, (size_t)s->n, sizeof *s->list, order);
    for (int pass = 0; pass < 2; pass++) {
        int words = 0, fixes = 0, at = 0;
        for (int q = 0; q < LPU_QUEUES; q++) {
            int begin = at;
            while (at < s->n && s->list[at].queue == q) at++;
            c->first[q] = words;
            fill(c, s->list + begin, at - begin, &words, &fixes);
        }
        c->first[LPU_QUEUES] = words;
        if (pass) break;
        c->n_fixes = fixes;
        c->words = calloc((size_t)words + 1, sizeof *c->words);
        c->fixes = calloc((size_t)fixes + 1, sizeof *c->fixes);
        if (!c->words || !c->fixes) {
            lpu_code_finish(c);
            return err(e, ERR_MEMORY, "out of memory");
        }
    }
    for (int i = 0; i < s->n; i++) c->n_instr += s->list[i].n;
    return 0;
}

void lpu_code_finish(struct lpu_code *c)
{
    free(c->words), free(c->fixes);
    *c = (struct lpu_code){0};
}

static int page_of(const struct lpu_params *p, int chunk)
{
    return p->pages ? p->pages[chunk] : chunk;
}

void lpu_code_patch(struct lpu_code *c, const struct lpu_arch *a, const struct lpu_params *p)
{
    for (int i = 0; i < c->n_fixes; i++) {
        const struct lpu_fix *f = &c->fixes[i];
        struct lpu_instr in = f->as, nop = {.op = OP_NOP, .x = 1};
        int tile = p->token / p->tile_columns, column = p->token % p->tile_columns;
        switch ((enum lpu_patch)f->kind) {
        case PATCH_NONE: break;
        case PATCH_PAGE:
        case PATCH_SLOT: {
            int chunk = f->arg / 65536, step = f->arg % 65536;
            in.row = (uint16_t)(in.row + (page_of(p, chunk) - chunk) * step);
            if (f->kind == PATCH_PAGE) break;
            in.row = (uint16_t)(in.row + p->slot / LPU_LOAD);
            if (p->slot % LPU_LOAD != f->slice) in = nop;
            break;
        }
        case PATCH_SLOT_LANES:
            in.x = (uint16_t)p->slot;
            in.y = (uint16_t)(p->slot + 1);
            break;
        case PATCH_LAST_LANE: in.y = (uint16_t)(p->slot + 1); break;
        case PATCH_FIRST_LANE:
        case PATCH_WINDOW:
        case PATCH_ANY_KEY: {
            int first = lpu_first_lane(f->arg, p->slot);
            if (f->kind == PATCH_ANY_KEY) in.y = first < ATTN_CHUNK ? LPU_LANES : 0;
            else in.x = (uint16_t)(first < ATTN_CHUNK ? first : 0);
            if (f->kind == PATCH_WINDOW) in.y = (uint16_t)(p->slot + 1);
            break;
        }
        case PATCH_TOKEN_CODES: {
            /* f->slice: place among the 16 of a plane; the queue says which plane, by the order of its words */
            int q = 0;
            while (c->first[q + 1] <= f->word) q++;
            int inside = (q - QUEUE_READ) % a->half - (a->half - a->wide),
                plane = (q - QUEUE_READ) / a->half * 2 + inside / LPU_LOAD;
            int part = f->arg / TOKEN_PART, slab = f->arg % TOKEN_PART;
            in.row = (uint16_t)(p->tile_row[part][tile] + slab * p->slab_rows + column / LPU_LOAD);
            if (plane != p->tile_plane[tile] + part || column % LPU_LOAD != f->slice) in = nop;
            break;
        }
        case PATCH_TOKEN_SIDE:
            if (lpu_plane_hemisphere(p->tile_plane[tile])) in.a = (uint8_t)f->arg;
            break;
        case PATCH_TOKEN_SCALE: in.row = (uint16_t)(in.row + tile * p->scale_step); break;
        case PATCH_TOKEN_LANE: in.row = (uint16_t)column; break;
        }
        c->words[f->word] = in;
    }
}
