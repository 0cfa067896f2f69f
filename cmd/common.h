/* SPDX-License-Identifier: Apache-2.0 */
/* What commands that run a model share: their options, and opening the model with progress and clear errors. */
#ifndef TUTTI_CMD_COMMON_H
#define TUTTI_CMD_COMMON_H

#include <stdio.h>
#include "args.h"
#include "base/path.h"
#include "base/progress.h"
#include "file/root.h"
#include "plan/class/timed.h"
#include "serve/engine/engine.h"
#include "serve/engine/text.h"

struct common {
    int threads;      /* 0: all CPUs */
    int ctx;          /* 0: the model's */
    int batch;        /* tokens per step; 0: default */
    const char *isa;  /* NULL: best */
    const char *chip; /* NULL: cpu; or a chip of which there is a datasheet: NAME, NAME:N */
    int kv;           /* 16 or 8 bits; 0: default */
    int rotation;     /* of a receipt: enum rotation */
    uint64_t experts; /* bytes of memory for experts; 0: all of them, if the machine has so much */
};

/* clang-format off */
#define COMMON_ARGS(c)                                                                                       \
    {"threads", 't', ARG_INT, &(c).threads, "N", "worker threads (default: all CPUs this process may use)", 1, POOL_ARG_MAX}, \
    {"ctx", 'c', ARG_INT, &(c).ctx, "N", "context in tokens (default: the model's)", 1, 1 << 24},            \
    {"batch-size", 'b', ARG_INT, &(c).batch, "N", "tokens per step (default: 512)", 1, PROGRAM_ROWS_MAX},    \
    {"isa", 0, ARG_STR, &(c).isa, "NAME", "instruction set: ref, avx2, avx512, amx, neon ... (default: the best; also $TUTTI_ISA)", 0, 0}, \
    {"chip", 0, ARG_STR, &(c).chip, "NAME", "what executes the program: cpu (default), lpu, or any chip of 'tutti chips', NAME[:N]: its clock, the same bits", 0, 0},               \
    {"kv", 0, ARG_INT, &(c).kv, "BITS", "bits of a key or value in the cache: 16 or 8 (default: 16)", 8, 16},          \
    {"experts-memory", 0, ARG_SIZE, &(c).experts, "SIZE", "memory for experts: those used most; the others stay in the file (default: all, or what is free)", 1, 0}
/* clang-format on */
enum { POOL_ARG_MAX = 256 };

struct opened {
    struct path path;
    struct engine *engine;
    struct text text;
    struct timed *timed; /* the clock of the chip asked for, where the CPU executes for it; or NULL */
    double load_s; /* seconds to open and load */
};

/*
 * Opens MODEL (a path or a pulled name). n_seqs as in engine_options; min_batch: least tokens per step. On a fault one
 * line goes to stderr and the exit status is returned; 0 when open.
 */
int common_open(const struct args_doc *doc, struct opened *o, const char *model, const struct common *c, int n_seqs,
                int min_batch);
/* A chip that no code of this program executes: the CPU does, and the chip's clock is counted. NULL: the CPU itself. */
bool common_is_timed(const char *chip);
/* The root of the model: a kept one, else computed and kept. */
int common_root(const struct opened *o, uint8_t root[ROOT_BYTES], struct err *e);
void common_close(struct opened *o); /* accepts a zeroed struct */

/* "tutti NAME: message" of an error on stderr; returns its exit status. */
int common_fail(const struct args_doc *doc, const struct err *e);

/* Of a simulated chip: what it did so far and how fast that went, as a line of text or the member "simulated"
 * of an object; else nothing. */
void common_print_simulated(FILE *f, const struct chip *c);
void common_print_simulated_json(FILE *f, const struct chip *c);

/* A whole file ("-": standard input) as text, at most COMMON_FILE_MAX bytes; free(*out). */
enum { COMMON_FILE_MAX = 1 << 30 };
int common_read_file(const char *path, char **out, size_t *n, struct err *e);

double common_now(void); /* monotonic seconds */

#endif
