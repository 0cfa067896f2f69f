/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work: what one chip has to do in a step of a model, as a short list: every kind of product, attention,
 * experts, rows and messages of a layer once, with how often. Classes (class.h) say how long each takes.
 */
#ifndef TUTTI_PLAN_CLASS_WORK_H
#define TUTTI_PLAN_CLASS_WORK_H

#include "plan/class/device.h"

enum work_kind {
    WORK_PRODUCT, /* m rows times a matrix of n outputs and k inputs */
    WORK_EXPERTS, /* m rows, each through topk of `experts` experts: hidden k, inner width n, of which a chip has 1 / split */
    WORK_DECODE,   /* batch sequences: one query each over `length` tokens, its own included */
    WORK_CONTEXT,  /* batch prompts: `length` causal queries each behind `past` tokens */
    WORK_ROWS,     /* element-wise: m rows, `bytes` moved */
    WORK_REDUCE,   /* all-reduce of `bytes` over `chips` chips */
    WORK_EXCHANGE, /* all-to-all of `bytes` over `chips` chips */
};

struct work {
    enum work_kind kind;
    enum device_part part;
    double times;
    double m, n, k;
    double topk, experts, ep, tp;   /* WORK_EXPERTS: experts / ep of them here, each of width n / tp */
    double batch, length, past, heads, kv_heads, head_dim, window;
    double bytes, chips;
    double weight_bytes; /* of one element of the matrix; 0: as the precision says */
};

enum { WORK_MAX = 256 };
struct work_list {
    struct work w[WORK_MAX];
    int n;
    double sequences, rows; /* of the step */
};

/* A step of the parts of `mix`, which makes `out` rows of logits; n at most WORK_PARTS. */
enum { WORK_PARTS = WORK_MAX / 2 };
void work_step(struct work_list *l, const struct device_setup *s, const struct device_mix *mix, int n, double out);

/* One time of it, on one chip, with nothing lost. */
struct work_sum {
    double ops;     /* multiplications and additions */
    double weights; /* bytes of weights that are read once */
    double cache;   /* bytes of keys and values read */
    double acts;    /* bytes of activations in and out */
    double wire;    /* bytes that a chip sends */
};
struct work_sum work_count(const struct work *w, const struct device_precision *p);

double work_weight_bytes(const struct device_setup *s); /* of one chip */
double work_token_bytes(const struct device_setup *s);  /* of one token's cache on one chip */

#endif
