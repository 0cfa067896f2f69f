/* SPDX-License-Identifier: Apache-2.0 */
/* Which instruction sets have a peak: see peak.h. */
#include "kern/peak.h"

#include <stddef.h>
#include <string.h>

extern peak_fn peak_avx2, peak_avxvnni, peak_avx512, peak_amx, peak_neon, peak_dotprod, peak_i8mm;

peak_fn *peak_of(const char *isa)
{
    static const struct {
        const char *isa;
        peak_fn *fn;
    } all[] = {
#if defined(__x86_64__)
        {"avx2", peak_avx2}, {"avxvnni", peak_avxvnni}, {"avx512", peak_avx512}, {"amx", peak_amx},
#elif defined(__aarch64__)
        {"neon", peak_neon}, {"dotprod", peak_dotprod}, {"i8mm", peak_i8mm},
#endif
        {NULL, NULL},
    };
    for (int i = 0; all[i].isa; i++)
        if (strcmp(isa, all[i].isa) == 0) return all[i].fn;
    return NULL;
}
