/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lpu: the back end's parts, in the order in which a program passes through them. doc/lpu.md tells it at
 * length.
 *
 *   divide   (partition.c)     steps to chips, if several share the model
 *   place    (place.c)         weights, constants, cache and buffers get slices and rows; weights are written
 *                              there
 *   map      (map.c, map_*.c)  steps of the program -> unit operations (graph.h)
 *   schedule, queues           (sched.c, queue.c; code.h)
 *   verify   (verify.c)        once per compiled launch
 *   step     (lpu.c)           patch the queues, fill in the token's inputs, run (sim.c), read the logits
 *
 * A launch handles one token: its body (embedding to the last layer; one compiled form per number of 128-key
 * chunks) and, if its logits are wanted, its head.
 *
 * How vectors lie: a buffer of width n is cut into vectors of `lanes` elements (320, or whole heads where a
 * buffer holds heads); unused lanes are zero. Floats take a row of four slices, codes a row of one in each
 * hemisphere.
 */
#ifndef TUTTI_CHIP_LPU_LPU_H
#define TUTTI_CHIP_LPU_LPU_H

#include "chip/chip.h"
#include "chip/lpu/code.h"
#include "chip/lpu/sim.h"
#include "kern/rope.h"

enum { LPU_QUADS = 6, LPU_KV_ARRAYS = 4 };
enum {
    LPU_MAP_FIRST,
    LPU_MAP_SECOND,
    LPU_MAP_XOR
}; /* SXM maps: members of a pair; from XOR on lane l takes l ^ 1, 2, 4 ... */

struct lpu_mat {
    const struct weight *w;
    enum act_tier tier;
    int out_lanes, in_lanes, n_tiles, n_slabs;
    bool columns;    /* vectors are rows of the table: it serves the embedding, too */
    bool own;        /* it lies on this chip */
    int parts;       /* 1, or 2 byte planes (W16): low ones one plane further */
    bool merged;     /* the sub-scales are multiplied into the codes: N4, whose products fit a byte */
    int *at;         /* [tile][part][slab] location of vector 0; vector i is i % 16 slices and i / 16 rows on */
    int spans, subs; /* scales and integer sub-scales per output */
    int *scale, *offset; /* [tile][span] locations; offset NULL if the type has none */
    int *sub, *min;      /* [tile][sub] */
};

struct lpu_codes { /* a quantised buffer */
    enum act_tier tier;
    int k, lanes, n_vec;
    bool sums;
    int *act[2][2]; /* [hemisphere][low, high plane] -> [n_vec] locations of rows */
    int *d;         /* [group] scale in all lanes */
    int *sum;       /* A8/32: fl(float(S) d); A8/256: minus the sum of each sub-block; in all lanes */
    int sum_size;   /* codes of a sum */
};

struct lpu_buffer {
    int lanes, n_vec;
    int *at; /* [n_vec] locations, floats */
    struct lpu_codes codes;
};

struct lpu_kv { /* keys and values of one layer and slab of heads: location of page 0 */
    int row[LPU_KV_ARRAYS]; /* K high, K low, V high, V low plane (8-bit: K, V in the high ones) */
    int plane[LPU_KV_ARRAYS];
    int *dk, *dv;           /* [heads of the slab] 32-bit vectors, lanes = keys */
};

struct lpu_place { /* what is taken */
    int wide[LPU_PLANES];        /* rows of the 16 slices of each plane */
    int constants[LPU_QUADS];    /* rows of each quad from below */
    int *free[LPU_QUADS], n_free[LPU_QUADS]; /* rows of the quads for buffers; a stack */
    int high[LPU_QUADS];         /* rows in the order of the stack: from here on no buffer of the program has any */
    int side;                    /* hemisphere of the next buffer that may be in either */
};

enum { LPU_PARTS = 32 };
struct lpu_trace { /* of a launch, by kinds of work; the cycles add up to the launch's */
    struct lpu_part {
        const char *what;
        int cycles;              /* by which it delays the end */
        int alu, passes, loads;  /* issues of VXM, passes, cycles of weight loads */
    } part[LPU_PARTS];
    int n;
};

struct lpu_launch { /* compiled */
    struct lpu_graph graph;
    struct lpu_code code;
    struct lpu_trace trace;
    int64_t start;   /* cycle 0 in the time that all chips have in common: 0 is that of the first chip's body */
    int *sent, n_sent;       /* own cycles of what goes to the next chip */
    int *arrive, n_arrive;   /* own cycles from which the vectors of the chip before can be taken */
    bool ready;
};

struct lpu { /* one chip; the first of a line is the one that callers know */
    struct chip chip;
    struct lpu *next;            /* chip of the line, or NULL */
    struct lpu *before;
    int index, n_chips;
    int first, end;              /* steps of the body that it runs; the last one runs the head, too */
    struct lpu_link link;        /* to the next chip */
    struct lpu_arch arch;
    struct lpu_sim *sim;
    struct lpu_place place;
    struct lpu_mat *mats;        /* [n_weights] */
    struct lpu_buffer *buffers;  /* [n_buffers] */
    int **vectors;               /* [n_vectors] -> [n_vec] locations */
    int kv_heads, n_kv;          /* heads in a slab; slabs of a layer */
    struct lpu_kv *kv;           /* [layer][slab] */
    int kv_pages, kv_rows;       /* pages that fit; rows of a page in one array: step from page to page */
    int kv_scale_step;
    int kv_bits;                 /* 16 or 8 */
    int turn_cos, turn_sin;      /* rotation of this token, as multipliers of both members of a pair */
    int sign[LPU_MAPS];          /* -1 in lanes with bit i, else 1 (8-bit cache) */
    int table;                   /* weight that serves the embedding */
    int *tile_plane, *tile_row[2]; /* of the table, by byte plane */
    struct rope *rope;
    int max_chunks;
    struct lpu_launch *body;     /* [max_chunks + 1], by number of chunks */
    struct lpu_launch head;
    struct lpu_params params;
    int32_t *pages;
    float *logits;               /* [n_vocab] */
    /* line_cycles: from the first chip's cycle 0 to the end of the last one, of all tokens */
    int64_t tokens, line_cycles;
    double seconds, core_seconds; /* in which they were simulated, by the wall and of processor time */
    int shown;                   /* chunks of keys of the body that explain tells of */
    struct arena arena;
};

/* Parameters of the chip's next run of a launch, with what the launch expects of the links. */
static inline struct lpu_params lpu_params_of(const struct lpu *c, const struct lpu_launch *l)
{
    struct lpu_params p = c->params;
    p.arrive = l->arrive, p.n_arrive = l->n_arrive;
    p.sent = l->sent, p.n_sent = l->n_sent;
    return p;
}

/* First slices of a quad of work slices, three in each hemisphere, and of the 16 wide slices of a plane. */
static inline int lpu_quad_slice(const struct lpu_arch *a, int quad)
{
    return quad / 3 * a->half + quad % 3 * LPU_QUAD;
}

static inline int lpu_plane_slice(const struct lpu_arch *a, int plane)
{
    return lpu_plane_hemisphere(plane) * a->half + a->half - a->wide + plane % 2 * LPU_LOAD;
}

static inline int lpu_plane_at(const struct lpu_arch *a, int loc) /* whose slices a tile lies in */
{
    int slice = lpu_loc_slice(loc), h = lpu_hemisphere(a, slice);
    return 2 * h + (slice - h * a->half - (a->half - a->wide)) / LPU_LOAD;
}

/* lpu.c: a graph becomes the queues of its launch, verified; chunks 0: without links. */
int lpu_compile(struct lpu *c, struct lpu_launch *l, int chunks, struct err *e);
void lpu_launch_finish(struct lpu_launch *l);

/* lpu.c: the bodies of the whole line for a number of chunks, compiled if they are not yet. */
int lpu_ready(struct lpu *c, int chunks, struct err *e);

/* lpu.c: patches a launch for c->params and runs it. */
int lpu_run(struct lpu *c, struct lpu_launch *l, bool *trapped, struct err *e);

/* place.c */
int lpu_place_all(struct lpu *c, struct err *e); /* without a sim: only whether all fits */
int lpu_place_weights(struct lpu *c, const struct chip_options *opt, struct err *e); /* after it: writes them there */
/* a row of a quad for a buffer; -1: none left; hemisphere -1: either */
int lpu_take_vector(struct lpu *c, int hemisphere);
void lpu_give_vector(struct lpu *c, int loc);
int lpu_lanes_of(const struct lpu *c, int buffer);

enum { LPU_EXPS = 16, LPU_EXP_ROWS = 5 };

/* partition.c: body steps cut[i] .. cut[i + 1] - 1 are those of chip i of n. */
enum { LPU_CHIPS_MAX = 64 };
int lpu_partition(const struct program *p, int n, int *cut, struct err *e);
/* goes from the chip before the cut to the one behind it */
bool lpu_crosses(const struct program *p, int buffer, int cut);
static inline bool lpu_has_step(const struct lpu *c, int i)
{
    return (i >= c->first && i < c->end) || (i >= c->chip.program->n_body && !c->next);
}

/* map.c: one graph per launch. chunks: 128-key chunks that the token sees. */
struct lpu_mapper {
    struct lpu *c;
    struct lpu_graph *g;
    int step, chunks;
    int *scratch, n_scratch, cap_scratch; /* vectors of the step in hand */
    int exp[LPU_EXPS][LPU_EXP_ROWS], n_exp; /* of its exponentials, in turn */
    struct err *e;
    int rc;
};
int lpu_map_body(struct lpu *c, struct lpu_graph *g, int chunks, struct err *e);
int lpu_map_head(struct lpu *c, struct lpu_graph *g, struct err *e);
void lpu_map_tables(struct lpu *c);         /* SXM maps of this model */
void lpu_map_turn(struct lpu *c, int pos);  /* the host's part of a step: the rotation of its position */
int lpu_scratch(struct lpu_mapper *m, int hemisphere); /* a vector until the end of the step */
void lpu_group(struct lpu_mapper *m);                  /* begins a VXM group */
/* One SXM operation: dst = op(src), both in the same hemisphere; byte: one row. */
void lpu_sxm(struct lpu_mapper *m, enum lpu_op op, int src, int dst, int lane, bool byte, enum lpu_patch lane_patch);
int lpu_spread_lane(struct lpu_mapper *m, int node, int lane); /* one lane of a value of the group, to all lanes */
/* exp32 of kern/mathf.h as operations; begins in the group in hand, ends in a new one, which has the result. */
int lpu_exp(struct lpu_mapper *m, struct lpu_in x);
/* n vectors of a tile at loc into the plane's weight buffer, and what is there into its array when the passes
 * so far are over. */
void lpu_load(struct lpu_mapper *m, int plane, int loc, int n, int flag, int patch_arg);
void lpu_install(struct lpu_mapper *m, int plane, bool is_unsigned);

void lpu_map_matmul(struct lpu_mapper *m, const struct step *s);
void lpu_map_store(struct lpu_mapper *m, const struct step *s);
void lpu_map_attend(struct lpu_mapper *m, const struct step *s);
void lpu_map_quant(struct lpu_mapper *m, const struct lpu_codes *q, const int *src);

/* map_batch.c: many rows times the first matrix of a program, which is alone on the chip (product.h). */
struct lpu_batch {
    int rows;
    int first[LPU_QUADS];  /* rows of each quad that nothing else has, in both banks from here on */
};
int lpu_batch_init(struct lpu_batch *b, const struct lpu *c, int rows, struct err *e); /* ERR_UNSUPPORTED, ERR_LIMIT */
/* where vector v of an input row lies */
int lpu_batch_x(const struct lpu_batch *b, const struct lpu *c, int v, int row);
int lpu_batch_y(const struct lpu_batch *b, const struct lpu *c, int tile, int row); /* and the outputs of a tile */
int lpu_map_batch_quant(struct lpu *c, const struct lpu_batch *b, struct lpu_graph *g, struct err *e);
int lpu_map_batch(struct lpu *c, const struct lpu_batch *b, struct lpu_graph *g, struct err *e);

/* verify.c: the queues, patched for p, compute what the graph says for p; ERR_INTERNAL and the first fault if not. */
int lpu_verify(const struct lpu_arch *a, const struct lpu_graph *g, const struct lpu_code *c,
               const struct lpu_params *p, struct err *e);

/* trace.c */
int lpu_trace(struct lpu_trace *t, const struct lpu_arch *a, const struct lpu_graph *g,
              const struct lpu_schedule *s, struct err *e);

/* timeline.c, listing.c */
int lpu_timeline(const struct lpu *c, struct buf *out, struct err *e);
int lpu_print_pass(const struct lpu *c, const char *pass, struct buf *out, struct err *e);

/* report.c: cycles, time, use of units and energy of a token, with c->shown chunks of keys; and as text. */
void lpu_cost(const struct lpu *c, struct chip_cost *out);
void lpu_report(const struct lpu *c, struct buf *out);
int64_t lpu_token_cycles(const struct lpu *c, int chunks); /* of the whole line, with logits */

#endif
