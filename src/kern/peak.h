/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peak: how fast this machine multiplies bytes at best: each instruction set's product of codes on registers
 * alone, in enough independent chains to fill the unit. What a matrix product can be compared with; nothing
 * that runs depends on it.
 */
#ifndef TUTTI_KERN_PEAK_H
#define TUTTI_KERN_PEAK_H

#include <stdint.h>

/* Does `rounds` rounds and returns the operations done (a multiplication and an addition are two). */
typedef uint64_t peak_fn(uint64_t rounds);

/* By the name of an instruction set (kern.h); NULL where there is none. The machine must have the set. */
peak_fn *peak_of(const char *isa);

#endif
