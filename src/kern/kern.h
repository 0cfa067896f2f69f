/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern: the operations of the numerics contract NC1 (doc/arithmetic.md), as one table of function pointers per
 * instruction set. The `ref` table defines the bits; every other entry equals it by memcmp for all inputs. A kernel
 * computes a rectangle and knows nothing of threads; nothing here allocates, locks or calls libm.
 *
 * Adding an instruction set: write elem_<isa>.c (three lines) and matmul_<isa>.c, add a row in kern.c; checkkern does
 * the rest.
 */
#ifndef TUTTI_KERN_KERN_H
#define TUTTI_KERN_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "kern/act.h"
#include "kern/mat.h"

/* The activation of a gated feed-forward network; u is the other branch. */
enum gate_kind {
    GATE_SILU,    /* silu(g) * u */
    GATE_GELU,    /* gelu(g) * u, the tanh form */
    GATE_CLAMPED, /* g and u clamped, g * sigmoid(alpha g) * (u + 1): gpt-oss */
};

/* Element-wise operations and quantisation: one token row at a time. Those that can see a bad number return
 * ERR_RANGE (a magnitude >= 2^60, infinity or NaN), and then the row's output is all zero codes or undefined floats. */
struct elem_kern {
    int (*quant)(struct act *a, int tok, const float *x);                               /* x[a->k] */
    int (*norm)(float *y, const float *x, const float *g, int n, float eps);            /* RMSNorm; y may be x */
    void (*gate)(float *y, const float *g, const float *u, int n, enum gate_kind kind);
    void (*add)(float *x, const float *y, int n);                                       /* x += y */
    void (*axpy)(float *x, float a, const float *y, int n);                             /* x = fma(a, y, x) */
    void (*scale)(float *x, float s, int n);                                            /* x *= s */
    void (*cap)(float *x, float cap, int n);                                            /* x = cap * tanh(x / cap) */
    /* Rotates n_head heads of `dim` floats, the first 2*n_rot of each; cs[n_rot] cosines, then cs[n_rot] sines.
     * pairs: 0 = (2i, 2i+1), 1 = (i, i + n_rot). */
    void (*rope)(float *x, const float *cs, int n_head, int dim, int n_rot, int halves);
    /* w[i] = rne(exp((z[i] - max) / temperature) * 2^40) for finite z[i]; 0 or so where z[i] > max. */
    void (*weights)(uint64_t *w, const float *z, int n, float max, float temperature);
    /* The largest of x[n], n > 0, if all are finite. ERR_RANGE if one is not. */
    int (*largest)(float *max, const float *x, int n);
};

/*
 * y[t * stride + 16 p + lane] = row 16 p + lane of w times token t of x, for panels p0 <= p < p1 and tokens
 * t0 <= t < t0 + n_tok; t0 is a multiple of ACT_TILE. y holds whole panels (16 floats each). Writes only those.
 */
typedef void matmul_fn(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x, int t0,
                       int n_tok);

struct attn_kern;

struct kern {
    const char *name;              /* "ref", "avx2", "avx512", "amx", "neon", ... */
    const struct elem_kern *elem;
    matmul_fn *matmul;
    const struct attn_kern *attn;
};

/* Instruction sets in rising order; kern_count() of them were compiled in. kern_at(i)->name names them. */
int kern_count(void);
const struct kern *kern_at(int i);
bool kern_usable(int i); /* this CPU and this kernel of the operating system can run it */

/* The best usable table, or the one named (isa, else $TUTTI_ISA); NULL and an error that lists the names if the
 * named one is unknown or cannot run here. */
const struct kern *kern_select(const char *isa, struct err *e);

#endif
