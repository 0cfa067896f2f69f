/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small vocabulary for tests of grammars: every byte, some pieces of several bytes that cross the borders of JSON,
 * words and code points, two pieces of the same bytes, and an end token.
 */
#ifndef TUTTI_TESTS_GRAMMAR_TOY_H
#define TUTTI_TESTS_GRAMMAR_TOY_H

#include <stdlib.h>
#include "base/utf8.h"
#include "token/grammar/grammar.h"
#include "token/tokenizer/tokenizer.h"

enum { TOY_TOKENS_MAX = 512 };

struct grammar_toy {
    struct tokenizer *tok;
    struct grammar_vocab *vocab;
    int n, end;
};

static const char *const grammar_toy_piece[] = {
    "ab",     "abc",   "bc",     "\"a",  "a\"",    "\",",      "\":",          "\": ",     "\": \"", ", \"",
    "{\"",    "\"}",   "}}",     "\"}}", "[[",     "]]",       "[1",           "1,",       ", ",     "12",
    "123",    "0.",    "true",   "tru",  "ue",     "false",    "null",         "nul",      "l,",     "\n  ",
    "\n    ", "  ",    "{}",     "[]",   "\\\"",   "\\u",      "\\u00",        "00",       "name",   "e\":",
    "value",  "\"\"",  "\", \"", "\xC3", "\xA9\"", "\xC3\xA9", "\xE2\x82\xAC", "\xE2\x82", "a\xC3",  "-1",
    "-",      "2024-", "-01",    "10:",  "T1",     "Z\"",      "word word",    "ab",       "yes",    "no ",
};

/* Printable ASCII stands for itself in byte-level BPE; other bytes have stand-ins. */
static inline void grammar_toy_open(struct grammar_toy *y)
{
    static char text[TOY_TOKENS_MAX][64], stand_in[256][4];
    static struct str token[TOY_TOKENS_MAX], merge[1] = {{"a b", 3}};
    static int32_t type[TOY_TOKENS_MAX];
    struct vocab_spec s;
    struct err e = {0};
    int n = 0, extra = 0;
    size_t len[256];
    vocab_spec_init(&s);
    for (int b = 0; b < 256; b++) {
        bool plain = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        len[b] = utf8_encode(plain ? (uint32_t)b : 256u + (uint32_t)extra++, stand_in[b]);
        token[n] = (struct str){stand_in[b], len[b]};
        type[n++] = TOKEN_NORMAL;
    }
    for (size_t i = 0; i < sizeof grammar_toy_piece / sizeof *grammar_toy_piece; i++, n++) {
        size_t k = 0;
        for (const unsigned char *p = (const unsigned char *)grammar_toy_piece[i]; *p; p++) {
            memcpy(text[n] + k, stand_in[*p], len[*p]);
            k += len[*p];
        }
        token[n] = (struct str){text[n], k};
        type[n] = TOKEN_NORMAL;
    }
    y->end = n;
    token[n] = STR("<|end|>");
    type[n++] = TOKEN_CONTROL;
    s.tokens = token;
    s.types = type;
    s.n_tokens = (size_t)n;
    s.merges = merge;
    s.n_merges = 1;
    s.model = STR("gpt2");
    s.pre = STR("gpt-2");
    s.eos = y->end;
    y->n = n;
    must(tokenizer_create(&y->tok, &s, &e) == 0);
    must(grammar_vocab_create(&y->vocab, y->tok, n + 7, &e) == 0);
}

static inline void grammar_toy_close(struct grammar_toy *y)
{
    grammar_vocab_destroy(y->vocab);
    tokenizer_destroy(y->tok);
}

#endif
