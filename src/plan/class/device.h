/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device: how long a step of a model takes on chips of any kind, what it costs in energy, and whether the
 * model fits. One interface over all execution classes (class.h):
 *
 *   struct device *d;
 *   struct device_setup s = {.shape = &shape, .precision = device_precision("fp8")};
 *   device_open(&d, "h100", NULL, &e);          or an alias, or the path of a datasheet
 *   device_split(d, &s, 8);                     how 8 chips share the model
 *   device_fit(d, &s, 16, 4096, &fit, &e);      16 sequences of 4,096 tokens: do they fit, on how many chips
 *   device_decode(d, &s, 16, 4096, &step, &e);  seconds, floor, breakdowns, joules, evidence
 *   device_prefill(d, &s, 1, 2048, 0, &step, &e);
 *   device_close(d);
 *
 * A step: one pass of some sequences through the model. No time lies below its floor: bytes over bandwidth,
 * operations over peak. What the datasheet does not say makes a figure NAN (printed n/p) or, if the class
 * cannot do without, an error that names the key for --assume KEY=VALUE. Calls only read the device: threads
 * may share one.
 */
#ifndef TUTTI_PLAN_CLASS_DEVICE_H
#define TUTTI_PLAN_CLASS_DEVICE_H

#include "plan/class/shape.h"
#include "plan/op/constants.h"
#include "plan/op/figures.h"
#include "plan/op/gpu.h"

struct class_ops;

struct device_precision { /* of numbers: bytes of one element, and words as measurements call them */
    const char *name;
    double weight_bytes, cache_bytes, act_bytes, end_bytes; /* end: of the embedding and the head */
    int bits; /* of the arithmetic: 16, 8 or 4; a chip without it takes the next wider one that it has */
    const char *gemm, *cache, *attention, *expert;
};
/* "16-bit" (bf16, fp16), "fp8", "int8" (8-bit), "fp4"; "q4": 4-bit weights, 16-bit arithmetic. NULL if unknown. */
const struct device_precision *device_precision(const char *name);

struct device_options {
    const char *const *assume;         /* "memory.rate=1200", ..., NULL; or NULL */
    const struct constants *constants; /* fitted; NULL: those of the program */
    const char *framework;             /* whose constants; NULL: "trtllm" */
    bool datasheet_only;               /* nothing fitted: the column "uncalibrated" */
    const double *overhead;            /* of op_step, instead of fitted ones; or NULL */
};

struct device {
    struct figures figures;
    const char *title;            /* "NVIDIA H100 SXM5 80 GB" */
    const struct class_ops *ops;
    const char *class,
        *level; /* "gpu"; level of detail: "instructions", "tiles", "tile-shaped roofline", "roofline" */
    struct gpu gpu;               /* class gpu */
    const struct constants *constants;
    const char *framework;
    const double *overhead;
    bool datasheet_only;
    struct constants own;
    /* In SI units; 0: none, NAN: not published. */
    double memory_bytes, memory_rate; /* of one chip, where weights and cache are */
    double flops16, flops8, flops4;
    double link, hop;                 /* bytes/s each direction, seconds */
    double tdp, static_watts;         /* static: NAN n/p */
    double buy, rent;                 /* USD, USD/h; NAN n/p */
    int node;                         /* chips that links join; at least 1 */
    enum evidence evidence;           /* the worst of the figures that times are made of */
    double error;                     /* expected of a time, as a share: NAN unknown */
    enum evidence error_evidence;
    const char *error_source; /* what it rests on, or why there is none */
};

int device_open(struct device **d, const char *name, const struct device_options *opt, struct err *e);
void device_close(struct device *d); /* accepts NULL */

struct device_setup { /* how chips share a model; each 0 counts as 1 */
    const struct shape *shape;
    const struct device_precision *precision;
    int tp;  /* chips that share every product */
    int pp;  /* stages, each of tp chips with a part of the layers */
    int dp;  /* copies of the model side by side; steps, memory and joules below are of one copy */
    int ep;  /* chips that share the experts: a multiple of tp; attention then runs ep / tp times side by side */
};

/* tp and pp for n chips in all, as this class does it by itself; a cluster makes copies (dp) of what fits in
 * whole nodes. */
void device_split(const struct device *d, struct device_setup *s, int n);
int device_chips(const struct device_setup *s); /* of one copy: tp x pp, or ep x pp */

enum device_part {
    DEVICE_PRODUCTS,
    DEVICE_ATTENTION,
    DEVICE_EXPERTS,
    DEVICE_ELEMENTS,
    DEVICE_REDUCE,
    DEVICE_HEAD,
    DEVICE_HOST,
    DEVICE_PARTS
};
enum device_resource {
    DEVICE_COMPUTE,
    DEVICE_SRAM,
    DEVICE_DRAM,
    DEVICE_NETWORK,
    DEVICE_LINK,
    DEVICE_SYNC,
    DEVICE_SOFTWARE,
    DEVICE_RESOURCES
};
enum device_joules { DEVICE_STATIC, DEVICE_OPERATIONS, DEVICE_MEMORY, DEVICE_WIRES, DEVICE_JOULES };
extern const char *const device_part_name[], *const device_resource_name[], *const device_joules_name[];

struct device_step {
    double seconds;   /* from begin to end of the step */
    /* until the same chips can begin another such step of other sequences: less where stages form a
     * pipeline */
    double interval;
    double floor;     /* of seconds */
    double part[DEVICE_PARTS];         /* seconds; sum to `seconds` */
    double resource[DEVICE_RESOURCES]; /* the same time by what it waits for */
    double ops, bytes;                 /* of all chips: operations; bytes of weights and cache that are read */
    double use_compute, use_memory;    /* shares of peak and of memory rate over an interval */
    double joules;    /* of all chips, all stages busy: static power over an interval, and work; NAN: n/p */
    double joule[DEVICE_JOULES];
    double static_watts; /* of all chips: at other concurrencies static joules = this x the time between steps */
    /* expected of seconds, as a share: the chip's, wider by what was never measured in this type; NAN
     * unknown */
    double error;
    enum evidence evidence, joules_evidence;
    const char *note;    /* "constants of H100-SXM-80GB", what joules lack ...; or NULL */
};

/* `batch` sequences (per attention group), each with one new token after `context` tokens. */
int device_decode(const struct device *d, const struct device_setup *s, double batch, double context,
                  struct device_step *out, struct err *e);
/* `batch` prompts of `tokens` new tokens each behind `past` tokens in the cache. */
int device_prefill(const struct device *d, const struct device_setup *s, double batch, double tokens,
                   double past, struct device_step *out, struct err *e);

/* A step of any parts: sequences with as many new tokens behind as many old ones; `out` rows of logits are made. */
struct device_mix {
    double batch, tokens, past;
};
int device_mixed(const struct device *d, const struct device_setup *s, const struct device_mix *mix, int n,
                 double out_rows, struct device_step *out, struct err *e);

struct device_fit {
    bool fits;
    double weight_bytes;   /* of one chip */
    double token_bytes;    /* of one token's cache on one chip */
    double usable_bytes;   /* of one chip: memory less what software keeps */
    double tokens;         /* cache tokens that these chips hold; 0 if the weights do not fit */
    int chips; /* that would hold what was asked, split as device_split does; 0: more than DEVICE_CHIPS_MAX */
    char why[200];         /* "does not fit: ...; 4 chips do", or "" */
};
enum { DEVICE_CHIPS_MAX = 1 << 20 };
/* batch sequences of `context` tokens at once. ERR_UNSUPPORTED if the size of the memory is not published. */
int device_fit(const struct device *d, const struct device_setup *s, double batch, double context,
               struct device_fit *out, struct err *e);

#endif
