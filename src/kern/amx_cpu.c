/* SPDX-License-Identifier: Apache-2.0 */
/* See amx_cpu.h. */
#include "kern/amx_cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Tiles of 16 rows of 64 bytes, saved by the operating system, which gives them only to a process that asks for them:
 * for all of its threads, also later ones. Asking again is harmless. */
bool amx_cpu_usable(uint64_t xcr0)
{
    const uint32_t want = 1u << 24 | 1u << 25; /* AMX-TILE, AMX-INT8 */
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & want) != want) return false;
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d)) return false; /* palette 1 */
    if (b >> 16 < 8 || (b & 0xffff) < 64 || (c & 0xffff) < 16) return false;
    if ((xcr0 & 0x60000) != 0x60000) return false;
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XTILEDATA */) == 0;
}
#endif
