/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class: an execution class: how chips of one kind spend their time. One file each (class_*.c). A class states which figures of
 * the datasheet it cannot do without, and gives the time of one piece of work; device.c adds up, checks floors, pipelines
 * stages and counts energy.
 */
#ifndef TUTTI_PLAN_CLASS_H
#define TUTTI_PLAN_CLASS_H

#include "plan/work.h"

struct class_time {
    double seconds;
    enum device_resource bound; /* what most of it waits for */
    double software;            /* part of seconds that is not the chip's: starts, launches */
    enum evidence evidence;
    const char *note;           /* or NULL */
};

struct class_ops {
    const char *name;          /* as sheets say: class = gpu */
    const enum figure *needs;  /* ends with FIGURES */
    bool resident;             /* weights stay in SRAM beside the arithmetic: chips form a pipeline of layers */
    int (*open)(struct device *d, struct err *e);           /* checks; may be NULL */
    /* One time of w on one chip; at least nothing, floors are device.c's. */
    struct class_time (*time)(const struct device *d, const struct device_setup *s, const struct work *w);
    /* Seconds that a step of so many sequences adds. */
    double (*start)(const struct device *d, const struct device_setup *s, double sequences);
    /* Bytes of memory that software keeps on a chip for activations; NULL: none to speak of. */
    double (*keeps)(const struct device_setup *s);
};

extern const struct class_ops class_gpu, class_roofline, class_scheduled;
const struct class_ops *class_find(const char *name); /* NULL if unknown */

/* --- for classes --- */
/* A figure in SI units of the sheet times `unit`, or `other` if it is not published. */
double class_figure(const struct device *d, enum figure i, double unit, double other);
double class_peak(const struct device *d, int bits);   /* operations/s */
double class_peak_of(const struct device *d, const struct device_setup *s, const struct work *w);
/* Messages: ring all-reduce or all-to-all over links inside a node, the network beyond. */
struct class_time class_message(const struct device *d, const struct work *w);

#endif
