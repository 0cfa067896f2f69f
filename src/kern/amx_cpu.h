/* SPDX-License-Identifier: Apache-2.0 */
/* Whether AMX can be used here. Alone in its file, so that a test can link another answer
 * (tests/kern/amx_machine.c). */
#ifndef TUTTI_KERN_AMX_CPU_H
#define TUTTI_KERN_AMX_CPU_H

#include <stdbool.h>
#include <stdint.h>

/* xcr0: register state that the operating system saves. Asks it for the tiles. */
bool amx_cpu_usable(uint64_t xcr0);

#endif
