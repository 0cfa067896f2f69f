/* SPDX-License-Identifier: Apache-2.0 */
/* Memory left: see memory.h. /proc/meminfo of Linux (proc(5)) and cgroup v2 (kernel documentation, cgroup-v2, "Memory"). */
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t read_number(const char *path)
{
    uint64_t v = UINT64_MAX;
    FILE *f = fopen(path, "re");
    if (!f) return v;
    if (fscanf(f, "%" SCNu64, &v) != 1) v = UINT64_MAX; /* "max" */
    fclose(f);
    return v;
}

/* The number of the line "NAME 123 ...". */
static uint64_t read_line(const char *path, const char *name)
{
    char line[256];
    uint64_t v = UINT64_MAX;
    size_t n = strlen(name);
    FILE *f = fopen(path, "re");
    while (f && v == UINT64_MAX && fgets(line, sizeof line, f))
        if (strncmp(line, name, n) == 0 && sscanf(line + n, "%" SCNu64, &v) != 1) break;
    if (f) fclose(f);
    return v;
}

uint64_t memory_available(void)
{
    uint64_t kib = read_line("/proc/meminfo", "MemAvailable:"), machine = kib == UINT64_MAX ? kib : kib << 10;
    uint64_t most = read_number("/sys/fs/cgroup/memory.max"), used = read_number("/sys/fs/cgroup/memory.current");
    uint64_t files = read_line("/sys/fs/cgroup/memory.stat", "inactive_file ");
    if (most == UINT64_MAX || used == UINT64_MAX) return machine;
    if (files != UINT64_MAX) used = used > files ? used - files : 0;
    uint64_t group = most > used ? most - used : 0;
    return group < machine ? group : machine;
}
