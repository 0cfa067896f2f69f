/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the tokens that are taken whole from a text before anything else looks at it: control tokens, where
 * the text is trusted, and user-defined ones, everywhere. Leftmost first, of those the longest. A byte trie
 * in an arena.
 */
#ifndef TUTTI_TOKEN_TOKENIZER_SPECIAL_H
#define TUTTI_TOKEN_TOKENIZER_SPECIAL_H

#include "token/tokenizer/vocab.h"

#define SPECIAL_PIECE_BYTES_MAX ((size_t)1024)   /* one token */
#define SPECIAL_TEXT_BYTES_MAX ((size_t)4 << 20) /* all of them together */

struct special_node {
    int32_t child, next; /* first child, next sibling; 0: none */
    int32_t id;          /* of the token that ends here; -1: none */
    uint8_t byte;
};

struct special {
    struct special_node *node; /* [0] is the root */
    int32_t n_node;
    const uint8_t *type, *added; /* the vocabulary's */
    int32_t root[256];   /* the root's children by byte; 0: none */
    bool starts[2][256]; /* a token begins with this byte: [0] user-defined, [1] any */
};

struct special_match {
    size_t at, n; /* bytes, with the white space that it takes */
    size_t end;   /* where the token itself ends: the search for the next one goes on there */
    int32_t id;
};

enum special_how {
    SPECIAL_LATE = 1,   /* the tokens that are looked for in normalised text; else all others */
    SPECIAL_SIGNS = 2,  /* of LATE: where spaces are U+2581 already */
    SPECIAL_PREFIX = 4, /* of SIGNS: and each text has one in front; so have the tokens */
};

/* Reads v, which stays in use, and allocates in its arena. how: enum special_how. */
int special_init(struct special *s, struct vocab *v, unsigned how, struct err *e);
bool special_is_empty(const struct special *s);

/* The first match in text[from..end); trusted: control tokens count too. */
bool special_find(const struct special *s, const char *text, size_t from, size_t end, bool trusted,
                  struct special_match *m);

/* The first one that stands as its flags want it, with the white space that it takes: before it down to
 * `plain`, behind it up to the end of the text. It may begin before `plain`, in white space that the token
 * before took; what follows begins behind it all the same, as PyPI's tokenizers has it. */
bool special_next(const struct special *s, struct str text, size_t plain, size_t at, size_t end, bool trusted,
                  struct special_match *m);

#endif
