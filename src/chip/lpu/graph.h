/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph: what the mapping asks of the chip, before anybody says when: unit operations on rows of memory, in
 * program order.
 *
 * A node is one instruction of the VXM or SXM with where its operands come from and where its result goes, or
 * half the installation of a weight tile: loading may be asked for long before the array is free. Nodes stand
 * in groups: inside a group results pass from ALU to ALU; between groups they pass through memory, or through
 * a chain: a name for a value that stays in an ALU until its last reader. The meaning of a graph is that of
 * its nodes one after the other; the scheduler may only find times for them.
 *
 * A location is slice * 8192 + row; a 32-bit vector takes the same row of four neighbouring slices. Rows that
 * depend on the token, its position or its page of keys are patched into the queues before cycle 0 of a step;
 * the graph has them for token 0 and page = chunk.
 */
#ifndef TUTTI_CHIP_LPU_GRAPH_H
#define TUTTI_CHIP_LPU_GRAPH_H

#include "chip/lpu/isa.h"

enum lpu_arg_kind { SRC_NONE, SRC_IMM, SRC_NODE, SRC_CHAIN, SRC_MEM, SRC_PASS };

enum lpu_patch {
    PATCH_NONE,
    PATCH_PAGE,       /* row += (page[arg / 65536] - arg / 65536) * (arg % 65536) */
    PATCH_SLOT,       /* KV write: only in slice slot % 16, row as PATCH_PAGE, + slot / 16 */
    PATCH_SLOT_LANES, /* lanes x..y = slot .. slot + 1 */
    PATCH_LAST_LANE,  /* y = last visible key of the chunk + 1 */
    PATCH_FIRST_LANE, /* x = first visible key of the chunk: lpu_first_lane; 0 if it has none */
    PATCH_WINDOW,     /* both */
    PATCH_ANY_KEY,    /* all lanes if the chunk has a visible key, else none */
    PATCH_TOKEN_CODES, /* embedding: slab arg % TOKEN_PART of byte plane arg / TOKEN_PART, only in the slice that holds it */
    PATCH_TOKEN_SIDE,  /* embedding: the operand comes from the hemisphere that holds the token */
    PATCH_TOKEN_SCALE, /* row = that of the token's tile */
    PATCH_TOKEN_LANE,  /* lane = the token's in its tile */
};

enum { TOKEN_PART = 4096 };

struct lpu_arg {
    uint8_t kind, patch;
    uint8_t byte;    /* SRC_MEM: 0 four streams, 1 unsigned byte, 2 signed byte */
    int32_t v;       /* node in the group, chain, location */
    int32_t patch_arg;
};

enum { GRAPH_DSTS = 3, LPU_CHAINS = 64 };

struct lpu_node {
    uint8_t op, n_dst;
    uint8_t alu;      /* VXM: chain that takes the result, or ARG_NONE; LW: plane */
    uint8_t flag;     /* of the instruction, except byte flags, which follow from args */
    uint8_t dst_byte; /* destinations are single rows */
    uint8_t patch;    /* of lanes */
    int32_t patch_arg;
    uint8_t pass_plane, pass_flag;
    uint16_t x, y, row;
    uint16_t pass_x, pass_y;
    uint32_t imm;
    struct lpu_arg arg[3];
    int32_t dst[GRAPH_DSTS];
    uint8_t dst_patch;     /* of all destinations */
    int32_t dst_patch_arg;
    int32_t pass_act;      /* location of the activation row */
};

enum lpu_group_kind {
    GROUP_VXM,
    GROUP_SXM,
    GROUP_INSTALL /* LW: a tile into the weight buffer; IW: from there into the array */,
    GROUP_SUM /* sums of a pass to a row of its hemisphere */,
    GROUP_SEND,
    GROUP_RECEIVE /* a 32-bit vector, row by row */
};

struct lpu_group {
    enum lpu_group_kind kind;
    int first, n;
    int step;          /* program step, for listings and timelines */
    const char *what;  /* part of the step: a fixed string */
};

struct lpu_graph {
    struct lpu_node *nodes;
    struct lpu_group *groups;
    int n_nodes, n_groups, cap_nodes, cap_groups;
    int failed;              /* ERR_MEMORY */
    const char *what;        /* of the groups that come */
    struct lpu_node nowhere; /* what lpu_last gives after that */
};

void lpu_graph_finish(struct lpu_graph *g);
/* The next node goes into a new group. */
void lpu_graph_group(struct lpu_graph *g, enum lpu_group_kind kind, int step);
/* Appends a node; its index in the group. */
int lpu_graph_node(struct lpu_graph *g, const struct lpu_node *n);

static inline int lpu_loc(int slice, int row)
{
    return slice * LPU_ROWS + row;
}

static inline int lpu_loc_slice(int loc)
{
    return loc / LPU_ROWS;
}

static inline int lpu_loc_row(int loc)
{
    return loc % LPU_ROWS;
}

/* First key that a token sees in a chunk that a window cuts; arg: 128 for each chunk behind it, less the
 * window. 128 or more: none. */
static inline int lpu_first_lane(int arg, int slot)
{
    return slot + 1 + arg < 0 ? 0 : slot + 1 + arg;
}

/* --- building VXM groups: operands and operations ------------------------------------------------------- */

struct lpu_in { /* an operand */
    struct lpu_arg arg;
    uint32_t imm;
    struct lpu_pass {
        int plane, act, x, y, flag;
    } pass;
};

struct lpu_in in_imm(uint32_t bits);
struct lpu_in in_f32(float x);
struct lpu_in in_mem(int loc);               /* four streams */
struct lpu_in in_byte(int loc, bool is_signed);
struct lpu_in in_node(int node);
struct lpu_in in_chain(int chain);
struct lpu_in in_pass(int plane, int act, int x, int y, bool is_unsigned);
/* Appends an operation; operands that cannot be read together are moved first. */
int lpu_emit(struct lpu_graph *g, enum lpu_op op, struct lpu_in a, struct lpu_in b, struct lpu_in c);
int lpu_emit_lanes(struct lpu_graph *g, enum lpu_op op, struct lpu_in a, struct lpu_in b, int x, int y, uint32_t imm);
struct lpu_node *lpu_last(struct lpu_graph *g);
void lpu_to(struct lpu_graph *g, int loc);      /* the last node also goes to memory */
void lpu_to_byte(struct lpu_graph *g, int loc);
void lpu_to_chain(struct lpu_graph *g, int chain);
#define IN0 ((struct lpu_in){.imm = 0})

#endif
