/* SPDX-License-Identifier: Apache-2.0 */
/* Memory left: see memory.h. /proc/meminfo of Linux (proc(5)) and cgroup v2 (kernel documentation, cgroup-v2,
 * "Memory"). */
#include "base/memory.h"

#include "base/cgroup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The number of the line "NAME 123 ..." (the first line's if NAME is empty), UINT64_MAX if there is none
 * ("max"). Closes f. */
static uint64_t number(FILE *f, const char *name)
{
    char line[256];
    uint64_t v = UINT64_MAX;
    size_t n = strlen(name);
    while (f && v == UINT64_MAX && fgets(line, sizeof line, f))
        if (strncmp(line, name, n) == 0 && sscanf(line + n, "%" SCNu64, &v) != 1) break;
    if (f) fclose(f);
    return v;
}

/* What this group may still take; file pages it could drop count as free. */
static uint64_t group_left(const struct cgroup *g)
{
    uint64_t most = number(cgroup_file(g, "memory.max"), ""),
             used = number(cgroup_file(g, "memory.current"), "");
    if (most == UINT64_MAX || used == UINT64_MAX) return UINT64_MAX;
    uint64_t files = number(cgroup_file(g, "memory.stat"), "inactive_file ");
    if (files != UINT64_MAX) used = used > files ? used - files : 0;
    return most > used ? most - used : 0;
}

uint64_t memory_available(void)
{
    uint64_t kib = number(fopen("/proc/meminfo", "re"), "MemAvailable:"),
             left = kib == UINT64_MAX ? kib : kib << 10;
    struct cgroup g;
    cgroup_own(&g);
    do {
        uint64_t here = group_left(&g);
        if (here < left) left = here;
    } while (cgroup_up(&g));
    return left;
}
