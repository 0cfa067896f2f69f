/* SPDX-License-Identifier: Apache-2.0 */
/* listing: what each pass of the compiler made, for people: `tutti explain --chip lpu --pass NAME`. Up to 128
 * tokens of context. */
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/lpu.h"

static void print_divide(const struct lpu *c, struct buf *out)
{
    const struct program *p = c->chip.program;
    double bytes = 0;
    for (int i = 0; i < p->n_weights; i++)
        if (c->mats[i].own) bytes += (double)c->mats[i].w->n * c->mats[i].w->k * c->mats[i].parts;
    buf_printf(out, "steps %d..%d of the body, layers %d..%d%s; %.1f MB of weights in the arrays' bytes\n",
               c->first, c->end - 1, p->steps[c->first].layer < 0 ? 0 : p->steps[c->first].layer,
               p->steps[c->end - 1].layer, c->next ? "" : ", and the head", 1e-6 * bytes);
    for (int b = 0; c->before && b < p->n_buffers; b++)
        if (lpu_crosses(p, b, c->first))
            buf_printf(out, "  receives buffer %d %s, %d floats\n", b, p->buffers[b].name,
                       p->buffers[b].width);
}

static void print_place(const struct lpu *c, struct buf *out)
{
    const struct program *p = c->chip.program;
    for (int i = 0; i < p->n_weights; i++) {
        const struct lpu_mat *m = &c->mats[i];
        if (!m->own) continue;
        buf_printf(out, "%.*s: %d x %d, %d tiles of %d outputs, %d slabs of %d inputs%s\n",
                   STR_ARG(m->w->t->name), m->w->n, m->w->k, m->n_tiles, m->out_lanes, m->n_slabs,
                   m->in_lanes, m->columns ? ", as columns" : "");
        for (int t = 0; t < m->n_tiles * m->parts * m->n_slabs; t++)
            buf_printf(out, "  tile %d slab %d part %d: plane %d rows %d..\n", t / m->n_slabs / m->parts,
                       t % m->n_slabs, t / m->n_slabs % m->parts, lpu_plane_at(&c->arch, m->at[t]),
                       lpu_loc_row(m->at[t]));
    }
    for (int b = 0; b < p->n_buffers; b++)
        for (int v = 0; v < c->buffers[b].n_vec; v++)
            if (c->buffers[b].at[v] >= 0)
                buf_printf(out, "buffer %d %s, vector %d: slices %d.. row %d\n", b, p->buffers[b].name, v,
                           lpu_loc_slice(c->buffers[b].at[v]), lpu_loc_row(c->buffers[b].at[v]));
}

static void print_graph(const struct lpu_graph *g, struct buf *out)
{
    static const char *const kinds[] = {"vxm", "sxm", "install", "sum", "send", "receive"};
    for (int i = 0; i < g->n_groups; i++) {
        const struct lpu_group *k = &g->groups[i];
        buf_printf(out, "group %d, step %d, %s, %s:", i, k->step, k->what, kinds[k->kind]);
        for (int j = 0; j < k->n; j++) buf_printf(out, " %s", lpu_op_info[g->nodes[k->first + j].op].mnemonic);
        buf_append_char(out, '\n');
    }
}

static int by_cycle(const void *pa, const void *pb)
{
    const struct lpu_timed *a = pa, *b = pb;
    if (a->cycle != b->cycle) return a->cycle < b->cycle ? -1 : 1;
    return (a->queue > b->queue) - (a->queue < b->queue);
}

static void print_issue(int64_t cycle, int queue, int n, const struct lpu_instr *in, struct buf *out)
{
    char unit[24];
    lpu_queue_name(queue, unit);
    buf_printf(out, "%8lld %-14s ", (long long)cycle, unit);
    lpu_instr_print(in, out);
    if (n > 1) buf_printf(out, ", %d times", n);
}

static int print_schedule(const struct lpu *c, const struct lpu_graph *g, struct buf *out, struct err *e)
{
    struct lpu_schedule s;
    int rc = lpu_schedule(&s, &c->arch, g, e);
    if (!rc && s.n) qsort(s.list, (size_t)s.n, sizeof *s.list, by_cycle);
    for (int i = 0; i < s.n && !rc; i++) {
        print_issue(s.list[i].cycle, s.list[i].queue, s.list[i].n, &s.list[i].in, out);
        buf_printf(out, "  ; group %d, %s\n", s.list[i].group, g->groups[s.list[i].group].what);
    }
    lpu_schedule_finish(&s);
    return rc;
}

static void print_queues(const struct lpu_code *k, struct buf *out)
{
    for (int q = 0; q < LPU_QUEUES; q++)
        for (int w = k->first[q]; w < k->first[q + 1]; w++)
            print_issue(w - k->first[q], q, 1, &k->words[w], out), buf_append_char(out, '\n');
}

/* What the verifier compared: it passed, or there would be no launch. */
static void print_verify(const struct lpu *c, const struct lpu_launch *l, struct buf *out)
{
    int rows = 0, links = l->n_sent + l->n_arrive;
    uint8_t *seen = calloc((size_t)c->arch.slices * LPU_ROWS, 1);
    for (int i = 0; seen && i < l->graph.n_nodes; i++) {
        const struct lpu_node *n = &l->graph.nodes[i];
        for (int j = 0; j < n->n_dst; j++)
            for (int k = 0; k < (n->dst_byte ? 1 : LPU_QUAD); k++)
                rows += !seen[n->dst[j] + k * LPU_ROWS], seen[n->dst[j] + k * LPU_ROWS] = 1;
    }
    free(seen);
    buf_printf(
        out,
        "%d issues in %d cycles, checked on symbols against %d operations: every operand on its stream, port, bank and latch; %d rows end as the graph says; %d vectors of links\n",
        l->code.n_instr, l->code.cycles, l->graph.n_nodes, rows, links);
}

int lpu_print_pass(const struct lpu *c, const char *pass, struct buf *out, struct err *e)
{
    static const char *const names[] = {"divide", "place", "map", "schedule", "queues", "verify"};
    enum { DIVIDE, PLACE, MAP, SCHEDULE, QUEUES, VERIFY, PASSES };
    int which = 0;
    int rc = 0;
    while (which < PASSES && strcmp(pass, names[which]) != 0) which++;
    if (which == PASSES)
        return err(e, ERR_USAGE, "pass '%s': expected divide, place, map, schedule, queues or verify", pass);
    for (; c && !rc; c = c->next)
        for (int head = 0; head <= !c->next && !rc; head++) {
            const struct lpu_launch *l = head ? &c->head : &c->body[1];
            if (head && which <= PLACE) break;
            buf_printf(out, "chip %d%s\n", c->index, which <= PLACE ? "" : head ? ", head" : ", body");
            switch (which) {
            case DIVIDE: print_divide(c, out); break;
            case PLACE: print_place(c, out); break;
            case MAP: print_graph(&l->graph, out); break;
            case SCHEDULE: rc = print_schedule(c, &l->graph, out, e); break;
            case QUEUES: print_queues(&l->code, out); break;
            default: print_verify(c, l, out);
            }
        }
    return rc;
}
