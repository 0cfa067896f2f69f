/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_batch: many rows times one matrix. A tile is installed once and every row passes over it, so that the
 * matrix units set the pace, not the streams; what must keep up is the fold.
 *
 * A round is up to four segments of tiles, one on each plane. Its groups of 256 inputs follow each other: of
 * each plane the next group's weights are loaded while the rows pass. For every row and plane the VXM turns
 * the sum into a float, multiplies the scales and adds to the row's accumulator: three operations for 82 k
 * products, of 16 ALUs 12. Accumulators lie in memory, read from one bank while the next value is written to
 * the other. The tile's scales come on streams like the row's, from copies in slices that nobody writes to:
 * with sums, both scales and accumulators the streams towards the VXM are full. Sums of segments are added,
 * row by row, among the folds of the next round's first group, which reads no accumulators.
 *
 *   work slices   quads 1, 2, 4, 5   accumulators of planes 0 to 3, bank 0 and 1, and in bank 1 the sums of
 *                                    segments
 *                 quads 0, 3         codes in bank 0, a slice for each segment modulo 4; outputs in bank 1,
 *                                    tiles in turn
 *   wide slices   above the weights  scales of the rows, four slices for each segment modulo 4; inputs;
 *                                    scales of the tiles
 *
 * Mapped for weights of one group per pass (N4).
 */
#include <stdlib.h>
#include "chip/lpu/lpu.h"
#include "kern/arith.h"

enum {
    SCRATCH = 128,                          /* rows of a buffer quad, of each bank, that the quantiser may take */
    GROUP = 256,
    GROUPS = ARITH_SEGMENT / GROUP,         /* of a segment */
};

static const int sum_quad[LPU_PLANES] = {1, 2, 4, 5};

/* --- where things lie -------------------------------------------------------------------------------------- */

static int in_bank(const struct lpu *c, const struct lpu_batch *b, int quad, int bank, int row)
{
    return lpu_loc(lpu_quad_slice(&c->arch, quad), bank * c->arch.rows / 2 + b->first[quad] + row);
}

/* Groups of segments that share a slice, or four, come one after the other. */
static int group_row(const struct lpu_batch *b, int group, int row)
{
    int segment = group / GROUPS;
    return (segment / LPU_PLANES * GROUPS + group % GROUPS) * b->rows + row;
}

static int code_at(const struct lpu_batch *b, const struct lpu *c, int hemisphere, int group, int row)
{
    return in_bank(c, b, 3 * hemisphere, 0, group_row(b, group, row)) + group / GROUPS % LPU_PLANES * LPU_ROWS;
}

static int scale_at(const struct lpu_batch *b, const struct lpu *c, int group, int row)
{
    int plane = group / GROUPS % LPU_PLANES;
    return lpu_loc(lpu_plane_slice(&c->arch, plane), c->place.wide[plane] + group_row(b, group, row));
}

int lpu_batch_x(const struct lpu_batch *b, const struct lpu *c, int v, int row)
{
    int plane = v % LPU_PLANES;
    return lpu_loc(lpu_plane_slice(&c->arch, plane) + LPU_QUAD, c->place.wide[plane] + v / LPU_PLANES * b->rows + row);
}

/* Tiles' scales, again: the work slices' ports are taken by sums. */
static int tile_scale_at(const struct lpu *c, int plane, int tile, int group)
{
    return lpu_loc(lpu_plane_slice(&c->arch, plane) + 2 * LPU_QUAD,
                   c->place.wide[plane] + tile * c->mats[0].n_slabs + group);
}

int lpu_batch_y(const struct lpu_batch *b, const struct lpu *c, int tile, int row)
{
    return in_bank(c, b, 3 * (tile % 2), 1, tile / 2 * b->rows + row);
}

static int sum_at(const struct lpu_batch *b, const struct lpu *c, int plane, int bank, int block, int row)
{
    return in_bank(c, b, sum_quad[plane], bank, block * b->rows + row);
}

/* Blocks of rows that sums of segments take in turn: a tile's are added in the round behind its last one. */
static int ring_of(const struct lpu_mat *w)
{
    return (w->n_slabs + GROUPS - 1) / GROUPS + 2 * LPU_PLANES;
}

static int segment_at(const struct lpu_batch *b, const struct lpu *c, int tile, int segment, int row)
{
    const struct lpu_mat *w = &c->mats[0];
    int piece = tile * ((w->n_slabs + GROUPS - 1) / GROUPS) + segment;
    return sum_at(b, c, lpu_plane_at(&c->arch, w->at[tile * w->n_slabs + segment * GROUPS]), 1,
                  1 + piece % ring_of(w), row);
}

/* Blocks of codes in quads 0 and 3. */
static int code_blocks(const struct lpu_mat *w)
{
    return (w->n_slabs + LPU_PLANES * GROUPS - 1) / (LPU_PLANES * GROUPS) * GROUPS;
}

int lpu_batch_init(struct lpu_batch *b, const struct lpu *c, int rows, struct err *e)
{
    const struct lpu_mat *w = &c->mats[0];
    int bank = c->arch.rows / 2, blocks = code_blocks(w), tiles = (w->n_tiles + 1) / 2;
    *b = (struct lpu_batch){.rows = rows};
    if (!w->merged || w->in_lanes != GROUP || w->columns)
        return err(e, ERR_UNSUPPORTED,
                   "the simulated LPU multiplies batches of rows with weights of type N4 only");
    for (int q = 0; q < LPU_QUADS; q++) {
        bool sums = q % 3 != 0;
        b->first[q] = sums ? c->place.constants[q] : (c->place.high[q] + 1) / 2 + SCRATCH;
        int need = sums ? (1 + ring_of(w)) * rows : blocks * rows;
        if (!sums && need < tiles * rows) need = tiles * rows;
        if (need > bank - b->first[q])
            return err(e, ERR_LIMIT,
                       "%d rows of %d inputs and %d outputs do not fit the work slices of one chip", rows,
                       w->w->k, w->w->n);
    }
    int wide = blocks * rows > w->n_tiles * w->n_slabs ? blocks * rows : w->n_tiles * w->n_slabs;
    for (int p = 0; p < LPU_PLANES; p++)
        if (c->place.wide[p] + wide > c->arch.rows)
            return err(e, ERR_LIMIT, "%d rows of %d inputs do not fit beside the weights", rows, w->w->k);
    return 0;
}

/* --- quantiser ---------------------------------------------------------------------------------------------- */

int lpu_map_batch_quant(struct lpu *c, const struct lpu_batch *b, struct lpu_graph *g, struct err *e)
{
    struct lpu_mapper m = {.c = c, .g = g, .e = e};
    int n = c->mats[0].n_slabs, *at = malloc(sizeof *at * 4 * (size_t)n);
    struct lpu_codes q = {.tier = ACT_A8_256, .k = c->mats[0].w->k, .lanes = GROUP, .n_vec = n};
    if (!at) return err(e, ERR_MEMORY, "out of memory");
    q.act[0][0] = at, q.act[1][0] = at + n, q.d = at + 2 * n;
    g->what = "quant";
    for (int r = 0; r < b->rows && !m.rc; r++) {
        for (int v = 0; v < n; v++) {
            for (int h = 0; h < 2; h++) q.act[h][0][v] = code_at(b, c, h, v, r);
            q.d[v] = scale_at(b, c, v, r);
            at[3 * n + v] = lpu_batch_x(b, c, v, r);
        }
        lpu_map_quant(&m, &q, at + 3 * n);
        while (m.n_scratch) lpu_give_vector(c, m.scratch[--m.n_scratch]);
    }
    for (int i = 0; i < LPU_QUADS; i += 3) must(m.rc || c->place.high[i] / 2 < b->first[i]);
    free(m.scratch), free(at);
    return !m.rc && g->failed ? err(e, ERR_MEMORY, "out of memory") : m.rc;
}

/* --- products ------------------------------------------------------------------------------------------------ */

struct piece { /* a segment of a tile */
    int tile, segment, plane;
    int n; /* groups */
};

struct batch_run {
    struct lpu_mapper m;
    const struct lpu_batch *b;
    const struct lpu_mat *w;
    int n_segments;
    int done, finished; /* tiles whose segments are folded; whose outputs are added */
};

static struct piece piece_of(const struct batch_run *r, int i)
{
    struct piece p = {.tile = i / r->n_segments, .segment = i % r->n_segments};
    int rest = r->w->n_slabs - p.segment * GROUPS;
    p.plane = lpu_plane_at(&r->m.c->arch, r->w->at[p.tile * r->w->n_slabs + p.segment * GROUPS]);
    p.n = rest < GROUPS ? rest : GROUPS;
    return p;
}

/* Pieces from i on that go side by side: of different planes. */
static int round_of(const struct batch_run *r, int i, struct piece p[LPU_PLANES])
{
    int n = 0, all = r->w->n_tiles * r->n_segments;
    unsigned planes = 0;
    for (; i + n < all && n < LPU_PLANES; n++) {
        p[n] = piece_of(r, i + n);
        if (planes >> p[n].plane & 1) break;
        planes |= 1u << p[n].plane;
    }
    return n;
}

static void load(struct batch_run *r, const struct piece *p, int j)
{
    int group = p->segment * GROUPS + j, rest = r->w->w->k - group * GROUP;
    lpu_load(&r->m, p->plane, r->w->at[p->tile * r->w->n_slabs + group], rest < GROUP ? rest : GROUP, 0, -1);
}

/* A row of a group: into the bank that makes the last one bank 1. */
static void fold(struct batch_run *r, const struct piece *p, int j, int row)
{
    struct lpu_graph *g = r->m.g;
    const struct lpu *c = r->m.c;
    int group = p->segment * GROUPS + j, bank = (p->n - j) % 2, rest = r->w->w->k - group * GROUP;
    lpu_group(&r->m);
    int i = lpu_emit(g, OP_ITOF,
                     in_pass(p->plane, code_at(r->b, c, lpu_plane_hemisphere(p->plane), group, row), 0,
                             rest < GROUP ? rest : GROUP, false),
                     IN0, IN0);
    int w = lpu_emit(g, OP_FMUL, in_mem(tile_scale_at(c, p->plane, p->tile, group)),
                     in_mem(scale_at(r->b, c, group, row)), IN0);
    lpu_emit(g, OP_FMA, in_node(i), in_node(w), j ? in_mem(sum_at(r->b, c, p->plane, 1 - bank, 0, row)) : in_imm(0));
    lpu_to(g, j == p->n - 1 ? segment_at(r->b, c, p->tile, p->segment, row) : sum_at(r->b, c, p->plane, bank, 0, row));
}

/* Outputs of a row: the segments of a tile in order. The contract begins with +0, which changes no bit here:
 * the sum of a segment is never -0, as it began at +0 and its terms, whole numbers times floats, do not
 * underflow. */
static void finish(struct batch_run *r, int tile, int row)
{
    struct lpu_graph *g = r->m.g;
    struct lpu_in sum = in_mem(segment_at(r->b, r->m.c, tile, 0, row));
    lpu_group(&r->m);
    if (r->n_segments == 1) lpu_emit(g, OP_MOV, sum, IN0, IN0);
    for (int s = 1; s < r->n_segments; s++)
        sum = in_node(lpu_emit(g, OP_FADD, sum, in_mem(segment_at(r->b, r->m.c, tile, s, row)), IN0));
    lpu_to(g, lpu_batch_y(r->b, r->m.c, tile, row));
}

static void finish_row(struct batch_run *r, int row)
{
    for (int t = r->finished; t < r->done; t++) finish(r, t, row);
}

/* One round; the first weights of the round behind it are loaded, too. */
static void run_round(struct batch_run *r, int first, const struct piece *p, int n)
{
    struct piece next[LPU_PLANES];
    int n_next = round_of(r, first + n, next), most = 0;
    for (int i = 0; i < n; i++) most = p[i].n > most ? p[i].n : most;
    for (int j = 0; j < most; j++) {
        for (int i = 0; i < n; i++) {
            if (j >= p[i].n) continue;
            lpu_install(&r->m, p[i].plane, false);
            if (j + 1 < p[i].n) load(r, &p[i], j + 1);
        }
        for (int i = 0; i < n_next && j == most - 1; i++) load(r, &next[i], 0);
        for (int row = 0; row < r->b->rows; row++) {
            for (int i = 0; i < n; i++)
                if (j < p[i].n) fold(r, &p[i], j, row);
            if (j == 0) finish_row(r, row);
        }
        if (j == 0) r->finished = r->done;
    }
    r->done = (first + n) / r->n_segments;
}

static void copy_scales(struct batch_run *r)
{
    const struct lpu *c = r->m.c;
    for (int i = 0; i < r->w->n_tiles * r->n_segments; i++) {
        struct piece p = piece_of(r, i);
        for (int j = 0; j < p.n; j++) {
            int group = p.segment * GROUPS + j;
            lpu_group(&r->m);
            lpu_emit(r->m.g, OP_MOV, in_mem(r->w->scale[p.tile * r->w->spans + group]), IN0, IN0);
            lpu_to(r->m.g, tile_scale_at(c, p.plane, p.tile, group));
        }
    }
}

int lpu_map_batch(struct lpu *c, const struct lpu_batch *b, struct lpu_graph *g, struct err *e)
{
    struct batch_run r = {.m = {.c = c, .g = g, .step = 1, .e = e},
                          .b = b,
                          .w = &c->mats[0],
                          .n_segments = (c->mats[0].n_slabs + GROUPS - 1) / GROUPS};
    struct piece p[LPU_PLANES];
    g->what = "y";
    int n = round_of(&r, 0, p);
    copy_scales(&r);
    for (int i = 0; i < n; i++) load(&r, &p[i], 0);
    for (int at = 0; n; at += n, n = round_of(&r, at, p)) run_round(&r, at, p, n);
    for (int row = 0; row < b->rows; row++) finish_row(&r, row);
    return g->failed ? err(e, ERR_MEMORY, "out of memory") : 0;
}
