/* SPDX-License-Identifier: Apache-2.0 */
/*
 * amx_machine: linked into the test program tutti-amx in place of kern/amx_cpu.c (a library's member is taken
 * only for names that are still missing), it says that the processor has AMX and carries out tile
 * instructions by amx_trap.c. So the whole program runs the code of `--isa amx`, bit for bit the object that
 * is shipped, on any processor with AVX-512.
 */
#include "kern/amx_cpu.h"

#include "amx_trap.h"

__attribute__((constructor)) static void start(void)
{
    amx_trap_begin(NULL);
}

bool amx_cpu_usable(uint64_t xcr0)
{
    (void)xcr0;
    return true;
}
