/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantize: one model file as another with other weight types. Keys and small tensors (norms, biases,
 * routers) are copied; matrices are encoded (kern/encode.h) row by row by all workers, in pieces of a few
 * MiB, so that memory stays small. The same input gives the same bytes on every machine, with any number of
 * threads.
 */
#ifndef TUTTI_MODEL_QUANTIZE_H
#define TUTTI_MODEL_QUANTIZE_H

#include <signal.h>
#include "file/gguf.h"

struct quantize_tensor {
    struct str name;
    enum dtype from, to;
    uint64_t n, bytes;  /* weights; bytes in the new file */
    double error, size; /* sums of squares of differences and of weights; 0 unless measured */
};

struct quantize_options {
    enum dtype type; /* of matrices */
    enum dtype head; /* of the matrix that gives the logits */
    bool mix;        /* attn_v and ffn_down of some layers become Q6_K */
    bool requantize; /* the source may be quantised already */
    bool measure;    /* fill in error and size */
    int n_threads;   /* 0: all CPUs */
    /* Importance of the columns of a matrix, [ne[0]], or NULL for none; may be NULL itself. */
    const float *(*importance)(void *ud, struct str name, uint64_t n);
    void *importance_ud;
    const volatile sig_atomic_t *cancel;                    /* stop when it is not 0; or NULL */
    void (*progress)(void *ud, uint64_t done, uint64_t all); /* bytes of the source's tensors; or NULL */
    void *progress_ud;
};

/*
 * Writes `path`, which appears when it is complete (file/gguf_write.h). list, if not NULL: [gguf_n_tensors(in)], what
 * became of each tensor.
 */
int quantize_file(const struct gguf *in, const char *path, const struct quantize_options *opt,
                  struct quantize_tensor *list, struct err *e);

#endif
