/* SPDX-License-Identifier: Apache-2.0 */
/* memory: what the machine, or the cgroup this process is in, could still give it. */
#ifndef TUTTI_BASE_MEMORY_H
#define TUTTI_BASE_MEMORY_H

#include <stdint.h>

/* Bytes, file pages that can be dropped counted as free; UINT64_MAX: not known. */
uint64_t memory_available(void);

#endif
