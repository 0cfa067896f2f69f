/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the tokens that are taken whole from a text before anything else looks at it: control tokens, where
 * the text is trusted, and user-defined ones, everywhere. Leftmost first, of those the longest. A byte trie
 * in an arena.
 */
#ifndef TUTTI_TOKEN_SPECIAL_H
#define TUTTI_TOKEN_SPECIAL_H

#include "token/vocab.h"

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
    const uint8_t *type; /* the vocabulary's */
    int32_t root[256];   /* the root's children by byte; 0: none */
    bool starts[2][256]; /* a token begins with this byte: [0] user-defined, [1] any */
};

struct special_match {
    size_t at, n; /* bytes */
    int32_t id;
};

/* Reads v, which stays in use, and allocates in its arena. */
int special_init(struct special *s, struct vocab *v, struct err *e);

/* The first match in text[from..end); trusted: control tokens count too. */
bool special_find(const struct special *s, const char *text, size_t from, size_t end, bool trusted,
                  struct special_match *m);

#endif
