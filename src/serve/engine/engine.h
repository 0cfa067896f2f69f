/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine: a model file made ready to run: file -> model -> program -> chip, with its KV pool. What every command and
 * the server stand on. One thread owns an engine.
 */
#ifndef TUTTI_SERVE_ENGINE_ENGINE_H
#define TUTTI_SERVE_ENGINE_ENGINE_H

#include "chip/chip.h"
#include "file/gguf.h"
#include "kern/kern.h"
#include "model/model.h"
#include "program/program.h"
#include "serve/engine/pooling.h"

struct engine_options {
    const char *chip;   /* NULL: the CPU */
    const char *isa;    /* NULL: best */
    int n_threads;      /* 0: all */
    int n_ctx;          /* tokens of a context; 0: the model's */
    int n_seqs;         /* sequences that share these n_ctx tokens of KV pages; 0: 1 */
    size_t kv_bytes;    /* memory of the KV pages instead, for any number of sequences; 0: as above */
    int n_batch;        /* tokens per step; 0: ENGINE_BATCH */
    int n_out;          /* rows of logits per pass; 0: ENGINE_OUT */
    enum kv_type kv;    /* KV16 unless set */
    enum rotation rotation; /* of a receipt; else as n_ctx says */
    /* memory for experts; the others stay on disk. 0: for all, or what the machine has left if it has
     * less */
    size_t experts_bytes;
    void (*progress)(void *ud, size_t done_bytes, size_t total_bytes);
    void *progress_ud;
    /* chip_options */
    void (*observe)(void *ud, int weight, const struct act *x, int n_rows, int worker, int n_workers);
    void *observe_ud;
};
enum { ENGINE_BATCH = 512, ENGINE_OUT = 64, ENGINE_LIKELY = 4096 /* tokens of a context that memory is kept for */ };

struct engine {
    struct gguf *file;
    struct model *model;
    struct program *program;
    struct chip *chip;
    struct kv_pool *kv;
    const struct kern *kern; /* of the sampler */
    float *unit;             /* [n_embd] 1 / sqrt(n_embd): the gain that makes a norm's row unit length */
    int n_ctx;
    enum pooling pooling;    /* of the file */
};

int engine_open(struct engine **en, const char *path, const struct engine_options *opt, struct err *e);
/* What a model would take with these options beside keys and values, without loading it. */
struct engine_weight {
    uint64_t weights, experts, work; /* bytes packed; of the experts among them; buffers of a step */
};
int engine_weigh(const char *path, const struct engine_options *opt, struct engine_weight *w, struct err *e);
void engine_close(struct engine *en); /* accepts NULL */

/*
 * Feeds n tokens of one sequence from position pos on, in steps of at most `chunk` tokens (0: the engine's
 * batch), and hands logits to the sink (NULL: none are made): of the last token only, or of every token if
 * all is set (i_out counts from 0 for the first token of this call).
 */
int engine_feed(struct engine *en, struct kv_seq *seq, const int32_t *tokens, int n, int pos, int chunk, bool all,
                logits_fn *sink, void *ud, struct err *e);

/* What the contract calls the embedding of a text (doc/arithmetic.md 7): a row of hidden state after the
 * final norm (batch.hidden) at unit length. out[n_embd]; 0 or ERR_RANGE. */
int engine_unit(const struct engine *en, const float *row, float *out);
/* The embedding of n tokens by the engine's pooling. seq is empty, and holds them afterwards. */
int engine_embed(struct engine *en, struct kv_seq *seq, const int32_t *tokens, int n, float *out, struct err *e);

/* BLAKE2b-256 of what chip_state hands over, while the sink or spread has row i_out: it fixes all logits.
 * ERR_UNSUPPORTED if the chip does not tell. */
enum { ENGINE_STATE_BYTES = 32 };
int engine_state(const struct engine *en, int i_out, uint8_t state[ENGINE_STATE_BYTES]);

/* SHA-256 of the contract's text (kern/contract.h) in hexadecimal: builds with the same id give the same bits. */
void engine_contract_id(char out[65]);

#endif
