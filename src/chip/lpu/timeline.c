/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeline: one token as trace events of Chrome, which Perfetto opens: a process for each chip, a track for
 * each unit, a bar for the issues of one part of a step that follow each other closely. Times are
 * microseconds at the chip's clock; slices of a hemisphere share a track for reads and one for writes. The
 * schedule is made again: a launch keeps its queues only.
 */
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/lpu.h"

enum { TRACK_MEM = 4, MERGE = 8 /* cycles between issues that still count as one piece of work */ };

/* Slices of a hemisphere share a track for reads and one for writes, others have one each. */
static int track_of(const struct lpu_arch *a, int queue)
{
    if (queue < QUEUE_WRITE) return lpu_hemisphere(a, queue - QUEUE_READ);
    if (queue < QUEUE_ALU) return 2 + lpu_hemisphere(a, queue - QUEUE_WRITE);
    return TRACK_MEM + queue - QUEUE_ALU;
}

static int by_track(const void *pa, const void *pb) /* lane holds the track */
{
    const struct lpu_timed *a = pa, *b = pb;
    if (a->patch_arg != b->patch_arg) return a->patch_arg < b->patch_arg ? -1 : 1;
    return (a->cycle > b->cycle) - (a->cycle < b->cycle);
}

static void name_tracks(int chip, struct buf *out, bool *first)
{
    static const char *const mem[TRACK_MEM] = {"mem west read", "mem east read", "mem west write", "mem east write"};
    for (int t = 0; t < TRACK_MEM + LPU_QUEUES - QUEUE_ALU; t++) {
        char name[24];
        if (t >= TRACK_MEM) lpu_queue_name(t - TRACK_MEM + QUEUE_ALU, name);
        buf_printf(
            out, "%s{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}",
            *first ? "" : ",\n", chip, t, t < TRACK_MEM ? mem[t] : name);
        *first = false;
    }
}

static int launch_timeline(const struct lpu *c, const struct lpu_launch *l, int64_t start, struct buf *out,
                           bool *first, struct err *e)
{
    struct lpu_schedule s;
    const struct lpu_group *groups = l->graph.groups;
    double us = 1 / lpu_value(&c->arch, LPU_chip_clock);
    int rc = lpu_schedule(&s, &c->arch, &l->graph, e);
    for (int i = 0; i < s.n && !rc; i++) s.list[i].patch_arg = track_of(&c->arch, s.list[i].queue);
    if (!rc && s.n) qsort(s.list, (size_t)s.n, sizeof *s.list, by_track);
    for (int i = 0, j; i < s.n && !rc; i = j) {
        const struct lpu_timed *k = &s.list[i];
        const struct lpu_group *g = &groups[k->group];
        int end = k->cycle + k->n, issues = k->n;
        for (j = i + 1; j < s.n; j++) {
            const struct lpu_timed *n = &s.list[j];
            if (n->patch_arg != k->patch_arg || n->cycle > end + MERGE || groups[n->group].what != g->what ||
                groups[n->group].step != g->step)
                break;
            if (n->cycle + n->n > end) end = n->cycle + n->n;
            issues += n->n;
        }
        buf_printf(
            out,
            "%s{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"name\":\"%s\",\"ts\":%.4f,\"dur\":%.4f,\"args\":{\"step\":%d,\"cycle\":%lld,\"issues\":%d}}",
            *first ? "" : ",\n", c->index, k->patch_arg, g->what, (double)(start + k->cycle) * us,
            (double)(end - k->cycle) * us, g->step, (long long)(start + k->cycle), issues);
        *first = false;
    }
    lpu_schedule_finish(&s);
    return rc;
}

int lpu_timeline(const struct lpu *c, struct buf *out, struct err *e)
{
    bool first = true;
    int rc = 0;
    buf_append_z(out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    for (; c && !rc; c = c->next) {
        const struct lpu_launch *l = &c->body[1];
        name_tracks(c->index, out, &first);
        buf_printf(out,
                   ",\n{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"lpu %d\"}}",
                   c->index, c->index);
        rc = launch_timeline(c, l, l->start, out, &first, e);
        if (!rc && !c->next) rc = launch_timeline(c, &c->head, l->start + l->code.cycles, out, &first, e);
    }
    buf_append_z(out, "\n]}\n");
    return rc;
}
