/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress of something counted in bytes, on stderr: one line that redraws itself on a terminal, a plain line
 * every few seconds elsewhere, nothing when quiet.
 *
 *   smollm2.gguf  [=========>          ]  47 %  43.9 / 92.9 MB  12.1 MB/s  ETA 0:04
 */
#ifndef TUTTI_BASE_PROGRESS_H
#define TUTTI_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    char label[64];
    uint64_t total;       /* bytes; 0 = unknown */
    uint64_t start, done; /* bytes: there before this run; there now */
    int64_t t_start_ns, t_shown_ns;
    bool tty, quiet, drawn;
};

enum { BYTES_TEXT_MAX = 16 };

void progress_begin(struct progress *p, const char *label, uint64_t start, uint64_t total, bool quiet);
void progress_update(struct progress *p, uint64_t done);
void progress_end(struct progress *p, bool finished); /* leaves a last line that stays */

/* "92.9 MB" into out (powers of 1000); returns out. */
const char *bytes_text(uint64_t n, char out[BYTES_TEXT_MAX]);

#endif
