/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-tokenizers of byte-level BPE: a text is split into words before pairs merge inside each. A family is a
 * list of stages, run one inside the other: a stage cuts what it is given at its matches, and both matches
 * and the gaps between them go to the next stage, which sees nothing outside its piece. Most stages are PCRE2
 * patterns; three are code, because their pattern would look ahead over a whole run from each place in it.
 *
 * The patterns say what the tokenizers of the named models do (their published tokenizer.json); names and
 * aliases are those of GGUF's tokenizer.ggml.pre.
 */
#ifndef TUTTI_TOKEN_TOKENIZER_SPLIT_H
#define TUTTI_TOKEN_TOKENIZER_SPLIT_H

#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "token/tokenizer/vocab.h"

#define SPLIT_STAGES_MAX 6

enum split_flag {
    SPLIT_WHOLE_WORDS = 1, /* a word that is a piece is taken as it is, without merging */
    SPLIT_ADD_BOS = 2,     /* the model expects a bos token unless the file says otherwise */
    SPLIT_CHARS = 4,       /* code points merge, not bytes; a space is U+2581 (VOCAB_CHARS) */
    SPLIT_LINES = 8, /* of SPLIT_CHARS: newlines are words of their own; a run of them may be one piece */
    SPLIT_SPACE_EACH =
        16, /* of SPLIT_CHARS: a text, and what stands behind a special token, gets a space in front */
    SPLIT_SPACE_FIRST = 32,  /* only a text does, and only if it has none */
    SPLIT_SPACE_UNLESS = 64, /* as EACH, if it has none */
    SPLIT_AT_SPACES = 128,   /* of SPLIT_CHARS: no merge reaches over the start of a U+2581 */
    SPLIT_SIGNS_FIRST =
        256, /* of SPLIT_CHARS: spaces become U+2581 before tokens with ADDED_NORMALIZED are looked for */
    SPLIT_FLAGS = 511,
};

/* A pre-tokenizer that is no family: its stages are in the file under these keys (strings, enum split_flag,
 * enum vocab_norm). */
#define SPLIT_OWN "tutti"
#define SPLIT_KEY_STAGES "tutti.pre.stages"
#define SPLIT_KEY_FLAGS "tutti.pre.flags"
#define SPLIT_KEY_NORM "tutti.pre.norm"

struct split_family {
    const char *name;
    unsigned flags;
    enum vocab_norm norm;
    const char *stage[SPLIT_STAGES_MAX]; /* a pattern, or the name of code: see split.c */
};

/* The family called name, or an error that lists the known names. An empty name is "default". */
int split_family_find(struct str name, const struct split_family **f, struct err *e);

/* The family with exactly these stages, flags (SPLIT_ADD_BOS aside) and norm, or NULL. */
const char *split_family_named(unsigned flags, enum vocab_norm norm, const char *const *stage, int n_stage);
/* Stages, flags and norm of a file, copied into the arena and checked but for their patterns, which
 * splitter_init does. */
int split_family_own(struct split_family *f, const struct vocab_spec *spec, struct arena *a, struct err *e);

struct splitter {
    const struct split_family *family;
    int n_stage;
    void *code[SPLIT_STAGES_MAX]; /* pcre2_code; NULL: a stage of code */
    bool jit[SPLIT_STAGES_MAX];
};

int splitter_init(struct splitter *s, const struct split_family *f, struct err *e);
void splitter_finish(struct splitter *s); /* accepts a zeroed struct */

/* What one thread needs to run a splitter. */
struct split_scratch {
    void *match[SPLIT_STAGES_MAX]; /* pcre2_match_data */
    void *context, *stack;
};

int split_scratch_init(struct split_scratch *x, const struct splitter *s, struct err *e);
void split_scratch_finish(struct split_scratch *x); /* accepts a zeroed struct */

/* A word, never empty, in the order of the text. Not 0 stops the split, and is its result. */
typedef int (*split_word)(void *ctx, const char *p, size_t n);

/* Splits text, which is valid UTF-8. */
int split_run(const struct splitter *s, struct split_scratch *x, struct str text, split_word word, void *ctx,
              struct err *e);

#endif
