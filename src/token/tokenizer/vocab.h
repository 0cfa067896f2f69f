/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary of a tokenizer: pieces of text, their kinds, and which two pieces merge into which third,
 * and when. struct vocab_spec is what a model file declares, in borrowed strings and independent of the file
 * format; struct vocab is the checked copy in an arena, with tables for the lookups of the encoder.
 *
 * Inside, a piece is the bytes it stands for: the printable stand-ins of byte-level BPE ("Ġthe") are undone
 * at load
 * (" the"), and so is "<0x0A>" of SentencePiece. Its U+2581 for a space stays in the tables, since merging
 * works on that form; vocab_printed gives the bytes with spaces. Control and unknown pieces are in no table
 * that plain text is looked up in: text cannot become them.
 */
#ifndef TUTTI_TOKEN_TOKENIZER_VOCAB_H
#define TUTTI_TOKEN_TOKENIZER_VOCAB_H

#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* Limits on what a file may declare. */
#define VOCAB_TOKENS_MAX ((size_t)1 << 22)
#define VOCAB_MERGES_MAX ((size_t)1 << 23)
#define VOCAB_PIECE_BYTES_MAX ((size_t)1 << 14) /* one piece as the file spells it */
#define VOCAB_TEXT_BYTES_MAX ((size_t)1 << 30)  /* all pieces together */

enum token_type { /* the numbers of GGUF */
                  TOKEN_UNDEFINED = 0,
                  TOKEN_NORMAL = 1,
                  TOKEN_UNKNOWN = 2,
                  TOKEN_CONTROL = 3,
                  TOKEN_USER_DEFINED = 4,
                  TOKEN_UNUSED = 5,
                  TOKEN_BYTE = 6,
};

enum vocab_norm { VOCAB_NORM_DEFAULT = -1, VOCAB_NORM_NONE, VOCAB_NORM_NFC, VOCAB_NORM_NFKC };

struct vocab_spec {
    size_t n_tokens;
    const struct str *tokens;
    const float *scores;  /* [n_tokens] or NULL; needed by "llama" */
    const int32_t *types; /* [n_tokens] enum token_type, or NULL: all normal */
    size_t n_merges;
    const struct str *merges; /* [n_merges] "left right", best first; needed by "gpt2" */
    /* "gpt2" (byte-level BPE), "llama" (SentencePiece BPE) or "gemma4" (BPE over characters) */
    struct str model;
    struct str pre;                       /* pre-tokenizer of "gpt2": see split.h */
    int32_t bos, eos, eot, eom, unk, pad; /* -1: not declared */
    int add_bos, add_eos;                 /* 0, 1, or -1: as the model and pre-tokenizer have it */
    int add_space_prefix;                 /* "llama" only: 0, 1, or -1 */
    enum vocab_norm norm;                 /* VOCAB_NORM_DEFAULT: as the pre-tokenizer has it */
    const struct str *stages;             /* [n_stages] of the pre-tokenizer SPLIT_OWN (split.h) */
    size_t n_stages;
    unsigned split_flags; /* of SPLIT_OWN */
    size_t n_added;
    const int32_t *added_ids,
        *added_flags; /* [n_added] special and user-defined tokens that are looked for in a way of their own */
};

enum added_flag {             /* how a token is cut out of a text, as tokenizer.json says it */
    ADDED_LEFT = 1,           /* lstrip: with the white space before it */
    ADDED_RIGHT = 2,          /* rstrip: with the white space behind it */
    ADDED_WORD = 4,           /* single_word: not where a letter, digit, mark or underscore touches it */
    ADDED_NORMALIZED = 8,     /* user-defined ones: after all others, in the normalised text */
    ADDED_FLAGS = 15,
};

/* Where a file has them. */
#define VOCAB_KEY_ADDED_IDS "tutti.added.ids"
#define VOCAB_KEY_ADDED_FLAGS "tutti.added.flags"

void vocab_spec_init(struct vocab_spec *spec); /* nothing declared */

enum vocab_kind {
    VOCAB_BYTES,  /* byte-level BPE: symbols are bytes, merges are listed pairs */
    VOCAB_CHARS,  /* BPE over code points with byte fallback, merges are listed pairs (gemma4) */
    VOCAB_PIECES, /* SentencePiece BPE: code points; any two that form a piece merge, best score first */
};

struct vocab_pair {
    uint64_t key;  /* left << 32 | right; VOCAB_NO_PAIR: empty slot */
    uint32_t rank; /* lower merges first */
    int32_t id;    /* what the two become */
};

#define VOCAB_NO_PAIR UINT64_MAX

struct vocab_slot {
    uint32_t tag; /* high bits of the hash */
    int32_t id;   /* -1: empty slot */
};

struct vocab {
    struct arena arena;
    enum vocab_kind kind;
    uint32_t n;             /* tokens */
    const char *text;       /* all pieces, one after the other */
    const uint32_t *offset; /* [n + 1] */
    const char *printed;    /* the same with spaces for U+2581; = text for VOCAB_BYTES */
    const uint32_t *printed_offset;
    uint8_t *type;           /* [n] enum token_type */
    uint8_t *is_end;         /* [n] 1: generation ends here */
    uint8_t *added;          /* [n] enum added_flag; NULL: all 0 */
    uint32_t *rank;          /* [n] of VOCAB_PIECES: order by score, lower merges first */
    int32_t byte_id[256];    /* piece of one byte (VOCAB_BYTES) or byte piece; -1: none */
    int32_t ascii_id[128];   /* piece of one ASCII character; -1: none */
    bool glue[256];          /* this byte may merge with a U+2581 behind it; elsewhere words merge apart */
    bool has_twins;          /* two pieces have the same text */
    bool has_unused;         /* a piece of TOKEN_UNUSED exists */
    uint32_t piece_max;      /* bytes of the longest piece in the table */
    struct vocab_slot *slot; /* piece -> id, of those that text can become */
    uint32_t slot_mask;
    struct vocab_pair *pair;
    uint32_t pair_mask;
    uint64_t seed; /* of both tables; drawn at random, so a file cannot aim at collisions */
    int32_t bos, eos, eot, unk;
};

/* Copies and checks spec. merge_chars: VOCAB_CHARS instead of VOCAB_BYTES for "gpt2". */
int vocab_init(struct vocab *v, const struct vocab_spec *spec, bool merge_chars, struct err *e);
void vocab_finish(struct vocab *v); /* accepts a zeroed struct */

static inline struct str vocab_piece(const struct vocab *v, int32_t id)
{
    return (struct str){v->text + v->offset[id], v->offset[id + 1] - v->offset[id]};
}

static inline struct str vocab_printed(const struct vocab *v, int32_t id)
{
    return (struct str){v->printed + v->printed_offset[id],
                        v->printed_offset[id + 1] - v->printed_offset[id]};
}

/* The piece that text s can become; -1 when there is none. */
int32_t vocab_find(const struct vocab *v, struct str s);

/* What the pieces left and right (ids, -1 allowed) merge into, or NULL. */
const struct vocab_pair *vocab_pair_find(const struct vocab *v, int32_t left, int32_t right);

#endif
