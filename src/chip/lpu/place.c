/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place: which slice and row holds what, decided once per model, and the weights written there.
 *
 *   wide slices    the 32 outermost of each hemisphere, 16 for each MXM plane: weight tiles from row 0 up,
 *                  keys and values above them, in the upper bank
 *   work slices    the 12 next to the VXM, in quads of 4. Of each hemisphere the innermost holds buffers, the
 *                  others hold scales, gains, biases, and above them the scales of keys and values.
 *
 * A tile is 320 outputs (or fewer) by one vector of inputs; its vectors stand 16 abreast, so that a plane can
 * take 16 in a cycle. Tiles of one step go to the four planes in turn, beginning with the emptiest.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/lpu.h"
#include "kern/arith.h"

enum {
    BUFFER_QUAD = 0,        /* of the three of a hemisphere */
    KV_PAGES_ANY = 1 << 16, /* of a chip that keeps no keys */
};

/* --- rows for buffers ------------------------------------------------------------------------------------- */

int lpu_take_vector(struct lpu *c, int hemisphere)
{
    struct lpu_place *p = &c->place;
    int h = hemisphere >= 0 ? hemisphere : (p->side ^= 1), q = 3 * h + BUFFER_QUAD;
    if (!p->n_free[q] && hemisphere < 0) q = 3 * !h + BUFFER_QUAD;
    if (!p->n_free[q]) return -1;
    int row = p->free[q][--p->n_free[q]];
    int i = row < c->arch.rows / 2 ? 2 * row : 2 * (row - c->arch.rows / 2) + 1; /* see fill_free */
    if (i >= p->high[q]) p->high[q] = i + 1;
    return lpu_loc(lpu_quad_slice(&c->arch, q), row);
}

void lpu_give_vector(struct lpu *c, int loc)
{
    int q = lpu_loc_slice(loc) >= c->arch.half ? 3 + BUFFER_QUAD : BUFFER_QUAD;
    c->place.free[q][c->place.n_free[q]++] = lpu_loc_row(loc);
}

static void put(struct lpu *c, int loc, const uint32_t v[LPU_LANES])
{
    if (c->sim) lpu_sim_put(c->sim, loc, v);
}

/* A constant vector; quads in turn. */
static int take_constant(struct lpu *c, int n, struct err *e)
{
    int best = -1;
    for (int q = 0; q < LPU_QUADS; q++)
        if (q % 3 != BUFFER_QUAD && (best < 0 || c->place.constants[q] < c->place.constants[best])) best = q;
    if (c->place.constants[best] + n > c->arch.rows)
        return err(e, ERR_LIMIT, "scales and gains do not fit the %d work slices of one chip",
                   2 * (c->arch.half - c->arch.wide)),
               -1;
    int loc = lpu_loc(lpu_quad_slice(&c->arch, best), c->place.constants[best]);
    c->place.constants[best] += n;
    return loc;
}

/* --- layouts ---------------------------------------------------------------------------------------------- */

int lpu_lanes_of(const struct lpu *c, int buffer)
{
    return c->buffers[buffer].lanes;
}

static bool is_wide_group(enum act_tier t)
{
    return t == ACT_A16_256 || t == ACT_A8_256;
}

/* Vectors of 256 lanes where buffers are quantised by groups of 256, so that no group lies in two; only
 * results that nothing but the host reads have all lanes. Buffers that hold heads are cut between heads. */
static int layout_buffers(struct lpu *c, struct err *e)
{
    const struct program *p = c->chip.program;
    int D = p->model->h.head_dim, lanes = LPU_LANES;
    for (int i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].kind == BUFFER_CODES && is_wide_group(p->buffers[i].tier)) lanes = 256;
    if (D > lanes || lanes / D * D % 32) lanes = LPU_LANES;
    int heads = lanes / D * D;
    if (D > LPU_LANES || heads % 32)
        return err(e, ERR_UNSUPPORTED, "head size %d on vectors of %d lanes", D, LPU_LANES);
    c->buffers = ARENA_NEW(&c->arena, struct lpu_buffer, (size_t)p->n_buffers);
    if (!c->buffers) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < p->n_buffers; i++) c->buffers[i].lanes = LPU_LANES;
    for (int i = 0; i < p->n_steps; i++)
        for (int j = 0; p->steps[i].kind == STEP_ROWS && j < p->steps[i].n; j++) {
            const struct row_op *r = &p->steps[i].row[j];
            c->buffers[r->dst].lanes = lanes;
            if (r->src >= 0) c->buffers[r->src].lanes = lanes;
            if (r->src2 >= 0) c->buffers[r->src2].lanes = lanes;
        }
    for (int i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        if (s->kind == STEP_STORE) c->buffers[s->attn.k].lanes = c->buffers[s->attn.v].lanes = heads;
        if (s->kind == STEP_ATTEND) c->buffers[s->attn.q].lanes = c->buffers[s->attn.out].lanes = heads;
    }
    for (int i = 0; i < p->n_steps; i++)
        for (int j = 0; p->steps[i].kind == STEP_ROWS && j < p->steps[i].n; j++) {
            const struct row_op *r = &p->steps[i].row[j];
            if (r->kind == ROW_QUANT) c->buffers[r->dst].lanes = c->buffers[r->src].lanes;
        }
    for (int i = 0; i < p->n_buffers; i++) {
        struct lpu_buffer *b = &c->buffers[i];
        b->n_vec = (p->buffers[i].width + b->lanes - 1) / b->lanes;
        b->at = ARENA_NEW(&c->arena, int, (size_t)b->n_vec);
        if (!b->at) return err(e, ERR_MEMORY, "out of memory");
        for (int v = 0; v < b->n_vec; v++) b->at[v] = -1;
    }
    return 0;
}

/* --- matrices --------------------------------------------------------------------------------------------- */

static int size_mat(struct lpu *c, int i, struct err *e)
{
    const struct weight *w = &c->chip.program->weights[i];
    struct lpu_mat *m = &c->mats[i];
    const struct mat_layout *lay = mat_layout(w->t->type);
    size_t tiles = (size_t)m->n_tiles;
    m->merged = w->t->type == DTYPE_N4;
    m->parts = m->tier == ACT_A16_256 ? 2 : 1;
    m->spans = (w->k + lay->span - 1) / lay->span;
    m->subs = mat_sub_size(w->t->type) && !m->merged ? m->spans * 256 / mat_sub_size(w->t->type) : 0;
    m->at = ARENA_NEW(&c->arena, int, tiles * (size_t)(m->parts * m->n_slabs));
    m->scale = ARENA_NEW(&c->arena, int, tiles * (size_t)m->spans);
    m->offset = lay->m ? ARENA_NEW(&c->arena, int, tiles * (size_t)m->spans) : NULL;
    m->sub = m->subs ? ARENA_NEW(&c->arena, int, tiles * (size_t)m->subs) : NULL;
    m->min = m->subs && lay->m ? ARENA_NEW(&c->arena, int, tiles * (size_t)m->subs) : NULL;
    if (!m->at || !m->scale || (lay->m && !m->offset) || (m->subs && !m->sub) || (m->subs && lay->m && !m->min))
        return err(e, ERR_MEMORY, "out of memory");
    return 0;
}

static int vectors_k(const struct lpu_mat *m, int slab) /* inputs of a slab */
{
    int n = m->w->k - slab * m->in_lanes;
    return n < m->in_lanes ? n : m->in_lanes;
}

static int vectors_of(const struct lpu_mat *m, int tile, int slab) /* to install */
{
    int n = m->w->n - tile * m->out_lanes;
    return !m->columns ? vectors_k(m, slab) : n < m->out_lanes ? n : m->out_lanes;
}

static int place_slab(struct lpu *c, struct lpu_mat *m, int tile, int v, int plane, struct err *e)
{
    for (int part = 0; part < m->parts; part++) {
        int p = plane + part, rows = ((m->columns ? m->out_lanes : vectors_of(m, tile, v)) + LPU_LOAD - 1) / LPU_LOAD;
        if (c->place.wide[p] + rows > c->arch.rows)
            return err(e, ERR_LIMIT, "the weights do not fit the %.0f MB that one chip has for them",
                       1e-6 * LPU_PLANES * LPU_LOAD * c->arch.rows * LPU_LANES);
        m->at[(tile * m->parts + part) * m->n_slabs + v] = lpu_loc(lpu_plane_slice(&c->arch, p), c->place.wide[p]);
        c->place.wide[p] += rows;
    }
    return 0;
}

/* Scales of a tile. */
static int place_scales(struct lpu *c, struct lpu_mat *m, int tile, struct err *e)
{
    int loc = 0;
    if (m->columns) { /* one after the other, so that a token's tile is found by its number */
        if (tile == 0) {
            int per = m->spans * (m->offset ? 2 : 1) + m->subs * (m->min ? 2 : 1);
            if ((loc = take_constant(c, per * m->n_tiles, e)) < 0) return ERR_LIMIT;
            for (int t = 0; t < m->n_tiles; t++) {
                for (int s = 0; s < m->spans; s++) m->scale[t * m->spans + s] = loc++;
                for (int s = 0; m->offset && s < m->spans; s++) m->offset[t * m->spans + s] = loc++;
                for (int s = 0; s < m->subs; s++) m->sub[t * m->subs + s] = loc++;
                for (int s = 0; m->min && s < m->subs; s++) m->min[t * m->subs + s] = loc++;
            }
        }
        return 0;
    }
    for (int s = 0; s < m->spans; s++) {
        if ((m->scale[tile * m->spans + s] = take_constant(c, 1, e)) < 0) return ERR_LIMIT;
        if (m->offset && (m->offset[tile * m->spans + s] = take_constant(c, 1, e)) < 0) return ERR_LIMIT;
    }
    for (int s = 0; s < m->subs; s++) {
        if ((m->sub[tile * m->subs + s] = take_constant(c, 1, e)) < 0) return ERR_LIMIT;
        if (m->min && (m->min[tile * m->subs + s] = take_constant(c, 1, e)) < 0) return ERR_LIMIT;
    }
    return 0;
}

/* Planes (or pairs of planes) by what they hold, emptiest first. */
static int plane_order(const struct lpu *c, bool paired, int order[LPU_PLANES])
{
    int n = 0;
    for (int p = 0; p < LPU_PLANES; p += paired ? 2 : 1) {
        int i = n++;
        for (; i > 0 && c->place.wide[order[i - 1]] > c->place.wide[p]; i--) order[i] = order[i - 1];
        order[i] = p;
    }
    return n;
}

/* Segments of 1024 fold for themselves: those of a tile go to the planes in turn, as do the tiles. A slab in
 * two segments counts to the later one, which has fewer of its own. */
static int place_tile(struct lpu *c, struct lpu_mat *m, int tile, int order[LPU_PLANES], int n, int *next,
                      struct err *e)
{
    int segment = -1, plane = 0, rc;
    for (int v = 0; v < m->n_slabs; v++) {
        int last = (v * m->in_lanes + vectors_k(m, v) - 1) / ARITH_SEGMENT;
        if (last != segment && (v == 0 || !m->columns)) {
            if (*next % n == 0) plane_order(c, m->parts == 2, order);
            plane = order[(*next)++ % n];
            segment = last;
        }
        if ((rc = place_slab(c, m, tile, v, plane, e))) return rc;
    }
    return place_scales(c, m, tile, e);
}

static int place_mats(struct lpu *c, struct err *e)
{
    const struct program *p = c->chip.program;
    int rc, order[LPU_PLANES], embed = -1;
    c->mats = ARENA_NEW(&c->arena, struct lpu_mat, (size_t)p->n_weights);
    if (!c->mats) return err(e, ERR_MEMORY, "out of memory");
    c->table = -1;
    for (int i = 0; i < p->n_steps; i++)
        for (int j = 0; p->steps[i].kind == STEP_ROWS && j < p->steps[i].n; j++)
            if (p->steps[i].row[j].kind == ROW_EMBED) c->table = p->steps[i].row[j].w, embed = p->steps[i].row[j].dst;
    bool *own = ARENA_NEW(&c->arena, bool, (size_t)p->n_weights);
    if (!own) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < p->n_steps; i++) {
        if (!lpu_has_step(c, i)) continue;
        for (int j = 0; p->steps[i].kind == STEP_MATMUL && j < p->steps[i].n; j++) own[p->steps[i].mat[j].w] = true;
        for (int j = 0; p->steps[i].kind == STEP_ROWS && j < p->steps[i].n; j++)
            if (p->steps[i].row[j].kind == ROW_EMBED) own[c->table] = true;
    }
    for (int i = 0; i < p->n_weights; i++) {
        struct lpu_mat *m = &c->mats[i];
        m->w = &p->weights[i];
        m->tier = mat_tier(m->w->t->type, m->w->role);
        m->out_lanes = LPU_LANES;
        m->columns = i == c->table;
        m->in_lanes = m->columns ? c->buffers[embed].lanes : LPU_LANES;
    }
    for (int i = 0; i < p->n_steps; i++)
        for (int j = 0; p->steps[i].kind == STEP_MATMUL && j < p->steps[i].n; j++) {
            struct lpu_mat *m = &c->mats[p->steps[i].mat[j].w];
            m->out_lanes = c->buffers[p->steps[i].mat[j].dst].lanes;
            m->in_lanes = c->buffers[p->steps[i].mat[j].src].lanes;
        }
    for (int i = 0; i < p->n_weights; i++) {
        struct lpu_mat *m = &c->mats[i];
        m->n_tiles = (m->w->n + m->out_lanes - 1) / m->out_lanes;
        m->n_slabs = (m->w->k + m->in_lanes - 1) / m->in_lanes;
        m->own = own[i];
        if (own[i] && (rc = size_mat(c, i, e))) return rc;
    }
    for (int i = -1; i < p->n_steps; i++) { /* the table first, then step by step */
        const struct step *s = i < 0 ? NULL : &p->steps[i];
        int next = 0;
        if (s ? s->kind != STEP_MATMUL || !lpu_has_step(c, i) : c->table < 0 || !own[c->table]) continue;
        for (int j = 0; j < (s ? s->n : 1); j++) {
            int w = s ? s->mat[j].w : c->table;
            if (s && w == c->table) continue;
            struct lpu_mat *m = &c->mats[w];
            for (int t = 0; t < m->n_tiles; t++)
                if ((rc = place_tile(c, m, t, order, m->parts == 2 ? LPU_PLANES / 2 : LPU_PLANES, &next, e)))
                    return err_prefix(e, "tensor '%.*s'", STR_ARG(m->w->t->name));
        }
    }
    return 0;
}

/* --- writing weights -------------------------------------------------------------------------------------- */

static uint8_t *byte_of(struct lpu *c, const struct lpu_mat *m, int part, int out, int k)
{
    int tile = out / m->out_lanes, slab = k / m->in_lanes, lo = out % m->out_lanes, li = k % m->in_lanes;
    int base = m->at[(tile * m->parts + part) * m->n_slabs + slab], v = m->columns ? lo : li,
        lane = m->columns ? li : lo;
    return lpu_sim_row(c->sim, base + v % LPU_LOAD * LPU_ROWS + v / LPU_LOAD) + lane;
}

static void set_lane(struct lpu *c, int loc, int lane, uint32_t v)
{
    for (int i = 0; i < LPU_QUAD; i++) lpu_sim_row(c->sim, loc + i * LPU_ROWS)[lane] = (uint8_t)(v >> 8 * i);
}

static void write_panel(struct lpu *c, const struct lpu_mat *m, const struct mat *p, int first)
{
    int16_t code[32][PANEL];
    float d[PANEL], off[PANEL];
    int32_t sub[PANEL], min[PANEL];
    int n = p->n, size = mat_sub_size(p->type);
    for (int b = 0; b < p->k / 32; b++) {
        mat_codes(p, 0, b, code);
        if (m->merged) mat_subs(p, 0, b / 8, b % 8, sub, min);
        for (int i = 0; m->merged && i < 32; i++)
            for (int r = 0; r < n; r++) code[i][r] = (int16_t)(code[i][r] * sub[r]);
        for (int i = 0; i < 32; i++) {
            for (int r = 0; r < n; r++) {
                *byte_of(c, m, 0, first + r, 32 * b + i) = (uint8_t)(m->parts == 2 ? code[i][r] >> 8 : code[i][r]);
                if (m->parts == 2) *byte_of(c, m, 1, first + r, 32 * b + i) = (uint8_t)code[i][r];
            }
        }
    }
    for (int s = 0; s < m->spans; s++) {
        mat_scales(p, 0, s, d, off);
        for (int r = 0; r < n; r++) {
            int t = (first + r) / m->out_lanes, lane = (first + r) % m->out_lanes;
            set_lane(c, m->scale[t * m->spans + s], lane, f32_bits(d[r]));
            if (m->offset) set_lane(c, m->offset[t * m->spans + s], lane, f32_bits(off[r]));
        }
    }
    for (int j = 0; j < m->subs; j++) {
        mat_subs(p, 0, j * size / 256, j * size % 256 / size, sub, min);
        for (int r = 0; r < n; r++) {
            int t = (first + r) / m->out_lanes, lane = (first + r) % m->out_lanes;
            set_lane(c, m->sub[t * m->subs + j], lane, (uint32_t)sub[r]);
            if (m->min) set_lane(c, m->min[t * m->subs + j], lane, (uint32_t)min[r]);
        }
    }
}

/* Every row that will be read is written, padding as zero. */
static void clear_mat(struct lpu *c, const struct lpu_mat *m)
{
    for (int t = 0; t < m->n_tiles * m->parts; t++)
        for (int v = 0; v < m->n_slabs; v++) {
            int n = vectors_of(m, t / m->parts, v), base = m->at[t * m->n_slabs + v];
            for (int i = 0; i < n; i++) lpu_sim_row(c->sim, base + i % LPU_LOAD * LPU_ROWS + i / LPU_LOAD);
        }
    for (int i = 0; i < m->n_tiles * m->spans; i++) {
        set_lane(c, m->scale[i], 0, 0);
        if (m->offset) set_lane(c, m->offset[i], 0, 0);
    }
    for (int i = 0; i < m->n_tiles * m->subs; i++) {
        set_lane(c, m->sub[i], 0, 0);
        if (m->min) set_lane(c, m->min[i], 0, 0);
    }
}

int lpu_place_weights(struct lpu *c, const struct chip_options *opt, struct err *e)
{
    const struct program *p = c->chip.program;
    size_t done = 0, all = 0;
    for (int i = 0; i < p->n_weights; i++)
        all += c->mats[i].own ? (size_t)p->weights[i].n * (size_t)p->weights[i].k : 0;
    for (int i = 0; i < p->n_weights; i++) {
        const struct weight *w = &p->weights[i];
        if (!c->mats[i].own) continue;
        size_t row_bytes = dtype_row_bytes(w->t->type, (uint64_t)w->k);
        clear_mat(c, &c->mats[i]);
        if (!w->t->data) continue; /* for the time only */
        struct mat one;
        int rc = mat_init(&one, w->t->type, PANEL, w->k, e);
        uint8_t *mem = rc ? NULL : aligned_alloc(64, (mat_bytes(&one) + 63) / 64 * 64);
        uint8_t *made = rc || w->t->data ? NULL : aligned_alloc(64, (row_bytes * PANEL + 63) / 64 * 64);
        if (!rc && (!mem || (!made && !w->t->data))) rc = err(e, ERR_MEMORY, "out of memory");
        for (int r = 0; r < w->n && !rc; r += PANEL) {
            if ((rc = mat_init(&one, w->t->type, w->n - r < PANEL ? w->n - r : PANEL, w->k, e))) break;
            one.data = mem;
            if (!(rc =
                      mat_pack(&one, 0, tensor_rows(w->t, (uint64_t)r, (uint64_t)one.n, made), row_bytes, e)))
                write_panel(c, &c->mats[i], &one, r);
        }
        free(mem);
        free(made);
        if (rc) return e ? err_prefix(e, "tensor '%.*s'", STR_ARG(w->t->name)) : rc;
        if (p->model->file) gguf_drop(p->model->file, w->t);
        done += (size_t)w->n * (size_t)w->k;
        if (opt->progress) opt->progress(opt->progress_ud, done, all);
    }
    return 0;
}

/* Norm gains and biases, in the layout of the buffers they meet; the gains of a head once for each. */
static int place_vectors(struct lpu *c, struct err *e)
{
    const struct program *p = c->chip.program;
    c->vectors = ARENA_NEW(&c->arena, int *, (size_t)p->n_vectors + 1);
    if (!c->vectors) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        for (int j = 0; lpu_has_step(c, i) && j < s->n && (s->kind == STEP_ROWS || s->kind == STEP_MATMUL); j++) {
            int v = s->kind == STEP_MATMUL ? s->mat[j].bias : s->row[j].kind == ROW_NORM ? s->row[j].w : -1;
            const struct lpu_buffer *b = &c->buffers[s->kind == STEP_MATMUL ? s->mat[j].dst : s->row[j].dst];
            if (v < 0) continue;
            int to = s->kind == STEP_MATMUL ? s->mat[j].dst : s->row[j].dst, n = p->buffers[to].width,
                width = s->kind == STEP_ROWS && s->row[j].n_head ? n / s->row[j].n_head : n;
            c->vectors[v] = ARENA_NEW(&c->arena, int, (size_t)b->n_vec);
            if (!c->vectors[v]) return err(e, ERR_MEMORY, "out of memory");
            for (int k = 0; k < b->n_vec; k++) {
                uint32_t x[LPU_LANES] = {0};
                for (int l = 0; l < b->lanes && k * b->lanes + l < n; l++)
                    x[l] = f32_bits(p->vectors[v].x[(k * b->lanes + l) % width]);
                if ((c->vectors[v][k] = take_constant(c, 1, e)) < 0) return ERR_LIMIT;
                put(c, c->vectors[v][k], x);
            }
        }
    }
    uint32_t zero[LPU_LANES] = {0};
    if ((c->turn_cos = take_constant(c, 1, e)) < 0 || (c->turn_sin = take_constant(c, 1, e)) < 0) return ERR_LIMIT;
    put(c, c->turn_cos, zero), put(c, c->turn_sin, zero);
    for (int i = 0; c->kv_bits == 8 && 1 << i < p->model->h.head_dim; i++)
        if ((c->sign[i] = take_constant(c, 1, e)) < 0) return ERR_LIMIT;
    return 0;
}

/* --- keys and values -------------------------------------------------------------------------------------- */

static int place_kv(struct lpu *c, struct err *e)
{
    const struct hparams *h = &c->chip.program->model->h;
    const struct lpu_arch *a = &c->arch;
    int bank = a->rows / 2, arrays = c->kv_bits == 16 ? 4 : 2, key_rows = ATTN_CHUNK / LPU_LOAD;
    const struct program *p = c->chip.program;
    int layers = 0, *of = ARENA_NEW(&c->arena, int, (size_t)h->n_layer + 1); /* own layers that keep keys */
    if (!of) return err(e, ERR_MEMORY, "out of memory");
    for (int i = c->first; i < c->end; i++)
        if (p->steps[i].kind == STEP_STORE) of[layers++] = p->steps[i].layer;
    c->kv_pages = KV_PAGES_ANY;
    if (!layers) return 0;
    c->kv_heads = LPU_LANES / h->head_dim < h->n_head_kv ? LPU_LANES / h->head_dim : h->n_head_kv;
    c->n_kv = (h->n_head_kv + c->kv_heads - 1) / c->kv_heads;
    int slabs = layers * c->n_kv, per_plane = (slabs * arrays + LPU_PLANES - 1) / LPU_PLANES, most = 0, low = bank;
    for (int i = 0; i < LPU_PLANES; i++) low = c->place.wide[i] > low ? c->place.wide[i] : low;
    /* scales: dk and dv of each kv head */
    int vectors = 2 * layers * h->n_head_kv, quads = 4, per_quad = (vectors + quads - 1) / quads, qlow = bank;
    for (int q = 0; q < LPU_QUADS; q++)
        if (q % 3 != BUFFER_QUAD && c->place.constants[q] > qlow) qlow = c->place.constants[q];
    c->kv_rows = per_plane * key_rows;
    c->kv_scale_step = per_quad;
    most = (a->rows - low) / c->kv_rows;
    if ((a->rows - qlow) / per_quad < most) most = (a->rows - qlow) / per_quad;
    if (most < 1)
        return err(e, ERR_LIMIT, "no room for the keys and values of %d tokens beside the weights",
                   ATTN_CHUNK);
    c->kv_pages = most;
    c->kv = ARENA_NEW(&c->arena, struct lpu_kv, (size_t)(h->n_layer * c->n_kv));
    if (!c->kv) return err(e, ERR_MEMORY, "out of memory");
    int used[LPU_PLANES] = {0}, next = 0, scale = 0;
    for (int i = 0; i < slabs; i++) {
        struct lpu_kv *k = &c->kv[of[i / c->n_kv] * c->n_kv + i % c->n_kv];
        for (int j = 0; j < LPU_KV_ARRAYS; j += arrays == 4 ? 1 : 2) {
            int plane = k->plane[j] = next++ % LPU_PLANES;
            k->row[j] = lpu_loc(lpu_plane_slice(&c->arch, plane), low + used[plane]++ * key_rows);
        }
        k->dk = ARENA_NEW(&c->arena, int, (size_t)c->kv_heads);
        k->dv = ARENA_NEW(&c->arena, int, (size_t)c->kv_heads);
        if (!k->dk || !k->dv) return err(e, ERR_MEMORY, "out of memory");
        for (int j = 0; j < 2 * c->kv_heads && i % c->n_kv * c->kv_heads + j / 2 < h->n_head_kv; j++, scale++) {
            int q = scale % quads;
            *(j % 2 ? &k->dv[j / 2] : &k->dk[j / 2]) =
                lpu_loc(lpu_quad_slice(&c->arch, q / 2 * 3 + 1 + q % 2), qlow + scale / quads);
        }
    }
    uint32_t zero[LPU_LANES] = {0};
    for (int page = 0; c->sim && page < c->kv_pages; page++) {
        for (int i = 0; i < slabs; i++) {
            const struct lpu_kv *k = &c->kv[of[i / c->n_kv] * c->n_kv + i % c->n_kv];
            for (int j = 0; j < LPU_KV_ARRAYS; j += arrays == 4 ? 1 : 2)
                for (int v = 0; v < ATTN_CHUNK; v++)
                    lpu_sim_row(c->sim, k->row[j] + page * c->kv_rows + v % LPU_LOAD * LPU_ROWS + v / LPU_LOAD);
            for (int j = 0; j < c->kv_heads && i % c->n_kv * c->kv_heads + j < h->n_head_kv; j++) {
                lpu_sim_put(c->sim, k->dk[j] + page * c->kv_scale_step, zero);
                lpu_sim_put(c->sim, k->dv[j] + page * c->kv_scale_step, zero);
            }
        }
    }
    return 0;
}

/* --- buffers of the program, by their lifetimes ----------------------------------------------------------- */

static int shape_codes(struct lpu *c, int b, struct err *e)
{
    const struct program *p = c->chip.program;
    struct lpu_codes *q = &c->buffers[b].codes;
    *q = (struct lpu_codes){.tier = p->buffers[b].tier,
                            .k = p->buffers[b].width,
                            .lanes = c->buffers[b].lanes,
                            .n_vec = c->buffers[b].n_vec};
    q->sum_size = 32;
    for (int i = 0; i < p->n_steps; i++)
        for (int j = 0; p->steps[i].kind == STEP_MATMUL && j < p->steps[i].n; j++) {
            if (p->steps[i].mat[j].src != b) continue;
            enum dtype type = p->weights[p->steps[i].mat[j].w].t->type;
            if (mat_layout(type)->m) q->sums = true;
            if (mat_layout(type)->m && mat_sub_size(type)) q->sum_size = 16; /* Q2_K; the others add two */
        }
    int planes = q->tier == ACT_A16_256 || q->tier == ACT_A16_W8 ? 2 : 1, group = q->tier == ACT_A8_32 ? 32 : 256;
    bool ok = true;
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < planes; i++) ok &= (q->act[h][i] = ARENA_NEW(&c->arena, int, (size_t)q->n_vec)) != NULL;
    ok &= (q->d = ARENA_NEW(&c->arena, int, (size_t)((q->k + group - 1) / group))) != NULL;
    if (q->sums) ok &= (q->sum = ARENA_NEW(&c->arena, int, (size_t)((q->k + q->sum_size - 1) / q->sum_size))) != NULL;
    return ok ? 0 : err(e, ERR_MEMORY, "out of memory");
}

/* Calls fn for every vector of buffer b: where, and in which hemisphere it must be (-1: either). */
static void each_vector(struct lpu *c, int b, bool (*fn)(struct lpu *c, int *loc, int hemisphere), bool *ok)
{
    struct lpu_buffer *x = &c->buffers[b];
    const struct lpu_codes *q = &x->codes;
    if (c->chip.program->buffers[b].kind == BUFFER_FLOAT) {
        for (int v = 0; v < x->n_vec; v++) *ok &= fn(c, &x->at[v], -1);
        return;
    }
    int group = q->tier == ACT_A8_32 ? 32 : 256;
    for (int h = 0; h < 2; h++)
        for (int p = 0; p < 2; p++)
            for (int v = 0; q->act[h][p] && v < q->n_vec; v++) *ok &= fn(c, &q->act[h][p][v], h);
    for (int i = 0; i < (q->k + group - 1) / group; i++) *ok &= fn(c, &q->d[i], 0);
    for (int i = 0; q->sums && i < (q->k + q->sum_size - 1) / q->sum_size; i++) *ok &= fn(c, &q->sum[i], 1);
}

static bool take_one(struct lpu *c, int *loc, int hemisphere)
{
    return (*loc = lpu_take_vector(c, hemisphere)) >= 0;
}

static bool give_one(struct lpu *c, int *loc, int hemisphere)
{
    (void)hemisphere;
    lpu_give_vector(c, *loc);
    return true;
}

/* Rows of the two banks in turn, so that reads and writes seldom want the same one. */
static void fill_free(struct lpu *c, int q)
{
    c->place.n_free[q] = 0;
    for (int i = c->arch.rows - 1; i >= c->place.high[q]; i--)
        c->place.free[q][c->place.n_free[q]++] = i % 2 * (c->arch.rows / 2) + i / 2;
}

static int place_buffers(struct lpu *c, struct err *e)
{
    const struct program *p = c->chip.program;
    bool ok = true;
    for (int q = BUFFER_QUAD; q < LPU_QUADS; q += 3) {
        c->place.free[q] = ARENA_NEW(&c->arena, int, (size_t)c->arch.rows);
        if (!c->place.free[q]) return err(e, ERR_MEMORY, "out of memory");
        fill_free(c, q);
    }
    for (int b = 0; b < p->n_buffers; b++)
        if (p->buffers[b].kind == BUFFER_CODES && p->buffers[b].first >= 0 && shape_codes(c, b, e)) return ERR_MEMORY;
    for (int i = 0; i < p->n_steps && ok; i++) {
        for (int b = 0; b < p->n_buffers; b++)
            if (p->buffers[b].first == i && b != p->turn[0]) each_vector(c, b, take_one, &ok);
        for (int b = 0; b < p->n_buffers && ok; b++)
            if (p->buffers[b].last == i && p->buffers[b].first >= 0 && b != p->turn[0])
                each_vector(c, b, give_one, &ok);
    }
    if (!ok) return err(e, ERR_LIMIT, "buffers do not fit the work slices of one chip");
    for (int q = BUFFER_QUAD; q < LPU_QUADS; q += 3) fill_free(c, q); /* the rest is scratch of the steps */
    return 0;
}

int lpu_place_all(struct lpu *c, struct err *e)
{
    int rc;
    if ((rc = layout_buffers(c, e)) || (rc = place_buffers(c, e)) || (rc = place_mats(c, e)) ||
        (rc = place_vectors(c, e)) || (rc = place_kv(c, e)))
        return rc;
    if (c->table < 0 || !c->mats[c->table].own) return 0;
    const struct lpu_mat *t = &c->mats[c->table];
    c->tile_plane = ARENA_NEW(&c->arena, int, (size_t)t->n_tiles);
    c->tile_row[0] = ARENA_NEW(&c->arena, int, (size_t)t->n_tiles);
    c->tile_row[1] = ARENA_NEW(&c->arena, int, (size_t)t->n_tiles);
    if (!c->tile_plane || !c->tile_row[0] || !c->tile_row[1]) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < t->n_tiles; i++) {
        c->tile_plane[i] = lpu_plane_at(&c->arch, t->at[i * t->parts * t->n_slabs]);
        for (int part = 0; part < t->parts; part++)
            c->tile_row[part][i] = lpu_loc_row(t->at[(i * t->parts + part) * t->n_slabs]);
    }
    return 0;
}
