/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class: an execution class: how chips of one kind spend their time. One file each, beside this one. A class
 * states which figures of the datasheet it cannot do without, and gives the time of one piece of work;
 * device.c adds up, checks floors, pipelines stages and counts energy.
 */
#ifndef TUTTI_PLAN_CLASS_CLASS_H
#define TUTTI_PLAN_CLASS_CLASS_H

#include "plan/class/work.h"

struct class_time {
    double seconds;
    enum device_resource bound; /* what most of it waits for */
    double software;            /* part of seconds that is not the chip's: starts, launches */
    double compute, memory;     /* class.fused: what seconds would be by either alone */
    enum evidence evidence;     /* of constants that are not in the datasheet; else EVIDENCE_MEASURED */
    /* expected error, as a share, beside that of the chip: constants of another type, or none; 0:
     * nothing beside */
    double doubt;
    const char *note;           /* or NULL */
};

struct class_ops {
    const char *name;          /* as sheets say: class = gpu */
    const enum figure *needs;  /* ends with FIGURES */
    bool fused;                /* a layer is one pipeline: operations and memory overlap over all of its work */
    bool copies;               /* more chips than a model needs hold it again, side by side (device_split) */
    bool resident;             /* weights stay in SRAM beside the arithmetic: chips form a pipeline of layers */
    int (*open)(struct device *d, struct err *e);           /* checks; may be NULL */
    /* One time of w on one chip; at least nothing, floors are device.c's. */
    struct class_time (*time)(const struct device *d, const struct device_setup *s, const struct work *w);
    /* Seconds that a step of so many sequences adds; prompt: it is a prefill. NULL: class_start. */
    double (*start)(const struct device *d, double sequences, bool prompt);
    /* Layers lie side by side on one chip and work at once on different sequences: how many; NULL: one. */
    double (*stages)(const struct device_setup *s);
    /* Bytes of memory that software keeps on a chip for activations; NULL: none to speak of. */
    double (*keeps)(const struct device_setup *s);
};

extern const struct class_ops class_gpu, class_array, class_bsp, class_wafer, class_dataflow, class_scheduled,
    class_cluster, class_roofline;
const struct class_ops *class_find(const char *name); /* NULL if unknown */

/* One time of w on one chip, at least its floor. */
double class_seconds(const struct device *d, const struct device_setup *s, const struct work *w);

/* --- for classes --- */
/* A figure in SI units of the sheet times `unit`, or `other` if it is not published. */
double class_figure(const struct device *d, enum figure i, double unit, double other);
double class_peak(const struct device *d, int bits);   /* operations/s */
double class_peak_of(const struct device *d, const struct device_setup *s, const struct work *w);
/* The longer of operations at model.compute (attention of prompts: model.context) of the peak and bytes at
 * model.memory (attention of tokens: model.cache) of the memory's rate; `ops` replaces those of w. Rows take
 * model.layer. */
struct class_time class_longer(const struct device *d, const struct device_setup *s, const struct work *w, double ops);
double class_start(const struct device *d, double sequences, bool prompt); /* model.step, .sequence, .prompt */
double class_whole(double n, double unit);                                 /* n in whole units; unit 0: n */
/* Messages: ring all-reduce or all-to-all over links inside a node, the network beyond. */
struct class_time class_message(const struct device *d, const struct work *w);

#endif
