/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti: language models on any chip, the same bits on all of them.
 *
 *   model     a file that is ready to run: weights, tokenizer, chat template, compiled program
 *   session   one sequence of tokens and its cache of keys and values
 *
 * The order of life:
 *
 *   tutti_model_open, tutti_session_create, tutti_session_feed, tutti_session_next ..., tutti_session_free,
 *   tutti_model_close
 *
 * Conventions, which hold for every function below unless it says otherwise:
 *
 *   Threads    a model and its sessions belong to one thread at a time; different models are independent.
 *              There is no global state. A model has worker threads of its own.
 *   Errors     0 or a count on success, a negative TUTTI_ERR_* otherwise. The last parameter, if not NULL,
 *              then holds the code and one line of text that says what, which, where, expected, got.
 *   Ownership  strings and arrays that come in are copied or used during the call only; what goes out is
 *              copied into the caller's memory. Handles are freed by the function named with them; NULL is
 *              accepted there.
 *   Options    structs start with `size`; fill them with tutti_*_default, then change fields. They may grow
 *              at the end.
 *
 * The API may change until version 1.0; the library's soname says when it did.
 */
#ifndef TUTTI_H
#define TUTTI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TUTTI_API __attribute__((visibility("default")))
#else
#define TUTTI_API
#endif

/* --- version --------------------------------------------------------------------------------------------- */

#define TUTTI_VERSION_MAJOR 0
#define TUTTI_VERSION_MINOR 1
#define TUTTI_VERSION_PATCH 0

TUTTI_API const char *tutti_version(void); /* "0.1.0", of the library that runs */

/* --- errors ---------------------------------------------------------------------------------------------- */

enum tutti_code {
    TUTTI_OK = 0,
    TUTTI_ERR_USAGE = -1,       /* an argument is wrong */
    TUTTI_ERR_IO = -2,          /* input or output */
    TUTTI_ERR_FORMAT = -3,      /* malformed file or template */
    TUTTI_ERR_UNSUPPORTED = -4, /* well-formed, but this build cannot run it */
    TUTTI_ERR_MEMORY = -5,
    TUTTI_ERR_LIMIT = -6, /* the context is full, a text is too long, ... */
    TUTTI_ERR_NOT_FOUND = -7,
    TUTTI_ERR_RANGE = -8,     /* a number left the range of the arithmetic: no result for this input */
    TUTTI_ERR_INTERNAL = -12, /* a defect of the library */
};

struct tutti_error {
    int32_t code;       /* enum tutti_code */
    char message[1024]; /* one line, no newline, terminated */
};

/* --- model ----------------------------------------------------------------------------------------------- */

typedef struct tutti_model tutti_model;

struct tutti_model_options {
    uint32_t size;      /* sizeof(struct tutti_model_options) */
    int32_t n_threads;  /* 0: all CPUs this process may use */
    int32_t n_ctx;      /* tokens of all sessions together; 0: the model's longest context */
    int32_t n_sessions; /* sessions that may exist at once */
    int32_t n_batch;    /* tokens per step; more is faster for long prompts and takes more memory */
    int32_t kv_bits;    /* 16, or 8: half the memory, other bits */
    const char *chip;   /* "cpu", or NULL: the same */
    const char *isa;    /* instruction set by name, or NULL: the best this machine has (or $TUTTI_ISA) */
    void (*progress)(void *user_data, size_t done_bytes, size_t total_bytes); /* while loading, or NULL */
    void *user_data;
};

TUTTI_API void tutti_model_options_default(struct tutti_model_options *options);

/* Opens a GGUF file and makes it ready to run. options NULL: the defaults. */
TUTTI_API int tutti_model_open(tutti_model **model, const char *path,
                               const struct tutti_model_options *options, struct tutti_error *error);
/* After all its sessions and decoders. */
TUTTI_API void tutti_model_close(tutti_model *model);

struct tutti_model_info {
    uint32_t size;       /* sizeof(struct tutti_model_info), set by the caller */
    int32_t n_vocab;     /* token ids are 0 .. n_vocab - 1 */
    int32_t n_ctx;       /* tokens of all sessions together */
    int32_t n_ctx_train; /* the longest context that the model knows */
    int32_t n_layer, n_embd, n_head, n_head_kv;
    int32_t bos, eos; /* token ids, -1: none */
    int32_t has_chat; /* 1: the file has a chat template */
    char arch[64];    /* "llama" */
    char name[128];   /* as the file says, may be empty */
};

TUTTI_API int tutti_model_info(const tutti_model *model, struct tutti_model_info *info,
                               struct tutti_error *error);

/* Receives text in pieces; not terminated. */
typedef void tutti_write_fn(void *user_data, const char *text, size_t n_bytes);

/* The compiled program as text: steps, buffers, kernels in use. */
TUTTI_API int tutti_model_explain(const tutti_model *model, tutti_write_fn *write, void *user_data,
                                  struct tutti_error *error);

/* --- text ------------------------------------------------------------------------------------------------ */

enum {
    TUTTI_ADD_SPECIAL = 1,   /* tokenize: begin-of-sequence and end-of-sequence, if the model wants them */
    TUTTI_PARSE_SPECIAL = 2, /* tokenize: the text is trusted, control tokens in it are recognised */
    TUTTI_SHOW_SPECIAL = 4,  /* detokenize, decoder: control tokens are printed, too */
};

/* Ids of a text into ids[cap]. Returns how many there are: if more than cap, only the first cap were written. */
TUTTI_API int64_t tutti_tokenize(const tutti_model *model, const char *text, size_t n_bytes, uint32_t flags,
                                 int32_t *ids, size_t cap, struct tutti_error *error);

/* Text of ids into text[cap], UTF-8, not terminated; broken bytes become U+FFFD. Returns the bytes there are,
 * as above. */
TUTTI_API int64_t tutti_detokenize(const tutti_model *model, const int32_t *ids, size_t n_ids, uint32_t flags,
                                   char *text, size_t cap, struct tutti_error *error);

struct tutti_message {
    const char *role;    /* "system", "user", "assistant" */
    const char *content; /* UTF-8, terminated */
};

/*
 * Ids of a conversation as the model's own chat template writes it, ready to be answered. Contents never become control
 * tokens, whatever they say. Returns the count, as tutti_tokenize does.
 */
TUTTI_API int64_t tutti_chat(tutti_model *model, const struct tutti_message *messages, size_t n_messages,
                             int32_t *ids, size_t cap, struct tutti_error *error);

/* 1 if an answer ends with this token. */
TUTTI_API int tutti_token_is_end(const tutti_model *model, int32_t id);

/* Ids to text as they come: only whole characters leave. */
typedef struct tutti_decoder tutti_decoder;
TUTTI_API int tutti_decoder_create(tutti_decoder **decoder, const tutti_model *model, uint32_t flags,
                                   struct tutti_error *error);
TUTTI_API int tutti_decoder_feed(tutti_decoder *decoder, int32_t id, tutti_write_fn *write, void *user_data,
                                 struct tutti_error *error);
/* Writes what is left; the decoder then starts anew. */
TUTTI_API int tutti_decoder_finish(tutti_decoder *decoder, tutti_write_fn *write, void *user_data,
                                   struct tutti_error *error);
TUTTI_API void tutti_decoder_free(tutti_decoder *decoder);

/* --- session --------------------------------------------------------------------------------------------- */

typedef struct tutti_session tutti_session;

/* n_ctx: the longest the session may become; 0: the model's n_ctx. */
TUTTI_API int tutti_session_create(tutti_session **session, tutti_model *model, int32_t n_ctx,
                                   struct tutti_error *error);
TUTTI_API void tutti_session_free(tutti_session *session);

/* Appends tokens and runs them. After an error the session holds what it held before. */
TUTTI_API int tutti_session_feed(tutti_session *session, const int32_t *ids, size_t n_ids,
                                 struct tutti_error *error);

struct tutti_sampling {
    uint32_t size;            /* sizeof(struct tutti_sampling) */
    float temperature;        /* 0: the most likely token, always */
    int32_t top_k;            /* 0: all */
    float top_p;              /* 1: all */
    float min_p;              /* 0: all */
    float repetition_penalty; /* 1: none */
    float frequency_penalty;  /* 0: none */
    float presence_penalty;   /* 0: none */
    int32_t penalty_last;     /* tokens that count for penalties; -1: all */
    uint64_t seed;            /* the same seed, tokens and parameters give the same answer on every chip */
};

TUTTI_API void tutti_sampling_default(struct tutti_sampling *sampling);

/* Draws the next token and appends it; it is run by the next call that needs it. sampling NULL: greedy. The
 * session must hold at least one token. TUTTI_ERR_LIMIT: the context is full. */
TUTTI_API int tutti_session_next(tutti_session *session, const struct tutti_sampling *sampling, int32_t *id,
                                 struct tutti_error *error);

/* Logits of the token after the last one into logits[cap], cap >= n_vocab. */
TUTTI_API int tutti_session_logits(tutti_session *session, float *logits, size_t cap,
                                   struct tutti_error *error);

TUTTI_API int64_t tutti_session_length(const tutti_session *session); /* tokens */

/* Keeps the first n_keep tokens. */
TUTTI_API int tutti_session_rewind(tutti_session *session, int64_t n_keep, struct tutti_error *error);

/* Runs what several different sessions of one model have not run yet (the tokens that tutti_session_next appended) in
 * common steps: faster than one after the other, with the same bits. */
TUTTI_API int tutti_step(tutti_session *const *sessions, size_t n_sessions, struct tutti_error *error);

#ifdef __cplusplus
}
#endif

#endif
