/* SPDX-License-Identifier: Apache-2.0 */
/* Tile instructions by signal handler, see amx_trap.c. x86-64 with AVX-512 VNNI only. */
#ifndef TUTTI_TESTS_KERN_AMX_TRAP_H
#define TUTTI_TESTS_KERN_AMX_TRAP_H

#include <signal.h>

/* before: the handler that was there; NULL: from now on */
void amx_trap_begin(struct sigaction *before);
/* Puts it back; ends the program if this thread's tiles are still configured. */
void amx_trap_end(const struct sigaction *before);

#endif
