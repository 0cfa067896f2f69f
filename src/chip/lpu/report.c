/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report: what `tutti explain --chip lpu` says of the compiled launches: cycles, time, how busy each kind of unit is, energy.
 * Everything is counted from the words of the queues; what a step does is known before it runs.
 */
#include <inttypes.h>
#include "chip/lpu/lpu.h"

static void count(const struct lpu_arch *a, const struct lpu_code *c, struct lpu_counters *n)
{
    for (int q = 0; q < LPU_QUEUES; q++) {
        const struct lpu_instr *last = NULL;
        for (int w = c->first[q]; w < c->first[q + 1]; w++) {
            const struct lpu_instr *in = &c->words[w];
            int issues = in->op == OP_REPEAT ? in->x : 1, streams;
            if (in->op == OP_NOP) continue;
            if (in->op != OP_REPEAT) last = in;
            if (!last) continue;
            enum lpu_unit u = lpu_op_info[last->op].unit;
            n->issues[last->op] += issues;
            n->busy[q] += issues;
            if (last->op == OP_ABC) n->macs += (int64_t)issues * (last->y - last->x) * LPU_LANES;
            streams = u == UNIT_MEM ? 1 : u == UNIT_OUT || u == UNIT_SXM ? LPU_QUAD : 0;
            if (u >= UNIT_WIDE && last->out != ARG_NONE) streams = (last->flag & FLAG_OUT_BYTE ? 1 : LPU_QUAD) * (last->out >= OUT_BOTH ? 2 : 1);
            n->hops += (int64_t)issues * streams * a->centre;
        }
    }
    n->cycles += c->cycles;
}

static void print_trace(const char *name, const struct lpu_launch *l, struct buf *out)
{
    buf_printf(out, "%-8s %-10s %8s %7s %9s %9s %9s\n", name, "part", "cycles", "share", "ALU ops", "passes", "loads");
    for (int i = 0; i < l->trace.n; i++) {
        const struct lpu_part *p = &l->trace.part[i];
        buf_printf(out, "%-8s %-10s %8d %6.1f%% %9d %9d %9d\n", "", p->what, p->cycles, 100.0 * p->cycles / l->code.cycles, p->alu, p->passes, p->loads);
    }
}

static double share(const struct lpu_counters *n, int first, int end)
{
    double busy = 0;
    for (int q = first; q < end; q++) busy += (double)n->busy[q];
    return 100 * busy / ((double)n->cycles * (end - first));
}

static void print_chip(const struct lpu *c, struct buf *out)
{
    const struct lpu_launch *b = &c->body[1];
    if (c->n_chips > 1) buf_printf(out, "chip %d:  steps %d..%d, begins at cycle %" PRId64 "; sends %d vectors\n", c->index, c->first, c->end - 1, b->start, b->n_sent);
    buf_printf(out, "memory:  rows of weights in the slices of each plane %d %d %d %d of %d\n", c->place.wide[0], c->place.wide[1], c->place.wide[2],
               c->place.wide[3], c->arch.rows);
    buf_printf(out, "launch:  body %d cycles, %d issues", b->code.cycles, b->code.n_instr);
    if (!c->next) buf_printf(out, "; head %d cycles, %d issues", c->head.code.cycles, c->head.code.n_instr);
    buf_printf(out, " (up to %d tokens of context)\n", ATTN_CHUNK);
    print_trace("body:", b, out);
    if (!c->next) print_trace("head:", &c->head, out);
}

int64_t lpu_token_cycles(const struct lpu *c, int chunks)
{
    while (c->next) c = c->next;
    return c->body[chunks].start + c->body[chunks].code.cycles + c->head.code.cycles;
}

void lpu_report(const struct lpu *c, struct buf *out)
{
    const struct lpu_arch *a = &c->arch;
    struct lpu_counters n = {0};
    double part[5], hz = lpu_value(a, LPU_chip_clock) * 1e6, s = (double)lpu_token_cycles(c, 1) / hz;
    buf_printf(out, "chip:    lpu, %s", sheet_about(&a->sheet, "name"));
    if (c->n_chips > 1) buf_printf(out, ", %d in a line", c->n_chips);
    buf_printf(out, "; delays and energies are assumed ('tutti chips lpu')\ncontext: %d tokens at %d bits\n", c->max_chunks * ATTN_CHUNK, c->kv_bits);
    for (const struct lpu *k = c; k; k = k->next) {
        print_chip(k, out);
        count(a, &k->body[1].code, &n);
        if (!k->next) count(a, &k->head.code, &n);
    }
    double pj = lpu_sim_energy_pj(a, &n, part), leak = lpu_value(a, LPU_energy_leakage) * s * c->n_chips;
    buf_printf(out, "token:   %" PRId64 " cycles, %.1f us, %.0f tokens/s for one stream, one token at a time\n", lpu_token_cycles(c, 1), s * 1e6, 1 / s);
    buf_printf(out, "busy:    reads %.1f %%, writes %.1f %%, ALUs %.1f %%, weight loads %.1f %%, passes %.1f %%, SXM %.1f %% of the cycles in which a chip works\n",
               share(&n, QUEUE_READ, QUEUE_WRITE), share(&n, QUEUE_WRITE, QUEUE_ALU), share(&n, QUEUE_ALU, QUEUE_LOAD), share(&n, QUEUE_LOAD, QUEUE_PASS),
               share(&n, QUEUE_PASS, QUEUE_OUT), share(&n, QUEUE_SXM, QUEUE_C2C));
    buf_printf(out, "energy:  %.2f mJ per token at batch 1: arithmetic %.2f, memory %.2f, streams %.2f, instructions %.2f, links %.3f, leakage %.2f\n",
               pj * 1e-9 + leak * 1e3, part[0] * 1e-9, part[1] * 1e-9, part[2] * 1e-9, part[3] * 1e-9, part[4] * 1e-9, leak * 1e3);
}
