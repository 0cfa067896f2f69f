/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report: what `tutti explain --chip lpu` says of the compiled launches: cycles, time, how busy each kind of
 * unit is, energy. Everything is counted from the words of the queues; what a step does is known before it
 * runs.
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
            if (u >= UNIT_WIDE && last->out != ARG_NONE)
                streams = (last->flag & FLAG_OUT_BYTE ? 1 : LPU_QUAD) * (last->out >= OUT_BOTH ? 2 : 1);
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
        buf_printf(out, "%-8s %-10s %8d %6.1f%% %9d %9d %9d\n", "", p->what, p->cycles,
                   100.0 * p->cycles / l->code.cycles, p->alu, p->passes, p->loads);
    }
}

static double share(const struct lpu_counters *n, int first, int end)
{
    double busy = 0;
    for (int q = first; q < end; q++) busy += (double)n->busy[q];
    return busy / ((double)n->cycles * (end - first));
}

static void print_chip(const struct lpu *c, int chunks, struct buf *out)
{
    const struct lpu_launch *b = &c->body[chunks];
    if (c->n_chips > 1)
        buf_printf(out, "chip %d:  steps %d..%d, begins at cycle %" PRId64 "; sends %d vectors\n", c->index,
                   c->first, c->end - 1, b->start, b->n_sent);
    buf_printf(out, "memory:  rows of weights in the slices of each plane %d %d %d %d of %d\n",
               c->place.wide[0], c->place.wide[1], c->place.wide[2], c->place.wide[3], c->arch.rows);
    buf_printf(out, "launch:  body %d cycles, %d issues", b->code.cycles, b->code.n_instr);
    if (!c->next) buf_printf(out, "; head %d cycles, %d issues", c->head.code.cycles, c->head.code.n_instr);
    buf_printf(out, " (up to %d tokens of context)\n", chunks * ATTN_CHUNK);
    print_trace("body:", b, out);
    if (!c->next) print_trace("head:", &c->head, out);
}

int64_t lpu_token_cycles(const struct lpu *c, int chunks)
{
    while (c->next) c = c->next;
    return c->body[chunks].start + c->body[chunks].code.cycles + c->head.code.cycles;
}

void lpu_cost(const struct lpu *c, struct chip_cost *out)
{
    static const struct {
        const char *what;
        int first, end;
    } units[] = {{"reads", QUEUE_READ, QUEUE_WRITE}, {"writes", QUEUE_WRITE, QUEUE_ALU},
                 {"ALUs", QUEUE_ALU, QUEUE_LOAD},    {"weight loads", QUEUE_LOAD, QUEUE_PASS},
                 {"passes", QUEUE_PASS, QUEUE_OUT},  {"sums", QUEUE_OUT, QUEUE_SXM},
                 {"SXM", QUEUE_SXM, QUEUE_C2C},      {"links", QUEUE_C2C, LPU_QUEUES}};
    static const char *const parts[] = {"arithmetic", "memory", "streams", "instructions", "links"};
    enum { UNITS = sizeof units / sizeof *units, PARTS = sizeof parts / sizeof *parts };
    _Static_assert((int)UNITS <= (int)CHIP_COST_PARTS && (int)PARTS < (int)CHIP_COST_PARTS, "parts of a cost");
    struct lpu_counters n = {0};
    double pj[PARTS];
    *out = (struct chip_cost){.chips = c->n_chips,
                              .context = c->shown * ATTN_CHUNK,
                              .cycles = lpu_token_cycles(c, c->shown),
                              .n_busy = UNITS,
                              .n_joule = PARTS + 1};
    for (const struct lpu *k = c; k; k = k->next) {
        count(&c->arch, &k->body[c->shown].code, &n);
        if (!k->next) count(&c->arch, &k->head.code, &n);
    }
    out->seconds = (double)out->cycles / (lpu_value(&c->arch, LPU_chip_clock) * 1e6);
    for (int i = 0; i < UNITS; i++)
        out->busy[i] = (struct chip_share){units[i].what, share(&n, units[i].first, units[i].end)};
    lpu_sim_energy_pj(&c->arch, &n, pj);
    for (int i = 0; i < PARTS; i++) out->joule[i] = (struct chip_share){parts[i], 1e-12 * pj[i]};
    out->joule[PARTS] =
        (struct chip_share){"leakage", lpu_value(&c->arch, LPU_energy_leakage) * out->seconds * c->n_chips};
}

static void print_shares(const char *title, const struct chip_share *s, int n, double scale, const char *unit,
                         struct buf *out)
{
    for (int i = 0; i < n; i++) buf_printf(out, "%s%s %.3g%s", i ? ", " : title, s[i].what, scale * s[i].value, unit);
}

void lpu_report(const struct lpu *c, struct buf *out)
{
    const struct lpu_arch *a = &c->arch;
    struct chip_cost n;
    double joule = 0;
    lpu_cost(c, &n);
    for (int i = 0; i < n.n_joule; i++) joule += n.joule[i].value;
    buf_printf(out, "chip:    lpu, %s", sheet_about(&a->sheet, "name"));
    if (c->n_chips > 1) buf_printf(out, ", %d in a line", c->n_chips);
    buf_printf(out, "; delays and energies are assumed ('tutti chips lpu')\ncontext: %d tokens at %d bits\n",
               c->max_chunks * ATTN_CHUNK, c->kv_bits);
    for (const struct lpu *k = c; k; k = k->next) print_chip(k, c->shown, out);
    buf_printf(out,
               "token:   %" PRId64 " cycles, %.1f us, %.0f tokens/s for one stream, one token at a time\n",
               n.cycles, n.seconds * 1e6, 1 / n.seconds);
    print_shares("busy:    ", n.busy, n.n_busy, 100, " %", out);
    buf_printf(out,
               " of the cycles in which a chip works\nenergy:  %.2f mJ per token at batch 1, one sequence: ",
               joule * 1e3);
    print_shares("", n.joule, n.n_joule, 1e3, "", out);
    buf_append_char(out, '\n');
}
