/* SPDX-License-Identifier: Apache-2.0 */
/* A fuzzer's bytes as a file, for readers that take a path. */
#ifndef TUTTI_FUZZ_GIVEN_FILE_H
#define TUTTI_FUZZ_GIVEN_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/err.h"

enum { GIVEN_PATH = 64 };

/* Writes the path into path; close what is returned when the file was read. */
static inline int given_file(char path[static GIVEN_PATH], const uint8_t *data, size_t size)
{
    int fd = memfd_create("given", 0);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, GIVEN_PATH, "/proc/self/fd/%d", fd);
    return fd;
}

#endif
