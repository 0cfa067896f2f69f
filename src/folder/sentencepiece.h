/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer.model: what a SentencePiece file says, a protocol buffer. Read are
 *
 *   ModelProto      1 pieces (repeated), 2 trainer, 3 normalizer
 *   SentencePiece   1 text, 2 score, 3 type (the numbers of enum token_type)
 *   TrainerSpec     3 kind of model, 40 41 42 43 ids of unk, bos, eos, pad
 *   NormalizerSpec  2 table of replacements, 3 a space in front, 4 runs of spaces become one
 *
 * and fields of other numbers are stepped over. Byte-pair encodings without replacements are taken; Unigram is refused.
 */
#ifndef TUTTI_FOLDER_SENTENCEPIECE_H
#define TUTTI_FOLDER_SENTENCEPIECE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct sentencepiece {
    size_t n;
    struct str *piece; /* views of the file */
    float *score;
    int32_t *type;
    int32_t unk, bos, eos, pad; /* -1: none */
    bool space; /* a text gets a space in front */
};

/* The lists live in the arena. */
int sentencepiece_read(struct sentencepiece *s, struct str file, struct arena *a, struct err *e);

#endif
