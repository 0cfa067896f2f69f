/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte pair encoding of one word: its symbols are joined, best pair first, the leftmost of equals, until no
 * two neighbours form a piece. A short word is searched anew for each merge; a long one keeps its pairs in a
 * heap, so that a word of n symbols takes n log n steps, whatever it holds.
 */
#ifndef TUTTI_TOKEN_TOKENIZER_MERGE_H
#define TUTTI_TOKEN_TOKENIZER_MERGE_H

#include "token/tokenizer/ids.h"
#include "token/tokenizer/vocab.h"

struct merge_symbol;
struct merge_item;

/* What one thread needs; grows to the longest word. */
struct merge_scratch {
    struct merge_symbol *symbol;
    size_t n_symbol_cap;
    struct merge_item *heap;
    size_t n_heap_cap;
    uint32_t *left_bytes; /* [v->n] of unused pieces: how the piece was last put together; NULL when there are
                             none */
};

int merge_scratch_init(struct merge_scratch *m, const struct vocab *v, struct err *e);
void merge_scratch_finish(struct merge_scratch *m); /* accepts a zeroed struct */

/* Appends the ids of the word p[0..n), valid UTF-8 with n < 2^31. A byte or character that the vocabulary
 * cannot write becomes the unknown token where the model has one for text (SentencePiece; one for a run of
 * them in the word), and nothing otherwise. */
int merge_word(const struct vocab *v, struct merge_scratch *m, const char *p, size_t n, struct ids *out,
               struct err *e);

#endif
