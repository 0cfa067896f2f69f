/* SPDX-License-Identifier: Apache-2.0 */
/* See graph.h. */
#include "chip/lpu/graph.h"

#include <stdlib.h>
#include <string.h>
#include "kern/num.h"

void lpu_graph_finish(struct lpu_graph *g)
{
    free(g->nodes), free(g->groups);
    *g = (struct lpu_graph){0};
}

static void *grow(struct lpu_graph *g, void *p, int n, int *cap, size_t size)
{
    if (n < *cap || g->failed) return p;
    int want = *cap ? 2 * *cap : 1024;
    void *q = realloc(p, (size_t)want * size);
    if (!q) {
        g->failed = ERR_MEMORY;
        return p;
    }
    *cap = want;
    return q;
}

void lpu_graph_group(struct lpu_graph *g, enum lpu_group_kind kind, int step)
{
    g->groups = grow(g, g->groups, g->n_groups, &g->cap_groups, sizeof *g->groups);
    if (g->failed) return;
    g->groups[g->n_groups++] = (struct lpu_group){kind, g->n_nodes, 0, step, g->what};
}

int lpu_graph_node(struct lpu_graph *g, const struct lpu_node *n)
{
    g->nodes = grow(g, g->nodes, g->n_nodes, &g->cap_nodes, sizeof *g->nodes);
    if (g->failed) return 0;
    g->nodes[g->n_nodes++] = *n;
    return g->groups[g->n_groups - 1].n++;
}

struct lpu_in in_imm(uint32_t bits)
{
    return (struct lpu_in){.arg = {.kind = SRC_IMM}, .imm = bits};
}

struct lpu_in in_f32(float x)
{
    return in_imm(f32_bits(x));
}

struct lpu_in in_mem(int loc)
{
    return (struct lpu_in){.arg = {.kind = SRC_MEM, .v = loc}};
}

struct lpu_in in_byte(int loc, bool is_signed)
{
    return (struct lpu_in){.arg = {.kind = SRC_MEM, .v = loc, .byte = is_signed ? 2 : 1}};
}

struct lpu_in in_node(int node)
{
    return (struct lpu_in){.arg = {.kind = SRC_NODE, .v = node}};
}

struct lpu_in in_chain(int chain)
{
    return (struct lpu_in){.arg = {.kind = SRC_CHAIN, .v = chain}};
}

struct lpu_in in_pass(int plane, int act, int x, int y, bool is_unsigned)
{
    return (struct lpu_in){.arg = {.kind = SRC_PASS}, .pass = {plane, act, x, y, is_unsigned ? FLAG_UNSIGNED : 0}};
}

/* Two rows of one slice cannot be read in one cycle. */
static bool same_slices(const struct lpu_in *a, const struct lpu_in *b)
{
    if (a->arg.kind != SRC_MEM || b->arg.kind != SRC_MEM) return false;
    int sa = lpu_loc_slice(a->arg.v), sb = lpu_loc_slice(b->arg.v), na = a->arg.byte ? 1 : LPU_QUAD,
        nb = b->arg.byte ? 1 : LPU_QUAD;
    return sa < sb + nb && sb < sa + na;
}

static int append(struct lpu_graph *g, enum lpu_op op, const struct lpu_in *in, int x, int y, uint32_t imm)
{
    struct lpu_node n = {.op = (uint8_t)op, .alu = ARG_NONE, .x = (uint16_t)x, .y = (uint16_t)y, .imm = imm};
    for (int i = 0; i < 3; i++) {
        n.arg[i] = in[i].arg;
        if (in[i].arg.kind == SRC_IMM) n.imm = in[i].imm;
        if (in[i].arg.kind != SRC_PASS) continue;
        n.pass_plane = (uint8_t)in[i].pass.plane;
        n.pass_act = in[i].pass.act;
        n.pass_x = (uint16_t)in[i].pass.x;
        n.pass_y = (uint16_t)in[i].pass.y;
        n.pass_flag = (uint8_t)in[i].pass.flag;
    }
    return lpu_graph_node(g, &n);
}

static int append_move(struct lpu_graph *g, const struct lpu_in *from)
{
    struct lpu_in in[3] = {*from, IN0, IN0};
    return append(g, OP_MOV, in, 0, 0, 0);
}

int lpu_emit(struct lpu_graph *g, enum lpu_op op, struct lpu_in a, struct lpu_in b, struct lpu_in c)
{
    struct lpu_in in[3] = {a, b, c};
    bool have = a.arg.kind == SRC_IMM;
    uint32_t imm = a.imm;
    for (int i = 1; i < 3; i++) { /* one immediate; one row of a slice */
        bool is_imm = in[i].arg.kind == SRC_IMM, clash = is_imm && have && in[i].imm != imm;
        for (int j = 0; j < i; j++) clash |= same_slices(&in[i], &in[j]);
        if (clash) {
            in[i] = in_node(append_move(g, &in[i]));
        } else if (is_imm) {
            have = true;
            imm = in[i].imm;
        }
    }
    return append(g, op, in, 0, 0, 0);
}

int lpu_emit_lanes(struct lpu_graph *g, enum lpu_op op, struct lpu_in a, struct lpu_in b, int x, int y, uint32_t imm)
{
    struct lpu_in in[3] = {a, b, IN0};
    if (same_slices(&a, &b)) in[1] = in_node(append_move(g, &b));
    return append(g, op, in, x, y, imm);
}

struct lpu_node *lpu_last(struct lpu_graph *g)
{
    return g->failed || !g->n_nodes ? &g->nowhere : &g->nodes[g->n_nodes - 1];
}

void lpu_to(struct lpu_graph *g, int loc)
{
    struct lpu_node *n = lpu_last(g);
    if (g->failed) return;
    must(n->n_dst < GRAPH_DSTS && (n->n_dst == 0 || !n->dst_byte));
    n->dst[n->n_dst++] = loc;
}

void lpu_to_byte(struct lpu_graph *g, int loc)
{
    struct lpu_node *n = lpu_last(g);
    if (g->failed) return;
    must(n->n_dst < GRAPH_DSTS && (n->n_dst == 0 || n->dst_byte));
    n->dst_byte = 1;
    n->dst[n->n_dst++] = loc;
}

void lpu_to_chain(struct lpu_graph *g, int chain)
{
    lpu_last(g)->alu = (uint8_t)chain;
}
