/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tables.h: the kernel tables of this build, and after them one that exists for tests: "amx-emulated", matmul_amx.c
 * compiled with its tiles in plain C (kern/amx_tile.h), so that all but the instructions themselves is tested on every
 * processor with AVX-512.
 */
#ifndef TUTTI_TESTS_KERN_TABLES_H
#define TUTTI_TESTS_KERN_TABLES_H

#include <string.h>
#include "kern/kern.h"

#ifdef __x86_64__
enum { TABLES_EMULATED = 1 };
extern matmul_fn matmul_amx_emulated;

static inline int table_avx512(void)
{
    int i = 0;
    while (strcmp(kern_at(i)->name, "avx512") != 0) i++;
    return i;
}

static inline const struct kern *table_at(int i)
{
    static struct kern emulated;
    if (i < kern_count()) return kern_at(i);
    emulated = *kern_at(table_avx512());
    emulated.name = "amx-emulated";
    emulated.matmul = matmul_amx_emulated;
    return &emulated;
}

static inline bool table_usable(int i)
{
    return kern_usable(i < kern_count() ? i : table_avx512());
}
#else
enum { TABLES_EMULATED = 0 };

static inline const struct kern *table_at(int i)
{
    return kern_at(i);
}

static inline bool table_usable(int i)
{
    return kern_usable(i);
}
#endif

static inline int table_count(void)
{
    return kern_count() + TABLES_EMULATED;
}

#endif
