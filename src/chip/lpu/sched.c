/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched: finds a cycle for every node of a graph. A list scheduler: groups in program order, each node at the
 * first cycle at which everything it needs is free, so that a group may start long before the end of the one
 * before it, and weights are installed as soon as their plane's buffer is free.
 *
 * Everything is fixed by the arithmetic of arrival: an operand that must be at position p in cycle t was
 * dispatched at t minus the distance minus the delay of its instruction. Streams are booked by the cycle at
 * which they pass (or would pass) the VXM, one booking per hemisphere, direction and stream: a register that
 * moves with the data. What is booked:
 *
 *   streams, read and write ports and banks of slices, issue slots of all queues, the output latch of each
 *   ALU from the cycle its result is there to its last reader, weight buffer and array of each plane
 *
 * The value of a chain lies in the latch of the ALU that made it. From then until its last reader is placed
 * that ALU is held open-ended: others may use it only for what is read before. A group that does not fit is
 * taken back and tried later.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/code.h"

enum {
    ORIGIN = 80,          /* first cycle of the VXM: earlier ones are for what must be under way by then */
    NODE_WINDOW = 400,    /* cycles a node may wait for its operands' group before the group moves on */
    TRIES_MAX = 1000,     /* later starts of a group: more than any wait for a unit */
    CYCLES_MAX = 1 << 24,
    GROUP_NODES_MAX = 256,
    LOOK = 48,            /* cycles of free latch that are looked for */
};

struct cycle { /* bookings; streams by their cycle at the VXM, the rest by its own cycle */
    uint32_t in[2], out[2];                         /* by hemisphere: streams towards and away from the VXM */
    uint64_t read[2], write[2], bank[2][2];         /* slices */
    uint16_t issue, latch;                          /* ALUs */
    uint8_t load, pass, sum, sxm, c2c;              /* planes, hemispheres */
};

struct undo {
    void *at;
    uint64_t old;
    int bytes;
};

struct touch { /* hazards, applied when the group is placed */
    int loc, cycle;
    bool write;
};

struct plane {
    int buffer_free, buffer_full, array_ready, last_pass;
    int next_pass; /* no pass can be before it: a bound for searches */
};

struct placed {
    int ready, alu, held; /* result is there from `ready`; latch booked up to `held` */
    int readers;          /* nodes of the group that are still to read it */
};

enum { FREE = INT_MAX };

struct latches { /* what a group that is taken back must restore beside the bookings */
    struct placed chain[LPU_CHAINS];
    int open[LPU_ALUS];  /* from here on the latch belongs to a chain; FREE */
    int last[LPU_ALUS];  /* last cycle of any booking */
};

struct sched {
    const struct lpu_arch *a;
    const struct lpu_graph *g;
    struct lpu_schedule *s;
    struct cycle *c, outside;
    int n_cycles;
    int32_t *avail, *last_read; /* [slices * LPU_ROWS] */
    struct undo *undo;
    int n_undo, cap_undo;
    struct touch *touch;
    int n_touch, cap_touch;
    struct plane plane[LPU_PLANES];
    struct latches latch;
    /* [nodes] bit i: operand i is the last to read its chain; bit 3: nobody reads the chain that it
     * writes */
    uint8_t *ends;
    int link_out, link_in; /* cycles from which the links are free */
    int group;
    int failed;
};

/* --- bookkeeping ------------------------------------------------------------------------------------------ */

static void *more(struct sched *x, void *p, int n, int *cap, size_t size)
{
    if (n < *cap) return p;
    int want = *cap ? 2 * *cap : 4096;
    void *q = realloc(p, (size_t)want * size);
    if (!q) {
        x->failed = ERR_MEMORY;
        return p;
    }
    *cap = want;
    return q;
}

static struct cycle *at(struct sched *x, int t)
{
    if (t < 0 || t >= x->n_cycles) {
        x->failed = x->failed ? x->failed : ERR_LIMIT;
        return &x->outside;
    }
    return &x->c[t];
}

/* Cycles up to t exist: called before anything holds a pointer. */
static void reach(struct sched *x, int t)
{
    if (t < x->n_cycles || t >= CYCLES_MAX) return;
    int want = x->n_cycles;
    while (want <= t) want *= 2;
    struct cycle *c = realloc(x->c, (size_t)want * sizeof *c);
    if (!c) {
        x->failed = ERR_MEMORY;
        return;
    }
    memset(c + x->n_cycles, 0, (size_t)(want - x->n_cycles) * sizeof *c);
    x->c = c;
    x->n_cycles = want;
}

static void note(struct sched *x, void *p, int bytes)
{
    x->undo = more(x, x->undo, x->n_undo, &x->cap_undo, sizeof *x->undo);
    if (x->failed) return;
    struct undo *u = &x->undo[x->n_undo++];
    *u = (struct undo){(void *)((char *)p - (char *)x->c), 0, bytes}; /* as an offset: c may move */
    memcpy(&u->old, p, (size_t)bytes);
}

static void take_back(struct sched *x, int n_undo, int n_list, int n_touch)
{
    while (x->n_undo > n_undo) {
        struct undo *u = &x->undo[--x->n_undo];
        memcpy((char *)x->c + (size_t)u->at, &u->old, (size_t)u->bytes);
    }
    x->s->n = n_list;
    x->n_touch = n_touch;
}

#define BOOK(x, field, bits) (note((x), &(field), sizeof(field)), (field) |= (bits))

static void emit(struct sched *x, int t, int queue, int n, const struct lpu_instr *in, int patch,
                 int patch_arg, int lane)
{
    x->s->list = more(x, x->s->list, x->s->n, &x->s->cap, sizeof *x->s->list);
    if (x->failed) return;
    x->s->list[x->s->n++] = (struct lpu_timed){t,   (uint16_t)queue, (uint16_t)n,   x->group,
                                               *in, (uint8_t)patch,  (uint8_t)lane, patch_arg};
}

static void touches(struct sched *x, int loc, int t, bool write)
{
    x->touch = more(x, x->touch, x->n_touch, &x->cap_touch, sizeof *x->touch);
    if (x->failed) return;
    x->touch[x->n_touch++] = (struct touch){loc, t, write};
}

static int distance(const struct lpu_arch *a, int slice)
{
    int d = lpu_slice_position(a, slice) - a->centre;
    return d < 0 ? -d : d;
}

/* --- streams and memory ----------------------------------------------------------------------------------- */

/* A stream (width 1), four or sixteen, free for n cycles from t on; -1 if there is none. */
static int free_stream(struct sched *x, int hemi, bool inward, int t, int n, int width)
{
    uint32_t busy = 0;
    for (int i = 0; i < n; i++) busy |= inward ? at(x, t + i)->in[hemi] : at(x, t + i)->out[hemi];
    if (width == 1) {
        for (int i = 0; i < LPU_STREAMS; i++) { /* outward not in the upper half, as long as that is for weights */
            int s = (inward ? LPU_STREAMS : LPU_LOAD) - 1 - i;
            if (s < 0) s += LPU_STREAMS;
            if (!(busy >> s & 1)) return s;
        }
        return -1;
    }
    uint32_t mask = width == LPU_LOAD ? 0xffffu : 0xfu;
    for (int s = 0; s < LPU_STREAMS; s += width)
        if (!(busy >> s & mask)) return s;
    return -1;
}

static void book_stream(struct sched *x, int hemi, bool inward, int t, int n, int s, int width)
{
    uint32_t mask = (width == LPU_LOAD ? 0xffffu : width == LPU_QUAD ? 0xfu : 1u) << s;
    for (int i = 0; i < n; i++) {
        if (inward)
            BOOK(x, at(x, t + i)->in[hemi], mask);
        else
            BOOK(x, at(x, t + i)->out[hemi], mask);
    }
}

/* Stream number of an instruction: direction in the upper half. */
static int stream_code(int hemi, bool inward, int s)
{
    bool east = (hemi == 0) == inward;
    return east ? s : s + LPU_STREAMS;
}

static int bank_of(const struct lpu_arch *a, int row)
{
    return row >= a->rows / 2;
}

static bool port_free(struct sched *x, int slice, int row, int t, bool write)
{
    int h = lpu_hemisphere(x->a, slice);
    uint64_t bit = 1ull << (slice - h * x->a->half);
    struct cycle *c = at(x, t);
    return !((write ? c->write[h] : c->read[h]) & bit) && !(c->bank[bank_of(x->a, row)][h] & bit);
}

static void book_port(struct sched *x, int slice, int row, int t, bool write)
{
    int h = lpu_hemisphere(x->a, slice), b = bank_of(x->a, row);
    uint64_t bit = 1ull << (slice - h * x->a->half);
    if (write)
        BOOK(x, at(x, t)->write[h], bit);
    else
        BOOK(x, at(x, t)->read[h], bit);
    BOOK(x, at(x, t)->bank[b][h], bit);
}

/* Rows of width slices that must be at the VXM (inward) or at the edge (outward, t = cycle at the VXM) . */
static bool read_rows(struct sched *x, int loc, int width, bool inward, int t, int patch, int patch_arg, int *stream)
{
    const struct lpu_arch *a = x->a;
    int slice = lpu_loc_slice(loc), row = lpu_loc_row(loc), h = lpu_hemisphere(a, slice), d = lpu_delay(a, OP_READ);
    for (int i = 0; i < width; i++) {
        int tr = inward ? t - d - distance(a, slice + i) : t - d + distance(a, slice + i);
        if (tr < 0 || (i == 0 && tr < x->avail[loc]) || tr < x->avail[loc] ||
            !port_free(x, slice + i, row, tr, false))
            return false;
    }
    int s = free_stream(x, h, inward, t, 1, width);
    if (s < 0) return false;
    book_stream(x, h, inward, t, 1, s, width);
    for (int i = 0; i < width; i++) {
        int tr = inward ? t - d - distance(a, slice + i) : t - d + distance(a, slice + i);
        book_port(x, slice + i, row, tr, false);
        struct lpu_instr in = {OP_READ,
                               (uint8_t)stream_code(h, inward, s + i),
                               ARG_NONE,
                               ARG_NONE,
                               ARG_NONE,
                               0,
                               (uint16_t)row,
                               0,
                               0,
                               0};
        emit(x, tr, QUEUE_READ + slice + i, 1, &in, patch, patch_arg, 0);
        touches(x, loc, tr, false);
    }
    *stream = stream_code(h, inward, s);
    return true;
}

/* A stream that passes slice's position into its row; t = its cycle at the VXM, streams already booked. */
static bool write_rows(struct sched *x, int loc, int width, bool inward, int t, int stream, int patch,
                       int patch_arg, int lane)
{
    const struct lpu_arch *a = x->a;
    int slice = lpu_loc_slice(loc), row = lpu_loc_row(loc);
    for (int i = 0; i < width; i++) {
        int tw = inward ? t - distance(a, slice + i) : t + distance(a, slice + i);
        if (tw < 0 || tw <= x->last_read[loc] || tw < x->avail[loc] ||
            !port_free(x, slice + i, row, tw, true))
            return false;
    }
    for (int i = 0; i < width; i++) {
        int tw = inward ? t - distance(a, slice + i) : t + distance(a, slice + i);
        book_port(x, slice + i, row, tw, true);
        struct lpu_instr in = {
            OP_WRITE, ARG_NONE, (uint8_t)(stream + i), ARG_NONE, ARG_NONE, 0, (uint16_t)row, 0, 0, 0};
        emit(x, tw, QUEUE_WRITE + slice + i, 1, &in, patch, patch_arg, lane);
        touches(x, loc, tw, true);
    }
    return true;
}

/* --- VXM groups ------------------------------------------------------------------------------------------- */

/* Where the value of an operand from an ALU lies. */
static struct placed *holder(struct sched *x, struct placed *p, const struct lpu_arg *k)
{
    return k->kind == SRC_NODE ? &p[k->v] : &x->latch.chain[k->v];
}

static bool hold_latch(struct sched *x, struct placed *p, int until)
{
    for (int t = p->held + 1; t <= until; t++)
        if (at(x, t)->latch >> p->alu & 1) return false;
    for (int t = p->held + 1; t <= until; t++) BOOK(x, at(x, t)->latch, (uint16_t)(1u << p->alu));
    return true;
}

/* A pass whose sums are at the VXM, or would be, at t. */
static bool pass_operand(struct sched *x, const struct lpu_node *n, int t, int *stream)
{
    const struct lpu_arch *a = x->a;
    int p = n->pass_plane, h = lpu_plane_hemisphere(p), c = a->centre;
    int t_sum = t - c - lpu_delay(a, OP_ACC), t_pass = t_sum - lpu_delay(a, OP_ABC), act;
    struct plane *pl = &x->plane[p];
    if (t_pass < pl->array_ready || t_sum < 0) return false;
    if (at(x, t_pass)->pass >> p & 1 || at(x, t_sum)->sum >> p & 1) return false;
    int s = free_stream(x, h, true, t, 1, LPU_QUAD);
    if (s < 0 || !read_rows(x, n->pass_act, 1, false, t_pass - c, PATCH_NONE, 0, &act)) return false;
    book_stream(x, h, true, t, 1, s, LPU_QUAD);
    BOOK(x, at(x, t_pass)->pass, (uint8_t)(1u << p));
    BOOK(x, at(x, t_sum)->sum, (uint8_t)(1u << p));
    struct lpu_instr abc = {OP_ABC,       ARG_NONE, (uint8_t)act, ARG_NONE,  ARG_NONE,
                            n->pass_flag, 0,        n->pass_x,    n->pass_y, 0};
    struct lpu_instr acc = {OP_ACC, (uint8_t)stream_code(h, true, s), ARG_NONE, ARG_NONE, ARG_NONE, 0, 0, 0, 0, 0};
    emit(x, t_pass, QUEUE_PASS + p, 1, &abc, PATCH_NONE, 0, 0);
    emit(x, t_sum, QUEUE_OUT + p, 1, &acc, PATCH_NONE, 0, 0);
    *stream = stream_code(h, true, s);
    return true;
}

/* The token's row may be in any of the wide slices: each is told to read, the patch leaves one. Operand a
 * then names the stream of the west; the patch knows that of the east. */
static bool token_operand(struct sched *x, const struct lpu_arg *g, int t, int *west, int *east)
{
    const struct lpu_arch *a = x->a;
    int d = lpu_delay(a, OP_READ), s[2];
    for (int h = 0; h < 2; h++) {
        if ((s[h] = free_stream(x, h, true, t, 1, 1)) < 0) return false;
        book_stream(x, h, true, t, 1, s[h], 1);
        for (int i = a->half - a->wide; i < a->half; i++) {
            int slice = h * a->half + i, tr = t - d - distance(a, slice);
            if (tr < 0 || !port_free(x, slice, 0, tr, false) || !port_free(x, slice, a->rows - 1, tr, false))
                return false;
            book_port(x, slice, 0, tr, false);
            book_port(x, slice, a->rows - 1, tr, false);
            struct lpu_instr in = {
                OP_READ, (uint8_t)stream_code(h, true, s[h]), ARG_NONE, ARG_NONE, ARG_NONE, 0, 0, 0, 0, 0};
            emit(x, tr, QUEUE_READ + slice, 1, &in, PATCH_TOKEN_CODES, g->patch_arg,
                 (i - (a->half - a->wide)) % LPU_LOAD);
        }
    }
    *west = stream_code(0, true, s[0]);
    *east = stream_code(1, true, s[1]);
    return true;
}

static bool operand(struct sched *x, const struct lpu_node *n, int i, struct placed *p, int t,
                    struct lpu_instr *in, uint8_t *arg, int *side)
{
    const struct lpu_arg *g = &n->arg[i];
    int s = ARG_NONE;
    switch (g->kind) {
    case SRC_NONE: break;
    case SRC_IMM: s = ARG_IMM; break;
    case SRC_NODE:
    case SRC_CHAIN: {
        struct placed *k = holder(x, p, g);
        if (!hold_latch(x, k, t)) return false;
        k->held = k->held > t ? k->held : t;
        s = ARG_ALU + k->alu;
        break;
    }
    case SRC_PASS:
        if (!pass_operand(x, n, t, &s)) return false;
        break;
    default:
        if (g->byte) in->flag |= (uint8_t)((FLAG_BYTE << i) | (g->byte == 2 ? FLAG_SIGNED << i : 0));
        if (g->patch == PATCH_TOKEN_CODES) {
            if (!token_operand(x, g, t, &s, side)) return false;
        } else if (!read_rows(x, g->v, g->byte ? 1 : LPU_QUAD, true, t, g->patch, g->patch_arg, &s)) {
            return false;
        }
    }
    *arg = (uint8_t)s;
    return true;
}

/* First cycle at which the operands can be there. */
static int earliest(const struct sched *x, const struct lpu_node *n, const struct placed *p, int base)
{
    const struct lpu_arch *a = x->a;
    int t = base;
    for (int i = 0; i < 3; i++) {
        const struct lpu_arg *g = &n->arg[i];
        int r = 0;
        if (g->kind == SRC_NODE) r = p[g->v].ready;
        if (g->kind == SRC_CHAIN) r = x->latch.chain[g->v].ready;
        if (g->kind == SRC_MEM && g->patch != PATCH_TOKEN_CODES)
            r = x->avail[g->v] + lpu_delay(a, OP_READ) + distance(a, lpu_loc_slice(g->v));
        if (g->kind == SRC_PASS) {
            int act = x->avail[n->pass_act] + lpu_delay(a, OP_READ) + a->centre -
                      distance(a, lpu_loc_slice(n->pass_act));
            r = x->plane[n->pass_plane].next_pass > act ? x->plane[n->pass_plane].next_pass : act;
            r += lpu_delay(a, OP_ABC) + lpu_delay(a, OP_ACC) + a->centre;
        }
        t = r > t ? r : t;
    }
    return t;
}

/* An ALU that can start at t and whose latch is free from the result on, the longer the better; for a chain
 * nothing may be booked behind it. Not one whose result the group still waits for, unless this node is the
 * last to read it. */
static int find_alu(struct sched *x, const struct lpu_node *n, const struct placed *p, int self, int t, int ready)
{
    const struct latches *l = &x->latch;
    int best = -1, longest = 0, closing = -1, ends = x->ends[x->g->groups[x->group].first + self];
    unsigned waits = 0;
    for (int i = 0; i < self; i++) {
        int left = p[i].readers;
        for (int j = 0; j < 3; j++) left -= n->arg[j].kind == SRC_NODE && n->arg[j].v == i;
        if (left > 0) waits |= 1u << p[i].alu;
    }
    for (int j = 0; j < 3; j++)
        if (ends >> j & 1) closing = l->chain[n->arg[j].v].alu;
    for (int k = 0; k < LPU_ALUS; k++) {
        if ((at(x, t)->issue | waits) >> k & 1) continue;
        if (n->alu != ARG_NONE && !(ends & 8)) {
            if (k == closing && ready > l->last[k] && ready > t) return k;
            if (best < 0 && ready > l->last[k] && l->open[k] == FREE) best = k;
            continue;
        }
        int end = l->open[k] == FREE || l->open[k] - ready > LOOK ? LOOK : l->open[k] - ready, free = 0;
        while (free < end && !(at(x, ready + free)->latch >> k & 1)) free++;
        if (!p[self].readers && free) free = LOOK + 1 - free; /* only passes by: the smallest gap will do */
        if (free > longest) best = k, longest = free;
    }
    return best;
}

static bool place_node_at(struct sched *x, const struct lpu_node *n, struct placed *p, int self, int t)
{
    const struct lpu_arch *a = x->a;
    int ready = t + lpu_delay(a, n->op), alu = find_alu(x, n, p, self, t, ready), side = ARG_NONE,
        patch = n->patch, patch_arg = n->patch_arg;
    struct lpu_instr in = {
        .op = n->op, .out = ARG_NONE, .flag = n->flag, .row = n->row, .x = n->x, .y = n->y, .imm = n->imm};
    if (alu < 0) return false;
    if (!operand(x, n, 0, p, t, &in, &in.a, &side) || !operand(x, n, 1, p, t, &in, &in.b, &side) ||
        !operand(x, n, 2, p, t, &in, &in.c, &side))
        return false;
    BOOK(x, at(x, t)->issue, (uint16_t)(1u << alu));
    p[self].ready = p[self].held = ready;
    p[self].alu = alu;
    BOOK(x, at(x, ready)->latch, (uint16_t)(1u << alu));
    if (n->n_dst) {
        int width = n->dst_byte ? 1 : LPU_QUAD, stream[2] = {-1, -1};
        if (n->dst_byte) in.flag |= FLAG_OUT_BYTE;
        for (int i = 0; i < n->n_dst; i++) {
            int h = lpu_hemisphere(a, lpu_loc_slice(n->dst[i]));
            /* one number for both directions: an instruction names one stream, and a mirror of it */
            if (stream[h] < 0) {
                int s = free_stream(x, h, false, ready, 1, width);
                if (stream[!h] >= 0) {
                    s = stream[!h];
                    uint32_t mask = (width == 1 ? 1u : 0xfu) << s;
                    if (at(x, ready)->out[h] & mask) return false;
                }
                if (s < 0) return false;
                book_stream(x, h, false, ready, 1, s, width);
                stream[h] = s;
            }
            int code = stream_code(h, false, stream[h]);
            if (n->dst_patch == PATCH_SLOT) {
                for (int j = 0; j < LPU_LOAD; j++)
                    if (!write_rows(x, n->dst[i] + j * LPU_ROWS, 1, false, ready, code, PATCH_SLOT,
                                    n->dst_patch_arg, j))
                        return false;
            } else if (!write_rows(x, n->dst[i], width, false, ready, code, n->dst_patch, n->dst_patch_arg, 0)) {
                return false;
            }
        }
        /* out: a stream eastward, westward, or (bit 6) the same number in both directions */
        in.out = (uint8_t)(stream[0] >= 0 ? stream_code(0, false, stream[0]) : stream_code(1, false, stream[1]));
        if (stream[0] >= 0 && stream[1] >= 0) in.out |= OUT_BOTH;
    }
    if (side != ARG_NONE) patch = PATCH_TOKEN_SIDE, patch_arg = side;
    emit(x, t, QUEUE_ALU + alu, 1, &in, patch, patch_arg, 0);
    return true;
}

/* A pass of plane p is at tp. */
static void passed(struct sched *x, int p, int tp)
{
    struct plane *pl = &x->plane[p];
    if (tp > pl->last_pass) pl->last_pass = tp;
    while (at(x, pl->next_pass)->pass >> p & 1) pl->next_pass++;
}

/* Node i of the group has its cycle: who still holds which latch, and the planes' last passes. */
static void settle(struct sched *x, const struct lpu_node *n, struct placed *p, int i, int t)
{
    struct latches *l = &x->latch;
    int ends = x->ends[n - x->g->nodes];
    if (l->last[p[i].alu] < p[i].ready) l->last[p[i].alu] = p[i].ready;
    for (int j = 0; j < 3; j++) {
        const struct lpu_arg *k = &n->arg[j];
        struct placed *from = k->kind == SRC_NODE || k->kind == SRC_CHAIN ? holder(x, p, k) : NULL;
        if (from && l->last[from->alu] < t) l->last[from->alu] = t;
        if (k->kind == SRC_NODE) {
            int chain = n[k->v - i].alu;
            from->readers--;
            if (chain != ARG_NONE && l->chain[chain].ready == from->ready) l->chain[chain].held = from->held;
        }
        if (ends >> j & 1) l->open[from->alu] = FREE;
        if (k->kind == SRC_PASS) {
            int tp = t - x->a->centre - lpu_delay(x->a, OP_ACC) - lpu_delay(x->a, OP_ABC);
            passed(x, n->pass_plane, tp);
        }
    }
    if (n->alu == ARG_NONE) return;
    l->chain[n->alu] = p[i];
    if (!(ends & 8)) l->open[p[i].alu] = p[i].ready;
}

/* The first cycle in which a node may begin that leaves a chain: its ALU has nothing booked behind. */
static int chain_start(const struct sched *x, const struct lpu_node *n)
{
    const struct latches *l = &x->latch;
    int ends = x->ends[n - x->g->nodes], first = FREE;
    if (n->alu == ARG_NONE || ends & 8) return 0;
    for (int k = 0; k < LPU_ALUS; k++) {
        bool closes = false;
        for (int j = 0; j < 3; j++) closes |= (ends >> j & 1) && l->chain[n->arg[j].v].alu == k;
        if ((closes || l->open[k] == FREE) && l->last[k] < first) first = l->last[k];
    }
    return first == FREE ? 0 : first + 1 - lpu_delay(x->a, n->op);
}

/* If not: *base is moved on. */
static bool place_group_from(struct sched *x, const struct lpu_group *g, struct placed *p, int *base)
{
    struct latches before = x->latch;
    struct plane planes[LPU_PLANES];
    memcpy(planes, x->plane, sizeof planes);
    for (int i = 0; i < g->n; i++) p[i].readers = 0;
    for (int i = 0; i < 3 * g->n; i++) {
        const struct lpu_arg *k = &x->g->nodes[g->first + i / 3].arg[i % 3];
        if (k->kind == SRC_NODE) p[k->v].readers++;
    }
    for (int i = 0; i < g->n; i++) {
        const struct lpu_node *n = &x->g->nodes[g->first + i];
        int t = earliest(x, n, p, *base), chain = chain_start(x, n), end;
        t = chain > t ? chain : t;
        end = t + NODE_WINDOW;
        reach(x, end + 2 * LOOK + 256);
        for (;; t++) {
            if (x->failed) return false;
            int u = x->n_undo, l = x->s->n, k = x->n_touch;
            struct placed keep[3];
            for (int j = 0; j < 3; j++)
                if (n->arg[j].kind == SRC_NODE || n->arg[j].kind == SRC_CHAIN) keep[j] = *holder(x, p, &n->arg[j]);
            if (place_node_at(x, n, p, i, t)) break;
            take_back(x, u, l, k);
            for (int j = 0; j < 3; j++)
                if (n->arg[j].kind == SRC_NODE || n->arg[j].kind == SRC_CHAIN) *holder(x, p, &n->arg[j]) = keep[j];
            if (t < end) continue;
            x->latch = before;
            memcpy(x->plane, planes, sizeof planes);
            *base = i ? *base + 16 : end + 1;
            return false;
        }
        settle(x, n, p, i, t);
    }
    return true;
}

static void place_vxm(struct sched *x, const struct lpu_group *g)
{
    struct placed p[GROUP_NODES_MAX] = {{0, 0, 0, 0}};
    int base = ORIGIN;
    must(g->n <= GROUP_NODES_MAX);
    int depth[GROUP_NODES_MAX]; /* cycles from the group's first one to a node, at the least */
    for (int i = 0; i < g->n; i++) { /* a late operand of a later node: no use in starting long before it */
        const struct lpu_node *n = &x->g->nodes[g->first + i];
        depth[i] = 0;
        for (int j = 0; j < 3; j++) {
            if (n->arg[j].kind != SRC_NODE) continue;
            int k = n->arg[j].v, after = depth[k] + lpu_delay(x->a, x->g->nodes[g->first + k].op);
            depth[i] = after > depth[i] ? after : depth[i];
        }
        int t = earliest(x, n, p, ORIGIN) - depth[i]; /* p is zero: only operands from outside count */
        base = t > base ? t : base;
    }
    for (int tries = 0; !x->failed; tries++) {
        int u = x->n_undo, l = x->s->n, k = x->n_touch;
        if (place_group_from(x, g, p, &base)) return;
        if (tries == TRIES_MAX) x->failed = ERR_INTERNAL;
        take_back(x, u, l, k);
        reach(x, base);
    }
}

/* --- SXM and installation --------------------------------------------------------------------------------- */

static bool place_sxm_at(struct sched *x, const struct lpu_node *n, int t) /* t: cycle at the SXM */
{
    const struct lpu_arch *a = x->a;
    int src = n->arg[0].v, h = lpu_hemisphere(a, lpu_loc_slice(src)), c = a->centre, in_stream;
    int width = n->dst_byte ? 1 : LPU_QUAD, ready = t + lpu_delay(a, n->op);
    if (at(x, t)->sxm >> h & 1) return false;
    if (!read_rows(x, src, width, false, t - c, n->arg[0].patch, n->arg[0].patch_arg, &in_stream)) return false;
    int s = free_stream(x, h, true, ready + c, 1, width);
    if (s < 0) return false;
    book_stream(x, h, true, ready + c, 1, s, width);
    int code = stream_code(h, true, s);
    for (int i = 0; i < n->n_dst; i++) {
        must(lpu_hemisphere(a, lpu_loc_slice(n->dst[i])) == h);
        if (!write_rows(x, n->dst[i], width, true, ready + c, code, n->dst_patch, n->dst_patch_arg, 0)) return false;
    }
    BOOK(x, at(x, t)->sxm, (uint8_t)(1u << h));
    struct lpu_instr in = {n->op,
                           (uint8_t)code,
                           (uint8_t)in_stream,
                           ARG_NONE,
                           ARG_NONE,
                           (uint8_t)(width == 1 ? FLAG_BYTE : 0),
                           n->row,
                           0,
                           0,
                           0};
    emit(x, t, QUEUE_SXM + h, 1, &in, n->patch, 0, 0);
    return true;
}

static void place_sxm(struct sched *x, const struct lpu_group *g)
{
    const struct lpu_arch *a = x->a;
    const struct lpu_node *n = &x->g->nodes[g->first];
    int src = n->arg[0].v, t = x->avail[src] + lpu_delay(a, OP_READ) + a->centre - distance(a, lpu_loc_slice(src));
    for (t = t > ORIGIN ? t : ORIGIN; !x->failed; t++) {
        int u = x->n_undo, l = x->s->n, k = x->n_touch;
        reach(x, t + 256);
        if (place_sxm_at(x, n, t)) return;
        take_back(x, u, l, k);
    }
}

/* The sums of a pass into a row of their hemisphere, as they go by. */
static void place_sum(struct sched *x, const struct lpu_group *g)
{
    const struct lpu_node *n = &x->g->nodes[g->first];
    int t = earliest(x, n, NULL, ORIGIN), stream;
    must(lpu_hemisphere(x->a, lpu_loc_slice(n->dst[0])) == lpu_plane_hemisphere(n->pass_plane));
    for (; !x->failed; t++) {
        int u = x->n_undo, l = x->s->n, k = x->n_touch;
        reach(x, t + 256);
        if (pass_operand(x, n, t, &stream) &&
            write_rows(x, n->dst[0], LPU_QUAD, true, t, stream, PATCH_NONE, 0, 0))
            break;
        take_back(x, u, l, k);
    }
    int tp = t - x->a->centre - lpu_delay(x->a, OP_ACC) - lpu_delay(x->a, OP_ABC);
    passed(x, n->pass_plane, tp);
}

/* The four rows of a vector onto the link to the next chip, in the order of the graph. */
static void place_send(struct sched *x, const struct lpu_group *g)
{
    const struct lpu_node *n = &x->g->nodes[g->first];
    int src = n->arg[0].v, h = lpu_hemisphere(x->a, lpu_loc_slice(src)), c = x->a->centre, s = 0;
    int t = x->avail[src] + lpu_delay(x->a, OP_READ) + c - distance(x->a, lpu_loc_slice(src));
    for (int i = 0; i < LPU_QUAD; i++, t++) {
        if (t < x->link_out) t = x->link_out;
        for (t = t > ORIGIN ? t : ORIGIN; !x->failed; t++) {
            reach(x, t + 256);
            if (!(at(x, t)->c2c >> h & 1) &&
                read_rows(x, src + i * LPU_ROWS, 1, false, t - c, PATCH_NONE, 0, &s))
                break;
        }
        touches(x, src, t, false);
        BOOK(x, at(x, t)->c2c, (uint8_t)(1u << h));
        struct lpu_instr in = {OP_SEND, ARG_NONE, (uint8_t)s, ARG_NONE, ARG_NONE, 0, 0, 0, 0, 0};
        emit(x, t, QUEUE_C2C + h, 1, &in, PATCH_NONE, 0, 0);
        x->link_out = t + lpu_link_gap(x->a);
    }
}

/* The next four vectors of the chip before into four rows. The launch begins so late that they are there by
 * then (lpu.c). */
static void place_receive(struct sched *x, const struct lpu_group *g)
{
    const struct lpu_node *n = &x->g->nodes[g->first];
    int dst = n->dst[0], h = lpu_hemisphere(x->a, lpu_loc_slice(dst)), c = x->a->centre,
        d = lpu_delay(x->a, OP_RECEIVE), t = ORIGIN, s = 0;
    if (!x->link_in) { /* the first one */
        struct lpu_instr skew = {OP_DESKEW, ARG_NONE, ARG_NONE, ARG_NONE, ARG_NONE, 0, 0, 0, 0, 0};
        for (int i = 0; i < 2; i++) emit(x, t - d, QUEUE_C2C + i, 1, &skew, PATCH_NONE, 0, 0);
    }
    for (int i = 0; i < LPU_QUAD; i++, t++) {
        if (t < x->link_in) t = x->link_in;
        for (; !x->failed; t++) {
            int u = x->n_undo, l = x->s->n, k = x->n_touch;
            reach(x, t + 256);
            if (!(at(x, t)->c2c >> h & 1) && (s = free_stream(x, h, true, t + d + c, 1, 1)) >= 0) {
                book_stream(x, h, true, t + d + c, 1, s, 1);
                if (write_rows(x, dst + i * LPU_ROWS, 1, true, t + d + c, stream_code(h, true, s), PATCH_NONE,
                               0, 0))
                    break;
            }
            take_back(x, u, l, k);
        }
        touches(x, dst, t + d + c, true);
        BOOK(x, at(x, t)->c2c, (uint8_t)(1u << h));
        struct lpu_instr in = {
            OP_RECEIVE, (uint8_t)stream_code(h, true, s), ARG_NONE, ARG_NONE, ARG_NONE, 0, 0, 0, 0, 0};
        emit(x, t, QUEUE_C2C + h, 1, &in, PATCH_NONE, 0, 0);
        x->link_in = t + lpu_link_gap(x->a);
    }
}

/* 16 vectors, from number 16 i on, at the MXM in cycle t: their streams, or -1 where something is in use. */
static int chunk_streams(struct sched *x, const struct lpu_node *n, int i, int t)
{
    const struct lpu_arch *a = x->a;
    int loc = n->arg[0].v, slice0 = lpu_loc_slice(loc), row = lpu_loc_row(loc) + i, d = lpu_delay(a, OP_READ),
        c = a->centre;
    if (at(x, t)->load >> n->alu & 1) return -1;
    int s = free_stream(x, lpu_plane_hemisphere(n->alu), false, t - c, 1, LPU_LOAD);
    for (int j = 0; s >= 0 && j < LPU_LOAD && LPU_LOAD * i + j < n->x; j++) {
        int tr = t - d - (c - distance(a, slice0 + j));
        if (tr < 0 || tr < x->avail[loc] || !port_free(x, slice0 + j, row, tr, false)) return -1;
    }
    return s;
}

/* Reads and LW of chunks first .. first + len - 1, one a cycle from t on. */
static void emit_chunks(struct sched *x, const struct lpu_node *n, int first, int len, int t, int s)
{
    const struct lpu_arch *a = x->a;
    int loc = n->arg[0].v, slice0 = lpu_loc_slice(loc), row = lpu_loc_row(loc) + first,
        d = lpu_delay(a, OP_READ), h = lpu_plane_hemisphere(n->alu);
    for (int j = 0; j < LPU_LOAD; j++) {
        int tr = t - d - (a->centre - distance(a, slice0 + j)),
            reps = (n->x - LPU_LOAD * first - j + LPU_LOAD - 1) / LPU_LOAD;
        reps = reps < len ? reps : len;
        if (reps <= 0) break;
        for (int i = 0; i < reps; i++) book_port(x, slice0 + j, row + i, tr + i, false);
        struct lpu_instr in = {OP_READ,
                               (uint8_t)stream_code(h, false, s + j),
                               ARG_NONE,
                               ARG_NONE,
                               ARG_NONE,
                               0,
                               (uint16_t)row,
                               0,
                               0,
                               0};
        emit(x, tr, QUEUE_READ + slice0 + j, reps, &in, n->arg[0].patch, n->arg[0].patch_arg, 0);
        touches(x, loc, tr + reps - 1, false);
    }
    book_stream(x, h, false, t - a->centre, len, s, LPU_LOAD);
    for (int i = 0; i < len; i++) BOOK(x, at(x, t + i)->load, (uint8_t)(1u << n->alu));
    struct lpu_instr lw = {OP_LW,    ARG_NONE, (uint8_t)stream_code(h, false, s), ARG_NONE,
                           ARG_NONE, n->flag,  (uint16_t)(LPU_LOAD * first),      n->x,
                           0,        0};
    emit(x, t, QUEUE_LOAD + n->alu, len, &lw, PATCH_NONE, 0, 0);
}

static void place_load(struct sched *x, const struct lpu_node *n)
{
    const struct lpu_arch *a = x->a;
    struct plane *pl = &x->plane[n->alu];
    int base = x->avail[n->arg[0].v] + lpu_delay(a, OP_READ) + a->centre,
        t = pl->buffer_free > base ? pl->buffer_free : base, chunks = (n->x + LPU_LOAD - 1) / LPU_LOAD;
    for (int i = 0;
         i < chunks &&
         !x->failed;) { /* chunk by chunk: a vector on its way to a pass costs one cycle, not a whole load */
        int s, len = 1;
        reach(x, t + 256);
        while ((s = chunk_streams(x, n, i, t)) < 0 && !x->failed) t++, reach(x, t + 256);
        while (i + len < chunks && chunk_streams(x, n, i + len, t + len) == s) len++;
        emit_chunks(x, n, i, len, t, s);
        i += len;
        t += len;
    }
    pl->buffer_full = t - 1 + lpu_delay(a, OP_LW);
}

static void place_install(struct sched *x, const struct lpu_node *n)
{
    struct plane *pl = &x->plane[n->alu];
    int ti = pl->buffer_full > pl->last_pass ? pl->buffer_full : pl->last_pass + 1;
    reach(x, ti + 256);
    while (!x->failed && at(x, ti)->load >> n->alu & 1) ti++, reach(x, ti + 256);
    BOOK(x, at(x, ti)->load, (uint8_t)(1u << n->alu));
    struct lpu_instr iw = {OP_IW, ARG_NONE, ARG_NONE, ARG_NONE, ARG_NONE, n->pass_flag, 0, 0, 0, 0};
    emit(x, ti, QUEUE_LOAD + n->alu, 1, &iw, PATCH_NONE, 0, 0);
    pl->array_ready = pl->next_pass = ti + lpu_delay(x->a, OP_IW);
    pl->buffer_free = ti + 1;
}

static void commit(struct sched *x)
{
    for (int i = 0; i < x->n_touch; i++) {
        const struct touch *k = &x->touch[i];
        int32_t *p = k->write ? &x->avail[k->loc] : &x->last_read[k->loc],
                v = k->write ? k->cycle + lpu_delay(x->a, OP_WRITE) : k->cycle;
        if (*p < v) *p = v;
    }
    x->n_touch = x->n_undo = 0;
}

/* Which reads of chains are the last ones: from the end of the graph backwards. */
static void find_ends(struct sched *x)
{
    bool dead[LPU_CHAINS];
    for (int i = 0; i < LPU_CHAINS; i++) dead[i] = true;
    for (int i = x->g->n_nodes - 1; i >= 0; i--) {
        const struct lpu_node *n = &x->g->nodes[i];
        if (lpu_op_info[n->op].unit < UNIT_WIDE) continue;
        x->ends[i] = n->alu != ARG_NONE && dead[n->alu] ? 8 : 0;
        if (n->alu != ARG_NONE) dead[n->alu] = true;
        for (int j = 0; j < 3; j++)
            if (n->arg[j].kind == SRC_CHAIN && dead[n->arg[j].v])
                x->ends[i] |= (uint8_t)(1u << j), dead[n->arg[j].v] = false;
    }
}

void lpu_schedule_finish(struct lpu_schedule *s)
{
    free(s->list);
    *s = (struct lpu_schedule){0};
}

int lpu_schedule(struct lpu_schedule *s, const struct lpu_arch *a, const struct lpu_graph *g, struct err *e)
{
    size_t locs = (size_t)a->slices * LPU_ROWS;
    struct sched x = {.a = a, .g = g, .s = s, .n_cycles = 4096};
    *s = (struct lpu_schedule){0};
    x.c = calloc((size_t)x.n_cycles, sizeof *x.c);
    x.avail = calloc(locs, sizeof *x.avail);
    x.last_read = malloc(locs * sizeof *x.last_read);
    x.ends = calloc((size_t)g->n_nodes + 1, 1);
    if (!x.c || !x.avail || !x.last_read || !x.ends) x.failed = ERR_MEMORY;
    for (size_t i = 0; i < locs && !x.failed; i++) x.last_read[i] = -1;
    for (int i = 0; i < LPU_PLANES; i++) x.plane[i].last_pass = -1;
    for (int i = 0; i < LPU_ALUS; i++) x.latch.open[i] = FREE, x.latch.last[i] = -1;
    if (!x.failed) find_ends(&x);
    for (x.group = 0; x.group < g->n_groups && !x.failed; x.group++) {
        const struct lpu_group *gr = &g->groups[x.group];
        if (gr->kind == GROUP_VXM)
            place_vxm(&x, gr);
        else if (gr->kind == GROUP_SXM)
            place_sxm(&x, gr);
        else if (gr->kind == GROUP_SUM)
            place_sum(&x, gr);
        else if (gr->kind == GROUP_SEND)
            place_send(&x, gr);
        else if (gr->kind == GROUP_RECEIVE)
            place_receive(&x, gr);
        else if (g->nodes[gr->first].op == OP_LW)
            place_load(&x, &g->nodes[gr->first]);
        else
            place_install(&x, &g->nodes[gr->first]);
        commit(&x);
    }
    for (int i = 0; i < s->n; i++) {
        const struct lpu_timed *k = &s->list[i];
        int end = k->cycle + k->n - 1 + lpu_delay(a, k->in.op);
        if (end > s->cycles) s->cycles = end;
    }
    free(x.c), free(x.avail), free(x.last_read), free(x.undo), free(x.touch), free(x.ends);
    if (x.failed == ERR_INTERNAL)
        return err(e, ERR_INTERNAL, "no schedule for group %d (%s): its values need more ALUs than there are",
                   x.group - 1, g->groups[x.group - 1].what);
    if (x.failed == ERR_LIMIT) return err(e, ERR_LIMIT, "the schedule is longer than %d cycles", CYCLES_MAX);
    return x.failed || g->failed ? err(e, ERR_MEMORY, "out of memory") : 0;
}
