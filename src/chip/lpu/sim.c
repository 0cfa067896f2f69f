/* SPDX-License-Identifier: Apache-2.0 */
/* See sim.h. */
#include "chip/lpu/sim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/pool.h"
#include "chip/lpu/lanes.h"

enum {
    RING = 128,   /* cycles for which a stream register is remembered: more than it takes to cross, twice */
    PENDING = 32, /* results on their way: more than the longest delay */
    WHEEL = 1024,
    NONE = -1,
};

struct cell {
    int stamp, born; /* cycle at the VXM; cycle at which it came onto the stream */
    uint8_t v[LPU_LANES];
};

struct result {
    int ready;
    uint32_t v[LPU_LANES];
};

struct alu {
    struct result r[PENDING];
    int n; /* results so far */
};

struct plane {
    uint8_t buffer[LPU_LANES][LPU_LANES], array[LPU_LANES][LPU_LANES];
    bool array_unsigned;
    int ready, pass; /* cycles: the array can be used (NONE: never installed), the last pass */
    struct result sums[PENDING];
    int n;
};

struct queue {
    int pc, next;    /* next: of the same cycle in the wheel */
    int due;         /* cycle of its next word */
    int left;        /* of a nop: cycles still to wait; of a repeat: issues */
    struct lpu_instr cur;
};

struct port { /* last use of a slice */
    int cycle, bank;
};

struct lpu_sim {
    const struct lpu_arch *a;
    uint8_t *mem; /* [slices][LPU_ROWS][LPU_LANES] */
    size_t mem_bytes;
    uint8_t *written; /* [slices * LPU_ROWS] */
    struct cell (*stream)[2][LPU_STREAMS][RING]; /* [hemisphere][inward] */
    struct alu alu[LPU_ALUS];
    struct plane *plane;
    struct port read[LPU_SLICES], write[LPU_SLICES];
    struct queue queue[LPU_QUEUES];
    int wheel[WHEEL];
    uint16_t map[LPU_MAPS][LPU_LANES];
    struct lpu_counters count;
    struct lpu_link *link_in, *link_out;
    int64_t start;
    int sent; /* cycle of the last SEND */
    bool trapped;
    int end;
    /* where we are, for messages */
    int chip;
    const struct lpu_instr *in;
    int now, q;
    struct err *e;
};

int lpu_sim_create(struct lpu_sim **out, const struct lpu_arch *a, int chip, struct err *e)
{
    struct lpu_sim *s = calloc(1, sizeof *s);
    if (!s) return err(e, ERR_MEMORY, "out of memory");
    s->a = a;
    s->chip = chip;
    s->mem_bytes = (size_t)a->slices * LPU_ROWS * LPU_LANES;
    s->mem = mmap(NULL, s->mem_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->mem == MAP_FAILED) s->mem = NULL;
    s->written = calloc((size_t)a->slices * LPU_ROWS, 1);
    s->stream = calloc(2, sizeof *s->stream);
    s->plane = calloc(LPU_PLANES, sizeof *s->plane);
    if (!s->mem || !s->written || !s->stream || !s->plane) {
        lpu_sim_destroy(s);
        return err(e, ERR_MEMORY, "out of memory for the %zu MiB of a simulated chip", s->mem_bytes >> 20);
    }
    madvise(s->mem, s->mem_bytes, MADV_HUGEPAGE);
    *out = s;
    return 0;
}

void lpu_sim_destroy(struct lpu_sim *s)
{
    if (!s) return;
    if (s->mem) munmap(s->mem, s->mem_bytes);
    free(s->written), free(s->stream), free(s->plane), free(s);
}

uint8_t *lpu_sim_row(struct lpu_sim *s, int loc)
{
    s->written[loc] = 1;
    return s->mem + (size_t)loc * LPU_LANES;
}

const uint8_t *lpu_sim_peek(const struct lpu_sim *s, int loc)
{
    return s->written[loc] ? s->mem + (size_t)loc * LPU_LANES : NULL;
}

static void split(uint8_t *const p[LPU_QUAD], const uint32_t *v)
{
    for (int i = 0; i < LPU_QUAD; i++)
        for (int l = 0; l < LPU_LANES; l++) p[i][l] = (uint8_t)(v[l] >> 8 * i);
}

static void join(uint32_t *restrict v, const uint8_t *const p[LPU_QUAD])
{
    for (int l = 0; l < LPU_LANES; l++)
        v[l] = p[0][l] | (uint32_t)p[1][l] << 8 | (uint32_t)p[2][l] << 16 | (uint32_t)p[3][l] << 24;
}

void lpu_sim_put(struct lpu_sim *s, int loc, const uint32_t v[LPU_LANES])
{
    uint8_t *p[LPU_QUAD];
    for (int i = 0; i < LPU_QUAD; i++) p[i] = lpu_sim_row(s, loc + i * LPU_ROWS);
    split(p, v);
}

int lpu_sim_get(const struct lpu_sim *s, int loc, uint32_t v[LPU_LANES])
{
    const uint8_t *p[LPU_QUAD];
    for (int i = 0; i < LPU_QUAD; i++)
        if (!(p[i] = lpu_sim_peek(s, loc + i * LPU_ROWS))) return ERR_INTERNAL;
    join(v, p);
    return 0;
}

void lpu_sim_map(struct lpu_sim *s, int map, const uint16_t from[LPU_LANES])
{
    memcpy(s->map[map], from, sizeof s->map[map]);
}

/* --- faults ------------------------------------------------------------------------------------------------- */

static int fault(struct lpu_sim *s, const char *what)
{
    char unit[24];
    struct buf b;
    buf_init(&b, 256);
    lpu_queue_name(s->q, unit);
    lpu_instr_print(s->in, &b);
    int rc = err(s->e, ERR_INTERNAL, "chip %d, cycle %d, %s, '%s': %s", s->chip, s->now, unit, b.p ? b.p : "", what);
    buf_finish(&b);
    return rc;
}

/* --- streams ------------------------------------------------------------------------------------------------ */

/* Of stream code c at a unit `far` positions from the VXM in hemisphere h: its register, and the cycle at the VXM. */
static struct cell *cell_at(struct lpu_sim *s, int h, int c, int t, int far, int *stamp)
{
    bool inward = (c < LPU_STREAMS) == (h == 0);
    *stamp = inward ? t + far : t - far;
    return &s->stream[h][inward][c % LPU_STREAMS][(unsigned)*stamp % RING];
}

static const uint8_t *stream_get(struct lpu_sim *s, int h, int c, int far)
{
    int stamp;
    const struct cell *k = cell_at(s, h, c, s->now, far, &stamp);
    return k->stamp == stamp && k->born <= s->now ? k->v : NULL;
}

/* Room for a value that comes onto the stream in cycle t; NULL: it is taken. */
static uint8_t *stream_put(struct lpu_sim *s, int h, int c, int t, int far)
{
    int stamp;
    struct cell *k = cell_at(s, h, c, t, far, &stamp);
    if (k->stamp == stamp) return NULL;
    k->stamp = stamp;
    k->born = t;
    s->count.hops += s->a->centre;
    return k->v;
}

static int put_quad(struct lpu_sim *s, int h, int c, int t, int far, const uint32_t *v)
{
    uint8_t *p[LPU_QUAD];
    if (c % LPU_STREAMS % LPU_QUAD) return fault(s, "a 32-bit vector starts at a stream that is no multiple of 4");
    for (int i = 0; i < LPU_QUAD; i++)
        if (!(p[i] = stream_put(s, h, c + i, t, far))) return fault(s, "two values on one stream");
    split(p, v);
    return 0;
}

/* --- units -------------------------------------------------------------------------------------------------- */

static int distance(const struct lpu_arch *a, int slice)
{
    int d = lpu_slice_position(a, slice) - a->centre;
    return d < 0 ? -d : d;
}

static int run_mem(struct lpu_sim *s, const struct lpu_instr *in)
{
    bool write = in->op == OP_WRITE;
    int slice = write ? s->q - QUEUE_WRITE : s->q - QUEUE_READ, h, far, c = write ? in->a : in->out;
    if (slice >= s->a->slices || in->row >= s->a->rows) return fault(s, "no such slice or row");
    if (c >= 2 * LPU_STREAMS) return fault(s, "no such stream");
    h = lpu_hemisphere(s->a, slice);
    far = distance(s->a, slice);
    struct port *mine = write ? &s->write[slice] : &s->read[slice], *other = write ? &s->read[slice] : &s->write[slice];
    *mine = (struct port){s->now, in->row >= s->a->rows / 2};
    if (other->cycle == s->now && other->bank == mine->bank) return fault(s, "read and write of one bank in one cycle");
    int loc = lpu_loc(slice, in->row);
    if (write) {
        const uint8_t *v = stream_get(s, h, c, far);
        if (!v) return fault(s, "nothing is on the stream");
        memcpy(lpu_sim_row(s, loc), v, LPU_LANES);
        return 0;
    }
    const uint8_t *v = lpu_sim_peek(s, loc);
    if (!v) return fault(s, "the row was never written");
    uint8_t *to = stream_put(s, h, c, s->now + lpu_delay(s->a, OP_READ), far);
    if (!to) return fault(s, "two values on one stream");
    memcpy(to, v, LPU_LANES);
    return 0;
}

static int run_load(struct lpu_sim *s, const struct lpu_instr *in)
{
    int p = s->q - QUEUE_LOAD, h = lpu_plane_hemisphere(p);
    struct plane *pl = &s->plane[p];
    if (in->op == OP_IW) {
        if (pl->pass == s->now) return fault(s, "weights change under a pass");
        memcpy(pl->array, pl->buffer, sizeof pl->array);
        pl->array_unsigned = in->flag & FLAG_UNSIGNED;
        pl->ready = s->now + lpu_delay(s->a, OP_IW);
        return 0;
    }
    if (in->x > LPU_LANES || in->row >= in->x) return fault(s, "more vectors than the array has rows");
    if (in->a % LPU_LOAD) return fault(s, "weights start at a stream that is no multiple of 16");
    if (in->flag & FLAG_CLEAR && in->row == 0) memset(pl->buffer, 0, sizeof pl->buffer);
    for (int j = 0; j < LPU_LOAD && in->row + j < in->x; j++) {
        const uint8_t *v = in->a < 2 * LPU_STREAMS ? stream_get(s, h, in->a + j, s->a->centre) : NULL;
        if (!v) return fault(s, "weights are not on the stream");
        if (!(in->flag & FLAG_COLUMNS))
            memcpy(pl->buffer[in->row + j], v, LPU_LANES);
        else
            for (int k = 0; k < LPU_LANES; k++) pl->buffer[k][in->row + j] = v[k];
    }
    return 0;
}

static int run_pass(struct lpu_sim *s, const struct lpu_instr *in)
{
    int p = s->q - QUEUE_PASS, h = lpu_plane_hemisphere(p);
    struct plane *pl = &s->plane[p];
    const uint8_t *act = in->a < 2 * LPU_STREAMS ? stream_get(s, h, in->a, s->a->centre) : NULL;
    if (!act) return fault(s, "no activations on the stream");
    if (pl->ready == NONE || pl->ready > s->now) return fault(s, "no weights are installed");
    pl->pass = s->now;
    struct result *r = &pl->sums[pl->n++ % PENDING];
    r->ready = s->now + lpu_delay(s->a, OP_ABC);
    lpu_pass((int32_t *)r->v, act, in->x, in->y, in->flag & FLAG_UNSIGNED,
             (const uint8_t(*)[LPU_LANES])pl->array, pl->array_unsigned);
    if (in->y > in->x) s->count.macs += (int64_t)(in->y - in->x) * LPU_LANES;
    return 0;
}

static int run_sum(struct lpu_sim *s, const struct lpu_instr *in)
{
    int p = s->q - QUEUE_OUT, h = lpu_plane_hemisphere(p);
    const struct plane *pl = &s->plane[p];
    if (in->out >= 2 * LPU_STREAMS) return fault(s, "no such stream");
    for (int i = 1; i <= PENDING && i <= pl->n; i++) {
        const struct result *r = &pl->sums[(pl->n - i) % PENDING];
        if (r->ready == s->now) return put_quad(s, h, in->out, s->now + lpu_delay(s->a, OP_ACC), s->a->centre, r->v);
    }
    return fault(s, "no pass ends in this cycle");
}

static int run_sxm(struct lpu_sim *s, const struct lpu_instr *in)
{
    int h = s->q - QUEUE_SXM, width = in->flag & FLAG_BYTE ? 1 : LPU_QUAD, t = s->now + lpu_delay(s->a, in->op);
    if (in->a + width > 2 * LPU_STREAMS || in->out + width > 2 * LPU_STREAMS) return fault(s, "no such stream");
    if (in->op == OP_PERM ? in->row >= LPU_MAPS : in->row >= LPU_LANES) return fault(s, "no such lane or map");
    for (int i = 0; i < width; i++) {
        const uint8_t *v = stream_get(s, h, in->a + i, s->a->centre);
        if (!v) return fault(s, "nothing is on the stream");
        uint8_t *to = stream_put(s, h, in->out + i, t, s->a->centre);
        if (!to) return fault(s, "two values on one stream");
        if (in->op == OP_DIST)
            memset(to, v[in->row], LPU_LANES);
        else if (in->op == OP_ROT)
            memcpy(to, v + in->row, (size_t)(LPU_LANES - in->row)), memcpy(to + LPU_LANES - in->row, v, in->row);
        else
            for (int l = 0; l < LPU_LANES; l++) to[l] = v[s->map[in->row][l]];
    }
    return 0;
}

static int run_link(struct lpu_sim *s, const struct lpu_instr *in)
{
    int h = s->q - QUEUE_C2C;
    struct lpu_link *l = in->op == OP_SEND ? s->link_out : s->link_in;
    if (in->op == OP_DESKEW) return 0;
    if (!l) return fault(s, "no chip is at the end of this link");
    if (in->op == OP_RECEIVE) {
        if (in->out >= 2 * LPU_STREAMS) return fault(s, "no such stream");
        if (l->taken == l->n || l->cycle[l->taken] > s->start + s->now) return fault(s, "the vector has not arrived");
        uint8_t *to = stream_put(s, h, in->out, s->now + lpu_delay(s->a, OP_RECEIVE), s->a->centre);
        if (!to) return fault(s, "two values on one stream");
        memcpy(to, l->vector[l->taken++], LPU_LANES);
        return 0;
    }
    const uint8_t *v = in->a < 2 * LPU_STREAMS ? stream_get(s, h, in->a, s->a->centre) : NULL;
    if (!v) return fault(s, "nothing is on the stream");
    if (s->sent != NONE && s->now < s->sent + lpu_link_gap(s->a)) return fault(s, "the link is still busy");
    if (l->n == l->cap) {
        int cap = l->cap ? 2 * l->cap : 64;
        int64_t *c = realloc(l->cycle, (size_t)cap * sizeof *c);
        if (c) l->cycle = c;
        uint8_t(*p)[LPU_LANES] = c ? realloc(l->vector, (size_t)cap * sizeof *p) : NULL;
        if (!p) return err(s->e, ERR_MEMORY, "out of memory");
        l->vector = p;
        l->cap = cap;
    }
    l->cycle[l->n] = s->start + s->now + lpu_link_hop(s->a);
    memcpy(l->vector[l->n++], v, LPU_LANES);
    s->sent = s->now;
    return 0;
}

void lpu_sim_links(struct lpu_sim *s, struct lpu_link *in, struct lpu_link *out, int64_t start)
{
    s->link_in = in;
    s->link_out = out;
    s->start = start;
}

void lpu_link_finish(struct lpu_link *l)
{
    free(l->cycle), free(l->vector);
    *l = (struct lpu_link){0};
}

/* Operand i of the VXM into room (or where it lies); NULL: it is not there. */
static const uint32_t *vxm_operand(struct lpu_sim *s, const struct lpu_instr *in, int i, uint32_t *room)
{
    int c = i == 0 ? in->a : i == 1 ? in->b : in->c;
    if (c == ARG_IMM) {
        for (int l = 0; l < LPU_LANES; l++) room[l] = in->imm;
        return room;
    }
    if (c >= ARG_ALU) {
        if (c >= ARG_ALU + LPU_ALUS) return NULL;
        const struct alu *u = &s->alu[c - ARG_ALU];
        const struct result *best = NULL;
        for (int k = 1; k <= PENDING && k <= u->n; k++) {
            const struct result *r = &u->r[(u->n - k) % PENDING];
            if (r->ready <= s->now && (!best || r->ready > best->ready)) best = r;
        }
        return best ? best->v : NULL;
    }
    int h = c < LPU_STREAMS ? 0 : 1;
    if (in->flag & FLAG_BYTE << i) {
        const uint8_t *v = stream_get(s, h, c, 0);
        if (!v) return NULL;
        bool is_signed = in->flag & FLAG_SIGNED << i;
        for (int l = 0; l < LPU_LANES; l++) room[l] = is_signed ? (uint32_t)(int8_t)v[l] : v[l];
        return room;
    }
    const uint8_t *p[LPU_QUAD];
    for (int k = 0; k < LPU_QUAD; k++)
        if (c % LPU_STREAMS % LPU_QUAD || !(p[k] = stream_get(s, h, c + k, 0))) return NULL;
    join(room, p);
    return room;
}

static int run_vxm(struct lpu_sim *s, const struct lpu_instr *in)
{
    uint32_t room[3][LPU_LANES];
    const uint32_t *v[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3; i++) {
        if ((i == 0 ? in->a : i == 1 ? in->b : in->c) == ARG_NONE) continue;
        if (!(v[i] = vxm_operand(s, in, i, room[i]))) return fault(s, "an operand is not there");
    }
    struct alu *u = &s->alu[s->q - QUEUE_ALU];
    struct result *r = &u->r[u->n % PENDING];
    int ready = s->now + lpu_delay(s->a, in->op);
    for (int i = 0; i < 3; i++)
        if (v[i] == r->v) v[i] = memcpy(room[i], v[i], sizeof room[i]);
    s->trapped |= lpu_lanes(in, r->v, v[0], v[1], v[2]);
    r->ready = ready;
    u->n++;
    if (in->out == ARG_NONE) return 0;
    if (in->out >= 2 * OUT_BOTH) return fault(s, "no such stream");
    for (int both = 0; both <= (in->out >= OUT_BOTH); both++) {
        int c = (in->out % OUT_BOTH + both * LPU_STREAMS) % (2 * LPU_STREAMS), h = c < LPU_STREAMS ? 1 : 0, rc;
        if (in->flag & FLAG_OUT_BYTE) {
            uint8_t *to = stream_put(s, h, c, ready, 0);
            if (!to) return fault(s, "two values on one stream");
            for (int l = 0; l < LPU_LANES; l++) to[l] = (uint8_t)r->v[l];
        } else if ((rc = put_quad(s, h, c, ready, 0, r->v))) {
            return rc;
        }
    }
    return 0;
}

static int run_one(struct lpu_sim *s, const struct lpu_instr *in)
{
    s->in = in;
    if (!lpu_queue_takes(s->q, in->op)) return fault(s, "this queue does not take it");
    s->count.issues[in->op]++;
    s->count.busy[s->q]++;
    int end = s->now + lpu_delay(s->a, in->op);
    s->end = end > s->end ? end : s->end;
    switch (lpu_op_info[in->op].unit) {
    case UNIT_MEM:
    case UNIT_MEMW: return run_mem(s, in);
    case UNIT_LOAD: return run_load(s, in);
    case UNIT_PASS: return run_pass(s, in);
    case UNIT_OUT: return run_sum(s, in);
    case UNIT_SXM: return run_sxm(s, in);
    case UNIT_C2C: return run_link(s, in);
    default: return run_vxm(s, in);
    }
}

/* --- queues ------------------------------------------------------------------------------------------------- */

static void wait_until(struct lpu_sim *s, int q, int t)
{
    s->queue[q].due = t;
    s->queue[q].next = s->wheel[t % WHEEL];
    s->wheel[t % WHEEL] = q;
}

/* The words of queue q whose turn it is; false when its text has ended. */
static int step_queue(struct lpu_sim *s, const struct lpu_code *c, int q, bool *more)
{
    struct queue *k = &s->queue[q];
    s->q = q;
    *more = true;
    if (k->left > 0 && k->cur.op != OP_NOP) { /* a repeat */
        k->cur.row = (uint16_t)(k->cur.row + (k->cur.op == OP_LW ? LPU_LOAD : 1));
        k->left--;
        wait_until(s, q, s->now + 1);
        return run_one(s, &k->cur);
    }
    int wait = k->left;
    if (wait == 0) {
        if (k->pc == c->first[q + 1]) {
            *more = false;
            return 0;
        }
        const struct lpu_instr *in = &c->words[k->pc++];
        if (in->op == OP_REPEAT) {
            s->in = in;
            if (k->cur.op == OP_NOP || !in->x) return fault(s, "nothing to repeat");
            k->left = in->x;
            return step_queue(s, c, q, more);
        }
        k->cur = *in;
        if (in->op != OP_NOP) {
            wait_until(s, q, s->now + 1);
            return run_one(s, in);
        }
        wait = in->x;
    }
    int part = wait < WHEEL - 1 ? wait : WHEEL - 1; /* the wheel is this long */
    k->left = wait - part;
    wait_until(s, q, s->now + (part ? part : 1));
    return 0;
}

int lpu_sim_run(struct lpu_sim *s, const struct lpu_code *c, int *cycles, bool *trapped, struct err *e)
{
    unsigned long env = fpenv_set();
    int active = 0, rc = 0;
    s->e = e;
    s->end = 0;
    s->trapped = false;
    s->sent = NONE;
    if (s->link_out) s->link_out->n = s->link_out->taken = 0;
    for (int h = 0; h < 2; h++)
        for (int d = 0; d < 2; d++)
            for (int i = 0; i < LPU_STREAMS; i++)
                for (int j = 0; j < RING; j++) s->stream[h][d][i][j].stamp = INT32_MIN;
    for (int i = 0; i < LPU_ALUS; i++) s->alu[i].n = 0;
    for (int i = 0; i < LPU_PLANES; i++) s->plane[i].n = 0, s->plane[i].ready = s->plane[i].pass = NONE;
    for (int i = 0; i < LPU_SLICES; i++) s->read[i].cycle = s->write[i].cycle = NONE;
    for (int i = 0; i < WHEEL; i++) s->wheel[i] = NONE;
    for (int q = 0; q < LPU_QUEUES; q++) {
        s->queue[q] = (struct queue){.pc = c->first[q], .cur = {.op = OP_NOP}};
        if (c->first[q + 1] > c->first[q]) wait_until(s, q, 0), active++;
    }
    for (s->now = 0; active && !rc; s->now++) {
        int q = s->wheel[s->now % WHEEL];
        s->wheel[s->now % WHEEL] = NONE;
        while (q != NONE && !rc) {
            int next = s->queue[q].next;
            bool more;
            rc = step_queue(s, c, q, &more);
            active -= !more;
            q = next;
        }
    }
    fpenv_restore(env);
    if (rc) return rc;
    *cycles = s->end;
    *trapped = s->trapped;
    s->count.cycles += s->end;
    return 0;
}

const struct lpu_counters *lpu_sim_counters(const struct lpu_sim *s)
{
    return &s->count;
}

double lpu_sim_energy_pj(const struct lpu_arch *a, const struct lpu_counters *n, double part[5])
{
    double ops = 0, lanes = 0, rows = (double)(n->issues[OP_READ] + n->issues[OP_WRITE]);
    for (int i = 0; i < LPU_OPS; i++) {
        ops += (double)n->issues[i];
        if (lpu_op_info[i].unit >= UNIT_WIDE) lanes += (double)n->issues[i] * LPU_LANES;
    }
    part[0] = (double)n->macs * lpu_value(a, LPU_energy_mac_int8) + lanes * lpu_value(a, LPU_energy_alu_lane);
    part[1] = rows * LPU_LANES * lpu_value(a, LPU_energy_sram_byte);
    part[2] = (double)n->hops * LPU_LANES * lpu_value(a, LPU_energy_hop_byte);
    part[3] = ops * lpu_value(a, LPU_energy_instruction);
    part[4] = (double)n->issues[OP_SEND] * LPU_LANES * lpu_value(a, LPU_energy_link_byte);
    return part[0] + part[1] + part[2] + part[3] + part[4];
}
