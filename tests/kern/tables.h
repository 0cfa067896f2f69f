/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tables.h: the kernel tables of this build, and after them two that test AMX on every processor with AVX-512:
 *
 *   amx-emulated   matmul_amx.c compiled with its tiles in plain C (kern/amx_tile.h)
 *   amx-trapped    the real matmul_amx, its tile instructions carried out by a signal handler (checkkern_amx.c)
 */
#ifndef TUTTI_TESTS_KERN_TABLES_H
#define TUTTI_TESTS_KERN_TABLES_H

#include <string.h>
#include "kern/kern.h"

#ifdef __x86_64__
enum { TABLES_EXTRA = 2 };
extern matmul_fn matmul_amx, matmul_amx_emulated, matmul_amx_trapped;

static inline int table_avx512(void)
{
    int i = 0;
    while (strcmp(kern_at(i)->name, "avx512") != 0) i++;
    return i;
}

static inline const struct kern *table_at(int i)
{
    static struct kern extra[TABLES_EXTRA];
    if (i < kern_count()) return kern_at(i);
    struct kern *k = &extra[i - kern_count()];
    *k = *kern_at(table_avx512());
    k->name = i == kern_count() ? "amx-emulated" : "amx-trapped";
    k->matmul = i == kern_count() ? matmul_amx_emulated : matmul_amx_trapped;
    return k;
}

static inline bool table_usable(int i)
{
    return kern_usable(i < kern_count() ? i : table_avx512());
}
#else
enum { TABLES_EXTRA = 0 };

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
    return kern_count() + TABLES_EXTRA;
}

#endif
