/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peak_body.h: the loop that the peak_ISA.c share. Before it is included: PEAK_VEC, the register; PEAK_ONE, a register
 * of ones; PEAK_STEP(sum, a, b), the instruction; PEAK_OPS, its operations; PEAK_IN, the asm constraint of a register.
 */
#include "kern/peak.h"

#define PEAK_CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

#define PEAK_INIT(i) PEAK_VEC s##i = a;
#define PEAK_NEXT(i)                   \
    s##i = PEAK_STEP(s##i, a, b);      \
    __asm__ volatile("" : "+" PEAK_IN(s##i));
#define PEAK_LOOP(rounds)                                 \
    PEAK_VEC a = PEAK_ONE, b = PEAK_ONE;                  \
    PEAK_CHAINS(PEAK_INIT)                                \
    for (uint64_t n = 0; n < (rounds); n++) {             \
        __asm__ volatile("" : "+" PEAK_IN(a), "+" PEAK_IN(b)); /* nothing is known of the factors */ \
        PEAK_CHAINS(PEAK_NEXT)                            \
    }                                                     \
    return (rounds) * 12 * (PEAK_OPS)
