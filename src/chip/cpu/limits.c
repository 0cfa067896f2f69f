/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine could do, for rooflines: all workers read memory, each its own part of a working set of
 * the wanted size, multiply bytes on registers (kern/peak.h), and meet as after each step. The best of
 * several rounds counts, since other programs only make a round slower. A working set of the size of the
 * weights is what decoding reads for each token: where part of it stays in a cache, both the probe and the
 * product gain. Memory that other machines use as well may be half as fast a second later: cpu_read is for
 * probes between the steps that they are compared with.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "chip/cpu/cpu.h"
#include "kern/ahead.h"
#include "kern/peak.h"

enum {
    ROUNDS = 64,           /* of a few milliseconds each: the best is one that nobody disturbed */
    READ_BYTES = 16 << 20, /* a round reads at least as much, in several passes if need be */
    PEAK_ROUNDS = 1 << 19,
    MEETINGS = 1000, /* of a round */
    READ_MAX = 1 << 30,
    LINE = 64,
};

struct probe {
    struct cpu *c;
    char *data;
    size_t bytes;   /* of all workers */
    size_t ahead;   /* prefetch distance of the reader */
    int passes;
    peak_fn *peak;
    uint64_t ops[POOL_MAX];
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Every word, as a product does. */
static void read_share(void *arg, int worker)
{
    struct probe *p = arg;
    int begin, end;
    uint64_t sum = 0;
    pool_share((int)(p->bytes / LINE), worker, pool_size(p->c->pool), &begin, &end);
    for (int pass = 0; pass < p->passes; pass++) {
        for (int i = begin; i < end; i++) {
            uint64_t word[LINE / sizeof(uint64_t)];
            const char *at = p->data + (size_t)i * LINE;
            __builtin_prefetch(at + p->ahead); /* ahead 0: leave it to the machine */
            memcpy(word, at, LINE);
            for (size_t j = 0; j < sizeof word / sizeof *word; j++) sum += word[j];
        }
    }
    __asm__ volatile("" : : "r"(sum));
}

static void peak_share(void *arg, int worker)
{
    struct probe *p = arg;
    p->ops[worker] = p->peak(PEAK_ROUNDS);
}

static void meet(void *arg, int worker)
{
    struct probe *p = arg;
    (void)worker;
    for (int i = 0; i < MEETINGS; i++) pool_barrier(p->c->pool);
}

/* Seconds of the fastest round. */
static double fastest(struct probe *p, void (*fn)(void *, int))
{
    double best = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double t = now_s();
        pool_run(p->c->pool, fn, p);
        t = now_s() - t;
        if (r == 0 || t < best) best = t;
    }
    return best;
}

int cpu_limits(struct chip *chip, size_t bytes, struct chip_limits *out, struct err *e)
{
    static const size_t ahead[] = {0, 4096, 8192, 16384};
    struct cpu *c = (struct cpu *)chip;
    struct probe p = {.c = c, .bytes = (bytes + LINE - 1) / LINE * LINE};
    *out = (struct chip_limits){.workers = pool_size(c->pool), .unit = c->kern->name};
    if (p.bytes < LINE || p.bytes / LINE > INT32_MAX) return err(e, ERR_USAGE, "a probe of %zu bytes", bytes);
    p.data = mmap(NULL, p.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p.data == MAP_FAILED) return err(e, ERR_MEMORY, "out of memory for a probe of %zu MiB", bytes >> 20);
    madvise(p.data, p.bytes, MADV_HUGEPAGE); /* as the weights */
    memset(p.data, 1, p.bytes);
    p.passes = (int)(READ_BYTES / p.bytes) + 1;
    for (size_t i = 0; i < sizeof ahead / sizeof *ahead; i++) {
        p.ahead = ahead[i];
        double rate = (double)p.bytes * p.passes / fastest(&p, read_share);
        if (rate > out->read) out->read = rate;
    }
    munmap(p.data, p.bytes);
    if (out->workers > 1) out->meet = fastest(&p, meet) / MEETINGS;
    if ((p.peak = peak_of(c->kern->name))) {
        double s = fastest(&p, peak_share), ops = 0;
        for (int w = 0; w < out->workers; w++) ops += (double)p.ops[w];
        out->multiply = ops / s;
    }
    return 0;
}

size_t cpu_read(struct chip *chip, size_t bytes)
{
    struct cpu *c = (struct cpu *)chip;
    struct probe p = {.c = c,
                      .data = c->weights + c->read_at,
                      .bytes = bytes < READ_MAX ? bytes : READ_MAX,
                      .ahead = AHEAD,
                      .passes = 1};
    if (p.bytes > c->weights_bytes - c->read_at) p.bytes = c->weights_bytes - c->read_at;
    c->read_at = c->read_at + p.bytes < c->weights_bytes ? c->read_at + p.bytes : 0;
    if (p.bytes) pool_run(c->pool, read_share, &p);
    return p.bytes / LINE * LINE;
}
