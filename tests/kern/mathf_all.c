/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mathf_all [-j threads] [-s stride] [-f function]: runs the elementary functions of kern/mathf.h over fp32.
 *
 * Every bit pattern u = 0, stride, 2*stride ... below 2^32 that is not a NaN goes through each function
 * (stride 1: all inputs; stride 4099 with a window around every edge: the quick subset of `make check`).
 * Inside a function's domain the result is compared with libm in double: an oracle here, never a
 * definition. Printed per function: inputs, largest error and where, breaks of monotonicity, and a hash
 * of all outputs, which must be the same on every compiler, level and instruction set. The hash is a sum
 * over inputs of a 64-bit mix of (input, output), so it does not depend on the order or the threads.
 * Every block runs a second time with flush-to-zero on, which must change nothing above 2^-100.
 * Exit status 1 if a requirement or a golden hash is not met.
 */
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/mathf.h"

enum { BLOCK = 4096, MAX_THREADS = 64, SUBSET_STRIDE = 4099, EDGE_WINDOW = 64 };

enum metric {
    ULP,   /* |error| in units of the last place of the true value */
    ABS,   /* |error| * 2^24 */
    REL_X, /* |error| / |x| * 2^24: for functions that cancel */
};

struct func {
    const char *name;
    void (*run)(float *restrict y, const float *restrict x, int n);
    double (*oracle)(double x);
    float lo, hi; /* the domain in which the oracle counts */
    enum metric metric;
    double limit;                       /* largest error allowed */
    int order;                          /* rising: 2 = required, 1 = counted, 0 = it is not */
    bool positive_only;                 /* only x > 0, normal, has a value */
    bool unit;                          /* only |x| <= 1 has a value */
    uint64_t golden_all, golden_subset; /* 0: not yet known */
};

#define ARRAY_FORM(f)                                                                                        \
    static void f##_run(float *restrict y, const float *restrict x, int n)                                   \
    {                                                                                                        \
        for (int i = 0; i < n; i++) y[i] = f(x[i]);                                                          \
    }
ARRAY_FORM(exp32)
ARRAY_FORM(log32)
ARRAY_FORM(tanh32)
ARRAY_FORM(erf32)
ARRAY_FORM(sin_turn32)
ARRAY_FORM(cos_turn32)
ARRAY_FORM(sigmoid32)
ARRAY_FORM(silu32)
ARRAY_FORM(gelu_tanh32)
ARRAY_FORM(gelu_erf32)

static double sin_turn(double t)
{
    return sin(t * M_PI_4);
}
static double cos_turn(double t)
{
    return cos(t * M_PI_4);
}
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double silu(double x)
{
    return x / (1 + exp(-x));
}
static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh((x + 0.044715 * x * x * x) * 0.79788456080286535588));
}
static double gelu_erf(double x)
{
    return 0.5 * x * erfc(-x * M_SQRT1_2);
}

static const float huge = 0x1.fffffep127f;
static const struct func funcs[] = {
    {"exp", exp32_run, exp, -87, 88, ULP, 1.05, 2, false, false, 0xe47a9b40fcfbd0e1, 0x662257c9b95a7fa1},
    {"log", log32_run, log, 0x1p-126f, huge, ULP, 2, 2, true, false, 0x30395e32fe86a9a8, 0x76a34ecccb005fd2},
    {"tanh", tanh32_run, tanh, -huge, huge, ULP, 2, 2, false, false, 0x57219db29ef42638, 0x4475168c3316d1d6},
    {"erf", erf32_run, erf, -huge, huge, ULP, 2, 1, false, false, 0xf96d5830603ae0e3, 0x24d1eb7ad979c221},
    {"sin_turn", sin_turn32_run, sin_turn, -1, 1, ABS, 2, 0, false, true, 0x009eb4f6d7761ffd,
     0xef9fda6c6f24a963},
    {"cos_turn", cos_turn32_run, cos_turn, -1, 1, ABS, 2, 0, false, true, 0xe02ce93dd0a46036,
     0xfb65f6e78474597e},
    {"sigmoid", sigmoid32_run, sigmoid, -87, huge, ULP, 3, 2, false, false, 0xfe187a0c857c9062,
     0x1184bd2024c5a516},
    {"silu", silu32_run, silu, -87, huge, ULP, 3, 0, false, false, 0x2f38acc4cf0c4204, 0x5f27fac4692c18be},
    {"gelu_tanh", gelu_tanh32_run, gelu_tanh, -huge, huge, REL_X, 2, 0, false, false, 0xc95835871be42b60,
     0x121d94a5636c56ec},
    {"gelu_erf", gelu_erf32_run, gelu_erf, -huge, huge, REL_X, 2, 0, false, false, 0x5f5be7b728b0c0cd,
     0x1544d73f4bddcecc},
};
enum { N_FUNCS = sizeof funcs / sizeof *funcs };

/* Turns flush-to-zero (of results and arguments) on or off in this thread; false where that is unknown. */
static bool flush_set(bool on)
{
#if defined(__x86_64__)
    uint32_t csr;
    __asm__ volatile("stmxcsr %0" : "=m"(csr));
    csr = on ? csr | 0x8040u : csr & ~0x8040u;
    __asm__ volatile("ldmxcsr %0" : : "m"(csr) : "memory");
    return true;
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    fpcr = on ? fpcr | 1u << 24 : fpcr & ~(uint64_t)(1u << 24);
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr) : "memory");
    return true;
#else
    (void)on;
    return false;
#endif
}

/* What one thread has seen of one function. */
struct tally {
    uint64_t inputs, hash, breaks, flushed; /* flushed: results that flush-to-zero changes */
    double worst;
    float worst_x, break_x;
    float prev; /* last output in ascending order of x */
    bool has_prev;
};

struct job {
    const struct func *f;
    uint64_t begin, end; /* positions on the axis, see axis(); the seam of two jobs is not seen */
    uint32_t stride;
    struct tally t;
};

/* Position p in 0..2^32-1 of the axis that ascends from -NaN over -0, +0 to +NaN -> bit pattern. */
static uint32_t axis(uint64_t p)
{
    uint32_t q = (uint32_t)p;
    return q < 0x80000000u ? ~q : q - 0x80000000u;
}

/* NaN (gelu(-inf) = -inf * 0) has other bits on each kind of processor: count all of them as one. */
static uint32_t out_bits(float y)
{
    return abs_bits(y) > 0x7f800000u ? 0x7fc00000u : f32_bits(y);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool wanted(const struct func *f, uint32_t u)
{
    if ((u & 0x7fffffffu) > 0x7f800000u) return false;
    if (f->positive_only) return u >= 0x00800000u && u < 0x7f800000u;
    if (f->unit) return (u & 0x7fffffffu) <= 0x3f800000u;
    return true;
}

static double error_of(const struct func *f, float x, float y)
{
    double want = f->oracle((double)x), d = fabs((double)y - want);
    if (f->metric == ABS) return d * 0x1p24;
    if (f->metric == REL_X) return d / fmax(fabs((double)x), 0x1p-126) * 0x1p24;
    if (want == 0) return d == 0 ? 0 : HUGE_VAL;
    int e = (int)(f64_bits(want) >> 52 & 0x7ff) - 1023 - 23; /* the last place of an fp32 near want */
    if (e < -149) e = -149;
    return ldexp(d, -e);
}

/* Runs the block again with flush-to-zero on. Arguments below 2^-100 may differ and do not count. */
static void block_flush(struct job *j, const float *x, const float *y, int n)
{
    static _Thread_local float z[BLOCK];
    if (!flush_set(true)) return;
    j->f->run(z, x, n);
    flush_set(false);
    for (int i = 0; i < n; i++)
        j->t.flushed += out_bits(y[i]) != out_bits(z[i]) && (abs_bits(x[i]) >= 0x0d800000u || x[i] == 0);
}

static void block_check(struct job *j, const float *x, const float *y, int n)
{
    const struct func *f = j->f;
    struct tally *t = &j->t;
    block_flush(j, x, y, n);
    for (int i = 0; i < n; i++) {
        t->hash += mix((uint64_t)f32_bits(x[i]) << 32 | out_bits(y[i]));
        if (t->has_prev && y[i] < t->prev) {
            t->breaks++;
            t->break_x = x[i];
        }
        t->prev = y[i];
        t->has_prev = true;
        if (x[i] > f->lo && x[i] <= f->hi) {
            double e = error_of(f, x[i], y[i]);
            if (!(e <= t->worst)) {
                t->worst = e;
                t->worst_x = x[i];
            }
        }
    }
    t->inputs += (uint64_t)n;
}

static void *job_run(void *arg)
{
    struct job *j = arg;
    static _Thread_local float x[BLOCK], y[BLOCK];
    int n = 0;
    for (uint64_t p = j->begin; p < j->end; p += j->stride) {
        uint32_t u = axis(p);
        if (!wanted(j->f, u)) continue;
        x[n++] = f32_from_bits(u);
        if (n == BLOCK) {
            j->f->run(y, x, n);
            block_check(j, x, y, n);
            n = 0;
        }
    }
    j->f->run(y, x, n);
    block_check(j, x, y, n);
    return NULL;
}

static void tally_add(struct tally *a, const struct tally *b)
{
    a->inputs += b->inputs;
    a->hash += b->hash;
    a->breaks += b->breaks;
    a->flushed += b->flushed;
    if (b->breaks) a->break_x = b->break_x;
    if (b->worst > a->worst) {
        a->worst = b->worst;
        a->worst_x = b->worst_x;
    }
}

/* The neighbourhood of arguments at which the code changes its mind. */
static void edges_run(const struct func *f, struct tally *sum)
{
    const float at[] = {0,         1,           -1,         -87,    87,   88,    -88,
                        0.625f,    -0.625f,     9.02f,      -9.02f, 0.5f, 3.93f, -3.93f,
                        0x1p-126f, 0.70710678f, 1.4142135f, huge,   -huge};
    for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
        uint32_t u = f32_bits(at[k]);
        uint64_t p = u < 0x80000000u ? (uint64_t)u + 0x80000000u : (uint64_t)(uint32_t)~u;
        struct job j = {.f = f, .begin = p - EDGE_WINDOW, .end = p + EDGE_WINDOW, .stride = 1};
        job_run(&j);
        tally_add(sum, &j.t);
    }
}

static int func_check(const struct func *f, uint32_t stride, int threads)
{
    static struct job jobs[MAX_THREADS];
    pthread_t id[MAX_THREADS];
    struct tally sum = {0};
    uint64_t all = (uint64_t)1 << 32, part = all / stride / (uint64_t)threads * stride;
    for (int i = 0; i < threads; i++) {
        jobs[i] = (struct job){.f = f,
                               .begin = part * (uint64_t)i,
                               .stride = stride,
                               .end = i + 1 == threads ? all : part * (uint64_t)(i + 1)};
        if (threads == 1) { /* in this thread: qemu 7.2 hangs in a new one with -cpu max */
            job_run(&jobs[i]);
        } else if (pthread_create(&id[i], NULL, job_run, &jobs[i])) {
            fprintf(stderr, "mathf_all: no thread\n");
            exit(2);
        }
    }
    for (int i = 0; i < threads; i++) {
        if (threads > 1) pthread_join(id[i], NULL);
        tally_add(&sum, &jobs[i].t);
    }
    if (stride != 1) edges_run(f, &sum);

    uint64_t golden = stride == 1 ? f->golden_all : stride == SUBSET_STRIDE ? f->golden_subset : 0;
    bool bad_error = !(sum.worst <= f->limit), bad_order = f->order == 2 && sum.breaks;
    bool bad_hash = golden && golden != sum.hash, bad_flush = sum.flushed != 0;
    printf("%-10s %10" PRIu64 " inputs  max %.4f %s at %-14a", f->name, sum.inputs, sum.worst,
           f->metric == ULP   ? "ulp"
           : f->metric == ABS ? "* 2^-24"
                              : "* 2^-24 |x|",
           (double)sum.worst_x);
    if (f->order) printf("  %" PRIu64 " breaks", sum.breaks);
    if (f->order && sum.breaks) printf(" (one at %a)", (double)sum.break_x);
    printf("  hash %016" PRIx64 "%s%s%s%s\n", sum.hash, bad_error ? "  ERROR ABOVE LIMIT" : "",
           bad_order ? "  NOT MONOTONE" : "", bad_hash ? "  NOT THE GOLDEN HASH" : "",
           bad_flush ? "  FLUSH-TO-ZERO CHANGES IT" : "");
    fflush(stdout);
    return bad_error || bad_order || bad_hash || bad_flush;
}

/* Points that must be exact. */
static int points_check(void)
{
    const float inf = (float)INFINITY;
    const struct {
        const char *what;
        float got, want;
    } p[] = {
        {"exp(0)", exp32(0.0f), 1.0f},
        {"exp(-0)", exp32(-0.0f), 1.0f},
        {"exp(-87)", exp32(-87.0f), 0.0f},
        {"exp(-inf)", exp32(-inf), 0.0f},
        {"exp(inf)", exp32(inf), exp32(88.0f)},
        {"log(1)", log32(1.0f), 0.0f},
        {"tanh(inf)", tanh32(inf), 1.0f},
        {"tanh(-inf)", tanh32(-inf), -1.0f},
        {"tanh(0)", tanh32(0.0f), 0.0f},
        {"erf(inf)", erf32(inf), 1.0f},
        {"erf(-inf)", erf32(-inf), -1.0f},
        {"sin(0)", sin_turn32(0.0f), 0.0f},
        {"cos(0)", cos_turn32(0.0f), 1.0f},
        {"sigmoid(0)", sigmoid32(0.0f), 0.5f},
        {"sigmoid(inf)", sigmoid32(inf), 1.0f},
        {"silu(0)", silu32(0.0f), 0.0f},
        {"gelu_tanh(0)", gelu_tanh32(0.0f), 0.0f},
        {"gelu_tanh(-1e30)", gelu_tanh32(-1e30f), -0.0f},
        {"gelu_erf(-1e30)", gelu_erf32(-1e30f), -0.0f},
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        if (f32_bits(p[i].got) != f32_bits(p[i].want)) {
            printf("%s = %a, expected %a\n", p[i].what, (double)p[i].got, (double)p[i].want);
            bad = 1;
        }
    }
    return bad;
}

int main(int argc, char **argv)
{
    int threads = 1;
    uint32_t stride = SUBSET_STRIDE;
    const char *only = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        long v = atol(argv[i + 1]);
        if (!strcmp(argv[i], "-j") && v >= 1 && v <= MAX_THREADS)
            threads = (int)v;
        else if (!strcmp(argv[i], "-s") && v >= 1 && v <= 1 << 24)
            stride = (uint32_t)v;
        else if (!strcmp(argv[i], "-f"))
            only = argv[i + 1];
        else {
            fprintf(stderr, "usage: mathf_all [-j threads] [-s stride] [-f function]\n");
            return 2;
        }
    }
    int bad = points_check();
    for (int i = 0; i < N_FUNCS; i++)
        if (!only || !strcmp(only, funcs[i].name)) bad |= func_check(&funcs[i], stride, threads);
    printf(bad ? "mathf_all: FAILED\n" : "mathf_all: passed\n");
    return bad;
}
