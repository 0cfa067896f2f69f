/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: do these queues compute what the graph says? Both are executed on symbols: a 64-bit number stands
 * for a vector, and an operation's symbol is a hash of operation, fields and operands. The graph runs node by
 * node, the queues cycle by cycle, with every stream, port, bank, latch and array checked again from the
 * words alone. Neither the scheduler nor the simulator is asked. In the end every row of memory and every
 * range check must have the same symbol: a moved, lost or doubled instruction, another slice, stream, row or
 * lane leads to another one, but for a collision of 2^-64.
 */
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/lpu.h"

enum { RING = 128, PENDING = 32, MANY = 1 << 26 };

typedef uint64_t sym;

static sym mix(sym a, sym b)
{
    sym x = a * 0x9e3779b97f4a7c15u ^ (b + 0x7f4a7c159e3779b9u + (a << 6) + (a >> 2));
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static const sym byte_mark[LPU_QUAD] = {0x1d8e4e27c47d124f, 0xeb44accab455d165, 0x9c6e6877736c46e3, 0x5851f42d4c957f2d};

/* A 32-bit vector lies as four rows: its symbol under four marks, so that four rows that belong together give
 * it back. */
static sym join(const sym r[LPU_QUAD])
{
    sym v = r[0] ^ byte_mark[0];
    for (int i = 1; i < LPU_QUAD; i++)
        if ((r[i] ^ byte_mark[i]) != v) return mix(mix(r[0], r[1]), mix(r[2], r[3]));
    return v;
}

static sym low_byte(sym v)
{
    return mix(v, 0x6c6f77);
}

static sym as_operand(sym row, bool is_signed)
{
    return mix(row, is_signed ? 0x7362 : 0x7562);
}

static sym operation(enum lpu_op op, uint32_t imm, int x, int y, const sym arg[3])
{
    enum lpu_unit u = lpu_op_info[op].unit;
    sym s = mix(op, u == UNIT_WIDE || u == UNIT_CHECK ? imm : 0);
    if (u == UNIT_WIDE || u == UNIT_SELECT) s = mix(s, (sym)x << 32 | (sym)y);
    return mix(mix(mix(s, arg[0]), arg[1]), arg[2]);
}

static sym pass_symbol(sym array, sym act, int x, int y, int flag)
{
    return mix(mix(array, act), (sym)x << 32 | (sym)y << 8 | (sym)flag);
}

static sym weight_symbol(int i, sym row, int flag)
{
    return mix(mix(row, (sym)i), (sym)(flag & (FLAG_COLUMNS | FLAG_CLEAR)));
}

static sym moved_symbol(enum lpu_op op, int row, sym v)
{
    return mix(mix(op, (sym)row), v);
}

static sym constant(uint32_t imm)
{
    return mix(imm, 0x696d6d);
}

struct world {
    sym *row; /* [locations] */
    sym traps, sent; /* sent: of all vectors on the link, in their order */
    int received;
};

static int make_world(struct world *w, size_t n)
{
    w->traps = w->sent = 0;
    w->received = 0;
    w->row = malloc(n * sizeof *w->row);
    for (size_t i = 0; w->row && i < n; i++) w->row[i] = mix(i, 0x726f77);
    return w->row ? 0 : ERR_MEMORY;
}

/* --- the graph, node by node ------------------------------------------------------------------------------ */

struct graph_run {
    const struct lpu_arch *a;
    const struct lpu_params *p;
    struct world w;
    sym chain[LPU_CHAINS], buffer[LPU_PLANES], array[LPU_PLANES];
    uint8_t *used; /* [locations] the graph reads this row */
};

static sym row_of(struct graph_run *g, int loc)
{
    g->used[loc] = 1;
    return g->w.row[loc];
}

static sym read_vector(struct graph_run *g, int loc)
{
    sym r[LPU_QUAD];
    for (int i = 0; i < LPU_QUAD; i++) r[i] = row_of(g, loc + i * LPU_ROWS);
    return join(r);
}

/* Where an operand of this token lies. */
static int operand_at(const struct graph_run *g, const struct lpu_arg *k)
{
    int tile = g->p->token / g->p->tile_columns, column = g->p->token % g->p->tile_columns;
    if (k->patch == PATCH_TOKEN_SCALE) return k->v + tile * g->p->scale_step;
    if (k->patch == PATCH_PAGE && g->p->pages)
        return k->v + (g->p->pages[k->patch_arg / 65536] - k->patch_arg / 65536) * (k->patch_arg % 65536);
    if (k->patch != PATCH_TOKEN_CODES) return k->v;
    int part = k->patch_arg / TOKEN_PART, slab = k->patch_arg % TOKEN_PART, plane = g->p->tile_plane[tile] + part;
    int slice = lpu_plane_hemisphere(plane) * g->a->half + g->a->half - g->a->wide + plane % 2 * LPU_LOAD +
                column % LPU_LOAD;
    return lpu_loc(slice, g->p->tile_row[part][tile] + slab * g->p->slab_rows + column / LPU_LOAD);
}

static int result_at(const struct graph_run *g, const struct lpu_node *n, int i)
{
    int page =
        n->dst_patch && g->p->pages
            ? (g->p->pages[n->dst_patch_arg / 65536] - n->dst_patch_arg / 65536) * (n->dst_patch_arg % 65536)
            : 0;
    if (n->dst_patch != PATCH_SLOT) return n->dst[i] + page;
    return n->dst[i] + page + g->p->slot % LPU_LOAD * LPU_ROWS + g->p->slot / LPU_LOAD;
}

static void put_result(struct graph_run *g, const struct lpu_node *n, sym v)
{
    for (int i = 0; i < n->n_dst; i++) {
        int loc = result_at(g, n, i);
        for (int k = 0; k < (n->dst_byte ? 1 : LPU_QUAD); k++)
            g->w.row[loc + k * LPU_ROWS] =
                n->dst_byte ? (lpu_op_info[n->op].unit == UNIT_SXM ? v : low_byte(v)) : v ^ byte_mark[k];
    }
}

static void run_install(struct graph_run *g, const struct lpu_node *n)
{
    int loc = operand_at(g, &n->arg[0]);
    if (n->op == OP_IW) {
        g->array[n->alu] = mix(g->buffer[n->alu], n->pass_flag);
        return;
    }
    g->buffer[n->alu] = 0;
    for (int i = 0; i < n->x; i++)
        g->buffer[n->alu] +=
            weight_symbol(i, row_of(g, loc + i % LPU_LOAD * LPU_ROWS + i / LPU_LOAD), n->flag);
}

static void run_sum(struct graph_run *g, const struct lpu_node *n)
{
    put_result(g, n, pass_symbol(g->array[n->pass_plane], row_of(g, n->pass_act), n->pass_x, n->pass_y, n->pass_flag));
}

static sym received_symbol(int i)
{
    return mix((sym)i, 0x6c696e6b);
}

static void run_transfer(struct graph_run *g, const struct lpu_node *n)
{
    for (int i = 0; i < LPU_QUAD; i++) {
        if (n->op == OP_SEND)
            g->w.sent = mix(g->w.sent, row_of(g, n->arg[0].v + i * LPU_ROWS));
        else
            g->w.row[n->dst[0] + i * LPU_ROWS] = received_symbol(g->w.received++);
    }
}

static void run_move(struct graph_run *g, const struct lpu_node *n)
{
    int loc = operand_at(g, &n->arg[0]), row = n->patch == PATCH_TOKEN_LANE ? g->p->token % g->p->tile_columns : n->row;
    if (n->dst_byte) {
        put_result(g, n, moved_symbol(n->op, row, row_of(g, loc)));
        return;
    }
    put_result(g, n, moved_symbol(n->op, row, read_vector(g, loc)));
}

static void run_group(struct graph_run *g, const struct lpu_node *nodes, int n)
{
    sym *v = malloc((size_t)n * sizeof *v);
    for (int i = 0; v && i < n; i++) {
        const struct lpu_node *k = &nodes[i];
        sym arg[3] = {0, 0, 0};
        for (int j = 0; j < 3; j++) {
            const struct lpu_arg *b = &k->arg[j];
            switch (b->kind) {
            case SRC_NONE: break;
            case SRC_IMM: arg[j] = constant(k->imm); break;
            case SRC_NODE: arg[j] = v[b->v]; break;
            case SRC_CHAIN: arg[j] = g->chain[b->v]; break;
            case SRC_PASS:
                arg[j] = pass_symbol(g->array[k->pass_plane], row_of(g, k->pass_act), k->pass_x, k->pass_y,
                                     k->pass_flag);
                break;
            default:
                arg[j] = b->byte ? as_operand(row_of(g, operand_at(g, b)), b->byte == 2)
                                 : read_vector(g, operand_at(g, b));
            }
        }
        int x = k->patch == PATCH_SLOT_LANES ? g->p->slot : k->x, first = lpu_first_lane(k->patch_arg, g->p->slot);
        int y = k->patch == PATCH_SLOT_LANES || k->patch == PATCH_LAST_LANE || k->patch == PATCH_WINDOW
                    ? g->p->slot + 1
                    : k->y;
        if (k->patch == PATCH_FIRST_LANE || k->patch == PATCH_WINDOW) x = first < ATTN_CHUNK ? first : 0;
        if (k->patch == PATCH_ANY_KEY) y = first < ATTN_CHUNK ? LPU_LANES : 0;
        v[i] = operation(k->op, k->imm, x, y, arg);
        if (k->op == OP_TRAP) g->w.traps += v[i];
        if (k->alu != ARG_NONE) g->chain[k->alu] = v[i];
        put_result(g, k, v[i]);
    }
    free(v);
}

/* --- the queues, cycle by cycle ---------------------------------------------------------------------------- */

struct issue {
    int word;
    uint16_t queue, rep; /* rep: issues of this word before this one */
};

struct carried {
    int stamp, born; /* streams: cycle at the VXM, cycle of arrival; results: born = ready */
    sym v;
};

struct queue_run {
    const struct lpu_arch *a;
    const struct lpu_code *c;
    struct world w;
    int *avail;          /* [locations] first cycle in which a row may be read */
    const uint8_t *used; /* of the graph */
    struct carried (*stream)[2][LPU_STREAMS][RING];
    struct carried alu[LPU_ALUS][PENDING], sum[LPU_PLANES][PENDING];
    int n_alu[LPU_ALUS], n_sum[LPU_PLANES];
    sym buffer[LPU_PLANES], array[LPU_PLANES];
    int loaded[LPU_PLANES], buffer_at[LPU_PLANES], array_at[LPU_PLANES], pass_at[LPU_PLANES];
    int read_at[LPU_SLICES], read_bank[LPU_SLICES], write_at[LPU_SLICES], write_bank[LPU_SLICES];
    const struct lpu_params *p;
    bool aligned[2]; /* links of the hemispheres */
    int sent_at, n_sent;
    int now, queue;
    const char *why;
};

static bool no(struct queue_run *r, const char *why)
{
    r->why = why;
    return false;
}

static struct carried *cell(struct queue_run *r, int h, int code, int t, int far, int *stamp)
{
    int inward = (code < LPU_STREAMS) == (h == 0);
    *stamp = inward ? t + far : t - far;
    return &r->stream[h][inward][code % LPU_STREAMS][(unsigned)*stamp % RING];
}

static bool take(struct queue_run *r, int h, int code, int far, sym *v)
{
    int stamp;
    if (code >= 2 * LPU_STREAMS) return no(r, "no such stream");
    const struct carried *k = cell(r, h, code, r->now, far, &stamp);
    if (k->stamp != stamp || k->born > r->now) return no(r, "nothing is on the stream");
    *v = k->v;
    return true;
}

static bool put(struct queue_run *r, int h, int code, int t, int far, sym v)
{
    int stamp;
    if (code >= 2 * LPU_STREAMS) return no(r, "no such stream");
    struct carried *k = cell(r, h, code, t, far, &stamp);
    if (k->stamp == stamp) return no(r, "two values on one stream");
    *k = (struct carried){stamp, t, v};
    return true;
}

static bool put_vector(struct queue_run *r, int h, int code, int t, int far, sym v)
{
    if (code % LPU_QUAD) return no(r, "a 32-bit vector starts at a stream that is no multiple of 4");
    for (int i = 0; i < LPU_QUAD; i++)
        if (!put(r, h, code + i, t, far, v ^ byte_mark[i])) return false;
    return true;
}

static int distance_of(const struct lpu_arch *a, int slice)
{
    int p = lpu_slice_position(a, slice);
    return p < a->centre ? a->centre - p : p - a->centre;
}

static bool do_mem(struct queue_run *r, const struct lpu_instr *in, int row)
{
    bool write = in->op == OP_WRITE;
    int slice = r->queue - (write ? QUEUE_WRITE : QUEUE_READ), h, bank = row >= r->a->rows / 2;
    if (slice >= r->a->slices || row >= r->a->rows) return no(r, "no such slice or row");
    h = lpu_hemisphere(r->a, slice);
    if (write) {
        r->write_at[slice] = r->now, r->write_bank[slice] = bank;
    } else {
        r->read_at[slice] = r->now, r->read_bank[slice] = bank;
    }
    if (r->read_at[slice] == r->write_at[slice] && r->read_bank[slice] == r->write_bank[slice])
        return no(r, "a bank is read and written in one cycle");
    int loc = lpu_loc(slice, row), far = distance_of(r->a, slice);
    if (!write) {
        if (!r->avail[loc] && !r->used[loc]) return no(r, "the graph never reads this row");
        if (r->avail[loc] > r->now) return no(r, "the row is read before its write is done");
        return put(r, h, in->out, r->now + lpu_delay(r->a, OP_READ), far, r->w.row[loc]);
    }
    r->avail[loc] = r->now + lpu_delay(r->a, OP_WRITE);
    return take(r, h, in->a, far, &r->w.row[loc]);
}

static bool do_load(struct queue_run *r, const struct lpu_instr *in, int row)
{
    int p = r->queue - QUEUE_LOAD;
    if (in->op == OP_IW) {
        if (r->loaded[p] <= 0) return no(r, "weights are missing in the buffer");
        if (r->buffer_at[p] > r->now) return no(r, "weights are installed before they are there");
        if (r->pass_at[p] == r->now) return no(r, "weights change under a pass");
        r->array[p] = mix(r->buffer[p], in->flag & FLAG_UNSIGNED);
        r->array_at[p] = r->now + lpu_delay(r->a, OP_IW);
        r->loaded[p] = 0;
        return true;
    }
    if (in->x > LPU_LANES || row >= in->x || row % LPU_LOAD || in->a % LPU_LOAD)
        return no(r, "weights do not fit the array");
    if (row == 0) r->buffer[p] = 0;
    for (int i = 0; i < LPU_LOAD && row + i < in->x; i++) {
        sym v;
        if (!take(r, lpu_plane_hemisphere(p), in->a + i, r->a->centre, &v)) return false;
        r->buffer[p] += weight_symbol(row + i, v, in->flag);
    }
    r->loaded[p] = 1;
    r->buffer_at[p] = r->now + lpu_delay(r->a, OP_LW);
    return true;
}

static bool do_pass(struct queue_run *r, const struct lpu_instr *in)
{
    int p = r->queue - QUEUE_PASS;
    sym act;
    if (!r->array[p] || r->array_at[p] > r->now) return no(r, "no weights are installed");
    if (!take(r, lpu_plane_hemisphere(p), in->a, r->a->centre, &act)) return false;
    r->pass_at[p] = r->now;
    r->sum[p][r->n_sum[p]++ % PENDING] = (struct carried){
        0, r->now + lpu_delay(r->a, OP_ABC), pass_symbol(r->array[p], act, in->x, in->y, in->flag)};
    return true;
}

static bool do_sum(struct queue_run *r, const struct lpu_instr *in)
{
    int p = r->queue - QUEUE_OUT;
    for (int i = 1; i <= PENDING && i <= r->n_sum[p]; i++) {
        const struct carried *k = &r->sum[p][(r->n_sum[p] - i) % PENDING];
        if (k->born == r->now)
            return put_vector(r, lpu_plane_hemisphere(p), in->out, r->now + lpu_delay(r->a, OP_ACC),
                              r->a->centre, k->v);
    }
    return no(r, "no pass ends in this cycle");
}

static bool do_move(struct queue_run *r, const struct lpu_instr *in)
{
    int h = r->queue - QUEUE_SXM, t = r->now + lpu_delay(r->a, in->op);
    sym v[LPU_QUAD];
    if (in->row >= (in->op == OP_PERM ? LPU_MAPS : LPU_LANES)) return no(r, "no such lane or map");
    if (in->flag & FLAG_BYTE)
        return take(r, h, in->a, r->a->centre, v) &&
               put(r, h, in->out, t, r->a->centre, moved_symbol(in->op, in->row, v[0]));
    for (int i = 0; i < LPU_QUAD; i++)
        if (!take(r, h, in->a + i, r->a->centre, &v[i])) return false;
    return put_vector(r, h, in->out, t, r->a->centre, moved_symbol(in->op, in->row, join(v)));
}

static bool do_link(struct queue_run *r, const struct lpu_instr *in)
{
    int h = r->queue - QUEUE_C2C, i = r->w.received;
    sym v;
    if (in->op == OP_DESKEW) {
        r->aligned[h] = true;
        return true;
    }
    if (in->op == OP_RECEIVE) {
        if (!r->aligned[h]) return no(r, "the link is not aligned");
        if (i >= r->p->n_arrive || r->p->arrive[i] > r->now) return no(r, "the vector has not arrived");
        r->w.received++;
        return put(r, h, in->out, r->now + lpu_delay(r->a, OP_RECEIVE), r->a->centre, received_symbol(i));
    }
    if (!take(r, h, in->a, r->a->centre, &v)) return false;
    if (r->sent_at >= 0 && r->now < r->sent_at + lpu_link_gap(r->a)) return no(r, "the link is still busy");
    if (r->n_sent >= r->p->n_sent || r->now > r->p->sent[r->n_sent])
        return no(r, "the next chip expects the vector earlier");
    r->n_sent++;
    r->sent_at = r->now;
    r->w.sent = mix(r->w.sent, v);
    return true;
}

static bool do_vxm(struct queue_run *r, const struct lpu_instr *in)
{
    int alu = r->queue - QUEUE_ALU, ready = r->now + lpu_delay(r->a, in->op);
    const uint8_t code[3] = {in->a, in->b, in->c};
    sym arg[3] = {0, 0, 0};
    for (int i = 0; i < 3; i++) {
        if (code[i] == ARG_NONE) continue;
        if (code[i] == ARG_IMM) {
            arg[i] = constant(in->imm);
        } else if (code[i] >= ARG_ALU) {
            int k = code[i] - ARG_ALU, best = -1;
            if (k >= LPU_ALUS) return no(r, "no such ALU");
            for (int j = 0; j < PENDING && j < r->n_alu[k]; j++)
                if (r->alu[k][j].born <= r->now && r->alu[k][j].born > best)
                    best = r->alu[k][j].born, arg[i] = r->alu[k][j].v;
            if (best < 0) return no(r, "the ALU has no result yet");
        } else if (in->flag & FLAG_BYTE << i) {
            if (!take(r, code[i] >= LPU_STREAMS, code[i], 0, &arg[i])) return false;
            arg[i] = as_operand(arg[i], in->flag & FLAG_SIGNED << i);
        } else {
            sym v[LPU_QUAD];
            if (code[i] % LPU_QUAD) return no(r, "a 32-bit vector starts at a stream that is no multiple of 4");
            for (int k = 0; k < LPU_QUAD; k++)
                if (!take(r, code[i] >= LPU_STREAMS, code[i] + k, 0, &v[k])) return false;
            arg[i] = join(v);
        }
    }
    sym v = operation(in->op, in->imm, in->x, in->y, arg);
    for (int j = 0; j < PENDING && j < r->n_alu[alu]; j++)
        if (r->alu[alu][j].born == ready) return no(r, "two results of one ALU in one cycle");
    r->alu[alu][r->n_alu[alu]++ % PENDING] = (struct carried){0, ready, v};
    if (in->op == OP_TRAP) r->w.traps += v;
    if (in->out == ARG_NONE) return true;
    if (in->out >= 2 * OUT_BOTH) return no(r, "no such stream");
    for (int both = 0; both <= (in->out >= OUT_BOTH); both++) {
        int s = (in->out % OUT_BOTH + both * LPU_STREAMS) % (2 * LPU_STREAMS), h = s < LPU_STREAMS;
        if (!(in->flag & FLAG_OUT_BYTE ? put(r, h, s, ready, 0, low_byte(v))
                                       : put_vector(r, h, s, ready, 0, v)))
            return false;
    }
    return true;
}

static bool do_issue(struct queue_run *r, const struct issue *k)
{
    const struct lpu_instr *in = &r->c->words[k->word];
    int row = in->row + k->rep * (in->op == OP_LW ? LPU_LOAD : 1);
    r->queue = k->queue;
    if (!lpu_queue_takes(k->queue, in->op)) return no(r, "this queue does not take it");
    switch (lpu_op_info[in->op].unit) {
    case UNIT_MEM:
    case UNIT_MEMW: return do_mem(r, in, row);
    case UNIT_LOAD: return do_load(r, in, row);
    case UNIT_PASS: return do_pass(r, in);
    case UNIT_OUT: return do_sum(r, in);
    case UNIT_SXM: return do_move(r, in);
    case UNIT_C2C: return do_link(r, in);
    default: return do_vxm(r, in);
    }
}

/* All issues in order of their cycles: cycles counted first, then filled. */
static int list_issues(const struct lpu_code *c, struct issue **list, int **first, int *n_cycles, struct err *e)
{
    int64_t n = 0, end = 0;
    int rc = 0;
    *list = NULL, *first = NULL;
    for (int pass = 0; pass < 2 && !rc; pass++) {
        for (int q = 0; q < LPU_QUEUES && !rc; q++) {
            int64_t now = 0;
            int last = -1;
            for (int w = c->first[q]; w < c->first[q + 1]; w++) {
                const struct lpu_instr *in = &c->words[w];
                int64_t reps = in->op == OP_NOP ? in->x : in->op == OP_REPEAT ? in->x : 1;
                if (in->op == OP_REPEAT && (last < 0 || !in->x)) {
                    rc = err(e, ERR_INTERNAL, "word %d: nothing to repeat", w);
                    break;
                }
                if (in->op == OP_NOP) {
                    now += reps ? reps : 1;
                    last = -1;
                    continue;
                }
                for (int64_t i = 0; i < reps; i++, now++) {
                    int rep = in->op == OP_REPEAT ? (int)i + 1 : 0;
                    if (!pass)
                        n++;
                    else
                        (*list)[(*first)[now]++] =
                            (struct issue){in->op == OP_REPEAT ? last : w, (uint16_t)q, (uint16_t)rep};
                    if (pass) continue;
                }
                if (in->op != OP_REPEAT) last = w;
            }
            end = now > end ? now : end;
            if (end > MANY || n > MANY) rc = err(e, ERR_INTERNAL, "the queues do not end");
        }
        if (pass || rc) continue;
        *list = malloc((size_t)(n + 1) * sizeof **list);
        *first = calloc((size_t)end + 2, sizeof **first);
        if (!*list || !*first) {
            rc = err(e, ERR_MEMORY, "out of memory");
            continue;
        }
        for (int q = 0; q < LPU_QUEUES; q++) { /* issues of each cycle, then where each cycle begins */
            int64_t now = 0;
            for (int w = c->first[q]; w < c->first[q + 1]; w++) {
                const struct lpu_instr *in = &c->words[w];
                int64_t reps = in->op == OP_NOP ? (in->x ? in->x : 1) : in->op == OP_REPEAT ? in->x : 1;
                for (int64_t i = 0; i < reps && in->op != OP_NOP; i++) (*first)[now + i + 1]++;
                now += reps;
            }
        }
        for (int64_t t = 0; t <= end; t++) (*first)[t + 1] += (*first)[t];
    }
    if (!rc) { /* filling moved each beginning to the next one */
        for (int64_t t = end; t > 0; t--) (*first)[t] = (*first)[t - 1];
        (*first)[0] = 0;
    }
    *n_cycles = (int)end;
    return rc;
}

static int run_queues(struct queue_run *r, int *cycles, struct err *e)
{
    struct issue *list;
    int *first, n_cycles, rc = list_issues(r->c, &list, &first, &n_cycles, e);
    *cycles = 0;
    for (r->now = 0; !rc && r->now < n_cycles; r->now++) {
        for (int i = first[r->now]; i < first[r->now + 1] && !rc; i++) {
            const struct lpu_instr *in = &r->c->words[list[i].word];
            int end = in->op < LPU_OPS && lpu_op_info[in->op].delay >= 0 ? r->now + lpu_delay(r->a, in->op) : 0;
            *cycles = end > *cycles ? end : *cycles;
            if (do_issue(r, &list[i])) continue;
            char unit[24];
            struct buf b;
            buf_init(&b, 256);
            lpu_queue_name(list[i].queue, unit);
            lpu_instr_print(in, &b);
            rc = err(e, ERR_INTERNAL, "verify: cycle %d, %s, '%s': %s", r->now, unit, b.p ? b.p : "", r->why);
            buf_finish(&b);
        }
    }
    free(list), free(first);
    return rc;
}

/* --- both -------------------------------------------------------------------------------------------------- */

static int compare(const struct world *want, const struct world *got, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (want->row[i] != got->row[i])
            return err(e, ERR_INTERNAL,
                       "verify: slice %d, row %d ends with another value than the graph gives it",
                       lpu_loc_slice((int)i), lpu_loc_row((int)i));
    if (want->sent != got->sent || want->received != got->received)
        return err(e, ERR_INTERNAL,
                   "verify: other vectors go over the links than the graph sends and receives");
    return want->traps == got->traps ? 0 : err(e, ERR_INTERNAL, "verify: other range checks than the graph has");
}

int lpu_verify(const struct lpu_arch *a, const struct lpu_graph *g, const struct lpu_code *c,
               const struct lpu_params *p, struct err *e)
{
    size_t n = (size_t)a->slices * LPU_ROWS;
    struct graph_run *gr = calloc(1, sizeof *gr);
    struct queue_run *qr = calloc(1, sizeof *qr);
    int rc = 0, cycles = 0;
    if (!gr || !qr || make_world(&gr->w, n) || make_world(&qr->w, n) ||
        !(qr->avail = calloc(n, sizeof *qr->avail)) || !(gr->used = calloc(n, 1)) ||
        !(qr->stream = calloc(2, sizeof *qr->stream)))
        rc = err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; !rc && i < 2 * 2 * LPU_STREAMS * RING; i++)
        qr->stream[i / (2 * LPU_STREAMS * RING)][i / (LPU_STREAMS * RING) % 2][i / RING % LPU_STREAMS]
                  [i % RING]
                      .stamp = INT32_MIN;
    for (int i = 0; !rc && i < LPU_SLICES; i++) qr->read_at[i] = -1, qr->write_at[i] = -2;
    for (int i = 0; !rc && i < LPU_PLANES; i++) qr->pass_at[i] = -1;
    if (!rc) {
        gr->a = qr->a = a;
        gr->p = p;
        qr->c = c;
        qr->used = gr->used;
        qr->p = p;
        qr->sent_at = -1;
        for (int i = 0; i < g->n_groups; i++) {
            const struct lpu_group *k = &g->groups[i];
            if (k->kind == GROUP_VXM)
                run_group(gr, g->nodes + k->first, k->n);
            else if (k->kind == GROUP_SXM)
                run_move(gr, g->nodes + k->first);
            else if (k->kind == GROUP_SUM)
                run_sum(gr, g->nodes + k->first);
            else if (k->kind == GROUP_SEND || k->kind == GROUP_RECEIVE)
                run_transfer(gr, g->nodes + k->first);
            else
                run_install(gr, g->nodes + k->first);
        }
        rc = run_queues(qr, &cycles, e);
        if (!rc && cycles != c->cycles)
            rc = err(e, ERR_INTERNAL, "verify: the queues end after %d cycles, not %d", cycles, c->cycles);
        if (!rc) rc = compare(&gr->w, &qr->w, n, e);
    }
    if (gr) free(gr->w.row), free(gr->used);
    if (qr) free(qr->w.row), free(qr->avail), free(qr->stream);
    free(gr), free(qr);
    return rc;
}
